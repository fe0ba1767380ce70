"""A study's end and a month with the clock moved: over real roles, killed in the middle, against backups."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import grpc
import polars as pl
import pytest

from linker.resources import SubmissionKind
from linker.sending import ServiceError
from pseudonym.errors import PassphraseError
from pseudonym.keys import Keyset, State
from pseudonym.providers.file import FileProvider
from pseudonym.roles.callers import SERVER_ROLES, Role
from pseudonym.roles.commands_retention import retention_app
from pseudonym.v1 import broker_pb2, key_pb2, retention_pb2, vault_pb2
from tests.pseudonym.roles import test_join as joins
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles.harness import (
    PURPOSE,
    Trio,
    client,
    lawful,
    mandate,
    schedules_of,
    start_join,
)
from tests.pseudonym.roles.test_endings import certified, keyset_of, query, refused
from tests.pseudonym.roles.test_erasure import Study

R, PROJECT, CUSTODIAN = "/pseudonym.v1.RetentionService/", chain.PROJECT, Role.KEY_CUSTODIAN
TODAY = datetime.now(UTC).date()
END = TODAY + timedelta(days=200)
MONTH, OVER = 32, 201  # days ahead
CANARY = "Quillfeather"


@pytest.fixture
def told(tmp_path):
    """A governance file with the project's record, and its schedules beside it."""
    (tmp_path / "roles").mkdir()
    folder = tmp_path / "told"
    folder.mkdir()
    record = lawful("attainment", "npd", end=END.isoformat(), schedules="schedules.toml")
    (folder / "schedules.toml").write_text(schedules_of("attainment"))
    path = folder / "governance.json"
    path.write_text(json.dumps({"projects": {PROJECT: record}, "quotas": {PURPOSE: 10_000}}))
    return path


def ask(trio, role, method, bearer=CUSTODIAN, **fields):
    request, response = (getattr(retention_pb2, f"{method}{end}") for end in ("Request", "Response"))
    with trio.called(role, bearer) as caller:
        return caller(f"{R}{method}", request(**fields), response, 60)


def due(trio, role):
    return [(one.category, one.project, one.automatic) for one in ask(trio, role, "ListDue").due]


def run(trio, role, **changes):
    return ask(trio, role, "RunDestruction", mandate=mandate(), **changes).certificates


def send_extract(trio, certificates):
    people = pl.DataFrame(
        {
            "row_ref": [bytes([one]).hex() * 16 for one in range(1, 4)],
            "forename": ["Ada", "Bea", "Cat"],
            "surname": [CANARY, "Marlowe", "Tennant"],
            "dob": ["2012-03-04", "2012-05-06", "2012-07-08"],
            "postcode": ["CB1 1AA", "CB2 1AA", "CB3 1AA"],
        }
    )
    with client(trio.servers[Role.IDENTITY], certificates, "dataset-holder") as holder:
        return holder.submit(
            people, batch_id="npd-1", source="npd", kind=SubmissionKind.EXTRACT, id_column="row_ref"
        ).submission_id


def restarted(trio, days):
    trio.stop()
    trio.days_ahead = days
    trio.start()


def killed_while(trio, role, seconds):
    """Ask a role to destroy what is due, and kill it so soon afterwards."""
    with trio.called(role, CUSTODIAN) as custodian:
        request = retention_pb2.RunDestructionRequest(mandate=mandate())

        def work():
            with suppress(grpc.RpcError):
                custodian(f"{R}RunDestruction", request, retention_pb2.RunDestructionResponse, 60)

        asking = threading.Thread(target=work)
        asking.start()
        time.sleep(seconds)
        trio.servers[role].kill()
        asking.join()
    trio.start(role)


def wrapped_under(path, table):
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return {kid for (kid,) in database.execute(f"SELECT DISTINCT kid FROM {table}")}


