"""The way back: from a recipient's numbers to aids, and from aids to pids.

Danger: this is what pseudonymisation is there to prevent. Only callers that have checked an approved request
may have a `Tracing` at all; each call says so once more with `WAY_BACK`, and is in the audit log before
anything is found. What was erased, or whose key is destroyed, has no way back.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from pseudonym import frames, issuing
from pseudonym.access import Access, Mandate
from pseudonym.broker_context import BrokerContext
from pseudonym.cover import uncover
from pseudonym.errors import InputError, SealBrokenError
from pseudonym.urn import Kind


class WayBack:
    """The type of `WAY_BACK`."""

    def __repr__(self) -> str:
        return "WAY_BACK"


WAY_BACK: Final = WayBack()
"""Hand this to what leads from a number towards a person. Every place that does can be found by this name."""


class Tracing:
    """The broker's way back."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context

    def resolve(
        self, project: str, recipient: str, urns: frames.Table, mandate: Mandate, token: WayBack
    ) -> pl.DataFrame:
        """From a recipient's numbers, of any epoch whose key is there, to aids.

        Danger: for callers of the way back only, who have checked approvals.

        Args:
            project: its name.
            recipient: its name.
            urns: a column `urn` of text, as people write numbers.
            mandate: who asks, and what for.
            token: `WAY_BACK`.

        Returns:
            Columns `urn` as given, `aid` (null where it is not found) and `reason` (null where it is): the
            codes of `pseudonym.read`, or NOT_FOUND for what was never issued here, is erased, or whose key is
            destroyed.

        Raises:
            SealBrokenError: a number's row was altered.
        """
        _check(token)
        rows = self._context.rows
        written = frames.words(frames.table(urns), "urn")
        text, epochs = issuing.tidied(written)
        self._context.audit(Access("resolve", project, mandate, written.len(), (recipient,)))
        found: dict[str, bytes] = {}
        with rows.read() as at:
            project_row = rows.project(at, project, ended=True)
            for domain, key in self._context.keyed(project_row):
                if domain.recipient != recipient:
                    continue
                some = list(dict.fromkeys(text.filter((epochs == domain.epoch).fill_null(False)).to_list()))
                found |= issuing.traced(rows, at, domain.number, key, some)
        aids = [found.get(word) for word in text.to_list()]
        reasons = [
            None if aid is not None else issuing.why_unknown(one)
            for aid, one in zip(aids, written.to_list(), strict=True)
        ]
        return pl.DataFrame(
            {
                "urn": written,
                "aid": pl.Series(aids, dtype=pl.Binary),
                "reason": pl.Series(reasons, dtype=pl.String),
            }
        )

    def pids(self, project: str, aids: frames.Table, mandate: Mandate, token: WayBack) -> pl.DataFrame:
        """From aids (column `aid`) to pids and fids, for identity to open.

        Danger: for callers of the way back only, who have checked approvals.

        Returns:
            Columns `aid`, `kind` and `pid`, both null for what is not a member of the project.

        Raises:
            KeyMissingError: the project's key was destroyed.
            SealBrokenError: a row was altered.
        """
        _check(token)
        rows = self._context.rows
        given = frames.ids(frames.table(aids), "aid")
        key = self._context.keys.aid_key(project)
        self._context.audit(Access("identify", project, mandate, len(given)))
        with rows.read() as at:
            project_row = rows.project(at, project)
            members = rows.members(at, list(dict.fromkeys(given)))
        here = {aid: row for aid, row in members.items() if row[0] == project_row.number}
        behind = dict(zip(here, uncover(key, [row[2] for row in here.values()]), strict=True))
        for kind in Kind:
            some = [aid for aid, row in here.items() if row[1] == kind]
            if key.aids(project_row.epoch, kind, [behind[aid] for aid in some]) != some:
                raise SealBrokenError(
                    "A member's row was altered, or exchanged for another's.", "Nothing was given out."
                )
        kinds = [here[aid][1] if aid in here else None for aid in given]
        return frames.columns(aid=given, pid=[behind.get(aid) for aid in given]).insert_column(
            1, pl.Series("kind", kinds, dtype=pl.String)
        )


def _check(token: WayBack) -> None:
    if token is not WAY_BACK:
        raise InputError("The way back is not open to this caller.", "It takes an approved request.")
