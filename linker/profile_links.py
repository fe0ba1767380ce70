"""The one place where a register's extract is linked: a person is compared in each of their records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any as Json
from typing import Final

import polars as pl

from linker.arrival import screened
from linker.decide import Outcome
from linker.errors import LinkerError, ProfileError
from linker.joining import KEPT
from linker.profiles import Profile, load, names
from linker.profiles.link import link_profile
from linker.profiles.outcomes import NOT_APPLICABLE, SCHEMA
from linker.records import Field, Kind, Layout, Records
from linker.standardise import table

AUTHORITY: Final = "authority"
"""The column with the council that a record came from: some registers name it."""
BESIDE: Final = ("person", "family")
"""The columns that say what belongs together, and are not compared."""
LINKED: Final = Outcome.LINKED.value
_NHS: Final = "nhs_number"
_SAID: Final = ("outcome", "stage", "key", "weight", "probability", "band")


def check_register(register: str) -> None:
    """Do nothing if there is a profile of this register.

    Raises:
        ProfileError: there is none.
    """
    if register not in names():
        raise ProfileError("There is no profile of that register.", f"The profiles are {', '.join(names())}.")


def applicable(born: pl.Series, profile: Profile, on: date, since: date | None = None) -> pl.Series:
    """Whether people of these dates of birth can be in a register from one day to another; yes if not known.

    A date is read as the linkage reads it: what stands for "no date" is not known.
    """
    known = born.unique().drop_nulls()
    days = born.replace_strict(
        known, table(Kind.DATE_OF_BIRTH, known)["days"], default=None, return_dtype=pl.Int32
    )
    first, last = profile.age_range(on, on if since is None else since)
    able = pl.repeat(True, len(born), eager=True)
    if first is not None:
        able &= (days >= first).fill_null(True)
    if last is not None:
        able &= (days <= last).fill_null(True)
    return able


def unsought(births: pl.DataFrame, register: str, on: date, since: date | None = None) -> pl.DataFrame:
    """What is said of persons who are not looked for: the same as of who is looked for and not found.

    Args:
        births: `person` and `born` (text; null: not known), a row for each record.
        register, on, since: as `link_persons` takes them.

    Returns:
        `person`, `outcome`, `stage` and `band` (both null), a row each.

    Raises:
        ProfileError: there is no profile of this register.
    """
    check_register(register)
    able = births.select("person", able=applicable(births["born"], load(register), on, since))
    said = (
        pl.when(pl.col("able").any()).then(pl.lit(Outcome.NOT_LINKED.value)).otherwise(pl.lit(NOT_APPLICABLE))
    )
    nothing = (pl.lit(None, pl.String).alias(name) for name in ("stage", "band"))
    return able.group_by("person", maintain_order=True).agg(outcome=said).with_columns(nothing)


def link_persons(
    known: pl.DataFrame,
    extract: Records,
    register: str,
    *,
    on: date,
    since: date | None = None,
    nhs_number_reason: str = "",
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
    explained: Callable[[pl.DataFrame], object] | None = None,
    reported: Callable[[Mapping[str, Json], Mapping[str, Json]], object] | None = None,
) -> pl.DataFrame:
    """Say of persons and rows of a register who is whose: the best over all that is known of a person.

    Args:
        known: `person`, `family` (null: none known), `authority`, and the columns that are kept of a person,
            a row for each name and address, all text. Ties are settled by the order of the rows.
        extract: the register's records.
        register: the code of its profile.
        on: the day on which people have their age.
        since: the day from which on the extract has people; None: the same.
        nhs_number_reason: why the NHS number may be used; nothing: it is not.
        seed: of every random choice.
        progress: called with (stage, done, total); what it raises ends the work.
        explained: called, where there can be links, with `person`, `row_ref`, `stage`, `key` and `weight` of
            each, and what the weight is the sum of (`linker.profiles.parts`).
        reported: called, where there can be links, with report and manifest of the linkage of records.

    Returns:
        `person` and `row_ref` (null unless it is linked or somebody has to look at it), `outcome`, `stage`,
        `key`, `weight` (bits), `probability` and `band` (codes), of each person at least one.

    Raises:
        LinkerError: the records or the profile cannot be used.
    """
    check_register(register)
    if not len(extract.ids):
        raise LinkerError("Every row of the extract was refused.", "Look at what was refused, and why.")
    numbered = known.with_row_index("id").with_columns(pl.col("id").cast(pl.String).str.zfill(12))
    kinds = {**KEPT, AUTHORITY: Kind.LOCAL_AUTHORITY}
    given = [name for name in kinds if known[name].count() and (name != "nhs" or nhs_number_reason)]
    if not given:
        return pl.DataFrame(
            schema={"person": pl.String, "row_ref": pl.String, **{name: SCHEMA[name] for name in _SAID}}
        )
    if not applicable(known["born"], load(register), on, since).any():
        nothing = {name: pl.lit(None, kind) for name, kind in SCHEMA.items() if name in _SAID}
        everybody = known.select(pl.col("person").unique(maintain_order=True))
        return everybody.with_columns(row_ref=pl.lit(None, pl.String), **nothing).with_columns(
            outcome=pl.lit(NOT_APPLICABLE)
        )
    fields = tuple(Field(kinds[name].value, kinds[name], (name,), "as kept") for name in given)
    left = screened(numbered.select("id", *given), Layout("id", fields, ()))
    beside = left.ids.to_frame("id").join(numbered, on="id", maintain_order="left").select(BESIDE)
    found = link_profile(
        Records(left.ids, left.frame.with_columns(beside.get_columns()), left.layout, left.refusals),
        # A profile knows an id by its heading; these were called something else by their sender.
        replace(extract, layout=replace(extract.layout, id_column=None)),
        register,
        on=on,
        since=since,
        person="person",
        family="family",
        switches={_NHS: nhs_number_reason} if nhs_number_reason else None,
        seed=seed,
        progress=progress,
    )
    looked_at = pl.col("outcome").is_in(found.review["outcome"].unique().implode())
    pairs = pl.concat([found.outcomes.filter(~looked_at), found.review.select(found.outcomes.columns)])
    persons = numbered.select("id", "person")
    made = (
        pairs.join(persons, left_on="left_id", right_on="id", maintain_order="left")
        .sort(pl.col("weight").fill_null(float("-inf")), descending=True, maintain_order=True)
        .unique(["person", "right_id", "outcome"], keep="first", maintain_order=True)
        .select(
            "person",
            "outcome",
            _code("stage"),
            "key",
            "weight",
            "probability",
            _code("band"),
            row_ref="right_id",
            left_id=pl.when(pl.col("outcome") == LINKED).then("left_id"),
        )
    )
    if explained is not None:
        links = made.drop_nulls("left_id").select("person", "stage", "key", "weight", "left_id", "row_ref")
        whose = ["left_id", "row_ref"]
        parts = found.parts.rename({"right_id": "row_ref"})
        explained(links.join(parts, on=whose, maintain_order="left").drop("left_id"))
    if reported is not None:
        reported(found.report, found.manifest)
    return made.drop("left_id")


def _code(name: str) -> pl.Expr:
    """Words as a code: "15 to 20" is "15-to-20"."""
    return pl.col(name).str.replace_all(" ", "-").alias(name)
