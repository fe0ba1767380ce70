"""What a release is: its specification, as it is declared in a file before anything is built.

`docs/release.md` shows one. Everything is checked here that can be without data: names, forms, limits.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self, TypeVar

from pseudonym.datasets import Tag
from pseudonym.errors import InputError
from pseudonym.requests import check_name
from pseudonym.urn import check_label

FORMAT: Final = "kinlink-release/1"
LEAST_K: Final = 3
"""Below three, whoever knows that they are in a group of two knows the other."""
USUAL_K: Final = 10
"""The threshold of ONS's Secure Research Service, for persons and for families: one family of eight would
meet another on persons by itself."""
PERSONS: Final = "persons"
FAMILIES: Final = "families"
LARGEST_TEXT: Final = 500
T = TypeVar("T")
W = TypeVar("W", bound=StrEnum)


class Form(StrEnum):
    """How a dataset comes into the file.

    `person`: at most one row a person, its columns in the table of persons. `events`: a table of its own, a
    row an event. `counts`: nothing but the counts. `links`: a row a person and register, its columns in the
    table of persons, one for each register.
    """

    PERSON = "person"
    EVENTS = "events"
    COUNTS = "counts"
    LINKS = "links"


@dataclass(frozen=True, slots=True)
class ColumnUse:
    """A column of a dataset that leaves, and how coarse.

    Attributes:
        name: the declared column.
        to: what it is called in the file.
        band: `year` or `quarter`, for months and quarters; empty for no change.
        age_on: the year on whose last day an age in years is told, instead of a year or month of birth; or 0.
        width: of bands of a number, or 0: bands begin at multiples of it.
        bottom: the least value that is told as such, or None: what is less is told as this or less.
        top: the largest, or None: what is more is told as this or more.
        recode: for codes: from each declared code to a coarser one.
        meaning: one sentence, for datasets that are no register.
    """

    name: str
    to: str = ""
    band: str = ""
    age_on: int = 0
    width: int = 0
    bottom: int | None = None
    top: int | None = None
    recode: tuple[tuple[str, str], ...] = ()
    meaning: str = ""

    def __post_init__(self) -> None:
        if self.band not in ("", "year", "quarter"):
            raise InputError(f"Column {self.name} has a band that is none.", "Bands are year and quarter.")
        if self.width < 0 or (self.bottom is not None and self.top is not None and self.bottom >= self.top):
            raise InputError(f"The bands of column {self.name} hold no value.")

    @property
    def out(self) -> str:
        """Its name in the file."""
        return self.to or self.name


@dataclass(frozen=True, slots=True)
class Count:
    """How many rows of a dataset a person has, instead of the rows.

    Attributes:
        to: the column of the table of persons; families get `members_` and this: how many members have any.
        column: only rows with certain codes or flags of this column, or empty for all.
        codes: these; for flags `true` or `false`.
        top: the largest number that is told as such.
        meaning: one sentence, for the data dictionary.
    """

    to: str
    top: int
    column: str = ""
    codes: tuple[str, ...] = ()
    meaning: str = ""

    def __post_init__(self) -> None:
        if bool(self.column) != bool(self.codes) or self.top < 1:
            raise InputError(
                f"Count {self.to} needs a top of 1 or more, and a column only with codes.", "Give both."
            )


@dataclass(frozen=True, slots=True)
class Use:
    """What leaves of one dataset.

    Attributes:
        name: the dataset's.
        form: see `Form`.
        columns: that leave.
        counts: numbers of rows instead of rows.
        opt_out: for health data: `applied`, or `exempt: ` and the reason why the opt-out does not apply.
        latest: for `person`, a column of months, quarters or years: of a person's rows the latest is taken,
            and of several the one that is first in the order of all that is read.
    """

    name: str
    form: Form
    columns: tuple[ColumnUse, ...] = ()
    counts: tuple[Count, ...] = ()
    opt_out: str = ""
    latest: str = ""

    def __post_init__(self) -> None:
        check_label(self.name, "dataset")
        if self.latest and self.form is not Form.PERSON:
            raise InputError(f"Dataset {self.name} has one row a person only where its form is person.")
        if (self.form is Form.COUNTS and self.columns) or not (self.columns or self.counts):
            raise InputError(f"Dataset {self.name} gives nothing, or columns where it gives counts alone.")

    @property
    def reads(self) -> list[str]:
        """The declared columns that are read."""
        names = [one.name for one in self.columns] + [one.column for one in self.counts if one.column]
        names += [self.latest] if self.latest else []
        return list(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class Sensitive:
    """A column of which no group may have too few values."""

    column: str
    l: int = 2  # noqa: E741 - as the literature calls it


@dataclass(frozen=True, slots=True)
class QuasiSet:
    """Columns by which, together, somebody might be known.

    Attributes:
        name: what the report calls it.
        columns: of one table, after banding.
        table: `persons`, `families` or a dataset's.
        k: the least persons in each combination that occurs (no matter for families).
        families: the least families.
        suppress: the largest share of the table's persons whose values of these columns may be blanked to
            meet it; 0 for none.
        sensitive: columns of the same table for l-diversity.
    """

    name: str
    columns: tuple[str, ...]
    table: str = PERSONS
    k: int = USUAL_K
    families: int = USUAL_K
    suppress: float = 0.0
    sensitive: tuple[Sensitive, ...] = ()

    def __post_init__(self) -> None:
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise InputError(f"Set {self.name} has no columns, or one twice.")
        if min(self.k, self.families) < LEAST_K:
            raise InputError(f"Set {self.name} asks for less than {LEAST_K} persons or families.")
        if not 0 <= self.suppress <= 0.2 or any(one.l < 2 for one in self.sensitive):
            raise InputError(f"Set {self.name} blanks up to a fifth, and has an l of 2 or more.")
        if set(self.columns) & {one.column for one in self.sensitive}:
            raise InputError(f"A column of set {self.name} is a sensitive one of it too.")


@dataclass(frozen=True, slots=True)
class Spec:
    """A release, as it is declared.

    Attributes:
        name: of the form of a project's.
        project, recipient: whose numbers it carries.
        title: one line.
        use: what for, as the registers' declarations name it.
        purpose: the code of the purpose that stands in the audit log.
        expires: from when on it cannot be read and has to be destroyed at the recipient.
        sealing_key: the recipient's X25519 key.
        signing_key: the recipient's Ed25519 key, which signs that it destroyed the file.
        researchers: the persons who may fetch it.
        approvers: the names of those who may approve it, in the attributes role's register of approvers.
        datasets: what leaves of which.
        sets: by what somebody might be known.
        population: the dataset whose persons are meant; empty: everybody who has a row in one of the
            datasets.
        tags: the tags that its columns may have.
        most_members: the largest number of members of a family that is told as such.
    """

    name: str
    project: str
    recipient: str
    title: str
    use: str
    purpose: str
    expires: datetime
    sealing_key: bytes
    signing_key: bytes
    researchers: tuple[str, ...]
    approvers: tuple[str, ...]
    datasets: tuple[Use, ...]
    sets: tuple[QuasiSet, ...]
    population: str = ""
    tags: frozenset[Tag] = frozenset()
    most_members: int = 6

    def __post_init__(self) -> None:
        for text, what in ((self.name, "release"), (self.project, "project"), (self.recipient, "recipient")):
            check_label(text, what)
        for person in (*self.researchers, *self.approvers):
            check_name(person, "a researcher or approver")
        if self.expires.tzinfo is None or self.expires.microsecond:
            raise InputError("A release expires at a time in whole seconds, with its time zone.")
        if (len(self.sealing_key), len(self.signing_key)) != (32, 32):
            raise InputError("The recipient's keys are 64 hexadecimal digits each.")
        if len(set(self.approvers)) < 2 or not self.researchers:
            raise InputError("A release names two approvers or more, and who may read it.")
        names = [one.name for one in self.datasets]
        tables = {one.name for one in self.datasets if one.form is Form.EVENTS}
        if not names or len(set(names)) != len(names) or {PERSONS, FAMILIES} & tables:
            raise InputError("A release has datasets, each once, and no events called persons or families.")
        if self.population and self.population not in names:
            raise InputError("The population is one of the release's datasets.")
        if len({one.name for one in self.sets}) != len(self.sets):
            raise InputError("Two sets have one name.")
        if not any(one.table == PERSONS for one in self.sets):
            raise InputError(
                "No set says by which columns of the table of persons somebody might be known.",
                "Declare one, with the columns that others could know of a person.",
            )
        if self.most_members < 2 or not 0 < len(self.title) <= LARGEST_TEXT:
            raise InputError("A release has a title of one line, and most_members of 2 or more.")

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read a specification's file.

        Raises:
            InputError: it is none, or asks for what cannot be.
        """
        try:
            content = toml(text, "specification")
            if content.pop("format", None) != FORMAT:
                raise InputError(f"A specification begins with format = {FORMAT!r}.")
            for key in ("sealing_key", "signing_key"):
                content[key] = bytes.fromhex(content[key])
            content["expires"] = _moment(content["expires"])
            content["tags"] = frozenset(map(Tag, content.get("tags", ())))
            content["datasets"] = tuple(_use(one) for one in content["datasets"])
            content["sets"] = tuple(_set(one) for one in content["sets"])
            return made(cls, content)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError(
                "The specification cannot be read as one: something is missing, or not of its form.",
                "docs/release.md shows its form.",
            ) from None


