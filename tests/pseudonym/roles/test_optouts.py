"""Opt-outs over three real roles: what holds of them later, what nobody sees, and what a kill leaves."""

from __future__ import annotations

import os
import sqlite3
from datetime import date

import grpc
import polars as pl
import pytest

from linker.cli import app
from linker.resources import SubmissionKind
from linker.sending import ServiceError
from pseudonym.roles.callers import Role
from pseudonym.v1 import attribute_pb2, broker_pb2, optout_pb2, vault_pb2
from tests.pseudonym.roles import test_join as joins
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles import test_registers as registers
from tests.pseudonym.roles.harness import (
    PURPOSE,
    Trio,
    client,
    finished,
    governance,
    join,
    mandate,
    reason,
    start_join,
)
from tests.pseudonym.roles.test_erasure import nhs_numbers

O, B, V, PROJECT = "/pseudonym.v1.OptOutService/", chain.B, chain.V, chain.PROJECT  # noqa: E741
OFFICER = Role.DATA_PROTECTION_OFFICER
DAY = 86_400
COUNT = 12
FLAGS = ("--project", PROJECT, "--purpose", PURPOSE)
FORENAMES = [
    *("Amelia", "Noah", "Freya", "Oscar", "Layla", "Callum", "Imogen", "Rhys", "Bronwen", "Dafydd"),
    *("Elspeth", "Fergus"),
]
SURNAMES = [
    *("Baxter", "Ellison", "Okonkwo", "Marshall", "Nadarajah", "Pemberton", "Quillfeather", "Rothwell"),
    *("Satterthwaite", "Tregenza", "Underhill", "Vickers"),
]


# The time of the role's store is as many seconds ahead as a file says.
CODE = """
import pathlib
from pseudonym.roles import erasing, exchange
from pseudonym.storage.engine import Store
exchange.ASK_EVERY = erasing.EVERY = 0.2
ahead, now = pathlib.Path({ahead!r}), Store.now
Store.now = lambda self: now(self) + int(ahead.read_text())
{dying}
os._exit(server.run(settings))
"""
DYING = """
def dies(kind, name, before, call=1):
    original, seen = getattr(kind, name), []
    def dying(self, *arguments, **more):
        seen.append(name)
        if before and len(seen) == call:
            os.kill(os.getpid(), 9)
        found = original(self, *arguments, **more)
        if len(seen) == call:
            os.kill(os.getpid(), 9)
        return found
    setattr(kind, name, dying)
"""


