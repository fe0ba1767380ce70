"""What these tests share: the second implementation of keys, real places for master keys, and databases.

A database is new and empty for each test, on each kind that the contract of the stores is for; PostgreSQL
is a server that the tests start themselves.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import hvac
import pytest

from tests.missing import missing
from tests.pseudonym import cluster
from tests.pseudonym.databases import Databases, OnServer, OnSqlite

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "739104"


@pytest.fixture(scope="session")
def oracle() -> ModuleType:
    if shutil.which("openssl") is None:
        missing("the second implementation computes with the openssl command")
    name = "pseudonym_oracle"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("oracle.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretch passphrases with little memory, for tests that open a keyset hundreds of times."""
    monkeypatch.setattr("pseudonym.master._MEMORY_KIB", 32)


@dataclass(frozen=True)
class Token:
    """A token of SoftHSM's."""

    module: Path
    label: str
    pin: str


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory) -> Token:
    """A token in a folder of its own. One a process: the library reads its settings once."""
    if shutil.which("softhsm2-util") is None:
        missing("the token is SoftHSM's: install softhsm2")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    settings = folder / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(settings)
    command = [
        "softhsm2-util",
        "--init-token",
        "--free",
        "--label",
        "kinlink-test",
        "--pin",
        PIN,
        "--so-pin",
        PIN,
    ]
    subprocess.run(command, check=True, capture_output=True)
    return Token(SOFTHSM, "kinlink-test", PIN)


@dataclass(frozen=True)
class KeyServer:
    """A running OpenBao, with its transit engine mounted."""

    address: str
    root: str
    authorities: Path

    def client(self) -> hvac.Client:
        return hvac.Client(url=self.address, token=self.root, verify=str(self.authorities))


@pytest.fixture(scope="session")
def key_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyServer]:
    """A real OpenBao server over TLS, in memory, on a port of its own."""
    program = Path(sys.executable).with_name("bao")
    folder, root = tmp_path_factory.mktemp("openbao"), secrets.token_hex(16)
    port = _two_ports()
    command = [
        str(program), "server", "-dev", "-dev-tls", f"-dev-tls-cert-dir={folder}", "-dev-no-store-token",
        f"-dev-root-token-id={root}", f"-dev-listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"HOME": str(folder)}
        )
    server = KeyServer(f"https://127.0.0.1:{port}", root, folder / "vault-ca.pem")
    try:
        until = time.monotonic() + 60
        while not _listens(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.05)
        server.client().sys.enable_secrets_engine("transit")
        yield server
    finally:
        process.terminate()
        process.wait(30)


def _two_ports() -> int:
    """A free port before another free one: the server takes both, and they are given back just before."""
    while True:
        with socket.socket() as free, socket.socket() as beside:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
            with suppress(OSError, OverflowError):  # the next one is in use, or there is none
                beside.bind(("127.0.0.1", port + 1))
                return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[cluster.Cluster]:
    """A PostgreSQL server of these tests' own."""
    with cluster.running() as server:
        yield server


@pytest.fixture
def postgres_database(postgres_server: cluster.Cluster) -> Iterator[Callable[[], str]]:
    """Makes empty databases on PostgreSQL, each given by its URL, and drops them after the test."""
    made: list[str] = []
    databases = OnServer(postgres_server)

    def make() -> str:
        made.append(databases.new())
        return made[-1]

    yield make
    for each in made:
        databases.drop(each)


@pytest.fixture
def postgres_databases(postgres_database: Callable[[], str]) -> dict[str, str]:
    """An empty database for each role."""
    return {role: postgres_database() for role in cluster.ROLES}


@pytest.fixture
def postgres_url(postgres_database: Callable[[], str]) -> str:
    return postgres_database()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """A new, empty database: the test runs once on each kind."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    found: str = request.getfixturevalue(name)
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Databases:
    """Where databases are made and copied while a test runs, once on each kind."""
    if request.param == "sqlite":
        return OnSqlite(tmp_path)
    return OnServer(request.getfixturevalue("postgres_server"))
