"""Lists of numbers in files, each sealed under a key of its own that is destroyed with it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pseudonym.errors import KeyMissingError, NotFoundError
from pseudonym.files import replace_file
from pseudonym.folders import FolderKeys
from pseudonym.sealed_files import SealedFile, seal_parts


class SealedLists:
    """A `pseudonym.optouts.checks.Lists` in one folder.

    Args:
        folder: where the files are; made if it is not there.
        keys: the keys, in the role's database.
    """

    def __init__(self, folder: Path, keys: FolderKeys) -> None:
        self._folder, self._keys = folder, keys
        folder.mkdir(mode=0o700, exist_ok=True)

    def put(self, check: str, which: str, content: bytes) -> None:
        self._keys.make(check)
        sealed = seal_parts(self._keys.key(check), check, which, (), content)
        replace_file(self._path(check, which), b"".join(sealed))

    def get(self, check: str, which: str) -> bytes:
        try:
            with self._path(check, which).open("rb") as file:
                return SealedFile(self._keys.key(check), check, which, file).end
        except (FileNotFoundError, KeyMissingError):
            raise NotFoundError("The list is destroyed.", "Send a new one.") from None

    def destroy(self, check: str) -> None:
        self._keys.destroy([check])
        for path in self._folder.glob(f"{check}.*"):
            with suppress(FileNotFoundError):
                path.unlink()

    def names(self) -> set[str]:
        return {path.stem for path in self._folder.glob("ck-*.*")}

    def _path(self, check: str, which: str) -> Path:
        return self._folder / f"{check}.{which}"
