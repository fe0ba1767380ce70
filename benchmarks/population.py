"""Made-up people, and two files about them: the families' side and a register, with the truth.

    python benchmarks/population.py --left 1000000 --right 1000000 --overlap 0.7 --out DIR --seed 1

Writes `left.parquet`, `right.parquet` and `truth.parquet` (left_id, right_id). The files depend on the sizes,
the overlap, the seed and the preset alone: not on the chunks, the threads or the day. A register of sixty
million streams to disk in chunks.

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
    """Write what was asked for."""
    parser = argparse.ArgumentParser(description="Made-up people: two files and the truth.")
    parser.add_argument("--left", type=int, default=100_000, help="records of the families' side")
    parser.add_argument("--right", type=int, default=100_000, help="records of the register")
    parser.add_argument("--overlap", type=float, default=0.7, help="share of the left that is on the right")
    parser.add_argument("--errors", choices=list(PRESETS), default="realistic")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    asked = parser.parse_args()
    try:
        laid = study(asked.left, asked.right, asked.overlap, asked.seed)
    except ValueError as error:
        parser.error(str(error))
    write_study(laid, asked.out, asked.errors)
    print(f"{laid.left:,} and {laid.right:,} records, {laid.both:,} people on both, in {asked.out}")


if __name__ == "__main__":
    main()
