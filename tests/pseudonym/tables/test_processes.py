"""Tables over real roles and certificates: who reads what, what is logged, and a role that is killed."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import signal
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from pseudonym.release.papers import Approval
from pseudonym.roles import domains, settings
from pseudonym.roles.authority import write_private
from pseudonym.roles.callers import SERVER_ROLES, Role
from pseudonym.roles.commands_table import table_app
from pseudonym.roles.opening import open_house
from pseudonym.tables.published import Published
from pseudonym.v1 import common_pb2, table_pb2
from tests.forks import FORKS
from tests.pseudonym.release.scene import put
from tests.pseudonym.roles.harness import DOMAIN, PURPOSE, Organisation, Trio, mandate, reason
from tests.pseudonym.separation.parts import PROJECT
from tests.pseudonym.tables.scene import FAMILIES, PNC, PUBLIC, SPEC, offences, people

pytestmark = pytest.mark.timeout(600)
T = "/pseudonym.v1.TableService/"
WORDS = b"three words here"
NAMES = {"alice": "approver", "bob": "approver-2"}
TEXT = SPEC.replace('"bob", "dora"', '"alice", "bob"')
CELLS = TEXT.replace('"offences"', '"cells"').replace('"council"\nunit', '"publication"\nunit').replace(
    'area = "council"', 'area = "council"\nmethod = "cell-key"\nptable = "plus-minus-2"'
)  # fmt: skip


class Roles:
    """Three roles with people in the attribute store, and the approvers' keys."""

    def __init__(self, trio: Trio, keys: dict[str, Ed25519PrivateKey]) -> None:
        self.trio, self.keys = trio, keys

    def call(self, bearer, method, request, response, timeout=60):
        with self.trio.called(Role.ATTRIBUTES, bearer) as called:
            return called(f"{T}{method}", request, response, timeout=timeout)

    def check(self, text, name):
        asked = table_pb2.CreateTableRequest(mandate=mandate(), specification=text.encode())
        self.call("data-protection-officer", "CreateTable", asked, table_pb2.CreateTableResponse)
        checking = table_pb2.CheckTableRequest(mandate=mandate(), name=name)
        return self.call(
            "data-protection-officer", "CheckTable", checking, table_pb2.CheckTableResponse
        ).table

    def approval(self, table, name):
        when = datetime.now(UTC).replace(microsecond=0)
        digest = hashlib.sha256(table.manifest).digest()
        return Approval.sign(digest, name, self.keys[name], when).to_file()

    def approve(self, table, name, paper=None):
        paper = paper or self.approval(table, name)
        asked = table_pb2.ApproveTableRequest(mandate=mandate(), name=table.name, approval=paper)
        return self.call(NAMES[name], "ApproveTable", asked, table_pb2.ApproveTableResponse).table

    def read(self, bearer, name):
        asked = table_pb2.ReadTableRequest(mandate=mandate(), name=name)
        content = self.call(bearer, "ReadTable", asked, table_pb2.ReadTableResponse).content
        return Published.from_file(content)

    def state(self, name):
        asked = table_pb2.GetTableRequest(project=PROJECT, name=name)
        found = self.call("approver", "GetTable", asked, table_pb2.GetTableResponse).table
        return table_pb2.TableState.Name(found.state).removeprefix("TABLE_STATE_"), found


@pytest.fixture(scope="module")
def roles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    certificates, told = folder / "certificates", folder / "governance.json"
    certificates.mkdir()
    Organisation().write_all(certificates)
    keys = {name: Ed25519PrivateKey.generate() for name in NAMES}
    councils = [
        {"project": PROJECT, "person": person, "area": area}
        for person, area in (("alice", "fenham"), ("bob", "marwick"))
    ]
    approvers = [
        {"name": name, "person": name, "public_key": key.public_key().public_bytes_raw().hex()}
        for name, key in keys.items()
    ]
    told.write_text(
        json.dumps({"approvers": approvers, "councils": councils, "requesters": {"olive": "olive"}})
    )
    told.chmod(0o600)
    filling = FORKS.Process(target=fill, args=(folder / Role.ATTRIBUTES,))
    filling.start()  # in a process of its own: a role's ledger stays open as long as the process lives
    filling.join()
    assert filling.exitcode == 0
    with Trio(folder, certificates, told) as trio:
        trio.start()
        with trio.called(Role.BROKER, "key-custodian") as custodian:
            from pseudonym.v1 import broker_pb2

            begun = broker_pb2.BeginProjectRequest(mandate=mandate())
            custodian("/pseudonym.v1.BrokerService/BeginProject", begun, broker_pb2.BeginProjectResponse)
        yield Roles(trio, keys)
        trio.stop()


def fill(folder: Path) -> None:
    """Put people into a role's store before it runs, as their two halves would have."""
    house = open_house(settings.resolve(Role.ATTRIBUTES, folder, settings.Options(), make=True), DOMAIN)
    with house:
        store = domains.open_attributes(house)
        store.begin_project(PROJECT)
        for dataset in (FAMILIES, PNC):
            store.declare(PROJECT, dataset)
        rows = people()
        put(store, "families", rows)
        put(store, "pnc", offences(rows))


