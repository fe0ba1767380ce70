"""The quorum provider: any m of n custodians open the keyset together, and fewer cannot.

The rules this module keeps (`docs/urn-format.md` gives every byte):

- The master key comes of a random seed, which is shared among the custodians by Shamir's way, and of a device
  secret.
- Each custodian's part is sealed to a key pair of their own (HPKE), whose private half only their passphrase
  opens (Argon2id). So a renewal can give new parts to custodians who are not there.
- A renewal makes a new seed, new parts and a new device secret: a passphrase that was changed opens nothing
  that is sealed later, even together with an older copy of the file.
- A part is bound to its keyset, custodian, place, threshold and device secret.
- Who gave a wrong passphrase, and whose part was altered, is said by the custodian's label.

Danger: for as long as the keyset is open, one process holds what the quorum protects.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from pseudonym.errors import InputError, KeysetError, PassphraseError, TamperedError
from pseudonym.master import CHECK_BYTES, SALT_BYTES, Master, Passphrase
from pseudonym.providers import Said, not_said, octets, shamir
from pseudonym.providers.device import DeviceFile
from pseudonym.providers.file import mix
from pseudonym.urn import check_label, enc

MOST_CUSTODIANS = 20

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_SEED_BYTES = 32


class QuorumProvider:
    """A master key that any m of n custodians open, each with a passphrase of their own.

    Args:
        device: where the device secret is kept, apart from the keyset and out of every backup.
        passphrases: by custodian's label. All custodians' for a new keyset; at least m of them to open one.
        threshold: m, from 2 to n, for a new keyset; the file knows it otherwise.
    """

    name = "quorum"

    def __init__(self, device: Path, passphrases: Mapping[str, str], threshold: int | None = None) -> None:
        self._path = device
        self._device = DeviceFile(device)
        self._given = {label: Passphrase(text) for label, text in passphrases.items()}
        self._threshold = threshold
        self._replacing = False

    def __repr__(self) -> str:
        return f"QuorumProvider(device={str(self._path)!r}, custodians={list(self._given)!r})"

    def claim(self, set_name: str) -> None:
        """Check custodians and threshold, and make the device file: see `Provider`."""
        self._check_new()
        self._device.claim(set_name)

    def _check_new(self) -> None:
        count = len(self._given)
        if self._threshold is None or not 2 <= self._threshold <= count <= MOST_CUSTODIANS:
            raise InputError(
                f"A quorum has from 2 to {MOST_CUSTODIANS} custodians, and takes at least 2 of them.",
                "Give each custodian's passphrase, and how many of them open the keyset.",
            )
        for label, passphrase in self._given.items():
            check_label(label, "custodian")
            passphrase.fit_for_new(f"The passphrase of custodian {label}")
        for (one, first), (other, second) in combinations(self._given.items(), 2):
            if first.same_as(second):
                raise InputError(
                    f"Custodians {one} and {other} gave the same passphrase.", "Each takes one of their own."
                )

    def renew(self, set_name: str, said: Said | None) -> tuple[Said, Master]:
        """Make a new seed and a new device secret, and seal each custodian's new part: see `Provider`."""
        if said is None or self._replacing:
            self._replacing = False
            assert self._threshold is not None  # `claim` has checked it
            threshold, people = self._threshold, [{"label": label} for label in self._given]
        else:
            threshold, people = said["threshold"], said["custodians"]
        device, secret = self._device.add(set_name)
        seed = os.urandom(_SEED_BYTES)
        parts = shamir.split(seed, threshold, len(people))
        custodians = []
        for x, person in enumerate(people, 1):
            label = person["label"]
            if label in self._given:
                person = self._new_pair(set_name, label)
            public = X25519PublicKey.from_public_bytes(bytes.fromhex(person["public"]))
            sealed = _SUITE.encrypt(parts[x], public, _place(set_name, device, threshold, x, label))
            custodians.append({**person, "part": sealed.hex()})
        master = Master.from_root(mix(secret, seed), set_name)
        return {
            "name": self.name, "threshold": threshold, "device": device,
            "check": master.check.hex(), "custodians": custodians,
        }, master  # fmt: skip

    def master(self, set_name: str, said: Said) -> Master:
        """Put the seed together from the parts of those who gave their passphrases: see `Provider`."""
        threshold, device, people = _read(said)
        check, secret = octets(said, "check", CHECK_BYTES), self._device.secret(set_name, device)
        labels = [person["label"] for person in people]
        if unknown := sorted(set(self._given) - set(labels)):
            raise PassphraseError(
                f"The keyset has no custodian {_joined(unknown)}.", f"It has {_joined(labels)}."
            )
        if len(self._given) < threshold:
            raise PassphraseError(
                f"The keyset needs the passphrases of {threshold} of its {len(people)} custodians, "
                f"and {len(self._given)} were given.",
                "Nothing was opened.",
            )
        pairs = {person["label"]: self._open_pair(set_name, person) for person in people
                 if person["label"] in self._given}  # fmt: skip
        if wrong := [label for label, private in pairs.items() if private is None]:
            raise PassphraseError(
                f"The passphrase given for custodian {_joined(wrong)} is not theirs.", "Nothing was opened."
            )
        parts, altered = {}, []
        for x, person in enumerate(people, 1):
            private = pairs.get(person["label"])
            if private is not None:
                place = _place(set_name, device, threshold, x, person["label"])
                try:
                    parts[x] = _SUITE.decrypt(octets(person, "part"), private, place)
                except (InvalidTag, ValueError):
                    altered.append(person["label"])
        if altered:
            raise _altered(altered)
        seed = shamir.combine(dict(list(parts.items())[:threshold]))
        master = Master.from_root(mix(secret, seed), set_name)
        if not master.is_of(check):
            raise _altered([person["label"] for x, person in enumerate(people, 1) if x in parts])
        return master

    def settle(self, set_name: str, said: Said) -> None:
        """Overwrite the device secret before: see `Provider`."""
        self._device.settle(set_name, said["device"])

    def with_passphrase(self, passphrase: str, custodian: str | None) -> QuorumProvider:
        """The same custodians, one of whom has another passphrase: see `Provider`."""
        if custodian not in self._given:
            raise KeysetError(
                "A passphrase is changed by the custodian whose it is, with their present one.",
                f"Name one of {_joined(self._given)}.",
            )
        changed = QuorumProvider(self._path, {}, self._threshold)
        new = Passphrase(passphrase)
        new.fit_for_new()
        if any(given.was(passphrase) for label, given in self._given.items() if label != custodian):
            raise KeysetError("Another custodian has this passphrase.", "Each takes one of their own.")
        changed._given = {**self._given, custodian: new}
        return changed

    def with_custodians(self, passphrases: Mapping[str, str], threshold: int) -> QuorumProvider:
        """The same device file with other custodians: the next renewal gives parts to them alone.

        Args:
            passphrases: by label, of all who will be custodians; those who stay give theirs, or a new one.
            threshold: how many of them open the keyset.

        Raises:
            InputError: they are too few, two have the same passphrase, or a label has not the right form.
            KeysetError: a passphrase is too short.
        """
        changed = QuorumProvider(self._path, passphrases, threshold)
        changed._check_new()
        changed._replacing = True
        return changed

    def _new_pair(self, set_name: str, label: str) -> dict[str, str]:
        salt, stretched = self._given[label].stretch()
        private, nonce = X25519PrivateKey.generate(), os.urandom(12)
        sealed = AESGCMSIV(stretched).encrypt(nonce, private.private_bytes_raw(), _owner(set_name, label))
        return {
            "label": label,
            "salt": salt.hex(),
            "public": private.public_key().public_bytes_raw().hex(),
            "private": (b"\x01" + nonce + sealed).hex(),
        }

    def _open_pair(self, set_name: str, person: dict[str, Any]) -> X25519PrivateKey | None:
        label, wrapped = person["label"], octets(person, "private", 1 + 12 + 32 + 16)
        _, stretched = self._given[label].stretch(octets(person, "salt", SALT_BYTES))
        if wrapped[0] != 1:
            raise not_said()
        try:
            plain = AESGCMSIV(stretched).decrypt(wrapped[1:13], wrapped[13:], _owner(set_name, label))
        except InvalidTag:
            return None
        return X25519PrivateKey.from_private_bytes(plain)


