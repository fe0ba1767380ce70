"""What each role keeps for a time: its daily duties, what of them is due, and what a project has there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pseudonym import clock
from pseudonym.attributes import Attributes
from pseudonym.broker import Broker
from pseudonym.release.flow import ReleaseDesk
from pseudonym.roles.destroying import Certify
from pseudonym.roles.ending import (
    END_IN_ATTRIBUTES,
    END_IN_BROKER,
    END_IN_IDENTITY,
    destroy_submitted,
    end_exchanges,
)
from pseudonym.roles.opening import House
from pseudonym.roles.renewing import Renewing
from pseudonym.roles.retaining import Due, Keeping, moment


def of_broker(house: House, broker: Broker, certify: Certify) -> Keeping:
    """Halves of rows, numbers of exchanges, links."""

    def listed() -> list[Due]:
        return [
            Due("match-file", project, f"reference numbers of the exchange with {recipient}", clock.now())
            for project, recipient in broker.registers.ended()
        ]

    duties = {
        "halves_dropped": lambda: sum(broker.drop_overdue().values()),
        "exchanges_ended": lambda: end_exchanges(house, broker, certify),
    }
    return Keeping(duties, listed, "links", END_IN_BROKER, lambda name: name in broker.known())


def of_attributes(attributes: Attributes, desk: ReleaseDesk, renewing: Renewing) -> Keeping:
    """Halves of rows, releases, attributes."""

    def listed() -> list[Due]:
        return [
            Due(
                "analysis-file",
                one.project,
                f"the recipient's copy of {one.name}",
                moment(one.expires),
                False,
            )
            for one in desk.overdue()
        ]

    duties = {
        "halves_dropped": lambda: sum(attributes.intake.drop_overdue().values()),
        "releases_expired": desk.drop_expired,
    }
    return Keeping(
        duties, listed, "attributes", END_IN_ATTRIBUTES, lambda name: name in attributes.known(), renewing
    )


def known_to(*places: Callable[[str], bool]) -> Callable[[str], bool]:
    """Whether one of several places has, or had, anything of a project."""
    return lambda project: any(knows(project) for knows in places)


def of_identity(
    house: House,
    certify: Certify,
    renewing: Renewing,
    overdue: Callable[[], Sequence[tuple[str, str]]],
    delete_overdue: Callable[[], int],
    knows: Callable[[str], bool],
) -> Keeping:
    """Extracts of registers, identities.

    Args:
        house: of the role.
        certify: signs what was destroyed.
        renewing: of the key-encrypting key.
        overdue: project and id of the extracts that were sent in and are due.
        delete_overdue: destroys them; how many.
        knows: whether there is, or was, anything of a project.
    """

    def listed() -> list[Due]:
        what = "an extract of a register that was sent in"
        return [Due("register-extract", project, what, clock.now()) for project, _ in overdue()]

    duties = {
        "submitted_extracts_destroyed": lambda: destroy_submitted(house, certify, overdue, delete_overdue),
    }
    return Keeping(duties, listed, "identities", END_IN_IDENTITY, knows, renewing)
