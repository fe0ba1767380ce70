"""Registers between the broker and the attribute store, on both databases: linked, dropped, taken away."""

from __future__ import annotations

import hashlib
import io
import os
import random

import polars as pl
import pytest

from pseudonym import outcomes
from pseudonym.attributes import Flag
from pseudonym.datasets import Column, Dataset, Kind
from pseudonym.errors import ConflictError, InputError, NotFoundError, SealBrokenError
from pseudonym.roles import links
from pseudonym.roles.arrow import written
from pseudonym.storage.schema_attributes import LINK, ROW
from pseudonym.storage.schema_broker import HALF, REGISTER_RUN, STRAY
from pseudonym.units import UnitKey
from pseudonym.urn import Kind as Who
from pseudonym.v1 import broker_pb2
from tests.pseudonym.separation.parts import (
    PROJECT,
    WHO,
    Clock,
    Keys,
    Said,
    attributes,
    begun,
    broker,
    column,
    declared,
    everything,
    ids,
    values,
)

NPD = "npd"
NOTHING_SAID = column(row_ref=[], unit=[], pid=[], fid=[]).with_columns(
    pl.Series("outcome", [], dtype=pl.String)
)


def text(content, columns):
    frame = pl.read_ipc_stream(io.BytesIO(content))
    assert frame.columns == list(columns)
    return frame


class Wire:
    """The broker as the attributes role calls it, without a wire; it may fail before or after any answer."""

    def __init__(self, role, page=7):
        self.role, self.page, self.broken = role, page, None

    def call(self, method, asked, response):
        if self.broken is not None and self.broken.random() < 0.2:
            raise OSError("the wire broke before")
        if method.endswith("ListLinks"):
            runs = self.role.registers.runs(PROJECT)
            size = min(asked.page_size or self.page, self.page)
            rows = self.role.registers.waiting(PROJECT, bytes.fromhex(asked.page_token), size)
            answer = broker_pb2.ListLinksResponse(
                arrow=written(
                    rows.rename({"family": "family_aid"}).with_columns(pl.col("run").cast(pl.String))
                ),
                next_page_token=rows["row_ref"][-1].hex() if rows.height == size else "",
                runs=[
                    broker_pb2.RegisterRun(number=number, register=register, whole=whole)
                    for number, register, whole, *_ in runs
                ],
            )
        if self.broken is not None and self.broken.random() < 0.2:
            raise OSError("the wire broke after")
        return answer


def settle(role, store, wire=None, meanwhile=lambda: None):
    wire = wire or Wire(role)

    def acknowledge(project, done, run):
        meanwhile()
        if wire.broken is not None and wire.broken.random() < 0.2:
            raise OSError("nothing was acknowledged")
        role.acknowledge(project, done, run or None)
        if wire.broken is not None and wire.broken.random() < 0.2:
            raise OSError("nothing was forgotten")
        store.intake.forget(project, done)

    return links.settle(store, lambda: wire, text, acknowledge, PROJECT, WHO)


def tell(role, rows, persons=(), run=None, register=NPD, last=True, families=None):
    """Tell a run: rows as (ref, pid or None), persons as (pid, outcome)."""
    refs, pids = [ref for ref, _ in rows], [pid for _, pid in rows]
    said = column(
        row_ref=ids(len(persons)),
        unit=[hashlib.sha256(register.encode() + pid).digest()[:16] for pid, _ in persons],
        pid=[pid for pid, _ in persons],
        fid=[(families or {}).get(pid) for pid, _ in persons],
    ).with_columns(pl.Series("outcome", [outcome for _, outcome in persons], dtype=pl.String))
    # The unit of a row is a function of its reference, at identity.
    units = [bytes(a ^ 255 for a in ref) for ref in refs]
    told = column(row_ref=refs, unit=units, pid=pids, fid=[None] * len(refs))
    return role.registers.take(PROJECT, register, run or os.urandom(16), told, said, last=last)


def known(role, pids):
    """Make people known, as a council's delivery does; their aids."""
    refs = ids(len(pids))
    role.take(PROJECT, column(row_ref=refs, pid=pids))
    return dict(zip(pids, (role.outgoing(PROJECT).sort("row_ref")["aid"].gather(order(refs))), strict=True))


