"""A state in parts, as bytes to seal: each holds all that a decision about one of its units may depend on.

    a unit that hangs together with no other, as most do ──▶ one short record
    any other part ──▶ counts, then its units, ids, links and pairs

Records of fixed width, as `docs/sealing.md` states them, so that thousands of parts are written and read as
a few arrays. In a part they are in the order of their ids: nothing but what is said decides the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress, pairwise
from typing import Any, Final

import numpy as np
import polars as pl

from pseudonym.register import connected
from pseudonym.standing import IDS, LINKS, PAIRS, UNITS, State

BESIDE: Final = pl.Schema(
    [
        ("unit", pl.Binary),
        ("family", pl.Binary),  # the family's unit that a record belongs to
        ("row", pl.Binary),  # the id of its identity row, where that is not the unit's
    ]
)
_ID: Final = "V16"
_COUNTS: Final = 16
"""Bytes of the numbers of units, ids, links and pairs before them."""
# Of what may be null, a record says in `has` whether it is there: 1 fence, 2 family, 4 row.
_OPTIONAL: Final = {"fence": 1, "family": 2, "row": 4}
_RECORDS: Final = {
    "units": np.dtype(
        [
            *((name, _ID) for name in ("unit", "holder", "home", *_OPTIONAL)),
            *((name, ">i8") for name in ("arrived", "fenced")),
            ("founder", "u1"),
            ("has", "u1"),
        ]
    ),
    "ids": np.dtype([("id", _ID), ("age", ">i8")]),
    # The runs' names follow the pairs, one after the other.
    "links": np.dtype([("left", _ID), ("right", _ID), ("weight", ">f8"), ("void", "u1"), ("run", ">u4")]),
    "apart": np.dtype([("left", _ID), ("right", _ID)]),
}
_ALONE: Final = np.dtype(
    [
        *((name, _ID) for name in ("unit", "holder", "family")),
        ("age", ">u8"),
        ("arrived", ">u4"),
        ("has", "u1"),
    ]
)
ALONE: Final = _ALONE.itemsize
"""Bytes of a part that is one unit under the id that was made for it; no other part is as short."""
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What was read of a register: whole parts of the state.

    Attributes:
        state: they together.
        parts: unit, part (the id under which it is kept).
        beside: as `BESIDE`, of the units that there is anything to say of: what decides nothing.
        gone: of the units that were asked for, those that were removed and never come again.
        tags: of the units that were asked for, under which tag each is or would be.
    """

    state: State
    parts: pl.DataFrame = field(
        default_factory=pl.Schema([("unit", pl.Binary), ("part", pl.Binary)]).to_frame
    )
    beside: pl.DataFrame = field(default_factory=BESIDE.to_frame)
    gone: pl.Series = field(default_factory=lambda: pl.Series("unit", [], dtype=pl.Binary))
    tags: Mapping[bytes, bytes] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Seen({self.state!r})"


def spelt(state: State, beside: pl.DataFrame) -> tuple[pl.DataFrame, list[bytes]]:
    """The parts of a state.

    Args:
        state: whole parts.
        beside: as `BESIDE`.

    Returns:
        unit and part (a number from 0), in the order of the state's units; the bytes of each part, by number.
    """
    labels, numbered = np.unique(connected(state).to_numpy(), return_inverse=True)
    single = pl.Series(np.bincount(numbered)[numbered] == 1, dtype=pl.Boolean)
    label = pl.Series("part", numbered, dtype=pl.Int64)
    units = state.units.with_columns(label).join(beside, on="unit", how="left", maintain_order="left")
    plain = (
        single
        & units.select(
            pl.col("founder")
            & (pl.col("home") == pl.col("holder"))
            & pl.col("fence").is_null()
            & pl.col("row").is_null()
            & (pl.col("arrived") < 1 << 32)
        ).to_series()
    )
    texts = [b""] * len(labels)
    alone = units.filter(plain).join(state.ids.rename({"id": "holder"}), on="holder")
    for part, octets in zip(
        alone["part"].to_list(), _records(_ALONE, alone).view(f"V{ALONE}").tolist(), strict=True
    ):
        texts[part] = octets
    if not plain.all():
        others, theirs = _in_full(replace(state, units=state.units.filter(~plain)), units.filter(~plain))
        for part, octets in zip(others, theirs, strict=True):
            texts[part] = octets
    return units.select("unit", "part"), texts


