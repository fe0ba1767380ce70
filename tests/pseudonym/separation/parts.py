"""Stores, keys, ledgers and people to test with."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from pseudonym.access import Access, Mandate
from pseudonym.attributes import Attributes
from pseudonym.broker import Broker
from pseudonym.datasets import Column, Dataset, Kind, Tag
from pseudonym.errors import KeyMissingError
from pseudonym.keks import KekRing
from pseudonym.ledger import Ledger, LedgerKey
from pseudonym.seal import Kek
from pseudonym.storage import open_store
from pseudonym.urn import AidKey, UrnKey
from pseudonym.values import looks_like_an_identifier

PROJECT, RECIPIENT = "tf-2026", "nis-analysis"
WHO = Mandate("officer/alice", "evaluation")
NOON = 1_800_000_000


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Keys:
    """The broker's keys, made from a seed, each of which can be destroyed."""

    def __init__(self, seed: bytes = b"keys") -> None:
        self.seed = seed
        self.destroyed: set[str] = set()

    def secret(self, use: str) -> bytes:
        if use in self.destroyed:
            raise KeyMissingError("The key was destroyed.")
        return hashlib.sha256(self.seed + use.encode()).digest()

    def aid_key(self, project: str) -> AidKey:
        return AidKey(self.secret(f"aid:{project}"), project)

    def urn_key(self, project: str, recipient: str, epoch: int) -> UrnKey:
        return UrnKey(self.secret(f"urn:{project}:{recipient}:{epoch}"), project, recipient, epoch)

    def shred(self, *uses: str):
        def destroy() -> Sequence[str]:
            self.destroyed |= set(uses)
            return uses

        return destroy


def kek(number: int = 1) -> Kek:
    return Kek(f"kek-{number}", hashlib.sha256(b"kek%d" % number).digest())


SCHOOL = Dataset(
    "ks2",
    (
        Column("score", Kind.INTEGER, 0, 10**10),
        Column("cost", Kind.DECIMAL, -(10**8), 10**10, scale=2),
        Column("area", Kind.CODE, codes=("E01012345", "E01012346", "é")),
        Column("left_month", Kind.MONTH),
        Column("term", Kind.QUARTER),
        Column("born", Kind.YEAR, 1900, 2030),
        Column("in_need", Kind.FLAG, tags=frozenset({Tag.SPECIAL_CATEGORY})),
        Column("cautioned", Kind.FLAG, tags=frozenset({Tag.CRIMINAL_OFFENCE})),
    ),
)
EVERY_TAG = frozenset(Tag)


def values(rows: int, seed: int = 1) -> pl.DataFrame:
    chance = random.Random(seed)
    return pl.DataFrame(
        {
            "score": [chance.randrange(121) for _ in range(rows)],
            "cost": [f"{chance.randrange(10**7) / 100:.2f}" for _ in range(rows)],
            "area": [chance.choice(("E01012345", "E01012346", "é", None)) for _ in range(rows)],
            "left_month": [f"20{chance.randrange(10, 26)}-0{chance.randrange(1, 10)}" for _ in range(rows)],
            "term": [f"2025-Q{chance.randrange(1, 5)}" for _ in range(rows)],
            "born": [chance.randrange(1950, 2024) for _ in range(rows)],
            "in_need": [chance.choice((True, False, None)) for _ in range(rows)],
            "cautioned": [chance.choice((True, False)) for _ in range(rows)],
        },
        schema_overrides={"in_need": pl.Boolean, "area": pl.String},
    )


def ids(count: int) -> list[bytes]:
    return [os.urandom(16) for _ in range(count)]


def column(**columns: Sequence[bytes | None]) -> pl.DataFrame:
    return pl.DataFrame({name: pl.Series(name, found, dtype=pl.Binary) for name, found in columns.items()})


class Said(list[Access]):
    """An audit log that remembers, and can be out of order."""

    broken = False

    def __call__(self, access: Access) -> None:
        if self.broken:
            raise OSError("the log cannot be written")
        self.append(access)


def ledger_key(role: str) -> LedgerKey:
    return LedgerKey(hashlib.sha256(role.encode()).digest(), role)


@contextmanager
def broker(url: str, folder: Path, *, keys: Keys | None = None, clock=None, said=None) -> Iterator[Broker]:
    """The broker role, opened; its ledger is in the folder."""
    with (
        open_store(url, "broker", clock=clock or Clock()) as store,
        Ledger.open(folder / "broker.ledger", ledger_key("broker")) as ledger,
    ):
        yield Broker.open(store, ledger, keys or Keys(), Said() if said is None else said)


@contextmanager
def attributes(
    url: str, folder: Path, *, keks=None, clock=None, said=None, scanner=looks_like_an_identifier
) -> Iterator[Attributes]:
    """The attributes role, opened; its ledger is in the folder."""
    with (
        open_store(url, "attributes", clock=clock or Clock()) as store,
        Ledger.open(folder / "attributes.ledger", ledger_key("attributes")) as ledger,
    ):
        ring = keks or KekRing(kek())
        yield Attributes.open(store, ledger, ring, scanner, Said() if said is None else said)


def begun(broker: Broker, recipient: str = RECIPIENT) -> Broker:
    broker.begin_project(PROJECT)
    broker.open_domain(PROJECT, recipient)
    return broker


def declared(store: Attributes) -> Attributes:
    store.begin_project(PROJECT)
    store.declare(PROJECT, SCHOOL)
    return store


def everything(store: Attributes, dataset: str = "ks2") -> pl.DataFrame:
    found = list(store.read(PROJECT, dataset, WHO, may=EVERY_TAG))
    return pl.concat(found) if found else pl.DataFrame()
