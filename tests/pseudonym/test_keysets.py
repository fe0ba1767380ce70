"""Whose keyset holds which keys, what they do, how they follow one another, and when nothing is written."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag

from pseudonym import errors, keyfile, uses
from pseudonym.holders import BlindKey, PrfKey, SigningKey
from pseudonym.keys import RAW_KEY_ACCESS, Keyset, State
from pseudonym.keystate import seal_of
from pseudonym.providers.file import FileProvider
from pseudonym.urn import Kind, enc

PASSPHRASE = "seven grey herons wade upstream"
USES = {
    "identity": ["kek/1:2026-11", "bidx/1", "extract/1:job-7", "suppression/1", "audit/1"],
    "broker": ["aid/1:tf", "urn/1:tf:nis:1", "ckp/1:tf", "exchange/1:dwp:ons:e-1", "audit/1"],
    "attributes": ["kek/1:2026-11", "audit/1"],
}
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(keyfile, "_now", found)
    return found


@pytest.fixture
def make(tmp_path, quick, clock):
    def made(role):
        return Keyset.create(tmp_path / f"{role}.keyset", role, provider(tmp_path, role))

    return made


def provider(folder, role):
    return FileProvider(folder / f"{role}.device", PASSPHRASE)


def reopened(keyset, **options):
    folder = keyset.path.parent
    return Keyset.open(keyset.path, provider(folder, keyset.name), **options)


def raw(keyset, use):
    return keyset.export(keyset.find(use).kid, RAW_KEY_ACCESS)


# --- uses and roles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", USES)
def test_a_role_holds_its_own_keys_and_no_others(make, role):
    keyset = make(role)
    for use in sorted({use for of_role in USES.values() for use in of_role}):
        if use in USES[role]:
            assert keyset.add(use).use == use
            with pytest.raises(errors.KeysetError, match="has, or had"):
                keyset.add(use)
        else:
            with pytest.raises(errors.KeysetError, match="holds no"):
                keyset.add(use)
    assert sorted(key.use for key in reopened(keyset).keys) == sorted(USES[role])
    for key in keyset.keys:
        assert key.algorithm == uses.read(key.use).algorithm


@pytest.mark.parametrize(
    "name", ["Broker", "brokers", "vault", "", "audit", "-broker", "broker-", "broker_2"]
)
def test_a_keyset_is_of_a_role(make, name, tmp_path):
    with pytest.raises(errors.InputError):
        make(name)
    assert not list(tmp_path.iterdir())


def test_a_role_may_have_several_keysets(make):
    assert make("broker-2").add("aid/1:tf").use == "aid/1:tf"


@pytest.mark.parametrize(
    "use",
    [
        "", ":", "kek/1", "kek/1:", "kek/1:2026-13", "kek/1:2026-1", "kek/1:26-01", "kek/1:2026-01:x",
        "kek/2:2026-01", "bidx/1:", "bidx/1:1", "bidx/1:0", "bidx/1:02", "bidx/1:x", "extract/1",
        "extract/1:A", "suppression/1:1",
        "aid/1", "aid/1:", "aid/1:tf:x", "aid/1:Tf", "urn/1:tf", "urn/1:tf:nis",
        "urn/1:tf:nis:0", "urn/1:tf:nis:32", "urn/1:tf:nis:01", "urn/1:tf:nis:1:1", "urn/1:tf:nis:１",
        "exchange/1:a:b", "exchange/1:a:b:c:d", "audit/1:1", "audit/1:2\n", " audit/1", "AUDIT/1",
    ],
)  # fmt: skip
def test_what_is_no_use_is_refused(make, use):
    keyset = make("identity")
    with pytest.raises(errors.InputError):
        uses.read(use)
    with pytest.raises(errors.PseudonymError):
        keyset.add(use)
    assert keyset.keys == ()


def test_a_use_is_written_as_it_is_read():
    for use in [
        "bidx/1:2",
        "audit/1:17",
        "urn/1:tf:nis:31",
        *(use for some in USES.values() for use in some),
    ]:
        assert str(uses.read(use)) == use


@pytest.mark.parametrize("use", ["urn/1:tf:nis:2", "audit/1:2"])
def test_a_series_begins_with_its_first_key(make, use):
    with pytest.raises(errors.InputError, match="number 1"):
        make("broker").add(use)


# --- what keys do -------------------------------------------------------------------------------------------


def test_the_blind_key_gives_fields_keys_of_their_own(make):
    keyset = make("identity")
    keyset.add("bidx/1")
    secret, holder = raw(keyset, "bidx/1"), reopened(keyset).blind_key()

    def expanded(field, epoch):  # HKDF-Expand of 32 bytes is one HMAC
        info = enc("bidx-key/1", field, bytes([epoch]))
        return hmac.digest(secret, info + b"\x01", "sha256")

    for field, epoch in [("nhs", 1), ("nhs", 2), ("surname+dob", 1), ("nino", 31)]:
        assert holder.field(field, epoch) == expanded(field, epoch)
    for field, epoch in [("", 1), ("nhs", 0), ("nhs", 32)]:
        with pytest.raises(errors.InputError):
            holder.field(field, epoch)


def test_the_vector_of_the_blind_index():
    """Root 00..1f, field nhs, epoch 1, value 9434765919: tags of 18 and 24 bits."""
    key = BlindKey("k", bytes(range(32))).field("nhs", 1)
    tag = hmac.digest(key, enc("bidx/1", "nhs", "9434765919"), hashlib.sha256)
    assert int.from_bytes(tag, "big") >> 256 - 18 == 18285
    assert int.from_bytes(tag, "big") >> 256 - 24 == 1170287


def test_prf_keys_are_hmac(make):
    keyset = make("broker")
    for use in ("ckp/1:tf", "exchange/1:dwp:ons:e-1"):
        keyset.add(use)
    for use, holder in (
        ("ckp/1:tf", keyset.cell_key("tf")),
        ("exchange/1:dwp:ons:e-1", keyset.exchange_key("dwp", "ons", "e-1")),
    ):
        assert holder.prf("a", b"b") == hmac.digest(raw(keyset, use), enc("a", b"b"), "sha256")
        assert holder.digests([b"", b"x"]) == [
            hmac.digest(raw(keyset, use), m, "sha256") for m in (b"", b"x")
        ]
    with pytest.raises(errors.KeyMissingError):
        keyset.exchange_key("ons", "dwp", "e-1")
    identity = make("identity")
    identity.add("suppression/1")
    expected = hmac.digest(raw(identity, "suppression/1"), enc("x"), "sha256")
    assert identity.suppression_key().prf("x") == expected


def test_the_audit_key_signs_and_its_successor_takes_over(make):
    keyset = make("attributes")
    keyset.add("audit/1")
    first = keyset.signing_key()
    signature = first.sign(b"checkpoint")
    keyset.rotate("audit/1")
    again = reopened(keyset)
    second, known = again.signing_key(), again.verifying_keys()
    assert set(known) == {first.kid, second.kid} == {key.kid for key in again.keys}
    known[first.kid].verify(signature, b"checkpoint")
    known[second.kid].verify(second.sign(b"checkpoint"), b"checkpoint")
    with pytest.raises(InvalidSignature):
        known[second.kid].verify(signature, b"checkpoint")
    assert [(key.use, key.state) for key in again.keys] == [
        ("audit/1", State.DECRYPT_ONLY),
        ("audit/1:2", State.ACTIVE),
    ]
    again.destroy(first.kid)
    kept = again.verifying_keys()
    assert set(kept) == {first.kid, second.kid}
    kept[first.kid].verify(signature, b"checkpoint")
    assert not any(key.public for key in again.keys if key.state is not State.DESTROYED)


def test_keys_are_used_while_others_are_destroyed_and_the_master_is_renewed(make):
    keyset = make("broker")
    secret = keyset.add_aid_key("tf-2026").aid(1, Kind.PERSON, bytes(16))
    done, used = threading.Event(), []

    def use():
        while not done.is_set():
            used.append(keyset.aid_key("tf-2026").aid(1, Kind.PERSON, bytes(16)))

    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(use) for _ in range(2)]
        try:
            for number in range(3):
                keyset.destroy(keyset.add(f"ckp/1:tf-{number}").kid)
                keyset.rotate_master()
        finally:
            done.set()
        for one in running:
            one.result()
    assert set(used) == {secret}


def test_holders_do_not_show_copy_or_leave(make):
    for holder in (BlindKey("k1", bytes(32)), PrfKey("k1", bytes(32)), SigningKey("k1", bytes(32))):
        assert repr(holder) == f"{type(holder).__name__}(kid='k1')"
        for leave in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                leave(holder)
        with pytest.raises(errors.InputError, match="32 bytes"):
            type(holder)("k1", bytes(31))


def test_lending_gives_a_class_what_it_needs(make):
    keyset = make("identity")
    key = keyset.rotate_kek()
    assert keyset.lend(key.kid, lambda kid, secret: (kid, secret)) == (key.kid, raw(keyset, key.use))


# --- key-encrypting keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["identity", "attributes"])
def test_each_month_a_new_key_wraps_and_the_old_one_still_opens(make, clock, role):
    keyset = make(role)
    first = keyset.rotate_kek()
    assert (first.use, keyset.kek()[0]) == ("kek/1:2026-11", first.kid)
    wrapped = keyset.kek()[1].encrypt(bytes(12), b"subject's key", b"pid")
    clock.now += timedelta(days=20)
    second = keyset.rotate("kek/1")
    again = reopened(keyset)
    assert second.use == "kek/1:2026-12"
    assert again.kek()[0] == second.kid
    assert [key.state for key in again.keys] == [State.DECRYPT_ONLY, State.ACTIVE]
    assert again.keys[0].not_after == again.keys[1].not_before
    for opener in (again.kek("2026-11")[1], again.kek_of(first.kid)[1]):
        assert opener.decrypt(bytes(12), wrapped, b"pid") == b"subject's key"
    with pytest.raises(InvalidTag):
        again.kek()[1].decrypt(bytes(12), wrapped, b"pid")
    again.destroy(first.kid)
    final = reopened(again)
    for attempt in (lambda: final.kek("2026-11"), lambda: final.kek_of(first.kid)):
        with pytest.raises(errors.KeyMissingError, match="destroyed"):
            attempt()
    assert final.kek()[0] == second.kid
    assert [key.state for key in final.keys] == [State.DESTROYED, State.ACTIVE]


def test_a_month_that_is_not_next_is_refused(make, clock):
    keyset = make("identity")
    keyset.rotate_kek("2026-11")
    before = keyset.path.read_bytes()
    for month in ("2026-11", "2026-10", "2025-12"):
        with pytest.raises(errors.KeysetError, match="this month or a later"):
            keyset.rotate_kek(month)
    for month in ("2027-01", "2062-01"):
        with pytest.raises(errors.InputError, match="or the next"):
            keyset.rotate_kek(month)
    for month in ("2026-13", "26-11", "2026-11-01", ""):
        with pytest.raises(errors.InputError, match="2026-11"):
            keyset.rotate_kek(month)
    with pytest.raises(errors.KeysetError, match="Rotate it"):
        keyset.add("kek/1:2026-12")
    assert keyset.path.read_bytes() == before
    keyset.rotate_kek("2026-12")
    clock.now += timedelta(days=20)
    with pytest.raises(errors.KeysetError, match="this month or a later"):
        keyset.rotate_kek()


def test_a_month_whose_key_leaked_gets_another_one(make, clock):
    keyset = make("identity")
    first = keyset.rotate_kek("2026-12")
    for month in ("2026-12.3", "2026-11.2", "2027-01.2", "2026-12.1", "2026-12.02", "2026-12.100"):
        with pytest.raises(errors.PseudonymError):
            keyset.rotate_kek(month)
    second = keyset.rotate("kek/1:2026-12.2")
    assert keyset.kek()[0] == second.kid
    assert keyset.by_kid(first.kid).state is State.DECRYPT_ONLY
    assert keyset.kek("2026-12.2")[0] == second.kid
    assert keyset.kek("2026-12")[0] == first.kid
    for number in range(3, 12):
        keyset.rotate_kek(f"2026-12.{number}")
    with pytest.raises(errors.KeysetError, match=r"2026-12\.12"):
        keyset.rotate_kek("2026-12.9")


def test_a_destroyed_month_does_not_come_back(make):
    keyset = make("identity")
    keyset.destroy(keyset.rotate_kek().kid)
    with pytest.raises(errors.KeyMissingError, match="no active"):
        keyset.kek()
    with pytest.raises(errors.KeysetError, match="has, or had"):
        keyset.rotate_kek()
    assert keyset.rotate_kek("2026-12").state is State.ACTIVE


def test_the_month_after_december():
    assert [uses.month_after(month) for month in ("2026-11", "2026-12", "0999-12")] == [
        "2026-12", "2027-01", "1000-01",
    ]  # fmt: skip


def test_what_is_no_kek_is_not_lent_as_one(make):
    keyset = make("identity")
    kid = keyset.add("bidx/1").kid
    with pytest.raises(errors.KeyMissingError, match="no key-encrypting key"):
        keyset.kek_of(kid)
    for attempt in (keyset.kek, lambda: keyset.kek("2026-11"), lambda: keyset.kek_of("0" * 16)):
        with pytest.raises(errors.KeyMissingError):
            attempt()


def test_what_has_no_successor_is_not_rotated(make):
    keyset = make("broker")
    keyset.add("aid/1:tf")
    with pytest.raises(errors.KeysetError, match="no successors"):
        keyset.rotate("aid/1:tf")
    with pytest.raises(errors.KeyMissingError, match="Add the first"):
        keyset.rotate("audit/1")
    with pytest.raises(errors.KeyMissingError, match="Add the first"):
        keyset.rotate_urn_key("tf", "nis")


@pytest.mark.parametrize(
    ("role", "first", "series", "instead"),
    [
        ("identity", "bidx/1", ["bidx/1", "bidx/1:2"], "take the sources in again"),
        ("broker", "urn/1:tf:nis:1", ["urn/1:tf:nis", "urn/1:tf:nis:1"], "open --next-epoch"),
    ],
)
def test_a_successor_that_nothing_would_follow_is_not_made(make, role, first, series, instead):
    keyset = make(role)
    keyset.add(first)
    before = keyset.path.read_bytes()
    for one in series:
        with pytest.raises(errors.KeyUseError) as refused:
            keyset.rotate(one)
        assert instead in refused.value.help
    assert keyset.path.read_bytes() == before
    assert [(key.use, key.state) for key in reopened(keyset).keys] == [(first, State.ACTIVE)]


def test_an_index_key_that_an_older_version_rotated_is_found_by_its_number(make):
    identity = make("identity")
    identity.add("bidx/1")
    first = identity.blind_key().field("nhs", 1)
    identity._succeed(uses.BIDX)
    assert identity.blind_key().field("nhs", 1) != identity.blind_key(1).field("nhs", 1) == first


# --- time and versions --------------------------------------------------------------------------------------


def test_a_clock_set_back_writes_nothing(make, clock):
    keyset = make("identity")
    keyset.rotate_kek()
    before = {path: path.read_bytes() for path in keyset.path.parent.iterdir()}
    clock.now = NOW - timedelta(minutes=5, seconds=1)
    with pytest.raises(errors.KeysetClockError, match="5 minutes behind"):
        reopened(keyset)
    with pytest.raises(errors.KeysetClockError):
        keyset.add("bidx/1")
    assert {path: path.read_bytes() for path in keyset.path.parent.iterdir()} == before
    assert reopened(keyset, read_only=True).kek() is not None
    clock.now = NOW - timedelta(minutes=5)
    again = reopened(keyset)
    made = again.add("bidx/1")
    assert made.not_before == NOW.isoformat()  # times in a keyset do not go back
    assert json.loads(keyset.path.read_text())["written"] == NOW.isoformat()


def test_a_clock_that_was_ahead_is_said_to_have_been(make, clock):
    clock.now = NOW + timedelta(days=365)
    keyset = make("broker")
    clock.now = NOW
    with pytest.raises(errors.KeysetClockError, match="525600 minutes"):
        reopened(keyset)
    reopened(keyset, clock_was_ahead=True).add("aid/1:tf")
    assert reopened(keyset).find("aid/1:tf").not_before == NOW.isoformat()


def test_every_writing_is_remembered(make, clock):
    keyset = make("identity")
    for change in (
        keyset.rotate_kek,
        keyset.rotate_master,
        lambda: keyset.change_passphrase(PASSPHRASE),
        lambda: keyset.destroy(keyset.keys[0].kid),
    ):
        clock.now += timedelta(hours=1)
        change()
        assert json.loads(keyset.path.read_text())["written"] == clock.now.isoformat()


def _resealed(keyset, change):
    content = json.loads(keyset.path.read_text())
    change(content)
    content["seal"] = seal_of(keyset._last.master, content)
    keyset.path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def test_a_file_from_before_times_were_kept_still_opens(make, clock):
    keyset = make("identity")
    clock.now += timedelta(hours=1)
    keyset.rotate_kek()
    _resealed(keyset, lambda content: content.pop("written"))
    assert reopened(keyset).keys == keyset.keys
    clock.now -= timedelta(minutes=6)
    with pytest.raises(errors.KeysetClockError, match="6 minutes"):
        reopened(keyset)


def test_another_versions_keyset_is_refused_before_anything(make, clock):
    keyset = make("identity")
    _resealed(keyset, lambda content: content.update(format="kinlink-keyset/2"))
    with pytest.raises(errors.VersionError) as caught:
        reopened(keyset)
    assert caught.value.message == (
        "The keyset is in the format kinlink-keyset/2, and this program reads kinlink-keyset/1."
    )
    for form in ("kinlink-keyset/x", "another", None, 1, ["kinlink-keyset/1"]):
        _resealed(keyset, lambda content, form=form: content.update(format=form))
        with pytest.raises(errors.TamperedError, match="kind that is known"):
            reopened(keyset)
