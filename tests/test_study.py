"""The whole study over three real roles: done again, or killed at every stage, it comes to the same.

Two sets of roles have keys of their own, so that ids, numbers and with them the order of the tables differ:
these are random by design. Everything else is held byte for byte.
"""

from __future__ import annotations

import io
import json
import random
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
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
from linker.resources import Table
from pseudonym.halves import Halves
from pseudonym.hpke import OpeningKey
from pseudonym.roles.callers import SERVER_ROLES, Role
from pseudonym.study.delivery import Delivery
from pseudonym.v1 import release_pb2
from tests.analysis import renumbered
from tests.pseudonym.roles.harness import Organisation, Trio

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FAMILIES, KEY = 240, bytes(range(32))
OPENING, _ = OpeningKey.generate()
REASONS = {"npd": "", "hes": study.NHS_NUMBER_REASON}
"""Registers that are linked a second time, and why the NHS number may be used."""
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


@dataclass
class Played:
    """What came of a study.

    Attributes:
        jobs: of each register, its submission and the job that linked it.
        links: of each register, the links but for the ids in the vault.
        manifests: of the analysis file, built twice.
        files: of the analysis file.
        again: of each register, whether it was linked a second time to the same file, byte for byte.
    """

    jobs: dict[str, tuple[str, str]] = field(default_factory=dict)
    links: dict[str, bytes] = field(default_factory=dict)
    manifests: list[dict[str, Any]] = field(default_factory=list)
    files: Mapping[str, bytes] = field(default_factory=dict)
    again: dict[str, bool] = field(default_factory=dict)

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables of the analysis file."""
        return {
            name.removesuffix(".parquet"): pl.read_parquet(io.BytesIO(data))
            for name, data in self.files.items()
            if name.endswith(".parquet")
        }


def steps(service: Service, county: Path, played: Played) -> Iterator[Step]:
    """The stages up to the analysis file, one after the other."""
    yield partial(study.begin, service)
    for day in delivery_days():
        for council in COUNCILS:
            delivered = list[study.Sent]()
            found = study.look_through(county, council, day)

            def deliver(found: Delivery = found, delivered: list[study.Sent] = delivered) -> None:
                delivered[:] = [study.deliver(service, found, KEY, quiet)]

            yield deliver
            yield partial(study.join, service, delivered[0], quiet)
    for register in REGISTERS:
        sent = dict[str, str]()
        halves, _ = study.extract(county, register, KEY)

        def send(register: str = register, halves: Halves = halves, sent: dict[str, str] = sent) -> None:
            sent["id"], _ = study.send_extract(service, register, halves, f"{register}-1", quiet)

        def link(register: str = register, sent: dict[str, str] = sent) -> None:
            job, _ = study.link(service, sent["id"], register, delivery_days()[-1], quiet)
            played.jobs[register] = (sent["id"], job.job_id)
            found = study.links_of(service, job).drop("left_id")
            played.links[register] = found.sort(pl.all()).write_csv().encode()

        yield send
        yield link


def linked_again(service: Service, register: str, submission: str, first: str) -> bool:
    """Link a register once more as it was, under the same vault; whether both files are the same bytes."""
    with service.linker(Role.LINKAGE_OPERATOR) as client:
        again = client.start_register(
            submission,
            register,
            day=date.fromisoformat(delivery_days()[-1]),
            since=date.fromisoformat(study.SINCE),
            nhs_number_reason=REASONS[register],
        )
        assert again.job_id != first
        assert client.wait(again.job_id).problem is None
        one, other = (
            [client.read_links(job, table).write_csv() for table in (Table.LINKS, Table.REVIEW)]
            for job in (first, again.job_id)
        )
    return one == other


def release(folder: Path, service: Service, keys: dict[str, Ed25519PrivateKey], played: Played) -> None:
    """Have the analysis file built twice, and open the second."""
    text = Path(study.__file__).with_name("analysis.toml").read_text()
    text = text.format(sealing=OPENING.public.hex(), signing="00" * 32)
    # So few people are no file that anybody would approve: what is compared here is what comes out.
    head, age_and_role, *_ = text.split("[[sets]]")
    text = head + "[[sets]]" + age_and_role.replace("= 10", "= 3").replace("0.05", "0.2")
    apart.settled(folder)
    with service.at_attributes(Role.DATA_PROTECTION_OFFICER) as officer:
        asked = release_pb2.CreateReleaseRequest(mandate=study._mandate(), specification=text.encode())
        officer.call(f"{study.RELEASES}CreateRelease", asked, release_pb2.CreateReleaseResponse)
        checking = release_pb2.CheckReleaseRequest(mandate=study._mandate(), name="nis-2024")
        made = officer.call(f"{study.RELEASES}CheckRelease", checking, release_pb2.CheckReleaseResponse)
    content = study.release(service, text, keys)[1](OPENING)
    played.manifests = [json.loads(made.release.manifest), json.loads(content.manifest)]
    played.files = content.files


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
    folder, played = tmp_path_factory.mktemp("undisturbed") / "roles", Played()
    with roles_of(folder) as (_, service, keys):
        for step in steps(service, county, played):
            step()
        release(folder, service, keys, played)
        played.again = {one: linked_again(service, one, *played.jobs[one]) for one in REASONS}
    return played


def test_r78_the_same_submission_linked_again_gives_the_same_file_byte_for_byte(undisturbed):
    assert undisturbed.again == {"npd": True, "hes": True}
    assert all(len(links.splitlines()) > 10 for links in undisturbed.links.values())


def test_r78_an_analysis_file_built_again_is_the_same_but_for_when_it_was_built(undisturbed):
    first, second = undisturbed.manifests
    assert first["files"] == second["files"]  # their digests
    assert len(first["files"]) > 6
    differing = {name for name in first | second if first[name] != second[name]}
    assert differing <= {"built", "report"}


def test_r78_a_study_that_is_killed_at_every_stage_ends_as_an_undisturbed_one(undisturbed, county, tmp_path):
    chance, played = random.Random(5), Played()
    folder = tmp_path / "roles"
    with roles_of(folder) as (trio, service, keys):
        killed = [killing(trio, step, chance) for step in steps(service, county, played)]
        assert set(killed) == set(SERVER_ROLES)
        release(folder, service, keys, played)
    assert played.links == undisturbed.links
    for name in ("dictionary.csv", "quality.json", "release.toml"):
        assert played.files[name] == undisturbed.files[name], name
    mine, theirs = played.tables(), undisturbed.tables()
    assert theirs["persons"].height > 400
    assert theirs["npd"].height > 500
    assert set(mine["persons"]["person"]).isdisjoint(theirs["persons"]["person"])
    mine, theirs = renumbered(mine), renumbered(theirs)
    assert mine.keys() == theirs.keys()
    for name, frame in mine.items():
        assert_frame_equal(frame, theirs[name])
