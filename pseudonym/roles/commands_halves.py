"""`kinlink divide` and `kinlink attributes`: a file in two halves, and the way of the second one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from pseudonym.datasets import Column, Kind
from pseudonym.errors import InputError
from pseudonym.halves import ROW_REF, divide_extract
from pseudonym.halves import divide as in_halves
from pseudonym.roles.client import AttributesClient
from pseudonym.roles.commands import (
    HELP,
    Authority,
    Certificate,
    Key,
    Project,
    Purpose,
    Service,
    calling,
    complaining,
    free,
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
        Path, typer.Argument(metavar="FILE", show_default=False, help="The file: CSV or Parquet.")
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
def send_attributes(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help="attributes.parquet, from 'divide'.")
    ],
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority,
    certificate: Certificate,
    key: Key,
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
    with calling(AttributesClient, service, project, purpose, authority, certificate, key) as attributes:
        sent = attributes.submit(rows, batch_id=batch, dataset=dataset)
        print(f"Batch {sent.batch_id}: the attributes role has {sent.rows:,} rows.")


@attributes_app.command("refusals")
def list_refusals(
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority,
    certificate: Certificate,
    key: Key,
    batch: Batch,
) -> None:
    """List what was refused of a batch: row of the half, column, reason; no value of a person."""
    with calling(AttributesClient, service, project, purpose, authority, certificate, key) as attributes:
        found = attributes.refusals(batch)
        for row, column, reason in found.rows():
            print(f"{row}  {column}  {reason}")
        if found.is_empty():
            print("Nothing was refused.", file=sys.stderr)


def _names(given: list[str]) -> list[str]:
    return [name.strip() for text in given for name in text.split(",") if name.strip()]
