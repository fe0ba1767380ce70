"""Dates as numbers: days since 1970-01-01, in bulk."""

from __future__ import annotations

import numpy as np
import polars as pl

from benchmarks.draw import Ints

YEAR = 365.2425  # days
TODAY = np.datetime64("2024-12-31")
_FIRST = np.datetime64("1880-01-01")
_WRITTEN = pl.Series(np.datetime_as_string(np.arange(_FIRST, np.datetime64("2060-01-01"))))


def day(text: str) -> int:
    """The number of one date, written 2024-12-31."""
    return int(np.datetime64(text).astype(np.int64))


def written(days: Ints, name: str = "date_of_birth") -> pl.Series:
    """Dates from 1880 to 2059 as text, 2024-12-31."""
    return _WRITTEN.gather(days - int(_FIRST.astype(np.int64))).alias(name)


def year_of(days: Ints) -> Ints:
    """The calendar year of each day."""
    return days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970


def parts_of(days: Ints) -> tuple[Ints, Ints, Ints]:
    """Year, month and day of the month."""
    date = days.astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    within = (date - month.astype("datetime64[D]")).astype(np.int64) + 1
    months = month.astype(np.int64)
    return months // 12 + 1970, months % 12 + 1, within


def date_of(year: Ints, month: Ints, day_of_month: Ints) -> Ints:
    """The day that has these parts."""
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    return months.astype("datetime64[D]").astype(np.int64) + day_of_month - 1


def first_of_year(days: Ints) -> Ints:
    """1 January of each day's year."""
    return days.astype("datetime64[D]").astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
