"""What the governance file says of a project: who is responsible, and on what basis each purpose stands.

    {"end": "2027-12-31T23:59:59Z",
     "controller": "Ministry of Housing, Communities and Local Government",
     "processor": "Office for National Statistics",
     "contact": "dataprotection@department.example",
     "accreditations": [
       {"of": "project", "reference": "DEA/2026/017", "expires": "2027-12-31"},
       {"of": "processor", "reference": "DEA/P/004", "expires": "2027-06-30"},
       {"of": "researcher", "person": "alice", "reference": "AR/1234", "expires": "2027-09-30",
        "may": ["special-category", "criminal-offence"]}],
     "purposes": {"evaluation-2026": {
       "words": "to find out how well services for families work",
       "basis": "6(1)(e)", "special_category": "9(2)(g)", "criminal_offence": "10",
       "schedule_1": "DPA 2018 Schedule 1 paragraph 6", "gateway": "dea-2017-s64",
       "sharing": "statutory-function", "datasets": ["families", "pnc", "hes"]}},
     "schedules": "schedules.toml"}

`schedules` names a file beside this one; without it the ready-made schedules hold (`pseudonym.retention`).

Codes are those of the tables below, so that a mistyped article is refused when the file is read.
`docs/lawfulness.md` has the form with what each part is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, Self

from pseudonym.datasets import Tag
from pseudonym.errors import InputError
from pseudonym.lawful.sharing import Sharing
from pseudonym.requests import check_name
from pseudonym.retention import schedules
from pseudonym.retention.schedules import Schedules
from pseudonym.urn import check_label

BASES: Final = {
    "6(1)(a)": "consent",
    "6(1)(b)": "a contract",
    "6(1)(c)": "a legal obligation",
    "6(1)(d)": "vital interests",
    "6(1)(e)": "a task in the public interest, or official functions",
    "6(1)(f)": "legitimate interests",
}
"""Lawful bases: UK GDPR Article 6."""
SPECIAL: Final = {
    "9(2)(a)": "explicit consent",
    "9(2)(b)": "employment, social security and social protection",
    "9(2)(c)": "vital interests",
    "9(2)(g)": "reasons of substantial public interest",
    "9(2)(h)": "health or social care",
    "9(2)(i)": "public health",
    "9(2)(j)": "archiving, research and statistics",
}
"""Conditions for special categories of data: UK GDPR Article 9."""
CRIMINAL: Final = {"10": "criminal offence data, where the law of the land allows it"}
"""Conditions for criminal offence data: UK GDPR Article 10 with DPA 2018 section 10(5)."""
BY_SCHEDULE_1: Final = frozenset({"9(2)(b)", "9(2)(g)", "9(2)(h)", "9(2)(i)", "9(2)(j)", "10"})
"""Conditions that hold only by one of DPA 2018, Schedule 1 (section 10)."""
GATEWAYS: Final = {"dea-2017-s64": "Digital Economy Act 2017 section 64: disclosure for accredited research"}
"""Laws by which public authorities may disclose; each of these asks for accreditation."""
ACCREDITED: Final = ("project", "processor", "researcher")

_PROJECT = {"end", "controller", "processor", "contact", "accreditations", "purposes", "schedules"}
_PURPOSE = {
    *("words", "basis", "special_category", "criminal_offence", "schedule_1"),
    *("gateway", "sharing", "datasets"),
}


@dataclass(frozen=True, slots=True)
class Accreditation:
    """That a project, a processor or a researcher is accredited.

    Attributes:
        of: one of `ACCREDITED`.
        reference: in the public register of accreditations.
        expires: the last day.
        person: of a researcher: who, as in the certificate.
        may: of a researcher: the kinds of sensitive attributes that they may read.
    """

    of: str
    reference: str
    expires: date
    person: str = ""
    may: frozenset[Tag] = frozenset()


@dataclass(frozen=True, slots=True)
class Purpose:
    """One purpose of a project, and what it stands on.

    Attributes:
        code: as calls name it.
        words: one sentence for those whose data they are.
        basis: a key of `BASES`.
        special_category: a key of `SPECIAL`, or empty: no such attributes.
        criminal_offence: a key of `CRIMINAL`, or empty: no such attributes.
        schedule_1: the condition of DPA 2018, Schedule 1, where one is needed.
        gateway: a key of `GATEWAYS`, or empty.
        sharing: why data may go to others for it, or None where each call says so itself.
        datasets: which it may use.
    """

    code: str
    words: str
    basis: str
    special_category: str = ""
    criminal_offence: str = ""
    schedule_1: str = ""
    gateway: str = ""
    sharing: Sharing | None = None
    datasets: frozenset[str] = frozenset()

    @property
    def tags(self) -> frozenset[Tag]:
        """The kinds of sensitive attributes for which it has a condition."""
        conditions = {
            Tag.SPECIAL_CATEGORY: self.special_category,
            Tag.CRIMINAL_OFFENCE: self.criminal_offence,
        }
        return frozenset(tag for tag, condition in conditions.items() if condition)


@dataclass(frozen=True, slots=True)
class ProjectRecord:
    """What a role was told of one project.

    Attributes:
        name: the project's.
        end: from when on nothing is added, opened or given out.
        controller: who decides what for and how.
        processor: who does it for them.
        contact: where people may turn to.
        accreditations: of project, processor and researchers.
        purposes: by code.
        schedules: how long what is kept.
    """

    name: str
    end: datetime
    controller: str
    processor: str
    contact: str
    accreditations: tuple[Accreditation, ...]
    purposes: Mapping[str, Purpose]
    schedules: Schedules

    @classmethod
    def read(cls, name: str, content: Mapping[str, Any], beside: Path = Path()) -> Self:
        """Read the form above.

        Args:
            name: the project's.
            content: of its record.
            beside: the folder in which a file of schedules that it names is.

        Raises:
            InputError: something is missing or unknown; the message says what.
        """
        where = f"Project {check_label(name, 'project')}"
        _check_members(where, content, _PROJECT, {"end", "controller", "processor", "contact", "purposes"})
        try:
            end = datetime.strptime(content["end"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except (TypeError, ValueError):
            raise InputError(
                f"The end of {where.lower()} is no time.", "Write it as 2027-12-31T23:59:59Z."
            ) from None
        given = content["purposes"]
        if not isinstance(given, dict) or not given:
            raise InputError(f"{where} has no purposes.", "Give at least one, with its basis.")
        said = {
            part: _text(content[part], f"{part} of {where.lower()}")
            for part in ("controller", "processor", "contact")
        }
        return cls(
            name,
            end,
            said["controller"],
            said["processor"],
            said["contact"],
            tuple(_accreditation(where, one) for one in content.get("accreditations", [])),
            {code: read_purpose(where, code, one) for code, one in given.items()},
            schedules.read(beside / own) if (own := content.get("schedules")) else schedules.read(),
        )


def read_purpose(where: str, code: str, content: Any) -> Purpose:
    """A purpose of something, whose name stands in what is said of it.

    Raises:
        InputError: something is missing or unknown; the message says what.
    """
    where = f"purpose {code} of {where.lower()}"
    if not isinstance(content, dict):
        raise InputError(f"The {where} is not written as purposes are.", "docs/lawfulness.md shows one.")
    _check_members(f"The {where}", content, _PURPOSE, {"words", "basis", "datasets"})
    found = {
        part: _one_of(content.get(part, ""), table, f"{part} of the {where}", optional=part != "basis")
        for part, table in (
            ("basis", BASES),
            ("special_category", SPECIAL),
            ("criminal_offence", CRIMINAL),
            ("gateway", GATEWAYS),
        )
    }
    schedule_1 = str(content.get("schedule_1", ""))
    if {found["special_category"], found["criminal_offence"]} & BY_SCHEDULE_1 and not schedule_1:
        raise InputError(
            f"The {where} has a condition that holds only by DPA 2018, Schedule 1, and names none of it.",
            'Add "schedule_1": "DPA 2018 Schedule 1 paragraph 6", or whichever it is.',
        )
    sharing = content.get("sharing")
    if sharing is not None and sharing not in list(Sharing):
        raise InputError(f"The sharing of the {where} is no reason.", f"Reasons: {', '.join(Sharing)}.")
    datasets = content["datasets"]
    if not isinstance(datasets, list) or not all(isinstance(one, str) for one in datasets):
        raise InputError(f"The datasets of the {where} are no list of names.", 'Write ["families", "pnc"].')
    return Purpose(
        code,
        _text(content["words"], f"words of the {where}"),
        schedule_1=schedule_1,
        sharing=None if sharing is None else Sharing(sharing),
        datasets=frozenset(check_label(one, "dataset") for one in datasets),
        **found,
    )


def _accreditation(where: str, content: Any) -> Accreditation:
    where = f"An accreditation of {where.lower()}"
    if not isinstance(content, dict):
        raise InputError(f"{where} is not written as one.", "docs/lawfulness.md shows some.")
    members = {"of", "reference", "expires", "person", "may"}
    _check_members(where, content, members, {"of", "reference", "expires"})
    of = _one_of(content["of"], ACCREDITED, f"{where}: what it is of")
    if (of == "researcher") != ("person" in content) or ("may" in content and of != "researcher"):
        raise InputError(f"{where} names a person, or what they may read, where none is meant.")
    try:
        expires = date.fromisoformat(content["expires"])
        may = frozenset(map(Tag, content.get("may", [])))
    except (TypeError, ValueError):
        raise InputError(
            f"{where} has a day or a kind of attributes that is none.",
            f"Days are written 2027-12-31; kinds are {', '.join(Tag)}.",
        ) from None
    person = content.get("person", "")
    if person:
        check_name(person, "a researcher")
    return Accreditation(of, _text(content["reference"], f"{where}: its reference"), expires, person, may)


def _check_members(where: str, content: Mapping[str, Any], known: set[str], needed: set[str]) -> None:
    strange, missing = sorted(set(content) - known), sorted(needed - set(content))
    if strange:
        raise InputError(
            f"{where} says {', '.join(strange)}, which it cannot.", f"It says {', '.join(sorted(known))}."
        )
    if missing:
        raise InputError(f"{where} lacks {', '.join(missing)}.", "docs/lawfulness.md shows the form.")


def _one_of(value: Any, table: Any, what: str, *, optional: bool = False) -> str:
    if (optional and value == "") or value in table:
        return str(value)
    raise InputError(f"The {what} is none that is known.", f"There are {', '.join(table)}.")


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 500 or not value.isprintable():
        raise InputError(f"The {what} is no text of one line.", "Write it between quotation marks.")
    return value
