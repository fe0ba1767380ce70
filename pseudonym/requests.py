"""A request to re-identify, the approvals of it, and its answer: their canonical bytes and their files.

The rules this module keeps (`docs/urn-format.md` states them for any language, with vectors):

- A request names everything that it is about, and has one encoding; a changed bit is another request.
- An approval is an Ed25519 signature over the whole request, the approver's name and the time.
- An answer is sealed to the requester's key, for this one request.

No request, approval or error holds a reference number or a value of a person; a reason must hold none either.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pseudonym.errors import InputError
from pseudonym.files import canonical, parse
from pseudonym.hpke import PUBLIC_BYTES, OpeningKey, seal
from pseudonym.padding import padded, unpadded
from pseudonym.urn import check_epoch, check_label, enc

REQUEST_FORMAT: Final = "kinlink-way-back-request/1"
APPROVAL_FORMAT: Final = "kinlink-way-back-approval/1"
LARGEST_COUNT: Final = 2**32 - 1
REASON_CHARACTERS: Final = 500

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._@-]{0,126}[a-z0-9])?")


def check_name(text: str, what: str) -> str:
    """Return the name of somebody who asks or approves, if it may be one.

    Raises:
        InputError: it is not 1 to 128 lower-case letters, digits, dots, hyphens, underscores and at signs.
    """
    if not _NAME.fullmatch(text):
        raise InputError(
            f"The name of {what} is 1 to 128 lower-case letters, digits and the signs . _ @ -",
            "It begins and ends with a letter or a digit.",
        )
    return text


def seconds(time: datetime) -> bytes:
    """A time as the whole seconds since 1970 in UTC, 8 bytes."""
    return int(time.timestamp()).to_bytes(8, "big")


def check_time(time: datetime) -> datetime:
    """Return a time unchanged, if it is in whole seconds, with a time zone, and not before 1970.

    Raises:
        InputError: it is not.
    """
    if time.tzinfo is None or time.microsecond or time.timestamp() < 0:
        raise InputError("A time is in whole seconds, with its time zone.")
    return time


def digest_of(id: bytes, words: Sequence[str]) -> bytes:
    """What a request says of the reference numbers that it is about.

    Args:
        id: the request's, so that two requests do not show that they are about the same people.
        words: the numbers as stored, 24 symbols each, in any order, none twice.

    Returns:
        SHA-256 of enc("way-back-urns/1", id, the words sorted): 32 bytes.
    """
    return hashlib.sha256(_enc_many("way-back-urns/1", id, sorted(words))).digest()


def _enc_many(label: str, id: bytes, words: Sequence[str]) -> bytes:
    # `enc` counts its parts in two bytes; a list may be longer, so it is one part.
    return enc(label, id, b"".join(len(word).to_bytes(4, "big") + word.encode() for word in words))


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks for whose identity, why, until when, and to which key the answer is to be sealed.

    Attributes:
        id: 16 random bytes; a request is granted once.
        project: of the numbers …
        recipient: … whose numbers they are …
        epoch: … and their epoch.
        count: how many numbers.
        digest: of the numbers, as `digest_of`.
        purpose: the name of a registered purpose.
        reason: 1 to 500 characters in plain words; no value of a person.
        made: when it was made, in whole seconds.
        expires: from when on it is void.
        requester: who asks.
        public_key: the requester's X25519 key, 32 bytes, made for this request.

    Raises:
        InputError: a part has not its form.
    """

    id: bytes
    project: str
    recipient: str
    epoch: int
    count: int
    digest: bytes
    purpose: str
    reason: str
    made: datetime
    expires: datetime
    requester: str
    public_key: bytes

    def __post_init__(self) -> None:
        check_label(self.project, "project")
        check_label(self.recipient, "recipient")
        check_label(self.purpose, "purpose")
        check_epoch(self.epoch)
        check_name(self.requester, "a requester")
        for time in (self.made, self.expires):
            check_time(time)
        if (len(self.id), len(self.digest), len(self.public_key)) != (16, 32, PUBLIC_BYTES):
            raise InputError("A request's id is 16 bytes, its digest and its key 32.")
        if not 1 <= self.count <= LARGEST_COUNT:
            raise InputError("A request is about one reference number at least.")
        if (
            not 1 <= len(self.reason) <= REASON_CHARACTERS
            or not self.reason.isprintable()
            or unicodedata.normalize("NFC", self.reason) != self.reason
            or not self.reason.strip()
        ):
            raise InputError(
                f"A reason has 1 to {REASON_CHARACTERS} printable characters in one line.",
                "Say what it is for, with no name or number of a person.",
            )
        if self.expires <= self.made:
            raise InputError("A request expires after it is made.")

    def canonical(self) -> bytes:
        """The bytes that are signed."""
        return enc(
            "way-back-request/1",
            self.id,
            self.project,
            self.recipient,
            bytes([self.epoch]),
            self.count.to_bytes(4, "big"),
            self.digest,
            self.purpose,
            self.reason,
            seconds(self.made),
            seconds(self.expires),
            self.requester,
            self.public_key,
        )

    def name(self) -> bytes:
        """SHA-256 of the canonical bytes: what it is remembered by."""
        return hashlib.sha256(self.canonical()).digest()

    def to_file(self) -> bytes:
        """The request as a file."""
        fields = {slot: written(getattr(self, slot)) for slot in self.__slots__}
        return canonical({"format": REQUEST_FORMAT} | fields)

    @classmethod
    def from_file(cls, data: bytes) -> Self:
        """Read what `to_file` wrote.

        Raises:
            TamperedError: it is spelt otherwise.
            InputError: it is no request, or a part has not its form.
        """
        fields = read_fields(data, REQUEST_FORMAT, cls.__slots__, "request")
        for slot in ("id", "digest", "public_key"):
            fields[slot] = read_bytes(fields[slot])
        for slot in ("made", "expires"):
            fields[slot] = read_time(fields[slot])
        for slot in ("epoch", "count"):
            if type(fields[slot]) is not int:
                raise InputError("This is no request: a number is none.")
        for slot in ("project", "recipient", "purpose", "reason", "requester"):
            if type(fields[slot]) is not str:
                raise InputError("This is no request: a text is none.")
        return cls(**fields)


