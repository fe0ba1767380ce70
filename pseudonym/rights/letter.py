"""An answer as people read it: plain text from the joined document, in the order of UK GDPR Article 15.

    document (halves.joined) ──▶ what is held, from where, why, on what basis, who got it, how long, rights

Days are written out, codes stand with the words that schemes and registers have for them, weights have one
decimal. Nothing is in it that is not in the document but such words, which are the same for everybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from textwrap import wrap
from typing import Any, Final

from pseudonym import registers
from pseudonym.rights import labels
from pseudonym.rights.reasons import Right

_TITLES: Final = {
    Right.ACCESS: "access (UK GDPR Article 15)",
    Right.PORTABILITY: "what you provided (UK GDPR Article 20)",
    Right.EXPLANATION: "an explanation (UK GDPR Articles 15(1)(h) and 22)",
}
_RIGHTS: Final = (
    "to have inaccurate data corrected (Article 16)",
    "to ask that data are deleted (Article 17)",
    "to ask that data are not used in a certain way (Article 18)",
    "to object (Article 21)",
    "to complain to any of those named below",
)
_CONTACTS: Final = {
    "data-protection-officer": "The data protection officer",
    "department-data-protection-officer": "The department's data protection officer",
    "regulator": "The regulator",
}
_WIDTH: Final = 100
_WITHOUT_RECORD: Final = "[To be added by hand: the governance file has no record of the project.]"
_WITHOUT_CONTACTS: Final = "[To be added by hand: the governance file names nobody to complain to.]"


def letter(document: Mapping[str, Any]) -> str:
    """The answer as text.

    Args:
        document: as `pseudonym.rights.halves.joined` makes it, of a request that is answered in two halves.
    """
    case = document["case"]
    right = Right(case["right"])
    lines = [f"Answer to your request for {_TITLES[right]}", ""]
    lines += _wrapped(
        f"Case {case['case_id']} of the project {case['project']}. "
        f"Received on {labels.day(case['received'])}, {case['outcome']} on {labels.day(case['decided'])}."
    )
    for reason in case["reasons"]:
        lines += _wrapped(f"Not all of it could be granted: {reason}")
    parts = [part for part in _parts(right, document) if part[1]]
    for place, (heading, said) in enumerate(parts, 1):
        lines += ["", f"{place}. {heading}", "", *said]
    text = "\n".join(lines)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.rstrip("\n") + "\n"


def _parts(right: Right, document: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    datasets = document.get("attributes", {}).get("datasets", [])
    if right is not Right.EXPLANATION:
        held = [*_records(document.get("records", [])), *_datasets(datasets)]
        yield "What is held (Article 15(1)(b))", [*held, *_flags(document)]
        yield "Where it is from (Article 15(1)(g))", _sources(document.get("records", []), datasets)
    if right is Right.ACCESS:
        terms = document.get("terms") or {}
        yield "Why it is used, and by whom (Article 15(1)(a))", _why(terms)
        yield "On what basis (Articles 6, 9 and 10)", _basis(terms, datasets)
        yield "Who got it (Article 15(1)(c))", _disclosures(document)
        yield (
            "How long it is kept (Article 15(1)(d))",
            _items(terms.get("kept", [])) or _wrapped(_WITHOUT_RECORD),
        )
    if right is not Right.PORTABILITY:
        yield "What machines decided (Article 15(1)(h))", _machines(document, datasets)
    yield "Why the family was shared", _wrapped(document.get("eligibility", {}).get("why", ""))
    if right is Right.ACCESS:
        yield "Your requests until now", _requests(document.get("requests", []))
    yield "Your rights (Article 15(1)(e) and (f))", [*_items(_RIGHTS), "", *_contacts(document["case"])]


def _records(records: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for one in records:
        version = f", version {one['version']}" if one.get("version", 1) > 1 else ""
        lines += [f"Identity, as sent by {_source(one)}, received on {labels.day(one['received'])}{version}"]
        lines += [f"  {name:<22} {value}" for name, value in labels.identity(one)]
        lines.append("")
    return lines


def _datasets(datasets: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for one in datasets:
        if one["source"] == "linkage":
            continue
        lines.append(labels.title(one["name"]))
        for row in sorted(one["rows"], key=lambda each: [str(said or "") for said in each.values()]):
            for name, value in row.items():
                if value is not None:
                    what, said = labels.value(one["name"], one["kinds"].get(name, ""), name, value, row)
                    lines += _wrapped(f"{what}: {said}", "  ", "    ")
            lines.append("")
        if not one["third_party"].startswith("0 "):
            lines += [f"  About other people: {one['third_party']}.", ""]
    return lines


def _flags(document: Mapping[str, Any]) -> list[str]:
    """What is not done with the data: either role knows of it, of somebody without attributes one alone."""
    held = document.get("attributes", {})
    said = {*held.get("flags", []), *(state.upper() for state in document.get("state", []))}
    lines = []
    for flag, what in labels.FLAGS.items():
        lines += _wrapped(what) if flag in said else []
    if held.get("purposes"):
        lines += _wrapped(f"It is not used for: {', '.join(held['purposes'])}.")
    if held.get("waiting"):
        lines += _wrapped("Some of it is left out of use until registers are linked anew.")
    return lines


def _sources(records: Sequence[Mapping[str, Any]], datasets: Sequence[Mapping[str, Any]]) -> list[str]:
    found = [f"Identity: {_source(one)}" for one in records]
    for one in datasets:
        register = registers.find(one["name"])
        if one["source"] == "sent":
            found.append(f"{labels.title(one['name'])}: sent by the council")
        elif one["source"] == "register" and register is not None:
            found.append(f"{labels.title(one['name'])}: {register.holder(date.today())}")
        elif one["source"] == "register":
            found.append(f"{labels.title(one['name'])}: sent by the register's holder")
        else:
            found.append("What linkage with registers came to: made here")
    return _items(list(dict.fromkeys(found)))


def _source(record: Mapping[str, Any]) -> str:
    return str(record.get("source", "a delivery"))


def _why(terms: Mapping[str, Any]) -> list[str]:
    if not terms:
        return _wrapped(_WITHOUT_RECORD)
    said = [f"{one['code']}: {' '.join(one['words'])}" for one in terms["purposes"]]
    return [*_wrapped(" ".join(terms["who"])), "", *_items(said)]


def _basis(terms: Mapping[str, Any], datasets: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [] if terms else _wrapped(_WITHOUT_RECORD)
    for one in terms.get("purposes", []):
        lines += ["", f"{one['code']}:", *_items(one["basis"])]
    for name in dict.fromkeys(one["name"] for one in datasets):
        register = registers.find(name)
        if register is not None:
            lines += ["", f"{labels.title(name)}:", *_items(register.basis)]
    return lines[1:] if terms else lines


def _disclosures(document: Mapping[str, Any]) -> list[str]:
    found = [*document.get("disclosures", []), *document.get("attributes", {}).get("disclosures", [])]
    told = []
    for one in sorted(found, key=lambda each: each["day"]):
        who = one["who"] if isinstance(one["who"], str) else ", ".join(one["who"])
        told.append(f"{labels.day(one['day'])}: {who}, for {one['why']}. Fields: {', '.join(one['fields'])}.")
    return _items(told) or ["Nobody got it."]


def _machines(document: Mapping[str, Any], datasets: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for one in document.get("logic", []):
        lines += [*_wrapped(one), ""]
    lines += _items([one["words"] for one in document.get("joins", [])])
    links = document.get("links", [])
    for link in links:
        if len(link["words"]) > 1:
            lines += ["", *_wrapped(labels.outcome(link)), *_items(link["words"][1:])]
    told = {link["register"] for link in links}
    kept = [row for one in datasets if one["source"] == "linkage" for row in one["rows"]]
    others = [link for link in links if len(link["words"]) == 1]
    others += [row for row in kept if row.get("register") not in told]
    return [*lines, "", *_items(sorted(map(labels.outcome, others)))]


def _requests(requests: Sequence[Mapping[str, Any]]) -> list[str]:
    return _items(
        [
            f"{one['case_id']}: {one['right']}, received on {labels.day(one['received'])}, "
            f"{one['outcome'] or 'not decided yet'}"
            for one in requests
        ]
    )


def _contacts(case: Mapping[str, Any]) -> list[str]:
    return [
        f"{_CONTACTS.get(one['who'], one['who'])}: {one['name']}, {one['how']}" for one in case["contacts"]
    ] or _wrapped(_WITHOUT_CONTACTS)


def _items(texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in _wrapped(text, "- ", "  ")]


def _wrapped(text: str, first: str = "", further: str = "") -> list[str]:
    return wrap(text, _WIDTH, initial_indent=first, subsequent_indent=further, break_on_hyphens=False)
