"""Keys renewed, epochs, recipients and projects ended over the wire, and what is dropped every day."""

from __future__ import annotations

import io
import os
import random
import shutil
import sqlite3
import time
from datetime import UTC, datetime
from typing import Any

import grpc
import polars as pl
import psycopg
import pytest

from pseudonym import uses
from pseudonym.audit import VerifierKey
from pseudonym.audit.checkpoint import Checkpoint
from pseudonym.certificates import verify
from pseudonym.changes import renewal_context
from pseudonym.errors import SealedError
from pseudonym.hpke import OpeningKey
from pseudonym.keys import Keyset, State
from pseudonym.providers.file import FileProvider
from pseudonym.roles.callers import Role
from pseudonym.roles.commands_destroy import destroy_app
from pseudonym.roles.commands_renew import renew_app
from pseudonym.roles.duties import Duties
from pseudonym.storage import open_store, schema
from pseudonym.storage.schema import METADATA
from pseudonym.v1 import attribute_pb2, broker_pb2, key_pb2
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles.harness import Trio, join, mandate, reason
from tests.pseudonym.roles.test_erasure import OFFICER, B, Study, governance, issued

__all__ = ["governance"]

K, PROJECT, RECIPIENT = chain.K, chain.PROJECT, chain.RECIPIENT
CUSTODIAN = Role.KEY_CUSTODIAN
DAY = 86_400


def keyset_of(trio, role):
    folder = trio.folder / role / role
    passphrase = (folder / "passphrase").read_text().strip()
    return Keyset.open(
        folder / "keyset.json", FileProvider(folder / "device.json", passphrase), read_only=True
    )


def certified(trio, role, certificate):
    [key] = keyset_of(trio, role).verifying_keys().values()
    return verify(certificate, key)


def query(trio, role, sql):
    path = trio.folder / role / role / "store.sqlite"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return database.execute(sql).fetchall()


def refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return reason(caught.value)[:2]


def new_list(trio, public, old_epoch=1):
    asked = broker_pb2.RenewUrnsRequest(
        mandate=mandate(), recipient=RECIPIENT, old_epoch=old_epoch, public_key=public
    )
    with trio.called(Role.BROKER, OFFICER) as officer:
        send = officer.channel.unary_stream(
            f"{B}RenewUrns", type(asked).SerializeToString, broker_pb2.RenewUrnsResponse.FromString
        )
        return list(send(asked, timeout=30))


def custodian_asks(trio, role, method, request, response):
    with trio.called(role, CUSTODIAN) as custodian:
        return custodian(method, request, response, 60)


def destroy_project(trio, role, **changes):
    fields: dict[str, Any] = {"mandate": mandate(), "confirm": PROJECT} | changes
    request = key_pb2.DestroyProjectRequest(**fields)
    return custodian_asks(trio, role, f"{K}DestroyProject", request, key_pb2.DestroyProjectResponse)


