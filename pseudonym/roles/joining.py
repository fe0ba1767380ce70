"""A submission joins the persons in the vault: opened, linked by who can, delivered, told to the broker.

    rows ──units──▶ known (in memory only) ──link──▶ links ──deliver──▶ persons, families ──rows──▶ broker

The rules this module keeps:

- Each step may be done again, whole or in part, and comes to the same: units are a keyed function of row
  references, records that are known stay as they are, and the broker takes the same rows twice.
- Rows of people whose data may not be used are put under them and compared with nobody: else they would come
  back as somebody new, whose data may.
- One submission joins at a time: what the one makes, the next one finds.
- Whose data may not be used in other projects is marked at the broker before it offers their rows.
- Identities that are opened for it stay in memory, and are in the audit log before.
- Rows of people who withdrew are delivered as nobody's, and counted as if they were new (`_screened`).
- Nothing is delivered unless the broker knows the project; then a broker that is away delays and no more.

Who links is no part of this side: `link` is a function from frames to a frame (`linker.joining`).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl

from pseudonym import clock, columns
from pseudonym.columns import ALIASES, each_name
from pseudonym.deliveries import Delivery
from pseudonym.errors import InputError
from pseudonym.families import alike
from pseudonym.openings import Mandate
from pseudonym.optouts.book import Screened
from pseudonym.ordering import by_content
from pseudonym.people import People
from pseudonym.rights.recognising import recognised, with_recognised
from pseudonym.roles.flat import CORRECTED, FLAT, flat_known
from pseudonym.roles.opting_out import OptOuts
from pseudonym.roles.refusals import PeerRefusedError, PeerUnavailableError, ProjectUnknownError
from pseudonym.roles.reports import Reports
from pseudonym.roles.senders import bound
from pseudonym.standing import Stamp
from pseudonym.units import UnitKey
from pseudonym.urn import check_label

AT_ONCE = 50_000  # records of a delivery
PAUSE = 0.5  # seconds between two looks whether the way is free

Link = Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]
"""From the rows, as they may be used, and those who are known (record, protected, `FLAT`, `ALIASES`), both
with the day of their last correction (changed; null: none), to links: left, right (row references, or records
that are known), weight, and whether people decided on it."""
Progress = Callable[[str, int, int], None]
Enter = Callable[[str, str, str, pl.Series], object]
"""Tells the broker, before a project gets people (their pids), which of them keep their data from being used:
given the project, the purpose, who asked, and the pids."""
NO_ROWS = pl.DataFrame(schema=dict.fromkeys(("row_ref", "pid", "unit", "fid"), pl.Binary))
"""No row, as the broker is told of rows: it answers whether it knows the project."""
_NOBODY = pl.DataFrame(schema={"unit": pl.Binary, "protected": pl.Boolean, "changed": pl.Date})
_NOBODY_CAME = pl.DataFrame(schema={"unit": pl.Binary, "pid": pl.Binary, "new": pl.Boolean})
_NO_FAMILIES = pl.DataFrame(schema={"unit": pl.Binary, "family": pl.Binary})
_NO_LINKS = pl.DataFrame(schema={"left": pl.Binary, "right": pl.Binary, "weight": pl.Float64})


@dataclass(frozen=True, slots=True)
class Errand:
    """What a submission is joined for.

    Attributes:
        project: its name.
        purpose: a purpose that identities may be opened for.
        actor: who asked.
        source: the council or register that the rows come from.
        sender: who sent them, as in the certificate; nobody where none are sent.
        run: the linkage run: the job's id.
    """

    project: str
    purpose: str
    actor: str
    source: str
    sender: str
    run: str


class Joining:
    """Joins submissions with the people in one vault; its methods may be called from any thread."""

    def __init__(
        self, people: People, key: UnitKey, reports: Reports, optouts: OptOuts, enter: Enter
    ) -> None:
        self._people, self._key, self._reports = people, key, reports
        self._optouts, self._enter = optouts, enter
        self._turn = threading.Lock()

    def check(self, project: str, purpose: str, actor: str, patience: float | None = 0.0) -> None:
        """Say what nothing could be joined for, whatever the rows.

        Args:
            project: its name.
            purpose: what identities would be opened for.
            actor: who asks.
            patience: seconds for which a broker that cannot be reached is tried again; None: as always.

        Raises:
            PurposeError: identities are not opened for this purpose.
            ProjectUnknownError: the broker does not know the project.
            PeerUnavailableError, PeerRefusedError: the broker cannot be asked.
        """
        check_label(project, "project")
        self._people.check(Mandate(actor, purpose, project))
        try:
            self._reports.rows(project, purpose, NO_ROWS, patience)
        except PeerRefusedError as refused:
            if refused.code != "NOT_FOUND":
                raise
            raise ProjectUnknownError(
                "The broker does not know the project.", "A key custodian begins it: kinlink project begin."
            ) from None

    def join(self, errand: Errand, rows: pl.DataFrame, link: Link, progress: Progress) -> dict[str, int]:
        """Join rows with everybody who is known.

        Args:
            errand: what for.
            rows: `row_ref` (text, 32 hexadecimal digits), `family` (the source's reference, null where it has
                none), `protected` (Boolean), the columns `FLAT`, all text, and `ALIASES`.
            link: see `Link`; called once.
            progress: called with (stage, done, total); what it raises ends the work, which may be done again.

        Returns:
            How many persons are `new`, how many rows `joined` one who was known, how many further rows of new
            persons came `together` with their first, and how many links were refused (`refused_links`).

        Raises:
            PseudonymError: a row or the project cannot be used, or identities may not be opened for this.
        """
        if not rows["row_ref"].str.contains("^[0-9a-f]{32}$").all():
            raise InputError(
                "The id of a record is no row reference.",
                "Give every row a random one of 32 hexadecimal digits, the same in both halves.",
            )
        patiently(progress, lambda: self.check(errand.project, errand.purpose, errand.actor, None))
        refs = bound(errand.sender, rows["row_ref"].str.decode("hex").to_list())
        mine = rows.with_columns(
            ref=pl.Series(refs, dtype=pl.Binary),
            unit=pl.Series(self._key.records(errand.project, refs), dtype=pl.Binary),
        )
        with alone(self._turn, progress):
            known, corrected = self._known(errand, mine, progress)
            kept_back = self._kept_back(errand)
            screened, shunned = self._screened(mine)
            mine = screened.rows
            # Who withdrew takes part in linking as anybody who is new, so that its figures tell of nobody.
            rows = mine.join(corrected, on="unit", how="left", maintain_order="left")
            found = _with_units(link(rows.drop("unit", "ref"), known), mine)
            found = _usable(found, known, mine, kept_back)
            decided = found.filter("decided").drop("decided")
            links = with_recognised(found.drop("decided"), _recognised(kept_back, mine))
            came, counts = self._deliver(errand, mine, links, screened.version, progress)
            counts.update(shunned)
            counts["refused_links"] += self._decided(errand, mine, decided)
            self._link_families(errand, mine, known, progress)
        self._reports.soon()
        members = self._people.members(mine["unit"])
        counts.update(_counted(came, members))
        self._optouts.settle(members, mine.select("unit", "nhs"))
        # The other halves of rows that are nobody's are dropped there.
        told = mine.select("unit", row_ref="ref").join(members, on="unit", how="left")
        patiently(progress, self._reports.settle)  # or rows would be told of who has moved on
        whose = told.select(NO_ROWS.columns)
        pids = whose["pid"].drop_nulls().unique()
        patiently(progress, lambda: self._enter(errand.project, errand.purpose, errand.actor, pids))
        patiently(progress, lambda: self._reports.rows(errand.project, errand.purpose, whose))
        # What was decided in between named the projects that they were in then.
        patiently(progress, lambda: self._enter(errand.project, errand.purpose, errand.actor, pids))
        return dict(counts)

    def _screened(self, mine: pl.DataFrame) -> tuple[Screened, dict[str, int]]:
        """The rows as they may be used; those of people who withdrew are nobody's from now on.

        Returns:
            The rows, and counts as of `join`: who withdrew is counted as whoever is new.
        """
        with self._optouts.book.turn:
            screened = self._optouts.book.screened(mine)
            named = screened.withdrawn.with_columns(unit=mine["unit"].gather(screened.withdrawn["row"]))
            new = self._people.shun(named["unit"]) if named.height else named["unit"]
        first = named.filter(pl.col("unit").is_in(new.implode()))
        people = first["person"].n_unique()
        return screened, {"new": people, "together": first.height - people}

    def _known(
        self, errand: Errand, mine: pl.DataFrame, progress: Progress
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Everybody but the rows themselves; and when these, if this is done again, were corrected."""
        mandate = Mandate(errand.actor, errand.purpose, errand.project)
        found, corrected = [flat_known(_NOBODY)], [_NOBODY.select("unit", CORRECTED)]
        opened = 0
        for some in self._people.known(mandate):
            opened += some.height
            progress("open", opened, 0)
            found.append(flat_known(some.join(mine, on="unit", how="anti")))
            corrected.append(some.join(mine, on="unit", how="semi").select("unit", CORRECTED))
        # Whoever is merged meanwhile may be there twice.
        return by_content(pl.concat(found), FLAT), pl.concat(corrected).group_by("unit").max()

    def _kept_back(self, errand: Errand) -> pl.DataFrame:
        """Records of people whose data may not be used: unit, protected, `FLAT` and `ALIASES`."""
        mandate = Mandate(errand.actor, errand.purpose, errand.project)
        found = [flat_known(_NOBODY), *map(flat_known, self._people.known(mandate, kept_back=True))]
        return pl.concat(found).select("protected", *FLAT, ALIASES, unit=pl.col("record").str.decode("hex"))

    def _deliver(
        self, errand: Errand, mine: pl.DataFrame, links: pl.DataFrame, version: int, progress: Progress
    ) -> tuple[pl.DataFrame, Counter[str]]:
        """Store the rows; those that came, as `Outcome.came` has them, and counts as of `join` besides."""
        book, came = self._optouts.book, list[pl.DataFrame]()
        counts = Counter(new=0, joined=0, together=0, refused_links=0)
        stamp = Stamp(clock.now(), errand.actor, errand.purpose, errand.run)
        ordered = mine.sort("unit").with_row_index("place")
        ends = [
            links.join(ordered.select("place", **{side: "unit"}), on=side, how="left", maintain_order="left")[
                "place"
            ]
            for side in ("left", "right")
        ]
        # A link goes with the later of its records; those who are known were there before.
        last = links.with_columns(place=pl.max_horizontal(*(end.alias(str(i)) for i, end in enumerate(ends))))
        for first in range(0, ordered.height, AT_ONCE):
            progress("store", first, ordered.height)
            some = ordered.slice(first, AT_ONCE)
            now = last.filter(pl.col("place").is_between(first, first + AT_ONCE - 1)).drop("place")
            with book.turn:
                if book.version != version:  # somebody withdrew meanwhile
                    screened, shunned = self._screened(mine)
                    version = screened.version
                    counts.update(shunned)
                outcome = self._people.deliver(self._delivery(errand, some, now), stamp)
            came.append(outcome.came)
            counts["refused_links"] += outcome.refused
        progress("store", ordered.height, ordered.height)
        return pl.concat([_NOBODY_CAME, *came]), counts

    def _decided(self, errand: Errand, mine: pl.DataFrame, links: pl.DataFrame) -> int:
        """Link records that were known before people decided on them; how many links were refused."""
        for side in ("left", "right"):  # who was erased meanwhile is linked with nobody
            known = self._people.members(links[side].rename("unit")).drop_nulls("pid")
            links = links.join(known.unique("unit"), left_on=side, right_on="unit", how="semi")
        if links.is_empty():
            return 0
        nobody = mine.clear().select("unit", "protected")
        stamp = Stamp(clock.now(), errand.actor, errand.purpose, errand.run)
        return self._people.deliver(
            Delivery(errand.source, nobody, links, _NO_FAMILIES, _NO_LINKS), stamp
        ).refused

    def _link_families(
        self, errand: Errand, mine: pl.DataFrame, known: pl.DataFrame, progress: Progress
    ) -> None:
        """Link the references of families, now that it is known whom they hold: see `pseudonym.families`."""
        progress("families", 0, 1)
        grown = pl.Series([clock.today()]).dt.offset_by("-18y").dt.to_string("%Y-%m-%d").item()
        adult = pl.col("born").is_null() | (pl.col("born") <= grown)
        others = known.select("protected", "born", unit=pl.col("record").str.decode("hex"))
        everybody = pl.concat([others, mine.select(others.columns)]).select("unit", "protected", adult=adult)
        members = (
            everybody.join(self._people.families(everybody["unit"]), on="unit")
            .join(self._people.members(everybody["unit"]).select("unit", "pid"), on="unit")
            .select("family", "pid", "adult", "protected")
        )
        links = alike(members, self._people.families(mine["unit"])["family"].unique())
        if links.height:
            nobody = mine.clear().select("unit", "protected")
            stamp = Stamp(clock.now(), errand.actor, errand.purpose, errand.run)
            self._people.deliver(Delivery(errand.source, nobody, _NO_LINKS, _NO_FAMILIES, links), stamp)

    def _delivery(self, errand: Errand, some: pl.DataFrame, links: pl.DataFrame) -> Delivery:
        flat = some.select(FLAT).with_columns(born=pl.col("born").str.to_date("%Y-%m-%d"))
        records = some.select("unit", "protected", ALIASES).hstack(columns.from_flat(flat))
        members = some.select("unit", "family").drop_nulls("family")
        references = members["family"].to_list()
        families = self._key.families(errand.project, errand.source, references)
        return Delivery(
            source=errand.source,
            records=records,
            links=links,
            families=members.with_columns(family=pl.Series(families, dtype=pl.Binary)),
            family_links=_NO_LINKS,
        )


