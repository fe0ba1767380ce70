"""Canaries: identifiers planted in the vault are in none of its bytes, however they might be written."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from datetime import date
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from pseudonym import columns
from pseudonym.people import Delivery, People
from pseudonym.records import Address, Former, Identity, Name
from pseudonym.storage import identity as db
from pseudonym.storage import open_store
from pseudonym.storage.schema_identity import SUBJECT
from pseudonym.vault import State
from tests.pseudonym.histories import links, stamp, unit
from tests.pseudonym.storage import made_up
from tests.pseudonym.storage.delivered import series
from tests.pseudonym.storage.made_up import MANDATE, people, pid, vault

CANARY = Identity(
    names=(Name("Zebediah", "Quistgaard-Øre"),),
    aliases=(Name("Zebbie", "Vexwhistle"),),
    born=date(1931, 11, 27),
    sex="indeterminate-canary",
    addresses=(Address("77 Plover Wynd, Canarytown", "ZE3 9JP"),),
    nhs="9434765919",
    nino="ZY887766C",
    upn="B801200005001",
    uln="9276308686",
    pncid="1979/0163001B",
    former=(Former("surname", "Oldquist", date(1950, 5, 6), date(1971, 8, 9)), Former("nhs", "4010232137")),
)


def forms(value: str):
    """A value in every form that careless code might leave behind."""
    spellings = {value, value.upper(), value.lower(), re.sub(r"[\s/-]", "", value), value.replace("-", "")}
    if re.fullmatch("[0-9]{10}", value):
        spellings |= {f"{value[:3]} {value[3:6]} {value[6:]}", f"{value[:3]}-{value[3:6]}-{value[6:]}"}
    for spelling in spellings:
        for octets in (spelling.encode(), spelling.encode("utf-16-le")):
            for digest in (octets, hashlib.sha256(octets).digest(), hashlib.md5(octets).digest()):
                yield digest
                yield digest.hex().encode()
                yield digest.hex().upper().encode()
                yield digest.hex().encode().hex().encode()  # text in a dump of bytes
                for offset in range(
                    3
                ):  # base64 at every alignment, without the characters that its neighbours mix in
                    middle = base64.b64encode(bytes(offset) + digest)[(0, 2, 3)[offset] :]
                    yield middle[: 4 * (len(digest) // 3) - 4]


def needles() -> dict[bytes, str]:
    texts = [text for text in CANARY.texts() if len(text) > 5 and text not in ("surname",)]
    texts += [str(CANARY.born), "1931", "27/11/1931", "19311127", "1950-05-06", "1971-08-09"][:1]
    texts += ["27/11/1931", "19311127", "1950-05-06", "1971-08-09"]
    one = columns.frame_of([CANARY.to_bytes()])
    texts += columns.found_by(one)["value"].to_list()
    texts.append(CANARY.to_bytes().decode())
    return {form: text for text in texts for form in forms(text) if len(form) >= 6}


def seen(octets: bytes) -> set[str]:
    return {text for form, text in needles().items() if form in octets}


def planted(store):
    """Do everything that a vault can do, with canaries in it."""
    here = vault(store)
    one = columns.frame_of([CANARY.to_bytes()])
    here.add(people(0, 200), "council", pids=[pid(n) for n in range(200)])
    (canary,) = here.add(one, "council")
    here.revise([canary], one.with_columns(sex=pl.lit("changed")), "council")
    here.revise([canary], one, "gp")
    here.set_state([canary], State.RESTRICTED)
    here.set_state([canary], State.ACTIVE)
    here.supersede(pid(1), canary)
    assert here.find(one, MANDATE)["pid"].to_list()
    assert here.open([canary], MANDATE, history=True).height == 3
    deliver(People(here), one)
    vault(store, month=2, older=(1,)).rewrap(1000)
    return canary


def deliver(people: People, one: pl.DataFrame) -> None:
    """Everything that persons who stay can do, with canaries in it."""
    records = pl.concat([one] * 4).with_columns(unit=series(1, 2, 3, 4), protected=pl.Series([False] * 4))
    families = pl.DataFrame({"unit": series(1, 4), "family": series(101, 102)})
    rows = links([(1, 2, 9), (2, 3, 9)])
    outcome = people.deliver(Delivery("council", records, rows, families, links([])), stamp())
    first, last = outcome.members.filter(pl.col("unit").is_in([unit(1), unit(4)]))["pid"]
    people.merge(first, last, stamp(1))
    people.remove(series(2), stamp(2), purge=False)
    people.deliver(Delivery("gp", records.head(0), links([(1, 3, 8)]), families.head(0), links([])), stamp(3))
    (first,) = people.members(series(1, 3))["pid"].unique()
    people.protect(first, stamp(4), series(3), purge=False)
    assert sum(batch.height for batch in people.known(MANDATE)) >= 3
    assert people.untold(100)


def files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_the_search_finds_what_is_there():
    for text in ("9434765919", "Vexwhistle", "ZY887766C"):
        octets = text.encode()
        for form in (
            octets,
            octets.hex().encode(),
            base64.b64encode(octets),
            base64.b64encode(b"x" + octets + b"yz"),
            hashlib.sha256(octets).digest(),
            hashlib.md5(octets.upper()).hexdigest().encode(),
            base64.b64encode(b"ab" + hashlib.sha256(octets).digest()),
        ):
            assert text in seen(b"\0\0" + form + b"\0")
    assert seen(b"\0" * 100) == set()


def test_no_canary_in_sqlites_files(sqlite_url, tmp_path):
    with open_store(sqlite_url, "identity") as store:
        canary = planted(store)
        assert (tmp_path / "store.db-wal").stat().st_size > 100_000
        octets = files(tmp_path)
        assert canary in octets  # they are the right bytes
        assert seen(octets) == set()
        People(vault(store, month=2, older=(1,))).erase([canary])
        assert seen(files(tmp_path)) == set()
    octets = files(tmp_path)
    assert canary in octets
    assert seen(octets) == set()


def test_no_canary_in_a_dump_of_postgresql(postgres_url):
    def dump() -> bytes:
        plain = sa.make_url(postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)
        return subprocess.run(["pg_dump", plain], capture_output=True, check=True).stdout

    with open_store(postgres_url, "identity") as store:
        canary = planted(store)
        octets = dump()
        assert canary.hex().encode() in octets
        assert seen(octets) == set()
        secrets = leftovers(store, [canary])
        assert all(secret.hex().encode() in octets for secret in secrets)
        People(vault(store, month=2, older=(1,))).erase([canary])
    octets = dump()
    assert canary.hex().encode() in octets
    assert not any(secret.hex().encode() in octets for secret in secrets)


def leftovers(store, pids) -> list[bytes]:
    """What is sealed about people, and the ids that their index entries lead to."""
    with store.read() as connection:
        rows = db.rows(store, connection, pids)
        keys = db.keys(store, connection, pids)
        seals = connection.execute(sa.select(SUBJECT.c.seal).where(SUBJECT.c.pid.in_(pids))).scalars().all()
    return [
        *(row.ct[13:45] for row in rows),
        *(row.row_id for row in rows),
        *(key.wrapped[13:] for key in keys),
        *(seal[1:] for seal in seals),
    ]


@pytest.mark.parametrize("how_many", [1, 700])
def test_nothing_of_the_erased_stays_in_sqlites_files(how_many, sqlite_url, tmp_path):
    count = 3000
    pids = [pid(n) for n in range(count)]
    with open_store(sqlite_url, "identity") as store:
        here = vault(store)
        for start in range(0, count, 500):
            here.add(people(start, 500), "council", pids=pids[start : start + 500])
        here.revise(pids[:300], people(0, 300, version=1), "council")
        here.revise(pids[200:400], people(200, 200), "gp")
        gone = pids[7 : 7 + how_many]
        secrets = leftovers(store, gone)
        before = files(tmp_path)
        assert all(secret in before for secret in secrets)
        here.erase(gone)
        after = files(tmp_path)
        assert not [secret for secret in secrets if secret in after]
        assert here.open([who for who in pids if who not in gone][:100], MANDATE).height >= 100
        assert (tmp_path / "store.db-wal").stat().st_size < 100_000
    after = files(tmp_path)
    assert not [secret for secret in secrets if secret in after]


def test_a_copy_made_before_a_rewrap_is_dead_after_it(sqlite_url, tmp_path):
    """A backup holds keys under the KEK of its month; once that is destroyed, it opens nothing."""
    with open_store(sqlite_url, "identity") as store:
        pids = vault(store).add(people(0, 10), "council")
    shutil.copy(tmp_path / "store.db", tmp_path / "backup.db")
    with open_store(sqlite_url, "identity") as store:
        while vault(store, month=2, older=(1,)).rewrap():
            pass
    with open_store(f"sqlite:///{tmp_path / 'backup.db'}", "identity") as store:
        made = made_up.vault(store, month=2)
        with pytest.raises(Exception, match="key-encrypting key that is not here"):
            made.open(pids, MANDATE)
