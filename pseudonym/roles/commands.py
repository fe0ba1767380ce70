"""`kinlink erase`, `renew` and `destroy`: what officers and custodians ask of a role's server.

Data on stdout, questions and complaints on stderr; exit code 0 done, 1 failed, 2 wrong usage. By what people
are sought is read from a file, never from an argument: others can see those.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from pseudonym.changes import renewal_context
from pseudonym.errors import InputError, PseudonymError
from pseudonym.files import canonical, parse, read_secret_file, replace_file
from pseudonym.hpke import OpeningKey
from pseudonym.roles.callers import SERVER_ROLES, Role
from pseudonym.roles.peer import Peer, PeerTls
from pseudonym.v1 import broker_pb2, common_pb2, key_pb2, vault_pb2

LIST_FORMAT = "kinlink-urns-renewed/1"
HOUR = 3_600.0
B, K, V = (f"/pseudonym.v1.{name}Service/" for name in ("Broker", "Key", "Vault"))
SOUGHT = ("born", "nhs", "nino", "upn", "surname", "postcode")
REASONS = {
    name.removeprefix("ERASURE_REASON_").lower().replace("_", "-"): name
    for name in vault_pb2.ErasureReason.keys()[1:]
}
_HELP: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}

erase_app = typer.Typer(name="erase", help="Erase people over all three roles, and follow it.", **_HELP)
renew_app = typer.Typer(name="renew", help="Renew a role's month key, and recipients' epochs.", **_HELP)
destroy_app = typer.Typer(name="destroy", help="End a recipient, or a project, for good.", **_HELP)

_AT = "The service"
Service = Annotated[
    str, typer.Option("--service", metavar="HOST:PORT", envvar="KINLINK_SERVICE", rich_help_panel=_AT)
]
Project = Annotated[str, typer.Option("--project", envvar="KINLINK_PROJECT", rich_help_panel=_AT)]
Purpose = Annotated[str, typer.Option("--purpose", envvar="KINLINK_PURPOSE", rich_help_panel=_AT)]
Authority = Annotated[Path, typer.Option("--ca", metavar="PEM", envvar="KINLINK_CA", rich_help_panel=_AT)]
Certificate = Annotated[
    Path, typer.Option("--cert", metavar="PEM", envvar="KINLINK_CERT", rich_help_panel=_AT)
]
Key = Annotated[Path, typer.Option("--key", metavar="PEM", envvar="KINLINK_KEY", rich_help_panel=_AT)]
RequestId = Annotated[
    str | None,
    typer.Option("--request-id", help="To ask again for what broke off: the id that was shown then."),
]
Recipient = Annotated[str, typer.Option("--recipient", help="The recipient's name.")]
Folder = Annotated[
    Path | None,
    typer.Option("--certificates", metavar="FOLDER", help="Where to put the roles' certificates."),
]
WhichRole = Annotated[Role, typer.Option("--role", help="The role that the service is.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for the name once more.")]


@contextmanager
def _called(role: Role, service: str, authority: Path, certificate: Path, key: Path) -> Iterator[Peer]:
    """The service as a role; what it refuses is told in its words."""
    with _complaining():
        try:
            tls = PeerTls(authority.read_bytes(), certificate.read_bytes(), key.read_bytes())
        except OSError as error:
            raise InputError(f"A file of the connection cannot be read: {error.strerror}.") from None
        with Peer(role, service, tls, timeout=HOUR, patience=5.0) as peer:
            yield peer


def _mandate(project: str, purpose: str, request_id: str | None) -> common_pb2.Mandate:
    found = request_id or os.urandom(8).hex()
    print(f"Request {_plain(found)}", file=sys.stderr)
    return common_pb2.Mandate(request_id=found, project=project, purpose=purpose)


# --- erase ------------------------------------------------------------------------------------------------


@erase_app.command("people")
def erase_people(
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority,
    certificate: Certificate,
    key: Key,
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
    with _called(Role.IDENTITY, service, authority, certificate, key) as peer:
        if reason not in REASONS:
            raise InputError("This is none of the reasons.", f"They are {', '.join(REASONS)}.")
        whom = vault_pb2.SoughtPersons(persons=_people(file), all_agreeing=all_agreeing)
        request = vault_pb2.EraseSubjectsRequest(
            mandate=_mandate(project, purpose, request_id), reason=REASONS[reason], sought=whom
        )
        answer = peer.call(f"{V}EraseSubjects", request, vault_pb2.EraseSubjectsResponse)
        _show_erasure(answer.erasure, None)


@erase_app.command("show")
def erase_show(
    service: Service,
    project: Project,
    authority: Authority,
    certificate: Certificate,
    key: Key,
    erasure_id: Annotated[str, typer.Argument(metavar="ERASURE", help="The id of the erasure.")],
    certificates: Folder = None,
) -> None:
    """Say how far an erasure has come."""
    with _called(Role.IDENTITY, service, authority, certificate, key) as peer:
        request = vault_pb2.GetErasureRequest(project=project, erasure_id=erasure_id)
        answer = peer.call(f"{V}GetErasure", request, vault_pb2.GetErasureResponse)
        _show_erasure(answer.erasure, certificates)


@erase_app.command("urns")
def erase_urns(
    service: Service,
    project: Project,
    authority: Authority,
    certificate: Certificate,
    key: Key,
    recipient: Recipient,
    since_day: Annotated[int, typer.Option("--since", min=0, help="Days since 1970-01-01.")] = 0,
) -> None:
    """List a recipient's reference numbers whose people were erased, and the day: of the broker."""
    with _called(Role.BROKER, service, authority, certificate, key) as peer:
        request = broker_pb2.ListErasedUrnsRequest(
            project=project, recipient=recipient, since_day=since_day, page_size=1_000
        )
        while True:
            page = peer.call(f"{B}ListErasedUrns", request, broker_pb2.ListErasedUrnsResponse)
            for one in page.erased:
                print(f"{one.urn}  {one.day}")
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return


