"""Three server processes, three databases, three accounts: what each leaves behind, and where each gets in.

Whatever lies in a dump, in the files of the database server, its write-ahead log, its archive and its own log
(which here has every statement with its parameters), and in the roles' folders and logs is searched for the
canaries in every form, whatever table or file it is in.
"""

from __future__ import annotations

import psycopg
import pytest

from pseudonym.roles.callers import SERVER_ROLES, Role
from tests.pseudonym.cluster import ROLES, may
from tests.pseudonym.threats.canaries import Scanner
from tests.pseudonym.threats.scene import BATCHES, PROJECT, ROWS, canaries

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# What an account of a role must not be able to do anywhere on the server.
FORBIDDEN = (
    "CREATE DATABASE other",
    "CREATE ROLE other",
    "ALTER ROLE CURRENT_USER CREATEROLE",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE postgres PASSWORD 'mine'",
    "SET ROLE postgres",
    "GRANT pg_read_all_data TO CURRENT_USER",
    "GRANT pg_read_server_files TO CURRENT_USER",
    "ALTER SYSTEM SET log_statement = 'none'",
    "SET log_statement = 'none'",
    "SET session_replication_role = replica",
    "CREATE SCHEMA other",
    "CREATE PUBLICATION everything",
    "CREATE FUNCTION f() RETURNS int AS 'x', 'y' LANGUAGE c",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "COPY pg_class TO '/tmp/kinlink-copied'",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT pg_ls_waldir()",
    "SELECT pg_switch_wal()",
    "SELECT lo_import('/etc/passwd')",
    "SELECT rolpassword FROM pg_authid",
    "SELECT pg_create_physical_replication_slot('other')",
)
ALLOWED = (
    "SELECT 1",
    "CREATE TEMPORARY TABLE own (a int)",
    "CREATE TABLE own (a int)",
    "DROP TABLE public.own",
)


@pytest.mark.parametrize("role", ROLES)
def test_r34_an_accounts_credentials_open_its_own_database_and_no_other(attacked, role):
    for database in (*ROLES, "postgres", "template1"):
        if database == role:
            attacked.cluster.connect(database, role).close()
            continue
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            attacked.cluster.connect(database, role)
    for other in {*ROLES, "postgres"} - {role}:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            attacked.cluster.connect(role, other, attacked.cluster.passwords[role])


@pytest.mark.parametrize("role", ROLES)
def test_an_account_may_make_tables_in_its_own_database_and_nothing_else(attacked, role):
    with attacked.cluster.connect(role, role) as connection:
        assert may(connection, FORBIDDEN) == []
        assert may(connection, ALLOWED) == list(ALLOWED)
        owned = connection.execute(
            "SELECT relname FROM pg_class "
            "WHERE relowner = 'postgres'::regrole AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        assert owned == []
        attributes = connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls FROM pg_roles "
            "WHERE rolname = current_user"
        ).fetchone()
        assert attributes == (False,) * 5
        memberships = connection.execute(
            "SELECT count(*) FROM pg_auth_members WHERE member = current_user::regrole"
        )
        assert memberships.fetchone() == (0,)
    for statement in FORBIDDEN[:3]:  # the administrator may: it is the account that is refused
        with attacked.cluster.connect(role) as connection:
            connection.execute("SET default_transaction_read_only = on")
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), connection.transaction():
                connection.execute(statement.replace("CURRENT_USER", role))


@pytest.fixture(scope="module")
def dumps(attacked):
    return {role: attacked.cluster.dump(role) for role in ROLES}


@pytest.fixture(scope="module")
def scanner():
    return Scanner(canaries())


