"""Parts of the register of persons: the bytes that are documented, and all that was said comes back."""

from __future__ import annotations

import struct

import polars as pl

from pseudonym.register_parts import BESIDE, read, spelt
from pseudonym.standing import IDS, LINKS, PAIRS, UNITS, State


def one(number: int) -> bytes:
    return bytes([number]) * 16


def frame(schema: pl.Schema, *rows: tuple[object, ...]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=schema, orient="row")


UNIT_ROWS = [
    (one(3), one(30), one(30), True, 7, None, None),
    (one(2), one(20), one(21), False, 5, one(99), 6),
    (one(1), one(20), one(20), True, 4, None, None),
]
STATE = State(
    number=9,
    next_age=5,
    units=frame(UNITS, *UNIT_ROWS),
    ids=frame(IDS, (one(20), 1), (one(21), 2), (one(30), 3), (one(77), 4)),
    links=frame(LINKS, (one(1), one(2), -2.5, "läufe", True)),
    apart=frame(PAIRS, (one(1), one(2))),
)
SAID = frame(BESIDE, (one(3), one(50), None), (one(2), None, bytes(16)))


def test_a_part_is_the_bytes_that_are_documented():
    numbered, parts = spelt(STATE, SAID)
    of = dict(numbered.iter_rows())
    assert len(parts) == 2
    assert of[one(1)] == of[one(2)] != of[one(3)]
    none = bytes(16)
    first = struct.pack(">16s16s16s16s16s16sqqBB", one(1), one(20), one(20), none, none, none, 4, 0, 1, 0)
    second = struct.pack(
        ">16s16s16s16s16s16sqqBB", one(2), one(20), one(21), one(99), none, none, 5, 6, 0, 1 + 4
    )
    ids = struct.pack(">16sq16sq", one(20), 1, one(21), 2)
    run = "läufe".encode()
    link = struct.pack(">16s16sdBL", one(1), one(2), -2.5, 1, len(run))
    two = struct.pack(">4L", 2, 2, 1, 1) + first + second + ids + link + one(1) + one(2) + run
    assert parts[of[one(1)]] == two
    assert parts[of[one(3)]] == struct.pack(">16s16s16sQLB", one(3), one(30), one(50), 3, 7, 2)


def test_what_was_said_comes_back():
    numbered, parts = spelt(STATE, SAID)
    names = [b"part %d" % number for number in range(len(parts))]
    seen = read(names, parts, 9, 5)
    state = seen.state
    assert (state.number, state.next_age) == (9, 5)
    assert state.units.sort("unit").equals(STATE.units.sort("unit"))
    assert state.ids.sort("id").equals(STATE.ids.filter(pl.col("id") != one(77)))
    assert state.links.equals(STATE.links)
    assert state.apart.equals(STATE.apart)
    assert seen.beside.sort("unit").equals(SAID.sort("unit"))
    where = numbered.with_columns(part=pl.Series(names, dtype=pl.Binary).gather(numbered["part"]))
    assert seen.parts.sort("unit").equals(where.sort("unit"))
