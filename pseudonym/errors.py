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


class NotFoundError(PseudonymError):
    """What was named is not there, or no longer."""

    reason = "NOT_FOUND"


class ConflictError(PseudonymError):
    """What was asked contradicts what was done before. Nothing was changed."""

    reason = "CONFLICT"


class EndedError(PseudonymError):
    """The project has ended: its data and keys are destroyed, or are being destroyed."""

    reason = "PROJECT_ENDED"


class LedgerError(PseudonymError):
    """The ledger of erasures was altered, another store's, or is older than the store. Nothing was opened."""

    reason = "LEDGER_INVALID"


class CertificateError(PseudonymError):
    """This is no certificate signed by the key that was given."""

    reason = "CERTIFICATE_INVALID"


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


class OptionError(InputError):
    """What opens a keyset was not given as it must be."""


class KeysetError(PseudonymError):
    """A keyset cannot be made, opened or changed as asked."""

    reason = "KEYSET_INVALID"


class KeyUseError(KeysetError):
    """A key cannot be made, rotated or destroyed as asked, given the keys that there are."""


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


class ProviderError(KeysetError):
    """The token or key server behind a keyset cannot be used, or lacks the key. Nothing was opened."""

    reason = "KEYSET_PROVIDER"


class VersionError(KeysetError):
    """The keyset file is of a format that this program does not read. Nothing was opened."""

    reason = "KEYSET_VERSION"


class KeysetClockError(KeysetError):
    """This machine's clock is behind the time at which the keyset was last written. Nothing was opened."""

    reason = "KEYSET_CLOCK"


class KeyMissingError(KeysetError):
    """There is no such key, or it is in no state to be used."""

    reason = "KEY_MISSING"


class KeyDestroyedError(KeyMissingError):
    """There was such a key, and it was destroyed for good."""


class SealBrokenError(TamperedError):
    """A sealed row or a subject's key was altered, moved or exchanged for an older one. It was not opened."""

    reason = "SEAL_BROKEN"


class StoreError(PseudonymError):
    """A store cannot be opened or changed as asked. Nothing was changed."""

    reason = "STORE_INVALID"


class StoreVersionError(StoreError):
    """The database was made for another version or another role. Nothing was changed."""

    reason = "STORE_VERSION"


class StoreInUseError(StoreError):
    """Another server has the database open. Nothing was changed."""

    reason = "STORE_IN_USE"


class ClockError(StoreError):
    """This machine's clock is behind what the database has already seen. Nothing was changed."""

    reason = "CLOCK_SET_BACK"


class DuplicateError(StoreError):
    """A row with such a key is there already. The transaction was undone."""

    reason = "DUPLICATE"


class SealedError(PseudonymError):
    """What was sealed to a public key does not open. Nothing of it is shown."""

    reason = "SEALED_INVALID"


class LinkError(PseudonymError):
    """Records, links or a decision about them do not fit what is known. Nothing was changed."""

    reason = "LINK_INVALID"


class ProtectedError(LinkError):
    """A decision would join a protected person with another. Nothing was changed."""

    reason = "LINK_PROTECTED"


class AuditError(PseudonymError):
    """An audit log cannot be made, opened, extended or read as asked."""

    reason = "AUDIT_INVALID"


class AuditLockedError(AuditError):
    """Another process, or another opening in this one, holds the audit log."""

    reason = "AUDIT_LOCKED"


class AuditClockError(AuditError):
    """The clock stands before the last entry's time. Nothing was written."""

    reason = "AUDIT_CLOCK"


class AuditCheckpointError(AuditError):
    """No checkpoint can be put where the other party keeps them. What was acknowledged is on disk."""

    reason = "AUDIT_CHECKPOINT"


class AuditProofError(AuditError):
    """A proof, a checkpoint or a signature is not one, or does not hold."""

    reason = "AUDIT_PROOF"


class AuditKeyError(AuditProofError):
    """No key that is known here signed a note."""


class AuditTamperedError(AuditError):
    """The audit log, or a checkpoint of it, is not as it was written.

    Attributes:
        first: the first entry that is concerned, counted from 0, or None.
        last: the last entry that may be concerned, or None.
    """

    reason = "AUDIT_TAMPERED"

    def __init__(
        self, message: str, help: str = "", first: int | None = None, last: int | None = None
    ) -> None:
        super().__init__(message, help)
        self.first = first
        self.last = first if last is None else last


class AuditStrangerError(AuditTamperedError):
    """No key that is known here signed a kept checkpoint."""


class RequestRefusedError(PseudonymError):
    """A request for re-identification is not granted; `reason` says in which respect. Nothing was opened."""

    reason = "REQUEST_REFUSED"

    def __init__(self, reason: str, message: str, help: str = "") -> None:
        super().__init__(message, help)
        self.reason = reason


class LawError(PseudonymError):
    """A use of people's data is not covered; `reason` says in which respect. Nothing was done."""

    reason = "BASIS_MISSING"

    def __init__(self, reason: str, message: str, help: str = "") -> None:
        super().__init__(message, help)
        self.reason = reason


class RetentionError(PseudonymError):
    """A record has to be kept longer. Nothing was deleted."""

    reason = "RETENTION_MINIMUM"


class LeadError(PseudonymError):
    """A family has a lead professional, or the one who is named cannot be it. Nothing was changed."""

    reason = "LEAD_TAKEN"


class OperatorError(PseudonymError):
    """Who wants to make or read partner checks is none of their operators. Nothing was made or opened."""

    reason = "OPERATOR_REFUSED"


class PartnerRowsError(PseudonymError):
    """Rows of a file cannot be asked about. Nothing was made."""

    reason = "PARTNER_ROWS"


class PartnerAnswerError(PseudonymError):
    """Answers do not belong to the open questions, or contradict earlier ones. Nothing was kept of them."""

    reason = "PARTNER_ANSWERS"


class PartnerLateError(PseudonymError):
    """The questions have expired. Nothing was opened."""

    reason = "PARTNER_LATE"


class SubjectMissingError(StoreError):
    """There is no such person, or the person's state does not allow what was asked. Nothing was opened."""

    reason = "SUBJECT_MISSING"


class PurposeError(PseudonymError):
    """Identities are not opened for this purpose. Nothing was opened."""

    reason = "PURPOSE_REFUSED"


class QuotaError(PseudonymError):
    """So many identities may not be opened for this purpose on one day. Nothing was opened."""

    reason = "QUOTA_EXCEEDED"


class ReleaseError(PseudonymError):
    """A release is in no state that allows what was asked. Nothing was changed."""

    reason = "RELEASE_STATE"


class TableError(PseudonymError):
    """A protected table is in no state that allows what was asked. Nothing was changed."""

    reason = "TABLE_STATE"


class LayoutError(PseudonymError):
    """A council's layout does not say what a layout must. Nothing was read."""

    reason = "LAYOUT_INVALID"


class CouncilFileError(PseudonymError):
    """A council's file is not of the structure that its layout says. Nothing was taken from it."""

    reason = "COUNCIL_FILE"


class OptOutMissingError(PseudonymError):
    """No list of the National Data Opt-out came back, and nothing says that it does not apply."""

    reason = "OPT_OUT_MISSING"


class OptOutStaleError(PseudonymError):
    """The list of the National Data Opt-out is too old to be used."""

    reason = "OPT_OUT_STALE"
