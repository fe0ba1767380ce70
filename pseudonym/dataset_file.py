"""A dataset's declaration in a file: TOML, as its officer writes it, or JSON, as commands print it.

    name = "families"

    [columns.problems]
    kind = "integer"            # or decimal, code, month, quarter, year, flag
    least = 0                   # of an integer, a decimal or a year
    most = 6

    [columns.arrears]
    kind = "decimal"
    places = 2                  # decimal places
    least = 0.00
    most = 99999.99

    [columns.offence]
    kind = "code"
    codes = ["none", "caution", "conviction"]   # all that may occur
    tags = ["criminal-offence"]                 # and special-category: Articles 10 and 9 of the UK GDPR

`kinlink council declaration` and `kinlink registers show … --declaration` print JSON, in the spelling of
`Dataset.to_json`. What may be declared is said in `datasets`; nothing beside what stands above is taken.
"""

from __future__ import annotations

import tomllib
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from pseudonym.datasets import Column, Dataset, Kind, Tag
from pseudonym.errors import InputError

_E = TypeVar("_E", bound=StrEnum)
_KEYS = ("kind", "least", "most", "places", "codes", "tags")


def read_dataset(path: Path) -> Dataset:
    """Read a declaration.

    Raises:
        InputError: it cannot be read, or says something else than a declaration does; the message names the
            column and the key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path} cannot be read as text in UTF-8.", "Name the declaration's file.") from None
    if text.lstrip().startswith("{"):
        return _printed(path, text)
    try:
        content = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is no TOML: {error}.", "docs/persons.md shows a declaration.") from None
    columns = content.get("columns")
    if set(content) != {"name", "columns"} or not isinstance(columns, dict):
        raise InputError(
            "A declaration has a name and a table for each column, and nothing else.",
            'Write name = "families", and [columns.problems] with what the column holds.',
        )
    if not isinstance(content["name"], str):
        raise InputError("The name of the dataset is a text.", 'Write it as name = "families".')
    return Dataset(content["name"], tuple(_column(name, said) for name, said in columns.items()))


def _printed(path: Path, text: str) -> Dataset:
    try:
        return Dataset.from_json(text)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(
            f"{path} is no declaration in JSON.",
            "Take it as 'kinlink council declaration' or 'kinlink registers show' prints it.",
        ) from None


def _column(name: str, said: Any) -> Column:
    if not isinstance(said, dict) or not set(said) <= set(_KEYS) or "kind" not in said:
        raise InputError(
            f"Column {name} is not declared as columns are.",
            f"Give kind and, of {', '.join(_KEYS)}, the rest.",
        )
    kind = _one(Kind, said["kind"], f"The kind of column {name}")
    scale = _whole(said.get("places", 0), name, "places", 0)
    codes, tags = (_texts(said.get(key, []), name, key) for key in ("codes", "tags"))
    bounded = kind in (Kind.INTEGER, Kind.DECIMAL, Kind.YEAR)
    if bounded and not {"least", "most"} <= set(said):
        raise InputError(f"Column {name} has no bounds.", "Give least and most.")
    shift = scale if 1 <= scale <= 6 else 0  # else the column itself says what is wrong
    return Column(
        name,
        kind,
        _whole(said.get("least", 0), name, "least", shift),
        _whole(said.get("most", 0), name, "most", shift),
        scale,
        codes,
        frozenset(_one(Tag, tag, f"A tag of column {name}") for tag in tags),
    )


def _whole(value: Any, name: str, key: str, places: int) -> int:
    """A number in units of its last place."""
    exact = Decimal(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else None
    if exact is None or not exact.is_finite() or abs(exact) > 10**15:
        raise InputError(f"{key} of column {name} is no number that a column may have.", "Correct it.")
    scaled = exact.scaleb(places)
    if scaled != scaled.to_integral_value():
        raise InputError(f"{key} of column {name} has more decimal places than the column.", "Correct it.")
    return int(scaled)


def _texts(value: Any, name: str, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise InputError(
            f"{key} of column {name} is no list of texts.", f'Write it as {key} = ["one", "two"].'
        )
    return tuple(value)


def _one(kind: type[_E], value: Any, what: str) -> _E:
    if value not in list(kind):
        raise InputError(f"{what} is none that is known.", f"They are {', '.join(kind)}.")
    return kind(value)