class Scene(Trio):
    """Three roles, people in them, and an officer."""

    def __init__(self, folder, certificates, **more):
        self.ahead = folder / "ahead"
        self.ahead.write_text("0")
        self.dying = ""
        told = governance(folder, national_data_opt_out={"mailbox": "X26OT001", "days": 7})
        super().__init__(folder, certificates, told, **more)
        self.numbers = nhs_numbers(COUNT)

    @property
    def identity(self):
        return self.servers[Role.IDENTITY]

    def begun(self):
        self.start()
        chain.begin(self.servers, self.certificates)
        return self

    def people(self, *places, **changes):
        """Rows of people who have nothing in common, under new references."""
        places = places or tuple(range(COUNT))
        rows = pl.DataFrame(
            {
                "row_ref": [os.urandom(16).hex() for _ in places],
                "family": [f"f{one // 3}" for one in places],
                "forename": [FORENAMES[one] for one in places],
                "surname": [SURNAMES[one] for one in places],
                "dob": [f"{1990 + one if one % 3 == 0 else 2010 + one % 5}-02-{10 + one}" for one in places],
                "postcode": [f"CB{1 + one} {one % 10}AA" for one in places],
                "nhs_number": [self.numbers[one] for one in places],
            }
        )
        return rows.with_columns(**changes)

    def join(self, rows, batch):
        return join(self.identity, self.certificates, rows, batch)

    def sought(self, *rows):
        people = [
            vault_pb2.SoughtPerson(born=row["dob"], surname=row["surname"], postcode=row["postcode"])
            for some in rows
            for row in some.to_dicts()
        ]
        return vault_pb2.SoughtPersons(persons=people)

    def ask(self, name, role=OFFICER, **fields):
        request = getattr(optout_pb2, f"{name}Request")
        if "mandate" in request.DESCRIPTOR.fields_by_name:
            fields.setdefault("mandate", mandate())
        with self.called(Role.IDENTITY, role) as caller:
            return caller(f"{O}{name}", request(**fields), getattr(optout_pb2, f"{name}Response"), 60)

    def refused(self, name, **fields):
        with pytest.raises(grpc.RpcError) as caught:
            self.ask(name, **fields)
        said = str(caught.value.details()) + str(caught.value.trailing_metadata())
        assert not [one for one in (*self.numbers, *SURNAMES) if one in said]
        return reason(caught.value)[:2]

    def export(self, **fields):
        with self.called(Role.IDENTITY, OFFICER) as officer:
            asked = optout_pb2.ExportNumbersRequest(mandate=fields.get("mandate", mandate()))
            kinds = (optout_pb2.ExportNumbersRequest, optout_pb2.ExportNumbersResponse)
            stream = officer.channel.unary_stream(
                f"{O}ExportNumbers", kinds[0].SerializeToString, kinds[1].FromString
            )
            parts = list(stream(asked, timeout=60))
        return parts[0].name, b"".join(one.content for one in parts)

    def import_(self, name, content):
        with self.called(Role.IDENTITY, OFFICER) as officer:
            kind = optout_pb2.ImportClearedRequest
            send = officer.channel.stream_unary(
                f"{O}ImportCleared", kind.SerializeToString, optout_pb2.ImportClearedResponse.FromString
            )
            header = optout_pb2.ImportClearedHeader(mandate=mandate(), name=name)
            return send(iter([kind(header=header), kind(content=content)]), timeout=60)

    def opted_out(self, *places):
        """A list goes, and comes back without the numbers of some people."""
        name, content = self.export()
        gone = [f"{self.numbers[one]},\n".encode() for one in places]
        for line in gone:
            content = content.replace(line, b"")
        return self.import_(name, content)

    def extract(self, rows, batch, register="hes"):
        """Both halves of an extract."""
        told = rows.select("row_ref", "nhs_number", "dob", "postcode", sex=pl.lit("1"))
        with client(self.identity, self.certificates, "dataset-holder") as holder:
            sent = holder.submit(
                told, batch_id=batch, source=register, kind=SubmissionKind.EXTRACT, id_column="row_ref"
            )
        assert sent.problem is None, sent.problem
        with self.called(Role.ATTRIBUTES, "dataset-holder") as holder:
            values = chain.attributes(row_ref=rows["row_ref"].to_list())
            kind = attribute_pb2.SubmitAttributesRequest
            chain.upload(holder, "SubmitAttributes", kind, chain.header(batch), [values])
        return sent.submission_id

    def start(self, *roles):
        self.CODE = CODE.format(ahead=str(self.ahead), dying=self.dying)
        super().start(*roles)

    def __enter__(self) -> Scene:
        return self

    def start_register(self, submission, register="hes"):
        with client(self.identity, self.certificates, "linkage-operator") as operator:
            return operator.start_register(
                submission, register, day=date(2026, 11, 23), since=date(2010, 1, 1), nhs_number_reason="s251"
            ).job_id

    def linked(self, submission, register="hes"):
        job = self.start_register(submission, register)
        return registers.figures(self.servers, self.certificates, job)["linked"]

    def persons(self):
        (found,) = registers.query(
            self.identity, "SELECT count(*) FROM subject WHERE kind='person' AND state='active'", "identity"
        )
        return found[0]

    def held(self):
        """How many rows of attributes lie under each of the people, by aid."""
        path = self.servers[Role.ATTRIBUTES].data / "attributes" / "store.sqlite"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            found = database.execute(
                "SELECT aid, count(*) FROM a_row JOIN a_dataset ON number = dataset "
                "WHERE name = 'attainment' GROUP BY aid"
            ).fetchall()
        return {aid.hex(): count for aid, count in found}

    def erased_urns(self):
        asked = broker_pb2.ListErasedUrnsRequest(project=PROJECT, recipient=chain.RECIPIENT, page_size=1000)
        with self.called(Role.BROKER, OFFICER) as officer:
            return [
                one.urn
                for one in officer(f"{B}ListErasedUrns", asked, broker_pb2.ListErasedUrnsResponse).erased
            ]

    def complete(self):
        chain.eventually(lambda: not self.ask("GetStatus", project=PROJECT).pending)


