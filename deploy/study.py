"""The study over three roles, step by step: what the demo shows, and what is measured and tested.

    councils' files ──check, divide──▶ halves ──▶ persons and families ─┐
    registers' extracts ──band, divide──▶ halves ──link each──▶ whose ──┴─▶ analysis file, approved by two

Every step can be done again: what was sent is known by its batch id, and jobs by their request.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.county.councils import COUNCILS
from benchmarks.county.presets import REGISTERS
from deploy.roles import CONTACTS, Processes
from deploy.service import Service, StudyError
from linker.resources import Job, SubmissionKind
from pseudonym import registers
from pseudonym.datasets import Dataset
from pseudonym.halves import ROW_REF, Halves, divide_extract, references
from pseudonym.hpke import OpeningKey
from pseudonym.registers.banding import banded
from pseudonym.release.bundle import Content, opened
from pseudonym.release.papers import Approval
from pseudonym.release.report import Report
from pseudonym.roles.callers import Role
from pseudonym.roles.peer import Peer
from pseudonym.roles.refusals import PeerUnavailableError
from pseudonym.study import files
from pseudonym.study.declaring import dataset
from pseudonym.study.delivery import Delivery, as_sent, check, divide
from pseudonym.study.fields import PROTECTED
from pseudonym.study.layouts import Layout
from pseudonym.study.schemes import scheme
from pseudonym.study.secret import stream
from pseudonym.tables.published import Published
from pseudonym.tables.report import TableReport
from pseudonym.v1 import common_pb2, optout_pb2, release_pb2, retention_pb2, table_pb2, vault_pb2

PROJECT, PURPOSE, RECIPIENT = "tf-2026", "evaluation-2026", "nis-analysis"
AUTHORITY = "Kinshire"
SINCE = "2010-01-01"  # registers of a made-up county go back to here
NHS_NUMBER_REASON = "s251-made-up"
RESEARCHER, HOLDER, APPROVERS = "alice", "alice", ("alice", "bob")
BEARERS = dict(zip(APPROVERS, (str(Role.APPROVER), f"{Role.APPROVER}-2"), strict=True))
"""Whose certificate each approver shows."""
LAYOUTS = Path(__file__).resolve().parent.parent / "benchmarks" / "county" / "layouts"
RELEASES, OPT_OUTS = "/pseudonym.v1.ReleaseService/", "/pseudonym.v1.OptOutService/"
TABLES, RETENTION = "/pseudonym.v1.TableService/", "/pseudonym.v1.RetentionService/"
OPTED_OUT = 50
REACH = 60.0  # seconds until a role that cannot be reached is given up
READER, AREA = "alice", COUNCILS[0]
"""Who reads tables with the made-up council's certificate, and whose area that is."""
Feed = Callable[[str, int, int], None]


def governance(approvers: Mapping[str, Ed25519PrivateKey]) -> dict[str, Any]:
    """What the roles are told: the example beside this file, and who approves and holds what."""
    example: dict[str, Any] = json.loads((Path(__file__).parent / "governance.json").read_text())
    return {
        **example,
        "councils": [{"project": PROJECT, "person": READER, "area": AREA}],
        "contacts": CONTACTS,
        "national_data_opt_out": {"mailbox": "X26OT001", "days": 7},
        "approvers": [
            {"name": name, "person": name, "public_key": key.public_key().public_bytes_raw().hex()}
            for name, key in approvers.items()
        ],
        "holders": [{"project": PROJECT, "dataset": name, "person": HOLDER} for name in REGISTERS],
    }


@dataclass(frozen=True, eq=False)
class Sent:
    """Two halves that were sent.

    Attributes:
        submission: the id of the identifiers'.
        references: `row_ref` and `record_id`, the sender's own id: what the sender alone has.
        rows: of the attributes.
        identifiers: what was sent of people.
    """

    submission: str
    references: pl.DataFrame
    rows: int
    identifiers: pl.DataFrame


