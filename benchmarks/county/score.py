"""How good links are against a county's truth: overall, by what went wrong, and for whom.

    truth/records, truth/people ─┐
    links or clusters ───────────┴─▶ shares with their 95% intervals, one a row

Two records are a true pair if they are of one person and one identity. Each row of a score is a share: of the
links those that are true (precision), of the true pairs those that were linked (recall), of the links those
that join a person with a twin, a brother, a stranger (false links). Counts and intervals are
`linker.evaluate`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import polars as pl

from benchmarks.county.records import BIT
from benchmarks.dates import TODAY
from linker.evaluate import Quality, cluster_quality, link_quality, wilson

SCHEMA = {
    "dataset": pl.String, "stage": pl.String, "measure": pl.String, "by": pl.String, "group": pl.String,
    "count": pl.Int64, "of": pl.Int64, "rate": pl.Float64, "low": pl.Float64, "high": pl.Float64,
}  # fmt: skip
#: Who two people of a false link are to each other; the first that holds counts.
RELATIONS = (
    "same person, other identity", "twin", "sibling", "parent and child of one name", "parent and child",
    "same household", "cousin", "stranger",
)  # fmt: skip
AGES = (5, 16, 25, 45)
GROUPS = ("sex", "age", "community", "moved", "arm")
#: What parts the two records of a pair though neither is misspelt: they are from different days or habits.
CHANGES = {"moved": "home", "surname_changed": "surname", "other_forename": "forename"}
_PAIR = ["left_id", "right_id"]


@dataclass(frozen=True)
class Truth:
    """The truth of a county, as `write.py` put it into its folder.

    Attributes:
        records: file, record_id, person, identity, family, home, surname, forename, slips.
        people: person, household, kin, sex, born, community, moved, forename, parent_1,
            parent_2, twin_of, arm.
    """

    records: pl.DataFrame
    people: pl.DataFrame

    @classmethod
    def read(cls, folder: Path, files: Sequence[str] | None = None) -> Truth:
        """Read FOLDER/truth, of some files alone where they are named: no more than these is in memory."""
        records, people = (pl.scan_parquet(folder / f"{name}.parquet") for name in ("records", "people"))
        arms = pl.scan_parquet(folder / "families.parquet").select("household", "arm")
        if files is not None:
            records = records.filter(pl.col("file").is_in(files))
        known = records.collect()
        if files is not None:
            people = people.join(known.lazy().select("person"), on="person", how="semi")
        return cls(known, people.join(arms, on="household", how="left").collect(engine="streaming"))

    def of(self, files: Sequence[str]) -> pl.DataFrame:
        """The records of some files, their ids unique, with what is known of the persons.

        Raises:
            ValueError: no record of one of the files is known, or two files share an id.
        """
        known = self.records.filter(pl.col("file").is_in(files))
        unknown = sorted(set(files) - set(known["file"].unique()))
        if unknown:
            have = ", ".join(sorted(self.records["file"].unique()))
            raise ValueError(f"The truth knows no file {', '.join(unknown)}; it knows {have}.")
        if known["record_id"].is_duplicated().any():
            raise ValueError("Two of the files share ids: score deliveries one by one.")
        age = (pl.lit(TODAY) - pl.col("born")).dt.total_days() / 365.2425
        younger = (pl.when(age < edge).then(pl.lit(name)) for edge, name in zip(AGES, _bands(), strict=False))
        band = pl.coalesce(*younger, pl.lit(_bands()[-1])).alias("age")
        return known.join(
            self.people.with_columns(band, pl.col("arm").fill_null("none")).rename({"forename": "given"}),
            on="person",
            how="left",
            maintain_order="left",
        ).with_columns(pl.format("{}/{}", "person", "identity").alias("entity"))


def score_links(truth: Truth, left: Sequence[str], right: str, links: pl.DataFrame) -> pl.DataFrame:
    """Score links of some files to another.

    Args:
        truth: of the county.
        left: the files of the left side, such as a delivery of each council.
        right: the file of the right side, such as `registers/pnc`.
        links: left_id, right_id; of rows with an `outcome` only those LINKED count; with a `stage`, precision
            is also given by stage.

    Raises:
        ValueError: an id of a link, or a file, that the truth does not know.

    Returns:
        Rows of `SCHEMA`: stage `link` counts pairs of records, `person` persons, `family` families.
    """
    one, two = truth.of(left), truth.of([right])
    true = _pairs(one, two)
    quality = link_quality(links, true.select(_PAIR), left_ids=one["record_id"], right_ids=two["record_id"])
    found = _linked(links)
    for side, known in zip(_PAIR, (one, two), strict=True):
        strangers = found.filter(~pl.col(side).is_in(known["record_id"].implode())).height
        if strangers:
            raise ValueError(f"{strangers:,} links have a {side} that the truth does not know.")
    rows = [*_overall(quality), *_by_group(found, true, one, two), *_false(found, one, two)]
    rows += [*_persons(found, one, two), *_persons_missed(found, true, one, two), *_families(found, one, two)]
    return _table(right, rows)


def score_clusters(truth: Truth, files: Sequence[str], clusters: pl.DataFrame) -> pl.DataFrame:
    """Score clusters of the records of some files: record_id, cluster_id; stage `dedupe`."""
    known = truth.of(files)
    quality = cluster_quality(clusters, known.select("record_id", "entity"))
    ids = clusters.select(pl.col("record_id").cast(pl.String), "cluster_id")
    found = _within(ids.rename({"cluster_id": "entity"})).with_columns(pl.lit("dedupe").alias("stage"))
    true = _within(known)
    rows = [*_overall(quality), *_by_group(found, true, known, known), *_false(found, known, known)]
    hits = found.select(*_PAIR, pl.lit(True).alias("hit"))
    rows += _by_cause(_caused(true, known, known).join(hits, on=_PAIR, how="left"))
    return _table(", ".join(files), [("dedupe", *row[1:]) for row in rows])


def share(count: int, of: int) -> str:
    """A share in words, with its 95% interval."""
    low, high = wilson(count, of) or (float("nan"), float("nan"))
    return f"{count / of:.2%} ({low:.2%} to {high:.2%})" if of else "-"


_Row = tuple[str, str, str, str, int, int]  # stage, measure, by, group, count, of


def _overall(quality: Quality) -> list[_Row]:
    return [
        ("link", "precision", "all", "all", quality.tp, quality.tp + quality.fp),
        ("link", "recall", "all", "all", quality.tp, quality.tp + quality.fn),
    ]


def _by_group(
    found: pl.DataFrame, true: pl.DataFrame, one: pl.DataFrame, two: pl.DataFrame
) -> Iterator[_Row]:
    """Precision and recall of pairs of records by group of the left one, precision by stage."""
    links, pairs = _described(found, one, two), _described(true, one, two).drop("hit")
    pairs = pairs.join(found.select(*_PAIR, pl.lit(True).alias("hit")), on=_PAIR, how="left")
    for by in GROUPS:
        yield from _shares("link", "precision", links, by)
        yield from _shares("link", "recall", pairs.with_columns(pl.col("hit").fill_null(False)), by)
    yield from _shares("link", "precision", links, "stage")


def _false(found: pl.DataFrame, one: pl.DataFrame, two: pl.DataFrame) -> Iterator[_Row]:
    """Of all links, those that join a person with another, by who that is; and with nobody of the left."""
    links = _described(found, one, two)
    wrong = links.filter(~pl.col("hit")).select(_relation().alias("relation"))["relation"]
    counts = dict(wrong.value_counts().iter_rows())
    for relation in RELATIONS:
        yield "link", "false links", "relation", relation, counts.get(relation, 0), links.height
    nobody = links.filter(~pl.col("entity_right").is_in(one["entity"].unique().implode())).height
    yield "link", "false links", "nobody's", "nobody's", nobody, links.height


def _persons_missed(
    found: pl.DataFrame, true: pl.DataFrame, one: pl.DataFrame, two: pl.DataFrame
) -> Iterator[_Row]:
    """Of the persons who have a true pair with an error or a change, those who are found.

    Each person counts once, however many records they are in; under `none` and `not moved` who has no such
    pair.
    """
    right = _described(found, one, two).filter("hit")["entity"]
    pairs = _caused(true, one, two).group_by("entity", maintain_order=True)
    persons = pairs.agg(pl.col(*BIT, *CHANGES).any())
    return _by_cause(persons.with_columns(hit=pl.col("entity").is_in(right.implode())))


def _caused(true: pl.DataFrame, one: pl.DataFrame, two: pl.DataFrame) -> pl.DataFrame:
    """True pairs: left_id, right_id, entity; of each error and change whether it parts the two records."""
    pairs = _described(true, one, two)
    slips = pl.col("slips") | pl.col("slips_right")
    return pairs.select(
        *_PAIR,
        "entity",
        *(((slips & bit) != 0).alias(slip) for slip, bit in BIT.items()),
        *((pl.col(column) != pl.col(f"{column}_right")).alias(name) for name, column in CHANGES.items()),
    )


def _by_cause(frame: pl.DataFrame) -> Iterator[_Row]:
    """Recall of persons, or of pairs, by what went wrong with them or changed."""
    cases = [("error", slip, pl.col(slip)) for slip in BIT]
    cases += [("error", "none", ~pl.any_horizontal(*BIT))]
    for name in CHANGES:
        cases += [("change", name, pl.col(name)), ("change", f"not {name}", ~pl.col(name))]
    for by, name, condition in cases:
        chosen = frame.filter(condition)
        yield "person", "recall", by, name, int(chosen["hit"].sum()), chosen.height


def _persons(found: pl.DataFrame, one: pl.DataFrame, two: pl.DataFrame) -> Iterator[_Row]:
    """A person is found if any of his records is linked to any of his on the right, wrong if to another's."""
    people = _per_entity(found, one, two).with_columns(pl.lit("all").alias("all"))
    linked = people.filter(pl.col("right") + pl.col("wrong") > 0)
    for by in ("all", *GROUPS):
        yield from _shares("person", "precision", linked.with_columns(hit=pl.col("wrong") == 0), by)
        have = people.filter("there").with_columns(hit=pl.col("right") > 0)
        yield from _shares("person", "recall", have, by)


