"""Releases of health data: only of what was linked under a fresh list or an exemption."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from pseudonym import registers
from pseudonym.errors import OptOutMissingError, OptOutStaleError, ReleaseError
from pseudonym.release import opted_out
from pseudonym.release.keeping import State
from tests.pseudonym.release.scene import MANDATE, put, scene
from tests.pseudonym.separation.parts import PROJECT

DAY = 86_400
HES = """[[datasets]]
name = "hes"
form = "counts"
counts = [{ to = "stays", top = 3 }]
opt_out = "applied"

"""
SET = '[[sets]]\nname = "who"'


@pytest.fixture
def set_up(url, tmp_path):
    with scene(url, tmp_path) as made:
        made.store.declare(PROJECT, registers.load("hes").dataset)
        stays = made.people.rows["pnc"].select(
            "aid",
            "family",
            admission_month="offence_month",
            discharge_month="offence_month",
            episode=pl.lit("elective"),
            cause=pl.lit("injury"),
        )
        put(made.store, "hes", stays)
        yield made


def linked(made, run, opt_out):
    """What the attributes role notes once it has followed a run to its end."""
    made.store.registers.withdraw(PROJECT, "hes", run, MANDATE, opt_out)


def test_r54_health_data_are_released_only_under_a_fresh_list_or_an_exemption(set_up):
    text = set_up.changed((SET, HES + SET))
    now = int(set_up.clock.now)
    record = set_up.created(text)

    def check():
        return set_up.desk.check(PROJECT, record.name, MANDATE)

    with pytest.raises(OptOutMissingError):
        check()
    linked(set_up, 1, ("list", now))
    with pytest.raises(OptOutStaleError):
        check()
    linked(set_up, 2, ("exempt official-statistics OS-1", 0))
    with pytest.raises(ReleaseError, match="exemption"):
        check()
    linked(set_up, 3, ("list", now + DAY))
    assert check().state is State.CHECKED
    exempt = text.replace('"applied"', '"exempt: official-statistics"').replace('"nis-1"', '"nis-2"')
    other = set_up.created(exempt)
    with pytest.raises(ReleaseError, match="it was applied"):
        set_up.desk.check(PROJECT, other.name, MANDATE)
    linked(set_up, 4, None)  # a run that says nothing takes it away again
    with pytest.raises(OptOutMissingError):
        check()


@pytest.mark.parametrize(
    ("claim", "refused"),
    [
        ("exempt: anonymised", False),
        ("exempt: anonymised, as OS-1 has it", False),
        ("exempt: official-statistics", True),
        ("exempt:  Official-statistics, OS-1", True),
        ("exempt: legal-requirement OS-1", True),
        ("exempt: section 64 research", False),  # free text is not compared
        ("exempt: anonymised-twice", False),  # and no code
    ],
)
def test_r54_an_exemption_is_for_the_reason_that_was_recorded(claim, refused):
    def check():
        opted_out.check({"hes": claim}, lambda _: ("exempt anonymised OS-1", 0), datetime.now(UTC))

    if not refused:
        check()
        return
    with pytest.raises(ReleaseError, match="another reason") as found:
        check()
    assert found.value.help == "Say the one that was recorded: exempt: anonymised."


def test_r54_a_release_says_the_reason_for_which_its_register_was_exempt(set_up):
    linked(set_up, 1, ("exempt official-statistics OS-1", 0))
    for name, reason in (("nis-1", "made-up-data"), ("nis-2", "official-statistics")):
        text = set_up.changed((SET, HES + SET), ('"applied"', f'"exempt: {reason}"'), ("nis-1", name))
        record = set_up.created(text)
        if reason == "made-up-data":
            with pytest.raises(ReleaseError, match="another reason"):
                set_up.desk.check(PROJECT, record.name, MANDATE)
        else:
            assert set_up.desk.check(PROJECT, record.name, MANDATE).state is State.CHECKED


def test_r54_a_release_that_nobody_has_read_is_not_given_out_under_a_list_that_is_old(set_up):
    text = set_up.changed((SET, HES + SET))
    linked(set_up, 1, ("list", int(set_up.clock.now) + DAY))
    record = set_up.approved(text)
    set_up.clock.now += DAY
    with pytest.raises(OptOutStaleError):
        set_up.fetched(record)
    linked(set_up, 2, ("list", int(set_up.clock.now) + DAY))
    assert set_up.fetched(record)
    set_up.clock.now += DAY
    assert set_up.fetched(record)  # the researcher has it already
