"""Untrusted Arrow: whatever the bytes, either the frame that was meant or a refusal, and never a crash."""

from __future__ import annotations

import io
import struct

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linker.arrow import METADATA_BYTES, FlatTable, read_chunk
from linker.refusals import Invalid
from linker.resources import Limits
from tests.service.harness import arrow

FRAME = pl.DataFrame({"a": ["x", "y" * 20, None, ""] * 3, "b": ["é" * 30, "q", "r", None] * 3})
SEEDS = [arrow(FRAME, compat_level=pl.CompatLevel.oldest()), arrow(FRAME)]
LIMITS = Limits(chunk_rows=1_000, chunk_bytes=100_000)


@pytest.mark.parametrize("content", SEEDS)
def test_every_text_type_is_read_as_it_was_sent(content):
    frame = read_chunk(content, FRAME.columns, LIMITS)
    assert frame.equals(FRAME)


def test_what_another_implementation_writes_is_read():
    pa = pytest.importorskip("pyarrow")
    values = {"a": ["x", None, "é" * 40], "b": [None, "", "z"]}
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        table = pa.table({name: pa.array(column, kind) for name, column in values.items()})
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
        frame = read_chunk(sink.getvalue(), ["a", "b"], LIMITS)
        assert frame.to_dict(as_series=False) == {"a": ["x", None, "é" * 40], "b": [None, "", "z"]}


def test_dictionaries_and_bodies_that_claim_too_much_are_refused():
    pa = pytest.importorskip("pyarrow")
    sink = io.BytesIO()
    encoded = pa.table({"a": pa.array(["x" * 1000]).dictionary_encode(), "b": ["y"]})
    with pa.ipc.new_stream(sink, encoded.schema) as writer:
        writer.write_table(encoded)
    with pytest.raises(Invalid) as caught:
        read_chunk(sink.getvalue(), ["a", "b"], LIMITS)
    assert caught.value.reason == "ARROW_INVALID"


@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), max_size=8),
    words=st.lists(
        st.tuples(st.integers(0, 2_000), st.sampled_from([0, 1, 16, 2**31, 2**40, 2**63 - 1, 2**64 - 1])),
        max_size=2,
    ),
    cut=st.none() | st.integers(0, 2_000),
)
def test_damaged_bytes_are_refused_or_read(seed, changes, words, cut):
    content = bytearray(seed)
    for at, value in changes:
        content[at % len(content)] = value
    for at, word in words:
        at %= len(content) - 8
        content[at : at + 8] = word.to_bytes(8, "little")
    try:
        frame = read_chunk(bytes(content[:cut]), ["a", "b"], LIMITS)
    except Invalid:
        return
    assert frame.columns == ["a", "b"]
    assert frame.height <= LIMITS.chunk_rows
    for column in frame:
        "".join(column.drop_nulls()).encode()


@given(st.binary(max_size=400))
def test_any_bytes_are_refused(content):
    with pytest.raises(Invalid):
        read_chunk(content, ["a", "b"], LIMITS)


def messages_of(content):
    """Where the flatbuffer of each message begins, and what it says."""
    at = 0
    while True:
        size = struct.unpack_from("<I", content, at + 4)[0]
        if not size:
            return
        message = FlatTable.root(memoryview(content)[at + 8 : at + 8 + size])
        yield at + 8, message
        at += 8 + size + message.integer(3, "<q")


def refused_unread(content, columns, monkeypatch):
    """The reason why a chunk is refused; Polars must not come to see it."""
    with monkeypatch.context() as patched:
        patched.setattr(pl, "read_ipc_stream", lambda _: pytest.fail("Polars reads the bytes"))
        with pytest.raises(Invalid) as caught:
            read_chunk(bytes(content), columns, LIMITS)
    return caught.value.reason


def test_columns_that_share_a_buffer_are_refused(monkeypatch):
    columns = [f"c{number}" for number in range(100)]
    frame = pl.DataFrame(dict.fromkeys(columns, "y")).with_columns(c0=pl.lit("x" * 90_000))
    content = bytearray(arrow(frame, compat_level=pl.CompatLevel.oldest()))
    (_, _), (start, message) = messages_of(content)
    header = message.table(2)
    place, _ = header._vector(2, 16)
    first = header.structs(2, "<qq")[:3]
    for number in range(1, 100):
        for part in (1, 2):
            struct.pack_into("<qq", content, start + place + 16 * (3 * number + part), *first[part])
    assert refused_unread(content, columns, monkeypatch) == "ARROW_INVALID"


