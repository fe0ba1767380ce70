"""`kinlink optout`: what people decided, as a data protection officer enters it.

Who it is about is read from a file, never from an argument: others can see those.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from pseudonym.counted import count
from pseudonym.errors import InputError
from pseudonym.optouts.checks import Reason
from pseudonym.optouts.rules import Ground
from pseudonym.roles.callers import Role
from pseudonym.roles.commands import (
    HELP,
    HOUR,
    At,
    RequestId,
    at_service,
    content_of,
    free,
    moment,
    plain,
    rows_of,
    write,
)
from pseudonym.roles.commands_erase import read_people, show_erasure
from pseudonym.v1 import optout_pb2, vault_pb2

O = "/pseudonym.v1.OptOutService/"  # noqa: E741 - as the other services' letters
PIECE = 1 << 20
CIRCULATION = ("forename", "surname", "born", "postcode")
ACTIONS = {"refuse": "SHARING_REFUSED", "override": "SHARING_OVERRIDDEN", "lift": "SHARING_LIFTED"}

optout_app = typer.Typer(name="optout", help="What people decided about their data.", **HELP)
People = Annotated[
    Path,
    typer.Option(
        "--file",
        "-f",
        metavar="CSV",
        help="Who: columns born (YYYY-MM-DD) and nhs, nino, upn, or surname and postcode; '-' is stdin.",
    ),
]
AllAgreeing = Annotated[
    bool, typer.Option("--all-agreeing", help="All who agree are meant where several do.")
]


@optout_app.command("withdraw")
@at_service()
def withdraw(
    at: At,
    file: People,
    families: Annotated[bool, typer.Option("--families", help="Their whole families withdraw.")] = False,
    all_agreeing: AllAgreeing = False,
    request_id: RequestId = None,
) -> None:
    """Withdraw people from the research: erased everywhere, and dropped from whatever comes later."""
    with at.called(Role.IDENTITY) as peer:
        request = optout_pb2.WithdrawRequest(
            mandate=at.stated(request_id),
            sought=_sought(file, all_agreeing),
            families=families,
        )
        answer = peer.call(f"{O}Withdraw", request, optout_pb2.WithdrawResponse)
        print(f"{count(answer.persons, 'person has', 'persons have')} withdrawn.")
        show_erasure(answer.erasure, None)


@optout_app.command("nhs-number")
@at_service()
def nhs_number(
    at: At,
    file: People,
    all_agreeing: AllAgreeing = False,
    request_id: RequestId = None,
) -> None:
    """Keep and use no NHS number of people any more; they stay in the research."""
    with at.called(Role.IDENTITY) as peer:
        request = optout_pb2.SetNhsNumberOptOutRequest(
            mandate=at.stated(request_id), sought=_sought(file, all_agreeing)
        )
        answer = peer.call(f"{O}SetNhsNumberOptOut", request, optout_pb2.SetNhsNumberOptOutResponse)
        taken = f"a number was taken out of {count(answer.rows, 'row')}."
        print(f"{count(answer.persons, 'person')}; {taken}")


@optout_app.command("sharing")
@at_service()
def sharing(
    at: At,
    file: People,
    action: Annotated[str, typer.Argument(metavar="ACTION", help=f"One of {', '.join(ACTIONS)}.")],
    ground: Annotated[str, typer.Option("--ground", help=f"Of an override: {', '.join(Ground)}.")] = "",
    reference: Annotated[
        str, typer.Option("--reference", help="Of an override: the code of its paper.")
    ] = "",
    register: Annotated[
        str, typer.Option("--register", help="Of an override: for this register alone.")
    ] = "",
    all_agreeing: AllAgreeing = False,
    request_id: RequestId = None,
) -> None:
    """Share nothing of people, share it all the same for a legal ground, or lift their request."""
    with at.called(Role.IDENTITY) as peer:
        if action not in ACTIONS:
            raise InputError("This is no action.", f"Actions are {', '.join(ACTIONS)}.")
        request = optout_pb2.SetSharingRequest(
            mandate=at.stated(request_id),
            sought=_sought(file, all_agreeing),
            sharing=ACTIONS[action],
            ground=ground,
            reference=reference,
            register=register,
        )
        answer = peer.call(f"{O}SetSharing", request, optout_pb2.SetSharingResponse)
        print(f"{answer.decision or 'Nothing'}  {count(answer.persons, 'person')}")
        if answer.tell:
            print(f"Tell each of them, and then kinlink optout told {answer.decision}:", file=sys.stderr)
            print(plain(answer.tell))


@optout_app.command("told")
@at_service()
def told(
    at: At,
    decision: Annotated[str, typer.Argument(metavar="DECISION", help="The id of the decision.")],
    request_id: RequestId = None,
) -> None:
    """Say that people were told why something of them is shared all the same."""
    with at.called(Role.IDENTITY) as peer:
        request = optout_pb2.ConfirmToldRequest(mandate=at.stated(request_id), decision=decision)
        answer = peer.call(f"{O}ConfirmTold", request, optout_pb2.ConfirmToldResponse)
        print(f"{count(answer.overrides, 'override is', 'overrides are')} told.")


@optout_app.command("circulation")
@at_service()
def circulation(
    at: At,
    file: Annotated[
        Path, typer.Option("--file", "-f", metavar="CSV", help=f"Who: columns {', '.join(CIRCULATION)}.")
    ],
    action: Annotated[str, typer.Argument(metavar="ACTION", help="One of refuse, lift, check.")],
    request_id: RequestId = None,
) -> None:
    """Note who wants no circulars, or no longer wants none; check adds a column: circular, yes or no."""
    with at.called(Role.IDENTITY) as peer:
        if action not in ("refuse", "lift", "check"):
            raise InputError("This is no action.", "Actions are refuse, lift and check.")
        rows = rows_of(file, "people", CIRCULATION)
        persons = [optout_pb2.CirculationPerson(**row) for row in rows]
        mandate = at.stated(request_id)
        if action == "check":
            checking = optout_pb2.CheckCirculationRequest(mandate=mandate, persons=persons)
            found = peer.call(f"{O}CheckCirculation", checking, optout_pb2.CheckCirculationResponse)
            said = [
                {**row, "circular": "no" if no else "yes"}
                for row, no in zip(rows, found.refused, strict=True)
            ]
            if said:
                shown = csv.DictWriter(sys.stdout, said[0], lineterminator="\n")
                shown.writeheader()
                shown.writerows({name: plain(value) for name, value in row.items()} for row in said)
            return
        request = optout_pb2.SetCirculationRequest(mandate=mandate, persons=persons, lifted=action == "lift")
        answer = peer.call(f"{O}SetCirculation", request, optout_pb2.SetCirculationResponse)
        print(count(answer.persons, "person"))


@optout_app.command("export")
@at_service()
def export(
    at: At,
    folder: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the file goes.")],
    request_id: RequestId = None,
) -> None:
    """Write the list of NHS numbers to be sent to the check of National Data Opt-outs through MESH."""
    with at.called(Role.IDENTITY) as peer:
        request = optout_pb2.ExportNumbersRequest(mandate=at.stated(request_id))
        parts = list(peer.read(f"{O}ExportNumbers", request, optout_pb2.ExportNumbersResponse))
        place = folder / Path(parts[0].name).name
        free(place)
        write(place, b"".join(one.content for one in parts))
        numbers = count(parts[0].numbers, "number")
        print(f"{place}  {numbers}  answer until {moment(parts[0].expire_time)}")


@optout_app.command("import")
@at_service()
def import_(
    at: At,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The list as it came back.")],
    name: Annotated[
        str, typer.Option("--name", help="The name of the list that it answers, if it has another one.")
    ] = "",
    request_id: RequestId = None,
) -> None:
    """Take in the list that came back: who is not in it is not used for health registers."""
    with at.called(Role.IDENTITY) as peer:
        content = content_of(file)
        header = optout_pb2.ImportClearedHeader(mandate=at.stated(request_id), name=name or file.name)
        answer = peer.send(
            f"{O}ImportCleared", lambda: _parts(header, content), optout_pb2.ImportClearedResponse, HOUR
        )
        removed = count(answer.removed, "is", "are")
        print(f"{answer.sent:,} sent, {answer.cleared:,} came back, {removed} not used")
        print(f"used until {moment(answer.expire_time)}")


@optout_app.command("exempt")
@at_service()
def exempt(
    at: At,
    register: Annotated[str, typer.Option("--register", help="hes, mhmds or ndtms.")],
    reason: Annotated[str, typer.Option("--reason", help=f"Why: {', '.join(Reason)}.")] = "",
    reference: Annotated[str, typer.Option("--reference", help="The code of the paper.")] = "",
    ended: Annotated[bool, typer.Option("--end", help="End it: the opt-out applies again.")] = False,
    request_id: RequestId = None,
) -> None:
    """Record why the National Data Opt-out does not apply to a register, or that it applies again."""
    with at.called(Role.IDENTITY) as peer:
        request = optout_pb2.SetExemptionRequest(
            mandate=at.stated(request_id),
            register=register,
            reason=reason,
            reference=reference,
            ended=ended,
        )
        answer = peer.call(f"{O}SetExemption", request, optout_pb2.SetExemptionResponse)
        print("Recorded." if answer.changed else "It was so already.")


@optout_app.command("status")
@at_service("purpose")
def status(
    at: At,
) -> None:
    """Say how many decided what, and how the lists of the National Data Opt-out stand."""
    with at.called(Role.IDENTITY) as peer:
        request = optout_pb2.GetStatusRequest(project=at.project)
        found = peer.call(f"{O}GetStatus", request, optout_pb2.GetStatusResponse)
        pending, untold = count(found.pending, "request"), count(found.untold, "override")
        print(f"withdrawn    {found.withdrawn}  ({pending} not done everywhere yet)")
        print(f"nhs-number   {found.nhs_numbers}")
        print(f"not shared   {found.not_shared}  ({untold} nobody was told of)")
        print(f"circulation  {found.circulation}")
        for one in found.lists:
            print(
                f"{one.name}  {one.state}  {one.sent} sent  {one.removed} removed  {moment(one.expire_time)}"
            )
        for held in found.exemptions:
            print(f"{held.register} exempt: {plain(held.reason)} {plain(held.reference)}")


def _sought(path: Path, all_agreeing: bool) -> vault_pb2.SoughtPersons:
    return vault_pb2.SoughtPersons(persons=read_people(path), all_agreeing=all_agreeing)


def _parts(
    header: optout_pb2.ImportClearedHeader, content: bytes
) -> Iterator[optout_pb2.ImportClearedRequest]:
    yield optout_pb2.ImportClearedRequest(header=header)
    for at in range(0, len(content), PIECE):
        yield optout_pb2.ImportClearedRequest(content=content[at : at + PIECE])