def begin(service: Service) -> list[Dataset]:
    """Begin the project, open its recipient, and declare what may be stored; what was declared."""
    with service.broker(Role.KEY_CUSTODIAN) as custodian:
        custodian.begin_project()
        custodian.open_domain(RECIPIENT)
    with service.attributes(Role.KEY_CUSTODIAN) as custodian:
        custodian.open_project()
    declared = [dataset(scheme("tf-2015"), COUNCILS), *(registers.load(name).dataset for name in REGISTERS)]
    with service.attributes(Role.DATA_PROTECTION_OFFICER) as officer:
        for one in declared:
            officer.declare(one)
    return declared


def look_through(county: Path, council: str, day: str) -> Delivery:
    """Look through a council's file of a day, and decide about its families."""
    layout = Layout.from_toml((LAYOUTS / f"{council}.toml").read_text())
    return check(
        files.read(county / "councils" / council / f"{day}.parquet"), layout, date.fromisoformat(day)
    )


def deliver(service: Service, delivery: Delivery, key: bytes, feed: Feed) -> Sent:
    """Send a council's delivery in two halves.

    Args:
        service: the roles.
        delivery: what was looked through.
        key: the council's own.
        feed: called with (what, done, total).
    """
    made = divide(delivery, key)
    batch, halves = made.receipt["batch"], made.halves
    submission = _submit(service, Role.COUNCIL, halves.identifiers, batch, SubmissionKind.IDENTITIES, feed)
    with service.attributes(Role.COUNCIL) as client:
        rows = client.submit(halves.attributes, batch_id=batch, dataset=made.dataset.name).rows
    return Sent(submission, _references(delivery, halves.identifiers), rows, halves.identifiers)


def extract(county: Path, register: str, key: bytes) -> tuple[Halves, pl.DataFrame]:
    """A register's extract as its holder sends it: dates made coarse, its own ids replaced.

    Args:
        county: the folder.
        register: its name.
        key: the holder's own; the same extract under it is the same two halves.

    Returns:
        The halves; and `row_ref` and `record_id`, what the holder alone has.
    """
    records = pl.read_parquet(county / "registers" / f"{register}.parquet")
    events = pl.read_parquet(county / "attributes" / f"{register}.parquet")
    coarse = banded(events, registers.load(register), "record_id").cast(pl.String)
    halves = divide_extract(records, coarse, "record_id", stream(key, "extract/1", register))
    return halves, whose(records, register, key)


def whose(records: pl.DataFrame, register: str, key: bytes) -> pl.DataFrame:
    """Which reference each record of a register's extract has: `row_ref` and `record_id`."""
    refs = references(records.height, stream(key, "extract/1", register))
    return records.select(refs, "record_id")


def send_extract(service: Service, register: str, halves: Halves, batch: str, feed: Feed) -> tuple[str, int]:
    """Send both halves of an extract; the id of the submission, and the rows of attributes."""
    kind = SubmissionKind.EXTRACT
    submission = _submit(service, Role.DATASET_HOLDER, halves.identifiers, batch, kind, feed, register)
    with service.attributes(Role.DATASET_HOLDER) as client:
        return submission, client.submit(halves.attributes, batch_id=batch, dataset=register).rows


def join(service: Service, sent: Sent, feed: Feed) -> dict[str, int]:
    """Join what a council sent with the persons in the vault; what came of it."""
    with service.linker(Role.LINKAGE_OPERATOR) as client:
        started = client.start_join(
            sent.submission,
            family_column="family",
            protected_column=PROTECTED if PROTECTED in sent.identifiers.columns else "",
            request_id=f"join-{sent.submission}",
        )
        job = _done(client.wait(started.job_id, progress=feed))
        counts: dict[str, int] = client.report(job.job_id)["figures"]["joined"]
    return counts


