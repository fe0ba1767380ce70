"""`kinlink partner`: a council asks partners about families that it assesses, and reads their answers.

What matches people and addresses is no part of this package: `kinlink` hands it in. Data on stdout, questions
and complaints on stderr; exit code 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Protocol, cast

import polars as pl
import typer

from pseudonym.cli.urn import Secret
from pseudonym.errors import InputError
from pseudonym.files import read_secret_file
from pseudonym.given import read_secret
from pseudonym.lawful.cover import sharing_of
from pseudonym.lawful.sharing import Sharing
from pseudonym.partners import desk as desks
from pseudonym.partners.answers import seal_answers
from pseudonym.partners.checks import CHECKS, About, Answer, check_named
from pseudonym.partners.indicators import indicators
from pseudonym.partners.operator_key import OperatorKey, new_operator_key, new_partner_key, partner_key
from pseudonym.partners.questions import LONGEST_DAYS, Questions
from pseudonym.partners.register import PartnerRegister
from pseudonym.partners.rows import pick
from pseudonym.roles import governance
from pseudonym.roles.commands import HELP, complaining, free, plain, write

_LARGEST = 64 << 20


class Matching(Protocol):
    """What answers questions from a list; its errors have a reason."""

    Error: type[Exception]

    def tidied(self, path: Path, mapping: Mapping[str, str]) -> pl.DataFrame:
        """A council's file, dates of birth as YYYY-MM-DD and NINOs in one form."""

    def own_list(self, path: Path, answer: str | None, mapping: Mapping[str, str]) -> Any:
        """A partner's list."""

    def answer_persons(self, questions: pl.DataFrame, own: Any) -> pl.DataFrame:
        """Columns question and answer."""

    def answer_homes(self, questions: pl.DataFrame, own: Any) -> pl.DataFrame:
        """Columns question and answer."""


partner_app = typer.Typer(name="partner", help="Ask partners about families before inclusion.", **HELP)

DeskFolder = Annotated[Path, typer.Option("--desk", metavar="FOLDER", help="The council's desk.")]
GovernanceFile = Annotated[
    Path, typer.Option("--governance", metavar="FILE", help="Who may ask, and which partners are asked.")
]
OperatorKeyFile = Annotated[
    Path, typer.Option("--operator-key", metavar="PEM", help="Your key, from 'operator-key'.")
]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to put it; there is nothing yet.")]
Map = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="FIELD=COLUMN", help="Which column a field is in; again for each."),
]


@partner_app.command("desk")
def make_desk(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to make it.")],
    log: Annotated[str, typer.Option("--log", help="The log's name: council.example/partner-checks.")],
    officer: Annotated[
        Path, typer.Option("--officer-key", metavar="PEM", help="The data protection officer's public key.")
    ],
    checkpoints: Annotated[
        Path, typer.Option("--checkpoints", metavar="FOLDER", help="The folder that another party keeps.")
    ],
) -> None:
    """Make a council's desk, and show the key that checks its audit log."""
    with complaining():
        print(desks.create(folder, log, officer, checkpoints))


@partner_app.command("operator-key")
def operator_key(out: Out, secret: Secret = "prompt") -> None:
    """Make an operator's key, and show its public half for the governance file."""
    _new_key(new_operator_key, out, secret)


@partner_app.command("partner-key")
def make_partner_key(out: Out, secret: Secret = "prompt") -> None:
    """Make a partner's key, and show its public half for the council."""
    _new_key(new_partner_key, out, secret)


@partner_app.command("ask")
def ask(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The families, a row a person.")],
    check: Annotated[str, typer.Option("--check", help=f"What to ask: {', '.join(CHECKS)}.")],
    partner: Annotated[str, typer.Option("--partner", help="Whom to ask.")],
    desk: DeskFolder,
    governance: GovernanceFile,
    key: OperatorKeyFile,
    out: Out,
    secret: Secret = "prompt",
    days: Annotated[
        int, typer.Option("--days", min=1, max=LONGEST_DAYS, help="After how many the questions expire.")
    ] = 14,
    adults_only: Annotated[
        bool, typer.Option("--adults-only", help="Leave children out, where only adults are asked about.")
    ] = False,
    reason: Annotated[
        Sharing | None,
        typer.Option("--reason", help="Why this may be shared, if it is not the purpose's own reason."),
    ] = None,
    map: Map = None,
) -> None:
    """Make the questions of one check to one partner, sealed to it."""
    with _working(context) as matching:
        free(out)
        asked, register = check_named(check), _register(governance)
        wished = sharing_of(register.purpose(asked), reason).needs_evidence
        given, today = matching.tidied(file, _mapping(map)), datetime.now(UTC).date()
        found = pick(asked, given, today, adults_only=adults_only, wished=wished)
        with desks.opened(desk, register, _operator(key, secret)) as opened:
            questions, sealed = opened.ask(asked, partner, found.frame, days, reason, found.wishes)
            write(out, sealed)
        print(f"{len(questions.asked):,} questions to {partner}: {asked.words}")
        print(f"They expire at {questions.expires:%Y-%m-%d %H:%M} UTC. Set {questions.id.hex()}")
        if found.passed_over:
            print(f"Rows left out (children, or nobody known to be adult): {found.passed_over:,}")
        if found.child_ninos:
            rows = ", ".join(str(row) for row in found.child_ninos)
            print(f"Take out of the file the National Insurance numbers of children, in rows {rows}.")


