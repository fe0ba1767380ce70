"""People's requests over three roles, step by step: what the demo shows of them.

council: asks ──▶ data protection officer: decides ──▶ all three roles ──▶ two sealed halves ──▶ one answer
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from deploy.service import Service, StudyError
from pseudonym.hpke import OpeningKey
from pseudonym.rights.halves import joined
from pseudonym.roles.callers import Role
from pseudonym.v1 import common_pb2, rights_pb2, vault_pb2

RIGHTS = "/pseudonym.v1.RightsService/"
PATIENCE = 120.0  # seconds until what was decided is carried out


def access(
    service: Service, person: Mapping[str, str], officer: Sequence[OpeningKey]
) -> tuple[rights_pb2.RightsCase, dict[str, Any]]:
    """Have a person's request for a copy taken in, granted and answered.

    Args:
        service: the roles.
        person: what is given of the person: `born` with `nhs`, `nino` or `upn`, or with surname and postcode.
        officer: the officer's private keys, as the roles were told the public ones.

    Returns:
        The case, and the answer, joined as on the officer's machine.

    Raises:
        StudyError: nobody is found, or it is not carried out in time.
    """
    case = _granted(service, rights_pb2.RIGHT_ACCESS, person)
    asked = rights_pb2.ReadAnswerRequest(mandate=_mandate(service), case_id=case.case_id)
    with service.at(Role.IDENTITY, Role.DATA_PROTECTION_OFFICER) as peer:
        halves = peer.call(f"{RIGHTS}ReadAnswer", asked, rights_pb2.ReadAnswerResponse)
    return case, joined(officer, case.case_id, service.project, halves.identity, halves.attributes)


def rectified(
    service: Service, person: Mapping[str, str], values: Mapping[str, str]
) -> rights_pb2.RightsCase:
    """Have a person's values corrected that were never true: links with registers wait to be made anew.

    Args:
        service: the roles.
        person: as for `access`, with what the vault has now.
        values: the right values by field: given, surname, born, sex, address, postcode, nhs and so on.

    Raises:
        StudyError: nobody is found, or it is not carried out in time.
    """
    return _granted(
        service,
        rights_pb2.RIGHT_RECTIFICATION,
        person,
        corrections=[rights_pb2.RightsCorrection(field=name, value=value) for name, value in values.items()],
        truth=rights_pb2.CORRECTION_TRUTH_NEVER,
    )


def officers(folder: Path) -> list[OpeningKey]:
    """The officer's throw-away keys that roles made beside their data (`deploy.roles`), identity's first."""
    found = []
    for role in (Role.IDENTITY, Role.ATTRIBUTES):
        path = folder / f"{role}-role" / role / "officer.key"
        key = load_pem_private_key(path.read_bytes(), None)
        if not isinstance(key, X25519PrivateKey):
            raise StudyError(f"{path} is no X25519 private key.")
        found.append(OpeningKey(key.private_bytes_raw()))
    return found


def _granted(
    service: Service, right: Any, person: Mapping[str, str], **decision: Any
) -> rights_pb2.RightsCase:
    asked = rights_pb2.OpenRequestRequest(
        mandate=_mandate(service),
        right=right,
        received=datetime.now(UTC).date().isoformat(),
        asker=rights_pb2.ASKER_SELF,
        proofs=[rights_pb2.ASKER_PROOF_DOCUMENT],
        sought=[vault_pb2.SoughtPerson(**person)],
    )
    with service.at(Role.IDENTITY, Role.COUNCIL) as council:
        taken = council.call(f"{RIGHTS}OpenRequest", asked, rights_pb2.OpenRequestResponse)
        case_id = taken.case.case_id
    with service.at(Role.IDENTITY, Role.DATA_PROTECTION_OFFICER) as officer:
        looked = rights_pb2.GetRequestRequest(project=service.project, case_id=case_id)
        case = officer.call(f"{RIGHTS}GetRequest", looked, rights_pb2.GetRequestResponse).case
        if case.found != rights_pb2.RIGHT_FOUND_ONE:
            raise StudyError("Nobody in the vault, or more than one, is as the request says.")
        granting = rights_pb2.DecideRequest(
            mandate=_mandate(service), case_id=case_id, outcome=rights_pb2.RIGHT_OUTCOME_GRANTED, **decision
        )
        officer.call(f"{RIGHTS}Decide", granting, rights_pb2.DecideResponse)
        until = time.monotonic() + PATIENCE
        while case.state != rights_pb2.CASE_STATE_CLOSED:
            if time.monotonic() > until:
                raise StudyError("What was decided is not carried out yet. Look at the roles' logs.")
            time.sleep(0.5)
            case = officer.call(f"{RIGHTS}GetRequest", looked, rights_pb2.GetRequestResponse).case
    return case


def _mandate(service: Service) -> common_pb2.Mandate:
    return common_pb2.Mandate(request_id=str(uuid.uuid4()), project=service.project, purpose=service.purpose)
