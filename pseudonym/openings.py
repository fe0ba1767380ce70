"""Before an identity is opened: a purpose, a quota, and an entry in the audit log, in this order.

The rules this module keeps:

- Nothing is opened for a purpose that was not agreed, or beyond the number agreed for a day.
- What is counted stays counted, also when the opening then fails, and over a restart.
- The audit hook returns only once its entry is durable; when it raises, nothing is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pseudonym.errors import InputError, PurposeError, QuotaError
from pseudonym.storage.engine import Store
from pseudonym.storage.identity import count_opening

EACH = 100
"""Up to so many people at a time, each has an entry in the audit log; beyond, it tells their number only."""


@dataclass(frozen=True, slots=True)
class Mandate:
    """Who opens identities, and why.

    Attributes:
        actor: who asks, as the certificate names them.
        purpose: one of those that were agreed.
        project: the project it is done for.
    """

    actor: str
    purpose: str
    project: str

    def __post_init__(self) -> None:
        if not (self.actor and self.purpose and self.project):
            raise InputError("An opening names an actor, a purpose and a project.")


@dataclass(frozen=True, slots=True)
class Opening:
    """What the audit hook is told, before anything is opened.

    Attributes:
        time: seconds since 1970.
        action: `open`, `find`, `known` (for linkage) or `review` (of pairs).
        mandate: who, and why.
        count: how many identities, or searches if these are more.
        subjects: whose, as the log calls them (`seal.references`); empty for linkage, and where they are more
            than `EACH`.
    """

    time: int
    action: str
    mandate: Mandate
    count: int
    subjects: tuple[bytes, ...] = ()


Audit = Callable[[Opening], None]
"""Writes an entry to the audit log, and returns once it is durable."""


class Openings:
    """The gate that every opening of one store goes through.

    Args:
        store: the identity role's; it keeps the counts.
        audit: see `Audit`.
        quotas: the purposes that were agreed, and how many identities may be opened for each in a day.
    """

    def __init__(self, store: Store, audit: Audit, quotas: Mapping[str, int]) -> None:
        self._store = store
        self._audit = audit
        self._quotas = dict(quotas)

    def check(self, mandate: Mandate) -> None:
        """Do nothing if the purpose was agreed.

        Raises:
            PurposeError: it was not.
        """
        if mandate.purpose not in self._quotas:
            raise PurposeError(
                "Identities are not opened for this purpose.",
                f"The purposes agreed are: {', '.join(sorted(self._quotas)) or 'none'}.",
            )

    def admit(self, mandate: Mandate, action: str, count: int, subjects: Sequence[bytes] = ()) -> None:
        """Count an opening and write it down; whoever returns from here may open.

        Raises:
            PurposeError: the purpose was not agreed.
            QuotaError: there would be more than may be opened for it in a day.
        """
        self.check(mandate)
        now = self._store.now()
        with self._store.transaction() as connection:
            total = count_opening(self._store, connection, now // 86_400, mandate.purpose, count)
            if total > self._quotas[mandate.purpose]:
                raise QuotaError(
                    f"{count} more identities may not be opened for this purpose today.",
                    "Wait until tomorrow (UTC), or have the quota changed by those who agreed it.",
                )
        self._audit(Opening(now, action, mandate, count, tuple(subjects)))
