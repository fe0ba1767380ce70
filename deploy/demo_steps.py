"""The demo's steps: each does its part of the study, and says in a table what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.text import Text

from benchmarks.county.councils import COUNCILS
from benchmarks.county.county import County
from benchmarks.county.presets import PRESETS, REGISTERS
from benchmarks.county.score import Truth
from benchmarks.county.write import delivery_days, write_county
from deploy import apart, study, truth
from deploy.demo_promises import Promises
from deploy.roles import Processes
from deploy.service import Service, StudyError
from deploy.story import Story, table
from linker.evaluate import wilson
from pseudonym import grouped
from pseudonym.hpke import OpeningKey
from pseudonym.release.report import Report
from pseudonym.roles.callers import SERVER_ROLES

TITLES = {
    "pnc": "Police computer",
    "prisons": "Prisons",
    "npd": "Pupils",
    "ilr": "Learners 16+",
    "wpls": "Work, benefits",
    "hes": "Hospitals",
    "mhmds": "Mental health",
    "ndtms": "Drug treatment",
}
LONG = 9  # letters of a surname that is looked for: shorter ones are words too


class Demo:
    """The study as it is told.

    Attributes:
        figures: what came of it, for the summary.
    """

    def __init__(self, story: Story, folder: Path, key: bytes) -> None:
        """Prepare it.

        Args:
            story: what the reader sees.
            folder: where everything is made.
            key: of the made-up councils and holders.
        """
        self._story, self._folder, self._key = story, folder, key
        self._county, self._roles = folder / "county", folder / "roles"
        self._deliveries: dict[str, list[study.Sent]] = {}
        self._sent: dict[str, pl.DataFrame] = {}
        self._rows = 0
        self.figures: dict[str, Any] = {}

    def make_county(self, families: int, seed: int) -> None:
        """Make the files, and the truth in a folder of its own."""
        with self._story.bar("Making"):
            rows = write_county(County(families, seed, PRESETS["realistic"]), self._county)
        councils = sum(count for name, count in rows.items() if name.startswith("councils/"))
        registers = sum(count for name, count in rows.items() if name.startswith("registers/"))
        self._story.say(
            f"{families:,} families, of whom three councils deliver {councils:,} rows, in two years,",
            "each with headings, codes and errors of its own.",
            f"{registers:,} records in eight registers, stale, misspelt, and mostly of others.",
        )
        self.figures |= {"families": families, "rows": rows}

    def start(self, roles: Processes) -> None:
        """Start the three roles."""
        with self._story.bar("Starting"):
            try:
                addresses = roles.start()
            except RuntimeError as error:
                raise StudyError(str(error)) from None
        shown = table(["Role", "has", "never sees"], right=())
        shown.add_row("identity", "names, birthdays, addresses", "attributes, reference numbers")
        shown.add_row("broker", "random ids, keys between them", "names, attributes")
        shown.add_row("attributes", "problems, help, registers' rows", "names, addresses")
        self._story.say(shown, "gRPC over TLS, each caller with a certificate of its own. Logs in roles/.")
        self._service = Service(addresses, roles.certificates, study.PROJECT, study.PURPOSE)

    def begin(self) -> None:
        """Begin the project, and declare what may be stored."""
        declared = study.begin(self._service)
        columns = sum(len(one.columns) for one in declared)
        self._story.say(
            f"Project {study.PROJECT}, for {study.RECIPIENT}; {len(declared)} datasets, {columns} columns:",
            "numbers, codes, months and flags. There is no place for text.",
        )

    def deliver(self) -> None:
        """Look through the councils' files, divide and send what leaves."""
        shown = table(["File", "rows", "leave", "families", "eligible", "refused"], right=(1, 2, 3, 4, 5))
        for day in delivery_days():
            for council in COUNCILS:
                found = study.look_through(self._county, council, day)
                with self._story.bar("Sending") as feed:
                    sent = study.deliver(self._service, found, self._key, feed)
                self._deliveries.setdefault(day, []).append(sent)
                self._sent[f"councils/{council}/{day}"] = sent.references
                told = found.figures()
                rows, families = told["rows"], told["families"]
                numbers = (rows["in_file"], rows["leaving"], sum(families.values()), families["eligible"])
                shown.add_row(
                    f"{council} {day[:4]}", *(f"{one:,}" for one in numbers), f"{rows['refused']:,}"
                )
        found.explanations().write_csv(self._folder / "explanations.csv")
        self._story.say(
            shown,
            "A family with two of six problems is eligible. Others stay at the council.",
            "Names and numbers go to one role, problems and help to another.",
        )

    def join(self) -> None:
        """The rows become persons, one delivery after the other."""
        shown = table(["Delivery", "rows", "new persons", "joined known ones"], right=(1, 2, 3))
        for day, files in self._deliveries.items():
            total: dict[str, int] = {}
            for file in files:
                with self._story.bar("Joining") as feed:
                    counts = study.join(self._service, file, feed)
                total = {name: total.get(name, 0) + count for name, count in counts.items()}
            rows = sum(file.rows for file in files)
            shown.add_row(day, f"{rows:,}", f"{total['new']:,}", f"{total['joined']:,}")
        self._story.say(
            shown, "Each person has a random id, under which the identifiers lie sealed.",
        )  # fmt: skip

    def link(self) -> None:
        """Send the registers' extracts, link each, and hold the links against the truth."""
        known_truth = Truth.read(self._county / "truth")
        key = truth.unit_key(self._roles / "identity-role" / "identity")
        known = truth.known_to(known_truth, key, study.PROJECT, self._sent)
        scores, day = [], delivery_days()[-1]
        shown = table(
            ["Register", "records", "of age", "linked", "right", "found", "review", "kin"], right=range(1, 8)
        )
        for register in REGISTERS:
            halves, references = study.extract(self._county, register, self._key)
            with self._story.bar("Sending") as feed:
                submission, _ = study.send_extract(self._service, register, halves, f"{register}-1", feed)
            with self._story.bar("Linking") as feed:
                job, figures = study.link(self._service, submission, register, day, feed)
            score = truth.judged(known_truth, known, register, references, study.links_of(self._service, job))
            scores.append(score)
            linked, right, found = (
                figures["linked"],
                *(truth.share(score, of) for of in ("precision", "recall")),
            )
            kin = truth.false_links(score, ("twin", "sibling"))
            self.figures.setdefault("registers", {})[register] = {
                **linked, "precision": right, "recall": found, "twins_and_siblings": kin,
            }  # fmt: skip
            shown.add_row(
                TITLES[register],
                f"{halves.identifiers.height:,}",
                f"{linked['persons'] - linked.get('persons_not_applicable', 0):,}",
                f"{linked.get('persons_linked', 0):,}",
                *(f"{100 * hits / of:.1f}%" if of else "" for hits, of in (right, found)),
                f"{linked.get('persons_review', 0) + linked.get('persons_ambiguous', 0):,}",
                f"{kin:,}",
            )
        pl.concat(scores).write_csv(self._folder / "links.csv")
        hits, of = (
            sum(one["precision"][place] for one in self.figures["registers"].values()) for place in (0, 1)
        )
        low, high = wilson(hits, of) or (0.0, 1.0)
        self._story.say(
            shown,
            f"{hits:,} of {of:,} linked persons are linked rightly ({100 * low:.2f} to {100 * high:.2f}%).",
            "found: of those who are in the register. review: for people to decide.",
            "kin: links to a twin, brother or sister. Hospitals and drug treatment have",
            "no names: who has moved cannot be told there without an NHS number.",
        )

    def release(self, approvers: Mapping[str, Ed25519PrivateKey]) -> None:
        """Build the analysis file, have it approved, and open it at the recipient."""
        with self._story.bar("Settling"):
            rows = apart.settled(self._roles)
        opening, _ = OpeningKey.generate()
        recipient = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        text = (Path(__file__).parent / "analysis.toml").read_text()
        text = text.format(sealing=opening.public.hex(), signing=recipient.hex())
        with self._story.bar("Building"):
            made, fetched = study.release(self._service, text, approvers)
        report = Report.from_file(made.report)
        (self._folder / "report.txt").write_text(report.text())
        content = fetched(opening)
        files = [path.name for path in study.written(content, self._folder / "analysis")]
        told = json.loads(content.manifest)["rows"]
        persons = pl.read_parquet(self._folder / "analysis" / "persons.parquet")
        shown = table(["Table", "rows"], right=(1,))
        for name, count in told.items():
            shown.add_row(name.removesuffix(".parquet"), f"{count:,}")
        self._story.say(
            f"{rows:,} rows of attributes are stored, sealed.",
            shown,
            "Checked: allowed columns, ten people of ten families who look alike,",
            "identifiers in values. Two people signed exactly this; the recipient's key",
            "opened it.",
            Text.assemble(
                "A person in it is ", (grouped(persons["person"][0]), "cyan"), ", to this recipient alone."
            ),
        )
        self.figures |= {"attribute_rows": rows, "analysis": told, "files": files}

    def promises(self, roles: Processes) -> Promises:
        """What was promised to people and councils, in steps of its own."""
        asked = self._deliveries[delivery_days()[-1]][0].identifiers
        return Promises(self._story, self._folder, roles, self._service, asked)

    def look_into(self) -> None:
        """Look for what does not belong into each role's files, byte by byte, and for ids that two share."""
        words = self._identifiers()
        found = apart.found_in(self._roles, words)
        shared = apart.ids_in_both(self._roles)
        shown = table(["In the files of", *words], right=range(1, len(words) + 1))
        for role in SERVER_ROLES:
            shown.add_row(role, *(f"{count:,}" for count in found[role].values()))
        looked = sum(map(len, words.values()))
        self._story.say(
            shown,
            f"{looked:,} names and numbers were looked for in every file, byte by byte.",
            f"Ids that the databases of identity and attributes have in common: {shared}.",
        )
        self.figures["found"] = {
            f"{what} in {role}": count for role in SERVER_ROLES for what, count in found[role].items()
        } | {"ids in both": shared}

    def _identifiers(self) -> dict[str, set[str]]:
        """What of the councils' people must be found nowhere in the clear."""
        halves = [
            pl.read_parquet(self._county / "registers" / f"{name}.parquet") for name in ("npd", "wpls", "hes")
        ]
        pupils, workers, patients = halves
        surnames = {one for one in pupils["surname"].drop_nulls() if len(one) >= LONG}
        return {
            "surnames": surnames | {one.capitalize() for one in surnames},
            "NHS numbers": set(patients["nhs_number"].drop_nulls()),
            "NI numbers": set(workers["nino"].drop_nulls()),
            "pupil numbers": set(pupils["upn"].drop_nulls()),
        }