def _families(found: pl.DataFrame, one: pl.DataFrame, two: pl.DataFrame) -> list[_Row]:
    """A family is whole if every member who is on the right is found, clean if none is linked to another."""
    if one["family"].null_count():
        return []
    members = one.select("family", "entity").unique().join(_per_entity(found, one, two), on="entity")
    families = members.group_by("family").agg(
        have=pl.col("there").sum(),
        found=(pl.col("there") & (pl.col("right") > 0)).sum(),
        links=(pl.col("right") + pl.col("wrong")).sum(),
        wrong=pl.col("wrong").sum(),
    )
    have, linked = families.filter(pl.col("have") > 0), families.filter(pl.col("links") > 0)
    return [
        ("family", "precision", "all", "all", linked.filter(pl.col("wrong") == 0).height, linked.height),
        (
            "family",
            "recall",
            "all",
            "all",
            have.filter(pl.col("found") == pl.col("have")).height,
            have.height,
        ),
    ]


def _per_entity(found: pl.DataFrame, one: pl.DataFrame, two: pl.DataFrame) -> pl.DataFrame:
    """One row a person and identity of the left: whether on the right, links right and wrong."""
    links = _described(found, one, two).group_by("entity").agg(
        right=pl.col("hit").sum().cast(pl.Int64), wrong=(~pl.col("hit")).sum().cast(pl.Int64)
    )  # fmt: skip
    there = two.select("entity", pl.lit(True).alias("there")).unique()
    return (
        one.unique("entity", maintain_order=True)
        .select("entity", *GROUPS)
        .join(there, on="entity", how="left")
        .join(links, on="entity", how="left")
        .with_columns(pl.col("there").fill_null(False), pl.col("right", "wrong").fill_null(0))
    )


