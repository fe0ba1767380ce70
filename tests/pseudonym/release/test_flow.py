"""A release from its specification to its destruction, with everything that may go wrong."""

from __future__ import annotations

import io
import json
import os
import threading
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pseudonym.access import Mandate
from pseudonym.approvers import Register
from pseudonym.attributes import Flag
from pseudonym.audit import Event
from pseudonym.datasets import Tag
from pseudonym.destruction import rewrap
from pseudonym.errors import (
    ConflictError,
    EndedError,
    InputError,
    NotFoundError,
    ReleaseError,
    RequestRefusedError,
    SealBrokenError,
    SealedError,
)
from pseudonym.hpke import OpeningKey
from pseudonym.keks import KekRing
from pseudonym.release import bundle
from pseudonym.release.flow import Decided, ReleaseDesk
from pseudonym.release.keeping import State
from pseudonym.release.papers import Approval
from pseudonym.roles.release_service import overdue_alarm
from pseudonym.storage import rows as storage_rows
from pseudonym.storage.rows_attributes import AttributeRows
from pseudonym.storage.schema_attributes import RELEASE_PART
from tests.pseudonym.release.scene import MANDATE, PNC, Numbers, Scene, scene
from tests.pseudonym.separation.parts import PROJECT, attributes, column, kek

CANARY = "Zebulon Quillfeather"
ALL = frozenset(Tag)


@pytest.fixture
def set_up(sqlite_url, tmp_path):
    with scene(sqlite_url, tmp_path) as made:
        yield made


def frames(content):
    return {
        name.removesuffix(".parquet"): pl.read_parquet(io.BytesIO(data))
        for name, data in content.files.items()
        if name.endswith(".parquet")
    }


def test_r32_r79_an_approved_release_opens_at_its_recipient_and_is_what_was_stored(url, tmp_path):
    with scene(url, tmp_path) as set_up:
        opens_and_is_what_was_stored(set_up)


def opens_and_is_what_was_stored(set_up):
    record = set_up.approved()
    assert record.state is State.APPROVED
    content = bundle.opened(set_up.fetched(record), set_up.opening)
    assert content.manifest.decode() == record.manifest
    tables = frames(content)
    assert tables["persons"].height == 400
    assert tables["families"].height == 100
    stored = set_up.people.rows
    assert tables["pnc"].height == stored["pnc"].height

    # The roll-up, counted another way: from the rows that went in, family by family.
    per_person: dict[bytes, int] = {}
    for row in stored["pnc"].iter_rows(named=True):
        per_person[row["aid"]] = per_person.get(row["aid"], 0) + 1
    expected = sorted(min(per_person.get(aid, 0), 3) for aid in set_up.people.aids)
    assert sorted(tables["persons"]["offences"]) == expected
    by_family: dict[bytes, list[bytes]] = {}
    for row in stored["family-file"].iter_rows(named=True):
        by_family.setdefault(row["family"], []).append(row["aid"])
    members = sorted(sum(aid in per_person for aid in aids) for aids in by_family.values())
    assert sorted(tables["families"]["members_offences"]) == members

    # Links: a column for each register, and no internal id anywhere.
    linked = stored["linked"].filter(pl.col("register") == "pnc")["outcome"].value_counts().sort("outcome")
    told = tables["persons"]["link_pnc_outcome"].value_counts().sort("link_pnc_outcome")
    assert told.rows() == linked.rows()
    whole = b"".join(content.files.values())
    assert not any(aid in whole or aid.hex().encode() in whole for aid in set_up.people.aids)
    dictionary = pl.read_csv(content.files["dictionary.csv"])
    for name, frame in tables.items():
        said = dictionary.filter(pl.col("table") == name)
        assert said["name"].to_list() == frame.columns
        assert said["missing"].to_list() == [frame[one].null_count() for one in frame.columns]
    quality = json.loads(content.files["quality.json"])
    assert quality["links"]["link_pnc_outcome"] == dict(told.rows())
    assert (
        quality["tables"]["persons"]["present"]["support_hours"] == tables["persons"]["support_hours"].count()
    )


