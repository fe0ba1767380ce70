"""Tokens: a keyed function of each form of a person's identifiers, to know them again and not to read.

The rules this module keeps:

- A token is HMAC-SHA256 under the identity role's suppression key of a label, the field's name and the
  value, each with its length before it, cut to 16 bytes. No value is hashed without the key, nor under
  another key's label.
- Who has the key and the tokens can try out identifiers. So tokens are not stored as they are: see `book`.
- How many forms a person has is not told: tokens are padded to a full hundred and stand in no order.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import polars as pl

from pseudonym.errors import SealBrokenError
from pseudonym.urn import enc

Digests = Callable[[list[bytes]], list[bytes]]
"""HMAC-SHA256 of messages under the suppression key (`PrfKey.digests`)."""
Tokens = Mapping[str, frozenset[bytes]]
"""By form, the tokens of one person: of every name, address and number that was ever known of them."""

BYTES: Final = 16
NUMBERS: Final = ("nhs", "nino", "upn", "uln", "pncid")
FIELDS: Final[Mapping[str, str]] = {
    # The names of a person are of one field, so that names in the wrong places are found.
    **dict.fromkeys(("first", "others", "initial", "parts"), "name"),
    **dict.fromkeys(("born", "swapped"), "born"),
    **{
        name: name
        for name in (
            *("nickname", "sound", "start", "family", "family_sound", "family_start"),
            *("year_month", "year_day", "month_day", "sex", "postcode", "outcode"),
            *NUMBERS,
        )
    },
    # The end of a number: whoever shares it is looked at, so that not every number has to be made a token.
    **{f"{name}_end": f"{name}_end" for name in NUMBERS},
}
"""The forms, and the field that each is made a token of."""
_FORMS: Final = tuple(FIELDS)
_LABEL: Final = "suppression/1"
_END: Final = 3  # characters
_UNIT: Final = 1 + BYTES
_FULL: Final = 100


def with_ends(forms: pl.DataFrame) -> pl.DataFrame:
    """The forms (`linker.forms`) with the ends of numbers beside them."""
    return forms.with_columns(pl.col(name).str.slice(-_END).alias(f"{name}_end") for name in NUMBERS)


def tokens(digests: Digests, field: str, values: Sequence[str]) -> list[bytes]:
    """The tokens of a field's values, in their order."""
    # `enc` of the three parts: what they have in common is made once.
    start = (3).to_bytes(2, "big") + enc(_LABEL, field)[2:]
    octets = [value.encode() for value in values]
    return [one[:BYTES] for one in digests([start + len(one).to_bytes(4, "big") + one for one in octets])]


def tokens_of(digests: Digests, forms: pl.DataFrame) -> Tokens:
    """The tokens of one person, of the forms of all that is known of them, a row for each record."""
    whole = with_ends(forms)
    made: dict[str, frozenset[bytes]] = {}
    for form, field in FIELDS.items():
        column = whole[form].explode() if whole.schema[form] == pl.List else whole[form]
        values = column.drop_nulls().unique().sort().to_list()
        made[form] = frozenset(tokens(digests, field, values))
    return made


def packed(found: Tokens) -> bytes:
    """Tokens as bytes, in no order: of each the number of its form and the token; random ones fill up."""
    units = [bytes([_FORMS.index(form)]) + one for form, some in found.items() for one in some]
    units += [b"\xff" + os.urandom(BYTES) for _ in range(-len(units) % _FULL)]
    random.SystemRandom().shuffle(units)
    return b"".join(units)


def unpacked(octets: bytes) -> Tokens:
    """What `packed` made.

    Raises:
        SealBrokenError: it is nothing of the kind.
    """
    if len(octets) % _UNIT:
        raise SealBrokenError("Tokens of a rule are not of their length.") from None
    found: dict[str, set[bytes]] = {form: set() for form in _FORMS}
    for at in range(0, len(octets), _UNIT):
        if octets[at] < len(_FORMS):
            found[_FORMS[octets[at]]].add(octets[at + 1 : at + _UNIT])
    return {form: frozenset(some) for form, some in found.items()}
