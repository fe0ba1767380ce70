r"""The bundle that a recipient gets: tables, dictionary, quality and manifest, sealed to the recipient's key.

    bundle = "kinlink-release/1\n", id (16 bytes), lock, sealed file (`pseudonym.sealed_files`)
    sealed file = a part for each file of the manifest, in its order, and the manifest as its end

The content is sealed under a key of its own when it is built; the lock, which is that key sealed to the
recipient (HPKE), is made only when it is fetched. So what the attributes role keeps meanwhile can be opened
by nobody but that role, the recipient included.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from pseudonym import hpke
from pseudonym.errors import SealBrokenError, SealedError
from pseudonym.files import canonical, parse
from pseudonym.hpke import OpeningKey
from pseudonym.release.build import REFERENCES, Built, Table
from pseudonym.release.columns import Out
from pseudonym.release.spec import PERSONS
from pseudonym.sealed_files import SealedFile, seal_parts
from pseudonym.urn import KEY_BYTES

MANIFEST_FORMAT: Final = "kinlink-release-manifest/1"
MAGIC: Final = b"kinlink-release/1\n"
MANIFEST, DICTIONARY, QUALITY, SPECIFICATION = (
    "manifest.json",
    "dictionary.csv",
    "quality.json",
    "release.toml",
)
ID_BYTES: Final = 16
_LOCK_BYTES = KEY_BYTES + hpke.OVERHEAD
_NAME = "release"
_LINK = "link_"
_GROUPS = ("code", "band", "flag")


@dataclass(frozen=True, slots=True)
class Content:
    """What goes into a bundle: the files by name, and the manifest, which has their digests."""

    files: Mapping[str, bytes]
    manifest: bytes

    @property
    def digest(self) -> bytes:
        """What the approvers sign: SHA-256 of the manifest."""
        return hashlib.sha256(self.manifest).digest()


def packed(built: Built, spec_text: str, said: Mapping[str, Any]) -> Content:
    """The files of a release and its manifest.

    Args:
        built: the tables, under the recipient's numbers.
        spec_text: the specification's file.
        said: what else the manifest says; see `docs/release.md`.
    """
    files = {f"{table.name}.parquet": _parquet(table.frame) for table in built.tables}
    files[DICTIONARY] = dictionary(built.tables).write_csv().encode()
    files[QUALITY] = canonical(quality(built))
    files[SPECIFICATION] = spec_text.encode()
    listed = [
        {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    ]
    rows = {table.name: table.frame.height for table in built.tables}
    return Content(files, canonical({"format": MANIFEST_FORMAT, "files": listed, "rows": rows, **said}))


def dictionary(tables: Sequence[Table]) -> pl.DataFrame:
    """The data dictionary: a row a column, with how often it is missing."""
    rows = []
    for table in tables:
        references = [REFERENCES[name] for name in table.frame.columns if name in REFERENCES]
        for out in (*references, *table.columns):
            rows.append({"table": table.name, **_flat(out), "missing": table.frame[out.name].null_count()})
    return pl.DataFrame(rows, schema_overrides={"missing": pl.Int64}, infer_schema_length=None)


def quality(built: Built) -> dict[str, Any]:
    """How much there is, how complete, and what linking came to by register and outcome, and by group."""
    tables = {}
    for table in built.tables:
        rows = table.frame.height
        there = {name: rows - table.frame[name].null_count() for name in table.frame.columns}
        tables[table.name] = {
            "rows": rows,
            "persons": table.frame["person"].n_unique() if "person" in table.frame.columns else None,
            "families": table.frame["family"].drop_nulls().n_unique(),
            "present": there,
            "complete": {name: round(count / rows, 4) if rows else None for name, count in there.items()},
        }
    return {"tables": tables, "links": _links(built), "links_by": _links_by(built)}


def sealed(key: bytes, release: bytes, content: Content) -> Iterator[bytes]:
    """The content under a key of its own: all of a bundle but its head."""
    return seal_parts(key, release.hex(), _NAME, content.files.values(), content.manifest)


def head(key: bytes, release: bytes, public: bytes) -> bytes:
    """The first bytes of a bundle: with these the recipient can open what follows."""
    return MAGIC + release + hpke.seal(public, key, "release-key/1", release)


def opened(bundle: bytes, key: OpeningKey) -> Content:
    """Open a bundle, and hold every file against the manifest.

    Raises:
        SealedError: it is no bundle, or to another key.
        SealBrokenError: it was altered or cut off.
    """
    place = len(MAGIC) + ID_BYTES
    if bundle[: len(MAGIC)] != MAGIC or len(bundle) < place + _LOCK_BYTES:
        raise SealedError("This is no release.", "Name the file that 'kinlink release read' wrote.")
    release = bundle[len(MAGIC) : place]
    try:
        content_key = key.open(bundle[place : place + _LOCK_BYTES], "release-key/1", release)
    except SealedError:
        raise SealedError(
            "The release is not sealed to this key.",
            "Name the one whose public half is the specification's sealing_key, or fetch the release again.",
        ) from None
    file = SealedFile(content_key, release.hex(), _NAME, io.BytesIO(bundle[place + _LOCK_BYTES :]))
    listed = parse(file.end, "manifest")["files"]
    if len(listed) != file.parts:
        raise _other()
    files = {one["name"]: file.part(number) for number, one in enumerate(listed)}
    for one in listed:
        if hashlib.sha256(files[one["name"]]).hexdigest() != one["sha256"]:
            raise _other()
    return Content(files, file.end)


def _other() -> SealBrokenError:
    return SealBrokenError("The files of the release are not those of its manifest.", "Fetch it again.")


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def _flat(out: Out) -> dict[str, str]:
    return {
        name: " | ".join(value) if isinstance(value, tuple) else value for name, value in asdict(out).items()
    }


def _links(built: Built) -> dict[str, dict[str, int]]:
    """For each column about links, how many persons have which value; `missing` for none."""
    persons = built.table(PERSONS)
    return {name: _counts(persons.frame[name]) for name in persons.names if name.startswith(_LINK)}


def _links_by(built: Built) -> dict[str, dict[str, dict[str, dict[str, int]]]]:
    """For each coded column about persons, the arm among them, what linking came to of those with each value.

    Counted is the table as it leaves: who may read it has the same counts from its rows.
    """
    persons = built.table(PERSONS)
    groups = [one.name for one in persons.columns if one.kind in _GROUPS and not one.name.startswith(_LINK)]
    outcomes = [one.name for one in persons.columns if one.name.startswith(_LINK) and _is_outcome(one)]
    return {
        name: {
            group: {outcome: _counts(some[outcome]) for outcome in outcomes}
            for group, some in _parts(persons.frame.select(name, *outcomes), name)
        }
        for name in groups
    }


def _is_outcome(out: Out) -> bool:
    """Whether a column about links says what linking came to, and not how."""
    return out.source.endswith(".outcome")


def _parts(frame: pl.DataFrame, name: str) -> list[tuple[str, pl.DataFrame]]:
    """The rows with each value of a column, in its order; `missing` for none."""
    named = frame.with_columns(_named(pl.col(name)))
    return [(some[name][0], some) for some in named.sort(name).partition_by(name, maintain_order=True)]


def _counts(values: pl.Series) -> dict[str, int]:
    """How many rows have which value; `missing` for none."""
    name = values.name
    counts = values.to_frame().select(_named(pl.col(name)))[name].value_counts().sort(name)
    return dict(counts.iter_rows())


def _named(column: pl.Expr) -> pl.Expr:
    return column.cast(pl.String).fill_null("missing")
