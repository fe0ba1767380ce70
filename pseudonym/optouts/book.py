"""All rules of one identity role, sealed, and the screen that is made of them.

    rule ──sealed──▶ paper beside the ledger of erasures ──read at the start──▶ rules ──▶ screen

The rules this module keeps:

- A rule is on disk before it holds, and holds from then on: it lies beside the database, which may be put
  back to a day before it.
- What is on disk is sealed under a key made of the suppression key, each rule in its own place. Without
  that key nothing is learned but how many rules there are and roughly of how many people each is.
- Whoever delivers a batch and whoever adds a rule take turns (`turn`): nobody comes in between.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import polars as pl
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pseudonym.columns import each_name
from pseudonym.errors import SealBrokenError
from pseudonym.holders import PrfKey
from pseudonym.optouts.rules import Kind, Rule, State
from pseudonym.optouts.screen import Forms, Screen
from pseudonym.optouts.tokens import Tokens, tokens_of
from pseudonym.seal import NONCE_BYTES, SCHEME
from pseudonym.urn import enc

_SEALED: Final = "sealed"
_FORMAT: Final = 1
_LISTED: Final = (Kind.WITHDRAWAL, Kind.NHS_NUMBER)


class Kept(Protocol):
    """Where sealed rules are kept, by name: durable, and each replaced as a whole."""

    def write(self, name: str, content: dict[str, Any]) -> None: ...

    def all(self) -> Iterator[tuple[str, dict[str, Any]]]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Screened:
    """What rules say of the rows of a delivery.

    Attributes:
        version: of the rules that said it.
        rows: the rows, without NHS numbers that are not to be used.
        withdrawn: places of rows that are nobody's (row), and of which withdrawn person each is (person), a
            number.
    """

    version: int
    rows: pl.DataFrame
    withdrawn: pl.DataFrame


class Book:
    """The rules; its methods may be called from any thread.

    Args:
        kept: where they are kept.
        key: the suppression key.
        forms: see `Forms`; without it no tokens can be made.

    Raises:
        SealBrokenError: a rule was altered, or the suppression key is another one.
    """

    def __init__(self, kept: Kept, key: PrfKey, forms: Forms) -> None:
        self._kept, self._key, self._forms = kept, key, forms
        self._cipher = AESGCM(key.prf("suppression-seal/1"))
        self.turn = threading.RLock()
        self._rules = {name: self._opened(name, content) for name, content in kept.all()}
        self._screens: dict[Kind, Screen] = {}
        self.version = 0
        self._renew()

    def all(self, kind: Kind | None = None) -> list[Rule]:
        """The rules that hold, of one kind or all, the oldest first."""
        with self.turn:
            found = [one for one in self._rules.values() if one.state is not State.LIFTED]
        return sorted(
            (one for one in found if kind in (None, one.kind)), key=lambda one: (one.request.when, one.name)
        )

    def of_request(self, request_id: str) -> list[Rule]:
        """The rules that a request made, lifted or not."""
        with self.turn:
            return [one for one in self._rules.values() if one.request.request_id == request_id]

    def keep(self, rule: Rule) -> Rule:
        """Write a rule, new or changed; it is on disk when this returns, and holds."""
        with self.turn:
            nonce = os.urandom(NONCE_BYTES)
            octets = json.dumps(rule.spelt()).encode()
            sealed = SCHEME + nonce + self._cipher.encrypt(nonce, octets, _place(rule.name))
            self._kept.write(rule.name, {"format": _FORMAT, _SEALED: sealed.hex()})
            before = self._rules.get(rule.name)
            self._rules[rule.name] = rule
            if before is None or before.state != rule.state:
                self._renew()
        return rule

    def tokens(self, people: pl.DataFrame) -> Tokens:
        """The tokens of one person, of all rows that are known of them (as `Forms` takes them)."""
        return tokens_of(self._key.digests, self._forms(people, brief=False))

    def screened(self, rows: pl.DataFrame) -> Screened:
        """Hold rows (as `Forms` takes them, with `aliases` and other columns) against the rules."""
        with self.turn:
            version, screens = self.version, dict(self._screens)
        withdrawn = self._named(screens[Kind.WITHDRAWAL], rows)
        numbered = rows.filter(pl.col("nhs").is_not_null())
        without = self._named(screens[Kind.NHS_NUMBER], rows)["row"].unique() if numbered.height else None
        if without is not None and len(without):
            place = pl.int_range(pl.len(), dtype=pl.UInt32)
            hidden = place.is_in(without.implode())
            rows = rows.with_columns(nhs=pl.when(~hidden).then("nhs"))
        return Screened(version, rows, withdrawn)

    def on_list(self, kind: Kind, rows: pl.DataFrame) -> pl.Series:
        """Which rows are of people whom a kind of rule is about: Boolean, one a row."""
        screen = Screen([one for rule in self.all(kind) for one in rule.tokens], self._key.digests)
        found = self._matches(screen, rows)["row"].unique()
        return pl.int_range(rows.height, dtype=pl.UInt32, eager=True).is_in(found.implode())

    def matched(self, rule: Rule, rows: pl.DataFrame) -> set[int]:
        """Which of the people of a rule, by their place, some rows are of."""
        found = self._matches(Screen(rule.tokens, self._key.digests), rows)
        return set(found["person"].to_list())

    def taken_off(self, kind: Kind, rows: pl.DataFrame) -> int:
        """Take the people of some rows off the lists of a kind; how many were on them."""
        count = 0
        with self.turn:
            for rule in self.all(kind):
                gone = self.matched(rule, rows)
                if gone:
                    left = tuple(one for place, one in enumerate(rule.tokens) if place not in gone)
                    state = rule.state if left else State.LIFTED
                    self.keep(replace(rule, tokens=left, persons=len(left), state=state))
                    count += len(gone)
        return count

    def _named(self, screen: Screen, rows: pl.DataFrame) -> pl.DataFrame:
        """As `_matches`, by any name of a row: who withdrew may come under another, with theirs beside it."""
        named = each_name(rows.with_row_index("row"))
        found = self._matches(screen, named)
        places = found.with_columns(row=named["row"].gather(found["row"]))
        return places.unique().sort("row", "person")

    def _matches(self, screen: Screen, rows: pl.DataFrame) -> pl.DataFrame:
        return screen.matches(rows, self._forms)

    def _renew(self) -> None:
        self.version += 1
        for kind in _LISTED:
            people = [one for rule in self.all(kind) for one in rule.tokens]
            self._screens[kind] = Screen(people, self._key.digests)

    def _opened(self, name: str, content: dict[str, Any]) -> Rule:
        try:
            octets, body = bytes.fromhex(content[_SEALED]), 1 + NONCE_BYTES
            read = self._cipher.decrypt(octets[1:body], octets[body:], _place(name))
            rule = Rule.read(json.loads(read))
            if octets[:1] != SCHEME or content["format"] != _FORMAT or rule.name != name:
                raise ValueError
            return rule
        except (InvalidTag, KeyError, ValueError, TypeError):
            raise SealBrokenError(
                "A rule about a person was altered, exchanged, or sealed under another key.",
                "Put the folder of opt-outs and the keyset of one time back; nothing was opened.",
            ) from None


def _place(name: str) -> bytes:
    return enc("suppression-paper/1", name)


def fresh_name() -> str:
    """A name for a rule: it says nothing."""
    return f"oo-{os.urandom(8).hex()}"
