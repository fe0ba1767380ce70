"""`kinlink rights`: people's requests are taken in, followed, decided and answered.

Who is meant and what is corrected are read from files, never from arguments: others can see those.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pseudonym import clock
from pseudonym.errors import InputError
from pseudonym.rights import correcting
from pseudonym.rights.cases import Asker, Delay, Outcome, Proof, Truth
from pseudonym.rights.correcting import Spelt
from pseudonym.rights.reasons import Refusal, Right
from pseudonym.roles.callers import Role
from pseudonym.roles.commands import (
    HELP,
    At,
    RequestId,
    at_service,
    complaining,
    free,
    plain,
    rows_of,
    write,
)
from pseudonym.roles.commands_erase import REASONS as GROUNDS
from pseudonym.roles.commands_erase import SOUGHT, read_people
from pseudonym.roles.commands_rights_open import CaseId, open_answer
from pseudonym.v1 import rights_pb2 as pb

R = "/pseudonym.v1.RightsService/"
rights_app = typer.Typer(name="rights", help="Take in, decide and answer people's requests.", **HELP)
rights_app.command("open")(open_answer)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Proofs = Annotated[
    list[Proof] | None,
    typer.Option("--proof", help="How it was checked who asks; again for each."),
]


@rights_app.command("ask")
@at_service()
def ask(
    at: At,
    right: Annotated[Right, typer.Option("--right", help="What is asked for.")],
    received: Annotated[str, typer.Option("--received", metavar="DAY", help="The day it came.")],
    asker: Annotated[Asker, typer.Option("--asker", help="Who asks.")] = Asker.SELF,
    proof: Proofs = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            metavar="CSV",
            help="Who: columns born (YYYY-MM-DD) and nhs, nino, upn, or surname and postcode; '-' is stdin.",
        ),
    ] = None,
    lifts: Annotated[
        str, typer.Option("--lifts", metavar="CASE", help="Of a lifting: which case ends.")
    ] = "",
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Take a request in; its id and the last day on which it can be answered in time."""
    with complaining():
        if right is Right.LIFTING and (file is not None or not lifts):
            raise InputError("A lifting is of a case, and not of a person.", "Name it with --lifts CASE.")
        if right is not Right.LIFTING and (file is None or lifts):
            raise InputError(
                f"A request for {right} is of a person{', and lifts no case' if lifts else ''}.",
                f"Name the person with --file CSV: columns {', '.join(SOUGHT)}; '-' is stdin.",
            )
        whom = read_people(file) if file is not None else []
    with at.called(Role.IDENTITY) as peer:
        request = pb.OpenRequestRequest(
            mandate=at.stated(request_id),
            right=_number(pb.Right, "RIGHT", right),
            received=received,
            asker=_number(pb.Asker, "ASKER", asker),
            proofs=[_number(pb.AskerProof, "ASKER_PROOF", one) for one in proof or ()],
            sought=whom,
            lifts=lifts,
        )
        _show(peer.call(f"{R}OpenRequest", request, pb.OpenRequestResponse).case, as_json)


@rights_app.command("list")
@at_service("purpose")
def list_cases(
    at: At,
    closed: Annotated[bool, typer.Option("--closed", help="Those that are closed too.")] = False,
    as_json: Json = False,
) -> None:
    """List the cases: what is overdue first, then by the last day."""
    with at.called(Role.IDENTITY) as peer:
        request, found = pb.ListRequestsRequest(project=at.project, closed=closed), list[pb.RightsCase]()
        while True:
            page = peer.call(f"{R}ListRequests", request, pb.ListRequestsResponse)
            found += page.cases
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        if as_json:
            print(json.dumps([_plain(one) for one in found], indent=2))
            return
        for one in found:
            told = _plain(one)
            print(
                f"{told['case_id']}  {told['due']}  {told['urgency']:<8} {told['state']:<9} {told['right']}"
            )
        if not found:
            print("There are none.", file=sys.stderr)


