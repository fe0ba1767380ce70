"""The vault, on every database: what is put in is found and opened, and nothing else is."""

from __future__ import annotations

import hmac
from datetime import date
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from pseudonym import columns, errors
from pseudonym.keks import KekRing
from pseudonym.openings import Mandate, Openings
from pseudonym.records import SCHEMA, Address, Former, Identity, Name
from pseudonym.storage import identity as db
from pseudonym.storage import open_store
from pseudonym.storage.schema_identity import BLIND_INDEX, IDENTITY_ROW, SUBJECT
from pseudonym.urn import Kind
from pseudonym.vault import State, Vault
from tests.pseudonym.storage import made_up
from tests.pseudonym.storage.made_up import MANDATE, Log, people, pid, vault


@pytest.fixture
def store(url):
    with open_store(url, "identity") as opened:
        yield opened


def payloads(opened: pl.DataFrame) -> list[bytes]:
    return columns.payloads(opened.select(SCHEMA.names()))


def one(identity: Identity) -> pl.DataFrame:
    return columns.frame_of([identity.to_bytes()])


def count(store, table) -> int:
    with store.read() as connection:
        found: int = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
        return found


def test_what_was_added_is_opened_again(store):
    here = vault(store)
    everyone = people(0, 300)
    pids = here.add(everyone, "council")
    assert len(set(pids)) == 300
    opened = here.open(pids[::-1], MANDATE)
    assert opened["pid"].to_list() == pids[::-1]
    assert payloads(opened) == columns.payloads(everyone)[::-1]
    assert set(opened["version"]) == {1}
    assert set(opened["source"]) == {"council"}
    assert set(opened["received_day"]) == {store.today()}
    assert here.add(people(0, 0), "council") == []
    assert here.open([], MANDATE).height == 0
    (family,) = here.add(people(0, 1), "council", kind=Kind.FAMILY)
    assert here.open([family], MANDATE).height == 1


def test_no_order_in_the_store_tells_the_order_of_the_file(store):
    here, everyone = vault(store), people(0, 40)
    pids = here.add(everyone, "council")
    place = "ctid" if store.backend == "postgresql" else "rowid"
    queries = [f"SELECT pid FROM identity_row ORDER BY {order}" for order in ("row_id", place)]
    with store.read() as connection:
        for query in queries:
            found = [bytes(row[0]) for row in connection.execute(sa.text(query))]
            assert sorted(found) == sorted(pids)
            assert found not in (pids, pids[::-1])
    here.revise(pids, everyone, "another council")
    with store.read() as connection:
        for query in queries:
            other = query.replace(" ORDER", " WHERE source = 'another council' ORDER")
            found = [bytes(row[0]) for row in connection.execute(sa.text(other))]
            assert len(found) == 40
            assert found not in (pids, pids[::-1])
    assert payloads(here.open(pids, MANDATE))[0] == columns.payloads(everyone)[0]


def test_ids_of_the_callers_own(store):
    here = vault(store)
    pids = [pid(n) for n in range(10)]
    assert here.add(people(0, 10), "council", pids=pids) == pids
    with pytest.raises(errors.DuplicateError):
        here.add(people(5, 10), "council", pids=[pid(n) for n in range(5, 15)])
    assert count(store, SUBJECT) == count(store, IDENTITY_ROW) == 10
    assert set(here.states([*pids, pid(12)])) == set(pids)
    for bad in ([], [b"short"], [pid(1), pid(2)]):
        with pytest.raises(errors.InputError):
            here.add(people(20, 1), "council", pids=bad)


def test_people_are_found_by_every_field(store):
    here = vault(store)
    pids = here.add(people(0, 2000), "council")
    found = here.find(people(100, 2), MANDATE)
    own = [(row, field) for row in (0, 1) for field in ("nhs", "postcode-dob", "surname-dob")]
    own += [(0, "upn"), (1, "nino")]
    by_number = found.filter(pl.col("pid").is_in([pids[100], pids[101]]))
    assert sorted(by_number.select("row", "field").rows()) == sorted(own)
    assert dict(by_number.select("row", "pid").unique().rows()) == {0: pids[100], 1: pids[101]}
    # Who else is found agrees by surname or postcode, and day of birth, as computed from the plain values.
    everyone = columns.found_by(people(0, 2000)).rename({"row": "person"})
    expected = columns.found_by(people(100, 2)).join(everyone, on=["field", "value"])
    assert sorted(found.select("row", "field", "pid").rows()) == sorted(
        (row, field, pids[person]) for row, field, person in expected.select("row", "field", "person").rows()
    )
    assert set(here.find(people(100, 2), MANDATE, fields=["nhs"])["field"]) == {"nhs"}
    assert here.find(people(5000, 3), MANDATE, fields=["nhs", "nino", "upn"]).height == 0
    assert here.find(people(0, 0), MANDATE).height == 0
    with pytest.raises(errors.InputError):
        here.find(people(0, 1), MANDATE, fields=["shoe-size"])


