"""The one form in which errors travel: google.rpc.Status with its details.

The server writes it from an exception, the client reads it back. What is not an error of ours becomes a
fixed sentence: neither the text nor the type of an unexpected exception reaches a caller.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]

from linker.errors import LinkerError
from linker.refusals import Refused

DOMAIN = "linker.v1"
METADATA_KEY = "grpc-status-details-bin"
TEXT_BYTES = (
    500  # of a message or a help: together they travel four times, and all metadata take 8 KiB at most
)


@dataclass(frozen=True)
class Details:
    """What a status says.

    Attributes:
        code: the name of a gRPC status code.
        reason: the name of an ErrorReason without its prefix.
        message: one sentence that says what is wrong.
        help: one sentence that says what to do, or an empty string.
        call_id: the id under which the server logged the call.
        field: the field of the request that is wrong, or an empty string.
        retry_after: seconds after which to try again, or None.
        metadata: what the reason says besides.
        domain: the package that defines the reason.
    """

    code: str
    reason: str
    message: str
    help: str = ""
    call_id: str = ""
    field: str = ""
    retry_after: float | None = None
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    domain: str = DOMAIN


def details_of(error: BaseException, call_id: str) -> Details:
    """What the caller may know about an exception."""
    if isinstance(error, Refused):
        return Details(
            error.code,
            error.reason,
            cut(error.message),
            cut(error.help),
            call_id,
            error.field,
            error.retry_after,
            error.metadata,
        )
    if isinstance(error, LinkerError):
        code = "CANCELLED" if error.reason == "CANCELLED" else "INVALID_ARGUMENT"
        return Details(code, error.reason, cut(error.message), cut(error.help), call_id)
    if isinstance(error, TimeoutError):
        message = "The call took longer than its deadline or than the method may take."
        return Details(
            "DEADLINE_EXCEEDED", "DEADLINE_PASSED", message, "Ask for less, or wait longer.", call_id
        )
    help = "Try again, and give this call's id to the operator if it fails again."
    return Details("INTERNAL", "INTERNAL", "The service failed at this call.", help, call_id)


def cut(text: str) -> str:
    """At most TEXT_BYTES of a text, as what can be sent: a name in it may be long, or half a character."""
    content = text.encode(errors="replace")
    if len(content) <= TEXT_BYTES:
        return content.decode()
    return content[: TEXT_BYTES - 3].decode(errors="ignore") + "…"


def write(details: Details) -> bytes:
    """A serialised google.rpc.Status."""
    status = status_pb2.Status(code=code_pb2.Code.Value(details.code), message=details.message)
    parts = [
        error_details_pb2.ErrorInfo(reason=details.reason, domain=details.domain, metadata=details.metadata),
        error_details_pb2.RequestInfo(request_id=details.call_id),
    ]
    if details.help:
        parts.append(error_details_pb2.LocalizedMessage(locale="en-GB", message=details.help))
    if details.field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=details.field, description=details.message, reason=details.reason
        )
        parts.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if details.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(1000 * details.retry_after))
        parts.append(retry)
    for part in parts:
        status.details.add().Pack(part)
    serialised: bytes = status.SerializeToString()
    return serialised


def read(serialised: bytes) -> Details:
    """What a serialised google.rpc.Status says."""
    status = status_pb2.Status.FromString(serialised)
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.RequestInfo()
    help, retry = error_details_pb2.LocalizedMessage(), error_details_pb2.RetryInfo()
    bad, retry_after = error_details_pb2.BadRequest(), None
    for part in status.details:
        for known in (info, request, help, bad):
            part.Unpack(known)
        if part.Unpack(retry):
            retry_after = retry.retry_delay.ToMilliseconds() / 1000
    return Details(
        code_pb2.Code.Name(status.code),
        info.reason,
        status.message,
        help.message,
        request.request_id,
        bad.field_violations[0].field if bad.field_violations else "",
        retry_after,
        dict(info.metadata),
        info.domain,
    )
