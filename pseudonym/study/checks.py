"""What is wrong with the rows of a council's file, told by row and code; no value is repeated.

    read ──▶ what nobody can use, or what contradicts itself ──▶ refused rows │ values set aside

A value that is set aside is gone from the row; a refused row takes no part in anything.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from pseudonym.study.fields import CHILDREN, DATES, NAMES, NUMBERS
from pseudonym.study.members import belongs, overlapping, same_people
from pseudonym.study.reading import FAULTS, Read

CODES = {
    "FAMILY_MISSING": "no reference of the family",
    "NOBODY": "no name, no date of birth and no number: nobody who could be found",
    "CODE_UNKNOWN": "a code that the layout does not translate",
    "DATE_UNREADABLE": "not a date as the layout says dates are written",
    "NO_NUMBER": "hours that are no number",
    "FREE_TEXT": "longer than any such value, or with line ends: a remark",
    "DATE_IN_FUTURE": "a day after that of the delivery",
    "DATE_IMPLAUSIBLE": "a day before 1895",
    "NOT_BORN_YET": "a date of birth after the day of the delivery",
    "ENDS_BEFORE_START": "support or membership that ends before it begins",
    "NINO_OF_CHILD": "a National Insurance number of somebody under 16, or of a child of unknown age",
    "ROW_REPEATED": "the same as a row above, in every column",
    "MEMBER_REPEATED": "the same member of the same family as above, at the same time",
    "FAMILY_REPEATED": "the same people as in another family above",
    "ARM_CONFLICT": "a family that is said to be in two arms",
    "ARM_MISSING": "an eligible family of which nobody says in which arm it is",
}
"""What each code means."""
EARLIEST = date(1895, 1, 1)  # of dates of birth, in Hospital Episode Statistics
NINO_AGE = 16
"""Years of age from which a person may have a National Insurance number: it is given before the birthday."""
_INTERVALS = (("member_from", "member_to"), ("support_from", "support_to"))
_PERSON = ("forename", "middle_name", "surname", "full_name", "date_of_birth")


def check(read: Read, day: date) -> Read:
    """Look through the rows of a file.

    Args:
        read: the file in our columns.
        day: of the delivery.

    Returns:
        The rows that are not refused, without the values that are set aside; and all faults in order of rows.
    """
    rows, faults = read.rows, [read.faults]

    def told(
        code: str, fails: pl.Expr | pl.Series, field: str | None = None, *, refused: bool = True
    ) -> None:
        found = rows.filter(fails).select(
            "row", field=pl.lit(field, pl.String), code=pl.lit(code), refused=pl.lit(refused)
        )
        faults.append(found)

    odd = read.faults.filter(field="family")["row"]
    told("FAMILY_MISSING", pl.col("family").is_null() & ~pl.col("row").is_in(odd.implode()), "family")
    told("NOBODY", pl.all_horizontal(pl.col(*NAMES, *NUMBERS, "date_of_birth").is_null()))
    told("NOT_BORN_YET", pl.col("date_of_birth") > day, "date_of_birth")
    told("DATE_IMPLAUSIBLE", pl.col("date_of_birth") < EARLIEST, "date_of_birth", refused=False)
    for name in DATES[1:]:
        told("DATE_IN_FUTURE", pl.col(name) > day, name)
        told("DATE_IMPLAUSIBLE", pl.col(name) < EARLIEST, name)
    for start, end in _INTERVALS:
        told("ENDS_BEFORE_START", pl.col(end) < pl.col(start), end)
    told("NINO_OF_CHILD", pl.col("nino").is_not_null() & _child(day), "nino", refused=False)
    first = rows.unique(pl.exclude("row"), keep="first")["row"]
    told("ROW_REPEATED", ~pl.col("row").is_in(first.implode()))
    # What repeats or contradicts rows is looked for among those that are good by themselves.
    rows = _left(rows, faults)
    told("MEMBER_REPEATED", overlapping(rows), "member")
    # A family that got a new reference has the same people under both, one after the other.
    now = rows.filter(belongs(day))
    again = now.filter(same_people(now, _PERSON))["row"]
    told("FAMILY_REPEATED", pl.col("row").is_in(again.implode()), "family")
    rows = _left(rows, faults)
    arms = pl.col("arm").drop_nulls().n_unique().over("family")
    torn = rows.filter(belongs(day)).filter(arms > 1)["row"]
    told("ARM_CONFLICT", pl.col("row").is_in(torn.implode()), "arm")
    rows = _left(rows, faults)
    listed = pl.concat(faults).match_to_schema(FAULTS).unique().sort("row", "field", "code", nulls_last=True)
    aside = listed.filter(~pl.col("refused"))
    for name in aside["field"].drop_nulls().unique():
        at = aside.filter(field=name)["row"]
        rows = rows.with_columns(pl.when(~pl.col("row").is_in(at.implode())).then(pl.col(name)).alias(name))
    return Read(rows, listed)


def counts(faults: pl.DataFrame, *, refused: bool) -> dict[str, int]:
    """How many rows are refused, or values set aside, by code."""
    found = faults.filter(refused=refused).group_by("code").len().sort("code")
    return dict(found.iter_rows())


def _child(day: date) -> pl.Expr:
    """Whether somebody is too young for a National Insurance number, or may be."""
    birthday = pl.col("date_of_birth").dt.offset_by(f"{NINO_AGE}y")
    return pl.when(birthday.is_not_null()).then(birthday > day).otherwise(pl.col("relation").is_in(CHILDREN))


def _left(rows: pl.DataFrame, faults: list[pl.DataFrame]) -> pl.DataFrame:
    refused = pl.concat([one.filter("refused").select("row") for one in faults])
    return rows.join(refused, on="row", how="anti", maintain_order="left")
