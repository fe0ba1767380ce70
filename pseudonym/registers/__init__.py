"""The eight national registers of the study: who holds each, what for, on what basis, and which attributes.

One file a register, beside this one. A register's columns are the allow-list: what it does not declare for a
use is in no analysis file (`pseudonym.release`). The holder is a dated attribute of a register, because
holders are renamed and registers are not.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from pseudonym.datasets import Column, Dataset, Kind, Tag
from pseudonym.errors import InputError, NotFoundError

NAMES = ("pnc", "prisons", "npd", "ilr", "wpls", "hes", "mhmds", "ndtms")
RETENTIONS = frozenset({"maximum", "minimum"})


@dataclass(frozen=True, slots=True)
class Holder:
    """Who held a register from a day on.

    Attributes:
        name: who.
        since: the day.
        confirmed: whether the holder has confirmed the day.
    """

    name: str
    since: date
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a register is used for.

    Attributes:
        use: a code that a release names.
        words: the purpose in the notice's own words, or what stands for them where it has none.
        columns: the columns that this use may have.
    """

    use: str
    words: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Retention:
    """How long something is kept.

    Attributes:
        store: what is kept, and by whom.
        kind: maximum (destroyed by then) or minimum (kept until then).
        days: from receipt, or None where there is a date.
        until: the last day, or None where there are days.
        reason: the law or practice that says so.
    """

    store: str
    kind: str
    days: int | None
    until: date | None
    reason: str


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a register, and what it is made from.

    Attributes:
        column: as the attribute store declares it.
        meaning: one sentence for whoever reads the analysis file.
        made_from: the holder's own column, which stays with the holder where it is a date.
    """

    column: Column
    meaning: str
    made_from: str


@dataclass(frozen=True, slots=True)
class Register:
    """What is declared of one register.

    Attributes:
        name: the dataset's name.
        title: its full name.
        holders: by day, the earliest first.
        purposes: what it is used for.
        basis: lawful bases and conditions, one sentence each.
        retentions: how long what is kept.
        health: whether it is health data, to which the national data opt-out applies unless a reason is
            given.
        fields: its columns.
    """

    name: str
    title: str
    holders: tuple[Holder, ...]
    purposes: tuple[Purpose, ...]
    basis: tuple[str, ...]
    retentions: tuple[Retention, ...]
    health: bool
    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        days = [holder.since for holder in self.holders]
        known = {field.column.name for field in self.fields}
        if not days or days != sorted(set(days)):
            raise InputError(f"The holders of register {self.name} are not in the order of their days.")
        if not self.basis or not self.retentions or not self.purposes:
            raise InputError(f"Register {self.name} lacks a purpose, a basis or a retention.")
        for kept in self.retentions:
            if kept.kind not in RETENTIONS or (kept.days is None) == (kept.until is None) or not kept.reason:
                raise InputError(
                    f"A retention of register {self.name} is not a maximum or minimum of days or to a date.",
                    "Give its kind, its days or its date, and its reason.",
                )
        for purpose in self.purposes:
            if not set(purpose.columns) <= known:
                raise InputError(f"A purpose of register {self.name} names a column that is not declared.")

    @property
    def dataset(self) -> Dataset:
        """The declaration that the attribute store takes."""
        return Dataset(self.name, tuple(field.column for field in self.fields))

    def holder(self, on: date) -> str:
        """Who holds it on a day; the first holder for days before."""
        named = [holder.name for holder in self.holders if holder.since <= on]
        return named[-1] if named else self.holders[0].name

    def purpose(self, use: str) -> Purpose:
        """What a use may have.

        Raises:
            NotFoundError: the register is not declared for it.
        """
        for purpose in self.purposes:
            if purpose.use == use:
                return purpose
        raise NotFoundError(
            f"Register {self.name} is not declared for this use.",
            f"It is declared for {', '.join(purpose.use for purpose in self.purposes)}.",
        )

    def meaning(self, column: str) -> str:
        """What a column means; empty for one that is not the register's."""
        return next((field.meaning for field in self.fields if field.column.name == column), "")


@cache
def load(name: str) -> Register:
    """The register of this name.

    Raises:
        NotFoundError: there is none.
    """
    if name not in NAMES:
        raise NotFoundError("There is no register of this name.", f"There are {', '.join(NAMES)}.")
    text = Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8")
    return read(tomllib.loads(text))


def everyone() -> list[Register]:
    """All registers, in the order in which the notice names them."""
    return [load(name) for name in NAMES]


def find(name: str) -> Register | None:
    """The register of this name, or None for a dataset that is no register."""
    return load(name) if name in NAMES else None


def read(content: Mapping[str, Any]) -> Register:
    """A register from what its file says.

    Raises:
        InputError: something is missing, unknown, or not of its form.
    """
    try:
        fields = tuple(_field(one) for one in content["column"])
        everything = tuple(field.column.name for field in fields)
        return Register(
            name=content["name"],
            title=content["title"],
            holders=tuple(Holder(one["name"], one["since"], one["confirmed"]) for one in content["holder"]),
            purposes=tuple(
                Purpose(one["use"], one["words"], tuple(one.get("columns", everything)))
                for one in content["purpose"]
            ),
            basis=tuple(content["basis"]),
            retentions=tuple(
                Retention(one["store"], one["kind"], one.get("days"), one.get("until"), one["reason"])
                for one in content["retention"]
            ),
            health=content["health"],
            fields=fields,
        )
    except (KeyError, TypeError, ValueError):
        raise InputError("The file of a register lacks something, or says something unknown.") from None


def _field(one: Mapping[str, Any]) -> Field:
    column = Column(
        name=one["name"],
        kind=Kind(one["kind"]),
        low=one.get("low", 0),
        high=one.get("high", 0),
        scale=one.get("scale", 0),
        codes=tuple(one.get("codes", ())),
        tags=frozenset(map(Tag, one.get("tags", ()))),
    )
    return Field(column, one["meaning"], one.get("from", one["name"]))
