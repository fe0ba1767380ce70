"""The dumps of all three databases, joined without keys, link nobody above chance; and what stays does.

Every feature of a person in one database (place in the table, page and line on disk, transaction, ids,
ciphertexts, seals, sizes, days, numbers of rows) is held against every feature in another, within each batch
of the file: with Spearman's rank correlation, whose sum over the batches is by chance a standard normal
number. The largest of some 3,000 must stay below 6.5; by chance a run exceeds that once in four million.

Which batch somebody came with is told apart: see `test_what_stays_is_which_batch_people_came_with`.
"""

from __future__ import annotations

from itertools import compress

import numpy as np
import polars as pl
import pytest
from scipy.stats import rankdata

from deploy.truth import unit_key
from pseudonym.roles.callers import Role
from pseudonym.storage import open_store
from pseudonym.storage.rows_attributes import AttributeRows
from pseudonym.storage.rows_broker import BrokerRows
from pseudonym.urn import Kind
from tests.pseudonym.separation.parts import attributes, column, declared, ids, values
from tests.pseudonym.separation.test_dumps import features, z_score
from tests.pseudonym.storage import made_up
from tests.pseudonym.threats.scene import BATCHES, PROJECT, RECIPIENTS, ROWS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LARGEST = 6.5
# Where a row lies and which transaction wrote it, as a copy of the server's files shows them.
PLACES = (
    "(ctid::text::point)[0]::int AS page, (ctid::text::point)[1]::int AS line, xmin::text::bigint AS xmin"
)
TABLES = {
    Role.IDENTITY: {"subject": "pid", "identity_row": "pid"},
    Role.BROKER: {"member": "aid"},
    Role.ATTRIBUTES: {"a_subject": "aid", "a_key": "aid", "a_row": "aid"},
}


def looked_at(attacked, role, database=None):
    """What a dump of a role's database says of each person, with where on disk it says so."""
    found: dict[str, dict[bytes, float]] = {}
    for table, key in TABLES[role].items():
        rows = attacked.cluster.rows(database or role, f"SELECT *, {PLACES} FROM {table} ORDER BY ctid")
        found |= features({f"{role} {table}": rows}, key)
    return found


@pytest.fixture(scope="module")
def truth(attacked):
    """Whose aid is whose pid, and the number of the batch in which each pid came; of all with one row."""
    key = unit_key(attacked.folder / Role.IDENTITY / Role.IDENTITY)
    came = {
        unit: batch for batch, refs in enumerate(attacked.refs) for unit in key.records(PROJECT, refs[ROWS:])
    }
    found = attacked.rows(Role.IDENTITY, "SELECT row_id, pid FROM identity_row")
    assert {row["row_id"] for row in found} == came.keys()
    rows = [row["pid"] for row in found]
    # How many rows people have is no secret: see `test_what_stays_is_how_many_rows_people_have`.
    single = [rows.count(pid) == 1 for pid in rows]
    assert sum(single) > 0.9 * len(rows)
    pids = list(compress(rows, single))
    batches = np.array([came[row["row_id"]] for row in found])[single]
    aids = attacked.keyset(Role.BROKER).aid_key(PROJECT).aids(1, Kind.PERSON, pids)
    return pids, aids, batches


def columns(found, keys):
    return {name: np.array([side.get(key, -1.0) for key in keys]) for name, side in found.items()}


def scores(one, other, batches):
    """The correlations of all features of two sides within batches, as normal numbers."""
    found = np.zeros((len(one), len(other)))
    for batch in range(BATCHES):
        sides = []
        for side in (one, other):
            ranks = rankdata(np.array(list(side.values()))[:, batches == batch], axis=1)
            spread = ranks.std(axis=1, keepdims=True)
            sides.append((ranks - ranks.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, np.inf))
        count = sides[0].shape[1]
        found += sides[0] @ sides[1].T / count * np.sqrt(count - 1)
    return np.abs(found) / np.sqrt(BATCHES)


