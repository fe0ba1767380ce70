"""The public notice of a project, from the configuration in force: nothing in it is written twice.

    governance file (record, exchanges) + registers + schedules ──▶ sections ──▶ Markdown or HTML

Who, what for, on what basis, which datasets of whom, how long, which rights, whom to ask. When the
configuration changes, so does the notice; it never tells names of staff, keys or limits.

An accreditation that has run out, or that a purpose asks for and has not, is never told as one that holds:
where the purpose stands it is said that data are not used for it, and since when.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from pseudonym import registers
from pseudonym.lawful.cover import grounds
from pseudonym.lawful.records import GATEWAYS, Accreditation, ProjectRecord, Purpose
from pseudonym.registers import Register
from pseudonym.retention.schedules import Clock, Kind, Schedule

RIGHTS: Final = (
    "to receive a copy of your personal data",
    "to have inaccurate data corrected",
    "to ask that data are deleted",
    "to ask that your data are not used in a certain way",
    "in some cases, to get a copy in a commonly used electronic format",
    "to object",
    "to have any automated decision explained, with the logic behind it",
)
NOT_USED: Final = "NOT IN FORCE: no data are used for this at present."
"""Stands where a purpose asks for an accreditation that does not hold."""
_ASKED: Final = ("project", "processor")  # of researchers, who are people, a notice tells nothing
COMMISSIONER: Final = "the Information Commissioner's Office, ico.org.uk"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the notice: sentences, then a list of items."""

    heading: str
    sentences: tuple[str, ...]
    items: tuple[str, ...] = ()


def compose(record: ProjectRecord, matched_by_holders: Collection[str], today: date) -> list[Section]:
    """The notice's sections.

    Args:
        record: of the project.
        matched_by_holders: the registers whose holders get a file to match by.
        today: on which holders are named as they are called now.
    """
    names = _datasets(record)
    found = [one for one in (registers.find(name) for name in names) if one is not None]
    others = [name for name in names if registers.find(name) is None]
    sections = [
        Section(
            "Who is responsible",
            _who(record, today),
        ),
        *(_purpose(record, one, today) for one in record.purposes.values()),
        Section(
            "Which information is used",
            ("Names, dates of birth, addresses and numbers are kept apart from everything else.",),
            (
                *(f"What councils send: {name}." for name in others),
                *(_register(one, one.name in matched_by_holders, today) for one in found),
            ),
        ),
        Section(
            "How long it is kept",
            (),
            tuple(_kept(record, one, names) for one in record.schedules.all if _concerns(one, names)),
        ),
        Section(
            "Your rights",
            (
                "You have these rights. If we cannot agree to what you ask, we explain why.",
                "Asking, or withdrawing from the research, has no effect on the services that you receive.",
            ),
            RIGHTS,
        ),
        Section(
            "Whom to ask",
            (f"{record.contact}.", f"If you are unhappy with the answer, you can go to {COMMISSIONER}."),
        ),
    ]
    if any(one.health for one in found):
        sections.insert(
            -2,
            Section(
                "National Data Opt-out",
                (
                    "Some of this is health information. The National Data Opt-out applies, unless a "
                    "reason why not is published.",
                ),
                tuple(f"{one.title}." for one in found if one.health),
            ),
        )
    return sections


def markdown(title: str, sections: Sequence[Section], today: date) -> str:
    """The notice as Markdown."""
    lines = [f"# {_plain(title)}", "", f"As it is in force on {_day(today)}."]
    for one in sections:
        lines += ["", f"## {_plain(one.heading)}", ""]
        lines += [" ".join(map(_plain, one.sentences))] if one.sentences else []
        lines += [""] if one.sentences and one.items else []
        lines += [f"- {_plain(item)}" for item in one.items]
    return "\n".join(lines) + "\n"


def page(title: str, sections: Sequence[Section], today: date) -> str:
    """The notice as a page of HTML that needs nothing else."""
    said = html.escape
    parts = [f"<h1>{said(title)}</h1>", f"<p>As it is in force on {said(_day(today))}.</p>"]
    for one in sections:
        parts.append(f"<h2>{said(one.heading)}</h2>")
        if one.sentences:
            parts.append(f"<p>{said(' '.join(one.sentences))}</p>")
        if one.items:
            parts.append("<ul>" + "".join(f"<li>{said(item)}</li>" for item in one.items) + "</ul>")
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en-GB">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{said(title)}</title></head>\n<body><main>\n{body}\n</main></body>\n</html>\n"
    )


