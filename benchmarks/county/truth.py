"""The truth beside the files: who there is, which record is whose and what went wrong with it.

A person is a number here. Two records are of one person if they have the same number *and* the same identity:
what a protected change of identity parted (identity 1), nothing may join.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from benchmarks.county.block import Lives
from benchmarks.county.councils import COUNCILS, RELATIONS, Delivery, council_of, members
from benchmarks.county.county import NEVER, NOW, SINCE
from benchmarks.county.homes import home
from benchmarks.county.persons import CHANGES
from benchmarks.county.problems import INDICATORS
from benchmarks.county.records import Written
from benchmarks.county.registers import Extract
from benchmarks.dates import date_of
from benchmarks.draw import Ints
from benchmarks.names import COMMUNITIES, SEXES

MOVED_WITHIN = 1096  # days before the registers' extracts


def people(lives: Lives) -> pl.DataFrame:
    """One row a person: household, sex, birth, death, heritage of the name, parents, twins, new identity."""
    persons, homes = lives.persons, lives.homes
    everybody, today = np.arange(len(persons)), np.full(len(persons), NOW)
    lately, before = (
        home(lives.county, homes, persons, everybody, on, "council") for on in (today, today - MOVED_WITHIN)
    )
    return pl.DataFrame(
        {
            "person": persons.number,
            "household": homes.number[persons.row],
            "assessed": homes.assessed[persons.row],
            "kin": homes.kin[persons.row],
            "sex": pl.Series(list(SEXES)).gather(persons.sex),
            "born": persons.born.astype("datetime64[D]"),
            "died": _dates(persons.died),
            "community": pl.Series(list(COMMUNITIES)).gather(homes.community[persons.row]),
            "moved": pl.Series(["no", "yes"]).gather((lately != before).astype(np.int64)),
            "forename": lives.named.forename,
            "parent_1": _number(persons.parent_1),
            "parent_2": _number(persons.parent_2),
            "twin_of": _number(persons.twin_of),
            "change": pl.Series(list(CHANGES)).gather(persons.change).replace("", None),
            "changed_on": _dates(persons.changed),
            "renumbered_on": _dates(lives.renumbered),
        }
    )


def families(lives: Lives) -> pl.DataFrame:
    """One row an assessed family: screening, problems, eligibility, arm, support, councils."""
    chosen, wants = lives.homes.assessed, lives.needs
    arm = np.where(wants.eligible, np.where(wants.intervention, 0, 1), 2)
    return pl.DataFrame(
        {
            "household": lives.homes.number,
            "screened": wants.screened.astype("datetime64[D]"),
            "problems": wants.problems.sum(axis=0),
            "eligible": wants.eligible,
            "arm": pl.Series(["intervention", "comparison", None]).gather(arm),
            "support_from": _dates(wants.support_from),
            "support_to": _dates(wants.support_to),
            "council_first": pl.Series(list(COUNCILS)).gather(council_of(lives, 0)),
            "council_second": pl.Series(list(COUNCILS)).gather(council_of(lives, 1)),
        }
    ).filter(pl.Series(chosen))


def membership(lives: Lives) -> pl.DataFrame:
    """Who belongs to which assessed family, as what, from when to when."""
    known = members(lives)
    return pl.DataFrame(
        {
            "person": lives.persons.number[known.rows],
            "household": lives.homes.number[known.family],
            "relation": pl.Series(list(RELATIONS)).gather(known.relation),
            "since": known.since.astype("datetime64[D]"),
            "until": _dates(known.until),
        }
    ).filter(pl.Series(known.until > known.since))


def problems(lives: Lives) -> pl.DataFrame:
    """The indicators of the members of assessed families: whose, of which problem, from when to when."""
    place, rows = np.nonzero((lives.needs.begins < NEVER) & lives.homes.assessed[lives.persons.row])
    return pl.DataFrame(
        {
            "household": lives.homes.number[lives.persons.row[rows]],
            "person": lives.persons.number[rows],
            "problem": pl.Series([one.problem for one in INDICATORS]).gather(place),
            "indicator": pl.Series([one.name for one in INDICATORS]).gather(place),
            "since": lives.needs.begins[place, rows].astype("datetime64[D]"),
            "until": _dates(lives.needs.ends[place, rows]),
        }
    )


def addresses(lives: Lives) -> pl.DataFrame:
    """Where people of assessed families lived: each 1 January on which it was not as the year before."""
    rows = np.flatnonzero(lives.homes.assessed[lives.persons.row])
    before, found = np.full(len(rows), -1), []
    first, last = (
        int(np.datetime64(int(day), "D").astype("datetime64[Y]").astype(int)) + 1970 for day in (SINCE, NOW)
    )
    for year in range(first, last + 1):
        on = date_of(*(np.full(len(rows), value) for value in (year, 1, 1)))
        here = home(lives.county, lives.homes, lives.persons, rows, on, "council")
        moved = np.flatnonzero(
            (here != before) & (lives.persons.born[rows] <= on) & (lives.persons.died[rows] > on)
        )
        before = here
        found.append(
            pl.DataFrame(
                {
                    "person": lives.persons.number[rows[moved]],
                    "on": on[moved].astype("datetime64[D]"),
                    "home": here[moved],
                }
            )
        )
    made = pl.concat(found).sort("person", "on")
    places = lives.county.places
    return made.with_columns(
        places.postcodes.gather(places.postcode(made["home"].to_numpy())).alias("postcode")
    )


def of_extract(lives: Lives, register: str, extract: Extract) -> pl.DataFrame:
    """The truth about a register's records."""
    ids = extract.frame["record_id"]
    none = np.full(len(ids), -1)
    return _records(lives, register, ids, extract.rows, extract.number % 2, extract.on, none, extract.written)


def of_delivery(lives: Lives, file: str, delivery: Delivery) -> pl.DataFrame:
    """The truth about a council's records."""
    identity = (delivery.on >= lives.persons.changed[delivery.rows]).astype(np.int64)
    family = lives.homes.number[delivery.family]
    return _records(
        lives, file, delivery.record_id, delivery.rows, identity, delivery.on, family, delivery.written
    )


def _records(
    lives: Lives,
    file: str,
    ids: pl.Series,
    rows: Ints,
    identity: Ints,
    on: Ints,
    family: Ints,
    written: Written,
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "file": pl.Series([file]).new_from_index(0, len(ids)),
            "record_id": ids,
            "person": lives.persons.number[rows],
            "identity": identity.astype(np.int8),
            "as_of": on.astype("datetime64[D]"),
            "family": _number(family),
            "home": written.home,
            "surname": written.surname,
            "forename": written.forename,
            "slips": written.slips,
        }
    )


def _dates(days: Ints) -> pl.Series:
    return pl.Series(days.astype("datetime64[D]")).set(pl.Series(days >= NEVER), None)


def _number(number: Ints) -> pl.Series:
    return pl.Series(number).set(pl.Series(number < 0), None)
