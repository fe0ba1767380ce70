"""A profile: how a council's families are linked to one register, and what it takes to be sure.

    linker/profiles/NAME.toml ──▶ Profile ──▶ link_profile(left, right, NAME, on=…)

It says what the register carries and so what a link may rest on; everything else of either file is left
alone. The words that conditions are written in stand in `linker.profiles.words`.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any as Json

from linker.errors import ProfileError
from linker.records import Kind

IDENTIFIER, KEY, PROBABILISTIC, HOUSEHOLD = "identifier", "key", "probabilistic", "household"


@dataclass(frozen=True)
class Carried:
    """One field of the register.

    Attributes:
        field: its name here: a kind's, or `<kind>_2` for another value of the kind, as an alias is.
        kind: what it is.
        headings: the headings it may stand under, in small letters without spaces and signs.
    """

    field: str
    kind: Kind
    headings: tuple[str, ...]


@dataclass(frozen=True)
class Key:
    """A rule that decides by itself: an identifier with what must bear it out, or a matchkey.

    Attributes:
        name: unique in the profile; outcomes bear it.
        label: words for people.
        stage: "identifier" or "key".
        equal: sets of (left, right) columns, of which one set must agree in full.
        where: what must hold besides, in the words of `linker.profiles.words`; empty for nothing.
    """

    name: str
    label: str
    stage: str
    equal: tuple[tuple[tuple[str, str], ...], ...]
    where: str


@dataclass(frozen=True)
class Applicable:
    """Who can be in the register.

    Attributes:
        youngest, oldest: completed years of age; None for no limit.
    """

    youngest: int | None
    oldest: int | None

    @property
    def words(self) -> str:
        """As a sentence part."""
        match self.youngest, self.oldest:
            case None, None:
                return "people of any age"
            case youngest, None:
                return f"people of {youngest} and over"
            case None, oldest:
                return f"people of {oldest} and under"
            case youngest, oldest:
                return f"people of {youngest} to {oldest}"


@dataclass(frozen=True)
class Thresholds:
    """What it takes, in bits of match weight.

    Attributes:
        link: from here a pair may be linked.
        review: from here up to `link` people look at it.
        lead: by so much a link must lead over the runner-up.
        margin: a pair that meets a key is taken to weigh at least `link` and so much more.
        veto: a pair that meets a key but weighs less than this goes to people.
    """

    link: float
    review: float
    lead: float
    margin: float
    veto: float


@dataclass(frozen=True)
class Guards:
    """What stops a link whatever its weight.

    Attributes:
        twin: forenames plainly differ where date of birth and surname or postcode agree; in a register
            without names, another member of the family was born that day and no identifier decided.
        birth: dates of birth plainly differ, or differ at all beside a surname that does, and no identifier
            decided.
        unborn: bits over `link` that it takes where a date of birth is missing and no identifier decided.
    """

    twin: bool
    birth: bool
    unborn: float


@dataclass(frozen=True)
class Switch:
    """Fields that are used only if somebody says why.

    Attributes:
        fields: of the register and of the council.
        words: why it is off, and what that costs.
    """

    fields: tuple[str, ...]
    words: str


@dataclass(frozen=True)
class Profile:
    """One register's linkage profile.

    Attributes:
        name, version: of the profile; raise the version with every change.
        title, holder, purpose: of the register, for people.
        carries: fields of the register; empty where a file is understood by its headings (`council`).
        lacks: fields that it does not carry, in words.
        compare: fields that the model compares, with the further values of each that either side may have.
        keys: identifiers and matchkeys, the surest first.
        block: sets of (left, right) columns that make candidates.
        same: rules by which two records of one file are of one person, as keys are written.
        same_in_register: further ones, for the register alone.
        applicable: who can be in the register.
        most: records of the register that one person may have.
        household: columns that make an address for the second look at a family; empty for none.
        establishments: words of an address that is nobody's home; nothing is compared that says where it is.
        thresholds, guards: see there.
        require: fields that the left side must have, or be given for all records.
        switches: by name.
        size: records of the whole register, for what can be reached; about.
        digest: SHA-256 of the profile's content, in hex.
    """

    name: str
    version: str
    title: str
    holder: str
    purpose: str
    carries: tuple[Carried, ...]
    lacks: tuple[str, ...]
    compare: Mapping[str, tuple[str, ...]]
    keys: tuple[Key, ...]
    block: tuple[tuple[tuple[str, str], ...], ...]
    same: tuple[Key, ...]
    same_in_register: tuple[Key, ...]
    applicable: Applicable
    most: int
    household: tuple[str, ...]
    establishments: tuple[str, ...]
    thresholds: Thresholds
    guards: Guards
    require: tuple[str, ...]
    switches: Mapping[str, Switch]
    size: float
    digest: str

    def fields(self, on: frozenset[str]) -> frozenset[str]:
        """The fields that may be used, given the switches that are on."""
        off = {name for key, switch in self.switches.items() if key not in on for name in switch.fields}
        compared = {name for base, others in self.compare.items() for name in (base, *others)}
        carried = {one.field for one in self.carries} or compared
        return frozenset(carried | compared) - off

    def age_range(self, on: datetime.date, since: datetime.date) -> tuple[int | None, int | None]:
        """Days of birth, since 1970-01-01, of those who can be in an extract of `since` to `on`."""
        first = None if self.applicable.oldest is None else _back(since, self.applicable.oldest + 1) + 1
        last = None if self.applicable.youngest is None else _back(on, self.applicable.youngest)
        return first, last


def _back(day: datetime.date, years: int) -> int:
    """Days since 1970-01-01 of the day so many years before; of 29 February the 28th."""
    try:
        then = day.replace(year=day.year - years)
    except ValueError:
        then = day.replace(year=day.year - years, day=28)
    return (then - datetime.date(1970, 1, 1)).days


def parse(text: str, name: str) -> Profile:
    """The profile of a TOML document.

    Raises:
        ProfileError: says which part cannot be read.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"The profile '{name}' is not TOML: {error}.") from None
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    try:
        return _profile(data, digest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProfileError(
            f"The profile '{name}' cannot be read: {type(error).__name__} {error}.",
            "Compare it with one that comes with Kinlink.",
        ) from None


def _profile(data: Mapping[str, Json], digest: str) -> Profile:
    ages = data.get("applicable", {})
    return Profile(
        name=str(data["name"]),
        version=str(data["version"]),
        title=str(data["title"]),
        holder=str(data["holder"]),
        purpose=str(data["purpose"]),
        carries=tuple(
            Carried(field, _kind(field, kind_of=data.get("kinds", {})), tuple(headings))
            for field, headings in data.get("carries", {}).items()
        ),
        lacks=tuple(data.get("lacks", ())),
        compare={field: tuple(others) for field, others in data["compare"].items()},
        keys=tuple(map(_key, data.get("key", ()))),
        block=tuple(map(_columns, data["block"])),
        same=_same(data.get("same", ())),
        same_in_register=_same(data.get("same_in_register", ())),
        applicable=Applicable(ages.get("youngest"), ages.get("oldest")),
        most=int(data["most"]),
        household=tuple(data.get("household", ())),
        establishments=tuple(data.get("establishments", ())),
        thresholds=Thresholds(**{name: float(one) for name, one in data["thresholds"].items()}),
        guards=Guards(**data["guards"]),
        require=tuple(data.get("require", ())),
        switches={
            name: Switch(tuple(one["fields"]), str(one["words"]))
            for name, one in data.get("switch", {}).items()
        },
        size=float(data["size"]),
        digest=digest,
    )


def _kind(field: str, kind_of: Mapping[str, str]) -> Kind:
    stem, _, number = field.rpartition("_")
    return Kind(kind_of.get(field, stem if number.isdigit() else field))


def _columns(data: Json) -> tuple[tuple[str, str], ...]:
    return tuple((one, one) if isinstance(one, str) else (str(one[0]), str(one[1])) for one in data)


def _same(data: Sequence[Mapping[str, Json]]) -> tuple[Key, ...]:
    return tuple(
        Key(f"same {place}", "", "", tuple(map(_columns, one["equal"])), str(one.get("where", "")))
        for place, one in enumerate(data)
    )


def _key(data: Mapping[str, Json]) -> Key:
    stage = str(data["stage"])
    if stage not in (IDENTIFIER, KEY):
        raise ValueError(f"stage '{stage}' of the key '{data['name']}'")
    equal = tuple(map(_columns, data["equal"]))
    return Key(str(data["name"]), str(data["label"]), stage, equal, str(data.get("where", "")))
