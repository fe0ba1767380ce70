"""What must be so before a key is destroyed: that nothing still needs it, and that its rows go with it.

The rules this module keeps:

- A key-encrypting key goes only once it is not the present one and wraps nothing any more.
- A key that the role cannot be without goes only once it has a successor: the audit log's once the log was
  handed over to that. Those of the indexes, the ledger of erasures, units and opt-outs have none, and stay.
- A recipient's key goes together with the recipient's numbers of that epoch; a project's goes with the
  project.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from pseudonym import access, certificates, destruction, uses
from pseudonym.broker import Broker
from pseudonym.errors import KeyUseError, NotFoundError
from pseudonym.keys import Key, Keyset, State
from pseudonym.ledger import Ledger
from pseudonym.roles.domains import INDEX_EPOCH
from pseudonym.roles.opening import House

Destroy: TypeAlias = Callable[[str, access.Mandate], None]
"""Destroys the key of an id, for somebody and a purpose, or raises why not."""


class Certify(Protocol):
    """Makes a role's signed certificate of what it has destroyed, as a file."""

    def __call__(
        self,
        project: str,
        what: str,
        who: Sequence[str],
        counts: Mapping[str, int],
        kids: Sequence[str] = (),
        how: Sequence[str] = (),
    ) -> bytes: ...


_ROTATED = frozenset({uses.KEK, uses.AUDIT})
_NEEDED = _ROTATED | {uses.BIDX, uses.SUPPRESSION, uses.UNIT, uses.ERASURES}
_ROTATE = "Rotate it first; then what it made can be renewed."
_STAYS = "It has no successor, and goes with the keyset."


def destroyer(
    house: House, wrapped: Callable[[], Mapping[str, int]] = dict, broker: Broker | None = None
) -> Destroy:
    """How a role's keys are destroyed.

    Args:
        house: the role's.
        wrapped: how many keys are wrapped under each key-encrypting key, by its id.
        broker: the broker's operations, in the broker.
    """
    keyset = house.keyset

    def destroy(kid: str, asked: access.Mandate) -> None:
        key = _known(keyset, kid)
        use = uses.read(key.use)
        if use.kind == uses.URN and broker is not None:
            # Also where the key is gone already: its numbers may still be there.
            _destroy_domain(keyset, broker, key, use, asked)
            return
        keyset.by_kid(kid)
        if use.kind in _NEEDED and key.state is State.ACTIVE:
            raise KeyUseError("The key is in use.", _ROTATE if use.kind in _ROTATED else _STAYS)
        if use.kind == uses.KEK and wrapped().get(kid, 0):
            raise KeyUseError(f"The key still wraps {wrapped()[kid]} keys.", "Rewrap them first.")
        if use.kind == uses.BIDX and use.number == INDEX_EPOCH:
            raise KeyUseError("People are found by this key.", "It goes with the store.")
        if use.kind == uses.AUDIT:
            house.follow()
        if use.kind == uses.AID:
            raise KeyUseError("A project's key goes with the project.", "End the project.")
        keyset.destroy(kid)

    return destroy


def certifier(house: House, ledger: Ledger) -> Certify:
    """How a role certifies: with the key that signs its audit log, which its auditors know."""

    def certify(
        project: str,
        what: str,
        who: Sequence[str],
        counts: Mapping[str, int],
        kids: Sequence[str] = (),
        how: Sequence[str] = (),
    ) -> bytes:
        made = destruction.certificate(
            house.role,
            project,
            what,
            who,
            moment=house.store.now(),
            kids=kids,
            counts=counts,
            ledger=ledger.digest,
            how=how,
        )
        return certificates.sign(made, house.keyset.signing_key())

    return certify


def _known(keyset: Keyset, kid: str) -> Key:
    """The key with an id, destroyed or not; raises KeyMissingError."""
    return next((key for key in keyset.keys if key.kid == kid), None) or keyset.by_kid(kid)


def _destroy_domain(keyset: Keyset, broker: Broker, key: Key, use: uses.Use, asked: access.Mandate) -> None:
    project, recipient, _ = use.labels

    def shred() -> list[str]:
        if key.state is not State.DESTROYED:
            keyset.destroy(key.kid)
        return [key.kid]

    try:
        broker.erasure.destroy_domain(project, recipient, use.number, shred, asked)
    except NotFoundError:  # the key was made, and the recipient never opened
        keyset.destroy(key.kid)
