"""`kinlink model put` and `list`: the models that a project has at a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linker.cli.connection import At, at_service
from linker.cli.screen import table
from linker.model import Model


@at_service
def put_model(
    at: At,
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="What to call it there.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="From 'kinlink train'.")],
) -> None:
    """Give a project at a service a model, for its jobs and references; an older one is replaced."""
    kept = at.client.put_model(name, Model.load(file).to_json())
    at.screen.document["model"] = {"name": kept.name, "digest": kept.digest}
    at.screen.say(f"The project has the model {kept.name}, digest {kept.digest[:16]}.")


@at_service
def list_models(
    at: At,
) -> None:
    """List the models that a project has at a service, by name."""
    models = [(one.name, one.digest) for one in at.client.models()]
    at.screen.document["models"] = [{"name": name, "digest": digest} for name, digest in models]
    at.screen.say(table(["Model", "Digest"], models) if models else "There are no models.")
