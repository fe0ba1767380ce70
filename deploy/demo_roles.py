"""The demo's steps around the three roles: a file in two halves, persons, numbers, what lies where."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.text import Text

from deploy.roles import Processes
from deploy.story import Story, table
from pseudonym.roles.callers import SERVER_ROLES, Role

if TYPE_CHECKING:
    from linker.client import Client
    from pseudonym.roles.client import AttributesClient, BrokerClient
    from pseudonym.roles.peer import PeerTls

PROJECT, PURPOSE = "tf-2026", "demonstration"
COUNCIL, REGISTER, DATASET = "made-up-council", "made-up-register", "families"
RECIPIENT, OTHER = "nis-analysis", "council-tables"
IDENTIFIERS = (
    "given_name", "surname", "street_number", "address_1", "address_2", "suburb", "postcode", "state",
    "date_of_birth", "soc_sec_id",
)  # fmt: skip
HELP = ("key-worker", "parenting", "debt-advice", "employment-adviser", "nothing-yet")
ATTRIBUTES = ("problems", "persistent_absence", "help")


ATTACH_SECONDS = 60.0


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Service:
    """The three roles as their callers see them, each caller with a certificate of its own.

    Attributes:
        addresses: of each role.
        certificates: the folder with those of all callers.
    """

    addresses: dict[Role, str]
    certificates: Path

    def linker(self, caller: Role) -> Client:
        """A client of the identity role."""
        from linker.client import Client, Tls

        own = (self.certificates / f"{caller}{end}" for end in (".pem", ".key"))
        tls = Tls(self.certificates / "authority.pem", *own)
        return Client(self.addresses[Role.IDENTITY], project=PROJECT, purpose=PURPOSE, tls=tls, patience=10.0)

    def broker(self, caller: Role) -> BrokerClient:
        """A client of the broker."""
        from pseudonym.roles.client import BrokerClient

        return BrokerClient(
            self.addresses[Role.BROKER], project=PROJECT, purpose=PURPOSE, tls=self._tls(caller)
        )

    def attributes(self, caller: Role) -> AttributesClient:
        """A client of the attributes role."""
        from pseudonym.roles.client import AttributesClient

        return AttributesClient(
            self.addresses[Role.ATTRIBUTES], project=PROJECT, purpose=PURPOSE, tls=self._tls(caller)
        )

    def _tls(self, caller: Role) -> PeerTls:
        from pseudonym.roles.peer import PeerTls

        names = ("authority.pem", f"{caller}.pem", f"{caller}.key")
        return PeerTls(*((self.certificates / name).read_bytes() for name in names))


@dataclass(frozen=True, eq=False)
class Sent:
    """A file that was sent.

    Attributes:
        name: of the file.
        submission: the id of its identifiers' submission.
        own: rec_id and row_ref of each row: what the council alone has.
    """

    name: str
    submission: str
    own: pl.DataFrame


def start(story: Story, roles: Processes) -> Service:
    """Start the three roles."""
    with story.bar("Starting"):
        try:
            addresses = roles.start()
        except RuntimeError as error:
            raise DemoError(str(error)) from None
    shown = table(["Role", "has", "never sees"], right=())
    shown.add_row("identity", "names, birthdays, addresses, numbers; links", "attributes, reference numbers")
    shown.add_row("broker", "random ids, and the keys between them", "names, attributes")
    shown.add_row("attributes", "problems, help", "names, addresses, ids of persons")
    story.say(shown, "gRPC over TLS, each caller with a certificate of its own. Logs in roles/.")
    return Service(addresses, roles.certificates)


def begin(story: Story, service: Service) -> None:
    """Begin the project at the broker and at the attributes role, and declare what may be stored."""
    from pseudonym.datasets import Column, Dataset, Kind

    with service.broker(Role.KEY_CUSTODIAN) as custodian:
        custodian.begin_project()
        for recipient in (RECIPIENT, OTHER):
            custodian.open_domain(recipient)
    with service.attributes(Role.KEY_CUSTODIAN) as custodian:
        custodian.open_project()
    declared = Dataset(
        DATASET,
        (
            Column("problems", Kind.INTEGER, 0, 6),
            Column("persistent_absence", Kind.FLAG),
            Column("help", Kind.CODE, codes=HELP),
        ),
    )
    with service.attributes(Role.DATA_PROTECTION_OFFICER) as officer:
        officer.declare(declared)
    story.say(
        f"Project {PROJECT}; a key for each recipient, {RECIPIENT} and {OTHER}.",
        "Attributes are declared numbers, codes and flags; there is no place for text.",
    )


def send(story: Story, service: Service, name: str, rows: pl.DataFrame) -> Sent:
    """Send a council's file in two halves, identifiers to one role and attributes to another."""
    from pseudonym.halves import ROW_REF, divide

    halves = divide(rows, [*IDENTIFIERS, "family", "rec_id"], ATTRIBUTES)
    own = halves.identifiers.select(ROW_REF, "rec_id")
    submission = _submit(story, service, Role.COUNCIL, name, halves.identifiers.drop("rec_id"), ROW_REF)
    with service.attributes(Role.COUNCIL) as client:
        sent = client.submit(halves.attributes, batch_id=f"demo-{name}", dataset=DATASET)
    story.say(f"{'':<13} {sent.rows:,} rows to attributes: {', '.join(ATTRIBUTES)}")
    return Sent(f"{name}.csv", submission, own)


