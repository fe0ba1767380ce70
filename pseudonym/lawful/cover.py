"""Whether a use is covered: asked before anything is done, refused with a reason code.

The rules this module keeps:

- Every use names a project and a purpose, and the purpose stands on a lawful basis (`BASIS_MISSING`).
- A purpose that goes through an accredited gateway needs the project and the processor accredited on the day
  (`ACCREDITATION_MISSING`, `ACCREDITATION_EXPIRED`), and whoever reads for it as well.
- A dataset is used for the purposes that name it (`DATASET_NOT_COVERED`).
- Attributes of special categories and of criminal offences need the purpose's condition
  (`CONDITION_MISSING`), and a reader who was let in to them (`READER_NOT_COVERED`).
- What goes outside has its reason (`SHARING_REASON_MISSING`).
- What is stored has a schedule that says how long, and why (`SCHEDULE_MISSING`); nothing that is given out is
  kept after the project's end (`RETENTION_MAXIMUM`).

Where the governance file has no record of a project, nothing is covered in production; in development, with
made-up data, nobody is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from pseudonym.datasets import Tag
from pseudonym.errors import LawError
from pseudonym.lawful.records import BASES, CRIMINAL, GATEWAYS, SPECIAL, ProjectRecord, Purpose
from pseudonym.lawful.sharing import Sharing
from pseudonym.retention.schedules import EVERY, Store

_FILE: Final = "of the role's governance file; docs/lawfulness.md shows the form."


@dataclass(frozen=True, slots=True)
class Cover:
    """What one role was told of projects.

    Attributes:
        records: by project.
        required: whether a project without a record is refused: in production.
    """

    records: Mapping[str, ProjectRecord] = field(default_factory=dict)
    required: bool = False

    def check(self, project: str, purpose: str, today: date) -> Purpose | None:
        """Let a use in.

        Returns:
            The purpose; None where nobody is asked.

        Raises:
            LawError: it is not covered.
        """
        record = self.records.get(project)
        if record is None:
            if not self.required:
                return None
            raise LawError(
                "BASIS_MISSING",
                "Nobody said on what basis this project uses anybody's data.",
                f"Add its record, with its purposes, under projects {_FILE}",
            )
        found = record.purposes.get(purpose)
        if found is None:
            raise LawError(
                "BASIS_MISSING",
                "The project has no such purpose with a lawful basis.",
                f"It has {', '.join(sorted(record.purposes))}; another is added under its purposes {_FILE}",
            )
        if found.gateway:
            for of in ("project", "processor"):
                self._accredited(record, of, today)
        return found

    def check_project(self, project: str, today: date) -> None:
        """Let a use in that names no purpose: one of the project's has to be covered.

        Raises:
            LawError: none is; of the first, why.
        """
        record = self.records.get(project)
        refused = []
        for purpose in (record.purposes if record else ()) or ("",):
            try:
                self.check(project, purpose, today)
            except LawError as error:
                refused.append(error)
            else:
                return
        raise refused[0]

    def check_columns(
        self, project: str, purpose: str, datasets: Collection[str], tags: Collection[Tag], today: date
    ) -> Purpose | None:
        """As `check`, and let in datasets and kinds of attributes.

        Args:
            project, purpose: of the use.
            datasets: that are used.
            tags: of the columns that are used.
            today: the day.
        """
        found = self.check(project, purpose, today)
        if found is None:
            return None
        check_uses(found, datasets, tags)
        return found

    def check_readers(
        self, project: str, purpose: str, people: Iterable[str], tags: Collection[Tag], today: date
    ) -> None:
        """Let those in who will read.

        Args:
            project, purpose: of the use.
            people: as their certificates name them.
            tags: of the columns that they read.
            today: the day.

        Raises:
            LawError: one is not accredited where the purpose asks for it, or not for such attributes.
        """
        found = self.check(project, purpose, today)
        if found is None:
            return
        record = self.records[project]
        for person in people:
            named = [one for one in record.accreditations if one.of == "researcher" and one.person == person]
            if found.gateway:
                self._accredited(record, "researcher", today, person)
            may = frozenset[Tag]().union(*(one.may for one in named if today <= one.expires))
            if not set(tags) <= may:
                raise LawError(
                    "READER_NOT_COVERED",
                    f"A reader was not let in to {', '.join(sorted(set(tags) - may))} attributes.",
                    f'Add them to "may" of the researcher\'s accreditation {_FILE}',
                )

    def check_sharing(
        self, project: str, purpose: str, stated: Sharing | None, today: date
    ) -> Sharing | None:
        """The reason for which something goes outside: the one that is stated, else the purpose's.

        Raises:
            LawError: there is none, or the use is not covered.
        """
        found = self.check(project, purpose, today)
        if found is None:
            return stated
        return sharing_of(found, stated)

    def check_kept(self, project: str, store: Store, dataset: str = EVERY) -> None:
        """Let a store keep a dataset, or anything at all.

        Raises:
            LawError: it has no schedule.
        """
        if (record := self.records.get(project)) is not None:
            record.schedules.kept(store, dataset)

    def check_expiry(self, project: str, expires: datetime) -> None:
        """Let a recipient keep something until a time.

        Raises:
            LawError: that is after the project's end.
        """
        if (record := self.records.get(project)) is not None and expires > record.end:
            raise LawError(
                "RETENTION_MAXIMUM",
                "It would be kept after the project's end.",
                f"Let it expire on {record.end:%Y-%m-%dT%H:%M:%SZ} or earlier.",
            )

    def grounds(self, project: str, purpose: str) -> dict[str, str]:
        """What a use stands on, as manifests and audit entries say it; empty where nobody was asked."""
        record = self.records.get(project)
        return {} if record is None else grounds(record, record.purposes[purpose])

    def _accredited(self, record: ProjectRecord, of: str, today: date, person: str = "") -> None:
        found = [one for one in record.accreditations if (one.of, one.person) == (of, person)]
        whose = f"The accreditation of {'a researcher' if person else 'the ' + of}"
        if not found:
            raise LawError(
                "ACCREDITATION_MISSING",
                f"{whose} is missing, which the purpose's gateway asks for.",
                f"Add it, with its reference and last day, under accreditations {_FILE}",
            )
        if all(one.expires < today for one in found):
            last = max(one.expires for one in found)
            raise LawError(
                "ACCREDITATION_EXPIRED",
                f"{whose} expired on {last}.",
                f"Renew it, and put its new last day under accreditations {_FILE}",
            )


def check_uses(purpose: Purpose, datasets: Collection[str], tags: Collection[Tag]) -> None:
    """Refuse datasets, or kinds of attributes, that a purpose does not cover.

    Raises:
        LawError: it does not.
    """
    strange = sorted(set(datasets) - purpose.datasets)
    if strange:
        raise LawError(
            "DATASET_NOT_COVERED",
            f"The purpose does not cover {', '.join(strange)}.",
            f"Add it to the purpose's datasets {_FILE}",
        )
    unfounded = sorted(set(tags) - purpose.tags)
    if unfounded:
        names = ", ".join(tag.replace("-", "_") for tag in unfounded)
        raise LawError(
            "CONDITION_MISSING",
            f"The purpose has no condition for {', '.join(unfounded)} attributes.",
            f"Leave these columns out, or add {names} to the purpose {_FILE}",
        )


def sharing_of(purpose: Purpose, stated: Sharing | None) -> Sharing:
    """Why something goes outside: the reason that is stated, else the purpose's.

    Raises:
        LawError: there is none.
    """
    reason = stated or purpose.sharing
    if reason is None:
        raise LawError(
            "SHARING_REASON_MISSING",
            "Nothing goes outside without a reason.",
            f"Name one of {', '.join(Sharing)}, or add sharing to the purpose {_FILE}",
        )
    return reason


def grounds(record: ProjectRecord, purpose: Purpose) -> dict[str, str]:
    """What a purpose stands on, in words."""
    said = {
        "controller": record.controller,
        "processor": record.processor,
        "basis": f"UK GDPR Article {purpose.basis}: {BASES[purpose.basis]}",
    }
    if purpose.special_category:
        words = SPECIAL[purpose.special_category]
        said["special_category"] = f"UK GDPR Article {purpose.special_category}: {words}"
    if purpose.criminal_offence:
        words = CRIMINAL[purpose.criminal_offence]
        said["criminal_offence"] = f"UK GDPR Article {purpose.criminal_offence}: {words}"
    if purpose.schedule_1:
        said["schedule_1"] = purpose.schedule_1
    if purpose.gateway:
        said["gateway"] = GATEWAYS[purpose.gateway]
        for of in ("project", "processor"):
            named = [one for one in record.accreditations if one.of == of]
            if named:
                latest = max(named, key=lambda one: one.expires)
                said[f"accreditation_of_{of}"] = f"{latest.reference}, to {latest.expires}"
    return said
