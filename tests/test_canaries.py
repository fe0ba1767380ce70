"""Canaries in every field of every input of the study turn up nowhere, in no form.

The whole study runs through three role processes with certificates, by the commands that people use; then
every input comes again in ways that are wrong, so that what is refused is said. Searched is all that was said
or left: logs, errors with their metadata, outputs, jobs, reports, audit logs, databases with what is in their
write-ahead logs, the analysis file opened, receipts, and names of files. No role has a page of metrics.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import dataclass

import polars as pl
import pytest

from benchmarks.county.councils import COUNCILS
from benchmarks.county.presets import REGISTERS
from deploy import study
from pseudonym.study.fields import Form
from pseudonym.study.layouts import Layout
from tests import planted
from tests.canary_study import played
from tests.overheard import Overheard
from tests.planted import Plants
from tests.pseudonym.threats.canaries import Finding, Scanner, spellings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
AT_HOME = {
    "council at home": ("Family ID", "fam_no", "FamRef"),
    "partner, indicators": ("family",),
    "the command council layout": ("wrong",),
}
"""Places where values of a council may be, and of which of its columns. The first is its own folder: why each
of its families stays or leaves. The second is its own table of answers, which is of its families. The third
proposes how to read the council's codes, for it to correct: it lists those that a column has."""
LABELLED = (
    "identity at rest",  # names of batches, sources, columns and requests lie in its database: SECURITY.md
    "attributes at rest",  # and here; answers that may be asked for again hold the specification
    "the analysis file",  # the specification is a part of it, as two people approved it
    "the command",  # who typed a label is told what became of it, or what is wrong with it
    "the answer",
    "the error",
    "jobs",  # whoever lists submissions sees which batches there are
    "council at home",  # it chose the names of its own files and columns
)
"""Places where labels that people chose may be: they say of a person what somebody puts there."""


@dataclass(frozen=True)
class Scene:
    """What was planted, and all that was said and left."""

    plants: Plants
    heard: Overheard

    def found(self, scanner: Scanner) -> dict[str, set[Finding]]:
        """What a search finds, by the place."""
        looked = {place: scanner.found(said) for place, said in self.heard.places.items()}
        for place, found in looked.items():
            found -= {one for one in found if by_chance(one, self.heard.places[place])}
        return {place: found for place, found in looked.items() if found}


def by_chance(found: Finding, said: bytes) -> bool:
    """Whether the eight digits of a day stand only within longer numbers, such as weights and times."""
    value = str(found.value)
    plain = re.fullmatch(r"(bare|day first, bare), utf-8(, reversed)?", found.form)
    if not plain or not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return False
    digits = spellings(value)[plain[1]][:: -1 if plain[2] else 1]
    return not re.search(rf"(?<![0-9.]){digits}(?![0-9])".encode(), said)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(*played(tmp_path_factory.mktemp("canaries")))


@pytest.fixture(scope="module")
def scanner(scene: Scene) -> Scanner:
    return Scanner(scene.plants.values)


def told(scene: Scene, found: dict[str, set[Finding]]) -> list[str]:
    """What was found: where, in which form, and from which input."""
    places = scene.plants.values | scene.plants.labels
    return sorted(
        {f"{place}: {places[str(one.value)]} ({one.form})" for place, some in found.items() for one in some}
    )


def test_r23_r35_r39_no_canary_of_any_input_is_anywhere(scene, scanner):
    found = scene.found(scanner)
    assert told(scene, {place: some for place, some in found.items() if place not in AT_HOME}) == []
    for place, columns in AT_HOME.items():
        assert {scene.plants.values[str(one.value)].rpartition(", ")[2] for one in found[place]} <= set(
            columns
        )


def test_r23_labels_are_where_their_choosers_put_them_and_in_no_log(scene):
    found = scene.found(Scanner(scene.plants.labels))
    assert told(scene, {place: some for place, some in found.items() if not place.startswith(LABELLED)}) == []
    assert {place.split(",")[0] for place in found} >= {"identity at rest", "the analysis file"}
    assert [place for place in found if "audit" in place or "log" in place] == []


