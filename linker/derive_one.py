"""One record → its standard columns, as `derive.standard_columns` makes them of many."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from linker.derive import PIECE_NAMES, PIECES
from linker.records import Field, Kind
from linker.standardise import part_names
from linker.standardise.single import Value, standardise


class OneRecord:
    """Standard columns of one record at a time."""

    def __init__(self, fields: Sequence[Field], reading: Collection[str]) -> None:
        """Find out which parts are needed.

        Args:
            fields: of the record; the first that has a value counts where two give one column.
            reading: names of the standard columns wanted; others are passed over.
        """
        self._reading = frozenset(reading)
        self._fields = [
            (field.name, field.kind, _pieces(field.kind) or _wanted(field.name, field.kind, self._reading))
            for field in fields
        ]

    def __call__(self, values: Mapping[str, str]) -> dict[str, Value]:
        """The columns; one that is not made from the values is left out.

        Args:
            values: text by the name of the field, trimmed and not empty.
        """
        columns: dict[str, Value] = {}
        for name, kind, wanted in self._fields:
            raw = values.get(name)
            if raw is None:
                continue
            made = standardise(kind, raw, tuple(wanted.values()))
            if kind not in PIECES:
                _fill(columns, wanted, made)
                continue
            for (piece, piece_kind), text in zip(PIECES[kind].items(), made, strict=True):
                if text is not None:
                    assert isinstance(text, str), "the pieces of a text are texts"
                    parts = _wanted(PIECE_NAMES.get(piece, piece), piece_kind, self._reading)
                    _fill(columns, parts, standardise(piece_kind, text, tuple(parts.values())))
        return columns


def _fill(columns: dict[str, Value], names: Mapping[str, str], made: Sequence[Value]) -> None:
    for name, value in zip(names, made, strict=True):
        if value is not None:
            columns.setdefault(name, value)


def _pieces(kind: Kind) -> dict[str, str]:
    return {piece: piece for piece in PIECES.get(kind, ())}


def _wanted(name: str, kind: Kind, reading: Collection[str]) -> dict[str, str]:
    """Part by column, of those that are read."""
    columns = {f"{name}.{part}" if part else name: part for part in part_names(kind)}
    return {column: part for column, part in columns.items() if column in reading}
