"""Columns about a family: their values say where a person belongs, and not who the person is.

The members of one family agree on them, and would pass for one person. Headings tell most such columns
(`linker.headings`); of the others the values do: words of kinship, codes that the people of one address
share, whatever a whole family has in common.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache

import polars as pl

from linker.records import Kind
from linker.standardise.text import rows
from linker.values import look

RELATION = "a place in the family, not who somebody is"
WHOLE_FAMILY = "the same for a whole family, not who somebody is"

_FEWEST = 10  # families of several people, of whom something can be said
_NEARLY_ALL = 0.9  # of these families, or of the values
_HALF = 0.5
_LARGEST = 8  # people a family, on average
_WORDS = 100  # different values of a column of kinship, at most
_HOMES = (Kind.POSTCODE, Kind.UPRN, Kind.ADDRESS, Kind.ADDRESS_LINE)
_ANSWERS = ("yes", "no", "y", "n", "true", "false", "t", "f", "1", "0")
_FORENAMES = (Kind.FORENAME, Kind.FULL_NAME)


def judge(
    frame: pl.DataFrame, kinds: Mapping[str, Kind], unknown: Collection[str]
) -> tuple[list[str], dict[str, str]]:
    """Which columns are references of families, and which are to be left out.

    Args:
        frame: the records.
        kinds: what each column is taken for.
        unknown: those of them whose headings say nothing.

    Returns:
        The references, and a reason for each column to leave out.
    """
    homes = [frame[column] for column, kind in kinds.items() if kind in _HOMES]
    forenames = [frame[column] for column, kind in kinds.items() if kind in _FORENAMES]
    references = [column for column in unknown if _is_reference(frame[column], homes, forenames)]
    families = [column for column, kind in kinds.items() if kind is Kind.HOUSEHOLD] + references
    left_out = {}
    for column in unknown:
        if column in references:
            continue
        if _says_relation(frame[column]):
            left_out[column] = RELATION
        elif any(_is_whole_family(frame[column], frame[family]) for family in families):
            left_out[column] = WHOLE_FAMILY
    return references, left_out


def _says_relation(column: pl.Series) -> bool:
    """Whether values are words of kinship: "mother", "Step-son", "other adult"."""
    seen = look(column)
    if not 2 <= seen.distinct <= _WORDS:
        return False
    words = seen.sample["value"].str.to_lowercase().str.extract_all(r"\p{L}+")
    known = words.list.eval(pl.element().is_in(_kinship())).list.all() & (words.list.len() > 0)
    return _share(known) >= _NEARLY_ALL


@cache
def _kinship() -> list[str]:
    return [row["word"] for row in rows("kinship.csv")]


def _is_reference(column: pl.Series, homes: list[pl.Series], forenames: list[pl.Series]) -> bool:
    """Whether people of several forenames share a code, and with it a home."""
    values = _text(column).drop_nulls()
    if not len(values) or _share(values.str.contains("[0-9]")) < _NEARLY_ALL:
        return False
    if len(values) > _LARGEST * values.n_unique():
        return False
    at_home = [share for one in homes if (share := _agreeing(column, one)) is not None]
    alike = [share for one in forenames if (share := _agreeing(column, one)) is not None]
    return bool(at_home and alike) and max(at_home) >= _NEARLY_ALL and max(alike) <= _HALF


def _is_whole_family(column: pl.Series, families: pl.Series) -> bool:
    """Whether nearly all families have one value.

    A yes or no tells hardly anybody apart, and stays: whose record is protected, for one, must be known.
    """
    share = _agreeing(families, column)
    answers = _text(column).drop_nulls().str.to_lowercase().unique().is_in(_ANSWERS).all()
    return share is not None and share >= _NEARLY_ALL and not answers


def _agreeing(families: pl.Series, column: pl.Series) -> float | None:
    """The share of the families with several values of a column in which these are one; None of too few."""
    frame = pl.DataFrame({"family": _text(families), "value": _text(column)}).drop_nulls()
    groups = frame.group_by("family").agg(people=pl.len(), values=pl.col("value").n_unique())
    several = groups.filter(pl.col("people") > 1)
    return _share(several["values"] == 1) if several.height >= _FEWEST else None


def _share(holds: pl.Series) -> float:
    return int(holds.sum()) / len(holds) if len(holds) else 0.0


def _text(column: pl.Series) -> pl.Series:
    return column.cast(pl.String).str.strip_chars().replace("", None)
