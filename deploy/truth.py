"""What the study's links are worth against the county's truth, which no server sees.

A link names a known record by its id in the vault and a row of a register by its reference. Only who has the
identity role's keyset and the senders' own lists can say who these are: the demo has thrown-away ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from benchmarks.county.score import Truth, score_links
from deploy.study import READER
from pseudonym import uses
from pseudonym.given import Given
from pseudonym.keys import Keyset
from pseudonym.roles.authority import DOMAIN
from pseudonym.roles.callers import Caller, Role
from pseudonym.roles.senders import bound
from pseudonym.units import UnitKey

COUNCILS = "councils"
SENDER = str(Caller(DOMAIN, Role.COUNCIL, READER))
"""Who sends the made-up councils' files, as in the certificate: rows are known by it and their reference."""


def unit_key(role: Path) -> UnitKey:
    """The key by which the identity role calls records, from its folder."""
    given = Given([f"file:{role / 'passphrase'}"], role / "device.json")
    keyset = Keyset.open(role / "keyset.json", given.opener(role / "keyset.json"))
    return keyset.lend(keyset.find(uses.UNIT).kid, lambda _, secret: UnitKey(secret))


def known_to(truth: Truth, key: UnitKey, project: str, sent: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The truth about the councils' rows that were sent, by their ids in the vault.

    Args:
        truth: the county's.
        key: see `unit_key`.
        project: its name.
        sent: of each file that the truth knows `row_ref` and `record_id`.
    """
    rows = pl.concat(
        truth.records.filter(pl.col("file") == file).join(references, on="record_id")
        for file, references in sent.items()
    )
    refs = rows["row_ref"].str.decode("hex").to_list()
    units = key.records(project, bound(SENDER, refs))
    named = pl.Series("record_id", units, dtype=pl.Binary).bin.encode("hex")
    return rows.drop("row_ref").with_columns(named, file=pl.lit(COUNCILS))


def judged(
    truth: Truth, known: pl.DataFrame, register: str, references: pl.DataFrame, links: pl.DataFrame
) -> pl.DataFrame:
    """The score of a register's links, as `benchmarks.county.score.score_links`, but for one share.

    A link names one of a person's records, though several deliveries have them. How many pairs of records
    were linked of all that are true would tell how often people were delivered: recall is that of persons.

    Args:
        truth: the county's.
        known: from `known_to`.
        register: its name.
        references: `row_ref` and `record_id` of its rows.
        links: left_id and right_id, as the service gives them.
    """
    file = f"registers/{register}"
    theirs = truth.records.filter(pl.col("file") == file).join(references, on="record_id")
    theirs = theirs.with_columns(record_id="row_ref").drop("row_ref")
    # A register of a whole country is mostly of people whom nothing here is about.
    linked, delivered = links["right_id"].unique(), known["person"].unique()
    about = pl.col("record_id").is_in(linked.implode()) | pl.col("person").is_in(delivered.implode())
    both = Truth(pl.concat([known, theirs.filter(about).select(known.columns)]), truth.people)
    score = score_links(both, [COUNCILS], file, links)
    return score.filter((pl.col("stage") != "link") | (pl.col("measure") != "recall"))


def share(score: pl.DataFrame, measure: str) -> tuple[int, int]:
    """How many of how many persons: of those linked the right ones, or of those there the ones found."""
    row = score.filter(
        (pl.col("stage") == "person") & (pl.col("measure") == measure) & (pl.col("by") == "all")
    )
    return row["count"].item(), row["of"].item()


def false_links(score: pl.DataFrame, relations: Sequence[str]) -> int:
    """How many links join a person with somebody who is this to them, or of nobody (`nobody's`)."""
    wrong = score.filter((pl.col("measure") == "false links") & pl.col("group").is_in(relations))
    return int(wrong["count"].sum())
