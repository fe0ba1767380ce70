"""Identities by column: frames become payloads, payloads frames, and frames the values people are found by.

    frame (records.SCHEMA) ──payloads──▶ bytes ──sealed, opened──▶ frame_of ──▶ the same frame
                           └─found_by──▶ row, field, value ──▶ blind index

All of it is Polars; no object is made for a person.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from pseudonym.errors import InputError
from pseudonym.records import LONGEST, MOST, NUMBERS, SCHEMA

FIELDS = {"nhs": 1, "nino": 2, "upn": 3, "surname-dob": 4, "postcode-dob": 5}
"""The fields of the blind index, by what a person can be found, with the numbers that stores know them by."""

ALIASES = "aliases"
"""The column of `SCHEMA` with further names; it also stands beside flat rows, which have one name each."""

_OPEN, _CLOSE, _BEGIN, _END, _QUOTE = map(pl.lit, '[]{}"')
_DAY = "%Y-%m-%d"
_CONTROL = r"[\x00-\x1f]"
_ESCAPED = r"[\\\"]"


def payloads(frame: pl.DataFrame) -> list[bytes]:
    """The payloads of a frame of identities: for each row what `Identity.to_bytes` gives.

    Args:
        frame: columns of `SCHEMA`, any of them; an empty text or list is as good as none.

    Raises:
        InputError: a column is unknown or of another type, or a value may not be in an identity.
    """
    return _payloads(checked(frame)).to_list()


def payloads_and_values(frame: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
    """What `payloads` (as a column) and `found_by` give, of identities that are looked at once."""
    whole = checked(frame)
    return _payloads(whole), _found_by(whole)


def _payloads(whole: pl.DataFrame) -> pl.Series:
    plain = not any(_has_odd_text(texts, _ESCAPED) for _, texts in _texts(whole))
    said: dict[str, list[pl.Expr]] = {}
    for name, dtype in SCHEMA.items():
        if whole[name].null_count() == whole.height:
            continue
        if isinstance(dtype, pl.List) and _is_single(whole[name]):  # most have one name, and one address
            said[name] = [_OPEN, *_spelt(pl.col(name).list.first(), _inner(dtype), plain), _CLOSE]
        else:
            said[name] = _spelt(pl.col(name), dtype, plain)
    if not said:
        return pl.Series("payload", [b"{}"] * whole.height, dtype=pl.Binary)
    spelt = pl.concat_str(_BEGIN, _members(said), _END)
    return whole.select(spelt.cast(pl.Binary).alias("payload")).to_series()


def frame_of(opened: Sequence[bytes]) -> pl.DataFrame:
    """The frame of identities, with all columns of `SCHEMA`, that payloads were made from."""
    texts = pl.Series("payload", [octets.decode() for octets in opened], dtype=pl.String)
    read = texts.str.json_decode(_without_days(pl.Struct(SCHEMA))).struct.unnest()
    days = [pl.field(name).str.to_date(_DAY) for name in ("since", "until")]
    former = pl.col("former").list.eval(pl.element().struct.with_fields(days))
    return read.with_columns(pl.col("born").str.to_date(_DAY), former).cast(SCHEMA)


def from_flat(frame: pl.DataFrame) -> pl.DataFrame:
    """A frame of identities, from one with at most a name and an address in each row.

    Args:
        frame: any of the columns given, surname, address, postcode, born, sex, nhs, nino, upn, uln, pncid.
    """
    has = set(frame.columns)
    stated = {name for name, dtype in frame.schema.items() if dtype != pl.Null}
    made = [pl.col(name) for name in ("born", "sex", *NUMBERS) if name in has]
    for name, parts in (
        ("names", {"given": "given", "surname": "surname"}),
        ("addresses", {"address": "lines", "postcode": "postcode"}),
    ):
        if has & set(parts):
            fields = [
                (pl.col(part) if part in stated else pl.lit(None, pl.String)).alias(known)
                for part, known in parts.items()
            ]
            made.append(pl.concat_list(pl.struct(fields)).alias(name))
    return frame.select(made)


def each_name(rows: pl.DataFrame) -> pl.DataFrame:
    """Flat rows with their names, and after them a row for each of their `ALIASES`; without these.

    A part that an alias does not say is that of the name.

    Args:
        rows: given, surname, `ALIASES`, and other columns.
    """
    others = rows.filter(pl.col(ALIASES).list.len() > 0).explode(ALIASES)
    name = pl.col(ALIASES).struct
    named = others.with_columns(pl.coalesce(name.field(one), one).alias(one) for one in ("given", "surname"))
    return pl.concat([one.drop(ALIASES) for one in (rows, named)])


def found_by(frame: pl.DataFrame) -> pl.DataFrame:
    """What each row of a frame of identities can be found by.

    NHS number, NINO (without its suffix) and UPN, present and former; surnames (present, of an alias, former)
    and postcodes (present, of another address, former), each with the date of birth. Values have one
    spelling: capital letters and digits only, accents taken off; a surname or postcode is followed by `|` and
    the day.

    Returns:
        Columns row (from 0), field (of `FIELDS`) and value, no two rows of it alike.
    """
    return _found_by(checked(frame))


def _found_by(whole: pl.DataFrame) -> pl.DataFrame:
    rows = whole.with_row_index("row").lazy()
    born = pl.col("born").dt.to_string(_DAY)
    code = pl.col("value").str.to_uppercase().str.replace_all("[^A-Z0-9]", "")
    letters = pl.col("value").str.normalize("NFKD").str.to_uppercase().str.replace_all(r"\P{L}", "")
    day = pl.lit("|") + pl.col("born")
    names, places = pl.when(letters != "").then(letters + day), pl.when(code != "").then(code + day)
    spelt = {
        "nhs": ([("nhs", ""), ("former", "nhs")], code),
        "nino": ([("nino", ""), ("former", "nino")], code.str.slice(0, 8)),
        "upn": ([("upn", ""), ("former", "upn")], code),
        "surname-dob": ([("names", "surname"), ("aliases", "surname"), ("former", "surname")], names),
        "postcode-dob": ([("addresses", "postcode"), ("former", "postcode")], places),
    }
    found = [pl.LazyFrame(schema={"row": pl.UInt32, "field": pl.String, "value": pl.String})]
    for field, (sources, spelling) in spelt.items():
        there = [(whole[name], part) for name, part in sources if whole[name].null_count() < whole.height]
        parts = [
            _each(rows.select("row", born, value=column.name), column, part)
            .select("row", pl.lit(field).alias("field"), spelling.alias("value"))
            .filter(pl.col("value").is_not_null() & (pl.col("value") != ""))
            for column, part in there
        ]
        # One value of a row is like no other of it.
        once = len(parts) < 2 and not any(_is_list(column) and not _is_single(column) for column, _ in there)
        found += parts if once else [pl.concat(parts).unique(maintain_order=True)]
    return pl.concat(found).collect()


def checked(frame: pl.DataFrame) -> pl.DataFrame:
    """The same identities with all columns of `SCHEMA`, after looking at every value.

    Raises:
        InputError: a column is unknown or of another type, or a value may not be in an identity.
    """
    if unknown := set(frame.columns) - set(SCHEMA):
        raise InputError(f"{len(unknown)} columns are none of an identity's.", f"It has {', '.join(SCHEMA)}.")
    for name, dtype in frame.schema.items():
        if dtype not in (SCHEMA[name], pl.Null):
            raise InputError(f"The column {name} of identities is not of its type, {SCHEMA[name]}.")
    whole = frame.select(
        (pl.col(name).cast(dtype) if name in frame.columns else pl.lit(None, dtype).alias(name))
        for name, dtype in SCHEMA.items()
    )
    if frame.height == 0:
        return whole.clear()
    for name, dtype in SCHEMA.items():
        if isinstance(dtype, pl.List) and (whole[name].list.len().max() or 0) > MOST:  # type: ignore[operator]
            raise InputError(f"A person has more than {MOST} {name}.", "Leave out the least useful.")
    for name, texts in _texts(whole):
        if _has_odd_text(texts, _CONTROL) or (texts.str.len_chars().max() or 0) > LONGEST:  # type: ignore[operator]
            raise InputError(
                f"A text in {name} has control characters, or more than {LONGEST} characters.",
                "Standardise the values first.",
            )
    return whole


def _texts(frame: pl.DataFrame) -> Iterator[tuple[str, pl.Series]]:
    """Every text of a frame of identities, with the name of its column."""
    for column in frame.iter_columns():
        if column.null_count() == len(column):
            continue
        if isinstance(column.dtype, pl.List):
            column = column.explode(empty_as_null=False, keep_nulls=False)
        for part in column.struct.unnest() if isinstance(column.dtype, pl.Struct) else [column]:
            if part.dtype == pl.String:
                yield column.name, part


def _has_odd_text(texts: pl.Series, pattern: str) -> bool:
    return bool(texts.str.contains(pattern).any())


def _each(rows: pl.LazyFrame, column: pl.Series, part: str) -> pl.LazyFrame:
    """Rows of row, born and value (a column) with each value in it: texts, or a part of those in a list."""
    if not _is_list(column):
        return rows
    single = _is_single(column)
    rows = rows.with_columns(pl.col("value").list.first()) if single else rows.explode("value")
    value = pl.col("value").struct
    if column.name == "former":
        return rows.filter(value.field("what") == part).with_columns(value=value.field("value"))
    return rows.with_columns(value=value.field(part))


def _is_list(column: pl.Series) -> bool:
    return isinstance(column.dtype, pl.List)


def _is_single(column: pl.Series) -> bool:
    """Whether no list of a column has more than one element."""
    return bool((column.list.len().max() or 0) <= 1)  # type: ignore[operator]


def _spelt(value: pl.Expr, dtype: pl.DataType, plain: bool) -> list[pl.Expr]:
    """The parts of a value's JSON, one of them null where there is nothing to say.

    Args:
        value: the column.
        dtype: its type.
        plain: whether no text has to be escaped.
    """
    if isinstance(dtype, pl.List):
        each = pl.concat_str(_spelt(pl.element(), _inner(dtype), plain))
        said = value.list.eval(each).list.drop_nulls()
        return [_OPEN, pl.when(said.list.len() > 0).then(said.list.join(",")), _CLOSE]
    if isinstance(dtype, pl.Struct):
        members = _members(
            {
                field.name: _spelt(value.struct.field(field.name), _known(field.dtype), plain)
                for field in dtype.fields
            }
        )
        return [_BEGIN, pl.when(members != "").then(members), _END]
    if dtype == pl.Date:
        return [_QUOTE, value.dt.to_string(_DAY), _QUOTE]
    if not plain:
        value = value.str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)
    return [_QUOTE, pl.when(value != "").then(value), _QUOTE]


def _members(members: dict[str, list[pl.Expr]]) -> pl.Expr:
    """What is between the braces of a JSON object; members that have nothing to say are left out."""
    said = [pl.concat_str(pl.lit(f'"{name}":'), *parts) for name, parts in members.items()]
    return pl.concat_str(said, separator=",", ignore_nulls=True)


def _without_days(dtype: pl.DataType) -> pl.DataType:
    """The type as JSON has it: days are text."""
    if isinstance(dtype, pl.List):
        return pl.List(_without_days(_inner(dtype)))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _without_days(_known(field.dtype)) for field in dtype.fields})
    return pl.String() if dtype == pl.Date else dtype


def _inner(dtype: pl.List) -> pl.DataType:
    return _known(dtype.inner)


def _known(dtype: object) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()  # type: ignore[operator]