@pytest.fixture(scope="module")
def released(roles):
    table = roles.check(TEXT, "offences")
    for name in NAMES:
        table = roles.approve(table, name)
    return table


def test_r40_two_councils_each_read_their_own_area_by_their_certificates(roles, released):
    for bearer, own, other in (("council", "fenham", "marwick"), ("council-2", "marwick", "fenham")):
        table = roles.read(bearer, "offences")
        assert {one.categories[0] for one in table.lines} == {own, "total"}
        assert other not in {text for one in table.lines for text in one.categories}
    for bearer in ("researcher", "dataset-holder", "linkage-operator", "auditor"):
        with pytest.raises(grpc.RpcError) as refused:
            roles.read(bearer, "offences")
        assert reason(refused.value)[1] in ("NOT_FOUND", "CALLER_REFUSED")
    asked = table_pb2.GetTableRequest(project=PROJECT, name="offences")
    with pytest.raises(grpc.RpcError) as refused:
        roles.call("council", "GetTable", asked, table_pb2.GetTableResponse)
    assert reason(refused.value)[1] == "CALLER_REFUSED"


def test_r43_what_is_published_is_everybodys_and_nothing_else_is(roles, released):
    table = roles.check(PUBLIC.replace('"bob", "dora"', '"alice", "bob"'), "offences-2")
    listing = table_pb2.ListTablesRequest(project=PROJECT)

    def listed(bearer):
        found = roles.call(bearer, "ListTables", listing, table_pb2.ListTablesResponse).tables
        assert not any(one.content or one.report or one.specification for one in found)
        return [one.name for one in found]

    asked = table_pb2.PublishTableRequest(mandate=mandate(), name="offences-2")
    with pytest.raises(grpc.RpcError) as refused:
        roles.call("approver", "PublishTable", asked, table_pb2.PublishTableResponse)
    assert reason(refused.value)[1] == "TABLE_STATE"
    for name in NAMES:
        table = roles.approve(table, name)
    assert (listed("researcher"), listed("council")) == ([], ["offences"])
    roles.call("approver", "PublishTable", asked, table_pb2.PublishTableResponse)
    assert listed("researcher") == ["offences-2"]
    assert len({one.categories[0] for one in roles.read("researcher", "offences-2").lines}) == 4


def test_r41_cell_keys_come_from_the_brokers_own_key(roles, released):
    table = roles.check(CELLS, "cells")
    first = Published.from_file(table.content)
    assert any("cell keys" in rule for rule in first.rules)
    again = roles.check(CELLS, "cells")
    assert Published.from_file(again.content).lines == first.lines
    values = [one.value for one in first.lines if one.value and one.measure == "families"]
    assert any(value % 5 for value in values)
    with roles.trio.called(Role.BROKER, "data-protection-officer") as officer, pytest.raises(grpc.RpcError):
        officer("/pseudonym.v1.BrokerService/ListRecordKeys", common_pb2.Mandate(), common_pb2.Mandate)


def test_r22_each_step_is_in_the_audit_log_and_no_number_is(roles, released):
    roles.read("council", "offences")
    from pseudonym.v1 import audit_pb2

    entries, token = [], ""
    with roles.trio.called(Role.ATTRIBUTES, "auditor") as auditor:
        while True:
            asked = audit_pb2.ListEntriesRequest(page_size=1_000, page_token=token)
            page = auditor("/pseudonym.v1.AuditService/ListEntries", asked, audit_pb2.ListEntriesResponse)
            entries += page.entries
            if not (token := page.next_page_token):
                break
    done = {(one.action, one.actor.rpartition("role/")[2]) for one in entries}
    for step in (
        ("table/create-table", "data-protection-officer/olive"),
        ("table/check-table", "data-protection-officer/olive"),
        ("table/approve-table", "approver/alice"),
        ("table/approve-table", "approver/bob"),
        ("table/read-table", "council/alice"),
    ):
        assert step in done
    checked = next(one for one in entries if one.action == "table/check-table")
    assert (checked.count, checked.purpose, checked.project) == (400, PURPOSE, PROJECT)
    reads = [one for one in entries if one.action == "attributes.read"]
    assert len(reads) >= 2


