"""Keys of folders: an extract goes with its own on its day, a new key-encrypting key takes over the rest."""

from __future__ import annotations

import time

import polars as pl
import pytest

from linker.vaulted import Damaged
from pseudonym import access, uses
from pseudonym.audit.reading import entries_of
from pseudonym.certificates import verify
from pseudonym.errors import KeysetError, KeyUseError, PseudonymError
from pseudonym.openings import Mandate
from pseudonym.roles import domains, settings
from pseudonym.roles.callers import Role
from pseudonym.roles.destroying import certifier, destroyer
from pseudonym.roles.ending import destroy_submitted, kept_certificates
from pseudonym.roles.opening import open_house
from tests.service.harness import PROJECT
from tests.service.test_vaulted import Two


class Told(Exception):
    """What the linkage service would raise."""


@pytest.fixture
def house(tmp_path):
    made = settings.resolve(Role.IDENTITY, tmp_path, settings.Options(), make=True)
    with open_house(made, settings.DEVELOPMENT_DOMAIN) as house:
        yield house


def test_r45_an_extract_goes_with_its_key_on_its_day_and_the_certificate_and_the_log_say_so(house, tmp_path):
    (tmp_path / "linkage").mkdir()
    _, erasure = domains.open_vault(house, {})
    certify, keys = certifier(house, erasure.ledger), domains.folder_keys(house)
    two = Two(tmp_path / "linkage", domains.open_folders(house, Damaged))  # one is complete, one broken off
    two.end("one")
    kept = dict(keys.kids())

    def destroyed(days):
        now = time.time() + days * 86_400
        overdue, delete = two.intake.overdue, two.intake.delete_overdue
        return destroy_submitted(house, certify, lambda: overdue(lambda: now), lambda: delete(lambda: now))

    assert destroyed(30) == 0
    assert keys.kids() == kept
    assert destroyed(32) == 2
    assert not any(two.path(name).exists() for name in ("one", "two"))
    assert sum(keys.kids().values()) == sum(kept.values()) - 2
    [certificate] = kept_certificates(house).all()
    [key] = house.keyset.verifying_keys().values()
    said = verify(certificate, key)
    assert (said.project, dict(said.counts)) == (PROJECT, {"extract": 2})
    [entry] = [one for one in entries_of(house.settings.audit) if one.action == "extracts.destroyed"]
    assert (entry.actor, entry.project, entry.purpose) == ("role/identity", PROJECT, "retention")
    assert destroyed(33) == 0
    assert len(kept_certificates(house).all()) == 1
    two.store.close()


def test_a_key_that_wraps_a_folders_key_is_not_destroyed(house):
    safe = domains.open_folders(house, Told)
    safe.make("sub-1")
    sealed = safe.conceal("sub-1", "place", b"value")
    old = house.keyset.kek()[0]
    new = house.keyset.rotate_kek(uses.month_after(house.keyset.by_kid(old).use[-7:])).kid
    safe.make("sub-2")
    destroy = destroyer(house, domains.wrapped_identities(house, domains.open_vault(house, {})[0]))
    asked = access.Mandate("custodian", "renewal")
    with pytest.raises(KeysetError, match="still wraps 1 keys"):
        destroy(old, asked)
    assert domains.folder_keys(house).kids() == {old: 1, new: 1}
    assert domains.rewrap_folders(house)() == 1
    destroy(old, asked)
    again = domains.open_folders(house, Told)
    assert again.reveal("sub-1", "place", sealed) == b"value"
    with pytest.raises(PseudonymError):
        house.keyset.kek_of(old)


def test_the_present_key_and_the_key_that_people_are_found_by_are_not_destroyed(house):
    vault, erasure = domains.open_vault(house, {"evaluation": 10})
    people = pl.DataFrame({"nhs": ["9434765919"]})
    [pid] = vault.add(people, "council")
    destroy = destroyer(house, domains.wrapped_identities(house, vault))
    asked = access.Mandate("custodian", "renewal")
    first = house.keyset.find(uses.BIDX).kid
    for kid in (house.keyset.kek()[0], house.keyset.signing_key().kid, first):
        with pytest.raises(KeyUseError, match="in use") as refused:
            destroy(kid, asked)
    assert "no successor" in str(refused.value)
    house.keyset._succeed(uses.BIDX)  # as an older version did
    with pytest.raises(KeyUseError, match="People are found by this key"):
        destroy(first, asked)
    # A successor, which no index follows, neither keeps the role from opening nor hides anybody.
    erasure.ledger.close()
    again, _ = domains.open_vault(house, {"evaluation": 10})
    found = again.find(people, Mandate("custodian", "evaluation", "tf-2026"), fields=["nhs"])
    assert found["pid"].to_list() == [pid]
