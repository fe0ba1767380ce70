"""The command line: what it writes, what it says, how it refuses; in process and as a program of its own."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner, Result

from linker.cli import COMMANDS, app
from linker.files import read_frame

LINKS = ["left_id", "right_id", "match_weight", "match_probability", "outcome", "stage", "rule"]
PAIRS = [name for name in LINKS if name != "outcome"]
CANARY = "ZYZZYVA"  # a surname that must never be shown

FORENAMES = [
    "OLIVIA", "AMELIA", "ISLA", "GEORGE", "NOAH", "ARTHUR", "AVA", "IVY", "FREYA", "LILY", "OSCAR",
    "HARRY", "LEO", "MUHAMMAD", "JACK", "FLORENCE", "WILLOW", "ROSIE", "HENRY", "THEO", "ALFIE", "ARCHIE",
    "EVIE", "ADA", "ZARA", "AISHA", "PRIYA", "RAVI", "OMAR", "CHLOE",
]  # fmt: skip
SURNAMES = [
    "SMITH", "JONES", "TAYLOR", "BROWN", "WILLIAMS", "WILSON", "JOHNSON", "DAVIES", "PATEL", "WRIGHT",
    "WALKER", "WHITE", "HUGHES", "EDWARDS", "GREEN", "HALL", "WOOD", "HARRIS", "LEWIS", "MARTIN", "KHAN",
    "BEGUM", "ALI", "SINGH", "CLARKE", "COOPER", "TURNER", "MORGAN", "OKAFOR",
]  # fmt: skip


def people(size: int) -> list[tuple[str, str, str, str, str]]:
    rng = random.Random(7)
    found = []
    for _ in range(size):
        area, letters = rng.choice(["CB", "AB", "LS", "NG"]), "ABDEFGHJ"
        postcode = f"{area}{rng.randint(1, 9)} {rng.randint(1, 9)}{rng.choice(letters)}{rng.choice(letters)}"
        born = f"{rng.randint(1950, 2015)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        surname = rng.choice([*SURNAMES, CANARY])
        found.append((rng.choice(FORENAMES), surname, born, rng.choice("MF"), postcode))
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """left.csv and right.csv share 200 people, some with a slip; truth.csv has the pairs, both.csv all."""
    folder = tmp_path_factory.mktemp("data")
    rng = random.Random(11)
    everyone = people(500)
    left = [(f"L{i}", *one) for i, one in enumerate(everyone[:300])]
    right = []
    for i, (forename, surname, born, sex, postcode) in enumerate(everyone[100:], start=100):
        slip = rng.random()
        forename = forename[:-1] if slip < 0.1 else forename
        postcode = "" if 0.1 <= slip < 0.2 else postcode
        right.append((f"R{i}", forename, surname, born, sex, postcode))
    rng.shuffle(right)
    columns = ["id", "first_name", "surname", "date_of_birth", "sex", "postcode"]
    other = ["person_id", "forename", "last_name", "dob", "sex", "postcode"]
    pl.DataFrame(left, schema=columns, orient="row").write_csv(folder / "left.csv")
    pl.DataFrame(right, schema=other, orient="row").write_csv(folder / "right.csv")
    both = pl.DataFrame([*left, *right], schema=columns, orient="row")
    both.write_csv(folder / "both.csv")
    truth = pl.DataFrame(
        {"left_id": [f"L{i}" for i in range(100, 300)], "right_id": [f"R{i}" for i in range(100, 300)]}
    )
    truth.write_csv(folder / "truth.csv")
    return folder


def run(*args: object, code: int = 0) -> Result:
    result = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert CANARY not in result.output
    told = [line for line in result.stdout.splitlines() if "pytest-of-" not in line]
    assert all(len(line) <= 80 for line in told) or "--json" in args  # a path is never broken in two
    return result


def document(*args: object, code: int = 0) -> dict[str, Any]:
    found = json.loads(run(*args, "--json", code=code).stdout)
    assert isinstance(found, dict)
    return found


def truth_of(folder: Path) -> set[tuple[str, str]]:
    return set(pl.read_csv(folder / "truth.csv").rows())


# --- link -----------------------------------------------------------------------------------------


def test_two_files_and_nothing_else_give_a_good_answer(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("link", data / "left.csv", data / "right.csv")
    links = pl.read_csv("links.csv")
    assert links.columns == LINKS
    assert set(links["outcome"]) == {"LINKED"}
    found, truth = set(links.select("left_id", "right_id").rows()), truth_of(data)
    assert len(found & truth) > 0.95 * len(truth)
    assert len(found & truth) > 0.98 * len(found)
    for words in (
        "How the columns were understood",
        "last_name",
        "by name",
        "Pairs linked",
        "links.csv",
        "kinlink explain",
    ):
        assert words in result.stdout


@pytest.mark.parametrize("extension", [".parquet", ".csv", ".arrow", ".tsv"])
def test_out_says_the_format(data, tmp_path, extension):
    out = tmp_path / f"links{extension}"
    told = document("link", data / "left.csv", data / "right.csv", "--out", out)
    frame = read_frame(out)
    assert frame.columns == LINKS
    assert told["outputs"]["links"] == str(out)
    assert told["links"] == frame.height
    if extension == ".parquet":
        schema = pl.read_parquet_schema(out)
        assert schema["match_weight"] == schema["match_probability"] == pl.Float64
        assert {schema[name] for name in ("left_id", "right_id", "outcome", "stage", "rule")} == {pl.String}


def test_all_pairs_threshold_cardinality_and_threads(data, tmp_path):
    out, pairs = tmp_path / "l.parquet", tmp_path / "p.parquet"
    files = (data / "left.csv", data / "right.csv", "--out", out)
    document("link", *files, "--all-pairs", pairs, "--threads", 1)
    scored, linked = pl.read_parquet(pairs), pl.read_parquet(out)
    assert scored.columns == PAIRS
    assert scored.height >= linked.height
    assert scored["match_weight"].min() >= -10.0  # type: ignore[operator]
    document("link", *files, "--threads", 2)
    assert pl.read_parquet(out).equals(linked)
    told = document("link", *files, "--threshold", 15)
    assert told["threshold"] == 15
    assert pl.read_parquet(out)["match_weight"].min() >= 15  # type: ignore[operator]
    for option in ("--one-to-one", "--many-to-one", "--many-to-many"):
        document("link", *files, option)
        links = pl.read_parquet(out)
        if option != "--many-to-many":
            assert links["left_id"].is_unique().all()
        if option == "--one-to-one":
            assert links["right_id"].is_unique().all()


def test_review_pairs_and_refusals_stand_beside_the_output(data, tmp_path):
    left = read_frame(data / "left.csv").with_columns(
        postcode=pl.when(pl.col("id") == "L3").then(pl.lit("ZZ99 3VZ")).otherwise("postcode"),
        id=pl.when(pl.col("id") == "L5")
        .then(None)
        .otherwise("id"),  # named below: else it would be no id column
    )
    left.write_csv(tmp_path / "left.csv")
    out = tmp_path / "links.csv"
    told = document("link", tmp_path / "left.csv", data / "right.csv", "--out", out, "--id", "id")
    refusals = pl.read_csv(tmp_path / "links.refusals.csv")
    assert refusals.columns == ["file", "row", "field", "reason", "refused"]
    assert {(row, refused) for _, row, _, _, refused in refusals.rows()} >= {(4, False), (6, True)}
    assert told["refusals"]
    review = tmp_path / "links.review.csv"
    assert review.exists() == (told["review"] > 0)
    if review.exists():
        assert pl.read_csv(review).columns == LINKS
        assert set(pl.read_csv(review)["outcome"]) <= {"REVIEW", "AMBIGUOUS"}
    # A clean run after it leaves no refusals of the run before.
    run("link", data / "left.csv", data / "right.csv", "--out", out)
    assert not (tmp_path / "links.refusals.csv").exists()


def test_ids_maps_and_ignored_columns(data, tmp_path):
    left = read_frame(data / "left.csv").rename({"surname": "x1", "id": "key"})
    year, month, day = (pl.col("date_of_birth").str.split("-").list.get(place) for place in range(3))
    left = left.with_columns(by=year, bm=month, bd=day).drop("date_of_birth")
    left.write_csv(tmp_path / "left.csv")
    told = document(
        "link", tmp_path / "left.csv", data / "right.csv", "--out", tmp_path / "l.csv",
        "--id", "key", "--id", "person_id",
        "--map", "surname=x1,date_of_birth=by+bm+bd", "--map", "surname=last_name", "--ignore", "sex",
    )  # fmt: skip
    first, second = told["files"]
    understood = {field["field"]: field["columns"] for field in first["fields"]}
    assert understood["surname"] == ["x1"]
    assert understood["date_of_birth"] == ["by", "bm", "bd"]
    assert (first["id_column"], second["id_column"]) == ("key", "person_id")
    assert "sex" not in {field["field"] for side in (first, second) for field in side["fields"]}
    found = set(pl.read_csv(tmp_path / "l.csv").select("left_id", "right_id").rows())
    assert len(found & truth_of(data)) > 180


def test_without_ids_the_row_number_serves_and_is_told(data, tmp_path):
    read_frame(data / "left.csv").drop("id").write_csv(tmp_path / "left.csv")
    result = run("link", tmp_path / "left.csv", data / "right.csv", "--out", tmp_path / "l.csv")
    assert "row number" in result.stdout
    links = pl.read_csv(tmp_path / "l.csv", infer_schema=False)
    true = {(str(int(a[1:]) + 1), b) for a, b in truth_of(data)}
    assert len(set(links.select("left_id", "right_id").rows()) & true) > 180


# --- dedupe, train, model, explain, evaluate, report -----------------------------------------------


def test_dedupe_gives_every_record_a_cluster(data, tmp_path):
    out, pairs = tmp_path / "clusters.parquet", tmp_path / "pairs.parquet"
    told = document("dedupe", data / "both.csv", "--out", out, "--pairs", pairs)
    clusters = pl.read_parquet(out)
    assert clusters.columns == ["record_id", "cluster_id"]
    assert set(clusters["record_id"]) == set(read_frame(data / "both.csv")["id"])
    assert pl.read_parquet(pairs).columns == LINKS
    assert told["clusters"]["persons"] == clusters["cluster_id"].n_unique()
    quality = document("evaluate", out, "--truth", data / "truth.csv", "--within")["quality"]
    assert quality["recall"] > 0.9
    assert quality["precision"] > 0.9
    result = run("dedupe", data / "both.csv", "--out", out)
    assert "(replaced)" in result.stdout


def test_dedupe_takes_several_files_together(data, tmp_path):
    out = tmp_path / "clusters.csv"
    document("dedupe", data / "left.csv", data / "right.csv", data / "left.csv", "--out", out)
    clusters = pl.read_csv(out)
    joined = dict(clusters.rows())
    assert len(joined) == sum(
        read_frame(data / name).height for name in ("left.csv", "right.csv", "left.csv")
    )
    assert all(joined[f"1:L{i}"] == joined[f"3:L{i}"] for i in range(300))
    together = sum(joined[f"1:{left}"] == joined[f"2:{right}"] for left, right in truth_of(data))
    assert together > 180
    thrice = ["dedupe", *[data / "left.csv"] * 3, "--id", "id", "--id", "id"]
    assert "--id is given 2 times" in run(*thrice, code=2).stderr


def test_a_model_is_trained_shown_checked_and_used(data, tmp_path):
    model, out = tmp_path / "model.json", tmp_path / "l.csv"
    files = (data / "left.csv", data / "right.csv")
    told = document("train", *files, "--out", model)
    assert told["training"]["method"] == "em"
    shown = run("model", "show", model)
    assert "surname" in shown.stdout
    digest = document("model", "show", model)["model"]["digest"]
    assert document("model", "check", model)["usable"] is True
    assert "can score" in run("model", "check", model).stdout
    assert document("link", *files, "--out", out, "--model", model)["model"] == digest
    words = run("train", *files, "--out", model).stdout
    assert "settle" in words
    assert "(replaced)" in words
    truth_labels = pl.read_csv(data / "truth.csv").with_columns(match=pl.lit(1))
    wrong = truth_labels.with_columns(right_id=pl.col("right_id").reverse(), match=pl.lit(0)).filter(
        pl.int_range(pl.len()) != pl.len() // 2
    )
    pl.concat([truth_labels, wrong]).write_csv(tmp_path / "labels.csv")
    told = document("train", *files, "--out", model, "--labels", tmp_path / "labels.csv")
    assert told["training"]["method"] == "labels"


def test_explain_adds_up_and_shows_values_only_when_asked(data, tmp_path):
    files = (data / "left.csv", data / "right.csv")
    model = tmp_path / "model.json"
    run("train", *files, "--out", model)
    told = document("explain", *files, "--pair", "L150,R150", "--model", model)
    steps = told["explanation"]["steps"]
    total = told["explanation"]["prior"] + sum(step["weight"] + step["frequency"] for step in steps)
    assert total == pytest.approx(told["explanation"]["weight"], abs=1e-9)
    assert steps[-1]["total"] == told["explanation"]["weight"]
    assert all("left" not in step for step in steps)
    born = (
        read_frame(data / "left.csv").filter(pl.col("id") == "L150")["date_of_birth"].item().replace("-", "")
    )
    assert born not in run("explain", *files, "--pair", "L150,R150", "--model", model).stdout
    assert born in run("explain", *files, "--pair", "L150,R150", "--model", model, "--values").stdout
    assert "first id" in run("explain", *files, "--pair", "Q,R150", "--model", model, code=1).stderr
    assert "second id" in run("explain", *files, "--pair", "L150,Q", "--model", model, code=1).stderr
    run("explain", *files, "--pair", "L150", "--model", model, code=2)
    run("explain", data / "both.csv", "--pair", "L150,R150", "--seed", 3)


def test_evaluate_pairs_and_entities(data, tmp_path):
    out, pairs = tmp_path / "l.csv", tmp_path / "p.csv"
    files = (data / "left.csv", data / "right.csv")
    document("link", *files, "--out", out, "--all-pairs", pairs)
    by_pairs = document("evaluate", out, "--truth", data / "truth.csv")["quality"]
    links, truth = set(pl.read_csv(out).select("left_id", "right_id").rows()), truth_of(data)
    assert (by_pairs["tp"], by_pairs["fp"]) == (len(links & truth), len(links - truth))
    entities = pl.DataFrame([(side, i, i) for side in "LR" for i in range(500)], orient="row")
    entities = entities.select(record_id=pl.format("{}{}", "column_0", "column_1"), entity_id="column_2")
    known = [*read_frame(files[0])["id"], *read_frame(files[1])["person_id"]]
    entities.filter(pl.col("record_id").is_in(known)).write_csv(tmp_path / "entities.csv")
    told = document(
        "evaluate", out, "--truth", tmp_path / "entities.csv",
        "--left", files[0], "--right", files[1], "--all-pairs", pairs,
    )  # fmt: skip
    assert told["quality"] == by_pairs
    assert told["thresholds"]
    assert "95% interval" in run("evaluate", out, "--truth", data / "truth.csv", "--all-pairs", pairs).stdout


def test_the_report_opens_offline_and_holds_no_person(data, tmp_path):
    page = tmp_path / "report.html"
    document("link", data / "left.csv", data / "right.csv", "--out", tmp_path / "l.csv", "--report", page)
    html, figures = page.read_text(), json.loads((tmp_path / "report.json").read_text())
    assert html.startswith("<!DOCTYPE html>")
    assert "http" not in html.replace("http-equiv", "")
    assert "<script" not in html
    assert figures["links"] == pl.read_csv(tmp_path / "l.csv").height
    assert sum(band["linked"] for band in figures["weights"]) == figures["links"]
    for name in ("left.csv", "right.csv"):
        for row in read_frame(data / name).drop("sex").rows():
            for value in row:
                assert value is None or f">{value}<" not in html
    assert CANARY not in html + json.dumps(figures)
    dedupe = tmp_path / "dedupe.html"
    document("dedupe", data / "both.csv", "--out", tmp_path / "c.csv", "--report", dedupe)
    assert "Deduplication report" in dedupe.read_text()
    # An older report is replaced; a page of somebody else is not.
    document("dedupe", data / "both.csv", "--out", tmp_path / "c.csv", "--report", dedupe)
    page.write_text("<html>mine</html>")
    assert (
        "not such an output"
        in run("dedupe", data / "both.csv", "--out", tmp_path / "c.csv", "--report", page, code=1).stderr
    )


# --- wrong input, wrong usage ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"id,surname\n", "no rows"),
        (b"id,surname,id\n1,ZYZZYVA,2\n", "same name"),
        (b"id,surname\n1,ZYZZYVA\xe9\n", "Windows-1252"),
        (b"id,surname\n1,ZYZZYVA,x\n", "3 values"),
        (b'id,surname\n1,"ZYZZYVA\n', "never closed"),
        (b"id,surname\n1,ZYZ\0ZYVA\n", "NUL"),
        (b"id,surname\n1," + b"Z" * 10_000_000, "1,000,000 bytes"),
        (b"PK\x03\x04 xl/workbook", "spreadsheet"),
        (b"PAR1 and nothing else", "Parquet"),
    ],
)
def test_bad_files_fail_in_two_sentences(data, tmp_path, content, words):
    path = tmp_path / "bad.csv"
    if content is not None:
        path.write_bytes(content)
    result = run("link", path, data / "right.csv", "--out", tmp_path / "l.csv", code=1)
    assert words in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stdout == ""
    assert not (tmp_path / "l.csv").exists()
    error = document("dedupe", path, "--out", tmp_path / "l.csv", code=1)["error"]
    assert words in error["message"]
    assert error["reason"] == "FILE_INVALID"
    assert error["help"]


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("lnk",),
        ("link",),
        ("link", "LEFT"),
        ("link", "LEFT", "RIGHT", "--threshold", "high"),
        ("link", "LEFT", "RIGHT", "--map", "surname"),
        ("link", "LEFT", "RIGHT", "--map", "surname="),
        ("link", "LEFT", "RIGHT", "--one-to-one", "--many-to-many"),
        ("link", "LEFT", "RIGHT", "--id", "a", "--id", "b", "--id", "c"),
        ("link", "LEFT", "RIGHT", "--out", "o.csv", "--report", "o.csv"),
        ("link", "LEFT", "RIGHT", "--threads", "0"),
        ("evaluate", "LEFT"),
        ("explain", "LEFT", "RIGHT"),
        ("submit", "LEFT"),
    ],
)
def test_wrong_usage_has_exit_code_2(data, tmp_path, monkeypatch, args):
    monkeypatch.chdir(tmp_path)
    names = {"LEFT": str(data / "left.csv"), "RIGHT": str(data / "right.csv")}
    run(*(names.get(arg, arg) for arg in args), code=2)
    assert list(tmp_path.iterdir()) == []


def test_columns_that_are_not_there(data, tmp_path):
    files = (data / "left.csv", data / "right.csv", "--out", tmp_path / "l.csv")
    for option in (("--map", "surname=absent"), ("--ignore", "absent"), ("--id", "absent")):
        error = run("link", *files, *option, code=1).stderr
        assert "absent" in error
        assert "first_name" in error
    assert "gender_of_ship" in run("link", *files, "--map", "gender_of_ship=sex", code=1).stderr


def test_inputs_and_other_peoples_files_are_never_replaced(data, tmp_path):
    left = tmp_path / "left.csv"
    left.write_bytes((data / "left.csv").read_bytes())
    (tmp_path / "mine.csv").write_text("keep,this\n1,2\n")
    (tmp_path / "model.json").write_text("{}")
    assert "is an input" in run("link", left, data / "right.csv", "--out", left, code=1).stderr
    assert (
        "not such an output"
        in run("link", left, data / "right.csv", "--out", tmp_path / "mine.csv", code=1).stderr
    )
    assert "not such an output" in run("train", left, "--out", tmp_path / "model.json", code=1).stderr
    assert (tmp_path / "mine.csv").read_text() == "keep,this\n1,2\n"
    assert left.read_bytes() == (data / "left.csv").read_bytes()
    assert (
        "no table format"
        in run("link", left, data / "right.csv", "--out", tmp_path / "l.xlsx", code=1).stderr
    )


def test_a_file_that_is_no_model(data, tmp_path):
    (tmp_path / "m.json").write_text("{}")
    assert run("model", "show", tmp_path / "m.json", code=1).stderr.startswith("Error: ")
    assert run("model", "check", tmp_path / "absent.json", code=1).stderr.startswith("Error: ")
    run(
        "link",
        data / "left.csv",
        data / "right.csv",
        "--out",
        tmp_path / "l.csv",
        "--model",
        tmp_path / "m.json",
        code=1,
    )


def test_an_unreachable_service_is_said_so(data, tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    common = ("--service", "localhost:1", "--project", "p", "--purpose", "q")
    run("job", "list", *common, "--cert", tmp_path / "ca.pem", code=2)
    assert "does not exist" in run("job", "list", *common, "--ca", tmp_path / "absent.pem", code=1).stderr


# --- as a program ----------------------------------------------------------------------------------


def program(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from linker.cli import main; main()", *map(str, args)],
        capture_output=True, text=True, timeout=240, check=False, env={**os.environ, "COLUMNS": "80", **env},
    )  # fmt: skip


def test_the_program_keeps_the_streams_apart_and_its_exit_codes(data, tmp_path):
    done = program("link", data / "left.csv", data / "right.csv", "--out", tmp_path / "l.parquet", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["links"] > 180
    assert "\x1b[" not in done.stdout + done.stderr
    failed = program("dedupe", tmp_path / "absent.csv")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert len(failed.stderr.splitlines()) == 2
    assert program("link").returncode == 2
    ascii_only = program("dedupe", data / "both.csv", "--out", tmp_path / "c.csv", PYTHONIOENCODING="ascii")
    assert ascii_only.returncode == 0, ascii_only.stderr


def test_submit_and_job_do_the_same_work_at_a_service(data, tmp_path, monkeypatch):
    root, port = Path(__file__).parent.parent, tmp_path / "port"
    server = subprocess.Popen(
        [sys.executable, "server.py", "--data", str(tmp_path / "store"), "--listen", "127.0.0.1:0",
         "--port-file", str(port)],
        cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(600):
            if port.exists() and port.read_text().strip():
                break
            time.sleep(0.1)
        monkeypatch.setenv("KINLINK_SERVICE", f"127.0.0.1:{port.read_text().strip()}")
        monkeypatch.setenv("KINLINK_PROJECT", "families")
        monkeypatch.setenv("KINLINK_PURPOSE", "test")
        sent = [
            document("submit", data / f"{name}.csv", "--batch", name, "--source", "E06000023")["submission"]
            for name in ("left", "right")
        ]
        assert [one["rows"] for one in sent] == [300, 400]
        assert (
            "last_name"
            in run("submit", data / "right.csv", "--batch", "right", "--source", "E06000023").stdout
        )
        job = document("job", "link", *(one["submission_id"] for one in sent))["job"]["job_id"]
        assert document("job", "wait", job)["job"]["state"] == "succeeded"
        assert job in run("job", "list").stdout
        run("job", "read", job, "--out", tmp_path / "there.csv")
        run("link", data / "left.csv", data / "right.csv", "--out", tmp_path / "here.csv")
        assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
        assert "no such job" in run("job", "show", "absent", code=1).stderr
    finally:
        server.terminate()
        server.wait(30)


def test_a_damaged_parquet_file_leaves_no_trace_of_the_reader(tmp_path):
    path = tmp_path / "bad.parquet"
    pl.DataFrame({"id": [str(i) for i in range(1000)], "surname": [CANARY] * 1000}).write_parquet(path)
    content = bytearray(path.read_bytes())
    content[60:-60:9] = b"x" * len(content[60:-60:9])
    path.write_bytes(content)
    done = program("dedupe", path, "--out", tmp_path / "c.csv")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "panicked" not in done.stderr
    assert CANARY not in done.stderr


def test_help_loads_neither_the_engine_nor_grpc():
    heavy = ("polars", "numpy", "numba", "scipy", "pandas", "sklearn", "recordlinkage", "grpc", "sqlalchemy")
    code = (
        "import sys; from linker.cli import main\n"
        "try: main()\n"
        f"except SystemExit: sys.exit(','.join(name for name in {heavy} if name in sys.modules) or 0)"
    )
    for words in ("--help", "--version", "no-such-command"):
        done = subprocess.run(
            [sys.executable, "-c", code, words], capture_output=True, text=True, check=False
        )
        assert (done.returncode, words in done.stderr) == (0, words == "no-such-command"), done.stderr


def test_the_list_of_commands_says_what_the_commands_say():
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    for name, (_, _, words) in COMMANDS.items():
        told = group.commands[name].help
        assert told is not None
        assert told.split("\n\n")[0].split("\n")[0] == words
        assert words in " ".join(run("--help").stdout.replace("│", " ").split())


def test_the_package_offers_functions_under_the_names_of_modules():
    code = (
        "import linker.train, linker.explain, linker.evaluate, types\n"
        "offered = {name: getattr(linker, name) for name in linker.__all__}\n"
        "assert not any(isinstance(one, types.ModuleType) for one in offered.values())\n"
        "assert set(offered) <= set(dir(linker))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("option", "text"), [("--day", "31/12/2024"), ("--since", "2024-13-01")])
def test_a_day_is_asked_for_in_its_form(option, text):
    words = ["register", "link", "sub-1", "--register", "npd", "--day", "2024-12-31", option, text]
    result = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, [*words, *AT])
    assert result.exit_code == 2
    assert "YYYY-MM-DD" in result.stderr
    assert "%Y" not in result.stderr


AT = ("--service", "localhost:1", "--project", "p", "--purpose", "x")
