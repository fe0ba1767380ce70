"""The values of raw columns, as DuckDB has them: in words, as numbers, as seconds, and pieces of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from linker.errors import ModelError, RecordsError
from linker.sources import Make, Source
from linker.strptime import from_micros, seconds_of

CAST = "Cast the column in the file."
_EXACT_INTEGER = 2**53  # integers up to it are 64-bit floats without loss
_ISO = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")


def piece_of_text(source: Source, parts: Sequence[pl.Series]) -> pl.Series:
    """One step from texts to a text."""
    text = parts[0]
    match source.make, source.args:
        case Make.LOWER, ():
            return once(text, lambda one: _cased(one, _lower))
        case Make.UPPER, ():
            return once(text, lambda one: _cased(one, _upper))
        case Make.TRIM, ():
            return text.str.strip_chars(_SPACES)
        case Make.SUBSTRING, (int(first), int(length)):
            return text.str.slice(first - 1, length)
        case Make.LAST, (int(length),):
            return text.str.tail(length)
        case Make.EXTRACT, (str(pattern), int(group)):
            return once(text, lambda one: _extracted(one, pattern, group))
        case Make.NULLIF, (str(blank),):
            return text.set(text == blank, None)
        case Make.JOIN, ():
            return pl.select(pl.concat_str(list(parts))).to_series()
    raise ModelError(f"The model makes '{source.name}' with arguments that do not fit.", "Import it anew.")


_SPACES = "".join(map(chr, (0x20, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)))


def once(texts: pl.Series, make: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """Make something of each distinct text and gather it back."""
    distinct = texts.unique().drop_nulls()
    if 2 * len(distinct) > len(texts):
        return make(texts)
    return make(distinct).gather(texts.cast(pl.Enum(distinct)).to_physical())


def _extracted(texts: pl.Series, pattern: str, group: int) -> pl.Series:
    """What DuckDB's regexp_extract gives: "" where nothing is found."""
    found = texts.str.extract(pattern, group).fill_null("")
    return found.set(texts.is_null(), None)


def _cased(texts: pl.Series, change: Callable[[str], str]) -> pl.Series:
    """Another case, sign by sign as DuckDB has it: one sign stays one."""
    return pl.Series(
        texts.name, [None if one is None else "".join(map(change, one)) for one in texts], dtype=pl.String
    )


def _lower(sign: str) -> str:
    lower = sign.lower()
    return "i" if sign == "İ" else lower if len(lower) == 1 else sign


def _upper(sign: str) -> str:
    if sign == "ß":
        return "ẞ"
    return next((one for one in (sign.upper(), sign.title()) if len(one) == 1), sign)


def as_text(values: pl.Series, name: str) -> pl.Series:
    """Values in the words of DuckDB's CAST(… AS TEXT)."""
    dtype = values.dtype
    if dtype == pl.String or dtype.is_integer() or dtype in (pl.Date, pl.Boolean, pl.Null):
        return values.cast(pl.String)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        texts = values.dt.to_string("%Y-%m-%d %H:%M:%S%.6f").str.strip_chars_end("0")
        return texts.str.replace(r"\.$", "").str.replace(r":0?$", ":00") if len(texts) else texts
    if dtype == pl.Float64:
        return pl.Series([None if one is None else repr(one) for one in values], dtype=pl.String)
    raise ModelError(f"The model needs text for '{name}', and the column holds {words_for(dtype)}.", CAST)


def as_number(values: pl.Series, name: str) -> pl.Series:
    """Values as 64-bit floats, none of them lost or rounded."""
    if values.dtype == pl.String:
        values = as_type(values, pl.Float64(), name)
    elif values.dtype.is_integer():
        if len(values.drop_nulls()) and max(abs(int(values.max())), abs(int(values.min()))) > _EXACT_INTEGER:  # type: ignore[arg-type]
            raise RecordsError(f"A number of '{name}' is too large to be compared exactly.", CAST)
        return values.cast(pl.Float64)
    elif values.dtype != pl.Float64:
        raise ModelError(f"The model needs numbers for '{name}', not {words_for(values.dtype)}.", CAST)
    if not values.is_finite().all():
        raise RecordsError(f"A value of '{name}' is not a finite number.", "Make it null.")
    return values


def as_seconds(values: pl.Series, name: str) -> pl.Series:
    """Dates and times as seconds since 1970."""
    dtype = values.dtype
    if dtype == pl.Float64:
        return values
    if dtype == pl.Date:
        return values.to_physical().cast(pl.Float64) * 86400.0
    if isinstance(dtype, pl.Datetime):
        return from_micros(values.dt.timestamp("us"))
    if dtype == pl.String:
        parsed = once(values, lambda texts: _first_known([seconds_of(texts, form) for form in _ISO]))
        if parsed.null_count() > values.null_count():
            raise RecordsError(f"A value of '{name}' is not a date.", "Write dates as YYYY-MM-DD.")
        return parsed
    raise ModelError(f"The model needs dates for '{name}', not {words_for(dtype)}.", CAST)


def _first_known(columns: Sequence[pl.Series]) -> pl.Series:
    return pl.select(pl.coalesce(columns)).to_series()


def as_type(values: pl.Series, dtype: pl.DataType, name: str) -> pl.Series:
    """Values in another type, every one of them."""
    try:
        if values.dtype == pl.String and dtype == pl.Date:
            return values.str.to_date("%Y-%m-%d")
        return values.cast(dtype)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):  # which would tell the values
        raise ModelError(f"Not every value of '{name}' can be read as {words_for(dtype)}.", CAST) from None


def words_for(dtype: pl.DataType) -> str:
    """A type in words, for an error."""
    return "lists" if dtype.is_nested() else f"values of the type {dtype}"
