"""People whose data may not be used enter another project: there they may not be used either."""

from __future__ import annotations

import os

import pytest

from pseudonym.roles.callers import Role
from pseudonym.v1 import attribute_pb2, broker_pb2, rights_pb2
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles import test_rights as rights
from tests.pseudonym.roles.harness import bound, client, governance, mandate

LATER = "tf-2027"


@pytest.fixture(scope="module")
def study(tmp_path_factory, certificates):
    folder = tmp_path_factory.mktemp("entering")
    told = governance(folder, contacts=rights.CONTACTS)
    with rights.Rights(folder, certificates, told) as roles:
        roles.start()
        yield rights.People(roles, people=9)


def begun(study):
    with study.trio.called(Role.BROKER, "key-custodian") as custodian:
        request = broker_pb2.BeginProjectRequest(mandate=mandate(project=LATER))
        custodian(f"{chain.B}BeginProject", request, broker_pb2.BeginProjectResponse)


def joined(study, refs):
    identity, certificates = study.trio.servers[Role.IDENTITY], study.trio.certificates
    with client(identity, certificates, "council", LATER) as council:
        sent = council.submit(
            study.rows(refs), batch_id="b-later", source="cambridgeshire", id_column="row_ref", mapping={}
        )
    with client(identity, certificates, "linkage-operator", LATER) as operator:
        job = operator.start_join(sent.submission_id, family_column="").job_id
        operator.wait(job)
        assert operator.report(job)["figures"]["joined"]["joined"] == len(refs)
    with study.trio.called(Role.BROKER, "attributes") as keeper:
        request = broker_pb2.ListRowsRequest(project=LATER)
        rows = chain.told(keeper(f"{chain.B}ListRows", request, broker_pb2.ListRowsResponse).arrow)
    aids = dict(rows.select("row_ref", "aid").rows())
    return [bytes.fromhex(aids[ref]) for ref in bound([ref.hex() for ref in refs])]


def sent(study, refs):
    """The project opens at the attributes role, and the other halves come."""
    with study.trio.called(Role.ATTRIBUTES, "key-custodian") as custodian:
        custodian(f"{chain.A}OpenProject", attribute_pb2.OpenProjectRequest(mandate=mandate(project=LATER)))
    with study.trio.called(Role.ATTRIBUTES, rights.OFFICER) as officer:
        request = attribute_pb2.DeclareDatasetRequest(
            mandate=mandate(project=LATER), declaration=chain.DATASET.to_json()
        )
        officer(f"{chain.A}DeclareDataset", request)
    with study.trio.called(Role.ATTRIBUTES, "council") as council:
        header = chain.header("b-later")
        header.mandate.CopyFrom(mandate(project=LATER))
        values = [chain.attributes(row_ref=[ref.hex() for ref in refs])]
        chain.upload(council, "SubmitAttributes", attribute_pb2.SubmitAttributesRequest, header, values)


def test_r62_a_restriction_reaches_a_project_that_the_person_enters_later(study):
    restriction = rights.granted(study, rights_pb2.RIGHT_RESTRICTION, 2)
    limited = rights.granted(study, rights_pb2.RIGHT_RESTRICTION, 3, purposes=["other-use"])
    begun(study)
    refs = [os.urandom(16) for _ in range(5)]
    aids = joined(study, refs)
    sent(study, refs)

    def flags():
        found = rights.flags_of(study)
        return [found[aid] for aid in aids] if found.keys() >= set(aids) else None

    assert chain.eventually(flags) == [0, 0, 1, 4, 0]
    # What is lifted later is lifted there, too.
    for case in (restriction, limited):
        rights.granted(study, rights_pb2.RIGHT_LIFTING, open_more={"lifts": case.case_id, "sought": []})
    assert flags() == [0, 0, 0, 0, 0]
