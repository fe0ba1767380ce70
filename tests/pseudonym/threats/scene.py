"""A council's made-up file on its way through three server processes, and everything that it left behind.

    identifiers ──▶ identity ──pids──▶ broker ──aids──▶ attributes ◀── attributes     two recipients' numbers

The file comes in four batches. Two of its people are canaries: each of their identifiers is nobody else's,
and so are two values of their attributes.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from pseudonym.datasets import Column, Dataset
from pseudonym.datasets import Kind as ColumnKind
from pseudonym.keys import Keyset
from pseudonym.providers.file import FileProvider
from pseudonym.roles.callers import Role
from pseudonym.v1 import attribute_pb2, broker_pb2, common_pb2
from tests.made_up_people import register
from tests.pseudonym.cluster import Cluster
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles.harness import Called, bound, governance, join, mandate, three

PROJECT = chain.PROJECT
RECIPIENTS = (chain.RECIPIENT, "dwp-extract")
BATCHES, ROWS = 4, 250

CANARIES = (
    {
        "given": "Zebediah", "surname": "Quistgaard-Øre", "born": "1931-11-27", "sex": "F",
        "address": "77 Plover Wynd, Canarytown", "postcode": "ZE3 9JP", "nhs": "9434765919",
        "nino": "ZY887766C", "upn": "B801200005001", "uln": "9276308686", "pncid": "1979/0163001B",
    },
    {
        "given": "Hjördis", "surname": "Vexwhistle", "born": "2015-02-28", "sex": "M",
        "address": "Flat 9, Merganser Heights", "postcode": "KW17 2QQ", "nhs": "4010232137",
        "nino": "ZX112233D", "upn": "T420300904012", "uln": "7263540918", "pncid": "2001/0987654K",
    },
)  # fmt: skip
"""Two people who do not exist; their names and numbers are made up."""

MARKS = (("6180339887498", "577215664901.53"), ("2718281828459", "141421356237.31"))
"""Their attributes: an amount, and one with a fraction."""

MARKED = Dataset(
    "attainment",
    (
        Column("score", ColumnKind.INTEGER, 0, 10**14),
        Column("cost", ColumnKind.DECIMAL, 0, 10**14, scale=2),
        Column("passed", ColumnKind.FLAG),
    ),
)


def canaries() -> list[str]:
    """Every value that must be found nowhere in the clear."""
    found = [value for person in CANARIES for value in person.values() if len(value) > 5]
    for whole, part in MARKS:
        found += [whole, part, part.replace(".", "")]
    return found


@dataclass
class Scene:
    """What there is when the servers have stopped.

    Attributes:
        cluster: the database server, which still runs.
        folder: the data folders of the roles, and beside them what each server wrote to standard error.
        refs: the row references, by batch.
        urns: the numbers of each recipient, by aid.
    """

    cluster: Cluster
    folder: Path
    refs: list[list[bytes]] = field(default_factory=list)
    urns: dict[str, dict[bytes, str]] = field(default_factory=dict)

    def keyset(self, role: Role) -> Keyset:
        """A role's keys, as whoever has everything that opens them does."""
        place = self.folder / role / role
        passphrase = (place / "passphrase").read_text().strip()
        return Keyset.open(place / "keyset.json", FileProvider(place / "device.json", passphrase))

    def rows(self, role: Role, query: str) -> list[dict[str, Any]]:
        return self.cluster.rows(role, query)

    def files(self, role: Role) -> list[Path]:
        """What a role keeps beside its database, and what it said."""
        place = self.folder / role
        return [*(path for path in sorted(place.rglob("*")) if path.is_file()), place.with_suffix(".log")]


