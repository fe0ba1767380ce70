"""The client of the broker and the attributes role, against the real processes."""

from __future__ import annotations

import os
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudonym.datasets import Column, Dataset, Kind
from pseudonym.errors import InputError
from pseudonym.roles.callers import Role
from pseudonym.roles.client import AttributesClient, BrokerClient, _starts
from pseudonym.roles.peer import PeerTls
from pseudonym.roles.refusals import PeerRefusedError, PeerUnavailableError
from pseudonym.v1 import attribute_pb2

PROJECT = "client-2026"
DATASET = Dataset("school", (Column("absences", Kind.INTEGER, 0, 400),))


def tls(certificates, name):
    names = ("authority.pem", f"{name}.pem", f"{name}.key")
    return PeerTls(*((certificates / one).read_bytes() for one in names))


def client(kind, roles, certificates, caller, **more):
    where = Role.BROKER if kind is BrokerClient else Role.ATTRIBUTES
    address = roles[where].address.replace("127.0.0.1", "localhost")
    return kind(address, project=PROJECT, purpose="evaluation", tls=tls(certificates, caller), **more)


@pytest.fixture(scope="module")
def begun(roles, certificates):
    with client(BrokerClient, roles, certificates, "key-custodian") as custodian:
        for _ in range(2):
            custodian.begin_project()
            assert custodian.open_domain("nis-analysis") == 1
    with client(AttributesClient, roles, certificates, "key-custodian") as custodian:
        custodian.open_project()
    with client(AttributesClient, roles, certificates, "data-protection-officer") as officer:
        officer.declare(DATASET)


def rows(count, absences="3"):
    refs = [os.urandom(16).hex() for _ in range(count)]
    return pl.DataFrame({"row_ref": refs, "absences": [absences] * count})


def test_a_batch_is_sent_in_chunks_and_the_same_one_again_changes_nothing(roles, certificates, begun):
    batch = rows(70)
    with client(AttributesClient, roles, certificates, "council") as council:
        for _ in range(2):
            sent = council.submit(batch, batch_id="b-1", dataset="school", chunk_rows=25)
            assert sent.state == attribute_pb2.SUBMISSION_STATE_COMPLETE
            assert (sent.rows, sent.last_durable_chunk) == (70, 3)


def test_an_upload_that_broke_off_goes_on_after_its_last_durable_chunk(roles, certificates, begun):
    batch = rows(60)
    with client(AttributesClient, roles, certificates, "council") as council:
        broken = pl.concat([batch[:40], rows(20, absences="many")])
        with pytest.raises(PeerRefusedError):
            council.submit(broken, batch_id="b-2", dataset="school", chunk_rows=20)
        held = council.submission("b-2")
        assert (held.rows, held.last_durable_chunk) == (40, 2)
        sent = council.submit(batch, batch_id="b-2", dataset="school", chunk_rows=20)
        assert sent.rows == 60


def test_a_refusal_says_why_and_never_the_value(roles, certificates, begun):
    batch = rows(1, absences="9434765919")
    with client(AttributesClient, roles, certificates, "council") as council:
        with pytest.raises(PeerRefusedError) as caught:
            council.submit(batch, batch_id="b-3", dataset="school")
        assert "9434765919" not in f"{caught.value} {caught.value.help}"
        with pytest.raises(PeerRefusedError) as caught:
            council.submit(rows(1), batch_id="b-4", dataset="prison")
        assert caught.value.reason == "NOT_FOUND"


def test_each_attribute_id_gets_its_recipients_number(roles, certificates, begun):
    aids = [os.urandom(16) for _ in range(3)]
    with (
        client(BrokerClient, roles, certificates, "attributes") as attributes,
        pytest.raises(PeerRefusedError),
    ):
        attributes.issue_urns("nis-analysis", aids)  # of nobody that the broker knows


def test_a_role_that_is_not_there_is_told_of(certificates):
    address = "localhost:1"
    with (
        BrokerClient(
            address, project=PROJECT, purpose="evaluation", tls=tls(certificates, "council"), patience=0.2
        ) as broker,
        pytest.raises(PeerUnavailableError, match="broker role cannot be reached"),
    ):
        broker.begin_project()


def test_a_person_hears_what_is_said_of_them(roles, certificates):
    with (
        client(BrokerClient, roles, certificates, "council") as council,
        pytest.raises(PeerRefusedError) as caught,
    ):
        council.begin_project()
    assert caught.value.reason == "CALLER_REFUSED"
    assert "council" in caught.value.message
    assert "key-custodian" in caught.value.help
    elsewhere = {Role.BROKER: roles[Role.ATTRIBUTES]}
    with (
        client(BrokerClient, elsewhere, certificates, "key-custodian") as custodian,
        pytest.raises(PeerRefusedError, match="the attributes role, not the broker role"),
    ):
        custodian.begin_project()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=30), st.integers(1, 12))
def test_chunks_keep_the_rows_of_a_record_together(sizes, most):
    ids = pl.Series("row_ref", [f"{number:032x}" for number, size in enumerate(sizes) for _ in range(size)])
    if max(sizes) > most:
        with pytest.raises(InputError, match="more than"):
            _starts(ids, most)
        return
    starts = _starts(ids, most)
    parts = [ids[start:end] for start, end in pairwise(starts)]
    assert pl.concat(parts).equals(ids)
    assert all(0 < len(part) <= most for part in parts)
    assert all(one[-1] != other[0] for one, other in pairwise(parts))


def test_rows_of_a_record_that_stand_apart_are_not_sent():
    with pytest.raises(InputError, match="together"):
        _starts(pl.Series("row_ref", ["a", "b", "a"]), 10)