@pytest.mark.slow
def test_r37_r47_r48_epochs_recipients_and_the_project_end_with_certificates(
    tmp_path, certificates, governance
):
    with Trio(tmp_path, certificates, governance) as trio:
        trio.start()
        study = Study(trio, people=4)
        old = study.urns

        # New month keys, while the roles serve; whoever comes afterwards is under them.
        wrapped = {
            Role.IDENTITY: ["subject", "register_key", "folder_key"],
            Role.ATTRIBUTES: ["a_key", "a_batch"],
        }
        for role, tables in wrapped.items():
            before = sum(query(trio, role, f"SELECT count(*) FROM {table}")[0][0] for table in tables)
            assert before > 4
            assert renew(trio, role).total == before
            check_renewed(trio, role, tables)
            shown = trio.kinlink(renew_app, role, CUSTODIAN, "show", "--role", role).stdout
            assert f"{before:,} were under others" in shown
            assert "destroyed" in shown
        later = study.rows([os.urandom(16)]).with_columns(protected=pl.lit("yes"))
        identity = trio.servers[Role.IDENTITY]
        join(identity, certificates, later, "b-2", protected_column="protected")
        assert len(query(trio, Role.IDENTITY, "SELECT DISTINCT kid FROM subject")) == 1

        # The next epoch, and the list for the recipient, who alone can read it.
        following = broker_pb2.OpenDomainRequest(mandate=mandate(), recipient=RECIPIENT, next_epoch=True)
        opened = custodian_asks(trio, Role.BROKER, f"{B}OpenDomain", following, broker_pb2.OpenDomainResponse)
        assert opened.epoch == 2
        theirs, _ = OpeningKey.generate()
        [part] = new_list(trio, theirs.public)
        assert (part.number, part.last, part.new_epoch) == (1, True, 2)
        context = renewal_context(PROJECT, RECIPIENT, (1, 2), 1, True)
        pairs = pl.read_ipc_stream(io.BytesIO(theirs.open(part.sealed, *context)))
        with trio.called(Role.BROKER, "attributes") as keeper:
            new = issued(keeper, study.aids)
        assert dict(pairs.select("old", "new").rows()) == dict(zip(old, new, strict=True))
        key, parcel, opened_to = (tmp_path / name for name in ("list.secret", "list", "opened"))
        public = trio.kinlink(renew_app, None, "", "list-key", key).stdout.strip()
        flags = ["--project", PROJECT, "--purpose", "evaluation-2026", "--recipient", RECIPIENT]
        flags += ["--old-epoch", "1", "--public-key", public, "--out", str(parcel)]
        assert trio.kinlink(renew_app, Role.BROKER, OFFICER, "urns", *flags).exit_code == 0
        done = trio.kinlink(renew_app, None, "", "open", parcel, "--list-key", key, "--out", opened_to)
        assert done.exit_code == 0
        [same] = [pl.read_ipc_stream(path) for path in opened_to.iterdir()]
        assert same.sort("old").equals(pairs.sort("old"))
        for other in (
            renewal_context(PROJECT, RECIPIENT, (1, 2), 2, True),
            renewal_context(PROJECT, RECIPIENT, (1, 2), 1, False),
            renewal_context(PROJECT, "another", (1, 2), 1, True),
        ):
            with pytest.raises(SealedError):
                theirs.open(part.sealed, *other)
        assert refused(lambda: new_list(trio, bytes(32))) == ("INVALID_ARGUMENT", "INPUT_INVALID")
        assert refused(lambda: new_list(trio, theirs.public, 2)) == ("INVALID_ARGUMENT", "INPUT_INVALID")

        # The former epoch ends with its key; the present one stays.
        ask = broker_pb2.DestroyDomainRequest(mandate=mandate(), recipient=RECIPIENT, epoch=1)
        answers = [
            custodian_asks(trio, Role.BROKER, f"{B}DestroyDomain", ask, broker_pb2.DestroyDomainResponse)
            for _ in range(2)
        ]
        assert answers[0] == answers[1]
        found = certified(trio, Role.BROKER, answers[0].certificate)
        assert (found.project, dict(found.counts), len(found.kids)) == (PROJECT, {"urn": 4}, 1)
        [gone] = [key for key in keyset_of(trio, Role.BROKER).keys if key.kid in found.kids]
        assert (gone.use, gone.state) == (f"urn/1:{PROJECT}:{RECIPIENT}:1", State.DESTROYED)
        assert query(trio, Role.BROKER, "SELECT epoch, state FROM domain ORDER BY epoch") == [
            (1, "destroyed"),
            (2, "active"),
        ]
        assert refused(lambda: new_list(trio, theirs.public)) == ("NOT_FOUND", "KEY_MISSING")
        end = ["recipient", "--project", PROJECT, "--purpose", "end", "--recipient", RECIPIENT]
        end += ["--certificates", str(tmp_path / "ends")]
        held_back = trio.kinlink(destroy_app, Role.BROKER, CUSTODIAN, *end, typed="another\n")
        assert held_back.exit_code == 1
        assert trio.kinlink(destroy_app, Role.BROKER, CUSTODIAN, *end, typed=f"{RECIPIENT}\n").exit_code == 0
        [written] = (tmp_path / "ends").glob("*.json")
        assert len(certified(trio, Role.BROKER, written.read_bytes()).kids) == 2
        assert query(trio, Role.BROKER, "SELECT count(*) FROM urn") == [(0,)]

        # A person whom another project has as well stays when the project ends.
        [(shared,), *_] = query(trio, Role.IDENTITY, "SELECT pid FROM subject ORDER BY pid")
        begin = broker_pb2.BeginProjectRequest(mandate=mandate(project="other-2026"))
        custodian_asks(trio, Role.BROKER, f"{B}BeginProject", begin, broker_pb2.BeginProjectResponse)
        rows = pl.DataFrame({"row_ref": [os.urandom(16).hex()], "pid": [shared.hex()]})
        rows = rows.with_columns(unit=pl.lit(os.urandom(16).hex()), fid=pl.lit(None, pl.String))
        with trio.called(Role.BROKER, "identity") as vault:
            mapped = broker_pb2.MapSubjectsRequest(
                mandate=mandate(project="other-2026"), arrow=chain.arrow(rows)
            )
            assert vault(f"{B}MapSubjects", mapped, broker_pb2.MapSubjectsResponse).rows == 1
        wrong = ("INVALID_ARGUMENT", "FIELD_INVALID")
        assert refused(lambda: destroy_project(trio, Role.IDENTITY, confirm="other-2026")) == wrong
        expected = {
            Role.IDENTITY: {"subject": 4},
            Role.ATTRIBUTES: {"a_subject": 4, "a_key": 4, "a_row": 8},
            Role.BROKER: {"member": 5, "urn": 0},
        }
        for role, counts in expected.items():
            answer = destroy_project(trio, role)
            found = certified(trio, role, answer.certificate)
            assert (found.role, found.project) == (role, PROJECT)
            assert counts.items() <= dict(found.counts).items(), role
            [key] = keyset_of(trio, role).verifying_keys().values()
            signer = VerifierKey(f"tests.example/{role}", key.public_bytes_raw())
            checkpoint = Checkpoint.read(answer.checkpoint, [signer])
            with trio.called(role, "auditor") as auditor:
                ends = [one.index for one in chain.entries(auditor) if one.action == "project.ended"]
            assert ends[-1] < checkpoint.size
        states = query(trio, Role.IDENTITY, "SELECT pid, state FROM subject WHERE state <> 'erased'")
        assert states == [(shared, "active")]
        for role in (Role.ATTRIBUTES, Role.BROKER):
            for path, content in trio.files(role).items():
                assert not [aid for aid in study.aids if aid in content], path
        keys = [key for key in keyset_of(trio, Role.BROKER).keys if PROJECT in key.use]
        assert {key.state for key in keys} == {State.DESTROYED}
        assert refused(lambda: destroy_project(trio, Role.IDENTITY))[1] == "PROJECT_ENDED"
        trio.stop()


