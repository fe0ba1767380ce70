"""An answer in two halves: what each is bound to, and how they are joined on the officer's machine.

    identity ──(sealed to the officer)──┐
                                        ├─ joined ──▶ one document, without what is other people's
    attributes ─(sealed to the officer)─┘

The rules this module keeps:

- A half opens as that half of that case alone. Two halves of different cases are not joined.
- Columns that a declaration says are about others are left out, and it is said which they are.
- Nothing here says of whom else anything is known.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pseudonym.counted import count
from pseudonym.errors import SealedError
from pseudonym.hpke import OpeningKey

IDENTITY, ATTRIBUTES = "identity", "attributes"
LABEL = "rights-answer/2"
"""Of the form of what is sealed: a half of another form does not open."""


def context(case_id: str, project: str, half: str) -> tuple[str, ...]:
    """What a half is sealed for."""
    return LABEL, case_id, project, half


def joined(
    keys: Sequence[OpeningKey], case_id: str, project: str, identity: bytes, attributes: bytes
) -> dict[str, Any]:
    """One document of both halves.

    Args:
        keys: the officer's; several where the roles know different ones.
        case_id, project: of the case that both answer.
        identity, attributes: the sealed halves.

    Raises:
        SealedError: one does not open: it is not that half of this case's answer, of another form, or sealed
            to another key.
    """
    opened = []
    for half, sealed in ((IDENTITY, identity), (ATTRIBUTES, attributes)):
        opened.append(json.loads(_opened(keys, sealed, context(case_id, project, half))))
    mine, theirs = opened
    return {**mine, "attributes": without_others(theirs)}


def _opened(keys: Sequence[OpeningKey], sealed: bytes, where: Sequence[str]) -> bytes:
    for key in keys:
        with suppress(SealedError):
            return key.open(sealed, *where)
    raise SealedError(
        f"The {where[-1]} half does not open.",
        "Both halves are of one case, and sealed to the officer's key: read the answer again. "
        "One that an earlier version sealed opens no more: have the request opened again.",
    )


def without_others(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attribute half without what is about other people."""
    told = []
    for dataset in attributes.get("datasets", ()):
        others = set(dataset["third_party"])
        rows = [{name: value for name, value in row.items() if name not in others} for row in dataset["rows"]]
        kinds = {name: kind for name, kind in dataset["kinds"].items() if name not in others}
        left_out = f"{count(len(others), 'column is', 'columns are')} left out"
        told.append({**dataset, "kinds": kinds, "rows": rows, "third_party": left_out})
    return {**attributes, "datasets": told}


def tables(document: Mapping[str, Any]) -> dict[str, str]:
    """What a person provided, as CSV files by name: the identity, and each dataset."""
    flat = []
    for row in document.get("records", ()):
        plain = {name: value for name, value in row.items() if not isinstance(value, list)}
        for name in ("names", "aliases", "addresses"):
            for place, one in enumerate(row.get(name) or (), 1):
                plain |= {f"{name}_{place}_{part}": value for part, value in one.items()}
        flat.append(plain)
    found = {"identity": flat}
    for dataset in document.get("attributes", {}).get("datasets", ()):
        found[dataset["name"]] = dataset["rows"]
    return {f"{name}.csv": _csv(rows) for name, rows in found.items() if rows}


def _csv(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _safe(row.get(name)) for name in columns} for row in rows)
    return out.getvalue()


def _safe(value: Any) -> Any:
    """A value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
