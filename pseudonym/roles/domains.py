"""The domain of each role, opened on what the role has: its keys, its store, its ledger and its log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pseudonym import access, destruction, openings, uses
from pseudonym.attributes import Attributes
from pseudonym.audit import Event, Log
from pseudonym.blind import BlindIndex, bits_for
from pseudonym.broker import Broker
from pseudonym.errors import LedgerError
from pseudonym.folders import FolderKeys, SealedFolders
from pseudonym.identity_erasure import IdentityErasure, Told
from pseudonym.keks import KeysetKeks
from pseudonym.ledger import Ledger, LedgerKey
from pseudonym.openings import Openings
from pseudonym.optouts.book import Book
from pseudonym.optouts.checks import Checks
from pseudonym.optouts.screen import Forms
from pseudonym.roles.callers import Role
from pseudonym.roles.opening import House
from pseudonym.roles.papers import Papers
from pseudonym.roles.sealed_lists import SealedLists
from pseudonym.storage import Store
from pseudonym.storage.rows import Following
from pseudonym.storage.rows_attributes import AttributeRows
from pseudonym.storage.rows_broker import BrokerRows
from pseudonym.storage.rows_identity import IdentityRows
from pseudonym.units import UnitKey
from pseudonym.values import looks_like_an_identifier
from pseudonym.vault import Vault

_ROWS: Mapping[Role, Callable[[Store], Following]] = {
    Role.IDENTITY: IdentityRows,
    Role.BROKER: BrokerRows,
    Role.ATTRIBUTES: AttributeRows,
}
INDEX_EPOCH = 1


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
    keks = KeysetKeks(house.keyset)
    tell = told(house.log, "attributes")
    return Attributes.open(house.store, _ledger(house), keks, looks_like_an_identifier, tell)


def open_vault(house: House, quotas: Mapping[str, int]) -> tuple[Vault, IdentityErasure]:
    """The vault, and what forgets people in it.

    Args:
        house: of the identity role.
        quotas: how many identities may be opened in a day for each purpose that was agreed.

    Raises:
        LedgerError: the ledger is older than the store, or another one's.
    """
    bits = bits_for(house.settings.population)
    index = BlindIndex(house.keyset.blind_key(INDEX_EPOCH), INDEX_EPOCH, bits)
    gate = Openings(house.store, opened(house.log), quotas)
    vault = Vault(house.store, keks=KeysetKeks(house.keyset), index=index, openings=gate)
    return vault, IdentityErasure.open(vault, house.store, _ledger(house), erased(house.log))


def open_book(house: House, forms: Forms) -> Book:
    """The rules that people's decisions made, beside the identity role's database.

    Raises:
        SealBrokenError: one was altered, or the suppression key is another one.
    """
    return Book(Papers(house.settings.folder / "opt-outs", "opt-out"), house.keyset.suppression_key(), forms)


def open_checks(house: House) -> Checks:
    """The checks of the National Data Opt-out."""
    notes = Papers(house.settings.folder / "opt-out-checks", "opt-out check")
    lists = SealedLists(house.settings.folder / "opt-out-lists", folder_keys(house))
    return Checks(notes, lists, house.store.now)


def rewrap_identities(vault: Vault) -> Callable[[], None]:
    """Wraps every person's key under the present key-encrypting key, in batches."""

    def rewrap() -> None:
        while vault.rewrap():
            pass

    return rewrap


def rewrap_attributes(house: House) -> Callable[[], int]:
    """Wraps every subject's and batch's key under the present key-encrypting key, in batches."""
    return lambda: destruction.rewrap(AttributeRows(house.store), KeysetKeks(house.keyset))


def unit_key(house: House) -> UnitKey:
    """What records and sources' families are called by."""
    return house.keyset.lend(house.keyset.find(uses.UNIT).kid, lambda _, secret: UnitKey(secret))


def folder_keys(house: House) -> FolderKeys:
    """The keys of the linkage service's folders.

    Args:
        house: of the identity role.
    """
    return FolderKeys(house.store, KeysetKeks(house.keyset))


def open_folders(house: House, broken: Callable[[str, str], Exception]) -> SealedFolders:
    """What the linkage service seals its folders with.

    Args:
        house: of the identity role.
        broken: makes its error, of a sentence and what to do.
    """
    return SealedFolders(folder_keys(house), broken)


def rewrap_folders(house: House) -> Callable[[], int]:
    """Wraps every folder's key under the present key-encrypting key, in batches; how many it were."""
    return folder_keys(house).rewrap


def wrapped_identities(house: House, vault: Vault) -> Callable[[], Mapping[str, int]]:
    """How many keys of people and of folders are wrapped under each key-encrypting key."""
    folders = folder_keys(house)
    return lambda: Counter(vault.wrapped_under()) + Counter(folders.kids())


def wrapped_attributes(store: Store) -> Callable[[], Mapping[str, int]]:
    """How many keys of the attribute store are wrapped under each key-encrypting key."""
    rows = AttributeRows(store)

    def count() -> Mapping[str, int]:
        with rows.write() as at:
            rows.alone(at)  # whoever is wrapping is waited for
            return rows.kids(at)

    return count


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
        event = Event(mandate.actor, f"vault.{opening.action}", mandate.purpose, mandate.project)
        log.append(_each(event, opening.count, opening.subjects))

    return tell


def erased(log: Log) -> Told:
    """The hook that writes to the log who is going to be erased; who asked for it, the call's entry says."""

    def tell(count: int, references: Sequence[bytes]) -> None:
        log.append(_each(Event("identity-store", "vault.erase", "erasure"), count, references))

    return tell


def _each(event: Event, count: int, subjects: Sequence[bytes]) -> list[Event]:
    """An entry for each subject, and one for those who are counted only."""
    events = [replace(event, subject=subject, count=1) for subject in subjects]
    if not events or count > len(events):
        events.append(replace(event, count=count - len(events)))
    return events


def ledger_noted(log: Log, role: str) -> Callable[[int, bytes], None]:
    """The hook that writes to the log how long the ledger of erasures is, and the digest of its last entry.

    A ledger that is put back together with a database as old as itself is told by this alone.
    """

    def tell(size: int, digest: bytes) -> None:
        log.append([Event(f"{role}-store", "erasures.noted", "erasure", subject=digest, count=size)])

    return tell


def served_before(house: House) -> bool:
    """Whether the role's database was ever opened to be served from; an empty one never was."""
    rows: Following = _ROWS[house.role](house.store)
    return bool(rows.followed()[1])


def _ledger(house: House) -> Ledger:
    path = house.settings.ledger
    if not path.exists() and served_before(house):
        raise LedgerError(
            "The ledger of erasures is missing, and the database has followed one.",
            "Put the newest one back; nothing was opened.",
        )
    kid = house.keyset.find(uses.ERASURES).kid
    key = house.keyset.lend(kid, lambda _, secret: LedgerKey(secret, house.role))
    return Ledger.open(path, key, ledger_noted(house.log, house.role))