# --- the key-encrypting key -------------------------------------------------------------------------------


def next_month():
    return uses.month_after(uses.month_of(datetime.now(UTC)))


def renew(trio, role, request_id="", month=None):
    asked = key_pb2.RenewKekRequest(
        mandate=mandate(request_id), month=next_month() if month is None else month
    )
    return custodian_asks(trio, role, f"{K}RenewKek", asked, key_pb2.RenewKekResponse).renewal


def renewed(trio, role):
    def attempt():
        asked = key_pb2.GetRenewalRequest()
        found = custodian_asks(trio, role, f"{K}GetRenewal", asked, key_pb2.GetRenewalResponse).renewal
        return found if found.certificate else None

    return chain.eventually(attempt)


def check_renewed(trio, role, tables):
    found = renewed(trio, role)
    certificate = certified(trio, role, found.certificate)
    assert certificate.kids == tuple(one.kid for one in found.former)
    assert dict(certificate.counts) == {"rewrapped": found.total}
    assert [one.left for one in found.former] == [0]
    states = {key.kid: key.state for key in keyset_of(trio, role).keys}
    assert [states[kid] for kid in certificate.kids] == [State.DESTROYED]
    for table in tables:
        assert query(trio, role, f"SELECT DISTINCT kid FROM {table}") == [(found.kid,)]
    return found


def test_every_sort_of_wrapped_key_is_counted_before_a_former_key_dies():
    for metadata in METADATA.values():
        for table in metadata.tables.values():
            assert ("wrapped" in table.c) == ("kid" in table.c), table.name
    for role, expected in (
        (schema.Role.IDENTITY, {"subject", "register_key", "folder_key"}),
        (schema.Role.ATTRIBUTES, {"a_key", "a_batch", "a_release", "a_table"}),
    ):
        counted = {name for name, table in METADATA[role].tables.items() if "wrapped" in table.c}
        assert counted == expected, "add what wraps it anew to the role's renewal"


@pytest.mark.slow
def test_a_renewal_is_killed_at_any_moment_and_ends_and_no_copy_from_before_opens(
    tmp_path, certificates, governance
):
    chance = random.Random(3)
    with Trio(tmp_path, certificates, governance) as trio:
        trio.start()
        study = Study(trio, people=4)
        trio.stop(Role.IDENTITY)
        copy = tmp_path / "copy.sqlite"
        store = tmp_path / "identity" / "identity" / "store.sqlite"
        shutil.copyfile(store, copy)
        trio.start(Role.IDENTITY)
        for role, tables in ((Role.IDENTITY, ["subject"]), (Role.ATTRIBUTES, ["a_key", "a_batch"])):
            assert refused(lambda role=role: renew(trio, role, month="")) == (
                "FAILED_PRECONDITION",
                "KEYSET_INVALID",
            )
            begun = renew(trio, role, "renewal-1")
            assert begun.use == f"kek/1:{next_month()}"
            for _ in range(2):
                time.sleep(chance.uniform(0, 0.2))
                trio.servers[role].kill()
                trio.start(role)
            assert renew(trio, role, "renewal-1").renewal_id == begun.renewal_id
            check_renewed(trio, role, tables)
        # Who was there is still found, and so is who comes now.
        study.completed(study.erase(study.request(0)).erasure_id)
        trio.stop(Role.IDENTITY)
        for beside in store.parent.glob("store.sqlite*"):
            beside.unlink()
        shutil.copyfile(copy, store)
        # Nothing in the copy opens: neither people nor the linkage service's folders.
        states = {key.kid: key.state for key in keyset_of(trio, Role.IDENTITY).keys}
        for table in ("subject", "register_key", "folder_key"):
            kids = [kid for (kid,) in query(trio, Role.IDENTITY, f"SELECT DISTINCT kid FROM {table}")]
            assert {states[kid] for kid in kids} == {State.DESTROYED}
        with pytest.raises(AssertionError, match="does not open with the keys"):
            trio.start(Role.IDENTITY)
        assert refused(lambda: renew(trio, Role.BROKER)) == ("INVALID_ARGUMENT", "FIELD_INVALID")
        trio.stop(Role.ATTRIBUTES, Role.BROKER)


