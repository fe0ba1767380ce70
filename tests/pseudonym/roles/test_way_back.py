"""The way back over the wire: asked by the officer, approved by two others, looked up once."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from typer.testing import CliRunner

from pseudonym.cli.audit import audit_app
from pseudonym.hpke import OpeningKey
from pseudonym.requests import Request, approve, digest_of, open_answer
from pseudonym.roles.callers import Role
from pseudonym.v1 import broker_pb2, common_pb2, vault_pb2
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles.harness import PEOPLE, Called, bound, council_file, join, mandate, reason, three

B, V, PROJECT, RECIPIENT = chain.B, chain.V, chain.PROJECT, chain.RECIPIENT
KEYS = {name: Ed25519PrivateKey.generate() for name in ("alice", "bob")}
SECRET = X25519PrivateKey.generate()
APPROVERS = {"alice": "approver", "bob": "approver-2"}


@pytest.fixture(scope="module")
def governed(tmp_path_factory, certificates):
    """Three roles that were told who may ask and approve; the project, and numbers of three people."""
    folder = tmp_path_factory.mktemp("governed")
    decided = {
        "projects": {PROJECT: "2999-12-31T00:00:00Z"},
        "requesters": {"olive": "olive"},
        "approvers": [
            {"name": name, "person": name, "public_key": key.public_key().public_bytes_raw().hex()}
            for name, key in KEYS.items()
        ],
        "quotas": {"evaluation-2026": 10},
    }
    (folder / "governance.json").write_text(json.dumps(decided))
    with three(folder, certificates, governance=folder / "governance.json") as roles:
        chain.begin(roles, certificates)
        refs = [os.urandom(16) for _ in range(3)]
        join(roles[Role.IDENTITY], certificates, council_file(refs, ["p1", "p2", "p3"]), "b-1")
        with Called(roles[Role.BROKER].address, certificates, "attributes") as keeper:
            listed = broker_pb2.ListRowsRequest(project=PROJECT)
            rows = chain.told(keeper(f"{B}ListRows", listed, broker_pb2.ListRowsResponse).arrow)
            issue = broker_pb2.IssueUrnsRequest(
                mandate=mandate(),
                recipient=RECIPIENT,
                kind=common_pb2.SUBJECT_KIND_PERSON,
                arrow=chain.arrow(rows.select("aid")),
            )
            issued = chain.told(keeper(f"{B}IssueUrns", issue, broker_pb2.IssueUrnsResponse).arrow)
        by_ref = dict(zip(rows["row_ref"].to_list(), issued["urn"].to_list(), strict=True))
        yield roles, [by_ref[ref] for ref in bound([ref.hex() for ref in refs])]


def request_for(words, **changes):
    id, now = os.urandom(16), datetime.now(UTC).replace(microsecond=0)
    fields: dict[str, Any] = {
        "id": id, "project": PROJECT, "recipient": RECIPIENT, "epoch": 1, "count": len(words),
        "digest": digest_of(id, words), "purpose": "evaluation-2026", "reason": "A child may be at risk.",
        "made": now, "expires": now + timedelta(days=1), "requester": "olive",
        "public_key": SECRET.public_key().public_bytes_raw(),
    } | changes  # fmt: skip
    return Request(**fields)


def ask(roles, certificates, request, words, bearer="data-protection-officer"):
    stated = mandate(project=request.project)
    stated.purpose = request.purpose
    with Called(roles[Role.BROKER].address, certificates, bearer) as called:
        asked = broker_pb2.RequestReidentificationRequest(
            mandate=stated, request=request.to_file(), urns=words
        )
        method = f"{B}RequestReidentification"
        return called(method, asked, broker_pb2.RequestReidentificationResponse).reidentification


def say_yes(roles, certificates, request, name, key=None, bearer=""):
    with Called(roles[Role.BROKER].address, certificates, bearer or APPROVERS[name]) as called:
        approval = approve(request, name, key or KEYS[name], datetime.now(UTC).replace(microsecond=0))
        asked = broker_pb2.ApproveReidentificationRequest(mandate=mandate(), approval=approval.to_file())
        method = f"{B}ApproveReidentification"
        return called(method, asked, broker_pb2.ApproveReidentificationResponse).reidentification


def look_up(roles, certificates, request, timeout=20, **changes):
    stated = mandate()
    for name, value in changes.items():
        setattr(stated, name, value)
    with Called(roles[Role.IDENTITY].address, certificates, "data-protection-officer") as called:
        asked = vault_pb2.LookUpRequest(mandate=stated, reidentification=request.name())
        return called(f"{V}LookUp", asked, vault_pb2.LookUpResponse, timeout=timeout)


def refused(call, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    return reason(caught.value)[:2]


def test_two_others_approve_and_the_requester_alone_reads_the_answer(governed, certificates):
    roles, urns = governed
    words = urns[:2]
    request = request_for(words)
    ask(roles, certificates, request, words)
    assert refused(look_up, roles, certificates, request) == ("PERMISSION_DENIED", "APPROVALS_TOO_FEW")
    say_yes(roles, certificates, request, "alice")
    assert refused(look_up, roles, certificates, request) == ("PERMISSION_DENIED", "APPROVALS_TOO_FEW")
    say_yes(roles, certificates, request, "alice")  # again says nothing more
    kept = say_yes(roles, certificates, request, "bob")
    assert len(kept.approvals) == 2
    answer = look_up(roles, certificates, request)
    assert answer.count == 2
    opened = open_answer(OpeningKey(SECRET.private_bytes_raw()), request, answer.sealed)
    people = dict(zip(sorted(words), json.loads(opened), strict=True))
    assert people[urns[0]][0]["names"] == [dict(zip(("given", "surname"), PEOPLE["p1"], strict=False))]
    assert people[urns[1]][0]["names"] == [dict(zip(("given", "surname"), PEOPLE["p2"], strict=False))]
    assert look_up(roles, certificates, request) == answer  # an answer that was lost: the same, bit for bit


def approved(roles, certificates, words, **changes):
    request = request_for(words, **changes)
    ask(roles, certificates, request, words)
    for name in KEYS:
        say_yes(roles, certificates, request, name)
    return request


def test_a_mistake_does_not_use_up_what_was_approved(governed, certificates):
    roles, urns = governed
    request = approved(roles, certificates, urns[:1])
    for wrong in ({"purpose": "evaluation-2025"}, {"project": "tf-2027"}):
        code, _ = refused(look_up, roles, certificates, request, **wrong)
        assert code == ("INVALID_ARGUMENT" if "purpose" in wrong else "NOT_FOUND")
    assert look_up(roles, certificates, request).count == 1
    assert refused(look_up, roles, certificates, request, purpose="evaluation-2025")[1] == "FIELD_INVALID"


def test_an_answer_that_came_too_late_is_given_to_the_next_call(governed, certificates):
    roles, urns = governed
    request = approved(roles, certificates, urns[1:2])
    broker = roles[Role.BROKER].process
    broker.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(grpc.RpcError) as caught:
            look_up(roles, certificates, request, timeout=0.5)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    finally:
        broker.send_signal(signal.SIGCONT)
    assert look_up(roles, certificates, request).count == 1


def test_what_identity_refuses_to_open_is_not_used_up(governed, certificates):
    roles, urns = governed
    request = approved(roles, certificates, urns[:1], purpose="no-quota")
    for _ in range(2):
        assert refused(look_up, roles, certificates, request, purpose="no-quota")[1] == "PURPOSE_REFUSED"


def test_an_approval_with_the_wrong_key_is_refused_at_once_and_the_right_one_counts(governed, certificates):
    roles, urns = governed
    request = request_for(urns[:1])
    ask(roles, certificates, request, urns[:1])
    wrong = Ed25519PrivateKey.generate()
    assert refused(say_yes, roles, certificates, request, "bob", key=wrong)[1] == "APPROVAL_SIGNATURE"
    for name in KEYS:
        say_yes(roles, certificates, request, name)
    assert look_up(roles, certificates, request).count == 1


def test_what_can_never_be_granted_is_not_kept(governed, certificates):
    roles, urns = governed
    late = {"expires": datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)}
    for words, changes, expected in (
        ([f"P1{number:022}" for number in range(501)], {}, "URNS_TOO_MANY"),
        (["P1" + "0" * 21 + "1"], {}, "URNS_DIFFER"),
        (urns[:1], late, "REQUEST_TOO_LONG"),
        (urns[:1], {"project": "tf-2030"}, "PROJECT_UNKNOWN"),
    ):
        request = request_for(words, **changes)
        assert refused(ask, roles, certificates, request, words)[1] == expected
        kept = roles[Role.BROKER].data / "broker" / "wayback"
        assert not (kept / f"{request.name().hex()}.json").exists()


def test_what_was_not_asked_for_or_approved_is_refused(governed, certificates):
    roles, urns = governed
    words = urns[2:]
    request = request_for(words)
    assert refused(ask, roles, certificates, request, urns[:1]) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert refused(ask, roles, certificates, request, words, bearer="researcher")[1] == "CALLER_REFUSED"
    other = request_for(words, requester="alice")
    assert refused(ask, roles, certificates, other, words)[1] == "CALLER_REFUSED"
    ask(roles, certificates, request, words)
    # Bob may not send Alice's approval, and her key makes none in his name.
    assert refused(say_yes, roles, certificates, request, "alice", bearer="approver-2")[1] == "CALLER_REFUSED"
    say_yes(roles, certificates, request, "alice")
    other = KEYS["alice"]
    assert refused(say_yes, roles, certificates, request, "bob", key=other)[1] == "APPROVAL_SIGNATURE"
    assert refused(look_up, roles, certificates, request) == ("PERMISSION_DENIED", "APPROVALS_TOO_FEW")
    unknown = dataclasses.replace(request, id=os.urandom(16))
    assert refused(look_up, roles, certificates, unknown)[0] == "NOT_FOUND"


def test_every_grant_and_refusal_is_in_both_logs(governed, certificates):
    roles, _ = governed
    for role in (Role.BROKER, Role.IDENTITY):
        with Called(roles[role].address, certificates, "auditor") as auditor:
            actions = [one.action for one in chain.entries(auditor)]
        assert "way-back.granted" in actions
        assert ("way-back.refused" in actions) == (role is Role.BROKER)
        if role is Role.IDENTITY:
            assert actions.index("vault.open") < actions.index("vault/look-up")


def test_who_looked_at_a_person_is_found_by_the_reference_of_ones_own_look_up(governed, certificates):
    roles, urns = governed
    request = request_for(urns[:1])
    ask(roles, certificates, request, urns[:1])
    for name in APPROVERS:
        say_yes(roles, certificates, request, name)
    look_up(roles, certificates, request)
    with Called(roles[Role.IDENTITY].address, certificates, "auditor") as auditor:
        entries = chain.entries(auditor)
    own = [one for one in entries if one.action == "vault/look-up"][-1]
    assert len(own.subject) == 32
    theirs = [one for one in entries if one.action == "vault.open" and one.subject == own.subject]
    assert theirs
    assert {one.count for one in theirs} == {1}
    folder = roles[Role.IDENTITY].data / "identity" / "audit"
    listed = CliRunner().invoke(audit_app, ["show", str(folder), "--subject", own.subject.hex()])
    shown = [line.split()[3] for line in listed.stdout.splitlines()]
    assert shown == [one.action for one in entries if one.subject == own.subject]
    assert shown[-2:] == ["vault.open", "vault/look-up"]


def test_nothing_of_it_is_in_a_log_in_words(governed):
    roles, urns = governed
    for server in roles.values():
        for text in ("Baxter", *urns):
            assert text not in server.log


def test_whom_two_others_approved_is_erased_by_the_requests_name(governed, certificates):
    roles, urns = governed
    words = urns[2:]
    request = request_for(words)
    asked = vault_pb2.EraseSubjectsRequest(
        mandate=mandate(), reason=vault_pb2.ERASURE_REASON_UNLAWFUL, reidentification=request.name()
    )

    def erase():
        with Called(roles[Role.IDENTITY].address, certificates, "data-protection-officer") as called:
            return called(f"{V}EraseSubjects", asked, vault_pb2.EraseSubjectsResponse, 40).erasure

    ask(roles, certificates, request, words)
    say_yes(roles, certificates, request, "alice")
    assert refused(erase) == ("PERMISSION_DENIED", "APPROVALS_TOO_FEW")
    say_yes(roles, certificates, request, "bob")
    first, again = erase(), erase()  # the request is used up, and the erasure goes on
    assert first.erasure_id == again.erasure_id
    assert (first.persons, [bool(step.certificate) for step in again.steps][:2]) == (1, [True, True])
    assert refused(look_up, roles, certificates, request)[0] == "PERMISSION_DENIED"
    with Called(roles[Role.BROKER].address, certificates, "data-protection-officer") as called:
        told = broker_pb2.ListErasedUrnsRequest(project=PROJECT, recipient=RECIPIENT)
        page = called(f"{B}ListErasedUrns", told, broker_pb2.ListErasedUrnsResponse)
    assert [one.urn for one in page.erased] == words
