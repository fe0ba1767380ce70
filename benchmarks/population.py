"""Made-up people, and files about them, with the truth.

    python benchmarks/population.py pair --left 1000000 --right 1000000 --overlap 0.7 --out DIR --seed 1
    python benchmarks/population.py county --families 100000 --errors realistic --out DIR --seed 1
    python benchmarks/population.py council --families 60 --out FILE.csv --seed 1
    python benchmarks/population.py score --truth DIR/truth --left FILE --right FILE --links LINKS

`pair` writes `left.parquet`, `right.parquet` and `truth.parquet` (left_id, right_id): the families' side and
a register of flat households, fast and of any size. The files depend on the sizes, the overlap, the seed and
the preset alone: not on the chunks, the threads or the day. A register of sixty million streams to disk in
chunks. `county` writes families over fifteen years, councils' files and eight registers: see `county/`. What
follows here is `pair`.

    names.toml ─▶ names ─┐                        errors: moved, renamed, misspelt, missing
    draw (chance) ───────┼─▶ people (households) ─▶ records ─▶ Parquet
    places (dwellings) ──┘
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from benchmarks.county import county, presets
from benchmarks.county.desk import council_file
from benchmarks.county.score import Truth, score_clusters, score_links
from benchmarks.county.write import write_county
from benchmarks.dates import written
from benchmarks.draw import Ints, Permutation
from benchmarks.errors import PRESETS, Errors, befall, emptied, misspelt, swapped
from benchmarks.identifiers import nino
from benchmarks.names import SEXES
from benchmarks.people import People, Population

CHUNK = 1 << 18  # records made at a time, and rows of a row group
THREADS = 2
COLUMNS = (
    "forename", "surname", "date_of_birth", "sex", "house", "street", "town", "postcode", "nhs_number",
    "nino",
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """Who is in which file.

    Persons 0 … left − 1 are on the left, in whole households; `both` of them, chosen by chance, are on the
    right too, where strangers fill up the rest. Either file is in an order of its own.

    Attributes:
        left, right: records of either side.
        both: people who are on both.
        population: all of them.
    """

    left: int
    right: int
    both: int
    population: Population
    _chosen: Permutation
    _orders: tuple[Permutation, Permutation]

    def persons(self, side: str, rows: Ints) -> Ints:
        """Numbers of the persons in these rows of a side."""
        if side == "left":
            return self._orders[0].to(rows)
        place = self._orders[1].to(rows)
        shared = place < self.both
        return np.where(shared, self._chosen.to(np.where(shared, place, 0)), self.left + place - self.both)

    def truth(self, rows: Ints) -> pl.DataFrame:
        """The right record of each of these rows of the left, where there is one."""
        place = self._chosen.back(self._orders[0].to(rows))
        shared = place < self.both
        return pl.DataFrame(
            {
                "left_id": _ids("left", rows[shared]),
                "right_id": _ids("right", self._orders[1].back(place[shared])),
            }
        )


def study(left: int, right: int, overlap: float, seed: int) -> Study:
    """Lay out two files.

    Args:
        left, right: records of either side.
        overlap: share of the left that is on the right too.
        seed: everything else follows from it.

    Raises:
        ValueError: a size under one, or a right side too small for the overlap.
    """
    both = round(left * overlap)
    if left < 1 or right < 1 or not 0 <= both <= min(left, right):
        raise ValueError("Both sides need records, and the right side room for the overlap.")
    population = Population(left + right - both, seed)
    chosen, *orders = (
        Permutation(many, population.draws, what)
        for many, what in ((left, "chosen"), (left, "left order"), (right, "right order"))
    )
    return Study(left, right, both, population, chosen, (orders[0], orders[1]))


def records(population: Population, persons: Ints, errors: Errors, side: str) -> pl.DataFrame:
    """Records of these persons, without an id, as one side has them."""
    people = befall(population, population.people(persons), errors, side)
    columns = _written(population, people)
    for name in ("forename", "surname", "street", "postcode"):
        p = getattr(errors, f"{name}_typo")
        columns[name] = misspelt(population.draws, columns[name], persons, p, side)
    pair = columns["forename"], columns["surname"]
    one, other = swapped(population.draws, pair, persons, errors.names_swapped, side)
    columns |= {"forename": one, "surname": other}
    for name, p in errors.missing:
        columns[name] = emptied(population.draws, columns[name], persons, p, side)
    nowhere = population.draws.chance(f"{side} no abode", persons, errors.no_abode)
    if nowhere.any():
        rows = np.flatnonzero(nowhere)
        columns["postcode"] = columns["postcode"].scatter(rows, population.places.postcodes[-1])
    return pl.DataFrame([columns[name].alias(name) for name in COLUMNS])


def _written(population: Population, people: People) -> dict[str, pl.Series]:
    names, places = population.names, population.places
    surname = names.surnames.gather(people.surname)
    double = np.flatnonzero(people.double >= 0)
    if len(double):
        both = surname.gather(double) + "-" + names.surnames.gather(people.double[double])
        surname = surname.scatter(double, both)
    return {
        "forename": names.forenames.gather(people.forename),
        "surname": surname,
        "date_of_birth": written(people.born),
        "sex": pl.Series("sex", SEXES).gather(people.sex),
        "house": places.houses.gather(places.house(people.dwelling)),
        "street": places.streets.gather(places.street(people.dwelling)),
        "town": places.towns.gather(places.town(people.dwelling)),
        "postcode": places.postcodes.gather(places.postcode(people.dwelling)),
        "nhs_number": pl.Series("nhs_number", people.nhs_number).cast(pl.String),
        "nino": nino(people.nino),
    }


def write(path: Path, rows: int, make: Callable[[Ints], pl.DataFrame], chunk: int = CHUNK) -> None:
    """Stream rows 0 … rows − 1 to a Parquet file, a row group a chunk."""
    first = make(np.arange(0, dtype=np.int64)).to_arrow(compat_level=pl.CompatLevel.oldest())
    with pq.ParquetWriter(path, first.schema, compression="zstd", compression_level=1) as file:
        for frame in _ahead(rows, make, chunk):
            file.write_table(frame.to_arrow(compat_level=pl.CompatLevel.oldest()), row_group_size=chunk)


def _ahead(rows: int, make: Callable[[Ints], pl.DataFrame], chunk: int) -> Iterator[pl.DataFrame]:
    """The chunks in order, a few of them made ahead on threads."""
    waiting: deque[Future[pl.DataFrame]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, rows, chunk):
            waiting.append(pool.submit(make, np.arange(start, min(rows, start + chunk), dtype=np.int64)))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def write_study(laid: Study, folder: Path, preset: str, chunk: int = CHUNK) -> None:
    """Write both sides and the truth into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for side, size, errors in zip(("left", "right"), (laid.left, laid.right), PRESETS[preset], strict=True):

        def made(rows: Ints, side: str = side, errors: Errors = errors) -> pl.DataFrame:
            frame = records(laid.population, laid.persons(side, rows), errors, side)
            return frame.insert_column(0, _ids(side, rows).alias("record_id"))

        write(folder / f"{side}.parquet", size, made, chunk)
    write(folder / "truth.parquet", laid.left, laid.truth, chunk)


