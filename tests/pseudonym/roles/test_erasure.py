"""One call of the data protection officer erases a person over all three roles, whatever fails meanwhile."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import threading
import time
from contextlib import suppress
from typing import Any

import grpc
import polars as pl
import pytest

from pseudonym.certificates import verify
from pseudonym.keys import Keyset
from pseudonym.providers.file import FileProvider
from pseudonym.roles.callers import SERVER_ROLES, Role
from pseudonym.roles.commands_erase import erase_app
from pseudonym.v1 import attribute_pb2, broker_pb2, common_pb2, vault_pb2
from tests.made_up_people import register
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles.harness import Trio, bound, join, mandate, reason

A, B, V, PROJECT, RECIPIENT = chain.A, chain.B, chain.V, chain.PROJECT, chain.RECIPIENT
OFFICER = Role.DATA_PROTECTION_OFFICER
NAMES = register(28, seed=6).unique("surname", maintain_order=True)
FORENAMES, SURNAMES = NAMES["forename"].to_list(), NAMES["surname"].to_list()


def nhs_numbers(count, start=943_476_000):
    """Valid numbers: the check digit is 11 less the weighted sum modulo 11."""
    found: list[str] = []
    while len(found) < count:
        start += 1
        check = -sum(int(one) * weight for one, weight in zip(str(start), range(10, 1, -1), strict=True)) % 11
        if check < 10:
            found.append(f"{start}{check}")
    return found


class Study:
    """People in all three roles, each with two rows, and what only the test knows of them."""

    def __init__(self, trio, people=6):
        self.trio = trio
        self.numbers = nhs_numbers(people)
        chain.begin(trio.servers, trio.certificates)
        self.refs = [os.urandom(16) for _ in range(2 * people)]
        join(trio.servers[Role.IDENTITY], trio.certificates, self.rows(self.refs), "b-1")
        with trio.called(Role.BROKER, "attributes") as keeper:
            told = broker_pb2.ListRowsRequest(project=PROJECT)
            waiting = chain.told(keeper(f"{B}ListRows", told, broker_pb2.ListRowsResponse).arrow)
            by_ref = dict(waiting.select("row_ref", "aid").rows())
            known = bound([ref.hex() for ref in self.refs])
            self.aids = [bytes.fromhex(by_ref[ref]) for ref in known[:people]]
            self.urns = issued(keeper, self.aids)
        with trio.called(Role.ATTRIBUTES, "council") as council:
            halves = chain.attributes(row_ref=[ref.hex() for ref in self.refs])
            kind = attribute_pb2.SubmitAttributesRequest
            chain.upload(council, "SubmitAttributes", kind, chain.header("b-1"), [halves])
        with trio.called(Role.BROKER, "attributes") as keeper:
            told = broker_pb2.ListRowsRequest(project=PROJECT)
            chain.eventually(
                lambda: not chain.told(keeper(f"{B}ListRows", told, broker_pb2.ListRowsResponse).arrow).height
            )

    def rows(self, refs):
        """Rows of people who have nothing in common; of as many as there are, then of the first again."""
        count = len(self.numbers)
        of = [place % count for place in range(len(refs))]
        return pl.DataFrame(
            {
                "row_ref": [ref.hex() for ref in refs],
                "forename": [FORENAMES[one] for one in of],
                "surname": [SURNAMES[one] for one in of],
                "dob": [f"2011-02-{1 + one:02}" for one in of],
                "postcode": [f"CB{1 + one} {one}AA" for one in of],
                "nhs_number": [self.numbers[one] for one in of],
            }
        )

    def request(self, *people, **changes):
        sought = [
            vault_pb2.SoughtPerson(born=f"2011-02-{1 + one:02}", nhs=self.numbers[one]) for one in people
        ]
        whom = vault_pb2.SoughtPersons(persons=sought)
        fields: dict[str, Any] = {
            "mandate": mandate(),
            "reason": vault_pb2.ERASURE_REASON_OBJECTION,
            "sought": whom,
        } | changes
        return vault_pb2.EraseSubjectsRequest(**fields)

    def erase(self, request, timeout=40):
        with self.trio.called(Role.IDENTITY, OFFICER) as officer:
            answer = officer(f"{V}EraseSubjects", request, vault_pb2.EraseSubjectsResponse, timeout)
            return answer.erasure

    def completed(self, erasure_id):
        asked = vault_pb2.GetErasureRequest(project=PROJECT, erasure_id=erasure_id)

        def attempt():
            with self.trio.called(Role.IDENTITY, OFFICER) as officer:
                found = officer(f"{V}GetErasure", asked, vault_pb2.GetErasureResponse, 40).erasure
                return found if found.complete else None

        return chain.eventually(attempt)

    def refused(self, request):
        with pytest.raises(grpc.RpcError) as caught:
            self.erase(request)
        said = str(caught.value.details()) + str(caught.value.trailing_metadata())
        assert not [one for one in (*self.numbers, "2011-02", *SURNAMES) if one in said]
        return reason(caught.value)[:2]

    def erased_urns(self):
        asked = broker_pb2.ListErasedUrnsRequest(project=PROJECT, recipient=RECIPIENT, page_size=1)
        found = []
        with self.trio.called(Role.BROKER, OFFICER) as officer:
            while True:
                page = officer(f"{B}ListErasedUrns", asked, broker_pb2.ListErasedUrnsResponse)
                found += [one.urn for one in page.erased]
                if not page.next_page_token:
                    return found
                asked.page_token = page.next_page_token

    def check_gone(self, *people):
        """Of these nothing is left anywhere that leads to them; of the others everything."""
        others = [one for one in range(len(self.aids)) if one not in people]
        for role in (Role.BROKER, Role.ATTRIBUTES):
            files = self.trio.files(role)
            for path, content in files.items():
                for one in people:
                    assert self.aids[one] not in content, (role, path)
                    assert self.aids[one].hex().encode() not in content, (role, path)
            for one in others:
                assert any(self.aids[one] in content for content in files.values()), role
        for role in SERVER_ROLES:
            for path, content in self.trio.files(role).items():
                assert not [one for one in self.numbers if one.encode() in content], (role, path)
        path = self.trio.folder / "identity" / "identity" / "store.sqlite"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            rows = database.execute("SELECT pid FROM subject WHERE state = 'erased'").fetchall()
            left = "SELECT count(*) FROM subject LEFT JOIN identity_row USING (pid) WHERE state = 'erased'"
            assert database.execute(f"{left} AND (wrapped IS NOT NULL OR ct IS NOT NULL)").fetchone() == (0,)
        assert len(rows) >= len(people)
        for (pid,) in rows:
            for role in (Role.BROKER, Role.ATTRIBUTES):
                content = b"".join(self.trio.files(role).values())
                assert pid not in content
                assert pid.hex().encode() not in content
            papers = (self.trio.folder / "identity" / "identity" / "erasing").glob("*")
            assert pid.hex() not in "".join(path.read_text() for path in papers)
        assert sorted(self.erased_urns()) == sorted(self.urns[one] for one in people)
        with self.trio.called(Role.BROKER, "attributes") as keeper:
            asked = broker_pb2.ResolveAidsRequest(
                mandate=mandate(), recipient=RECIPIENT, arrow=chain.arrow(pl.DataFrame({"urn": self.urns}))
            )
            found = chain.told(keeper(f"{B}ResolveAids", asked, broker_pb2.ResolveAidsResponse).arrow)
        expected = [None if one in people else aid.hex() for one, aid in enumerate(self.aids)]
        assert found["aid"].to_list() == expected
        for one in people:
            assert self.refused(self.request(one)) == ("NOT_FOUND", "SUBJECT_MISSING")


def issued(keeper, aids):
    request = broker_pb2.IssueUrnsRequest(
        mandate=mandate(),
        recipient=RECIPIENT,
        kind=common_pb2.SUBJECT_KIND_PERSON,
        arrow=chain.arrow(pl.DataFrame({"aid": [aid.hex() for aid in aids]})),
    )
    return chain.told(keeper(f"{B}IssueUrns", request, broker_pb2.IssueUrnsResponse).arrow)["urn"].to_list()


@pytest.fixture(scope="session")
def governance(tmp_path_factory):
    path = tmp_path_factory.mktemp("governance") / "governance.json"
    path.write_text(json.dumps({"quotas": {"evaluation-2026": 10_000}}))
    return path


@pytest.mark.slow
def test_r61_one_call_erases_a_person_everywhere_and_an_old_backup_brings_nobody_back(
    tmp_path, certificates, governance
):
    with Trio(tmp_path, certificates, governance) as trio:
        trio.start()
        study = Study(trio)
        # The same person under another id: a record that is never linked with anybody.
        twice = study.rows([os.urandom(16)]).with_columns(
            nhs_number=pl.lit(study.numbers[5]), dob=pl.lit("2011-02-06"), protected=pl.lit("yes")
        )
        identity = trio.servers[Role.IDENTITY]
        join(identity, certificates, twice, "b-2", source="y", protected_column="protected")
        trio.stop()
        copies = shutil.copytree(tmp_path, tmp_path / "copies", ignore=lambda *_: ["copies"])
        trio.start()

        # Whoever is not meant beyond doubt stops the whole.
        wrong = vault_pb2.SoughtPerson(born="2011-02-09", nhs=study.numbers[0])
        less = vault_pb2.SoughtPerson(born="2011-02-01", surname=SURNAMES[0])
        nobody = vault_pb2.SoughtPerson(born="2011-02-01", nhs="--")
        undated = vault_pb2.SoughtPerson(born="1.2.2011", nhs=study.numbers[0])
        other = vault_pb2.SoughtPerson(born="2011-02-01", nhs=study.numbers[0], surname="Cole")
        for sought, expected in (
            (wrong, ("NOT_FOUND", "SUBJECT_MISSING")),
            (other, ("NOT_FOUND", "SUBJECT_MISSING")),
            (less, ("INVALID_ARGUMENT", "INPUT_INVALID")),
            (nobody, ("INVALID_ARGUMENT", "INPUT_INVALID")),
            (undated, ("INVALID_ARGUMENT", "FIELD_INVALID")),
        ):
            whom = vault_pb2.SoughtPersons(persons=[*study.request(1).sought.persons, sought])
            assert study.refused(study.request(sought=whom)) == expected
        assert study.refused(study.request(5)) == ("ALREADY_EXISTS", "CONFLICT")
        assert study.refused(study.request(0, reason=0)) == ("INVALID_ARGUMENT", "FIELD_INVALID")

        by_name = vault_pb2.SoughtPerson(born="2011-02-02", surname=SURNAMES[1].upper(), postcode="cb21aa")
        whom = vault_pb2.SoughtPersons(persons=[*study.request(0).sought.persons, by_name])
        request = study.request(sought=whom)
        erasure = study.erase(request)
        assert erasure.persons == 2
        assert [bool(step.certificate) for step in erasure.steps][:2] == [True, True]
        done = study.completed(erasure.erasure_id)
        again = study.erase(request)
        assert (again.erasure_id, again.complete) == (erasure.erasure_id, True)
        changed = study.request(1, mandate=request.mandate)
        assert study.refused(changed) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
        study.check_gone(0, 1)

        both = study.request(5)
        both.sought.all_agreeing = True
        assert study.erase(both).persons == 2
        study.completed(study.erase(both).erasure_id)
        study.check_gone(0, 1, 5)
        trio.stop()

        for step, role in zip(done.steps, SERVER_ROLES, strict=True):
            folder = tmp_path / role / role
            passphrase = (folder / "passphrase").read_text().strip()
            keyset = Keyset.open(folder / "keyset.json", FileProvider(folder / "device.json", passphrase))
            [key] = keyset.verifying_keys().values()
            certificate = verify(step.certificate, key)
            assert (certificate.role, certificate.project) == (role, PROJECT)
            assert certificate.who == ("spiffe://tests.example/role/data-protection-officer/olive",)
            counted = {Role.IDENTITY: "subject", Role.BROKER: "member", Role.ATTRIBUTES: "a_subject"}
            assert certificate.counts == {counted[role]: 2}

        # The databases of before, with the ledgers of now.
        for role in SERVER_ROLES:
            for beside in (tmp_path / role / role).glob("store.sqlite*"):
                beside.unlink()
            old = copies / role / role / "store.sqlite"
            assert role is Role.IDENTITY or study.aids[0] in old.read_bytes()
            shutil.copyfile(old, tmp_path / role / role / "store.sqlite")
        shutil.rmtree(copies)
        trio.start()
        study.check_gone(0, 1, 5)
        trio.stop()


def test_on_postgresql(tmp_path, certificates, governance, postgres_databases):
    with Trio(tmp_path, certificates, governance, postgres_databases) as trio:
        trio.start()
        study = Study(trio, people=3)
        study.completed(study.erase(study.request(1)).erasure_id)
        left = sorted([study.aids[0], study.aids[2]])
        assert chain.postgres_aids(postgres_databases[Role.ATTRIBUTES]) == left
        assert study.erased_urns() == [study.urns[1]]
        trio.stop()


@pytest.mark.slow
def test_each_role_is_killed_at_any_moment_and_the_erasure_ends_all_the_same(
    tmp_path, certificates, governance
):
    chance = random.Random(7)
    with Trio(tmp_path, certificates, governance) as trio:
        trio.start()
        study = Study(trio, people=7)
        erased = []
        for person, role in enumerate([*SERVER_ROLES, *SERVER_ROLES]):
            request = study.request(person)

            def ask(request=request):
                with suppress(grpc.RpcError):  # the officer asks again, with the same request
                    study.erase(request)

            asking = threading.Thread(target=ask)
            asking.start()
            time.sleep(chance.uniform(0, 0.3))
            trio.servers[role].kill()
            asking.join()
            trio.start(role)
            study.completed(study.erase(request).erasure_id)
            erased.append(person)
        study.check_gone(*erased)
        trio.stop()


@pytest.mark.slow
def test_a_broker_that_is_down_is_told_later_without_anybody_asking(tmp_path, certificates, governance):
    with Trio(tmp_path, certificates, governance) as trio:
        trio.start()
        study = Study(trio, people=2)
        trio.stop(Role.BROKER)
        people = tmp_path / "people.csv"
        people.write_text(f"born,nhs\n2011-02-01,{study.numbers[0]}\n")
        asked = ["--project", PROJECT, "--purpose", "evaluation-2026", "-f", people]
        wrong = trio.kinlink(erase_app, Role.IDENTITY, OFFICER, "people", *asked, "--reason", "none")
        assert (wrong.exit_code, wrong.stdout) == (1, "")
        said = trio.kinlink(erase_app, Role.IDENTITY, OFFICER, "people", *asked, "--reason", "objection")
        assert (said.exit_code, study.numbers[0] in said.output) == (0, False)
        people.unlink()
        first, *steps = said.stdout.splitlines()
        erasure_id, state, *_ = first.split()
        assert state == "pending"
        assert [step.split()[1] == "pending" for step in steps] == [False, True, True]
        trio.servers[Role.IDENTITY].kill()
        trio.start(Role.IDENTITY)
        trio.start(Role.BROKER)
        chain.eventually(lambda: study.aids[0] not in b"".join(trio.files(Role.ATTRIBUTES).values()))
        study.completed(erasure_id)
        folder = tmp_path / "certificates-of-it"
        shown = trio.kinlink(
            erase_app,
            Role.IDENTITY,
            OFFICER,
            "show",
            erasure_id,
            "--project",
            PROJECT,
            "--certificates",
            folder,
        )
        assert shown.stdout.splitlines()[0].split()[:2] == [erasure_id, "complete"]
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            f"{erasure_id}-{role}.json" for role in SERVER_ROLES
        )
        listed = ["--project", PROJECT, "--recipient", RECIPIENT]
        urns = trio.kinlink(erase_app, Role.BROKER, OFFICER, "urns", *listed)
        assert urns.stdout.split()[0] == study.urns[0]
        later = trio.kinlink(erase_app, Role.BROKER, OFFICER, "urns", *listed, "--since", 40_000)
        assert (later.exit_code, later.stdout) == (0, "")
        assert "There are none" in later.stderr
        study.check_gone(0)
        trio.stop()
