"""References at a service: asked, changed, there again after a crash, and refused in words."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from typing import Any

import grpc
import polars as pl
import pytest

import linker
from linker import match_service, references
from linker.client import ServiceError
from linker.errors import LinkerError
from linker.refusals import Exhausted, NotFound, Unavailable
from linker.resources import Answer, Limits, Mandate, ReferenceState
from linker.store import Store
from linker.v1 import match_pb2, match_pb2_grpc
from tests.service.harness import PROJECT, PURPOSE, Server, details, people, safe_in, with_errors

FRAME = people(300, seed=11)
ASKED = with_errors(FRAME, seed=12)[:60]
FIELDS = ["forename", "surname", "date_of_birth", "postcode"]


def values_of(frame):
    return [
        {name: value for name, value in row.items() if value is not None}
        for row in frame.select(FIELDS).iter_rows(named=True)
    ]


@pytest.fixture(scope="module")
def model():
    return linker.train(
        linker.arrive(FRAME, id_column="person_id"), linker.arrive(with_errors(FRAME), id_column="person_id")
    ).model


@pytest.fixture(scope="module")
def engine(model):
    """What the service must answer."""
    return linker.Reference(linker.arrive(FRAME, id_column="person_id"), model)


def name_of():
    return f"ref-{uuid.uuid4().hex[:12]}"


def loaded(client, model, name, frame=FRAME):
    submission = client.submit(frame, batch_id=f"of-{name}", source="NPD", id_column="person_id")
    client.put_model("trained", model.to_json())
    return client.load_reference(name, submission.submission_id, "trained")


@pytest.fixture(scope="module")
def held(server, model):
    """A client and the name of a reference that no test changes."""
    with server.client() as client:
        loaded(client, model, "held")
        yield client, "held"


def test_a_loaded_reference_says_what_it_is(server, model):
    name = name_of()
    with server.client() as client:
        reference = loaded(client, model, name)
        assert (reference.state, reference.records, reference.changes) == (ReferenceState.READY, 300, 0)
        assert reference.model_digest == model.digest
        assert [field.name for field in reference.fields] == FIELDS
        assert client.reference(name) == reference
        assert reference in list(client.references())
        client.drop_reference(name)
        with pytest.raises(ServiceError) as caught:
            client.reference(name)
        assert (caught.value.code, caught.value.reason) == ("NOT_FOUND", "REFERENCE_NOT_FOUND")
        # The submission is still there, and the name is free again.
        assert client.load_reference(name, reference.submission_id, "trained").records == 300
        client.drop_reference(name)


def test_the_answers_are_those_of_the_engine(held, engine):
    client, name = held
    values = values_of(ASKED)
    for one in values[:10]:
        for options in ({"top": 3, "floor": -20.0}, {}, {"explain": True, "top": 1}):
            assert client.match(name, one, **options) == engine.ask([one], **options)[0]
    assert any(client.match(name, one).candidates for one in values)


def test_a_stream_is_answered_in_order(held, engine):
    client, name = held
    values = values_of(ASKED) * 20
    asked = [(f"q{number}", one) for number, one in enumerate(values)]
    answers = list(client.match_stream(name, iter(asked), top=2, floor=-10.0))
    assert [record_id for record_id, _ in answers] == [record_id for record_id, _ in asked]
    assert [answer for _, answer in answers] == engine.ask(values, top=2, floor=-10.0)
    assert list(client.match_stream(name, [])) == []


def test_an_upload_is_answered_chunk_by_chunk_as_it_arrives(held, engine):
    client, name = held
    asked = FRAME.rename({"person_id": "record_id"}).select(
        "record_id", "surname", "date_of_birth", "postcode"
    )
    answered = list(client.match_upload(name, (asked for _ in range(3)), top=2, floor=-10.0))
    expected = engine.match(asked.drop("record_id"), top=2, floor=-10.0)
    assert len(answered) == 3
    for one in answered:
        assert one["query_id"].to_list() == asked["record_id"].gather(expected["query"]).to_list()
        assert one.drop("query_id").equals(expected.drop("query"))
    assert list(client.match_upload(name, [])) == []


def test_an_upload_of_any_length_is_not_read_ahead_of_its_answers(held):
    client, name = held
    sent = itertools.count()

    def forever():
        for number in sent:
            yield pl.DataFrame({"record_id": [str(number)], "surname": ["Cole"]})

    upload = client.match_upload(name, forever())
    for _ in range(3):
        next(upload)
    upload.close()
    assert next(sent) < 10_000
    with pytest.raises(KeyError, match="own"):
        list(client.match_upload(name, raising()))


def raising():
    yield pl.DataFrame({"record_id": ["q"], "surname": ["Cole"]})
    raise KeyError("own")


def test_what_the_caller_of_a_stream_raises_comes_back(held):
    client, name = held

    def records():
        yield "q", {"surname": "Cole"}
        raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        list(client.match_stream(name, records()))


def test_a_stream_that_is_left_ends(held):
    client, name = held

    def forever():
        while True:
            yield "q", {"surname": "Cole"}

    stream = client.match_stream(name, forever())
    assert next(stream)[0] == "q"
    stream.close()
    assert client.match(name, {"surname": "Cole"}).found == 0


def test_records_are_put_and_removed(server, model, engine):
    name, person = name_of(), values_of(people(1, seed=40))[0]
    with server.client() as client:
        loaded(client, model, name)
        reference = client.put_records(name, {"new": person, "r000007": person}, request_id="put-records-1")
        assert (reference.records, reference.changes) == (301, 1)
        assert [one.record_id for one in client.match(name, person).candidates[:2]] == ["new", "r000007"]
        again = client.put_records(name, {"new": person, "r000007": person}, request_id="put-records-1")
        assert again == reference
        reference = client.remove_records(name, ["r000007", "nobody"])
        assert (reference.records, reference.changes) == (300, 2)
        assert [one.record_id for one in client.match(name, person).candidates] == ["new"]
        with pytest.raises(ServiceError) as caught:
            client.remove_records(name, ["new"], request_id="put-records-1")
        assert caught.value.reason == "REQUEST_ID_REUSED"
        client.drop_reference(name)


def test_what_was_answered_is_there_after_a_crash(tmp_path, model, monkeypatch):
    person = values_of(people(1, seed=40))[0]
    with Server(tmp_path / "data") as server, server.client() as client:
        before = loaded(client, model, "kept")
        loaded(client, model, "gone")
        client.put_records("kept", {"new": person})
        client.remove_records("kept", ["r000003"])
        client.drop_reference("gone")
        answers = [client.match("kept", one, floor=-10.0) for one in [person, *values_of(ASKED)[:10]]]
        server.kill()
    with Server(tmp_path / "data") as server, server.client() as client:
        again = [client.match("kept", one, floor=-10.0) for one in [person, *values_of(ASKED)[:10]]]
        assert again == answers
        assert answers[0].candidates[0].record_id == "new"
        (reference,) = client.references()
        assert (reference.records, reference.changes) == (300, 2)
        assert reference.model_digest == before.model_digest
    assert len(list((tmp_path / "data" / "references").iterdir())) == 1


@pytest.mark.parametrize(
    ("ask", "code", "reason"),
    [
        (lambda c, n: c.match("nobody", {"surname": "Cole"}), "NOT_FOUND", "REFERENCE_NOT_FOUND"),
        (lambda c, n: c.match(n, {"lastname": "Cole"}), "INVALID_ARGUMENT", "FIELD_INVALID"),
        (lambda c, n: c.match(n, {}, top=101), "INVALID_ARGUMENT", "FIELD_INVALID"),
        (lambda c, n: c.match(n, {}, top=-1), "INVALID_ARGUMENT", "FIELD_INVALID"),
        (lambda c, n: c.match(n, {}, floor=float("nan")), "INVALID_ARGUMENT", "FIELD_INVALID"),
        (lambda c, n: c.put_records(n, {}), "INVALID_ARGUMENT", "FIELD_INVALID"),
        (lambda c, n: c.put_records(n, {"": {"surname": "Cole"}}), "INVALID_ARGUMENT", "FIELD_INVALID"),
        (lambda c, n: c.put_records(n, {"p": {}}), "INVALID_ARGUMENT", "FIELD_INVALID"),
        (lambda c, n: c.remove_records(n, []), "INVALID_ARGUMENT", "FIELD_INVALID"),
        (lambda c, n: c.remove_records(n, ["p"] * 10_001), "INVALID_ARGUMENT", "FIELD_INVALID"),
        (lambda c, n: c.drop_reference("nobody"), "NOT_FOUND", "REFERENCE_NOT_FOUND"),
        (lambda c, n: c.load_reference("x", "sub-none", "trained"), "NOT_FOUND", "SUBMISSION_NOT_FOUND"),
        (
            lambda c, n: c.load_reference("x", c.reference(n).submission_id, "none"),
            "NOT_FOUND",
            "MODEL_NOT_FOUND",
        ),
        (
            lambda c, n: c.load_reference(n, c.reference(n).submission_id, "trained"),
            "ALREADY_EXISTS",
            "REFERENCE_EXISTS",
        ),
        (lambda c, n: list(c.match_stream("nobody", [("q", {})])), "NOT_FOUND", "REFERENCE_NOT_FOUND"),
        (lambda c, n: list(c.match_stream(n, [("q", {"x": "y"})])), "INVALID_ARGUMENT", "FIELD_INVALID"),
        (
            lambda c, n: list(c.match_upload(n, pl.DataFrame({"record_id": ["q"], "x": ["y"]}))),
            "INVALID_ARGUMENT",
            "FIELD_INVALID",
        ),
        (
            lambda c, n: list(c.match_upload(n, pl.DataFrame({"surname": ["q"]}))),
            "INVALID_ARGUMENT",
            "FIELD_INVALID",
        ),
        (
            lambda c, n: list(c.match_upload(n, pl.DataFrame({"record_id": [1], "surname": ["q"]}))),
            "INVALID_ARGUMENT",
            "SCHEMA_MISMATCH",
        ),
        (
            lambda c, n: list(c.match_upload("nobody", pl.DataFrame({"record_id": ["q"]}))),
            "NOT_FOUND",
            "REFERENCE_NOT_FOUND",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(held, ask, code, reason):
    client, name = held
    with pytest.raises(ServiceError) as caught:
        ask(client, name)
    assert (caught.value.code, caught.value.reason) == (code, reason)
    assert client.reference(name).records == 300


def test_the_messages_of_a_stream_have_their_order(server, held):
    _, name = held
    header = match_pb2.MatchStreamRequest(header=match_pb2.MatchStreamHeader(project=PROJECT, reference=name))
    record = match_pb2.Record(values={"surname": "Cole"})
    records = match_pb2.MatchStreamRequest(records=match_pb2.Records(records=[record]))
    for sent, answered in (([records], 0), ([], 0), ([header, header], 0), ([header, records, header], 1)):
        with server.channel() as channel:
            stub = match_pb2_grpc.MatchServiceStub(channel)
            stream = stub.MatchStream(iter(sent), timeout=30)
            got = [next(stream) for _ in range(answered)]
            with pytest.raises(grpc.RpcError) as caught:
                next(stream)
        assert details(caught.value).reason == "STREAM_INVALID"
        assert all(len(response.results) == 1 for response in got)


def test_other_projects_do_not_see_it(server, held):
    _, name = held
    with server.client(project="other") as client:
        assert list(client.references()) == []
        with pytest.raises(ServiceError) as caught:
            client.match(name, {"surname": "Cole"})
        assert caught.value.reason == "REFERENCE_NOT_FOUND"


def test_a_model_that_does_not_fit_fails_the_reference_and_not_the_service(server, model):
    name = name_of()
    with server.client() as client:
        with pytest.raises(LinkerError) as caught:
            loaded(client, model, name, FRAME.drop("postcode"))
        assert caught.value.reason == "MODEL_INVALID"
        assert client.reference(name).state is ReferenceState.FAILED
        with pytest.raises(ServiceError) as refused:
            client.match(name, {"surname": "Cole"})
        assert (refused.value.code, refused.value.reason) == ("FAILED_PRECONDITION", "REFERENCE_NOT_READY")
        client.drop_reference(name)


# --- without a server ------------------------------------------------------------------------------


class Intake:
    """Submissions that are all ready and the same."""

    def check_ready(self, _):
        pass

    def records(self, _):
        return linker.arrive(FRAME, id_column="person_id")


class Anything:
    """A store of submissions in which everything is there."""

    def get(self, *_, **__):
        return None


@pytest.fixture
def made(tmp_path, model, monkeypatch):
    """Make the references of one data folder, again and again."""
    with safe_in(tmp_path) as safe:
        yield from made_in(tmp_path, safe, model, monkeypatch)


def made_in(tmp_path, safe, model, monkeypatch):
    store = Store(tmp_path / "kinlink.sqlite", safe)
    monkeypatch.setattr(store, "submissions", Anything())
    store.models.put(mandate("model"), "trained", model.digest, model.to_json(), b"")

    def make(**limits):
        intake: Any = Intake()
        return references.References(store, intake, tmp_path / "references", Limits(**limits))

    yield make
    store.close()


def mandate(name):
    return Mandate(f"request-{name}", PROJECT, PURPOSE)


def load(held, name="one"):
    held.load(mandate(f"load-{name}"), name, "sub-1", "trained", name.encode())
    while not held._loading.empty():
        held._load(held._loading.get())


def test_until_it_is_loaded_the_caller_is_told_to_come_again(made):
    held = made(references=1)
    described = held.load(mandate("load"), "one", "sub-1", "trained", b"one")
    assert described.state is ReferenceState.LOADING
    with pytest.raises(Unavailable) as caught:
        held.ask(PROJECT, "one", [{}], top=1, floor=0.0, explain=False)
    assert caught.value.reason == "REFERENCE_NOT_READY"
    assert caught.value.retry_after
    # The same request again loads nothing again; another one is over the limit.
    assert held.load(mandate("load"), "one", "sub-1", "trained", b"one") == described
    assert held._loading.qsize() == 1
    with pytest.raises(Exhausted) as full:
        held.load(mandate("load-2"), "two", "sub-1", "trained", b"two")
    assert full.value.reason == "REFERENCES_FULL"


def test_many_changes_are_folded_and_none_is_lost(made, tmp_path, monkeypatch):
    monkeypatch.setattr(references, "FOLD", 4)
    held = made()
    load(held)
    person = values_of(people(1, seed=40))[0]
    for number in range(11):
        held.put(mandate(f"put-{number}"), "one", [f"new-{number % 3}"], [person], b"%d" % number)
        held.remove(mandate(f"remove-{number}"), "one", [f"r{number:06}", "new-1"], b"%d" % number)
    answers = held.ask(PROJECT, "one", [person], top=50, floor=-10.0, explain=False)
    (folder,) = (tmp_path / "references").iterdir()
    assert len(list(folder.iterdir())) <= 5
    again = made()
    load_all(again)
    assert again.ask(PROJECT, "one", [person], top=50, floor=-10.0, explain=False) == answers
    assert again.get(PROJECT, "one").records == held.get(PROJECT, "one").records == 300 - 11 + 2


def load_all(held):
    while not held._loading.empty():
        held._load(held._loading.get())


def test_a_change_that_was_not_noted_does_not_count(made, monkeypatch):
    held = made()
    load(held)
    person = values_of(people(1, seed=40))[0]
    with monkeypatch.context() as patched:

        def crash(*_):
            raise KeyboardInterrupt

        patched.setattr(held._store.references, "change", crash)
        with pytest.raises(KeyboardInterrupt):
            held.put(mandate("put"), "one", ["new"], [person], b"put")
    again = made()
    load_all(again)
    assert again.get(PROJECT, "one").records == 300
    assert again.put(mandate("put"), "one", ["other"], [person], b"put").records == 301
    third = made()
    load_all(third)
    answer = third.ask(PROJECT, "one", [person], top=1, floor=0.0, explain=False)[0]
    assert answer.candidates[0].record_id == "other"


def test_what_is_dropped_while_it_loads_does_not_come_back(made):
    held = made()
    held.load(mandate("load"), "one", "sub-1", "trained", b"one")
    held.drop(mandate("drop"), "one", b"drop")
    load_all(held)
    held.drop(mandate("drop"), "one", b"drop")
    with pytest.raises(NotFound):
        held.ask(PROJECT, "one", [{}], top=1, floor=0.0, explain=False)


def test_messages_that_wait_are_asked_together():
    asked = []

    class Held:
        limits = Limits()

        def ask(self, project, name, values, **options):
            asked.append(len(values))
            return [Answer((), None, number) for number in range(len(values))]

    async def requests():
        yield match_pb2.MatchStreamRequest(
            header=match_pb2.MatchStreamHeader(project=PROJECT, reference="one")
        )
        for number in range(20):
            records = [match_pb2.Record(record_id=f"{number}")] * 3
            yield match_pb2.MatchStreamRequest(records=match_pb2.Records(records=records))

    async def run():
        held: Any = Held()
        servicer = match_service.MatchServicer(held)
        return [response async for response in servicer.MatchStream(requests(), None)]

    responses = asyncio.run(run())
    assert [[result.record_id for result in response.results] for response in responses] == [
        [f"{number}"] * 3 for number in range(20)
    ]
    assert sum(asked) == 60
    assert max(asked) > 3
