"""Whom the vault holds for a project, by its own register: whether the broker was ever told of them or not.

A join that is cut off leaves persons of whom the broker has not heard, and protection hides where somebody
went. The events of the register say by which linkage run each record came, and nothing takes that back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import polars as pl

from pseudonym.errors import KeyDestroyedError
from pseudonym.people import People
from pseudonym.urn import Kind
from pseudonym.vault import Vault

Runs = Callable[[], Mapping[str, str]]
"""Every linkage run there was, with the project that it was for."""
_AT_ONCE = 20_000


class Arrivals:
    """What came into one vault by linkage runs.

    Args:
        vault: the identity role's.
        runs: see `Runs`.
        ended: whether a project's end is past, or it was destroyed before.
    """

    def __init__(self, vault: Vault, runs: Runs, ended: Callable[[str], bool]) -> None:
        self._vault, self._runs, self._ended = vault, runs, ended

    def held(self, project: str) -> tuple[set[bytes], set[bytes]]:
        """Everybody with a record that came for a project, and with one that came for another that goes on.

        Raises:
            SealBrokenError: what the store has of the register was tampered with.
            KeyMissingError: the register's key cannot be opened, and was not destroyed.
        """
        runs = self._runs()
        mine = {run for run, of in runs.items() if of == project}
        others = {run for run, of in runs.items() if of != project and not self._ended(of)}
        units: tuple[list[pl.Series], list[pl.Series]] = ([], [])
        try:
            for event in self._vault.tools.register.events(Kind.PERSON):
                for found, some in zip(units, (mine, others), strict=True):
                    if event.stamp.run in some:
                        found.append(event.changes.arrived["unit"])
            here, elsewhere = map(self._persons, units)
        except KeyDestroyedError:
            return set(), set()  # the register's key is destroyed: nobody reads there any more who they are
        return here, elsewhere

    def _persons(self, arrived: Collection[pl.Series]) -> set[bytes]:
        people, found = People(self._vault), set[bytes]()
        for units in arrived:
            for some in units.to_frame().iter_slices(_AT_ONCE):
                found.update(people.members(some["unit"])["pid"].drop_nulls())
        return found
