"""A new KEK each month: every person's key and the register's are wrapped anew, and nothing else."""

from __future__ import annotations

import threading
from typing import Any

from pseudonym.keks import Keks
from pseudonym.seal import Kek
from pseudonym.storage import identity as db
from pseudonym.storage import register
from pseudonym.storage.engine import Store
from pseudonym.storage.schema_identity import SUBJECT
from pseudonym.subjects import Subjects


class Rewrapping:
    """Goes through the store from batch to batch. It keeps nothing that a crash could lose.

    Args:
        store: the identity role's.
        subjects: opens what is wrapped under the other KEKs.
        keks: the present one, asked for at each step.
    """

    def __init__(self, store: Store, subjects: Subjects, keks: Keks) -> None:
        self._store = store
        self._subjects = subjects
        self._keks = keks
        self._kid = ""
        self._working = threading.Lock()
        # Where to look next, and how many are left: so that a step looks at its own batch only.
        self._after = b""
        self._left: int | None = None

    def step(self, batch: int) -> int:
        """Wrap the next keys under the present KEK that are still under another.

        Each step is a transaction. After a crash, or when called by another process, it goes on where the
        store is.

        Returns:
            How many keys are left. 0 is counted in the store, not reckoned, when nobody was wrapping: the
            older KEKs may be destroyed then.

        Raises:
            KeyMissingError: a key is wrapped under a KEK that is not at hand.
            SealBrokenError: a key was tampered with; the batch was not written.
        """
        with self._working:
            with self._store.transaction() as connection:
                db.wrapping(self._store, connection)
                kek = self._keks.current
                if kek.kid != self._kid:  # another key since the last step: begin again
                    self._kid, self._after, self._left = kek.kid, b"", None
                if self._left is None:
                    self._left = _under_others(connection, kek.kid)
                rows = db.due_for_wrapping(connection, kek.kid, self._after, batch)
                if rows:
                    deks = self._subjects.deks(rows)
                    pids = list(deks)
                    changed: dict[str, list[Any]] = {
                        "pid": pids,
                        "kid": [kek.kid] * len(pids),
                        "wrapped": kek.wrap_all(list(deks.values()), pids),
                    }
                    self._store.update(connection, SUBJECT, ["pid"], changed)
                if len(rows) < batch:
                    self._register(connection, kek)
            # Only now is it on disk.
            if len(rows) == batch:
                self._after, self._left = rows[-1].pid, max(self._left - batch, 1)
                return self._left
            self._after, self._left = b"", None
            with self._store.transaction() as connection:
                db.wrapped(self._store, connection)
                return _under_others(connection, kek.kid)

    def _register(self, connection: db.Connection, kek: Kek) -> None:
        """The register's keys, which are few, come with the last batch."""
        rows = register.keys(connection, not_under=kek.kid, lock=True)
        deks = self._subjects.deks(rows)
        ids = [row.pid for row in rows]
        wrapped = kek.wrap_all([deks[one] for one in ids], ids)
        register.put_keys(self._store, connection, ids, kek.kid, wrapped)


def _under_others(connection: db.Connection, current: str) -> int:
    return sum(n for kid, n in db.keys_by_kid(connection).items() if kid != current)
