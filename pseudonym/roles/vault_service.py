"""The servicer of `VaultService`: it translates and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime

import polars as pl

from pseudonym import columns, wayback
from pseudonym.openings import Mandate
from pseudonym.requests import Approval, Request
from pseudonym.roles import callers, checks
from pseudonym.roles.arrow import ReadArrow, frame, written
from pseudonym.roles.callers import SERVER_ROLES, Caller
from pseudonym.roles.erasing import Erasing, Erasure
from pseudonym.roles.opening import House
from pseudonym.roles.passage import account
from pseudonym.roles.peer import Peer
from pseudonym.roles.refusals import FieldError
from pseudonym.seeking import Sought, seek
from pseudonym.urn import prf
from pseudonym.v1 import broker_pb2, common_pb2, vault_pb2, vault_pb2_grpc
from pseudonym.vault import Vault

SERVICE = "/pseudonym.v1.BrokerService/"
MOST_SOUGHT = 100
IDENTIFIERS = ("given", "surname", "born", "sex", "address", "postcode", "nhs", "nino", "upn", "uln", "pncid")


class VaultServicer(vault_pb2_grpc.VaultServiceServicer):
    """The vault's operations."""

    def __init__(
        self,
        house: House,
        vault: Vault,
        gate: wayback.Gate,
        erasing: Erasing,
        broker: Callable[[], Peer],
        read: ReadArrow,
    ) -> None:
        self._house, self._vault, self._gate, self._erasing = house, vault, gate, erasing
        self._broker, self._read = broker, read

    async def StoreIdentities(
        self, request: vault_pb2.StoreIdentitiesRequest, context: object
    ) -> vault_pb2.StoreIdentitiesResponse:
        mandate, source = checks.mandate(request.mandate), checks.label(request.source, "source")
        return await asyncio.to_thread(self._store, request, mandate, source)

    def _store(
        self, request: vault_pb2.StoreIdentitiesRequest, mandate: checks.Mandate, source: str
    ) -> vault_pb2.StoreIdentitiesResponse:
        rows = frame(self._read, request.arrow, ("row_ref",), ("person", "family", *IDENTIFIERS))
        if rows["person"].null_count():
            raise FieldError("A row has no person.", "Every row has one.", field="arrow")
        account().count = rows.height
        # Drawn once for the request and kept, so that a request that is sent again makes nobody twice.
        draw = self._house.repeats.once(mandate.request_id, checks.digest("StoreIdentities", request), _draw)
        pids, fids = _ids(draw, "person", rows["person"]), _ids(draw, "family", rows["family"])
        first = rows.unique("person", keep="first", maintain_order=True)
        new = [pids[person] for person in first["person"].to_list()]
        if not self._vault.states(new):
            people = columns.from_flat(_with_days(first.select(IDENTIFIERS)))
            self._vault.add(people, source, pids=new)
        mapped = pl.DataFrame(
            {
                "row_ref": rows["row_ref"],
                "pid": pl.Series([pids[one] for one in rows["person"].to_list()], dtype=pl.Binary),
                "fid": pl.Series([fids.get(one) for one in rows["family"].to_list()], dtype=pl.Binary),
            }
        )
        told = broker_pb2.MapSubjectsRequest(mandate=_passed_on(mandate), arrow=written(mapped))
        answer = self._broker().call(f"{SERVICE}MapSubjects", told, broker_pb2.MapSubjectsResponse)
        return vault_pb2.StoreIdentitiesResponse(rows=answer.rows, new_persons=len(new))

    async def LookUp(self, request: vault_pb2.LookUpRequest, context: object) -> vault_pb2.LookUpResponse:
        mandate, caller = checks.mandate(request.mandate), callers.current()
        return await asyncio.to_thread(self._look_up, mandate, caller, request.reidentification)

    def _look_up(self, mandate: checks.Mandate, caller: Caller, name: bytes) -> vault_pb2.LookUpResponse:
        granted, pids = self._granted(mandate, caller, name)
        known = list(dict.fromkeys(pid for pid in pids if pid))
        account().count = len(known)
        if len(known) == 1:
            account().subject = next(iter(self._vault.references(known)), b"")
        opened = self._vault.open(known, Mandate(str(caller), mandate.purpose, mandate.project))
        by_pid: dict[bytes, list[object]] = {pid: [] for pid in known}
        for row in opened.drop("row_id", "version", "received_day").to_dicts():
            by_pid[row.pop("pid")].append(row)
        answer = json.dumps([by_pid.get(pid) for pid in pids], default=str, ensure_ascii=False).encode()
        return vault_pb2.LookUpResponse(count=len(known), sealed=wayback.seal_answer(granted, answer))

    async def EraseSubjects(
        self, request: vault_pb2.EraseSubjectsRequest, context: object
    ) -> vault_pb2.EraseSubjectsResponse:
        mandate, caller = checks.mandate(request.mandate), callers.current()
        if request.reason not in vault_pb2.ErasureReason.values()[1:]:
            raise FieldError("No reason is named.", "Name one of ErasureReason.", field="reason")
        reason, whom = vault_pb2.ErasureReason.Name(request.reason), request.WhichOneof("whom")
        if whom is None:
            raise FieldError("Nobody is named.", "Give sought or reidentification.", field="whom")
        people = sought(request.sought) if whom == "sought" else ()

        def find() -> list[bytes]:
            if whom == "sought":
                why = Mandate(str(caller), mandate.purpose, mandate.project)
                return seek(self._vault, people, why, several=request.sought.all_agreeing)
            _, pids = self._granted(mandate, caller, request.reidentification)
            return self._vault.all_ids([pid for pid in pids if pid])

        def erase() -> vault_pb2.EraseSubjectsResponse:
            key = self._house.keyset.suppression_key()
            tag = key.prf("erasure-request/1", request.SerializeToString(deterministic=True))[:2].hex()
            erasure = self._erasing.begin(mandate, str(caller), reason, tag, find)
            _note(erasure)
            return vault_pb2.EraseSubjectsResponse(erasure=erasure_message(erasure))

        return await asyncio.to_thread(erase)

    async def GetErasure(
        self, request: vault_pb2.GetErasureRequest, context: object
    ) -> vault_pb2.GetErasureResponse:
        project = checks.label(request.project, "project")
        erasure = await asyncio.to_thread(self._erasing.get, project, request.erasure_id)
        _note(erasure)
        return vault_pb2.GetErasureResponse(erasure=erasure_message(erasure))

    def _granted(
        self, mandate: checks.Mandate, caller: Caller, name: bytes
    ) -> tuple[wayback.Granted, list[bytes]]:
        """What the broker resolves of a request, once this role has checked the approvals itself."""
        asked = broker_pb2.ResolveReidentificationRequest(
            mandate=_passed_on(mandate), name=name, requester=str(caller)
        )
        response = broker_pb2.ResolveReidentificationResponse
        found = self._broker().call(f"{SERVICE}ResolveReidentification", asked, response)
        request = Request.from_file(found.reidentification.request)
        approvals = [Approval.from_file(one) for one in found.reidentification.approvals]
        pids = list(found.pids)
        count = len({pid for pid in pids if pid})
        if request.name() != name or (request.project, request.purpose) != (mandate.project, mandate.purpose):
            raise FieldError(
                "The mandate is not the request's.", "Name its project and purpose.", field="mandate"
            )
        granted = wayback.check_request(self._gate, request, approvals, datetime.now(UTC), count=count)
        return granted, pids


