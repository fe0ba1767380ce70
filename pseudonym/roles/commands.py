"""What the commands of officers and custodians have in common: options, the connection, files, complaints.

Data on stdout, questions and complaints on stderr; exit code 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import csv
import inspect
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from pseudonym.errors import InputError, PseudonymError
from pseudonym.files import replace_file
from pseudonym.roles.callers import Role
from pseudonym.roles.client import RoleClient
from pseudonym.roles.peer import Peer, PeerTls
from pseudonym.v1 import common_pb2

HOUR, REACH = 3_600.0, 8.0  # seconds of a call, and until a role that cannot be reached is given up
C = TypeVar("C", bound=RoleClient)
B, K, V = (f"/pseudonym.v1.{name}Service/" for name in ("Broker", "Key", "Vault"))
HELP: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class ServerRole(StrEnum):
    """The roles of servers, as a choice."""

    IDENTITY = "identity"
    BROKER = "broker"
    ATTRIBUTES = "attributes"


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
WhichRole = Annotated[ServerRole, typer.Option("--role", help="The role that the service is.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for the name once more.")]


@dataclass(frozen=True, slots=True)
class At:
    """The service that a command works at, and what its caller said of it."""

    service: str
    authority: Path
    certificate: Path
    key: Path
    project: str = ""
    purpose: str = ""

    def called(self, role: Role) -> AbstractContextManager[Peer]:
        """The service as a role; what it refuses is told in its words."""
        return called(role, self.service, self.authority, self.certificate, self.key)

    def calling(self, kind: type[C]) -> AbstractContextManager[C]:
        """As `called`, with the typed client of a role."""
        names = (self.project, self.purpose)
        return calling(kind, self.service, *names, self.authority, self.certificate, self.key)

    def stated(self, request_id: str | None) -> common_pb2.Mandate:
        """The mandate of a request: see `stated`."""
        return stated(self.project, self.purpose, request_id)


_CONNECTION: dict[str, Any] = {
    "service": Service,
    "project": Project,
    "purpose": Purpose,
    "authority": Authority,
    "certificate": Certificate,
    "key": Key,
}


def at_service(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command that works at a service; its first parameter, `at`, stands for the options of it.

    Args:
        without: `project` or `purpose`, where the service asks for none.
    """
    shared = {name: kind for name, kind in _CONNECTION.items() if name not in without}

    def decorated(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def command(**given: Any) -> None:
            function(At(**{name: given.pop(name) for name in shared}), **given)

        hints = get_type_hints(function, include_extras=True)
        own = [
            one.replace(annotation=hints[one.name], kind=one.KEYWORD_ONLY)
            for one in list(inspect.signature(function).parameters.values())[1:]
        ]
        options = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind)
            for name, kind in shared.items()
        ]
        whole = [*own, *options]
        command.__signature__ = inspect.Signature(whole)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in whole}
        del command.__wrapped__  # typer would look at what it says, and not at this
        return command

    return decorated


@contextmanager
def called(role: Role, service: str, authority: Path, certificate: Path, key: Path) -> Iterator[Peer]:
    """The service as a role; what it refuses is told in its words."""
    with complaining():
        tls = _tls(authority, certificate, key)
        with Peer(role, service, tls, timeout=HOUR, patience=REACH, person=True) as peer:
            yield peer


@contextmanager
def calling(
    kind: type[C], service: str, project: str, purpose: str, authority: Path, certificate: Path, key: Path
) -> Iterator[C]:
    """As `called`, with the typed client of a role."""
    with complaining():
        tls = _tls(authority, certificate, key)
        with kind(service, project=project, purpose=purpose, tls=tls, patience=REACH) as client:
            yield client


def _tls(authority: Path, certificate: Path, key: Path) -> PeerTls:
    try:
        return PeerTls(authority.read_bytes(), certificate.read_bytes(), key.read_bytes())
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be read: {error.strerror}.", "Correct --ca, --cert or --key."
        ) from None


def stated(project: str, purpose: str, request_id: str | None) -> common_pb2.Mandate:
    """The mandate of a request; its id is shown, so that the request can be sent again."""
    found = request_id or os.urandom(8).hex()
    print(f"Request {plain(found)}", file=sys.stderr)
    return common_pb2.Mandate(request_id=found, project=project, purpose=purpose)


@contextmanager
def complaining() -> Iterator[None]:
    """Say what is wrong and what to do, and end with exit code 1."""
    try:
        yield
    except PseudonymError as error:
        print(f"{plain(error)} [{error.reason}]", file=sys.stderr)
        raise typer.Exit(1) from None


def number_of(role: StrEnum) -> str:
    """A role of servers as messages name it."""
    return f"SERVER_ROLE_{role.upper()}"


def free(path: Path) -> None:
    """Do nothing if there is nothing at a place yet. Raises InputError."""
    if path.exists() or path.is_symlink():
        raise InputError(f"{path} is there already.", "Nothing is written over; name another place.")


def write(path: Path, data: bytes) -> None:
    """Write a file that its owner alone can read."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, data)


def moment(when: Timestamp) -> str:
    """A moment, as people and programs read it."""
    return f"{datetime.fromtimestamp(when.seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def plain(text: object) -> str:
    """Text that cannot steer a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in str(text))


def several(text: str) -> str:
    """Text of several lines that cannot steer a terminal."""
    return "\n".join(plain(line) for line in text.split("\n"))


def content_of(path: Path) -> bytes:
    """The bytes of a file that somebody named. Raises InputError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


def rows_of(
    path: Path, what: str, columns: Sequence[str], *, all_of_them: bool = False
) -> list[dict[str, str]]:
    """The rows of a CSV file that somebody named; '-' is stdin. No value of it is repeated.

    Args:
        path: the file.
        what: what it is a file of.
        columns: those that it may have.
        all_of_them: whether it must have each.

    Raises:
        InputError: it cannot be read as such a file.
    """
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(
            f"The file of {what}, {plain(path)}, cannot be read: {error.strerror}.", "Name one that is there."
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"The file of {what} is not in UTF-8.", "Save it as CSV in UTF-8.") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        named, rows = reader.fieldnames or (), list(reader)
    except csv.Error:
        raise InputError(
            f"The file of {what} is no CSV file: a quotation mark is not closed, or a value is too long.",
            "Write it anew.",
        ) from None
    there = set(named)
    if not there:
        raise InputError(f"The file of {what} is empty.", f"Its first line names {', '.join(columns)}.")
    if not there <= set(columns) or (all_of_them and len(there) < len(columns)):
        raise InputError(
            f"The first line of the file of {what} names other columns than it can have.",
            f"They are {', '.join(columns)}.",
        )
    if len(there) < len(named):
        raise InputError(
            f"The first line of the file of {what} names a column twice.", "Name each column once."
        )
    found: list[dict[str, str]] = []
    for row in rows:
        if None in row:
            raise InputError(
                f"Row {len(found) + 1} of the file of {what} has more values than there are columns.",
                "Put a value that has a comma between quotation marks.",
            )
        if None in row.values():
            raise InputError(
                f"Row {len(found) + 1} of the file of {what} has fewer values than there are columns.",
                "Put a comma for each, also where a value is empty.",
            )
        found.append(row)
    return found


def now() -> datetime:
    """This moment, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)
