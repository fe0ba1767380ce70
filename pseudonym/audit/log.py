"""One role's audit log: entries are on disk before anybody is told so, and cannot be changed unseen.

The rules this module keeps:

- `append` returns once its entries are on disk. Those that wait at the same time share one fsync.
- The events of one call are written all together or not at all, up to 1,000 of them or 8 MiB.
- Time never goes back. Where the clock does, by more than two seconds, nothing is written; unless the key's
  holder says that it was ahead before, which is an entry.
- Every 1,000 entries, or 60 seconds after the last time, the log signs what it is, into a folder that another
  party keeps. Where that does not succeed for long, the log takes no more entries.
- It never signs what contradicts a checkpoint that is kept: opening compares the two.
- It goes on under another key only after an entry that names it, which the key before has signed.
- One process at a time has the log.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from pseudonym.audit import merkle
from pseudonym.audit.checkpoint import Checkpoint, CheckpointFolder, Signer, VerifierKey
from pseudonym.audit.clock import Clock, later, system_clock
from pseudonym.audit.entries import CLOCK, HAND_OVER, OWN, Entry, Event, decode, prepare
from pseudonym.audit.folder import ABOUT, ENTRIES, hold, open_files, read_about, say_keys, sync, write_about
from pseudonym.audit.signing import Cadence, Signing
from pseudonym.audit.stored import Stored, read_entry, recover
from pseudonym.audit.writer import Waiting, Writer, grouped
from pseudonym.errors import (
    AuditCheckpointError,
    AuditError,
    AuditLockedError,
    AuditTamperedError,
    InputError,
    PseudonymError,
)

_LOG: Final = "audit-log"
_OPERATIONS: Final = "operations"


class Log:
    """One role's audit log, open for appending. Close it, or use it as a context.

    Appending is safe from any number of threads, and so is reading meanwhile. After a failed fsync the log
    takes nothing more until it is opened again.
    """

    def __init__(
        self,
        writer: Writer,
        signing: Signing,
        officer: X25519PublicKey,
        clock: Clock,
        folder: Path,
        files: tuple[int, Stored],
        closing: ExitStack,
    ) -> None:
        """Not to be called: use `Log.create` or `Log.open`."""
        self._writer, self._signing, self._officer, self._clock = writer, signing, officer, clock
        self._folder = folder
        self._entries, self._stored = files
        self._closing = closing
        self._process = os.getpid()
        self._queue: list[Waiting] = []
        self._queueing, self._writing = threading.Lock(), threading.Lock()
        self._closed = False
        self._named: VerifierKey | None = None

    def __repr__(self) -> str:
        return f"Log(origin={self.origin!r}, size={self.size})"

    @classmethod
    def create(
        cls,
        folder: Path,
        checkpoints: Path,
        signer: Signer,
        officer: X25519PublicKey,
        *,
        clock: Clock = system_clock,
        cadence: Cadence | None = None,
    ) -> Self:
        """Make an empty log and keep a checkpoint of it, then open it.

        Args:
            folder: of the log; made if it is not there, and otherwise empty.
            checkpoints: the folder that another party keeps, for this log alone.
            signer: the log's name and key.
            officer: the data protection officer's public key, to which details are sealed.
            clock: the time.
            cadence: when checkpoints are due.

        Raises:
            AuditError: there is a log at either place already, or a folder is missing.
        """
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise AuditError(f"{folder} cannot be made: {error.strerror}.") from None
        lock = hold(folder)
        try:
            names = {path.name for path in folder.iterdir()}
            if ABOUT in names or (ENTRIES in names and (folder / ENTRIES).stat().st_size):
                raise AuditError(f"There is already an audit log at {folder}.", "Open it.")
            keys, kept = [signer.verifier], CheckpointFolder(checkpoints)
            newest = kept.newest(keys)
            if newest is not None and newest.size:
                raise AuditError(
                    f"The checkpoints at {checkpoints} are those of a log with {newest.size} entries.",
                    "Restore that log, or keep the new one's checkpoints elsewhere.",
                )
            os.close(open_files(folder, [ENTRIES], os.O_WRONLY | os.O_CREAT)[0])
            kept.keep(Checkpoint.sign(signer, 0, merkle.EMPTY_ROOT))
            write_about(folder, signer.verifier.name)
            sync(folder.absolute().parent)
        finally:
            os.close(lock)
        return cls.open(folder, checkpoints, signer, officer, clock=clock, cadence=cadence)

    @classmethod
    def open(
        cls,
        folder: Path,
        checkpoints: Path,
        signer: Signer,
        officer: X25519PublicKey,
        *,
        former: Sequence[Signer] = (),
        clock_was_ahead: str = "",
        clock: Clock = system_clock,
        cadence: Cadence | None = None,
    ) -> Self:
        """Open a log, cut away what a crash left half-written, and sign what is not signed yet.

        Args:
            folder: of the log.
            checkpoints: the folder that another party keeps.
            signer: the log's name and present key.
            officer: the data protection officer's present public key.
            former: keys that the log signed with before. If it still does, it is handed over: see
                `hand_over`.
            clock_was_ahead: who says that the last entries were written with a clock that was ahead, and that
                the present one is right; the log keeps it in an entry. Nobody, by default.
            clock: the time.
            cadence: when checkpoints are due.

        Raises:
            InputError: the clock is not behind the last entry, though somebody says that it was ahead.
            AuditError: there is none, or it is another one than the signer's.
            AuditLockedError: it is in use.
            AuditClockError: the clock stands before the last entry.
            AuditTamperedError: it is not as it was written, or contradicts the newest checkpoint.
            AuditCheckpointError: the checkpoints cannot be read or written.
        """
        with ExitStack() as stack:
            stack.callback(os.close, hold(folder))
            if read_about(folder) != signer.verifier.name:
                raise AuditError(
                    "The log is not the one that the key signs for.", "Name another folder or key."
                )
            kept = CheckpointFolder(checkpoints)
            signers = (signer, *former)
            newest = kept.settle([one.verifier for one in signers])
            if newest is None:
                raise AuditTamperedError(
                    "No checkpoint of the log is kept.", "Ask the party that keeps them; restore the newest."
                )
            entries = open_files(folder, [ENTRIES], os.O_RDWR)[0]
            stack.callback(os.close, entries)
            stored = Stored(folder, os.O_RDWR | os.O_CREAT)
            stack.callback(stored.close)
            found = recover(folder, entries, stored, newest.size)
            _compare(stored, newest)
            if not clock_was_ahead:
                later(clock(), found.last)
            writer = Writer(folder, entries, stored, found)
            present = next(one for one in signers if one.verifier in newest.signed)
            signing = Signing(kept, present, newest, clock, cadence or Cadence())
            signing.sign(writer.frontier)
            log = cls(writer, signing, officer, clock, folder, (entries, stored), stack)
            if clock_was_ahead:
                log._set_back(clock_was_ahead)
            log.hand_over(signer)
            say_keys(folder, [str(one.verifier) for one in (*former[::-1], signer)])
            log._closing = stack.pop_all()
            return log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Sign what is not signed yet and give the log up. What was acknowledged is on disk in any case.

        Raises:
            AuditCheckpointError: the last checkpoint could not be kept. The log is closed all the same.
        """
        with self._writing, self._closing:
            if not self._closed and self._writer.refusal is None and os.getpid() == self._process:
                self._closed = True
                self._writer.mark(least=1)
                self._signing.sign(self._writer.frontier)
            self._closed = True

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.verifier.name

    @property
    def verifier(self) -> VerifierKey:
        """The public key of its checkpoints: give it to whoever checks the log."""
        return self._signing.signer.verifier

    @property
    def size(self) -> int:
        """How many entries are on disk."""
        return self._writer.size

    @property
    def checkpoint(self) -> Checkpoint:
        """The newest checkpoint that is kept."""
        return self._signing.newest

    def root(self, size: int | None = None) -> bytes:
        """The root hash of the first `size` entries, or of all."""
        return merkle.root(self._stored.node, self._upto(size))

    def entry(self, number: int) -> Entry:
        """One entry, as it stands.

        Raises:
            AuditError: the log has no such entry.
            AuditTamperedError: what stands there is none, or another one.
        """
        self._upto(number + 1)
        entry = decode(read_entry(self._entries, self._stored, number))
        if entry.number != number:
            raise AuditTamperedError(
                "Another entry stands there.", "'kinlink audit verify' says more.", number
            )
        return entry

    def inclusion(self, number: int, size: int | None = None) -> list[bytes]:
        """The proof that an entry is in the tree of the first `size` entries: see `merkle.inclusion_path`."""
        return merkle.inclusion_path(self._stored.node, number, self._upto(size))

    def consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """The proof that the log only grew from `old` to `new` entries: see `merkle.consistency_path`."""
        return merkle.consistency_path(self._stored.node, old, self._upto(new))

    def append(self, events: Sequence[Event]) -> range:
        """Write events; they are on disk when this returns.

        Args:
            events: what happened. More than 1,000, or than 8 MiB, are written in several steps, of which a
                crash may leave the first ones.

        Returns:
            The numbers of their entries.

        Raises:
            InputError: an event has not the form of one. None was written.
            AuditClockError: the clock was set back. None was written.
            AuditCheckpointError: no checkpoint could be kept for long. None was written.
            AuditError: the disk refused them, or the log is closed.
        """
        self._check_usable()
        if any(event.action in OWN for event in events):
            raise InputError("Entries of this action are the log's own.")
        waiting = Waiting([prepare(event, self._officer) for event in events])
        with self._queueing:
            self._queue.append(waiting)
        # Whoever comes first writes for all who wait meanwhile; they then find their own done.
        with self._writing:
            if waiting.numbers is None and waiting.error is None:
                self._write_waiting()
        if waiting.numbers is not None:
            return waiting.numbers
        if isinstance(waiting.error, PseudonymError):
            raise waiting.error
        raise AuditError(
            "The entries could not be written.", "See to the disk, then open the log again."
        ) from waiting.error

    def sign(self) -> Checkpoint:
        """Sign what there is now, whether that is due or not, and return the checkpoint that is kept.

        Raises:
            AuditCheckpointError: the checkpoint cannot be kept.
        """
        self._check_usable()
        with self._writing:
            if not self._closed:
                self._sign()
            return self._signing.newest

    def tick(self) -> None:
        """Sign if a checkpoint is due. Call it now and then: time passes without entries, too.

        Raises:
            AuditCheckpointError: the checkpoint cannot be kept.
        """
        self._check_usable()
        with self._writing:
            if not self._closed and self._signing.due(self.size):
                self._sign()

    def hand_over(self, successor: Signer) -> None:
        """Go on under another key, after an entry that names it and a checkpoint that both keys sign.

        Whoever trusts the key before then knows by the log itself that the other one took its place. Once
        this returns, the key before is needed no more.

        Args:
            successor: the log's name, and its next key; nothing is done if it is the present one.

        Raises:
            AuditError: it signs for another log, or nothing can be written.
            AuditCheckpointError: the checkpoint cannot be kept; the log goes on under the present key. Try
                again.
        """
        self._check_usable()
        if successor.verifier.name != self.origin:
            raise AuditError("The key signs for another log.", "Name the log's own.")
        with self._writing:
            if self._closed or successor.verifier == self.verifier:
                return
            # If the last try was cut off, its entry still stands; unless it was signed by one key alone.
            if self._named != successor.verifier or self._signing.newest.size == self.size:
                self._write_own(HAND_OVER, successor.verifier.key)
                self._named = successor.verifier
            self._signing.hand_over(self._writer.frontier, successor)
            self._writer.mark()
            say_keys(self._folder, [str(successor.verifier)])

    def _set_back(self, who: str) -> None:
        now = self._clock()
        seconds = (self._writer.last - now) // 1_000_000
        if seconds < 1:
            raise InputError("The clock is not behind the log's last entry.", "Nothing was written.")
        prepared = prepare(Event(who, CLOCK, _OPERATIONS, count=seconds), self._officer)
        self._writer.write([prepared], now, lambda: None)
        self._signing.sign(self._writer.frontier)

    def _write_own(self, action: str, subject: bytes) -> None:
        prepared = prepare(Event(_LOG, action, _OPERATIONS, subject=subject, count=1), self._officer)
        self._writer.write([prepared], later(self._clock(), self._writer.last), lambda: None)

    def _check_usable(self) -> None:
        if self._process != os.getpid():
            raise AuditLockedError("The log was opened by another process.", "Open it where it is used.")
        if self._closed:
            raise AuditError("The log is closed.", "Open it again.")
        if self._writer.refusal is not None:
            raise self._writer.refusal

    def _upto(self, size: int | None) -> int:
        if self._closed:
            raise AuditError("The log is closed.", "Open it again.")
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise AuditError("The log has not so many entries.", "Entries are counted from 0.")
        return size

    def _write_waiting(self) -> None:
        with self._queueing:
            queue, self._queue = self._queue, []
        try:
            self._check_usable()
            if self._signing.overdue(self.size):
                self._sign()
            now = later(self._clock(), self._writer.last)
            for together in grouped(queue):
                prepared = [tail for waiting in together for tail in waiting.prepared]
                first = self._writer.write(prepared, now, self._sign_if_due).start
                for waiting in together:
                    waiting.numbers = range(first, first + len(waiting.prepared))
                    first += len(waiting.prepared)
        except BaseException as error:
            for waiting in queue:
                if waiting.numbers is None:
                    waiting.error = error
            if not isinstance(error, Exception):
                raise

    def _sign_if_due(self) -> None:
        # The entries are on disk and will be acknowledged, whatever becomes of the checkpoint. It is tried
        # again with the next ones; once it is overdue, they are refused.
        if self._signing.due(self.size):
            with suppress(AuditCheckpointError):
                self._sign()

    def _sign(self) -> None:
        try:
            self._signing.sign(self._writer.frontier)
        except AuditTamperedError as error:
            self._writer.refusal = error
            raise
        self._writer.mark()


def _compare(stored: Stored, newest: Checkpoint) -> None:
    if merkle.root(stored.node, newest.size) != newest.root:
        raise AuditTamperedError(
            f"The log's first {newest.size} entries are not those that its newest checkpoint signed.",
            "Nothing was written. 'kinlink audit verify' says where they differ.",
            0,
            newest.size - 1,
        )
