"""Who may be a twin is for people to decide: forenames that plainly differ on one day of birth."""

from __future__ import annotations

import polars as pl
import pytest

from linker.apart import may_be_twins
from linker.further_names import further_names
from linker.joining import KEPT
from pseudonym.roles.callers import Role
from tests.pseudonym.roles import test_join as joins
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles.harness import client, finished, governance, start_join, three


def record(given, **values):
    return (
        dict.fromkeys((*KEPT, "other")) | {"given": given, "surname": "Hill", "born": "2014-05-02"} | values
    )


def told(one, other):
    records = pl.DataFrame(
        [{"id": "a"} | one, {"id": "b"} | other],
        schema=dict.fromkeys(("id", *KEPT, "other"), pl.String),
    )
    records = records.with_columns(further_names([records["given"], records["other"]], [records["surname"]]))
    return may_be_twins(pl.DataFrame({"left_id": ["a"], "right_id": ["b"]}), records).item()


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (record("Daniel"), record("Sophie"), True),
        (record("Jack Tom"), record("Olive May"), True),
        (record("Tom"), record("Tim"), True),
        (record("Elizabeth"), record("Liz"), False),
        (record("Robert"), record("Bob"), False),
        (record("Katherine"), record("Katharine"), False),
        (record("Zoë"), record("Zoe"), False),
        (record("Tom James"), record("James"), False),
        (record("T"), record("Tom"), False),
        (record("Daniel"), record(None), False),
        (record("Daniel"), record("-"), False),
        (record("Daniel"), record("Sophie", born="2014-05-03"), False),
        (record("Daniel", other="Sophie"), record("Sophie"), False),  # known by both names
        (record("Daniel", other="Danny"), record("Sophie", other="Sophia"), True),
        (record("Daniel"), record("Sophie", born=None), False),
        (record("Daniel", nhs="9434765919"), record("Sophie", nhs="9434765919"), False),
        (record("Daniel", nhs="9434765919"), record("Sophie", nhs="9434765870"), True),
    ],
)
def test_r76_twins_are_told_by_forenames(one, other, expected):
    assert told(one, other) is told(other, one) is expected


def test_r76_twins_of_a_small_delivery_are_two_persons(tmp_path, certificates):
    """Of few records a model learns next to nothing of forenames."""
    given = ["Ann", "Tom", "Tim", "Joan", "Lee", "Maria", "Sam", "Priya", "Dev"]
    family = [1, 1, 1, 2, 2, 3, 3, 4, 4]
    surname, postcode = (
        [of[number - 1] for number in family]
        for of in (
            ["Ellis-Hale", "Baxter", "Okafor", "Nair"],
            ["CB2 7QX", "CB1 1AA", "CB4 2ZZ", "CB5 8TT"],
        )
    )
    born = ["1979-11-21", "2008-05-02", "2008-05-02", "1985-04-07", "2011-02-03"]
    born += ["1990-09-30", "2015-01-15", "1972-06-11", "2003-12-24"]
    rows = joins.made_up(9, seed=401).with_columns(
        pl.Series("forename", given),
        pl.Series("surname", surname),
        pl.Series("dob", born),
        pl.Series("postcode", postcode),
        pl.Series("family", list(map(str, family))),
    )
    with three(tmp_path, certificates, governance=governance(tmp_path)) as roles:
        chain.begin(roles, certificates)
        job = start_join(roles[Role.IDENTITY], certificates, rows, "t-1")
        assert finished(roles[Role.IDENTITY], certificates, job)["new"] == 9
        with client(roles[Role.IDENTITY], certificates, "linkage-operator") as operator:
            assert operator.report(job)["figures"]["may_be_twins"] == 1
