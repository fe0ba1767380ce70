"""One person at a time against a reference: how long an answer takes, and how many a second.

    python benchmarks/match.py [--records N] [--asked N]

Made-up people (benchmarks/population.py): the reference is the families' side, the questions are records of
the register, half of them about people who are in the reference, with that preset's errors. A model is
trained on a part of both; its weights are used with two sets of blocking rules: four light ones, about one
candidate a question, and those that Kinlink chooses itself, which are made for whole files and give hundreds.
In process, then over gRPC on the loopback address, where client and server share this machine's cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

import linker
from benchmarks.population import study, write_study
from linker.client import Client
from linker.model import BlockingRule, Model
from linker.records import Layout

ROOT = Path(__file__).resolve().parents[1]
LIGHT = (
    ("nhs_number",),
    ("forename", "date_of_birth"),
    ("surname", "date_of_birth"),
    ("date_of_birth", "postcode"),
)
TRAINED_ON = 50_000
BATCH = 1_000
WARM = 200  # questions before the clock starts
FIRST = 2_000  # questions that are asked one by one

Values = Mapping[str, str]


def questions(records: pl.DataFrame, layout: Layout) -> list[Values]:
    """Values by field of each record."""
    frame = records.select(pl.col(field.columns[0]).alias(field.name) for field in layout.fields)
    return [
        {name: value for name, value in row.items() if value is not None}
        for row in frame.iter_rows(named=True)
    ]


def milliseconds(ask: Callable[[Values], object], asked: Sequence[Values]) -> str:
    """The percentiles of single questions."""
    for values in asked[:WARM]:
        ask(values)
    taken = []
    for values in asked[WARM : WARM + FIRST]:
        began = time.perf_counter()
        ask(values)
        taken.append(1000 * (time.perf_counter() - began))
    return " | ".join(f"{one:.2f}" for one in np.percentile(taken, (50, 95, 99)))


def per_second(run: Callable[[], Iterable[object]], runs: int = 3) -> tuple[float, int]:
    """Answers a second, the median of some runs, and how many answers there were."""
    rates, count = [], 0
    for _ in range(runs):
        began = time.perf_counter()
        count = sum(1 for _ in run())
        rates.append(count / (time.perf_counter() - began))
    return statistics.median(rates), count


def in_process(records: linker.Records, model: Model, asked: Sequence[Values]) -> linker.Reference:
    """Measure without a service; returns the reference."""
    began, cpu = time.perf_counter(), time.process_time()
    reference = linker.Reference(records, model)
    loaded = time.perf_counter() - began
    print(f"| in process | load | {loaded:.1f} s ({time.process_time() - cpu:.1f} s of processor) | | |")
    print(f"| in process | one | {milliseconds(lambda values: reference.ask([values]), asked)} |")

    def batches() -> Iterable[object]:
        for first in range(0, len(asked), BATCH):
            yield from reference.ask(asked[first : first + BATCH])

    rate, _ = per_second(batches)
    found = statistics.mean(answer.found for answer in reference.ask(asked[:BATCH]))
    print(f"| in process | {BATCH:,} at a time | {rate:,.0f} a second | {found:.2f} found | |")
    ids = [f"new-{number}" for number in range(FIRST)]
    began = time.perf_counter()
    for record_id, values in zip(ids, asked, strict=False):
        reference.put([record_id], [values])
    each = 1000 * (time.perf_counter() - began) / FIRST
    print(f"| in process | put one | {each:.2f} mean | | |")
    return reference


def over_grpc(left: pl.DataFrame, models: Mapping[str, Model], asked: Sequence[Values], folder: Path) -> None:
    """Measure with a server process on this machine."""
    command = [sys.executable, str(ROOT / "server.py"), "--data", str(folder / "data")]
    command += ["--listen", "127.0.0.1:0", "--port-file", str(folder / "port")]
    with (folder / "log").open("wb") as log:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, stderr=log, env=environment)
    try:
        while not (folder / "port").exists():
            if process.poll() is not None:
                raise SystemExit((folder / "log").read_text())
            time.sleep(0.05)
        address = f"127.0.0.1:{(folder / 'port').read_text().strip()}"
        with Client(address, project="bench", purpose="benchmark", timeout=600) as client:
            held = client.submit(left, batch_id="left", source="E06000023", id_column="record_id")
            for name, model in models.items():
                client.put_model(name, model.to_json())
                client.load_reference(name, held.submission_id, name)
                print(f"\n{name} rules, over gRPC\n\n{HEAD}")
                print(f"| gRPC | Match | {milliseconds(partial(client.match, name), asked)} |")
                numbered = [(str(number), values) for number, values in enumerate(asked)]
                rate, _ = per_second(partial(client.match_stream, name, numbered))
                print(f"| gRPC | MatchStream | {rate:,.0f} a second | | |", flush=True)
                client.drop_reference(name)
    finally:
        process.terminate()
        process.wait()


HEAD = "| where | what | p50, ms | p95 | p99 |\n| --- | --- | --: | --: | --: |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="One person at a time against a reference.")
    parser.add_argument("--records", type=int, default=1_000_000, help="records of the reference")
    parser.add_argument(
        "--asked", type=int, default=20_000, help="records of the register that are asked about"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        both = min(given.asked, given.records) / 2 / given.records
        write_study(study(given.records, given.asked, both, 7), folder / "people", "realistic")
        write_study(study(TRAINED_ON, TRAINED_ON, 0.7, 8), folder / "training", "realistic")
        trained = linker.train(
            *(
                linker.read(folder / "training" / f"{side}.parquet", id_column="record_id")
                for side in ("left", "right")
            )
        ).model
        left = pl.read_parquet(folder / "people" / "left.parquet")
        records = linker.arrive(left, id_column="record_id")
        right = pl.read_parquet(folder / "people" / "right.parquet")
        asked = questions(right, linker.arrive(right, id_column="record_id").layout)
        rules = tuple(BlockingRule(tuple((column, column) for column in rule)) for rule in LIGHT)
        models = {"light": replace(trained, rules=rules), "default": trained}
        print(
            f"Reference of {given.records:,} records, {len(asked):,} questions; {os.cpu_count()} cores, "
            f"{platform.machine()}, load average {os.getloadavg()[0]:.1f}; {len(LIGHT)} light and "
            f"{len(trained.rules)} default rules."
        )
        for which, model in models.items():
            print(f"\n{which} rules\n\n{HEAD}")
            in_process(records, model, asked)
        over_grpc(left, models, asked, folder)


if __name__ == "__main__":
    main()
