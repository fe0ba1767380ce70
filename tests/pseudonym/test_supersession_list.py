"""The list that a recipient gets: its one spelling, and from internal ids to numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudonym.errors import InputError
from pseudonym.supersession import Fate, holdings, succession
from pseudonym.supersession_list import ROWS, SupersessionList, numbered, read_list
from pseudonym.urn import AidKey, Kind, UrnKey
from tests.pseudonym.histories import world

AIDS, URNS = AidKey(bytes(32), "p"), UrnKey(bytes(range(32)), "p", "r", 3)


def numbers(pids):
    return URNS.issue_all(Kind.PERSON, AIDS.aids(1, Kind.PERSON, pids))


A, B, C = sorted(numbers([bytes([i]) * 16 for i in range(3)]))


def listed(rows, **head):
    fields: dict[str, Any] = {
        "project": "p",
        "recipient": "r",
        "epoch": 3,
        "since": "wave-1",
        "until": "wave-2",
    } | head
    return SupersessionList(**fields, rows=pl.DataFrame(rows, schema=ROWS, orient="row"))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**9))
def test_the_list_says_of_numbers_what_is_so_of_ids(seed):
    made = world(seed)
    ids = succession(*holdings(made.events), len(made.events) // 2, len(made.events))
    data = SupersessionList("p", "r", 3, "a", "b", numbered(ids, numbers)).write()
    found = {old: (fate, new) for old, fate, new in read_list(data).rows.iter_rows()}
    expected = {numbers([old])[0]: (fate, sorted(numbers(list(new)))) for old, fate, new in ids.iter_rows()}
    assert found == expected
    assert not any(old.hex().upper() in data.decode().upper() for old in ids["old"])


def test_the_list_of_the_page_reads_and_is_written_the_same():
    page = (Path(__file__).parents[2] / "docs" / "urn-format.md").read_text()
    block = re.search(r"^((?:    kinlink-supersession/1\n)(?:    .*\n)+)", page, re.MULTILINE)
    assert block
    data = re.sub(r"^    ", "", block[1], flags=re.MULTILINE).encode()
    found = read_list(data)
    assert (found.project, found.recipient, found.epoch) == ("tf-2026", "nis-analysis", 1)
    assert (found.since, found.until, found.rows.height) == ("wave-1", "wave-2", 2)
    assert found.write() == data
    assert "P1" not in repr(found)


def test_an_empty_list_is_one():
    data = listed([]).write()
    assert read_list(data).rows.is_empty()
    assert read_list(data).rows.schema == ROWS


@pytest.mark.parametrize(
    "rows",
    [
        [(A, "replaced", [A])],
        [(A, "replaced", [])],
        [(A, "replaced", [B, C])],
        [(A, "divided", [B])],
        [(A, "divided", [B, B])],
        [(A, "ended", [B])],
        [(A, "withheld", [B])],
        [(A, "merged", [B])],
        [(A, "ended", []), (A, "ended", [])],
        [("P1", "ended", [])],
        [(A.lower(), "ended", [])],
        [(A, "replaced", [UrnKey(bytes(32), "p", "r", 4).issue(Kind.PERSON, bytes(16))])],
        [(A, "replaced", [UrnKey(bytes(32), "p", "r", 3).issue(Kind.FAMILY, bytes(16))])],
    ],
)
def test_a_row_that_does_not_fit_is_refused_and_not_repeated(rows):
    with pytest.raises(InputError) as caught:
        listed(rows).write()
    assert A not in str(caught.value)


def test_one_spelt_otherwise_is_refused():
    data = listed([(A, "replaced", [B]), (C, "divided", [A, C])]).write()
    assert read_list(data).write() == data
    lines = data.decode().split("\n")
    for wrong in (
        b"",
        data[:-1],
        data + b"\n",
        data.replace(b"\n", b"\r\n"),
        data.replace(b"rows 2", b"rows 3"),
        data.replace(b"epoch 3", b"epoch 03"),
        data.replace(b"epoch 3", b"epoch 4"),
        data.replace(b"epoch 3", b"epoch 99"),
        data.replace(b"recipient r", b"recipient R"),
        data.replace(b"project", b"Project"),
        data.replace(b",replaced,", b",replaced, "),
        data.replace(b",replaced,", b",replaced,,"),
        data.replace(b"supersession/1", b"supersession/2"),
        "\n".join([*lines[:7], lines[8], lines[7], ""]).encode(),
        data.replace(b"wave-1", "wäve".encode()),
    ):
        with pytest.raises(InputError):
            read_list(wrong)


def test_every_fate_has_its_line_on_the_page():
    page = (Path(__file__).parents[2] / "docs" / "urn-format.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \| ", page, re.MULTILINE)) >= {fate.value for fate in Fate}
