"""Erasure and destruction in the broker's store: persons, recipients' epochs, projects.

A person's numbers stay in the table without their person, so that recipients can be told which of their
numbers were erased, and so that none of them is ever given to anybody else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import polars as pl

from pseudonym import frames, issuing
from pseudonym.access import Access, Mandate
from pseudonym.broker_context import BrokerContext
from pseudonym.erasure import What, carry_out, domain_id
from pseudonym.errors import KeyMissingError
from pseudonym.storage.rows import AT_ONCE, Project, ProjectState
from pseudonym.storage.rows_broker import Domain, DomainState
from pseudonym.tracing import WAY_BACK, Tracing
from pseudonym.urn import Kind

Shred = Callable[[], Sequence[str]]
"""Destroys the keys in question for good and gives their ids; to be called again does no harm."""
Ended = Callable[[str], bool]
"""Whether a project's end is past."""


class BrokerErasure:
    """What the broker does to forget. A `pseudonym.erasure.Follower`."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._rows = context.rows
        self.ledger = context.ledger

    def aids(self, kind: Kind, pids: Sequence[bytes]) -> dict[str, list[bytes]]:
        """The aids of persons or families in every project that has not ended, member there or not."""
        with self._rows.read() as at:
            projects = [one for one in self._rows.projects(at) if one.state is not ProjectState.ENDED]
        found = {}
        for project in projects:
            with suppress(KeyMissingError):  # destroyed: nothing of it can be made or traced again
                found[project.name] = self._context.keys.aid_key(project.name).aids(project.epoch, kind, pids)
        return found

    def erase_aids(self, aids: Mapping[str, Sequence[bytes]], mandate: Mandate) -> dict[str, int]:
        """Erase persons or families by their aids, given by project, as `aids` gives them.

        Who is not there is written into the ledger all the same, and cannot come in later.

        Returns:
            How many rows were deleted, by table.
        """
        for project, some in aids.items():
            self._context.audit(Access("erase", project, mandate, len(some)))
        return self._run(What.SUBJECT, [aid for some in aids.values() for aid in some])

    def erase(self, project: str, kind: Kind, pids: frames.Table, mandate: Mandate) -> pl.DataFrame:
        """Erase persons or families: no way back remains from any of their numbers.

        Args:
            project: its name.
            kind: what the ids are of.
            pids: a binary column `pid`.
            mandate: who asks, and what for.

        Returns:
            The aids (column `aid`), for the attributes role to erase as well.

        Raises:
            KeyMissingError: the project's key was destroyed.
        """
        given = list(dict.fromkeys(frames.ids(frames.table(pids), "pid")))
        with self._rows.read() as at:
            found = self._rows.project(at, project)
        aids = self._context.keys.aid_key(project).aids(found.epoch, kind, given)
        self._context.audit(Access("erase", project, mandate, len(aids), (kind,)))
        self._run(What.SUBJECT, aids)
        return frames.columns(aid=aids)

    def only_here(
        self, project: str, mandate: Mandate, after: bytes = b"", ended: Ended = lambda project: False
    ) -> tuple[list[bytes], bytes | None]:
        """The pids of a project's persons whom no other project has, for identity to erase them at its end.

        Args:
            project: its name.
            mandate: who asks, and what for.
            after: where the page before ended.
            ended: see `nowhere_else`.

        Returns:
            Some of them, perhaps none, and where this page ended; None with the last one.
        """
        with self._rows.read() as at:
            found = self._rows.project(at, project)
            page = self._rows.members_after(at, found.number, Kind.PERSON, after)
        table = Tracing(self._context).pids(project, frames.columns(aid=page), mandate, WAY_BACK)
        more = page[-1] if len(page) == AT_ONCE else None
        return self.nowhere_else(project, table["pid"].to_list(), ended), more

    def nowhere_else(
        self, project: str, pids: Sequence[bytes], ended: Ended = lambda project: False
    ) -> list[bytes]:
        """Those of some persons whom no other project has that goes on.

        Args:
            project: whose persons they are, whether they are known here or not.
            pids: the persons.
            ended: whether a project is over: of several that end on one day none keeps what the others have.
        """
        elsewhere: set[bytes] = set()
        for name, aids in self.aids(Kind.PERSON, pids).items():
            if name != project and not ended(name):
                with self._rows.read() as at:
                    there = self._rows.members(at, aids)
                elsewhere.update(pid for pid, aid in zip(pids, aids, strict=True) if aid in there)
        return [pid for pid in pids if pid not in elsewhere]

    def erased(self, project: str, recipient: str, since_day: int = 0) -> pl.DataFrame:
        """A recipient's numbers that were erased, for the recipient: columns `urn` and `day` (since 1970)."""
        with self._rows.read() as at:
            number = self._rows.project(at, project).number
            domains = [one for one in self._rows.domains(at, number) if one.recipient == recipient]
            found = [row for one in domains for row in self._rows.erased_urns(at, one.number, since_day)]
        return pl.DataFrame(found, schema={"urn": pl.String, "day": pl.Int64}, orient="row")

    def destroy_domain(
        self, project: str, recipient: str, epoch: int, shred: Shred, mandate: Mandate
    ) -> tuple[Sequence[str], dict[str, int]]:
        """Destroy a recipient's epoch: its key, then its numbers. None can be traced from then on.

        The key goes first: whatever happens then, nothing leads back. To be called again finishes what a
        crash cut off.

        Returns:
            The ids of the keys, and the number of rows deleted by table: see `pseudonym.destruction`.
        """
        with self._rows.write() as at:
            domain = self._rows.domain(
                at, self._rows.project(at, project, ended=True).number, recipient, epoch
            )
            if domain.state is not DomainState.DESTROYED:
                self._rows.set_domain_state(at, domain.number, DomainState.ENDING)
        self._context.audit(Access("destroy", project, mandate, 1, (recipient, str(epoch))))
        kids = shred()
        counts = self._run(What.DOMAIN, [domain_id(project, recipient, epoch)])
        return kids, counts

    def destroy_project(
        self, project: str, shred: Shred, mandate: Mandate
    ) -> tuple[Sequence[str], dict[str, int]]:
        """Destroy a project: all its keys, then all its rows. See `destroy_domain`."""
        with self._rows.write() as at:
            found = self._rows.project(at, project, ended=True)
            if found.state is not ProjectState.ENDED:
                self._rows.set_state(at, found.number, ProjectState.ENDING)
        self._context.audit(Access("destroy", project, mandate, 1))
        kids = shred()
        counts = self._run(What.PROJECT, [project.encode()])
        return kids, counts

    def unfinished(self) -> list[str]:
        """Projects and domains whose destruction began and did not end: call it again."""
        with self._rows.read() as at:
            projects = {project.number: project for project in self._rows.projects(at)}
            domains = self._rows.domains(at)
        found = [one.name for one in projects.values() if one.state is ProjectState.ENDING]
        return found + [
            f"{projects[one.project].name}:{one.recipient}:{one.epoch}"
            for one in domains
            if one.state is DomainState.ENDING
        ]

    def _run(self, what: What, ids: Sequence[bytes]) -> dict[str, int]:
        return dict(carry_out(self._context.ledger, self, what, ids, self._rows.store.today()))

    def followed(self) -> tuple[int, bytes]:
        return self._rows.followed()

    def follow(self, number: int, digest: bytes) -> None:
        self._rows.follow(number, digest)

    def purge(self) -> None:
        self._rows.purge()

    def held(self, what: What) -> Iterator[list[bytes]]:
        if what is What.SUBJECT:
            yield from self._rows.member_pages()
            return
        with self._rows.read() as at:
            projects = {project.number: project for project in self._rows.projects(at)}
            domains = self._rows.domains(at)
        if what is What.PROJECT:
            yield [
                project.name.encode() for project in projects.values() if project.state != ProjectState.ENDED
            ]
        else:
            yield [
                domain_id(projects[domain.project].name, domain.recipient, domain.epoch)
                for domain in domains
                if domain.state is not DomainState.DESTROYED
            ]

    def wipe(self, what: What, ids: Sequence[bytes]) -> dict[str, int]:
        if what is What.SUBJECT:
            starts = range(0, len(ids), AT_ONCE)
            return {"member": sum(self._wipe_members(ids[first : first + AT_ONCE]) for first in starts)}
        wanted, counts = set(ids), Counter[str]()
        with self._rows.read() as at:
            projects = self._rows.projects(at)
            domains = self._rows.domains(at)
        names = {project.number: project.name for project in projects}
        for project in projects:
            if what is What.PROJECT and project.name.encode() in wanted:
                counts.update(self._wipe_project(project, domains))
        for domain in domains:
            if (
                what is What.DOMAIN
                and domain_id(names[domain.project], domain.recipient, domain.epoch) in wanted
            ):
                counts["urn"] += self._wipe_domain(domain)
        return counts

    def _wipe_project(self, project: Project, domains: Sequence[Domain]) -> dict[str, int]:
        """Delete all that the tables have of a project; counts by table."""
        urns = sum(self._wipe_domain(domain) for domain in domains if domain.project == project.number)
        counts = {"urn": urns, **self._rows.delete_project(project.number)}
        with self._rows.write() as at:
            self._rows.set_state(at, project.number, ProjectState.ENDED)
        return counts

    def _wipe_domain(self, domain: Domain) -> int:
        """Delete all numbers of a domain; how many."""
        gone = self._rows.delete_urns(domain.number)
        with self._rows.write() as at:
            self._rows.set_domain_state(at, domain.number, DomainState.DESTROYED)
        return gone

    def _wipe_members(self, aids: Sequence[bytes]) -> int:
        with self._rows.read() as at:
            members = self._rows.members(at, aids)
            projects = {project.number: project for project in self._rows.projects(at)}
        for number in {row[0] for row in members.values()}:
            keyed = self._context.keyed(projects[number])
            for kind in Kind:
                here = [aid for aid, row in members.items() if row[:2] == (number, kind)]
                for domain, key in keyed if here else ():
                    with self._rows.write() as at:
                        words = issuing.issued(self._rows, at, domain.number, key, kind, here)
                        self._rows.erase_urns(at, domain.number, [word for word in words if word is not None])
        with self._rows.write() as at:
            self._rows.delete_members(at, aids)
        return len(members)
