"""How the client sends: chunks that are always the same, failures in words, and patience."""

from __future__ import annotations

import contextlib
import ipaddress
import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import polars as pl

from linker import arrow, status
from linker.errors import LinkerError
from linker.resources import Limits

T = TypeVar("T")

Frames = pl.DataFrame | Callable[[], Iterable[pl.DataFrame]]

STREAM_SECONDS = 3600.0
CHUNK_ROWS = 25_000
CHUNK_BYTES = Limits().message_bytes - 1024**2  # leaves room for the message around the content
PASSING = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED")


class ServiceError(LinkerError):
    """The service refused a call, or could not be reached.

    Attributes:
        code: the name of the gRPC status code.
        reason: the reason from the service, such as "JOB_NOT_FOUND"; the code if it gave none.
        call_id: the id under which the service logged the call, or an empty string.
        metadata: what the reason says besides, such as `last_durable_chunk`.
        retry_after: seconds after which the service asks to try again, or None.
        passing: whether the same call may succeed later.
        said: whether the service itself said so.
    """

    def __init__(self, code: str, sent: bytes | None, address: str = "") -> None:
        """Put a failure into words.

        Args:
            code: the name of the gRPC status code.
            sent: the serialised google.rpc.Status that came with it, if one did.
            address: where the service was looked for.
        """
        if sent is not None:
            details = status.read(sent)
        elif code == "UNAVAILABLE":
            message = (
                f"The service cannot be reached at {address}."
                if address
                else "The service cannot be reached."
            )
            help = "Check the address, whether it runs, whether it wants TLS, and whose certificate you show."
            details = status.Details(code, code, message, help)
        elif code == "DEADLINE_EXCEEDED":
            message, help = "The service did not answer in time.", "Ask for less, or wait longer."
            details = status.Details(code, "DEADLINE_PASSED", message, help)
        else:
            details = status.Details(code, code, f"The call failed: {code}.")
        super().__init__(details.message, details.help)
        self.code = code
        self.reason = details.reason
        self.call_id = details.call_id
        self.metadata = details.metadata
        self.retry_after = details.retry_after
        self.passing = code in PASSING
        self.said = sent is not None


def service_error(error: Exception, address: str = "") -> ServiceError:
    """What a failed call to a service at this address says."""
    call: Any = error  # an error of a call on a channel is a grpc.Call too
    sent = dict(call.trailing_metadata() or ()).get(status.METADATA_KEY)
    return ServiceError(call.code().name, sent, address)


class Pause:
    """Waits longer after each failure, a little at random, until patience since the first is at its end."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.reset()

    def reset(self, patience: float | None = None) -> None:
        """Be as patient as at the start, or for other seconds: something went forward."""
        self.patience = self.patience if patience is None else patience
        self._begun: float | None = None
        self._seconds = 0.2

    def after(self, error: ServiceError) -> None:
        """Wait before the next attempt.

        Raises:
            ServiceError: the failure does not pass, or patience is at its end.
        """
        if self._begun is None:
            self._begun = time.monotonic()
        seconds = max(error.retry_after or 0.0, self._seconds * random.uniform(0.5, 1.0))
        if not error.passing or time.monotonic() + seconds > self._begun + self.patience:
            raise error
        time.sleep(seconds)
        self._seconds = min(2 * self._seconds, 10.0)


class Patience:
    """How long a client waits for one service: longer once that has answered for the first time.

    Args:
        address: where the service is looked for.
        patience: seconds for which a call that it could not take is tried again.
        reach: as `patience`, for as long as it has not answered at all; None: the same.
        failure: what a call that fails raises.
    """

    def __init__(self, address: str, patience: float, reach: float | None, failure: type[Exception]) -> None:
        self._address, self._patience, self._failure = address, patience, failure
        self._now = patience if reach is None else min(reach, patience)

    def pause(self) -> Pause:
        """For the attempts of a call."""
        return Pause(self._now)

    def answered(self) -> float:
        """The service is there; the seconds for which it is waited for from now on."""
        self._now = self._patience
        return self._now

    def run(self, attempt: Callable[[], T], pause: Pause | None = None) -> T:
        """What an attempt returns, made again after failures that pass.

        Raises:
            ServiceError: the failure does not pass, or patience is at its end.
        """
        pause = pause or self.pause()
        while True:
            try:
                found = attempt()
                self.answered()
                return found
            except self._failure as error:
                pause.after(self.failed(error, pause))

    def failed(self, error: Exception, pause: Pause) -> ServiceError:
        """What a failed call says; if the service itself does, it is there."""
        failure = service_error(error, self._address)
        if failure.said:
            pause.patience = self.answered()
        return failure


class Sent(Iterator[T]):
    """What a call sends: each message is made while the one before it is on its way.

    An error in the making ends the stream, and is kept for the caller: gRPC reads the stream in a thread of
    its own, where the error would be lost.
    """

    def __init__(self, messages: Iterator[T]) -> None:
        self._messages = messages
        self._maker = ThreadPoolExecutor(1)
        self._next = self._maker.submit(next, messages)
        self.error: BaseException | None = None

    def __next__(self) -> T:
        try:
            made = self._next.result()
        except BaseException as error:
            self.close()
            if not isinstance(error, StopIteration):
                self.error = error
            raise StopIteration from None
        try:
            self._next = self._maker.submit(next, self._messages)
        except RuntimeError:  # closed meanwhile: the call has ended, and this message goes nowhere
            raise StopIteration from None
        return made

    def close(self) -> None:
        """Make no further message."""
        self._maker.shutdown(wait=False, cancel_futures=True)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and nothing else."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host == "localhost"


def frames_of(records: Frames) -> Iterable[pl.DataFrame]:
    """The frames of what is to be sent, from the start."""
    return [records] if isinstance(records, pl.DataFrame) else records()


def chunks_of(frames: Iterable[pl.DataFrame], chunk_rows: int) -> Iterator[tuple[int, bytes]]:
    """Row count and Arrow bytes of each chunk; the same frames always give the same chunks.

    Raises:
        LinkerError: a single record is larger than a chunk may be.
    """
    for frame in frames:
        for chunk in frame.iter_slices(chunk_rows):
            yield from _halves(chunk)


def _halves(chunk: pl.DataFrame) -> Iterator[tuple[int, bytes]]:
    content = arrow.written(chunk.rechunk())
    if len(content) <= CHUNK_BYTES:
        yield chunk.height, content
    elif chunk.height <= 1:
        raise LinkerError(
            f"A single record takes more than {CHUNK_BYTES // 1024**2} MiB.",
            "Leave out the column that is so long, or shorten it.",
        )
    else:
        yield from _halves(chunk[: chunk.height // 2])
        yield from _halves(chunk[chunk.height // 2 :])
