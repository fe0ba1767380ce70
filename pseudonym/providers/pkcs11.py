"""The PKCS #11 provider: the master key is wrapped by a key that never leaves a hardware token.

The rules this module keeps (`docs/urn-format.md` gives every byte):

- The token's key is made in the token, sensitive and not extractable, and is used for this keyset alone. One
  that can be taken out is refused.
- A renewal makes a new key in the token and destroys the one before: older copies of the keyset's file are
  dead.
- The PIN stays with this object, since each renewal needs it, and is in no message.

It guards against stolen files and backups, and against a stolen disk with all of them. Whoever has the
token's use and the PIN can open the keyset. A token that is backed up (most can be) keeps destroyed keys in
its backup.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pseudonym.errors import KeysetError, PassphraseError, ProviderError
from pseudonym.master import CHECK_BYTES, Master
from pseudonym.providers import Said, not_said, octets
from pseudonym.urn import enc

try:
    import pkcs11
except ImportError:  # pragma: no cover - the tests have it
    pkcs11 = None  # type: ignore[assignment]

_SEED_BYTES = 32
_ONE_AT_A_TIME: Final = threading.Lock()
"""Logging in is of the process, not of a session: two at once would get into one another's way."""


class Pkcs11Provider:
    """A master key wrapped by an AES-256 key in a hardware token.

    Args:
        module: the shared library of the token's maker, such as `/usr/lib/softhsm/libsofthsm2.so`.
        token: the token's label.
        pin: the user's PIN.
    """

    name = "pkcs11"

    def __init__(self, module: Path, token: str, pin: str) -> None:
        self._module = module
        self._token = token
        self._pin = pin

    def __repr__(self) -> str:
        return f"Pkcs11Provider(module={str(self._module)!r}, token={self._token!r})"

    def claim(self, set_name: str) -> None:
        """Check that the token and the PIN work: see `Provider`."""
        with self._session():
            pass

    def renew(self, set_name: str, said: Said | None) -> tuple[Said, Master]:
        """Make a new key in the token, and wrap a new seed under it: see `Provider`."""
        series = os.urandom(8).hex() if said is None else said["series"]
        key_id, seed, nonce = os.urandom(16), os.urandom(_SEED_BYTES), os.urandom(12)
        flags, attribute = pkcs11.MechanismFlag, pkcs11.Attribute
        with self._session(write=True) as session:
            key = session.generate_key(
                pkcs11.KeyType.AES,
                256,
                id=key_id,
                label=_label(set_name, series),
                store=True,
                capabilities=flags.ENCRYPT | flags.DECRYPT,
                template={attribute.SENSITIVE: True, attribute.EXTRACTABLE: False, attribute.PRIVATE: True},
            )
            sealed = key.encrypt(
                seed, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=_gcm(nonce, set_name)
            )
        master = Master.from_root(seed, set_name)
        return {
            "name": self.name, "token": self._token, "series": series, "key": key_id.hex(),
            "wrapped": (b"\x01" + nonce + sealed).hex(), "check": master.check.hex(),
        }, master  # fmt: skip

    def master(self, set_name: str, said: Said) -> Master:
        """Have the token open the seed: see `Provider`."""
        if set(said) != {"name", "token", "series", "key", "wrapped", "check"}:
            raise not_said()
        check, wrapped = (
            octets(said, "check", CHECK_BYTES),
            octets(said, "wrapped", 1 + 12 + _SEED_BYTES + 16),
        )
        key_id, series = octets(said, "key", 16), octets(said, "series", 8).hex()
        if wrapped[0] != 1:
            raise not_said()
        if said["token"] != self._token:
            raise ProviderError(
                "The keyset's key is in another token than the one that was named.",
                "Name the token it is in.",
            )
        with self._session() as session:
            key = next(iter(self._find(session, set_name, series, key_id)), None)
            if key is None:
                raise ProviderError(
                    "The key that this keyset needs is not in the token, so it cannot be opened.",
                    "An older copy of a keyset cannot be opened once its master key was renewed.",
                )
            if key[pkcs11.Attribute.EXTRACTABLE] or not key[pkcs11.Attribute.SENSITIVE]:
                raise ProviderError(
                    "The key in the token is not as it was made: it can be taken out.",
                    "Find out who replaced it; nothing was opened.",
                )
            try:
                seed = key.decrypt(
                    wrapped[13:],
                    mechanism=pkcs11.Mechanism.AES_GCM,
                    mechanism_param=_gcm(wrapped[1:13], set_name),
                )
            except (pkcs11.EncryptedDataInvalid, pkcs11.EncryptedDataLenRange, pkcs11.GeneralError):
                raise not_said() from None
        master = Master.from_root(seed, set_name)
        if not master.is_of(check):
            raise not_said()
        return master

    def settle(self, set_name: str, said: Said) -> None:
        """Destroy this keyset's other keys in the token: see `Provider`."""
        needed = octets(said, "key", 16)
        with self._session() as session:
            left = [key for key in self._find(session, set_name, said["series"])
                    if key[pkcs11.Attribute.ID] != needed]  # fmt: skip
        if left:
            with self._session(write=True) as session:
                for key in self._find(session, set_name, said["series"]):
                    if key[pkcs11.Attribute.ID] != needed:
                        key.destroy()

    def with_passphrase(self, passphrase: str, custodian: str | None) -> Pkcs11Provider:
        """Refused: the PIN is the token's."""
        raise KeysetError(
            "This keyset has no passphrase: what opens it is the token's PIN.",
            "Change the PIN with the token's own program.",
        )

    def _find(self, session: Any, set_name: str, series: str, key_id: bytes | None = None) -> list[Any]:
        attribute = pkcs11.Attribute
        wanted = {attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY, attribute.LABEL: _label(set_name, series)}
        if key_id is not None:
            wanted[attribute.ID] = key_id
        return list(session.get_objects(wanted))

    @contextmanager
    def _session(self, *, write: bool = False) -> Iterator[Any]:
        if pkcs11 is None:
            raise ProviderError("This program lacks python-pkcs11.", "Install kinlink[pkcs11].")
        with _ONE_AT_A_TIME, _refusals(self._token):
            try:
                library = pkcs11.lib(str(self._module))
            except (RuntimeError, OSError):
                raise ProviderError(
                    f"{self._module} cannot be loaded as a PKCS #11 module.",
                    "Name the shared library of the token's maker.",
                ) from None
            with library.get_token(token_label=self._token).open(user_pin=self._pin, rw=write) as session:
                yield session


@contextmanager
def _refusals(token: str) -> Iterator[None]:
    try:
        yield
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange):
        raise PassphraseError("The PIN is not the token's.", "Nothing was opened.") from None
    except pkcs11.PinLocked:
        raise PassphraseError(
            "The token is locked after too many wrong PINs.", "Its security officer can unlock it."
        ) from None
    except (pkcs11.NoSuchToken, pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised):
        raise ProviderError(f"There is no token {token!r}.", "Connect it, or name another one.") from None
    except pkcs11.MultipleTokensReturned:
        raise ProviderError(
            f"Several tokens have the label {token!r}.", "Give each a label of its own."
        ) from None
    except pkcs11.PKCS11Error as error:
        raise ProviderError(
            f"The token answered with an error ({type(error).__name__}).", "Look into the token's log."
        ) from None


def _label(set_name: str, series: str) -> str:
    return f"kinlink/{set_name}/{series}"


def _gcm(nonce: bytes, set_name: str) -> Any:
    return pkcs11.GCMParams(nonce, enc("keyset-pkcs11/1", set_name), 128)
