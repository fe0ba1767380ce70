"""Who is kept out of a register is told of as anybody else of their age, over what links and what tells."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

import linker
import server
from linker import registers
from linker.evidence import NOTHING
from pseudonym.optouts.checks import Passed
from pseudonym.records import NUMBERS, SCHEMA
from pseudonym.roles.joining import Errand, Joining
from pseudonym.roles.registers import Registers
from pseudonym.roles.senders import bound
from pseudonym.storage import open_store
from pseudonym.units import UnitKey
from tests.pseudonym.optouts.test_deciding import Scene
from tests.pseudonym.storage.made_up import MANDATE
from tests.test_profile_links import extract_of, known_of, nhs_number

DAY = "2026-11-23"
KEY = UnitKey(bytes(32))
PROJECT = "families"
# Dates of birth of a person's records, and what is said of who was born then and is not found. An extract has
# people of 3 to 19 years (npd), from 16 (wpls) and from 18 (mhmds).
LIVES: dict[tuple[str | None, ...], dict[str, str]] = {
    ("1971-05-06",): {"npd": "NOT_APPLICABLE", "wpls": "NOT_LINKED", "mhmds": "NOT_LINKED"},
    ("2021-05-06",): {"npd": "NOT_LINKED", "wpls": "NOT_APPLICABLE", "mhmds": "NOT_APPLICABLE"},
    ("2006-11-23",): {"npd": "NOT_APPLICABLE", "wpls": "NOT_LINKED", "mhmds": "NOT_LINKED"},
    ("2006-11-24",): {"npd": "NOT_LINKED", "wpls": "NOT_LINKED", "mhmds": "NOT_LINKED"},
    ("2010-11-23",): {"npd": "NOT_LINKED", "wpls": "NOT_LINKED", "mhmds": "NOT_APPLICABLE"},
    ("2010-11-24",): {"npd": "NOT_LINKED", "wpls": "NOT_APPLICABLE", "mhmds": "NOT_APPLICABLE"},
    (None,): {"npd": "NOT_LINKED", "wpls": "NOT_LINKED", "mhmds": "NOT_LINKED"},
    # What systems write for "no date" is none.
    ("1970-01-01",): {"npd": "NOT_LINKED", "wpls": "NOT_LINKED", "mhmds": "NOT_LINKED"},
    # By any of their records; of those that are protected, only one comes.
    ("1971-05-06", "2021-05-06"): {"npd": "NOT_LINKED", "wpls": "NOT_LINKED", "mhmds": "NOT_LINKED"},
    ("1971-05-06", None): {"npd": "NOT_LINKED", "wpls": "NOT_LINKED", "mhmds": "NOT_LINKED"},
}
# As anybody, as protected, as who asked that nothing be shared, as who has the National Data Opt-out.
GROUPS = ("usual", "protected", "unshared", "national")
COLUMNS = {
    "npd": ("forename", "surname", "dob", "postcode"),
    "wpls": ("forename", "surname", "dob", "postcode"),
    "mhmds": ("dob", "sex", "postcode"),
}


class Told:
    """A broker that takes everything, and keeps what it was told of persons."""

    def __init__(self) -> None:
        self.persons = pl.DataFrame()

    def rows(self, *given: Any) -> None: ...
    def soon(self) -> None: ...
    def settle(self) -> int:
        return 0

    def register(self, *told: Any) -> None:
        self.persons = told[4]


class Folder:
    """A job's folder that keeps its report."""

    def write(self, name: str, content: bytes) -> None:
        self.figures = json.loads(content)

    def write_table(self, name: str, frame: pl.DataFrame) -> None: ...


def rows(people: list[tuple[str | None, ...]], group: str, protected: bool) -> pl.DataFrame:
    """Records of people whom only their surname has in common."""
    records = [(f"{group}{person}", born) for person, births in enumerate(people) for born in births]
    texts: dict[str, pl.Expr | pl.Series] = dict.fromkeys(("address", *NUMBERS), pl.lit(None, pl.String))
    first = {"usual": 0, "national": len(people)}.get(group)
    if first is not None:
        numbers = [nhs_number(first + person) for person, births in enumerate(people) for _ in births]
        texts["nhs"] = pl.Series("nhs", numbers)
    return pl.DataFrame(records, schema={"surname": pl.String, "born": pl.String}, orient="row").select(
        row_ref=pl.lit(f"{GROUPS.index(group):016x}") + pl.int_range(pl.len()).cast(pl.String).str.zfill(16),
        family=pl.lit(None, pl.String),
        protected=pl.lit(protected),
        given=pl.lit("Ada"),
        surname="surname",
        born="born",
        sex=pl.lit("female"),
        postcode=pl.lit("CB1 1AA"),
        aliases=pl.lit(None, SCHEMA["aliases"]),
        **texts,
    )


