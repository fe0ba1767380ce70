"""Every input of the study once more, with canaries in it, in ways that each role refuses or sets aside."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl

from deploy import study
from linker.cli import app
from linker.resources import SubmissionKind
from linker.v1 import common_pb2 as engine_pb2
from linker.v1 import intake_pb2
from pseudonym.roles.callers import Role
from pseudonym.roles.peer import Peer
from pseudonym.v1 import attribute_pb2, vault_pb2
from tests.overheard import Overheard
from tests.planted import Plants
from tests.service import harness
from tests.service.harness import arrow


def wrong_identities(heard: Overheard, plants: Plants, folder: Path) -> None:
    """What the identity role refuses, and what it sets aside."""

    def words(name: str, count: int = 12) -> list[str]:
        return [plants.value(f"wrong identities, {name}") for _ in range(count)]

    columns = ("forename", "surname", "date_of_birth", "postcode", "nhs_number", "nino")
    frame = pl.DataFrame({"row_ref": words("row_ref"), **{name: words(name) for name in columns}})
    frame.write_csv(folder / "wrong.csv")
    for number, broken in enumerate((arrow(frame)[:-700], b"ARROW1" + frame.write_csv().encode())):
        for ending in ("parquet", "arrow"):
            path = folder / f"{plants.label('a malformed file')}.{ending}"
            path.write_bytes(broken)
            heard.command(app, "submit", path, "--batch", f"broken-{number}", "--source", "x",
                          at="identity council", code=1)  # fmt: skip
    with heard.service.linker(Role.COUNCIL) as client:
        sent = client.submit(frame, batch_id=plants.label("batch"), source="x", id_column="row_ref",
                             kind=SubmissionKind.IDENTITIES)  # fmt: skip
        heard.hear("jobs", (sent, client.refusals(sent.submission_id).rows()))
        twice = pl.concat([frame, frame])
        heard.hear("jobs", client.submit(twice, batch_id="twice", source="x", id_column="row_ref"))
        heard.tried("GetSubmission", client.submission, plants.value("a submission's id"))
        heard.tried("SubmitIdentities", client.submit, frame, batch_id=plants.label("batch"), source="x",
                      id_column=plants.label("id column"))  # fmt: skip
    with heard.service.linker(Role.LINKAGE_OPERATOR) as client:
        named = plants.value("an operator's words")
        for what, call, *given in (
            ("GetJob", client.job, named), ("GetModel", client.get_model, named),
            ("PutModel", client.put_model, "m", json.dumps({named: 1})),
            ("StartLinkage", client.start_linkage, named, named),
            ("Explain", client.explain, named, named, named),
            ("StartJoin", client.start_join, sent.submission_id),
        ):  # fmt: skip
            heard.tried(what, call, *given)
        started = client.start_join(sent.submission_id, request_id=plants.label("a request's id"))
        done = client.wait(started.job_id)
        assert done.problem is not None  # its ids are no row references
        heard.hear("jobs", done)
    with heard.service.linker(Role.DATASET_HOLDER) as client:
        heard.tried("SubmitExtract", client.submit, frame.rename({"surname": plants.label("heading") * 9}),
                      batch_id="heading", source=plants.label("source") + " ?",
                      kind=SubmissionKind.EXTRACT)  # fmt: skip
    sought = folder / "sought.csv"
    for header in ("born,nhs", "born,surname,postcode", plants.label("a heading of who is sought")):
        sought.write_text(f"{header}\n{','.join(words('sought', header.count(',') + 1))}\n")
        heard.command(app, "erase", "people", "--file", sought, "--reason", "objection",
                      at="identity data-protection-officer", code=1)  # fmt: skip
    known = vault_pb2.SoughtPersons(persons=[vault_pb2.SoughtPerson(
        born=plants.value("sought, born", "day"), surname=plants.value("sought, surname"),
        postcode=plants.value("sought, postcode", "postcode"),
        nhs=plants.value("sought, nhs", "nhs"))])  # fmt: skip
    mandate = study._mandate()
    mandate.request_id = plants.label("an erasure's request id")
    asked = vault_pb2.EraseSubjectsRequest(
        mandate=mandate, reason=vault_pb2.ERASURE_REASON_OBJECTION, sought=known
    )
    with called(heard, Role.IDENTITY, Role.DATA_PROTECTION_OFFICER) as officer:
        heard.tried("EraseSubjects", officer.call, "/pseudonym.v1.VaultService/EraseSubjects", asked,
                      vault_pb2.EraseSubjectsResponse)  # fmt: skip


def called(heard: Overheard, role: Role, caller: Role) -> Peer:
    """A role as a caller."""
    return Peer(role, heard.service.addresses[role], heard.service._tls(caller), person=True)


def wrong_attributes(heard: Overheard, plants: Plants, folder: Path) -> None:
    """What the attributes role refuses: values that are none, or look like a person's, and other columns."""
    outbox = pl.read_parquet(next(iter((folder / "outbox").glob("*/attributes.parquet"))))
    refs = [f"{number:032x}" for number in range(4)]
    good = outbox.head(4).with_columns(pl.Series("row_ref", refs))
    for number, column in enumerate(good.columns):
        form = ("word", "nhs", "nino", "postcode", "day")[number % 5]
        bad = good.with_columns(pl.lit(plants.value(f"wrong attributes, {column}", form)).alias(column))
        bad.write_parquet(folder / "bad.parquet")
        batch = f"{plants.label('a refused batch')}-{number}"
        words = ["attributes", "send", folder / "bad.parquet", "--dataset", "families", "--batch", batch]
        heard.command(app, *words, at="attributes council", code=1)
        if column != "row_ref":
            heard.command(app, "attributes", "refusals", "--batch", batch, at="attributes council")
    for other in ("remark", plants.label("an undeclared column")):
        good.with_columns(pl.lit(plants.value("an undeclared column")).alias(other)).write_parquet(
            folder / "bad.parquet"
        )
        words = [
            "attributes",
            "send",
            folder / "bad.parquet",
            "--dataset",
            "families",
            "--batch",
            f"other-{other}",
        ]
        heard.command(app, *words, at="attributes council", code=1)
    (folder / "no.parquet").write_bytes(b"PAR1" + plants.value("a malformed half").encode() + b"PAR1")
    words = ["attributes", "send", folder / "no.parquet", "--dataset", "families", "--batch", "no"]
    heard.command(app, *words, at="attributes council", code=1)
    declaration = {
        "name": "remarks",
        "columns": [{"name": "area", "kind": "code", "codes": [plants.value("a code", "nhs")]}],
    }
    (folder / "declared.json").write_text(json.dumps(declaration))
    heard.command(app, "dataset", "declare", folder / "declared.json",
                  at="attributes data-protection-officer", code=1)  # fmt: skip


