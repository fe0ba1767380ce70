"""`kinlink rights open`: the two halves of an answer become one, on the officer's own machine."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Annotated

import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pseudonym.errors import InputError
from pseudonym.files import read_secret_file
from pseudonym.hpke import OpeningKey
from pseudonym.rights.halves import joined, tables
from pseudonym.rights.letter import letter
from pseudonym.rights.reasons import Right
from pseudonym.roles.commands import Project, complaining, content_of, free, write

CaseId = Annotated[str, typer.Argument(metavar="CASE", help="The id of the case.")]


def open_answer(
    project: Project,
    case_id: CaseId,
    folder: Annotated[Path, typer.Option("--in", metavar="FOLDER", help="Where the two halves are.")],
    key: Annotated[
        list[Path],
        typer.Option(
            "--key", metavar="PEM", help="The officer's private key; again if the roles know different ones."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where to put the answer.")],
    eligibility: Annotated[
        Path | None,
        typer.Option("--eligibility", metavar="CSV", help="The council's why.csv, for the family's row."),
    ] = None,
    family: Annotated[
        str, typer.Option("--family", metavar="REFERENCE", help="Which family's row of it.")
    ] = "",
) -> None:
    """Join the two halves of an answer, on the officer's own machine.

    As text to be read, as JSON, and CSV of what was provided where that was asked for.
    """
    with complaining():
        if bool(eligibility) != bool(family):
            raise InputError("--eligibility and --family stand together.", "Give both or neither.")
        halves = [_half(folder / f"{case_id}.{half}") for half in ("identity", "attributes")]
        document = joined([_officer(one) for one in key], case_id, project, *halves)
        if eligibility:
            document["eligibility"] = _eligibility(eligibility, family)
        files = {
            "answer.txt": letter(document),
            "answer.json": json.dumps(document, ensure_ascii=False, indent=2) + "\n",
        }
        if document["case"]["right"] == Right.PORTABILITY:
            files |= tables(document)
        for name in files:
            free(out / name)
        for name, text in files.items():
            write(out / name, text.encode())
            print(out / name)


def _half(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise InputError(f"{path} cannot be read.", "kinlink rights answer puts both halves there.") from None


def _officer(path: Path) -> OpeningKey:
    try:
        key = load_pem_private_key(read_secret_file(path, "officer's key"), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PrivateKey):
        raise InputError(f"{path} is no X25519 private key in PEM.", "It is the officer's own, unlocked.")
    return OpeningKey(key.private_bytes_raw())


def _eligibility(path: Path, family: str) -> dict[str, str]:
    try:
        text = content_of(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("The council's file is not in UTF-8.", "Save it as CSV in UTF-8.") from None
    for row in csv.DictReader(io.StringIO(text, newline="")):
        if row.get("family") == family:
            return dict(row)
    raise InputError("The council's file has no row of this family.", "Check the reference.")
