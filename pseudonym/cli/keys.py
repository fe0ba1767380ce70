"""`kinlink keys`: make keysets, look after their keys, and end them.

Data on stdout, questions and complaints on stderr; exit code 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from pseudonym import uses
from pseudonym.audit import CheckpointFolder, VerifierKey
from pseudonym.errors import AuditStrangerError, InputError, OptionError, PseudonymError
from pseudonym.given import Given, passphrases, read_secret
from pseudonym.keyrecord import RAW_KEY_ACCESS, Key, State
from pseudonym.keys import Keyset

keys_app = typer.Typer(
    name="keys",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make keysets, look after their keys, and end them.",
)

KeysetPath = Annotated[Path, typer.Argument(metavar="KEYSET", help="The keyset's file.")]
Use = Annotated[
    str, typer.Argument(metavar="USE", help="What the key is for, such as aid/1:tf-2026, bidx/1 or audit/1.")
]
AnyKey = Annotated[str, typer.Argument(metavar="KEY", help="The key's id, or its use.")]

_COMMON = {
    "secrets": Annotated[
        list[str] | None,
        typer.Option(
            "--secret", metavar="SOURCE", show_default=False,
            help="Where the passphrase, PIN or token comes from: prompt (if none), fd:NUMBER, file:PATH or "
            "credential:NAME. "
            "With custodians: CUSTODIAN=SOURCE, once for each.",
        ),
    ],
    "device": Annotated[
        Path | None, typer.Option("--device", metavar="FILE", help="The device secret. Never back it up.")
    ],
    "module": Annotated[
        Path | None, typer.Option("--module", metavar="FILE", help="The PKCS #11 library of a token's maker.")
    ],
    "address": Annotated[
        str | None, typer.Option("--address", metavar="URL", help="The key server: OpenBao or Vault.")
    ],
    "mount": Annotated[str, typer.Option("--mount", help="Where the server's transit engine is mounted.")],
    "authorities": Annotated[
        Path | None,
        typer.Option("--authorities", metavar="FILE", help="Certificates to trust for the key server."),
    ],
    "clock_was_ahead": Annotated[
        bool,
        typer.Option(
            "--clock-was-ahead", help="It was once written with a clock ahead; the present one is right."
        ),
    ],
}  # fmt: skip
_DEFAULTS: dict[str, Any] = {"mount": "transit", "clock_was_ahead": False}


def keyset_command(name: str, app: typer.Typer) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command that opens a keyset; its first parameter, `given`, stands for the options for it."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def called(**options: Any) -> None:
            common = {name: options.pop(name) for name in _COMMON}
            with _refusals():
                function(Given(**{**common, "secrets": common["secrets"] or []}), **options)

        hints = get_type_hints(function, include_extras=True)
        own = [
            one.replace(annotation=hints[one.name], kind=one.KEYWORD_ONLY)
            for one in list(inspect.signature(function).parameters.values())[1:]
        ]
        shared = [
            inspect.Parameter(
                one, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=_DEFAULTS.get(one)
            )
            for one, kind in _COMMON.items()
        ]
        whole = [*own, *shared]
        called.__signature__ = inspect.Signature(whole)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in whole}
        del called.__wrapped__
        app.command(name)(called)
        return function

    return register


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except OptionError as error:
        raise typer.BadParameter(error.message) from None
    except PseudonymError as error:
        for line in filter(None, (error.message, error.help)):
            print(_plain(line), file=sys.stderr)
        raise typer.Exit(1) from None


@keyset_command("create", keys_app)
def create(
    given: Given,
    path: KeysetPath,
    role: Annotated[
        str, typer.Option("--role", help="identity, broker or attributes; or a name such as broker-2.")
    ],
    provider: Annotated[
        str,
        typer.Option("--provider", help="Where the master key comes from: file, quorum, pkcs11 or transit."),
    ] = "file",
    threshold: Annotated[
        int | None, typer.Option("--threshold", help="quorum: how many custodians open it.")
    ] = None,
    token: Annotated[str | None, typer.Option("--token", help="pkcs11: the token's label.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="transit: a name for its key in the server.")
    ] = None,
) -> None:
    """Make an empty keyset."""
    Keyset.create(path, role, given.creator(provider, threshold, token, key))
    print(f"A keyset for {_plain(role)} is at {_plain(path)}.")
    if provider in ("file", "quorum"):
        print(f"Its device secret is at {_plain(given.device)}: never back that up, nor snapshot it.")


@keyset_command("add", keys_app)
def add(given: Given, path: KeysetPath, use: Use) -> None:
    """Make the first key for a use."""
    _show(_opened(given, path).add(use))


@keyset_command("list", keys_app)
def list_(
    given: Given,
    path: KeysetPath,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document.")] = False,
) -> None:
    """List the keys, the destroyed ones too; nothing is changed."""
    keyset = _opened(given, path, read_only=True)
    if as_json:
        shown = [
            {
                name: getattr(key, name)
                for name in ("kid", "use", "algorithm", "state", "not_before", "not_after")
            }
            for key in keyset.keys
        ]
        print(json.dumps({"set": keyset.name, "keys": shown}, indent=1))
        return
    width = max((len(key.use) for key in keyset.keys), default=0)
    for key in keyset.keys:
        until = f" to {key.not_after}" if key.not_after else ""
        print(f"{key.kid}  {key.use:<{width}}  {key.state:<12}  {key.not_before}{until}")


@keyset_command("rotate", keys_app)
def rotate(
    given: Given,
    path: KeysetPath,
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="kek/1 (this month's; or kek/1:2026-12; after a leak kek/1:2026-12.2), audit/1; master.",
        ),
    ],
) -> None:
    """Make the next key of a series, after which the last only decrypts; or make the master key anew."""
    keyset = _opened(given, path)
    if what == "master":
        keyset.rotate_master()
        print("The master key was made anew. Older copies of the keyset no longer open.")
    else:
        _show(keyset.rotate(what))


@keyset_command("destroy", keys_app)
def destroy(
    given: Given,
    path: KeysetPath,
    key: AnyKey,
    checkpoints: Annotated[
        Path | None,
        typer.Option("--checkpoints", help="The audit log's checkpoints, where the key signed the log."),
    ] = None,
) -> None:
    """Destroy a key for good: what it made can never be made, read or traced again."""
    keyset = _opened(given, path)
    doomed = _chosen(keyset, key)
    if uses.read(doomed.use).kind == uses.AUDIT:
        _check_handed_over(keyset, doomed, checkpoints)
    state = "still active" if doomed.state is State.ACTIVE else doomed.state.value
    print(f"{doomed.use} ({state}), made {doomed.not_before}. There is no way back.", file=sys.stderr)
    if (
        typer.prompt(f"Type {doomed.kid} to destroy it", err=True, default="", show_default=False)
        != doomed.kid
    ):
        raise InputError("That is not the key's id.", "Nothing was destroyed.")
    keyset.destroy(doomed.kid)
    print(f"Destroyed {doomed.kid}. Older copies of the keyset no longer open.")


@keyset_command("passphrase", keys_app)
def passphrase(
    given: Given,
    path: KeysetPath,
    new: Annotated[
        str,
        typer.Option("--new-secret", metavar="SOURCE", help="The new one: prompt, fd:NUMBER or file:PATH."),
    ] = "prompt",
    custodian: Annotated[str | None, typer.Option("--custodian", help="Whose it is, with a quorum.")] = None,
) -> None:
    """Change a passphrase. The keys stay, and so does all that was made with them."""
    keyset = _opened(given, path)
    keyset.change_passphrase(read_secret(new, "New passphrase", new=True), custodian)
    print("The passphrase was changed. Older copies of the keyset no longer open.")


@keyset_command("export", keys_app)
def export(
    given: Given,
    path: KeysetPath,
    key: AnyKey,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="A new file for the key, in hexadecimal.")
    ],
    understood: Annotated[
        bool,
        typer.Option(
            "--i-understand-that-nothing-guards-the-key-any-more",
            help="Needed: whoever has the file has the key, and destroying the key leaves the file.",
        ),
    ] = False,
) -> None:
    """Take a key's bytes out of the keyset, into a file that its owner alone can read."""
    if not understood:
        raise typer.BadParameter("--i-understand-that-nothing-guards-the-key-any-more is needed.")
    keyset = _opened(given, path, read_only=True)
    found = _chosen(keyset, key)
    secret = keyset.export(found.kid, RAW_KEY_ACCESS)
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(handle, "w") as file:
            file.write(secret.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(
            f"{out} cannot be made: {os.strerror(error.errno or 0)}.", "Name a file that is not there yet."
        ) from None
    print(f"{found.kid} {found.use} is in {_plain(out)}.")


@keyset_command("custodians", keys_app)
def custodians(
    given: Given,
    path: KeysetPath,
    threshold: Annotated[int, typer.Option("--threshold", help="How many of the new custodians open it.")],
    new: Annotated[
        list[str],
        typer.Option(
            "--new-secret", metavar="CUSTODIAN=SOURCE", help="Each new custodian, those who stay among them."
        ),
    ],
) -> None:
    """Put other custodians in the place of the present ones, of whom enough open the keyset a last time."""
    keyset = _opened(given, path)
    keyset.change_custodians(passphrases(new, new=True), threshold)
    print("The custodians were changed. Older copies of the keyset no longer open.")


def _opened(given: Given, path: Path, *, read_only: bool = False) -> Keyset:
    provider, ahead = given.opener(path), given.clock_was_ahead
    return Keyset.open(path, provider, read_only=read_only, clock_was_ahead=ahead)


def _chosen(keyset: Keyset, text: str) -> Key:
    known = {key.kid for key in keyset.keys}
    return keyset.by_kid(text) if text in known else keyset.find(text)


def _check_handed_over(keyset: Keyset, doomed: Key, checkpoints: Path | None) -> None:
    """Refuse a key that the audit log still goes by: without it the log never opens again.

    Raises:
        InputError: the log was not handed over to another of the keyset's keys.
    """
    if checkpoints is None:
        raise InputError("The key signed the audit log.", "Name the log's --checkpoints.")
    folder = CheckpointFolder(checkpoints)
    living = {key.kid for key in keyset.keys if key.state is not State.DESTROYED} - {doomed.kid}
    public = [key.public_bytes_raw() for kid, key in keyset.verifying_keys().items() if kid in living]
    notes = list(folder.notes())
    origin = notes[-1][1].partition(b"\n")[0].decode(errors="replace") if notes else ""
    try:
        folder.newest([VerifierKey(origin, one) for one in public])
    except AuditStrangerError:
        raise InputError(
            "The audit log still goes by this key.", "Rotate it, and start the server once before."
        ) from None


def _show(key: Key) -> None:
    print(f"{key.kid}  {key.use}")


def _plain(text: object) -> str:
    """Text that cannot steer a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in str(text))


if __name__ == "__main__":
    keys_app(prog_name="kinlink keys")
