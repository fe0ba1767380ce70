"""The way of a call through a role: who calls, whether this caller may, and an entry in the role's audit log.

    enter ──▶ caller known? may call the method? ──▶ work ──▶ entry on disk ──▶ reply

The rules this module keeps:

- No reply goes out before the entry that tells of the call is on disk. If it cannot be written, an error
  goes out.
- A call that a known caller was refused, broke off or that failed has its entry too. Who cannot even say who
  it is gets none: strangers do not fill the log.
- Refusals of one caller, method and status within a minute are one entry, and another with the number of
  the others (`folding`); so are a server's own questions that found nothing, within a day. Nothing is held
  back of a call that touched anything, or may have.
- What uses people's data is let in for a purpose that has a lawful basis, and not after the project's end;
  the entry's details say the basis.
- What comes in to be stored has a schedule that says how long it is kept.
- The open part of an entry holds names and codes only. A purpose in the caller's own words, and a project's
  name of another form, go into the sealed details, and so does the id of the submission or job that a call
  names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol

from pseudonym import clock
from pseudonym.audit.entries import Event
from pseudonym.errors import EndedError, InputError
from pseudonym.lawful.cover import Cover
from pseudonym.retention.schedules import EVERY, Store
from pseudonym.roles import callers
from pseudonym.roles.callers import SERVER_ROLES, Caller, Role
from pseudonym.roles.folding import DAY, MINUTE, Folding
from pseudonym.roles.policy import METHODS, OWN_ONLY, POLLS, QUICK
from pseudonym.roles.refusals import CallerUnknownError
from pseudonym.roles.threads import to_log

NO_PURPOSE = "none-stated"
OWN_WORDS = "in-details"

EXTRACTS = "/linker.v1.IntakeService/SubmitExtract"
STORES = {
    EXTRACTS: Store.IDENTITY,
    "/linker.v1.IntakeService/SubmitIdentities": Store.IDENTITY,
    "/linker.v1.LinkageService/StartJoin": Store.IDENTITY,
    "/linker.v1.MatchService/PutRecords": Store.IDENTITY,
    "/pseudonym.v1.AttributeService/SubmitAttributes": Store.ATTRIBUTES,
    "/pseudonym.v1.AttributeService/AttachDataset": Store.ATTRIBUTES,
    "/pseudonym.v1.BrokerService/MapSubjects": Store.BROKER,
    "/pseudonym.v1.BrokerService/LinkRegister": Store.BROKER,
}
"""What brings something in, and where it is kept: refused where there is no schedule for it."""

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
_LONGEST_DETAIL = 1_000  # characters
_NAMES = ("submission_id", "job_id")  # what a call names, and the details tell


class Log(Protocol):
    """Where entries go: durable when `append` returns."""

    def append(self, events: Sequence[Event], /) -> object: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a role serves.

    Attributes:
        ends: when each project ends.
        cover: what each project stands on.
    """

    ends: Mapping[str, datetime]
    cover: Cover


@dataclass(slots=True)
class Account:
    """What the work adds to the entry of its call.

    Attributes:
        count: how many persons, rows or keys it concerned.
        subject: 32 bytes that a keyed function made of the one person's internal id, or empty.
        details: what else has to be kept, for the data protection officer alone; never a value of a person
            that is not needed to answer for the call.
    """

    count: int = 0
    subject: bytes = b""
    details: Mapping[str, str] | None = None


_UNTOUCHED = frozenset(
    {
        "PERMISSION_DENIED",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "FAILED_PRECONDITION",
        "RESOURCE_EXHAUSTED",
    }
)
"""With which a quick call is refused before it has done anything; if it has, its account says so."""

_account: ContextVar[Account] = ContextVar("account")


_grounds: ContextVar[str] = ContextVar("grounds", default="")


def account() -> Account:
    """The account of the call that the present task or thread works on."""
    return _account.get()


def grounds() -> str:
    """What the present call stands on, as JSON; empty where nobody was asked."""
    return _grounds.get()


class Desk:
    """Where a server lets calls in, and accounts for them in the log of the role that serves them."""

    def __init__(
        self,
        logs: Mapping[Role, Log],
        terms: Mapping[Role, Terms],
        *,
        development: bool,
        domain: str = "",
    ) -> None:
        """Prepare it.

        Args:
            logs: the log of each role that the server runs.
            terms: of each of these roles.
            development: whether callers without a certificate are the development identity.
            domain: the domain that callers must be of, or an empty string for any.
        """
        self._logs, self._terms = dict(logs), terms
        self._development, self._domain = development, domain
        self._folding = Folding()

    async def close(self) -> None:
        """Write the entries that were held back; the last thing before the logs are closed.

        Raises:
            PseudonymError: a log takes no entries.
        """
        await self._folding.close()

    def enter(self, method: str, context: Any) -> Passage:
        """Let a call in.

        Args:
            method: its full name, which is in the table.
            context: gRPC's.

        Raises:
            CallerUnknownError: who calls cannot be told.
        """
        caller = callers.caller_of(context.auth_context(), development=self._development)
        if self._domain and caller.domain != self._domain and caller is not callers.DEVELOPMENT:
            raise CallerUnknownError("The caller is of another domain.", "Ask for a certificate of this one.")
        callers.enter(caller)
        kept = Account()
        _account.set(kept)
        return Passage(method, caller, kept, self._logs, self._terms, self._folding)


