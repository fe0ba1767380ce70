"""`kinlink audit`: look at an audit log and check it, offline, with nothing but its public key.

Data on stdout, progress and complaints on stderr; exit code 0 done, 1 failed, 2 wrong usage. Nothing is
written to the log or to the checkpoints, but by `clock-was-ahead`.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from pseudonym.audit import proofs
from pseudonym.audit.checkpoint import Checkpoint, VerifierKey
from pseudonym.audit.entries import SUBJECT_BYTES, Entry, open_details
from pseudonym.audit.folder import read_about
from pseudonym.audit.log import Log
from pseudonym.audit.reading import entries_of
from pseudonym.audit.verify import verify as verify_log
from pseudonym.cli.keys import keyset_command
from pseudonym.errors import AuditTamperedError, InputError, PseudonymError
from pseudonym.given import Given
from pseudonym.keys import Keyset
from pseudonym.log_keys import read_officer, signers

audit_app = typer.Typer(
    name="audit",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Look at an audit log and check it, offline.",
)

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", show_default=False, help="The log's folder.")]
Kept = Annotated[
    Path,
    typer.Option("--checkpoints", metavar="FOLDER", help="The folder that another party keeps."),
]
Keys = Annotated[
    list[str],
    typer.Option(
        "--key",
        metavar="KEY",
        help="The log's public key, or a file with a line for each that it has had.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the proof to a file.")]


@audit_app.command()
def verify(
    folder: Folder,
    checkpoints: Kept,
    key: Keys,
    live: Annotated[
        bool,
        typer.Option("--live", help="The log is in use: the last three minutes may not be signed yet."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check that every entry is there, in order and unchanged, by the checkpoints that were kept."""
    with _reporting(as_json), _progress() as progress:
        shown = verify_log(folder, checkpoints, read_keys(key), live=live, progress=progress)
    document = {
        "origin": shown.origin,
        "entries": shown.entries,
        "signed": shown.signed,
        "checkpoints": shown.checkpoints,
        "root": shown.root.hex(),
        "key": str(shown.key),
        "first": shown.first and shown.first.isoformat(),
        "last": shown.last and shown.last.isoformat(),
    }
    if as_json:
        print(json.dumps(document))
        return
    print(f"The log {shown.origin} is as it was written.")
    print(
        f"{shown.entries:,} entries, {shown.signed:,} of them signed; {shown.checkpoints:,} checkpoints hold."
    )
    if shown.first and shown.last:
        print(f"From {_moment(shown.first.isoformat())} to {_moment(shown.last.isoformat())}.")
    print(f"Root hash {shown.root.hex()}")
    print(f"Signed now with {shown.key}")


