"""The steps of a release, each only after the one before: create, check, approve, read, destroyed.

The rules this module keeps:

- Building reads nothing but what the specification names, in one state of the store, as a reading that the
  audit log has before. If somebody is erased or restricted while it is built, nothing of it is kept.
- A build is given out only after two approvals of exactly this build, before it expires, to the researchers
  that it names, and as long as nobody who is in it was erased, moved or restricted since, or lost rows.
- What was given out is never built anew under its name: later releases are held against it.
- Content is deleted when the recipient states that its copy is destroyed, and when it expires, whichever
  comes first.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

import polars as pl

from pseudonym import outcomes, reading
from pseudonym.access import Mandate
from pseudonym.approvers import Register
from pseudonym.attributes import Attributes
from pseudonym.datasets import Dataset, Tag
from pseudonym.errors import ConflictError, InputError, NotFoundError, ReleaseError
from pseudonym.lawful.cover import Cover
from pseudonym.release import bundle, opted_out
from pseudonym.release.build import FAMILY, PERSON, Built, build, numbered
from pseudonym.release.checks import Checked, check, suppress, unknown_columns
from pseudonym.release.columns import Out, read_columns
from pseudonym.release.differences import Earlier
from pseudonym.release.keeping import Record, State
from pseudonym.release.papers import Approval, Statement, check_approval, complete
from pseudonym.release.report import Report
from pseudonym.release.spec import Spec, digest, other_use
from pseudonym.retention.schedules import Store
from pseudonym.urn import Kind

Issue = Callable[[str, str, Kind, Sequence[bytes], str], list[str]]
"""Gives a project's persons or families their numbers for a recipient and purpose, in their order."""
Certify = Callable[[Record, Statement], bytes]
"""Signs the attributes role's certificate of a destruction."""
DAY = 86_400  # seconds
_GIVEN_OUT = (State.DELIVERED, State.DESTROYED)


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided of releases elsewhere: who may approve, what must be in none, what is lawful."""

    register: Register
    canaries: tuple[str, ...] = ()
    cover: Cover = field(default_factory=Cover)


class ReleaseDesk:
    """The releases of one attributes role; its methods may be called from any thread."""

    def __init__(
        self,
        attributes: Attributes,
        issue: Issue,
        decided: Decided,
        certify: Certify,
        follow: Callable[[str], object] = lambda project: None,
    ) -> None:
        """Prepare it.

        Args:
            attributes: the attribute store's operations.
            issue: see `Issue`.
            decided: see `Decided`.
            certify: see `Certify`.
            follow: has the store follow all that the broker knows of a project, before anything is built.
        """
        self._attributes, self._kept = attributes, attributes.releases
        self._issue, self._decided, self._certify = issue, decided, certify
        self._follow = follow
        self._lock = threading.Lock()

    def create(self, spec_text: str, requester: str, mandate: Mandate, project: str) -> Record:
        """Keep a specification; the same again does nothing.

        Raises:
            InputError: it is none, is for another project or purpose, or names what is not declared.
            LawError: the purpose does not cover what it would use, or who would read it.
            ConflictError: there is a release of this name with another specification.
        """
        spec = Spec.from_toml(spec_text)
        if (spec.project, spec.purpose) != (project, mandate.purpose):
            raise other_use("specification", spec.project, spec.purpose)
        now = self._now()
        if spec.expires <= now:
            raise InputError("The release would have expired already.", "Give a later time.")
        declared = self._declared(spec)
        self._check_law(spec, declared, now)
        missing = unknown_columns(spec, declared, now.date())
        if missing:
            raise InputError(f"Sets name columns that no table has: {', '.join(missing)}.", "Correct them.")
        with self._lock:
            try:
                known = self._kept.get(project, spec.name)
            except NotFoundError:
                expires = int(spec.expires.timestamp())
                names = (project, spec.name, spec.recipient)
                return self._kept.add(Record(b"", *names, State.CREATED, spec_text, requester, expires))
            if known.spec != spec_text or known.requester != requester:
                raise ConflictError("There is another release of this name.", "Give this one a new name.")
            return known

    def check(self, project: str, name: str, mandate: Mandate) -> Record:
        """Build a release from what the store has now, and check it; approvals of an earlier build are void.

        Raises:
            ReleaseError: it was given out, has expired, or somebody was erased or restricted meanwhile.
            InputError: it is for another purpose, or the rows are not of the form that it asks for.
        """
        self._follow(project)
        with self._lock:
            record = self._kept.get(project, name)
            spec = _for_purpose(record, mandate)
            if record.state in _GIVEN_OUT:
                raise ReleaseError("The release was given out already.", "Make another under a new name.")
            now = self._now()
            _check_time(record, now)
            declared = self._declared(spec)
            self._check_law(spec, declared, now)
            self._check_opt_outs(spec, now)
            # Or somebody's rows of one dataset would be older than those of another.
            with self._attributes.snapshot():
                plain, everybody = self._built(spec, declared, mandate, now)
            aids = plain.members[PERSON].to_list()
            built, blanked = suppress(spec, self._with_numbers(spec, plain, mandate))
            earlier = self._earlier(record, aids)
            report = check(
                Checked(spec, declared, built, everybody, blanked, earlier, self._decided.canaries, now)
            )
            content = bundle.packed(built, record.spec, self._said(record, spec, built, report, now))
            state = State.BLOCKED if report.blocked else State.CHECKED
            record = replace(
                record,
                state=state,
                built=int(now.timestamp()),
                persons=len(aids),
                manifest=content.manifest.decode(),
                report=report.to_file().decode(),
                columns={table.name: [asdict(out) for out in table.columns] for table in built.tables},
                approvals=(),
            )
            # What is blocked is not even kept: there is nothing to approve, and nothing to read.
            sealed = bundle.sealed(self._kept.key(record), record.id, content) if not report.blocked else ()
            return self._kept.put(record, sealed, aids)

    def approve(self, project: str, name: str, mandate: Mandate, approval: Approval) -> Record:
        """Keep an approval; the second makes the release readable.

        Raises:
            InputError: the release is for another purpose.
            RequestRefusedError: it does not count.
            ReleaseError: there is nothing to approve, or it is not whole any more.
        """
        with self._lock:
            record, now = self._kept.get(project, name), self._now()
            spec = _for_purpose(record, mandate)
            _check_time(record, now)
            if record.state not in (State.CHECKED, State.APPROVED):
                raise ReleaseError(f"The release is {record.state}: there is nothing to approve.")
            self._check_whole(record)
            given = tuple(Approval.from_file(one.encode()) for one in record.approvals)
            if approval in given:
                return record
            check_approval(*self._approvable(record, spec), approval, given, now)
            given = (*given, approval)
            files = tuple(one.to_file().decode() for one in given)
            record = replace(record, approvals=files)
            if len(given) >= 2:
                complete(*self._approvable(record, spec), given, now)
                record = replace(record, state=State.APPROVED)
            return self._kept.put(record)

    def read(
        self, project: str, name: str, mandate: Mandate, person: str | None
    ) -> tuple[Record, Iterator[bytes]]:
        """The sealed bundle, piece by piece, for a researcher whom it names (None: the development identity).

        Raises:
            NotFoundError: there is none that names this person.
            InputError: it is for another purpose.
            ReleaseError: it is not approved, has expired, or is not whole any more.
            RequestRefusedError: an approver may approve no longer.
        """
        with self._lock:
            record, now = self._kept.get(project, name), self._now()
            spec = Spec.from_toml(record.spec)
            if person is not None and person not in spec.researchers:
                raise NotFoundError("The project has no release of this name for you.", "Ask who made it.")
            _for_purpose(record, mandate)
            _check_time(record, now)
            if record.state not in (State.APPROVED, State.DELIVERED):
                over = record.state is State.DESTROYED
                raise ReleaseError(
                    f"The release is {record.state}, and not approved.",
                    "Ask for another one." if over else "Ask its approvers.",
                )
            self._check_law(spec, self._declared(spec), now, person)
            self._check_whole(record)
            given = [Approval.from_file(one.encode()) for one in record.approvals]
            complete(*self._approvable(record, spec), given, now)
            head = bundle.head(self._kept.key(record), record.id, spec.sealing_key)
            if not record.delivered:
                self._check_opt_outs(spec, now)
                self._attributes.rights.disclosed(record, int(now.timestamp()) // DAY)
                record = replace(record, state=State.DELIVERED, delivered=int(now.timestamp()))
                self._kept.put(record)
        return record, self._given_out(record, head)

    def _given_out(self, record: Record, head: bytes) -> Iterator[bytes]:
        yield head
        yield from self._kept.parts(record)
        self._check_whole(record)  # or what was cut off by an erasure would pass for whole

    def certify_destroyed(self, project: str, name: str, statement: Statement) -> Record:
        """Record the recipient's statement that its copies are destroyed, and delete what is kept of it here.

        Raises:
            RequestRefusedError: the statement is not the recipient's about this release.
            ReleaseError: it was never given out.
        """
        with self._lock:
            record = self._kept.get(project, name)
            if record.state is State.DESTROYED:
                if record.statement == statement.to_file().decode():
                    return record
                raise ReleaseError("Its destruction was stated already.", "GetRelease shows the statement.")
            if record.state is not State.DELIVERED:
                raise ReleaseError("The release was never given out.", "There is nothing to destroy.")
            spec = Spec.from_toml(record.spec)
            if statement.who not in spec.researchers:
                raise NotFoundError("The project has no release of this name for you.", "Ask who made it.")
            statement.check(_digest(record), spec.signing_key, self._now())
            self._kept.drop_parts(record)
            record = replace(record, state=State.DESTROYED, statement=statement.to_file().decode())
            certificate = self._certify(record, statement).decode()
            return self._kept.put(replace(record, certificate=certificate))

    def get(self, project: str, name: str) -> Record:
        """One release. Raises NotFoundError."""
        return self._kept.get(project, name)

    def all(self, project: str) -> list[Record]:
        """The releases of a project, by name."""
        return self._kept.all(project)

    def overdue(self) -> list[Record]:
        """Releases that were given out, have expired, and of which nobody stated the destruction."""
        now = self._kept.now()
        return [one for one in self._kept.everywhere() if one.state is State.DELIVERED and now >= one.expires]

    def drop_expired(self) -> int:
        """Delete the content of releases that have expired; how many had some."""
        now = self._kept.now()
        expired = [one for one in self._kept.everywhere() if now >= one.expires]
        return sum(bool(self._kept.drop_parts(one)) for one in expired)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._kept.now(), UTC)

    def _check_law(
        self, spec: Spec, declared: Mapping[str, Dataset], now: datetime, person: str | None = None
    ) -> None:
        """Refuse what the purpose does not cover; of the readers, one, or all whom the release names."""
        cover, use = self._decided.cover, (spec.project, spec.purpose)
        names = {one.name for one in spec.datasets} - {outcomes.NAME}
        tags = frozenset[Tag]().union(
            *(declared[one.name].column(name).tags for one in spec.datasets for name in one.reads)
        )
        cover.check_columns(*use, names, tags, now.date())
        cover.check_kept(spec.project, Store.RECIPIENT)
        cover.check_expiry(spec.project, spec.expires)
        cover.check_readers(*use, (person,) if person else spec.researchers, tags, now.date())

    def _declared(self, spec: Spec) -> dict[str, Dataset]:
        known = {one.name: one for one in self._attributes.datasets(spec.project)}
        missing = sorted({use.name for use in spec.datasets} - known.keys())
        if outcomes.NAME in missing:
            raise InputError(
                f"There is no dataset {outcomes.NAME} yet: no register was linked in the project.",
                "Link one first, kinlink register link: the dataset comes with what it found of each person.",
            )
        if missing:
            raise InputError(
                f"The project declares no dataset {', '.join(missing)}.",
                "Declare it first: kinlink dataset declare.",
            )
        return {use.name: known[use.name] for use in spec.datasets}

    def _built(
        self, spec: Spec, declared: Mapping[str, Dataset], mandate: Mandate, now: datetime
    ) -> tuple[Built, Built | None]:
        """The tables by internal id, and those of everybody in the project where that is more people."""
        wanted = {}
        for use in spec.datasets:
            names = [one.name for one in read_columns(use, declared[use.name])]
            wanted[use.name] = list(dict.fromkeys(["register", *names])) if use.form == "links" else names
        parts = list(self._attributes.read_all(spec.project, wanted, mandate, may=spec.tags))
        empty = pl.DataFrame(schema={"aid": pl.Binary, "family": pl.Binary})
        found = [list(some) for some in zip(*parts, strict=True)] or [[empty]] * len(wanted)
        rows = {name: pl.concat(some) for name, some in zip(wanted, found, strict=True)}
        today = now.date()
        everybody = build(replace(spec, population=""), declared, rows, today) if spec.population else None
        return build(spec, declared, rows, today), everybody

    def _with_numbers(self, spec: Spec, built: Built, mandate: Mandate) -> Built:
        def numbers(kind: Kind, aids: pl.Series) -> pl.DataFrame:
            given = self._issue(spec.project, spec.recipient, kind, aids.to_list(), mandate.purpose)
            return pl.DataFrame({"aid": aids, "urn": given}, schema={"aid": pl.Binary, "urn": pl.String})

        families = built.members[FAMILY].drop_nulls().unique().sort()
        return numbered(built, numbers(Kind.PERSON, built.members[PERSON]), numbers(Kind.FAMILY, families))

    def _earlier(self, record: Record, aids: Sequence[bytes]) -> list[Earlier]:
        found = []
        for one in self._kept.all(record.project):
            if one.recipient != record.recipient or one.id == record.id:
                continue
            if one.state not in (State.APPROVED, *_GIVEN_OUT):
                continue
            same, there = self._kept.shared(one, aids)
            outs = {table: [_out(column) for column in columns] for table, columns in one.columns.items()}
            found.append(Earlier(one.name, outs, same, there - same, len(aids) - same))
        return found

    def _said(
        self, record: Record, spec: Spec, built: Built, report: Report, now: datetime
    ) -> dict[str, object]:
        epochs = reading.read_all(built.members[PERSON]).read["epoch"].unique().to_list()
        return {
            "release": spec.name,
            "id": record.id.hex(),
            "title": spec.title,
            "project": spec.project,
            "recipient": spec.recipient,
            "epoch": epochs[0] if len(epochs) == 1 else epochs,
            "purpose": spec.purpose,
            "use": spec.use,
            "lawfulness": self._decided.cover.grounds(spec.project, spec.purpose),
            "requester": record.requester,
            "researchers": list(spec.researchers),
            "approvers": list(spec.approvers),
            "built": now.isoformat(timespec="seconds"),
            "expires": spec.expires.astimezone(UTC).isoformat(timespec="seconds"),
            "persons": report.persons,
            "families": report.families,
            "specification": digest(record.spec).hex(),
            "report": hashlib.sha256(report.to_file()).hexdigest(),
            "sealing_key": spec.sealing_key.hex(),
            "signing_key": spec.signing_key.hex(),
        }

    def _approvable(
        self, record: Record, spec: Spec
    ) -> tuple[Register, tuple[str, ...], str, bytes, datetime]:
        built = datetime.fromtimestamp(record.built, UTC)
        person = self._decided.register.requesters.get(record.requester, record.requester)
        return self._decided.register, spec.approvers, person, _digest(record), built

    def _check_opt_outs(self, spec: Spec, now: datetime) -> None:
        said = {use.name: use.opt_out for use in spec.datasets}
        opted_out.check(said, partial(self._attributes.registers.opt_out, spec.project), now)

    def _check_whole(self, record: Record) -> None:
        if not self._kept.whole(record):
            raise ReleaseError(
                "People who are in the release were erased, moved or restricted since, or lost rows.",
                "Check it again; if it was given out already, make another one.",
            )


def _for_purpose(record: Record, mandate: Mandate) -> Spec:
    """A release's specification, for a call for its own purpose: people's data may be kept from another."""
    spec = Spec.from_toml(record.spec)
    if spec.purpose != mandate.purpose:
        raise other_use("specification", spec.project, spec.purpose)
    return spec


def _digest(record: Record) -> bytes:
    return hashlib.sha256(record.manifest.encode()).digest()


def _check_time(record: Record, now: datetime) -> None:
    if now.timestamp() >= record.expires:
        raise ReleaseError("The release has expired.", "Make another one.")


def _out(column: Mapping[str, object]) -> Out:
    return Out(**{name: tuple(value) if isinstance(value, list) else value for name, value in column.items()})  # type: ignore[arg-type]