def test_all_three_dumps_without_keys_link_nobody(attacked, truth):
    pids, aids, batches = truth
    identity = columns(looked_at(attacked, Role.IDENTITY), pids)
    tags = attacked.rows(
        Role.IDENTITY,
        "SELECT r.pid, b.entry % 4294967296 AS tag, b.row_id"
        " FROM blind_index b JOIN identity_row r USING (row_id) ORDER BY b.ctid",
    )
    identity |= columns(features({"blind_index": tags}, "pid"), pids)
    others = columns(looked_at(attacked, Role.BROKER), aids) | columns(
        looked_at(attacked, Role.ATTRIBUTES), aids
    )
    numbers: dict[str, np.ndarray] = {}
    for recipient in RECIPIENTS:
        words = [attacked.urns[recipient][aid] for aid in aids]
        query = (
            f"SELECT word, cover, {PLACES} FROM urn WHERE domain = "
            f"(SELECT number FROM domain WHERE recipient = '{recipient}') ORDER BY ctid"
        )
        found = features({f"urn of {recipient}": attacked.rows(Role.BROKER, query)}, "word")
        order = {word: float(place) for place, word in enumerate(sorted(words))}
        numbers |= columns(found | {f"number of {recipient}": order}, words)
    tried = 0
    for one, other in ((identity, others), (identity, numbers), (others, numbers)):
        found = scores(one, other, batches)
        place, column = np.unravel_index(found.argmax(), found.shape)
        assert found.max() < LARGEST, (list(one)[place], list(other)[column])
        tried += found.size
    assert tried > 1_500
    # The attack works where an order is kept: the identity rows lie as they came.
    came = {"arrival": np.arange(len(pids), dtype=float)}
    assert scores(came, {"": identity["identity identity_row: place"]}, batches).max() > 25


def test_what_stays_is_which_batch_people_came_with(attacked, truth):
    """PostgreSQL keeps batches apart, by place until the tables are scattered and by transaction always."""
    pids, aids, _ = truth
    came = columns(looked_at(attacked, Role.IDENTITY), pids)["identity identity_row: place"]

    def seen(role, table, database=None):
        side = columns(looked_at(attacked, role, database), aids)
        return tuple(abs(z_score(came, side[f"{role} {table}{name}"])) for name in (": place", ".xmin"))

    for role, table, rows in (
        (Role.BROKER, "member", BrokerRows),
        (Role.ATTRIBUTES, "a_subject", AttributeRows),
    ):
        assert min(seen(role, table)) > 10
        copy = f"copy_of_{role}"
        with attacked.cluster.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {copy} TEMPLATE {role}")
        address = attacked.cluster.url(role, "postgres", copy)
        with open_store(address, role) as store:
            rows(store).scatter()
        place, transaction = seen(role, table, copy)
        assert place < LARGEST
        assert transaction > 10


def test_what_stays_is_how_many_rows_people_have(tmp_path):
    """Somebody with seven rows of identity may be the one with seven rows of attributes."""
    people = 12
    aids = ids(people)
    with open_store(f"sqlite:///{tmp_path / 'identity.db'}", "identity") as store:
        vault = made_up.vault(store)
        pids = vault.add(made_up.people(0, people), "council")
        for number in range(1, people):
            vault.revise(
                pids[number:], made_up.people(number, people - number, version=number % 10), "council"
            )
        with store.read() as at:
            held = at.exec_driver_sql("SELECT pid, count(*) AS n FROM identity_row GROUP BY pid").all()
    with attributes(f"sqlite:///{tmp_path / 'attributes.db'}", tmp_path) as role:
        declared(role)
        mine = [aid for number, aid in enumerate(aids) for _ in range(number + 1)]
        role.intake.add(PROJECT, "ks2", "b", values(len(mine)).with_columns(column(aid=mine)))
        with role._rows.read() as at:
            attached = at.exec_driver_sql("SELECT aid, count(*) AS n FROM a_row GROUP BY aid").all()
    left, right = (pl.DataFrame(rows, schema=["id", "n"], orient="row") for rows in (held, attached))
    joined = left.join(right, on="n")
    assert dict(joined.select("id", "id_right").rows()) == dict(zip(pids, aids, strict=True))
