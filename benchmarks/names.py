"""Names of made-up people, with the skew of real ones: few are very common, tens of thousands are rare.

Forenames depend on sex, year of birth and naming community, surnames on the community. A name is a code into
a vocabulary until it is written.
"""

from __future__ import annotations

import tomllib
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.draw import Draws, Ints

COMMUNITIES = ("british", "eastern_european", "south_asian_muslim", "south_asian_other", "black_african")
SEXES = ("F", "M")
FIRST_YEAR, LAST_YEAR = 1900, 2029
RARE_FORENAMES = 0.04  # of all people have a forename from beyond the list of their time
# The share of the n-th surname is proportional to (n + 6)^−0.9, as the commonest British ones have it (Smith:
# one in a hundred). Forenames fall off more steeply in the lists' few places.
SURNAME_LAW, FORENAME_LAW = (6.0, 0.9), (4.0, 1.0)
SURNAMES = 45_000
_FINE, _COARSE = 1 << 20, 1 << 14  # entries of a table to draw from: the least share there is


class Names:
    """The vocabularies, and tables from which a uniform draw takes a name with the right probability.

    Attributes:
        forenames: every forename, other names in use included.
        surnames: every surname.
    """

    def __init__(self) -> None:
        """Read the lists and put the rare names together."""
        lists = read_lists()
        surnames, forenames = _Vocabulary(), _Vocabulary()
        british = [*_words(lists["surnames"]["british"])]
        british += [name for name in _rare_surnames(lists["rare"]) if name not in set(british)]
        british = british[:SURNAMES]
        self._surnames = [
            _table(surnames.codes(names), SURNAME_LAW, _FINE)
            for names in (british, *(_words(lists["surnames"][one]) for one in COMMUNITIES[1:]))
        ]
        self._eras = np.zeros((len(COMMUNITIES), LAST_YEAR - FIRST_YEAR + 1), np.int64)
        tables: list[NDArray[np.int32]] = []
        for place, community in enumerate(COMMUNITIES):
            starts = sorted(int(year) for year in lists["forenames"][community]["F"])
            years = np.arange(FIRST_YEAR, LAST_YEAR + 1)
            self._eras[place] = len(tables) + 2 * (np.searchsorted(starts, years, side="right") - 1)
            for start, sex in product(starts, SEXES):
                names = _words(lists["forenames"][community][sex][str(start)])
                tables.append(_table(forenames.codes(names), FORENAME_LAW, _COARSE))
        self._forenames = np.stack(tables)
        self._rare = [
            forenames.codes(
                a + b
                for a, b in product(
                    _words(lists["rare"]["forename_starts"]), _words(lists["rare"][f"forename_ends_{sex}"])
                )
            )
            for sex in SEXES
        ]
        self._others = _others(forenames, lists["nicknames"]["pairs"])
        self.forenames = pl.Series("forename", forenames.names)
        self.surnames = pl.Series("surname", surnames.names)

    def forename(self, draws: Draws, of: Ints, community: Ints, sex: Ints, year: Ints) -> Ints:
        """Codes of forenames."""
        table = self._eras[community, year - FIRST_YEAR] + sex
        codes: Ints = self._forenames[table, draws.below("forename", of, _COARSE)].astype(np.int64)
        rare = np.flatnonzero(draws.chance("rare forename", of, RARE_FORENAMES))
        for place in range(len(SEXES)):
            chosen = rare[sex[rare] == place]
            # The smaller of two draws: the first of the rare names are less rare than the last.
            first, second = (
                draws.below(f"which rare forename {turn}", of[chosen], len(self._rare[place]))
                for turn in (1, 2)
            )
            codes[chosen] = self._rare[place][np.minimum(first, second)]
        return codes

    def surname(self, draws: Draws, what: str, of: Ints, community: Ints) -> Ints:
        """Codes of surnames."""
        places = draws.below(what, of, _FINE)
        codes = np.empty(len(of), np.int64)
        for place, table in enumerate(self._surnames):
            chosen = community == place
            codes[chosen] = table[places[chosen]]
        return codes

    def nickname(self, draws: Draws, of: Ints, forename: Ints) -> Ints:
        """Another name in use for each forename; the same where none is known."""
        other: Ints = self._others[forename, draws.below("which nickname", of, self._others.shape[1])]
        return other


@cache
def names() -> Names:
    """The names, read and put together once."""
    return Names()


class _Vocabulary:
    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def codes(self, names: Any) -> Ints:
        return np.array([self._places.setdefault(name, len(self._places)) for name in names], np.int64)

    @property
    def names(self) -> list[str]:
        return list(self._places)


@cache
def read_lists() -> dict[str, Any]:
    """What `names.toml` holds."""
    return tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))


def _words(text: str) -> list[str]:
    return text.split()


def _table(codes: Ints, law: tuple[float, float], entries: int) -> NDArray[np.int32]:
    """`entries` codes, each as often as its place in the order asks for."""
    offset, power = law
    weights = (np.arange(1, len(codes) + 1) + offset) ** -power
    bounds = np.round(np.cumsum(weights) / weights.sum() * entries).astype(np.int64)
    return np.repeat(codes, np.diff(bounds, prepend=0)).astype(np.int32)


def _rare_surnames(rare: dict[str, str]) -> list[str]:
    """Stem and end, in an order that has nothing to do with the alphabet."""
    stems, ends = _words(rare["surname_stems"]), _words(rare["surname_ends"])
    gaelic, parents = _words(rare["surname_gaelic"]), _words(rare["surname_parents"])
    made = [a + b for a, b in product(stems, ends) if a != b]
    made += [a + b for a, b in product(parents, gaelic)]
    made += [a + b + c for a, b, c in product(stems[::7], ("", "ING", "ER", "LE"), ends)]
    made += [a + b + c for a, b, c in product(stems, ends[::5], ("S", "SON", "MAN"))]
    made = list(dict.fromkeys(made))
    order = np.random.default_rng(11).permutation(len(made))
    return [made[place] for place in order]


def _others(forenames: _Vocabulary, pairs: str) -> Ints:
    """Nicknames by forename, [forenames, 2]: two different ones where two are known."""
    known: dict[str, list[str]] = {}
    for pair in pairs.split():
        name, other = pair.split(":")
        known.setdefault(name, []).append(other)
    codes, others = forenames.codes(known), [forenames.codes(names) for names in known.values()]
    table = np.repeat(np.arange(len(forenames.names))[:, None], 2, axis=1)
    table[codes] = [other[[0, -1]] for other in others]
    return table
