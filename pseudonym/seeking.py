"""Who is meant: people found in the vault by identifiers, each of them or nobody.

The rules this module keeps:

- Everything that is given of a person agrees with what the vault has: the day of birth, and all else.
- One number, or surname and postcode together, go with the day of birth: fewer could be another person.
- Whoever is not found, or could be several, stops the whole: nothing is done to anybody by mistake.
- An error says which person by place, and never by a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from pseudonym import columns
from pseudonym.errors import ConflictError, InputError, SubjectMissingError
from pseudonym.openings import Mandate
from pseudonym.subjects import LIVING
from pseudonym.vault import Vault

NUMBERS = ("nhs", "nino", "upn")


@dataclass(frozen=True, slots=True)
class Sought:
    """What is given of a person; an empty text is nothing."""

    born: date = field(repr=False)
    nhs: str = field(default="", repr=False)
    nino: str = field(default="", repr=False)
    upn: str = field(default="", repr=False)
    surname: str = field(default="", repr=False)
    postcode: str = field(default="", repr=False)


def seek(vault: Vault, people: Sequence[Sought], mandate: Mandate, *, several: bool = False) -> list[bytes]:
    """Find people, restricted ones and those who objected too.

    Args:
        vault: the identity role's.
        people: who is sought.
        mandate: who asks, and why; everybody who is looked at counts against the purpose's quota.
        several: whether all are meant where several agree with what is given of one.

    Returns:
        Their ids, and every other id of the same people.

    Raises:
        InputError: too little is given of somebody.
        SubjectMissingError: somebody is not found.
        ConflictError: several agree, and `several` was not said.
        PurposeError, QuotaError: the vault is not opened for this.
    """
    for place, one in enumerate(people, 1):
        if not (any(getattr(one, name) for name in NUMBERS) or (one.surname and one.postcode)):
            raise InputError(
                f"Too little is given of person {place} of {len(people)}.",
                "Give the day of birth with a number, or with surname and postcode.",
            )
    names = ("born", *NUMBERS, "surname", "postcode")
    flat = pl.DataFrame({name: [getattr(one, name) or None for one in people] for name in names})
    sought = columns.from_flat(flat.with_columns(pl.exclude("born").cast(pl.String)))
    wanted = columns.found_by(sought).select("row", "field").unique()
    _check_readable(people, wanted)
    found = vault.find(sought, mandate, states=LIVING).select("row", "field", "pid").unique()
    # Everything that was given has to agree, not only some of it.
    needed = wanted.group_by("row").len("needed")
    agreeing = (
        found.group_by("row", "pid")
        .len("agreed")
        .join(needed, on="row")
        .filter(pl.col("agreed") == pl.col("needed"))
    )
    pids = agreeing["pid"].unique().to_list()
    opened = vault.open(pids, mandate, states=LIVING).select("pid", "born") if pids else None
    by_row: dict[int, set[bytes]] = {place: set() for place in range(len(people))}
    if opened is not None:
        born = set(opened.rows())
        for row, pid in agreeing.select("row", "pid").rows():
            if (pid, people[row].born) in born:
                by_row[row].add(pid)
    whole: set[bytes] = set()
    for row, theirs in by_row.items():
        whose = f"person {row + 1} of {len(people)}"
        if not theirs:
            raise SubjectMissingError(
                f"Nobody in the vault agrees with what is given of {whose}. Nothing was done.",
                "Look at the values again; who was erased before is not found.",
            )
        # Several ids that gave way to one another are one person.
        if not several and not theirs <= set(vault.all_ids([min(theirs)])):
            raise ConflictError(
                f"More than one person agrees with what is given of {whose}. Nothing was done.",
                "Give more of the person; or say that all who agree are meant, where that can be said.",
            )
        whole |= theirs
    return vault.all_ids(sorted(whole))


def _check_readable(people: Sequence[Sought], wanted: pl.DataFrame) -> None:
    """Refuse a value of which nothing is left once it has its one spelling: it would not be compared."""
    have = dict(wanted.group_by("row").len().rows())
    for row, one in enumerate(people):
        given = sum(bool(getattr(one, name)) for name in (*NUMBERS, "surname", "postcode"))
        if have.get(row, 0) != given:
            raise InputError(
                f"A value that is given of person {row + 1} of {len(people)} has no letter or digit.",
                "Correct it.",
            )
