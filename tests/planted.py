"""Canaries in every column of every input of the study: each value is nobody's and is planted in one place.

What has a form (an NHS number, a postcode, a day) is of that form. `Plants` remembers what was planted where,
so that a search can say which input a leak came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import identifiers
from benchmarks.county.councils import COUNCILS
from benchmarks.county.presets import REGISTERS
from benchmarks.county.write import delivery_days
from deploy import study
from pseudonym.study import files
from pseudonym.study.eligibility import Outcome
from pseudonym.study.fields import Form
from pseudonym.study.layouts import Layout, Source
from pseudonym.study.reading import read

LETTERS = "abcdefghjklmnoprstuvwxyz"
NUMBERS = {
    "nhs_number": "nhs", "nino": "nino", "ni_number": "nino", "upn": "upn", "former_upn": "upn", "uln": "uln",
    "pncid": "pncid", "postcode": "postcode", "prior_postcode": "postcode", "date_of_birth": "day",
    "alias_date_of_birth": "day", "record_id": "code", "family": "code", "member": "code",
    "cro_number": "code", "prison_number": "code", "local_patient_id": "code", "provider": "code",
}  # fmt: skip
"""The form of a column's values, where it has one; all others are words."""
CODED = ("sex", "gender", "initials", "local_authority", "partial_postcode")
"""Columns of registers with so few values, or so short ones, that none of them is anybody's alone."""


@dataclass
class Plants:
    """What was planted.

    Attributes:
        values: that say something of a person, each with its place.
        labels: names that people choose for files, batches and the like, each with its place.
        columns: of each register's extract.
    """

    values: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(41, 10**6)))

    def value(self, place: str, form: str = "word") -> str:
        """A value that nobody else has, noted with its place."""
        made = self._made(form, next(self._numbers))
        assert made not in self.values
        self.values[made] = place
        return made

    def label(self, place: str) -> str:
        """A person's name where somebody should have put a label."""
        made = self._made("word", next(self._numbers)).lower()
        self.labels[made] = place
        return made

    def note(self, value: str, place: str) -> None:
        """Note a value that is there already."""
        self.values.setdefault(value, place)

    @staticmethod
    def _made(form: str, number: int) -> str:
        place = np.array([7_000_000 + 7 * number])
        match form:
            case "nhs":
                return str(identifiers.nhs_number(place)[0])
            case "uln":
                return str(identifiers.uln(place)[0])
            case "upn":
                return str(identifiers.upn(place, np.array([2015]))[0])
            case "pncid":
                return str(identifiers.pncid(np.array([1979]), np.array([163_000 + number]))[0])
            case "nino":
                return f"JK{641_000 + number:06}C"
            case "postcode":
                return f"KW{number // 100 % 8 + 10} {number % 10}{_letters(number, 2).upper()}"
            case "day":
                return f"{date(1931, 1, 1) + timedelta(number)}"
            case "hours":
                return f"391.258{number:06}1"
            case "code":
                return f"ZQ{number:05}X{_letters(number, 4).upper()}"
            case _:
                return f"Zyq{_letters(number, 6)}orv"


def _letters(number: int, count: int) -> str:
    found = ""
    for _ in range(count):
        number, place = divmod(number * 7 + 3, len(LETTERS))
        found += LETTERS[place]
        number += ord(LETTERS[place])
    return found


