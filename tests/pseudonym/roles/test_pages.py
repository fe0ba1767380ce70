"""What the pages tell a newcomer to paste is pasted, to the three roles as `make roles` starts them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from tests.pseudonym.roles.harness import council_file

ROOT = Path(__file__).resolve().parents[3]
PORTS = {"identity": 7070, "broker": 7071, "attributes": 7072}  # as the pages have them
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"}

pytestmark = pytest.mark.slow


class Desk:
    """A newcomer's folder: `var/`, `.venv/bin/kinlink`, and three roles at ports that are free."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kinlink = folder / ".venv" / "bin" / "kinlink"
        kinlink.parent.mkdir(parents=True)
        run = f"exec {shlex.quote(sys.executable)} -c 'from linker.cli import main; main()' \"$@\""
        kinlink.write_text(f"#!/bin/sh\n{run}\n")
        kinlink.chmod(0o755)
        self._said = folder / "roles.out"
        with self._said.open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, ROOT / "deploy" / "roles.py", "--folder", folder / "var", "--any-ports"],
                stdout=said,
                stderr=subprocess.STDOUT,
                env=ENVIRONMENT,
            )

    @property
    def said(self) -> list[str]:
        """What the program has printed, the roles' logs with it."""
        return self._said.read_text().splitlines()

    def begin(self) -> None:
        """Wait until the roles listen, and their logs' keys are named."""
        until = time.monotonic() + 120
        while (
            len(told := [line for line in self.said if "Ctrl-C stops all" in line or "public key" in line])
            < 4
        ):
            assert self.process.poll() is None, self.said
            assert time.monotonic() < until, self.said
            time.sleep(0.05)
        self.ports = dict(re.findall(r"(\w+) on localhost:(\d+)", told[0]))

    def paste(self, text: str) -> subprocess.CompletedProcess[str]:
        """Commands in one shell that ends at the first one that fails."""
        for role, port in PORTS.items():
            text = text.replace(f"localhost:{port}", f"localhost:{self.ports[role]}")
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=ENVIRONMENT,
            timeout=300,
        )


def commands(page: str, heading: str) -> list[str]:
    """The blocks of commands under a heading of a page, up to the next one."""
    text = (ROOT / "docs" / page).read_text()
    [section] = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.DOTALL | re.MULTILINE)
    return re.findall(r"^```sh\n(.*?)^```$", section, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """The roles, for all tests here."""
    desk = Desk(tmp_path_factory.mktemp("newcomer"))
    try:
        desk.begin()
        yield desk
    finally:
        desk.process.send_signal(signal.SIGINT)
        assert desk.process.wait(60) == 0


def test_the_audit_log_is_verified_as_the_page_says(desk):
    where = desk.folder / "var" / "identity-role" / "identity" / "audit" / "public-key"
    assert f"The public key of the identity role's audit log is in {where}." in desk.said
    _, whole, proof = commands("audit.md", "For a data protection officer")
    done = desk.paste(whole)
    assert done.returncode == 0, done.stderr
    assert "is as it was written." in done.stdout
    # Nothing was signed yet; that the command has what it needs is seen from what it says.
    done = desk.paste(proof)
    assert "covered by a later one" in done.stderr or "The proof holds" in done.stdout


def test_persons_are_begun_delivered_and_joined_as_the_page_says(desk):
    rows = council_file([os.urandom(16)] * 4, ["p1", "p2", "p3", "p4"]).drop("row_ref")
    known = {"problems": ["1", "6", "0", "2"], "arrears": ["0.00", "120.50", "7.1", None]}
    offence = {"offence": ["none", "none", "caution", "none"]}
    rows.hstack(pl.DataFrame(known | offence)).write_csv(desk.folder / "council.csv")
    [begin] = commands("persons.md", "Before the first delivery")
    divide, join, wait = commands("persons.md", "A delivery")
    said = desk.paste(begin + divide)
    assert said.returncode == 0, said.stderr
    for line in (
        "Recipient nis-analysis of project tf-2026 is in epoch 1.",
        "the attributes role has 4 rows.",
    ):
        assert line in said.stdout
    halves = [
        pl.read_parquet(desk.folder / f"delivery/{name}.parquet") for name in ("identifiers", "attributes")
    ]
    assert set(halves[0].columns) & set(halves[1].columns) == {"row_ref"}
    setting = begin.partition("as key-custodian")[0]
    # Asked again, what is there stays as it is; a file that is there is not written over.
    assert desk.paste(begin).returncode == 0
    assert "is there already" in desk.paste(setting + divide).stderr
    [sent] = set(re.findall(r"sub-\w+", said.stdout))
    started = desk.paste(setting + join.replace("sub-…", sent))
    assert started.returncode == 0, started.stderr
    assert "Nothing was refused." in started.stdout
    [job] = set(re.findall(r"job-\w+", started.stdout))
    ended = desk.paste(setting + join.partition("\n")[0] + "\n" + wait.replace("job-…", job))
    assert ended.returncode == 0, ended.stderr
    counts = dict(
        re.findall(
            r"^ *(New persons|Rows that joined a known person|Further rows.* persons|Links refused) +(\d+)",
            ended.stdout,
            re.M,
        )
    )
    assert counts == {
        "New persons": "4",
        "Rows that joined a known person": "0",
        "Further rows of new persons": "0",
        "Links refused": "0",
    }
