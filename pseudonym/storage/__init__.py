"""Where the three roles keep what they must not forget: one contract, on SQLite or PostgreSQL.

The rules this package keeps:

- Whatever a transaction has returned from is on disk; one that raised, or that a crash cut off, never was.
- A database belongs to one role and one version of its tables. One of another role, version or program, one
  that another server has open (SQLite), and one that has seen a later time than this machine's clock are
  refused, and nothing in them changes.
- What is deleted does not stay readable in free pages or in SQLite's write-ahead log: see `Store.purge`.
- Nothing here knows a key: what is secret arrives sealed (`pseudonym.seal`).
"""

from __future__ import annotations

from pseudonym.storage.engine import Role, Store, migrate, open_store

__all__ = ["Role", "Store", "migrate", "open_store"]