def digest(text: str) -> bytes:
    """What a specification is known by: SHA-256 of its file."""
    return hashlib.sha256(text.encode()).digest()


def _moment(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError
    return value


def _use(one: Mapping[str, Any]) -> Use:
    given = dict(one)
    given["form"] = Form(given["form"])
    given["columns"] = tuple(
        made(ColumnUse, {**column, "recode": tuple(column.get("recode", {}).items())})
        for column in given.get("columns", ())
    )
    given["counts"] = tuple(made(Count, count) for count in given.get("counts", ()))
    return made(Use, given)


def _set(one: Mapping[str, Any]) -> QuasiSet:
    given = dict(one)
    given["sensitive"] = tuple(made(Sensitive, column) for column in given.get("sensitive", ()))
    return made(QuasiSet, given)


def made(kind: type[T], given: Mapping[str, Any]) -> T:
    """A frozen object of a table of the file; members that it does not have are refused by name."""
    known = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    strange = sorted(set(given) - known)
    if strange:
        raise InputError(
            f"A part of the specification says {', '.join(strange)}, which it cannot.",
            f"It may say {', '.join(sorted(known))}.",
        )
    needed = {
        one.name
        for one in fields(kind)  # type: ignore[arg-type]
        if one.default is MISSING and one.default_factory is MISSING
    }
    if lacking := sorted(needed - set(given)):
        raise InputError(f"A part of the specification lacks {', '.join(lacking)}.", "Say what it is there.")
    return kind(**{name: _frozen(value) for name, value in given.items()})


def toml(text: str, what: str) -> dict[str, Any]:
    """What a file says. Raises InputError, with the line, where it is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"The {what} is no TOML: {error}.", "Mend that line.") from None


def word(kind: type[W], said: object, name: str) -> W:
    """A word of a closed list. Raises InputError, with the list, for another."""
    try:
        return kind(str(said))
    except ValueError:
        raise InputError(f"What stands at {name} is no word for it.", f"Write {', '.join(kind)}.") from None


def other_use(what: str, project: str, purpose: str) -> InputError:
    """Why a specification, or a table's declaration, is not for a call."""
    return InputError(
        f"The {what} is for project {project}, purpose {purpose}; the call is for others.",
        "Change it, or call with its own.",
    )


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else value
