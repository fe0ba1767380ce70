"""`kinlink keys` as a person types it: what it asks, what it refuses, and what it never takes."""

from __future__ import annotations

import errno
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from typer.testing import CliRunner

from pseudonym import errors
from pseudonym.audit import Log
from pseudonym.cli.keys import keys_app
from pseudonym.keys import RAW_KEY_ACCESS, Keyset, State
from pseudonym.keystate import seal_of
from pseudonym.log_keys import signers
from pseudonym.providers.file import FileProvider
from pseudonym.providers.quorum import QuorumProvider

PASSPHRASE = "seven grey herons wade upstream"
PEOPLE = {
    "anne": "nine brown foxes sleep inland",
    "bob": "two white owls fly at noon",
    "cara": "five old toads",
}
NEW = "one green heron after another"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path, quick):
    secrets = {"p": PASSPHRASE, "n": NEW, **PEOPLE, "wrong": "not the one at all", "short": "eleven char"}
    for name, text in secrets.items():
        (tmp_path / f"{name}.txt").touch(mode=0o600)
        (tmp_path / f"{name}.txt").write_text(text + "\n")
    return tmp_path


def secret(folder, name="p", label=None):
    return ["--secret", f"{label + '=' if label else ''}file:{folder / name}.txt"]


def run(folder, command, *options, typed="", code=0, secrets=None):
    given = [*(secret(folder) if secrets is None else secrets), "--device", str(folder / "d")]
    whole = [command, str(folder / "k"), *options, *given]
    result = CliRunner().invoke(keys_app, whole, input=typed)
    assert result.exit_code == code, result.output
    for text in (PASSPHRASE, NEW, *PEOPLE.values()):
        assert text not in result.output
    return result


def keyset(folder, passphrase=PASSPHRASE):
    return Keyset.open(folder / "k", FileProvider(folder / "d", passphrase))


@pytest.fixture
def broker(folder):
    run(folder, "create", "--role", "broker")
    run(folder, "add", "aid/1:tf")
    run(folder, "add", "urn/1:tf:nis:1")
    return folder


def test_a_keyset_is_made_filled_and_listed(broker):
    shown = run(broker, "list").stdout.splitlines()
    keys = keyset(broker).keys
    assert [line.split()[:3] for line in shown] == [[key.kid, key.use, "active"] for key in keys]
    document = json.loads(run(broker, "list", "--json").stdout)
    assert document == {
        "set": "broker",
        "keys": [
            {"kid": key.kid, "use": key.use, "algorithm": key.algorithm, "state": "active",
             "not_before": key.not_before, "not_after": None}
            for key in keys
        ],
    }  # fmt: skip
    text = run(broker, "list").stdout + json.dumps(document)
    assert not [key for key in keys if key.wrapped in text]


def test_series_are_rotated(broker):
    run(broker, "add", "audit/1")
    run(broker, "rotate", "audit/1")
    before = (broker / "k").read_bytes()
    run(broker, "rotate", "master")
    assert [(key.use, key.state) for key in keyset(broker).keys][2:] == [
        ("audit/1", State.DECRYPT_ONLY),
        ("audit/1:2", State.ACTIVE),
    ]
    (broker / "k").write_bytes(before)
    with pytest.raises(errors.PassphraseError, match="device secret"):
        keyset(broker)


@pytest.mark.parametrize(
    ("role", "use", "instead"),
    [
        ("identity", "bidx/1", "new keyset"),
        ("broker", "urn/1:tf:nis:1", "kinlink recipient open --next-epoch"),
    ],
)
def test_a_rotation_that_would_change_nothing_is_refused_and_says_what_to_do(folder, role, use, instead):
    run(folder, "create", "--role", role)
    run(folder, "add", use)
    before = (folder / "k").read_bytes()
    result = run(folder, "rotate", use, code=1)
    assert instead in result.stderr
    assert result.stdout == ""
    assert (folder / "k").read_bytes() == before


