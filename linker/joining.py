"""Joining a submission with the persons who are known: this side links, the other side keeps who they are.

    submission ──identities──▶ rows ─┐
    those who are known (in memory) ─┴─dedupe──▶ links ──▶ the side that keeps persons

Both sides of a comparison are read alike: as the few columns that are kept of a person. What a submission has
beside them (an e-mail address, a telephone number) takes no part, for nobody known has it. Nothing of who is
known is written down here but the weights of pairs, and of protected records not even these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date
from typing import Final, Protocol

import polars as pl

import linker
from linker import report
from linker.apart import may_be_twins
from linker.arrival import check_naming, screened
from linker.decide import Outcome
from linker.derive import raw_values, standard_columns
from linker.errors import LinkerError, RecordsError
from linker.evidence import not_judged, on_links, still_true
from linker.model import Model
from linker.records import Field, Kind, Layout, Records
from linker.refusals import Invalid
from linker.resources import Job, Table, Work
from linker.vaulted import Folder
from linker.work import REPORT

Progress = Callable[[str, int, int], None]
Link = Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]

KEPT: Final = {
    "given": Kind.FORENAME,
    "surname": Kind.SURNAME,
    "born": Kind.DATE_OF_BIRTH,
    "sex": Kind.SEX,
    "address": Kind.ADDRESS,
    "postcode": Kind.POSTCODE,
    "nhs": Kind.NHS_NUMBER,
    "nino": Kind.NINO,
    "upn": Kind.UPN,
    "uln": Kind.ULN,
    "pncid": Kind.PNCID,
}
"""What is kept of a person, and what it is about."""
NINO_FROM: Final = 16
"""Years of age from which somebody has a National Insurance number."""
_NO_LINKS: Final = pl.DataFrame(schema={"left": pl.String, "right": pl.String, "weight": pl.Float64})
_LONGEST: Final = 1_000  # characters of a value
_YES, _NO = ("yes", "y", "true", "1"), ("no", "n", "false", "0", "")


class Persons(Protocol):
    """Where persons are kept."""

    def check(self, project: str, purpose: str, actor: str) -> None:
        """Say at once what a join would be refused for, where that can be known at once.

        Raises:
            LinkerError: nobody may be joined for this purpose, or in this project.
        """
        ...

    def join(
        self, job: Job, source: str, sender: str, rows: pl.DataFrame, link: Link, progress: Progress
    ) -> dict[str, int]:
        """Store rows under persons and families.

        Args:
            job: what for.
            source: the council or register that the rows come from.
            sender: who sent them, as in the certificate.
            rows: `row_ref` and `family` (text; null: none known), `protected` (Boolean), and the columns that
                are kept of a person, text.
            link: finds the links of the rows among themselves and to those who are known: gets the rows, of
                which values may be taken out that must not be used, and of who is known `record`,
                `protected` and the same columns, in an order that settles ties, both with `changed` (the day
                of the last correction, text; null: none); gives `left`, `right` (row
                references or records), `weight`, in bits, and `decided`: whether people said so.
            progress: called with (stage, done, total); what it raises ends the work.

        Returns:
            Counts of what became of the rows.

        Raises:
            LinkerError: they cannot be stored.
        """
        ...


def check(work: Work, project: str, layout: Layout, persons: Persons) -> None:
    """Refuse at once a join that can come to nothing.

    Args:
        work: what is asked for.
        project: the project that the submission belongs to.
        layout: how its columns were understood.
        persons: where persons are kept.

    Raises:
        LinkerError: a column is not there, no column says who people are, none is named although one has
            references of families or says who is protected, or persons may not be joined.
    """
    columns = {name for field in layout.fields for name in field.columns}
    for name, what, field in (
        (work.family_column, "family", "family_column"),
        (work.protected_column, "protected", "protected_column"),
    ):
        if name and name not in columns:
            error = _no_column(name, what)
            raise Invalid("FIELD_INVALID", error.message, error.help, field=field)
    check_naming(layout)
    persons.check(project, work.purpose, work.actor)
    marks = [name for name in _columns_of(layout, Kind.PROTECTED) if name != work.protected_column]
    if marks:
        # Whoever is linked once as anybody is linked with who they were.
        raise Invalid(
            "FIELD_INVALID",
            f"The submission says in '{marks[0]}' who is protected, and the join does not name that column.",
            f"Name it: --protected {marks[0]}."
            if not work.protected_column
            else "Only one column can say it: have the file sent with one, in a new batch.",
            field="protected_column",
        )
    households = _columns_of(layout, Kind.HOUSEHOLD)
    if households and not work.family_column:
        # Rows are known from then on: nobody could be put into a family later.
        raise Invalid(
            "FIELD_INVALID",
            f"The submission has references of families in '{households[0]}', and the join names no column.",
            f"Name it: --family {households[0]}.",
            field="family_column",
        )


def _columns_of(layout: Layout, kind: Kind) -> list[str]:
    return [name for field in layout.fields if field.kind is kind for name in field.columns]


def perform(
    job: Job,
    source: str,
    sender: str,
    records: Records,
    model: Model | None,
    persons: Persons,
    judged: pl.DataFrame,
    folder: Folder,
    progress: Progress,
) -> None:
    """Join the records of a submission with all who are known.

    Args:
        job: what to do.
        source: where the records come from.
        sender: who sent them, as in the certificate.
        records: of the submission.
        model: the model to score with, or None to estimate one from the records and all who are known.
        persons: where persons are kept.
        judged: what people settled before: `linker.evidence.EVIDENCE`.
        folder: an empty one, for links, pairs to look at, and figures.
        progress: called with (stage, done, total); what it raises ends the work.

    Raises:
        LinkerError: the records or the model cannot be used.
    """
    given = rows_of(records, job.work.family_column, job.work.protected_column)
    given, child_ninos = without_child_ninos(given, date.today())
    figures: dict[str, object] = {"format": report.FORMAT, "kind": "join"}
    figures.update(job.work.lawfulness)

    def link(rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
        found = _linked(job, rows, known, model, progress)
        days = pl.concat(
            [known.select("record", "changed"), rows.select("changed", record="row_ref")], how="diagonal"
        )
        settled = still_true(judged, days)
        if found is None:
            return on_links(_NO_LINKS, settled)
        figures.update(report.figures(found), kind="join")
        shown = pl.concat([_guarded(rows, "row_ref"), _guarded(known, "record")])
        linked, review = (_named(pairs, rows, known) for pairs in (found.links, found.review))
        records = pl.concat([rows.select(*KEPT, id="row_ref"), known.select(*KEPT, id="record")])
        twins = may_be_twins(linked, records)
        figures["may_be_twins"] = int(twins.sum())
        held = linked.filter(twins).with_columns(outcome=pl.lit(Outcome.REVIEW.value))
        linked, review = linked.filter(~twins), pl.concat([review, held])
        for table, pairs in ((Table.LINKS, linked), (Table.REVIEW, review)):
            for side in ("left_id", "right_id"):
                pairs = pairs.join(shown, left_on=side, right_on="id", how="anti")
            asked = not_judged(pairs, settled, "left_id", "right_id") if table is Table.REVIEW else pairs
            folder.write_table(str(table), asked.sort("left_id", "right_id"))
        return on_links(linked.select(left="left_id", right="right_id", weight="match_weight"), settled)

    joined = persons.join(job, source, sender, given, link, progress)
    figures |= {"joined": joined, "child_ninos": child_ninos}
    folder.write(REPORT, json.dumps(figures, allow_nan=False).encode())


def rows_of(records: Records, family_column: str, protected_column: str) -> pl.DataFrame:
    """The records as they are kept: see `Persons.join`.

    Raises:
        LinkerError: a column is not there, or does not say yes or no.
    """
    standard = standard_columns(records)
    fields = records.layout.fields

    def raw(*kinds: Kind) -> list[pl.Series]:
        return [raw_values(records.frame, field) for field in fields if field.kind in kinds]

    def made(name: str) -> list[pl.Series]:
        return [standard[name]] if name in standard.columns else []

    day = [one.str.to_date("%Y%m%d", strict=False).dt.to_string("%Y-%m-%d") for one in made("date_of_birth")]
    columns = {
        "given": _joined([*raw(Kind.FORENAME)[:1], *raw(Kind.MIDDLE_NAME)], " ") or made("forename"),
        "surname": raw(Kind.SURNAME)[:1] or made("surname"),
        "born": day,
        "address": raw(Kind.ADDRESS)[:1] or _joined(raw(Kind.HOUSE, Kind.ADDRESS_LINE, Kind.TOWN), ", "),
        **{name: made(KEPT[name]) for name in ("sex", "postcode", "nhs", "nino", "upn", "uln", "pncid")},
    }
    count = len(records.ids)
    missing = pl.Series([None], dtype=pl.String).new_from_index(0, count)
    kept = pl.DataFrame([(columns[name] or [missing])[0].alias(name) for name in KEPT])
    kept = kept.with_columns(
        pl.all().cast(pl.String).str.replace_all(r"[\x00-\x1f]", " ").str.slice(0, _LONGEST)
    )
    return kept.select(
        records.ids.alias("row_ref"),
        _column(records, family_column, "family").alias("family"),
        _said(records, protected_column).alias("protected"),
        *KEPT,
    )


def without_child_ninos(rows: pl.DataFrame, day: date) -> tuple[pl.DataFrame, int]:
    """The rows without the National Insurance numbers of children, who have none, and how many there were.

    A number is given shortly before the sixteenth birthday; an earlier one is another's, and is not kept.

    Args:
        rows: text columns born (YYYY-MM-DD, or null) and nino, among others.
        day: on which age is reckoned.
    """
    born = pl.col("born").str.to_date("%Y-%m-%d", strict=False)
    child = (born.dt.offset_by(f"{NINO_FROM}y") > day).fill_null(False) & pl.col("nino").is_not_null()
    kept = rows.with_columns(pl.when(~child).then("nino").alias("nino"))
    return kept, rows["nino"].count() - kept["nino"].count()


def _joined(parts: Sequence[pl.Series], separator: str) -> list[pl.Series]:
    """Texts of a row as one, or nothing where there is no column of them."""
    if not parts:
        return []
    frame = pl.DataFrame([part.alias(str(place)) for place, part in enumerate(parts)])
    joined = frame.select(one=pl.concat_str(pl.all(), separator=separator, ignore_nulls=True))["one"]
    return [joined.replace("", None)]


def _column(records: Records, name: str, what: str) -> pl.Series:
    if not name:
        return pl.Series([None], dtype=pl.String).new_from_index(0, len(records.ids))
    if name not in records.frame.columns:
        raise _no_column(name, what)
    return records.frame[name]


def _no_column(name: str, what: str) -> LinkerError:
    return LinkerError(
        f"The submission has no column '{name}' that takes part, for {what}.",
        "Name one that it has; families' references are kept if mapped as household, marks as protected.",
    )


def _said(records: Records, name: str) -> pl.Series:
    """Which records are protected; where nothing is said, it is not."""
    text = _column(records, name, "protected").fill_null("").str.to_lowercase()
    odd = (~text.is_in([*_YES, *_NO])).arg_true()
    if len(odd):
        refused = records.refusals.filter("refused")["row"].cast(pl.Int64)
        rows = pl.int_range(1, len(text) + len(refused) + 1, eager=True)
        row = rows.filter(~rows.is_in(refused.implode()))[odd[0]]
        raise LinkerError(
            f"Row {row:,} says neither yes nor no in '{name}' (CODE_UNKNOWN); {len(odd):,} in all.",
            "Correct the file, and send it in a new batch.",
        )
    return text.is_in(_YES)


def _linked(
    job: Job, rows: pl.DataFrame, known: pl.DataFrame, model: Model | None, progress: Progress
) -> linker.Deduplication | None:
    """What the engine finds; None where there is nobody to compare with."""
    given = [name for name in KEPT if rows[name].count() + known[name].count()]
    fields = tuple(Field(KEPT[name].value, KEPT[name], (name,), "as kept") for name in given)
    if not fields:
        raise RecordsError("No record has anything to compare.", "Say what the columns are.")
    mine = screened(rows.select(pl.col("row_ref").alias("id"), *given), Layout("id", fields, ()))
    others = screened(known.select(_place(), *given), Layout("id", fields, ()))
    sides = [side for side in (mine, others) if len(side.ids)]
    if sum(len(side.ids) for side in sides) < 2 or not len(mine.ids):
        return None
    return linker.dedupe(
        *sides, model=model, threshold=job.work.threshold, seed=job.work.seed, progress=progress
    )


def _place() -> pl.Expr:
    """What a known record is called while it is linked: its place, so that its id settles no tie."""
    return pl.int_range(pl.len()).cast(pl.String).str.zfill(12).alias("id")


def _named(pairs: pl.DataFrame, rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Pairs in which a row of the submission is, by the ids that the sides themselves have."""
    records = known.select("record", id=_place())
    found = pairs
    for side in ("left_id", "right_id"):
        plain = pl.col(side).str.replace("^[12]:", "")
        found = (
            found.with_columns(plain.alias(side))
            .join(records, left_on=side, right_on="id", how="left", maintain_order="left")
            .with_columns(pl.coalesce("record", side).alias(side))
            .drop("record")
        )
    mine = rows["row_ref"].implode()
    return found.filter(pl.col("left_id").is_in(mine) | pl.col("right_id").is_in(mine))


def _guarded(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    return frame.filter("protected").select(id=column)
