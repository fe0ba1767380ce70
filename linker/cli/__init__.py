"""The command line: `kinlink` works on files; what needs a service says so.

Data and summary on stdout, progress and complaints on stderr; exit code 0 done, 1 failed, 2 wrong usage.
A command's module, and the engine with it, is loaded only when that command is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}

# command: module, name in it, first line of its help (a test compares)
COMMANDS = {
    "link": ("linking", "link", "Link the records of two files that are about the same person."),
    "dedupe": (
        "linking",
        "dedupe",
        "Find the records that are about the same person, in one file or in several together.",
    ),
    "train": ("models", "train", "Estimate a model from the records, and say honestly how well that went."),
    "evaluate": ("judging", "evaluate", "Say how good links or clusters are where the truth is known."),
    "explain": (
        "judging",
        "explain",
        "Say why a pair has its match weight, comparison by comparison; the bits add up exactly.",
    ),
    "verify": (
        "runs",
        "verify",
        "Run again as a manifest says, and say whether the result is the same, byte for byte.",
    ),
    "pairs": (
        "pairs",
        "pairs",
        "List every pair of at least a weight; the right file may be larger than memory.",
    ),
    "profile": ("profiles", "profile_app", "List the linkage profiles, or show one in plain words."),
    "matchkeys": ("matchkeys", "matchkeys", "List a set of matchkeys, or write it to a file."),
    "blocking": ("blocking", "blocking", "Say what blocking costs and what it can lose, before a run."),
    "model": (
        "models",
        "model_app",
        "Look at a model; bring one from Splink, or take one there or to a service.",
    ),
    "submit": (
        "submissions",
        "submit",
        "Send a file to a service; an upload that broke off goes on where it stopped when this is run again.",
    ),
    "submission": (
        "submissions",
        "submission_app",
        "List, look at and delete the submissions that a service holds.",
    ),
    "job": ("jobs", "job_app", "Start, watch, read, cancel and delete jobs at a service."),
    "review": ("review", "review_app", "Judge the pairs that a job left to people."),
    "register": (
        "registers",
        "register_app",
        "Link a register with the persons in the vault, or have its holder match them.",
    ),
    "reference": (
        "matching",
        "reference_app",
        "Load, list and drop the references at a service, which 'kinlink match' asks.",
    ),
    "match": ("matching", "match", "Ask a reference at a service who one person is."),
    # Commands of the other package: named here, known only to whoever calls them.
    "council": (
        "pseudonym.cli.council",
        "council_app",
        "Look through a council's file of families, and divide it into two halves.",
    ),
    "keys": ("pseudonym.cli.keys", "keys_app", "Make keysets, look after their keys, and end them."),
    "audit": ("pseudonym.cli.audit", "audit_app", "Look at an audit log and check it, offline."),
    "project": (
        "pseudonym.roles.commands_begin",
        "project_app",
        "Begin a project: at the broker, then at attributes.",
    ),
    "recipient": (
        "pseudonym.roles.commands_begin",
        "recipient_app",
        "Open a recipient, or begin its next epoch.",
    ),
    "dataset": (
        "pseudonym.roles.commands_begin",
        "dataset_app",
        "Declare what the attributes of a project may be.",
    ),
    "divide": (
        "pseudonym.roles.commands_halves",
        "divide",
        "Divide a file into identifiers.parquet and attributes.parquet, which share a random row reference.",
    ),
    "attributes": (
        "pseudonym.roles.commands_halves",
        "attributes_app",
        "Send attributes by row reference; see refusals.",
    ),
    "erase": (
        "pseudonym.roles.commands_erase",
        "erase_app",
        "Erase people over all three roles, and follow it.",
    ),
    "rights": (
        "pseudonym.roles.commands_rights",
        "rights_app",
        "Take in, decide and answer people's requests.",
    ),
    "optout": (
        "pseudonym.roles.commands_optout",
        "optout_app",
        "What people decided about their data.",
    ),
    "renew": (
        "pseudonym.roles.commands_renew",
        "renew_app",
        "Renew a role's month key, and recipients' epochs.",
    ),
    "destroy": (
        "pseudonym.roles.commands_destroy",
        "destroy_app",
        "End a recipient, or a project, for good.",
    ),
    "retention": (
        "pseudonym.roles.commands_retention",
        "retention_app",
        "What is due to be destroyed, its destruction, and its certificates.",
    ),
    "notice": (
        "pseudonym.roles.commands_notice",
        "notice",
        "Write the public notice of a project: who, what, why, how long, which rights, whom to ask.",
    ),
    "lead": (
        "pseudonym.roles.commands_lead",
        "lead_app",
        "Who is the lead professional of a family.",
    ),
    "casework": (
        "pseudonym.roles.commands_lead",
        "casework_app",
        "How long a council keeps its own records, and what it claimed.",
    ),
    "partner": (
        "pseudonym.roles.commands_partner",
        "partner_app",
        "Ask partners about families before inclusion.",
    ),
    "registers": (
        "pseudonym.cli.registers",
        "registers_app",
        "List and show the national registers that are declared, and band an extract for one.",
    ),
    "release": (
        "pseudonym.roles.commands_release",
        "release_app",
        "Make, check, approve, fetch and open analysis files.",
    ),
    "table": (
        "pseudonym.roles.commands_table",
        "table_app",
        "Make, check, approve, read and publish protected tables.",
    ),
    "urn": (
        "pseudonym.cli.urn",
        "urn_app",
        "Look at reference numbers; ask for the way back, approve it, open the answer.",
    ),
}
# What a command of the other package is handed of this one, by the module that has it.
HANDED = {"partner": "linker.enquiries", "rights": "linker.corrections"}


@cache
def _load(name: str) -> Any:
    module, attribute, _ = COMMANDS[name]
    found = getattr(import_module(module if "." in module else f"linker.cli.{module}"), attribute)
    holder = typer.Typer(callback=lambda: None, add_completion=False)
    if isinstance(found, typer.Typer):
        handed = HANDED.get(name)
        settings = SETTINGS | ({"obj": partial(import_module, handed)} if handed else {})
        holder.add_typer(found, name=name, context_settings=settings)
    else:
        holder.command(name)(found)
    group: Any = get_command(holder)
    return group.commands[name]


class _Commands(Mapping[str, Any]):
    """The commands by name, each loaded when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        return _load(name) if name in COMMANDS else COMMANDS[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Group(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: Any = _Commands()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The list of commands needs a line of each, not the commands."""
        shown = TyperGroup(
            name=self.name,
            help=self.help,
            params=self.params,
            rich_markup_mode=self.rich_markup_mode,
            commands=[TyperCommand(name, help=words) for name, (_, _, words) in COMMANDS.items()],
        )
        shown.format_help(ctx, formatter)


app = typer.Typer(
    name="kinlink",
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
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


def main() -> None:
    """Run `kinlink`."""
    app(prog_name="kinlink")
