"""An answer as people read it: days, words for codes, weights of one decimal, nothing of third parties."""

from __future__ import annotations

import json
import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudonym import registers
from pseudonym.datasets import Kind
from pseudonym.errors import SealedError
from pseudonym.hpke import OpeningKey, seal
from pseudonym.lawful import notice
from pseudonym.lawful.records import ProjectRecord
from pseudonym.rights import labels, words
from pseudonym.rights.halves import ATTRIBUTES, IDENTITY, context, joined
from pseudonym.rights.letter import letter
from pseudonym.roles.covering import projects_terms
from pseudonym.study import schemes
from pseudonym.study.declaring import dataset
from tests.pseudonym.roles.harness import lawful

TODAY = date(2026, 11, 23)
LINK = {
    "register": "npd",
    "outcome": "LINKED",
    "weight": 17.437182736451,
    "threshold": 9.912736451872,
    "parts": [
        {"what": "Surname", "found": "the same", "bits": 11.123456789012},
        {"what": "Postcode", "found": "another", "bits": -1.686274052561},
        {"what": "Sex", "found": "not known", "bits": 0.0},
    ],
}
CASE = {
    "case_id": "rt-1",
    "project": "tf-2026",
    "right": "access",
    "received": "2026-11-02",
    "due": "2026-12-02",
    "extended": None,
    "decided": "2026-11-23",
    "outcome": "granted",
    "reasons": [],
    "contacts": [{"who": "regulator", "name": "Information Commissioner's Office", "how": "ico.org.uk"}],
}


def kinds_of(declared):
    return {column.name: column.kind.value for column in declared.columns}


def halves(right="access", **changes):
    scheme = schemes.scheme("tf-2015")
    record = ProjectRecord.read("tf-2026", lawful("families", "npd"))
    mine = {
        "case": CASE | {"right": right},
        "records": [
            {
                "version": 1,
                "source": "fenham",
                "received": "2026-03-04",
                "names": [{"given": "Noah", "surname": "Ellis"}],
                "born": "1979-11-21",
                "addresses": [{"postcode": "CB27QX"}],
                "nhs": "9434765919",
                "former": [{"what": "surname", "value": "Hale", "until": "2020-01-31"}],
            }
        ],
        "logic": list(words.LOGIC),
        "joins": [{"weight": 12.3, "run": 1, "words": words.of_record_link(12.345678, False)}],
        "links": [{**LINK, "words": words.of_link(LINK)}],
        "disclosures": [{"who": "hmpps", "fields": ["surname"], "why": "evaluation", "day": "2026-05-06"}],
        "requests": [CASE],
        "terms": notice.terms(record, TODAY),
    } | changes
    families = {
        "name": "families",
        "source": "sent",
        "third_party": ["relation"],
        "kinds": kinds_of(dataset(scheme, ["fenham"])),
        "rows": [
            {
                "council": "fenham",
                "scheme": "tf-2015",
                "as_of": "2024-12",
                "birth_quarter": "1979-Q4",
                "school": True,
                "problem_debt": False,
                "school_source": "professional",
                "arm": "programme",
                "intensity": "light",
                "relation": "parent",
            }
        ],
    }
    npd = registers.load("npd")
    pupils = {
        "name": "npd",
        "source": "register",
        "third_party": [],
        "kinds": kinds_of(npd.dataset),
        "rows": [
            {"school_year": 2020, "census_month": None, "sessions_missed": 3},
            {"school_year": 2019, "census_month": "2019-10", "sessions_missed": 12},
        ],
    }
    linked = {
        "name": "links",
        "source": "linkage",
        "third_party": [],
        "kinds": {},
        "rows": [{"register": "hes", "outcome": "NOT_LINKED", "stage": None, "band": None}],
    }
    theirs = {
        "datasets": [families, pupils, linked],
        "flags": ["RESTRICTED"],
        "purposes": [],
        "waiting": 0,
        "disclosures": [
            {"who": ["nis", "alice"], "fields": ["school"], "why": "evaluation: x", "day": "2026-06-07"}
        ],
    }
    return mine, theirs


