"""How SQLite looks for rows: by what is asked for, and not by all that a project or a run has."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from pseudonym.frames import columns
from tests.pseudonym.separation.parts import PROJECT, attributes, begun, broker, declared, ids


@pytest.fixture
def plans(monkeypatch):
    """Of every query and deletion what SQLite would do for it."""
    found: list[str] = []

    def explained(connection, cursor, statement, parameters, context, executemany):
        if connection.dialect.name == "sqlite" and statement.lstrip().upper().startswith(
            ("SELECT", "DELETE")
        ):
            raw = connection.connection.driver_connection
            found.extend(
                f"{row[3]} :: {statement[:60]}"
                for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            )

    sa.event.listen(sa.Engine, "before_cursor_execute", explained)
    yield found
    sa.event.remove(sa.Engine, "before_cursor_execute", explained)


def test_r85_what_the_roles_say_of_some_rows_does_not_grow_with_all_rows(tmp_path, plans):
    with (
        broker(f"sqlite:///{tmp_path / 'broker.db'}", tmp_path) as role,
        attributes(f"sqlite:///{tmp_path / 'attributes.db'}", tmp_path) as store,
    ):
        begun(role)
        declared(store)
        refs = columns(row_ref=ids(4))
        plans.clear()
        role.registers.waiting(PROJECT)
        role.acknowledge(PROJECT, refs)
        role.acknowledge(PROJECT, refs, 1)
        store.intake.forget(PROJECT, refs)
        store.intake.attach(PROJECT, columns(row_ref=ids(1), aid=ids(1), family=ids(1), handle=ids(1)))
    looked = [one for one in plans if " half " in one or " stray " in one or " a_half " in one]
    assert len(looked) > 4
    assert not [one for one in looked if "PRIMARY KEY (row_ref" not in one], looked
