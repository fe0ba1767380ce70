"""A council's two halves go to the roles by the clients that there are, and find together again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pseudonym.roles.callers import Role
from pseudonym.roles.client import AttributesClient, BrokerClient
from pseudonym.roles.peer import PeerTls
from pseudonym.study import files
from pseudonym.study.declaring import dataset
from pseudonym.study.delivery import Division, check, divide
from pseudonym.study.schemes import scheme
from tests.pseudonym.roles.harness import PURPOSE, Organisation, governance, join, three
from tests.pseudonym.roles.test_processes import eventually
from tests.pseudonym.study.conftest import COUNCILS, DAYS
from tests.pseudonym.study.made_up import KEY

pytestmark = pytest.mark.slow
PROJECT: dict[str, Any] = {"project": "tf-2026", "purpose": PURPOSE}


def bearer(certificates: Path, name: str) -> PeerTls:
    ends = ("authority.pem", f"{name}.pem", f"{name}.key")
    return PeerTls(*((certificates / end).read_bytes() for end in ends))


def stored(folder: Path) -> int:
    path = folder / "attributes" / "store.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        rows, halves = (
            database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("a_row", "a_half")
        )
    return 0 if halves else int(rows)


def test_r1_the_halves_of_three_councils_are_taken_joined_and_stored_once(
    tmp_path_factory, realistic, layouts
):
    folder, certificates = (tmp_path_factory.mktemp(name) for name in ("sent", "papers"))
    Organisation().write_all(certificates)
    made: dict[str, Division] = {}
    for council in COUNCILS:
        frame = files.read(realistic / f"councils/{council}/{DAYS[1]}.parquet")
        made[council] = divide(check(frame, layouts[council], date.fromisoformat(DAYS[1])), KEY)
    with three(folder, certificates, governance=governance(folder)) as roles:
        address = {role: server.address.replace("127.0.0.1", "localhost") for role, server in roles.items()}
        keeper, officer, council_tls = (
            bearer(certificates, name) for name in ("key-custodian", "data-protection-officer", "council")
        )
        with BrokerClient(address[Role.BROKER], tls=keeper, **PROJECT) as broker:
            broker.begin_project()
        with AttributesClient(address[Role.ATTRIBUTES], tls=keeper, **PROJECT) as attributes:
            attributes.open_project()
        with AttributesClient(address[Role.ATTRIBUTES], tls=officer, **PROJECT) as attributes:
            attributes.declare(dataset(scheme("tf-2015"), COUNCILS))
        leaving = 0
        for council, division in made.items():
            who, what, batch = (
                division.halves.identifiers, division.halves.attributes, division.receipt["batch"],
            )  # fmt: skip
            with AttributesClient(address[Role.ATTRIBUTES], tls=council_tls, **PROJECT) as attributes:
                for _ in range(2):
                    assert attributes.submit(what, batch_id=batch, dataset="families").rows == what.height
            joined = join(roles[Role.IDENTITY], certificates, who, batch, source=council)
            assert 0 < joined["new"] <= who.height
            leaving += what.height
            eventually(lambda total=leaving: stored(folder / Role.ATTRIBUTES) == total)
        # Divided again, it is the same batch: nothing comes in twice.
        frame = files.read(realistic / f"councils/fenham/{DAYS[1]}.parquet")
        again = divide(check(frame, layouts["fenham"], date.fromisoformat(DAYS[1])), KEY)
        assert again.receipt["batch"] == made["fenham"].receipt["batch"]
        assert again.halves.attributes.equals(made["fenham"].halves.attributes)
        with AttributesClient(address[Role.ATTRIBUTES], tls=council_tls, **PROJECT) as attributes:
            batch, half = again.receipt["batch"], again.halves.attributes
            assert attributes.submit(half, batch_id=batch, dataset="families").rows == half.height
        assert stored(folder / Role.ATTRIBUTES) == leaving
