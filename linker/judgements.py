"""What people judge of pairs, and what of it holds: rounds, second looks, agreement.

    first ──▶ second (a share of the pairs, another person) ──▶ third (where they differ, or one asks)

The rules this module keeps:

- Who is second is another person than who was first, and the third is neither.
- Of the judgements of a pair in one round the latest holds; none is ever lost.
- Only what is settled is evidence, and of that only "same" and "different".

Pairs are numbered from 0, as in the table of the job that left them to people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

import jellyfish
import polars as pl

SECOND_SHARE: Final = 0.1
"""Of the pairs, how many a second person judges too."""
ALIKE: Final = 0.88
"""Jaro-Winkler similarity from which two spellings are called alike (ONS's, NHS England's)."""

JUDGED: Final = pl.Schema(
    [("pair", pl.Int64), ("round", pl.Int64), ("reviewer", pl.String), ("verdict", pl.String)]
)


class Verdict(StrEnum):
    """What somebody thinks of a pair."""

    SAME = "same"
    DIFFERENT = "different"
    CANNOT_TELL = "cannot-tell"
    EXPERT = "expert"


class Reason(StrEnum):
    """Why somebody thinks so."""

    NONE = ""
    TWINS = "twins"
    RELATIVES = "relatives"
    NAME_CHANGED = "name-changed"
    MOVED = "moved"
    DATA_ERROR = "data-error"
    UNMATCHABLE = "unmatchable"


class Round(IntEnum):
    """The how-manieth look at a pair it is."""

    FIRST = 1
    SECOND = 2
    THIRD = 3


class Agreement(StrEnum):
    """How the values of two records compare in a field."""

    EQUAL = "equal"
    ALIKE = "alike"
    DIFFERENT = "different"
    MISSING = "missing"


@dataclass(frozen=True)
class Judgement:
    """What somebody judged of a pair.

    Attributes:
        pair: its number.
        left_id, right_id: its records.
        round: which look it was.
        reviewer: who judged.
        verdict: what they think.
        reason: why.
        made: when, in UTC.
        replaced: taken back, or followed by another of the same round.
        holds: the pair is settled, and by this.
    """

    pair: int
    left_id: str
    right_id: str
    round: Round
    reviewer: str
    verdict: Verdict
    reason: Reason
    made: datetime
    replaced: bool
    holds: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a queue has come; see `ReviewProgress` in `proto/linker/v1/review.proto`."""

    pairs: int
    not_judged: int
    waiting: int
    settled: int
    same: int
    different: int
    cannot_tell: int
    judged_twice: int
    agreed: int
    kappa: float | None


class Shown(NamedTuple):
    """A record as somebody sees it: its fields, each with its values."""

    record_id: str
    known: bool
    fields: Mapping[str, Sequence[str]]


class Pair(NamedTuple):
    """A pair that waits: number, records, weight (bits; None: it has none), how each field compares."""

    pair: int
    left_id: str
    right_id: str
    weight: float | None
    fields: Mapping[str, Agreement]


class Next(NamedTuple):
    """What to judge next, its records, and how much waits for the caller."""

    pairs: Sequence[Pair]
    records: Sequence[Shown]
    waiting: int


def standing(pairs: int, judged: pl.DataFrame, second: pl.Series) -> pl.DataFrame:
    """Where each pair of a queue stands.

    Args:
        pairs: how many there are.
        judged: `JUDGED`, the judgements that nobody took back, in the order in which they were made.
        second: Boolean, of each pair whether a second person judges it too.

    Returns:
        Of each pair: pair, first, second, third (verdicts; null: none yet), first_by, second_by, third_by,
        wants (the round that it waits for; null: it is settled) and verdict (null: it is not).
    """
    latest = judged.unique(["pair", "round"], keep="last", maintain_order=True)
    found = pl.DataFrame({"pair": pl.int_range(pairs, eager=True), "_again": second})
    for look, name in ((Round.FIRST, "first"), (Round.SECOND, "second"), (Round.THIRD, "third")):
        some = latest.filter(pl.col("round") == look.value)
        some = some.select("pair", pl.col("verdict").alias(name), pl.col("reviewer").alias(f"{name}_by"))
        found = found.join(some, on="pair", how="left", maintain_order="left")
    expert = Verdict.EXPERT.value
    asks = (pl.col("first") == expert) | (pl.col("second") == expert).fill_null(False)
    differ = (pl.col("first") != pl.col("second")).fill_null(False)
    wants = (
        pl.when(pl.col("first").is_null())
        .then(Round.FIRST.value)
        .when(pl.col("third").is_not_null())
        .then(None)
        .when(asks)
        .then(Round.THIRD.value)
        .when(pl.col("_again") & pl.col("second").is_null())
        .then(Round.SECOND.value)
        .when(differ)
        .then(Round.THIRD.value)
    )
    found = found.with_columns(wants=wants)
    settled = pl.when(pl.col("wants").is_null()).then(pl.coalesce("third", "first"))
    return found.with_columns(verdict=settled).drop("_again")