def _described(pairs: pl.DataFrame, one: pl.DataFrame, two: pl.DataFrame) -> pl.DataFrame:
    """Pairs with what is known of both persons; `hit`: whether they are one."""
    made = pairs.join(one, left_on="left_id", right_on="record_id", maintain_order="left")
    made = made.join(two, left_on="right_id", right_on="record_id", maintain_order="left")
    return made.with_columns((pl.col("entity") == pl.col("entity_right")).alias("hit"))


def _relation() -> pl.Expr:
    """Who two different people are to each other, an entry of `RELATIONS`."""

    def parent_of(child: str, parent: str) -> pl.Expr:
        known = [pl.col(f"{which}{child}") == pl.col(f"person{parent}") for which in ("parent_1", "parent_2")]
        return pl.any_horizontal(*(one.fill_null(False) for one in known))

    twin, twin_right = (pl.coalesce(f"twin_of{side}", f"person{side}") for side in ("", "_right"))
    shared = [
        (pl.col(mine) == pl.col(f"{yours}_right")).fill_null(False)
        for mine in ("parent_1", "parent_2")
        for yours in ("parent_1", "parent_2")
    ]
    family = parent_of("", "_right") | parent_of("_right", "")
    holds = (
        pl.col("person") == pl.col("person_right"),
        twin == twin_right,
        pl.any_horizontal(*shared),
        family & (pl.col("given") == pl.col("given_right")),
        family,
        pl.col("household") == pl.col("household_right"),
        pl.col("kin") == pl.col("kin_right"),
    )
    cases = [pl.when(one).then(pl.lit(name)) for one, name in zip(holds, RELATIONS, strict=False)]
    return pl.coalesce(*cases, pl.lit(RELATIONS[-1]))


