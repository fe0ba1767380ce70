"""Headings: what a column's name says it holds, before anybody has looked at its values."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from linker.standardise.text import rows

#: The three parts a date of birth may come in, in the order the parts are read.
DATE_PARTS = ("birth_year", "birth_month", "birth_day")


@dataclass(frozen=True)
class Heading:
    """What a name says.

    Attributes:
        meaning: a kind's value, or `id`, `truth`, `source`, `note`, `title`, `relation`, `programme`; None
            where the name says nothing that is known.
        further: a further value beside the main one: a former name, a second address line.
        elsewhere: about somebody or something else than the person: a mother, a school.
        part: `birth_year`, `birth_month`, `birth_day`, or None.
        rank: place of an `id` in the order of preference, 0 first.
    """

    meaning: str | None
    further: bool = False
    elsewhere: bool = False
    part: str | None = None
    rank: int = 0


def read(column: str) -> Heading:
    """The heading of `column`: "LegalSurname", "dob_l", "NHS Number" and "fname_c1" are understood."""
    words = split(column)
    known, parts, around = _lists()
    joined = "".join(words)
    part = _found(words, parts, around["filler"])
    if joined in known:
        meaning, rank = known[joined]
        later = meaning == "address_line" and words[-1].isdigit() and words[-1] != "1"
        return Heading(meaning, further=later, part=part, rank=rank)
    for about in ("relation", "programme"):
        if any(word in around[f"{about}_word"] for word in words):
            return Heading(about, part=part)
    elsewhere = any(word in around["relative"] for word in words)
    tolerated = around["filler"] | around["other"]
    name = _window(words, known, tolerated)
    if elsewhere or name is None:
        return Heading(None, elsewhere=elsewhere, part=part)
    meaning, rank = known["".join(name)]
    rest = list(words)
    for word in name:
        rest.remove(word)
    ordinal = next((int(word) for word in rest if word.isdigit()), 1)
    if meaning == "forename" and ordinal > 1:
        return Heading("middle_name", part=part)
    further = ordinal > 1 or any(word in around["other"] for word in rest)
    return Heading(meaning, further=further, part=part, rank=rank)


def split(column: str) -> tuple[str, ...]:
    """The words of a name in lower case: "AddressLine1" → address, line, 1."""
    text = unicodedata.normalize("NFKD", column)
    text = "".join(char for char in text if not unicodedata.combining(char))
    text = re.sub(r"([a-z0-9])([A-Z])|([A-Z]+)([A-Z][a-z])", r"\1\3 \2\4", text)
    text = re.sub(r"([A-Za-z])([0-9])|([0-9])([A-Za-z])", r"\1\3 \2\4", text)
    return tuple(re.findall("[a-z]+|[0-9]+", text.lower()))


def _found(words: tuple[str, ...], parts: dict[str, str], filler: frozenset[str]) -> str | None:
    name = _window(words, parts, filler)
    return parts["".join(name)] if name else None


def _window(
    words: tuple[str, ...], known: Collection[str], tolerated: frozenset[str]
) -> tuple[str, ...] | None:
    """The longest run of words that is a known name, if nothing but tolerated words stands around it."""
    for size in range(len(words), 0, -1):
        for start in range(len(words) - size + 1):
            rest = words[:start] + words[start + size :]
            if "".join(words[start : start + size]) in known and all(
                word in tolerated or word.isdigit() for word in rest
            ):
                return words[start : start + size]
    return None


@cache
def _lists() -> tuple[dict[str, tuple[str, int]], dict[str, str], dict[str, frozenset[str]]]:
    known: dict[str, tuple[str, int]] = {}
    parts: dict[str, str] = {}
    around: dict[str, set[str]] = {
        kind: set() for kind in ("filler", "other", "relative", "relation_word", "programme_word")
    }
    for rank, row in enumerate(rows("columns.csv")):
        kind, name = row["kind"], row["name"]
        if kind in around:  # words, wherever they stand in a name
            around[kind].add(name)
        elif kind in DATE_PARTS:
            parts[name] = kind
        else:
            known[name] = (kind, rank)
    return known, parts, {kind: frozenset(names) for kind, names in around.items()}
