"""Aliases and former names of a council's file: kept, compared in joins and registers, and no proof alone."""

from __future__ import annotations

import polars as pl
import pytest

from pseudonym.roles.callers import Role
from tests.pseudonym.roles import test_join as joins
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles import test_registers as registers
from tests.pseudonym.roles.harness import governance, join, three

SOME = 10


@pytest.fixture(scope="module")
def world(tmp_path_factory, certificates):
    """Three roles of their own, with the project begun."""
    folder = tmp_path_factory.mktemp("aliases")
    with three(folder, certificates, governance=governance(folder)) as roles:
        chain.begin(roles, certificates)
        yield roles


def renamed(people, seed, known_by):
    """The same people elsewhere under new names, the first of them with what they were called before."""
    others = joins.made_up(people.height, seed=seed)
    told = pl.int_range(pl.len()) < known_by
    return joins.again(
        people,
        seed=seed,
        alias_forename=pl.when(told).then("forename"),
        former_surname=pl.when(told).then("surname"),
        forename=others["forename"].str.reverse(),
        surname=others["surname"],
        postcode=others["postcode"],
    )


def test_r81_an_alias_in_a_councils_file_finds_who_was_delivered_under_it(world, certificates):
    identity = world[Role.IDENTITY]
    first = joins.made_up(60, seed=701)
    assert join(identity, certificates, first, "a-1")["new"] == 60
    moved = renamed(first[: 2 * SOME], seed=702, known_by=SOME)
    later = pl.concat([moved, joins.again(first[2 * SOME :], seed=703)], how="diagonal")
    counts = join(identity, certificates, later, "a-2")
    assert (counts["new"], counts["joined"]) == (SOME, 60 - SOME)
    rows = joins.waiting(world, certificates)
    for place, (one, other) in enumerate(zip(first["row_ref"], later["row_ref"], strict=True)):
        assert (rows[one]["aid"] == rows[other]["aid"]) is not (SOME <= place < 2 * SOME)


def test_r81_an_alias_that_two_share_links_nobody(world, certificates):
    strangers = joins.made_up(12, seed=711).with_columns(
        alias_forename=pl.lit("Zebedee"), alias_surname=pl.lit("Quillfeather")
    )
    assert join(world[Role.IDENTITY], certificates, strangers, "b-1")["new"] == 12


@pytest.mark.slow
def test_r81_an_alias_in_a_councils_file_finds_a_registers_row(world, certificates):
    identity = world[Role.IDENTITY]
    people = joins.made_up(2 * SOME, seed=721)
    council = renamed(people, seed=722, known_by=SOME).with_columns(postcode=people["postcode"])
    assert join(identity, certificates, council, "c-1")["new"] == 2 * SOME
    extract = registers.extract_of(people, seed=723, extra=30)  # by the names of before
    job = registers.start(world, certificates, registers.send_halves(world, certificates, extract, "pnc-1"))
    assert registers.figures(world, certificates, job)["linked"]["rows_linked"] == SOME
