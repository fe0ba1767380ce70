"""Records that have further names are compared in each of them, and the best pair of two records counts."""

from __future__ import annotations

import polars as pl

from linker.arrival import arrive, screened
from linker.further_names import ALIASES, NAMES, dedupe_by_any_name
from linker.linkage import dedupe
from linker.predict import no_progress
from linker.records import Field, Kind, Layout
from linker.reviews import _sent
from tests.service.harness import people, with_errors

KINDS = {
    "given": Kind.FORENAME,
    "surname": Kind.SURNAME,
    "born": Kind.DATE_OF_BIRTH,
    "postcode": Kind.POSTCODE,
}
LAYOUT = Layout("id", tuple(Field(kind.value, kind, (name,), "as kept") for name, kind in KINDS.items()), ())
NAMED = {"person_id": "id", "forename": "given", "date_of_birth": "born"}


def sides(*aliases):
    """Two files of 300 people; ten have other names in the second. Aliases are given for each file."""
    first = people(300, seed=5).rename(NAMED)
    again = with_errors(people(300, seed=5)).rename(NAMED).sort("id")
    other = pl.int_range(pl.len()) < 10
    given, surname = people(300, seed=6).select("forename", "surname")
    again = again.with_columns(
        given=pl.when(other).then(given.str.reverse()).otherwise("given"),
        surname=pl.when(other).then(surname).otherwise("surname"),
    )
    made = []
    for frame, alias in zip((first, again), aliases, strict=True):
        names = [alias(place) if alias and place < 10 else None for place in range(300)]
        made.append((screened(frame, LAYOUT), frame.select("id", pl.Series(ALIASES, names, dtype=NAMES))))
    return made


def found(made):
    """Which of the ten are linked, and how many of the others."""
    result = dedupe_by_any_name(made, model=None, threshold=None, seed=0, progress=no_progress)
    pairs = result.links.select("left_id", "right_id").rows()
    true = {left[2:] for left, right in pairs if right == f"2:x{left[2:]}"}
    assert len(true) == len(pairs) == result.summary["links"]
    assert result.clusters["cluster_id"].n_unique() == 600 - len(pairs)
    return sum(int(one[1:]) < 10 for one in true), sum(int(one[1:]) >= 10 for one in true)


def before(place):
    return [
        {"given": people(300, seed=5)["forename"][place], "surname": people(300, seed=5)["surname"][place]}
    ]


def other(place):
    return [{"given": None, "surname": "Nobody"}, {"given": "Zebedee", "surname": f"Quill{place}"}]


def test_r81_a_name_of_one_file_is_found_among_the_further_names_of_the_other():
    without, rest = found(sides(None, None))
    assert without == 0
    assert found(sides(None, before)) == (10, rest)
    assert found(sides(before, None)) == (0, rest)  # it only repeats the present name


def test_r81_two_further_names_are_compared_as_well():
    assert found(sides(other, other))[0] == 10
    assert (
        found(sides(other, None))[0] == 0
    )  # and what is not said of a name is no way around the present one


def test_where_nobody_has_a_further_name_nothing_is_another():
    made = sides(None, None)
    plain = dedupe(*(records for records, _ in made), seed=0)
    result = dedupe_by_any_name(made, model=None, threshold=None, seed=0, progress=no_progress)
    assert result.links.equals(plain.links)
    assert result.manifest == plain.manifest


def test_r75_whoever_judges_a_pair_is_shown_further_names():
    frame = pl.DataFrame(
        {"former_surname": ["Tennant", None], "surname": ["Lee", "May"], "forename": ["Ann", "Ben"]}
    )
    shown = [one.fields["surname"] for one in _sent(arrive(frame))]
    assert shown == [["Lee", "Tennant"], ["May"]]
