"""What a role's projects stand on, and why something of them may go outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pseudonym import clock
from pseudonym.errors import LawError
from pseudonym.lawful import notice
from pseudonym.lawful.cover import Cover
from pseudonym.lawful.records import ProjectRecord
from pseudonym.lawful.sharing import Sharing
from pseudonym.retention.schedules import Store
from pseudonym.roles import checks, governance
from pseudonym.roles.answering import Terms
from pseudonym.roles.opening import House
from pseudonym.roles.refusals import FieldError
from pseudonym.v1 import vault_pb2

_PREFIX = "SHARING_REASON_"


def cover_of(house: House) -> Cover:
    """What a role was told; in development a project that nobody described is served as well."""
    told = governance.read(house.settings.governance)
    return Cover(told.records, required=not house.settings.make)


def projects_terms(records: Mapping[str, ProjectRecord]) -> Terms:
    """What an answer says of a project: from its record, on the day."""

    def terms(project: str) -> dict[str, Any]:
        record = records.get(project)
        return {} if record is None else notice.terms(record, clock.today())

    return terms


def shared_for(house: House, mandate: checks.Mandate, stated: int, register: str) -> str:
    """Why people of a project may be told to the holder of a register; empty where nobody was asked.

    Raises:
        FieldError: the reason is none.
        LawError: the purpose does not cover the register, or there is no reason.
    """
    if stated and stated not in vault_pb2.SharingReason.values():
        raise FieldError("The reason is none.", "Name one of SharingReason.", field="sharing_reason")
    name = vault_pb2.SharingReason.Name(stated).removeprefix(_PREFIX).lower().replace("_", "-")
    cover, use = cover_of(house), (mandate.project, mandate.purpose)
    cover.check_columns(*use, (register,), (), clock.today())
    cover.check_kept(mandate.project, Store.HOLDER, register)
    reason = cover.check_sharing(*use, Sharing(name) if stated else None, clock.today())
    if reason is Sharing.REQUESTED_SERVICE:
        raise LawError(
            "EVIDENCE_MISSING",
            "Nothing here shows that everybody requested a service.",
            "State another reason, or have the council share what it has evidence for.",
        )
    return reason or ""
