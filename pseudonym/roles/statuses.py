"""Which gRPC status an error of pseudonymisation becomes."""

from __future__ import annotations

from pseudonym import errors
from pseudonym.roles.refusals import Refused
from pseudonym.values import ValuesRefused

INTERNAL = "INTERNAL"

_CODES: dict[type[errors.PseudonymError], str] = {
    errors.InputError: "INVALID_ARGUMENT",
    errors.UrnError: "INVALID_ARGUMENT",
    errors.SealedError: "INVALID_ARGUMENT",
    errors.AuditProofError: "INVALID_ARGUMENT",
    ValuesRefused: "INVALID_ARGUMENT",
    errors.NotFoundError: "NOT_FOUND",
    errors.KeyMissingError: "NOT_FOUND",
    errors.SubjectMissingError: "NOT_FOUND",
    errors.ConflictError: "ALREADY_EXISTS",
    errors.DuplicateError: "ALREADY_EXISTS",
    errors.KeyUseError: "FAILED_PRECONDITION",
    errors.StaleError: "ABORTED",
    errors.RequestRefusedError: "PERMISSION_DENIED",
    errors.PurposeError: "PERMISSION_DENIED",
    errors.LawError: "PERMISSION_DENIED",
    errors.QuotaError: "RESOURCE_EXHAUSTED",
    # Their words are about the server's own files and clock: the log has the type, the caller a call's id.
    errors.KeysetError: INTERNAL,
    errors.StoreError: INTERNAL,
    errors.LedgerError: INTERNAL,
    errors.AuditLockedError: INTERNAL,
    errors.AuditClockError: INTERNAL,
    errors.AuditCheckpointError: INTERNAL,
    errors.AuditTamperedError: INTERNAL,
    # What a council or a partner does on its own machine: no server raises these.
    errors.LayoutError: INTERNAL,
    errors.CouncilFileError: INTERNAL,
    errors.OperatorError: INTERNAL,
    errors.RetentionError: INTERNAL,
    errors.LeadError: INTERNAL,
    errors.PartnerRowsError: INTERNAL,
    errors.PartnerAnswerError: INTERNAL,
    errors.PartnerLateError: INTERNAL,
    errors.PseudonymError: "FAILED_PRECONDITION",
}


def code_of(error: errors.PseudonymError) -> str:
    """The name of the gRPC status code; INTERNAL if the caller must not see the error's words."""
    if isinstance(error, Refused):
        return error.code
    return next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)
