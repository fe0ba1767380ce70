"""How secret files are written, read and locked.

The rules this module keeps:

- A file is replaced as a whole or not at all, whenever the process or the machine stops.
- A secret file belongs to the user who runs the process, and nobody else can read or change it.
- A file has one spelling, so that none of its bytes can change unnoticed.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pseudonym.errors import KeysetError, PermissionsError, TamperedError

_LARGEST_FILE = 16 << 20
_AT_ONCE = 1 << 20  # bytes


def canonical(content: dict[str, Any]) -> bytes:
    """The one way in which a secret file is written: JSON, sorted, indented by one, ASCII, a newline last."""
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def parse(data: bytes, what: str) -> dict[str, Any]:
    """Read what `canonical` wrote, and nothing else, so that no byte of a file can change unnoticed.

    Raises:
        TamperedError: the bytes are not what would have been written.
    """
    try:
        content = json.loads(data)
        same = isinstance(content, dict) and canonical(content) == data
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise TamperedError(
            f"The {what}'s file is damaged or was altered.", "Restore it; nothing was opened."
        )
    found: dict[str, Any] = content
    return found


def read_secret_file(path: Path, what: str) -> bytes:
    """Read a file that only the user who runs this process may read or change.

    Raises:
        KeysetError: there is no such file, or it is too large.
        PermissionsError: it is no plain file, belongs to somebody else, or is open to others.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise KeysetError(f"There is no {what} at {path}.", "Create it, or name another place.") from None
    except OSError as error:
        raise PermissionsError(
            f"The {what} at {path} cannot be opened: {os.strerror(error.errno or 0)}.",
            "It is a plain file, no link, that belongs to the user who runs this.",
        ) from None
    try:
        _check_owner_only(os.fstat(handle), path, what)
        with open(handle, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)


def _check_owner_only(status: os.stat_result, path: Path, what: str) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionsError(
            f"The {what} at {path} is not a plain file of the user who runs this.",
            "Run as the user who made it.",
        )
    if mode & 0o077:
        raise PermissionsError(
            f"The {what} at {path} is open to other users (mode {mode:04o}).",
            "Run chmod 600 on it, and renew the master key if somebody may have read it.",
        )
    if status.st_size > _LARGEST_FILE:
        raise KeysetError(f"The {what} at {path} is too large to be one.")


def replace_file(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, durably, in place of the one that is there.

    After a crash at any moment the file is the old one or the new one, whole. The old one's blocks are
    overwritten; on a journalling or flash file system copies of them may remain all the same.

    Raises:
        KeysetError: it cannot be written.
    """
    try:
        discard_leftover(path)
        _replace(path, data)
    except OSError as error:
        raise KeysetError(f"{path} cannot be written: {os.strerror(error.errno or 0)}.") from error


def _replace(path: Path, data: bytes) -> None:
    new = _beside(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(new, flags, 0o600), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    with ExitStack() as stack:
        old = None
        with suppress(FileNotFoundError):
            old = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            stack.callback(os.close, old)
        os.replace(new, path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, directory)
        os.fsync(directory)
        if old is not None:
            _overwrite(old)


def destroy_file(path: Path) -> None:
    """Overwrite a file and delete it; where there is none, nothing: it may be done again after a crash.

    On a journalling or flash file system copies of its blocks may remain all the same. If it has another
    name, it is overwritten under that as well.

    Raises:
        KeysetError: it cannot be written or deleted.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise KeysetError(f"{path} cannot be destroyed: {os.strerror(error.errno or 0)}.") from error
    try:
        size = os.fstat(handle).st_size
        for start in range(0, size, _AT_ONCE):
            os.pwrite(handle, bytes(min(_AT_ONCE, size - start)), start)
        os.fsync(handle)
        os.unlink(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise KeysetError(f"{path} cannot be destroyed: {os.strerror(error.errno or 0)}.") from error
    finally:
        os.close(handle)


def discard_leftover(path: Path) -> None:
    """Overwrite and remove the half-written file that a crash left beside `path`, if there is one."""
    new = _beside(path)
    try:
        handle = os.open(new, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.unlink(new)
        _overwrite(handle)
    finally:
        os.close(handle)


def _beside(path: Path) -> Path:
    # One fixed name, so that what a crash leaves behind is found; writers hold the lock.
    return path.with_name(path.name + ".new")


def _overwrite(handle: int) -> None:
    status = os.fstat(handle)
    if status.st_nlink == 0:  # another name for the file would be somebody's copy of it
        os.pwrite(handle, bytes(status.st_size), 0)
        os.fsync(handle)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory's lock, so that one process or thread at a time opens or changes its keysets.

    The directory is on a file system of this machine, not on a network's.
    """
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KeysetError(f"{directory} cannot be opened: {os.strerror(error.errno or 0)}.") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
