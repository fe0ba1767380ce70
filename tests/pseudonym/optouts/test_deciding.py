"""Decisions of people in a vault, without the other roles."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from linker.forms import forms
from pseudonym.errors import StoreError
from pseudonym.optouts.book import Book
from pseudonym.optouts.checks import Passed
from pseudonym.optouts.rules import Ground, Override, State
from pseudonym.people import People
from pseudonym.roles.checks import Mandate
from pseudonym.roles.erasing import Erasing
from pseudonym.roles.opting_out import REASON, OptOuts, away, numbers_of
from pseudonym.roles.papers import Papers
from pseudonym.roles.refusals import PeerUnavailableError, RequestIdError
from pseudonym.storage import open_store
from tests.pseudonym.histories import stamp, unit
from tests.pseudonym.optouts.people import KEY, Kept
from tests.pseudonym.storage.delivered import delivery, pids
from tests.pseudonym.storage.made_up import MANDATE, vault


def mandate(number: int) -> Mandate:
    return Mandate(f"req-{number:08d}", "tf-2026", "linkage")


class Scene:
    """Four records of three people, and what they decided."""

    def __init__(self, store):
        self.vault = vault(store)
        self.people = People(self.vault)
        self.people.deliver(delivery([11, 12, 21, 31], [(11, 12, 9)]), stamp())
        self.kept = Kept()
        self.start(None)

    def start(self, erasing):
        """As after a restart, but for what is done then."""
        self.book, self.erasing = Book(self.kept, KEY, forms), erasing
        self.failures: list[object] = []
        nothing: Any = None
        self.optouts = OptOuts(
            self.vault, self.people, erasing, self.book, nothing, None, self.failures.append
        )

    def refuse(self, number, *who):
        self.optouts.refuse_sharing(mandate(number), "officer", "aaaa", lambda: list(who), len(who))

    def opened(self):
        return pl.concat(list(self.people.known(MANDATE)))


@pytest.fixture
def scene(tmp_path):
    url = f"sqlite:///{tmp_path}/identity.sqlite"
    with open_store(url, "identity") as store:
        yield Scene(store)


def test_r54_whose_number_is_taken_out_is_not_linked_by_name_where_a_cleared_list_applies(scene):
    _, cleared_of, away_of = pids(scene.people, 11, 21, 31)
    numbers = numbers_of(scene.opened()).filter(pl.col("pid") != away_of)
    passed = Passed(0, "list", numbers["nhs"])
    assert away(scene.opened(), passed) == {away_of}
    scene.optouts.no_number(mandate(1), "officer", "bbbb", lambda: [away_of])
    assert away(scene.opened(), passed) == set()
    assert scene.optouts.unshared("hes", passed) == {away_of}
    assert cleared_of not in scene.optouts.unshared("hes", passed)
    assert scene.optouts.unshared("npd") == scene.optouts.unshared("hes", Passed(0, "exempt", None)) == set()


def overriding(reference: str) -> Override:
    return Override(Ground.LAW, reference, "npd", "2026-01-01T00:00:00+00:00")


def test_r56_what_is_decided_of_one_person_changes_nobody_else_of_the_same_request(scene):
    first, second, third = pids(scene.people, 11, 21, 31)
    scene.refuse(1, first, second, third)
    scene.optouts.override(lambda: [second], overriding("L-7"))
    assert scene.optouts.unshared("npd") == {first, third}
    assert len(scene.optouts.lift(lambda: [first])) == 1
    assert scene.optouts.unshared("npd") == {third}
    assert scene.optouts.unshared("hes") == {second, third}
    scene.refuse(1, first, second, third)  # the same request again
    assert scene.optouts.unshared("hes") == {second, third}


def test_r56_what_is_decided_of_several_is_decided_of_all_their_requests_and_told_once(scene):
    first, second, third = pids(scene.people, 11, 21, 31)
    scene.refuse(1, first, third)
    scene.refuse(2, first, second)
    decided = scene.optouts.override(lambda: [first, second], overriding("L-7"))
    assert scene.optouts.unshared("npd") == {third}
    assert scene.optouts.told(decided[0].name) == len(decided) == 3
    assert scene.optouts.told(decided[0].name) == 0
    scene.optouts.lift(lambda: [first])
    assert scene.optouts.unshared("hes") == {second, third}


def test_r56_a_request_that_was_not_divided_to_its_end_is_divided_at_the_next_start(scene, monkeypatch):
    first, second = pids(scene.people, 11, 21)
    write, written = Kept.write, []

    def fails(self, name, content):
        written.append(name)
        if len(written) == 3:
            raise OSError("full")
        write(self, name, content)

    monkeypatch.setattr(Kept, "write", fails)
    with pytest.raises(OSError, match="full"):
        scene.refuse(1, first, second)
    scene.start(None)
    assert scene.optouts.unshared("hes") == {first, second}
    scene.optouts.resume()
    assert sorted(one.pids for one in scene.book.all()) == sorted([(first,), (second,)])


class Erases:
    """In place of what forgets people: it counts them."""

    def __init__(self):
        self.erased = []

    def erase(self, who):
        self.erased += who
        return len(who)


def erasing(folder, erases):
    def away():
        raise PeerUnavailableError("The broker is away.")

    return Erasing(Papers(folder, "erasure"), erases, lambda *given: b"certificate", away, print)


def test_r52_a_withdrawal_with_the_request_id_of_an_erasure_is_carried_out(scene, tmp_path):
    first, second = pids(scene.people, 11, 21)
    erases = Erases()
    scene.start(erasing(tmp_path / "erasing", erases))
    scene.erasing.begin(mandate(1), "officer", REASON, "1111", lambda: [first])
    _, erasure = scene.optouts.withdraw(mandate(1), "officer", "2222", lambda: [second])
    assert erases.erased == [first, second]
    assert erasure.persons == 1
    # Asked again, and at the next start, it is the same erasure.
    assert scene.optouts.withdraw(mandate(1), "officer", "2222", lambda: [second])[1] == erasure
    scene.start(erasing(tmp_path / "erasing", erases))
    scene.optouts.resume()
    assert erases.erased == [first, second]


def test_r52_a_decision_that_cannot_be_carried_out_holds_up_neither_the_start_nor_the_others(
    scene, tmp_path, monkeypatch
):
    first, second = pids(scene.people, 11, 21)
    scene.start(None)
    for number, who in enumerate((first, second)):
        with pytest.raises(AttributeError):  # no other role is there yet
            scene.optouts.withdraw(mandate(number), "officer", "2222", lambda who=who: [who])
    erases, begun, begin = Erases(), [], Erasing.begin

    def refuses(self, *given):
        begun.append(given)
        if len(begun) == 1:
            raise RequestIdError("The request id was used for another request.")
        return begin(self, *given)

    monkeypatch.setattr(Erasing, "begin", refuses)
    scene.start(erasing(tmp_path / "erasing", erases))
    scene.optouts.resume()
    assert scene.failures == [RequestIdError("").reason]
    assert len(erases.erased) == 1
    assert sorted(one.state for one in scene.book.all()) == [State.DONE, State.PENDING]
    # The next day it is tried again, without a start.
    assert scene.optouts.retry() == 1
    assert sorted(erases.erased) == sorted([first, second])
    assert scene.optouts.retry() == 0


def test_a_number_that_came_back_with_an_old_database_is_taken_out_the_next_day_if_not_at_the_start(
    scene, monkeypatch
):
    [person] = pids(scene.people, 31)
    scene.optouts.no_number(mandate(1), "officer", "bbbb", lambda: [person])
    forget, tried = scene.people.forget_number, []

    def failing(*given):
        raise StoreError("The disk is full.")

    monkeypatch.setattr(scene.people, "forget_number", failing)
    scene.optouts.resume()
    assert scene.failures == [StoreError("").reason]

    def trying(*given):
        tried.append(given)
        return forget(*given)

    monkeypatch.setattr(scene.people, "forget_number", trying)
    assert (scene.optouts.retry(), len(tried)) == (1, 1)
    assert (scene.optouts.retry(), len(tried)) == (0, 1)


def divided(scene, *units):
    """The person of some records turns out to be as many; their ids."""
    [holder] = set(pids(scene.people, *units))
    parts = pl.DataFrame({"unit": [unit(one) for one in units], "part": range(len(units))})
    scene.people.split(holder, parts.with_columns(pl.col("part").cast(pl.Int64)), stamp(1))
    return pids(scene.people, *units)


def test_r56_a_request_not_to_share_holds_for_each_part_of_a_person_who_is_divided(scene):
    [person] = set(pids(scene.people, 11, 12))
    scene.refuse(1, person)
    # What comes of the person after the request is theirs too.
    scene.people.deliver(delivery([13], [(12, 13, 9)]), stamp(1))
    came = pl.Series([unit(13)], dtype=pl.Binary)
    nothing = pl.DataFrame({"unit": came, "nhs": [None]}, schema_overrides={"nhs": pl.String})
    scene.optouts.settle(scene.people.members(came), nothing)
    parts = divided(scene, 11, 12, 13)
    assert len(set(parts)) == 3
    scene.start(None)
    assert scene.optouts.unshared("hes").issuperset(parts)
    assert scene.optouts.unshared("hes").isdisjoint(pids(scene.people, 21, 31))
    assert len(scene.optouts.lift(lambda: [parts[2]])) == 1


def test_r55_a_number_is_not_used_of_any_part_of_a_person_who_is_divided(scene):
    [person] = set(pids(scene.people, 11, 12))
    scene.optouts.no_number(mandate(1), "officer", "bbbb", lambda: [person])
    parts = divided(scene, 11, 12)
    assert len(set(parts)) == 2
    assert scene.optouts.numberless().issuperset(parts)
