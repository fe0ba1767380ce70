"""`kinlink notice`: the public notice of a project, from the governance file that is in force."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pseudonym import clock
from pseudonym.errors import InputError
from pseudonym.lawful import notice as notices
from pseudonym.roles import governance
from pseudonym.roles.commands import complaining, free, plain, write


class Form(StrEnum):
    """What the notice is written as."""

    MARKDOWN = "markdown"
    HTML = "html"


def notice(
    file: Annotated[Path, typer.Argument(metavar="GOVERNANCE", help="The role's governance file.")],
    project: Annotated[
        str, typer.Option("--project", envvar="KINLINK_PROJECT", help="Which; the only one if there is one.")
    ] = "",
    form: Annotated[Form, typer.Option("--form", help="What to write it as.")] = Form.MARKDOWN,
    title: Annotated[
        str, typer.Option("--title", help="Of the notice.")
    ] = "How we use information about you",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to put it; else it is printed.")
    ] = None,
) -> None:
    """Write the public notice of a project: who, what, why, how long, which rights, whom to ask."""
    with complaining():
        told = governance.read(file)
        named = project or (next(iter(told.records)) if len(told.records) == 1 else "")
        record = told.records.get(named)
        if record is None:
            known = ", ".join(sorted(told.records)) or "none"
            raise InputError(
                "The governance file has no record of such a project.", f"It has {known}; name one."
            )
        by_holders = {one.register for (of, _), one in told.exchanges.items() if of == named}
        today = clock.today()
        sections = notices.compose(record, by_holders, today)
        text = (notices.page if form is Form.HTML else notices.markdown)(title, sections, today)
        if out is None:
            print(text, end="")
        else:
            free(out)
            write(out, text.encode())
        # It is true, and may be published so; whoever looks after the project has to hear of it.
        for why in notices.unmet(record, today):
            print(f"Not in force, as the notice says: {plain(why)}", file=sys.stderr)
