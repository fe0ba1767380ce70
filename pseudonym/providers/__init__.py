"""Where a keyset's master key comes from: one interface, four implementations.

| provider | what opens the keyset | what dies at a renewal, and with it every older copy of the file |
| --- | --- | --- |
| `file.FileProvider` | a passphrase and a secret kept on this device | the device secret |
| `quorum.QuorumProvider` | any m of n custodians' passphrases and a device secret | the device secret |
| `pkcs11.Pkcs11Provider` | a key that stays in a hardware token, and its PIN | the token's key |
| `transit.TransitProvider` | a key that stays in OpenBao or Vault, and a token | the key's version |

The rules every provider keeps, and one test suite checks:

- What a keyset file says of its provider opens nothing without what the provider keeps elsewhere.
- Nothing outside is given up before the file that no longer needs it is on disk: after a crash at any moment
  one master opens the file.
- After `settle`, an older copy of the file opens for nobody.
- A refusal is one sentence that says what is missing or wrong, before anything changes.
"""

from __future__ import annotations

from typing import Any, Protocol

from pseudonym.errors import TamperedError
from pseudonym.master import Master

Said = dict[str, Any]
"""What a keyset file says of its provider: nothing secret, nor anything to rely on before it was opened."""


class Provider(Protocol):
    """Makes master keys, and makes them again. One object serves one keyset.

    The keyset holds its lock whenever it calls.
    """

    @property
    def name(self) -> str:
        """The provider's name in keyset files."""
        ...

    def claim(self, set_name: str) -> None:
        """Prepare for a new keyset.

        Raises:
            KeysetError: what the provider keeps for a keyset is there already, or cannot be made.
        """
        ...

    def renew(self, set_name: str, said: Said | None) -> tuple[Said, Master]:
        """Make a new master beside the one in use.

        Args:
            set_name: the keyset.
            said: what the file says now, to the letter of its seal; None for a new keyset.

        Returns:
            What the file must say from now on, and the new master.
        """
        ...

    def master(self, set_name: str, said: Said) -> Master:
        """The master of the file that says this of its provider.

        Raises:
            PassphraseError: a passphrase, a PIN, or the device secret is not the one that the file needs.
            ProviderError: the token or server cannot be used, or no longer has the key.
            TamperedError: the file does not say what a provider of this name says.
        """
        ...

    def settle(self, set_name: str, said: Said) -> None:
        """Give up for good what the file on disk, which says this, does not need."""
        ...

    def with_passphrase(self, passphrase: str, custodian: str | None) -> Provider:
        """A provider like this one, whose next renewal puts another passphrase in the place of its own.

        Args:
            passphrase: the new one.
            custodian: whose it is, where there are several.

        Raises:
            KeysetError: it is too short, or the provider keeps no passphrase of its own.
        """
        ...


def octets(said: Said, member: str, size: int | None = None) -> bytes:
    """Bytes that a keyset file gives as lower-case hexadecimal digits.

    Args:
        said: the object that has them as a member.
        member: its name.
        size: how many bytes they are, where that is fixed.

    Raises:
        TamperedError: it has them not, or in another form.
    """
    text = said.get(member)
    if not isinstance(text, str) or not set(text) <= set("0123456789abcdef") or len(text) % 2:
        raise not_said()
    found = bytes.fromhex(text)
    if size is not None and len(found) != size:
        raise not_said()
    return found


def not_said() -> TamperedError:
    """The error of a file that does not say what its provider says."""
    return TamperedError(
        "What the keyset's file says of its master key has not the right form.",
        "Restore it; nothing was opened.",
    )