def order(refs):
    places = {ref: place for place, ref in enumerate(sorted(refs))}
    return [places[ref] for ref in refs]


def sent(store, refs, seed=1):
    frame = values(len(refs), seed=seed).with_columns(column(row_ref=refs))
    store.intake.receive(PROJECT, "ks2", f"b{os.urandom(4).hex()}", frame)
    return dict(zip(refs, frame["score"].to_list(), strict=True))


def scores(store):
    """What the store has: scores by aid."""
    frame = everything(store)
    if frame.is_empty():
        return {}
    return {aid: sorted(some["score"].to_list()) for (aid,), some in frame.group_by(["aid"])}


@pytest.fixture
def both(url, tmp_path):
    """A broker that knows six people, and an attribute store that has declared a dataset."""
    beside = f"sqlite:///{tmp_path / 'broker.db'}"
    with broker(beside, tmp_path, keys=Keys()) as role, attributes(url, tmp_path) as store:
        begun(role)
        declared(store)
        pids = ids(6)
        yield role, store, pids, known(role, pids)


def test_r25_rows_go_to_whose_they_are_and_what_is_nobodys_is_deleted_unread(both, tmp_path):
    role, store, pids, aids = both
    refs = ids(8)
    score = sent(store, refs[:6])
    stranger = os.urandom(16)  # in the vault, and not in this project
    rows = [(refs[0], pids[0]), (refs[1], pids[0]), (refs[2], pids[1]), (refs[3], None), (refs[4], stranger)]
    rows += [(refs[6], pids[2]), (refs[7], None)]
    told = tell(role, rows)
    assert (told.rows, told.strays, told.persons) == (4, 3, 0)
    assert settle(role, store) == 5
    assert scores(store) == {
        aids[pids[0]]: sorted([score[refs[0]], score[refs[1]]]),
        aids[pids[1]]: [score[refs[2]]],
    }
    # Of the fifth sent row nobody said anything: it waits. The values of two rows have not come yet.
    assert [one.halves for one in store.intake.waiting()] == [1]
    late = sent(store, refs[6:], seed=2)
    settle(role, store)
    assert scores(store)[aids[pids[2]]] == [late[refs[6]]]
    assert [one.halves for one in store.intake.waiting()] == [1]
    assert role.registers.waiting(PROJECT).is_empty()
    # Nobody became known by it.
    (members,) = role.members(PROJECT, Who.PERSON)
    assert set(members["aid"]) == set(aids.values())


def test_r25_what_nobody_said_anything_of_goes_after_seven_days(tmp_path, url):
    clock = Clock()
    beside = f"sqlite:///{tmp_path / 'broker.db'}"
    with (
        broker(beside, tmp_path, keys=Keys(), clock=clock) as role,
        attributes(url, tmp_path, clock=clock) as store,
    ):
        begun(role)
        declared(store)
        pids = ids(2)
        known(role, pids)
        refs = ids(3)
        sent(store, refs[:1])
        tell(role, [(refs[1], pids[0]), (refs[2], None)])
        settle(role, store)
        assert role.registers.waiting(PROJECT).height == 2
        clock.now += 7 * 86_400
        assert role.drop_overdue() == {PROJECT: 3}  # two of the council's, and one of the register's
        assert role.registers.waiting(PROJECT).is_empty()
        assert store.intake.drop_overdue() == {PROJECT: 1}


def test_r80_what_a_later_run_says_outlives_the_acknowledgement_of_the_one_before(both):
    role, store, pids, aids = both
    refs = ids(5)
    score = sent(store, refs)
    rows = [(ref, pids[0]) for ref in refs]
    tell(role, rows)
    settle(role, store)
    tell(role, rows)
    # The attributes role has heard the second run, and not yet acknowledged it, when a third is told.
    third = [*rows[:3], (refs[3], pids[1])]
    said = iter([lambda: tell(role, third)])
    settle(role, store, meanwhile=lambda: next(said, lambda: None)())
    assert set(role.registers.waiting(PROJECT)["row_ref"]) == set(refs[:4])
    settle(role, store)
    assert scores(store) == {
        aids[pids[0]]: sorted(score[ref] for ref in refs[:3]),
        aids[pids[1]]: [score[refs[3]]],
    }
    assert role.registers.waiting(PROJECT).is_empty()


