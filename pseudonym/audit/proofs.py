"""Proofs as files, which can be checked years later with nothing but the log's public key.

- Inclusion: C2SP tlog-proof, with the entry itself as its extra data: this entry is in the log that signed.
- Consistency: `kinlink-audit-consistency/1`, the hashes, the older and the newer checkpoint, with empty lines
  between: the newer log is the older one with entries added.

Before a proof is given out it is checked against the checkpoint it is for.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pseudonym.audit import merkle
from pseudonym.audit.checkpoint import Checkpoint, CheckpointFolder, VerifierKey
from pseudonym.audit.entries import Entry, decode
from pseudonym.audit.folder import ENTRIES, open_files
from pseudonym.audit.stored import Stored, read_entry
from pseudonym.errors import AuditCheckpointError, AuditError, AuditProofError, AuditTamperedError

INCLUSION = "c2sp.org/tlog-proof@v1"
CONSISTENCY = "kinlink-audit-consistency/1"

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


def prove_inclusion(
    folder: Path, checkpoints: Path, keys: Sequence[VerifierKey], number: int, size: int | None = None
) -> str:
    """The proof that an entry is in the log.

    Args:
        folder: of the log; it may be in use.
        checkpoints: the folder that another party keeps.
        keys: the log's public keys.
        number: the entry's.
        size: of the checkpoint to prove it for; the newest when None.

    Raises:
        AuditError: there is no such entry or checkpoint.
        AuditTamperedError: what is stored does not fit the checkpoint.
    """
    checkpoint = _kept(checkpoints, keys, size)
    if not 0 <= number < checkpoint.size:
        raise AuditError(
            f"The checkpoint covers {checkpoint.size} entries, counted from 0.",
            "Entries that were written since are covered by a later one.",
        )
    with _opened(folder) as (entries, stored):
        entry = read_entry(entries, stored, number)
        path = merkle.inclusion_path(stored.node, number, checkpoint.size)
    text = "\n".join([INCLUSION, f"extra {_encoded(entry)}", f"index {number}", *map(_encoded, path)])
    return _checked(f"{text}\n\n{checkpoint.note}", keys)


def prove_consistency(
    folder: Path, checkpoints: Path, keys: Sequence[VerifierKey], old: int, new: int | None = None
) -> str:
    """The proof that the log of one checkpoint is the beginning of the log of another.

    Args:
        folder: of the log; it may be in use.
        checkpoints: the folder that another party keeps.
        keys: the log's public keys.
        old: size of the older checkpoint.
        new: size of the newer one; the newest when None.

    Raises:
        AuditError: there is no such checkpoint.
        AuditTamperedError: what is stored does not fit them.
    """
    before, after = _kept(checkpoints, keys, old), _kept(checkpoints, keys, new)
    with _opened(folder) as (_, stored):
        path = merkle.consistency_path(stored.node, before.size, after.size)
    text = "\n".join([CONSISTENCY, *map(_encoded, path)])
    return _checked(f"{text}\n\n{before.note}\n{after.note}", keys)


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof shows.

    Attributes:
        checkpoints: for an inclusion the one that covers the entry; for a consistency older and newer.
        entry: the entry that is in the log, for an inclusion.
    """

    checkpoints: tuple[Checkpoint, ...]
    entry: Entry | None = None


def check(proof: str, keys: Sequence[VerifierKey]) -> Proven:
    """Check a proof of either kind.

    Raises:
        AuditProofError: it is no proof, or does not hold.
    """
    head, _, rest = proof.partition("\n\n")
    kind, *lines = head.split("\n")
    if kind == INCLUSION:
        return _check_inclusion(lines, rest, keys)
    if kind == CONSISTENCY:
        return _check_consistency(lines, rest.split("\n\n"), keys)
    raise AuditProofError("This is no proof of an audit log.", "Its first line says what it is.")


def _check_inclusion(lines: list[str], note: str, keys: Sequence[VerifierKey]) -> Proven:
    extra, index = [line.partition(" ") for line in [*lines, "", ""][:2]]
    if extra[0] != "extra" or index[0] != "index" or not _NUMBER.fullmatch(index[2]):
        raise AuditProofError("The proof does not say which entry it is for.")
    data, number, path = _decoded(extra[2]), int(index[2]), [_decoded(line) for line in lines[2:]]
    checkpoint = Checkpoint.read(note, keys)
    merkle.check_inclusion(number, checkpoint.size, merkle.leaf_hash(data), path, checkpoint.root)
    entry = decode(data)
    if entry.number != number:
        raise AuditProofError("The entry says that it stands elsewhere.")
    return Proven((checkpoint,), entry)


def _check_consistency(lines: list[str], notes: list[str], keys: Sequence[VerifierKey]) -> Proven:
    if len(notes) != 4:
        raise AuditProofError("The proof does not hold two checkpoints.")
    old = Checkpoint.read(f"{notes[0]}\n\n{notes[1]}\n", keys)
    new = Checkpoint.read(f"{notes[2]}\n\n{notes[3]}", keys)
    if old.origin != new.origin:
        raise AuditProofError("The two checkpoints are those of different logs.")
    path = [_decoded(line) for line in lines]
    merkle.check_consistency(old.size, new.size, path, old.root, new.root)
    return Proven((old, new))


def _kept(folder: Path, keys: Sequence[VerifierKey], size: int | None) -> Checkpoint:
    kept = CheckpointFolder(folder)
    if size is not None:
        return kept.of(size, keys)
    newest = kept.newest(keys)
    if newest is None:
        raise AuditCheckpointError("No checkpoint is kept there.", "Name the folder of the other party.")
    return newest


def _checked(proof: str, keys: Sequence[VerifierKey]) -> str:
    try:
        check(proof, keys)
    except AuditProofError:
        raise AuditTamperedError(
            "What the log's folder holds does not fit the checkpoint.",
            "'kinlink audit verify' says whether entries were changed, or only the hashes beside them.",
        ) from None
    return proof


@contextmanager
def _opened(folder: Path) -> Iterator[tuple[int, Stored]]:
    with ExitStack() as stack:
        entries = open_files(folder, [ENTRIES], os.O_RDONLY)[0]
        stack.callback(os.close, entries)
        stored = Stored(folder, os.O_RDONLY)
        stack.callback(stored.close)
        yield entries, stored


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise AuditProofError("A line of the proof is damaged.") from None
