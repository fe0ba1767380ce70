"""SQL as Splink writes it → sources: the pieces of one record that a condition or a rule looks at.

`"pc_l"` and `l."pc"` are columns of the left record. Whatever else stands between them and a comparison is
one of the steps that `linker.sources` knows, or the form is not read.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import sqlglot
from sqlglot import exp

from linker.errors import ModelError
from linker.sources import Make, Source, column
from linker.strptime import pattern_of

DIALECTS = ("duckdb", "spark")

_JAVA = {
    "yyyy": "%Y", "yy": "%y", "MMM": "%b", "MM": "%m", "M": "%m", "dd": "%d", "d": "%d", "HH": "%H",
    "mm": "%M", "ss": "%S", "XXX": "%:z",
}  # fmt: skip


class NotRead(Exception):
    """A form of SQL that cannot be expressed exactly; the message is its words."""


@dataclass(frozen=True)
class Piece:
    """What an expression takes from one record.

    Attributes:
        source: how it is made.
        side: "l" or "r"; None for a constant.
    """

    source: Source
    side: str | None


def parsed(sql: str, dialect: str) -> exp.Expr:
    """The tree of one expression.

    Raises:
        NotRead: it is not SQL.
    """
    if dialect not in DIALECTS:
        raise NotRead(f"SQL of the dialect '{dialect}': only {' and '.join(DIALECTS)} are read")
    try:
        return sqlglot.parse_one(sql, read=dialect)
    except sqlglot.errors.SqlglotError:
        raise NotRead(f"not SQL: {sql}") from None


def words(node: exp.Expr) -> str:
    """An expression in SQL, for a message."""
    return str(node.sql(dialect="duckdb"))


def piece(node: exp.Expr) -> Piece:
    """What an expression takes from one record.

    Raises:
        NotRead: it takes something from both, or is made in a way that is not known.
    """
    if isinstance(node, exp.Paren):
        return piece(node.this)
    if isinstance(node, exp.Column):
        return _column(node)
    if (constant := number(node)) is not None:
        return Piece(Source(Make.LITERAL, (), (constant,)), None)
    if isinstance(node, exp.Literal):
        return Piece(Source(Make.LITERAL, (), (str(node.this),)), None)
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal) and node.is_type("date"):
        return Piece(Source(Make.LITERAL, (), (str(node.this.this),)), None)
    for make, parts, args in _steps(node):
        pieces = [piece(part) for part in parts]
        sides = {one.side for one in pieces if one.side is not None}
        if len(sides) != 1:
            break
        return Piece(Source(make, tuple(one.source for one in pieces), args), sides.pop())
    raise NotRead(words(node))


def number(node: exp.Expr) -> float | None:
    """The number that a constant is, `floor(86400 / 86400)` among them, or None."""
    match node:
        case exp.Paren():
            return number(node.this)
        case exp.Cast() if node.is_type("float"):  # of 32 bits
            value = number(node.this)
            return None if value is None else struct.unpack("f", struct.pack("f", value))[0]
        case exp.Cast() if node.is_type("int", "bigint", "double"):
            return number(node.this)
        case exp.Literal(is_string=False):
            text = str(node.this)
            return int(text) if text.isdigit() else float(text)
        case exp.Neg():
            positive = number(node.this)
            return None if positive is None else -positive
        case exp.Floor():
            whole = number(node.this)
            return None if whole is None else math.floor(whole)
        case exp.Div():
            above, below = number(node.this), number(node.expression)
            return None if above is None or not below else above / below
    return None


def _column(node: exp.Column) -> Piece:
    name = str(node.name)
    if node.table:
        if node.table.lower() not in ("l", "r"):
            raise NotRead(f"{words(node)}: of neither l nor r")
        return Piece(column(name), node.table.lower())
    if name[-2:].lower() not in ("_l", "_r"):
        raise NotRead(f"{words(node)}: a column of neither record")
    return Piece(column(name[:-2]), name[-1].lower())


_Step = tuple[Make, Sequence[exp.Expr], tuple[str | float, ...]]


def _steps(node: exp.Expr) -> Iterator[_Step]:
    """The step that an expression is, if it is one."""
    match node:
        case exp.Lower():
            yield Make.LOWER, [node.this], ()
        case exp.Upper():
            yield Make.UPPER, [node.this], ()
        case exp.Trim() if not node.args.get("expression") and not node.args.get("position"):
            yield Make.TRIM, [node.this], ()
        case exp.Substring():
            start, length = number(node.args["start"]), number(node.args.get("length") or exp.Null())
            if isinstance(start, int) and isinstance(length, int) and start >= 1 and length >= 0:
                yield Make.SUBSTRING, [node.this], (start, length)
        case exp.Left():
            if isinstance(length := number(node.expression), int) and length >= 0:
                yield Make.SUBSTRING, [node.this], (1, length)
        case exp.Right():
            if isinstance(length := number(node.expression), int) and length >= 0:
                yield Make.LAST, [node.this], (length,)
        case exp.RegexpExtract():
            yield from _extract(node)
        case exp.Nullif() if isinstance(node.expression, exp.Literal) and node.expression.is_string:
            yield Make.NULLIF, [node.this], (str(node.expression.this),)
        case exp.DPipe():
            yield Make.JOIN, [node.this, node.expression], ()
        case exp.Coalesce():
            yield Make.COALESCE, [node.this, *node.expressions], ()
        case exp.ArraySize():
            yield Make.LENGTH, [node.this], ()
        case exp.TimeToUnix() | exp.StrToUnix():
            yield Make.SECONDS, [node.this], ()
        case exp.TsOrDsToDate() | exp.Date() if node.this is not None:
            yield from _day(node.this)
        case exp.Cast():
            yield from _cast(node)
        case exp.Bracket() if len(node.expressions) == 1:
            yield from _bracket(node)
        case _:
            yield from _function(node)


def _extract(node: exp.RegexpExtract) -> Iterator[_Step]:
    group = node.args.get("group")
    place = 0 if group is None else number(group)
    if isinstance(node.expression, exp.Literal) and isinstance(place, int):
        pattern = str(node.expression.this)
        yield Make.EXTRACT, [node.this], (_ascii_classes(pattern), place)


@lru_cache
def _ascii_classes(pattern: str) -> str:
    r"""The pattern with RE2's meaning: \d, \w and \s are ASCII there.

    Raises:
        NotRead: it is no regular expression that both know.
    """
    import polars as pl

    classes = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r "}
    out, inside, at = "", False, 0
    while at < len(pattern):
        sign, after = pattern[at], pattern[at + 1 : at + 2]
        if sign == "\\" and after:
            if after in classes:
                out += classes[after] if inside else f"[{classes[after]}]"
            elif after in "DWS" and not inside:
                out += f"[^{classes[after.lower()]}]"
            elif after.isalpha() and after not in "nrtfpPAz":
                raise NotRead(f"the regular expression {pattern}")
            else:
                out += sign + after
            at += 2
            continue
        if sign == "[" and not inside:
            inside = True
            if pattern[at + 1 : at + 3] == "[:":
                raise NotRead(f"the regular expression {pattern}")
        elif sign == "[" or pattern[at : at + 2] in ("&&", "--", "~~"):
            out += "\\" if inside else ""  # plain signs in RE2's classes, and set operations in ours
        elif sign == "]" and inside and out[-1:] not in ("[", "^"):
            inside = False
        out += sign
        at += 1
    if "(?" in pattern.replace("(?:", ""):  # flags: what folding does differs
        raise NotRead(f"the regular expression {pattern}")
    try:
        pl.Series([""]).str.extract(out, 0)
    except pl.exceptions.PolarsError:
        raise NotRead(f"the regular expression {pattern}") from None
    return out


def _day(of: exp.Expr) -> Iterator[_Step]:
    # sqlglot's reading of Spark's date() wraps a cast to a date in another.
    while isinstance(of, exp.Cast | exp.TsOrDsToDate) and (
        isinstance(of, exp.TsOrDsToDate) or of.is_type("date")
    ):
        of = of.this
    yield Make.DAY, [of], ()


def _cast(node: exp.Cast) -> Iterator[_Step]:
    if node.is_type("text", "varchar"):
        yield Make.TEXT, [node.this], ()
    elif node.is_type("date"):
        yield from _day(node.this)
    elif node.is_type("double"):
        yield Make.NUMBER, [node.this], ()


def _bracket(node: exp.Bracket) -> Iterator[_Step]:
    key = node.expressions[0]
    if isinstance(key, exp.Literal) and key.is_string:
        yield Make.FIELD, [node.this], (str(key.this),)
    elif isinstance(place := number(key), int) and place != -1:  # sqlglot takes one off, whatever the sign
        yield Make.ELEMENT, [node.this], (place + 1,)


def _function(node: exp.Expr) -> Iterator[_Step]:
    """Functions that sqlglot has no name for, and parsing of dates, by the dialect that names them."""
    name, args = "", list[exp.Expr]()
    if isinstance(node, exp.Anonymous):
        name, args = str(node.this).lower(), list(node.expressions)
    elif isinstance(node, exp.StrToTime):
        name, args = "try_strptime", [node.this, node.args["format"]]
    if len(args) != 2 or not isinstance(args[1], exp.Literal) or not args[1].is_string:
        return
    form = str(args[1].this)
    if name in ("try_strptime", "strptime"):
        yield Make.PARSE, [args[0]], (_checked(form),)
    elif name in ("try_to_timestamp", "to_timestamp"):
        yield Make.PARSE, [args[0]], (_checked(_from_java(form)),)


def _checked(form: str) -> str:
    try:
        pattern_of(form)
    except ModelError as error:
        raise NotRead(error.message) from None
    return form


def _from_java(form: str) -> str:
    """A date pattern of Java in the words of strptime."""
    out, at = "", 0
    while at < len(form):
        if form[at] == "'":
            end = form.find("'", at + 1)
            out += form[at + 1 : end]
            at = end + 1
            continue
        run = next((n for n in range(len(form) - at, 0, -1) if form[at : at + n] == form[at] * n), 1)
        letters = form[at : at + run]
        if letters[0].isalpha() and letters not in _JAVA:
            raise NotRead(f"the date format {form}")
        out += _JAVA.get(letters, letters)
        at += run
    return out


HOLES = ("__a", "__b", "__c", "__d")


def matched(
    template: exp.Expr, node: exp.Expr, found: Mapping[str, exp.Expr]
) -> Mapping[str, exp.Expr] | None:
    """What stands in the holes of a template where it fits an expression, or None where it does not.

    Args:
        template: an expression with columns named as `HOLES`; one named twice stands for equal parts.
        node: the expression.
        found: what is known to stand in the holes.
    """
    if isinstance(template, exp.Column) and template.name in HOLES:
        if template.name in found:
            return found if found[template.name] == node else None
        return {**found, template.name: node}
    while isinstance(node, exp.Paren) and not isinstance(template, exp.Paren):
        node = node.this
    if isinstance(template, exp.Paren) and not isinstance(node, exp.Paren):
        return matched(template.this, node, found)
    if type(template) is not type(node):
        return None
    keys = {
        key for part in (template, node) for key, value in part.args.items() if value not in (None, [], False)
    }
    current: Mapping[str, exp.Expr] | None = found
    for key in keys:
        ours, theirs = (part.args.get(key) for part in (template, node))
        mine, others = (one if isinstance(one, list) else [one] for one in (ours, theirs))
        if len(mine) != len(others):
            return None
        for one, other in zip(mine, others, strict=True):
            if isinstance(one, exp.Expr) and isinstance(other, exp.Expr):
                assert current is not None
                current = matched(one, other, current)
                if current is None:
                    return None
            elif _plain(one) != _plain(other):
                return None
    return current


def _plain(value: object) -> object:
    return value.lower() if isinstance(value, str) else value
