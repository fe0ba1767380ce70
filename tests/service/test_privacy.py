"""A person's values go into the data folder's files and come out as results, and turn up nowhere else."""

from __future__ import annotations

import grpc
import polars as pl
import pytest

import linker
from linker.client import ServiceError
from tests.service.harness import CANARY, Server, arrow, chunk, header, people, upload, with_errors


def trained(frame):
    sides = [linker.arrive(side, id_column="person_id") for side in (frame, with_errors(frame))]
    return linker.train(*sides).model


def test_r23_no_value_of_a_person_in_errors_log_jobs_or_names(tmp_path):
    said = []

    def refused(call, *arguments, **options):
        with pytest.raises((grpc.RpcError, ServiceError)) as caught:
            call(*arguments, **options)
        error = caught.value
        trailing = error.trailing_metadata() if hasattr(error, "trailing_metadata") else ""
        said.append(f"{error!r} {error} {trailing} {getattr(error, 'help', '')}")

    canary = pl.lit(CANARY)
    frame = people(400).with_columns(
        pl.when(pl.int_range(400) == 3).then(canary).otherwise("surname").alias("surname"),
        # A value in the wrong column is refused or set aside, and still not repeated.
        pl.when(pl.int_range(400) == 5).then(canary).otherwise("date_of_birth").alias("date_of_birth"),
        pl.when(pl.int_range(400) == 9).then(canary).otherwise("postcode").alias("postcode"),
    )
    with Server(tmp_path / "data") as server, server.client() as client:
        named = header(frame, "canary-1")
        refused(upload, server, named, chunk(1, f"surname\n{CANARY}\n".encode() * 9))
        refused(upload, server, named, chunk(1, arrow(frame).replace(b"Ava", b"\xff\xfe\xfd")))
        refused(upload, server, named, chunk(1, arrow(frame)[:-900]))
        refused(upload, server, named, chunk(1, arrow(frame.rename({"surname": CANARY}))))
        refused(upload, server, named, chunk(2, arrow(frame)))
        refused(upload, server, named, chunk(1, arrow(frame), sha256=b"x"))
        twice = pl.concat([frame, frame])
        by_name = client.submit(frame, batch_id="by-name", source="NPD", id_column="surname")
        doubled = client.submit(twice, batch_id="doubled", source="NPD", id_column="person_id")
        left = client.submit(frame, batch_id="left", source="NPD", id_column="person_id")
        right = client.submit(with_errors(frame), batch_id="right", source="NPD", id_column="person_id")
        said += [repr((one.problem, one.fields)) for one in (by_name, doubled, left, right)]
        said.append(repr(client.refusals(left.submission_id).rows()))
        watched = client.start_linkage(left.submission_id, right.submission_id)
        said += [repr(job) for job in client.watch(watched.job_id)]
        said += [repr(job) for job in client.jobs()]
        said.append(repr(client.report(watched.job_id)))
        pair = client.read_links(watched.job_id).row(0, named=True)
        said.append(repr(client.explain(watched.job_id, pair["left_id"], pair["right_id"])))
        refused(client.explain, watched.job_id, CANARY, CANARY)
        refused(client.job, CANARY)
        refused(client.get_model, CANARY)
        refused(client.put_model, "canary", f'{{"{CANARY}": 1}}')
        refused(client.start_linkage, CANARY, CANARY)
        client.put_model("trained", trained(frame).to_json())
        client.load_reference("held", left.submission_id, "trained")
        client.put_records("held", {"put": {"surname": CANARY}})
        said.append(repr(client.match("held", {"surname": CANARY, "postcode": "CB1 1AA"}, explain=True)))
        said.append(repr(list(client.references())))
        refused(client.match, "held", {CANARY: CANARY})
        refused(client.match, CANARY, {"surname": CANARY})
        refused(client.put_records, "held", {"put": {"no_such_field": CANARY}})
        with pytest.raises(ServiceError):
            client.submission(CANARY)
        assert server.stop() == 0
        said.append(server.log)
    said += [str(path) for path in (tmp_path / "data").rglob("*")]
    everything = "\n".join(said)
    assert len(said) > 20
    assert CANARY.lower() not in everything.lower()
    for value in (*frame["postcode"][:9], *frame["date_of_birth"][:5]):
        assert value not in everything
