"""Who sends what: which person holds which register, and whose row reference is whose.

The rules this module keeps:

- A holder sends the registers and datasets that the governance file names beside them, and no other. Where
  the file says nothing of holders, nobody does in production and everybody in development.
- What is sent as a register counts only while its sender holds it: it is looked at again when it is linked.
- A council sends no dataset that somebody holds.
- Two halves of a row meet only if one and the same caller sent both. Each role puts sender and reference
  into one reference of its own before it keeps or tells anything, so who learns somebody else's reference and
  sends first takes nobody's place, and finds nobody's other half.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import sha256
from typing import NamedTuple

from pseudonym.roles import callers
from pseudonym.roles.callers import DEVELOPMENT, Caller, Role
from pseudonym.roles.refusals import CallerRefusedError, CallerUnknownError
from pseudonym.urn import ID_BYTES, enc


class Holder(NamedTuple):
    """One who may send: a person, what is theirs in a project, and under whose numbers if not by reference.

    Attributes:
        project: its name.
        dataset: the register's code, or a dataset's name.
        person: as in the certificate.
        recipient: the recipient under whose numbers they send too, or an empty string for none.
    """

    project: str
    dataset: str
    person: str
    recipient: str = ""


class Holders:
    """Those whom a role was told to take data from.

    Args:
        told: who may send what, or None for everybody.
    """

    def __init__(self, told: Collection[Holder] | None) -> None:
        self._told = told

    def check(self, caller: Caller, project: str, dataset: str, recipient: str = "") -> None:
        """Refuse whoever may not send a dataset, or not under a recipient's numbers.

        Otherwise any holder could plant data in another's register, and try out which numbers exist.

        Args:
            caller: who sends; the development identity is everybody.
            project: its name.
            dataset: the register's code, or a dataset's name.
            recipient: under whose numbers, or an empty string where it is by row reference.

        Raises:
            CallerRefusedError: the governance file does not name them.
        """
        if self._told is None or caller.role is None:
            return
        its = [one for one in self._told if (one.project, one.dataset) == (project, dataset)]
        if caller.role is Role.COUNCIL:
            if its:
                raise CallerRefusedError(
                    "The dataset is a register's, and its holder alone sends it.", "Send the council's own."
                )
            return
        mine = [one for one in its if one.person == caller.person]
        if caller.role is not Role.DATASET_HOLDER or not mine:
            raise CallerRefusedError(
                "The caller does not hold this register or dataset in the project.",
                "The role's governance file names who does, under holders.",
            )
        if recipient and recipient not in {one.recipient for one in mine}:
            raise CallerRefusedError(
                "The caller may not send data under the numbers of this recipient.",
                "The role's governance file names those who may, under holders.",
            )

    def check_sender(self, sender: str, project: str, register: str) -> None:
        """Refuse to link what came from somebody who does not hold the register, or does no longer.

        Args:
            sender: who sent the extract, as in the certificate.
            project: its name.
            register: its code.

        Raises:
            CallerRefusedError: the governance file does not name them.
        """
        if sender == str(DEVELOPMENT) and callers.current() is DEVELOPMENT:
            return
        try:
            self.check(callers.read(sender), project, register)
        except (CallerRefusedError, CallerUnknownError):
            raise CallerRefusedError(
                "The extract came from somebody who does not hold this register in the project.",
                "The identity role's governance file names who does, under holders; they send it.",
            ) from None


def bound(sender: str, refs: Sequence[bytes]) -> list[bytes]:
    """The row references that a sender's are known by from here on, in their order.

    The first 16 bytes of SHA-256(enc("row-reference/1", sender, row_ref)): both roles come to the same, and
    nobody finds another reference that comes to it.

    Args:
        sender: who sent the half, as in the certificate.
        refs: 16 random bytes each.
    """
    return [sha256(enc("row-reference/1", sender, ref)).digest()[:ID_BYTES] for ref in refs]