def _ids(side: str, rows: Ints) -> pl.Series:
    return side[0].upper() + pl.Series(rows).cast(pl.String).str.zfill(8)


def main() -> None:
    """Write what was asked for, or score links."""
    parser = argparse.ArgumentParser(description="Made-up people: files of them, and the truth.")
    ways = parser.add_subparsers(dest="way", required=True)
    pair = ways.add_parser("pair", help="two files of flat households, and which records match")
    pair.add_argument("--left", type=int, default=100_000, help="records of the families' side")
    pair.add_argument("--right", type=int, default=100_000, help="records of the register")
    pair.add_argument("--overlap", type=float, default=0.7, help="share of the left that is on the right")
    pair.add_argument("--errors", choices=list(PRESETS), default="realistic")
    whole = ways.add_parser("county", help="councils' files of families, eight registers, and the truth")
    whole.add_argument("--families", type=int, default=1000, help="families that councils assessed")
    whole.add_argument("--others", type=float, default=county.OTHERS, help="other households for each")
    whole.add_argument(
        "--elsewhere", type=float, default=0.0, help="households elsewhere for each, in registers alone"
    )
    whole.add_argument("--errors", choices=list(presets.PRESETS), default="realistic")
    whole.add_argument(
        "--issued-ninos", action="store_true", help="NINOs with prefixes in use, which checks let pass"
    )
    for way in (pair, whole):
        way.add_argument("--seed", type=int, default=1)
        way.add_argument("--out", type=Path, required=True, help="folder for the files")
    desk = ways.add_parser("council", help="one council's file as an officer has it, with slips to find")
    desk.add_argument(
        "--families", type=int, default=60, help="families of its county, a third of them its own"
    )
    desk.add_argument("--seed", type=int, default=1)
    desk.add_argument("--out", type=Path, required=True, help="the CSV file")
    judge = ways.add_parser("score", help="how good links or clusters are against a county's truth")
    judge.add_argument("--truth", type=Path, required=True, help="the folder truth of a county")
    judge.add_argument("--left", nargs="+", required=True, help="files, such as councils/fenham/2024-12-31")
    judge.add_argument("--right", help="the other file, such as registers/npd; none for clusters")
    judge.add_argument("--links", type=Path, required=True, help="Parquet: left_id, right_id; or clusters")
    judge.add_argument("--out", type=Path, help="a CSV file for the score")
    asked = parser.parse_args()
    try:
        {"pair": _pair, "county": _county, "council": _council, "score": _score}[asked.way](asked)
    except ValueError as error:
        parser.error(str(error))


def _pair(asked: argparse.Namespace) -> None:
    laid = study(asked.left, asked.right, asked.overlap, asked.seed)
    write_study(laid, asked.out, asked.errors)
    print(f"{laid.left:,} and {laid.right:,} records, {laid.both:,} people on both, in {asked.out}")


def _county(asked: argparse.Namespace) -> None:
    preset = presets.PRESETS[asked.errors]
    made = county.County(
        asked.families, asked.seed, preset, asked.others, asked.issued_ninos, asked.elsewhere
    )
    for name, rows in write_county(made, asked.out).items():
        print(f"{rows:>12,}  {name}")


def _council(asked: argparse.Namespace) -> None:
    frame = council_file(asked.families, asked.seed)
    frame.write_csv(asked.out)
    print(f"{frame.height:,} rows, {frame['Family ID'].n_unique():,} families, in {asked.out}")


def _score(asked: argparse.Namespace) -> None:
    known, links = Truth.read(asked.truth), pl.read_parquet(asked.links)
    if asked.right:
        table = score_links(known, asked.left, asked.right, links)
    else:
        table = score_clusters(known, asked.left, links)
    if asked.out:
        table.write_csv(asked.out)
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=140, tbl_hide_column_data_types=True):
        print(table.drop("dataset").filter(pl.col("of") > 0))


if __name__ == "__main__":
    main()
