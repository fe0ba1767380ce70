"""The manifest of a run: all that its result depends on, and digests by which the result is known again.

The same inputs under the same manifest give the same links, to the last bit, whatever the order of the rows
and the number of threads; `linker.verify` runs again and says whether they did. It holds no time, no path
and no value of a person: column names, counts and digests only. The digests are those of `linker.digest`.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any as Json

import polars as pl

from linker.errors import ManifestError
from linker.files import write_text
from linker.records import Field, Kind, Layout, Records

if TYPE_CHECKING:
    from linker.linkage import Deduplication, Linkage
    from linker.matchkeys import Matchkeys

FORMAT = "kinlink-manifest/1"
PROFILE_FORMAT = "kinlink-profile-manifest/1"
COUNTED = (
    "candidate_pairs", "rules", "rules_left_out", "links", "review", "clusters", "conflicts",
)  # fmt: skip
COUNTED_OF_KEYS = ("key", "linked", "ambiguous", "review", "not_linked")
LIBRARIES = ("polars", "numpy", "numba", "llvmlite", "scipy", "jellyfish")


@dataclass(frozen=True)
class Asked:
    """What a run was asked to do.

    Attributes:
        cardinality: as in `Cardinality`; None for deduplication.
        threshold: in bits; None to find it.
        lead: in bits.
        all_pairs: the lowest weight of the pairs that were to be kept, in bits, or None.
        seed: of the random pairs in training.
        model_given: whether the model was given and not trained.
        labels: digest of the pairs known to be one person, or None.
        keys: name and digest of the matchkeys before the model, as `name_of` gives them, or None.
    """

    cardinality: str | None
    threshold: float | None
    lead: float
    all_pairs: float | None
    seed: int
    model_given: bool
    labels: str | None
    keys: str | None


def name_of(keys: Matchkeys) -> str:
    """By what a manifest knows a set of matchkeys: the name it bears and its digest."""
    return f"{keys.name} {keys.digest}"


@dataclass(frozen=True)
class Input:
    """One set of records as it was understood.

    Attributes:
        digest: of the ids and of all columns that take part, refused rows left out.
        records: how many there were.
        refused: rows left out.
        set_aside: values not used.
        layout: how the columns were understood.
    """

    digest: str
    records: int
    refused: int
    set_aside: int
    layout: Layout

    @staticmethod
    def of(records: Records) -> Input:
        from linker.digest import digest  # it loads the compiler, which reading a manifest does not need

        refused = int(records.refusals["refused"].sum())
        return Input(
            digest(records.frame.with_columns(records.ids.alias("\x00id"))),
            len(records.ids),
            refused,
            len(records.refusals) - refused,
            records.layout,
        )


@dataclass(frozen=True)
class Manifest:
    """What a run's result depends on, and what the result was.

    Attributes:
        kind: "linkage" or "deduplication".
        inputs: the sets of records, in the order given.
        asked: the arguments of the run.
        model: digest of the model that scored.
        model_file: name of the file beside the manifest that keeps the model, or None.
        threshold: the weight from which pairs were linked, in bits.
        counts: how many candidate pairs, by rule too, links, pairs for review, clusters, pairs of each key.
        results: digest of each table: "links", "review", "clusters".
        code: "version" of Kinlink, and "sources", a digest of its modules.
        environment: "python", "machine", and the version of each library that has a part in the numbers.
    """

    kind: str
    inputs: tuple[Input, ...]
    asked: Asked
    model: str
    model_file: str | None
    threshold: float
    counts: Mapping[str, Json]
    results: Mapping[str, str]
    code: Mapping[str, str]
    environment: Mapping[str, str]

    @staticmethod
    def of(result: Linkage | Deduplication) -> Manifest:
        """The manifest of a run that has ended."""
        from linker.digest import digest

        clusters: pl.DataFrame | None = getattr(result, "clusters", None)
        tables = {"links": result.links, "review": result.review}
        return Manifest(
            kind="linkage" if clusters is None else "deduplication",
            inputs=tuple(Input.of(records) for records in result.records),
            asked=result.asked,
            model=result.model.digest,
            model_file=None,
            threshold=result.threshold,
            counts=_counts(result.summary),
            results={
                name: digest(table)
                for name, table in (tables | ({} if clusters is None else {"clusters": clusters})).items()
            },
            code=code(),
            environment=environment(),
        )

    def as_dict(self) -> dict[str, Json]:
        """Plain data; the format first."""
        threshold = self.threshold if math.isfinite(self.threshold) else None  # JSON knows no infinity
        return {"format": FORMAT} | asdict(self) | {"threshold": threshold}

    def to_json(self) -> str:
        """The manifest as one JSON document."""
        return json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the manifest, complete or not at all.

        Raises:
            FileError: the place cannot be written.
        """
        write_text(self.to_json(), path)

    @staticmethod
    def load(path: str | Path) -> Manifest:
        """Read a manifest.

        Raises:
            ManifestError: there is no such file, or it holds no manifest of this version.
        """
        name = Path(path).name
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            raise ManifestError(
                f"{name} cannot be read as a manifest.", "Give a file that 'kinlink link' wrote."
            ) from None
        if isinstance(data, dict) and PROFILE_FORMAT in (data.get("format"), _within(data)):
            raise ManifestError(
                f"{name} is of a linkage by profile, which is not run again from its manifest.",
                "Run 'kinlink link --profile' again as 'asked' says, and compare the digests in 'results'.",
            )
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ManifestError(
                f"{name} is no manifest of the format {FORMAT}.", "Give a file that 'kinlink link' wrote."
            )
        try:
            return _from_dict(data)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ManifestError(
                f"A part of {name} is missing or of the wrong type.", "Run 'kinlink link' again."
            ) from None


