"""The model: comparisons with their levels, blocking rules, m and u, prior, term frequencies.

    weight(pair) = log2(prior odds) + sum over comparisons of log2(m/u) of the level reached + TF - kin
    probability  = 1 / (1 + 2^-weight)
    kin          = log2(1 + odds that the pair is kin rather than strangers), 0 in a model without kin

The odds of kin are their prior odds times kin/u of the levels reached, over the comparisons that a household
shares, with the same TF: a pair is weighed against both alternatives, a stranger and a relative.

The vocabulary and the arithmetic are Splink's (Fellegi and Sunter 1969; Winkler 1989 for term
frequencies). A model is immutable, and written as one JSON document with a version; its digest
identifies it in every manifest.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any as Json

from linker import sources
from linker.conditions import SIMILARITIES, Condition, Op, Test, foregone, from_data, tests_of, to_data
from linker.errors import ModelError
from linker.files import write_text
from linker.sources import Raw

FORMAT = "kinlink-model/1"
PATTERN_BITS = 63
MOST_TF_WEIGHT = 1000.0  # weights stay so far under the infinity of linker.program


@dataclass(frozen=True)
class Level:
    """One outcome of a comparison.

    Attributes:
        label: words for people ("day and month swapped").
        condition: None for the last level, which takes what no other took.
        m: P(this level | same person), or None before training.
        u: P(this level | different people), or None before training.
        tf: the column whose term frequency adjusts this level, or None.
        tf_weight: the share of the adjustment that is applied.
        kin: P(this level | two people of one household), or None where households share nothing.
        tf_level: place, in the comparison, of the level whose u the term frequency stands in for.
        tf_minimum: a term frequency below it counts as it.
    """

    label: str
    condition: Condition | None
    m: float | None = None
    u: float | None = None
    tf: str | None = None
    tf_weight: float = 1.0
    kin: float | None = None
    tf_level: int = 0
    tf_minimum: float = 0.0

    @property
    def weight(self) -> float:
        """log2(m/u), in bits."""
        if self.m is None or self.u is None:
            raise ModelError(f"The level '{self.label}' has no m and u.", "Train the model first.")
        if self.u == 0.0:
            return math.inf if self.m > 0 else 0.0
        return math.log2(self.m / self.u) if self.m > 0 else -math.inf


@dataclass(frozen=True)
class Comparison:
    """Levels for one field or a few, tried in order; the first whose condition holds is reached.

    Attributes:
        name: unique in the model.
        null: where it holds the comparison says nothing, weight 0.
        levels: best first; the last has no condition.
        shared: people of one household mostly agree on it.
        place: it says where, as others do: a rule that fixes one of them all but fixes the others.
    """

    name: str
    null: Condition
    levels: tuple[Level, ...]
    shared: bool = False
    place: bool = False

    @property
    def columns(self) -> frozenset[str]:
        """Every column that any level reads."""
        conditions = [self.null, *(level.condition for level in self.levels if level.condition is not None)]
        return frozenset(name for one in conditions for t in tests_of(one) for name in (t.left, t.right))

    @property
    def bits(self) -> int:
        """Bits that a level of this comparison needs in a packed pattern; 0 codes the null level."""
        return len(self.levels).bit_length()


@dataclass(frozen=True)
class BlockingRule:
    """Pairs of records that agree on all of these (left column, right column) are candidates."""

    columns: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """Readable and stable: what links and reports call the rule."""
        return " + ".join(left if left == right else f"{left}={right}" for left, right in self.columns)


@dataclass(frozen=True)
class TermFrequencies:
    """Relative frequencies of a column's values; a value not listed has the frequency `rare`."""

    values: Mapping[str, float]
    rare: float


