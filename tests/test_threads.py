"""Threads that stay: order, failures, and forked processes."""

from __future__ import annotations

import os
import threading
import time

import pytest

from linker.threads import each


def test_results_come_in_the_order_of_the_tasks():
    def late(seconds):
        time.sleep(seconds)
        return seconds

    assert each(late, [0.02, 0.0, 0.01]) == [0.02, 0.0, 0.01]
    assert each(str, []) == []


def test_no_task_is_still_running_when_the_error_of_another_is_raised():
    running = threading.Event()

    def run(task):
        if task == "fails":
            running.wait(10)
            raise ValueError
        running.set()
        time.sleep(0.2)
        done.append(task)

    done: list[str] = []
    if (os.cpu_count() or 1) < 2:
        pytest.skip("two tasks at once need two cores")
    with pytest.raises(ValueError):  # noqa: PT011
        each(run, ["fails", "goes on"])
    assert done == ["goes on"]


def test_a_forked_process_has_threads_of_its_own():
    each(str, range(4))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, bytes(each(int, range(3))))
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 10) == bytes(range(3))
    assert os.waitpid(child, 0)[1] == 0
