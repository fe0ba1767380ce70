"""`kinlink release`: make an analysis file, have it checked and approved, fetch and open it, end it.

The officer creates and checks, approvers look at the report and sign, researchers fetch; `keys` and `open`
work at the recipient, without a service.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pseudonym.cli.urn import Secret
from pseudonym.errors import InputError, TamperedError
from pseudonym.files import canonical, parse, read_secret_file
from pseudonym.hpke import OpeningKey
from pseudonym.release.bundle import DICTIONARY, MANIFEST, opened
from pseudonym.release.papers import Statement
from pseudonym.release.report import Report
from pseudonym.roles.callers import Role
from pseudonym.roles.commands import (
    HELP,
    At,
    RequestId,
    at_service,
    complaining,
    content_of,
    free,
    moment,
    now,
    plain,
    several,
    write,
)
from pseudonym.roles.commands_approving import (
    Approver,
    ApproverKey,
    AsJson,
    Yes,
    looked_at,
    pages,
    show_approvals,
    signed,
)
from pseudonym.roles.peer import Peer
from pseudonym.v1 import release_pb2

R = "/pseudonym.v1.ReleaseService/"
KEYS_FORMAT = "kinlink-recipient-keys/1"

release_app = typer.Typer(name="release", help="Make, check, approve, fetch and open analysis files.", **HELP)

Name = Annotated[str, typer.Argument(metavar="RELEASE", help="The release's name.")]
Keys = Annotated[Path, typer.Option("--recipient-keys", metavar="FILE", help="From 'kinlink release keys'.")]
Out = Annotated[Path, typer.Option("--out", metavar="PATH", help="Where to put it.")]


@release_app.command("keys")
def keys(out: Out) -> None:
    """Make the recipient's keys: one that opens releases, one that signs that they were destroyed."""
    with complaining():
        free(out)
        opening, secret = OpeningKey.generate()
        signer = Ed25519PrivateKey.generate()
        secrets = {"sealing": secret.hex(), "signing": signer.private_bytes_raw().hex()}
        write(out, canonical({"format": KEYS_FORMAT, **secrets}))
        print(f'sealing_key = "{opening.public.hex()}"')
        print(f'signing_key = "{signer.public_key().public_bytes_raw().hex()}"')


@release_app.command("create")
@at_service()
def create(
    at: At,
    specification: Annotated[Path, typer.Argument(metavar="FILE", help="The specification, TOML.")],
    request_id: RequestId = None,
) -> None:
    """Have a specification kept; nothing is built yet."""
    with at.called(Role.ATTRIBUTES) as peer:
        request = release_pb2.CreateReleaseRequest(
            mandate=at.stated(request_id), specification=content_of(specification)
        )
        answer = peer.call(f"{R}CreateRelease", request, release_pb2.CreateReleaseResponse)
        print(_line(answer.release))


@release_app.command("check")
@at_service()
def check(
    at: At,
    name: Name,
    request_id: RequestId = None,
) -> None:
    """Build a release and check it; the report goes to stdout, and the exit code is 1 if something blocks."""
    with at.called(Role.ATTRIBUTES) as peer:
        request = release_pb2.CheckReleaseRequest(mandate=at.stated(request_id), name=name)
        answer = peer.call(f"{R}CheckRelease", request, release_pb2.CheckReleaseResponse)
    report = Report.from_file(answer.release.report)
    print(several(report.text()), end="")
    if report.blocked:
        raise typer.Exit(1)


@release_app.command("list")
@at_service("purpose")
def list_(
    at: At,
) -> None:
    """List the releases of a project."""
    with at.called(Role.ATTRIBUTES) as peer:

        def ask(token: str) -> release_pb2.ListReleasesResponse:
            request = release_pb2.ListReleasesRequest(project=at.project, page_token=token)
            return peer.call(f"{R}ListReleases", request, release_pb2.ListReleasesResponse)

        for page in pages(ask):
            for one in page.releases:
                print(_line(one))


@release_app.command("show")
@at_service("purpose")
def show(
    at: At,
    name: Name,
    as_json: AsJson = False,
) -> None:
    """Show a release: how far it is, and its report."""
    with at.called(Role.ATTRIBUTES) as peer:
        found = _got(peer, at.project, name)
    if as_json:
        parts = {"manifest": found.manifest, "report": found.report}
        files = {what: json.loads(data) if data else None for what, data in parts.items()}
        shown = {"name": found.name, "state": _state(found), "overdue": found.overdue}
        print(json.dumps(shown | files, indent=1))
        return
    print(_line(found))
    show_approvals(found.approvals)
    if found.report:
        print(several(Report.from_file(found.report).text()), end="")