def check_opt_outs(service: Service) -> None:
    """Have the National Data Opt-out checked, unless a list is fresh: sent, cleared as MESH would, taken in.

    Of made-up people one in `OPTED_OUT` has opted out.
    """
    with service.at(Role.IDENTITY, Role.DATA_PROTECTION_OFFICER) as officer:
        asked = optout_pb2.GetStatusRequest(project=PROJECT)
        status = officer.call(f"{OPT_OUTS}GetStatus", asked, optout_pb2.GetStatusResponse)
        now = datetime.now(UTC).timestamp()
        if any(one.state == "cleared" and one.expire_time.seconds > now for one in status.lists):
            return
        parts = _exported(officer)
        came_back = made_up_mesh(b"".join(part.content for part in parts))
        header = optout_pb2.ImportClearedHeader(mandate=_mandate(), name=parts[0].name)

        def messages() -> Iterator[optout_pb2.ImportClearedRequest]:
            yield optout_pb2.ImportClearedRequest(header=header)
            yield optout_pb2.ImportClearedRequest(content=came_back)

        officer.send(f"{OPT_OUTS}ImportCleared", messages, optout_pb2.ImportClearedResponse, 600.0)


def _exported(officer: Peer) -> list[optout_pb2.ExportNumbersResponse]:
    """The list, asked for again by the same request where the answer broke off."""
    asking = optout_pb2.ExportNumbersRequest(mandate=_mandate())
    until = time.monotonic() + REACH
    while True:
        try:
            return list(officer.read(f"{OPT_OUTS}ExportNumbers", asking, optout_pb2.ExportNumbersResponse))
        except PeerUnavailableError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def made_up_mesh(content: bytes) -> bytes:
    """What comes back of a list: all but the numbers of made-up people who have opted out."""
    lines = content.splitlines(keepends=True)
    return b"".join(line for line in lines if int(line[:9]) % OPTED_OUT)


def withdraw_family(service: Service, member: vault_pb2.SoughtPerson) -> int:
    """Withdraw somebody's whole family from the research; how many persons that were."""
    with service.at(Role.IDENTITY, Role.DATA_PROTECTION_OFFICER) as officer:
        asked = optout_pb2.WithdrawRequest(
            mandate=_mandate(), sought=vault_pb2.SoughtPersons(persons=[member]), families=True
        )
        return int(officer.call(f"{OPT_OUTS}Withdraw", asked, optout_pb2.WithdrawResponse).persons)


def link(
    service: Service, submission: str, register: str, day: str, feed: Feed
) -> tuple[Job, dict[str, Any]]:
    """Link a register with the persons in the vault; the job, and its figures."""
    if registers.load(register).health:
        check_opt_outs(service)
    # Whoever links with the NHS number says why; here somebody has agreed to it.
    reason = NHS_NUMBER_REASON if registers.load(register).health and register != "ndtms" else ""
    with service.linker(Role.LINKAGE_OPERATOR) as client:
        started = client.start_register(
            submission,
            register,
            day=date.fromisoformat(day),
            since=date.fromisoformat(SINCE),
            nhs_number_reason=reason,
            request_id=f"link-{submission}",
        )
        job = _done(client.wait(started.job_id, progress=feed))
        return job, client.report(job.job_id)["figures"]


def links_of(service: Service, job: Job) -> pl.DataFrame:
    """The links of a job: a known record by its id in the vault, a row of the register by its reference."""
    with service.linker(Role.LINKAGE_OPERATOR) as client:
        return client.read_links(job.job_id)


