"""A person's record with values corrected, and what was there before kept or not.

The rules this module keeps:

- A value that was true once stays: a name as an alias, an address after the present one, a number among the
  former values. One that was never true of the person is nowhere any more: of the fields that are
  corrected so, nothing stays but the right value, even where that stood there already.
- A day of birth was never another one, so nothing is kept of a wrong one.
- Corrected twice is as corrected once.
- No value takes another's place that can be nobody's: a day that is to come, a number whose check digit does
  not fit. An error names the field and what is wrong, never the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from typing import Final, TypeAlias

from pseudonym.errors import InputError
from pseudonym.records import NUMBERS, Address, Former, Identity, Name
from pseudonym.rights.cases import Truth

FIELDS = ("given", "surname", "born", "sex", "address", "postcode", *NUMBERS)
"""What may be corrected. An empty text takes a number away that is not the person's."""
KNOWN: Final = f"given (the forenames), {', '.join(FIELDS[1:])}"
"""The same, for whoever types them."""

Spelt: TypeAlias = Callable[[Mapping[str, str], date], tuple[dict[str, str], dict[str, str]]]
"""Takes values by name of `FIELDS` and the day; gives them as linkage keeps them, and by field a reason code
where a value can be nobody's."""

_FORMS: Final = {
    "given": "with letters, on one line",
    "surname": "with letters, on one line",
    "born": "as YYYY-MM-DD",
    "sex": "as F, M or X",
    "address": "on one line",
    "postcode": "whole, such as CB2 7QX",
    "nhs": "as ten digits",
    "nino": "as two letters, six digits and a last letter A to D",
    "upn": "as a letter, eleven digits, and a digit or letter",
    "uln": "as ten digits",
    "pncid": "as year, stroke, serial number and letter",
}
_WRONG: Final = {
    "format": "it is not written as such a value is",
    "check_digit": "its check digit or letter does not fit the rest",
    "not_allocated": "it is of a kind that was never given out",
    "sentinel": "it stands for a value that is not known",
    "pseudo_postcode": "it stands for no place",
    "future_date": "the day is still to come",
    "implausible_date": "the day is too long ago",
}
_LOOKED_AT: Final = ("check_digit", "not_allocated", "future_date", "implausible_date")
"""What is written as it should be, and wrong all the same."""


def check(values: Mapping[str, str], truth: Truth) -> None:
    """Do nothing if these values may take the place of others.

    Raises:
        InputError: a field is unknown, nothing is given, a day is none, or a day of birth was true once.
    """
    if not values:
        raise InputError("Nothing is corrected.", f"Give the right value of {KNOWN}.")
    if not set(values) <= set(FIELDS):
        raise InputError("A field that is to be corrected is none.", f"Fields are {KNOWN}.")
    if "born" in values:
        if not _is_day(values["born"]):
            raise InputError("The corrected born is no day as YYYY-MM-DD.", "Write it so.")
        if truth is Truth.FORMER:
            raise InputError(
                "A day of birth was never another one.", "Correct it by itself, as a value never true."
            )
    for name in ("given", "surname", "address", "postcode", "sex"):
        if name in values and not values[name].strip():
            raise InputError(f"The corrected {name} is empty.", "Say what it is.")


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def spelling(values: Mapping[str, str], truth: Truth, spelt: Spelt, day: date) -> dict[str, str]:
    """The values as they are kept.

    Args:
        values: by name of `FIELDS`; a blank one is empty.
        truth: what the values were that they take the place of.
        spelt: what knows how values are kept.
        day: today.

    Raises:
        InputError: as `check`; or a value can be nobody's.
    """
    typed = {name: text.strip() for name, text in values.items()}
    check(typed, truth)
    made, wrong = spelt(typed, day)
    if wrong:
        told = "; ".join(f"{name}: {_WRONG.get(why, _WRONG['format'])}" for name, why in wrong.items())
        forms = ", ".join(f"{name} {_FORMS[name]}" for name, why in wrong.items() if why not in _LOOKED_AT)
        written = f" Write {forms}." if forms else ""
        raise InputError(
            f"Corrected values that cannot be right. {told}.",
            f"Look at them again: nothing was changed.{written}",
        )
    return made


def corrected(before: Identity, values: Mapping[str, str], truth: Truth) -> Identity:
    """The identity with these values as its present ones.

    Args:
        before: what one source says of the person.
        values: by name of `FIELDS`, as `check` lets through.
        truth: what the values were that they take the place of.
    """
    made = before
    kept = truth is Truth.FORMER
    if {"given", "surname"} & values.keys():
        old = before.names[0] if before.names else Name()
        new = Name(values.get("given", old.given), values.get("surname", old.surname))
        made = _named(made, old, new, kept=kept)
    if {"address", "postcode"} & values.keys():
        was = before.addresses[0] if before.addresses else Address()
        now = Address(values.get("address", was.lines), values.get("postcode", was.postcode))
        made = _placed(made, was, now, kept=kept)
    if "born" in values:
        made = replace(made, born=date.fromisoformat(values["born"]))
    if "sex" in values:
        made = replace(made, sex=values["sex"])
    for number in NUMBERS:
        if number in values:
            made = _numbered(made, number, values[number], kept=kept)
    return made if kept else _only(made, values)


def _only(made: Identity, values: Mapping[str, str]) -> Identity:
    """The identity without what stays of other values in these fields, whenever they came there."""

    def right(**fields: str) -> bool:
        return all(values.get(name, text) == text for name, text in fields.items())

    return replace(
        made,
        aliases=tuple(one for one in made.aliases if right(given=one.given, surname=one.surname)),
        addresses=tuple(one for one in made.addresses if right(address=one.lines, postcode=one.postcode)),
        former=tuple(one for one in made.former if right(**{one.what: one.value})),
    )


def _named(made: Identity, old: Name, new: Name, *, kept: bool) -> Identity:
    if new == old:
        return made
    others = [one for one in made.aliases if one != new]
    if kept and old != Name() and old not in others:
        others.append(old)
    return replace(made, names=(new, *made.names[1:]), aliases=tuple(others))


def _placed(made: Identity, was: Address, now: Address, *, kept: bool) -> Identity:
    if now == was:
        return made
    others = [one for one in made.addresses[1:] if one not in (now, was)]
    if kept and was != Address():
        others.insert(0, was)
    return replace(made, addresses=(now, *others))


def _numbered(made: Identity, number: str, value: str, *, kept: bool) -> Identity:
    old: str = getattr(made, number)
    if old == value:
        return made
    former = [one for one in made.former if (one.what, one.value) not in ((number, value), (number, old))]
    if kept and old:
        former.append(Former(number, old))
    return replace(made, **{number: value}, former=tuple(former))  # type: ignore[arg-type]
