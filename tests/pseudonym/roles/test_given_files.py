"""Files that officers name: what is wrong with one is told, and nothing of what stands in it."""

from __future__ import annotations

import pytest

from pseudonym.counted import count
from pseudonym.errors import InputError
from pseudonym.roles.commands import rows_of
from pseudonym.roles.commands_erase import read_people

COLUMNS = ("field", "value")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "here.csv, cannot be read: No such file"),
        (b"\xff\xfe\x00", "not in UTF-8"),
        (b"", "is empty"),
        (b"field,Ellis\na,b\n", "names other columns than it can have"),
        (b"field\na\n", "names other columns than it can have"),
        (b"field,value,value\nnhs,Ellis,\n", "names a column twice"),
        (b"field,value\naddress,1 High Street, Ellis\n", "Row 1 of the file of corrections has more values"),
        (b"field,value\nsurname,Ellis\n\nnhs\n", "Row 2 of the file of corrections has fewer values"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_and_no_value_of_it(content, said, tmp_path):
    path = tmp_path / "here.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        rows_of(path, "corrections", COLUMNS, all_of_them=True)
    assert said in str(caught.value)
    assert "Ellis" not in str(caught.value)


def test_a_file_that_a_spreadsheet_saved_is_read_and_one_that_names_nobody_is_told(tmp_path):
    path = tmp_path / "people.csv"
    path.write_bytes(b"\xef\xbb\xbfborn,nhs\r\n2011-02-03,9434765919\r\n")
    assert [(one.born, one.nhs) for one in read_people(path)] == [("2011-02-03", "9434765919")]
    path.write_text("born,nhs\n")
    with pytest.raises(InputError, match="names nobody"):
        read_people(path)


def test_a_value_may_have_several_lines_and_no_other_sign_ends_a_row(tmp_path):
    path = tmp_path / "here.csv"
    path.write_bytes('field,value\r\naddress,"1 High St\nEly"\r\nsurname,A\x85B\u2028C\r\nnhs,\r\n'.encode())
    read = rows_of(path, "corrections", COLUMNS, all_of_them=True)
    assert [tuple(row.values()) for row in read] == [
        ("address", "1 High St\nEly"), ("surname", "A\x85B\u2028C"), ("nhs", "")
    ]  # fmt: skip


def test_one_is_one_and_others_are_several():
    assert [count(number, "person") for number in (0, 1, 2, 12_000)] == [
        "0 persons", "1 person", "2 persons", "12,000 persons"
    ]  # fmt: skip
    assert count(1, "person has", "persons have") == "1 person has"
    assert count(3, "family", "families") == "3 families"


def test_a_quotation_mark_that_is_never_closed_is_told(tmp_path):
    file = tmp_path / "people.csv"
    file.write_text('surname\n"' + "a\n" * 70_000)
    with pytest.raises(InputError, match="quotation mark is not closed"):
        rows_of(file, "people", ["surname"])
