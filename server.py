"""The service on its way from start to stop; the only place where settings, TLS, gRPC and domain code meet.

    python server.py --data var --listen 127.0.0.1:7070

    call ──▶ Gate: known method? place free? deadline? ──▶ servicer ──▶ error → status ──▶ one log line
    SIGTERM ──▶ not serving ──▶ drain: jobs go back to the queue, calls end ──▶ stop, exit 0

The log is one JSON object a line on standard error and holds no text from callers, records or libraries.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import inspect
import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from linker import durable, service, status
from linker.errors import LinkerError
from linker.events import event, open_log
from linker.intake import Intake
from linker.jobs import Runner
from linker.match_service import MatchServicer
from linker.references import References
from linker.refusals import Exhausted, Invalid, Unknown
from linker.resources import Limits
from linker.sending import is_loopback
from linker.store import Store
from linker.v1 import (
    intake_pb2_grpc,
    job_pb2_grpc,
    linkage_pb2_grpc,
    match_pb2_grpc,
    model_pb2_grpc,
)

INFRASTRUCTURE = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")
INFRASTRUCTURE_SECONDS = 3600.0  # of one of their streams
THREADS = 16
LARGE = 64 * 1024  # bytes of a message that is not parsed on the event loop


@dataclass(frozen=True)
class Settings:
    """How one server runs.

    Attributes:
        data: the folder of the database and the files; one server at a time owns it.
        host: the address to listen on.
        port: the port to listen on; 0 for any that is free.
        port_file: where the port is written once the server listens, or None.
        environment: "development" or "production".
        certificate: the server's certificate chain, PEM, or None for plain text.
        key: the key of that certificate, PEM, or None.
        authority: the certificate authority of the clients, PEM; None lets in whoever is on this machine.
        workers: jobs that run at once.
        grace: seconds that calls and jobs have to end at a stop.
        limits: how much is taken at once.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 7070
    port_file: Path | None = None
    environment: str = "development"
    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None
    workers: int = 1
    grace: float = 20.0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("Give --tls-certificate and --tls-key together.")
        if self.certificate is None and self.authority is not None:
            raise ValueError("--tls-authority needs --tls-certificate and --tls-key.")
        if self.environment == "development" and is_loopback(self.host):
            return
        if self.certificate is None:
            raise ValueError(
                "Plain text is for development on this machine's loopback address alone. "
                "Give --tls-certificate, --tls-key and --tls-authority."
            )
        if self.authority is None:
            raise ValueError(
                "In production, and off this machine's loopback address, clients must show a certificate. "
                "Give --tls-authority."
            )


