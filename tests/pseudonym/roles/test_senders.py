"""Who sends what over real processes: a register's holder, and two halves of one sender."""

from __future__ import annotations

import os
import sqlite3
from datetime import date

import grpc
import polars as pl
import pytest

from linker.client import ServiceError
from linker.resources import SubmissionKind
from pseudonym.datasets import Dataset
from pseudonym.roles.callers import Role
from pseudonym.v1 import attribute_pb2
from tests.pseudonym.roles import test_join as joins
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles.harness import Called, client, governance, join, mandate, reason, three
from tests.pseudonym.roles.test_join import PERSON

PROJECT = chain.PROJECT
HOLDERS = [
    {"project": PROJECT, "dataset": "pnc", "person": "alice"},
    {"project": PROJECT, "dataset": "attainment", "person": "alice", "recipient": chain.RECIPIENT},
    {"project": PROJECT, "dataset": "npd", "person": "nina"},
]


@pytest.fixture(scope="module")
def world(tmp_path_factory, certificates):
    folder = tmp_path_factory.mktemp("senders")
    with three(folder, certificates, governance=governance(folder, holders=HOLDERS)) as roles:
        chain.begin(roles, certificates)
        yield roles


def attributes(roles, certificates, refs, batch, bearer, dataset=""):
    """Send values by row reference, as somebody."""
    with Called(roles[Role.ATTRIBUTES].address, certificates, bearer) as sender:
        header = chain.header(batch)
        header.dataset = dataset or header.dataset
        kind = attribute_pb2.SubmitAttributesRequest
        chain.upload(sender, "SubmitAttributes", kind, header, [chain.attributes(row_ref=refs)])


def held(roles):
    """How many rows the attribute store has of people, and how many values wait."""
    with sqlite3.connect(
        f"file:{roles[Role.ATTRIBUTES].data}/attributes/store.sqlite?mode=ro", uri=True
    ) as at:
        (rows,) = at.execute("SELECT count(*) FROM a_row").fetchone()
        (waiting,) = at.execute("SELECT count(*) FROM a_half WHERE ct IS NOT NULL").fetchone()
    return rows, waiting


def extract(roles, certificates, source, batch):
    people = joins.made_up(2, seed=7).drop("family")
    with client(roles[Role.IDENTITY], certificates, "dataset-holder") as holder:
        return holder.submit(
            people, batch_id=batch, source=source, kind=SubmissionKind.EXTRACT, id_column="row_ref"
        ).submission_id


@pytest.mark.slow
def test_both_halves_are_taken_from_a_registers_own_holder_alone(world, certificates):
    with pytest.raises(ServiceError) as refused:
        extract(world, certificates, "npd", "e-1")
    assert refused.value.reason == "CALLER_REFUSED"
    with client(world[Role.IDENTITY], certificates, "dataset-holder") as holder:
        assert list(holder.submissions()) == []
    sent = extract(world, certificates, "PNC", "e-1")
    with client(world[Role.IDENTITY], certificates, "linkage-operator") as operator:
        assert operator.wait(operator.start_register(sent, "pnc", day=date.today()).job_id).problem is None
    refs = [os.urandom(16).hex()]
    for bearer, dataset in (("dataset-holder", "npd"), ("council", "attainment")):
        with pytest.raises(grpc.RpcError) as caught:
            attributes(world, certificates, refs, "e-2", bearer, dataset)
        assert reason(caught.value)[1] == "CALLER_REFUSED"
    attributes(world, certificates, refs, "e-2", "dataset-holder")


@pytest.mark.slow
def test_who_learns_a_row_reference_and_sends_first_takes_nothing(world, certificates):
    """Another council sends its halves under the first one's references before the first one does."""
    own = Dataset("family-file", chain.DATASET.columns)
    with Called(world[Role.ATTRIBUTES].address, certificates, "data-protection-officer") as officer:
        asked = attribute_pb2.DeclareDatasetRequest(mandate=mandate(), declaration=own.to_json())
        officer(f"{chain.A}DeclareDataset", asked)
    people = joins.made_up(3, seed=11)
    refs = people["row_ref"].to_list()
    attributes(world, certificates, refs[:2], "s-1", "council-2", own.name)
    thief = joins.made_up(1, seed=12).with_columns(row_ref=pl.Series(refs[2:]))
    with client(world[Role.IDENTITY], certificates, "council-2") as council:
        sent = council.submit(
            thief, batch_id="t-1", source="essex", id_column="row_ref", mapping={"household": "family"}
        )
    with client(world[Role.IDENTITY], certificates, "linkage-operator") as operator:
        job = operator.start_join(sent.submission_id, family_column="family").job_id
        assert operator.wait(job).problem is None

    assert join(world[Role.IDENTITY], certificates, people, "s-1")["new"] == 3
    told = joins.waiting(world, certificates)
    assert len({told[ref]["aid"] for ref in refs}) == 3
    assert len({row["aid"] for row in told.values()}) == 4  # theirs is somebody else

    attributes(world, certificates, refs, "s-1", "council", own.name)
    chain.eventually(lambda: not set(refs) & joins.waiting(world, certificates).keys())
    assert held(world) == (3, 2 + 1)  # theirs wait for halves of their own; one is of the test before
    # A decision still names the record by its reference, unless two senders used it.
    decided = joins.decide(world, certificates, "MergeSubjects", kind=PERSON, one=refs[0], other=refs[1])
    assert decided.changed
    with pytest.raises(grpc.RpcError) as caught:
        joins.decide(world, certificates, "MergeSubjects", kind=PERSON, one=refs[0], other=refs[2])
    assert "several senders" in str(caught.value)
