"""Keys that change while a server runs: it goes by them at once, and so does its audit log."""

from __future__ import annotations

import time

import grpc
import pytest

from pseudonym.audit import CheckpointFolder, VerifierKey, verify
from pseudonym.keys import Keyset
from pseudonym.providers.file import FileProvider
from pseudonym.roles.callers import Role
from pseudonym.urn import read
from pseudonym.v1 import broker_pb2, common_pb2, key_pb2
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles.harness import (
    DOMAIN,
    Called,
    council_file,
    governance,
    join,
    mandate,
    reason,
    three,
)

B, K, PROJECT = chain.B, chain.K, chain.PROJECT


@pytest.fixture(scope="module")
def alive(tmp_path_factory, certificates):
    folder = tmp_path_factory.mktemp("alive")
    with three(folder, certificates, governance=governance(folder)) as servers:
        yield servers


def called(servers, certificates, role, bearer):
    return Called(servers[role].address, certificates, bearer)


def keyset_of(server, role) -> Keyset:
    """The keyset as `kinlink keys` opens it beside the server."""
    folder = server.data / role
    passphrase = (folder / "passphrase").read_text().strip()
    return Keyset.open(folder / "keyset.json", FileProvider(folder / "device.json", passphrase))


def rotated(custodian, use):
    asked = key_pb2.RotateKeyRequest(mandate=mandate(), use=use)
    return custodian(f"{K}RotateKey", asked, key_pb2.RotateKeyResponse).key


def public(keyset, use) -> VerifierKey:
    kid = next(key.kid for key in keyset.keys if key.use == use)
    return VerifierKey(f"{DOMAIN}/broker", keyset.verifying_keys()[kid].public_bytes_raw())


def test_the_audit_log_goes_on_under_the_new_key_whoever_rotated_it(alive, certificates):
    server = alive[Role.BROKER]
    folder = server.data / "broker"
    keyset = keyset_of(server, "broker")
    first = public(keyset, "audit/1")

    def signed_by():
        newest = CheckpointFolder(folder / "checkpoints").newest(
            [public(keyset, key.use) for key in keyset.keys if key.kid in keyset.verifying_keys()
             and key.use.startswith("audit/1")]
        )  # fmt: skip
        assert newest is not None
        return newest.signed[-1]

    with called(alive, certificates, Role.BROKER, "key-custodian") as custodian:
        kid = rotated(custodian, "audit/1").kid
        second = public(keyset, "audit/1:2")
        assert keyset.by_kid(kid).use == "audit/1:2"
        assert signed_by() == second  # before the reply went out
        keyset.rotate("audit/1")
        third = public(keyset, "audit/1:3")
        until = time.monotonic() + 60
        while signed_by() != third:
            assert time.monotonic() < until, "the log was not handed over"
            time.sleep(0.05)
        old = next(key.kid for key in keyset.keys if key.use == "audit/1")
        asked = key_pb2.DestroyKeyRequest(mandate=mandate(), kid=old)
        custodian(f"{K}DestroyKey", asked, key_pb2.DestroyKeyResponse)
        shown = verify(folder / "audit", folder / "checkpoints", [first], live=True)
        assert shown.key == third
        use = key_pb2.DestroyKeyRequest(mandate=mandate(), kid=keyset.signing_key().kid)
        with pytest.raises(grpc.RpcError) as caught:
            custodian(f"{K}DestroyKey", use, key_pb2.DestroyKeyResponse)
        assert reason(caught.value)[1] == "KEYSET_INVALID"


def test_keys_made_beside_the_running_server_serve_and_destroyed_ones_do_not(alive, certificates):
    keyset = keyset_of(alive[Role.BROKER], "broker")
    chain.begin(alive, certificates)
    refs = [bytes([number]) * 16 for number in range(1, 4)]
    join(alive[Role.IDENTITY], certificates, council_file(refs, ["p1", "p2", "p3"]), "b-1")
    with called(alive, certificates, Role.BROKER, "attributes") as keeper:
        listed = broker_pb2.ListRowsRequest(project=PROJECT)
        aids = chain.told(keeper(f"{B}ListRows", listed, broker_pb2.ListRowsResponse).arrow).select("aid")

        def issued(recipient):
            issue = broker_pb2.IssueUrnsRequest(
                mandate=mandate(),
                recipient=recipient,
                kind=common_pb2.SUBJECT_KIND_PERSON,
                arrow=chain.arrow(aids),
            )
            answer = keeper(f"{B}IssueUrns", issue, broker_pb2.IssueUrnsResponse)
            return chain.told(answer.arrow)["urn"].to_list()

        keyset.add_urn_key(PROJECT, "dwp-extract")
        with called(alive, certificates, Role.BROKER, "key-custodian") as custodian:
            opened = broker_pb2.OpenDomainRequest(mandate=mandate(), recipient="dwp-extract")
            custodian(f"{B}OpenDomain", opened, broker_pb2.OpenDomainResponse)
        theirs, others = issued("dwp-extract"), issued(chain.RECIPIENT)
        assert len({*theirs, *others}) == 6
        assert {read(urn).epoch for urn in theirs} == {1}
        keyset.destroy(keyset.find(f"urn/1:{PROJECT}:dwp-extract:1").kid)
        with pytest.raises(grpc.RpcError) as caught:
            issued("dwp-extract")
        assert reason(caught.value)[:2] == ("NOT_FOUND", "KEY_MISSING")
        assert issued(chain.RECIPIENT) == others


def test_a_keyset_that_does_not_open_any_more_is_used_no_more_and_the_log_says_so(alive, certificates):
    server = alive[Role.ATTRIBUTES]
    keyset = keyset_of(server, "attributes")
    keyset.change_passphrase("another horse battery staple")
    with called(alive, certificates, Role.ATTRIBUTES, "key-custodian") as custodian:
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as caught:
                custodian(f"{K}ListKeys", key_pb2.ListKeysRequest(), key_pb2.ListKeysResponse)
            assert reason(caught.value)[1] == "KEYSET_STALE"
    with called(alive, certificates, Role.ATTRIBUTES, "auditor") as auditor:
        assert "key/list-keys.aborted" in {entry.action for entry in chain.entries(auditor)}