def malformed(heard: Overheard, plants: Plants) -> None:
    """Messages that are not what they say: cut off, other columns, no Arrow at all."""
    kind = attribute_pb2.SubmitAttributesRequest
    names = ["row_ref", "surname", "postcode"]
    frame = pl.DataFrame({name: [plants.value(f"malformed, {name}") for _ in range(9)] for name in names})
    whole = arrow(frame, compression="uncompressed")
    strange = frame.rename({"surname": plants.label("a column of a stream")})
    mandate = engine_pb2.Mandate(request_id="malformed", project=study.PROJECT, purpose=study.PURPOSE)
    for number, octets in enumerate((whole[:-300], frame.write_csv().encode(), arrow(strange))):
        batch = f"malformed-{number}"
        header = harness.header(frame, batch, mandate=mandate, id_column="row_ref")
        header.mandate.request_id = batch
        parts = [intake_pb2.SubmitExtractRequest(header=header)]
        parts.append(intake_pb2.SubmitExtractRequest(chunk=harness.chunk(1, octets)))
        with heard.service.linker(Role.DATASET_HOLDER) as client:
            heard.tried("SubmitExtract, malformed", client._intake.SubmitExtract, iter(parts), timeout=30)
        told = attribute_pb2.SubmissionHeader(batch_id=batch, dataset="families", columns=names[1:])
        told.mandate.CopyFrom(study._mandate())
        chunk = attribute_pb2.Chunk(number=1, sha256=hashlib.sha256(octets).digest(), arrow=octets)
        with called(heard, Role.ATTRIBUTES, Role.COUNCIL) as peer:
            heard.tried("SubmitAttributes, malformed", peer.send,
                        "/pseudonym.v1.AttributeService/SubmitAttributes",
                        lambda told=told, chunk=chunk: iter((kind(header=told), kind(chunk=chunk))),
                        attribute_pb2.SubmitAttributesResponse, 30)  # fmt: skip
