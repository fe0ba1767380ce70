"""What the attributes role learns of registers by asking the broker: a part of `pseudonym.roles.exchange`.

    broker ──(row_ref: nobody's)────────────▶ dropped ─┐
           ──(row_ref, aid, handle, run)────▶ stored ──┼─(row_refs)──▶ broker forgets
           ──(aid, handle, outcome, run)────▶ said ────┘
           ──(runs that are whole)──────────▶ withdrawn: what earlier runs had and this one has not

Runs are asked for before the rows: of a run that is whole then, every row is among those that come after.
"""

from __future__ import annotations

from collections.abc import Callable
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
    acknowledge: Callable[[str, pl.DataFrame], object],
    project: str,
    mandate: Mandate,
) -> int:
    """Follow what the broker knows of a project's registers; how many rows and outcomes were stored.

    Args:
        attributes: the attribute store's operations.
        broker: gives the broker, or raises why it cannot be called.
        read: see `ReadArrow`.
        acknowledge: tells the broker which row_refs (column `row_ref`) it can forget, and forgets them here.
        project: its name.
        mandate: for the store's audit.

    Raises:
        PeerUnavailableError, PeerRefusedError: the broker cannot be asked.
    """
    registers = attributes.registers
    stored, token, runs = 0, "", {}
    while True:
        asked = broker_pb2.ListLinksRequest(project=project, page_token=token)
        page = broker().call("/pseudonym.v1.BrokerService/ListLinks", asked, broker_pb2.ListLinksResponse)
        if not token:
            runs = {run.number: run for run in page.runs}
        rows = frame(read, page.arrow, _IDS, ("outcome", "run")).rename({"family_aid": "family"})
        strays = rows.filter(pl.col("aid").is_null()).select("row_ref")
        done = [registers.drop(project, strays, mandate)]
        for (number,), some in rows.drop_nulls("aid").group_by(["run"], maintain_order=True):
            run = runs.get(int(str(number)))
            if run is None:
                continue  # it began after this round: the next one takes it
            said = some.drop_nulls("outcome")
            values = some.filter(pl.col("outcome").is_null()).select("row_ref", "aid", "family", "handle")
            if values.height:
                done.append(registers.link(project, run.register, run.number, values, mandate))
            if said.height:
                done.append(registers.say(project, run.register, run.number, said))
        known = pl.concat(done)
        if known.height:
            acknowledge(project, known)
        stored, token = stored + known.height, page.next_page_token
        if not token:
            break
    newest = {run.register: run for _, run in sorted(runs.items())}
    for run in newest.values():
        if run.whole:
            registers.withdraw(project, run.register, run.number, mandate)
    return stored
