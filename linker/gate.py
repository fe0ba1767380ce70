"""What every call passes on its way in and out; the one interceptor of the server.

    call ──▶ known method? ──▶ known caller? ──▶ place free? ──▶ deadline? ──▶ servicer ──▶ account ──▶ reply
                                                                                   └─▶ error ──▶ status

Each call has one line in the log. Who may call what, and where a call is accounted for, is not known here: a
`Passage` is asked.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Protocol

import grpc

from linker import callers, status
from linker.errors import LinkerError
from linker.events import event
from linker.refusals import Exhausted, Invalid, Unknown

INFRASTRUCTURE = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")
INFRASTRUCTURE_SECONDS = 3600.0  # of one of their streams
LARGE = 64 * 1024  # bytes of a message that is not parsed on the event loop


class Passage(Protocol):
    """What becomes of one call beside its work.

    Attributes:
        caller: who calls, in one spelling.
        only_own: whether the caller sees no submissions but its own.
    """

    @property
    def caller(self) -> str: ...
    @property
    def only_own(self) -> bool: ...

    def allowed(self) -> None:
        """Raises if this caller may not call the method."""

    def received(self, message: Any) -> None:
        """A message came: the request, or the first of several."""

    async def replying(self) -> None:
        """The work is done, and the reply goes out once this returns; if it raises, an error goes out."""

    async def refused(self, code: str) -> None:
        """The call ends with an error of this status, and what was done may have been done."""


class Open:
    """The passage of a gate that nobody watches."""

    caller, only_own = "", False

    def allowed(self) -> None: ...

    def received(self, message: Any) -> None: ...

    async def replying(self) -> None: ...

    async def refused(self, code: str) -> None: ...


Enter = Callable[[str, Any], Passage]
"""Lets a call in, by its method and context, or raises why not."""
Describe = Callable[[BaseException, str, str], status.Details]
"""What the caller may know about an exception, by the call's id and method."""


