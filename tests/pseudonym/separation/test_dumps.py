"""Copies of the identity store and of the attribute store, without keys, link nobody above chance.

Every feature of a person in the one copy (place, ids, ciphertexts, seals, sizes) is held against every
feature in the other.

- Spearman's rank correlation of each pair, over n people: by chance z = rho sqrt(n - 1) is a standard normal
  number. The largest of some 1,100 must stay below 6; by chance a run exceeds that about once in 470,000.
- Putting both copies in the order of the best pair and matching them rank by rank: by chance the number of
  right matches is a Poisson number of mean 1. It must stay below 9; by chance a run has 9 or more about once
  in a million.
- The same attack finds everybody where the order of arrival is kept: the statistics have the power to find
  it.

What remains, and is no matter of chance: how many rows people have. Whoever has seven rows of identity may be
the one with seven rows of attributes, if both stores get them row for row. The same goes for the size of
families where the identity store has them.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa
from scipy.stats import rankdata

from pseudonym.blind import BlindIndex, field_key
from pseudonym.identity_erasure import IdentityErasure
from pseudonym.keks import KekRing
from pseudonym.ledger import Ledger
from pseudonym.openings import Openings
from pseudonym.storage import open_store
from pseudonym.urn import Kind
from pseudonym.vault import Vault
from tests.pseudonym.separation.parts import (
    PROJECT,
    RECIPIENT,
    WHO,
    Clock,
    Keys,
    attributes,
    begun,
    broker,
    column,
    declared,
    ids,
    kek,
    ledger_key,
    values,
)

BATCHES, ROWS = 5, 400
LARGEST_Z, MOST_RIGHT = 6.0, 8
CANARIES = ("Quillfeather", "Zebedee", "ZZ9 9ZZ")


class Fields:
    def field(self, field: str, epoch: int) -> bytes:
        return field_key(bytes(32), field, epoch)


def people(count: int, chance: random.Random) -> pl.DataFrame:
    given = [CANARIES[1] + "x" * chance.randrange(90) for _ in range(count)]
    frame = pl.DataFrame({"given": given}).with_columns(surname=pl.lit(CANARIES[0]), lines=pl.lit(""))
    return frame.select(
        names=pl.concat_list(pl.struct("given", "surname")),
        addresses=pl.concat_list(pl.struct("lines", pl.lit(CANARIES[2]).alias("postcode"))),
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def urls(request, tmp_path):
    if request.param == "sqlite":
        return {role: f"sqlite:///{tmp_path / role}.db" for role in ("identity", "broker", "attributes")}
    return request.getfixturevalue("postgres_databases")


@pytest.fixture
def flow(urls, tmp_path):
    """Five files on their way through all three roles, on five days; whose aid is whose pid."""
    clock, keys, chance = Clock(), Keys(), random.Random(5)
    truth: dict[bytes, bytes] = {}
    arrival: list[bytes] = []
    with (
        open_store(urls["identity"], "identity", clock=clock) as store,
        broker(urls["broker"], tmp_path, keys=keys, clock=clock) as middle,
        attributes(urls["attributes"], tmp_path, clock=clock) as right,
        Ledger.open(tmp_path / "identity.ledger", ledger_key("identity")) as ledger,
    ):
        openings = Openings(store, lambda _: None, {"linkage": 10**6})
        vault = Vault(store, keks=KekRing(kek(7)), index=BlindIndex(Fields(), 1, 18), openings=openings)
        IdentityErasure.open(vault, store, ledger)
        begun(middle)
        declared(right)
        for number in range(BATCHES):
            refs = ids(ROWS)
            pids = vault.add(people(ROWS, chance), "council")
            middle.take(
                PROJECT, column(row_ref=refs, pid=pids, fid=[one for one in ids(ROWS // 4) for _ in range(4)])
            )
            right.intake.receive(
                PROJECT, "ks2", f"b{number}", values(ROWS, number).with_columns(column(row_ref=refs))
            )
            sent = middle.outgoing(PROJECT)
            done = right.intake.attach(PROJECT, sent)
            middle.acknowledge(PROJECT, done)
            right.intake.forget(PROJECT, done)
            aids = keys.aid_key(PROJECT).aids(1, Kind.PERSON, pids)
            truth.update(zip(pids, aids, strict=True))
            arrival += aids
            more = [aid for aid in aids for _ in range(chance.randrange(3))]
            right.intake.add(PROJECT, "ks2", f"m{number}", values(len(more)).with_columns(column(aid=more)))
            clock.now += 86_400
        middle.issue(PROJECT, RECIPIENT, Kind.PERSON, column(aid=arrival), WHO)
        right.intake.scatter()
    return urls, truth, arrival


def test_only_tables_that_are_out_of_order_are_rewritten(url, tmp_path):
    postgres = url.startswith("postgresql")
    with broker(url, tmp_path) as middle:
        begun(middle)
        for _ in range(2):
            rows = ids(50)
            middle.take(PROJECT, column(row_ref=rows, pid=rows, fid=[None] * 50))
        assert middle.scatter() == (2 if postgres else 0)  # who belongs, and which row is whose
        assert middle.scatter() == 0
        places = sa.text("SELECT aid FROM member" + (" ORDER BY ctid" if postgres else ""))
        with middle._rows.read() as at:
            found = [bytes(row[0]) for row in at.execute(places)]
    assert found == sorted(found)


def dumped(url: str, tables: Sequence[str]) -> dict[str, list[dict]]:
    """Tables in the order in which a dump has them."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return {
            table: [dict(row) for row in connection.execute(sa.text(f"SELECT * FROM {table}")).mappings()]
            for table in tables
        }


