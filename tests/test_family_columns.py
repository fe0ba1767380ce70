"""Columns about families and programmes: known by heading or by value, and no evidence of who somebody is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
import pytest

import linker
from benchmarks.county.county import County
from benchmarks.county.presets import PRESETS
from benchmarks.county.write import write_county
from linker import headings
from linker.recognise import recognise
from linker.records import Kind

FAMILIES = 900
OF_A_FAMILY = {
    "fenham": ("Family ID", "Relationship", "Group", "Support Type", "Support Hours", "Criteria Met"),
    "marwick": ("fam_no", "rel_to_head", "cohort", "intervention_type"),
    "orlstead": ("FamRef", "Relation", "Arm", "Hours", "Problems"),
}


@pytest.fixture(scope="module")
def county(tmp_path_factory):
    path = tmp_path_factory.mktemp("county") / "made"
    write_county(County(FAMILIES, 11, PRESETS["realistic"]), path)
    return path


@pytest.fixture(scope="module")
def files(county):
    """The later file of each council, and the person behind each record."""
    truth = pl.read_parquet(county / "truth/records.parquet")
    found = {}
    for council in OF_A_FAMILY:
        (path,) = county.glob(f"councils/{council}/2024*.parquet")
        own = truth.filter(pl.col("file") == f"councils/{council}/{path.stem}")
        found[council] = pl.read_parquet(path), dict(own.select("record_id", "person").iter_rows())
    return found


def unnamed(frame: pl.DataFrame, council: str) -> pl.DataFrame:
    """The file with headings that say nothing where they told of families."""
    return frame.rename({name: f"q{place}" for place, name in enumerate(OF_A_FAMILY[council])})


@pytest.mark.parametrize("council", OF_A_FAMILY)
@pytest.mark.parametrize("told", ["by heading", "by value"])
def test_r13_a_councils_whole_file_is_deduplicated_without_merging_families(files, council, told):
    frame, person = files[council]
    result = linker.dedupe(frame if told == "by heading" else unnamed(frame, council))
    compared = {comparison.name for comparison in result.model.comparisons}
    kept = {"crit_1", "crit_2", "crit_3", "crit_4", "crit_5", "crit_6"}  # answers, of marwick
    assert compared - kept <= {*map(str, Kind), "ni number"} - {"household", "category", "text", "number"}
    pairs = result.links.select("left_id", "right_id").rows()
    right = sum(person[left] == person[other] for left, other in pairs)
    several = pl.Series([person[one] for one in person]).value_counts()["count"]
    true = int((several * (several - 1) // 2).sum())
    assert right >= 0.8 * true > 0
    assert right >= 0.65 * len(pairs)  # what is wrong are twins; merged families are 50 wrong links to one


@pytest.mark.parametrize("council", OF_A_FAMILY)
def test_what_is_said_of_the_columns(files, council):
    frame, _ = files[council]
    for one in (frame, unnamed(frame, council), unnamed(frame, council).sample(fraction=1, shuffle=True)):
        layout = recognise(one)
        family = one.columns[frame.columns.index(OF_A_FAMILY[council][0])]
        (household,) = [field for field in layout.fields if field.kind is Kind.HOUSEHOLD]
        assert household.columns == (family,)
        assert household.why.endswith("; a family shares it: not compared")
        others = {one.columns[frame.columns.index(name)] for name in OF_A_FAMILY[council][1:]}
        reasons = dict(layout.ignored)
        assert others <= reasons.keys()
        assert all(reasons[name].endswith("not who somebody is") for name in others)


def test_a_mapped_column_is_compared_as_asked(files):
    frame, _ = files["fenham"]
    records = linker.arrive(frame, mapping={"category": "Group", "identifier": "Family ID"})
    model = linker.train(records).model
    assert {"group", "family id"} <= {comparison.name for comparison in model.comparisons}


@pytest.mark.parametrize(
    ("column", "meaning"),
    [
        ("fam_no", "household"),
        ("FamRef", "household"),
        ("Household Ref", "household"),
        ("Member Ref", "id"),
        ("person_no", "id"),
        ("PersonNumber", "id"),
        ("Client Reference", "id"),
        ("Relationship to Mother", "relation"),
        ("rel_to_head", "relation"),
        ("Role in family", "relation"),
        ("Person Type", "relation"),
        ("Intervention", "programme"),
        ("support_worker_name", "programme"),
        ("Eligibility criteria", "programme"),
        ("Study Group", "programme"),
        ("CaseStatus", "programme"),
        ("Referral number", "programme"),
        ("marital_status", "category"),
        ("Ethnic Group", "category"),
        ("blood group", None),
        ("Family Name", "surname"),
    ],
)
def test_headings(column, meaning):
    assert headings.read(column).meaning == meaning


def homes(columns: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """Twenty homes of a parent and two children, with some columns beside their names."""
    names = [f"{one}{chr(97 + home)}" for home in range(20) for one in ("An", "Bo", "Cy")]
    places = [f"CB{home % 9 + 1} {home % 7 + 1}A{chr(66 + home % 3)}" for home in range(20) for _ in range(3)]
    return pl.DataFrame({"forename": names, "postcode": places, **columns})


def kind_of(frame: pl.DataFrame, column: str) -> Kind | str | None:
    layout = recognise(frame)
    found = [field.kind for field in layout.fields if field.columns == (column,)]
    return found[0] if found else dict(layout.ignored).get(column)


HOME = [f"{home:03}" for home in range(20) for _ in range(3)]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["Mother", "Step-son", "other child"] * 20, "a place in the family, not who somebody is"),
        (["M", "F", "F"] * 20, Kind.CATEGORY),  # a sex, and no place in a family
        (["male", "female", "female"] * 20, Kind.CATEGORY),
        ([f"C-{one}" for one in HOME], Kind.HOUSEHOLD),
        ([f"ward {chr(97 + int(one) // 10)}" for one in HOME], Kind.CATEGORY),  # no family's reference known
        ([f"C-{place}" for place in range(30) for _ in range(2)], Kind.CATEGORY),  # over two homes
    ],
)
def test_values(values, kind):
    assert kind_of(homes({"thing": values}), "thing") == kind


def test_what_a_whole_family_has_in_common():
    plans = [f"plan {chr(97 + int(one) % 5)}" for one in HOME]
    said = "the same for a whole family, not who somebody is"
    assert kind_of(homes({"family_id": HOME, "thing": plans}), "thing") == said
    assert (
        kind_of(homes({"family_id": HOME, "thing": ["plan a", "plan b", "plan c"] * 20}), "thing")
        == Kind.CATEGORY
    )
    # Whose record is protected must be known, whatever the family.
    answers = ["yes" if int(one) % 2 else "no" for one in HOME]
    assert kind_of(homes({"family_id": HOME, "kept_apart": answers}), "kept_apart") == Kind.CATEGORY


def test_a_family_column_of_codes_is_no_surname():
    assert kind_of(homes({"family": [f"F{one}" for one in HOME]}), "family") == Kind.HOUSEHOLD
    assert kind_of(homes({"family": ["Ash", "Elm", "Oak"] * 20}), "family") == Kind.SURNAME


def test_one_persons_records_are_no_family():
    """A reference that records of one forename share is a person's."""
    frame = homes({}).with_columns(
        pl.Series("forename", [f"Name{one}" for one in "abcdefghijklmnopqrst" for _ in range(3)])
    )
    frame = frame.with_columns(pl.Series("thing", [f"C-{one}" for one in HOME]))
    assert kind_of(frame, "thing") != Kind.HOUSEHOLD
