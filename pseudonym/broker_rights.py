"""What the broker does where people use their rights: finds their aids, and lists what was corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from pseudonym.access import Access, Mandate
from pseudonym.broker_context import BrokerContext
from pseudonym.broker_erasure import BrokerErasure
from pseudonym.changes import Change
from pseudonym.cover import cover
from pseudonym.erasure import What
from pseudonym.errors import NotFoundError
from pseudonym.storage.rows import ProjectState
from pseudonym.urn import Kind


class BrokerRights:
    """The broker's part in people's rights.

    Args:
        context: the broker's.
        erasure: knows the aids of persons in all projects.
    """

    def __init__(self, context: BrokerContext, erasure: BrokerErasure) -> None:
        self._context, self._rows, self._erasure = context, context.rows, erasure

    def aids(self, pids: Sequence[bytes]) -> dict[str, list[bytes]]:
        """The aids of persons in the projects that have them; projects without any are left out."""
        found = {}
        for project, aids in self._erasure.aids(Kind.PERSON, pids).items():
            with self._rows.read() as at:
                here = self._rows.members(at, aids)
            if some := [aid for aid in aids if aid in here]:
                found[project] = some
        return found

    def enter(self, project: str, pids: Sequence[bytes]) -> dict[str, list[bytes]]:
        """The aids of persons in a project that they are about to enter; from now on it has them.

        What is decided on them later then reaches that project, whether their rows came or not.

        Raises:
            NotFoundError, EndedError: there is no such project, or it has ended.
        """
        with self._rows.read() as at:
            found = self._rows.project(at, project)
        key, ledger = self._context.keys.aid_key(project), self._context.ledger
        aids = key.aids(found.epoch, Kind.PERSON, pids)
        with ledger.lock, self._rows.write() as at:  # nobody is erased between the look and the keeping
            gone = ledger.erased(What.SUBJECT, aids)
            here = [(pid, aid) for pid, aid, out in zip(pids, aids, gone, strict=True) if not out]
            self._rows.project(at, project)
            covers = cover(key, [pid for pid, _ in here])
            self._rows.add_members(at, found.number, Kind.PERSON, [aid for _, aid in here], covers)
        return {project: [aid for _, aid in here]} if here else {}

    def ended(self, project: str) -> bool:
        """Whether the project was destroyed, or is being destroyed."""
        with suppress(NotFoundError), self._rows.read() as at:
            return self._rows.project(at, project, ended=True).state is not ProjectState.OPEN
        return False

    def corrected(self, aids: Mapping[str, Sequence[bytes]], mandate: Mandate) -> None:
        """Put persons on the lists for recipients as corrected: number and person stay.

        Args:
            aids: by project.
            mandate: who decided, and what for.
        """
        for project, some in aids.items():
            self._context.audit(Access("corrected", project, mandate, len(some)))
            with self._rows.write() as at:
                number = self._rows.project(at, project).number
                changes = [Change.CORRECTED.value] * len(some)
                self._rows.add_superseded(at, number, Kind.PERSON, some, some, changes)
