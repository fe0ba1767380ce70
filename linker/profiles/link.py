"""Linking a council's families to one register by its profile.

    two files ─▶ sides ─▶ draft ─▶ weights ─▶ persons one to one ─▶ family ─▶ outcomes, report, manifest

The same input and profile give the same links, byte for byte, whatever the order of the rows or the number of
threads.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any as Json

import numpy as np
import numpy.typing as npt
import polars as pl

from linker.arrival import Source
from linker.decide import Outcome
from linker.errors import ProfileError
from linker.model import Model
from linker.predict import Progress, no_progress
from linker.profiles import load
from linker.profiles.deciding import between_persons, judged, settle
from linker.profiles.drafting import draft, persons
from linker.profiles.figures import Told, figures, manifest_of
from linker.profiles.household import Support, supported
from linker.profiles.outcomes import outcomes_of
from linker.profiles.profile import HOUSEHOLD, PROBABILISTIC, Profile
from linker.profiles.scoring import weigh
from linker.profiles.sides import Besides, Period, Side, left_side, right_side

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ProfileResult:
    """Links of a left file to a register.

    Attributes:
        outcomes: one row a left record and, where linked, a right record: left_id, right_id (null unless
            LINKED), outcome, stage (identifier, key, probabilistic, household), key (name of the
            identifier or
            key), weight (bits), probability, lead (bits over the runner-up; null without one), band (of the
            weight). A left record that is not linked has the figures of its best candidate. Sorted by the
            ids.
        review: pairs for people: left_id, right_id and the same columns; REVIEW and AMBIGUOUS.
        report: the quality report as plain data; no id and no value of a person.
        manifest: all that the result depends on, as plain data.
        model: the model that scored.
        profile: the profile.
        parts: of each link left_id, right_id and what its weight is the sum of (`linker.profiles.parts`).
    """

    outcomes: pl.DataFrame
    review: pl.DataFrame
    report: Mapping[str, Json]
    manifest: Mapping[str, Json]
    model: Model
    profile: Profile
    parts: pl.DataFrame

    @property
    def links(self) -> pl.DataFrame:
        """left_id, right_id and the other columns of what was linked."""
        return self.outcomes.filter(pl.col("outcome") == Outcome.LINKED.value)


def link_profile(
    left: Source,
    right: Source,
    profile: Profile | str | Path,
    *,
    on: datetime.date,
    since: datetime.date | None = None,
    family: str | None = None,
    protected: str | None = None,
    arm: str | None = None,
    person: str | None = None,
    supplied: Mapping[str, str] | None = None,
    switches: Mapping[str, str] | None = None,
    model: Model | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ProfileResult:
    """Link a council's records to a register.

    Args:
        left: the council's records, a frame of text, or a file.
        right: the register's extract; it may hold nothing that the profile does not say it carries.
        profile: a profile, its name, or a file.
        on: the day of the extract; who can be in the register is judged by age on it …
        since: … or on any day since this one, where the extract reaches back.
        family: left column that says which family a record is of.
        protected: column, of either side, that says "Y" of people whose change of identity is protected:
            their former names, numbers and addresses are not looked at.
        arm: left column that the report tells apart; it has no part in the links.
        person: left column that says which records are of one person, as `dedupe_profile` finds; without it
            a record that stands twice and a twin look alike to a register without names.
        supplied: fields that hold for all left records, such as {"local_authority": "Kinshire"}.
        switches: switch of the profile → the reason why it is on.
        model: as of an earlier result; None to learn it from the records.
        seed: of the random pairs in training.
        threads: None for one a core.
        progress: called with (stage, done, total); may raise `Cancelled`.

    Raises:
        ProfileError: the profile is not known, or a file does not fit it.
        LinkerError: what is wrong with the files, columns, records or the model.
    """
    chosen = profile if isinstance(profile, Profile) else load(profile)
    reasons = _reasons(chosen, switches)
    period = Period(on, on if since is None else since)
    mine = left_side(
        left, chosen, frozenset(reasons), Besides(family, protected, arm, person), supplied or {}, period
    )
    theirs = right_side(right, chosen, frozenset(reasons), protected)
    if not len(mine.ids):
        raise ProfileError(
            f"Nobody in the left file can be in the register '{chosen.name}' ({chosen.applicable.words}).",
            "Check the day that ages are judged on.",
        )
    drafted = draft(chosen, mine, theirs)
    weighed = weigh(drafted, model, seed=seed, threads=threads, progress=progress or no_progress)
    rows = (
        _numbered(persons(mine, chosen, register=False), mine.ids),
        _numbered(persons(theirs, chosen, register=True), theirs.ids),
    )
    stages = {key.name: key.stage for key in chosen.keys}
    names = [key.name for key in drafted.keys]
    pairs, guarded = judged(weighed, [stages[name] for name in names], mine, chosen)
    settled, support = _settled(between_persons(pairs, *rows), mine, theirs, chosen)
    found = outcomes_of(settled, weighed, rows, (mine, theirs), names, chosen)
    told = Told(chosen, reasons, period, (mine, theirs), weighed, drafted.left_out, found, guarded, support)
    manifest = manifest_of(told, seed=seed, model_given=model is not None, supplied=sorted(supplied or {}))
    return ProfileResult(
        found.outcomes, found.review, figures(told), manifest, weighed.model, chosen, found.parts
    )


def _reasons(profile: Profile, switches: Mapping[str, str] | None) -> dict[str, str]:
    """The switches that are on, each with its reason."""
    made = dict(switches or {})
    for name, reason in made.items():
        if name not in profile.switches:
            have = ", ".join(profile.switches) or "none"
            raise ProfileError(f"The profile '{profile.name}' has no switch '{name}'.", f"It has: {have}.")
        if not reason.strip():
            raise ProfileError(
                f"The switch '{name}' was turned on without a reason.",
                "Say why it is lawful to use: the reason is kept in the manifest.",
            )
    return made


def _numbered(people: Rows, ids: pl.Series) -> Rows:
    """Each row's person, named by the place that its first record has in the order of the ids."""
    frame = pl.DataFrame({"person": people, "rank": ids.rank("ordinal").cast(pl.Int64)})
    return frame.select(pl.col("rank").min().over("person")).to_series().to_numpy()


def _settled(pairs: pl.DataFrame, left: Side, right: Side, profile: Profile) -> tuple[pl.DataFrame, Support]:
    """The pairs of persons decided, the family looked at a second time."""
    linked_only = pl.col("outcome") == Outcome.LINKED.value
    first = settle(pairs, profile).with_columns(gain=pl.lit(0.0))
    linked = first.filter(linked_only)
    again, support = supported(pairs, linked, left, right, profile.household)
    plain = pl.col("stage").fill_null(PROBABILISTIC)
    if not support.gained:
        return first.with_columns(stage=plain), support
    second = settle(again, profile)
    helped = (pl.col("gain") > 0) & (pl.col("weight") - pl.col("gain") < profile.thresholds.link)
    second = second.with_columns(
        stage=pl.when(pl.col("stage").is_null() & helped).then(pl.lit(HOUSEHOLD)).otherwise("stage")
    )
    others = first.join(again, on=["left_person", "right_person"], how="anti")
    made = pl.concat([others, second.select(first.columns)])
    return made.with_columns(stage=plain), support