def waits_for(reviewer: str) -> pl.Expr:
    """Whether a pair of `standing` waits for this person."""
    # Where an earlier round was taken back, whoever judged in a later one is not asked for it.
    judged = (pl.col(f"{name}_by").eq_missing(pl.lit(reviewer)) for name in ("first", "second", "third"))
    return pl.col("wants").is_not_null() & ~pl.any_horizontal(*judged)


def round_of(pair: Mapping[str, object], reviewer: str) -> Round | None:
    """Which look at a pair of `standing` this person's judgement is: a new one, or their own one anew.

    Returns:
        The round, or None: the pair waits for somebody else, or for nobody.
    """
    for look, name in ((Round.THIRD, "third"), (Round.SECOND, "second"), (Round.FIRST, "first")):
        if pair[f"{name}_by"] == reviewer:
            return look
    wanted = pair["wants"]
    return None if wanted is None else Round(int(str(wanted)))


def progress(found: pl.DataFrame) -> Progress:
    """How far a queue has come, by `standing`."""
    settled = found.filter(pl.col("wants").is_null())
    counts = dict(settled["verdict"].value_counts().iter_rows())
    twice = found.drop_nulls(["first", "second"])
    return Progress(
        pairs=found.height,
        not_judged=found.filter(pl.col("wants") == Round.FIRST.value).height,
        waiting=found.filter(pl.col("wants") > Round.FIRST.value).height,
        settled=settled.height,
        same=counts.get(Verdict.SAME, 0),
        different=counts.get(Verdict.DIFFERENT, 0),
        cannot_tell=counts.get(Verdict.CANNOT_TELL, 0) + counts.get(Verdict.EXPERT, 0),
        judged_twice=twice.height,
        agreed=twice.filter(pl.col("first") == pl.col("second")).height,
        kappa=kappa(twice["first"], twice["second"]),
    )


def kappa(one: pl.Series, other: pl.Series) -> float | None:
    """Cohen's kappa of two people's verdicts on the same pairs; None where it is not defined.

    Source: J. Cohen, A coefficient of agreement for nominal scales (1960).
    """
    count = len(one)
    if not count:
        return None
    observed = float((one == other).sum()) / count
    shares = [dict(side.value_counts().iter_rows()) for side in (one, other)]
    chance = sum(shares[0].get(verdict, 0) * shares[1].get(verdict, 0) for verdict in Verdict) / count**2
    return None if chance >= 1.0 else (observed - chance) / (1.0 - chance)


def together(pairs: pl.DataFrame, pair: int) -> list[int]:
    """The numbers of all pairs that hang together with one by their records.

    Args:
        pairs: left_id and right_id, in the order of their numbers.
        pair: the number of the one.
    """
    records = {pairs["left_id"][pair], pairs["right_id"][pair]}
    numbered = pairs.select("left_id", "right_id").with_row_index("pair")
    while True:
        named = pl.Series(sorted(records)).implode()
        either = pl.col("left_id").is_in(named) | pl.col("right_id").is_in(named)
        some = numbered.filter(either)
        grown = records | set(some["left_id"]) | set(some["right_id"])
        if grown == records:
            return some["pair"].to_list()
        records = grown


def compared(one: Sequence[str], other: Sequence[str]) -> Agreement:
    """How the values of a field compare, of two records that may each have several."""
    left, right = ({" ".join(value.casefold().split()) for value in side if value} for side in (one, other))
    if not left or not right:
        return Agreement.MISSING
    if left & right:
        return Agreement.EQUAL
    alike = any(jellyfish.jaro_winkler_similarity(a, b) >= ALIKE for a in left for b in right)
    return Agreement.ALIKE if alike else Agreement.DIFFERENT
