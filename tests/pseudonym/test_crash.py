"""A process killed (SIGKILL) at any step of any change leaves a keyset that opens, with its keys in it.

The processes are forked from one that has loaded the package, so that hundreds can be killed in a minute.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pseudonym.errors import KeysetError, PassphraseError
from pseudonym.keys import RAW_KEY_ACCESS, Keyset, State
from pseudonym.providers import Provider
from pseudonym.providers.file import FileProvider
from pseudonym.providers.quorum import QuorumProvider

PASSPHRASE = "seven grey herons wade upstream"
OTHERS = {"bob": "two white owls fly at noon", "cara": "five old toads sing in rain"}
CHANGES = ["add", "rotate", "kek", "master", "destroy", "passphrase"]

# Obeys one command a line. `die` makes one change in a process that dies at the given step of it; every call
# that touches a file is a step. A negative step lets the change through and says how many steps there were.
# `walk` makes one change after another, each told of once it is done, in a process that is killed so many
# seconds after it told of so many.
MASTER = """
import hashlib, itertools, json, os, random, signal, sys, time
from pathlib import Path
import pseudonym.master
from pseudonym.keys import RAW_KEY_ACCESS, Keyset, State
from pseudonym.providers.file import FileProvider
from pseudonym.providers.quorum import QuorumProvider

pseudonym.master._MEMORY_KIB = 32
others = json.loads(sys.argv[1])

def provider(folder, passphrase, kind, new=False):
    if kind == "file":
        return FileProvider(folder / "d", passphrase)
    people = {"anne": passphrase, **others}
    if not new:
        del people["cara"]
    return QuorumProvider(folder / "d", people, 2 if new else None)

def changed(keyset, change, kind, new):
    who = "anne" if kind == "quorum" else None
    if change == "add":
        return keyset.add("extract/1:" + os.urandom(8).hex())
    if change == "rotate":
        return keyset.rotate("audit/1")
    if change == "kek":
        return keyset.rotate_kek()
    if change == "master":
        return keyset.rotate_master()
    if change == "destroy":
        return keyset.destroy(next(key for key in keyset.keys if key.state is not State.DESTROYED).kid)
    keyset.change_passphrase(new, who)

def die(folder, kind, change, fatal, old, new):
    folder, steps = Path(folder), []
    if change != "create":
        keyset = Keyset.open(folder / "k", provider(folder, old, kind))
    def watched(name):
        real = getattr(os, name)
        def call(*args, **kwargs):
            if len(steps) == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            steps.append((name, Path(str(args[0])).name if name in ("replace", "unlink") else ""))
            return real(*args, **kwargs)
        setattr(os, name, call)
    for name in ("replace", "fsync", "unlink", "pwrite", "fchmod"):
        watched(name)
    if change == "create":
        Keyset.create(folder / "k", "identity", provider(folder, old, kind, new=True))
    else:
        changed(keyset, change, kind, new)
    return steps

def walk(folder, kind, passphrase, seed, tell):
    chance, folder = random.Random(seed), Path(folder)
    keyset = Keyset.open(folder / "k", provider(folder, passphrase, kind))
    for i in itertools.count():
        change = chance.choice(["add", "add", "rotate", "master", "destroy", "passphrase"])
        alive = [key.kid for key in keyset.keys if key.state is not State.DESTROYED]
        if change == "destroy" and len(alive) > 2:
            kid = alive[0]
            keyset.destroy(kid)
            done = ["destroy", kid]
        elif change in ("add", "rotate"):
            key = changed(keyset, change, kind, "")
            done = ["make", key.kid, hashlib.sha256(keyset.export(key.kid, RAW_KEY_ACCESS)).hexdigest()]
        elif change == "passphrase":
            changed(keyset, change, kind, f"{passphrase} {i}")
            done = ["passphrase", f"{passphrase} {i}"]
        else:
            keyset.rotate_master()
            done = ["master"]
        os.write(tell, (json.dumps([i, *done]) + chr(10)).encode())

