"""Analysis files of two sets of roles made comparable: numbers are random, what they hold together is not."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

PERSON, FAMILY = "person", "family"


def renumbered(tables: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The tables with numbers by order of first appearance, once all stand in the order of what they say.

    Families stand in the order of what is said of them and of their members, persons in that of their family
    and of what all tables say of them. Who is alike in all of that may be exchanged, and nothing changes.

    Args:
        tables: of an analysis file; `persons` and `families` among them.
    """
    persons, families = tables["persons"], tables["families"]
    said = pl.concat(_said(name, frame, PERSON) for name, frame in tables.items() if PERSON in frame.columns)
    own = said.sort("said").group_by(PERSON).agg(pl.col("said").str.join("\x1e"))
    placed = persons.select(PERSON, FAMILY).join(own, on=PERSON)
    members = (
        placed.drop_nulls(FAMILY).sort("said").group_by(FAMILY).agg(members=pl.col("said").str.join("\x1d"))
    )
    homes = _said("families", families, FAMILY).join(members, on=FAMILY)
    homes = homes.sort("said", "members").select(FAMILY).with_row_index("home")
    people = placed.join(homes, on=FAMILY, how="left").sort("home", "said", nulls_last=True)
    people = people.select(PERSON).with_row_index("number")
    assert (homes.height, people.height) == (families.height, persons.height)
    found = {}
    for name, frame in tables.items():
        for column, numbers in ((PERSON, people), (FAMILY, homes)):
            if column in frame.columns:
                order = frame.columns
                renamed = numbers.rename({numbers.columns[0]: "new"})
                frame = (
                    frame.join(renamed, on=column, how="left")
                    .drop(column)
                    .rename({"new": column})
                    .select(order)
                )
        found[name] = frame.sort(frame.columns)
    return found


def _said(name: str, frame: pl.DataFrame, of: str) -> pl.DataFrame:
    """What each row of a table says but for numbers, as one text, and of whom."""
    texts = [
        pl.col(one).cast(pl.String).fill_null("\x00") for one in frame.columns if one not in (PERSON, FAMILY)
    ]
    return frame.select(of, said=pl.concat_str([pl.lit(name), *texts], separator="\x1f"))
