"""One value at a time: the same standardisation, without what a query costs.

A query costs milliseconds however few its rows, which is nothing for a column and too much for one record.
So the expressions of `linker.standardise` are read as Polars itself writes them down, and turned once into a
straight program: steps in order, each a function of the results of earlier ones, equal steps done once.

    expression ──serialise──▶ tree ──▶ steps, equal ones once ──▶ run(value) ──▶ the parts

There is one definition, and this is another way to work it out; it keeps to what is certain. It takes
printable ASCII alone, where the letters, spaces and cases of Python and of Polars are the same; everything
else, and every step that it does not know, is left to Polars. A test holds the two against each other.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import jellyfish
import polars as pl

from linker.records import Kind
from linker.standardise import standard_of, table
from linker.standardise.functions import BINARY, CASTS, Run, Tree, Unknown, function_of, unique
from linker.standardise.steps import Standard

Value = str | int | float | bool | tuple[str, ...] | None
Program = Callable[[str | None], tuple[Value, ...]]
_Step = tuple[int, Run, bool, int, tuple[int, ...] | None]  # place, function, known, arguments

_PRINTABLE = re.compile("[ -~]*").fullmatch


@lru_cache(maxsize=1 << 12)
def standardise(kind: Kind, value: str | None, wanted: tuple[str, ...]) -> tuple[Value, ...]:
    """Parts of one value, as `linker.standardise.table` gives them for a column.

    Args:
        kind: what the value is about.
        value: text; None is missing.
        wanted: the names of the parts.
    """
    program = _program(kind, wanted)
    if program is not None and (value is None or _PRINTABLE(value)):
        try:
            return program(value)
        except Unknown:
            pass
    made = table(kind, pl.Series([value], dtype=pl.String)).select(wanted).row(0)
    return tuple(tuple(part) if isinstance(part, list) else part for part in made)


@cache
def _program(kind: Kind, wanted: tuple[str, ...]) -> Program | None:
    try:
        return compile_standard(standard_of(kind, pl.col("raw")), wanted)
    except (Unknown, pl.exceptions.PolarsError, ValueError, re.error):  # another form than that of today
        return None


def compile_standard(standard: Standard, wanted: Sequence[str]) -> Program:
    """A function from one raw value to some of its parts.

    Raises:
        Unknown: a step of the standardisation is not known here; the function raises it where a value is not.
    """
    steps = _Steps()
    fields = steps.struct(json.loads(standard.whole.meta.serialize(format="json")), {})
    blank, program, places = steps.needed([fields[name] for name in wanted])

    def run(raw: str | None) -> tuple[Value, ...]:
        done = blank.copy()
        done[0] = raw
        for place, function, known, one, other in program:
            value = done[one]
            if known:
                done[place] = None if value is None else function(value)
            elif other is None:
                done[place] = function(value)
            elif len(other) == 1:
                done[place] = function(value, done[other[0]])
            else:
                done[place] = function(value, *[done[step] for step in other])
        return tuple([done[place] for place in places])

    return run


class _Steps:
    """The steps of a program; a step is known by its number, 0 is the raw value."""

    def __init__(self) -> None:
        self._steps: list[tuple[Run | None, bool, tuple[int, ...]]] = [(None, False, ())]
        self._constants: list[Any] = [None]
        self._known: dict[tuple[str, tuple[int, ...]], int] = {}

    def needed(self, wanted: Sequence[int]) -> tuple[list[Any], list[_Step], list[int]]:
        """The steps that lead to those wanted.

        Returns:
            what stands before the first step: the constants in their places; the steps in order; the
            places of those wanted.
        """
        used, open_ = {0}, list(wanted)
        while open_:
            step = open_.pop()
            if step not in used:
                used.add(step)
                open_ += self._steps[step][2]
        program = [
            (step, function, known, arguments[0], arguments[1:] or None)
            for step, (function, known, arguments) in enumerate(self._steps)
            if step in used and function is not None
        ]
        return self._constants, program, list(wanted)

    def step(self, name: str, function: Run, *arguments: int, known: bool = False) -> int:
        """The step that does this to the results of others.

        Args:
            name: says everything about it but its arguments.
            function: what it does.
            arguments: the steps whose results it takes; at least one.
            known: it has one argument, and gives None for None without being called.
        """
        return self._place(name, function, known, arguments, None)

    def constant(self, value: Value) -> int:
        """The place of a constant."""
        return self._place(f"constant {value!r}", None, False, (), value)

    def _place(
        self, name: str, function: Run | None, known: bool, arguments: tuple[int, ...], constant: Any
    ) -> int:
        key = (name, arguments)
        if key not in self._known:
            self._known[key] = len(self._steps)
            self._steps.append((function, known, arguments))
            self._constants.append(constant)
        return self._known[key]

    # --- trees -----------------------------------------------------------------------------------

    def struct(self, tree: Tree, scope: Mapping[str, int]) -> dict[str, int]:
        """The fields of an expression that is a struct."""
        match tree:
            case {"StructEval": {"expr": base, "evaluation": made, "variant": "WithFields"}}:
                fields = self.struct(base, scope)
                return fields | {name: self.value(one, fields) for name, one in map(_named, made)}
            case {"Function": {"input": made, "function": "AsStruct"}}:
                return {name: self.value(one, scope) for name, one in map(_named, made)}
        raise Unknown

    def value(self, tree: Tree, scope: Mapping[str, int]) -> int:
        """The step of an expression that is a value."""
        match tree:
            case {"Column": "raw"}:
                return 0
            case {"Field": [str(name)]} if name in scope:
                return scope[name]
            case {"Alias": [inner, str()]}:
                return self.value(inner, scope)
            case {"Literal": literal}:
                return self.constant(_literal(literal))
            case {"Cast": {"expr": inner, "dtype": {"Literal": str(dtype)}, "options": options}}:
                function = CASTS.get((dtype, options))
                if function is None:
                    raise Unknown
                return self.step(f"cast {dtype}", function, self.value(inner, scope))
            case {"BinaryExpr": {"left": left, "op": str(op), "right": right}}:
                if op not in BINARY:
                    raise Unknown
                return self.step(op, BINARY[op], self.value(left, scope), self.value(right, scope))
            case {"Ternary": {"predicate": condition, "truthy": one, "falsy": other}}:
                parts = (self.value(part, scope) for part in (condition, one, other))
                return self.step("ternary", lambda holds, one, other: one if holds else other, *parts)
            case {
                "Eval": {
                    "expr": inner,
                    "evaluation": {"Function": {"input": ["Element"], "function": {"Unique": _}}},
                }
            }:
                return self.step("unique", unique, self.value(inner, scope), known=True)
            case {"AnonymousFunction": {"input": [inner], "function": list(code)}}:
                if b"linker.standardise.text" not in bytes(code) or b"_soundex" not in bytes(code):
                    raise Unknown
                return self.step("soundex", jellyfish.soundex, self.value(inner, scope), known=True)
            case {"Function": {"input": [inner], "function": {"StructExpr": {"FieldByName": str(name)}}}}:
                if "StructEval" in inner:
                    return self.struct(inner, scope)[name]
                group = int(name) - 1
                return self.step(
                    f"group {group}", lambda groups: groups[group], self.value(inner, scope), known=True
                )
            case {"Function": {"input": list(inputs), "function": function}}:
                return self.function(function, inputs, scope)
        raise Unknown

    def function(self, function: Tree, inputs: Sequence[Tree], scope: Mapping[str, int]) -> int:
        """The step of a function: its first input is a value, the others are mostly constants."""
        name = json.dumps([function, inputs[1:]])
        subject = inputs[0]
        constants = [
            _literal(one["Literal"]) if isinstance(one, dict) and "Literal" in one else ...
            for one in inputs[1:]
        ]
        match function, constants:
            case "Coalesce", _:
                parts = [self.value(one, scope) for one in inputs]
                return self.step(
                    "coalesce", lambda *those: next((one for one in those if one is not None), None), *parts
                )
            case {"SumHorizontal": {"ignore_nulls": True}}, _:
                parts = [self.value(one, scope) for one in inputs]
                return self.step("sum", lambda *those: sum(one for one in those if one is not None), *parts)
            case "FillNull", [_]:
                parts = [self.value(one, scope) for one in inputs]
                return self.step("fill", lambda one, other: other if one is None else one, *parts)
            case _, _ if ... in constants:
                raise Unknown
        made, known = function_of(function, constants)
        return self.step(name, made, self.value(subject, scope), known=known)


def _named(tree: Tree) -> tuple[str, Tree]:
    match tree:
        case {"Alias": [inner, str(name)]}:
            return name, inner
    raise Unknown


def _literal(literal: Tree) -> Any:
    match literal:
        case {"Dyn": {"Int": int(value)}}:
            return value
        case {"Scalar": {"String": str(value)}}:
            return value
        case {"Scalar": {"Boolean": bool(value)}}:
            return value
        case {"Scalar": {"Int32": int(value)}}:
            return value
        case {"Scalar": {"Null": _}}:
            return None
        case {"Scalar": {"List": list(content)}}:
            return tuple(pl.read_ipc_stream(io.BytesIO(bytes(content))).to_series().to_list())
    raise Unknown