@rights_app.command("show")
@at_service("purpose")
def show(
    at: At,
    case_id: CaseId,
    as_json: Json = False,
) -> None:
    """Say how a case stands."""
    with at.called(Role.IDENTITY) as peer:
        request = pb.GetRequestRequest(project=at.project, case_id=case_id)
        _show(peer.call(f"{R}GetRequest", request, pb.GetRequestResponse).case, as_json)


@rights_app.command("extend")
@at_service()
def extend(
    at: At,
    case_id: CaseId,
    why: Annotated[Delay, typer.Option("--why", help="Why; tell the person so within the first month.")],
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Give a case two more months."""
    with at.called(Role.IDENTITY) as peer:
        request = pb.ExtendRequestRequest(
            mandate=at.stated(request_id),
            case_id=case_id,
            delay=_number(pb.ClockDelay, "CLOCK_DELAY", why),
        )
        _show(peer.call(f"{R}ExtendRequest", request, pb.ExtendRequestResponse).case, as_json)


@rights_app.command("decide")
@at_service()
def decide(
    at: At,
    context: typer.Context,
    case_id: CaseId,
    outcome: Annotated[Outcome, typer.Option("--outcome", help="What is decided.")],
    reason: Annotated[
        list[Refusal] | None,
        typer.Option("--reason", help="Why it is refused, in whole or in part; again for each."),
    ] = None,
    proof: Proofs = None,
    not_for: Annotated[
        list[str] | None,
        typer.Option(
            "--not-for", metavar="PURPOSE", help="Of a restriction: a purpose it is about; else all."
        ),
    ] = None,
    correct: Annotated[
        Path | None,
        typer.Option(
            "--correct", metavar="CSV", help="Of a rectification: columns field and value; '-' is stdin."
        ),
    ] = None,
    truth: Annotated[
        Truth | None,
        typer.Option("--truth", help="Of a rectification: whether the values that go were true once."),
    ] = None,
    ground: Annotated[str, typer.Option("--ground", help=f"Of an erasure, why: {', '.join(GROUNDS)}.")] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Of a rectification: do not ask whether it is right.")
    ] = False,
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Decide a case; what follows is carried out over all three roles."""
    with complaining():
        if ground and ground not in GROUNDS:
            raise InputError("This is none of the grounds.", f"They are {', '.join(GROUNDS)}.")
        corrections = list[pb.RightsCorrection]()
        if correct is not None and truth is not None:
            if str(correct) == "-" and not yes:
                raise InputError(
                    "Whoever gives the corrections on standard input cannot be asked there.",
                    "Put them into a file, or say --yes.",
                )
            corrections = _corrections(correct, context, truth)
            if not yes:
                _confirm(corrections, truth)
        elif correct is not None or truth is not None:
            raise InputError(
                f"A rectification lacks {'--truth' if truth is None else '--correct'}.",
                "Give the right values with --correct CSV (columns field and value), and say with --truth "
                "whether the wrong ones were true once (former) or never.",
            )
    with at.called(Role.IDENTITY) as peer:
        request = pb.DecideRequest(
            mandate=at.stated(request_id),
            case_id=case_id,
            outcome=_number(pb.RightOutcome, "RIGHT_OUTCOME", outcome),
            reasons=[_number(pb.RightRefusal, "RIGHT_REFUSAL", one) for one in reason or ()],
            proofs=[_number(pb.AskerProof, "ASKER_PROOF", one) for one in proof or ()],
            purposes=not_for or (),
            corrections=corrections,
            truth=_number(pb.CorrectionTruth, "CORRECTION_TRUTH", truth) if truth else None,
            ground=GROUNDS[ground] if ground else None,
        )
        _show(peer.call(f"{R}Decide", request, pb.DecideResponse).case, as_json)


@rights_app.command("answer")
@at_service()
def answer(
    at: At,
    case_id: CaseId,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where to put the two sealed halves.")],
    request_id: RequestId = None,
) -> None:
    """Fetch the two sealed halves of an answer."""
    with at.called(Role.IDENTITY) as peer:
        for half in ("identity", "attributes"):
            free(out / f"{case_id}.{half}")
        request = pb.ReadAnswerRequest(mandate=at.stated(request_id), case_id=case_id)
        found = peer.call(f"{R}ReadAnswer", request, pb.ReadAnswerResponse)
        for half, sealed in (("identity", found.identity), ("attributes", found.attributes)):
            write(out / f"{case_id}.{half}", sealed)
            print(out / f"{case_id}.{half}")


def _corrections(path: Path, context: typer.Context, truth: Truth) -> list[pb.RightsCorrection]:
    """What a file corrects, as it was typed: the role spells it once more. Raises InputError."""
    rows, found = rows_of(path, "corrections", ("field", "value"), all_of_them=True), dict[str, str]()
    for place, row in enumerate(rows, 1):
        if row["field"] not in correcting.FIELDS:
            raise InputError(
                f"Row {place} of the file of corrections names a field that there is not.",
                f"Fields are {correcting.KNOWN}.",
            )
        if row["field"] in found:
            raise InputError(f"{row['field']} is corrected twice.", "Name each field once.")
        found[row["field"]] = row["value"].strip()
    correcting.spelling(found, truth, _spelt(context), clock.today())
    return [pb.RightsCorrection(field=name, value=value) for name, value in found.items()]


def _confirm(corrections: list[pb.RightsCorrection], truth: Truth) -> None:
    """Show what will be changed, as it was typed, and ask. Raises typer.Exit where the answer is no."""
    for one in corrections:
        print(f"{one.field:<9} {plain(one.value) or '(taken away)'}", file=sys.stderr)
    stays = "stays as former values" if truth is Truth.FORMER else "is kept nowhere any more"
    print(f"What stands there now {stays}.", file=sys.stderr)
    if not typer.confirm("Do you want these values corrected?", err=True):
        raise typer.Exit(1)


def _spelt(context: typer.Context) -> Spelt:
    """What knows how values of people are kept: of the other package, handed over. Raises InputError."""
    if context.obj is None:
        raise InputError("What checks values of people is not loaded here.", "Run this as 'kinlink rights'.")
    found: Spelt = context.obj().spelt
    return found


def _number(messages: Any, prefix: str, value: str) -> Any:
    return messages.Value(f"{prefix}_{value.upper().replace('-', '_')}")


def _word(messages: Any, prefix: str, number: int) -> str:
    return messages.Name(number).removeprefix(f"{prefix}_").lower().replace("_", "-") if number else ""


def _plain(case: pb.RightsCase) -> dict[str, Any]:
    told = {
        "case_id": case.case_id,
        "right": _word(pb.Right, "RIGHT", case.right),
        "state": _word(pb.CaseState, "CASE_STATE", case.state),
        "received": case.received,
        "due": case.due,
        "urgency": _word(pb.CaseUrgency, "CASE_URGENCY", case.urgency),
        "extended": _word(pb.ClockDelay, "CLOCK_DELAY", case.delay),
        "asker": _word(pb.Asker, "ASKER", case.asker),
        "proofs": [_word(pb.AskerProof, "ASKER_PROOF", one) for one in case.proofs],
        "opener": case.opener,
        "found": _word(pb.RightFound, "RIGHT_FOUND", case.found),
        "outcome": _word(pb.RightOutcome, "RIGHT_OUTCOME", case.outcome),
        "reasons": [f"{plain(one.words)} ({one.law})" for one in case.reasons],
        "not_for": list(case.purposes),
        "used": _word(pb.DataUsed, "DATA_USED", case.used),
        "decided": case.decided,
        "answered": case.answered,
        "contacts": [f"{plain(one.name)}: {plain(one.how)}" for one in case.contacts],
        "lifted": case.lifted,
        "lifts": case.lifts,
        "done": list(case.steps),
    }
    return {name: value for name, value in told.items() if value not in ("", [], False)}


def _show(case: pb.RightsCase, as_json: bool) -> None:
    told = _plain(case)
    if as_json:
        print(json.dumps(told, indent=2))
        return
    for name, value in told.items():
        for one in value if isinstance(value, list) else [value]:
            print(f"{name.replace('_', ' '):<9} {'yes' if one is True else one}")