def together(mine: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Links of the records of one surname, each to the first."""
    first = pl.col("row_ref").first().over("surname")
    pairs = mine.with_columns(left=first).filter(pl.col("left") != pl.col("row_ref"))
    return pairs.select("left", right="row_ref", weight=pl.lit(20.0), decided=pl.lit(False))


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    """Everybody of `LIVES` in each of the groups; on the cleared list is the first alone."""
    path = tmp_path_factory.mktemp("vault")
    with open_store(f"sqlite:///{path}/identity.sqlite", "identity") as store:
        scene: Any = Scene(store)
        told: Any = Told()
        nobody: Any = None
        joining = Joining(scene.people, KEY, told, scene.optouts, lambda *given: None)
        pids = {}
        for group in GROUPS:
            given = rows(list(LIVES), group, protected=group == "protected")
            errand = Errand(PROJECT, MANDATE.purpose, "operator", "fenham", "council/alice", "job-1")
            joining.join(errand, given, together, lambda *given: None)
            units = KEY.records(PROJECT, bound("council/alice", given["row_ref"].str.decode("hex").to_list()))
            found = scene.people.members(pl.Series("unit", units, dtype=pl.Binary))
            whose = pl.DataFrame({"unit": units, "surname": given["surname"]}).join(found, on="unit")
            by_name = whose.group_by("surname").agg(pl.col("pid").unique())
            pids[group] = dict(by_name.iter_rows())
        scene.refuse(1, *(pid for some in pids["unshared"].values() for pid in some))
        persons = server.Persons(nobody)
        persons.opened(joining, Registers(scene.people, KEY, told, nobody, scene.optouts))
        yield SimpleNamespace(persons=persons, told=told, pids=pids, optouts=scene.optouts)


@pytest.mark.parametrize("register", ["npd", "wpls", "mhmds"])
def test_r53_r54_r83_who_is_kept_out_of_a_register_has_the_outcome_of_anybody_of_their_age(
    vault, monkeypatch, register
):
    cleared = pl.Series([nhs_number(place) for place in range(len(LIVES))])
    passed = Passed(0, "list", cleared) if register == "mhmds" else None
    monkeypatch.setattr(vault.optouts, "gate", lambda *given, **how: passed)
    work: Any = SimpleNamespace(
        register=register, day=DAY, since="", nhs_number_reason="", seed=0, lawfulness={},
        purpose=MANDATE.purpose, actor="operator",
    )  # fmt: skip
    job: Any = SimpleNamespace(work=work, project=PROJECT, job_id="job-2")
    rows = extract_of(known_of(40, seed=3), sex="sex")
    extract = linker.arrive(
        rows.frame.select(COLUMNS[register]).with_columns(row_ref=rows.ids), id_column="row_ref"
    )
    folder: Any = Folder()
    registers.perform(job, "holder/bob", extract, vault.persons, NOTHING, folder, lambda *given: None)

    said = dict(vault.told.persons.select("pid", "outcome").iter_rows())
    assert len(said) == vault.told.persons.height
    for group, found in vault.pids.items():
        for place, (births, expected) in enumerate(LIVES.items()):
            pids = found[f"{group}{place}"]
            if group == "protected" and len(births) > 1:  # each a person: nobody is linked with them
                continue
            (pid,) = pids
            assert said[pid] == f"{expected[register]} - -", (group, births)
    counted = {
        name.removeprefix("persons_").upper(): count
        for name, count in folder.figures["linked"].items()
        if name.startswith("persons_")
    }
    assert counted == Counter(outcome.split()[0] for outcome in said.values())
    assert folder.figures["linked"]["persons"] == len(said)
