"""`kinlink project`, `recipient`, `dataset`, `divide` and `attributes` against real roles."""

from __future__ import annotations

import json
import os

import polars as pl
import pytest
from typer.testing import CliRunner

from linker.cli import app
from pseudonym.roles.callers import Role
from pseudonym.roles.commands import REACH
from tests.pseudonym.roles.harness import PURPOSE

CANARY = "Zephyrine-Quux"
PROJECT = "begun-2026"


@pytest.fixture
def run(roles, certificates):
    def run(role, bearer, *words, code=0, at="", named=True):
        files = [f"--{name}={certificates}/{file}" for name, file in
                 (("ca", "authority.pem"), ("cert", f"{bearer}.pem"), ("key", f"{bearer}.key"))]  # fmt: skip
        address = at or roles[role].address.replace("127.0.0.1", "localhost")
        given = [*map(str, words), f"--service={address}"]
        given += [f"--project={PROJECT}", f"--purpose={PURPOSE}"] if named else []
        done = CliRunner().invoke(app, [*given, *files], env={"COLUMNS": "200"}, catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done

    return run


def test_a_project_is_begun_and_a_recipient_gets_its_epochs(run):
    custodian = "key-custodian"
    unknown = run(Role.BROKER, custodian, "recipient", "open", "--recipient", "nis", code=1).stderr
    assert "project" in unknown.lower()
    early = run(Role.ATTRIBUTES, custodian, "project", "open", code=1).stderr
    assert "has not begun at the broker" in early
    assert "kinlink project begin" in early
    for _ in range(2):
        assert "has begun" in run(Role.BROKER, custodian, "project", "begin").stdout
        opened = run(Role.BROKER, custodian, "recipient", "open", "--recipient", "nis").stdout
        assert opened == f"Recipient nis of project {PROJECT} is in epoch 1.\n"
    following = run(Role.BROKER, custodian, "recipient", "open", "--recipient", "nis", "--next-epoch").stdout
    assert "epoch 2" in following
    assert "epoch 2" in run(Role.BROKER, custodian, "recipient", "open", "--recipient", "nis").stdout
    refused = run(Role.BROKER, "council", "project", "begin", code=1).stderr
    assert "key-custodian" in refused
    assert "CALLER_REFUSED" in refused


def test_the_wrong_address_says_which_role_answers_there(run):
    said = run(Role.IDENTITY, "key-custodian", "project", "open", code=1).stderr
    assert "the identity role, not the attributes role" in said
    assert "--service" in said


def test_a_command_of_the_engine_at_the_wrong_role_is_told_so(run):
    for role in (Role.BROKER, Role.ATTRIBUTES):
        said = run(role, "council", "submission", "list", code=1).stderr
        assert f"is the {role} role" in said
        assert "--service" in said


def test_the_months_key_and_the_roles_that_have_one(run):
    custodian = "key-custodian"
    again = run(Role.IDENTITY, custodian, "renew", "keys", "--role", "identity", code=1).stderr
    assert "--month" in again
    none = run(Role.IDENTITY, custodian, "renew", "show", "--role", "identity", code=1, named=False).stderr
    assert "No renewal was asked for yet" in none
    for *command, has in (("renew", "keys", False), ("destroy", "project", True)):
        wrong = run(Role.IDENTITY, custodian, *command, "--role", "council", code=2).stderr
        assert "'identity'" in wrong
        assert "'attributes'" in wrong
        assert ("'broker'" in wrong) == has


def test_an_address_where_nothing_answers_is_named(run, monkeypatch):
    assert REACH < 15
    monkeypatch.setattr("pseudonym.roles.commands.REACH", 0.2)
    said = run(Role.BROKER, "key-custodian", "project", "begin", code=1, at="localhost:1").stderr
    assert "cannot be reached at localhost:1" in said


def local(*words, code=0):
    done = CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "200"}, catch_exceptions=False)
    assert done.exit_code == code, done.output
    assert CANARY not in done.output
    return done


