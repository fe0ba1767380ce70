"""Killed between the mark of whose data may not be used and the dropping of rows of who withdrew.

    persons stored ─▶ marks at the broker ─▶ whose the rows are ─▶ marked ─▶ attached ─▶ nobody's dropped

Whatever role is killed wherever in it: no row ever lies there without its person's mark, and none of somebody
who withdrew stays.
"""

from __future__ import annotations

import os
import sqlite3

import pytest

from linker.resources import JobState
from pseudonym.roles.callers import Role
from pseudonym.v1 import attribute_pb2, broker_pb2, optout_pb2, rights_pb2, vault_pb2
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles import test_rights as rights
from tests.pseudonym.roles.harness import bound, client, governance, mandate

RESTRICTED, WITHDRAWN, PEOPLE = 2, 5, 6
DYING = """
from pseudonym.attributes_intake import AttributeIntake
from pseudonym.attributes_registers import AttributeRegisters
from pseudonym.attributes_rights import AttributeRights
from pseudonym.broker import Broker
from pseudonym.people import People
from pseudonym.roles import carrying, erasing, errands, exchange
from pseudonym.roles.carrying import Carrying
from pseudonym.roles.errand_desk import ErrandDesk
from pseudonym.roles.opting_out import OptOuts
from pseudonym.roles.reports import Reports

exchange.ASK_EVERY = erasing.EVERY = errands.EVERY = carrying.EVERY = 0.2

def dies(kind, name, before=False):
    original = getattr(kind, name)
    def dying(*arguments, **more):
        sizes = [one.height for one in arguments if hasattr(one, "height")]
        fatal = not sizes or any(sizes)  # whose rows are is asked with none, too
        if fatal and before:
            os.kill(os.getpid(), 9)
        found = original(*arguments, **more)
        if fatal:
            os.kill(os.getpid(), 9)
        return found
    setattr(kind, name, dying)

dies({where})
os._exit(server.run(settings))
"""
WHERE = {
    Role.IDENTITY: [
        "People, 'deliver'",
        "OptOuts, 'settle'",
        "Carrying, 'enter'",
        "Reports, 'rows', True",
        "Reports, 'rows'",
    ],
    Role.BROKER: ["ErrandDesk, 'take'", "Broker, 'take', True", "Broker, 'take'", "ErrandDesk, 'done'"],
    Role.ATTRIBUTES: [
        "AttributeRights, 'mark', True",
        "AttributeRights, 'mark'",
        "AttributeIntake, 'attach', True",
        "AttributeIntake, 'attach'",
        "AttributeRegisters, 'drop', True",
        "AttributeRegisters, 'drop'",
        "AttributeIntake, 'forget'",
    ],
}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_r52_r62_killed_between_mark_and_dropping_nobodys_data_come_in_unmarked(tmp_path, certificates):
    told = governance(tmp_path, contacts=rights.CONTACTS)
    with rights.Rights(tmp_path, certificates, told) as trio:
        trio.start()
        study = rights.People(trio, people=9)
        rights.granted(study, rights_pb2.RIGHT_RESTRICTION, RESTRICTED)
        with trio.called(Role.IDENTITY, rights.OFFICER) as officer:
            sought = vault_pb2.SoughtPersons(persons=[rights.sought(study, WITHDRAWN)])
            asked = optout_pb2.WithdrawRequest(mandate=mandate(), sought=sought)
            officer("/pseudonym.v1.OptOutService/Withdraw", asked, optout_pb2.WithdrawResponse, 60)
        chain.eventually(lambda: study.aids[WITHDRAWN] not in rights.flags_of(study))
        places = [(role, where) for role, some in WHERE.items() for where in some]
        for number, (role, where) in enumerate(places):
            killed(study, f"tf-late-{number}", role, where)
        trio.stop()


def killed(study, project, role, where):
    """People are delivered into a project of their own, and a role dies in the middle of it."""
    trio = study.trio
    begun(study, project)
    refs = [os.urandom(16) for _ in range(PEOPLE)]
    sent(study, project, refs)
    trio.stop(role)
    trio.CODE = DYING.format(where=where)
    trio.start(role)
    with client(trio.servers[Role.IDENTITY], trio.certificates, "council", project) as council:
        rows = study.rows(refs)
        batch = council.submit(
            rows, batch_id=project, source="cambridgeshire", id_column="row_ref", mapping={}
        )
    with client(trio.servers[Role.IDENTITY], trio.certificates, "linkage-operator", project) as operator:
        job = operator.start_join(batch.submission_id, family_column="").job_id
    assert trio.servers[role].process.wait(timeout=60) == -9, where
    assert unmarked(trio) == [], where
    trio.CODE = rights.Rights.CODE
    trio.start(role)
    with client(trio.servers[Role.IDENTITY], trio.certificates, "linkage-operator", project) as operator:
        assert operator.wait(job).state is JobState.SUCCEEDED, where
    chain.eventually(lambda: waiting(trio) == 0)
    assert unmarked(trio) == [], where
    assert held(trio, project) == [0] * (PEOPLE - 2) + [1], where


def begun(study, project):
    trio = study.trio
    with trio.called(Role.BROKER, "key-custodian") as custodian:
        request = broker_pb2.BeginProjectRequest(mandate=mandate(project=project))
        custodian(f"{chain.B}BeginProject", request, broker_pb2.BeginProjectResponse)
    with trio.called(Role.ATTRIBUTES, "key-custodian") as custodian:
        opened = attribute_pb2.OpenProjectRequest(mandate=mandate(project=project))
        custodian(f"{chain.A}OpenProject", opened)
    with trio.called(Role.ATTRIBUTES, rights.OFFICER) as officer:
        declared = attribute_pb2.DeclareDatasetRequest(
            mandate=mandate(project=project), declaration=chain.DATASET.to_json()
        )
        officer(f"{chain.A}DeclareDataset", declared)


def sent(study, project, refs):
    """The other halves, of which one is nobody's."""
    bound([ref.hex() for ref in refs])
    with study.trio.called(Role.ATTRIBUTES, "council") as council:
        header = chain.header(project)
        header.mandate.CopyFrom(mandate(project=project))
        values = [chain.attributes(row_ref=[ref.hex() for ref in refs])]
        chain.upload(council, "SubmitAttributes", attribute_pb2.SubmitAttributesRequest, header, values)


def asked(trio, sql, *values):
    path = trio.folder / Role.ATTRIBUTES / "attributes" / "store.sqlite"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return database.execute(sql, values).fetchall()


OF = "FROM a_subject JOIN a_project ON a_project.number = a_subject.project"


def held(trio, project):
    """The flags of everybody who has a row in a project."""
    return [flags for (flags,) in asked(trio, f"SELECT flags {OF} WHERE name = ? ORDER BY flags", project)]


def unmarked(trio):
    """The later projects in which the rows lie that are somebody's, while nobody is marked."""
    sql = f"SELECT name, count(*), sum(flags) {OF} WHERE name LIKE 'tf-late-%' GROUP BY name"
    return [name for name, count, flags in asked(trio, sql) if count == PEOPLE - 1 and not flags]


def waiting(trio):
    """How many halves wait for their other half."""
    [(count,)] = asked(trio, "SELECT count(*) FROM a_half WHERE ct IS NOT NULL")
    return count
