"""People's requests through three real roles: asked, decided, carried out, answered."""

from __future__ import annotations

import json
import os
import sqlite3
from datetime import date, timedelta

import grpc
import polars as pl
import pytest

from deploy import rights as steps
from deploy.service import Service, StudyError
from linker.cli import app
from pseudonym.roles.callers import Role
from pseudonym.roles.commands_rights import rights_app
from pseudonym.v1 import broker_pb2, common_pb2, optout_pb2, rights_pb2, vault_pb2
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles.harness import ENDED, PURPOSE, Trio, governance, join, mandate, reason
from tests.pseudonym.roles.test_erasure import Study, issued

R, B, PROJECT, RECIPIENT = "/pseudonym.v1.RightsService/", chain.B, chain.PROJECT, chain.RECIPIENT
OFFICER = Role.DATA_PROTECTION_OFFICER
CONTACTS = [
    {"who": "data-protection-officer", "name": "Olive Officer", "how": "dpo@council.example"},
    {"who": "regulator", "name": "Information Commissioner's Office", "how": "ico.org.uk"},
]


FORENAMES = (
    "Aurelia Barnaby Clementine Dashiell Evangeline Fitzroy Guinevere Horatio Isadora "
    "Jocasta Kingsley Lavinia"
)
SURNAMES = (
    "Abbotsley Brackenridge Cholmondsen Dunsmuirton Earnshawe Featherstone Gawthorpe Hollingbury Inglethorpe "
    "Jolliffeson Kirkbrideson Lanyontree"
)


class People(Study):
    """Twelve people who have nothing in common; each test that changes somebody has one of its own."""

    def rows(self, refs):
        of = [place % len(self.numbers) for place in range(len(refs))]
        named = pl.DataFrame(
            {
                "forename": [FORENAMES.split()[one] for one in of],
                "surname": [SURNAMES.split()[one] for one in of],
            }
        )
        return pl.DataFrame(
            {
                "row_ref": [ref.hex() for ref in refs],
                "dob": [f"2011-02-{1 + one:02}" for one in of],
                "postcode": [f"CB{1 + one} {one % 10}AA" for one in of],
                "nhs_number": [self.numbers[one] for one in of],
            }
        ).hstack(named)


class Rights(Trio):
    """Three roles whose rounds come at once."""

    CODE = (
        "from pseudonym.roles import carrying, erasing, errands, exchange\n"
        "exchange.ASK_EVERY = erasing.EVERY = errands.EVERY = carrying.EVERY = 0.2\n"
        "os._exit(server.run(settings))"
    )


@pytest.fixture(scope="module")
def trio(tmp_path_factory, certificates):
    folder = tmp_path_factory.mktemp("rights")
    with Rights(
        folder, certificates, governance(folder, contacts=CONTACTS, projects={ENDED: "2026-01-31T00:00:00Z"})
    ) as roles:
        roles.start()
        yield roles


@pytest.fixture(scope="module")
def study(trio):
    return People(trio, people=12)


def sought(study, one):
    return vault_pb2.SoughtPerson(born=f"2011-02-{1 + one:02}", nhs=study.numbers[one])


def asked(study, right, *people, **changes):
    fields = {
        "mandate": mandate(),
        "right": right,
        "received": date.today().isoformat(),
        "asker": rights_pb2.ASKER_SELF,
        "proofs": [rights_pb2.ASKER_PROOF_DOCUMENT],
        "sought": [sought(study, one) for one in people],
    } | changes
    return rights_pb2.OpenRequestRequest(**fields)


def opened(study, right, *people, bearer="council", **changes):
    with study.trio.called(Role.IDENTITY, bearer) as caller:
        request = asked(study, right, *people, **changes)
        return caller(f"{R}OpenRequest", request, rights_pb2.OpenRequestResponse).case