def councils(county: Path, plants: Plants) -> None:
    """Plant in the last delivery of each council: valid values, and in other rows what is none.

    A parent of a family that stays has valid ones too.
    """
    day = delivery_days()[-1]
    for council in COUNCILS:
        path = county / "councils" / council / f"{day}.parquet"
        layout = Layout.from_toml((study.LAYOUTS / f"{council}.toml").read_text())
        leaving = study.look_through(county, council, day).leaving
        adults = leaving.filter(pl.col("relation") == "parent").unique(
            "family", keep="first", maintain_order=True
        )
        rows = [number - 1 for number in adults["row"].to_list()]
        stays = _below(county, council, day, layout)
        frame, sources = pl.read_parquet(path), [one for one in layout.sources if one.column is not None]
        assert len(rows) > len(sources) + 1
        for row, place in ((rows[0], council), (stays, f"{council}, stays")):
            frame = _family(frame, sources, row, plants, place)
            for source in sources:
                frame = _in_row(frame, source, row, plants, place)
        for source, row in zip(sources, rows[1:], strict=False):
            assert source.column is not None
            wrong = plants.value(f"{council}, {source.column}, wrong")
            if source.field.form is Form.TEXT:
                wrong += " rang twice about her money and the children, and wants to be called back"
            frame = put(frame, source.column, row, wrong)
        frame.write_parquet(path)


def _below(county: Path, council: str, day: str, layout: Layout) -> int:
    """The place of a parent whose family has too few problems to be shared."""
    families = study.look_through(county, council, day).families.filter(outcome=Outcome.BELOW)
    rows = read(files.read(county / "councils" / council / f"{day}.parquet"), layout).rows
    parents = rows.filter(relation="parent").join(families, on="family", how="semi", maintain_order="left")
    return int(parents["row"][0]) - 1


def _family(frame: pl.DataFrame, sources: list[Source], row: int, plants: Plants, who: str) -> pl.DataFrame:
    """All rows of a family under another reference."""
    [name] = [one.column for one in sources if one.field.name == "family"]
    assert name is not None
    new = plants.value(f"{who}, {name}", "code")
    return frame.with_columns(
        pl.when(pl.col(name) == frame[name][row]).then(pl.lit(new)).otherwise(name).alias(name)
    )


def _in_row(frame: pl.DataFrame, source: Source, row: int, plants: Plants, who: str) -> pl.DataFrame:
    """A valid value of a column in one row, where its values are not a few codes."""
    name, place = source.column, f"{who}, {source.column}"
    assert name is not None
    if source.field.name == "family":
        return frame
    match source.field.form:
        case Form.TEXT:
            made = plants.value(place, NUMBERS.get(source.field.name, "word"))
        case Form.DATE if source.field.name == "date_of_birth":
            made = plants.value(place, "day")
            if source.dates.startswith("DD"):
                made = "/".join(reversed(made.split("-")))
        case Form.HOURS:
            made = plants.value(place, "hours")
        case _:
            return frame
    return put(frame, name, row, made)


def registers(county: Path, plants: Plants) -> None:
    """Plant in each register's extract: a record of valid values, one of what is none, and days of events."""
    for register in REGISTERS:
        path, told = (county / folder / f"{register}.parquet" for folder in ("registers", "attributes"))
        frame, events = pl.read_parquet(path), pl.read_parquet(told)
        plants.columns[register] = [*frame.columns, *(one for one in events.columns if one.endswith("_date"))]
        busy = events["record_id"].unique(maintain_order=True)[0]
        row = frame["record_id"].to_list().index(busy)
        for name in frame.columns:
            if name in CODED:
                continue
            made = plants.value(f"{register}, {name}", NUMBERS.get(name, "word"))
            if name == "record_id":
                events = events.with_columns(pl.col(name).replace(busy, made))
            else:
                frame = put(
                    frame, name, (row + 1) % frame.height, plants.value(f"{register}, {name}, wrong") + " ?"
                )
            frame = put(frame, name, row, made)
        for name in (one for one in events.columns if one.endswith("_date")):
            for day in events.filter(pl.col("record_id") != busy)[name].drop_nulls()[:9].cast(pl.String):
                if day not in delivery_days():
                    plants.note(day, f"{register}, {name}")
        frame.write_parquet(path)
        events.write_parquet(told)


def put(frame: pl.DataFrame, column: str, row: int, value: str) -> pl.DataFrame:
    """A frame with one value exchanged."""
    here = pl.int_range(pl.len()) == row
    return frame.with_columns(pl.when(here).then(pl.lit(value)).otherwise(column).alias(column))
