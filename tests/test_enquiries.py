import polars as pl
import pytest

from linker.classifiers import febrl
from linker.enquiries import answer_homes, answer_persons, own_list, tidied
from linker.errors import LayoutError, RecordsError

LIST = """First name,Last name,DOB,NINO,on benefit
Jon,Smith,1990-04-03,AB123456C,yes
Katherine,O'Brien,04/12/1985,,no
Anne,Twin,2000-01-02,,yes
Mary,Jones,1970-05-05,,yes
Mary,Jones,1970-05-05,,no
Peter,Long,1980-02-20,,yes
Peter,Long,1980-02-20,,yes
Mohammed,Begum,1975-03-09,,no
"""


def written(tmp_path, text):
    path = tmp_path / "list.csv"
    path.write_text(text)
    return path


def answers(own, *people):
    """By question; each person is forename, surname, date of birth and perhaps a NINO."""
    rows = [(str(place), *one, *[None] * (4 - len(one))) for place, one in enumerate(people)]
    columns = ("question", "forename", "surname", "date_of_birth", "nino")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    return [word for _, word in sorted(answer_persons(frame, own).rows(), key=lambda row: int(row[0]))]


@pytest.fixture
def own(tmp_path):
    return own_list(written(tmp_path, LIST), "on benefit")


def test_r15_people_are_found_however_they_are_written(own):
    found = answers(
        own,
        ("Jon", "Smith", "1990-04-03"),
        ("Kate", "OBrien", "1985-12-04"),  # nickname, apostrophe
        ("Muhammad", "Begum", "1975-03-09"),  # another spelling
        ("Long", "Peter", "1980-02-20"),  # exchanged
    )
    assert found == ["yes", "no", "no", "yes"]
    assert answers(own, ("Mohammed", "Begum", "1975-09-03")) == ["no"]  # day and month exchanged


def test_r15_who_is_not_on_the_list_is_not_found(own):
    found = answers(
        own,
        ("Zoe", "Twin", "2000-01-02"),  # a twin of somebody who is
        ("Jon", "Smith", "1961-11-28"),  # a namesake
        ("Nobody", "Known", "1999-09-09"),
        ("Sam", "New", "1990-04-03", "AB123456C"),  # another's number, and nothing else but the birthday
    )
    assert found == ["not_found"] * 4


def test_r15_who_could_be_several_is_not_found(own):
    # Two records that are as good: different answers say nothing, equal ones do.
    assert answers(own, ("Mary", "Jones", "1970-05-05"), ("Peter", "Long", "1980-02-20")) == [
        "not_found",
        "yes",
    ]


def test_r15_a_record_that_could_be_two_who_were_asked_for_answers_for_neither(own):
    assert answers(own, ("Ann", "Twin", "2000-01-02"), ("Anna", "Twin", "2000-01-02")) == ["not_found"] * 2
    # Who is it to the letter is; the one that is only like is not.
    assert answers(own, ("Anne", "Twin", "2000-01-02"), ("Zana", "Twin", "2000-01-02")) == [
        "yes",
        "not_found",
    ]


def test_r15_who_is_asked_for_to_the_letter_is_not_hidden_by_one_who_is_only_like(own):
    # Both could be the record; the second by exchanged names alone, and far behind.
    assert answers(own, ("Long", "Peter", "1980-02-20")) == ["yes"]
    both = answers(own, ("Peter", "Long", "1980-02-20"), ("Long", "Peter", "1980-02-20"))
    assert both == ["yes", "not_found"]


def test_r15_the_same_person_asked_for_twice_is_answered_twice(own):
    assert answers(own, *[("Anne", "Twin", "2000-01-02")] * 2) == ["yes"] * 2


def test_r15_a_national_insurance_number_outweighs_another_forename(own):
    assert answers(own, ("Sarah", "Smith", "1990-04-03", "AB 12 34 56")) == ["yes"]
    assert answers(own, ("Sarah", "Smith", "1990-04-03")) == ["not_found"]


