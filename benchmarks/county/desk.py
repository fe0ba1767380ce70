"""A council's file as an officer has it: Fenham's second delivery as CSV, with what is often wrong.

Everything is made up, and depends on the number of families and the seed alone.
"""

from __future__ import annotations

import polars as pl

from benchmarks.county.block import block_lives
from benchmarks.county.councils import deliveries
from benchmarks.county.county import BLOCK, County
from benchmarks.county.presets import PRESETS

ENOUGH = 2  # problems
FEWEST = 20  # families, so that there is one of each kind below


def council_file(families: int, seed: int) -> pl.DataFrame:
    """The file, all text.

    Args:
        families: those that the county's three councils assessed.
        seed: everything else follows from it.

    Raises:
        ValueError: too few families.
    """
    if families < FEWEST:
        raise ValueError(f"At least {FEWEST} families.")
    made = County(families, seed, PRESETS["realistic"])
    parts = [deliveries(block_lives(made, block), 1)[0].frame for block in made.blocks(BLOCK)]
    return spoilt(pl.concat(parts).sort("Family ID", "Person Ref"))


def spoilt(frame: pl.DataFrame) -> pl.DataFrame:
    """The file with a slip of each kind.

    A day after the delivery, in a family with too few problems; support that ends before it begins; a
    relation that only this council knows; a remark beside a name; a child with a National Insurance number,
    which is the mother's; and a row that is there twice.
    """
    numbered = frame.with_row_index("at")
    problems = pl.col("Criteria Met").str.split("; ").list.len()
    child = pl.col("Relationship") == "child"
    few = pl.col("Criteria Met").str.contains("^[A-Z_]+$")
    wanted = {
        "late": few,
        "over": (problems >= ENOUGH) & pl.col("Support Start").is_not_null(),
        "lodger": (problems >= ENOUGH) & (pl.col("Relationship") == "grandparent"),
        "remark": (problems >= ENOUGH) & child,
        "number": (problems >= ENOUGH) & child & (pl.col("Date of Birth") > "2012"),
        "twice": problems >= ENOUGH,
    }
    taken: dict[str, int] = {}
    for slip, where in wanted.items():
        free = numbered.filter(where & ~pl.col("at").is_in(list(taken.values())))
        if free.height:
            taken[slip] = free["at"][0]
    changes = {
        "late": {"Date Screened": pl.lit("2052-01-07")},
        "over": {"Support End": pl.lit("2019-12-20")},
        "lodger": {"Relationship": pl.lit("lodger")},
        "remark": {"Forename": pl.col("Forename") + " (mother asks not to be rung at work, see notes)"},
        "number": {"NI Number": pl.lit("QQ123456C")},
    }
    for slip, change in changes.items():
        for column, value in change.items():
            here = pl.col("at") == taken.get(slip, -1)
            numbered = numbered.with_columns(pl.when(here).then(value).otherwise(column).alias(column))
    again = numbered.filter(pl.col("at") == taken.get("twice", -1))
    return pl.concat([numbered, again]).drop("at")
