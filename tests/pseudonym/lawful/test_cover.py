"""What a project's record says, and what it lets in: every refusal has its reason, and says what to add."""

from __future__ import annotations

import copy
import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudonym.datasets import Tag
from pseudonym.errors import InputError, LawError
from pseudonym.lawful.cover import Cover
from pseudonym.lawful.records import ACCREDITED, ProjectRecord
from pseudonym.lawful.sharing import Sharing
from pseudonym.retention.schedules import Store
from pseudonym.roles import governance
from tests.pseudonym.roles.harness import PURPOSE, lawful

ROOT = Path(__file__).resolve().parents[3]
TODAY = date(2026, 11, 23)
BOTH = (Tag.CRIMINAL_OFFENCE, Tag.SPECIAL_CATEGORY)


def cover(**changes):
    content = lawful("families", "pnc", end="2027-12-31")
    content |= {name: value for name, value in changes.items() if name != "purpose"}
    content["purposes"] = {PURPOSE: content["purposes"][PURPOSE] | changes.get("purpose", {})}
    return Cover({"tf-2026": ProjectRecord.read("tf-2026", content)}, required=True)


def reason(call, *arguments):
    with pytest.raises(LawError) as caught:
        call(*arguments)
    assert caught.value.help  # says what to do
    return caught.value.reason


def test_r68_a_use_names_a_project_and_a_purpose_with_a_basis_or_is_refused():
    held = cover()
    assert held.check("tf-2026", PURPOSE, TODAY).basis == "6(1)(e)"
    assert reason(held.check, "tf-2026", "curiosity", TODAY) == "BASIS_MISSING"
    assert reason(held.check, "another", PURPOSE, TODAY) == "BASIS_MISSING"
    assert reason(held.check, "tf-2026", "", TODAY) == "BASIS_MISSING"
    # In development, and there alone, a project that nobody described is served.
    assert Cover({}, required=False).check("another", "trial", TODAY) is None


@pytest.mark.parametrize("of", ["project", "processor"])
def test_r68_an_accreditation_that_is_missing_or_expired_refuses(of):
    accreditations = lawful(end="2027-12-31")["accreditations"]
    without = [one for one in accreditations if one["of"] != of]
    held = cover(accreditations=without)
    assert reason(held.check, "tf-2026", PURPOSE, TODAY) == "ACCREDITATION_MISSING"
    expired = [one | ({"expires": "2026-11-22"} if one["of"] == of else {}) for one in accreditations]
    held = cover(accreditations=expired)
    held.check("tf-2026", PURPOSE, date(2026, 11, 22))  # its last day counts
    assert reason(held.check, "tf-2026", PURPOSE, TODAY) == "ACCREDITATION_EXPIRED"
    # One that was renewed is there beside the one that has run out.
    renewed = cover(accreditations=[*expired, {"of": of, "reference": "DEA/9", "expires": "2028-01-01"}])
    renewed.check("tf-2026", PURPOSE, TODAY)
    # A purpose without such a gateway needs none.
    cover(accreditations=[], purpose={"gateway": ""}).check("tf-2026", PURPOSE, TODAY)


@given(days=st.integers(-400, 400), of=st.sampled_from(ACCREDITED[:2]))
def test_r68_an_accreditation_holds_to_its_last_day_and_not_a_day_longer(days, of):
    last = date(2027, 12, 31)
    held, day = cover(), last + timedelta(days=days)
    if days <= 0:
        held.check("tf-2026", PURPOSE, day)
    else:
        assert reason(held.check, "tf-2026", PURPOSE, day) == "ACCREDITATION_EXPIRED"


