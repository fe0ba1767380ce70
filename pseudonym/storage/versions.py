"""Which version of which role's tables a database has, and how it gets to the one this program needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from pseudonym.errors import StoreError, StoreVersionError
from pseudonym.storage.common import STORE
from pseudonym.storage.schema import METADATA, REVISIONS, Role

if TYPE_CHECKING:
    from alembic.config import Config

_ALEMBIC = "alembic_version"
_MIGRATIONS = Path(__file__).parent / "migrations"


def is_empty(connection: sa.Connection) -> bool:
    """Whether the database has no table yet."""
    return not sa.inspect(connection).get_table_names()


def check(connection: sa.Connection, role: Role) -> None:
    """Do nothing if the database is the role's, and of the version this program needs.

    Raises:
        StoreVersionError: it is of another version, or of another role.
        StoreError: it was not made by this program.
    """
    found = _found(connection, role)
    if found != REVISIONS[role]:
        check_known(connection, role)
        raise StoreVersionError(
            f"The database is of version {found}; this program needs {REVISIONS[role]}.",
            "Back it up, then run server.py as for this role with --migrate added, once; or use the program "
            "that made it.",
        )


def make(connection: sa.Connection, role: Role, now: int) -> None:
    """Make the role's tables in an empty database."""
    _upgrade(connection, role)
    store = METADATA[role].tables[STORE]
    connection.execute(
        sa.insert(store).values(one=1, role=role.value, made=now, last_seen=now, deletions=0, purged=0)
    )


def check_known(connection: sa.Connection, role: Role) -> str:
    """The version of a database that is the role's, and of this version or one before.

    Raises:
        StoreVersionError: it is of a later version, or of another role.
        StoreError: it is empty, or was not made by this program.
    """
    from alembic.script import ScriptDirectory

    if is_empty(connection):
        raise StoreError(
            "There is no database yet, or it is empty.",
            "See that the right one is named; a new one is made when its role is started.",
        )
    found = _found(connection, role)
    script = ScriptDirectory.from_config(_config(role))
    if found not in {revision.revision for revision in script.walk_revisions()}:
        raise StoreVersionError(
            f"The database is of version {found}, which this program does not know.",
            "Use the program that made it, or a later one.",
        )
    return found


def bring_up(connection: sa.Connection, role: Role) -> None:
    """Change the tables of an older version into those of this one.

    Raises:
        StoreVersionError: it is of a later version, or of another role.
        StoreError: it was not made by this program, or holds what this version has no place for.
    """
    check_known(connection, role)
    _upgrade(connection, role)


def _found(connection: sa.Connection, role: Role) -> str:
    tables = set(sa.inspect(connection).get_table_names())
    if not {_ALEMBIC, STORE} <= tables:
        raise StoreError(
            "The database was made by another program.", "Name an empty one, or one of Kinlink's."
        )
    whose = connection.execute(sa.text("SELECT role FROM store")).scalars().all()
    if whose != [role.value]:
        said = whose[0] if len(whose) == 1 and whose[0] in set(Role) else "no known"
        raise StoreVersionError(
            f"The database is of the {said} role, not of the {role.value} role.",
            "Each role has a database of its own.",
        )
    heads = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all()
    return " and ".join(sorted(heads)) or "none"


def _upgrade(connection: sa.Connection, role: Role) -> None:
    from alembic import command  # takes a while to import, and an open database needs none of it

    config = _config(role)
    config.attributes["connection"] = connection
    command.upgrade(config, REVISIONS[role])
    if connection.dialect.name == "postgresql":
        _keep_no_samples(connection, role)


def _keep_no_samples(connection: sa.Connection, role: Role) -> None:
    """Keep what is sealed or covered out of PostgreSQL's statistics.

    They are samples of the values of each column, stay when a row is deleted, and no purge reaches them. Only
    for columns that rows are found by are they of use.
    """
    for table in METADATA[role].tables.values():
        found_by = {
            *table.primary_key.columns,
            *(column for index in table.indexes for column in index.columns),
        }
        for column in set(table.columns) - found_by:
            if isinstance(column.type, sa.LargeBinary):
                connection.exec_driver_sql(
                    f'ALTER TABLE "{table.name}" ALTER COLUMN "{column.name}" SET STATISTICS 0'
                )


def _config(role: Role) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(_MIGRATIONS / role.value).replace("%", "%%"))
    return config