@pytest.fixture(scope="module")
def scene(tmp_path_factory, certificates):
    with Scene(tmp_path_factory.mktemp("optouts"), certificates) as found:
        yield found.begun()
        found.stop()


@pytest.fixture(scope="module")
def known(scene, certificates):
    """Everybody, joined and with attributes: their rows, and the number that each has at the recipient."""
    rows = scene.people()
    assert scene.join(rows, "w-1") == {"new": COUNT, "joined": 0, "together": 0, "refused_links": 0}
    aids = {ref: row["aid"] for ref, row in joins.waiting(scene.servers, certificates).items()}
    joins.send_attributes(scene.servers, certificates, rows["row_ref"].to_list(), "w-1")
    of = [aids[ref] for ref in rows["row_ref"]]
    assert len(scene.held()) == COUNT
    return rows.with_columns(aid=pl.Series(of), urn=pl.Series(joins.urns(scene.servers, certificates, of)))


@pytest.fixture(scope="module")
def withdrawn(scene, known):
    """Who withdrew, of those who are known."""
    asked = mandate()
    for _ in range(2):  # the same request again does nothing more
        assert scene.ask("Withdraw", mandate=asked, sought=scene.sought(known[6:7])).persons == 1
    scene.complete()
    return known.row(6, named=True)


@pytest.fixture(scope="module")
def stranger(scene, known):
    """Somebody who is known beside them."""
    row = known[6:7].select(
        row_ref=pl.lit(os.urandom(16).hex()),
        family=pl.lit("f-strange"),
        forename=pl.lit("Wilhelmina"),
        surname=pl.lit("Xanthopoulos"),
        dob=pl.lit("1971-09-30"),
        postcode=pl.lit("PE27 4QX"),
        nhs_number=pl.lit(None, pl.String),
    )
    scene.join(row, "stranger-1")
    return row


# --- withdrawal ----------------------------------------------------------------------------------------


def test_r52_who_withdrew_is_dropped_from_the_next_delivery_under_another_spelling(
    scene, certificates, known, withdrawn
):
    count, before = scene.persons(), scene.held()
    # The recipient of a delivered file learns which number to drop, and nothing of why.
    assert withdrawn["urn"] in scene.erased_urns()

    # A year later, under a married name's spelling, another postcode, and without a number.
    second = scene.people(
        surname=pl.when(pl.int_range(pl.len()) == 6).then(pl.lit("Quilfether")).otherwise("surname"),
        forename=pl.when(pl.int_range(pl.len()) == 6).then(pl.lit("Immogen")).otherwise("forename"),
        postcode=pl.when(pl.int_range(pl.len()) == 6).then(pl.lit("PE27 4QX")).otherwise("postcode"),
        nhs_number=pl.when(pl.int_range(pl.len()) != 6).then("nhs_number"),
    )
    second = second.filter(pl.int_range(pl.len()) < 9)  # the others may have withdrawn by now
    scene.join(second, "w-2")
    assert scene.persons() == count
    rows = joins.waiting(scene.servers, certificates)
    assert rows.keys() & set(second["row_ref"]) == set(second["row_ref"]) - {second["row_ref"][6]}
    # Nobody else is dropped, and the other half of the row is dropped at once, unread.
    with scene.called(Role.ATTRIBUTES, "council") as council:
        halves = chain.attributes(row_ref=second["row_ref"].to_list())
        kind = attribute_pb2.SubmitAttributesRequest
        chain.upload(council, "SubmitAttributes", kind, chain.header("w-2"), [halves])
    left = "SELECT count(*) FROM a_half WHERE ct IS NOT NULL"
    chain.eventually(lambda: registers.query(scene.servers[Role.ATTRIBUTES], left) == [(0,)])
    after = scene.held()
    assert withdrawn["aid"] not in after
    again = set(known["aid"][:9]) - {withdrawn["aid"]}
    assert after == {aid: count + (aid in again) for aid, count in before.items()}


