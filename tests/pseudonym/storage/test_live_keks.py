"""Key-encrypting keys that change under a vault at work: nobody is left under one that was destroyed."""

from __future__ import annotations

import threading

import pytest

from pseudonym.errors import KeyMissingError
from pseudonym.keks import KeysetKeks
from pseudonym.keys import Keyset, State
from pseudonym.openings import Openings
from pseudonym.providers.file import FileProvider
from pseudonym.storage import open_store
from pseudonym.vault import Vault
from tests.pseudonym.storage import made_up
from tests.pseudonym.storage.made_up import MANDATE

PASSPHRASE = "seven grey herons wade upstream"


@pytest.fixture
def keyset(tmp_path, quick):
    made = Keyset.create(
        tmp_path / "keyset.json", "identity", FileProvider(tmp_path / "device.json", PASSPHRASE)
    )
    made.rotate_kek()
    return made


def vault_of(store, keyset):
    openings = Openings(store, made_up.Log(), {"linkage": 10**9})
    return Vault(store, keks=KeysetKeks(keyset), index=made_up.index(), openings=openings)


def next_kek(keyset):
    """Another one, whatever the month."""
    with keyset._changing() as now:
        active = next(key for key in keyset.keys if key.state is State.ACTIVE)
        return keyset._add(f"kek/1:2999-{len(keyset.keys):02}", now, retired=active).kid


def test_new_people_are_sealed_under_the_new_key_and_older_ones_still_open(url, keyset):
    with open_store(url, "identity") as store:
        vault = vault_of(store, keyset)
        before = vault.add(made_up.people(0, 5), "council")
        old = keyset.kek()[0]
        new = next_kek(keyset)
        after = vault.add(made_up.people(5, 5), "council")
        assert vault.wrapped_under() == {old: 5, new: 5}
        assert vault.open([*before, *after], MANDATE).height == 10
        assert vault.rewrap() == 0
        keyset.destroy(old)
        assert vault.open([*before, *after], MANDATE).height == 10
        assert vault.wrapped_under() == {new: 10}
        keyset.destroy(new)
        with pytest.raises(KeyMissingError):
            vault.open(before, MANDATE)
        with pytest.raises(KeyMissingError):
            vault.add(made_up.people(10, 1), "council")


def test_whoever_adds_while_keys_are_renewed_and_destroyed_is_not_lost(url, keyset):
    with open_store(url, "identity") as store:
        vault = vault_of(store, keyset)
        pids, failed, stop = [], [], threading.Event()

        def add(number: int) -> None:
            try:
                while not stop.is_set():
                    pids.extend(vault.add(made_up.people(number, 3), "council"))
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=add, args=(number,)) for number in (0, 100)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(4):
                old, new = keyset.kek()[0], next_kek(keyset)
                while vault.rewrap(20):
                    pass
                assert vault.wrapped_under().get(old, 0) == 0
                keyset.destroy(old)
                assert keyset.kek()[0] == new
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert failed == []
        assert vault.open(pids, MANDATE).height == len(pids) > 0
