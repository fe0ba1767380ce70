"""What each step of a standardisation does to one value: the functions of Polars, in printable ASCII.

None is null. What is not certain to be the same here and there raises `Unknown`, and is left to Polars.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from operator import not_
from typing import Any

Tree = Any
Run = Callable[..., Any]

_NUMBER = re.compile("[0-9]{1,9}").fullmatch
_DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?").fullmatch
_DAY = re.compile("[0-9]{8}").fullmatch
_EPOCH = datetime.date(1970, 1, 1)


class Unknown(Exception):
    """A step that only Polars can do."""


def function_of(function: Tree, constants: Sequence[Any]) -> tuple[Run, bool]:
    """A function of one value, its other arguments being constants; and whether it gives None for None."""
    match function, constants:
        case {"StringExpr": inner}, _:
            return _text_function(inner, constants), True
        case {"Boolean": "IsNull"}, []:
            return lambda value: value is None, False
        case {"Boolean": "IsNotNull"}, []:
            return lambda value: value is not None, False
        case {"Boolean": "Not"}, []:
            return not_, True
        case {"Boolean": "IsFinite"}, []:
            return lambda value: True, True  # a cast lets nothing else pass
        case {"Boolean": {"IsIn": {"nulls_equal": False}}}, [tuple(listed)]:
            return frozenset(listed).__contains__, True
        case "Replace", [str(old), new]:
            return lambda value: new if value == old else value, False
        case {"ReplaceStrict": _}, [tuple(old), tuple(new), default]:
            replaced = dict(zip(old, new, strict=True))
            return lambda value: replaced.get(value, default), False
        case {"ListExpr": {"Sort": {"descending": False}}}, []:
            return lambda texts: tuple(sorted(texts)), True
    raise Unknown


def _text_function(function: Tree, constants: Sequence[Any]) -> Run:
    """A function of a text that is there."""
    match function, constants:
        case "Uppercase", []:
            return str.upper
        case "Lowercase", []:
            return str.lower
        case {"Normalize": _}, []:
            return lambda text: text
        case "StripChars", [letters]:
            return lambda text: text.strip(letters or " ")
        case "StripCharsStart", [str(letters)]:
            return lambda text: text.lstrip(letters)
        case "StartsWith", [str(start)]:
            return lambda text: text.startswith(start)
        case "Slice", [int(start), None | int() as length] if start >= 0:
            stop = None if length is None else start + length
            return lambda text: text[start:stop]
        case {"Split": False}, [str(by)]:
            return lambda text: tuple(text.split(by))
        case "ZFill", [int(width)]:
            return lambda text: _digits(text).zfill(width)
        case {"Contains": {"literal": False}}, [str(pattern)]:
            search = _regex(pattern).search
            return lambda text: search(text) is not None
        case {"Extract": int(group)}, [str(pattern)]:
            search = _regex(pattern).search
            return lambda text: found[group] if (found := search(text)) else None
        case {"ExtractGroups": {"pat": str(pattern)}}, []:
            form = _regex(pattern)
            none, find = (None,) * form.groups, form.search
            return lambda text: found.groups() if (found := find(text)) else none
        case {"Replace": {"n": 1 | -1 as many, "literal": False}}, [str(pattern), str(new)]:
            form, template = _regex(pattern), _template(new)
            return lambda text: form.sub(template, text, count=max(0, many))
        case {"ReplaceMany": {"ascii_case_insensitive": False}}, [tuple(old), tuple(new)]:
            return _replace_many(old, new)
        case {"Strptime": [{"Literal": "Date"}, {"format": "%Y%m%d", "strict": False}]}, [_]:
            return _date
    raise Unknown


_CLASSES = {"L": "A-Za-z", "M": "", "N": "0-9"}
_PIECES = re.compile(r"\\p\{(?P<class>[LMN])\}|\\.|(?P<open>\[\^?\]?)|(?P<close>\])|.", re.DOTALL)


def _regex(pattern: str) -> re.Pattern[str]:
    """A pattern of Rust's crate as one of Python's that finds the same in printable ASCII."""
    inside, made = False, ""
    for piece in _PIECES.finditer(pattern):
        known = piece["class"]
        if known and not inside and not _CLASSES[known]:
            raise Unknown
        made += (_CLASSES[known] if inside else f"[{_CLASSES[known]}]") if known else piece[0]
        if (inside and piece["open"]) or (not known and piece[0].startswith(("\\p", "\\P"))):
            raise Unknown
        inside = not piece["close"] and (inside or piece["open"] is not None)
    return re.compile(made, re.ASCII)


def _template(new: str) -> str:
    template = re.sub(r"\$\{([0-9])\}", r"\\g<\1>", new.replace("\\", r"\\"))
    if "$" in template:
        raise Unknown
    return template


def _replace_many(old: Sequence[str], new: Sequence[str]) -> Run:
    those = {one: other for one, other in zip(old, new, strict=True) if one.isascii()}
    if all(len(one) == 1 for one in those):
        changed = str.maketrans(those)
        return lambda text: text.translate(changed)
    if not all(re.fullmatch(" [^ ]+ ", one) for one in those):
        raise Unknown
    # Whole words between spaces: whichever way the text is searched, it is the same ones that are found.
    form = re.compile("|".join(map(re.escape, those)))
    return lambda text: form.sub(lambda found: those[found[0]], text)


def _digits(text: str) -> str:
    if text and not text.isdecimal():
        raise Unknown
    return text


def _date(text: str) -> datetime.date | None:
    if not _DAY(text) or text.startswith("0000"):
        raise Unknown
    try:
        return datetime.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def _as_integer(value: Any) -> int | None:
    if isinstance(value, str):
        if _NUMBER(value):
            return int(value)
        if any(letter in "0123456789" for letter in value):
            raise Unknown
        return None
    if isinstance(value, datetime.date):
        return (value - _EPOCH).days
    if value is None:
        return None
    raise Unknown


def _as_float(value: Any) -> float | None:
    if value is not None and not (isinstance(value, str) and _DECIMAL(value)):
        raise Unknown
    return None if value is None else float(value)


def _as_text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Unknown
    return value


CASTS: dict[tuple[str, str], Run] = {
    ("String", "Strict"): _as_text,
    ("Int32", "NonStrict"): _as_integer,
    ("Int32", "Strict"): _as_integer,
    ("Int64", "NonStrict"): _as_integer,
    ("Float64", "NonStrict"): _as_float,
}


def _both(function: Run) -> Run:
    return lambda one, other: None if one is None or other is None else function(one, other)


def _and(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def _or(one: bool | None, other: bool | None) -> bool | None:
    if one or other:
        return True
    return None if one is None or other is None else False


BINARY: dict[str, Run] = {
    "And": _and,
    "Or": _or,
    "Eq": _both(lambda one, other: one == other),
    "NotEq": _both(lambda one, other: one != other),
    "Gt": _both(lambda one, other: one > other),
    "GtEq": _both(lambda one, other: one >= other),
    "Lt": _both(lambda one, other: one < other),
    "Plus": _both(lambda one, other: one + other),
    "Minus": _both(lambda one, other: one - other),
    "Multiply": _both(lambda one, other: one * other),
    "Modulus": _both(lambda one, other: one % other),
}


def unique(texts: Sequence[str]) -> tuple[str, ...]:
    """The texts without repeats."""
    return tuple(dict.fromkeys(texts))