def _people(path: Path) -> list[vault_pb2.SoughtPerson]:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise InputError("The file of people cannot be read.", "It is CSV in UTF-8.") from None
    rows = csv.DictReader(text.splitlines())
    if not set(rows.fieldnames or ["?"]) <= set(SOUGHT):
        raise InputError(
            "The file has a column that people are not sought by.", f"Known: {', '.join(SOUGHT)}."
        )
    found: list[vault_pb2.SoughtPerson] = []
    for row in rows:
        if None in row:
            raise InputError(f"Row {len(found) + 1} of the file has too many values.")
        found.append(vault_pb2.SoughtPerson(**{name: value or "" for name, value in row.items()}))
    return found


def _show_erasure(erasure: vault_pb2.Erasure, folder: Path | None) -> None:
    print(f"{erasure.erasure_id}  {'complete' if erasure.complete else 'pending'}  {erasure.persons} ids")
    for step, role in zip(erasure.steps, SERVER_ROLES, strict=True):
        print(f"{role:<10}  {_moment(step.done_time) if step.certificate else 'pending'}")
        if folder and step.certificate:
            _write(folder / f"{erasure.erasure_id}-{role}.json", step.certificate)


# --- renew ------------------------------------------------------------------------------------------------


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
    with _called(role, service, authority, certificate, key) as peer:
        request = key_pb2.RenewKekRequest(
            mandate=_mandate(project, purpose, request_id), role=_number(role), month=month
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
    with _called(role, service, authority, certificate, key) as peer:
        request = key_pb2.GetRenewalRequest(role=_number(role))
        found = peer.call(f"{K}GetRenewal", request, key_pb2.GetRenewalResponse).renewal
        _show_renewal(found)
        if certificates and found.certificate:
            _write(certificates / f"{found.renewal_id}-{role}.json", found.certificate)


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
    with _called(Role.BROKER, service, authority, certificate, key) as peer:
        _free(out)
        try:
            public = bytes.fromhex(public_key)
        except ValueError:
            raise InputError("The public key is not written in hexadecimal digits.") from None
        request = broker_pb2.RenewUrnsRequest(
            mandate=_mandate(project, purpose, None),
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
        _write(out, canonical(content))


@renew_app.command("list-key")
def list_key(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Where to put the key.")],
) -> None:
    """Make a key that opens lists, for a recipient; its public half is printed, for the officer."""
    with _complaining():
        _free(out)
        opening, secret = OpeningKey.generate()
        _write(out, secret.hex().encode() + b"\n")
        print(opening.public.hex())


@renew_app.command("open")
def open_list(
    sealed: Annotated[Path, typer.Argument(metavar="LIST", help="The sealed list.")],
    key: Annotated[Path, typer.Option("--list-key", metavar="FILE", help="The key, from 'list-key'.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where to put its parts, as Arrow.")],
) -> None:
    """Open a list from one epoch to another: Arrow streams with the columns old and new."""
    with _complaining():
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
            _write(out / f"{number:06}.arrow", part)


def _show_renewal(found: key_pb2.Renewal) -> None:
    print(f"{found.renewal_id}  {found.use}  {found.kid}  {found.total} keys were under former ones")
    for former in found.former:
        print(f"{former.kid}  {'destroyed' if found.certificate else f'{former.left} left'}")
    if found.certificate:
        print(f"Copies of the store from before {_moment(found.done_time)} cannot be read any more.")


# --- destroy ----------------------------------------------------------------------------------------------


@destroy_app.command("recipient")
def destroy_recipient(
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority,
    certificate: Certificate,
    key: Key,
    recipient: Recipient,
    certificates: Folder = None,
    epoch: Annotated[int, typer.Option("--epoch", min=0, max=31, help="One epoch; else all.")] = 0,
    yes: Yes = False,
    request_id: RequestId = None,
) -> None:
    """Destroy a recipient's epoch, or all of them, with keys and reference numbers: of the broker."""
    with _called(Role.BROKER, service, authority, certificate, key) as peer:
        _confirm(recipient, yes)
        request = broker_pb2.DestroyDomainRequest(
            mandate=_mandate(project, purpose, request_id), recipient=recipient, epoch=epoch
        )
        answer = peer.call(f"{B}DestroyDomain", request, broker_pb2.DestroyDomainResponse)
        _show_end(answer.certificate, answer.checkpoint, f"{project}-{recipient}-{epoch}", certificates)


@destroy_app.command("project")
def destroy_project(
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority,
    certificate: Certificate,
    key: Key,
    role: WhichRole,
    certificates: Folder = None,
    yes: Yes = False,
    request_id: RequestId = None,
) -> None:
    """Destroy all that one role has of a project: ask identity first, then attributes, then the broker."""
    with _called(role, service, authority, certificate, key) as peer:
        _confirm(project, yes)
        request = key_pb2.DestroyProjectRequest(
            mandate=_mandate(project, purpose, request_id), role=_number(role), confirm=project
        )
        answer = peer.call(f"{K}DestroyProject", request, key_pb2.DestroyProjectResponse)
        _show_end(answer.certificate, answer.checkpoint, f"{project}-{role}", certificates)


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
        _write(folder / f"{name}.json", certificate)
        _write(folder / f"{name}.checkpoint", checkpoint.encode())


@contextmanager
def _complaining() -> Iterator[None]:
    try:
        yield
    except PseudonymError as error:
        print(f"{_plain(error)} [{error.reason}]", file=sys.stderr)
        raise typer.Exit(1) from None


def _number(role: Role) -> str:
    if role not in SERVER_ROLES:
        raise InputError("This is no role of a server.", f"They are {', '.join(SERVER_ROLES)}.")
    return f"SERVER_ROLE_{role.upper()}"


def _free(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise InputError(f"{path} is there already.", "Nothing is written over; name another place.")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, data)


def _moment(when: Timestamp) -> str:
    return f"{datetime.fromtimestamp(when.seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _plain(text: object) -> str:
    """Text that cannot steer a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in str(text))
