"""From a council's file to whom is asked about: rows are checked, and only the fields of the check are taken.

    frame ──pick──▶ one row a subject: family, and the check's fields ──▶ Subjects, or PartnerRowsError

The rules this module keeps:

- A child is never in a question about benefits: one such row refuses the file, or is left out where that was
  asked for. Who is adult is known by a date of birth, or not at all.
- A National Insurance number of a child is told, by its row.
- What the check does not ask is never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import polars as pl

from pseudonym.errors import PartnerRowsError
from pseudonym.lawful.sharing import Wish
from pseudonym.partners.checks import About, Check

FAMILY: Final = "family"
WISH, WISH_DAY = "wish", "wish_day"
"""What a family did that shows its wish for a service, and when: read where that is why data are shared."""
ADULT_AT: Final = 18  # years
LONGEST: Final = 200  # characters of one value
MOST_ROWS: Final = 10_000
_SHOWN = 20
_WHY = {
    "family": "no family",
    "missing": "a needed field is missing",
    "long": f"more than {LONGEST} characters, or signs that no name has",
    "birth": "no date of birth, or one in the future",
    "child": "a child",
    "adult": "of a family of which nobody is known to be adult",
    "home": "neither a UPRN nor an address with its postcode",
    "wish": "nothing shows that a service was requested",
}


@dataclass(frozen=True, slots=True)
class Subjects:
    """Whom or what is asked about.

    Attributes:
        frame: family, and the check's fields, all text; one row a person or home, none twice.
        passed_over: how many rows were left out for being about children, or about nobody known to be adult.
        child_ninos: row numbers, from 1, of children with a National Insurance number, which no child has.
        wishes: how many rows each kind of evidence has, where that was asked for: it goes no further.
    """

    frame: pl.DataFrame
    passed_over: int
    child_ninos: tuple[int, ...]
    wishes: Mapping[str, int] = field(default_factory=dict)


def pick(
    check: Check, frame: pl.DataFrame, day: date, *, adults_only: bool = False, wished: bool = False
) -> Subjects:
    """Take from a file what a check asks, and refuse what it may not.

    Args:
        check: what is asked.
        frame: columns of text; family and those of the check, dates as YYYY-MM-DD; others are ignored.
        day: on which age is reckoned.
        adults_only: leave children out, where a check about adults would refuse them.
        wished: every row must show that its family requested a service: `wish` and `wish_day`.

    Raises:
        PartnerRowsError: names rows by number, and why.
    """
    absent = [name for name in (FAMILY, *check.needed) if name not in frame.columns]
    known = [name for name in check.further if name in frame.columns]
    if absent or not (check.needed or known):
        raise PartnerRowsError(
            f"The file lacks {', '.join(absent or check.further)}, which this check asks.",
            "Name the columns so, or say which they are: --map surname=COLUMN.",
        )
    if frame.height > MOST_ROWS:
        raise PartnerRowsError(f"The file has more than {MOST_ROWS:,} rows.", "Ask about fewer at a time.")
    lines = pl.all().str.strip_chars().str.replace_all(r"\s*[\r\n]+\s*", ", ")  # of an address
    text = lines.str.replace_all(r"\s+", " ").replace("", None)
    wish = [name for name in (WISH, WISH_DAY) if wished and name in frame.columns]
    rows = frame.select(FAMILY, *check.needed, *known, *wish).select(text).with_row_index("row", 1)
    _refuse(rows, "family", pl.col(FAMILY).is_null())
    passed, child_ninos = 0, tuple[int, ...]()
    if check.about is not About.HOME:
        rows = rows.with_columns(pl.col("date_of_birth").str.to_date(strict=False).alias("born"))
        adult = pl.col("born").dt.offset_by(f"{ADULT_AT}y") <= day
        good = pl.col("born") <= day
        if "nino" in known:
            child_ninos = tuple(rows.filter(good & ~adult & pl.col("nino").is_not_null())["row"])
        if check.about is About.FAMILY:
            kept = rows.filter(adult & good)
            _refuse(rows, "adult", ~pl.col(FAMILY).is_in(kept[FAMILY].implode()))
        else:
            _refuse(rows, "birth", ~good | good.is_null())
            if check.about is About.ADULT and not adults_only:
                _refuse(rows, "child", ~adult)
            kept = rows.filter(adult) if check.about is About.ADULT else rows
        passed, rows = rows.height - kept.height, kept.drop("born")
    missing = pl.any_horizontal(pl.col(name).is_null() for name in check.needed) if check.needed else None
    if missing is not None:
        _refuse(rows, "missing", missing)
    else:
        _refuse(rows, "home", ~_has_home(known))
    odd = pl.any_horizontal(
        (pl.col(name).str.len_chars() > LONGEST) | pl.col(name).str.contains(r"[\x00-\x1f\x7f]")
        for name in (FAMILY, *check.needed, *known)
    )
    _refuse(rows, "long", odd.fill_null(False))
    if rows.is_empty():
        raise PartnerRowsError("Nobody is left to ask about.", "The file has no such row.")
    wishes = _wishes(rows, day) if wished else {}
    plain = rows.drop("row", WISH, WISH_DAY, strict=False).unique(maintain_order=True)
    return Subjects(plain, passed, child_ninos, wishes)


def _wishes(rows: pl.DataFrame, day: date) -> dict[str, int]:
    """How many rows each kind of evidence has that a service was requested; refuses rows that have none."""
    missing = [name for name in (WISH, WISH_DAY) if name not in rows.columns]
    if missing:
        raise PartnerRowsError(
            f"The file lacks {', '.join(missing)}, which show that a service was requested.",
            f"{WISH} is one of {', '.join(Wish)}; {WISH_DAY} is its day, as YYYY-MM-DD.",
        )
    shown = pl.col(WISH).is_in(list(Wish)) & (pl.col(WISH_DAY).str.to_date(strict=False) <= day)
    _refuse(rows, "wish", ~shown.fill_null(False))
    return dict(rows[WISH].value_counts().sort(WISH).iter_rows())


def _has_home(known: Sequence[str]) -> pl.Expr:
    there = {name: pl.col(name).is_not_null() if name in known else pl.lit(False) for name in _HOME}
    return there["uprn"] | (there["address"] & there["postcode"])


_HOME = ("address", "postcode", "uprn")


def _refuse(rows: pl.DataFrame, why: str, where: pl.Expr) -> None:
    found = rows.filter(where)["row"].to_list()
    if found:
        shown = ", ".join(map(str, found[:_SHOWN])) + (" …" if len(found) > _SHOWN else "")
        help = {
            "wish": f"{WISH} is one of {', '.join(Wish)}, on a day that is past.",
            "child": "Only adults are asked about here: take children out, or say --adults-only.",
        }.get(why, "Put them right, or take them out.")
        raise PartnerRowsError(f"Rows that cannot be asked about ({_WHY[why]}): {shown}.", help)
