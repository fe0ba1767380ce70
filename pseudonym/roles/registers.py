"""An extract of a register is linked with the persons in the vault, and the broker told whose its rows are.

    everybody known (in memory only) ──link──▶ rows of persons, rows of nobody, outcomes ──▶ broker

The rules this module keeps:

- Nobody is made known, and no row of the register is kept here: what is told names a row by its reference,
  and a person by their id of now, after the broker has heard who has moved.
- Identities that are opened for it stay in memory, and are in the audit log before.
- Each telling is a run of its own: one that broke off is told again from its start, and the later run holds.
- Protected people are searched in no register, and told as anybody who is not found: as not linked, or as
  nobody who can be in it, by their age. Nobody learns who they are. So are those who opted out, or asked that
  nothing be shared of them.

Who links is no part of this side: `link` and `unsought` are functions from frames to frames
(`linker.registers`).
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Final, NamedTuple

import polars as pl

from pseudonym import hpke
from pseudonym.disclosures import Disclosures
from pseudonym.errors import InputError
from pseudonym.exchange_file import IDENTIFIERS, context
from pseudonym.openings import Mandate
from pseudonym.optouts.checks import Passed
from pseudonym.ordering import by_content
from pseudonym.outcomes import NONE
from pseudonym.people import People
from pseudonym.roles.arrow import ROWS, written
from pseudonym.roles.flat import FLAT, spread
from pseudonym.roles.joining import NO_ROWS, Errand, Progress, alone, patiently
from pseudonym.roles.opting_out import OptOuts, away
from pseudonym.roles.reports import Reports
from pseudonym.roles.senders import bound
from pseudonym.units import UnitKey
from pseudonym.urn import ID_BYTES, check_label

_TOLD: Final = ("row_ref", "unit", "pid", "fid")


class Found(NamedTuple):
    """What a linkage found.

    Attributes:
        rows: `row_ref` (text) and `record` (text; null: the row is nobody's), one row each; of rows that
            somebody has to look at there are none.
        persons: `person` (text), `outcome`, `stage` and `band` (codes; null where there is none).
        counts: by name, for the job's report.
    """

    rows: pl.DataFrame
    persons: pl.DataFrame
    counts: dict[str, int]


class Asked(NamedTuple):
    """For whom a register's holder is told of people: the recipient, the holder's key, and the last day."""

    recipient: str
    public_key: bytes
    ends: date


class Part(NamedTuple):
    """A part of the file for a holder: identifiers and numbers, each sealed, of so many persons."""

    number: int
    last: bool
    identifiers: bytes
    numbers: bytes
    persons: int


Carry = Callable[[pl.DataFrame], pl.DataFrame]
"""From those who are known, as for `Link`, to those who can be in a register: `person`, `record` and the
fields that it carries."""
Link = Callable[[pl.DataFrame], Found]
"""From those who are known (`person`, `family`, `authority`, `record`, `changed` (the day of its last
correction; null: none) and the columns `FLAT`, all text; a record has a row for each of its names and
addresses, a person one or more records) to what is theirs."""
Unsought = Callable[[pl.DataFrame], pl.DataFrame]
"""From `person` and `COUNTED` (text; null: not known) of those who are kept out, a row for each name and
address, to what is said of them: as `Found.persons`."""
COUNTED: Final = ("born", "sex", "postcode")
"""What figures count people by."""


class Registers:
    """Links registers with the people in one vault; its methods may be called from any thread."""

    def __init__(
        self, people: People, key: UnitKey, reports: Reports, disclosures: Disclosures, optouts: OptOuts
    ) -> None:
        self._people, self._key, self._reports = people, key, reports
        self._disclosures, self._optouts = disclosures, optouts
        self._turn = threading.Lock()

    def link(
        self, errand: Errand, refs: pl.Series, link: Link, unsought: Unsought, progress: Progress
    ) -> dict[str, int]:
        """Link an extract with everybody who is known.

        Args:
            errand: what for; its source is the register's code.
            refs: the row references of the extract, text, 32 hexadecimal digits.
            link: see `Link`; called once.
            unsought: see `Unsought`; called once.
            progress: called with (stage, done, total); what it raises ends the work, which may be done again.

        Returns:
            How many persons were looked at, and what the linkage counted.

        Raises:
            PseudonymError: a row or the project cannot be used, or identities may not be opened for this.
        """
        check_label(errand.project, "project")
        check_label(errand.source, "register")
        if not refs.str.contains("^[0-9a-f]{32}$").all():
            raise InputError(
                "The id of a record is no row reference.",
                "Give every row a random one of 32 hexadecimal digits, the same in both halves.",
            )
        self.check(errand.project, errand.source)
        patiently(progress, lambda: self._reports.rows(errand.project, errand.purpose, NO_ROWS))
        with alone(self._turn, progress):
            passed = self._optouts.gate(errand.project, errand.source, read=True)
            known, guarded = self._known(errand, passed, progress)
            found = link(known)
            unfound = unsought(guarded.select("person", *COUNTED))
            patiently(progress, self._reports.settle)  # or rows would be told of who has moved on
            rows = self._rows(errand, refs, found.rows)
            said = pl.concat([_said(known, found.persons), _said(guarded, unfound)])
            persons = self._persons(errand, said)
            self.check(errand.project, errand.source)  # a list may have become too old meanwhile
            basis = None if passed is None else (passed.basis, passed.until)
            told = (errand.project, errand.purpose, errand.source, rows, persons, basis)
            patiently(progress, lambda: self._reports.register(*told))
        # Whoever was kept out is counted as who was not found: no figure tells that there was somebody.
        counts = Counter({"persons": persons.height, **found.counts})
        kept_out = unfound["outcome"].value_counts().iter_rows()
        counts.update({f"persons_{outcome.lower()}": count for outcome, count in kept_out})
        return dict(counts)

    def check(self, project: str, register: str) -> None:
        """Say what a register cannot be linked for, whatever its rows.

        Raises:
            OptOutMissingError, OptOutStaleError: the National Data Opt-out is not applied.
        """
        self._optouts.gate(project, register)

    def show(self, project: str, purpose: str, actor: str, records: Sequence[str]) -> pl.DataFrame:
        """Open a few records of people for somebody who judges pairs.

        Args:
            project: the project.
            purpose: what for.
            actor: who looks.
            records: by the ids that `Link` is given; those of nobody, or of the protected, are passed over.

        Returns:
            `record` and the columns `FLAT`, all text, a row for each name and address of a record.

        Raises:
            PseudonymError: identities may not be opened for this.
        """
        units = pl.Series("unit", [bytes.fromhex(record) for record in records], dtype=pl.Binary)
        opened = self._people.show(Mandate(actor, purpose, project), units)
        return spread(opened, opened.select(record=pl.col("unit").bin.encode("hex")))

    def export(self, errand: Errand, asked: Asked, carry: Carry) -> Iterator[Part]:
        """What a register carries of those who can be in it, sealed to its holder, part by part; see `Part`.

        Args:
            errand: what for; its source is the register's code.
            asked: for whom, and until when.
            carry: gives what the register carries; called once.

        Raises:
            PseudonymError: the project, the recipient or the purpose cannot be used, or the broker be asked.
        """
        passed = self._optouts.gate(errand.project, errand.source, read=True)
        opened = self._known(errand, passed, lambda stage, done, total: None)[0]
        told = carry(opened)
        self._reports.settle()  # or numbers would be given of ids that gave way
        records = told.unique("person", keep="first", maintain_order=True).select(
            "person", unit=pl.col("record").str.decode("hex")
        )
        now = records.join(self._people.members(records["unit"]), on="unit", maintain_order="left")
        people = now.unique("pid", keep="first", maintain_order=True).sort("pid").select("person", "pid")
        drawn = pl.Series("handle", [os.urandom(ID_BYTES) for _ in range(people.height)], dtype=pl.Binary)
        handed = people.with_columns(drawn)
        parts = list(handed.iter_slices(ROWS)) or [handed]
        fields = [name for name in told.columns if name not in ("person", "record")]
        for number, some in enumerate(parts, start=1):
            last = number == len(parts)
            place = (asked.ends.isoformat(), number, last)
            rows = some.select("handle", "pid").sort("handle")
            sealed, there = self._reports.numbers(
                errand.project, errand.purpose, asked.recipient, rows, place
            )
            # Whom the broker does not know in this project is nobody's to be told of.
            here = some.join(there, on="handle", how="semi")
            mine = here.select("handle", "person")
            self._noted(errand, asked, here["pid"].to_list(), fields)
            shown = mine.join(told.drop("record"), on="person").drop("person").unique().sort(pl.all())
            where = context(IDENTIFIERS, errand.project, asked.recipient, *place)
            identifiers = hpke.seal(asked.public_key, written(shown), *where)
            yield Part(number, last, identifiers, sealed, mine.height)

    def _noted(self, errand: Errand, asked: Asked, pids: list[bytes], fields: list[str]) -> None:
        """Note to whom people's data go, before they do."""
        self._disclosures.note(
            pids,
            project=errand.project,
            who=f"{asked.recipient} ({errand.source})",
            fields=fields,
            why=errand.purpose,
        )

    def _known(
        self, errand: Errand, passed: Passed | None, progress: Progress
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Everybody but those who are kept out, and of these `person`, `record` and `COUNTED`.

        Protected people are, who asked that nothing be shared of them, and for health data whoever the
        cleared list has not or had their NHS number taken out.
        """
        unshared = self._optouts.unshared(errand.source, passed)
        mandate = Mandate(errand.actor, errand.purpose, errand.project)
        found, guarded, opened = [self._spread(_NOBODY)], [self._spread(_NOBODY).select(_TOLD_OF)], 0
        for some in self._people.known(mandate):
            opened += some.height
            progress("open", opened, 0)
            apart = set(some.filter("protected")["pid"].to_list()) | unshared | away(some, passed)
            hidden = pl.col("pid").is_in(list(apart))
            guarded.append(self._spread(some.filter(hidden)).select(_TOLD_OF))
            found.append(self._spread(some.filter(~hidden)))
        known = by_content(pl.concat(found), ("authority", *FLAT), ("person", "family"))
        # What tells persons and families apart is a number for this linkage, and not their id: in the order
        # of what is known of them, so that the ids settle no tie.
        numbers = (_numbered(known[name]) for name in ("person", "family"))
        kept_out = pl.concat(guarded)
        return known.with_columns(numbers), kept_out.with_columns(_numbered(kept_out["person"]))

    def _spread(self, opened: pl.DataFrame) -> pl.DataFrame:
        """Those who are known, as who links sees them but for their ids."""
        of = self._people.members(opened["unit"]).select("unit", "fid")
        families = opened.select("unit").join(of, on="unit", how="left", maintain_order="left")["fid"]
        beside = opened.select(
            person="pid",
            authority="source",
            record=pl.col("unit").bin.encode("hex"),
            changed=pl.col("changed").dt.to_string("%Y-%m-%d"),
        ).insert_column(1, families.alias("family"))
        return spread(opened, beside)

    def _rows(self, errand: Errand, refs: pl.Series, found: pl.DataFrame) -> pl.DataFrame:
        """Whose the rows are now."""
        strangers = found.join(refs.rename("row_ref").to_frame(), on="row_ref", how="anti").height
        if strangers or not found["row_ref"].is_unique().all():
            raise InputError("The linkage is about rows that the extract has not, or twice about one.")
        octets = found.with_columns(pl.col("row_ref", "record").str.decode("hex"))
        told = bound(errand.sender, octets["row_ref"].to_list())
        units = self._key.rows(errand.project, errand.source, told)
        members = self._people.members(octets["record"].drop_nulls())
        return (
            octets.with_columns(
                row_ref=pl.Series(told, dtype=pl.Binary), own=pl.Series(units, dtype=pl.Binary)
            )
            .join(members, left_on="record", right_on="unit", how="left", maintain_order="left")
            .select("row_ref", pl.col("own").alias("unit"), "pid", "fid")
        )

    def _persons(self, errand: Errand, said: pl.DataFrame) -> pl.DataFrame:
        """What is said of each person, by their id of now."""
        now = said.join(self._people.members(said["unit"]), on="unit", maintain_order="left")
        # Two who were merged meanwhile are one: what was found of either is said.
        least = pl.col("outcome").replace_strict({"LINKED": 0, "NOT_APPLICABLE": 2}, default=1)
        now = now.sort(least, maintain_order=True).unique("pid", keep="first")
        pids = now["pid"].to_list()
        units = self._key.outcomes(errand.project, errand.source, pids)
        refs = [os.urandom(ID_BYTES) for _ in pids]
        codes = [pl.col(name).fill_null(NONE) for name in ("outcome", "stage", "band")]
        return now.select(
            pl.Series("row_ref", refs, dtype=pl.Binary),
            pl.Series("unit", units, dtype=pl.Binary),
            "pid",
            "fid",
            outcome=pl.concat_str(codes, separator=" "),
        ).sort("row_ref")  # or those who were kept out would stand together


_TOLD_OF: Final = ("person", "record", *COUNTED)
"""All that is told of those who are kept out."""
_NOBODY: Final = pl.DataFrame(
    schema={"unit": pl.Binary, "pid": pl.Binary, "source": pl.String, "changed": pl.Date}
)


def _said(persons: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """What is said of persons, by a record of each: unit, outcome, stage and band."""
    records = persons.unique("person", maintain_order=True).select("person", "record")
    return records.join(found, on="person", maintain_order="left").select(
        "outcome", "stage", "band", unit=pl.col("record").str.decode("hex")
    )


def _numbered(ids: pl.Series) -> pl.Series:
    """Ids as numbers in the order in which they first come, text; null for none."""
    unique = ids.drop_nulls().unique(maintain_order=True).to_frame()
    numbers = unique.with_row_index("number", offset=1).with_columns(pl.col("number").cast(pl.String))
    known = ids.to_frame().join(numbers, on=ids.name, how="left", maintain_order="left")
    return known["number"].rename(ids.name)