def release(
    service: Service, text: str, approvers: Mapping[str, Ed25519PrivateKey]
) -> tuple[release_pb2.Release, Callable[[OpeningKey], Content]]:
    """Have an analysis file built, checked and approved by two.

    Args:
        service: the roles.
        text: the specification.
        approvers: their keys by name; the certificate of each is there.

    Returns:
        The release, and what fetches and opens it at its recipient.

    Raises:
        StudyError: something blocks it.
    """
    name = create_release(service, text)
    made = check_release(service, name)
    if made.state != release_pb2.RELEASE_STATE_CHECKED:
        raise StudyError("Something keeps the analysis file back:\n" + Report.from_file(made.report).text())
    for approver in APPROVERS:
        made = approve_release(service, name, approver, signed(made.manifest, approver, approvers[approver]))
    return made, partial(read_release, service, name)


def create_release(service: Service, text: str) -> str:
    """Specify an analysis file; its name."""
    with service.at_attributes(Role.DATA_PROTECTION_OFFICER) as officer:
        asked = release_pb2.CreateReleaseRequest(mandate=_mandate(), specification=text.encode())
        made = officer.call(f"{RELEASES}CreateRelease", asked, release_pb2.CreateReleaseResponse)
    return made.release.name


def check_release(service: Service, name: str) -> release_pb2.Release:
    """Have an analysis file built and checked, also once more."""
    with service.at_attributes(Role.DATA_PROTECTION_OFFICER) as officer:
        checking = release_pb2.CheckReleaseRequest(mandate=_mandate(), name=name)
        return officer.call(f"{RELEASES}CheckRelease", checking, release_pb2.CheckReleaseResponse).release


def approve_release(service: Service, name: str, approver: str, approval: bytes) -> release_pb2.Release:
    """Bring an approver's approval, also once more: see `signed`."""
    with service.at_attributes(BEARERS[approver]) as peer:
        request = release_pb2.ApproveReleaseRequest(mandate=_mandate(), name=name, approval=approval)
        return peer.call(f"{RELEASES}ApproveRelease", request, release_pb2.ApproveReleaseResponse).release


def read_release(service: Service, name: str, key: OpeningKey) -> Content:
    """Fetch an approved analysis file, and open it at its recipient."""
    with service.at_attributes(Role.RESEARCHER) as researcher:
        reading = release_pb2.ReadReleaseRequest(mandate=_mandate(), name=name)
        pieces = researcher.read(f"{RELEASES}ReadRelease", reading, release_pb2.ReadReleaseResponse)
        return opened(b"".join(piece.content for piece in pieces), key)


def table(
    service: Service, text: str, approvers: Mapping[str, Ed25519PrivateKey], *, publish: bool = False
) -> table_pb2.Table:
    """Have a protected table counted, checked and approved by two; what was released.

    Args:
        service: the roles.
        text: the declaration.
        approvers: their keys by name; the certificate of each is there.
        publish: whether an approver marks it for publication.

    Raises:
        StudyError: it is kept back.
    """
    with service.at_attributes(Role.DATA_PROTECTION_OFFICER) as officer:
        asked = table_pb2.CreateTableRequest(mandate=_mandate(), specification=text.encode())
        name = officer.call(f"{TABLES}CreateTable", asked, table_pb2.CreateTableResponse).table.name
        checking = table_pb2.CheckTableRequest(mandate=_mandate(), name=name)
        made = officer.call(f"{TABLES}CheckTable", checking, table_pb2.CheckTableResponse).table
    if made.state != table_pb2.TABLE_STATE_CHECKED:
        raise StudyError("The table is kept back:\n" + TableReport.from_file(made.report).text())
    for approver in APPROVERS:
        approval = signed(made.manifest, approver, approvers[approver])
        request = table_pb2.ApproveTableRequest(mandate=_mandate(), name=name, approval=approval)
        with service.at_attributes(BEARERS[approver]) as peer:
            made = peer.call(f"{TABLES}ApproveTable", request, table_pb2.ApproveTableResponse).table
    if publish:
        with service.at_attributes(Role.APPROVER) as peer:
            marking = table_pb2.PublishTableRequest(mandate=_mandate(), name=name)
            made = peer.call(f"{TABLES}PublishTable", marking, table_pb2.PublishTableResponse).table
    return made


