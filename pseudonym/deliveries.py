"""What is delivered to the vault of persons, what comes of it, and what the broker has to be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from pseudonym.errors import InputError
from pseudonym.records import SCHEMA
from pseudonym.urn import ID_BYTES, Kind

MEMBERS: Final = pl.Schema([("unit", pl.Binary), ("pid", pl.Binary), ("fid", pl.Binary)])
MOVES: Final = pl.Schema(
    [
        ("kind", pl.String),
        ("unit", pl.Binary),
        ("before", pl.Binary),
        ("after", pl.Binary),
        ("hidden", pl.Boolean),
    ]
)
CHANGES: Final = pl.Schema([("before", pl.Binary), ("after", pl.Binary)])
HOLDERS: Final = pl.Schema([("unit", pl.Binary), ("holder", pl.Binary)])
_UNITS: Final = pl.Schema([("unit", pl.Binary), ("protected", pl.Boolean)])
_LINKS: Final = pl.Schema([("left", pl.Binary), ("right", pl.Binary), ("weight", pl.Float64)])
_FAMILIES: Final = pl.Schema([("unit", pl.Binary), ("family", pl.Binary)])


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """What a council or register delivered, linked; see `checked` for what must hold.

    Attributes:
        source: label of the council or register; in the clear in the store.
        records: unit (Binary, 16 random bytes; the id of the identity row), protected (Boolean), and columns
            of `records.SCHEMA`: one row a record. Records that are known already stay as they are.
        links: left, right, weight (bits): among the records and to known ones.
        families: unit, family (Binary, 16 random bytes: the family's unit, one for each record at most).
        family_links: left, right, weight between families' units.
    """

    source: str
    records: pl.DataFrame
    links: pl.DataFrame
    families: pl.DataFrame
    family_links: pl.DataFrame

    def __repr__(self) -> str:
        return f"Delivery(source={self.source!r}, records={self.records.height}, links={self.links.height})"

    def identities(self) -> pl.DataFrame:
        """The records without unit and protected."""
        return self.records.drop("unit", "protected")

    def without(self, records: pl.Series, families: pl.Series) -> Delivery:
        """The delivery without some records and families, and what leads to them."""
        if not len(records) and not len(families):
            return self
        return Delivery(
            self.source,
            self.records.filter(~pl.col("unit").is_in(records.implode())),
            _none_of(self.links, records),
            self.families.filter(
                ~pl.col("unit").is_in(records.implode()) & ~pl.col("family").is_in(families.implode())
            ),
            _none_of(self.family_links, families),
        )

    def family_units(self) -> pl.DataFrame:
        """The units of families, each once; protected if a record in it is."""
        joined = self.families.join(self.records.select("unit", "protected"), on="unit")
        return joined.group_by(unit="family").agg(pl.col("protected").any()).sort("unit")


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What an event did.

    Attributes:
        person: the number of the event among those of persons; None if nothing changed for them.
        family: the same among those of families.
        new: persons that are new.
        joined: records that came under a person who was known.
        came: of each record that came unit, pid, and whether the person is new.
        refused: links that joined nothing; they are with the event for review.
        members: unit, pid, fid (null if none) of the records that the call was about.
        moved: kind, unit, before, after, hidden: every change of an id. Danger: rows that are hidden must be
            shown to nobody, for they are the bridge that protection takes away.
    """

    person: int | None
    family: int | None
    new: int
    joined: int
    refused: int
    came: pl.DataFrame
    members: pl.DataFrame
    moved: pl.DataFrame

    def __repr__(self) -> str:
        counts = f"new={self.new}, joined={self.joined}, refused={self.refused}"
        return f"Outcome(person={self.person}, family={self.family}, {counts})"


@dataclass(frozen=True, slots=True, eq=False)
class Untold:
    """A change that the broker has not been told of.

    Attributes:
        number: its place; `People.told` with it says that this and all before it are told.
        kind: of persons or of families.
        changes: before, after: ids whose holdings went to others, each pair once; after null where nothing
            may be told, or nothing is left.
        members: unit, holder: records (or families' units) with the id they are under now; holder null: gone.
    """

    number: int
    kind: Kind
    changes: pl.DataFrame
    members: pl.DataFrame

    def __repr__(self) -> str:
        return f"Untold(number={self.number}, kind={self.kind.value!r})"


def checked(delivery: Delivery) -> Delivery:
    """The delivery with just the columns that are meant, after looking at its form.

    Raises:
        InputError: a column is missing or of another type, an id is not of 16 bytes or missing, a record has
            two families, or a family's record is not in the delivery.
    """
    if not delivery.source:
        raise InputError("A delivery names its source.")
    others = [name for name in delivery.records.columns if name not in _UNITS]
    if unknown := set(others) - set(SCHEMA):
        raise InputError(f"{len(unknown)} columns are none of an identity's.", f"It has {', '.join(SCHEMA)}.")
    units = _as(delivery.records, _UNITS, "records")
    families = _as(delivery.families, _FAMILIES, "families")
    if families["unit"].n_unique() != families.height:
        raise InputError("A record is in two families.", "Name one for each record.")
    if families.join(units, on="unit", how="anti").height:
        raise InputError("A family names a record that is not in the delivery.")
    return Delivery(
        delivery.source,
        units.hstack(delivery.records.select(others)),
        _as(delivery.links, _LINKS, "links"),
        families,
        _as(delivery.family_links, _LINKS, "links of families"),
    )


def _none_of(links: pl.DataFrame, units: pl.Series) -> pl.DataFrame:
    return links.filter(*(~pl.col(side).is_in(units.implode()) for side in ("left", "right")))


def _as(frame: pl.DataFrame, schema: pl.Schema, what: str) -> pl.DataFrame:
    if frame.is_empty() and not frame.width:
        return schema.to_frame()
    for name, dtype in schema.items():
        if name not in frame.columns or frame[name].dtype != dtype:
            raise InputError(f"The {what} have no column {name} of type {dtype}.")
        if frame[name].null_count():
            raise InputError(f"The column {name} of the {what} has nulls.")
        if dtype == pl.Binary and not (frame[name].bin.size() == ID_BYTES).all():
            raise InputError(f"The column {name} of the {what} holds what is not {ID_BYTES} bytes.")
    return frame.select(schema.names())


def moves(kind: Kind, moved: pl.DataFrame) -> pl.DataFrame:
    """An event's rows of `moved`, as `MOVES`."""
    return moved.select(pl.lit(kind.value).alias("kind"), *MOVES.names()[1:])
