"""`kinlink partner` from end to end: a council asks, a partner answers from its list, the council reads."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from linker.cli import app
from pseudonym.partners.checks import CHECKS
from pseudonym.roles.commands_partner import partner_app
from tests.partners.made import purposes

FAMILIES = """family,forename,surname,date_of_birth,nino,address,postcode,social_worker
F1,Jonathan,Smith,03/04/1990,AB123456C,"Flat 2, 14 High Street, Ely",CB7 4AB,CANARY
F1,Mia,Smith,2015-01-02,,"Flat 2, 14 High Street, Ely",CB7 4AB,CANARY
F2,Katherine,O'Brien,1985-12-04,,"Rose Cottage, Mill Lane",CB7 4XX,CANARY
F3,Sam,Long,1979-12-04,,"Room 7, Beeches Hostel, 4 Mill Road",CB7 4XY,CANARY
"""
CLIENTS = """First name,Last name,DOB,NINO,on benefit
Jon,Smith,1990-04-03,AB123456C,yes
Kate,OBrien,04/12/1985,,no
"""
INCIDENTS = """incident,address,postcode
1,"14 High St, Flat 2",CB74AB
2,4 Mill Rd,CB7 4XY
"""
PEOPLE = """forename,surname,date_of_birth
Mia,Smith,2015-01-02
"""


class Place:
    """A folder with a council's and a partner's files; each command runs as on the command line."""

    def __init__(self, folder):
        self.folder = folder
        for name, text in (
            ("families.csv", FAMILIES),
            ("clients.csv", CLIENTS),
            ("incidents.csv", INCIDENTS),
            ("people.csv", PEOPLE),
            ("alice.pass", "operator's passphrase\n"),
            ("jcp.pass", "partner's passphrase\n"),
        ):
            self.path(name).write_text(text)
            self.path(name).chmod(0o600)
        officer = X25519PrivateKey.generate().public_key()
        self.path("officer.pem").write_bytes(
            officer.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        self.path("watcher").mkdir()
        self.alice = self.done("operator-key", out="alice.pem", secret="file:alice.pass").strip()
        partner = self.done("partner-key", out="jcp.pem", secret="file:jcp.pass").strip()
        self.checks = {
            "council": "e10000003",
            "operators": [{"name": "alice", "person": "alice", "public_key": self.alice}],
            "partners": [{"name": "jcp-ely", "checks": list(CHECKS), "public_key": partner}],
            "purposes": purposes(),
        }
        self.govern(self.checks)
        self.done(
            "desk", self.path("desk"), log="council.example/checks", officer_key="officer.pem",
            checkpoints="watcher",
        )  # fmt: skip

    def path(self, name):
        return self.folder / name

    def govern(self, checks):
        self.path("governance.json").write_text(json.dumps({"partner_checks": checks}))
        self.path("governance.json").chmod(0o600)

    def run(self, command, *arguments, **options):
        given = [str(one) for one in arguments]
        for name, value in options.items():
            place = self.path(value) if isinstance(value, str) and name in FILES else value
            if isinstance(value, str) and value.startswith("file:"):
                place = f"file:{self.path(value[5:])}"
            given += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(place)])
        return CliRunner().invoke(app, ["partner", command, *given])

    def done(self, command, *arguments, **options):
        result = self.run(command, *arguments, **options)
        assert result.exit_code == 0, result.output
        return result.stdout

    def ask(self, check, out, **more):
        return self.run(
            "ask", self.path("families.csv"), check=check, partner="jcp-ely", out=out, **COUNCIL, **more
        )

    def answer(self, questions, against, out, **more):
        return self.run(
            "answer", self.path(questions), against=against, out=out, council="governance.json",
            partner_key="jcp.pem", secret="file:jcp.pass", **more,
        )  # fmt: skip

    def read(self, answers, out):
        return self.run("read", self.path(answers), out=out, **COUNCIL)


FILES = {
    "out",
    "operator_key",
    "partner_key",
    "desk",
    "governance",
    "against",
    "council",
    "officer_key",
    "checkpoints",
}
COUNCIL = {
    "desk": "desk", "governance": "governance.json", "operator_key": "alice.pem", "secret": "file:alice.pass"
}  # fmt: skip


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_r15_benefits_from_end_to_end(place):
    refused = place.ask("out-of-work-benefits", "q")
    assert refused.exit_code == 1
    assert "PARTNER_ROWS" in refused.stderr
    assert "Mia" not in refused.output
    assert not place.path("q").exists()
    assert not list((place.path("desk") / "kept").iterdir())  # nothing was made

    asked = place.ask("out-of-work-benefits", "q", adults_only=True)
    assert "3 questions to jcp-ely" in asked.stdout
    answered = place.answer("q", "clients.csv", "a", answer_column="on benefit")
    assert answered.stdout.splitlines()[1] == "yes 1, no 1, not_found 1"
    assert "0 of 3" in place.done("status", desk="desk")
    read = place.read("a", "indicators.csv")
    assert read.exit_code == 0, read.output
    day = place.path("indicators.csv").read_text().splitlines()[1][-10:]
    assert place.path("indicators.csv").read_text() == (
        "family,check,answer,scheme,problem,day\n"
        f"F1,out-of-work-benefits,yes,tf-2015,WORK_FIN,{day}\n"
        f'F2,out-of-work-benefits,no,tf-2015,"",{day}\n'
        f'F3,out-of-work-benefits,not_found,tf-2015,"",{day}\n'
    )
    assert "3 of 3" in place.done("status", desk="desk")


def test_r17_a_family_is_confirmed_by_any_adult_of_it(place):
    place.ask("stable-housing", "q")
    answered = place.answer("q", "clients.csv", "a")
    assert answered.stdout.splitlines()[1] == "yes 2, no 0, not_found 1"


def test_r18_a_call_out_is_found_by_the_address_alone(place):
    place.ask("call-out", "q")
    answered = place.answer("q", "incidents.csv", "a")
    assert answered.stdout.splitlines()[1] == "yes 1, no 0, not_found 2", answered.output
    place.read("a", "indicators.csv")
    assert "F1,call-out,yes" in place.path("indicators.csv").read_text()


def test_r18_anyone_in_the_family_may_be_asked_about(place):
    assert "4 questions" in place.ask("anti-social-behaviour", "q").stdout
    assert place.answer("q", "people.csv", "a").stdout.splitlines()[1] == "yes 1, no 0, not_found 3"
    place.read("a", "indicators.csv")
    assert "F1,anti-social-behaviour,yes,tf-2015,CRIME_ASB" in place.path("indicators.csv").read_text()


def test_r19_without_being_named_nobody_asks_or_reads(place):
    place.ask("call-out", "q")
    place.answer("q", "incidents.csv", "a")
    place.govern(place.checks | {"operators": []})
    for result in (place.ask("call-out", "q2"), place.read("a", "indicators.csv")):
        assert result.exit_code == 1
        assert "OPERATOR_REFUSED" in result.stderr
    assert not place.path("q2").exists()
    assert not place.path("indicators.csv").exists()
    # Nor does the partner answer what somebody signed whom it was not told of.
    assert "SEALED_INVALID" in place.answer("q", "incidents.csv", "a2").stderr


def test_r19_too_many_operators_stop_everything(place):
    more = [{"name": f"o{n}", "person": f"o{n}", "public_key": f"{n:064x}"} for n in range(12)]
    place.govern(place.checks | {"operators": place.checks["operators"] + more})
    result = place.ask("call-out", "q")
    assert result.exit_code == 1
    assert "12 is the most" in result.stderr


def test_what_matches_complains_in_a_sentence(place):
    place.ask("call-out", "q")
    result = place.answer("q", "people.csv", "a")
    assert result.exit_code == 1
    assert "LAYOUT_INVALID" in result.stderr
    assert not place.path("a").exists()


def test_without_what_matches_nothing_is_asked(place):
    given = ["ask", "families.csv", "--check", "call-out", "--partner", "jcp-ely"]
    for name in ("desk", "governance", "operator_key", "out"):
        given += [f"--{name.replace('_', '-')}", str(place.path(name))]
    result = CliRunner().invoke(partner_app, given)
    assert result.exit_code == 1
    assert "not loaded" in result.stderr


def test_no_value_of_a_person_is_shown_whatever_is_done(place):
    both = "forename,surname,date_of_birth,address,postcode\nMia,Smith,2015-01-02,14 High Street,CB7 4AB\n"
    place.path("both.csv").write_text(both)
    shown = ""
    for check in CHECKS:
        for result in (
            place.ask(check, f"{check}.q", adults_only=True),
            place.answer(f"{check}.q", "both.csv", f"{check}.a"),
            place.read(f"{check}.a", f"{check}.csv"),
        ):
            assert result.exit_code == 0, result.output
            shown += result.output
    shown += place.done("status", desk="desk")
    for value in ("Jon", "Smith", "Mia", "Brien", "AB123456", "1990", "CB7", "High", "Hostel", "CANARY"):
        assert value not in shown
    for path in place.path("desk").rglob("*"):
        assert not path.is_file() or b"Smith" not in path.read_bytes()


def test_a_desk_that_could_not_be_made_leaves_nothing_in_the_way_and_none_is_none(place):
    words = ["desk", "second", "--log", "council.example/second", "--officer-key", "officer.pem"]

    def made():
        told = [*words, "--checkpoints", place.path("second-watcher")]
        told = [place.path(word) if word in ("second", "officer.pem") else word for word in told]
        return CliRunner().invoke(partner_app, list(map(str, told)))

    refused = made()
    assert refused.exit_code == 1
    assert "no folder of checkpoints" in refused.stderr
    assert not place.path("second").exists()
    none = CliRunner().invoke(partner_app, ["status", "--desk", str(place.path("second"))])
    assert none.exit_code == 1
    assert "no desk" in none.stderr
    place.path("second-watcher").mkdir()
    assert made().exit_code == 0