@pytest.mark.slow
def test_r45_r47_r48_after_a_month_and_after_the_end_with_the_clock_moved(tmp_path, certificates, told):
    with Trio(tmp_path / "roles", certificates, told) as trio:
        trio.start()
        study = Study(trio, people=4)
        extract = send_extract(trio, certificates)
        later = study.rows([b"\x07" * 16])
        assert [due(trio, role) for role in SERVER_ROLES] == [[], [], []]
        assert [list(run(trio, role)) for role in SERVER_ROLES] == [[], [], []]  # early: nothing is destroyed
        flags = ["certificates", "--role", "broker"]
        assert (
            trio.kinlink(retention_app, Role.BROKER, CUSTODIAN, *flags).stdout
            == "There are no certificates.\n"
        )
        flags = ["run", "--role", "broker", "--purpose", "end-of-study", "--project"]
        early = trio.kinlink(retention_app, Role.BROKER, CUSTODIAN, *flags, PROJECT)
        assert early.stdout.startswith(f"Nothing was due. The end of the project {PROJECT}: 20")
        mistyped = trio.kinlink(retention_app, Role.BROKER, CUSTODIAN, *flags, "mistyped")
        assert mistyped.exit_code == 1
        assert "no end of a project mistyped" in mistyped.output
        assert query(trio, Role.IDENTITY, "SELECT count(*) FROM subject") == [(4,)]

        # A month on: the extract is gone by itself, with a certificate; the study goes on.
        restarted(trio, MONTH)
        [certificate] = chain.eventually(lambda: ask(trio, Role.IDENTITY, "ListCertificates").certificates)
        found = certified(trio, Role.IDENTITY, certificate)
        assert (found.project, dict(found.counts)) == (PROJECT, {"extract": 1})
        folder = trio.folder / Role.IDENTITY / "submissions"
        assert not (folder / extract).exists()
        for content in trio.files(Role.IDENTITY).values():
            assert CANARY.encode() not in content
        assert due(trio, Role.IDENTITY) == []
        assert any(folder.iterdir())  # the council's file is kept until the end

        # A backup of everything from the day before the end.
        trio.stop()
        backup = tmp_path / "backup"
        shutil.copytree(trio.folder, backup)

        # After the end nothing is added, opened or given out.
        trio.days_ahead = OVER
        trio.start()
        identity = trio.servers[Role.IDENTITY]
        with pytest.raises(ServiceError, match="has ended"):
            start_join(identity, certificates, later, "b-9")
        with client(identity, certificates, "linkage-operator") as operator:
            [job] = [one.job_id for one in operator.jobs()]
            with pytest.raises(ServiceError, match="has ended"):
                operator.read_links(job)
        names = {Role.IDENTITY: "identities", Role.BROKER: "links", Role.ATTRIBUTES: "attributes"}
        for role in SERVER_ROLES:
            assert due(trio, role) == [(names[role], PROJECT, False)]
        shown = trio.kinlink(retention_app, Role.BROKER, CUSTODIAN, "due", "--role", "broker").stdout
        assert "securely destroyed by the study's end" in shown

        # Each role destroys what it has; killed in the middle, it is finished by asking again.
        for role in (Role.IDENTITY, Role.ATTRIBUTES, Role.BROKER):
            for seconds in (0.05, 0.4):
                killed_while(trio, role, seconds)
            if due(trio, role):
                flags = ["run", "--role", role, "--project", PROJECT, "--purpose", "end-of-study"]
                done = trio.kinlink(
                    retention_app, role, CUSTODIAN, *flags, "--certificates", tmp_path / "certs"
                )
                assert done.exit_code == 0, done.output
            assert due(trio, role) == []
            found = ask(trio, role, "ListCertificates").certificates
            kept = [certified(trio, role, one) for one in found]
            assert {one.project for one in kept} == {PROJECT}
            file = tmp_path / f"{role}.json"
            file.write_bytes(found[0])
            public = trio.folder / role / role / "audit" / "public-key"
            checked = trio.kinlink(retention_app, None, "", "verify", file, "--key", public)
            assert checked.exit_code == 0, checked.output
            assert any(one.what.startswith(("All keys", "The identities")) for one in kept)
        assert query(trio, Role.IDENTITY, "SELECT count(*) FROM subject WHERE wrapped IS NOT NULL") == [(0,)]
        assert query(trio, Role.ATTRIBUTES, "SELECT count(*) FROM a_subject") == [(0,)]
        assert query(trio, Role.BROKER, "SELECT count(*) FROM member") == [(0,)]
        assert not any((trio.folder / Role.IDENTITY / "submissions").iterdir())
        for role in SERVER_ROLES:
            for path, content in trio.files(role).items():
                assert not [aid for aid in study.aids if aid in content], path
                assert not [urn for urn in study.urns if urn.encode() in content], path

        # The backup: its keys are dead, and the keyset that it has opens no more.
        tables = {Role.IDENTITY: ["subject", "folder_key"], Role.ATTRIBUTES: ["a_key"]}
        for role in tables:
            chain.eventually(lambda role=role: renewed(trio, role))
            *_, last = ask(trio, role, "ListCertificates").certificates
            assert certified(trio, role, last).what.endswith(
                "copies of the store from before cannot be read."
            )
        for role, wrapped in tables.items():
            states = {key.kid: key.state for key in keyset_of(trio, role).keys}
            old = set().union(*(wrapped_under(backup / role / role / "store.sqlite", one) for one in wrapped))
            assert old
            assert {states[kid] for kid in old} == {State.DESTROYED}
        keys = [key for key in keyset_of(trio, Role.BROKER).keys if PROJECT in key.use]
        assert keys
        assert {key.state for key in keys} == {State.DESTROYED}
        for role in SERVER_ROLES:
            passphrase = (backup / role / role / "passphrase").read_text().strip()
            device = trio.folder / role / role / "device.json"  # the one of now: it is never backed up
            with pytest.raises(PassphraseError):
                Keyset.open(backup / role / role / "keyset.json", FileProvider(device, passphrase))
        trio.stop()


