"""The benchmark of reference numbers: that it runs, case by case."""

from __future__ import annotations

from benchmarks.urns import LOOP, cases, measure, table


def test_every_case_runs_beside_the_bare_loop():
    measured = measure(1_000, 1)
    assert list(measured) == list(cases(10))
    assert all(rate > 0 for rates in measured.values() for rate in rates)
    assert f"| {LOOP} | " in table(measured)
