"""Erasure and destruction in the attribute store: subjects and projects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pseudonym import frames
from pseudonym.access import Access, Mandate
from pseudonym.attributes_context import AttributeContext
from pseudonym.erasure import What, carry_out
from pseudonym.storage.rows import AT_ONCE, Project, ProjectState
from pseudonym.storage.rows_links import LinkRows
from pseudonym.storage.rows_releases import ReleaseRows
from pseudonym.storage.rows_tables import TableRows


class AttributeErasure:
    """What the attribute store does to forget. A `pseudonym.erasure.Follower`."""

    def __init__(self, context: AttributeContext) -> None:
        self._context = context
        self._rows = context.rows
        self.ledger = context.ledger

    def erase_aids(self, aids: Mapping[str, Sequence[bytes]], mandate: Mandate) -> dict[str, int]:
        """Erase subjects that the broker has erased, given by project; see `erase`.

        A project may be unknown here, or have ended: its aids stand in the ledger all the same.
        """
        for project, some in aids.items():
            self._context.audit(Access("erase", project, mandate, len(some)))
        return self._run(What.SUBJECT, [aid for some in aids.values() for aid in some])

    def erase(self, project: str, aids: frames.Table, mandate: Mandate) -> dict[str, int]:
        """Erase subjects (column `aid`): their keys, their rows, and what says that they were there.

        What is not there is written into the ledger all the same, and cannot come in later.

        Returns:
            How many rows were deleted, by table.
        """
        given = list(dict.fromkeys(frames.ids(frames.table(aids), "aid")))
        with self._rows.read() as at:
            self._rows.project(at, project)
        self._context.audit(Access("erase", project, mandate, len(given)))
        return self._run(What.SUBJECT, given)

    def destroy_project(self, project: str, mandate: Mandate) -> dict[str, int]:
        """Destroy a project: the keys of all its subjects, then all its rows. To be called again finishes it.

        Danger: older backups can be read until the key-encrypting key that wrapped the subjects' keys is
        destroyed: re-wrap (`pseudonym.destruction.rewrap`) what other projects have, and destroy it.

        Returns:
            How many rows were deleted, by table: see `pseudonym.destruction`.
        """
        with self._rows.write() as at:
            found = self._rows.project(at, project, ended=True)
            if found.state is not ProjectState.ENDED:
                self._rows.set_state(at, found.number, ProjectState.ENDING)
        self._context.audit(Access("destroy", project, mandate, 1))
        return self._run(What.PROJECT, [project.encode()])

    def unfinished(self) -> list[str]:
        """Projects whose destruction began and did not end: call it again."""
        with self._rows.read() as at:
            return [one.name for one in self._rows.projects(at) if one.state is ProjectState.ENDING]

    def _run(self, what: What, ids: Sequence[bytes]) -> dict[str, int]:
        return dict(carry_out(self._context.ledger, self, what, ids, self._rows.store.today()))

    # --- what `pseudonym.erasure.replay` asks of a store --------------------------------------------

    def followed(self) -> tuple[int, bytes]:
        return self._rows.followed()

    def follow(self, number: int, digest: bytes) -> None:
        self._rows.follow(number, digest)

    def purge(self) -> None:
        self._rows.purge()

    def held(self, what: What) -> Iterator[list[bytes]]:
        if what is What.SUBJECT:
            yield from self._rows.aid_pages()
        elif what is What.PROJECT:
            with self._rows.read() as at:
                projects = self._rows.projects(at)
            yield [one.name.encode() for one in projects if one.state is not ProjectState.ENDED]

    def wipe(self, what: What, ids: Sequence[bytes]) -> dict[str, int]:
        counts: Counter[str] = Counter()
        if what is What.SUBJECT:
            for first in range(0, len(ids), AT_ONCE):
                with self._rows.write() as at:
                    self._rows.alone(at)
                    counts.update(self._rows.delete_subjects(at, ids[first : first + AT_ONCE]))
        elif what is What.PROJECT:
            wanted = set(ids)
            with self._rows.read() as at:
                projects = self._rows.projects(at)
            for project in projects:
                if project.name.encode() in wanted:
                    counts.update(self._wipe_project(project))
        return dict(counts)

    def _wipe_project(self, project: Project) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for page in self._rows.aid_pages(project.number):
            with self._rows.write() as at:
                self._rows.alone(at)
                counts.update(self._rows.delete_subjects(at, page))
        counts.update(self._rows.delete_intake(project.number))
        LinkRows(self._rows).delete_project(project.number)
        counts.update(ReleaseRows(self._rows.store).delete_project(project.number))
        counts.update(TableRows(self._rows.store).delete_project(project.number))
        with self._rows.write() as at:
            counts["a_dataset"] += self._rows.delete_datasets(at, project.number)
            self._rows.set_state(at, project.number, ProjectState.ENDED)
        return dict(counts)
