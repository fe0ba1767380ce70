"""Files that are on disk, whole, once the call returns: draft, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

DRAFT = ".part"  # at the end of the name of a file that is not whole yet


def write(path: Path, writer: Callable[[IO[bytes]], object]) -> None:
    """Write a file that appears whole under its name or not at all; an earlier one is replaced."""
    draft = path.with_name(f"{path.name}{DRAFT}")
    with draft.open("wb") as file:
        writer(file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files by name, each whole or not at all; the names are put on disk once for all."""
    for name, content in contents.items():
        draft = folder / f"{name}{DRAFT}"
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / name)
    sync_folder(folder)


def make_folder(path: Path) -> None:
    """Make a folder and what is missing above it."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def move_folder(draft: Path, target: Path) -> None:
    """Give a folder of durable files its name; a folder left there by a broken attempt goes."""
    shutil.rmtree(target, ignore_errors=True)
    draft.replace(target)
    sync_folder(target.parent)


def sync_folder(path: Path) -> None:
    """Put the names in a folder on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
