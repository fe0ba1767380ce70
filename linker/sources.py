"""How the columns that a model reads are made of records as they stand, as small immutable trees.

A model of another tool knows nothing of our standard columns: it reads the columns of the user's table,
and pieces of them ("the letters before the first digit of pc"). A `Source` says how such a column is made,
`Raw` holds all that a model reads. `linker.raw` makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any as Json

from linker.errors import ModelError


class Make(StrEnum):
    """What is made, of the parts in `of` and with the arguments in brackets; null of null."""

    COLUMN = "column"  # [name] a column as it stands; an empty text is a value
    LITERAL = "literal"  # [value] the same in every record; with a part, in the type of that part
    TEXT = "text"  # the value in words, as DuckDB's CAST(… AS TEXT)
    NUMBER = "number"  # the value as a 64-bit float
    LOWER = "lower"
    UPPER = "upper"
    TRIM = "trim"  # without spaces around it
    SUBSTRING = "substring"  # [first, length] characters, counted from 1
    LAST = "last"  # [length] characters
    EXTRACT = "extract"  # [pattern, group] what a regular expression finds first; "" where it finds nothing
    NULLIF = "nullif"  # [text] null where it is this text
    JOIN = "join"  # the parts one after the other
    COALESCE = "coalesce"  # the first part that is not null
    PARSE = "parse"  # [strptime format] seconds since 1970; null where the text does not fit
    SECONDS = "seconds"  # of a date or time: seconds since 1970
    DAY = "day"  # of a date or time: seconds from 1970 to the start of its day
    ELEMENT = "element"  # [place] of a list, from 1, or from the end: -1
    FIELD = "field"  # [name] of a structure
    LENGTH = "length"  # how many elements a list has
    ELEMENTS = "elements"  # a list as a set of texts
    UNREPEATED = "unrepeated"  # the same; a list with a repeated element is refused
    VECTOR = "vector"  # a list of 64-bit floats
    POINT = "point"  # latitude and longitude in degrees, as a vector


@dataclass(frozen=True)
class Source:
    """One column that a model reads, or a step on the way to it."""

    make: Make
    of: tuple[Source, ...] = ()
    args: tuple[str | float, ...] = ()

    @property
    def name(self) -> str:
        """Readable and unique; a column as it stands keeps its own name."""
        if self.make is Make.COLUMN:
            return str(self.args[0])
        parts = [part.name for part in self.of] + [repr(one) for one in self.args]
        return f"{self.make}({', '.join(parts)})"

    @property
    def columns(self) -> frozenset[str]:
        """The columns of the records that it is made of."""
        own = {str(self.args[0])} if self.make is Make.COLUMN else set()
        return frozenset(own.union(*(part.columns for part in self.of)))


def column(name: str) -> Source:
    """A column as it stands."""
    return Source(Make.COLUMN, (), (name,))


@dataclass(frozen=True)
class Raw:
    """That a model reads records as they stand, and what it makes of them.

    Characters are then the bytes of UTF-8, as DuckDB counts them, and term frequencies are those of the
    records at hand where the model has none.

    Attributes:
        sources: by name, every column that the model reads.
        id_column: the column with the record's id.
    """

    sources: Mapping[str, Source]
    id_column: str


def to_data(raw: Raw) -> dict[str, Json]:
    """As plain data for JSON."""
    return {
        "id_column": raw.id_column,
        "sources": {name: _source_to_data(source) for name, source in sorted(raw.sources.items())},
    }


def from_data(data: Json) -> Raw:
    """What `to_data` wrote.

    Raises:
        ModelError: a source cannot be read.
    """
    sources = {str(name): _source_from_data(one) for name, one in data["sources"].items()}
    if any(source.name != name for name, source in sources.items()):
        raise ModelError("A column of the model has another name than its source.", "Import it anew.")
    return Raw(sources, str(data["id_column"]))


def _source_to_data(source: Source) -> dict[str, Json]:
    data: dict[str, Json] = {"make": source.make.value}
    if source.of:
        data["of"] = [_source_to_data(part) for part in source.of]
    if source.args:
        data["args"] = list(source.args)
    return data


def _source_from_data(data: Json) -> Source:
    args = data.get("args", [])
    if data["make"] not in set(Make) or not all(isinstance(one, str | int | float) for one in args):
        raise ModelError("The model makes a column in a way that is not known.", "Import it anew.")
    return Source(Make(data["make"]), tuple(map(_source_from_data, data.get("of", []))), tuple(args))