@pytest.mark.parametrize("by", ["kid", "use"])
def test_a_key_is_destroyed_once_its_id_is_typed(broker, by):
    key = keyset(broker).keys[0]
    result = run(broker, "destroy", getattr(key, by), typed=f"{key.kid}\n")
    assert "still active" in result.stderr
    assert f"Type {key.kid}" in result.stderr
    assert keyset(broker).keys[0].state is State.DESTROYED
    assert "destroyed" in run(broker, "list").stdout.splitlines()[0]
    assert "The key was destroyed." in run(broker, "destroy", key.kid, typed=f"{key.kid}\n", code=1).stderr


def test_a_key_that_the_audit_log_goes_by_is_not_destroyed(broker):
    run(broker, "add", "audit/1")
    run(broker, "rotate", "audit/1")
    new, old = signers(keyset(broker), "tests.example/broker")
    officer = X25519PrivateKey.generate().public_key()
    log, checkpoints = broker / "audit", broker / "checkpoints"
    checkpoints.mkdir()
    Log.create(log, checkpoints, old, officer).close()
    kid = keyset(broker).find("audit/1").kid
    before = (broker / "k").read_bytes()
    named = ["--checkpoints", str(checkpoints)]
    assert "--checkpoints" in run(broker, "destroy", "audit/1", typed=f"{kid}\n", code=1).stderr
    said = run(broker, "destroy", "audit/1", *named, typed=f"{kid}\n", code=1).stderr
    assert "still goes by this key" in said
    assert (broker / "k").read_bytes() == before
    Log.open(log, checkpoints, new, officer, former=[old]).close()
    run(broker, "destroy", "audit/1", *named, typed=f"{kid}\n")
    assert keyset(broker).verifying_keys()[kid].public_bytes_raw() == old.verifier.key
    [present] = signers(keyset(broker), "tests.example/broker")
    Log.open(log, checkpoints, present, officer).close()


@pytest.mark.parametrize("typed", ["", "\n", "y\n", "aid/1:tf\n", "0123456789abcdef\n"])
def test_a_key_whose_id_is_not_typed_stays(broker, typed):
    before = (broker / "k").read_bytes()
    run(broker, "destroy", "aid/1:tf", typed=typed, code=1)
    assert (broker / "k").read_bytes() == before


def test_a_passphrase_is_changed(broker):
    keys = keyset(broker).keys
    assert "shorter than 12" in run(
        broker, "passphrase", "--new-secret", f"file:{broker / 'short.txt'}", code=1
    ).stderr  # fmt: skip
    run(broker, "passphrase", "--new-secret", f"file:{broker / 'n.txt'}")
    assert "not the keyset's" in run(broker, "list", code=1).stderr
    assert [key.kid for key in keyset(broker, NEW).keys] == [key.kid for key in keys]


def test_a_key_is_exported_only_to_those_who_say_they_understand(broker):
    out, sure = broker / "raw.hex", "--i-understand-that-nothing-guards-the-key-any-more"
    assert run(broker, "export", "aid/1:tf", "--out", str(out), code=2)
    assert not out.exists()
    run(broker, "export", "aid/1:tf", "--out", str(out), sure)
    opened = keyset(broker)
    assert bytes.fromhex(out.read_text()) == opened.export(opened.keys[0].kid, RAW_KEY_ACCESS)
    assert out.stat().st_mode & 0o777 == 0o600
    again = run(broker, "export", "urn/1:tf:nis:1", "--out", str(out), sure, code=1)
    assert "cannot be made: File exists" in again.stderr


def test_months_of_key_encrypting_keys(folder):
    run(folder, "create", "--role", "identity")
    run(folder, "rotate", "kek/1")
    assert "already" not in run(folder, "rotate", "kek/1", code=1).stderr
    month = keyset(folder).keys[0].use
    run(folder, "rotate", month, code=1)
    assert "this month or the next" in run(folder, "rotate", "kek/1:2999-01", code=1).stderr


