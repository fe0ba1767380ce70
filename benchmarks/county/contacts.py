"""What the registers hear of people: offences, school years, courses, benefits, hospital stays, treatment.

A contact is likelier while a person has the problem that leads to it, so what support ends shows in the
registers. Who has no contact is not in the register.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from benchmarks.county.county import NOW, SINCE, County
from benchmarks.county.persons import Households, Persons, Reals
from benchmarks.county.problems import Needs
from benchmarks.dates import YEAR, day
from benchmarks.draw import Ints

SCHOOL_YEARS = range(2012, 2025)  # that begin in September
SESSIONS = 380  # half days of a school year
STATE_SCHOOL = 0.93
CUSTODY = 0.12  # of adults' offences
#: Of people elsewhere in the country, how many of the right age a register of few has heard of, at least: one
#: of the whole country holds a million where the county has a thousand.
ELSEWHERE = {"pnc": 0.4, "prisons": 0.5, "ilr": 0.4, "mhmds": 0.5, "ndtms": 0.5}


@dataclass(frozen=True)
class Contacts:
    """What one register holds about the people of a block, a row a contact.

    Attributes:
        rows: of `Persons`. on: day of the contact, from which the register's record can date.
        columns: what the register says, in its own words, with its dates.
    """

    rows: Ints
    on: Ints
    columns: dict[str, pl.Series]


def contacts(
    county: County, homes: Households, persons: Persons, needs: Needs, least: Mapping[str, float]
) -> dict[str, Contacts]:
    """All eight registers' contacts with the people of a block.

    Args:
        county: where they live.
        homes: the households of the block.
        persons: its people.
        needs: what they need.
        least: by register, the chance of a first contact where it would be smaller.
    """
    mood = np.exp(0.5 * needs.severity)[persons.row]
    chances = _Chances(county, persons, needs)
    offences = chances.happen(
        "offence", 4, np.where(persons.sex == 1, 0.06, 0.018) * mood, 10, boost=("offending", 14.0),
        least=least.get("pnc", 0.0),
    )  # fmt: skip
    return {
        "pnc": _police(county, persons, *offences),
        "prisons": _prisons(county, persons, *_with_prisoners(chances, persons, offences, least)),
        "npd": _schools(county, persons, needs),
        "ilr": _courses(county, persons, chances, least.get("ilr", 0.0)),
        "wpls": _work(county, persons, chances, mood),
        "hes": _hospital(county, persons, chances),
        "mhmds": _mental_health(county, persons, chances, mood, least.get("mhmds", 0.0)),
        "ndtms": _treatment(county, persons, chances, mood, least.get("ndtms", 0.0)),
    }


class _Chances:
    def __init__(self, county: County, persons: Persons, needs: Needs) -> None:
        self.county, self.persons, self.needs = county, persons, needs

    def happen(
        self, what: str, tries: int, p: Reals | float, since: float, until: float = 130.0,
        boost: tuple[str, float] | None = None, least: float = 0.0,
    ) -> tuple[Ints, Ints]:  # fmt: skip
        """Rows and days: some tries a person between two ages, likelier while a problem lasts.

        The first try's chance is no smaller than `least`.
        """
        persons, draws = self.persons, self.county.draws
        low = np.maximum(SINCE, persons.born + since * YEAR)
        high = np.minimum(np.minimum(NOW, persons.died), persons.born + until * YEAR)
        able = np.flatnonzero(low < high)
        number = persons.number[able]
        chance = np.broadcast_to(p, len(persons))[able]
        rows, days = [], []
        for turn in range(tries):
            on = (low[able] + draws.share(f"{what} on {turn}", number) * (high - low)[able]).astype(np.int64)
            likely = chance
            if boost:
                likely = chance * np.where(self.needs.active(boost[0], able, on), boost[1], 1.0)
            likely = np.maximum(np.minimum(likely, 0.9), 0.0 if turn else least)
            chosen = draws.chance(f"{what} {turn}", number, likely)
            rows.append(able[chosen])
            days.append(on[chosen])
        return np.concatenate(rows), np.concatenate(days)


def _police(county: County, persons: Persons, rows: Ints, on: Ints) -> Contacts:
    of = persons.number[rows] * 8 + on % 8
    groups = ("theft", "violence", "criminal_damage", "drugs", "public_order", "motoring", "burglary")
    ends = ("caution", "fine", "community_order", "discharged", "suspended_sentence")
    disposal = _one_of(county, "disposal", of, ends)
    custody = np.flatnonzero(_in_custody(county, persons, rows, on))
    disposal = disposal.scatter(custody, pl.Series(["custody"]).new_from_index(0, len(custody)))
    return Contacts(
        rows,
        on,
        {
            "offence_date": _days(on),
            "offence_group": _one_of(county, "offence group", of, groups),
            "disposal": disposal,
        },
    )


def _with_prisoners(
    chances: _Chances, persons: Persons, offences: tuple[Ints, Ints], least: Mapping[str, float]
) -> tuple[Ints, Ints]:
    """Offences that led to prison; elsewhere more people were there than the police's sample explains."""
    rows, on = offences
    custody = np.flatnonzero(_in_custody(chances.county, persons, rows, on))
    rows, on = rows[custody], on[custody]
    if "prisons" in least:
        more = chances.happen("sentenced elsewhere", 1, 0.0, 18, least=least["prisons"])
        rows, on = (np.concatenate(pair) for pair in zip((rows, on), more, strict=True))
    return rows, on