def test_r24_sensitive_attributes_need_the_purposes_condition_and_a_reader_who_was_let_in():
    held, use = cover(), ("tf-2026", PURPOSE)
    held.check_columns(*use, ["pnc"], BOTH, TODAY)
    assert reason(held.check_columns, *use, ["hes"], (), TODAY) == "DATASET_NOT_COVERED"
    plain = cover(purpose={"criminal_offence": "", "special_category": ""})
    plain.check_columns(*use, ["pnc"], (), TODAY)
    for tag in BOTH:
        assert reason(plain.check_columns, *use, ["pnc"], (tag,), TODAY) == "CONDITION_MISSING"
    held.check_readers(*use, ["alice"], BOTH, TODAY)
    assert reason(held.check_readers, *use, ["alice", "bob"], (), TODAY) == "ACCREDITATION_MISSING"
    accreditations = lawful(end="2027-12-31")["accreditations"]
    accreditations[2]["may"] = ["special-category"]
    fewer = cover(accreditations=accreditations)
    fewer.check_readers(*use, ["alice"], (Tag.SPECIAL_CATEGORY,), TODAY)
    assert reason(fewer.check_readers, *use, ["alice"], BOTH, TODAY) == "READER_NOT_COVERED"
    # Nobody's name is in what is said to whoever asks.
    with pytest.raises(LawError) as caught:
        held.check_readers(*use, ["bob"], (), TODAY)
    assert "bob" not in str(caught.value)


def test_r51_what_is_stored_has_a_schedule_and_nothing_outlives_the_project():
    held = cover()
    held.check_kept("tf-2026", Store.ATTRIBUTES, "pnc")
    assert reason(held.check_kept, "tf-2026", Store.ATTRIBUTES, "school-meals") == "SCHEDULE_MISSING"
    end = held.records["tf-2026"].end
    held.check_expiry("tf-2026", end)
    assert reason(held.check_expiry, "tf-2026", end + timedelta(seconds=1)) == "RETENTION_MAXIMUM"


def test_r69_nothing_goes_outside_without_a_reason():
    use = ("tf-2026", PURPOSE)
    assert cover().check_sharing(*use, None, TODAY) is Sharing.STATUTORY_FUNCTION
    assert cover().check_sharing(*use, Sharing.HARM_OR_CRIME, TODAY) is Sharing.HARM_OR_CRIME
    silent = cover(purpose={"sharing": None})
    assert reason(silent.check_sharing, *use, None, TODAY) == "SHARING_REASON_MISSING"
    assert silent.check_sharing(*use, Sharing.LAW, TODAY) is Sharing.LAW
    assert [one.value for one in Sharing] == [
        "consent", "law", "statutory-function", "requested-service", "harm-or-crime",
    ]  # fmt: skip


WRONG = {
    "basis": ("basis", "6(1)(g)", "6\\(1\\)\\(e\\)"),
    "no basis": ("basis", None, "lacks basis"),
    "condition": ("special_category", "9(2)(z)", "9\\(2\\)\\(g\\)"),
    "schedule 1": ("schedule_1", "", "schedule_1"),
    "gateway": ("gateway", "dea-2018", "dea-2017-s64"),
    "sharing": ("sharing", "because", "consent"),
    "datasets": ("datasets", "pnc", "list of names"),
    "unknown": ("colour", "red", "colour"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_record_that_is_wrong_says_where_and_what_to_write(case, tmp_path):
    name, value, said = WRONG[case]
    content = copy.deepcopy(lawful("pnc"))
    purpose = content["purposes"][PURPOSE]
    if value is None:
        del purpose[name]
    else:
        purpose[name] = value
    path = tmp_path / "governance.json"
    path.write_text(json.dumps({"projects": {"tf-2026": content}}))
    with pytest.raises(InputError, match=said) as caught:
        governance.read(path)
    assert f"purpose {PURPOSE} of project tf-2026" in str(caught.value)


def test_the_example_is_read_and_covers_the_eight_registers(tmp_path):
    path = tmp_path / "governance.json"
    path.write_text((ROOT / "deploy" / "governance.json").read_text())  # a checkout may be open to a group
    told = governance.read(path)
    held = Cover(told.records, required=True)
    names = ["families", "pnc", "prisons", "npd", "ilr", "wpls", "hes", "mhmds", "ndtms"]
    held.check_columns("tf-2026", "evaluation-2026", names, BOTH, TODAY)
    said = held.grounds("tf-2026", "evaluation-2026")
    assert said["basis"].startswith("UK GDPR Article 6(1)(e)")
    assert said["accreditation_of_processor"] == "DEA/P/004, to 2030-12-31"
    assert told.ends["tf-2026"].year == 2030
