"""`kinlink audit`, as its own process and by its app."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from typer.testing import CliRunner, Result

from pseudonym.audit import Signer, proofs
from pseudonym.cli.audit import audit_app
from pseudonym.errors import AuditProofError, AuditTamperedError
from tests.pseudonym.audit import oracle
from tests.pseudonym.audit.conftest import Place


@pytest.fixture
def log(place: Place) -> Place:
    place.filled([3, 5, 1])
    with place.open() as log:
        log.append(place.events(2, details=b"Jane Smith \x1b[31m"))
    return place


def run(*args: object, code: int = 0, **options: Any) -> Result:
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1"})
    result = runner.invoke(audit_app, [str(arg) for arg in args], **options)
    assert result.exit_code == code, result.output
    return result


def where(place: Place) -> list[object]:
    return [place.folder, "--checkpoints", place.kept, "--key", place.key]


def test_as_a_process(log):
    command = [sys.executable, "-m", "pseudonym.cli.audit", "verify", *map(str, where(log))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr
    assert (
        "The log kinlink.example/tf/identity is as it was written.\n11 entries, 11 of them signed"
        in done.stdout
    )
    with log.entries.open("r+b") as file:
        file.seek(-3, 2)
        file.write(b"x")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Error: Entry 10 was changed." in done.stderr
    assert "Traceback" not in done.stderr


def test_verify_as_json_and_with_the_key_in_a_file(log, tmp_path):
    (tmp_path / "key").write_text(f"{log.key}\n")
    told = json.loads(
        run("verify", log.folder, "--checkpoints", log.kept, "--key", tmp_path / "key", "--json").stdout
    )
    assert (told["entries"], told["signed"], told["checkpoints"]) == (11, 11, 5)
    assert told["root"] == oracle.mth(oracle.entries(log.folder)).hex()
    log.entries.write_bytes(log.entries.read_bytes()[:-100])
    told = json.loads(run("verify", *where(log), "--json", code=1).stdout)["error"]
    assert told["reason"] == "AUDIT_TAMPERED"
    assert (told["first"], told["last"]) == (9, 10)


def test_what_is_given_wrongly_is_wrong_usage(log, tmp_path):
    for key in ("nothing", tmp_path, log.key[:-3] + "AAA", "a+b"):
        run("verify", log.folder, "--checkpoints", log.kept, "--key", key, code=2)
    run("verify", tmp_path, "--checkpoints", log.kept, "--key", log.key, code=1)
    run("verify", log.folder, code=2)


def test_show_lists_the_open_fields(log):
    lines = run("show", log.folder).stdout.splitlines()
    assert len(lines) == 11
    moment, rest = "2026-11-18T11:07:40.002000Z", "role/officer/alice identity.open linkage tf-2026 - 4"
    assert " ".join(lines[4].split()) == f"4 {moment} {rest}"
    assert [
        line.split()[0] for line in run("show", log.folder, "--from", 4, "--count", 2).stdout.splitlines()
    ] == [
        "4",
        "5",
    ]
    told = [json.loads(line) for line in run("show", log.folder, "--from", 9, "--json").stdout.splitlines()]
    assert [one["number"] for one in told] == [9, 10]
    assert "Jane" not in run("show", log.folder, "--json").stdout
    assert run("show", log.folder, "--from", 99).stdout == ""


def test_the_officer_opens_the_details(log, tmp_path):
    plain, locked, other, wrong = (tmp_path / name for name in ("plain", "locked", "other", "wrong"))
    encoding = Encoding.PEM, PrivateFormat.PKCS8
    plain.write_bytes(log.officer.private_bytes(*encoding, NoEncryption()))
    locked.write_bytes(log.officer.private_bytes(*encoding, BestAvailableEncryption(b"secret")))
    other.write_bytes(X25519PrivateKey.generate().private_bytes(*encoding, NoEncryption()))
    wrong.write_bytes(Ed25519PrivateKey.generate().private_bytes(*encoding, NoEncryption()))
    shown = run("show", log.folder, "--from", 9, "--officer-key", plain).stdout
    assert shown.count("    Jane Smith ?[31m") == 2  # nothing in the details steers the terminal
    asked = run("show", log.folder, "--from", 9, "--officer-key", locked, "--json", input="secret\n").stdout
    assert json.loads(asked.splitlines()[-1])["details"] == "Jane Smith \x1b[31m"
    run("show", log.folder, "--officer-key", locked, input="wrong\n", code=2)
    run("show", log.folder, "--officer-key", other, code=1)
    run("show", log.folder, "--officer-key", wrong, code=2)
    run("show", log.folder, "--officer-key", tmp_path / "none", code=2)


def test_an_inclusion_is_proved_and_checked_without_the_log(log, tmp_path):
    proof = tmp_path / "a.tlog-proof"
    run("prove-inclusion", log.folder, 4, *where(log)[1:], "--out", proof)
    lines = proof.read_text().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[2] == "index 4"
    leaves = oracle.entries(log.folder)
    assert base64.b64decode(lines[1].removeprefix("extra ")) == leaves[4]
    end = lines.index("")
    assert [base64.b64decode(line) for line in lines[3:end]] == oracle.path(4, leaves)
    assert "\n".join(lines[end + 1 :]) == (log.kept / "checkpoint").read_text()
    said = run("check", proof, "--key", log.key).stdout
    assert "this is entry 4 of the log kinlink.example/tf/identity" in said
    told = json.loads(run("check", proof, "--key", log.key, "--json").stdout)
    assert told["entry"]["number"] == 4
    assert told["checkpoints"][0]["size"] == 11
    earlier = run("prove-inclusion", log.folder, 4, *where(log)[1:], "--size", 8).stdout
    assert earlier.endswith((log.kept / "history" / f"{8:016d}").read_text())
    run("prove-inclusion", log.folder, 11, *where(log)[1:], code=1)
    run("prove-inclusion", log.folder, 4, *where(log)[1:], "--size", 7, code=1)


def test_a_consistency_is_proved_and_checked_without_the_log(log, tmp_path):
    proof = tmp_path / "proof"
    run("prove-consistency", log.folder, 8, *where(log)[1:], "--out", proof)
    head = proof.read_text().split("\n\n")[0].split("\n")
    assert head[0] == "kinlink-audit-consistency/1"
    leaves = oracle.entries(log.folder)
    assert [base64.b64decode(line) for line in head[1:]] == oracle.proof(8, leaves)
    assert "the first 8 of the 11" in run("check", proof, "--key", log.key).stdout
    for old, new in ((0, 11), (3, 9), (9, 9)):
        proof.write_text(run("prove-consistency", log.folder, old, *where(log)[1:], "--new", new).stdout)
        told = json.loads(run("check", proof, "--key", log.key, "--json").stdout)
        assert [one["size"] for one in told["checkpoints"]] == [old, new]
    run("prove-consistency", log.folder, 9, *where(log)[1:], "--new", 8, code=1)


def test_no_changed_proof_passes(log):
    kept = proofs.prove_inclusion(log.folder, log.kept, log.keys, 4)
    grown = proofs.prove_consistency(log.folder, log.kept, log.keys, 8)
    entry = base64.b64encode(oracle.entries(log.folder)[5]).decode()
    forged = [
        "",
        "anything",
        kept.replace("index 4", "index 5"),
        kept.replace("index 4", "index 04"),
        kept.replace("extra ", "extra A"),
        kept.replace("extra", "other"),
        kept.replace(kept.split("\n")[1], f"extra {entry}"),
        "\n".join(kept.split("\n")[:3]) + "\n\n" + kept.partition("\n\n")[2],
        kept.partition("\n\n")[0],
        kept.replace("\n11\n", "\n12\n"),
        grown.replace("\n8\n", "\n7\n"),
        grown.partition("\n\n")[0],
        "\n".join([grown.split("\n")[0], *grown.split("\n")[2:]]),
    ]
    for one in forged:
        with pytest.raises((AuditProofError, AuditTamperedError)):
            proofs.check(one, log.keys)


def test_no_proof_is_made_of_what_was_changed(log):
    data = bytearray((log.folder / "tree").read_bytes())
    data[32 * 6] ^= 1
    (log.folder / "tree").write_bytes(data)
    with pytest.raises(AuditTamperedError, match="does not fit"):
        proofs.prove_inclusion(log.folder, log.kept, log.keys, 5)


def test_help_names_every_command():
    shown = run("--help").stdout
    for name in ("verify", "show", "prove-inclusion", "prove-consistency", "check"):
        assert name in shown
        assert run(name, "--help").exit_code == 0


def test_the_key_may_be_the_file_beside_the_log(log):
    successor = Signer(log.signer.verifier.name, Ed25519PrivateKey.generate())
    with log.open() as opened:
        opened.hand_over(successor)
    beside = log.folder / "public-key"
    shown = run("verify", log.folder, "--checkpoints", log.kept, "--key", beside).stdout
    assert f"Signed now with {successor.verifier}" in shown
    beside.write_text("")
    run("verify", log.folder, "--checkpoints", log.kept, "--key", beside, code=2)
