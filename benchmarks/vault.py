"""How fast people are sealed, opened, rewrapped and taken into a store, on one core.

    python benchmarks/vault.py [--people 50000] [--runs 5] [--batches 4] [--postgres URL] [--out FILE]

The peer of sealing is a bare loop of the cryptography package: the same operations on the same bytes, one
call after another, with nothing checked and nothing bound to its place. The two take turns; a rate is the
median of the runs, a ratio the median of the ratios run by run. This process is held on one core; the
server of PostgreSQL runs beside it on whichever is free. The stores flush every batch to disk.

The ratio of an intake is that of this process's own seconds to those of the bare loop that seals as many
people: key, row and three tags. Deliveries (`pseudonym.people`) are as large as a join makes them, of
families of three or four, in which one record in ten is linked; where half are known, every second one is
linked to a record before. An intake is all that the identity role does with a delivery, from records with
their links to what is on disk; standardising and linking is measured elsewhere (`intake.py`, `study.py`).
"""

from __future__ import annotations

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # before Polars is imported

import argparse
import datetime
import hmac
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import polars as pl
import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import machine
from pseudonym import columns, seal
from pseudonym.blind import BlindIndex, bits_for, field_key
from pseudonym.keks import KekRing
from pseudonym.openings import Mandate, Openings
from pseudonym.people import Delivery, People
from pseudonym.persons import random_ids
from pseudonym.roles.joining import AT_ONCE
from pseudonym.seal import Kek
from pseudonym.standing import Stamp
from pseudonym.storage import open_store
from pseudonym.vault import Vault

Result = TypeVar("Result")
FIELDS = ("nhs", "surname-dob", "postcode-dob")
MANDATE = Mandate("benchmark", "linkage", "benchmark")
SURNAMES = ("Abara", "Brennan", "Cole", "Dlamini", "Eze", "Farrow", "Grant", "Hughes", "Ito", "Jones")


class Root:
    """The root of the blind indexes, random."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)

    def field(self, field: str, epoch: int) -> bytes:
        """The field's key."""
        return field_key(self._secret, field, epoch)


def people(start: int, count: int) -> pl.DataFrame:
    """People who have an NHS number, a name, a date of birth and an address: three values to be found by."""
    numbers = pl.int_range(start, start + count, eager=True)
    day = datetime.date(1940, 1, 1)
    return columns.from_flat(
        pl.DataFrame(
            {
                "given": [f"Given{n % 997}" for n in numbers],
                "surname": [f"{SURNAMES[n % 10]}{'abcdefghij'[n // 10 % 10]}" for n in numbers],
                "born": [day + datetime.timedelta(days=n * 37 % 30_000) for n in numbers],
                "sex": ["FM"[n % 2] for n in numbers],
                "address": [f"{n % 313} Mill Lane, Little Wickham, Sussex" for n in numbers],
                "postcode": [f"ZA{n % 90 + 1} {n % 9}QQ" for n in numbers],
                "nhs": [f"{4_000_000_000 + 7 * n}" for n in numbers],
            }
        )
    )