def test_candidates_that_share_a_tag_are_told_apart(store):
    here = vault(store, index=made_up.index(bits=4))  # sixteen tags for three hundred people
    pids = here.add(people(0, 300), "council")
    for number in (0, 17, 299):
        found = here.find(people(number, 1), MANDATE, fields=["nhs"])
        assert found["pid"].to_list() == [pids[number]]


def test_a_new_version_keeps_the_earlier_one(store):
    here = vault(store)
    pids = here.add(people(0, 50), "council")
    here.revise(pids[:20], people(0, 20, version=1), "council")
    opened = here.open(pids, MANDATE)
    assert opened.height == 50
    assert payloads(opened) == columns.payloads(people(0, 20, version=1)) + columns.payloads(people(20, 30))
    assert opened["version"].to_list() == [2] * 20 + [1] * 30
    history = here.open(pids[:1], MANDATE, history=True)
    assert history["version"].to_list() == [1, 2]
    assert len(set(history["row_id"])) == 1
    assert payloads(history) == columns.payloads(people(0, 1)) + columns.payloads(people(0, 1, version=1))
    # Found by what the newest version says, and no longer by what only the earlier one said.
    fields = ["surname-dob"]
    assert pids[0] in here.find(people(0, 1, version=1), MANDATE, fields=fields)["pid"].to_list()
    assert pids[0] not in here.find(people(0, 1), MANDATE, fields=fields)["pid"].to_list()


def test_another_source_has_a_row_of_its_own(store):
    here = vault(store)
    (who,) = here.add(people(0, 1), "council")
    here.revise([who], people(0, 1, version=3), "gp")
    here.revise([who], people(0, 1, version=4), "gp")
    opened = here.open([who], MANDATE)
    assert sorted(opened.select("source", "version").rows()) == [("council", 1), ("gp", 2)]
    for version in (0, 4):
        found = here.find(people(0, 1, version=version), MANDATE, fields=["surname-dob"])
        assert found["pid"].to_list() == [who]


def test_aliases_and_former_values_are_found(store):
    here = vault(store)
    ann = Identity(
        names=(Name("Ann", "Lee"),),
        aliases=(Name("Annie", "O'Hara"),),
        born=date(1990, 1, 31),
        addresses=(Address("1 Mill Lane", "BN3 1AB"),),
        nhs="9434765919",
        former=(
            Former("surname", "Brown", None, date(2015, 1, 1)),
            Former("nhs", "4010232137"),
            Former("postcode", "CB3 0AP"),
        ),
    )
    (who,) = here.add(one(ann), "council")
    searches: tuple[dict[str, Any], ...] = (
        {"names": (Name("", "OHARA"),), "born": ann.born},
        {"names": (Name("", "brown"),), "born": ann.born},
        {"addresses": (Address("", "cb30ap"),), "born": ann.born},
        {"nhs": "401 023 2137"},
    )
    for parts in searches:
        assert here.find(one(Identity(**parts)), MANDATE)["pid"].to_list() == [who]
    for other in (Identity(names=ann.names, born=date(1990, 1, 30)), Identity(names=ann.names)):
        assert here.find(one(other), MANDATE).height == 0


