"""A month on nothing of an exchange is left at its holder, in no byte of any file, killed or not."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from typer.testing import CliRunner

from linker.cli import app
from pseudonym import certificates, clock, hpke
from pseudonym.errors import KeysetError
from pseudonym.exchange_file import IDENTIFIERS, NUMBERS, ExchangeFile, context
from pseudonym.hpke import OpeningKey
from pseudonym.retention.holder import NOTES, Premises
from pseudonym.roles.arrow import written

ROOT = Path(__file__).resolve().parents[3]
SURNAMES = ("Quillfeather", "Marlowe-Hyde", "Tennantson")
URNS = ("P17CR8F91YH19R2CVDVQZTSR", "P2KAYYC368TESPMV3V55PPN0", "P15BB76XDR5XNCZ3ETXC4CS5")


@pytest.fixture(autouse=True)
def the_clock():
    yield
    clock.set_ahead(0)


@pytest.fixture
def opened(tmp_path):
    """A holder's folder with a key, the sealed file, and who is to be matched."""
    folder = tmp_path / "premises"
    folder.mkdir()
    kinlink("register", "key", folder / "key")
    opening = OpeningKey(bytes.fromhex((folder / "key").read_text().strip()))
    ends = clock.today() + timedelta(days=31)
    handles = [bytes([one]) * 16 for one in range(3)]
    where = ("tf-2026", "pnc-exchange", ends.isoformat(), 1, True)
    halves = (
        (IDENTIFIERS, pl.DataFrame({"handle": handles, "surname": SURNAMES})),
        (NUMBERS, pl.DataFrame({"handle": handles, "urn": URNS})),
    )
    one, other = (hpke.seal(opening.public, written(frame), *context(half, *where)) for half, frame in halves)
    file = ExchangeFile("tf-2026", "pnc-exchange", "pnc", ends, 3, [(one, other)])
    (folder / "pnc.sealed").write_bytes(file.to_bytes())
    told = kinlink(
        "register", "open", folder / "pnc.sealed", "--exchange-key", folder / "key",
        "--out", folder / "pnc.csv",
    )  # fmt: skip
    assert f"kept until {ends.isoformat()}" in told.stdout
    assert found(folder, SURNAMES)
    return folder


def kinlink(*words, code=0):
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == code, done.output
    return done


def found(folder, words):
    """The files under a folder that hold one of these words."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in paths if any(word.encode() in path.read_bytes() for word in words)]


def check_gone(folder):
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    [certificate] = [name for name in left if name.endswith(".json") and name.startswith("certificates/")]
    assert left == sorted([certificate, "certificates/public-key", "kinlink-holder.key", NOTES])
    assert found(folder, (*SURNAMES, *URNS)) == []
    public = bytes.fromhex((folder / "certificates" / "public-key").read_text())
    data = (folder / certificate).read_bytes()
    told = certificates.verify(data, Ed25519PublicKey.from_public_bytes(public))
    said = kinlink("retention", "verify", folder / certificate, "--key", folder / "certificates/public-key")
    assert "is as it was signed by the key" in said.stdout
    assert (told.role, told.project, dict(told.counts)) == ("holder", "tf-2026", {"file": 3})
    # Nor does it say how many people were in it, or what they were known by.
    assert not re.search(rb"person|surname|[0-9a-f]{40}", data.split(b'"signature"')[0])
    assert Premises(folder).kept() == []


def test_r45_r46_a_month_on_no_file_and_no_trace_of_membership_is_left(opened):
    kinlink("retention", "sweep", opened)
    assert len(found(opened, SURNAMES)) == 1  # the month is not over
    kinlink("retention", "sweep", opened, "--days-ahead", 31)
    assert found(opened, SURNAMES)  # its last day counts
    told = kinlink("retention", "sweep", opened, "--days-ahead", 32)
    assert told.stdout.startswith("Nothing of an exchange is kept in ")
    check_gone(opened)


def test_r45_the_next_command_of_the_holder_destroys_what_is_due(opened):
    clock.set_ahead(32)
    (opened / "later.csv").write_text("urn,score\n")
    refused = kinlink(
        "register", "open", opened / "pnc.sealed", "--exchange-key", opened / "key",
        "--out", opened / "again.csv", code=1,
    )  # fmt: skip
    assert "Destroyed: Everything of the exchange pnc-exchange" in refused.stderr
    (opened / "later.csv").unlink()
    check_gone(opened)


def test_r46_what_was_sent_goes_with_the_exchange_and_never_later(opened):
    answer = opened / "answer.csv"
    answer.write_text(f"urn,score\n{URNS[0]},40\n")
    first = Premises(opened).kept()[0].until
    clock.set_ahead(10)
    until = Premises(opened).keep("tf-2026", "pnc-exchange", [answer])
    assert until == first  # the time does not begin anew
    clock.set_ahead(32)
    [certificate] = Premises(opened).sweep()
    assert not answer.exists()
    assert b'"file": 4' in certificate


CODE = """
import sys
from pseudonym import clock, files
from pseudonym.retention.holder import Premises
clock.set_ahead(32)
steps, stop = 0, int(sys.argv[2])
import os, signal
real = {name: getattr(os, name) for name in ("pwrite", "unlink", "replace", "fsync")}
def counted(name):
    def call(*given, **named):
        global steps
        steps += 1
        if steps == stop:
            os.kill(os.getpid(), signal.SIGKILL)
        return real[name](*given, **named)
    return call
for name in real:
    setattr(os, name, counted(name))
from pathlib import Path
Premises(Path(sys.argv[1])).sweep()
print(steps)
"""


def sweep_killed_at(folder, step):
    command = [sys.executable, "-c", CODE, str(folder), str(step)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
def test_r45_killed_at_any_step_it_is_finished_by_the_next(opened, tmp_path):
    steps, at = None, 1
    while steps is None or at <= steps:
        folder = tmp_path / f"copy-{at}"
        shutil.copytree(opened, folder)
        notes = (folder / NOTES).read_text().replace(str(opened), str(folder))
        (folder / NOTES).write_text(notes)
        if steps is None:
            whole = tmp_path / "whole"
            shutil.copytree(folder, whole)
            (whole / NOTES).write_text(notes.replace(str(folder), str(whole)))
            steps = int(sweep_killed_at(whole, 0).stdout)
            assert steps > 15
        killed = sweep_killed_at(folder, at)
        assert killed.returncode == -9, killed.stderr
        clock.set_ahead(32)
        Premises(folder).sweep()
        check_gone(folder)
        shutil.rmtree(folder)
        at += 3


def test_a_file_that_cannot_be_destroyed_keeps_its_note(opened):
    clock.set_ahead(32)
    (opened / "pnc.csv").unlink()
    (opened / "pnc.csv").mkdir()
    with pytest.raises(KeysetError):
        Premises(opened).sweep()
    assert not (opened / "key").exists()  # the key goes first
    assert len(Premises(opened).kept()) == 1
    (opened / "pnc.csv").rmdir()
    assert len(Premises(opened).sweep()) == 1
    check_gone(opened)
