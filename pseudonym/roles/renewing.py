"""The key-encrypting key of the month: made, everything wrapped anew under it, the former ones destroyed.

    asked ─▶ new key in the keyset ─▶ paper on disk ─▶ batches … ─▶ none left ─▶ purge ─▶ former destroyed

The rules this module keeps:

- The role goes on serving: whoever wraps a key asks for the present one (`pseudonym.keks`), and is waited for
  before anything is counted.
- Each batch is a transaction, and how far the work has come is in the store itself: after a crash it goes on.
- A former key is destroyed only when nothing in the database is wrapped under it, whatever table it is in.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pseudonym import clock, uses
from pseudonym.errors import ConflictError, KeysetError, NotFoundError
from pseudonym.keys import Key, State
from pseudonym.roles.checks import Mandate
from pseudonym.roles.destroying import Certify
from pseudonym.roles.opening import House
from pseudonym.roles.papers import Papers
from pseudonym.roles.refusals import RequestIdError
from pseudonym.roles.rounds import Rounds
from pseudonym.storage import wrapped

IDLE = 3_600.0
HOW = (
    "Everything that was wrapped under the former keys was wrapped anew.",
    "The database's files were rewritten without the former wrappings.",
    "The former keys were destroyed, and the keyset's master key made anew.",
)


@dataclass(frozen=True, slots=True)
class Renewal:
    """A renewal, as its paper has it.

    Attributes:
        renewal_id: its own id.
        request_id: of the request that asked for it.
        project: of its mandate.
        requester: who asked, as in the certificate.
        month: the month that was asked for.
        kid: the key that wraps from now on.
        use: its use.
        asked: when, ISO 8601, UTC.
        former: the keys to destroy.
        total: how many keys were wrapped under them.
        done: when they were destroyed, ISO 8601, UTC; empty before.
        certificate: the role's, once it is done.
    """

    renewal_id: str
    request_id: str
    project: str
    requester: str
    month: str
    kid: str
    use: str
    asked: str
    former: tuple[str, ...]
    total: int
    done: str = ""
    certificate: str = field(default="", repr=False)


class Renewing:
    """The renewals of one role; usable from any thread.

    Args:
        house: of the role.
        rewrap: wrap everything anew, each one sort of keys; they may be called again.
        counted: how many keys are wrapped under each key, once nobody is wrapping any more.
        certify: signs what was done.
        failed: is told the reason when a round does not succeed.
    """

    def __init__(
        self,
        house: House,
        rewrap: Sequence[Callable[[], object]],
        counted: Callable[[], Mapping[str, int]],
        certify: Certify,
        failed: Callable[[str], object],
    ) -> None:
        self._keyset, self._store = house.keyset, house.store
        self._rewrap, self._counted = rewrap, counted
        self._certify = certify
        self._asking = threading.Lock()
        self._papers = Papers(house.settings.folder / "renewals", "renewal")
        self._known = {name: _read(name, content) for name, content in self._papers.all()}
        self.rounds = Rounds("renewing", self._work, failed)

    def begin(self, mandate: Mandate, requester: str, month: str) -> Renewal:
        """Make a month's key, and begin to wrap everything anew; the same request again does nothing more.

        Args:
            mandate: of the request.
            requester: who asks.
            month: this or the next, as in 2026-12; this one if it is empty.

        Raises:
            ConflictError: another renewal is under way.
            RequestIdError: the id was used for another request.
            KeysetError: the month has its key, and nothing is left under former ones.
            InputError: it is no month, or too far off.
        """
        with self._asking:
            for one in self._known.values():
                if one.request_id == mandate.request_id:
                    if (one.project, one.requester, one.month) != (mandate.project, requester, month):
                        raise RequestIdError(
                            "The request id was used for another request.", "Make a new id for each request."
                        )
                    return one
            if any(not one.done for one in self._known.values()):
                raise ConflictError("A renewal is under way.", "Wait until it is done.")
            present = self._rotated(month or uses.month_of(clock.now()))
            former = tuple(key.kid for key in self._keks_in(State.DECRYPT_ONLY))
            under = wrapped.kids(self._store)
            renewal = self._keep(
                Renewal(
                    f"rn-{os.urandom(8).hex()}",
                    mandate.request_id,
                    mandate.project,
                    requester,
                    month,
                    present.kid,
                    present.use,
                    _now(),
                    former,
                    sum(under.get(kid, 0) for kid in former),
                )
            )
        self.rounds.soon()
        return renewal

    @property
    def under_way(self) -> str | None:
        """The project for which a renewal is under way, or None where none is."""
        return next((one.project for one in list(self._known.values()) if not one.done), None)

    def certificates(self) -> list[bytes]:
        """Those of all renewals that are done."""
        return [one.certificate.encode() for one in list(self._known.values()) if one.certificate]

    def last(self) -> tuple[Renewal, dict[str, int]]:
        """The last renewal, and how many keys are left under each former key.

        Raises:
            NotFoundError: there was none yet.
        """
        renewal = max(self._known.values(), key=lambda one: (not one.done, one.asked), default=None)
        if renewal is None:
            raise NotFoundError("No renewal was asked for yet.", "Ask for one.")
        under = {} if renewal.done else wrapped.kids(self._store)
        return renewal, {kid: under.get(kid, 0) for kid in renewal.former}

    def _rotated(self, month: str) -> Key:
        """The month's key, made unless it is there and others are still to be renewed."""
        [active] = self._keks_in(State.ACTIVE)
        if uses.read(active.use).labels[0] == month and self._keks_in(State.DECRYPT_ONLY):
            return active
        return self._keyset.rotate_kek(month)

    def _keks_in(self, state: State) -> list[Key]:
        return [key for key in self._keyset.keys if key.use.startswith(f"{uses.KEK}:") and key.state is state]

    def _work(self) -> float:
        for renewal in list(self._known.values()):
            if not renewal.done:
                self._renew(renewal)
        return IDLE

    def _renew(self, renewal: Renewal) -> None:
        for rewrap in self._rewrap:
            rewrap()
        left = sum(
            counts.get(kid, 0)
            for counts in (self._counted(), wrapped.kids(self._store))
            for kid in renewal.former
        )
        if left:
            raise KeysetError(f"{left} keys are still wrapped under former keys.", "See what wraps them.")
        self._store.purge()  # the old wrappings are out of free pages before their keys are gone
        for key in self._keks_in(State.DECRYPT_ONLY):
            if key.kid in renewal.former:
                self._keyset.destroy(key.kid)
        certificate = self._certify(
            renewal.project,
            f"Key-encrypting keys before {renewal.use}: copies of the store from before cannot be read.",
            (renewal.requester,),
            {"rewrapped": renewal.total},
            renewal.former,
            HOW,
        )
        self._keep(replace(renewal, done=_now(), certificate=certificate.decode()))

    def _keep(self, renewal: Renewal) -> Renewal:
        content = asdict(renewal)
        self._papers.write(content.pop("renewal_id"), {**content, "former": list(renewal.former)})
        self._known[renewal.renewal_id] = renewal
        return renewal


def _read(name: str, content: dict[str, Any]) -> Renewal:
    return Renewal(renewal_id=name, **{**content, "former": tuple(content["former"])})


def _now() -> str:
    return clock.now().isoformat(timespec="seconds")