def features(dump: dict[str, list[dict]], key: str) -> dict[str, dict[bytes, float]]:
    """Numbers by which people may be put in an order: places, sizes, and both ends of whatever is bytes."""
    found: dict[str, dict[bytes, float]] = {}
    for table, rows in dump.items():
        for place, row in enumerate(rows):
            who = row[key]
            found.setdefault(f"{table}: place", {}).setdefault(who, place)
            count = found.setdefault(f"{table}: rows", {})
            count[who] = count.get(who, 0) + 1
            for name, value in row.items():
                numbers = {"": value} if isinstance(value, int) else {}
                if isinstance(value, bytes):
                    head, tail = value[:6], value[-6:]
                    numbers = {
                        ": head": int.from_bytes(head),
                        ": tail": int.from_bytes(tail),
                        ": size": len(value),
                    }
                for end, number in numbers.items():
                    found.setdefault(f"{table}.{name}{end}", {}).setdefault(who, float(number))
    return found


def z_score(a: np.ndarray, b: np.ndarray) -> float:
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1] * np.sqrt(len(a) - 1))


def right_matches(a: np.ndarray, b: np.ndarray) -> int:
    """How many are matched right when both sides are put in order; ties in an order of no meaning."""
    noise = np.random.default_rng(1)
    orders = [np.lexsort((noise.permutation(len(one)), one)) for one in (a, b)]
    return int((orders[0] == orders[1]).sum())


def test_two_copies_without_keys_link_nobody(flow):
    urls, truth, arrival = flow
    left = features(dumped(urls["identity"], ["subject", "identity_row"]), "pid")
    right = features(dumped(urls["attributes"], ["a_subject", "a_key", "a_row"]), "aid")
    pids = list(truth)
    aids = [truth[pid] for pid in pids]
    sides = {f"left {name}": np.array([side.get(pid, -1) for pid in pids]) for name, side in left.items()}
    sides |= {f"right {name}": np.array([side.get(aid, -1) for aid in aids]) for name, side in right.items()}
    ours = [name for name in sides if name.startswith("left")]
    theirs = [name for name in sides if name.startswith("right")]
    pairs = list(itertools.product(ours, theirs))
    assert len(pairs) > 1000
    scores = {pair: abs(z_score(sides[pair[0]], sides[pair[1]])) for pair in pairs}
    best = sorted(scores, key=scores.__getitem__)[-5:]
    assert scores[best[-1]] < LARGEST_Z, best[-1]
    assert max(right_matches(sides[a], sides[b]) for a, b in best) <= MOST_RIGHT
    # The attack works where the order is kept.
    kept = np.array([arrival.index(truth[pid]) for pid in pids], dtype=float)
    first = np.arange(len(pids), dtype=float)
    assert z_score(first, kept) > 40
    assert right_matches(first, kept) == len(pids)


def test_no_id_is_in_both_copies_and_no_canary_in_any(flow, tmp_path):
    urls, truth, _ = flow
    roles = {
        "identity": ["subject", "identity_row", "blind_index"],
        "broker": ["project", "domain", "member", "half", "urn", "superseded"],
        "attributes": ["a_project", "a_dataset", "a_subject", "a_key", "a_row", "a_batch", "a_half"],
    }
    octets = {}
    for role, tables in roles.items():
        rows = [row for found in dumped(urls[role], tables).values() for row in found]
        octets[role] = {value for row in rows for value in row.values() if isinstance(value, bytes)}
        text = repr(rows)
        assert not [canary for canary in CANARIES if canary in text]
    assert not octets["identity"] & octets["attributes"]
    assert not octets["identity"] & octets["broker"]  # the broker's pids are covered
    assert set(truth) <= octets["identity"]
    assert set(truth.values()) <= octets["attributes"] & octets["broker"]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        data = path.read_bytes()
        assert not [canary for canary in CANARIES if canary.encode() in data or canary in path.name], path
        if "identity" not in path.name:
            assert not [pid for pid in truth if pid in data or pid.hex().encode() in data], path
