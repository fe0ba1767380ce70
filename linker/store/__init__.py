"""What the service must not forget, in one embedded SQLite database.

Invariants: whatever a method has returned from is on disk (WAL, synchronous FULL); one write is one
transaction, so a crash leaves the state before it or after it; a request id is taken in the transaction that
does what it asks. Records and results lie in files beside it; the models kept
here may hold values that are frequent, such as common surnames.
"""

from __future__ import annotations

from pathlib import Path

from linker.store.database import Database
from linker.store.jobs import Jobs
from linker.store.models import Models
from linker.store.references import References
from linker.store.submissions import Submissions


class Store:
    """The database and what is kept in it; its methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self.submissions = Submissions(self._database)
        self.jobs = Jobs(self._database)
        self.models = Models(self._database)
        self.references = References(self._database)

    def close(self) -> None:
        self._database.close()


__all__ = ["Store"]
