"""Who may send data under a recipient's numbers: those whom the governance file names."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pseudonym.lawful.cover import Cover
from pseudonym.roles import callers, governance, serving
from pseudonym.roles.attribute_service import AttributeServicer
from pseudonym.roles.callers import DEVELOPMENT, Caller, Role
from pseudonym.roles.refusals import CallerRefusedError, FieldError, StreamError
from pseudonym.roles.submissions import Submissions
from pseudonym.v1 import attribute_pb2, common_pb2

NOBODY: Any = None
CAROL = Caller("tests.example", Role.DATASET_HOLDER, "carol")
HOLDERS = [{"project": "tf-2026", "recipient": "dwp-extract", "person": "carol"}]


def attach(tmp_path, caller, project, recipient, holders):
    """What a header alone meets: a refusal, or, where it is let in, that nothing follows it."""
    servicer = AttributeServicer(
        NOBODY, Submissions(tmp_path / "submissions"), NOBODY, NOBODY, holders, Cover()
    )
    mandate = common_pb2.Mandate(request_id="request-1", project=project, purpose="evaluation")
    header = attribute_pb2.SubmissionHeader(
        mandate=mandate, batch_id="b-1", dataset="attainment", recipient=recipient
    )

    async def call():
        callers.enter(caller)

        async def messages():
            yield attribute_pb2.AttachDatasetRequest(header=header)

        await servicer.AttachDataset(messages(), None)

    asyncio.run(call())


@pytest.mark.parametrize(
    ("caller", "project", "recipient", "let_in"),
    [
        (CAROL, "tf-2026", "dwp-extract", True),
        (CAROL, "tf-2026", "nis-analysis", False),
        (CAROL, "tf-2027", "dwp-extract", False),
        (Caller("tests.example", Role.DATASET_HOLDER, "dave"), "tf-2026", "dwp-extract", False),
        (DEVELOPMENT, "tf-2026", "nis-analysis", True),
    ],
)
def test_only_whom_the_file_names_sends_under_a_recipients_numbers(
    tmp_path, caller, project, recipient, let_in
):
    path = tmp_path / "governance.json"
    path.write_text(json.dumps({"holders": HOLDERS}))
    holders = governance.read(path).holders
    with pytest.raises(StreamError if let_in else CallerRefusedError):
        attach(tmp_path, caller, project, recipient, holders)
    assert bool(list((tmp_path / "submissions").iterdir())) == let_in


def submit(tmp_path, caller, project, dataset="attainment"):
    """What the header of an upload by row reference meets."""
    named = frozenset((one["project"], one["recipient"], one["person"]) for one in HOLDERS)
    servicer = AttributeServicer(
        NOBODY, Submissions(tmp_path / "submissions"), NOBODY, NOBODY, named, Cover()
    )
    mandate = common_pb2.Mandate(request_id="request-1", project=project, purpose="evaluation")
    header = attribute_pb2.SubmissionHeader(mandate=mandate, batch_id="b-1", dataset=dataset)

    async def call():
        callers.enter(caller)

        async def messages():
            yield attribute_pb2.SubmitAttributesRequest(header=header)

        await servicer.SubmitAttributes(messages(), None)

    asyncio.run(call())


@pytest.mark.parametrize(
    ("caller", "project", "let_in"),
    [
        (CAROL, "tf-2026", True),
        (CAROL, "tf-2027", False),
        (Caller("tests.example", Role.DATASET_HOLDER, "dave"), "tf-2026", False),
        (Caller("tests.example", Role.COUNCIL, "dave"), "tf-2026", True),
        (DEVELOPMENT, "tf-2027", True),
    ],
)
def test_r31_a_holder_of_the_project_sends_by_row_reference_too(tmp_path, caller, project, let_in):
    with pytest.raises(StreamError if let_in else CallerRefusedError):
        submit(tmp_path, caller, project)
    with pytest.raises(FieldError if let_in else CallerRefusedError):
        submit(tmp_path, caller, project, dataset="links")


@pytest.mark.parametrize(("make", "expected"), [(True, None), (False, ())])
def test_where_nobody_decided_nobody_sends_in_production_and_everybody_in_development(make, expected):
    class House:
        class settings:
            governance = None

    House.settings.make = make  # type: ignore[attr-defined]
    house: Any = House
    assert serving._holders(house) == expected
