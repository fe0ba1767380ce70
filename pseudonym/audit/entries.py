"""What an audit log says: who did what, why, about whom, and how often.

The rules this module keeps (`docs/audit.md` fixes every byte):

- The open fields have no place for a value of a person: names of things only, in a narrow set of characters,
  with too few digits for a number of anybody's, and a subject only as 32 bytes that a keyed function made.
- Whatever else has to be kept goes into the details, which only the data protection officer can read.
- The digest of the details is a commitment with a random salt: nobody can try out what they might have been.
- One entry has one encoding; what is decoded is what would be encoded.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from pseudonym.errors import AuditProofError, AuditTamperedError, InputError
from pseudonym.urn import check_label, enc

SUBJECT_BYTES = 32
LARGEST_DETAILS = 1 << 16
LARGEST_COUNT = (1 << 63) - 1

_SCHEME = b"\x01"
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_SALT_BYTES = 32
_KID_BYTES = 8
_PADDED_TO = 64
_DIGEST_SIZES = (0, 32)
_LARGEST_SEALED = LARGEST_DETAILS + 256

_ACTOR = re.compile(r"[a-z0-9](?:[a-z0-9._:/-]{0,126}[a-z0-9])?")
_NAME = re.compile(r"[a-z](?:[a-z0-9./-]{0,61}[a-z0-9])?")
_MOST_DIGITS = 8
# Five digits running are in an NHS number, a National Insurance number and every other number of a person;
# then dates, and the latter with separators.
_LIKE_A_PERSONS = re.compile(
    r"\d{5}|\d{4}[./:-]\d{1,2}[./:-]\d{1,2}|\d{1,2}[./:-]\d{1,2}[./:-]\d{4}"
    r"|[a-z]{2}[./:-]?\d{2}[./:-]?\d{2}[./:-]?\d{2}[./:-]?[a-d]"
)
# The nine-character codes of councils' areas, such as e09000033, are no person's.
_AREA = re.compile(r"(?<![a-z0-9])(?:e0[6-9]|e10|n09|s12|w06)000\d{3}(?![a-z0-9])")

_BEFORE_NUMBER = b"\x00\x0b" + enc("audit/1")[2:] + b"\x00\x00\x00\x08"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Event:
    """What the caller says; the log adds the number and the time.

    Attributes:
        actor: who did it, as the certificate says: 1 to 128 of a–z, 0–9 and `. _ : / -`.
        action: what was done, such as `identity.open`: 1 to 63 of a–z, 0–9 and `. / -`, a letter first.
        purpose: the code of the purpose, of the same form.
        project: the project's name, or empty where there is none.
        subject: 32 bytes that a keyed function made of the pid, under a key that dies with the person's; or
            empty. Never the pid itself.
        count: how many persons, rows or numbers it concerned.
        details: anything else, at most 64 KiB; sealed to the data protection officer before it is written.
    """

    actor: str
    action: str
    purpose: str
    project: str = ""
    subject: bytes = b""
    count: int = 0
    details: bytes = field(default=b"", repr=False)

    def check(self) -> None:
        """Refuse what has no place in an open field.

        Raises:
            InputError: a field has not its form. The error names the field and repeats nothing of it.
        """
        _check_texts(self.actor, self.action, self.purpose, self.project)
        _check_rest(self)
        if len(self.details) > LARGEST_DETAILS:
            raise InputError(f"The details of an audit entry are at most {LARGEST_DETAILS} bytes.")


HAND_OVER = "audit.hand-over"
"""The action of an entry whose subject is the public key that the log goes on under."""
CLOCK = "audit.clock-was-ahead"
"""The action of an entry whose time is before that of the one before it: the clock was set right."""
OWN = frozenset({HAND_OVER, CLOCK})
"""What the log alone writes: `Log.append` refuses them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a log, as it was written.

    Attributes:
        number: its place in the log, from 0.
        microseconds: its time, since the beginning of 1970, UTC.
        actor, action, purpose, project, subject, count: see `Event`.
        digest: the salted digest of the details, or empty where there are none.
        sealed: the details, sealed, or empty.
    """

    number: int
    microseconds: int
    actor: str
    action: str
    purpose: str
    project: str
    subject: bytes
    count: int
    digest: bytes
    sealed: bytes = field(repr=False)

    @property
    def time(self) -> datetime:
        """When it was written, UTC."""
        return _EPOCH + timedelta(microseconds=self.microseconds)


def officer_id(officer: X25519PublicKey) -> bytes:
    """The 8 bytes by which a sealed text names the officer's key."""
    return sha256(officer.public_bytes_raw()).digest()[:_KID_BYTES]


def prepare(event: Event, officer: X25519PublicKey) -> bytes:
    """Check an event, seal its details, and encode all of the entry that follows the time.

    Raises:
        InputError: see `Event.check`.
    """
    event.check()
    digest = sealed = b""
    if event.details:
        salt = os.urandom(_SALT_BYTES)
        digest = details_digest(salt, event.details)
        plain = salt + len(event.details).to_bytes(4, "big") + event.details
        plain += bytes(-len(plain) % _PADDED_TO)
        info = _info(event, digest)
        sealed = _SCHEME + officer_id(officer) + _SUITE.encrypt(plain, officer, info=info)
    count = event.count.to_bytes(8, "big")
    open_fields = (event.actor, event.action, event.purpose, event.project, event.subject, count)
    return enc(*open_fields, digest, sealed)[2:]


