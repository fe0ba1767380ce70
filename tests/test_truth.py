"""What the study's links are worth against the truth, where a link names one of a person's records."""

from __future__ import annotations

import polars as pl

from benchmarks.county.records import BIT
from benchmarks.county.score import Truth
from deploy import truth
from tests.county.test_score import share
from tests.county.test_score import truth as made

REFERENCES = pl.DataFrame({"row_ref": ["ref-1", "ref-2", "ref-3"], "record_id": ["R1", "R2", "R3"]})


def judged(*links: tuple[str, str]) -> pl.DataFrame:
    """Two people delivered in two years, the first of them twice in the register; and a row of nobody's."""
    known = [(truth.COUNCILS, f"{who}-{year}", who, 0, 1, 5, 0) for who in (10, 11) for year in (2023, 2024)]
    rows = [("R1", 10, 0), ("R2", 10, BIT["sex_wrong"]), ("R3", 90, 0)]
    county = made([*known, *(("registers/pnc", ref, who, 0, None, 5, slip) for ref, who, slip in rows)])
    delivered = county.records.filter(pl.col("file") == truth.COUNCILS)
    found = pl.DataFrame(links, ("left_id", "right_id"), orient="row")
    return truth.judged(county, delivered, "pnc", REFERENCES, found)


def test_r27_who_was_delivered_twice_is_found_by_one_link():
    score = judged(("10-2023", "ref-1"))
    assert truth.share(score, "recall") == truth.share(score, "precision") == (1, 1)
    assert set(score.filter((pl.col("measure") == "recall") & (pl.col("of") > 0))["rate"]) == {1.0}
    assert set(score.filter(pl.col("measure") == "recall")["stage"]) == {"person", "family"}
    assert share(score, "link", "precision") == (1, 1)
    assert share(score, "person", "recall", "error", "sex_wrong") == (1, 1)


def test_r27_a_link_to_somebody_whom_no_council_delivered_is_wrong_and_told():
    score = judged(("10-2024", "ref-3"))
    assert (truth.share(score, "precision"), truth.share(score, "recall")) == ((0, 1), (0, 1))
    assert (truth.false_links(score, ["nobody's"]), truth.false_links(score, ["twin", "sibling"])) == (1, 0)


def test_the_truth_of_one_file_is_that_of_its_records_and_people(tmp_path):
    whole = made(
        [("a", "L1", 10, 0, 1, 5, 0), ("b", "R1", 22, 0, None, 5, 0), ("b", "R2", 90, 0, None, 5, 0)]
    )
    whole.records.write_parquet(tmp_path / "records.parquet")
    whole.people.drop("arm").write_parquet(tmp_path / "people.parquet")
    whole.people.select("household", "arm").unique("household").write_parquet(tmp_path / "families.parquet")
    assert Truth.read(tmp_path).records["record_id"].to_list() == ["L1", "R1", "R2"]
    read = Truth.read(tmp_path, ["b"])
    assert read.records["record_id"].to_list() == ["R1", "R2"]
    assert dict(read.people.select("person", "arm").rows()) == {22: "comparison", 90: None}
