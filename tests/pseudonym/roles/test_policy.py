"""Who may call what: every pair of method and role, against a table written down by hand."""

from __future__ import annotations

import pytest

from linker import service
from pseudonym.roles import callers, policy, serving
from pseudonym.roles.callers import SERVER_ROLES, Caller, Role
from pseudonym.roles.passage import action
from pseudonym.roles.refusals import CallerRefusedError
from pseudonym.v1 import (
    attribute_pb2,
    audit_pb2,
    broker_pb2,
    key_pb2,
    optout_pb2,
    release_pb2,
    retention_pb2,
    rights_errand_pb2,
    rights_pb2,
    table_pb2,
    vault_pb2,
)

# What each role may do, in the words of the design; everything else is refused.
MAY = {
    Role.COUNCIL: "intake/submit-identities intake/get-submission intake/list-submissions "
    "intake/list-refusals intake/delete-submission "
    "attribute/submit-attributes attribute/get-submission attribute/list-refusals "
    "table/read-table table/list-tables "
    "rights/open-request rights/get-request rights/list-requests",
    Role.DATASET_HOLDER: "intake/submit-extract intake/get-submission intake/list-submissions "
    "intake/list-refusals intake/delete-submission "
    "attribute/submit-attributes attribute/attach-dataset attribute/get-submission attribute/list-refusals",
    Role.LINKAGE_OPERATOR: "intake/get-submission intake/list-submissions intake/list-refusals "
    "intake/delete-submission job/delete-job model/delete-model "
    "linkage/start-linkage linkage/start-deduplication linkage/train-model linkage/read-links "
    "linkage/explain linkage/get-report job/get-job job/list-jobs job/watch-job job/cancel-job "
    "model/put-model model/get-model model/list-models match/load-reference match/drop-reference "
    "match/get-reference match/list-references match/put-records match/remove-records match/match "
    "match/match-stream match/match-upload linkage/start-join linkage/start-register vault/export-register "
    "review/list-judgements review/get-progress",
    Role.REVIEWER: "linkage/explain vault/merge-subjects vault/split-subject vault/withdraw-link "
    "review/next-pair review/judge review/undo review/list-judgements review/get-progress",
    Role.RESEARCHER: "release/read-release release/certify-destroyed release/get-release "
    "release/list-releases table/read-table table/list-tables",
    Role.APPROVER: "broker/approve-reidentification broker/get-reidentification "
    "release/approve-release release/get-release release/list-releases "
    "table/approve-table table/publish-table table/read-table table/get-table table/list-tables",
    Role.DATA_PROTECTION_OFFICER: "vault/look-up attribute/declare-dataset vault/merge-subjects "
    "vault/split-subject vault/withdraw-link vault/protect-subject vault/admit-record vault/erase-subjects "
    "optout/withdraw optout/set-nhs-number-opt-out optout/set-sharing optout/confirm-told "
    "optout/set-circulation optout/check-circulation optout/export-numbers optout/import-cleared "
    "optout/set-exemption optout/get-status "
    "vault/get-erasure broker/list-erased-urns broker/renew-urns key/get-renewal "
    "broker/request-reidentification broker/get-reidentification broker/list-supersessions key/list-keys "
    "audit/get-checkpoint audit/prove-inclusion audit/prove-consistency audit/list-entries "
    "retention/list-due retention/list-certificates "
    "release/create-release release/check-release release/get-release release/list-releases "
    "table/create-table table/check-table table/read-table table/get-table table/list-tables "
    "rights/open-request rights/get-request rights/list-requests rights/extend-request rights/decide "
    "rights/read-answer",
    Role.KEY_CUSTODIAN: "key/list-keys key/add-key key/rotate-key key/destroy-key "
    "key/renew-kek key/get-renewal key/destroy-project broker/destroy-domain "
    "broker/begin-project broker/open-domain attribute/open-project "
    "retention/list-due retention/run-destruction retention/list-certificates",
    Role.AUDITOR: "key/list-keys key/get-renewal audit/get-checkpoint audit/prove-inclusion "
    "audit/prove-consistency audit/list-entries retention/list-due retention/list-certificates",
    Role.OPERATOR: "",
    Role.IDENTITY: "broker/map-subjects broker/move-subjects broker/resolve-reidentification "
    "broker/erase-subjects broker/list-members broker/link-register broker/seal-numbers "
    "rightserrand/send-errand",
    Role.BROKER: "",
    Role.ATTRIBUTES: "broker/list-rows broker/resolve-aids broker/acknowledge-rows broker/issue-urns "
    "broker/list-supersessions broker/follow-moves broker/list-erasures broker/acknowledge-erasure "
    "broker/list-links broker/list-record-keys rightserrand/list-errands rightserrand/acknowledge-errand",
}
SERVICES = (
    *service.SERVICES,
    *(
        descriptor
        for module in (
            attribute_pb2,
            audit_pb2,
            broker_pb2,
            key_pb2,
            optout_pb2,
            release_pb2,
            retention_pb2,
            rights_errand_pb2,
            rights_pb2,
            table_pb2,
            vault_pb2,
        )
        for descriptor in module.DESCRIPTOR.services_by_name.values()
    ),
)
METHODS = [f"/{one.full_name}/{method.name}" for one in SERVICES for method in one.methods]
READING = ("Get", "List", "Prove")


