"""Persons and families that stay, in the vault: each method is one decision, carried out whole or not at all.

    delivery ──▶ what it concerns (sealed_register) ──▶ event (persons) ──▶ state, sealed rows, outbox

The rules this module keeps:

- A delivered record is one row of the vault, called by the record's unit. It is under the person whom the
  register says, and the register, the rows and what the broker is to be told change in one transaction.
- The same delivery again changes nothing.
- Who is protected leaves their family by it, and what is hidden is told in messages that do not lead from one
  person to the other.
- Nothing is opened for linkage but through `Openings`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import polars as pl

from pseudonym import columns, persons
from pseudonym.coming import Arrived
from pseudonym.deliveries import MEMBERS, Delivery, Outcome, Untold, checked, moves
from pseudonym.forgetting import forget_number
from pseudonym.openings import Mandate
from pseudonym.register_parts import Seen
from pseudonym.resealing import settle
from pseudonym.standing import Changes, Event, Stamp, State
from pseudonym.storage import identity as db
from pseudonym.storage.rows import At
from pseudonym.subjects import LIVING, opened, places_of
from pseudonym.subjects import State as Allowed
from pseudonym.telling import messages_of
from pseudonym.urn import Kind
from pseudonym.vault import Vault

__all__ = ["Delivery", "Outcome", "People", "Untold"]

_NOBODY = pl.Series("unit", [], dtype=pl.Binary)
_NO_PAIRS = pl.DataFrame(schema={"left": pl.Binary, "right": pl.Binary})
_USED = (Allowed.ACTIVE, Allowed.LIMITED)
_KEPT = (Allowed.ACTIVE, Allowed.LIMITED, Allowed.RESTRICTED, Allowed.OBJECTED)
_KEPT_BACK = (Allowed.LIMITED, Allowed.RESTRICTED, Allowed.OBJECTED)
_Decide = Callable[[State], Event | None]


@dataclass(frozen=True, slots=True, eq=False)
class _Done:
    """An event, and what it had to do with, after it; none where nothing happened."""

    event: Event | None
    after: Seen


class People:
    """The persons and families in a vault. Its methods may be called from any thread.

    Args:
        vault: the identity role's. People whom `Vault.add` takes in are none of the register's.
    """

    def __init__(self, vault: Vault) -> None:
        self._tools, self._references = vault.tools, vault.references

    def deliver(self, delivery: Delivery, stamp: Stamp) -> Outcome:
        """Take in records, each with what it is linked to; all of it is on disk, or nothing.

        Records that are known stay as they are, and those that were erased or removed stay away. A delivery
        all of whose records are known was taken in before, and changes nothing; links between known records
        come with no records.

        Args:
            delivery: the more records, the less each costs: 50,000 are a good one.
            stamp: when, by whom, why, and the linkage run.

        Raises:
            InputError: a column, an id or a value does not fit.
            LinkError: a link leads to what is neither known nor in the delivery, or has no finite weight; a
                pair or record comes twice; a known record comes as protected and is not.
            SealBrokenError: what the store has of one of them was tampered with.
        """
        given = checked(delivery)
        payloads, values = columns.payloads_and_values(given.identities())
        rows = given.records.select("unit").with_columns(payload=payloads)
        with self._tools.store.transaction() as at:
            self._tools.register.lock(at)
            register = self._tools.register
            seen = register.seen(at, Kind.PERSON, _units_of(given.records["unit"], given.links))
            families = register.seen(
                at, Kind.FAMILY, _units_of(given.families["family"].rename("unit"), given.family_links)
            )
            # No file that is sent again brings back what was erased or removed.
            given = given.without(seen.gone, families.gone)
            units = given.records.select("unit", "protected")
            event = persons.deliver(seen.state, units, given.links, stamp)
            if units.height > 0 and (event is None or not event.changes.arrived.height):
                return self._outcome(at, units["unit"], _Done(None, seen), _Done(None, families))
            decided = _on_families(given, families.state, stamp)
            person, family = _Done(None, seen), _Done(None, families)
            # Both events first: nothing is asked then until the many rows are written.
            after = self._append(at, Kind.PERSON, event, seen)
            others = self._append(at, Kind.FAMILY, decided, families)
            if event is not None:
                new = event.changes.arrived.select("unit").join(given.families, on="unit", how="left")
                beside = new.drop_nulls().with_columns(row=pl.lit(None, pl.Binary))
                arrived = _arrived(event, rows, values, given.source)
                person = self._carry_out(at, Kind.PERSON, event, seen, after, beside, arrived)
            if decided is not None:
                family = self._carry_out(at, Kind.FAMILY, decided, families, others)
            return self._outcome(at, units["unit"], person, family)

    def members(self, units: pl.Series) -> pl.DataFrame:
        """Under whom records are: unit, pid, fid (null if none); those that are unknown are left out."""
        with self._tools.store.read() as at:
            return self._members(at, units, self._tools.register.seen(at, Kind.PERSON, units), Seen(State()))

    def families(self, units: pl.Series) -> pl.DataFrame:
        """To which unit of a family records belong: unit, family; those that belong to none are left out."""
        with self._tools.store.read() as at:
            seen = self._tools.register.seen(at, Kind.PERSON, units)
        asked = units.unique().to_frame("unit")
        return asked.join(seen.beside, on="unit").select("unit", "family").drop_nulls()

    def standing(self, kind: Kind, holders: pl.Series) -> pl.DataFrame:
        """What stands under persons or families now: unit, holder."""
        with self._tools.store.read() as at:
            state = self._tools.register.seen(at, kind, _NOBODY, holders.to_list()).state
        wanted = holders.unique().to_frame("holder")
        return state.units.select("unit", "holder").join(wanted, on="holder", how="semi").sort("unit")

    def links(self, holders: Sequence[bytes]) -> pl.DataFrame:
        """The links among the records of one person (weight, run); none of others', and none withdrawn."""
        with self._tools.store.read() as at:
            state = self._tools.register.seen(at, Kind.PERSON, _NOBODY, holders).state
        own = state.units.filter(pl.col("holder").is_in(list(holders)))["unit"].implode()
        both = pl.col("left").is_in(own) & pl.col("right").is_in(own)
        return state.links.filter(both & ~pl.col("void")).select("weight", "run")

    def merge(self, one: bytes, other: bytes, stamp: Stamp, kind: Kind = Kind.PERSON) -> Outcome:
        """Decide that two are one: see `persons.merge`."""
        return self._decide(kind, [one, other], lambda state: persons.merge(state, one, other, stamp))

    def split(self, holder: bytes, parts: pl.DataFrame, stamp: Stamp, kind: Kind = Kind.PERSON) -> Outcome:
        """Decide that one is several: see `persons.split`."""
        outcome = self._decide(kind, [holder], lambda state: persons.split(state, holder, parts, stamp))
        self._tools.store.purge_if_due()  # what moves unseen is to be seen in no older copy of a row
        return outcome

    def withdraw(self, links: pl.DataFrame, stamp: Stamp, kind: Kind = Kind.PERSON) -> Outcome:
        """Take links back: see `persons.withdraw`."""
        units = _units_of(_NOBODY, links)
        outcome = self._decide(kind, [], lambda state: persons.withdraw(state, links, stamp), units)
        self._tools.store.purge_if_due()  # as after a split
        return outcome

    def protect(
        self, person: bytes, stamp: Stamp, part: pl.Series | None = None, *, purge: bool = True
    ) -> Outcome:
        """Protect a person for good: see `persons.protect`. Their protected records leave their family.

        Args:
            person: the pid.
            stamp: when, by whom and why.
            part: the records of the new identity, if those of the former one are to be divided from them.
            purge: rewrite the database's files afterwards (`Store.purge`), so that no older copy of a row in
                them tells what was together. Without it, do so within the day.
        """
        outcome = self._decide(
            Kind.PERSON, [person], lambda state: self._protected(state, person, stamp, part)
        )
        if purge:
            self._tools.store.purge_if_due()
        return outcome

    def admit(self, person: bytes, into: bytes, stamp: Stamp, *, purge: bool = True) -> Outcome:
        """Decide that records which came later are a protected person's: see `persons.admit`."""
        outcome = self._decide(
            Kind.PERSON, [person, into], lambda state: persons.admit(state, person, into, stamp)
        )
        if purge:
            self._tools.store.purge_if_due()
        return outcome

    def remove(self, units: pl.Series, stamp: Stamp, *, purge: bool = True) -> Outcome:
        """Forget records that were delivered in error: see `persons.remove`. To erase a person: `erase`."""
        outcome = self._decide(Kind.PERSON, [], lambda state: persons.remove(state, units, stamp), units)
        if purge:
            self._tools.store.purge_if_due()
        return outcome

    def shun(self, units: pl.Series) -> pl.Series:
        """Let records that are delivered later be nobody's, now and whenever they come again.

        Returns:
            Those for which that is new; who is known already stays.
        """
        with self._tools.store.transaction() as at:
            self._tools.register.lock(at)
            return self._tools.register.shun(at, units)

    def kin(self, pids: Sequence[bytes], batch: int = 20_000) -> list[bytes]:
        """Everybody who is in a family with one of these persons, and they themselves; nobody is opened."""
        mine = self._families_of(pids)["fid"].drop_nulls().unique()
        found, after = set(pids), b""
        while len(mine):
            with self._tools.store.read() as at:
                some = db.living(at, Kind.PERSON.value, _KEPT, after, batch)
            if not some:
                break
            after = some[-1]
            theirs = self._families_of(some)
            found |= set(theirs.filter(pl.col("fid").is_in(mine.implode()))["pid"].to_list())
        return sorted(found)

    def forget_number(self, pids: Sequence[bytes], number: str) -> int:
        """Take a number out of all that is kept of persons: every version, former values, and the index.

        It may be repeated.

        Args:
            pids: whose; ids that are unknown or erased are passed over.
            number: which, one of `records.NUMBERS`.

        Returns:
            How many rows had one. All of it is on disk.
        """
        with self._tools.store.transaction() as at:
            count = forget_number(self._tools, at, pids, number)
        if count:
            self._tools.store.purge_if_due()
        return count

    def check(self, mandate: Mandate) -> None:
        """Raise PurposeError if nobody may be opened for this, whether anybody is known yet or not."""
        self._tools.openings.check(mandate)

    def known(
        self, mandate: Mandate, batch: int = 20_000, *, kept_back: bool = False
    ) -> Iterator[pl.DataFrame]:
        """Open what is known of persons whose data may be used, for linkage: the newest version of each row.

        Whoever is delivered, merged or divided meanwhile may be missing, or be there twice; what is delivered
        with links to it is decided on what is true then.

        Args:
            mandate: who asks, and why; each batch is counted and written down.
            batch: persons at a time.
            kept_back: those instead whose data may not be used for this purpose, to know them again only.

        Returns:
            Frames of unit, pid, source, protected, changed (the day of a row's last correction; null: none)
            and the columns of `records.SCHEMA`.

        Raises:
            SealBrokenError: what the store has of one was tampered with; batches before it have come out.
            PurposeError, QuotaError: it may not be opened for this.
        """
        states = _KEPT_BACK if kept_back else _USED
        after = b""
        while True:
            with self._tools.store.read() as at:
                pids = db.living(at, Kind.PERSON.value, [*states], after, batch)
            if not pids:
                return
            after = pids[-1]
            self._tools.openings.admit(mandate, "known", len(pids))
            yield self._opened(pids, mandate.purpose, kept_back=kept_back)

    def show(self, mandate: Mandate, units: pl.Series) -> pl.DataFrame:
        """Open a few records of persons whose data may be used, but of the protected, for who judges links.

        Args:
            mandate: who looks, and why; each person is counted and written down.
            units: the records; those of nobody else are passed over.

        Returns:
            A frame of unit, pid, source, protected, changed and the columns of `records.SCHEMA`: see `known`.

        Raises:
            SealBrokenError: what the store has of one was tampered with.
            PurposeError, QuotaError: they may not be opened for this.
        """
        pids = self.members(units)["pid"].drop_nulls().unique(maintain_order=True).to_list()
        self._tools.openings.admit(mandate, "review", len(pids), self._references(pids))
        found = self._opened(pids, mandate.purpose)
        return found.filter(pl.col("unit").is_in(units.implode()) & ~pl.col("protected"))

    def _opened(self, pids: Sequence[bytes], purpose: str, *, kept_back: bool = False) -> pl.DataFrame:
        """The newest version of each row of those whose data may be used, or may not; see `known`."""
        states = _KEPT_BACK if kept_back else _USED
        with self._tools.store.read() as at:
            # Somebody may have been erased or restricted meanwhile.
            now = {row.pid: row.state for row in db.subjects(self._tools.store, at, pids)}
            limited = [pid for pid, state in now.items() if state == Allowed.LIMITED]
            usable = self._tools.limits.usable(at, limited, purpose)
            meant = {pid for pid, state in now.items() if state in states} - set(limited)
            still = sorted(meant | (set(limited) - usable if kept_back else usable))
            held = self._tools.subjects.held(at, still, LIVING)
            wanted = [(each.dek, row) for each in held.values() for row in each.newest()]
            changed = pl.when(pl.col("version") > 1).then("received_day").cast(pl.Date).alias("changed")
            places = places_of([row for _, row in wanted]).select("row_id", "pid", "source", changed)
            seen = self._tools.register.seen(at, Kind.PERSON, places["row_id"])
        named = seen.state.units.join(seen.beside, on="unit", how="left").select(
            "unit", row_id=pl.coalesce("row", "unit"), protected=pl.col("fence").is_not_null()
        )
        found = places.join(named, on="row_id", how="left", maintain_order="left")
        return (
            found.select("unit", "pid", "source", "protected", "changed")
            .hstack(opened(wanted))
            .drop_nulls("unit")
        )

    def untold(self, limit: int) -> list[Untold]:
        """What the broker has to be told and was not, the first `limit` messages; once told, say so (`told`).

        After a crash a message may come again: it says what is so, not what to do.
        """
        return self._tools.register.messages(limit)

    def told(self, number: int) -> None:
        """Say that the broker has been told all messages up to a number, and they are forgotten."""
        self._tools.register.delivered(number)

    def erase(self, pids: Sequence[bytes], *, purge: bool = True) -> int:
        """Erase persons, or families: their records leave the register, and `Vault.erase` does the rest.

        It may be repeated. Of who leaves, random ids stay in the events.

        Args:
            pids: whose; ids that are unknown are passed over.
            purge: see `Vault.erase`.

        Returns:
            How many of them were known. All of it is on disk.
        """
        store, register = self._tools.store, self._tools.register
        stamp = Stamp(datetime.fromtimestamp(store.now(), UTC), "erasure", "erased")
        with store.transaction() as at:
            if register.begun(at):
                register.lock(at)
                for kind in (Kind.PERSON, Kind.FAMILY):
                    seen = register.seen(at, kind, _NOBODY, pids)
                    units = seen.state.units.filter(pl.col("holder").is_in(list(pids)))["unit"]
                    if len(units):
                        event = persons.remove(seen.state, units, stamp)
                        after = self._append(at, kind, event, seen)
                        self._carry_out(at, kind, event, seen, after, forgotten=pids)
            known = [row.pid for row in db.subjects(store, at, sorted(set(pids)), lock=True)]
            gone = db.forget(store, at, known)
        if purge:
            store.purge_if_due()
        return gone

    def _families_of(self, pids: Sequence[bytes]) -> pl.DataFrame:
        """Of persons pid and fid, a row for each of their families."""
        units = self.standing(Kind.PERSON, pl.Series(pids, dtype=pl.Binary))["unit"]
        return self.members(units).select("pid", "fid").unique()

    # --- how it is done ----------------------------------------------------------------------------

    def _decide(
        self, kind: Kind, holders: Sequence[bytes], decide: _Decide, units: pl.Series = _NOBODY
    ) -> Outcome:
        with self._tools.store.transaction() as at:
            self._tools.register.lock(at)
            seen = self._tools.register.seen(at, kind, units, holders)
            event = decide(seen.state)
            if event is None:  # only a delivery may change nothing
                raise AssertionError
            beside = self._beside(event, seen) if kind is Kind.PERSON else None
            done = self._carry_out(at, kind, event, seen, self._append(at, kind, event, seen), beside)
            nothing = _Done(None, Seen(State()))
            about = event.changes.moved["unit"]
            if kind is Kind.PERSON:
                return self._outcome(at, about, done, nothing)
            return self._outcome(at, _NOBODY, nothing, done)

    def _protected(self, state: State, person: bytes, stamp: Stamp, part: pl.Series | None) -> Event:
        """A protection behind a fence whose part of the blind index is not that of the fence before."""
        while True:
            event = persons.protect(state, person, stamp, part)
            fence = event.changes.fenced["fence"][0]
            former = state.units.join(event.changes.fenced, on="unit", how="semi")["fence"].drop_nulls()
            if not any(self._tools.register.alike(fence, each) for each in former.unique()):
                return event

    def _beside(self, event: Event, seen: Seen) -> pl.DataFrame | None:
        """Who comes behind a fence leaves their family; rows that move unseen get other ids."""
        changes = event.changes
        unseen = changes.moved.filter("hidden").drop_nulls(["before", "after"]).select("unit")
        about = pl.concat([changes.fenced.select("unit"), unseen]).unique()
        if about.is_empty():
            return None
        before = about.join(seen.beside, on="unit", how="left", maintain_order="left")
        fenced = before.join(changes.fenced.select("unit", left=pl.lit(True)), on="unit", how="left")
        drawn = pl.Series("drawn", persons.random_ids(before.height), dtype=pl.Binary)
        renamed = before.join(unseen.with_columns(renamed=True), on="unit", how="left", maintain_order="left")
        return (
            renamed.with_columns(drawn)
            .join(fenced.select("unit", "left"), on="unit", maintain_order="left")
            .select(
                "unit",
                family=pl.when(pl.col("left").is_null()).then("family"),
                row=pl.when("renamed").then("drawn").otherwise("row"),
            )
        )

    def _append(self, at: At, kind: Kind, event: Event | None, seen: Seen) -> State:
        """Store an event, if there is one, and what the broker is to be told of it; the state after it."""
        if event is None:
            return seen.state
        told = partial(messages_of, kind, event.changes)
        return self._tools.register.append(at, kind, event, seen, told)

    def _carry_out(
        self,
        at: At,
        kind: Kind,
        event: Event,
        seen: Seen,
        state: State,
        beside: pl.DataFrame | None = None,
        arrived: Arrived | None = None,
        forgotten: Sequence[bytes] = (),
    ) -> _Done:
        """Store all that follows from an event, which is appended and leads to a state."""
        after = self._tools.register.keep(at, kind, event, seen, state, beside)
        named = seen.beside.select("unit", was="row").drop_nulls()
        if beside is not None:
            named = named.join(
                beside.select("unit", "row").drop_nulls(), on="unit", how="full", coalesce=True
            )
        else:
            named = named.with_columns(row="was")
        rows = {unit: (was or unit, row or was) for unit, was, row in named.iter_rows()}
        settle(self._tools, at, kind, event, state, rows, arrived, forgotten)
        if event.changes.fenced.height or event.changes.moved["hidden"].any():
            self._tools.store.purge_later(at)
        return _Done(event, after)

    def _members(self, at: At, units: pl.Series, seen: Seen, families: Seen) -> pl.DataFrame:
        """Under whom records are, of what was seen of them and perhaps of their families."""
        asked = units.unique(maintain_order=True).to_frame("unit")
        held = asked.join(seen.state.units.select("unit", pid="holder"), on="unit", maintain_order="left")
        of = held.join(seen.beside.select("unit", "family"), on="unit", how="left", maintain_order="left")
        fids = families.state.units.select(family="unit", fid="holder")
        others = of.select("family").drop_nulls().unique().join(fids, on="family", how="anti")["family"]
        if len(others):
            read = self._tools.register.seen(at, Kind.FAMILY, others).state
            fids = pl.concat([fids, read.units.select(family="unit", fid="holder")]).unique("family")
        return of.join(fids, on="family", how="left", maintain_order="left").select(MEMBERS.names())

    def _outcome(self, at: At, units: pl.Series, person: _Done, family: _Done) -> Outcome:
        changes = person.event.changes if person.event else Changes()
        came = changes.moved.filter(pl.col("before").is_null()).select(
            "unit", pid="after", new=pl.col("after").is_in(changes.made["id"].implode())
        )
        others = family.event.changes if family.event else Changes()
        return Outcome(
            person.event.number if person.event else None,
            family.event.number if family.event else None,
            changes.made.height,
            came.filter(~pl.col("new")).height,
            changes.refused.height + others.refused.height,
            came,
            self._members(at, units, person.after, family.after),
            pl.concat([moves(Kind.PERSON, changes.moved), moves(Kind.FAMILY, others.moved)]),
        )


def _units_of(units: pl.Series, links: pl.DataFrame) -> pl.Series:
    return pl.concat([units, links["left"], links["right"]]).unique()


def _on_families(given: Delivery, state: State, stamp: Stamp) -> Event | None:
    """What a delivery decides on families. Those known stay protected or not, as they are."""
    known = state.units.select("unit", "fence").with_columns(known=True)
    told = given.family_units().join(known, on="unit", how="left", maintain_order="left")
    protected = pl.when("known").then(pl.col("fence").is_not_null()).otherwise("protected")
    return persons.deliver(state, told.select("unit", protected=protected), given.family_links, stamp)


def _arrived(event: Event, rows: pl.DataFrame, values: pl.DataFrame, source: str) -> Arrived:
    """The rows of records that are new."""
    new = rows.with_row_index("row").join(event.changes.arrived, on="unit", how="semi", maintain_order="left")
    if new.height < rows.height:
        numbered = new.select("row").with_row_index("now")
        values = values.join(numbered, on="row", maintain_order="left").with_columns(row="now").drop("now")
    return Arrived(new.select("unit", "payload"), values, source)
