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
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import chain
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
from pseudonym.roles.refusals import PeerUnavailableError
from pseudonym.study.delivery import Delivery
from tests.analysis import renumbered
from tests.pseudonym.roles.harness import Organisation, Trio

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FAMILIES, KEY = 240, bytes(range(32))
PATIENCE = 240.0  # seconds: a role that was killed is a while until it listens where the machine is busy
OPENING, _ = OpeningKey.generate()
REASONS = {"npd": "", "hes": study.NHS_NUMBER_REASON}
"""Registers that are linked a second time, and why the NHS number may be used."""


@dataclass(frozen=True)
class Step:
    """A step of the study.

    Attributes:
        kind: what is done.
        run: does it; done again it changes nothing.
        what: to which council or register.
    """

    kind: str
    run: Callable[[], Any]
    what: str = ""


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
        yield trio, Service(addresses, certificates, study.PROJECT, study.PURPOSE, PATIENCE), keys
        trio.stop()


@dataclass
class Played:
    """What came of a study.

    Attributes:
        seconds: that each step took, by its kind and what it was done to.
        jobs: of each register, its submission and the job that linked it.
        links: of each register, the links but for the ids in the vault.
        manifests: of the analysis file, built twice.
        files: of the analysis file.
        again: of each register, whether it was linked a second time to the same file, byte for byte.
    """

    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
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
    yield Step("begin", partial(study.begin, service))
    for day in delivery_days():
        for council in COUNCILS:
            delivered = list[study.Sent]()
            found = study.look_through(county, council, day)

            def deliver(found: Delivery = found, delivered: list[study.Sent] = delivered) -> None:
                delivered[:] = [study.deliver(service, found, KEY, quiet)]

            yield Step("deliver", deliver, f"{council} {day}")
            yield Step("join", partial(study.join, service, delivered[0], quiet), f"{council} {day}")
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

        yield Step("send", send, register)
        yield Step("link", link, register)


def release(
    folder: Path, service: Service, keys: dict[str, Ed25519PrivateKey], played: Played
) -> Iterator[Step]:
    """The stages from there to the analysis file at its recipient."""
    text = Path(study.__file__).with_name("analysis.toml").read_text()
    text = text.format(sealing=OPENING.public.hex(), signing="00" * 32)
    # So few people are no file that anybody would approve: what is compared here is what comes out.
    head, age_and_role, *_ = text.split("[[sets]]")
    text = head + "[[sets]]" + age_and_role.replace("= 10", "= 3").replace("0.05", "0.2")
    name = "nis-2024"

    def check() -> None:
        manifest = study.check_release(service, name).manifest
        played.manifests.append(json.loads(manifest))
        papers.update({one: study.signed(manifest, one, key) for one, key in keys.items()})

    def approve(one: str) -> None:
        study.approve_release(service, name, one, papers[one])

    def read() -> None:
        until = time.monotonic() + 60
        while True:  # an answer that broke off is asked for again
            try:
                played.files = study.read_release(service, name, OPENING).files
                return
            except PeerUnavailableError:
                assert time.monotonic() < until
                time.sleep(0.2)

    papers = dict[str, bytes]()
    yield Step("settle", partial(apart.settled, folder))
    yield Step("create", partial(study.create_release, service, text))
    yield Step("check", check)
    for one in study.APPROVERS:
        yield Step("approve", partial(approve, one), one)
    yield Step("read", read)


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


def timed(step: Step, played: Played) -> None:
    """Run a step, and note how long it took."""
    began = time.monotonic()
    step.run()
    played.seconds[step.kind, step.what] = time.monotonic() - began


def victims(step: Step, number: int) -> list[tuple[Role, ...]]:
    """Who dies in each run of a step.

    Of steps that come often another role dies each time; what comes once is done for each role anew, first
    for the one that does it; and in what is over once it has ended, all die one after the other.
    """
    match step.kind:
        case "deliver" | "join" | "send" | "link":
            return [(SERVER_ROLES[number % len(SERVER_ROLES)],)]
        case "settle":
            return [(Role.ATTRIBUTES, Role.BROKER, Role.IDENTITY)]
        case _:
            return [(Role.ATTRIBUTES,), (Role.BROKER,), (Role.IDENTITY,)]


def killing(trio: Trio, step: Step, roles: Sequence[Role], waits: Sequence[float]) -> list[bool]:
    """Run a step, and kill roles one after the other within it, each of which is started again.

    Args:
        trio: the roles.
        step: what they do.
        roles: who is killed.
        waits: of each the seconds before that, from the beginning or from when the last was there again.

    Returns:
        Of each role whether the step had not ended yet.
    """
    ended, failed, inside = threading.Event(), list[BaseException](), list[bool]()

    def run() -> None:
        try:
            step.run()
        except BaseException as error:
            failed.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    for role, wait in zip(roles, waits, strict=True):
        inside.append(not ended.wait(wait))
        trio.servers[role].process.send_signal(signal.SIGKILL)
        trio.servers[role].process.wait(30)
        trio.start(role)
    thread.join(300)
    assert not thread.is_alive()
    if failed:
        raise failed[0]
    return inside


@pytest.fixture(scope="module")
def undisturbed(county, tmp_path_factory):
    folder, played = tmp_path_factory.mktemp("undisturbed") / "roles", Played()
    with roles_of(folder) as (_, service, keys):
        for step in steps(service, county, played):
            timed(step, played)
        for step in release(folder, service, keys, played):
            timed(step, played)
            if step.kind == "check":
                step.run()
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
    killed: dict[str, list[tuple[Role, bool]]] = {kind: [] for kind, _ in undisturbed.seconds}
    with roles_of(folder) as (trio, service, keys):
        for step in chain(steps(service, county, played), release(folder, service, keys, played)):
            took = undisturbed.seconds[step.kind, step.what]
            for roles in victims(step, len(killed[step.kind])):
                waits = [chance.uniform(0, 0.7 * took / len(roles)) for _ in roles]
                inside = killing(trio, step, roles, waits)
                killed[step.kind] += zip(roles, inside, strict=True)
    # Each role in each kind of step; half of the kills at least came before its end, and some in all that
    # takes seconds: what is created, approved and read is so within a moment, which a kill may miss.
    assert all({role for role, _ in some} == set(SERVER_ROLES) for some in killed.values())
    within = {kind: [inside for _, inside in some] for kind, some in killed.items()}
    assert all(any(within[kind]) for kind in ("deliver", "join", "send", "link", "settle", "check")), within
    assert 2 * sum(map(sum, within.values())) >= sum(map(len, within.values())), within
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
