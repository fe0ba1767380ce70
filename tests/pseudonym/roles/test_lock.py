"""The vault locks itself when nobody uses it, and opens again with its secret."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from grpc_health.v1 import health_pb2

import server as program
from linker import idle
from pseudonym.v1 import key_pb2
from tests.pseudonym.roles.harness import Called, tls_flags
from tests.service.harness import Server

MINUTES = 0.05


def locked(server: Server) -> bool:
    return bool(list(server.events("locked")))


def test_r36_the_vault_locks_itself_when_nobody_calls_and_looks_at_its_health_do_not_count(
    tmp_path, certificates
):
    flags = ("--role", "identity", *tls_flags(certificates, "identity"), "--broker", "localhost:1")
    data = tmp_path / "identity"
    with Server(data, *flags, "--lock-after", str(MINUTES)) as server:
        with Called(server.address, certificates, "auditor") as auditor:
            until = time.monotonic() + 2 * MINUTES * 60
            while time.monotonic() < until:
                auditor("/pseudonym.v1.KeyService/ListKeys", key_pb2.ListKeysRequest())
                assert not locked(server)
                time.sleep(0.2)
            until = time.monotonic() + 60
            while server.process.poll() is None and not locked(server):
                assert time.monotonic() < until, "health alone held it open"
                auditor("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest())
                time.sleep(0.2)
        assert server.process.wait(timeout=30) == 0
        assert locked(server)
    (data / "identity" / "passphrase").rename(data / "mislaid")
    with pytest.raises(AssertionError):  # it does not start: nothing is read without the secret
        Server(data, *flags)
    (data / "mislaid").rename(data / "identity" / "passphrase")
    with (
        Server(data, *flags) as server,
        Called(server.address, certificates, "auditor") as auditor,
    ):
        auditor("/pseudonym.v1.KeyService/ListKeys", key_pb2.ListKeysRequest())
        assert server.stop() == 0


def test_a_running_job_holds_the_vault_open(monkeypatch):
    monkeypatch.setattr(idle, "LOOK_EVERY", 0.01)

    async def play() -> float:
        stop = asyncio.Event()
        gate: Any = SimpleNamespace(rested=1e9)
        runner: Any = SimpleNamespace(busy=True)
        began = time.monotonic()
        asyncio.get_running_loop().call_later(0.5, setattr, runner, "busy", False)
        await idle.lock_when_idle(0.1 / 60, gate, runner, stop)
        assert stop.is_set()
        return time.monotonic() - began

    assert asyncio.run(play()) >= 0.59


@pytest.mark.parametrize("role", ["broker", "attributes"])
def test_only_the_identity_role_has_a_vault_to_lock(role, tmp_path, certificates):
    flags = ["--data", str(tmp_path), "--role", role, *tls_flags(certificates, role), "--lock-after", "5"]
    with pytest.raises(ValueError, match="--lock-after"):
        program.settings_from(flags)
