"""`kinlink register send` and `attach`: what a holder sends to the attributes role.

The file has attributes only: a row is known by its reference or number, and each column was declared.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from pseudonym.errors import InputError
from pseudonym.halves import ROW_REF
from pseudonym.roles.client import URN, AttributesClient
from pseudonym.roles.commands import (
    Authority,
    Certificate,
    Key,
    Project,
    Purpose,
    Recipient,
    Service,
    complaining,
    plain,
)
from pseudonym.roles.peer import PeerTls
from pseudonym.v1 import attribute_pb2

register_app = typer.Typer()
File = Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="CSV file.")]
Batch = Annotated[
    str, typer.Option("--batch", help="Your own id of this batch; the same batch is never taken twice.")
]
Named = Annotated[str, typer.Option("--dataset", help="The declared dataset.")]


@register_app.command("send")
def send_attributes(
    file: File,
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority,
    certificate: Certificate,
    key: Key,
    batch: Batch,
    dataset: Named,
) -> None:
    """Send the attributes of an extract, by the row references that its identifiers have."""
    with complaining():
        rows = _rows(file, ROW_REF)
        with _client(service, project, purpose, authority, certificate, key) as client:
            _show(client.submit(rows, batch_id=batch, dataset=dataset))


@register_app.command("attach")
def attach_attributes(
    file: File,
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority,
    certificate: Certificate,
    key: Key,
    batch: Batch,
    dataset: Named,
    recipient: Recipient,
) -> None:
    """Send attributes by the reference numbers that you were given."""
    with complaining():
        rows = _rows(file, URN)
        with _client(service, project, purpose, authority, certificate, key) as client:
            _show(client.attach(rows, batch_id=batch, dataset=dataset, recipient=recipient))


def _rows(file: Path, id_column: str) -> pl.DataFrame:
    """The rows of a file, all text, the id first."""
    try:
        found = pl.read_csv(file, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError):
        raise InputError("The file cannot be read as CSV.", "Check the name, and that it is UTF-8.") from None
    if id_column not in found.columns:
        raise InputError(f"The file has no column {id_column}.", "It says which row is meant.")
    return found.select(id_column, pl.exclude(id_column))


def _client(
    service: str, project: str, purpose: str, authority: Path, certificate: Path, key: Path
) -> AttributesClient:
    try:
        tls = PeerTls(authority.read_bytes(), certificate.read_bytes(), key.read_bytes())
    except OSError as error:
        raise InputError(f"A file of the connection cannot be read: {error.strerror}.") from None
    return AttributesClient(service, project=project, purpose=purpose, tls=tls)


def _show(submission: attribute_pb2.Submission) -> None:
    state = attribute_pb2.SubmissionState.Name(submission.state).rpartition("_")[2].lower()
    print(f"{plain(submission.submission_id)} {state} {submission.rows} rows", file=sys.stdout)
