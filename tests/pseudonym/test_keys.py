"""Keysets: what opens, what does not, what is noticed, and what a destroyed key leaves behind."""

from __future__ import annotations

import hmac
import json
import os
import shutil
import threading
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from pseudonym import errors
from pseudonym.keys import RAW_KEY_ACCESS, Keyset, RawKeyAccess, State
from pseudonym.master import Master, Passphrase
from pseudonym.providers.file import FileProvider, mix
from pseudonym.urn import AidKey, Kind, UrnKey, enc

PASSPHRASE = "seven grey herons wade upstream"
ALGORITHM = "HMAC-SHA256"
ID = bytes(range(16))
WRAPPED_VECTOR = (
    "01000102030405060708090a0bdc77826af0cd645ae9cc067e277f185238d9"
    "cd5326a719c25d40b446e539f64b88a4b0d9318a1455e28906fbcdc8a814"
)


@pytest.fixture
def places(tmp_path):
    return {"path": tmp_path / "broker.keyset", "device": tmp_path / "broker.device"}


@pytest.fixture
def keyset(places, quick):
    made = created(places)
    made.add_aid_key("tf-2026")
    made.add_urn_key("tf-2026", "nis-analysis")
    made.add_urn_key("tf-2026", "dwp-extract")
    return made


def opened(places, passphrase=PASSPHRASE):
    return Keyset.open(places["path"], FileProvider(places["device"], passphrase))


def created(places, passphrase=PASSPHRASE):
    return Keyset.create(places["path"], "broker", FileProvider(places["device"], passphrase))


def raw(keyset):
    return {
        key.use: keyset.export(key.kid, RAW_KEY_ACCESS)
        for key in keyset.keys
        if key.state is not State.DESTROYED
    }


def kid(keyset, use):
    return next(key.kid for key in keyset.keys if key.use == use)


def test_with_the_real_cost_of_a_passphrase(places):
    made = created(places)
    number = made.add_urn_key("tf-2026", "nis-analysis").issue(Kind.PERSON, ID)
    assert opened(places).urn_key("tf-2026", "nis-analysis").issue(Kind.PERSON, ID) == number
    with pytest.raises(errors.PassphraseError):
        opened(places, PASSPHRASE + "s")


def test_keys_are_the_same_after_closing_and_opening(keyset, places):
    again = opened(places)
    assert again.keys == keyset.keys
    assert raw(again) == raw(keyset)
    assert [key.use for key in again.keys] == [
        "aid/1:tf-2026",
        "urn/1:tf-2026:nis-analysis:1",
        "urn/1:tf-2026:dwp-extract:1",
    ]
    assert {(key.state, key.algorithm, key.not_after) for key in again.keys} == {
        (State.ACTIVE, "HMAC-SHA256", None)
    }


def test_handed_out_keys_are_of_their_use(keyset):
    secrets = raw(keyset)
    assert keyset.aid_key("tf-2026").aid(1, Kind.PERSON, ID) == AidKey(
        secrets["aid/1:tf-2026"], "tf-2026"
    ).aid(1, Kind.PERSON, ID)
    assert keyset.urn_key("tf-2026", "nis-analysis").issue(Kind.PERSON, ID) == UrnKey(
        secrets["urn/1:tf-2026:nis-analysis:1"], "tf-2026", "nis-analysis", 1
    ).issue(Kind.PERSON, ID)


def test_every_key_is_independent(keyset):
    secrets = raw(keyset)
    assert len(set(secrets.values())) == len(secrets) == 3
    assert all(len(secret) == 32 for secret in secrets.values())


def test_no_secret_is_in_the_file_or_in_a_repr(keyset, places):
    text = places["path"].read_text() + repr(keyset) + repr(keyset.keys) + repr(keyset._last)
    assert PASSPHRASE not in text
    for secret in raw(keyset).values():
        assert secret.hex() not in text


@pytest.mark.parametrize("passphrase", ["", "x", PASSPHRASE + " ", PASSPHRASE.upper()])
def test_a_wrong_passphrase_opens_nothing(keyset, places, passphrase):
    with pytest.raises(errors.PassphraseError) as caught:
        opened(places, passphrase)
    assert str(caught.value) == "The passphrase is not the keyset's. Nothing was opened."


