from __future__ import annotations

import os

import pytest

from tests.pseudonym.roles.harness import ENDED, Organisation, governance, three

os.umask(0o022)  # what a test writes is as a careful operator has it, wherever it runs


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """An organisation's authority, and certificates from it for each role."""
    folder = tmp_path_factory.mktemp("certificates")
    Organisation().write_all(folder)
    return folder


@pytest.fixture(scope="session")
def roles(tmp_path_factory, certificates):
    """Three processes on SQLite, for all tests that do not stop them."""
    folder = tmp_path_factory.mktemp("roles")
    told = governance(folder, projects={ENDED: "2026-01-31T00:00:00Z", "tf-2026": "2090-01-01T00:00:00Z"})
    with three(folder, certificates, governance=told) as servers:
        yield servers
