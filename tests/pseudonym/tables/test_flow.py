"""A table from its declaration to its publication, with everything that may go wrong."""

from __future__ import annotations

import dataclasses
import json

import polars as pl
import pytest

from pseudonym import registers
from pseudonym.approvers import Register
from pseudonym.attributes import Flag
from pseudonym.destruction import rewrap
from pseudonym.errors import (
    ConflictError,
    EndedError,
    InputError,
    LawError,
    NotFoundError,
    ReleaseError,
    RequestRefusedError,
    SealBrokenError,
    TableError,
)
from pseudonym.keks import KekRing
from pseudonym.lawful.cover import Cover
from pseudonym.storage.rows_attributes import AttributeRows
from pseudonym.storage.schema_attributes import TABLE
from pseudonym.tables import flow
from pseudonym.tables.flow import Reader
from pseudonym.tables.handout import to_csv
from pseudonym.tables.keeping import State
from pseudonym.tables.report import DIFFERENCE, TableReport
from tests.pseudonym.release.scene import put
from tests.pseudonym.separation.parts import PROJECT, column, kek
from tests.pseudonym.tables.scene import MANDATE, PUBLIC, SPEC, offences, people, scene


@pytest.fixture
def made(sqlite_url, tmp_path):
    with scene(sqlite_url, tmp_path) as found:
        yield found


def test_r40_a_council_reads_its_own_area_and_the_total_and_no_other(made):
    made.released()
    for person, area in (("carol", "fenham"), ("mark", "marwick")):
        found = {place[0] for place in made.read("offences", person)}
        assert found == {area, "total"}
    with pytest.raises(NotFoundError):  # of a council, but nobody said which
        made.read("offences", "mallory")
    with pytest.raises(NotFoundError):  # the right name, but no council's certificate
        made.read("offences", "carol", council=False)
    everything = made.desk.read(PROJECT, "offences", MANDATE, Reader("dora", everything=True))[1]
    assert {one.categories[0] for one in everything.lines} == {"fenham", "marwick", "orlstead", "total"}


def test_r40_what_a_council_reads_holds_nothing_of_another(made):
    made.released()
    table = made.desk.read(PROJECT, "offences", MANDATE, Reader("carol", council=True))[1]
    text = table.to_file().decode()
    rows = json.loads(text)["lines"]
    assert not any("marwick" in row["categories"] or "orlstead" in row["categories"] for row in rows)
    assert table.from_file(table.to_file()) == table
    assert to_csv(table).count("fenham") == len(rows) // 2


def test_r40_nothing_is_read_before_two_others_have_approved(made):
    record = made.checked()
    assert record.state is State.CHECKED
    for reader in (Reader("carol", council=True), Reader("rita"), Reader("dora", everything=True)):
        with pytest.raises((NotFoundError, TableError)):
            made.desk.read(PROJECT, "offences", MANDATE, reader)
    with pytest.raises(RequestRefusedError) as refused:
        made.desk.approve(PROJECT, "offences", MANDATE, made.approval(record, "olive"))
    assert refused.value.reason == "APPROVER_UNKNOWN"
    made.desk.approve(PROJECT, "offences", MANDATE, made.approval(record, "bob"))
    with pytest.raises(RequestRefusedError) as refused:
        made.desk.approve(PROJECT, "offences", MANDATE, made.approval(record, "bobby"))
    assert refused.value.reason == "APPROVER_UNKNOWN"  # another name of the same person, in no declaration
    with pytest.raises(NotFoundError):
        made.read("offences", "carol")
    made.desk.approve(PROJECT, "offences", MANDATE, made.approval(record, "dora"))
    assert made.read("offences", "carol")


def test_approvals_are_of_exactly_one_build(made):
    record = made.checked()
    approval = made.approval(record, "bob")
    made.clock.now += 5
    again = made.desk.check(PROJECT, "offences", MANDATE)
    assert again.manifest != record.manifest
    with pytest.raises(RequestRefusedError) as refused:
        made.desk.approve(PROJECT, "offences", MANDATE, approval)
    assert refused.value.reason == "APPROVAL_TIME" or refused.value.reason == "APPROVAL_SIGNATURE"
    made.approve(again)
    with pytest.raises(TableError):
        made.desk.check(PROJECT, "offences", MANDATE)


