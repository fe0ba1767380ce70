"""Who decided what, as one role was told: projects and their ends, who may ask and approve, quotas.

    {"projects": {"tf-2026": "2027-12-31T00:00:00Z"},
     "requesters": {"alice": "alice"},
     "approvers": [{"name": "bob", "person": "bob", "public_key": "…64 hexadecimal digits…"}],
     "quotas": {"reidentification": 500}}

Each role has a copy of its own, so that nobody opens the way back by changing one file. It is read at the
start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pseudonym.approvers import Approver, Register
from pseudonym.errors import InputError
from pseudonym.urn import check_label

_MEMBERS = {"projects", "requesters", "approvers", "quotas"}


@dataclass(frozen=True, slots=True)
class Governance:
    """What a role was told.

    Attributes:
        ends: when each project ends.
        register: who may ask for the way back, and who may approve it.
        quotas: how many identities may be opened in a day for each purpose that was agreed.
    """

    ends: Mapping[str, datetime]
    register: Register
    quotas: Mapping[str, int]


NOTHING = Governance({}, Register((), {}), {})
"""Where nobody decided anything: no way back, and no identity is opened."""


def read(path: Path | None) -> Governance:
    """Read the file of a role; `NOTHING` where there is none.

    Raises:
        InputError: it cannot be read, or is not of the form above.
    """
    if path is None:
        return NOTHING
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        if not set(content) <= _MEMBERS:
            raise ValueError
        ends = {
            check_label(name, "project"): _end(text) for name, text in content.get("projects", {}).items()
        }
        approvers = tuple(
            Approver(**{**one, "public_key": bytes.fromhex(one["public_key"])})
            for one in content.get("approvers", [])
        )
        quotas = {str(name): int(most) for name, most in content.get("quotas", {}).items()}
        return Governance(ends, Register(approvers, dict(content.get("requesters", {}))), quotas)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise InputError(
            "The file of --governance cannot be read as one.", "docs/running.md shows its form."
        ) from None


def _end(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
