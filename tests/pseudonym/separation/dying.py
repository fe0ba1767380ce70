"""What is done to a store by a process that is going to be killed; it says what it has got an answer for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import polars as pl

from pseudonym.destruction import rewrap
from pseudonym.keks import KekRing
from pseudonym.urn import Kind
from tests.pseudonym.separation.parts import (
    PROJECT,
    RECIPIENT,
    SCHOOL,
    WHO,
    Keys,
    attributes,
    begun,
    broker,
    column,
    declared,
    kek,
    values,
)

BATCHES, ROWS = 6, 75
ACKNOWLEDGED = ROWS // 3
SUBJECTS = 300
OLD, BOTH, NEW = KekRing(kek(1)), KekRing(kek(2), (kek(1),)), KekRing(kek(2))


def made(label: str, count: int) -> list[bytes]:
    """Ids that are the same in every process."""
    return [hashlib.sha256(f"{label}-{i}".encode()).digest()[:16] for i in range(count)]


def batch(number: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A council's rows, and whose they are: three rows of a batch are one person's."""
    refs = made(f"ref-{number}", ROWS)
    whose = made("person", 2 * ROWS)
    pairs = column(row_ref=refs, aid=[whose[(number * 7 + i // 3) % len(whose)] for i in range(ROWS)])
    return values(ROWS, seed=number).with_columns(column(row_ref=refs)), pairs


def prepare(folder: Path, of_attributes: str, of_broker: str) -> None:
    """The stores that each attempt begins with a copy of, by their URLs; the ledgers are in the folder."""
    with attributes(of_attributes, folder) as store:
        declared(store)
        store.begin_project("other")
        store.declare("other", SCHOOL)
        store.intake.add("other", "ks2", "r", values(50).with_columns(column(aid=made("other", 50))))
        aids = made("subject", SUBJECTS)
        store.intake.add(PROJECT, "ks2", "r", values(SUBJECTS).with_columns(column(aid=aids)))
    with broker(of_broker, folder) as role:
        begun(role)
        role.open_domain(PROJECT, "dwp-extract")
        pids = made("pid", SUBJECTS)
        role.take(PROJECT, column(row_ref=made("ref", SUBJECTS), pid=pids))
        (people,) = role.members(PROJECT, Kind.PERSON)
        for recipient in (RECIPIENT, "dwp-extract"):
            role.issue(PROJECT, recipient, Kind.PERSON, people, WHO)


def rows_of_persons(number: int) -> pl.DataFrame:
    """What identity sends the broker: which row is whose."""
    whose = made("taken", 2 * ROWS)
    pids = [whose[(number * 7 + i // 3) % len(whose)] for i in range(ROWS)]
    return column(row_ref=made(f"taken-{number}", ROWS), pid=pids)


def act_as_broker(what: str, folder: Path, url: str, say: Callable[[Any], None]) -> None:
    with broker(url, folder, keys=Keys()) as role:
        say("ready")
        if what == "broker-intake":
            for number in range(BATCHES):
                rows = rows_of_persons(number)
                role.take(PROJECT, rows)
                say(("taken", number))
                role.acknowledge(PROJECT, rows.head(ACKNOWLEDGED))
                say(("acknowledged", number))
        elif what == "broker-erase":
            pids = made("pid", SUBJECTS)
            for first in range(0, 200, 50):
                role.erasure.erase(PROJECT, Kind.PERSON, column(pid=pids[first : first + 50]), WHO)
                say(first)
        elif what == "broker-destroy":
            role.erasure.destroy_project(PROJECT, lambda: [], WHO)
            say("destroyed")


def act(what: str, folder: Path, url: str, say: Callable[[Any], None]) -> None:
    """Open a store, say so, and work until the end or death; each answer is said once it is there."""
    if what.startswith("broker-"):
        act_as_broker(what, folder, url, say)
        return
    ring = BOTH if what == "rewrap" else OLD
    with attributes(url, folder, keks=ring) as store:
        say("ready")
        if what == "intake":
            for number in range(BATCHES):
                rows, pairs = batch(number)
                store.intake.receive(PROJECT, "ks2", f"b{number}", rows)
                say(("received", number))
                store.intake.attach(PROJECT, pairs)
                say(("attached", number))
                if number % 2:
                    store.intake.forget(PROJECT, pairs)
        elif what == "rewrap":
            rewrap(store._rows, ring, batch=20)
            say("rewrapped")
        elif what == "erase":
            aids = made("subject", SUBJECTS)
            for first in range(0, 200, 50):
                store.erasure.erase(PROJECT, column(aid=aids[first : first + 50]), WHO)
                say(first)
        elif what == "destroy":
            store.erasure.destroy_project(PROJECT, WHO)
            say("destroyed")


def run(what: str, folder: str, url: str, pipe: Connection) -> None:
    act(what, Path(folder), url, pipe.send)
    pipe.send("done")