def test_a_passphrase_typed_with_combining_accents_is_the_same(places, quick):
    created(places, "caf\u00e9 caf\u00e9 caf\u00e9")
    opened(places, "cafe\u0301 cafe\u0301 cafe\u0301")


def test_a_short_passphrase_is_refused(places, keyset):
    with pytest.raises(errors.KeysetError, match="12 characters"):
        keyset.change_passphrase("eleven char")
    opened(places)


def test_any_changed_byte_of_the_keyset_is_noticed(keyset, places):
    data = places["path"].read_bytes()
    for i in range(len(data)):
        places["path"].write_bytes(data[:i] + bytes([data[i] ^ (1 << i % 8)]) + data[i + 1 :])
        with pytest.raises(errors.KeysetError):
            opened(places)
    places["path"].write_bytes(data)
    opened(places)


def test_any_changed_byte_of_the_device_secret_is_noticed(keyset, places):
    data = places["device"].read_bytes()
    for i in range(len(data)):
        places["device"].write_bytes(data[:i] + bytes([data[i] ^ (1 << i % 8)]) + data[i + 1 :])
        with pytest.raises(errors.KeysetError):
            opened(places)
    places["device"].write_bytes(data)
    opened(places)


@pytest.mark.parametrize("cut", [0, 1, -1])
def test_a_file_cut_short_or_grown_is_noticed(keyset, places, cut):
    data = places["path"].read_bytes()
    places["path"].write_bytes(data[:cut] if cut <= 0 else data + b"\n")
    with pytest.raises(errors.TamperedError):
        opened(places)


def _edit(places, change):
    content = json.loads(places["path"].read_text())
    change(content)
    places["path"].write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["keys"].pop(),
        lambda c: c["keys"].reverse(),
        lambda c: c["keys"].append(c["keys"][0]),
        lambda c: c["keys"][0].update(state="decrypt-only"),
        lambda c: c["keys"][0].update(not_before="2020-01-01T00:00:00+00:00"),
        lambda c: c["keys"][0].update(wrapped=c["keys"][1]["wrapped"]),
        lambda c: c["keys"][1].update(use="urn/1:tf-2026:somebody-else:1"),
        lambda c: c.update(more=1),
        lambda c: c.pop("seal"),
        lambda c: c["provider"].pop("salt"),
        lambda c: c.update(keys=None),
    ],
)
def test_an_edit_that_keeps_the_form_is_noticed(keyset, places, change):
    _edit(places, change)
    with pytest.raises(errors.TamperedError):
        opened(places)


def test_a_wrapped_key_opens_only_in_its_own_place():
    master = Master("broker", bytes(32), bytes(32))
    secret = os.urandom(32)
    wrapped = master.wrap(secret, "k1", "aid/1:p", ALGORITHM)
    assert master.unwrap(wrapped, "k1", "aid/1:p", ALGORITHM) == secret
    others = [
        (master, ("k2", "aid/1:p", ALGORITHM)),
        (master, ("k1", "aid/1:q", ALGORITHM)),
        (master, ("k1", "aid/1:p", "AES")),
        (Master("identity", bytes(32), bytes(32)), ("k1", "aid/1:p", ALGORITHM)),
        (Master("broker", b"\1" * 32, bytes(32)), ("k1", "aid/1:p", ALGORITHM)),
    ]
    for other, place in others:
        with pytest.raises(errors.TamperedError):
            other.unwrap(wrapped, *place)
    for i in range(len(wrapped)):
        with pytest.raises(errors.TamperedError):
            master.unwrap(
                wrapped[:i] + bytes([wrapped[i] ^ 1]) + wrapped[i + 1 :], "k1", "aid/1:p", ALGORITHM
            )
    for size in range(len(wrapped)):
        with pytest.raises(errors.TamperedError):
            master.unwrap(wrapped[:size], "k1", "aid/1:p", ALGORITHM)


def test_the_second_implementation_knows_a_published_vector(oracle):
    # RFC 8452, appendix C.2: 8 bytes of plaintext, no additional data.
    key, nonce = bytes.fromhex("01" + "00" * 31), bytes.fromhex("03" + "00" * 11)
    expected = "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28"
    assert oracle.seal_gcm_siv(key, nonce, bytes.fromhex("01" + "00" * 7), b"").hex() == expected


