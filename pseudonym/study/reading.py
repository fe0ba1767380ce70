"""A council's text in our columns: dates read, codes translated, and what does not read told by row and code.

The rule for what does not read: an identifier is set aside and its row stays, for linkage does without it;
what decides who is shared, or is analysed, or kept apart, refuses its row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from pseudonym.errors import CouncilFileError
from pseudonym.study.fields import PROBLEMS, PROTECTED, SOURCE, Field, Form, Part, fields
from pseudonym.study.layouts import DATE_FORMS, Layout, Source

FAULTS = pl.Schema({"row": pl.UInt32(), "field": pl.String(), "code": pl.String(), "refused": pl.Boolean()})
"""What is told of a row: its number (1 is the first below the headings), our column, null where the row as a
whole is meant, the reason's code, and whether the row is refused or only this value set aside."""
MOST_UNREAD = 0.5
"""The share of a column's values that may not read as dates: with more, the layout is wrong."""
_LEAST_UNREAD = 5
_MIDNIGHT = r"[T ]0{1,2}:00(?::00(?:\.0+)?)?Z?$"
_FIELD_CODES = {Form.DATE: "DATE_UNREADABLE", Form.HOURS: "NO_NUMBER"}


@dataclass(frozen=True, eq=False)
class Read:
    """A file in our columns.

    Attributes:
        rows: `row`, and every column of `fields.fields` but the list of problems, which are flags by
            now; null where the layout has none. Dates are days, flags booleans, the rest text.
        faults: as `FAULTS`.
    """

    rows: pl.DataFrame
    faults: pl.DataFrame

    def __repr__(self) -> str:
        return f"Read(rows={self.rows.height}, faults={self.faults.height})"


def read(frame: pl.DataFrame, layout: Layout) -> Read:
    """Read a frame of text by a layout.

    Args:
        frame: the file, all text, null where nothing is said.
        layout: the council's.

    Raises:
        CouncilFileError: a column is missing or not in the layout, or a column of dates is written otherwise
            than the layout says.
    """
    _check_columns(frame.columns, layout)
    known = fields(layout.scheme)
    said = {source.field.name: source for source in layout.sources}
    values, faults = [], []
    for source in layout.sources:
        own = pl.lit(source.always) if source.column is None else pl.col(source.column)
        value = _value(source, own)
        values.append(value.alias(source.field.name))
        faults += [
            (source.field, code, own.is_not_null() & fails) for code, fails in _fails(source, own, value)
        ]
    rows = frame.select(pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).alias("row"), *values)
    told = frame.select(rows["row"], *(fails.alias(str(at)) for at, (_, _, fails) in enumerate(faults)))
    _check_dates(frame, layout, told, faults)
    listed = pl.concat(
        [
            told.filter(str(at)).select(
                "row",
                field=pl.lit(field.name),
                code=pl.lit(code),
                refused=pl.lit(_decides(field)),
            )
            for at, (field, code, _) in enumerate(faults)
        ]
        or [FAULTS.to_frame()]
    )
    rows = rows.with_columns(
        pl.lit(None, _kind(field)).alias(name) for name, field in known.items() if name not in said
    )
    rows = _with_problems(_with_intensity(_with_marks(rows, layout), layout), layout)
    return Read(rows.select("row", *(name for name in known if name != PROBLEMS)), listed)


def _check_columns(columns: list[str], layout: Layout) -> None:
    there, asked = set(columns), set(layout.columns)
    missing, extra = asked - there, there - asked
    if 2 * len(missing) > len(asked):  # a file without headings has people in its first line
        raise CouncilFileError(
            f"The file has {len(asked) - len(missing)} of the {len(asked)} columns of the layout.",
            "Its first line must be the headings that the layout names.",
        )
    if missing:
        raise CouncilFileError(
            f"The file has no column {_told(missing)}.", "Export it again, or correct the layout."
        )
    if extra:
        raise CouncilFileError(
            f"The layout knows nothing of {_told(extra)}.",
            "What nobody has declared does not leave: take these columns out of the file, or declare them.",
        )


def _value(source: Source, own: pl.Expr) -> pl.Expr:
    """What the council wrote, in our form; null where it does not read."""
    match source.field.form:
        case Form.DATE:
            pattern, form = DATE_FORMS[source.dates]
            text = own.str.replace(_MIDNIGHT, "")
            return pl.when(text.str.contains(pattern)).then(text).str.to_date(form, strict=False)
        case Form.CODE if source.column is not None:
            return _translated(source, own).replace("", None)
        case Form.FLAG:
            return _translated(source, own).replace_strict(
                ["yes", "no"], [True, False], default=None, return_dtype=pl.Boolean
            )
        case Form.LIST:
            meant = pl.element().replace_strict(*_lists(source), default=None, return_dtype=pl.String)
            return _listed(source, own).list.eval(meant).list.drop_nulls()
        case Form.HOURS:
            return pl.when(own.str.contains(r"^\d{1,4}(?:\.\d+)?$")).then(own).cast(pl.Float64, strict=False)
        case _:
            return pl.when(~_odd(source.field, own)).then(own) if source.column is not None else own


