"""A declaration in TOML is the declaration that the same words make in Python, or is refused by name."""

from __future__ import annotations

import pytest

from pseudonym.dataset_file import read_dataset
from pseudonym.datasets import Column, Dataset, Kind, Tag
from pseudonym.errors import InputError

WHOLE = """
name = "families"
[columns.problems]
kind = "integer"
least = -1
most = 6
[columns.arrears]
kind = "decimal"
places = 2
least = 0.5
most = 99999.99
[columns.offence]
kind = "code"
codes = ["none", "caution"]
tags = ["criminal-offence", "special-category"]
[columns.since]
kind = "year"
least = 1990
most = 2030
[columns.seen]
kind = "month"
"""


def declared(tmp_path, text):
    path = tmp_path / "families.toml"
    path.write_text(text, encoding="utf-8")
    return read_dataset(path)


def test_every_kind_is_read_as_it_stands(tmp_path):
    assert declared(tmp_path, WHOLE) == Dataset(
        "families",
        (
            Column("problems", Kind.INTEGER, -1, 6),
            Column("arrears", Kind.DECIMAL, 50, 9_999_999, 2),
            Column(
                "offence",
                Kind.CODE,
                codes=("none", "caution"),
                tags=frozenset({Tag.SPECIAL_CATEGORY, Tag.CRIMINAL_OFFENCE}),
            ),
            Column("since", Kind.YEAR, 1990, 2030),
            Column("seen", Kind.MONTH),
        ),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "no TOML"),
        ('name = "families"', "a table for each column"),
        ('name = "families"\nowner = "x"\n[columns.a]\nkind = "flag"', "nothing else"),
        ('name = 7\n[columns.a]\nkind = "flag"', "is a text"),
        ('name = "x"\n[columns.a]\nkind = "text"', "integer, decimal"),
        ('name = "x"\n[columns.a]\nkind = "flag"\nhigh = 3', "Column a"),
        ('name = "x"\n[columns]\na = 3', "Column a"),
        ('name = "x"\n[columns.a]\nkind = "integer"\nleast = 1', "no bounds"),
        ('name = "x"\n[columns.a]\nkind = "integer"\nleast = 1.5\nmost = 3', "decimal places"),
        ('name = "x"\n[columns.a]\nkind = "integer"\nleast = true\nmost = 3', "no number"),
        ('name = "x"\n[columns.a]\nkind = "decimal"\nplaces = 1\nleast = nan\nmost = 3', "no number"),
        ('name = "x"\n[columns.a]\nkind = "integer"\nleast = 1e999\nmost = 3', "no number"),
        ('name = "x"\n[columns.a]\nkind = "code"\ncodes = [1]', "no list of texts"),
        ('name = "x"\n[columns.a]\nkind = "code"\ncodes = ["a"]\ntags = ["secret"]', "special-category"),
        ('name = "x"\n[columns.surname]\nkind = "flag"', "identifier"),
    ],
)
def test_what_is_no_declaration_is_refused_in_words(tmp_path, text, said):
    with pytest.raises(InputError) as caught:
        declared(tmp_path, text)
    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_dataset(tmp_path / "absent.toml")


def test_what_commands_print_is_a_declaration_too(tmp_path):
    whole = declared(tmp_path, WHOLE)
    assert declared(tmp_path, "\n" + whole.to_json() + "\n") == whole


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"name": "families"', "no declaration in JSON"),
        ('{"name": "families", "columns": [{"name": "a"}]}', "no declaration in JSON"),
        ('{"name": "families", "columns": [{"name": "a", "kind": "text", "codes": [], "tags": []}]}', "JSON"),
        ('{"columns": []}', "no declaration in JSON"),
    ],
)
def test_what_is_no_declaration_in_json_is_refused(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        declared(tmp_path, text)
