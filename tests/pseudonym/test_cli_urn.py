"""`kinlink urn`, as a command of its own in processes of its own."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from typer.testing import CliRunner

from pseudonym.approvers import Approver, Register
from pseudonym.cli.urn import urn_app
from pseudonym.requests import Approval, Request, signed
from pseudonym.urn import Kind, UrnKey
from pseudonym.wayback import Gate, check_request, seal_answer
from tests.pseudonym.test_wayback import MemoryLedger

ROOT = Path(__file__).parents[2]
WORDS = UrnKey(bytes(range(32)), "tf-2026", "nis-analysis", 1).issue_all(
    Kind.PERSON, [bytes([i]) * 16 for i in range(4)]
)
run = CliRunner().invoke


def swapped(word, first):
    return word[:first] + word[first + 1] + word[first] + word[first + 2 :]


def test_by_itself_in_a_process():
    found = subprocess.run(
        [sys.executable, "-m", "pseudonym.cli.urn", "check", "-f", "-", "--json"],
        input="\n".join([*WORDS, WORDS[0][:-1]]),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (found.returncode, found.stderr) == (1, "")
    assert json.loads(found.stdout) == {
        "well_formed": 4,
        "refused": [{"row": 5, "reason": "URN_LENGTH", "why": "it has 23 symbols, not 24"}],
    }


def test_check_says_which_symbol_or_why_and_repeats_nothing(tmp_path):
    word = WORDS[0]
    other = "0" if word[6] != "0" else "1"
    wrong = [word[:6] + other + word[7:], swapped(word, 9), "U" + word[1:], "", "0" * 24]
    file = tmp_path / "numbers.txt"
    file.write_text("\n".join([word, *wrong]))
    result = run(urn_app, ["check", "--file", str(file)])
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "1 of 6 well-formed"
    assert lines[1].startswith("2: the check symbols do not fit; if it is one slip, look at symbol 7")
    assert "symbols 10 and 11 exchanged" in lines[2]
    assert (
        lines[3] == "4: character 1 (separators not counted) is none that a reference number has [URN_SYMBOL]"
    )
    assert lines[4] == "5: it has 0 symbols, not 24 [URN_LENGTH]"
    assert lines[5] == "6: it is of no kind or epoch that exists [URN_KIND]"
    assert not any(word[i : i + 6] in result.output for i in range(18))
    assert run(urn_app, ["check", *WORDS]).exit_code == 0


def test_format_shows_groups_or_the_stored_form():
    result = run(urn_app, ["format", WORDS[0].lower()])
    assert result.stdout == "-".join(WORDS[0][i : i + 4] for i in range(0, 24, 4)) + "\n"
    assert run(urn_app, ["format", "--plain", result.stdout.strip()]).stdout == WORDS[0] + "\n"
    refused = run(urn_app, ["format", WORDS[0], WORDS[1][1:]])
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert "1 of 2 lines" in refused.stderr


@pytest.fixture
def desk(tmp_path):
    (tmp_path / "numbers").write_text("\n".join(WORDS))
    for name in ("bea", "carl"):
        secret = tmp_path / f"{name}.pass"
        secret.write_text(f"the passphrase of {name}\n")
        secret.chmod(0o600)
    return tmp_path


def request(desk, **more):
    options = {
        "file": desk / "numbers",
        "project": "tf-2026",
        "recipient": "nis-analysis",
        "purpose": "benefit-correction",
        "reason": "An overpayment has to be told.",
        "requester": "asker",
        "answer-key": desk / "answer.key",
        "out": desk / "request",
    } | more
    return run(urn_app, ["request", *(f"--{name}={value}" for name, value in options.items())])


def approver_key(desk, name):
    made = run(urn_app, ["approver-key", str(desk / name), "--secret", f"file:{desk / name}.pass"])
    assert made.exit_code == 0, made.output
    return bytes.fromhex(made.stdout.strip())


def approval(desk, name, *more):
    options = ["--approver", name, "--approver-key", str(desk / name), "--out", str(desk / f"{name}.yes")]
    return run(
        urn_app,
        ["approve", str(desk / "request"), *options, "--secret", f"file:{desk / name}.pass", *more],
    )


def test_from_the_request_to_the_answer(desk):
    assert request(desk).exit_code == 0
    publics = {name: approver_key(desk, name) for name in ("bea", "carl")}
    for name in publics:
        done = approval(desk, name, "--yes")
        assert done.exit_code == 0, done.output
        assert "An overpayment has to be told." in done.stderr
    asked = Request.from_file((desk / "request").read_bytes())
    approvals = [Approval.from_file((desk / f"{name}.yes").read_bytes()) for name in publics]
    register = Register([Approver(name, name, key) for name, key in publics.items()], {"asker": "asker"})
    now = datetime.now(UTC)
    gate = Gate("broker", register, {"tf-2026": now + timedelta(days=1)}, MemoryLedger(), lambda alarm: None)
    sealed = seal_answer(check_request(gate, asked, approvals, now, words=WORDS), b'[{"place": 1}]\n')
    (desk / "answer").write_bytes(sealed)
    opened = run(
        urn_app,
        ["open", str(desk / "answer"), f"--request={desk / 'request'}", f"--answer-key={desk / 'answer.key'}",
         f"--out={desk / 'people'}"],
    )  # fmt: skip
    assert opened.exit_code == 0, opened.output
    assert (desk / "people").read_bytes() == b'[{"place": 1}]\n'
    for secret in ("answer.key", "bea", "people"):
        assert stat.S_IMODE((desk / secret).stat().st_mode) == 0o600
    for public in ("request", "bea.yes"):
        assert not any(word in (desk / public).read_text() for word in WORDS)


def test_nothing_is_written_over_and_no_half_request_is_left(desk):
    assert request(desk).exit_code == 0
    before = (desk / "answer.key").read_bytes()
    again = request(desk, out=desk / "other")
    assert again.exit_code == 1
    assert "there already" in again.stderr
    assert (desk / "answer.key").read_bytes() == before
    assert not (desk / "other").exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"project": "TF"}, "INPUT_INVALID"),
        ({"reason": " "}, "INPUT_INVALID"),
        ({"requester": "A b"}, "INPUT_INVALID"),
        ({"file": "/nowhere/at/all"}, "INPUT_INVALID"),
    ],
)
def test_a_request_that_is_none_makes_no_file(desk, change, code):
    refused = request(desk, **change)
    assert refused.exit_code == 1
    assert f"[{code}]" in refused.stderr
    assert not (desk / "request").exists()
    assert not (desk / "answer.key").exists()


def test_numbers_twice_or_of_two_epochs_are_no_request(desk):
    for more in (WORDS[0], UrnKey(bytes(32), "p", "r", 2).issue(Kind.PERSON, bytes(16)), "none"):
        (desk / "numbers").write_text("\n".join([*WORDS, more]))
        assert request(desk).exit_code == 1
        assert not (desk / "request").exists()


def test_an_approver_is_asked_and_may_say_no(desk):
    request(desk)
    approver_key(desk, "bea")
    assert approval(desk, "bea").exit_code == 1
    assert not (desk / "bea.yes").exists()


def test_a_wrong_passphrase_or_an_open_key_file_approves_nothing(desk):
    request(desk)
    approver_key(desk, "bea")
    (desk / "bea.pass").write_text("another one")
    wrong = approval(desk, "bea", "--yes")
    assert (wrong.exit_code, "passphrase" in wrong.stderr) == (1, True)
    (desk / "bea").chmod(0o644)
    assert "KEYSET_PERMISSIONS" in approval(desk, "bea", "--yes").stderr
    assert not (desk / "bea.yes").exists()


def test_an_answer_opens_with_its_own_key_only(desk):
    request(desk)
    request(desk, **{"answer-key": desk / "second.key"}, out=desk / "second")
    (desk / "answer").write_bytes(b"\1" + bytes(100))
    for key, code in (("second.key", "INPUT_INVALID"), ("answer.key", "SEALED_INVALID")):
        opened = run(
            urn_app,
            ["open", str(desk / "answer"), f"--request={desk / 'request'}", f"--answer-key={desk / key}",
             f"--out={desk / 'people'}"],
        )  # fmt: skip
        assert opened.exit_code == 1
        assert f"[{code}]" in opened.stderr
        assert not (desk / "people").exists()


def test_a_key_that_was_made_signs(desk):
    public = approver_key(desk, "bea")
    request(desk)
    approval(desk, "bea", "--yes")
    asked = Request.from_file((desk / "request").read_bytes())
    given = Approval.from_file((desk / "bea.yes").read_bytes())
    assert given.request == asked.name()
    key = Ed25519PublicKey.from_public_bytes(public)
    key.verify(given.signature, signed(asked, "bea", given.time))
    with pytest.raises(InvalidSignature):
        key.verify(given.signature, signed(asked, "carl", given.time))
