"""Who may send which register and dataset: those whom the governance file names."""

from __future__ import annotations

import asyncio
import json
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudonym.errors import InputError
from pseudonym.lawful.cover import Cover
from pseudonym.roles import callers, governance, serving
from pseudonym.roles.attribute_service import AttributeServicer
from pseudonym.roles.callers import DEVELOPMENT, Caller, Role
from pseudonym.roles.refusals import CallerRefusedError, StreamError
from pseudonym.roles.senders import Holders, bound
from pseudonym.roles.submissions import Submissions
from pseudonym.v1 import attribute_pb2, common_pb2

NOBODY: Any = None
CAROL = Caller("tests.example", Role.DATASET_HOLDER, "carol")
NINA = Caller("tests.example", Role.DATASET_HOLDER, "nina")
HOLDERS = [
    {"project": "tf-2026", "dataset": "wpls", "person": "carol", "recipient": "dwp-extract"},
    {"project": "tf-2026", "dataset": "npd", "person": "nina"},
]


def told(tmp_path, content=HOLDERS):
    """What a role reads in its governance file."""
    path = tmp_path / "governance.json"
    path.write_text(json.dumps({"holders": content}))
    return Holders(governance.read(path).holders)


def send(tmp_path, caller, header, method, kind):
    """What a header alone meets: a refusal, or, where it is let in, that nothing follows it."""
    servicer = AttributeServicer(
        NOBODY, Submissions(tmp_path / "submissions"), NOBODY, NOBODY, told(tmp_path), Cover()
    )

    async def call():
        callers.enter(caller)

        async def messages():
            yield kind(header=header)

        await getattr(servicer, method)(messages(), None)

    asyncio.run(call())


def header_of(project, dataset, recipient=""):
    mandate = common_pb2.Mandate(request_id="request-1", project=project, purpose="evaluation")
    return attribute_pb2.SubmissionHeader(
        mandate=mandate, batch_id="b-1", dataset=dataset, recipient=recipient
    )


@pytest.mark.parametrize(
    ("caller", "project", "dataset", "recipient", "let_in"),
    [
        (CAROL, "tf-2026", "wpls", "dwp-extract", True),
        (CAROL, "tf-2026", "npd", "dwp-extract", False),
        (CAROL, "tf-2026", "wpls", "nis-analysis", False),
        (CAROL, "tf-2027", "wpls", "dwp-extract", False),
        (NINA, "tf-2026", "npd", "dwp-extract", False),
        (Caller("tests.example", Role.DATASET_HOLDER, "dave"), "tf-2026", "wpls", "dwp-extract", False),
        (DEVELOPMENT, "tf-2026", "wpls", "nis-analysis", True),
    ],
)
def test_only_whom_the_file_names_sends_under_a_recipients_numbers(
    tmp_path, caller, project, dataset, recipient, let_in
):
    header = header_of(project, dataset, recipient)
    with pytest.raises(StreamError if let_in else CallerRefusedError):
        send(tmp_path, caller, header, "AttachDataset", attribute_pb2.AttachDatasetRequest)
    assert bool(list((tmp_path / "submissions").iterdir())) == let_in


@pytest.mark.parametrize(
    ("caller", "project", "dataset", "let_in"),
    [
        (CAROL, "tf-2026", "wpls", True),
        (CAROL, "tf-2026", "npd", False),
        (CAROL, "tf-2027", "wpls", False),
        (NINA, "tf-2026", "npd", True),
        (NINA, "tf-2026", "wpls", False),
        (Caller("tests.example", Role.DATASET_HOLDER, "dave"), "tf-2026", "wpls", False),
        (Caller("tests.example", Role.COUNCIL, "dave"), "tf-2026", "family-file", True),
        (Caller("tests.example", Role.COUNCIL, "carol"), "tf-2026", "wpls", False),
        (Caller("tests.example", Role.COUNCIL, "carol"), "tf-2027", "wpls", True),
        (DEVELOPMENT, "tf-2027", "wpls", True),
    ],
)
def test_r31_a_holder_sends_its_own_datasets_by_row_reference_and_no_other(
    tmp_path, caller, project, dataset, let_in
):
    header, kind = header_of(project, dataset), attribute_pb2.SubmitAttributesRequest
    with pytest.raises(StreamError if let_in else CallerRefusedError):
        send(tmp_path, caller, header, "SubmitAttributes", kind)
    assert bool(list((tmp_path / "submissions").iterdir())) == let_in


@pytest.mark.parametrize(
    ("sender", "project", "register", "let_in"),
    [
        (str(CAROL), "tf-2026", "wpls", True),
        (str(CAROL), "tf-2026", "npd", False),
        (str(CAROL), "tf-2027", "wpls", False),
        ("spiffe://tests.example/role/council/carol", "tf-2026", "wpls", False),
        (str(DEVELOPMENT), "tf-2026", "wpls", False),  # from when the same folder was tried out
        ("", "tf-2026", "wpls", False),
    ],
)
def test_an_extract_is_linked_only_while_its_sender_holds_the_register(
    tmp_path, sender, project, register, let_in
):
    callers.enter(Caller("tests.example", Role.LINKAGE_OPERATOR, "alice"))
    with nullcontext() if let_in else pytest.raises(CallerRefusedError):
        told(tmp_path).check_sender(sender, project, register)


def test_what_the_development_identity_sent_it_links(tmp_path):
    callers.enter(DEVELOPMENT)
    told(tmp_path).check_sender(str(DEVELOPMENT), "tf-2026", "wpls")


@pytest.mark.parametrize(
    "content",
    [
        [{"project": "tf-2026", "recipient": "dwp-extract", "person": "carol"}],
        [{"project": "tf-2026", "dataset": "wpls", "person": "carol", "register": "wpls"}],
        [{"project": "tf-2026", "dataset": "WPLS 1", "person": "carol"}],
    ],
)
def test_a_file_that_names_no_dataset_beside_a_holder_is_refused(tmp_path, content):
    with pytest.raises(InputError):
        told(tmp_path, content)


@given(
    st.lists(st.binary(min_size=16, max_size=16), min_size=1, unique=True),
    st.lists(st.text(st.characters(codec="ascii")), min_size=2, max_size=2, unique=True),
)
def test_a_reference_is_its_senders_alone(refs, names):
    one, other = (bound(name, refs) for name in names)
    assert one == bound(names[0], refs)
    assert len({*one, *other, *refs}) == 3 * len(refs)
    assert set(map(len, one)) == {16}


@pytest.mark.parametrize("make", [True, False])
def test_where_nobody_decided_nobody_sends_in_production_and_everybody_in_development(make):
    class House:
        class settings:
            governance = None

    House.settings.make = make  # type: ignore[attr-defined]
    house: Any = House
    with nullcontext() if make else pytest.raises(CallerRefusedError):
        serving.holders(house).check(CAROL, "tf-2026", "wpls")
