"""How the identity role tells the broker what became of people: from the outbox, until the broker has it.

    event ──▶ outbox ──(before, after; unit, holder)──▶ broker ──▶ told

What is told says what is so, not what to do, so each step may be done again: an unreachable broker or a crash
delays and loses nothing. A message that names no id from before says only who is under whom: of new rows the
join tells that itself, and what moved unseen is nobody's to know. It is passed over.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from typing import Self

import polars as pl

from pseudonym.deliveries import Untold
from pseudonym.people import People
from pseudonym.roles.arrow import ROWS, written
from pseudonym.roles.checks import KINDS
from pseudonym.roles.peer import Peer
from pseudonym.v1 import broker_pb2, common_pb2

SERVICE = "/pseudonym.v1.BrokerService/"
PURPOSE = "keeping-persons"
EVERY = 5.0  # seconds between rounds
AT_ONCE = 16  # messages


class Reports:
    """The identity role's way to the broker."""

    def __init__(
        self,
        people: People,
        broker: Callable[[], Peer],
        failed: Callable[[str], object] = lambda reason: None,
    ) -> None:
        """Prepare it; nothing runs before `start`.

        Args:
            people: whose outbox it is.
            broker: gives the broker, or raises why it cannot be called.
            failed: is told the reason when a round does not succeed.
        """
        self._people, self._broker, self._failed = people, broker, failed
        self._stop, self._wanted = threading.Event(), threading.Event()
        self._round = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)

    def start(self) -> None:
        """Begin rounds in a thread of their own."""
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def soon(self) -> None:
        """Begin a round at once: something happened."""
        self._wanted.set()

    def settle(self) -> int:
        """Tell all that waits; how many messages that were.

        Raises:
            PeerUnavailableError, PeerRefusedError: the broker cannot be told.
        """
        count = 0
        with self._round:
            while waiting := self._people.untold(AT_ONCE):
                for message in waiting:
                    self._tell(message)
                    self._people.told(message.number)
                count += len(waiting)
        return count

    def rows(self, project: str, purpose: str, rows: pl.DataFrame, patience: float | None = None) -> None:
        """Tell whose rows are: row_ref, pid, unit, fid; nothing is sent twice that does harm twice.

        Args:
            project: its name.
            purpose: what for.
            rows: where pid is null the row is nobody's; none, to ask whether the broker knows the project.
            patience: see `Peer.call`.

        Raises:
            PeerUnavailableError, PeerRefusedError: the broker cannot be told, or has no such project.
        """
        for some in rows.iter_slices(ROWS) if rows.height else [rows]:
            mandate = common_pb2.Mandate(request_id=os.urandom(16).hex(), project=project, purpose=purpose)
            asked = broker_pb2.MapSubjectsRequest(mandate=mandate, arrow=written(some))
            self._broker().call(f"{SERVICE}MapSubjects", asked, broker_pb2.MapSubjectsResponse, patience)

    def register(
        self,
        project: str,
        purpose: str,
        register: str,
        rows: pl.DataFrame,
        persons: pl.DataFrame,
        opt_out: tuple[str, int] | None = None,
    ) -> None:
        """Tell what a register was linked to, as a run of its own.

        Args:
            project: its name.
            purpose: the purpose.
            register: its code.
            rows: row_ref, unit, pid (null: nobody's) and fid.
            persons: row_ref, unit, pid, fid and outcome, one row a person.
            opt_out: under what it was linked, and until when that holds, where the National Data Opt-out
                concerns it.

        Raises:
            PeerUnavailableError, PeerRefusedError: the broker cannot be told, or has no such project.
        """
        run = os.urandom(16)
        parts = [(some, persons.clear()) for some in rows.iter_slices(ROWS) if some.height]
        parts += [(rows.clear(), some) for some in persons.iter_slices(ROWS) if some.height]
        parts = parts or [(rows, persons)]
        for place, (some, said) in enumerate(parts, start=1):
            asked = broker_pb2.LinkRegisterRequest(
                mandate=common_pb2.Mandate(request_id=os.urandom(16).hex(), project=project, purpose=purpose),
                register=register,
                run=run,
                rows=written(some),
                persons=written(said),
                last=place == len(parts),
            )
            if opt_out is not None:
                asked.opt_out.CopyFrom(broker_pb2.OptOutBasis(basis=opt_out[0], until=opt_out[1]))
            self._broker().call(f"{SERVICE}LinkRegister", asked, broker_pb2.LinkRegisterResponse)

    def numbers(
        self, project: str, purpose: str, recipient: str, rows: pl.DataFrame, place: tuple[str, int, bool]
    ) -> tuple[bytes, pl.DataFrame]:
        """Numbers of persons (handle, pid), sealed by the broker to a holder, and the handles that are in it.

        Args:
            project, purpose, recipient: of the exchange.
            rows: at most `ROWS`.
            place: the day on which the exchange ends, the number of the part, and whether it is the last.

        Raises:
            PeerUnavailableError, PeerRefusedError: the broker cannot be asked, or has no such exchange.
        """
        ends, number, last = place
        asked = broker_pb2.SealNumbersRequest(
            mandate=common_pb2.Mandate(request_id=os.urandom(16).hex(), project=project, purpose=purpose),
            recipient=recipient,
            rows=written(rows),
            number=number,
            last=last,
            ends=ends,
        )
        answer = self._broker().call(f"{SERVICE}SealNumbers", asked, broker_pb2.SealNumbersResponse)
        handles = pl.read_ipc_stream(io.BytesIO(answer.handles)).select(pl.col("handle").str.decode("hex"))
        return answer.sealed, handles

    def _tell(self, message: Untold) -> None:
        if message.changes.is_empty():
            return
        standing = self._people.standing(message.kind, message.changes["before"].unique())
        left = pl.col("before").is_in(standing["holder"].implode())
        changes = message.changes.with_columns(left=pl.when(left).then(pl.lit("yes")).otherwise(pl.lit("no")))
        for some in changes.sort("before", "after").iter_slices(ROWS):
            concerned = message.members.filter(
                pl.col("holder").is_null() | pl.col("holder").is_in(some["after"].implode())
            )
            for part in concerned.iter_slices(ROWS) if concerned.height else [concerned]:
                asked = broker_pb2.MoveSubjectsRequest(
                    mandate=common_pb2.Mandate(request_id=os.urandom(16).hex(), purpose=PURPOSE),
                    kind=KINDS[message.kind],
                    changes=written(some),
                    members=written(part),
                )
                self._broker().call(f"{SERVICE}MoveSubjects", asked, broker_pb2.MoveSubjectsResponse)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.settle()
            except Exception as error:  # the next round tries again
                self._failed(getattr(error, "reason", type(error).__name__))
            self._wanted.wait(EVERY)
            self._wanted.clear()
