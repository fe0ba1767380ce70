"""Conditions of Splink, in SQL, → conditions of ours, with the same answer for every pair.

SQL has three answers and ours have two: a condition that is null holds no level. So a condition is read for
what makes it true, and under NOT for what makes it false; neither holds where a value is missing.

What the distances are called stands in `linker.splink_measures`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sqlglot import exp

from linker.conditions import SIMILARITIES, All, Any, Condition, Not, Op, Test
from linker.sources import Make, Source
from linker.splink_measures import (
    DISTANCES,
    NOT_EMPTY,
    NULL_OF_VALUES,
    SUBSET,
    WHOLE,
    Measure,
    list_template,
    templates,
)
from linker.splink_sql import HOLES, NotRead, Piece, matched, number, parsed, piece, words

ALWAYS = Source(Make.LITERAL, (), (1,))  # a column that is never missing and everywhere the same


class Reader:
    """Reads the conditions of one model, and remembers every column that they are about.

    Attributes:
        sources: by name.
    """

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}

    def name(self, source: Source) -> str:
        """The name of a column that the model then has."""
        self.sources[source.name] = source
        return source.name

    def condition(self, sql: str, dialect: str) -> Condition:
        """The condition of a level.

        Raises:
            NotRead: says which form cannot be expressed.
        """
        return self._read(parsed(sql, dialect), dialect, True)

    def rule(self, sql: str, dialect: str) -> tuple[tuple[tuple[str, str], ...], ...]:
        """A blocking rule as column pairs to be equal: one tuple for each alternative that OR gives.

        Raises:
            NotRead: says which form cannot be expressed.
        """
        return tuple(tuple(pairs) for pairs in self._equalities(parsed(sql, dialect)))

    def _equalities(self, node: exp.Expr) -> list[list[tuple[str, str]]]:
        match node:
            case exp.Paren():
                return self._equalities(node.this)
            case exp.Or():
                return [*self._equalities(node.this), *self._equalities(node.expression)]
            case exp.And():
                ways = self._equalities(node.expression)
                return [first + second for first in self._equalities(node.this) for second in ways]
            case exp.EQ():
                if number(node.this) == number(node.expression) is not None:  # 1=1, every pair
                    always = self.name(ALWAYS)
                    return [[(always, always)]]
                return [[self._equal(piece(node.this), piece(node.expression), node)]]
        raise NotRead(words(node))

    def _equal(self, one: Piece, other: Piece, node: exp.Expr) -> tuple[str, str]:
        """Left and right column of an equality; a constant takes the type of what it is compared with."""
        if (one.side, other.side) in (("r", "l"), (None, "l"), ("r", None)):
            one, other = other, one
        if one.side == "l" and other.side == "r":
            return self.name(one.source), self.name(other.source)
        if one.side == "l" and other.side is None:
            return self.name(one.source), self.name(_typed(other.source, one.source))
        if one.side is None and other.side == "r":
            return self.name(_typed(one.source, other.source)), self.name(other.source)
        raise NotRead(f"{words(node)}: both of one record")

    def _read(self, node: exp.Expr, dialect: str, wanted: bool) -> Condition:
        """What makes an expression true, or false if that is wanted."""
        match node:
            case exp.Paren():
                return self._read(node.this, dialect, wanted)
            case exp.Not():
                return self._read(node.this, dialect, not wanted)
            case exp.And() | exp.Or():
                parts = [self._read(part, dialect, wanted) for part in node.flatten()]
                return joined(parts, isinstance(node, exp.And) == wanted)
            case exp.Is() if isinstance(node.expression, exp.Null):
                missing = self._missing(piece(node.this))
                return missing if wanted else Not(missing)
            case exp.Coalesce() if node.expressions == [exp.false()]:
                holds = self._read(node.this, dialect, True)
                return holds if wanted else Not(holds)
            case exp.In() if node.expressions:
                parts = [
                    self._read(exp.EQ(this=node.this, expression=one), dialect, wanted)
                    for one in node.expressions
                ]
                return joined(parts, not wanted)
        if (found := self._of_lists(node, dialect, wanted)) is not None:
            return found
        if isinstance(node, exp.LT | exp.LTE | exp.GT | exp.GTE):
            return self._measured(node, dialect, wanted)
        if isinstance(node, exp.EQ | exp.NEQ):
            left, right = self._equal(piece(node.this), piece(node.expression), node)
            return _answer(Test(Op.EXACT, left, right), wanted == isinstance(node, exp.EQ))
        raise NotRead(words(node))

    def _missing(self, one: Piece) -> Condition:
        always = self.name(ALWAYS)
        if one.side == "l":
            return Test(Op.MISSING, self.name(one.source), always)
        return Test(Op.MISSING, always, self.name(one.source))

    def _of_lists(self, node: exp.Expr, dialect: str, wanted: bool) -> Condition | None:
        for sql in (SUBSET, NOT_EMPTY):
            found = matched(list_template(sql, dialect), node, {})
            if found is None:
                continue
            left, right = _sides([piece(found[hole]) for hole in HOLES[:2]], node)
            if sql == SUBSET:  # with the mark in every list
                names = [self.name(Source(Make.UNREPEATED, (one.source,))) for one in (left, right)]
                return _answer(Test(Op.SUBSET, names[0], names[1], 1.0), wanted)
            lengths = [Source(Make.LENGTH, (one.source,)) for one in (left, right)]
            zeros = [self.name(_typed(Source(Make.LITERAL, (), (0,)), one)) for one in lengths]
            names = [self.name(one) for one in lengths]
            empty = Test(Op.EXACT, names[0], zeros[0]), Test(Op.EXACT, zeros[1], names[1])
            return joined([_answer(one, not wanted) for one in empty], wanted)
        return None

    def _measured(self, node: exp.Binary, dialect: str, wanted: bool) -> Condition:
        measure, limit, sign = node.this, number(node.expression), type(node)
        if limit is None:
            measure, limit = node.expression, number(node.this)
            sign = {exp.LT: exp.GT, exp.LTE: exp.GTE, exp.GT: exp.LT, exp.GTE: exp.LTE}[sign]
        if limit is None:
            raise NotRead(words(node))
        for template, one in templates(dialect):
            found = matched(template, measure, {})
            if found is not None:
                return self._limited(one, found, sign, float(limit), node, wanted)
        raise NotRead(words(node))

    def _limited(
        self,
        measure: Measure,
        found: Mapping[str, exp.Expr],
        sign: type[exp.Binary],
        limit: float,
        node: exp.Expr,
        wanted: bool,
    ) -> Condition:
        pieces = [piece(found[hole]) for hole in HOLES if hole in found]
        if measure.op is Op.KILOMETRES:
            pieces = [_point(pieces[:2], node), _point(pieces[2:], node)]
        left, right = _sides(pieces, node)
        names = [self.name(_as(measure.make, one.source)) for one in (left, right)]
        near = measure.op in DISTANCES
        if sign in (
            (exp.GT, exp.GTE) if near else (exp.LT, exp.LTE)
        ):  # the other way: read for what denies it
            sign = {exp.GT: exp.LTE, exp.GTE: exp.LT, exp.LT: exp.GTE, exp.LTE: exp.GT}[sign]
            wanted = not wanted
        value = _least(limit, measure.op in WHOLE, sign) * measure.scale + measure.more
        beyond = (near and value < 0.0) or (measure.op in SIMILARITIES and value > 1.0)
        if beyond or not math.isfinite(value):
            raise NotRead(f"{words(node)}: which never holds, or always")
        if measure.op is Op.COMMON and (value <= measure.more) == wanted:
            # DuckDB finds nothing in common of a list and null, and null of null and a list.
            raise NotRead(f"{words(node)}: which lists with nothing in common meet")
        if not wanted and measure.op in NULL_OF_VALUES:
            raise NotRead(f"{words(node)}: the contrary of the best of lists")
        return _answer(Test(measure.op, names[0], names[1], value), wanted)


def _as(make: Make | None, source: Source) -> Source:
    if (
        make is None
        or source.make is make
        or (make is Make.SECONDS and source.make in (Make.PARSE, Make.DAY))
    ):
        return source
    return Source(make, (source,))


def _typed(literal: Source, as_other: Source) -> Source:
    return Source(Make.LITERAL, (as_other,), literal.args)


def _point(pieces: Sequence[Piece], node: exp.Expr) -> Piece:
    if len({one.side for one in pieces}) != 1:
        raise NotRead(words(node))
    return Piece(Source(Make.POINT, tuple(one.source for one in pieces)), pieces[0].side)


def _sides(pieces: Sequence[Piece], node: exp.Expr) -> tuple[Piece, Piece]:
    one, other = pieces
    if (one.side, other.side) == ("l", "r"):
        return one, other
    if (one.side, other.side) == ("r", "l"):  # every measure is the same both ways
        return other, one
    raise NotRead(f"{words(node)}: not of both records")


def _least(limit: float, whole: bool, sign: type[exp.Binary]) -> float:
    """The limit that <= or >= have to have for the same answers."""
    if math.isinf(limit):
        return limit
    if sign is exp.LT:
        return math.ceil(limit) - 1.0 if whole else math.nextafter(limit, -math.inf)
    if sign is exp.GT:
        return math.floor(limit) + 1.0 if whole else math.nextafter(limit, math.inf)
    return limit


def _answer(test: Test, wanted: bool) -> Condition:
    """The test, or that it fails though both values are there."""
    if wanted:
        return test
    return All((Not(Test(Op.MISSING, test.left, test.right)), Not(test)))


def joined(parts: Iterable[Condition], every: bool) -> Condition:
    """All of the parts, or any, flat; what is missing on one side or the other becomes one test."""
    kind = All if every else Any
    flat = [inner for part in parts for inner in (part.of if isinstance(part, kind) else (part,))]
    kept = list(_merged(flat, every))
    return kept[0] if len(kept) == 1 else kind(tuple(kept))


def _merged(parts: Sequence[Condition], every: bool) -> Iterator[Condition]:
    """`a_l IS NULL OR a_r IS NULL` as one test, and so its contrary; all else as it stands."""
    lefts: dict[str, int] = {}
    rights: dict[str, int] = {}
    for place, part in enumerate(parts):
        one = part.of if every and isinstance(part, Not) else part
        if isinstance(one, Test) and one.op is Op.MISSING and (one is not part) == every:
            if one.right == ALWAYS.name:
                lefts[one.left] = place
            elif one.left == ALWAYS.name:
                rights[one.right] = place
    both = {name: {lefts[name], rights[name]} for name in lefts.keys() & rights.keys()}
    replaced = {min(places): name for name, places in both.items()}
    dropped = {max(places) for places in both.values()}
    for place, part in enumerate(parts):
        if place in replaced:
            missing = Test(Op.MISSING, replaced[place], replaced[place])
            yield Not(missing) if every else missing
        elif place not in dropped:
            yield part
