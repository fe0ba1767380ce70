"""The command line: `kinlink` works on files; what needs a service says so.

Data and summary on stdout, progress and complaints on stderr; exit code 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from linker.cli.blocking import blocking
from linker.cli.judging import evaluate, explain
from linker.cli.linking import dedupe, link
from linker.cli.matchkeys import keys
from linker.cli.models import model_app, train
from linker.cli.remote import job_app, submit

app = typer.Typer(
    name="kinlink",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Link the records of people, across files and within one.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            print(f"kinlink {version('kinlink')}")
        except PackageNotFoundError:
            print("kinlink, not installed")
        raise typer.Exit


@app.callback()
def kinlink(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Link the records of people, across files and within one.

    kinlink link a.csv b.csv is all it takes to begin.
    """


for command in (link, dedupe, train, evaluate, explain, keys, blocking):
    app.command()(command)
app.add_typer(model_app, name="model")
app.command()(submit)
app.add_typer(job_app, name="job")


def main() -> None:
    """Run `kinlink`."""
    app(prog_name="kinlink")