def _prisons(county: County, persons: Persons, rows: Ints, on: Ints) -> Contacts:
    chosen = np.flatnonzero(on + 60 <= np.minimum(NOW, persons.died[rows]))
    rows, on = rows[chosen], on[chosen] + 60
    held = 14 + county.draws.below("days held", persons.number[rows] * 8 + on % 8, 700)
    return Contacts(
        rows,
        on,
        {
            "reception_date": _days(on),
            "release_date": _until(on + held),
            "sentence_days": pl.Series(2 * held),
        },
    )


def _in_custody(
    county: County, persons: Persons, rows: Ints, on: Ints
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    adult = on >= persons.born[rows] + 18 * YEAR
    return adult & county.draws.chance("custody", persons.number[rows] * 8 + on % 8, CUSTODY)


def _schools(county: County, persons: Persons, needs: Needs) -> Contacts:
    """A row for each January of a pupil's years at school, from reception to year 11."""
    draws = county.draws
    state = draws.chance("state school", persons.number, STATE_SCHOOL)
    rows, on, years = [], [], []
    for year in SCHOOL_YEARS:
        begins, census = day(f"{year}-09-01"), day(f"{year + 1}-01-18")
        if census > NOW:
            continue
        age = (begins - persons.born) / YEAR
        pupils = np.flatnonzero(state & (age >= 4) & (age < 16) & (persons.died > census))
        rows.append(pupils)
        on.append(np.full(len(pupils), census))
        years.append(np.full(len(pupils), year))
    row, census_day, year_of_start = np.concatenate(rows), np.concatenate(on), np.concatenate(years)
    of = persons.number[row] * 64 + year_of_start - SCHOOL_YEARS.start
    absent = 0.03 + 0.06 * draws.share("absent", of) ** 2
    absent += 0.25 * draws.share("absent more", of) * needs.active("persistent_absence", row, census_day)
    excluded = needs.active("exclusion", row, census_day) & draws.chance("excluded", of, 0.6)
    stage = ((census_day - persons.born[row]) / YEAR).astype(np.int64)
    level = draws.below("attainment", of, 100) - 12 * needs.active("child_in_need", row, census_day)
    tested = (stage == 7) | (stage == 11) | (stage == 16)
    return Contacts(
        row,
        census_day,
        {
            "academic_year": pl.Series([f"{year}/{(year + 1) % 100}" for year in SCHOOL_YEARS]).gather(
                year_of_start - SCHOOL_YEARS.start
            ),
            "census_date": _days(census_day),
            "sessions_possible": pl.Series(np.full(len(row), SESSIONS)),
            "sessions_missed": pl.Series(np.round(absent * SESSIONS).astype(np.int64)),
            "fixed_exclusions": pl.Series(excluded.astype(np.int64)),
            "key_stage_score": pl.Series(80 + np.maximum(level, 0) * 40 // 100).set(pl.Series(~tested), None),
            "child_in_need": pl.Series(needs.active("child_in_need", row, census_day)),
            "protection_plan": pl.Series(needs.active("protection_plan", row, census_day)),
            "looked_after": pl.Series(persons.care[row] & (census_day >= persons.left[row])),
        },
    )  # fmt: skip


def _courses(county: County, persons: Persons, chances: _Chances, least: float) -> Contacts:
    young = chances.happen("young learner", 2, 0.5, 16, 19, ("neet", 0.3))
    grown = chances.happen("adult learner", 2, 0.08, 19, 55, least=least)
    rows, on = (np.concatenate(pair) for pair in zip(young, grown, strict=True))
    of = persons.number[rows] * 8 + on % 8
    length = 90 + county.draws.below("course", of, 600)
    return Contacts(
        rows,
        on,
        {
            "start_date": _days(on),
            "end_date": _until(on + length),
            "level": pl.Series(1 + county.draws.below("level", of, 4)),
            "outcome": _one_of(county, "outcome", of, ("achieved", "achieved", "achieved", "withdrawn")),
        },
    )


def _work(county: County, persons: Persons, chances: _Chances, mood: Reals) -> Contacts:
    spells = chances.happen("benefit", 3, 0.1 * mood, 18, 67, ("out_of_work", 5.0))
    jobs = chances.happen("job", 3, 0.62, 16, 67, ("out_of_work", 0.3))
    rows, on = (np.concatenate(pair) for pair in zip(spells, jobs, strict=True))
    of = persons.number[rows] * 8 + on % 8
    benefits = (
        "universal_credit",
        "jobseekers_allowance",
        "employment_and_support_allowance",
        "income_support",
    )
    kind = _one_of(county, "benefit kind", of, benefits)
    working = np.arange(len(spells[0]), len(rows))
    kind = kind.scatter(working, pl.Series(["employment"]).new_from_index(0, len(working)))
    length = 20 + (1500 * county.draws.share("spell", of) ** 2).astype(np.int64)
    return Contacts(rows, on, {"spell": kind, "start_date": _days(on), "end_date": _until(on + length)})


def _hospital(county: County, persons: Persons, chances: _Chances) -> Contacts:
    ill = chances.happen("episode", 4, 0.3, 0.0, boost=("physical_health", 2.5))
    births = np.flatnonzero(persons.born >= SINCE)
    rows, on = np.concatenate([ill[0], births]), np.concatenate([ill[1], persons.born[births]])
    of = persons.number[rows] * 8 + on % 8
    causes = ("injury", "respiratory", "digestive", "circulatory", "maternity", "self_harm", "other")
    cause = _one_of(county, "cause", of, causes)
    born = np.arange(len(ill[0]), len(rows))
    return Contacts(
        rows,
        on,
        {
            "admission_date": _days(on),
            "discharge_date": _until(on + county.draws.below("stay", of, 6)),
            "episode": _one_of(
                county, "episode kind", of, ("emergency", "emergency", "elective", "outpatient")
            ),
            "cause": cause.scatter(born, pl.Series(["birth"]).new_from_index(0, len(born))),
        },
    )


def _mental_health(
    county: County, persons: Persons, chances: _Chances, mood: Reals, least: float
) -> Contacts:
    rows, on = chances.happen("referral", 2, 0.03 * mood, 18, boost=("mental_health", 8.0), least=least)
    of = persons.number[rows] * 8 + on % 8
    return Contacts(
        rows,
        on,
        {
            "referral_date": _days(on),
            "discharge_date": _until(on + 30 + county.draws.below("under care", of, 500)),
            "cluster": pl.Series(1 + county.draws.below("cluster", of, 21)),
        },
    )


def _treatment(county: County, persons: Persons, chances: _Chances, mood: Reals, least: float) -> Contacts:
    rows, on = chances.happen("treatment", 2, 0.006 * mood, 12, 75, ("substance_use", 40.0), least)
    of = persons.number[rows] * 8 + on % 8
    substances = ("alcohol", "alcohol", "opiates", "crack", "cannabis", "other")
    return Contacts(
        rows,
        on,
        {
            "triage_date": _days(on),
            "exit_date": _until(on + 30 + county.draws.below("in treatment", of, 500)),
            "substance": _one_of(county, "substance", of, substances),
            "exit_reason": _one_of(
                county, "exit reason", of, ("completed", "completed", "dropped_out", "transferred")
            ),
        },
    )


def _one_of(county: County, what: str, of: Ints, labels: Sequence[str]) -> pl.Series:
    return pl.Series(list(labels)).gather(county.draws.below(what, of, len(labels)))


def _days(on: Ints) -> pl.Series:
    return pl.Series(on.astype("datetime64[D]"))


def _until(on: Ints) -> pl.Series:
    """Days, null for what has not come to its end by the day of the extract."""
    return pl.Series(on.astype("datetime64[D]")).set(pl.Series(on > NOW), None)
