"""The report of a run: one HTML page that opens offline, and the same figures as JSON beside it.

Figures, column names and reason codes only: no id and no value of a person.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from typing import Any as Json

import polars as pl

from linker.files import write_text
from linker.model import Model
from linker.records import Records
from linker.report_page import STYLE, bars, facts, losses_section, rows_table

if TYPE_CHECKING:
    from linker.linkage import Deduplication, Linkage
    from linker.matchkeys_link import KeyDeduplication, KeyLinkage

    Result: TypeAlias = Linkage | Deduplication | KeyLinkage | KeyDeduplication

MARK = '<meta name="generator" content="Kinlink">'
FORMAT = "kinlink-report/1"


def write_report(result: Result, path: str | Path) -> Path:
    """Write the page to `path` and its figures as JSON beside it (`report.html`, `report.json`).

    Returns:
        the path of the JSON.

    Raises:
        FileError: the place cannot be written.
    """
    found = figures(result)
    target = Path(path)
    write_text(page(found), target)
    beside = target.with_suffix(".json")
    write_text(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n", beside)
    return beside


def figures(result: Result) -> dict[str, Json]:
    """Everything that the report shows, as plain data."""
    # Here, because the engine takes a while to load.
    from linker.matchkeys_link import KeyDeduplication, KeyLinkage

    clusters = getattr(result, "clusters", None)
    found: dict[str, Json] = {
        "format": FORMAT,
        "kind": "linkage" if clusters is None else "deduplication",
        "summary": _finite(dict(result.summary)),
        "links": result.links.height,
        "review": result.review.height,
        "files": [_understood(records) for records in result.records],
        "set_aside": [_set_aside(records) for records in result.records],
        "links_by_rule": _counted(result.links, "rule"),
        "warnings": [],
    }
    if clusters is not None:
        sizes = clusters.group_by("cluster_id").len("size").group_by("size").len("clusters").sort("size")
        found["cluster_sizes"] = [list(row) for row in sizes.rows()]
    if isinstance(result, KeyLinkage | KeyDeduplication):
        return found
    return found | {
        "threshold": _finite(result.threshold),
        "weights": weight_bands(result.links, result.review),
        "model": model_figures(result.model),
        "training": None
        if result.training is None
        else _finite(dataclasses.asdict(result.training.diagnostics)),
        "manifest": _finite(result.manifest.as_dict()),
        "warnings": [] if result.training is None else list(result.training.diagnostics.warnings),
    }


def model_figures(model: Model) -> dict[str, Json]:
    """A model's m, u and weights by level; its frequency tables hold values and stay out."""
    return {
        "digest": model.digest,
        "prior": model.prior,
        "rules": [rule.name for rule in model.rules],
        "comparisons": [
            {
                "name": comparison.name,
                "levels": [
                    {
                        "label": level.label,
                        "m": level.m,
                        "u": level.u,
                        "weight": None if level.m is None or level.u is None else _finite(level.weight),
                        "by_frequency": level.tf is not None,
                    }
                    for level in comparison.levels
                ],
            }
            for comparison in model.comparisons
        ],
    }


def weight_bands(links: pl.DataFrame, review: pl.DataFrame) -> list[dict[str, Json]]:
    """How many pairs were linked and how many wait for review, by match weight in steps of 2 bits."""
    both = pl.concat(
        frame.select(pl.col("match_weight"), pl.lit(name).alias("what"))
        for name, frame in (("linked", links), ("review", review))
    ).filter(pl.col("match_weight").is_finite())
    if both.is_empty():
        return []
    counted = (
        both.group_by((pl.col("match_weight") / 2).floor().cast(pl.Int64).alias("band"))
        .agg(linked=(pl.col("what") == "linked").sum(), review=(pl.col("what") == "review").sum())
        .sort("band")
    )
    by_band = {band: (linked, waiting) for band, linked, waiting in counted.rows()}
    return [
        {"from": 2 * band, "to": 2 * band + 2, "linked": linked, "review": waiting}
        for band in range(min(by_band), max(by_band) + 1)
        for linked, waiting in [by_band.get(band, (0, 0))]
    ]


