"""Numbers of one domain: issued so that no two people share one, found again, and traced back.

The rules this module keeps:

- The same person or family gets the same number in a domain, however often it is asked for.
- Should two get one number by chance, the later one gets the next counter's, for good.
- A number that was erased is never given to anybody else.
- What the tables say is not believed: a number is made again from what lies behind its cover, and compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from pseudonym.cover import cover, uncover
from pseudonym.errors import SealBrokenError, StoreError, UrnError
from pseudonym.symbols import ALPHABET, LENGTH
from pseudonym.urn import LAST_COUNTER, Kind, UrnKey, read

if TYPE_CHECKING:
    from pseudonym.storage.rows import At
    from pseudonym.storage.rows_broker import BrokerRows

_T = TypeVar("_T")

_FORM = re.compile(f"[PF][{ALPHABET[1:]}][{ALPHABET}]{{{LENGTH - 2}}}")
_LETTERS = dict(zip("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", strict=True))
_READ_AS = {**_LETTERS, "o": "0", "i": "1", "l": "1", "O": "0", "I": "1", "L": "1"}
_READ_AS |= dict.fromkeys("- \t\r\n", "")


def issue(rows: BrokerRows, at: At, domain: int, key: UrnKey, kind: Kind, aids: Sequence[bytes]) -> list[str]:
    """The numbers of persons or families in a domain, new ones where they have none.

    Args:
        rows: the broker's tables.
        at: a transaction.
        domain: the domain's number in the tables.
        key: its key.
        kind: what the aids are of.
        aids: 16 bytes each, all different.

    Raises:
        StoreError: all counters of somebody's numbers are taken, which cannot happen by chance.
    """
    words, covers = [""] * len(aids), cover(key, aids)
    places = list(range(len(aids)))
    for counter in range(LAST_COUNTER + 1):
        made = key.issue_all(kind, [aids[place] for place in places], counter)
        own = [covers[place] for place in places]
        if rows.add_urns(at, domain, made, own, counter) == len(places):
            taken = made, places
            places = []
        else:
            holders = rows.urns(at, domain, made)
            mine = [holders[word][0] == mark for word, mark in zip(made, own, strict=True)]
            taken = _where(made, mine), _where(places, mine)
            places = _where(places, [not one for one in mine])
        for word, place in zip(*taken, strict=True):
            words[place] = word
        if not places:
            return words
    raise StoreError("All counters of a number are taken.", "The key or the table is not what it should be.")


def issued(
    rows: BrokerRows, at: At, domain: int, key: UrnKey, kind: Kind, aids: Sequence[bytes]
) -> list[str | None]:
    """The numbers that persons or families have in a domain, None for those who have none."""
    words: list[str | None] = [None] * len(aids)
    covers, places = cover(key, aids), list(range(len(aids)))
    for counter in range(LAST_COUNTER + 1):
        made = key.issue_all(kind, [aids[place] for place in places], counter)
        holders = rows.urns(at, domain, made)
        left = []
        for word, place in zip(made, places, strict=True):
            if word in holders and holders[word][0] == covers[place]:
                words[place] = word
            elif word in holders:  # somebody else's: the number may have been issued with the next counter
                left.append(place)
        places = left
        if not places:
            break
    return words


def traced(rows: BrokerRows, at: At, domain: int, key: UrnKey, words: Sequence[str]) -> dict[str, bytes]:
    """The aids behind numbers of a domain; those that were never issued, or are erased, are left out.

    Raises:
        SealBrokenError: a number's row was exchanged or altered.
    """
    found = [
        (word, mark, counter)
        for word, (mark, counter) in rows.urns(at, domain, words).items()
        if mark is not None
    ]
    return opened(key, found)


def opened(key: UrnKey, found: Sequence[tuple[str, bytes, int]]) -> dict[str, bytes]:
    """The aids behind rows of number, cover and counter, each held against its number.

    Raises:
        SealBrokenError: a row was exchanged or altered.
    """
    aids = uncover(key, [mark for _, mark, _ in found])
    groups: dict[tuple[str, int], list[int]] = {}
    for place, (word, _, counter) in enumerate(found):
        groups.setdefault((word[0], counter), []).append(place)
    for (tag, counter), places in groups.items():
        kind = Kind.PERSON if tag == Kind.PERSON.tag else Kind.FAMILY
        again = key.issue_all(kind, [aids[place] for place in places], counter)
        if again != [found[place][0] for place in places]:
            raise SealBrokenError(
                "A reference number's row was altered, or exchanged for another's.",
                "Nothing was traced; restore the store, and find out who can write to it.",
            )
    return {word: aid for (word, _, _), aid in zip(found, aids, strict=True)}


def tidied(written: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Numbers as people write them, in the form that is stored, and the epoch (null: of no such form).

    Whether the check symbols fit is not looked at: a number is known when it is in the table.
    """
    text = written.str.replace_many(_READ_AS)
    epochs = {symbol: value for value, symbol in enumerate(ALPHABET) if value}
    frame = pl.DataFrame({"word": text}).select(
        "word",
        epoch=pl.when(pl.col("word").str.contains(f"^{_FORM.pattern}$")).then(
            pl.col("word").str.slice(1, 1).replace_strict(epochs, default=None, return_dtype=pl.Int64)
        ),
    )
    return frame["word"], frame["epoch"]


def why_unknown(written: str | None) -> str:
    """The reason code for a number that is not in the table: a slip of the hand, or `NOT_FOUND`."""
    try:
        read(written or "")
    except UrnError as error:
        return error.reason
    return "NOT_FOUND"


def _where(values: Sequence[_T], keep: Sequence[bool]) -> list[_T]:
    return [value for value, one in zip(values, keep, strict=True) if one]
