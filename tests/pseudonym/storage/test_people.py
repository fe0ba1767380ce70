"""Persons in the vault, on every database: delivered, decided on, erased; and what can be seen of it."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from pseudonym import forms, persons
from pseudonym.errors import (
    ConflictError,
    InputError,
    LinkError,
    ProtectedError,
    QuotaError,
    StoreVersionError,
)
from pseudonym.openings import Mandate
from pseudonym.people import Delivery, People
from pseudonym.storage import migrate, open_store
from pseudonym.storage.schema import METADATA, Role
from pseudonym.storage.schema_identity import (
    BLIND_INDEX,
    IDENTITY_ROW,
    OUTBOX,
    REGISTER_EVENT,
    REGISTER_HEAD,
    REGISTER_PART,
    REGISTER_PLACE,
    SUBJECT,
)
from pseudonym.urn import Kind
from pseudonym.vault import State
from tests.pseudonym.histories import links, stamp, unit
from tests.pseudonym.storage import made_up
from tests.pseudonym.storage.delivered import (
    check,
    delivery,
    identities,
    pids,
    replayed,
    rows_of,
    series,
)
from tests.pseudonym.storage.made_up import MANDATE, Log, vault
from tests.pseudonym.storage.older import make_older


@pytest.fixture
def store(url):
    with open_store(url, "identity") as opened:
        yield opened


@pytest.fixture
def people(store):
    return People(vault(store))


def everything(store):
    return {
        name: sorted(map(repr, rows_of(store, table)))
        for name, table in METADATA[Role.IDENTITY].tables.items()
        if name not in ("store", "opening")
    }


def subject(store, pid):
    (row,) = [row for row in rows_of(store, SUBJECT) if row.pid == pid]
    return row


def test_records_come_under_persons_and_families(store, people):
    given = delivery([11, 12, 21, 31], [(11, 12, 9)], families={11: 901, 21: 901, 31: 902})
    outcome = people.deliver(given, stamp())
    assert (outcome.person, outcome.family) == (1, 1)
    assert (outcome.new, outcome.joined, outcome.refused) == (3, 0, 0)
    pid = dict(outcome.members.select("unit", "pid").iter_rows())
    fid = dict(outcome.members.select("unit", "fid").iter_rows())
    assert pid[unit(11)] == pid[unit(12)]
    assert len(set(pid.values())) == 3
    assert fid[unit(11)] == fid[unit(21)] != fid[unit(31)]
    assert fid[unit(12)] is None
    kinds = sorted(row.kind for row in rows_of(store, SUBJECT))
    assert kinds == ["family"] * 2 + ["person"] * 3
    opened = vault(store).open([pid[unit(11)]], MANDATE)
    assert sorted(opened["row_id"]) == [unit(11), unit(12)]
    assert set(opened["version"]) == {1}
    check(store, people)


def placed(store, source):
    """The ids of the rows of a source, as they lie in the table."""
    place = "ctid" if store.backend == "postgresql" else "rowid"
    query = f"SELECT row_id FROM identity_row WHERE source = :source ORDER BY {place}"
    with store.read() as at:
        return [bytes(row[0]) for row in at.execute(sa.text(query), {"source": source})]


@pytest.mark.parametrize("at_a_time", [3, 2048])
def test_no_order_in_the_store_tells_the_order_of_a_delivery(store, people, at_a_time, monkeypatch):
    monkeypatch.setattr(forms, "_SOME", at_a_time)
    chance = random.Random(7)
    first, second = [*range(0, 400, 10)], [*range(5, 405, 10)]
    chance.shuffle(first)
    chance.shuffle(second)
    twice = [(n, n + 10, 9) for n in range(0, 200, 40)]  # people of two records, which do not lie together
    people.deliver(delivery(first, twice, families={n: 9000 + n for n in first}), stamp())
    if store.backend == "postgresql":
        with store.read() as at:
            tags = at.execute(sa.text("SELECT tag FROM register_place ORDER BY ctid")).scalars().all()
        runs = 1 + sum(bytes(one) > bytes(other) for one, other in pairwise(tags))
        assert runs == 2  # of persons, and of families
    linked = [(n - 5, n, 9) for n in second if n < 205]
    people.deliver(delivery(second, linked, source="another council"), stamp(1))
    for given, source in ((first, "council"), (second, "another council")):
        assert placed(store, source) == sorted(unit(n) for n in given)
    check(store, people)


def test_no_order_in_the_store_tells_who_was_divided_from_whom(store, people):
    numbers = [*range(0, 400, 10), *range(5, 405, 10)]
    people.deliver(delivery(numbers, [(n, n + 5, 9) for n in range(0, 400, 10)]), stamp())
    for n in range(0, 400, 80):
        (pid,) = pids(people, n)
        people.protect(pid, stamp(1), series(n + 5), purge=False)
    assert placed(store, "council") != sorted(placed(store, "council"))
    people.protect(*pids(people, 10), stamp(2))
    assert placed(store, "council") == sorted(placed(store, "council"))
    # Who is divided behind a fence that is there already is told of in no order either.
    (pid,) = pids(people, 10)
    people.split(pid, pl.DataFrame({"unit": series(10, 15), "part": [0, 1]}), stamp(3))
    assert placed(store, "council") == sorted(placed(store, "council"))
    check(store, people)


def test_the_same_delivery_again_changes_nothing(store, people):
    given = delivery([11, 21, 31], [(11, 21, 9), (21, 31, 9)], {31}, {11: 901, 31: 902}, [(901, 902, 9)])
    first = people.deliver(given, stamp())
    assert first.refused == 2
    before = everything(store)
    again = people.deliver(given, stamp(1))
    assert (again.person, again.family, again.new, again.joined) == (None, None, 0, 0)
    assert again.members.sort("unit").equals(first.members.sort("unit"))
    assert again.moved.is_empty()
    assert everything(store) == before


def test_a_later_delivery_joins_and_merges(store, people):
    people.deliver(delivery([11]), stamp())
    people.deliver(delivery([21, 31], [(21, 31, 9)]), stamp(1))
    one, other = pids(people, 11, 21)
    third = people.deliver(delivery([41, 42, 51], [(41, 11, 9), (41, 21, 7), (42, 41, 5)]), stamp(2))
    assert (third.new, third.joined) == (1, 2)
    assert pids(people, 11, 21, 31, 41, 42) == [one] * 5
    moved = {(row["unit"], row["before"]): row["after"] for row in third.moved.to_dicts()}
    assert moved[unit(21), other] == moved[unit(31), other] == one
    assert subject(store, other).superseded_by == one
    assert vault(store).open([other], MANDATE).is_empty()
    found = vault(store).find(identities([31]), MANDATE, fields=["nhs"])
    assert set(found["pid"]) == {one}
    check(store, people)


def test_a_split_undoes_a_merge_and_leads_nowhere_else(store, people):
    people.deliver(delivery([11, 21]), stamp())
    one, other = pids(people, 11, 21)
    people.merge(one, other, stamp(1))
    kept = next(iter(set(pids(people, 11, 21))))
    lost = ({one, other} - {kept}).pop()
    assert subject(store, lost).superseded_by == kept
    parts = pl.DataFrame({"unit": [unit(11), unit(21)], "part": [1, 2]})
    outcome = people.split(kept, parts, stamp(2))
    assert outcome.new == 0
    assert pids(people, 11, 21) == [one, other]
    assert subject(store, lost).superseded_by is None
    check(store, people)
    with pytest.raises(LinkError, match="no such person"):
        people.merge(one, bytes(16), stamp(3))
    people.merge(one, other, stamp(3))
    people.withdraw(links([(11, 21, 0)]), stamp(4))
    assert pids(people, 11, 21) == [one, other]
    check(store, people)


def test_every_version_of_a_row_moves_and_a_restriction_stays(store, people):
    people.deliver(delivery([11, 21]), stamp())
    one, other = pids(people, 11, 21)
    here = vault(store)
    here.revise([other], made_up.people(2, 1, version=1), "council")
    here.set_state([other], State.RESTRICTED)
    people.merge(one, other, stamp(1))
    (kept,) = set(pids(people, 11, 21))
    assert here.states([kept]) == {kept: State.RESTRICTED}
    opened = here.open([kept], MANDATE, states=[State.RESTRICTED], history=True)
    assert sorted(zip(opened["row_id"], opened["version"], strict=True)) == [
        (unit(11), 1),
        (unit(21), 1),
        (unit(21), 2),
    ]
    (nothing,) = here.find(identities([21]), MANDATE, fields=["surname-dob"])["pid"].to_list() or [None]
    assert nothing is None
    sought = made_up.people(2, 1, version=1)
    assert set(here.find(sought, MANDATE, states=[State.RESTRICTED])["pid"]) == {kept}
    # A row of its own again, all its versions with it.
    parts = pl.DataFrame({"unit": [unit(11), unit(21)], "part": [1, 2]})
    people.split(kept, parts, stamp(2))
    (of,) = pids(people, 21)
    assert here.open([of], MANDATE, states=[State.RESTRICTED], history=True)["version"].to_list() == [1, 2]


def test_what_does_not_fit_is_refused_before_anything_changes(store, people):
    people.deliver(delivery([11, 21]), stamp())
    before = everything(store)
    good = delivery([31], families={31: 901})
    wrong = [
        (delivery([31], [(31, 99, 5)]), LinkError),
        (delivery([31, 31]), LinkError),
        (delivery([31], [(31, 11, float("inf"))]), LinkError),
        (delivery([11], protected={11}), LinkError),
        (delivery([31], families={31: 901}, family_rows=[(901, 777, 3)]), LinkError),
        (delivery([31], families={41: 901}), InputError),
        (delivery([31], source=""), InputError),
    ]
    for field, frame in (
        ("records", good.records.with_columns(unit=pl.lit(b"short", pl.Binary))),
        ("records", good.records.drop("protected")),
        ("records", good.records.with_columns(shoe=pl.lit(1))),
        ("records", good.records.with_columns(nhs=pl.lit("a\x01b"))),
        ("families", pl.concat([good.families, good.families])),
        ("links", pl.DataFrame({"left": ["a"], "right": ["b"], "weight": [1.0]})),
    ):
        changed: dict[str, Any] = {field: frame}
        wrong.append((replace(good, **changed), InputError))
    for given, error in wrong:
        with pytest.raises(error):
            people.deliver(given, stamp(1))
    assert everything(store) == before
    assert "31" not in repr(good)


def test_an_event_that_is_not_the_next_is_refused(store, people):
    people.deliver(delivery([11, 21]), stamp())
    register = people._tools.register
    with store.read() as at:
        seen = register.seen(at, Kind.PERSON, series(11, 21))
    one, other = pids(people, 11, 21)
    late = persons.merge(seen.state, one, other, stamp(1))
    people.deliver(delivery([31]), stamp(1))
    before = everything(store)

    def append(event):
        with store.transaction() as at:
            register.lock(at)
            register.append(at, Kind.PERSON, event, seen)

    with pytest.raises(ConflictError, match="meanwhile"):
        append(late)
    with store.read() as at:
        fresh = register.seen(at, Kind.PERSON, series(11, 21))
    early = persons.merge(fresh.state, one, other, stamp(1))
    with pytest.raises(ConflictError, match="meanwhile"):
        append(early)
    assert everything(store) == before


def test_nobody_sees_which_records_are_alone(store, people):
    links = [(11, 12, 9), (12, 13, 9)]
    people.deliver(delivery([11, 12, 13, 21, 22], links, families={11: 901, 21: 902}), stamp())
    people.merge(*pids(people, 21, 22), stamp(1))
    people.split(pids(people, 11)[0], parts_of({11: 1, 12: 2, 13: 2}), stamp(2))
    people.remove(series(22), stamp(3))
    # Records that are alone, in a part with others, gone, and families: one length of them all.
    assert {len(row.ct) for row in rows_of(store, REGISTER_PLACE)} == {1 + 12 + 64 + 16}
    assert len(rows_of(store, REGISTER_PLACE)) == 5 + 2 * 2
    assert len(rows_of(store, REGISTER_PART)) == 1
    check(store, people)


def parts_of(parts):
    return pl.DataFrame({"unit": [unit(n) for n in parts], "part": list(parts.values())})


def tags_of(store, row_ids):
    return {row.entry for row in rows_of(store, BLIND_INDEX) if row.row_id in row_ids}


def test_a_part_that_is_protected_cannot_be_bridged_by_what_is_in_the_clear(store, people):
    # Two identities of one person: the same number, names, and day of birth in all four records.
    given = delivery(
        [11, 12, 13, 14], [(11, 12, 9), (12, 13, 9), (13, 14, 9)], families=dict.fromkeys((11, 13), 901)
    )
    people.deliver(given, stamp())
    (old,) = set(pids(people, 11, 12, 13, 14))
    then = {row.row_id: tags_of(store, {row.row_id}) for row in rows_of(store, IDENTITY_ROW)}
    outcome = people.protect(old, stamp(1), series(13, 14))
    former, new = pids(people, 11, 13)
    assert len({old, former, new}) == 3
    assert pids(people, 12, 14) == [former, new]
    assert people.members(series(13, 14))["fid"].to_list() == [None, None]
    assert outcome.moved["hidden"].all()
    rows = {pid: [row for row in rows_of(store, IDENTITY_ROW) if row.pid == pid] for pid in (former, new)}
    ids = {pid: {row.row_id for row in theirs} for pid, theirs in rows.items()}
    # Neither an older copy nor the index leads from the one to the other.
    assert not (ids[former] | ids[new]) & set(then)
    assert tags_of(store, ids[former]) == set().union(*then.values())
    assert tags_of(store, ids[new])
    assert not tags_of(store, ids[new]) & tags_of(store, ids[former])
    assert subject(store, old).superseded_by is None
    assert {subject(store, pid).version for pid in (former, new)} == {1}
    # … and nothing in the tables of the register is in another of its rows.
    for table in (REGISTER_PLACE, REGISTER_PART, REGISTER_EVENT, REGISTER_HEAD, OUTBOX):
        octets = b"".join(
            bytes(value) for row in rows_of(store, table) for value in row if isinstance(value, bytes)
        )
        for known in (old, former, new, *ids[former], *ids[new], *(unit(n) for n in (11, 12, 13, 14, 901))):
            assert known not in octets
    # Those who may, find both.
    found = vault(store).find(identities([11]), MANDATE, fields=["nhs"])
    assert set(found["pid"]) == {former, new}
    known = pl.concat(list(people.known(MANDATE)))
    assert dict(known.select("unit", "protected").iter_rows()) == {
        unit(11): False,
        unit(12): False,
        unit(13): True,
        unit(14): True,
    }
    assert dict(known.select("unit", "pid").iter_rows())[unit(13)] == new
    check(store, people)
    # A late record that is linked to both joins only the former one; a number that is corrected stays apart.
    late = people.deliver(delivery([15], [(15, 11, 9), (15, 13, 30)]), stamp(2))
    assert late.refused == 1
    assert pids(people, 15) == [former]
    vault(store).revise([new], made_up.people(1, 1), "school")
    mine = {row.row_id for row in rows_of(store, IDENTITY_ROW) if row.pid == new}
    assert len(mine) == 3
    assert not tags_of(store, mine) & tags_of(store, ids[former] | {unit(15)})


def test_a_part_of_a_protected_person_is_protected_again(store, people):
    people.deliver(delivery([11, 12], [(11, 12, 9)]), stamp())
    (pid,) = set(pids(people, 11, 12))
    people.protect(pid, stamp(1))
    assert pids(people, 11, 12) == [pid, pid]
    people.protect(pid, stamp(2), series(12))
    one, other = pids(people, 11, 12)
    assert len({pid, one, other}) == 3
    ids = {
        who: {row.row_id for row in rows_of(store, IDENTITY_ROW) if row.pid == who} for who in (one, other)
    }
    assert not tags_of(store, ids[one]) & tags_of(store, ids[other])
    with pytest.raises(ProtectedError):
        people.merge(one, other, stamp(3))
    check(store, people)


def test_late_records_are_admitted(store, people):
    people.deliver(delivery([11], families={11: 901}), stamp())
    (pid,) = pids(people, 11)
    people.protect(pid, stamp(1))
    people.deliver(delivery([12], families={12: 902}), stamp(2))
    (late,) = pids(people, 12)
    outcome = people.admit(late, pid, stamp(3))
    assert pids(people, 11, 12) == [pid, pid]
    assert outcome.members["fid"].to_list() == [None]
    check(store, people)


def test_the_broker_is_told_and_told_again_until_it_says_so(store, people):
    assert people.untold(10) == []
    people.deliver(delivery([11, 12, 21], [(11, 12, 9)], families={11: 901}), stamp())
    one, other = pids(people, 11, 21)
    first, second = people.untold(10)
    assert {first.kind, second.kind} == {Kind.PERSON, Kind.FAMILY}
    assert first.members.rows() == [(unit(11), one), (unit(12), one), (unit(21), other)]
    assert first.changes.is_empty()
    assert [each.number for each in people.untold(1)] == [first.number]
    people.told(first.number)
    assert [each.number for each in people.untold(10)] == [second.number]
    people.told(second.number)
    people.merge(one, other, stamp(1))
    (kept,) = set(pids(people, 11, 12, 21))
    (merged,) = people.untold(10)
    assert merged.number > second.number
    assert merged.changes.rows() == [(({one, other} - {kept}).pop(), kept)]
    people.told(merged.number)
    people.protect(kept, stamp(2), series(12))
    parts = people.untold(10)
    former, new = pids(people, 11, 12)
    told = [(each.changes.rows(), {row[1] for row in each.members.rows()}) for each in parts]
    assert sorted(map(repr, told)) == sorted(
        map(repr, [([(kept, None)], set()), ([], {former}), ([], {new})])
    )
    assert "kept" not in repr(parts[0])


def test_removed_and_erased_records_leave_nothing_but_ids(store, people):
    log = Log()
    people.deliver(
        delivery([11, 12, 13, 21, 31], [(11, 12, 9), (12, 13, 9)], families={21: 901, 11: 901}), stamp()
    )
    one, other = pids(people, 11, 21)
    outcome = people.remove(series(12), stamp(1))
    assert outcome.moved.filter(pl.col("after").is_null())["unit"].to_list() == [unit(12)]
    assert unit(12) not in {row.row_id for row in rows_of(store, IDENTITY_ROW)}
    check(store, people)
    fid = people.members(series(21))["fid"][0]
    assert people.erase([other, bytes(16)]) == 1
    assert subject(store, other).state == "erased"
    assert people.members(series(21)).is_empty()
    assert subject(store, other).kid is subject(store, other).wrapped is None
    assert len(replayed(people).units) == 3
    check(store, people)
    before = everything(store)
    assert people.erase([other]) == 1
    assert everything(store) == before
    # What left stays away, also when its file comes again, with more in it and with links to it.
    more = people.deliver(delivery([12, 21, 41], [(21, 41, 9), (12, 11, 3)], families={41: 901}), stamp(3))
    assert more.members["unit"].to_list() == [unit(41)]
    assert check(store, people).units["unit"].sort().to_list() == [unit(n) for n in (11, 13, 31, 41)]
    assert people.erase([fid]) == 1
    assert people.members(series(11))["fid"].to_list() == [None]
    assert one in pids(people, 11)
    assert log == []


def test_nothing_is_opened_for_linkage_without_a_mandate(store):
    log = Log()
    people = People(vault(store, log=log))
    people.deliver(delivery([11, 12, 21, 31, 41], [(11, 12, 9)], {31}), stamp())
    vault(store).set_state(pids(people, 41), State.OBJECTED)
    batches = list(people.known(MANDATE, batch=2))
    assert [opening.action for opening in log] == ["known", "known"]
    assert sum(opening.count for opening in log) == len({*pids(people, 11, 21, 31)})
    known = pl.concat(batches)
    assert sorted(known["unit"]) == [unit(11), unit(12), unit(21), unit(31)]
    assert known.filter("protected")["unit"].to_list() == [unit(31)]
    ordered = known.sort("unit")
    assert ordered["nhs"].to_list() == identities([11, 12, 21, 31])["nhs"].to_list()
    few = Mandate("alice", "access", "tf-2026")
    assert len(list(people.known(few, batch=4))) == 1
    with pytest.raises(QuotaError):
        list(people.known(few, batch=4))


def test_the_registers_key_is_wrapped_anew_each_month(store, people):
    people.deliver(delivery([11]), stamp())
    assert vault(store).wrapped_under() == {made_up.kek(1).kid: 2}
    later = vault(store, month=2, older=(1,))
    while later.rewrap(1):
        pass
    assert later.wrapped_under() == {made_up.kek(2).kid: 2}
    fresh = People(vault(store, month=2))
    fresh.deliver(delivery([12], [(11, 12, 9)]), stamp(1))
    assert len(set(pids(fresh, 11, 12))) == 1


def test_an_older_database_is_brought_up_with_everybody_in_it(url, tmp_path, monkeypatch):
    with open_store(f"sqlite:///{tmp_path / 'now.db'}", "identity") as now:
        pid, gone = vault(now).add(made_up.people(0, 2), "council")
        vault(now).erase([gone])
        key = subject(now, pid)
        make_older(url, now, monkeypatch)
    with pytest.raises(StoreVersionError):
        open_store(url, "identity")
    migrate(url, "identity")
    with open_store(url, "identity") as store:
        assert vault(store).wrapped_under() == {key.kid: 1}
        people = People(vault(store))
        assert people.members(series(11)).is_empty()
        assert people.untold(5) == []
        nothing = pl.DataFrame()
        assert people.deliver(Delivery("council", nothing, nothing, nothing, nothing), stamp()).person is None
        assert vault(store).states([pid, gone]) == {pid: "active", gone: "erased"}
        people.deliver(delivery([11]), stamp())
        assert vault(store).open([pid, *pids(people, 11)], MANDATE).height == 2
        assert pl.concat(list(people.known(MANDATE)))["unit"].to_list() == [unit(11)]


# --- numbers that are not kept any more, and records that are nobody's ---------------------------------


def test_r55_a_number_is_taken_out_of_every_version_and_of_the_index(people, store):
    """Nothing of it can be opened or found afterwards, and everything else of the person is as it was."""
    people.deliver(delivery([10, 11, 20]), stamp())
    owner = vault(store)
    mine, other = pids(people, 10, 20)
    said = identities([10]).with_columns(nhs=pl.lit("9434765919"), sex=pl.lit("2"))
    owner.revise([mine], said, "school")
    owner.revise([mine], said.with_columns(sex=pl.lit("1")), "school")
    mandate = MANDATE
    everything = owner.open([mine], mandate, history=True)
    numbers = everything["nhs"].drop_nulls().unique().to_list()
    assert "9434765919" in numbers
    sought = pl.DataFrame({"nhs": [*numbers, *identities([20])["nhs"].drop_nulls()]})
    assert mine in owner.find(sought, mandate)["pid"].to_list()
    others = owner.open([other], mandate)

    assert people.forget_number([mine, unit(99)], "nhs") == everything["nhs"].count()
    assert people.forget_number([mine], "nhs") == 0
    assert mine not in owner.find(sought, mandate)["pid"].to_list()
    opened = owner.open([mine], mandate, history=True)
    assert opened["nhs"].null_count() == opened.height == everything.height
    same = [name for name in opened.columns if name not in ("nhs", "former")]
    assert opened.select(same).equals(everything.select(same))
    assert owner.open([other], mandate).equals(others)
    by_name = identities([10]).select("names", "born")
    assert mine in owner.find(by_name, mandate)["pid"].to_list()


def test_r52_a_record_that_is_shunned_is_nobodys_whenever_it_comes(people, store):
    people.deliver(delivery([10]), stamp())
    assert people.shun(series(10, 20, 30)).sort().to_list() == sorted([unit(20), unit(30)])
    assert people.shun(series(20, 30)).to_list() == []
    outcome = people.deliver(delivery([20, 30, 40]), stamp())
    assert outcome.new == 1
    assert people.members(series(10, 20, 30, 40))["unit"].sort().to_list() == [unit(10), unit(40)]
    check(store, people)
