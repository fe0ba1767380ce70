"""How what goes out by approval is kept: releases and tables, a sealed record each.

The rule this module keeps: everything but names and random ids is sealed under a key of its own, which is
wrapped under a key-encrypting key and renewed with it. Nobody but the attributes role opens it.
"""

from __future__ import annotations

import io
import json
import os
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Generic, TypeVar

from pseudonym.attribute_subjects import unwrapped
from pseudonym.attributes_context import AttributeContext
from pseudonym.errors import NotFoundError
from pseudonym.release.bundle import ID_BYTES
from pseudonym.seal import new_deks
from pseudonym.sealed_files import SealedFile, seal_parts
from pseudonym.storage.rows_sealed import Sealed, SealedRows

_RECORD: Final = "record"


@dataclass(frozen=True, slots=True)
class Named:
    """What every record has.

    Attributes:
        id: 16 random bytes.
        project, name: whose it is.
    """

    id: bytes
    project: str
    name: str


R = TypeVar("R", bound=Named)
S = TypeVar("S", bound=Sealed)


class Records(ABC, Generic[R, S]):
    """The kept records of one kind of one attribute store."""

    WHAT: str
    """What one is called in errors."""

    def __init__(self, context: AttributeContext, rows: SealedRows[S]) -> None:
        self._context, self._rows = context, rows

    def now(self) -> int:
        """The store's clock: seconds since 1970."""
        return self._context.rows.store.now()

    def add(self, record: R) -> R:
        """Keep a new one, under a random id.

        Raises:
            DuplicateError: the project has one of this name.
            NotFoundError, EndedError: there is no such project, or it has ended.
        """
        made = replace(record, id=os.urandom(ID_BYTES))
        (key,) = new_deks(1)
        rows = self._context.rows
        with rows.write() as at:
            rows.alone(at)  # the key-encrypting key stays the present one until this is on disk
            project = rows.project(at, made.project)
            kek = self._context.keks.current
            (wrapped,) = kek.wrap_all([key], [made.id])
            self._rows.add(at, self._row(made, project.number, kek.kid, wrapped, _sealed(key, made)))
        return made

    def get(self, project: str, name: str) -> R:
        """One by its name.

        Raises:
            NotFoundError: there is none, or no such project.
        """
        return self._opened(self._found(project, name))

    def all(self, project: str) -> list[R]:
        """All of a project, by name."""
        rows = self._context.rows
        with rows.read() as at:
            found = self._rows.of_project(at, rows.project(at, project).number)
        return [self._opened(one) for one in found]

    @abstractmethod
    def _row(self, record: R, project: int, kid: str, wrapped: bytes, ct: bytes) -> S:
        """The row of a new record."""

    @abstractmethod
    def _read(self, content: dict[str, Any]) -> R:
        """A record of what was sealed, in plain types but for its id."""

    def _found(self, project: str, name: str) -> S:
        rows = self._context.rows
        with rows.read() as at:
            found = self._rows.get(at, rows.project(at, project).number, name)
        if found is None:
            raise NotFoundError(f"The project has no {self.WHAT} of this name.", f"List its {self.WHAT}s.")
        return found

    def _sealed(self, record: R) -> bytes:
        """A kept record, sealed anew."""
        return _sealed(self._key(self._found(record.project, record.name)), record)

    def _key(self, found: S) -> bytes:
        return unwrapped(self._context.keks, [(found.id, found.kid, found.wrapped)])[0]

    def _opened(self, found: S) -> R:
        sealed = SealedFile(self._key(found), found.id.hex(), _RECORD, io.BytesIO(found.ct))
        content: dict[str, Any] = json.loads(sealed.end)
        return self._read({**content, "id": bytes.fromhex(content["id"])})


def _sealed(key: bytes, record: Named) -> bytes:
    content = {**asdict(record), "id": record.id.hex()}
    return b"".join(seal_parts(key, record.id.hex(), _RECORD, [], json.dumps(content).encode()))
