"""`kinlink register export`, `key`, `open`, `send`, `attach`: what goes to a register's holder and back.

What goes there is sealed to the holder's key. What comes back has attributes only: a row is known by its
reference or number, and each column was declared.
"""

from __future__ import annotations

import hashlib
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from pseudonym.errors import InputError
from pseudonym.exchange_file import LONGEST_DAYS, ExchangeFile
from pseudonym.files import read_secret_file
from pseudonym.halves import ROW_REF
from pseudonym.hpke import OpeningKey
from pseudonym.roles.callers import Role
from pseudonym.roles.client import URN, AttributesClient
from pseudonym.roles.commands import (
    Authority,
    Certificate,
    Key,
    Project,
    Purpose,
    Recipient,
    RequestId,
    Service,
    V,
    called,
    complaining,
    free,
    plain,
    stated,
    write,
)
from pseudonym.roles.peer import PeerTls
from pseudonym.v1 import attribute_pb2, vault_pb2

register_app = typer.Typer()
File = Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="CSV file.")]
Batch = Annotated[
    str, typer.Option("--batch", help="Your own id of this batch; the same batch is never taken twice.")
]
Named = Annotated[str, typer.Option("--dataset", help="The declared dataset.")]


@register_app.command("send")
def send_attributes(
    file: File,
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority,
    certificate: Certificate,
    key: Key,
    batch: Batch,
    dataset: Named,
) -> None:
    """Send the attributes of an extract, by the row references that its identifiers have."""
    with complaining():
        rows = _rows(file, ROW_REF)
        with _client(service, project, purpose, authority, certificate, key) as client:
            _show(client.submit(rows, batch_id=batch, dataset=dataset))


@register_app.command("attach")
def attach_attributes(
    file: File,
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority,
    certificate: Certificate,
    key: Key,
    batch: Batch,
    dataset: Named,
    recipient: Recipient,
) -> None:
    """Send attributes by the reference numbers that you were given."""
    with complaining():
        rows = _rows(file, URN)
        with _client(service, project, purpose, authority, certificate, key) as client:
            _show(client.attach(rows, batch_id=batch, dataset=dataset, recipient=recipient))


@register_app.command("key")
def exchange_key(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Where to put the key.")],
) -> None:
    """Make a holder's key for one exchange; its public half is printed, for the governance files."""
    with complaining():
        free(out)
        opening, secret = OpeningKey.generate()
        write(out, secret.hex().encode() + b"\n")
        print(opening.public.hex())


@register_app.command("export")
def export_register(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Where to put the sealed file.")],
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority,
    certificate: Certificate,
    key: Key,
    recipient: Recipient,
    day: Annotated[str, typer.Option("--day", help="The day on which people have their age, YYYY-MM-DD.")],
    days: Annotated[
        int, typer.Option("--days", help="After how many days the exchange ends.")
    ] = LONGEST_DAYS,
    nhs_number_reason: Annotated[
        str, typer.Option("--nhs-number-reason", help="Why the NHS number may be given out; else it is not.")
    ] = "",
    request_id: RequestId = None,
) -> None:
    """Write the file that a register's holder matches by, sealed to the holder's key."""
    with called(Role.IDENTITY, service, authority, certificate, key) as peer:
        free(out)
        request = vault_pb2.ExportRegisterRequest(
            mandate=stated(project, purpose, request_id),
            recipient=recipient,
            day=day,
            nhs_number_reason=nhs_number_reason,
            days=days,
        )
        parts = list(peer.read(f"{V}ExportRegister", request, vault_pb2.ExportRegisterResponse))
        if [part.number for part in parts] != list(range(1, len(parts) + 1)) or not parts[-1].last:
            raise InputError("The file broke off.", "Ask for it again.")
        made = ExchangeFile(
            project,
            recipient,
            parts[0].register,
            date.fromisoformat(parts[0].ends),
            sum(part.persons for part in parts),
            [(part.identifiers, part.numbers) for part in parts],
        ).to_bytes()
        write(out, made)
        digest = hashlib.sha256(made).hexdigest()
        print(f"{sum(part.persons for part in parts)} persons, ends {plain(parts[0].ends)}, SHA-256 {digest}")


@register_app.command("open")
def open_export(
    sealed: Annotated[Path, typer.Argument(metavar="FILE", help="The sealed file.")],
    exchange_key: Annotated[
        Path, typer.Option("--exchange-key", metavar="FILE", help="From 'register key'.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="CSV", help="Where to put who is to be matched.")],
) -> None:
    """Open a sealed file, for matching: reference numbers with what the register carries of each person."""
    with complaining():
        free(out)
        try:
            opening = OpeningKey(bytes.fromhex(read_secret_file(exchange_key, "key").decode().strip()))
            found = ExchangeFile.from_bytes(sealed.read_bytes())
        except (OSError, ValueError):
            raise InputError("A file cannot be read, or is no key.", "Check the names.") from None
        write(out, found.open(opening, datetime.now(UTC).date()).write_csv().encode())
        print(f"{found.persons} persons; destroy this by {found.ends.isoformat()}.")


def _rows(file: Path, id_column: str) -> pl.DataFrame:
    """The rows of a file, all text, the id first."""
    try:
        found = pl.read_csv(file, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError):
        raise InputError("The file cannot be read as CSV.", "Check the name, and that it is UTF-8.") from None
    if id_column not in found.columns:
        raise InputError(f"The file has no column {id_column}.", "It says which row is meant.")
    return found.select(id_column, pl.exclude(id_column))


def _client(
    service: str, project: str, purpose: str, authority: Path, certificate: Path, key: Path
) -> AttributesClient:
    try:
        tls = PeerTls(authority.read_bytes(), certificate.read_bytes(), key.read_bytes())
    except OSError as error:
        raise InputError(f"A file of the connection cannot be read: {error.strerror}.") from None
    return AttributesClient(service, project=project, purpose=purpose, tls=tls)


def _show(submission: attribute_pb2.Submission) -> None:
    state = attribute_pb2.SubmissionState.Name(submission.state).rpartition("_")[2].lower()
    print(f"{plain(submission.submission_id)} {state} {submission.rows} rows", file=sys.stdout)
