"""What the service must not forget, in one embedded SQLite database.

Invariants: whatever a method has returned from is on disk (WAL, synchronous FULL); one write is one
transaction, so a crash leaves the state before it or after it; a request id is taken in the transaction that
does what it asks. Records and results lie in sealed files beside it; models, purposes and digests, which may
tell values of people, are sealed here. Names of projects, batches, sources, columns and callers are not.
"""

from __future__ import annotations

from pathlib import Path

from linker.store.database import Database
from linker.store.doomed import Doomed
from linker.store.jobs import Jobs
from linker.store.judgements import Judgements
from linker.store.models import Models
from linker.store.references import References
from linker.store.submissions import Submissions
from linker.vaulted import Safe


class Store:
    """The database and what is kept in it; its methods may be called from any thread.

    Attributes:
        safe: seals what is kept here and in the files beside it.
    """

    def __init__(self, path: Path, safe: Safe) -> None:
        """Open the database, or make it.

        Args:
            path: of its file.
            safe: what it is sealed with, and always was.

        Raises:
            LinkerError: the file is of another version, or was sealed with another safe.
        """
        self.safe = safe
        self._database = Database(path, safe)
        self.submissions = Submissions(self._database)
        self.jobs = Jobs(self._database)
        self.judgements = Judgements(self._database, safe)
        self.models = Models(self._database)
        self.references = References(self._database)
        self.doomed = Doomed(self._database)

    def close(self) -> None:
        self._database.close()


__all__ = ["Store"]
