"""Why a role refuses a call: errors that say which gRPC status they become.

Each reason is a value of ErrorReason in `proto/pseudonym/v1/common.proto`, where it has its example.
"""

from __future__ import annotations

from pseudonym.errors import PseudonymError


class Refused(PseudonymError):
    """The role does not do what a request asks.

    Attributes:
        code: the name of the gRPC status code.
        field: the field of the request that is wrong, or an empty string.
        retry_after: seconds after which the same request may succeed, or None.
    """

    code = "FAILED_PRECONDITION"
    field = ""
    retry_after: float | None = None

    def __init__(self, message: str, help: str = "", *, field: str = "") -> None:
        super().__init__(message, help)
        self.field = field


class CallerUnknownError(Refused):
    """The caller shows no certificate that says who it is, in exactly one way."""

    reason = "CALLER_UNKNOWN"
    code = "UNAUTHENTICATED"


class CallerRefusedError(Refused):
    """The caller's role may not call the method."""

    reason = "CALLER_REFUSED"
    code = "PERMISSION_DENIED"


class FieldError(Refused):
    """A field of the request is missing or malformed; `field` names it."""

    reason = "FIELD_INVALID"
    code = "INVALID_ARGUMENT"


class ArrowError(Refused):
    """The bytes are no Arrow IPC stream of the columns that the method takes."""

    reason = "ARROW_INVALID"
    code = "INVALID_ARGUMENT"


class StreamError(Refused):
    """The messages of an upload come in the wrong order."""

    reason = "STREAM_INVALID"
    code = "INVALID_ARGUMENT"


class DigestError(Refused):
    """The content of a chunk does not have the digest that was sent with it."""

    reason = "CHUNK_DIGEST_WRONG"
    code = "INVALID_ARGUMENT"


class RequestIdError(Refused):
    """The request id was used for another request."""

    reason = "REQUEST_ID_REUSED"
    code = "ALREADY_EXISTS"


class ElsewhereError(Refused):
    """The server does not run the role that the request names."""

    reason = "ROLE_ELSEWHERE"


class BusyError(Refused):
    """Too many calls of a kind run at once."""

    reason = "BUSY"
    code = "RESOURCE_EXHAUSTED"
    retry_after = 2.0


class PeerUnavailableError(Refused):
    """The other role that the call needs cannot be reached."""

    reason = "PEER_UNAVAILABLE"
    code = "UNAVAILABLE"
    retry_after = 5.0


class PeerRefusedError(Refused):
    """The other role refused what it was asked for on behalf of this call."""

    reason = "PEER_REFUSED"


class ProjectUnknownError(Refused):
    """The broker does not know the project yet that something is to be done in."""

    reason = "PROJECT_UNKNOWN"
    code = "NOT_FOUND"