def decided(study, case_id, outcome=rights_pb2.RIGHT_OUTCOME_GRANTED, **more):
    with study.trio.called(Role.IDENTITY, OFFICER) as officer:
        request = rights_pb2.DecideRequest(mandate=mandate(), case_id=case_id, outcome=outcome, **more)
        return officer(f"{R}Decide", request, rights_pb2.DecideResponse, 40).case


def case_of(study, case_id, bearer=OFFICER):
    with study.trio.called(Role.IDENTITY, bearer) as caller:
        request = rights_pb2.GetRequestRequest(project=PROJECT, case_id=case_id)
        return caller(f"{R}GetRequest", request, rights_pb2.GetRequestResponse).case


def closed(study, case_id):
    def attempt():
        case = case_of(study, case_id)
        return case if case.state == rights_pb2.CASE_STATE_CLOSED else None

    return chain.eventually(attempt)


def granted(study, right, *people, open_more=None, **more):
    case = opened(study, right, *people, **(open_more or {}))
    decided(study, case.case_id, **more)
    return closed(study, case.case_id)


def answer(study, case_id, folder):
    """The joined answer, as the officer's own commands make it."""
    trio = study.trio
    words = ("answer", case_id, "--project", PROJECT, "--purpose", PURPOSE, "--out", folder)
    done = trio.kinlink(rights_app, Role.IDENTITY, OFFICER, *words)
    assert done.exit_code == 0, done.output
    keys = [trio.folder / role / role.value / "officer.key" for role in (Role.IDENTITY, Role.ATTRIBUTES)]
    flags = [flag for key in keys for flag in ("--key", key)]
    done = trio.kinlink(
        rights_app, None, "", "open", case_id, "--project", PROJECT, "--in", folder, "--out", folder, *flags
    )
    assert done.exit_code == 0, done.output
    return json.loads((folder / "answer.json").read_text())


def refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return reason(caught.value)[:2]


def test_r58_a_council_asks_whether_data_are_used_and_the_officer_answers(study):
    used = opened(study, rights_pb2.RIGHT_USED, 0)
    assert (used.state, used.found, used.used) == (rights_pb2.CASE_STATE_OPEN, 0, 0)
    nobody = vault_pb2.SoughtPerson(born="1999-09-09", surname="Nobody", postcode="ZZ1 1ZZ")
    unused = opened(study, rights_pb2.RIGHT_USED, sought=[nobody])
    # Who takes it in learns nothing of whether anybody was found; the officer does.
    assert (unused.state, unused.found) == (used.state, used.found)
    assert case_of(study, used.case_id).found == rights_pb2.RIGHT_FOUND_ONE
    assert case_of(study, unused.case_id).found == rights_pb2.RIGHT_FOUND_NOBODY
    for case, said in ((used, rights_pb2.DATA_USED_YES), (unused, rights_pb2.DATA_USED_NO)):
        decided(study, case.case_id)
        assert closed(study, case.case_id).used == said
        told = case_of(study, case.case_id, "council")
        assert (told.used, told.found) == (said, 0)
    # Another council has no such case.
    assert refused(lambda: case_of(study, used.case_id, "council-2")) == ("NOT_FOUND", "NOT_FOUND")


def test_r58_of_a_project_that_has_ended_nobody_can_tell_any_more(study):
    over = mandate(project=ENDED)
    case = opened(study, rights_pb2.RIGHT_USED, 0, mandate=over)
    with study.trio.called(Role.IDENTITY, OFFICER) as officer:
        request = rights_pb2.DecideRequest(
            mandate=mandate(project=ENDED), case_id=case.case_id, outcome=rights_pb2.RIGHT_OUTCOME_GRANTED
        )
        told = officer(f"{R}Decide", request, rights_pb2.DecideResponse).case
    assert told.used == rights_pb2.DATA_USED_NO_LONGER_RESOLVABLE
    assert told.state == rights_pb2.CASE_STATE_CLOSED
    other = lambda: opened(study, rights_pb2.RIGHT_ACCESS, 0, mandate=mandate(project=ENDED))  # noqa: E731
    assert refused(other)[1] == "PROJECT_ENDED"


