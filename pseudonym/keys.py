"""Keysets: one role's keys in one sealed file, each of which can be used, retired and destroyed alone.

`pseudonym.keyfile` keeps the file, `pseudonym.uses` says what keys are for and whose they are, and
`pseudonym.providers` where the master key comes from. This module hands keys out as objects that work and
cannot be read back, and lets later keys take over from earlier ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from pseudonym import uses
from pseudonym.errors import InputError, KeyMissingError, KeyUseError
from pseudonym.holders import BlindKey, PrfKey, SigningKey
from pseudonym.keyfile import KeysetFile
from pseudonym.keyrecord import RAW_KEY_ACCESS, Key, RawKeyAccess, State
from pseudonym.urn import LAST_EPOCH, AidKey, UrnKey, check_label

__all__ = ["RAW_KEY_ACCESS", "Key", "Keyset", "RawKeyAccess", "State"]


_NO_SUCCESSORS = ("Keys of this use have no successors.", "Destroy the key, and begin anew.")
_NOT_ROTATED = {
    uses.BIDX: (
        "The index goes on under the key it was begun with: a new one would change nothing.",
        "After a leak take the sources in again, into a new database under a new keyset.",
    ),
    uses.URN: (
        "A recipient's numbers go on under their key until the broker begins the next epoch.",
        "Begin it with kinlink recipient open --next-epoch, which makes the key too.",
    ),
}
"""What to say of keys of which a successor alone would be used by nobody."""


class Keyset(KeysetFile):
    """One role's keys, opened.

    A keyset holds the keys of its own role only: the broker's has no key that opens identities, and the
    identity role's none that makes a reference number.

    Danger: an open keyset holds its master key in memory, and Python cannot wipe memory. Keep processes that
    open keysets small, and off machines that others use.
    """

    def add(self, use: str) -> Key:
        """Make the first key for a use.

        Args:
            use: as in `pseudonym.uses`; a later epoch, month or number comes of `rotate`.

        Raises:
            KeyUseError: there is, or was, one; or the use is not of this keyset's role.
            InputError: it is no use, or not the first of its kind.
        """
        read = uses.read(use)
        if read.kind == uses.KEK:
            if _series(self.keys, uses.KEK):
                raise KeyUseError("The keyset has, or had, a key-encrypting key.", "Rotate it.")
            return self.rotate_kek(read.labels[0])
        if read.number != 1:
            raise InputError("The first key for a use has number 1.", "Rotate it for the next.")
        with self._changing() as now:
            return self._add(use, now)

    def rotate(self, series: str) -> Key:
        """Make the next key of a series; the one before becomes decrypt-only.

        Args:
            series: `kek/1` (this month's; name another month after a colon) or `audit/1`; the use of any key
                of it stands for it.

        Raises:
            KeyMissingError: the series has no key yet.
            KeyUseError: it cannot go on, or is none that a new key alone would renew.
        """
        if series == uses.KEK:
            return self.rotate_kek()
        whole = series.startswith(f"{uses.URN}:") and series.count(":") == 2
        read = uses.read(f"{series}:1" if whole else series)
        if read.kind == uses.KEK:
            return self.rotate_kek(read.labels[0])
        if read.kind != uses.AUDIT:
            raise KeyUseError(*_NOT_ROTATED.get(read.kind, _NO_SUCCESSORS))
        return self._succeed(uses.AUDIT)

    def rotate_kek(self, month: str | None = None) -> Key:
        """Make the key-encrypting key of a month; the one before becomes decrypt-only.

        Then re-wrap what the one before has wrapped, check that nothing is left, and destroy it: from then on
        no backup from before can be read.

        Args:
            month: such as 2026-11; later than every one before, and not after next month. This month when
                None. Where the month's key leaked, 2026-11.2 and so on make another one in the same month.

        Raises:
            KeyUseError: there is, or was, a key for this month or a later one, or it is not the month's next;
                or the role has no such keys.
            InputError: it is no month, or too far off.
        """
        if month is not None:
            uses.check_month(month)
        with self._changing() as now:
            present = now[:7]
            wanted = month or present
            place = uses.place_of_month(wanted)
            if place[0] > uses.month_after(present):
                raise InputError("A key-encrypting key is for this month or the next.", "Check the month.")
            earlier = [key for key in self._last.keys if key.use.startswith(f"{uses.KEK}:")]
            places = [uses.place_of_month(uses.read(key.use).labels[0]) for key in earlier]
            last = max(places, default=("", 0))
            if place <= last:
                raise KeyUseError(
                    "The keyset has, or had, a key-encrypting key for this month or a later one.",
                    f"Name the next: --month, kek/1:YYYY-MM; or {last[0]}.{last[1] + 1} if the key leaked.",
                )
            if place[1] != (last[1] + 1 if place[0] == last[0] else 1):
                raise KeyUseError("It is not the month's next key.", "Name the month alone, or its next key.")
            active = next((key for key in earlier if key.state is State.ACTIVE), None)
            return self._add(f"{uses.KEK}:{wanted}", now, retired=active)

    def kek(self, month: str | None = None) -> tuple[str, AESGCMSIV]:
        """The id and cipher of the active key-encrypting key, or of a month's.

        Raises:
            KeyMissingError: there is none, or it was destroyed.
        """
        if month is not None:
            return self.kek_of(self.find(f"{uses.KEK}:{uses.check_month(month)}").kid)
        for key in self.keys:
            if key.use.startswith(f"{uses.KEK}:") and key.state is State.ACTIVE:
                return self.kek_of(key.kid)
        raise KeyMissingError("The keyset has no active key-encrypting key.", "Make one with rotate_kek.")

    def kek_of(self, kid: str) -> tuple[str, AESGCMSIV]:
        """The id and cipher of the key-encrypting key with this id, active or decrypt-only.

        Raises:
            KeyMissingError: there is none, or it was destroyed.
        """
        if not self.by_kid(kid).use.startswith(f"{uses.KEK}:"):
            raise KeyMissingError("The key with this id is no key-encrypting key.", "List the keys.")
        return self.lend(kid, lambda kid, secret: (kid, AESGCMSIV(secret)))

    def blind_key(self, number: int | None = None) -> BlindKey:
        """The root of the blind indexes: the present one, or an earlier one by its number.

        Raises:
            KeyMissingError: there is none, or it was destroyed.
        """
        return self.lend(self._member(uses.BIDX, number).kid, BlindKey)

    def suppression_key(self) -> PrfKey:
        """The key of the suppression list. Raises KeyMissingError."""
        return self.lend(self.find(uses.SUPPRESSION).kid, PrfKey)

    def signing_key(self) -> SigningKey:
        """The key that signs the role's audit log now. Raises KeyMissingError."""
        return self.lend(self._member(uses.AUDIT, None).kid, SigningKey)

    def verifying_keys(self) -> dict[str, Ed25519PublicKey]:
        """The public keys, by id, of every key that signed the role's audit log, the destroyed ones too."""
        return {
            key.kid: Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public))
            if key.state is State.DESTROYED
            else self.lend(key.kid, SigningKey).public_key()
            for key in _series(self.keys, uses.AUDIT).values()
            if key.public or key.state is not State.DESTROYED
        }

    def add_aid_key(self, project: str) -> AidKey:
        """Make a project's key for attribute ids.

        Raises:
            KeyUseError: the project has, or had, one.
            InputError: the name has not the right form.
        """
        self.add(f"{uses.AID}:{check_label(project, 'project')}")
        return self.aid_key(project)

    def aid_key(self, project: str) -> AidKey:
        """A project's key for attribute ids.

        Raises:
            KeyMissingError: it has none, or it was destroyed.
        """
        kid = self.find(f"{uses.AID}:{check_label(project, 'project')}").kid
        return self.lend(kid, lambda _, secret: AidKey(secret, project))

    def add_urn_key(self, project: str, recipient: str) -> UrnKey:
        """Make the first key for a recipient's reference numbers: epoch 1.

        Raises:
            KeyUseError: the recipient has, or had, one in this project.
            InputError: a name has not the right form.
        """
        self.add(f"{_recipient(project, recipient)}:1")
        return self.urn_key(project, recipient)

    def rotate_urn_key(self, project: str, recipient: str) -> UrnKey:
        """Begin the recipient's next epoch: a new key, whose numbers have nothing to do with those before.

        The key before becomes decrypt-only: name its epoch to `urn_key` to trace its numbers or make a list
        from old to new, then destroy it.

        Raises:
            KeyMissingError: the recipient never had a key in this project.
            KeyUseError: epoch 31, the last, is in use.
        """
        self._succeed(_recipient(project, recipient), LAST_EPOCH)
        return self.urn_key(project, recipient)

    def urn_key(self, project: str, recipient: str, epoch: int | None = None) -> UrnKey:
        """The key for a recipient's reference numbers.

        Args:
            project: the project's name.
            recipient: the recipient's name.
            epoch: a past epoch, to trace its numbers; the present one when None.

        Raises:
            KeyMissingError: there is no such key, or it was destroyed.
        """
        key = self._member(_recipient(project, recipient), epoch)
        number = uses.read(key.use).number
        return self.lend(key.kid, lambda _, secret: UrnKey(secret, project, recipient, number))

    def cell_key(self, project: str) -> PrfKey:
        """A project's key for the record keys of cell-key perturbation. Raises KeyMissingError."""
        return self.lend(self.find(f"{uses.CKP}:{check_label(project, 'project')}").kid, PrfKey)

    def exchange_key(self, one: str, other: str, exchange: str) -> PrfKey:
        """The key of one exchange between two named parties. Raises KeyMissingError."""
        names = ":".join(check_label(text, "party or exchange") for text in (one, other, exchange))
        return self.lend(self.find(f"{uses.EXCHANGE}:{names}").kid, PrfKey)

    def _succeed(self, series: str, last: int | None = None) -> Key:
        """Make the next key of a series; the one before becomes decrypt-only."""
        with self._changing() as now:
            known = _series(self._last.keys, series)
            if not known:
                raise KeyMissingError("There is no key for this use to take over from.", "Add the first one.")
            number = max(known) + 1
            if last is not None and number > last:
                raise KeyUseError(
                    f"Epoch {last} is a recipient's last.", "Go on under a new name for the recipient."
                )
            return self._add(f"{series}:{number}", now, retired=known[number - 1])

    def _member(self, series: str, number: int | None) -> Key:
        known = _series(self.keys, series)
        key = known.get(max(known, default=0) if number is None else number)
        if key is None:
            raise KeyMissingError("The keyset has no key for this use.", "Add it, or check the names.")
        return self.by_kid(key.kid)


def _series(keys: Sequence[Key], series: str) -> dict[int, Key]:
    """The keys of a series by number; those of key-encrypting keys, which have months, in order."""
    found = [key for key in keys if key.use == series or key.use.startswith(f"{series}:")]
    if series == uses.KEK:
        return dict(enumerate(found, 1))
    return {uses.read(key.use).number: key for key in found}


def _recipient(project: str, recipient: str) -> str:
    return f"{uses.URN}:{check_label(project, 'project')}:{check_label(recipient, 'recipient')}"
