"""The cases of people's rights in the identity role's store, sealed, and whose they are.

The rules this module keeps:

- What is kept of a case is sealed under a key of its own, among those of the linkage service's folders: it is
  renewed each month with them, and destroyed with the case's project.
- Whose a case is stands beside it, and goes with the person. What stays of it then says nothing of anybody.
- A decision, and what it changes in this store, are one transaction.
- Answers are sealed to the data protection officer before they come here, and are deleted after a month.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from pseudonym.errors import KeyMissingError, NotFoundError
from pseudonym.folders import FolderKeys
from pseudonym.rights.cases import Case
from pseudonym.sealed_files import conceal, reveal
from pseudonym.storage import rights
from pseudonym.storage.engine import Store
from pseudonym.storage.rows import At

KEEP_ANSWERS = 31  # days


class Casebook:
    """The cases of one identity role; its methods may be called from any thread.

    Args:
        store: the identity role's.
        keys: of its folders.
    """

    def __init__(self, store: Store, keys: FolderKeys) -> None:
        self._store, self._keys = store, keys

    def add(self, case: Case, pids: Sequence[bytes]) -> Case:
        """Keep a new case and whose it is; the one that is kept already where there is one of its id."""
        self._keys.make(case.case_id)
        sealed = self._sealed(case)
        with self._store.transaction() as at:
            if rights.add_case(self._store, at, case.case_id, case.project, sealed):
                rights.add_persons(self._store, at, case.case_id, pids)
                return case
        return self.get(case.project, case.case_id)

    def get(self, project: str, case_id: str) -> Case:
        """One case.

        Raises:
            NotFoundError: the project has none of this id.
        """
        with self._store.read() as at:
            found = rights.case(at, case_id)
        case = self._opened(case_id, found) if found is not None else None
        if case is None or case.project != project:
            raise NotFoundError("The project has no such case.", "Check the id and the project.")
        return case

    def all(self, project: str | None = None) -> list[Case]:
        """All cases, or those of a project; without those whose key is destroyed."""
        with self._store.read() as at:
            found = rights.cases(at, project)
        return self._readable(found)

    @contextmanager
    def changing(self, case: Case) -> Iterator[tuple[At, Case, Callable[[Case], None]]]:
        """A transaction with the case as it is in it, locked, and what writes it.

        Whatever is raised inside leaves all as it was.
        """
        with self._store.transaction() as at:
            found = rights.case(at, case.case_id, lock=True)
            if found is None:
                raise NotFoundError("The case is not there any more.", "Its project was destroyed.")

            def put(changed: Case) -> None:
                rights.put_case(at, changed.case_id, self._sealed(changed))

            yield at, self._opened(case.case_id, found), put

    def persons(self, case: Case) -> list[bytes]:
        """Whom a case is about, as far as they are known still."""
        with self._store.read() as at:
            return rights.persons(at, case.case_id)

    def about(self, at: At, pids: Sequence[bytes]) -> list[Case]:
        """The cases of people, in a transaction or reading; without those whose key is destroyed."""
        found = [(one, rights.case(at, one)) for one in rights.cases_of(self._store, at, pids)]
        return self._readable((case_id, sealed) for case_id, sealed in found if sealed is not None)

    def keep_answer(self, case: Case, half: str, sealed: bytes) -> None:
        """Keep a half of an answer, sealed to the officer, unless one is kept."""
        with self._store.transaction() as at:
            if rights.persons(at, case.case_id):  # nobody was erased meanwhile
                rights.put_answer(self._store, at, case.case_id, half, self._store.today(), sealed)

    def answers(self, case: Case) -> dict[str, bytes]:
        """The halves that are kept."""
        with self._store.read() as at:
            return rights.answers(at, case.case_id)

    def drop_answers(self) -> int:
        """Delete answers that are older than a month; how many halves. To be called every day."""
        with self._store.transaction() as at:
            gone = rights.drop_answers(self._store, at, self._store.today() - KEEP_ANSWERS)
        self._store.purge_if_due()
        return gone

    def knows(self, project: str) -> bool:
        """Whether a project has cases."""
        with self._store.read() as at:
            return bool(rights.cases(at, project))

    def forget_project(self, project: str) -> int:
        """Delete a project's cases and destroy their keys; how many they were."""
        with self._store.read() as at:
            doomed = [case_id for case_id, _ in rights.cases(at, project)]
        if doomed:
            self._keys.destroy(doomed)  # first: what is cut off then is found, and finished, by asking again
            with self._store.transaction() as at:
                rights.forget_project(self._store, at, project)
            self._store.purge_if_due()
        return len(doomed)

    def _readable(self, found: Iterable[tuple[str, bytes]]) -> list[Case]:
        opened = []
        for case_id, sealed in found:
            with suppress(KeyMissingError):
                opened.append(self._opened(case_id, sealed))
        return opened

    def _sealed(self, case: Case) -> bytes:
        return conceal(self._keys.key(case.case_id), case.case_id, "case", case.to_bytes())

    def _opened(self, case_id: str, sealed: bytes) -> Case:
        return Case.from_bytes(reveal(self._keys.key(case_id), case_id, "case", sealed))