def test_r53_no_count_or_table_tells_an_operator_that_somebody_withdrew(scene, certificates, withdrawn):
    """Somebody who withdrew looks like somebody who was never known, in everything that an operator reads."""
    row = scene.people(6, postcode=pl.lit("PE27 4QX"))
    stranger = row.with_columns(
        row_ref=pl.lit(os.urandom(16).hex()),
        forename=pl.lit("Rosamund"),
        surname=pl.lit("Yelverton"),
        dob=pl.lit("1968-04-17"),
        nhs_number=pl.lit(None, pl.String),
    )
    told = []
    for batch, rows in (
        ("s-withdrawn", row.with_columns(nhs_number=pl.lit(None, pl.String))),
        ("s-new", stranger),
    ):
        job = start_join(scene.identity, certificates, rows, batch)
        counts = finished(scene.identity, certificates, job)
        with client(scene.identity, certificates, "linkage-operator") as operator:
            figures = operator.report(job)["figures"]
            links = operator.read_links(job)
            submission = operator.job(job).work.submission_ids[0]
            again = operator.start_join(submission, family_column="family", seed=5)
        # A second join of the same rows finds nobody new, whoever they are.
        repeated = finished(scene.identity, certificates, again.job_id)
        kept = {name: figures[name] for name in ("records", "refused", "child_ninos") if name in figures}
        told.append((counts, repeated, kept, links.height))
    assert told[0] == told[1]
    assert told[0][:2] == (
        {"new": 1, "joined": 0, "together": 0, "refused_links": 0},
        {"new": 0, "joined": 0, "together": 0, "refused_links": 0},
    )
    # And nobody but the officer may ask.
    for role in (Role.LINKAGE_OPERATOR, Role.COUNCIL, Role.REVIEWER, Role.RESEARCHER, Role.DATASET_HOLDER):
        with pytest.raises(grpc.RpcError) as caught:
            scene.ask("GetStatus", role=role, project=PROJECT)
        assert reason(caught.value)[1] == "CALLER_REFUSED"


def test_r52_of_who_withdrew_nothing_is_left_that_says_who_they_are(scene, withdrawn):
    files = scene.files(Role.IDENTITY)
    papers = [data for path, data in files.items() if path.parent.name == "opt-outs"]
    assert papers
    for path, data in files.items():
        for value in (b"Quillfeather", b"QUILLFEATHER", b"Quilfether", b"Immogen", scene.numbers[6].encode()):
            # What the council sent lies sealed until it is deleted; nothing lies open.
            assert value not in data, path


def test_r52_a_whole_family_withdraws(scene, known):
    family = scene.people(9, 10, 11)
    count = scene.persons()
    assert scene.ask("Withdraw", sought=scene.sought(family[:1]), families=True).persons == 3
    scene.complete()
    assert scene.persons() == count - 3
    scene.join(scene.people(9, 10, 11, postcode=pl.lit("PE1 1AA")), "fam-2")
    assert scene.persons() == count - 3


# --- the National Data Opt-out -------------------------------------------------------------------------
# These three are one story, in this order: no list yet, a list that holds, a list that went stale.


