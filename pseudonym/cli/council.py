"""`kinlink council`: a council's file looked through, decided about, and divided; nothing is sent.

Data and summary on stdout, complaints on stderr; exit code 0 done, 1 failed, 2 wrong usage. Rows are told by
number and code, and no value of theirs is shown. By itself: `python -m pseudonym.cli.council`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from pseudonym.errors import InputError, LayoutError, PseudonymError
from pseudonym.study import checks, files, outbox, withdrawals
from pseudonym.study.declaring import dataset
from pseudonym.study.delivery import Delivery
from pseudonym.study.delivery import check as look_through
from pseudonym.study.delivery import divide as divide_in_two
from pseudonym.study.eligibility import Outcome
from pseudonym.study.layouts import Layout
from pseudonym.study.proposing import propose
from pseudonym.study.schemes import Scheme
from pseudonym.study.schemes import scheme as scheme_of
from pseudonym.study.secret import council_key

council_app = typer.Typer(
    name="council",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Look through a council's file of families, and divide it into two halves.",
)

File = Annotated[
    Path, typer.Argument(metavar="FILE", show_default=False, help="The file: CSV, Parquet or Arrow.")
]
LayoutFile = Annotated[
    Path, typer.Option("--layout", metavar="FILE", help="The council's layout, from 'council layout'.")
]
SchemeName = Annotated[str, typer.Option("--scheme", metavar="NAME", help="tf-2015 or sf-2022.")]
Asked = Annotated[
    str | None,
    typer.Option(
        "--scheme", metavar="NAME", help="The scheme that the layout must be for: tf-2015, sf-2022."
    ),
]


def _a_day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise typer.BadParameter(f"{text} is no day as YYYY-MM-DD, such as 2024-12-31.") from None


Day = Annotated[
    date | None,
    typer.Option(
        "--day",
        metavar="YYYY-MM-DD",
        parser=_a_day,
        help="The day that the file speaks of; today if not said.",
    ),
]
LeftOut = Annotated[
    Path | None,
    typer.Option("--left-out", metavar="FILE", help="Who withdrew or objected: CSV of family, member, code."),
]
Refusals = Annotated[
    Path | None,
    typer.Option("--refusals", metavar="FILE", help="Where to list refusals; beside FILE if not said."),
]
Explanations = Annotated[
    Path | None,
    typer.Option(
        "--explanations", metavar="FILE", help="Write why each family is shared or not. Keep it here."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
_STAY = {
    Outcome.BELOW: "too few problems",
    Outcome.UNDECIDED: "too few problems, but rows were refused: correct these first",
    Outcome.WITHDRAWN: "all members withdrew or objected",
    Outcome.NOBODY: "nobody belongs to the family on that day",
}


@contextmanager
def _complaining() -> Iterator[None]:
    try:
        yield
    except PseudonymError as error:
        typer.echo(f"{error} [{error.reason}]", err=True)
        raise typer.Exit(1) from None


@council_app.command("layout")
def layout_(
    file: File,
    scheme: SchemeName = "tf-2015",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to put it.")] = None,
) -> None:
    """Propose a layout from a file's headings and codes, for you to correct where it says "?"."""
    with _complaining():
        made = propose(files.read(file), scheme_of(scheme))
        if out is None:
            typer.echo(made, nl=False)
            return
        if out.exists():
            raise InputError(f"{out} is there already.", "Nothing is written over; name another place.")
        outbox.write(out, made.encode())
        typer.echo(f'{out}: decide what says "?", {made.count(json.dumps("?"))} times.')


@council_app.command("check")
def check(
    file: File,
    layout: LayoutFile,
    scheme: Asked = None,
    day: Day = None,
    left_out: LeftOut = None,
    refusals: Refusals = None,
    explanations: Explanations = None,
    as_json: AsJson = False,
) -> None:
    """Look through a file: what is refused, which families are eligible. Nothing is divided or sent."""
    with _complaining():
        delivery = _checked(file, layout, scheme, day, left_out, refusals, explanations)
        if as_json:
            typer.echo(json.dumps(delivery.figures(), indent=1))
        else:
            _show(delivery)
            typer.echo(f"\nRefusals by row: {_refusals_of(file, refusals)}")


@council_app.command("divide")
def divide(
    file: File,
    layout: LayoutFile,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where to put the two halves.")],
    key: Annotated[
        Path | None,
        typer.Option(
            "--council-key",
            metavar="FILE",
            help="The council's key, made if new; beside the layout if unsaid.",
        ),
    ] = None,
    scheme: Asked = None,
    day: Day = None,
    left_out: LeftOut = None,
    refusals: Refusals = None,
    explanations: Explanations = None,
    as_json: AsJson = False,
) -> None:
    """Divide a file into identifiers and attributes of the families that are shared, ready to be sent."""
    with _complaining():
        delivery = _checked(file, layout, scheme, day, left_out, refusals, explanations)
        place = key or layout.with_suffix(".key")
        secret, fresh = council_key(place)
        if fresh:
            typer.echo(f"{place} is new: keep it with the layout, for the next files.", err=True)
        division = divide_in_two(delivery, secret)
        new = outbox.put(division, out)
        if as_json:
            typer.echo((out / outbox.RECEIPT).read_text(), nl=False)
            return
        _show(delivery)
        if not new:
            typer.echo(f"\n{out} has this batch already, and was left as it is: the same file is sent once.")
        made = division.halves
        for line in (
            f"\nBatch {division.receipt['batch']}",
            f"  {outbox.IDENTIFIERS:<20} {len(made.identifiers.columns)} columns, for the identity role",
            f"  {outbox.ATTRIBUTES:<20} {len(made.attributes.columns)} columns, for the attributes role",
            f"  {outbox.RECEIPT:<20} counts and digests: keep it here",
        ):
            typer.echo(line)


