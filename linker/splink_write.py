"""Conditions and sources → SQL of DuckDB: the reverse of `linker.splink_conditions`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from linker.conditions import All, Any, Condition, Not, Op, Test
from linker.errors import ModelError
from linker.sources import Make, Source, column

_DATE = re.compile(r"date_of_birth(_\d+)?(\.swapped)?")
ALWAYS = Source(Make.LITERAL, (), (1,)).name


@dataclass(frozen=True)
class Writer:
    """Writes the conditions of one model.

    Attributes:
        sources: the columns of the model by name; None where they are the columns of the records.
        where: what is being written, for an error.
    """

    sources: Mapping[str, Source] | None
    where: str

    def condition(self, condition: Condition) -> str:
        """The condition, true for the same pairs.

        Raises:
            ModelError: DuckDB has no such measure.
        """
        match condition:
            case Test():
                return self._test(condition)
            case Not(of=Test(Op.MISSING)):
                return f"NOT ({self.condition(condition.of)})"
            case Not(of=part):  # ours is true where a value is missing, and NOT is null there
                return f"NOT coalesce({self.condition(part)}, FALSE)"
            case All(of=parts):
                return " AND ".join(f"({one})" for one in self._every(parts))
            case Any(of=parts):
                return " OR ".join(f"({self.condition(part)})" for part in parts)

    def _every(self, parts: Sequence[Condition]) -> list[str]:
        """The parts of All; where both values are there and the test fails, NOT says it alone."""
        written, at = [], 0
        while at < len(parts):
            match parts[at : at + 2]:
                case [Not(of=Test(Op.MISSING, left, right)), Not(of=Test(op, other, last) as test)] if (
                    left,
                    right,
                ) == (other, last) and op is not Op.MISSING:
                    written.append(f"NOT ({self.condition(test)})")
                    at += 2
                case _:
                    written.append(self.condition(parts[at]))
                    at += 1
        return written

    def rule(self, pairs: Sequence[tuple[str, str]]) -> str:
        """A blocking rule."""
        if all(pair == (ALWAYS, ALWAYS) for pair in pairs):
            return "1=1"
        columns = (
            (self._sql(self._source(left), "l."), self._sql(self._source(right), "r."))
            for left, right in pairs
        )
        return " AND ".join(f"({left} = {right})" for left, right in columns)

    def _source(self, name: str) -> Source:
        return column(name) if self.sources is None else self.sources[name]

    def _refused(self, form: str) -> ModelError:
        return ModelError(
            f"{self.where}: Splink on DuckDB cannot express '{form}'.", "Leave it out of the model."
        )

    def _test(self, test: Test) -> str:
        left, right = self._source(test.left), self._source(test.right)
        if test.op is Op.MISSING:
            sides = ((left, "_l"), (right, "_r"))
            known = [f"{self._sql(one, side)} IS NULL" for one, side in sides if one.name != ALWAYS]
            return " OR ".join(known) or "1=0"
        if test.op is Op.EXACT:
            return f"{self._sql(left, '_l')} = {self._sql(right, '_r')}"
        if test.op is Op.KILOMETRES:
            points = [self._sql(part, side) for one, side in ((left, "_l"), (right, "_r")) for part in one.of]
            return _kilometres(*points) + _at_most(test.value)
        write = self._sql
        if test.op is Op.DIFFERENCE:
            write = self._seconds
        return self._measure(test, write(left, "_l"), write(right, "_r"))

    def _measure(self, test: Test, one: str, other: str) -> str:
        limit = test.value
        if test.op in _MEASURES:
            sql, close = _MEASURES[test.op]
            return sql.format(one, other) + close(limit)
        if test.op in _PAIRED:
            name, best, close = _PAIRED[test.op]
            return _pairs(name, best, one, other) + close(limit)
        shared = f"array_length(list_intersect({one}, {other}))"
        smaller = f"least(array_length({one}), array_length({other}))"
        of_marked = self.sources is not None
        if test.op is Op.COMMON:
            return shared + _at_least(limit - 1.0 if of_marked else limit)
        if test.op is Op.SUBSET:
            subset = f"array_length(array_intersect({one}, {other})) = {smaller}"
            return subset if of_marked else f"({subset}) AND ({smaller}{_at_least(limit)})"
        if test.op is Op.JACCARD:
            either = f"(array_length({one}) + array_length({other}) - {shared})"
            return f"({either} > 0) AND ({shared} >= {_number(limit)}e0 * {either})"
        if test.op is Op.RELATIVE_DIFFERENCE:
            return f"ABS({one} - {other}) <= {_number(limit)}e0 * greatest(ABS({one}), ABS({other}))"
        # The two kinds agree up to one edit, and up to two between texts of one length.
        if test.op is Op.DAMERAU and limit < (3.0 if self._of_one_length(test) else 2.0):
            return f"damerau_levenshtein({one}, {other}){_at_most(limit)}"
        raise self._refused(f"{test.op} of {test.left} up to {limit:g}")

    def _of_one_length(self, test: Test) -> bool:
        """Both columns are standard dates, YYYY-MM-DD."""
        return self.sources is None and all(_DATE.fullmatch(name) for name in (test.left, test.right))

    def _seconds(self, source: Source, side: str) -> str:
        """A number to subtract."""
        sql = self._sql(source, side)
        return f"EPOCH({sql})" if source.make in (Make.PARSE, Make.DAY) else sql

    def _sql(self, source: Source, side: str) -> str:
        parts = [self._sql(part, side) for part in source.of] if source.make is not Make.LITERAL else []
        args = [_literal(one) for one in source.args]
        match source.make:
            case Make.COLUMN:
                name = str(source.args[0]).replace('"', '""')
                return f'"{name}{side}"' if side.startswith("_") else f'{side}"{name}"'
            case Make.LITERAL:
                return args[0]
            case Make.PARSE if "%:z" in str(source.args[0]):
                raise self._refused("a time with Z or an offset")
            case Make.ELEMENTS | Make.UNREPEATED | Make.VECTOR:
                return parts[0]
        return _STEPS[source.make].format(*parts, *args, every=" || ".join(parts), some=", ".join(parts))


_STEPS = {
    Make.TEXT: "CAST({0} AS TEXT)",
    Make.NUMBER: "CAST({0} AS DOUBLE)",
    Make.LOWER: "lower({0})",
    Make.UPPER: "upper({0})",
    Make.TRIM: "trim({0})",
    Make.SUBSTRING: "substring({0}, {1}, {2})",
    Make.LAST: "right({0}, {1})",
    Make.EXTRACT: "regexp_extract({0}, {1}, {2})",
    Make.NULLIF: "NULLIF({0}, {1})",
    Make.JOIN: "({every})",
    Make.COALESCE: "coalesce({some})",
    Make.PARSE: "try_strptime({0}, {1})",
    Make.SECONDS: "EPOCH({0})",
    Make.DAY: "CAST({0} AS DATE)",
    Make.ELEMENT: "{0}[{1}]",
    Make.FIELD: "{0}[{1}]",
    Make.LENGTH: "array_length({0})",
}


def _literal(value: str | float) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return _number(value)


def _number(value: float) -> str:
    """A number that DuckDB reads as exactly this one: many digits would be a decimal, and rounded twice."""
    text = repr(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(value)
    return text if "e" in text or len(text) <= 15 else f"{text}e0"


def _at_least(limit: float) -> str:
    below = math.nextafter(limit, -math.inf)
    return f" > {_number(below)}" if len(repr(below)) < len(repr(limit)) else f" >= {_number(limit)}"


def _at_most(limit: float) -> str:
    above = math.nextafter(limit, math.inf)
    return f" < {_number(above)}" if len(repr(above)) < len(repr(limit)) else f" <= {_number(limit)}"


_MEASURES: dict[Op, tuple[str, Callable[[float], str]]] = {
    Op.JARO_WINKLER: ("jaro_winkler_similarity({0}, {1})", _at_least),
    Op.JARO: ("jaro_similarity({0}, {1})", _at_least),
    Op.CHARACTER_JACCARD: ("jaccard({0}, {1})", _at_least),
    Op.COSINE: ("list_cosine_similarity({0}, {1})", _at_least),
    Op.STANDARDISED_LEVENSHTEIN: (
        "(1 - levenshtein({0}, {1}) / greatest(strlen({0}), strlen({1})))",
        _at_least,
    ),
    Op.LEVENSHTEIN: ("levenshtein({0}, {1})", _at_most),
    Op.UNRESTRICTED_DAMERAU: ("damerau_levenshtein({0}, {1})", _at_most),
    Op.HAMMING: ("hamming({0}, {1})", _at_most),
    Op.DIFFERENCE: ("ABS({0} - {1})", _at_most),
    Op.PERCENTAGE: ("(ABS({0} - {1}) / (CASE WHEN {1} > {0} THEN {1} ELSE {0} END))", _at_most),
}
_PAIRED: dict[Op, tuple[str, str, Callable[[float], str]]] = {
    Op.BEST_LEVENSHTEIN: ("levenshtein", "list_min", _at_most),
    Op.BEST_DAMERAU: ("damerau_levenshtein", "list_min", _at_most),
    Op.BEST_JARO_WINKLER: ("jaro_winkler_similarity", "list_max", _at_least),
    Op.BEST_JARO: ("jaro_similarity", "list_max", _at_least),
}


def _pairs(name: str, best: str, one: str, other: str) -> str:
    pairs = f"flatten(list_transform({one}, x -> list_transform({other}, y -> [x, y])))"
    return f"{best}(list_transform({pairs}, pair -> {name}(pair[1], pair[2])))"


def _kilometres(north: str, east: str, other_north: str, other_east: str) -> str:
    along = f"cos(radians({north})) * cos(radians({other_north})) * cos(radians({other_east} - {east}))"
    cosine = f"(sin(radians({north})) * sin(radians({other_north})) + {along})"
    within = f"case when {cosine} > 1 then 1 when {cosine} < -1 then -1 else {cosine} end"
    return f"cast(acos({within}) * 6371 as float)"
