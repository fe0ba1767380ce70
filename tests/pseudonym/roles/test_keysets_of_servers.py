"""A server opens its keyset wherever the master key comes from; refused, it leaves everything as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hvac
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pseudonym.keys import Keyset, State
from pseudonym.providers.file import FileProvider
from pseudonym.providers.pkcs11 import Pkcs11Provider
from pseudonym.providers.quorum import QuorumProvider
from pseudonym.providers.transit import TransitProvider
from pseudonym.roles import settings
from pseudonym.roles.authority import write_private
from pseudonym.roles.callers import Role
from pseudonym.roles.opening import FIRST_KEYS, open_house
from pseudonym.v1 import key_pb2
from tests.pseudonym.conftest import PIN
from tests.pseudonym.roles.harness import DOMAIN, Called, tls_flags
from tests.pseudonym.roles.test_processes import K
from tests.service.harness import ROOT, Server

PASSPHRASE = "seven grey herons wade upstream"
PEOPLE = {
    "anne": "nine brown foxes sleep inland",
    "bob": "two white owls fly at noon",
    "cara": "five old toads of the marsh",
}
pytestmark = pytest.mark.slow  # each refusal is a process of its own

MATERIAL = ("file", "quorum", "pkcs11", "transit")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory, token, key_server):
    """A broker for each provider, with all that it needs in production."""
    made = {}
    for name in MATERIAL:
        folder = tmp_path_factory.mktemp(name)
        device, sources = folder / "device.json", {}
        secrets = {
            "p": PASSPHRASE,
            "pin": PIN,
            "token": key_server.root,
            "wrong": "not the right one",
            **PEOPLE,
        }
        for label, text in secrets.items():
            write_private(folder / f"{label}.txt", f"{text}\n".encode())
            sources[label] = f"file:{folder / label}.txt"
        provider: Any
        given = [f"--device={device}"] if name in ("file", "quorum") else []
        if name == "file":
            provider, secret = FileProvider(device, PASSPHRASE), [sources["p"]]
        elif name == "quorum":
            provider = QuorumProvider(device, PEOPLE, 2)
            secret = [f"{who}={sources[who]}" for who in ("anne", "cara")]
        elif name == "pkcs11":
            provider, secret = Pkcs11Provider(token.module, token.label, PIN), [sources["pin"]]
            given += [f"--keyset-module={token.module}"]
        else:
            key = f"kinlink-server-{os.urandom(4).hex()}"
            provider = TransitProvider(
                key_server.address, key_server.root, key, authorities=key_server.authorities
            )
            secret = [sources["token"]]
            given += [f"--keyset-address={key_server.address}"]
            given += [f"--keyset-authorities={key_server.authorities}"]
        keyset = Keyset.create(folder / "keyset.json", "broker", provider)
        for use in FIRST_KEYS[Role.BROKER]:
            keyset.add(use)
        officer = X25519PrivateKey.generate().public_key()
        write_private(
            folder / "officer.pem", officer.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        (folder / "checkpoints").mkdir()
        made[name] = SimpleNamespace(folder=folder, secret=secret, given=given, sources=sources)
    return made


def flags_of(world, certificates, **other):
    folder = world.folder
    places = {
        "database": f"sqlite:///{folder / 'store.sqlite'}",
        "keyset": folder / "keyset.json",
        "audit": folder / "audit",
        "checkpoints": folder / "checkpoints",
        "officer-key": folder / "officer.pem",
        "ledger": folder / "erasures",
    }
    secret = other.pop("secret", world.secret)
    given = other.pop("given", world.given)
    named = [f"--{name}={path}" for name, path in (places | other).items()]
    return [
        "--environment", "production", "--role", "broker", *tls_flags(certificates, "broker"),
        *named, *given, *(f"--secret={one}" for one in secret),
    ]  # fmt: skip


def refused(world, certificates, **other):
    """What a server says that does not start."""
    flags = flags_of(world, certificates, **other)
    own = ["--data", str(world.folder / "data"), "--listen", "127.0.0.1:0"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "server.py"), *own, *flags],
        cwd=ROOT, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    for text in (PASSPHRASE, PIN, *PEOPLE.values()):
        assert text not in done.stderr
    return done.stderr


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@contextmanager
def unchanged(world):
    before = everything(world.folder)
    yield
    assert everything(world.folder) == before


@pytest.fixture(scope="module")
def started(worlds, certificates):
    """Each was started once, and made a call."""
    for world in worlds.values():
        with Server(world.folder / "data", *flags_of(world, certificates)) as server:
            with Called(server.address, certificates, "auditor") as auditor:
                found = auditor(f"{K}ListKeys", key_pb2.ListKeysRequest(), key_pb2.ListKeysResponse).keys
            assert [key.use for key in found] == list(FIRST_KEYS[Role.BROKER])
            assert server.stop() == 0
            for text in (PASSPHRASE, PIN, *PEOPLE.values()):
                assert text not in server.log
    return worlds


@pytest.mark.parametrize("name", MATERIAL)
def test_r36_a_wrong_secret_starts_nothing_and_changes_nothing(started, certificates, name):
    world = started[name]
    wrong = [world.sources["wrong"]]
    if name == "quorum":
        wrong = [world.secret[0], f"cara={world.sources['wrong']}"]
    said = {"file": "passphrase is not", "quorum": "given for custodian cara is not theirs",
            "pkcs11": "PIN is not the token", "transit": "refuses the token"}  # fmt: skip
    with unchanged(world):
        assert said[name] in refused(world, certificates, secret=wrong)


def test_without_enough_custodians_or_their_device_nothing_starts(started, certificates):
    world = started["quorum"]
    with unchanged(world):
        said = refused(world, certificates, secret=world.secret[:1])
        assert "needs the passphrases of 2 of its 3 custodians, and 1 were given" in said
    device = world.folder / "device.json"
    device.rename(device.with_suffix(".away"))
    with unchanged(world):
        assert "There is no device secret" in refused(world, certificates)
    device.with_suffix(".away").rename(device)


def test_a_key_server_that_is_sealed_or_gone_starts_nothing(started, certificates, key_server):
    world = started["transit"]
    elsewhere = [*world.given[1:], "--keyset-address=https://127.0.0.1:9"]
    with unchanged(world):
        assert "cannot be reached" in refused(world, certificates, given=elsewhere)
        assert "--keyset-address is needed" in refused(world, certificates, given=world.given[1:])
    client: hvac.Client = key_server.client()
    if not client.sys.is_sealed():
        unseal = (key_server.authorities.parent / "log").read_text().partition("Unseal Key: ")[2].split()[0]
        client.sys.seal()
        try:
            with unchanged(world):
                assert "sealed" in refused(world, certificates)
        finally:
            client.sys.submit_unseal_key(unseal)


def test_a_token_that_is_not_named_rightly_starts_nothing(started, certificates, tmp_path):
    world = started["pkcs11"]
    with unchanged(world):
        assert "--keyset-module is needed" in refused(world, certificates, given=[])
        missing = [f"--keyset-module={tmp_path / 'none.so'}"]
        assert "cannot be loaded as a PKCS #11 module" in refused(world, certificates, given=missing)


def test_another_roles_keyset_and_one_without_its_keys_start_nothing(started, certificates, tmp_path):
    world = started["file"]
    device = FileProvider(tmp_path / "device.json", PASSPHRASE)
    other = Keyset.create(tmp_path / "keyset.json", "identity", device)
    mine = world.folder, tmp_path
    before = [everything(folder) for folder in mine]
    given = [f"--device={tmp_path / 'device.json'}"]
    said = refused(world, certificates, keyset=other.path, given=given)
    assert "another role's" in said
    assert [everything(folder) for folder in mine] == before
    for name, change, text in (
        ("empty", lambda keyset: None, "has no key for audit/1"),
        ("destroyed", destroyed, "key for erasures/1 was destroyed"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        keyset = Keyset.create(
            folder / "keyset.json", "broker", FileProvider(folder / "device.json", PASSPHRASE)
        )
        change(keyset)
        before = [everything(folder) for folder in mine]
        given = [f"--device={folder / 'device.json'}"]
        assert text in refused(world, certificates, keyset=keyset.path, given=given)
        assert [everything(folder) for folder in mine] == before


def destroyed(keyset):
    for use in FIRST_KEYS[Role.BROKER]:
        keyset.add(use)
    keyset.destroy(keyset.find("erasures/1").kid)
    assert keyset.keys[-1].state is State.DESTROYED


def test_a_credential_of_the_service_manager_opens_it(started, tmp_path, monkeypatch):
    world = started["file"]
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "broker").write_text(PASSPHRASE)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    options = settings.Options(
        keyset=world.folder / "keyset.json", device=world.folder / "device.json",
        secret=["credential:broker"], checkpoints=tmp_path / "checkpoints",
        officer_key=world.folder / "officer.pem",
    )  # fmt: skip
    (tmp_path / "checkpoints").mkdir()
    place = settings.resolve(Role.BROKER, tmp_path, options, make=False)
    (credentials / "broker").chmod(0o440)
    with open_house(place, DOMAIN) as house:
        assert house.keyset.name == "broker"
    (credentials / "broker").chmod(0o444)
    for source, text in (
        ("credential:broker", "open to everybody"),
        ("credential:none", "no credential none"),
        ("credential:../p.txt", "A secret comes from"),
    ):
        with pytest.raises(Exception, match=text):
            open_house(replace(place, given=replace(place.given, secrets=[source])), DOMAIN)
