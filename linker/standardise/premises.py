"""Premises: what tells one home in a postcode from another, however its address is written.

    "Flat 2, 14 High St." and "14 High Street, Flat 2"   →   numbers "14 2", unit "2", street HG
    "14A High Street" and "Flat A, 14 High Street"       →   numbers "14 A"
    "Rose Cottage, Mill Lane"                            →   no numbers, building RS, street ML

Numbers are taken from the whole address, in no order, so that lines may be exchanged and a flat need not be
called one. What is called a flat, a room or a floor is told apart as `unit`.
"""

from __future__ import annotations

import polars as pl
from polars import field

from linker.standardise.addresses import FLAT, FLAT_STROKE, POSTCODE_LAST, folded, full_words
from linker.standardise.postcodes import postcode
from linker.standardise.steps import Standard, let
from linker.standardise.text import none_if_empty

_BUILDINGS = (
    "HOUSE|COURT|COTTAGES?|FARM|FARMHOUSE|LODGE|HALL|HOSTEL|BARN|MANOR|VILLAS?|BUNGALOW|RECTORY|VICARAGE"
    "|GRANGE|TOWERS?|MANSIONS|REFUGE|SHELTER|FOYER|BUILDINGS?|POINT|HEIGHTS|ALMSHOUSES|CENTRE|HOME"
)
_STREETS = (
    "ROAD|STREET|LANE|AVENUE|CLOSE|DRIVE|CRESCENT|GARDENS|GREEN|GROVE|PLACE|PARK|SQUARE|TERRACE|WAY|WALK"
    "|BOULEVARD|RISE|VIEW|MEADOWS?|YARD|HILL|ROW|MEWS|PARADE|PASSAGE|DROVE|END"
)
_FLOOR = (
    r"\b(BASEMENT|GROUND|FIRST|SECOND|THIRD|FOURTH|FIFTH|TOP|UPPER|LOWER|REAR|FRONT|GARDENS?)"
    r" (?:FLOOR(?: (?:FLAT|MAISONETTE|APARTMENT|ROOM))?|FLAT|MAISONETTE|APARTMENT)\b"
)
_UNIT_WORDS = r"\b(FLAT|FLT|APARTMENT|APT|UNIT|ROOM|RM|SUITE|STUDIO|MAISONETTE|BEDSIT)"
_COUNTED = ("ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE", "TEN", "ELEVEN", "TWELVE")
_ORDINALS = {"1ST": "FIRST", "2ND": "SECOND", "3RD": "THIRD", "4TH": "FOURTH", "5TH": "FIFTH"}


def premises(raw: pl.Expr) -> Standard:
    """What a whole address says of a home, beside its postcode.

    Returns:
        `numbers`: every number and single letter, sorted,
        spaces between, "" where there is none, null where nothing is written; `unit`: flat, room or floor;
        `buildings` and `streets`: skeletons of their names, sorted lists, empty where none is recognised.
    """
    line, words, numbered = field("_line"), field("_words"), field("_numbered")
    flat = line.str.extract(FLAT, 1).str.strip_chars_start("0")
    floor = words.str.extract(_FLOOR, 1)
    several = numbered.str.extract_all("[0-9]+(?:-[0-9]+)?").list.len() > 1
    first_of_two = pl.when(several).then(line.str.extract(r"^([0-9]+[A-Z]?)\b", 1))
    without = words.str.replace_all(_FLOOR, " ").str.replace_all(_UNIT_WORDS + r"\b", " ")
    spaced = (
        without.str.replace_all(r"\b[0-9]+(?:ST|ND|RD|TH)\b", " ")
        .str.replace_all("([0-9])([A-Z])", "${1} ${2}")
        .str.replace_all("([A-Z])([0-9])", "${1} ${2}")
    )
    return let(
        raw,
        {"_whole": folded(field("_raw"))},
        {"_line": none_if_empty(_counted(_bare(field("_whole"))).str.strip_chars(" ,."))},
        {"_words": _full(line)},
        {"_numbered": spaced},
        {
            "unit": pl.coalesce(
                floor + pl.coalesce(flat, pl.lit("")), flat, line.str.extract(FLAT_STROKE, 1), first_of_two
            ),
            "numbers": numbered.str.extract_all(r"[0-9]+(?:-[0-9]+)?|\b[A-Z]\b")
            .list.eval(pl.element().str.replace("^0+([0-9])", "${1}"))
            .list.concat(pl.concat_list(floor).list.drop_nulls())
            .list.sort()
            .list.join(" "),
            "streets": _skeletons(words.str.extract_all(rf"[A-Z]+ (?:{_STREETS})\b")),
            "buildings": _skeletons(
                words.str.extract_all(rf"[A-Z]+ (?:{_BUILDINGS})\b").list.concat(
                    pl.concat_list(_first_name(line)).list.drop_nulls()
                )
            ),
        },
    )


def last_postcode(raw: pl.Expr) -> pl.Expr:
    """The postcode at the end of a whole address, in its canonical form; null where there is none."""
    return postcode(folded(raw).str.extract(POSTCODE_LAST, 1)).part("")


def _bare(whole: pl.Expr) -> pl.Expr:
    """Without the postcode, and without whom it is in care of."""
    text = whole.str.replace(POSTCODE_LAST, "")
    return text.str.replace(r"\bC\s*/\s*O\b[^,]*(?:,|$)", "").str.replace_all(r"\bNO\.? ?([0-9])", "${1}")


def _counted(line: pl.Expr) -> pl.Expr:
    """Words as numbers: FLAT TWO as FLAT 2, and 1ST FLOOR as FIRST FLOOR."""
    for number, word in enumerate(_COUNTED, 1):
        line = line.str.replace_all(rf"{_UNIT_WORDS} {word}\b", f"${{1}} {number}")
    for short, word in _ORDINALS.items():
        line = line.str.replace_all(rf"\b{short} (FLOOR|FLAT)\b", f"{word} ${{1}}")
    return line


def _full(line: pl.Expr) -> pl.Expr:
    """Words in full; a stroke parts numbers, and the dash of a range stays."""
    ranged = line.str.replace_all(r"([0-9])-([0-9])", "${1}DASH${2}")
    # A street at the end of its line, before a flat that is written behind it.
    street = ranged.str.replace_all(rf"\bST\.?\s+({_UNIT_WORDS[2:]}\b)", "STREET, ${1}")
    return full_words(street).str.replace_all("([0-9])DASH([0-9])", "${1}-${2}")


def _first_name(line: pl.Expr) -> pl.Expr:
    """The first word of a first line that is a house's name: "The Beeches, Mill Lane" gives "BEECHES -"."""
    named = line.str.extract(r"^(?:THE )?([A-Z][A-Z ]+),", 1)
    other = line.str.contains(rf"[0-9]|{_UNIT_WORDS}") | full_words(named).str.contains(rf"\b(?:{_STREETS})$")
    return pl.when(~other).then(named.str.extract("^([A-Z]+)", 1) + " -")


def _skeletons(names: pl.Expr) -> pl.Expr:
    """First words without vowels and double letters: "BEECHES HOUSE" and "BEACHES HSE" are both "BCS"."""
    word = pl.element().str.extract("^([A-Z]+)", 1).str.replace_all("([A-Z])[AEIOUHWY]+", "${1}")
    doubled = [2 * letter for letter in "BCDFGKLMNPRSTZ"]
    short = word.str.replace_many(doubled, [letter[0] for letter in doubled])
    return names.list.eval(short).list.unique().list.sort()