# --- every day --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_halves_that_nobody_asked_for_go_by_themselves(tmp_path, certificates, governance):
    with Trio(tmp_path, certificates, governance) as trio:
        trio.start()
        Study(trio, people=2)
        with trio.called(Role.ATTRIBUTES, "council") as council:
            lonely = chain.attributes(row_ref=[os.urandom(16).hex() for _ in range(3)])
            kind = attribute_pb2.SubmitAttributesRequest
            chain.upload(council, "SubmitAttributes", kind, chain.header("b-2"), [lonely])
        trio.stop()
        path = tmp_path / "attributes" / "attributes" / "store.sqlite"
        with sqlite3.connect(path) as database:
            database.execute("UPDATE a_batch SET received = received - ?", (8 * DAY,))
        database.close()
        trio.start()
        attributes = trio.servers[Role.ATTRIBUTES]

        def dropped():
            done = attributes.events("duty_done")
            return [one["count"] for one in done if one["duty"] == "halves_dropped"]

        chain.eventually(lambda: len(dropped()) > 1)
        assert dropped() == [0, 3]  # one at each start
        assert query(trio, Role.ATTRIBUTES, "SELECT count(*) FROM a_half") == [(0,)]
        trio.stop()


def test_tables_are_put_into_the_order_of_their_random_ids_by_themselves(
    tmp_path, certificates, governance, postgres_databases
):
    """PostgreSQL keeps rows as they came; the day's duty of both roles leaves nothing that tells when."""
    came = sorted(os.urandom(16) for _ in range(50))
    came = came[25:] + came[:25]  # two batches, and the one with the larger ids came first
    project: dict[str, list[Any]] = {
        "number": [1],
        "name": [PROJECT],
        "state": ["open"],
        "epoch": [1],
        "began_day": [20_000],
    }
    of_role: dict[Role, tuple[str, dict[str, Any]]] = {
        Role.BROKER: ("member", {"kind": "person", "cover": b"", "since_day": 20_000}),
        Role.ATTRIBUTES: ("a_subject", {"epoch": 1, "flags": 0, "seal": b""}),
    }

    def kept(role):
        url = postgres_databases[role].replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(url) as connection:
            found = connection.execute(f"SELECT aid FROM {of_role[role][0]} ORDER BY ctid")
            return [aid for (aid,) in found]

    for role, (table, others) in of_role.items():
        tables = METADATA[schema.Role(role)].tables
        with open_store(postgres_databases[role], role) as store, store.transaction() as at:
            store.insert(at, tables["project" if role is Role.BROKER else "a_project"], project)
            alike = {name: [value] * len(came) for name, value in others.items()}
            store.insert(at, tables[table], {"aid": came, "project": [1] * len(came), **alike})
        assert kept(role) == came
    with Trio(tmp_path, certificates, governance, postgres_databases) as trio:
        trio.start(*of_role)
        for role in of_role:

            def rewritten(role=role):
                done = trio.servers[role].events("duty_done")
                return [one["count"] for one in done if one["duty"] == "tables_put_in_order"]

            chain.eventually(rewritten)
            assert rewritten()[0] == 1
            assert kept(role) == sorted(came)
        trio.stop(Role.ATTRIBUTES, Role.BROKER)


def test_a_duty_is_done_once_a_day_and_again_when_it_failed():
    now, done = [10.5 * DAY], list[tuple[str, int]]()
    failed, broken = list[str](), list[bool]()

    def drop():
        if broken:
            raise OSError
        return 7

    duties = Duties(
        lambda: now[0], {"drop": drop, "count": lambda: 1}, lambda *one: done.append(one), failed.append
    )
    for _ in range(3):
        duties.look()
    assert done == [("drop", 7), ("count", 1)]
    now[0] += DAY
    broken.append(True)
    duties.look()
    duties.look()
    assert done[2:] == [("count", 1)]
    assert failed == ["OSError", "OSError"]
    broken.clear()
    duties.look()
    assert done[3:] == [("drop", 7)]
