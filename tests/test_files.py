"""Files in and out: what is read, what is refused and in which words, and that nothing is half written."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import os
import zipfile
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from linker import csv_scan
from linker.csv_scan import CELL_LIMIT
from linker.errors import FileError
from linker.files import beside, check_writable, read_frame, read_parts, write_frame, write_text

CANARY = "Zyzzyva"  # a value of a person; must never be in a message


def put(folder: Path, content: bytes | str, name: str = "people.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path: Path) -> FileError:
    with pytest.raises(FileError) as caught:
        read_frame(path)
    error = caught.value
    assert CANARY not in str(error)
    assert error.help
    assert error.__suppress_context__ or error.__context__ is None
    return error


# --- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_text_in_every_dialect(tmp_path, separator, bom, end):
    odd = f"O{separator}Neil"
    rows = [
        ["id", "name", "note"],
        ["007", "Zoë", ""],
        ["8", odd, '  say "hi"'],
        ["9", "  ", "x\ny"],
    ]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=separator, lineterminator=end).writerows(rows)
    frame = read_frame(put(tmp_path, bom + buffer.getvalue().encode()))
    assert frame.schema == dict.fromkeys(["id", "name", "note"], pl.String)
    assert frame.rows() == [
        ("007", "Zoë", None),
        ("8", odd, '  say "hi"'),
        ("9", None, "x\ny"),
    ]


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8)


def blank(cell: str) -> bool:
    """White space only, as Unicode has it; Python adds four separators, which are characters here."""
    return all(character.isspace() and character not in "\x1c\x1d\x1e\x1f" for character in cell)


@settings(max_examples=60, deadline=None)
@example([("", "\x1f")], 7)
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8), st.sampled_from([7, 64, 1 << 23]))
def test_whatever_the_csv_module_writes_is_read_back(tmp_path_factory, rows, block):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    path = put(tmp_path_factory.mktemp("any"), buffer.getvalue())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_scan, "BLOCK", block)
        frame = read_frame(path)
    assert frame.rows() == [tuple(None if blank(cell) else cell for cell in row) for row in rows]


def test_quotation_marks_in_the_middle_are_characters_where_no_value_is_quoted(tmp_path):
    frame = read_frame(put(tmp_path, 'id,house\n1,Flat 2 "The Elms"\n2,5" lane\n'))
    assert frame["house"].to_list() == ['Flat 2 "The Elms"', '5" lane']


def test_blank_lines_at_the_end_are_no_rows_and_in_the_middle_keep_the_row_numbers(tmp_path):
    path = put(tmp_path, "a,b\n1,2\n\n3,4\n\r\n\n")
    assert read_frame(path).rows() == [
        ("1", "2"),
        (None, None),
        ("3", "4"),
    ]


def test_a_column_without_a_name_is_named_by_its_place(tmp_path):
    assert read_frame(put(tmp_path, ",name\n0,x\n")).columns == ["column_1", "name"]


def test_columns_of_every_type_become_the_text_a_person_would_write(tmp_path):
    frame = pl.DataFrame(
        {
            "whole": [1.0, None, -3.0],
            "part": [1.5, float("nan"), 2.0],
            "big": [9007199254740993, None, 1],
            "day": [dt.date(2001, 2, 3), None, dt.date(1999, 12, 31)],
            "moment": [dt.datetime(2001, 2, 3), None, dt.datetime(2001, 2, 3, 4, 5, 6)],
            "money": [Decimal("1.50"), None, Decimal("20.00")],
            "flag": [True, None, False],
            "kind": pl.Series(["a", None, " "], dtype=pl.Categorical),
            "none": pl.Series([None, None, None], dtype=pl.Null),
        }
    )
    for name, write in (
        ("x.parquet", frame.write_parquet),
        ("x.arrow", frame.write_ipc),
        ("y.arrow", frame.write_ipc_stream),
        ("x.feather", frame.write_ipc),
        ("x.arrows", frame.write_ipc_stream),
    ):
        write(tmp_path / name)
        read = read_frame(tmp_path / name)
        assert set(read.dtypes) == {pl.String}
        assert read.rows() == [
            ("1", "1.5", "9007199254740993", "2001-02-03", "2001-02-03", "1.5", "true", "a", None),
            (None,) * 9,
            ("-3", "2", "1", "1999-12-31", "2001-02-03T04:05:06", "20", "false", None, None),
        ]


def test_content_decides_where_the_name_says_nothing(tmp_path):
    pl.DataFrame({"a": ["1"]}).write_parquet(tmp_path / "records")
    assert read_frame(tmp_path / "records").rows() == [("1",)]


def test_names_with_wildcards_are_plain_names(tmp_path):
    put(tmp_path, "a,b\n1,2\n", "peopl1.csv")
    assert read_frame(put(tmp_path, "a,b\n3,4\n", "peopl[1].csv")).rows() == [("3", "4")]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n \n", "blank"),
        (b"id,name\n", "no rows"),
        (b"id,name\n\n\n", "no rows"),
        (b"id,name,id\n1,Zyzzyva,2\n", "columns 1 and 3"),
        (b"Zyzzyva,Zyzzyva\nx,y\n", "columns 1 and 2"),
        (b"1,Zyzzyva,1980-02-01\n2,x,1981-01-01\n", "no header"),
        (b"id,name\n1,x\n2,Zyzzyva\xe9\n", r"row 2 \(line 3 of the file\).*Windows-1252"),
        (b"id,name\n1,x\n2,Zyzzyva\xe9\x81\n", r"row 2 \(line 3 of the file\)\. Save"),
        (b'id,name\n1,"a\nb"\n2,Zyzzyva\xff\n', r"row 2 \(line 4 of the file\)"),
        (b"id,name\n1,x,y\n", r"row 1 \(line 2 of the file\) has 3 values where the header has 2"),
        (b"id,name\n1,x\n2\n3,x\n4\n", r"row 2 \(line 3 of the file\) has 1 value where.*2 rows do not fit"),
        (b'id,name\n1,"a\nb"\n2,Zyzzyva,x\n', r"row 2 \(line 4 of the file\) has 3"),
        (b'id,name\n1,"x"\n2,"Zyzzyva\n3,y\n', r"mark at row 2 \(line 3.*never closed"),
        (b'id,name\n1,"x"\n2,"Zyzzyva\n3,"y"\n', r"stray or unclosed quotation mark by row 2"),
        (b'id,name\n1,"x"\n2,Zyz"zyva\n3,y\n', r"stray or unclosed quotation mark by row 2"),
        (b'id,name\n1,"x"y\n', r"stray or unclosed quotation mark by row 1"),
        (b"id,name\n1,x\n2,Zyzz\0yva\n", r"NUL byte at row 2 \(line 3"),
        (b"id,name\r1,x\r2,y\r", "carriage returns"),
        (b'id,name\n1,x\n2,"' + b"Z" * 10_000_000 + b'"\n', r"1,000,000 bytes at row 2 \(line 3"),
        (b"id,name\n1,x\n2," + b"Z" * 10_000_000, r"1,000,000 bytes at row 2 \(line 3"),
        (b"{\"id\": 1}\n", "JSON"),
        (b"<html>", "HTML"),
        (b"%PDF-1.7\n%abc", "PDF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1....", "old Excel"),
        ("id,name\n1,x\n".encode("utf-16"), "UTF-16"),
        (gzip.compress(b"id,name\n1,x\n", mtime=0), "gzip"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("block", [16, 1 << 23])
def test_bad_text_is_refused_in_words_that_help(tmp_path, monkeypatch, content, words, block):
    if len(content) > 1_000_000 and block == 16:
        block = 1 << 16
    monkeypatch.setattr(csv_scan, "BLOCK", block)
    path = put(tmp_path, content)
    with pytest.raises(FileError, match=words):
        read_frame(path)
    refusal(path)


def test_a_value_of_just_the_limit_is_read(tmp_path):
    assert read_frame(put(tmp_path, "id,name\n1," + "x" * CELL_LIMIT + "\n")).height == 1


def test_a_workbook_or_zip_named_csv_is_told_so(tmp_path):
    for inner, words in (("xl/workbook.xml", "spreadsheet"), ("people.csv", "zip file")):
        with zipfile.ZipFile(tmp_path / "people.csv", "w") as archive:
            archive.writestr(inner, CANARY)
        assert words in refusal(tmp_path / "people.csv").message


def test_names_that_are_no_readable_file(tmp_path):
    assert "does not exist" in refusal(tmp_path / "absent.csv").message
    assert "directory" in refusal(tmp_path).message
    assert "no known kind" in refusal(put(tmp_path, "a,b\n1,2\n", "people.xyz")).message
    assert "no known kind" in refusal(put(tmp_path, "a,b\n1,2\n", "people")).message


def test_a_file_that_is_not_what_its_name_says(tmp_path):
    frame = pl.DataFrame({"a": [CANARY]})
    frame.write_parquet(tmp_path / "a.csv")
    frame.write_ipc(tmp_path / "a.parquet")
    frame.write_csv(tmp_path / "a.arrow")
    assert "is a Parquet file, not text" in refusal(tmp_path / "a.csv").message
    assert "is an Arrow file, not a Parquet file" in refusal(tmp_path / "a.parquet").message
    assert "does not hold one" in refusal(tmp_path / "a.arrow").message


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.arrows"])
def test_every_truncation_and_flipped_byte_is_refused_or_read_never_a_crash(tmp_path, name, capfd):
    frame = pl.DataFrame({"a": [CANARY, "x"] * 50, "b": range(100)})
    path = tmp_path / name
    write_frame(frame, path)
    whole = path.read_bytes()
    for size in [*range(1, len(whole), max(1, len(whole) // 40)), len(whole) - 8, len(whole) - 1]:
        path.write_bytes(whole[:size])
        refusal(path)
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        try:
            read_frame(path)
        except FileError as error:
            assert CANARY not in str(error)  # noqa: PT017 - a flipped byte may also be read, as another value


def test_nested_columns_are_refused_by_name(tmp_path):
    pl.DataFrame({"ok": ["x"], "aliases": [[CANARY]], "raw": [b"x"]}).write_parquet(tmp_path / "a.parquet")
    error = refusal(tmp_path / "a.parquet")
    assert "aliases, raw" in error.message


def test_columnar_files_without_rows_or_with_oversized_values(tmp_path):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"a": pl.Series([], dtype=pl.String)}).write_parquet(path)
    assert "no rows" in refusal(path).message
    pl.DataFrame({"a": ["x", "y" * (CELL_LIMIT + 1)]}).write_parquet(path)
    assert "in row 2" in refusal(path).message
    pl.DataFrame({"a": ["x", "y\0"]}).write_parquet(path)
    assert "NUL character in row 2" in refusal(path).message


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.arrows"])
@pytest.mark.parametrize("bad", ["\0", "y" * (CELL_LIMIT + 1)], ids=["NUL", "long"])
def test_a_row_that_is_refused_in_a_later_part_has_its_number_in_the_file(tmp_path, name, bad):
    names = [f"{CANARY} {number}" for number in range(25)]
    names[17] = CANARY + bad
    write_frame(pl.DataFrame({"a": names}), tmp_path / name)
    parts = read_parts(tmp_path / name, 10)
    assert next(parts)["a"].to_list() == names[:10]
    with pytest.raises(FileError, match=r"in row 18\.") as caught:
        next(parts)
    assert CANARY not in str(caught.value)
    assert caught.value.message == refusal(tmp_path / name).message


# --- what is written ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["o.csv", "o.tsv", "o.parquet", "o.arrow", "o.arrows", "o.ipc", "O.PARQUET"])
def test_a_frame_written_is_read_back(tmp_path, name):
    frame = pl.DataFrame({"left_id": ["1", 'a,"b"'], "match_weight": ["1.25", None]})
    write_frame(frame.clear(), tmp_path / name)
    write_frame(frame, tmp_path / name)
    assert read_frame(tmp_path / name).equals(frame)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o177])
def test_what_is_written_is_its_owners_alone_whatever_the_umask(tmp_path, umask):
    links, report = tmp_path / "links.parquet", put(tmp_path, "old", "report.html")
    report.chmod(0o644)
    before = os.umask(umask)
    try:
        write_frame(pl.DataFrame({"left_id": ["a"]}), links)
        write_text("new", report)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (links, report)} == {0o600}


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch):
    path = tmp_path / "o.csv"
    write_text("old", path)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_csv", fail)
    with pytest.raises(FileError, match="No space left"):
        write_frame(pl.DataFrame({"a": [1]}), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written(tmp_path):
    frame = pl.DataFrame({"a": [1]})
    for path, words in (
        (tmp_path / "o.xlsx", "names no table format"),
        (tmp_path / "o", "no extension"),
        (tmp_path / "absent" / "o.csv", "not a directory"),
    ):
        with pytest.raises(FileError, match=words):
            write_frame(frame, path)
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(FileError, match="is a directory"):
        check_writable(tmp_path / "d.csv")


def test_companions_stand_beside_the_output():
    assert beside("out/links.parquet", "review") == Path("out/links.review.parquet")