class Gate(grpc.aio.ServerInterceptor):
    """What every call passes: known method, free place, deadline; and the one way out for errors.

    Streams of health and reflection have places and a time of their own, and need no deadline.
    """

    def __init__(
        self,
        methods: Mapping[str, float],
        calls: int,
        enter: Enter = lambda method, context: Open(),
        describe: Describe = lambda error, call_id, method: status.details_of(error, call_id),
        here: str = "",
    ) -> None:
        """Prepare the table.

        Args:
            methods: every method that may be called, with the seconds it may take at most.
            calls: how many calls may run at once, and how many streams of health and reflection.
            enter: says who may pass; streams of health and reflection pass without.
            describe: puts errors into words.
            here: the role that the server runs alone, for whoever calls the wrong one; or nothing.
        """
        self._methods, self._calls = methods, calls
        self._enter, self._describe, self._here = enter, describe, here
        self._running = {False: 0, True: 0}  # by whether it is a stream of health or reflection
        self._rests_since = time.monotonic()

    @property
    def rested(self) -> float:
        """The seconds since the last call ended that was not of health or reflection; 0 while one runs."""
        return 0.0 if self._running[False] else time.monotonic() - self._rests_since

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = str(handler_call_details.method)
        infrastructure = method.startswith(INFRASTRUCTURE)
        if not infrastructure and method not in self._methods:
            return grpc.stream_stream_rpc_method_handler(self._refuse)
        handler: Any = await continuation(handler_call_details)
        if infrastructure and not (handler and handler.response_streaming):
            return handler  # type: ignore[no-any-return]
        seconds = INFRASTRUCTURE_SECONDS if infrastructure else self._methods[method]

        async def parse(content: bytes) -> Any:
            if len(content) < LARGE:
                return read(content)
            return await asyncio.to_thread(read, content)

        def read(content: bytes) -> Any:
            # Parsed here and not by gRPC, which would send the parser's own words to the caller.
            try:
                return handler.request_deserializer(content)
            except Exception:
                message = "The bytes are no message of this method."
                raise Invalid("MESSAGE_INVALID", message, "Use the definitions of this release.") from None

        async def all_of(sent: Any, passage: Passage) -> AsyncIterator[Any]:
            first = True
            async for content in sent:
                message = await parse(content)
                if first:
                    passage.received(message)
                    first = False
                yield message

        async def request_of(sent: Any, passage: Passage) -> Any:
            if handler.request_streaming:
                return all_of(sent, passage)
            message = await parse(sent)
            passage.received(message)
            return message

        async def once(sent: Any, context: Any) -> Any:
            behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
            async with self._call(method, seconds, context) as passage:
                response = await behaviour(await request_of(sent, passage), context)
                await passage.replying()
                return response

        async def stream(sent: Any, context: Any) -> None:
            behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
            # The responses are written here and not yielded on, so that a deadline ends both alike.
            async with self._call(method, seconds, context) as passage:
                responses = behaviour(await request_of(sent, passage), context)
                if inspect.isawaitable(responses):  # it writes by itself
                    await passage.replying()
                    await responses
                    return
                replied = False
                async with aclosing(responses):
                    async for response in responses:
                        if not replied:
                            await passage.replying()
                            replied = True
                        await context.write(response)
                if not replied:
                    await passage.replying()

        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[(handler.request_streaming, handler.response_streaming)]
        run: Any = stream if handler.response_streaming else once
        return make(run, None, handler.response_serializer)

    async def _refuse(self, _requests: Any, context: Any) -> None:
        async with self._call("unknown", 1.0, context):
            if not self._here:
                raise Unknown("METHOD_UNKNOWN", "The service does not know the method.", "Check its name.")
            raise Unknown(
                "METHOD_UNKNOWN",
                f"What answers here is the {self._here} role, which does not know the method.",
                "Each role has an address of its own: correct --service.",
                metadata={"role": self._here},
            )

    @asynccontextmanager
    async def _call(self, method: str, seconds: float, context: Any) -> AsyncIterator[Passage]:
        call_id, began = uuid.uuid4().hex, time.monotonic()
        details = None
        infrastructure = method.startswith(INFRASTRUCTURE)
        passage: Passage = Open()
        self._running[infrastructure] += 1
        try:
            if not infrastructure and method != "unknown":
                passage = self._enter(method, context)
                passage.allowed()
                callers.enter(callers.Caller(passage.caller, passage.only_own))
            if self._running[infrastructure] > self._calls:
                raise Exhausted("BUSY", "Too many calls run at once.", "Try again.", retry_after=1.0)
            remaining = context.time_remaining()
            if remaining is None and method != "unknown" and not infrastructure:
                raise Invalid("DEADLINE_REQUIRED", "The call has no deadline.", "Set one on every call.")
            async with asyncio.timeout(min(seconds, remaining or seconds)):
                yield passage
        except asyncio.CancelledError:
            await self._end(passage, call_id, "CANCELLED")
            _log_call(call_id, method, "CANCELLED", "", began)
            raise
        except (KeyboardInterrupt, SystemExit):
            _log_call(call_id, method, "CANCELLED", "", began)
            raise
        except BaseException as error:  # a panic of native code is no Exception
            details = self._describe(error, call_id, method)
            if details.code == "INTERNAL":
                event("call_error", logging.ERROR, call=call_id, exception=type(error).__name__)
        finally:
            self._running[infrastructure] -= 1
            if not infrastructure:
                self._rests_since = time.monotonic()
        if details is None:
            _log_call(call_id, method, "OK", "", began)
            return
        await self._end(passage, call_id, details.code)
        _log_call(call_id, method, details.code, details.reason, began)
        metadata = ((status.METADATA_KEY, status.write(details)),)
        await context.abort(grpc.StatusCode[details.code], details.message, metadata)

    async def _end(self, passage: Passage, call_id: str, code: str) -> None:
        try:
            await passage.refused(code)
        except Exception as error:  # the caller is refused either way
            event("call_error", logging.ERROR, call=call_id, exception=type(error).__name__)


def listen(server: grpc.aio.Server, address: str, secured: grpc.ServerCredentials | None) -> int:
    """Take an address and return its port.

    Raises:
        LinkerError: the address cannot be had.
    """
    try:
        return server.add_secure_port(address, secured) if secured else server.add_insecure_port(address)
    except RuntimeError:
        raise LinkerError("The address cannot be listened on.", "Choose a free one with --listen.") from None


def _log_call(call_id: str, method: str, code: str, reason: str, began: float) -> None:
    seconds = round(time.monotonic() - began, 4)
    event("call", call=call_id, method=method, code=code, reason=reason, seconds=seconds)
