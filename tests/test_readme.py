"""What the README shows is run, and what it names is there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from typer.main import get_command

from linker.cli import app

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, flags=re.DOTALL | re.MULTILINE)


def commands(program):
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith(program)]


def test_the_library_example_runs_and_is_short():
    [example] = blocks("python")
    assert len(example.splitlines()) < 10
    ended = subprocess.run(
        [sys.executable, "-c", example],
        capture_output=True,
        text=True,
        timeout=250,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout.split()[-1]) >= 0.999


@pytest.mark.parametrize("line", commands(".venv/bin/kinlink"))
def test_the_commands_and_their_options_exist(line):
    words = shlex.split(line)[1:]
    command = get_command(app)
    while words and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
    required = {
        parameter.opts[0] for parameter in command.params
        if parameter.required and parameter.param_type_name == "option"
    }  # fmt: skip
    assert required <= set(words)


SETTINGS = {"--service", "--ca", "--cert", "--project", "--purpose"}
"""What docs/governance.md leaves out, with the --key of a service."""


@pytest.mark.parametrize("line", re.findall(r"`kinlink ([^`]+)`", (ROOT / "docs/governance.md").read_text()))
def test_the_commands_of_the_governance_page_have_what_they_require(line):
    words = line.split()
    command = get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    with_value = {
        name for one in command.params for name in one.opts if not getattr(one, "is_flag", False)
    }  # fmt: skip
    options = {word for word in words if word.startswith("--")}
    assert options <= {name for one in command.params for name in one.opts}
    values = [
        word for before, word in pairwise(["", *words]) if word[:2] != "--" and before not in with_value
    ]
    required = [one for one in command.params if one.required]
    assert len(values) >= sum(one.param_type_name == "argument" for one in required)
    left_out = SETTINGS | ({"--key"} if any("--cert" in one.opts for one in required) else set())
    assert {one.opts[0] for one in required if one.param_type_name == "option"} - left_out <= options


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_a_page_that_names_the_command_alone_says_first_where_it_is(page):
    text = page.read_text()
    if found := re.search(r"(?m)(?:^|`|\$ |; )kinlink (?=[a-z])", text.replace("`kinlink` is ", "")):
        assert "`kinlink` is `.venv/bin/kinlink`" in text.partition("\n## ")[0], found


def test_the_make_targets_exist():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    named = {line.split()[1] for line in commands("make")} | set(re.findall(r"`make (\w+)`", TEXT))
    assert {"demo", "test", "serve"} <= named
    assert named <= set(targets)


def test_the_links_lead_somewhere():
    found = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)|src=\"([^\"]+)\"", TEXT)
    assert found
    missing = [path for pair in found for path in pair if path and not (ROOT / path).exists()]
    assert missing == []
