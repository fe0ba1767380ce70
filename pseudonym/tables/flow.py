"""The steps of a table, each only after the one before: create, check, approve, read, published.

The rules this module keeps:

- Counting reads nothing but what the declaration names, as a reading that the audit log has before.
- A table is read only after two approvals of exactly what was built, and by whom it is for: a council reads
  its own area and the total of all, everybody else what was published.
- At its second approval a table is in the register of releases, and is never built anew under its name. What
  is checked is held against the register; if that grew meanwhile, it is checked again before it is approved.
- Nothing that was not released is given out, but to those who decide on it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import polars as pl

from pseudonym import outcomes
from pseudonym.access import Mandate
from pseudonym.approvers import Register
from pseudonym.attributes import Attributes
from pseudonym.datasets import Dataset, Tag
from pseudonym.errors import ConflictError, InputError, NotFoundError, RequestRefusedError, TableError
from pseudonym.lawful.cover import Cover
from pseudonym.release import opted_out
from pseudonym.release.papers import Approval, check_approval, complete
from pseudonym.release.spec import other_use
from pseudonym.tables.areas import Areas
from pseudonym.tables.building import build_table
from pseudonym.tables.cellkey import Noise, PTable
from pseudonym.tables.facts import Facts
from pseudonym.tables.keeping import Record, State, manifest_of
from pseudonym.tables.lawful import check_declaration
from pseudonym.tables.published import Published
from pseudonym.tables.spec import Audience, TableSpec
from pseudonym.wayback import Refusal

RecordKeys = Callable[[str, pl.Series, str], pl.Series]
"""Gives a project's units, by internal id and for a purpose, their record keys for cell-key perturbation."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who wants to read.

    Attributes:
        person: as in the certificate.
        council: whether it is somebody of a council.
        everything: whether all that was released is read: by those who decide, and in development.
    """

    person: str
    council: bool = False
    everything: bool = False


class TableDesk:
    """The tables of one attributes role; its methods may be called from any thread."""

    def __init__(
        self,
        attributes: Attributes,
        keys: RecordKeys,
        register: Register,
        areas: Areas,
        cover: Cover,
        follow: Callable[[str], object] = lambda project: None,
    ) -> None:
        """Prepare it.

        Args:
            attributes: the attribute store's operations.
            keys: see `RecordKeys`.
            register: who may approve.
            areas: which council reads which area.
            cover: what each project stands on.
            follow: has the store follow all that the broker knows of a project, before anything is counted.
        """
        self._attributes, self._kept = attributes, attributes.tables
        self._keys, self._register, self._areas, self._cover = keys, register, areas, cover
        self._follow, self._lock = follow, threading.Lock()

    def create(self, spec_text: str, requester: str, mandate: Mandate, project: str) -> Record:
        """Keep a declaration; the same again does nothing.

        Raises:
            InputError: it is none, is for another project or purpose, names what is not declared, or asks for
                what no table is made with.
            ConflictError: there is a table of this name with another declaration.
        """
        spec = TableSpec.from_toml(spec_text)
        check_declaration(spec)
        if (spec.project, spec.purpose) != (project, mandate.purpose):
            raise other_use("declaration", spec.project, spec.purpose)
        if spec.ptable:
            PTable.named(spec.ptable)
        for name, dataset in self._declared(spec).items():
            for column in spec.datasets[name]:
                dataset.column(column)
        with self._lock:
            try:
                known = self._kept.get(project, spec.name)
            except NotFoundError:
                return self._kept.add(Record(b"", project, spec.name, State.CREATED, spec_text, requester))
            if known.spec != spec_text or known.requester != requester:
                raise ConflictError("There is another table of this name.", "Give this one a new name.")
            return known

    def check(self, project: str, name: str, mandate: Mandate) -> Record:
        """Count a table from what the store has now, protect and attack it; approvals of before are void.

        Raises:
            TableError: it was released already.
            InputError: it is for another purpose, or the rows are not of the form that it asks for.
            NotCoveredError: the purpose does not cover what is counted.
            OptOutMissingError, OptOutStaleError: health data were not linked under a list or an exemption.
        """
        self._follow(project)
        with self._lock:
            record = self._kept.get(project, name)
            spec, now = _for_purpose(record, mandate), self._now()
            if record.is_released:
                raise TableError("The table was released already.", "Make another under a new name.")
            released, declared = self._released(project), self._declared(spec)
            self._check_law(spec, declared, now)
            standing = self._attributes.rights.standing(project)  # before reading: what comes later shows
            made = build_table(
                spec,
                declared,
                self._rows(spec, mandate),
                now,
                [Facts.from_json(one.facts) for one in released],
                self._noise(spec, mandate),
            )
            report = made.report.to_file().decode()
            record = replace(
                record,
                state=State.BLOCKED if made.table is None else State.CHECKED,
                built=int(now.timestamp()),
                persons=made.persons,
                report=report,
                # What is blocked is not even kept: there is nothing to approve, and nothing to read.
                table="" if made.table is None else made.table.to_file().decode(),
                facts={} if made.facts is None else made.facts.to_json(),
                standing=standing,
                against=tuple(one.name for one in released),
                approvals=(),
            )
            return self._kept.put(replace(record, manifest=manifest_of(record, spec)))

    def approve(self, project: str, name: str, mandate: Mandate, approval: Approval) -> Record:
        """Keep an approval; the second releases the table.

        Raises:
            InputError: the table is for another purpose.
            RequestRefusedError: it does not count.
            TableError: there is nothing to approve, or tables were released, or people erased, withdrawn or
                restricted, since it was checked.
            NotCoveredError: the purpose covers no longer what is counted.
            OptOutMissingError, OptOutStaleError: as for `check`.
        """
        with self._lock:
            record, now = self._kept.get(project, name), self._now()
            spec = _for_purpose(record, mandate)
            given = tuple(Approval.from_file(one.encode()) for one in record.approvals)
            if record.is_released and approval in given:
                return record
            if record.state is not State.CHECKED:
                raise TableError(f"The table is {record.state}: there is nothing to approve.")
            if record.against != tuple(one.name for one in self._released(project)):
                raise TableError(
                    "Tables were released since this one was checked.",
                    "Check it again: it is held against them.",
                )
            self._check_law(spec, self._declared(spec), now)
            if record.standing != self._attributes.rights.standing(project):
                raise TableError(
                    "People were erased, withdrawn or restricted since this table was checked.",
                    "Check it again: they may be counted in it.",
                )
            if approval in given:
                return record
            check_approval(*self._approvable(record), approval, given, now)
            given = (*given, approval)
            record = replace(record, approvals=tuple(one.to_file().decode() for one in given))
            if len(given) >= 2:
                complete(*self._approvable(record), given, now)
                record = replace(record, state=State.APPROVED, released=int(now.timestamp()))
            return self._kept.put(record)

    def read(self, project: str, name: str, mandate: Mandate, reader: Reader) -> tuple[Record, Published]:
        """What somebody may read of a released table.

        Raises:
            NotFoundError: there is none for them.
            InputError: it is for another purpose.
            TableError: it is not released.
            RequestRefusedError: an approver may approve no longer.
        """
        record = self._kept.get(project, name)
        area = self._may_read(record, reader)
        if area is None:
            raise NotFoundError("The project has no table of this name for you.", "List its tables.")
        _for_purpose(record, mandate)
        if not record.is_released:
            raise TableError(f"The table is {record.state}, and not released.", "Ask its approvers.")
        if record.state is State.APPROVED:
            given = [Approval.from_file(one.encode()) for one in record.approvals]
            complete(*self._approvable(record), given, self._now())
        table = Published.from_file(record.table.encode())
        return record, table.for_area(area) if area else table

    def publish(self, project: str, name: str, mandate: Mandate, person: str | None) -> Record:
        """Mark a released table for publication, as one of its approvers (None: the development identity).

        Raises:
            InputError: it is for another purpose.
            TableError: it is not released, or is for councils.
            RequestRefusedError: the person may not approve it.
        """
        with self._lock:
            record = self._kept.get(project, name)
            spec = _for_purpose(record, mandate)
            if person is not None:
                self._check_publisher(record, spec, person)
            if spec.audience is not Audience.PUBLICATION or not record.is_released:
                raise TableError(
                    "The table is not released, or is not for publication.",
                    "Its declaration says for whom it is; two approvals release it.",
                )
            if record.state is State.PUBLISHED:
                return record
            given = [Approval.from_file(one.encode()) for one in record.approvals]
            complete(*self._approvable(record), given, self._now())
            when, who = int(self._now().timestamp()), person or "development"
            return self._kept.put(replace(record, state=State.PUBLISHED, published=when, publisher=who))

    def get(self, project: str, name: str) -> Record:
        """One table. Raises NotFoundError."""
        return self._kept.get(project, name)

    def all(self, project: str, reader: Reader) -> list[Record]:
        """The tables of a project that somebody may see, by name."""
        return [one for one in self._kept.all(project) if self._may_read(one, reader) is not None]

    def _may_read(self, record: Record, reader: Reader) -> str | None:
        """The area that somebody may read of a table, empty for all of it; None for nothing."""
        if reader.everything or record.state is State.PUBLISHED:
            return ""
        for_councils = TableSpec.from_toml(record.spec).audience is Audience.COUNCIL
        if reader.council and for_councils and record.is_released:
            return self._areas.of(record.project, reader.person)
        return None

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._kept.now(), UTC)

    def _released(self, project: str) -> list[Record]:
        """The register of what was released, the earliest first."""
        found = [one for one in self._kept.all(project) if one.is_released]
        return sorted(found, key=lambda one: (one.released, one.name))

    def _declared(self, spec: TableSpec) -> dict[str, Dataset]:
        known = {one.name: one for one in self._attributes.datasets(spec.project)}
        missing = sorted(spec.datasets.keys() - known.keys())
        if missing:
            raise InputError(f"The project declares no dataset {', '.join(missing)}.", "Declare it first.")
        return {name: known[name] for name in spec.datasets}

    def _check_law(self, spec: TableSpec, declared: Mapping[str, Dataset], now: datetime) -> None:
        """Refuse what no table is made with, what is not covered, and health data that nobody asked about."""
        check_declaration(spec)
        names = spec.datasets.keys() - {outcomes.NAME}
        tags = frozenset[Tag]().union(
            *(
                declared[name].column(column).tags
                for name, columns in spec.datasets.items()
                for column in columns
            )
        )
        self._cover.check_columns(spec.project, spec.purpose, names, tags, now.date())
        said = dict.fromkeys(spec.datasets, spec.opt_out)
        opted_out.check(said, partial(self._attributes.registers.opt_out, spec.project), now)

    def _rows(self, spec: TableSpec, mandate: Mandate) -> Mapping[str, pl.DataFrame]:
        found = {}
        with self._attributes.snapshot():
            for name, dataset in self._declared(spec).items():
                # A row has to be read to be counted.
                columns = spec.datasets[name] or [dataset.columns[0].name]
                read = self._attributes.read(spec.project, name, mandate, columns=columns, may=spec.tags)
                empty = pl.DataFrame(schema={"aid": pl.Binary, "family": pl.Binary})
                found[name] = pl.concat(list(read) or [empty], how="diagonal")
        return found

    def _noise(self, spec: TableSpec, mandate: Mandate) -> Noise | None:
        if not spec.ptable:
            return None
        return Noise(
            PTable.named(spec.ptable), lambda units: self._keys(spec.project, units, mandate.purpose)
        )

    def _approvable(self, record: Record) -> tuple[Register, tuple[str, ...], str, bytes, datetime]:
        built = datetime.fromtimestamp(record.built, UTC)
        person = self._register.requesters.get(record.requester, record.requester)
        approvers = TableSpec.from_toml(record.spec).approvers
        return self._register, approvers, person, hashlib.sha256(record.manifest.encode()).digest(), built

    def _check_publisher(self, record: Record, spec: TableSpec, person: str) -> None:
        named = [one for one in self._register.approvers if one.name in spec.approvers]
        requester = self._register.requesters.get(record.requester, record.requester)
        if not any(one.person == person and not one.revoked for one in named) or person == requester:
            raise RequestRefusedError(
                Refusal.APPROVER_UNKNOWN.value, "Only its approvers mark a table for publication."
            )


def _for_purpose(record: Record, mandate: Mandate) -> TableSpec:
    """A table's declaration, for a call for its own purpose: people's data may be kept from another."""
    spec = TableSpec.from_toml(record.spec)
    if spec.purpose != mandate.purpose:
        raise other_use("declaration", spec.project, spec.purpose)
    return spec
