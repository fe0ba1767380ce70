"""Entries as they stand, one after the other; whether they are genuine, `verify` says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pseudonym.audit.entries import Entry, decode
from pseudonym.audit.folder import ENTRIES, open_files, read_about, read_exactly
from pseudonym.audit.frames import HEADER_BYTES, SpoiltError, header, read
from pseudonym.errors import AuditTamperedError


def entries_of(folder: Path, first: int = 0) -> Iterator[Entry]:
    """A log's entries from one on, up to a last frame that is half-written. The log may be in use.

    Raises:
        AuditError: there is no log.
        AuditTamperedError: a frame or an entry cannot be read, and more comes after it.
    """
    read_about(folder)
    handle = open_files(folder, [ENTRIES], os.O_RDONLY)[0]
    try:
        at, stop = 0, os.fstat(handle).st_size
        while at < stop:
            head = header(read_exactly(handle, HEADER_BYTES, at))
            if head and head.first + head.count <= first:
                at += HEADER_BYTES + head.size
                continue
            try:
                frame = read(handle, at, stop)
            except SpoiltError as spoilt:
                if spoilt.torn:
                    return
                raise AuditTamperedError(
                    f"A frame of the log cannot be read: it {spoilt.what}.",
                    "'kinlink audit verify' says which entries are concerned.",
                ) from None
            for number, data in enumerate(frame.entries, frame.first):
                if number >= first:
                    yield decode(data)
            at = frame.end
    finally:
        os.close(handle)