def test_r80_nothing_is_withdrawn_by_a_run_that_a_later_one_interrupts(both):
    role, store, pids, aids = both
    refs = ids(20)
    score = sent(store, refs)
    rows = [(ref, pids[0]) for ref in refs]
    tell(role, rows)
    settle(role, store)
    tell(role, rows)

    class Interrupted(Wire):
        pages = 0

        def call(self, *asked):
            self.pages += 1
            if self.pages == 2:  # what is left of the second run gives way
                tell(role, rows[:9], run=later, last=False)
            return super().call(*asked)

    later = os.urandom(16)
    settle(role, store, Interrupted(role))
    everything_there = {aids[pids[0]]: sorted(score.values())}
    assert scores(store) == everything_there
    settle(role, store)
    assert scores(store) == everything_there
    tell(role, rows[9:19], run=later)
    settle(role, store)
    assert scores(store) == {aids[pids[0]]: sorted(score[ref] for ref in refs[:19])}


def test_r25_a_reference_that_a_council_used_moves_nothing_of_the_councils(both):
    role, store, pids, aids = both
    key, refs = UnitKey(b"k" * 32), ids(3)
    score = sent(store, refs)
    role.take(PROJECT, column(row_ref=refs, pid=pids[:3], unit=key.records(PROJECT, refs)))
    done = store.intake.attach(PROJECT, role.outgoing(PROJECT))
    role.acknowledge(PROJECT, done)
    store.intake.forget(PROJECT, done)
    before = scores(store)
    assert before == {aids[pid]: [score[ref]] for pid, ref in zip(pids, refs, strict=False)}
    # Two registers' extracts come under the council's references, for another person.
    nothing = NOTHING_SAID
    for register in (NPD, "pnc"):
        again = sent(store, refs[:1])
        units = key.rows(PROJECT, register, refs)
        told = column(row_ref=refs, unit=units, pid=[pids[5]] * 3, fid=[None] * 3)
        role.registers.take(PROJECT, register, os.urandom(16), told, nothing, last=True)
        settle(role, store)
        before[aids[pids[5]]] = sorted([*before.get(aids[pids[5]], []), again[refs[0]]])
        assert scores(store) == before
        acknowledged = role.registers.waiting(PROJECT).select("row_ref", "run")
        for number in acknowledged["run"].unique():
            role.acknowledge(PROJECT, acknowledged.filter(pl.col("run") == number), number)
    tell(role, [])
    settle(role, store)
    assert len(scores(store)[aids[pids[5]]]) == 1  # what the first register linked; the rest is not its own
    assert all(scores(store)[aids[pid]] == before[aids[pid]] for pid in pids[:3])


def test_r25_rows_of_one_reference_in_two_datasets_are_both_kept(both):
    role, store, pids, aids = both
    two = Dataset("visits", (Column("count", Kind.INTEGER, low=0, high=9),))
    store.declare(PROJECT, two)
    (ref,) = ids(1)
    score = sent(store, [ref])
    tell(role, [(ref, pids[0])])
    settle(role, store)
    visits = pl.DataFrame({"count": ["3", "4"]}).with_columns(column(row_ref=[ref, ref]))
    store.intake.receive(PROJECT, "visits", "visits", visits)
    tell(role, [(ref, pids[0])])
    settle(role, store)
    assert scores(store) == {aids[pids[0]]: [score[ref]]}
    kept = pl.concat(store.read(PROJECT, "visits", WHO))
    assert sorted(kept["count"].to_list()) == [3, 4]
    tell(role, [(ref, None)])
    settle(role, store)
    assert scores(store) == {}
    assert (
        not list(store.read(PROJECT, "visits", WHO))
        or pl.concat(store.read(PROJECT, "visits", WHO)).is_empty()
    )


