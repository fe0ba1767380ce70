"""The demo's steps about what was promised: tables, rights, withdrawal, the end of a month."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy import rights, study
from deploy.roles import Processes
from deploy.service import Service, StudyError
from deploy.story import Story, table
from pseudonym.audit.checkpoint import VerifierKey
from pseudonym.audit.verify import verify
from pseudonym.rights.letter import letter
from pseudonym.roles.callers import SERVER_ROLES, Role
from pseudonym.roles.commands_table import ready_made
from pseudonym.tables.handout import handed_out
from pseudonym.tables.published import Published
from pseudonym.tables.spec import TOTAL
from pseudonym.v1 import vault_pb2

MONTH = 32  # days: a register's extract is kept for 31
TRIES = 20
PATIENCE, PAUSE = 60.0, 2.0  # seconds: for duties to be done, and between two looks


class Promises:
    """What the study promises, kept.

    Args:
        story: what the reader sees.
        folder: where outputs go.
        roles: the processes.
        service: how they are called.
        sent: identifiers of rows that a council sent, of whom some ask.

    Attributes:
        figures: what came of it, for the summary.
    """

    def __init__(
        self, story: Story, folder: Path, roles: Processes, service: Service, sent: pl.DataFrame
    ) -> None:
        self._story, self._folder, self._roles, self._service = story, folder, roles, service
        self._people = _recognisable(sent)
        self.figures: dict[str, Any] = {}

    def tell_council(self, approvers: Mapping[str, Ed25519PrivateKey]) -> None:
        """Have a table counted, protected, attacked and approved, and read it as a council does."""
        with self._story.bar("Counting"):
            made = study.table(self._service, ready_made("services"), approvers)
            read = study.read_table(self._service, made.name)
        for name, data in handed_out(read, "table").items():
            (self._folder / name).write_bytes(data)
        marked = sum(bool(one.mark) for one in read.lines)
        areas = list(dict.fromkeys(one.categories[0] for one in read.lines))
        shown = table(["Families with", *areas], right=range(1, 1 + len(areas)))
        for row in _rows(read, areas):
            shown.add_row(*row)
        self._story.say(
            shown,
            f"What {study.AREA} reads: its own area and all. Ten persons and ten families at",
            "least, rounded to five; a solver tried to work out what is left away (c).",
        )
        self.figures["table"] = {"lines": len(read.lines), "suppressed": marked}

    def answer_people(self) -> None:
        """Answer an access request, correct a name, withdraw a family."""
        with self._story.bar("Deciding"):
            case, answer = self._first(
                lambda person: rights.access(self._service, person, rights.officers(self._folder / "roles"))
            )
            self._first(lambda person: rights.rectified(self._service, person, {"surname": "Corrected"}))
            gone = self._first(
                lambda person: study.withdraw_family(self._service, vault_pb2.SoughtPerson(**person))
            )
        (self._folder / "access.json").write_text(json.dumps(answer, indent=1, ensure_ascii=False) + "\n")
        (self._folder / "answer.txt").write_text(letter(answer))
        rows = sum(len(some["rows"]) for some in answer["attributes"]["datasets"])
        self._story.say(
            f"Somebody asked for a copy, due on {case.due}: each role seals its half,",
            f"and the officer joins them. It has {rows:,} rows of attributes, and every link",
            "explained: see answer.txt.",
            "A surname was corrected: the number stays, and links are made anew.",
            f"A family withdrew: {gone} persons are gone from all three roles, and stay away",
            "under another spelling too. The recipient's list has their numbers.",
        )
        self.figures["rights"] = {"access_rows": rows, "withdrawn": gone}

    def a_month_on(self) -> None:
        """Set the clock ahead by a month: what was sent for matching is destroyed, with certificates."""
        with self._story.bar("A month"):
            later = study.later(self._roles, self._service, MONTH)
            found = _settled(lambda: study.certificates_of(later, Role.IDENTITY))
        folder = self._folder / "certificates"
        folder.mkdir(exist_ok=True)
        for number, certificate in enumerate(found, start=1):
            (folder / f"destroyed-{number:02}.json").write_bytes(certificate)
        self._story.say("The extracts are destroyed by themselves; a signed certificate says so.")
        self.figures["certificates"] = len(found)

    def check_logs(self) -> None:
        """Verify the audit log of each role offline, once the roles have stopped."""
        shown = table(["Log of", "entries", "checkpoints that hold"], right=(1, 2))
        for role in SERVER_ROLES:
            log = self._roles.audit_log(role)
            key = VerifierKey.parse((log / "public-key").read_text().strip())
            found = verify(log, log.with_name("checkpoints"), [key])
            shown.add_row(role, f"{found.entries:,}", f"{found.checkpoints:,}")
            self.figures.setdefault("audit", {})[str(role)] = found.entries
        self._story.say(shown, "Each is as it was written: nothing is cut, exchanged or taken out.")

    def _first(self, ask: Any) -> Any:
        """What the first person gets who is found once; each is taken from the list."""
        for _ in range(TRIES):
            person = self._people.pop()
            try:
                return ask(person)
            except StudyError:
                continue
        raise StudyError("None of the people who ask is found in the vault.")


def _settled(ask: Callable[[], list[bytes]]) -> list[bytes]:
    """What is answered once it has something and grows no more: duties are done soon after a start."""
    found, until = ask(), time.monotonic() + PATIENCE
    while time.monotonic() < until:
        time.sleep(PAUSE)
        now = ask()
        if now and len(now) == len(found):
            break
        found = now
    return found


def _recognisable(sent: pl.DataFrame) -> list[dict[str, str]]:
    """People of different families by day of birth and an NHS number that no other row has."""
    known = sent.drop_nulls(["date_of_birth", "nhs_number", "family"])
    once = known.filter(pl.len().over("nhs_number") == 1).unique("family", keep="first", maintain_order=True)
    rows = once.select(born="date_of_birth", nhs="nhs_number").to_dicts()
    return rows[: 5 * TRIES][::-1]


def _rows(read: Published, areas: Sequence[str]) -> list[list[str]]:
    """Each measure, in an area and in all, over both arms."""
    found = []
    for name, meaning, kind in read.measures:
        of = {
            one.categories[0]: one
            for one in read.lines
            if one.measure == name and set(one.categories[1:]) <= {TOTAL}
        }
        unit = "%" if kind == "rate" else ""
        values = [
            "" if area not in of else of[area].mark or f"{of[area].value or 0:,.0f}{unit}" for area in areas
        ]
        found.append([meaning.removeprefix("Families with ").removeprefix("an ").removeprefix("a "), *values])
    return found