def _pairs(one: pl.DataFrame, two: pl.DataFrame) -> pl.DataFrame:
    other = two.select("entity", pl.col("record_id").alias("right_id"))
    return one.select("entity", pl.col("record_id").alias("left_id")).join(other, on="entity").select(_PAIR)


def _within(known: pl.DataFrame) -> pl.DataFrame:
    made = _pairs(known, known).filter(pl.col("left_id") < pl.col("right_id"))
    return made


def _linked(links: pl.DataFrame) -> pl.DataFrame:
    if "outcome" in links.columns:
        links = links.filter(pl.col("outcome").cast(pl.String) == "LINKED")
    stage = pl.col("stage").cast(pl.String) if "stage" in links.columns else pl.lit("link").alias("stage")
    return links.select(pl.col(_PAIR).cast(pl.String), stage).unique(_PAIR, maintain_order=True)


def _shares(stage: str, measure: str, frame: pl.DataFrame, by: str) -> list[_Row]:
    parts = frame.group_by(by).agg(pl.col("hit").sum().cast(pl.Int64), pl.len().cast(pl.Int64)).sort(by)
    return [(stage, measure, by, str(group), hits, many) for group, hits, many in parts.iter_rows()]


def _table(dataset: str, rows: Iterable[_Row]) -> pl.DataFrame:
    full = []
    for row in rows:
        count, of = row[-2:]
        low, high = wilson(count, of) or (None, None)
        full.append((dataset, *row, count / of if of else None, low, high))
    return pl.DataFrame(full, SCHEMA, orient="row")


def _bands() -> list[str]:
    edges = [str(edge) for edge in AGES]
    return [
        f"under {edges[0]}",
        *(f"{a}-{int(b) - 1}" for a, b in pairwise(edges)),
        f"{edges[-1]}+",
    ]
