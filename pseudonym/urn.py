"""Unique reference numbers: how they are made from a key, and how they are read.

The rules this module keeps (`docs/urn-format.md` states them for any language, with vectors):

- A reference number (URN) is a keyed pseudorandom function of a random internal id, never of an identifier.
- A key makes numbers for one project, one recipient and one epoch only; these labels are in the message too.
- Person and family numbers, and the numbers of two recipients, are unrelated to one another.
- Any one or two wrong symbols, and any two neighbouring symbols exchanged, are noticed when a URN is read.
- An error says what is wrong and where, and never repeats what was given.

Nothing here reads, writes or logs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from pseudonym.errors import InputError, UrnCheckError, UrnKindError, UrnLengthError, UrnSymbolError
from pseudonym.symbols import ALPHABET, LENGTH, VALUES, checks, word, words

ID_BYTES = 16
KEY_BYTES = 32
LAST_EPOCH = 31
LAST_COUNTER = 255
SEPARATORS = frozenset("- \t\r\n")  # what a reader passes over

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_CHUNK = 1 << 16


class Kind(StrEnum):
    """What a reference number stands for."""

    PERSON = "person"
    FAMILY = "family"

    @property
    def tag(self) -> str:
        """The first symbol of the kind's reference numbers."""
        return "P" if self is Kind.PERSON else "F"


_KINDS = {kind.tag: kind for kind in Kind}


def enc(*parts: bytes | str) -> bytes:
    """Join parts so that no two different lists of parts give the same bytes.

    Args:
        parts: at most 65,535 parts of at most 4 GiB each; text is taken as UTF-8.

    Returns:
        The number of parts (2 bytes, big-endian), then each part's length (4 bytes) and bytes.
    """
    out = [len(parts).to_bytes(2, "big")]
    for part in parts:
        octets = part.encode() if isinstance(part, str) else part
        out += (len(octets).to_bytes(4, "big"), octets)
    return b"".join(out)


def prf(key: bytes, *parts: bytes | str) -> bytes:
    """HMAC-SHA256 under `key` of the parts joined with `enc`: 32 bytes."""
    mac = HMAC(key, SHA256())
    mac.update(enc(*parts))
    return mac.finalize()


def digests(start: HMAC, messages: Sequence[bytes]) -> list[bytes]:
    """HMAC-SHA256 of each message after what `start` has had of its key and message: 32 bytes each."""
    copy = start.copy
    found: list[bytes] = []
    append = found.append
    for message in messages:
        mac = copy()
        mac.update(message)
        append(mac.finalize())
    return found


def check_label(text: str, what: str) -> str:
    """Return the name of a project or recipient unchanged, if it may be one.

    Names are 1 to 63 lower-case ASCII letters, digits and inner hyphens, so that there is one way to write
    each and none can be mistaken for two.

    Raises:
        InputError: it has another form.
    """
    if not _LABEL.fullmatch(text):
        raise InputError(
            f"The name of a {what} is 1 to 63 lower-case letters, digits and hyphens.",
            "It begins and ends with a letter or a digit.",
        )
    return text


def check_epoch(epoch: int) -> int:
    """Return the epoch unchanged, if it is from 1 to 31.

    Raises:
        InputError: it is not.
    """
    if not 1 <= epoch <= LAST_EPOCH:
        raise InputError(f"An epoch is a whole number from 1 to {LAST_EPOCH}.")
    return epoch


