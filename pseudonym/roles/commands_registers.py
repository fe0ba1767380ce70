"""`kinlink register export`, `key`, `open`, `attach`: to a register's holder and back, then destroyed.

What goes there is sealed to the holder's key. What comes back has attributes only: a row is known by its
number, and each column was declared.
"""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from pseudonym import clock
from pseudonym.counted import count
from pseudonym.errors import InputError
from pseudonym.exchange_file import LONGEST_DAYS, ExchangeFile
from pseudonym.files import read_secret_file
from pseudonym.hpke import OpeningKey
from pseudonym.lawful.sharing import Sharing
from pseudonym.retention.holder import Premises
from pseudonym.roles.callers import Role
from pseudonym.roles.client import URN, AttributesClient
from pseudonym.roles.commands import (
    At,
    Recipient,
    RequestId,
    V,
    at_service,
    complaining,
    free,
    plain,
    write,
)
from pseudonym.tabular import read_table
from pseudonym.v1 import vault_pb2

register_app = typer.Typer()
File = Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="CSV, Parquet or Arrow file.")]
Batch = Annotated[
    str, typer.Option("--batch", help="Your own id of this batch; the same batch is never taken twice.")
]
Named = Annotated[str, typer.Option("--dataset", help="The declared dataset.")]


@register_app.command("attach")
@at_service()
def attach_attributes(
    at: At,
    file: File,
    batch: Batch,
    dataset: Named,
    recipient: Recipient,
) -> None:
    """Send attributes by the reference numbers that you were given."""
    with complaining():
        sweep(file.parent)
        rows = read_table(file)
        if URN not in rows.columns:
            raise InputError(f"The file has no column {URN}.", "It says whose a row is.")
        until = Premises(file.parent).keep(at.project, recipient, [file])
    with at.calling(AttributesClient) as client:
        sent = client.attach(rows, batch_id=batch, dataset=dataset, recipient=recipient)
        print(f"Batch {plain(sent.batch_id)}: the attributes role has {sent.rows:,} rows.")
        print(f"Your file is kept until {until.isoformat()}, then destroyed by the next command.")


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
@at_service()
def export_register(
    at: At,
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Where to put the sealed file.")],
    recipient: Recipient,
    day: Annotated[str, typer.Option("--day", help="The day on which people have their age, YYYY-MM-DD.")],
    since: Annotated[
        str, typer.Option("--since", help="The day from which on the register has people, YYYY-MM-DD.")
    ] = "",
    days: Annotated[
        int, typer.Option("--days", help="After how many days the exchange ends.")
    ] = LONGEST_DAYS,
    nhs_number_reason: Annotated[
        str, typer.Option("--nhs-number-reason", help="Why the NHS number may be given out; else it is not.")
    ] = "",
    sharing: Annotated[
        Sharing | None,
        typer.Option("--sharing", help="Why this may be shared, if it is not the purpose's own reason."),
    ] = None,
    request_id: RequestId = None,
) -> None:
    """Write the file that a register's holder matches by, sealed to the holder's key."""
    with at.called(Role.IDENTITY) as peer:
        free(out)
        request = vault_pb2.ExportRegisterRequest(
            mandate=at.stated(request_id),
            recipient=recipient,
            day=day,
            nhs_number_reason=nhs_number_reason,
            days=days,
            since=since,
            sharing_reason=f"SHARING_REASON_{(sharing or 'unspecified').upper().replace('-', '_')}",
        )
        parts = list(peer.read(f"{V}ExportRegister", request, vault_pb2.ExportRegisterResponse))
        if [part.number for part in parts] != list(range(1, len(parts) + 1)) or not parts[-1].last:
            raise InputError("The file broke off.", "Ask for it again.")
        made = ExchangeFile(
            at.project,
            recipient,
            parts[0].register,
            date.fromisoformat(parts[0].ends),
            sum(part.persons for part in parts),
            [(part.identifiers, part.numbers) for part in parts],
        ).to_bytes()
        write(out, made)
        digest = hashlib.sha256(made).hexdigest()
        persons = count(sum(part.persons for part in parts), "person")
        print(f"{persons}, ends {plain(parts[0].ends)}, SHA-256 {digest}")


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
        sweep(exchange_key.parent)
        free(out)
        try:
            opening = OpeningKey(bytes.fromhex(read_secret_file(exchange_key, "key").decode().strip()))
            found = ExchangeFile.from_bytes(sealed.read_bytes())
        except (OSError, ValueError):
            raise InputError("A file cannot be read, or is no key.", "Check the names.") from None
        people = found.open(opening, clock.today())
        until = Premises(exchange_key.parent).keep(
            found.project, found.recipient, [exchange_key, sealed, out], found.register, found.ends
        )
        write(out, people.write_csv().encode())
        persons = count(found.persons, "person")
        print(f"{persons}; kept until {until.isoformat()}, then destroyed by the next command.")


def sweep(folder: Path) -> None:
    """Destroy what a holder's folder has kept for long enough, and say what."""
    for one in Premises(folder).sweep():
        found = json.loads(one)
        print(f"Destroyed: {plain(found['what'])} {found['counts']['file']} files.", file=sys.stderr)