def test_r54_health_registers_wait_for_a_fresh_list_and_opted_out_people_are_not_linked(
    scene, certificates, withdrawn
):
    patients = scene.people(0, 1, 2, 3)
    submission = scene.extract(patients, "hes-1")
    with pytest.raises(ServiceError) as caught:
        scene.start_register(submission)
    assert caught.value.reason == "OPT_OUT_MISSING"

    name, content = scene.export()
    day = date.today()
    assert name == f"X26OT001-{day:%d%m%y}-0001.dat"
    lines = content.decode().split("\n")
    assert lines[-1] == ""
    asked = {f"{scene.numbers[one]}," for one in (0, 1, 2, 3, 4, 5, 7)}
    assert asked <= set(lines[:-1]) <= {f"{one}," for one in scene.numbers}
    assert f"{withdrawn['nhs_number']}," not in lines
    with pytest.raises(grpc.RpcError) as wrong:
        scene.import_(name, content + b"9434765919,\n")
    assert reason(wrong.value)[:2] == ("INVALID_ARGUMENT", "INPUT_INVALID")
    answer = scene.import_(name, content.replace(f"{scene.numbers[2]},\n".encode(), b""))
    sent = len(lines) - 1
    assert (answer.sent, answer.cleared, answer.removed) == (sent, sent - 1, 1)
    assert scene.import_(name, content.replace(f"{scene.numbers[2]},\n".encode(), b"")).removed == 1

    found = scene.linked(submission)
    assert found["persons_linked"] == 3
    # R53: who opted out is counted as not found, so that the figures add up.
    outcomes = [count for key, count in found.items() if key.startswith("persons_")]
    assert found["persons"] == sum(outcomes) == scene.persons()
    # Nothing of the opt-out stands with anybody: not in a row, nor with a state.
    states = "SELECT DISTINCT state FROM subject WHERE kind = 'person'"
    assert {one for (one,) in registers.query(scene.identity, states, "identity")} == {"active", "erased"}

    # Who comes later was not asked about, and is not used until the next list.
    late = scene.people(4, nhs_number=pl.lit(nhs_numbers(1, 943_400_000)[0]))
    scene.join(late, "late-1")
    assert scene.linked(scene.extract(scene.people(0, 1, 4), "hes-2"))["persons_linked"] == 2


def test_r54_a_stale_list_is_refused_with_a_reason_and_its_numbers_are_destroyed(scene, certificates):
    submission = scene.extract(scene.people(0, 1), "hes-3")
    name, content = scene.export()
    scene.ahead.write_text(str(7 * DAY + 60))
    with pytest.raises(ServiceError) as caught:
        scene.start_register(submission)
    assert caught.value.reason == "OPT_OUT_STALE"
    with pytest.raises(grpc.RpcError) as late:  # an answer that comes too late
        scene.import_(name, content)
    assert reason(late.value)[:2] == ("FAILED_PRECONDITION", "OPT_OUT_STALE")
    scene.stop(Role.IDENTITY)
    scene.start(Role.IDENTITY)  # the day's duties
    lists = scene.identity.data / "identity" / "opt-out-lists"
    chain.eventually(lambda: not list(lists.iterdir()))
    assert {one.state for one in scene.ask("GetStatus", project=PROJECT).lists} == {"destroyed"}
    # A register that is no health data needs none.
    assert registers.start(
        scene.servers,
        certificates,
        registers.send_halves(
            scene.servers,
            certificates,
            registers.extract_of(scene.people(0).drop("nhs_number"), seed=1),
            "pnc-1",
        ),
    )