class _Keyed:
    """A secret that can compute, and cannot be read back, printed, copied or pickled."""

    __slots__ = ("_mac",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise InputError(f"A key is {KEY_BYTES} bytes.")
        self._mac = HMAC(secret, SHA256())

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key does not leave the process that opened it.")

    def _digests(self, prefix: bytes, ids: Iterable[bytes], suffix: bytes) -> list[bytes]:
        # Keying and the fixed beginning of the message are done once; copying that state for each id is
        # twice as fast as a one-shot HMAC.
        start = self._mac.copy()
        start.update(prefix)
        copy: Callable[[], HMAC] = start.copy
        digests: list[bytes] = []
        append = digests.append
        for octets in ids:
            mac = copy()
            mac.update(octets + suffix)
            append(mac.finalize())
        return digests

    def derive(self, label: str) -> bytes:
        """32 bytes for another purpose in the same domain, gone when this key is gone; not to be kept."""
        mac = self._mac.copy()
        mac.update(enc(label, *self._domain()))
        return mac.finalize()

    def _domain(self) -> tuple[bytes | str, ...]:
        raise NotImplementedError


def _before_id(count: int, *parts: bytes | str) -> bytes:
    """The encoding of a message of `count` parts up to the bytes of the id that follows `parts`."""
    return count.to_bytes(2, "big") + enc(*parts)[2:] + ID_BYTES.to_bytes(4, "big")


def _check_ids(ids: Sequence[bytes]) -> None:
    if not set(map(len, ids)) <= {ID_BYTES}:
        raise InputError(f"An internal id is {ID_BYTES} bytes.", "Make one with os.urandom(16).")


class AidKey(_Keyed):
    """The key that turns one project's person and family ids into attribute ids.

    Attribute ids under two projects' keys are unrelated. Whoever holds the key and a pid can compute the
    aid, so only the broker holds it.

    Args:
        secret: 32 random bytes, used for nothing else.
        project: the project's name.

    Raises:
        InputError: the key's size or the project's name is wrong.
    """

    __slots__ = ("project",)

    def __init__(self, secret: bytes, project: str) -> None:
        super().__init__(secret)
        self.project = check_label(project, "project")

    def __repr__(self) -> str:
        return f"AidKey(project={self.project!r})"

    def _domain(self) -> tuple[bytes | str, ...]:
        return "aid/1", self.project

    def aid(self, epoch: int, kind: Kind, pid: bytes) -> bytes:
        """The 16-byte attribute id of one person or family: see `aids`."""
        return self.aids(epoch, kind, [pid])[0]

    def aids(self, epoch: int, kind: Kind, pids: Sequence[bytes]) -> list[bytes]:
        """The attribute ids of many persons or families.

        Args:
            epoch: 1 to 31, the attribute store's epoch; a URN's epoch moves on without it.
            kind: whether the ids are persons' (pid) or families' (fid).
            pids: random ids of 16 bytes each.

        Returns:
            One 16-byte attribute id for each pid, in the same order.

        Raises:
            InputError: the epoch or an id has not the right form.
        """
        _check_ids(pids)
        prefix = _before_id(5, "aid/1", self.project, bytes([check_epoch(epoch)]), kind)
        return [digest[:ID_BYTES] for digest in self._digests(prefix, pids, b"")]

    def handles(self, epoch: int, units: Sequence[bytes]) -> list[bytes]:
        """What the attributes role knows rows by, 16 bytes each, in the same order.

        Args:
            epoch: 1 to 31, the attribute store's epoch.
            units: the random ids, of 16 bytes each, that the identity role knows the same rows by.

        Raises:
            InputError: the epoch or an id has not the right form.
        """
        _check_ids(units)
        prefix = _before_id(4, "row/1", self.project, bytes([check_epoch(epoch)]))
        return [digest[:ID_BYTES] for digest in self._digests(prefix, units, b"")]


class UrnKey(_Keyed):
    """The key that makes reference numbers for one project, one recipient and one epoch.

    Without the key a number says nothing of the id behind it, nor whether two recipients' numbers belong
    to one person. Destroying the key ends that for good: nobody can then make or trace a number of this
    domain. Whoever holds the key and a list of aids can trace them all, so only the broker holds it.

    Args:
        secret: 32 random bytes, used for nothing else.
        project: the project's name.
        recipient: the name of the one that the numbers are for.
        epoch: 1 to 31.

    Raises:
        InputError: the key's size, a name or the epoch is wrong.
    """

    __slots__ = ("epoch", "project", "recipient")

    def __init__(self, secret: bytes, project: str, recipient: str, epoch: int) -> None:
        super().__init__(secret)
        self.project = check_label(project, "project")
        self.recipient = check_label(recipient, "recipient")
        self.epoch = check_epoch(epoch)

    def __repr__(self) -> str:
        return f"UrnKey(project={self.project!r}, recipient={self.recipient!r}, epoch={self.epoch})"

    def _domain(self) -> tuple[bytes | str, ...]:
        return "urn/1", self.project, self.recipient, bytes([self.epoch])

    def issue(self, kind: Kind, aid: bytes, counter: int = 0) -> str:
        """Make the reference number of one person or family: see `issue_all`."""
        prefix, suffix = self._around_id(kind, [aid], counter)
        return word((VALUES[kind.tag], self.epoch), self._digests(prefix, [aid], suffix)[0])

    def issue_all(self, kind: Kind, aids: Sequence[bytes], counter: int = 0) -> list[str]:
        """Make the reference numbers of many persons or families.

        The same arguments always give the same numbers. Two aids may by chance get one number (1.4e-15 such
        pairs are expected among 60 million people): whoever stores numbers keeps them unique, and on a
        violation issues the later one again with the next counter, and keeps that counter with it.

        Args:
            kind: what the aids stand for.
            aids: attribute ids of 16 bytes each.
            counter: 0 to 255.

        Returns:
            One number of 24 symbols for each aid, in the same order, without separators.

        Raises:
            InputError: the counter or an id has not the right form.
        """
        prefix, suffix = self._around_id(kind, aids, counter)
        head = (VALUES[kind.tag], self.epoch)
        issued: list[str] = []
        for first in range(0, len(aids), _CHUNK):
            digests = self._digests(prefix, aids[first : first + _CHUNK], suffix)
            issued += words(head, digests)
        return issued

    def _around_id(self, kind: Kind, aids: Sequence[bytes], counter: int) -> tuple[bytes, bytes]:
        _check_ids(aids)
        if not 0 <= counter <= LAST_COUNTER:
            raise InputError(f"A counter is a whole number from 0 to {LAST_COUNTER}.")
        prefix = _before_id(7, "urn/1", self.project, self.recipient, bytes([self.epoch]), kind)
        return prefix, b"\x00\x00\x00\x01" + bytes([counter])


@dataclass(frozen=True, slots=True)
class Urn:
    """A reference number that was read, with check symbols that fit.

    That they fit says that it was copied right, not that it was ever issued.

    Attributes:
        kind: what it stands for.
        epoch: the epoch of its recipient's key, 1 to 31.
        word: its 24 symbols, in capitals without separators: the form to store and compare.
    """

    kind: Kind
    epoch: int
    word: str = field(repr=False)

    def __str__(self) -> str:
        return grouped(self.word)


def grouped(word: str) -> str:
    """The form to show to people: the 24 symbols in groups of four with hyphens between."""
    return "-".join(word[i : i + 4] for i in range(0, len(word), 4))


def read(text: str) -> Urn:
    """Read a reference number as people write it.

    Hyphens, white space (ASCII) and case do not matter; the letter O is read as 0, and I and L as 1.

    Raises:
        UrnSymbolError: it holds a character that no reference number holds.
        UrnLengthError: it has not 24 symbols.
        UrnCheckError: the check symbols do not fit.
        UrnKindError: they fit, but it is of no kind or epoch that exists.
    """
    values: list[int] = []
    for character in text:
        if character in SEPARATORS:
            continue
        value = VALUES.get(character)
        if value is None:
            raise UrnSymbolError(
                f"Character {len(values) + 1} (separators not counted) is none that a reference number has.",
                "A reference number has digits and the letters A to Z without U.",
            )
        values.append(value)
    if len(values) != LENGTH:
        raise UrnLengthError(
            f"A reference number has {LENGTH} symbols, and this has {len(values)}.",
            "Copy it again from where it came from.",
        )
    if checks(values[:-2]) != (values[-2], values[-1]):
        raise UrnCheckError(
            "The check symbols of the reference number do not fit: a symbol is wrong or two are exchanged.",
            "Compare it with where it came from.",
        )
    kind = _KINDS.get(ALPHABET[values[0]])
    if kind is None or not values[1]:
        raise UrnKindError(
            "The reference number is of no kind or epoch that exists.",
            "It begins with P for a person or F for a family, and its second symbol is not 0.",
        )
    return Urn(kind, values[1], "".join(ALPHABET[value] for value in values))
