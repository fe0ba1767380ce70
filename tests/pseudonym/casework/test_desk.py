"""The council's desk at its command line: refused with reasons, logged, deleted for good, killed or not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from linker.cli import app
from pseudonym import clock
from pseudonym.casework import desk as desks
from pseudonym.casework.book import Right
from pseudonym.certificates import verify
from pseudonym.errors import InputError
from pseudonym.retention import schedules

ROOT = Path(__file__).resolve().parents[3]
SUPPORT = "support-record"
REFERRALS = """
[[schedule]]
category = "referral-record"
what = "referrals that came to nothing"
store = "council"
kind = "maximum"
clock = "last-contact"
days = 30
basis = "business-practice"
reason = "Families were told: a month after our last contact."
"""
WORDS = ("family-4711", "Dana Scott", "01223 000000")


@pytest.fixture(autouse=True)
def the_clock():
    yield
    clock.set_ahead(0)


@pytest.fixture
def place(tmp_path):
    officer = X25519PrivateKey.generate().public_key()
    pem = tmp_path / "officer.pem"
    pem.write_bytes(officer.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "watcher").mkdir()
    desk = tmp_path / "desk"
    done(
        "lead", "desk", desk, "--log", "council.example/casework", "--officer-key", pem,
        "--checkpoints", tmp_path / "watcher",
    )  # fmt: skip
    return desk


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)))


def done(*words):
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def at(desk, *words, **options):
    flags = [one for name, value in options.items() for one in (f"--{name.replace('_', '-')}", value)]
    return run(*words, "--desk", desk, "--who", "alice", *flags)


def filled(desk):
    for words, options in (
        (("casework", "contact", "family-4711"), {}),
        (("lead", "professional"), {"professional": "p1", "name": "Dana Scott", "contact": "01223 000000"}),
        (("lead", "professional"), {"professional": "p2", "name": "Ray Mears"}),
        (("lead", "set", "family-4711"), {"professional": "p1"}),
    ):
        assert at(desk, *words, **options).exit_code == 0


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def log(desk):
    shown = run("audit", "show", desk / "audit")
    return shown.output


def test_r11_at_the_desk_a_second_lead_is_refused_and_enquiries_are_logged(place):
    filled(place)
    refused = at(place, "lead", "set", "family-4711", professional="p2")
    assert refused.exit_code == 1
    assert "[LEAD_TAKEN]" in refused.stderr
    told = at(place, "lead", "enquire", "family-4711", by="Sam Poe, Cherry School")
    assert told.stdout == "Dana Scott\n"
    unknown = at(place, "lead", "enquire", "family-1", by="Sam Poe")
    assert unknown.stdout.startswith("Nobody leads")
    assert log(place).count("lead.enquired") == 2
    # Nobody reads names or references in the desk's files, its log included.
    for path, content in files(place).items():
        for word in (*WORDS, "Cherry School"):
            assert word.encode() not in content, path


def test_r49_early_deletion_at_the_desk_is_refused_unless_for_a_right(place, tmp_path):
    filled(place)
    before = tmp_path / "before"
    shutil.copytree(place, before)
    refused = at(place, "casework", "delete", "family-4711", category=SUPPORT)
    assert refused.exit_code == 1
    assert "[RETENTION_MINIMUM]" in refused.stderr
    assert files(place / "certificates") == {}
    told = at(place, "casework", "delete", "family-4711", category=SUPPORT, right="erasure")
    assert "for the right of erasure" in told.stdout
    secret = bytes.fromhex((place / "log.key").read_text())
    [data] = files(place / "certificates").values()
    found = verify(data, Ed25519PrivateKey.from_private_bytes(secret).public_key())
    assert (found.role, dict(found.counts), found.who) == ("council", {SUPPORT: 1}, ("council/alice",))
    assert b"4711" not in data
    # Whoever has the log's key checks it, and what was altered is none.
    [name] = files(place / "certificates")
    path, key = place / "certificates" / name, place / "audit" / "public-key"
    said = done("retention", "verify", path, "--key", key)
    assert f"{Path(name).name} is as it was signed by the key " in said
    assert "for the right of erasure. 1 support-record" in said
    altered = tmp_path / "altered.json"
    altered.write_bytes(data.replace(b"right of erasure", b"right of nobody!"))
    false = run("retention", "verify", path, altered, "--key", key.read_text().strip())
    assert false.exit_code == 1
    assert "[CERTIFICATE_INVALID]" in false.stderr
    # A copy of the book from before opens nothing with the keys of now.
    shutil.copy(before / "book.sealed", place / "book.sealed")
    after = at(place, "casework", "due")
    assert after.exit_code == 1


def test_r12_who_left_is_destroyed_after_their_time_with_the_clock_moved(place):
    filled(place)
    assert at(place, "lead", "left", professional="p1").exit_code == 0
    assert at(place, "casework", "run").stdout == ""
    clock.set_ahead(2 * 366 + 1)
    assert "to be looked at" in at(place, "casework", "due").stdout  # the family's two years are over
    told = at(place, "casework", "run")
    assert "One professional-record, after its time." in told.stdout
    with desks.opened(place, "alice") as desk:
        assert set(desk.book.professionals) == {"p2"}
        assert set(desk.book.families) == {"family-4711"}  # a minimum is looked at, not destroyed


def test_r10_the_register_of_claims_at_the_desk(place):
    noted = at(place, "casework", "claim", "2026-q4", cohort=120, claimed=30, evidence="work=12")
    assert noted.exit_code == 0
    assert at(place, "casework", "claims").stdout.split() == [
        "2026-q4", "120", "in", "the", "programme", "30", "claimed", "work", "12",
    ]  # fmt: skip


CODE = """
import os, signal, sys
from pathlib import Path
from pseudonym.casework import desk as desks
from pseudonym.casework.book import Right
stop, steps = int(sys.argv[2]), 0
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
with desks.opened(Path(sys.argv[1]), "alice") as desk:
    desk.delete("family-4711", "support-record", Right.ERASURE, "")
