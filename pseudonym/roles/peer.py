"""A role's way to another role: gRPC with its own certificate, a deadline on every call, and some patience.

    with Peer(Role.BROKER, "broker.internal:7071", tls) as broker:
        response = broker.call("/pseudonym.v1.BrokerService/IssueUrns", request, broker_pb2.IssueUrnsResponse)

What the other role refuses is raised here with its reason and words, which never hold a value of a person. A
role that cannot be reached is tried again until patience is at its end: every method is safe to be tried
again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

import grpc
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from pseudonym.roles.callers import SERVER_ROLES, Role
from pseudonym.roles.refusals import PeerRefusedError, PeerUnavailableError

DOMAIN = "pseudonym.v1"
STATUS_KEY = "grpc-status-details-bin"
# What the other role says of this role as a caller is no fault of the one who called this role.
_OURS = frozenset({"", "CALLER_UNKNOWN", "CALLER_REFUSED", "METHOD_UNKNOWN", "INTERNAL"})
_NOTHING = frozenset({"", "INTERNAL"})
_PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
_OPTIONS = [
    ("grpc.max_receive_message_length", 32 * 1024**2),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_http_proxy", 0),
]


class Message(Protocol):
    """A request."""

    def SerializeToString(self) -> bytes: ...


class Response(Protocol):
    """A kind of response."""

    @classmethod
    def FromString(cls, data: bytes, /) -> Self: ...


R = TypeVar("R", bound=Response)


def _serialised(message: Message) -> bytes:
    return message.SerializeToString()


@dataclass(frozen=True, slots=True)
class PeerTls:
    """What a role shows to another, and whom it trusts; all PEM.

    Attributes:
        authority: the certificate authority of the other roles' servers.
        certificate: the role's own certificate chain.
        key: its key.
    """

    authority: bytes
    certificate: bytes
    key: bytes = field(repr=False)


class Peer:
    """A connection to another role's server; its methods may be called from any thread."""

    def __init__(
        self,
        role: Role,
        address: str,
        tls: PeerTls,
        *,
        timeout: float = 60.0,
        patience: float = 20.0,
        person: bool = False,
    ) -> None:
        """Prepare a connection; nothing is sent yet.

        Args:
            role: the role that is served there.
            address: `host:port`; the host stands in the other server's certificate.
            tls: certificates.
            timeout: seconds that one attempt may take: a page of a large register takes some on a busy disk.
            patience: seconds for which a role that cannot be reached is tried again.
            person: whether a person calls, and not another role: who hears what is said of the caller.
        """
        self._address = address if person else ""
        self._person = person
        self.role, self._timeout, self._patience = role, timeout, patience
        secured = grpc.ssl_channel_credentials(tls.authority, tls.key, tls.certificate)
        self._channel = grpc.secure_channel(address, secured, options=_OPTIONS)

    def __repr__(self) -> str:
        return f"Peer(role={self.role.value!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; calls that still run fail."""
        self._channel.close()

    def call(self, method: str, request: Message, response: type[R], patience: float | None = None) -> R:
        """Call a method that answers a request with one response.

        Args:
            method: its full name, with a slash before.
            request: the request; its `request_id` makes it safe to be sent again.
            response: the kind of the response.
            patience: seconds for which a role that cannot be reached is tried again, if not as always.

        Raises:
            PeerUnavailableError: the role cannot be reached, or did not answer in time.
            PeerRefusedError: the role refuses; `reason` is its reason, unless it refuses this role as such.
        """
        send = self._channel.unary_unary(method, type(request).SerializeToString, response.FromString)
        return self._patiently(lambda: send(request, timeout=self._timeout), patience)

    def send(
        self, method: str, messages: Callable[[], Iterator[Message]], response: type[R], seconds: float
    ) -> R:
        """Call a method that answers a stream of requests with one response.

        Args:
            method: its full name, with a slash before.
            messages: gives the stream from where the other role's durable part ends; called for each attempt.
            response: the kind of the response.
            seconds: that one attempt may take.

        Raises:
            PeerUnavailableError, PeerRefusedError: see `call`.
        """
        stream = self._channel.stream_unary(method, _serialised, response.FromString)
        return self._patiently(lambda: stream(messages(), timeout=seconds))

    def _patiently(self, attempt: Callable[[], R], patience: float | None = None) -> R:
        until, pause = time.monotonic() + (self._patience if patience is None else patience), 0.1
        while True:
            try:
                return attempt()
            except grpc.RpcError as error:
                wait = pause * random.uniform(0.5, 1.0)
                if error.code() not in _PASSING or time.monotonic() + wait > until:
                    raise self._in_words(error) from None
            except ValueError:  # the channel was closed, by a stop
                raise self._unreachable() from None
            time.sleep(wait)
            pause = min(2 * pause, 2.0)

    def read(self, method: str, request: Message, response: type[R]) -> Iterator[R]:
        """Call a method that answers a request with a stream of responses; nothing is tried again.

        Raises:
            PeerUnavailableError, PeerRefusedError: as `call`.
        """
        send = self._channel.unary_stream(method, type(request).SerializeToString, response.FromString)
        try:
            yield from send(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise self._in_words(error) from None

    def _in_words(self, error: Any) -> PeerUnavailableError | PeerRefusedError:
        code = error.code()
        if code in _PASSING or code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
            return self._unreachable()
        reason, message, help = _said(dict(error.trailing_metadata() or ()).get(STATUS_KEY))
        if self._person and code is grpc.StatusCode.UNIMPLEMENTED:
            here = _role_of(dict(error.trailing_metadata() or ()).get(STATUS_KEY))
            answers = f"is the {here} role, not" if here else "is not"
            return PeerRefusedError(
                f"What answers at {self._address} {answers} the {self.role} role.",
                "Each role has an address of its own: correct --service.",
            )
        if reason in (_NOTHING if self._person else _OURS):
            return PeerRefusedError(
                f"The {self.role} role did not do what this role asked of it ({reason or code.name}).",
                "Give this call's id to the operator, who finds the reason in both roles' logs.",
            )
        refused = PeerRefusedError(message, help)
        refused.reason, refused.code = reason, code.name
        return refused

    def _unreachable(self) -> PeerUnavailableError:
        if self._person:
            return PeerUnavailableError(
                f"The {self.role} role cannot be reached at {self._address}.",
                "Check the address, whether the role runs there, and whose certificate you show.",
            )
        return PeerUnavailableError(
            f"The {self.role} role cannot be reached.", "Try again; if it lasts, tell the operator."
        )


def _role_of(sent: bytes | None) -> str:
    """Which role says that it does not know a method; empty if that is not said."""
    info = error_details_pb2.ErrorInfo()
    with suppress(Exception):
        for part in status_pb2.Status.FromString(sent or b"").details:
            part.Unpack(info)
    found = info.metadata.get("role", "")
    return found if found in SERVER_ROLES else ""


def _said(sent: bytes | None) -> tuple[str, str, str]:
    """Reason, message and help of a status from another role; empty if it has none of ours."""
    if sent is None:
        return "", "", ""
    try:
        status = status_pb2.Status.FromString(sent)
    except Exception:
        return "", "", ""
    info, help = error_details_pb2.ErrorInfo(), error_details_pb2.LocalizedMessage()
    for part in status.details:
        part.Unpack(info)
        part.Unpack(help)
    return (info.reason, status.message, help.message) if info.domain == DOMAIN else ("", "", "")
