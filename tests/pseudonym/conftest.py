"""The second implementation, for the tests to compare with."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def oracle() -> ModuleType:
    if shutil.which("openssl") is None:
        pytest.skip("the second implementation computes with the openssl command")
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
    monkeypatch.setattr("pseudonym.provider._MEMORY_KIB", 32)
