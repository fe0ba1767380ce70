import pytest

from tests.partners.made import council_at


@pytest.fixture
def council(tmp_path):
    return council_at(tmp_path)
