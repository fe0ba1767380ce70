"""What people settled, as the next run of the same work takes it: it outweighs what the engine finds.

    judgements of earlier jobs ──settled──▶ left, right, same ──▶ links of a join, outcomes of a register

A pair that people called the same is linked, one that they called different is not; neither is asked again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import polars as pl

from linker.judgements import SECOND_SHARE, Verdict, standing
from linker.resources import Job
from linker.store import Store

CLERICAL: Final = "clerical"
"""The stage, and the key, of what people decided."""
BITS: Final = 40.0
"""The weight in bits of a link of records that people called the same: from here on nobody would be asked."""
EVIDENCE: Final = pl.Schema(
    [("left", pl.String), ("right", pl.String), ("same", pl.Boolean), ("day", pl.String)]
)
NOTHING: Final = EVIDENCE.to_frame()

_ASKED: Final = ("LINKED", "AMBIGUOUS", "REVIEW")


def standing_of(store: Store, job_id: str, pairs: int) -> pl.DataFrame:
    """Where each pair of a job's queue stands: see `linker.judgements.standing`."""
    return standing(pairs, store.judgements.of(job_id), store.judgements.drawn(job_id, pairs, SECOND_SHARE))


def settled(store: Store, job: Job, pairs_of: Callable[[str, str], pl.DataFrame]) -> pl.DataFrame:
    """What is settled of the pairs of all finished jobs that did the same work on the same submissions.

    Args:
        store: where it is kept.
        job: which work.
        pairs_of: gives the pairs that a job of a project left to people: left_id, right_id.

    Returns:
        `EVIDENCE`, each pair once; what was settled in a later job outweighs what was in an earlier one.
    """
    frames = [NOTHING]
    for job_id in store.judgements.jobs_like(job):
        pairs = pairs_of(job.project, job_id)
        found = standing_of(store, job_id, pairs.height)
        frames.append(
            pairs.select(left="left_id", right="right_id")
            .hstack(found.select("pair", "verdict"))
            .join(store.judgements.days(job_id), on="pair", how="left", maintain_order="left")
            .filter(pl.col("verdict").is_in([Verdict.SAME.value, Verdict.DIFFERENT.value]))
            .select("left", "right", "day", same=pl.col("verdict") == Verdict.SAME.value)
            .select(EVIDENCE.names())
        )
    return pl.concat(frames).unique(["left", "right"], keep="last", maintain_order=True)


def still_true(judged: pl.DataFrame, changed: pl.DataFrame) -> pl.DataFrame:
    """What was judged of records that have not been corrected since: people saw the wrong values of others.

    Args:
        judged: `EVIDENCE`.
        changed: `record`, and `changed`: the day of its last correction (text; null: none).

    Returns:
        `EVIDENCE`. What was judged on the day of a correction is asked again: it may have been before.
    """
    since = changed.drop_nulls("changed").group_by("record").agg(pl.col("changed").max())
    for side in ("left", "right"):
        both = judged.join(since, left_on=side, right_on="record", how="left", maintain_order="left")
        judged = both.filter((pl.col("day") > pl.col("changed")).fill_null(True)).drop("changed")
    return judged


def on_links(links: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """The links of a join, once people have judged.

    Args:
        links: left, right, weight; the order of a pair means nothing.
        judged: `EVIDENCE`.

    Returns:
        left, right, weight and `decided`: whether people did.
    """
    found = not_judged(links, judged).with_columns(decided=False)
    same = judged.filter("same").select("left", "right", weight=pl.lit(BITS), decided=True)
    return pl.concat([found, same])


def not_judged(
    pairs: pl.DataFrame, judged: pl.DataFrame, left: str = "left", right: str = "right"
) -> pl.DataFrame:
    """The pairs that nobody has judged, whichever of their records is called left."""
    for one, other in (("left", "right"), ("right", "left")):
        pairs = pairs.join(judged, left_on=[left, right], right_on=[one, other], how="anti")
    return pairs


def on_outcomes(outcomes: pl.DataFrame, known: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """The outcomes of a register's linkage, once people have judged.

    Args:
        outcomes: as `linker.profile_links.link_persons` gives them.
        known: `person` and `record` of those who are known.
        judged: `EVIDENCE`; left is a record that is known, right a row of the register.

    Returns:
        The same columns. A row that is somebody's by judgement is nobody else's.
    """
    if judged.is_empty():
        return outcomes
    of = known.select("record", "person").unique("record")
    named = judged.join(of, left_on="left", right_on="record").select("person", "same", row_ref="right")
    same = named.filter("same").unique("row_ref", keep="last", maintain_order=True).drop("same")
    about = pl.col("outcome").is_in(_ASKED)
    rest = outcomes.filter(~about)
    asked = outcomes.filter(about)
    others = asked.join(named, on=["person", "row_ref"], how="anti").join(same, on="row_ref", how="anti")
    kept = same.join(asked, on=["person", "row_ref"], how="left", maintain_order="left").with_columns(
        outcome=pl.lit("LINKED"), stage=pl.lit(CLERICAL), key=pl.lit(CLERICAL), band=pl.lit(None, pl.String)
    )
    return pl.concat([kept.select(outcomes.columns), others, rest])