def test_states_decide_who_is_opened(store):
    here = vault(store)
    pids = here.add(people(0, 3), "council")
    here.set_state(pids[:1], State.RESTRICTED)
    here.set_state(pids[1:2], State.OBJECTED)
    assert list(here.states(pids).values()).count(State.ACTIVE) == 1
    with pytest.raises(errors.SubjectMissingError, match="2 of 3"):
        here.open(pids, MANDATE)
    everyone = frozenset(State) - {State.ERASED}
    assert here.open(pids, MANDATE, states=everyone).height == 3
    assert here.find(people(0, 3), MANDATE, fields=["nhs"])["pid"].to_list() == [pids[2]]
    assert here.find(people(0, 3), MANDATE, fields=["nhs"], states=everyone).height == 3
    here.revise(pids[:1], people(0, 1, version=1), "council")  # what is restricted may still be put right
    assert here.states(pids)[pids[0]] is State.RESTRICTED
    here.set_state(pids[:2], State.ACTIVE)
    assert here.open(pids, MANDATE).height == 3
    with pytest.raises(errors.InputError):
        here.set_state(pids, State.ERASED)
    with pytest.raises(errors.SubjectMissingError):
        here.set_state([pid(99)], State.RESTRICTED)
    with pytest.raises(errors.InputError):
        here.open([pids[0], pids[0]], MANDATE)


def test_a_successor_is_noted_and_taken_back(store):
    here = vault(store)
    first, second = here.add(people(0, 2), "council")
    here.supersede(first, second)
    with store.read() as connection:
        query = sa.select(SUBJECT.c.superseded_by).where(SUBJECT.c.pid == first)
        assert connection.execute(query).scalar_one() == second
    assert here.open([first, second], MANDATE).height == 2
    here.supersede(first, None)
    with pytest.raises(errors.SubjectMissingError):
        here.supersede(first, pid(9))


def test_what_the_log_calls_a_person_is_theirs_alone_stays_and_dies_with_them(store):
    here = vault(store)
    pids = here.add(people(0, 4), "council")
    with store.read() as connection:
        wrapped = {row.pid: row.wrapped for row in db.keys(store, connection, pids)}
    dek = made_up.kek(1).unwrap(wrapped[pids[0]], pids[0])
    key = hmac.digest(dek, b"\0\x01\0\0\0\x0faudit-subject/1\x01", "sha256")
    message = b"\0\x02\0\0\0\x0faudit-subject/1\0\0\0\x10" + pids[0]
    found = here.references(pids)
    assert found[0] == hmac.digest(key, message, "sha256")
    assert len(set(found)) == 4
    later = vault(store, month=2, older=(1,))
    assert later.rewrap() == 0
    later.revise(pids[:1], people(9, 1), "council")
    assert later.references(pids) == found
    later.erase(pids[:1])
    assert later.references(pids) == found[1:]
    assert later.references([*pids, *map(pid, range(97))]) == []  # many are counted, not named


def test_every_opening_is_audited_first(store):
    log = Log()
    here = vault(store, log=log)
    pids = here.add(people(0, 30), "council")
    assert not log
    here.open(pids[:3], MANDATE)
    here.find(people(0, 1), MANDATE, fields=["nhs"])
    here.find(people(900, 2), MANDATE, fields=["nhs"])
    assert [(entry.action, entry.mandate, entry.count) for entry in log] == [
        ("open", MANDATE, 3),
        ("find", MANDATE, max(1, len(log[1].subjects))),
        ("find", MANDATE, max(2, len(log[2].subjects))),
    ]
    assert log[0].subjects == tuple(here.references(pids[:3]))
    assert log[0].subjects[0] in log[1].subjects
    assert pids[0].hex() not in repr(log)

    class FullDisk(Log):
        def __call__(self, opening):
            raise OSError("no space left")

    there = vault(store, log=FullDisk())
    with pytest.raises(OSError, match="no space"):
        there.open(pids[:1], MANDATE)
    with pytest.raises(OSError, match="no space"):
        there.find(people(0, 1), MANDATE)


def test_purposes_and_quotas(url):
    now = [1_700_000_000.0]
    with open_store(url, "identity", clock=lambda: now[0]) as store:
        log = Log()
        here = vault(store, log=log)
        pids = here.add(people(0, 10), "council")
        rights = Mandate("bob", "access", "tf-2026")
        here.open(pids[:2], rights)
        with pytest.raises(errors.QuotaError):
            here.open(pids[:2], rights)
        here.open(pids[:1], rights)
        again = vault(store, log=log)  # the count outlives the process
        with pytest.raises(errors.QuotaError):
            again.open(pids[:1], rights)
        with pytest.raises(errors.QuotaError):
            again.find(people(900, 1), rights)
        now[0] += 86_400
        again.open(pids[:3], rights)
        for call in (
            lambda: here.open(pids[:1], Mandate("bob", "curiosity", "tf-2026")),
            lambda: here.find(people(0, 1), Mandate("bob", "curiosity", "tf-2026")),
        ):
            with pytest.raises(errors.PurposeError):
                call()
        assert [entry.count for entry in log] == [2, 1, 3]
    for missing in (("", "access", "p"), ("bob", "", "p"), ("bob", "access", "")):
        with pytest.raises(errors.InputError):
            Mandate(*missing)