def opened(right="access", **changes):
    """As on the officer's machine: both halves sealed, opened, joined."""
    key, _ = OpeningKey.generate()
    sealed = [
        seal(key.public, json.dumps(half).encode(), *context("rt-1", "tf-2026", name))
        for half, name in zip(halves(right, **changes), (IDENTITY, ATTRIBUTES), strict=True)
    ]
    return joined([key], "rt-1", "tf-2026", *sealed)


def test_r59_an_answer_can_be_read_in_the_order_of_article_15():
    text = letter(opened())
    headings = re.findall(r"^\d+\. (.*?)(?: \(.*)?$", text, re.MULTILINE)
    assert headings == [
        "What is held",
        "Where it is from",
        "Why it is used, and by whom",
        "On what basis",
        "Who got it",
        "How long it is kept",
        "What machines decided",
        "Your requests until now",
        "Your rights",
    ]
    plain = " ".join(text.split())
    for said in (
        "Received on 2 November 2026, granted on 23 November 2026",
        "Date of birth 21 November 1979",
        "Address CB2 7QX",
        "Former surname Hale to 31 January 2020",
        # Codes with the words of the scheme, and of the register.
        "Scheme: Troubled Families programme, 2015 to 2020 (tf-2015)",
        "As of: December 2024",
        "Born in the quarter: October to December 1979",
        "School absence problems: yes",
        "Experience problem debt: no",
        "Who told: School absence problems: A professional who knows them (professional)",
        "Group: Gets the programme's support (programme)",
        "Amount of support: Fewer than 20 hours (light)",
        "Month of the school census: October 2019",
        "National Pupil Database (npd): Department for Education",
        "Department of Families decides what the data are used for",
        "UK GDPR Article 6(1)(e)",
        "Digital Economy Act 2017 section 64",
        "- 6 May 2026: hmpps, for evaluation. Fields: surname.",
        "- 7 June 2026: nis, alice, for evaluation: x. Fields: school.",
        "at most 31 days after receipt",
        "It is restricted: kept, and used for nothing.",
        "Hospital Episode Statistics (hes): no row of it was found to be yours.",
        "The regulator: Information Commissioner's Office, ico.org.uk",
    ):
        assert said in plain, said
    assert plain.index("school year began: 2019") < plain.index("school year began: 2020")
    assert max(map(len, text.splitlines())) <= 110


def test_r59_weights_have_one_decimal_and_words_how_strong():
    text = " ".join(letter(opened()).split())
    # A part says what it does to the odds, and not how likely it is in the end.
    by = "the odds that they are about one person are multiplied by 2,231 (+11.1 bits)."
    assert f"This speaks very strongly for it: {by}" in text
    by = "the odds that they are about one person are divided by 3.2 (-1.7 bits)."
    assert f"This speaks weakly against it: {by}" in text
    assert "one bit doubles the odds" in text
    assert not re.search("times (more|less) likely|twice as likely", text)
    assert "Sex: not known. This speaks neither way." in text
    assert "National Pupil Database (npd): a row of it was taken to be yours." in text
    assert "(+11.1 bits)" in text
    assert (
        "Together this speaks very strongly for it (+17.4 bits). The threshold of +9.9 bits is reached."
        in text
    )
    assert not re.search(r"\d\.\d\d", text)


def test_r59_columns_about_others_are_no_more_in_the_text_than_in_the_json():
    document = opened()
    assert '"relation"' not in json.dumps(document)
    text = letter(document)
    assert "About other people: 1 column is left out." in text
    assert "In the family" not in text