@contextmanager
def alone(turn: threading.Lock, progress: Progress) -> Iterator[None]:
    """Wait until nobody else has the turn; `progress` may end the waiting."""
    while not turn.acquire(timeout=PAUSE):
        progress("wait", 0, 1)
    try:
        yield
    finally:
        turn.release()


def patiently(progress: Progress, tell: Callable[[], object]) -> None:
    """Tell the broker, however long it is away; `progress` may end the waiting."""
    while True:
        progress("tell", 0, 1)
        try:
            tell()
            return
        except PeerUnavailableError:
            threading.Event().wait(PAUSE)


def _counted(came: pl.DataFrame, members: pl.DataFrame) -> dict[str, int]:
    """Of rows that came counts as of `Joining.join`: whom one part of them made was not known to the next."""
    made = came.filter("new")["pid"].unique()
    whose = came.select("unit").join(members.select("unit", "pid"), on="unit").drop_nulls()
    first = whose.filter(pl.col("pid").is_in(made.implode()))
    people = first["pid"].n_unique()
    return {"new": people, "joined": whose.height - first.height, "together": first.height - people}


def _recognised(kept_back: pl.DataFrame, mine: pl.DataFrame) -> pl.DataFrame:
    """Rows of people whose data may not be used, and a record of each of these (row, record)."""
    others = kept_back.filter(~pl.col("protected")).join(mine, on="unit", how="anti")
    sides = (
        side.select(*FLAT, ALIASES, **{name: "unit"}) for side, name in ((mine, "row"), (others, "record"))
    )
    return recognised(*map(each_name, sides))


def _usable(
    links: pl.DataFrame, known: pl.DataFrame, mine: pl.DataFrame, kept_back: pl.DataFrame
) -> pl.DataFrame:
    """The links without what people decided of records that may not be used: it waits until they may."""
    everybody = pl.concat([known.select(unit=pl.col("record").str.decode("hex")), mine.select("unit")])
    units = everybody.join(kept_back, on="unit", how="anti")["unit"].implode()
    both = pl.col("left").is_in(units) & pl.col("right").is_in(units)
    return links.filter(~pl.col("decided") | both)


def _with_units(links: pl.DataFrame, mine: pl.DataFrame) -> pl.DataFrame:
    """Links between units, from links between row references and records that are known."""
    named = mine.select("row_ref", unit=pl.col("unit"))
    found = links
    for side in ("left", "right"):
        found = (
            found.join(named.rename({"row_ref": side}), on=side, how="left", maintain_order="left")
            .with_columns(pl.coalesce("unit", pl.col(side).str.decode("hex")).alias(side))
            .drop("unit")
        )
    return found.select("left", "right", pl.col("weight").cast(pl.Float64), "decided")
