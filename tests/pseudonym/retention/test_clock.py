"""The clock may be moved in development, for everything that takes the time; production refuses it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pseudonym import clock
from pseudonym.audit.clock import system_clock
from pseudonym.roles import settings
from pseudonym.roles.callers import Role
from pseudonym.storage import open_store


@pytest.fixture(autouse=True)
def the_clock():
    yield
    clock.set_ahead(0)


def test_everything_takes_one_time(tmp_path):
    clock.set_ahead(31)
    then = datetime.now(UTC) + timedelta(days=31)
    with open_store(f"sqlite:///{tmp_path / 'store.sqlite'}", "broker") as store:
        moments = (store.now(), clock.seconds(), clock.now().timestamp(), system_clock() / 1e6)
    assert max(abs(one - then.timestamp()) for one in moments) < 60
    assert clock.today() in (then.date(), (then + timedelta(minutes=1)).date())


def test_in_production_the_time_is_the_machines():
    options = settings.Options(days_ahead=31)
    with pytest.raises(ValueError, match="--days-ahead"):
        options.check(Role.BROKER, Path("data"), production=True, certificates=True)
    options.check(Role.BROKER, Path("data"), production=False, certificates=True)
    options.check(None, Path("data"), production=False, certificates=False)