def test_the_commands_do_all_of_it(roles, released, tmp_path):
    run = roles.trio.kinlink

    def told(bearer, *arguments):
        given = ("--project", PROJECT, "--purpose", PURPOSE)
        purposes = given if arguments[0] not in ("list", "show") else given[:2]
        found = run(table_app, Role.ATTRIBUTES, bearer, arguments[0], *purposes, *arguments[1:])
        return found.exit_code, found.stdout

    declaration = tmp_path / "table.toml"
    text = TEXT.replace('"offences"', '"again"').replace('"council"\nunit', '"publication"\nunit')
    declaration.write_text(text)
    assert told("data-protection-officer", "create", declaration) == (0, "again for publication: created\n")
    code, report = told("data-protection-officer", "check", "again")
    assert (code, "may be approved" in report, "Held against" in report) == (0, True, True)
    code, shown = told("approver", "show", "again", "--json")
    assert json.loads(shown)["report"]["reason"] == ""
    code, shown = told("council", "read", "offences")
    assert (code, "fenham" in shown, "marwick" in shown) == (0, True, False)
    assert "Totals are sums" in shown
    code, csv = told("council", "read", "offences", "--csv")
    assert csv.splitlines()[0] == "measure,measure_means,period,council,arm,value,value_is,of,left_out"
    folder = tmp_path / "handed out"
    code, where = told("council", "read", "offences", "--out", folder)
    assert [line.split(": ")[0] for line in where.splitlines()] == [
        str(folder / f"offences.{form}") for form in ("csv", "txt", "json")
    ]
    assert (folder / "offences.csv").read_text() == csv
    legend = (folder / "offences.txt").read_text()
    assert ("council: Council. Here: fenham, total" in legend, "marwick" in csv + legend) == (True, False)
    assert Published.from_file((folder / "offences.json").read_bytes()).counted in legend
    assert told("council", "read", "offences", "--out", folder)[0] == 1  # nothing is written over
    code, text = told("council", "read", "offences", "--json")
    assert json.loads(text)["area"] == "council"
    assert told("council", "read", "again")[0] == 1
    write_private(tmp_path / "words", WORDS)
    for name, key in roles.keys.items():
        sealing = BestAvailableEncryption(WORDS)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealing)
        write_private(tmp_path / f"{name}.pem", pem)
        signing = ("--approver-key", tmp_path / f"{name}.pem", "--secret", f"file:{tmp_path / 'words'}")
        code, done = told(NAMES[name], "approve", "again", "--approver", name, *signing, "--yes")
        assert code == 0, done
    assert done.startswith("again for publication: approved, released 2")
    assert told("approver", "show", "again")[1].count("\napproved by ") == 2
    assert told("approver", "publish", "again")[0] == 0
    assert told("researcher", "read", "again")[0] == 0
    code, listed = told("council", "list", "--json")
    assert {one["name"] for one in json.loads(listed)} <= {"offences", "offences-2", "again"}
    out = tmp_path / "ptable.csv"
    assert run(table_app, None, "", "ptable", "plus-minus-2", "--out", out).exit_code == 0
    assert out.read_text().startswith("pcv,ckey,pvalue\n1,0,")
    assert run(table_app, None, "", "ptable", "plus-minus-2", "--out", out).exit_code == 1
    assert run(table_app, None, "", "layout", "nothing").exit_code == 1


@pytest.mark.slow
def test_r41_a_second_approver_and_a_killed_role_leave_a_table_released_or_not_and_never_half(roles):
    chance, seen = random.Random(4), set[str]()
    for turn in range(5):
        name = f"killed-{turn}"
        table = roles.check(TEXT.replace('"offences"', f'"{name}"'), name)
        roles.approve(table, "alice")
        paper = roles.approval(table, "bob")

        def second(table=table, paper=paper):
            with suppress(grpc.RpcError):
                roles.approve(table, "bob", paper)

        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(chance.uniform(0.0, 0.12))
        server = roles.trio.servers[Role.ATTRIBUTES]
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(30)
        thread.join(60)
        roles.trio.start(Role.ATTRIBUTES)
        state, found = roles.state(name)
        seen.add(state)
        assert (state, len(found.approvals), found.HasField("release_time")) in (
            ("CHECKED", 1, False),
            ("APPROVED", 2, True),
        )
        if state == "CHECKED":
            with pytest.raises(grpc.RpcError):
                roles.read("council", name)
        # The same paper again ends it, whichever it was; and once more changes nothing.
        for _ in range(2):
            assert roles.approve(table, "bob", paper).state == table_pb2.TABLE_STATE_APPROVED
        assert len(roles.state(name)[1].approvals) == 2
        assert roles.read("council", name).lines
    assert seen <= {"CHECKED", "APPROVED"}


def test_nothing_of_a_table_lies_in_the_clear_nor_in_what_is_kept_of_requests(roles, released):
    words = (b"Families with an offence, by council", b"kinlink-table-published", b"kinlink-table-report")
    for role in SERVER_ROLES:
        for path, content in roles.trio.files(role).items():
            texts = [content]
            if path.name == "repeats":
                texts += [base64.b64decode(json.loads(line)[2]) for line in content.splitlines()]
            assert not any(word in text for word in words for text in texts), path
    asked = table_pb2.CheckTableRequest(mandate=mandate(), name="clear")
    created = SPEC.replace('"bob", "dora"', '"alice", "bob"').replace('"offences"', '"clear"')
    making = table_pb2.CreateTableRequest(mandate=mandate(), specification=created.encode())
    roles.call("data-protection-officer", "CreateTable", making, table_pb2.CreateTableResponse)
    first, again = (
        roles.call("data-protection-officer", "CheckTable", asked, table_pb2.CheckTableResponse)
        for _ in range(2)
    )
    assert first == again  # the same request counts nothing anew: approvals of it would be void