def _counts(summary: Mapping[str, Json]) -> dict[str, Json]:
    """What a run counted; of the matchkeys the pairs of each by outcome."""
    counts = {name: summary[name] for name in COUNTED if name in summary}
    if "matchkeys" in summary:
        found = summary["matchkeys"]
        keys = [{part: one[part] for part in COUNTED_OF_KEYS} for one in found["keys"]]
        left_out = [one["key"] for one in found["left_out"]]
        counts["matchkeys"] = {
            "candidate_pairs": found["candidate_pairs"], "keys": keys, "left_out": left_out,
        }  # fmt: skip
    return counts


def _within(data: dict[str, object]) -> object:
    """The format of a manifest that stands within a report."""
    manifest = data.get("manifest")
    return manifest.get("format") if isinstance(manifest, dict) else None


def _from_dict(data: Mapping[str, Json]) -> Manifest:
    return Manifest(
        kind={"linkage": "linkage", "deduplication": "deduplication"}[data["kind"]],
        inputs=tuple(Input(**one | {"layout": _layout(one["layout"])}) for one in data["inputs"]),
        asked=Asked(**data["asked"]),
        model=str(data["model"]),
        model_file=None if data["model_file"] is None else Path(data["model_file"]).name,
        threshold=math.inf if data["threshold"] is None else float(data["threshold"]),
        counts=dict(data["counts"]),
        results=dict(data["results"]),
        code=dict(data["code"]),
        environment=dict(data["environment"]),
    )


def _layout(data: Mapping[str, Json]) -> Layout:
    return Layout(
        data["id_column"],
        tuple(
            Field(one["name"], Kind(one["kind"]), tuple(one["columns"]), one["why"]) for one in data["fields"]
        ),
        tuple((name, reason) for name, reason in data["ignored"]),
    )


@cache
def code() -> dict[str, str]:
    """The version, and a digest of every module of the package but the generated ones."""
    folder, sources = Path(__file__).parent, hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        if not name.startswith("v1/"):
            sources.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return {"version": _version("kinlink"), "sources": sources.hexdigest()}


def environment() -> dict[str, str]:
    """Python, the machine, and the version of each library that has a part in the numbers."""
    here = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    return here | {name: _version(name) for name in LIBRARIES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
