"""How the attributes role learns whose its rows are: it asks the broker, stores, acknowledges, forgets.

    broker ──(row_ref, aid, family aid)──▶ attach ──▶ stored ──(row_refs)──▶ broker forgets ──▶ forgotten here
           ──(handle, aid before, aid now)──▶ follow ──(how far)──▶ broker forgets

Each step may be done again: what a crash or a lost answer cuts off is taken up by the next round.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

import polars as pl

from pseudonym.access import Mandate
from pseudonym.attributes import Attributes
from pseudonym.errors import PseudonymError
from pseudonym.roles.arrow import ROWS, ReadArrow, frame, written
from pseudonym.roles.peer import Peer
from pseudonym.v1 import broker_pb2, common_pb2

SERVICE = "/pseudonym.v1.BrokerService/"
PURPOSE = "storing-attributes"
ACTOR = "role/attributes"
EVERY = 5.0  # seconds between rounds, where rows wait
MOVES_EVERY = 20.0  # seconds between two questions what moved, where none wait
DAY = 86_400.0


class Exchange:
    """The attributes role's way to the broker."""

    def __init__(
        self,
        attributes: Attributes,
        broker: Callable[[], Peer],
        read: ReadArrow,
        failed: Callable[[str], object] = lambda reason: None,
    ) -> None:
        """Prepare it; nothing runs before `start`.

        Args:
            attributes: the attribute store's operations.
            broker: gives the broker, or raises why it cannot be called.
            read: see `ReadArrow`.
            failed: is told the reason when a round does not succeed.
        """
        self._attributes, self._broker, self._read, self._failed = attributes, broker, read, failed
        self._stop, self._wanted = threading.Event(), threading.Event()
        self._round = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="exchange", daemon=True)

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
        """Begin a round at once: rows came."""
        self._wanted.set()

    def settle(self, project: str) -> int:
        """Store what the broker knows of a project's rows, and follow what moved; how many rows were stored.

        Raises:
            PeerUnavailableError, PeerRefusedError: the broker cannot be asked.
        """
        stored, token = 0, ""
        with self._round:
            while True:
                asked = broker_pb2.ListRowsRequest(project=project, page_token=token)
                page = self._broker().call(f"{SERVICE}ListRows", asked, broker_pb2.ListRowsResponse)
                rows = frame(self._read, page.arrow, ("row_ref", "aid", "family_aid", "handle"))
                done = self._attributes.intake.attach(project, rows.rename({"family_aid": "family"}))
                if done.height:
                    self._acknowledge(project, done)
                stored, token = stored + done.height, page.next_page_token
                if not token:
                    break
            self._follow(project)
        return stored

    def _follow(self, project: str) -> None:
        """Follow what became of people; after the rows, so that none comes later under who they were."""
        moves = self._attributes.moves
        more = True
        while more:
            asked = broker_pb2.FollowMovesRequest(
                mandate=_mandate(project, PURPOSE), after=moves.followed(project)
            )
            page = self._broker().call(f"{SERVICE}FollowMoves", asked, broker_pb2.FollowMovesResponse)
            found = self._read(page.arrow, ["number", "what", "handle", "old_aid", "new_aid"])
            ids = (pl.col(name).str.decode("hex") for name in ("handle", "old_aid", "new_aid"))
            told = found.with_columns(*ids, pl.col("number").cast(pl.Int64))
            if told.height:
                moves.follow(project, told, Mandate(ACTOR, PURPOSE))
            more = page.more

    def resolve(self, project: str, recipient: str, urns: Sequence[str], purpose: str) -> pl.DataFrame:
        """The aids behind a recipient's numbers.

        Returns:
            Columns `aid` (binary, null for what is not known) and `reason`.
        """
        request = broker_pb2.ResolveAidsRequest(
            mandate=_mandate(project, purpose),
            recipient=recipient,
            arrow=written(pl.DataFrame({"urn": urns}, schema={"urn": pl.String})),
        )
        answer = self._broker().call(f"{SERVICE}ResolveAids", request, broker_pb2.ResolveAidsResponse)
        return frame(self._read, answer.arrow, ("aid",), ("reason",))

    def _acknowledge(self, project: str, done: pl.DataFrame) -> None:
        for some in done.iter_slices(ROWS):
            request = broker_pb2.AcknowledgeRowsRequest(
                mandate=_mandate(project, PURPOSE), arrow=written(some)
            )
            self._broker().call(f"{SERVICE}AcknowledgeRows", request, broker_pb2.AcknowledgeRowsResponse)
            self._attributes.intake.forget(project, some)

    def _run(self) -> None:
        dropped = time.monotonic()
        followed = -MOVES_EVERY
        while not self._stop.is_set():
            try:
                projects = {waiting.project for waiting in self._attributes.intake.waiting()}
                if time.monotonic() - followed > MOVES_EVERY:
                    followed = time.monotonic()
                    projects |= set(self._attributes.projects())
                for project in sorted(projects):
                    self._try(project)
                if time.monotonic() - dropped > DAY:
                    self._attributes.intake.drop_overdue()
                    dropped = time.monotonic()
            except Exception as error:  # the next round tries again
                self._failed(getattr(error, "reason", type(error).__name__))
            self._wanted.wait(EVERY)
            self._wanted.clear()

    def _try(self, project: str) -> None:
        try:
            self.settle(project)
        except PseudonymError as error:  # the other projects need not wait for this one
            self._failed(error.reason)


def _mandate(project: str, purpose: str) -> common_pb2.Mandate:
    return common_pb2.Mandate(request_id=os.urandom(16).hex(), project=project, purpose=purpose)
