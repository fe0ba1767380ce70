"""The vault is made for a population: a few people share each tag of its index, whatever its size."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

import server as program
from pseudonym.blind import bits_for
from tests import forks
from tests.pseudonym.roles.harness import tls_flags
from tests.service.harness import Server


def flags(certificates, *more):
    return ("--role", "identity", *tls_flags(certificates, "identity"), "--broker", "localhost:1", *more)


def begun(data):
    with closing(sqlite3.connect(data / "identity" / "store.sqlite")) as database:
        return database.execute("SELECT epoch, fingerprint FROM blind_epoch").fetchall()


def test_another_population_than_the_vaults_own_starts_nothing(tmp_path, certificates):
    small, large = tmp_path / "small", tmp_path / "large"
    for data, more in ((small, ()), (large, ("--population", "60000000"))):
        with Server(data, *flags(certificates, *more)) as server:
            assert server.stop() == 0
    assert (bits_for(1_000_000), bits_for(60_000_000)) == (18, 24)
    before = begun(small)
    ended = forks.ended(
        "--data", str(small), "--listen", "127.0.0.1:0", *flags(certificates, "--population", "60000000")
    )
    assert ended.returncode == 1
    [failed] = [line for line in ended.stderr.splitlines() if '"failed"' in line]
    assert "--population" in json.loads(failed)["message"]
    assert begun(small) == before
    # Populations of one length are one.
    for data, people in ((small, "1200000"), (large, "60000000")):
        with Server(data, *flags(certificates, "--population", people)) as server:
            assert server.stop() == 0


@pytest.mark.parametrize("text", ["0", "999", "1e6", "many", "-5"])
def test_a_population_that_is_none_is_refused(text, tmp_path, certificates):
    with pytest.raises(SystemExit):
        program.settings_from(["--data", str(tmp_path), *flags(certificates, "--population", text)])


def test_only_the_identity_role_has_a_vault(tmp_path, certificates):
    given = ["--role", "broker", *tls_flags(certificates, "broker"), "--population", "5000"]
    with pytest.raises(ValueError, match="--population"):
        program.settings_from(["--data", str(tmp_path), *given])
