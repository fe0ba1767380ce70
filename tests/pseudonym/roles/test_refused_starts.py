"""A role that cannot be what it should be does not start, says why in a sentence, and changes nothing.

Each case is a real process in production, on what a role had when it was last stopped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from pseudonym.keys import Keyset
from pseudonym.providers.file import FileProvider
from pseudonym.roles.callers import Role
from tests import forks
from tests.pseudonym.roles.harness import apart, production_flags
from tests.service.harness import Server

ROLE = Role.ATTRIBUTES


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, certificates):
    """What a role needs, made once, with the flags that name it; each test has a copy."""
    data = tmp_path_factory.mktemp("stopped") / "data"
    return data, production_flags(certificates, data, ROLE, "localhost:1")


@pytest.fixture
def copy(stopped, tmp_path):
    data, flags = stopped
    mine = tmp_path / "data"
    shutil.copytree(data, mine)
    shutil.copytree(apart(data), apart(mine))
    return mine / ROLE, [flag.replace(str(data), str(mine)) for flag in flags]


def snapshot(folder: Path) -> dict[Path, str]:
    """Every file and what is in it, apart from what only shows who holds or reads it.

    SQLite makes an empty write-ahead log, and the memory that goes with it, for whoever reads.
    """
    held = ("lock", "store.sqlite-lock", "store.sqlite-shm")
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (*folder.rglob("*"), *apart(folder).rglob("*"))
        if path.is_file() and path.name not in held and not (path.name.endswith("-wal") and is_empty(path))
    }


def is_empty(path: Path) -> bool:
    return path.stat().st_size == 0


def started(data: Path, flags: list[str]) -> subprocess.CompletedProcess[str]:
    return forks.ended("--data", str(data), "--listen", "127.0.0.1:0", *flags)


def opened(role: Path) -> Keyset:
    passphrase = (role / "passphrase").read_text().strip()
    return Keyset.open(role / "keyset.json", FileProvider(apart(role.parent) / "device.json", passphrase))


def changed(role: Path, statement: str) -> None:
    with closing(sqlite3.connect(role / "store.sqlite")) as database, database:
        assert database.execute(statement).rowcount == 1


def wrong_passphrase(role: Path) -> None:
    (role / "passphrase").write_text("seven wrong herons wade upstream\n")


def no_device_secret(role: Path) -> None:
    (apart(role.parent) / "device.json").unlink()


def destroyed_key(role: Path) -> None:
    keyset = opened(role)
    keyset.destroy(keyset.find("erasures/1").kid)


def copy_of_before_a_destruction(role: Path) -> None:
    before = (role / "keyset.json").read_bytes()
    keyset = opened(role)
    keyset.destroy(keyset.find("erasures/1").kid)
    (role / "keyset.json").write_bytes(before)


def later_version(role: Path) -> None:
    changed(role, "UPDATE alembic_version SET version_num = 'attributes_9999'")


def clock_set_back(role: Path) -> None:
    changed(role, f"UPDATE store SET last_seen = {int(time.time()) + 7200}")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (wrong_passphrase, "passphrase"),
        (no_device_secret, "device secret"),
        (destroyed_key, "destroyed"),
        (copy_of_before_a_destruction, "device secret"),
        (later_version, "of version attributes_9999, which this program does not know"),
        (clock_set_back, "clock is behind"),
    ],
)
def test_a_role_does_not_start_and_changes_nothing(copy, spoil, said):
    role, flags = copy
    spoil(role)
    before = snapshot(role.parent)
    ended = started(role.parent, flags)
    assert ended.returncode == 1
    [failed] = [line for line in ended.stderr.splitlines() if '"failed"' in line]
    assert said in json.loads(failed)["message"]
    assert "Traceback" not in ended.stderr
    assert "listening" not in ended.stderr
    assert snapshot(role.parent) == before


def test_two_servers_do_not_have_one_sqlite_file(copy):
    role, flags = copy
    with Server(role.parent, *flags) as first:
        other = role.parent.with_name("other")
        elsewhere = [flag.replace(str(role.parent), str(other)) for flag in flags]
        place = elsewhere.index("--database") + 1
        shutil.copytree(apart(role.parent), apart(other))
        shutil.copytree(role, other / ROLE, ignore=shutil.ignore_patterns("store.sqlite*"))
        elsewhere[place] = flags[flags.index("--database") + 1]
        before = snapshot(other)
        ended = started(other, elsewhere)
        assert ended.returncode == 1
        assert "Another server has the database" in ended.stderr
        assert snapshot(other) == before
        assert first.process.poll() is None
        assert first.stop() == 0
