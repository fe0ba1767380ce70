"""Steps: a standardisation as named steps, each computed once.

An expression that uses an earlier one twice doubles it, and a handful of such uses makes a plan that
takes longer than the data. So every standardisation is one struct that grows step by step, and a
step refers to what was made before it by name, with `pl.field`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

#: The step that holds the reason code for which a value is set aside.
PROBLEM = "_problem"


@dataclass(frozen=True)
class Standard:
    """A standardisation of one column.

    Attributes:
        whole: one struct with every step; steps whose name begins with "_" are scaffolding.
        names: the parts in order; "" is the canonical value.
    """

    whole: pl.Expr
    names: tuple[str, ...]

    def part(self, name: str) -> pl.Expr:
        """One step by itself. Asking for many is better done through `whole`."""
        return self.whole.struct.field(name)


def let(raw: pl.Expr, *steps: Mapping[str, pl.Expr]) -> Standard:
    """Build a standardisation; steps see `pl.field("_raw")` and all fields of the steps before."""
    whole = pl.struct(raw.cast(pl.String).alias("_raw"))
    for step in steps:
        whole = whole.struct.with_fields(*(made.alias(name) for name, made in step.items()))
    names = dict.fromkeys(name for step in steps for name in step if not name.startswith("_"))
    return Standard(whole, tuple(names))


def first_reason(*cases: tuple[pl.Expr, str]) -> pl.Expr:
    """The reason code of the first condition that holds, or null."""
    return pl.coalesce(*(pl.when(condition).then(pl.lit(reason)) for condition, reason in cases))
