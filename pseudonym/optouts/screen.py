"""Which rows of a delivery are of people who are on a list of tokens, however they are spelt this time.

    distinct values ──token──▶ on the list? ──▶ rows that share a day, names or a number ──weigh──▶ matches

Each field says how well a row agrees with a person, in bits, best form first (Fellegi and Sunter, 1969);
what either has not says nothing. A sum of `CUT` is a match if forename and day of birth agree in some form,
or a number does: a twin has another forename, a father of one name another day, and no sum of other fields
makes up for that.

The weights are rounded from the error rates of health records (Cardinal and others, 2023, BMC Medical
Informatics 23:85) and from how common values are among people; `benchmarks/optouts.py` measures what they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import polars as pl

from pseudonym.optouts.tokens import FIELDS, NUMBERS, Digests, Tokens, tokens, with_ends

_HERE: Final = 11.0  # the bits of a whole postcode
_SAID: Final = "_said"
CUT: Final = 21.0
"""Bits from which a row is taken for a person's."""


class Forms(Protocol):
    """Makes the forms of rows (`linker.forms.forms`)."""

    def __call__(self, people: pl.DataFrame, *, brief: bool) -> pl.DataFrame: ...


class Level(NamedTuple):
    """A form of a row and a form of a person that say the same, and what that is worth in bits."""

    row: str
    person: str
    bits: float


@dataclass(frozen=True, slots=True)
class Field:
    """What is compared of one field: levels, best first, and the bits where none of them agrees."""

    name: str
    levels: tuple[Level, ...]
    otherwise: float
    row_has: str
    person_has: str


def _same(form: str, bits: float) -> Level:
    return Level(form, form, bits)


FORENAME, BORN = "forename", "born"
SURNAME, POSTCODE = "surname", "postcode"
COMPARED: Final = (
    Field(
        FORENAME,
        (
            _same("first", 7.0),
            _same("nickname", 6.0),
            Level("first", "others", 5.0),
            Level("others", "first", 5.0),
            _same("sound", 5.0),
            _same("start", 4.0),
            # A single letter, where the other side has the whole name.
            Level("first", "initial", 2.0),
            Level("initial", "first", 2.0),
            Level("first", "parts", 4.0),
        ),
        -7.0,
        "first",
        "first",
    ),
    Field(
        SURNAME,
        (
            _same("family", 9.0),
            _same("parts", 7.0),
            _same("family_sound", 6.0),
            _same("family_start", 4.0),
            Level("parts", "first", 4.0),
        ),
        -4.0,
        "family",
        "family",
    ),
    Field(
        BORN,
        (
            _same("born", 13.0),
            Level("born", "swapped", 6.0),
            # As many strangers share two parts of a date as people are written with one of them wrong.
            _same("year_month", 0.0),
            _same("year_day", 0.0),
            _same("month_day", 0.0),
        ),
        -10.0,
        "born",
        "born",
    ),
    Field("sex", (_same("sex", 1.0),), -6.0, "sex", "sex"),
    Field(POSTCODE, (_same("postcode", _HERE), _same("outcode", 4.0)), -1.5, "postcode", "postcode"),
    *(Field(name, (_same(name, 20.0),), -5.0, name, name) for name in NUMBERS),
)
_MATCHES: Final = pl.DataFrame(schema={"row": pl.UInt32, "person": pl.UInt32})


