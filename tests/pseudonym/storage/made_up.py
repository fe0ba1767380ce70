"""People that do not exist, and a vault to put them in: for tests, and the programs that they run."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta

import polars as pl

from pseudonym.blind import BlindIndex, field_key
from pseudonym.columns import from_flat
from pseudonym.keks import KekRing
from pseudonym.openings import Mandate, Opening, Openings
from pseudonym.seal import Kek
from pseudonym.storage import Store
from pseudonym.vault import Vault

GIVEN = ["Ada", "Bola", "Chidi", "Dora", "Emeka", "Fen", "Gita", "Hana", "Iwan", "Jun"]
SURNAMES = ["Abara", "Brennan", "Cole", "Dlamini", "Eze", "Farrow", "Grant", "Hughes", "Ito", "Jones-Smythe"]
MANDATE = Mandate("alice", "linkage", "tf-2026")


class Root:
    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def field(self, field: str, epoch: int) -> bytes:
        return field_key(self._secret, field, epoch)


def kek(month: int) -> Kek:
    return Kek(f"{month:016x}", hashlib.sha256(b"kek %d" % month).digest())


def index(root: int = 1, epoch: int = 1, bits: int = 12) -> BlindIndex:
    return BlindIndex(Root(bytes([root]) * 32), epoch, bits)


def pid(number: int) -> bytes:
    """As if random, and the same each time."""
    return hashlib.sha256(b"pid %d" % number).digest()[:16]


def people(start: int, count: int, version: int = 0) -> pl.DataFrame:
    """People number `start` and following; another version of them lives and is called differently."""
    numbers = range(start, start + count)
    return from_flat(
        pl.DataFrame(
            {
                "given": [GIVEN[n % 10] for n in numbers],
                "surname": [f"{SURNAMES[(n // 10 + version) % 10]}" for n in numbers],
                "born": [date(1950, 1, 1) + timedelta(days=37 * n % 25_000) for n in numbers],
                "sex": ["FM"[n % 2] for n in numbers],
                "address": [f"{n} Mill Lane, flat {version}" for n in numbers],
                "postcode": [f"ZA{n % 90 + 1} {version % 10}QQ" for n in numbers],
                "nhs": [f"{4_000_000_000 + 7 * n}" for n in numbers],
                "nino": [f"ZY{n % 10**6:06}C" if n % 2 else None for n in numbers],
                "upn": [None if n % 2 else f"Z{n:012}" for n in numbers],
            },
            schema_overrides={"nino": pl.String, "upn": pl.String},
        )
    )


class Log(list[Opening]):
    """What the audit hook was told."""

    def __call__(self, opening: Opening) -> None:
        self.append(opening)


def vault(
    store: Store, *, month: int = 1, older: tuple[int, ...] = (), log: Log | None = None, **how
) -> Vault:
    quotas = how.pop("quotas", {"linkage": 10**9, "access": 3})
    return Vault(
        store,
        keks=KekRing(kek(month), tuple(kek(each) for each in older)),
        index=how.pop("index", None) or index(),
        openings=Openings(store, log if log is not None else Log(), quotas),
    )
