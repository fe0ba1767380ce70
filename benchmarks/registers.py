"""How good the links of families to the eight registers are, by the profiles that come with Kinlink.

    python benchmarks/registers.py --families 5000 --seed 2 --out benchmarks/results/registers.md

For each preset a county is made (`county/`), each council's deliveries are deduplicated by the profile
`council`, and the three councils together are linked to each register by its profile, as of the last day and
back to the first. Nothing is labelled; what the profiles were tuned on had another seed. The registers hold
the county's people, and with `--elsewhere N` those of N households elsewhere in the country for each family.

Findable is who could be in the register on a day of the extract and is, under the identity that the council
knows. "Of what can be told" counts only those of whom both files have something in common besides forename
and date of birth: a surname, postcode or number, former ones too. Of a register without names it counts, with
the NHS number, those of whom both files have one, and without it those whose postcode, date of birth and sex
agree. Of `ndtms` there is no such count.

False links are told by who the other is; among all of them those to people who are in no council's file are
nobody's. Two further tables have recall of findable and precision by the heritage of the name and by arm; who
is in neither arm has "none".
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.county import county, presets
from benchmarks.county.score import Truth, score_links, share
from benchmarks.county.write import write_county
from benchmarks.linkage import row
from benchmarks.measure import machine
from linker.arrival import arrive
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
    "register", "rows", "links", "precision", "recall of findable", "with review answered",
    "of what can be told", "twin", "sibling", "other identity", "other", "nobody's", "seconds",
)  # fmt: skip
GROUPS = ("community", "arm")
NUMBERS = ("upn", "uln", "nino", "pncid", "cro")
_OPEN = (Kind.CATEGORY, Kind.TEXT, Kind.NUMBER, Kind.IDENTIFIER, Kind.HOUSEHOLD)


@dataclass(frozen=True)
class Row:
    """One register's figures.

    Attributes:
        cells: of its row in the table.
        recall, precision: of each group the records found of those there, and the links right of those made.
    """

    cells: tuple[str, ...]
    recall: Mapping[str, tuple[int, int]]
    precision: Mapping[str, tuple[int, int]]


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
    shown = findable.with_columns(found=found)
    return Row(
        cells=(
            register + ("".join(f" + {name}" for name in switches)),
            f"{two.height:,}",
            f"{links.height:,}",
            share(hits, made),
            share(int(found.sum()), len(found)),
            share(int(answered.sum()), len(found)),
            "-" if tellable is None else share(*_count(tellable, right)),
            *(str(many) for many in false.values()),
            str(made - hits - sum(false.values())),
            str(score["link", "false links", "nobody's", "nobody's"][0]),
            f"{took:.1f}",
        ),
        recall={
            group: (hit, many)
            for by in GROUPS
            for group, hit, many in shown.group_by(by)
            .agg(pl.col("found").sum(), pl.len())
            .sort(by)
            .iter_rows()
        },
        precision={
            group: counted[:2]
            for (stage, measure, by, group), counted in score.items()
            if (stage, measure) == ("link", "precision") and by in GROUPS
        },
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
    """The left ids that the register's fields can tell: see the head of this module."""
    if profile.name == "ndtms":
        return None
    on = frozenset(switches)
    mine, theirs = (
        left_side(left, profile, on, Besides(), {}, Period(ON, SINCE)),
        right_side(folder / "registers" / f"{profile.name}.parquet", profile, on, None),
    )
    one = mine.columns.with_columns(record_id=mine.ids).join(
        findable.select("record_id", "entity"), on="record_id"
    )
    other = theirs.columns.with_columns(record_id=theirs.ids).join(
        two.select("record_id", "entity"), on="record_id"
    )
    other = other.rename({name: f"{name} right" for name in other.columns if name != "entity"})
    pairs = one.join(other, on="entity")

    def agree(name: str, theirs_name: str) -> pl.Expr:
        return (pl.col(name) == pl.col(f"{theirs_name} right")).fill_null(False)

    if "surname" not in profile.compare:
        if switches:
            told = pl.col("nhs_number").is_not_null() & pl.col("nhs_number right").is_not_null()
        else:
            told = pl.all_horizontal(agree(name, name) for name in ("date_of_birth", "sex", "postcode"))
        return pairs.filter(told)["record_id"].unique()
    ways = [
        agree(base, name)
        for base, further in profile.compare.items()
        if base in ("surname", "postcode", *NUMBERS)
        for name in (base, *further)
        if base in one.columns and f"{name} right" in pairs.columns
    ]
    return pairs.filter(pl.any_horizontal(ways))["record_id"].unique()


def _count(tellable: pl.Series, right: pl.Series) -> tuple[int, int]:
    return int(tellable.is_in(right.implode()).sum()), len(tellable)


def run(preset: str, families: int, seed: int, elsewhere: float) -> list[Row]:
    """Make a county, with households elsewhere for each family, and link its families to every register."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "county"
        made = county.County(families, seed, presets.PRESETS[preset], issued_ninos=True, elsewhere=elsewhere)
        write_county(made, folder)
        truth, left = Truth.read(folder / "truth"), council_file(folder)
        rows = []
        for register, switches in RUNS:
            began = time.perf_counter()
            result = link_register(left, folder, register, switches)
            rows.append(judged(truth, left, folder, result, switches, time.perf_counter() - began))
            print(preset, *rows[-1].cells, sep=" | ", flush=True)
        return rows


def written(tables: Mapping[str, list[Row]], families: int, seed: int, elsewhere: float) -> str:
    """The result file."""
    command = f"benchmarks/registers.py --presets {' '.join(tables)} --families {families} --seed {seed}"
    command += f" --elsewhere {elsewhere:g}" if elsewhere else ""
    said = [
        "# Families linked to the eight registers",
        "",
        f"`.venv/bin/python {command}`. " + " ".join(machine()),
        "",
        "Shares of links of records (precision) and of left records (recall), with 95% intervals (Wilson).",
        "`benchmarks/registers.py` says what each column counts; false links by who the other is.",
    ]
    for preset, rows in tables.items():
        said += ["", f"## {preset}", "", *_table(HEADS, [row.cells for row in rows])]
        said += ["", "Recall of findable:", "", *_by_group([(row.cells[0], row.recall) for row in rows])]
        said += ["", "Precision:", "", *_by_group([(row.cells[0], row.precision) for row in rows])]
    return "\n".join(said) + "\n"


def _by_group(rows: Sequence[tuple[str, Mapping[str, tuple[int, int]]]]) -> list[str]:
    groups = list(dict.fromkeys(group for _, counts in rows for group in counts))
    cells = [(name, *(share(*counts.get(group, (0, 0))) for group in groups)) for name, counts in rows]
    return _table(("register", *groups), cells)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [row(*heads), "| --- " * len(heads) + "|", *(row(*cells) for cells in rows)]


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description="Links of families to eight registers, against the truth.")
    parser.add_argument("--families", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument(
        "--elsewhere", type=float, default=0.0, help="other households for each, in registers alone"
    )
    parser.add_argument("--presets", nargs="+", default=["realistic", "clean", "hard", "adversarial"])
    parser.add_argument("--out", type=Path, help="the result file")
    asked = parser.parse_args()
    tables = {preset: run(preset, asked.families, asked.seed, asked.elsewhere) for preset in asked.presets}
    if asked.out:
        text = written(tables, asked.families, asked.seed, asked.elsewhere)
        asked.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
