"""Numbers that go on under others: persons merged or split, and recipients' epochs.

Identity decides who is superseded by whom, and sends nothing for protected changes of identity (adoption,
gender reassignment, witness protection): those must never be bridged, and what does not arrive here cannot
be.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Final

import polars as pl

from pseudonym import frames, issuing
from pseudonym.access import Access, Mandate
from pseudonym.broker_context import BrokerContext
from pseudonym.cover import cover
from pseudonym.errors import InputError
from pseudonym.urn import Kind, UrnKey

CHANGES: Final = ("merged", "split")
"""What may become of a person or family: one of two that were one, or a part of one that was two."""


class Changes:
    """What the broker does when numbers change."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._rows = context.rows

    def supersede(self, project: str, kind: Kind, pairs: frames.Table, mandate: Mandate) -> pl.DataFrame:
        """Take from identity who goes on under which id. The same again does no harm.

        Args:
            project: its name.
            kind: what the ids are of.
            pairs: binary columns `old` and `new` (pids or fids), and `change`, `merged` or `split`. A person
                that was split stands in `old` once for each part.
            mandate: who asks, and what for.

        Returns:
            Binary columns `old` and `new` of aids, and `change`, for the attributes role.

        Raises:
            InputError: a column is missing or of another form, or an id supersedes itself.
        """
        frame = frames.table(pairs)
        old, new = frames.ids(frame, "old"), frames.ids(frame, "new")
        changes = frames.words(frame, "change").to_list()
        if not set(changes) <= set(CHANGES):
            raise InputError(f"A change is one of {', '.join(CHANGES)}.", "Nothing was changed.")
        if any(one == other for one, other in zip(old, new, strict=True)):
            raise InputError("A person cannot be superseded by itself.", "Nothing was changed.")
        with self._rows.read() as at:
            found = self._rows.project(at, project)
        key = self._context.keys.aid_key(project)
        old_aids, new_aids = (key.aids(found.epoch, kind, pids) for pids in (old, new))
        self._context.audit(Access("supersede", project, mandate, len(old), (kind,)))
        with self._rows.write() as at:
            self._rows.add_members(at, found.number, kind, new_aids, cover(key, new))
            self._rows.add_superseded(at, found.number, kind, old_aids, new_aids, changes)
        return frames.columns(old=old_aids, new=new_aids).with_columns(
            pl.Series("change", changes, pl.String)
        )

    def superseded(
        self, project: str, recipient: str, kind: Kind, mandate: Mandate, since_day: int = 0
    ) -> pl.DataFrame:
        """The list for a recipient: which of its numbers go on under which.

        Persons without a number for the recipient are not on it; those who go on get one if they had none.

        Returns:
            Columns `old`, `new` (numbers), `change` and `day` (since 1970), by day.
        """
        found, domain, key = self._context.domain(project, recipient)
        with self._rows.read() as at:
            pairs = self._rows.superseded(at, found.number, kind, since_day)
            aids = list(dict.fromkeys(pair[0] for pair in pairs))
            words = issuing.issued(self._rows, at, domain.number, key, kind, aids)
        had = {aid: word for aid, word in zip(aids, words, strict=True) if word is not None}
        known = [pair for pair in pairs if pair[0] in had]
        self._context.audit(Access("superseded", project, mandate, len(known), (recipient, kind)))
        later = list(dict.fromkeys(pair[1] for pair in known))
        with self._rows.write() as at:
            # One that was itself erased or never sent gets no number.
            members = self._rows.members(at, later)
            later = [aid for aid in later if aid in members]
            now = dict(
                zip(later, issuing.issue(self._rows, at, domain.number, key, kind, later), strict=True)
            )
        rows = [(had[old], now[new], change, day) for old, new, change, day in known if new in now]
        schema = {"old": pl.String, "new": pl.String, "change": pl.String, "day": pl.Int64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def renewed(
        self, project: str, recipient: str, old_epoch: int, mandate: Mandate
    ) -> Iterator[pl.DataFrame]:
        """The numbers of an earlier epoch beside those of the present one, some at a time.

        The list bridges two epochs that are otherwise unrelated: seal it for the recipient (`sealed`), who
        may go without it, and destroy the old epoch (`BrokerErasure.destroy_domain`) afterwards.

        Returns:
            Columns `old` and `new`, in no order that says anything.

        Raises:
            KeyMissingError: the key of either epoch was destroyed.
        """
        found, present, key = self._context.domain(project, recipient)
        with self._rows.read() as at:
            before = self._rows.domain(at, found.number, recipient, old_epoch)
        if before.number == present.number:
            raise InputError("This is the recipient's present epoch.", "Open the next one first.")
        old_key = self._context.keys.urn_key(project, recipient, old_epoch)
        self._context.audit(Access("renew", project, mandate, 1, (recipient, str(old_epoch))))
        return self._renewed(before.number, present.number, old_key, key)

    def _renewed(self, before: int, present: int, old_key: UrnKey, key: UrnKey) -> Iterator[pl.DataFrame]:
        last = ""
        while True:
            with self._rows.write() as at:
                page = self._rows.urn_page(at, before, last)
                aids = issuing.opened(old_key, page)
                pairs: dict[str, str] = {}
                for kind in Kind:
                    some = [word for word in aids if word[0] == kind.tag]
                    made = issuing.issue(self._rows, at, present, key, kind, [aids[word] for word in some])
                    pairs |= dict(zip(some, made, strict=True))
            if not page:
                return
            yield pl.DataFrame({"old": list(pairs), "new": list(pairs.values())})
            last = page[-1][0]


def sealed(
    lists: Iterator[pl.DataFrame], seal: Callable[[int, bool, bytes], bytes]
) -> Iterator[tuple[int, bool, bytes]]:
    """Lists for a recipient as Arrow IPC streams, each sealed with the recipient's public key.

    Args:
        lists: columns `old` and `new`.
        seal: seals a part, given its number from 1, whether it is the last, and its bytes.

    Returns:
        Number, whether it is the last, and what was sealed; one part where there is no number at all.
    """
    part, number = next(lists, None), 1
    if part is None:
        part = pl.DataFrame(schema={"old": pl.String, "new": pl.String})
    while part is not None:
        following = next(lists, None)
        buffer = io.BytesIO()
        part.write_ipc_stream(buffer, compat_level=pl.CompatLevel.oldest())
        yield number, following is None, seal(number, following is None, buffer.getvalue())
        part, number = following, number + 1


def renewal_context(
    project: str, recipient: str, epochs: tuple[int, int], number: int, last: bool
) -> tuple[bytes | str, ...]:
    """What a part of the list from one epoch to another is sealed for (`pseudonym.hpke`)."""
    return (
        "urns-renewed/1",
        project,
        recipient,
        bytes(epochs),
        number.to_bytes(4, "big"),
        bytes([last]),
    )
