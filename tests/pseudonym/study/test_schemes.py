"""Schemes as data: the notice's bullets, and what follows from them."""

from __future__ import annotations

import pytest

from pseudonym.datasets import Kind, Tag
from pseudonym.errors import InputError
from pseudonym.study.declaring import dataset
from pseudonym.study.schemes import Scheme, names, scheme

#: The six bullets of the study's privacy notice, as they are printed there.
BULLETS = {
    "Worklessness or at risk of financial exclusion "
    "(experience problem debt, have young adults who are NEET)":
        ("WORK_FIN", ["experience problem debt", "have young adults who are NEET"]),
    "School absence problems": ("SCHOOL", []),
    "Children in need (those at risk, on child protection plans, looked after children)":
        ("CHILD_HELP", ["those at risk", "on child protection plans", "looked after children"]),
    "Offending and anti-social behaviour": ("CRIME_ASB", []),
    "Domestic abuse": ("DA", []),
    "Mental or physical health problems": ("HEALTH", []),
}  # fmt: skip


@pytest.mark.parametrize(("bullet", "told"), BULLETS.items())
def test_r5_each_bullet_of_the_notice_is_one_code_with_its_words_and_indicators(bullet, told):
    tf = scheme("tf-2015")
    found = tf.problem_of(bullet)
    assert found is not None
    assert found.code == told[0]
    assert found.words == bullet.partition(" (")[0]
    assert [one.words for one in found.indicators] == told[1]
    meant = [problem for problem in tf.problems if problem.words in bullet]
    assert meant == [found]
    for words in told[1]:
        assert tf.problem_of(words) == found


def test_r5_the_schemes_have_six_problems_with_two_and_ten_with_three():
    assert names() == ("sf-2022", "tf-2015")
    assert [(one.minimum, len(one.problems)) for one in map(scheme, names())] == [(3, 10), (2, 6)]
    assert {one.code for one in scheme("tf-2015").problems} == {code for code, _ in BULLETS.values()}


def test_words_that_mean_nothing_mean_no_problem():
    assert scheme("tf-2015").problem_of("Ada Quibble") is None
    with pytest.raises(InputError, match="tf-2015"):
        scheme("tf-2026")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("minimum = 2", "minimum = 7"),
        ('code = "SCHOOL"', 'code = "NEET"'),
        ("from = 0", "from = 1"),
        ("kinlink-scheme/1", "kinlink-scheme/9"),
    ],
)
def test_a_scheme_that_contradicts_itself_is_refused(old, new):
    from importlib import resources

    text = (resources.files("pseudonym.study.schemes") / "tf-2015.toml").read_text()
    with pytest.raises(InputError):
        Scheme.from_toml(text.replace(old, new))


@pytest.mark.parametrize("name", names())
def test_r24_health_and_offending_are_tagged_with_their_indicators(name):
    declared = dataset(scheme(name), ["fenham"])
    tags = {column.name: column.tags for column in declared.columns}
    assert tags["health"] == {Tag.SPECIAL_CATEGORY}
    assert tags["crime_asb" if name == "tf-2015" else "crime"] == {Tag.CRIMINAL_OFFENCE}
    assert tags["family_problems"] == {Tag.SPECIAL_CATEGORY, Tag.CRIMINAL_OFFENCE}


@pytest.mark.parametrize("name", names())
def test_r35_no_kind_of_the_declaration_holds_a_full_date_or_text(name):
    declared = dataset(scheme(name), ["fenham", "marwick"])
    kinds = {column.name: column.kind for column in declared.columns}
    assert kinds["birth_quarter"] is Kind.QUARTER
    dates = {one for one in kinds if kinds[one] is Kind.MONTH}
    assert dates == {"as_of", "screened", "support_from", "support_to"}
    dataset(scheme(name), ["fenham"]).check_grown(declared)  # a council may join later
