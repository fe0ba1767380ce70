"""A state in parts, as bytes to seal: each holds all that a decision about one of its units may depend on.

Records of fixed width, as `docs/sealing.md` states them, so that thousands of parts are written and read as
a few arrays. In a part they are in the order of their ids: nothing but what is said decides the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
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
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What was read of a register: whole parts of the state.

    Attributes:
        state: they together.
        parts: unit, part (the id under which it is kept).
        beside: as `BESIDE`, of the units that there is anything to say of: what decides nothing.
        gone: of the units that were asked for, those that were removed and never come again.
    """

    state: State
    parts: pl.DataFrame = field(
        default_factory=pl.Schema([("unit", pl.Binary), ("part", pl.Binary)]).to_frame
    )
    beside: pl.DataFrame = field(default_factory=BESIDE.to_frame)
    gone: pl.Series = field(default_factory=lambda: pl.Series("unit", [], dtype=pl.Binary))

    def __repr__(self) -> str:
        return f"Seen({self.state!r})"


def spelt(state: State, beside: pl.DataFrame) -> tuple[pl.DataFrame, list[bytes]]:
    """The parts of a state.

    Args:
        state: whole parts.
        beside: as `BESIDE`.

    Returns:
        unit and part (a number from 0); the bytes of each part, by number.
    """
    labels, numbered = np.unique(connected(state).to_numpy(), return_inverse=True)
    count = len(labels)
    label = pl.Series("part", numbered, dtype=pl.Int64)
    units = state.units.with_columns(label).join(beside, on="unit", how="left", maintain_order="left")
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
            octets = _records(name, frames[name]).tobytes()
            columns.append(_slices(octets, numbers[name] * dtype.itemsize))
    if state.links.height:
        runs: list[bytes] = frames["links"]["run"].cast(pl.Binary).to_list()
        lengths = np.bincount(
            frames["links"]["part"].to_numpy(), [len(run) for run in runs], minlength=count
        ).astype(np.int64)
        columns.append(_slices(b"".join(runs), lengths))
    return of, list(map(b"".join, zip(*columns, strict=True)))


def read(parts: Sequence[bytes], payloads: Sequence[bytes], number: int, next_age: int) -> Seen:
    """What `spelt` wrote, of parts with these ids; `number` and `next_age` are the whole register's."""
    if not parts:
        return Seen(State(number, next_age))
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
        State(number, next_age),
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


def _records(name: str, frame: pl.DataFrame) -> _Array:
    """A frame as an array of records."""
    array = np.zeros(frame.height, dtype=_RECORDS[name])
    for column in array.dtype.names or ():
        if column == "has":
            for optional, bit in _OPTIONAL.items():
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
