"""The ledger of erasures: where it may be, that it is not begun anew, and what the audit log has of it."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from pseudonym.access import Mandate
from pseudonym.errors import KeysetError, LedgerError, StoreError
from pseudonym.roles import domains, serving, settings
from pseudonym.roles.callers import Role
from pseudonym.roles.opening import open_house
from tests.pseudonym.roles.harness import DOMAIN

WHO = Mandate("tests.example/officer", "erasure")


@pytest.fixture
def house(tmp_path):
    place = settings.resolve(Role.BROKER, tmp_path, settings.Options(), make=True)
    with open_house(place, DOMAIN) as opened:
        yield opened


def test_what_must_not_be_backed_up_with_the_database_is_named_and_elsewhere(tmp_path):
    places = ("keyset", "audit", "checkpoints", "officer_key", "ledger", "device")
    named = {name: tmp_path / "apart" / name for name in places}

    def check(**changes):
        options = settings.Options(**{"database": "sqlite:///x", "secret": ["fd:3"]} | named | changes)
        options.check(Role.BROKER, tmp_path / "data", production=True, certificates=True)

    check()
    with pytest.raises(ValueError, match="Give --ledger"):
        check(ledger=None)
    for name in ("ledger", "device"):
        with pytest.raises(ValueError, match=f"--{name} lies in the data folder"):
            check(**{name: tmp_path / "data" / "broker" / name})
        with pytest.raises(ValueError, match="Name another place"):
            check(**{name: tmp_path / "apart" / ".." / "data" / name})


def test_a_device_secret_has_no_place_by_itself_in_production(tmp_path):
    for make in (True, False):
        place = settings.resolve(Role.BROKER, tmp_path, settings.Options(), make=make)
        assert (place.given.device is not None) == make


def test_a_database_that_followed_a_ledger_is_not_opened_without_one(house):
    domains.open_broker(house).erasure.ledger.close()
    house.settings.ledger.unlink()
    with pytest.raises(LedgerError, match="ledger of erasures is missing"):
        domains.open_broker(house)
    assert not house.settings.ledger.exists()


@pytest.mark.parametrize("gone", [["keyset.json"], ["keyset.json", "device.json"]])
def test_a_keyset_that_went_is_not_begun_anew_over_what_it_opens(tmp_path, gone):
    place = settings.resolve(Role.BROKER, tmp_path, settings.Options(), make=True)
    with open_house(place, DOMAIN):
        pass
    for name in gone:
        (place.keyset.parent / name).unlink()
    there = sorted(tmp_path.rglob("*"))
    with pytest.raises(KeysetError, match="Restore the keyset"), open_house(place, DOMAIN):
        pass
    assert sorted(tmp_path.rglob("*")) == there


def test_granted_requests_are_not_forgotten_with_their_file(house):
    with ExitStack() as stack:
        serving._gate(house, stack)
        domains.open_broker(house).erasure.ledger.close()
    spent = house.settings.folder / "spent"
    spent.unlink()
    with ExitStack() as stack, pytest.raises(StoreError, match="granted requests"):
        serving._gate(house, stack)
    assert not spent.exists()


def test_each_erasure_leaves_the_ledgers_digest_in_the_audit_log(house, monkeypatch):
    house.keyset.add_aid_key("tf-2026")
    broker = domains.open_broker(house)
    broker.begin_project("tf-2026")
    ledger = broker.erasure.ledger

    def noted():
        found = [house.log.entry(number) for number in range(house.log.size)]
        return [(one.count, one.subject) for one in found if one.action == "erasures.noted"]

    with ledger:
        broker.erasure.erase_aids({"tf-2026": [os.urandom(16), os.urandom(16)]}, WHO)
        assert noted() == [(2, ledger.digest)]
        aid, append = os.urandom(16), house.log.append

        def full(events):
            if events[0].action == "erasures.noted":
                raise StoreError("The disk is full.")
            return append(events)

        monkeypatch.setattr(house.log, "append", full)
        with pytest.raises(StoreError):
            broker.erasure.erase_aids({"tf-2026": [aid]}, WHO)
        assert broker.erasure.followed()[0] == 2
        monkeypatch.undo()
        broker.erasure.erase_aids({"tf-2026": [aid]}, WHO)
        assert noted()[1:] == [(3, ledger.digest)]
        assert broker.erasure.followed() == (3, ledger.digest)