@council_app.command("declaration")
def declaration(
    council: Annotated[list[str], typer.Option("--council", help="A council's code; once for each.")],
    scheme: SchemeName = "tf-2015",
) -> None:
    """Print what attributes may be under a scheme, for the data protection officer to declare."""
    with _complaining():
        typer.echo(dataset(scheme_of(scheme), council).to_json())


def _checked(
    file: Path,
    layout: Path,
    scheme: str | None,
    day: date | None,
    left_out: Path | None,
    refusals: Path | None,
    explanations: Path | None,
) -> Delivery:
    told = [
        path.resolve()
        for path in (file, layout, left_out, _refusals_of(file, refusals), explanations)
        if path
    ]
    if len(set(told)) < len(told):
        raise InputError("Two of the files named are one.", "Nothing is written over what is read.")
    read = _layout(layout, None if scheme is None else scheme_of(scheme))
    on = day or date.today()
    if on > date.today():
        raise InputError(
            f"The day {on} is in the future.", "Give the day that the file speaks of with --day."
        )
    nobody = withdrawals.NOBODY if left_out is None else withdrawals.read(left_out)
    delivery = look_through(files.read(file), read, on, nobody)
    columns = {source.field.name: source.column for source in read.sources}
    listed = delivery.faults.with_columns(
        column=pl.col("field").replace_strict(columns, default=None, return_dtype=pl.String),
        why=pl.col("code").replace_strict(checks.CODES, return_dtype=pl.String),
    ).select("row", "column", "code", "refused", "why")
    outbox.write(_refusals_of(file, refusals), listed.write_csv().encode())
    if explanations is not None:
        outbox.write(explanations, delivery.explanations().write_csv().encode())
    return delivery


def _layout(path: Path, asked: Scheme | None) -> Layout:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LayoutError(
            f"The layout {path} cannot be read: {error.strerror}.",
            "Name the file that 'kinlink council layout' made.",
        ) from None
    except UnicodeDecodeError:
        raise LayoutError(f"The layout {path} is no text in UTF-8.", "Save it as UTF-8.") from None
    read = Layout.from_toml(text)
    if asked is not None and read.scheme != asked:
        raise LayoutError(
            f"The layout is for scheme {read.scheme.name}, not {asked.name}.", "Make one for this scheme."
        )
    return read


def _refusals_of(file: Path, given: Path | None) -> Path:
    return given or file.with_name(f"{file.stem}.refusals.csv")


def _show(delivery: Delivery) -> None:
    figures, scheme = delivery.figures(), delivery.layout.scheme
    rows, families, several = figures["rows"], figures["families"], figures["people_in_several"]
    staying = rows["in_file"] - rows["leaving"] - rows["refused"]
    arms = ", ".join(f"{number:,} {arm}" for arm, number in figures["leaving_by_arm"].items())
    lines = [
        f"{delivery.layout.council}, {scheme.title} ({scheme.name}), as at {delivery.day}",
        f"{rows['in_file']:,} rows: {rows['leaving']:,} leave, {staying:,} stay, {rows['refused']:,} refused",
        "",
        "Families that leave",
        f"{families[Outcome.ELIGIBLE]:>7,} {Outcome.ELIGIBLE}: at least {scheme.minimum} of "
        f"{len(scheme.problems)} problems{arms and f' ({arms})'}",
        *([f"{several:>7,} people in more than one of them"] if several else []),
        *_counted(
            "Families that stay",
            {outcome.value: families[outcome] for outcome in _STAY if families[outcome]},
            {outcome.value: words for outcome, words in _STAY.items()},
        ),
        *_counted("Rows refused", figures["rows_refused"], checks.CODES),
        *_counted("Values set aside, their rows kept", figures["values_set_aside"], checks.CODES),
    ]
    if untold := delivery.not_told():
        lines += ["", f"The layout has nothing of {', '.join(untold)}: these count for no family."]
    if delivery.unknown:
        lines += ["", f"Lines of those to leave out that are about nobody in this file: {delivery.unknown:,}"]
    typer.echo("\n".join(lines))


def _counted(head: str, counts: Mapping[str, int], words: Mapping[str, str]) -> list[str]:
    told = [f"{number:>7,} {code}: {words[code]}" for code, number in counts.items()]
    return ["", head, *told] if told else []


if __name__ == "__main__":
    council_app(prog_name="council")
