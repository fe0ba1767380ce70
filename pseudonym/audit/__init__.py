"""The audit log of a role: what was done with people's data, in entries that cannot be changed unseen.

`Log` appends `Event`s and signs checkpoints; `verify` checks a log against the checkpoints that another party
kept; `merkle` has the tree and its proofs. `docs/audit.md` fixes the format.
"""

from __future__ import annotations

from pseudonym.audit.checkpoint import Checkpoint, CheckpointFolder, Signer, SigningKey, VerifierKey
from pseudonym.audit.clock import Clock, system_clock
from pseudonym.audit.entries import Entry, Event, open_details
from pseudonym.audit.log import Log
from pseudonym.audit.signing import Cadence, ticking
from pseudonym.audit.verify import Verified, verify

__all__ = [
    "Cadence",
    "Checkpoint",
    "CheckpointFolder",
    "Clock",
    "Entry",
    "Event",
    "Log",
    "Signer",
    "SigningKey",
    "Verified",
    "VerifierKey",
    "open_details",
    "system_clock",
    "ticking",
    "verify",
]
