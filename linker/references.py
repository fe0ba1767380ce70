"""The references that the service holds: loaded, asked, changed, and there again after a restart.

    load ──▶ noted in the store ──loader──▶ submission + model + changes on disk ──▶ READY
    put, remove ──▶ change on disk ──▶ noted in the store ──▶ in memory ──▶ answered

Invariants: whatever change was answered is on disk and counts at the next start; a change is in memory only
once it is noted; changes of a reference come one after another, sealed under the key of the reference.
"""

from __future__ import annotations

import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from linker import durable
from linker.changes import Changes, removal
from linker.destruction import destroy_doomed, remove
from linker.errors import LinkerError
from linker.events import event
from linker.intake import Intake
from linker.model import Model
from linker.reference import Reference, checked
from linker.refusals import Invalid, NotFound, NotReady, Unavailable
from linker.resources import Answer, FieldReading, Limits, Mandate, Problem, ReferenceState, StoredReference
from linker.store import Store
from linker.vaulted import Folder, check_sealed

WORD = "ref"  # at the start of the id of a reference
QUERY_ID = "record_id"  # of an upload

FOLD = 256  # changes after which their files are folded into one


@dataclasses.dataclass
class _Held:
    """A reference in memory.

    Attributes:
        stored: as the store has it.
        changes: its files.
        lock: held by who changes it.
        engine: what answers; None until it is loaded.
        problem: why it could not be loaded, or None.
        dropped: whether it is gone.
    """

    stored: StoredReference
    changes: Changes
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    engine: Reference | None = None
    problem: Problem | None = None
    dropped: bool = False

    def described(self) -> StoredReference:
        if self.problem is not None:
            return dataclasses.replace(self.stored, state=ReferenceState.FAILED, problem=self.problem)
        if self.engine is None:
            return self.stored
        fields = tuple(
            FieldReading(one.name, str(one.kind), one.columns, one.why) for one in self.engine.fields
        )
        return dataclasses.replace(
            self.stored, state=ReferenceState.READY, records=len(self.engine), fields=fields
        )