@dataclass(frozen=True)
class Model:
    """Everything that scoring needs and nothing else.

    Attributes:
        comparisons: in the order of the explanation.
        rules: a pair belongs to the first rule that holds it.
        prior: P(two records taken at random are the same person).
        frequencies: by column.
        notes: how it was trained, for people; scoring does not read it.
        kin: P(two records taken at random are of two people of one household); 0 leaves kin out.
        raw: what the model makes of records as they stand; None where it reads standard columns.
    """

    comparisons: tuple[Comparison, ...]
    rules: tuple[BlockingRule, ...]
    prior: float
    frequencies: Mapping[str, TermFrequencies] = field(default_factory=dict)
    notes: Mapping[str, Json] = field(default_factory=dict)
    kin: float = 0.0
    raw: Raw | None = None

    def __post_init__(self) -> None:
        check(self)

    @property
    def prior_weight(self) -> float:
        """log2 of the prior odds, in bits."""
        return math.log2(self.prior / (1.0 - self.prior))

    @property
    def columns(self) -> frozenset[str]:
        """Every column that scoring or blocking reads."""
        compared = (name for comparison in self.comparisons for name in comparison.columns)
        blocked = (name for rule in self.rules for pair in rule.columns for name in pair)
        tf = (level.tf for one in self.comparisons for level in one.levels if level.tf is not None)
        return frozenset([*compared, *blocked, *tf])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, notes left out, in hex."""
        data = to_dict(self)
        del data["notes"]
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """The model as one JSON document."""
        return json.dumps(to_dict(self), indent=1, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str) -> Model:
        """The model that `to_json` wrote.

        Raises:
            ModelError: the text is no model of this version.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):  # also a number of thousands of digits
            raise ModelError("The model is not JSON.", "Give a file that 'kinlink train' wrote.") from None
        return from_dict(data)

    def save(self, path: str | Path) -> None:
        """Write the model, all or nothing.

        Raises:
            FileError: the place cannot be written.
        """
        write_text(self.to_json(), path)

    @staticmethod
    def load(path: str | Path) -> Model:
        """Read a model file.

        Raises:
            ModelError: there is no such file, or it holds no model.
        """
        try:
            return Model.from_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            raise ModelError(
                f"The model file {Path(path).name} cannot be read.",
                "Check the path and that it is UTF-8 text.",
            ) from None


def check(model: Model) -> None:
    """Refuse a model that scoring could not hold to its word.

    Raises:
        ModelError: says which part is wrong.
    """
    names = [comparison.name for comparison in model.comparisons]
    if len(set(names)) != len(names):
        raise ModelError("Two comparisons of the model have one name.", "Give each its own name.")
    if not model.comparisons:
        raise ModelError("The model compares nothing.", "Add at least one comparison.")
    if not 0.0 < model.prior < 1.0:
        raise ModelError(
            "The prior of the model is not between 0 and 1.", "It is a probability, such as 0.0001."
        )
    if not 0.0 <= model.kin < 1.0:
        raise ModelError("The share of kin in the model is not between 0 and 1.")
    if sum(comparison.bits for comparison in model.comparisons) > PATTERN_BITS:
        raise ModelError("The model has too many comparisons and levels.", "Leave out the weakest fields.")
    for comparison in model.comparisons:
        *conditional, last = comparison.levels or (None,)
        if (
            last is None
            or last.condition is not None
            or any(x is None or x.condition is None for x in conditional)
        ):
            raise ModelError(
                f"The comparison '{comparison.name}' does not end in one level without a condition.",
                "The last level takes what no other took; all others need a condition.",
            )
        _check_limits(comparison, as_they_stand=model.raw is not None)
        for level in comparison.levels:
            if not abs(level.tf_weight) <= MOST_TF_WEIGHT:
                raise ModelError(
                    f"A term frequency weight of '{comparison.name}' is beyond {MOST_TF_WEIGHT:g}.",
                    "It is the share of the adjustment that is applied, such as 1.",
                )
            if not (0.0 <= level.tf_minimum <= 1.0 and 0 <= level.tf_level < len(comparison.levels)):
                raise ModelError(f"The term frequencies of '{comparison.name}' have a wrong base or minimum.")
            if any(p is not None and not 0.0 <= p <= 1.0 for p in (level.m, level.u, level.kin)):
                raise ModelError(f"A level of '{comparison.name}' has an m, u or kin outside 0 to 1.")
    for column, table in model.frequencies.items():
        if not all(0.0 < share < math.inf for share in (table.rare, *table.values.values())):
            raise ModelError(
                f"A term frequency of '{column}' is not a number above 0.", "Train the model anew."
            )
    if model.raw is not None and (unknown := model.columns - model.raw.sources.keys()):
        raise ModelError(f"The model does not say how its column '{min(unknown)}' is made.")
    for rule in model.rules:
        if not rule.columns:
            raise ModelError("A blocking rule names no column.", "Name at least one, or leave the rule out.")


