"""The certificates of one server: what it shows to its callers and to other roles, and whom it trusts.

Files are looked at on every new connection, and on every call to another role: renewed ones are taken without
a restart, and ones that do not go together, or that a start would refuse, are not; then what was there before
goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pseudonym.errors import PseudonymError
from pseudonym.roles.authority import is_throw_away
from pseudonym.roles.callers import Caller, Role, from_certificate
from pseudonym.roles.peer import PeerTls
from pseudonym.roles.refusals import CallerUnknownError


@dataclass(frozen=True)
class Certificates:
    """What was read from the files of a server.

    Attributes:
        files: certificate chain, key, and the clients' authority or None.
        chain: the content of the first.
        key: the content of the second.
        authority: the content of the third, or None.
        bearer: whom the server's own certificate names, or None.
    """

    files: tuple[Path, Path, Path | None]
    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    authority: bytes | None = field(repr=False)
    bearer: Caller | None

    @property
    def domain(self) -> str:
        """The domain of the server's own certificate, or an empty string."""
        return self.bearer.domain if self.bearer else ""

    def check_authority(self) -> None:
        """Refuse an authority that was made to be thrown away.

        Raises:
            PseudonymError: it is one.
        """
        if self.authority and is_throw_away(x509.load_pem_x509_certificates(self.authority)):
            raise PseudonymError(
                "The authority of --tls-authority is a throw-away one.",
                "In production use your organisation's own.",
            )

    def check_role(self, role: Role) -> None:
        """Refuse a certificate of somebody else.

        Raises:
            PseudonymError: the server's own certificate does not name this role.
        """
        if self.bearer is None or self.bearer.role is not role:
            raise PseudonymError(
                f"The certificate of --tls-certificate does not name the role {role}.",
                f"Its one URI is spiffe://DOMAIN/role/{role}/SERVER.",
            )

    def for_peers(self) -> PeerTls | None:
        """What the server shows to other roles, or None if it has no certificate for that."""
        return PeerTls(self.authority, self.chain, self.key) if self.authority and self.bearer else None

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """What the server shows to its callers, and asks of them."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.chain)], self.authority)


class Renewal:
    """The certificates of a server, renewed when its files are; usable from any thread.

    Args:
        found: what was read at the start.
        check: refuses what a start would refuse, by raising PseudonymError.
        failed: is called when changed files cannot be used, once for each change.
    """

    def __init__(
        self,
        found: Certificates,
        check: Callable[[Certificates], object],
        failed: Callable[[], object] = lambda: None,
    ) -> None:
        self._found, self._check, self._failed = found, check, failed
        self._lock = threading.Lock()
        self._seen = _times(found)
        self._shown = found

    def for_peers(self) -> PeerTls | None:
        """What the server shows to other roles now, or None if it has no certificate for that."""
        return self._current().for_peers()

    def for_server(self) -> grpc.ServerCredentials:
        """What the server shows to its callers; with an authority of theirs, renewed for new connections."""
        found = self._found
        if found.authority is None:
            return grpc.ssl_server_credentials([(found.key, found.chain)])
        return grpc.dynamic_ssl_server_credentials(
            found.configuration(), self._renewed, require_client_authentication=True
        )

    def _renewed(self) -> Any:  # a configuration, or None for the one before, which the stubs do not know
        found = self._current()
        with self._lock:
            if found is self._shown:
                return None
            self._shown = found
        return found.configuration()

    def _current(self) -> Certificates:
        with self._lock:
            times = _times(self._found)
            if times != self._seen:
                self._seen = times
                try:
                    renewed = read(*self._found.files)
                    if renewed.bearer != self._found.bearer:
                        raise PseudonymError("The renewed certificate names somebody else.", "Restart it.")
                    self._check(renewed)
                    self._found = renewed
                except PseudonymError:
                    self._failed()
            return self._found


def _times(found: Certificates) -> tuple[int, ...]:
    return tuple(path.stat().st_mtime_ns if path is not None and path.exists() else 0 for path in found.files)


def read(certificate: Path, key: Path, authority: Path | None) -> Certificates:
    """Read the files of a server.

    Args:
        certificate: its chain, its own certificate first.
        key: the key of that certificate.
        authority: the authorities of its clients, or None.

    Raises:
        PseudonymError: one cannot be read, or is not what it should be.
    """
    chain, certificates = _pem("--tls-certificate", certificate, x509.load_pem_x509_certificates)
    secret, private = _pem("--tls-key", key, lambda content: load_pem_private_key(content, None))
    if certificates[0].public_key() != private.public_key():
        raise PseudonymError(
            "The key of --tls-key is not that of the certificate.",
            "Give the server's own certificate first in the chain, and its key.",
        )
    trusted = None
    if authority is not None:
        trusted, _ = _pem("--tls-authority", authority, x509.load_pem_x509_certificates)
    try:
        bearer = from_certificate(chain)
    except CallerUnknownError:
        bearer = None
    return Certificates((certificate, key, authority), chain, secret, trusted, bearer)


def _pem(flag: str, path: Path, load: Callable[[bytes], Any]) -> tuple[bytes, Any]:
    """A file's content, as it is and as it was understood."""
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"The file of {flag} cannot be read: {error.strerror}."
        raise PseudonymError(message, "Check its path and who may read it.") from None
    try:
        return content, load(content)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it needs a passphrase
        what = "private key without a passphrase" if flag == "--tls-key" else "certificate"
        raise PseudonymError(
            f"The file of {flag} holds no {what} in PEM.", "Convert it, or name another."
        ) from None
