"""Chunks on their way to disk: looked through ahead, kept in groups and in order, and never too many."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from typing import Any

import grpc
import pytest

from linker import durable
from linker.chunks import examine
from linker.gate import Gate
from linker.intake import Intake
from linker.receiving import AHEAD, receive
from linker.refusals import Conflict, Invalid, NotReady, Refused
from linker.resources import Batch, Format, Limits, Mandate, SubmissionKind, SubmissionState
from linker.store import Store
from tests.service.harness import PURPOSE, arrow, people, safe_in

FRAME = people(60)
CONTENTS = [arrow(part) for part in FRAME.iter_slices(10)]
BATCH = Batch(SubmissionKind.EXTRACT, "b", "NPD", Format.ARROW, tuple(FRAME.columns))


@pytest.fixture
def upload(tmp_path):
    with safe_in(tmp_path) as safe:
        store = Store(tmp_path / "kinlink.sqlite", safe)
        intake = Intake(store, tmp_path / "submissions", Limits())
        yield intake.open(BATCH, Mandate("request-b", "families", PURPOSE), b"digest")
        store.close()


def digest(content):
    return hashlib.sha256(content).digest()


def examined(number, content, stated=b""):
    return examine(number, stated or digest(content), content, BATCH, Limits())


def durable_chunks(upload):
    return upload.intake.store.submissions.totals(upload.key)[:2]


def test_a_group_is_kept_up_to_the_first_that_is_wrong(upload):
    one, two, three = (examined(number, CONTENTS[number - 1]) for number in (1, 2, 3))
    text = b"no Arrow"
    for wrong, reason, kind in (
        (examined(3, CONTENTS[2], digest(b"other")), "CHUNK_DIGEST_WRONG", Invalid),
        (examined(3, text), "ARROW_INVALID", Invalid),
        (examined(4, CONTENTS[3]), "CHUNK_OUT_OF_ORDER", NotReady),
        (examined(2, CONTENTS[3]), "CHUNK_CONFLICT", Conflict),
    ):
        with pytest.raises(kind) as caught:
            upload.keep([one, two, wrong, three])
        assert caught.value.reason == reason
        if reason != "ARROW_INVALID":
            assert caught.value.metadata == {"last_durable_chunk": "2"}
        assert durable_chunks(upload) == (2, 20)
    upload.keep([two, three, three, examined(4, CONTENTS[3])])
    assert durable_chunks(upload) == (4, 40)


def test_a_repeated_chunk_in_its_own_group_is_compared(upload):
    one, two = examined(1, CONTENTS[0]), examined(2, CONTENTS[1])
    with pytest.raises(Conflict) as caught:
        upload.keep([one, two, examined(1, CONTENTS[5])])
    assert (caught.value.reason, durable_chunks(upload)) == ("CHUNK_CONFLICT", (2, 20))


def test_what_is_noted_is_on_disk_first(upload, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(durable, "sync_folder", fail)
        with pytest.raises(OSError, match="No space"):
            upload.keep([examined(1, CONTENTS[0])])
    assert durable_chunks(upload) == (0, 0)
    # What the failure left lies under the name of the first chunk, and is replaced.
    upload.keep([examined(1, CONTENTS[4])])
    done = upload.end(1, 10, digest(digest(CONTENTS[4])))
    assert done.state is SubmissionState.READY
    assert upload.intake.records(done).frame["forename"].to_list() == FRAME[40:50]["forename"].to_list()


class Slow:
    """An upload whose disk is slow."""

    def __init__(self):
        self.groups, self.go_on = [], threading.Event()

    def keep(self, group):
        assert self.go_on.wait(20)
        self.groups.append([chunk.number for chunk in group])
        if 99 in self.groups[-1]:
            raise Invalid("CHUNK_DIGEST_WRONG", "The chunk is wrong.")


async def numbers(*given, last=None):
    for number in given:
        yield number
    if last is not None:
        raise last


def look(seen):
    def look_through(number):
        seen.append(number)
        return examined(number, b"")

    return look_through


def test_while_the_disk_is_slow_a_few_chunks_are_looked_through_and_then_kept_together():
    slow = Slow()
    seen: list[int] = []

    async def run():
        task = asyncio.create_task(receive(numbers(*range(1, 21)), look(seen), slow.keep))
        while len(seen) < AHEAD + 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(seen) == AHEAD + 2  # one is being kept, and one waits for a place
        slow.go_on.set()
        await task

    asyncio.run(run())
    assert [number for group in slow.groups for number in group] == list(range(1, 21))
    assert slow.groups[0] == [1]
    assert len(slow.groups[1]) > 1


def test_an_error_in_the_stream_comes_after_what_came_before_it_is_kept():
    slow = Slow()
    slow.go_on.set()
    error = Invalid("STREAM_INVALID", "The stream is wrong.")
    with pytest.raises(Refused) as caught:
        asyncio.run(receive(numbers(1, 2, 3, last=error), look([]), slow.keep))
    assert caught.value is error
    assert [number for group in slow.groups for number in group] == [1, 2, 3]


def test_a_chunk_that_is_refused_ends_the_stream_at_once():
    slow = Slow()
    slow.go_on.set()

    async def forever():
        yield 1
        yield 99
        await asyncio.Event().wait()

    async def run():
        async with asyncio.timeout(20):
            await receive(forever(), look([]), slow.keep)

    with pytest.raises(Invalid, match="wrong"):
        asyncio.run(run())


def test_a_large_message_is_not_parsed_on_the_event_loop():
    threads = {}

    async def run():
        def parse(content):
            threads[len(content)] = threading.current_thread() is threading.main_thread()
            return content

        async def answer(request, _):
            return request[:1]

        gate = Gate({"/x/m": 10.0}, 4)
        handler = grpc.unary_unary_rpc_method_handler(answer, parse, lambda content: content)
        server = grpc.aio.server(interceptors=[gate])
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("x", {"m": handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for size in (10, 1_000_000):
                call: Any = channel.unary_unary("/x/m")
                assert await call(b"y" * size, timeout=10) == b"y"
        await server.stop(None)

    asyncio.run(run())
    assert threads == {10: True, 1_000_000: False}