def test_views_that_show_one_text_again_and_again_are_refused(monkeypatch):
    frame = pl.DataFrame({"a": ["é" * 45_000]})[[0] * 1_000]
    content = arrow(frame)
    assert len(content) < 200_000
    assert refused_unread(content, ["a"], monkeypatch) == "CHUNK_TOO_LARGE"
    # The limit is one of the whole chunk, however many columns and batches it is spread over.
    spread = pl.DataFrame({"a": ["x" * 30_000, "y"], "b": ["x" * 30_000, "y"]})
    whole = arrow(spread)
    (_, _), (start, message) = messages_of(whole)
    begin, finish = start - 8, len(whole) - 8
    assert message.table(2).integer(0, "<q") == 2
    assert read_chunk(whole, ["a", "b"], LIMITS).height == 2
    twice = whole[:finish] + whole[begin:]
    assert refused_unread(twice, ["a", "b"], monkeypatch) == "CHUNK_TOO_LARGE"


class Flat:
    """A flatbuffer made by hand: tables whose every field has eight bytes, and offsets that may share."""

    def __init__(self):
        self.data = bytearray(4)

    def put(self, content):
        self.data += bytes(-len(self.data) % 8)
        at = len(self.data)
        self.data += content
        return at

    def table(self, *present):
        count = max(present, default=-1) + 1
        offsets = [8 + 8 * number if number in present else 0 for number in range(count)]
        vtable = self.put(struct.pack(f"<HH{count}H", 4 + 2 * count, 8 + 8 * count, *offsets))
        at = self.put(bytes(8 + 8 * count))
        struct.pack_into("<i", self.data, at, at - vtable)
        return at

    def text(self, text):
        return self.put(struct.pack("<I", len(text)) + text + b"\0")

    def vector(self, count):
        return self.put(struct.pack("<I", count) + bytes(4 * count))

    def link(self, at, target):
        struct.pack_into("<I", self.data, at, target - at)

    def message(self, root):
        self.link(0, root)
        self.put(b"")
        return struct.pack("<II", 0xFFFFFFFF, len(self.data)) + self.data + struct.pack("<II", 0xFFFFFFFF, 0)


def schema_message(fields, name=b"a", notes=0, note=b"", notes_of="schema", children=0):
    """A schema of text columns that share one name; each of the notes holds the same text."""
    flat = Flat()
    message = flat.table(1, 2)
    flat.data[message + 16] = 1
    schema = flat.table(1, 2) if notes and notes_of == "schema" else flat.table(1)
    flat.link(message + 24, schema)
    vector = flat.vector(fields)
    flat.link(schema + 16, vector)
    field = flat.table(0, 2, 3, *([5] if children else []), *([6] if notes and notes_of == "field" else []))
    flat.data[field + 24] = 5
    for number in range(fields):
        flat.link(vector + 4 + 4 * number, field)
    flat.link(field + 32, flat.table())
    if children:
        flat.link(field + 48, flat.vector(children))
    if notes:
        pairs = flat.vector(notes)
        flat.link(schema + 24 if notes_of == "schema" else field + 56, pairs)
        places = [flat.table(0, 1) for _ in range(notes)]
        for number, place in enumerate(places):
            flat.link(pairs + 4 + 4 * number, place)
            flat.link(place + 8, flat.text(b"%d" % number))
        shared = flat.text(note)
        for place in places:
            flat.link(place + 16, shared)
    flat.link(field + 8, flat.text(name))
    return flat.message(message)


def test_a_schema_cannot_say_more_than_its_bytes(monkeypatch):
    for notes_of in ("schema", "field"):
        small = schema_message(1, notes=2, note=b"of pandas", notes_of=notes_of)
        assert read_chunk(bytes(small), ["a"], LIMITS).columns == ["a"]
    decoded = []
    real = FlatTable.text

    def text(table, number):
        decoded.append(len(real(table, number)))
        return real(table, number)

    monkeypatch.setattr(FlatTable, "text", text)
    for content, reason in (
        (schema_message(1_000, b"x" * 300_000), "SCHEMA_MISMATCH"),
        (schema_message(1, b"x" * 300_000), "SCHEMA_MISMATCH"),
        (schema_message(1, children=100_000), "ARROW_INVALID"),
        (schema_message(1, notes=6_000, note=b"x" * 300_000), "ARROW_INVALID"),
        (schema_message(1, notes=6_000, note=b"x" * 300_000, notes_of="field"), "ARROW_INVALID"),
    ):
        assert len(content) < METADATA_BYTES
        assert refused_unread(content, ["a"], monkeypatch) == reason
    assert sum(decoded) < METADATA_BYTES
