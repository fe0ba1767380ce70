"""What a caller gives that no run can be made with is refused in words, before any work."""

from __future__ import annotations

import math

import pytest

import linker
from linker.errors import LinkerError
from tests.made_up_people import register, retyped

LEFT = register(120)
RIGHT = retyped(LEFT)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"threads": 0}, "threads is not 1 or more"),
        ({"threads": "2"}, "threads is not 1 or more"),
        ({"model": "model.json"}, "linker.Model.load reads the file"),
        ({"threshold": math.nan}, "not a finite number"),
        ({"all_pairs": math.inf}, "not a finite number"),
        ({"keys": 3}, "matchkeys are an object of the type int"),
        ({"cardinality": "many"}, "Give one of one-to-one, many-to-one, many-to-many"),
    ],
)
def test_what_cannot_be_is_refused_in_words(given, words):
    def refused(run):
        with pytest.raises(LinkerError) as caught:
            run()
        assert words in str(caught.value)

    refused(lambda: linker.link(LEFT, RIGHT, **given))
    if "cardinality" not in given:
        refused(lambda: linker.dedupe(LEFT, **given))
    if "threads" in given:
        refused(lambda: linker.train(LEFT, **given))
        refused(lambda: linker.link_by_keys(LEFT, RIGHT, **given))
        refused(lambda: linker.dedupe_by_keys(LEFT, **given))
    if "model" in given:
        refused(lambda: linker.pairs(LEFT, RIGHT, **given))
        refused(lambda: linker.explain(given["model"], LEFT, RIGHT, "p00001", "q00001"))


def test_a_cardinality_may_be_written():
    written = linker.link(LEFT, RIGHT, cardinality="many-to-one")
    assert written.summary["cardinality"] == "many-to-one"
    assert written.links.equals(linker.link(LEFT, RIGHT, cardinality=linker.Cardinality.MANY_TO_ONE).links)
