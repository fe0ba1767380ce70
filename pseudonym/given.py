"""What a command or a server is given to open a keyset with, and how the secrets among it come.

A secret is typed at a prompt, or comes from a file descriptor, a file, or a credential that the service
manager hands over.

The rules this module keeps:

- Never from an argument or the environment, which other users and the shell's history can see. What was typed
  there by mistake is refused without being repeated.
- A file with a secret belongs to the user who runs the command, and nobody else can read it. A credential
  belongs to the service manager, and not everybody can read it.
"""

from __future__ import annotations

import getpass
import os
import re
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pseudonym.errors import InputError, KeysetError, OptionError, PermissionsError
from pseudonym.files import read_secret_file
from pseudonym.keyrecord import provider_of
from pseudonym.providers.file import FileProvider
from pseudonym.providers.quorum import QuorumProvider
from pseudonym.urn import check_label

if TYPE_CHECKING:
    from pseudonym.providers import Provider

_T = TypeVar("_T")
_LONGEST = 4096
_CREDENTIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")
_NAMES = {"file": "Passphrase", "quorum": "Passphrase", "pkcs11": "PIN", "transit": "Token of the key server"}


@dataclass(frozen=True, slots=True)
class Given:
    """What is said of where a keyset's master key comes from.

    Attributes:
        secrets: `prompt`, `fd:N`, `file:PATH` or `credential:NAME`, with `CUSTODIAN=` before it where there
            are several.
        device: the device secret's file.
        module: the shared library of a token's maker.
        address: the key server's.
        mount: where its transit engine is.
        authorities: a file of certificates to trust instead of the system's.
        clock_was_ahead: see `Keyset.open`.
        options: what the names of the options for module and address begin with, for messages.
    """

    secrets: Sequence[str]
    device: Path | None
    module: Path | None = None
    address: str | None = None
    mount: str = "transit"
    authorities: Path | None = None
    clock_was_ahead: bool = False
    options: str = "--"

    def opener(self, path: Path) -> Provider:
        """The provider that a keyset file asks for; what it asks for is trusted only once it opened."""
        said = provider_of(path)
        name = said["name"]
        if name == "pkcs11":
            return self._pkcs11(str(said.get("token")))
        if name == "transit":
            return self._transit(str(said.get("key")))
        if name == "quorum":
            return self._quorum()
        return FileProvider(_needed(self.device, "--device"), self._secret("file"))

    def creator(self, name: str, threshold: int | None, token: str | None, key: str | None) -> Provider:
        """The provider of a keyset that does not exist yet."""
        if name == "file":
            return FileProvider(_needed(self.device, "--device"), self._secret(name, new=True))
        if name == "quorum":
            return self._quorum(_needed(threshold, "--threshold"), new=True)
        if name == "pkcs11":
            return self._pkcs11(_needed(token, "--token"))
        if name == "transit":
            return self._transit(_needed(key, "--key"))
        raise OptionError(f"--provider is one of {', '.join(_NAMES)}.")

    def _pkcs11(self, token: str) -> Provider:
        from pseudonym.providers.pkcs11 import Pkcs11Provider

        return Pkcs11Provider(_needed(self.module, f"{self.options}module"), token, self._secret("pkcs11"))

    def _transit(self, key: str) -> Provider:
        from pseudonym.providers.transit import TransitProvider

        address, secret = _needed(self.address, f"{self.options}address"), self._secret("transit")
        return TransitProvider(address, secret, key, mount=self.mount, authorities=self.authorities)

    def _quorum(self, threshold: int | None = None, *, new: bool = False) -> Provider:
        found = passphrases(self.secrets, new=new)
        return QuorumProvider(_needed(self.device, "--device"), found, threshold)

    def _secret(self, provider: str, *, new: bool = False) -> str:
        if len(self.secrets) > 1:
            raise OptionError("--secret is given once: this keyset has no custodians.")
        return read_secret(next(iter(self.secrets), "prompt"), _NAMES[provider], new=new)


def passphrases(sources: Sequence[str], *, new: bool = False) -> dict[str, str]:
    """Read custodians' passphrases, each given as CUSTODIAN=SOURCE; by label."""
    found: dict[str, str] = {}
    for given in sources:
        label, between, source = given.partition("=")
        if not between:
            # What was given is not repeated: it may be a passphrase.
            raise OptionError("A secret is CUSTODIAN=SOURCE here: this keyset has several custodians.")
        check_label(label, "custodian")
        if label in found:
            raise OptionError("A custodian is named twice.")
        found[label] = read_secret(source, f"Passphrase of {label}", new=new)
    return found


def read_secret(source: str, what: str, *, new: bool = False) -> str:
    """Read one secret.

    Args:
        source: `prompt`, `fd:N`, `file:PATH` or `credential:NAME`.
        what: what to ask for.
        new: ask twice, since nobody can look at what was typed.

    Raises:
        InputError: the source is of no such kind, or gives no single line.
        KeysetError: there is nothing to read it from, or others can.
    """
    kind, _, place = source.partition(":")
    if source == "prompt":
        return _ask(what, new=new)
    if kind == "fd" and place.isascii() and place.isdigit() and len(place) < 8 and place not in ("1", "2"):
        try:
            with open(int(place), "rb", closefd=place != "0", buffering=0) as stream:
                return _line(_all(stream.fileno()))
        except OSError:
            raise KeysetError(f"File descriptor {place} cannot be read.", "Open it for reading.") from None
    if kind == "file" and place:
        return _line(read_secret_file(Path(place), "secret"))
    if kind == "credential" and _CREDENTIAL.fullmatch(place):
        return _line(_credential(place))
    raise InputError(
        "A secret comes from prompt, fd:NUMBER, file:PATH or credential:NAME.",
        "Type none into a command: others can see it. If you did, take a new one.",
    )


def _ask(what: str, *, new: bool) -> str:
    if not sys.stdin.isatty():
        raise KeysetError("There is no terminal to ask at.", "Name a source: --secret fd:3 or file:PATH.")
    found = getpass.getpass(f"{what}: ")
    if new and getpass.getpass(f"{what}, again: ") != found:
        raise InputError("The two are not the same.", "Nothing was done.")
    return found


def _all(handle: int) -> bytes:
    found = b""
    while len(found) <= _LONGEST and (more := os.read(handle, _LONGEST)):
        found += more
    return found


def _credential(name: str) -> bytes:
    """What the service manager put into the folder of this service's credentials."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    try:
        if not folder:
            raise FileNotFoundError
        handle = os.open(Path(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        raise KeysetError(
            f"There is no credential {name}.",
            "Have the service manager load it (LoadCredential=).",
        ) from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & stat.S_IRWXO:
            raise PermissionsError(f"The credential {name} is open to everybody.", "Load it anew.")
        return _all(handle)
    finally:
        os.close(handle)


def _line(octets: bytes) -> str:
    try:
        text = octets.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = ""
    if not text or len(octets) > _LONGEST or not text.isprintable():
        raise InputError("A secret is one line of text.", "Nothing was done.")
    return text


def _needed(value: _T | None, option: str) -> _T:
    if value is None:
        raise OptionError(f"{option} is needed for this keyset.")
    return value
