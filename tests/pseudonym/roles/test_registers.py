"""Registers that are matched here: whose an extract's rows are, who hears of it, what becomes of the rest."""

from __future__ import annotations

import os
import sqlite3
from datetime import date

import polars as pl
import pytest

from linker.resources import JobState, SubmissionKind
from pseudonym.roles.callers import Role
from pseudonym.v1 import attribute_pb2, broker_pb2
from tests.pseudonym.roles import test_join as joins
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles.harness import (
    Called,
    client,
    governance,
    join,
    three,
)

B, PROJECT = chain.B, chain.PROJECT
DAY = date(2026, 11, 23)


@pytest.fixture(scope="module")
def world(tmp_path_factory, certificates):
    """Three roles of their own, with the project begun."""
    folder = tmp_path_factory.mktemp("registers")
    with three(folder, certificates, governance=governance(folder)) as roles:
        chain.begin(roles, certificates)
        yield roles


def extract_of(people, seed, extra=0):
    """An extract: some people as a register has them, and others that nobody knows, under new references."""
    others = joins.made_up(extra, seed=seed).drop("family")
    rows = pl.concat([people.select(others.columns), others])
    refs = pl.Series([os.urandom(16).hex() for _ in range(rows.height)])
    return rows.with_columns(row_ref=refs)


def send_halves(roles, certificates, rows, batch):
    """Both halves of an extract, as its holder sends them; the submission's id."""
    with client(roles[Role.IDENTITY], certificates, "dataset-holder") as holder:
        sent = holder.submit(
            rows, batch_id=batch, source="npd", kind=SubmissionKind.EXTRACT, id_column="row_ref"
        )
    with Called(roles[Role.ATTRIBUTES].address, certificates, "dataset-holder") as holder:
        values = chain.attributes(row_ref=rows["row_ref"].to_list())
        kind = attribute_pb2.SubmitAttributesRequest
        chain.upload(holder, "SubmitAttributes", kind, chain.header(batch), [values])
    return sent.submission_id


def start(roles, certificates, submission, **more):
    with client(roles[Role.IDENTITY], certificates, "linkage-operator") as operator:
        return operator.start_register(submission, "npd", day=DAY, **more).job_id


def figures(roles, certificates, job_id):
    with client(roles[Role.IDENTITY], certificates, "linkage-operator") as operator:
        job = operator.wait(job_id)
        assert job.state is JobState.SUCCEEDED, job.problem
        return operator.report(job_id)["figures"]


def query(server, sql, name="attributes"):
    with sqlite3.connect(f"file:{server.data}/{name}/store.sqlite?mode=ro", uri=True) as database:
        return database.execute(sql).fetchall()


def told(roles, certificates):
    """What the broker still has of registers: row_ref, aid, outcome."""
    with Called(roles[Role.BROKER].address, certificates, "attributes") as keeper:
        asked = broker_pb2.ListLinksRequest(project=PROJECT)
        answer = keeper(f"{B}ListLinks", asked, broker_pb2.ListLinksResponse)
    return chain.told(answer.arrow)


def settled(roles, certificates):
    """Once the attributes role has followed all that the broker knows."""

    def nothing_left():
        return told(roles, certificates).is_empty()

    chain.eventually(nothing_left)


def links_held(roles):
    """How many rows of the dataset the store has of each subject, by aid, for rows that a register linked."""
    found = query(
        roles[Role.ATTRIBUTES],
        "SELECT a_row.aid, count(*) FROM a_row JOIN a_link USING (handle) "
        "JOIN a_dataset ON a_dataset.number = a_row.dataset WHERE a_dataset.name = 'attainment' GROUP BY 1",
    )
    return {aid.hex(): count for aid, count in found}


@pytest.mark.slow
def test_r25_a_register_that_is_matched_here_reaches_the_attributes_of_whose_its_rows_are(
    world, certificates
):
    identity, keeper = world[Role.IDENTITY], world[Role.ATTRIBUTES]
    first = joins.made_up(40, seed=101)
    twice = joins.again(first[:10], seed=102)  # R13: delivered twice, and one person all the same
    join(identity, certificates, first, "r-1")
    assert join(identity, certificates, twice, "r-2")["joined"] == 10
    people = query(identity, "SELECT count(*) FROM subject WHERE kind = 'person'", "identity")
    rows = query(identity, "SELECT count(*) FROM identity_row", "identity")
    aids = {ref: row["aid"] for ref, row in joins.waiting(world, certificates).items()}

    extract = extract_of(first[:25], seed=103, extra=30)
    submission = send_halves(world, certificates, extract, "npd-1")
    job = start(world, certificates, submission)
    linked = figures(world, certificates, job)["linked"]
    assert linked["rows_linked"] == linked["persons_linked"] == 25
    assert linked["rows_of_nobody"] + linked["rows_to_look_at"] == 30
    assert linked["persons"] == 40
    settled(world, certificates)

    # Nobody came into the vault by it, and no row.
    assert query(identity, "SELECT count(*) FROM subject WHERE kind = 'person'", "identity") == people
    assert query(identity, "SELECT count(*) FROM identity_row", "identity") == rows
    # Each of the 25 has one row, though ten of them are two records; what was nobody's is gone, unread.
    assert links_held(world) == dict.fromkeys((aids[ref] for ref in first["row_ref"][:25]), 1)
    left = query(keeper, "SELECT count(*) FROM a_half WHERE ct IS NOT NULL")
    assert left == [(linked["rows_to_look_at"],)]
    outcomes = query(
        keeper, "SELECT count(*) FROM a_row JOIN a_dataset ON number = dataset WHERE name = 'links'"
    )
    assert outcomes == [(40,)]
