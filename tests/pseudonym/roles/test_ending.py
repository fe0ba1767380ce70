"""The end of a project in the identity role, step by step."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from linker.refusals import NotReady
from pseudonym.access import Mandate
from pseudonym.roles.ending import (
    END_IN_IDENTITY,
    destroyed_in_identity,
    end_in_identity,
    kept_certificates,
)
from pseudonym.v1 import broker_pb2

ASKED = Mandate("tests.example/key-custodian", "end-of-study")
PERSON, UNTOLD, SHARED, OTHERS = (bytes([number]) * 16 for number in (7, 8, 9, 10))


class Broker:
    """Knows two persons of whom it knows no other project, and that another project has a third one."""

    def call(self, method: str, request: Any, response: Any) -> Any:
        found = [one for one in request.pids if one != SHARED] if request.pids else [PERSON, OTHERS]
        return broker_pb2.ListMembersResponse(pids=found)


def test_r48_while_a_job_still_runs_nobody_is_erased_and_asking_again_ends_the_project():
    """Then whoever is held for the project goes, told of or not, but whom another one has that goes on."""
    erased: list[bytes] = []
    jobs = ["a job"]
    steps: list[str] = []

    def held(project: str) -> tuple[set[bytes], set[bytes]]:
        steps.append("held")
        return {PERSON, UNTOLD, SHARED, OTHERS}, {OTHERS}

    def settle() -> None:
        steps.append("settled")

    def erase(pids: list[bytes]) -> int:
        erased.extend(pids)
        return len(pids)

    def end_linkage(project: str) -> dict[str, int]:
        if jobs:
            raise NotReady("JOB_NOT_FINISHED", "A job of the project still runs.", "Ask again.")
        return {"submissions": 3}

    def certify(project: str, what: str, who: Any, counts: dict[str, int]) -> bytes:
        return repr(sorted(counts.items())).encode()

    erasure: Any = SimpleNamespace(erase=erase)
    casebook: Any = SimpleNamespace(forget_project=lambda project: 2)
    broker: Any = Broker()
    signer: Any = certify
    forget = lambda project: (1, 0)  # noqa: E731
    end = end_in_identity(erasure, lambda: broker, signer, casebook, forget, settle, held, end_linkage)
    with pytest.raises(NotReady):
        end("tf-2026", ASKED)
    assert erased == []
    jobs.clear()
    counts = {"subject": 2, "rights_case": 2, "opt_out_list": 1, "opt_out_exemption": 0, "submissions": 3}
    assert end("tf-2026", ASKED) == repr(sorted(counts.items())).encode()
    assert erased == [PERSON, UNTOLD]
    assert steps == ["settled", "held"]


def test_r48_a_project_that_was_destroyed_before_its_day_keeps_nobody_for_itself(tmp_path):
    house: Any = SimpleNamespace(settings=SimpleNamespace(folder=tmp_path))
    destroyed = destroyed_in_identity(house)
    assert not destroyed("tf-2026")
    told = {"when": "2026-11-23T12:00:00+00:00", "project": "tf-2026", "what": END_IN_IDENTITY}
    kept_certificates(house).keep(json.dumps(told).encode())
    assert destroyed("tf-2026")
    assert not destroyed("other-2026")