def divided(file, out, *more, code=0):
    parts = ["--identifiers", "surname", "--identifiers", "born", "--attributes", "score"]
    return local("divide", file, "--out", out, *parts, *more, code=code)


@pytest.mark.parametrize(
    ("form", "suffix"), [("csv", "csv"), ("parquet", "parquet"), ("ipc", "arrow"), ("ipc_stream", "arrows")]
)
def test_a_file_is_divided_on_this_machine(tmp_path, form, suffix):
    rows = pl.DataFrame({"surname": [CANARY, "Baxter"], "born": ["2011-02-03", None], "score": ["01", "2"]})
    rows = rows.with_columns(note=pl.lit("left out"))
    path = tmp_path / f"council.{suffix}"
    getattr(rows, f"write_{form}")(path)
    divided(path, tmp_path / "halves", "--leave-out", "note")
    halves = [
        pl.read_parquet(tmp_path / "halves" / f"{name}.parquet") for name in ("identifiers", "attributes")
    ]
    assert [half.columns for half in halves] == [["row_ref", "surname", "born"], ["row_ref", "score"]]
    again = halves[0].join(halves[1], on="row_ref", validate="1:1").drop("row_ref")
    assert again.sort("surname").equals(rows.drop("note").sort("surname"))
    modes = {file.stat().st_mode & 0o777 for file in (tmp_path / "halves").iterdir()}
    assert modes == {0o600}
    assert "is there already" in divided(path, tmp_path / "halves", "--leave-out", "note", code=1).stderr


def test_r31_an_extract_and_its_events_are_divided_and_the_holders_ids_stay(tmp_path):
    records, events = tmp_path / "records.csv", tmp_path / "events.csv"
    records.write_text("record_id,surname\nP1,Baxter\nP2,Cole\n")
    events.write_text("record_id,absences\nP2,3\nP1,4\nP2,5\n")
    local("divide", records, "--events", events, "--id", "record_id", "--out", tmp_path / "halves")
    who, what = (
        pl.read_parquet(tmp_path / "halves" / f"{name}.parquet") for name in ("identifiers", "attributes")
    )
    assert (who.columns, what.columns) == (["row_ref", "surname"], ["row_ref", "absences"])
    told = who.join(what, on="row_ref").select("surname", "absences").sort("absences").rows()
    assert told == [("Cole", "3"), ("Baxter", "4"), ("Cole", "5")]
    for wrong in ([], ["--events", events], ["--events", events, "--id", "nhs"]):
        assert local("divide", records, *wrong, "--out", tmp_path / "none", code=1).stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("form", "said"), [("arrow", "an Arrow file"), ("parquet", "a Parquet file")])
def test_a_file_that_broke_off_is_refused_without_its_values(tmp_path, form, said):
    path = tmp_path / f"council.{form}"
    rows = pl.DataFrame({"surname": [CANARY] * 99, "born": ["2011-02-03"] * 99, "score": ["1"] * 99})
    (rows.write_ipc if form == "arrow" else rows.write_parquet)(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert f"cannot be read as {said}" in divided(path, tmp_path / "halves", code=1).stderr
    assert not (tmp_path / "halves").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"surname,born\n{CANARY},2011-02-03\n".encode(), "no column score"),
        (f"surname,born,score\n{CANARY},1,2,3,4\n".encode(), "rows of one length"),
        (b"surname,born,score\n" + CANARY.encode() + b"\xff\xfe,1,2\n", "UTF-8"),
        (b"", "CSV"),
        (b"surname,born,score,other\n1,2,3,4\n", "Nobody has said what to do with other"),
    ],
)
def test_a_file_that_cannot_be_divided_is_refused_without_its_values(tmp_path, content, said):
    path = tmp_path / "council.csv"
    path.write_bytes(content)
    assert said in divided(path, tmp_path / "halves", code=1).stderr
    assert not (tmp_path / "halves").exists()


