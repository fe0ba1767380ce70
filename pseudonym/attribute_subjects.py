"""Subjects of the attribute store: their keys, their rows, and the seal over which rows they have.

The rules this module keeps:

- A subject's rows are sealed under a key of its own, which is wrapped under a key-encrypting key.
- Which rows a subject has, with their versions and families, its family and its flags are vouched for under
  its key: a row exchanged for an older one, or taken away, is noticed before anything is read or added.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from enum import IntFlag

from pseudonym.errors import ConflictError
from pseudonym.keks import Keks
from pseudonym.seal import check_witness, new_deks, open_rows, seal_rows, witness
from pseudonym.storage.rows import At, Project
from pseudonym.storage.rows_attributes import AttributeRows, Batch, Head, Subject
from pseudonym.urn import ID_BYTES, enc

STORE = "attributes"


class Flag(IntFlag):
    """What may not be done with a subject's data though they are kept."""

    RESTRICTED = 1
    OBJECTED = 2
    LIMITED = 4  # not for some purposes: see `pseudonym.attributes_rights`


FROZEN = Flag.RESTRICTED | Flag.OBJECTED
"""Of whose rows none is moved or taken away meanwhile."""


def unwrapped(keks: Keks, keys: Sequence[tuple[bytes, str, bytes]]) -> list[bytes]:
    """The keys of subjects, given as subject, kid and wrapped key.

    Raises:
        SealBrokenError: one was altered, or belongs to another subject.
        KeyMissingError: one is wrapped under a key that is not here.
    """
    deks: dict[bytes, bytes] = {}
    for kid in {kid for _, kid, _ in keys}:
        some = [(subject, wrapped) for subject, under, wrapped in keys if under == kid]
        opened = keks.of(kid).unwrap_all([wrapped for _, wrapped in some], [subject for subject, _ in some])
        deks.update(zip((subject for subject, _ in some), opened, strict=True))
    return [deks[subject] for subject, _, _ in keys]


def checked(
    keks: Keks, subjects: Sequence[Subject], heads: Sequence[Head]
) -> tuple[dict[bytes, bytes], dict[bytes, list[Head]]]:
    """The keys and rows of subjects, after their seals were checked.

    Raises:
        SealBrokenError: what the store says of a subject is not what was written.
    """
    of: dict[bytes, list[Head]] = {subject.aid: [] for subject in subjects}
    for head in heads:
        of[head.aid].append(head)
    deks = unwrapped(keks, [(subject.aid, subject.kid, subject.wrapped) for subject in subjects])
    statements = [_statement(subject, of[subject.aid]) for subject in subjects]
    check_witness(deks, statements, [subject.seal for subject in subjects])
    return dict(zip((subject.aid for subject in subjects), deks, strict=True)), of


def opened(deks: Mapping[bytes, bytes], rows: Sequence[tuple[Head, bytes]]) -> list[bytes]:
    """The payloads of sealed rows."""
    heads = [head for head, _ in rows]
    return open_rows(
        [deks[head.aid] for head in heads],
        STORE,
        [head.aid for head in heads],
        [head.row_id for head in heads],
        [head.version for head in heads],
        [ct for _, ct in rows],
    )


