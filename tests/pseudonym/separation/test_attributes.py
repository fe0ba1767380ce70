"""The attribute store, on both databases."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa

from pseudonym.attributes import Flag
from pseudonym.datasets import Column, Dataset, Kind, Tag
from pseudonym.destruction import renew, rewrap
from pseudonym.errors import (
    ConflictError,
    DuplicateError,
    EndedError,
    InputError,
    KeyMissingError,
    NotFoundError,
    SealBrokenError,
)
from pseudonym.keks import KekRing
from pseudonym.storage.schema_attributes import BATCH, KEY, ROW, SUBJECT
from pseudonym.values import ValuesRefused
from tests.pseudonym.separation.parts import (
    EVERY_TAG,
    PROJECT,
    SCHOOL,
    WHO,
    Clock,
    Said,
    attributes,
    column,
    declared,
    everything,
    ids,
    kek,
    values,
)


def stored(frame: pl.DataFrame) -> pl.DataFrame:
    """The values as they come back."""
    return frame.with_columns(pl.col("score", "born").cast(pl.Int64), pl.col("cost").cast(pl.Decimal(38, 2)))


def same(read: pl.DataFrame, sent: pl.DataFrame) -> bool:
    names = [name for name in read.columns if name in sent.columns]
    order = [name for name in names if name != "family"]
    return read.select(names).sort(order).equals(stored(sent).select(names).sort(order))


def test_two_halves_become_one_whichever_comes_first(url, tmp_path):
    sent = values(100)
    refs, aids, family = ids(100), ids(60), ids(1)[0]
    whose = [aids[i % 60] for i in range(100)]
    with attributes(url, tmp_path) as store:
        declared(store)
        pairs = column(row_ref=refs, aid=whose, family=[family if i % 2 else None for i in range(100)])
        assert store.intake.attach(
            PROJECT, pairs
        ).is_empty()  # nothing has arrived yet: nothing to acknowledge
        receipt = store.intake.receive(PROJECT, "ks2", "b1", sent.with_columns(column(row_ref=refs)))
        assert (receipt.rows, receipt.repeated) == (100, False)
        assert store.intake.waiting()[0].halves == 100
        assert everything(store).is_empty()
        first = store.intake.attach(PROJECT, pairs[:70])
        assert set(first["row_ref"]) == set(refs[:70])
        again = store.intake.attach(PROJECT, pairs)  # the first 70 were not acknowledged yet
        assert set(again["row_ref"]) == set(refs)
        assert store.intake.waiting() == []
        read = everything(store)
        assert same(read, sent.with_columns(column(aid=whose)))
        assert set(read["family"]) == {None, family}
        assert store.intake.forget(PROJECT, again) == 100
        assert store.intake.attach(PROJECT, pairs).is_empty()
        assert everything(store).equals(read)


def test_a_record_has_any_number_of_rows(url, tmp_path):
    refs, aids = ids(3), ids(3)
    each = [refs[i] for i in (0, 1, 0, 2, 0, 1)]
    told = values(6, seed=8)
    with attributes(url, tmp_path) as store:
        sent = told.with_columns(column(row_ref=each))
        assert declared(store).intake.receive(PROJECT, "ks2", "b1", sent).rows == 6
        whose = column(row_ref=refs, aid=aids, handle=ids(3))
        assert sorted(store.intake.attach(PROJECT, whose)["row_ref"]) == sorted(refs)
        found = everything(store)
    of = dict(zip(refs, aids, strict=True))
    expected = sorted((of[ref], score) for ref, score in zip(each, told["score"], strict=True))
    assert sorted(found.select("aid", "score").rows()) == expected


def test_a_batch_is_received_once(url, tmp_path):
    refs = ids(5)
    batch = values(5).with_columns(column(row_ref=refs))
    with attributes(url, tmp_path) as store:
        declared(store)
        receive = store.intake.receive
        assert not receive(PROJECT, "ks2", "b1", batch).repeated
        assert receive(PROJECT, "ks2", "b1", batch).repeated
        with pytest.raises(ConflictError):
            receive(PROJECT, "ks2", "b1", values(5, seed=2).with_columns(column(row_ref=refs)))
        with pytest.raises(DuplicateError):
            receive(PROJECT, "ks2", "b2", values(5, seed=2).with_columns(column(row_ref=[*ids(4), refs[0]])))
        assert store.intake.waiting()[0].halves == 5
        for wrong in ("", "x" * 129):
            with pytest.raises(InputError):
                receive(PROJECT, "ks2", wrong, batch)
        for project, dataset in (("other", "ks2"), (PROJECT, "other")):
            with pytest.raises(NotFoundError):
                receive(project, dataset, "b3", batch)


@pytest.mark.parametrize("relabelled", ["dataset", "project"])
def test_values_that_wait_open_for_their_own_dataset_and_project_only(url, tmp_path, relabelled):
    other = Dataset("offences", SCHOOL.columns)
    with attributes(url, tmp_path) as store:
        declared(store).declare(PROJECT, other)
        store.begin_project("tf-2027")
        store.declare("tf-2027", SCHOOL)
        refs = ids(3)
        store.intake.receive(PROJECT, "ks2", "b1", values(3).with_columns(column(row_ref=refs)))
        rows = store.intake._rows
        with rows.write() as at:
            mine = rows.project(at, PROJECT).number
            if relabelled == "dataset":
                changed = {"dataset": rows.dataset(at, mine, "offences")[0]}
            else:
                changed = {"project": rows.project(at, "tf-2027").number}
            at.execute(sa.update(BATCH).values(changed))
        pairs = column(row_ref=refs, aid=ids(3))
        with pytest.raises(SealBrokenError):
            store.intake.attach(PROJECT if relabelled == "dataset" else "tf-2027", pairs)
        for project, dataset in ((PROJECT, "ks2"), (PROJECT, "offences"), ("tf-2027", "ks2")):
            assert not list(store.read(project, dataset, WHO, may=EVERY_TAG))


def test_halves_go_after_seven_days(url, tmp_path):
    clock = Clock()
    with attributes(url, tmp_path, clock=clock) as store:
        declared(store)
        refs = ids(6)
        store.intake.receive(PROJECT, "ks2", "b1", values(4).with_columns(column(row_ref=refs[:4])))
        store.intake.attach(PROJECT, column(row_ref=refs[:1], aid=ids(1)))
        clock.now += 86_400
        store.intake.receive(PROJECT, "ks2", "b2", values(2).with_columns(column(row_ref=refs[4:])))
        clock.now += 6 * 86_400 - 1
        assert store.intake.drop_overdue() == {}
        clock.now += 1
        assert store.intake.drop_overdue() == {PROJECT: 3}  # the fourth was attached
        assert store.intake.waiting()[0].halves == 2
        assert store.intake.attach(PROJECT, column(row_ref=refs, aid=ids(6))).height == 2
        assert everything(store).height == 3


def test_registers_add_rows_and_new_versions_take_the_place_of_old_ones(url, tmp_path):
    aids = ids(40)
    first, second, third = (values(40, seed).with_columns(column(aid=aids)) for seed in (1, 2, 3))
    with attributes(url, tmp_path) as store:
        declared(store)
        store.declare(PROJECT, replace(SCHOOL, name="other"))
        assert not store.intake.add(PROJECT, "ks2", "r1", first).repeated
        assert store.intake.add(PROJECT, "ks2", "r1", first).repeated
        store.intake.add(PROJECT, "other", "r1b", first)
        store.intake.add(PROJECT, "ks2", "r2", second[:10])
        assert same(everything(store), pl.concat([first, second[:10]]))
        store.intake.add(PROJECT, "ks2", "r3", third[:20], replacing=True)
        assert same(everything(store), pl.concat([first[20:], third[:20]]))
        assert same(everything(store, "other"), first)
        with store._rows.read() as at:
            versions = [head.version for head in store._rows.heads(at, aids[:20]) if head.dataset == 1]
        assert versions == [2] * 20
        with pytest.raises(ConflictError):
            store.intake.add(PROJECT, "ks2", "r3", third[:20])


def test_columns_that_are_asked_for_and_people_that_are_asked_for(url, tmp_path):
    said = Said()
    aids = ids(50)
    sent = values(50).with_columns(column(aid=aids))
    with attributes(url, tmp_path, said=said) as store:
        declared(store)
        store.intake.add(PROJECT, "ks2", "r1", sent)
        some = column(aid=aids[:7] + ids(2))
        (read,) = store.read(PROJECT, "ks2", WHO, columns=["cost", "term"], aids=some)
        assert read.columns == ["aid", "family", "cost", "term"]
        assert same(read, sent[:7].select("aid", "cost", "term", "score", "born"))
        assert isinstance(read["cost"][0], Decimal)
        assert (said[-1].action, said[-1].count, said[-1].mandate) == ("read", 9, WHO)
        assert said[-1].detail == ("ks2", "cost", "term")
        for columns, may in ((["in_need"], {Tag.CRIMINAL_OFFENCE}), (["cautioned"], set()), (None, set())):
            with pytest.raises(InputError):
                store.read(PROJECT, "ks2", WHO, columns=columns, may=frozenset(may))
        with pytest.raises(InputError):
            store.read(PROJECT, "ks2", WHO, columns=["undeclared"])
        assert store.flag(PROJECT, column(aid=aids[:3]), Flag.RESTRICTED, WHO) == 3
        assert everything(store).height == 47
        store.flag(PROJECT, column(aid=aids[:2]), Flag(0), WHO)
        assert everything(store).height == 49
        store.intake.add(PROJECT, "ks2", "r2", sent[2:3], replacing=True)
        assert everything(store).height == 49  # a restricted subject gets data, and stays restricted
        count = len(said)
        said.broken = True
        with pytest.raises(OSError, match="log"):
            store.read(PROJECT, "ks2", WHO, columns=["cost"])
        with pytest.raises(OSError, match="log"):
            store.erasure.erase(PROJECT, some, WHO)
        assert len(said) == count
        assert store._context.ledger.size == 0


def test_arrow_comes_in(url, tmp_path):
    aids = ids(3)
    table = pa.table({"aid": pa.array(aids, pa.binary()), "score": pa.array([1, 2, 3], pa.int16())})
    with attributes(url, tmp_path) as store:
        declared(store)
        store.intake.add(PROJECT, "ks2", "r1", table)
        assert sorted(everything(store)["score"]) == [1, 2, 3]


# What looks like an identifier, by the column that it is put in. All made up.
IDENTIFIERS = [
    ("score", "9434765919", "looks_like_nhs"),
    ("cost", "9434765919.00", "looks_like_nhs"),
    ("cost", "94347659.19", "looks_like_nhs"),
    ("score", "25122009", "looks_like_short_date"),
    ("score", "251209", "looks_like_short_date"),
    ("score", "7911123456", "looks_like_telephone"),
    ("area", "943 476 5919", "looks_like_nhs"),
    ("area", "AB123456C", "looks_like_nino"),
    ("score", "AB 12 34 56 C", "looks_like_nino"),
    ("area", "H801200001001", "looks_like_upn"),
    ("area", "CB1 1AA", "looks_like_postcode"),
    ("left_month", "cb11aa", "looks_like_postcode"),
    ("area", "ada@example.org", "looks_like_email"),
    ("in_need", "ada@example.org", "looks_like_email"),
    ("area", "01632 960 001", "looks_like_telephone"),
    ("term", "+441632960001", "looks_like_telephone"),
    ("left_month", "2011-02-03", "looks_like_date"),
    ("score", "20110203", "looks_like_date"),
    ("born", "03/02/2011", "looks_like_date"),
    ("area", "Ada Lovelace", "not_in_list"),
    ("left_month", "2011-13", "not_a_month"),
    ("term", "2011-Q5", "not_a_quarter"),
    ("in_need", "perhaps", "not_a_flag"),
    ("born", "1899", "out_of_bounds"),
    ("cost", "1.005", "not_a_decimal"),
    ("cost", "100000000.01", "out_of_bounds"),
    ("score", "1e3", "not_an_integer"),
]


@pytest.mark.parametrize(("name", "value", "reason"), IDENTIFIERS)
def test_what_looks_like_an_identifier_is_refused_without_being_said(
    tmp_path, sqlite_url, name, value, reason
):
    frame = values(50).cast(pl.String)
    frame[31, name] = value
    with attributes(sqlite_url, tmp_path) as store:
        declared(store)
        for call, key in ((store.intake.receive, "row_ref"), (store.intake.add, "aid")):
            with pytest.raises(ValuesRefused) as caught:
                call(PROJECT, "ks2", "b1", frame.with_columns(column(**{key: ids(50)})))
            (refusal,) = caught.value.refusals
            assert (refusal.row, refusal.column, refusal.reason) == (31, name, reason)
            assert value not in f"{caught.value!r} {caught.value} {caught.value.args}"
        assert store.intake.waiting() == []
        assert everything(store).is_empty()
        with store._rows.read() as at:
            assert store._rows.batch(at, 1, "b1") is None


def test_dates_floats_lists_and_undeclared_columns_are_refused(tmp_path, sqlite_url):
    with attributes(sqlite_url, tmp_path) as store:
        declared(store)

        def add(**columns):
            store.intake.add(PROJECT, "ks2", "b", pl.DataFrame(columns).with_columns(column(aid=ids(2))))

        dates = pl.Series([None, "2011-02-03"]).str.to_date()
        with pytest.raises(ValuesRefused) as caught:
            add(left_month=dates)
        assert [(one.row, one.reason) for one in caught.value.refusals] == [(1, "looks_like_date")]
        for wrong in (
            {"cost": [1.5, 2.5]},
            {"score": [[1], [2]]},
            {"surname": ["x", "y"]},
            {"area": [b"x", b"y"]},
        ):
            with pytest.raises(InputError) as refused:
                add(**wrong)
            assert "surname" not in str(refused.value)
        add(score=[None, None])
        assert everything(store).height == 2


def test_a_thousand_refusals_are_listed_and_all_are_counted(tmp_path, sqlite_url):
    with attributes(sqlite_url, tmp_path) as store:
        declared(store)
        frame = pl.DataFrame({"area": ["nowhere"] * 1500}).with_columns(column(aid=ids(1500)))
        with pytest.raises(ValuesRefused) as caught:
            store.intake.add(PROJECT, "ks2", "b", frame)
        assert (len(caught.value.refusals), caught.value.count) == (1000, 1500)
        assert caught.value.refusals[999].row == 999


@pytest.mark.parametrize(
    "name",
    [
        "surname",
        "date_of_birth",
        "nhs_number",
        "home_postcode",
        "email",
        "name",
        "aid",
        "row_ref",
        "Upper",
        "x" * 64,
    ],
)
def test_r35_no_column_is_called_like_an_identifier(name):
    with pytest.raises(InputError):
        Column(name, Kind.FLAG)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": Kind.INTEGER, "low": 2, "high": 1},
        {"kind": Kind.INTEGER, "low": 0, "high": 10**16},
        {"kind": Kind.DECIMAL, "low": 0, "high": 9},
        {"kind": Kind.DECIMAL, "low": 0, "high": 9, "scale": 7},
        {"kind": Kind.INTEGER, "low": 0, "high": 9, "scale": 2},
        {"kind": Kind.CODE},
        {"kind": Kind.CODE, "codes": ("a", "a")},
        {"kind": Kind.CODE, "codes": ("a" * 33,)},
        {"kind": Kind.CODE, "codes": ("",)},
        {"kind": Kind.CODE, "codes": ("a\nb",)},
        {"kind": Kind.FLAG, "codes": ("a",)},
        {"kind": Kind.FLAG, "low": 0, "high": 1},
        {"kind": Kind.YEAR, "low": 0, "high": 2000},
    ],
)
def test_a_declaration_says_what_it_must(wrong):
    with pytest.raises(InputError):
        Column("c", **wrong)
    with pytest.raises(InputError):
        Dataset("d", ())


def test_r24_declarations_grow_keep_their_tags_and_list_no_identifier(url, tmp_path):
    with attributes(url, tmp_path) as store:
        declared(store)
        assert store.datasets(PROJECT) == [SCHOOL]
        aids = ids(10)
        sent = values(10).with_columns(column(aid=aids))
        store.intake.add(PROJECT, "ks2", "r1", sent)
        more = Column("extra", Kind.INTEGER, 0, 9, tags=frozenset({Tag.SPECIAL_CATEGORY}))
        wider = replace(SCHOOL.columns[2], codes=(*SCHOOL.columns[2].codes, "E01099999"))
        grown = Dataset("ks2", (*SCHOOL.columns[:2], wider, *SCHOOL.columns[3:], more))
        store.declare(PROJECT, grown)
        assert store.datasets(PROJECT) == [grown]
        assert store.datasets(PROJECT)[0].column("cautioned").tags == {Tag.CRIMINAL_OFFENCE}
        read = everything(store)
        assert read["extra"].null_count() == 10
        assert same(read, sent)
        shrunk = [
            SCHOOL,
            Dataset("ks2", (replace(SCHOOL.columns[0], high=5), *grown.columns[1:])),
            Dataset(
                "ks2", (*grown.columns[:6], replace(grown.columns[6], tags=frozenset()), *grown.columns[7:])
            ),
        ]
        for less in shrunk:
            with pytest.raises(InputError):
                store.declare(PROJECT, less)
        with pytest.raises(ValuesRefused) as caught:
            store.declare(PROJECT, Dataset("d", (Column("c", Kind.CODE, codes=("A1", "CB1 1AA")),)))
        assert [(one.row, one.column, one.reason) for one in caught.value.refusals] == [
            (1, "c", "looks_like_postcode")
        ]


def test_all_rows_of_a_dataset_have_one_size(url, tmp_path):
    with attributes(url, tmp_path) as store:
        declared(store)
        aids = ids(3)
        frame = pl.DataFrame(
            {
                "score": [None, 1, 9999999],
                "area": ["é", None, "E01012345"],
                "cost": [None, "-1.5", "9999999.99"],
            }
        ).with_columns(column(aid=aids))
        store.intake.add(PROJECT, "ks2", "r", frame)
        with store._rows.read() as at:
            assert len({len(ct) for _, ct in store._rows.sealed_rows(at, aids, None)}) == 1


def test_rows_that_were_moved_rolled_back_or_taken_away_are_noticed(url, tmp_path):
    aids = ids(4)
    with attributes(url, tmp_path) as store:
        declared(store)
        rows = store._rows
        store.intake.add(PROJECT, "ks2", "r1", values(4).with_columns(column(aid=aids)))
        with rows.read() as at:
            old = {head.aid: (head, ct) for head, ct in rows.sealed_rows(at, aids, None)}
            subjects = rows.subjects(at, aids)
        store.intake.add(PROJECT, "ks2", "r2", values(4, 2).with_columns(column(aid=aids)), replacing=True)
        with rows.read() as at:
            new = {head.aid: (head, ct) for head, ct in rows.sealed_rows(at, aids, None)}

        def refused():
            with pytest.raises(SealBrokenError):
                everything(store)
            with pytest.raises(SealBrokenError):
                store.intake.add(PROJECT, "ks2", "r3", values(4, 3).with_columns(column(aid=aids)))

        def change(table, key, **columns):
            with rows.write() as at:
                rows.store.update(at, table, [key], columns)

        a, b = aids[:2]
        ids_of = {"row_id": [new[a][0].row_id, new[b][0].row_id]}
        change(ROW, "row_id", **ids_of, ct=[new[b][1], new[a][1]])
        with pytest.raises(SealBrokenError):
            everything(store)
        change(ROW, "row_id", **ids_of, ct=[new[a][1], new[b][1]])
        change(ROW, "row_id", **ids_of, aid=[b, a])
        refused()
        change(ROW, "row_id", **ids_of, aid=[a, b])
        assert everything(store).height == 4

        with rows.write() as at:  # an older row in the place of the newer one
            rows.delete_rows(at, [new[a][0].row_id])
            rows.add_rows(at, [old[a][0]], [old[a][1]])
        refused()
        with rows.write() as at:
            rows.delete_rows(at, [old[a][0].row_id])
        refused()  # a row less than there should be
        with rows.write() as at:
            rows.add_rows(at, [new[a][0]], [new[a][1]])
        assert everything(store).height == 4
        change(SUBJECT, "aid", aid=[a], flags=[2])
        refused_flag = column(aid=[a])
        with pytest.raises(SealBrokenError):
            store.flag(PROJECT, refused_flag, Flag(0), WHO)
        change(SUBJECT, "aid", aid=[a], flags=[0], family=[b])
        refused()
        change(SUBJECT, "aid", aid=[a], family=[subjects[a].family])
        change(KEY, "aid", aid=[a, b], wrapped=[subjects[b].wrapped, subjects[a].wrapped])
        refused()


def test_keys_are_wrapped_anew_in_batches_and_the_old_one_is_destroyed(url, tmp_path):
    aids = ids(50)
    sent = values(50).with_columns(column(aid=aids))
    with attributes(url, tmp_path) as store:
        declared(store)
        store.intake.add(PROJECT, "ks2", "r1", sent)
        store.intake.receive(PROJECT, "ks2", "h1", values(5).with_columns(column(row_ref=ids(5))))
        before = everything(store)
    ring = KekRing(kek(2), (kek(1),))
    with attributes(url, tmp_path, keks=ring) as store:
        store.intake.add(PROJECT, "ks2", "r2", sent[:1].with_columns(column(aid=ids(1))))
        with store._rows.read() as at:
            assert store._rows.kids(at) == {"kek-1": 52, "kek-2": 2}
        with pytest.raises(ConflictError):
            renew(store._rows, ring, ["kek-2"], lambda _: None)
        assert rewrap(store._rows, ring, batch=7) == 52
        assert rewrap(store._rows, ring, batch=7) == 0
        destroyed: list[str] = []
        done = renew(store._rows, ring, ["kek-1"], destroyed.append)
        assert (done.rewrapped, done.kid, destroyed) == (0, "kek-2", ["kek-1"])
    with attributes(url, tmp_path, keks=KekRing(kek(2))) as store:
        assert everything(store).filter(pl.col("aid").is_in(aids)).equals(before)
        assert store.intake.receive(PROJECT, "ks2", "h2", values(1).with_columns(column(row_ref=ids(1)))).rows
    with attributes(url, tmp_path, keks=KekRing(kek(3))) as store, pytest.raises(KeyMissingError):
        everything(store)


def test_an_erased_subject_is_gone_and_cannot_come_in_again(url, tmp_path):
    aids, refs = ids(20), ids(2)
    sent = values(20).with_columns(column(aid=aids))
    with attributes(url, tmp_path) as store:
        declared(store)
        store.intake.add(PROJECT, "ks2", "r1", sent)
        counts = store.erasure.erase(PROJECT, column(aid=aids[:5] + ids(1)), WHO)
        assert counts == {"a_row": 5, "a_key": 5, "a_subject": 5}
        assert same(everything(store), sent[5:])
        store.intake.add(PROJECT, "ks2", "r2", sent[3:7])
        assert same(everything(store), pl.concat([sent[5:], sent[5:7]]))
        store.intake.receive(PROJECT, "ks2", "h", values(2).with_columns(column(row_ref=refs)))
        pairs = column(row_ref=refs, aid=[aids[0], aids[19]])
        assert store.intake.attach(PROJECT, pairs).height == 2  # acknowledged, so that the broker forgets
        assert everything(store).height == 18
        assert store.intake.waiting() == []


def test_a_destroyed_project_is_gone_and_another_stays(url, tmp_path):
    sent = values(20).with_columns(column(aid=ids(20)))
    with attributes(url, tmp_path) as store:
        declared(store)
        store.begin_project("other")
        store.declare("other", SCHOOL)
        store.intake.add(PROJECT, "ks2", "r1", sent)
        store.intake.receive(PROJECT, "ks2", "h", values(2).with_columns(column(row_ref=ids(2))))
        kept = values(3).with_columns(column(aid=ids(3)))
        store.intake.add("other", "ks2", "r1", kept)
        with pytest.raises(ConflictError):
            store.intake.add("other", "ks2", "r2", sent)
        counts = store.erasure.destroy_project(PROJECT, WHO)
        assert counts == {
            "a_row": 20, "a_key": 20, "a_subject": 20, "a_half": 2, "a_batch": 2, "a_dataset": 1,
        }  # fmt: skip
        for call in (
            lambda: store.begin_project(PROJECT),
            lambda: store.datasets(PROJECT),
            lambda: store.intake.add(PROJECT, "ks2", "r9", sent),
            lambda: everything(store),
        ):
            with pytest.raises(EndedError):
                call()
        (read,) = store.read("other", "ks2", WHO, may=EVERY_TAG)
        assert same(read, kept)
        assert store.erasure.unfinished() == []


def moves(*rows, first=1):
    """Moves as the broker lists them: what, handle, old aid, new aid."""
    what, handle, old, new = zip(*rows, strict=True)
    numbers = pl.Series(range(first, first + len(rows)), dtype=pl.Int64)
    ids_ = column(handle=handle, old_aid=old, new_aid=new)
    return ids_.with_columns(number=numbers, what=pl.Series(what))


def test_merged_subjects_go_on_as_one(url, tmp_path):
    a, b, c, d, e = aids = ids(5)
    sent = values(5).with_columns(column(aid=aids, family=ids(5)))
    with attributes(url, tmp_path) as store:
        declared(store)
        store.declare(PROJECT, replace(SCHOOL, name="other"))
        store.intake.add(PROJECT, "ks2", "r1", sent[:4])
        store.intake.add(PROJECT, "other", "r2", sent[:2])
        store.flag(PROJECT, column(aid=[a]), Flag.OBJECTED, WHO)
        told = moves(("whole", None, a, b), ("whole", None, b, e), ("whole", None, c, e))
        assert store.moves.followed(PROJECT) == 0
        assert store.moves.follow(PROJECT, told, WHO) == 5
        assert store.moves.follow(PROJECT, told, WHO) == 0
        assert store.moves.followed(PROJECT) == 3
        assert everything(store)["aid"].to_list() == [d]  # e has taken on the objection of a
        store.flag(PROJECT, column(aid=[e]), Flag(0), WHO)
        taken_on = everything(store).filter(pl.col("aid") == e).drop("aid", "family")
        assert same(taken_on, sent[:3])
        assert same(everything(store, "other").drop("aid", "family"), sent[:2])
        kept = everything(store).filter(pl.col("aid") == e)["family"]
        assert set(kept) == set(sent["family"][:3])  # each row keeps the one that it came in
        # A number that is withheld takes what came under it along.
        assert store.moves.follow(PROJECT, moves(("whole", None, e, None), first=4), WHO) == 5
        assert everything(store)["aid"].to_list() == [d]
        with pytest.raises(InputError):
            store.moves.follow(PROJECT, moves(("guess", None, d, e), first=5), WHO)


def test_rows_go_one_by_one_where_a_person_was_several(url, tmp_path):
    a, b, family, other, third = ids(5)
    refs, handles = ids(4), ids(4)
    sent = values(4).with_columns(column(row_ref=refs))
    with attributes(url, tmp_path) as store:
        declared(store)
        store.intake.receive(PROJECT, "ks2", "h1", sent)
        told = column(row_ref=refs, aid=[a, a, a, b], family=[family] * 3 + [None], handle=handles)
        store.intake.attach(PROJECT, told)
        register = values(1, seed=2).with_columns(column(aid=[a]))
        store.intake.add(PROJECT, "ks2", "r1", register)
        store.flag(PROJECT, column(aid=[a]), Flag.RESTRICTED, WHO)
        happened = [
            ("row", handles[0], None, b),
            ("family", None, family, other),
            ("family", None, other, third),
            ("row", handles[1], None, None),
            ("row", handles[3], None, b),  # it is there: nothing
            ("row", ids(1)[0], None, b),  # not one of these: nothing
        ]
        # Some are followed, the answer is lost, and all come again.
        assert store.moves.follow(PROJECT, moves(*happened[:1]), WHO) == 1
        assert store.moves.follow(PROJECT, moves(*happened), WHO) == 5  # a row, and two in two families
        assert everything(store).is_empty()  # the restriction holds for each part
        store.flag(PROJECT, column(aid=[a, b]), Flag(0), WHO)
        found = everything(store)
        assert same(found.filter(pl.col("aid") == b).drop("aid", "family"), sent[[0, 3]])
        assert set(found.filter(pl.col("aid") == b)["family"]) == {third}
        # What a register sent stays, and so does the row that nobody moved.
        rest = pl.concat([sent.drop("row_ref")[2:3], register.drop("aid")])
        assert same(found.filter(pl.col("aid") == a).drop("aid", "family"), rest)
        # And back again.
        back = moves(("row", handles[0], None, a), ("whole", None, b, a), first=20)
        assert store.moves.follow(PROJECT, back, WHO) == 2
        assert set(everything(store)["aid"]) == {a}
        assert set(everything(store)["family"]) == {third}


@pytest.mark.parametrize("turned", [False, True])
def test_r4_r78_a_row_keeps_the_family_that_it_came_in_whichever_was_told_last(url, tmp_path, turned):
    a, one, other, third = ids(4)
    refs, handles = ids(3), ids(3)
    sent = values(3).with_columns(column(row_ref=refs))
    told = column(row_ref=refs[:2], aid=[a, a], family=[one, other], handle=handles[:2])
    with attributes(url, tmp_path) as store:
        declared(store).intake.receive(PROJECT, "ks2", "h1", sent)
        for some in (told[1:], told[:1]) if turned else (told[:1], told[1:]):
            store.intake.attach(PROJECT, some)
        # A register's row came in no family, whatever is said of its person.
        of_register = column(row_ref=refs[2:], aid=[a], family=[third], handle=handles[2:])
        store.intake.attach(PROJECT, of_register, own=False)

        def families():
            found = everything(store).select("family", "score").rows()
            return {score: family for family, score in found}

        scores = [int(score) for score in sent["score"]]
        assert [families()[score] for score in scores[:2]] == [one, other]
        assert families()[scores[2]] in (one, other)
        assert store.moves.follow(PROJECT, moves(("family", None, one, third)), WHO) == 1
        assert [families()[score] for score in scores[:2]] == [third, other]
        rows = store.intake._rows
        with rows.write() as at:  # an administrator who puts somebody into another family is noticed
            at.execute(sa.update(ROW).where(ROW.c.family == third).values(family=other))
        with pytest.raises(SealBrokenError):
            everything(store)


def test_no_value_is_in_the_clear_in_any_file(tmp_path, sqlite_url, caplog):
    aids, refs = ids(50), ids(50)
    frame = pl.DataFrame(
        {"score": [8_765_431] * 50, "cost": ["7654.32"] * 50, "left_month": ["2019-07"] * 50}
    )
    refused = "CB1 1AA ada@example.org"
    with attributes(sqlite_url, tmp_path) as store:
        declared(store)
        store.intake.add(PROJECT, "ks2", "r1", frame.with_columns(column(aid=aids)))
        store.intake.receive(PROJECT, "ks2", "h1", frame.with_columns(column(row_ref=refs)))
        bad = frame.with_columns(area=pl.lit(refused)).with_columns(column(aid=aids))
        with pytest.raises(ValuesRefused):
            store.intake.add(PROJECT, "ks2", "r2", bad)
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {path.name for path in files} >= {"store.db", "store.db-wal", "attributes.ledger"}
        for path in files:
            data = path.read_bytes()
            for canary in ("8765431", "7654.32", "765432", "2019-07", refused, "example.org"):
                assert canary.encode() not in data, (path.name, canary)
    assert caplog.text == ""
