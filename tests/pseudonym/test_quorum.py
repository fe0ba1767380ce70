"""A quorum of custodians: who opens the keyset, who does not, and what a part alone says: nothing."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from itertools import combinations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from pseudonym import errors
from pseudonym.keys import RAW_KEY_ACCESS, Keyset
from pseudonym.master import Master
from pseudonym.providers import quorum, shamir
from pseudonym.providers.file import mix
from pseudonym.providers.quorum import QuorumProvider

PEOPLE = {
    "anne": "nine brown foxes sleep inland",
    "bob": "two white owls fly at noon",
    "cara": "five old toads sing in rain",
    "dev": "six red ants march past tea",
}
NEW = "one green heron after another"


@pytest.fixture
def places(tmp_path, quick):
    return tmp_path / "identity.keyset", tmp_path / "identity.device"


@pytest.fixture
def keyset(places):
    made = Keyset.create(places[0], "identity", QuorumProvider(places[1], PEOPLE, 3))
    made.rotate_kek()
    return made


def opened(places, people):
    return Keyset.open(places[0], QuorumProvider(places[1], people))


def some(*labels, **others):
    return {**{label: PEOPLE[label] for label in labels}, **others}


def raw(keyset):
    return [keyset.export(key.kid, RAW_KEY_ACCESS) for key in keyset.keys]


@pytest.mark.parametrize("count", [3, 4])
def test_any_of_the_custodians_open_it_if_they_are_enough(keyset, places, count):
    for labels in combinations(PEOPLE, count):
        assert raw(opened(places, some(*labels))) == raw(keyset)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_do_not(keyset, places, count):
    for labels in combinations(PEOPLE, count):
        with pytest.raises(errors.PassphraseError) as caught:
            opened(places, some(*labels))
        assert caught.value.message == (
            f"The keyset needs the passphrases of 3 of its 4 custodians, and {count} were given."
        )


def test_a_wrong_passphrase_is_noticed_and_named(keyset, places):
    with pytest.raises(errors.PassphraseError, match="given for custodian bob is not theirs"):
        opened(places, some("anne", "cara", bob=PEOPLE["anne"]))
    with pytest.raises(errors.PassphraseError, match="custodian anne and dev is"):
        opened(places, some("bob", "cara", anne="x", dev="y"))
    with pytest.raises(errors.PassphraseError, match="no custodian eve"):
        opened(places, some("anne", "bob", "cara", eve="somebody else's passphrase"))


def test_an_altered_or_exchanged_part_is_noticed_and_named(keyset, places, tmp_path):
    whole = json.loads(places[0].read_text())

    def with_change(change):
        content = json.loads(json.dumps(whole))
        change(content["provider"]["custodians"])
        places[0].write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
        return opened(places, some("anne", "bob", "cara"))

    def exchange(people):
        people[0]["part"], people[1]["part"] = people[1]["part"], people[0]["part"]

    with pytest.raises(errors.TamperedError, match="custodian anne and bob"):
        with_change(exchange)
    with pytest.raises(errors.TamperedError, match="custodian cara"):
        with_change(lambda people: people[2].update(part="00" * (len(people[2]["part"]) // 2)))
    with pytest.raises(errors.TamperedError, match="custodian"):
        with_change(lambda people: people.reverse())
    # A part that is sealed rightly, but of another secret: nobody can tell whose it is, and it is noticed.
    with pytest.raises(errors.TamperedError, match="altered"):
        with_change(lambda people: people[1].update(part=_foreign(whole["provider"])))
    with_change(lambda people: None)


def _foreign(said):
    person = said["custodians"][1]
    public = X25519PublicKey.from_public_bytes(bytes.fromhex(person["public"]))
    place = quorum._place("identity", said["device"], said["threshold"], 2, person["label"])
    return quorum._SUITE.encrypt(bytes(32), public, place).hex()


def test_a_part_of_an_older_file_does_not_serve_in_the_newer(keyset, places):
    old = json.loads(places[0].read_text())["provider"]["custodians"]
    keyset.rotate_master()
    content = json.loads(places[0].read_text())
    # dev was not there at the renewal: his key pair is still the same, and an old part of his opens nothing.
    keyset = opened(places, some("anne", "bob", "cara"))
    content["provider"]["custodians"][3]["part"] = old[3]["part"]
    places[0].write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    with pytest.raises(errors.TamperedError, match="custodian dev"):
        opened(places, some("bob", "cara", "dev"))


def test_custodians_who_were_away_at_a_renewal_still_open_it(keyset, places):
    before = raw(keyset)
    three = opened(places, some("anne", "bob", "cara"))
    three.rotate_master()
    others = opened(places, some("bob", "cara", "dev"))
    others.rotate_master()
    for labels in combinations(PEOPLE, 3):
        assert raw(opened(places, some(*labels))) == before


def test_a_changed_passphrase_ends_the_old_one_for_good(keyset, places, tmp_path):
    before, copy = raw(keyset), tmp_path / "copy"
    shutil.copy2(places[0], copy)
    opened(places, some("anne", "bob", "cara")).change_passphrase(NEW, "bob")
    assert raw(opened(places, some("anne", "dev", bob=NEW))) == before
    assert raw(opened(places, some("anne", "cara", "dev"))) == before
    with pytest.raises(errors.PassphraseError, match="bob"):
        opened(places, some("anne", "bob", "dev"))
    # Bob's old key pair, from the copy, opens no part that was sealed since.
    old = json.loads(copy.read_text())["provider"]["custodians"][1]
    content = json.loads(places[0].read_text())
    content["provider"]["custodians"][1] = {**old, "part": content["provider"]["custodians"][1]["part"]}
    places[0].write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    with pytest.raises(errors.TamperedError, match="bob"):
        opened(places, some("anne", "bob", "dev"))


@pytest.mark.parametrize("who", [None, "dev", "eve"])
def test_a_passphrase_is_changed_by_its_custodian_only(keyset, places, who):
    before = places[0].read_bytes()
    three = opened(places, some("anne", "bob", "cara"))
    with pytest.raises(errors.KeysetError, match="by the custodian whose"):
        three.change_passphrase(NEW, who)
    with pytest.raises(errors.KeysetError, match="12 characters"):
        three.change_passphrase("short", "bob")
    with pytest.raises(errors.KeysetError, match="Another custodian"):
        three.change_passphrase(PEOPLE["anne"], "bob")
    assert places[0].read_bytes() == before


@pytest.mark.parametrize(
    ("people", "threshold", "words"),
    [
        (PEOPLE, None, "at least 2"),
        (PEOPLE, 1, "at least 2"),
        (PEOPLE, 5, "at least 2"),
        ({"anne": PEOPLE["anne"]}, 1, "at least 2"),
        ({f"c{i}": f"a passphrase of number {i}" for i in range(21)}, 3, "from 2 to 20"),
        ({**PEOPLE, "eve": PEOPLE["anne"]}, 3, "anne and eve gave the same"),
        ({**PEOPLE, "eve": "short"}, 3, "custodian eve is shorter"),
        ({**PEOPLE, "E v e": "a good long passphrase"}, 3, "custodian"),
    ],
)
def test_a_quorum_that_would_be_none_is_refused(places, people, threshold, words):
    with pytest.raises(errors.PseudonymError, match=words):
        Keyset.create(places[0], "identity", QuorumProvider(places[1], people, threshold))
    assert not places[0].exists()
    assert not places[1].exists()


def test_no_part_and_no_seed_stands_in_the_file(keyset, places, monkeypatch):
    seen = []
    split = shamir.split

    def watched(secret, threshold, parts):
        made = split(secret, threshold, parts)
        seen.extend([secret, *made.values()])
        return made

    monkeypatch.setattr("pseudonym.providers.shamir.split", watched)
    keyset.rotate_master()
    assert len(seen) == 5
    text = places[0].read_text() + places[1].read_text()
    assert not [one for one in seen if one.hex() in text]


# --- vectors, and the second implementation -----------------------------------------------------------------

PRIVATE = bytes(range(32, 64))
PUBLIC = "358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254"
WRAPPED = (
    "01000102030405060708090a0b6468b452f33e943bdc4116d435a3bc67"
    "9fd4ada990ae8279547343fc62d665cfa02f1d2af853b3109b215aef478800be"
)
PARTS = {1: "20" * 32, 2: "404346454c4f4a49585b5e5d54575251707376757c7f7a79686b6e6d64676261"}
SEALED = (
    "4b6f78a6693232e10e3db5385ac40c635e743180b1a2bb69aaf94c355ae41123"
    "8429281c93c99f740060df5bd050a647e82bce77af1ac24ead9d9c35e0b5f4d7efa691f2f5d952efe193e54ab3621ea6"
)


def private_of(provider, person):
    pair = provider._open_pair("identity", person)
    assert pair is not None
    return pair.private_bytes_raw()


def test_a_custodians_pair_and_part_are_as_the_format_has_them(oracle, tmp_path):
    stretched = bytes.fromhex("28ae4edabf65a6fb80d00c927b774ff20fd19f3f9e13f09dc3a8e38a3c2f782f")
    owner = oracle.message(b"keyset-custodian/1", b"identity", b"anne")
    sealed = oracle.seal_gcm_siv(stretched, bytes(range(12)), PRIVATE, owner)
    assert "01" + bytes(range(12)).hex() + sealed.hex() == WRAPPED
    assert oracle.public_x25519(PRIVATE).hex() == PUBLIC
    provider = QuorumProvider(tmp_path / "d", {"anne": "seven grey herons wade upstream"})
    person = {
        "label": "anne",
        "salt": bytes(range(16)).hex(),
        "public": PUBLIC,
        "private": WRAPPED,
        "part": "",
    }
    assert private_of(provider, person) == PRIVATE
    device = bytes.fromhex("0011223344556677")
    place = oracle.message(b"keyset-part/1", b"identity", device, bytes([2, 1]), b"anne")
    assert quorum._place("identity", device.hex(), 2, 1, "anne") == place
    for opened in (
        oracle.open_hpke(PRIVATE, bytes.fromhex(SEALED), place, tmp_path),
        quorum._SUITE.decrypt(bytes.fromhex(SEALED), X25519PrivateKey.from_private_bytes(PRIVATE), place),
    ):
        assert opened.hex() == PARTS[1]


def test_what_is_sealed_to_a_custodian_the_second_implementation_opens(keyset, places, oracle, tmp_path):
    provider = QuorumProvider(places[1], PEOPLE)
    said, parts = json.loads(places[0].read_text())["provider"], {}
    for x, person in enumerate(said["custodians"], 1):
        private = private_of(provider, person)
        names = (b"keyset-part/1", b"identity", bytes.fromhex(said["device"]), bytes([3, x]))
        place = oracle.message(*names, person["label"].encode())
        parts[x] = oracle.open_hpke(private, bytes.fromhex(person["part"]), place, tmp_path)
    (secret,) = json.loads(places[1].read_text())["secrets"].values()
    seed = shamir.combine(dict(list(parts.items())[1:]))
    root = oracle.openssl_hmac(bytes.fromhex(secret), seed)
    check = oracle.openssl_hmac(root, oracle.message(b"keyset-check/1", b"identity") + b"\x01")
    assert check[:16].hex() == said["check"]


@pytest.mark.parametrize("threshold", [1, 2, 3, 5])
def test_sharing_agrees_with_the_second_implementation(oracle, monkeypatch, threshold):
    coefficients = [bytes(range(32 * i, 32 * i + 32)) for i in range(1, threshold)]
    drawn = iter(coefficients)
    monkeypatch.setattr("os.urandom", lambda _: next(drawn))
    parts = shamir.split(bytes(range(32)), threshold, 6)
    assert parts == {x: oracle.share(bytes(range(32)), coefficients, x) for x in range(1, 7)}
    if threshold == 2:
        assert {x: parts[x].hex() for x in PARTS} == PARTS


def test_the_root_of_a_quorums_master(oracle):
    root = mix(bytes(range(64, 96)), bytes(range(32)))
    assert root == oracle.openssl_hmac(bytes(range(64, 96)), bytes(range(32)))
    assert root.hex() == "8dcaa3c5075c39d7951948c3dfcd807f9a3b9738d263846e7443337f2e316d03"
    assert Master.from_root(root, "identity").check.hex() == "e6b2dc1691377f63eb6dcab911badbc4"


def test_the_master_of_a_seed(oracle):
    """What a token or a key server opens is the root itself."""
    root, master = bytes(range(32)), Master.from_root(bytes(range(32)), "broker")

    def expanded(label: bytes) -> bytes:
        return oracle.openssl_hmac(root, oracle.message(label, b"broker") + b"\x01")

    assert expanded(b"keyset-check/1")[:16] == master.check
    assert master.check.hex() == "0c54ef046b1a63daa4da7266f185d2eb"
    assert (
        expanded(b"keyset-seal/1").hex() == "500173834fccf9544b2d4e2ffd9885fa352c0cdc3a4892e1d88e4d2be72a122c"
    )
    assert (
        expanded(b"keyset-wrap/1").hex() == "b3ec07d868cec31fba616160f7fc26b81befc6617afd25927e56f36072176be5"
    )
    message = oracle.message(b"keyset-seal/1", b"content")
    assert master.seal(b"content") == oracle.openssl_hmac(expanded(b"keyset-seal/1"), message).hex()


# --- sharing ------------------------------------------------------------------------------------------------

quorums = st.integers(1, 8).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n)))


@given(st.binary(min_size=1, max_size=40), quorums, st.randoms())
def test_enough_parts_give_the_secret(secret, sizes, chance):
    threshold, count = sizes
    parts = shamir.split(secret, threshold, count)
    for size in range(threshold, count + 1):
        chosen = chance.sample(sorted(parts), size)
        assert shamir.combine({x: parts[x] for x in chosen}) == secret


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8), quorums, st.randoms())
def test_too_few_parts_fit_every_secret_alike(secret, other, sizes, chance):
    """One polynomial of the right degree goes through the parts and any secret, and no second one does."""
    threshold, count = sizes
    parts = shamir.split(secret, threshold, count)
    chosen = chance.sample(sorted(parts), threshold - 1)
    supposed = {0: other, **{x: parts[x] for x in chosen}}
    rest = {x: shamir.combine(supposed, at=x) for x in parts if x not in chosen}
    # The other secret's sharing is a whole one: any parts of it give the other secret, ours among them.
    whole = {**{x: parts[x] for x in chosen}, **rest}
    again = chance.sample(sorted(whole), threshold)
    assert shamir.combine({x: whole[x] for x in again}) == other


@pytest.mark.parametrize("secret", [0, 1, 0x53, 255])
def test_a_part_has_every_value_equally_often(secret, monkeypatch):
    """All 65,536 polynomials of a 2-of-n and, for pairs of parts, a 3-of-n sharing of one byte, counted."""
    pairs = bytes(range(256))
    monkeypatch.setattr("os.urandom", lambda size: pairs[:size])
    parts = shamir.split(bytes([secret]) * 256, 2, 3)  # byte i has the slope i
    for values in parts.values():
        assert Counter(values) == Counter(range(256))
    both = iter([bytes(a for a in range(256) for _ in range(256)), bytes(range(256)) * 256])
    monkeypatch.setattr("os.urandom", lambda size: next(both))
    parts = shamir.split(bytes([secret]) * 65536, 3, 2 + 1)
    for x, y in combinations(parts, 2):
        assert len(set(zip(parts[x], parts[y], strict=True))) == 65536


def test_sharing_agrees_with_a_table_of_the_field():
    """A second way to multiply: logarithms to the generator 3, as the AES standard's readers know them."""
    powers, value = [], 1
    for _ in range(255):
        powers.append(value)
        doubled = value << 1 ^ (0x11B if value & 0x80 else 0)
        value ^= doubled
    assert value == 1
    logarithm = {power: i for i, power in enumerate(powers)}
    for a in range(256):
        for b in range(256):
            expected = powers[(logarithm[a] + logarithm[b]) % 255] if a and b else 0
            assert shamir._multiply(a, b) == expected
    assert shamir._multiply(0x57, 0x83) == 0xC1  # FIPS 197, section 4.2
    assert all(shamir._multiply(a, shamir._inverse(a)) == 1 for a in range(1, 256))


