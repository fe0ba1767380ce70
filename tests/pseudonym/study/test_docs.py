"""The officer's page: its commands are run, in order, and print what the page says they print."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import population
from linker.cli import app
from tests.pseudonym.study.conftest import ROOT

PAGE = ROOT / "docs" / "council.md"


def steps() -> list[tuple[str, str]]:
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def run(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    own, bar, rest = command.partition(" | ")
    words = shlex.split(own)
    if words[0] == ".venv/bin/kinlink":
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, result.output
        output = result.stdout
    elif words[0] == ".venv/bin/python":
        monkeypatch.setattr(sys, "argv", words[1:])
        population.main()
        output = capsys.readouterr().out
    else:
        output, rest, bar = "", command, "|"
    if bar:
        output = subprocess.run(
            rest, shell=True, input=output, text=True, capture_output=True, check=True
        ).stdout
    return output


def test_the_page_shows_what_its_commands_print(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shown = steps()
    assert len(shown) > 8
    for command, output in shown:
        printed = run(command, monkeypatch, capsys)
        # The end of a batch's name depends on the council's key, which is another one here.
        assert re.sub("[0-9a-f]{32}", "…", printed) == re.sub("[0-9a-f]{32}", "…", output), command