def test_r63_r65_other_answers_have_what_was_asked_and_no_more():
    provided = letter(
        opened("portability", logic=[], joins=[], links=[], disclosures=[], requests=[], terms={})
    )
    assert "What is held" in provided
    assert "What machines decided" not in provided
    explained = letter(opened("explanation", records=[]))
    assert "What machines decided" in explained
    assert "What is held" not in explained


def test_r59_what_is_not_in_force_is_told_in_an_answer_too():
    record = ProjectRecord.read("tf-2026", lawful("families", end="2090-01-01"))
    late = ProjectRecord.read(
        "tf-2026",
        lawful("families", accreditations=[{"of": "project", "reference": "D", "expires": "2020-01-31"}]),
    )
    told = projects_terms({"tf-2026": record, "late-2026": late})
    assert told("of-nobody") == {}
    assert "NOT IN FORCE" not in letter(opened(terms=told("tf-2026")))
    text = " ".join(letter(opened(terms=told("late-2026"))).split())
    assert "NOT IN FORCE: no data are used for this at present." in text
    assert "expired on 31 January 2020" in text
    assert "Accreditation of the project" not in text


def test_r59_what_the_roles_were_not_told_is_marked_for_whoever_answers():
    assert letter(opened(terms={})).count("[To be added by hand") == 3
    assert "[To be added" not in letter(opened())


def test_r59_a_half_that_was_sealed_in_another_form_is_refused_and_it_is_told_what_to_do():
    key, _ = OpeningKey.generate()
    of_before = ("rights-answer/1", "rt-1", "tf-2026")
    sealed = [
        seal(key.public, json.dumps(half).encode(), *of_before, name)
        for half, name in zip(halves(), (IDENTITY, ATTRIBUTES), strict=True)
    ]
    with pytest.raises(SealedError, match="have the request opened again"):
        joined([key], "rt-1", "tf-2026", *sealed)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("restricted", "It is restricted: kept, and used for nothing."),
        ("objected", "You objected: it is kept, and used for nothing."),
        ("limited", "It is restricted for some purposes."),
        ("active", ""),
    ],
)
def test_r62_who_has_no_attributes_is_told_of_a_restriction_too(state, said):
    document = opened(state=[state])
    document["attributes"] |= {"datasets": [], "flags": []}
    text = letter(document)
    assert [one for one in labels.FLAGS.values() if one in text] == ([said] if said else [])
    assert state.upper() not in text


def test_r62_a_restriction_that_both_roles_know_of_is_told_once():
    assert letter(opened(state=["restricted"])).count(labels.FLAGS["RESTRICTED"]) == 1


def test_r59_where_nobody_is_named_for_complaints_it_is_marked_for_whoever_answers():
    named = "names nobody to complain to.]"
    assert named not in letter(opened())
    assert letter(opened(case=CASE | {"contacts": []})).count(named) == 1


@given(st.floats(-80, 80))
def test_r65_a_weight_speaks_for_or_against_and_louder_the_larger_it_is(bits):
    order = ("neither", "weakly", "clearly", "strongly", "very strongly")
    found = [place for place, word in enumerate(order) if f" {word} " in f" {words.speaks(bits)} "]
    limits = (0.05, 3, 6, 10)
    assert max(found) == sum(abs(bits) >= limit for limit in limits)
    assert (" for it" in words.speaks(bits)) == (bits >= 0.05)


@pytest.mark.parametrize("name", schemes.names())
def test_r59_every_column_of_a_scheme_has_words(name):
    declared = dataset(schemes.scheme(name), ["fenham"])
    row = {"scheme": name}
    for column in declared.columns:
        examples = {
            Kind.CODE: column.codes,
            Kind.MONTH: ("2024-02",),
            Kind.QUARTER: ("2024-Q1", "2024-Q4"),
            Kind.FLAG: (True, False),
        }.get(column.kind, (3,))
        for said in examples:
            what, value = labels.value("families", column.kind.value, column.name, said, row)
            assert what
            assert "_" not in what
            assert value
