"""The set `ons`: the person matchkeys of Census 2021 to Census Coverage Survey.

After `MATCHKEYS` in `ccslink/Parameters.py` of ONS (github.com/Data-Linkage/ccslink), with its numbers, its
order and its limits. Where the words mean something particular:

- A *forename* agrees where the first words do, or all forenames without spaces; a *surname* likewise.
- *Like* is 1 - edits / longer length > 0.60; *alike by Jaro-Winkler* is what the source calls Jaro.
- The *address* is the UPRN, or postcode and house. *Age* is that on Census Day, 21 March 2021.
- A date of birth must be complete and possible to agree.
"""

from __future__ import annotations

from pathlib import Path

from linker.conditions import All, Any, Condition, Not, Op, Test, exact, missing, test
from linker.errors import ModelError
from linker.matchkeys import Matchkey, Matchkeys
from linker.model import BlockingRule

_OVER = 1e-6  # the source's limits are "more than"
_LIKE, _VERY_LIKE = 0.60 + _OVER, 0.80 + _OVER

_BORN, _AGE, _SEX = "date_of_birth.days", "date_of_birth.age", "sex"
_POSTCODE, _UPRN, _HOUSE = "postcode", "uprn", "address.house"
_DAYS_OF_TEN_YEARS = 3653  # with the same day and month: at most ten years apart, and no eleventh


def _all(*parts: Condition) -> Condition:
    return parts[0] if len(parts) == 1 else All(parts)


def _like(column: str, other: str | None = None, limit: float = _LIKE) -> Condition:
    return Test(Op.STANDARDISED_LEVENSHTEIN, column, other or column, limit)


_FORENAME = Any((exact("forename.first"), exact("forename.all")))
_SURNAME = Any((exact("surname.first"), exact("surname.joined")))
_NICKNAME = test(Op.COMMON, "forename.nickname", 1)
_LIKE_FORENAME, _LIKE_SURNAME = _like("forename.first"), _like("surname.first")
_CONTAINED = test(Op.SUBSET, "full_name.tokens", 2)
_SWAPPED = (_like("forename.first", "surname.first"), _like("surname.first", "forename.first"))
_FORENAMES_SWAPPED = Any(
    (
        Test(Op.EXACT, "forename.first", "forename.second"),
        Test(Op.EXACT, "forename.second", "forename.first"),
    )
)
_ONE_DIGIT = All(
    (
        test(Op.LEVENSHTEIN, "date_of_birth", 1),
        Not(missing("date_of_birth.year", "date_of_birth.month", "date_of_birth.day")),
    )
)
_OTHER_NAME = Any(
    (
        All(
            (
                Test(Op.EXACT, "forename.other", "forename.first"),
                Test(Op.EXACT, "surname.other", "surname.first"),
            )
        ),
        All(
            (
                Test(Op.EXACT, "forename.first", "forename.other"),
                Test(Op.EXACT, "surname.first", "surname.other"),
            )
        ),
    )
)


def _within_years(years: int) -> Condition:
    return test(Op.DIFFERENCE, _AGE, years)


def _jaro_winkler(forename: float, surname: float) -> Condition:
    return All(
        (
            test(Op.JARO_WINKLER, "forename.first", forename + _OVER),
            test(Op.JARO_WINKLER, "surname.first", surname + _OVER),
        )
    )


def _rule(*columns: str | tuple[str, str]) -> BlockingRule:
    return BlockingRule(tuple((one, one) if isinstance(one, str) else one for one in columns))


_AT_POSTCODE = (_rule(_BORN, _POSTCODE, _SEX),)
_AT_UPRN = (_rule(_BORN, _UPRN, _SEX),)
_AT_ADDRESS = (*_AT_UPRN, _rule(_BORN, _POSTCODE, _HOUSE, _SEX))


def _key(
    number: int,
    label: str,
    equal: tuple[BlockingRule, ...],
    *where: Condition,
    clerical: bool = False,
    moved: tuple[tuple[str, ...], ...] = (),
) -> Matchkey:
    return Matchkey(f"MK{number:02}", label, equal, _all(*where) if where else None, clerical, moved)


