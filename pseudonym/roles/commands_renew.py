"""`kinlink renew`: the month's key of a role, and the list from one epoch of a recipient to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pseudonym.changes import renewal_context
from pseudonym.errors import InputError
from pseudonym.files import canonical, parse, read_secret_file
from pseudonym.hpke import OpeningKey
from pseudonym.roles.callers import Role
from pseudonym.roles.commands import (
    HELP,
    Authority,
    B,
    Certificate,
    Folder,
    K,
    Key,
    Project,
    Purpose,
    Recipient,
    RequestId,
    Service,
    WhichRole,
    called,
    complaining,
    free,
    moment,
    number_of,
    stated,
    write,
)
from pseudonym.v1 import broker_pb2, key_pb2

LIST_FORMAT = "kinlink-urns-renewed/1"
renew_app = typer.Typer(name="renew", help="Renew a role's month key, and recipients' epochs.", **HELP)


@renew_app.command("keys")
def renew_keys(
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority,
    certificate: Certificate,
    key: Key,
    role: WhichRole,
    month: Annotated[
        str, typer.Option("--month", help="As in 2026-12: this month, if none is said, or the next.")
    ] = "",
    request_id: RequestId = None,
) -> None:
    """Make the month's key-encrypting key, wrap everything anew under it, destroy the former ones."""
    with called(role, service, authority, certificate, key) as peer:
        request = key_pb2.RenewKekRequest(
            mandate=stated(project, purpose, request_id), role=number_of(role), month=month
        )
        _show_renewal(peer.call(f"{K}RenewKek", request, key_pb2.RenewKekResponse).renewal)


@renew_app.command("show")
def renew_show(
    service: Service,
    authority: Authority,
    certificate: Certificate,
    key: Key,
    role: WhichRole,
    certificates: Folder = None,
) -> None:
    """Say how far the last renewal of a role's key-encrypting key has come."""
    with called(role, service, authority, certificate, key) as peer:
        request = key_pb2.GetRenewalRequest(role=number_of(role))
        found = peer.call(f"{K}GetRenewal", request, key_pb2.GetRenewalResponse).renewal
        _show_renewal(found)
        if certificates and found.certificate:
            write(certificates / f"{found.renewal_id}-{role}.json", found.certificate)


@renew_app.command("urns")
def renew_urns(
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority,
    certificate: Certificate,
    key: Key,
    recipient: Recipient,
    old_epoch: Annotated[int, typer.Option("--old-epoch", min=1, max=30, help="The earlier epoch.")],
    public_key: Annotated[
        str, typer.Option("--public-key", metavar="HEX", help="The recipient's, 64 hexadecimal digits.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to put the sealed list.")],
) -> None:
    """Fetch the list from an earlier epoch to the present one, sealed to the recipient: of the broker."""
    with called(Role.BROKER, service, authority, certificate, key) as peer:
        free(out)
        try:
            public = bytes.fromhex(public_key)
        except ValueError:
            raise InputError("The public key is not written in hexadecimal digits.") from None
        request = broker_pb2.RenewUrnsRequest(
            mandate=stated(project, purpose, None),
            recipient=recipient,
            old_epoch=old_epoch,
            public_key=public,
        )
        parts = list(peer.read(f"{B}RenewUrns", request, broker_pb2.RenewUrnsResponse))
        content = {
            "format": LIST_FORMAT,
            "project": project,
            "recipient": recipient,
            "epochs": [old_epoch, parts[-1].new_epoch],
            "parts": [part.sealed.hex() for part in parts],
        }
        write(out, canonical(content))


@renew_app.command("list-key")
def list_key(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Where to put the key.")],
) -> None:
    """Make a key that opens lists, for a recipient; its public half is printed, for the officer."""
    with complaining():
        free(out)
        opening, secret = OpeningKey.generate()
        write(out, secret.hex().encode() + b"\n")
        print(opening.public.hex())


@renew_app.command("open")
def open_list(
    sealed: Annotated[Path, typer.Argument(metavar="LIST", help="The sealed list.")],
    key: Annotated[Path, typer.Option("--list-key", metavar="FILE", help="The key, from 'list-key'.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where to put its parts, as Arrow.")],
) -> None:
    """Open a list from one epoch to another: Arrow streams with the columns old and new."""
    with complaining():
        try:
            content = parse(sealed.read_bytes(), "list")
            opening = OpeningKey(bytes.fromhex(read_secret_file(key, "key").decode().strip()))
            parts = [bytes.fromhex(part) for part in content["parts"]]
            old, new = content["epochs"]
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError("This is no list, or no key of one.", "Ask for it again.") from None
        opened = []
        for number, part in enumerate(parts, start=1):
            last = number == len(parts)
            context = renewal_context(content["project"], content["recipient"], (old, new), number, last)
            opened.append(opening.open(part, *context))
        out.mkdir(mode=0o700, exist_ok=True)
        for number, part in enumerate(opened, start=1):
            write(out / f"{number:06}.arrow", part)


def _show_renewal(found: key_pb2.Renewal) -> None:
    print(f"{found.renewal_id}  {found.use}  {found.kid}  {found.total} keys were under former ones")
    for former in found.former:
        print(f"{former.kid}  {'destroyed' if found.certificate else f'{former.left} left'}")
    if found.certificate:
        print(f"Copies of the store from before {moment(found.done_time)} cannot be read any more.")
