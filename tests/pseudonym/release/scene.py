"""A made-up project in an attribute store, a specification of its release, and who signs what."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pseudonym import registers
from pseudonym.access import Mandate
from pseudonym.approvers import Approver, Register
from pseudonym.attributes import Attributes
from pseudonym.datasets import Column, Dataset, Kind, Tag
from pseudonym.hpke import OpeningKey
from pseudonym.lawful.cover import Cover
from pseudonym.release.flow import Decided, ReleaseDesk
from pseudonym.release.keeping import Record
from pseudonym.release.papers import Approval, Statement
from pseudonym.urn import Kind as Subject
from pseudonym.urn import UrnKey
from tests.pseudonym.separation.parts import NOON, PROJECT, RECIPIENT, Clock, Said, attributes, column

EVERY_TAG = frozenset({Tag.SPECIAL_CATEGORY, Tag.CRIMINAL_OFFENCE})
MANDATE = Mandate("officer/olive", "evaluation-2026")
FAMILY_FILE = Dataset(
    "family-file",
    (
        Column("birth_year", Kind.YEAR, 1900, 2026),
        Column("sex", Kind.CODE, codes=("f", "m")),
        Column("arm", Kind.CODE, codes=("programme", "comparison")),
        Column("support_hours", Kind.INTEGER, 0, 2_000),
    ),
)
LINKS = Dataset(
    "linked",
    (
        Column("register", Kind.CODE, codes=("-", "npd", "pnc"), tags=EVERY_TAG),
        Column("outcome", Kind.CODE, codes=("LINKED", "NOT_APPLICABLE", "NOT_LINKED"), tags=EVERY_TAG),
        Column("stage", Kind.CODE, codes=("matchkeys", "probabilistic"), tags=EVERY_TAG),
        Column("band", Kind.CODE, codes=("high", "low"), tags=EVERY_TAG),
    ),
)
PNC, NPD = registers.load("pnc").dataset, registers.load("npd").dataset
SPEC = """
format = "kinlink-release/1"
name = "nis-1"
project = "tf-2026"
recipient = "nis-analysis"
title = "Analysis file of the National Impact Study, first wave"
use = "evaluation"
purpose = "evaluation-2026"
expires = 2027-12-31T00:00:00Z
sealing_key = "{sealing}"
signing_key = "{signing}"
researchers = ["rita"]
approvers = ["bob", "dora"]
population = "family-file"
tags = ["criminal-offence", "special-category"]

[[datasets]]
name = "family-file"
form = "person"
columns = [
    {{ name = "birth_year", to = "age", age_on = 2026, width = 20, top = 60, meaning = "Age band" }},
    {{ name = "sex", meaning = "Sex as the council has it" }},
    {{ name = "arm", meaning = "Programme or comparison" }},
    {{ name = "support_hours", width = 100, top = 300, meaning = "Hours of support" }},
]

[[datasets]]
name = "pnc"
form = "events"
columns = [{{ name = "offence_month", to = "offence_year", band = "year" }}, {{ name = "offence_group" }}]
counts = [
    {{ to = "offences", top = 3, meaning = "Offences" }},
    {{ to = "custody", top = 1, column = "disposal", codes = ["custody"], meaning = "Any custody" }},
]

[[datasets]]
name = "linked"
form = "links"
columns = [
    {{ name = "outcome", meaning = "What linking came to" }},
    {{ name = "stage", meaning = "Stage of linking" }},
    {{ name = "band", meaning = "Confidence of the link" }},
]

[[sets]]
name = "who"
columns = ["age", "sex"]
k = 10
families = 10
sensitive = [{{ column = "arm", l = 2 }}]

[[sets]]
name = "offender"
table = "pnc"
columns = ["offence_year"]
k = 3
families = 3
"""


@dataclass(frozen=True)
class People:
    """Made-up people: aids, families, and the rows of each dataset."""

    aids: list[bytes]
    rows: dict[str, pl.DataFrame]


def people(count: int = 400, seed: int = 1) -> People:
    """Families of four, with rows in the family file, offences, and links."""
    chance = random.Random(seed)
    aids = [chance.randbytes(16) for _ in range(count)]
    families = [hashlib.sha256(f"{seed} {place // 4}".encode()).digest()[:16] for place in range(count)]
    who = column(aid=aids, family=families)
    family_file = who.with_columns(
        birth_year=pl.Series([chance.randint(1950, 2020) for _ in aids]),
        sex=pl.Series([chance.choice("fm") for _ in aids]),
        arm=pl.Series([chance.choice(("programme", "comparison")) for _ in aids]),
        support_hours=pl.Series([chance.choice((None, 20, 150, 700)) for _ in aids]),
    )
    offenders = [place for place in range(count) for _ in range(chance.choice((0, 0, 0, 1, 4)))]
    pnc = who[offenders].with_columns(
        offence_month=pl.Series(
            [f"20{chance.randint(20, 25)}-{chance.randint(1, 12):02d}" for _ in offenders]
        ),
        offence_group=pl.Series([chance.choice(("theft", "violence")) for _ in offenders]),
        disposal=pl.Series([chance.choice(("fine", "custody")) for _ in offenders]),
    )
    linked = pl.concat([who.with_columns(register=pl.lit("pnc")), who.with_columns(register=pl.lit("npd"))])
    links = linked.with_columns(
        outcome=pl.Series(
            [chance.choice(("LINKED", "NOT_APPLICABLE", "NOT_LINKED")) for _ in range(2 * count)]
        ),
        stage=pl.Series([chance.choice(("matchkeys", "probabilistic", None)) for _ in range(2 * count)]),
        band=pl.Series([chance.choice(("high", "low", None)) for _ in range(2 * count)]),
    )
    return People(aids, {"family-file": family_file, "pnc": pnc, "linked": links})


class Numbers:
    """The recipient's numbers, as the broker gives them."""

    def __init__(self) -> None:
        self._key = UrnKey(hashlib.sha256(b"numbers").digest(), PROJECT, RECIPIENT, 1)

    def __call__(
        self, project: str, recipient: str, kind: Subject, aids: Sequence[bytes], purpose: str
    ) -> list[str]:
        return self._key.issue_all(kind, list(aids), 0)


