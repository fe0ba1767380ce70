"""Deliveries become persons that stay, over three roles: joined, decided on, protected, told, followed."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import ExitStack
from datetime import date

import grpc
import polars as pl
import psycopg
import pytest
import sqlalchemy as sa

from deploy import study
from deploy.service import Service
from linker.sending import ServiceError
from pseudonym.roles.callers import Role
from pseudonym.study.delivery import check, divide
from pseudonym.study.layouts import Layout
from pseudonym.v1 import attribute_pb2, broker_pb2, common_pb2, vault_pb2
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles.harness import (
    OWN,
    PURPOSE,
    Called,
    client,
    finished,
    governance,
    join,
    mandate,
    reason,
    start_join,
    three,
    tls_flags,
)
from tests.service.harness import Server, people, quiet_port

B, V, PROJECT, RECIPIENT = chain.B, chain.V, chain.PROJECT, chain.RECIPIENT
PERSON, FAMILY = common_pb2.SUBJECT_KIND_PERSON, common_pb2.SUBJECT_KIND_FAMILY


@pytest.fixture(scope="module")
def world(tmp_path_factory, certificates):
    """Three roles of their own, with the project begun."""
    folder = tmp_path_factory.mktemp("world")
    with three(folder, certificates, governance=governance(folder)) as roles:
        chain.begin(roles, certificates)
        yield roles


def made_up(count, seed):
    """Rows as a council sends them, some in families of up to four; nobody of another seed is among them."""
    found = people(count, seed).rename({"person_id": "row_ref", "date_of_birth": "dob"})
    return found.with_columns(
        row_ref=pl.Series([os.urandom(16).hex() for _ in range(count)]),
        family=pl.Series([f"{seed}-{number // 4}" for number in range(count)]),
    )


def again(rows, seed=3, **changes):
    """The same people in another delivery: new references, other values where they are given."""
    chance = random.Random(seed)
    fresh = pl.Series([chance.randbytes(16).hex() for _ in range(rows.height)])
    return rows.with_columns(row_ref=fresh, **changes)


def waiting(roles, certificates):
    """What the broker knows of the rows whose attributes have not come: row_ref to aid, family and handle."""
    with Called(roles[Role.BROKER].address, certificates, "attributes") as keeper:
        asked = broker_pb2.ListRowsRequest(project=PROJECT)
        rows = chain.told(keeper(f"{B}ListRows", asked, broker_pb2.ListRowsResponse).arrow)
    return {OWN.get(row["row_ref"], row["row_ref"]): row for row in rows.to_dicts()}


def urns(roles, certificates, aids, kind=PERSON):
    with Called(roles[Role.BROKER].address, certificates, "attributes") as keeper:
        frame = pl.DataFrame({"aid": aids}, schema={"aid": pl.String})
        asked = broker_pb2.IssueUrnsRequest(
            mandate=mandate(), recipient=RECIPIENT, kind=kind, arrow=chain.arrow(frame)
        )
        issued = keeper(f"{B}IssueUrns", asked, broker_pb2.IssueUrnsResponse)
    return chain.told(issued.arrow)["urn"].to_list()


def superseded(roles, certificates, kind=PERSON):
    with Called(roles[Role.BROKER].address, certificates, "data-protection-officer") as officer:
        asked = broker_pb2.ListSupersessionsRequest(
            project=PROJECT, recipient=RECIPIENT, kind=kind, purpose="evaluation-2026", page_size=1000
        )
        listed = officer(f"{B}ListSupersessions", asked, broker_pb2.ListSupersessionsResponse)
    return {(one.old_urn, one.new_urn, one.change) for one in listed.supersessions}


def decide(roles, certificates, name, bearer="data-protection-officer", **asked):
    with Called(roles[Role.IDENTITY].address, certificates, bearer) as decider:
        request = getattr(vault_pb2, f"{name}Request")(mandate=mandate(), **asked)
        return decider(f"{V}{name}", request, getattr(vault_pb2, f"{name}Response")).decision


def send_attributes(roles, certificates, refs, batch):
    """The other half of rows; back once the broker has forgotten them."""
    with Called(roles[Role.ATTRIBUTES].address, certificates, "council") as council:
        rows = chain.attributes(row_ref=refs)
        kind = attribute_pb2.SubmitAttributesRequest
        chain.upload(council, "SubmitAttributes", kind, chain.header(batch), [rows])
    chain.eventually(lambda: not set(refs) & waiting(roles, certificates).keys())


def follow_now(roles, certificates):
    """Have the attributes role ask the broker at once: something came."""
    batch = os.urandom(8).hex()
    with Called(roles[Role.ATTRIBUTES].address, certificates, "council") as council:
        rows = chain.attributes(row_ref=[os.urandom(16).hex()])
        kind = attribute_pb2.SubmitAttributesRequest
        chain.upload(council, "SubmitAttributes", kind, chain.header(batch), [rows])


def sqlite_rows(server):
    with sqlite3.connect(f"file:{server.data}/attributes/store.sqlite?mode=ro", uri=True) as database:
        found = database.execute("SELECT handle, aid FROM a_row WHERE handle IS NOT NULL").fetchall()
    return {handle.hex(): aid.hex() for handle, aid in found}


def postgres_rows(url):
    plain = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        found = connection.execute("SELECT handle, aid FROM a_row WHERE handle IS NOT NULL").fetchall()
    return {bytes(handle).hex(): bytes(aid).hex() for handle, aid in found}


# --- deliveries ------------------------------------------------------------------------------------------


def test_r13_a_second_delivery_joins_the_people_of_the_first(world, certificates):
    first = made_up(60, seed=11)
    changed = pl.int_range(pl.len()) % 5 == 0
    typed = pl.when(changed).then(pl.col("surname") + "e").otherwise("surname")
    married = pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("Thistlewood")).otherwise(typed)
    second = pl.concat([again(first, surname=married), made_up(20, seed=12)])
    identity = world[Role.IDENTITY]
    assert join(identity, certificates, first, "d-1") == {
        "new": 60,
        "joined": 0,
        "together": 0,
        "refused_links": 0,
    }
    told = join(identity, certificates, second, "d-2")
    assert told == {"new": 20, "joined": 60, "together": 0, "refused_links": 0}

    rows = waiting(world, certificates)
    pairs = list(zip(first["row_ref"], second["row_ref"][:60], strict=True))
    assert all(rows[one]["aid"] == rows[other]["aid"] for one, other in pairs)
    numbers = urns(world, certificates, [rows[ref]["aid"] for ref in first["row_ref"]])
    assert len(set(numbers)) == 60
    assert numbers == urns(world, certificates, [rows[ref]["aid"] for ref in second["row_ref"][:60]])
    # The council's same reference is the same family in its next delivery, and persons keep to theirs.
    by_family: dict[str, set[str]] = {}
    for ref, family in zip(
        [*first["row_ref"], *second["row_ref"]], [*first["family"], *second["family"]], strict=True
    ):
        by_family.setdefault(family, set()).add(rows[ref]["family_aid"])
    assert all(len(aids) == 1 for aids in by_family.values())
    assert len(set().union(*by_family.values())) == len(by_family) == 20
    # Another council's reference is the same family if the same adults are in it, whatever it is called.
    third = again(first[:8], seed=4, family=pl.Series(["x"] * 4 + ["11-2"] * 4))
    third = pl.concat([third[:6], made_up(1, seed=13).with_columns(family=pl.lit("11-2"))])
    assert join(identity, certificates, third, "d-3", source="essex")["joined"] == 6
    rows = waiting(world, certificates)
    of = [rows[ref]["family_aid"] for ref in third["row_ref"]]
    assert {*of[:4]} == by_family["11-0"]
    assert not {*of[4:]} & set().union(*by_family.values())
    # The same again, as another job: nobody twice.
    with client(identity, certificates, "linkage-operator") as operator:
        sent = operator.submission(batch_id="d-2").submission_id
        job = operator.start_join(sent, family_column="family").job_id
    assert finished(identity, certificates, job) == {"new": 0, "joined": 0, "together": 0, "refused_links": 0}
    assert waiting(world, certificates) == rows


def test_what_cannot_be_joined_is_refused_and_nothing_is_stored(world, certificates):
    identity = world[Role.IDENTITY]
    rows = made_up(3, seed=21)
    named = rows.with_columns(row_ref=pl.Series(["a", "b", "c"]))
    with client(identity, certificates, "linkage-operator") as operator:
        for batch, wrong, more, why in (
            ("w-1", named, {}, "INPUT_INVALID"),
            ("w-2", rows, {"protected_column": "surname"}, "LINKER_ERROR"),
        ):
            job = operator.wait(start_join(identity, certificates, wrong, batch, **more))
            assert job.problem is not None
            assert job.problem.reason == why
            assert "Thistle" not in job.problem.message
    assert not set(rows["row_ref"]) & waiting(world, certificates).keys()
    assert join(identity, certificates, rows, "w-4")["new"] == 3


def test_what_is_known_to_come_to_nothing_is_not_even_started(world, certificates):
    """Before anybody is in the vault of the project, too: the purpose is refused, not what it would open."""
    identity = world[Role.IDENTITY]
    rows = made_up(3, seed=22)
    for number, (project, purpose, family, protected, why, said) in enumerate(
        (
            (PROJECT, PURPOSE, "", "vault", "FIELD_INVALID", "no column 'vault'"),
            (PROJECT, PURPOSE, "row_ref", "", "FIELD_INVALID", "no column 'row_ref'"),
            (PROJECT, "curiosity", "", "", "PURPOSE_REFUSED", "not opened for this purpose"),
            ("never-begun", PURPOSE, "", "", "PROJECT_UNKNOWN", "does not know the project"),
        )
    ):
        with client(identity, certificates, "council", project) as council:
            sent = council.submit(rows, batch_id=f"n-{number}", source="x", id_column="row_ref")
        with client(identity, certificates, "linkage-operator", project, purpose) as operator:
            before = len(list(operator.jobs()))
            with pytest.raises(ServiceError, match=said) as caught:
                operator.start_join(sent.submission_id, family_column=family, protected_column=protected)
            assert caught.value.reason == why
            assert len(list(operator.jobs())) == before


def test_a_join_that_names_no_families_is_refused_where_the_submission_has_them(world, certificates):
    """Else nobody would be in a family, and thresholds on families would count persons."""
    rows = made_up(20, seed=29).with_columns(family=pl.Series([f"F{n // 4}" for n in range(20)]))
    with client(world[Role.IDENTITY], certificates, "council") as council:
        sent = council.submit(
            rows, batch_id="families", source="x", id_column="row_ref", mapping={"household": "family"}
        )
    with client(world[Role.IDENTITY], certificates, "linkage-operator") as operator:
        before = len(list(operator.jobs()))
        with pytest.raises(ServiceError, match="references of families in 'family'") as caught:
            operator.start_join(sent.submission_id)
        assert caught.value.reason == "FIELD_INVALID"
        assert len(list(operator.jobs())) == before


def test_a_file_that_says_of_nobody_who_they_are_is_no_identities(world, certificates):
    with client(world[Role.IDENTITY], certificates, "council") as council:
        rows = made_up(20, seed=23)
        scores = rows.select("row_ref", score=pl.Series([str(n % 7) for n in range(20)]), town=pl.lit("Ely"))
        sent = council.submit(scores, batch_id="scores", source="x", id_column="row_ref")
        assert sent.problem is not None
        assert sent.problem.reason == "RECORDS_INVALID"
        assert "no name, no date of birth and no number" in sent.problem.message
        assert "--map" in sent.problem.help
        born = rows.select("row_ref", "dob")
        assert council.submit(born, batch_id="born", source="x", id_column="row_ref").problem is None


# --- decisions -------------------------------------------------------------------------------------------


def test_r80_decisions_reach_recipients_and_attributes(world, certificates):
    what_becomes_of_people(world, certificates, sqlite_rows)


@pytest.mark.slow
def test_decisions_reach_recipients_and_attributes_on_postgresql(tmp_path, certificates, postgres_databases):
    with three(tmp_path, certificates, postgres_databases, governance(tmp_path)) as roles:
        chain.begin(roles, certificates)
        attributes = postgres_databases[Role.ATTRIBUTES]
        what_becomes_of_people(roles, certificates, lambda _: postgres_rows(attributes))


def what_becomes_of_people(roles, certificates, rows_of):
    """Merged, split, a link taken back: lists lead from number to number, and each row is where it belongs.

    Which of two ids stays is not this test's matter: it takes what comes out, and holds the roles against it.
    """
    first = made_up(12, seed=31)
    second = again(first[[0, 3]], seed=32)
    identity = roles[Role.IDENTITY]
    join(identity, certificates, first, "p-1")
    assert join(identity, certificates, second, "p-2")["joined"] == 2
    one, other, third = first["row_ref"][:3]
    late = second["row_ref"][0]  # another row of the first person
    told = waiting(roles, certificates)
    handle = {ref: told[ref]["handle"] for ref in told}
    aid = {ref: told[ref]["aid"] for ref in told}
    assert aid[one] == aid[late]
    urn = dict(
        zip((one, other, third), urns(roles, certificates, [aid[one], aid[other], aid[third]]), strict=True)
    )
    send_attributes(roles, certificates, [one, other, late], "p-1")  # those of the third have not come yet

    def under():
        found = rows_of(roles[Role.ATTRIBUTES])
        return [found.get(handle[ref]) for ref in (one, late, other)]

    def lists():
        ours = {*urn.values()}
        return {row for row in superseded(roles, certificates) if {*row[:2]} & ours}

    def as_one():
        follow_now(roles, certificates)
        return len({*under()}) == 1

    def as_two():
        follow_now(roles, certificates)
        found = under()
        return found[0] == found[1] != found[2]

    assert under() == [aid[one], aid[one], aid[other]]
    asked = {"kind": PERSON, "one": one, "other": other}
    with pytest.raises(grpc.RpcError) as caught:
        decide(roles, certificates, "MergeSubjects", bearer="linkage-operator", **asked)
    assert reason(caught.value)[1] == "CALLER_REFUSED"
    assert decide(roles, certificates, "MergeSubjects", bearer="reviewer", **asked).changed
    assert not decide(roles, certificates, "MergeSubjects", **asked).changed  # they are one already
    chain.eventually(as_one)
    kept, gone = (one, other) if under()[0] == aid[one] else (other, one)
    assert under() == [aid[kept]] * 3
    chain.eventually(lambda: (urn[gone], urn[kept], "merged") in superseded(roles, certificates))

    # A third person, whose attributes are still on their way, turns out to be the same.
    decide(roles, certificates, "MergeSubjects", kind=PERSON, one=third, other=one)
    chain.eventually(lambda: len({urn[third], urn[kept]} & {old for old, _, _ in lists()}) == 1)
    send_attributes(roles, certificates, [third], "p-2")
    chain.eventually(lambda: len({*under(), rows_of(roles[Role.ATTRIBUTES])[handle[third]]}) == 1)
    (number,) = urns(roles, certificates, [under()[0]])
    merged = {(old, new) for old, new, change in lists() if change == "merged"}
    assert merged == {(one, number) for one in urn.values() if one != number}

    # Split again: each row goes back, and who gets a number back is superseded no longer.
    decide(roles, certificates, "SplitSubject", kind=PERSON, records=[other])
    chain.eventually(as_two)
    stays, leaves = urns(roles, certificates, [under()[0], under()[2]])
    assert number in (stays, leaves)
    assert {stays, leaves} <= set(urn.values())
    back = leaves if stays == number else stays
    assert (number, back, "split") in lists()
    assert not any(old == back and change == "merged" for old, _, change in lists())

    # A link that the second delivery came with is taken back: its row is somebody of their own.
    alone = [first["row_ref"][3], second["row_ref"][1]]
    (shared,) = urns(roles, certificates, [aid[alone[0]]])
    send_attributes(roles, certificates, alone, "p-3")
    decide(roles, certificates, "WithdrawLink", one=alone[0], other=alone[1])

    def apart():
        follow_now(roles, certificates)
        found = rows_of(roles[Role.ATTRIBUTES])
        return found[handle[alone[0]]] == aid[alone[0]] != found[handle[alone[1]]]

    chain.eventually(apart)
    (new,) = urns(roles, certificates, [rows_of(roles[Role.ATTRIBUTES])[handle[alone[1]]]])
    assert (shared, new, "split") in superseded(roles, certificates)
    # Nobody who decides is shown an internal id: what they name is a row.
    with pytest.raises(grpc.RpcError) as caught:
        decide(roles, certificates, "MergeSubjects", kind=PERSON, one=os.urandom(16).hex(), other=one)
    assert reason(caught.value)[:2] == ("NOT_FOUND", "NOT_FOUND")

    # Two references turn out to be one family.
    families = [told[ref]["family_aid"] for ref in (first["row_ref"][4], first["row_ref"][8])]
    old = urns(roles, certificates, families, FAMILY)
    refs = {"one": first["row_ref"][4], "other": first["row_ref"][8]}
    assert decide(roles, certificates, "MergeSubjects", kind=FAMILY, **refs).changed
    chain.eventually(
        lambda: {frozenset(pair[:2]) for pair in superseded(roles, certificates, FAMILY)} >= {frozenset(old)}
    )
    now = waiting(roles, certificates)
    assert len({now[ref]["family_aid"] for ref in first["row_ref"][4:12]}) == 1


def test_r83_nothing_leads_to_a_protected_person(world, certificates):
    first = made_up(8, seed=41)
    second = again(first[:2], seed=42)
    identity = world[Role.IDENTITY]
    join(identity, certificates, first, "s-1")
    assert join(identity, certificates, second, "s-2")["joined"] == 2
    before = waiting(world, certificates)
    former, divided = first["row_ref"][0], second["row_ref"][0]
    whole = first["row_ref"][1]
    numbers = urns(world, certificates, [before[ref]["aid"] for ref in (former, whole)])
    send_attributes(world, certificates, [former, divided], "s-1")
    assert {before[ref]["handle"] for ref in (former, divided)} <= sqlite_rows(world[Role.ATTRIBUTES]).keys()

    # One is divided into a former and a new identity: the number is withdrawn and leads nowhere.
    with pytest.raises(grpc.RpcError) as caught:
        decide(world, certificates, "ProtectSubject", bearer="reviewer", record=former)
    assert reason(caught.value)[1] == "CALLER_REFUSED"
    decide(world, certificates, "ProtectSubject", record=former, divided=[divided])
    chain.eventually(lambda: (numbers[0], "", "withdrawn") in superseded(world, certificates))
    assert not any(old == numbers[0] and new for old, new, _ in superseded(world, certificates))

    def dropped():
        follow_now(world, certificates)
        held = sqlite_rows(world[Role.ATTRIBUTES])
        return not {before[ref]["handle"] for ref in (former, divided)} & held.keys()

    chain.eventually(dropped)
    # Another is protected as they are: a later delivery of the same person is somebody else.
    decide(world, certificates, "ProtectSubject", record=whole)
    third = again(first[1:2], seed=43)
    told = join(identity, certificates, third, "s-3")
    assert (told["new"], told["joined"]) == (1, 0)
    now = waiting(world, certificates)
    assert now[third["row_ref"][0]]["aid"] != now[whole]["aid"] == before[whole]["aid"]
    assert not any({old, new} & {numbers[1]} for old, new, _ in superseded(world, certificates))
    with client(identity, certificates, "linkage-operator") as operator:
        job = [one for one in operator.jobs() if one.state.finished][-1].job_id
        assert operator.read_links(job).is_empty()  # nor does the job's own table say it
    with pytest.raises(grpc.RpcError) as caught:
        decide(world, certificates, "MergeSubjects", kind=PERSON, one=third["row_ref"][0], other=whole)
    assert reason(caught.value)[1] == "LINK_PROTECTED"
    # A record that came later can be admitted, and what it was called before leads nowhere either.
    (late,) = urns(world, certificates, [now[third["row_ref"][0]]["aid"]])
    assert decide(world, certificates, "AdmitRecord", record=third["row_ref"][0], into=whole).changed
    chain.eventually(lambda: (late, "", "withdrawn") in superseded(world, certificates))


def test_r83_rows_that_are_delivered_as_protected_are_linked_with_nobody(world, certificates):
    first = made_up(6, seed=51)
    identity = world[Role.IDENTITY]
    join(identity, certificates, first, "q-1")
    guarded = again(first, seed=52).with_columns(kept_apart=pl.Series(["yes"] * 3 + ["no"] * 3))
    told = join(identity, certificates, guarded, "q-2", protected_column="kept_apart")
    assert (told["new"], told["joined"], told["refused_links"]) == (3, 3, 3)


MARKED = """
format = "kinlink-council-layout/1"
council = "testshire"
scheme = "tf-2015"

