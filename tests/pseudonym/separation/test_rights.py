"""People's rights in the attribute store: marked, left out, copied, noted, on every kind of database."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import polars as pl
import pytest

from pseudonym.access import Mandate
from pseudonym.attribute_subjects import Flag
from pseudonym.attributes_rights import OWN, Which
from pseudonym.datasets import Column, Dataset, Kind, Tag
from pseudonym.errors import InputError, NotFoundError, SealBrokenError
from tests.pseudonym.release.scene import MANDATE, scene
from tests.pseudonym.separation.parts import (
    PROJECT,
    SCHOOL,
    WHO,
    Clock,
    attributes,
    column,
    declared,
    everything,
    ids,
    values,
)

OTHER = Mandate("officer/alice", "other-use")


def stored(store, count=6):
    aids = ids(count)
    store.intake.add(
        PROJECT, "ks2", "b-1", values(count).with_columns(pl.Series("aid", aids, dtype=pl.Binary))
    )
    return aids


def linked(store, aids, run=1):
    """Rows that a register's run linked: of each person one."""
    refs, handles = ids(len(aids)), [os.urandom(16) for _ in aids]
    rows = values(len(aids)).with_columns(pl.Series("row_ref", refs, dtype=pl.Binary))
    store.intake.receive(PROJECT, "ks2", f"r-{run}", rows)
    table = column(row_ref=refs, aid=aids, family=[None] * len(aids), handle=handles)
    store.registers.link(PROJECT, "npd", run, table, WHO)
    return refs, handles


def read(store, mandate):
    frames = list(store.read(PROJECT, "ks2", mandate, columns=["score"]))
    return set(pl.concat(frames)["aid"]) if frames else set()


def test_r62_what_is_marked_is_left_out_and_comes_back(url, tmp_path):
    with attributes(url, tmp_path) as store:
        aids = stored(declared(store))
        before = everything(store).sort("aid", "score")
        for flag in (Flag.RESTRICTED, Flag.OBJECTED):
            assert store.rights.mark(PROJECT, aids[:2], flag, (), WHO) == 2
            assert read(store, WHO) == read(store, OTHER) == set(aids[2:])
            assert store.rights.mark(PROJECT, aids[:2], Flag(0), (), WHO) == 2
        assert everything(store).sort("aid", "score").equals(before)


def test_r62_what_is_kept_from_a_purpose_is_used_for_others(url, tmp_path):
    with attributes(url, tmp_path) as store:
        aids = stored(declared(store))
        store.rights.mark(PROJECT, aids[:2], Flag.LIMITED, ["other-use"], WHO)
        store.rights.mark(PROJECT, aids[:2], Flag.LIMITED, ["other-use"], WHO)  # again, it is the same
        assert read(store, WHO) == set(aids)
        assert read(store, OTHER) == set(aids[2:])
        store.rights.mark(PROJECT, aids[:1], Flag.LIMITED | Flag.RESTRICTED, ["other-use"], WHO)
        assert read(store, WHO) == set(aids[1:])
        store.rights.mark(PROJECT, aids[:2], Flag(0), (), WHO)
        assert read(store, OTHER) == set(aids)


def test_r62_who_is_marked_before_anything_has_come_is_marked_when_it_comes(url, tmp_path):
    with attributes(url, tmp_path) as store:
        declared(store)
        aids = ids(2)
        store.rights.mark(PROJECT, aids[:1], Flag.RESTRICTED, (), WHO)
        rows = values(2).with_columns(pl.Series("aid", aids, dtype=pl.Binary))
        store.intake.add(PROJECT, "ks2", "b-1", rows)
        assert read(store, WHO) == {aids[1]}


def test_r62_where_a_limit_was_taken_away_nothing_is_used(url, tmp_path):
    """Whoever can write to the database deletes the purposes: it is noticed, and nothing is read."""
    with attributes(url, tmp_path) as store:
        aids = stored(declared(store))
        store.rights.mark(PROJECT, aids[:1], Flag.LIMITED, ["other-use"], WHO)
        rows = store.rights._rows
        with rows.write() as at:
            number = rows.dataset(at, rows.project(at, PROJECT).number, "limits")[0]
            heads = [head for head in rows.heads(at, aids[:1]) if head.dataset == number]
            rows.delete_rows(at, [head.row_id for head in heads])
        with pytest.raises(SealBrokenError):
            read(store, WHO)


def test_r61_who_was_erased_is_not_marked_anew(url, tmp_path):
    with attributes(url, tmp_path) as store:
        aids = stored(declared(store))
        store.erasure.erase(PROJECT, column(aid=aids[:1]), WHO)
        assert store.rights.mark(PROJECT, aids[:1], Flag.RESTRICTED, (), WHO) == 0
        assert store.rights.copy(PROJECT, aids[:1], WHO, Which.ALL)["datasets"] == []