def details_digest(salt: bytes, details: bytes) -> bytes:
    """What the open part of an entry says of its details."""
    return sha256(enc("audit-digest/1", salt, details)).digest()


def encode(number: int, microseconds: int, prepared: bytes) -> bytes:
    """The bytes of an entry: a leaf of the tree."""
    moment = microseconds.to_bytes(8, "big")
    return _BEFORE_NUMBER + number.to_bytes(8, "big") + b"\x00\x00\x00\x08" + moment + prepared


def decode(data: bytes) -> Entry:
    """Read an entry, if it is one in its one encoding.

    Raises:
        AuditTamperedError: it is not.
    """
    try:
        mark, number, moment, *texts, subject, count, digest, sealed = _parts(data)
        if mark != b"audit/1" or len(texts) != 4 or not len(number) == len(moment) == len(count) == 8:
            raise ValueError
        entry = Entry(
            int.from_bytes(number, "big"),
            int.from_bytes(moment, "big"),
            *_read_texts(*texts),
            subject,
            int.from_bytes(count, "big"),
            digest,
            sealed,
        )
        _check_rest(entry)
        if len(digest) not in _DIGEST_SIZES or bool(digest) != bool(sealed) or len(sealed) > _LARGEST_SEALED:
            raise ValueError
    except (ValueError, InputError):
        raise AuditTamperedError("What stands in the place of an entry is none.") from None
    return entry


def open_details(entry: Entry, officer: X25519PrivateKey) -> bytes:
    """The details of an entry, in the clear. Empty where it has none.

    Danger: details may name people. Whoever shows them answers for that.

    Raises:
        AuditProofError: they are sealed to another key, or are not what the digest says.
    """
    if not entry.sealed:
        return b""
    head = 1 + _KID_BYTES
    if entry.sealed[:head] != _SCHEME + officer_id(officer.public_key()):
        raise AuditProofError("The details are sealed to another officer's key.", "Use that key.")
    try:
        plain = _SUITE.decrypt(entry.sealed[head:], officer, info=_info(entry, entry.digest))
    except InvalidTag:
        raise AuditProofError("The details do not belong to this entry, or were altered.") from None
    salt, size = plain[:_SALT_BYTES], int.from_bytes(plain[_SALT_BYTES : _SALT_BYTES + 4], "big")
    details = plain[_SALT_BYTES + 4 : _SALT_BYTES + 4 + size]
    if details_digest(salt, details) != entry.digest:
        raise AuditProofError("The details are not those that the entry's digest names.")
    return details


def _info(about: Event | Entry, digest: bytes) -> bytes:
    """Binds sealed details to the rest of the entry that they stand in."""
    count = about.count.to_bytes(8, "big")
    return enc(
        "audit-details/1",
        about.actor,
        about.action,
        about.purpose,
        about.project,
        about.subject,
        count,
        digest,
    )


@lru_cache(1024)  # the same few texts stand in most entries
def _check_texts(actor: str, action: str, purpose: str, project: str) -> None:
    _check_name(actor, _ACTOR, "actor")
    _check_name(action, _NAME, "action")
    _check_name(purpose, _NAME, "purpose")
    if project:
        check_label(project, "project")
        _check_digits(project, "project")


@lru_cache(1024)
def _read_texts(actor: bytes, action: bytes, purpose: bytes, project: bytes) -> tuple[str, str, str, str]:
    texts = actor.decode("ascii"), action.decode("ascii"), purpose.decode("ascii"), project.decode("ascii")
    _check_texts(*texts)
    return texts


def _check_rest(about: Event | Entry) -> None:
    if len(about.subject) not in (0, SUBJECT_BYTES):
        raise InputError(
            f"The subject of an audit entry is {SUBJECT_BYTES} bytes or empty.",
            "It is the whole output of a keyed function of the internal id, never the id or an identifier.",
        )
    if not 0 <= about.count <= LARGEST_COUNT:
        raise InputError("The count of an audit entry is a whole number from 0.")


def _check_name(text: str, form: re.Pattern[str], what: str) -> None:
    if not form.fullmatch(text):
        raise InputError(
            f"The {what} of an audit entry has not the form of one.",
            "It is a short code of small letters, digits and separators, not a sentence.",
        )
    _check_digits(text, what)


def _check_digits(text: str, what: str) -> None:
    text = _AREA.sub("", text)
    if sum(map(str.isdigit, text)) > _MOST_DIGITS or _LIKE_A_PERSONS.search(text):
        raise InputError(
            f"The {what} of an audit entry holds what could be a number or a date of a person.",
            "Put it into the details, which are sealed.",
        )


def _parts(data: bytes) -> list[bytes]:
    """Undo `enc`; ValueError where something is missing or left over."""
    parts, at, end = [], 2, len(data)
    read = int.from_bytes
    for _ in range(read(data[:2], "big")):
        start = at + 4
        at = start + read(data[at:start], "big")
        if at > end:
            raise ValueError
        parts.append(data[start:at])
    if at != end:
        raise ValueError
    return parts
