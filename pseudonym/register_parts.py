"""A state in parts, as text to seal: each holds all that a decision about one of its units may depend on.

JSON, one object a part: ids as hexadecimal digits, weights as the bits of the number. Spelt and read in bulk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

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
_FRAMES: Final = {
    "units": pl.Schema([*UNITS.items(), *list(BESIDE.items())[1:]]),
    "ids": IDS,
    "links": LINKS,
    "apart": PAIRS,
}


def _spelt_type(dtype: pl.DataType) -> pl.DataType:
    return {pl.Binary: pl.String(), pl.Float64: pl.Int64()}.get(type(dtype), dtype)


_SAID: Final = pl.col("family").is_not_null() | pl.col("row").is_not_null()
_TEXT: Final = pl.Struct(
    {
        name: pl.List(pl.Struct({column: _spelt_type(dtype) for column, dtype in schema.items()}))
        for name, schema in _FRAMES.items()
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What was read of a register: whole parts of the state.

    Attributes:
        state: they together.
        parts: unit, part (the id under which it is kept).
        beside: as `BESIDE`, of the units that there is anything to say of: what decides nothing.
    """

    state: State
    parts: pl.DataFrame = field(
        default_factory=pl.Schema([("unit", pl.Binary), ("part", pl.Binary)]).to_frame
    )
    beside: pl.DataFrame = field(default_factory=BESIDE.to_frame)

    def __repr__(self) -> str:
        return f"Seen({self.state!r})"


def spelt(state: State, beside: pl.DataFrame) -> tuple[pl.DataFrame, list[bytes]]:
    """The parts of a state.

    Args:
        state: whole parts.
        beside: as `BESIDE`.

    Returns:
        unit and part (a number from 0); the text of each part, by number.
    """
    label = connected(state)
    units = state.units.with_columns(part=label).join(beside, on="unit", how="left", maintain_order="left")
    of = units.select("unit", "part")
    ids = pl.concat([units.select("part", id="holder"), units.select("part", id="home")]).unique()
    frames = {
        "units": units,
        "ids": ids.join(state.ids, on="id"),
        "links": state.links.join(of.rename({"unit": "left"}), on="left"),
        "apart": state.apart.join(of.rename({"unit": "left"}), on="left"),
    }
    spelt = of.select("part").unique()
    for name, schema in _FRAMES.items():
        rows = frames[name].select(
            "part", pl.struct(_spelt_columns(frames[name].select(schema.names()))).alias(name)
        )
        # In the order of the ids, so that nothing but what is said decides the text.
        grouped = rows.group_by("part").agg(pl.col(name).sort())
        spelt = spelt.join(grouped, on="part", how="left")
    spelt = spelt.sort("part").with_row_index("number")
    texts = spelt.select(pl.struct(list(_FRAMES)).struct.json_encode()).to_series()
    numbered = of.join(spelt.select("part", "number"), on="part", maintain_order="left")
    return numbered.select("unit", part=pl.col("number").cast(pl.Int64)), [text.encode() for text in texts]


def read(parts: Sequence[bytes], payloads: Sequence[bytes], number: int, next_age: int) -> Seen:
    """What `spelt` wrote, of parts with these ids; `number` and `next_age` are the whole register's."""
    if not parts:
        return Seen(State(number, next_age))
    texts = pl.Series("text", [octets.decode() for octets in payloads], dtype=pl.String)
    decoded = (
        texts.str.json_decode(_TEXT)
        .struct.unnest()
        .with_columns(part=pl.Series(list(parts), dtype=pl.Binary))
    )
    frames = {
        name: decoded.select("part", name)
        .explode(name, empty_as_null=False, keep_nulls=False)
        .unnest(name)
        .with_columns(
            pl.col(column).str.decode("hex") for column, dtype in schema.items() if dtype == pl.Binary
        )
        for name, schema in _FRAMES.items()
    }
    units = frames["units"]
    bits = frames["links"]["weight"].to_numpy().astype(np.int64)
    links = frames["links"].with_columns(weight=pl.Series(bits.view(np.float64), dtype=pl.Float64))
    state = replace(
        State(number, next_age),
        units=units.select(UNITS.names()),
        ids=frames["ids"].select(IDS.names()),
        links=links.select(LINKS.names()),
        apart=frames["apart"].select(PAIRS.names()),
    )
    return Seen(state, units.select("unit", "part"), units.select(BESIDE.names()).filter(_SAID))


def _spelt_columns(frame: pl.DataFrame) -> list[pl.Series | pl.Expr]:
    columns: list[pl.Series | pl.Expr] = []
    for column in frame.iter_columns():
        if column.dtype == pl.Binary:
            columns.append(column.bin.encode("hex"))
        elif column.dtype == pl.Float64:
            bits = column.to_numpy().astype(np.float64).view(np.int64)
            columns.append(pl.Series(column.name, bits, dtype=pl.Int64))
        else:
            columns.append(column)
    return columns