def test_r59_r70_a_copy_of_all_that_is_held_joins_on_the_officers_machine_alone(study, tmp_path):
    case = granted(study, rights_pb2.RIGHT_ACCESS, 1)
    assert case.answered
    found = answer(study, case.case_id, tmp_path)
    texts = json.dumps(found)
    assert SURNAMES.split()[1] in texts
    assert study.numbers[1] in texts
    assert [one["name"] for one in found["attributes"]["datasets"]] == ["attainment"]
    assert len(found["attributes"]["datasets"][0]["rows"]) == 2
    assert found["requests"][0]["case_id"] == case.case_id
    assert [one["who"] for one in found["case"]["contacts"]] == ["data-protection-officer", "regulator"]
    # Nobody else is in it.
    others = [
        one
        for one in (*study.numbers, *SURNAMES.split())
        if one not in (study.numbers[1], SURNAMES.split()[1])
    ]
    assert not [one for one in others if one in texts]
    # And no server has the halves in the clear, nor one role's key both.
    for role in (Role.IDENTITY, Role.BROKER, Role.ATTRIBUTES):
        for path, content in study.trio.files(role).items():
            assert SURNAMES.split()[1].encode() not in content, (role, path)
    key = study.trio.folder / Role.IDENTITY / "identity" / "officer.key"
    words = (
        "open",
        case.case_id,
        "--project",
        PROJECT,
        "--in",
        tmp_path,
        "--out",
        tmp_path / "x",
        "--key",
        key,
    )
    done = study.trio.kinlink(rights_app, None, "", *words)
    assert done.exit_code == 1
    assert "SEALED_INVALID" in done.output


def flags_of(study):
    """The flags of subjects in the attribute store, by aid."""
    path = study.trio.folder / Role.ATTRIBUTES / "attributes" / "store.sqlite"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return dict(database.execute("SELECT aid, flags FROM a_subject"))


def states(study):
    path = study.trio.folder / Role.IDENTITY / "identity" / "store.sqlite"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return sorted(row[0] for row in database.execute("SELECT state FROM subject WHERE kind='person'"))


def test_r62_who_is_restricted_is_left_out_of_joins_and_comes_back(study):
    before = states(study).count("active")
    case = granted(study, rights_pb2.RIGHT_RESTRICTION, 2)
    assert flags_of(study)[study.aids[2]] == 1
    assert states(study).count("restricted") == 1
    # Delivered again they are known again, and nobody new is made of them whose data could be used.
    refs = [os.urandom(16) for _ in range(3)]
    counts = join(study.trio.servers[Role.IDENTITY], study.trio.certificates, study.rows(refs), "b-again")
    assert counts["new"] == 0
    assert states(study).count("active") == before - 1
    lifting = {"lifts": case.case_id, "sought": []}
    # Another council is told of it no more than of a case that there is not.
    other = lambda: opened(study, rights_pb2.RIGHT_LIFTING, bearer="council-2", **lifting)  # noqa: E731
    assert refused(other) == ("NOT_FOUND", "NOT_FOUND")
    lift = granted(study, rights_pb2.RIGHT_LIFTING, open_more=lifting)
    assert lift.lifts == case.case_id
    assert case_of(study, case.case_id).lifted
    assert flags_of(study)[study.aids[2]] == 0
    assert states(study).count("active") == before


def test_r62_a_restriction_may_be_of_one_purpose(study):
    case = granted(study, rights_pb2.RIGHT_RESTRICTION, 3, purposes=["other-use"])
    assert list(case.purposes) == ["other-use"]
    assert flags_of(study)[study.aids[3]] == 4
    assert states(study).count("limited") == 1
    # For the purpose of these tests the data may be used: the person can be found and copied.
    assert granted(study, rights_pb2.RIGHT_USED, 3).used == rights_pb2.DATA_USED_YES
    again = granted(study, rights_pb2.RIGHT_OBJECTION, 3)
    assert flags_of(study)[study.aids[3]] == 6
    granted(study, rights_pb2.RIGHT_LIFTING, open_more={"lifts": again.case_id, "sought": []})
    assert flags_of(study)[study.aids[3]] == 4
    granted(study, rights_pb2.RIGHT_LIFTING, open_more={"lifts": case.case_id, "sought": []})
    assert flags_of(study)[study.aids[3]] == 0