def test_wrapping_agrees_with_the_second_implementation(oracle):
    master, nonce = bytes(range(32)), bytes(range(12))
    bound = enc("keyset/1", "broker", "0011223344556677", "aid/1:tf-2026", ALGORITHM)
    sealed = oracle.seal_gcm_siv(master, nonce, bytes(range(32, 64)), bound)
    assert AESGCMSIV(master).encrypt(nonce, bytes(range(32, 64)), bound) == sealed
    place = ("0011223344556677", "aid/1:tf-2026", ALGORITHM)
    unwrapped = Master("broker", master, bytes(32)).unwrap(b"\x01" + nonce + sealed, *place)
    assert unwrapped == bytes(range(32, 64))
    assert (b"\x01" + nonce + sealed).hex() == WRAPPED_VECTOR


def test_r36_rotating_the_master_keeps_the_keys_and_kills_older_copies(keyset, places, tmp_path):
    before, copy = raw(keyset), tmp_path / "copy.keyset"
    wrapped = {key.wrapped for key in keyset.keys}
    shutil.copy2(places["path"], copy)
    old_secret = next(iter(json.loads(places["device"].read_text())["secrets"].values()))
    keyset.rotate_master()
    assert raw(opened(places)) == before
    assert not wrapped & {key.wrapped for key in keyset.keys}
    assert old_secret not in places["device"].read_text()
    with pytest.raises(errors.PassphraseError, match="device secret"):
        opened({**places, "path": copy})


def test_changing_the_passphrase_keeps_the_keys(keyset, places):
    before = raw(keyset)
    keyset.change_passphrase("another one, long enough")
    assert raw(opened(places, "another one, long enough")) == before
    with pytest.raises(errors.PassphraseError):
        opened(places)
    keyset.rotate_master()
    assert raw(opened(places, "another one, long enough")) == before


def test_a_destroyed_key_is_gone_and_the_others_stay(keyset, places, tmp_path):
    use, copy = "urn/1:tf-2026:nis-analysis:1", tmp_path / "copy.keyset"
    before, doomed = raw(keyset), kid(keyset, use)
    shutil.copy2(places["path"], copy)
    keyset.destroy(doomed)
    again = opened(places)
    del before[use]
    assert raw(again) == before
    gone = next(key for key in again.keys if key.kid == doomed)
    assert (gone.state, gone.wrapped) == (State.DESTROYED, "")
    assert gone.not_after is not None
    for attempt in (
        lambda: again.urn_key("tf-2026", "nis-analysis"),
        lambda: again.urn_key("tf-2026", "nis-analysis", 1),
        lambda: again.export(doomed, RAW_KEY_ACCESS),
        lambda: again.destroy(doomed),
    ):
        with pytest.raises(errors.KeyMissingError, match="destroyed"):
            attempt()
    with pytest.raises(errors.KeysetError, match="had"):
        again.add_urn_key("tf-2026", "nis-analysis")
    with pytest.raises(errors.PassphraseError):
        opened({**places, "path": copy})


def test_the_next_epoch_has_its_own_key_and_the_one_before_still_traces(keyset, places):
    first = keyset.urn_key("tf-2026", "nis-analysis").issue(Kind.PERSON, ID)
    second = keyset.rotate_urn_key("tf-2026", "nis-analysis")
    assert second.epoch == 2
    assert second.issue(Kind.PERSON, ID)[2:] != first[2:]
    again = opened(places)
    assert again.urn_key("tf-2026", "nis-analysis").epoch == 2
    assert again.urn_key("tf-2026", "nis-analysis", 1).issue(Kind.PERSON, ID) == first
    states = {key.use: key.state for key in again.keys}
    assert states["urn/1:tf-2026:nis-analysis:1"] is State.DECRYPT_ONLY
    assert states["urn/1:tf-2026:nis-analysis:2"] is State.ACTIVE
    assert states["urn/1:tf-2026:dwp-extract:1"] is State.ACTIVE
    again.destroy(kid(again, "urn/1:tf-2026:nis-analysis:1"))
    assert again.rotate_urn_key("tf-2026", "nis-analysis").epoch == 3