def test_r74_a_release_says_by_arm_what_linking_with_each_register_came_to(set_up):
    """Of each arm and of other coded columns, counted another way: from the rows that went in."""
    content = bundle.opened(set_up.fetched(set_up.approved()), set_up.opening)
    by = json.loads(content.files["quality.json"])["links_by"]
    stored = set_up.people.rows
    arms = dict(stored["family-file"].select("aid", "arm").iter_rows())
    counted: dict[str, dict[str, dict[str, int]]] = {}
    for aid, register, outcome in stored["linked"].select("aid", "register", "outcome").iter_rows():
        of_arm = counted.setdefault(arms[aid], {}).setdefault(f"link_{register}_outcome", {})
        of_arm[outcome] = of_arm.get(outcome, 0) + 1
    assert by["arm"] == counted
    assert set(by["arm"]) == {"programme", "comparison"}
    # By the other groups too, as the file has them: bands, and who has no value.
    persons = frames(content)["persons"]
    assert set(by) == {"age", "sex", "arm", "support_hours"}
    for name, groups in by.items():
        rows = persons.group_by(pl.col(name).fill_null("missing")).len()
        told = {group: sum(outcomes["link_pnc_outcome"].values()) for group, outcomes in groups.items()}
        assert told == dict(rows.iter_rows())


def test_r32_r43_nothing_is_readable_before_two_have_approved(set_up):
    for step in (lambda: set_up.created(), lambda: set_up.checked()):
        record = step()
        with pytest.raises(ReleaseError):
            set_up.fetched(record)
    record = set_up.desk.approve(PROJECT, record.name, MANDATE, set_up.approval(record, "bob"))
    assert record.state is State.CHECKED
    with pytest.raises(ReleaseError):
        set_up.fetched(record)
    record = set_up.desk.approve(PROJECT, record.name, MANDATE, set_up.approval(record, "dora"))
    assert set_up.fetched(record).startswith(bundle.MAGIC)
    # What is kept cannot be opened by the recipient either: the lock is made when it is fetched.
    kept = b"".join(set_up.store.releases.parts(record))
    with pytest.raises(SealedError):
        bundle.opened(kept, set_up.opening)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("bob", "bob"), None),  # the same approval twice changes nothing
        (("bob", "bobby"), "APPROVER_REPEATED"),  # one person under two names
        (("olive",), "APPROVER_IS_REQUESTER"),
        (("erin",), "APPROVER_UNKNOWN"),  # in the register, and not in the specification
    ],
)
def test_r32_approvals_are_of_two_other_people(set_up, names, reason):
    text = set_up.changed(('approvers = ["bob", "dora"]', 'approvers = ["bob", "bobby", "dora", "olive"]'))
    record = set_up.checked(text)
    approve = [set_up.approval(record, name) for name in names]
    if reason is None:
        for one in approve:
            record = set_up.desk.approve(PROJECT, record.name, MANDATE, one)
        assert (record.state, len(record.approvals)) == (State.CHECKED, 1)
        return
    for one in approve[:-1]:
        set_up.desk.approve(PROJECT, record.name, MANDATE, one)
    with pytest.raises(RequestRefusedError) as refused:
        set_up.desk.approve(PROJECT, record.name, MANDATE, approve[-1])
    assert refused.value.reason == reason


def test_r32_changed_content_needs_new_approvals(set_up):
    record = set_up.checked()
    old = [set_up.approval(record, name) for name in ("bob", "dora")]
    set_up.desk.approve(PROJECT, record.name, MANDATE, old[0])
    set_up.clock.now += 5
    again = set_up.desk.check(PROJECT, record.name, MANDATE)
    assert (again.approvals, again.state) == ((), State.CHECKED)
    assert again.manifest != record.manifest
    for one in old:
        with pytest.raises(RequestRefusedError) as refused:
            set_up.desk.approve(PROJECT, record.name, MANDATE, one)
        assert refused.value.reason in ("APPROVAL_SIGNATURE", "APPROVAL_TIME")


def test_r32_a_signature_is_over_digest_name_and_time(set_up):
    record = set_up.checked()
    good = set_up.approval(record, "bob")
    digest, time = good.digest, good.time
    other = Approval.sign(digest, "bob", set_up.approvers["dora"], time)
    renamed = Approval(digest, "dora", time, good.signature)
    moved = Approval(digest, "bob", time.replace(second=time.second + 1), good.signature)
    for forged in (other, renamed, moved):
        with pytest.raises(RequestRefusedError) as refused:
            set_up.desk.approve(PROJECT, record.name, MANDATE, forged)
        assert refused.value.reason == "APPROVAL_SIGNATURE"
    assert Approval.from_file(good.to_file()) == good