def test_r54_an_exemption_has_a_reason_and_a_reference(scene, certificates):
    submission = scene.extract(scene.people(0, 2), "hes-4")
    for fields in ({"reason": "because"}, {"reason": "official-statistics", "reference": "with spaces"}):
        assert (
            scene.refused("SetExemption", register="hes", **{"reference": "OS-1", **fields})[0]
            == "INVALID_ARGUMENT"
        )
    assert (
        scene.refused("SetExemption", register="npd", reason="anonymised", reference="X")[0]
        == "INVALID_ARGUMENT"
    )
    asked = {"register": "hes", "reason": "official-statistics", "reference": "OS-2026-4"}
    assert scene.ask("SetExemption", **asked).changed
    assert scene.linked(submission)["persons_linked"] == 2
    assert [one.reference for one in scene.ask("GetStatus", project=PROJECT).exemptions] == ["OS-2026-4"]
    assert scene.ask("SetExemption", register="hes", ended=True).changed
    with pytest.raises(ServiceError) as caught:
        scene.start_register(scene.extract(scene.people(0), "hes-5"))
    assert caught.value.reason == "OPT_OUT_STALE"


# --- number, sharing, circulars ------------------------------------------------------------------------


def test_r55_an_nhs_number_is_taken_out_and_not_used_again_though_the_person_stays(scene, known):
    person = scene.people(8)
    asked = mandate()
    first = scene.ask("SetNhsNumberOptOut", mandate=asked, sought=scene.sought(person))
    assert (first.persons, first.rows > 0) == (1, True)
    assert scene.ask("SetNhsNumberOptOut", mandate=asked, sought=scene.sought(person)).rows == 0
    # Nobody is found by it any more, and it goes out in no list.
    by_number = [vault_pb2.SoughtPerson(born=person["dob"][0], nhs=scene.numbers[8])]
    sought = vault_pb2.SoughtPersons(persons=by_number)
    assert scene.refused("Withdraw", sought=sought)[1] == "SUBJECT_MISSING"
    # The next delivery has it again, and another spelling: still the same person, without the number.
    count = scene.persons()
    scene.join(scene.people(8, surname=pl.lit("Satterthwaitte"), postcode=pl.lit("CB9 8AA")), "n-2")
    assert scene.persons() == count
    _, content = scene.export()
    assert scene.numbers[8].encode() not in content
    assert scene.numbers[0].encode() in content


def test_r56_a_request_not_to_share_is_kept_and_an_override_needs_a_ground(scene, known):
    person = scene.people(1)
    scene.ask("SetExemption", register="hes", reason="made-up-data", reference="T-1")
    assert scene.refused(
        "SetSharing", sought=scene.sought(person), sharing="SHARING_OVERRIDDEN", ground="required-by-law",
        reference="L-1",
    )[1] == "NOT_FOUND"  # fmt: skip
    decision = scene.ask("SetSharing", sought=scene.sought(person), sharing="SHARING_REFUSED")
    assert scene.linked(scene.extract(scene.people(0, 1), "hes-6"))["persons_linked"] == 1
    for fields in ({"ground": "because"}, {"ground": "required-by-law", "reference": ""}):
        more = {"reference": "L-1", **fields}
        assert scene.refused(
            "SetSharing", sought=scene.sought(person), sharing="SHARING_OVERRIDDEN", **more
        )[0] == "INVALID_ARGUMENT"  # fmt: skip
    over = scene.ask(
        "SetSharing", sought=scene.sought(person), sharing="SHARING_OVERRIDDEN", ground="required-by-law",
        reference="L-1", register="hes",
    )  # fmt: skip
    assert over.decision == decision.decision
    assert "a law requires it" in over.tell
    assert "L-1" in over.tell
    assert scene.ask("GetStatus", project=PROJECT).untold == 1
    assert scene.ask("ConfirmTold", decision=over.decision).overrides == 1
    assert scene.ask("GetStatus", project=PROJECT).untold == 0
    assert scene.linked(scene.extract(scene.people(0, 1), "hes-7"))["persons_linked"] == 2
    assert scene.ask("SetSharing", sought=scene.sought(person), sharing="SHARING_LIFTED").persons == 1
    assert scene.ask("GetStatus", project=PROJECT).not_shared == 0


