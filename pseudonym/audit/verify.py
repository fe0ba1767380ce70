"""Whether a log is what it was, by the checkpoints that another party kept. Offline; nothing is written.

The rules this module keeps:

- Nothing is believed but the entries themselves, the checkpoints and the public key. The other files of the
  log only help to say *where* it was changed, and only as far as a signed root hash vouches for them.
- Every kept checkpoint must be signed, and the log must have its root hash at its size. So the log at each of
  them is the beginning of the log at the next.
- A key is believed if it was given, or if the log named it in an entry that a checkpoint of a believed key
  covers. Once it has signed, the keys before it sign nothing more.
- Entries that no checkpoint covers are refused, unless the log is said to be in use.
- What does not hold raises; the error names the first entry that is concerned, counted from 0.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from pseudonym.audit.checkpoint import Checkpoint, CheckpointFolder, VerifierKey, read_kept
from pseudonym.audit.clock import Clock, system_clock
from pseudonym.audit.entries import CLOCK, HAND_OVER, Entry, decode
from pseudonym.audit.folder import ENTRIES, open_files, read_about
from pseudonym.audit.frames import SpoiltError, read
from pseudonym.audit.merkle import Frontier, leaf_hash
from pseudonym.audit.stored import Stored
from pseudonym.errors import AuditCheckpointError, AuditError, AuditStrangerError, AuditTamperedError

LIVE_ENTRIES = 2000
LIVE_MICROSECONDS = 180 * 1_000_000

_HELP = "Keep the folder as it is, and ask who could write to it."
_UNSIGNED = "Where the log is in use, say so with --live; otherwise somebody without the key added them."
_UNSIGNED_LIVE = "A log in use is signed within three minutes: ask why it is not, and who could write to it."


@dataclass(frozen=True, slots=True)
class Verified:
    """What was shown of a log.

    Attributes:
        origin: its name.
        entries: how many it has: each is there, in order, unchanged.
        signed: how many of them the newest checkpoint covers.
        checkpoints: how many different checkpoints were compared.
        root: the root hash of all entries.
        key: the key that signs it now.
        first, last: the times of its first and last entry, None in an empty log.
    """

    origin: str
    entries: int
    signed: int
    checkpoints: int
    root: bytes
    key: VerifierKey
    first: datetime | None
    last: datetime | None


def verify(
    folder: Path,
    checkpoints: Path,
    keys: Sequence[VerifierKey],
    *,
    live: bool = False,
    clock: Clock = system_clock,
    progress: Callable[[int, int], None] | None = None,
) -> Verified:
    """Check a log against the checkpoints that another party kept.

    Args:
        folder: of the log, or of a copy of it.
        checkpoints: the other party's folder.
        keys: the log's public key, from the party that keeps the checkpoints; it may have handed over to
            others since.
        live: the log is in use. Up to 2,000 entries of the last three minutes may then be without a
            checkpoint, and the last frame may be in the middle of being written.
        clock: the time, for `live`.
        progress: called with bytes read and bytes in all.

    Raises:
        AuditTamperedError: the log or a checkpoint is not as it was.
        AuditCheckpointError: no checkpoint is kept, or they cannot be read.
        AuditError: there is no log, or it is another one than the key's.
    """
    origin = read_about(folder)
    if origin not in {key.name for key in keys}:
        raise AuditError("The log is not the one that the key signs for.", "Name another folder or key.")
    # Checkpoints first: the entries of a log in use are then at least as many.
    notes = list(CheckpointFolder(checkpoints).notes())
    with _Reading(folder, live) as reading:
        believed = _Believed([key for key in keys if key.name == origin], reading.named(origin))
        kept, strange = _collect(notes, believed)
        check = _Check(kept, reading.leaf)
        for first, entries, at in reading.frames():
            check.take(first, entries)
            if progress:
                progress(at, reading.stop)
        check.finish(reading.spoilt, live, clock, strange)
    times = [entry.time if entry else None for entry in (check.first, check.last)]
    root = check.tree().root()
    return Verified(origin, check.size, kept[-1].size, len(kept), root, kept[-1].signed[-1], *times)


class _Believed:
    """Which keys are believed: those that were given, and those that the log names, from there on.

    Args:
        given: the keys that whoever checks has.
        named: numbers of the entries that name a key, and the keys, in order.
    """

    def __init__(self, given: Sequence[VerifierKey], named: Sequence[tuple[int, VerifierKey]]) -> None:
        self.all = [*given, *(key for _, key in named)]
        self._before = list(given)
        self._named = list(named)
        self._after: list[VerifierKey] = []

    def take(self, checkpoint: Checkpoint) -> bool:
        """Whether a believed key signed the next larger checkpoint; keys named below it then are believed."""
        if not set(checkpoint.signed) & {*self._before, *self._after}:
            return False
        while self._named and self._named[0][0] < checkpoint.size:
            _, key = self._named.pop(0)
            if key not in self._after:
                self._after.append(key)
        if signed := [number for number, key in enumerate(self._after) if key in checkpoint.signed]:
            # It has taken over: whoever has a key from before cannot go on with the log.
            self._before, self._after = [], self._after[signed[-1] :]
        return True


def _collect(
    notes: Sequence[tuple[str, bytes]], believed: _Believed
) -> tuple[list[Checkpoint], AuditTamperedError | None]:
    """The checkpoints in order, up to the first that no believed key signed; and the error that this one is.

    It is an error of the entries, if these do not name a key as they did: so they are looked at first.
    """
    found: list[tuple[str, Checkpoint]] = []
    strange: AuditTamperedError | None = None
    for name, data in notes:
        try:
            found.append((name, read_kept(name, data, believed.all)))
        except AuditStrangerError as error:
            strange = strange or error
    kept: dict[int, Checkpoint] = {}
    for name, checkpoint in sorted(found, key=lambda one: one[1].size):
        if not believed.take(checkpoint):
            strange = strange or AuditStrangerError(
                f"The kept checkpoint {name} is signed with a key that the log gave up, or had not named.",
                "Find out who used the key.",
            )
            break
        if kept.setdefault(checkpoint.size, checkpoint).root != checkpoint.root:
            raise AuditTamperedError(
                f"Two checkpoints of {checkpoint.size} entries contradict each other; one is {name}.",
                "The log's key signed two histories: it was misused.",
            )
    if not kept:
        raise strange or AuditCheckpointError(
            "No checkpoint is kept there.", "Name the folder of the other party."
        )
    return [kept[size] for size in sorted(kept)], strange


class _Reading:
    """The files of a log, read from the beginning."""

    def __init__(self, folder: Path, live: bool) -> None:
        self._folder, self._live = folder, live
        self.spoilt: SpoiltError | None = None
        self.stop = 0

    def __enter__(self) -> _Reading:
        self._entries = open_files(self._folder, [ENTRIES], os.O_RDONLY)[0]
        self.stop = os.fstat(self._entries).st_size
        try:
            self._stored: Stored | None = Stored(self._folder, os.O_RDONLY)
        except AuditError:
            self._stored = None
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._entries)
        if self._stored:
            self._stored.close()

    def frames(self) -> Iterator[tuple[int, list[bytes], int]]:
        """First number, entries and end of each frame, up to the first that is spoilt."""
        at = 0
        while at < self.stop:
            try:
                frame = read(self._entries, at, self.stop)
            except SpoiltError as spoilt:
                if not (self._live and spoilt.torn):
                    self.spoilt = spoilt
                return
            at = frame.end
            yield frame.first, frame.entries, at

    def named(self, origin: str) -> list[tuple[int, VerifierKey]]:
        """The keys that the log went on under, with the numbers of the entries that say so."""
        found = []
        for _, entries, _ in self.frames():
            for data in entries:
                if HAND_OVER.encode() in data:
                    with suppress(AuditTamperedError):  # said when the entries are checked
                        entry = decode(data)
                        if entry.action == HAND_OVER:
                            found.append((entry.number, VerifierKey(origin, entry.subject)))
        return found

    def leaf(self, number: int) -> bytes | None:
        """The hash that the log itself keeps of an entry, if it does."""
        try:
            return self._stored.node(0, number) if self._stored else None
        except AuditTamperedError:
            return None


class _Check:
    """Goes through the entries once, and compares the tree with each checkpoint on its way."""

    def __init__(self, kept: Sequence[Checkpoint], stored_leaf: Callable[[int], bytes | None]) -> None:
        self.size = 0
        self.first: Entry | None = None
        self.last: Entry | None = None
        self._kept = kept
        self._next = 0
        self._stored_leaf = stored_leaf
        # The tree at the last checkpoint that held, and since then: the leaves, and the first entry's time.
        self._sure = Frontier()
        self._leaves: list[bytes] = []
        self._since = 0
        self._compare()

    def tree(self) -> Frontier:
        """The tree of all entries so far."""
        tree = self._sure.copy()
        tree.add(self._leaves)
        return tree

    def take(self, first: int, entries: Sequence[bytes]) -> None:
        """Go on with the next frame."""
        for number, data in enumerate(entries, first):
            self._take(number, data)

    def finish(
        self, spoilt: SpoiltError | None, live: bool, clock: Clock, strange: AuditTamperedError | None
    ) -> None:
        """Say whether what was read is all there must be."""
        size, signed = self.size, self._kept[-1].size
        if spoilt:
            self._blame(f"the frame that begins with it {spoilt.what}", spoilt)
        if size < signed:
            raise AuditTamperedError(
                f"{_entries(size, signed - 1)} missing: {signed} were signed, and the log has {size}.",
                _HELP,
                size,
                signed - 1,
            )
        if strange is not None:
            raise strange
        if size > signed:
            fresh = size - signed <= LIVE_ENTRIES and clock() - self._since <= LIVE_MICROSECONDS
            if not (live and fresh):
                raise AuditTamperedError(
                    f"{_entries(signed, size - 1)} covered by no checkpoint.",
                    _UNSIGNED_LIVE if live else _UNSIGNED,
                    signed,
                    size - 1,
                )

    def _take(self, number: int, data: bytes) -> None:
        try:
            entry = decode(data)
        except AuditTamperedError:
            self._blame("what stands there is no entry")
        if entry.number != self.size or number != self.size:
            self._blame(f"entry {entry.number} stands there")
        if self.last and entry.microseconds < self.last.microseconds and entry.action != CLOCK:
            self._blame("it is older than the one before it")
        if not self._leaves:
            self._since = entry.microseconds
        self._leaves.append(leaf_hash(data))
        self.size += 1
        self.first, self.last = self.first or entry, entry
        self._compare()

    def _compare(self) -> None:
        if self._next == len(self._kept) or self._kept[self._next].size != self.size:
            return
        tree = self.tree()
        if tree.root() != self._kept[self._next].root:
            self._blame_changed(self.size)
        self._next += 1
        self._sure, self._leaves = tree, []

    def _blame(self, what: str, spoilt: SpoiltError | None = None) -> NoReturn:
        """The log is put together wrongly at the next entry; an earlier one may be the first that is."""
        number = first = last = self.size
        unread = spoilt.entries if spoilt else []
        if spoilt and spoilt.count:
            last = number + spoilt.count - 1
        if self._next < len(self._kept):
            present = self._leaves + [leaf_hash(entry) for entry in unread]
            changed = self._first_changed(self._kept[self._next].size, present)
            if changed is not None:
                first = last = changed
        where = f"At entry {number}: {what}."
        raise AuditTamperedError(f"{_entries(first, last, 'changed')}. {where}", _HELP, first, last)

    def _blame_changed(self, size: int) -> NoReturn:
        """All is in order but for the root hash: entries were changed and everything else put right."""
        changed = self._first_changed(size, self._leaves)
        first, last = (self._sure.size, size - 1) if changed is None else (changed, changed)
        raise AuditTamperedError(
            f"{_entries(first, last, 'changed')} since the checkpoint of {size} entries was signed.",
            _HELP,
            first,
            last,
        )

    def _first_changed(self, size: int, present: Sequence[bytes]) -> int | None:
        """The first entry up to a checkpoint that is another one now; None where that cannot be told.

        The log's own stored hashes tell, if together they have the root hash that was signed.
        """
        stored = [self._stored_leaf(number) for number in range(self._sure.size, size)]
        before = [leaf for leaf in stored if leaf is not None]
        tree = self._sure.copy()
        tree.add(before)
        signed = next(checkpoint.root for checkpoint in self._kept if checkpoint.size == size)
        if len(before) != len(stored) or tree.root() != signed:
            return None
        for number, (was, now) in enumerate(zip(before, present, strict=False), self._sure.size):
            if was != now:
                return number
        return None


def _entries(first: int, last: int, done: str = "") -> str:
    """The beginning of a sentence about one entry or several."""
    if first == last:
        return f"Entry {first} was {done}" if done else f"Entry {first} is"
    if done:
        return f"One or more of the entries {first} to {last} were {done}"
    return f"Entries {first} to {last} are"
