"""What every servicer checks of a request before anything is done: mandate, role, page, request id."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from pseudonym.audit import Event
from pseudonym.errors import InputError
from pseudonym.roles.callers import SERVER_ROLES, Role
from pseudonym.roles.refusals import ElsewhereError, FieldError
from pseudonym.roles.repeats import Repeats
from pseudonym.urn import ID_BYTES, Kind, check_label
from pseudonym.v1 import common_pb2

PAGE, LARGEST_PAGE = 100, 1_000
KINDS = {Kind.PERSON: common_pb2.SUBJECT_KIND_PERSON, Kind.FAMILY: common_pb2.SUBJECT_KIND_FAMILY}

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_CODE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PURPOSE = re.compile(r"[a-z](?:[a-z0-9./-]{0,61}[a-z0-9])?")

H = TypeVar("H")


@dataclass(frozen=True, slots=True)
class Mandate:
    """Who asks for a change, and why.

    Attributes:
        request_id: the id of the request.
        project: the project's name.
        purpose: the code of the purpose.
    """

    request_id: str
    project: str
    purpose: str


def mandate(message: common_pb2.Mandate) -> Mandate:
    """Read the mandate of a request.

    Raises:
        FieldError: a part of it is missing or malformed.
    """
    if not _REQUEST_ID.fullmatch(message.request_id):
        raise FieldError(
            "request_id is 8 to 64 letters, digits, dots, hyphens or underscores.",
            "Make a new one for each request.",
            field="mandate.request_id",
        )
    why = purpose(message.purpose, "mandate.purpose")
    project = label(message.project, "mandate.project")
    _check_for_log(Event("x", "x", "x", project), "project", "mandate.project")
    return Mandate(message.request_id, project, why)


def purpose(text: str, field: str) -> str:
    """The code of a purpose.

    Raises:
        FieldError: it has not the form of one.
    """
    if not _PURPOSE.fullmatch(text):
        raise FieldError(
            "purpose is a code of at most 63 small letters, digits, dots, slashes and hyphens.",
            "Name the purpose as your register of purposes does, in such letters.",
            field=field,
        )
    _check_for_log(Event("x", "x", text), "purpose", field)
    return text


def _check_for_log(event: Event, what: str, field: str) -> None:
    """Refuse what the audit log would refuse, before anything is done that it could then not tell of."""
    try:
        event.check()
    except InputError:
        raise FieldError(
            f"The {what} holds what could be a number or a date of a person.",
            "Five digits running, or more than eight, stand in no name of a project or purpose.",
            field=field,
        ) from None


def label(text: str, field: str) -> str:
    """The name of a project or recipient.

    Raises:
        FieldError: it has not the form of one.
    """
    try:
        return check_label(text, field.rpartition(".")[2])
    except InputError as error:
        raise FieldError(error.message, error.help, field=field) from None


def code(text: str, field: str) -> str:
    """A sender's own id.

    Raises:
        FieldError: it has not the form of one.
    """
    if not _CODE.fullmatch(text):
        raise FieldError(
            f"{field} is 1 to 64 letters, digits, dots, hyphens or underscores.", "Correct it.", field=field
        )
    return text


def kind(value: int, field: str = "kind") -> Kind:
    """What is meant: persons or families.

    Raises:
        FieldError: neither.
    """
    for known, number in KINDS.items():
        if number == value:
            return known
    raise FieldError("kind is SUBJECT_KIND_PERSON or SUBJECT_KIND_FAMILY.", "Name one.", field=field)


def house(houses: Mapping[Role, H], number: int) -> H:
    """The role that a request means: the only one that the server runs, or the one it names.

    Raises:
        FieldError: the server runs several, and none is named.
        ElsewhereError: the one that is named is not run by this server.
    """
    if number == common_pb2.SERVER_ROLE_UNSPECIFIED:
        if len(houses) > 1:
            raise FieldError("The server runs several roles.", "Say which one is meant.", field="role")
        return next(iter(houses.values()))
    found = houses.get(SERVER_ROLES[number - 1]) if 0 < number <= len(SERVER_ROLES) else None
    if found is None:
        raise ElsewhereError("This server does not run that role.", "Ask the server that does.")
    return found


def page(request: Any) -> tuple[int, int]:
    """The first place, counted from 0, and the size of the page that a request asks for.

    Raises:
        FieldError: the token is none of ours.
    """
    token = request.page_token
    if token and not (token.isascii() and token.isdecimal() and len(token) <= 18):
        raise FieldError(
            "The page token is none.", "Give back the one of the page before.", field="page_token"
        )
    return int(token or 0), min(request.page_size or PAGE, LARGEST_PAGE)


def day(text: str, field: str) -> date:
    """A day as YYYY-MM-DD.

    Raises:
        FieldError: it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise FieldError(f"{field} is a day as YYYY-MM-DD.", "Correct it.", field=field) from None


def place(token: str) -> bytes:
    """The id after which a page begins, of a token that is one in hexadecimal; nothing for the first page.

    Raises:
        FieldError: the token is none of ours.
    """
    try:
        found = bytes.fromhex(token)
    except ValueError:
        found = b"?"
    if len(found) not in (0, ID_BYTES):
        raise FieldError(
            "The page token is none.", "Give back the one of the page before.", field="page_token"
        )
    return found


def next_token(first: int, size: int, total: int) -> str:
    """The token of the page after the one that begins at `first`; nothing if there is none."""
    return str(first + size) if first + size < total else ""


def once(repeats: Repeats, method: str, request: Any, response: Any, work: Callable[[], Any]) -> Any:
    """Do the work of a request, unless it was done before: see `Repeats.once`.

    Args:
        repeats: of the role.
        method: its name.
        request: the request, which has a mandate.
        response: the kind of the response.
        work: makes the response.
    """
    done = repeats.once(
        request.mandate.request_id, digest(method, request), lambda: work().SerializeToString()
    )
    return response.FromString(done)


def digest(method: str, request: Any) -> str:
    """What a request is known by, its id and all that it asks included."""
    content = request.SerializeToString(deterministic=True)
    return hashlib.sha256(method.encode() + b"\x00" + content).hexdigest()


def timestamp(moment: datetime) -> Timestamp:
    """A moment as a message."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message
