"""Attackers who have a database, a key, or two recipients' files: what each attack yields, exactly.

Every attack works on the stores of the scene, as somebody would who has copied them. What an attack is said
to yield (SECURITY.md, "what stays") is shown to be so as well: else nobody would know that it was a real one.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random

import numpy as np
import pytest
from scipy.stats import rankdata

from pseudonym.blind import BlindIndex, bits_for, field_key
from pseudonym.errors import SealBrokenError, UrnCheckError
from pseudonym.keyrecord import RAW_KEY_ACCESS
from pseudonym.roles import domains, settings
from pseudonym.roles.callers import SERVER_ROLES, Role
from pseudonym.seal import Kek, open_rows
from pseudonym.symbols import ALPHABET
from pseudonym.urn import Kind, UrnKey, enc, prf, read
from tests.pseudonym.threats.canaries import DIGESTS, Scanner, spellings
from tests.pseudonym.threats.scene import CANARIES, MARKS, PROJECT, RECIPIENTS, canaries

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
INDEX_BITS = bits_for(settings.POPULATION)


@pytest.fixture(scope="module")
def keysets(attacked):
    return {role: attacked.keyset(role) for role in SERVER_ROLES}


def raw(keyset, use):
    """A key's bytes, as whoever took them has them."""
    [key] = [key for key in keyset.keys if key.use == use or key.use.startswith(f"{use}:")]
    return keyset.export(key.kid, RAW_KEY_ACCESS)