class References:
    """The references of one data folder; its methods may be called from any thread."""

    def __init__(self, store: Store, intake: Intake, folder: Path, limits: Limits) -> None:
        """Remove what a crash left; nothing is loaded yet.

        Args:
            store: where they are noted.
            intake: where their records come from.
            folder: where their changes are kept, one folder a reference.
            limits: how many there may be.

        Raises:
            LinkerError: the folder holds files in the clear.
        """
        self._store, self._intake, self._folder, self.limits = store, intake, folder, limits
        self._held: dict[tuple[str, str], _Held] = {}  # by project and name
        self._holding = threading.Lock()
        self._loading: queue.SimpleQueue[_Held] = queue.SimpleQueue()
        durable.make_folder(folder)
        check_sealed(folder)
        destroy_doomed(store, WORD, folder)
        for stored in store.references.all():
            self._hold(stored)
        known = {held.stored.reference_id for held in self._held.values()}
        for left in folder.iterdir():
            if left.name not in known:
                remove(left)

    def start(self) -> None:
        """Begin to load what there is."""
        threading.Thread(target=self._load_all, daemon=True).start()

    # --- resources -------------------------------------------------------------------------------

    def load(
        self, mandate: Mandate, name: str, submission_id: str, model_name: str, digest: bytes
    ) -> StoredReference:
        """Begin to load a reference, or find the one that the same request made.

        Raises:
            NotFound: the submission or the model is not there.
            NotReady: the submission is not complete, or it was refused.
            Conflict: the name or the request id is taken.
            Exhausted: there are too many references.
        """
        submission = self._store.submissions.get(mandate.project, submission_id=submission_id)
        self._intake.check_ready(submission)
        model, _ = self._store.models.get(mandate.project, model_name)
        stored = self._store.references.add(
            mandate, name, submission_id, (model_name, model.digest), digest, self.limits.references
        )
        self._hold(stored)
        return self.get(mandate.project, name)

    def get(self, project: str, name: str) -> StoredReference:
        """The reference of this name as it is now.

        Raises:
            NotFound: there is none in the project.
        """
        return self._described(self._store.references.get(project, name))

    def page(self, project: str, after: str, count: int) -> list[StoredReference]:
        """At most `count` references by name, after a name."""
        return [self._described(stored) for stored in self._store.references.page(project, after, count)]

    def drop(self, mandate: Mandate, name: str, digest: bytes) -> None:
        """Forget a reference, and destroy its changes: their key first, then their files.

        Raises:
            NotFound: there is none in the project.
        """
        reference_id = self._store.references.drop(mandate, name, digest)
        held = self._held.get((mandate.project, name))
        if held is not None and held.stored.reference_id == reference_id:
            with self._holding, held.lock:
                del self._held[mandate.project, name]
                held.dropped, held.engine = True, None
        destroy_doomed(self._store, WORD, self._folder)

    # --- records ---------------------------------------------------------------------------------

    def put(
        self,
        mandate: Mandate,
        name: str,
        ids: Sequence[str],
        values: Sequence[Mapping[str, str]],
        digest: bytes,
    ) -> StoredReference:
        """Put records; one whose id is there already is replaced.

        Raises:
            NotFound: there is no such reference.
            Unavailable, NotReady: it is not loaded.
            Invalid: a record has no id, no value, or a field that the reference does not have.
        """
        held, engine = self._ready(mandate.project, name)
        change = checked(engine.fields, ids, values)
        return self._change(held, mandate, "PutRecords", digest, change)

    def remove(self, mandate: Mandate, name: str, ids: Sequence[str], digest: bytes) -> StoredReference:
        """Remove records by their ids; an id that is not there is no error. Raises as `put` does."""
        held, engine = self._ready(mandate.project, name)
        change = removal(list(ids), [field.name for field in engine.fields])
        return self._change(held, mandate, "RemoveRecords", digest, change)

    def ask(
        self,
        project: str,
        name: str,
        values: Sequence[Mapping[str, str]],
        *,
        top: int,
        floor: float,
        explain: bool,
    ) -> list[Answer]:
        """What the reference knows of each record; see `Reference.ask`. Raises as `put` does."""
        _, engine = self._ready(project, name)
        return engine.ask(values, top=top, floor=floor, explain=explain)

    def match(
        self, project: str, name: str, records: pl.DataFrame, *, top: int, floor: float
    ) -> pl.DataFrame:
        """The candidates for each row of a chunk.

        Args:
            project, name: which reference.
            records: text: record_id, and fields of the reference.
            top, floor: as in `ask`.

        Returns:
            query_id, record_id, match_weight, match_probability, rule, lead; see `Reference.match`.

        Raises:
            NotFound, NotReady: as `ask`.
            Invalid: the chunk has a column that is no field of the reference (FIELD_INVALID).
        """
        _, engine = self._ready(project, name)
        fields = {field.name for field in engine.fields}
        wrong = [column for column in records.columns if column != QUERY_ID and column not in fields]
        if wrong or QUERY_ID not in records.columns:
            raise Invalid(
                "FIELD_INVALID",
                f"The upload needs the column {QUERY_ID}, and beside it only fields of the reference.",
                f"They are: {', '.join(sorted(fields))}.",
                field="columns",
            )
        found = engine.match(records.drop(QUERY_ID), top=top, floor=floor)
        ids = records[QUERY_ID].gather(found["query"]).alias("query_id")
        return found.drop("query").insert_column(0, ids)

    # --- inside ----------------------------------------------------------------------------------

    def _hold(self, stored: StoredReference) -> None:
        key = (stored.project, stored.name)
        with self._holding:
            if key in self._held and self._held[key].stored.reference_id == stored.reference_id:
                return
            self._store.safe.make(stored.reference_id)
            folder = Folder(self._store.safe, self._folder / stored.reference_id, stored.reference_id)
            held = self._held[key] = _Held(stored, Changes(folder))
        self._loading.put(held)

    def _described(self, stored: StoredReference) -> StoredReference:
        held = self._held.get((stored.project, stored.name))
        if held is None or held.stored.reference_id != stored.reference_id:
            return stored
        return held.described()

    def _ready(self, project: str, name: str) -> tuple[_Held, Reference]:
        held = self._held.get((project, name))
        if held is None:
            raise NotFound(
                "REFERENCE_NOT_FOUND", "There is no such reference in the project.", field="reference"
            )
        if held.problem is not None:
            raise NotReady(
                "REFERENCE_NOT_READY", "The reference could not be loaded.", "Drop it, and load it again."
            )
        if held.engine is None:
            raise Unavailable(
                "REFERENCE_NOT_READY", "The reference is being loaded.", "Try again.", retry_after=2.0
            )
        return held, held.engine

    def _change(
        self, held: _Held, mandate: Mandate, method: str, digest: bytes, change: pl.DataFrame
    ) -> StoredReference:
        with held.lock:
            stored, engine = held.stored, held.engine
            if held.dropped or engine is None:
                raise NotFound("REFERENCE_NOT_FOUND", "The reference was dropped meanwhile.")
            number = stored.changes + 1
            held.changes.write(number, change)
            if self._store.references.change(mandate, method, digest, stored.reference_id, number):
                held.stored = dataclasses.replace(stored, changes=number)
                engine.apply(change)
                if number - stored.folded >= FOLD:
                    self._fold(held)
            return held.described()

    def _fold(self, held: _Held) -> None:
        stored = held.stored
        held.changes.fold(stored.folded, stored.changes)
        self._store.references.fold(stored.reference_id, stored.changes)
        held.changes.forget(stored.changes)
        held.stored = dataclasses.replace(stored, folded=stored.changes)

    def _load_all(self) -> None:
        while True:
            held = self._loading.get()
            began, reason = time.monotonic(), ""
            try:
                self._load(held)
            except LinkerError as error:
                held.problem, reason = Problem(error.reason, error.message, error.help), error.reason
            except BaseException as error:  # a panic of native code is no Exception
                reason = "INTERNAL"
                held.problem = Problem(reason, "The service failed at this reference.", "Ask the operator.")
                event("reference_error", logging.ERROR, exception=type(error).__name__)
            event(
                "reference_loaded",
                reference=held.stored.reference_id,
                reason=reason,
                seconds=round(time.monotonic() - began, 3),
            )

    def _load(self, held: _Held) -> None:
        stored = held.stored
        submission = self._store.submissions.get(stored.project, submission_id=stored.submission_id)
        _, text = self._store.models.get(stored.project, stored.model, stored.model_digest)
        engine = Reference(self._intake.records(submission), Model.from_json(text))
        for change in held.changes.read(stored.folded, stored.changes):
            engine.apply(change)
        with held.lock:
            if not held.dropped:
                held.engine = engine
