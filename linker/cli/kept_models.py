"""`kinlink model put` and `list`: the models that a project has at a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linker.cli import options
from linker.cli.remote import Authority, Certificate, Key, Project, Purpose, Service, at_service
from linker.cli.screen import table
from linker.model import Model


def put_model(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="What to call it there.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="From 'kinlink train'.")],
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """Give a project at a service a model, for its jobs and references; an older one is replaced."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        kept = client.put_model(name, Model.load(file).to_json())
        screen.document["model"] = {"name": kept.name, "digest": kept.digest}
        screen.say(f"The project has the model {kept.name}, digest {kept.digest[:16]}.")


def list_models(
    service: Service,
    project: Project,
    purpose: Purpose,
    authority: Authority = None,
    certificate: Certificate = None,
    key: Key = None,
    as_json: options.AsJson = False,
) -> None:
    """List the models that a project has at a service, by name."""
    with at_service(as_json, service, project, purpose, authority, certificate, key) as (screen, client):
        models = [(one.name, one.digest) for one in client.models()]
        screen.document["models"] = [{"name": name, "digest": digest} for name, digest in models]
        screen.say(table(["Model", "Digest"], models) if models else "There are no models.")
