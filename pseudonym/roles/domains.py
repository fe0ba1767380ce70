"""The domain of each role, opened on what the role has: its keys, its store, its ledger and its log."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pseudonym import access, openings, uses
from pseudonym.attribute_subjects import KekRing
from pseudonym.attributes import Attributes
from pseudonym.audit import Event, Log
from pseudonym.blind import BlindIndex
from pseudonym.broker import Broker
from pseudonym.identity_erasure import IdentityErasure
from pseudonym.keys import Keyset, State
from pseudonym.ledger import Ledger, LedgerKey
from pseudonym.openings import Openings
from pseudonym.roles.opening import House
from pseudonym.seal import Kek
from pseudonym.storage import Store
from pseudonym.storage.rows_attributes import AttributeRows
from pseudonym.values import looks_like_an_identifier
from pseudonym.vault import Vault

INDEX_EPOCH, INDEX_BITS = 1, 18  # for a million people; another length needs the index made anew
LEDGER = "erasures"


def open_broker(house: House) -> Broker:
    """The broker's operations, once its ledger of erasures was followed.

    Raises:
        LedgerError: the ledger is older than the store, or another one's.
    """
    return Broker.open(house.store, _ledger(house), house.keyset, told(house.log, "broker"))


def open_attributes(house: House) -> Attributes:
    """The attribute store's operations, once its ledger of erasures was followed.

    Raises:
        LedgerError: the ledger is older than the store, or another one's.
    """
    current, older = keks(house.keyset)
    ring = KekRing(current, older)
    return Attributes.open(
        house.store, _ledger(house), ring, looks_like_an_identifier, told(house.log, "attributes")
    )


def open_vault(house: House, quotas: Mapping[str, int]) -> Vault:
    """The vault.

    Args:
        house: of the identity role.
        quotas: how many identities may be opened in a day for each purpose that was agreed.

    Raises:
        LedgerError: the ledger is older than the store, or another one's.
    """
    current, older = keks(house.keyset)
    index = BlindIndex(house.keyset.blind_key(), INDEX_EPOCH, INDEX_BITS)
    gate = Openings(house.store, opened(house.log), quotas)
    vault = Vault(house.store, kek=current, older=older, index=index, openings=gate)
    IdentityErasure.open(vault, house.store, _ledger(house))
    return vault


def wrapped_attributes(store: Store) -> Callable[[], Mapping[str, int]]:
    """How many keys of the attribute store are wrapped under each key-encrypting key."""
    rows = AttributeRows(store)

    def count() -> Mapping[str, int]:
        with rows.read() as at:
            return rows.kids(at)

    return count


def keks(keyset: Keyset) -> tuple[Kek, tuple[Kek, ...]]:
    """The key-encrypting key in use, and those that rows may still be wrapped under."""
    found = [key for key in keyset.keys if key.use.startswith(f"{uses.KEK}:")]
    current = keyset.lend(keyset.kek()[0], Kek)
    older = (key.kid for key in found if key.state is State.DECRYPT_ONLY)
    return current, tuple(keyset.lend(kid, Kek) for kid in older)


def told(log: Log, role: str) -> access.Audit:
    """The hook that writes to the log what is going to be done with people's data."""

    def tell(done: access.Access) -> None:
        log.append(
            [
                Event(
                    actor=done.mandate.actor,
                    action=f"{role}.{done.action}",
                    purpose=done.mandate.purpose,
                    project=done.project,
                    count=done.count,
                    details=" ".join(done.detail).encode(),
                )
            ]
        )

    return tell


def opened(log: Log) -> openings.Audit:
    """The hook that writes to the log whose identities are going to be opened."""

    def tell(opening: openings.Opening) -> None:
        mandate = opening.mandate
        log.append(
            [
                Event(
                    actor=mandate.actor,
                    action=f"vault.{opening.action}",
                    purpose=mandate.purpose,
                    project=mandate.project,
                    count=opening.count,
                )
            ]
        )

    return tell


def _ledger(house: House) -> Ledger:
    kid = house.keyset.find(uses.ERASURES).kid
    key = house.keyset.lend(kid, lambda _, secret: LedgerKey(secret, house.role))
    return Ledger.open(house.settings.folder / LEDGER, key)
