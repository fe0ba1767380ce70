"""The changes of a reference on disk: one file a change, in the order of their numbers.

A change is a frame of records, id and values by field; a record without any value is removed. What happened
later counts: all changes up to one can be folded into its file, and the files before it go. They are sealed.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from linker import durable
from linker.vaulted import SUFFIX, Folder

ID = ""  # the column of the ids; no field has an empty name


class Changes:
    """The files of one reference; whoever writes holds the lock of the reference."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def write(self, number: int, change: pl.DataFrame) -> None:
        """Put a change on disk; it counts once its number is noted in the store."""
        durable.make_folder(self._folder.path)
        self._folder.write_table(_file(number), change)

    def read(self, folded: int, last: int) -> Iterator[pl.DataFrame]:
        """The changes that count, in order.

        Args:
            folded: the change whose file holds all before it; 0 if none does.
            last: the last that counts; a later file is that of a change that was never answered.
        """
        for number in range(max(1, folded), last + 1):
            yield self._folder.frame(_file(number))

    def fold(self, folded: int, last: int) -> None:
        """Put all changes into the file of the last; the fold counts once it is noted in the store."""
        changes = pl.concat(self.read(folded, last))
        self.write(last, changes.unique(ID, keep="last", maintain_order=True))

    def forget(self, folded: int) -> None:
        """Remove the files before a fold that counts."""
        for file in self._folder.path.glob(f"*{SUFFIX}"):
            if int(file.name.removesuffix(SUFFIX)) < folded:
                file.unlink()


def _file(number: int) -> str:
    return f"{number:08}"


def removal(record_ids: list[str], fields: list[str]) -> pl.DataFrame:
    """The change that removes records."""
    ids = pl.DataFrame({ID: record_ids}, schema={ID: pl.String})
    return ids.with_columns(pl.lit(None, pl.String).alias(name) for name in fields)
