"""Extracts of registers, on every database: read whole or not at all, and gone when they are destroyed."""

from __future__ import annotations

import polars as pl
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pseudonym import errors
from pseudonym.extracts import Extracts
from pseudonym.openings import Mandate, Openings
from pseudonym.storage import open_store
from pseudonym.storage.schema_identity import EXTRACT, EXTRACT_CHUNK
from tests.pseudonym.storage.made_up import MANDATE, Log

KEY, OTHER = AESGCM(bytes(range(32))), AESGCM(bytes(32))
PARTS = [pl.DataFrame({"surname": [f"Lee{n}", "Cole"], "n": [n, None]}) for n in range(3)]


@pytest.fixture
def store(url):
    with open_store(url, "identity") as opened:
        yield opened


@pytest.fixture
def extracts(store):
    return Extracts(store, Openings(store, Log(), {"linkage": 20}))


def written(extracts, name="npd-2026", key=KEY):
    extracts.begin(name, "npd", 31)
    for number, part in enumerate(PARTS):
        extracts.write(name, key, number, part)
    extracts.finish(name, key)


def test_an_extract_is_read_as_it_was_written(extracts):
    written(extracts)
    for read, part in zip(extracts.read("npd-2026", KEY, MANDATE), PARTS, strict=True):
        assert read.equals(part)
    extracts.begin("empty", "npd", 1)
    extracts.finish("empty", KEY)
    assert list(extracts.read("empty", KEY, MANDATE)) == []


def test_writing_goes_on_after_a_crash(extracts):
    extracts.begin("e", "npd", 1)
    extracts.write("e", KEY, 0, PARTS[0])
    assert extracts.chunks("e") == 1
    for wrong in (0, 2):
        with pytest.raises(errors.ExtractError, match="number 1"):
            extracts.write("e", KEY, wrong, PARTS[1])
    with pytest.raises(errors.ExtractError, match="open"):
        list(extracts.read("e", KEY, MANDATE))
    extracts.write("e", KEY, 1, PARTS[1])
    extracts.finish("e", KEY)
    for late in (lambda: extracts.write("e", KEY, 2, PARTS[2]), lambda: extracts.finish("e", KEY)):
        with pytest.raises(errors.ExtractError):
            late()


def test_names_days_and_keys(extracts, store):
    for name, register, days in [("E", "npd", 1), ("e", "N P D", 1), ("e", "npd", 0), ("e", "npd", 32)]:
        with pytest.raises(errors.InputError):
            extracts.begin(name, register, days)
    written(extracts)
    with pytest.raises(errors.DuplicateError):
        extracts.begin("npd-2026", "npd", 1)
    with pytest.raises(errors.SealBrokenError):
        list(extracts.read("npd-2026", OTHER, MANDATE))
    with pytest.raises(errors.ExtractError):
        list(extracts.read("none", KEY, MANDATE))


def test_reading_needs_a_purpose_and_a_quota(store):
    log = Log()
    extracts = Extracts(store, Openings(store, log, {"linkage": 11}))
    written(extracts)
    with pytest.raises(errors.PurposeError):
        list(extracts.read("npd-2026", KEY, Mandate("bob", "curiosity", "tf-2026")))
    list(extracts.read("npd-2026", KEY, MANDATE))
    with pytest.raises(errors.QuotaError):
        list(extracts.read("npd-2026", KEY, MANDATE))
    assert [(entry.action, entry.count, entry.subjects) for entry in log] == [("extract", 6, ())]


@pytest.mark.parametrize("attack", ["exchanged", "cut off", "middle", "another extract", "altered", "claims"])
def test_chunks_changed_are_noticed(extracts, store, attack):
    written(extracts)
    written(extracts, "other")
    change, chunks = sa.update(EXTRACT_CHUNK), EXTRACT_CHUNK.c
    of_it = chunks.extract == "npd-2026"
    with store.transaction() as connection:
        sealed = {(row.extract, row.number): row.ct for row in connection.execute(sa.select(EXTRACT_CHUNK))}
        if attack == "exchanged":
            connection.execute(change.where(of_it, chunks.number == 0).values(ct=sealed["npd-2026", 1]))
        elif attack == "cut off":
            connection.execute(sa.delete(EXTRACT_CHUNK).where(of_it, chunks.number == 2))
        elif attack == "middle":
            connection.execute(sa.delete(EXTRACT_CHUNK).where(of_it, chunks.number == 1))
        elif attack == "another extract":
            connection.execute(change.where(of_it, chunks.number == 0).values(ct=sealed["other", 0]))
        elif attack == "altered":
            connection.execute(change.where(of_it, chunks.number == 0).values(ct=b"\x01" + bytes(60)))
        else:
            connection.execute(change.where(of_it, chunks.number == 0).values(rows=1))
    with pytest.raises(errors.SealBrokenError):
        list(extracts.read("npd-2026", KEY, MANDATE))


def test_what_is_destroyed_is_gone(url):
    now = [1_700_000_000.0]
    with open_store(url, "identity", clock=lambda: now[0]) as store:
        extracts = Extracts(store, Openings(store, Log(), {"linkage": 20}))
        written(extracts)
        assert extracts.due() == []
        now[0] += 31 * 86_400
        assert extracts.due() == ["npd-2026"]
        extracts.destroy("npd-2026")
        extracts.destroy("npd-2026")
        assert extracts.due() == []
        with store.read() as connection:
            assert connection.execute(sa.select(EXTRACT_CHUNK)).all() == []
            assert connection.execute(sa.select(EXTRACT.c.state, EXTRACT.c.seal)).one() == ("destroyed", None)
        with pytest.raises(errors.ExtractError, match="destroyed"):
            list(extracts.read("npd-2026", KEY, MANDATE))
        with pytest.raises(errors.DuplicateError):
            extracts.begin("npd-2026", "npd", 1)
        with pytest.raises(errors.ExtractError):
            extracts.destroy("none")
