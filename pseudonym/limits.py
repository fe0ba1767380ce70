"""Purposes that a person's data are kept from, while they may be used for others: state `limited`.

They lie sealed under the person's key. Where a limited person has none that open, as after two people became
one, the data are kept from every purpose until a case says what holds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress

from pseudonym import seal
from pseudonym.errors import SealBrokenError, SubjectMissingError
from pseudonym.storage import identity as db
from pseudonym.storage import rights
from pseudonym.storage.engine import Store
from pseudonym.storage.rows import AT_ONCE, At
from pseudonym.subjects import STORE, State, Subjects
from pseudonym.urn import Kind

_ROW = b"rights-limits/1\0"  # the place of what is sealed: no row's id, these being random


class Limits:
    """The purposes that people of one store are kept from. Methods work inside a transaction or reading.

    Args:
        store: the identity role's.
        subjects: opens people's keys.
    """

    def __init__(self, store: Store, subjects: Subjects) -> None:
        self._store, self._subjects = store, subjects

    def usable(self, at: At, pids: Sequence[bytes], purpose: str) -> set[bytes]:
        """Those of limited people whose data may be used for a purpose."""
        if not pids:
            return set()
        sealed = rights.limits(self._store, at, pids)
        deks = self._subjects.deks(db.keys(self._store, at, [pid for pid, _ in sealed]))
        found = set()
        for pid, ct in sealed:
            with suppress(SealBrokenError, KeyError):
                if purpose not in json.loads(seal.open_row(deks[pid], STORE, pid, _ROW, 1, ct)):
                    found.add(pid)
        return found

    def kept_back(self, at: At) -> set[bytes]:
        """Everybody whose data may not be used, or not for every purpose."""
        states = [State.LIMITED.value, State.RESTRICTED.value, State.OBJECTED.value]
        found: set[bytes] = set()
        after = b""
        while some := db.living(at, Kind.PERSON.value, states, after, AT_ONCE):
            found.update(some)
            after = some[-1]
        return found

    def hold(self, at: At, pids: Sequence[bytes], state: State, purposes: Sequence[str]) -> None:
        """Note what may be done with people's data from now on.

        Args:
            at: a transaction.
            pids: whose; those that were erased meanwhile are passed over.
            state: the state they are in …
            purposes: … and what they are kept from where it is `limited`.

        Raises:
            SubjectMissingError: nobody of them is there any more.
        """
        found = db.subjects(self._store, at, pids, lock=True)
        living = [row.pid for row in found if row.state != State.ERASED]
        if not living:
            raise SubjectMissingError("The person is not there any more.", "Nothing was changed.")
        changing = [row.pid for row in found if row.state not in (State.ERASED, state)]
        if changing:
            self._subjects.change(at, changing, {"state": state.value})
        rights.drop_limits(self._store, at, living)
        if state is not State.LIMITED:
            return
        deks = self._subjects.deks(db.keys(self._store, at, living))
        content = json.dumps(sorted(purposes)).encode()
        for pid in living:
            rights.put_limit(self._store, at, pid, seal.seal_row(deks[pid], STORE, pid, _ROW, 1, content))
