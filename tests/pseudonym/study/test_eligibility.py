"""Who is shared: the scheme's rule over the whole family, against a plain count; and nobody else."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudonym.errors import CouncilFileError
from pseudonym.study import withdrawals
from pseudonym.study.delivery import check, divide
from pseudonym.study.eligibility import Outcome
from tests.pseudonym.study.made_up import CHILD, DAY, KEY, LAYOUT, layout, rows

CODES = ("W", "N", "S", "C", "LAC", "A", "D", "H")
HEADLINE = {"N": "W", "LAC": "C"}
MEMBER = st.tuples(
    st.sampled_from(["F1", "F2", "F3"]),
    st.lists(st.sampled_from(CODES), max_size=3),
    st.sampled_from(["T", "C"]),
    st.sampled_from([None, "31/12/2024", "30/12/2024"]),  # the last day in the family
)


def file_of(members):
    arms = {family: arm for family, _, arm, _ in members}
    return rows(
        *(
            {
                "Family": family,
                "Crit": ";".join(codes),
                "Group": arms[family],
                "Out": out,
                "First": f"Ada{at}",
            }
            for at, (family, codes, _, out) in enumerate(members)
        )
    )


def problems_of(members, family):
    there = [codes for name, codes, _, out in members if name == family and out != "30/12/2024"]
    return {HEADLINE.get(code, code) for codes in there for code in codes}


@settings(max_examples=60, deadline=None)
@given(st.lists(MEMBER, min_size=1, max_size=8))
def test_r6_a_family_is_shared_if_and_only_if_its_members_of_the_day_have_two_distinct_problems(members):
    found = check(file_of(members), layout(), DAY)
    counts = dict(found.families.select("family", "problems").iter_rows())
    assert counts == {family: len(problems_of(members, family)) for family in {one[0] for one in members}}
    eligible = {family for family, count in counts.items() if count >= 2}
    assert set(found.families.filter(outcome="eligible")["family"]) == eligible
    expected = [
        at + 1 for at, (family, _, _, out) in enumerate(members) if family in eligible and out != "30/12/2024"
    ]
    assert found.leaving["row"].to_list() == expected


@settings(max_examples=25, deadline=None)
@given(st.lists(MEMBER, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_r8_the_arm_and_the_order_of_rows_change_nothing_of_who_is_shared(members, random):
    one = check(file_of(members), layout(), DAY)
    other = [(family, codes, "C" if arm == "T" else "T", out) for family, codes, arm, out in members]
    swapped = check(file_of(other), layout(), DAY)
    assert swapped.families.equals(one.families)
    assert swapped.leaving.drop("arm").equals(one.leaving.drop("arm"))
    shuffled = file_of(members).sample(fraction=1, shuffle=True, seed=random.randrange(99))
    assert check(shuffled, layout(), DAY).families.equals(one.families)


def test_r6_the_parent_may_bring_one_problem_and_the_child_another():
    alone = check(rows({"Crit": "W"}, CHILD, {"Family": "F2", "Last": "Other"}), layout(), DAY)
    both = check(rows({"Crit": "W"}, CHILD | {"Crit": "S"}), layout(), DAY)
    assert alone.families["outcome"].to_list() == ["below", "eligible"]
    assert both.families["outcome"].to_list() == ["eligible"]


def test_r6_nothing_of_a_family_below_the_minimum_is_in_either_half_or_in_the_batch_id():
    below = {"Family": "ZYZZYVA", "First": "Zyzzyva", "Last": "Zyzzyva", "Postcode": "ZZ9 9ZY", "Crit": "W;N"}
    with_it = divide(check(rows({}, CHILD, below | {"NHS": "9434765919"}), layout(), DAY), KEY)
    without = divide(check(rows({}, CHILD), layout(), DAY), KEY)
    told = with_it.halves.identifiers.write_csv() + with_it.halves.attributes.write_csv()
    assert "zyzzyva" not in (told + str(with_it.receipt)).lower()
    assert "ZZ9 9ZY" not in told
    assert "9434765919" not in told
    assert with_it.receipt["batch"] == without.receipt["batch"]
    assert with_it.halves.identifiers.equals(without.halves.identifiers)
    assert with_it.receipt["families"]["below"] == 1


def test_r6_somebody_in_two_families_is_shared_with_the_eligible_one_only():
    found = check(rows({"Ref": "P1"}, {"Ref": "P1", "Family": "F2", "Crit": "H"}), layout(), DAY)
    assert found.leaving.select("family", "member").rows() == [("F1", "P1")]


def test_r6_the_minimum_is_the_schemes():
    text = LAYOUT.replace("tf-2015", "sf-2022")
    for old, new in {"WORK_FIN": "FINANCE", "neet": "EARLY_YEARS", "SCHOOL": "EDUCATION"}.items():
        text = text.replace(f'"{old}"', f'"{new}"')
    text = text.replace("CHILD_HELP", "FAMILY_RELATIONS").replace("looked_after", "SAFE")
    text = text.replace("CRIME_ASB", "CRIME")
    found = check(rows({"Crit": "W;S"}, {"Family": "F2", "Crit": "W;S;D"}), layout(text), DAY)
    assert found.families.select("problems", "outcome").rows() == [(2, "below"), (3, "eligible")]
    assert found.not_told() == ["SUBSTANCE", "HOUSING"]


def test_r7_a_family_that_falls_short_with_refused_rows_is_undecided_and_stays():
    found = check(rows({"Crit": "W"}, CHILD | {"Crit": "S;X"}, {"Family": "F2"}), layout(), DAY)
    assert found.families.select("family", "outcome", "refused").rows() == [
        ("F1", "undecided", 1),
        ("F2", "eligible", 0),
    ]
    assert found.leaving["family"].to_list() == ["F2"]


def test_a_row_that_is_there_twice_leaves_nothing_undecided():
    one = {"Ref": "P1", "Crit": "W"}
    found = check(rows(one, one, {"Family": "F2", "Last": "Other"}), layout(), DAY)
    assert found.families["outcome"].to_list() == ["below", "eligible"]
    assert found.figures()["rows_refused"] == {"ROW_REPEATED": 1}


def test_r4_people_in_several_families_that_leave_are_counted():
    twice = ({"Ref": "P1"}, {"Ref": "P1", "Family": "F2"}, {"Ref": "P2", "First": "Bo"})
    assert check(rows(*twice), layout(), DAY).figures()["people_in_several"] == 1


def left_out(*lines):
    return withdrawals.checked(pl.DataFrame(lines, withdrawals.SCHEMA, orient="row"))


@pytest.mark.parametrize("code", [None, "", "no room this year", "WITHDRAWAL "])
def test_r7_nobody_is_left_out_by_hand_without_a_code_of_withdrawal_or_objection(code):
    with pytest.raises(CouncilFileError, match="row 2") as caught:
        left_out(("F1", None, "withdrawal"), ("ZYZZYVA", None, code))
    assert "ZYZZYVA" not in str(caught.value)
    with pytest.raises(CouncilFileError, match="row 1"):
        left_out((None, None, "withdrawal"))
    with pytest.raises(CouncilFileError, match="columns"):
        withdrawals.checked(pl.DataFrame({"family": ["F1"]}))


@pytest.mark.parametrize("code", withdrawals.CODES)
def test_r7_who_withdrew_or_objected_is_in_nothing_that_leaves_and_counts_for_nothing(code):
    file = rows(
        {"Ref": "A", "Crit": "W;S"}, CHILD | {"Ref": "B", "Crit": "H"},
        {"Ref": "B", "Family": "F2", "First": "Bo", "Crit": "H"}, {"Ref": "C", "Family": "F2", "Crit": "W"},
        {"Ref": "D", "Family": "F3", "Last": "Gone"},
    )  # fmt: skip
    found = check(file, layout(), DAY, left_out((None, "B", code), ("F3", None, code), ("F8", None, code)))
    assert found.leaving["member"].to_list() == ["A"]
    told = found.explanations()
    assert told.select("family", "outcome", "problems").rows() == [
        ("F1", "eligible", 2), ("F2", "below", 1), ("F3", "withdrawn", 0),
    ]  # fmt: skip
    assert "1 member left out" in told["why"][0]
    assert found.unknown == 1
    assert "Gone" not in divide(found, KEY).halves.identifiers.write_csv()


def test_r7_nothing_is_held_against_who_withdrew_nor_against_their_family():
    bad = CHILD | {"Ref": "B", "Screened": "01/01/2025", "Group": "C", "NI": "QQ123456C"}
    found = check(rows({"Crit": "W"}, bad), layout(), DAY, left_out((None, "B", "withdrawal")))
    assert found.families.select("outcome", "refused", "withdrawn").rows() == [("below", 0, 1)]
    assert found.faults.height == 0
    nobody = check(rows({}, bad), layout(), DAY, left_out(("F1", None, "objection")))
    assert (nobody.families["outcome"].to_list(), nobody.leaving.height) == (["withdrawn"], 0)
    with pytest.raises(CouncilFileError, match="No family"):
        divide(nobody, KEY)


def test_r7_every_family_has_one_outcome_and_an_explanation_in_plain_words():
    file = rows(
        {"Crit": "W;N"}, CHILD | {"Crit": "LAC"}, {"Family": "F2", "Crit": "D"},
        {"Family": "F3", "Out": "30/12/2024"}, {"Family": "F4", "Crit": "H", "Group": "X"},
        {"Family": "F5", "Crit": None}, {"Family": "F6", "Crit": "H;D"},
        CHILD | {"Family": "F6", "Group": "X"},
    )  # fmt: skip
    told = check(file, layout(), DAY).explanations()
    assert dict(told.select("family", "why").iter_rows()) == {
        "F1": "Shared. 2 of 6 problems on 2024-12-31, and 2 are enough: Worklessness or at risk of financial "
        "exclusion (1 member; have young adults who are NEET); Children in need (1 member; looked after "
        "children).",
        "F2": "Not shared. 1 of 6 problems on 2024-12-31, and 2 are enough: Domestic abuse (1 member).",
        "F3": "Not shared: nobody belongs to the family on that day.",
        "F4": "Not shared, and not decided: rows of the family were refused. Correct them first.",
        "F5": "Not shared. 0 of 6 problems on 2024-12-31, and 2 are enough.",
        "F6": "Shared. 2 of 6 problems on 2024-12-31, and 2 are enough: Domestic abuse (1 member); Mental or "
        "physical health problems (1 member). Rows of it that were refused, and counted for nothing: 1.",
    }
    assert set(told["outcome"]) <= {outcome.value for outcome in Outcome}


def test_r8_the_familys_arm_holds_for_every_member_and_one_that_is_not_said_is_told():
    found = check(rows({}, CHILD | {"Group": None}, {"Family": "F2", "Group": None}), layout(), DAY)
    assert found.leaving["arm"].to_list() == ["programme", "programme", None]
    assert found.faults.rows() == [(3, "arm", "ARM_MISSING", False)]
