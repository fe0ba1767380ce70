"""The ledger of erasures: a file beside the store, to which entries are only added.

The rules this module keeps:

- An entry is on disk before the erasure that it is about begins.
- Each entry is chained to the one before with a keyed digest: none can be altered, removed or slipped in
  without the key.
- An entry names nobody: a reference is PRF(K, "erased/1", role, what, id), 16 bytes. Without the key it
  cannot be compared with anything, and with the key only with ids that one already has.
- What a crash leaves half-written at its end is left out: part of a line, or of the lines of one erasure,
  and noughts after it up to the end of the file. Any other change is refused, and nothing is cut off.

One line an entry: number, what, day, reference, chain.
"""

from __future__ import annotations

import hmac
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self, TypeAlias

from pseudonym.errors import InputError, LedgerError, StoreError
from pseudonym.lines import Lines
from pseudonym.urn import ID_BYTES, _Keyed, check_label, enc, prf

DIGEST_BYTES = 32
Noted: TypeAlias = Callable[[int, bytes], None]
"""Told how many entries there are, and the chain's value after the last."""

_FORMAT = "kinlink-erasures/1"
_LINE = re.compile(rb"([0-9]+) ([a-z]+) ([0-9]+) ([0-9a-f]{32}) ([0-9a-f]{64})")


class What(StrEnum):
    """What an entry is about, and so what its reference was made from."""

    SUBJECT = "subject"  # a pid or an aid
    PROJECT = "project"  # the project's name
    DOMAIN = "domain"  # a recipient's epoch: enc(project, recipient, epoch byte)


@dataclass(frozen=True, slots=True)
class Entry:
    """One erasure.

    Attributes:
        number: its place, from 1.
        what: what was erased.
        day: when, in days since 1970 (UTC).
        reference: 16 bytes.
        chain: the keyed digest of everything up to here.
    """

    number: int
    what: What
    day: int
    reference: bytes
    chain: bytes


class LedgerKey(_Keyed):
    """The key of one role's ledger: makes references and chains entries.

    Args:
        secret: 32 random bytes, used for nothing else.
        role: identity, broker or attributes.
    """

    __slots__ = ("_chain", "role")

    def __init__(self, secret: bytes, role: str) -> None:
        super().__init__(secret)
        self.role = check_label(role, "role")
        self._chain = prf(secret, "erasures-chain/1", role)

    def __repr__(self) -> str:
        return f"LedgerKey(role={self.role!r})"

    def references(self, what: What, ids: Sequence[bytes]) -> list[bytes]:
        """What stands for the ids in the ledger, 16 bytes each.

        Args:
            what: what the ids are of.
            ids: 16 bytes each for subjects; of any length, UTF-8, for the rest.
        """
        if what is not What.SUBJECT:
            return [
                self._digests(enc("erased/1", self.role, what, one), [b""], b"")[0][:ID_BYTES] for one in ids
            ]
        if not set(map(len, ids)) <= {ID_BYTES}:
            raise InputError(f"An internal id is {ID_BYTES} bytes.")
        start = (4).to_bytes(2, "big") + enc("erased/1", self.role, what)[2:] + ID_BYTES.to_bytes(4, "big")
        return [digest[:ID_BYTES] for digest in self._digests(start, ids, b"")]

    def next(self, before: bytes, number: int, what: What, day: int, reference: bytes) -> bytes:
        """The chain's value after an entry."""
        message = enc(before, number.to_bytes(8, "big"), what, day.to_bytes(4, "big"), reference)
        return hmac.digest(self._chain, message, "sha256")