def _fails(source: Source, own: pl.Expr, value: pl.Expr) -> Iterator[tuple[str, pl.Expr]]:
    form = source.field.form
    if form in _FIELD_CODES:
        yield _FIELD_CODES[form], value.is_null()
    elif source.column is None:
        return
    elif form in (Form.CODE, Form.FLAG):
        yield "CODE_UNKNOWN", _translated(source, own).is_null()
    elif form is Form.LIST:
        known = pl.element().is_in(_lists(source)[0])
        yield "CODE_UNKNOWN", ~_listed(source, own).list.eval(known).list.all()
    else:
        yield "FREE_TEXT", _odd(source.field, own)


def _translated(source: Source, own: pl.Expr) -> pl.Expr:
    return own.str.to_lowercase().replace_strict(*_lists(source), default=None, return_dtype=pl.String)


def _lists(source: Source) -> tuple[list[str], list[str]]:
    return [code for code, _ in source.codes], [ours for _, ours in source.codes]


def _listed(source: Source, own: pl.Expr) -> pl.Expr:
    """The codes in a value, in lower case; none where nothing is said."""
    parts = own.str.to_lowercase().str.split(source.separator.strip() or source.separator)
    stripped = pl.element().str.strip_chars()
    return parts.list.eval(stripped.filter(stripped != ""))


def _odd(field: Field, own: pl.Expr) -> pl.Expr:
    """Longer than any such value, or with more words, or with line ends: a remark."""
    words = own.str.count_matches(r"\S+")
    return (
        (own.str.len_chars() > field.longest) | (words > field.words) | own.str.contains(r"[\x00-\x1f\x7f]")
    )


def _decides(field: Field) -> bool:
    """Whether a row cannot be used without what the council means by this value."""
    return field.name in ("family", PROTECTED) or not (
        field.part is Part.IDENTIFIERS or field.name.endswith(SOURCE)
    )


def _kind(field: Field) -> pl.DataType:
    kinds = {Form.DATE: pl.Date(), Form.FLAG: pl.Boolean(), Form.HOURS: pl.Float64()}
    return pl.List(pl.String()) if field.form is Form.LIST else kinds.get(field.form, pl.String())


def _with_marks(rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Who is protected is so in each of their rows; where nothing is said, it is no."""
    if PROTECTED not in layout.fields:
        return rows
    mark = pl.col(PROTECTED).fill_null(False)
    member = pl.col("member")
    return rows.with_columns(pl.when(member.is_not_null()).then(mark.any().over(member)).otherwise(mark))


def _with_intensity(rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """The band of the hours, where the council gives hours."""
    if "hours" not in layout.fields:
        return rows
    band = pl.lit(None, pl.String)
    for one in layout.scheme.intensity:
        band = pl.when(pl.col("hours") >= one.least).then(pl.lit(one.code)).otherwise(band)
    return rows.with_columns(intensity=band)


def _with_problems(rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Each problem and indicator as a flag, from the list or a column of its own; an indicator says both.

    What a council does not record is null, and not no.
    """
    listed = {ours for source in layout.sources if source.field.name == PROBLEMS for _, ours in source.codes}
    asked = pl.col(PROBLEMS).list if PROBLEMS in layout.fields else None
    rows = rows.with_columns(
        (pl.col(name).fill_null(False) | asked.contains(name).fill_null(False)).alias(name)
        for name in layout.scheme.flags
        if asked is not None and name in listed
    )
    return rows.with_columns(
        pl.when(pl.any_horizontal(pl.col(one.code for one in problem.indicators).fill_null(False)))
        .then(True)
        .otherwise(problem.column)
        .alias(problem.column)
        for problem in layout.scheme.problems
        if problem.indicators
    )


def _check_dates(
    frame: pl.DataFrame, layout: Layout, told: pl.DataFrame, faults: list[tuple[Field, str, pl.Expr]]
) -> None:
    columns = {source.field.name: source for source in layout.sources}
    for at, (field, code, _) in enumerate(faults):
        if code != "DATE_UNREADABLE":
            continue
        source = columns[field.name]
        said, wrong = frame[source.column or ""].count(), told[str(at)].sum()
        if wrong >= _LEAST_UNREAD and wrong > MOST_UNREAD * said:
            raise CouncilFileError(
                f"{wrong:,} of {said:,} values of {source.column!r} are not written {source.dates}.",
                f"Say in the layout how {field.name} is written: {', '.join(DATE_FORMS)}.",
            )


def _told(names: set[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))