def stored(attacked, role):
    """Every value in a role's database, by table and column."""
    tables = attacked.rows(role, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for table in (row["tablename"] for row in tables):
        for row in attacked.rows(role, f'SELECT * FROM "{table}"'):
            yield from ((table, name, value) for name, value in row.items())


def nhs_numbers(count, chance):
    """Valid NHS numbers, the canaries' among them."""
    found = {person["nhs"] for person in CANARIES}
    while len(found) < count:
        digits = [chance.randrange(10) for _ in range(9)]
        check = -sum(digit * weight for digit, weight in zip(digits, range(10, 1, -1), strict=True)) % 11
        if check != 10:
            found.add("".join(map(str, digits)) + str(check))
    return sorted(found)


def opened(keys, store, bound_to, rows):
    """Try every wrapped key and row with every key that the attacker has: what opens."""
    found = []
    for kid, secret in keys.items():
        for owner, (wrapped, named) in bound_to.items():
            for under in {kid, named}:
                try:
                    [dek] = Kek(under, secret).unwrap_all([wrapped], [owner])
                except SealBrokenError:
                    continue
                found.append(dek)
        for row_id, version, owner, ct in rows:
            try:
                found += open_rows([secret], store, [owner], [row_id], [version], [ct])
            except SealBrokenError:
                continue
    return found


# --- a dictionary of identifiers --------------------------------------------------------------------------


def test_no_hash_of_a_number_is_in_any_store(attacked):
    """All valid NHS numbers could be hashed in minutes: here 20,000, the two that are stored among them."""
    dictionary = set()
    for number in nhs_numbers(20_000, random.Random(1)):
        for spelling in {*spellings(number).values()}:
            dictionary |= {hashlib.new(name, spelling.encode()).digest() for name in DIGESTS}
    sizes = {len(digest) for digest in dictionary}
    prefixes = {
        size: {digest[:size] for digest in dictionary if len(digest) >= size} for size in (8, 16, *sizes)
    }
    looked = 0
    for role in SERVER_ROLES:
        for table, column, value in stored(attacked, role):
            octets = value if isinstance(value, bytes) else str(value).encode()
            for size, digests in prefixes.items():
                for start in (0, 1, 13, max(len(octets) - size, 0)):  # whole, or within what is sealed
                    assert octets[start : start + size] not in digests, (table, column)
                    looked += 1
    assert looked > 50_000
    planted = hashlib.sha256(b"9434765919").digest()
    assert planted in prefixes[32]
    assert planted[:16] in prefixes[16]


def test_a_tag_of_the_index_fits_no_unkeyed_hash_and_with_its_key_any_number_can_be_tried(attacked, keysets):
    query = "SELECT entry % 4294967296 AS tag FROM blind_index WHERE entry / 1099511627776 = 1"
    tags = {row["tag"] for row in attacked.rows(Role.IDENTITY, query)}
    assert len(tags) == len(CANARIES)
    numbers = nhs_numbers(20_000, random.Random(2))
    stored_numbers = {person["nhs"] for person in CANARIES}
    for name in DIGESTS:
        for parts in (lambda n: n.encode(), lambda n: enc("bidx/1", "nhs", n), lambda n: b"nhs" + n.encode()):
            guessed = {
                number
                for number in numbers
                if int.from_bytes(hashlib.new(name, parts(number)).digest()[:4]) >> (32 - INDEX_BITS) in tags
            }
            # By chance 20,000 · 2 / 2^18 = 0.15 numbers hit a tag; five or more once in two million runs.
            assert len(guessed) < 5
            assert not guessed & stored_numbers
    index = BlindIndex(keysets[Role.IDENTITY].blind_key(), domains.INDEX_EPOCH, INDEX_BITS)
    hits = {number for number, tag in zip(numbers, index.tags("nhs", numbers), strict=True) if tag in tags}
    assert stored_numbers <= hits  # what stays: who has the key can try


def test_a_few_people_share_a_tag_of_the_index():
    """At the length for a population, a tag says "one of about four": among 4,096 people, 10 bits."""
    bits = 10
    index = BlindIndex(Fields(), 1, bits)
    numbers = nhs_numbers(4 << bits, random.Random(3))
    sharing = np.bincount(index.tags("nhs", numbers), minlength=1 << bits)
    hidden_among = sharing[index.tags("nhs", numbers)]
    assert np.mean(hidden_among) == pytest.approx(5, rel=0.05)  # Poisson of mean 4: oneself and four others
    assert np.mean(hidden_among == 1) < 0.04  # alone by chance: e^-4 of them
    # A stranger's number hits somebody's tag nearly always: a hit does not say that the person is there.
    strangers = [number for number in nhs_numbers(6 << bits, random.Random(4)) if number not in set(numbers)]
    assert np.mean(sharing[index.tags("nhs", strangers)] > 0) > 0.97


class Fields:
    def field(self, field, epoch):
        return field_key(bytes(32), field, epoch)


# --- stolen stores ----------------------------------------------------------------------------------------


def sealed_of(attacked, role):
    """Wrapped keys by their owner, and sealed rows, of the identity or the attribute store."""
    key, table, owner = {
        Role.IDENTITY: ("subject", "identity_row", "pid"),
        Role.ATTRIBUTES: ("a_key", "a_row", "aid"),
    }[role]
    keys = {
        row[owner]: (row["wrapped"], row["kid"])
        for row in attacked.rows(role, f"SELECT * FROM {key} WHERE wrapped IS NOT NULL")
    }
    rows = [
        (row["row_id"], row["version"], row[owner], row["ct"])
        for row in attacked.rows(role, f"SELECT * FROM {table}")
    ]
    return keys, rows


@pytest.mark.parametrize("role", [Role.IDENTITY, Role.ATTRIBUTES])
def test_a_stolen_store_opens_with_its_own_key_and_with_nothing_that_lies_in_it(attacked, keysets, role):
    keys, rows = sealed_of(attacked, role)
    assert len(keys) > 500
    some, of_some = dict(list(keys.items())[:20]), rows[:20]
    inside = {
        value for _, _, value in stored(attacked, role) if isinstance(value, bytes) and len(value) == 32
    }
    guesses = {bytes(32), bytes(range(32)), *inside, *(hashlib.sha256(owner).digest() for owner in some)}
    guesses |= {hashlib.sha256(kid.encode()).digest() for _, kid in some.values()}
    tried = {hashlib.sha256(guess).hexdigest()[:16]: guess for guess in guesses}
    assert opened(tried, role.value, some, of_some) == []
    owner, (wrapped, kid) = next(iter(keys.items()))
    own = Kek(kid, keysets[role].export(kid, RAW_KEY_ACCESS))
    [dek] = own.unwrap_all([wrapped], [owner])
    mine = [row for row in rows if row[2] == owner]
    for row_id, version, _, ct in mine:
        assert json.loads(open_rows([dek], role.value, [owner], [row_id], [version], [ct])[0])


def test_both_stores_with_the_brokers_keys_are_linked_and_stay_closed(attacked, keysets):
    """Exactly what it yields: which pid is which aid, for everybody; and no row."""
    pids = [
        row["pid"] for row in attacked.rows(Role.IDENTITY, "SELECT pid FROM subject WHERE kind = 'person'")
    ]
    aids = {row["aid"] for row in attacked.rows(Role.ATTRIBUTES, "SELECT aid FROM a_subject")}
    made = keysets[Role.BROKER].aid_key(PROJECT).aids(1, Kind.PERSON, pids)
    assert set(made) == aids  # what stays: everybody is linked
    assert len(aids) > 500
    keys = {
        key.kid: keysets[Role.BROKER].export(key.kid, RAW_KEY_ACCESS) for key in keysets[Role.BROKER].keys
    }
    assert {key.use.split("/")[0] for key in keysets[Role.BROKER].keys} == {"audit", "erasures", "aid", "urn"}
    for role in (Role.IDENTITY, Role.ATTRIBUTES):
        wrapped, rows = sealed_of(attacked, role)
        assert opened(keys, role.value, dict(list(wrapped.items())[:20]), rows[:20]) == []


@pytest.mark.parametrize("role", SERVER_ROLES)
def test_one_roles_store_folder_and_keys_together_have_nothing_of_the_others(attacked, keysets, role):
    """An operator of one machine, with everything on it: its process's memory has no more keys than these."""
    content = b"".join(path.read_bytes() for path in attacked.files(role))
    content += b"\n".join(
        value if isinstance(value, bytes) else str(value).encode() for *_, value in stored(attacked, role)
    )
    if role is not Role.BROKER:
        content += b"\n".join(everything_opened(attacked, keysets[role], role))
    names = Scanner(canaries())
    found = {one.value for one in names.found(content)}
    marks = {value for pair in MARKS for value in (*pair, pair[1].replace(".", ""))}
    if role is Role.IDENTITY:
        assert found >= {person["nhs"] for person in CANARIES}  # what stays: this is the role that has them
        assert not found & marks
    elif role is Role.ATTRIBUTES:
        assert found >= {pair[0] for pair in MARKS}
        assert found <= marks
    else:
        assert found == set()
    ids = {
        "pid": [row["pid"] for row in attacked.rows(Role.IDENTITY, "SELECT pid FROM subject")],
        "aid": [row["aid"] for row in attacked.rows(Role.ATTRIBUTES, "SELECT aid FROM a_subject")],
        "urn": [urn for issued in attacked.urns.values() for urn in issued.values()],
    }
    has = {Role.IDENTITY: {"pid"}, Role.BROKER: {"aid", "urn"}, Role.ATTRIBUTES: {"aid"}}[role]
    for name, values in ids.items():
        assert bool(Scanner(values[::25]).found(content)) == (name in has), name


def everything_opened(attacked, keyset, role):
    keys, rows = sealed_of(attacked, role)
    keks = {kid: Kek(kid, keyset.export(kid, RAW_KEY_ACCESS)) for _, kid in keys.values()}
    deks = {owner: keks[kid].unwrap_all([wrapped], [owner])[0] for owner, (wrapped, kid) in keys.items()}
    return open_rows(
        [deks[owner] for _, _, owner, _ in rows], role.value, [owner for _, _, owner, _ in rows],
        [row_id for row_id, _, _, _ in rows], [version for _, version, _, _ in rows], [ct for *_, ct in rows],
    )  # fmt: skip


# --- a leaked key, and numbers side by side ---------------------------------------------------------------


def test_a_leaked_urn_key_gives_numbers_for_ids_and_for_nothing_that_people_know(attacked, keysets):
    secret = raw(keysets[Role.BROKER], f"urn/1:{PROJECT}:{RECIPIENTS[0]}")
    leaked = UrnKey(secret, PROJECT, RECIPIENTS[0], 1)
    issued = attacked.urns[RECIPIENTS[0]]
    aids, numbers = list(issued), set(issued.values())
    # A dictionary: identifiers, their hashes and keyed hashes in the place of the id.
    guesses = []
    for value in [*nhs_numbers(3_000, random.Random(5)), *canaries()]:
        for octets in (value.encode(), value.lower().encode()):
            guesses += [hashlib.new(name, octets).digest()[:16] for name in DIGESTS]
            guesses += [prf(secret, octets)[:16], octets[:16].ljust(16, b"\0")]
    assert not numbers & set(leaked.issue_all(Kind.PERSON, guesses))
    pids = [row["pid"] for row in attacked.rows(Role.IDENTITY, "SELECT pid FROM subject")]
    assert not numbers & set(leaked.issue_all(Kind.PERSON, pids))  # nor with the identity store
    # What stays: with the attribute ids that recipient's numbers are traced, and nobody else's.
    assert leaked.issue_all(Kind.PERSON, aids) == list(issued.values())
    for project, recipient, epoch in (
        (PROJECT, RECIPIENTS[1], 1),
        (PROJECT, RECIPIENTS[0], 2),
        ("other", "x", 1),
    ):
        relabelled = UrnKey(secret, project, recipient, epoch)
        made = {word[1:] for word in relabelled.issue_all(Kind.PERSON, aids)}
        for urns in attacked.urns.values():
            assert not made & {urn[1:] for urn in urns.values()}
    assert not set(attacked.urns[RECIPIENTS[1]].values()) & set(leaked.issue_all(Kind.PERSON, aids))


def test_two_recipients_who_put_their_files_together_find_nobody(attacked):
    """Symbols of one person's two numbers agree as by chance, and no order of the one is one of the other.

    Over n people each of the 20 random symbols agrees with each of the other number's with a chance of 1/32:
    a normal number for each of 400 pairs, the largest of which exceeds 5.5 once in 60,000 runs. Spearman's
    correlations of the two orders, by each symbol: the same.
    """
    one, other = ([urns[aid] for aid in attacked.urns[RECIPIENTS[0]]] for urns in attacked.urns.values())
    n = len(one)
    assert n > 500
    left, right = (
        np.array([[ALPHABET.index(symbol) for symbol in word[2:22]] for word in words])
        for words in (one, other)
    )
    expected, spread = n / 32, np.sqrt(n * (1 / 32) * (31 / 32))
    for a, b in itertools.product(range(20), repeat=2):
        assert abs((left[:, a] == right[:, b]).sum() - expected) / spread < 5.5
        z = np.corrcoef(rankdata(left[:, a]), rankdata(right[:, b]))[0, 1] * np.sqrt(n - 1)
        assert abs(z) < 5.5
    by_number = abs(np.corrcoef(rankdata(one), rankdata(other))[0, 1]) * np.sqrt(n - 1)
    assert by_number < 5.5
    assert len({tuple(row) for row in left ^ right}) == n  # no one mask leads from the one to the other
    # The statistics find what is there: the same file twice, and one with the symbols in another order.
    shuffled = left[:, np.random.default_rng(1).permutation(20)]
    agreeing = [(left[:, a] == shuffled[:, b]).sum() for a, b in itertools.product(range(20), repeat=2)]
    assert max(agreeing) == n


def test_made_up_numbers_are_mostly_noticed_and_are_nobodys(attacked):
    """A malicious analyst who alters numbers, hoping to hit another person's."""
    chance, known = random.Random(6), {urn for urns in attacked.urns.values() for urn in urns.values()}
    passed = 0
    for _ in range(5_000):
        word = list(chance.choice(list(attacked.urns[RECIPIENTS[0]].values())[:50]))
        for place in chance.sample(range(2, 24), chance.randint(1, 6)):
            word[place] = chance.choice(ALPHABET)
        made = "".join(word)
        try:
            read(made)
        except UrnCheckError:
            continue
        passed += made not in known
    assert passed < 30  # three or more wrong symbols pass once in a thousand
