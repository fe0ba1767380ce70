"""A throw-away certificate authority for development and tests, and never for production.

    python -m pseudonym.roles.authority var/certificates

Its key is never written and ends with the process: what it has issued is all that there will be. Everything
it issues names itself as thrown away, expires after 30 days, and is refused by a server in production.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pseudonym.roles.callers import SERVER_ROLES, Role

NAME = "Kinlink throw-away authority, not for production"
DOMAIN = "development.invalid"
DAYS = 30
HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)

    def write(self, folder: Path, name: str) -> None:
        """Put them into `<name>.pem` and `<name>.key`, which only the owner can read."""
        write_private(folder / f"{name}.pem", self.certificate)
        write_private(folder / f"{name}.key", self.key)


class Authority:
    """An authority that lives as long as this object does.

    Args:
        domain: of the URIs in what it issues.
    """

    name = NAME

    def __init__(self, domain: str = DOMAIN) -> None:
        self.domain = domain
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (_usage(signs_certificates=True), True),
        ]
        self.certificate = self._sign(self._name, self._key.public_key(), extensions)

    def issue(self, role: Role, person: str, hosts: Iterable[str] = ()) -> Issued:
        """A certificate for a caller, or for a server that also calls others.

        Args:
            role: what it is.
            person: who it is; for a server, which.
            hosts: names and addresses under which a server is reached; none for a caller that serves nobody.
        """
        return self.issue_uris([f"spiffe://{self.domain}/role/{role}/{person}"], hosts)

    def issue_uris(self, uris: Iterable[str], hosts: Iterable[str] = ()) -> Issued:
        """A certificate with any URIs, right or wrong, so that tests can see what is refused."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        hosts = tuple(hosts)
        for host in hosts:
            names.append(_address(host) or x509.DNSName(host))
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(signs_certificates=False), True),
            (x509.ExtendedKeyUsage(uses), False),
        ]
        if names:
            extensions.append((x509.SubjectAlternativeName(names), True))
        certificate = self._sign(x509.Name([]), key.public_key(), extensions)
        return Issued(certificate, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        extensions: Iterable[tuple[x509.ExtensionType, bool]],
    ) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=DAYS))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)


def is_throw_away(authorities: Iterable[x509.Certificate]) -> bool:
    """Whether one of these authorities was made here."""
    return any(
        attribute.value == NAME
        for authority in authorities
        for attribute in authority.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    )


def make_all(folder: Path, domain: str = DOMAIN) -> None:
    """Write a new authority's certificate, and one certificate for each server role and each caller's role.

    Files are named after the role. The data protection officer is called olive, since who asks does not
    approve, and every other caller alice; there is one more approver, bob, since two must: `approver-2.pem`.

    Args:
        folder: where they go; what an earlier call wrote there is replaced.
        domain: of the URIs.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = Authority(domain)
    write_private(folder / "authority.pem", authority.certificate)
    for role in Role:
        hosts = HOSTS if role in SERVER_ROLES else ()
        person = "olive" if role is Role.DATA_PROTECTION_OFFICER else "alice"
        authority.issue(role, "server-1" if hosts else person, hosts).write(folder, role)
    authority.issue(Role.APPROVER, "bob").write(folder, f"{Role.APPROVER}-2")


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, in place of the one that is there."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    draft.replace(path)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _address(host: str) -> x509.IPAddress | None:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return None


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("Usage: python -m pseudonym.roles.authority FOLDER")
    make_all(Path(sys.argv[1]))
    print(f"Throw-away certificates for {DAYS} days are in {sys.argv[1]}.")
