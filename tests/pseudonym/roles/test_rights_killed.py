"""Each role is killed at each step of a request: afterwards it was carried out, or never begun."""

from __future__ import annotations

from contextlib import suppress

import grpc
import pytest

from pseudonym.roles.callers import Role
from pseudonym.v1 import rights_pb2, vault_pb2
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles import test_rights as rights
from tests.pseudonym.roles.harness import governance

DYING = """
from pseudonym import rectifying
from pseudonym.attributes_rights import AttributeRights
from pseudonym.casebook import Casebook
from pseudonym.limits import Limits
from pseudonym.roles import carrying, erasing, errands, exchange
from pseudonym.roles.errand_desk import ErrandDesk
from pseudonym.roles.papers import Papers
from pseudonym.roles.peer import Peer
from pseudonym.storage import rights as stored

exchange.ASK_EVERY = erasing.EVERY = errands.EVERY = carrying.EVERY = 0.2

def dies_after(kind, name, asked=""):
    original = getattr(kind, name)
    def dying(*arguments, **more):
        found = original(*arguments, **more)
        if any(str(one).endswith(asked) for one in arguments):
            os.kill(os.getpid(), 9)
        return found
    setattr(kind, name, dying)

dies_after({where})
os._exit(server.run(settings))
"""
WHERE = {
    Role.IDENTITY: [
        "carrying, 'rectify'",
        "Limits, 'hold'",
        "stored, 'put_case'",
        "Casebook, 'keep_answer'",
        "Peer, 'call', 'SendErrand'",
    ],
    Role.BROKER: ["Papers, 'write'", "ErrandDesk, 'done'"],
    Role.ATTRIBUTES: [
        "AttributeRights, 'mark'",
        "AttributeRights, 'unlink'",
        "AttributeRights, 'copy'",
        "Peer, 'call', 'AcknowledgeErrand'",
    ],
}


@pytest.mark.slow
def test_each_role_is_killed_at_each_step_and_nothing_is_half_done(tmp_path, certificates):
    told = governance(tmp_path, contacts=rights.CONTACTS)
    with rights.Rights(tmp_path, certificates, told) as trio:
        trio.start()
        study = rights.People(trio, people=9)
        number = 0
        for role, places in WHERE.items():
            for where in places:
                number += 1
                killed(trio, study, role, where, number)
        # None of it took anything from anybody who did not ask.
        assert rights.flags_of(study)[study.aids[8]] == 0


def killed(trio, study, role, where, number):
    """One request of each sort, the role dying at its step; then all that was decided is carried out."""
    person = number % 8
    sort = {"rectify": "name", "unlink": "name", "hold": "mark", "mark": "mark", "copy": "copy"}
    named = next((found for word, found in sort.items() if f"'{word}'" in where), "")
    if "keep_answer" in where:
        named = "copy"
    wanted = [named] if named else ["mark", "copy"]
    cases = {one: rights.opened(study, RIGHTS[one], person).case_id for one in wanted}
    trio.stop(role)
    trio.CODE = DYING.format(where=where)
    trio.start(role)
    for one, case_id in cases.items():
        with suppress(grpc.RpcError):
            rights.decided(study, case_id, **MORE.get(one, {}))
    assert trio.servers[role].process.wait(timeout=60) == -9, where
    trio.CODE = rights.Rights.CODE
    trio.start(role)
    for one, case_id in cases.items():
        chain.eventually(lambda case_id=case_id: rights.case_of(study, case_id).case_id == case_id)
        before = rights.case_of(study, case_id)
        if before.state == rights_pb2.CASE_STATE_OPEN:
            # It was never begun: nothing of it is there, and it can be decided again.
            assert rights.flags_of(study)[study.aids[person]] == 0
            rights.decided(study, case_id, **MORE.get(one, {}))
        done = rights.closed(study, case_id)
        if one == "mark":
            assert rights.flags_of(study)[study.aids[person]] == 1
            assert rights.states(study).count("restricted") == 1
            lifted = rights.granted(
                study, rights_pb2.RIGHT_LIFTING, open_more={"lifts": case_id, "sought": []}
            )
            assert lifted.state == rights_pb2.CASE_STATE_CLOSED
            assert rights.flags_of(study)[study.aids[person]] == 0
            assert rights.states(study).count("restricted") == 0
        elif one == "copy":
            assert done.answered
        else:
            sought = vault_pb2.SoughtPerson(
                born=f"2011-02-{1 + person:02}", surname="Rightly", postcode=f"CB{1 + person} {person}AA"
            )
            again = rights.opened(study, rights_pb2.RIGHT_USED, sought=[sought])
            assert rights.case_of(study, again.case_id).found == rights_pb2.RIGHT_FOUND_ONE


RIGHTS = {
    "mark": rights_pb2.RIGHT_RESTRICTION,
    "copy": rights_pb2.RIGHT_ACCESS,
    "name": rights_pb2.RIGHT_RECTIFICATION,
}
MORE = {
    "name": {
        "corrections": [rights_pb2.RightsCorrection(field="surname", value="Rightly")],
        "truth": rights_pb2.CORRECTION_TRUTH_FORMER,
    }
}