def test_epochs_end_at_thirty_one(keyset):
    for _ in range(30):
        keyset.rotate_urn_key("tf-2026", "nis-analysis")
    with pytest.raises(errors.KeysetError, match="last"):
        keyset.rotate_urn_key("tf-2026", "nis-analysis")


def test_what_is_not_there_is_said(keyset):
    for attempt in (
        lambda: keyset.aid_key("other"),
        lambda: keyset.urn_key("tf-2026", "nis"),
        lambda: keyset.urn_key("tf-2026", "nis-analysis", 2),
        lambda: keyset.rotate_urn_key("tf-2026", "nobody"),
        lambda: keyset.destroy("0" * 16),
    ):
        with pytest.raises(errors.KeyMissingError):
            attempt()
    for again in (
        lambda: keyset.add_aid_key("tf-2026"),
        lambda: keyset.add_urn_key("tf-2026", "nis-analysis"),
    ):
        with pytest.raises(errors.KeysetError, match="has, or had"):
            again()


@pytest.mark.parametrize("token", [None, True, "RAW_KEY_ACCESS", RawKeyAccess()])
def test_raw_bytes_need_the_token(keyset, token):
    with pytest.raises(errors.InputError, match="not given out"):
        keyset.export(keyset.keys[0].kid, token)


def test_files_are_readable_by_their_owner_only_whatever_the_umask(places, quick):
    before = os.umask(0)
    try:
        made = created(places)
        made.rotate_master()
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in places.values()} == {0o600}
    assert {path.name for path in places["path"].parent.iterdir()} == {"broker.keyset", "broker.device"}