class Work:
    """The same people for the package and for the bare loop."""

    def __init__(self, count: int) -> None:
        frame = people(0, count)
        self.payloads = columns.payloads(frame)
        found = columns.found_by(frame)
        self.values = [found.filter(pl.col("field") == field)["value"].to_list() for field in FIELDS]
        self.encoded = [[value.encode() for value in values] for values in self.values]
        self.pids = [os.urandom(16) for _ in range(count)]
        self.row_ids = [os.urandom(16) for _ in range(count)]
        self.versions = [1] * count
        self.kek, self.next_kek = Kek("0" * 16, os.urandom(32)), Kek("1" * 16, os.urandom(32))
        self.index = BlindIndex(Root(), 1, bits_for(1_000_000))
        self.siv = AESGCMSIV(os.urandom(32))
        self.tag_key = os.urandom(32)
        self.deks = seal.new_deks(count)
        self.sealed = self._seal_rows(self.deks)
        self.wrapped = self.kek.wrap_all(self.deks, self.pids)
        self.bare_wrapped: list[tuple[bytes, bytes, bytes]] = []
        self.bare_sealed: list[tuple[bytes, bytes, bytes]] = []

    def _seal_rows(self, deks: list[bytes]) -> list[bytes]:
        return seal.seal_rows(deks, "identity", self.pids, self.row_ids, self.versions, self.payloads)

    def seal(self) -> None:
        """Key, row and three tags for each person."""
        deks = seal.new_deks(len(self.pids))
        self._seal_rows(deks)
        self.kek.wrap_all(deks, self.pids)
        for field, values in zip(FIELDS, self.values, strict=True):
            self.index.tags(field, values)

    def bare_seal(self) -> None:
        """The same operations, and nothing else."""
        self.bare_sealed, self.bare_wrapped = [], []
        siv, tag_key = self.siv, self.tag_key
        for pid, payload, *values in zip(self.pids, self.payloads, *self.encoded, strict=True):
            dek, nonce, other = os.urandom(32), os.urandom(12), os.urandom(12)
            self.bare_sealed.append((dek, nonce, AESGCM(dek).encrypt(nonce, payload, pid)))
            self.bare_wrapped.append((pid, other, siv.encrypt(other, dek, pid)))
            for value in values:
                int.from_bytes(hmac.digest(tag_key, value, "sha256")[:4], "big")

    def open(self) -> None:
        """Each row under its person's key, which is open already."""
        seal.open_rows(self.deks, "identity", self.pids, self.row_ids, self.versions, self.sealed)

    def bare_open(self) -> None:
        """The same operation."""
        for (dek, nonce, sealed), pid in zip(self.bare_sealed, self.pids, strict=True):
            AESGCM(dek).decrypt(nonce, sealed, pid)

    def rewrap(self) -> None:
        """Each key, from one KEK to the next."""
        self.next_kek.wrap_all(self.kek.unwrap_all(self.wrapped, self.pids), self.pids)

    def bare_rewrap(self) -> None:
        """The same operations."""
        siv = self.siv
        for pid, nonce, wrapped in self.bare_wrapped:
            dek = siv.decrypt(nonce, wrapped, pid)
            siv.encrypt(os.urandom(12), dek, pid)


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def crypto(count: int, runs: int) -> Iterator[str]:
    """The rows of the table of sealing."""
    work = Work(count)
    pairs = {
        "seal: key, row, three tags": (work.seal, work.bare_seal),
        "open a row": (work.open, work.bare_open),
        "rewrap a key": (work.rewrap, work.bare_rewrap),
    }
    for ours, bare in pairs.values():
        bare(), ours()
    for name, (ours, bare) in pairs.items():
        spent = [(timed(ours), timed(bare)) for _ in range(runs)]
        mine, theirs = (count / statistics.median(times) for times in zip(*spent, strict=True))
        ratio = statistics.median(other / own for own, other in spent)
        yield f"| {name} | {mine / 1e3:.0f} | {theirs / 1e3:.0f} | {ratio:.2f} |"


class Taken:
    """Batches taken into a store, and a bare loop that seals as many people, taking turns."""

    def __init__(self, count: int) -> None:
        self._work = Work(count)
        self._count = count
        self._rates: list[tuple[float, float, float]] = []

    def batch(self, take: Callable[[], Result]) -> Result:
        """Measure one batch; what taking it in gives."""
        begin, used = time.perf_counter(), time.process_time()
        result = take()
        wall, own = time.perf_counter() - begin, time.process_time() - used
        used = time.process_time()
        self._work.bare_seal()
        bare = time.process_time() - used
        self._rates.append((self._count / wall / 1e3, self._count / own / 1e3, bare / own))
        return result

    def row(self, store: str, what: str) -> str:
        """The row of the table; the next batches are of something else."""
        wall, own, ratio = (statistics.median(each) for each in zip(*self._rates, strict=True))
        self._rates = []
        return f"| {store} | {what} | {wall:.1f} | {own:.1f} | {ratio:.2f} |"


