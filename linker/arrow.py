"""Arrow bytes from outside: looked through before Polars sees them, and never trusted.

    bytes ──framing, flatbuffers──▶ exact columns, plain batches, sizes ──▶ polars ──▶ frame of text

What is let through is small: one schema message with exactly the expected columns, each of a text type,
then record batches that are neither compressed nor encoded by dictionaries, whose buffers lie inside their
body, share none of it and are as long as their rows need. So no few bytes can claim many rows or much text,
and nothing is decompressed.
The format is that of https://arrow.apache.org/docs/format/Columnar.html (IPC) and of
https://flatbuffers.dev/internals/.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from linker.refusals import Invalid
from linker.resources import Limits

SCHEMA, RECORD_BATCH = 1, 3  # MessageHeader
UTF8, LARGE_UTF8, UTF8_VIEW = 5, 20, 24  # Type
CONTINUATION = 0xFFFFFFFF
METADATA_BYTES = 1024**2
BATCHES = 10_000
HELP = (
    "Send an uncompressed Arrow IPC stream without dictionaries, in which every column is text "
    "(Utf8, LargeUtf8 or Utf8View)."
)


def read_chunk(content: bytes, columns: Sequence[str], limits: Limits) -> pl.DataFrame:
    """Read an Arrow IPC stream from outside.

    Args:
        content: the bytes of the stream.
        columns: the names of the columns it must have, in order; all are text.
        limits: `chunk_rows` and `chunk_bytes` hold for the frame that comes out.

    Returns:
        A frame of text columns as they were sent. It shares no memory with `content`.

    Raises:
        Invalid: it is no such stream (ARROW_INVALID), has other columns (SCHEMA_MISMATCH), or is too
            large (CHUNK_TOO_LARGE).
    """
    try:
        rows = _look_through(memoryview(content), tuple(columns), limits)
        frame = pl.read_ipc_stream(io.BytesIO(content))
    except Invalid:
        raise
    except (Exception, pl.exceptions.PanicException):
        # A parser's words may quote what it read.
        raise _unreadable("is no readable Arrow IPC stream") from None
    if frame.height != rows or frame.columns != list(columns) or set(frame.dtypes) - {pl.String}:
        raise _unreadable("does not hold what its framing says")
    check_frame(frame, limits)
    return frame


def written(frame: pl.DataFrame) -> bytes:
    """A frame as an Arrow IPC stream that every implementation reads."""
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, compat_level=pl.CompatLevel.oldest())
    return buffer.getvalue()


def check_frame(frame: pl.DataFrame, limits: Limits) -> None:
    """Refuse a chunk whose rows or text do not keep to the limits.

    Raises:
        Invalid: CHUNK_TOO_LARGE.
    """
    check_rows(frame.height, limits)
    size = frame.select(pl.sum_horizontal(pl.all().str.len_bytes().cast(pl.UInt64).sum())).item() or 0
    _check_text(size, limits)


def check_rows(rows: int, limits: Limits) -> None:
    """Refuse a chunk of too many rows.

    Raises:
        Invalid: CHUNK_TOO_LARGE.
    """
    if rows > limits.chunk_rows:
        raise Invalid(
            "CHUNK_TOO_LARGE",
            f"The chunk has {rows} rows where {limits.chunk_rows} are allowed.",
            "Send fewer rows in a chunk.",
        )


def _check_text(size: int, limits: Limits) -> None:
    if size > limits.chunk_bytes:
        raise Invalid(
            "CHUNK_TOO_LARGE",
            f"The chunk holds {size} bytes of text where {limits.chunk_bytes} are allowed.",
            "Send fewer rows in a chunk.",
        )


def _unreadable(what: str) -> Invalid:
    return Invalid("ARROW_INVALID", f"The chunk {what}.", HELP)


def _look_through(content: memoryview, columns: tuple[str, ...], limits: Limits) -> int:
    """Check every message of the stream.

    Returns:
        The rows of all record batches.

    Raises:
        Invalid: something is not as the head of this module says.
        struct.error, ValueError: an offset leads out of the bytes.
    """
    kinds: tuple[int, ...] | None = None
    rows = batches = text = 0
    for header_type, header, body in _messages(content):
        if kinds is None:
            if header_type != SCHEMA:
                raise _unreadable("does not begin with a schema")
            kinds = _check_schema(header, columns)
            continue
        if header_type != RECORD_BATCH:
            raise _unreadable("holds dictionaries or something else than record batches")
        batches += 1
        if batches > BATCHES:
            raise _unreadable(f"has more than {BATCHES} record batches")
        added, viewed = _check_batch(header, kinds, body, limits)
        rows, text = rows + added, text + viewed
        check_rows(rows, limits)
        _check_text(text, limits)
    if kinds is None:
        raise _unreadable("is empty")
    return rows


def _messages(content: memoryview) -> Iterator[tuple[int, FlatTable, memoryview]]:
    """Type, header and body of each message of the stream."""
    at = 0
    while at < len(content):
        continuation, size = struct.unpack_from("<II", content, at)
        if continuation != CONTINUATION:
            raise _unreadable("is no Arrow IPC stream")
        at += 8
        if size == 0:
            if at != len(content):
                raise _unreadable("goes on after its end")
            return
        if size > METADATA_BYTES or at + size > len(content):
            raise _unreadable("breaks off")
        message = FlatTable.root(content[at : at + size])
        length = message.integer(3, "<q")
        header = message.table(2)
        at += size
        if header is None or not 0 <= length <= len(content) - at:
            raise _unreadable("breaks off")
        yield message.integer(1, "<B"), header, content[at : at + length]
        at += length


def _check_schema(schema: FlatTable, columns: tuple[str, ...]) -> tuple[int, ...]:
    if schema.integer(0, "<h") != 0:
        raise _unreadable("is big-endian")
    # One name after another: many fields may share one long name, and together they would fill the memory.
    count = schema.count(1)
    fields = schema.tables(1) if count == len(columns) else []
    place = next((i for i, (a, b) in enumerate(zip(fields, columns, strict=False)) if a.text(0) != b), None)
    if count != len(columns) or place is not None:
        # Names are told by number: a file without a heading has a person in its first row.
        where = f"column {place + 1} has another name" if place is not None else "their number differs"
        raise Invalid(
            "SCHEMA_MISMATCH",
            f"The columns of the chunk are not those of the header: {where}.",
            "Send the columns that the header lists, in that order.",
        )
    kinds = tuple(field.integer(2, "<B") for field in fields)
    for number, (field, kind) in enumerate(zip(fields, kinds, strict=True), start=1):
        if kind not in (UTF8, LARGE_UTF8, UTF8_VIEW):
            raise Invalid("SCHEMA_MISMATCH", f"Column {number} of the chunk is not text.", HELP)
        if field.table(4) is not None or field.count(5):
            raise _unreadable("is encoded by dictionaries")
    left = METADATA_BYTES
    for owner, number in ((schema, 2), *((field, 6) for field in fields)):
        left -= sum(4 + pair.count(0, 1) + pair.count(1, 1) for pair in owner.tables(number))
        if left < 0:
            raise _unreadable("has metadata that overlaps")
    return kinds


def _check_batch(
    batch: FlatTable, kinds: tuple[int, ...], body: memoryview, limits: Limits
) -> tuple[int, int]:
    """The rows of a batch, and the bytes of text that its views show: views may share a buffer."""
    rows = batch.integer(0, "<q")
    if rows < 0:
        raise _unreadable("has a negative number of rows")
    check_rows(rows, limits)
    if batch.table(3) is not None:
        raise _unreadable("is compressed")
    nodes, buffers = batch.structs(1, "<qq"), batch.structs(2, "<qq")
    variadic = batch.structs(4, "<q")
    extra = iter(variadic)
    for offset, length in buffers:
        if offset < 0 or length < 0 or offset + length > len(body):
            raise _unreadable("has a buffer outside its body")
    if sum(length for _, length in buffers) > len(body):
        raise _unreadable("has buffers that overlap")
    if len(nodes) != len(kinds) or len(variadic) != kinds.count(UTF8_VIEW):
        raise _unreadable("has a batch with other columns than its schema")
    at = viewed = 0
    for (length, nulls), kind in zip(nodes, kinds, strict=True):
        if length != rows or not 0 <= nulls <= rows:
            raise _unreadable("has columns of different lengths")
        count = 3 if kind != UTF8_VIEW else 2 + next(extra)[0]
        mine = buffers[at : at + count]
        at += count
        least = {UTF8: 4 * (rows + 1), LARGE_UTF8: 8 * (rows + 1), UTF8_VIEW: 16 * rows}[kind]
        if count < 2 or len(mine) != count or (rows and mine[1][1] < least):
            raise _unreadable("has a buffer that is too short")
        if (nulls or mine[0][1]) and mine[0][1] < (rows + 7) // 8:
            raise _unreadable("has a buffer that is too short")
        if kind == UTF8_VIEW and rows:
            # A view is its length and three other words of 32 bits.
            views = np.frombuffer(body, "<u4", 4 * rows, mine[1][0])
            viewed += int(views[::4].sum(dtype=np.int64))
    if at != len(buffers):
        raise _unreadable("has more buffers than columns")
    return rows, viewed


@dataclass(frozen=True)
class FlatTable:
    """A table of a flatbuffer; each access is checked against the end of the bytes.

    Attributes:
        data: the bytes of the whole flatbuffer.
        at: where the table begins.
    """

    data: memoryview
    at: int

    @classmethod
    def root(cls, data: memoryview) -> FlatTable:
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def _unpack(self, form: str, at: int) -> tuple[int, ...]:
        if at < 0:  # struct would count from the end
            raise ValueError("The offset is negative.")
        return struct.unpack_from(form, self.data, at)

    def _slot(self, number: int) -> int | None:
        """Where field `number` is, or None if the table leaves it out."""
        vtable = self.at - self._unpack("<i", self.at)[0]
        (size,) = self._unpack("<H", vtable)
        if 4 + 2 * number >= size:
            return None
        (offset,) = self._unpack("<H", vtable + 4 + 2 * number)
        return self.at + offset if offset else None

    def _target(self, number: int) -> int | None:
        slot = self._slot(number)
        return None if slot is None else slot + self._unpack("<I", slot)[0]

    def integer(self, number: int, form: str) -> int:
        slot = self._slot(number)
        return 0 if slot is None else self._unpack(form, slot)[0]

    def table(self, number: int) -> FlatTable | None:
        target = self._target(number)
        return None if target is None else FlatTable(self.data, target)

    def text(self, number: int) -> str:
        target = self._target(number)
        if target is None:
            return ""
        (length,) = self._unpack("<I", target)
        self._unpack(f"{length}x", target + 4)
        return bytes(self.data[target + 4 : target + 4 + length]).decode()

    def _vector(self, number: int, width: int) -> tuple[int, int]:
        target = self._target(number)
        if target is None:
            return 0, 0
        (length,) = self._unpack("<I", target)
        if length * width > len(self.data):
            raise ValueError("The vector is longer than its bytes.")
        return target + 4, length

    def count(self, number: int, width: int = 4) -> int:
        """The entries of a vector, or the bytes of a text (`width` 1)."""
        return self._vector(number, width)[1]

    def tables(self, number: int) -> list[FlatTable]:
        start, length = self._vector(number, 4)
        places = [start + 4 * i for i in range(length)]
        return [FlatTable(self.data, place + self._unpack("<I", place)[0]) for place in places]

    def structs(self, number: int, form: str) -> list[tuple[int, ...]]:
        width = struct.calcsize(form)
        start, length = self._vector(number, width)
        return [self._unpack(form, start + width * i) for i in range(length)]