def test_rewrapping_in_batches(store):
    pids = vault(store, month=1).add(people(0, 95), "council")
    assert vault(store, month=2, older=(1,)).add(people(95, 5), "council")
    here = vault(store, month=3, older=(1, 2))
    assert here.wrapped_under() == {made_up.kek(1).kid: 95, made_up.kek(2).kid: 5}
    left = [here.rewrap(30) for _ in range(2)]
    assert left == [70, 40]
    there = vault(store, month=3, older=(1, 2))  # another process goes on
    while there.rewrap(30):
        pass
    assert there.wrapped_under() == {made_up.kek(3).kid: 100}
    assert there.rewrap(30) == here.rewrap(30) == 0
    # The older keys may be destroyed now, and open nothing any more.
    assert vault(store, month=3).open(pids, MANDATE).height == 95
    with pytest.raises(errors.KeyMissingError):
        vault(store, month=1).open(pids[:1], MANDATE)


def test_rewrapping_needs_the_older_keys_and_takes_no_other(store):
    vault(store, month=1).add(people(0, 5), "council")
    with pytest.raises(errors.KeyMissingError):
        vault(store, month=2).rewrap()
    wrong = Vault(
        store,
        keks=KekRing(made_up.kek(2), (type(made_up.kek(1))(made_up.kek(1).kid, bytes(32)),)),
        index=made_up.index(),
        openings=Openings(store, Log(), {}),
    )
    with pytest.raises(errors.SealBrokenError):
        wrong.rewrap()
    assert vault(store, month=1).wrapped_under() == {made_up.kek(1).kid: 5}


def test_who_gave_way_is_found_without_reading_every_person(store):
    here = vault(store)
    pids = here.add(people(0, 6), "council")
    here.supersede(pids[0], pids[1])
    here.supersede(pids[1], pids[2])
    said: list[tuple[str, Any]] = []

    def note(connection, cursor, statement, parameters, context, executemany):
        said.append((statement, parameters))

    sa.event.listen(store._engine, "before_cursor_execute", note)
    assert here.all_ids(pids[2:3]) == sorted(pids[:3])
    sa.event.remove(store._engine, "before_cursor_execute", note)
    back = [one for one in said if "superseded_by" in one[0].partition("WHERE")[2]]
    assert back
    with store.read() as connection:
        if store.backend == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # of six rows it would read all
        explain = "EXPLAIN QUERY PLAN " if store.backend == "sqlite" else "EXPLAIN "
        for statement, parameters in back:
            plan = str(connection.exec_driver_sql(explain + statement, parameters).all())
            assert "ix_subject_superseded_by" in plan


def test_erasure_leaves_an_id_and_nothing_else(store):
    here = vault(store)
    pids = here.add(people(0, 20), "council")
    here.revise(pids[:5], people(0, 5, version=1), "gp")
    here.supersede(pids[6], pids[7])
    gone = [pids[0], pids[6], pids[7]]
    assert here.erase([*gone, pid(999)]) == 3
    assert count(store, SUBJECT) == 20
    with store.read() as connection:
        query = sa.select(sa.func.count()).where(IDENTITY_ROW.c.pid.in_(gone))
        assert connection.execute(query).scalar_one() == 0
        orphans = sa.select(BLIND_INDEX).where(BLIND_INDEX.c.row_id.not_in(sa.select(IDENTITY_ROW.c.row_id)))
        assert connection.execute(orphans).all() == []
        rest = connection.execute(sa.select(SUBJECT).where(SUBJECT.c.pid.in_(gone))).all()
        left = {(row.state, row.seal, row.superseded_by, row.kid, row.wrapped) for row in rest}
        assert left == {("erased", None, None, None, None)}
    assert set(here.states(gone).values()) == {State.ERASED}
    found = here.find(people(0, 20), MANDATE, fields=["nhs"])
    assert set(found["pid"]) == set(pids) - set(gone)
    for call in (
        lambda: here.open(gone[:1], MANDATE, states=frozenset(State)),
        lambda: here.revise(gone[:1], people(0, 1), "council"),
        lambda: here.set_state(gone[:1], State.ACTIVE),
    ):
        with pytest.raises((errors.SubjectMissingError, errors.SealBrokenError)):
            call()
    with pytest.raises(errors.DuplicateError):
        here.add(people(0, 1), "council", pids=gone[:1])
    assert here.erase(gone) == 3  # replayed after a restore, for instance
    assert here.open([who for who in pids if who not in gone], MANDATE).height == 17 + 4


