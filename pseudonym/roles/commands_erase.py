"""`kinlink erase`: people are erased over all three roles, and it is followed.

By what people are sought is read from a file, never from an argument: others can see those.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pseudonym.counted import count
from pseudonym.errors import InputError
from pseudonym.roles.callers import SERVER_ROLES, Role
from pseudonym.roles.commands import (
    HELP,
    At,
    B,
    Folder,
    Recipient,
    RequestId,
    V,
    at_service,
    moment,
    rows_of,
    write,
)
from pseudonym.v1 import broker_pb2, vault_pb2

SOUGHT = ("born", "nhs", "nino", "upn", "surname", "postcode")
REASONS = {
    name.removeprefix("ERASURE_REASON_").lower().replace("_", "-"): name
    for name in vault_pb2.ErasureReason.keys()[1:]
}
erase_app = typer.Typer(name="erase", help="Erase people over all three roles, and follow it.", **HELP)


@erase_app.command("people")
@at_service()
def erase_people(
    at: At,
    file: Annotated[
        Path,
        typer.Option(
            "--file",
            "-f",
            metavar="CSV",
            help="Who: columns born (YYYY-MM-DD) and nhs, nino, upn, or surname and postcode; '-' is stdin.",
        ),
    ],
    reason: Annotated[str, typer.Option("--reason", help=f"Why: {', '.join(REASONS)}.")],
    all_agreeing: Annotated[
        bool, typer.Option("--all-agreeing", help="Erase all who agree where several do.")
    ] = False,
    request_id: RequestId = None,
) -> None:
    """Erase people for good, in all three roles and all projects: those that a file names."""
    with at.called(Role.IDENTITY) as peer:
        if reason not in REASONS:
            raise InputError("This is none of the reasons.", f"They are {', '.join(REASONS)}.")
        whom = vault_pb2.SoughtPersons(persons=read_people(file), all_agreeing=all_agreeing)
        request = vault_pb2.EraseSubjectsRequest(
            mandate=at.stated(request_id), reason=REASONS[reason], sought=whom
        )
        answer = peer.call(f"{V}EraseSubjects", request, vault_pb2.EraseSubjectsResponse)
        show_erasure(answer.erasure, None)


@erase_app.command("show")
@at_service("purpose")
def erase_show(
    at: At,
    erasure_id: Annotated[str, typer.Argument(metavar="ERASURE", help="The id of the erasure.")],
    certificates: Folder = None,
) -> None:
    """Say how far an erasure has come."""
    with at.called(Role.IDENTITY) as peer:
        request = vault_pb2.GetErasureRequest(project=at.project, erasure_id=erasure_id)
        answer = peer.call(f"{V}GetErasure", request, vault_pb2.GetErasureResponse)
        show_erasure(answer.erasure, certificates)


@erase_app.command("urns")
@at_service("purpose")
def erase_urns(
    at: At,
    recipient: Recipient,
    since_day: Annotated[int, typer.Option("--since", min=0, help="Days since 1970-01-01.")] = 0,
) -> None:
    """List a recipient's reference numbers whose people were erased, and the day: of the broker."""
    with at.called(Role.BROKER) as peer:
        request = broker_pb2.ListErasedUrnsRequest(
            project=at.project, recipient=recipient, since_day=since_day, page_size=1_000
        )
        found = False
        while True:
            page = peer.call(f"{B}ListErasedUrns", request, broker_pb2.ListErasedUrnsResponse)
            for one in page.erased:
                print(f"{one.urn}  {one.day}")
                found = True
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        if not found:  # not among the data, which may be read by a program
            print("There are none: nobody with a number of this recipient was erased.", file=sys.stderr)


def read_people(path: Path) -> list[vault_pb2.SoughtPerson]:
    """Who is sought, from a CSV file with some of the columns `SOUGHT`; '-' is stdin.

    Raises:
        InputError: it cannot be read as one, or names nobody.
    """
    found = [vault_pb2.SoughtPerson(**row) for row in rows_of(path, "people", SOUGHT)]
    if not found:
        raise InputError("The file of people names nobody.", "Its second line is the first person.")
    return found


def show_erasure(erasure: vault_pb2.Erasure, folder: Path | None) -> None:
    """Print how far an erasure has come; certificates go into the folder, if there is one."""
    state = "complete" if erasure.complete else "pending"
    print(f"{erasure.erasure_id}  {state}  {count(erasure.persons, 'internal id')}")
    for step, role in zip(erasure.steps, SERVER_ROLES, strict=True):
        print(f"{role:<10}  {moment(step.done_time) if step.certificate else 'pending'}")
        if folder and step.certificate:
            write(folder / f"{erasure.erasure_id}-{role}.json", step.certificate)
