"""What `kinlink release` and `kinlink table` share: who looks at what was built, and signs exactly that."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pseudonym.cli.urn import signing_key
from pseudonym.errors import InputError, TamperedError
from pseudonym.files import parse
from pseudonym.given import read_secret
from pseudonym.release.papers import Approval
from pseudonym.roles.commands import now, plain, several

Approver = Annotated[str, typer.Option("--approver", help="Your name in the register.")]
ApproverKey = Annotated[Path, typer.Option("--approver-key", metavar="FILE", help="Your key.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask whether it is right.")]


def looked_at(manifest: bytes, files: Mapping[str, bytes], show: Callable[[], None]) -> bytes:
    """Show what was built to an approver; the digest to sign.

    Args:
        manifest: what is signed.
        files: what it names, `specification` among them; what is shown.
        show: shows the rest of it, on stderr.

    Raises:
        InputError: nothing was built that could be approved.
        TamperedError: the manifest names other files.
    """
    if not manifest or not all(files.values()):
        raise InputError("It was not checked yet, or is kept back.", "Have it checked first.")
    named = parse(manifest, "manifest")
    for what, data in files.items():
        if named[what] != hashlib.sha256(data).hexdigest():
            raise TamperedError(f"The {what} is not the one that the manifest names.", "Tell the officer.")
    print(several(files["specification"].decode()), file=sys.stderr)
    show()
    digest = hashlib.sha256(manifest).digest()
    print(f"Build {digest.hex()}", file=sys.stderr)
    return digest


def signed(digest: bytes, approver: str, key: Path, secret: str, yes: bool) -> bytes:
    """An approval's file, once the approver has said so."""
    if not yes and not typer.confirm("Do you approve?", err=True):
        raise typer.Exit(1)
    signer = signing_key(key, read_secret(secret, "Passphrase").encode())
    return Approval.sign(digest, approver, signer, now()).to_file()


def show_approvals(files: Iterable[bytes]) -> None:
    """Print who has approved, and when."""
    for one in files:
        approval = Approval.from_file(one)
        print(f"approved by {plain(approval.approver)}, {approval.time:%Y-%m-%dT%H:%M:%SZ}")


def pages(ask: Callable[[str], Any]) -> Iterator[Any]:
    """Page after page of a list, asked for by token."""
    token = ""
    while True:
        page = ask(token)
        yield page
        token = page.next_page_token
        if not token:
            return
