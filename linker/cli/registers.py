"""`kinlink register`: an extract of a register is linked with the persons in the vault.

What a holder sends to the attributes role the other package alone knows: its commands are found by name.
"""

from __future__ import annotations

from datetime import date
from importlib import import_module
from typing import Annotated, Any

import typer

from linker.cli import options
from linker.cli.connection import At, at_service
from linker.cli.jobs import say_job

register_app = typer.Typer(
    no_args_is_help=True, help="Link a register with the persons in the vault, or have its holder match them."
)


@register_app.command("link")
@at_service
def link_register(
    at: At,
    submission: Annotated[str, typer.Argument(metavar="SUBMISSION", show_default=False, help="Its id.")],
    register: Annotated[str, typer.Option("--register", help="The code of its profile, such as npd.")],
    day: Annotated[date, options.day("--day", "The day on which people have their age.")],
    since: Annotated[
        date | None, options.day("--since", "The day from which on the extract has people.")
    ] = None,
    nhs_number_reason: Annotated[
        str,
        typer.Option(
            "--nhs-number-reason", help="Why the NHS number may be used, as a code; else it is not."
        ),
    ] = "",
    seed: options.Seed = 0,
) -> None:
    """Start to link an extract of a register with the persons in the vault."""
    job = at.client.start_register(
        submission,
        register,
        day=day,
        since=since,
        nhs_number_reason=nhs_number_reason,
        seed=seed,
    )
    say_job(at, job)


_others: Any = import_module("pseudonym.roles.commands_registers").register_app
register_app.registered_commands += _others.registered_commands
