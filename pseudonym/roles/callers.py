"""Who calls: one role and one person, as the caller's certificate says, and in no other way.

The rules this module keeps:

- A caller is who the one URI in its certificate's subject alternative name says:
  `spiffe://<domain>/role/<role>/<person>`. None, several, or one of another form: refused.
- The certificate was checked against the authority by TLS before; over an older TLS than 1.3 nobody is known.
- Without certificates, which settings allow in development on this machine's loopback address only, everybody
  is one development identity. No certificate can name it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from cryptography import x509

from pseudonym.audit import Event
from pseudonym.errors import InputError
from pseudonym.roles.refusals import CallerUnknownError

AuthContext = Mapping[str, Sequence[bytes]]
"""What gRPC's `auth_context()` returns."""

_URI = re.compile(
    r"spiffe://(?P<domain>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)"
    r"/role/(?P<role>[a-z]+(?:-[a-z]+)*)"
    r"/(?P<person>[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?)"
)
_LONGEST_URI = 512


class Role(StrEnum):
    """What a caller is; the last three are the server roles among themselves."""

    COUNCIL = "council"
    DATASET_HOLDER = "dataset-holder"
    LINKAGE_OPERATOR = "linkage-operator"
    REVIEWER = "reviewer"
    RESEARCHER = "researcher"
    APPROVER = "approver"
    DATA_PROTECTION_OFFICER = "data-protection-officer"
    KEY_CUSTODIAN = "key-custodian"
    AUDITOR = "auditor"
    OPERATOR = "operator"
    IDENTITY = "identity"
    BROKER = "broker"
    ATTRIBUTES = "attributes"


SERVER_ROLES = (Role.IDENTITY, Role.BROKER, Role.ATTRIBUTES)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        domain: the domain of the certificate's authority, such as "ons.example".
        role: the role, or None for the development identity, which has all of them.
        person: who it is within the role and domain; for a server role, which server.
    """

    domain: str
    role: Role | None
    person: str

    def __str__(self) -> str:
        return f"spiffe://{self.domain}/role/{self.role or 'development'}/{self.person}"


DEVELOPMENT = Caller("development.invalid", None, "anyone-on-this-machine")
"""Everybody, where callers show no certificate."""


def read(uri: str) -> Caller:
    """Read the URI of a caller.

    Raises:
        CallerUnknownError: it has another form, or names a role that does not exist.
    """
    found = _URI.fullmatch(uri) if len(uri) <= _LONGEST_URI else None
    if found is None or ".." in found["domain"] or found["role"] not in set(Role):
        raise CallerUnknownError(
            "The URI in the caller's certificate names no role and person.",
            "It has the form spiffe://DOMAIN/role/ROLE/PERSON, in small letters, with a role that exists.",
        )
    caller = Caller(found["domain"], Role(found["role"]), found["person"])
    try:
        Event(str(caller), "x", "x").check()
    except InputError:
        raise CallerUnknownError(
            "The URI in the caller's certificate cannot stand in an audit log.",
            "It is at most 128 characters long and holds nothing like a number of a person.",
        ) from None
    return caller


def read_passed_on(uri: str) -> Caller:
    """Who the server that calls says has called it: somebody with a certificate, or the development identity.

    Only a server of the throw-away domain, which is refused in production, may speak for the latter.

    Raises:
        CallerUnknownError: it names nobody.
    """
    if uri == str(DEVELOPMENT) and current().domain == DEVELOPMENT.domain:
        return DEVELOPMENT
    return read(uri)


@lru_cache(maxsize=1024)
def from_certificate(pem: bytes) -> Caller:
    """Who a certificate names; it is not checked here who signed it.

    Raises:
        CallerUnknownError: it cannot be read, or has not exactly one URI of the right form.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        uris = []
    if len(uris) != 1:
        raise CallerUnknownError(
            f"The caller's certificate has {len(uris)} URIs in its subject alternative name, not one.",
            "Ask the authority for a certificate with exactly one, which names role and person.",
        )
    return read(uris[0])


def caller_of(context: AuthContext, *, development: bool) -> Caller:
    """Who calls, from what gRPC knows of the connection.

    Args:
        context: the connection's authentication context.
        development: whether a caller without a certificate is the development identity.

    Raises:
        CallerUnknownError: there is no certificate where one is needed, it names nobody, or TLS is too old.
    """
    certificates = context.get("x509_pem_cert", ())
    if not certificates and development:
        return DEVELOPMENT
    if not certificates:
        raise CallerUnknownError("The caller shows no certificate.", "Connect with the caller's own.")
    if tuple(context.get("ssl_tls_version", ())) != (b"TLSv1.3",):
        raise CallerUnknownError("The connection is not of TLS 1.3.", "Connect with TLS 1.3.")
    if len(certificates) != 1:
        raise CallerUnknownError("The connection has more than one peer.", "Connect directly.")
    return from_certificate(bytes(certificates[0]))


_current: ContextVar[Caller] = ContextVar("caller")


def enter(caller: Caller) -> None:
    """Say who calls, for all that the present task does."""
    _current.set(caller)


def current() -> Caller:
    """Who makes the call that the present task or thread works on.

    Raises:
        LookupError: it works on none; nothing may then be assumed.
    """
    return _current.get()
