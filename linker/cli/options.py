"""The options that commands share, and what is written in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


def a_day(text: str) -> date:
    """A day as somebody types it."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise typer.BadParameter(f"{text} is no day as YYYY-MM-DD, such as 2024-12-31.") from None


def day(name: str, help: str) -> Any:
    """An option that takes a day."""
    return typer.Option(name, metavar="YYYY-MM-DD", parser=a_day, help=help)


LeftFile = Annotated[
    Path, typer.Argument(metavar="LEFT", show_default=False, help="CSV, Parquet or Arrow file.")
]
RightFile = Annotated[
    Path, typer.Argument(metavar="RIGHT", show_default=False, help="The file to link it to.")
]
IdColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--id",
        metavar="COLUMN",
        help="Column with the record's id; twice: left, right file. Without it a column named like an id, "
        "else the row number.",
    ),
]
Mapping = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN,…",
        help="What a column is: surname=lastname,date_of_birth=by+bm+bd. Applies to each file that has the "
        "column; repeat it where names differ.",
    ),
]
Ignored = Annotated[
    list[str] | None, typer.Option("--ignore", metavar="COLUMN,…", help="Columns that take no part.")
]
ModelFile = Annotated[
    Path | None,
    typer.Option(
        "--model", metavar="FILE", help="A model from 'kinlink train'. Without it one is trained first."
    ),
]
SaveModel = Annotated[
    Path | None,
    typer.Option("--save-model", metavar="FILE", help="Keep the model that was trained (JSON) here."),
]
RunManifest = Annotated[
    Path, typer.Argument(metavar="MANIFEST", show_default=False, help="The manifest beside a run's result.")
]
Threshold = Annotated[
    float | None,
    typer.Option("--threshold", metavar="WEIGHT", help="Match weight in bits from which pairs are linked."),
]
AllPairs = Annotated[
    Path | None,
    typer.Option("--all-pairs", metavar="FILE", help="Also write every scored pair above a low weight here."),
]
Report = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Also write a report (HTML, opens offline) here."),
]
Certify = Annotated[
    bool | None,
    typer.Option(
        "--certify/--no-certify",
        help="Say what the blocking rules can lose, as 'kinlink blocking' does; by default with --report, up "
        "to a million records.",
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Worker threads; one a core by default.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the random sample in training.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]


class Cardinality(StrEnum):
    """The three ways to link, as their options are called."""

    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"
    MANY_TO_MANY = "many-to-many"


@dataclass(frozen=True)
class Wishes:
    """How the user wants columns to be understood.

    Attributes:
        ids: none, one for all files, or one a file.
        mapping: (field, columns joined with +) in the order given.
        ignore: columns.
    """

    ids: tuple[str, ...] = ()
    mapping: tuple[tuple[str, str], ...] = ()
    ignore: tuple[str, ...] = ()

    @staticmethod
    def of(ids: list[str] | None, mapping: list[str] | None, ignore: list[str] | None) -> Wishes:
        """From the options as typed.

        Raises:
            typer.BadParameter: a mapping that is no `field=column`.
        """
        pairs = []
        for part in _listed(mapping):
            field, mark, columns = part.partition("=")
            if not (mark and field.strip() and all(name.strip() for name in columns.split("+"))):
                raise typer.BadParameter(
                    "--map takes FIELD=COLUMN, such as surname=lastname or date_of_birth=by+bm+bd."
                )
            pairs.append((field.strip(), "+".join(name.strip() for name in columns.split("+"))))
        return Wishes(tuple(ids or ()), tuple(pairs), tuple(_listed(ignore)))


def _listed(values: list[str] | None) -> list[str]:
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]


def cardinality_of(one_to_one: bool, many_to_one: bool, many_to_many: bool) -> Cardinality:
    """The one that was asked for; one-to-one by default.

    Raises:
        typer.BadParameter: more than one was.
    """
    asked = [
        kind
        for kind, given in zip(Cardinality, (one_to_one, many_to_one, many_to_many), strict=True)
        if given
    ]
    if len(asked) > 1:
        raise typer.BadParameter("Choose one of --one-to-one, --many-to-one and --many-to-many.")
    return asked[0] if asked else Cardinality.ONE_TO_ONE


def apart(paths: dict[str, Path | None]) -> None:
    """Refuse two options that name the same file.

    Raises:
        typer.BadParameter: says which two.
    """
    seen: dict[Path, str] = {}
    for option, path in paths.items():
        if path is None:
            continue
        where = path.absolute()
        if where in seen:
            raise typer.BadParameter(f"{seen[where]} and {option} name the same file.")
        seen[where] = option
