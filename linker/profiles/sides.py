"""The two files of a profile: what may be read of each, as standard columns in canonical order.

What a register does not carry is left out on both sides before anything is looked at, so that it cannot
change a link; a register that has more than it may carry is refused.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from linker import headings
from linker.arrival import Source, arrive, checked, path_of
from linker.composed import fields_read, with_composed
from linker.derive import standard_columns
from linker.errors import ProfileError
from linker.files import read_frame
from linker.profiles.profile import Profile
from linker.records import Field, Kind, Layout, Records
from linker.workup import canonical

YES = ("1", "Y", "YES", "T", "TRUE")
_ADDRESSES = (Kind.ADDRESS, Kind.ADDRESS_LINE, Kind.HOUSE)
_COMPOSED = (
    "initials",
    "initials.turned",
    *(f"partial_postcode{part}" for part in ("", ".outcode", ".area")),
)


@dataclass(frozen=True)
class Besides:
    """Columns of the left file that are read besides its fields; None for none."""

    family: str | None = None
    protected: str | None = None
    arm: str | None = None
    person: str | None = None

    @property
    def named(self) -> list[str]:
        """Those that there are."""
        every = (self.family, self.protected, self.arm, self.person)
        return list(dict.fromkeys(name for name in every if name is not None))


@dataclass(frozen=True)
class Period:
    """The days that an extract speaks of."""

    on: datetime.date
    since: datetime.date


@dataclass(frozen=True)
class Side:
    """One file.

    Attributes:
        records: as they were understood, nothing but the fields that may be used.
        ids: of the rows that take part, in canonical order.
        columns: standard columns, same length and order.
        family: the family of each row, null for none; None if the file does not say.
        person: what says of each row which person it is of; None if the file does not say.
        protected: whether each row is of a person whose change of identity is protected.
        outside: ids of those who cannot be in the register.
        people: of every record, for the report: id, born (days since 1970-01-01), sex, area, arm; null where
            it is not known.
    """

    records: Records
    ids: pl.Series
    columns: pl.DataFrame
    family: pl.Series | None
    person: pl.Series | None
    protected: npt.NDArray[np.bool_]
    outside: pl.Series
    people: pl.DataFrame


def left_side(
    source: Source,
    profile: Profile,
    on: frozenset[str],
    besides: Besides,
    supplied: Mapping[str, str],
    period: Period,
) -> Side:
    """The council's side.

    Args:
        source: records, a frame of text, or a file; recognised by its headings.
        profile: says what is read.
        on: switches that are on.
        besides: further columns.
        supplied: fields that hold for all records, such as the local authority that sent them.
        period: of the extract; who cannot have been in the register then is left out.

    Raises:
        ProfileError: a column is not there, or a field that the profile requires.
        LinkerError: the records cannot be read.
    """
    raw = _understood(source, besides.named)
    kept = _restricted(raw, profile.fields(on), supplied)
    have = {field.name for field in kept.layout.fields}
    for name in profile.require:
        if name not in have:
            raise ProfileError(
                f"The profile '{profile.name}' needs the field '{name}' of the left file.",
                f"Give it for all records: supplied={{'{name}': ...}}, or --supply {name}=VALUE.",
            )
    days = profile.age_range(period.on, period.since)
    return _side(kept, raw.frame, profile.fields(on), besides, days)


def right_side(source: Source, profile: Profile, on: frozenset[str], protected: str | None) -> Side:
    """The register's side; arguments and errors as of `left_side`.

    Raises:
        ProfileError: the file has a column that the register may not carry.
    """
    if profile.carries:
        frame = _frame(source)
        held = protected if protected in frame.columns else None
        raw = checked(frame, _declared(frame, profile, {held} - {None}))
        apart = frame.filter(_row_mask(frame, raw))
    else:
        held = None
        raw = _understood(source, ())
        apart = raw.frame
    kept = _restricted(raw, profile.fields(on), {})
    side = _side(kept, apart, profile.fields(on), Besides(protected=held), (None, None))
    return _without_establishments(side, kept, profile.establishments)


_PLACES = ("house", "address_line", "town", "postcode")


def _without_establishments(side: Side, records: Records, words: tuple[str, ...]) -> Side:
    """The side without addresses of prisons and their like: those who live there are no household."""
    names = [name for field in records.layout.fields if field.kind in _ADDRESSES for name in field.columns]
    if not words or not names:
        return side
    said = records.frame.select(
        said=pl.concat_str([pl.col(name) for name in names], separator=" ", ignore_nulls=True)
        .str.to_uppercase()
        .str.contains(rf"\b(?:{'|'.join(words)})\b")
    )["said"]
    known = pl.DataFrame({"id": records.ids, "said": said})
    inside = side.ids.alias("id").to_frame().join(known, on="id", maintain_order="left")["said"]
    columns = side.columns.with_columns(
        pl.when(~pl.lit(inside)).then(pl.col(name)).alias(name)
        for name in side.columns.columns
        if name.split(".")[0] in _PLACES
    )
    return replace(side, columns=columns)


def _row_mask(frame: pl.DataFrame, records: Records) -> pl.Series:
    """Which rows of a frame became records."""
    gone = records.refusals.filter("refused")["row"]
    return ~pl.Series(np.arange(1, frame.height + 1)).is_in(gone.cast(pl.Int64).implode())


def _frame(source: Source) -> pl.DataFrame:
    match source:
        case Records():
            name = source.layout.id_column or "record_id"
            return source.frame.with_columns(source.ids.alias(name))
        case pl.DataFrame():
            return source
        case _:
            return read_frame(path_of(source))


def records_with(
    frame: pl.DataFrame,
    besides: Sequence[str],
    *,
    id_column: str | None = None,
    mapping: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
) -> Records:
    """Records recognised by their headings, with columns that are read besides but are no fields.

    Args:
        frame: one row a record.
        besides: columns that say the family, the arm and the like.
        id_column, mapping, ignore: as of `linker.arrive`.

    Raises:
        ProfileError: a column is not there.
        LinkerError: as of `linker.arrive`.
    """
    _check_there(besides, frame.columns)
    kept = [name for name in ignore if name not in besides]
    found = arrive(frame, id_column=id_column, mapping=mapping, ignore=[*kept, *besides])
    if not besides:
        return found
    beside = frame.select(pl.col(besides).cast(pl.String)).filter(_row_mask(frame, found))
    return replace(found, frame=found.frame.with_columns(beside.get_columns()))


def _understood(source: Source, besides: Sequence[str]) -> Records:
    if not isinstance(source, Records):
        return records_with(_frame(source), besides)
    _check_there(besides, source.frame.columns)
    return source


def _check_there(wanted: Collection[str], columns: Collection[str]) -> None:
    for name in wanted:
        if name not in columns:
            raise ProfileError(
                f"There is no column '{name}' in the left file.",
                "It was named as family, protected, arm or person.",
            )


def _declared(frame: pl.DataFrame, profile: Profile, allowed: Collection[str | None]) -> Layout:
    """The layout of a register's file by the profile's own list of headings."""
    where = {heading: one for one in profile.carries for heading in one.headings}
    fields: dict[str, Field] = {}
    identity, strange = None, []
    for column in frame.columns:
        heading = "".join(headings.split(column))
        if heading in where:
            one = where[heading]
            if one.field in fields:
                raise ProfileError(f"Two columns of the file stand for '{one.field}'.", "Leave one out.")
            fields[one.field] = Field(one.field, one.kind, (column,), "by the profile")
        elif headings.read(column).meaning == "id" and identity is None:
            identity = column
        elif column not in allowed:
            strange.append(column)
    if strange:
        known = [name for name in strange if headings.read(name).meaning]
        named = f": {', '.join(known)}" if known else ""
        raise ProfileError(
            f"The file has {len(strange)} columns that the register '{profile.name}' does not carry{named}.",
            "Take them out before the file is linked: 'kinlink profile show' lists what it carries.",
        )
    if not fields:
        raise ProfileError(f"The file has no column of the register '{profile.name}'.")
    return Layout(identity, tuple(fields.values()), ())


def _restricted(records: Records, fields: frozenset[str], supplied: Mapping[str, str]) -> Records:
    """The records with nothing but the fields that may be used, and what holds for all of them."""
    read = fields_read({*fields, *(one for one in _COMPOSED if one.split(".")[0] in fields)})
    frame, kept = records.frame, []
    whole = {Kind.FULL_NAME: {"forename", "middle_name", "surname"}, Kind.ADDRESS: {"postcode", "house"}}
    for field in records.layout.fields:
        if field.name in supplied:
            continue
        if field.name in read or read & whole.get(field.kind, set()):
            kept.append(field)
    for name, value in supplied.items():
        if name not in fields:
            raise ProfileError(
                f"The profile does not use the field '{name}', which was given for all records."
            )
        column = f"supplied {name}"
        frame = frame.with_columns(pl.lit(value).alias(column))
        stem, _, number = name.rpartition("_")
        kept.append(Field(name, Kind(stem if number.isdigit() else name), (column,), "given for all records"))
    if not kept:
        raise ProfileError("The file has no field that the profile can use.")
    used = list(dict.fromkeys(column for field in kept for column in field.columns))
    layout = replace(records.layout, fields=tuple(kept), ignored=())
    return replace(records, frame=frame.select(used), layout=layout)


def _side(
    records: Records,
    apart: pl.DataFrame,
    fields: frozenset[str],
    besides: Besides,
    days: tuple[int | None, int | None],
) -> Side:
    ordered = canonical(records)
    order = pl.DataFrame({"id": records.ids}).with_row_index("place")
    rows = ordered.ids.alias("id").to_frame().join(order, on="id", maintain_order="left")["place"]
    made = with_composed(standard_columns(ordered), [one for one in _COMPOSED if one.split(".")[0] in fields])
    made = made.select(name for name in made.columns if name.split(".")[0] in fields)

    def beside(name: str | None) -> pl.Series:
        if name is None:
            return pl.Series([None], dtype=pl.String).new_from_index(0, len(rows))
        return apart[name].cast(pl.String).str.strip_chars().replace("", None).gather(rows)

    def first_of(*names: str, kind: pl.DataType) -> pl.Series:
        here = [name for name in names if name in made.columns]
        return made[here[0]] if here else pl.Series([None], dtype=kind).new_from_index(0, len(rows))

    born = first_of("date_of_birth.days", kind=pl.Int32())
    first, last = days
    out = pl.repeat(False, len(rows), eager=True)
    out = out if first is None else out | (born < first).fill_null(False)
    out = out if last is None else out | (born > last).fill_null(False)
    people = pl.DataFrame(
        {
            "id": ordered.ids,
            "born": born,
            "sex": first_of("sex", kind=pl.String()),
            "area": first_of("postcode.outcode", "partial_postcode.outcode", kind=pl.String()),
            "arm": beside(besides.arm),
        }
    )
    protected = beside(besides.protected).str.to_uppercase().is_in(YES).fill_null(False)
    return Side(
        records,
        ordered.ids.filter(~out),
        made.filter(~out),
        None if besides.family is None else beside(besides.family).filter(~out),
        None if besides.person is None else beside(besides.person).filter(~out),
        protected.filter(~out).to_numpy(),
        ordered.ids.filter(out),
        people,
    )