@release_app.command("approve")
@at_service()
def approve(
    at: At,
    name: Name,
    approver: Approver,
    approver_key: ApproverKey,
    secret: Secret = "prompt",
    yes: Yes = False,
    request_id: RequestId = None,
) -> None:
    """Show what was built and found, and sign that you approve of exactly this."""
    with at.called(Role.ATTRIBUTES) as peer:
        found = _got(peer, at.project, name)
        files = {"report": found.report, "specification": found.specification}
        digest = looked_at(
            found.manifest,
            files,
            lambda: print(several(Report.from_file(found.report).text()), file=sys.stderr),
        )
        approval = signed(digest, approver, approver_key, secret, yes)
        request = release_pb2.ApproveReleaseRequest(
            mandate=at.stated(request_id), name=name, approval=approval
        )
        answer = peer.call(f"{R}ApproveRelease", request, release_pb2.ApproveReleaseResponse)
        print(_line(answer.release))


@release_app.command("read")
@at_service()
def read(
    at: At,
    name: Name,
    out: Out,
    request_id: RequestId = None,
) -> None:
    """Fetch an approved release, sealed as it is."""
    with at.called(Role.ATTRIBUTES) as peer:
        free(out)
        request = release_pb2.ReadReleaseRequest(mandate=at.stated(request_id), name=name)
        pieces = peer.read(f"{R}ReadRelease", request, release_pb2.ReadReleaseResponse)
        write(out, b"".join(piece.content for piece in pieces))
        print(f"{out}: {out.stat().st_size:,} bytes, sealed; open it with 'kinlink release open'.")


@release_app.command("open")
def open_(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="What 'kinlink release read' wrote.")],
    recipient_keys: Keys,
    out: Out,
    csv: Annotated[bool, typer.Option("--csv", help="Write the tables as CSV files too.")] = False,
) -> None:
    """Open a release at the recipient: its tables, dictionary, quality figures and manifest."""
    with complaining():
        free(out)
        content = opened(content_of(bundle), OpeningKey(_keys(recipient_keys)[0]))
        for name, data in {**content.files, MANIFEST: content.manifest}.items():
            write(out / Path(name).name, data)
            if csv and name.endswith(".parquet"):
                table = pl.read_parquet(io.BytesIO(data))
                write((out / Path(name).name).with_suffix(".csv"), table.write_csv().encode())
        manifest = json.loads(content.manifest)
        for name, rows in manifest["rows"].items():
            print(f"{plain(name)}: {rows:,} rows")
        print(f"{DICTIONARY} says what each column is. Destroy all copies by {plain(manifest['expires'])}.")


@release_app.command("destroyed")
@at_service()
def destroyed(
    at: At,
    name: Name,
    recipient_keys: Keys,
    who: Annotated[str, typer.Option("--who", help="Your name, as the release names its researchers.")],
    how: Annotated[str, typer.Option("--how", help="How it was destroyed, in one line.")],
    out: Out,
    request_id: RequestId = None,
) -> None:
    """State, signed, that all copies of a release were destroyed; the certificate is written to a file."""
    with at.called(Role.ATTRIBUTES) as peer:
        free(out)
        digest = hashlib.sha256(_got(peer, at.project, name).manifest).digest()
        signer = Ed25519PrivateKey.from_private_bytes(_keys(recipient_keys)[1])
        statement = Statement.sign(digest, who, signer, now(), how)
        request = release_pb2.CertifyDestroyedRequest(
            mandate=at.stated(request_id), name=name, statement=statement.to_file()
        )
        answer = peer.call(f"{R}CertifyDestroyed", request, release_pb2.CertifyDestroyedResponse)
        write(out, answer.release.certificate)
        print(_line(answer.release))


def _got(peer: Peer, project: str, name: str) -> release_pb2.Release:
    request = release_pb2.GetReleaseRequest(project=project, name=name)
    return peer.call(f"{R}GetRelease", request, release_pb2.GetReleaseResponse).release


def _keys(path: Path) -> tuple[bytes, bytes]:
    """The recipient's secrets: to open with, and to sign with."""
    data = read_secret_file(path, "recipient's keys")
    try:
        content = parse(data, "recipient's keys")
    except TamperedError:
        content = {}
    if content.get("format") != KEYS_FORMAT:
        raise InputError(f"{path} holds no keys of a recipient.", "Name what 'kinlink release keys' wrote.")
    return bytes.fromhex(content["sealing"]), bytes.fromhex(content["signing"])


def _state(found: release_pb2.Release) -> str:
    return release_pb2.ReleaseState.Name(found.state).removeprefix("RELEASE_STATE_").lower()


def _line(found: release_pb2.Release) -> str:
    overdue = ", OVERDUE: nobody has stated that it was destroyed" if found.overdue else ""
    until = f"expires {moment(found.expire_time)}"
    return f"{plain(found.name)} for {plain(found.recipient)}: {_state(found)}, {until}{overdue}"
