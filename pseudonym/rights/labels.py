"""Words for what an answer holds: days, months and quarters written out, codes with what they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from typing import Any, Final

from pseudonym import registers
from pseudonym.datasets import Kind
from pseudonym.study import schemes
from pseudonym.study.declaring import DATASET
from pseudonym.study.fields import RELATIONS, SOURCE, SOURCES

FLAGS: Final = {
    "RESTRICTED": "It is restricted: kept, and used for nothing.",
    "OBJECTED": "You objected: it is kept, and used for nothing.",
    "LIMITED": "It is restricted for some purposes.",
}
"""What may not be done with somebody's data, by the name of its flag."""
_FIELDS: Final = {
    "born": "Date of birth",
    "sex": "Sex",
    "nhs": "NHS number",
    "nino": "National Insurance number",
    "upn": "Unique pupil number",
    "uln": "Unique learner number",
    "pncid": "PNC number",
}
_SEXES: Final = {"F": "female", "M": "male", "X": "neither"}
_COLUMNS: Final = {
    "council": "Council",
    "scheme": "Scheme",
    "as_of": "As of",
    "birth_quarter": "Born in the quarter",
    "family_problems": "Problems of the family",
    "relation": "In the family",
    "arm": "Group",
    "intervention": "Support",
    "intensity": "Amount of support",
}
_OUTCOMES: Final = {
    "LINKED": "a row of it was taken to be yours",
    "NOT_LINKED": "no row of it was found to be yours",
    "NOT_APPLICABLE": "you cannot be in it, so it was not looked through",
    "AMBIGUOUS": "several rows fitted, so none was taken to be yours",
    "REVIEW": "somebody has to look whether a row is yours",
}
_QUARTERS: Final = {"1": "January to March", "2": "April to June", "3": "July to September"}


def day(text: str) -> str:
    """`2026-11-23` as 23 November 2026."""
    found = date.fromisoformat(text)
    return f"{found.day} {found:%B %Y}"


def identity(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a record says of who somebody is: the name of each value, and the value."""
    for name, what in (("names", "Name"), ("aliases", "Also known as")):
        for one in record.get(name, ()):
            yield what, " ".join(part for part in (one.get("given"), one.get("surname")) if part)
    for place, one in enumerate(record.get("addresses", ())):
        parts = (one.get("lines"), _postcode(one.get("postcode", "")))
        yield "Former address" if place else "Address", ", ".join(part for part in parts if part)
    for name, what in _FIELDS.items():
        if said := record.get(name):
            yield what, day(said) if name == "born" else _SEXES.get(said, said) if name == "sex" else said
    for one in record.get("former", ()):
        what = _FIELDS.get(one["what"], one["what"].capitalize())
        span = [
            f"{word} {day(one[part])}" for word, part in (("from", "since"), ("to", "until")) if part in one
        ]
        yield (
            f"Former {what}" if what.isupper() else f"Former {what[0].lower()}{what[1:]}",
            " ".join([one["value"], *span]),
        )


def title(dataset: str) -> str:
    """What a dataset is called."""
    register = registers.find(dataset)
    if register is not None:
        return f"{register.title} ({dataset})"
    return "What the council knows of the family" if dataset == DATASET else f"Dataset {dataset}"


def value(dataset: str, kind: str, name: str, said: Any, row: Mapping[str, Any]) -> tuple[str, str]:
    """A column and a value of it, in words.

    Args:
        dataset: the name of its dataset.
        kind: what the column was declared to hold.
        name: the column's.
        said: the value.
        row: all of the row: it names its scheme.
    """
    register = registers.find(dataset)
    what = register.meaning(name) if register is not None else _column(dataset, name, row)
    return what or name.replace("_", " ").capitalize(), _words(kind, name, said, row)


def outcome(row: Mapping[str, Any]) -> str:
    """What a linkage with a register came to."""
    band = str(row.get("band") or "").replace("-", " ")
    sure = f" (weight {band} bits)" if band else ""
    by_people = " Somebody decided it." if row.get("stage") == "clerical" else ""
    said = _OUTCOMES.get(str(row.get("outcome")), str(row.get("outcome")))
    return f"{title(str(row.get('register')))}: {said}{sure}.{by_people}"


def _postcode(text: str) -> str:
    """`CB27QX` as CB2 7QX."""
    return f"{text[:-3]} {text[-3:]}" if " " not in text and len(text) > 4 else text


def _column(dataset: str, name: str, row: Mapping[str, Any]) -> str:
    if dataset != DATASET:
        return ""
    if name.endswith(SOURCE):
        return f"Who told: {_column(dataset, name.removesuffix(SOURCE), row) or name.removesuffix(SOURCE)}"
    return _COLUMNS.get(name) or _scheme_words(row).get(name, "")


def _words(kind: str, name: str, said: Any, row: Mapping[str, Any]) -> str:
    text = str(said)
    match kind:
        case Kind.FLAG:
            return "yes" if said is True or text == "true" else "no"
        case Kind.MONTH:
            return f"{date.fromisoformat(f'{text}-01'):%B %Y}"
        case Kind.QUARTER:
            year, _, quarter = text.partition("-Q")
            return f"{_QUARTERS.get(quarter, 'October to December')} {year}"
        case Kind.CODE if name in ("council", "scheme") or not {"scheme"} & row.keys():
            label = _schemes().get(text, "") if name == "scheme" else ""
        case Kind.CODE if name.endswith(SOURCE):
            label = SOURCES.get(text, "")
        case Kind.CODE:
            label = RELATIONS.get(text, "") if name == "relation" else _codes(row).get(f"{name}={text}", "")
        case _:
            return text
    spaced = text.replace("_", " ")
    return f"{label} ({text})" if label else spaced


@cache
def _scheme(name: str) -> schemes.Scheme | None:
    return schemes.scheme(name) if name in schemes.names() else None


def _schemes() -> dict[str, str]:
    return {name: found.title for name in schemes.names() if (found := _scheme(name)) is not None}


def _scheme_words(row: Mapping[str, Any]) -> dict[str, str]:
    """The words of problems and their signs, by column."""
    found = _scheme(str(row.get("scheme", "")))
    if found is None:
        return {}
    words = {problem.column: problem.words for problem in found.problems}
    signs = {sign.code: sign.words for problem in found.problems for sign in problem.indicators}
    return words | {code: said.capitalize() for code, said in signs.items()}


def _codes(row: Mapping[str, Any]) -> dict[str, str]:
    """The words of a scheme's codes, by column and code."""
    found = _scheme(str(row.get("scheme", "")))
    if found is None:
        return {}
    return {
        **{f"arm={code}": words for code, words in found.arms.items()},
        **{f"intervention={code}": words for code, words in found.interventions.items()},
        **{f"intensity={band.code}": band.words for band in found.intensity},
    }
