"""Persons and families that stay, in the vault: the events, who they make of the records, and the sealed rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from pseudonym.deliveries import Delivery, Outcome, Untold
from pseudonym.openings import Mandate
from pseudonym.standing import Stamp
from pseudonym.urn import Kind
from pseudonym.vault import Vault

__all__ = ["Delivery", "Outcome", "People", "Untold"]


class People:
    """The persons and families in a vault. Its methods may be called from any thread."""

    def __init__(self, vault: Vault) -> None:
        raise NotImplementedError
    def deliver(self, delivery: Delivery, stamp: Stamp) -> Outcome:
        raise NotImplementedError
    def members(self, units: pl.Series) -> pl.DataFrame:
        raise NotImplementedError
    def merge(self, one: bytes, other: bytes, stamp: Stamp, kind: Kind = Kind.PERSON) -> Outcome:
        raise NotImplementedError
    def split(
        self, holder: bytes, parts: pl.DataFrame, stamp: Stamp, kind: Kind = Kind.PERSON
    ) -> Outcome:
        raise NotImplementedError
    def withdraw(self, links: pl.DataFrame, stamp: Stamp, kind: Kind = Kind.PERSON) -> Outcome:
        raise NotImplementedError
    def protect(self, person: bytes, stamp: Stamp, part: pl.Series | None = None) -> Outcome:
        raise NotImplementedError
    def admit(self, person: bytes, into: bytes, stamp: Stamp) -> Outcome:
        raise NotImplementedError
    def remove(self, units: pl.Series, stamp: Stamp) -> Outcome:
        raise NotImplementedError
    def known(self, mandate: Mandate, batch: int = 20_000) -> Iterator[pl.DataFrame]:
        raise NotImplementedError
    def untold(self, limit: int) -> list[Untold]:
        raise NotImplementedError
    def told(self, number: int) -> None:
        raise NotImplementedError
    def erase(self, pids: Sequence[bytes], *, purge: bool = True) -> int:
        raise NotImplementedError
