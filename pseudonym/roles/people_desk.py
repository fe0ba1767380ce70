"""What people decide on persons and families: merged, split, links taken back, protected, admitted.

Records are named by their row references, or by the ids that a join's tables have for those who were known.
Nobody who decides here is shown the internal id of a person.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from pseudonym.deliveries import Outcome
from pseudonym.errors import InputError, NotFoundError
from pseudonym.people import People
from pseudonym.roles.senders import bound
from pseudonym.standing import Stamp
from pseudonym.units import UnitKey
from pseudonym.urn import ID_BYTES, Kind


class PeopleDesk:
    """Decisions on the people of one vault; each returns how many records stand under another id now.

    Args:
        people: in the vault.
        key: what records are called by.
        senders: gives who has sent anything for a project: a row reference is its sender's.
        happened: called after each decision, so that the broker is told soon.
    """

    def __init__(
        self,
        people: People,
        key: UnitKey,
        senders: Callable[[str], Sequence[str]],
        happened: Callable[[], object],
    ) -> None:
        self._people, self._key, self._senders, self._happened = people, key, senders, happened

    def merge(self, project: str, kind: Kind, one: str, other: str, stamp: Stamp) -> int:
        """Two are one. Those who are one already stay so.

        Raises:
            NotFoundError, LinkError: there is no such record, or another decision is against it.
        """
        (first, _), (second, _) = (self._of(project, kind, [record]) for record in (one, other))
        if first == second:
            return 0
        return self._done(self._people.merge(first, second, stamp, kind))

    def split(self, project: str, kind: Kind, records: Sequence[str], stamp: Stamp) -> int:
        """Some records, all of one person or family, are of another one.

        Raises:
            NotFoundError, LinkError: there is no such record, or nothing would be left.
        """
        holder, units = self._of(project, kind, records)
        standing = self._people.standing(kind, pl.Series([holder], dtype=pl.Binary))
        parts = standing.select("unit", part=pl.col("unit").is_in(units.implode()).cast(pl.Int64))
        return self._done(self._people.split(holder, parts, stamp, kind))

    def withdraw(self, project: str, one: str, other: str, stamp: Stamp) -> int:
        """A link between two records is taken back.

        Raises:
            NotFoundError, LinkError: there is no such record or link.
        """
        left, right = (self._units(project, [record]) for record in (one, other))
        links = pl.DataFrame([left.alias("left"), right.alias("right")])
        return self._done(self._people.withdraw(links, stamp))

    def protect(self, project: str, record: str, divided: Sequence[str], stamp: Stamp) -> int:
        """A person is protected; some of their records may be divided from the others.

        Raises:
            NotFoundError, LinkError: there is no such record, or it is no true part that is divided.
        """
        person, _ = self._of(project, Kind.PERSON, [record])
        part = self._units(project, divided) if divided else None
        return self._done(self._people.protect(person, stamp, part))

    def admit(self, project: str, record: str, into: str, stamp: Stamp) -> int:
        """Records that came after the protection are the protected person's.

        Raises:
            NotFoundError, LinkError: there is no such record, or it may not be admitted.
        """
        late, _ = self._of(project, Kind.PERSON, [record])
        kept, _ = self._of(project, Kind.PERSON, [into])
        return self._done(self._people.admit(late, kept, stamp))

    def _done(self, outcome: Outcome) -> int:
        self._happened()
        return outcome.moved.height

    def _of(self, project: str, kind: Kind, records: Sequence[str]) -> tuple[bytes, pl.Series]:
        """The one person or family that records are of, and what of it they are."""
        units = self._units(project, records)
        members = self._people.members(units)
        holders = members["pid" if kind is Kind.PERSON else "fid"].unique()
        if kind is Kind.FAMILY:
            units = self._people.families(units)["family"].unique()
        if len(holders) != 1 or holders.null_count():
            raise NotFoundError(
                f"The records are not of one {kind.value}.", "Name records that are, and that have one."
            )
        return holders.item(), units

    def _units(self, project: str, records: Sequence[str]) -> pl.Series:
        try:
            given = [bytes.fromhex(record) for record in records]
        except ValueError:
            given = [b""]
        if not given or set(map(len, given)) != {ID_BYTES}:
            raise InputError("A record is named by 32 hexadecimal digits.", "Take them from a join's tables.")
        each = [self._key.records(project, bound(sender, given)) for sender in self._senders(project)]
        named = pl.Series("unit", [unit for units in (*each, given) for unit in units], dtype=pl.Binary)
        known = set(self._people.members(named)["unit"])
        meant = [[unit for unit in units if unit in known] for units in zip(*each, given, strict=True)]
        if missing := sum(not units for units in meant):
            raise NotFoundError(f"{missing} of the records are not in the vault.", "Join them first.")
        if several := sum(len(units) > 1 for units in meant):
            raise InputError(
                f"{several} of the row references are of several senders' records.",
                "Name these records by their ids in the tables of a later join.",
            )
        return pl.Series("unit", [units[0] for units in meant], dtype=pl.Binary)
