"""`kinlink destroy`: the end of a recipient's epochs, and of a project in each role."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pseudonym.errors import InputError
from pseudonym.roles.callers import Role
from pseudonym.roles.commands import (
    HELP,
    At,
    B,
    Folder,
    K,
    Recipient,
    RequestId,
    WhichRole,
    Yes,
    at_service,
    number_of,
    write,
)
from pseudonym.v1 import broker_pb2, key_pb2

destroy_app = typer.Typer(name="destroy", help="End a recipient, or a project, for good.", **HELP)


@destroy_app.command("recipient")
@at_service()
def destroy_recipient(
    at: At,
    recipient: Recipient,
    certificates: Folder = None,
    epoch: Annotated[int, typer.Option("--epoch", min=0, max=31, help="One epoch; else all.")] = 0,
    yes: Yes = False,
    request_id: RequestId = None,
) -> None:
    """Destroy a recipient's epoch, or all of them, with keys and reference numbers: of the broker."""
    with at.called(Role.BROKER) as peer:
        _confirm(recipient, yes)
        request = broker_pb2.DestroyDomainRequest(
            mandate=at.stated(request_id), recipient=recipient, epoch=epoch
        )
        answer = peer.call(f"{B}DestroyDomain", request, broker_pb2.DestroyDomainResponse)
        _show_end(answer.certificate, answer.checkpoint, f"{at.project}-{recipient}-{epoch}", certificates)


@destroy_app.command("project")
@at_service()
def destroy_project(
    at: At,
    role: WhichRole,
    certificates: Folder = None,
    yes: Yes = False,
    request_id: RequestId = None,
) -> None:
    """Destroy all that one role has of a project: ask identity first, then attributes, then the broker."""
    with at.called(Role(role)) as peer:
        _confirm(at.project, yes)
        request = key_pb2.DestroyProjectRequest(
            mandate=at.stated(request_id), role=number_of(role), confirm=at.project
        )
        answer = peer.call(f"{K}DestroyProject", request, key_pb2.DestroyProjectResponse)
        _show_end(answer.certificate, answer.checkpoint, f"{at.project}-{role}", certificates)


def _confirm(name: str, yes: bool) -> None:
    asked = f"There is no way back. Type {name} to destroy it"
    if not yes and typer.prompt(asked, err=True, default="", show_default=False) != name:
        raise InputError("That is not its name.", "Nothing was destroyed.")


def _show_end(certificate: bytes, checkpoint: str, name: str, folder: Path | None) -> None:
    found = json.loads(certificate)
    print(found["what"])
    for table, count in found["counts"].items():
        print(f"{count:,} rows of {table}")
    for kid in found["kids"]:
        print(f"key {kid}")
    if folder:
        write(folder / f"{name}.json", certificate)
        write(folder / f"{name}.checkpoint", checkpoint.encode())
