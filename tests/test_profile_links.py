"""Persons with several records against an extract: who is linked, who is not, and who was not looked for."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

import linker
from linker import registers
from linker.errors import ProfileError
from linker.evidence import CLERICAL, EVIDENCE, NOTHING
from linker.joining import KEPT
from linker.profile_links import AUTHORITY, check_register, link_persons
from linker.profiles.parts import listed
from pseudonym.rights.words import of_link
from tests.service.harness import people

DAY = date(2026, 11, 23)
COLUMNS = ["person", "family", AUTHORITY, "record", "changed", *KEPT]


def known_of(count, seed):
    """Made-up people, a record each, half of them children; NHS numbers that pass the check."""
    chance = np.random.default_rng(seed)
    days = np.where(np.arange(count) % 2 == 0, chance.integers(13_200, 18_000, count), 9_000)
    born = (np.datetime64("1970-01-01") + days + chance.integers(0, 300, count)).astype(str)
    found = people(count, seed).with_columns(pl.Series("born", born))
    return found.select(
        person="person_id",
        family=pl.lit(None, pl.String),
        **{AUTHORITY: pl.lit("E10000003")},
        record="r" + pl.col("person_id"),
        changed=pl.lit(None, pl.String),
        given="forename",
        surname="surname",
        born="born",
        sex=pl.Series(chance.choice(["male", "female"], count)),
        address=pl.lit(None, pl.String),
        postcode="postcode",
        nhs=pl.Series([nhs_number(number) for number in range(count)]),
        **{name: pl.lit(None, pl.String) for name in ("nino", "upn", "uln", "pncid")},
    ).select(COLUMNS)


def nhs_number(number):
    """A number in the range for tests that passes modulus 11."""
    for nine in range(999_000_000 + 20 * number, 999_000_000 + 20 * number + 20):
        check = (
            11
            - sum(int(digit) * weight for digit, weight in zip(str(nine), range(10, 1, -1), strict=True)) % 11
        )
        if check != 10:
            return f"{nine}{check % 11}"
    raise AssertionError


def extract_of(known, **renamed):
    """Their rows as a register has them, under references of its own."""
    names = {"given": "forename", "surname": "surname", "born": "dob", "postcode": "postcode", **renamed}
    refs = [f"{number:032x}" for number in range(known.height)]
    frame = known.select(pl.Series("row_ref", refs), *(pl.col(old).alias(new) for old, new in names.items()))
    return linker.arrive(frame, id_column="row_ref")


def test_r81_a_person_is_found_by_any_of_their_records_and_linked_once():
    known = known_of(300, seed=1)
    # Thirty have a second record under a later name at another address: the register has that one of ten, the
    # first one of ten, and both of ten.
    second = known[:30].with_columns(
        record="s" + pl.col("person"),
        surname=pl.lit("Thistlewood") + pl.col("surname"),
        postcode=pl.lit("LS2 3CD"),
    )
    carried = pl.concat([second[:10], known[10:20], known[20:30], second[20:30], known[100:200]])
    everybody = pl.concat([known, second])
    outcomes = link_persons(everybody, extract_of(carried), "pnc", on=DAY)
    found = registers._found(outcomes, everybody, extract_of(carried).ids)
    whose = dict(
        found.rows.join(everybody.select("record", "person"), on="record", how="left")
        .select("row_ref", "person")
        .rows()
    )
    true = dict(zip([f"{number:032x}" for number in range(carried.height)], carried["person"], strict=True))
    linked = {ref: person for ref, person in whose.items() if person is not None}
    assert all(true[ref] == person for ref, person in linked.items())
    # By the later record alone, and by the first alone: but for a few that are too like somebody else.
    for first in (0, 10):
        assert len(linked.keys() & {f"{number:032x}" for number in range(first, first + 10)}) >= 8
    assert len(linked) >= 100
    # One outcome a person, however many records and rows.
    assert found.persons["person"].is_unique().all()
    assert set(found.persons["person"]) == set(everybody["person"])
    assert found.counts["persons_linked"] == len(set(linked.values()))
    assert (
        found.counts["rows_linked"] + found.counts["rows_of_nobody"] + found.counts["rows_to_look_at"]
        == carried.height
    )


def test_r65_the_parts_of_a_link_add_up_to_its_weight_to_the_last_bit():
    known = known_of(300, seed=4)
    for some, register in ((known[:120], "pnc"), (known.gather_every(2)[:100], "npd")):
        told = list[pl.DataFrame]()
        outcomes = link_persons(known, extract_of(some), register, on=DAY, explained=told.append)
        linked = outcomes.filter(pl.col("outcome") == "LINKED")
        (explained,) = told
        assert explained.height == linked.height >= 80
        assert sorted(explained["weight"]) == sorted(linked["weight"])
        for row in explained.to_dicts():
            total = 0.0
            for part in listed(row):
                assert part["what"]
                assert part["found"]
                total += part["bits"]
            assert total == row["weight"]


class Kept:
    """A job's folder in memory."""

    def __init__(self):
        self.tables = {}

    def write(self, name, content):
        pass

    def write_table(self, name, frame):
        self.tables[name] = frame

    def has(self, name):
        return name in self.tables

    def table(self, name):
        frame = self.tables[name]
        where = SimpleNamespace(where=lambda column, values: frame.filter(pl.col(column).is_in(list(values))))
        return nullcontext(where)