def test_r57_circulars_are_a_list_of_their_own(scene, known):
    count = scene.persons()
    ann = {"forename": "Ann", "surname": "Whitlock", "postcode": "CB1 2CD"}
    freya = {"forename": "Freya", "surname": "Okonkwo", "postcode": "CB3 2AA"}
    assert scene.ask("SetCirculation", persons=[ann, freya]).persons == 2
    asked = [{**ann, "forename": "ANN", "surname": "Whitlocke"}, {**ann, "forename": "Bill"}, freya]
    assert list(scene.ask("CheckCirculation", persons=asked).refused) == [True, False, True]
    # It says nothing of the research, nor the research of it.
    scene.join(scene.people(2), "c-2")
    assert scene.persons() == count
    assert scene.ask("SetCirculation", persons=[freya], lifted=True).persons == 1
    assert list(scene.ask("CheckCirculation", persons=[ann, freya]).refused) == [True, False]
    assert scene.refused("SetCirculation", persons=[{"forename": "Ann"}])[0] == "INVALID_ARGUMENT"


# --- commands ------------------------------------------------------------------------------------------


def test_an_officer_does_it_at_the_command_line(scene, tmp_path, stranger):
    people = tmp_path / "people.csv"
    people.write_text("born,surname,postcode\n1971-09-30,Xanthopoulos,PE27 4QX\n")

    def typed(*words, code=0):
        done = scene.kinlink(app, Role.IDENTITY, OFFICER, "optout", *words, *FLAGS)
        assert done.exit_code == code, done.output
        return done.output

    said = typed("withdraw", "--file", people)
    assert "1 person has withdrawn." in said
    assert "1 internal id\n" in said
    for words in (("withdraw",), ("nhs-number",), ("sharing", "refuse")):
        said = typed(*words, "--file", people, code=1)
        assert "Nobody in the vault agrees with what is given of person 1 of 1. Nothing was done." in said
        assert "[SUBJECT_MISSING]" in said
    absent = tmp_path / "absent.csv"
    assert "absent.csv, cannot be read: No such file" in typed("withdraw", "--file", absent, code=1)
    assert "absent.csv cannot be read: No such file" in typed("import", absent, code=1)
    out = typed("export", "--out", tmp_path)
    (file,) = tmp_path.glob("*.dat")
    assert str(file) in out
    assert "0 are not used" in typed("import", file)
    assert "[INPUT_INVALID]" in typed("import", people, "--name", file.name, code=1)
    assert "Recorded" in typed(
        "exempt", "--register", "ndtms", "--reason", "anonymised", "--reference", "A-1"
    )
    typed("sharing", "lift", "--file", people, code=1)
    people.write_text("forename,surname,postcode\nAnn,Hollingworth,CB1 2CD\n")
    assert "1 person\n" in typed("circulation", "refuse", "--file", people)
    people.write_text("forename,surname,postcode\nAnn,Hollingworth,CB1 2CD\nBill,Hollingworth,CB1 2CD\n")
    checked = typed("circulation", "check", "--file", people)
    assert checked.splitlines()[:3] == [
        "forename,surname,postcode,circular",
        "Ann,Hollingworth,CB1 2CD,no",
        "Bill,Hollingworth,CB1 2CD,yes",
    ]
    done = scene.kinlink(app, Role.IDENTITY, OFFICER, "optout", "status", "--project", PROJECT)
    assert "ndtms exempt: anonymised A-1" in done.output
    assert f"{file.name}  cleared" in done.output


# --- killed in the middle ------------------------------------------------------------------------------

STEPS = (
    "from pseudonym.optouts.book import Book; dies(Book, 'keep', True)",
    "from pseudonym.optouts.book import Book; dies(Book, 'keep', False)",
    "from pseudonym.identity_erasure import IdentityErasure; dies(IdentityErasure, 'erase', True)",
    "from pseudonym.identity_erasure import IdentityErasure; dies(IdentityErasure, 'erase', False)",
)