@dataclass
class Scene:
    """An attribute store with people, and everybody who has a part in a release."""

    store: Attributes
    clock: Clock
    people: People
    said: Said
    desk: ReleaseDesk
    opening: OpeningKey
    recipient: Ed25519PrivateKey
    approvers: dict[str, Ed25519PrivateKey]
    certified: list[Statement] = field(default_factory=list)

    def spec(self, **changes: str) -> str:
        """The specification, with texts replaced: `spec(old=new)` with old as a value."""
        text = SPEC.format(
            sealing=self.opening.public.hex(), signing=self.recipient.public_key().public_bytes_raw().hex()
        )
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        return text

    def changed(self, *pairs: tuple[str, str]) -> str:
        """The specification with texts exchanged."""
        text = self.spec()
        for old, new in pairs:
            assert old in text, old
            text = text.replace(old, new)
        return text

    def now(self) -> datetime:
        return datetime.fromtimestamp(int(self.clock.now), UTC)

    def created(self, text: str | None = None, requester: str = "olive") -> Record:
        return self.desk.create(text or self.spec(), requester, MANDATE, PROJECT)

    def checked(self, text: str | None = None) -> Record:
        name = self.created(text).name
        return self.desk.check(PROJECT, name, MANDATE)

    def approval(self, record: Record, name: str, **other: object) -> Approval:
        digest = hashlib.sha256(record.manifest.encode()).digest()
        return Approval.sign(digest, name, self.approvers[name], self.now())

    def approved(self, text: str | None = None) -> Record:
        record = self.checked(text)
        for name in ("bob", "dora"):
            record = self.desk.approve(PROJECT, record.name, MANDATE, self.approval(record, name))
        return record

    def fetched(self, record: Record, person: str = "rita") -> bytes:
        return b"".join(self.desk.read(PROJECT, record.name, MANDATE, person)[1])

    def stated(self, record: Record, key: Ed25519PrivateKey | None = None, who: str = "rita") -> Statement:
        digest = hashlib.sha256(record.manifest.encode()).digest()
        how = "The file and its copies were overwritten and deleted."
        return Statement.sign(digest, who, key or self.recipient, self.now(), how)


PERSONS_OF = {"bob": "bob", "bobby": "bob", "dora": "dora", "olive": "olive", "erin": "erin"}


@contextmanager
def scene(
    url: str,
    folder: Path,
    known: People | None = None,
    canaries: tuple[str, ...] = (),
    keks: Any = None,
    cover: Cover | None = None,
) -> Iterator[Scene]:
    """A store in which the people's rows are, and a desk over it."""
    known, clock, said = known or people(), Clock(NOON), Said()
    keys = {name: Ed25519PrivateKey.generate() for name in PERSONS_OF}
    keys["bobby"] = keys["bob"]
    register = Register(
        [
            Approver(name, person, keys[name].public_key().public_bytes_raw())
            for name, person in PERSONS_OF.items()
        ],
        {"olive": "olive"},
    )
    opening, _ = OpeningKey.generate()
    certified: list[Statement] = []

    def certify(record: Record, statement: Statement) -> bytes:
        certified.append(statement)
        return b"certificate"

    with attributes(url, folder, clock=clock, said=said, keks=keks) as store:
        store.begin_project(PROJECT)
        for dataset in (FAMILY_FILE, PNC, NPD, LINKS):
            store.declare(PROJECT, dataset)
        for name, rows in known.rows.items():
            put(store, name, rows)
        desk = ReleaseDesk(store, Numbers(), Decided(register, canaries, cover or Cover()), certify)
        yield Scene(store, clock, known, said, desk, opening, Ed25519PrivateKey.generate(), keys, certified)


def put(store: Attributes, dataset: str, rows: pl.DataFrame, batch: str = "1") -> None:
    """Store rows that come with their two halves."""
    name = f"{dataset}-{batch}"
    refs = [hashlib.sha256(f"{name} {place}".encode()).digest()[:16] for place in range(rows.height)]
    named = rows.with_columns(column(row_ref=refs))
    store.intake.receive(PROJECT, dataset, name, named.drop("aid", "family"))
    store.intake.attach(PROJECT, named.select("row_ref", "aid", "family"))
