"""What the attributes role learns of registers by asking the broker: a part of `pseudonym.roles.exchange`.

    broker ──(row_ref: nobody's)────────────▶ dropped ─┐
           ──(row_ref, aid, handle, run)────▶ stored ──┼─(row_refs)──▶ broker forgets
           ──(aid, handle, outcome, run)────▶ said ────┘
           ──(runs that are whole)──────────▶ withdrawn: what earlier runs had and this one has not

Runs are asked for before the rows and once more after them: of a run that is whole before and the latest
still, every row is among those that came between. A later one would have taken rows out of their midst.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import polars as pl

from pseudonym.access import Mandate
from pseudonym.attributes import Attributes
from pseudonym.roles.arrow import ReadArrow, frame
from pseudonym.roles.peer import Peer
from pseudonym.v1 import broker_pb2

_IDS: Final = ("row_ref", "aid", "family_aid", "handle")


def settle(
    attributes: Attributes,
    broker: Callable[[], Peer],
    read: ReadArrow,
    acknowledge: Callable[[str, pl.DataFrame, int], object],
    project: str,
    mandate: Mandate,
) -> int:
    """Follow what the broker knows of a project's registers; how many rows and outcomes were stored.

    Args:
        attributes: the attribute store's operations.
        broker: gives the broker, or raises why it cannot be called.
        read: see `ReadArrow`.
        acknowledge: tells the broker which row_refs (column `row_ref`) of a run (0: of none) it can forget,
            and forgets them here.
        project: its name.
        mandate: for the store's audit.

    Raises:
        PeerUnavailableError, PeerRefusedError: the broker cannot be asked.
    """
    registers = attributes.registers
    stored, token, runs = 0, "", list[broker_pb2.RegisterRun]()

    def ask(token: str, size: int = 0) -> broker_pb2.ListLinksResponse:
        asked = broker_pb2.ListLinksRequest(project=project, page_token=token, page_size=size)
        return broker().call("/pseudonym.v1.BrokerService/ListLinks", asked, broker_pb2.ListLinksResponse)

    while True:
        page = ask(token)
        if not token:
            runs = list(page.runs)
        known = {run.number: run for run in runs}
        rows = frame(read, page.arrow, _IDS, ("outcome", "run")).rename({"family_aid": "family"})
        strays = rows.filter(pl.col("aid").is_null()).select("row_ref")
        done = [(0, registers.drop(project, strays, mandate))]
        for (text,), some in rows.drop_nulls("aid").group_by(["run"], maintain_order=True):
            run = known.get(int(str(text)))
            if run is None:
                continue  # it began after this round: the next one takes it
            said = some.drop_nulls("outcome")
            values = some.filter(pl.col("outcome").is_null()).select("row_ref", "aid", "family", "handle")
            if values.height:
                linked = registers.link(project, run.register, run.number, values, mandate)
                done.append((run.number, linked))
            if said.height:
                done.append((run.number, registers.say(project, run.register, run.number, said)))
        for number, refs in done:
            if refs.height:
                acknowledge(project, refs, number)
            stored += refs.height
        token = page.next_page_token
        if not token:
            break
    latest = _latest(ask("", 1).runs)
    for register, run in _latest(runs).items():
        if run.whole and latest[register].number == run.number:
            told = (run.opt_out.basis, run.opt_out.until) if run.HasField("opt_out") else None
            registers.withdraw(project, register, run.number, mandate, told)
    return stored


def _latest(runs: Iterable[broker_pb2.RegisterRun]) -> dict[str, broker_pb2.RegisterRun]:
    """The latest run of each register."""
    return {run.register: run for run in sorted(runs, key=lambda run: run.number)}
