"""The whole study over three roles: what each of its stages takes, in time and in memory.

    python benchmarks/study.py --families 100000 --folder DIR --out benchmarks/results/study.md

A county and its registers are made up, the three roles run as processes of their own, as in `make demo`, and
everything goes its way through them: councils' files, persons, eight registers, one analysis file. The steps
are those of `deploy/study.py`. A line is written once its stage is over, so that a run that is cut off says
how far it came. CPU seconds are of all threads; memory is the most that a process held during the stage, as
Linux counts it, and what the roles do meanwhile of the stage before is in it.

When all is measured and the roles have stopped, the links are held against the truth: of each register how
many persons are linked rightly and wrongly, how many links go to people whom no council delivered, and how
many persons who are in it are missed.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import NamedTuple

import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.county.councils import COUNCILS
from benchmarks.county.county import County
from benchmarks.county.presets import PRESETS, REGISTERS
from benchmarks.county.score import Truth, share
from benchmarks.county.write import delivery_days, write_county
from benchmarks.linkage import row
from benchmarks.measure import machine
from deploy import apart, study, truth
from deploy.roles import ANY_PORTS, Processes
from deploy.service import Service
from linker.resources import Job
from pseudonym.hpke import OpeningKey
from pseudonym.release.report import Report
from pseudonym.roles.callers import SERVER_ROLES, Role

TICKS = os.sysconf("SC_CLK_TCK")
CLIENT = "sender"
WHO = (CLIENT, *SERVER_ROLES)
ELSEWHERE = 12.0  # for each family: at a hundred thousand, each register has one to three million records
ANALYSIS = Path(study.__file__).parent / "analysis.toml"


class Used(NamedTuple):
    """What a process has used: CPU seconds so far, and the most memory (MiB) since it was last reset."""

    cpu: float
    peak: float


def used(pid: int) -> Used:
    """What /proc says of a process, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    most = next(line for line in lines if line.startswith("VmHWM"))
    return Used((int(fields[11]) + int(fields[12])) / TICKS, int(most.split()[1]) / 1024)


def reset_peak(pid: int) -> None:
    """Begin to count the most memory of a process anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


class Stages:
    """Stages in their order, each a line as soon as it is over."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Begin; `say` takes the lines."""
        self._say = say
        self.pids = {CLIENT: os.getpid()}
        self.seconds = 0.0
        self.cpu = dict.fromkeys(WHO, 0.0)
        self.peak = dict.fromkeys(WHO, 0.0)
        heads = (f"{what} {who}" for what in ("CPU s", "MiB") for who in WHO)
        say(row("stage", "rows", "s", *heads))
        say("| --- |" + " --: |" * (2 + 2 * len(WHO)))

    @contextmanager
    def stage(self, name: str) -> Iterator[list[int]]:
        """Measure what happens inside, which puts its rows into the list."""
        before = {who: used(pid) for who, pid in self.pids.items()}
        for pid in self.pids.values():
            reset_peak(pid)
        rows: list[int] = []
        began = time.perf_counter()
        yield rows
        seconds = time.perf_counter() - began
        now = {who: used(pid) for who, pid in self.pids.items()}
        spent = {who: one.cpu - before.get(who, Used(0.0, 0.0)).cpu for who, one in now.items()}
        self.seconds += seconds
        for who, one in now.items():
            self.cpu[who] += spent[who]
            self.peak[who] = max(self.peak[who], one.peak)
        self._line(
            name, f"{sum(rows):,}" if rows else "", seconds, spent, {w: u.peak for w, u in now.items()}
        )

    def total(self) -> None:
        """A last line: everything together, and the most of each process."""
        self._line("in all", "", self.seconds, self.cpu, self.peak)

    def _line(
        self, name: str, rows: str, seconds: float, cpu: Mapping[str, float], peak: Mapping[str, float]
    ) -> None:
        cells = [f"{cpu[who]:.1f}" if who in cpu else "" for who in WHO]
        cells += [f"{peak[who]:,.0f}" if who in peak else "" for who in WHO]
        self._say(row(name, rows, f"{seconds:.1f}", *cells))