def test_r80_nothing_is_withdrawn_by_a_run_that_was_dropped_unheard(tmp_path, url):
    clock = Clock()
    beside = f"sqlite:///{tmp_path / 'broker.db'}"
    with (
        broker(beside, tmp_path, keys=Keys(), clock=clock) as role,
        attributes(url, tmp_path, clock=clock) as store,
    ):
        begun(role)
        declared(store)
        pids, refs = ids(1), ids(3)
        known(role, pids)
        sent(store, refs)
        rows = [(ref, pids[0]) for ref in refs]
        tell(role, rows)
        settle(role, store)
        before = scores(store)
        tell(role, rows)  # the attributes role is away for a week
        clock.now += 7 * 86_400
        role.drop_overdue()
        settle(role, store)
        assert scores(store) == before
        tell(role, rows[:1])
        settle(role, store)
        assert len(next(iter(scores(store).values()))) == 1


def test_r61_nothing_of_a_register_is_known_of_somebody_who_was_erased(both):
    role, store, pids, aids = both
    refs = ids(3)
    sent(store, refs)
    tell(role, [(refs[0], pids[0]), (refs[1], pids[0]), (refs[2], pids[1])], [(pids[0], "LINKED a b")])
    settle(role, store)
    store.erasure.erase(PROJECT, column(aid=[aids[pids[0]]]), WHO)
    with store._context.rows.read() as at:
        left = [row.handle for row in at.execute(LINK.select())]
        assert left == [row.handle for row in at.execute(ROW.select())]
    assert len(left) == 1


def test_r80_a_later_run_takes_the_place_of_the_one_before(both):
    role, store, pids, aids = both
    refs = ids(4)
    score = sent(store, refs)
    tell(role, [(ref, pids[place]) for place, ref in enumerate(refs)])
    settle(role, store)
    assert len(scores(store)) == 4
    # The same extract under a later profile: one link stays, one is another person's, two are withdrawn.
    tell(role, [(refs[0], pids[0]), (refs[1], pids[4]), (refs[2], None)])
    settle(role, store)
    assert scores(store) == {aids[pids[0]]: [score[refs[0]]], aids[pids[4]]: [score[refs[1]]]}
    # A later extract: what it does not have any more is gone, and nobody's data are there twice.
    later = ids(2)
    new = sent(store, later, seed=5)
    tell(role, [(later[0], pids[0]), (later[1], None)])
    settle(role, store)
    assert scores(store) == {aids[pids[0]]: [new[later[0]]]}
    # The holder sends the same rows again: they take the place of those that are there.
    again = sent(store, later, seed=6)
    tell(role, [(later[0], pids[0]), (later[1], pids[1])])
    settle(role, store)
    assert scores(store) == {aids[pids[0]]: [again[later[0]]], aids[pids[1]]: [again[later[1]]]}


def test_r80_a_run_that_is_not_told_to_its_end_takes_nothing_away(both):
    role, store, pids, aids = both
    refs = ids(2)
    sent(store, refs)
    tell(role, [(refs[0], pids[0]), (refs[1], pids[1])])
    settle(role, store)
    first = os.urandom(16)
    tell(role, [(refs[0], pids[0])], run=first, last=False)
    settle(role, store)
    assert scores(store).keys() == {aids[pids[0]], aids[pids[1]]}
    # It is told again from its start, as another run; the one that broke off is refused from then on.
    tell(role, [(refs[0], pids[0])])
    with pytest.raises(ConflictError):
        tell(role, [(refs[1], pids[1])], run=first)
    settle(role, store)
    assert scores(store).keys() == {aids[pids[0]]}


def test_r80_registers_do_not_touch_one_another_nor_what_councils_sent(both):
    role, store, pids, aids = both
    council = role.outgoing(PROJECT)["row_ref"].to_list()
    score = sent(store, council)
    council.sort(
        key=lambda ref: role.outgoing(PROJECT).filter(pl.col("row_ref") == ref)["aid"][0] != aids[pids[0]]
    )
    store.intake.attach(PROJECT, role.outgoing(PROJECT))
    refs, others = ids(1), ids(1)
    sent(store, [*refs, *others])
    tell(role, [(refs[0], pids[0])])
    tell(role, [(others[0], pids[0])], register="pnc")
    settle(role, store)
    assert len(scores(store)[aids[pids[0]]]) == 3
    tell(role, [])
    settle(role, store)
    assert len(scores(store)[aids[pids[0]]]) == 2
    waiting = ids(1)
    tell(role, [(waiting[0], pids[0])], register="pnc")
    for rows in ([(waiting[0], pids[1])], [(waiting[0], None)], [(council[0], None)]):
        with pytest.raises(ConflictError):
            tell(role, rows)
    assert score[council[0]] in scores(store)[aids[pids[0]]]


