"""The service on its way from start to stop; the only place where settings, TLS, gRPC and domain code meet.

    python server.py                                     all three roles in one process, to try out
    python server.py --role broker --tls-certificate …   one role, with its own keys, database and certificate

    call ──▶ Gate: known method? caller who may? place free? deadline? ──▶ servicer ──▶ audit log ──▶ reply
    SIGTERM ──▶ not serving ──▶ drain: jobs go back to the queue, calls end ──▶ stop, exit 0

The log is one JSON object a line on standard error and holds no text from callers, records or libraries.
"""

from __future__ import annotations

import pseudonym.roles.tls13  # noqa: F401  # isort: skip - before gRPC, which reads it once

import argparse
import asyncio
import dataclasses
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import polars as pl
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from linker import arrow, durable, registers, service, status
from linker.carried import carried
from linker.corrections import spelt
from linker.destruction import destroy_doomed
from linker.ending import end_project
from linker.errors import LinkerError
from linker.events import event, open_log
from linker.forms import forms
from linker.gate import Gate, listen
from linker.idle import lock_when_idle
from linker.intake import Intake
from linker.jobs import Runner
from linker.joining import Link, Progress
from linker.match_service import MatchServicer
from linker.references import References
from linker.refusals import NotReady
from linker.resources import Job, Limits, Mandate
from linker.review_service import ReviewServicer
from linker.reviews import Reviews
from linker.sending import is_loopback
from linker.store import Store
from linker.store.models import WORD as MODEL
from linker.threads import Threads
from linker.v1 import (
    intake_pb2_grpc,
    job_pb2_grpc,
    linkage_pb2_grpc,
    match_pb2_grpc,
    model_pb2_grpc,
    review_pb2_grpc,
)
from linker.vaulted import Damaged
from pseudonym import clock
from pseudonym.errors import PseudonymError
from pseudonym.roles import callers, certificates, domains, passage, serving
from pseudonym.roles import settings as role_settings
from pseudonym.roles.arrow import ReadArrow
from pseudonym.roles.callers import SERVER_ROLES, Role
from pseudonym.roles.certificates import Certificates, Renewal
from pseudonym.roles.joining import Errand, Joining
from pseudonym.roles.opening import House, open_house
from pseudonym.roles.policy import served_by
from pseudonym.roles.refusals import PeerUnavailableError
from pseudonym.roles.registers import Found, Registers
from pseudonym.roles.senders import Holders
from pseudonym.roles.statuses import INTERNAL, code_of
from pseudonym.roles.together import listen_within

THREADS = 16
CONNECTION_AGE = 3_600.0
"""Seconds after which a caller connects anew: a certificate that has expired meanwhile is then refused."""
FAILURES = (LinkerError, PseudonymError)


@dataclass(frozen=True)
class Settings:
    """How one server runs.

    Attributes:
        data: the folder of the databases and the files; one server at a time owns it.
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
        role: the role that runs alone, or None for all three in one process.
        options: where that role has what it needs.
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
    role: Role | None = None
    options: role_settings.Options = field(default_factory=role_settings.Options)

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("Give --tls-certificate and --tls-key together.")
        if self.certificate is None and self.authority is not None:
            raise ValueError("--tls-authority needs --tls-certificate and --tls-key.")
        production = self.environment != "development"
        self.options.check(
            self.role, self.data, production=production, certificates=self.authority is not None
        )
        if not production and is_loopback(self.host):
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

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that run."""
        return SERVER_ROLES if self.role is None else (self.role,)


def credentials(settings: Settings) -> Certificates | None:
    """What the server shows and asks of its clients, or None for plain text.

    Raises:
        PseudonymError: a file cannot be read, or is not what it should be; gRPC would listen all the same.
    """
    if settings.certificate is None or settings.key is None:
        return None
    found = certificates.read(settings.certificate, settings.key, settings.authority)
    check_certificates(settings, found)
    return found


def check_certificates(settings: Settings, found: Certificates) -> None:
    """Refuse certificates that are none for this server, at the start and when they are renewed.

    Raises:
        PseudonymError: the authority is a throw-away one in production, or the role another one.
    """
    if settings.environment != "development":
        found.check_authority()
    if settings.role is not None:
        found.check_role(settings.role)


def describe(error: BaseException, call_id: str, method: str) -> status.Details:
    """What the caller may know about an exception."""
    if isinstance(error, PseudonymError) and (code := code_of(error)) != INTERNAL:
        field, retry_after = getattr(error, "field", ""), getattr(error, "retry_after", None)
        texts = status.cut(error.message), status.cut(error.help)
        details = status.Details(code, error.reason, *texts, call_id, field, retry_after)
    else:
        details = status.details_of(error, call_id)
    domain = serving.DOMAIN if method.startswith(serving.PACKAGE) else status.DOMAIN
    return dataclasses.replace(details, domain=domain)


def not_open() -> LinkerError:
    """What a job is told that runs before the vault is open."""
    return LinkerError("The vault is not open yet.", "Start the job again.")


