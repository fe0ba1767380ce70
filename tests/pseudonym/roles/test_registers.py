"""Registers that are matched here: whose an extract's rows are, who hears of it, what becomes of the rest."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from contextlib import ExitStack
from datetime import date, timedelta

import grpc
import polars as pl
import pytest
from typer.testing import CliRunner

from linker.cli import app
from linker.client import Client, ServiceError, Tls
from linker.resources import JobState, SubmissionKind
from pseudonym.roles.callers import Role
from pseudonym.v1 import attribute_pb2, broker_pb2
from tests.pseudonym.roles import test_join as joins
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles.harness import (
    PURPOSE,
    Called,
    client,
    governance,
    join,
    mandate,
    reason,
    three,
    tls_flags,
)
from tests.service.harness import Server, quiet_port

B, PROJECT = chain.B, chain.PROJECT
DAY = date.today()


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
            rows, batch_id=batch, source="pnc", kind=SubmissionKind.EXTRACT, id_column="row_ref"
        )
    with Called(roles[Role.ATTRIBUTES].address, certificates, "dataset-holder") as holder:
        values = chain.attributes(row_ref=rows["row_ref"].to_list())
        kind = attribute_pb2.SubmitAttributesRequest
        chain.upload(holder, "SubmitAttributes", kind, chain.header(batch), [values])
    return sent.submission_id


def start(roles, certificates, submission, **more):
    with client(roles[Role.IDENTITY], certificates, "linkage-operator") as operator:
        return operator.start_register(submission, "pnc", day=DAY, **more).job_id


def typed(server, certificates, *words):
    """What an operator's command shows."""
    words += ("--service", server.address.replace("127.0.0.1", "localhost"), "--project", PROJECT)
    words += ("--purpose", PURPOSE, "--ca", certificates / "authority.pem")
    words += ("--cert", certificates / "linkage-operator.pem", "--key", certificates / "linkage-operator.key")
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    return done.stdout


def commanded(server, certificates, submission):
    """Start it as an operator does at the command line; the job's id."""
    words = ("register", "link", submission, "--register", "pnc", "--day", DAY, "--json")
    return json.loads(typed(server, certificates, *words))["job"]["job_id"]


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
    job = commanded(identity, certificates, submission)
    linked = figures(world, certificates, job)["linked"]
    assert linked["rows_linked"] == linked["persons_linked"] == 25
    assert linked["rows_of_nobody"] + linked["rows_to_look_at"] == 30
    assert linked["persons"] == 40
    shown = typed(identity, certificates, "job", "wait", job)
    assert re.search(r"^linked +25$", shown, re.M)
    assert re.search(r"^Rows of the extract that are theirs +25$", shown, re.M)
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


def test_r74_r78_the_job_of_a_register_says_how_good_its_links_are_and_what_they_rest_on(world, certificates):
    identity = world[Role.IDENTITY]
    people = joins.made_up(60, seed=141)
    # R83: six of them protected, who are in the extract and found by nobody.
    guarded = people.with_columns(kept_apart=pl.Series(["yes"] * 6 + ["no"] * 54))
    join(identity, certificates, guarded, "q-1", protected_column="kept_apart")
    extract = extract_of(people[:40], seed=142, extra=10)
    submission = send_halves(world, certificates, extract, "q-2")
    jobs = [start(world, certificates, submission, seed=seed) for seed in (1, 1)]
    for job in jobs:
        figures(world, certificates, job)
    with client(identity, certificates, "linkage-operator") as operator:
        reports = [operator.report(job) for job in jobs]
    found, manifests = reports[0]["figures"], [json.loads(one["manifest_json"]) for one in reports]

    precision, linked = found["expected_precision"], found["linked"]
    assert 0.9 < precision["low"] <= precision["estimate"] <= precision["high"] <= 1
    assert linked["rows_linked"] == linked["persons_linked"] == 34
    assert found["missed"]["among_candidates"] >= 0
    assert found["missed"]["no_candidate"] >= 6
    groups = {by: [one for one in found["linked_by"] if one["by"] == by] for by in ("age", "sex", "area")}
    (everybody,) = groups["sex"]  # nobody's is known
    assert everybody["persons"] == 5 * round(linked["persons"] / 5)  # the protected among them
    assert everybody["linked"] == 5 * round(linked["persons_linked"] / 5)
    assert everybody["low"] < everybody["share"] < everybody["high"]
    assert len(groups["age"]) > 1
    assert all(one["persons"] >= 10 for some in groups.values() for one in some)
    for manifest in manifests:
        digests = [*(one["digest"] for one in manifest["inputs"]), manifest["model"], manifest["judged"]]
        assert all(re.fullmatch("[0-9a-f]{64}", one) for one in [*digests, *manifest["results"].values()])
        assert manifest["thresholds"] == found["thresholds"]
        assert manifest["inputs"][1]["records"] == extract.height
    assert reports[0]["model_digest"] == manifests[0]["model"]
    assert manifests[0] == manifests[1]
    whole = json.dumps(reports[0])
    for name in ("surname", "postcode", "dob", "row_ref"):
        assert not [value for value in people[name] if f'"{value}"' in whole], name

    shown = typed(identity, certificates, "job", "report", jobs[0])
    assert re.search(r"^Links expected to be right +[\d.]+% \(", shown, re.M)
    assert re.search(r"^Matches expected among pairs not linked +\d", shown, re.M)
    assert re.search(r"^sex +not known +\d+ +\d+ +\d+\.\d% \(", shown, re.M)


