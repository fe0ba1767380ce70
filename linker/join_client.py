"""The client's calls that join a submission with the persons in the vault, and link a register with them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from linker import messages
from linker.resources import Job
from linker.v1 import common_pb2, linkage_pb2


class JoinCalls:
    """The part of `linker.client.Client` that joins."""

    _linkage: Any
    _mandate: Callable[..., common_pb2.Mandate]
    _call: Callable[[Any, Any], Any]

    def start_join(
        self,
        submission: str,
        *,
        family_column: str = "",
        protected_column: str = "",
        model: str = "",
        threshold: float | None = None,
        seed: int = 0,
        request_id: str = "",
    ) -> Job:
        """Start to join a submission of identities with the persons in the vault; see docs/persons.md.

        Args:
            submission: its id; the ids of its records are random row references, 32 hexadecimal digits.
            family_column: the column with the sender's reference of the family, if there is one.
            protected_column: the column that says "yes" of records that must never be linked, or nothing.
            model, threshold, seed, request_id: as in `linker.client.Client.start_linkage`.

        Raises:
            ServiceError: the service refused the request, or could not be reached in time.
        """
        request = linkage_pb2.StartJoinRequest(
            mandate=self._mandate(request_id),
            submission_id=submission,
            family_column=family_column,
            protected_column=protected_column,
            model=model,
            threshold=threshold,
            seed=seed,
        )
        return messages.job_value(self._call(self._linkage.StartJoin, request).job)

    def start_register(
        self,
        submission: str,
        register: str,
        *,
        day: date,
        since: date | None = None,
        nhs_number_reason: str = "",
        seed: int = 0,
        request_id: str = "",
    ) -> Job:
        """Start to link an extract of a register with the persons in the vault; see docs/registers.md.

        Args:
            submission: its id; the ids of its records are random row references, 32 hexadecimal digits.
            register: the code of the register's profile, such as "npd".
            day: the day on which people have their age.
            since: the day from which on the extract has people, where it reaches back.
            nhs_number_reason: why the NHS number may be used, as a code; without one it is not.
            seed, request_id: as in `linker.client.Client.start_linkage`.

        Raises:
            ServiceError: the service refused the request, or could not be reached in time.
        """
        request = linkage_pb2.StartRegisterRequest(
            mandate=self._mandate(request_id),
            submission_id=submission,
            register=register,
            day=day.isoformat(),
            since=since.isoformat() if since else "",
            nhs_number_reason=nhs_number_reason,
            seed=seed,
        )
        return messages.job_value(self._call(self._linkage.StartRegister, request).job)
