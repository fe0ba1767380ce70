"""`kinlink registers`: the declared national registers in plain words, and an extract in their columns.

Data on stdout, complaints on stderr; exit code 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from pseudonym import registers
from pseudonym.datasets import Kind
from pseudonym.errors import InputError, PseudonymError
from pseudonym.registers import Field, Register, Retention
from pseudonym.registers.banding import banded
from pseudonym.study.outbox import write
from pseudonym.tabular import parquet_of, read_typed
from pseudonym.values import ValuesRefused, accept, looks_like_an_identifier

registers_app = typer.Typer(
    help="List and show the national registers that are declared, and band an extract for one.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(metavar="REGISTER", help="Such as pnc.")]


@contextmanager
def _complaining() -> Iterator[None]:
    try:
        yield
    except PseudonymError as error:
        typer.echo(f"{error} [{error.reason}]", err=True)
        raise typer.Exit(1) from None


@registers_app.command("list")
def list_() -> None:
    """List the registers: name, full name, who holds it now, and how many columns it may have."""
    today = datetime.now(UTC).date()
    for one in registers.everyone():
        typer.echo(f"{one.name:<8} {one.title} ({one.holder(today)}), {len(one.fields)} columns")


@registers_app.command("show")
def show(
    name: Name,
    declaration: Annotated[
        bool, typer.Option("--declaration", help="The JSON that DeclareDataset takes.")
    ] = False,
) -> None:
    """Say of a register who holds it, what for, on what basis, how long what is kept, and its columns."""
    with _complaining():
        found = registers.load(name)
        typer.echo(found.dataset.to_json() if declaration else _words(found), nl=declaration)


@registers_app.command("band")
def band(
    name: Name,
    extract: Annotated[
        Path, typer.Argument(metavar="EXTRACT", help="The holder's own columns: Parquet, Arrow or CSV.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to put the rows, Parquet.")],
    keep: Annotated[str, typer.Option("--keep", help="The column that rows go by.")] = "urn",
) -> None:
    """Put a holder's extract into the register's columns: dates become months before anything is sent."""
    with _complaining():
        if out.exists():
            raise InputError(f"{out} is there already.", "Nothing is written over; name another place.")
        try:
            rows = pl.read_csv(extract) if extract.suffix == ".csv" else read_typed(extract)
        except (OSError, ValueError, pl.exceptions.PolarsError):
            raise InputError(f"{extract} cannot be read as Parquet, Arrow or CSV.") from None
        register = registers.load(name)
        made = banded(rows, register, keep)
        try:
            accept(made.drop(keep), register.dataset, looks_like_an_identifier)
        except ValuesRefused as refused:
            raise InputError(
                f"{refused.count:,} values are not what {name} may have: {_places(refused.table)}.",
                f"kinlink registers show {name} lists what each column may hold. Nothing was written.",
            ) from None
        write(out, parquet_of(made))
        typer.echo(f"{out}: {made.height:,} rows, {made.width} columns")


def _places(refused: pl.DataFrame) -> str:
    """Where values were refused: each column and reason with the first row, counted from 1, and how many."""
    found = (
        refused.group_by("column", "reason").agg(pl.len(), pl.col("row").min() + 1).sort("column", "reason")
    )
    return ", ".join(
        f"{column} {reason} ({number:,}, the first in row {row:,})"
        for column, reason, number, row in found.iter_rows()
    )


def _words(found: Register) -> str:
    lines = [f"{found.title} ({found.name})", "", "Held by"]
    for holder in found.holders:
        doubt = "" if holder.confirmed else " (the day is to be confirmed)"
        lines.append(f"  {holder.name}, from {holder.since}{doubt}")
    lines += ["", "What for"]
    lines += [f"  {one.use}: {json.dumps(one.words, ensure_ascii=False)}" for one in found.purposes]
    lines += ["", "On what basis", *(f"  {sentence}" for sentence in found.basis)]
    lines += ["", "How long", *(f"  {_kept(one)}" for one in found.retentions)]
    if found.health:
        lines += ["", "Health data: a release says that the national data opt-out was applied, or why not."]
    lines += ["", "Columns", *(f"  {_column(one)}" for one in found.fields)]
    return "\n".join(lines) + "\n"


def _kept(one: Retention) -> str:
    until = f"{one.days} days" if one.days is not None else f"to {one.until}"
    return f"{one.store}: {'at most' if one.kind == 'maximum' else 'at least'} {until}. {one.reason}"


def _column(one: Field) -> str:
    column = one.column
    values = str(column.kind)
    if column.kind in (Kind.INTEGER, Kind.YEAR):
        values = f"{column.kind} from {column.low} to {column.high}"
    if column.codes:
        values = f"one of {', '.join(column.codes)}"
    made = f"; made from {one.made_from}" if one.made_from != column.name else ""
    tags = f"; {', '.join(sorted(column.tags))}" if column.tags else ""
    return f"{column.name}: {one.meaning} ({values}{made}{tags})"
