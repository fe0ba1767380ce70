"""Time, memory and links of Kinlink, Splink and the record linkage toolkit, side by side in one run.

    python benchmarks/linkage.py [--records N] [--rules light dense] [--runs N] [--out FILE]

The same made-up people (benchmarks/population.py), the same blocking rules and, through the model that Splink
trains and Kinlink imports, the same comparisons and parameters. Each engine runs in a process of its own and
they take turns; a time is the median of the runs, a ratio the median of the ratios run by run. The clock
starts when the records are in memory: Polars frames, DuckDB tables, pandas frames.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from benchmarks.measure import Result, machine, run
from benchmarks.population import study, write_study

_LIGHT = (
    ("nhs_number",),
    ("forename", "date_of_birth"),
    ("surname", "date_of_birth"),
    ("date_of_birth", "postcode"),
)
#: Blocking rules: with a million records a side, about one and about eight pairs a record.
RULES = {"light": _LIGHT, "dense": (*_LIGHT, ("forename", "surname"))}
TRAINING = (("forename", "date_of_birth"), ("surname", "postcode"))  # about a million pairs each
MODEL = Path(__file__).with_name("model.json")  # from Splink's training on a million records a side
OVERLAP = 0.7
THRESHOLD = 5.0  # bits
TOOLKIT_RECORDS = 20_000  # beyond that the toolkit takes long and much memory
CLOSE = 1e-9  # bits


class Agreement(NamedTuple):
    """Two engines' links against one another.

    Attributes:
        both, ours, theirs: pairs that both, only Kinlink and only Splink found.
        apart: the largest difference of a weight, in bits.
    """

    both: int
    ours: int
    theirs: int
    apart: float

    def __str__(self) -> str:
        if not self.ours and not self.theirs:
            said = f"the same {self.both:,} pairs"
        else:
            said = f"{self.both:,} pairs of both, {self.ours:,} only Kinlink's, {self.theirs:,} only Splink's"
        return f"{said}; weights differ by {self.apart:.1e} bits at most"


def agreement(ours: pl.DataFrame, theirs: pl.DataFrame) -> Agreement:
    """Compare two frames of left_id, right_id, match_weight."""
    both = ours.join(theirs, on=["left_id", "right_id"], suffix="_theirs")
    apart = both.select((pl.col("match_weight") - pl.col("match_weight_theirs")).abs().max()).item()
    return Agreement(both.height, ours.height - both.height, theirs.height - both.height, apart or 0.0)


def with_rules(model: Path, rules: Sequence[Sequence[str]], path: Path) -> Path:
    """Write a Splink model with other blocking rules."""
    settings = json.loads(model.read_text(encoding="utf-8"))
    settings["blocking_rules_to_generate_predictions"] = [
        {
            "blocking_rule": " AND ".join(f'l."{column}" = r."{column}"' for column in rule),
            "sql_dialect": "duckdb",
        }
        for rule in rules
    ]
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def in_turn(jobs: dict[str, dict[str, Any]], runs: int) -> dict[str, list[Result]]:
    """Run each engine's job, one after the other, so often."""
    done: dict[str, list[Result]] = {name: [] for name in jobs}
    for _ in range(runs):
        for name, job in jobs.items():
            done[name].append(run(f"with_{name}", job))
    return done


def stages(name: str, results: Sequence[Result]) -> Iterator[str]:
    """A row a stage, and one for all."""
    for stage in results[0].spent:
        yield row(name, stage, _seconds(results, stage), "")
    memory = f"{statistics.median(one.peak for one in results):,.0f} ({results[0].loaded:,.0f})"
    yield row(name, "**all**", _seconds(results), memory)


def _seconds(results: Sequence[Result], *of: str) -> str:
    wall = statistics.median(one.wall(*of) for one in results)
    cpu = statistics.median(one.cpu(*of) for one in results)
    return f"{wall:.2f} | {cpu:.2f}"


def row(*cells: str) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


HEAD = row("engine", "stage", "s", "CPU s", "peak MiB (at start)") + "\n| --- | --- | --: | --: | --: |"


def ratio(ours: Sequence[Result], theirs: Sequence[Result]) -> str:
    """How many times as long the other engine takes."""
    wall = statistics.median(b.wall() / a.wall() for a, b in zip(ours, theirs, strict=True))
    cpu = statistics.median(b.cpu() / a.cpu() for a, b in zip(ours, theirs, strict=True))
    return f"{wall:.1f} times as long ({cpu:.1f} times the CPU time)"


def f1(links: pl.DataFrame, folder: Path) -> str:
    """How right the links are: harmonic mean of precision and recall of pairs."""
    truth = pl.read_parquet(folder / "truth.parquet")
    right = links.join(truth, on=["left_id", "right_id"], how="semi").height
    return f"{2 * right / (links.height + truth.height):.4f}"