_TABLES = ("rules", "matchkeys", "blocking")  # figures of the summary that have sections of their own


def page(found: Mapping[str, Json]) -> str:
    """The HTML of the figures."""
    title = "Linkage report" if found["kind"] == "linkage" else "Deduplication report"
    by_model, keys = "model" in found, found["summary"].get("matchkeys")
    losses = found["summary"].get("blocking")
    figures_of_run = {key: value for key, value in found["summary"].items() if key not in _TABLES}
    sections = [
        ("Result", facts(_headline(found))),
        *([("Notes", _list(found["warnings"]))] if found["warnings"] else []),
        ("How the columns were understood", "".join(map(_file_section, found["files"]))),
        ("Set aside", _set_aside_section(found["set_aside"])),
        *([("Matchkeys", _matchkeys_section(keys))] if keys else []),
        *([("Match weights", bars(found["weights"], found["threshold"]))] if by_model else []),
        *([("Clusters", rows_table(["Records in the cluster", "Clusters"], found["cluster_sizes"]))]
          if "cluster_sizes" in found else []),
        *([("Blocking rules", _rules_section(found)),
           *([("What the rules can lose", losses_section(losses))] if losses else []),
           ("Model", _model_section(found["model"])),
           ("Training", _training_section(found["training"]))] if by_model else []),
        ("Run", facts(_flat(figures_of_run))),
        *([("Manifest", _manifest_section(found["manifest"]))] if by_model else []),
    ]  # fmt: skip
    body = "".join(f"<section><h2>{escape(head)}</h2>{content}</section>" for head, content in sections)
    return (
        f'<!DOCTYPE html>\n<html lang="en-GB"><head><meta charset="utf-8">{MARK}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title} - Kinlink</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{title}</h1>{body}</main></body></html>\n"
    )


def _headline(found: Mapping[str, Json]) -> list[tuple[str, Json]]:
    said: list[tuple[str, Json]] = [
        (f"Records of file {k}", one["records"]) for k, one in enumerate(found["files"], 1)
    ]
    said += [("Links", found["links"]), ("Pairs for review", found["review"])]
    if "threshold" in found:
        said.append(("Threshold (bits of match weight)", found["threshold"]))
    return said + [
        (key.replace("_", " ").capitalize(), value)
        for key, value in _flat(found["summary"])
        if "expected" in key and value is not None
    ]


def _rules_section(found: Mapping[str, Json]) -> str:
    keys = {one["key"] for one in found["summary"].get("matchkeys", {}).get("keys", ())}
    linked = {name: many for name, many in found["links_by_rule"] if name not in keys}
    pairs = {one["rule"]: one["pairs"] for one in found["summary"].get("rules", ())}
    names = list(dict.fromkeys([*found["model"]["rules"], *pairs, *linked]))
    rows = [(name, pairs.get(name, "-"), linked.get(name, 0)) for name in names if name]
    return rows_table(["Pairs that agree on", "Candidate pairs", "Links"], rows)


def _matchkeys_section(keys: Mapping[str, Json]) -> str:
    """What each key did, in the keys' order."""
    said = (
        f"<p>Set {escape(keys['name'])}, version {escape(keys['version'])}, digest {keys['digest'][:16]}; "
        f"{keys['candidate_pairs']:,} candidate pairs. A pair belongs to the first key that it meets.</p>"
    )
    by_model = any(one["model_probability"] is not None for one in keys["keys"])
    heads = ["Key", "What agrees", "Linked", "Ambiguous", "For people", "Linked before"]
    parts = ["key", "label", "linked", "ambiguous", "review", "not_linked"]
    if by_model:
        heads, parts = [*heads, "Mean probability by the model"], [*parts, "model_probability"]
    said += rows_table(
        heads, [["-" if one[part] is None else one[part] for part in parts] for one in keys["keys"]]
    )
    if keys["left_out"]:
        rows = [(one["key"], one["label"], one["missing"]) for one in keys["left_out"]]
        said += "<h3>Left out</h3>" + rows_table(["Key", "What agrees", "Columns not there"], rows)
    return said


