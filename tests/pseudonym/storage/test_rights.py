"""People's rights in the vault: limits, corrections, cases and disclosures, on every kind of database."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl
import pytest

from pseudonym.casebook import Casebook
from pseudonym.disclosures import Disclosures
from pseudonym.errors import KeyMissingError, NotFoundError, SubjectMissingError
from pseudonym.folders import FolderKeys
from pseudonym.keks import KekRing
from pseudonym.openings import Mandate
from pseudonym.people import People
from pseudonym.rectifying import rectify
from pseudonym.rights.cases import Asker, Case, Found, Proof, Truth
from pseudonym.rights.reasons import Right
from pseudonym.storage import open_store
from pseudonym.subjects import LIVING, State
from tests.pseudonym.histories import stamp
from tests.pseudonym.storage.delivered import delivery, pids
from tests.pseudonym.storage.made_up import MANDATE, SURNAMES, kek, people, pid, vault

PIDS = [pid(1), pid(2), pid(3)]
OTHER = Mandate("alice", "access", "tf-2026")
CASE = Case(
    "rt-1",
    "tf-2026",
    Right.ACCESS,
    "council",
    "abcd",
    date(2026, 11, 23),
    Asker.SELF,
    (Proof.POST,),
    Found.ONE,
)


@pytest.fixture
def store(url):
    with open_store(url, "identity") as opened:
        yield opened


@pytest.fixture
def held(store):
    made = vault(store, quotas={"linkage": 10**9, "access": 10**9})
    made.add(people(1, 3), "council-a", pids=PIDS)
    return made


def hold(held, pids, state, purposes=()):
    with held.tools.store.transaction() as at:
        held.tools.limits.hold(at, pids, state, purposes)


def usable(held, mandate):
    found = set()
    for one in PIDS:
        try:
            held.open([one], mandate)
        except SubjectMissingError:
            continue
        found.add(one)
    return found


def test_r62_a_limited_person_is_opened_for_other_purposes_only(held):
    hold(held, PIDS[:1], State.LIMITED, ["linkage"])
    assert usable(held, MANDATE) == set(PIDS[1:])
    assert usable(held, OTHER) == set(PIDS)
    sought = people(1, 1)
    assert held.find(sought, MANDATE).is_empty()
    assert set(held.find(sought, OTHER)["pid"]) == {PIDS[0]}
    hold(held, PIDS[:1], State.LIMITED, ["access"])
    assert usable(held, OTHER) == set(PIDS[1:])
    hold(held, PIDS[:1], State.ACTIVE)
    assert usable(held, MANDATE) == usable(held, OTHER) == set(PIDS)


def test_r62_a_limited_person_without_purposes_is_opened_for_nothing(held, store):
    """As after two people became one: until a case says what holds, nothing does."""
    held.set_state(PIDS[:1], State.LIMITED)
    assert usable(held, MANDATE) == set(PIDS[1:])
    held.open(PIDS[:1], MANDATE, states=LIVING)  # whoever may see all of them still does


@pytest.mark.parametrize("truth", Truth)
def test_r60_a_corrected_person_keeps_the_id_and_is_found_by_what_is_right(held, store, truth):
    held.revise(PIDS[:1], people(1, 1), "council-b")
    wrong = people(1, 1)
    for _ in range(2):  # again, it is the same
        with store.transaction() as at:
            rectify(held.tools, at, PIDS[:1], {"surname": "Rightly", "postcode": "ZA9 9ZZ"}, truth)
    opened = held.open(PIDS[:1], MANDATE)
    assert opened.height == 2
    assert {name["surname"] for names in opened["names"] for name in names} == {"Rightly"}
    right = wrong.with_columns(
        pl.col("names").list.eval(pl.element().struct.with_fields(surname=pl.lit("Rightly")))
    )
    found = {"surname-dob", "postcode-dob"}
    by_right = held.find(right.select("names", "born"), MANDATE, fields=found)
    assert set(by_right["pid"]) == {PIDS[0]}
    by_wrong = held.find(wrong.select("names", "born", "addresses"), MANDATE, fields=found)
    history = held.open(PIDS[:1], MANDATE, history=True)
    if truth is Truth.FORMER:
        assert set(by_wrong["field"]) == found
        assert history.height == 4
        assert [names[0]["surname"] for names in opened["aliases"]] == [SURNAMES[0]] * 2
    else:
        assert by_wrong.is_empty()
        assert history.height == 2
        assert SURNAMES[0] not in str(history.to_dicts())
    # Of the others nothing changed.
    assert held.open(PIDS[1:], MANDATE).drop("row_id", "received_day").height == 2


def test_r60_a_correction_that_fails_leaves_all_as_it_was(held, store):
    before = held.open(PIDS[:2], MANDATE, history=True)

    def dying(at):
        rectify(held.tools, at, PIDS[:2], {"surname": "Rightly"}, Truth.NEVER)
        raise RuntimeError

    with pytest.raises(RuntimeError), store.transaction() as at:
        dying(at)
    assert held.open(PIDS[:2], MANDATE, history=True).equals(before)


def test_r70_a_disclosure_is_one_line_a_day_and_goes_with_the_person(held, store):
    disclosures = Disclosures(held.tools)
    said: dict[str, Any] = {
        "project": "tf-2026",
        "who": "dwp-extract (wpls)",
        "fields": ["surname", "born"],
        "why": "linkage",
    }
    for _ in range(2):
        disclosures.note([*PIDS, pid(99)], **said)
    (line,) = disclosures.read(PIDS[:1])
    assert line == {**said, "day": store.today()}
    disclosures.note(PIDS[:1], **{**said, "who": "someone-else"})
    assert len(disclosures.read(PIDS[:1])) == 2
    assert len(disclosures.read(PIDS)) == 4
    held.erase(PIDS[:1])
    assert disclosures.read(PIDS[:1]) == []
    with store.read() as at:
        rows = at.exec_driver_sql("SELECT pid, ct FROM disclosure").all()
    assert {bytes(row[0]) for row in rows} == set(PIDS[1:])
    assert not [row for row in rows if b"dwp" in bytes(row[1])]


def test_r66_a_case_is_sealed_and_stays_without_the_person(held, store):
    casebook = Casebook(store, FolderKeys(store, KekRing(kek(1))))
    assert casebook.add(CASE, PIDS[:1]) == CASE
    assert casebook.add(replace(CASE, opener="another"), PIDS[1:]) == CASE
    with store.read() as at:
        (sealed,) = at.exec_driver_sql("SELECT ct FROM rights_case").scalars()
    assert b"council" not in bytes(sealed)
    casebook.keep_answer(CASE, "identity", b"sealed to the officer")
    assert casebook.answers(CASE) == {"identity": b"sealed to the officer"}
    held.erase(PIDS[:1])
    assert casebook.persons(CASE) == []
    assert casebook.answers(CASE) == {}
    casebook.keep_answer(CASE, "identity", b"too late")
    assert casebook.answers(CASE) == {}
    assert casebook.get("tf-2026", "rt-1") == CASE
    assert (casebook.knows("tf-2026"), casebook.knows("another")) == (True, False)
    with pytest.raises(NotFoundError):
        casebook.get("another", "rt-1")


def test_r47_the_cases_of_a_project_go_with_it_key_first(held, store):
    keys = FolderKeys(store, KekRing(kek(1)))
    casebook = Casebook(store, keys)
    casebook.add(CASE, PIDS[:1])
    other = replace(CASE, case_id="rt-2", project="another")
    casebook.add(other, PIDS[:1])
    keys.destroy(["rt-1"])  # cut off there, it is finished by asking again
    assert casebook.all() == [other]
    with store.read() as at:  # the person's other cases say what holds all the same
        assert casebook.about(at, PIDS[:1]) == [other]
    assert casebook.forget_project("tf-2026") == 1
    assert casebook.forget_project("tf-2026") == 0
    with pytest.raises(KeyMissingError):
        keys.key("rt-1")
    with store.read() as at:
        assert at.exec_driver_sql("SELECT case_id FROM rights_person").scalars().all() == ["rt-2"]


def test_a_decision_that_fails_leaves_the_case_as_it_was(held, store):
    casebook = Casebook(store, FolderKeys(store, KekRing(kek(1))))
    casebook.add(CASE, PIDS[:1])

    def dying(at, case, put):
        held.tools.limits.hold(at, PIDS[:1], State.RESTRICTED, ())
        put(case.done("half"))
        raise RuntimeError

    with pytest.raises(RuntimeError), casebook.changing(CASE) as changing:
        dying(*changing)
    assert casebook.get("tf-2026", "rt-1") == CASE
    assert held.states(PIDS[:1]) == {PIDS[0]: State.ACTIVE}


def test_r62_no_linkage_is_shown_who_may_not_be_used_for_it(store):
    made = vault(store, quotas={"linkage": 10**9, "access": 10**9})
    everybody = People(made)
    everybody.deliver(delivery([10, 20, 30, 40]), stamp(1))
    one, two, three, four = pids(everybody, 10, 20, 30, 40)
    hold(made, [one], State.RESTRICTED)
    hold(made, [two], State.OBJECTED)
    hold(made, [three], State.LIMITED, ["linkage"])

    def shown(mandate, **more):
        return {pid for some in everybody.known(mandate, **more) for pid in some["pid"]}

    assert shown(MANDATE) == {four}
    assert shown(OTHER) == {three, four}
    assert shown(MANDATE, kept_back=True) == {one, two, three}
    assert shown(OTHER, kept_back=True) == {one, two}
    hold(made, [one, two, three], State.ACTIVE)
    assert shown(MANDATE) == {one, two, three, four}
    assert shown(MANDATE, kept_back=True) == set()