def test_r80_nothing_is_taken_from_whose_data_are_restricted(both):
    role, store, pids, aids = both
    refs = ids(2)
    sent(store, refs)
    tell(role, [(refs[0], pids[0]), (refs[1], pids[1])])
    settle(role, store)
    store.flag(PROJECT, column(aid=[aids[pids[0]]]), Flag.RESTRICTED, WHO)
    tell(role, [])  # who is restricted is not opened for linkage, and so not linked
    settle(role, store)
    store.flag(PROJECT, column(aid=[aids[pids[0]]]), Flag(0), WHO)
    assert scores(store).keys() == {aids[pids[0]]}
    tell(role, [])
    settle(role, store)
    assert scores(store) == {}


def test_r79_what_is_said_of_people_is_a_dataset_of_codes(both):
    role, store, pids, aids = both
    said = ["LINKED identifier high", "NOT_LINKED - -", "NOT_APPLICABLE - -"]
    told = tell(role, [], list(zip(pids, said, strict=False)))
    assert told.persons == 3
    settle(role, store)
    frame = everything(store, outcomes.NAME)
    rows = {row["aid"]: tuple(row[name] for name in outcomes.COLUMNS) for row in frame.to_dicts()}
    assert rows == {
        aids[pids[0]]: (NPD, "LINKED", "identifier", "high"),
        aids[pids[1]]: (NPD, "NOT_LINKED", None, None),
        aids[pids[2]]: (NPD, "NOT_APPLICABLE", None, None),
    }
    # Another register beside it, with codes that were not declared before; and the first one again.
    tell(role, [], [(pids[0], "REVIEW probabilistic low")], register="pnc")
    tell(role, [], [(pids[0], "LINKED probabilistic mid"), (os.urandom(16), "LINKED identifier high")])
    settle(role, store)
    frame = everything(store, outcomes.NAME)
    assert set(frame.select("aid", *outcomes.COLUMNS).rows()) == {
        (aids[pids[0]], NPD, "LINKED", "probabilistic", "mid"),
        (aids[pids[0]], "pnc", "REVIEW", "probabilistic", "low"),
    }
    # It says who offended or was ill: nobody reads it who may not, and nobody declares or sends it.
    with pytest.raises(InputError):
        next(store.read(PROJECT, outcomes.NAME, WHO))
    with pytest.raises(InputError):
        store.declare(PROJECT, Dataset(outcomes.NAME, (Column("band", Kind.CODE, codes=("x",)),)))
    for wrong in ("LINKED", "LINKED a b c", "linked a b", "LINKED a 9434765919x;"):
        with pytest.raises(InputError):
            tell(role, [], [(pids[0], wrong)])
    tell(role, [], [(pids[0], "SURE a b")])
    with pytest.raises(InputError):
        settle(role, store)


def test_a_merger_redirects_what_waits_and_an_erased_person_gets_nothing(both, tmp_path):
    role, store, pids, aids = both
    refs = ids(3)
    score = sent(store, refs)
    tell(role, [(refs[0], pids[0]), (refs[1], pids[1]), (refs[2], pids[2])], [(pids[2], "LINKED a b")])
    changes = column(before=[pids[0]], after=[pids[3]]).with_columns(left=pl.lit("no"))
    role.changes.follow(Who.PERSON, changes, column(unit=[], holder=[]), WHO)
    role.erasure.erase(PROJECT, Who.PERSON, column(pid=[pids[2]]), WHO)
    settle(role, store)
    assert scores(store) == {aids[pids[3]]: [score[refs[0]]], aids[pids[1]]: [score[refs[1]]]}
    # Told anew, the row of the erased person is nobody's.
    assert tell(role, [(refs[2], pids[2])]).strays == 1
    settle(role, store)
    assert store.intake.waiting() == []


