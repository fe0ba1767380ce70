"""A reference answers as a linkage with it on the left does, to the last bit, after every change too."""

from __future__ import annotations

import random

import polars as pl
import pytest

import linker
from linker import lookup, roomy
from linker.model import BlockingRule
from linker.reference import FEW, MANY, Reference
from linker.refusals import Invalid
from tests.made_up_people import register, retyped

LOW = -30.0  # bits


@pytest.fixture(scope="module")
def people():
    return register(1_000, seed=4)


@pytest.fixture(scope="module")
def typed(people):
    """The people as somebody else wrote them, some with letters and values that nobody else has."""
    typed = retyped(people.sample(500, seed=5, shuffle=True), seed=6)
    return typed.with_columns(
        surname=pl.when(pl.int_range(500) % 9 == 0).then(pl.lit("Ünal–Öz")).otherwise("surname"),
        forename=pl.when(pl.int_range(500) % 7 == 0)
        .then(pl.lit("Bartholomew Maximilian"))
        .otherwise("forename"),
    )


@pytest.fixture(scope="module")
def model(people, typed):
    return linker.train(arrived(people), arrived(typed)).model


@pytest.fixture(scope="module")
def reference(people, model):
    """One that no test changes."""
    return Reference(arrived(people), model)


def arrived(frame):
    return linker.arrive(frame, id_column="id")


def values_of(frame):
    rows = frame.drop("id").rename({"dob": "date_of_birth"}).iter_rows(named=True)
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def by_linkage(people, typed, model):
    """Every pair above LOW, by a linkage of the two files."""
    pairs = linker.link(arrived(people), arrived(typed), model=model, threshold=0.0, all_pairs=LOW).pairs
    assert pairs is not None
    return {
        (left, right): (weight, probability, rule)
        for left, right, weight, probability, rule in pairs.select(
            "left_id", "right_id", "match_weight", "match_probability", "rule"
        ).iter_rows()
    }


def by_reference(reference, typed):
    answers = reference.ask(values_of(typed), top=10**6, floor=LOW)
    return {
        (one.record_id, right): (one.weight, one.probability, one.rule)
        for right, answer in zip(typed["id"], answers, strict=True)
        for one in answer.candidates
    }


@pytest.mark.parametrize("count", [50, FEW, MANY, 500])
def test_the_same_pairs_as_a_linkage(people, typed, model, reference, count):
    typed = typed[:count]
    wanted = by_linkage(people, typed, model)
    assert len(wanted) > count
    assert by_reference(reference, typed) == wanted


def test_one_at_a_time_is_as_all_at_once(typed, reference):
    values = values_of(typed)
    at_once = reference.ask(values, top=3, floor=LOW)
    assert [reference.ask([one], top=3, floor=LOW)[0] for one in values] == at_once


def test_a_model_with_composed_columns_is_answered_too(people, typed, model):
    rules = (*model.rules, BlockingRule((("forename.start", "forename.start"), ("sex", "sex"))))
    model = linker.Model(model.comparisons, rules, model.prior, model.frequencies, kin=model.kin)
    assert by_reference(Reference(arrived(people), model), typed[:20]) == by_linkage(
        people, typed[:20], model
    )


def test_the_best_come_first_and_the_lead_counts_those_not_shown(reference, typed):
    values = values_of(typed)
    for one, all_of_it in zip(
        reference.ask(values, top=1, floor=LOW), reference.ask(values, top=10**6, floor=LOW), strict=True
    ):
        ranked = [(-candidate.weight, candidate.record_id) for candidate in all_of_it.candidates]
        assert ranked == sorted(ranked)
        assert one.candidates == all_of_it.candidates[:1]
        assert one.found == all_of_it.found == len(ranked)
        lead = ranked[1][0] - ranked[0][0] if len(ranked) > 1 else None
        assert one.lead == all_of_it.lead == lead
    assert any(answer.lead is not None for answer in reference.ask(values, floor=LOW))
    assert all(
        candidate.weight >= 12
        for answer in reference.ask(values, floor=12.0)
        for candidate in answer.candidates
    )


def test_a_frame_is_answered_in_columns(reference, typed):
    frame = typed.rename({"dob": "date_of_birth"})
    table = reference.match(frame, top=2, floor=LOW)
    answers = reference.ask(values_of(typed), top=2, floor=LOW)
    rows = [
        (query, one.record_id, one.weight, one.probability, one.rule, None if place else answer.lead)
        for query, answer in enumerate(answers)
        for place, one in enumerate(answer.candidates)
    ]
    assert table.columns == ["query", "record_id", "match_weight", "match_probability", "rule", "lead"]
    assert table.rows() == rows
    assert reference.match(frame[:0]).height == 0


