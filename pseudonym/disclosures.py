"""To whom data of people in the vault went: who, which fields, why, when, under each person's own key.

    before anything leaves: note ──▶ sealed rows ──▶ read, for an access request, and in no other way

The rules this module keeps:

- It is on disk before what it tells of leaves.
- The same disclosure again on the same day is one line.
- It goes with the person: without the person's key a line is random bytes, and an erasure deletes it.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from pseudonym import seal
from pseudonym.storage import identity as db
from pseudonym.storage import rights
from pseudonym.subjects import LIVING, STORE
from pseudonym.urn import ID_BYTES, enc
from pseudonym.vault_rows import Tools


class Disclosures:
    """The register of disclosures of one vault.

    Args:
        tools: the vault's.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def note(self, pids: Sequence[bytes], *, project: str, who: str, fields: Sequence[str], why: str) -> None:
        """Note a disclosure of today, the same of all these people.

        Args:
            pids: whose data leave; each once. Who was erased meanwhile is passed over.
            project: what it is done for.
            who: gets them: a code, or the name in a certificate.
            fields: which they are.
            why: the purpose.
        """
        store = self._tools.store
        day = store.today()
        told = {"project": project, "who": who, "fields": list(fields), "why": why, "day": day}
        payload = json.dumps(told, sort_keys=True).encode()
        with store.transaction() as at:
            deks = self._tools.subjects.deks(db.keys(store, at, pids))
            known = sorted(deks)
            # The same line of the same person has the same id, which says nothing without the key.
            row_ids = [
                hmac.digest(deks[pid], enc("disclosure/1", pid, payload), sha256)[:ID_BYTES] for pid in known
            ]
            sealed = seal.seal_rows(
                [deks[pid] for pid in known], STORE, known, row_ids, [1] * len(known), [payload] * len(known)
            )
            rights.add_disclosures(store, at, row_ids, known, sealed)

    def read(self, pids: Sequence[bytes]) -> list[Mapping[str, Any]]:
        """What was disclosed of people, by day: project, who, fields, why and day (since 1970).

        Raises:
            SealBrokenError: a line was altered or exchanged.
        """
        store = self._tools.store
        with store.read() as at:
            states = db.subjects(store, at, pids)
            living = [row.pid for row in states if row.state in LIVING]
            deks = self._tools.subjects.deks(db.keys(store, at, living))
            found = [row for row in rights.disclosures(store, at, living) if row[1] in deks]
        opened = seal.open_rows(
            [deks[pid] for _, pid, _ in found],
            STORE,
            [pid for _, pid, _ in found],
            [row_id for row_id, _, _ in found],
            [1] * len(found),
            [ct for _, _, ct in found],
        )
        told: list[Mapping[str, Any]] = [json.loads(one) for one in opened]
        return sorted(told, key=lambda one: (one["day"], one["who"]))
