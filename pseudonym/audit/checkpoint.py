"""Signed checkpoints: C2SP signed-note and tlog-checkpoint, with Ed25519, and the folder that keeps them.

The rules this module keeps:

- A checkpoint says origin, size and root hash. Whoever has one can hold the log to it for ever after.
- A note is read only once a known key's signature over it was checked.
- A kept checkpoint is never overwritten; the newest is replaced as a whole.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pseudonym.audit.folder import replace, sync
from pseudonym.audit.merkle import HASH_BYTES
from pseudonym.errors import (
    AuditCheckpointError,
    AuditKeyError,
    AuditProofError,
    AuditStrangerError,
    AuditTamperedError,
    InputError,
)

NEWEST = "checkpoint"
HISTORY = "history"

_ED25519 = b"\x01"
_SIGNATURE_BYTES = 64
_LARGEST_NOTE = 1 << 16
_ORIGIN = re.compile(r"[a-z0-9](?:[a-z0-9./-]{0,126}[a-z0-9])?")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_KEY_NAME = re.compile(r"[^\s+]{1,255}")
_KEY_ID = re.compile(r"[0-9a-f]{8}")


class SigningKey(Protocol):
    """What signs checkpoints: an `Ed25519PrivateKey`, or what stands for one that never leaves its keeper."""

    def sign(self, data: bytes, /) -> bytes:
        """The Ed25519 signature of the bytes."""

    def public_key(self) -> Ed25519PublicKey:
        """The key that checks it."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with the name it signs under, as C2SP writes it: `name+id+key`.

    Attributes:
        name: the log's origin, or whatever name another program's key has.
        key: 32 bytes.
    """

    name: str
    key: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `name+id+base64`.

        Raises:
            InputError: it is not the text of an Ed25519 key, or its id does not fit.
        """
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        data = _decoded(encoded)
        formed = _KEY_NAME.fullmatch(name) and _KEY_ID.fullmatch(key_id)
        if not formed or data is None or len(data) != 33 or data[:1] != _ED25519:
            raise InputError(
                "This is not the public key of an audit log.",
                "It is one line: the log's name, +, eight hexadecimal digits, +, and the key.",
            )
        found = cls(name, data[1:])
        if found.id.hex() != key_id:
            raise InputError("The public key was copied wrongly: its id does not fit.", "Copy it again.")
        return found

    @property
    def id(self) -> bytes:
        """The 4 bytes that signatures name it by."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_encoded(_ED25519 + self.key)}"


def check_origin(name: str) -> str:
    """Return the name of a log unchanged, if it may be one: such as `kinlink.example/identity`.

    Raises:
        InputError: it is not 1 to 128 of a–z, 0–9 and `. / -`, a letter or digit first and last.
    """
    if not _ORIGIN.fullmatch(name):
        raise InputError(
            "The name of an audit log is 1 to 128 small letters, digits, dots, slashes and hyphens.",
            "It begins and ends with a letter or digit.",
        )
    return name


class Signer:
    """Signs as one log.

    Args:
        name: the log's origin.
        key: its private key.
    """

    def __init__(self, name: str, key: SigningKey) -> None:
        self._key = key
        self.verifier = VerifierKey(check_origin(name), key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"Signer({str(self.verifier)!r})"

    def sign(self, text: str) -> str:
        """The signature of a text, as it stands in a note."""
        signature = self.verifier.id + self._key.sign(text.encode())
        return f"— {self.verifier.name} {_encoded(signature)}\n"


def open_note(note: str, keys: Sequence[VerifierKey]) -> str:
    """The text of a note, once a known key's signature was checked.

    Signatures of other keys are passed over, as C2SP asks.

    Raises:
        AuditKeyError: no known key signed it.
        AuditProofError: it is no note, or a known key's signature is wrong.
    """
    return _opened(note, keys)[0]


def _opened(note: str, keys: Sequence[VerifierKey]) -> tuple[str, tuple[VerifierKey, ...]]:
    """The text, and which of the keys signed it."""
    text, gap, lines = note.rpartition("\n\n")
    text += "\n"
    bare = note.replace("\n", "")
    if not gap or not lines.endswith("\n") or len(note) > _LARGEST_NOTE or min(bare, default=" ") < " ":
        raise AuditProofError("This is not a signed note.")
    signed: list[VerifierKey] = []
    for line in lines[:-1].split("\n"):
        dash, name, encoded = (*line.split(" "), "", "")[:3]
        data = _decoded(encoded)
        if dash != "—" or line.count(" ") != 2 or not name or data is None or len(data) < 5:
            raise AuditProofError("A signature line of the note is damaged.")
        for key in keys:
            if (key.name, key.id) == (name, data[:4]):
                _check_signature(key, data[4:], text)
                signed.append(key)
    if not signed:
        raise AuditKeyError("The note is not signed with a key that is known here.", "Check the key.")
    return text, tuple(signed)


def _check_signature(key: VerifierKey, signature: bytes, text: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.key).verify(signature, text.encode())
    except (InvalidSignature, ValueError):
        raise AuditProofError("The signature of the note is wrong.") from None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log signed at one moment: its first `size` entries have this root hash.

    Attributes:
        origin: the log's name.
        size: how many entries.
        root: the root hash of their tree.
        note: the signed text itself.
        signed: the known keys that signed it.
    """

    origin: str
    size: int
    root: bytes
    note: str = field(repr=False, compare=False)
    signed: tuple[VerifierKey, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def sign(cls, signer: Signer, size: int, root: bytes, *others: Signer) -> Self:
        """Make one. A log signs no two that contradict each other: only `Log` calls this."""
        origin, signers = signer.verifier.name, (signer, *others)
        text = f"{origin}\n{size}\n{_encoded(root)}\n"
        note = f"{text}\n{''.join(one.sign(text) for one in signers)}"
        return cls(origin, size, root, note, tuple(one.verifier for one in signers))

    @classmethod
    def read(cls, note: str, keys: Sequence[VerifierKey]) -> Self:
        """Read one whose signature is good.

        Raises:
            AuditProofError: it is no checkpoint, of another log, or not signed by one of the keys.
        """
        text, signed = _opened(note, keys)
        origin, size, root, *more = [*text.split("\n")[:-1], "", "", ""]
        digest = _decoded(root)
        if not _SIZE.fullmatch(size) or digest is None or len(digest) != HASH_BYTES or "" in more[:-3]:
            raise AuditProofError("The note is no checkpoint of a log.")
        if origin not in {key.name for key in keys}:
            raise AuditProofError("The checkpoint is one of another log.")
        return cls(origin, int(size), digest, note, signed)


class CheckpointFolder:
    """Where another party keeps what the log signed: the newest, and every earlier one.

    `checkpoint` is the newest; `history/` has one file for each, named by its size. The other party makes the
    folder, lets the log write to it, and copies or locks what is there out of the log's reach.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self, checkpoint: Checkpoint) -> None:
        """Put one into the history, then in the place of the newest; durable on return.

        Raises:
            AuditCheckpointError: it cannot be written.
            AuditTamperedError: another one of this size is kept already.
        """
        try:
            history = self.path / HISTORY
            if not history.is_dir():
                history.mkdir()
                sync(self.path)
            target = history / f"{checkpoint.size:016d}"
            data = checkpoint.note.encode()
            if not target.exists():
                replace(target, data, mode=0o644)
            elif not _same_claim(target.read_bytes(), data):
                raise AuditTamperedError(
                    f"A checkpoint of {checkpoint.size} entries is kept that is not this log's.",
                    "The log or the checkpoints were exchanged: find out which before anything is written.",
                )
            replace(self.path / NEWEST, data, mode=0o644)
        except OSError as error:
            raise AuditCheckpointError(
                f"The checkpoint cannot be written: {error.strerror}.",
                "See that the folder that the other party keeps is there and can be written to.",
            ) from error

    def newest(self, keys: Sequence[VerifierKey]) -> Checkpoint | None:
        """The largest checkpoint that is kept; None where none is.

        Raises:
            AuditTamperedError: it is not one of this log.
            AuditCheckpointError: the folder cannot be read.
        """
        names = self._names()
        found = [self._read(name, keys) for name in (*names[-1:], NEWEST) if self._has(name)]
        return max(found, key=lambda checkpoint: checkpoint.size, default=None)

    def settle(self, keys: Sequence[VerifierKey]) -> Checkpoint | None:
        """As `newest`, which then stands in the place of the newest, too: a crash may have come before that.

        Raises:
            As `newest` and `keep`.
        """
        found = self.newest(keys)
        if found is not None and not (self._has(NEWEST) and self._read(NEWEST, keys).size == found.size):
            self.keep(found)
        return found

    def of(self, size: int, keys: Sequence[VerifierKey]) -> Checkpoint:
        """The kept checkpoint of one size.

        Raises:
            AuditCheckpointError: none of this size is kept.
            AuditTamperedError: it is not one of this log.
        """
        name = f"{HISTORY}/{size:016d}"
        if not (self.path / name).is_file():
            raise AuditCheckpointError(
                "No checkpoint of this size is kept.", "The files of the history are named by size."
            )
        return self._read(name, keys)

    def all(self, keys: Sequence[VerifierKey]) -> Iterator[tuple[str, Checkpoint]]:
        """Every kept checkpoint with the name of its file, the smallest first, the newest last.

        Raises:
            AuditTamperedError: one is not of this log, or is not what its name says.
            AuditCheckpointError: the folder cannot be read.
        """
        for name, data in self.notes():
            yield name, read_kept(name, data, keys)

    def notes(self) -> Iterator[tuple[str, bytes]]:
        """Every kept checkpoint as it stands, with the name of its file: see `all` and `read_kept`.

        Raises:
            AuditCheckpointError: the folder cannot be read.
        """
        for name in self._names():
            yield name, self._octets(name)
        if self._has(NEWEST):
            yield NEWEST, self._octets(NEWEST)

    def _has(self, name: str) -> bool:
        return name != NEWEST or (self.path / NEWEST).exists()

    def _names(self) -> list[str]:
        try:
            if not self.path.is_dir():
                raise AuditCheckpointError(
                    f"There is no folder of checkpoints at {self.path}.", "Name the one that is kept."
                )
            history = self.path / HISTORY
            kept = (file.name for file in history.iterdir()) if history.is_dir() else ()
            return sorted(f"{HISTORY}/{name}" for name in kept if re.fullmatch(r"\d{16}", name))
        except OSError as error:
            raise AuditCheckpointError(f"The checkpoints cannot be read: {error.strerror}.") from error

    def _read(self, name: str, keys: Sequence[VerifierKey]) -> Checkpoint:
        return read_kept(name, self._octets(name), keys)

    def _octets(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise AuditCheckpointError(f"The checkpoint {name} cannot be read: {error.strerror}.") from error


def read_kept(name: str, data: bytes, keys: Sequence[VerifierKey]) -> Checkpoint:
    """Read a kept checkpoint.

    Args:
        name: of its file in the folder.
        data: what the file holds.
        keys: those that may have signed it.

    Raises:
        AuditStrangerError: none of them has.
        AuditTamperedError: it is not one of this log, or is not what its name says.
    """
    try:
        checkpoint = Checkpoint.read(data.decode(), keys)
    except (AuditProofError, UnicodeDecodeError) as error:
        said = error.message if isinstance(error, AuditProofError) else "It is no text."
        kind = AuditStrangerError if isinstance(error, AuditKeyError) else AuditTamperedError
        raise kind(
            f"The kept checkpoint {name} is not good. {said}", "Check the key; then ask who changed it."
        ) from None
    if name != NEWEST and int(name.removeprefix(f"{HISTORY}/")) != checkpoint.size:
        raise AuditTamperedError(f"The kept checkpoint {name} is one of another size.")
    return checkpoint


def _same_claim(one: bytes, other: bytes) -> bool:
    """Whether two notes say the same, whoever signed them."""
    return one.rpartition(b"\n\n")[0] == other.rpartition(b"\n\n")[0]


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str) -> bytes | None:
    """Base 64 in its one spelling, or None."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if _encoded(data) == text else None
