"""People who do not exist: a register, and a second file of some of them with slips of the pen."""

from __future__ import annotations

import random

import polars as pl

_SYLLABLES = ("zan", "vor", "quil", "mab", "ter", "ish", "ol", "gwyn", "dre", "bex", "ul", "hark")
_SCHEMA = dict.fromkeys(("id", "forename", "surname", "dob", "sex", "postcode", "town"), pl.String)


def register(many: int, seed: int = 0) -> pl.DataFrame:
    """One record a person: names that repeat, dates, addresses; no name that a document could hold."""
    rng = random.Random(seed)
    surnames = [_name(rng, 3) for _ in range(many // 3)]
    forenames = [_name(rng, 2) for _ in range(many // 5)]
    rows = [
        (
            f"p{number:05d}",
            rng.choice(forenames),
            rng.choice(surnames),
            f"{rng.randint(1940, 2015)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
            rng.choice("MF"),
            rng.choice(("CB", "LS", "SW"))
            + f"{rng.randint(1, 9)} {rng.randint(1, 9)}"
            + rng.choice(("AB", "DE", "FA")),
            rng.choice(("Zanvorham", "Quilbexton", "Mabgwynley")),
        )
        for number in range(many)
    ]
    return pl.DataFrame(rows, _SCHEMA, orient="row")


def retyped(people: pl.DataFrame, seed: int = 1, prefix: str = "q") -> pl.DataFrame:
    """The same people, each with about one slip: a letter, a gap, a move, a change of name."""
    rng = random.Random(seed)
    rows = []
    for row in people.iter_rows(named=True):
        typed = row | {"id": prefix + row["id"][1:]}
        for name in ("forename", "surname", "dob", "postcode", "town"):
            if rng.random() < 0.12:
                typed[name] = None if rng.random() < 0.3 else _slip(rng, row[name])
        if rng.random() < 0.05:
            typed["surname"] = _name(rng, 3)
        rows.append(tuple(typed.values()))
    return pl.DataFrame(rows, _SCHEMA, orient="row")


def _name(rng: random.Random, syllables: int) -> str:
    return "".join(rng.choices(_SYLLABLES, k=syllables)).capitalize()


def _slip(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text) - 1)
    if text[at].isdigit():
        return text[:at] + rng.choice("123456789") + text[at + 1 :]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