DYING = """
from pseudonym.roles.reports import Reports

original = Reports.rows
def dying(self, project, purpose, rows, *more):
    if rows.height:
        os.kill(os.getpid(), 9)
    return original(self, project, purpose, rows, *more)
Reports.rows = dying
os._exit(server.run(settings))
"""


@pytest.mark.slow
def test_r48_whom_a_join_stored_that_was_killed_before_the_broker_was_told_ends_with_the_project(
    tmp_path, certificates, told
):
    with Trio(tmp_path / "roles", certificates, told) as trio:
        trio.start()
        study = Study(trio, people=4)
        trio.stop(Role.IDENTITY)
        code, trio.CODE = trio.CODE, DYING
        trio.start(Role.IDENTITY)
        more = joins.made_up(8, seed=901)
        job = start_join(trio.servers[Role.IDENTITY], certificates, more, "b-9")
        assert trio.servers[Role.IDENTITY].process.wait(timeout=60) == -9
        # They are stored, and the broker knows the others alone.
        kept = "SELECT count(*) FROM subject WHERE kind = 'person' AND wrapped IS NOT NULL"
        assert query(trio, Role.IDENTITY, kept) == [(4 + 8,)]
        assert query(trio, Role.BROKER, "SELECT count(*) FROM member WHERE kind = 'person'") == [(4,)]
        trio.stop(Role.BROKER, Role.ATTRIBUTES)
        # It is not done again: the project has ended before the server is there again.
        trio.CODE, trio.days_ahead = code, OVER
        trio.start()
        with client(trio.servers[Role.IDENTITY], certificates, "linkage-operator") as operator:
            chain.eventually(lambda: operator.job(job).state.finished)
        assert query(trio, Role.IDENTITY, kept) == [(4 + 8,)]
        [certificate, *_] = run(trio, Role.IDENTITY)
        assert dict(certified(trio, Role.IDENTITY, certificate).counts)["subject"] == 4 + 8
        assert query(trio, Role.IDENTITY, kept) == [(0,)]
        assert query(trio, Role.IDENTITY, "SELECT count(*) FROM identity_row") == [(0,)]
        assert len(study.aids) == 4
        trio.stop()


def renewed(trio, role):
    with trio.called(role, CUSTODIAN) as custodian:
        asked = key_pb2.GetRenewalRequest()
        return custodian(f"{chain.K}GetRenewal", asked, key_pb2.GetRenewalResponse, 60).renewal.certificate


