"""A whole store put back as it was: what notices it, and until when nothing does."""

from __future__ import annotations

import shutil

import pytest

from pseudonym.errors import PseudonymError
from pseudonym.storage import open_store
from pseudonym.vault import State
from tests.pseudonym.storage.made_up import MANDATE, people, vault


def test_a_store_put_back_whole_opens_as_it_was_until_the_key_changes(tmp_path):
    """What stays, and what ends it: a copy under the key of the month is as good as the store."""
    url, copy = f"sqlite:///{tmp_path / 'store.db'}", tmp_path / "copy.db"
    with open_store(url, "identity") as store:
        [pid] = vault(store).add(people(0, 1), "council")
    shutil.copyfile(tmp_path / "store.db", copy)
    with open_store(url, "identity") as store:
        vault(store).revise([pid], people(0, 1, version=1), "council")
        vault(store).set_state([pid], State.RESTRICTED)
    shutil.copyfile(copy, tmp_path / "store.db")
    with open_store(url, "identity") as store:
        assert vault(store).states([pid]) == {pid: State.ACTIVE}
        assert vault(store).open([pid], MANDATE).height == 1
        while vault(store, month=2, older=(1,)).rewrap():
            pass
    shutil.copyfile(copy, tmp_path / "store.db")
    with open_store(url, "identity") as store, pytest.raises(PseudonymError, match="is not here"):
        vault(store, month=2).open([pid], MANDATE)