def people(number: int) -> pl.DataFrame:
    """The identifiers of a batch of people who share little; two of them are canaries."""
    frame = register(ROWS, seed=number)
    chance = random.Random(number)
    texts = [f"{place} {'Mill ' * chance.randrange(1, 6)}Lane" for place in range(ROWS)]
    frame = frame.select(
        "forename", "surname", "dob", "sex", address=pl.Series(texts), postcode="postcode",
        **{name: pl.lit(None, pl.String) for name in ("nhs_number", "nino", "upn", "uln", "pncid")},
    )  # fmt: skip
    if number % 2:
        canary = pl.DataFrame([dict(zip(frame.columns, CANARIES[number // 2].values(), strict=True))])
        frame = pl.concat([canary, frame[1:]])
    return frame


def values(number: int) -> pl.DataFrame:
    chance = random.Random(number + 100)
    frame = pl.DataFrame(
        {
            "score": [str(chance.randrange(10**7)) for _ in range(ROWS)],
            "cost": [f"{chance.randrange(10**6)}.25" for _ in range(ROWS)],
            "passed": [chance.choice(("yes", "no")) for _ in range(ROWS)],
        }
    )
    if number % 2:
        score, cost = MARKS[number // 2]
        marked = pl.DataFrame({"score": [score], "cost": [cost], "passed": ["yes"]})
        frame = pl.concat([marked, frame[1:]])
    return frame


def store_identifiers(identity: Any, certificates: Path, refs: list[bytes], number: int) -> None:
    """Have the identity role join the identifiers of a batch and tell the broker which row is whose."""
    frame = people(number)
    frame.insert_column(0, pl.Series("row_ref", [ref.hex() for ref in refs]))
    frame.insert_column(1, pl.Series("family", [f"f{number}-{place // 4}" for place in range(ROWS)]))
    joined = join(identity, certificates, frame, f"b-{number}")
    assert joined["new"] + joined["joined"] >= ROWS * 8 // 10


def feed(scene: Scene, servers: dict[Role, Any], certificates: Path) -> None:
    """The council's file, the numbers of two recipients, and one recipient's answer."""
    address = {role: server.address for role, server in servers.items()}
    begin(address, certificates)
    for number in range(BATCHES):
        refs = [os.urandom(16) for _ in range(ROWS)]
        scene.refs.append([*refs, *map(bytes.fromhex, bound([ref.hex() for ref in refs]))])
        store_identifiers(servers[Role.IDENTITY], certificates, refs, number)
        sent = values(number).insert_column(0, pl.Series("row_ref", [ref.hex() for ref in refs]))
        with Called(address[Role.ATTRIBUTES], certificates, "council") as council:
            stream = attribute_pb2.SubmitAttributesRequest
            chain.upload(council, "SubmitAttributes", stream, header(f"b-{number}"), [sent])
        with Called(address[Role.BROKER], certificates, "attributes") as keeper:
            listed = broker_pb2.ListRowsRequest(project=PROJECT)
            chain.eventually(
                lambda keeper=keeper, listed=listed: (
                    not chain.told(
                        keeper(f"{chain.B}ListRows", listed, broker_pb2.ListRowsResponse).arrow
                    ).height
                )
            )
    aids = [row["aid"] for row in scene.rows(Role.ATTRIBUTES, "SELECT aid FROM a_subject")]
    with Called(address[Role.BROKER], certificates, "attributes") as keeper:
        for recipient in RECIPIENTS:
            asked = broker_pb2.IssueUrnsRequest(
                mandate=mandate(), recipient=recipient, kind=common_pb2.SUBJECT_KIND_PERSON,
                arrow=chain.arrow(pl.DataFrame({"aid": [aid.hex() for aid in aids]})),
            )  # fmt: skip
            issued = chain.told(keeper(f"{chain.B}IssueUrns", asked, broker_pb2.IssueUrnsResponse).arrow)
            scene.urns[recipient] = dict(zip(aids, issued["urn"].to_list(), strict=True))
    with Called(address[Role.ATTRIBUTES], certificates, "dataset-holder") as holder:
        some = list(scene.urns[RECIPIENTS[0]].values())[:100]
        sent = values(1)[:100].insert_column(0, pl.Series("urn", some))
        first = header("r-1", recipient=RECIPIENTS[0])
        chain.upload(holder, "AttachDataset", attribute_pb2.AttachDatasetRequest, first, [sent])


def begin(address: dict[Role, str], certificates: Path) -> None:
    with Called(address[Role.BROKER], certificates, "key-custodian") as custodian:
        asked = broker_pb2.BeginProjectRequest(mandate=mandate())
        custodian(f"{chain.B}BeginProject", asked, broker_pb2.BeginProjectResponse)
        for recipient in RECIPIENTS:
            opened = broker_pb2.OpenDomainRequest(mandate=mandate(), recipient=recipient)
            custodian(f"{chain.B}OpenDomain", opened, broker_pb2.OpenDomainResponse)
    with Called(address[Role.ATTRIBUTES], certificates, "key-custodian") as custodian:
        custodian(f"{chain.A}OpenProject", attribute_pb2.OpenProjectRequest(mandate=mandate()))
    with Called(address[Role.ATTRIBUTES], certificates, "data-protection-officer") as officer:
        declared = attribute_pb2.DeclareDatasetRequest(mandate=mandate(), declaration=MARKED.to_json())
        officer(f"{chain.A}DeclareDataset", declared)


def header(batch_id: str, **more: Any) -> attribute_pb2.SubmissionHeader:
    columns = [column.name for column in MARKED.columns]
    return attribute_pb2.SubmissionHeader(
        mandate=mandate(), batch_id=batch_id, dataset=MARKED.name, columns=columns, **more
    )


@contextmanager
def played(cluster: Cluster, folder: Path, certificates: Path) -> Iterator[Scene]:
    """The scene, once the three servers have done their work and stopped."""
    scene = Scene(cluster, folder)
    databases = {role: cluster.url(role) for role in (Role.IDENTITY, Role.BROKER, Role.ATTRIBUTES)}
    with three(folder, certificates, databases, governance(folder)) as servers:
        feed(scene, servers, certificates)
    cluster.flushed()
    yield scene
