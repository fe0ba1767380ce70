"""Submissions belong to their sender: two councils and whoever links, each with a certificate."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack

import pytest

from linker.client import Client, ServiceError, Tls
from linker.resources import SubmissionKind, SubmissionState
from pseudonym.roles.callers import Role
from pseudonym.v1 import audit_pb2, common_pb2
from tests.pseudonym.roles.harness import DOMAIN, Called, governance, lawful, production_flags, schedules_of
from tests.service.harness import PROJECT, Server, people

FRAME = people(40)
BROKEN = FRAME.with_columns(postcode=FRAME["postcode"].replace(FRAME["postcode"][3], "no postcode"))


@pytest.fixture(scope="module")
def house(tmp_path_factory, certificates):
    """An identity role in production."""
    data = tmp_path_factory.mktemp("senders") / "data"
    holders = [{"project": PROJECT, "dataset": "e06", "person": "alice"}]
    (data.parent / "schedules.toml").write_text(schedules_of("e06"))
    projects = {PROJECT: lawful("e06", purposes=["tests"], schedules="schedules.toml")}
    told = ["--governance", str(governance(data.parent, holders=holders, projects=projects))]
    flags = production_flags(certificates, data, Role.IDENTITY, broker="localhost:1")
    with Server(data, *flags, *told) as server:
        yield server
        assert server.stop() == 0


@pytest.fixture(scope="module")
def callers(house, certificates):
    """A client for each certificate, by its name."""
    address = house.address.replace("127.0.0.1", "localhost")
    with ExitStack() as stack:

        def client(name):
            tls = Tls(
                certificates / "authority.pem", certificates / f"{name}.pem", certificates / f"{name}.key"
            )
            made = Client(address, project=PROJECT, purpose="tests", tls=tls, patience=0)
            return stack.enter_context(made)

        yield {name: client(name) for name in ("council", "council-2", "dataset-holder", "linkage-operator")}


def submitted(client, batch_id, frame=FRAME, kind=SubmissionKind.IDENTITIES):
    return client.submit(frame, batch_id=batch_id, source="E06", kind=kind, id_column="person_id")


def refused(call, *given, **named):
    with pytest.raises(ServiceError) as caught:
        call(*given, **named)
    return caught.value.code, caught.value.reason, caught.value.message


def test_what_another_sent_is_not_there(callers):
    alice, bob, holder, linking = callers.values()
    sent = submitted(alice, "alices", BROKEN)
    assert sent.sender == f"spiffe://{DOMAIN}/role/council/alice"
    extract = submitted(holder, "extract", kind=SubmissionKind.EXTRACT)
    own = submitted(bob, "bobs")

    # As if it had never been: the very words of what does not exist.
    key, missing = sent.submission_id, "sub-00000000000000000000"
    for other in (bob, holder):
        assert refused(other.submission, key) == refused(other.submission, missing)
        assert refused(other.submission, batch_id="alices") == refused(other.submission, batch_id="nobodys")
        assert refused(other.refusals, key) == refused(other.refusals, missing)
        assert refused(other.delete_submission, key) == refused(other.delete_submission, missing)
        assert refused(other.submission, key)[:2] == ("NOT_FOUND", "SUBMISSION_NOT_FOUND")
    for client, theirs in ((alice, sent), (bob, own), (holder, extract)):
        assert list(client.submissions()) == [theirs]
        assert client.submission(theirs.submission_id) == theirs
    assert alice.refusals(key).height >= 1

    # Whoever links sees all of them, and a project of another name has none.
    assert {one.submission_id for one in linking.submissions()} >= {
        one.submission_id for one in (sent, own, extract)
    }
    assert linking.submission(key) == sent
    assert linking.refusals(key).equals(alice.refusals(key))


def test_another_sender_cannot_go_on_with_an_upload(callers):
    alice, bob, *_ = callers.values()

    class BreaksOff(Exception):
        pass

    def stop(rows, _):
        if rows > 20:
            raise BreaksOff

    with pytest.raises(BreaksOff):
        alice.submit(
            FRAME, batch_id="resumed", source="E06", id_column="person_id", chunk_rows=10, progress=stop
        )
    half = alice.submission(batch_id="resumed")
    assert half.state is SubmissionState.RECEIVING
    assert refused(submitted, bob, "resumed")[:2] == ("ALREADY_EXISTS", "BATCH_CONFLICT")
    assert alice.submission(batch_id="resumed") == half
    done = alice.submit(FRAME, batch_id="resumed", source="E06", id_column="person_id", chunk_rows=10)
    assert (done.state, done.submission_id) == (SubmissionState.READY, half.submission_id)


def test_the_same_content_of_two_senders_is_two_submissions(callers):
    alice, bob, *_ = callers.values()
    frame = people(40, seed=9)
    first, second = submitted(alice, "twin-a", frame), submitted(bob, "twin-b", frame)
    again = submitted(alice, "twin-c", frame)
    assert first.submission_id == again.submission_id != second.submission_id
    assert bob.submission(batch_id="twin-b").batch_id == "twin-b"


def test_a_sender_takes_back_its_own_and_the_log_says_so(callers, house, certificates):
    alice, bob, _, linking = callers.values()
    own, other = submitted(alice, "back", people(30, 3)), submitted(bob, "stays", people(30, 4))
    assert refused(alice.delete_submission, other.submission_id)[:2] == ("NOT_FOUND", "SUBMISSION_NOT_FOUND")
    deleted = alice.delete_submission(own.submission_id)
    assert deleted == dataclasses.replace(own, state=SubmissionState.DELETED, content_sha256=b"")
    assert alice.delete_submission(own.submission_id) == deleted == alice.submission(own.submission_id)
    assert linking.delete_submission(other.submission_id).state is SubmissionState.DELETED
    with Called(house.address, certificates, "auditor") as auditor:
        asked = audit_pb2.ListEntriesRequest(role=common_pb2.SERVER_ROLE_IDENTITY, page_size=1000)
        answer = auditor("/pseudonym.v1.AuditService/ListEntries", asked, audit_pb2.ListEntriesResponse)
    done = [(one.actor.partition("/role/")[2], one.action) for one in answer.entries]
    assert done.count(("council/alice", "intake/delete-submission")) == 2
    assert done.count(("linkage-operator/alice", "intake/delete-submission")) == 1
    assert ("council/alice", "intake/delete-submission.not-found") in done