def nothing(what: str, done: int, total: int) -> None:
    """Nobody watches."""


def run(stages: Stages, folder: Path, county: County) -> Iterator[str]:
    """All stages, in a folder that is new; then what is said of all together."""
    keys = {name: Ed25519PrivateKey.generate() for name in study.APPROVERS}
    key = secrets.token_bytes(32)
    made_up, roles = folder / "county", folder / "roles"
    with stages.stage("files are made up") as rows:
        counts = write_county(county, made_up)
        rows += [count for name, count in counts.items() if not name.startswith("truth/")]
    roles.mkdir(mode=0o700)
    processes = Processes(roles, ANY_PORTS, logs=True, governance=study.governance(keys))
    try:
        with stages.stage("roles start, the project begins"):
            service = Service(processes.start(), processes.certificates, study.PROJECT, study.PURPOSE)
            stages.pids |= {role.value: pid for role, pid in processes.pids().items()}
            study.begin(service)
        sent = deliveries(stages, service, made_up, key)
        linked = {name: link(stages, service, made_up, name, key) for name in REGISTERS}
        with stages.stage("attributes find their persons: the rest") as rows:
            rows.append(apart.settled(roles))
        release(stages, service, keys)
        stages.total()
        links = {
            name: study.links_of(service, one.job)["left_id", "right_id"] for name, one in linked.items()
        }
    finally:
        processes.stop()
    yield "\n" + row("register", "persons who can be in it", "linked", "to look at", "rows", "rows of nobody")
    yield "| --- |" + " --: |" * 5
    for name, one in linked.items():
        told = one.told
        of_age = told["persons"] - told.get("persons_not_applicable", 0)
        open_ = told.get("persons_review", 0) + told.get("persons_ambiguous", 0)
        numbers = (of_age, told.get("persons_linked", 0), open_, one.rows, told["rows_of_nobody"])
        yield row(name, *(f"{count:,}" for count in numbers))
    yield from judged(folder, sent, links, key)
    for role in SERVER_ROLES:
        sizes = (path.stat().st_size for path in apart.folder_of(roles, role).rglob("*") if path.is_file())
        yield f"\nIn the folder of the {role} role at the end: {sum(sizes) / (1 << 20):,.0f} MiB."


def judged(
    folder: Path, sent: Mapping[str, pl.DataFrame], links: Mapping[str, pl.DataFrame], key: bytes
) -> Iterator[str]:
    """The links of each register against the truth, of which no more than one register's is in memory.

    Args:
        folder: of `run`.
        sent: of each council's file that was sent `row_ref` and `record_id`.
        links: of each register.
        key: of the made-up councils and holders.
    """
    made_up = folder / "county"
    identity = apart.folder_of(folder / "roles", Role.IDENTITY) / Role.IDENTITY
    delivered = Truth.read(made_up / "truth", [*sent])
    known = truth.known_to(delivered, truth.unit_key(identity), study.PROJECT, sent)
    yield "\nPersons: linked rightly or wrongly, and missed though they are in the register. Links: to people"
    yield "whom no council delivered (nobody's), to twins, brothers and sisters (kin). Intervals: Wilson's.\n"
    heads = ("linked", "right", "wrong", "to nobody's", "to kin", "missed", "precision", "recall")
    yield row("register", *heads)
    yield "| --- |" + " --: |" * len(heads)
    for name, found in links.items():
        register = Truth.read(made_up / "truth", [*sent, f"registers/{name}"])
        records = pl.read_parquet(made_up / "registers" / f"{name}.parquet", columns=["record_id"])
        score = truth.judged(register, known, name, study.whose(records, name, key), found)
        (right, made), (hits, there) = (truth.share(score, of) for of in ("precision", "recall"))
        wrong = (truth.false_links(score, others) for others in (("nobody's",), ("twin", "sibling")))
        numbers = (made, right, made - right, *wrong, there - hits)
        yield row(name, *(f"{count:,}" for count in numbers), share(right, made), share(hits, there))


