"""The demo's steps around the linkage: made-up files, a job, links held against the truth, an explanation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from deploy.demo_roles import DemoError, Sent, Service
from deploy.story import Story, bar, table
from pseudonym.roles.callers import Role

if TYPE_CHECKING:
    from linker.evaluate import Quality

SEED = 2026
HELP = ("key-worker", "parenting", "debt-advice", "employment-adviser", "none")


@dataclass(frozen=True, eq=False)
class Files:
    """The two files of the council, as it has them, and the truth about them.

    Attributes:
        rows: by name; columns of text.
        truth: left_id and right_id: which record of the second file is a copy of which of the first.
    """

    rows: dict[str, pl.DataFrame]
    truth: pl.DataFrame


def write_files(story: Story, folder: Path) -> Files:
    """FEBRL 4 as two CSV files of families, with attributes drawn at random, and the truth about them."""
    from linker.classifiers import febrl

    data = febrl(4)
    assert data.right is not None
    rows = {"first": data.left, "second": data.right}
    draw = np.random.default_rng(SEED)
    for name, frame in rows.items():
        # The council's own reference of a family: here any three people make one.
        family = frame["rec_id"].str.extract(r"rec-(\d+)-").cast(pl.Int64) // 3
        rows[name] = frame.with_columns(
            family=pl.format("F{}", family),
            problems=pl.Series(draw.integers(2, 7, frame.height)).cast(pl.String),
            persistent_absence=pl.Series(np.where(draw.random(frame.height) < 0.3, "yes", "no")),
            help=pl.Series(draw.choice(HELP, frame.height)),
        )
        rows[name].write_csv(folder / f"{name}.csv")
    data.truth.write_csv(folder / "truth.csv")
    story.say(
        f"{data.left.height:,} records, and {data.right.height:,} distorted copies of them: misspelt,",
        "swapped, mistyped and missing values. Attributes are drawn at random.",
    )
    return Files(rows, data.truth)


def link(story: Story, service: Service, left: str, right: str) -> str:
    """Run the linkage and return the id of its job."""
    with (
        service.linker(Role.LINKAGE_OPERATOR) as client,
        story.bar("Linking", "the first run compiles") as feed,
    ):
        job = client.wait(client.start_linkage(left, right, all_pairs=-10.0).job_id, progress=feed)
    if job.problem is not None:
        raise DemoError(f"{job.problem.message} {job.problem.help}")
    return job.job_id


def fetch(
    story: Story, service: Service, job: str, sent: dict[str, Sent], folder: Path
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The links and the figures of a job, written into the folder; the links with the council's own ids."""
    from linker.report import page

    with service.linker(Role.LINKAGE_OPERATOR) as client:
        links, figures = client.read_links(job), client.report(job)["figures"]
    for side, name in (("left_id", "first"), ("right_id", "second")):
        own = sent[name].own.select(pl.col("row_ref").alias(side), own="rec_id")
        links = links.join(own, on=side, how="left", maintain_order="left")
        links = links.with_columns(pl.col("own").alias(side)).drop("own")
    links.write_parquet(folder / "links.parquet")
    (folder / "report.json").write_text(json.dumps(figures, indent=1) + "\n")
    (folder / "report.html").write_text(page(figures))
    summary = figures["summary"]
    all_pairs = summary["records"][0] * summary["records"][1]
    story.say(
        f"{all_pairs:,} possible pairs, of which blocking left {summary['candidate_pairs']:,} to compare.",
        f"{links.height:,} links, {figures['review']:,} pairs for people to look at.",
        "The model learnt from the records alone: nothing was labelled, nothing set.",
    )
    return links, figures


def judge(story: Story, links: pl.DataFrame, truth: pl.DataFrame) -> Quality:
    """Precision, recall and F1 of the links."""
    from linker.evaluate import link_quality

    quality = link_quality(links, truth)
    shown = table(["", "Value", "95% interval"], right=(1, 2))
    for name in ("precision", "recall", "f1"):
        low, high = getattr(quality, f"{name}_interval") or (0.0, 1.0)
        shown.add_row(name.capitalize(), f"{getattr(quality, name) or 0.0:.4f}", f"{low:.4f} to {high:.4f}")
    story.say(shown, f"{quality.tp:,} right, {quality.fp:,} wrong, {quality.fn:,} missed.")
    return quality


def explain(
    story: Story, service: Service, job: str, links: pl.DataFrame, files: Files, sent: dict[str, Sent]
) -> tuple[str, str]:
    """One pair's match weight, comparison by comparison, without a value of a person; the pair."""
    pair = _most_distorted(links, files.rows["first"], files.rows["second"])
    refs = [
        sent[name].own.filter(pl.col("rec_id") == one)["row_ref"].item()
        for name, one in zip(files.rows, pair, strict=True)
    ]
    with service.linker(Role.LINKAGE_OPERATOR) as client:
        found = client.explain(job, *refs)
    bits = [step["weight"] + step["frequency"] for step in found["steps"]]
    most = max(abs(one) for one in [found["prior_weight"], *bits])
    shown = table(["Field", "What the two records say", "Bits", "Total", ""], right=(2, 3))
    before = found["prior_weight"]
    shown.add_row("", "two records at random", "", f"{before:+.1f}", bar(before, most))
    for step, gain in zip(found["steps"], bits, strict=True):
        field = step["comparison"].replace("_", " ")
        known = step["level"] != "not known"
        shown.add_row(
            field, step["level"], f"{gain:+.1f}" if known else "", f"{step['total']:+.1f}", bar(gain, most)
        )
    story.say(
        f"{pair[0]} and {pair[1]}: of all links, the two that differ most.", shown,
        f"2 to the power of {found['match_weight']:.1f}: odds of {2.0 ** found['match_weight']:,.0f} to 1 "
        "that this is one person.",
    )  # fmt: skip
    return pair


def _most_distorted(links: pl.DataFrame, left: pl.DataFrame, right: pl.DataFrame) -> tuple[str, str]:
    """The ids of the linked pair whose records differ in the most columns; the lightest of several."""
    from deploy.demo_roles import IDENTIFIERS

    pairs = links.join(left, left_on="left_id", right_on="rec_id").join(
        right, left_on="right_id", right_on="rec_id", suffix="_other"
    )
    differing = pl.sum_horizontal(
        (pl.col(name) != pl.col(f"{name}_other")).fill_null(False).cast(pl.Int32) for name in IDENTIFIERS
    )
    ranked = pairs.with_columns(differing.alias("differing")).sort(
        "differing", "match_weight", "left_id", descending=[True, False, False]
    )
    return ranked["left_id"][0], ranked["right_id"][0]
