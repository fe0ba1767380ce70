"""Who is left out by hand: only families and people who withdrew or objected, each with the code of it.

A CSV file with the columns `family`, `member` and `code`, the references those of the council. With a family
alone, all of it is left out; with a member, that person, in every family. The list may name more than a file
holds: it is kept from delivery to delivery.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from pseudonym.errors import CouncilFileError
from pseudonym.study import files

CODES = {
    "withdrawal": "withdrew from the research",
    "objection": "objected, and the objection was upheld",
    "restriction": "asked that what is held be kept and not used",
    "not-to-share": "asked that nothing be shared",
}
"""Why somebody is left out, in words, by code. There is no other reason."""
SCHEMA = pl.Schema({"family": pl.String(), "member": pl.String(), "code": pl.String()})
NOBODY = SCHEMA.to_frame()


def read(path: Path) -> pl.DataFrame:
    """Read a list of those to leave out.

    Returns:
        As `SCHEMA`.

    Raises:
        CouncilFileError: it has other columns, or a line names nobody, or has no code of `CODES`.
    """
    return checked(files.read(path))


def checked(frame: pl.DataFrame) -> pl.DataFrame:
    """A list of those to leave out, as `read` gives it.

    Raises:
        CouncilFileError: as `read`.
    """
    if set(frame.columns) != set(SCHEMA.names()):
        raise CouncilFileError(
            "The list of those to leave out has not the columns family, member and code.",
            "It has these three and no other; what is not needed in a line stays empty.",
        )
    frame = frame.select(SCHEMA.names())
    nobody = pl.col("family").is_null() & pl.col("member").is_null()
    wrong = frame.select(nobody | ~pl.col("code").is_in(list(CODES)).fill_null(False)).to_series().arg_true()
    if wrong.len():
        raise CouncilFileError(
            f"{wrong.len():,} lines of the list of those to leave out name nobody or no reason, "
            f"the first in row {wrong[0] + 1}.",
            f"Families that meet the criteria are included, but for {', '.join(CODES)}.",
        )
    return frame


def mark(rows: pl.DataFrame, left_out: pl.DataFrame) -> pl.DataFrame:
    """Say of each row why it is left out, if it is.

    Args:
        rows: with `family` and `member`.
        left_out: as `read` gives it.

    Returns:
        The rows, in their order, with `withdrawn`: a code, or null.
    """
    whole = left_out.filter(pl.col("member").is_null()).unique("family", keep="first", maintain_order=True)
    person = left_out.drop_nulls("member").unique("member", keep="first", maintain_order=True)
    return (
        rows.join(whole.select("family", _family="code"), on="family", how="left", maintain_order="left")
        .join(person.select("member", _member="code"), on="member", how="left", maintain_order="left")
        .with_columns(withdrawn=pl.coalesce("_family", "_member"))
        .drop("_family", "_member")
    )