def test_a_quorum_of_custodians(folder):
    everyone = [one for label in PEOPLE for one in secret(folder, label, label)]
    run(folder, "create", "--role", "identity", "--provider", "quorum", code=2, secrets=everyone)
    create = ("create", "--role", "identity", "--provider", "quorum", "--threshold", "2")
    run(folder, *create, secrets=everyone)
    two = [*secret(folder, "anne", "anne"), *secret(folder, "cara", "cara")]
    run(folder, "add", "bidx/1", secrets=two)
    one = run(folder, "list", secrets=two[:2], code=1)
    assert one.stderr.startswith(
        "The keyset needs the passphrases of 2 of its 3 custodians, and 1 were given."
    )
    wrong = run(folder, "list", secrets=[*two[:2], *secret(folder, "wrong", "bob")], code=1)
    assert "custodian bob is not theirs" in wrong.stderr
    run(folder, "passphrase", "--custodian", "cara", "--new-secret", f"file:{folder / 'n.txt'}", secrets=two)
    with pytest.raises(errors.PassphraseError, match="cara"):
        Keyset.open(folder / "k", QuorumProvider(folder / "d", {x: PEOPLE[x] for x in ("anne", "cara")}))
    changed = [*two[:2], *secret(folder, "n", "cara")]
    assert "bidx/1" in run(folder, "list", secrets=changed).stdout
    for mixed in (secret(folder, "anne"), [*two, *two], []):
        assert run(folder, "list", secrets=mixed, code=2 if mixed else 1)


def test_custodians_are_replaced(folder):
    everyone = [*secret(folder, "anne", "anne"), *secret(folder, "bob", "bob")]
    run(folder, "create", "--role", "identity", "--provider", "quorum", "--threshold", "2", secrets=everyone)
    kid = run(folder, "add", "bidx/1", secrets=everyone).stdout.split()[0]
    after = [f"--new-secret={who}=file:{folder / who}.txt" for who in ("bob", "cara")]
    run(
        folder,
        "custodians",
        "--threshold",
        "2",
        f"--new-secret=file:{folder / 'n'}.txt",
        secrets=everyone,
        code=2,
    )
    run(folder, "custodians", "--threshold", "2", *after, secrets=everyone)
    run(folder, "list", secrets=everyone, code=1)
    present = [*secret(folder, "bob", "bob"), *secret(folder, "cara", "cara")]
    assert kid in run(folder, "list", secrets=present).stdout


def test_a_token(folder, token):
    pin = folder / "pin.txt"
    pin.touch(mode=0o600)
    pin.write_text(token.pin)
    place = ["--module", str(token.module), "--secret", f"file:{pin}"]
    made = ["--role", "attributes", "--provider", "pkcs11", "--token", token.label]
    run(folder, "create", *made, secrets=place)
    run(folder, "rotate", "kek/1", secrets=place)
    assert "kek/1:" in run(folder, "list", secrets=place).stdout
    run(folder, "list", secrets=place[2:], code=2)
    assert "PIN is not" in run(folder, "list", secrets=[*place[:2], *secret(folder, "wrong")], code=1).stderr
    assert token.pin not in (folder / "k").read_text()


def test_a_key_server(folder, key_server):
    held = folder / "token.txt"
    held.touch(mode=0o600)
    held.write_text(key_server.root)
    trusted = ["--authorities", str(key_server.authorities)]
    place = ["--address", key_server.address, *trusted, "--secret", f"file:{held}"]
    run(folder, "create", "--role", "broker", "--provider", "transit", "--key", folder.name, secrets=place)
    run(folder, "add", "aid/1:tf", secrets=place)
    assert "aid/1:tf" in run(folder, "list", secrets=place).stdout
    assert "certificate" in run(folder, "list", secrets=[*place[:2], *place[4:]], code=1).stderr


def test_a_secret_typed_into_the_command_is_refused_and_not_repeated(broker):
    for source in (
        PASSPHRASE,
        f"file={PASSPHRASE}",
        "fd:",
        "fd:x",
        "fd:1",
        "fd:-1",
        "env:PASSPHRASE",
        "file:",
    ):
        result = run(broker, "list", secrets=["--secret", source], code=1)
        assert "A secret comes from prompt, fd:NUMBER, file:PATH or credential:NAME." in result.stderr


def test_a_secrets_file_is_its_owners(broker):
    (broker / "p.txt").chmod(0o640)
    assert "open to other users" in run(broker, "list", code=1).stderr
    assert "no secret at" in run(broker, "list", secrets=secret(broker, "nowhere"), code=1).stderr


@pytest.mark.parametrize("octets", [b"", b"\n", b"two\nlines\n", b"\xff\xfe", b"x" * 5000, b"bell\x07"])
def test_a_secret_is_one_line_of_text(broker, octets):
    (broker / "p.txt").write_bytes(octets)
    assert "one line of text" in run(broker, "list", code=1).stderr


