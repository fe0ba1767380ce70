"""`kinlink council` as an officer runs it."""

from __future__ import annotations

import json
import re
import stat

import polars as pl
import pytest
from typer.testing import CliRunner

from linker.cli import app
from linker.recognise import recognise
from pseudonym.datasets import Dataset
from pseudonym.study import outbox
from tests.pseudonym.study.made_up import CHILD, LAYOUT, rows

DAY = ("--day", "2024-12-31")


@pytest.fixture
def desk(tmp_path):
    (tmp_path / "layout.toml").write_text(LAYOUT)
    bad = {"Family": "F3", "First": "Zyzzyva", "Screened": "01/01/2025", "NHS": "9434765919"}
    rows({}, CHILD | {"NI": "QQ123456C"}, {"Family": "F2", "Crit": "W"}, bad).write_csv(tmp_path / "file.csv")
    return tmp_path


def run(*words, code=0):
    result = CliRunner().invoke(app, ["council", *map(str, words)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert "yzzyva" not in result.output
    return result


def test_r1_check_lists_refusals_by_row_and_code_and_divides_nothing(desk):
    told = desk / "why.csv"
    shown = run(
        "check", desk / "file.csv", "--layout", desk / "layout.toml", "--scheme", "tf-2015", *DAY,
        "--explanations", told,
    ).stdout  # fmt: skip
    assert "4 rows: 2 leave, 1 stay, 1 refused" in shown
    assert "1 NINO_OF_CHILD" in shown
    listed = pl.read_csv(desk / "file.refusals.csv")
    assert listed.select("row", "column", "code", "refused").rows() == [
        (2, "NI", "NINO_OF_CHILD", False),
        (4, "Screened", "DATE_IN_FUTURE", True),
    ]
    assert pl.read_csv(told)["outcome"].to_list() == ["eligible", "below", "undecided"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (told, desk / "file.refusals.csv"))
    assert {one.name for one in desk.iterdir()} == {
        "file.csv", "file.refusals.csv", "layout.toml", "why.csv",
    }  # fmt: skip


def test_r1_divide_makes_two_halves_and_a_receipt_once(desk):
    out = desk / "out"
    words = ("divide", desk / "file.csv", "--layout", desk / "layout.toml", "--out", out, *DAY)
    run(*words)
    kept = {path.name: path.read_bytes() for path in out.iterdir()}
    assert set(kept) == {"identifiers.parquet", "attributes.parquet", "receipt.json"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in out.iterdir())
    assert all(b"yzzyva" not in content for content in kept.values())
    receipt = json.loads(kept["receipt.json"])
    assert receipt["rows_refused"] == {"DATE_IN_FUTURE": 1}
    assert receipt["values_set_aside"] == {"NINO_OF_CHILD": 1}
    again = run(*words)
    assert "already" in again.stdout
    assert {path.name: path.read_bytes() for path in out.iterdir()} == kept
    # In another folder the same file is the same batch and the same halves, so that a service takes it once.
    other = json.loads(run(*words[:5], desk / "other", *DAY, "--json").stdout)
    assert other == receipt
    # Only the council can make these: under another key all is different.
    assert stat.S_IMODE((desk / "layout.key").stat().st_mode) == 0o600
    third = run(*words[:5], desk / "third", *DAY, "--json", "--council-key", desk / "new.key")
    assert "new.key is new" in third.stderr
    assert json.loads(third.stdout)["batch"] != receipt["batch"]
    (desk / "new.key").write_text('{"key": "Zyzzyva"}')
    assert "key" in run(*words[:5], desk / "fourth", *DAY, "--council-key", desk / "new.key", code=1).stderr


@pytest.mark.parametrize(("suffix", "form"), [("arrow", "ipc"), ("feather", "ipc"), ("arrows", "ipc_stream")])
def test_r1_an_arrow_file_is_checked_and_divided_as_the_same_file_in_csv(desk, suffix, form):
    path = desk / f"same.{suffix}"
    getattr(pl.read_csv(desk / "file.csv", infer_schema=False), f"write_{form}")(path)
    layout = ("--layout", desk / "layout.toml")
    assert "4 rows: 2 leave, 1 stay, 1 refused" in run("check", path, *layout, *DAY).stdout
    made = []
    for file in (desk / "file.csv", path):
        run("divide", file, *layout, "--out", desk / file.suffix, *DAY)
        made.append({one.name: one.read_bytes() for one in (desk / file.suffix).iterdir()})
    assert made[0] == made[1]


@pytest.mark.parametrize("command", ["check", "divide"])
@pytest.mark.parametrize(
    ("day", "code", "said"),
    [("2100-01-01", 1, "is in the future"), ("31/12/2024", 2, "YYYY-MM-DD"), ("2024-02-30", 2, "YYYY-MM-DD")],
)
def test_a_day_that_is_none_or_has_not_come_is_refused(desk, command, day, code, said):
    words = [command, desk / "file.csv", "--layout", desk / "layout.toml"]
    words += ["--out", desk / "out"] if command == "divide" else []
    assert said in run(*words, "--day", day, code=code).stderr
    assert not (desk / "out").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(desk):
    words = ("divide", desk / "file.csv", "--layout", desk / "layout.toml", "--out", desk / "out")
    run(*words, *DAY)
    assert "another batch" in run(*words, "--day", "2025-01-31", code=1).stderr
    (desk / "out" / outbox.ATTRIBUTES).write_bytes(b"other")
    assert "not as they were written" in run(*words, *DAY, code=1).stderr
    assert "something else" in run(*words[:-1], desk, *DAY, code=1).stderr
    # What a crash left without a receipt is not finished, and is made anew.
    (desk / "out" / outbox.RECEIPT).unlink()
    run(*words, *DAY)
    assert pl.read_parquet(desk / "out" / outbox.ATTRIBUTES).height == 2


def test_the_identifiers_are_read_by_linkage_as_what_they_are(desk):
    run("divide", desk / "file.csv", "--layout", desk / "layout.toml", "--out", desk / "out", *DAY)
    half = pl.read_parquet(desk / "out" / outbox.IDENTIFIERS)
    layout = recognise(half, id_column="row_ref", mapping={"household": "family"})
    read = {field.columns[0]: field.kind.value for field in layout.fields}
    assert {"forename", "surname", "date_of_birth", "postcode"} <= set(read)
    assert all(
        read[name] == name
        for name in ("forename", "surname", "date_of_birth", "sex", "postcode")
        if name in read
    )
    assert read["family"] == "household"


def test_r7_left_out_needs_a_code(desk):
    (desk / "left.csv").write_text("family,member,code\nF1,,because\n")
    words = (
        "check",
        desk / "file.csv",
        "--layout",
        desk / "layout.toml",
        *DAY,
        "--left-out",
        desk / "left.csv",
    )
    assert "withdrawal" in run(*words, code=1).stderr
    (desk / "left.csv").write_text("family,member,code\nF1,,objection\n")
    assert "1 withdrawn: all members" in run(*words).stdout


def test_what_is_read_is_never_written_over(desk):
    words = ("check", desk / "file.csv", "--layout", desk / "layout.toml", *DAY)
    before = {path.name: path.read_bytes() for path in desk.iterdir()}
    for option, path in (("--refusals", "file.csv"), ("--explanations", "layout.toml")):
        assert "are one" in run(*words, option, desk / path, code=1).stderr
    assert "cannot be written" in run(*words, "--refusals", desk / "none" / "why.csv", code=1).stderr
    assert {path.name: path.read_bytes() for path in desk.iterdir()} == before


def test_the_scheme_asked_for_is_the_layouts(desk):
    words = ("check", desk / "file.csv", "--layout", desk / "layout.toml", *DAY, "--scheme")
    assert "tf-2015" in run(*words, "sf-2022", code=1).stderr
    run("check", desk / "none.csv", "--layout", desk / "none.toml", code=1)
    run("check", desk / "none.csv", "--layout", desk / "layout.toml", code=1)


def test_a_layout_is_proposed_once_and_a_declaration_printed(desk):
    run("layout", desk / "file.csv", "--out", desk / "new.toml")
    assert "?" in (desk / "new.toml").read_text()
    assert "there already" in run("layout", desk / "file.csv", "--out", desk / "new.toml", code=1).stderr
    text = run("declaration", "--council", "fenham", "--council", "marwick").stdout
    assert Dataset.from_json(text).column("council").codes == ("fenham", "marwick")


def test_a_layout_that_is_not_there_or_not_decided_is_said(desk):
    absent = run("check", desk / "file.csv", "--layout", desk / "absent.toml", *DAY, code=1)
    assert "No such file or directory" in absent.stderr
    undecided = desk / "undecided.toml"
    undecided.write_text(re.sub(r"(?m)^council = .*$", 'council = "?"', LAYOUT))
    said = run("check", desk / "file.csv", "--layout", undecided, *DAY, code=1).stderr
    assert 'still council = "?"' in said


def test_where_all_rows_are_refused_the_columns_are_named(desk):
    rows({"First": "Zyzzyva", "Screened": "01/01/2025"}).write_csv(desk / "bad.csv")
    said = run("check", desk / "bad.csv", "--layout", desk / "layout.toml", *DAY, code=1).stderr
    assert "All rows of the file are refused: DATE_IN_FUTURE in Screened (1)." in said
