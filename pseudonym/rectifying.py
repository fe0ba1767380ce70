"""A person's rows in the vault are corrected: the person, their id and so their numbers stay.

Each row that holds a wrong value gets a new version, by which alone the person is found from then on. What
was true once stays in it, as an alias or a former value, and in earlier versions. What was never true is in
no version any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from pseudonym import columns, seal
from pseudonym.records import NUMBERS, Identity
from pseudonym.rights.cases import Truth
from pseudonym.rights.correcting import check, corrected
from pseudonym.storage.rows import At
from pseudonym.storage.schema_identity import IDENTITY_ROW, SUBJECT
from pseudonym.subjects import LIVING, STORE, Held, Place, statement
from pseudonym.vault_rows import Tools


def rectify(tools: Tools, at: At, pids: Sequence[bytes], values: Mapping[str, str], truth: Truth) -> int:
    """Correct people's rows, in a transaction.

    Args:
        tools: the vault's.
        at: the transaction.
        pids: of one person: the id, and those that gave way to it.
        values: as of `pseudonym.rights.correcting`.
        truth: what the values were that go.

    Returns:
        How many rows were changed; again, none.

    Raises:
        InputError: a value may not be in an identity.
        SubjectMissingError: one is unknown or erased.
        SealBrokenError: what the store has was tampered with.
    """
    check(values, truth)
    held = tools.subjects.held(at, sorted(set(pids)), LIVING, lock=True)
    realms = tools.register.realms(at, list(held))
    opened = {pid: _opened(pid, each) for pid, each in held.items()}
    wrong = {
        (field, old)
        for each in opened.values()
        for versions in each.values()
        for field, old in _gone(versions[-1][1], corrected(versions[-1][1], values, truth))
    }
    return sum(
        _rectify(tools, at, held[pid], opened[pid], values, truth, wrong, realms.get(pid, 0)) for pid in held
    )


_Versions = dict[bytes, list[tuple[Any, Identity]]]
"""By row id, the versions of a row as they are stored, the first one first, with what they hold."""


def _opened(pid: bytes, held: Held) -> _Versions:
    payloads = seal.open_rows(
        [held.dek] * len(held.rows),
        STORE,
        [pid] * len(held.rows),
        [row.row_id for row in held.rows],
        [row.version for row in held.rows],
        [row.ct for row in held.rows],
    )
    read = zip(held.rows, map(Identity.from_bytes, payloads), strict=True)
    return {row_id: list(some) for row_id, some in groupby(read, lambda one: one[0].row_id)}


def _rectify(
    tools: Tools,
    at: At,
    held: Held,
    opened: _Versions,
    values: Mapping[str, str],
    truth: Truth,
    wrong: set[tuple[str, str]],
    realm: int,
) -> int:
    pid, today = held.subject.pid, tools.store.today()
    places = {(place.row_id, place.version): place for place in held.places()}
    going, fresh = list[Any](), list[tuple[Any, bytes]]()
    for versions in opened.values():
        last, said = versions[-1]
        now = corrected(said, values, truth)
        if now != said:
            fresh.append((last, now.to_bytes()))
        if truth is Truth.NEVER:
            going += [row for row, one in versions[:-1] if wrong & _values(one)]
            going += [last] if now != said else []
    if not fresh and not going:
        return 0
    tools.rows.unindex(at, [row for row, _ in fresh])
    for row, payload in fresh:
        place = Place(row.row_id, row.version + 1, today, row.source)
        sealed = seal.seal_row(held.dek, STORE, pid, place.row_id, place.version, payload)
        found = columns.found_by(columns.frame_of([payload]))
        where = [place.row_id], [place.version], [pid], [sealed]
        tools.rows.insert(at, row.source, today, *where, found, [realm])
        places[place.row_id, place.version] = place
    if going:
        tools.store.delete(
            at,
            IDENTITY_ROW,
            {"row_id": [row.row_id for row in going], "version": [row.version for row in going]},
        )
        tools.store.purge_later(at)
        for row in going:
            del places[row.row_id, row.version]
    changes = {"version": held.subject.version + 1}
    said_now = statement({**held.subject._mapping, **changes}, sorted(places.values()))
    sealed_now = seal.witness([held.dek], [said_now])
    tools.store.update(
        at, SUBJECT, ["pid"], {"pid": [pid], "version": [changes["version"]], "seal": sealed_now}
    )
    return len(fresh)


def _gone(before: Identity, after: Identity) -> set[tuple[str, str]]:
    """What was there and is not the present value any more."""
    return _present(before) - _present(after) if before != after else set()


def _present(one: Identity) -> set[tuple[str, str]]:
    name, place = one.names[0] if one.names else None, one.addresses[0] if one.addresses else None
    found = {
        ("given", name.given if name else ""),
        ("surname", name.surname if name else ""),
        ("address", place.lines if place else ""),
        ("postcode", place.postcode if place else ""),
        ("born", one.born.isoformat() if one.born else ""),
        ("sex", one.sex),
        *((number, getattr(one, number)) for number in NUMBERS),
    }
    return {(field, value) for field, value in found if value}


def _values(one: Identity) -> set[tuple[str, str]]:
    """All that it says, former values and aliases too."""
    found = _present(one)
    for name in (*one.names, *one.aliases):
        found |= {("given", name.given), ("surname", name.surname)}
    for place in one.addresses:
        found |= {("address", place.lines), ("postcode", place.postcode)}
    return found | {(former.what, former.value) for former in one.former}
