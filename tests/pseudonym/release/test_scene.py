"""A release over real servers: asked for, checked, approved by two, fetched, opened, destroyed."""

from __future__ import annotations

import hashlib
import json
import os
import random

import grpc
import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from typer.testing import CliRunner

from linker.cli import app
from pseudonym import registers
from pseudonym.cli.audit import audit_app
from pseudonym.roles.authority import write_private
from pseudonym.roles.callers import Role
from pseudonym.v1 import attribute_pb2, broker_pb2, common_pb2, release_pb2
from tests.pseudonym.release.scene import FAMILY_FILE, SPEC
from tests.pseudonym.roles import test_processes as chain
from tests.pseudonym.roles.conftest import certificates
from tests.pseudonym.roles.harness import Called, bound, mandate, reason, three

__all__ = ["certificates"]

A, B, R = "/pseudonym.v1.AttributeService/", "/pseudonym.v1.BrokerService/", "/pseudonym.v1.ReleaseService/"
WORDS = b"three words here"
PEOPLE = 160


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_r28_r32_r39_a_release_from_its_specification_to_its_destruction(
    request, tmp_path, certificates, backend
):
    signers = {name: Ed25519PrivateKey.generate() for name in ("alice", "bob")}
    told = governance(tmp_path, signers)
    databases = request.getfixturevalue("postgres_databases") if backend == "postgresql" else None
    with three(tmp_path, certificates, databases, told) as roles:
        fill(roles, certificates)
        walk(tmp_path, roles, certificates, signers)