def unmet(record: ProjectRecord, today: date) -> list[str]:
    """Why data are not used today for some purpose: sentences; none where all are in force."""
    found = dict.fromkeys(why for one in record.purposes.values() for why in _unmet(record, one, today))
    over = [_end(record, today)] if record.end.date() < today else []
    return [*over, *found]


def terms(record: ProjectRecord, today: date) -> dict[str, Any]:
    """What somebody is told of a project in an answer: who, what for and on what basis, and how long."""
    names = _datasets(record)
    return {
        "who": list(_who(record, today)),
        "purposes": [
            {"code": one.code, "words": list(said.sentences[:-1]), "basis": list(said.items)}
            for one in record.purposes.values()
            for said in [_purpose(record, one, today)]
        ],
        "kept": [_kept(record, one, names) for one in record.schedules.all if _concerns(one, names)],
    }


def _datasets(record: ProjectRecord) -> list[str]:
    return sorted(frozenset[str]().union(*(one.datasets for one in record.purposes.values())))


def _who(record: ProjectRecord, today: date) -> tuple[str, ...]:
    return (
        f"{record.controller} decides what the data are used for.",
        f"{record.processor} works with them on its behalf.",
        _end(record, today),
    )


def _end(record: ProjectRecord, today: date) -> str:
    last = record.end.date()
    return f"The project {record.name} {'ends' if today <= last else 'ended'} on {_day(last)}."


def _purpose(record: ProjectRecord, one: Purpose, today: date) -> Section:
    said = grounds(record, one)
    shared = f"Data may be shared for it because {one.sharing.words}." if one.sharing else ""
    told = (
        *(
            said[part]
            for part in ("basis", "special_category", "criminal_offence", "schedule_1")
            if part in said
        ),
        *((GATEWAYS[one.gateway],) if one.gateway else ()),
        *(
            f"Accreditation of the {of}: {latest.reference}, to {latest.expires}"
            for of in _ASKED
            if one.gateway and (latest := _latest(record, of)) is not None and latest.expires >= today
        ),
    )
    missing = _unmet(record, one, today)
    held_up = (f"{NOT_USED} {' '.join(missing)}",) if missing else ()
    sentences = (
        f"{one.words[0].upper()}{one.words[1:]}.",
        *((shared,) if shared else ()),
        *held_up,
        "It stands on:",
    )
    return Section(f"What for: {one.code}", sentences, tuple(f"{text}." for text in told))


def _unmet(record: ProjectRecord, one: Purpose, today: date) -> list[str]:
    """Which accreditations a purpose asks for and has not, in sentences."""
    found = []
    for of in _ASKED if one.gateway else ():
        latest = _latest(record, of)
        if latest is None:
            found.append(f"The {of} is not accredited.")
        elif latest.expires < today:
            found.append(
                f"The accreditation of the {of} ({latest.reference}) expired on {_day(latest.expires)}."
            )
    return found


def _latest(record: ProjectRecord, of: str) -> Accreditation | None:
    named = [one for one in record.accreditations if one.of == of]
    return max(named, key=lambda one: one.expires, default=None)


def _register(one: Register, by_holder: bool, today: date) -> str:
    words = "; ".join(dict.fromkeys(purpose.words for purpose in one.purposes))
    how = (
        "its holder gets a file to match by, and answers by reference number"
        if by_holder
        else "its holder sends an extract, which is matched here"
    )
    columns = ", ".join(field.meaning[0].lower() + field.meaning[1:] for field in one.fields)
    return f"{one.title}, held by {one.holder(today)}: {words}. It is used for: {columns}. How: {how}."


def _concerns(one: Schedule, names: Sequence[str]) -> bool:
    return not one.datasets or "*" in one.datasets or bool(one.datasets & set(names))


def _kept(record: ProjectRecord, one: Schedule, names: Sequence[str]) -> str:
    of = sorted(one.datasets & set(names))
    what = f"{one.what[0].upper()}{one.what[1:]}" + (f" ({', '.join(of)})" if of else "")
    least = "at least " if one.kind is Kind.MINIMUM else "at most "
    period = f"until {_day(record.end.date())}" if one.clock is Clock.PROJECT_END else one.period
    why = "a legal requirement" if one.basis == "law" else "accepted business practice"
    return f"{what}: {least}{period}. This is {why}. {one.reason}"


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>#|" else sign for sign in text)
