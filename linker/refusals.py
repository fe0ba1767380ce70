"""Why the service refuses a request: errors that say which gRPC status they become, without gRPC.

Each reason is a value of ErrorReason in `proto/linker/v1/common.proto`, where it has its example.
"""

from __future__ import annotations

from linker.errors import LinkerError


class Refused(LinkerError):
    """The service does not do what a request asks.

    Attributes:
        code: the name of the gRPC status code.
        field: the field of the request that is wrong, or an empty string.
        retry_after: seconds after which the same request may succeed, or None.
        metadata: facts for programs, such as the last durable chunk.
    """

    code = "FAILED_PRECONDITION"

    def __init__(
        self,
        reason: str,
        message: str,
        help: str = "",
        *,
        field: str = "",
        retry_after: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message, help)
        self.reason = reason
        self.field = field
        self.retry_after = retry_after
        self.metadata = metadata or {}


class Invalid(Refused):
    """The request itself is wrong, whatever the state of the service."""

    code = "INVALID_ARGUMENT"


class NotFound(Refused):
    """What the request names is not there."""

    code = "NOT_FOUND"


class Conflict(Refused):
    """The request contradicts an earlier one."""

    code = "ALREADY_EXISTS"


class NotReady(Refused):
    """The state of the service does not allow the request yet, or no longer."""

    code = "FAILED_PRECONDITION"


class Exhausted(Refused):
    """The request would go over a limit of the service as it is now."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(Refused):
    """The service cannot take the request now."""

    code = "UNAVAILABLE"


class Unknown(Refused):
    """The service does not know the method."""

    code = "UNIMPLEMENTED"