def _read(said: Said) -> tuple[int, str, list[dict[str, Any]]]:
    threshold, people = said.get("threshold"), said.get("custodians")
    if (
        set(said) != {"name", "threshold", "device", "check", "custodians"}
        or not isinstance(people, list)
        or type(threshold) is not int
        or not 2 <= threshold <= len(people) <= MOST_CUSTODIANS
    ):
        raise not_said()
    for person in people:
        if not isinstance(person, dict) or set(person) != {"label", "salt", "public", "private", "part"}:
            raise not_said()
        try:
            check_label(person["label"], "custodian")
        except (InputError, TypeError):
            raise not_said() from None
        octets(person, "public", 32)
    return threshold, octets(said, "device", 8).hex(), people


def _owner(set_name: str, label: str) -> bytes:
    return enc("keyset-custodian/1", set_name, label)


def _place(set_name: str, device: str, threshold: int, x: int, label: str) -> bytes:
    return enc("keyset-part/1", set_name, bytes.fromhex(device), bytes([threshold, x]), label)


def _altered(labels: Iterable[str]) -> TamperedError:
    return TamperedError(
        f"The part of custodian {_joined(labels)} in the keyset's file was altered.",
        "Restore the file; nothing was opened.",
    )


def _joined(labels: Iterable[str]) -> str:
    *rest, last = labels
    return f"{', '.join(rest)} and {last}" if rest else last
