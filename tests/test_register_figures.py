"""What the job of a register says of its linking: counts of persons, no handful, nobody who was kept out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from linker import registers
from linker.evidence import EVIDENCE, NOTHING
from linker.profiles.figures import FEW
from linker.register_figures import BASE, WHO
from tests.test_profile_links import DAY, extract_of, known_of

KNOWN = known_of(300, seed=11).with_columns(
    # Two areas of many, one of two persons and one of three.
    postcode=pl.Series(["LS1 4AP"] * 200 + ["LS2 3CD"] * 95 + ["YO1 7HH"] * 2 + ["DN1 1AA"] * 3)
)
EXTRACT = extract_of(KNOWN[:150])
NOBODY = KNOWN[:0].select(WHO)


class Written:
    """A job's folder in memory, of which the documents count."""

    def __init__(self) -> None:
        self.documents: dict[str, Mapping[str, Any]] = {}

    def write(self, name: str, content: bytes) -> None:
        self.documents[name] = json.loads(content)

    def write_table(self, name: str, frame: pl.DataFrame) -> None:
        pass


def told(
    known: pl.DataFrame = KNOWN, apart: pl.DataFrame = NOBODY, judged: pl.DataFrame = NOTHING
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The figures and the manifest of a job, some people kept out."""
    given = {"register": "pnc", "day": DAY.isoformat(), "since": "", "nhs_number_reason": "", "seed": 1}
    job: Any = SimpleNamespace(work=SimpleNamespace(**given, lawfulness={}))

    def link(
        job: Any, register: Any, sender: Any, refs: Any, link: Any, unsought: Any, _: Any
    ) -> dict[str, int]:
        counts: dict[str, int] = link(known).counts
        unfound = unsought(apart.with_row_index("person").with_columns(pl.col("person").cast(pl.String)))
        return counts | {"persons_not_linked": counts.get("persons_not_linked", 0) + unfound.height}

    folder = Written()
    vault: Any = SimpleNamespace(link=link)
    registers.perform(job, "x", EXTRACT, vault, judged, folder, lambda *_: None)  # type: ignore[arg-type]
    return folder.documents["report"], folder.documents.get("manifest", {})


@pytest.fixture(scope="module")
def undisturbed() -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return told()


def test_r74_the_report_of_a_register_says_how_good_its_links_are(undisturbed):
    figures, _ = undisturbed
    precision, missed = figures["expected_precision"], figures["missed"]
    assert 0.9 < precision["low"] <= precision["estimate"] <= precision["high"] <= 1.0
    assert missed["among_candidates"] >= 0
    assert 0 < missed["no_candidate"] <= figures["linked"]["persons_not_linked"]
    assert {"one_to_one_conflicts", "highest_weight", "thresholds", "model"} <= figures.keys()
    linked = sum(one["pairs"] for one in figures["keys"] if one["outcome"] == "LINKED")
    assert linked == figures["linked"]["rows_linked"]
    for by in ("age", "sex", "area"):
        groups = [one for one in figures["linked_by"] if one["by"] == by]
        total = sum(one["linked"] for one in groups)
        assert abs(total - figures["linked"]["persons_linked"]) <= BASE * len(groups) + FEW, by


def test_r74_a_group_of_few_is_told_with_others_or_not_at_all(undisturbed):
    groups = undisturbed[0]["linked_by"]
    areas = {one["group"]: one["persons"] for one in groups if one["by"] == "area"}
    assert areas == {"LS1": 200, "LS2": 95}  # not YO1 and DN1, which are five persons together
    assert all(one["persons"] % BASE == 0 and one["persons"] >= FEW for one in groups)
    for one in groups:
        told_of = [one[name] for name in ("linked", "share", "low", "high")]
        assert all(value is None for value in told_of) == (one["applicable"] is None or not one["applicable"])


def test_r74_no_figure_says_that_somebody_was_kept_out(undisturbed):
    figures, manifest = undisturbed
    # Somebody who is not in the register and is like nobody there, protected from now on.
    hidden = KNOWN.filter(pl.col("person") == KNOWN["person"][260])
    others = KNOWN.filter(pl.col("person") != KNOWN["person"][260])
    again, later = told(others, hidden.select(WHO))
    assert again["linked"] == figures["linked"]
    assert again["linked_by"] == figures["linked_by"]
    assert again["missed"]["no_candidate"] == figures["missed"]["no_candidate"]
    assert later["counts"] == manifest["counts"]
    # And no number of those who were looked for, from which the others could be reckoned.
    assert "records" not in figures
    assert "by_model" not in figures["missed"]
    for one in (manifest, later):
        assert one["inputs"][0].keys() == {"digest", "layout"}
        assert "protected" not in one["asked"]
    numbers = str(again) + str(later["asked"]) + str(later["inputs"][0])
    assert f" {others.height}," not in numbers


def test_r74_a_report_of_a_register_holds_no_value_of_a_person(undisturbed):
    whole = json.dumps(undisturbed)
    for name in ("person", "record", "given", "surname", "born", "postcode", "nhs"):
        assert not [value for value in KNOWN[name].unique() if f'"{value}"' in whole], name
    assert not [ref for ref in EXTRACT.ids if ref in whole]


def test_r78_the_manifest_of_a_register_has_what_its_links_depend_on(undisturbed):
    figures, manifest = undisturbed
    assert manifest["format"] == "kinlink-profile-manifest/1"
    assert manifest["thresholds"] == figures["thresholds"]
    assert manifest["model"] == figures["model"]["digest"]
    assert manifest["asked"]["on"] == DAY.isoformat()
    assert manifest["counts"] == figures["linked"]
    assert manifest["inputs"][1]["records"] == len(EXTRACT.ids)
    assert told()[1] == manifest
    # Another input, and another word of people: each is told.
    corrected = KNOWN.with_columns(surname=pl.col("surname").replace(KNOWN["surname"][299], "Ashworthy"))
    other = told(corrected)[1]
    assert other["inputs"][0]["digest"] != manifest["inputs"][0]["digest"]
    assert other["inputs"][1] == manifest["inputs"][1]
    refused = [(KNOWN["record"][0], EXTRACT.ids[0], False, DAY.isoformat())]
    judged = told(judged=pl.DataFrame(refused, schema=EVIDENCE, orient="row"))[1]
    assert judged["judged"] != manifest["judged"]
    assert judged["results"] == manifest["results"]


def test_r74_where_nobody_can_be_in_the_register_there_is_nothing_to_judge():
    children = KNOWN.with_columns(born=pl.lit("2025-01-01"))
    figures, manifest = told(children)
    assert "expected_precision" not in figures
    assert manifest == {}
    assert figures["linked"]["persons_not_applicable"] == KNOWN.height