def test_every_method_of_the_definitions_is_in_the_table_and_no_other():
    assert sorted(policy.METHODS) == sorted(METHODS)
    assert set(policy.SERVED_BY) == {one.full_name for one in SERVICES}
    assert len({action(method) for method in METHODS}) == len(METHODS)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("method", METHODS)
def test_r9_r22_every_pair(method, role):
    caller = Caller("ons.example", role, "alice")
    if action(method) in MAY[role].split():
        policy.METHODS[method].check(caller)
    else:
        with pytest.raises(CallerRefusedError):
            policy.METHODS[method].check(caller)


def test_what_a_role_may_do_exists():
    known = {action(method) for method in METHODS}
    assert {word for words in MAY.values() for word in words.split()} <= known


def test_the_development_identity_may_call_everything():
    for rule in policy.METHODS.values():
        rule.check(callers.DEVELOPMENT)


def test_r38_nobody_asks_and_approves_nor_walks_the_chain_of_numbers():
    rules = {name.rpartition("/")[2]: rule for name, rule in policy.METHODS.items() if "Broker" in name}
    asks, approves = rules["RequestReidentification"].callers, rules["ApproveReidentification"].callers
    assert asks.isdisjoint(approves)
    theirs = ("ReleaseService", "TableService/ReadTable", "TableService/ListTables")
    others = [rule for name, rule in policy.METHODS.items() if not any(one in name for one in theirs)]
    assert all(Role.RESEARCHER not in rule.callers for rule in others)
    release = {name.rpartition("/")[2]: rule for name, rule in policy.METHODS.items() if "Release" in name}
    asks = release["CreateRelease"].callers | release["CheckRelease"].callers
    assert asks.isdisjoint(release["ApproveRelease"].callers)
    assert (asks | release["ApproveRelease"].callers).isdisjoint(release["ReadRelease"].callers)
    asks = rules["RequestReidentification"].callers
    for name in (
        "MapSubjects",
        "MoveSubjects",
        "FollowMoves",
        "ListRows",
        "LinkRegister",
        "SealNumbers",
        "ListLinks",
        "ResolveAids",
        "IssueUrns",
        "ListRecordKeys",
        "AcknowledgeRows",
        "ResolveReidentification",
    ):
        assert rules[name].callers < set(SERVER_ROLES)


def test_each_role_serves_its_own():
    def services(*names):
        return {f"pseudonym.v1.{name}Service" for name in names}

    everywhere = services("Key", "Audit", "Retention")
    assert policy.served_by(Role.BROKER) == services("Broker", "RightsErrand") | everywhere
    assert policy.served_by(Role.ATTRIBUTES) == services("Attribute", "Release", "Table") | everywhere
    linking = {one.full_name for one in service.SERVICES}
    assert policy.served_by(Role.IDENTITY) == linking | services("Vault", "Rights", "OptOut") | everywhere
    for role in SERVER_ROLES:
        served = {method.rpartition("/")[0][1:] for method in serving.methods_of({role: None})}
        assert served == {name for name in policy.served_by(role) if name.startswith("pseudonym.")}


def test_r21_r22_every_mutating_request_says_who_asks_and_why():
    for one in SERVICES[len(service.SERVICES) :]:
        for method in one.methods:
            fields = method.input_type.fields_by_name
            stated = fields["header"].message_type.fields_by_name if "header" in fields else fields
            assert ("mandate" in stated) != method.name.startswith(READING), method.full_name