def _in_full(state: State, units: pl.DataFrame) -> tuple[list[int], list[bytes]]:
    """Parts and the bytes of each, of units with what is said of them beside."""
    parts, numbered = np.unique(units["part"].to_numpy(), return_inverse=True)
    count = len(parts)
    units = units.with_columns(part=pl.Series(numbered, dtype=pl.Int64))
    of = units.select("unit", "part")
    ids = pl.concat([units.select("part", id="holder"), units.select("part", id="home")]).unique()
    frames = {
        "units": units.sort("part", "unit"),
        "ids": ids.join(state.ids, on="id").sort("part", "id"),
        "links": _with_part(state.links, of),
        "apart": _with_part(state.apart, of),
    }
    numbers = {name: np.bincount(frame["part"].to_numpy(), minlength=count) for name, frame in frames.items()}
    counts = np.stack([numbers[name] for name in _RECORDS], axis=1).astype(">u4").tobytes()
    columns = [_slices(counts, np.full(count, _COUNTS))]
    for name, dtype in _RECORDS.items():
        if frames[name].height:
            octets = _records(dtype, frames[name]).tobytes()
            columns.append(_slices(octets, numbers[name] * dtype.itemsize))
    if state.links.height:
        runs: list[bytes] = frames["links"]["run"].cast(pl.Binary).to_list()
        lengths = np.bincount(
            frames["links"]["part"].to_numpy(), [len(run) for run in runs], minlength=count
        ).astype(np.int64)
        columns.append(_slices(b"".join(runs), lengths))
    return parts.tolist(), list(map(b"".join, zip(*columns, strict=True)))


def read(parts: Sequence[bytes], payloads: Sequence[bytes], number: int, next_age: int) -> Seen:
    """What `spelt` wrote, of parts with these ids; `number` and `next_age` are the whole register's."""
    short = [len(octets) == ALONE for octets in payloads]
    one = _read_alone(list(compress(parts, short)), list(compress(payloads, short)))
    long = [not each for each in short]
    other = _read_in_full(list(compress(parts, long)), list(compress(payloads, long)))
    state = replace(
        other.state,
        number=number,
        next_age=next_age,
        units=pl.concat([one.state.units, other.state.units]),
        ids=pl.concat([one.state.ids, other.state.ids]),
    )
    return Seen(state, pl.concat([one.parts, other.parts]), pl.concat([one.beside, other.beside]))


def _read_alone(parts: Sequence[bytes], payloads: Sequence[bytes]) -> Seen:
    array = np.frombuffer(b"".join(payloads), dtype=_ALONE)
    units = pl.DataFrame({name: _ids(array, name) for name in ("unit", "holder", "family")})
    units = units.with_columns(
        pl.Series("age", array["age"].astype(np.int64)),
        pl.Series("arrived", array["arrived"].astype(np.int64)),
    )
    none = pl.lit(None, pl.Binary)
    state = State(
        units=units.select(
            "unit",
            "holder",
            home="holder",
            founder=pl.lit(True),
            arrived="arrived",
            fence=none,
            fenced=pl.lit(None, pl.Int64),
        ),
        ids=units.select(id="holder", age="age"),
    )
    where = units.select("unit", pl.Series("part", parts, dtype=pl.Binary))
    return Seen(state, where, units.select("unit", "family", row=none).drop_nulls("family"))


