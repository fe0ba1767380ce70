"""The transit provider: the master key is encrypted by OpenBao or HashiCorp Vault, whose key never leaves it.

The rules this module keeps (`docs/urn-format.md` gives every byte):

- The server's key serves this keyset alone: a new keyset makes it, and refuses one that is there already.
- A renewal makes the key's next version, and trims the ones before away for good: older copies of the
  keyset's file are dead, except where the server's own storage is restored from a backup.
- The server is spoken to over TLS, or on this machine's loopback address; redirects are not followed, and
  nothing is taken from the environment: neither address, nor token, nor proxy, nor certificates.
- No message repeats what the server said, nor the token.

The token needs the right to `update` the paths encrypt/KEY and decrypt/KEY; to create, rotate and destroy
also keys/KEY (`create`, `read`, `update`), keys/KEY/rotate, keys/KEY/config and keys/KEY/trim (`update`).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pseudonym.errors import InputError, KeysetError, PassphraseError, ProviderError
from pseudonym.master import CHECK_BYTES, Master
from pseudonym.providers import Said, not_said, octets
from pseudonym.urn import enc

try:
    import hvac
    import requests
except ImportError:  # pragma: no cover - the tests have it
    hvac = None

SECONDS = 15.0
"""How long an answer may take."""

_SEED_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_SEALED = re.compile(r"vault:v([1-9][0-9]{0,8}):([A-Za-z0-9+/]+={0,2})")


class TransitProvider:
    """A master key encrypted by the transit engine of OpenBao or HashiCorp Vault.

    Args:
        address: `https://host:port`, or `http://` on this machine's loopback address.
        token: what the server knows this caller by.
        key: the name of the key, used for this keyset alone.
        mount: where the transit engine is mounted.
        authorities: a file of certificates to trust instead of the system's.

    Raises:
        InputError: the address is neither `https://` nor on the loopback address, or a name has not the right
            form.
    """

    name = "transit"

    def __init__(
        self, address: str, token: str, key: str, *, mount: str = "transit", authorities: Path | None = None
    ) -> None:
        for text in (key, mount):
            if not _NAME.fullmatch(text):
                raise InputError(
                    "The name of a key or of a mount is letters, digits, dots, hyphens, underscores."
                )
        self._address = _checked(address)
        self._token = token
        self._key = key
        self._mount = mount
        self._authorities = authorities

    def __repr__(self) -> str:
        return f"TransitProvider(address={self._address!r}, key={self._key!r}, mount={self._mount!r})"

    def claim(self, set_name: str) -> None:
        """Make the key in the server: see `Provider`."""
        with self._engine() as engine:
            try:
                engine.read_key(name=self._key, mount_point=self._mount)
            except hvac.exceptions.InvalidPath:
                pass
            else:
                raise KeysetError(
                    f"The server has a key {self._key!r} already.",
                    "Choose another name, or delete it if no keyset needs it any more.",
                )
            engine.create_key(
                name=self._key,
                key_type="aes256-gcm96",
                exportable=False,
                allow_plaintext_backup=False,
                mount_point=self._mount,
            )

    def renew(self, set_name: str, said: Said | None) -> tuple[Said, Master]:
        """Make the key's next version, and have the server encrypt a new seed: see `Provider`."""
        seed = os.urandom(_SEED_BYTES)
        with self._engine() as engine:
            if said is not None:
                engine.rotate_key(name=self._key, mount_point=self._mount)
            answer = engine.encrypt_data(
                name=self._key,
                plaintext=_text(seed),
                associated_data=_text(_place(set_name)),
                mount_point=self._mount,
            )
            wrapped = answer["data"]["ciphertext"]
        match = _SEALED.fullmatch(wrapped)
        if match is None or (said is not None and int(match[1]) <= said["version"]):
            raise _strange()
        master = Master.from_root(seed, set_name)
        return {
            "name": self.name, "key": self._key, "version": int(match[1]), "wrapped": wrapped,
            "check": master.check.hex(),
        }, master  # fmt: skip

    def master(self, set_name: str, said: Said) -> Master:
        """Have the server decrypt the seed: see `Provider`."""
        if set(said) != {"name", "key", "version", "wrapped", "check"}:
            raise not_said()
        check, wrapped = octets(said, "check", CHECK_BYTES), said["wrapped"]
        match = _SEALED.fullmatch(wrapped) if isinstance(wrapped, str) else None
        if match is None or type(said["version"]) is not int or int(match[1]) != said["version"]:
            raise not_said()
        if said["key"] != self._key:
            raise ProviderError(
                "The keyset's master is under another key of the server than the one that was named.",
                "Name the key that the keyset was made with.",
            )
        with self._engine() as engine:
            try:
                answer = engine.decrypt_data(
                    name=self._key,
                    ciphertext=wrapped,
                    associated_data=_text(_place(set_name)),
                    mount_point=self._mount,
                )
            except (hvac.exceptions.InvalidRequest, hvac.exceptions.InvalidPath):
                # The server tells these three no further apart.
                raise ProviderError(
                    "The server does not open the keyset's master: it lacks the key or this version of it, "
                    "or the file was altered.",
                    "An older copy of a keyset cannot be opened once its master key was renewed.",
                ) from None
            try:
                seed = base64.b64decode(answer["data"]["plaintext"], validate=True)
            except binascii.Error:
                raise _strange() from None
        master = Master.from_root(seed, set_name)
        if len(seed) != _SEED_BYTES or not master.is_of(check):
            raise not_said()
        return master

    def settle(self, set_name: str, said: Said) -> None:
        """Trim the key's earlier versions away: see `Provider`."""
        version = said["version"]
        with self._engine() as engine:
            state = engine.read_key(name=self._key, mount_point=self._mount)["data"]
            # One after the other, since hvac takes no two equal versions in one call.
            for setting in ("min_encryption_version", "min_decryption_version"):
                if state[setting] < version:
                    engine.update_key_configuration(
                        name=self._key, mount_point=self._mount, **{setting: version}
                    )
            if state["min_available_version"] < version:
                engine.trim_key(name=self._key, min_version=version, mount_point=self._mount)

    def with_passphrase(self, passphrase: str, custodian: str | None) -> TransitProvider:
        """Refused: the token is the server's."""
        raise KeysetError(
            "This keyset has no passphrase: what opens it is a token of the key server.",
            "Renew the token there.",
        )

    @contextmanager
    def _engine(self) -> Iterator[Any]:
        if hvac is None:
            raise ProviderError("This program lacks hvac.", "Install kinlink[transit].")
        if self._authorities is not None and not self._authorities.is_file():
            raise ProviderError(f"There is no file of certificates at {self._authorities}.")
        with requests.Session() as session, _refusals():
            session.trust_env = False
            # Given a session, hvac leaves its own setting of this unused.
            session.verify = str(self._authorities) if self._authorities else True
            client = hvac.Client(
                url=self._address,
                token=self._token,
                timeout=SECONDS,
                allow_redirects=False,
                session=session,
            )
            yield client.secrets.transit


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized):
        raise PassphraseError(
            "The key server refuses the token, or what is asked with it.",
            "Give a token whose policy allows the use of this key.",
        ) from None
    except hvac.exceptions.VaultDown:
        raise ProviderError("The key server is sealed or in maintenance.", "Have it unsealed.") from None
    except hvac.exceptions.InvalidPath:
        raise ProviderError(
            "The key server has no transit engine or no such key there.", "Name its mount and its key."
        ) from None
    except hvac.exceptions.VaultError as error:
        raise ProviderError(
            f"The key server refuses what was asked ({type(error).__name__}).", "Look into its log."
        ) from None
    except requests.exceptions.SSLError:
        raise ProviderError(
            "The key server's certificate is not one that is trusted here.",
            "Name its authority's certificate.",
        ) from None
    except requests.exceptions.RequestException as error:
        raise ProviderError(
            f"The key server cannot be reached ({type(error).__name__}).",
            "Check its address and that it runs.",
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _strange() from None


def _strange() -> ProviderError:
    return ProviderError("The key server's answer is none that it should give.", "Check its address.")


def _checked(address: str) -> str:
    parts = urlsplit(address)
    try:
        near = parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        near = False
    if not parts.hostname or parts.scheme not in ("http", "https") or (parts.scheme == "http" and not near):
        raise InputError(
            "The address of a key server begins with https://.",
            "http:// is for this machine's own address only.",
        )
    if parts.username or parts.query or parts.fragment:
        raise InputError("The address of a key server is a scheme, a host and a port.")
    return address.rstrip("/")


def _place(set_name: str) -> bytes:
    return enc("keyset-transit/1", set_name)


def _text(octets_: bytes) -> str:
    return base64.b64encode(octets_).decode()
