"""The files of a secured connection, and a look at them before they are used."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from linker.errors import LinkerError


@dataclass(frozen=True)
class Tls:
    """The files of a secured connection, all PEM.

    Attributes:
        authority: the certificate authority of the server.
        certificate: the client's own certificate, or None where the server asks for none.
        key: the key of that certificate.
    """

    authority: Path
    certificate: Path | None = None
    key: Path | None = None


def check_tls(tls: Tls) -> None:
    """Look at the files of a secured connection: gRPC would try them again and again, or end the process.

    Raises:
        LinkerError: one cannot be read, is not in PEM, or certificate and key do not go together.
    """
    if (tls.certificate is None) != (tls.key is None):
        raise LinkerError("A certificate and its key go together.", "Give both, or neither.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(tls.authority)
    except (OSError, ssl.SSLError):
        raise LinkerError(
            f"{tls.authority} is no certificate of an authority in PEM.", "Name another file."
        ) from None
    if tls.certificate is not None:
        try:
            context.load_cert_chain(tls.certificate, tls.key)
        except (OSError, ssl.SSLError):
            raise LinkerError(
                f"{tls.certificate} and {tls.key} are no certificate and its key in PEM.",
                "Name the two files that were made together.",
            ) from None