def delivery(start: int, count: int, known: pl.Series | None = None) -> Delivery:
    """Records of new people, in families of three and four by turns; with `known`, half join these."""
    units = pl.Series(random_ids(count), dtype=pl.Binary)
    family = [number // 7 * 2 + (number % 7 > 2) for number in range(count)]
    families = pl.Series(random_ids(family[-1] + 1), dtype=pl.Binary).gather(family)
    if known is None:
        ends = units.gather_every(20), units.gather_every(20, 1)
    else:
        ends = units.gather_every(2), known.gather_every(2)
    size = min(map(len, ends))
    links = pl.DataFrame({"left": ends[0].head(size), "right": ends[1].head(size)})
    return Delivery(
        "council",
        people(start, count).with_columns(unit=units, protected=pl.lit(False)),
        links.with_columns(weight=pl.lit(12.0)),
        pl.DataFrame({"unit": units, "family": families}),
        pl.DataFrame(),
    )


def stored(url: str, count: int, batches: int) -> Iterator[str]:
    """The rows of the table of one store, which is empty: all that the identity role does with a delivery."""
    stamp = Stamp(datetime.datetime.now(datetime.UTC), "benchmark", "benchmark", "run")
    with open_store(url, "identity") as store:
        openings = Openings(store, lambda _: None, {"linkage": 10**12})
        index = BlindIndex(Root(), 1, bits_for(1_000_000))
        first, second = Kek("0" * 16, os.urandom(32)), Kek("1" * 16, os.urandom(32))
        vault = Vault(store, keks=KekRing(first), index=index, openings=openings)
        register, name, taken = People(vault), store.backend, Taken(count)
        register.deliver(delivery(0, 10), stamp)  # the first is the one that loads SciPy
        given = [delivery(number * count, count) for number in range(batches)]
        for each in given:
            outcome = taken.batch(partial(register.deliver, each, stamp))
        yield taken.row(name, f"intake: deliveries of new persons, durable ({batches * count / 1e3:.0f} k)")
        pids = outcome.members["pid"].unique().to_list()
        opened = [len(pids) / timed(lambda: vault.open(pids, MANDATE)) for _ in range(3)]
        found = timed(lambda: vault.find(people(0, 1000), MANDATE, fields=["nhs"]))
        for number, before in enumerate(given, start=batches):
            joining = delivery(number * count, count, before.records["unit"])
            taken.batch(partial(register.deliver, joining, stamp))
        yield taken.row(name, "intake: deliveries of which half join known persons, durable")
        yield f"| {name} | open, checked and audited | {statistics.median(opened) / 1e3:.1f} | | |"
        yield f"| {name} | find by NHS number | {1 / found:.1f} | | |"
        later = Vault(store, keks=KekRing(second, (first,)), index=index, openings=openings)
        total = sum(later.wrapped_under().values())

        def rewrap() -> None:
            while later.rewrap(20_000):
                pass

        rewrapped = total / timed(rewrap)
        assert later.wrapped_under() == {second.kid: total}
        yield f"| {name} | rewrap, durable | {rewrapped / 1e3:.1f} | | |"


@contextmanager
def scratch(url: str) -> Iterator[str]:
    """A database of its own on a PostgreSQL server, dropped afterwards."""
    name = f"kinlink_bench_{secrets.token_hex(4)}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
        try:
            yield sa.make_url(url).set(database=name).render_as_string(hide_password=False)
        finally:
            with engine.connect() as connection:
                connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        engine.dispose()


def report(arguments: argparse.Namespace) -> Iterator[str]:
    """The whole report, line by line."""
    yield "# The vault\n"
    yield f"{datetime.date.today()}. " + " ".join(machine()) + "\n"
    yield (
        f"`python benchmarks/vault.py --people {arguments.people} --runs {arguments.runs} "
        f"--batches {arguments.batches}`, held on one core; load average when it began: "
        f"{os.getloadavg()[0]:.1f}.\n"
    )
    yield "| on one core, in memory | thousand a second | bare loop of cryptography | ratio |"
    yield "| --- | --: | --: | --: |"
    yield from crypto(arguments.people, arguments.runs)
    yield ""
    yield "| store | what | thousand a second | a second of this processor | ratio |"
    yield "| --- | --- | --: | --: | --: |"
    with tempfile.TemporaryDirectory() as folder:
        yield from stored(f"sqlite:///{folder}/vault.db", arguments.people, arguments.batches)
    if arguments.postgres:
        with scratch(arguments.postgres) as url:
            yield from stored(url, arguments.people, arguments.batches)


def main() -> None:
    """Print the report, and write it if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--people", type=int, default=AT_ONCE, help="in a batch")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--postgres", metavar="URL", help="a role that may create databases")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    lines = []
    for line in report(arguments):
        print(line, flush=True)
        lines.append(line)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
