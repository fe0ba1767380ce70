"""`kinlink lead`, `kinlink casework`: a council's own records, which nobody links.

Who leads for a family, how long records are kept at least, what was claimed. Data on stdout, questions and
complaints on stderr; exit code 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from pseudonym import clock
from pseudonym.casework import desk as desks
from pseudonym.casework.book import Claim, Right
from pseudonym.errors import InputError
from pseudonym.lawful.sharing import Wish
from pseudonym.retention.schedules import Kind
from pseudonym.roles.commands import HELP, complaining, plain

lead_app = typer.Typer(name="lead", help="Who is the lead professional of a family.", **HELP)
casework_app = typer.Typer(
    name="casework", help="How long a council keeps its own records, and what it claimed.", **HELP
)

DeskFolder = Annotated[Path, typer.Option("--desk", metavar="FOLDER", help="The council's desk.")]
Who = Annotated[str, typer.Option("--who", help="Who works at the desk: for its audit log.")]
OfFamily = Annotated[str, typer.Argument(metavar="FAMILY", help="The council's own reference.")]
Code = Annotated[str, typer.Option("--professional", help="The professional's code.")]
Category = Annotated[str, typer.Option("--category", help="Of the record.")]
Day = Annotated[str, typer.Option("--day", help="YYYY-MM-DD; today where nothing is said.")]
SUPPORT = "support-record"


@lead_app.command("desk")
def make_desk(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to make it.")],
    log: Annotated[str, typer.Option("--log", help="The log's name: council.example/casework.")],
    officer: Annotated[
        Path, typer.Option("--officer-key", metavar="PEM", help="The data protection officer's public key.")
    ],
    checkpoints: Annotated[
        Path, typer.Option("--checkpoints", metavar="FOLDER", help="The folder that another party keeps.")
    ],
    schedules: Annotated[
        Path | None, typer.Option("--schedules", metavar="TOML", help="The council's own schedules.")
    ] = None,
) -> None:
    """Make a council's desk for its own records, and show the key that checks its audit log."""
    with complaining():
        print(desks.create(folder, log, officer, checkpoints, schedules))


@lead_app.command("professional")
def professional(
    desk: DeskFolder,
    who: Who,
    code: Code,
    name: Annotated[str, typer.Option("--name", help="As enquirers are told.")],
    contact: Annotated[str, typer.Option("--contact", help="For the council alone.")] = "",
) -> None:
    """Note a professional."""
    with complaining(), desks.opened(desk, who) as opened:
        opened.change(opened.book.add_professional(code, name, contact), "professional.added", code)


@lead_app.command("left")
def left(desk: DeskFolder, who: Who, code: Code, day: Day = "") -> None:
    """Note that a professional left: from then on they lead for nobody, and their time begins."""
    with complaining(), desks.opened(desk, who) as opened:
        opened.change(opened.book.leave(code, _day(day)), "professional.left", code)


@lead_app.command("set")
def set_lead(family: OfFamily, desk: DeskFolder, who: Who, code: Code, day: Day = "") -> None:
    """Name the lead professional of a family; a second one is refused."""
    with complaining(), desks.opened(desk, who) as opened:
        opened.change(opened.book.set_lead(family, code, _day(day)), "lead.set", family)


@lead_app.command("end")
def end_lead(family: OfFamily, desk: DeskFolder, who: Who, day: Day = "") -> None:
    """End the lead of a family."""
    with complaining(), desks.opened(desk, who) as opened:
        opened.change(opened.book.end_lead(family, _day(day)), "lead.ended", family)


@lead_app.command("enquire")
def enquire(
    family: OfFamily,
    desk: DeskFolder,
    who: Who,
    by: Annotated[str, typer.Option("--by", help="Who enquires, and for whom they work.")],
) -> None:
    """Tell another professional who leads for a family: the name, and nothing else."""
    with complaining(), desks.opened(desk, who) as opened:
        print(plain(opened.enquire(family, by) or "Nobody leads for a family of this reference."))


@casework_app.command("contact")
def contact_with(
    family: OfFamily, desk: DeskFolder, who: Who, category: Category = SUPPORT, day: Day = ""
) -> None:
    """Note a contact: the time of the record begins anew."""
    with complaining(), desks.opened(desk, who) as opened:
        opened.change(opened.book.contact(family, category, _day(day)), "record.contact", family)