class Threads(ThreadPoolExecutor):
    """Threads that a stop does not wait for: what one of them still does is undone or done by a crash too."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)


class Gate(grpc.aio.ServerInterceptor):
    """What every call passes: known method, free place, deadline; and the one way out for errors.

    Streams of health and reflection have places and a time of their own, and need no deadline.
    """

    def __init__(self, methods: Mapping[str, float], calls: int) -> None:
        """Prepare the table.

        Args:
            methods: every method that may be called, with the seconds it may take at most.
            calls: how many calls may run at once, and how many streams of health and reflection.
        """
        self._methods, self._calls = methods, calls
        self._running = {False: 0, True: 0}  # by whether it is a stream of health or reflection

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

        async def all_of(sent: Any) -> AsyncIterator[Any]:
            async for content in sent:
                yield await parse(content)

        async def request_of(sent: Any) -> Any:
            return all_of(sent) if handler.request_streaming else await parse(sent)

        async def once(sent: Any, context: Any) -> Any:
            behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
            async with self._call(method, seconds, context):
                return await behaviour(await request_of(sent), context)

        async def stream(sent: Any, context: Any) -> None:
            behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
            # The responses are written here and not yielded on, so that a deadline ends both alike.
            async with self._call(method, seconds, context):
                responses = behaviour(await request_of(sent), context)
                if inspect.isawaitable(responses):  # it writes by itself
                    await responses
                    return
                async with aclosing(responses):
                    async for response in responses:
                        await context.write(response)

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
            raise Unknown("METHOD_UNKNOWN", "The service does not know the method.", "Check its name.")

    @asynccontextmanager
    async def _call(self, method: str, seconds: float, context: Any) -> AsyncIterator[None]:
        call_id, began = uuid.uuid4().hex, time.monotonic()
        details = None
        infrastructure = method.startswith(INFRASTRUCTURE)
        self._running[infrastructure] += 1
        try:
            if self._running[infrastructure] > self._calls:
                raise Exhausted("BUSY", "Too many calls run at once.", "Try again.", retry_after=1.0)
            remaining = context.time_remaining()
            if remaining is None and method != "unknown" and not infrastructure:
                raise Invalid("DEADLINE_REQUIRED", "The call has no deadline.", "Set one on every call.")
            async with asyncio.timeout(min(seconds, remaining or seconds)):
                yield
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            _log_call(call_id, method, "CANCELLED", "", began)
            raise
        except BaseException as error:  # a panic of native code is no Exception
            details = status.details_of(error, call_id)
            if details.code == "INTERNAL":
                event("call_error", logging.ERROR, call=call_id, exception=type(error).__name__)
        finally:
            self._running[infrastructure] -= 1
        if details is None:
            _log_call(call_id, method, "OK", "", began)
            return
        _log_call(call_id, method, details.code, details.reason, began)
        metadata = ((status.METADATA_KEY, status.write(details)),)
        await context.abort(grpc.StatusCode[details.code], details.message, metadata)


def _log_call(call_id: str, method: str, code: str, reason: str, began: float) -> None:
    seconds = round(time.monotonic() - began, 4)
    event("call", call=call_id, method=method, code=code, reason=reason, seconds=seconds)


def credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """What the server shows and asks of its clients, or None for plain text.

    Raises:
        LinkerError: a file cannot be read, or is not what it should be; gRPC would listen all the same.
    """
    if settings.certificate is None or settings.key is None:
        return None
    chain, certificates = _pem("--tls-certificate", settings.certificate, x509.load_pem_x509_certificates)
    key, private = _pem("--tls-key", settings.key, lambda content: load_pem_private_key(content, None))
    if certificates[0].public_key() != private.public_key():
        raise LinkerError(
            "The key of --tls-key is not that of the certificate.",
            "Give the server's own certificate first in the chain, and its key.",
        )
    authority = None
    if settings.authority is not None:
        authority, _ = _pem("--tls-authority", settings.authority, x509.load_pem_x509_certificates)
    return grpc.ssl_server_credentials([(key, chain)], authority, require_client_auth=authority is not None)


def _pem(flag: str, path: Path, load: Callable[[bytes], Any]) -> tuple[bytes, Any]:
    """A file's content, as it is and as it was understood."""
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"The file of {flag} cannot be read: {error.strerror}."
        raise LinkerError(message, "Check its path and who may read it.") from None
    try:
        return content, load(content)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it needs a passphrase
        what = "private key without a passphrase" if flag == "--tls-key" else "certificate"
        raise LinkerError(
            f"The file of {flag} holds no {what} in PEM.", "Convert it, or name another."
        ) from None


def build(
    settings: Settings, store: Store
) -> tuple[grpc.aio.Server, Runner, service.JobServicer, References]:
    """The server with its services; it does not listen yet."""
    intake = Intake(store, settings.data / "submissions", settings.limits)
    runner = Runner(store, intake, settings.data / "jobs", settings.limits, settings.workers)
    references = References(store, intake, settings.data / "references", settings.limits)
    server = grpc.aio.server(
        interceptors=[Gate(service.METHODS, settings.limits.calls)],
        maximum_concurrent_rpcs=4 * settings.limits.calls,
        options=[
            ("grpc.max_receive_message_length", settings.limits.message_bytes),
            ("grpc.max_metadata_size", 16 * 1024),
            ("grpc.so_reuseport", 0),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
        ],
    )
    jobs = service.JobServicer(store, runner)
    intake_pb2_grpc.add_IntakeServiceServicer_to_server(service.IntakeServicer(store, intake), server)
    linkage_pb2_grpc.add_LinkageServiceServicer_to_server(service.LinkageServicer(store, runner), server)
    job_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
    model_pb2_grpc.add_ModelServiceServicer_to_server(service.ModelServicer(store), server)
    match_pb2_grpc.add_MatchServiceServicer_to_server(MatchServicer(references), server)
    return server, runner, jobs, references


