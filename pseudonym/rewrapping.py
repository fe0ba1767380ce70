"""A new KEK each month: every person's key and the register's are wrapped anew, and nothing else."""

from __future__ import annotations

import threading

from pseudonym.seal import Kek
from pseudonym.storage import identity as db
from pseudonym.storage import register
from pseudonym.storage.engine import Store
from pseudonym.storage.schema_identity import SUBJECT_KEY
from pseudonym.subjects import Subjects


class Rewrapping:
    """Goes through the store from batch to batch. It keeps nothing that a crash could lose.

    Args:
        store: the identity role's.
        subjects: opens what is wrapped under the other KEKs.
        kek: the present one.
    """

    def __init__(self, store: Store, subjects: Subjects, kek: Kek) -> None:
        self._store = store
        self._subjects = subjects
        self._kek = kek
        self._working = threading.Lock()
        # Where to look next, and how many are left: so that a step looks at its own batch only.
        self._after = b""
        self._left: int | None = None

    def step(self, batch: int) -> int:
        """Wrap the next keys under the present KEK that are still under another.

        Each step is a transaction. After a crash, or when called by another process, it goes on where the
        store is.

        Returns:
            How many keys are left. 0 is counted in the store, not reckoned: the older KEK may be destroyed
            then, once no server gives it to new people.

        Raises:
            KeyMissingError: a key is wrapped under a KEK that was not given.
            SealBrokenError: a key was tampered with; the batch was not written.
        """
        with self._working:
            with self._store.transaction() as connection:
                if self._left is None:
                    self._left = self._under_others(connection)
                rows = db.due_for_wrapping(connection, self._kek.kid, self._after, batch)
                if rows:
                    pids = [row.pid for row in rows]
                    deks = self._subjects.deks(rows)
                    changed = {
                        "pid": pids,
                        "kid": [self._kek.kid] * len(rows),
                        "wrapped": self._kek.wrap_all([deks[pid] for pid in pids], pids),
                    }
                    self._store.update(connection, SUBJECT_KEY, ["pid"], changed)
                if len(rows) < batch:
                    self._register(connection)
            # Only now is it on disk.
            if len(rows) == batch:
                self._after, self._left = rows[-1].pid, max(self._left - batch, 1)
                return self._left
            self._after, self._left = b"", None
            with self._store.read() as connection:
                return self._under_others(connection)

    def _register(self, connection: db.Connection) -> None:
        """The register's keys, which are few, come with the last batch."""
        rows = register.keys(connection, not_under=self._kek.kid, lock=True)
        deks = self._subjects.deks(rows)
        ids = [row.pid for row in rows]
        wrapped = self._kek.wrap_all([deks[one] for one in ids], ids)
        register.put_keys(self._store, connection, ids, self._kek.kid, wrapped)

    def _under_others(self, connection: db.Connection) -> int:
        return sum(n for kid, n in db.keys_by_kid(connection).items() if kid != self._kek.kid)