def _read_in_full(parts: Sequence[bytes], payloads: Sequence[bytes]) -> Seen:
    if not parts:
        return Seen(State())
    heads = b"".join([payload[:_COUNTS] for payload in payloads])
    counts = np.frombuffer(heads, dtype=">u4").reshape(-1, len(_RECORDS)).astype(np.int64)
    starts: list[int] = [_COUNTS] * len(payloads)
    arrays: dict[str, _Array] = {}
    for place, (name, dtype) in enumerate(_RECORDS.items()):
        ends = (np.array(starts) + counts[:, place] * dtype.itemsize).tolist()
        some = [octets[a:b] for octets, a, b in zip(payloads, starts, ends, strict=True)]
        arrays[name], starts = np.frombuffer(b"".join(some), dtype=dtype), ends
    runs = b"".join([octets[start:] for octets, start in zip(payloads, starts, strict=True)])
    units, links = arrays["units"], arrays["links"]
    state = replace(
        State(),
        units=pl.DataFrame(
            {
                **{name: _ids(units, name) for name in ("unit", "holder", "home")},
                "founder": units["founder"].astype(bool),
                "arrived": units["arrived"].astype(np.int64),
                "fence": _ids(units, "fence"),
                "fenced": pl.select(
                    pl.when(pl.Series((units["has"] & _OPTIONAL["fence"]) > 0)).then(
                        pl.Series(units["fenced"].astype(np.int64))
                    )
                ).to_series(),
            },
            schema=UNITS,
        ),
        ids=pl.DataFrame(
            {"id": _ids(arrays["ids"], "id"), "age": arrays["ids"]["age"].astype(np.int64)}, schema=IDS
        ),
        links=pl.DataFrame(
            {
                **{side: _ids(links, side) for side in ("left", "right")},
                "weight": links["weight"].astype(np.float64),
                "run": _texts(runs, links["run"].astype(np.int64)),
                "void": links["void"].astype(bool),
            },
            schema=LINKS,
        ),
        apart=pl.DataFrame({side: _ids(arrays["apart"], side) for side in ("left", "right")}, schema=PAIRS),
    )
    where = pl.Series("part", list(parts), dtype=pl.Binary).gather(
        np.repeat(np.arange(len(parts)), counts[:, 0])
    )
    beside = pl.DataFrame({name: _ids(units, name) for name in BESIDE}, schema=BESIDE)
    said = pl.col("family").is_not_null() | pl.col("row").is_not_null()
    return Seen(state, state.units.select("unit", where), beside.filter(said))


def _with_part(pairs: pl.DataFrame, of: pl.DataFrame) -> pl.DataFrame:
    if pairs.is_empty():
        return pairs.with_columns(part=pl.lit(0, pl.Int64))
    return pairs.join(of.rename({"unit": "left"}), on="left").sort("part", "left", "right")


def _records(dtype: np.dtype[Any], frame: pl.DataFrame) -> _Array:
    """A frame as an array of records."""
    array = np.zeros(frame.height, dtype=dtype)
    for column in dtype.names or ():
        if column == "has":
            for optional in _OPTIONAL.keys() & (dtype.names or ()):
                bit = _OPTIONAL[optional]
                array[column] |= frame[optional].is_not_null().to_numpy().astype(np.uint8) * np.uint8(bit)
        elif column == "run":
            array[column] = frame[column].str.len_bytes().to_numpy()
        elif array.dtype[column] == _ID:
            if frame[column].null_count() < frame.height:
                octets = frame[column].fill_null(bytes(16)).to_list()
                array[column] = np.frombuffer(b"".join(octets), dtype=_ID)
        else:
            array[column] = frame[column].fill_null(0).to_numpy()
    return array


def _ids(array: _Array, name: str) -> pl.Series:
    ids = pl.Series(name, array[name].tolist(), dtype=pl.Binary)
    if name not in _OPTIONAL:
        return ids
    there = pl.Series((array["has"] & _OPTIONAL[name]) > 0)
    return pl.select(pl.when(there).then(ids).alias(name)).to_series()


def _slices(octets: bytes, lengths: _Array) -> list[bytes]:
    return [octets[start:end] for start, end in pairwise([0, *lengths.cumsum().tolist()])]


def _texts(octets: bytes, lengths: _Array) -> pl.Series:
    return pl.Series("run", _slices(octets, lengths), dtype=pl.Binary).cast(pl.String)