def read_table(service: Service, name: str, bearer: str = Role.COUNCIL) -> Published:
    """What somebody reads of a released table: a council its own area and the total of all."""
    with service.at_attributes(bearer) as peer:
        request = table_pb2.ReadTableRequest(mandate=_mandate(), name=name)
        return Published.from_file(
            peer.call(f"{TABLES}ReadTable", request, table_pb2.ReadTableResponse).content
        )


def signed(manifest: bytes, approver: str, key: Ed25519PrivateKey) -> bytes:
    """An approver's approval of exactly what was built and found."""
    now = datetime.now(UTC).replace(microsecond=0)
    return Approval.sign(hashlib.sha256(manifest).digest(), approver, key, now).to_file()


def later(roles: Processes, service: Service, days: int) -> Service:
    """The roles as they are so many days from now: what is due by then is destroyed at their start."""
    return replace(service, addresses=roles.later(days))


def certificates_of(service: Service, role: Role) -> list[bytes]:
    """The certificates of what a role destroyed because its time was over, such as registers' extracts."""
    with service.at(role, Role.KEY_CUSTODIAN) as custodian:
        asked = retention_pb2.ListCertificatesRequest()
        answer = custodian.call(f"{RETENTION}ListCertificates", asked, retention_pb2.ListCertificatesResponse)
        return list(answer.certificates)


def destroy_due(service: Service, role: Role) -> list[bytes]:
    """Destroy what is due in a role, the project too if it has ended; the certificates.

    After the project's end the identity role comes first and the broker last.
    """
    with service.at(role, Role.KEY_CUSTODIAN) as custodian:
        asked = retention_pb2.RunDestructionRequest(mandate=_mandate())
        answer = custodian.call(f"{RETENTION}RunDestruction", asked, retention_pb2.RunDestructionResponse)
        return list(answer.certificates)


def _mandate() -> common_pb2.Mandate:
    return common_pb2.Mandate(request_id=str(uuid.uuid4()), project=PROJECT, purpose=PURPOSE)


def _submit(
    service: Service,
    caller: Role,
    rows: pl.DataFrame,
    batch: str,
    kind: SubmissionKind,
    feed: Feed,
    source: str = AUTHORITY,
) -> str:
    council = kind is SubmissionKind.IDENTITIES
    with service.linker(caller) as client:
        sent = client.submit(
            rows,
            batch_id=batch,
            source=source,
            kind=kind,
            id_column=ROW_REF,
            mapping={"household": "family"} if council else None,
            progress=lambda done, total: feed(source, done, total or done),
        )
    if sent.problem is not None:
        raise StudyError(f"{sent.problem.message} {sent.problem.help}")
    return sent.submission_id


def _done(job: Job) -> Job:
    if job.problem is not None:
        raise StudyError(f"{job.problem.message} {job.problem.help}")
    return job


def _references(delivery: Delivery, identifiers: pl.DataFrame) -> pl.DataFrame:
    """Which reference each of the council's own rows has: the row that says the same of the same family."""
    own = [name for name in identifiers.columns if name != ROW_REF]
    rows = as_sent(delivery.leaving, ["member", *own])
    return (
        identifiers.join(rows, on=own, nulls_equal=True).unique(ROW_REF).select(ROW_REF, record_id="member")
    )


def written(content: Content, folder: Path) -> Iterator[Path]:
    """Write an opened analysis file into a folder, its tables as CSV too; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in {**content.files, "manifest.json": content.manifest}.items():
        path = folder / Path(name).name
        path.write_bytes(data)
        yield path
        if name.endswith(".parquet"):
            pl.read_parquet(path).write_csv(path.with_suffix(".csv"))
            yield path.with_suffix(".csv")


def figures_of(content: Content) -> dict[str, Any]:
    """The quality figures that come with an analysis file."""
    found: dict[str, Any] = json.loads(content.files["quality.json"])
    return found
