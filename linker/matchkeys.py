"""Matchkeys: ordered, deterministic rules for linking, as official statistics use them.

A matchkey says what two records must agree on. The keys of a set are ordered, the surest first:

1. A pair *meets* a key where all columns of one of its sets of equal columns agree and its further condition
   holds. A missing value agrees with nothing. A pair has the first key that it meets, and no other.
2. The keys are gone through in order. Pairs of a record that an earlier key linked are over.
3. Of the pairs of one key that are left, a pair is *linked* if it is the only one of both its records, at
   this key and among what earlier keys left open: one to one, the value unique on both sides.
4. The others are *ambiguous*. They stay open, so no later and weaker key can link their records past them; a
   model can, or people.
5. A *clerical* key links nothing: its pairs are for people to look at, and stay open like ambiguous ones.

That is between two sets of records; within one, rules 2 and 3 are about groups (`linker.matchkeys_settle`).

After ONS, Census 2021 to Census Coverage Survey (github.com/Data-Linkage/ccslink): each key is a join,
a pair keeps its lowest key, and what is not one to one goes to clerical staff. There a link
of a strict key is in conflict with pairs of any later key too; here an earlier key decides (rule 2).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any as Json

from linker.conditions import All, Any, Condition, Not, Op, Test, from_data, tests_of, to_data
from linker.errors import ModelError
from linker.files import write_text
from linker.model import BlockingRule

FORMAT = "kinlink-matchkeys/1"
DEEPEST = 100  # conditions within one another, so that none is too deep for what goes through them


@dataclass(frozen=True)
class Matchkey:
    """One rule of a set.

    Attributes:
        name: unique in the set; links bear it.
        label: words for people: what must agree.
        equal: sets of columns; all columns of at least one set must be equal. They find the pairs.
        where: what must hold besides, or None.
        clerical: its pairs go to people.
        moved: sets of columns that make an address. If there are any, a pair meets the key only where two or
            more people of it, on both sides, moved from the same address to the same other.
    """

    name: str
    label: str
    equal: tuple[BlockingRule, ...]
    where: Condition | None = None
    clerical: bool = False
    moved: tuple[tuple[str, ...], ...] = ()

    @property
    def condition(self) -> Condition:
        """What a pair must meet, `moved` apart."""
        sets = tuple(
            All(tuple(Test(Op.EXACT, left, right) for left, right in rule.columns)) for rule in self.equal
        )
        equal: Condition = sets[0] if len(sets) == 1 else Any(sets)
        return equal if self.where is None else All((equal, self.where))

    @property
    def columns(self) -> frozenset[str]:
        """Every column that the key reads."""
        read = {name for test in tests_of(self.condition) for name in (test.left, test.right)}
        return frozenset(read.union(*self.moved))


@dataclass(frozen=True)
class Matchkeys:
    """An ordered set of matchkeys.

    Attributes:
        name: of the set.
        version: of the set; raise it with every change.
        keys: the surest first.
    """

    name: str
    version: str
    keys: tuple[Matchkey, ...]

    def __post_init__(self) -> None:
        _check(self)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hex."""
        return hashlib.sha256(json.dumps(_to_dict(self), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """The set as one JSON document."""
        return json.dumps(_to_dict(self), indent=1, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str) -> Matchkeys:
        """The set that `to_json` wrote.

        Raises:
            ModelError: the text is no set of matchkeys of this version.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise ModelError(
                "The matchkeys are not JSON.", "Give a file in the format of 'kinlink matchkeys --out'."
            ) from None
        return _from_dict(data)

    def save(self, path: str | Path) -> None:
        """Write the set, all or nothing.

        Raises:
            FileError: the place cannot be written.
        """
        write_text(self.to_json(), path)

    @staticmethod
    def load(path: str | Path) -> Matchkeys:
        """Read a file of matchkeys.

        Raises:
            ModelError: there is no such file, or it holds no matchkeys.
        """
        try:
            return Matchkeys.from_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            raise ModelError(
                f"The matchkeys {Path(path).name} cannot be read.",
                "Give the name of a set that comes with Kinlink, such as 'ons', or a file of UTF-8 text.",
            ) from None


def _check(keys: Matchkeys) -> None:
    if not keys.keys:
        raise ModelError(f"The set of matchkeys '{keys.name}' is empty.", "Give at least one key.")
    if not keys.name or not keys.version:
        raise ModelError("A set of matchkeys has no name or no version.", "Give both, as text.")
    names = [key.name for key in keys.keys]
    if not all(names) or len(set(names)) != len(names):
        raise ModelError("Two matchkeys have one name, or one has none.", "Give each its own name.")
    for key in keys.keys:
        if not key.equal or not all(rule.columns for rule in key.equal):
            raise ModelError(
                f"The matchkey '{key.name}' has no columns that must be equal.",
                "Name at least one in every set: without it every pair of records would be looked at.",
            )
        if not all(key.moved) or not all(key.columns):
            raise ModelError(f"The matchkey '{key.name}' names a column without a name.")
        if not all(math.isfinite(test.value) for test in tests_of(key.condition)):
            raise ModelError(f"A limit of the matchkey '{key.name}' is not a finite number.")


def _to_dict(keys: Matchkeys) -> dict[str, Json]:
    return {
        "format": FORMAT,
        "name": keys.name,
        "version": keys.version,
        "keys": [_key_to_dict(key) for key in keys.keys],
    }


def _key_to_dict(key: Matchkey) -> dict[str, Json]:
    sets = [[left if left == right else [left, right] for left, right in rule.columns] for rule in key.equal]
    data: dict[str, Json] = {"name": key.name, "label": key.label, "equal": sets}
    if key.where is not None:
        data["where"] = to_data(key.where)
    if key.clerical:
        data["clerical"] = True
    if key.moved:
        data["moved"] = [list(columns) for columns in key.moved]
    return data


def _from_dict(data: Json) -> Matchkeys:
    match data:
        case {"format": str(written), "name": str(name), "version": str(version), "keys": list(keys)} if (
            written == FORMAT
        ):
            return Matchkeys(name, version, tuple(_key_from_dict(key) for key in keys))
    raise ModelError(
        f"These are no matchkeys of the format {FORMAT}.",
        "They need 'format', 'name', 'version' and a list 'keys'.",
    )


_PARTS = {"name", "label", "equal", "where", "clerical", "moved"}


def _key_from_dict(data: Json) -> Matchkey:
    match data:
        case {"name": str(name), "equal": list(sets), **rest} if rest.keys() <= _PARTS:
            label, clerical = rest.get("label", name), rest.get("clerical", False)
            moved = rest.get("moved", [])
            if isinstance(label, str) and isinstance(clerical, bool) and isinstance(moved, list):
                return Matchkey(
                    name,
                    label,
                    tuple(_rule(one, name) for one in sets),
                    _where(rest["where"], name) if "where" in rest else None,
                    clerical,
                    tuple(_address(one, name) for one in moved),
                )
    named = data.get("name") if isinstance(data, Mapping) else None
    raise _unreadable(str(named or ""))


def _where(data: Json, name: str) -> Condition:
    help = "It is nested too deeply."
    try:
        condition = from_data(data)
        if _depth(condition) <= DEEPEST:
            return condition
    except ModelError as error:
        help = error.help
    except RecursionError:
        pass
    raise ModelError(f"The condition of the matchkey '{name}' cannot be read.", help)


def _depth(condition: Condition) -> int:
    match condition:
        case Not(of=part):
            return 1 + _depth(part)
        case All(of=parts) | Any(of=parts):
            return 1 + max(map(_depth, parts), default=0)
    return 1


def _rule(data: Json, name: str) -> BlockingRule:
    pairs = []
    for one in data if isinstance(data, list) else [None]:
        match one:
            case str(column):
                pairs.append((column, column))
            case [str(left), str(right)]:
                pairs.append((left, right))
            case _:
                raise _unreadable(name)
    return BlockingRule(tuple(pairs))


def _address(data: Json, name: str) -> tuple[str, ...]:
    if isinstance(data, list) and all(isinstance(column, str) for column in data):
        return tuple(data)
    raise _unreadable(name)


def _unreadable(name: str) -> ModelError:
    return ModelError(
        f"A matchkey cannot be read: '{name}'." if name else "A matchkey has no name.",
        "A key has 'name' and 'equal' (lists of columns or [left, right]); it may have 'label', 'where', "
        "'clerical' and 'moved'.",
    )