def _check_limits(comparison: Comparison, *, as_they_stand: bool) -> None:
    """Refuse limits that decide a test by themselves.

    Raises:
        ModelError: names the comparison, the level and the test.
    """
    parts = [("missing values", comparison.null)]
    parts += [
        (f"level '{one.label}'", one.condition) for one in comparison.levels if one.condition is not None
    ]
    for where, test in ((where, test) for where, condition in parts for test in tests_of(condition)):
        said = f"The comparison '{comparison.name}', {where}, holds {test.op} against {test.value:g}"
        if not math.isfinite(test.value):
            raise ModelError(f"{said}, which is no finite number.", _limits_of(test))
        answer = foregone(test)
        if answer is False:
            raise ModelError(f"{said}, which no two values meet.", _limits_of(test))
        # A model of another tool means what it says, also where that is always so.
        if answer is True and not as_they_stand:
            raise ModelError(f"{said}, which any two values meet.", _limits_of(test))


def _limits_of(test: Test) -> str:
    if test.op in SIMILARITIES:
        return "Give the least similarity that will do, above 0 and not above 1, such as 0.9."
    if test.op in (Op.COMMON, Op.SUBSET):
        return "Give the least number of tokens that will do, such as 1."
    if test.op in (Op.RELATIVE_DIFFERENCE, Op.PERCENTAGE):
        return "Give the largest share that will do, such as 0.05."
    if test.op in (Op.MISSING, Op.EXACT):
        return "It needs no limit: leave it out."
    return "Give the largest distance that will do, 0 or more, such as 1."


def to_dict(model: Model) -> dict[str, Json]:
    """The model as plain data; keys in a fixed order."""
    data: dict[str, Json] = {
        "format": FORMAT,
        "prior": model.prior,
        "kin": model.kin,
        "comparisons": [
            {
                "name": comparison.name,
                "shared": comparison.shared,
                "place": comparison.place,
                "null": to_data(comparison.null),
                "levels": [_level_to_dict(level) for level in comparison.levels],
            }
            for comparison in model.comparisons
        ],
        "rules": [[list(pair) for pair in rule.columns] for rule in model.rules],
        "frequencies": {
            column: {"rare": table.rare, "values": dict(sorted(table.values.items()))}
            for column, table in sorted(model.frequencies.items())
        },
        "notes": dict(model.notes),
    }
    if model.raw is not None:
        data["raw"] = sources.to_data(model.raw)
    return data


def _level_to_dict(level: Level) -> dict[str, Json]:
    data: dict[str, Json] = {"label": level.label}
    if level.condition is not None:
        data["condition"] = to_data(level.condition)
    data |= {"m": level.m, "u": level.u}
    if level.kin is not None:
        data |= {"kin": level.kin}
    if level.tf is not None:
        data |= {"tf": level.tf, "tf_weight": level.tf_weight}
        if level.tf_level or level.tf_minimum:
            data |= {"tf_level": level.tf_level, "tf_minimum": level.tf_minimum}
    return data


def from_dict(data: Json) -> Model:
    """The model that `to_dict` wrote.

    Raises:
        ModelError: the data is no model of this version.
    """
    if isinstance(data, dict) and "blocking_rules_to_generate_predictions" in data:
        raise ModelError("This is a model of Splink.", "Read it first: kinlink model import FILE OUT.")
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ModelError(
            f"This is not a model of the format {FORMAT}.",
            "Give a file that 'kinlink train' of this version wrote.",
        )
    try:
        return Model(
            comparisons=tuple(
                Comparison(
                    str(one["name"]),
                    from_data(one["null"]),
                    tuple(_level_from_dict(level) for level in one["levels"]),
                    bool(one["shared"]),
                    bool(one["place"]),
                )
                for one in data["comparisons"]
            ),
            rules=tuple(BlockingRule(tuple((str(a), str(b)) for a, b in rule)) for rule in data["rules"]),
            prior=float(data["prior"]),
            frequencies={
                str(column): TermFrequencies(
                    {str(value): float(share) for value, share in table["values"].items()},
                    float(table["rare"]),
                )
                for column, table in data["frequencies"].items()
            },
            notes=dict(data["notes"]),
            kin=float(data["kin"]),
            raw=sources.from_data(data["raw"]) if "raw" in data else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        raise ModelError("A part of the model is missing or of the wrong type.", "Train it anew.") from None


def _level_from_dict(data: Mapping[str, Json]) -> Level:
    condition = from_data(data["condition"]) if "condition" in data else None
    m, u = (None if data[key] is None else float(data[key]) for key in ("m", "u"))
    tf = None if data.get("tf") is None else str(data["tf"])
    kin = None if data.get("kin") is None else float(data["kin"])
    return Level(
        str(data["label"]),
        condition,
        m,
        u,
        tf,
        float(data.get("tf_weight", 1.0)),
        kin,
        int(data.get("tf_level", 0)),
        float(data.get("tf_minimum", 0.0)),
    )
