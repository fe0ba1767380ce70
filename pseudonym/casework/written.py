"""The book as bytes, in one spelling."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from pseudonym.casework.book import Book, Claim, Family, Lead, Professional, Record
from pseudonym.files import canonical, parse
from pseudonym.lawful.sharing import Wish
from pseudonym.retention.schedules import Schedules

WHAT = "book"


def to_bytes(book: Book) -> bytes:
    """The book, without its schedules."""
    return canonical(
        {
            "families": {name: _family(one) for name, one in book.families.items()},
            "professionals": {
                code: {"name": one.name, "contact": one.contact, "left": _day(one.left)}
                for code, one in book.professionals.items()
            },
            "claims": {
                period: {"cohort": one.cohort, "claimed": one.claimed, "evidence": dict(one.evidence)}
                for period, one in book.claims.items()
            },
        }
    )


def from_bytes(content: bytes, schedules: Schedules) -> Book:
    """Read what `to_bytes` wrote.

    Raises:
        TamperedError: it is no book.
    """
    found = parse(content, WHAT)
    return Book(
        schedules,
        {name: _read_family(one) for name, one in found["families"].items()},
        {
            code: Professional(one["name"], one["contact"], _read_day(one["left"]))
            for code, one in found["professionals"].items()
        },
        {period: Claim(**one) for period, one in found["claims"].items()},
    )


def _family(one: Family) -> dict[str, Any]:
    return {
        "records": {
            category: [_day(record.last_contact), _day(record.closed)]
            for category, record in one.records.items()
        },
        "leads": [[lead.professional, _day(lead.since), _day(lead.until)] for lead in one.leads],
        "wishes": [[str(wish), _day(day)] for wish, day in one.wishes],
    }


def _read_family(one: Mapping[str, Any]) -> Family:
    return Family(
        {
            category: Record(date.fromisoformat(contact), _read_day(closed))
            for category, (contact, closed) in one["records"].items()
        },
        tuple(Lead(code, date.fromisoformat(since), _read_day(until)) for code, since, until in one["leads"]),
        tuple((Wish(wish), date.fromisoformat(day)) for wish, day in one["wishes"]),
    )


def _day(day: date | None) -> str:
    return "" if day is None else day.isoformat()


def _read_day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None
