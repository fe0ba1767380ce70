"""`kinlink retention`: what is due to be destroyed at a role, its destruction, and the certificates of it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pseudonym import certificates, clock
from pseudonym.cli.audit import read_keys
from pseudonym.errors import CertificateError, InputError
from pseudonym.retention.holder import Premises
from pseudonym.roles.callers import Role
from pseudonym.roles.commands import (
    HELP,
    At,
    Folder,
    RequestId,
    ServerRole,
    WhichRole,
    at_service,
    complaining,
    moment,
    number_of,
    plain,
    write,
)
from pseudonym.roles.commands_registers import sweep
from pseudonym.roles.peer import Peer
from pseudonym.v1 import retention_pb2

R = "/pseudonym.v1.RetentionService/"
_HOLDERS = re.compile("[0-9a-f]{64}")  # a holder's public key, as its file has it
retention_app = typer.Typer(
    name="retention", help="What is due to be destroyed, its destruction, and its certificates.", **HELP
)


@retention_app.command("due")
@at_service("project", "purpose")
def due(
    at: At,
    role: WhichRole,
) -> None:
    """List what is due to be destroyed at a role, and why."""
    with at.called(Role(role)) as peer:
        found = 0
        for page in _pages(peer, "ListDue", role):
            for one in page.due:
                how = "by itself, within the day" if one.automatic else "when asked for"
                line = f"{moment(one.due_time)}  {plain(one.category):<18} {plain(one.project):<16} "
                print(f"{line}{plain(one.what)}; {how}. {plain(one.reason)}")
                found += 1
        if not found:
            print("Nothing is due.")


@retention_app.command("run")
@at_service()
def run(
    at: At,
    role: WhichRole,
    certificates: Folder = None,
    request_id: RequestId = None,
) -> None:
    """Destroy what is due at a role: of a project that has ended at identity first, the broker last."""
    with at.called(Role(role)) as peer:
        request = retention_pb2.RunDestructionRequest(mandate=at.stated(request_id), role=number_of(role))
        answer = peer.call(f"{R}RunDestruction", request, retention_pb2.RunDestructionResponse)
        _show(answer.certificates, certificates)
        if certificates and answer.certificates:
            write(certificates / f"{at.project}-{role}.checkpoint", answer.checkpoint.encode())
        if answer.certificates:
            return
        if not answer.HasField("end_time"):
            raise InputError(
                f"Nothing was due, and the role was told of no end of a project {at.project}.",
                "See that its name is right, and that the role's governance file states its end.",
            )
        print(f"Nothing was due. The end of the project {at.project}: {moment(answer.end_time)}.")


@retention_app.command("certificates")
@at_service("project", "purpose")
def list_certificates(
    at: At,
    role: WhichRole,
    certificates: Folder = None,
) -> None:
    """List the certificates of what a role destroyed because its time was over."""
    with at.called(Role(role)) as peer:
        found = 0
        for page in _pages(peer, "ListCertificates", role):
            _show(page.certificates, certificates)
            found += len(page.certificates)
        if not found:
            print("There are no certificates.")


@retention_app.command("verify")
def verify(
    files: Annotated[list[Path], typer.Argument(metavar="CERTIFICATE...", show_default=False)],
    key: Annotated[
        list[str],
        typer.Option(
            "--key",
            metavar="KEY",
            help="The public key of the role's audit log, or a file with a line for each that it has had; a "
            "holder's certificates/public-key.",
        ),
    ],
) -> None:
    """Check that certificates are whole, and who signed them; no server is asked."""
    with complaining():
        keys = [found for text in key for found in _public_keys(text)]
        for file in files:
            data, found = _verified(file, keys)
            print(f"{plain(file.name)} is as it was signed by the key {certificates.key_id(found)}.")
            _show([data], None)


@retention_app.command("sweep")
def sweep_folder(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where a holder has the key of an exchange.")
    ],
    days_ahead: Annotated[int, typer.Option("--days-ahead", hidden=True, min=0)] = 0,
) -> None:
    """Destroy what a register's holder has kept of exchanges for long enough; run it every day."""
    with complaining():
        clock.set_ahead(days_ahead)  # to see what a month does: it can only destroy earlier
        sweep(folder)
        kept = Premises(folder).kept()
        if not kept:
            print(f"Nothing of an exchange is kept in {plain(str(folder))} any more, or yet.")
        for one in kept:
            print(f"{plain(one.project)} {plain(one.recipient)}: {len(one.files)} files until {one.until}")


def _pages(peer: Peer, method: str, role: ServerRole) -> Iterator[Any]:
    request, response = (getattr(retention_pb2, f"{method}{end}") for end in ("Request", "Response"))
    token = ""
    while True:
        page = peer.call(f"{R}{method}", request(role=number_of(role), page_token=token), response)
        yield page
        token = page.next_page_token
        if not token:
            return


def _public_keys(text: str) -> list[Ed25519PublicKey]:
    path = Path(text)
    said = path.read_text(errors="replace").strip() if path.is_file() else ""
    raw = [bytes.fromhex(said)] if _HOLDERS.fullmatch(said) else [one.key for one in read_keys([text])]
    return [Ed25519PublicKey.from_public_bytes(one) for one in raw]


def _verified(file: Path, keys: Sequence[Ed25519PublicKey]) -> tuple[bytes, Ed25519PublicKey]:
    """A certificate, and the key that signed it."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {os.strerror(error.errno or 0)}.") from None
    for key in keys:
        with suppress(CertificateError):
            certificates.verify(data, key)
            return data, key
    raise CertificateError(
        f"{file} is no certificate that a key of these signed, or it was altered.",
        "Ask for it again, and compare the key with the one that was published.",
    )


def _show(certificates: Sequence[bytes], folder: Path | None) -> None:
    for one in certificates:
        found = json.loads(one)
        counts = ", ".join(f"{count:,} {plain(table)}" for table, count in found["counts"].items())
        print(f"{plain(found['when'])}  {plain(found['project'])}  {plain(found['what'])} {counts}")
        if folder:
            name = f"{found['when'][:10]}-{found['role']}-{found['signature']['value'][:8]}.json"
            write(folder / plain(name), one)
