"""The identity half of an answer: what this role has of a person, gathered as plain data.

Nobody but the person is in it: links to records of others, members of the family and reviewers are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, TypeAlias

import polars as pl

from pseudonym.casebook import Casebook
from pseudonym.disclosures import Disclosures
from pseudonym.openings import Mandate
from pseudonym.people import People
from pseudonym.rights import words
from pseudonym.rights.cases import Case, refusals
from pseudonym.rights.reasons import Right
from pseudonym.subjects import LIVING
from pseudonym.urn import Kind
from pseudonym.vault import Vault

Explained: TypeAlias = Callable[[str, Sequence[str]], list[dict[str, Any]]]
"""Of a project, and of records by their ids: the links with registers, as `words.of_link` takes them."""
Contacts: TypeAlias = Sequence[Mapping[str, str]]
"""Whom somebody can complain to: `who`, `name` and `how`."""
Terms: TypeAlias = Callable[[str], dict[str, Any]]
"""Of a project: `pseudonym.lawful.notice.terms`; empty where the role was told nothing of it."""
_DERIVED = ("row_id", "pid")


class Answering:
    """Gathers what one identity role has of people.

    Args:
        vault: the role's.
        people: the persons and families in it.
        casebook: the cases.
        disclosures: to whom data went.
        contacts: for complaints.
        explained: see `Explained`.
        terms: see `Terms`.
    """

    def __init__(
        self,
        vault: Vault,
        people: People,
        casebook: Casebook,
        disclosures: Disclosures,
        contacts: Contacts,
        explained: Explained,
        terms: Terms,
    ) -> None:
        self._vault, self._people, self._casebook = vault, people, casebook
        self._contacts, self._explained = contacts, explained
        self._disclosures, self._terms = disclosures, terms

    def half(self, case: Case, pids: Sequence[bytes]) -> dict[str, Any]:
        """The identity half of the answer to a case.

        Args:
            case: one that was granted.
            pids: of one person: the id, and those that gave way to it.

        Raises:
            PurposeError, QuotaError: identities are not opened for the purpose of its decision.
        """
        told: dict[str, Any] = {"case": shown(case, self._contacts)}
        if case.right is not Right.EXPLANATION:
            told["records"] = self._records(case, pids)
        if case.right is Right.PORTABILITY:
            return told
        told |= {"logic": list(words.LOGIC), "joins": self._joins(pids)}
        told["links"] = [
            {**link, "words": words.of_link(link)}
            for link in self._explained(case.project, self._units(pids))
        ]
        if case.right is Right.ACCESS:
            states = self._vault.states(pids)
            told["state"] = sorted({state.value for state in states.values()})
            told["disclosures"] = [
                {**one, "day": day_of(one["day"]).isoformat()} for one in self._disclosures.read(pids)
            ]
            told["requests"] = self._requests(pids)
            told["terms"] = self._terms(case.project)
        return told

    def _records(self, case: Case, pids: Sequence[bytes]) -> list[dict[str, Any]]:
        mandate = Mandate(case.decider, case.purpose, case.project)
        known = sorted(self._vault.states(pids))
        opened = self._vault.open(known, mandate, states=LIVING, history=case.right is Right.ACCESS)
        day = (pl.lit(date(1970, 1, 1)) + pl.duration(days="received_day")).alias("received")
        frame = opened.with_columns(day).drop(*_DERIVED, "received_day").sort("source", "version")
        return [_plain(row) for row in frame.to_dicts()]

    def _units(self, pids: Sequence[bytes]) -> list[str]:
        standing = self._people.standing(Kind.PERSON, pl.Series(list(pids), dtype=pl.Binary))
        return sorted(unit.hex() for unit in standing["unit"])

    def _joins(self, pids: Sequence[bytes]) -> list[dict[str, Any]]:
        links = self._people.links(list(pids))
        return [
            {"weight": weight, "run": run, "words": words.of_record_link(weight, not run)}
            for weight, run in links.sort("weight", descending=True).iter_rows()
        ]

    def _requests(self, pids: Sequence[bytes]) -> list[dict[str, Any]]:
        with self._vault.tools.store.read() as at:
            found = self._casebook.about(at, pids)
        return [shown(one, ()) for one in sorted(found, key=lambda one: (one.received, one.case_id))]


def shown(case: Case, contacts: Contacts) -> dict[str, Any]:
    """A case as the person is told of it."""
    decision = case.decision
    return {
        "case_id": case.case_id,
        "project": case.project,
        "right": case.right.value,
        "received": case.received.isoformat(),
        "due": case.due.isoformat(),
        "extended": case.delay.value if case.delay else None,
        "decided": case.decided.isoformat() if case.decided else None,
        "outcome": decision.outcome.value if decision else None,
        "reasons": [f"{words} ({law})" for _, law, words in refusals(case)],
        "contacts": [dict(one) for one in contacts],
    }


def day_of(number: int) -> date:
    """The day of a number of days since 1970."""
    return date(1970, 1, 1) + timedelta(days=number)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, date) else _each(value)
        for name, value in row.items()
        if value not in (None, [], "")
    }


def _each(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [
        {name: one.isoformat() if isinstance(one, date) else one for name, one in each.items() if one}
        for each in value
    ]