def _training_section(training: Mapping[str, Json] | None) -> str:
    if training is None:
        return "<p>The model was given, and not trained in this run.</p>"
    return facts(
        (name.replace("_", " "), value) for name, value in training.items() if not isinstance(value, list)
    )


def _manifest_section(manifest: Mapping[str, Json]) -> str:
    """What says that a run is the same; the rest of it stands in the other sections."""
    said = [(f"Digest of input {k}", one["digest"]) for k, one in enumerate(manifest["inputs"], start=1)]
    said += [(f"Digest of {name}", one) for name, one in manifest["results"].items()]
    said += [("Digest of the model", manifest["model"])]
    said += [(name.replace("_", " ").capitalize(), one) for name, one in manifest["asked"].items()]
    said += _flat({"Kinlink": manifest["code"], "Environment": manifest["environment"]})
    return facts(said)


def _model_section(model: Mapping[str, Json]) -> str:
    prior, digest = f"{model['prior']:.3g}", escape(model["digest"][:16])
    said = f"<p>Prior probability that two records are one person: {prior}. Digest {digest}.</p>"
    for comparison in model["comparisons"]:
        rows = [
            (
                level["label"] + (" (by frequency)" if level["by_frequency"] else ""),
                level["m"],
                level["u"],
                level["weight"],
            )
            for level in comparison["levels"]
        ]
        said += f"<h3>{escape(comparison['name'])}</h3>" + rows_table(
            ["Level", "m", "u", "Weight (bits)"], rows
        )
    return said


def _understood(records: Records) -> dict[str, Json]:
    layout = records.layout
    return {
        "records": records.ids.len(),
        "id_column": layout.id_column,
        "fields": [[field.name, " + ".join(field.columns), field.why] for field in layout.fields],
        "ignored": [list(one) for one in layout.ignored],
    }


def _file_section(one: Mapping[str, Json]) -> str:
    identity = f"column {one['id_column']}" if one["id_column"] else "row number"
    said = f"<p>{one['records']:,} records; id: {escape(identity)}.</p>"
    said += rows_table(["Field", "Column", "Why"], one["fields"])
    if one["ignored"]:
        said += rows_table(["Ignored column", "Reason"], one["ignored"])
    return said


def _set_aside(records: Records) -> list[list[Json]]:
    return _counted(records.refusals, "field", "reason", "refused")


def _counted(frame: pl.DataFrame, *by: str) -> list[list[Json]]:
    """How often each combination occurs, the most frequent first."""
    counted = frame.group_by(by).len("count")
    return [list(row) for row in counted.sort("count", *by, descending=[True] + [False] * len(by)).rows()]


def _set_aside_section(sides: Sequence[Sequence[Sequence[Json]]]) -> str:
    rows = [
        (place, field or "(row)", reason, "row left out" if refused else "value not used", number)
        for place, side in enumerate(sides, start=1)
        for field, reason, refused, number in side
    ]
    return rows_table(["File", "Field", "Reason", "What", "Count"], rows) if rows else "<p>Nothing.</p>"


def _list(sentences: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(one)}</li>" for one in sentences) + "</ul>"


def _flat(data: Mapping[str, Json], above: str = "") -> list[tuple[str, Json]]:
    """Nested figures as (name, value) lines."""
    lines: list[tuple[str, Json]] = []
    for key, value in data.items():
        name = f"{above}{key}"
        lines += _flat(value, f"{name}: ") if isinstance(value, Mapping) else [(name, value)]
    return lines


def _finite(value: Json) -> Json:
    """Plain JSON data: tuples as lists, and no infinity, which JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    item = getattr(value, "item", None)
    return item() if callable(item) else value
