"""What a call stands on, before anything is done for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from linker.v1 import common_pb2, linkage_pb2, match_pb2
from pseudonym import clock
from pseudonym.errors import LawError
from pseudonym.lawful.cover import Cover
from pseudonym.lawful.records import ProjectRecord
from pseudonym.roles.callers import Caller, Role
from pseudonym.roles.folding import Folding
from pseudonym.roles.passage import Account, Passage, Terms
from tests.pseudonym.roles.harness import PURPOSE, lawful

PROJECT = "tf-2026"
PUT = "/linker.v1.MatchService/PutRecords"
NO_PURPOSE: dict[str, Any] = {
    "/linker.v1.MatchService/Match": match_pb2.MatchRequest,
    "/linker.v1.MatchService/MatchStream": match_pb2.MatchStreamRequest,
    "/linker.v1.MatchService/MatchUpload": match_pb2.MatchUploadRequest,
    "/linker.v1.LinkageService/ReadLinks": linkage_pb2.ReadLinksRequest,
    "/linker.v1.LinkageService/Explain": linkage_pb2.ExplainRequest,
}


def received(method: str, message: Any, *, required: bool = True, **changes: Any) -> str:
    """How a message is let in: empty, or why it is refused."""
    record = ProjectRecord.read(PROJECT, lawful("npd", **changes))
    terms = {Role.IDENTITY: Terms({PROJECT: record.end}, Cover({PROJECT: record}, required))}
    caller = Caller("tests.example", Role.LINKAGE_OPERATOR, "olive")
    try:
        Passage(method, caller, Account(), {}, terms, Folding()).received(message)
    except LawError as refused:
        return refused.reason
    return ""


def put(project: str, purpose: str) -> match_pb2.PutRecordsRequest:
    mandate = common_pb2.Mandate(request_id="put-1", project=project, purpose=purpose)
    return match_pb2.PutRecordsRequest(mandate=mandate)


def expired() -> list[dict[str, Any]]:
    yesterday = (clock.today() - timedelta(days=1)).isoformat()
    named: list[dict[str, Any]] = lawful("npd")["accreditations"]
    return [one | ({"expires": yesterday} if one["of"] == "processor" else {}) for one in named]


def test_r68_records_are_put_into_a_reference_for_a_purpose_with_a_basis_alone():
    assert received(PUT, put(PROJECT, PURPOSE)) == ""
    assert received(PUT, put(PROJECT, "curiosity")) == "BASIS_MISSING"
    assert received(PUT, put("another", PURPOSE)) == "BASIS_MISSING"
    assert received(PUT, put(PROJECT, PURPOSE), accreditations=expired()) == "ACCREDITATION_EXPIRED"


@pytest.mark.parametrize("method", NO_PURPOSE)
def test_r68_what_names_no_purpose_needs_a_project_with_one_that_is_covered(method):
    kind = NO_PURPOSE[method]
    message = kind(header={"project": PROJECT}) if hasattr(kind(), "header") else kind(project=PROJECT)
    other = kind(header={"project": "another"}) if hasattr(kind(), "header") else kind(project="another")
    assert received(method, message) == ""
    assert received(method, other) == "BASIS_MISSING"
    assert received(method, other, required=False) == ""
    assert received(method, message, accreditations=[]) == "ACCREDITATION_MISSING"
    assert received(method, message, accreditations=expired()) == "ACCREDITATION_EXPIRED"
