"""The attribute store: what is known of people, keyed by aid, with no place for who they are.

The rules this module keeps:

- There is no column for a name, an address, a date of birth or an identifier, and no kind for free text; what
  looks like one is refused on arrival, and nothing of its batch is stored (`pseudonym.values`).
- Values are sealed from their arrival on: under a key of their batch until it is known whose they are, then
  under their subject's.
- A row_ref is forgotten once both sides have it, and after seven days at the latest.
- Every reading names a purpose, and is in the audit log before anything is opened. Columns of special
  categories and of criminal offences are read only by those who say that they may.
- Nothing is served before the ledger of erasures has been followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Self

import polars as pl

from pseudonym import attribute_subjects as subjects
from pseudonym import frames, outcomes
from pseudonym.access import Access, Audit, Mandate
from pseudonym.attribute_moves import AttributeMoves
from pseudonym.attribute_subjects import Flag
from pseudonym.attributes_context import AttributeContext
from pseudonym.attributes_erasure import AttributeErasure
from pseudonym.attributes_intake import AttributeIntake
from pseudonym.attributes_registers import AttributeRegisters
from pseudonym.attributes_rights import OWN, AttributeRights
from pseudonym.datasets import Dataset, Tag
from pseudonym.erasure import Ledger, check_not_ended, replay
from pseudonym.errors import InputError
from pseudonym.keks import Keks
from pseudonym.release.keeping import Releases
from pseudonym.storage import Store
from pseudonym.storage.rows import AT_ONCE, Project, ProjectState
from pseudonym.storage.rows_attributes import AttributeRows, Head, Subject
from pseudonym.storage.rows_links import LinkRows
from pseudonym.tables.keeping import Tables
from pseudonym.urn import check_epoch, check_label
from pseudonym.values import Scan, check_declaration, values

__all__ = ["Attributes", "Flag"]


class Attributes:
    """The attributes role's operations on its store. Use `Attributes.open`; usable from any thread."""

    def __init__(self, context: AttributeContext) -> None:
        """Not to be called: use `Attributes.open`."""
        self._context = context
        self._rows = context.rows
        self._keks = context.keks
        self._links = LinkRows(context.rows)
        self.intake = AttributeIntake(context)
        self.erasure = AttributeErasure(context)
        self.moves = AttributeMoves(context)
        self.registers = AttributeRegisters(context, self.intake, self.moves)
        self.releases = Releases(context)
        self.tables = Tables(context)
        self.rights = AttributeRights(context, self.releases)

    @classmethod
    def open(cls, store: Store, ledger: Ledger, keks: Keks, scan: Scan, audit: Audit) -> Self:
        """Follow the ledger of erasures to its end, then serve.

        Args:
            store: opened for the attributes role.
            ledger: the attributes role's.
            keks: its key-encrypting keys.
            scan: what looks like an identifier.
            audit: called, and durable, before anything is read or changed.

        Raises:
            LedgerError: the ledger is older than the store, or another one's.
        """
        opened = cls(AttributeContext(AttributeRows(store), ledger, keks, scan, audit))
        replay(ledger, opened.erasure)
        return opened

    def begin_project(self, project: str, epoch: int = 1) -> None:
        """Begin a project. To be done twice does no harm.

        Raises:
            EndedError, ConflictError: there was one, or it has another epoch.
        """
        check_epoch(epoch)
        check_not_ended(self._context.ledger, check_label(project, "project"))
        with self._rows.write() as at:
            self._rows.begin_project(at, project, epoch)

    def projects(self) -> list[str]:
        """The names of the projects that are open."""
        with self._rows.read() as at:
            found = self._rows.projects(at)
        return [one.name for one in found if one.state is ProjectState.OPEN]

    def known(self) -> set[str]:
        """The names of all projects that were begun here, those that have ended among them."""
        with self._rows.read() as at:
            return {one.name for one in self._rows.projects(at)}

    def declare(self, project: str, dataset: Dataset) -> None:
        """Declare a dataset, or a grown form of the one that is declared.

        Raises:
            InputError: something that was declared is missing, or the dataset is the role's own.
            ValuesRefused: a code looks like an identifier.
        """
        check_declaration(dataset, self._context.scan)
        if dataset.name == outcomes.NAME or dataset.name in OWN:
            raise InputError(f"The dataset {dataset.name} is the role's own.", "Give it another name.")
        with self._rows.write() as at:
            number = self._rows.project(at, project).number
            for _, name, declaration in self._rows.datasets(at, number):
                if name == dataset.name:
                    Dataset.from_json(declaration).check_grown(dataset)
            self._rows.declare(at, number, dataset.name, dataset.to_json())

    def datasets(self, project: str) -> list[Dataset]:
        """The declared datasets of a project."""
        with self._rows.read() as at:
            found = self._rows.datasets(at, self._rows.project(at, project).number)
        return [Dataset.from_json(declaration) for _, name, declaration in found if name not in OWN]

    # --- reading ----------------------------------------------------------------------------------

    def read(
        self,
        project: str,
        dataset: str,
        mandate: Mandate,
        *,
        columns: Sequence[str] | None = None,
        aids: frames.Table | None = None,
        may: frozenset[Tag] = frozenset(),
    ) -> Iterator[pl.DataFrame]:
        """Read a dataset for a purpose, some subjects at a time, by aid.

        Subjects whose data may not be used for the purpose are left out, and rows of registers that wait to
        be linked anew.

        Args:
            project: its name.
            dataset: a declared dataset's name.
            mandate: who asks, and what for.
            columns: declared columns; all when None.
            aids: a binary column `aid`; all of the project's when None.
            may: the tags that the caller may read.

        Returns:
            Frames of `aid`, `family` (binary; that of the row) and the columns. The audit log has the reading
            before this returns.

        Raises:
            InputError: a column is not declared, or has a tag that the caller may not read.
            SealBrokenError: a row or a subject was altered, exchanged or taken away.
        """
        return (frame for (frame,) in self.read_all(project, {dataset: columns}, mandate, aids=aids, may=may))

    def read_all(
        self,
        project: str,
        datasets: Mapping[str, Sequence[str] | None],
        mandate: Mandate,
        *,
        aids: frames.Table | None = None,
        may: frozenset[Tag] = frozenset(),
    ) -> Iterator[list[pl.DataFrame]]:
        """Read several datasets in one go: what vouches for a subject is looked at once, and not for each.

        Args:
            project: its name.
            datasets: names of declared datasets, each with the declared columns to read; all when None.
            mandate, aids, may: as in `read`.

        Returns:
            As `read`, a list of the frames of all datasets for some subjects at a time.

        Raises:
            As `read`.
        """
        wanted, found = list[_Wanted](), None
        for dataset, columns in datasets.items():
            found, number, declared = self._context.declared(project, dataset)
            read = [declared.column(name) for name in columns or [one.name for one in declared.columns]]
            withheld = sum(not column.tags <= may for column in read)
            if withheld:
                raise InputError(
                    f"{withheld} of the columns hold special categories or criminal offences.",
                    "Leave them out, or read them as somebody who may.",
                )
            wanted.append(_Wanted(number, declared, [column.name for column in read]))
        if found is None:
            raise InputError("There is no dataset to read.", "Name one.")
        given = None if aids is None else sorted(set(frames.ids(frames.table(aids), "aid")))
        with self._rows.read() as at:
            total = self._rows.count(at, found.number) if given is None else len(given)
        for one in wanted:
            self._context.audit(Access("read", project, mandate, total, (one.declared.name, *one.names)))
        return self._read(found, wanted, given, mandate.purpose)

    def snapshot(self) -> AbstractContextManager[None]:
        """Within the block, all that this thread reads is of one state of the store."""
        return self._rows.snapshot()

    def flag(self, project: str, aids: frames.Table, flags: Flag, mandate: Mandate) -> int:
        """Set the flags of subjects (column `aid`), those they had go; how many there are."""
        return self.rights.mark(project, frames.ids(frames.table(aids), "aid"), flags, (), mandate)

    def _read(
        self, project: Project, wanted: Sequence[_Wanted], given: list[bytes] | None, purpose: str
    ) -> Iterator[list[pl.DataFrame]]:
        numbers = [one.number for one in wanted]
        size = max(1, AT_ONCE // len(wanted))  # who is in all datasets has several rows in each
        if given is None:
            pages = self._rows.aid_pages(project.number, size)
        else:
            pages = iter([given[first : first + size] for first in range(0, len(given), size)])
        for page in pages:
            with self._rows.read() as at:
                self._rows.project(at, project.name)
                found = self._rows.subjects(at, page)
                here = {aid: subject for aid, subject in found.items() if subject.project == project.number}
                present = self.rights.usable(at, here, purpose)
                rows = self._rows.sealed_rows(at, list(present), numbers)
                waiting = self._links.suspended(at, project.number)
                heads = [head for head, _ in rows] + self._rows.heads(at, list(present), numbers)
            deks, _ = subjects.checked(self._keks, list(present.values()), heads)
            self._context.check_none_is_back(list(present))
            rows = [row for row in rows if row[0].handle not in waiting]
            rows.sort(key=lambda row: (row[0].aid, row[0].row_id))
            of: dict[int, list[tuple[Head, bytes]]] = {number: [] for number in numbers}
            for row in rows:
                of[row[0].dataset].append(row)
            yield [_opened(deks, present, of[one.number], one) for one in wanted]


class _Wanted(NamedTuple):
    """A dataset that is read: its number, its declaration, and the names of the columns."""

    number: int
    declared: Dataset
    names: list[str]


def _opened(
    deks: Mapping[bytes, bytes],
    present: Mapping[bytes, Subject],
    rows: Sequence[tuple[Head, bytes]],
    wanted: _Wanted,
) -> pl.DataFrame:
    """Rows of one dataset, with whose they are."""
    opened = values(subjects.opened(deks, rows), wanted.declared)
    aids = [head.aid for head, _ in rows]
    # Who is in two families at once is, in each row, in the one that it came in.
    families = [head.family or present[head.aid].family for head, _ in rows]
    return frames.columns(aid=aids, family=families).hstack(opened.select(wanted.names))
