"""Rules, sealed: what whoever has the files learns with the key, and without."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from linker.forms import forms
from pseudonym.errors import SealBrokenError
from pseudonym.holders import PrfKey
from pseudonym.optouts.book import Book, fresh_name
from pseudonym.optouts.rules import Asked, Ground, Kind, Override, Rule, State
from pseudonym.optouts.tokens import tokens
from tests.pseudonym.optouts.people import KEY, Kept, anybody, rows

ASKED = Asked("r-12345678", "tf-2026", "rights", "officer/olive", "ab12", "2026-11-23T00:00:00+00:00")


def withdrawal(book, **changes):
    person = book.tokens(rows(anybody(**changes)))
    return book.keep(Rule(fresh_name(), Kind.WITHDRAWAL, State.DONE, ASKED, 1, (person,)))


def test_a_rule_holds_once_it_is_written_and_after_the_next_start():
    kept = Kept()
    book = Book(kept, KEY, forms)
    later = rows(anybody(given="Ameila", postcode="PE274QX", nhs=None))
    assert book.screened(later).withdrawn.is_empty()
    rule = withdrawal(book)
    assert book.screened(later).withdrawn.height == 1
    again = Book(kept, KEY, forms)
    assert again.screened(later).withdrawn.height == 1
    assert again.all() == [rule]
    assert again.of_request("r-12345678") == [rule]


def test_r52_who_withdrew_is_known_by_an_alias_of_a_row_too():
    book = Book(Kept(), KEY, forms)
    withdrawal(book)
    renamed = anybody(given="Zara", surname="Thistle", postcode="LS14AP", nhs=None)
    alias = {"given": "Amelia", "surname": "Okonkwo-Baxter"}
    told = book.screened(rows(renamed, renamed | {"aliases": [alias | {"surname": "Lee"}, alias]}))
    assert told.withdrawn.rows() == [(1, 0)]


def test_r55_a_number_is_taken_out_of_rows_of_the_person_and_of_nobody_else():
    book = Book(Kept(), KEY, forms)
    person = book.tokens(rows(anybody()))
    book.keep(Rule(fresh_name(), Kind.NHS_NUMBER, State.DONE, ASKED, 1, (person,), (bytes(16),)))
    twin = anybody(given="Wilfred", sex="M", nhs="9434765870")
    screened = book.screened(rows(anybody(nhs="9434765889"), twin))  # a number that was never known of them
    assert screened.rows["nhs"].to_list() == [None, "9434765870"]
    assert screened.withdrawn.is_empty()


def test_without_the_key_the_files_say_nothing_and_with_it_they_can_be_tried_against_identifiers():
    """What SECURITY.md says of them: a dictionary needs the suppression key as well."""
    kept = Kept()
    book = Book(kept, KEY, forms)
    withdrawal(book)
    (content,) = kept.values()
    octets = bytes.fromhex(str(content["sealed"]))
    guesses = [b"9434765919", b"OKONKWOBAXTER", b"20110203", b"CB11AA", b"AMELIA"]
    for guess in guesses:
        assert guess not in octets
        assert hashlib.sha256(guess).digest()[:16] not in octets
        assert hmac.digest(bytes(32), guess, "sha256")[:16] not in octets
    # Not even the tokens lie in the file as they are …
    by_key = tokens(KEY.digests, "nhs", ["9434765919"])[0]
    assert by_key not in octets
    other = PrfKey("other", bytes(32))
    with pytest.raises(SealBrokenError):
        Book(kept, other, forms)
    # … but whoever has the key opens the file, and finds the number among guesses.
    (rule,) = Book(kept, KEY, forms).all()
    assert by_key in rule.tokens[0]["nhs"]


def test_two_people_cannot_be_told_by_the_size_or_start_of_their_papers():
    kept = Kept()
    book = Book(kept, KEY, forms)
    withdrawal(book)
    withdrawal(book, given="Bo", surname="Li", postcode=None, nhs=None)
    one, other = (str(content["sealed"]) for content in kept.values())
    assert len(one) == len(other)
    assert one[:26] != other[:26]


def test_a_paper_that_was_altered_or_exchanged_is_refused():
    kept = Kept()
    book = Book(kept, KEY, forms)
    withdrawal(book)
    withdrawal(book, given="Noah")
    first, second = kept
    exchanged = Kept({first: kept[second], second: kept[first]})
    flipped = str(kept[first]["sealed"])
    altered = Kept({first: {"format": 1, "sealed": flipped[:-2] + ("00" if flipped[-2:] != "00" else "01")}})
    for some in (exchanged, altered, Kept({first: {"format": 1}})):
        with pytest.raises(SealBrokenError):
            Book(some, KEY, forms)


def test_r56_what_a_person_is_told_names_the_ground_and_the_reference():
    override = Override(Ground.HARM, "CP-7", "", "2026-11-23T00:00:00+00:00")
    assert "prevent harm to a child" in override.text()
    assert "CP-7" in override.text()
    rule = Rule("oo-1", Kind.SHARING, State.DONE, ASKED, 1, (), (bytes(16),), (override,))
    assert rule.shares("hes")
    assert Rule.read(rule.spelt()) == rule