def test_another_index_key_is_refused(store):
    vault(store)
    for other in (made_up.index(root=2), made_up.index(bits=13)):
        with pytest.raises(errors.StoreError, match="another key"):
            vault(store, index=other)
    vault(store, index=made_up.index(epoch=2))


def tampered(store, statement):
    with store.transaction() as connection:
        assert connection.execute(statement).rowcount > 0


@pytest.mark.parametrize(
    "attack",
    [
        "row of another person",
        "rows exchanged",
        "older content under the newer version",
        "newer version taken away",
        "older version taken away",
        "row taken away",
        "version relabelled",
        "source relabelled",
        "state set free",
        "key of another person",
        "subject and key rolled back",
        "kind relabelled",
        "seal taken away",
        "key taken away",
    ],
)
def test_what_the_database_administrator_changes_is_noticed(store, attack):
    here = vault(store)
    first, second = here.add(people(0, 2), "council")
    here.set_state([second], State.RESTRICTED)
    with store.read() as connection:
        before = {row.pid: row for row in connection.execute(sa.select(SUBJECT))}
    here.revise([first], people(0, 1, version=1), "council")
    with store.read() as connection:
        rows = {(row.pid, row.version): row for row in connection.execute(sa.select(IDENTITY_ROW))}
    old, new, other = rows[first, 1], rows[first, 2], rows[second, 1]
    of_new = sa.and_(IDENTITY_ROW.c.row_id == new.row_id, IDENTITY_ROW.c.version == 2)
    of_old = sa.and_(IDENTITY_ROW.c.row_id == old.row_id, IDENTITY_ROW.c.version == 1)
    of_other = IDENTITY_ROW.c.row_id == other.row_id
    change, take = sa.update(IDENTITY_ROW), sa.delete(IDENTITY_ROW)
    subject = sa.update(SUBJECT).where(SUBJECT.c.pid == first)
    states = frozenset(State)
    victim = first
    if attack == "row of another person":
        tampered(store, change.where(of_new).values(ct=other.ct))
    elif attack == "rows exchanged":
        tampered(store, change.where(of_old).values(pid=second))
        tampered(store, change.where(of_other).values(pid=first))
    elif attack == "older content under the newer version":
        tampered(store, change.where(of_new).values(ct=old.ct))
    elif attack == "newer version taken away":
        tampered(store, take.where(of_new))
    elif attack == "older version taken away":
        tampered(store, take.where(of_old))
    elif attack == "row taken away":
        tampered(store, take.where(IDENTITY_ROW.c.pid == first))
    elif attack == "version relabelled":
        tampered(store, take.where(of_new))
        tampered(store, change.where(of_old).values(version=2))
    elif attack == "source relabelled":
        tampered(store, change.where(of_new).values(source="gp"))
    elif attack == "state set free":
        victim = second
        tampered(store, sa.update(SUBJECT).where(SUBJECT.c.pid == second).values(state="active"))
    elif attack == "key of another person":
        tampered(store, subject.values(wrapped=before[second].wrapped))
    elif attack == "subject and key rolled back":
        tampered(store, subject.values(version=before[first].version, seal=before[first].seal))
    elif attack == "kind relabelled":
        tampered(store, subject.values(kind="family"))
    elif attack == "seal taken away":
        tampered(store, subject.values(seal=None))
    elif attack == "key taken away":
        tampered(store, subject.values(kid=None, wrapped=None))
    with pytest.raises(errors.SealBrokenError):
        here.open([victim], MANDATE, states=states)
    if attack != "row taken away":
        with pytest.raises(errors.SealBrokenError):
            here.find(
                people(0 if victim == first else 1, 1, version=0), MANDATE, states=states, fields=["nhs"]
            )
    if attack not in ("row of another person", "older content under the newer version"):
        with pytest.raises(errors.SealBrokenError):  # content is looked at when it is opened only
            here.revise([victim], people(0, 1, version=2), "council")
