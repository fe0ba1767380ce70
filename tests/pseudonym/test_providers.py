"""The contract that every provider keeps, on a real file, a real token and a real key server."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pseudonym import errors
from pseudonym.keys import RAW_KEY_ACCESS, Keyset, State
from pseudonym.providers import Provider
from pseudonym.providers.file import FileProvider
from pseudonym.providers.pkcs11 import Pkcs11Provider
from pseudonym.providers.quorum import QuorumProvider
from pseudonym.providers.transit import TransitProvider

PASSPHRASE = "seven grey herons wade upstream"
CUSTODIANS = {
    "anne": "nine brown foxes sleep inland",
    "bob": "two white owls fly at noon",
    "cara": "five old toads sing in rain",
}


@dataclass
class World:
    """A place for one keyset, and ways to open it."""

    path: Path
    right: Callable[[], Provider]
    wrong: Callable[[], Provider]
    creator: Callable[[], Provider]
    hidden: list[str]

    def create(self) -> Keyset:
        return Keyset.create(self.path, "broker", self.creator())

    def open(self, **options: bool) -> Keyset:
        return Keyset.open(self.path, self.right(), **options)


def _file(path: Path, device: Path, _: pytest.FixtureRequest) -> World:
    def given(passphrase: str) -> Callable[[], Provider]:
        return lambda: FileProvider(device, passphrase)

    return World(path, given(PASSPHRASE), given(PASSPHRASE + "s"), given(PASSPHRASE), [PASSPHRASE])


def _quorum(path: Path, device: Path, _: pytest.FixtureRequest) -> World:
    two = {label: CUSTODIANS[label] for label in ("anne", "cara")}
    return World(
        path,
        lambda: QuorumProvider(device, two),
        lambda: QuorumProvider(device, {**two, "cara": "not what she said at all"}),
        lambda: QuorumProvider(device, CUSTODIANS, 2),
        list(CUSTODIANS.values()),
    )


def _pkcs11(path: Path, _: Path, request: pytest.FixtureRequest) -> World:
    token = request.getfixturevalue("token")

    def given(pin: str) -> Callable[[], Provider]:
        return lambda: Pkcs11Provider(token.module, token.label, pin)

    return World(path, given(token.pin), given("000000"), given(token.pin), [token.pin])


def _transit(path: Path, _: Path, request: pytest.FixtureRequest) -> World:
    server, key = request.getfixturevalue("key_server"), f"broker-{secrets.token_hex(4)}"

    def given(token: str) -> Callable[[], Provider]:
        return lambda: TransitProvider(server.address, token, key, authorities=server.authorities)

    return World(path, given(server.root), given("wrong"), given(server.root), [server.root])


@pytest.fixture(params=[_file, _quorum, _pkcs11, _transit], ids=lambda make: make.__name__[1:])
def world(request, tmp_path, quick):
    return request.param(tmp_path / "broker.keyset", tmp_path / "broker.device", request)


@pytest.fixture
def keyset(world):
    made = world.create()
    made.add_aid_key("tf-2026")
    made.add_urn_key("tf-2026", "nis-analysis")
    return made


def raw(keyset):
    return {
        key.use: keyset.export(key.kid, RAW_KEY_ACCESS)
        for key in keyset.keys
        if key.state is not State.DESTROYED
    }


def test_keys_are_the_same_after_closing_and_opening(keyset, world):
    again = world.open()
    assert again.keys == keyset.keys
    assert raw(again) == raw(keyset)
    assert len(set(raw(again).values())) == 2


def test_a_wrong_secret_opens_and_changes_nothing(keyset, world):
    before = world.path.read_bytes()
    with pytest.raises(errors.PassphraseError) as caught:
        Keyset.open(world.path, world.wrong())
    for secret in world.hidden:
        assert secret not in str(caught.value)
    assert world.path.read_bytes() == before
    assert world.open().keys == keyset.keys


def test_no_secret_is_in_the_file_or_in_a_repr(keyset, world):
    text = world.path.read_text() + repr(world.right()) + repr(keyset) + repr(keyset.keys)
    for secret in [*world.hidden, *(one.hex() for one in raw(keyset).values())]:
        assert secret not in text


def test_the_file_belongs_to_its_owner_alone(keyset, world):
    assert {path.stat().st_mode & 0o777 for path in world.path.parent.iterdir()} == {0o600}


def test_nothing_is_made_twice(keyset, world):
    with pytest.raises(errors.KeysetError, match="already a keyset"):
        world.create()
    assert world.open().keys == keyset.keys


def test_r36_rotating_the_master_keeps_the_keys_and_kills_older_copies(keyset, world, tmp_path):
    before, copy = raw(keyset), tmp_path / "copy.keyset"
    shutil.copy2(world.path, copy)
    keyset.rotate_master()
    assert raw(world.open()) == before
    with pytest.raises((errors.PassphraseError, errors.ProviderError), match="cannot be opened"):
        Keyset.open(copy, world.right())


def test_r37_a_destroyed_key_is_gone_in_every_copy_and_stays_listed(keyset, world, tmp_path):
    use, copy = "urn/1:tf-2026:nis-analysis:1", tmp_path / "copy.keyset"
    shutil.copy2(world.path, copy)
    before, doomed = raw(keyset), keyset.find(use)
    keyset.destroy(doomed.kid)
    again = world.open()
    del before[use]
    assert raw(again) == before
    gone = next(key for key in again.keys if key.kid == doomed.kid)
    assert (gone.state, gone.wrapped, gone.use) == (State.DESTROYED, "", use)
    for attempt in (
        lambda: again.find(use),
        lambda: again.urn_key("tf-2026", "nis-analysis"),
        lambda: again.export(doomed.kid, RAW_KEY_ACCESS),
        lambda: again.destroy(doomed.kid),
    ):
        with pytest.raises(errors.KeyMissingError, match="destroyed"):
            attempt()
    with pytest.raises((errors.PassphraseError, errors.ProviderError)):
        Keyset.open(copy, world.right())


def test_any_changed_byte_is_noticed(keyset, world):
    data = world.path.read_bytes()
    for i in range(0, len(data), 7):
        world.path.write_bytes(data[:i] + bytes([data[i] ^ (1 << i % 8)]) + data[i + 1 :])
        with pytest.raises(errors.KeysetError):
            world.open()
    world.path.write_bytes(data)
    assert world.open().keys == keyset.keys


def test_whatever_stands_for_the_provider_is_refused_in_words(keyset, world):
    whole = json.loads(world.path.read_text())
    values: list[Any] = [None, 0, -1, 2, "", "0", "zz", "00" * 16, [], {}, ["x"], True, "vault:v1:AAAA"]
    for member in whole["provider"]:
        for value in values:
            if whole["provider"][member] == value:
                continue
            changed = json.loads(json.dumps(whole))
            changed["provider"][member] = value
            world.path.write_text(json.dumps(changed, indent=1, sort_keys=True) + "\n")
            with pytest.raises(errors.KeysetError):
                world.open()
        del changed["provider"][member]
        world.path.write_text(json.dumps(changed, indent=1, sort_keys=True) + "\n")
        with pytest.raises(errors.KeysetError):
            world.open()


def test_another_provider_is_refused(keyset, world, tmp_path):
    others: list[Provider] = [
        FileProvider(tmp_path / "broker.device", PASSPHRASE),
        QuorumProvider(tmp_path / "broker.device", CUSTODIANS),
    ]
    for other in others:
        if other.name != world.right().name:
            with pytest.raises(errors.KeysetError, match="does not come from"):
                Keyset.open(world.path, other)


@pytest.mark.parametrize("change", ["rotate_master", "destroy"])
def test_a_failed_write_leaves_the_keyset_as_it_was(keyset, world, monkeypatch, change):
    before = raw(keyset)

    def full(*_: object) -> None:
        raise errors.KeysetError("No space left.")

    attempt = {"rotate_master": keyset.rotate_master, "destroy": lambda: keyset.destroy(keyset.keys[0].kid)}
    with monkeypatch.context() as patch:
        patch.setattr("pseudonym.keyfile.replace_file", full)
        with pytest.raises(errors.KeysetError, match="No space"):
            attempt[change]()
    assert raw(keyset) == before
    assert raw(world.open()) == before
    keyset.rotate_master()
    assert raw(world.open()) == before


def test_what_a_crash_left_undone_is_done_at_the_next_opening(keyset, world, tmp_path, monkeypatch):
    before, copy = raw(keyset), tmp_path / "copy.keyset"
    shutil.copy2(world.path, copy)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(world.right()), "settle", stopped)
        with pytest.raises(KeyboardInterrupt):
            keyset.rotate_master()
    reader = world.open(read_only=True)
    assert raw(reader) == before
    Keyset.open(copy, world.right(), read_only=True)  # nothing was given up yet
    assert raw(world.open()) == before
    with pytest.raises((errors.PassphraseError, errors.ProviderError)):
        Keyset.open(copy, world.right())


def test_opened_for_reading_it_changes_nothing(keyset, world):
    reader = world.open(read_only=True)
    before = {path: path.read_bytes() for path in world.path.parent.iterdir()}
    assert raw(reader) == raw(keyset)
    for attempt in (
        lambda: reader.add_aid_key("x"),
        lambda: reader.destroy(reader.keys[0].kid),
        reader.rotate_master,
    ):
        with pytest.raises(errors.KeysetError, match="reading only"):
            attempt()
    assert {path: path.read_bytes() for path in world.path.parent.iterdir()} == before


def test_two_keysets_do_not_touch_one_another(keyset, world, tmp_path, quick):
    other = FileProvider(tmp_path / "other.device", PASSPHRASE)
    second = Keyset.create(tmp_path / "other.keyset", "identity", other)
    second.rotate_kek()
    keyset.rotate_master()
    second.rotate_master()
    assert world.open().keys == keyset.keys
    reopened = Keyset.open(second.path, FileProvider(tmp_path / "other.device", PASSPHRASE))
    assert reopened.keys == second.keys
