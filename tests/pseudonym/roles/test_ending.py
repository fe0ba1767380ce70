"""The end of a project in the identity role, step by step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from linker.refusals import NotReady
from pseudonym.access import Mandate
from pseudonym.roles.ending import end_in_identity
from pseudonym.v1 import broker_pb2

ASKED = Mandate("tests.example/key-custodian", "end-of-study")
PERSON = b"\x07" * 16


class Broker:
    """Knows one person whom no other project has."""

    def call(self, method: str, request: Any, response: Any) -> Any:
        return broker_pb2.ListMembersResponse(pids=[PERSON])


def test_r48_while_a_job_still_runs_nobody_is_erased_and_asking_again_ends_the_project():
    erased: list[bytes] = []
    jobs = ["a job"]

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
    end = end_in_identity(erasure, lambda: broker, signer, casebook, lambda project: (1, 0), end_linkage)
    with pytest.raises(NotReady):
        end("tf-2026", ASKED)
    assert erased == []
    jobs.clear()
    counts = {"subject": 1, "rights_case": 2, "opt_out_list": 1, "opt_out_exemption": 0, "submissions": 3}
    assert end("tf-2026", ASKED) == repr(sorted(counts.items())).encode()
    assert erased == [PERSON]
