"""What a test needs of the machine it runs on."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip a test for want of something; where `KINLINK_TEST_ALL` is set it fails: all is to be there.

    Args:
        what: a sentence that names the missing thing.
    """
    if os.environ.get("KINLINK_TEST_ALL"):
        pytest.fail(what, pytrace=False)
    pytest.skip(what)
