"""A number with its noun, as people read it."""

from __future__ import annotations


def count(number: int, word: str, plural: str | None = None) -> str:
    """`1 row`, `2,000 rows`; with the plural named, `2 families`."""
    return f"{number:,} {word if number == 1 else plural or word + 's'}"
