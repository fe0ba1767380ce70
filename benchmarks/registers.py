"""How good the links of families to the eight registers are, by the profiles that come with Kinlink.

    python benchmarks/registers.py --families 5000 --seed 2 --out benchmarks/results/registers.md

For each preset a county is made (`county/`), each council's deliveries are deduplicated by the profile
`council`,
and the three councils together are linked to each register by its profile, as of the last day and back to the
first. Nothing is labelled; what the profiles were tuned on had another seed.

Findable is who could be in the register on a day of the extract and is, under the identity that the council
knows. The column "with numbers" counts only those of whom both files have a valid NHS number, "same postcode"
only those whose postcode, date of birth and sex agree: what can be found without names and numbers at all.
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.county import county, presets
from benchmarks.county.score import Truth, score_links
from benchmarks.county.write import write_county
from benchmarks.measure import machine
from linker.arrival import arrive
from linker.evaluate import wilson
from linker.profiles.dedupe import dedupe_profile
from linker.profiles.link import ProfileResult, link_profile
from linker.profiles.profile import Profile
from linker.profiles.sides import Besides, Period, left_side, right_side
from linker.records import Kind

ON, SINCE, DELIVERY = datetime.date(2024, 12, 31), datetime.date(2010, 1, 1), "2024-12-31"
FAMILY = {"fenham": "Family ID", "marwick": "fam_no", "orlstead": "FamRef"}
ARM = {"fenham": "Group", "marwick": "cohort", "orlstead": "Arm"}
LEFT = [f"councils/{name}/{DELIVERY}" for name in FAMILY]
RUNS = (
    ("pnc", ()), ("prisons", ()), ("npd", ()), ("ilr", ()), ("wpls", ()), ("hes", ()), ("hes",
    ("nhs_number",)), ("mhmds", ()), ("mhmds", ("nhs_number",)), ("ndtms", ()),
)  # fmt: skip
HEADS = (
    "register", "links", "precision", "recall of findable", "with review answered", "of what can be told",
    "twin", "sibling", "other identity", "other", "seconds",
)  # fmt: skip
_OPEN = (Kind.CATEGORY, Kind.TEXT, Kind.NUMBER, Kind.IDENTIFIER, Kind.HOUSEHOLD)


@dataclass(frozen=True)
class Row:
    """One register's figures, as a row of the table."""

    cells: tuple[str, ...]


def council_file(folder: Path) -> pl.DataFrame:
    """The three councils' deliveries as one frame under common headings, with family, arm and person."""
    parts = []
    for name, family in FAMILY.items():
        frame = pl.read_parquet(folder / "councils" / name / f"{DELIVERY}.parquet")
        found = arrive(frame, ignore=[family, ARM[name]])
        fields = {one.columns[0]: one.name for one in found.layout.fields if one.kind not in _OPEN}
        assert found.layout.id_column is not None
        persons = dedupe_profile(frame, family=family).persons.select(
            record_id="record_id", person="person_id"
        )
        part = frame.select(
            pl.col(found.layout.id_column).alias("record_id"),
            pl.col(family).alias("family"),
            pl.col(ARM[name]).alias("arm"),
            *(pl.col(column).alias(field) for column, field in fields.items()),
        )
        parts.append(part.join(persons.with_columns(pl.col("person") + name), on="record_id"))
    return pl.concat(parts, how="diagonal")


def link_register(
    left: pl.DataFrame, folder: Path, register: str, switches: tuple[str, ...]
) -> ProfileResult:
    """Link the councils' file to one register by its profile."""
    return link_profile(
        left,
        folder / "registers" / f"{register}.parquet",
        register,
        on=ON,
        since=SINCE,
        family="family",
        arm="arm",
        person="person",
        supplied={"local_authority": "Kinshire"} if register == "ndtms" else None,
        switches=dict.fromkeys(switches, "a benchmark on made-up people"),
    )