def test_without_a_terminal_there_is_no_asking(broker):
    assert "no terminal" in run(broker, "list", secrets=[], code=1).stderr


def test_what_is_no_provider_or_role_is_refused(folder):
    run(folder, "create", "--role", "broker", "--provider", "cloud", code=2)
    assert "role" in run(folder, "create", "--role", "council", code=1).stderr
    assert not (folder / "k").exists()
    assert "no keyset at" in run(folder, "list", code=1).stderr


def test_a_clock_that_was_ahead(broker, monkeypatch):
    content = json.loads((broker / "k").read_text())
    opened = keyset(broker)
    content["written"] = "2999-01-01T00:00:00+00:00"
    content["seal"] = seal_of(opened._last.master, content)
    (broker / "k").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    assert "clock is" in run(broker, "add", "audit/1", code=1).stderr
    run(broker, "list")
    run(broker, "add", "audit/1", "--clock-was-ahead")
    run(broker, "rotate", "master")


# --- the real program ---------------------------------------------------------------------------------------


def program(*arguments):
    return [sys.executable, "-m", "pseudonym.cli.keys", *map(str, arguments)]


def at_a_terminal(command, answers):
    """Run a command at a terminal of its own, type each answer when asked; its code, and all it showed."""
    pid, handle = pty.fork()
    if not pid:
        os.chdir(ROOT)
        os.execv(command[0], command)
    shown, until = b"", time.monotonic() + 60
    try:
        for question, answer in answers:
            while not shown.rstrip().endswith(question.encode()):
                assert time.monotonic() < until, shown
                shown += os.read(handle, 1024)
            os.write(handle, answer.encode() + b"\n")
            shown += b"\n"
        while more := _read(handle):
            shown += more
    finally:
        os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def _read(handle):
    try:
        return os.read(handle, 1024)
    except OSError as error:
        if error.errno != errno.EIO:  # what Linux says when the other side is gone
            raise
        return b""


@pytest.mark.slow
def test_at_a_terminal_it_asks_and_shows_nothing_typed(tmp_path):
    device = ("--device", tmp_path / "d")
    create = program("create", tmp_path / "k", "--role", "broker", *device)
    asked = [("Passphrase:", PASSPHRASE), ("Passphrase, again:", PASSPHRASE)]
    code, shown = at_a_terminal(create, [asked[0], ("Passphrase, again:", NEW)])
    assert (code, "not the same" in shown) == (1, True)
    assert not (tmp_path / "k").exists()
    code, shown = at_a_terminal(create, asked)
    assert code == 0, shown
    assert PASSPHRASE not in shown
    code, shown = at_a_terminal(program("add", tmp_path / "k", "aid/1:tf", *device), asked[:1])
    assert code == 0, shown
    assert PASSPHRASE not in shown
    made = keyset(tmp_path).keys[0]
    question = f"Type {made.kid} to destroy it:"
    destroy = program("destroy", tmp_path / "k", "aid/1:tf", *device)
    code, shown = at_a_terminal(destroy, [asked[0], (question, made.kid)])
    assert code == 0, shown
    assert keyset(tmp_path).keys[0].state is State.DESTROYED


def test_from_a_file_descriptor(tmp_path):
    provider = FileProvider(tmp_path / "d", PASSPHRASE)
    Keyset.create(tmp_path / "k", "broker", provider)
    read, write = os.pipe()
    os.write(write, PASSPHRASE.encode() + b"\n")
    os.close(write)
    command = program("list", tmp_path / "k", "--json", "--device", tmp_path / "d", "--secret", f"fd:{read}")
    result = subprocess.run(command, cwd=ROOT, pass_fds=[read], capture_output=True, text=True, check=False)
    os.close(read)
    assert (result.returncode, json.loads(result.stdout)) == (0, {"set": "broker", "keys": []}), result.stderr
    command[-1] = "fd:0"
    result = subprocess.run(command, cwd=ROOT, input=PASSPHRASE, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    command[-1] = "fd:77"
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, "cannot be read" in result.stderr) == (1, True)