class Ledger:
    """One role's ledger, open for this process only.

    Use `Ledger.open`. Hold `lock` from `append` until the database has followed: two erasures at a time
    could let the database note one as done that is not.
    """

    def __init__(self, lines: Lines, key: LedgerKey, entries: list[Entry], noted: Noted) -> None:
        """Not to be called: use `Ledger.open`."""
        self._noted, self._untold = noted, False
        self.key = key
        self.lock = threading.RLock()
        self._lines = lines
        self._entries = entries
        self._erased: dict[What, dict[bytes, int]] = {what: {} for what in What}
        self._note(entries)

    @classmethod
    def open(cls, path: Path, key: LedgerKey, noted: Noted = lambda size, digest: None) -> Self:
        """Open a ledger, or begin one; what a crash left half-written at its end is left out.

        Args:
            path: the file.
            key: the role's.
            noted: told the number of entries and the last one's digest, before anything that they are about
                is erased; what it raises ends the erasure, which may be asked for again.

        Raises:
            LedgerError: it was altered, belongs to another role or key, or another process has it open.
        """
        try:
            lines = Lines(path)
        except StoreError as error:
            raise LedgerError(error.message, error.help) from None
        try:
            return cls(lines, key, _settle(lines, key), noted)
        except BaseException:
            lines.close()
            raise

    def __repr__(self) -> str:
        return f"Ledger(role={self.key.role!r}, size={self.size})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process open it."""
        self._lines.close()

    @property
    def size(self) -> int:
        """How many entries there are."""
        return len(self._entries)

    @property
    def digest(self) -> bytes:
        """The chain's value after the last entry."""
        return self.digest_at(self.size)

    def digest_at(self, number: int) -> bytes:
        """The chain's value after an entry; 0 is the beginning."""
        return self._entries[number - 1].chain if number else _beginning(self.key)

    def append(self, what: What, ids: Sequence[bytes], day: int) -> None:
        """Write down what is going to be erased. It is on disk when this returns.

        What is in the ledger already is not written again.

        Raises:
            StoreError: it could not be written; nothing of it is in the ledger.
        """
        with self.lock:
            chain = self.digest
            lines: list[bytes] = []
            made: list[Entry] = []
            for reference in dict.fromkeys(self.key.references(what, ids)):
                if reference in self._erased[what]:
                    continue
                number = self.size + len(made) + 1
                chain = self.key.next(chain, number, what, day, reference)
                made.append(Entry(number, what, day, reference, chain))
                lines.append(_written(made[-1]))
            if made:
                self._lines.add(b"".join(lines))
                self._entries += made
                self._note(made)
                self._untold = True
            if self._untold:
                self._noted(self.size, self.digest)
                self._untold = False

    def has(self, what: What) -> bool:
        """Whether anything of this sort was ever erased."""
        return bool(self._erased[what])

    def numbers(self, what: What, ids: Sequence[bytes]) -> list[int]:
        """For each id the number of the entry that says that it was erased; 0 where there is none."""
        entries = self._erased[what]
        if not entries:
            return [0] * len(ids)
        return [entries.get(reference, 0) for reference in self.key.references(what, ids)]

    def erased(self, what: What, ids: Sequence[bytes]) -> list[bool]:
        """For each id whether the ledger says that it was erased."""
        return [number > 0 for number in self.numbers(what, ids)]

    def _note(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._erased[entry.what][entry.reference] = entry.number


def _beginning(key: LedgerKey) -> bytes:
    return key.next(bytes(DIGEST_BYTES), 0, What.PROJECT, 0, bytes(ID_BYTES))


def _header(key: LedgerKey) -> bytes:
    return f"{_FORMAT} {key.role} {_beginning(key).hex()}\n".encode()


def _written(entry: Entry) -> bytes:
    line = f"{entry.number} {entry.what} {entry.day} {entry.reference.hex()} {entry.chain.hex()}\n"
    return line.encode()


def _settle(lines: Lines, key: LedgerKey) -> list[Entry]:
    """Read and check the whole file, and find where its good part ends."""
    data, header = lines.found, _header(key)
    if not data.startswith(header):
        # The first write may have been cut off; whatever else stands there is another ledger's, or damage.
        if len(data) > len(header) or not header.startswith(data.rstrip(b"\0")):
            raise LedgerError(
                "The ledger is another role's, was made with another key, or its first line was altered.",
                "Put the true one back; nothing was opened.",
            )
        lines.keep(0)
        lines.add(header)
        return []
    entries: list[Entry] = []
    chain, place = _beginning(key), len(header)
    for line in _lines(data, place):
        entry = _read(line, key, chain, len(entries) + 1)
        if entry is None:
            break
        entries.append(entry)
        chain, place = entry.chain, place + len(line) + 1
    # A write that a crash cut off leaves part of a line, with noughts after it; anything else is somebody's
    # doing, or a fault of the disk.
    if b"\n" in data[place:] or b"\0" in data[place:].rstrip(b"\0"):
        raise LedgerError(
            f"The ledger was altered after entry {len(entries)}.", "Restore it; nothing was opened."
        )
    lines.keep(place)
    return entries


def _lines(data: bytes, start: int) -> Iterable[bytes]:
    while (end := data.find(b"\n", start)) >= 0:
        yield data[start:end]
        start = end + 1


def _read(line: bytes, key: LedgerKey, before: bytes, number: int) -> Entry | None:
    found = _LINE.fullmatch(line)
    if not found or found[2].decode() not in set(What):
        return None
    what, day = What(found[2].decode()), int(found[3])
    reference, chain = bytes.fromhex(found[4].decode()), bytes.fromhex(found[5].decode())
    if day >= 1 << 32 or int(found[1]) != number:
        return None
    same = hmac.compare_digest(chain, key.next(before, number, what, day, reference))
    return Entry(number, what, day, reference, chain) if same else None
