"""A layout proposed from a file's headings and codes, for an officer to correct: "?" stands where to decide.

A proposal shows the council its own codes, and only of columns whose heading says that they hold codes: at
most forty different ones of at most 32 characters, none of which looks like an identifier. No other value is
in it.
"""

from __future__ import annotations

import csv
import json
import re
from functools import cache
from importlib import resources

import polars as pl

from pseudonym.errors import CouncilFileError
from pseudonym.study.fields import RELATIONS, SOURCE, SOURCES, Field, Form, fields
from pseudonym.study.layouts import DATE_FORMS, FORMAT, TO_DECIDE
from pseudonym.study.schemes import Scheme
from pseudonym.values import looks_like_an_identifier

MOST_CODES, LONGEST_CODE = 40, 32
_SEPARATORS = (";", ",", "|", "/")
_SEX = {"f": "F", "female": "F", "m": "M", "male": "M", "x": "X", "0": "", "9": "", "1": "M", "2": "F"}
_FLAG = {"y": "yes", "yes": "yes", "true": "yes", "1": "yes", "n": "no", "no": "no", "false": "no", "0": "no"}
_ARM = {
    "intervention": "programme", "treatment": "programme", "t": "programme", "control": "comparison",
    "waiting list": "comparison", "c": "comparison",
}  # fmt: skip
_RELATION = {
    "mother": "parent", "father": "parent", "mum": "parent", "dad": "parent", "son": "child",
    "daughter": "child",
    "new partner": "partner", "child of partner": "partners-child", "step child": "partners-child",
    "stepchild": "partners-child", "grandmother": "grandparent", "grandfather": "grandparent",
    "brother": "sibling", "sister": "sibling",
}  # fmt: skip


def propose(frame: pl.DataFrame, scheme: Scheme) -> str:
    """A layout's text.

    Args:
        frame: the file, all text.
        scheme: of the problems.

    Raises:
        CouncilFileError: no heading is understood: the first line may be a person.
    """
    known, taken = fields(scheme), dict[str, str]()
    strange = []
    for column in frame.columns:
        name = _meant(column, scheme)
        if name is None or name in taken or {name, *taken} >= {"hours", "intensity"}:
            strange.append(column)
        else:
            taken[name] = column
    if not taken:
        raise CouncilFileError(
            "No heading of the file is understood.", "Its first line must be headings; see docs/council.md."
        )
    lines = [
        f"format = {json.dumps(FORMAT)}",
        f"council = {json.dumps(TO_DECIDE)}",
        f"scheme = {json.dumps(scheme.name)}",
        "",
        "[columns]",
    ]
    for name, field in known.items():
        if name in taken:
            lines.append(f"{name} = {_said(field, frame[taken[name]], scheme)}")
    for name in ("family", "arm"):
        if name not in taken:
            lines.append(f"{name} = {json.dumps(TO_DECIDE)}")
    if strange:
        lines += [
            "",
            "# Not understood. Say above what each is, or take it out of the file: what nobody has",
            "# declared is refused, and there is no place for notes.",
            *(f"# {json.dumps(column, ensure_ascii=False)}" for column in strange),
        ]
    return "\n".join(lines) + "\n"


def _meant(column: str, scheme: Scheme) -> str | None:
    """The name of our column that a heading means; "DOB source" is who told the date of birth."""
    words = _words(column)
    told = re.fullmatch(r"(.+) (?:source|told by)", words)
    if told:
        name = f"{_meant(told[1], scheme)}{SOURCE}"
        return name if name in fields(scheme) else None
    if words in _headings():
        return _headings()[words]
    for problem in scheme.problems:
        for indicator in problem.indicators:
            if words in (_words(indicator.code), _words(indicator.words)):
                return indicator.code
    found = scheme.problem_of(column)
    return None if found is None else found.column


def _said(field: Field, values: pl.Series, scheme: Scheme) -> str:
    column = json.dumps(values.name, ensure_ascii=False)
    if field.form is Form.DATE:
        return f"{{ column = {column}, dates = {json.dumps(_dates(values))} }}"
    if field.form in (Form.CODE, Form.FLAG):
        return f"{{ column = {column}, codes = {_table(_codes(values), field, scheme)} }}"
    if field.form is Form.LIST:
        separator = next((one for one in _SEPARATORS if values.str.contains(one, literal=True).any()), "")
        parts = values.drop_nulls().str.split(separator).explode().str.strip_chars()
        table = _table(_codes(parts.filter(parts != "")), field, scheme)
        return f"{{ column = {column}, separator = {json.dumps(separator)}, codes = {table} }}"
    return column


def _dates(values: pl.Series) -> str:
    """The one way in which all values are written; to decide where there is none, or more than one."""
    fits = [
        name
        for name, (pattern, form) in DATE_FORMS.items()
        if values.str.contains(pattern).all()
        and values.str.to_date(form, strict=False).null_count() == values.null_count()
    ]
    return fits[0] if len(fits) == 1 and values.count() else TO_DECIDE


def _codes(values: pl.Series) -> list[str]:
    found = values.drop_nulls().unique().sort()
    fit = found.filter((found.str.len_chars() <= LONGEST_CODE) & looks_like_an_identifier(found).is_null())
    return fit.to_list() if len(fit) <= MOST_CODES else []


def _table(codes: list[str], field: Field, scheme: Scheme) -> str:
    made = (
        f"{json.dumps(code, ensure_ascii=False)} = {json.dumps(_meaning(code, field, scheme))}"
        for code in codes
    )
    return f"{{ {', '.join(made)} }}"


def _meaning(code: str, field: Field, scheme: Scheme) -> str:
    """What a council's code means, where its words leave no doubt."""
    words = _words(code)
    same = {_words(own): own for own in field.codes}
    if field.form is Form.FLAG:
        return _FLAG.get(words, TO_DECIDE)
    if field.form is Form.LIST:
        found = scheme.problem_of(code)
        headline = TO_DECIDE if found is None else found.code
        return headline if words == _words(headline) else same.get(words, headline)
    if field.name.endswith(SOURCE):
        return same.get(words, {_words(said): own for own, said in SOURCES.items()}.get(words, TO_DECIDE))
    told = {
        "sex": _SEX,
        "arm": _ARM,
        "relation": {_words(said): own for own, said in RELATIONS.items()} | _RELATION,
        "intervention": {_words(said): own for own, said in scheme.interventions.items()},
    }
    return same.get(words, told.get(field.name, {}).get(words, TO_DECIDE))


def _words(text: str) -> str:
    split = re.sub(r"([a-z0-9])([A-Z])|([A-Z]+)([A-Z][a-z])", r"\1\3 \2\4", text)
    return " ".join(re.findall(r"[a-z]+|[0-9]+", split.lower()))


@cache
def _headings() -> dict[str, str]:
    text = (resources.files(__package__) / "headings.csv").read_text(encoding="utf-8")
    return {_words(row["heading"]): row["field"] for row in csv.DictReader(text.splitlines())}
