"""What is sealed about a person: the identity payload and its one spelling.

Payloads are JSON in one spelling, so that equal identities have equal bytes: UTF-8, members in the order of
`Identity`, no spaces, days as YYYY-MM-DD, members without a value left out. `Identity` is for one person at a
time; `pseudonym.columns` does the same for many.

Nothing here standardises: values arrive as linkage left them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Self

import polars as pl

from pseudonym.errors import InputError, SealBrokenError

LONGEST = 1000
"""Characters in one value."""
MOST = 100
"""Names, aliases, addresses or former values of one person."""

_NAME = pl.Struct({"given": pl.String, "surname": pl.String})
_ADDRESS = pl.Struct({"lines": pl.String, "postcode": pl.String})
_FORMER = pl.Struct({"what": pl.String, "value": pl.String, "since": pl.Date, "until": pl.Date})

NUMBERS = ("nhs", "nino", "upn", "uln", "pncid")
_COLUMNS: dict[str, pl.DataType] = {
    "names": pl.List(_NAME),
    "aliases": pl.List(_NAME),
    "born": pl.Date(),
    "sex": pl.String(),
    "addresses": pl.List(_ADDRESS),
    **dict.fromkeys(NUMBERS, pl.String()),
    "former": pl.List(_FORMER),
}
SCHEMA = pl.Schema(_COLUMNS)
"""The columns of a frame of identities. A column may be missing; a value may be null."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name; either part may be empty."""

    given: str = ""
    surname: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """Where somebody lives or lived."""

    lines: str = ""
    postcode: str = ""


@dataclass(frozen=True, slots=True)
class Former:
    """A value that held once.

    Attributes:
        what: the member it stood in: `surname`, `postcode`, `nhs` …
        value: as it was.
        since: the first day, if known.
        until: the last day, if known.
    """

    what: str
    value: str
    since: date | None = None
    until: date | None = None


_Part = Name | Address | Former


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything by which a person can be known. It is sealed wherever it is kept.

    It does not show its values: `repr` says how many there are.

    Attributes:
        names: the present name first.
        aliases: other names that the person goes by.
        born: date of birth.
        sex: as the source codes it.
        addresses: the present address first.
        nhs: NHS number, ten digits.
        nino: National Insurance number.
        upn: unique pupil number.
        uln: unique learner number.
        pncid: number in the Police National Computer.
        former: values that held once.

    Raises:
        InputError: a text holds control characters or is too long, or there are too many of something.
    """

    names: tuple[Name, ...] = ()
    aliases: tuple[Name, ...] = ()
    born: date | None = None
    sex: str = ""
    addresses: tuple[Address, ...] = ()
    nhs: str = ""
    nino: str = ""
    upn: str = ""
    uln: str = ""
    pncid: str = ""
    former: tuple[Former, ...] = ()

    def __post_init__(self) -> None:
        for several in (self.names, self.aliases, self.addresses, self.former):
            if len(several) > MOST:
                raise InputError(f"A person has at most {MOST} names, aliases, addresses or former values.")
        parts: list[_Part] = [*self.names, *self.aliases, *self.addresses]
        if any(not any(_texts_of(part)) for part in parts):
            raise InputError("A name or an address says something.", "Leave out those that are empty.")
        if not all(former.what and former.value for former in self.former):
            raise InputError("A former value says what it was.", "Leave out those that are empty.")
        for text in self.texts():
            if len(text) > LONGEST or any(c < " " or "\ud800" <= c <= "\udfff" for c in text):
                raise InputError(
                    f"A text of an identity has control characters, or more than {LONGEST} characters.",
                    "Standardise the values first.",
                )

    def texts(self) -> list[str]:
        """Every text in it, empty ones included."""
        found = [self.sex, *(getattr(self, name) for name in NUMBERS)]
        parts: list[_Part] = [*self.names, *self.aliases, *self.addresses, *self.former]
        for part in parts:
            found += _texts_of(part)
        return found

    def __repr__(self) -> str:
        return f"Identity({sum(map(bool, self.texts())) + (self.born is not None)} values)"

    def to_bytes(self) -> bytes:
        """The payload: the one spelling of this identity."""
        spelt = {
            "names": [_members(name) for name in self.names],
            "aliases": [_members(name) for name in self.aliases],
            "born": self.born and self.born.isoformat(),
            "sex": self.sex,
            "addresses": [_members(address) for address in self.addresses],
            **{name: getattr(self, name) for name in NUMBERS},
            "former": [_members(former) for former in self.former],
        }
        kept = {name: value for name, value in spelt.items() if value}
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, payload: bytes) -> Self:
        """Read what `to_bytes` wrote, and nothing else.

        Raises:
            SealBrokenError: it is no payload in its one spelling.
        """
        try:
            read = json.loads(payload)
            made = cls(
                names=tuple(Name(**name) for name in read.get("names", ())),
                aliases=tuple(Name(**name) for name in read.get("aliases", ())),
                born=_day(read.get("born")),
                sex=read.get("sex", ""),
                addresses=tuple(Address(**address) for address in read.get("addresses", ())),
                former=tuple(
                    Former(each["what"], each["value"], _day(each.get("since")), _day(each.get("until")))
                    for each in read.get("former", ())
                ),
                **{name: read.get(name, "") for name in NUMBERS},
            )
            same = made.to_bytes() == payload
        except (ValueError, TypeError, KeyError, AttributeError, InputError, RecursionError):
            same = False
        if not same:
            raise SealBrokenError("A payload is not spelt as it would have been written.") from None
        return made


def _members(part: _Part) -> dict[str, str]:
    values = ((name, getattr(part, name)) for name in part.__slots__)
    return {name: v.isoformat() if isinstance(v, date) else v for name, v in values if v}


def _texts_of(part: _Part) -> Iterable[str]:
    return [value for name in part.__slots__ if isinstance(value := getattr(part, name), str)]


def _day(text: Any) -> date | None:
    return None if text is None else date.fromisoformat(text)
