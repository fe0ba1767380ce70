"""Whether who withdrew is dropped from the next delivery, and whether anybody else is.

    python benchmarks/optouts.py --families 20000 --seed 7 --out benchmarks/results/optouts.md

For each preset a county is made (`county/`). Of the people in the councils' first deliveries one in a
hundred withdraws, and their tokens are made of what these deliveries say of them. A year later all three
councils deliver again: with who has moved, married and been typed anew since; then two national registers
with names are taken for deliveries too, for nobody there copied anything from a council. A row of somebody
who withdrew should be dropped, and every other kept. Rows of a person whose identity was changed for their
protection since are counted as neither.

What the weights were chosen on had another seed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.county.councils import COUNCILS
from benchmarks.county.county import County
from benchmarks.county.presets import PRESETS
from benchmarks.county.score import Truth
from benchmarks.county.write import delivery_days, write_county
from benchmarks.measure import machine
from linker.arrival import arrive
from linker.evaluate import wilson
from linker.forms import forms
from linker.joining import KEPT, rows_of, without_child_ninos
from pseudonym.holders import PrfKey
from pseudonym.optouts.screen import Screen
from pseudonym.optouts.tokens import Tokens, tokens_of
from pseudonym.study import files
from pseudonym.study.delivery import check
from pseudonym.study.layouts import Layout

SHARE = 100  # one person in so many withdraws
REGISTERS = ("npd", "pnc")
LAYOUTS = Path(__file__).parent / "county" / "layouts"
IDENTIFIERS = (
    *(
        "forename",
        "middle_name",
        "surname",
        "full_name",
        "date_of_birth",
        "sex",
        "house",
        "address_line",
        "town",
        "address",
    ),
    *("postcode", "nhs_number", "nino", "upn", "uln", "pncid"),
)
_SAID = ("given", "surname", "born")


def of_council(folder: Path, council: str, day: str) -> pl.DataFrame:
    """A council's delivery as it is kept, with record_id."""
    layout = Layout.from_toml((LAYOUTS / f"{council}.toml").read_text())
    frame = files.read(folder / "councils" / council / f"{day}.parquet")
    leaving = check(frame, layout, date.fromisoformat(day)).leaving
    records = leaving.select(
        pl.col("member").alias("record_id"), *(pl.col(name).cast(pl.String) for name in IDENTIFIERS)
    )
    return _kept(records.select(one for one in records if one.null_count() < len(one)))


def of_register(folder: Path, register: str) -> pl.DataFrame:
    """A register's records as a delivery would bring them."""
    return _kept(pl.read_parquet(folder / "registers" / f"{register}.parquet").cast(pl.String))


def _kept(frame: pl.DataFrame) -> pl.DataFrame:
    rows = rows_of(arrive(frame.unique("record_id"), id_column="record_id"), "", "")
    return (
        without_child_ninos(rows, date.today())[0].rename({"row_ref": "record_id"}).select("record_id", *KEPT)
    )


