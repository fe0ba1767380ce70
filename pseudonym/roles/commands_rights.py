"""`kinlink rights`: people's requests are taken in, followed, decided and answered.

Who is meant and what is corrected are read from files, never from arguments: others can see those.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pseudonym.errors import InputError
from pseudonym.files import read_secret_file
from pseudonym.hpke import OpeningKey
from pseudonym.rights.cases import Asker, Delay, Outcome, Proof, Truth
from pseudonym.rights.halves import joined, tables
from pseudonym.rights.reasons import Refusal, Right
from pseudonym.roles.callers import Role
from pseudonym.roles.commands import (
    HELP,
    At,
    Project,
    RequestId,
    at_service,
    complaining,
    free,
    plain,
    write,
)
from pseudonym.roles.commands_erase import REASONS as GROUNDS
from pseudonym.roles.commands_erase import read_people
from pseudonym.v1 import rights_pb2 as pb

R = "/pseudonym.v1.RightsService/"
rights_app = typer.Typer(name="rights", help="Take in, decide and answer people's requests.", **HELP)

CaseId = Annotated[str, typer.Argument(metavar="CASE", help="The id of the case.")]
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
    with at.called(Role.IDENTITY) as peer:
        request = pb.OpenRequestRequest(
            mandate=at.stated(request_id),
            right=_number(pb.Right, "RIGHT", right),
            received=received,
            asker=_number(pb.Asker, "ASKER", asker),
            proofs=[_number(pb.AskerProof, "ASKER_PROOF", one) for one in proof or ()],
            sought=read_people(file) if file else (),
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
    request_id: RequestId = None,
    as_json: Json = False,
) -> None:
    """Decide a case; what follows is carried out over all three roles."""
    with at.called(Role.IDENTITY) as peer:
        if ground and ground not in GROUNDS:
            raise InputError("This is none of the grounds.", f"They are {', '.join(GROUNDS)}.")
        request = pb.DecideRequest(
            mandate=at.stated(request_id),
            case_id=case_id,
            outcome=_number(pb.RightOutcome, "RIGHT_OUTCOME", outcome),
            reasons=[_number(pb.RightRefusal, "RIGHT_REFUSAL", one) for one in reason or ()],
            proofs=[_number(pb.AskerProof, "ASKER_PROOF", one) for one in proof or ()],
            purposes=not_for or (),
            corrections=_corrections(correct) if correct else (),
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


@rights_app.command("open")
def open_answer(
    project: Project,
    case_id: CaseId,
    folder: Annotated[Path, typer.Option("--in", metavar="FOLDER", help="Where the two halves are.")],
    key: Annotated[
        list[Path],
        typer.Option(
            "--key", metavar="PEM", help="The officer's private key; again if the roles know different ones."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where to put the answer.")],
    eligibility: Annotated[
        Path | None,
        typer.Option("--eligibility", metavar="CSV", help="The council's why.csv, for the family's row."),
    ] = None,
    family: Annotated[
        str, typer.Option("--family", metavar="REFERENCE", help="Which family's row of it.")
    ] = "",
) -> None:
    """Join the two halves of an answer, on the officer's own machine: JSON, and CSV of what was provided."""
    with complaining():
        if bool(eligibility) != bool(family):
            raise InputError("--eligibility and --family stand together.", "Give both or neither.")
        halves = [_half(folder / f"{case_id}.{half}") for half in ("identity", "attributes")]
        document = joined([_officer(one) for one in key], case_id, project, *halves)
        if eligibility:
            document["eligibility"] = _eligibility(eligibility, family)
        files = {"answer.json": json.dumps(document, ensure_ascii=False, indent=2) + "\n"}
        if document["case"]["right"] == Right.PORTABILITY:
            files |= tables(document)
        for name in files:
            free(out / name)
        for name, text in files.items():
            write(out / name, text.encode())
            print(out / name)


def _half(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise InputError(f"{path} cannot be read.", "kinlink rights answer puts both halves there.") from None


def _officer(path: Path) -> OpeningKey:
    try:
        key = load_pem_private_key(read_secret_file(path, "officer's key"), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PrivateKey):
        raise InputError(f"{path} is no X25519 private key in PEM.", "It is the officer's own, unlocked.")
    return OpeningKey(key.private_bytes_raw())


def _eligibility(path: Path, family: str) -> dict[str, str]:
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError):
        raise InputError("The council's file cannot be read.", "It is CSV in UTF-8.") from None
    for row in rows:
        if row.get("family") == family:
            return dict(row)
    raise InputError("The council's file has no row of this family.", "Check the reference.")


def _corrections(path: Path) -> list[pb.RightsCorrection]:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise InputError("The file of corrections cannot be read.", "It is CSV in UTF-8.") from None
    rows = csv.DictReader(text.splitlines())
    if set(rows.fieldnames or ()) != {"field", "value"}:
        raise InputError("The file of corrections has other columns.", "They are field and value.")
    return [pb.RightsCorrection(field=row["field"], value=row["value"] or "") for row in rows]


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