def urn_of(study, one):
    with study.trio.called(Role.BROKER, "attributes") as keeper:
        return issued(keeper, [study.aids[one]])[0]


def test_r60_a_corrected_name_keeps_the_number_and_recipients_are_told(study, tmp_path):
    before = urn_of(study, 4)
    corrections = [rights_pb2.RightsCorrection(field="surname", value="Rightly")]
    granted(
        study, rights_pb2.RIGHT_RECTIFICATION, 4,
        corrections=corrections, truth=rights_pb2.CORRECTION_TRUTH_NEVER,
    )  # fmt: skip
    assert urn_of(study, 4) == before
    # The person is found by the right name, and no longer by the wrong one.
    described = {"born": "2011-02-05", "postcode": "CB5 4AA"}
    right = vault_pb2.SoughtPerson(surname="Rightly", **described)
    wrong = vault_pb2.SoughtPerson(surname=SURNAMES.split()[4], **described)
    for one, found in ((right, rights_pb2.RIGHT_FOUND_ONE), (wrong, rights_pb2.RIGHT_FOUND_NOBODY)):
        case = opened(study, rights_pb2.RIGHT_ACCESS, sought=[one])
        assert case_of(study, case.case_id).found == found
        if found == rights_pb2.RIGHT_FOUND_ONE:
            decided(study, case.case_id)
            closed(study, case.case_id)
            text = json.dumps(answer(study, case.case_id, tmp_path))
            assert "Rightly" in text
            assert SURNAMES.split()[4] not in text
    with study.trio.called(Role.BROKER, OFFICER) as officer:
        listed = broker_pb2.ListSupersessionsRequest(
            project=PROJECT, recipient=RECIPIENT, kind=common_pb2.SUBJECT_KIND_PERSON, purpose=PURPOSE
        )
        told = officer(f"{B}ListSupersessions", listed, broker_pb2.ListSupersessionsResponse)
    rows = [(one.old_urn, one.new_urn, one.change) for one in told.supersessions]
    assert (before, before, "corrected") in rows


def test_r61_an_erasure_is_a_case_that_outlives_the_person_without_identity(study):
    case = granted(study, rights_pb2.RIGHT_ERASURE, 5, ground=vault_pb2.ERASURE_REASON_OBJECTION)
    assert list(case.steps) == ["erased"]
    study.check_gone(5)
    again = opened(study, rights_pb2.RIGHT_USED, 5)
    decided(study, again.case_id)
    assert closed(study, again.case_id).used == rights_pb2.DATA_USED_NO


def test_r63_what_was_provided_comes_as_json_and_csv(study, tmp_path):
    case = granted(study, rights_pb2.RIGHT_PORTABILITY, 6)
    answer(study, case.case_id, tmp_path)
    people = pl.read_csv(tmp_path / "identity.csv", infer_schema=False)
    assert people["nhs"].to_list() == [study.numbers[6]] * people.height
    assert pl.read_csv(tmp_path / "attainment.csv").height == 2
    found = json.loads((tmp_path / "answer.json").read_text())
    assert not {"disclosures", "joins", "requests"} & set(found)