def put(
    rows: AttributeRows,
    at: At,
    keks: Keks,
    project: Project,
    dataset: int,
    aids: Sequence[bytes],
    families: Sequence[bytes | None],
    payloads: Sequence[bytes],
    handles: Sequence[bytes | None] | None = None,
    *,
    replacing: bool = False,
    own: bool = True,
) -> None:
    """Add rows to subjects, which are made where they are new.

    Args:
        rows: the tables.
        at: a transaction.
        keks: the key-encrypting keys.
        project: whose subjects they are.
        dataset: the dataset's number.
        aids: whose each row is; may repeat.
        families: the family of each (None: not said).
        payloads: what to seal.
        handles: what the broker knows each row by (None: nothing).
        replacing: the rows take the place of those the subjects have in this dataset, as the next version.
        own: the rows came in these families, as a council's do. Otherwise they came in none, and a subject of
            which no family is known gets the one that is said.

    Raises:
        ConflictError: an aid is another project's.
        SealBrokenError: what the store says of a subject is not what was written.
    """
    rows.alone(at)
    unique = list(dict.fromkeys(aids))
    present = rows.subjects(at, unique)
    if any(subject.project != project.number for subject in present.values()):
        raise ConflictError("A subject belongs to another project.", "Nothing was stored.")
    deks, of = checked(keks, list(present.values()), rows.heads(at, list(present)))
    fresh = [aid for aid in unique if aid not in present]
    made = new_deks(len(fresh))
    deks.update(zip(fresh, made, strict=True))
    kek = keks.current
    wrapped = dict(zip(fresh, kek.wrap_all(made, fresh), strict=True))
    old = {aid: [head for head in heads if head.dataset == dataset] for aid, heads in of.items()}
    latest = {aid: max((head.version for head in heads), default=0) for aid, heads in old.items()}
    octets = os.urandom(ID_BYTES * len(aids))
    new = [
        Head(
            aid,
            octets[ID_BYTES * place : ID_BYTES * (place + 1)],
            dataset,
            max(latest.get(aid, 0) + replacing, 1),
            handle,
            family if own else None,
        )
        for place, (aid, family, handle) in enumerate(
            zip(aids, families, handles or [None] * len(aids), strict=True)
        )
    ]
    if replacing:
        rows.delete_rows(at, [head.row_id for heads in old.values() for head in heads])
        of = {aid: [head for head in heads if head.dataset != dataset] for aid, heads in of.items()}
    for head in new:
        of.setdefault(head.aid, []).append(head)
    said = {aid: family for aid, family in zip(aids, families, strict=True) if family is not None}
    if not own:
        said |= {aid: one.family for aid, one in present.items() if one.family is not None}
    wanted = [
        present[aid]._replace(family=said.get(aid, present[aid].family))
        if aid in present
        else Subject(aid, said.get(aid), project.number, project.epoch, 0, b"", kek.kid, wrapped[aid])
        for aid in sorted(unique)
    ]
    put_sealed(rows, at, wanted, deks, of, present)
    cts = seal_rows(
        [deks[head.aid] for head in new],
        STORE,
        aids,
        [head.row_id for head in new],
        [head.version for head in new],
        payloads,
    )
    rows.add_rows(at, new, cts)


def put_sealed(
    rows: AttributeRows,
    at: At,
    subjects: Sequence[Subject],
    deks: Mapping[bytes, bytes],
    of: Mapping[bytes, Sequence[Head]],
    present: Mapping[bytes, Subject],
) -> None:
    """Write subjects with a new seal over what they have."""
    statements = [_statement(subject, of[subject.aid]) for subject in subjects]
    seals = witness([deks[subject.aid] for subject in subjects], statements)
    sealed = [subject._replace(seal=seal) for subject, seal in zip(subjects, seals, strict=True)]
    for new in (True, False):
        some = [subject for subject in sealed if (subject.aid not in present) is new]
        if some:
            rows.put_subjects(at, some, new=new)


def open_batch(keks: Keks, batch: Batch) -> bytes:
    """The key of a batch."""
    return unwrapped(keks, [(batch.batch_key, batch.kid, batch.wrapped)])[0]


def _statement(subject: Subject, heads: Sequence[Head]) -> bytes:
    rows = sorted(
        head.row_id
        + enc(head.dataset.to_bytes(4, "big"), head.version.to_bytes(4, "big"))
        + (head.handle or b"")
        + (enc(head.family) if head.family else b"")
        for head in heads
    )
    return enc(
        "attributes-subject/1",
        subject.aid,
        subject.family or b"",
        subject.project.to_bytes(4, "big"),
        bytes([subject.epoch]),
        subject.flags.to_bytes(2, "big"),
        *rows,
    )
