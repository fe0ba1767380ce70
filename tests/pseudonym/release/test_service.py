"""What the servicer shows to whom: a researcher sees what names them, and no report."""

from __future__ import annotations

import asyncio
import base64
import json
from types import SimpleNamespace
from typing import Any

import pytest

from pseudonym.errors import NotFoundError
from pseudonym.release import bundle
from pseudonym.roles import callers, passage
from pseudonym.roles.callers import Caller, Role
from pseudonym.roles.refusals import CallerRefusedError, FieldError
from pseudonym.roles.release_service import ReleaseServicer
from pseudonym.roles.repeats import Repeats
from pseudonym.v1 import common_pb2, release_pb2
from tests.pseudonym.release.scene import scene
from tests.pseudonym.separation.parts import PROJECT

MANDATE = common_pb2.Mandate(request_id="request-1", project=PROJECT, purpose="evaluation-2026")


@pytest.fixture(scope="module")
def set_up(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    with scene(f"sqlite:///{folder / 'store.db'}", folder) as made:
        yield made


def as_one(set_up, role, person, method, request, repeats=None):
    """A call as somebody."""
    house: Any = SimpleNamespace(store=SimpleNamespace(now=lambda: int(set_up.clock.now)), repeats=repeats)
    servicer: Any = ReleaseServicer(house, set_up.desk)

    async def call():
        callers.enter(Caller("tests.example", role, person))
        passage._account.set(passage.Account())
        answer = getattr(servicer, method)(request, None)
        if method != "ReadRelease":
            return await answer, passage.account()
        return b"".join([one.content async for one in answer]), passage.account()

    return asyncio.run(call())


def test_a_researcher_sees_what_names_them_and_neither_report_nor_specification(set_up):
    record = set_up.checked()
    asked = release_pb2.GetReleaseRequest(project=PROJECT, name=record.name)
    officer, account = as_one(set_up, Role.DATA_PROTECTION_OFFICER, "olive", "GetRelease", asked)
    assert officer.release.report.decode() == record.report
    assert officer.release.specification.decode() == record.spec
    assert (account.count, account.details["release"]) == (400, "nis-1")
    named, _ = as_one(set_up, Role.RESEARCHER, "rita", "GetRelease", asked)
    assert (named.release.report, named.release.specification, named.release.manifest) == (b"", b"", b"")
    with pytest.raises(NotFoundError):
        as_one(set_up, Role.RESEARCHER, "mallory", "GetRelease", asked)
    listing = release_pb2.ListReleasesRequest(project=PROJECT)
    assert len(as_one(set_up, Role.RESEARCHER, "rita", "ListReleases", listing)[0].releases) == 1
    assert len(as_one(set_up, Role.RESEARCHER, "mallory", "ListReleases", listing)[0].releases) == 0
    assert len(as_one(set_up, Role.APPROVER, "bob", "ListReleases", listing)[0].releases) == 1


def test_an_approval_comes_from_the_one_who_gave_it(set_up):
    record = set_up.checked()
    paper = set_up.approval(record, "bob").to_file()
    asked = release_pb2.ApproveReleaseRequest(mandate=MANDATE, name=record.name, approval=paper)
    with pytest.raises(CallerRefusedError):
        as_one(set_up, Role.APPROVER, "dora", "ApproveRelease", asked)
    torn = release_pb2.ApproveReleaseRequest(mandate=MANDATE, name=record.name, approval=paper[:-2])
    with pytest.raises(FieldError):
        as_one(set_up, Role.APPROVER, "bob", "ApproveRelease", torn)
    answer, account = as_one(set_up, Role.APPROVER, "bob", "ApproveRelease", asked)
    assert list(answer.release.approvals) == [paper]
    assert account.details["manifest"] == set_up.approval(record, "bob").digest.hex()


def test_reading_tells_who_is_named_only(set_up):
    record = set_up.checked()
    for name in ("bob", "dora"):
        set_up.desk.approve(PROJECT, record.name, MANDATE, set_up.approval(record, name))
    asked = release_pb2.ReadReleaseRequest(mandate=MANDATE, name=record.name)
    with pytest.raises(NotFoundError):
        as_one(set_up, Role.RESEARCHER, "mallory", "ReadRelease", asked)
    content, account = as_one(set_up, Role.RESEARCHER, "rita", "ReadRelease", asked)
    assert bundle.opened(content, set_up.opening).manifest.decode() == record.manifest
    assert (account.count, account.details["state"]) == (400, "delivered")


def test_what_is_kept_of_a_check_is_neither_specification_nor_report_and_again_it_builds_nothing(
    set_up, tmp_path
):
    text = set_up.changed(('"nis-1"', '"nis-7"'))
    record = set_up.created(text)
    asked = release_pb2.CheckReleaseRequest(mandate=MANDATE, name=record.name)
    with Repeats(tmp_path / "repeats") as repeats:
        first, again = (
            as_one(set_up, Role.DATA_PROTECTION_OFFICER, "olive", "CheckRelease", asked, repeats)[0]
            for _ in range(2)
        )
    assert first == again
    assert (first.release.specification.decode(), bool(first.release.report)) == (text, True)
    (line,) = (tmp_path / "repeats").read_bytes().splitlines()
    kept = release_pb2.CheckReleaseResponse.FromString(base64.b64decode(json.loads(line)[2]))
    assert kept.release == release_pb2.Release(name=record.name, project=PROJECT)
