"""Values that take the place of a person's wrong ones: as linkage keeps them, or why they can be nobody's.

    value by field ──standardise──▶ as it is kept │ reason code

The same checks as of a council's file; but what is merely unlikely there (a first of January 1970, a name
that looks like a filler) is right where somebody has looked at it. A day on which nobody can have been born
is wrong all the same, and a day is written in one way only: whoever looked at it can say which it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

import polars as pl

from linker.joining import KEPT
from linker.records import Kind
from linker.standardise import standard_of
from linker.standardise.dates import EARLIEST
from linker.standardise.steps import PROBLEM

_NAMES: Final = ("given", "surname")
_AS_WRITTEN: Final = (*_NAMES, "address")
"""What is kept as it is written, on one line; the rest has one spelling."""


def spelt(values: Mapping[str, str], day: date) -> tuple[dict[str, str], dict[str, str]]:
    """The values as they are kept, and what is wrong with the others.

    Args:
        values: text, by names of `linker.joining.KEPT`; a blank one is empty. A day of birth is YYYY-MM-DD.
        day: after which nobody was born yet.

    Returns:
        The values, and by field a reason code (see `linker.standardise.problem`) for each that is none.
    """
    made, wrong = {name: text.strip() for name, text in values.items()}, dict[str, str]()
    for name in (one for one in KEPT if made.get(one)):
        text, kind = made[name], KEPT[name]
        if kind is Kind.DATE_OF_BIRTH:
            reason = _no_birthday(text, day)
        elif name in _AS_WRITTEN:
            lettered = name not in _NAMES or any(sign.isalpha() for sign in text)
            reason = None if lettered and len(text.splitlines()) == 1 else "format"
        else:
            standard = standard_of(kind, pl.lit(text))
            parts = pl.select(value=standard.part(""), reason=standard.part(PROBLEM))
            value, reason = parts.row(0)
            made[name] = value or ""
            reason = reason or (None if value else "format")
        if reason is not None:
            wrong[name] = reason
    return made, wrong


def _no_birthday(text: str, day: date) -> str | None:
    try:
        born = date.fromisoformat(text)
    except ValueError:
        return "format"
    if born.isoformat() != text:  # other ways of ISO 8601, such as 20100203
        return "format"
    if born > day:
        return "future_date"
    return "implausible_date" if born < EARLIEST else None
