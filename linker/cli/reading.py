"""Files as records: read, understood as the user wishes, shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any as Json

import polars as pl
import typer

from linker.cli.options import Wishes
from linker.cli.screen import Screen, count, plain, table
from linker.errors import LayoutError
from linker.files import read_frame
from linker.model import Model
from linker.records import Layout, Records

_NONE = "-"


@dataclass(frozen=True)
class Source:
    """A file and the records that arrived from it."""

    path: Path
    records: Records


def read_sources(paths: Sequence[Path], wishes: Wishes, model: Model | None = None) -> list[Source]:
    """Read files as records.

    A mapped or ignored column applies to each file that has it; a wish that fits no file is refused. A model
    may read records as they stand: then there is nothing to understand.

    Raises:
        LinkerError: a file, its columns or its records cannot be used.
    """
    if model is not None and model.raw is not None:
        return _read_raw(paths, wishes, model.raw.id_column)
    frames = []
    for path in paths:
        with native_silence():
            frames.append(read_frame(path))
    _check_wishes([frame.columns for frame in frames], wishes)
    from linker.arrival import arrive  # what recognises columns takes time to load

    sources = []
    for place, (path, frame) in enumerate(zip(paths, frames, strict=True)):
        id_column = wishes.ids[place] if len(wishes.ids) > 1 else next(iter(wishes.ids), None)
        if len(wishes.ids) == 1 and id_column not in frame.columns:
            id_column = None
        records = arrive(
            frame,
            id_column=id_column,
            mapping=_mapping_for(frame.columns, wishes, path),
            ignore=[name for name in wishes.ignore if name in frame.columns],
        )
        sources.append(Source(path, records))
    return sources


def _read_raw(paths: Sequence[Path], wishes: Wishes, id_column: str) -> list[Source]:
    if wishes.mapping or wishes.ignore:
        raise typer.BadParameter("The model reads columns as they stand: --map and --ignore have no meaning.")
    if len(wishes.ids) > 1 and len(wishes.ids) != len(paths):
        raise typer.BadParameter(f"--id is given {len(wishes.ids)} times for {len(paths)} files.")
    from linker.raw import raw_records

    ids = wishes.ids or (id_column,)
    with native_silence():
        return [Source(path, raw_records(path, ids[place % len(ids)])) for place, path in enumerate(paths)]


@contextmanager
def native_silence() -> Iterator[None]:
    """Hold back what the columnar readers print on a damaged file: a Rust backtrace, perhaps with values."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:
        yield
        return
    void = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(void, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(void)


def _check_wishes(columns: Sequence[Sequence[str]], wishes: Wishes) -> None:
    here = [set(names) for names in columns]
    where = {1: "the file", 2: "either file"}.get(len(here), "any of the files")
    if len(wishes.ids) > 1 and len(wishes.ids) != len(here):
        raise typer.BadParameter(
            f"--id is given {len(wishes.ids)} times for {len(here)} files: give it once, or once a file."
        )
    for name in wishes.ignore:
        if not any(name in names for names in here):
            raise LayoutError(
                f"--ignore names {plain(name)}, which is no column of {where}.", _known(columns)
            )
    for field, joined in wishes.mapping:
        if not any(_pieces(joined, names) <= names for names in here):
            raise LayoutError(
                f"--map {plain(field)} names {plain(joined)}, which is no column of {where}.", _known(columns)
            )
    if len(wishes.ids) == 1 and not any(wishes.ids[0] in names for names in here):
        raise LayoutError(
            f"--id names {plain(wishes.ids[0])}, which is no column of {where}.", _known(columns)
        )


def _known(columns: Sequence[Sequence[str]]) -> str:
    names = ", ".join(dict.fromkeys(plain(name) for one in columns for name in one))
    return f"The columns are: {names}."


def _pieces(joined: str, names: set[str]) -> set[str]:
    """The columns that are joined; a name that holds the sign itself is one column."""
    return {joined} if joined in names else set(joined.split("+"))


def _mapping_for(columns: Sequence[str], wishes: Wishes, path: Path) -> dict[str, str]:
    mapping: dict[str, str] = {}
    for field, joined in wishes.mapping:
        if not _pieces(joined, set(columns)) <= set(columns):
            continue
        if field in mapping:
            raise LayoutError(
                f"--map gives two columns of {path} for {plain(field)}.",
                f"Leave one out, or call the second {plain(field)}_2.",
            )
        mapping[field] = joined
    return mapping


def show_layouts(screen: Screen, sources: Sequence[Source]) -> None:
    """The table of how each column was understood, and the columns that take no part."""
    layouts = [source.records.layout for source in sources]
    screen.document["files"] = [
        {"path": str(source.path), "records": source.records.ids.len()} | _layout_dict(source.records.layout)
        for source in sources
    ]
    fields = [{field.name: field for field in layout.fields} for layout in layouts]
    names = list(dict.fromkeys(name for side in fields for name in side))
    names.sort(key=lambda name: not all(name in side for side in fields))  # stable: shared fields first
    heads = ["Field", *(_heads(len(sources))), "Why"]
    rows = []
    for name in names:
        found = [side.get(name) for side in fields]
        why = "; ".join(dict.fromkeys(field.why for field in found if field))
        if None in found:
            why += "; not compared: in one file only"
        rows.append([name, *(" + ".join(field.columns) if field else _NONE for field in found), why])
    if rows:
        screen.title("How the columns were understood")
        screen.say(table(heads, rows))
    else:
        screen.title("The model reads the columns as they stand")
    for source, layout in zip(sources, layouts, strict=True):
        identity = (
            f"column {layout.id_column}" if layout.id_column else "the row number (no id column was found)"
        )
        screen.line(f"Ids of {source.path.name}: {identity}.")
    for source, layout in zip(sources, layouts, strict=True):
        if layout.ignored:
            reasons = "; ".join(f"{name} ({reason})" for name, reason in layout.ignored)
            screen.say(f"Ignored in {source.path.name}: {reasons}.")


def _heads(files: int) -> list[str]:
    if files > 2:
        return [f"Column {number}" for number in range(1, files + 1)]
    return ["Column"] if files == 1 else ["Left column", "Right column"]


def _layout_dict(layout: Layout) -> dict[str, Json]:
    return {
        "id_column": layout.id_column,
        "fields": [
            {"field": field.name, "kind": str(field.kind), "columns": list(field.columns), "why": field.why}
            for field in layout.fields
        ],
        "ignored": [{"column": name, "reason": reason} for name, reason in layout.ignored],
    }


def gather_refusals(sources: Sequence[Source]) -> pl.DataFrame:
    """The refusals of all files: file, row, field, reason, refused."""
    return pl.concat(
        source.records.refusals.select(
            pl.lit(source.path.name).alias("file"), "row", "field", "reason", "refused"
        )
        for source in sources
    )


def show_refusals(screen: Screen, refusals: pl.DataFrame) -> None:
    """How many rows and values were set aside, by file, field and reason."""
    if refusals.is_empty():
        return
    counts = (
        refusals.group_by("file", "field", "reason", "refused")
        .len("count")
        .sort("refused", "count", "file", "field", "reason", descending=[True, True, False, False, False])
    )
    rows = counts.select("file", "field", "reason", "refused", "count").rows()
    screen.document["refusals"] = [
        dict(zip(("file", "field", "reason", "row_refused", "count"), row, strict=True)) for row in rows
    ]
    refused = refusals.filter("refused").select("file", "row").unique().height
    values = refusals.filter(~pl.col("refused")).height
    screen.title(f"Set aside: {count(refused, 'row')} left out, {count(values, 'value')} not used")
    heads = ["File", "Field", "Reason", "What", "Count"]
    shown = [
        (file, field or "(row)", reason, "row left out" if out else "value not used", f"{number:,}")
        for file, field, reason, out, number in rows[:12]
    ]
    screen.say(table(heads, shown, numbers=[4]))
    if len(rows) > 12:
        screen.say(f"… and {len(rows) - 12} more kinds, in the file.")
