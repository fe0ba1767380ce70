"""What families struggle with, who is in the programme, and what support they get.

Each person has indicators of the six problems with a beginning and an end. A family's troubles come together:
all its members' chances rise with one severity of the family. A family with two or more distinct problems on
the day it is screened is eligible; of those some get the intervention and some wait, which is the comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.county.county import NEVER, NOW, County
from benchmarks.county.persons import Households, Persons, Reals
from benchmarks.dates import YEAR, day
from benchmarks.draw import Flags, Ints

PROBLEMS = ("CRIME_ASB", "SCHOOL", "CHILD_HELP", "WORK_FIN", "DA", "HEALTH")


class Indicator(NamedTuple):
    """A sign of which problem, from which age to which, and how likely: log-odds and slope on severity."""

    name: str
    problem: str
    ages: tuple[int, int]
    level: float
    slope: float


INDICATORS = (
    Indicator("offending", "CRIME_ASB", (10, 60), -3.0, 0.8),
    Indicator("antisocial_behaviour", "CRIME_ASB", (10, 60), -2.9, 0.8),
    Indicator("persistent_absence", "SCHOOL", (5, 16), -1.4, 0.9),
    Indicator("exclusion", "SCHOOL", (8, 16), -3.0, 0.9),
    Indicator("child_in_need", "CHILD_HELP", (0, 17), -1.8, 1.0),
    Indicator("protection_plan", "CHILD_HELP", (0, 17), -3.4, 1.1),
    Indicator("out_of_work", "WORK_FIN", (18, 65), -1.0, 0.9),
    Indicator("problem_debt", "WORK_FIN", (18, 65), -1.9, 0.7),
    Indicator("neet", "WORK_FIN", (16, 24), -1.4, 0.8),
    Indicator("domestic_abuse_victim", "DA", (16, 80), -2.4, 0.8),
    Indicator("domestic_abuse_perpetrator", "DA", (16, 80), -3.1, 0.8),
    Indicator("mental_health", "HEALTH", (10, 90), -1.9, 0.7),
    Indicator("substance_use", "HEALTH", (16, 70), -3.2, 0.9),
    Indicator("physical_health", "HEALTH", (0, 90), -2.5, 0.3),
)
PLACE = {indicator.name: place for place, indicator in enumerate(INDICATORS)}
SEVERITY = (1.4, -1.6)  # the middle, of assessed families and of others; spread below
SPREAD = 0.55
SCREENED = (day("2021-01-01"), day("2023-11-30"), day("2024-01-08"), day("2024-11-29"))
LATE = 0.15  # of the families: first screened between the two deliveries
ENOUGH = 2  # distinct problems
INTERVENTION = 0.6  # of the eligible
KINDS = ("family_worker", "intensive", "parenting", "employment_adviser")
EFFECT = 0.25  # of problems under way when support begins: end then, that would have gone on


@dataclass(frozen=True)
class Needs:
    """What a block's people and families need.

    Attributes:
        begins, ends: days, [indicators, persons]; `NEVER` for what does not happen.
        severity: of each household.
        screened: day of each household's screening.
        problems: [problems, households]: which it had then.
        eligible, intervention: of each household; only the eligible have an arm.
        support_from, support_to, kind, hours: of the intervention, `NEVER` and −1 where there is none.
    """

    begins: Ints
    ends: Ints
    severity: Reals
    screened: Ints
    problems: Flags
    eligible: Flags
    intervention: Flags
    support_from: Ints
    support_to: Ints
    kind: Ints
    hours: Ints

    def active(self, indicator: str, rows: Ints, on: Ints) -> Flags:
        """Whether some persons have a problem on a day each."""
        place = PLACE[indicator]
        going: Flags = (self.begins[place, rows] <= on) & (on < self.ends[place, rows])
        return going


def needs(county: County, homes: Households, persons: Persons) -> Needs:
    """Draw the problems of a block, screen its families and give them their arms."""
    draws, house, number, row = county.draws, homes.number, persons.number, persons.row
    share = np.clip(draws.share("severity", house), 1e-6, 1 - 1e-6)
    severity = np.where(homes.assessed, *SEVERITY) + SPREAD * np.log(share / (1 - share))
    early, late = draws.share("screened", house), draws.chance("screened late", house, LATE)
    screened = np.where(
        late,
        SCREENED[2] + early * (SCREENED[3] - SCREENED[2]),
        SCREENED[0] + early * (SCREENED[1] - SCREENED[0]),
    ).astype(np.int64)
    age = persons.age(screened[row])
    begins = np.full((len(INDICATORS), len(number)), NEVER)
    ends = begins.copy()
    there = (
        (persons.joined <= screened[row]) & (persons.left > screened[row]) & (persons.died > screened[row])
    )
    problems = np.zeros((len(PROBLEMS), len(house)), np.bool_)
    for place, (name, problem, (low, high), level, slope) in enumerate(INDICATORS):
        odds = np.exp(level + slope * severity[row])
        able = (age >= low) & (age < high + 1)
        rows = np.flatnonzero(able & draws.chance(name, number, odds / (1 + odds)))
        longest = np.minimum(3 * YEAR, (age[rows] - low) * YEAR)
        began = screened[row[rows]] - (draws.share(f"{name} since", number[rows]) * longest).astype(np.int64)
        begins[place, rows] = began
        ends[place, rows] = began + (YEAR * (0.4 + 6 * draws.share(f"{name} for", number[rows]) ** 2)).astype(
            np.int64
        )
        seen = rows[there[rows] & (ends[place, rows] > screened[row[rows]])]
        problems[PROBLEMS.index(problem), row[seen]] = True
    eligible = homes.assessed & (problems.sum(axis=0) >= ENOUGH)
    intervention = eligible & draws.chance("arm", house, INTERVENTION)
    support_from = np.where(intervention, screened + 7 + draws.below("support after", house, 120), NEVER)
    support_to = np.where(intervention, support_from + 60 + draws.below("support for", house, 400), NEVER)
    kind = np.where(intervention, draws.below("support", house, len(KINDS)), -1)
    hours = np.where(intervention, 5 + draws.below("hours", house, 100) * (1 + 2 * (kind == 1)), -1)
    for place in range(len(INDICATORS)):
        going = (begins[place] < support_from[row]) & (ends[place] > support_from[row]) & intervention[row]
        helped = going & draws.chance(f"helped {place}", number, EFFECT)
        ends[place, helped] = support_from[row[helped]] + 60
    return Needs(
        begins, ends, severity, screened, problems, eligible, intervention,
        np.where(support_from <= NOW, support_from, NEVER), np.where(support_to <= NOW, support_to, NEVER),
        kind, hours,
    )  # fmt: skip