def listen(server: grpc.aio.Server, address: str, secured: grpc.ServerCredentials | None) -> int:
    """Take an address and return its port.

    Raises:
        LinkerError: the address cannot be had.
    """
    try:
        return server.add_secure_port(address, secured) if secured else server.add_insecure_port(address)
    except RuntimeError:
        raise LinkerError("The address cannot be listened on.", "Choose a free one with --listen.") from None


async def serve(settings: Settings, store: Store) -> None:
    """Serve until SIGTERM or SIGINT, then drain and stop."""
    secured = credentials(settings)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    loop.set_default_executor(Threads(THREADS))
    server, runner, jobs, references = build(settings, store)
    names = [descriptor.full_name for descriptor in service.SERVICES]
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    if settings.environment == "development":
        reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    port = listen(server, f"{settings.host}:{settings.port}", secured)
    await server.start()
    runner.start()
    references.start()
    for name in ("", *names):
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    if settings.port_file is not None:
        durable.write(settings.port_file, lambda file: file.write(f"{port}\n".encode()))
    event("listening", host=settings.host, port=port, tls=secured is not None)

    await stop.wait()
    event("draining")
    await healthy.enter_graceful_shutdown()
    jobs.drain()
    # A thread of its own: those of the calls may all be taken.
    ending = loop.run_in_executor(Threads(1), runner.stop, settings.grace)
    _, ended = await asyncio.gather(server.stop(settings.grace), ending)
    event("stopped", jobs_put_back=ended)


def settings_from(arguments: Sequence[str]) -> Settings:
    """Read the command line.

    Raises:
        ValueError: the settings do not go together.
    """
    parser = argparse.ArgumentParser(description="The Kinlink service.", allow_abbrev=False)
    parser.add_argument("--data", type=Path, default=Path("var"), help="folder of all data (var)")
    parser.add_argument(
        "--listen", default="127.0.0.1:7070", help="HOST:PORT, port 0 for any (127.0.0.1:7070)"
    )
    parser.add_argument("--port-file", type=Path, help="file that gets the port once the server listens")
    parser.add_argument("--environment", choices=("development", "production"), default="development")
    parser.add_argument("--tls-certificate", type=Path, help="certificate chain of the server, PEM")
    parser.add_argument("--tls-key", type=Path, help="key of that certificate, PEM")
    parser.add_argument(
        "--tls-authority", type=Path, help="authority that clients' certificates must have, PEM"
    )
    parser.add_argument("--workers", type=int, default=1, help="jobs that run at once (1)")
    parser.add_argument("--grace", type=float, default=20.0, help="seconds to end calls and jobs (20)")
    given = parser.parse_args(arguments)
    host, colon, port = given.listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise ValueError("--listen is HOST:PORT.")
    if given.workers < 1 or given.grace < 0:
        raise ValueError("--workers is at least 1, and --grace is not negative.")
    return Settings(
        data=given.data,
        host=host,
        port=int(port),
        port_file=given.port_file,
        environment=given.environment,
        certificate=given.tls_certificate,
        key=given.tls_key,
        authority=given.tls_authority,
        workers=given.workers,
        grace=given.grace,
    )


def run(settings: Settings) -> int:
    """Own the data folder, serve until a signal, and return the exit code: 0 stopped, 1 failed."""
    os.umask(0o077)
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        lock = (settings.data / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        reason = "Another server owns it." if isinstance(error, BlockingIOError) else error.strerror
        print(f"The data folder cannot be used: {reason}", file=sys.stderr)
        return 1
    open_log()
    try:
        store = Store(settings.data / "kinlink.sqlite")
        asyncio.run(serve(settings, store))
        store.close()
    except LinkerError as error:
        event("failed", logging.CRITICAL, message=str(error))
        return 1
    except Exception as error:
        event("failed", logging.CRITICAL, exception=type(error).__name__)
        return 1
    return 0


def main(arguments: Sequence[str]) -> int:
    """Read the command line and run; the exit code is 2 for wrong usage."""
    try:
        settings = settings_from(arguments)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return run(settings)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    logging.shutdown()
    # A thread that is still in native code must not hold up the end: its job runs again at the next start.
    os._exit(code)
