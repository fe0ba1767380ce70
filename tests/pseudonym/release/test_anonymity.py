"""k-anonymity, l-diversity, uniques and suppression, against counting by hand in plain Python."""

from __future__ import annotations

from collections import defaultdict

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudonym.errors import InputError
from pseudonym.release import anonymity
from pseudonym.release.spec import QuasiSet, Sensitive

SCHEMA = {"person": pl.String, "family": pl.String, "age": pl.String, "sex": pl.String, "ill": pl.String}


def table(rows):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def by_hand(rows, k, families, l=None):  # noqa: E741
    """Which combinations of age and sex fail, counted one row after another."""
    persons, homes, values = defaultdict(set), defaultdict(set), defaultdict(list)
    for person, family, age, sex, ill in rows:
        persons[age, sex].add(person)
        homes[age, sex].add(family if family is not None else person)
        values[age, sex].append(ill)
    failing = set()
    for key in persons:
        few = len(persons[key]) < k or len(homes[key]) < families
        told = set(values[key]) - {None}
        short = l is not None and 0 < len(told) < l
        if few or short:
            failing.add(key)
    return failing, persons, homes


ROWS = st.lists(
    st.tuples(
        st.integers(0, 25).map("p{}".format),
        st.one_of(st.none(), st.integers(0, 8).map("f{}".format)),
        st.sampled_from(("young", "old", None)),
        st.sampled_from(("f", "m", None)),
        st.sampled_from(("yes", "no", None)),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.integers(3, 5), st.integers(3, 5), st.sampled_from((None, 2, 3)))
def test_r39_groups_that_fail_are_those_that_counting_by_hand_finds(rows, k, families, l):  # noqa: E741
    sensitive = (Sensitive("ill", l),) if l else ()
    of = QuasiSet("who", ("age", "sex"), k=k, families=families, sensitive=sensitive)
    failing, persons, homes = by_hand(rows, k, families, l)
    found = anonymity.measured(table(rows), of)
    assert found.groups == len(persons)
    assert found.failing_groups == len(failing)
    assert found.failing_rows == sum((age, sex) in failing for _, _, age, sex, _ in rows)
    assert found.failing_persons == len(set().union(*(persons[key] for key in failing)))
    assert found.failing_families == len(set().union(*(homes[key] for key in failing)))
    assert found.uniques == sum(len(found) == 1 for found in persons.values())
    assert found.smallest == min((len(found) for found in persons.values()), default=0)


@settings(max_examples=100, deadline=None)
@given(ROWS, st.integers(2, 3), st.data())
def test_r39_a_missing_value_is_none_of_those_that_a_group_needs(rows, l, data):  # noqa: E741
    of = QuasiSet("who", ("age", "sex"), k=3, families=3, sensitive=(Sensitive("ill", l),))

    def short(some):
        found = anonymity.groups(table(some), of).filter("short")
        return set(found.select("age", "sex").rows())

    told = [row for row in rows if row[4] is not None]
    assert short(rows) == short(told)
    # However many are added of whom nothing is known, no group meets it by them.
    nothing = [(f"n{place}", None, *row[2:4], None) for place, row in enumerate(rows)]
    assert short([*rows, *data.draw(st.permutations(nothing))]) == short(rows)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.sampled_from((0.0, 0.05, 0.2)))
def test_r39_suppression_meets_the_set_or_changes_nothing(rows, share):
    of = QuasiSet("who", ("age", "sex"), k=3, families=3, suppress=share, sensitive=(Sensitive("ill", 2),))
    before = table(rows)
    after, count, persons = anonymity.suppressed(before, of)
    if count:
        assert by_hand(after.rows(), 3, 3, 2)[0] == set()
        assert persons <= share * before["person"].n_unique()
        changed = [
            place
            for place, (old, new) in enumerate(zip(before.rows(), after.rows(), strict=True))
            if old != new
        ]
        for place in changed:
            assert after.row(place)[2:4] == (None, None)
            assert after.row(place)[:2] == before.row(place)[:2]
            assert after.row(place)[4] == before.row(place)[4]
    else:
        assert after.equals(before)


def test_r39_suppression_is_no_more_than_is_needed():
    """Twelve of a kind in twelve families, one other: blanked it would be alone, so the kind joins it."""
    rows = [(f"p{n}", f"f{n}", "young", "f", "yes") for n in range(12)] + [("p12", "f12", "old", "m", "yes")]
    rows += [(f"q{n}", f"g{n}", "old", "f", "yes") for n in range(200)]
    of = QuasiSet("who", ("age", "sex"), k=3, families=3, suppress=0.1)
    after, count, persons = anonymity.suppressed(table(rows), of)
    assert (count, persons) == (13, 13)
    assert after.filter(pl.col("age").is_null()).height == 13


def test_r39_one_large_family_meets_a_threshold_on_persons_and_fails_on_families():
    rows = [(f"p{n}", "the-same", "young", "f", None) for n in range(30)]
    found = anonymity.measured(table(rows), QuasiSet("who", ("age",)))
    assert (found.smallest, found.failing_groups, found.failing_persons, found.failing_families) == (
        30,
        1,
        30,
        1,
    )


def test_r39_a_person_of_no_family_is_one():
    rows = [(f"p{n}", None, "young", "f", None) for n in range(10)]
    assert anonymity.measured(table(rows), QuasiSet("who", ("age",))).failing_groups == 0


def test_r39_values_of_a_sensitive_column_that_all_agree_fail_and_missing_ones_give_nothing_away():
    def ill(*values):
        rows = [(f"p{n}", f"f{n}", "young", "f", value) for n, value in enumerate(values)]
        of = QuasiSet("who", ("age",), k=3, families=3, sensitive=(Sensitive("ill", 2),))
        return anonymity.measured(table(rows), of).short_of_values

    assert ill("yes", "yes", "yes") == 1
    assert ill("yes", "no", "yes") == 0
    assert ill("yes", None, "yes") == 1
    assert ill("yes", None, "no") == 0
    assert ill(None, None, None) == 0


def test_r39_uniques_of_the_sample_that_are_uniques_of_the_whole():
    sample = [("p1", "f1", "young", "f", None), ("p2", "f2", "old", "m", None)]
    whole = [*sample, ("p3", "f3", "old", "m", None)]
    found = anonymity.measured(table(sample), QuasiSet("who", ("age", "sex")), table(whole))
    assert (found.uniques, found.population_uniques) == (2, 1)


def test_r39_the_first_proposal_is_the_column_whose_absence_helps_most():
    rows = [(f"p{n}", f"f{n}", f"{n}", "fm"[n % 2], None) for n in range(40)]
    found = anonymity.measured(table(rows), QuasiSet("who", ("sex", "age"), k=10, families=10))
    assert found.failing_persons == 40
    assert [(one.what, one.column, one.persons) for one in found.proposals] == [
        ("leave out", "age", 0),
        ("leave out", "sex", 40),
        ("blank", "", 40),
    ]


def test_families_are_counted_as_families():
    frame = pl.DataFrame({"family": [f"f{n}" for n in range(5)], "members": [2, 2, 2, 9, 2]})
    found = anonymity.measured(frame, QuasiSet("size", ("members",), "families", families=4))
    assert (found.groups, found.smallest, found.failing_groups, found.failing_families) == (2, 1, 1, 1)


@pytest.mark.parametrize("asked", [{"k": 2}, {"families": 2}, {"suppress": 0.5}, {"columns": ()}])
def test_a_set_that_protects_nobody_is_refused(asked):
    with pytest.raises(InputError):
        QuasiSet(**{"name": "who", "columns": ("age",), **asked})
