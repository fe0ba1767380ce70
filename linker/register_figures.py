"""What the job of a register says of its linking: the quality report (R74) and the manifest (R78).

    report and manifest of the linkage of records ─┐
    outcomes of persons, once people have judged ──┴─▶ figures ─▶ counts of persons, shares, digests

The rules this module keeps:

- Counts are of persons, and whoever was kept out counts as somebody of whom nothing was found: no figure, nor
  one figure less another, says that there was somebody.
- A group of few is told with others or not at all, counts of a group are rounded, and so are its shares: no
  group less the others is a handful of people.
- No id and no value of a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any as Json
from typing import Final

import polars as pl

from linker.digest import digest
from linker.evaluate import wilson
from linker.evidence import CLERICAL
from linker.profiles.figures import FEW, expected_precision, linked_by, missed, stages
from linker.profiles.outcomes import NOT_APPLICABLE
from linker.profiles.sides import Period

BASE: Final = 5
"""Counts of a group are told to the nearest multiple of this."""
WHO: Final = ("born", "sex", "postcode")
"""The columns of a person that groups are made of."""
OTHER: Final = "other"
_LINKED: Final = "LINKED"
_LOOKED_AT: Final = ("REVIEW", "AMBIGUOUS")
_AS_FOUND: Final = (
    "profile", "title", "period", "keys_left_out", "thresholds", "highest_weight", "one_to_one_conflicts",
    "beyond_most", "guarded", "household", "rules", "rules_left_out", "model", "warnings",
)  # fmt: skip
"""What a report of records says that depends on pairs alone, and on no number of those who are known."""
_COUNTED: Final = ("records", "refused", "set_aside")


def figures(
    report: Mapping[str, Json],
    outcomes: pl.DataFrame,
    persons: pl.DataFrame,
    period: Period,
) -> dict[str, Json]:
    """The report of a register's job.

    Args:
        report: of the linkage of records (`linker.profiles.figures`).
        outcomes: `person`, `outcome`, `stage`, `key`, `weight` and `probability` of persons and rows.
        persons: `person`, `outcome` and `WHO` (text) of everybody once, those who were kept out among them.
        period: of the extract.

    Returns:
        Plain data. `expected_precision` and `missed` leave out links that people decided.
    """
    links = outcomes.filter(pl.col("outcome") == _LINKED)
    by_model = links.filter(pl.col("stage").ne_missing(CLERICAL))
    waiting = persons.filter(~pl.col("outcome").is_in([_LINKED, NOT_APPLICABLE]))
    best = (
        outcomes.sort("weight", descending=True, nulls_last=True, maintain_order=True)
        .unique("person", keep="first", maintain_order=True)
        .select("person", "weight", "probability")
    )
    return {
        **{name: report[name] for name in _AS_FOUND},
        "expected_precision": expected_precision(by_model),
        "missed": missed(waiting.join(best, on="person", how="left"), by_model),
        "keys": stages(links, outcomes.filter(pl.col("outcome").is_in(_LOOKED_AT))),
        "linked_by": _groups(persons, period),
    }


def manifest(made: Mapping[str, Json], linked: Mapping[str, int], judged: pl.DataFrame) -> dict[str, Json]:
    """The manifest of a register's job.

    Args:
        made: the manifest of the linkage of records; its `results` are what was found before people's word.
        linked: what the job counted of persons and rows.
        judged: what people had settled: it has a part in what was linked.
    """
    known, extract = made["inputs"]
    return {
        **made,
        "asked": {name: one for name, one in made["asked"].items() if name != "protected"},
        "inputs": [{name: one for name, one in known.items() if name not in _COUNTED}, extract],
        "judged": digest(judged),
        "counts": dict(linked),
    }


def _groups(persons: pl.DataFrame, period: Period) -> list[dict[str, Json]]:
    """Linked against applicable persons by age, sex and area, in groups that are no handful."""
    people = persons.select(
        "sex",
        id="person",
        born=pl.col("born").str.to_date("%Y-%m-%d", strict=False),
        area=pl.col("postcode").str.replace_all(" ", "").str.head(-3).replace("", None),
        arm=pl.lit(None, pl.String),
    )
    made = linked_by(people, persons.select("outcome", left_id="person"), period)
    found = pl.DataFrame(made, infer_schema_length=None)
    if found.is_empty():
        return []
    told = (
        found.group_by(
            "by",
            pl.when(pl.col("records") < FEW).then(pl.lit(OTHER)).otherwise("group").alias("group"),
            maintain_order=True,
        )
        .agg(pl.col("records", "applicable", "linked").sum())
        .filter(pl.col("records") >= FEW)
    )
    return [_group(*row) for row in told.rows()]


def _group(by: str, group: str, persons: int, applicable: int, linked: int) -> dict[str, Json]:
    """A group as it is told; one of few applicable persons has no share."""
    many = applicable >= FEW
    low, high = (many and wilson(linked, applicable)) or (None, None)
    shares = {"share": linked / applicable if many else None, "low": low, "high": high}
    return {
        "by": by,
        "group": group,
        "persons": _rounded(persons),
        "applicable": _rounded(applicable) if many or not applicable else None,
        "linked": _rounded(linked) if many else None,
        **{name: None if one is None else round(one, 2) for name, one in shares.items()},
    }


def _rounded(count: int) -> int:
    return BASE * round(count / BASE)