@pytest.mark.slow
def test_r68_r69_what_is_not_covered_is_refused_before_anything_changes(tmp_path, certificates, told):
    with Trio(tmp_path / "roles", certificates, told) as trio:
        # Accreditations end with the project here; a year on the processor's has run out a day before it.
        content = json.loads(told.read_text())
        yesterday = (TODAY - timedelta(days=1)).isoformat()
        content["projects"][PROJECT]["accreditations"][1]["expires"] = yesterday
        del content["projects"][PROJECT]["purposes"][PURPOSE]["sharing"]
        exchange = {
            "project": PROJECT,
            "recipient": "npd-exchange",
            "register": "npd",
            "public_key": "00" * 32,
        }
        content["exchanges"] = [exchange]
        told.write_text(json.dumps(content))
        trio.start()
        with trio.called(Role.BROKER, CUSTODIAN) as custodian:
            begin = broker_pb2.BeginProjectRequest(mandate=mandate())
            response = broker_pb2.BeginProjectResponse
            found = refused(lambda: custodian(f"{chain.B}BeginProject", begin, response))
        assert found == ("PERMISSION_DENIED", "ACCREDITATION_EXPIRED")
        assert query(trio, Role.BROKER, "SELECT count(*) FROM project") == [(0,)]
        trio.stop()
        content["projects"][PROJECT]["accreditations"][1]["expires"] = END.isoformat()
        told.write_text(json.dumps(content))
        trio.start()
        chain.begin(trio.servers, certificates)
        identity = trio.servers[Role.IDENTITY]
        for bearer, purpose, source, kind, expected in (
            ("council", "curiosity", "kinshire", SubmissionKind.IDENTITIES, "BASIS_MISSING"),
            ("dataset-holder", PURPOSE, "pnc", SubmissionKind.EXTRACT, "DATASET_NOT_COVERED"),
        ):
            with client(identity, certificates, bearer, purpose=purpose) as sender:
                with pytest.raises(ServiceError) as caught:
                    sender.submit(
                        people_of(1), batch_id=source, source=source, kind=kind, id_column="row_ref"
                    )
                assert (caught.value.code, caught.value.reason) == ("PERMISSION_DENIED", expected)
        with client(identity, certificates, "dataset-holder") as holder:
            holder.submit(
                people_of(1), batch_id="npd", source="npd", kind=SubmissionKind.EXTRACT, id_column="row_ref"
            )
        # Nothing goes to a holder without a reason, or for one that nothing here shows.
        with trio.called(Role.IDENTITY, "linkage-operator") as operator:
            send = operator.channel.unary_stream(
                f"{chain.V}ExportRegister",
                vault_pb2.ExportRegisterRequest.SerializeToString,
                vault_pb2.ExportRegisterResponse.FromString,
            )
            for reason, expected in (
                (vault_pb2.SHARING_REASON_UNSPECIFIED, "SHARING_REASON_MISSING"),
                (vault_pb2.SHARING_REASON_REQUESTED_SERVICE, "EVIDENCE_MISSING"),
            ):
                asked = vault_pb2.ExportRegisterRequest(
                    mandate=mandate(), recipient="npd-exchange", day=TODAY.isoformat(), days=31,
                    sharing_reason=reason,
                )  # fmt: skip
                assert refused(lambda asked=asked: list(send(asked, timeout=20))) == (
                    "PERMISSION_DENIED",
                    expected,
                )
        # What was let in stands in the log with what it stands on, for the officer alone; and in the report.
        with client(trio.servers[Role.IDENTITY], certificates, "linkage-operator") as operator:
            sent = [one.submission_id for one in operator.submissions()]
            assert len(sent) == 1
            job = operator.start_deduplication(sent[0]).job_id
            operator.wait(job)
            said = operator.report(job)["figures"]["lawfulness"]
            assert said["basis"].startswith("UK GDPR Article 6(1)(e)")
            assert said["accreditation_of_processor"].startswith("DEA/2")
        trio.stop()


def people_of(count):
    return pl.DataFrame(
        {
            "row_ref": [bytes([one + 1]).hex() * 16 for one in range(count)],
            "forename": ["Ada"] * count,
            "surname": ["Marlowe"] * count,
            "dob": ["2012-03-04"] * count,
            "postcode": ["CB1 1AA"] * count,
        }
    )