def test_r39_what_is_blocked_is_neither_kept_nor_approved(sqlite_url, tmp_path):
    with scene(sqlite_url, tmp_path, canaries=("programme",)) as made:
        record = made.checked()
        assert record.state is State.BLOCKED
        assert list(made.store.releases.parts(record)) == []
        with pytest.raises(ReleaseError):
            made.desk.approve(PROJECT, record.name, MANDATE, made.approval(record, "bob"))


def test_a_specification_says_what_comes_before_it(sqlite_url, tmp_path):
    with attributes(sqlite_url, tmp_path) as store:
        store.begin_project(PROJECT)
        desk = ReleaseDesk(store, Numbers(), Decided(Register((), {})), lambda *_: b"")
        keys: Any = SimpleNamespace(opening=OpeningKey.generate()[0], recipient=Ed25519PrivateKey.generate())
        text = Scene.spec(keys, linked="links")
        with pytest.raises(InputError) as linked:
            desk.create(text, "olive", MANDATE, PROJECT)
        assert "no register was linked" in str(linked.value)
        assert "kinlink register link" in linked.value.help


def test_only_named_researchers_fetch_and_only_their_key_opens(set_up):
    record = set_up.approved()
    with pytest.raises(NotFoundError):
        set_up.fetched(record, "mallory")
    fetched = set_up.fetched(record)
    stranger, _ = OpeningKey.generate()
    with pytest.raises(SealedError, match="not sealed to this key"):
        bundle.opened(fetched, stranger)
    place = len(fetched) // 2
    with pytest.raises(SealBrokenError):
        bundle.opened(fetched[:place] + bytes([fetched[place] ^ 1]) + fetched[place + 1 :], set_up.opening)
    with pytest.raises(SealBrokenError):
        bundle.opened(fetched[:-100], set_up.opening)


@pytest.mark.parametrize("what", ["erased", "restricted"])
def test_nobody_who_was_erased_or_restricted_since_goes_out(set_up, what):
    record = set_up.approved()
    one = column(aid=set_up.people.aids[:1])
    if what == "erased":
        set_up.store.erasure.erase(PROJECT, one, MANDATE)
    else:
        set_up.store.flag(PROJECT, one, Flag.RESTRICTED, MANDATE)
    with pytest.raises(ReleaseError):
        set_up.fetched(record)
    record = set_up.desk.check(PROJECT, record.name, MANDATE)
    assert record.persons == 399
    for name in ("bob", "dora"):
        record = set_up.desk.approve(PROJECT, record.name, MANDATE, set_up.approval(record, name))
    assert frames(bundle.opened(set_up.fetched(record), set_up.opening))["persons"].height == 399


def parts_kept(set_up):
    with set_up.store._context.rows.read() as at:
        return at.execute(sa.select(sa.func.count()).select_from(RELEASE_PART)).scalar_one()


@pytest.mark.parametrize("what", ["erased", "restricted"])
def test_r61_who_is_erased_while_a_release_is_built_is_in_no_content_that_is_kept(set_up, monkeypatch, what):
    one = column(aid=set_up.people.aids[:1])
    record = set_up.created()
    given = set_up.desk._issue

    def meanwhile(*asked):
        if what == "erased":
            set_up.store.erasure.erase(PROJECT, one, MANDATE)
        else:
            set_up.store.flag(PROJECT, one, Flag.RESTRICTED, MANDATE)
        return given(*asked)

    monkeypatch.setattr(set_up.desk, "_issue", meanwhile)
    with pytest.raises(ReleaseError):
        set_up.desk.check(PROJECT, record.name, MANDATE)
    assert parts_kept(set_up) == 0
    assert set_up.desk.get(PROJECT, record.name).state is State.CREATED
    monkeypatch.setattr(set_up.desk, "_issue", given)
    assert set_up.desk.check(PROJECT, record.name, MANDATE).persons == 399


