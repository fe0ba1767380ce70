"""The whole study over three real roles: killed at every stage it ends as an undisturbed one does."""

from __future__ import annotations

import io
import json
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from polars.testing import assert_frame_equal

from benchmarks.county.councils import COUNCILS
from benchmarks.county.county import County
from benchmarks.county.presets import PRESETS, REGISTERS
from benchmarks.county.write import delivery_days, write_county
from deploy import apart, study
from deploy.service import Service
from pseudonym.halves import Halves
from pseudonym.hpke import OpeningKey
from pseudonym.roles.callers import SERVER_ROLES
from pseudonym.study.delivery import Delivery
from tests.pseudonym.roles.harness import Organisation, Trio

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FAMILIES, KEY = 240, bytes(range(32))
Step = Callable[[], Any]


def quiet(*_: object) -> None:
    """Nobody looks at the progress."""


@pytest.fixture(scope="module")
def county(tmp_path_factory):
    folder = tmp_path_factory.mktemp("county") / "made"
    write_county(County(FAMILIES, 11, PRESETS["realistic"]), folder)
    return folder


@contextmanager
def roles_of(folder: Path) -> Iterator[tuple[Trio, Service, dict[str, Ed25519PrivateKey]]]:
    """Three roles of their own, and who approves."""
    folder.mkdir()
    certificates, told = folder / "certificates", folder / "governance.json"
    certificates.mkdir()
    Organisation().write_all(certificates)
    keys = {name: Ed25519PrivateKey.generate() for name in study.APPROVERS}
    told.write_text(json.dumps(study.governance(keys)))
    told.chmod(0o600)
    for role in SERVER_ROLES:  # as the demo calls them
        (folder / f"{role}-role").symlink_to(folder / role)
    with Trio(folder, certificates, told) as trio:
        trio.start()
        addresses = {role: f"localhost:{trio.port(role)}" for role in SERVER_ROLES}
        yield trio, Service(addresses, certificates, study.PROJECT, study.PURPOSE), keys
        trio.stop()


def steps(service: Service, county: Path) -> Iterator[Step]:
    """The stages up to the analysis file, one after the other."""
    yield partial(study.begin, service)
    for day in delivery_days():
        for council in COUNCILS:
            sent = dict[str, str]()
            found = study.look_through(county, council, day)

            def deliver(found: Delivery = found, sent: dict[str, str] = sent) -> None:
                sent["id"] = study.deliver(service, found, KEY, quiet).submission

            yield deliver
            yield partial(study.join, service, sent["id"], quiet)
    for register in REGISTERS:
        sent = dict[str, str]()
        halves, _ = study.extract(county, register, KEY)

        def send(register: str = register, halves: Halves = halves, sent: dict[str, str] = sent) -> None:
            sent["id"], _ = study.send_extract(service, register, halves, f"{register}-1", quiet)

        yield send
        yield partial(study.link, service, sent["id"], register, delivery_days()[-1], quiet)


def released(folder: Path, service: Service, keys: dict[str, Ed25519PrivateKey]) -> dict[str, pl.DataFrame]:
    """The tables of the analysis file, without the numbers."""
    opening, _ = OpeningKey.generate()
    signing = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    text = Path(study.__file__).with_name("analysis.toml").read_text()
    text = text.format(sealing=opening.public.hex(), signing=signing.hex())
    # So few people are no file that anybody would approve: what is compared here is what comes out.
    head, age_and_role, *_ = text.split("[[sets]]")
    text = head + "[[sets]]" + age_and_role.replace("= 10", "= 3").replace("0.05", "0.2")
    apart.settled(folder)
    content = study.release(service, text, keys)[1](opening)
    tables = {
        name.removesuffix(".parquet"): pl.read_parquet(io.BytesIO(data))
        for name, data in content.files.items()
        if name.endswith(".parquet")
    }
    return {
        name: frame.drop("person", "family", strict=False).sort(pl.all()) for name, frame in tables.items()
    }


def killing(trio: Trio, step: Step, chance: random.Random) -> str:
    """Run a step, kill a role somewhere within it, start it again; which it was."""
    role = chance.choice(SERVER_ROLES)
    ended, failed = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            step()
        except BaseException as error:
            failed.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    ended.wait(chance.choice((0.01, 0.05, 0.2, 0.5, 1.0)))
    trio.servers[role].process.send_signal(signal.SIGKILL)
    trio.servers[role].process.wait(30)
    trio.start(role)
    thread.join(300)
    assert not thread.is_alive()
    if failed:
        raise failed[0]
    return role


@pytest.fixture(scope="module")
def undisturbed(county, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "roles"
    with roles_of(folder) as (_, service, keys):
        for step in steps(service, county):
            step()
        return released(folder, service, keys)


def test_r78_a_study_that_is_killed_at_every_stage_ends_as_an_undisturbed_one(undisturbed, county, tmp_path):
    chance = random.Random(5)
    folder = tmp_path / "roles"
    with roles_of(folder) as (trio, service, keys):
        killed = [killing(trio, step, chance) for step in steps(service, county)]
        assert set(killed) == set(SERVER_ROLES)
        tables = released(folder, service, keys)
    assert tables.keys() == undisturbed.keys()
    assert undisturbed["persons"].height > 400
    assert undisturbed["npd"].height > 500
    # Who is in two families at once counts in one of them, which depends on ids that are drawn at random.
    families = tables.pop("families")
    assert abs(families.height - undisturbed["families"].height) <= 5
    for name, frame in tables.items():
        assert_frame_equal(frame, undisturbed[name])