def test_r64_an_objection_is_recorded_and_decided(study):
    case = opened(study, rights_pb2.RIGHT_OBJECTION, 7)
    refusal = decided(
        study, case.case_id, rights_pb2.RIGHT_OUTCOME_REFUSED,
        reasons=[rights_pb2.RIGHT_REFUSAL_RESEARCH_IN_THE_PUBLIC_INTEREST],
    )  # fmt: skip
    assert (refusal.state, refusal.reasons[0].law) == (rights_pb2.CASE_STATE_CLOSED, "UK GDPR Art 21(6)")
    assert flags_of(study)[study.aids[7]] == 0
    case = granted(study, rights_pb2.RIGHT_OBJECTION, 7)
    assert flags_of(study)[study.aids[7]] == 2
    assert states(study).count("objected") == 1
    granted(study, rights_pb2.RIGHT_LIFTING, open_more={"lifts": case.case_id, "sought": []})


def test_r66_a_request_near_its_clocks_end_shows_up_first_and_a_refusal_has_a_reason(study):
    today = date.today()
    late = opened(study, rights_pb2.RIGHT_ACCESS, 8, received=(today - timedelta(days=40)).isoformat())
    soon = opened(study, rights_pb2.RIGHT_ACCESS, 8, received=(today - timedelta(days=26)).isoformat())
    new = opened(study, rights_pb2.RIGHT_ACCESS, 8)
    with study.trio.called(Role.IDENTITY, OFFICER) as officer:
        request = rights_pb2.ListRequestsRequest(project=PROJECT)
        listed = officer(f"{R}ListRequests", request, rights_pb2.ListRequestsResponse).cases
    mine = [one for one in listed if one.case_id in {late.case_id, soon.case_id, new.case_id}]
    assert [one.case_id for one in mine] == [late.case_id, soon.case_id, new.case_id]
    assert [one.urgency for one in mine] == [
        rights_pb2.CASE_URGENCY_OVERDUE, rights_pb2.CASE_URGENCY_SOON, rights_pb2.CASE_URGENCY_RUNNING
    ]  # fmt: skip
    assert listed[0].case_id == late.case_id
    without = lambda: decided(study, new.case_id, rights_pb2.RIGHT_OUTCOME_REFUSED)  # noqa: E731
    assert refused(without) == ("INVALID_ARGUMENT", "INPUT_INVALID")
    other = lambda: decided(  # noqa: E731
        study, new.case_id, rights_pb2.RIGHT_OUTCOME_REFUSED, reasons=[rights_pb2.RIGHT_REFUSAL_ACCURATE]
    )
    assert refused(other) == ("INVALID_ARGUMENT", "INPUT_INVALID")
    with study.trio.called(Role.IDENTITY, OFFICER) as officer:

        def extended(case):
            request = rights_pb2.ExtendRequestRequest(
                mandate=mandate(), case_id=case.case_id, delay=rights_pb2.CLOCK_DELAY_COMPLEX
            )
            return officer(f"{R}ExtendRequest", request, rights_pb2.ExtendRequestResponse).case

        assert extended(soon).urgency == rights_pb2.CASE_URGENCY_RUNNING
        assert refused(lambda: extended(late)) == ("ALREADY_EXISTS", "CONFLICT")
    unproved = opened(study, rights_pb2.RIGHT_ACCESS, 8, proofs=[])
    assert refused(lambda: decided(study, unproved.case_id)) == ("INVALID_ARGUMENT", "INPUT_INVALID")


def test_r67_an_answer_names_whom_to_complain_to(study):
    case = opened(study, rights_pb2.RIGHT_ACCESS, 8)
    assert not case.contacts
    told = decided(
        study, case.case_id, rights_pb2.RIGHT_OUTCOME_REFUSED, reasons=[rights_pb2.RIGHT_REFUSAL_EXCESSIVE]
    )
    assert [one.who for one in told.contacts] == ["data-protection-officer", "regulator"]
    assert [one.how for one in case_of(study, case.case_id, "council").contacts] == [
        "dpo@council.example", "ico.org.uk"
    ]  # fmt: skip


