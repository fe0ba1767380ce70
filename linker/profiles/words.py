"""The words that a profile's conditions are written in, and values that a record has several of.

    "dob & forename | dob_part & forename & postcode"     and binds before or

A record may have several values of a field: aliases, former names, earlier postcodes. A test is then met by
any value of one side with any of the other. Of a protected person (adoption, a change of gender, a witness)
only the present values count, and only against present ones: the column `NAME.open` of the left side is NAME
without them, and meets the further values of the right.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import product

from linker.conditions import All, Any, Condition, Not, Op, Test, exact, missing, test
from linker.errors import ProfileError

OPEN = ".open"
Further = Mapping[str, tuple[str, ...]]


def pairs_of(base: str, others: tuple[str, ...]) -> list[tuple[str, str]]:
    """Every pair of a left and a right value but the two main ones."""
    values = (base, *others)
    return [pair for pair in product(values, values) if pair != (base, base)]


def between(condition: Condition, base: str, left: str, right: str) -> Condition:
    """The condition on one field for another value of the left and of the right."""
    match condition:
        case Test(op, one, other, value) if one.split(".")[0] == other.split(".")[0] == base:
            made = left + one[len(base) :]
            # A left value that is itself a further one is taken from protected people altogether.
            opened = made + OPEN if left == base and right != base else made
            return Test(op, opened, right + other[len(base) :], value)
        case Test():
            return condition
        case Not(of=part):
            return Not(between(part, base, left, right))
        case All(of=parts) | Any(of=parts):
            return type(condition)(tuple(between(part, base, left, right) for part in parts))


def any_value(condition: Condition, base: str, others: tuple[str, ...]) -> Condition:
    """The condition on one field, met by any value of either side."""
    further = tuple(between(condition, base, *pair) for pair in pairs_of(base, others))
    return Any((condition, *further)) if further else condition


def _date_in_part(name: str) -> Condition:
    year, month, day = (exact(f"{name}.{part}") for part in ("year", "month", "day"))
    two = (All((year, month)), All((year, day)), All((month, day)))
    turned = Any((Test(Op.EXACT, f"{name}.swapped", name), Test(Op.EXACT, name, f"{name}.swapped")))
    return Any((turned, test(Op.DAMERAU, name, 1), *two))


_NAMES_TURNED = All(
    (Test(Op.EXACT, "forename.first", "surname"), Test(Op.EXACT, "surname", "forename.first"))
)
_FORENAME = Any(
    (
        exact("forename"),
        exact("forename.joined"),
        exact("forename.first"),
        test(Op.COMMON, "forename.nickname", 1),
        test(Op.JARO_WINKLER, "forename", 0.9),
        test(Op.DAMERAU, "forename", 1),
        Test(Op.EXACT, "forename", "forename.initial"),
        Test(Op.EXACT, "forename.initial", "forename"),
    )
)
_FORENAME_SURE = Any(
    (
        exact("forename.joined"),
        exact("forename.first"),
        test(Op.COMMON, "forename.nickname", 1),
        All((test(Op.JARO_WINKLER, "forename", 0.9), exact("forename.soundex"))),
    )
)
_NUMBERS = ("nhs_number", "nino.first8", "upn", "uln", "pncid", "cro", "prison_number")
_NO_OTHER_NUMBER = All(tuple(Any((missing(name), exact(name))) for name in _NUMBERS))
_SURNAME = Any(
    (
        exact("surname"),
        exact("surname.joined"),
        exact("surname.expanded"),
        test(Op.JARO_WINKLER, "surname", 0.92),
        test(Op.DAMERAU, "surname", 1),
        test(Op.COMMON, "surname.tokens", 1),
    )
)
_INITIALS_TURNED = Any((Test(Op.EXACT, "initials", "initials.turned"), exact("initials")))

# By word: the field whose several values count, and the condition on its main value.
_WORDS: dict[str, tuple[str, Condition]] = {
    "dob": ("date_of_birth", exact("date_of_birth")),
    "dob_part": ("date_of_birth", _date_in_part("date_of_birth")),
    "year": ("date_of_birth", exact("date_of_birth.year")),
    "sex": ("sex", exact("sex")),
    "forename_same": ("forename", Any((exact("forename"), exact("forename.first")))),
    "forename": ("forename", _FORENAME),
    "forename_sure": ("forename", _FORENAME_SURE),
    "no_other_number": ("", _NO_OTHER_NUMBER),
    "surname_same": ("surname", Any((exact("surname"), exact("surname.joined")))),
    "surname": ("surname", _SURNAME),
    "names_turned": ("", _NAMES_TURNED),
    "initials": ("initials", exact("initials")),
    "initials_turned": ("", _INITIALS_TURNED),
    "postcode": ("postcode", exact("postcode")),
    "sector": ("postcode", exact("postcode.sector")),
    "outcode": ("postcode", exact("postcode.outcode")),
    "house": ("house", exact("house")),
    "partial_postcode": ("partial_postcode", exact("partial_postcode")),
    "partial_outcode": ("partial_postcode", exact("partial_postcode.outcode")),
    "local_authority": ("local_authority", exact("local_authority")),
}
NOT_AGAINST = "_not_against"  # the word holds, or a value of its field is missing


def condition_of(text: str, further: Further) -> Condition:
    """The condition that a profile writes in words.

    Args:
        text: words joined by & and |.
        further: the further values of each field.

    Raises:
        ProfileError: names a word that is not known.
    """
    ways = []
    for way in text.split("|"):
        parts = tuple(_word(word.strip(), further) for word in way.split("&"))
        ways.append(parts[0] if len(parts) == 1 else All(parts))
    return ways[0] if len(ways) == 1 else Any(tuple(ways))


def _word(word: str, further: Further) -> Condition:
    lenient = word.endswith(NOT_AGAINST)
    known = _WORDS.get(word.removesuffix(NOT_AGAINST))
    if known is None:
        raise ProfileError(
            f"The profile uses the word '{word}', which is not known.",
            f"The words are {', '.join(_WORDS)}; each may end in {NOT_AGAINST}.",
        )
    field, condition = known
    made = any_value(condition, field, further.get(field, ()))
    return Any((missing(field), made)) if lenient and field else made


def opened(names: Collection[str]) -> list[str]:
    """The columns whose open form is read."""
    return sorted({name.removesuffix(OPEN) for name in names if name.endswith(OPEN)})