def test_r60_what_a_register_linked_is_out_of_use_until_it_is_linked_anew(url, tmp_path):
    with attributes(url, tmp_path) as store:
        aids = stored(declared(store), 2)
        refs, handles = linked(store, aids)
        assert everything(store).height == 4
        assert store.rights.unlink(PROJECT, aids[:1], WHO) == 1
        assert store.rights.unlink(PROJECT, aids[:1], WHO) == 1  # again, it is the same
        assert everything(store).filter(pl.col("aid") == aids[0]).height == 1
        copied = store.rights.copy(PROJECT, aids[:1], WHO, Which.ALL)
        assert copied["waiting"] == 1
        # The same extract, linked anew, to somebody else: the wrong link is gone for good.
        table = column(row_ref=refs[:1], aid=aids[1:], family=[None], handle=handles[:1])
        store.registers.link(PROJECT, "npd", 2, table, WHO)
        store.registers.withdraw(PROJECT, "npd", 2, WHO)
        assert everything(store).filter(pl.col("aid") == aids[0]).height == 1
        assert everything(store).filter(pl.col("aid") == aids[1]).height == 2
        assert store.rights.copy(PROJECT, aids[:1], WHO, Which.ALL)["waiting"] == 0


def test_r59_r63_a_copy_tells_what_came_from_where(url, tmp_path):
    more = Dataset(
        "support",
        (
            Column("hours", Kind.INTEGER, 0, 100),
            Column("worker", Kind.CODE, codes=("k1", "k2"), tags=frozenset({Tag.THIRD_PARTY})),
        ),
    )
    with attributes(url, tmp_path) as store:
        aids = stored(declared(store), 2)
        linked(store, aids)
        store.declare(PROJECT, more)
        rows = pl.DataFrame({"hours": [3], "worker": ["k1"], "aid": pl.Series(aids[:1], dtype=pl.Binary)})
        store.intake.add(PROJECT, "support", "b-2", rows)
        copied = store.rights.copy(PROJECT, aids[:1], WHO, Which.ALL)
        assert [(one["name"], one["source"], len(one["rows"])) for one in copied["datasets"]] == [
            ("ks2", "sent", 1), ("ks2", "register", 1), ("support", "sent", 1)
        ]  # fmt: skip
        assert copied["datasets"][2]["third_party"] == ["worker"]
        provided = store.rights.copy(PROJECT, aids[:1], WHO, Which.PROVIDED)
        assert {one["source"] for one in provided["datasets"]} == {"sent"}
        assert set(provided) == {"datasets"}
        json.dumps(copied)
        assert aids[1].hex() not in json.dumps(copied)


def test_the_roles_own_datasets_are_nobodys_to_declare_or_release(url, tmp_path):
    with attributes(url, tmp_path) as store:
        aids = stored(declared(store))
        store.rights.mark(PROJECT, aids[:1], Flag.LIMITED, ["other-use"], WHO)
        assert [one.name for one in store.datasets(PROJECT)] == ["ks2"]
        for name in OWN:
            with pytest.raises(InputError):
                store.declare(PROJECT, Dataset(name, SCHOOL.columns))


def test_r70_who_is_in_a_release_that_is_fetched_has_a_line_of_it(url, tmp_path):
    with scene(url, tmp_path) as set_up:
        record = set_up.approved()
        rights = set_up.store.rights
        inside = rights._released
        with rights._rows.read() as at:
            people = inside.people(at, record.id, b"", 10)
        assert rights.copy(PROJECT, people[:1], MANDATE, Which.ALL)["disclosures"] == []
        set_up.fetched(record)
        set_up.fetched(record)
        (line,) = rights.copy(PROJECT, people[:1], MANDATE, Which.ALL)["disclosures"]
        assert line["who"] == [record.recipient, "rita"]
        today = datetime.fromtimestamp(set_up.clock.now, UTC).date()
        assert line["day"] == today.isoformat()
        assert "birth_year" in " ".join(line["fields"]) or line["fields"]
        assert line["why"].startswith(MANDATE.purpose)
        # It goes with the person, and a restriction keeps the release from being fetched again.
        rights.mark(PROJECT, people[:1], Flag.RESTRICTED, (), MANDATE)
        with pytest.raises(Exception, match="erased, moved or restricted"):
            set_up.fetched(record)
        set_up.store.erasure.erase(PROJECT, column(aid=people[:1]), MANDATE)
        assert rights.copy(PROJECT, people[:1], MANDATE, Which.ALL)["disclosures"] == []


def test_r62_a_limit_holds_back_the_releases_for_its_purpose_and_no_other(url, tmp_path):
    with scene(url, tmp_path) as set_up:
        record = set_up.approved()
        rights = set_up.store.rights
        with rights._rows.read() as at:
            people = rights._released.people(at, record.id, b"", 10)
        rights.mark(PROJECT, people[:1], Flag.LIMITED, ["something-else"], MANDATE)
        assert set_up.fetched(record)
        rights.mark(PROJECT, people[:1], Flag.LIMITED, [MANDATE.purpose], MANDATE)
        with pytest.raises(Exception, match="erased, moved or restricted"):
            set_up.fetched(record)


def test_a_project_that_is_not_there_has_nothing(url, tmp_path):
    with attributes(url, tmp_path, clock=Clock()) as store, pytest.raises(NotFoundError):
        store.rights.copy("another", ids(1), WHO, Which.ALL)
