"""A council's delivery: its file looked through, decided about, and divided into two halves.

    file ──check──▶ Delivery ──divide──▶ Division: identifiers │ attributes │ receipt

The same content is one submission: its batch id and row references are made of what leaves, under the
council's own key, since a hash of one family could be tried out. Nothing of what stays is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Any

import polars as pl

from pseudonym import halves
from pseudonym.datasets import Dataset
from pseudonym.errors import CouncilFileError
from pseudonym.study import checks, withdrawals
from pseudonym.study.declaring import DATASET, attributes, dataset
from pseudonym.study.eligibility import Outcome, decide, shared
from pseudonym.study.explaining import explain
from pseudonym.study.fields import PROBLEMS, Part, fields
from pseudonym.study.layouts import Layout
from pseudonym.study.members import families_of
from pseudonym.study.reading import Read, read
from pseudonym.study.secret import stream
from pseudonym.urn import prf
from pseudonym.values import accept, looks_like_an_identifier

RECEIPT = "kinlink-council-receipt/1"
_BATCH_BYTES = 16


@dataclass(frozen=True, eq=False)
class Delivery:
    """A file that was looked through.

    Attributes:
        layout: how it was read. day: that it speaks of.
        in_file: rows of the file.
        leaving: the rows that leave, in our columns.
        faults: as `reading.FAULTS`: the rows and values that were refused or set aside.
        families: as `eligibility.decide` gives them.
        unknown: families and members to be left out of whom the file has none.
    """

    layout: Layout
    day: date
    in_file: int
    leaving: pl.DataFrame
    faults: pl.DataFrame
    families: pl.DataFrame
    unknown: int

    def __repr__(self) -> str:
        return f"Delivery(rows={self.in_file}, leaving={self.leaving.height})"

    def explanations(self) -> pl.DataFrame:
        """Why each family is shared or is not, as `explaining.explain`."""
        return explain(self.families, self.layout.scheme, self.day)

    def not_told(self) -> list[str]:
        """The problems of which the layout has nothing: they count for no family."""
        listed = {ours for one in self.layout.sources if one.field.name == PROBLEMS for _, ours in one.codes}
        told = self.layout.fields | listed
        return [
            problem.code
            for problem in self.layout.scheme.problems
            if not told & {problem.column, *(indicator.code for indicator in problem.indicators)}
        ]

    def figures(self) -> dict[str, Any]:
        """Counts, and nothing else: of rows, of families by outcome and by arm, of faults by code."""
        refused = self.faults.filter("refused")["row"].n_unique()
        outcomes = dict(self.families.group_by("outcome").len().iter_rows())
        arms = self.leaving.unique("family").group_by("arm").len().sort("arm", nulls_last=True)
        several = families_of(self.leaving, self.day).filter(pl.col("families").list.len() > 1)
        return {
            "rows": {"in_file": self.in_file, "refused": refused, "leaving": self.leaving.height},
            "families": {outcome.value: outcomes.get(outcome.value, 0) for outcome in Outcome},
            "people_in_several": several.height,
            "leaving_by_arm": {arm or "not said": count for arm, count in arms.iter_rows()},
            "rows_refused": checks.counts(self.faults, refused=True),
            "values_set_aside": checks.counts(self.faults, refused=False),
            "left_out_not_in_file": self.unknown,
        }


@dataclass(frozen=True, eq=False)
class Division:
    """A delivery in two halves.

    Attributes:
        halves: what goes to whom.
        dataset: what the attributes are declared as.
        receipt: counts, the batch id, and how the halves were made; nothing of a person.
    """

    halves: halves.Halves
    dataset: Dataset
    receipt: dict[str, Any]


def _most(faults: pl.DataFrame, layout: Layout) -> str:
    """Why rows are refused and in which of the council's columns, the most frequent first."""
    columns = {source.field.name: source.column for source in layout.sources}
    found = (
        faults.filter("refused")
        .group_by("code", "field")
        .len()
        .sort("len", "code", "field", descending=[True, False, False])
    )
    return ", ".join(
        f"{code} in {columns[field]} ({number:,})" if columns.get(field) else f"{code} ({number:,})"
        for code, field, number in found.iter_rows()
    )


