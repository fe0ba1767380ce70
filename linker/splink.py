"""Splink's models: read (versions 4 and 5) and written (5), exactly or not at all.

A model that is read gives each pair the weight that Splink 5 gives it on DuckDB: conditions keep their SQL
meaning, an empty text is a value, distances count bytes, frequencies are those of the data. What cannot be
expressed is refused by the name of its comparison, its level and its form; nothing is approximated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any as Json

from linker.conditions import Any, Condition, Not, Op, Test
from linker.errors import ModelError
from linker.model import BlockingRule, Comparison, Level, Model
from linker.sources import Raw, column
from linker.splink_write import Writer

if TYPE_CHECKING:
    from linker.splink_conditions import Reader

NOTES = "splink"  # what the notes of an imported model call what they say of Splink
MARK = ("linker_uid", "kinlink")  # a key that Splink knows, and how its value begins in what is written here
_PRIOR = 0.0001  # Splink's where a model does not say
_LEAST = 1e-300  # the least m or u that Splink 5 takes
_NOT_OBSERVED = 1e-6  # Splink's m or u of a level that training did not see


def read_splink(source: str | Path | Mapping[str, Json]) -> Model:
    """Read a model that Splink 4 or 5 saved.

    Args:
        source: the JSON file, or what it holds.

    Returns:
        the model, ready to score; `notes["splink"]["remarks"]` holds a sentence on each thing that the file
        leaves open or that works otherwise than it looks.

    Raises:
        ModelError: the file holds no such model, or one that cannot be expressed exactly.
    """
    settings = source if isinstance(source, Mapping) else _load(Path(source))
    try:
        return _model(settings)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ModelError(
            "A part of the Splink model is missing or of the wrong type.",
            "Give a file that Splink 4 or 5 saved (linker.misc.save_model_to_json).",
        ) from None


def _load(path: Path) -> Mapping[str, Json]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ModelError(f"The model file {path.name} cannot be read.", "Check the path.") from None
    except (ValueError, RecursionError):
        raise ModelError(f"The file {path.name} is not JSON.", "Give a file that Splink saved.") from None
    if not isinstance(data, dict) or "comparisons" not in data:
        raise ModelError(f"The file {path.name} holds no Splink model.", "Give a file that Splink saved.")
    return data


def _model(settings: Mapping[str, Json]) -> Model:
    from linker.splink_conditions import Reader  # with it comes the SQL parser, slow to load

    remarks: list[str] = []
    reader = Reader()
    dialect = str(settings.get("sql_dialect") or "duckdb")
    if dialect == "spark":
        remarks.append("The model was made for Spark: its functions are read as DuckDB's of the same name.")
    comparisons = tuple(
        _comparison(one, place, dialect, reader, remarks) for place, one in enumerate(settings["comparisons"])
    )
    rules = _rules(settings.get("blocking_rules_to_generate_predictions") or [], dialect, reader, remarks)
    prior = settings.get("probability_two_random_records_match")
    if prior is None:
        prior = _PRIOR
        remarks.append(f"The model has no prior: Splink's default of {_PRIOR} stands in.")
    raw = Raw(reader.sources, str(settings.get("unique_id_column_name") or "unique_id"))
    notes = {NOTES: {"link_type": settings.get("link_type", "link_only"), "remarks": remarks}}
    model = Model(comparisons, rules, float(prior), notes=notes, raw=raw)
    used = {name: source for name, source in reader.sources.items() if name in model.columns}
    return replace(model, raw=replace(raw, sources=used))


@dataclass
class _Draft:
    """One level as it stands in the file, in its order among the levels that are not null."""

    data: Mapping[str, Json]
    label: str
    condition: Condition | None


def _comparison(
    data: Mapping[str, Json], place: int, dialect: str, reader: Reader, remarks: list[str]
) -> Comparison:
    from linker.splink_conditions import joined

    before = set(reader.sources)
    name = str(data.get("output_column_name") or f"comparison {place + 1}")
    nulls: list[Condition] = []
    drafts: list[_Draft] = []
    for at, level in enumerate(data["comparison_levels"]):
        sql, label = str(level["sql_condition"]), str(level.get("label_for_charts") or level["sql_condition"])
        where = f"The comparison '{name}', level '{label}'"
        if sql.strip().upper() == "ELSE":
            if level.get("is_null_level") or at + 1 < len(data["comparison_levels"]):
                raise ModelError(f"{where}: ELSE is not the last level, or is null.")
            drafts.append(_Draft(level, label, None))
            continue
        condition = _condition(sql, dialect, reader, where)
        if level.get("is_null_level"):
            # A level that stands before it is reached first.
            earlier = [Not(one.condition) for one in drafts if one.condition is not None]
            nulls.append(joined([condition, *earlier], every=True))
        else:
            drafts.append(_Draft(level, label, condition))
    if not drafts or drafts[-1].condition is not None:
        raise ModelError(
            f"The comparison '{name}' does not end in ELSE.", "Such a pair has no weight in Splink."
        )
    levels = tuple(_level(drafts, at, name, reader, remarks) for at in range(len(drafts)))
    if not data.get("output_column_name"):
        made = [reader.sources[one] for one in reader.sources if one not in before]
        columns = sorted({one for source in made for one in source.columns})
        name = columns[0] if len(columns) == 1 else f"custom_{'_'.join(columns)}"
    return Comparison(name, _any(nulls, reader), levels)


def _condition(sql: str, dialect: str, reader: Reader, where: str) -> Condition:
    from linker.splink_sql import NotRead

    try:
        return reader.condition(sql, dialect)
    except NotRead as form:
        raise ModelError(
            f"{where}, has a form that cannot be expressed exactly: {form}.",
            "docs/splink.md lists those that can.",
        ) from None


def _any(nulls: Sequence[Condition], reader: Reader) -> Condition:
    from linker.splink_conditions import ALWAYS

    if not nulls:
        always = reader.name(ALWAYS)
        return Test(Op.MISSING, always, always)  # never
    return nulls[0] if len(nulls) == 1 else Any(tuple(nulls))


_LEVEL_KEYS = {
    "sql_condition", "label_for_charts", "is_null_level", "m_probability", "u_probability",
    "fix_m_probability", "fix_u_probability", "tf_adjustment_column", "tf_adjustment_weight",
    "tf_minimum_u_value", "disable_tf_exact_match_detection", "comparison_vector_value",
    "max_comparison_vector_value",
}  # fmt: skip


def _level(drafts: Sequence[_Draft], at: int, name: str, reader: Reader, remarks: list[str]) -> Level:
    draft = drafts[at]
    where = f"The comparison '{name}', level '{draft.label}'"
    if unknown := sorted(set(draft.data) - _LEVEL_KEYS):
        raise ModelError(
            f"{where}, says '{unknown[0]}', which is not known.", "Remove it if it does nothing."
        )
    m, u = (_probability(draft.data, which, drafts, at, where, remarks) for which in ("m", "u"))
    if (
        u > 1.0 and draft.data.get("u_probability") is None
    ):  # Splink's default for ELSE alone: only m/u counts
        m, u = m / u, 1.0
    tf = draft.data.get("tf_adjustment_column")
    if tf is None or draft.condition is None:
        return Level(draft.label, draft.condition, m, u)
    tf = reader.name(column(str(tf).strip('"`')))
    weight = float(draft.data.get("tf_adjustment_weight", 1.0))
    if weight == 0.0:
        weight = 1.0
        remarks.append(
            f"{where}, has a term frequency weight of 0, which Splink 5 takes for 1, and so do we."
        )
    exact = (place for place, one in enumerate(drafts) if _is_exact(one.condition, tf))
    base = at if draft.data.get("disable_tf_exact_match_detection") else next(exact, None)
    if base is None:
        raise ModelError(
            f"{where}, adjusts for '{tf}', and no level is an exact match on it.", "Splink fails, too."
        )
    minimum = float(draft.data.get("tf_minimum_u_value") or 0.0)
    return Level(draft.label, draft.condition, m, u, tf, weight, None, base, minimum)


def _probability(
    data: Mapping[str, Json], which: str, drafts: Sequence[_Draft], at: int, where: str, remarks: list[str]
) -> float:
    value = data.get(f"{which}_probability")
    if isinstance(value, int | float):
        if 0.0 <= value < _LEAST:
            remarks.append(f"{where}, has no {which} above 0, which Splink 5 refuses: {_LEAST:g} stands in.")
        return max(float(value), _LEAST) if value >= 0.0 else float(value)
    if isinstance(value, str):
        value = _NOT_OBSERVED
    else:
        place = len(drafts) - 1 - at
        value = _default(which, len(drafts), place)
    remarks.append(f"{where}, has no {which}: it was not trained. Splink's default of {value:.4g} stands in.")
    return value


def _default(which: str, levels: int, place: int) -> float:
    """What Splink 5 puts for an m or u that was not trained; `place` counts from the last level."""
    m = 0.95 if place == levels - 1 else (1.0 - 0.95) / (levels - 1)
    if which == "m":
        return m
    middle = -5.0 if levels <= 2 else -5.0 + place * (8.0 / (levels - 2))
    weight = 10.0 if place == levels - 1 else middle
    return float(m / 2.0**weight)


def _rules(
    rules: Sequence[Json], dialect: str, reader: Reader, remarks: list[str]
) -> tuple[BlockingRule, ...]:
    from linker.splink_conditions import ALWAYS
    from linker.splink_sql import NotRead

    if not rules:
        remarks.append("The model has no blocking rule: every pair is a candidate.")
        always = reader.name(ALWAYS)
        return (BlockingRule(((always, always),)),)
    read: list[BlockingRule] = []
    for rule in rules:
        data = {"blocking_rule": rule} if isinstance(rule, str) else rule
        sql = str(data["blocking_rule"])
        if data.get("arrays_to_explode"):
            raise ModelError(
                f"The blocking rule {sql} takes lists apart, which the index cannot.", "Leave it out."
            )
        try:
            ways = reader.rule(sql, str(data.get("sql_dialect") or dialect))
        except NotRead as form:
            raise ModelError(
                f"The blocking rule {sql} has a form that cannot be expressed exactly: {form}.",
                "A rule is columns, or pieces of them, that are equal, joined by AND and OR.",
            ) from None
        read += [BlockingRule(way) for way in ways]
    return tuple(dict.fromkeys(read))


def write_splink(model: Model, *, frequencies_of_data: bool = False) -> dict[str, Json]:
    """A model in Splink 5's JSON, with conditions in the SQL of DuckDB.

    A model that was read from Splink comes back the same. One of our own reads the columns that
    `linker.derive.standard_columns` makes, and has the same weights as far as these hold ASCII, which
    DuckDB's distances count as we do.

    Args:
        model: the model.
        frequencies_of_data: Splink may take term frequencies from the data that it gets, and the least of
            the model's own table as the minimum. The file cannot hold the table itself.

    Raises:
        ModelError: names the part that Splink cannot express.
    """
    if not frequencies_of_data and (listed := sorted(_adjusted(model) & model.frequencies.keys())):
        raise ModelError(
            f"The model has term frequencies of its own for '{listed[0]}', which Splink's file cannot hold.",
            "Let Splink take them from its data: --frequencies-of-data.",
        )
    if model.kin > 0.0:
        raise ModelError(
            "The model weighs relatives against one person, which Splink cannot.", "Leave kin out."
        )
    sources = None if model.raw is None else model.raw.sources
    return {
        MARK[0]: f"{MARK[1]}{model.digest[:8]}",
        "link_type": model.notes.get(NOTES, {}).get("link_type", "link_only"),
        "probability_two_random_records_match": model.prior,
        "sql_dialect": "duckdb",
        "unique_id_column_name": "unique_id" if model.raw is None else model.raw.id_column,
        "blocking_rules_to_generate_predictions": [
            {
                "blocking_rule": Writer(sources, f"Blocking rule {rule.name}").rule(rule.columns),
                "sql_dialect": "duckdb",
            }
            for rule in model.rules
        ],
        "comparisons": [_write_comparison(one, model) for one in model.comparisons],
    }


def _adjusted(model: Model) -> set[str]:
    return {level.tf for one in model.comparisons for level in one.levels if level.tf and level.tf_weight}


def _write_comparison(comparison: Comparison, model: Model) -> dict[str, Json]:
    sources = None if model.raw is None else model.raw.sources
    null = Writer(sources, f"Comparison '{comparison.name}', missing values").condition(comparison.null)
    never = null == "1=0"
    return {
        "output_column_name": comparison.name,
        "comparison_description": comparison.name,
        "comparison_levels": [
            *(
                []
                if never
                else [
                    {
                        "sql_condition": null,
                        "label_for_charts": f"{comparison.name} is NULL",
                        "is_null_level": True,
                    }
                ]
            ),
            *(_write_level(comparison, at, model) for at in range(len(comparison.levels))),
        ],
    }


def _write_level(comparison: Comparison, at: int, model: Model) -> dict[str, Json]:
    level = comparison.levels[at]
    where = f"Comparison '{comparison.name}', level '{level.label}'"
    writer = Writer(None if model.raw is None else model.raw.sources, where)
    sql = "ELSE" if level.condition is None else writer.condition(level.condition)
    data: dict[str, Json] = {"sql_condition": sql, "label_for_charts": level.label}
    for name, value in (("m", level.m), ("u", level.u)):
        if value is not None and value < _LEAST:
            raise ModelError(f"{where}: Splink 5 takes no {name} of {value:g}.", "Give it a small value.")
        if value is not None:
            data[f"{name}_probability"] = value
    if level.tf is None or level.tf_weight == 0.0:  # Splink 5 takes a weight of 0 for 1
        return data
    data |= {"tf_adjustment_column": level.tf, "tf_adjustment_weight": level.tf_weight}
    table = model.frequencies.get(level.tf)
    least = max(level.tf_minimum, table.rare if table else 0.0)
    if least > 0.0:
        data["tf_minimum_u_value"] = least
    found = next((n for n, one in enumerate(comparison.levels) if _is_exact(one.condition, level.tf)), None)
    if found != level.tf_level:
        if level.tf_level != at:
            raise ModelError(f"{where}: Splink cannot express which u its term frequencies stand in for.")
        data["disable_tf_exact_match_detection"] = True
    return data


def _is_exact(condition: Condition | None, column_name: str) -> bool:
    match condition:
        case Test(Op.EXACT, left, right):
            return left == right and left.lower() == column_name.lower()
    return False
