from __future__ import annotations

import pytest

from tests.missing import missing


def test_what_is_missing_skips_a_test_and_fails_it_where_all_is_to_be_there(monkeypatch):
    monkeypatch.delenv("KINLINK_TEST_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no such server"):
        missing("no such server")
    monkeypatch.setenv("KINLINK_TEST_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="no such server"):
        missing("no such server")
