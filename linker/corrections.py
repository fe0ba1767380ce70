"""Values that take the place of a person's wrong ones: as linkage keeps them, or why they can be nobody's.

    value by field ──standardise──▶ as it is kept │ reason code

The same checks as of a council's file; but what is merely unlikely there (a first of January 1970, a name
that looks like a filler) is right where somebody has looked at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

import polars as pl

from linker.joining import KEPT
from linker.records import Kind
from linker.standardise import standard_of
from linker.standardise.dates import date_of_birth
from linker.standardise.steps import PROBLEM

_NAMES: Final = ("given", "surname")
_AS_WRITTEN: Final = (*_NAMES, "address")
"""What is kept as it is written; the rest has one spelling."""
_UNLIKELY: Final = "default_date"


def spelt(values: Mapping[str, str], day: date) -> tuple[dict[str, str], dict[str, str]]:
    """The values as they are kept, and what is wrong with the others.

    Args:
        values: text, by names of `linker.joining.KEPT`; an empty one stays as it is. A day of birth is
            YYYY-MM-DD.
        day: after which nobody was born yet.

    Returns:
        The values, and by field a reason code (see `linker.standardise.problem`) for each that is none.
    """
    made, wrong = dict(values), dict[str, str]()
    for name in (one for one in KEPT if values.get(one, "").strip()):
        kind = KEPT[name]
        raw = pl.lit(values[name].strip())
        if name in _AS_WRITTEN:
            made[name] = values[name].strip()
            fits = name not in _NAMES or any(sign.isalpha() for sign in made[name])
            reason = None if fits else "format"
        else:
            born = kind is Kind.DATE_OF_BIRTH
            standard = date_of_birth(raw, today=day) if born else standard_of(kind, raw)
            parts = pl.select(value=standard.part(""), reason=standard.part(PROBLEM))
            value, reason = parts.row(0)
            if not born:
                made[name] = value or ""
                reason = reason or (None if value else "format")
        if reason is not None and reason != _UNLIKELY:
            wrong[name] = reason
    return made, wrong
