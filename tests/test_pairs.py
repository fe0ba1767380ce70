"""Every pair of at least a weight, the right side a part at a time: the same as with all of it at hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

import linker
from linker.conditions import Op, exact, missing
from linker.conditions import Test as Measure  # pytest would collect it by its own name
from linker.errors import FileError, LinkerError, ModelError, RecordsError
from linker.model import BlockingRule, Comparison, Level, Model, TermFrequencies
from linker.sources import Raw, column
from tests.made_up_people import register, retyped


@pytest.fixture(scope="module")
def sides():
    people = register(700, seed=8)
    return people.head(600), retyped(people[60:])


@pytest.fixture(scope="module")
def model(sides):
    return linker.train(*sides).model


@pytest.fixture(scope="module")
def whole(sides, model):
    return considered(linker.link(*sides, model=model, threshold=3.0, all_pairs=0.0))


def considered(result):
    assert result.pairs is not None
    return result.pairs.select("left_id", "right_id", "match_weight", "match_probability", "rule")


def raw_model():
    """A model of another kind: columns as they stand, term frequencies from the records."""

    def named(name, condition, tf):
        levels = (
            Level("same", exact(name), 0.8, 0.01, tf=tf),
            Level("near", condition, 0.1, 0.05),
            Level("other", None, 0.1, 0.94),
        )
        return Comparison(name, missing(name), levels)

    comparisons = (
        named("forename", Measure(Op.JARO_WINKLER, "forename", "forename", 0.88), "forename"),
        named("surname", Measure(Op.JARO_WINKLER, "surname", "surname", 0.88), "surname"),
        named("dob", Measure(Op.LEVENSHTEIN, "dob", "dob", 1), None),
    )
    names = ("forename", "surname", "dob")
    rules = (BlockingRule((("surname", "surname"),)), BlockingRule((("dob", "dob"),)))
    return Model(comparisons, rules, 0.001, raw=Raw({name: column(name) for name in names}, "id"))


@pytest.mark.parametrize("rows", [7, 250, 10**6])
@pytest.mark.parametrize("form", ["frame", "parquet", "csv", "arrow", "arrows", "parts"])
def test_parts_give_what_the_whole_gives(sides, model, whole, tmp_path, rows, form):
    left, right = sides
    assert whole.height > 100
    match form:
        case "frame":
            other = right
        case "parts":
            other = iter(list(right.iter_slices(97)))
        case "csv":
            right.write_csv(other := tmp_path / "right.csv")
        case "parquet":
            right.write_parquet(other := tmp_path / "right.parquet", row_group_size=100)
        case "arrow":
            right.write_ipc(other := tmp_path / "right.arrow", record_batch_size=100)
        case _:
            right.write_ipc_stream(other := tmp_path / "right.arrows")
    found = linker.pairs(left, other, model=model, threshold=0.0, part_rows=rows)
    assert found.equals(whole)


def test_a_threshold_only_leaves_out(sides, model, whole):
    found = linker.pairs(*sides, model=model, threshold=5.0)
    assert found.equals(whole.filter(pl.col("match_weight") >= 5.0))


@pytest.mark.parametrize("rows", [11, 10**6])
def test_frequencies_of_all_records_count_in_every_part(sides, tmp_path, rows):
    left, right = sides
    model = raw_model()
    plain = considered(linker.link(left, right, model=model, threshold=3.0, all_pairs=-5.0))
    right.write_parquet(tmp_path / "right.parquet")
    for other in (right, tmp_path / "right.parquet"):
        found = linker.pairs(left, other, model=model, threshold=-5.0, part_rows=rows)
        assert found.equals(plain)
        assert found.height > 300
    with pytest.raises(ModelError, match="come only once"):
        linker.pairs(left, iter(list(right.iter_slices(100))), model=model)


def test_one_set_against_itself(sides, model):
    both = pl.concat(
        [side.with_columns(id=letter + pl.col("id")) for side, letter in zip(sides, "ab", strict=True)]
    )
    found = linker.pairs(both, model=model, threshold=0.0)
    assert found.equals(considered(linker.dedupe(both, model=model, threshold=3.0, all_pairs=0.0)))


def test_rows_without_an_id_are_numbered_through_all_parts(sides, model):
    left, right = sides[0], sides[1].drop("id")
    parts, whole = (linker.pairs(left, right, model=model, part_rows=rows) for rows in (50, 10**6))
    assert parts.equals(whole)
    assert whole["right_id"].cast(pl.Int64).to_numpy().max() > 500


def test_what_is_wrong_is_said(sides, model, tmp_path):
    left, right = sides
    with pytest.raises(LinkerError, match="finite"):
        linker.pairs(left, right, model=model, threshold=float("nan"))
    with pytest.raises(RecordsError, match="no records"):
        linker.pairs(left, iter([]), model=model)
    with pytest.raises(FileError):
        linker.pairs(left, tmp_path / "none.parquet", model=model)
    right.write_csv(tmp_path / "cut.csv")
    raw = raw_model()
    with pytest.raises(RecordsError, match="'key'"):
        linker.pairs(left, right, model=replace(raw, raw=replace(raw.raw, id_column="key")))


def test_what_holds_no_records_is_refused(sides, model):
    left, right = sides
    parts: Any
    for one in (model, raw_model()):
        for given in ((left.lazy(), right), (left, right.lazy()), (left.lazy(), None)):
            with pytest.raises(RecordsError, match=r"LazyFrame.*Call its collect\(\), or give the file"):
                linker.pairs(*given, model=one)
        for given in ((5, right), (left, 5), (left.to_dict(), right)):
            with pytest.raises(RecordsError, match=r"cannot be read from an object of the type (int|dict)\."):
                linker.pairs(*given, model=one)
        for parts in ([right.lazy()], [right, right.lazy()], ["right.csv"], right.to_dict()):
            with pytest.raises(RecordsError, match="no Polars DataFrame"):
                linker.pairs(left, parts, model=one)


def test_parts_without_a_record_are_passed_over(sides, model, tmp_path):
    left, right = sides
    nothing = [pl.lit(None, pl.String).alias(name) for name in right.columns]
    blank = right.head(1).with_columns(*nothing[1:])
    whole = linker.pairs(left, right, model=model)
    parts = [right.head(0), right.head(100), blank, right[100:], right.head(0)]
    assert linker.pairs(left, iter(parts), model=model).equals(whole)
    right.write_csv(tmp_path / "right.csv")
    with (tmp_path / "right.csv").open("a") as file:
        file.write("\n\n,,,,,,\n")
    assert linker.pairs(left, tmp_path / "right.csv", model=model, part_rows=right.height).equals(whole)


def test_parts_of_other_columns_or_types_are_refused(sides, model):
    left, right = sides
    with pytest.raises(RecordsError, match="'surname'"):
        linker.pairs(left, iter([right, right.drop("surname")]), model=model)
    with pytest.raises(RecordsError, match="'surname' holds no text"):
        linker.pairs(left, iter([right, right.with_columns(surname=pl.concat_list("surname"))]), model=model)
    frequent = replace(
        raw_model(), frequencies={name: TermFrequencies({}, 0.01) for name in ("forename", "surname")}
    )
    with pytest.raises(RecordsError, match="same types"):
        linker.pairs(left, iter([right, right.with_columns(sex=pl.lit(1))]), model=frequent)
    with pytest.raises(LinkerError, match="no rows"):
        linker.pairs(left, right, model=model, part_rows=0)


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_frequencies_of_columns_that_take_another_type_to_be_compared(rows):
    left = pl.DataFrame({"id": ["a", "b"], "x": [1, 2], "y": [1.0, 3.0]})
    right = pl.DataFrame({"id": ["p", "q", "r"], "x": [1, 1, 2], "y": [2.0, 1.0, 1.0]})
    levels = (
        Level("same", exact("x"), 0.8, 0.1, tf="x"),
        Level("crossed", Measure(Op.EXACT, "x", "y"), 0.1, 0.2),
        Level("other", None, 0.1, 0.7),
    )
    raw = Raw({"x": column("x"), "y": column("y")}, "id")
    model = Model((Comparison("x", missing("x"), levels),), (BlockingRule((("x", "x"),)),), 0.1, raw=raw)
    plain = considered(linker.link(left, right, model=model, threshold=3.0, all_pairs=-20.0))
    assert linker.pairs(left, right, model=model, threshold=-20.0, part_rows=rows).equals(plain)
    assert plain.height == 3