@contextmanager
def told() -> Iterator[None]:
    """What the vault refuses, as a job of the engine tells it."""
    try:
        yield
    except PseudonymError as error:
        failed = LinkerError(error.message, error.help)
        failed.reason = error.reason
        raise failed from None


class Persons:
    """The vault's persons, as jobs of the engine join submissions and link registers with them."""

    def __init__(self, holders: Holders) -> None:
        self.joining: Joining | None = None
        self.registers: Registers | None = None
        self._holders = holders

    def opened(self, joining: Joining, registers: Registers) -> None:
        """Take what joins submissions and links registers, once the vault is open."""
        self.joining, self.registers = joining, registers

    def check_holder(self, sender: str, project: str, register: str) -> None:
        self._holders.check_sender(sender, project, register)

    def link(
        self,
        job: Job,
        register: str,
        sender: str,
        refs: pl.Series,
        link: registers.Link,
        unsought: registers.Unsought,
        progress: Progress,
    ) -> dict[str, int]:
        if self.registers is None:
            raise not_open()
        work = job.work
        errand = Errand(job.project, work.purpose, work.actor, register, sender, job.job_id)
        with told():
            return self.registers.link(errand, refs, lambda known: Found(*link(known)), unsought, progress)

    def check(self, project: str, purpose: str, actor: str) -> None:
        try:
            self._opened().check(project, purpose, actor)
        except PeerUnavailableError:
            return  # the job itself waits for the broker
        except PseudonymError as error:
            raise NotReady(error.reason, error.message, error.help) from None

    def check_register(self, project: str, register: str) -> None:
        if self.registers is None:
            raise not_open()
        try:
            self.registers.check(project, register)
        except PseudonymError as error:
            raise NotReady(error.reason, error.message, error.help) from None

    def join(
        self, job: Job, source: str, sender: str, rows: pl.DataFrame, link: Link, progress: Progress
    ) -> dict[str, int]:
        work = job.work
        errand = Errand(job.project, work.purpose, work.actor, source, sender, job.job_id)
        with told():
            return self._opened().join(errand, rows, link, progress)

    def show(self, mandate: Mandate, actor: str, records: Sequence[str]) -> pl.DataFrame:
        if self.registers is None:
            raise not_open()
        with told():
            return self.registers.show(mandate.project, mandate.purpose, actor, records)

    def _opened(self) -> Joining:
        if self.joining is None:
            raise not_open()
        return self.joining


class Linking:
    """The services of `linker.v1`, which the identity role has."""

    def __init__(self, settings: Settings, house: House) -> None:
        """Open the store, and finish what a crash kept from being destroyed; nothing runs yet."""
        self.store = Store(settings.data / "kinlink.sqlite", domains.open_folders(house, Damaged))
        destroy_doomed(self.store, MODEL, None)
        self.intake = intake = Intake(self.store, settings.data / "submissions", settings.limits)
        self.persons = Persons(serving.holders(house))
        folder, limits = settings.data / "jobs", settings.limits
        self.runner = Runner(self.store, intake, folder, limits, settings.workers, self.persons)
        self.references = References(self.store, intake, settings.data / "references", settings.limits)
        self.jobs = service.JobServicer(self.store, self.runner)
        self._intake = service.IntakeServicer(self.store, intake, self.persons)
        self._reviews = Reviews(self.store, intake, self.runner, self.persons)

    def add_services(self, server: grpc.aio.Server) -> None:
        """Put the services on a server."""
        asked = (lambda: str(callers.current())), passage.grounds
        linkage = service.LinkageServicer(self.store, self.runner, *asked)
        models = service.ModelServicer(self.store)
        intake_pb2_grpc.add_IntakeServiceServicer_to_server(self._intake, server)
        linkage_pb2_grpc.add_LinkageServiceServicer_to_server(linkage, server)
        job_pb2_grpc.add_JobServiceServicer_to_server(self.jobs, server)
        model_pb2_grpc.add_ModelServiceServicer_to_server(models, server)
        match_pb2_grpc.add_MatchServiceServicer_to_server(MatchServicer(self.references), server)
        review_pb2_grpc.add_ReviewServiceServicer_to_server(ReviewServicer(self._reviews), server)

    def engine(self) -> serving.Engine:
        """What the linkage service does for the identity role."""
        parts = self.store, self.runner, self.intake, self.references
        return serving.Engine(
            self.persons.opened,
            carried,
            forms,
            partial(self.intake.delete_overdue, clock.seconds),
            partial(self.intake.overdue, clock.seconds),
            partial(end_project, *parts),
            lambda project: bool(self.store.submissions.page(project, 0, 1)),
            self.store.submissions.senders,
            self.runner.explained,
            spelt,
            self.store.jobs.projects,
        )

    def start(self) -> None:
        """Run what waits in the queue, and load the references."""
        self.runner.start()
        self.references.start()