def test_r34_no_canary_is_in_a_dump_of_any_database_or_of_all(attacked, dumps, scanner):
    for role, dump in dumps.items():
        assert len(dump) > 100_000, role  # they are the right bytes
        assert scanner.found(dump) == set(), role
    marks = {role: Scanner([attacked.rows(Role(role), f"SELECT min(kid) AS kid FROM {table}")[0]["kid"]])
             for role, table in (("identity", "subject"), ("attributes", "a_key"))}  # fmt: skip
    for role, mark in marks.items():
        assert mark.found(dumps[role])  # the search finds what is there
    assert scanner.found(b"".join(dumps.values())) == set()


def test_no_canary_is_in_the_database_servers_files_logs_or_write_ahead_log(attacked, scanner):
    read = {path.relative_to(attacked.cluster.folder): path.read_bytes() for path in attacked.cluster.files()}
    segments = [path for path in read if path.parts[0] == "archive" or "pg_wal" in path.parts]
    assert sum(len(read[path]) for path in segments) > 2_000_000
    marks = Scanner([PROJECT, "cambridgeshire"])
    assert any(marks.found(read[path]) for path in segments)  # written there in the clear, and found
    log = next(content for path, content in read.items() if path.name == "log")
    assert log.count(b"COPY") > 4 * BATCHES
    assert b"cambridgeshire" not in log  # rows go in by COPY, which no log of statements shows
    for content, path in {content: path for path, content in read.items()}.items():  # databases share many
        assert scanner.found(content) == set(), path


@pytest.mark.parametrize("role", SERVER_ROLES)
def test_no_canary_is_in_a_roles_files_audit_log_or_words(attacked, scanner, role):
    files = attacked.files(role)
    names = {path.name for path in files}
    assert {"keyset.json", "entries", "tree", "checkpoint", f"{role}.log"} <= names
    assert Scanner([PROJECT]).found(b"".join(path.read_bytes() for path in files))
    for path in files:
        assert scanner.found(path.read_bytes()) == set(), path.name
        assert scanner.found(str(path).encode()) == set(), path.name


def test_ids_are_where_they_belong_and_nowhere_else(attacked, dumps):
    """Internal ids with identity, attribute ids with broker and attributes, numbers with the broker alone."""
    chosen = slice(None, None, 10)
    pids = [row["pid"] for row in attacked.rows(Role.IDENTITY, "SELECT pid FROM subject ORDER BY pid")][
        chosen
    ]
    aids = [row["aid"] for row in attacked.rows(Role.ATTRIBUTES, "SELECT aid FROM a_subject ORDER BY aid")][
        chosen
    ]
    urns = [urn for issued in attacked.urns.values() for urn in issued.values()][chosen]
    refs = [ref for batch in attacked.refs for ref in batch][chosen]
    assert min(map(len, (pids, aids, urns, refs))) > 50
    everything = {
        role: dumps[role] + b"".join(path.read_bytes() for path in attacked.files(Role(role)))
        for role in ROLES
    }
    files = {role: attacked.cluster.octets(role) for role in ROLES}
    for values, where in (
        (pids, {"identity"}),
        (aids, {"broker", "attributes"}),
        (urns, {"broker"}),
        (refs, set()),
    ):
        search = Scanner(values)
        for role in ROLES:
            found = {one.value for one in search.found(everything[role])}
            assert found == (set(values) if role in where else set()), role
            if (
                role not in where and values is not refs
            ):  # references stay in dead rows until they are vacuumed
                assert search.found(files[role]) == set(), role


def test_the_scene_was_played(attacked):
    counts = {
        "identity": "SELECT count(*) AS n FROM identity_row",
        "broker": "SELECT count(*) AS n FROM urn",
        "attributes": "SELECT count(*) AS n FROM a_row",
    }
    found = {role: attacked.rows(Role(role), query)[0]["n"] for role, query in counts.items()}
    persons = attacked.rows(Role.ATTRIBUTES, "SELECT count(*) AS n FROM a_subject")[0]["n"]
    rows = BATCHES * ROWS
    assert found == {"identity": rows, "broker": 2 * persons, "attributes": rows + 100}
    assert 0.9 * rows < persons <= rows
