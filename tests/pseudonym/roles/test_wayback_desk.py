"""What lies in files for the way back: it goes when a request expires, or with the key of its numbers."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pseudonym.approvers import Approver, Register
from pseudonym.errors import NotFoundError, RequestRefusedError
from pseudonym.requests import Request, approve, digest_of
from pseudonym.roles import callers
from pseudonym.roles.answers import Answers
from pseudonym.roles.callers import Caller, Role
from pseudonym.roles.checks import Mandate
from pseudonym.roles.refusals import CallerRefusedError, CallerUnknownError, FieldError
from pseudonym.roles.spent import Spent
from pseudonym.roles.wayback_desk import WaybackDesk
from pseudonym.urn import Kind, UrnKey
from pseudonym.wayback import Gate

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEYS = {name: Ed25519PrivateKey.generate() for name in ("bea", "carl")}
WORDS = UrnKey(bytes(range(32)), "tf-2026", "nis-analysis", 1).issue_all(Kind.PERSON, [bytes(16)])
OLIVE = Caller("tests.example", Role.DATA_PROTECTION_OFFICER, "olive")
MANDATE = Mandate("request-1", "tf-2026", "evaluation")


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


def request_for(**changes):
    id = os.urandom(16)
    fields: dict[str, Any] = {
        "id": id, "project": "tf-2026", "recipient": "nis-analysis", "epoch": 1, "count": 1,
        "digest": digest_of(id, WORDS), "purpose": "evaluation", "reason": "why", "made": NOW,
        "expires": NOW + timedelta(days=2), "requester": "olive", "public_key": bytes(32),
    }  # fmt: skip
    return Request(**(fields | changes))


@pytest.fixture
def desk(tmp_path):
    people = [Approver(name, name, key.public_key().public_bytes_raw()) for name, key in KEYS.items()]
    with Spent(tmp_path / "spent") as spent:
        ends = {"tf-2026": NOW + timedelta(days=30)}
        gate = Gate("broker", Register(people, {"olive": "olive"}), ends, spent, lambda alarm: None)
        yield WaybackDesk(tmp_path / "wayback", gate, Clock())


def test_requests_go_when_they_expire_and_when_the_key_of_their_numbers_does(desk):
    long, short = request_for(expires=NOW + timedelta(days=9)), request_for()
    for request in (long, short):
        desk.ask(MANDATE, OLIVE, request.to_file(), tuple(WORDS))
    assert desk.drop_void(lambda request: True) == 0
    desk._clock.now = NOW + timedelta(days=2)
    assert desk.drop_void(lambda request: True) == 1
    with pytest.raises(NotFoundError):
        desk.get("tf-2026", short.name())
    assert desk.get("tf-2026", long.name()).words == tuple(WORDS)
    assert desk.drop_void(lambda request: request.recipient != "nis-analysis") == 1
    assert not list(desk._folder.iterdir())


def test_an_approver_who_approves_again_replaces_the_earlier_approval(desk):
    request = request_for()
    desk.ask(MANDATE, OLIVE, request.to_file(), tuple(WORDS))
    bea = Caller("tests.example", Role.APPROVER, "bea")
    for seconds in (0, 30):
        approval = approve(request, "bea", KEYS["bea"], NOW + timedelta(seconds=seconds))
        kept = desk.approve(MANDATE, bea, approval.to_file())
        assert kept.approvals == (approval,)
    late = approve(request, "bea", KEYS["bea"], NOW + timedelta(days=1))
    with pytest.raises(RequestRefusedError):
        desk.approve(MANDATE, bea, late.to_file())
    assert desk.get("tf-2026", request.name()).approvals == (approval,)


def test_the_broker_answers_the_same_again_and_counts_it_once(desk):
    request = request_for()
    desk.ask(MANDATE, OLIVE, request.to_file(), tuple(WORDS))
    for name, key in KEYS.items():
        person = Caller("tests.example", Role.APPROVER, name)
        desk.approve(MANDATE, person, approve(request, name, key, NOW).to_file())
    aid, pid = b"a" * 16, b"p" * 16
    column = pl.DataFrame({"aid": pl.Series([aid], dtype=pl.Binary)})
    tracing = SimpleNamespace(
        resolve=lambda *_: column,
        pids=lambda *_: column.with_columns(pid=pl.lit(pid)),
    )
    broker: Any = SimpleNamespace(tracing=tracing)
    asked: Any = None
    other = Mandate("request-1", "tf-2026", "something-else")
    with pytest.raises(FieldError):
        desk.resolve(broker, other, OLIVE, asked, request.name())
    for _ in range(2):
        kept, pids = desk.resolve(broker, MANDATE, OLIVE, asked, request.name())
        assert (kept.resolved, pids) == (True, [pid])
    assert len((desk._folder.parent / "spent").read_text().splitlines()) == 1
    desk._clock.now = request.expires
    with pytest.raises(RequestRefusedError):
        desk.resolve(broker, MANDATE, OLIVE, asked, request.name())


def test_an_answer_is_given_again_to_whom_it_was_for_until_the_request_expires(tmp_path):
    clock, request = Clock(), request_for()
    kept = Answers(tmp_path / "answers", clock).keep(request, str(OLIVE), 3, b"sealed")
    answers = Answers(tmp_path / "answers", clock)  # a restart
    assert answers.get(request.name(), MANDATE, OLIVE) == kept
    assert answers.get(bytes(32), MANDATE, OLIVE) is None
    with pytest.raises(CallerRefusedError):
        answers.get(request.name(), MANDATE, Caller("tests.example", OLIVE.role, "pat"))
    with pytest.raises(FieldError):
        answers.get(request.name(), Mandate("request-1", "tf-2026", "other"), OLIVE)
    clock.now = request.expires
    assert answers.get(request.name(), MANDATE, OLIVE) is None
    assert not list((tmp_path / "answers").iterdir())


def test_only_a_server_of_the_throw_away_domain_speaks_for_the_development_identity():
    text = str(callers.DEVELOPMENT)
    callers.enter(Caller(callers.DEVELOPMENT.domain, Role.IDENTITY, "this-process"))
    assert callers.read_passed_on(text) is callers.DEVELOPMENT
    assert callers.read_passed_on(str(OLIVE)) == OLIVE
    callers.enter(Caller("tests.example", Role.IDENTITY, "server-1"))
    with pytest.raises(CallerUnknownError):
        callers.read_passed_on(text)
