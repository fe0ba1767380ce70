"""The demo's steps around the linkage: made-up files, a job, links held against the truth, an explanation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from deploy.demo_roles import ATTRIBUTES, HELP, IDENTIFIERS, DemoError, Sent, Service
from deploy.story import Story, bar, table
from pseudonym.roles.callers import Role

if TYPE_CHECKING:
    from linker.evaluate import Quality

SEED = 2026


@dataclass(frozen=True, eq=False)
class Files:
    """The demo's files, columns of text, and the truth about them.

    Attributes:
        council: a council's file, with attributes.
        register: a register's extract: a distorted copy of each record, without attributes.
        later: the council's next file: a fifth of its people again, as the copies have them.
        truth: left_id and right_id: which record is a copy of which.
    """

    council: pl.DataFrame
    register: pl.DataFrame
    later: pl.DataFrame
    truth: pl.DataFrame


def write_files(story: Story, folder: Path) -> Files:
    """FEBRL 4 as CSV files, the council's with attributes drawn at random."""
    from linker.classifiers import febrl

    data = febrl(4)
    assert data.right is not None
    draw = np.random.default_rng(SEED)
    again = data.right.filter(_number(data.right) % 5 == 0)
    files = Files(_families(data.left, draw), data.right, _families(again, draw), data.truth)
    for name in ("council", "register", "later", "truth"):
        getattr(files, name).write_csv(folder / f"{name}.csv")
    story.say(
        f"council.csv   {files.council.height:,} people, with {', '.join(ATTRIBUTES)}",
        "register.csv  a distorted copy of each: misspelt, swapped, mistyped, with gaps",
        f"later.csv     the council a year on: {files.later.height:,} of these copies, with new attributes",
    )
    return files


def _number(rows: pl.DataFrame) -> pl.Series:
    return rows["rec_id"].str.extract(r"rec-(\d+)-").cast(pl.Int64)


def _families(rows: pl.DataFrame, draw: np.random.Generator) -> pl.DataFrame:
    count = rows.height
    return rows.with_columns(
        # The council's own reference of a family: here any three people make one.
        family=pl.format("F{}", _number(rows) // 3),
        problems=pl.Series(draw.integers(2, 7, count)).cast(pl.String),
        persistent_absence=pl.Series(np.where(draw.random(count) < 0.3, "yes", "no")),
        help=pl.Series(draw.choice(HELP, count)),
    )


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
    story: Story, service: Service, job: str, sent: Sent, folder: Path
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The links and the figures of a job, written into the folder; the links with the council's own ids."""
    from linker.report import page

    with service.linker(Role.LINKAGE_OPERATOR) as client:
        links, figures = client.read_links(job), client.report(job)["figures"]
    # The register's rows have its own ids; the council alone knows which row reference is whose.
    own = sent.own.select(left_id="row_ref", own="rec_id")
    links = links.join(own, on="left_id", how="left", maintain_order="left")
    links = links.with_columns(left_id="own").drop("own")
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
    story: Story, service: Service, job: str, links: pl.DataFrame, files: Files, sent: Sent
) -> tuple[str, str]:
    """One pair's match weight, comparison by comparison, without a value of a person; the pair."""
    pair = _most_distorted(links, files.council, files.register)
    ref = sent.own.filter(pl.col("rec_id") == pair[0])["row_ref"].item()
    with service.linker(Role.LINKAGE_OPERATOR) as client:
        found = client.explain(job, ref, pair[1])
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
