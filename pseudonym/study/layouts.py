"""A council's layout: which of its columns is which of ours, how it writes dates, and what its codes mean.

    format = "kinlink-council-layout/1"
    council = "fenham"
    scheme = "tf-2015"
    dates = "DD/MM/YYYY"

    [columns]
    surname = "Last Name"
    family = "Family ID"
    arm = { column = "Group", codes = { T = "programme", C = "comparison" } }
    problems = { column = "Criteria Met", separator = ";", codes = { "1" = "CRIME_ASB", "2" = "SCHOOL" } }
    surname_source = { always = "professional" }

A code that stands for "not known" leads to "". Problems are one column with a list, or a column for each
problem or indicator, with codes that lead to "yes" and "no".
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Self

from pseudonym.errors import LayoutError
from pseudonym.study.fields import PROBLEMS, PROTECTED, SOURCE, Field, Form, fields
from pseudonym.study.schemes import Scheme, scheme
from pseudonym.urn import check_label

FORMAT = "kinlink-council-layout/1"
TO_DECIDE = "?"
"""What a proposed layout has where the officer must decide."""
DATE_FORMS = {
    "YYYY-MM-DD": (r"^\d{4}-\d{2}-\d{2}$", "%Y-%m-%d"),
    "YYYY/MM/DD": (r"^\d{4}/\d{2}/\d{2}$", "%Y/%m/%d"),
    "YYYYMMDD": (r"^\d{8}$", "%Y%m%d"),
    "DD/MM/YYYY": (r"^\d{1,2}/\d{1,2}/\d{4}$", "%d/%m/%Y"),
    "DD-MM-YYYY": (r"^\d{1,2}-\d{1,2}-\d{4}$", "%d-%m-%Y"),
    "DD.MM.YYYY": (r"^\d{1,2}\.\d{1,2}\.\d{4}$", "%d.%m.%Y"),
    "DD MMM YYYY": (r"^\d{1,2} [A-Za-z]{3} \d{4}$", "%d %b %Y"),
    "DD-MMM-YYYY": (r"^\d{1,2}-[A-Za-z]{3}-\d{4}$", "%d-%b-%Y"),
}
"""How a council may write a date: the pattern it has, and how it is read."""
_FLAG = ("yes", "no")


@dataclass(frozen=True, slots=True)
class Source:
    """Where one of our columns comes from.

    Attributes:
        field: our column.
        column: the council's, or None for a value that is `always` the same.
        codes: what the council's codes mean, by the code in lower case; for codes, lists and flags.
        dates: how a date is written, a key of `DATE_FORMS`.
        separator: between the codes of a list; empty where each is one character.
        always: the value.
    """

    field: Field
    column: str | None = None
    codes: tuple[tuple[str, str], ...] = ()
    dates: str = ""
    separator: str = ""
    always: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one council's file is read.

    Attributes:
        council: its code: lower-case letters, digits and hyphens, or an official one such as E10000003.
        scheme: what its problems are assessed by.
        sources: one for each of our columns that it has.
        digest: SHA-256 of the layout's text, in hexadecimal digits; it holds nothing of a person.
    """

    council: str
    scheme: Scheme
    sources: tuple[Source, ...]
    digest: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The council's columns."""
        return tuple(source.column for source in self.sources if source.column is not None)

    @property
    def fields(self) -> frozenset[str]:
        """The names of our columns that it has."""
        return frozenset(source.field.name for source in self.sources)

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read a layout.

        Raises:
            LayoutError: it does not say what a layout must, or leaves something to decide.
        """
        try:
            content: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise LayoutError(f"The layout is not TOML: {error}.", "Correct that line.") from None
        if content.get("format") != FORMAT:
            raise LayoutError(f"The layout does not begin with format = {FORMAT!r}.", "Add that line.")
        if extra := set(content) - {"format", "council", "scheme", "dates", "columns"}:
            raise LayoutError(f"The layout says {_told(extra)}, which no layout has.", "Correct the names.")
        for name in ("council", "scheme"):
            if content.get(name) == TO_DECIDE:
                raise LayoutError(
                    f'The layout has still {name} = "{TO_DECIDE}".',
                    "Decide, and write it in the place of the ?.",
                )
            if not isinstance(content.get(name), str):
                raise LayoutError(f"The layout does not say {name} = …", "Add it.")
        council, of = content["council"], scheme(content["scheme"])
        check_label(council.lower(), "council")
        known = fields(of)
        columns = content.get("columns", {})
        if strange := {_ours(name, known) for name in columns} - set(known):
            raise LayoutError(
                f"There is no column {_told(strange)} under scheme {of.name}.",
                f"There are {', '.join(name for name in known if not name.endswith(SOURCE))}, "
                f"and for most of them who told it, such as surname{SOURCE}.",
            )
        sources = tuple(
            _source(known[_ours(name, known)], said, content.get("dates", "YYYY-MM-DD"))
            for name, said in columns.items()
        )
        made = cls(council, of, sources, sha256(text.encode()).hexdigest())
        made._check()
        return made

    def _check(self) -> None:
        told = [source.column for source in self.sources if source.column is not None]
        if twice := {name for name in told if told.count(name) > 1}:
            raise LayoutError(f"The layout names the column {_told(twice)} twice.", "Name each once.")
        names = [source.field.name for source in self.sources]
        if len(set(names)) < len(names):
            raise LayoutError("The layout says one of our columns twice.", "Say each once.")
        if "family" not in self.fields:
            raise LayoutError("The layout has no column for the family.", "Add family = …")
        if not self.fields & {"full_name", "surname"}:
            raise LayoutError("The layout has no column for names.", "Add surname = … or full_name = …")
        if "date_of_birth" not in self.fields or not self.fields & {"postcode", "address", "address_line"}:
            raise LayoutError(
                "The layout has no column for dates of birth, or none for addresses.", "Add both."
            )
        if not self.fields & {PROBLEMS, *self.scheme.flags}:
            raise LayoutError(
                "The layout has no column for problems.", f"Add {PROBLEMS} = … or one for each."
            )
        if "arm" not in self.fields:
            raise LayoutError("The layout does not say which families get support.", "Add arm = …")
        if {"hours", "intensity"} <= self.fields:
            raise LayoutError("The layout says both hours and intensity.", "Say one of them.")


def _ours(name: str, known: dict[str, Field]) -> str:
    """Problems may be called by their code in capitals."""
    return name.lower() if name.lower() in known else name


def _source(field: Field, said: object, dates: str) -> Source:
    own = {"column": said} if isinstance(said, str) else said
    if not isinstance(own, dict) or not all(
        isinstance(own.get(key, ""), str) for key in ("column", "always")
    ):
        raise LayoutError(f"{field.name} is neither a column's name nor a table.", 'Say { column = "…" }.')
    form = field.form
    takes = {"column"} | {
        Form.DATE: {"dates"}, Form.CODE: {"codes", "always"}, Form.LIST: {"codes", "separator"},
        Form.FLAG: {"codes"}, Form.TEXT: set(), Form.HOURS: set(),
    }[form]  # fmt: skip
    if extra := set(own) - takes:
        raise LayoutError(f"{field.name} takes no {_told(extra)}.", f"It takes {', '.join(sorted(takes))}.")
    if ("column" in own) == ("always" in own):
        raise LayoutError(f"{field.name} has no column.", "Say column = …")
    always, column = own.get("always", ""), own.get("column")
    if TO_DECIDE in (always, column):
        raise LayoutError(f'{field.name} is still "{TO_DECIDE}" in the layout.', "Decide it.")
    if always and always not in field.codes:
        raise LayoutError(f"{field.name} cannot be {always!r}.", f"It is one of {', '.join(field.codes)}.")
    dates = own.get("dates", dates)
    if form is Form.DATE and dates not in DATE_FORMS:
        raise LayoutError(
            f"{field.name} is not written {dates!r}.", f"Dates are written {', '.join(DATE_FORMS)}."
        )
    codes = _codes(field, own.get("codes", {})) if form in (Form.CODE, Form.LIST, Form.FLAG) else ()
    if form in (Form.CODE, Form.LIST, Form.FLAG) and column is not None and not codes:
        raise LayoutError(f"{field.name} has no codes.", "Say what each of the council's codes means.")
    return Source(field, column, codes, dates, own.get("separator", ";"), always)


def _codes(field: Field, said: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(said, dict) or not all(isinstance(code, str) for code in said.values()):
        raise LayoutError(f"The codes of {field.name} are no table of codes.", 'Say { A = "…", B = "…" }.')
    may = _FLAG if field.form is Form.FLAG else field.codes
    lower = field.form is Form.LIST
    codes = {own.strip().lower(): ours.lower() if lower else ours for own, ours in said.items()}
    if TO_DECIDE in codes.values():
        raise LayoutError(f'A code of {field.name} still means "{TO_DECIDE}".', "Decide it.")
    if field.name == PROTECTED and "" in codes.values():
        raise LayoutError(
            f"A code of {field.name} says that it is not known.",
            "Decide yes or no of each: whoever goes without the mark is linked as anybody.",
        )
    if wrong := set(codes.values()) - {*may, ""}:
        raise LayoutError(
            f"A code of {field.name} cannot mean {_told(wrong)}.",
            f'It means {", ".join(may)}, or "" for what is not known.',
        )
    if len(codes) < len(said):
        raise LayoutError(f"A code of {field.name} is there twice.", "Capitals make no difference.")
    return tuple(codes.items())


def _told(names: set[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))
