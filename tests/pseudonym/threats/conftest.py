"""The scene that attackers look at, once for all of them, and copies of what it left that they may change."""

from __future__ import annotations

import pytest

from tests.pseudonym import cluster
from tests.pseudonym.roles.harness import Organisation
from tests.pseudonym.threats import scene


@pytest.fixture(scope="session")
def attacked(tmp_path_factory):
    """Three stores with a council's file in them, on a PostgreSQL server of their own."""
    certificates = tmp_path_factory.mktemp("certificates")
    Organisation().write_all(certificates)
    with (
        cluster.watched() as server,
        scene.played(server, tmp_path_factory.mktemp("threats"), certificates) as played,
    ):
        yield played