def judged(
    truth: Truth,
    left: pl.DataFrame,
    folder: Path,
    result: ProfileResult,
    switches: tuple[str, ...],
    took: float,
) -> Row:
    """The figures of one register."""
    register = result.profile.name
    one, two = truth.of(LEFT), truth.of([f"registers/{register}"])
    links = result.links
    table = score_links(truth, LEFT, f"registers/{register}", links)
    score = {(row[1], row[2], row[3], row[4]): row[5:] for row in table.rows()}
    hits, made = score["link", "precision", "all", "all"][:2]
    out = result.outcomes.filter(pl.col("outcome") == "NOT_APPLICABLE")["left_id"]
    findable = one.join(two.select("entity").unique(), on="entity", how="semi").filter(
        ~pl.col("record_id").is_in(out.implode())
    )
    right = _right(links, one, two)
    waiting = _right(result.review, one, two)
    found = findable["record_id"].is_in(right.implode())
    answered = found | findable["record_id"].is_in(waiting.implode())
    tellable = _tellable(result.profile, left, folder, findable, two, switches)
    false = {
        name: score["link", "false links", "relation", name][0]
        for name in ("twin", "sibling", "same person, other identity")
    }
    return Row(
        (
            register + ("".join(f" + {name}" for name in switches)),
            f"{links.height:,}",
            _share(hits, made),
            _share(int(found.sum()), len(found)),
            _share(int(answered.sum()), len(found)),
            "-" if tellable is None else _share(*_count(tellable, right)),
            *(str(many) for many in false.values()),
            str(made - hits - sum(false.values())),
            f"{took:.1f}",
        )
    )


def _right(pairs: pl.DataFrame, one: pl.DataFrame, two: pl.DataFrame) -> pl.Series:
    """Left ids of the pairs that are right."""
    made = pairs.join(one.select(left_id="record_id", mine="entity"), on="left_id").join(
        two.select(right_id="record_id", theirs="entity"), on="right_id"
    )
    return made.filter(pl.col("mine") == pl.col("theirs"))["left_id"].unique()


def _tellable(
    profile: Profile,
    left: pl.DataFrame,
    folder: Path,
    findable: pl.DataFrame,
    two: pl.DataFrame,
    switches: tuple[str, ...],
) -> pl.Series | None:
    """Of a register without names, the left ids that its fields can tell: see the head of this module."""
    if profile.name not in ("hes", "mhmds"):
        return None
    columns = ["nhs_number"] if switches else ["date_of_birth", "sex", "postcode"]
    on = frozenset(switches)
    sides = (
        left_side(left, profile, on, Besides(), {}, Period(ON, SINCE)),
        right_side(folder / "registers" / f"{profile.name}.parquet", profile, on, None),
    )
    mine, theirs = (
        side.columns.select(columns).with_columns(record_id=side.ids).drop_nulls() for side in sides
    )
    mine = mine.join(findable.select("record_id", "entity"), on="record_id")
    theirs = theirs.join(two.select("record_id", "entity"), on="record_id")
    with_all = ["entity"] if switches else ["entity", *columns]
    return mine.join(theirs, on=with_all, how="semi")["record_id"]


def _count(tellable: pl.Series, right: pl.Series) -> tuple[int, int]:
    return int(tellable.is_in(right.implode()).sum()), len(tellable)


def _share(count: int, of: int) -> str:
    low, high = wilson(count, of) or (float("nan"), float("nan"))
    return f"{count / of:.2%} ({low:.2%} to {high:.2%})" if of else "-"


def run(preset: str, families: int, seed: int) -> list[Row]:
    """Make a county and link its families to every register."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "county"
        made = county.County(families, seed, presets.PRESETS[preset], issued_ninos=True)
        write_county(made, folder)
        truth, left = Truth.read(folder / "truth"), council_file(folder)
        rows = []
        for register, switches in RUNS:
            began = time.perf_counter()
            result = link_register(left, folder, register, switches)
            rows.append(judged(truth, left, folder, result, switches, time.perf_counter() - began))
            print(preset, *rows[-1].cells, sep=" | ", flush=True)
        return rows


def written(tables: Mapping[str, list[Row]], families: int, seed: int) -> str:
    """The result file."""
    said = [
        "# Families linked to the eight registers",
        "",
        f"`.venv/bin/python benchmarks/registers.py --families {families} --seed {seed}`. "
        + " ".join(machine()),
        "",
        "Shares of links of records (precision) and of left records (recall), with 95% intervals (Wilson).",
        "`benchmarks/registers.py` says what each column counts; false links by who the other is.",
    ]
    for preset, rows in tables.items():
        said += ["", f"## {preset}", "", "| " + " | ".join(HEADS) + " |", "| --- " * len(HEADS) + "|"]
        said += ["| " + " | ".join(row.cells) + " |" for row in rows]
    return "\n".join(said) + "\n"


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description="Links of families to eight registers, against the truth.")
    parser.add_argument("--families", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--presets", nargs="+", default=["realistic", "clean", "hard", "adversarial"])
    parser.add_argument("--out", type=Path, help="the result file")
    asked = parser.parse_args()
    tables = {preset: run(preset, asked.families, asked.seed) for preset in asked.presets}
    if asked.out:
        asked.out.write_text(written(tables, asked.families, asked.seed), encoding="utf-8")


if __name__ == "__main__":
    main()