def test_r80_however_often_the_way_breaks_the_end_is_the_same(both):
    """Against a model of one line: the last whole run says whose each row is; twelve seeded histories."""
    role, store, pids, aids = both
    chance = random.Random(7)
    refs = ids(12)
    score = sent(store, refs)
    dropped: set[bytes] = set()
    for history in range(12):
        whose = {ref: chance.choice([*pids, None, "look"]) for ref in refs}
        gone = [ref for ref in refs if ref in dropped]
        if gone:  # the holder sends again what was dropped or taken away
            score |= sent(store, gone, seed=100 + history)
            dropped -= set(gone)
        wire = Wire(role, page=chance.choice([3, 5, 50]))
        wire.broken = random.Random(history)
        rows = [(ref, pid) for ref, pid in whose.items() if pid != "look"]
        run = os.urandom(16)
        parts = [rows[:5], rows[5:]]
        for part, some in enumerate(parts):
            if chance.random() < 0.3:  # a part came, and its answer did not
                tell(role, some, run=run, last=part == 1)
            tell(role, some, run=run, last=part == 1)
        for _ in range(200):
            try:
                settle(role, store, wire)
                break
            except OSError:
                continue
        else:
            raise AssertionError("the wire never held")
        wire.broken = None
        settle(role, store, wire)
        model: dict[bytes, list[int]] = {}
        for ref, pid in whose.items():
            if pid is not None and pid != "look":
                model.setdefault(aids[pid], []).append(score[ref])
        assert scores(store) == {aid: sorted(some) for aid, some in model.items()}
        store.intake.forget(PROJECT, column(row_ref=refs))  # what a break kept from being forgotten
        unlinked = {ref for ref, pid in whose.items() if pid is None or pid == "look"}
        with store._rows.read() as at:
            waits, _ = store._rows.halves(at, store._rows.project(at, PROJECT).number, list(unlinked))
        dropped = unlinked - waits.keys()


def test_the_end_of_a_project_leaves_nothing_of_registers(both):
    role, store, pids, _ = both
    refs = ids(3)
    sent(store, refs)
    tell(role, [(refs[0], pids[0]), (refs[1], None)], [(pids[0], "LINKED a b")])
    settle(role, store)
    tell(role, [(refs[1], pids[1]), (refs[2], None)])
    role.erasure.destroy_project(PROJECT, lambda: [], WHO)
    store.erasure.destroy_project(PROJECT, WHO)
    for rows, tables in ((role._rows, (HALF, STRAY, REGISTER_RUN)), (store._rows, (LINK,))):
        with rows.read() as at:
            for table in tables:
                assert at.execute(table.select()).all() == [], table.name
    with pytest.raises(NotFoundError):
        role.registers.waiting("elsewhere")


def test_taking_away_and_reading_are_in_the_audit_log_before(url, tmp_path):
    said = Said()
    beside = f"sqlite:///{tmp_path / 'broker.db'}"
    with broker(beside, tmp_path, keys=Keys()) as role, attributes(url, tmp_path, said=said) as store:
        begun(role)
        declared(store)
        pids = ids(2)
        known(role, pids)
        refs = ids(2)
        sent(store, refs)
        tell(role, [(refs[0], pids[0]), (refs[1], None)])
        settle(role, store)
        assert [(one.action, one.count) for one in said] == [("drop", 1)]
        said.broken = True
        tell(role, [])
        with pytest.raises(OSError, match="log"):
            settle(role, store)
        said.broken = False
        assert len(scores(store)) == 1
        settle(role, store)
        assert [(one.action, one.count) for one in said][-2:] == [("read", 1), ("withdraw", 1)]


def test_a_row_that_was_exchanged_is_noticed_before_others_are_taken_away(both):
    role, store, pids, aids = both
    refs = ids(2)
    sent(store, refs)
    tell(role, [(refs[0], pids[0]), (refs[1], pids[0])])
    settle(role, store)
    with store._rows.write() as at:
        at.execute(ROW.update().where(ROW.c.aid == aids[pids[0]]).values(version=9))
    tell(role, [(refs[0], pids[0])])
    with pytest.raises(SealBrokenError):
        settle(role, store)


