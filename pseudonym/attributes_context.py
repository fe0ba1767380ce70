"""What the attribute store's parts share: its tables, its keys, its ledger, and whom it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pseudonym.access import Audit
from pseudonym.datasets import Dataset
from pseudonym.erasure import Ledger, check_none_is_back
from pseudonym.keks import Keks
from pseudonym.storage.rows import Project
from pseudonym.storage.rows_attributes import AttributeRows
from pseudonym.values import Scan


@dataclass(frozen=True, slots=True)
class AttributeContext:
    """What the attribute store's parts share."""

    rows: AttributeRows
    ledger: Ledger
    keks: Keks
    scan: Scan
    audit: Audit

    def check_none_is_back(self, aids: Sequence[bytes]) -> None:
        """Refuse to open subjects who were erased, and whose rows were put back. Raises SealBrokenError."""
        check_none_is_back(self.ledger, self.rows, aids)

    def declared(self, project: str, dataset: str) -> tuple[Project, int, Dataset]:
        """A project, and a dataset's number in the tables and declaration.

        Raises:
            NotFoundError: there is no such project or dataset.
            EndedError: the project has ended.
        """
        with self.rows.read() as at:
            found = self.rows.project(at, project)
            number, declaration = self.rows.dataset(at, found.number, dataset)
        return found, number, Dataset.from_json(declaration)
