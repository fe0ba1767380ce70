"""The typed client of the broker and the attributes role: it chunks, digests, retries and resumes.

    with AttributesClient("attributes.example:7072", project="tf-2026", purpose="study", tls=tls) as client:
        client.submit(halves.attributes, batch_id="2026-03", dataset="families")

Every call has a deadline. A role that cannot be reached is tried again until patience is at its end, under
the same request id, so that nothing is done twice. `linker.client` is its like for the identity role.
"""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Self

import polars as pl

from pseudonym.datasets import Dataset
from pseudonym.errors import InputError
from pseudonym.halves import ROW_REF
from pseudonym.roles.arrow import ROWS, written
from pseudonym.roles.callers import Role
from pseudonym.roles.checks import KINDS
from pseudonym.roles.peer import Peer, PeerTls
from pseudonym.roles.refusals import PeerRefusedError
from pseudonym.urn import Kind
from pseudonym.v1 import attribute_pb2, broker_pb2, common_pb2

STREAM_SECONDS = 3600.0
URN = "urn"
_PATIENCE = 120.0
_BROKER, _ATTRIBUTES = "/pseudonym.v1.BrokerService/", "/pseudonym.v1.AttributeService/"


class RoleClient:
    """A connection to one role, for one project and one purpose; close it or use it as a context."""

    _role: Role

    def __init__(
        self, address: str, *, project: str, purpose: str, tls: PeerTls, patience: float = _PATIENCE
    ) -> None:
        """Prepare a connection; nothing is sent yet.

        Args:
            address: `host:port`; the host stands in the server's certificate.
            project: the project.
            purpose: the code of the purpose of the use.
            tls: the caller's certificate, and whom it trusts.
            patience: seconds for which a role that cannot be reached is tried again.
        """
        self._project, self._purpose = project, purpose
        self._peer = Peer(self._role, address, tls, patience=patience, person=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._peer.close()

    def _mandate(self, request_id: str = "") -> common_pb2.Mandate:
        return common_pb2.Mandate(
            request_id=request_id or str(uuid.uuid4()), project=self._project, purpose=self._purpose
        )


class BrokerClient(RoleClient):
    """What people and roles ask of the broker."""

    _role = Role.BROKER

    def begin_project(self) -> None:
        """Make the project's key for attribute ids, if there is none yet (key custodian)."""
        request = broker_pb2.BeginProjectRequest(mandate=self._mandate())
        self._peer.call(f"{_BROKER}BeginProject", request, broker_pb2.BeginProjectResponse)

    def open_domain(self, recipient: str, *, next_epoch: bool = False) -> int:
        """Make the recipient's first key for its numbers, if there is none; the epoch (key custodian).

        With `next_epoch` the key after the present one is made, under which its numbers are others.
        """
        request = broker_pb2.OpenDomainRequest(
            mandate=self._mandate(), recipient=recipient, next_epoch=next_epoch
        )
        return self._peer.call(f"{_BROKER}OpenDomain", request, broker_pb2.OpenDomainResponse).epoch

    def issue_urns(self, recipient: str, aids: Sequence[bytes], kind: Kind = Kind.PERSON) -> list[str]:
        """A recipient's reference numbers for attribute ids, in their order (attributes role)."""
        urns: list[str] = []
        for start in range(0, len(aids), ROWS):
            rows = pl.DataFrame({"aid": aids[start : start + ROWS]}, schema={"aid": pl.Binary})
            request = broker_pb2.IssueUrnsRequest(
                mandate=self._mandate(), recipient=recipient, kind=KINDS[kind], arrow=written(rows)
            )
            answer = self._peer.call(f"{_BROKER}IssueUrns", request, broker_pb2.IssueUrnsResponse)
            urns += pl.read_ipc_stream(io.BytesIO(answer.arrow))["urn"].to_list()
        return urns


class AttributesClient(RoleClient):
    """What councils, holders and those who look after a project ask of the attributes role."""

    _role = Role.ATTRIBUTES

    def open_project(self) -> None:
        """Open a project that the broker has begun (key custodian)."""
        request = attribute_pb2.OpenProjectRequest(mandate=self._mandate())
        self._peer.call(f"{_ATTRIBUTES}OpenProject", request, attribute_pb2.OpenProjectResponse)

    def declare(self, dataset: Dataset) -> None:
        """Declare what a dataset may hold, or that it may hold more (data protection officer)."""
        request = attribute_pb2.DeclareDatasetRequest(mandate=self._mandate(), declaration=dataset.to_json())
        self._peer.call(f"{_ATTRIBUTES}DeclareDataset", request, attribute_pb2.DeclareDatasetResponse)

    def submit(
        self, rows: pl.DataFrame, *, batch_id: str, dataset: str, chunk_rows: int = ROWS
    ) -> attribute_pb2.Submission:
        """Send attributes by row reference, going on after the last chunk that is held (council, holder).

        Args:
            rows: `row_ref` first, then the dataset's columns, all text. A record may have several rows, which
                stand together.
            batch_id: the sender's own id of the batch; the same one goes on with the same upload.
            dataset: the declared dataset.
            chunk_rows: rows of a chunk, at most 25,000.

        Returns:
            The complete submission.

        Raises:
            PeerRefusedError: the role refuses; `reason` says why. Nothing of that chunk is stored.
            PeerUnavailableError: it cannot be reached.
        """
        return self._send(rows, ROW_REF, "SubmitAttributes", batch_id, dataset, chunk_rows)

    def attach(
        self, rows: pl.DataFrame, *, batch_id: str, dataset: str, recipient: str, chunk_rows: int = ROWS
    ) -> attribute_pb2.Submission:
        """Send attributes by the reference numbers that their holder was given (holder).

        Args:
            rows: `urn` first, then the dataset's columns, all text.
            recipient: the recipient whose numbers they are.
            batch_id, dataset, chunk_rows: as in `submit`.

        Returns:
            The complete submission.

        Raises:
            As `submit`.
        """
        return self._send(rows, URN, "AttachDataset", batch_id, dataset, chunk_rows, recipient)

    def _send(
        self,
        rows: pl.DataFrame,
        id_column: str,
        method: str,
        batch_id: str,
        dataset: str,
        chunk_rows: int,
        recipient: str = "",
    ) -> attribute_pb2.Submission:
        columns = [name for name in rows.columns if name != id_column]
        header = attribute_pb2.SubmissionHeader(
            # The same batch is the same request, from whatever process it is resumed.
            mandate=self._mandate(str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._project}/{batch_id}"))),
            batch_id=batch_id,
            dataset=dataset,
            recipient=recipient,
            columns=columns,
        )
        sent = rows.select(id_column, *columns)
        # What a person is known by, a holder may send in any order; a record's rows wait together.
        each = range(0, rows.height + chunk_rows, chunk_rows)
        starts = _starts(sent[id_column], chunk_rows) if id_column == ROW_REF else list(each)
        part: Any = getattr(attribute_pb2, f"{method}Request")
        answer_of: Any = getattr(attribute_pb2, f"{method}Response")

        def messages() -> Iterator[Any]:
            return stream(self._durable(batch_id))

        def stream(durable: int) -> Iterator[Any]:
            yield part(header=header)
            for number, (start, end) in enumerate(pairwise(starts), start=1):
                if number > durable:
                    content = written(sent[start:end].rechunk())
                    digest = hashlib.sha256(content).digest()
                    yield part(chunk=attribute_pb2.Chunk(number=number, sha256=digest, arrow=content))
            yield part(end=attribute_pb2.SubmissionEnd(chunks=len(starts) - 1, rows=rows.height))

        submission: attribute_pb2.Submission = self._peer.send(
            f"{_ATTRIBUTES}{method}", messages, answer_of, STREAM_SECONDS
        ).submission
        return submission

    def submission(self, batch_id: str) -> attribute_pb2.Submission:
        """A submission by the sender's id of its batch."""
        request = attribute_pb2.GetSubmissionRequest(project=self._project, batch_id=batch_id)
        answer = self._peer.call(f"{_ATTRIBUTES}GetSubmission", request, attribute_pb2.GetSubmissionResponse)
        return answer.submission

    def refusals(self, batch_id: str) -> pl.DataFrame:
        """What was refused in a batch: `row` (from 1, in the order in which it was sent), `column`, `reason`.

        Args:
            batch_id: the sender's id of the batch.
        """
        submission = self.submission(batch_id)
        request = attribute_pb2.ListRefusalsRequest(
            project=self._project, submission_id=submission.submission_id, page_size=1_000
        )
        found: list[tuple[int, str, str]] = []
        while True:
            page = self._peer.call(f"{_ATTRIBUTES}ListRefusals", request, attribute_pb2.ListRefusalsResponse)
            found += [
                # An upload ends with the chunk that is refused: all before it are durable.
                (submission.rows + one.row + 1, one.column, one.reason)
                for one in page.refusals
            ]
            request.page_token = page.next_page_token
            if not page.next_page_token:
                schema = {"row": pl.UInt64, "column": pl.String, "reason": pl.String}
                return pl.DataFrame(found, schema=schema, orient="row")

    def _durable(self, batch_id: str) -> int:
        try:
            return self.submission(batch_id).last_durable_chunk
        except PeerRefusedError as refused:
            if refused.reason != "NOT_FOUND":
                raise
            return 0


def _starts(ids: pl.Series, most: int) -> list[int]:
    """Where chunks of at most so many rows begin and the last one ends, each record in one chunk.

    Raises:
        InputError: the rows of a record do not stand together, or are more than a chunk.
    """
    new = ids.ne_missing(ids.shift()) | (pl.int_range(len(ids), eager=True) == 0)
    if int(new.sum()) != ids.n_unique():
        raise InputError("The rows of a record do not stand together.", f"Sort them by {ids.name}.")
    first = pl.select(pl.when(new).then(pl.int_range(len(ids))).forward_fill()).to_series()
    starts = [0]
    while starts[-1] < len(ids):
        end = starts[-1] + most
        end = first[end] if end < len(ids) else len(ids)
        if end == starts[-1]:
            raise InputError(f"A record has more than {most:,} rows.", "Send what belongs to it in less.")
        starts.append(end)
    return starts