def sought(message: vault_pb2.SoughtPersons) -> list[Sought]:
    """Read who is sought.

    Raises:
        FieldError: nobody, or too many; or a day of birth is none.
    """
    if not 1 <= len(message.persons) <= MOST_SOUGHT:
        raise FieldError(
            f"An erasure seeks 1 to {MOST_SOUGHT} persons.",
            "Ask for fewer at a time.",
            field="sought.persons",
        )
    return [
        Sought(_day(one.born), one.nhs, one.nino, one.upn, one.surname, one.postcode)
        for one in message.persons
    ]


def erasure_message(erasure: Erasure) -> vault_pb2.Erasure:
    """How far an erasure has come."""
    steps = []
    for role in SERVER_ROLES:
        done = erasure.steps.get(role)
        when = checks.timestamp(datetime.fromisoformat(done.when)) if done else None
        certificate = done.certificate.encode() if done else b""
        name = f"SERVER_ROLE_{role.upper()}"
        steps.append(vault_pb2.ErasureStep(role=name, done_time=when, certificate=certificate))
    return vault_pb2.Erasure(
        erasure_id=erasure.erasure_id,
        reason=erasure.reason,
        create_time=checks.timestamp(datetime.fromisoformat(erasure.asked)),
        persons=erasure.persons,
        steps=steps,
        complete=erasure.complete,
    )


def _note(erasure: Erasure) -> None:
    account().count = erasure.persons
    account().details = {"erasure": erasure.erasure_id, "reason": erasure.reason}


def _day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise FieldError(
            "A day of birth is missing, or not written as YYYY-MM-DD.",
            "Every person who is sought has one.",
            field="sought.persons.born",
        ) from None


def _draw() -> bytes:
    return os.urandom(32)


def _ids(draw: bytes, kind: str, names: pl.Series) -> dict[str, bytes]:
    """A random id for each name, the same for the same draw."""
    return {name: prf(draw, kind, name)[:16] for name in names.drop_nulls().unique().to_list()}


def _with_days(rows: pl.DataFrame) -> pl.DataFrame:
    days = rows["born"].str.to_date("%Y-%m-%d", strict=False)
    if days.null_count() != rows["born"].null_count():
        raise FieldError(
            "A day of birth is not written as YYYY-MM-DD.", "Correct or clear it.", field="arrow"
        )
    return rows.with_columns(born=days)


def _passed_on(mandate: checks.Mandate) -> common_pb2.Mandate:
    return common_pb2.Mandate(request_id=mandate.request_id, project=mandate.project, purpose=mandate.purpose)