def whose(truth: Truth, file: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a file with the person and identity of each."""
    known = truth.records.filter(pl.col("file") == file).select("record_id", "person", "identity")
    return rows.join(known, on="record_id")


def withdrawn_of(first: pl.DataFrame, digests: PrfKey) -> tuple[pl.DataFrame, list[Tokens]]:
    """One person in `SHARE`, by their number, and the tokens of what the first deliveries say of each."""
    people = first["person"].unique().sort()
    chosen = people.filter(people.hash(17) % SHARE == 0)
    theirs = first.join(chosen.to_frame(), on="person").sort("person")
    people_of = theirs.partition_by("person", maintain_order=True)
    found = [tokens_of(digests.digests, forms(rows)) for rows in people_of]
    listed = theirs.select("person").unique(maintain_order=True).with_row_index("place")
    identities = theirs.select("person", "identity").unique()
    return listed.join(identities, on="person"), found


def measured(preset: str, families: int, seed: int) -> Iterator[dict[str, Any]]:
    """One row a file: how many rows should be dropped and were, in all and where they say something else."""
    digests = PrfKey("measured", os.urandom(32))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "county"
        write_county(County(families, seed, PRESETS[preset]), folder)
        truth, days = Truth.read(folder / "truth"), delivery_days()
        first = pl.concat(
            whose(truth, f"councils/{one}/{days[0]}", of_council(folder, one, days[0])) for one in COUNCILS
        )
        listed, tokens = withdrawn_of(first, digests)
        screen = Screen(tokens, digests.digests)
        second = [
            whose(truth, f"councils/{one}/{days[1]}", of_council(folder, one, days[1])) for one in COUNCILS
        ]
        held = {"councils, a year later": pl.concat(second)}
        held |= {one: whose(truth, f"registers/{one}", of_register(folder, one)) for one in REGISTERS}
        for file, rows in held.items():
            yield {"preset": preset, "file": file} | _held(screen, rows, first, listed)


def _held(screen: Screen, rows: pl.DataFrame, first: pl.DataFrame, listed: pl.DataFrame) -> dict[str, Any]:
    began = time.process_time()
    found = screen.matches(rows, forms)["row"].unique()
    seconds = time.process_time() - began
    dropped = rows.with_row_index("at").with_columns(dropped=pl.col("at").is_in(found.implode()))
    theirs = dropped.join(listed, on=["person", "identity"], how="semi")
    hidden = dropped.join(listed, on="person", how="semi").join(listed, on=["person", "identity"], how="anti")
    others = dropped.filter(~pl.col("person").is_in(listed["person"].implode()))
    # Who is spelt as in no row of the first deliveries, and who has a postcode that is in none.
    spelt = theirs.join(first, on=["person", *_SAID], how="anti", nulls_equal=True)
    moved = theirs.filter(pl.col("postcode").is_not_null()).join(first, on=["person", "postcode"], how="anti")
    both = spelt.join(moved, on="record_id", how="semi")
    return {
        "rows": rows.height,
        "withdrawn": (theirs["dropped"].sum(), theirs.height),
        "spelt otherwise": (spelt["dropped"].sum(), spelt.height),
        "moved": (moved["dropped"].sum(), moved.height),
        "both": (both["dropped"].sum(), both.height),
        "others": (others["dropped"].sum(), others.height),
        "changed identity": hidden["dropped"].sum(),
        "microseconds": 1e6 * seconds / rows.height,
    }


def share(hits: int, of: int, places: int = 2) -> str:
    """A share in per cent with its 95 % interval."""
    if not of:
        return "–"
    low, high = wilson(hits, of) or (0.0, 1.0)
    return (
        f"{100 * hits / of:.{places}f} % ({100 * low:.{places}f}–{100 * high:.{places}f}; {hits:,} of {of:,})"
    )


def page(rows: list[dict[str, Any]], families: int, seed: int) -> str:
    """The results as Markdown."""
    lines = [
        "# Opt-outs: who withdrew is dropped, and nobody else",
        "",
        f"`python benchmarks/optouts.py --families {families} --seed {seed}`. {' '.join(machine())}",
        "",
        f"One person in {SHARE} of the first deliveries withdrew. Shares of rows, with 95 % intervals.",
        "",
    ]
    heads = ("withdrawn", "spelt otherwise", "moved", "both")
    lines += ["| preset | file | rows | " + " | ".join(f"dropped: {one}" for one in heads) + " |"]
    lines += ["| --- | --- | ---: |" + " --- |" * len(heads)]
    for row in rows:
        cells = [share(*row[one]) for one in heads]
        lines.append(f"| {row['preset']} | {row['file']} | {row['rows']:,} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| preset | file | others dropped by mistake | in 10,000 | CPU, µs a row |",
        "| --- | --- | --- | ---: | ---: |",
    ]
    for row in rows:
        hits, of = row["others"]
        rate = f"{share(hits, of, 4)} | {1e4 * hits / of:.2f} | {row['microseconds']:.2f}"
        lines.append(f"| {row['preset']} | {row['file']} | {rate} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--families", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--presets", nargs="+", default=["realistic", "hard", "adversarial"], choices=PRESETS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = [row for preset in given.presets for row in measured(preset, given.families, given.seed)]
    text = page(rows, given.families, given.seed)
    print(text)
    if given.out:
        given.out.write_text(text)


if __name__ == "__main__":
    main()