for line in sys.stdin:
    command, *given = json.loads(line)
    read, tell = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        try:
            if command == "walk":
                walk(*given[:4], tell)
            os.write(tell, json.dumps(die(*given)).encode())
            os._exit(0)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
    os.close(tell)
    with open(read) as told:
        said = ""
        if command == "walk":
            said = "".join(told.readline() for _ in range(given[4]))
            time.sleep(given[5])
            os.kill(pid, signal.SIGKILL)
        said += told.read()
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said]), flush=True)
"""


class Master:
    """The process that others are forked from."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", MASTER, json.dumps(OTHERS)]
        pipe, root = subprocess.PIPE, Path(__file__).parents[2]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=root, text=True)

    def __call__(self, *command: object) -> tuple[int, str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        code, said = json.loads(self.process.stdout.readline())
        return code, said

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def master() -> Iterator[Master]:
    made = Master()
    yield made
    made.end()


def provider(folder: Path, kind: str, passphrase: str, *, new: bool = False) -> Provider:
    if kind == "file":
        return FileProvider(folder / "d", passphrase)
    # Whoever changed the passphrase was there with bob; now anne comes with cara.
    people = {"anne": passphrase, **OTHERS}
    if not new:
        del people["bob"]
    return QuorumProvider(folder / "d", people, 2 if new else None)


def reopened(folder: Path, kind: str, *passphrases: str) -> tuple[Keyset, str]:
    for passphrase in passphrases:
        try:
            return Keyset.open(folder / "k", provider(folder, kind, passphrase)), passphrase
        except PassphraseError:
            continue
    raise AssertionError("neither the old nor the new passphrase opens the keyset")


def start(folder: Path, kind: str) -> Keyset:
    folder.mkdir()
    made = Keyset.create(folder / "k", "identity", provider(folder, kind, PASSPHRASE, new=True))
    made.add("bidx/1")
    made.add("audit/1")
    return made


def only_what_belongs(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"k", "d"}
    device = json.loads((folder / "d").read_text())
    assert set(device) == {"format", "secrets", "set"}
    assert len(device["secrets"]) == 1


def _steps(said: str) -> list[list[str]]:
    steps: list[list[str]] = json.loads(said)
    replaced = [i for i, (name, _) in enumerate(steps) if name == "replace"]
    for i in replaced:  # each file is on disk before it takes its place, and its place before anything else
        assert steps[i - 1][0] == steps[i + 1][0] == "fsync"
    return steps


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["file", "quorum"])
def test_killed_at_every_step(master, kind, change, tmp_path, quick):
    made = start(tmp_path / "start", kind)
    secrets = {key.kid: made.export(key.kid, RAW_KEY_ACCESS) for key in made.keys}
    new = "nine brown foxes sleep inland"

    def copy(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(tmp_path / "start", folder)
        return folder

    code, said = master("die", str(copy("whole")), kind, change, -1, PASSPHRASE, new)
    assert code == 0
    seen = set()
    for fatal in range(len(_steps(said))):
        folder = copy(f"killed-{fatal}")
        code, _ = master("die", str(folder), kind, change, fatal, PASSPHRASE, new)
        assert code == -signal.SIGKILL
        keyset, passphrase = reopened(folder, kind, PASSPHRASE, new)
        seen.add((len(keyset.keys), passphrase, keyset.keys[0].state))
        for key in keyset.keys:
            if key.kid in secrets and key.state is not State.DESTROYED:
                assert keyset.export(key.kid, RAW_KEY_ACCESS) == secrets[key.kid]
        only_what_belongs(folder)
        keyset.add("suppression/1")
        assert reopened(folder, kind, passphrase)[0].keys == keyset.keys
    # Dying early leaves the old state and dying late the new one; rotating the master shows in neither.
    assert len(seen) == (1 if change == "master" else 2)


@pytest.mark.parametrize("kind", ["file", "quorum"])
def test_killed_at_every_step_of_its_making(master, kind, tmp_path, quick):
    (tmp_path / "whole").mkdir()
    code, said = master("die", str(tmp_path / "whole"), kind, "create", -1, PASSPHRASE, "")
    assert code == 0
    ended = []
    for fatal in range(len(_steps(said))):
        folder = tmp_path / f"killed-{fatal}"
        folder.mkdir()
        code, _ = master("die", str(folder), kind, "create", fatal, PASSPHRASE, "")
        assert code == -signal.SIGKILL
        if (folder / "k").exists():
            keyset, _ = reopened(folder, kind, PASSPHRASE)
            ended.append("made")
        else:
            keyset = Keyset.create(folder / "k", "identity", provider(folder, kind, PASSPHRASE, new=True))
            ended.append("not made")
        only_what_belongs(folder)
        assert keyset.keys == ()
        keyset.add("bidx/1")
        assert reopened(folder, kind, PASSPHRASE)[0].keys == keyset.keys
        with pytest.raises(KeysetError, match="already a device secret"):
            provider(folder, kind, PASSPHRASE, new=True).claim("identity")
    assert ended == sorted(ended, reverse=True)
    assert set(ended) == {"made", "not made"}


def _follow(
    told: list[list[Any]], before: dict[str, str | None], passphrase: str
) -> tuple[dict[str, Any], str]:
    known: dict[str, str | None] = dict(before)
    for _, what, *rest in told:
        if what == "make":
            known[rest[0]] = rest[1]
        elif what == "destroy":
            known[rest[0]] = None
        elif what == "passphrase":
            passphrase = rest[0]
    return known, passphrase


def digests(keyset: Keyset) -> dict[str, str | None]:
    return {
        key.kid: None
        if key.state is State.DESTROYED
        else hashlib.sha256(keyset.export(key.kid, RAW_KEY_ACCESS)).hexdigest()
        for key in keyset.keys
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "quorum"])
def test_killed_at_random_moments_nothing_that_was_told_is_lost(master, kind, tmp_path, quick):
    """One keyset goes through 75 violent deaths; each time at most the change under way is in doubt."""
    chance = random.Random(20261122)
    folder, passphrase, told_in_all = tmp_path / "k", PASSPHRASE, 0
    before = digests(start(folder, kind))
    for seed in range(75):
        count, seconds = chance.randrange(4), chance.uniform(0, 0.03)
        code, said = master("walk", str(folder), kind, passphrase, seed, count, seconds)
        assert code == -signal.SIGKILL
        told = [json.loads(line) for line in said.splitlines()]
        known, last = _follow(told, before, passphrase)
        keyset, passphrase = reopened(folder, kind, last, f"{passphrase} {len(told)}")
        before = digests(keyset)
        differing = {kid for kid in before.keys() | known.keys() if before.get(kid) != known.get(kid, "")}
        assert len(differing) + (passphrase != last) <= 1
        assert known.keys() <= before.keys()
        only_what_belongs(folder)
        told_in_all += len(told)
        assert len(told) >= count
    assert told_in_all > 75
