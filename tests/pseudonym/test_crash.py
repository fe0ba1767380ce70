"""A process killed (SIGKILL) at any step of any change leaves a keyset that opens, with its keys in it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pseudonym.errors import PassphraseError
from pseudonym.keys import RAW_KEY_ACCESS, Keyset, State

PASSPHRASE = "seven grey herons wade upstream"
NEW_PASSPHRASE = "nine brown foxes sleep inland"

# Makes one change to a keyset and dies at the given step of it; every call that touches a file is a step. A
# negative step lets the change through and prints how many steps there were.
DYING = """
import os, signal, sys
from pathlib import Path
import pseudonym.provider
from pseudonym.keys import Keyset

pseudonym.provider._MEMORY_KIB = 32
folder, change, fatal = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
keyset = Keyset.open(folder / "k", device=folder / "d", passphrase=sys.argv[4])
steps = []

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
if change == "add":
    keyset.add_aid_key("another")
elif change == "rotate":
    keyset.rotate_urn_key("p", "r")
elif change == "master":
    keyset.rotate_master()
elif change == "destroy":
    keyset.destroy(keyset.keys[0].kid)
elif change == "passphrase":
    keyset.change_passphrase(sys.argv[5])
import json
print(json.dumps(steps))
"""


def run(folder: Path, change: str, fatal: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", DYING, str(folder), change, str(fatal), PASSPHRASE, NEW_PASSPHRASE]
    root = Path(__file__).parents[2]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)


def reopened(folder: Path) -> tuple[Keyset, str]:
    for passphrase in (PASSPHRASE, NEW_PASSPHRASE):
        try:
            return Keyset.open(folder / "k", device=folder / "d", passphrase=passphrase), passphrase
        except PassphraseError:
            continue
    raise AssertionError("neither the old nor the new passphrase opens the keyset")


@pytest.mark.parametrize("change", ["add", "rotate", "master", "destroy", "passphrase"])
def test_killed_at_every_step(change, tmp_path, quick):
    start = tmp_path / "start"
    start.mkdir()
    made = Keyset.create(start / "k", "broker", device=start / "d", passphrase=PASSPHRASE)
    made.add_aid_key("p")
    made.add_urn_key("p", "r")
    secrets = {key.kid: made.export(key.kid, RAW_KEY_ACCESS) for key in made.keys}

    def copy(name: str) -> Path:
        folder = Path(tmp_path, name)
        shutil.copytree(start, folder)
        return folder

    whole = run(copy("whole"), change, -1)
    assert whole.returncode == 0, whole.stderr
    steps = json.loads(whole.stdout)
    replaced = [i for i, (name, _) in enumerate(steps) if name == "replace"]
    for i in replaced:  # each file is on disk before it takes its place, and its place before anything else
        assert steps[i - 1][0] == steps[i + 1][0] == "fsync"

    seen = set()
    for fatal in range(len(steps)):
        folder = copy(f"killed-{fatal}")
        assert run(folder, change, fatal).returncode == -signal.SIGKILL
        keyset, passphrase = reopened(folder)
        seen.add((len(keyset.keys), passphrase, keyset.keys[0].state))
        for key in keyset.keys:
            if key.kid in secrets and key.state is not State.DESTROYED:
                assert keyset.export(key.kid, RAW_KEY_ACCESS) == secrets[key.kid]
        assert {path.name for path in folder.iterdir()} == {"k", "d"}
        assert len(json.loads((folder / "d").read_text())["secrets"]) == 1
        keyset.add_aid_key("after")
        assert reopened(folder)[0].keys == keyset.keys
    # Dying early leaves the old state and dying late the new one; rotating the master shows in neither.
    assert len(seen) == (1 if change == "master" else 2)
