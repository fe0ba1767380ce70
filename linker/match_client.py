"""The client's calls about references: load, ask, change, drop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

import grpc
import polars as pl

from linker import messages
from linker.errors import LinkerError
from linker.resources import Answer, ReferenceState, StoredReference
from linker.sending import CHUNK_ROWS, STREAM_SECONDS, Sent, chunks_of, service_error
from linker.v1 import common_pb2, match_pb2

RECORDS = 1_000  # of a message of a stream
POLL_SECONDS = 0.25

Values = Mapping[str, str]


class MatchCalls:
    """The part of `linker.client.Client` that asks about one person at a time."""

    _match: Any
    _project: str
    _mandate: Callable[..., common_pb2.Mandate]
    _call: Callable[[Any, Any], Any]
    _pages: Callable[[Any, Any], Iterator[Any]]

    def load_reference(
        self, name: str, submission: str, model: str, *, wait: bool = True, request_id: str = ""
    ) -> StoredReference:
        """Load a submission as a reference.

        Args:
            name: the name that it shall have in the project.
            submission: the id of the submission.
            model: the name of a model of the project.
            wait: come back only once it can be asked.
            request_id: an id to repeat when the same request is made again; a new one by default.

        Raises:
            ServiceError: the service refused it.
            LinkerError: it could not be loaded.
        """
        request = match_pb2.LoadReferenceRequest(
            mandate=self._mandate(request_id), name=name, submission_id=submission, model=model
        )
        reference = messages.reference_value(self._call(self._match.LoadReference, request).reference)
        while wait and reference.state is ReferenceState.LOADING:
            time.sleep(POLL_SECONDS)
            reference = self.reference(name)
        if reference.problem is not None:
            error = LinkerError(reference.problem.message, reference.problem.help)
            error.reason = reference.problem.reason
            raise error
        return reference

    def reference(self, name: str) -> StoredReference:
        """The reference of this name."""
        request = match_pb2.GetReferenceRequest(project=self._project, name=name)
        return messages.reference_value(self._call(self._match.GetReference, request).reference)

    def references(self) -> Iterator[StoredReference]:
        """The references of the project, by name."""
        for page in self._pages(self._match.ListReferences, match_pb2.ListReferencesRequest()):
            yield from map(messages.reference_value, page.references)

    def drop_reference(self, name: str) -> None:
        """Drop a reference with its changes; its submission stays."""
        request = match_pb2.DropReferenceRequest(mandate=self._mandate(), name=name)
        self._call(self._match.DropReference, request)

    def put_records(
        self, reference: str, records: Mapping[str, Values], *, request_id: str = ""
    ) -> StoredReference:
        """Put records into a reference; one whose id is there already is replaced.

        Args:
            reference: the name.
            records: values by the name of the field, by record id; at most 10,000.
            request_id: an id to repeat when the same request is made again; a new one by default.
        """
        request = match_pb2.PutRecordsRequest(
            mandate=self._mandate(request_id),
            reference=reference,
            records=[_record(record_id, values) for record_id, values in records.items()],
        )
        return messages.reference_value(self._call(self._match.PutRecords, request).reference)

    def remove_records(
        self, reference: str, record_ids: Iterable[str], *, request_id: str = ""
    ) -> StoredReference:
        """Remove records from a reference; an id that is not there is no error."""
        request = match_pb2.RemoveRecordsRequest(
            mandate=self._mandate(request_id), reference=reference, record_ids=list(record_ids)
        )
        return messages.reference_value(self._call(self._match.RemoveRecords, request).reference)

    def match(
        self, reference: str, values: Values, *, top: int = 5, floor: float = 0.0, explain: bool = False
    ) -> Answer:
        """The candidates for one person.

        Args:
            reference: the name.
            values: by the name of the field, as in {"surname": "Baxter"}.
            top: at most how many candidates.
            floor: match weight in bits from which a record is a candidate.
            explain: whether they come with the steps of their weights.
        """
        request = match_pb2.MatchRequest(
            project=self._project,
            reference=reference,
            record=_record("", values),
            options=match_pb2.MatchOptions(top=top, floor=floor, explain=explain),
        )
        return messages.result_value(self._call(self._match.Match, request).result)

    def match_upload(
        self,
        reference: str,
        records: pl.DataFrame | Iterable[pl.DataFrame],
        *,
        top: int = 5,
        floor: float = 0.0,
    ) -> Iterator[pl.DataFrame]:
        """The candidates for the rows of frames, a table for each chunk that is sent, in order, as they come.

        Neither side holds more than some chunks, so that there may be any number of frames.

        Args:
            reference: the name.
            records: text: record_id, and columns with the names of fields; the columns of the first frame are
                those of all. Read as the answers come.
            top, floor: as in `match`.

        Returns:
            query_id, record_id, match_weight, match_probability, rule, lead.

        Raises:
            ServiceError: the service refused the upload or broke it off; what has come holds.
            BaseException: whatever `records` raises.
        """
        frames = iter([records] if isinstance(records, pl.DataFrame) else records)
        first = next(frames, None)
        if first is None:
            return
        header = match_pb2.MatchUploadHeader(
            project=self._project,
            reference=reference,
            options=match_pb2.MatchOptions(top=top, floor=floor),
            columns=first.columns,
        )

        def stream() -> Iterator[match_pb2.MatchUploadRequest]:
            yield match_pb2.MatchUploadRequest(header=header)
            every = (frame.select(first.columns) for frame in chain([first], frames))
            for _, content in chunks_of(every, CHUNK_ROWS):
                yield match_pb2.MatchUploadRequest(arrow=content)

        for response in self._both_ways(self._match.MatchUpload, stream()):
            yield pl.read_ipc_stream(response.arrow)

    def match_stream(
        self,
        reference: str,
        records: Iterable[tuple[str, Values]],
        *,
        top: int = 5,
        floor: float = 0.0,
        explain: bool = False,
    ) -> Iterator[tuple[str, Answer]]:
        """The candidates for many people: id and answer of each, in order, as they come.

        Args:
            reference: the name.
            records: id and values of each; read as the answers come.
            top, floor, explain: as in `match`.

        Raises:
            ServiceError: the service refused the stream or broke it off; what has come holds.
            BaseException: whatever `records` raises.
        """
        header = match_pb2.MatchStreamHeader(
            project=self._project,
            reference=reference,
            options=match_pb2.MatchOptions(top=top, floor=floor, explain=explain),
        )

        def stream() -> Iterator[match_pb2.MatchStreamRequest]:
            yield match_pb2.MatchStreamRequest(header=header)
            source = iter(records)
            while some := list(islice(source, RECORDS)):
                yield match_pb2.MatchStreamRequest(
                    records=match_pb2.Records(records=[_record(*one) for one in some])
                )

        for response in self._both_ways(self._match.MatchStream, stream()):
            for result in response.results:
                yield result.record_id, messages.result_value(result)

    @staticmethod
    def _both_ways(method: Any, requests: Iterator[Any]) -> Iterator[Any]:
        """The responses of a stream, as they come; what the requests raise is raised here."""
        sent = Sent(requests)
        call = method(sent, timeout=STREAM_SECONDS)
        try:
            yield from call
        except grpc.RpcError as error:
            raise (sent.error or service_error(error)) from None
        finally:
            call.cancel()
            sent.close()
        if sent.error is not None:
            raise sent.error


def _record(record_id: str, values: Values) -> match_pb2.Record:
    return match_pb2.Record(record_id=record_id, values=values)