def test_an_approval_that_is_sent_again_counts_once(made):
    record = made.checked()
    first, second = made.approval(record, "bob"), made.approval(record, "dora")
    for _ in range(2):
        assert len(made.desk.approve(PROJECT, "offences", MANDATE, first).approvals) == 1
    for _ in range(2):
        assert made.desk.approve(PROJECT, "offences", MANDATE, second).state is State.APPROVED


def test_r43_only_what_two_approved_for_publication_is_published_and_by_an_approver(made):
    made.released()
    with pytest.raises(TableError):  # it is for councils
        made.desk.publish(PROJECT, "offences", MANDATE, "bob")
    record = made.checked(PUBLIC)
    with pytest.raises(TableError):  # nobody has approved it
        made.desk.publish(PROJECT, "offences-2", MANDATE, "bob")
    made.approve(record)
    with pytest.raises(NotFoundError):
        made.read("offences-2", "rita", council=False)
    for person in ("olive", "rita", "mallory"):
        with pytest.raises(RequestRefusedError):
            made.desk.publish(PROJECT, "offences-2", MANDATE, person)
    done = made.desk.publish(PROJECT, "offences-2", MANDATE, "dora")
    assert (done.state, done.publisher, done.published > 0) == (State.PUBLISHED, "dora", True)
    assert made.desk.publish(PROJECT, "offences-2", MANDATE, "bob") == done
    everybody = made.read("offences-2", "rita", council=False)
    assert {place[0] for place in everybody} == {"fenham", "marwick", "orlstead", "total"}
    assert [one.name for one in made.desk.all(PROJECT, Reader("rita"))] == ["offences-2"]
    listed = made.desk.all(PROJECT, Reader("carol", council=True))
    assert [one.name for one in listed] == ["offences", "offences-2"]


def test_r41_what_was_released_meanwhile_is_held_against_before_the_second_approval(made):
    waiting = made.checked(PUBLIC)
    made.desk.approve(PROJECT, waiting.name, MANDATE, made.approval(waiting, "bob"))
    made.released()
    with pytest.raises(TableError):
        made.desk.approve(PROJECT, waiting.name, MANDATE, made.approval(waiting, "dora"))
    again = made.desk.check(PROJECT, waiting.name, MANDATE)
    assert (again.against, again.approvals) == (("offences",), ())
    assert TableReport.from_file(again.report.encode()).earlier == ("offences",)
    assert made.approve(again).state is State.APPROVED


def test_r41_a_later_table_from_which_few_were_erased_is_refused_with_its_code(made):
    made.released()
    gone = column(aid=made.rows["aid"][:6].to_list())
    made.store.erasure.erase(PROJECT, gone, MANDATE)
    record = made.checked(PUBLIC)
    report = TableReport.from_file(record.report.encode())
    assert (record.state, report.reason) == (State.BLOCKED, DIFFERENCE)
    assert (record.table, record.facts) == ("", {})
    with pytest.raises(TableError):
        made.approve(record)
    # What was released stays: the register holds later tables against it as it was.
    assert made.read("offences", "carol")


