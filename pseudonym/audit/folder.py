"""A log's folder: what is in it, who holds it, and how its small files are replaced.

about       which log this is, and that it was made to the end
entries     the entries, in frames (`frames`): the only file that nothing else can make again
tree        the hashes of complete subtrees, in the order in which they became complete
starts      where each entry begins in `entries`, 8 bytes each
mark        up to where `tree` and `starts` were put on disk, so that opening need not read everything
public-key  what checkpoints are checked with, to be shown: a line a key that it has had, the present one last
lock        held by the process that writes
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pseudonym.errors import AuditError, AuditLockedError, AuditTamperedError

ABOUT, ENTRIES, TREE, STARTS, MARK, LOCK = "about", "entries", "tree", "starts", "mark", "lock"
PUBLIC_KEY = "public-key"

_FORMAT = "kinlink-audit/1"
_MARK_FORMAT = "kinlink-audit-mark/1"


def sync(folder: Path) -> None:
    """Put the names in a folder on disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file that is the old one or the new one, whole, whenever the machine stops.

    Raises:
        OSError: it cannot be written.
    """
    new = path.with_name(f"{path.name}.new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        write_all(handle, data, 0)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(new, path)
    sync(path.parent)


def write_all(handle: int, data: bytes, at: int) -> None:
    """Write all of the bytes at one place of a file."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(handle, rest, at)
        rest, at = rest[written:], at + written


def read_exactly(handle: int, size: int, at: int) -> bytes:
    """Read bytes at one place of a file; fewer where it ends."""
    parts = []
    while size:
        part = os.pread(handle, min(size, 1 << 30), at)
        if not part:
            break
        parts.append(part)
        size, at = size - len(part), at + len(part)
    return b"".join(parts)


def hold(folder: Path) -> int:
    """Take the log's lock, for as long as the handle that this returns is open.

    The folder is on a file system of this machine, not on a network's.

    Raises:
        AuditLockedError: somebody else has it.
        AuditError: there is no such folder.
    """
    try:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise AuditError(
            f"The audit log at {folder} cannot be opened: {error.strerror}.", "Create it, or name its folder."
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise AuditLockedError(
            f"The audit log at {folder} is in use by another process.", "One process at a time writes to it."
        ) from None
    return handle


def write_about(folder: Path, origin: str) -> None:
    """Say which log this is; the last step of making one."""
    replace(folder / ABOUT, _spelt({"format": _FORMAT, "origin": origin}))


def read_about(folder: Path) -> str:
    """The log's name.

    Raises:
        AuditError: the folder holds no log.
        AuditTamperedError: the file says something else than it should.
    """
    try:
        data = (folder / ABOUT).read_bytes()
    except OSError:
        raise AuditError(f"There is no audit log at {folder}.", "Create it, or name its folder.") from None
    content = _parsed(data)
    origin = content.get("origin")
    if content.get("format") != _FORMAT or not isinstance(origin, str):
        raise AuditTamperedError("The log's folder does not say which log it holds.", "Restore its files.")
    return origin


def say_keys(folder: Path, keys: Sequence[str]) -> None:
    """See to it that the log's public keys stand beside it, a line each; lines that stand there stay first.

    Nothing is read from there but by people: whoever checks a log has its key from elsewhere. So a disk that
    does not take the file stops nothing, and the next time that the log is opened mends it.

    Args:
        folder: of the log.
        keys: its public keys, as text, the present one last.
    """
    with suppress(OSError, UnicodeDecodeError):
        path = folder / PUBLIC_KEY
        said = path.read_text().splitlines() if path.exists() else []
        origin = keys[-1].partition("+")[0]
        known = [line for line in said if line.startswith(f"{origin}+") and line != keys[-1]]
        lines = [*known, *(key for key in keys if key not in known)]
        if lines != said:
            replace(path, "".join(f"{line}\n" for line in lines).encode())


def write_mark(folder: Path, size: int, end: int, root: bytes) -> None:
    """Say up to where the tree is on disk: entries, bytes of `entries`, root hash."""
    said: dict[str, object] = {"format": _MARK_FORMAT, "size": size, "end": end, "root": root.hex()}
    replace(folder / MARK, _spelt(said))


def read_mark(folder: Path) -> tuple[int, int, str] | None:
    """What `write_mark` wrote, or None where nothing that can be used is there."""
    try:
        content = _parsed((folder / MARK).read_bytes())
    except OSError:
        return None
    size, end, root = content.get("size"), content.get("end"), content.get("root")
    if not isinstance(size, int) or not isinstance(end, int) or not isinstance(root, str):
        return None
    return (size, end, root) if content.get("format") == _MARK_FORMAT and 0 <= size <= end else None


def open_files(folder: Path, names: Sequence[str], flags: int) -> list[int]:
    """Open some of the log's files, all or none.

    Raises:
        AuditError: one cannot be opened.
    """
    handles: list[int] = []
    try:
        for name in names:
            handles.append(os.open(folder / name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as error:
        for handle in handles:
            os.close(handle)
        raise AuditError(f"The log's file '{name}' cannot be opened: {error.strerror}.") from None
    return handles


def _spelt(content: dict[str, object]) -> bytes:
    return (json.dumps(content, sort_keys=True) + "\n").encode()


def _parsed(data: bytes) -> dict[str, object]:
    try:
        content = json.loads(data)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
