"""Which addresses of two lists are the same home: by UPRN, or by postcode, numbers, unit and names.

    addresses ──standardise──▶ postcode + numbers ──join──▶ same unit, no other street or building ──▶ pairs

The rules this module keeps:

- Nobody's name plays a part: nothing but an address is read.
- Two UPRNs decide: equal, it is the same home; different, it is not, whatever the lines say.
- Without a postcode that says something and without a UPRN nothing is found. A street without a number and
  without the name of a house is no home, nor is a flat of a house without either.
- Flats of one building are different homes, and none of them is the building.
"""

from __future__ import annotations

import polars as pl

from linker.records import Kind, Records
from linker.standardise import table
from linker.standardise.premises import last_postcode, premises

_LINES = (Kind.HOUSE, Kind.ADDRESS_LINE, Kind.ADDRESS, Kind.TOWN)


def homes(records: Records) -> pl.DataFrame:
    """What the records say of where a home is.

    Returns:
        Text columns address, postcode and uprn, as `same_homes` takes them; one row a record, in their order.
    """
    columns = {
        kind: [name for field in records.layout.fields if field.kind is kind for name in field.columns]
        for kind in (*_LINES, Kind.POSTCODE, Kind.UPRN)
    }
    lines = [pl.col(name) for kind in _LINES for name in columns[kind]]
    nothing = pl.lit(None, pl.String)
    return records.frame.select(
        (pl.concat_str(lines, separator=", ", ignore_nulls=True) if lines else nothing).alias("address"),
        *(
            pl.coalesce([*columns[kind], nothing]).alias(name)
            for kind, name in ((Kind.POSTCODE, "postcode"), (Kind.UPRN, "uprn"))
        ),
    )


def same_homes(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    """The pairs of addresses that are one home.

    Args:
        left: text columns address, postcode, uprn; null for what is not known.
        right: the same.

    Returns:
        Columns left and right (row numbers from 0), no pair twice, sorted.
    """
    places = _places(left), _places(right)
    one, other = (
        _keys(addresses, own, others, row)
        for addresses, own, others, row in (
            (left, places[0], places[1], "left"),
            (right, places[1], places[0], "right"),
        )
    )
    by_number = one.drop_nulls("uprn").join(other.drop_nulls("uprn"), on="uprn")
    by_lines = one.join(other, on=["postcode", "numbers"]).filter(_compatible())
    found = pl.concat([by_number.select("left", "right"), by_lines.select("left", "right")])
    return found.unique().sort("left", "right")


def _places(addresses: pl.DataFrame) -> pl.DataFrame:
    """Postcode and UPRN of each address; a postcode may stand at the end of the address itself."""
    stated = table(Kind.POSTCODE, addresses["postcode"])[""]
    without = addresses.select("address", stated.alias("postcode")).with_row_index("row")
    last = without.filter(pl.col("postcode").is_null()).select(
        "row", last_postcode(pl.col("address")).alias("last")
    )
    return (
        without.join(last, on="row", how="left", maintain_order="left")
        .select(pl.coalesce("postcode", "last").alias("postcode"))
        .with_columns(table(Kind.UPRN, addresses["uprn"])[""].alias("uprn"))
    )


def _keys(addresses: pl.DataFrame, own: pl.DataFrame, others: pl.DataFrame, row: str) -> pl.DataFrame:
    """What addresses are compared by; those that no postcode or UPRN of the others fits are left out."""
    fits = pl.any_horizontal(
        pl.col(name).is_in(others[name].drop_nulls().unique().implode()) for name in ("postcode", "uprn")
    )
    near = own.with_row_index(row).with_columns(addresses["address"].alias("raw")).filter(fits)
    parts = near.select(row, "postcode", "uprn", premises(pl.col("raw")).whole.alias("made")).unnest("made")
    return parts.select(row, "postcode", "uprn", "numbers", "unit", "streets", "buildings")


def _compatible() -> pl.Expr:
    """Whether two addresses of one postcode and the same numbers say nothing against one another."""
    # One number, and it may be a flat's: which building is meant then has to be said.
    alone = ~pl.col("numbers").str.contains(" ") & (
        (pl.col("numbers") == "") | pl.col("unit").is_not_null() | pl.col("unit_right").is_not_null()
    )
    shared = {
        name: pl.col(name).list.set_intersection(f"{name}_right").list.len() > 0
        for name in ("streets", "buildings")
    }
    silent = {
        name: (pl.col(name).list.len() == 0) | (pl.col(f"{name}_right").list.len() == 0) for name in shared
    }
    other_number = (pl.col("uprn") != pl.col("uprn_right")).fill_null(False)
    other_unit = (pl.col("unit") != pl.col("unit_right")).fill_null(False)
    return (
        ~other_number
        & ~other_unit
        & (shared["streets"] | silent["streets"])
        & (shared["buildings"] | (silent["buildings"] & ~alone))
    )