def test_r65_what_people_decided_is_what_a_person_is_told_of_links():
    known = known_of(60, seed=1)
    extract = extract_of(known[:50])
    given = {"register": "pnc", "day": DAY.isoformat(), "since": "", "nhs_number_reason": "", "seed": 1}
    job: Any = SimpleNamespace(work=SimpleNamespace(**given, lawfulness={}))

    def linked(judged, known=known):
        folder: Any = Kept()

        def link(job, register, sender, refs, link, unsought, progress):
            return link(known).counts

        vault = SimpleNamespace(link=link)
        registers.perform(job, "x", extract, vault, judged, folder, lambda *_: None)
        return folder

    folder = linked(NOTHING)
    found = folder.tables["links"]
    (wrong, of_wrong), (right, of_right) = found.select("left_id", "right_id").rows()[:2]
    missed = known.filter(~pl.col("record").is_in(found["left_id"].implode()))["record"][0]
    free = next(row for row in extract.ids if row not in set(found["right_id"]))
    rows = [(wrong, of_wrong, False, "2026-11-20"), (right, of_right, True, "2026-11-20")]
    rows.append((missed, free, True, "2026-11-20"))
    judged = pl.DataFrame(rows, schema=EVIDENCE, orient="row")
    folder = linked(judged)

    assert [one["outcome"] for one in registers.explained(job, folder, [wrong])] == ["NOT_LINKED"]
    for record in (right, missed):
        (told,) = registers.explained(job, folder, [record])
        assert (told["outcome"], told["stage"], told.keys() & {"weight", "parts"}) == (
            "LINKED",
            CLERICAL,
            set(),
        )
        assert "Somebody decided" in of_link(told)[-1]
    others = [record for record in found["left_id"] if record not in (wrong, right)]
    assert {one["stage"] for one in registers.explained(job, folder, others)} & {CLERICAL} == set()
    assert len(registers.explained(job, folder, others)) == len(others)
    # Corrected since: what people judged of the wrong values does not bring the link back.
    later = pl.when(pl.col("record") == missed).then(pl.lit("2026-11-21")).alias("changed")
    corrected = linked(judged, known.with_columns(later))
    assert [one["outcome"] for one in registers.explained(job, corrected, [missed])] == ["NOT_LINKED"]
    assert all("row" not in name and "right" not in name for name in folder.tables["explained"].columns)


def test_r29_who_is_too_old_for_the_register_is_told_apart_from_who_is_not_found():
    known = known_of(200, seed=2)
    children = known.gather_every(2)
    extract = extract_of(children[:50])
    outcomes = link_persons(known, extract, "npd", on=DAY)
    found = registers._found(outcomes, known, extract.ids)
    said = dict(found.persons.select("person", "outcome").rows())
    assert {said[person] for person in known.gather_every(2, offset=1)["person"]} == {"NOT_APPLICABLE"}
    assert {said[person] for person in children[:50]["person"]} == {"LINKED"}
    assert "NOT_APPLICABLE" not in {said[person] for person in children[50:]["person"]}
    assert "LINKED" not in {said[person] for person in children[50:]["person"]}
    # Codes, and no weight: what goes on to the attributes has the form that the broker takes.
    for row in found.persons.select("stage", "band").unique().rows():
        assert all(code is None or " " not in code for code in row)


def test_r29_where_nobody_can_be_in_the_register_everybody_is_told_so():
    known = known_of(20, seed=5).gather_every(2, offset=1)  # adults
    extract = extract_of(known_of(20, seed=6))
    found = registers._found(link_persons(known, extract, "npd", on=DAY), known, extract.ids)
    assert found.counts == {
        "persons_not_applicable": 10, "rows_linked": 0, "rows_of_nobody": 20, "rows_to_look_at": 0,
    }  # fmt: skip
    assert set(found.persons["person"]) == set(known["person"])
    # Nobody is known at all: nothing is said of anybody, and every row is nobody's.
    found = registers._found(link_persons(known.clear(), extract, "npd", on=DAY), known.clear(), extract.ids)
    assert (found.persons.height, found.counts["rows_of_nobody"]) == (0, 20)


def test_r73_the_nhs_number_is_not_used_unless_somebody_says_why():
    known = known_of(200, seed=3)
    moved = known[:40].with_columns(postcode=pl.lit("LS2 3CD"))
    rows = pl.concat([moved, known[40:150]])
    extract = extract_of(rows, sex="sex", nhs="nhs_number").frame
    hes = linker.arrive(
        extract.drop("forename", "surname").insert_column(
            0, pl.Series("row_ref", [f"{number:032x}" for number in range(rows.height)])
        ),
        id_column="row_ref",
    )

    def linked(**more):
        outcomes = link_persons(known, hes, "hes", on=DAY, **more)
        found = outcomes.filter(pl.col("outcome") == "LINKED")
        return set(found["person"]) & set(moved["person"])

    assert linked() == set()
    assert linked(nhs_number_reason="s251-2026") == set(moved["person"])


def test_r25_a_register_without_a_profile_is_refused_and_those_of_the_notice_have_one():
    for register in ("pnc", "prisons", "npd", "ilr", "wpls", "hes", "mhmds", "ndtms"):
        check_register(register)
    with pytest.raises(ProfileError):
        check_register("dvla")
