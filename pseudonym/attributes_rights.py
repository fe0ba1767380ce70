"""People's rights in the attribute store: what may not be done with somebody's data, and all that is held.

    broker ──(aids, flags, purposes)──▶ mark ────▶ kept, and left out of what is read
           ──(aids)────────────────────▶ unlink ──▶ registers' rows kept, and read by nobody until linked anew
           ──(aids)────────────────────▶ copy ────▶ all that is held, to be sealed to the officer
    releases ──(who was in them)───────▶ disclosed ▶ rows of the dataset `disclosures`, under each one's key

The rules this module keeps:

- Each step may be done again, and comes to the same. Nobody who was erased is made anew.
- Purposes that somebody's data are kept from are a row under that person's key. Where a limited person has
  none, as after rows went to other people, the data are kept from every purpose.
- The datasets of this module are the role's own: nobody uploads to them, and no release can name them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from pseudonym import attribute_subjects as subjects
from pseudonym import outcomes
from pseudonym.access import Access, Mandate
from pseudonym.attribute_subjects import Flag
from pseudonym.attributes_context import AttributeContext
from pseudonym.datasets import Column, Dataset, Kind, Tag
from pseudonym.erasure import What
from pseudonym.release.keeping import Record, Releases
from pseudonym.release.spec import Spec
from pseudonym.seal import new_deks
from pseudonym.storage.rows import AT_ONCE, At, Project
from pseudonym.storage.rows_attributes import Head, Subject
from pseudonym.storage.rows_links import SUSPENDED, LinkRows
from pseudonym.storage.rows_releases import ReleaseRows
from pseudonym.values import values

LIMITS, DISCLOSURES = "limits", "disclosures"
OWN = frozenset({LIMITS, DISCLOSURES})
"""The datasets of this module."""
# What stands in their declarations is not what their rows hold: these are read by this module alone.
_NOTHING = (Column("kept", Kind.FLAG),)


class Which(StrEnum):
    """What is copied."""

    ALL = "all"
    PROVIDED = "provided"  # what was sent of them, and neither what came of registers nor what was made here
    LINKS = "links"  # what linkage with registers said of them


_SOURCES = {
    Which.ALL: ("sent", "register", "linkage"),
    Which.PROVIDED: ("sent",),
    Which.LINKS: ("linkage",),
}


class AttributeRights:
    """The attribute store's part in people's rights."""

    def __init__(self, context: AttributeContext, releases: Releases) -> None:
        self._context, self._rows = context, context.rows
        self._releases = releases
        self._links, self._released = LinkRows(context.rows), ReleaseRows(context.rows.store)

    def mark(
        self, project: str, aids: Sequence[bytes], flags: Flag, purposes: Sequence[str], mandate: Mandate
    ) -> int:
        """Note what may not be done with people's data from now on; what was noted before goes.

        Args:
            project: its name.
            aids: whose; who has no row yet is noted too.
            flags: see `Flag`.
            purposes: what the data are kept from, with `Flag.LIMITED`.
            mandate: who decided, and what for.

        Returns:
            How many people it is about; who was erased is not among them.
        """
        self._context.audit(Access("flag", project, mandate, len(aids), (str(int(flags)),)))
        # Any other flag keeps them out of every release by itself, for as long as it is there.
        limited = flags & Flag.LIMITED
        barred = [
            one.id
            for one in (self._releases.all(project) if limited else ())
            if Spec.from_toml(one.spec).purpose in purposes
        ]
        with self._context.ledger.lock, self._rows.write() as at:
            self._rows.alone(at)
            found = self._rows.project(at, project)
            living = self._living(aids)
            dataset = self._own(at, found, LIMITS)
            present = self._rows.subjects(at, living)
            deks, of = subjects.checked(
                self._context.keks, list(present.values()), self._rows.heads(at, list(present))
            )
            before = [head for heads in of.values() for head in heads if head.dataset == dataset]
            self._rows.delete_rows(at, [head.row_id for head in before])
            of = {aid: [head for head in heads if head.dataset != dataset] for aid, heads in of.items()}
            fresh = [aid for aid in living if aid not in present]
            made = new_deks(len(fresh))
            deks.update(zip(fresh, made, strict=True))
            of |= {aid: [] for aid in fresh}
            kek = self._context.keks.current
            wrapped = dict(zip(fresh, kek.wrap_all(made, fresh), strict=True))
            wanted = [present[aid]._replace(flags=int(flags)) for aid in present]
            wanted += [
                Subject(aid, None, found.number, found.epoch, int(flags), b"", kek.kid, wrapped[aid])
                for aid in fresh
            ]
            subjects.put_sealed(self._rows, at, wanted, deks, of, present)
            if flags & Flag.LIMITED:
                payload = json.dumps(sorted(purposes)).encode()
                count = len(living)
                subjects.put(
                    self._rows,
                    at,
                    self._context.keks,
                    found,
                    dataset,
                    living,
                    [None] * count,
                    [payload] * count,
                )
            for release in barred:
                self._released.leave(at, release, living)
        self._rows.store.purge_if_due()
        return len(living)

    def unlink(self, project: str, aids: Sequence[bytes], mandate: Mandate) -> int:
        """Leave what registers were linked to out of use, until a later run links it anew or takes it away.

        Returns:
            How many rows it is.
        """
        with self._rows.write() as at:
            self._rows.alone(at)
            self._rows.project(at, project)
            heads = self._rows.heads(at, aids)
            count = self._links.suspend(at, [head.handle for head in heads if head.handle is not None])
            self._context.audit(Access("unlink", project, mandate, count))
            self._rows.leave_releases(at, list({head.aid for head in heads}))
        return count

    def copy(self, project: str, aids: Sequence[bytes], mandate: Mandate, which: Which) -> dict[str, Any]:
        """What is held of people of one project: plain data.

        Args:
            project: its name.
            aids: of one person.
            mandate: who decided, and what for.
            which: see `Which`.

        Returns:
            `datasets` (name, source, third_party: columns about others, kinds: of columns, rows), and, of
            all, `flags`, `purposes`, `waiting` (rows that wait to be linked anew) and `disclosures`.

        Raises:
            SealBrokenError: a row or a person was altered, exchanged or taken away.
        """
        with self._rows.read() as at:
            found = self._rows.project(at, project)
            present = self._rows.subjects(at, aids)
            sealed = sorted(self._rows.sealed_rows(at, list(present), None))
            declared = {number: (name, text) for number, name, text in self._rows.datasets(at, found.number)}
            linked = self._links.registers(at, [head.handle for head, _ in sealed if head.handle])
        self._context.audit(Access("copy", project, mandate, len(sealed)))
        deks, _ = subjects.checked(self._context.keks, list(present.values()), [head for head, _ in sealed])
        self._context.check_none_is_back(list(present))
        told: list[dict[str, Any]] = []
        own: dict[str, list[Any]] = {name: [] for name in OWN}
        for number, (name, text) in sorted(declared.items(), key=lambda one: one[1]):
            rows = [row for row in sealed if row[0].dataset == number]
            if name in OWN:
                own[name] += map(json.loads, subjects.opened(deks, rows))
                continue
            for source in _SOURCES[which]:
                some = [one for one in rows if _source(name, one[0], linked) == source]
                if some:
                    told.append(_shown(Dataset.from_json(text), source, subjects.opened(deks, some)))
        if which is not Which.ALL:
            return {"datasets": told}
        return {
            "datasets": told,
            "flags": sorted({flag.name or "" for one in present.values() for flag in Flag(one.flags)}),
            "purposes": sorted({purpose for some in own[LIMITS] for purpose in some}),
            "waiting": sum(one[1] == SUSPENDED for one in linked.values()),
            "disclosures": self._disclosed(project, own[DISCLOSURES]),
        }

    def disclosed(self, record: Record, day: int) -> None:
        """Note of everybody in a release that it is given out, before it is; again on the day, nothing.

        Args:
            record: the release.
            day: the day, since 1970.
        """
        payload = json.dumps({"release": record.id.hex(), "day": day}).encode()
        last = b""
        while True:
            with self._rows.write() as at:
                self._rows.alone(at)
                found = self._rows.project(at, record.project)
                aids = self._released.people(at, record.id, last, AT_ONCE)
                if not aids:
                    return
                last = aids[-1]
                dataset = self._own(at, found, DISCLOSURES)
                there = self._noted(at, aids, dataset, payload)
                some = [aid for aid in self._rows.subjects(at, aids) if aid not in there]
                nobody = [None] * len(some)
                subjects.put(
                    self._rows, at, self._context.keks, found, dataset, some, nobody, [payload] * len(some)
                )

    def usable(self, at: At, present: Mapping[bytes, Subject], purpose: str) -> dict[bytes, Subject]:
        """Those of the people whose data may be used for a purpose."""
        limited = [aid for aid, one in present.items() if one.flags == Flag.LIMITED]
        free = {aid: one for aid, one in present.items() if not one.flags}
        if not limited:
            return free
        numbers = {
            number
            for project in {present[aid].project for aid in limited}
            for number, name, _ in self._rows.datasets(at, project)
            if name == LIMITS
        }
        deks, of = subjects.checked(
            self._context.keks, [present[aid] for aid in limited], self._rows.heads(at, limited)
        )
        kept = {head.row_id for heads in of.values() for head in heads if head.dataset in numbers}
        rows = [row for row in self._rows.sealed_rows(at, limited, None) if row[0].row_id in kept]
        barred: dict[bytes, bool] = {}
        for (head, _), payload in zip(rows, subjects.opened(deks, rows), strict=True):
            barred[head.aid] = barred.get(head.aid, False) or purpose in json.loads(payload)
        return free | {aid: present[aid] for aid in limited if barred.get(aid) is False}

    def standing(self, project: str) -> str:
        """A digest of whose data may not be used: another once people are erased, withdrawn or restricted.

        Erasures in other projects change it too, and what comes in of people who are restricted.
        """
        with self._rows.read() as at:
            found = self._rows.project(at, project)
            flagged = self._rows.flagged(at, found.number)
            waiting = self._links.suspended(at, found.number)
        said = hashlib.sha256(self._context.ledger.digest)
        for aid, flags, seal in flagged:  # the seal covers the purposes that somebody's data are kept from
            said.update(hashlib.sha256(aid + bytes([flags]) + seal).digest())
        for handle in sorted(waiting):
            said.update(hashlib.sha256(handle).digest())
        return said.hexdigest()

    # --- how it is done ---------------------------------------------------------------------------

    def _living(self, aids: Sequence[bytes]) -> list[bytes]:
        unique = list(dict.fromkeys(aids))
        gone = self._context.ledger.erased(What.SUBJECT, unique)
        return [aid for aid, one in zip(unique, gone, strict=True) if not one]

    def _own(self, at: At, project: Project, name: str) -> int:
        """The number of one of the role's own datasets, declared where it is not yet."""
        known = {one: number for number, one, _ in self._rows.datasets(at, project.number)}
        if name not in known:
            self._rows.declare(at, project.number, name, Dataset(name, _NOTHING).to_json())
        return self._rows.dataset(at, project.number, name)[0]

    def _noted(self, at: At, aids: Sequence[bytes], dataset: int, payload: bytes) -> set[bytes]:
        rows = self._rows.sealed_rows(at, aids, [dataset])
        if not rows:
            return set()
        present = self._rows.subjects(at, list({head.aid for head, _ in rows}))
        heads = self._rows.heads(at, list(present))
        deks, _ = subjects.checked(self._context.keks, list(present.values()), heads)
        opened = subjects.opened(deks, rows)
        return {head.aid for (head, _), one in zip(rows, opened, strict=True) if one == payload}

    def _disclosed(self, project: str, noted: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        records = {one.id.hex(): one for one in self._releases.all(project)}
        told = []
        for one in sorted(noted, key=lambda each: each["day"]):
            record = records.get(one["release"])
            if record is not None:
                spec = Spec.from_toml(record.spec)
                fields = {column["name"] for table in record.columns.values() for column in table}
                told.append(
                    {
                        "who": [record.recipient, *spec.researchers],
                        "fields": sorted(fields),
                        "why": f"{spec.purpose}: {spec.use}",
                        "day": (date(1970, 1, 1) + timedelta(days=one["day"])).isoformat(),
                        "release": record.name,
                    }
                )
        return told


def _source(dataset: str, head: Head, linked: Mapping[bytes, object]) -> str:
    if dataset == outcomes.NAME:
        return "linkage"
    return "register" if head.handle in linked else "sent"


def _shown(dataset: Dataset, source: str, payloads: list[bytes]) -> dict[str, Any]:
    frame = values(payloads, dataset)
    others = [column.name for column in dataset.columns if Tag.THIRD_PARTY in column.tags]
    rows = [
        {
            name: value if value is None or isinstance(value, (bool, int, str)) else str(value)
            for name, value in row.items()
        }
        for row in frame.to_dicts()
    ]
    kinds = {column.name: column.kind.value for column in dataset.columns}
    return {"name": dataset.name, "source": source, "third_party": others, "kinds": kinds, "rows": rows}
