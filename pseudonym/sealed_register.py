"""The register of persons and of families on disk: events, the state they lead to, and an outbox, sealed.

    units, ids ──tags (keyed)──▶ places ──sealed──▶ parts: all that a decision depends on, sealed
       a unit that hangs together with no other has its part in its own place
    event ──append──▶ events, parts and places anew, in the transaction of the caller

The rules this module keeps:

- The state is that of `standing.replay` of the events. It is kept in parts, each whole in the sense of
  `register.concerned`: what is read for some units is all that a decision about them may depend on.
- Nothing in the clear tells which units a part holds, which parts have to do with one another, who is
  protected, or who was: not a tag, an id, an order or a number. A part that changes gets another id.
- One transaction at a time changes a register (`lock`), and an event whose number is not the next is refused.

Danger: whoever has the keys reads in the events who a protected person was. They are as
confidential as the vault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from pseudonym import register_events, register_parts
from pseudonym.deliveries import Untold
from pseudonym.errors import ConflictError, SealBrokenError
from pseudonym.forms import slices
from pseudonym.keks import Keks
from pseudonym.persons import random_ids
from pseudonym.register_keys import KEY_ID, RegisterKeys
from pseudonym.register_parts import BESIDE, Seen
from pseudonym.register_places import check_rows, found_under, only, touched
from pseudonym.seal import new_deks
from pseudonym.standing import Event, State, apply
from pseudonym.storage import identity
from pseudonym.storage import register as db
from pseudonym.storage.engine import Store
from pseudonym.storage.rows import At
from pseudonym.subjects import Subjects
from pseudonym.telling import Message
from pseudonym.urn import ID_BYTES, Kind

_KINDS: Final = (Kind.PERSON, Kind.FAMILY)
_OUTBOX: Final = "outbox"
_GONE: Final = bytes(ID_BYTES)
"""Where a unit leads that was removed, erased or delivered in error, and so never comes again."""
_BESIDE: Final = b"\1"
"""Before the tag of another place: this one leads there."""
REALMS: Final = 8
"""Parts of the blind index: 0 for everybody, the others for those behind fences."""


class SealedRegister:
    """Both registers of one store. Methods with a first argument `at` work inside a transaction or reading.

    Args:
        store: the identity role's.
        keks: the present one wraps the register's key when it is made.
        subjects: opens what is wrapped.
    """

    def __init__(self, store: Store, keks: Keks, subjects: Subjects) -> None:
        self._store = store
        self._keks = keks
        self._subjects = subjects
        self._opened: RegisterKeys | None = None

    def lock(self, at: At) -> None:
        """Begin a change: make the register if there is none, and let nobody else change it meanwhile."""
        identity.wrapping(self._store, at)
        keys = self._keys(at)
        if keys is None:
            (secret,), kek = new_deks(1), self._keks.current
            db.add_key(self._store, at, KEY_ID, kek.kid, kek.wrap(secret, KEY_ID))
            keys = self._present(at)
            names = [*(kind.value for kind in _KINDS), _OUTBOX]
            sealed = keys.seal("head", [_head(name, 0) for name in names], [_number(1)] * len(names))
            db.begin(self._store, at, dict(zip(names, sealed, strict=True)))
        else:
            self._opened = keys  # somebody else's transaction made it, and has ended
        db.heads(at, lock=True)

    def seen(self, at: At, kind: Kind, units: pl.Series, holders: Sequence[bytes] = ()) -> Seen:
        """What of the state these units and ids have to do with, and which of the units left for good."""
        keys = self._keys(at)
        heads = db.heads(at)
        if keys is None or kind.value not in heads:
            return Seen(State())
        number, sealed = heads[kind.value]
        next_age = int.from_bytes(keys.open("head", [_head(kind.value, number)], [sealed])[0], "big")
        asked = units.unique().to_list()
        tags = keys.tags(f"{kind.value}-unit", asked)
        of = dict(zip(tags, asked, strict=True))
        under: dict[bytes, bytes] = {}
        if kind is Kind.PERSON:  # persons are found by their rows; families have none
            under = identity.rows_under(self._store, at, sorted(set(holders)))
            tags += keys.tags(f"{kind.value}-unit", list(under))
        else:
            tags += keys.tags(f"{kind.value}-id", sorted(set(holders)))
        led = self._led(at, keys, sorted(set(tags)))
        further = [where[1:] for where in led.values() if where[:1] == _BESIDE and len(where) == 1 + ID_BYTES]
        led |= self._led(at, keys, sorted(set(further).difference(led)))
        gone = [of[tag] for tag, where in led.items() if where == _GONE and tag in of]
        alone = {tag: text for tag, text in led.items() if len(text) > 1 + ID_BYTES}
        parts = sorted({where for where in led.values() if len(where) == ID_BYTES}.difference([_GONE]))
        found = db.parts(self._store, at, parts)
        if len(found) != len(parts) or not led.keys() >= set(further):
            raise SealBrokenError(
                "A part of the register of persons was taken away.",
                "Restore the store, and find out who can write to it.",
            )
        bound = [kind.value.encode() + part for part, _ in found]
        texts = keys.open("part", bound, [ct for _, ct in found])
        names = [*(part for part, _ in found), *alone]
        read = register_parts.read(names, [*texts, *alone.values()], number, next_age)
        check_rows(read, under)
        return replace(
            read, gone=pl.Series("unit", gone, dtype=pl.Binary), tags={unit: tag for tag, unit in of.items()}
        )

    def append(
        self,
        at: At,
        kind: Kind,
        event: Event,
        seen: Seen,
        told: Callable[[State], Sequence[Message]] = lambda _: [],
    ) -> State:
        """Store the event; `keep` then stores what it changes, in the same transaction.

        Args:
            at: a transaction that began with `lock`.
            kind: whose event.
            event: decided on what was seen.
            seen: what the event has to do with.
            told: of the state afterwards, what the broker has to be told.

        Returns:
            The state of what was seen, after the event.

        Raises:
            ConflictError: the number is not the next: somebody else was first, so read and decide again.
        """
        keys = self._present(at)
        number = db.heads(at)[kind.value][0]
        if event.number != number + 1 or seen.state.number != number:
            raise ConflictError(
                "Something else happened to the register meanwhile.", "Read and decide again."
            )
        after = apply(seen.state, event)
        place = _event(kind, event.number)
        (ct,) = keys.seal("event", [place], [register_events.spelt(event)])
        db.add_event(self._store, at, kind.value, event.number, ct)
        (ct,) = keys.seal("head", [_head(kind.value, event.number)], [_number(after.next_age)])
        db.put_head(at, kind.value, event.number, ct)
        self._post(at, keys, told(after))
        return after

    def keep(
        self,
        at: At,
        kind: Kind,
        event: Event,
        seen: Seen,
        after: State,
        beside: pl.DataFrame | None = None,
    ) -> Seen:
        """Put the parts that an event changes anew, under other ids: many rows, and nothing is read.

        Args:
            at: the event's transaction.
            kind: whose event.
            event: what `append` stored.
            seen: what the event has to do with.
            after: what `append` gave.
            beside: as `register_parts.BESIDE`: what is known of some units besides from now on.

        Returns:
            What was seen, after the event; without the parts, which have other ids.
        """
        known, changed = seen.beside, touched(event.changes)
        if beside is not None:
            known = pl.concat([known.join(beside, on="unit", how="anti"), beside])
            changed = pl.concat([changed, beside.select("unit")])
        known = known.join(after.units, on="unit", how="semi").select(BESIDE.names())
        self._replace(at, self._present(at), kind, seen, after, known, changed)
        return Seen(after, beside=known)

    def shun(self, at: At, units: pl.Series) -> pl.Series:
        """Let records that are not known be none for good, as if they had been known and removed.

        Args:
            at: a transaction that began with `lock`.
            units: of records.

        Returns:
            Those for which that is new: neither known nor shunned nor removed before.
        """
        seen, keys = self.seen(at, Kind.PERSON, units), self._present(at)
        known = pl.concat([seen.state.units["unit"], seen.gone])
        asked = units.unique()
        new = asked.filter(~asked.is_in(known.implode()))
        tags = keys.tags(f"{Kind.PERSON.value}-unit", new.to_list())
        self._put(at, keys, tags, [_GONE] * len(tags))
        return new

    def events(self, kind: Kind, after: int = 0) -> Iterator[Event]:
        """The events with a higher number, in their order."""
        with self._store.read() as at:
            keys = self._keys(at)
        if keys is None:
            return
        for number, ct in db.events(self._store, kind.value, after):
            yield register_events.read(keys.open("event", [_event(kind, number)], [ct])[0])

    def begun(self, at: At) -> bool:
        """Whether anything was ever registered."""
        return self._keys(at) is not None

    def alike(self, one: bytes, other: bytes) -> bool:
        """Whether rows behind two fences are in the same part of the blind index."""
        with self._store.read() as at:
            return self.realm(at, one) == self.realm(at, other)

    def parts_of_index(self, at: At) -> range:
        """The parts of the blind index that rows may be in: one where nothing was ever registered."""
        return range(1 if self._keys(at) is None else REALMS)

    def realm(self, at: At, fence: bytes | None) -> int:
        """In which part of the blind index rows behind a fence are: 0 without one, else 1 to `REALMS` - 1."""
        return 0 if fence is None else 1 + self._present(at).number("realm", fence, REALMS - 1)

    def realms(self, at: At, pids: Sequence[bytes]) -> dict[bytes, int]:
        """In which part of the blind index the rows of persons are; those without a fence are left out."""
        units = self.seen(at, Kind.PERSON, pl.Series(dtype=pl.Binary), pids).state.units
        fenced = units.filter(pl.col("fence").is_not_null() & pl.col("holder").is_in(list(pids)))
        pairs = fenced.select("holder", "fence").unique().iter_rows()
        return {holder: self.realm(at, fence) for holder, fence in pairs}

    def _post(self, at: At, keys: RegisterKeys, messages: Sequence[Message]) -> None:
        """Keep what the broker has to be told."""
        if not messages:
            return
        last, _ = db.heads(at)[_OUTBOX]
        numbers = range(last + 1, last + 1 + len(messages))
        texts = [
            register_events.joined([kind.value.encode(), *map(register_events.written, frames)])
            for kind, *frames in messages
        ]
        sealed = keys.seal("message", [_number(number) for number in numbers], texts)
        db.post(self._store, at, list(zip(numbers, sealed, strict=True)))
        (ct,) = keys.seal("head", [_head(_OUTBOX, numbers[-1])], [_number(1)])
        db.put_head(at, _OUTBOX, numbers[-1], ct)

    def messages(self, limit: int) -> list[Untold]:
        """The first messages that wait."""
        with self._store.read() as at:
            keys, waiting = self._keys(at), db.messages(at, limit)
        if keys is None:
            return []
        opened = keys.open("message", [_number(number) for number, _ in waiting], [ct for _, ct in waiting])
        found = []
        for (number, _), octets in zip(waiting, opened, strict=True):
            kind, changes, members = register_events.divided(octets)
            frames = register_events.frame(changes), register_events.frame(members)
            found.append(Untold(number, Kind(kind.decode()), *frames))
        return found

    def delivered(self, number: int) -> None:
        """Forget the messages up to a number."""
        with self._store.transaction() as at:
            db.delivered(at, number)

    def _replace(
        self,
        at: At,
        keys: RegisterKeys,
        kind: Kind,
        seen: Seen,
        after: State,
        beside: pl.DataFrame,
        changed: pl.DataFrame,
    ) -> None:
        """Put the parts that changed anew, under other ids."""
        old = seen.parts.join(seen.parts.join(changed, on="unit", how="semi"), on="part", how="semi")
        past = seen.state.units.select("unit", "holder").join(old, on="unit")
        former, _ = found_under(keys, kind, past, seen.beside, seen.tags)
        # A part in its unit's own place goes with the place, whose tag it is called by.
        db.forget(self._store, at, former, sorted(set(old["part"].to_list()).difference(former)))
        new = pl.concat([old.select("unit"), changed.select("unit")]).unique()
        state = only(after, new)
        numbered, texts = register_parts.spelt(state, beside)
        held = state.units.select("unit", "holder").with_columns(numbered["part"])
        tags, numbers = found_under(keys, kind, held, beside, seen.tags)
        shared = [part for part, text in enumerate(texts) if len(text) != register_parts.ALONE]
        ids = dict(zip(shared, random_ids(len(shared)), strict=True))
        bound = [kind.value.encode() + part for part in ids.values()]
        parts = list(ids.values()), keys.seal("part", bound, [texts[part] for part in shared])
        units = numbers[: held.height]
        leading = [ids[part] if part in ids else texts[part] for part in units]
        # Other names of a unit that is alone lead to its own place.
        own = dict(zip(units, tags, strict=False))
        leading += [ids[part] if part in ids else _BESIDE + own[part] for part in numbers[held.height :]]
        left = seen.state.units.join(after.units, on="unit", how="anti")["unit"].to_list()
        tags += keys.tags(f"{kind.value}-unit", left)
        leading += [_GONE] * len(left)
        db.put_parts(self._store, at, *parts)
        self._put(at, keys, tags, leading)

    def _put(self, at: At, keys: RegisterKeys, tags: Sequence[bytes], leading: Sequence[bytes]) -> None:
        """Say where tags lead, in the order of the tags (of their beginnings), which tells nothing."""
        firsts = np.frombuffer(b"".join(tags), dtype=">u8")[:: ID_BYTES // 8]
        order: list[int] = np.argsort(firsts).tolist()
        for some in slices(len(order)):
            places = [tags[i] for i in order[some]]
            sealed = keys.seal("place", places, [leading[i] for i in order[some]])
            db.put_places(self._store, at, places, sealed)

    def _led(self, at: At, keys: RegisterKeys, tags: Sequence[bytes]) -> dict[bytes, bytes]:
        """What is in the places that are there, by tag: a part's id, another place's tag, or a whole part."""
        places = db.places(self._store, at, tags)
        there = [tag for tag, _ in places]
        return dict(zip(there, keys.open("place", there, [ct for _, ct in places]), strict=True))

    def _keys(self, at: At) -> RegisterKeys | None:
        """The register's keys, or None where nothing was ever registered."""
        if self._opened is not None:
            return self._opened
        if not db.keys(at):
            return None
        keys = self._present(at)
        if not at.get_execution_options().get("write"):
            self._opened = keys  # what a transaction has made might be undone
        return keys

    def _present(self, at: At) -> RegisterKeys:
        if self._opened is not None:
            return self._opened
        rows = db.keys(at)
        return RegisterKeys(self._subjects.deks(rows)[KEY_ID])


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def _head(name: str, number: int) -> bytes:
    return name.encode() + _number(number)


def _event(kind: Kind, number: int) -> bytes:
    return kind.value.encode() + _number(number)