def test_r61_the_content_of_a_release_goes_with_who_is_erased(set_up):
    record = set_up.approved()
    assert parts_kept(set_up) > 0
    _, pieces = set_up.desk.read(PROJECT, record.name, MANDATE, "rita")
    next(pieces)
    set_up.store.erasure.erase(PROJECT, column(aid=set_up.people.aids[:1]), MANDATE)
    assert parts_kept(set_up) == 0
    with pytest.raises(ReleaseError):  # a fetch that had begun does not end as if it were whole
        list(pieces)


def test_a_release_is_built_of_one_state_of_the_store(url, tmp_path, monkeypatch):
    with scene(url, tmp_path) as set_up:
        monkeypatch.setattr(storage_rows, "AT_ONCE", 100)
        rows, store = set_up.store._context.rows, set_up.store
        read, last = rows.sealed_rows, max(set_up.people.aids)
        values = {one.name: ["2022-05" if one.name == "offence_month" else None] for one in PNC.columns}
        added = pl.DataFrame(values, schema=dict.fromkeys(values, pl.String))
        added = added.with_columns(column(aid=[last]))

        def meanwhile(*asked):
            found = read(*asked)
            other = threading.Thread(target=store.intake.add, args=(PROJECT, "pnc", "late", added))
            other.start()  # another's work, once for all: the same batch again is not stored again
            other.join()
            return found

        monkeypatch.setattr(rows, "sealed_rows", meanwhile)
        record = set_up.checked()
        monkeypatch.setattr(rows, "sealed_rows", read)
        before = set_up.people.rows["pnc"].height
        assert pl.concat(store.read(PROJECT, "pnc", MANDATE, may=ALL)).height == before + 1
        for name in ("bob", "dora"):
            record = set_up.desk.approve(PROJECT, record.name, MANDATE, set_up.approval(record, name))
        content = bundle.opened(set_up.fetched(record), set_up.opening)
        assert frames(content)["pnc"].height == before


@pytest.mark.parametrize("what", ["withdrawn", "another's"])
def test_r80_rows_that_a_later_run_takes_away_do_not_go_out(set_up, what):
    store, (one, other, *_) = set_up.store, set_up.people.aids
    refs, handles = [os.urandom(16) for _ in range(3)], [os.urandom(16) for _ in range(3)]
    rows = pl.DataFrame(
        {column.name: ["2022-05" if column.name == "offence_month" else None] * 3 for column in PNC.columns},
        schema={column.name: pl.String for column in PNC.columns},
    )
    store.intake.receive(PROJECT, "pnc", "extract", rows.with_columns(column(row_ref=refs)))

    def linked(run, aid):
        told = column(row_ref=refs, aid=[aid] * 3, family=[None] * 3, handle=handles)
        store.registers.link(PROJECT, "pnc", run, told, MANDATE)

    linked(1, one)
    record = set_up.approved()
    linked(2, one)
    assert store.registers.withdraw(PROJECT, "pnc", 2, MANDATE) == 0
    assert set_up.fetched(record)  # the run said the same
    if what == "withdrawn":
        assert store.registers.withdraw(PROJECT, "pnc", 3, MANDATE) == 3
    else:
        linked(3, other)
    with pytest.raises(ReleaseError):
        set_up.fetched(record)


def test_what_expired_is_deleted_not_read_and_overdue(set_up):
    record = set_up.approved()
    set_up.fetched(record)
    assert (set_up.desk.overdue(), set_up.desk.drop_expired()) == ([], 0)
    set_up.clock.now = record.expires
    with pytest.raises(ReleaseError):
        set_up.fetched(record)
    assert [one.name for one in set_up.desk.overdue()] == ["nis-1"]
    written: list[Event] = []
    house: Any = SimpleNamespace(log=SimpleNamespace(append=written.extend))
    assert overdue_alarm(house, set_up.desk)() == 1
    assert [(one.action, one.project, one.purpose) for one in written] == [
        ("release.overdue", PROJECT, "evaluation-2026")
    ]
    written[0].check()  # what the log takes
    assert (set_up.desk.drop_expired(), set_up.desk.drop_expired()) == (1, 0)
    done = set_up.desk.certify_destroyed(PROJECT, record.name, set_up.stated(record))
    assert done.state is State.DESTROYED
    assert set_up.desk.overdue() == []


