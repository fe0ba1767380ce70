"""The file of an exchange with the holder of a register: who people are, and which number each has there.

    identity ─(handle, identifiers)─sealed─┐
                                           ├─▶ one file ─▶ holder: opened, joined ─▶ number, identifiers
    broker ───(handle, number)──────sealed─┘

Each half is sealed to the holder's key, for its place in this file: nobody else can open either, and the
role that made one sees nothing of the other. A handle is drawn for one file. The file is JSON in one
spelling:

    format, project, recipient, register, ends (YYYY-MM-DD), persons, parts: [[identifiers, numbers], …]
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Self

import polars as pl

from pseudonym.errors import InputError, SealedError
from pseudonym.files import canonical, parse
from pseudonym.hpke import OpeningKey

FORMAT: Final = "kinlink-exchange/1"
LONGEST_DAYS: Final = 31
IDENTIFIERS, NUMBERS = "identifiers", "numbers"


def context(half: str, project: str, recipient: str, ends: str, number: int, last: bool) -> tuple[str, ...]:
    """What a half of a part is sealed for."""
    return ("exchange/1", half, project, recipient, ends, str(number), "last" if last else "more")


@dataclass(frozen=True, slots=True)
class ExchangeFile:
    """A file for the holder of a register.

    Attributes:
        project, recipient, register: what it is about.
        ends: the day on which it has to be destroyed.
        persons: how many are in it.
        parts: the two sealed halves of each.
    """

    project: str
    recipient: str
    register: str
    ends: date
    persons: int
    parts: Sequence[tuple[bytes, bytes]]

    def __repr__(self) -> str:
        return f"ExchangeFile(register={self.register!r}, persons={self.persons})"

    def to_bytes(self) -> bytes:
        """The file."""
        return canonical(
            {
                "format": FORMAT,
                "project": self.project,
                "recipient": self.recipient,
                "register": self.register,
                "ends": self.ends.isoformat(),
                "persons": self.persons,
                "parts": [[half.hex() for half in part] for part in self.parts],
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            InputError, TamperedError: it is no such file.
        """
        try:
            found: dict[str, Any] = parse(content, "exchange")
            if found.pop("format") != FORMAT:
                raise ValueError
            parts = [(bytes.fromhex(one), bytes.fromhex(other)) for one, other in found.pop("parts")]
            ends = date.fromisoformat(found.pop("ends"))
            return cls(**found, ends=ends, parts=parts)
        except (ValueError, KeyError, TypeError):
            raise InputError("This is no file of an exchange.", "Ask for it again.") from None

    def open(self, key: OpeningKey, today: date) -> pl.DataFrame:
        """What the holder matches by: `urn` and the register's fields, a row for each name and address.

        Args:
            key: the holder's.
            today: the file is not opened after its end.

        Raises:
            SealedError: it was sealed to another key, or altered.
            InputError: the exchange has ended, or the halves do not belong together.
        """
        if today > self.ends:
            raise InputError("The exchange has ended.", "Destroy the file, and all that was made of it.")
        opened = []
        for number, part in enumerate(self.parts, start=1):
            halves = []
            for name, sealed in zip((IDENTIFIERS, NUMBERS), part, strict=True):
                where = (
                    self.project,
                    self.recipient,
                    self.ends.isoformat(),
                    number,
                    number == len(self.parts),
                )
                halves.append(_frame(key.open(sealed, *context(name, *where))))
            people, numbers = halves
            if people.select("handle").unique().join(numbers, on="handle", how="anti").height:
                raise InputError("The halves of the file do not belong together.", "Ask for it again.")
            opened.append(numbers.join(people, on="handle", maintain_order="left").drop("handle"))
        if not opened:
            raise InputError("The file has no part.", "Ask for it again.")
        return pl.concat(opened)


def _frame(content: bytes) -> pl.DataFrame:
    try:
        return pl.read_ipc_stream(io.BytesIO(content))
    except (pl.exceptions.PolarsError, OSError):
        raise SealedError("What was sealed is no table.", "Ask for the file again.") from None
