"""Where a delivery waits to be sent: a folder with two halves and a receipt, once and for all.

    FOLDER/identifiers.parquet   for the identity role
    FOLDER/attributes.parquet    for the attributes role
    FOLDER/receipt.json          stays; written last, so that a folder without one was not finished

A folder that holds the batch is left as it is. Only the user who runs this can read what is written.
"""

from __future__ import annotations

import io
import json
from hashlib import sha256
from pathlib import Path

import polars as pl

from pseudonym.errors import ConflictError, InputError, KeysetError
from pseudonym.files import replace_file
from pseudonym.study.delivery import Division

IDENTIFIERS, ATTRIBUTES, RECEIPT = "identifiers.parquet", "attributes.parquet", "receipt.json"


def put(division: Division, folder: Path) -> bool:
    """Put a division into a folder, which is made.

    Returns:
        False where the folder has this very batch already: nothing was written.

    Raises:
        ConflictError: it has another batch, or anything else, or its halves are not as they were written.
    """
    files = {
        IDENTIFIERS: _parquet(division.halves.identifiers),
        ATTRIBUTES: _parquet(division.halves.attributes),
    }
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = {one.name for one in folder.iterdir()}
    except OSError as error:
        raise ConflictError(f"{folder} cannot be used: {error.strerror}.", "Name another folder.") from None
    if RECEIPT in there:
        _check_same(folder, division)
        return False
    if there - {name + end for name in (*files, RECEIPT) for end in ("", ".new")}:
        raise ConflictError(f"{folder} holds something else.", "Name a new folder, or empty this one.")
    for name, content in files.items():
        write(folder / name, content)
    digests = {name: sha256(content).hexdigest() for name, content in files.items()}
    receipt = json.dumps({**division.receipt, "files": digests}, indent=1)
    write(folder / RECEIPT, receipt.encode() + b"\n")
    return True


def write(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    try:
        replace_file(path, content)
    except KeysetError as error:
        raise InputError(error.message, "Name another place.") from None


def _check_same(folder: Path, division: Division) -> None:
    try:
        receipt = json.loads((folder / RECEIPT).read_bytes())
        batch, digests = receipt["batch"], dict(receipt["files"])
        same = all(sha256((folder / name).read_bytes()).hexdigest() == digests[name] for name in digests)
    except (OSError, ValueError, KeyError, TypeError):
        batch, same = "", False
    if not same:
        raise ConflictError(
            f"The halves in {folder} are not as they were written.", "Remove the folder, and divide again."
        )
    if batch != division.receipt["batch"]:
        raise ConflictError(f"{folder} holds another batch.", "Name another folder for this one.")


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()
