"""Words in files, looked for byte by byte: as a plain search of the whole file finds them, piece by piece."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy import apart
from pseudonym.roles.callers import SERVER_ROLES

WORDS = st.sampled_from(
    [b"Featherstone", b"9434765919", b"QQ123456C", b"A012345678901", b"abcdef", b"7", b"\xc3"]
)


@given(st.lists(st.one_of(WORDS, st.binary(max_size=12)), max_size=30))
def test_what_is_left_to_look_in_has_the_same_words(parts):
    whole = b"".join(parts)
    assert re.findall(apart._WORDS, apart._spelt(whole)) == re.findall(apart._WORDS, whole)


@pytest.mark.parametrize("size", [257, 300, 1000])
def test_a_word_is_found_wherever_a_piece_ends(tmp_path: Path, monkeypatch, size):
    monkeypatch.setattr(apart, "_PIECE", size)
    for role in SERVER_ROLES:
        (tmp_path / f"{role}-role").mkdir()
    wanted = {f"{number:010}" for number in range(7, 4000, 131)}
    content = b"\x00\x01".join(
        bytes(number % 17) + f"{number:010}".encode() for number in range(7, 4000, 131)
    )
    (tmp_path / f"{SERVER_ROLES[0]}-role" / "file").write_bytes(content)
    found = apart.found_in(tmp_path, {"numbers": {*wanted, "9999999999"}})
    assert found[SERVER_ROLES[0]] == {"numbers": len(wanted)}
    assert found[SERVER_ROLES[1]] == {"numbers": 0}


def test_ids_that_two_databases_share_are_counted(tmp_path: Path):
    ids = [bytes([number]) * 16 for number in range(6)]
    for role, some in (("identity", ids[:4]), ("attributes", ids[2:])):
        folder = tmp_path / f"{role}-role" / role
        folder.mkdir(parents=True)
        with sqlite3.connect(folder / "store.sqlite") as connection:
            connection.execute("CREATE TABLE one (id BLOB, name TEXT, size INTEGER)")
            rows = [(one, "sixteen letters.", 16) for one in [*some, b"short", None]]
            connection.executemany("INSERT INTO one VALUES (?, ?, ?)", rows)
    assert apart.ids_in_both(tmp_path) == 2