[columns]
family = "family"
forename = "forename"
surname = "surname"
date_of_birth = "dob"
postcode = "postcode"
protected = { column = "kept apart", codes = { yes = "yes" } }
arm = { column = "arm", codes = { T = "programme" } }
problems = { column = "problems", separator = ";", codes = { W = "WORK_FIN", S = "SCHOOL" } }
"""


@pytest.mark.parametrize("marked", [2, 0])
def test_r83_a_councils_mark_reaches_the_join_and_keeps_a_person_from_who_they_were(
    world, certificates, marked
):
    """The officer writes yes or nothing, and marks few or nobody: the column goes all the way."""
    former = made_up(6, seed=54 + marked)
    identity = world[Role.IDENTITY]
    assert join(identity, certificates, former, f"mark-1-{marked}")["new"] == 6
    marks = pl.Series("kept apart", ["yes"] * marked + [None] * (6 - marked), dtype=pl.String)
    file = former.drop("row_ref").with_columns(marks, arm=pl.lit("T"), problems=pl.lit("W;S"))
    delivery = check(file, Layout.from_toml(MARKED), date(2024, 12, 31))
    sent, batch = divide(delivery, os.urandom(32)).halves.identifiers, f"mark-2-{marked}"
    with pytest.raises(ServiceError, match="in 'protected' who is protected") as caught:
        start_join(identity, certificates, sent, batch)
    assert caught.value.reason == "FIELD_INVALID"
    with client(identity, certificates, "linkage-operator") as operator:
        submission = operator.submission(batch_id=batch).submission_id
    # The study's own join names the column where there is one, and knows whose row is whose.
    address = {Role.IDENTITY: identity.address.replace("127.0.0.1", "localhost")}
    whose = study._references(delivery, sent)
    assert whose.height == 6
    told = study.join(
        Service(address, certificates, PROJECT, PURPOSE),
        study.Sent(submission, whose, 6, sent),
        lambda *given: None,
    )
    assert (told["new"], told["joined"]) == (marked, 6 - marked)
    rows = waiting(world, certificates)
    before, now = (
        {rows[ref]["aid"] for ref in refs}
        for refs in (former["row_ref"], sent.filter(protected="yes")["row_ref"])
    )
    assert len(now) == marked
    assert not before & now


# --- what goes wrong on the way --------------------------------------------------------------------------

DYING = """
from pseudonym.people import People
from pseudonym.roles.reports import Reports

