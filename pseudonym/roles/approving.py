"""What the servicers of releases and of tables share: mandates, papers, what is noted of a record."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from pseudonym.access import Mandate
from pseudonym.errors import TamperedError
from pseudonym.release.papers import Approval
from pseudonym.roles import callers, checks
from pseudonym.roles.passage import account
from pseudonym.roles.refusals import CallerRefusedError, FieldError

T = TypeVar("T")


class Record(Protocol):
    """A release or a table as it is kept."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def persons(self) -> int: ...
    @property
    def manifest(self) -> str: ...


def mandates(request: Any) -> tuple[checks.Mandate, Mandate]:
    """The mandate of a request, and who has it."""
    found = checks.mandate(request.mandate)
    return found, Mandate(str(callers.current()), found.purpose)


def declared(request: Any) -> str:
    """The declaration that a request brings. Raises FieldError."""
    try:
        text: str = request.specification.decode()
    except UnicodeDecodeError:
        raise FieldError("The specification is no text.", field="specification") from None
    return text


def paper(read: Callable[[bytes], T], content: bytes, field: str) -> T:
    """A signed file that a request brings. Raises FieldError."""
    try:
        return read(content)
    except TamperedError:
        raise FieldError(f"This is no {field}.", "Send the file as it was made.", field=field) from None


def approval(request: Any) -> Approval:
    """The caller's approval. Raises FieldError, CallerRefusedError."""
    found = paper(Approval.from_file, request.approval, "approval")
    check_person(found.approver)
    return found


def check_person(name: str) -> None:
    """Refuse a paper that somebody else signed. Raises CallerRefusedError."""
    # The development identity is everybody.
    if callers.current().role is not None and callers.current().person != name:
        raise CallerRefusedError("The paper is another person's.", "Each sends their own.")


def note(what: str, record: Record) -> None:
    """What the call's entry in the audit log says of a record."""
    kept = account()
    kept.count = record.persons
    digest = hashlib.sha256(record.manifest.encode()).hexdigest() if record.manifest else ""
    kept.details = {what: record.name, "state": str(record.state), "manifest": digest}