def build(
    settings: Settings, houses: dict[Role, House], linking: Linking | None, domain: str
) -> tuple[Gate, grpc.aio.Server, passage.Desk]:
    """What every call passes, the server with its services, and where calls are let in."""
    logs = {role: house.log for role, house in houses.items()}
    terms = {role: serving.terms_of(house) for role, house in houses.items()}
    desk = passage.Desk(logs, terms, development=settings.authority is None, domain=domain)
    methods = serving.methods_of(houses) | (service.METHODS if linking else {})
    gate = Gate(methods, settings.limits.calls, desk.enter, describe, settings.role or "")
    server = grpc.aio.server(
        interceptors=[gate],
        maximum_concurrent_rpcs=4 * settings.limits.calls,
        options=[
            ("grpc.max_receive_message_length", settings.limits.message_bytes),
            ("grpc.max_metadata_size", 16 * 1024),
            ("grpc.so_reuseport", 0),
            ("grpc.max_connection_age_ms", int(CONNECTION_AGE * 1_000)),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
        ],
    )
    if linking is not None:
        linking.add_services(server)
    return gate, server, desk


def _reader(limits: Limits) -> ReadArrow:
    return lambda content, columns: arrow.read_chunk(content, columns, limits)


def _round_failed(reason: str) -> None:
    event("background_failed", logging.ERROR, reason=reason)


def _duty_done(duty: str, count: int) -> None:
    event("duty_done", duty=duty, count=count)


def _not_renewed() -> None:
    event("certificates_not_renewed", logging.ERROR)


async def serve(settings: Settings, houses: dict[Role, House], linking: Linking | None) -> None:
    """Serve until SIGTERM or SIGINT, then drain and stop."""
    found = credentials(settings)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.set_default_executor(Threads(THREADS))
    renewal = Renewal(found, partial(check_certificates, settings), _not_renewed) if found else None
    secured = renewal.for_server() if renewal else None
    domain = found.domain if found and settings.role else ""
    gate, server, desk = build(settings, houses, linking, domain)
    tls = renewal.for_peers if renewal else lambda: None
    ways = {role: serving.Way(settings.options.broker, tls) for role in houses}
    if settings.role is None:
        listen_within(server, ways)
    told = (_reader(settings.limits), _round_failed, _duty_done)
    end = serving.add_services(server, houses, ways, *told, linking.engine() if linking else None)
    names = sorted({name for role in settings.roles for name in served_by(role)})
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    if settings.environment == "development":
        reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    port = listen(server, f"{settings.host}:{settings.port}", secured)
    await server.start()
    if linking is not None:
        linking.start()
    for name in ("", *names):
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    if settings.port_file is not None:
        durable.write(settings.port_file, lambda file: file.write(f"{port}\n".encode()))
    event("listening", host=settings.host, port=port, tls=found is not None, roles=" ".join(settings.roles))

    minutes = settings.options.lock_after
    if minutes is not None and linking is not None:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(lock_when_idle(minutes, gate, linking.runner, stop))
            await stop.wait()
            watching.cancel()
    await stop.wait()
    event("draining")
    await healthy.enter_graceful_shutdown()
    if linking is not None:
        linking.jobs.drain()
        # A thread of its own: those of the calls may all be taken.
        ending = loop.run_in_executor(Threads(1), linking.runner.stop, settings.grace)
        _, put_back = await asyncio.gather(server.stop(settings.grace), ending)
        event("stopped", jobs_put_back=put_back)
    else:
        await server.stop(settings.grace)
        event("stopped")
    end()
    await desk.close()


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
    role_settings.add_arguments(parser)
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
        role=given.role,
        options=role_settings.Options.read(given),
    )


def run(settings: Settings) -> int:
    """Own the data folder, serve until a signal, and return the exit code: 0 stopped, 1 failed."""
    os.umask(0o077)
    clock.set_ahead(settings.options.days_ahead)
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        lock = (settings.data / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        reason = "Another server owns it." if isinstance(error, BlockingIOError) else error.strerror
        print(f"The data folder cannot be used: {reason}", file=sys.stderr)
        return 1
    warnings = [role_settings.TOGETHER] if settings.role is None else []
    warnings += [role_settings.WITHOUT_CERTIFICATES] if settings.authority is None else []
    for sentence in warnings:
        print(sentence, file=sys.stderr)
    open_log()
    for sentence in warnings:
        event("not_protected", logging.WARNING, message=sentence)
    try:
        with ExitStack() as stack:
            found = credentials(settings)
            domain = found.domain if found and found.domain else role_settings.DEVELOPMENT_DOMAIN
            houses = {
                role: stack.enter_context(
                    open_house(
                        role_settings.resolve(
                            role, settings.data, settings.options, make=settings.environment == "development"
                        ),
                        domain,
                    )
                )
                for role in settings.roles
            }
            identity = houses.get(Role.IDENTITY)
            linking = Linking(settings, identity) if identity else None
            asyncio.run(serve(settings, houses, linking))
            if linking is not None:
                linking.store.close()
    except FAILURES as error:
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
