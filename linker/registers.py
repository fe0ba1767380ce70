"""Linking an extract of a register with those who are known: this side links, the other keeps who they are.

    extract ───identifiers──▶ rows ──┐
    those who are known (in memory) ─┴─profile──▶ outcomes ──▶ the side that keeps persons

Nothing of who is known is written down here but the weights of pairs, and nobody becomes known by it.
Protected people are not among those whom this side is shown: only on what days they were born, for whether
they could have been found, and of what sex and from where they are, to be counted as not found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple, Protocol

import polars as pl

from linker import register_figures, report
from linker.evidence import CLERICAL, on_outcomes, still_true
from linker.profile_links import LINKED, link_persons, unsought
from linker.profiles import load
from linker.profiles.parts import listed
from linker.profiles.sides import Period
from linker.records import Records
from linker.resources import Job, Table
from linker.vaulted import Folder
from linker.work import MANIFEST, REPORT

Progress = Callable[[str, int, int], None]

EXPLAINED: Final = "explained"
"""The table of what links' weights are the sums of: it says nothing of the register's rows."""
_LOOKED_AT: Final = ("REVIEW", "AMBIGUOUS")
_RANK: Final = ("LINKED", "AMBIGUOUS", "REVIEW", "NOT_LINKED", "NOT_APPLICABLE")


class Found(NamedTuple):
    """What of an extract is whose.

    Attributes:
        rows: `row_ref` and `record` (null: the row is nobody's); without rows that somebody has to look at.
        persons: `person`, `outcome`, `stage` and `band`: codes, null where there is none.
        counts: persons by outcome, rows by what became of them.
    """

    rows: pl.DataFrame
    persons: pl.DataFrame
    counts: dict[str, int]


Link = Callable[[pl.DataFrame], Found]
Unsought = Callable[[pl.DataFrame], pl.DataFrame]


class Registers(Protocol):
    """Where persons are kept, as a register is linked with them."""

    def check_holder(self, sender: str, project: str, register: str) -> None:
        """Refuse an extract that does not come from who holds the register; what it raises is passed on."""
        ...

    def check_register(self, project: str, register: str) -> None:
        """Say at once what a register would be refused for, where that can be known at once.

        Raises:
            LinkerError: it may not be linked now.
        """
        ...

    def link(
        self,
        job: Job,
        register: str,
        sender: str,
        refs: pl.Series,
        link: Link,
        unsought: Unsought,
        progress: Progress,
    ) -> dict[str, int]:
        """Link a register's rows with those who are known, and tell whose they are.

        Args:
            job: what for.
            register: its code.
            sender: who sent the extract, as in the certificate.
            refs: the row references of the extract.
            link: finds whose the rows are: gets `person`, `family`, `authority`, `record`, `changed` (the day
                of its last correction; null: none) and the columns that are kept of a person
                (`linker.joining`), all text, a row for each name and address.
            unsought: says of those whom `link` is not given what is said of them (`person`, `outcome`,
                `stage`, `band`): gets `person` and `register_figures.WHO` (text; null: not known), a row for
                each name and address.
            progress: called with (stage, done, total); what it raises ends the work.

        Returns:
            Counts of what became of the rows and persons.

        Raises:
            LinkerError: they cannot be linked.
        """
        ...


def perform(
    job: Job,
    sender: str,
    extract: Records,
    registers: Registers,
    judged: pl.DataFrame,
    folder: Folder,
    progress: Progress,
) -> None:
    """Link the records of an extract with all who are known.

    Args:
        job: what to do.
        sender: who sent the extract, as in the certificate.
        extract: the register's records; their ids are row references.
        registers: where persons are kept.
        judged: what people settled before: `linker.evidence.EVIDENCE`.
        folder: an empty one, for links, pairs to look at, figures, and the manifest where there can be links.
        progress: called with (stage, done, total); what it raises ends the work.

    Raises:
        LinkerError: the records or the profile cannot be used.
    """
    work = job.work
    figures: dict[str, object] = {"format": report.FORMAT, "kind": "register", "register": work.register}
    figures.update(work.lawfulness)
    days = (date.fromisoformat(work.day), date.fromisoformat(work.since) if work.since else None)

    everybody, found_by = (
        list[pl.DataFrame](),
        list[tuple[Mapping[str, Any], Mapping[str, Any], pl.DataFrame]](),
    )

    def link(known: pl.DataFrame) -> Found:
        explaining, reported = list[pl.DataFrame](), list[tuple[Mapping[str, Any], Mapping[str, Any]]]()
        outcomes = link_persons(
            known,
            extract,
            work.register,
            on=days[0],
            since=days[1],
            nhs_number_reason=work.nhs_number_reason,
            seed=work.seed,
            progress=progress,
            explained=explaining.append,
            reported=lambda said, manifest: reported.append((said, manifest)),
        )
        # Whoever judged may have seen any record of a person.
        changed = known.select("record", pl.col("changed").max().over("person"))
        outcomes = on_outcomes(outcomes, known, still_true(judged, changed))
        found = _found(outcomes, known, extract.ids)
        records = known.unique("person", keep="first", maintain_order=True).select("person", "record")
        pairs = outcomes.drop_nulls("row_ref").join(records, on="person", maintain_order="left")
        for table, some in ((Table.LINKS, (LINKED,)), (Table.REVIEW, _LOOKED_AT)):
            shown = pairs.filter(pl.col("outcome").is_in(some)).select(
                "outcome",
                pl.col("stage").fill_null(""),
                left_id="record",
                right_id="row_ref",
                match_weight="weight",
                match_probability="probability",
                rule=pl.col("key").fill_null(""),
            )
            folder.write_table(str(table), shown.sort("left_id", "right_id"))
        told = _explained(outcomes, explaining)
        if told is not None:
            whose = told.join(records, on="person", maintain_order="left").rename({"record": "left_id"})
            folder.write_table(EXPLAINED, whose.drop("person").sort("left_id", "weight"))
        everybody.append(_who(known, found.persons))
        found_by.extend((*one, outcomes) for one in reported)
        figures["stages"] = _counted(found.persons, "stage")
        figures["bands"] = _counted(found.persons, "band")
        return found

    def kept_out(people: pl.DataFrame) -> pl.DataFrame:
        unfound = unsought(people.select("person", "born"), work.register, *days)
        apart = _who(people, unfound).with_columns(pl.format("apart {}", "person").alias("person"))
        everybody.append(apart)
        return unfound

    linked = registers.link(job, work.register, sender, extract.ids, link, kept_out, progress)
    figures["linked"] = linked
    for said, made, outcomes in found_by:
        period = Period(days[0], days[1] or days[0])
        figures.update(register_figures.figures(said, outcomes, pl.concat(everybody), period))
        manifest = register_figures.manifest(made, linked, judged)
        folder.write(MANIFEST, json.dumps(manifest, allow_nan=False).encode())
    folder.write(REPORT, json.dumps(figures, allow_nan=False).encode())


def explained(job: Job, folder: Folder, records: Sequence[str]) -> list[dict[str, Any]]:
    """Why records of one person were linked with a register.

    Args:
        job: it succeeded.
        folder: its own.
        records: the ids of those who are known, as its tables have them.

    Returns:
        For each link `register`, `day`, `outcome`, `stage`, `key`, `weight` and `threshold` (bits), and
        `parts`: `what`, `found` and `bits`, which add up to the weight. A link that people decided has none
        of the last four, and the stage says so. Without any link, an entry says that.
    """
    said = {"register": job.work.register, "day": job.work.day}
    if not folder.has(EXPLAINED):
        return []
    with folder.table(EXPLAINED) as table:
        found = table.where("left_id", records)
    if found.is_empty():
        return [{**said, "outcome": "NOT_LINKED"}]
    threshold = load(job.work.register).thresholds.link
    return [
        {**said, "outcome": LINKED, "stage": CLERICAL}
        if row["stage"] == CLERICAL
        else {
            **said,
            "outcome": LINKED,
            "stage": row["stage"],
            "key": row["key"],
            "weight": row["weight"],
            "threshold": threshold,
            "parts": listed(row),
        }
        for row in found.to_dicts()
    ]


def _explained(outcomes: pl.DataFrame, explaining: Sequence[pl.DataFrame]) -> pl.DataFrame | None:
    """What the links are explained by once people have judged; None where there can be no links.

    A link that people decided has no parts: what the machine made of it is not why it stands.
    """
    linked = outcomes.filter(pl.col("outcome") == LINKED).select("person", "row_ref", "stage")
    by_people = (pl.col("stage") == CLERICAL).fill_null(False)
    decided = linked.filter(by_people)
    if not explaining and decided.is_empty():
        return None
    found = linked.filter(~by_people).drop("stage")
    kept = [parts.join(found, on=["person", "row_ref"], how="semi") for parts in explaining]
    nothing = (pl.lit(None, pl.String).alias("key"), pl.lit(None, pl.Float64).alias("weight"))
    return pl.concat([*kept, decided.with_columns(nothing)], how="diagonal").drop("row_ref")


def _found(outcomes: pl.DataFrame, known: pl.DataFrame, refs: pl.Series) -> Found:
    """What the outcomes of pairs say of each row and of each person."""
    records = known.unique("person", keep="first", maintain_order=True).select("person", "record")
    linked = outcomes.filter(pl.col("outcome") == LINKED).join(records, on="person", maintain_order="left")
    open_rows = outcomes.filter(pl.col("outcome").is_in(_LOOKED_AT)).select("row_ref").drop_nulls()
    rows = (
        refs.rename("row_ref")
        .to_frame()
        .join(
            linked.select("row_ref", "record").unique("row_ref", keep="first", maintain_order=True),
            on="row_ref",
            how="left",
            maintain_order="left",
        )
    )
    waiting = pl.col("record").is_null() & pl.col("row_ref").is_in(open_rows["row_ref"].implode())
    told = rows.filter(~waiting)
    rank = pl.col("outcome").replace_strict(_RANK, range(len(_RANK)), return_dtype=pl.Int64)
    persons = (
        outcomes.sort(rank, -pl.col("weight").fill_null(float("-inf")), "person", maintain_order=True)
        .unique("person", keep="first", maintain_order=True)
        .select("person", "outcome", "stage", "band")
    )
    missing = records.select("person").join(persons, on="person", how="anti")
    persons = pl.concat(
        [persons, missing.select("person", outcome=pl.lit("NOT_LINKED"), stage=None, band=None)],
        how="vertical_relaxed",
    ).sort("person")
    counts = {f"persons_{name.lower()}": count for name, count in _counted(persons, "outcome").items()}
    counts |= {
        "rows_linked": told["record"].count(),
        "rows_of_nobody": told["record"].null_count(),
        "rows_to_look_at": rows.height - told.height,
    }
    return Found(told, persons, counts)


def _who(people: pl.DataFrame, said: pl.DataFrame) -> pl.DataFrame:
    """Each person once as figures count them: `person`, `outcome` and `register_figures.WHO`."""
    once = people.unique("person", keep="first", maintain_order=True)
    told = once.join(said.select("person", "outcome"), on="person", maintain_order="left")
    return told.select("person", "outcome", *register_figures.WHO)


def _counted(frame: pl.DataFrame, column: str) -> dict[str, int]:
    counts = frame[column].drop_nulls().value_counts().sort(column)
    return dict(counts.iter_rows())