def new_request_id() -> bytes:
    """16 random bytes."""
    return os.urandom(16)


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's yes to exactly one request.

    Attributes:
        request: the request's `name`, to find it by.
        approver: who approves.
        time: when.
        signature: Ed25519, 64 bytes, over `signed`.

    Raises:
        InputError: a part has not its form.
    """

    request: bytes
    approver: str
    time: datetime
    signature: bytes

    def __post_init__(self) -> None:
        check_name(self.approver, "an approver")
        check_time(self.time)
        if (len(self.request), len(self.signature)) != (32, 64):
            raise InputError("An approval names a request by 32 bytes, and its signature has 64.")

    def to_file(self) -> bytes:
        """The approval as a file."""
        fields = {slot: written(getattr(self, slot)) for slot in self.__slots__}
        return canonical({"format": APPROVAL_FORMAT} | fields)

    @classmethod
    def from_file(cls, data: bytes) -> Self:
        """Read what `to_file` wrote.

        Raises:
            TamperedError: it is spelt otherwise.
            InputError: it is no approval, or a part has not its form.
        """
        fields = read_fields(data, APPROVAL_FORMAT, cls.__slots__, "approval")
        if type(fields["approver"]) is not str:
            raise InputError("This is no approval: a text is none.")
        return cls(
            read_bytes(fields["request"]),
            fields["approver"],
            read_time(fields["time"]),
            read_bytes(fields["signature"]),
        )


def signed(request: Request, approver: str, time: datetime) -> bytes:
    """What an approver signs: the whole request, their name and the time."""
    return enc("way-back-approval/1", request.canonical(), approver, seconds(time))


def approve(request: Request, approver: str, key: Ed25519PrivateKey, time: datetime) -> Approval:
    """Approve a request. Whether the approver may is for those to say who check it.

    Raises:
        InputError: the name or the time has not its form.
    """
    check_name(approver, "an approver")
    signature = key.sign(signed(request, approver, check_time(time)))
    return Approval(request.name(), approver, time, signature)


def seal_to_requester(request: Request, answer: bytes) -> bytes:
    """Seal an answer so that only the requester can open it, and only for this request; its length is hidden.

    Whoever calls this has checked the request: see `wayback.seal_answer`.
    """
    return seal(request.public_key, padded(answer), "way-back-answer/1", request.name())


def open_answer(key: OpeningKey, request: Request, sealed: bytes) -> bytes:
    """The answer to one's own request.

    Raises:
        SealedError: it is to another request or key, or was altered.
    """
    return unpadded(key.open(sealed, "way-back-answer/1", request.name()), "answer")


def written(value: object) -> object:
    """A part of a paper as its file has it: bytes as hexadecimal digits, times in UTC."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value


def read_fields(data: bytes, form: str, slots: Sequence[str], what: str) -> dict[str, Any]:
    """The parts of a paper's file, which has exactly these.

    Raises:
        TamperedError: it is spelt otherwise.
        InputError: it is none of this form.
    """
    content: Mapping[str, Any] = parse(data, what)
    if content.get("format") != form or set(content) != {"format", *slots}:
        raise InputError(f"This is no {what} of a form that is known here.")
    return {slot: content[slot] for slot in slots}


def read_bytes(text: object) -> bytes:
    """Bytes of a paper's file. Raises InputError."""
    if isinstance(text, str) and re.fullmatch(r"(?:[0-9a-f]{2})*", text):
        return bytes.fromhex(text)
    raise InputError("Bytes are written as lower-case hexadecimal digits.")


def read_time(text: object) -> datetime:
    """A time of a paper's file. Raises InputError."""
    try:
        time = datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        time = None
    if time is None or written(time) != text:
        raise InputError("A time is written as 2026-11-22T09:30:00Z.")
    return time