def test_every_column_of_every_file_was_planted_in(scene):
    places = set(scene.plants.values.values())
    for name in COUNCILS:
        layout = Layout.from_toml((study.LAYOUTS / f"{name}.toml").read_text())
        for source in layout.sources:
            assert f"{name}, {source.column}, wrong" in places
            if source.field.form in (Form.TEXT, Form.HOURS) or source.field.name == "date_of_birth":
                assert f"{name}, {source.column}" in places
    for name in REGISTERS:
        for column in scene.plants.columns[name]:
            assert f"{name}, {column}" in places or column in planted.CODED, (name, column)
            if not column.endswith(("_date", "record_id")) and column not in planted.CODED:
                assert f"{name}, {column}, wrong" in places


def test_what_was_planted_went_to_the_identity_role_but_for_what_stays_at_home(scene):
    """So that a search that finds nothing finds nothing of what was there."""
    stays = {"Person Ref", "person_ref", "PersonID", "record_id", "Support Hours", "Hours", "remark"}
    for value, place in scene.plants.values.items():
        sender, _, column = place.partition(", ")
        planted_right = not column.endswith(("wrong", "_date")) and not column.startswith("stays, ")
        if sender in (*COUNCILS, *REGISTERS) and planted_right:
            assert (value in scene.heard.sent) is (column not in stays), place


def test_r6_of_a_family_below_the_minimum_nothing_was_sent_in_either_half(scene, scanner):
    stays = {value for value, place in scene.plants.values.items() if ", stays, " in place}
    shared = {value for value, place in scene.plants.values.items() if place.startswith(COUNCILS)} - stays
    halves = scene.heard.sent.encode(), scene.heard.places["the half for the attributes role"]
    sent = {str(one.value) for half in halves for one in scanner.found(half)}
    assert len(sent & shared) > 25
    for name in COUNCILS:
        assert sum(scene.plants.values[value].startswith(f"{name}, stays, ") for value in stays) > 5
    assert (
        told(
            scene,
            {"a half": {one for half in halves for one in scanner.found(half) if str(one.value) in stays}},
        )
        == []
    )


def test_what_is_wrong_was_refused_for_many_reasons(scene):
    expected = {
        "COUNCIL_FILE", "PARTNER_ROWS", "FIELD_INVALID", "VALUES_REFUSED", "NOT_FOUND", "ARROW_INVALID",
        "SCHEMA_MISMATCH", "MODEL_INVALID", "SUBJECT_MISSING", "LAYOUT_INVALID", "SEALED_INVALID",
        "JOB_NOT_FOUND", "INPUT_INVALID",
    }  # fmt: skip
    assert expected <= scene.heard.codes, expected - scene.heard.codes


@pytest.mark.parametrize(
    "written",
    [
        lambda one: one.encode(),
        lambda one: one.upper().encode(),
        lambda one: one.encode("utf-16-le"),
        lambda one: one.encode().hex().encode(),
        lambda one: base64.b64encode(b"ab" + one.lower().encode() + b"c"),
        lambda one: hashlib.sha256(one.encode()).digest(),
        lambda one: hashlib.md5(one.lower().encode()).hexdigest().encode(),
    ],
)
def test_what_is_planted_in_an_output_on_purpose_is_found(scene, scanner, written):
    """A log, a database and the analysis file, each with a canary of another input put into it."""
    [*values] = scene.plants.values
    for number, (place, said) in enumerate(scene.heard.places.items()):
        if place.startswith(("the log of", "attributes at rest, store", "the analysis file, persons")):
            value = values[7 * number % len(values)]
            half = len(said) // 2
            found = scanner.found(said[:half] + b"\0" + written(value) + b"\0" + said[half:])
            assert value in {one.value for one in found}, place


def test_a_table_of_the_analysis_file_is_searched_opened(scene, scanner):
    heard, value = Overheard(scene.heard.service), next(iter(scene.plants.values))
    buffer = io.BytesIO()
    pl.DataFrame({"relation": ["adult", value] * 500}).write_parquet(buffer, compression="zstd")
    heard.file("persons.parquet", buffer.getvalue())
    assert {one.value for one in scanner.found(heard.places["persons.parquet"])} == {value}