DYING = """
from pseudonym.attributes_registers import AttributeRegisters
from pseudonym.roles import reports
from pseudonym.roles.peer import Peer

reports.ROWS = 8  # so that a telling has many parts

def dies_after(kind, name, calls, asked=""):
    original, seen = getattr(kind, name), []
    def dying(self, *arguments, **more):
        found = original(self, *arguments, **more)
        if str(arguments[0]).endswith(asked):
            seen.append(name)
        if len(seen) == calls:
            os.kill(os.getpid(), 9)
        return found
    setattr(kind, name, dying)

dies_after({where})
sys.exit(server.run(settings))
"""


@pytest.mark.slow
def test_r80_killed_anywhere_on_its_way_a_register_ends_as_if_nothing_had_happened(tmp_path, certificates):
    """Identity dies while it tells and after it has told, the attributes role after each thing it does."""
    flags = ["--governance", str(governance(tmp_path))]
    ports = {role: quiet_port() for role in (Role.IDENTITY, Role.ATTRIBUTES)}
    people = joins.made_up(30, seed=111)
    with ExitStack() as stack:
        broker = stack.enter_context(
            Server(tmp_path / "broker", "--role", "broker", *tls_flags(certificates, "broker"), *flags)
        )
        roles = {Role.BROKER: broker}

        def started(role, code=""):
            own = ["--role", role.value, *tls_flags(certificates, role), *flags]
            own += ["--broker", broker.address.replace("127.0.0.1", "localhost")]
            own += ["--listen", f"127.0.0.1:{ports[role]}"]
            return Server(tmp_path / role, *own, code=code)

        with started(Role.IDENTITY) as identity, started(Role.ATTRIBUTES) as keeper:
            roles |= {Role.IDENTITY: identity, Role.ATTRIBUTES: keeper}
            chain.begin(roles, certificates)
            join(identity, certificates, people, "k-1")
            aids = {ref: row["aid"] for ref, row in joins.waiting(roles, certificates).items()}
            extracts = [extract_of(people[:20], seed=112, extra=10), extract_of(people[15:25], seed=113)]
            submissions = [
                send_halves(roles, certificates, rows, f"npd-{number}")
                for number, rows in enumerate(extracts)
            ]
            assert keeper.stop() == identity.stop() == 0
        wanted = [people["row_ref"][:20], people["row_ref"][15:25]]
        for submission, refs in zip(submissions, wanted, strict=True):
            job = ""
            for where in ("Peer, 'call', 3, 'LinkRegister'", "reports.Reports, 'register', 1"):
                with started(Role.IDENTITY, DYING.format(where=where)) as identity:
                    if not job:
                        job = start({Role.IDENTITY: identity}, certificates, submission)
                    assert identity.process.wait(timeout=120) == -9
            with started(Role.IDENTITY) as identity:
                linked = figures({Role.IDENTITY: identity}, certificates, job)["linked"]
                assert linked["rows_linked"] == len(refs)
                assert identity.stop() == 0
            steps = ["link", "say"] if refs is wanted[0] else ["say", "withdraw"]
            for step in steps:
                with started(
                    Role.ATTRIBUTES, DYING.format(where=f"AttributeRegisters, '{step}', 1")
                ) as keeper:
                    assert keeper.process.wait(timeout=120) == -9
            with started(Role.ATTRIBUTES) as keeper:
                roles[Role.ATTRIBUTES] = keeper
                settled(roles, certificates)
                expected = dict.fromkeys((aids[ref] for ref in refs), 1)
                chain.eventually(lambda held=expected: links_held(roles) == held)
                assert keeper.stop() == 0
        outcomes = "SELECT count(*), count(DISTINCT aid) FROM a_row JOIN a_dataset ON number = dataset "
        assert query(keeper, f"{outcomes} WHERE name = 'links'") == [(30, 30)]
        assert query(keeper, "SELECT count(*) FROM a_half WHERE ct IS NOT NULL") == [(0,)]


