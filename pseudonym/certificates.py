"""Certificates: a signed statement of what was destroyed, when, how and by whom.

A certificate is one JSON object in one spelling (`pseudonym.files.canonical`) with an Ed25519 signature over
enc("certificate/1", the bytes without the member `signature`). It names projects, labels, key ids, counts and
the digest of the erasure ledger; it never names a person, an internal id or a reference number.

The signature proves who states it. It cannot prove that no copy was made before: that is what destroying keys
is for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pseudonym.errors import CertificateError, InputError, TamperedError
from pseudonym.files import canonical, parse
from pseudonym.urn import enc

FORMAT = "kinlink-certificate/1"

_MEMBERS = {
    "format",
    "role",
    "project",
    "what",
    "when",
    "how",
    "who",
    "kids",
    "counts",
    "ledger",
    "signature",
}


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was destroyed.

    Attributes:
        role: the store: identity, broker or attributes.
        project: the project's name.
        what: a sentence, such as "All keys and rows of the project".
        when: the moment it was done, UTC, ISO 8601.
        how: a sentence for each step.
        who: the names of the accounts that ordered and carried it out.
        kids: the ids of the keys that were destroyed.
        counts: the number of rows deleted, by table.
        ledger: the digest of the erasure ledger afterwards, hexadecimal digits.
    """

    role: str
    project: str
    what: str
    when: str
    how: tuple[str, ...]
    who: tuple[str, ...]
    kids: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    ledger: str = ""


class Signs(Protocol):
    """An Ed25519 key: a `pseudonym.holders.SigningKey`, in a service."""

    def sign(self, message: bytes, /) -> bytes: ...
    def public_key(self) -> Ed25519PublicKey: ...


def sign(certificate: Certificate, key: Signs) -> bytes:
    """The certificate as a file, signed.

    Raises:
        InputError: nobody is named, or nothing is said of what was done and how.
    """
    if not (certificate.who and certificate.how and certificate.what):
        raise InputError("A certificate says what was destroyed, how, and by whom.")
    content: dict[str, Any] = {"format": FORMAT, **_members(certificate)}
    content["signature"] = {
        "key": key_id(key.public_key()),
        "value": key.sign(_message(content)).hex(),
    }
    return canonical(content)


def verify(data: bytes, key: Ed25519PublicKey) -> Certificate:
    """Read a certificate, if it is whole and signed by `key`.

    Raises:
        CertificateError: it is no certificate, was altered, or is signed by another key.
    """
    try:
        content = parse(data, "certificate")
        seal = content.pop("signature")
        if content.get("format") != FORMAT or {*content, "signature"} != _MEMBERS:
            raise ValueError
        key.verify(bytes.fromhex(seal["value"]), _message(content))
        if seal != {"key": key_id(key), "value": seal["value"].lower()}:
            raise ValueError
        del content["format"]
        for name in ("how", "who", "kids"):
            content[name] = tuple(content[name])
        return Certificate(**{**content, "counts": MappingProxyType(content["counts"])})
    except (InvalidSignature, TamperedError, KeyError, TypeError, ValueError, AttributeError):
        raise CertificateError(
            "This is no certificate signed by the key that was given, or it was altered.",
            "Ask for it again, and compare the key's id with the one published.",
        ) from None


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the public key's 32 bytes."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def _members(certificate: Certificate) -> dict[str, Any]:
    """The certificate's members as JSON has them."""
    return {
        **{name: getattr(certificate, name) for name in certificate.__slots__},
        "how": list(certificate.how),
        "who": list(certificate.who),
        "kids": list(certificate.kids),
        "counts": dict(certificate.counts),
    }


def _message(content: Mapping[str, Any]) -> bytes:
    return enc("certificate/1", canonical(dict(content)))
