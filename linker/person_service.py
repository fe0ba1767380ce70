"""The methods of `LinkageService` on the persons in the vault: they translate and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

from linker import messages
from linker.errors import ProfileError
from linker.messages import bits, code, mandate_value, wrong
from linker.profile_links import check_register
from linker.refusals import Invalid
from linker.resources import Job, JobKind, Work
from linker.v1 import linkage_pb2


class PersonMethods:
    """The part of the servicer that joins submissions with persons, and links registers with them."""

    _caller: Callable[[], str]
    _start: Callable[[str, Any, Work], Awaitable[Job]]

    async def StartJoin(
        self, request: linkage_pb2.StartJoinRequest, context: object
    ) -> linkage_pb2.StartJoinResponse:
        work = Work(
            JobKind.JOIN,
            (request.submission_id,),
            model=code(request.model, "model") if request.model else "",
            threshold=bits(request, "threshold", "threshold"),
            seed=request.seed,
            family_column=request.family_column,
            protected_column=request.protected_column,
            purpose=mandate_value(request.mandate).purpose,
            actor=self._caller(),
        )
        job = await self._start("StartJoin", request, work)
        return linkage_pb2.StartJoinResponse(job=messages.job_message(job))

    async def StartRegister(
        self, request: linkage_pb2.StartRegisterRequest, context: object
    ) -> linkage_pb2.StartRegisterResponse:
        register = request.register
        try:
            check_register(register)
        except ProfileError as error:
            raise Invalid("FIELD_INVALID", error.message, error.help, field="register") from None
        day = _day(request.day, "day")
        if day > date.today():
            raise wrong(
                "day", "The day on which people have their age is in the future: name one that has come."
            )
        since = _day(request.since, "since") if request.since else None
        if since is not None and since > day:
            raise wrong("since", "since is no later than day.")
        reason = request.nhs_number_reason
        work = Work(
            JobKind.REGISTER,
            (request.submission_id,),
            seed=request.seed,
            purpose=mandate_value(request.mandate).purpose,
            actor=self._caller(),
            register=register,
            day=day.isoformat(),
            since=since.isoformat() if since else "",
            nhs_number_reason=code(reason, "nhs_number_reason") if reason else "",
        )
        job = await self._start("StartRegister", request, work)
        return linkage_pb2.StartRegisterResponse(job=messages.job_message(job))


def _day(text: str, field: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise wrong(field, f"{field} is a day as YYYY-MM-DD.") from None
