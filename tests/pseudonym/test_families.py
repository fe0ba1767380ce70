"""Which references are one family: cases written down, and the property that parents apart stay apart."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudonym.families import alike


def members(families, protected=()):
    """Families by name, as words of persons; capital letters are adults."""
    rows = [
        (name.encode(), person.lower().encode(), person.isupper(), person in protected)
        for name, people in families.items()
        for person in people
    ]
    schema = {"family": pl.Binary, "pid": pl.Binary, "adult": pl.Boolean, "protected": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def linked(families, new=None, protected=()):
    names = pl.Series([name.encode() for name in (families if new is None else new)], dtype=pl.Binary)
    found = alike(members(families, protected), names)
    return {(left.decode(), right.decode(), weight) for left, right, weight in found.iter_rows()}


@pytest.mark.parametrize(
    ("one", "other", "weight"),
    [
        ("MFab", "MFab", 4),  # a second council delivers the family
        ("Mab", "Mabc", 3),  # with a child more
        ("MFab", "MFcd", 2),  # the couple, whose children are not the same
        ("Mab", "Fab", None),  # parents apart, who share their children
        ("MFab", "Mab", None),  # one of them has left: two families from then on
        ("Mab", "MGab", None),  # a grandmother has come: for a reviewer
        ("M", "M", None),  # one person only is in both
        ("Mab", "Mcd", None),
        ("ab", "ab", None),  # no adult is known
    ],
)
def test_cases(one, other, weight):
    expected = set() if weight is None else {("x", "y", weight)}
    assert linked({"x": one, "y": other}) == expected


def test_protected_people_and_what_was_known_before():
    families = {"x": "Mab", "y": "Mab", "z": "Mab"}
    assert linked(families, new=["x"]) == {("x", "y", 3.0), ("x", "z", 3.0)}
    assert linked(families, new=[]) == set()
    assert linked(families, protected=("a",)) == set()
    assert linked({"x": "Mab", "y": "Mac"}, protected=("c",)) == set()


FAMILIES = st.dictionaries(
    st.sampled_from("pqrstuvw"), st.sets(st.sampled_from("MFGHabcd"), min_size=1).map("".join), max_size=8
)


@given(FAMILIES)
def test_whatever_is_chained_has_the_same_adults(families):
    """Against a walk along the links, in plain Python."""
    pairs = {(left, right) for left, right, _ in linked(families)}
    for first in families:
        reached, todo = {first}, [first]
        while todo:
            here = todo.pop()
            near = {b if a == here else a for a, b in pairs if here in (a, b)} - reached
            reached |= near
            todo += near
        assert len({frozenset(filter(str.isupper, families[name])) for name in reached}) == 1
    for left, right in pairs:
        assert len(set(families[left]) & set(families[right])) >= 2