def candidates(folder: Path, rules: Sequence[Sequence[str]]) -> int:
    """How many pairs the rules hold, each once: counted by inclusion and exclusion, without making a pair."""
    signs: Counter[frozenset[str]] = Counter()
    for many in range(1, len(rules) + 1):
        for chosen in combinations(rules, many):
            signs[frozenset().union(*chosen)] -= (-1) ** many
    total = 0
    for columns, sign in signs.items():
        if sign != 0:
            one, other = (
                pl.scan_parquet(folder / f"{side}.parquet").drop_nulls(columns).group_by(columns).len(side)
                for side in ("left", "right")
            )
            product = pl.col("left").cast(pl.Int64) * pl.col("right")
            total += sign * one.join(other, on=list(columns)).select(product.sum()).collect().item()
    return total


def training(folder: Path, model: Path, runs: int) -> Iterator[str]:
    """Train both, and leave Splink's model behind for the comparison of predictions."""
    draft, own = with_rules(MODEL, TRAINING, folder / "draft.json"), folder / "own.json"
    job = {"do": "train", "folder": str(folder), "rules": [list(rule) for rule in TRAINING]}
    done = in_turn(
        {
            "splink": job | {"model": str(model)},
            "kinlink": job | {"model": str(draft), "own_model": str(own)},
        },
        runs,
    )
    yield HEAD
    for name, results in done.items():
        yield from stages(name, results)
    yield f"\n- splink trains {ratio(done['kinlink'], done['splink'])}."
    links = folder / "trained.parquet"
    task: dict[str, Any] = {
        "do": "predict",
        "folder": str(folder),
        "threshold": THRESHOLD,
        "links": str(links),
    }
    right = []
    for given in ({"model": str(with_rules(model, TRAINING, folder / "same.json"))}, {"own_model": str(own)}):
        run("with_kinlink", task | given)
        right.append(f1(pl.read_parquet(links), folder))
    yield f"- F1 by the rules of training: with Splink's model {right[0]}, with Kinlink's {right[1]}.\n"


def prediction(folder: Path, model: Path, rules: str, engines: Sequence[str], runs: int) -> Iterator[str]:
    """Predict with all engines, and hold the links against one another and against the truth."""
    ruled = with_rules(model, RULES[rules], folder / f"{rules}.json")
    links = {name: folder / f"{name}-{rules}.parquet" for name in engines}
    job = {
        "do": "predict", "folder": str(folder), "model": str(ruled), "threshold": THRESHOLD,
        "rules": [list(rule) for rule in RULES[rules]],
    }  # fmt: skip
    done = in_turn({name: job | {"links": str(path)} for name, path in links.items()}, runs)
    pairs, records = candidates(folder, RULES[rules]), pl.scan_parquet(folder / "left.parquet")
    a_record = pairs / records.select(pl.len()).collect().item()
    yield f"{pairs:,} candidate pairs, {a_record:.1f} a record of the left; threshold {THRESHOLD:g} bits.\n"
    yield HEAD
    for name, results in done.items():
        yield from stages(name, results)
    yield ""
    frames = {name: pl.read_parquet(path) for name, path in links.items()}
    for name in engines:
        if name != "kinlink":
            yield f"- {name} takes {ratio(done['kinlink'], done[name])}."
    per_second = statistics.median(pairs / one.wall() for one in done["kinlink"]) / 1e6
    yield f"- Kinlink: {per_second:.2f} m candidate pairs a second, from frames to links."
    yield f"- Links of Kinlink and Splink: {agreement(frames['kinlink'], frames['splink'])}."
    yield "- F1 against the truth: " + ", ".join(f"{n} {f1(frames[n], folder)}" for n in engines) + ".\n"


def report(records: int, rules: Sequence[str], runs: int, small: int, folder: Path) -> Iterator[str]:
    """The whole comparison, as lines of Markdown."""
    yield "# Linkage: Kinlink, Splink and the record linkage toolkit\n"
    yield f"`python benchmarks/linkage.py --records {records} --rules {' '.join(rules)} --runs {runs}`,"
    yield f"{datetime.date.today()}. " + " ".join(machine()) + "\n"
    files, model = folder / str(records), folder / "model.json"
    write_study(study(records, records, OVERLAP, seed=1), files, "realistic")
    yield f"## Training, {records:,} × {records:,} records\n"
    yield from training(files, model, runs)
    for name in rules:
        yield f"## Prediction with {name} rules, {records:,} × {records:,} records\n"
        yield from prediction(files, model, name, ("splink", "kinlink"), runs)
    if small:
        yield f"## With the record linkage toolkit: light rules, {small:,} × {small:,} records\n"
        files = folder / str(small)
        write_study(study(small, small, OVERLAP, seed=1), files, "realistic")
        yield from prediction(files, model, "light", ("recordlinkage", "splink", "kinlink"), runs)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Kinlink beside Splink and the record linkage toolkit.")
    parser.add_argument("--records", type=int, default=200_000, help="on either side")
    parser.add_argument("--rules", nargs="+", choices=list(RULES), default=list(RULES))
    parser.add_argument("--runs", type=int, default=3, help="of each engine, in turn")
    parser.add_argument("--toolkit", type=int, default=TOOLKIT_RECORDS, help="records beside it; 0: without")
    parser.add_argument("--folder", type=Path, help="keep the files and models here")
    parser.add_argument("--out", type=Path, help="write what is printed here as well")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for line in report(asked.records, asked.rules, asked.runs, asked.toolkit, folder):
            lines.append(line)
            print(line, flush=True)
    if asked.out:
        asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
