"""What linkage says of each person and register, as a dataset of its own: `links`.

The attributes role declares it itself, and nobody uploads to it. It tells "not applicable" from "not linked",
and how sure a link is, by codes alone: no weight is in it. To be in some registers is to have offended or
to be ill: its columns are tagged as both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import polars as pl

from pseudonym.datasets import Column, Dataset, Kind, Tag
from pseudonym.errors import InputError

NAME: Final = "links"
OUTCOMES: Final = ("AMBIGUOUS", "LINKED", "NOT_APPLICABLE", "NOT_LINKED", "REVIEW")
COLUMNS: Final = ("register", "outcome", "stage", "band")
NONE: Final = "-"
_TAGS: Final = frozenset({Tag.SPECIAL_CATEGORY, Tag.CRIMINAL_OFFENCE})


def read(outcomes: pl.Series, register: str) -> pl.DataFrame:
    """Outcomes as the broker has them ("LINKED probabilistic high") in the columns of the dataset.

    Raises:
        InputError: one is not of that form, or says what no linkage says.
    """
    parts = outcomes.str.split(" ")
    if not (parts.list.len() == 3).all() or not parts.list.first().is_in(OUTCOMES).all():
        raise InputError("An outcome of a linkage is not of its form.", "Nothing of it was stored.")
    codes = {name: parts.list.get(place) for place, name in enumerate(COLUMNS[1:])}
    frame = pl.DataFrame([values.alias(name) for name, values in codes.items()])
    return frame.select(
        pl.lit(register).alias("register"), *(pl.col(name).replace(NONE, None) for name in COLUMNS[1:])
    )


def declaration(frame: pl.DataFrame, before: Dataset | None) -> Dataset:
    """The declaration that holds all of a frame's codes beside those that were declared before."""

    def codes(name: str, least: Iterable[str] = ()) -> tuple[str, ...]:
        known = before.column(name).codes if before is not None else ()
        return tuple(sorted({*known, *least, *frame[name].drop_nulls().unique()})) or (NONE,)

    lists = {name: codes(name, OUTCOMES if name == "outcome" else ()) for name in COLUMNS}
    return Dataset(NAME, tuple(Column(name, Kind.CODE, codes=lists[name], tags=_TAGS) for name in COLUMNS))
