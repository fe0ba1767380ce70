"""The end of a project in each role, and of a recipient's epochs in the broker.

    identity: its persons ─▶ erased                        attributes: keys and rows
    broker: the project's keys, then its rows              each: a certificate, and a checkpoint after it

The rules this module keeps:

- Each role is asked by itself, by a key custodian: nobody at one role ends what another has.
- The identity role comes first, for the broker alone knows whom no other project has, and only until it has
  destroyed the project's key itself. Whom a join stored before the broker was told, the identity role knows.
- Keys go before rows. Whatever was cut off is finished by asking again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from pseudonym import uses
from pseudonym.access import Mandate
from pseudonym.attributes import Attributes
from pseudonym.audit import Event
from pseudonym.broker import Broker
from pseudonym.broker_erasure import Shred
from pseudonym.casebook import Casebook
from pseudonym.identity_erasure import IdentityErasure
from pseudonym.keys import Key, Keyset, State
from pseudonym.roles.arrow import ROWS
from pseudonym.roles.certified import KeptCertificates
from pseudonym.roles.destroying import Certify
from pseudonym.roles.opening import House
from pseudonym.roles.peer import Peer
from pseudonym.v1 import broker_pb2

End: TypeAlias = Callable[[str, Mandate], bytes]
"""Ends a project in one role, for somebody and a purpose; the role's signed certificate."""

END_IN_IDENTITY: Final = "The identities of all persons whom no other project has."
END_IN_BROKER: Final = "All keys and rows of the project."
END_IN_ATTRIBUTES: Final = "All keys and rows of the project's subjects."
"""What certificates of a project's end say was destroyed."""

EXTRACTS_HOW: Final = (
    "The keys of the extracts were destroyed.",
    "Then their files were deleted.",
)

METHOD: Final = "/pseudonym.v1.BrokerService/ListMembers"


def shredder(keyset: Keyset, wanted: Callable[[Key], bool]) -> Shred:
    """Destroys the keys that are wanted; those that are destroyed already are named too."""

    def shred() -> Sequence[str]:
        doomed = [key for key in keyset.keys if wanted(key)]
        for key in doomed:
            if key.state is not State.DESTROYED:
                keyset.destroy(key.kid)
        return [key.kid for key in doomed]

    return shred


def of_epoch(project: str, recipient: str, epoch: int) -> Callable[[Key], bool]:
    """The key of a recipient's epoch."""
    return lambda key: key.use == f"{uses.URN}:{project}:{recipient}:{epoch}"


def of_project(project: str) -> Callable[[Key], bool]:
    """The keys of a project in the broker: attribute ids, every recipient's numbers, cell keys."""
    kinds = (uses.AID, uses.URN, uses.CKP)

    def wanted(key: Key) -> bool:
        use = uses.read(key.use)
        return use.kind in kinds and use.labels[0] == project

    return wanted


def epochs(keyset: Keyset, project: str, recipient: str) -> list[int]:
    """A recipient's epochs for which there is, or was, a key."""
    read = [uses.read(key.use) for key in keyset.keys]
    return [use.number for use in read if use.kind == uses.URN and use.labels[:2] == (project, recipient)]


def end_in_broker(house: House, broker: Broker, certify: Certify) -> End:
    """The broker's part."""

    def end(project: str, asked: Mandate) -> bytes:
        shred = shredder(house.keyset, of_project(project))
        kids, counts = broker.erasure.destroy_project(project, shred, asked)
        return certify(project, END_IN_BROKER, (asked.actor,), counts, kids)

    return end


def end_exchanges(house: House, broker: Broker, certify: Certify) -> int:
    """Destroy the keys and numbers of exchanges whose last day is over; how many there were."""
    asked = Mandate("role/broker", "end-of-exchange")
    ended = broker.registers.ended()
    for project, recipient in ended:
        for epoch in epochs(house.keyset, project, recipient):
            shred = shredder(house.keyset, of_epoch(project, recipient, epoch))
            kids, counts = broker.erasure.destroy_domain(project, recipient, epoch, shred, asked)
            what = f"Keys and reference numbers of the exchange with {recipient}, epoch {epoch}."
            noted(house, project, asked, certify(project, what, (asked.actor,), counts, kids))
        broker.registers.forget(project, recipient)
    return len(ended)


