"""`kinlink renew`: the month's key of a role, and the list from one epoch of a recipient to the next."""

from __future__ import annotations

from enum import StrEnum
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
    At,
    B,
    Folder,
    K,
    Recipient,
    RequestId,
    at_service,
    complaining,
    free,
    moment,
    number_of,
    write,
)
from pseudonym.v1 import broker_pb2, key_pb2

LIST_FORMAT = "kinlink-urns-renewed/1"


class _Sealing(StrEnum):
    """The roles that seal what they keep; the broker has nothing to wrap."""

    IDENTITY = "identity"
    ATTRIBUTES = "attributes"


SealingRole = Annotated[_Sealing, typer.Option("--role", help="The role that the service is.")]
renew_app = typer.Typer(name="renew", help="Renew a role's month key, and recipients' epochs.", **HELP)


@renew_app.command("keys")
@at_service()
def renew_keys(
    at: At,
    role: SealingRole,
    month: Annotated[
        str, typer.Option("--month", help="This month or the next, as in 2026-12; this one if none is said.")
    ] = "",
    request_id: RequestId = None,
) -> None:
    """Change the key that all other keys of a role are wrapped under: make the month's, destroy former ones.

    The role goes on by itself: it wraps every key anew under the month's, then destroys the former ones, so
    that older copies of its database cannot be read any more. 'kinlink renew show' says how far it is. A
    month that has its key already is refused: ask for the next one's.
    """
    with at.called(Role(role)) as peer:
        request = key_pb2.RenewKekRequest(mandate=at.stated(request_id), role=number_of(role), month=month)
        _show_renewal(peer.call(f"{K}RenewKek", request, key_pb2.RenewKekResponse).renewal)


@renew_app.command("show")
@at_service("project", "purpose")
def renew_show(
    at: At,
    role: SealingRole,
    certificates: Folder = None,
) -> None:
    """Say how far the last change of the key that a role's keys are wrapped under has come."""
    with at.called(Role(role)) as peer:
        request = key_pb2.GetRenewalRequest(role=number_of(role))
        found = peer.call(f"{K}GetRenewal", request, key_pb2.GetRenewalResponse).renewal
        _show_renewal(found)
        if certificates and found.certificate:
            write(certificates / f"{found.renewal_id}-{role}.json", found.certificate)


@renew_app.command("urns")
@at_service()
def renew_urns(
    at: At,
    recipient: Recipient,
    old_epoch: Annotated[int, typer.Option("--old-epoch", min=1, max=30, help="The earlier epoch.")],
    public_key: Annotated[
        str, typer.Option("--public-key", metavar="HEX", help="The recipient's, 64 hexadecimal digits.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to put the sealed list.")],
) -> None:
    """Fetch the list from an earlier epoch to the present one, sealed to the recipient: of the broker."""
    with at.called(Role.BROKER) as peer:
        free(out)
        try:
            public = bytes.fromhex(public_key)
        except ValueError:
            raise InputError("The public key is not written in hexadecimal digits.") from None
        request = broker_pb2.RenewUrnsRequest(
            mandate=at.stated(None),
            recipient=recipient,
            old_epoch=old_epoch,
            public_key=public,
        )
        parts = list(peer.read(f"{B}RenewUrns", request, broker_pb2.RenewUrnsResponse))
        content = {
            "format": LIST_FORMAT,
            "project": at.project,
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
    done = f"done {moment(found.done_time)}" if found.certificate else "going on"
    print(f"Renewal {found.renewal_id}: {done}.")
    print(f"Keys are wrapped under {found.use}, key {found.kid}; {found.total:,} were under others.")
    for former in found.former:
        left = "destroyed" if found.certificate else f"{former.left:,} keys still to be wrapped anew"
        print(f"Former key {former.kid}: {left}.")
    if found.certificate:
        print(f"Copies of the store from before {moment(found.done_time)} cannot be read any more.")
