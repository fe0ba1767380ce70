"""Splink's side of the comparison, set up as its documentation advises for a link of this size.

The records are in DuckDB tables before the clock starts, columns that are not asked for are not kept, u comes
from ten million random pairs and m from EM over two rules without term frequencies, which is the faster way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
from splink import DuckDBAPI, Linker, SettingsCreator, block_on
from splink import comparison_library as cl
from splink.internals.comparison_creator import ComparisonCreator

from benchmarks.measure import THREADS, Meter, answer

Finish = Callable[[], object]

COMPARISONS: list[ComparisonCreator | dict[str, Any]] = [
    cl.JaroWinklerAtThresholds("forename", [0.92, 0.88, 0.7]).configure(term_frequency_adjustments=True),
    cl.JaroWinklerAtThresholds("surname", [0.92, 0.88, 0.7]).configure(term_frequency_adjustments=True),
    cl.DamerauLevenshteinAtThresholds("date_of_birth", [1, 2]),
    cl.ExactMatch("sex"),
    cl.ExactMatch("town").configure(term_frequency_adjustments=True),
    cl.LevenshteinAtThresholds("postcode", [1, 2]),
    cl.ExactMatch("nhs_number"),
]
CERTAIN = (("nhs_number",), ("forename", "surname", "date_of_birth"))  # rules for the prior
RECALL_OF_CERTAIN = 0.9
RANDOM_PAIRS = 10_000_000


def work(job: dict[str, Any], meter: Meter) -> Finish:
    """Train, or predict with a model."""
    connection = duckdb.connect()
    connection.execute(f"SET threads = {THREADS}")
    api = DuckDBAPI(connection)
    tables = []
    for side in ("left", "right"):
        path = Path(job["folder"]) / f"{side}.parquet"
        connection.execute(f"CREATE TABLE records_{side} AS SELECT * FROM read_parquet(?)", [str(path)])
        tables.append(api.register(f"records_{side}"))
    if job["do"] == "train":
        return _train(job, meter, tables)
    return _predict(job, meter, connection, tables)


def _train(job: dict[str, Any], meter: Meter, tables: Sequence[Any]) -> Finish:
    settings = SettingsCreator(
        link_type="link_only",
        unique_id_column_name="record_id",
        comparisons=COMPARISONS,
        blocking_rules_to_generate_predictions=[block_on(*rule) for rule in CERTAIN],
        retain_matching_columns=False,
    )
    linker = Linker(tables, settings, log_level=None)
    with meter.stage("prior"):
        linker.training.estimate_probability_two_random_records_match(
            [block_on(*rule) for rule in CERTAIN], recall=RECALL_OF_CERTAIN
        )
    with meter.stage("u"):
        linker.training.estimate_u_using_random_sampling(max_pairs=RANDOM_PAIRS)
    with meter.stage("em"):
        for rule in job["rules"]:
            linker.training.estimate_parameters_using_expectation_maximisation(
                block_on(*rule), estimate_without_term_frequencies=True
            )

    def finish() -> None:
        linker.misc.save_model_to_json(job["model"], overwrite=True)

    return finish


def _predict(job: dict[str, Any], meter: Meter, connection: Any, tables: Sequence[Any]) -> Finish:
    settings = json.loads(Path(job["model"]).read_text(encoding="utf-8"))
    linker = Linker(tables, settings, log_level=None)
    with meter.stage("block"):
        linker.inference.compute_blocked_pairs_for_predict()
    with meter.stage("score"):
        predicted = linker.inference.predict(threshold_match_weight=job["threshold"])

    def finish() -> None:
        # Splink orders the sides of a pair by the names of its tables: records_left comes first.
        connection.execute(
            f"COPY (SELECT record_id_l AS left_id, record_id_r AS right_id, match_weight "
            f"FROM {predicted.physical_name}) TO '{job['links']}' (FORMAT parquet)"
        )

    return finish


if __name__ == "__main__":
    answer(work)