def end_in_attributes(attributes: Attributes, certify: Certify) -> End:
    """The attributes role's part."""

    def end(project: str, asked: Mandate) -> bytes:
        counts = attributes.erasure.destroy_project(project, asked)
        return certify(project, END_IN_ATTRIBUTES, (asked.actor,), counts)

    return end


def end_in_identity(
    erasure: IdentityErasure,
    broker: Callable[[], Peer],
    certify: Certify,
    casebook: Casebook,
    forget_opt_outs: Callable[[str], tuple[int, int]],
    settle: Callable[[], object],
    held: Callable[[str], tuple[set[bytes], set[bytes]]],
    end_linkage: Callable[[str], Mapping[str, int]] = lambda project: {},
) -> End:
    """The identity role's part: persons whom no other project has, and all that stands of the project beside.

    Args:
        erasure: of persons.
        broker: gives the broker.
        certify: signs what was done.
        casebook: the cases of people's rights.
        forget_opt_outs: destroys lists and exemptions of the National Data Opt-out; how many of each.
        settle: tells the broker what it was not told yet of who became whom.
        held: see `pseudonym.arrivals.Arrivals.held`.
        end_linkage: destroys submissions, results, references and models of a project; how many of each.
    """

    def end(project: str, asked: Mandate) -> bytes:
        linkage = end_linkage(project)  # first: while a job still runs it is refused, and nobody is erased
        settle()
        here, elsewhere = held(project)
        told = set(_members(broker(), project))
        untold = sorted(here - told - elsewhere)
        pids = sorted(told - elsewhere)
        for first in range(0, len(untold), ROWS):
            request = broker_pb2.ListMembersRequest(project=project, pids=untold[first : first + ROWS])
            pids += broker().call(METHOD, request, broker_pb2.ListMembersResponse).pids
        lists, exemptions = forget_opt_outs(project)
        counts: Mapping[str, int] = {
            "subject": erasure.erase(pids) if pids else 0,
            "rights_case": casebook.forget_project(project),
            "opt_out_list": lists,
            "opt_out_exemption": exemptions,
            **linkage,
        }
        return certify(project, END_IN_IDENTITY, (asked.actor,), counts)

    return end


def _members(broker: Peer, project: str) -> Iterator[bytes]:
    """Whom the broker knows in a project and in no other."""
    token = ""
    while True:
        request = broker_pb2.ListMembersRequest(project=project, page_token=token)
        page = broker.call(METHOD, request, broker_pb2.ListMembersResponse)
        yield from page.pids
        token = page.next_page_token
        if not token:
            return


def kept_certificates(house: House) -> KeptCertificates:
    """The certificates of what was destroyed in a role because its time was over."""
    return KeptCertificates(house.settings.folder / "certificates")


def destroyed_in_identity(house: House) -> Callable[[str], bool]:
    """Whether a project was destroyed in the identity role, on its day or before."""
    kept = kept_certificates(house)
    return lambda project: kept.tell(project, END_IN_IDENTITY)


def destroy_submitted(
    house: House,
    certify: Certify,
    overdue: Callable[[], Sequence[tuple[str, str]]],
    delete: Callable[[], int],
) -> int:
    """Destroy the extracts that were sent in and are due, with a certificate for each project; how many.

    Args:
        house: the identity role's.
        certify: signs what was done.
        overdue: project and id of those that are due.
        delete: destroys them, but for one that a job still reads.
    """
    asked = Mandate("role/identity", "retention")
    before = Counter(project for project, _ in overdue())
    count = delete()
    left = Counter(project for project, _ in overdue())
    for project, number in sorted((before - left).items()):
        what = "Extracts of registers that were sent in."
        certificate = certify(project, what, (asked.actor,), {"extract": number}, how=EXTRACTS_HOW)
        noted(house, project, asked, certificate, "extracts.destroyed")
    return count


def noted(
    house: House, project: str, asked: Mandate, certificate: bytes, action: str = "project.ended"
) -> str:
    """Keep a certificate, put it into the role's audit log, and sign that; the checkpoint as a note."""
    kept_certificates(house).keep(certificate)
    done = Event(asked.actor, action, asked.purpose, project, details=certificate)
    house.log.append([done])
    return house.log.sign().note
