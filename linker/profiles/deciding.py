"""Decisions of a profile: persons of the left against persons of the register, all stages in one assignment.

    pairs of records ──guards, keys──▶ pairs of persons ──one to one, lead──▶ outcomes ──▶ links of records

A file may hold a person more than once; the profile says which records are of one (`same`). Persons are
matched
one to one (R76), so twins cannot both have one record, and a link must lead over the runner-up. A pair
that meets
an identifier with what bears it out, or a key, counts as at least `link + margin`, unless a guard stops it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from linker import decide
from linker.decide import Cardinality
from linker.profiles.profile import IDENTIFIER, Profile
from linker.profiles.scoring import Weighed
from linker.profiles.sides import Side

BARELY = 0.01  # bits under the threshold: where a guard holds a pair
Rows = npt.NDArray[np.int64]


def judged(
    weighed: Weighed, stages: list[str], left: Side, profile: Profile
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Pairs of records, as the guards and keys leave them.

    Returns:
        The pairs with `stage`, `decisive` (the weight that a decision looks at) and `stopped` by a guard, and
        how many each guard stopped that would have been links.
    """
    limits, pairs = profile.thresholds, weighed.pairs
    known = pl.Series("stages", [*stages, None], dtype=pl.String)
    stage = known.gather(pairs["key"].fill_null(len(stages))).alias("stage")
    pairs = pairs.with_columns(stage)
    twin = _twins(pairs, weighed, left) if profile.guards.twin else pl.lit(False)
    unborn = pl.lit(False)
    if profile.guards.birth and "level date_of_birth" in pairs.columns:
        level = pl.col("level date_of_birth")
        apart = level == weighed.levels["date_of_birth"]
        if "level surname" in pairs.columns:
            apart |= (level > 1) & (pl.col("level surname") == weighed.levels["surname"])
        apart |= (level == 0) & (pl.col("weight") < limits.link + profile.guards.unborn)
        unborn = apart & pl.col("stage").ne_missing(IDENTIFIER)
    pairs = pairs.with_columns(twin=twin, unborn=unborn)
    met = pl.col("stage").is_not_null()
    lifted = (
        pl.when(met & (pl.col("weight") >= limits.veto))
        .then(pl.max_horizontal("weight", pl.lit(limits.link + limits.margin)))
        .when(met)
        .then(pl.lit(limits.link - BARELY))
        .otherwise("weight")
    )
    stopped = pl.col("twin") | pl.col("unborn")
    pairs = pairs.with_columns(
        decisive=pl.when(stopped)
        .then(pl.min_horizontal(lifted, pl.lit(limits.link - BARELY)))
        .otherwise(lifted)
    )
    would = pairs.filter(stopped & ((pl.col("weight") >= limits.link) | met))
    counts = {
        "twin": int(would["twin"].sum()),
        "date of birth": int((would["unborn"] & ~would["twin"]).sum()),
    }
    return pairs.with_columns(stopped=stopped).drop("twin", "unborn"), counts


def _twins(pairs: pl.DataFrame, weighed: Weighed, left: Side) -> pl.Expr:
    """Pairs that may be of a twin.

    With names: forenames plainly differ, dates of birth agree, and surname or postcode do. An identifier
    and the
    sex that agree say otherwise, if no other member of the family was born that day. Without names: the
    family
    has another member born that day who may be of the same sex and initials, and no identifier decided.
    """
    if "level date_of_birth" not in pairs.columns:
        return pl.lit(False)
    alone = ~_born_together(left).gather(pairs["left"])
    identified = pl.col("stage").eq_missing(IDENTIFIER)
    if "level forename" not in pairs.columns:
        return ~pl.lit(alone) & ~identified
    near = [pl.col(f"level {one}") == 1 for one in ("surname", "postcode") if f"level {one}" in pairs.columns]
    twin = (pl.col("level forename") == weighed.levels["forename"]) & (pl.col("level date_of_birth") == 1)
    twin &= pl.any_horizontal(near) if near else pl.lit(True)
    same_sex = pl.col("level sex") == 1 if "level sex" in pairs.columns else pl.lit(False)
    return twin & ~(pl.lit(alone) & same_sex & identified & pl.lit(left.family is not None))


def _born_together(side: Side) -> pl.Series:
    """Whether a row's family has somebody else born that day who is not told apart by sex or initials."""
    rows = pl.int_range(len(side.ids), eager=True)
    if side.family is None:
        return pl.repeat(False, len(rows), eager=True)
    names = side.columns.columns
    person = rows.cast(pl.String) if side.person is None else side.person.fill_null(rows.cast(pl.String))
    born = pl.DataFrame({"row": rows, "family": side.family, "person": person})
    born = born.with_columns(born=side.columns["date_of_birth"], sex=_known(side, "sex")).drop_nulls(
        ["family", "born"]
    )
    if "forename.first" in names:
        born = born.with_columns(person=side.columns["forename.first"].gather(born["row"]))
    elif "initials" in names:
        born = born.with_columns(initials=side.columns["initials"].gather(born["row"]))
    both = born.join(born, on=["family", "born"]).filter(pl.col("person") != pl.col("person_right"))
    for name in ("sex", "initials"):
        if name in both.columns and "forename.first" not in names:
            both = both.filter((pl.col(name) == pl.col(f"{name}_right")).fill_null(True))
    return rows.is_in(both["row"].implode())


def _known(side: Side, name: str) -> pl.Series:
    if name in side.columns.columns:
        return side.columns[name]
    return pl.Series([None], dtype=pl.String).new_from_index(0, len(side.ids))


def between_persons(pairs: pl.DataFrame, left: Rows, right: Rows) -> pl.DataFrame:
    """The best pair of records of every pair of persons.

    Args:
        pairs: of `judged`.
        left, right: the person of each row, numbered by the person's first row in the order of the ids.
    """
    made = pairs.with_columns(
        left_person=pl.Series(left).gather(pairs["left"]),
        right_person=pl.Series(right).gather(pairs["right"]),
    )
    ranked = made.sort("decisive", "weight", "left", "right", descending=[True, True, False, False])
    return ranked.unique(["left_person", "right_person"], keep="first", maintain_order=True)


def settle(persons: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Outcome and lead of every pair of persons: one to one, by `decisive`."""
    limits = profile.thresholds
    frame = persons.with_columns(
        left_id=pl.col("left_person").cast(pl.String).str.zfill(12),
        right_id=pl.col("right_person").cast(pl.String).str.zfill(12),
        match_weight=pl.col("decisive"),
    )
    decided = decide.link(
        frame,
        cardinality=Cardinality.ONE_TO_ONE,
        threshold=limits.link,
        review=limits.review,
        lead=limits.lead,
    )
    return decided.with_columns(_lead(decided, frame)).drop("match_weight")


def _lead(decided: pl.DataFrame, every: pl.DataFrame) -> pl.Series:
    """Bits over the next best pair of either person; null where there is none."""
    parts = []
    for side in ("left_id", "right_id"):
        best = every.group_by(side).agg(
            first=pl.col("decisive").max(), second=pl.col("decisive").top_k(2).min(), many=pl.len()
        )
        found = decided.select(side, "decisive").join(best, on=side, how="left", maintain_order="left")
        rival = pl.when(pl.col("decisive") == pl.col("first")).then("second").otherwise("first")
        parts.append(found.select(pl.when(pl.col("many") > 1).then(rival)).to_series())
    rivals = pl.DataFrame({"one": parts[0], "other": parts[1]}).max_horizontal()
    return (decided["decisive"] - rivals).alias("lead")
