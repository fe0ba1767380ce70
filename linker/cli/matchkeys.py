"""`kinlink matchkeys`, and what `--keys` of other commands shows of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from typing import Any as Json

import typer

from linker.cli import options
from linker.cli.outputs import Outputs
from linker.cli.screen import Screen, session, table
from linker.matchkeys import FORMAT
from linker.matchkeys_ons import key_set

Keys = Annotated[
    str | None,
    typer.Option(
        "--keys",
        metavar="NAME|FILE",
        help="Matchkeys that link before the model: 'ons', or a file as 'kinlink matchkeys --out' writes it.",
    ),
]
KeysOnly = Annotated[bool, typer.Option("--keys-only", help="Link by the matchkeys alone, without a model.")]


def matchkeys(
    name: Annotated[
        str, typer.Argument(metavar="[NAME|FILE]", help="A set that comes with Kinlink, or a file.")
    ] = "ons",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Also write the set here (JSON), to change it."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List a set of matchkeys, or write it to a file."""
    with session(as_json) as screen:
        chosen = key_set(name)
        outputs = Outputs([Path(name)])
        if out:
            outputs.claim_text(out, FORMAT)
        screen.document["matchkeys"] = {
            "name": chosen.name,
            "version": chosen.version,
            "digest": chosen.digest,
            "keys": [{"key": key.name, "label": key.label, "clerical": key.clerical} for key in chosen.keys],
        }
        screen.title(f"Matchkeys {chosen.name}, version {chosen.version}")
        rows = [(key.name, key.label + (" *" if key.clerical else "")) for key in chosen.keys]
        screen.say(table(["Key", "What must agree"], rows))
        if any(key.clerical for key in chosen.keys):
            screen.say("* for people to decide.")
        if out:
            chosen.save(out)
            outputs.note("matchkeys", out)
            outputs.show(screen, {"matchkeys": "the matchkeys"})


def check_keys_only(keys: str | None, about_model: bool) -> None:
    """Refuse options that do not go with `--keys-only`.

    Raises:
        typer.BadParameter: says what to leave out or to give.
    """
    if keys is None:
        raise typer.BadParameter("--keys-only needs --keys, such as --keys ons.")
    if about_model:
        raise typer.BadParameter(
            "--keys-only links one to one and without a model: leave out what is about a model (--model, "
            "--save-model, --threshold, --lead, --all-pairs, --certify) and every other cardinality."
        )


def show_keys(screen: Screen, found: Mapping[str, Json]) -> None:
    """What each key did, from the summary of a run."""
    screen.title(f"Matchkeys {found['name']}, version {found['version']}")
    parts = ("linked", "ambiguous", "review")
    rows = [
        (one["key"], one["label"], *(f"{one[part]:,}" for part in parts))
        for one in found["keys"]
        if any(one[part] for part in parts)
    ]
    screen.say(table(["Key", "What agrees", "Linked", "Ambiguous", "Review"], rows, numbers=[2, 3, 4]))
    idle = len(found["keys"]) - len(rows)
    if idle:
        screen.say(f"The other {idle} had nothing to add.")
    if found["left_out"]:
        lacking = sorted({column for one in found["left_out"] for column in one["missing"]})
        names = ", ".join(one["key"] for one in found["left_out"])
        screen.say(f"Left out for want of columns ({', '.join(lacking)}): {names}.")
