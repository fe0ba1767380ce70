"""Made-up people as they are kept, and a key."""

from __future__ import annotations

import polars as pl

from pseudonym.holders import PrfKey
from pseudonym.roles.flat import FLAT

KEY = PrfKey("test", bytes(range(32)))
ANYBODY = {
    "given": "Amelia Rose", "surname": "Okonkwo-Baxter", "born": "2011-02-03", "sex": "F",
    "postcode": "CB11AA", "nhs": "9434765919",
}  # fmt: skip


def rows(*people: dict[str, str | None]) -> pl.DataFrame:
    """Flat rows, a column for each that a person may have."""
    columns = {name: [one.get(name) for one in people] for name in FLAT}
    return pl.DataFrame(columns, schema=dict.fromkeys(FLAT, pl.String))


def anybody(**changes: str | None) -> dict[str, str | None]:
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
