"""The servicer of `OptOutService`: it translates and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
from google.protobuf.timestamp_pb2 import Timestamp

from pseudonym import clock
from pseudonym.openings import Mandate as Opening
from pseudonym.optouts import rules
from pseudonym.optouts.checks import Exemption
from pseudonym.optouts.rules import Kind, Override
from pseudonym.people import People
from pseudonym.roles import callers, checks
from pseudonym.roles.erasing import Erasing
from pseudonym.roles.flat import FLAT
from pseudonym.roles.opening import House
from pseudonym.roles.opting_out import OptOuts
from pseudonym.roles.passage import account
from pseudonym.roles.refusals import FieldError, StreamError
from pseudonym.roles.threads import to_peer
from pseudonym.roles.vault_service import erasure_message, sought
from pseudonym.seeking import seek
from pseudonym.v1 import optout_pb2, optout_pb2_grpc
from pseudonym.vault import Vault

PIECE: Final = 1 << 20
MOST_CIRCULATION: Final = 1_000
LARGEST_LIST: Final = 64 << 20  # bytes of a list that comes back: five million numbers


class OptOutServicer(optout_pb2_grpc.OptOutServiceServicer):
    """What people decided about their data."""

    def __init__(
        self, house: House, vault: Vault, people: People, erasing: Erasing, optouts: OptOuts
    ) -> None:
        self._house, self._vault, self._people = house, vault, people
        self._erasing, self._optouts = erasing, optouts

    async def Withdraw(
        self, request: optout_pb2.WithdrawRequest, context: object
    ) -> optout_pb2.WithdrawResponse:
        asked = self._asked(request, "optout-withdrawal/1")

        def find() -> list[bytes]:
            found = asked.find()
            return self._vault.all_ids(self._people.kin(found)) if request.families else found

        def work() -> optout_pb2.WithdrawResponse:
            rule, erasure = self._optouts.withdraw(asked.mandate, asked.actor, asked.tag, find)
            account().count = rule.persons
            return optout_pb2.WithdrawResponse(persons=rule.persons, erasure=erasure_message(erasure))

        return await to_peer(work)

    async def SetNhsNumberOptOut(
        self, request: optout_pb2.SetNhsNumberOptOutRequest, context: object
    ) -> optout_pb2.SetNhsNumberOptOutResponse:
        asked = self._asked(request, "optout-nhs/1")

        def work() -> optout_pb2.SetNhsNumberOptOutResponse:
            rule, rows = self._optouts.no_number(asked.mandate, asked.actor, asked.tag, asked.find)
            account().count = rule.persons
            return optout_pb2.SetNhsNumberOptOutResponse(persons=rule.persons, rows=rows)

        return await to_peer(work)

    async def SetSharing(
        self, request: optout_pb2.SetSharingRequest, context: object
    ) -> optout_pb2.SetSharingResponse:
        asked, sharing = self._asked(request, "optout-sharing/1"), request.sharing
        if sharing not in optout_pb2.Sharing.values()[1:]:
            raise FieldError("Nothing is named.", "Name one of Sharing.", field="sharing")
        override = None
        if sharing == optout_pb2.SHARING_OVERRIDDEN:
            override = Override(
                rules.ground(request.ground),
                checks.code(request.reference, "reference"),
                checks.label(request.register, "register") if request.register else "",
                rules.moment(clock.now()),
            )
        elif request.ground or request.reference or request.register:
            raise FieldError("Only an override has a ground.", "Leave it out.", field="ground")

        def work() -> optout_pb2.SetSharingResponse:
            if override is not None:
                decided = self._optouts.override(asked.find, override)
                tell = override.text()
            elif sharing == optout_pb2.SHARING_LIFTED:
                decided, tell = self._optouts.lift(asked.find), ""
                if not decided:
                    return optout_pb2.SetSharingResponse()
            else:
                many = len(request.sought.persons)
                mandate, actor = asked.mandate, asked.actor
                decided = self._optouts.refuse_sharing(mandate, actor, asked.tag, asked.find, many)
                tell = ""
            account().count = count = sum(one.persons for one in decided)
            return optout_pb2.SetSharingResponse(decision=decided[0].name, persons=count, tell=tell)

        return await to_peer(work)

    async def ConfirmTold(
        self, request: optout_pb2.ConfirmToldRequest, context: object
    ) -> optout_pb2.ConfirmToldResponse:
        checks.mandate(request.mandate)
        count = await asyncio.to_thread(self._optouts.told, request.decision)
        account().count = count
        return optout_pb2.ConfirmToldResponse(overrides=count)

    async def SetCirculation(
        self, request: optout_pb2.SetCirculationRequest, context: object
    ) -> optout_pb2.SetCirculationResponse:
        mandate, rows = checks.mandate(request.mandate), _circulation(request.persons)
        actor, tag = str(callers.current()), self._tag("optout-circulation/1", request)

        def work() -> int:
            if request.lifted:
                return self._optouts.circulars_again(rows)
            return self._optouts.no_circulars(mandate, actor, tag, rows).persons

        account().count = count = await asyncio.to_thread(work)
        return optout_pb2.SetCirculationResponse(persons=count)

    async def CheckCirculation(
        self, request: optout_pb2.CheckCirculationRequest, context: object
    ) -> optout_pb2.CheckCirculationResponse:
        checks.mandate(request.mandate)
        rows = _circulation(request.persons)
        account().count = rows.height
        found = await asyncio.to_thread(self._optouts.book.on_list, Kind.CIRCULATION, rows)
        return optout_pb2.CheckCirculationResponse(refused=found.to_list())

    async def ExportNumbers(
        self, request: optout_pb2.ExportNumbersRequest, context: object
    ) -> AsyncIterator[optout_pb2.ExportNumbersResponse]:
        mandate, actor = checks.mandate(request.mandate), str(callers.current())
        name, content, numbers, expires = await asyncio.to_thread(self._optouts.export, mandate, actor)
        account().count = numbers
        for at in range(0, len(content), PIECE) or (0,):
            yield optout_pb2.ExportNumbersResponse(
                name=name,
                content=content[at : at + PIECE],
                numbers=numbers,
                expire_time=Timestamp(seconds=expires),
            )

    async def ImportCleared(
        self, requests: AsyncIterator[optout_pb2.ImportClearedRequest], context: object
    ) -> optout_pb2.ImportClearedResponse:
        first = await anext(requests, None)
        if first is None or first.WhichOneof("part") != "header":
            raise StreamError("The first message of a list is its header.", "Send that first.")
        mandate = checks.mandate(first.header.mandate)
        content = bytearray()
        async for request in requests:
            if request.WhichOneof("part") != "content":
                raise StreamError("After the header comes the list.", "Send the header once.")
            content += request.content
            if len(content) > LARGEST_LIST:
                raise StreamError("The list is too long.", "It is one NHS number a line.")
        sent, cleared, expires = await asyncio.to_thread(
            self._optouts.take, mandate.project, first.header.name, bytes(content)
        )
        account().count = sent
        return optout_pb2.ImportClearedResponse(
            sent=sent, cleared=cleared, removed=sent - cleared, expire_time=Timestamp(seconds=expires)
        )

    async def SetExemption(
        self, request: optout_pb2.SetExemptionRequest, context: object
    ) -> optout_pb2.SetExemptionResponse:
        mandate = checks.mandate(request.mandate)
        register = checks.label(request.register, "register")
        account().details = {"register": register, "reason": request.reason, "reference": request.reference}
        reference = "" if request.ended else checks.code(request.reference, "reference")
        exemption = Exemption(
            *(mandate.project, register, request.reason, reference, str(callers.current())),
            int(self._house.store.now()),
        )
        changed = await asyncio.to_thread(lambda: self._optouts.exempt(exemption, ended=request.ended))
        return optout_pb2.SetExemptionResponse(changed=changed)

    async def GetStatus(
        self, request: optout_pb2.GetStatusRequest, context: object
    ) -> optout_pb2.GetStatusResponse:
        project = checks.label(request.project, "project")
        return await asyncio.to_thread(self._status, project)

    def _status(self, project: str) -> optout_pb2.GetStatusResponse:
        book = self._optouts.book
        count = {kind: sum(one.persons for one in book.all(kind)) for kind in Kind}
        pending = [
            one
            for one in book.all(Kind.WITHDRAWAL)
            if not one.erasure_id or not self._erasing.get(one.request.project, one.erasure_id).complete
        ]
        untold = sum(not one.told for rule in book.all(Kind.SHARING) for one in rule.overrides)
        lists, exemptions = self._optouts.lists(project)
        return optout_pb2.GetStatusResponse(
            withdrawn=count[Kind.WITHDRAWAL],
            pending=len(pending),
            nhs_numbers=count[Kind.NHS_NUMBER],
            not_shared=count[Kind.SHARING],
            untold=untold,
            circulation=count[Kind.CIRCULATION],
            lists=[
                optout_pb2.OptOutList(
                    name=one.file,
                    create_time=Timestamp(seconds=one.sent),
                    expire_time=Timestamp(seconds=one.expires),
                    state=one.state,
                    sent=one.count,
                    removed=one.removed if one.answered else 0,
                )
                for one in lists
            ],
            exemptions=[
                optout_pb2.OptOutExemption(
                    register=one.register,
                    reason=one.reason,
                    reference=one.reference,
                    since_time=Timestamp(seconds=one.when),
                )
                for one in exemptions
            ],
        )

    def _asked(self, request: Any, label: str) -> _Asked:
        mandate, caller = checks.mandate(request.mandate), callers.current()
        people = sought(request.sought)
        opening = Opening(str(caller), mandate.purpose, mandate.project)
        several = request.sought.all_agreeing

        def find() -> list[bytes]:
            return seek(self._vault, people, opening, several=several)

        return _Asked(mandate, str(caller), self._tag(label, request), find)

    def _tag(self, label: str, request: Any) -> str:
        """By what a request is known again: too little to try identifiers against, even with the key."""
        key = self._house.keyset.suppression_key()
        return key.prf(label, request.SerializeToString(deterministic=True))[:2].hex()


@dataclass(frozen=True, slots=True)
class _Asked:
    """What requests about people have in common, read."""

    mandate: checks.Mandate
    actor: str
    tag: str
    find: Callable[[], list[bytes]]


def _circulation(persons: Sequence[optout_pb2.CirculationPerson]) -> pl.DataFrame:
    """People as they give themselves, flat.

    Raises:
        FieldError: there is nobody, or too many, or too little is given of one.
    """
    if not 1 <= len(persons) <= MOST_CIRCULATION:
        raise FieldError(
            f"Name 1 to {MOST_CIRCULATION} persons.", "Ask for fewer at a time.", field="persons"
        )
    for place, one in enumerate(persons, 1):
        if not (one.forename and one.surname and (one.born or one.postcode)):
            raise FieldError(
                f"Too little is given of person {place} of {len(persons)}.",
                "Give forename, surname, and the day of birth or the postcode.",
                field="persons",
            )
        if one.born:
            checks.day(one.born, "persons.born")
    given = {
        "given": [one.forename for one in persons],
        "surname": [one.surname for one in persons],
        "born": [one.born or None for one in persons],
        "postcode": [one.postcode or None for one in persons],
    }
    return pl.DataFrame(
        {name: given.get(name, [None] * len(persons)) for name in FLAT}, schema=dict.fromkeys(FLAT, pl.String)
    )
