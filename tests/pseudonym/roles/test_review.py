"""People judge what a linkage left to them: who is shown what, who decides, and what the next run does."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from datetime import date

import polars as pl
import pytest
from typer.testing import CliRunner

from linker.cli import app
from linker.client import ServiceError
from linker.judgements import Agreement, Reason, Verdict
from linker.resources import JobState, Table
from pseudonym.roles.callers import Role
from pseudonym.v1 import rights_pb2, vault_pb2
from tests.pseudonym.roles import test_join as joins
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles import test_registers as registers
from tests.pseudonym.roles.harness import (
    PURPOSE,
    Called,
    client,
    finished,
    governance,
    join,
    mandate,
    start_join,
    three,
    tls_flags,
)
from tests.pseudonym.roles.test_erasure import nhs_numbers
from tests.pseudonym.roles.test_rights import CONTACTS
from tests.service.harness import Server

PROJECT = chain.PROJECT
REVIEWERS = ("reviewer", "reviewer-2", "reviewer-3")
KNOWN_AS = 12  # people whom the register knows under another forename


@pytest.fixture(scope="module")
def world(tmp_path_factory, certificates):
    folder = tmp_path_factory.mktemp("review")
    with three(folder, certificates, governance=governance(folder, contacts=CONTACTS)) as roles:
        chain.begin(roles, certificates)
        yield roles


@pytest.fixture(scope="module")
def people(world, certificates):
    born = pl.Series([f"19{60 + number}-0{1 + number % 9}-1{number % 10}" for number in range(30)])
    found = joins.made_up(30, seed=301).with_columns(born.alias("dob"))
    join(world[Role.IDENTITY], certificates, found, "v-1")
    return found


@pytest.fixture(scope="module")
def extract(world, certificates, people):
    """Of some people the register has another forename: one for others to look at."""
    rows = registers.extract_of(people[:20], seed=302)
    other = pl.when(pl.int_range(pl.len()) < KNOWN_AS).then(pl.lit("Xanthippe")).otherwise("forename")
    rows = rows.with_columns(forename=other)
    return rows, registers.send_halves(world, certificates, rows, "v-pnc")


@pytest.fixture(scope="module")
def job(world, certificates, extract):
    job = registers.start(world, certificates, extract[1])
    linked = registers.figures(world, certificates, job)["linked"]
    assert linked["rows_to_look_at"] == KNOWN_AS
    return job


def reviewer(world, certificates, name="reviewer", **more):
    return client(world[Role.IDENTITY], certificates, name, **more)


def left_to_people(world, certificates, job):
    with client(world[Role.IDENTITY], certificates, "linkage-operator") as operator:
        return operator.read_links(job, Table.REVIEW)


def test_r75_reviewers_see_identifiers_and_never_an_attribute(world, certificates, people, extract, job):
    rows, _ = extract
    with reviewer(world, certificates) as client:
        found = client.next_pair(job)
    (pair,) = found.pairs
    left, right = (
        next(one for one in found.records if one.record_id == name) for name in (pair.left_id, pair.right_id)
    )
    assert (left.known, right.known) == (True, False)
    sent = rows.row(by_predicate=pl.col("row_ref") == pair.right_id, named=True)
    assert right.fields["surname"] == [sent["surname"]]
    assert right.fields["forename"] == ["Xanthippe"]
    assert left.fields["surname"] == [sent["surname"]]
    assert left.fields["date_of_birth"] == [sent["dob"]]
    assert pair.fields["surname"] is pair.fields["date_of_birth"] is Agreement.EQUAL
    assert pair.fields["forename"] is Agreement.DIFFERENT
    assert set(left.fields) | set(right.fields) <= {
        *("forename", "surname", "date_of_birth", "sex", "address", "postcode"),
        *("nhs_number", "nino", "upn", "uln", "pncid"),
    }
    assert found.waiting == KNOWN_AS


def test_a_pair_is_before_one_persons_eyes_at_a_time(world, certificates, job):
    with reviewer(world, certificates) as one, reviewer(world, certificates, "reviewer-2") as other:
        first = one.next_pair(job).pairs[0].pair
        assert other.next_pair(job).pairs[0].pair != first
        assert one.next_pair(job).pairs[0].pair == first  # it is still theirs


def test_who_may_look_and_judge(world, certificates, job):
    with client(world[Role.IDENTITY], certificates, "linkage-operator") as operator:
        for refused in (
            lambda: operator.next_pair(job),
            lambda: operator.judge(job, [(0, Verdict.SAME, Reason.NONE)]),
            lambda: operator.undo_judgement(job, 0),
        ):
            with pytest.raises(ServiceError) as caught:
                refused()
            assert caught.value.reason == "CALLER_REFUSED"
    with reviewer(world, certificates, purpose="curiosity") as client_of_another_purpose:
        with pytest.raises(ServiceError) as caught:
            client_of_another_purpose.next_pair(job)
        assert caught.value.reason == "PURPOSE_REFUSED"
    with reviewer(world, certificates) as client_:
        for wrong in ([(KNOWN_AS, Verdict.SAME, Reason.NONE)], [(0, Verdict.SAME, Reason.NONE)] * 2, []):
            with pytest.raises(ServiceError) as caught:
                client_.judge(job, wrong)
            assert caught.value.reason == "FIELD_INVALID"
        with pytest.raises(ServiceError) as caught:
            client_.undo_judgement(job, 1)
        assert caught.value.reason == "JUDGEMENT_NOT_FOUND"
        with pytest.raises(ServiceError) as caught:
            client_.next_pair("job-0000")
        assert caught.value.reason == "JOB_NOT_FOUND"


@pytest.mark.slow
def test_r75_decisions_become_evidence_of_the_next_run(world, certificates, people, extract, job):
    rows, submission = extract
    pairs = left_to_people(world, certificates, job)
    truth = dict(zip(rows["row_ref"], people["row_ref"][:20], strict=True))
    linked_before = registers.figures(world, certificates, job)["linked"]["rows_linked"]
    # One judges all that waits for them: of three, that they are others.
    different = set(pairs["right_id"].sort()[:3])
    with reviewer(world, certificates) as one:
        for _ in range(2):  # what was judged may be judged anew: the latest holds
            done = one.judge(
                job,
                [
                    (
                        number,
                        Verdict.DIFFERENT if right in different else Verdict.SAME,
                        Reason.TWINS if right in different else Reason.NONE,
                    )
                    for number, right in enumerate(pairs["right_id"])
                ],
            )
        assert done.not_judged == 0
        assert done.settled + done.waiting == KNOWN_AS
        assert one.next_pair(job).pairs == []  # a second look is another's
        assert not any(judgement.holds for judgement in one.judgements(job))
        last = one.undo_judgement(job, 0)
        assert last.not_judged == 1
        one.judge(
            job, [(0, Verdict.DIFFERENT if pairs["right_id"][0] in different else Verdict.SAME, Reason.NONE)]
        )
    # A second and a third look at what waits for them, if anything does.
    for name in REVIEWERS[1:]:
        with reviewer(world, certificates, name) as other:
            while found := other.next_pair(job, together=True).pairs:
                same = [
                    (
                        pair.pair,
                        Verdict.DIFFERENT if pair.right_id in different else Verdict.SAME,
                        Reason.NONE,
                    )
                    for pair in found
                ]
                done = other.judge(job, same)
    assert (done.settled, done.same, done.different) == (KNOWN_AS, KNOWN_AS - 3, 3)
    assert done.agreed == done.judged_twice
    with client(world[Role.IDENTITY], certificates, "linkage-operator") as operator:
        told = [one for one in operator.judgements(job) if one.holds]
        assert len(told) == KNOWN_AS
        assert {one.right_id for one in told if one.verdict is Verdict.DIFFERENT} == different
    # Killed and started again, it still knows.
    again = registers.start(world, certificates, submission)
    linked = registers.figures(world, certificates, again)
    assert linked["linked"]["rows_linked"] == linked_before + KNOWN_AS - 3
    assert linked["linked"].get("rows_to_look_at", 0) == 0
    assert linked["linked"]["rows_of_nobody"] == 3
    assert linked["stages"]["clerical"] == KNOWN_AS - 3
    assert left_to_people(world, certificates, again).is_empty()
    with client(world[Role.IDENTITY], certificates, "linkage-operator") as operator:
        links = operator.read_links(again)
    assert set(links["right_id"]) == set(truth) - different


@pytest.mark.slow
def test_r75_judgements_survive_a_kill_and_end_with_their_job(tmp_path, certificates):
    flags = ["--governance", str(governance(tmp_path))]
    people = joins.made_up(12, seed=311)
    with Server(
        tmp_path / "broker", "--role", "broker", *tls_flags(certificates, "broker"), *flags
    ) as broker:
        own = ["--role", "identity", *tls_flags(certificates, "identity"), *flags]
        own += ["--broker", broker.address.replace("127.0.0.1", "localhost")]
        with Server(tmp_path / "identity", *own) as identity:
            with Server(
                tmp_path / "attributes",
                *["--role", "attributes", *tls_flags(certificates, "attributes"), *flags],
                *["--broker", broker.address.replace("127.0.0.1", "localhost")],
            ) as keeper:
                chain.begin(
                    {Role.IDENTITY: identity, Role.BROKER: broker, Role.ATTRIBUTES: keeper}, certificates
                )
                assert keeper.stop() == 0
            # The same people again, of whom some have another forename: for people to look at.
            join(identity, certificates, people, "k-1")
            renamed = joins.again(people, seed=312).with_columns(forename=pl.lit("Xanthippe"))
            job_id = ""
            with client(identity, certificates, "council") as council:
                sent = council.submit(
                    renamed,
                    batch_id="k-2",
                    source="essex",
                    id_column="row_ref",
                    mapping={"household": "family"},
                ).submission_id
            with client(identity, certificates, "linkage-operator") as operator:
                job_id = operator.start_join(sent, family_column="family", threshold=14.0).job_id
                joined = operator.wait(job_id)
                assert joined.state is JobState.SUCCEEDED, joined.problem
                pairs = operator.read_links(job_id, Table.REVIEW)
            assert pairs.height
            with client(identity, certificates, "reviewer") as one:
                one.judge(job_id, [(number, Verdict.SAME, Reason.NONE) for number in range(pairs.height)])
            identity.process.send_signal(signal.SIGKILL)
            identity.process.wait()
        with Server(tmp_path / "identity", *own) as identity:
            with client(identity, certificates, "reviewer") as one:
                assert one.review_progress(job_id).not_judged == 0
                assert len(list(one.judgements(job_id))) == pairs.height
            before = persons(identity)
            with client(identity, certificates, "reviewer-2") as other:
                while found := other.next_pair(job_id).pairs:
                    other.judge(job_id, [(found[0].pair, Verdict.SAME, Reason.NONE)])
            with client(identity, certificates, "linkage-operator") as operator:
                again = operator.wait(
                    operator.start_join(sent, family_column="family", threshold=14.0).job_id
                )
                assert again.state is JobState.SUCCEEDED, again.problem
                assert operator.read_links(again.job_id, Table.REVIEW).is_empty()
                assert persons(identity) < before
                operator.delete_job(job_id)
            database = identity.data / "kinlink.sqlite"
            with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as left:
                assert left.execute("SELECT count(*) FROM judgements").fetchone() == (0,)


@pytest.mark.slow
def test_r60_what_was_judged_of_a_join_does_not_outlast_a_correction(world, certificates):
    """A pair that was called the same by a wrong name is asked again, and links nobody until then."""
    identity = world[Role.IDENTITY]
    people = joins.made_up(12, seed=321)
    numbers = nhs_numbers(12)
    join(identity, certificates, people.with_columns(nhs_number=pl.Series(numbers)), "c-1")
    renamed = joins.again(people, seed=322).with_columns(forename=pl.lit("Xanthippe"))
    first = joined(world, certificates, start_join(identity, certificates, renamed, "c-2", threshold=14.0))
    pairs = left_to_people(world, certificates, first)
    assert pairs.height > 2
    for name in REVIEWERS:
        with reviewer(world, certificates, name) as one:
            while found := one.next_pair(first, together=True).pairs:
                one.judge(first, [(pair.pair, Verdict.SAME, Reason.NONE) for pair in found])
    # The record that was known turns out to be somebody else's: they were never called so.
    sent_again = list(renamed["row_ref"])
    place = next(
        sent_again.index(one) for one in pairs.select("left_id", "right_id").row(0) if one in sent_again
    )
    found = {"born": people["dob"][place], "nhs": numbers[place]}
    correct(identity, certificates, found, {"given": "Quentin"})
    before = persons(identity)
    with client(identity, certificates, "linkage-operator") as operator:
        sent = operator.submission(batch_id="c-2").submission_id
        again = operator.start_join(sent, family_column="family", threshold=14.0).job_id
    again = joined(world, certificates, again)
    assert before - persons(identity) == pairs.height - 1
    asked = left_to_people(world, certificates, again).select("left_id", "right_id").rows()
    assert asked == pairs.select("left_id", "right_id").rows()[:1]


def joined(world, certificates, job_id):
    """The job, once it has succeeded."""
    finished(world[Role.IDENTITY], certificates, job_id)
    return job_id


def correct(identity, certificates, sought, values):
    """Have the officer correct what is kept of one person, whose values were never true."""
    rights = "/pseudonym.v1.RightsService/"
    with Called(identity.address, certificates, "council") as council:
        request = rights_pb2.OpenRequestRequest(
            mandate=mandate(),
            right=rights_pb2.RIGHT_RECTIFICATION,
            received=date.today().isoformat(),
            asker=rights_pb2.ASKER_SELF,
            proofs=[rights_pb2.ASKER_PROOF_DOCUMENT],
            sought=[vault_pb2.SoughtPerson(**sought)],
        )
        case = council(f"{rights}OpenRequest", request, rights_pb2.OpenRequestResponse).case
    with Called(identity.address, certificates, "data-protection-officer") as officer:
        decided = rights_pb2.DecideRequest(
            mandate=mandate(),
            case_id=case.case_id,
            outcome=rights_pb2.RIGHT_OUTCOME_GRANTED,
            corrections=[rights_pb2.RightsCorrection(field=one, value=to) for one, to in values.items()],
            truth=rights_pb2.CORRECTION_TRUTH_NEVER,
        )
        officer(f"{rights}Decide", decided, rights_pb2.DecideResponse, 40)


def persons(server):
    """How many persons have records."""
    found = registers.query(server, "SELECT count(DISTINCT pid) FROM identity_row", "identity")
    return found[0][0]


def test_the_commands_of_a_reviewer(world, certificates, job, tmp_path):
    address = world[Role.IDENTITY].address.replace("127.0.0.1", "localhost")

    def typed(*words, input=None, name="reviewer-3"):
        words += ("--service", address, "--project", PROJECT, "--purpose", PURPOSE)
        words += ("--ca", certificates / "authority.pem", "--cert", certificates / f"{name}.pem")
        words += ("--key", certificates / f"{name}.key")
        return CliRunner().invoke(app, ["review", *map(str, words)], input=input)

    shown = typed("progress", job)
    assert shown.exit_code == 0, shown.output
    assert f"{KNOWN_AS}" in shown.stdout
    found = json.loads(typed("next", job, "--json").stdout)
    assert found["waiting"] == len(found["pairs"]) == 0 or found["pairs"][0]["fields"]
    ended = typed("start", job, input="q\n")
    assert ended.exit_code == 0, ended.output
    labels = tmp_path / "labels.csv"
    listed = typed("list", job, "--labels", labels, name="linkage-operator")
    assert listed.exit_code == 0, listed.output
    assert pl.read_csv(labels).columns == ["left_id", "right_id", "match"]
    refused = typed("judge", job, 10**9, "same")
    assert refused.exit_code == 1
    assert "none of that number" in refused.stderr
    assert os.fspath(labels) in listed.stdout