class Screen:
    """A list of people by their tokens, against whom rows are held.

    Args:
        people: the tokens of each.
        digests: see `Digests`.
    """

    def __init__(self, people: Sequence[Tokens], digests: Digests) -> None:
        self._digests = digests
        self._codes: dict[str, dict[bytes, int]] = {field: {} for field in FIELDS.values()}
        self._held = {form: self._members(form, people) for form in FIELDS}

    def _members(self, form: str, people: Sequence[Tokens]) -> pl.DataFrame:
        """Who has which token as this form: code, person."""
        codes = self._codes[FIELDS[form]]
        found = [
            (codes.setdefault(one, len(codes)), person)
            for person, theirs in enumerate(people)
            for one in theirs.get(form, ())
        ]
        return pl.DataFrame(found, schema={"code": pl.UInt32, "person": pl.UInt32}, orient="row")

    def matches(self, people: pl.DataFrame, forms: Forms) -> pl.DataFrame:
        """Which rows are of whom.

        Args:
            people: the rows, as `forms` takes them.
            forms: see `Forms`.

        Returns:
            Columns row (its place) and person (their place in the list), each pair once, in order.
        """
        if not any(held.height for held in self._held.values()):
            return _MATCHES
        pairs = _Rows(self, with_ends(forms(people, brief=True)).with_row_index("row")).candidates()
        if pairs.is_empty():
            return _MATCHES
        places = pairs["row"].unique().sort()
        some = forms(people[places], brief=False).insert_column(0, places)
        asked, scored = _Rows(self, some), pairs
        for field in COMPARED:
            scored = asked.scored(scored, field)
        bits = pl.sum_horizontal(field.name for field in COMPARED)
        unsaid = pl.col(f"{BORN}{_SAID}").not_()
        known = (
            pl.any_horizontal(pl.col(name) > 0 for name in NUMBERS)
            | (_agreed(FORENAME) & _agreed(BORN))
            | (_agreed(FORENAME) & _agreed(SURNAME) & unsaid & (pl.col(POSTCODE) == _HERE))
        )
        return scored.filter((bits >= CUT) & known).select("row", "person").sort("row", "person")

    def held(self, form: str) -> pl.DataFrame:
        """Who has which token as a form: code, person."""
        return self._held[form]

    def coded(self, field: str, values: pl.Series) -> pl.DataFrame:
        """The values that somebody on the list has: value, code."""
        codes = self._codes[field]
        distinct = values.unique().drop_nulls()
        found = [codes.get(one) for one in tokens(self._digests, field, distinct.to_list())]
        return pl.DataFrame(
            {"value": distinct, "code": pl.Series(found, dtype=pl.UInt32)},
            schema_overrides={"value": pl.String},
        ).drop_nulls()


class _Rows:
    """Rows by their forms, with what of them is on the list."""

    def __init__(self, screen: Screen, forms: pl.DataFrame) -> None:
        self._screen, self._forms = screen, forms
        self._coded: dict[str, pl.DataFrame] = {}

    def candidates(self) -> pl.DataFrame:
        """The pairs that are weighed: of one day of birth, of two names, or of one number."""
        screen, found = self._screen, list[pl.DataFrame]()
        days = self._codes("born")
        for form in ("born", "swapped"):
            found.append(days.join(screen.held(form), on="code").select("row", "person"))
        family, first = self._codes("family_sound"), self._codes("sound")
        both = family.join(first.select("row"), on="row", how="semi")
        named = both.join(screen.held("family_sound"), on="code").select("row", "person")
        found.append(_sharing(named, first, screen.held("sound")))
        for name in NUMBERS:
            ending = self._codes(f"{name}_end")
            of = self._forms.select("row", value=name).join(ending.select("row"), on="row", how="semi")
            coded = of.join(screen.coded(name, of["value"]), on="value").select("row", "code")
            found.append(coded.join(screen.held(name), on="code").select("row", "person"))
        return pl.concat(found).unique()

    def scored(self, pairs: pl.DataFrame, field: Field) -> pl.DataFrame:
        """The pairs with the bits of a field, and whether both say something of it."""
        has = self._forms.select("row", _row=pl.col(field.row_has).is_not_null())
        have = self._screen.held(field.person_has).select("person").unique().with_columns(_person=True)
        said = pairs.join(has, on="row", how="left").join(have, on="person", how="left")
        both = (pl.col("_row") & pl.col("_person")).fill_null(False)
        bits = pl.when(both).then(field.otherwise).otherwise(0.0)
        for place, level in reversed(list(enumerate(field.levels))):
            name = f"_{place}"
            found = _sharing(
                pairs.select("row", "person"), self._codes(level.row), self._screen.held(level.person)
            )
            said = said.join(found.with_columns(pl.lit(True).alias(name)), on=["row", "person"], how="left")
            bits = pl.when(pl.col(name)).then(level.bits).otherwise(bits)
        return said.select(*pairs.columns, bits.alias(field.name), both.alias(f"{field.name}{_SAID}"))

    def _codes(self, form: str) -> pl.DataFrame:
        """The rows whose value of a form is on the list: row, code."""
        if form not in self._coded:
            of = self._forms.select("row", value=form)
            if of.schema["value"] == pl.List:
                of = of.explode("value")
            known = self._screen.coded(FIELDS[form], of["value"])
            self._coded[form] = of.join(known, on="value").select("row", "code")
        return self._coded[form]


def _sharing(pairs: pl.DataFrame, rows: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """Those of the pairs whose row and person share a token."""
    found = pairs.join(rows, on="row").join(held, on=["person", "code"], how="semi")
    return found.select("row", "person").unique()


def _agreed(name: str) -> pl.Expr:
    """Whether both say something of a field and some form of it is the same."""
    return pl.col(f"{name}{_SAID}") & (pl.col(name) >= 0)