@casework_app.command("close")
def close(family: OfFamily, desk: DeskFolder, who: Who, category: Category, day: Day = "") -> None:
    """Note that a record was closed."""
    with complaining(), desks.opened(desk, who) as opened:
        opened.change(opened.book.close(family, category, _day(day)), "record.closed", family)


@casework_app.command("wish")
def wish(
    family: OfFamily,
    desk: DeskFolder,
    who: Who,
    shown: Annotated[Wish, typer.Option("--shown-by", help="What shows it.")],
    day: Day = "",
) -> None:
    """Note what shows that a family wishes for a service."""
    with complaining(), desks.opened(desk, who) as opened:
        opened.change(opened.book.wish(family, shown, _day(day)), "wish.shown", family, shown_by=shown)


@casework_app.command("delete")
def delete(
    family: OfFamily,
    desk: DeskFolder,
    who: Who,
    category: Category,
    right: Annotated[
        Right | None, typer.Option("--right", help="The right for which it is deleted early.")
    ] = None,
    law: Annotated[str, typer.Option("--law", help="The law by which it is deleted early, in a code.")] = "",
) -> None:
    """Delete a record whose time is over; earlier for a right or by a law alone."""
    with complaining(), desks.opened(desk, who) as opened:
        _show(opened.delete(family, category, right, law))


@casework_app.command("due")
def due(desk: DeskFolder, who: Who) -> None:
    """List what has been kept for long enough: a minimum is looked at, a maximum destroyed."""
    with complaining(), desks.opened(desk, who) as opened:
        for one in opened.book.over(clock.today()):
            what = "destroyed by run" if one.kind is Kind.MAXIMUM else "to be looked at"
            print(f"{one.since}  {one.category:<20} {plain(one.of):<24} {what}")


@casework_app.command("run")
def run(desk: DeskFolder, who: Who) -> None:
    """Destroy what is kept for a time at most, and over."""
    with complaining(), desks.opened(desk, who) as opened:
        for one in opened.sweep():
            _show(one)


@casework_app.command("claim")
def claim(
    period: Annotated[str, typer.Argument(metavar="PERIOD", help="Such as 2026-q4.")],
    desk: DeskFolder,
    who: Who,
    cohort: Annotated[int, typer.Option("--cohort", min=0, help="Families in the programme.")],
    claimed: Annotated[int, typer.Option("--claimed", min=0, help="Families claimed for.")],
    evidence: Annotated[
        list[str] | None, typer.Option("--evidence", metavar="CODE=NUMBER", help="By what; again for each.")
    ] = None,
) -> None:
    """Note how many families were in the programme and claimed for: numbers alone."""
    with complaining():
        counted = Claim(cohort, claimed, dict(_counted(one) for one in evidence or []))
        with desks.opened(desk, who) as opened:
            opened.change(opened.book.claim(period, counted), "claim.noted", period)


@casework_app.command("claims")
def claims(desk: DeskFolder, who: Who) -> None:
    """List what was claimed."""
    with complaining(), desks.opened(desk, who) as opened:
        for period, one in sorted(opened.book.claims.items()):
            by = ", ".join(f"{code} {number:,}" for code, number in sorted(one.evidence.items()))
            print(f"{period:<10} {one.cohort:>9,} in the programme {one.claimed:>9,} claimed  {by}".rstrip())


def _day(text: str) -> date:
    try:
        found = date.fromisoformat(text) if text else clock.today()
    except ValueError:
        raise InputError("A day is written as YYYY-MM-DD.", "Correct --day.") from None
    if found > clock.today():
        raise InputError("The day has not come yet.", "Correct --day.")
    return found


def _counted(text: str) -> tuple[str, int]:
    code, between, number = text.partition("=")
    if not between or not number.isdecimal():
        raise InputError("--evidence is CODE=NUMBER.", "Such as --evidence work=12.")
    return code, int(number)


def _show(certificate: bytes) -> None:
    found = json.loads(certificate)
    print(f"{plain(found['when'])}  {plain(found['what'])}")
