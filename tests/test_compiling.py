"""The kernels are compiled once, the wait is told once, and `linker.warm` compiles all that a run needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ONE_KERNEL = """
import numpy as np
from linker.compiling import told_of_compiling
from linker.kernels import common
tokens = np.array([1, 2, 2, 3], np.int32)
for _ in range(2):
    with told_of_compiling(print):
        assert common(tokens, 0, 2, 2, 4) == 1
"""

# What is compiled here although `linker.warm` has run is printed. Every way into the engine belongs here.
EVERYTHING = """
import polars as pl
from numba.core import event
import linker
from linker.blocking import examine
from linker.classifiers import febrl
from linker.linkage import comparison_vectors
from linker.views import text_view
from tests.made_up_people import register, retyped

class Told(event.Listener):
    def on_start(self, event):
        function = event.data["dispatcher"].py_func
        if function.__module__.startswith("linker."):
            print(function.__module__, function.__name__, event.data["args"])
    def on_end(self, event): pass

event.register("numba:compile", Told())
people = register(300)
others = retyped(people)
found = linker.link(people, others)
linker.link(people, others, model=found.model, threads=1, all_pairs=-10.0, lead=2.0)
linker.verify(found.manifest, people, others)
linker.link(people, others, keys="ons")
linker.link_by_keys(people, others)
sides = linker.arrive(people), linker.arrive(others)
examine(*sides, model=found.model, suggest=True, links=found.links)
examine(sides[0], suggest=True)
linker.dedupe(people)
linker.dedupe(people, others)
linker.train(people, others, labels=found.links.head(50).select("left_id", "right_id"))
linker.explain(found.model, people, others, *found.links.row(0)[:2])
comparison_vectors(people, others)
linker.pairs(people, others, model=found.model, part_rows=100)
linker.pairs(people, model=found.model)
reference = linker.Reference(sides[0], found.model)
reference.put(["new"], [{"surname": "ALDER"}])
reference.ask([{"surname": "ALDER"}])
reference.match(others)
text_view(pl.concat([pl.Series(["one street of many"]), pl.Series(["a street of another buffer"])]))
linker.link(febrl(4).left.head(200), febrl(4).right.head(200))
"""


def python(code: str, env: dict[str, str], cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False, cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(cwd), "PYTHONDONTWRITEBYTECODE": "1"} | env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wait_is_told_once_and_comes_once(tmp_path):
    first, second = (python(ONE_KERNEL, {"NUMBA_CACHE_DIR": str(tmp_path)}) for _ in range(2))
    assert first.splitlines() == ["Compiling the kernels, once on this machine: up to half a minute."]
    assert second == ""


def test_without_a_place_for_them_kernels_are_compiled_each_time_and_that_is_told(tmp_path):
    shutil.copytree(ROOT / "linker", tmp_path / "linker", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "linker" / "__pycache__").touch()  # a file where the folder would be
    nowhere = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null", "NUMBA_CACHE_DIR": ""}
    for _ in range(2):
        told = python(ONE_KERNEL, nowhere, tmp_path).splitlines()
        assert len(told) == 1
        assert "in every run" in told[0]
    # With a home the user's own cache folder serves.
    home = nowhere | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert "once on this machine" in python(ONE_KERNEL, home, tmp_path)
    assert python(ONE_KERNEL, home, tmp_path) == ""


@pytest.mark.slow
def test_nothing_is_left_to_compile_after_warming(tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    python("from linker.warm import warm; warm()", cache)
    assert python(EVERYTHING, cache) == ""
