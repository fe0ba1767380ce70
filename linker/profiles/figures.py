"""The quality report of a linkage by profile (R74) and its manifest (R78), as plain data.

Counts, shares and words only: no id and no value of a person.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any as Json

import polars as pl

from linker.decide import Outcome
from linker.evaluate import wilson
from linker.manifest import PROFILE_FORMAT, Input, code, environment
from linker.model import Model
from linker.profiles.household import Support
from linker.profiles.outcomes import NOT_APPLICABLE, Found, banded, bands
from linker.profiles.profile import Profile
from linker.profiles.reach import reach
from linker.profiles.scoring import Weighed
from linker.profiles.sides import Period, Side
from linker.report import model_figures

FORMAT = "kinlink-profile-report/1"
AGES = (5, 11, 16, 18, 25, 45, 65)
FEW = 10  # records; an area with fewer is not named
OUTCOMES = (*(one.value for one in Outcome), NOT_APPLICABLE)


@dataclass(frozen=True)
class Told:
    """What the report and the manifest are made of."""

    profile: Profile
    reasons: Mapping[str, str]
    period: Period
    sides: tuple[Side, Side]
    weighed: Weighed
    left_out: tuple[tuple[str, tuple[str, ...]], ...]
    found: Found
    guarded: Mapping[str, int]
    support: Support


def figures(told: Told) -> dict[str, Json]:
    """The report as plain data."""
    profile, outcomes = told.profile, told.found.outcomes
    links = outcomes.filter(pl.col("outcome") == Outcome.LINKED.value)
    waiting = outcomes.filter(~pl.col("outcome").is_in([Outcome.LINKED.value, NOT_APPLICABLE]))
    highest, parts = reach(told.weighed.model)
    return {
        "format": FORMAT,
        "profile": {"name": profile.name, "version": profile.version, "digest": profile.digest},
        "title": profile.title,
        "period": _period(told.period),
        "records": [len(side.records.ids) for side in told.sides],
        "outcomes": _by_outcome(outcomes),
        "links": links.height,
        "stages": stages(links, told.found.review),
        "keys_left_out": [{"key": name, "missing": list(lacking)} for name, lacking in told.left_out],
        "bands": _bands(links, told.found.review),
        "thresholds": dataclasses.asdict(profile.thresholds),
        "highest_weight": {"bits": highest, "parts": dict(parts)},
        "expected_precision": expected_precision(links),
        "missed": missed(waiting, links)
        | {"by_model": told.weighed.model.prior * len(told.sides[0].ids) * len(told.sides[1].ids)},
        "one_to_one_conflicts": told.found.conflicts,
        "beyond_most": told.found.beyond,
        "guarded": dict(told.guarded),
        "household": dataclasses.asdict(told.support),
        "linked_by": linked_by(told.sides[0].people, outcomes, told.period),
        "rules": [{"rule": name, "pairs": pairs} for name, pairs in told.weighed.compared.items()],
        "rules_left_out": list(told.weighed.left_out),
        "model": model_figures(told.weighed.model),
        "warnings": _warnings(told),
    }


def expected_precision(links: pl.DataFrame) -> dict[str, Json]:
    """The mean probability of the links by the model, with a 95% interval for the share that is right.

    The interval is of the number of right links among so many with these chances (Poisson-binomial, as
    normal); how far the model's own chances can be trusted it does not know.
    """
    if links.is_empty():
        return {"estimate": None, "low": None, "high": None}
    chances = links["probability"].to_numpy()
    mean = float(chances.mean())
    spread = 1.96 * math.sqrt(float((chances * (1.0 - chances)).sum())) / len(chances)
    return {"estimate": mean, "low": max(0.0, mean - spread), "high": min(1.0, mean + spread)}


def missed(waiting: pl.DataFrame, links: pl.DataFrame) -> dict[str, Json]:
    """Matches that were not linked, as far as the model sees them.

    Args:
        waiting: `weight` and `probability` of the best pair of each who could be linked and was not; null
            where no pair came into question.
        links: `probability` of each link.

    Returns:
        `among_candidates`: expected among the pairs that were compared and not linked; `share_of_matches`: of
        all that are expected. `no_candidate`: of whom no pair came into question at all; how many of them are
        in the register is not known.
    """
    expected = float(waiting["probability"].fill_null(0.0).sum())
    found = float(links["probability"].fill_null(0.0).sum())
    return {
        "among_candidates": expected,
        "share_of_matches": expected / (expected + found) if expected + found else None,
        "no_candidate": waiting.filter(pl.col("weight").is_null()).height,
    }


def _by_outcome(outcomes: pl.DataFrame) -> dict[str, int]:
    counted = dict(outcomes.group_by("outcome").agg(pl.col("left_id").n_unique()).rows())
    return {name: int(counted.get(name, 0)) for name in OUTCOMES}


def stages(links: pl.DataFrame, review: pl.DataFrame) -> list[dict[str, Json]]:
    """Pairs by stage, key and outcome, with the mean of what the model makes of them."""
    both = pl.concat([links, review])
    counted = (
        both.group_by("stage", "key", "outcome")
        .agg(pairs=pl.len(), mean=pl.col("probability").mean())
        .sort("stage", "key", "outcome", nulls_last=True)
    )
    return [
        {"stage": stage, "key": key, "outcome": outcome, "pairs": pairs, "mean_probability": mean}
        for stage, key, outcome, pairs, mean in counted.rows()
    ]


def _bands(links: pl.DataFrame, review: pl.DataFrame) -> list[dict[str, Json]]:
    rows = []
    for name in bands():
        mine = links.filter(pl.col("band") == name)
        rows.append(
            {
                "band": name,
                "linked": mine.height,
                "review": review.filter(pl.col("band") == name).height,
                "mean_probability": mine["probability"].mean() if mine.height else None,
            }
        )
    return rows


def linked_by(people: pl.DataFrame, outcomes: pl.DataFrame, period: Period) -> list[dict[str, Json]]:
    """Linked against applicable records, by age, sex, area and, if given, arm; shares with 95% intervals."""
    one_each = outcomes.unique("left_id", keep="first", maintain_order=True).select(
        id="left_id", outcome="outcome"
    )
    age = (pl.lit(period.on) - pl.col("born").cast(pl.Date)).dt.total_days() / 365.2425
    labels = [
        f"under {AGES[0]}",
        *(f"{a}-{b - 1}" for a, b in pairwise(AGES)),
        f"{AGES[-1]}+",
    ]
    made = people.join(one_each, on="id").with_columns(age=banded(age, AGES, labels))
    small = pl.len().over("area") < FEW
    made = made.with_columns(area=pl.when(~small).then("area").otherwise(pl.lit("other")))
    rows = []
    for by in ("age", "sex", "area", *(["arm"] if made["arm"].null_count() < len(made) else [])):
        counted = (
            made.group_by(pl.col(by).fill_null("not known").alias("group"))
            .agg(
                linked=(pl.col("outcome") == Outcome.LINKED.value).sum(),
                applicable=(pl.col("outcome") != NOT_APPLICABLE).sum(),
                records=pl.len(),
            )
            .sort("group")
        )
        for group, linked, applicable, records in counted.rows():
            low, high = wilson(linked, applicable) or (None, None)
            rows.append(
                {
                    "by": by, "group": group, "records": records, "applicable": applicable, "linked": linked,
                    "share": linked / applicable if applicable else None, "low": low, "high": high,
                }
            )  # fmt: skip
    return rows


def _warnings(told: Told) -> list[str]:
    said = [] if told.weighed.training is None else list(told.weighed.training.diagnostics.warnings)
    highest, _ = reach(told.weighed.model)
    if highest < told.profile.thresholds.link:
        said.insert(
            0,
            f"No pair can reach the threshold of {told.profile.thresholds.link:g} bits: the highest weight "
            f"is {highest:.1f}. Only identifiers and keys link here.",
        )
    return said


def _period(period: Period) -> dict[str, str]:
    return {"on": period.on.isoformat(), "since": period.since.isoformat()}


def manifest_of(told: Told, *, seed: int, model_given: bool, supplied: Sequence[str]) -> dict[str, Json]:
    """All that the result depends on, with digests."""
    from linker.digest import digest

    profile = told.profile
    return {
        "format": PROFILE_FORMAT,
        "kind": "profile linkage",
        "profile": {"name": profile.name, "version": profile.version, "digest": profile.digest},
        "asked": _period(told.period)
        | {
            "switches": dict(told.reasons),
            "family": told.sides[0].family is not None,
            "protected": int(told.sides[0].protected.sum()),
            "supplied": list(supplied),
            "seed": seed,
            "model_given": model_given,
        },
        "thresholds": dataclasses.asdict(profile.thresholds),
        "inputs": [dataclasses.asdict(Input.of(side.records)) for side in told.sides],
        "model": told.weighed.model.digest,
        "counts": _by_outcome(told.found.outcomes),
        "results": {"outcomes": digest(told.found.outcomes), "review": digest(told.found.review)},
        "code": code(),
        "environment": environment(),
    }


def manifest_within(
    profile: Profile,
    sides: Sequence[Side],
    model: Model,
    persons: pl.DataFrame,
    *,
    seed: int,
    model_given: bool,
) -> dict[str, Json]:
    """The manifest of a deduplication by profile."""
    from linker.digest import digest

    return {
        "format": PROFILE_FORMAT,
        "kind": "profile deduplication",
        "profile": {"name": profile.name, "version": profile.version, "digest": profile.digest},
        "asked": {"family": sides[0].family is not None, "seed": seed, "model_given": model_given},
        "thresholds": dataclasses.asdict(profile.thresholds),
        "inputs": [dataclasses.asdict(Input.of(side.records)) for side in sides],
        "model": model.digest,
        "counts": {"records": persons.height, "persons": persons["person_id"].n_unique()},
        "results": {"persons": digest(persons)},
        "code": code(),
        "environment": environment(),
    }
