"""The quality report of a linkage by profile as one HTML page that opens offline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any as Json

from linker.files import write_text
from linker.report import MARK
from linker.report_page import STYLE, facts, rows_table


def write_profile_report(report: Mapping[str, Json], manifest: Mapping[str, Json], path: str | Path) -> Path:
    """Write the page to `path` and its figures with the manifest as JSON beside it.

    Returns:
        the path of the JSON.

    Raises:
        FileError: the place cannot be written.
    """
    target = Path(path)
    write_text(page(report, manifest), target)
    beside = target.with_suffix(".json")
    whole = {**report, "manifest": dict(manifest)}
    write_text(json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n", beside)
    return beside


def page(report: Mapping[str, Json], manifest: Mapping[str, Json]) -> str:
    """The HTML of the report."""
    profile = report["profile"]
    title = f"Linkage to the {report['title']}"
    sections = [
        ("Result", facts(_headline(report))),
        ("Notes", _list(report["warnings"])),
        ("Stages and keys", _table(report["stages"])),
        ("Match weights", _table(report["bands"])),
        ("What can be reached", _reach(report)),
        ("Links by age, sex, area and arm", _table(report["linked_by"])),
        ("Guards and the second look at families", facts(_guards(report))),
        ("Blocking rules", _table(report["rules"])),
        ("Keys left out", _table(report["keys_left_out"])),
        ("Model", "".join(_comparison(one) for one in report["model"]["comparisons"])),
        ("Manifest", facts(_manifest(manifest))),
    ]
    body = "".join(f"<section><h2>{escape(head)}</h2>{said}</section>" for head, said in sections if said)
    return (
        f'<!DOCTYPE html>\n<html lang="en-GB"><head><meta charset="utf-8">{MARK}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} - Kinlink</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1><p>Profile {escape(profile['name'])}, version "
        f"{escape(profile['version'])}, digest {profile['digest'][:16]}.</p>{body}</main></body></html>\n"
    )


def _headline(report: Mapping[str, Json]) -> list[tuple[str, Json]]:
    expected, missed = report["expected_precision"], report["missed"]
    return [
        ("Records of the left file", report["records"][0]),
        ("Records of the register", report["records"][1]),
        *((name.replace("_", " ").capitalize(), many) for name, many in report["outcomes"].items()),
        ("Links of records", report["links"]),
        ("Expected precision by the model", expected["estimate"]),
        ("… 95% interval", [expected["low"], expected["high"]]),
        ("Matches expected among candidates not linked", missed["among_candidates"]),
        ("… as a share of all matches expected", missed["share_of_matches"]),
        ("Applicable records without any candidate", missed["no_candidate"]),
        ("One-to-one conflicts", report["one_to_one_conflicts"]),
        ("Links beyond the most that one person may have", report["beyond_most"]),
    ]


def _reach(report: Mapping[str, Json]) -> str:
    highest = report["highest_weight"]
    said = [("Highest weight that a pair can reach (bits)", highest["bits"])]
    said += [(f"… from {name}", bits) for name, bits in highest["parts"].items()]
    said += [(f"Threshold: {name}", bits) for name, bits in report["thresholds"].items()]
    return facts(said)


def _guards(report: Mapping[str, Json]) -> list[tuple[str, Json]]:
    said = [(f"Pairs stopped: {name}", many) for name, many in report["guarded"].items()]
    return said + [
        (f"Same address as another member: {name}", one) for name, one in report["household"].items()
    ]


def _manifest(manifest: Mapping[str, Json]) -> list[tuple[str, Json]]:
    said: list[tuple[str, Json]] = [
        (f"Digest of input {place}", one["digest"]) for place, one in enumerate(manifest["inputs"], start=1)
    ]
    said += [(f"Digest of {name}", one) for name, one in manifest["results"].items()]
    said += [("Digest of the model", manifest["model"])]
    for part in ("asked", "code", "environment"):
        said += [
            (name.replace("_", " ").capitalize(), json.dumps(one) if isinstance(one, dict) else one)
            for name, one in manifest[part].items()
        ]
    return said


def _comparison(one: Mapping[str, Json]) -> str:
    rows = [(level["label"], level["m"], level["u"], level["weight"]) for level in one["levels"]]
    return f"<h3>{escape(one['name'])}</h3>" + rows_table(["Level", "m", "u", "Weight (bits)"], rows)


def _table(rows: list[Mapping[str, Json]]) -> str:
    if not rows:
        return ""
    heads = [name.replace("_", " ").capitalize() for name in rows[0]]
    return rows_table(heads, [["-" if one is None else one for one in row.values()] for row in rows])


def _list(sentences: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(one)}</li>" for one in sentences) + "</ul>" if sentences else ""