def test_r44_feedback_goes_the_same_way_under_the_same_rules(made):
    from pseudonym.datasets import Column, Dataset, Kind
    from pseudonym.roles.commands_table import ready_made

    answers = ("very", "rather", "little", "not-at-all", "no-answer")
    feedback = Dataset(
        "feedback",
        (
            Column("council", Kind.CODE, codes=("fenham", "marwick", "orlstead")),
            Column("satisfied", Kind.CODE, codes=answers),
            Column("answered", Kind.MONTH),
        ),
    )
    made.store.declare(PROJECT, feedback)
    told = made.rows.select("aid", "family", "council").with_columns(
        satisfied=pl.Series([answers[0 if at % 40 else 1 + at // 40 % 4] for at in range(400)]),
        answered=pl.lit("2026-10"),
    )
    put(made.store, "feedback", told)
    text = ready_made("feedback").replace('"alice", "bob"', '"bob", "dora"')
    record = made.released(text)
    # So few said anything but "very" that the answers are taken together, or suppressed.
    report = TableReport.from_file(record.report.encode())
    assert report.coarser == ("satisfied",)
    rows = made.desk.read(PROJECT, "feedback", MANDATE, Reader("carol", council=True))[1].lines
    assert {one.categories[0] for one in rows} == {"fenham", "total"}
    assert any(one.mark == "c" for one in rows)


def test_r41_small_cells_of_persons_or_families_are_gone_and_the_restricted_are_not_counted(made):
    before = json.loads(made.checked().report)["persons"]
    made.store.flag(PROJECT, column(aid=made.rows["aid"][:10].to_list()), Flag.RESTRICTED, MANDATE)
    assert json.loads(made.desk.check(PROJECT, "offences", MANDATE).report)["persons"] == before - 10


def test_a_declaration_that_no_table_is_made_with_is_refused_and_one_of_before_still_reads(made, monkeypatch):
    finer = PUBLIC.replace('kind = "rate"', 'kind = "mean"\nbase = 1').replace("an offence", "offences")
    other = PUBLIC.replace('latest = "as_of"', 'latest = "as_of"\nopt_out = "exempt: made-up people"')
    for text in (finer, other):
        with pytest.raises(InputError):
            made.desk.create(text, "olive", MANDATE, PROJECT)
    with monkeypatch.context() as before:
        before.setattr(flow, "check_declaration", lambda spec: None)
        waiting = made.checked(finer.replace("offences-2", "waiting"))
        released = made.released(finer)
        made.desk.publish(PROJECT, released.name, MANDATE, "dora")
    assert made.read(released.name, "rita", council=False)  # what was released under older rules
    assert released.name in [one.name for one in made.desk.all(PROJECT, Reader("rita"))]
    with pytest.raises(InputError, match="multiples of 1"):  # and what was not is not released now
        made.desk.check(PROJECT, waiting.name, MANDATE)


def test_r54_a_table_says_the_reason_for_which_its_health_register_was_exempt(made):
    made.store.declare(PROJECT, registers.load("hes").dataset)
    stays = offences(made.rows).select(
        "aid",
        "family",
        admission_month="offence_month",
        discharge_month="offence_month",
        episode=pl.lit("elective"),
        cause=pl.lit("injury"),
    )
    put(made.store, "hes", stays)
    basis = ("exempt anonymised OS-1", 0)
    made.store.registers.withdraw(PROJECT, "hes", 1, MANDATE, basis)
    said = 'tags = ["special-category"]\nopt_out = "exempt: {}"'
    hospital = PUBLIC.replace('"pnc"', '"hes"').replace("an offence", "a stay").replace("offence", "stay")
    for name, reason in (("stays-2", "made-up-data"), ("stays-3", "anonymised")):
        text = hospital.replace('tags = ["criminal-stay"]', said.format(reason)).replace("stays-2", name)
        if reason == "made-up-data":
            with pytest.raises(ReleaseError, match="another reason") as refused:
                made.checked(text)
            assert "exempt: anonymised" in refused.value.help
        else:
            assert made.checked(text).state is State.CHECKED


def test_every_reading_is_said_before_and_names_its_columns(made):
    made.checked()
    read = {one.detail[0]: set(one.detail[1:]) for one in made.said if one.action == "read"}
    assert read["families"] == {"council", "arm", "as_of"}
    assert {one.mandate for one in made.said if one.action == "read"} == {MANDATE}


def test_the_same_declaration_twice_is_one_table_and_another_is_refused(made):
    first = made.desk.create(SPEC, "olive", MANDATE, PROJECT)
    assert made.desk.create(SPEC, "olive", MANDATE, PROJECT) == first
    with pytest.raises(ConflictError):
        made.desk.create(SPEC.replace("by council and arm", "otherwise"), "olive", MANDATE, PROJECT)
    with pytest.raises(InputError):
        made.desk.create(SPEC.replace("tf-2026", "tf-2027"), "olive", MANDATE, PROJECT)
    with pytest.raises(InputError):
        made.desk.create(SPEC.replace('"pnc"', '"hes"').replace("offences", "x"), "olive", MANDATE, PROJECT)


def test_an_approver_who_is_revoked_closes_what_is_not_published(made):
    made.released()
    register = made.desk._register
    revoked = [dataclasses.replace(one, revoked=one.name == "bob") for one in register.approvers]
    made.desk._register = Register(revoked, register.requesters)
    with pytest.raises(RequestRefusedError):
        made.read("offences", "carol")


def test_a_table_lies_sealed_and_one_that_was_altered_does_not_open(made):
    made.released()
    rows = AttributeRows(made.store.tables._context.rows.store)
    with rows.write() as at:
        (kept,) = at.execute(TABLE.select())
        assert b"fenham" not in kept.ct
        assert b"programme" not in kept.ct
        broken = kept.ct[:-3] + bytes([kept.ct[-3] ^ 1]) + kept.ct[-2:]
        at.execute(TABLE.update().values(ct=broken))
    with pytest.raises(SealBrokenError):
        made.read("offences", "carol")


def test_tables_are_renewed_with_the_keys_and_end_with_the_project(url, tmp_path):
    with scene(url, tmp_path) as made:
        made.released()
        old, new = kek(1), kek(2)
        context = made.store.tables._context
        rewrap(AttributeRows(context.rows.store), KekRing(new, (old,)))
        renewed = dataclasses.replace(context, keks=KekRing(new))
        made.store.tables._context = renewed
        assert made.read("offences", "carol")
        counts = made.store.erasure.destroy_project(PROJECT, MANDATE)
        assert counts["a_table"] == 1
        with pytest.raises(EndedError):
            made.desk.get(PROJECT, "offences")


def test_people_who_come_later_and_are_many_make_a_table_of_their_own(made):
    made.released()
    more = people(400, seed=9, first=5_000)
    put(made.store, "families", more.with_columns(as_of=pl.lit("2025-11")), "2")
    record = made.checked(PUBLIC)
    assert record.state is State.CHECKED
    assert record.persons == 800
    assert offences(more).height > 50


def test_nothing_of_a_table_is_done_for_another_purpose_than_its_own(made):
    other = dataclasses.replace(MANDATE, purpose="audit-2026")
    kept_from = made.rows["aid"][:40].to_list()
    made.store.rights.mark(PROJECT, kept_from, Flag.LIMITED, [MANDATE.purpose], MANDATE)
    record = made.checked(PUBLIC)
    assert record.persons == made.rows.height - 40
    with pytest.raises(InputError):  # they would be counted
        made.desk.check(PROJECT, record.name, other)
    assert made.desk.get(PROJECT, record.name) == record
    with pytest.raises(InputError):
        made.desk.approve(PROJECT, record.name, other, made.approval(record, "bob"))
    made.approve(record)
    with pytest.raises(InputError):
        made.desk.read(PROJECT, record.name, other, Reader("dora", everything=True))
    with pytest.raises(InputError):
        made.desk.publish(PROJECT, record.name, other, "dora")


def test_who_is_erased_or_restricted_after_a_check_is_in_no_table_that_is_approved_after(made):
    gone = column(aid=made.rows["aid"][:3].to_list())

    def limited(*purposes):
        some = made.rows["aid"][3:6].to_list()
        made.store.rights.mark(PROJECT, some, Flag.LIMITED, purposes, MANDATE)

    steps = (
        lambda: made.store.flag(PROJECT, gone, Flag.RESTRICTED, MANDATE),
        lambda: made.store.erasure.erase(PROJECT, gone, MANDATE),
        lambda: limited("audit-2026"),
        lambda: limited(MANDATE.purpose),
    )
    for step in steps:
        record = made.checked()
        made.desk.approve(PROJECT, record.name, MANDATE, made.approval(record, "bob"))
        step()
        with pytest.raises(TableError, match="since this table was checked"):
            made.desk.approve(PROJECT, record.name, MANDATE, made.approval(record, "dora"))
    assert made.released().persons == made.rows.height - 6


def test_a_table_follows_the_broker_first_and_the_law_is_asked_again_before_it_is_approved(made, monkeypatch):
    followed: list[str] = []
    monkeypatch.setattr(made.desk, "_follow", followed.append)
    record = made.checked()
    assert followed == [PROJECT]
    monkeypatch.setattr(made.desk, "_cover", Cover({}, required=True))
    with pytest.raises(LawError):
        made.desk.approve(PROJECT, record.name, MANDATE, made.approval(record, "bob"))