print(steps)
"""


@pytest.mark.slow
def test_r49_killed_at_any_step_of_a_deletion_the_book_is_whole(place, tmp_path):
    filled(place)
    checkpoints = tmp_path / "watcher"

    def deleted(number):
        """A copy of the desk, at the same place, in which a deletion is killed at a step."""
        saved = tmp_path / "saved"
        if not saved.exists():
            shutil.copytree(place, saved / "desk")
            shutil.copytree(checkpoints, saved / "watcher")
        for name, target in (("desk", place), ("watcher", checkpoints)):
            shutil.rmtree(target)
            shutil.copytree(saved / name, target)
        command = [sys.executable, "-c", CODE, str(place), str(number)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    whole = deleted(0)
    assert whole.returncode == 0, whole.stderr
    steps, seen = int(whole.stdout), set()
    assert steps > 10
    for at_step in range(1, steps + 1, 2):
        assert deleted(at_step).returncode == -9
        with desks.opened(place, "alice") as desk:
            there = "family-4711" in desk.book.families
            seen.add(there)
            if there:  # before the change: asked again, it is done
                desk.delete("family-4711", SUPPORT, Right.ERASURE, "")
        with desks.opened(place, "alice") as desk:
            assert desk.book.families == {}
        assert len(list((place / "keys").iterdir())) == 1
    assert seen == {True, False}


def test_r47_at_the_desk_each_maximum_is_destroyed_as_what_it_is(place, tmp_path):
    kept = Path(schedules.__file__).with_name("notice.toml").read_text()
    own = tmp_path / "schedules.toml"
    own.write_text(f"{kept}\n{REFERRALS}")
    desk = tmp_path / "own"
    (tmp_path / "another").mkdir()
    desks.create(desk, "council.example/own", place / "officer.pem", tmp_path / "another", own)
    with desks.opened(desk, "alice") as opened:
        book = opened.book
        for family in ("f-1", "bob"):
            book = book.contact(family, "referral-record", clock.today())
        opened.change(book.add_professional("bob", "Bob"), "lead.professional", "bob")
        clock.set_ahead(31)
        assert len(opened.sweep()) == 2
        assert opened.sweep() == []
        assert opened.book.families == {}
        assert set(opened.book.professionals) == {"bob"}


def test_a_desk_that_is_none_says_so(tmp_path):
    with pytest.raises(InputError, match="no desk"), desks.opened(tmp_path, "alice"):
        pass
    told = at(tmp_path / "none", "lead", "enquire", "f1", by="Sam")
    assert (told.exit_code, "kinlink lead desk" in told.stderr) == (1, True)