def test_a_half_without_references_is_not_sent(run, tmp_path):
    path = tmp_path / "attributes.parquet"
    pl.DataFrame({"score": ["1"]}).write_parquet(path)
    sent = ("attributes", "send", path, "--batch", "b1", "--dataset", "families")
    assert "row_ref" in run(Role.ATTRIBUTES, "council", *sent, code=1).stderr


def test_the_half_of_identifiers_does_not_leave_for_the_attributes_role(tmp_path):
    path = tmp_path / "identifiers.parquet"
    pl.DataFrame({"row_ref": [os.urandom(16).hex()], "surname": [CANARY]}).write_parquet(path)
    # Nobody answers at the address: what is refused here was not sent.
    nowhere = ("--service", "localhost:1", "--project", "tf-2026", "--purpose", "trial")
    papers = [word for name in ("--ca", "--cert", "--key") for word in (name, tmp_path / "none.pem")]
    said = local(
        "attributes", "send", path, "--batch", "b1", "--dataset", "families", *nowhere, *papers, code=1
    ).stderr
    assert "called as if it held an identifier" in said
    assert CANARY not in said


def test_attributes_are_declared_sent_and_their_refusals_listed(run, tmp_path):
    run(Role.BROKER, "key-custodian", "project", "begin")
    run(Role.ATTRIBUTES, "key-custodian", "project", "open")
    declaration = tmp_path / "scores.toml"
    declaration.write_text('name = "scores"\n[columns.score]\nkind = "integer"\nleast = 0\nmost = 100\n')
    assert "can be declared: 1 columns" in local("dataset", "check", declaration).stdout
    officer = ("dataset", "declare", declaration)
    assert "score  integer" in run(Role.ATTRIBUTES, "data-protection-officer", *officer).stdout
    refs = [os.urandom(16).hex() for _ in range(3)]
    for name, scores in (("good", ["1", None, "100"]), ("bad", ["1", "101", "9434765919"])):
        pl.DataFrame({"row_ref": refs, "score": scores}).write_parquet(tmp_path / f"{name}.parquet")
    send = ("attributes", "send", "--dataset", "scores", "--batch")
    sent = run(Role.ATTRIBUTES, "council", *send, "s-1", tmp_path / "good.parquet").stdout
    assert sent == "Batch s-1: the attributes role has 3 rows.\n"
    nothing = run(Role.ATTRIBUTES, "council", "attributes", "refusals", "--batch", "s-1")
    assert (nothing.stdout, nothing.stderr) == ("", "Nothing was refused.\n")
    bad = run(Role.ATTRIBUTES, "council", *send, "s-2", tmp_path / "bad.parquet", code=1)
    assert "VALUES_REFUSED" in bad.stderr
    asked = ("attributes", "refusals", "--batch", "s-2")
    summed = run(Role.ATTRIBUTES, "council", *asked).stdout
    assert [line.split() for line in summed.splitlines() if "score" in line] == [
        ["looks_like_nhs", "score", "1", "3"],
        ["out_of_bounds", "score", "1", "2"],
    ]
    listed = run(Role.ATTRIBUTES, "council", *asked, "--all").stdout
    assert listed.startswith(summed.rstrip("\n").splitlines()[0])
    assert [line.split() for line in listed.splitlines() if line.split()[:1] in (["2"], ["3"])] == [
        ["2", "score", "out_of_bounds"],
        ["3", "score", "looks_like_nhs"],
    ]
    told = json.loads(run(Role.ATTRIBUTES, "council", *asked, "--json").stdout)
    assert told["reasons"] == {"looks_like_nhs": 1, "out_of_bounds": 1}
    assert [one["row"] for one in told["refusals"]] == [2, 3]
    assert "9434765919" not in bad.output + summed + listed + str(told)
