"""Units: the random-looking ids that the identity role keeps for records and for sources' families.

A row reference is forgotten once its halves have met; a record stays. So the record is called by a keyed
function of the reference: the same row delivered again is the same record, a council's same reference of a
family is the same family in its next delivery, and nobody without the key finds either.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from pseudonym.errors import InputError
from pseudonym.urn import ID_BYTES, KEY_BYTES, check_label, digests, enc


class UnitKey:
    """The key of units.

    Args:
        secret: 32 random bytes, used for nothing else.

    Raises:
        InputError: the key's size is wrong.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise InputError(f"A key is {KEY_BYTES} bytes.")
        self._mac = HMAC(secret, SHA256())

    def __repr__(self) -> str:
        return "UnitKey()"

    def records(self, project: str, row_refs: Sequence[bytes]) -> list[bytes]:
        """The units of records: PRF(key, "unit/1", project, row_ref)[:16], in the same order."""
        if not set(map(len, row_refs)) <= {ID_BYTES}:
            raise InputError(f"A row reference is {ID_BYTES} bytes.")
        return self._all("unit/1", check_label(project, "project"), row_refs)

    def rows(self, project: str, register: str, row_refs: Sequence[bytes]) -> list[bytes]:
        """The units of a register's rows: PRF(key, "register-row/1", project, register, row_ref)[:16].

        In their order. They are apart from those of records and of other registers: whoever sends a row
        reference that another sender used moves and withdraws nothing of theirs.
        """
        if not set(map(len, row_refs)) <= {ID_BYTES}:
            raise InputError(f"A row reference is {ID_BYTES} bytes.")
        return self._all("register-row/1", check_label(project, "project"), row_refs, register)

    def families(self, project: str, source: str, references: Sequence[str]) -> list[bytes]:
        """The units of a source's families: PRF(key, "family/1", project, source, reference)[:16]."""
        return self._all("family/1", check_label(project, "project"), references, source)

    def outcomes(self, project: str, register: str, pids: Sequence[bytes]) -> list[bytes]:
        """Units of what is said of persons: PRF(key, "outcome/1", project, register, pid)[:16]."""
        return self._all("outcome/1", check_label(project, "project"), pids, register)

    def _all(self, label: str, project: str, what: Sequence[bytes | str], *more: str) -> list[bytes]:
        messages = [enc(label, project, *more, one) for one in what]
        return [digest[:ID_BYTES] for digest in digests(self._mac, messages)]
