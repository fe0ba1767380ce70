"""Keys of folders: made once, wrapped anew with each KEK, and destroyed down to the bytes of the files."""

from __future__ import annotations

import io

import pytest
import sqlalchemy as sa

from pseudonym.errors import KeyMissingError, SealBrokenError
from pseudonym.folders import FolderKeys, SealedFolders
from pseudonym.keks import KekRing
from pseudonym.storage import open_store
from pseudonym.storage.schema_identity import FOLDER_KEY
from tests.pseudonym.storage.made_up import kek

OLD, BOTH, NEW = KekRing(kek(1)), KekRing(kek(2), (kek(1),)), KekRing(kek(2))


@pytest.fixture
def store(url):
    with open_store(url, "identity") as store:
        yield store


def wrapped(store, folder):
    with store.read() as at:
        query = sa.select(FOLDER_KEY.c.wrapped).where(FOLDER_KEY.c.folder == folder)
        return bytes(at.execute(query).scalar_one())


def test_a_folder_has_one_key_until_it_is_destroyed(store):
    keys = FolderKeys(store, OLD)
    keys.make("sub-1")
    key = keys.key("sub-1")
    keys.make("sub-1")
    keys.make("sub-2")
    again = FolderKeys(store, OLD)
    assert again.key("sub-1") == key != again.key("sub-2")
    assert keys.kids() == {OLD.current.kid: 2}
    assert keys.destroy(["sub-1", "sub-0"]) == 1
    assert keys.destroy(["sub-1"]) == 0
    for one in (keys, FolderKeys(store, OLD)):
        with pytest.raises(KeyMissingError):
            one.key("sub-1")
        assert one.key("sub-2") == again.key("sub-2")
    keys.make("sub-1")
    assert keys.key("sub-1") != key


def test_a_key_of_another_folder_does_not_open(store):
    keys = FolderKeys(store, OLD)
    keys.make("sub-1")
    keys.make("sub-2")
    with store.transaction() as at:
        store.update(at, FOLDER_KEY, ["folder"], {"folder": ["sub-1"], "wrapped": [wrapped(store, "sub-2")]})
    with pytest.raises(SealBrokenError):
        keys.key("sub-1")
    keys.key("sub-2")


def test_a_new_kek_takes_over_in_batches(store):
    folders = [f"job-{n}" for n in range(25)]
    keys = FolderKeys(store, OLD)
    for folder in folders:
        keys.make(folder)
    before = [keys.key(folder) for folder in folders]
    both = FolderKeys(store, BOTH)
    both.make("job-new")
    assert both.kids() == {kek(1).kid: 25, kek(2).kid: 1}
    assert both.rewrap(batch=7) == 25
    assert both.rewrap(batch=7) == 0
    assert both.kids() == {kek(2).kid: 26}
    after = FolderKeys(store, NEW)
    assert [after.key(folder) for folder in folders] == before
    with pytest.raises(KeyMissingError):
        FolderKeys(store, OLD).key("job-0")


def test_nothing_of_a_destroyed_key_stays_in_sqlites_files(sqlite_url, tmp_path):
    with open_store(sqlite_url, "identity") as store:
        keys = FolderKeys(store, OLD)
        folders = [f"sub-{n}" for n in range(40)]
        for folder in folders:
            keys.make(folder)
        gone = [wrapped(store, folder)[13:] for folder in folders[3:9]]

        def found():
            octets = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))
            return [secret for secret in gone if secret in octets]

        assert found() == gone
        keys.destroy(folders[3:9])
        assert found() == []
    assert found() == []


def test_whoever_reads_is_told_in_their_own_terms(store):
    class Told(Exception):
        pass

    safe = SealedFolders(FolderKeys(store, OLD), Told)
    with pytest.raises(Told):
        safe.sealed("sub-1", "records", (), b"")
    safe.make("sub-1")
    content = b"".join(safe.sealed("sub-1", "records", [b"one"], b"end"))
    opened = safe.opened("sub-1", "records", io.BytesIO(content))
    assert (opened.parts, opened.part(0), opened.end) == (1, b"one", b"end")
    value = safe.conceal("sub-1", "place", b"value")
    assert safe.reveal("sub-1", "place", value) == b"value"
    for attempt in (
        lambda: safe.opened("sub-1", "refusals", io.BytesIO(content)),
        lambda: safe.reveal("sub-1", "elsewhere", value),
    ):
        with pytest.raises(Told):
            attempt()
    safe.destroy(["sub-1"])
    with pytest.raises(Told):
        safe.opened("sub-1", "records", io.BytesIO(content))
