"""What the attributes of families may be: the dataset that a scheme declares, and rows as it wants them.

Of a date of birth there is the quarter, of other dates the month. Problems and their indicators have the
tags of the law; their number has those of all of them, since at its largest it tells each.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

import polars as pl

from pseudonym.datasets import Column, Dataset, Kind, Tag
from pseudonym.study.fields import PROBLEMS, SOURCE, SOURCES, Form, Part, fields
from pseudonym.study.layouts import Layout
from pseudonym.study.schemes import Scheme, names

DATASET = "families"


def dataset(scheme: Scheme, councils: Collection[str]) -> Dataset:
    """The declaration of what is known of families under a scheme.

    Args:
        scheme: the scheme.
        councils: the codes of all councils of the project; more may be declared later.
    """
    tags = {
        name: problem.tags
        for problem in scheme.problems
        for name in (problem.column, *(indicator.code for indicator in problem.indicators))
    }
    every = frozenset[Tag]().union(*tags.values())
    made = [
        Column("council", Kind.CODE, codes=tuple(sorted(councils))),
        Column("scheme", Kind.CODE, codes=names()),
        Column("as_of", Kind.MONTH),
        Column("birth_quarter", Kind.QUARTER),
        Column("family_problems", Kind.INTEGER, 0, len(scheme.problems), tags=every),
    ]
    for field in fields(scheme).values():
        name = field.name
        if name == f"{PROBLEMS}{SOURCE}":
            made.append(Column(name, Kind.CODE, codes=tuple(SOURCES)))
        elif field.part is not Part.ATTRIBUTES:
            continue
        elif field.form is Form.CODE:
            made.append(Column(name, Kind.CODE, codes=field.codes))
        elif field.form is Form.FLAG:
            made.append(Column(name, Kind.FLAG, tags=tags[name]))
        else:
            made.append(Column(name, Kind.MONTH))
    return Dataset(DATASET, tuple(made))


def attributes(rows: pl.DataFrame, layout: Layout, day: date) -> pl.DataFrame:
    """The attributes of rows as `dataset` declares them, all text.

    Args:
        rows: those that leave: all columns of `fields.fields`, and `family_problems`.
        layout: the council's.
        day: of the delivery.
    """
    known = fields(layout.scheme)
    declared = dataset(layout.scheme, [layout.council])
    born = pl.col("date_of_birth")
    special = {
        "council": pl.lit(layout.council),
        "scheme": pl.lit(layout.scheme.name),
        "as_of": pl.lit(f"{day:%Y-%m}"),
        "birth_quarter": pl.format("{}-Q{}", born.dt.year(), born.dt.quarter()),
        "family_problems": pl.col("family_problems").cast(pl.String),
    }
    made = []
    for column in declared.columns:
        value = special.get(column.name, pl.col(column.name))
        if column.kind is Kind.FLAG:
            value = value.replace_strict([True, False], ["yes", "no"], default=None, return_dtype=pl.String)
        elif column.name in known and known[column.name].form is Form.DATE:
            value = value.dt.to_string("%Y-%m")
        made.append(value.cast(pl.String).alias(column.name))
    return rows.select(made)
