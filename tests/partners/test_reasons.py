"""Partner checks have a lawful basis and a reason, and evidence where a requested service is the reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import polars as pl
import pytest

from pseudonym.errors import LawError, PartnerRowsError
from pseudonym.lawful.records import read_purpose
from pseudonym.lawful.sharing import Sharing
from pseudonym.partners.checks import CHECKS
from pseudonym.partners.rows import pick
from tests.partners.made import FAMILIES, adults, purposes

BENEFITS, POLICE = CHECKS["out-of-work-benefits"], CHECKS["domestic-abuse"]
TODAY = date(2026, 11, 23)


def register(council, **changed):
    content = purposes()
    for code, change in changed.items():
        content[code.replace("_", "-")] |= change
    read = {code: read_purpose("partner_checks", code, one) for code, one in content.items() if one}
    return replace(council.register, purposes=read)


def asked(council, check=BENEFITS, told=None, **more):
    with council.opened(register=told) as desk:
        return desk.ask(check, "jcp-ely", pick(check, adults(), TODAY).frame, 14, **more)


def refused(council, *arguments, **more):
    with pytest.raises(LawError) as caught:
        asked(council, *arguments, **more)
    assert not list((council.folder / "kept").iterdir())  # nothing was made
    assert caught.value.help
    return caught.value.reason


def test_r68_a_check_without_a_basis_or_condition_is_not_made(council):
    assert refused(council, BENEFITS, replace(council.register, purposes={})) == "BASIS_MISSING"
    fewer = register(council, police_check={"criminal_offence": ""})
    assert refused(council, POLICE, fewer) == "CONDITION_MISSING"
    other = register(council, benefit_check={"datasets": ["stable-housing"]})
    assert refused(council, BENEFITS, other) == "DATASET_NOT_COVERED"
    asked(council, POLICE)


def test_r69_a_check_leaves_for_a_reason_or_not_at_all(council):
    silent = register(council, benefit_check={"sharing": None})
    assert refused(council, BENEFITS, silent) == "SHARING_REASON_MISSING"
    assert refused(council, reason=Sharing.REQUESTED_SERVICE) == "EVIDENCE_MISSING"
    asked(council, BENEFITS, silent, reason=Sharing.HARM_OR_CRIME)


def test_r71_a_requested_service_is_shown_by_what_the_family_did():
    rows = FAMILIES.with_columns(wish=pl.lit("plan-signed"), wish_day=pl.lit("2026-11-20"))
    found = pick(BENEFITS, rows, TODAY, adults_only=True, wished=True)
    assert found.wishes == {"plan-signed": 3}
    assert {"wish", "wish_day"}.isdisjoint(found.frame.columns)  # it goes no further
    with pytest.raises(PartnerRowsError, match=r"lacks wish, wish_day"):
        pick(BENEFITS, FAMILIES, TODAY, adults_only=True, wished=True)
    for column, value in (("wish", "looked-unhappy"), ("wish", None), ("wish_day", "2026-11-24")):
        wrong = rows.with_columns(
            pl.when(pl.int_range(pl.len()) == 2).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
        )
        with pytest.raises(PartnerRowsError, match=r"requested\): 3\."):
            pick(BENEFITS, wrong, TODAY, adults_only=True, wished=True)
    # Where it is not the reason, it is not looked at.
    assert pick(BENEFITS, rows, TODAY, adults_only=True).wishes == {}
