"""The files of a run: claimed before the work, written whole after it.

An output never replaces an input, nor a file that Kinlink did not write.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from linker.cli.screen import Screen, count
from linker.errors import FileError
from linker.files import (
    ARROW_EXTENSIONS,
    PARQUET_EXTENSIONS,
    TEXT_EXTENSIONS,
    beside,
    check_place,
    check_writable,
    write_frame,
    write_text,
)

LINKS = ("left_id", "right_id", "match_weight", "match_probability", "outcome", "stage", "rule")
PAIRS = ("left_id", "right_id", "match_weight", "match_probability", "stage", "rule")
CLUSTERS = ("record_id", "cluster_id")
REFUSALS = ("file", "row", "field", "reason", "refused")

_OTHER_NAME = "Remove it or choose another name: only files that Kinlink wrote are replaced."


class Outputs:
    """What a command writes.

    Attributes:
        written: path by purpose ("links", "review", …), in the order of writing.
    """

    def __init__(self, inputs: Sequence[Path | None]) -> None:
        self._inputs = {path.resolve() for path in inputs if path is not None}
        self._replaced: list[Path] = []
        self.written: dict[str, Path] = {}

    def claim_table(
        self, path: Path, columns: Sequence[str], companions: dict[str, Sequence[str]] | None = None
    ) -> None:
        """Make sure that a table, and its companions beside it, can be written.

        Raises:
            FileError: the place cannot be written, is an input, or holds somebody else's file.
        """
        check_writable(path)
        self._claim(path, path.exists() and _columns_of(path) == tuple(columns))
        for word, expected in (companions or {}).items():
            self.claim_table(beside(path, word), expected)

    def claim_text(self, path: Path, mark: str) -> None:
        """Make sure that a text file can be written; `mark` stands in every one that Kinlink wrote.

        Raises:
            FileError: as for tables.
        """
        check_place(path)
        own = False
        if path.is_file():
            with path.open("rb") as file:
                own = mark.encode() in file.read(4096)
        self._claim(path, own)

    def _claim(self, path: Path, own: bool) -> None:
        if path.resolve() in self._inputs:
            raise FileError(
                f"{path} is an input and would be overwritten.", "Choose another name for the output."
            )
        if not path.exists():
            return
        if not own:
            raise FileError(f"{path} is there already and is not such an output of Kinlink.", _OTHER_NAME)
        self._replaced.append(path)

    def table(self, purpose: str, frame: pl.DataFrame, path: Path) -> None:
        """Write a table that was claimed."""
        write_frame(frame, path)
        self.written[purpose] = path

    def companion(self, purpose: str, frame: pl.DataFrame, main: Path) -> None:
        """Write a table beside the main one, or remove an older run's where there is nothing to write."""
        path = beside(main, purpose)
        if frame.is_empty():
            path.unlink(missing_ok=True)
        else:
            self.table(purpose, frame, path)

    def text(self, purpose: str, text: str, path: Path) -> None:
        """Write a text file that was claimed."""
        write_text(text, path)
        self.written[purpose] = path

    def note(self, purpose: str, path: Path) -> None:
        """Remember a file that was written elsewhere."""
        self.written[purpose] = path

    def show(self, screen: Screen, sizes: dict[str, str]) -> None:
        """Say what was written where."""
        screen.document["outputs"] = {purpose: str(path) for purpose, path in self.written.items()}
        screen.title("Written")
        for purpose, path in self.written.items():
            again = " (replaced)" if path in self._replaced else ""
            screen.line(f"{path}: {sizes.get(purpose, purpose)}{again}")


def default_table(stem: str, inputs: Sequence[Path]) -> Path:
    """A name in this directory: CSV where all inputs are text, else Parquet."""
    text = all(path.suffix.lower() in TEXT_EXTENSIONS for path in inputs)
    return Path(f"{stem}{'.csv' if text else '.parquet'}")


def manifest_beside(path: Path) -> Path:
    """Where the manifest of a run goes: `links.parquet` gives `links.manifest.json`."""
    return path.with_name(f"{path.stem}.manifest.json")


def rows_of(frame: pl.DataFrame, word: str, plural: str | None = None) -> str:
    """`12 links` and the like."""
    return count(frame.height, word, plural)


def _columns_of(path: Path) -> tuple[str, ...] | None:
    """The columns of an existing table, or None if it cannot be read as one."""
    extension = path.suffix.lower()
    try:
        if extension in PARQUET_EXTENSIONS:
            return tuple(pl.read_parquet_schema(path))
        if extension == ".arrows":
            with path.open("rb") as file:
                return tuple(pl.read_ipc_stream(file, n_rows=0).columns)
        if extension in ARROW_EXTENSIONS:
            return tuple(pl.read_ipc_schema(path))
        with path.open("rb") as file:
            head = file.readline(4096).decode().rstrip("\r\n")
        return tuple(head.split("\t" if extension == ".tsv" else ","))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeDecodeError):
        return None