def test_the_same_request_is_the_same_case_and_the_same_decision_is_one(study):
    request = asked(study, rights_pb2.RIGHT_ACCESS, 8)
    with study.trio.called(Role.IDENTITY, "council") as council:
        cases = {
            council(f"{R}OpenRequest", request, rights_pb2.OpenRequestResponse).case.case_id for _ in range(2)
        }
        assert len(cases) == 1
        other = rights_pb2.OpenRequestRequest()
        other.CopyFrom(request)
        other.right = rights_pb2.RIGHT_ERASURE
        again = lambda: council(f"{R}OpenRequest", other, rights_pb2.OpenRequestResponse)  # noqa: E731
        assert refused(again) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    (case_id,) = cases
    decided(study, case_id)
    decided(study, case_id)
    restricting = lambda: decided(  # noqa: E731
        study, case_id, rights_pb2.RIGHT_OUTCOME_REFUSED, reasons=[rights_pb2.RIGHT_REFUSAL_EXCESSIVE]
    )
    assert refused(restricting) == ("ALREADY_EXISTS", "CONFLICT")
    closed(study, case_id)


def test_the_commands_take_in_list_extend_and_refuse(study, tmp_path):
    trio = study.trio
    people = tmp_path / "people.csv"
    people.write_text(f"born,nhs\n2011-02-09,{study.numbers[8]}\n")

    def typed(bearer, *words, code=0):
        done = trio.kinlink(rights_app, Role.IDENTITY, bearer, *words, "--project", PROJECT)
        assert done.exit_code == code, done.output
        return done.output

    purpose = ("--purpose", PURPOSE)
    day = (date.today() - timedelta(days=20)).isoformat()
    asking = ("ask", "--right", "erasure", "--received", day, "--file", people, *purpose)
    shown = typed("council", *asking, "--proof", "document", "--request-id", "by-command")
    case_id = shown.split("case id")[1].split()[0]
    assert typed("council", *asking, "--proof", "document", "--request-id", "by-command").count(case_id) == 1
    late = opened(study, rights_pb2.RIGHT_ACCESS, 8, received=(date.today() - timedelta(days=35)).isoformat())
    assert f"{late.case_id}  {late.due}  overdue" in typed(OFFICER, "list")
    assert case_id in typed("council", "list")
    assert case_id not in typed("council-2", "list")
    assert "complex" in typed(OFFICER, "extend", case_id, "--why", "complex", *purpose)
    # What is wrong is said before anything changes, and by whom it may be done.
    refusal = typed(OFFICER, "decide", case_id, "--outcome", "refused", *purpose, code=1)
    assert "is refused, in whole or in part, for a reason" in refusal
    assert "CALLER_REFUSED" in typed("council", "decide", case_id, "--outcome", "granted", *purpose, code=1)
    assert "the ground of the erasure" in typed(
        OFFICER, "decide", case_id, "--outcome", "granted", *purpose, code=1
    )
    refused = typed(OFFICER, "decide", case_id, "--outcome", "refused", "--reason", "research", *purpose)
    assert "UK GDPR Art 17(3)(d)" in refused
    assert "Olive Officer: dpo@council.example" in typed("council", "show", case_id)
    assert "kinlink rights show" in typed(OFFICER, "answer", case_id, "--out", tmp_path, *purpose, code=1)
    assert "Name the person with --file" in typed("council", *asking[:5], *purpose, code=1)
    absent = tmp_path / "absent.csv"
    assert "absent.csv, cannot be read: No such file" in typed(
        "council", *asking[:6], absent, *purpose, code=1
    )
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("field,worth\nsurname,X\n")
    words = ("decide", case_id, "--outcome", "granted", "--truth", "never", "--correct", wrong, *purpose)
    assert "They are field, value" in typed(OFFICER, *words, code=1)


WRONG = {
    "born": (date.today() + timedelta(days=1)).isoformat(),
    "nhs": "9434765918",
    "nino": "AB12345",
    "postcode": "CB99",
}