def dies(scene, step, ask):
    """Have the identity role killed in a step of what is asked, and start it again."""
    scene.stop(Role.IDENTITY)
    scene.dying = DYING + step
    scene.start(Role.IDENTITY)
    with pytest.raises(grpc.RpcError):
        ask()
    assert scene.identity.process.wait(timeout=60) == -9
    scene.dying = ""
    scene.start(Role.IDENTITY)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_r52_killed_at_any_step_a_withdrawal_is_resumed_or_was_never_begun(tmp_path, certificates):
    with Scene(tmp_path, certificates) as scene:
        scene.begun()
        scene.join(scene.people(), "k-1")
        left = COUNT
        for place, step in enumerate(STEPS):
            sought = scene.sought(scene.people(place))
            dies(scene, step, lambda whom=sought: scene.ask("Withdraw", sought=whom))
            left -= place > 0  # killed before the rule was on disk, nothing was begun
            chain.eventually(lambda wanted=left: scene.persons() == wanted)
            assert scene.ask("GetStatus", project=PROJECT).withdrawn == COUNT - left
        # Whoever is there still is joined, and of the others nobody comes back.
        later = scene.people(
            *range(len(STEPS)), nhs_number=pl.lit(None, pl.String), postcode=pl.lit("PE1 9ZZ")
        )
        scene.join(later, "k-2")
        assert scene.persons() == left
        scene.stop()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_r54_r55_killed_at_any_step_a_number_is_gone_and_a_list_is_in_or_not(tmp_path, certificates):
    with Scene(tmp_path, certificates) as scene:
        scene.begun()
        scene.join(scene.people(), "k-1")
        forget = "from pseudonym.people import People; dies(People, 'forget_number', {before}, {call})"
        for place, before in ((4, True), (5, False)):
            # What was done before is looked through once more at each start.
            step = forget.format(before=before, call=place - 3)
            sought = scene.sought(scene.people(place))
            dies(scene, step, lambda whom=sought: scene.ask("SetNhsNumberOptOut", sought=whom))
            assert scene.ask("GetStatus", project=PROJECT).nhs_numbers == place - 3
        name, content = scene.export()
        assert not [one for one in (4, 5) if scene.numbers[one].encode() in content]
        submission = scene.extract(scene.people(6, 7), "k-hes")
        answer = content.replace(f"{scene.numbers[7]},\n".encode(), b"")
        lists = "from pseudonym.roles.sealed_lists import SealedLists; dies(SealedLists, 'put', False)"
        dies(scene, lists, lambda: scene.import_(name, answer))
        with pytest.raises(ServiceError) as caught:
            scene.start_register(submission)
        assert caught.value.reason == "OPT_OUT_MISSING"
        taken = "from pseudonym.optouts.checks import Checks; dies(Checks, 'take', False)"
        dies(scene, taken, lambda: scene.import_(name, answer))
        assert scene.linked(submission)["persons_linked"] == 1
        scene.stop()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_r52_a_database_that_is_put_back_does_not_bring_back_who_withdrew(tmp_path, certificates):
    with Scene(tmp_path, certificates) as scene:
        scene.begun()
        scene.join(scene.people(), "b-1")
        scene.stop(Role.IDENTITY)
        store = scene.identity.data / "identity" / "store.sqlite"
        backup = store.read_bytes()
        scene.start(Role.IDENTITY)
        scene.ask("Withdraw", sought=scene.sought(scene.people(0)))
        scene.ask("SetNhsNumberOptOut", sought=scene.sought(scene.people(1)))
        scene.complete()
        scene.stop(Role.IDENTITY)
        for path in store.parent.glob("store.sqlite*"):
            path.unlink()
        store.write_bytes(backup)
        store.chmod(0o600)
        scene.start(Role.IDENTITY)
        assert scene.persons() == COUNT - 1
        scene.join(scene.people(0, 1, postcode=pl.lit("PE1 1AA")), "b-2")
        assert scene.persons() == COUNT - 1
        _, content = scene.export()
        assert scene.numbers[1].encode() not in content
        scene.stop()
