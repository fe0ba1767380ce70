"""Records as they stand: columns of several types, and what is refused without a value in its words."""

from __future__ import annotations

import polars as pl
import pytest

import linker
from linker.conditions import Op, missing
from linker.conditions import Test as Measure  # pytest would collect it by its own name
from linker.errors import LinkerError, ModelError, RecordsError
from linker.model import BlockingRule, Comparison, Level, Model
from linker.raw import model_columns
from linker.sources import Make, Raw, Source, column

LARGE = 2**63 + 5  # beyond Int64
LATE = 2**62  # milliseconds, beyond the calendar


def model_of(*tests, sources=()):
    """Whether columns are equal, each comparison worth three bits."""
    comparisons = [
        Comparison(
            f"{test.left} {test.right}",
            missing(test.left, test.right),
            (Level("same", test, 0.8, 0.1), Level("other", None, 0.2, 0.9)),
        )
        for test in tests
    ]
    names = {name for test in tests for name in (test.left, test.right)}
    made = {name: column(name) for name in names} | {one.name: one for one in sources}
    return Model(
        tuple(comparisons), (BlockingRule((("b", "b"),)),), 0.5, raw=Raw(made | {"b": column("b")}, "id")
    )


def same(left, right):
    return Measure(Op.EXACT, left, right)


def table(**columns):
    return pl.DataFrame({"id": ["1"], "b": ["x"]} | columns)


def whole(number, dtype):
    return pl.Series([number], dtype=dtype)


def refused(error, model, left, right):
    with pytest.raises(error) as caught:
        linker.link(left, right, model=model)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert not {str(LARGE), str(2**100), str(LATE), "Zyzzyva"} & set(
        str(caught.value).replace("[", " ").split()
    )
    assert isinstance(caught.value, LinkerError)
    return str(caught.value)


@pytest.mark.parametrize(("number", "dtype"), [(LARGE, pl.UInt64), (2**100, pl.Int128)])
def test_a_number_that_is_too_large_for_the_common_type_is_not_told(number, dtype):
    large, small = table(n=whole(number, dtype)), table(n=whole(5, pl.Int64))
    for sides in ((large, small), (small, large)):
        assert "value of 'n' can be read" in refused(ModelError, model_of(same("n", "n")), *sides)
    first = Source(Make.COALESCE, (column("n"), column("o")))
    both = [side.with_columns(o=whole(5, pl.Int16)) for side in (large, large)]
    assert "coalesce" in refused(ModelError, model_of(same(first.name, first.name), sources=[first]), *both)
    assert "value of 'n' can be read" in refused(ModelError, model_of(same("n", "o")), *both)
    # Where nothing has to be cast, any number is one.
    linked = linker.link(large, large, model=model_of(same("n", "n")), threshold=0.0).links
    assert linked.height == 1


def test_a_time_beyond_the_calendar_is_refused():
    late = table(t=whole(LATE, pl.Int64).cast(pl.Datetime("ms")))
    plain = table(t=whole(0, pl.Int64).cast(pl.Datetime("us")))
    assert "value of 't' can be read" in refused(ModelError, model_of(same("t", "t")), late, plain)


@pytest.mark.parametrize("value", [[5], b"\xffZyzzyva", [b"Zyzzyva"]], ids=["list", "bytes", "list of bytes"])
def test_ids_that_are_no_texts_are_refused(value):
    model = model_of(same("b", "b"))
    odd = table().with_columns(pl.Series("id", [value]))
    for sides in ((odd, table()), (table(), odd)):
        assert "column 'id' cannot be read as texts" in refused(RecordsError, model, *sides)
        with pytest.raises(RecordsError, match="column 'id' cannot be read as texts"):
            linker.pairs(*sides, model=model)


def test_lists_without_texts_and_fields_that_are_not_there_are_refused():
    odd = table(k=pl.Series([[b"Zyzzyva\xff"]]))
    assert "'k' holds lists of bytes" in refused(ModelError, model_of(same("k", "k")), odd, odd)
    field = Source(Make.FIELD, (column("k"),), ("y",))
    model = model_of(same(field.name, field.name), sources=[field])
    for values in ([{"x": 1}], [1]):
        one = table(k=pl.Series(values))
        assert "no such structures" in refused(ModelError, model, one, one)


def test_whole_numbers_are_compared_as_whole_numbers():
    model = model_of(same("x", "y"))
    left, right = table(x=whole(2**53, pl.UInt64), y=whole(0, pl.Int64)), table(x=whole(0, pl.UInt64))
    for number, weight in ((2**53, 3.0), (2**53 + 1, -2.169925001442312)):
        found = linker.pairs(left, right.with_columns(y=whole(number, pl.Int64)), model=model, threshold=-9.0)
        assert found["match_weight"].to_list() == pytest.approx([weight])


def test_a_type_that_one_comparison_asks_for_is_that_of_all_that_are_compared():
    values = {"x": whole(1, pl.Int64), "y": whole(1, pl.Int64), "z": whole(1.0, pl.Float64)}
    for order in (["x y", "y z"], ["y z", "x y"]):
        model = model_of(*(same(*names.split()) for names in order))
        side = table(**values)
        assert [one.dtype for one in model_columns(model, [side, side])[0].select("x", "y", "z")] == [
            pl.Float64
        ] * 3
        found = linker.pairs(side, side, model=model, threshold=-9.0)
        assert found["match_weight"].to_list() == pytest.approx([6.0])