@pytest.mark.parametrize("field", WRONG)
def test_r60_a_role_takes_no_value_that_can_be_nobodys_whatever_the_client_let_through(study, field):
    case = opened(study, rights_pb2.RIGHT_RECTIFICATION, 11)
    wrong = [
        rights_pb2.RightsCorrection(field="surname", value="Rightly"),
        rights_pb2.RightsCorrection(field=field, value=WRONG[field]),
    ]
    truth = rights_pb2.CORRECTION_TRUTH_NEVER
    with pytest.raises(grpc.RpcError) as caught:
        decided(study, case.case_id, corrections=wrong, truth=truth)
    assert reason(caught.value)[:2] == ("INVALID_ARGUMENT", "INPUT_INVALID")
    said = f"{caught.value.details()} {caught.value.trailing_metadata()}"
    assert f"{field}: " in said
    assert WRONG[field] not in said
    # Nothing was changed: the case is open, and the person is who they were.
    assert case_of(study, case.case_id).state == rights_pb2.CASE_STATE_OPEN
    described = vault_pb2.SoughtPerson(born="2011-02-12", surname=SURNAMES.split()[11], postcode="CB12 1AA")
    again = opened(study, rights_pb2.RIGHT_ACCESS, sought=[described])
    assert case_of(study, again.case_id).found == rights_pb2.RIGHT_FOUND_ONE


def test_r60_an_officer_sees_what_will_be_corrected_and_is_asked(study, tmp_path):
    trio = study.trio
    case_id = opened(study, rights_pb2.RIGHT_RECTIFICATION, 7).case_id
    file = tmp_path / "correct.csv"

    def typed(*words, typed="", code=0):
        flags = ("--project", PROJECT, "--purpose", PURPOSE)
        whole = ("rights", "decide", case_id, "--outcome", "granted", *words, *flags)
        done = trio.kinlink(app, Role.IDENTITY, OFFICER, *whole, typed=typed)
        assert done.exit_code == code, done.output
        return done.output

    assert "--correct and --truth" in typed(code=1)
    file.write_text("field,value\nforename,Rosalind\n")
    correcting = ("--truth", "former", "--correct", file)
    assert "lacks --correct" in typed(*correcting[:2], code=1)
    assert "lacks --truth" in typed(*correcting[2:], code=1)
    said = typed(*correcting, code=1)
    assert "Row 1 of the file of corrections names a field" in said
    assert "given (the forenames)" in said
    for field, value in WRONG.items():
        file.write_text(f"field,value\n{field},{value}\n")
        truth = ("--truth", "never", "--correct", file)
        said = typed(*truth, "--yes", code=1)
        assert f"{field}: " in said
        assert value not in said
        assert "Request " not in said  # it never left this machine
    file.write_text("field,value\nnhs, \n")
    assert "nhs       (taken away)" in typed(*correcting, typed="n\n", code=1)
    file.write_text("field,value\nnhs\n")
    assert "Row 1 of the file of corrections has fewer values" in typed(*correcting, "--yes", code=1)
    file.write_text("field,value\ngiven,Rosalind\npostcode,pe1 9ab\n")
    said = typed(*correcting, typed="n\n", code=1)
    assert "given     Rosalind" in said
    assert "postcode  pe1 9ab" in said
    assert "stays as former values" in said
    assert case_of(study, case_id).state == rights_pb2.CASE_STATE_OPEN
    assert "say --yes" in typed("--truth", "former", "--correct", "-", typed="field,value\n", code=1)
    assert "outcome   granted" in typed(*correcting, typed="y\n")
    closed(study, case_id)
    # It is kept as linkage keeps it, and the former values stand beside it.
    copied = granted(study, rights_pb2.RIGHT_ACCESS, 7)
    found = answer(study, copied.case_id, tmp_path / "answer")
    names = [(one["given"], one["surname"]) for row in found["records"] for one in row["names"]]
    assert ("Rosalind", SURNAMES.split()[7]) in names
    assert "PE19AB" in [one["postcode"] for row in found["records"] for one in row["addresses"]]
    text = (tmp_path / "answer" / "answer.txt").read_text()
    assert "PE1 9AB" in text
    assert "[To be added by hand" in text  # these roles have no record of the project