# --- what is refused ----------------------------------------------------------------------------------


def test_r28_r31_a_holder_sends_declared_attributes_under_row_references_and_nothing_else(
    world, certificates
):
    kind = attribute_pb2.SubmitAttributesRequest
    refs = [os.urandom(16).hex()]
    good = chain.attributes(row_ref=refs)
    with Called(world[Role.ATTRIBUTES].address, certificates, "dataset-holder") as holder:

        def refused(rows, batch, **header):
            sent = chain.header(batch)
            del sent.columns[:]
            sent.columns.extend(name for name in rows.columns if name != "row_ref")
            for name, value in header.items():
                setattr(sent, name, value)
            with pytest.raises(grpc.RpcError) as caught:
                chain.upload(holder, "SubmitAttributes", kind, sent, [rows])
            assert "Baxter" not in str(caught.value)
            return reason(caught.value)[:2]

        for number, column in enumerate(("surname", "nhs_number", "dob", "postcode", "attendance")):
            rows = good.with_columns(pl.lit("Baxter").alias(column))
            assert refused(rows, f"i-{number}") == ("INVALID_ARGUMENT", "INPUT_INVALID")
        looks = good.with_columns(score=pl.lit("9434765919"))
        assert refused(looks, "i-9") == ("INVALID_ARGUMENT", "VALUES_REFUSED")
        assert refused(good, "i-10", dataset="links") == ("INVALID_ARGUMENT", "FIELD_INVALID")
        assert refused(good, "i-11", dataset="absences") == ("NOT_FOUND", "NOT_FOUND")
    with Called(world[Role.ATTRIBUTES].address, certificates, "data-protection-officer") as officer:
        for name in ("pupil_name", "nhs", "home_postcode"):
            declaration = chain.DATASET.to_json().replace("attainment", "ks4").replace("score", name)
            asked = attribute_pb2.DeclareDatasetRequest(mandate=mandate(), declaration=declaration)
            with pytest.raises(grpc.RpcError) as caught:
                officer(f"{chain.A}DeclareDataset", asked)
            assert reason(caught.value)[0] == "INVALID_ARGUMENT"
    assert query(world[Role.ATTRIBUTES], f"SELECT count(*) FROM a_half WHERE row_ref = x'{refs[0]}'") == [
        (0,)
    ]


def test_an_extract_is_not_joined_and_a_councils_file_is_no_extract(world, certificates):
    people = joins.made_up(3, seed=121)
    with client(world[Role.IDENTITY], certificates, "council") as council:
        sent = council.submit(
            people, batch_id="x-1", source="essex", id_column="row_ref", mapping={"household": "family"}
        ).submission_id
    with client(world[Role.IDENTITY], certificates, "dataset-holder") as holder:
        extract = holder.submit(
            people.drop("family").with_columns(row_ref=pl.Series(["a", "b", "c"])),
            batch_id="x-2",
            source="pnc",
            kind=SubmissionKind.EXTRACT,
            id_column="row_ref",
        ).submission_id
    with client(world[Role.IDENTITY], certificates, "linkage-operator") as operator:
        for refused in (
            lambda: operator.start_register(sent, "pnc", day=DAY),
            lambda: operator.start_join(extract),
            lambda: operator.start_register(extract, "npd", day=DAY),  # its links would replace the NPD's
            lambda: operator.start_register(extract, "pnc", day=DAY + timedelta(days=1)),
            lambda: operator.start_register(extract, "NPD 9434765919", day=DAY),
            lambda: operator.start_register(extract, "pnc", day=DAY, nhs_number_reason="of course"),
        ):
            with pytest.raises(ServiceError) as caught:
                refused()
            assert caught.value.reason == "FIELD_INVALID"
        job = operator.wait(operator.start_register(extract, "pnc", day=DAY).job_id)
        assert job.problem is not None
        assert job.problem.reason == "INPUT_INVALID"  # ids that are no row references


def test_nobody_is_opened_for_a_purpose_that_was_not_agreed(world, certificates):
    people = joins.made_up(3, seed=131)
    join(world[Role.IDENTITY], certificates, people, "p-0")
    extract = extract_of(people, seed=132)
    submission = send_halves(world, certificates, extract, "p-1")
    files = (
        certificates / file for file in ("authority.pem", "linkage-operator.pem", "linkage-operator.key")
    )
    address = world[Role.IDENTITY].address.replace("127.0.0.1", "localhost")
    with (
        Client(address, project=PROJECT, purpose="curiosity", tls=Tls(*files)) as operator,
        pytest.raises(ServiceError) as caught,
    ):
        operator.start_register(submission, "pnc", day=DAY)
    assert caught.value.reason == "PURPOSE_REFUSED"