@partner_app.command("answer")
def answer(
    context: typer.Context,
    questions: Annotated[Path, typer.Argument(metavar="QUESTIONS", help="The council's file.")],
    against: Annotated[Path, typer.Option("--against", metavar="FILE", help="Your own list.")],
    council: Annotated[
        Path, typer.Option("--council", metavar="FILE", help="What the council gave you of its operators.")
    ],
    key: Annotated[Path, typer.Option("--partner-key", metavar="PEM", help="Your key, from 'partner-key'.")],
    out: Out,
    secret: Secret = "prompt",
    column: Annotated[
        str | None,
        typer.Option(
            "--answer-column", metavar="COLUMN", help="With yes or no; else all on the list are a yes."
        ),
    ] = None,
    map: Map = None,
) -> None:
    """Answer a council's questions from your own list, as a partner."""
    with _working(context) as matching:
        free(out)
        opening = partner_key(read_secret_file(key, "partner's key"), _passphrase(secret))
        asked = Questions.open(_read(questions), opening, _register(council), datetime.now(UTC))
        own = matching.own_list(against, column, _mapping(map))
        answered = matching.answer_homes if asked.check.about is About.HOME else matching.answer_persons
        told = {name: Answer(word) for name, word in answered(asked.frame(), own).iter_rows()}
        write(out, seal_answers(asked, told))
        print(f"{asked.council} asks: {asked.check.words}")
        counts = Counter(told.values())
        print(", ".join(f"{word} {counts[word]:,}" for word in Answer))


@partner_app.command("read")
def read(
    answers: Annotated[Path, typer.Argument(metavar="ANSWERS", help="The partner's file.")],
    desk: DeskFolder,
    governance: GovernanceFile,
    key: OperatorKeyFile,
    out: Out,
    secret: Secret = "prompt",
    scheme: Annotated[str, typer.Option("--scheme", help="The scheme of problems.")] = "tf-2015",
) -> None:
    """Read answers to your questions into coded indicators of families, a CSV file of their own."""
    with complaining():
        free(out)
        data, now = _read(answers), datetime.now(UTC)
        indicators({}, "", scheme, now)  # a scheme that is none is refused before anything is taken
        with desks.opened(desk, _register(governance), _operator(key, secret)) as opened:
            kept, told = opened.read(data)
            write(out, indicators(told, kept.check, scheme, now).write_csv().encode())
        print(f"{kept.answered:,} of {kept.asked:,} questions answered; {len(told):,} families in {out}")


@partner_app.command("status")
def status(desk: DeskFolder) -> None:
    """List the open sets of questions."""
    with complaining():
        now = datetime.now(UTC)
        for one in desks.sets(desk):
            ends = f"{one.expires:%Y-%m-%d %H:%M}" if one.expires > now else "expired"
            counted = f"{one.answered:,} of {one.asked:,}"
            print(f"{one.id}  {one.check:<24} {one.partner:<20} {one.operator:<12} {counted:<14} {ends}")


@contextmanager
def _working(context: typer.Context) -> Iterator[Matching]:
    """What matches, with its complaints told as ours are."""
    with complaining():
        if context.obj is None:
            raise InputError("What matches people is not loaded here.", "Run this as 'kinlink partner'.")
        matching = cast(Matching, context.obj())
        try:
            yield matching
        except matching.Error as error:
            said = cast(Any, error)
            told = InputError(said.message, said.help)
            told.reason = said.reason
            raise told from None


def _new_key(make: Any, out: Path, secret: str) -> None:
    with complaining():
        free(out)
        pem, public = make(read_secret(secret, "Passphrase", new=True).encode())
        write(out, pem)
        print(public.hex())


def _passphrase(secret: str) -> bytes:
    return read_secret(secret, "Passphrase").encode()


def _operator(key: Path, secret: str) -> OperatorKey:
    return OperatorKey.from_pem(read_secret_file(key, "operator's key"), _passphrase(secret))


def _register(path: Path) -> PartnerRegister:
    found = governance.read(path).partner_checks
    if found is None:
        raise InputError("The file says nothing of partner checks.", "It has a member partner_checks.")
    return found


def _mapping(given: list[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given or []:
        field, between, column = one.partition("=")
        if not (field and between and column):
            raise InputError("--map is FIELD=COLUMN.")
        found[field] = column
    return found


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{plain(path)} is too large.")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{plain(path)} cannot be read: {os.strerror(error.errno or 0)}.") from None
