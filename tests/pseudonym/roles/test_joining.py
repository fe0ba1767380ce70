"""What a join counts of its rows, however many parts they are stored in."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from linker.evidence import BITS
from pseudonym.records import NUMBERS, SCHEMA
from pseudonym.roles import joining
from pseudonym.roles.joining import Errand, Joining
from pseudonym.roles.senders import bound
from pseudonym.storage import open_store
from pseudonym.subjects import State as Allowed
from pseudonym.units import UnitKey
from tests.pseudonym.optouts.test_deciding import Scene
from tests.pseudonym.storage.made_up import MANDATE


class Told:
    """A broker that takes everything."""

    def rows(self, *given: Any) -> None: ...
    def settle(self) -> int:
        return 0

    def soon(self) -> None: ...


def rows(*surnames):
    count = len(surnames)
    texts = dict.fromkeys(
        ("sex", "address", "postcode", *NUMBERS), pl.Series([None] * count, dtype=pl.String)
    )
    refs = [f"{place:032x}" for place in range(1, 1 + count)]
    return pl.DataFrame(
        {"row_ref": refs, "family": pl.Series([None] * count, dtype=pl.String), "protected": [False] * count}
    ).with_columns(
        given=pl.lit("Ada"),
        surname=pl.Series(surnames),
        born=pl.lit("1990-01-01"),
        aliases=pl.lit(None, SCHEMA["aliases"]),
        **texts,
    )


def link(mine, known):
    """Rows of one surname are one person's, the first with each other, and with whoever is known by it."""
    everybody = pl.concat(
        [mine.select("surname", name="row_ref"), known.select("surname", name="record")]
    ).with_row_index("place")
    pairs = everybody.join(everybody, on="surname").filter(pl.col("place") < pl.col("place_right"))
    return pairs.select(left="name", right="name_right", weight=pl.lit(20.0), decided=pl.lit(False))


@pytest.mark.parametrize("at_once", [1, 2, 10_000])
def test_r13_rows_that_came_together_are_counted_apart_from_those_that_joined_who_was_known(
    tmp_path, monkeypatch, at_once
):
    monkeypatch.setattr(joining, "AT_ONCE", at_once)
    with open_store(f"sqlite:///{tmp_path}/identity.sqlite", "identity") as store:
        scene: Any = Scene(store)
        told: Any = Told()
        join = Joining(scene.people, UnitKey(bytes(32)), told, scene.optouts, lambda *given: None)

        def joined(project, *surnames):
            errand = Errand(project, MANDATE.purpose, "linker", "council", "council/alice", "job-1")
            return join.join(errand, rows(*surnames), link, lambda *given: None)

        first = joined("one", "Marlowe", "Marlowe", "Marlowe", "Tennant")
        assert first == {"new": 2, "joined": 0, "together": 2, "refused_links": 0}
        again = joined("two", "Marlowe", "Okonkwo", "Okonkwo", "Tennant", "Tennant")
        assert again == {"new": 1, "joined": 3, "together": 1, "refused_links": 0}
        assert joined("two", "Marlowe", "Okonkwo", "Okonkwo", "Tennant", "Tennant")["new"] == 0


def test_what_people_decided_of_somebody_whose_data_may_not_be_used_waits_until_they_may(tmp_path):
    with open_store(f"sqlite:///{tmp_path}/identity.sqlite", "identity") as store:
        scene: Any = Scene(store)
        told: Any = Told()
        key = UnitKey(bytes(32))
        join = Joining(scene.people, key, told, scene.optouts, lambda *given: None)
        errand = Errand("one", MANDATE.purpose, "linker", "council", "council/alice", "job-1")
        given = rows("Marlowe", "Tennant")

        def decided(mine, known):
            left, right = mine["row_ref"]
            same = {"left": [left], "right": [right], "weight": [BITS], "decided": [True]}
            return pl.DataFrame(same)

        def joined(linked):
            join.join(errand, given, linked, lambda *given: None)
            refs = bound("council/alice", given["row_ref"].str.decode("hex").to_list())
            units = pl.Series(key.records("one", refs), dtype=pl.Binary)
            return scene.people.members(units)["pid"].to_list()

        one, other = joined(link)
        assert one != other
        with store.transaction() as at:
            scene.vault.tools.limits.hold(at, [one], Allowed.RESTRICTED, ())
        assert joined(decided) == [one, other]
        with store.transaction() as at:
            scene.vault.tools.limits.hold(at, [one], Allowed.ACTIVE, ())
        assert len(set(joined(decided))) == 1
