"""The numbers on a file's records: as issued by the day of the record, with that file's slips."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import polars as pl

from benchmarks.county.block import ULN_FROM, Lives
from benchmarks.county.county import NOW
from benchmarks.county.persons import UNCHANGED
from benchmarks.county.records import BIT, Asked
from benchmarks.draw import Flags, Ints
from benchmarks.errors import Side, emptied, misspelt, transposed
from benchmarks.identifiers import cro, nhs_number, nino, pncid, prison_number, uln, upn

FINGERPRINTED = 0.6  # of those the police know: have a CRO number
SECOND_UPN = 0.02  # of pupils: were given a new UPN by mistake, and the former one is known


class Numbers:
    """Columns of numbers for the records of one file, and what went wrong with them.

    Attributes:
        columns: by name, text, null where there is none.
        slips: bits of `records.SLIPS`.
    """

    def __init__(self, lives: Lives, asked: Asked, names: Iterable[str]) -> None:
        """Write the numbers of these names; a council's may be those of the person beside."""
        self._lives, self._asked = lives, asked
        self._draws = Side(lives.county.draws, asked.file)
        self.slips: Ints = np.zeros(len(asked.rows), np.int64)
        made: dict[str, Callable[[], pl.Series]] = {
            "nhs_number": self._nhs, "nino": self._nino, "upn": self._upn, "former_upn": self._former_upn,
            "uln": self._uln, "pncid": self._pncid, "cro": self._cro, "prison_number": self._prison,
        }  # fmt: skip
        self.columns = {name: made[name]().alias(name) for name in names}

    def _note(self, flags: Flags, slip: str) -> None:
        self.slips |= flags.astype(np.int64) * BIT[slip]

    def _rows(self, what: str) -> Ints:
        """Of the persons whose number it is: the record's, or a brother's, a sister's, the other parent's."""
        asked = self._asked
        if asked.file != "council":
            return asked.rows
        beside = self._lives.sibling[asked.rows]
        crossed = (beside >= 0) & self._draws.chance(
            f"crossed {what}", asked.number, self._lives.county.preset.crossed
        )
        self._note(crossed, "number_of_relative")
        return np.where(crossed, beside, asked.rows)

    def _left_out(self, column: pl.Series, name: str) -> pl.Series:
        p = dict(self._asked.errors.missing).get(name, 0.0)
        made = emptied(self._lives.county.draws, column.alias(name), self._asked.number, p, self._asked.file)
        self._note((made.is_null() & column.is_not_null()).to_numpy(), "number_missing")
        return made

    def _wrong(self, before: Ints, after: Ints) -> Ints:
        self._note(before != after, "number_wrong")
        return after

    def _slipped(self, column: pl.Series, name: str) -> pl.Series:
        p, asked = self._asked.errors.nino_transposed, self._asked
        known = np.flatnonzero(column.is_not_null().to_numpy())
        made = misspelt(
            self._lives.county.draws, column.gather(known).alias(name), asked.number[known], p, asked.file
        )
        slipped = column.clone().scatter(known, made)
        self._note(slipped.ne_missing(column).to_numpy(), "number_wrong")
        return self._left_out(slipped, name)

    def _nhs(self) -> pl.Series:
        rows, asked = self._rows("nhs"), self._asked
        issued = nhs_number(self._lives.nhs_place(rows, asked.on))
        current = self._lives.renumbered[rows] <= asked.on
        replaced = (self._lives.renumbered[rows] <= NOW) & (self._lives.persons.change[rows] == UNCHANGED)
        self._note(replaced & ~current, "number_superseded")
        made = self._wrong(
            issued, transposed(self._draws, "nhs", asked.number, issued, 8, asked.errors.nhs_transposed)
        )
        return self._left_out(pl.Series(made).cast(pl.String), "nhs_number")

    def _nino(self) -> pl.Series:
        asked = self._asked
        place = self._lives.nino_place(self._rows("nino"), asked.on)
        digits = transposed(self._draws, "nino", asked.number, place // 4, 5, asked.errors.nino_transposed)
        made = np.where(place >= 0, self._wrong(place // 4, digits) * 4 + place % 4, -1)
        return self._left_out(nino(made, self._lives.county.prefixes), "nino")

    def _upn(self) -> pl.Series:
        place, year = self._lives.upn_place(self._rows("upn"), self._asked.on)
        again = self._given_twice()
        second = self._lives.county.place(
            "upn", self._lives.persons.number[self._asked.rows] + 2 * self._lives.county.span
        )
        column = upn(np.maximum(np.where(again, second, place), 0), year + 2 * again)
        return self._slipped(column.set(pl.Series(place < 0), None), "upn")

    def _former_upn(self) -> pl.Series:
        place, year = self._lives.upn_place(self._asked.rows, self._asked.on)
        return upn(np.maximum(place, 0), year).set(pl.Series((place < 0) | ~self._given_twice()), None)

    def _given_twice(self) -> Flags:
        """Pupils with a former UPN; never after a change of identity, which no number may bridge."""
        persons, rows = self._lives.persons, self._asked.rows
        chosen = self._lives.county.draws.chance("second upn", persons.number[rows], SECOND_UPN)
        known = self._asked.file == "npd" and bool(self._lives.county.preset.superseded)
        made: Flags = chosen & (persons.change[rows] == UNCHANGED) & known
        return made

    def _uln(self) -> pl.Series:
        asked, persons = self._asked, self._lives.persons
        issued = uln(self._lives.county.place("uln", persons.number[asked.rows]))
        made = self._wrong(
            issued, transposed(self._draws, "uln", asked.number, issued, 8, asked.errors.nhs_transposed)
        )
        young = persons.age(NOW)[asked.rows] < ULN_FROM
        return self._left_out(pl.Series(made).cast(pl.String).set(pl.Series(young), None), "uln")

    def _pncid(self) -> pl.Series:
        year, serial = self._lives.pncid(self._asked.rows)
        unknown = self._lives.known_to_police[self._asked.rows] > self._asked.on
        column = pncid(np.maximum(year, 0), serial).set(pl.Series((year < 0) | unknown), None)
        return self._slipped(column, "pncid")

    def _cro(self) -> pl.Series:
        number = self._lives.persons.number[self._asked.rows]
        taken = self._lives.county.draws.chance("fingerprinted", number, FINGERPRINTED)
        return cro(self._lives.county.place("cro", number)).set(pl.Series(~taken), None)

    def _prison(self) -> pl.Series:
        return prison_number(self._lives.county.place("prison", self._lives.persons.number[self._asked.rows]))