def dies_after(kind, name, calls):
    original, seen = getattr(kind, name), []
    def dying(self, *arguments):
        found = original(self, *arguments)
        seen.append(name)
        if len(seen) == calls:
            os.kill(os.getpid(), 9)
        return found
    setattr(kind, name, dying)

dies_after({where})
sys.exit(server.run(settings))
"""


@pytest.mark.slow
def test_a_join_that_is_killed_on_its_way_ends_as_if_nothing_had_happened(tmp_path, certificates):
    """Against the same two files joined without a kill: as many persons, the same rows together."""
    first = made_up(40, seed=61)
    second = pl.concat([again(first[:25], seed=62), made_up(10, seed=63)])
    with ExitStack() as stack:
        decided = governance(tmp_path)
        port = quiet_port()
        flags = ["--governance", str(decided)]
        broker = stack.enter_context(
            Server(tmp_path / "broker", "--role", "broker", *tls_flags(certificates, "broker"), *flags)
        )
        keeper_flags = ["--broker", broker.address.replace("127.0.0.1", "localhost")]
        keeper = stack.enter_context(
            Server(
                tmp_path / "keeper",
                "--role",
                "attributes",
                *tls_flags(certificates, "attributes"),
                *keeper_flags,
            )
        )
        own = ["--role", "identity", *tls_flags(certificates, "identity"), *keeper_flags, *flags]
        own += ["--listen", f"127.0.0.1:{port}"]
        roles = {Role.BROKER: broker, Role.ATTRIBUTES: keeper}
        chain.begin(roles, certificates)
        with Server(tmp_path / "identity", *own) as identity:
            join(identity, certificates, first, "k-1")
            assert identity.stop() == 0
        job = ""
        for where in ("People, 'deliver', 1", "Reports, 'rows', 2"):
            with Server(tmp_path / "identity", *own, code=DYING.format(where=where)) as identity:
                if not job:
                    job = start_join(identity, certificates, second, "k-2")
                assert identity.process.wait(timeout=120) == -9
        with Server(tmp_path / "identity", *own) as identity:
            with client(identity, certificates, "linkage-operator") as operator:
                assert operator.wait(job).state.finished
                assert operator.job(job).attempts == 3
            finished(identity, certificates, job)
            rows = waiting(roles, certificates)
            assert rows.keys() == {*first["row_ref"], *second["row_ref"]}
            pairs = zip(first["row_ref"][:25], second["row_ref"][:25], strict=True)
            assert all(rows[one]["aid"] == rows[other]["aid"] for one, other in pairs)
            assert len({row["aid"] for row in rows.values()}) == 50
            with sqlite3.connect(f"file:{identity.data}/identity/store.sqlite?mode=ro", uri=True) as database:
                (count,) = database.execute("SELECT count(*) FROM subject WHERE kind = 'person'").fetchone()
            assert count == 50
            assert identity.stop() == 0


@pytest.mark.slow
def test_a_broker_that_is_away_delays_and_loses_nothing(tmp_path, certificates):
    first, second = made_up(10, seed=71), made_up(5, seed=72)
    port = quiet_port()
    flags = ["--role", "broker", *tls_flags(certificates, "broker"), "--listen", f"127.0.0.1:{port}"]
    own = ["--role", "identity", *tls_flags(certificates, "identity")]
    own += ["--broker", f"localhost:{port}", "--governance", str(governance(tmp_path))]
    with Server(tmp_path / "identity", *own) as identity:
        with Server(tmp_path / "broker", *flags) as broker:
            roles = {Role.IDENTITY: identity, Role.BROKER: broker}
            with Called(broker.address, certificates, "key-custodian") as custodian:
                custodian(f"{B}BeginProject", broker_pb2.BeginProjectRequest(mandate=mandate()))
                custodian(
                    f"{B}OpenDomain", broker_pb2.OpenDomainRequest(mandate=mandate(), recipient=RECIPIENT)
                )
            join(identity, certificates, first, "a-1")
            one, other = first["row_ref"][:2]
            rows = waiting(roles, certificates)
            numbers = urns(roles, certificates, [rows[ref]["aid"] for ref in (one, other)])
            assert broker.stop() == 0
        job = start_join(identity, certificates, second, "a-2")
        decide(roles, certificates, "MergeSubjects", kind=PERSON, one=one, other=other)
        with client(identity, certificates, "linkage-operator") as operator:
            chain.eventually(lambda: operator.job(job).stage == "tell")
            with Server(tmp_path / "broker", *flags) as broker:
                roles[Role.BROKER] = broker
                assert operator.wait(job).problem is None
                chain.eventually(
                    lambda: (
                        {frozenset(pair[:2]) for pair in superseded(roles, certificates)}
                        == {frozenset(numbers)}
                    )
                )
                now = waiting(roles, certificates)
                assert now.keys() == {*first["row_ref"], *second["row_ref"]}
                assert now[one]["aid"] == now[other]["aid"]
                assert broker.stop() == 0
        assert identity.stop() == 0
