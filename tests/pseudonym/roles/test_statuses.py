"""Every reason that can travel is in the definitions, and what is the server's own affair does not travel."""

from __future__ import annotations

import re

import polars as pl
import pytest

import server as program
from pseudonym import errors
from pseudonym.files import locked, read_secret_file, replace_file
from pseudonym.roles import refusals, statuses
from pseudonym.v1 import common_pb2
from pseudonym.values import ValuesRefused
from pseudonym.wayback import Refusal
from tests.service.harness import ROOT

DEFINED = {name.removeprefix("ERROR_REASON_") for name in common_pb2.ErrorReason.keys()}  # noqa: SIM118


def kinds(kind):
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


ALL = sorted(set(kinds(errors.PseudonymError)), key=lambda kind: kind.__name__)


def made(kind):
    if kind is ValuesRefused:
        return ValuesRefused(pl.DataFrame({"row": [0], "column": ["score"], "reason": ["not_in_list"]}))
    if kind is errors.RequestRefusedError:
        return kind("QUOTA", "Said.")
    if kind is errors.LawError:
        return kind("BASIS_MISSING", "Said.")
    return kind("Said.")


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_its_status(kind):
    error = made(kind)
    details = program.describe(error, "call", "/pseudonym.v1.KeyService/ListKeys")
    assert details.domain == "pseudonym.v1"
    if statuses.code_of(error) == statuses.INTERNAL:
        assert "Said" not in details.message
        assert details.reason == "INTERNAL"
    else:
        assert details.message == error.message
        assert details.reason in DEFINED


def test_paths_of_the_servers_files_do_not_travel(tmp_path):
    with locked(tmp_path), pytest.raises(errors.KeysetError) as written:
        replace_file(tmp_path / "none" / "att-1.json", b"")
    with pytest.raises(errors.KeysetError) as read:
        read_secret_file(tmp_path / "none", "keyset")
    with pytest.raises(errors.KeysetError) as lock, locked(tmp_path / "none"):
        pass
    for caught in (written, read, lock):
        assert str(tmp_path) in caught.value.message
        said = program.describe(caught.value, "call", "/pseudonym.v1.AttributeService/AttachDataset")
        assert said.reason == "INTERNAL"
        assert str(tmp_path) not in f"{said.message} {said.help}"
    assert statuses.code_of(errors.KeyUseError("Said.")) == "FAILED_PRECONDITION"


def test_every_refusal_of_the_way_back_and_of_the_gate_is_defined():
    assert {refusal.value for refusal in Refusal} <= DEFINED
    gate = (ROOT / "linker" / "gate.py").read_text() + (ROOT / "linker" / "arrow.py").read_text()
    named = set(re.findall(r"\b(?:Exhausted|Invalid|Unknown)\(\s*\"([A-Z_]+)\"", gate))
    assert {"BUSY", "DEADLINE_REQUIRED", "METHOD_UNKNOWN", "CHUNK_TOO_LARGE"} <= named <= DEFINED


def test_a_refusal_says_the_field_and_when_to_try_again():
    wrong = refusals.FieldError("Said.", field="mandate.project")
    assert program.describe(wrong, "call", "/pseudonym.v1.X/Y").field == "mandate.project"
    away = refusals.PeerUnavailableError("Said.")
    assert program.describe(away, "call", "/pseudonym.v1.X/Y").retry_after == 5.0
    assert program.describe(away, "call", "/linker.v1.X/Y").domain == "linker.v1"