class Passage:
    """One call that was let in."""

    def __init__(
        self,
        method: str,
        caller: Caller,
        kept: Account,
        logs: Mapping[Role, Log],
        terms: Mapping[Role, Terms],
        folding: Folding,
    ) -> None:
        """Not to be called: use `Desk.enter`."""
        self._folding = folding
        self._method, self._rule, self._caller = method, METHODS[method], caller
        self._account, self._logs, self._terms = kept, logs, terms
        self._purpose = self._project = ""
        self._named: dict[str, str] = {}
        self._role: Role | None = None
        self._begun = False

    @property
    def caller(self) -> str:
        """Who calls, as in the certificate."""
        return str(self._caller)

    @property
    def only_own(self) -> bool:
        """Whether the caller sees no submissions and judgements but its own."""
        return self._caller.role in OWN_ONLY

    def allowed(self) -> None:
        """Raise CallerRefusedError if the caller's role may not call the method."""
        self._rule.check(self._caller)

    def received(self, message: Any) -> None:
        """Take from the first message what the entry says of the call.

        Raises:
            EndedError: the call would add to a project that has ended, or give out something of it.
            LawError: the project has no such purpose with a lawful basis, or none where the call names none.
        """
        header = getattr(message, "header", None) or message
        stated = getattr(header, "mandate", None) or header
        self._purpose, self._project = getattr(stated, "purpose", ""), getattr(stated, "project", "")
        self._named = {name: text for name in _NAMES if (text := getattr(message, name, ""))}
        wanted = getattr(message, "role", 0)
        if 0 < wanted <= len(SERVER_ROLES):
            self._role = SERVER_ROLES[wanted - 1]
        if self._rule.growing:
            self._check_end(clock.now())
        if self._rule.covered:
            self._check_cover(_datasets(self._method, header), clock.today())
        if self._rule.covered_by_project:
            for role in self._rule.served_by:
                if (terms := self._terms.get(role)) is not None:
                    terms.cover.check_project(self._project, clock.today())
        self._begun = True

    def _check_end(self, now: datetime) -> None:
        for role in self._rule.served_by:
            terms = self._terms.get(role)
            end = terms.ends.get(self._project) if terms else None
            if end is not None and now >= end:
                raise EndedError("The project has ended.", "Its end stands in the role's governance file.")

    def _check_cover(self, datasets: Sequence[str], today: date) -> None:
        for role in self._rule.served_by:
            if (terms := self._terms.get(role)) is None:
                continue
            cover = terms.cover
            if cover.check_columns(self._project, self._purpose, datasets, (), today) is not None:
                if (store := STORES.get(self._method)) is not None:
                    for dataset in datasets or [EVERY]:
                        cover.check_kept(self._project, store, dataset)
                said = cover.grounds(self._project, self._purpose)
                self._named["grounds"] = "; ".join(said.values())
                _grounds.set(json.dumps(said))

    async def replying(self) -> None:
        """Put the entry on disk."""
        asked_in_vain = self._method in POLLS and self._caller.role in SERVER_ROLES and self._touched_nothing
        await self._append("", DAY if asked_in_vain else 0.0)

    async def refused(self, code: str) -> None:
        """Put an entry on disk that tells of the failure."""
        quick = self._rule.seconds <= QUICK
        idle = not self._begun or (quick and code in _UNTOUCHED and self._touched_nothing)
        await self._append(f".{code.lower().replace('_', '-')}", MINUTE if idle else 0.0)

    @property
    def _touched_nothing(self) -> bool:
        return not (self._account.count or self._account.subject or self._account.details)

    async def _append(self, outcome: str, held: float) -> None:
        """Put the entry on disk, or hold it back for so many seconds if it is one of several alike."""
        served_by = [role for role in self._rule.served_by if role in self._logs]
        role = self._role if self._role in served_by else served_by[0]
        event = self._event(action(self._method) + outcome)

        async def write(event: Event) -> None:
            await to_log(self._logs[role].append, [event])

        if not held:
            await write(event)
            return
        alike = (role, event.actor, event.action, self._project if held == DAY else "")
        await self._folding.take(alike, event, held, write)

    def _event(self, done: str) -> Event:
        kept = self._account
        details = {name: text[:_LONGEST_DETAIL] for name, text in self._named.items()}
        details |= self._account.details or {}
        purpose, project = self._purpose or NO_PURPOSE, self._project
        if not _fits(Event("x", "x", purpose)):
            details["purpose"], purpose = purpose[:_LONGEST_DETAIL], OWN_WORDS
        if not _fits(Event("x", "x", "x", project)):
            details["project"], project = project[:_LONGEST_DETAIL], ""
        sealed = json.dumps(details, sort_keys=True).encode() if details else b""
        return Event(str(self._caller), done, purpose, project, kept.subject, kept.count, sealed)


def action(method: str) -> str:
    """How the log calls a method: "vault/look-up" for "/pseudonym.v1.VaultService/LookUp"."""
    service, _, name = method[1:].partition("/")
    service = service.rpartition(".")[2].removesuffix("Service")
    return f"{service.lower()}/{_CAPITAL.sub('-', name).lower()}"


def _datasets(method: str, header: Any) -> list[str]:
    """The datasets that a call names in its first message."""
    named = [getattr(header, name, "") for name in ("dataset", "register")]
    if method == EXTRACTS:
        named.append(header.source.lower())  # who sends an extract calls it by its register
    return [name for name in named if name]


def _fits(event: Event) -> bool:
    """Whether a text may stand in the open part of an entry."""
    try:
        event.check()
    except InputError:
        return False
    return True
