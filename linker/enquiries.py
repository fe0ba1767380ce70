"""Answers to questions whether somebody, or a home, is on one's own list: yes, no, or not found.

    list ──read──▶ records, with yes or no ──model, or same_homes──▶ who is meant ──▶ an answer each

The rules this module keeps:

- An answer is one of three words; no record, weight or reason comes with it.
- Whoever is not found, and whoever could be several with different answers, is not found. A record that could
  be about two of those asked for answers for neither.
- A home is found by its address alone, a person by what was asked and never by an address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import polars as pl

from linker.arrival import arrive
from linker.derive import standard_columns
from linker.enquiry_model import LEAD, NEEDED, THRESHOLD, enquiry_model
from linker.errors import LayoutError, LinkerError, RecordsError
from linker.files import read_frame
from linker.predict import scan_candidates
from linker.premises import homes, same_homes
from linker.program import compile_tests, compile_weights
from linker.records import Kind, Records
from linker.standardise import table
from linker.workup import agreed, work_up

PERSON = ("forename", "surname", "date_of_birth", "nino")
HOME = ("address", "postcode", "uprn")
Error = LinkerError
_ROW = "kinlink_row"  # an id of our own: one person may be on a list many times
_ASKED = "kinlink_asked"
_SAID = {
    **dict.fromkeys(("yes", "y", "true", "t", "1"), "yes"),
    **dict.fromkeys(("no", "n", "false", "f", "0"), "no"),
}


class Reply(StrEnum):
    """All that is ever answered."""

    YES = "yes"
    NO = "no"
    NOT_FOUND = "not_found"


@dataclass(frozen=True)
class OwnList:
    """A list to look people or homes up in.

    Attributes:
        records: its rows, as they were understood.
        replies: for each record `yes` or `no`.
    """

    records: Records
    replies: pl.Series


def own_list(path: Path, answer: str | None = None, mapping: Mapping[str, str] | None = None) -> OwnList:
    """Read a list; rows that hold nothing to compare are left out.

    Args:
        path: CSV, Parquet or Arrow.
        answer: the column with yes or no; without one everybody on the list is a yes.
        mapping: field → column, where a name does not say it.

    Raises:
        LinkerError: the file or its columns cannot be understood, or an answer is neither yes nor no.
    """
    frame = read_frame(path)
    replies = _said(frame, answer)
    numbered = frame.with_row_index(_ROW).with_columns(pl.col(_ROW).cast(pl.String))
    records = arrive(numbered, id_column=_ROW, mapping=mapping, ignore=[] if answer is None else [answer])
    return OwnList(records, replies.gather(records.ids.cast(pl.Int64)))


def answer_persons(questions: pl.DataFrame, own: OwnList) -> pl.DataFrame:
    """Answer questions about people.

    Args:
        questions: text columns question, and those of `PERSON` that were asked, date of birth as YYYY-MM-DD;
            several rows of one question are the members of one family.
        own: the list.

    Returns:
        Columns question and answer, one row a question. A family's is yes where a member's is; else no where
        a member's is; else not_found.

    Raises:
        LayoutError: the list has no names or dates of birth.
    """
    asked = [name for name in PERSON if name in questions.columns and questions[name].count()]
    _check_has(own.records, *NEEDED)
    people = questions.select(asked).unique(maintain_order=True).with_row_index(_ASKED)
    found = _replies(_persons_on(people.with_columns(pl.col(_ASKED).cast(pl.String)), own))
    each = questions.join(people, on=asked, nulls_equal=True).with_columns(pl.col(_ASKED).cast(pl.String))
    said = each.join(found, left_on=_ASKED, right_on="asked", how="left")
    rank = pl.col("reply").replace_strict({Reply.YES: 2, Reply.NO: 1}, default=0, return_dtype=pl.Int8)
    words = {2: Reply.YES.value, 1: Reply.NO.value, 0: Reply.NOT_FOUND.value}
    return (
        said.group_by("question")
        .agg(rank.max().alias("answer"))
        .with_columns(pl.col("answer").replace_strict(words, return_dtype=pl.String))
        .sort("question")
    )


def answer_homes(questions: pl.DataFrame, own: OwnList) -> pl.DataFrame:
    """Answer questions about homes.

    Args:
        questions: text columns question, and those of `HOME`; one row a question.
        own: the list.

    Returns:
        Columns question and answer, one row a question.

    Raises:
        LayoutError: the list has neither postcodes nor UPRNs.
    """
    kinds = {field.kind for field in own.records.layout.fields}
    if not kinds & {Kind.POSTCODE, Kind.UPRN, Kind.ADDRESS}:
        raise LayoutError(
            "The list has no addresses.",
            "It needs UPRNs, or addresses with postcodes; --map names the columns.",
        )
    pairs = same_homes(questions.select(HOME), homes(own.records))
    found = pairs.select(
        questions["question"].gather(pairs["left"]).alias("asked"),
        own.replies.gather(pairs["right"]).alias("reply"),
    )
    said = questions.select("question").join(_agreed(found), left_on="question", right_on="asked", how="left")
    return said.select("question", pl.col("reply").fill_null(Reply.NOT_FOUND.value).alias("answer")).sort(
        "question"
    )


def tidied(path: Path, mapping: Mapping[str, str] | None = None) -> pl.DataFrame:
    """A council's file with each date of birth as YYYY-MM-DD and each NINO in its canonical form, or null.

    Args:
        path: CSV, Parquet or Arrow.
        mapping: field → column; a field is named by its column otherwise.
    """
    frame = read_frame(path)
    for field, column in (mapping or {}).items():
        if column not in frame.columns:
            raise LayoutError("The file has no such column.", "--map is FIELD=COLUMN.")
        frame = frame.with_columns(pl.col(column).alias(field))
    if "date_of_birth" in frame.columns:
        days = table(Kind.DATE_OF_BIRTH, frame["date_of_birth"])[""]
        frame = frame.with_columns(
            days.str.replace(r"^(\d{4})(\d{2})(\d{2})$", "${1}-${2}-${3}").alias("date_of_birth")
        )
    if "nino" in frame.columns:
        frame = frame.with_columns(table(Kind.NINO, frame["nino"])[""].alias("nino"))
    return frame


def _said(frame: pl.DataFrame, answer: str | None) -> pl.Series:
    if answer is None:
        return pl.select(pl.repeat(Reply.YES.value, frame.height).alias("reply")).to_series()
    if answer not in frame.columns:
        raise LayoutError("The list has no such column for its answers.", "Name one that it has.")
    words = frame[answer].str.strip_chars().str.to_lowercase()
    replies = words.replace_strict(_SAID, default=None, return_dtype=pl.String).alias("reply")
    if odd := replies.null_count():
        raise RecordsError(
            f"{odd:,} rows of the list have neither yes nor no in the column for its answers.",
            "Write yes or no in each row, or take the row out.",
        )
    return replies


def _check_has(records: Records, *kinds: Kind) -> None:
    named = {field.kind for field in records.layout.fields}
    needed = set(kinds) - ({Kind.FORENAME, Kind.SURNAME} if Kind.FULL_NAME in named else set())
    if missing := needed - named:
        raise LayoutError(
            f"The list has no column of the kind {min(missing)}.", "Name it: --map surname=COLUMN."
        )


def _persons_on(people: pl.DataFrame, own: OwnList) -> pl.DataFrame:
    """The pairs that are one person: asked, reply (null where the record is as much another's), weight."""
    asked = [name for name in PERSON if name in people.columns]
    there = arrive(people, id_column=_ASKED, mapping={name: name for name in asked})
    sides = agreed((there, own.records))
    columns = [set(standard_columns(side).columns) for side in sides]
    model = enquiry_model(sides[0].layout.fields, columns[0] & columns[1], len(own.records.ids))
    work = work_up(sides, model)
    tests, weights = compile_tests(model.comparisons, work.encoded), compile_weights(model, work.encoded)
    scored = scan_candidates(work.encoded, work.blocks, tests, weights, THRESHOLD)
    reply = pl.DataFrame({"id": own.records.ids, "reply": own.replies})
    pairs = pl.DataFrame(
        {
            "asked": work.ids[0].gather(scored.left),
            "id": work.ids[-1].gather(scored.right),
            "weight": pl.Series(scored.weight),
        }
    )
    near = pairs.filter(pl.col("weight") > pl.col("weight").max().over("id") - LEAD)
    return near.join(reply, on="id").select(
        "asked", "weight", pl.when(pl.len().over("id") == 1).then("reply").alias("reply")
    )


def _replies(pairs: pl.DataFrame) -> pl.DataFrame:
    """One reply for each person asked about, of the best and those that are nearly as good."""
    return _agreed(pairs.filter(pl.col("weight") > pl.col("weight").max().over("asked") - LEAD))


def _agreed(found: pl.DataFrame) -> pl.DataFrame:
    """asked, reply: null where the replies differ or one is not known."""
    alike = (pl.col("reply").n_unique() == 1) & (pl.col("reply").null_count() == 0)
    return found.group_by("asked").agg(pl.when(alike).then(pl.col("reply").first()).alias("reply"))