def governance(folder, signers):
    approvers = [
        {"name": name, "person": name, "public_key": key.public_key().public_bytes_raw().hex()}
        for name, key in signers.items()
    ]
    content = {
        "projects": {"tf-2026": "2090-01-01T00:00:00Z"},
        "approvers": approvers,
        "requesters": {"olive": "olive"},
        "canaries": ["Zebulon Quillfeather"],
    }
    path = folder / "governance.json"
    path.write_text(json.dumps(content))
    for name, key in signers.items():
        sealing = BestAvailableEncryption(WORDS)
        write_private(folder / f"{name}.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealing))
    write_private(folder / "words", WORDS)
    return path


def fill(roles, certificates):
    """A council's file of families of four, and offences that their holder sends under reference numbers."""
    chance = random.Random(5)
    refs = [os.urandom(16) for _ in range(PEOPLE)]
    broker, keeper = roles[Role.BROKER].address, roles[Role.ATTRIBUTES].address
    chain.begin(roles, certificates)
    with Called(keeper, certificates, "data-protection-officer") as officer:
        for dataset in (FAMILY_FILE, registers.load("pnc").dataset):
            asked = attribute_pb2.DeclareDatasetRequest(mandate=mandate(), declaration=dataset.to_json())
            officer(f"{A}DeclareDataset", asked)
    families = [os.urandom(16).hex() for _ in range(PEOPLE // 4)]
    rows = pl.DataFrame(
        {
            "row_ref": [ref.hex() for ref in refs],
            "pid": [os.urandom(16).hex() for _ in refs],
            "unit": [os.urandom(16).hex() for _ in refs],
            "fid": [families[place // 4] for place in range(PEOPLE)],
        }
    )
    told = rows.with_columns(row_ref=pl.Series(bound(rows["row_ref"].to_list())))
    with Called(broker, certificates, "identity") as identity:
        identity(f"{B}MapSubjects", broker_pb2.MapSubjectsRequest(mandate=mandate(), arrow=chain.arrow(told)))
    with Called(broker, certificates, "attributes") as role:

        def waiting():
            asked = broker_pb2.ListRowsRequest(project="tf-2026")
            return chain.told(role(f"{B}ListRows", asked, broker_pb2.ListRowsResponse).arrow)

        aids = waiting().select("aid")
        assert aids.height == PEOPLE
        values = {
            "birth_year": [str(chance.choice((1980, 2000, 2015))) for _ in refs],
            "sex": [chance.choice("fm") for _ in refs],
            "arm": [chance.choice(("programme", "comparison")) for _ in refs],
            "support_hours": [chance.choice(("20", "150")) for _ in refs],
        }
        columns = {"row_ref": rows["row_ref"]} | values
        submit(roles, certificates, "council", "SubmitAttributes", "family-file", columns)
        chain.eventually(lambda: not waiting().height)
        issue = broker_pb2.IssueUrnsRequest(
            mandate=mandate(),
            recipient="nis-analysis",
            kind=common_pb2.SUBJECT_KIND_PERSON,
            arrow=chain.arrow(aids),
        )
        urns = chain.told(role(f"{B}IssueUrns", issue, broker_pb2.IssueUrnsResponse).arrow)["urn"]
    offences = {
        "urn": urns,
        "offence_month": [f"202{chance.randint(0, 3)}-{chance.randint(1, 12):02d}" for _ in urns],
        "offence_group": ["theft"] * PEOPLE,
        "disposal": [chance.choice(("fine", "custody")) for _ in urns],
    }
    submit(roles, certificates, "dataset-holder", "AttachDataset", "pnc", offences, recipient="nis-analysis")


def submit(roles, certificates, bearer, method, dataset, columns, **more):
    kind = getattr(attribute_pb2, f"{method}Request")
    frame = pl.DataFrame(columns)
    names = frame.columns[1:]
    header = attribute_pb2.SubmissionHeader(
        mandate=mandate(), batch_id=f"{dataset}-1", dataset=dataset, columns=names, **more
    )
    with Called(roles[Role.ATTRIBUTES].address, certificates, bearer) as sender:
        assert chain.upload(sender, method, kind, header, [frame]).rows == frame.height


def kinlink(roles, certificates, bearer, *arguments, code=0):
    """A command as one bearer at the attributes role; its standard output."""
    flags = [*map(str, arguments)]
    if bearer is not None:
        address = roles[Role.ATTRIBUTES].address.replace("127.0.0.1", "localhost")
        flags += ["--service", address, "--project", "tf-2026", "--ca", f"{certificates}/authority.pem"]
        flags += ["--cert", f"{certificates}/{bearer}.pem", "--key", f"{certificates}/{bearer}.key"]
        if arguments[1] not in ("list", "show"):
            flags += ["--purpose", "evaluation-2026"]
    done = CliRunner().invoke(app, flags, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout


def walk(folder, roles, certificates, signers):
    officer, researcher = "data-protection-officer", "researcher"
    keys = kinlink(None, None, None, "release", "keys", "--out", folder / "recipient.json")
    sealing, signing = (line.split('"')[1] for line in keys.splitlines())
    text = (
        SPEC.format(sealing=sealing, signing=signing)
        .replace('"rita"', '"alice"')
        .replace('"dora"', '"alice"')
    )
    text = text[: text.index('[[datasets]]\nname = "linked"')] + text[text.index("[[sets]]") :]
    (folder / "release.toml").write_text(text)

    def run(bearer, *arguments, code=0):
        return kinlink(roles, certificates, bearer, "release", *arguments, code=code)

    def approve(bearer, name, code=0):
        more = ("--approver-key", folder / f"{name}.pem", "--secret", f"file:{folder / 'words'}", "--yes")
        return run(bearer, "approve", "nis-1", "--approver", name, *more, code=code)

    assert "created" in run(officer, "create", folder / "release.toml")
    report = run(officer, "check", "nis-1")
    assert "may be approved" in report
    assert f"{PEOPLE:,} persons, {PEOPLE // 4} families" in report

    # Nothing can be read before both have approved.
    run(researcher, "read", "nis-1", "--out", folder / "early", code=1)
    assert "checked" in approve("approver", "alice")
    run(researcher, "read", "nis-1", "--out", folder / "early", code=1)
    assert not (folder / "early").exists()
    approve("approver", "bob", code=1)  # another's approval, with one's own certificate
    assert "approved" in approve("approver-2", "bob")
    shown = run(officer, "show", "nis-1")
    assert "approved by alice" in shown
    assert "approved by bob" in shown

    run(researcher, "read", "nis-1", "--out", folder / "bundle")
    opened(folder, run)
    ended(folder, roles, certificates, run)
    audited(roles)


def opened(folder, run):
    said = run(
        None,
        "open",
        folder / "bundle",
        "--recipient-keys",
        folder / "recipient.json",
        "--out",
        folder / "data",
        "--csv",
    )
    assert f"persons: {PEOPLE} rows" in said
    persons = pl.read_csv(folder / "data" / "persons.csv")
    assert persons.height == PEOPLE
    assert persons["person"].str.starts_with("P1").all()
    assert persons["family"].n_unique() == PEOPLE // 4
    assert persons["custody"].sum() > 0
    offences = pl.read_parquet(folder / "data" / "pnc.parquet")
    assert offences.columns == ["person", "family", "offence_year", "offence_group"]
    assert set(offences["person"]) == set(persons["person"])
    manifest = json.loads((folder / "data" / "manifest.json").read_text())
    for one in manifest["files"]:
        data = (folder / "data" / one["name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == one["sha256"]


def ended(folder, roles, certificates, run):
    arguments = (
        "--recipient-keys",
        folder / "recipient.json",
        "--who",
        "alice",
        "--how",
        "Shredded, with all copies.",
    )
    run("researcher", "destroyed", "nis-1", *arguments, "--out", folder / "certificate.json")
    with Called(roles[Role.ATTRIBUTES].address, certificates, "researcher") as called:
        asked = release_pb2.GetReleaseRequest(project="tf-2026", name="nis-1")
        found = called(f"{R}GetRelease", asked, release_pb2.GetReleaseResponse).release
        assert found.state == release_pb2.RELEASE_STATE_DESTROYED
        assert (found.report, found.specification) == (b"", b"")
        read = called.channel.unary_stream(
            f"{R}ReadRelease",
            release_pb2.ReadReleaseRequest.SerializeToString,
            release_pb2.ReadReleaseResponse.FromString,
        )
        with pytest.raises(grpc.RpcError) as caught:
            list(read(release_pb2.ReadReleaseRequest(mandate=mandate(), name="nis-1"), timeout=20))
        assert reason(caught.value)[:2] == ("FAILED_PRECONDITION", "RELEASE_STATE")
    signed = json.loads((folder / "certificate.json").read_text())
    assert "nis-1 for nis-analysis" in signed["what"]
    assert signed["who"] == ["alice"]
    assert "destroyed" in run("researcher", "list")


def audited(roles):
    """Each step has its entry in the attributes role's log, and so has each reading of a dataset."""
    log = roles[Role.ATTRIBUTES].data / "attributes" / "audit"
    shown = CliRunner().invoke(audit_app, ["show", str(log)], catch_exceptions=False).stdout
    for step in ("create-release", "check-release", "approve-release", "read-release", "certify-destroyed"):
        assert f"release/{step}" in shown
    assert "release/read-release.failed-precondition" in shown  # a refusal is told as well
    assert shown.count("attributes.read") >= 2
