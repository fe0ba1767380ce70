"""A program whose work is cut off by SIGKILL, at a moment that the test chooses.

It reads orders, one a line: seconds, work, URL. For each it forks a child (before Polars or a database has
started a thread, so that forking is safe), which does the work and says what is done, as it is done; so many
seconds after the child is ready it is killed (a negative number: so many after it was born). The answer is a
line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback

from pseudonym.folders import FolderKeys
from pseudonym.keks import KekRing
from pseudonym.storage import open_store, wrapped
from tests.pseudonym.storage import made_up, mortal_people

# Batches, and people in each. PostgreSQL gets so many that it writes in the background.
INTAKE = {"sqlite": (40, 60), "postgresql": (12, 300)}
KEYS, FOLDERS = 1500, 40
PEOPLE = 120


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def intake(url: str) -> None:
    with open_store(url, "identity") as store:
        vault = made_up.vault(store)
        say("ready")
        batches, size = INTAKE[store.backend]
        for start in range(0, batches * size, size):
            pids = [made_up.pid(n) for n in range(start, start + size)]
            if vault.states(pids[:1]):
                continue
            vault.add(made_up.people(start, size), "council", pids=pids)
            say(start)


def rewrap(url: str) -> None:
    with open_store(url, "identity") as store:
        there = wrapped.kids(store)
        month = int(max(there), 16) + (len(there) == 1)
        older = tuple(range(1, month))
        vault = made_up.vault(store, month=month, older=older)
        folders = FolderKeys(store, KekRing(made_up.kek(month), tuple(map(made_up.kek, older))))
        say("ready")
        while vault.rewrap(70):
            say(month, wrapped.kids(store)[made_up.kek(month).kid])
        folders.rewrap(batch=5)
        say(month, wrapped.kids(store)[made_up.kek(month).kid])


def erase(url: str) -> None:
    with open_store(url, "identity") as store:
        vault = made_up.vault(store)
        say("ready")
        for number in range(0, PEOPLE, 3):
            pids = [made_up.pid(n) for n in range(number, number + 3)]
            if vault.states(pids[:1]).get(pids[0]) == "active":
                vault.erase(pids)
                say(number)


def persons(url: str) -> None:
    mortal_people.persons(url, say)


WORK = {"intake": intake, "rewrap": rewrap, "erase": erase, "persons": persons}


def die(seconds: float, work: str, url: str) -> dict[str, object]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(writing, 1)
        try:
            WORK[work](url)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    said = b""
    if seconds >= 0:
        while b"\n" not in said and (more := os.read(reading, 65536)):
            said += more
    time.sleep(abs(seconds))
    os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    while more := os.read(reading, 65536):
        said += more
    os.close(reading)
    return {"status": status, "said": said.decode().split("\n")[:-1]}


def main() -> None:
    for line in sys.stdin:
        seconds, work, url = line.split()
        print(json.dumps(die(float(seconds), work, url)), flush=True)


if __name__ == "__main__":
    main()
