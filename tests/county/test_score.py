"""A county's score against cases made by hand."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from benchmarks.county.records import BIT
from benchmarks.county.score import Truth, score_clusters, score_links

# Household 1: a mother (10) and a father (11), his son of one name (12), twins (13, 14) and the father's new
# partner (19). Household 2: a cousin (22). Household 9: a stranger (90).
PEOPLE = pl.DataFrame(
    [
        (10, 1, 1, "F", date(1985, 1, 1), "british", "no", 500, None, None, None, "intervention"),
        (11, 1, 1, "M", date(1984, 1, 1), "british", "no", 600, None, None, None, "intervention"),
        (12, 1, 1, "M", date(2008, 1, 1), "british", "yes", 600, 10, 11, None, "intervention"),
        (13, 1, 1, "F", date(2012, 5, 5), "british", "no", 700, 10, 11, None, "intervention"),
        (14, 1, 1, "F", date(2012, 5, 5), "british", "no", 701, 10, 11, 13, "intervention"),
        (19, 1, 1, "F", date(1990, 1, 1), "black_african", "no", 800, None, None, None, "intervention"),
        (22, 2, 1, "M", date(2009, 1, 1), "british", "no", 600, None, None, None, "comparison"),
        (90, 9, 9, "M", date(1950, 1, 1), "british", "no", 900, None, None, None, None),
    ],
    schema={
        "person": pl.Int64, "household": pl.Int64, "kin": pl.Int64, "sex": pl.String, "born": pl.Date,
        "community": pl.String, "moved": pl.String, "forename": pl.Int64, "parent_1": pl.Int64,
        "parent_2": pl.Int64, "twin_of": pl.Int64, "arm": pl.String,
    },
    orient="row",
)  # fmt: skip


def truth(rows) -> Truth:
    """Rows: file, record_id, person, identity, family, home, slips."""
    names = ("file", "record_id", "person", "identity", "family", "home", "slips")
    records = pl.DataFrame(rows, names, orient="row").with_columns(surname=1, forename=1)
    return Truth(records, PEOPLE)


@pytest.fixture
def known() -> Truth:
    people = (10, 11, 12, 13, 14, 19, 22)
    left = [("c", f"L{who}", who, 0, 2 if who == 22 else 1, 5, 0) for who in people]
    right = [("r", f"R{who}", who, 0, None, 5, 0) for who in (*people, 90)]
    return truth(left + right)


def linked(*pairs):
    return pl.DataFrame(pairs, ("left_id", "right_id"), orient="row")


def share(table, stage, measure, by="all", group="all"):
    row = table.filter(stage=stage, measure=measure, by=by, group=group)
    return (row["count"].item(), row["of"].item()) if row.height else None


@pytest.mark.parametrize(
    ("pair", "relation"),
    [
        (("L13", "R14"), "twin"),
        (("L12", "R13"), "sibling"),
        (("L11", "R12"), "parent and child of one name"),
        (("L12", "R11"), "parent and child of one name"),
        (("L10", "R12"), "parent and child"),
        (("L19", "R11"), "same household"),
        (("L19", "R13"), "same household"),
        (("L22", "R12"), "cousin"),
        (("L10", "R90"), "stranger"),
    ],
)
def test_a_false_link_is_named_by_who_the_other_is(known, pair, relation):
    table = score_links(known, ["c"], "r", linked(pair))
    wrong = table.filter(measure="false links", by="relation").filter(pl.col("count") > 0)
    assert wrong.select("group", "count", "of").rows() == [(relation, 1, 1)]
    assert share(table, "link", "false links", "nobody's", "nobody's") == (relation == "stranger", 1)
    assert share(table, "link", "precision") == (0, 1)
    assert share(table, "link", "recall") == (0, 7)


def test_shares_of_records_persons_and_families(known):
    table = score_links(
        known, ["c"], "r", linked(("L10", "R10"), ("L11", "R11"), ("L12", "R22"), ("L22", "R90"))
    )
    assert share(table, "link", "precision") == (2, 4)
    assert share(table, "link", "recall") == (2, 7)
    assert share(table, "link", "recall", "sex", "F") == (1, 4)
    assert share(table, "link", "precision", "sex", "M") == (1, 3)
    assert share(table, "person", "recall", "community", "black_african") == (0, 1)
    assert share(table, "person", "recall", "moved", "yes") == (0, 1)
    assert share(table, "person", "precision", "arm", "comparison") == (0, 1)
    assert share(table, "person", "recall", "age", "25-44") == (2, 3)
    assert share(table, "family", "recall") == (0, 2)
    assert share(table, "family", "precision") == (0, 2)
    all_right = linked(*((f"L{who}", f"R{who}") for who in (10, 11, 12, 13, 14, 19)))
    table = score_links(known, ["c"], "r", all_right)
    assert share(table, "family", "recall") == (1, 2)
    assert share(table, "family", "precision") == (1, 1)
    # Wilson's interval of 6 of 6.
    row = table.filter(stage="link", measure="precision", by="all").row(0, named=True)
    assert row["low"] == pytest.approx(6 / (6 + 1.959964**2))
    assert row["high"] == 1.0


def test_only_links_count_and_stages_are_told_apart(known):
    links = linked(("L10", "R10"), ("L11", "R12"), ("L12", "R12")).with_columns(
        outcome=pl.Series(["LINKED", "LINKED", "REVIEW"]), stage=pl.Series(["keys", "household", "household"])
    )
    table = score_links(known, ["c"], "r", links)
    assert share(table, "link", "precision") == (1, 2)
    assert share(table, "link", "precision", "stage", "keys") == (1, 1)
    assert share(table, "link", "precision", "stage", "household") == (0, 1)


def test_what_a_change_of_identity_parted_is_no_true_pair():
    known = truth(
        [("c", "L12", 12, 1, 1, 5, 0), ("r", "R12a", 12, 0, None, 5, 0), ("r", "R12b", 12, 1, None, 5, 0)]
    )
    table = score_links(known, ["c"], "r", linked(("L12", "R12a")))
    assert share(table, "link", "recall") == (0, 1)
    assert share(table, "link", "false links", "relation", "same person, other identity") == (1, 1)
    assert share(score_links(known, ["c"], "r", linked(("L12", "R12b"))), "link", "recall") == (1, 1)


def test_recall_by_what_went_wrong_on_either_side():
    rows = [
        ("c", "L1", 10, 0, 1, 5, BIT["forename_typo"]), ("r", "R1", 10, 0, None, 6, 0),
        ("c", "L2", 11, 0, 1, 5, 0), ("r", "R2", 11, 0, None, 5, BIT["forename_typo"] | BIT["sex_wrong"]),
        ("c", "L3", 12, 0, 1, 5, 0), ("r", "R3", 12, 0, None, 5, 0),
    ]  # fmt: skip
    table = score_links(truth(rows), ["c"], "r", linked(("L1", "R1"), ("L3", "R3")))
    assert share(table, "person", "recall", "error", "forename_typo") == (1, 2)
    assert share(table, "person", "recall", "error", "sex_wrong") == (0, 1)
    assert share(table, "person", "recall", "error", "none") == (1, 1)
    assert share(table, "person", "recall", "change", "moved") == (1, 1)
    assert share(table, "person", "recall", "change", "not moved") == (1, 2)


def test_a_second_record_is_not_missed_where_the_first_is_linked():
    rows = [
        ("c", "L1", 10, 0, 1, 5, 0), ("r", "R1", 10, 0, None, 5, 0),
        ("r", "R2", 10, 0, None, 5, BIT["sex_wrong"]),
    ]  # fmt: skip
    table = score_links(truth(rows), ["c"], "r", linked(("L1", "R1")))
    assert share(table, "link", "recall") == (1, 2)
    assert share(table, "person", "recall") == (1, 1)
    assert share(table, "person", "recall", "error", "sex_wrong") == (1, 1)


def test_a_person_counts_once_by_what_went_wrong_however_many_records_they_are_in():
    """Delivered twice and twice in the register: whoever is found is missed under no error of theirs."""
    rows = [
        ("c", "L1", 10, 0, 1, 5, 0), ("c", "L2", 10, 0, 1, 7, 0),
        ("r", "R1", 10, 0, None, 5, 0), ("r", "R2", 10, 0, None, 7, BIT["sex_wrong"]),
        ("c", "L3", 11, 0, 1, 5, BIT["sex_wrong"]), ("c", "L4", 11, 0, 1, 5, BIT["sex_wrong"]),
        ("r", "R3", 11, 0, None, 5, 0),
    ]  # fmt: skip
    table = score_links(truth(rows), ["c"], "r", linked(("L1", "R1")))
    assert share(table, "person", "recall") == (1, 2)
    assert share(table, "person", "recall", "error", "sex_wrong") == (1, 2)
    assert share(table, "person", "recall", "error", "none") == (0, 0)
    assert share(table, "person", "recall", "change", "moved") == (1, 1)
    assert share(table, "person", "recall", "change", "not moved") == (0, 1)


def test_clusters_are_scored_by_the_pairs_they_hold():
    slips = (0, 0, BIT["sex_wrong"], 0, 0, 0)
    rows = [("c", f"L{at}", who, 0, 1, 5, slips[at]) for at, who in enumerate((10, 10, 10, 13, 14, 90))]
    clusters = pl.DataFrame(
        {"record_id": [f"L{at}" for at in range(6)], "cluster_id": ["a", "a", "b", "c", "c", "d"]}
    )
    table = score_clusters(truth(rows), ["c"], clusters)
    assert share(table, "dedupe", "precision") == (1, 2)
    assert share(table, "dedupe", "recall") == (1, 3)
    assert share(table, "dedupe", "recall", "error", "sex_wrong") == (0, 2)
    assert share(table, "dedupe", "recall", "error", "none") == (1, 1)
    assert share(table, "dedupe", "false links", "relation", "twin") == (1, 2)


def test_files_and_ids_that_the_truth_does_not_know_are_refused(known):
    with pytest.raises(ValueError, match="knows no file x; it knows c, r"):
        score_links(known, ["x"], "r", linked(("L10", "R10")))
    with pytest.raises(ValueError, match="1 links have a left_id that the truth does not know"):
        score_links(known, ["c"], "r", linked(("L77", "R10")))