@pytest.mark.parametrize(("threshold", "count"), [(0, 3), (4, 3), (2, 256)])
def test_a_sharing_that_would_be_none_is_refused(threshold, count):
    with pytest.raises(ValueError, match="threshold"):
        shamir.split(b"x", threshold, count)


def test_custodians_are_replaced_and_who_left_opens_nothing_any_more(keyset, places, tmp_path):
    before, keys = tmp_path / "before", raw(keyset)
    shutil.copy(places[0], before)
    now = {"anne": PEOPLE["anne"], "eve": NEW, "finn": "four blue whales hum all day"}
    opened(places, some("bob", "cara", "dev")).change_custodians(now, 2)
    for labels in combinations(now, 2):
        assert raw(opened(places, {label: now[label] for label in labels})) == keys
    with pytest.raises(errors.PassphraseError, match="no custodian bob"):
        opened(places, some("anne", "bob"))
    with pytest.raises(errors.PassphraseError, match="2 of its 3 custodians, and 1 were given"):
        opened(places, some("anne"))
    with pytest.raises(errors.KeysetError):
        Keyset.open(before, QuorumProvider(places[1], some("bob", "cara", "dev")))
    # It goes on as any keyset of a quorum: also for those who were not there.
    again = opened(places, {"anne": now["anne"], "eve": NEW})
    again.rotate_master()
    assert raw(opened(places, {"eve": NEW, "finn": now["finn"]})) == keys


@pytest.mark.parametrize(
    ("people", "threshold", "kind"),
    [({"eve": NEW}, 2, errors.InputError), ({"eve": NEW, "finn": NEW}, 2, errors.InputError),
     ({"eve": NEW, "finn": PEOPLE["bob"]}, 3, errors.InputError),
     ({"eve": NEW, "finn": "short"}, 2, errors.KeysetError)],
)  # fmt: skip
def test_custodians_that_make_no_quorum_change_nothing(keyset, places, people, threshold, kind):
    before = [path.read_bytes() for path in places]
    with pytest.raises(kind):
        opened(places, some("anne", "bob", "cara")).change_custodians(people, threshold)
    assert [path.read_bytes() for path in places] == before
