"""Addresses of made-up people: a dwelling's number says its house, street, town and postcode.

Sixteen dwellings share a postcode, at most six hundred postcodes a district. A postcode has the form of real
ones, in districts that mostly exist; the streets of a town are not its own.
"""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import polars as pl

from benchmarks.draw import Draws, Ints
from benchmarks.names import read_lists

PER_POSTCODE = 16  # dwellings
PER_DISTRICT = 600  # postcodes, at most
FEWEST_DISTRICTS = 16
DISTRICTS_PER_AREA = 28
FLATS, NAMED = 0.17, 0.08  # of postcodes: a block of flats; houses with names
PSEUDO_POSTCODE = "ZZ99 3VZ"  # no fixed abode
_INWARD = "ABDEFGHJLNPQRSTUWXYZ"
_NUMBERS = 300  # the highest house number


class Places:
    """The dwellings of one population.

    Attributes:
        houses, streets, towns, postcodes: the vocabularies that the codes point into. The last postcode is
            the pseudo-postcode.
        district_of: the district of each postcode.
    """

    def __init__(self, dwellings: int, draws: Draws) -> None:
        """Lay out at least this many dwellings."""
        lists = read_lists()["places"]
        self.count = -(-dwellings // PER_POSTCODE) * PER_POSTCODE
        number = np.arange(self.count // PER_POSTCODE, dtype=np.int64)
        per_district = min(PER_DISTRICT, max(1, -(-len(number) // FEWEST_DISTRICTS)))
        self.district_of = number // per_district
        named = [a + " " + b for a, b in product(lists["house_names"].split(), lists["house_kinds"].split())]
        numbers = [str(n) for n in range(1, _NUMBERS + 1)]
        flats = [
            f"FLAT {flat}, {building}"
            for building in range(1, _NUMBERS + 1)
            for flat in range(1, PER_POSTCODE + 1)
        ]
        self.houses = pl.Series("house", numbers + flats + named)
        kinds = [a.replace("_", " ") for a in lists["streets"].split()]
        self.streets = pl.Series(
            "street", [f"{a} {b}" for b, a in product(lists["street_kinds"].split(), kinds)]
        )
        self._streets = _skewed(draws, "street", number, len(self.streets))
        style = draws.share("style", number)
        self._flats, self._named = style < FLATS, style > 1 - NAMED
        self._building = draws.below("building", number, _NUMBERS - 2 * PER_POSTCODE)
        self._names = partial(draws.below, "house name", limit=len(named))
        self._towns, self.towns = self._name_towns(draws)
        self.postcodes = self._name_postcodes(draws, per_district)

    def house(self, dwelling: Ints) -> Ints:
        """Codes of house numbers, flats or names."""
        postcode, slot = dwelling // PER_POSTCODE, dwelling % PER_POSTCODE
        building = self._building[postcode]
        flat = _NUMBERS + building * PER_POSTCODE + slot
        named = _NUMBERS * (PER_POSTCODE + 1) + self._names(of=dwelling)
        code = np.where(self._flats[postcode], flat, building + 2 * slot)
        return np.where(self._named[postcode], named, code)

    def street(self, dwelling: Ints) -> Ints:
        """Codes of streets."""
        return self._streets[dwelling // PER_POSTCODE]

    def town(self, dwelling: Ints) -> Ints:
        """Codes of towns."""
        return self._towns[self.district_of[dwelling // PER_POSTCODE]]

    def postcode(self, dwelling: Ints) -> Ints:
        """Codes of postcodes."""
        return dwelling // PER_POSTCODE

    def _name_towns(self, draws: Draws) -> tuple[Ints, pl.Series]:
        """Two districts in five belong to the area's city, the others have a town of their own."""
        lists = read_lists()
        stems, ends = lists["rare"]["surname_stems"].split(), lists["rare"]["surname_ends"].split()[:36]
        cities = [pair.split(":")[1].replace("_", " ") for pair in lists["places"]["areas"].split()]
        small = sorted({a + b for a, b in product(stems, ends)} - set(cities))
        district = np.arange(int(self.district_of[-1]) + 1)
        own = len(cities) + draws.below("town", district, len(small))
        area = district // DISTRICTS_PER_AREA % len(cities)
        towns = np.where(draws.chance("city", district, 0.4), area, own)
        return towns, pl.Series("town", cities + small)

    def _name_postcodes(self, draws: Draws, per_district: int) -> pl.Series:
        areas = [pair.split(":")[0] for pair in read_lists()["places"]["areas"].split()]
        district = pl.int_range(int(self.district_of[-1]) + 1, dtype=pl.Int64, eager=True)
        outward = (
            pl.Series(areas).gather(district // DISTRICTS_PER_AREA % len(areas))
            + (district % DISTRICTS_PER_AREA + 1 + district // (DISTRICTS_PER_AREA * len(areas)) * 40).cast(
                pl.String
            )
        ).gather(self.district_of)
        # Which of the 4,000 inward codes a district uses, and where, differs from one to the next.
        within = np.arange(len(self.district_of)) % per_district
        shift = draws.below("inward", self.district_of, 4000)
        code = (within * 1601 + shift) % 4000
        units = pl.Series([f"{digit}{a}{b}" for digit, a, b in product(range(10), _INWARD, _INWARD)])
        made = outward + " " + units.gather(code)
        return pl.concat([made, pl.Series([PSEUDO_POSTCODE])]).rename("postcode")


def _skewed(draws: Draws, what: str, of: Ints, limit: int) -> Ints:
    """Numbers below the limit, the low ones more often: three in ten are of the first thirtieth."""
    return np.where(
        draws.chance(f"{what} common", of, 0.3),
        draws.below(f"{what} which", of, max(1, limit // 30)),
        draws.below(f"{what} any", of, limit),
    )