def test_the_recipients_statement_ends_it_and_no_other(set_up):
    record = set_up.approved()
    with pytest.raises(ReleaseError):  # nothing was given out yet
        set_up.desk.certify_destroyed(PROJECT, record.name, set_up.stated(record))
    set_up.fetched(record)
    forged = set_up.stated(record, Ed25519PrivateKey.generate())
    with pytest.raises(RequestRefusedError):
        set_up.desk.certify_destroyed(PROJECT, record.name, forged)
    with pytest.raises(NotFoundError):
        set_up.desk.certify_destroyed(PROJECT, record.name, set_up.stated(record, who="mallory"))
    statement = set_up.stated(record)
    done = set_up.desk.certify_destroyed(PROJECT, record.name, statement)
    assert (done.certificate, set_up.certified) == ("certificate", [statement])
    assert set_up.desk.certify_destroyed(PROJECT, record.name, statement) == done
    assert list(set_up.store.releases.parts(done)) == []
    with pytest.raises(ReleaseError):
        set_up.fetched(done)


def test_what_was_given_out_is_kept_to_hold_later_ones_against(set_up):
    record = set_up.approved()
    set_up.fetched(record)
    with pytest.raises(ReleaseError):
        set_up.desk.check(PROJECT, record.name, MANDATE)
    later = set_up.checked(set_up.changed(('name = "nis-1"', 'name = "nis-2"'), ('"year" }', '"quarter" }')))
    told = [one for one in json.loads(later.report)["findings"] if one["check"] == "earlier releases"]
    assert [one["place"] for one in told] == ["pnc.offence_year"]
    assert "400 persons who are in nis-1" in told[0]["message"]


def test_the_same_specification_twice_is_one_release_and_another_is_refused(set_up):
    assert set_up.created() == set_up.created()
    with pytest.raises(ConflictError):
        set_up.created(set_up.changed(("first wave", "second wave")))
    for wrong in (("tf-2026", "tf-2027"), ('"evaluation-2026"', '"curiosity"'), ("2027-12-31", "2020-12-31")):
        with pytest.raises(InputError):
            set_up.created(set_up.changed(wrong, ('name = "nis-1"', 'name = "nis-3"')))


def test_every_reading_is_said_before_and_names_its_columns(set_up):
    set_up.checked()
    read = {one.detail[0]: set(one.detail[1:]) for one in set_up.said if one.action == "read"}
    assert read["pnc"] == {"offence_month", "offence_group", "disposal"}
    assert read.keys() == {"family-file", "pnc", "linked"}
    assert {one.mandate for one in set_up.said if one.action == "read"} == {MANDATE}


def test_a_releases_key_is_renewed_with_the_others_and_ends_with_the_project(url, tmp_path):
    old, new = kek(1), kek(2)

    class Ring:
        """The newest of the keys that there are."""

        def __init__(self):
            self.ring = KekRing(old)

        @property
        def current(self):
            return self.ring.current

        def of(self, kid):
            return self.ring.of(kid)

    keks = Ring()
    with scene(url, tmp_path, keks=keks) as made:
        record = made.approved()
        keks.ring = KekRing(new, (old,))
        rows = AttributeRows(made.store.releases._context.rows.store)
        rewrap(rows, keks)
        keks.ring = KekRing(new)
        assert bundle.opened(made.fetched(record), made.opening).manifest.decode() == record.manifest
        counts = made.store.erasure.destroy_project(PROJECT, MANDATE)
        assert (counts["a_release"], counts["a_release_person"]) == (1, 400)
        with pytest.raises(EndedError):
            made.desk.get(PROJECT, "nis-1")


def test_nothing_of_a_release_is_done_for_another_purpose_than_its_own(set_up):
    other = Mandate(MANDATE.actor, "audit-2026")
    kept_from = set_up.people.aids[:40]
    set_up.store.rights.mark(PROJECT, kept_from, Flag.LIMITED, [MANDATE.purpose], MANDATE)
    record = set_up.checked()
    assert record.persons == len(set_up.people.aids) - 40
    with pytest.raises(InputError):  # they would be in it
        set_up.desk.check(PROJECT, record.name, other)
    with pytest.raises(InputError):
        set_up.desk.approve(PROJECT, record.name, other, set_up.approval(record, "bob"))
    for name in ("bob", "dora"):
        record = set_up.desk.approve(PROJECT, record.name, MANDATE, set_up.approval(record, name))
    with pytest.raises(InputError):
        set_up.desk.read(PROJECT, record.name, other, "rita")
