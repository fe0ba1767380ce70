from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linker.arrival import arrive
from linker.premises import homes, same_homes

VECTORS = pl.read_csv(Path(__file__).parent / "data" / "premises.csv", infer_schema=False).rows(named=True)


def one(address, postcode=None, uprn=None):
    return pl.DataFrame(
        {"address": [address], "postcode": [postcode], "uprn": [uprn]},
        schema=dict.fromkeys(("address", "postcode", "uprn"), pl.String),
    )


def side(rows, name):
    return pl.concat(one(row[name], row[f"{name}_postcode"], row[f"{name}_uprn"]) for row in rows)


@pytest.fixture(scope="module")
def found():
    """The pairs of all vectors at once, and with the sides exchanged."""
    left, right = side(VECTORS, "one"), side(VECTORS, "other")
    return set(same_homes(left, right).rows()), set(same_homes(right, left).rows())


@pytest.mark.parametrize("place", range(len(VECTORS)), ids=lambda place: VECTORS[place]["why"])
def test_r18_addresses_are_the_same_home_or_not(place, found):
    for pairs in found:  # whoever asks
        assert ((place, place) in pairs) == (VECTORS[place]["same"] == "yes")


def test_r18_one_address_alone_is_compared_as_among_many(found):
    row = 16
    alone = same_homes(side(VECTORS[row : row + 1], "one"), side(VECTORS, "other"))
    assert {right for _, right in alone.rows()} == {right for left, right in found[0] if left == row}
    assert alone.height > 1


def test_r18_an_address_in_several_columns_is_put_together():
    frame = pl.DataFrame(
        {
            "incident": ["1", "2"],
            "Address Line 1": ["Flat 2", "The Barn"],
            "Address Line 2": ["14 High Street", "Mill Lane"],
            "Town": ["Ely", "Ely"],
            "Postcode": ["CB7 4AB", "CB7 4AD"],
        }
    )
    found = homes(arrive(frame))
    asked = pl.concat([one("14 High St, Flat 2", "CB7 4AB"), one("Barn, Mill Ln", "CB7 4AD")])
    assert same_homes(asked, found).rows() == [(0, 0), (1, 1)]


numbers = st.integers(1, 40)
streets = st.sampled_from(["High Street", "Mill Road", "Station Avenue", "Chapel Close"])


@settings(max_examples=25, deadline=None)
@given(numbers, numbers, numbers, numbers, streets)
def test_r18_two_flats_are_one_home_only_where_both_numbers_agree(unit, house, unit2, house2, street):
    """Labelled flats, in either order of lines: the pair of numbers alone decides."""
    left = one(f"Flat {unit}, {house} {street}", "CB7 4AB")
    right = one(f"{house2} {street.upper()}, FLAT {unit2}", "CB74AB")
    assert (same_homes(left, right).height == 1) == ((unit, house) == (unit2, house2))
