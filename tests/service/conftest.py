from __future__ import annotations

import pytest

from tests.pseudonym.roles.harness import Organisation
from tests.service.harness import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server for all tests that neither stop it nor look at all it holds."""
    with Server(tmp_path_factory.mktemp("service") / "data") as server:
        yield server
        assert server.stop() == 0


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """An organisation's authority, and certificates from it for each role."""
    folder = tmp_path_factory.mktemp("certificates")
    Organisation().write_all(folder)
    return folder