def test_r60_with_yes_a_script_is_not_asked_and_may_give_the_values_on_standard_input(study):
    case_id = opened(study, rights_pb2.RIGHT_RECTIFICATION, 8).case_id
    words = (
        "rights",
        "decide",
        case_id,
        "--outcome",
        "granted",
        "--truth",
        "former",
        "--correct",
        "-",
        "--yes",
    )
    done = study.trio.kinlink(
        app, Role.IDENTITY, OFFICER, *words, "--project", PROJECT, "--purpose", PURPOSE,
        typed="field,value\naddress,1 High Street\n",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Do you want" not in done.output
    closed(study, case_id)


def test_r66_nothing_held_of_somebody_whose_erasure_was_asked_cites_the_article_of_erasure(study):
    nobody = vault_pb2.SoughtPerson(born="1999-09-09", surname="Nobody", postcode="ZZ1 1ZZ")
    case = opened(study, rights_pb2.RIGHT_ERASURE, sought=[nobody])
    refusal = decided(
        study, case.case_id, rights_pb2.RIGHT_OUTCOME_REFUSED,
        reasons=[rights_pb2.RIGHT_REFUSAL_NOTHING_HELD],
    )  # fmt: skip
    assert [one.law for one in refusal.reasons] == ["UK GDPR Art 17(1)"]


def test_the_steps_of_a_demonstration_answer_and_correct(study):
    trio = study.trio
    addresses = {
        role: f"localhost:{trio.port(role)}" for role in (Role.IDENTITY, Role.BROKER, Role.ATTRIBUTES)
    }
    service = Service(addresses, trio.certificates, PROJECT, PURPOSE)
    for role in addresses:
        (trio.folder / f"{role}-role").symlink_to(trio.folder / role)
    person = {"born": "2011-02-10", "nhs": study.numbers[9]}
    case, answer = steps.access(service, person, steps.officers(trio.folder))
    assert case.answered
    assert SURNAMES.split()[9] in json.dumps(answer["records"])
    corrected = steps.rectified(service, person, {"surname": "Rightly"})
    assert list(corrected.steps) == ["attributes"]
    _, answer = steps.access(service, person, steps.officers(trio.folder))
    assert "Rightly" in json.dumps(answer["records"])
    assert SURNAMES.split()[9] not in json.dumps(answer)
    with pytest.raises(StudyError):
        steps.access(service, {"born": "1911-02-09", "nhs": study.numbers[9]}, [])


def test_r55_a_rectification_puts_back_no_number_that_is_not_to_be_used(study):
    with study.trio.called(Role.IDENTITY, OFFICER) as officer:
        who = vault_pb2.SoughtPersons(persons=[sought(study, 10)])
        request = optout_pb2.SetNhsNumberOptOutRequest(mandate=mandate(), sought=who)
        method = "/pseudonym.v1.OptOutService/SetNhsNumberOptOut"
        assert officer(method, request, optout_pb2.SetNhsNumberOptOutResponse, 40).persons == 1
    person = vault_pb2.SoughtPerson(born="2011-02-11", surname=SURNAMES.split()[10], postcode="CB11 0AA")
    case = opened(study, rights_pb2.RIGHT_RECTIFICATION, sought=[person])
    assert case_of(study, case.case_id).found == rights_pb2.RIGHT_FOUND_ONE
    truth = rights_pb2.CORRECTION_TRUTH_NEVER
    name = rights_pb2.RightsCorrection(field="given", value="Rosalind")
    number = rights_pb2.RightsCorrection(field="nhs", value=study.numbers[10])
    again = {"corrections": [name, number], "truth": truth}
    assert "INPUT_INVALID" in refused(lambda: decided(study, case.case_id, **again))
    assert case_of(study, case.case_id).state == rights_pb2.CASE_STATE_OPEN
    decided(study, case.case_id, corrections=[name], truth=truth)
    closed(study, case.case_id)
