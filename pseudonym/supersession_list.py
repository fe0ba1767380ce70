"""The supersession list that a recipient gets: old reference numbers, what became of them, the living ones.

One text in one spelling (`docs/urn-format.md`), sorted by number, so that its order tells nothing. It is as
confidential as the file that it belongs to: it says which numbers are one person.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from pseudonym.errors import InputError
from pseudonym.reading import read_all
from pseudonym.supersession import Fate
from pseudonym.urn import check_epoch, check_label

FORMAT: Final = "kinlink-supersession/1"
ROWS: Final = pl.Schema([("old", pl.String), ("fate", pl.String), ("new", pl.List(pl.String))])
_HEAD = ("project", "recipient", "epoch", "since", "until", "rows")
_MEMBERS = {Fate.REPLACED: (1, 1), Fate.DIVIDED: (2, 1 << 30), Fate.ENDED: (0, 0), Fate.WITHHELD: (0, 0)}


@dataclass(frozen=True, slots=True, eq=False)
class SupersessionList:
    """What became of one recipient's numbers between two of their files.

    Attributes:
        project: of the numbers, and so the rest.
        recipient: whose numbers.
        epoch: of the numbers.
        since: the name of the file or delivery that holds the old numbers.
        until: that from which on the new ones hold.
        rows: as `ROWS`, sorted by old, `new` sorted; the words as stored.
    """

    project: str
    recipient: str
    epoch: int
    since: str
    until: str
    rows: pl.DataFrame

    def __repr__(self) -> str:
        return f"SupersessionList(rows={self.rows.height})"

    def write(self) -> bytes:
        """The list as it is sent.

        Raises:
            InputError: a row does not fit: a number that is none or of another epoch, one twice, or a fate
                with more or fewer new ones than it has.
        """
        rows = self.rows.select(ROWS.names()).with_columns(pl.col("new").list.sort()).sort("old")
        head = (self.project, self.recipient, self.epoch, self.since, self.until, rows.height)
        lines = rows.select(pl.concat_str("old", "fate", pl.col("new").list.join(" "), separator=","))
        data = "\n".join(
            [
                FORMAT,
                *(f"{name} {value}" for name, value in zip(_HEAD, head, strict=True)),
                *lines.to_series(),
                "",
            ]
        ).encode()
        read_list(data)
        return data


def numbered(succession: pl.DataFrame, numbers: Callable[[Sequence[bytes]], Sequence[str]]) -> pl.DataFrame:
    """The rows of a list from those of `supersession.succession`.

    Args:
        succession: with internal ids.
        numbers: gives the reference number of each id, in order; the broker's, for one recipient.

    Returns:
        As `ROWS`.
    """
    ids = pl.concat([succession["old"], succession["new"].explode(empty_as_null=True).drop_nulls()]).unique()
    known = pl.DataFrame({"id": ids, "urn": pl.Series(list(numbers(ids.to_list())), dtype=pl.String)})
    new = (
        succession.select("old", "new")
        .explode("new", empty_as_null=True)
        .join(known.select(new="id", urn="urn"), on="new", how="left")
        .group_by("old")
        .agg(new=pl.col("urn").drop_nulls().sort())
    )
    return (
        succession.select("old", pl.col("fate").cast(pl.String))
        .join(new, on="old")
        .join(known.rename({"id": "old"}), on="old")
        .select(old="urn", fate="fate", new="new")
        .sort("old")
    )


def read_list(data: bytes) -> SupersessionList:
    """Read what `write` wrote, and nothing else.

    Raises:
        InputError: it is no such list, is spelt otherwise, or a row does not fit; rows are told by number.
    """
    try:
        lines = data.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise _none() from None
    if len(lines) < len(_HEAD) + 2 or lines[0] != FORMAT or lines[-1]:
        raise _none()
    head: list[str] = []
    for name, line in zip(_HEAD, lines[1:], strict=False):
        if not line.startswith(f"{name} "):
            raise _none()
        head.append(line[len(name) + 1 :])
    project, recipient, epoch_text, since, until, count = head
    for text, what in ((project, "project"), (recipient, "recipient"), (since, "file"), (until, "file")):
        check_label(text, what)
    if not (epoch_text.isdigit() and str(int(epoch_text)) == epoch_text):
        raise _none()
    epoch = check_epoch(int(epoch_text))
    body = pl.Series("line", lines[1 + len(_HEAD) : -1], dtype=pl.String)
    if count != str(len(body)):
        raise _none()
    if not body.str.count_matches(",", literal=True).eq(2).all():
        raise _none()
    parts = body.str.split(",")
    rows = pl.DataFrame(
        {"old": parts.list.get(0), "fate": parts.list.get(1), "new": parts.list.get(2)},
        schema={"old": pl.String, "fate": pl.String, "new": pl.String},
    ).with_columns(
        new=pl.when(pl.col("new") == "")
        .then(pl.lit([], pl.List(pl.String)))
        .otherwise(pl.col("new").str.split(" "))
    )
    _check_rows(rows, epoch)
    return SupersessionList(project, recipient, epoch, since, until, rows)


def _check_rows(rows: pl.DataFrame, epoch: int) -> None:
    words = pl.concat([rows["old"], rows["new"].explode(empty_as_null=True).drop_nulls()])
    found = read_all(words).read
    if found["urn"].to_list() != words.to_list() or not (found["epoch"] == epoch).all():
        raise InputError("A row of the list holds something that is no reference number of its epoch.")
    if rows["old"].to_list() != sorted(set(rows["old"])):
        raise InputError("The rows of the list are not sorted, or an old number is there twice.")
    for row, (old, fate, new) in enumerate(rows.iter_rows(), 1):
        least, most = _MEMBERS.get(fate, (1, 0))
        fits = least <= len(new) <= most and new == sorted(set(new)) and {w[0] for w in new} <= {old[0]}
        if not fits or (fate == Fate.REPLACED and new == [old]):
            raise InputError(f"Row {row} of the list does not fit its fate.")


def _none() -> InputError:
    return InputError("This is no supersession list of a form that is known here.")