def send_extract(story: Story, service: Service, rows: pl.DataFrame) -> str:
    """Send a register's extract; the id of its submission."""
    return _submit(story, service, Role.DATASET_HOLDER, "register", rows, "rec_id")


def _submit(
    story: Story, service: Service, caller: Role, name: str, rows: pl.DataFrame, id_column: str
) -> str:
    from linker.resources import SubmissionKind

    council = caller is Role.COUNCIL
    with service.linker(caller) as client, story.bar("Sending") as feed:
        sent = client.submit(
            rows,
            batch_id=f"demo-{name}",
            source=COUNCIL if council else REGISTER,
            kind=SubmissionKind.IDENTITIES if council else SubmissionKind.EXTRACT,
            id_column=id_column,
            chunk_rows=1000,
            progress=lambda done, total: feed(f"{name}.csv", done, total or done),
        )
    if sent.problem is not None:
        raise DemoError(f"{sent.problem.message} {sent.problem.help}")
    story.say(f"{name + '.csv':<13} {sent.rows:,} rows to identity, {sent.values_set_aside} values set aside")
    return sent.submission_id


def join(story: Story, service: Service, sent: Sequence[Sent]) -> None:
    """The rows of the files become persons, one file after the other."""
    shown = table(["File", "rows", "new persons", "joined known ones"], right=(1, 2, 3))
    for file in sent:
        with service.linker(Role.LINKAGE_OPERATOR) as client, story.bar("Joining") as feed:
            started = client.start_join(file.submission, family_column="family")
            job = client.wait(started.job_id, progress=feed)
            if job.problem is not None:
                raise DemoError(f"{job.problem.message} {job.problem.help}")
            joined = client.report(job.job_id)["figures"]["joined"]
        shown.add_row(file.name, f"{file.own.height:,}", f"{joined['new']:,}", f"{joined['joined']:,}")
    story.say(
        shown,
        "Each later record is a copy of one of the 5,000: one that is new was not",
        "recognised, and one that is like two people makes them one.",
        "Each person has a random id (pid), under which the identifiers lie sealed.",
        "Only the broker is told which row reference is whose.",
    )


