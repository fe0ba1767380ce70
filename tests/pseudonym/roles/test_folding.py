"""What is refused again and again, or asked in vain, is in the audit log once, and then as a number."""

from __future__ import annotations

import asyncio
import json

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pseudonym.audit.entries import Event, open_details
from pseudonym.audit.reading import entries_of
from pseudonym.errors import AuditError
from pseudonym.roles import folding, passage
from pseudonym.roles.folding import Folding
from pseudonym.roles.policy import METHODS
from pseudonym.v1 import broker_pb2, key_pb2
from tests.pseudonym.roles.harness import Called, mandate, tls_flags
from tests.service.harness import Server

B, K = "/pseudonym.v1.BrokerService/", "/pseudonym.v1.KeyService/"


def refused(called, method, request, times):
    for _ in range(times):
        with pytest.raises(grpc.RpcError):
            called(method, request)


def test_r22_refusals_and_questions_in_vain_are_one_entry_and_their_number(tmp_path, certificates):
    begin = f"{B}BeginProject"
    with Server(tmp_path / "data", "--role", "broker", *tls_flags(certificates, "broker")) as server:
        with Called(server.address, certificates, "researcher") as researcher:
            refused(researcher, begin, broker_pb2.BeginProjectRequest(mandate=mandate()), 40)
            refused(researcher, f"{B}OpenDomain", broker_pb2.OpenDomainRequest(mandate=mandate()), 1)
        with Called(server.address, certificates, "council") as council:
            refused(council, begin, broker_pb2.BeginProjectRequest(mandate=mandate()), 2)
        with Called(server.address, certificates, "key-custodian") as custodian:
            for project in ("a-2026", "b-2026", "b-2026"):
                asked = broker_pb2.OpenDomainRequest(mandate=mandate(project=project), recipient="nis")
                refused(custodian, f"{B}OpenDomain", asked, 1)
            # What names a key stands for itself, each time.
            gone = key_pb2.DestroyKeyRequest(mandate=mandate(), kid="0" * 16)
            refused(custodian, f"{K}DestroyKey", gone, 3)
        with Called(server.address, certificates, "attributes") as attributes:
            for _ in range(30):
                attributes(f"{B}ListErasures", broker_pb2.ListErasuresRequest())
        log = tmp_path / "data" / "broker" / "audit"
        before = [entry.action for entry in entries_of(log, 0)]
        assert not [action for action in before if action.endswith(".repeated")]
        assert before.count("broker/begin-project.permission-denied") == 2
        assert server.stop() == 0
    found = [
        (entry.actor.rpartition("/role/")[2].partition("/")[0], entry.action, entry.count)
        for entry in entries_of(log, 0)
    ]
    denied, open_domain = "broker/begin-project.permission-denied", "broker/open-domain"
    [unknown] = {
        action for _, action, _ in found if action.startswith(open_domain) and action.endswith("not-found")
    }
    assert sorted(found) == sorted(
        [
            ("researcher", denied, 0),
            ("researcher", f"{denied}.repeated", 39),
            ("researcher", f"{open_domain}.permission-denied", 0),
            ("council", denied, 0),
            ("council", f"{denied}.repeated", 1),
            ("key-custodian", unknown, 0),
            ("key-custodian", f"{unknown}.repeated", 2),
            *[("key-custodian", "key/destroy-key.not-found", 1)] * 3,
            ("attributes", "broker/list-erasures", 0),
            ("attributes", "broker/list-erasures.repeated", 29),
        ]
    )
    officer = load_pem_private_key((tmp_path / "data" / "broker" / "officer.key").read_bytes(), None)
    assert isinstance(officer, X25519PrivateKey)
    [custodians] = [entry for entry in entries_of(log, 0) if entry.action == f"{unknown}.repeated"]
    assert custodians.project == ""
    told = json.loads(open_details(custodians, officer) or b"")
    assert told["project"] == ["b-2026"]


class Log:
    def __init__(self, failures=0):
        self.entries, self.failures = [], failures

    async def write(self, event):
        if self.failures:
            self.failures -= 1
            raise AuditError("The disk is full.")
        self.entries.append(event)


def event(**more):
    return Event("role/council/alice", "intake/get-submission.not-found", "p", "tf-2026", **more)


def test_what_is_counted_is_written_when_its_time_is_over_and_nothing_is_dropped():
    async def scene():
        log, held = Log(), Folding()
        for number in range(30):
            details = json.dumps({"submission_id": f"sub-{number}"}).encode()
            await held.take("k", event(details=details), 0.05, log.write)
        assert len(log.entries) == 1
        log.failures = 2  # the first tries find the log shut
        while len(log.entries) < 2:
            await asyncio.sleep(0.01)
        await held.take("k", event(), 0.05, log.write)  # a first one again
        await held.close()
        return log.entries

    first, repeated, again = asyncio.run(scene())
    assert (first.action, again.action) == (event().action, event().action)
    assert (repeated.action, repeated.count) == (f"{event().action}.repeated", 29)
    told = json.loads(repeated.details)
    assert told["submission_id"] == [f"sub-{number}" for number in range(1, 1 + folding.MOST_NAMED)]
    assert told["others"] == 29 - folding.MOST_NAMED
    assert (repeated.purpose, repeated.project) == ("p", "tf-2026")


def test_the_end_waits_for_what_is_being_written():
    async def scene():
        log, held, shut = Log(), Folding(), asyncio.Event()

        async def slowly(event):
            if event.count:
                shut.set()
                await asyncio.sleep(0.05)
            await log.write(event)

        for _ in range(3):
            await held.take("k", event(), 0.01, slowly)
        await shut.wait()
        await held.close()
        return log.entries

    assert [one.count for one in asyncio.run(scene())] == [0, 2]


def test_the_first_is_never_held_back():
    async def scene():
        held = Folding()
        with pytest.raises(AuditError):
            await held.take("k", event(), 60, Log(failures=1).write)
        log = Log()
        await held.take("k", event(), 60, log.write)  # it is still the first
        assert log.entries == [event()]
        await held.take("k", event(), 60, log.write)
        await held.close()
        return log.entries

    assert [one.count for one in asyncio.run(scene())] == [0, 1]


def test_every_entry_of_repeats_has_a_place_in_the_log():
    codes = {code.name.lower().replace("_", "-") for code in grpc.StatusCode}
    for method in METHODS:
        for code in codes:
            name = f"{passage.action(method)}.{code}{folding.REPEATED}"
            Event("x", name, folding.SEVERAL).check()