@pytest.mark.parametrize("which", ["path", "device"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_file_open_to_others_is_refused(keyset, places, which, mode):
    places[which].chmod(mode)
    with pytest.raises(errors.PermissionsError, match=f"{mode:04o}"):
        opened(places)


@pytest.mark.parametrize("which", ["path", "device"])
def test_a_link_or_a_directory_in_place_of_a_file_is_refused(keyset, places, which):
    aside = places[which].with_suffix(".aside")
    places[which].rename(aside)
    places[which].symlink_to(aside)
    with pytest.raises(errors.PermissionsError):
        opened(places)
    places[which].unlink()
    places[which].mkdir()
    with pytest.raises(errors.PermissionsError):
        opened(places)


@pytest.mark.parametrize("which", ["path", "device"])
def test_somebody_elses_file_is_refused(keyset, places, which, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: places[which].stat().st_uid + 1)
    with pytest.raises(errors.PermissionsError, match="user"):
        opened(places)


@pytest.mark.parametrize("which", ["path", "device"])
def test_a_missing_file_is_said(keyset, places, which):
    places[which].unlink()
    with pytest.raises(errors.KeysetError, match="There is no"):
        opened(places)


def test_nothing_is_written_over(keyset, places, tmp_path):
    for wanted in (places, {**places, "path": tmp_path / "new"}, {**places, "device": tmp_path / "new"}):
        with pytest.raises(errors.KeysetError, match="already"):
            created(wanted)
    opened(places)


def test_a_directory_that_is_not_there_is_said(tmp_path):
    with pytest.raises(errors.KeysetError, match="No such file"):
        created({"path": tmp_path / "no" / "k", "device": tmp_path / "d"})


def test_another_keysets_device_secret_is_refused(keyset, places, tmp_path, quick):
    other = tmp_path / "other.device"
    Keyset.create(tmp_path / "other.keyset", "identity", FileProvider(other, PASSPHRASE))
    with pytest.raises(errors.KeysetError, match="not this keyset's"):
        opened({**places, "device": other})


def test_a_change_by_another_process_is_followed_and_never_written_over(keyset, places):
    other = opened(places)
    made = other.add("aid/1:second")
    assert keyset.find("aid/1:second") == made
    keyset.add_aid_key("third")
    assert [key.use for key in opened(places).keys][-2:] == ["aid/1:second", "aid/1:third"]
    other.destroy(other.find("aid/1:second").kid)  # with another master key from here on
    with pytest.raises(errors.KeyMissingError, match="destroyed"):
        keyset.aid_key("second")
    assert keyset.find("aid/1:third") == other.find("aid/1:third")
    keyset.add_aid_key("fourth")
    assert opened(places).keys == keyset.keys == other.keys


@pytest.mark.parametrize("change", ["passphrase", "older", "gone", "altered"])
def test_a_file_that_does_not_open_any_more_gives_no_key(keyset, places, change):
    before = places["path"].read_bytes()
    keyset.add_aid_key("second")
    if change == "passphrase":
        opened(places).change_passphrase("another horse battery staple")
    elif change == "gone":
        places["path"].unlink()
    else:
        # An older copy opens with the same master key, since nothing was destroyed.
        now = places["path"].read_bytes()
        changed = before if change == "older" else now.replace(b"aid/1:second", b"aid/1:third2")
        places["path"].unlink()
        places["path"].write_bytes(changed)
        places["path"].chmod(0o600)
    for use in (lambda: keyset.aid_key("second"), lambda: keyset.keys, lambda: keyset.add_aid_key("third")):
        with pytest.raises(errors.KeysetError):
            use()


def test_a_thread_never_sees_one_states_keys_with_another_states_master(keyset, places):
    kid = keyset.find("aid/1:tf-2026").kid
    found, stop = set(), threading.Event()

    def use() -> None:
        while not stop.is_set():
            found.add(keyset.lend(kid, lambda _, secret: secret))

    threads = [threading.Thread(target=use) for _ in range(3)]
    failed = []
    hook, threading.excepthook = threading.excepthook, lambda args: failed.append(args.exc_type)
    try:
        for thread in threads:
            thread.start()
        for _ in range(20):
            keyset.rotate_master()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        threading.excepthook = hook
    assert (len(found), failed) == (1, [])


def test_threads_do_not_lose_one_anothers_keys(keyset, places):
    threads = [threading.Thread(target=keyset.add_aid_key, args=(f"project-{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    uses = {key.use for key in opened(places).keys}
    assert {f"aid/1:project-{i}" for i in range(8)} <= uses


def test_a_failed_write_leaves_the_keyset_as_it_was(keyset, places, monkeypatch):
    before, uses = raw(keyset), [key.use for key in keyset.keys]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        for change in (keyset.rotate_master, lambda: keyset.add_aid_key("more")):
            with pytest.raises(errors.KeysetError, match="No space left"):
                change()
    assert raw(keyset) == before
    assert [key.use for key in opened(places).keys] == uses
    keyset.rotate_master()
    assert raw(opened(places)) == before


def test_the_provider_and_the_key_record_hide_their_secrets(tmp_path, quick, keyset):
    provider = FileProvider(tmp_path / "d", PASSPHRASE)
    assert PASSPHRASE not in repr(provider)
    assert keyset.keys[0].wrapped not in repr(replace(keyset.keys[0]))


def test_vector_of_the_master_key():
    stretched = bytes.fromhex("28ae4edabf65a6fb80d00c927b774ff20fd19f3f9e13f09dc3a8e38a3c2f782f")
    assert Passphrase(PASSPHRASE).stretch(bytes(range(16))) == (bytes(range(16)), stretched)
    root = mix(bytes(range(32)), stretched)
    assert root == hmac.digest(bytes(range(32)), stretched, "sha256")
    master = Master.from_root(root, "broker")
    assert master.check.hex() == "3f27fdbd9cac73bc0a8007b8aca3d5f2"

    def expanded(label):
        return hmac.digest(root, enc(label, "broker") + b"\x01", "sha256")

    assert expanded("keyset-check/1")[:16] == master.check
    wrapped = master.wrap(ID + ID, "k", "aid/1:p", ALGORITHM)
    bound = enc("keyset/1", "broker", "k", "aid/1:p", ALGORITHM)
    assert AESGCMSIV(expanded("keyset-wrap/1")).decrypt(wrapped[1:13], wrapped[13:], bound) == ID + ID
    sealed = hmac.digest(expanded("keyset-seal/1"), enc("keyset-seal/1", b"content"), "sha256")
    assert master.seal(b"content") == sealed.hex()