def deliveries(stages: Stages, service: Service, county: Path, key: bytes) -> dict[str, pl.DataFrame]:
    """Councils' files, checked, divided and sent; then one delivery after the other joined.

    Returns:
        Of each file `row_ref` and `record_id`, which its sender alone has.
    """
    references: dict[str, pl.DataFrame] = {}
    for day in delivery_days():
        sent = []
        with stages.stage(f"councils' files of {day[:4]}: checked, divided, sent") as rows:
            for council in COUNCILS:
                found = study.look_through(county, council, day)
                sent.append(study.deliver(service, found, key, nothing))
                rows.append(sent[-1].rows)
                references[f"councils/{council}/{day}"] = sent[-1].references
        with stages.stage(f"persons of {day[:4]}") as rows:
            for one in sent:
                counts = study.join(service, one, nothing)
                rows.append(counts["new"] + counts["joined"] + counts["together"])
    return references


class Linked(NamedTuple):
    """A register that is linked: the rows of its extract, the job, and the counts of its report."""

    rows: int
    job: Job
    told: dict[str, int]


def link(stages: Stages, service: Service, county: Path, register: str, key: bytes) -> Linked:
    """One register's extract, from its holder to its links."""
    with stages.stage(f"{register}: divided by its holder") as rows:
        halves = study.extract(county, register, key)[0]
        rows += [halves.identifiers.height]
    identifiers = halves.identifiers.height
    with stages.stage(f"{register}: both halves sent") as rows:
        submission, attributes = study.send_extract(service, register, halves, f"{register}-1", nothing)
        rows += [identifiers, attributes]
    del halves
    with stages.stage(f"{register}: linked") as rows:
        job, figures = study.link(service, submission, register, delivery_days()[-1], nothing)
        rows.append(identifiers)
    return Linked(identifiers, job, figures["linked"])


def release(stages: Stages, service: Service, approvers: Mapping[str, Ed25519PrivateKey]) -> None:
    """The analysis file: built, checked, approved, read and opened."""
    opening, _ = OpeningKey.generate()
    signing = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    text = ANALYSIS.read_text().format(sealing=opening.public.hex(), signing=signing.hex())
    with stages.stage("the analysis file is built, checked, approved") as rows:
        made, fetched = study.release(service, text, approvers)
        rows.append(Report.from_file(made.report).persons)
    with stages.stage("and opened at its recipient") as rows:
        content = fetched(opening)
        tables = (data for name, data in content.files.items() if name.endswith(".parquet"))
        rows += [pl.read_parquet(data).height for data in tables]


def main(arguments: Sequence[str]) -> None:
    """Read the command line, run, and write as it goes."""
    parser = argparse.ArgumentParser(description="The whole study: time and memory of each stage.")
    parser.add_argument("--families", type=int, default=1000)
    parser.add_argument(
        "--elsewhere", type=float, default=ELSEWHERE, help="other households, in registers alone"
    )
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--folder", type=Path, help="where everything is made; it is removed at the end")
    parser.add_argument("--out", type=Path, help="write what is printed here as well, line by line")
    asked = parser.parse_args(arguments)
    for name in (signal.SIGINT, signal.SIGTERM):  # the roles end too, also where a shell ignores Ctrl-C
        signal.signal(name, signal.default_int_handler)
    out = asked.out.open("w", encoding="utf-8") if asked.out else None

    def say(line: str) -> None:
        print(line, flush=True)
        if out:
            out.write(line + "\n")
            out.flush()

    folder = asked.folder or Path(tempfile.mkdtemp(prefix="kinlink-study-"))
    try:
        say(f"# The whole study\n\n{date.today()}. {' '.join(machine())}\n")
        county = County(asked.families, asked.seed, PRESETS["realistic"], elsewhere=asked.elsewhere)
        for line in run(Stages(say), folder, county):
            say(line)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if out:
            out.close()


if __name__ == "__main__":
    main(sys.argv[1:])