ONS = Matchkeys(
    "ons",
    "1",
    (
        _key(
            1,
            "full name without spaces, date of birth, sex, postcode",
            (_rule("full_name.joined", _BORN, _SEX, _POSTCODE),),
        ),
        _key(2, "forename, surname, date of birth, sex, UPRN", _AT_UPRN, _FORENAME, _SURNAME),
        _key(3, "forename, surname, date of birth, sex, postcode", _AT_POSTCODE, _FORENAME, _SURNAME),
        _key(
            4,
            "letters of the full name in any order, date of birth, sex, postcode",
            (_rule("full_name.sorted", _BORN, _SEX, _POSTCODE),),
        ),
        _key(5, "nickname, surname, date of birth, sex, postcode", _AT_POSTCODE, _NICKNAME, _SURNAME),
        _key(6, "nickname, surname, age, sex, UPRN", (_rule(_AGE, _UPRN, _SEX),), _NICKNAME, _SURNAME),
        _key(
            7,
            "all words of the shorter name (two at least) in the longer, date of birth, sex, address",
            _AT_ADDRESS,
            _CONTAINED,
        ),
        _key(
            8,
            "full name within two edits, date of birth, sex, postcode",
            _AT_POSTCODE,
            test(Op.LEVENSHTEIN, "full_name.joined", 2),
        ),
        _key(
            9,
            "Soundex of forename and surname, date of birth, sex, postcode",
            (_rule("forename.soundex", "surname.soundex", _BORN, _SEX, _POSTCODE),),
        ),
        _key(
            10,
            "forename, surname, date of birth, postcode; sex may differ",
            (_rule(_BORN, _POSTCODE),),
            _FORENAME,
            _SURNAME,
        ),
        _key(
            11,
            "forename and surname alike by Jaro-Winkler (0.9, 0.8), date of birth, sex, postcode",
            _AT_POSTCODE,
            _jaro_winkler(0.9, 0.8),
        ),
        _key(
            12,
            "like forename and surname, date of birth, sex, postcode",
            _AT_POSTCODE,
            _LIKE_FORENAME,
            _LIKE_SURNAME,
        ),
        _key(13, "names swapped and like, date of birth, sex, postcode", _AT_POSTCODE, *_SWAPPED),
        _key(
            14,
            "second forename, surname, date of birth, sex, postcode",
            (_rule("forename.second", _BORN, _SEX, _POSTCODE),),
            _SURNAME,
            clerical=True,
        ),
        _key(
            15,
            "like first and second forename, date of birth, sex, postcode",
            _AT_POSTCODE,
            _LIKE_FORENAME,
            _like("forename.second"),
        ),
        _key(
            16,
            "forenames swapped, surname, date of birth, sex, address",
            _AT_ADDRESS,
            _FORENAMES_SWAPPED,
            _SURNAME,
        ),
        _key(17, "forename, date of birth, sex, address", _AT_ADDRESS, _FORENAME),
        _key(
            18, "like forename, surname, date of birth, sex, address", _AT_ADDRESS, _LIKE_FORENAME, _SURNAME
        ),
        _key(
            19,
            "first two letters of the forename, surname, date of birth, sex, address",
            _AT_ADDRESS,
            exact("forename.start"),
            _SURNAME,
        ),
        _key(
            20, "forename, surname, age, sex, postcode", (_rule(_AGE, _SEX, _POSTCODE),), _FORENAME, _SURNAME
        ),
        _key(
            21,
            "forename, surname, day, month, year within ten, sex, postcode",
            (_rule("date_of_birth.month", "date_of_birth.day", _SEX, _POSTCODE),),
            test(Op.DIFFERENCE, _BORN, _DAYS_OF_TEN_YEARS),
            _FORENAME,
            _SURNAME,
        ),
        _key(
            22,
            "forename, surname, year of birth, sex, postcode",
            (_rule("date_of_birth.year", _SEX, _POSTCODE),),
            _FORENAME,
            _SURNAME,
        ),
        _key(
            23,
            "names alike by Jaro-Winkler (0.8), one digit of the date of birth, sex, UPRN",
            (_rule(_UPRN, _SEX),),
            _ONE_DIGIT,
            _jaro_winkler(0.8, 0.8),
        ),
        _key(
            24,
            "like names, one digit of the date of birth, sex, UPRN",
            (_rule(_UPRN, _SEX),),
            _ONE_DIGIT,
            _LIKE_FORENAME,
            _LIKE_SURNAME,
        ),
        _key(
            25,
            "like names, age within one year, sex, UPRN",
            (_rule(_UPRN, _SEX),),
            _within_years(1),
            _LIKE_FORENAME,
            _LIKE_SURNAME,
        ),
        _key(
            26,
            "like names, age within one year, sex, postcode and house",
            (_rule(_POSTCODE, _HOUSE, _SEX),),
            _within_years(1),
            _LIKE_FORENAME,
            _LIKE_SURNAME,
        ),
        _key(
            27,
            "like names, date of birth, UPRN; sex equal or missing",
            (_rule(_BORN, _UPRN),),
            Any((exact(_SEX), missing(_SEX))),
            _LIKE_FORENAME,
            _LIKE_SURNAME,
        ),
        _key(
            28,
            "forename, surname, date of birth, sex, of two or more people who moved together",
            (_rule(_BORN, _SEX, "surname.first"), _rule(_BORN, _SEX, "surname.joined")),
            _FORENAME,
            moved=((_UPRN,), (_POSTCODE, _HOUSE)),
        ),
        _key(
            29,
            "first forename, first surname, date of birth, sex, postcode less its last character",
            (_rule("forename.first", "surname.first", _BORN, _SEX, "postcode.short"),),
        ),
        _key(
            30,
            "first forename, first surname, date of birth, sex, postcode sector and house",
            (_rule("forename.first", "surname.first", _BORN, _SEX, "postcode.sector", _HOUSE),),
        ),
        _key(
            31,
            "forename, surname, date of birth, sex, postcode area",
            (_rule(_BORN, _SEX, "postcode.area"),),
            _FORENAME,
            _SURNAME,
            clerical=True,
        ),
        _key(
            32,
            "very like names, age within five years, sex, postcode",
            (_rule(_SEX, _POSTCODE),),
            _within_years(5),
            _like("forename.first", limit=_VERY_LIKE),
            _like("surname.first", limit=_VERY_LIKE),
            clerical=True,
        ),
        _key(33, "another name of one side, date of birth, sex, postcode", _AT_POSTCODE, _OTHER_NAME),
        _key(
            34,
            "nickname or very like forename, very like surname, date of birth, sex, another postcode",
            (
                _rule(_BORN, _SEX, ("postcode_2", _POSTCODE)),
                _rule(_BORN, _SEX, (_POSTCODE, "postcode_2")),
                _rule(_BORN, _SEX, "postcode_2"),
            ),
            _like("surname.first", limit=_VERY_LIKE),
            Any((_NICKNAME, _like("forename.first", limit=_VERY_LIKE))),
        ),
        _key(
            35,
            "nickname or forename within one edit, surname within one edit, age within one year, sex, UPRN",
            (_rule(_UPRN, _SEX),),
            _within_years(1),
            test(Op.LEVENSHTEIN, "surname.first", 1),
            Any((_NICKNAME, test(Op.LEVENSHTEIN, "forename.first", 1))),
        ),
    ),
)

SETS = {"ons": ONS}  # those that come with Kinlink


def key_set(keys: Matchkeys | str | Path) -> Matchkeys:
    """A set of matchkeys: itself, one that comes with Kinlink by its name, or one in a file.

    Raises:
        ModelError: it is no name of a set, and no file that holds one.
    """
    if isinstance(keys, Matchkeys):
        return keys
    if not isinstance(keys, str | Path):
        raise ModelError(
            f"The matchkeys are an object of the type {type(keys).__name__}.",
            "Give the name of a set that comes with Kinlink, such as 'ons', a file, or linker.Matchkeys.",
        )
    return SETS[str(keys)] if str(keys) in SETS else Matchkeys.load(keys)