def test_steps_are_those_of_an_explanation(people, typed, model, reference):
    explained = 0
    for record_id, values in zip(typed["id"][:20], values_of(typed)[:20], strict=True):
        for one in reference.ask([values], top=2, floor=LOW, explain=True)[0].candidates:
            whole = linker.explain(model, people, typed, one.record_id, record_id)
            assert one.prior == whole.prior
            assert [
                (step.comparison, step.level, step.m, step.u, step.weight, step.frequency, step.total)
                for step in one.steps
            ] == [
                (step.comparison, step.level, step.m, step.u, step.weight, step.frequency, step.total)
                for step in whole.steps
            ]
            assert one.steps[-1].total == one.weight
            explained += 1
    assert explained > 10


def test_a_question_leaves_nothing_behind(people, model, typed, monkeypatch):
    reference = Reference(arrived(people), model)
    before = [(group.book.size, len(group.runs)) for group in reference._encoder.groups]
    frequencies = reference._values.weights.log_frequency.copy()
    first = by_reference(reference, typed)
    assert by_reference(reference, typed) == first
    assert [(group.book.size, len(group.runs)) for group in reference._encoder.groups] == before
    assert (reference._values.weights.log_frequency == frequencies).all()


def test_a_value_that_the_model_knows_has_its_frequency_though_nobody_has_it(people, typed, model):
    common = people.group_by("surname").len().sort("len", "surname")["surname"][-1]
    others = people.filter(pl.col("surname") != common)
    asked = typed.with_columns(surname=pl.lit(common))[:20]
    assert common.upper() in model.frequencies["surname"].values
    reference = Reference(arrived(others), model)
    assert by_reference(reference, asked) == by_linkage(others, asked, model)


@pytest.fixture
def cramped(monkeypatch):
    """No room for anything: whatever comes, something has to be laid out anew."""
    monkeypatch.setattr(roomy, "ROOM", 1)
    monkeypatch.setattr(roomy, "LETTERS", 1)
    monkeypatch.setattr(lookup, "LEAST", 1)


@pytest.mark.parametrize("room", ["cramped", "usual"])
def test_changes_are_as_a_reference_made_anew(people, typed, model, room, request):
    if room == "cramped":
        request.getfixturevalue("cramped")
    chance = random.Random(7)
    held = {row["id"]: row for row in people[:300].iter_rows(named=True)}
    reference = Reference(arrived(people[:300]), model)
    coming = [*people[300:].iter_rows(named=True), *typed.iter_rows(named=True)]
    for _ in range(12):
        some = [coming.pop(chance.randrange(len(coming))) for _ in range(chance.choice((1, 3, 40)))]
        some += [row | {"id": chance.choice(list(held))} for row in some[:1]]
        reference.put([row["id"] for row in some], values_of(pl.DataFrame(some, schema=people.schema)))
        held |= {row["id"]: row for row in some}
        gone = [*chance.sample(list(held), 5), "nobody"]
        reference.remove(gone)
        for one in gone:
            held.pop(one, None)
        assert len(reference) == len(held)
        by_reference(reference, typed[:1])
    anew = pl.DataFrame(list(held.values()), schema=people.schema)
    wanted = by_linkage(anew, typed, model)
    assert by_reference(reference, typed) == wanted
    assert len(wanted) > 300


def test_a_record_that_is_replaced_is_there_once(people, model):
    reference = Reference(arrived(people[:50]), model)
    values = values_of(people[60:61])
    before = reference.ask(values)[0].candidates
    for _ in range(3):
        reference.put(["p00007", "p00007"], [values_of(people[61:62])[0], values[0]])
    assert len(reference) == 50
    answer = reference.ask(values)[0]
    assert [one.record_id for one in answer.candidates] == ["p00007", *(one.record_id for one in before)]
    reference.remove(["p00007", "p00007"])
    assert reference.ask(values)[0].candidates == before


def test_blanks_are_missing_and_fields_must_be_known(reference, typed):
    values = values_of(typed)[0]
    padded = {name: f"  {value} " for name, value in values.items()} | {"town": "   "}
    without = {name: value for name, value in values.items() if name != "town"}
    assert reference.ask([padded]) == reference.ask([without])
    assert reference.ask([{}])[0].candidates == ()
    with pytest.raises(Invalid, match="forename, surname, date_of_birth") as caught:
        reference.ask([values, {"lastname": "Zanzibarsdotter"}])
    assert caught.value.field == "records[1].values"
    assert "Zanzibarsdotter" not in str(caught.value)


@pytest.mark.parametrize(
    ("record_id", "values", "field"),
    [
        (" ", {"surname": "Cole"}, "records[0].record_id"),
        ("p1", {"surname": " "}, "records[0].values"),
        ("p1", {"lastname": "Cole"}, "records[0].values"),
    ],
)
def test_what_cannot_be_compared_cannot_be_put(people, model, record_id, values, field):
    reference = Reference(arrived(people[:30]), model)
    with pytest.raises(Invalid) as caught:
        reference.put([record_id], [values])
    assert (caught.value.reason, caught.value.field) == ("FIELD_INVALID", field)
    assert len(reference) == 30
