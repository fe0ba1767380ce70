"""A made-up project of three councils in an attribute store, a desk of tables over it, and who signs."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pseudonym import registers
from pseudonym.access import Mandate
from pseudonym.approvers import Approver, Register
from pseudonym.attributes import Attributes
from pseudonym.datasets import Column, Dataset, Kind
from pseudonym.lawful.cover import Cover
from pseudonym.release.papers import Approval
from pseudonym.tables.areas import Areas
from pseudonym.tables.flow import Reader, TableDesk
from pseudonym.tables.keeping import Record
from tests.pseudonym.release.scene import put
from tests.pseudonym.separation.parts import NOON, PROJECT, Clock, Said, attributes, column

MANDATE = Mandate("officer/olive", "evaluation-2026")
COUNCILS = ("fenham", "marwick", "orlstead")
FAMILIES = Dataset(
    "families",
    (
        Column("council", Kind.CODE, codes=COUNCILS),
        Column("arm", Kind.CODE, codes=("programme", "comparison")),
        Column("relation", Kind.CODE, codes=("parent", "child")),
        Column("as_of", Kind.MONTH),
        Column("support_from", Kind.MONTH),
    ),
)
PNC = registers.load("pnc").dataset
PERSONS_OF = {"bob": "bob", "bobby": "bob", "dora": "dora", "olive": "olive"}
SPEC = """
format = "kinlink-table/1"
name = "offences"
project = "tf-2026"
title = "Families with an offence, by council and arm"
use = "evaluation"
purpose = "evaluation-2026"
audience = "council"
unit = "family"
approvers = ["bob", "dora"]
population = "families"
latest = "as_of"
area = "council"
tags = ["criminal-offence"]

[[dimensions]]
name = "council"
column = "council"
meaning = "Council"

[[dimensions]]
name = "arm"
column = "arm"
meaning = "Arm"

[[measures]]
name = "families"
kind = "count"
meaning = "Families"

[[measures]]
name = "offence"
kind = "rate"
meaning = "Families with an offence"
dataset = "pnc"
"""
PUBLIC = SPEC.replace('"council"\nunit', '"publication"\nunit').replace('"offences"', '"offences-2"')


def people(count: int = 400, seed: int = 1, first: int = 0) -> pl.DataFrame:
    """Families of two: a parent and a child."""
    chance = random.Random(seed)
    aids = [hashlib.sha256(f"person {first + at}".encode()).digest()[:16] for at in range(count)]
    families = [hashlib.sha256(f"family {(first + at) // 2}".encode()).digest()[:16] for at in range(count)]
    of_family = [(chance.choice(COUNCILS), chance.choice(("programme", "comparison"))) for _ in range(count)]
    return column(aid=aids, family=families).with_columns(
        council=pl.Series([of_family[at // 2][0] for at in range(count)]),
        arm=pl.Series([of_family[at // 2][1] for at in range(count)]),
        relation=pl.Series([("parent", "child")[at % 2] for at in range(count)]),
        as_of=pl.Series(["2024-11"] * count),
        support_from=pl.Series([f"2023-{chance.randint(1, 12):02}" for _ in range(count)]),
    )


def offences(rows: pl.DataFrame, share: float = 0.3, seed: int = 2) -> pl.DataFrame:
    """Offences of some of the people."""
    chance = random.Random(seed)
    some = rows.select("aid", "family").filter(pl.Series([chance.random() < share for _ in range(len(rows))]))
    return some.with_columns(
        offence_month=pl.Series([f"2023-{chance.randint(1, 12):02}" for _ in range(len(some))]),
        offence_group=pl.Series([chance.choice(("theft", "violence")) for _ in range(len(some))]),
        disposal=pl.Series([chance.choice(("fine", "custody")) for _ in range(len(some))]),
    )


@dataclass
class Scene:
    """An attribute store with people, and everybody who has a part in a table."""

    store: Attributes
    clock: Clock
    said: Said
    rows: pl.DataFrame
    desk: TableDesk
    approvers: dict[str, Ed25519PrivateKey]

    def now(self) -> datetime:
        return datetime.fromtimestamp(int(self.clock.now), UTC)

    def checked(self, text: str = SPEC, requester: str = "olive") -> Record:
        name = self.desk.create(text, requester, MANDATE, PROJECT).name
        return self.desk.check(PROJECT, name, MANDATE)

    def approval(self, record: Record, name: str) -> Approval:
        digest = hashlib.sha256(record.manifest.encode()).digest()
        return Approval.sign(digest, name, self.approvers[name], self.now())

    def approve(self, record: Record) -> Record:
        for name in ("bob", "dora"):
            record = self.desk.approve(PROJECT, record.name, MANDATE, self.approval(record, name))
        return record

    def released(self, text: str = SPEC) -> Record:
        record = self.approve(self.checked(text))
        self.clock.now += 60
        return record

    def read(self, name: str, person: str, council: bool = True) -> list[tuple[str, ...]]:
        """The categories of the rows that somebody reads."""
        table = self.desk.read(PROJECT, name, MANDATE, Reader(person, council))[1]
        return [one.categories for one in table.lines]


def record_keys(project: str, units: pl.Series, purpose: str) -> pl.Series:
    """Record keys as the broker makes them, under another key."""
    keys = [hashlib.sha256(b"cells" + unit).digest()[0] for unit in units]
    return pl.Series("key", keys, dtype=pl.Int64)


@contextmanager
def scene(url: str, folder: Path, rows: pl.DataFrame | None = None) -> Iterator[Scene]:
    """A store in which the people's rows are, and a desk over it."""
    rows = people() if rows is None else rows
    clock, said = Clock(NOON), Said()
    keys = {name: Ed25519PrivateKey.generate() for name in PERSONS_OF}
    keys["bobby"] = keys["bob"]
    register = Register(
        [
            Approver(name, person, keys[name].public_key().public_bytes_raw())
            for name, person in PERSONS_OF.items()
        ],
        {"olive": "olive"},
    )
    areas = Areas({(PROJECT, "carol"): "fenham", (PROJECT, "mark"): "marwick"})
    with attributes(url, folder, clock=clock, said=said) as store:
        store.begin_project(PROJECT)
        for dataset in (FAMILIES, PNC):
            store.declare(PROJECT, dataset)
        put(store, "families", rows)
        put(store, "pnc", offences(rows))
        yield Scene(store, clock, said, rows, TableDesk(store, record_keys, register, areas, Cover()), keys)
