"""Identities as whoever links sees them: text, one name and one address a row, other names beside them."""

from __future__ import annotations

from typing import Final

import polars as pl

from pseudonym import columns
from pseudonym.columns import ALIASES
from pseudonym.records import NUMBERS, SCHEMA

FLAT: Final = ("given", "surname", "born", "sex", "address", "postcode", *NUMBERS)
"""The columns of an identity on its way to and from who links: text, one name and one address."""

CORRECTED: Final = pl.col("changed").dt.to_string("%Y-%m-%d")
"""The day of a record's last correction, as text."""


def spread(opened: pl.DataFrame, beside: pl.DataFrame) -> pl.DataFrame:
    """Each record with each of its names and addresses (`FLAT`), after some columns beside it."""
    whole = columns.checked(opened.select(name for name in opened.columns if name in SCHEMA))
    named = whole.select(
        pl.col("born").dt.to_string("%Y-%m-%d"),
        "sex",
        *NUMBERS,
        name=pl.concat_list(pl.col("names", "aliases").fill_null([])),
        place="addresses",
    )
    name, place = pl.col("name").struct, pl.col("place").struct
    return (
        beside.hstack(named)
        .explode("name")
        .explode("place")
        .with_columns(
            given=name.field("given"),
            surname=name.field("surname"),
            address=place.field("lines"),
            postcode=place.field("postcode"),
        )
        .select(*beside.columns, *FLAT)
    )


def flat_rows(opened: pl.DataFrame) -> pl.DataFrame:
    """What was opened of a person (`Vault.open`), as `FLAT`; former values stand for themselves."""
    beside = opened.select("pid")
    rows = spread(opened.select("pid", *(name for name in opened.columns if name in SCHEMA)), beside)
    former = opened.select("former").explode("former").drop_nulls().unnest("former")
    names = {"surname": "surname", "postcode": "postcode", **{name: name for name in NUMBERS}}
    parts = [rows.select(FLAT)]
    for what, column in names.items():
        values = former.filter(pl.col("what") == what)["value"].alias(column)
        if len(values):
            parts.append(pl.DataFrame(values))
    return pl.concat(parts, how="diagonal").select(FLAT)


def flat_known(opened: pl.DataFrame) -> pl.DataFrame:
    """Those who are known (`People.known`), as a join sees them: first name and address, and `ALIASES`."""
    whole = columns.checked(opened.drop("unit", "pid", "source", "protected", "changed", strict=False))
    name, address = pl.col("names").list.first(), pl.col("addresses").list.first()
    return opened.select(CORRECTED, record=pl.col("unit").bin.encode("hex"), protected="protected").hstack(
        whole.select(
            given=name.struct.field("given"),
            surname=name.struct.field("surname"),
            born=pl.col("born").dt.to_string("%Y-%m-%d"),
            sex="sex",
            address=address.struct.field("lines"),
            postcode=address.struct.field("postcode"),
            **{number: number for number in NUMBERS},
            aliases=ALIASES,
        ).select(*FLAT, ALIASES)
    )
