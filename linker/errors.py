"""The errors of the linkage engine: one tree, one sentence each, and what to do about it.

No message ever holds a value of a person: columns, row numbers, counts and reason codes only.
"""

from __future__ import annotations


class LinkerError(Exception):
    """Something the caller can put right.

    Attributes:
        reason: a stable upper-case code that programs can test for.
        message: one sentence that says what is wrong.
        help: one sentence that says what to do, or an empty string.
    """

    reason = "LINKER_ERROR"

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.help = help

    def __str__(self) -> str:
        return f"{self.message} {self.help}".rstrip()


class FileError(LinkerError):
    """A file cannot be read or written as what it claims to be."""

    reason = "FILE_INVALID"


class LayoutError(LinkerError):
    """The columns of a file cannot be understood as asked."""

    reason = "LAYOUT_INVALID"


class RecordsError(LinkerError):
    """The records as a whole cannot be used: none there, ids repeated, nothing to compare."""

    reason = "RECORDS_INVALID"


class ModelError(LinkerError):
    """A model is malformed, or does not fit the records it is asked to score."""

    reason = "MODEL_INVALID"


class ManifestError(LinkerError):
    """A manifest cannot be read, or what is given with it is not what its run had."""

    reason = "MANIFEST_INVALID"


class ProfileError(LinkerError):
    """A linkage profile cannot be read, or does not fit the files it is used on."""

    reason = "PROFILE_INVALID"


class TruthError(LinkerError):
    """Truth or labels do not fit the records."""

    reason = "TRUTH_INVALID"


class Cancelled(LinkerError):
    """The work was cancelled by its owner; nothing was written."""

    reason = "CANCELLED"
