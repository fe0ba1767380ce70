"""Folders of the linkage service: each has a key of its own, and everything in it is sealed under that key.

    make a key ──▶ seal files, open files ──▶ destroy the key: what was sealed is gone, in every copy

The rules this module keeps:

- A folder is a submission, a job, a reference, a model or the service's own notes; its key is 32 random
  bytes, wrapped under the identity role's KEK, in the identity role's store.
- A key that was destroyed does not come back: nothing is kept of it in memory either.
- Each month's new KEK wraps these keys anew (`FolderKeys.rewrap`), and an old one that wraps any
  (`FolderKeys.kids`) is not destroyed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import IO

from pseudonym import destruction
from pseudonym.attribute_subjects import unwrapped
from pseudonym.errors import KeyMissingError, PseudonymError
from pseudonym.keks import Keks
from pseudonym.seal import new_deks
from pseudonym.sealed_files import SealedFile, conceal, reveal, seal_parts
from pseudonym.storage.engine import Store
from pseudonym.storage.rows import AT_ONCE
from pseudonym.storage.rows_folders import FolderKeyRows, id_of

REMEMBERED = 256  # keys in memory


class FolderKeys:
    """The keys of folders; usable from any thread.

    Args:
        store: the identity role's.
        keks: its key-encrypting keys.
    """

    def __init__(self, store: Store, keks: Keks) -> None:
        self._rows, self._keks = FolderKeyRows(store), keks
        self._lock = threading.Lock()
        self._opened: dict[str, bytes] = {}

    def make(self, folder: str) -> None:
        """Make a folder's key, if it has none."""
        (dek,) = new_deks(1)
        with self._rows.write() as at:
            self._rows.alone(at)  # only now is the KEK asked for: none is found left over by `kids`
            kek = self._keks.current
            self._rows.add(at, folder, kek.kid, kek.wrap(dek, id_of(folder)))

    def key(self, folder: str) -> bytes:
        """A folder's key.

        Raises:
            KeyMissingError: there is none, or it was destroyed, or it is wrapped under a KEK not at hand.
            SealBrokenError: it was altered, or is another folder's.
        """
        with self._lock:
            if folder in self._opened:
                return self._opened[folder]
            with self._rows.read() as at:
                found = self._rows.key(at, folder)
            if found is None:
                raise KeyMissingError(
                    "The key of this data is not there, or no longer.", "What it sealed cannot be read."
                )
            kid, wrapped = found
            (dek,) = unwrapped(self._keks, [(id_of(folder), kid, wrapped)])
            while len(self._opened) >= REMEMBERED:
                del self._opened[next(iter(self._opened))]
            self._opened[folder] = dek
            return dek

    def destroy(self, folders: Sequence[str]) -> int:
        """Destroy folders' keys for good, down to the bytes of the database's files; it may be repeated.

        Returns:
            How many there were.

        Raises:
            StoreError: the database is being read; they are deleted, and their bytes stay until this is
                repeated.
        """
        with self._lock:
            with self._rows.write() as at:
                gone = self._rows.delete(at, folders)
            for folder in folders:
                self._opened.pop(folder, None)
        self._rows.forget()
        return gone

    def rewrap(self, *, batch: int = AT_ONCE) -> int:
        """Wrap every folder's key under the newest KEK, in batches; how many were under another.

        Raises:
            KeyMissingError: one is wrapped under a KEK that is not at hand.
            SealBrokenError: one was altered; its batch was not written.
        """
        return destruction.rewrap(self._rows, self._keks, batch=batch)

    def kids(self) -> dict[str, int]:
        """How many folders' keys are wrapped under each KEK, by its id; whoever is wrapping is waited for."""
        with self._rows.write() as at:
            self._rows.alone(at)
            return self._rows.kids(at)


class SealedFolders:
    """What the linkage service keeps its data with: its `linker.vaulted.Safe`.

    Args:
        keys: the folders' keys.
        broken: makes the error that tells the linkage service, in its own terms, why something does not open,
            of a sentence and what to do.
    """

    def __init__(self, keys: FolderKeys, broken: Callable[[str, str], Exception]) -> None:
        self._keys, self._broken = keys, broken

    def make(self, folder: str) -> None:
        """Make a folder's key, if it has none."""
        self._keys.make(folder)

    def destroy(self, folders: Sequence[str]) -> None:
        """Destroy folders' keys for good; it may be repeated."""
        self._keys.destroy(folders)

    def sealed(self, folder: str, name: str, parts: Iterable[bytes], end: bytes) -> Iterator[bytes]:
        """A file's parts, sealed, to be written in order."""
        return seal_parts(self._key(folder), folder, name, parts, end)

    def opened(self, folder: str, name: str, file: IO[bytes]) -> OpenedFile:
        """A sealed file, to be read part by part."""
        with self._told():
            return OpenedFile(SealedFile(self._keys.key(folder), folder, name, file), self._told)

    def conceal(self, folder: str, place: str, value: bytes) -> bytes:
        """A short value, sealed so that equal ones of one place stay equal."""
        return conceal(self._key(folder), folder, place, value)

    def reveal(self, folder: str, place: str, sealed: bytes) -> bytes:
        """What `conceal` sealed."""
        with self._told():
            return reveal(self._keys.key(folder), folder, place, sealed)

    def _key(self, folder: str) -> bytes:
        with self._told():
            return self._keys.key(folder)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except PseudonymError as error:
            raise self._broken(error.message, error.help) from None


class OpenedFile:
    """A sealed file whose errors are those of the linkage service."""

    def __init__(self, file: SealedFile, told: Callable[[], AbstractContextManager[None]]) -> None:
        self._file, self._told = file, told
        self.parts, self.end = file.parts, file.end

    def part(self, number: int) -> bytes:
        """The content of a part, counted from 0."""
        with self._told():
            return self._file.part(number)
