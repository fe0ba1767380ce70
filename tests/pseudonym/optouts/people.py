"""Made-up people as they are kept, and a key."""

from __future__ import annotations

from typing import Any

import polars as pl

from pseudonym.columns import ALIASES
from pseudonym.holders import PrfKey
from pseudonym.records import SCHEMA
from pseudonym.roles.flat import FLAT

KEY = PrfKey("test", bytes(range(32)))
ANYBODY = {
    "given": "Amelia Rose", "surname": "Okonkwo-Baxter", "born": "2011-02-03", "sex": "F",
    "postcode": "CB11AA", "nhs": "9434765919",
}  # fmt: skip


def rows(*people: dict[str, Any]) -> pl.DataFrame:
    """Flat rows, a column for each that a person may have; their further names under `aliases`."""
    schema: dict[str, Any] = {**dict.fromkeys(FLAT, pl.String), ALIASES: SCHEMA[ALIASES]}
    return pl.DataFrame({name: [one.get(name) for one in people] for name in schema}, schema=schema)


def anybody(**changes: Any) -> dict[str, Any]:
    """A person, with changes."""
    return {**ANYBODY, **changes}


class Kept(dict[str, dict[str, object]]):
    """Papers in memory."""

    def write(self, name, content):
        self[name] = content

    def remove(self, name):
        del self[name]

    def all(self):
        return iter(list(self.items()))
