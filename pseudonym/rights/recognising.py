"""Rows of a delivery that are a person's whose data may not be used: known again, and put under that person.

It asks for as much as finding a person does (`pseudonym.seeking`): the day of birth with a number, or with
forename, surname and postcode where no number says otherwise. Twins are told apart by the forename.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from pseudonym.records import NUMBERS

BITS: Final = 60.0
"""The weight of such a link: it stands as it is, whatever else is found."""
_COMPARED: Final = ("nhs", "nino", "upn")


def recognised(rows: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    """Which rows are whose.

    Args:
        rows: `row`, and given, surname, born, postcode and the numbers, all text.
        kept: `record`, and the same columns, of the people whose data may not be used.

    Returns:
        `row` and `record`: one record at most for each row. Where several agree, it is the first: the row
        stays unused with any of them.
    """
    left, right = _spelt(rows, "row"), _spelt(kept, "record")
    both = []
    for on in (*_COMPARED, ("given", "surname", "postcode")):
        names = [on] if isinstance(on, str) else list(on)
        one, other = (side.drop_nulls(["born", *names]) for side in (left, right))
        both.append(
            one.join(other, on=["born", *names], suffix=" kept", coalesce=False).select(
                "row", "record", by_number=pl.lit(isinstance(on, str)), **_against()
            )
        )
    found = pl.concat(both).filter(pl.col("by_number") | ~pl.col("against"))
    return (
        found.select("row", "record").sort("row", "record").unique("row", keep="first", maintain_order=True)
    )


def with_recognised(links: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Links (left, right, weight), with what was recognised in the place of whatever else those rows had."""
    rows = found["row"].implode()
    others = links.filter(~pl.col("left").is_in(rows) & ~pl.col("right").is_in(rows))
    mine = found.select(left="row", right="record", weight=pl.lit(BITS))
    return pl.concat([others, mine.cast(dict(links.schema.items()))])


def _spelt(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    def code(of: str) -> pl.Expr:
        text = pl.col(of).str.to_uppercase().str.replace_all("[^A-Z0-9]", "")
        return pl.when(text != "").then(text).alias(of)

    def letters(of: str) -> pl.Expr:
        text = pl.col(of).str.normalize("NFKD").str.to_uppercase().str.replace_all(r"\P{L}", "")
        return pl.when(text != "").then(text).alias(of)

    numbers = (code(one) for one in NUMBERS)
    return frame.select(name, "born", letters("given"), letters("surname"), code("postcode"), *numbers)


def _against() -> dict[str, pl.Expr]:
    """Whether a number of both says that they are two people."""
    differ = [(pl.col(one) != pl.col(f"{one} kept")).fill_null(False) for one in _COMPARED]
    return {"against": pl.any_horizontal(differ)}
