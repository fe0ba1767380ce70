"""The servicer of `KeyService`: it translates and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from pseudonym import access
from pseudonym.errors import AuditError
from pseudonym.keys import Key, State
from pseudonym.roles import callers, checks
from pseudonym.roles.callers import Role
from pseudonym.roles.destroying import Destroy
from pseudonym.roles.ending import End, noted
from pseudonym.roles.opening import House
from pseudonym.roles.passage import account
from pseudonym.roles.refusals import FieldError
from pseudonym.roles.renewing import Renewing
from pseudonym.v1 import key_pb2, key_pb2_grpc

_STATES = {
    State.ACTIVE: key_pb2.KEY_STATE_ACTIVE,
    State.DECRYPT_ONLY: key_pb2.KEY_STATE_DECRYPT_ONLY,
    State.DESTROYED: key_pb2.KEY_STATE_DESTROYED,
}


class KeyServicer(key_pb2_grpc.KeyServiceServicer):
    """The keysets of the roles that this server runs."""

    def __init__(
        self,
        houses: Mapping[Role, House],
        destroy: Mapping[Role, Destroy],
        end: Mapping[Role, End],
        renew: Mapping[Role, Renewing],
    ) -> None:
        self._houses, self._destroy, self._end, self._renew = houses, destroy, end, renew

    async def ListKeys(self, request: key_pb2.ListKeysRequest, context: object) -> key_pb2.ListKeysResponse:
        house = checks.house(self._houses, request.role)
        first, size = checks.page(request)
        # It may have to be read again, which takes a passphrase's time, or a key server's.
        keys = await asyncio.to_thread(lambda: house.keyset.keys)
        shown = keys[first : first + size]
        account().count = len(shown)
        return key_pb2.ListKeysResponse(
            keys=[key_message(key) for key in shown],
            next_page_token=checks.next_token(first, size, len(keys)),
        )

    async def AddKey(self, request: key_pb2.AddKeyRequest, context: object) -> key_pb2.AddKeyResponse:
        checks.mandate(request.mandate)
        house = checks.house(self._houses, request.role)
        _note(use=request.use)
        made: key_pb2.AddKeyResponse = await asyncio.to_thread(
            checks.once,
            house.repeats,
            "AddKey",
            request,
            key_pb2.AddKeyResponse,
            lambda: key_pb2.AddKeyResponse(key=key_message(house.keyset.add(request.use))),
        )
        return made

    async def RotateKey(
        self, request: key_pb2.RotateKeyRequest, context: object
    ) -> key_pb2.RotateKeyResponse:
        checks.mandate(request.mandate)
        house = checks.house(self._houses, request.role)
        _note(use=request.use)
        made: key_pb2.RotateKeyResponse = await asyncio.to_thread(
            checks.once,
            house.repeats,
            "RotateKey",
            request,
            key_pb2.RotateKeyResponse,
            lambda: key_pb2.RotateKeyResponse(key=key_message(house.keyset.rotate(request.use))),
        )
        with suppress(AuditError):  # it is tried again each second, and where it lasts the log takes no more
            await asyncio.to_thread(house.follow)
        return made

    async def DestroyKey(
        self, request: key_pb2.DestroyKeyRequest, context: object
    ) -> key_pb2.DestroyKeyResponse:
        mandate = checks.mandate(request.mandate)
        house = checks.house(self._houses, request.role)
        asked = access.Mandate(str(callers.current()), mandate.purpose)
        _note(kid=request.kid)

        def destroy() -> key_pb2.DestroyKeyResponse:
            self._destroy[house.role](request.kid, asked)
            gone = next(key for key in house.keyset.keys if key.kid == request.kid)
            return key_pb2.DestroyKeyResponse(key=key_message(gone))

        destroyed: key_pb2.DestroyKeyResponse = await asyncio.to_thread(
            checks.once, house.repeats, "DestroyKey", request, key_pb2.DestroyKeyResponse, destroy
        )
        return destroyed

    async def RenewKek(self, request: key_pb2.RenewKekRequest, context: object) -> key_pb2.RenewKekResponse:
        mandate = checks.mandate(request.mandate)
        renewing = self._renewing(request.role)
        who = str(callers.current())
        begun = await asyncio.to_thread(renewing.begin, mandate, who, request.month)
        _note(use=begun.use)
        return key_pb2.RenewKekResponse(renewal=await asyncio.to_thread(_renewal, renewing))

    async def GetRenewal(
        self, request: key_pb2.GetRenewalRequest, context: object
    ) -> key_pb2.GetRenewalResponse:
        renewing = self._renewing(request.role)
        return key_pb2.GetRenewalResponse(renewal=await asyncio.to_thread(_renewal, renewing))

    def _renewing(self, role: int) -> Renewing:
        found = self._renew.get(checks.house(self._houses, role).role)
        if found is None:
            raise FieldError(
                "This role has no key-encrypting key.",
                "The identity and the attributes role have.",
                field="role",
            )
        return found

    async def DestroyProject(
        self, request: key_pb2.DestroyProjectRequest, context: object
    ) -> key_pb2.DestroyProjectResponse:
        mandate = checks.mandate(request.mandate)
        house = checks.house(self._houses, request.role)
        if request.confirm != mandate.project:
            raise FieldError(
                "The project's name is not confirmed.", "Give it in confirm once more.", field="confirm"
            )
        asked = access.Mandate(str(callers.current()), mandate.purpose)

        def end() -> key_pb2.DestroyProjectResponse:
            certificate = self._end[house.role](mandate.project, asked)
            checkpoint = noted(house, mandate.project, asked, certificate)
            return key_pb2.DestroyProjectResponse(certificate=certificate, checkpoint=checkpoint)

        ended: key_pb2.DestroyProjectResponse = await asyncio.to_thread(
            checks.once, house.repeats, "DestroyProject", request, key_pb2.DestroyProjectResponse, end
        )
        return ended


def key_message(key: Key) -> key_pb2.Key:
    """What a keyset says of a key, without the wrapped key."""
    return key_pb2.Key(
        kid=key.kid,
        use=key.use,
        algorithm=key.algorithm,
        state=_STATES[key.state],
        not_before=checks.timestamp(datetime.fromisoformat(key.not_before)),
        not_after=checks.timestamp(datetime.fromisoformat(key.not_after)) if key.not_after else None,
    )


def _renewal(renewing: Renewing) -> key_pb2.Renewal:
    """The last renewal, and how far it has come."""
    found, left = renewing.last()
    done = checks.timestamp(datetime.fromisoformat(found.done)) if found.done else None
    return key_pb2.Renewal(
        renewal_id=found.renewal_id,
        kid=found.kid,
        use=found.use,
        create_time=checks.timestamp(datetime.fromisoformat(found.asked)),
        former=[key_pb2.FormerKek(kid=kid, left=count) for kid, count in left.items()],
        total=found.total,
        done_time=done,
        certificate=found.certificate.encode(),
    )


def _note(**details: str) -> None:
    account().count, account().details = 1, {name: text[:200] for name, text in details.items()}
