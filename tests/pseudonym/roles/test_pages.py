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

import pytest

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
