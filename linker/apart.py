"""Links that may be of a twin: one day of birth, forenames that plainly differ, and no number that agrees.

A model learns from the records of one file that families agree on surname, address and, for twins, the day of
birth; of few records it learns too little of forenames to tell twins apart. So whoever may be a twin is for
people to decide (MoJ's Core Person Record and ONS hand such pairs to people as well).
"""

from __future__ import annotations

from typing import Final

import jellyfish
import polars as pl

from linker.further_names import ALIASES
from linker.standardise.names import nickname_groups

ALIKE: Final = 0.9
"""Jaro-Winkler similarity of two forenames from which they may be one name."""
_NUMBERS: Final = ("nhs", "nino", "upn", "uln", "pncid")


def may_be_twins(pairs: pl.DataFrame, records: pl.DataFrame) -> pl.Series:
    """Which pairs may be of twins.

    Args:
        pairs: left_id and right_id.
        records: `id`, `given`, `born` and the numbers that are kept of a person, all text, and their further
            names (`linker.further_names.NAMES`): who goes by another forename too is known by either.

    Returns:
        Boolean, in the order of the pairs.
    """
    kept = ("given", "born", *_NUMBERS)
    others = pl.col(ALIASES).list.eval(pl.element().struct.field("given")).list.join(" ", ignore_nulls=True)
    records = records.with_columns(given=pl.concat_str("given", others, separator=" ", ignore_nulls=True))
    both = pairs.select("left_id", "right_id")
    for side in ("left", "right"):
        theirs = records.select(**{f"{side}_id": "id"}, **{f"{side} {name}": name for name in kept})
        both = both.join(theirs, on=f"{side}_id", how="left", maintain_order="left")
    same_day = (pl.col("left born") == pl.col("right born")).fill_null(False)
    numbers = [(pl.col(f"left {name}") == pl.col(f"right {name}")).fill_null(False) for name in _NUMBERS]
    named = [_letters(pl.col(f"{side} given")) for side in ("left", "right")]
    suspects = both.select(
        asked=same_day & ~pl.any_horizontal(numbers) & (named[0].list.len() > 0) & (named[1].list.len() > 0)
        & (named[0].list.set_intersection(named[1]).list.len() == 0),
        left=named[0],
        right=named[1],
    ).with_row_index("row")  # fmt: skip
    # Those are few: nearly all links agree on a forename.
    few = suspects.filter(pl.col("asked").fill_null(False))
    apart = [
        row
        for row, _, left, right in few.iter_rows()
        if not any(_alike(one, other) for one in left for other in right)
    ]
    return suspects["row"].is_in(apart)


def _letters(given: pl.Expr) -> pl.Expr:
    """The forenames of a record, without signs and accents."""
    plain = given.str.normalize("NFKD").str.to_uppercase().str.replace_all(r"\p{M}", "")
    return plain.str.extract_all(r"\p{L}+").fill_null([])


def _alike(one: str, other: str) -> bool:
    """Whether two forenames may be one: alike, or one is the beginning or the short form of the other."""
    first, second = sorted((one, other), key=len)
    if second.startswith(first):
        return True
    if jellyfish.jaro_winkler_similarity(one, other) >= ALIKE:
        return True
    groups = nickname_groups()
    return not set(groups.get(one, ())).isdisjoint(groups.get(other, ()))