@audit_app.command()
def show(
    folder: Folder,
    first: Annotated[int, typer.Option("--from", min=0, help="The first entry to show, from 0.")] = 0,
    count: Annotated[int, typer.Option("--count", min=1, help="How many at most.")] = 100,
    officer: Annotated[
        Path | None,
        typer.Option(
            "--officer-key",
            metavar="FILE",
            help="The data protection officer's private key: open the details.",
        ),
    ] = None,
    subject: Annotated[
        str,
        typer.Option("--subject", metavar="HEX", help="Only entries about the subject of this reference."),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List entries. They are shown as they stand: 'kinlink audit verify' says whether they are genuine.

    With --officer-key the details are shown too, and these may name people.
    """
    with _reporting(as_json):
        private = _officer_key(officer) if officer else None
        wanted = _subject(subject)
        found = (entry for entry in entries_of(folder, first) if wanted in (b"", entry.subject))
        for entry in itertools.islice(found, count):
            details = open_details(entry, private) if private else None
            print(json.dumps(_document(entry, details)) if as_json else _line(entry, details))


@audit_app.command()
def prove_inclusion(
    folder: Folder,
    number: Annotated[int, typer.Argument(metavar="NUMBER", min=0, show_default=False, help="From 0.")],
    checkpoints: Kept,
    key: Keys,
    size: Annotated[
        int | None, typer.Option("--size", min=1, help="For the checkpoint of this size; else the newest.")
    ] = None,
    out: Out = None,
) -> None:
    """Make the proof that an entry is in the log, as a C2SP tlog-proof with the entry in it."""
    with _reporting():
        _give(proofs.prove_inclusion(folder, checkpoints, read_keys(key), number, size), out)


@audit_app.command()
def prove_consistency(
    folder: Folder,
    old: Annotated[int, typer.Argument(metavar="OLD", min=0, show_default=False, help="The older size.")],
    checkpoints: Kept,
    key: Keys,
    new: Annotated[
        int | None, typer.Option("--new", min=0, help="The newer size; else that of the newest checkpoint.")
    ] = None,
    out: Out = None,
) -> None:
    """Make the proof that the log of one checkpoint is the beginning of that of another."""
    with _reporting():
        _give(proofs.prove_consistency(folder, checkpoints, read_keys(key), old, new), out)


@audit_app.command()
def check(
    proof: Annotated[Path, typer.Argument(metavar="PROOF", show_default=False, help="The proof's file.")],
    key: Keys,
    as_json: AsJson = False,
) -> None:
    """Check a proof of either kind. It needs neither the log nor the folder of checkpoints."""
    with _reporting(as_json):
        try:
            text = proof.read_text()
        except (OSError, UnicodeDecodeError):
            raise InputError("The proof cannot be read.", "Name its file.") from None
        proven = proofs.check(text, read_keys(key))
    newest = proven.checkpoints[-1]
    if as_json:
        said: dict[str, Any] = {"checkpoints": [_said(checkpoint) for checkpoint in proven.checkpoints]}
        print(json.dumps(said | ({"entry": _document(proven.entry, None)} if proven.entry else {})))
    elif proven.entry:
        print(f"The proof holds: this is entry {proven.entry.number} of the log {newest.origin}.")
        print(_line(proven.entry, None))
    else:
        old = proven.checkpoints[0]
        print(f"The proof holds: of the log {newest.origin}, the first {old.size:,} of the {newest.size:,}")
        print("entries are those that were signed before.")


@keyset_command("clock-was-ahead", audit_app)
def clock_was_ahead(
    given: Given,
    folder: Folder,
    checkpoints: Kept,
    keyset: Annotated[Path, typer.Option("--keyset", metavar="FILE", help="The role's keyset.")],
    officer: Annotated[
        Path, typer.Option("--officer-key", metavar="FILE", help="The officer's public key, PEM.")
    ],
    who: Annotated[
        str, typer.Option("--who", metavar="NAME", help="Who says so, such as role/key-custodian/alice.")
    ],
) -> None:
    """Say that the log's last entries were written with a clock that was ahead, and that it is right now.

    The log does not open while the clock is behind its last entry. This writes an entry that says so, signed
    with the log's key, from which on time goes on. The server must not be running.
    """
    opened = Keyset.open(keyset, given.opener(keyset), clock_was_ahead=given.clock_was_ahead)
    signer, *former = signers(opened, read_about(folder))
    public = read_officer(officer)
    with Log.open(folder, checkpoints, signer, public, former=former, clock_was_ahead=who) as log:
        print(f"Entry {log.size - 1} says that the clock was ahead. The log goes on from the present time.")


def read_keys(texts: list[str]) -> list[VerifierKey]:
    """The public keys of a log, as `--key` gives them.

    Raises:
        InputError: one cannot be read.
    """
    lines: list[str] = []
    for text in texts:
        path = Path(text)
        try:
            lines += path.read_text().split() or [""] if "+" not in text or path.is_file() else [text]
        except (OSError, UnicodeDecodeError):
            raise InputError(
                "The public key cannot be read.", "Give its one line, or a file with it."
            ) from None
    return [VerifierKey.parse(line) for line in lines]


def _subject(text: str) -> bytes:
    """A subject's reference, which the list shows the beginning of and --json the whole; none when empty."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b"?"
    if len(found) not in (0, SUBJECT_BYTES):
        raise InputError(
            "A subject's reference is 64 hexadecimal digits.", "Take it from an entry that --json shows."
        )
    return found


def _officer_key(path: Path) -> X25519PrivateKey:
    try:
        data = path.read_bytes()
        locked = b"ENCRYPTED" in data
        passphrase = typer.prompt("Passphrase", hide_input=True, err=True).encode() if locked else None
        key = load_pem_private_key(data, passphrase)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        raise InputError(
            "The officer's private key cannot be opened.", "It is a PEM file; its passphrase is asked for."
        ) from None
    if not isinstance(key, X25519PrivateKey):
        raise InputError("The officer's key is not an X25519 key.")
    return key


def _give(proof: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(proof)
        return
    try:
        out.write_text(proof)
    except OSError as error:
        raise InputError(f"The proof cannot be written: {error.strerror}.") from None


def _line(entry: Entry, details: bytes | None) -> str:
    subject = entry.subject.hex()[:16] or "-"
    fields = (entry.actor, entry.action, entry.purpose, entry.project or "-", subject, str(entry.count))
    line = f"{entry.number}  {_moment(entry.time.isoformat())}  {'  '.join(fields)}"
    if details:
        text = details.decode(errors="replace")
        line += "\n    " + "".join(sign if sign.isprintable() else "?" for sign in text)
    return line


def _document(entry: Entry, details: bytes | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "number": entry.number,
        "time": entry.time.isoformat(),
        "actor": entry.actor,
        "action": entry.action,
        "purpose": entry.purpose,
        "project": entry.project,
        "subject": entry.subject.hex(),
        "count": entry.count,
        "digest": entry.digest.hex(),
    }
    return document if details is None else document | {"details": details.decode(errors="replace")}


def _said(checkpoint: Checkpoint) -> dict[str, Any]:
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}


def _moment(text: str) -> str:
    return text.replace("+00:00", "Z")


@contextmanager
def _progress() -> Iterator[Any]:
    columns = TextColumn("Checking"), BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        yield lambda done, whole: bar.update(task, completed=done, total=whole)


@contextmanager
def _reporting(as_json: bool = False) -> Iterator[None]:
    """Say what is wrong and what to do; no traceback, and no value of a person."""
    try:
        yield
    except PseudonymError as error:
        print(f"Error: {error.message}", file=sys.stderr)
        if error.help:
            print(error.help, file=sys.stderr)
        if as_json:
            said: dict[str, Any] = {"reason": error.reason, "message": error.message, "help": error.help}
            if isinstance(error, AuditTamperedError):
                said |= {"first": error.first, "last": error.last}
            print(json.dumps({"error": said}))
        raise typer.Exit(2 if isinstance(error, InputError) else 1) from None


if __name__ == "__main__":
    audit_app(prog_name="kinlink audit")
