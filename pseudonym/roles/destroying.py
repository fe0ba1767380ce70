"""What must be so before a key is destroyed: that nothing still needs it, and that its rows go with it.

The rules this module keeps:

- A key-encrypting key goes only once it is not the present one and wraps nothing any more.
- A key that the role cannot be without (audit log, ledger of erasures, indexes) goes only once it has a
  successor: the audit log's once the log was handed over to that, and that of an index never while the index
  is the one that it made.
- A recipient's key goes together with the recipient's numbers of that epoch; a project's goes with the
  project.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from pseudonym import access, certificates, destruction, uses
from pseudonym.broker import Broker
from pseudonym.errors import KeysetError, NotFoundError
from pseudonym.keys import Keyset, State
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


_NEEDED = frozenset({uses.KEK, uses.BIDX, uses.SUPPRESSION, uses.UNIT, uses.ERASURES, uses.AUDIT})


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
        key = keyset.by_kid(kid)
        use = uses.read(key.use)
        if use.kind in _NEEDED and key.state is State.ACTIVE:
            raise KeysetError("The key is in use.", "Rotate it first; then what it made can be renewed.")
        if use.kind == uses.KEK and wrapped().get(kid, 0):
            raise KeysetError(f"The key still wraps {wrapped()[kid]} keys.", "Rewrap them first.")
        if use.kind == uses.BIDX and use.number == INDEX_EPOCH:
            raise KeysetError("People are found by this key.", "It goes with the store.")
        if use.kind == uses.AUDIT:
            house.follow()
        if use.kind == uses.AID:
            raise KeysetError("A project's key goes with the project.", "End the project.")
        if use.kind == uses.URN and broker is not None:
            _destroy_domain(keyset, broker, kid, use, asked)
        else:
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


def _destroy_domain(keyset: Keyset, broker: Broker, kid: str, use: uses.Use, asked: access.Mandate) -> None:
    project, recipient, _ = use.labels

    def shred() -> list[str]:
        keyset.destroy(kid)
        return [kid]

    try:
        broker.erasure.destroy_domain(project, recipient, use.number, shred, asked)
    except NotFoundError:  # the key was made, and the recipient never opened
        keyset.destroy(kid)
