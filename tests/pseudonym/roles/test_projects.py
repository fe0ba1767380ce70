"""Projects' names, their ends, and recipients' epochs: what is refused before anything is done."""

from __future__ import annotations

from collections import Counter
from typing import Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass

from linker import service
from pseudonym import access
from pseudonym.errors import StoreError
from pseudonym.keys import State
from pseudonym.roles import checks, domains, policy, settings
from pseudonym.roles.callers import Role
from pseudonym.roles.destroying import destroyer
from pseudonym.roles.opening import open_house
from pseudonym.roles.refusals import FieldError
from pseudonym.v1 import (
    attribute_pb2,
    broker_pb2,
    common_pb2,
    key_pb2,
    optout_pb2,
    release_pb2,
    table_pb2,
    vault_pb2,
)
from tests.pseudonym.roles.harness import DOMAIN, ENDED, Called, mandate, reason

B, K = "/pseudonym.v1.BrokerService/", "/pseudonym.v1.KeyService/"
RECIPIENT = "nis-analysis"
REQUESTS = {
    f"{one.full_name}/{method.name}": method.input_type
    for one in (
        *service.SERVICES,
        broker_pb2.DESCRIPTOR.services_by_name["BrokerService"],
        attribute_pb2.DESCRIPTOR.services_by_name["AttributeService"],
        release_pb2.DESCRIPTOR.services_by_name["ReleaseService"],
        table_pb2.DESCRIPTOR.services_by_name["TableService"],
        vault_pb2.DESCRIPTOR.services_by_name["VaultService"],
        optout_pb2.DESCRIPTOR.services_by_name["OptOutService"],
    )
    for method in one.methods
}

TABLE = "pseudonym.v1.TableService/GetTable"
LISTS = {f"pseudonym.v1.OptOutService/{one}" for one in ("ExportNumbers", "ImportCleared", "SetExemption")}


def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return reason(caught.value)[:2]


def first_message(method: str, project: str) -> Any:
    """A message that names a project and nothing else."""
    message: Any = GetMessageClass(REQUESTS[method])()
    stated: Any = message.header if hasattr(message, "header") else message
    if hasattr(stated, "mandate"):
        stated.mandate.project = project
    else:
        stated.project = project
    return message


@pytest.mark.parametrize("method", sorted({*policy.GROWING, *LISTS, TABLE}))
def test_nothing_is_added_to_a_project_after_its_end(roles, certificates, method):
    rule = policy.METHODS[f"/{method}"]
    [role], bearer = rule.served_by, min(rule.callers)
    with Called(roles[role].address, certificates, bearer) as called:
        for project, late in ((ENDED, True), ("tf-2026", False), ("another", False)):
            message = first_message(method, project).SerializeToString()
            send: Any = called.channel.stream_stream(f"/{method}")
            found = refused(lambda send=send, message=message: list(send(iter([message]), timeout=20)))
            assert (found == ("FAILED_PRECONDITION", "PROJECT_ENDED")) == late, found


def test_a_project_is_destroyed_after_its_end(roles, certificates):
    ask = key_pb2.DestroyProjectRequest(mandate=mandate(project=ENDED), confirm=ENDED)
    with Called(roles[Role.BROKER].address, certificates, "key-custodian") as custodian:
        found = refused(lambda: custodian(f"{K}DestroyProject", ask, key_pb2.DestroyProjectResponse))
        assert found == ("NOT_FOUND", "NOT_FOUND")


@pytest.mark.parametrize(
    ("project", "purpose", "field"),
    [
        ("cohort-20261", "evaluation", "mandate.project"),
        ("tf-2026-11-22", "evaluation", "mandate.project"),
        ("tf-2026", "evaluation-20261", "mandate.purpose"),
        ("tf-2026", "ab123456c", "mandate.purpose"),
    ],
)
def test_a_name_that_the_audit_log_would_refuse_begins_nothing(project, purpose, field):
    asked = common_pb2.Mandate(request_id="request-1", project=project, purpose=purpose)
    with pytest.raises(FieldError, match="could be a number or a date") as caught:
        checks.mandate(asked)
    assert caught.value.field == field


def test_a_recipient_whose_key_was_destroyed_gets_a_next_epoch(roles, certificates):
    with Called(roles[Role.BROKER].address, certificates, "key-custodian") as custodian:

        def opened(*, following: bool) -> int:
            asked = broker_pb2.OpenDomainRequest(
                mandate=mandate(project="next-2026"), recipient=RECIPIENT, next_epoch=following
            )
            return custodian(f"{B}OpenDomain", asked, broker_pb2.OpenDomainResponse).epoch

        begin = broker_pb2.BeginProjectRequest(mandate=mandate(project="next-2026"))
        custodian(f"{B}BeginProject", begin, broker_pb2.BeginProjectResponse)
        assert [opened(following=False) for _ in range(2)] == [1, 1]
        keys = custodian(f"{K}ListKeys", key_pb2.ListKeysRequest(), key_pb2.ListKeysResponse).keys
        [kid] = [key.kid for key in keys if key.use == f"urn/1:next-2026:{RECIPIENT}:1"]
        doomed = key_pb2.DestroyKeyRequest(mandate=mandate(project="next-2026"), kid=kid)
        custodian(f"{K}DestroyKey", doomed, key_pb2.DestroyKeyResponse)
        assert refused(lambda: opened(following=False)) == ("NOT_FOUND", "KEY_MISSING")
        assert opened(following=True) == 2
        assert opened(following=False) == 2


def test_a_destruction_that_failed_half_way_is_finished_by_asking_again(tmp_path, monkeypatch):
    asked = access.Mandate("tests.example/key-custodian", "destruction")
    with open_house(settings.resolve(Role.BROKER, tmp_path, settings.Options(), make=True), DOMAIN) as house:
        broker = domains.open_broker(house)
        destroy = destroyer(house, broker=broker)
        house.keyset.add_aid_key("tf-2026")
        broker.begin_project("tf-2026")
        house.keyset.add_urn_key("tf-2026", RECIPIENT)
        broker.open_domain("tf-2026", RECIPIENT)
        [key] = [key for key in house.keyset.keys if key.use.startswith("urn/1:")]
        tried: Counter[str] = Counter()
        purge = type(broker.erasure).purge

        def fails_once(erasure: Any) -> None:
            tried["purge"] += 1
            if tried["purge"] == 1:
                raise StoreError("The disk refused it.")
            purge(erasure)

        monkeypatch.setattr(type(broker.erasure), "purge", fails_once)
        with pytest.raises(StoreError):
            destroy(key.kid, asked)
        assert house.keyset.keys[-1].state is State.DESTROYED
        destroy(key.kid, asked)
        assert tried["purge"] == 2
        assert broker.erasure.followed() == (1, broker.erasure.ledger.digest)
        broker.erasure.ledger.close()
