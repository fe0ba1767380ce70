"""What the attributes role learns by asking the broker: whose its rows are, and who was erased.

    broker ──(row_ref, aid, family aid)──▶ attach ──▶ stored ──(row_refs)──▶ broker forgets ──▶ forgotten here
           ──(rows and outcomes of registers)──▶ `pseudonym.roles.links`
           ──(handle, aid before, aid now)──▶ follow ──(how far)──▶ broker forgets
    broker ──(erased aids)──▶ ledger ──▶ erased ──(certificate)──▶ broker forgets

Each step may be done again: what a crash or a lost answer cuts off is taken up by the next round.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Sequence

import polars as pl

from pseudonym.access import Mandate
from pseudonym.attributes import Attributes
from pseudonym.errors import PseudonymError
from pseudonym.roles import links
from pseudonym.roles.arrow import ROWS, ReadArrow, frame, written
from pseudonym.roles.checks import KINDS
from pseudonym.roles.destroying import Certify
from pseudonym.roles.peer import Peer
from pseudonym.roles.refusals import PeerRefusedError, PeerUnavailableError, ProjectUnknownError
from pseudonym.roles.rounds import Rounds
from pseudonym.urn import Kind
from pseudonym.v1 import broker_pb2, common_pb2

SERVICE = "/pseudonym.v1.BrokerService/"
PURPOSE = "storing-attributes"
ACTOR = "role/attributes"
EVERY = 5.0  # seconds between rounds, where rows wait
MOVES_EVERY = 20.0  # seconds between two questions what moved, where none wait
PATIENCE = 3.0  # seconds for which a broker that is down is asked again: a stop waits for it
ASK_EVERY = 60.0  # seconds between two questions who was erased
IDLE = 4  # times as long as a round took that found nothing to store, the next one waits
PURGED_FOR = 20  # times as long as a purge took, the next one waits: it rewrites the whole database


class Exchange:
    """The attributes role's way to the broker."""

    def __init__(
        self,
        attributes: Attributes,
        certify: Certify,
        broker: Callable[[], Peer],
        read: ReadArrow,
        failed: Callable[[str], object] = lambda reason: None,
        unmarked: Callable[[], set[bytes]] = set,
    ) -> None:
        """Prepare it; nothing runs before its `rounds` start.

        Args:
            attributes: the attribute store's operations.
            certify: signs what was erased.
            broker: gives the broker, or raises why it cannot be called.
            read: see `ReadArrow`.
            failed: is told the reason when a round does not succeed.
            unmarked: notes of people what may not be done with their data, as far as the broker was told; of
                whom that is left to do. Their rows wait.
        """
        self._attributes, self._broker, self._read = attributes, broker, read
        self._certify, self._unmarked = certify, unmarked
        self._round = threading.Lock()
        self.rounds = Rounds("exchange", self._work, failed)
        self._asked, self._followed = -ASK_EVERY, -MOVES_EVERY
        self._purged, self._purging = -math.inf, 0.0
        self._failed = failed

    def check_begun(self, project: str) -> None:
        """Refuse a project that the broker does not know; a broker that is away refuses nothing.

        Raises:
            ProjectUnknownError: it has not begun.
            PeerRefusedError: the broker refuses it for another reason.
        """
        asked = broker_pb2.ListRowsRequest(project=project, page_size=1)
        try:
            self._broker().call(f"{SERVICE}ListRows", asked, broker_pb2.ListRowsResponse, PATIENCE)
        except PeerUnavailableError:
            return
        except PeerRefusedError as refused:
            if refused.code != "NOT_FOUND":
                raise
            raise ProjectUnknownError(
                "The project has not begun at the broker.",
                "A key custodian begins it there first: kinlink project begin.",
            ) from None

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
                if rows.height:  # the broker had the marks of whom it offers before
                    rows = rows.filter(~pl.col("aid").is_in(list(self._unmarked())))
                done = self._attributes.intake.attach(project, rows.rename({"family_aid": "family"}))
                if done.height:
                    self._acknowledge(project, done)
                stored, token = stored + done.height, page.next_page_token
                if not token:
                    break
            stored += links.settle(
                self._attributes,
                self._broker,
                self._read,
                self._acknowledge,
                project,
                Mandate(ACTOR, PURPOSE),
            )
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

    def follow(self) -> int:
        """Erase whom the broker has erased, and say so; how many erasures were followed.

        Raises:
            PeerUnavailableError, PeerRefusedError: the broker cannot be asked.
        """
        asked = broker_pb2.ListErasuresRequest()
        answer = self._broker().call(
            f"{SERVICE}ListErasures", asked, broker_pb2.ListErasuresResponse, PATIENCE
        )
        for notice in answer.erasures:
            aids = {one.project: list(one.aids) for one in notice.erased}
            who = Mandate(notice.requester, notice.purpose)
            counts = self._attributes.erasure.erase_aids(aids, who)
            # How many rows somebody had is for this role to know; the certificate goes on to the others.
            shown = {"a_subject": counts.get("a_subject", 0)}
            what = "The attributes of persons, in all projects."
            done = broker_pb2.AcknowledgeErasureRequest(
                mandate=_mandate(notice.project, notice.purpose),
                erasure_id=notice.erasure_id,
                certificate=self._certify(notice.project, what, (notice.requester,), shown),
            )
            self._broker().call(f"{SERVICE}AcknowledgeErasure", done, broker_pb2.AcknowledgeErasureResponse)
        return len(answer.erasures)

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

    def issue(
        self, project: str, recipient: str, kind: Kind, aids: Sequence[bytes], purpose: str
    ) -> list[str]:
        """A recipient's numbers of persons or families, in the order of their aids.

        Raises:
            PeerUnavailableError, PeerRefusedError: the broker cannot be asked.
        """
        numbers: list[str] = []
        for some in pl.DataFrame({"aid": aids}, schema={"aid": pl.Binary}).iter_slices(ROWS):
            request = broker_pb2.IssueUrnsRequest(
                mandate=_mandate(project, purpose),
                recipient=recipient,
                kind=KINDS[kind],
                arrow=written(some),
            )
            answer = self._broker().call(f"{SERVICE}IssueUrns", request, broker_pb2.IssueUrnsResponse)
            numbers += frame(self._read, answer.arrow, (), ("urn",))["urn"].to_list()
        return numbers

    def record_keys(self, project: str, aids: pl.Series, purpose: str) -> pl.Series:
        """The record keys, 0 to 255, of persons or families, in the order of their aids.

        Raises:
            PeerUnavailableError, PeerRefusedError: the broker cannot be asked.
        """
        keys = b""
        for some in pl.DataFrame({"aid": aids}).iter_slices(ROWS):
            request = broker_pb2.ListRecordKeysRequest(project=project, purpose=purpose, arrow=written(some))
            answer = self._broker().call(
                f"{SERVICE}ListRecordKeys", request, broker_pb2.ListRecordKeysResponse
            )
            keys += answer.keys
        return pl.Series("key", list(keys), dtype=pl.Int64)

    def _acknowledge(self, project: str, done: pl.DataFrame, run: int = 0) -> None:
        for some in done.iter_slices(ROWS):
            request = broker_pb2.AcknowledgeRowsRequest(
                mandate=_mandate(project, PURPOSE), arrow=written(some), run=run
            )
            self._broker().call(f"{SERVICE}AcknowledgeRows", request, broker_pb2.AcknowledgeRowsResponse)
            self._attributes.intake.forget(project, some)

    def _work(self) -> float:
        now = time.monotonic()
        if now >= self._asked + ASK_EVERY:
            self.follow()
            self._asked = now
        projects = set(self._attributes.intake.expecting())
        if now >= self._followed + MOVES_EVERY:
            projects |= set(self._attributes.projects())
            self._followed = now
        stored = [self._try(project) for project in sorted(projects)]
        if None in stored:
            return MOVES_EVERY  # however long it took until it failed
        if any(stored):
            return EVERY
        # Some rows wait for days for values that never come: what asks for them does so all the time.
        wait = max(EVERY, IDLE * (time.monotonic() - now))
        self._purge()
        return wait

    def _try(self, project: str) -> int | None:
        """How many rows of a project were stored; None if that failed: the others need not wait for it."""
        try:
            return self.settle(project)
        except PseudonymError as error:
            self._failed(error.reason)
            return None

    def _purge(self) -> None:
        """Purge what was dropped, once nothing more comes."""
        began = time.monotonic()
        if began < self._purged + PURGED_FOR * self._purging:
            return
        if self._attributes.intake.purge():
            self._purged = time.monotonic()
            self._purging = self._purged - began


def _mandate(project: str, purpose: str) -> common_pb2.Mandate:
    return common_pb2.Mandate(request_id=os.urandom(16).hex(), project=project, purpose=purpose)
