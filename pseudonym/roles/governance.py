"""Who decided what, as one role was told: projects and their ends, who may ask, approve and send, quotas.

    {"projects": {"tf-2026": {"end": "2027-12-31T00:00:00Z", …}},
     "requesters": {"alice": "alice"},
     "approvers": [{"name": "bob", "person": "bob", "public_key": "…64 hexadecimal digits…"}],
     "quotas": {"reidentification": 500},
     "canaries": ["Zebulon Quillfeather"],
     "holders": [{"project": "tf-2026", "dataset": "wpls", "person": "carol", "recipient": "dwp-extract"}],
     "exchanges": [{"project": "tf-2026", "recipient": "npd-exchange", "register": "npd",
                    "public_key": "…64 hexadecimal digits…"}],
     "councils": [{"project": "tf-2026", "person": "dora", "area": "fenham"}],
     "contacts": [{"who": "data-protection-officer", "name": "Olive", "how": "dpo@council.example"},
                  {"who": "regulator", "name": "Information Commissioner's Office", "how": "ico.org.uk"}],
     "national_data_opt_out": {…},
     "partner_checks": {…}}

A project's record has the form that `pseudonym.lawful.records` gives; in development its end alone will do.
`partner_checks` is a council's, and `pseudonym.partners.register` has its form; `pseudonym.tables.areas` has
that of `councils`, `pseudonym.optouts.agreed` that of `national_data_opt_out`. Each role has a copy of its
own, so that nobody opens the way back by changing one file. Nobody but the user who runs the role, or root,
can change it. It is read at the start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pseudonym.approvers import Approver, Register
from pseudonym.errors import InputError
from pseudonym.lawful.records import ProjectRecord
from pseudonym.optouts.agreed import Agreed
from pseudonym.partners.register import PartnerRegister
from pseudonym.roles.senders import Holder
from pseudonym.tables.areas import NOWHERE, Areas
from pseudonym.urn import check_label

_MEMBERS = {
    *("projects", "requesters", "approvers", "quotas"),
    *("holders", "exchanges", "partner_checks", "canaries", "councils", "contacts", "national_data_opt_out"),
}

_CONTACT = ("who", "name", "how")


@dataclass(frozen=True, slots=True)
class Exchange:
    """With whom people are exchanged: the register's code, and its holder's X25519 public key."""

    register: str
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Governance:
    """What a role was told.

    Attributes:
        ends: when each project ends.
        records: what each project stands on, where the file says it.
        register: who may ask for the way back, and who may approve it.
        quotas: how many identities may be opened in a day for each purpose that was agreed.
        holders: who may send which register or dataset, or None where the file says nothing of it.
        exchanges: by project and recipient, the register that its holder matches, and the holder's key.
        partner_checks: who asks partners what, or None where the file says nothing of it.
        canaries: values that were planted to be found; a release that holds one is blocked.
        areas: which council reads which area of tables.
        contacts: whom people can turn to with a complaint: `who`, `name` and `how`.
        opt_outs: how lists of the National Data Opt-out are exchanged, or None where nobody agreed.
    """

    ends: Mapping[str, datetime]
    register: Register
    quotas: Mapping[str, int]
    holders: frozenset[Holder] | None = None
    exchanges: Mapping[tuple[str, str], Exchange] = field(default_factory=dict)
    partner_checks: PartnerRegister | None = None
    canaries: tuple[str, ...] = ()
    areas: Areas = NOWHERE
    records: Mapping[str, ProjectRecord] = field(default_factory=dict)
    contacts: tuple[Mapping[str, str], ...] = ()
    opt_outs: Agreed | None = None


NOTHING = Governance({}, Register((), {}), {})
"""Where nobody decided anything: no way back, and no identity is opened."""


def read(path: Path | None) -> Governance:
    """Read the file of a role; `NOTHING` where there is none.

    Raises:
        InputError: it cannot be read, others can change it, or it is not of the form above; of a project's
            record the message says what is wrong.
    """
    if path is None:
        return NOTHING
    try:
        with path.open() as file:
            _check_unchanged_by_others(os.fstat(file.fileno()))
            content: dict[str, Any] = json.load(file)
        if not set(content) <= _MEMBERS:
            raise ValueError
        projects = content.get("projects", {})
        records = {
            name: ProjectRecord.read(name, one, path.parent)
            for name, one in projects.items()
            if isinstance(one, dict)
        }
        ends = {
            check_label(name, "project"): records[name].end if name in records else _end(one)
            for name, one in projects.items()
        }
        approvers = tuple(
            Approver(**{**one, "public_key": bytes.fromhex(one["public_key"])})
            for one in content.get("approvers", [])
        )
        quotas = {str(name): int(most) for name, most in content.get("quotas", {}).items()}
        register = Register(approvers, dict(content.get("requesters", {})))
        exchanges = {
            (check_label(one["project"], "project"), check_label(one["recipient"], "recipient")): Exchange(
                check_label(one["register"], "register"), bytes.fromhex(one["public_key"])
            )
            for one in content.get("exchanges", [])
        }
        checks = content.get("partner_checks")
        partners = None if checks is None else PartnerRegister.read(checks)
        canaries = tuple(str(one) for one in content.get("canaries", []))
        holders = _holders(content.get("holders"))
        areas = Areas.read(content.get("councils", []))
        contacts = tuple({name: str(one[name]) for name in _CONTACT} for one in content.get("contacts", []))
        opt_outs = content.get("national_data_opt_out")
        agreed = None if opt_outs is None else Agreed.read(opt_outs)
        decided = (ends, register, quotas, holders, exchanges, partners, canaries)
        return Governance(*decided, areas, records, contacts, agreed)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise InputError(
            "The file of --governance cannot be read as one.", "docs/running.md shows its form."
        ) from None


def _holders(content: list[dict[str, str]] | None) -> frozenset[Holder] | None:
    if content is None:
        return None
    found = frozenset(Holder(**one) for one in content)
    for one in found:
        check_label(one.project, "project")
        check_label(one.dataset, "dataset")
        if one.recipient:
            check_label(one.recipient, "recipient")
    return found


def _check_unchanged_by_others(status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
        raise InputError(
            "The file of --governance can be changed by other users.",
            "It belongs to root or to the user who runs this, with mode 644 or less.",
        )


def _end(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