def check(
    frame: pl.DataFrame, layout: Layout, day: date, left_out: pl.DataFrame = withdrawals.NOBODY
) -> Delivery:
    """Look through a council's file and decide about its families.

    Args:
        frame: the file, all text, as `files.read` gives it.
        layout: the council's.
        day: that the file speaks of.
        left_out: as `withdrawals.read` gives it.

    Raises:
        CouncilFileError: the file has not the layout's structure, or no row of it can be used.
    """
    arrived = read(frame, layout)
    marked = withdrawals.mark(arrived.rows, left_out)
    # Who is left out is gone before anything is looked at: no fault is told of them, nor held against them.
    out, rest = marked.drop_nulls("withdrawn"), marked.filter(pl.col("withdrawn").is_null())
    untold = arrived.faults.join(out, on="row", how="anti")
    found = checks.check(Read(rest.drop("withdrawn"), untold), day)
    if rest.height and not found.rows.height:
        raise CouncilFileError(
            f"All rows of the file are refused: {_most(found.faults, layout)}.",
            "Correct the file or its layout.",
        )
    rows = pl.concat([found.rows.with_columns(withdrawn=pl.lit(None, pl.String)), out])
    # A row that is there twice was told once already: without the second one nothing is missing.
    repeated = found.faults.filter(code="ROW_REPEATED")
    refused = rest.join(rows, on="row", how="anti").join(repeated, on="row", how="anti")
    families = decide(rows, refused.select("family"), layout.scheme, day)
    leaving = shared(rows, families, day).join(
        families.select("family", family_problems="problems"), on="family", maintain_order="left"
    )
    # The arm is the family's: what one row of it says holds for those that say nothing.
    leaving = leaving.with_columns(arm=pl.col("arm").drop_nulls().first().over("family"))
    armless = leaving.filter(pl.col("arm").is_null()).select(
        "row", field=pl.lit("arm"), code=pl.lit("ARM_MISSING"), refused=pl.lit(False)
    )
    named = left_out.select(pl.coalesce("member", "family").alias("reference"))
    known = pl.concat([arrived.rows["family"], arrived.rows["member"]]).drop_nulls()
    unknown = named.filter(~pl.col("reference").is_in(known.implode())).height
    faults = pl.concat([found.faults, armless]).sort("row", "field", "code", nulls_last=True)
    return Delivery(layout, day, frame.height, leaving, faults, families, unknown)


def as_sent(rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Columns of rows that leave as they are written in the identifiers: text, flags as yes and no."""
    return rows.select(
        pl.col(name).replace_strict([True, False], ["yes", "no"], default=None, return_dtype=pl.String)
        if rows.schema[name] == pl.Boolean
        else pl.col(name).cast(pl.String)
        for name in names
    )


def divide(delivery: Delivery, key: bytes) -> Division:
    """Divide what leaves into identifiers and attributes.

    The same content under the same key gives the same halves, row references and all, and the same batch id.

    Args:
        delivery: what was looked through.
        key: the council's own, from `secret.council_key`.

    Raises:
        CouncilFileError: no family is eligible, so that there is nothing to divide.
        ValuesRefused: an attribute is not what the dataset declares.
    """
    layout, day = delivery.layout, delivery.day
    if not delivery.leaving.height:
        raise CouncilFileError("No family of the file is eligible.", "There is nothing to send.")
    known = fields(layout.scheme)
    own = [name for name in known if known[name].part is Part.IDENTIFIERS and name in layout.fields]
    who = as_sent(delivery.leaving, own)
    what = attributes(delivery.leaving, layout, day)
    declared = dataset(layout.scheme, [layout.council])
    accept(what, declared, looks_like_an_identifier)
    # In an order of their own, so that the file's makes no difference.
    rows = pl.concat([who, what], how="horizontal").select(sorted([*who.columns, *what.columns]))
    rows = rows.sort(rows.columns, nulls_last=True)
    content = sha256(rows.write_csv(null_value="\x00", quote_style="always").encode()).digest()
    about = (layout.scheme.name, layout.council, f"{day}", content)
    made = halves.divide(rows, own, what.columns, stream(key, "council-halves/1", *about))
    batch = prf(key, "council-batch/1", *about)[:_BATCH_BYTES].hex()
    receipt = {
        "format": RECEIPT,
        "batch": f"{layout.scheme.name}-{layout.council.lower()}-{day}-{batch}",
        "council": layout.council,
        "scheme": layout.scheme.name,
        "minimum": layout.scheme.minimum,
        "day": f"{day}",
        "dataset": DATASET,
        "layout": layout.digest,
        "columns": {"identifiers": made.identifiers.columns, "attributes": made.attributes.columns},
        **delivery.figures(),
    }
    return Division(made, declared, receipt)
