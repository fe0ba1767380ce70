"""Names: folds, titles, prefixes, junk, phonetics and the nickname lexicon."""

from __future__ import annotations

import csv
import unicodedata
from pathlib import Path

import jellyfish
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linker.records import Kind
from linker.standardise import problem, table
from linker.standardise.names import nickname_groups
from linker.standardise.text import rows

DATA = Path(__file__).parents[1] / "data"
CASES = list(csv.DictReader((DATA / "names.csv").read_text(encoding="utf-8").splitlines()))
latin = st.text("abcdefghijklmnopqrstuvwxyzàâäåæçéèêëïîñöøœßüþðłđ '-", min_size=1, max_size=20)


@pytest.mark.parametrize("case", CASES, ids=[f"{case['kind']} {case['raw']}" for case in CASES])
def test_cases(case: dict[str, str]) -> None:
    kind = Kind(case["kind"])
    made = table(kind, pl.Series([case["raw"]]))
    assert made[["", "expanded"]].row(0) == (case["canonical"] or None, case["expanded"] or None)
    reason = pl.DataFrame({"raw": [case["raw"]]}).select(problem(kind, pl.col("raw"))).item()
    assert (reason is None) == bool(case["canonical"])


@pytest.mark.parametrize("kind", [Kind.FORENAME, Kind.SURNAME])
@settings(max_examples=30)
@given(names=st.lists(latin, min_size=5, max_size=20))
def test_case_and_composition_make_no_difference(kind: Kind, names: list[str]) -> None:
    upper = table(kind, pl.Series([name.upper() for name in names]))
    lower = table(kind, pl.Series(names))
    apart = table(kind, pl.Series([unicodedata.normalize("NFD", name) for name in names]))
    assert upper.equals(lower)
    assert apart.equals(lower)


@given(st.lists(latin, min_size=5, max_size=20))
def test_derived_forenames(names: list[str]) -> None:
    made = table(Kind.FORENAME, pl.Series(names))
    for row in made.iter_rows(named=True):
        if row[""] is None:
            assert all(part is None for part in row.values())
            continue
        assert row[""] == " ".join(row[""].split()) == row[""].upper()
        assert row["first"] == row[""].split()[0]
        assert row["joined"] == row[""].replace(" ", "")
        assert row["initial"] == row[""][0]
        assert row["soundex"] == jellyfish.soundex(row["first"])


@pytest.mark.parametrize(
    ("raw", "tokens"),
    [
        ("van der Berg", ["BERG"]),
        ("Al-Amin", ["AMIN"]),
        ("Garcia de la Torre", ["GARCIA", "TORRE"]),
        ("Smith-Jones", ["JONES", "SMITH"]),
        ("Mc Donald", ["MCDONALD"]),
        ("O Neil", ["ONEIL"]),
        ("Smith (née Jones)", ["JONES", "SMITH"]),
        ("Le", ["LE"]),
    ],
)
def test_surname_tokens(raw: str, tokens: list[str]) -> None:
    assert table(Kind.SURNAME, pl.Series([raw]))["tokens"].to_list() == [tokens]


@pytest.mark.parametrize(
    ("raw", "pieces"),
    [
        ("SMITH, John Paul", ("John", "Paul", "SMITH")),
        ("SMITH, Mr John", ("John", None, "SMITH")),
        ("Dr John van der Berg Jr", ("John", None, "van der Berg")),
        ("Mrs. Mary Ann O'Neil", ("Mary", "Ann", "O'Neil")),
        ("De La Cruz, Maria", ("Maria", None, "De La Cruz")),
        ("Smith", (None, None, "Smith")),
        ("John Smith OBE", ("John", None, "Smith")),
        ("  ", (None, None, None)),
    ],
)
def test_whole_names(raw: str, pieces: tuple[str | None, ...]) -> None:
    made = table(Kind.FULL_NAME, pl.Series([raw]))
    assert made.select("forename", "middle_name", "surname").row(0) == pieces


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Bob", "Robert"),
        ("Liz", "Elizabeth"),
        ("Peggy", "Margaret"),
        ("Mohammed", "Muhammad"),
        ("Mohd", "Mohamed"),
        ("Siobhan", "Shivaun"),
        ("Aisha", "Ayesha"),
        ("Yusuf", "Yousef"),
        ("Catherine", "Kathryn"),
        ("Sean", "Shaun"),
        ("Oleksandr", "Alexander"),
        ("Harpreet", "Harprit"),
    ],
)
def test_variants_share_a_group(one: str, other: str) -> None:
    groups = table(Kind.FORENAME, pl.Series([one, other]))["nickname"].to_list()
    assert set(groups[0]) & set(groups[1])


@pytest.mark.parametrize(("one", "other"), [("Mohammed", "Mahmoud"), ("Ahmed", "Hamid"), ("John", "James")])
def test_different_names_share_none(one: str, other: str) -> None:
    groups = table(Kind.FORENAME, pl.Series([one, other]))["nickname"].to_list()
    assert not set(groups[0]) & set(groups[1])


def test_lexicon_is_well_formed() -> None:
    lines = rows("nicknames.csv")
    assert len({line["group"] for line in lines}) > 250
    assert {line["kind"] for line in lines} == {"nickname", "spelling", "transliteration"}
    for line in lines:
        names = line["names"].split()
        assert line["group"] not in names
        assert len(names) == len(set(names)) > 0
        assert all(name.isascii() and name.isalpha() and name.isupper() for name in [line["group"], *names])
    # Given to very many people beside their own names: sharing one of these says nothing.
    assert not {"BEGUM", "BIBI", "KHATUN", "KAUR", "SINGH", "KHAN"} & set(nickname_groups())