def test_r15_of_heavily_distorted_people_most_are_found_and_nobody_who_is_not_there(tmp_path):
    """FEBRL 4: every second person's distorted copy is on the list; names and birthdays are all there is."""
    data = febrl(4)
    copies = dict(data.truth.rows())
    listed = set(sorted(copies.values())[::2])
    wanted = ["rec_id", "given_name", "surname", "date_of_birth"]
    assert data.right is not None
    data.right.filter(pl.col("rec_id").is_in(list(listed))).select(wanted).write_csv(tmp_path / "list.csv")
    asked = data.left.select(wanted).drop_nulls()
    asked.columns = ["question", "forename", "surname", "date_of_birth"]
    told = answer_persons(asked, own_list(tmp_path / "list.csv"))
    yes = set(told.filter(pl.col("answer") == "yes")["question"])
    there = {name for name in asked["question"] if copies[name] in listed}
    assert 2_000 < len(there) < 2_500
    assert not yes - there
    assert len(yes) > 0.75 * len(there)


def test_r17_a_family_is_answered_as_one(own):
    frame = pl.DataFrame(
        [
            ("a", "Nobody", "Known", "1999-09-09"),
            ("a", "Jon", "Smith", "1990-04-03"),
            ("a", "Katherine", "O'Brien", "1985-12-04"),
            ("b", "Katherine", "O'Brien", "1985-12-04"),
            ("b", "Nobody", "Known", "1999-09-09"),
            ("c", "Nobody", "Known", "1999-09-09"),
        ],
        schema=["question", "forename", "surname", "date_of_birth"],
        orient="row",
    )
    assert answer_persons(frame, own).rows() == [("a", "yes"), ("b", "no"), ("c", "not_found")]


def test_everybody_on_a_list_without_answers_is_a_yes(tmp_path):
    own = own_list(written(tmp_path, LIST))
    assert answers(own, ("Katherine", "O'Brien", "1985-12-04"), ("Nobody", "Known", "1999-09-09")) == [
        "yes",
        "not_found",
    ]


def test_a_list_whose_answers_are_neither_is_refused_and_nothing_of_it_told(tmp_path):
    path = written(tmp_path, LIST + "Odd,Canary,1980-02-21,,perhaps\n")
    with pytest.raises(RecordsError) as refused:
        own_list(path, "on benefit")
    assert "1 rows" in str(refused.value)
    assert "perhaps" not in str(refused.value)
    with pytest.raises(LayoutError):
        own_list(path, "no such column")


def test_a_list_that_cannot_answer_is_refused(tmp_path, own):
    homes = own_list(written(tmp_path, "address,postcode\n14 High Street,CB7 4AB\n"))
    with pytest.raises(LayoutError):
        answers(homes, ("Jon", "Smith", "1990-04-03"))
    with pytest.raises(LayoutError):
        answer_homes(HOMES, own)


HOMES = pl.DataFrame(
    {
        "question": ["a", "b", "c", "d"],
        "address": ["Flat 2, 14 High Street", "Flat 3, 14 High Street", "4 Mill Road", "9 Mill Road"],
        "postcode": ["CB7 4AB", "CB7 4AB", "CB7 4AD", "CB7 4AD"],
        "uprn": pl.Series([None] * 4, dtype=pl.String),
    }
)


def test_r18_homes_are_answered_by_their_address_alone(tmp_path):
    text = """incident,address,postcode,said
1,"14 High St, FLAT 2",cb74ab,yes
1,"14 High St, FLAT 2",cb74ab,yes
2,4 Mill Rd,CB7 4AD,yes
3,4 Mill Rd,CB7 4AD,no
"""
    own = own_list(written(tmp_path, text), "said")
    assert answer_homes(HOMES, own).rows() == [
        ("a", "yes"),
        ("b", "not_found"),
        ("c", "not_found"),  # two answers for one home: neither
        ("d", "not_found"),
    ]


def test_r18_an_address_is_found_whoever_lives_there(tmp_path):
    """Names in a partner's list change no answer about a home."""
    own = own_list(
        written(tmp_path, "forename,surname,address,postcode\nAnybody,Else,14 High St Flat 2,CB7 4AB\n")
    )
    assert answer_homes(HOMES, own).rows()[0] == ("a", "yes")


def test_a_councils_file_has_its_dates_and_numbers_in_one_form(tmp_path):
    text = "born,nino,kept\n03/04/1990,ab 12 34 56 c,x\n12 May 1985,QQ123456A,\n,,y\n"
    frame = tidied(written(tmp_path, text), {"date_of_birth": "born"})
    assert frame["date_of_birth"].to_list() == ["1990-04-03", "1985-05-12", None]
    assert frame["nino"].to_list() == ["AB123456C", None, None]