def test_r30_rows_of_registers_are_read_by_person_and_rolled_up_by_family(url, tmp_path):
    """Two families: a mother with two children, and a man alone; what two registers say of each, by hand."""
    beside = f"sqlite:///{tmp_path / 'broker.db'}"
    with broker(beside, tmp_path, keys=Keys()) as role, attributes(url, tmp_path) as store:
        begun(role)
        declared(store)
        mother, son, daughter, man = pids = ids(4)
        home, alone = ids(2)
        of = {mother: home, son: home, daughter: home, man: alone}
        refs = ids(4)
        role.take(PROJECT, column(row_ref=refs, pid=pids, fid=[of[pid] for pid in pids]))
        names = {row[0]: row[1:3] for row in role.outgoing(PROJECT).rows()}
        aids = {pid: names[ref][0] for ref, pid in zip(refs, pids, strict=True)}
        families = {home: names[refs[0]][1], alone: names[refs[3]][1]}
        rows = ids(4)
        score = sent(store, rows)
        whose = [(rows[0], son), (rows[1], son), (rows[2], daughter), (rows[3], man)]
        told = column(
            row_ref=rows,
            unit=ids(4),
            pid=[pid for _, pid in whose],
            fid=[of[pid] for _, pid in whose],
        )
        role.registers.take(PROJECT, NPD, os.urandom(16), told, NOTHING_SAID, last=True)
        both = [(mother, "LINKED identifier 40-and-over"), (man, "NOT_LINKED - -")]
        tell(role, [], both, register="wpls", families=of)
        settle(role, store)
        frame = everything(store)
        assert sorted(frame.select("aid", "family", "score").rows()) == sorted(
            (aids[pid], families[of[pid]], score[ref]) for ref, pid in whose
        )
        # What is said of a person stands beside it, under the same person and family.
        said = everything(store, outcomes.NAME)
        assert sorted(said.select("aid", "register", "outcome").rows()) == sorted(
            [(aids[mother], "wpls", "LINKED"), (aids[man], "wpls", "NOT_LINKED")]
        )
        by_family = frame.group_by("family").agg(pl.col("aid").n_unique(), rows=pl.len())
        assert sorted(by_family.rows()) == sorted([(families[home], 2, 3), (families[alone], 1, 1)])
        assert dict(said.select("aid", "family").rows()) == {
            aids[mother]: families[home],
            aids[man]: families[alone],
        }


def test_r80_a_record_has_any_number_of_rows_and_they_go_together(both):
    role, store, pids, aids = both
    refs = ids(2)
    frame = values(5).with_columns(column(row_ref=[refs[0]] * 3 + [refs[1]] * 2))
    store.intake.receive(PROJECT, "ks2", "several", frame)
    score = frame["score"].to_list()
    tell(role, [(refs[0], pids[0]), (refs[1], pids[1])])
    settle(role, store)
    assert scores(store) == {aids[pids[0]]: sorted(score[:3]), aids[pids[1]]: sorted(score[3:])}
    tell(role, [(refs[0], pids[2])])
    settle(role, store)
    assert scores(store) == {aids[pids[2]]: sorted(score[:3])}
    tell(role, [(refs[0], None)])
    settle(role, store)
    assert scores(store) == {}


@pytest.mark.parametrize("again", [False, True], ids=["known", "sent anew"])
def test_r80_rows_of_somebody_under_restriction_stay_where_they_are(both, again):
    role, store, pids, aids = both
    refs = ids(3)
    score = sent(store, refs)
    tell(role, [(ref, pids[0]) for ref in refs])
    settle(role, store)
    store.flag(PROJECT, column(aid=[aids[pids[0]]]), Flag.RESTRICTED, WHO)

    def held():
        with store._context.rows.read() as at:
            return sorted(row.aid for row in at.execute(ROW.select()))

    # A later run finds that one row is another person's, one nobody's; the third stays with its person.
    if again:
        sent(store, refs, seed=3)
    tell(role, [(refs[0], pids[1]), (refs[1], None), (refs[2], pids[0])])
    settle(role, store)
    assert held() == [aids[pids[0]]] * 3
    assert scores(store) == {}  # out of use, and nobody else's
    assert store.intake.waiting() == []
    assert role.registers.waiting(PROJECT)["aid"].drop_nulls().is_empty()
    # Once they may be used again, what the register does not link any more goes.
    store.flag(PROJECT, column(aid=[aids[pids[0]]]), Flag(0), WHO)
    settle(role, store)
    assert held() == [aids[pids[0]]]
    (left,) = scores(store)[aids[pids[0]]]
    assert again or left == score[refs[2]]
