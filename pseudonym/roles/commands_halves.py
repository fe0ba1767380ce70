"""`kinlink divide` and `kinlink attributes`: a file in two halves, and the way of the second one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pseudonym.datasets import Column, Kind
from pseudonym.errors import InputError
from pseudonym.halves import ROW_REF, divide_extract
from pseudonym.halves import divide as in_halves
from pseudonym.roles.client import AttributesClient
from pseudonym.roles.commands import (
    HELP,
    At,
    at_service,
    complaining,
    free,
    plain,
    write,
)
from pseudonym.tabular import parquet_of, read_table

attributes_app = typer.Typer(
    name="attributes", help="Send attributes by row reference; see refusals.", **HELP
)

_COLUMNS = "COLUMN,…"
Batch = Annotated[
    str, typer.Option("--batch", help="Your own id of this batch; the same batch is never taken twice.")
]


def divide(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help="The file: CSV, Parquet or Arrow.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where the halves go; there are none there yet.")
    ],
    identifiers: Annotated[
        list[str] | None,
        typer.Option("--identifiers", metavar=_COLUMNS, help="Columns that say who people are."),
    ] = None,
    attributes: Annotated[
        list[str] | None,
        typer.Option("--attributes", metavar=_COLUMNS, help="Columns of what is known of them."),
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option("--leave-out", metavar=_COLUMNS, help="Columns that go nowhere.")
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option("--events", metavar="FILE", help="What is known of them, any number of rows each."),
    ] = None,
    id_column: Annotated[
        str, typer.Option("--id", metavar="COLUMN", help="With --events: the id of a record, in both files.")
    ] = "",
) -> None:
    """Divide a file into identifiers.parquet and attributes.parquet, which share a random row reference.

    Nothing leaves this machine. The references are drawn anew each time: keep both halves until both are
    delivered, to send the same ones again.
    """
    with complaining():
        places = [out / f"{name}.parquet" for name in ("identifiers", "attributes")]
        for place in places:
            free(place)
        rows, gone = read_table(file), _names(leave_out or [])
        if missing := [name for name in gone if name not in rows.columns]:
            raise InputError(f"There is no column {', '.join(missing)}.", "Correct the name.")
        rows = rows.drop(gone)
        if events is not None:
            if not id_column or identifiers or attributes:
                raise InputError(
                    "With --events all of FILE but the id are identifiers, and all of the events attributes.",
                    "Give --id, and neither --identifiers nor --attributes.",
                )
            made = divide_extract(rows, read_table(events), id_column)
        elif identifiers and attributes:
            made = in_halves(rows, _names(identifiers), _names(attributes))
        else:
            raise InputError("Nobody has said what goes where.", "Give --identifiers and --attributes.")
        for path, half in zip(places, (made.identifiers, made.attributes), strict=True):
            write(path, parquet_of(half))
            print(f"{path}: {half.height:,} rows, {', '.join(half.columns)}")


@attributes_app.command("send")
@at_service()
def send_attributes(
    at: At,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help="attributes.parquet, from 'divide'.")
    ],
    batch: Batch,
    dataset: Annotated[str, typer.Option("--dataset", help="The declared dataset.")],
) -> None:
    """Send attributes to the attributes role; run again, it goes on where it stopped: its sender does it."""
    with complaining():
        rows = read_table(file)
        if ROW_REF not in rows.columns:
            raise InputError(
                f"The file has no column {ROW_REF}.", "Send the half that 'kinlink divide' made."
            )
        if rows.select(pl.col(ROW_REF).is_null().any()).item():
            raise InputError(f"A row has no {ROW_REF}.", "Send the half that 'kinlink divide' made.")
        for name in rows.columns:
            if name != ROW_REF:
                Column(name, Kind.FLAG)  # the other half, sent by mistake, is refused before it leaves
    with at.calling(AttributesClient) as attributes:
        sent = attributes.submit(rows, batch_id=batch, dataset=dataset)
        print(f"Batch {sent.batch_id}: the attributes role has {sent.rows:,} rows.")


@attributes_app.command("refusals")
@at_service()
def list_refusals(
    at: At,
    batch: Batch,
    all_rows: Annotated[bool, typer.Option("--all", help="List each value too, by its row.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Say what was refused of a batch, by reason and column; no value of a person."""
    with at.calling(AttributesClient) as attributes:
        found = attributes.refusals(batch)
    counted = (
        found.group_by("reason", "column")
        .agg(pl.len().alias("values"), pl.col("row").min().alias("first"))
        .sort("reason", "column")
    )
    if as_json:
        reasons = dict(counted.group_by("reason").agg(pl.col("values").sum()).sort("reason").iter_rows())
        print(json.dumps({"batch": batch, "reasons": reasons, "refusals": found.to_dicts()}, indent=1))
        return
    if found.is_empty():
        print("Nothing was refused.", file=sys.stderr)
        return
    _say(["Reason", "Column", "Values", "First row"], counted)
    if all_rows:
        print()
        _say(["Row", "Column", "Reason"], found)


def _say(heads: list[str], rows: pl.DataFrame) -> None:
    shown = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for head, kind in zip(heads, rows.dtypes, strict=True):
        shown.add_column(head, justify="right" if kind.is_numeric() else "left", overflow="fold")
    for row in rows.iter_rows():
        shown.add_row(*(Text(plain(cell)) for cell in row))
    Console().print(shown)


def _names(given: list[str]) -> list[str]:
    return [name.strip() for text in given for name in text.split(",") if name.strip()]
