"""Time and memory of one engine in a process of its own, and what machine it was.

A job is a plain dictionary; the engine's module runs it with `answer` and gives back what it measured:

    linkage.py ──job──▶ python -m benchmarks.with_… ──result──▶ linkage.py
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
THREADS = os.cpu_count() or 1
PACKAGES = ("kinlink", "polars", "numba", "numpy", "splink", "duckdb", "recordlinkage", "pandas")


class Spent(NamedTuple):
    """Seconds on the clock, and of all cores together."""

    wall: float
    cpu: float


@dataclass
class Meter:
    """Stages in the order they ran, and the peak of memory before the first (MiB)."""

    spent: dict[str, Spent] = field(default_factory=dict)
    loaded: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what happens inside; a stage that runs twice adds up."""
        self.loaded = self.loaded or peak_mib()
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self._add(name, time.perf_counter() - wall, time.process_time() - cpu)

    def _add(self, name: str, wall: float, cpu: float) -> None:
        before = self.spent.get(name, Spent(0.0, 0.0))
        self.spent[name] = Spent(before.wall + wall, before.cpu + cpu)


def peak_mib() -> float:
    """The most memory this process ever held, in MiB.

    Linux carries getrusage's figure over from the process that started this one; its own is in /proc.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)


class Result(NamedTuple):
    """What an engine's process measured.

    Attributes:
        spent: by stage.
        peak: MiB, at the end of the last stage.
        loaded: MiB, the peak when the clock started: the program and the records.
    """

    spent: dict[str, Spent]
    peak: float
    loaded: float

    def wall(self, *stages: str) -> float:
        """Seconds of these stages, or of all."""
        return sum(self.spent[name].wall for name in stages or self.spent)

    def cpu(self, *stages: str) -> float:
        """Seconds of all cores of these stages, or of all."""
        return sum(self.spent[name].cpu for name in stages or self.spent)


def run(module: str, job: dict[str, Any]) -> Result:
    """Run a job in a new process.

    Raises:
        SystemExit: it failed; what it wrote to stderr is on the screen.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "job.json", Path(folder) / "result.json"
        asked.write_text(json.dumps(job), encoding="utf-8")
        command = [sys.executable, "-m", f"benchmarks.{module}", str(asked), str(answered)]
        done = subprocess.run(command, cwd=ROOT, check=False)
        if done.returncode != 0:
            raise SystemExit(f"benchmarks.{module} ended with code {done.returncode}.")
        told = json.loads(answered.read_text(encoding="utf-8"))
    spent = {name: Spent(*seconds) for name, seconds in told["spent"].items()}
    return Result(spent, told["peak"], told["loaded"])


def answer(work: Callable[[dict[str, Any], Meter], Callable[[], object]]) -> None:
    """The other end: do the job this process was started for.

    Args:
        work: loads the records, measures its stages with the meter, and returns what is left to do off the
            clock, such as writing results.
    """
    asked, answered = map(Path, sys.argv[1:])
    meter = Meter()
    finish = work(json.loads(asked.read_text(encoding="utf-8")), meter)
    peak = peak_mib()
    finish()
    told = {"spent": meter.spent, "peak": peak, "loaded": meter.loaded}
    answered.write_text(json.dumps(told), encoding="utf-8")


def machine() -> list[str]:
    """Processor, cores, memory and versions, a line each; nothing that says whose machine it is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except ImportError:
            continue
    return [
        f"{THREADS} cores of {_processor()}, {memory:.0f} GiB, {platform.system()}, Python "
        f"{platform.python_version()}.",
        ", ".join(versions) + ".",
    ]


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.exists():
        told = dict(
            line.split(":", 1) for line in described.read_text(encoding="utf-8").splitlines() if ":" in line
        )
        known = {key.strip(): value.strip() for key, value in told.items()}
        return (
            f"{known.get('model name', platform.machine())} (family {known.get('cpu family', '?')}, "
            f"model {known.get('model', '?')})"
        )
    return platform.processor() or platform.machine()
