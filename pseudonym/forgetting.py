"""A number is taken out of everything that the vault has of some persons; they stay."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pseudonym import columns, seal
from pseudonym.storage import identity as db
from pseudonym.storage.rows import At
from pseudonym.storage.schema_identity import IDENTITY_ROW
from pseudonym.subjects import LIVING, STORE, opened
from pseudonym.vault_rows import Tools


def forget_number(tools: Tools, at: At, pids: Sequence[bytes], number: str) -> int:
    """Seal anew, without a number, the rows of persons that have it, and enter them anew in the index.

    Args:
        tools: the vault's.
        at: a transaction.
        pids: whose; ids that are unknown or erased are passed over.
        number: which, one of `records.NUMBERS`; former ones of the same sort go too.

    Returns:
        How many rows had one.

    Raises:
        SealBrokenError: what the store has of one was tampered with; nothing was written.
    """
    living = [
        row.pid for row in db.subjects(tools.store, at, sorted(set(pids)), lock=True) if row.state in LIVING
    ]
    held = tools.subjects.held(at, living, LIVING, lock=True)
    rows = [(each.dek, row) for each in held.values() for row in each.rows]
    if not rows:
        return 0
    people = opened(rows)
    former = pl.col("former").list.eval(pl.element().filter(pl.element().struct.field("what") != number))
    had = pl.col(number).is_not_null() | (pl.col("former").list.len() != former.list.len())
    without = people.with_columns(
        had.fill_null(False).alias("had"), former, pl.lit(None, pl.String).alias(number)
    )
    places = without["had"].arg_true().to_list()
    if not places:
        return 0
    kept = without[places].drop("had")
    some = [rows[place] for place in places]
    ids = [row.row_id for _, row in some]
    versions = [row.version for _, row in some]
    sealed = seal.seal_rows(
        [dek for dek, _ in some], STORE, [row.pid for _, row in some], ids, versions, columns.payloads(kept)
    )
    tools.store.update(
        at, IDENTITY_ROW, ["row_id", "version"], {"row_id": ids, "version": versions, "ct": sealed}
    )
    # Versions that are not the newest stand in no index.
    entered = [place for place, (_, row) in enumerate(some) if row.tags]
    realms = tools.register.realms(at, living)
    tools.rows.reindex(
        at,
        [some[place][1] for place in entered],
        [ids[place] for place in entered],
        columns.found_by(kept[entered]),
        [realms.get(some[place][1].pid, 0) for place in entered],
    )
    tools.store.purge_later(at)
    return len(places)