def give_numbers(story: Story, service: Service, aids: list[bytes], folder: Path) -> int:
    """A reference number for every person; the file holds no identifier and no record id."""
    from pseudonym import grouped

    # Only the attributes role may ask: here the demo stands in for it, with its certificate.
    with service.broker(Role.ATTRIBUTES) as broker:
        urns = broker.issue_urns(RECIPIENT, aids)
        other = broker.issue_urns(OTHER, aids[:1])
    # Sorted by number: the order of the rows must not tell who is who either.
    numbers = pl.DataFrame({"urn": urns}).sort("urn")
    numbers.write_csv(folder / "urns.csv")
    shown = table(["One person's number", ""], right=())
    shown.add_row(f"for {RECIPIENT}", Text(grouped(urns[0]), "cyan"))
    shown.add_row(f"for {OTHER}", Text(grouped(other[0]), "cyan"))
    story.say(
        f"{numbers['urn'].n_unique():,} persons, and as many different numbers in urns.csv.",
        shown,
        "Made with secret keys from a random id, not from names or dates of birth.",
        "Without the keys nobody can tell that these two are one person.",
    )
    return numbers.height


def attribute_ids(folder: Path, rows: int) -> list[bytes]:
    """The attribute ids of all persons, as the attributes role has them once every row has found its person.

    Raises:
        DemoError: the rows have not all found their persons in time.
    """
    until, before = time.monotonic() + ATTACH_SECONDS, None
    while True:
        with _database(folder, Role.ATTRIBUTES) as attributes:
            aids = [row[0] for row in attributes.execute("SELECT aid FROM a_row")]
            waiting = attributes.execute("SELECT count(*) FROM a_half").fetchone()[0]
        # Who were merged follow a moment after their rows.
        now = set(aids)
        if len(aids) == rows and not waiting and now == before:
            return sorted(now)
        if time.monotonic() > until:
            raise DemoError("Attributes and persons have not found together. See the logs in roles/.")
        before = now
        time.sleep(1.0)


def look_into(story: Story, folder: Path, files: Sequence[pl.DataFrame]) -> dict[str, int]:
    """Look for what does not belong into each role's files, byte by byte, and for ids that two share."""
    rows = pl.concat(files, how="diagonal")
    words = {
        "surnames": {one.encode() for one in rows["surname"].drop_nulls() if len(one) >= 7},
        "numbers": {one.encode() for one in rows["soc_sec_id"].drop_nulls()},
        "codes": {one.encode() for one in HELP if len(one) >= 7},
    }
    found: dict[str, int] = {}
    shown = table(["In the files of", "rows", "surnames", "numbers", "code names"], right=(1, 2, 3, 4))
    for role in SERVER_ROLES:
        data = b"\n".join(
            path.read_bytes() for path in sorted(_folder(folder, role).rglob("*")) if path.is_file()
        )
        seen = set(re.findall(rb"[a-z-]{7,}", data)) | set(re.findall(rb"\d{7}", data))
        counts = {what: len(words[what] & seen) for what in words}
        with _database(folder, role) as database:
            total = sum(len(_rows(database, name)) for name in _tables(database))
        shown.add_row(role, f"{total:,}", *(f"{count:,}" for count in counts.values()))
        found |= {f"{what} in {role}": count for what, count in counts.items()}
    with _database(folder, Role.IDENTITY) as one, _database(folder, Role.ATTRIBUTES) as other:
        shared = len(_ids(one) & _ids(other))
    found["ids in both"] = shared
    story.say(
        shown,
        f"Ids that the databases of identity and attributes have in common: {shared}.",
        f"The {len(HELP)} code names are those declared; what people have is sealed.",
    )
    return found


def _folder(folder: Path, role: Role) -> Path:
    return folder / f"{role}-role"


@contextmanager
def _database(folder: Path, role: Role) -> Iterator[sqlite3.Connection]:
    """A role's database while the role runs; nothing is written."""
    path = _folder(folder, role) / role / "store.sqlite"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        yield connection


def _tables(database: sqlite3.Connection) -> list[str]:
    return [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _rows(database: sqlite3.Connection, name: str) -> list[tuple[Any, ...]]:
    return database.execute(f'SELECT * FROM "{name}"').fetchall()


def _ids(database: sqlite3.Connection) -> set[bytes]:
    """Every value of 16 bytes: what an id looks like."""
    return {
        value
        for name in _tables(database)
        for row in _rows(database, name)
        for value in row
        if isinstance(value, bytes) and len(value) == 16
    }
