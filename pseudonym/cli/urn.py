"""`kinlink urn`: look at reference numbers; ask for the way back, approve it, and open the answer.

Data on stdout, complaints on stderr; exit code 0 done, 1 failed, 2 wrong usage. What does not read is told by
its row and never repeated. By itself: `python -m pseudonym.cli.urn`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pseudonym.approvers import Policy
from pseudonym.errors import InputError, PseudonymError
from pseudonym.files import canonical, parse, read_secret_file, replace_file
from pseudonym.given import read_secret
from pseudonym.hpke import OpeningKey
from pseudonym.reading import Readings, read_all
from pseudonym.requests import Request, approve, digest_of, new_request_id, open_answer
from pseudonym.symbols import VALUES, suspects
from pseudonym.urn import SEPARATORS, grouped

ANSWER_KEY_FORMAT = "kinlink-answer-key/1"
LONGEST_DAYS = Policy().longest.days
_LARGEST_FILE = 64 << 20

urn_app = typer.Typer(
    help="Look at reference numbers; ask for the way back, approve it, open the answer.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Numbers = Annotated[list[str] | None, typer.Argument(metavar="[URN]...", show_default=False)]
NumbersFile = Annotated[
    Path | None,
    typer.Option("--file", "-f", metavar="FILE", help="Read them from here, one a line; '-' is stdin."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
RequestFile = Annotated[Path, typer.Argument(metavar="REQUEST", help="The file of the request.")]
Secret = Annotated[
    str,
    typer.Option("--secret", metavar="SOURCE", help="The key's passphrase: prompt, fd:NUMBER or file:PATH."),
]


@contextmanager
def _complaining() -> Iterator[None]:
    try:
        yield
    except PseudonymError as error:
        typer.echo(f"{error} [{error.reason}]", err=True)
        raise typer.Exit(1) from None


@urn_app.command("check")
def check(numbers: Numbers = None, file: NumbersFile = None, as_json: AsJson = False) -> None:
    """Say whether reference numbers are well-formed, and if not, which symbol or why."""
    with _complaining():
        texts = _numbers(numbers, file)
        readings = read_all(texts)
        complaints = [
            {"row": row, "reason": reason, "why": _why(reason, place, texts[row - 1])}
            for row, reason, place in readings.refused.iter_rows()
        ]
        if as_json:
            typer.echo(json.dumps({"well_formed": readings.read.height, "refused": complaints}, indent=1))
        else:
            typer.echo(f"{readings.read.height:,} of {len(texts):,} well-formed")
            for complaint in complaints:
                typer.echo("{row}: {why} [{reason}]".format(**complaint))
    if complaints:
        raise typer.Exit(1)


@urn_app.command("format")
def format_(numbers: Numbers = None, file: NumbersFile = None, plain: bool = False) -> None:
    """Write reference numbers as they are shown, in groups of four; with --plain, as they are stored."""
    with _complaining():
        texts = _numbers(numbers, file)
        readings = _all_read(texts)
        for word in readings.read["urn"]:
            typer.echo(word if plain else grouped(word))


@urn_app.command("request")
def request(
    file: Annotated[
        Path, typer.Option("--file", "-f", metavar="FILE", help="The reference numbers, one a line.")
    ],
    project: Annotated[str, typer.Option(help="The project of the numbers.")],
    recipient: Annotated[str, typer.Option(help="Whose numbers they are.")],
    purpose: Annotated[str, typer.Option(help="The name of a registered purpose.")],
    reason: Annotated[str, typer.Option(help="Why, in plain words, with nobody's name or number.")],
    requester: Annotated[str, typer.Option(help="Your name in the register.")],
    key: Annotated[
        Path,
        typer.Option("--answer-key", metavar="FILE", help="Where to put the new key that opens the answer."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to put the request.")],
    days: Annotated[int, typer.Option(help="After how many days it expires.", min=1, max=LONGEST_DAYS)] = 7,
) -> None:
    """Make a request to re-identify, and a key of its own for the answer."""
    with _complaining():
        for path in (key, out):
            _free(path)
        found = _all_read(_numbers(None, file)).read
        words = found["urn"].unique().to_list()
        if len(words) != found.height or found["epoch"].n_unique() != 1:
            raise InputError("The reference numbers are of several epochs, or one is there twice.")
        opening, secret = OpeningKey.generate()
        now = datetime.now(UTC).replace(microsecond=0)
        id = new_request_id()
        made = Request(
            id=id,
            project=project,
            recipient=recipient,
            epoch=found["epoch"][0],
            count=len(words),
            digest=digest_of(id, words),
            purpose=purpose,
            reason=reason,
            made=now,
            expires=now + timedelta(days=days),
            requester=requester,
            public_key=opening.public,
        )
        content = {"format": ANSWER_KEY_FORMAT, "request": made.name().hex(), "secret": secret.hex()}
        replace_file(key, canonical(content))
        replace_file(out, made.to_file())
        typer.echo(f"Request {made.name().hex()[:16]} is about {made.count:,} numbers.")


@urn_app.command("approve")
def approve_(
    request: RequestFile,
    approver: Annotated[str, typer.Option(help="Your name in the register.")],
    key: Annotated[
        Path, typer.Option("--approver-key", metavar="FILE", help="Your key, from 'approver-key'.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to put the approval.")],
    secret: Secret = "prompt",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is right.")] = False,
) -> None:
    """Show a request, and sign that you approve of exactly this."""
    with _complaining():
        _free(out)
        asked = Request.from_file(_read(request))
        for name, value in (
            ("Request", asked.name().hex()[:16]),
            ("Requester", asked.requester),
            ("Project", asked.project),
            ("Recipient", f"{asked.recipient}, epoch {asked.epoch}"),
            ("Numbers", f"{asked.count:,}"),
            ("Purpose", asked.purpose),
            ("Reason", asked.reason),
            ("Made", f"{asked.made:%Y-%m-%d %H:%M:%S} UTC"),
            ("Expires", f"{asked.expires:%Y-%m-%d %H:%M:%S} UTC"),
        ):
            typer.echo(f"{name:<10} {value}", err=True)
        if not yes and not typer.confirm("Do you approve?", err=True):
            raise typer.Exit(1)
        signer = signing_key(key, read_secret(secret, "Passphrase").encode())
        approval = approve(asked, approver, signer, datetime.now(UTC).replace(microsecond=0))
        replace_file(out, approval.to_file())


@urn_app.command("approver-key")
def approver_key(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Where to put the key.")],
    secret: Secret = "prompt",
) -> None:
    """Make a key to approve with, sealed under a passphrase; its public half goes into the register."""
    with _complaining():
        _free(out)
        made = Ed25519PrivateKey.generate()
        passphrase = read_secret(secret, "Passphrase", new=True).encode()
        sealing = serialization.BestAvailableEncryption(passphrase)
        replace_file(
            out,
            made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing),
        )
        typer.echo(made.public_key().public_bytes_raw().hex())


@urn_app.command("open")
def open_(
    answer: Annotated[Path, typer.Argument(metavar="ANSWER", help="The sealed answer.")],
    request: Annotated[Path, typer.Option(metavar="FILE", help="The request that it answers.")],
    key: Annotated[
        Path, typer.Option("--answer-key", metavar="FILE", help="The key that was made with the request.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Where to put what is in it, for you alone to read.")
    ],
) -> None:
    """Open the answer to your request. What is in it identifies people: keep it no longer than you must."""
    with _complaining():
        _free(out)
        asked = Request.from_file(_read(request))
        content = parse(read_secret_file(key, "answer key"), "answer key")
        if content.get("format") != ANSWER_KEY_FORMAT or content.get("request") != asked.name().hex():
            raise InputError("This key was not made with this request.")
        opening = OpeningKey(bytes.fromhex(str(content.get("secret"))))
        replace_file(out, open_answer(opening, asked, _read(answer)))


def _numbers(numbers: list[str] | None, file: Path | None) -> list[str]:
    if bool(numbers) == (file is not None):
        raise InputError("Give reference numbers, or a file of them.")
    if file is None:
        return numbers or []
    data = sys.stdin.buffer.read(_LARGEST_FILE + 1) if str(file) == "-" else _read(file)
    try:
        return data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError("The file is not text in UTF-8.") from None


def _all_read(texts: list[str]) -> Readings:
    readings = read_all(pl.Series(texts, dtype=pl.String))
    if readings.refused.height or not texts:
        raise InputError(
            f"{readings.refused.height:,} of {len(texts):,} lines are no reference numbers.",
            "Look at them with 'urn check'.",
        )
    return readings


def _why(reason: str, place: int | None, text: str) -> str:
    if reason == "URN_SYMBOL":
        return f"character {place} (separators not counted) is none that a reference number has"
    values = [VALUES[sign] for sign in text if sign not in SEPARATORS] if reason != "URN_SYMBOL" else []
    if reason == "URN_LENGTH":
        return f"it has {len(values)} symbols, not 24"
    if reason == "URN_KIND":
        return "it is of no kind or epoch that exists"
    wrong, exchanged = suspects(values)
    guesses = [f"symbol {wrong + 1}"] if wrong is not None else []
    guesses += [f"symbols {exchanged + 1} and {exchanged + 2} exchanged"] if exchanged is not None else []
    told = f"; if it is one slip, look at {' or '.join(guesses)}" if guesses else ""
    return f"the check symbols do not fit{told}"


def _free(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise InputError(f"{path} is there already.", "Nothing is written over; name another place.")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) > _LARGEST_FILE:
        raise InputError(f"{path} is too large.")
    return data


def signing_key(path: Path, passphrase: bytes) -> Ed25519PrivateKey:
    """An approver's key. Raises InputError if it is none, or has another passphrase."""
    data = read_secret_file(path, "approver's key")
    try:
        key = serialization.load_pem_private_key(data, passphrase)
    except (ValueError, TypeError):
        raise InputError("The key does not open: another passphrase, or no key.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("This is no key to approve with.", "Make one with 'urn approver-key'.")
    return key


if __name__ == "__main__":
    urn_app(prog_name="urn")
