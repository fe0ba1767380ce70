"""The errors of pseudonymisation: one tree, one sentence each, and what to do about it.

No message ever holds a reference number, an internal id, a key, a passphrase, or a value of a person:
positions, counts, states and file names only.
"""

from __future__ import annotations


class PseudonymError(Exception):
    """Something the caller can put right.

    Attributes:
        reason: a stable upper-case code that programs can test for.
        message: one sentence that says what is wrong.
        help: one sentence that says what to do, or an empty string.
    """

    reason = "PSEUDONYM_ERROR"

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.help = help

    def __str__(self) -> str:
        return f"{self.message} {self.help}".rstrip()


class InputError(PseudonymError):
    """A label, an epoch, a counter or an internal id has not the form that the format fixes."""

    reason = "INPUT_INVALID"


class UrnError(PseudonymError):
    """What was given is not a reference number; the subclass says in which respect."""

    reason = "URN_INVALID"


class UrnLengthError(UrnError):
    """Symbols are missing, or there are too many."""

    reason = "URN_LENGTH"


class UrnSymbolError(UrnError):
    """A character that no reference number holds."""

    reason = "URN_SYMBOL"


class UrnCheckError(UrnError):
    """The check symbols do not fit the rest: a symbol was misread, or two were exchanged."""

    reason = "URN_CHECK"


class UrnKindError(UrnError):
    """The check symbols fit, but the first two symbols name no kind or epoch that exists."""

    reason = "URN_KIND"


class KeysetError(PseudonymError):
    """A keyset cannot be made, opened or changed as asked."""

    reason = "KEYSET_INVALID"


class PassphraseError(KeysetError):
    """The passphrase, or the device secret it is mixed with, is not the keyset's. Nothing was opened."""

    reason = "KEYSET_PASSPHRASE"


class TamperedError(KeysetError):
    """The keyset file is not the one that was last written. Nothing was opened."""

    reason = "KEYSET_TAMPERED"


class PermissionsError(KeysetError):
    """A secret file could be read or changed by somebody else."""

    reason = "KEYSET_PERMISSIONS"


class StaleError(KeysetError):
    """The keyset was changed by somebody else after it was opened here. Nothing was written."""

    reason = "KEYSET_STALE"


class KeyMissingError(KeysetError):
    """There is no such key, or it is in no state to be used."""

    reason = "KEY_MISSING"
