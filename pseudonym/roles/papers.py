"""Small files of one sort in one folder: what a role has promised and not done yet, beside its database.

Each is replaced as a whole, and durable once it is written. They are no part of the database's backups: a
database that is put back does not take a promise back with it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pseudonym.files import canonical, locked, parse, read_secret_file, replace_file

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Papers:
    """The files of one sort; usable from any thread.

    Args:
        folder: where they are kept; made if it is not there.
        what: what each is, in a word, for errors.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self._folder, self._what = folder, what
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, exist_ok=True)

    def read(self, name: str) -> dict[str, Any] | None:
        """The content of one, or None where there is none of this name.

        Raises:
            TamperedError: it is not as it was written.
        """
        path = self._folder / f"{name}.json"
        if not _NAME.fullmatch(name) or not path.exists():
            return None
        with self._lock:
            return parse(read_secret_file(path, self._what), self._what)

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write one in the place of the one before, which is overwritten; it is on disk when this returns."""
        with self._lock, locked(self._folder):
            replace_file(self._folder / f"{name}.json", canonical(content))

    def remove(self, name: str) -> None:
        """Delete one; a crash leaves it whole, or none."""
        with self._lock, locked(self._folder):
            (self._folder / f"{name}.json").unlink(missing_ok=True)

    def all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """All of them, by name."""
        for path in sorted(self._folder.glob("*.json")):
            content = self.read(path.stem)
            if content is not None:
                yield path.stem, content
