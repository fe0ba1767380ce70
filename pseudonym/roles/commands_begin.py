"""`kinlink project`, `recipient` and `dataset`: what is made before the first delivery of a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pseudonym.dataset_file import read_dataset
from pseudonym.roles.client import AttributesClient, BrokerClient
from pseudonym.roles.commands import (
    HELP,
    At,
    Recipient,
    at_service,
    complaining,
    plain,
)

project_app = typer.Typer(name="project", help="Begin a project: at the broker, then at attributes.", **HELP)
recipient_app = typer.Typer(name="recipient", help="Open a recipient, or begin its next epoch.", **HELP)
dataset_app = typer.Typer(name="dataset", help="Declare what the attributes of a project may be.", **HELP)


@project_app.command("begin")
@at_service()
def begin_project(
    at: At,
) -> None:
    """Begin a project at the broker, unless it has begun: a key custodian does it, before anything else."""
    with at.calling(BrokerClient) as broker:
        broker.begin_project()
        print(f"Project {plain(at.project)} has begun at the broker.")


@project_app.command("open")
@at_service()
def open_project(
    at: At,
) -> None:
    """Open a project at the attributes role, once it has begun at the broker: a key custodian does it."""
    with at.calling(AttributesClient) as attributes:
        attributes.open_project()
        print(f"Project {plain(at.project)} is open at the attributes role.")


@recipient_app.command("open")
@at_service()
def open_recipient(
    at: At,
    recipient: Recipient,
    next_epoch: Annotated[
        bool, typer.Option("--next-epoch", help="Begin the next epoch: another key, and other numbers.")
    ] = False,
) -> None:
    """Open a recipient at the broker, unless it is open, and say its epoch: a key custodian does it."""
    with at.calling(BrokerClient) as broker:
        epoch = broker.open_domain(recipient, next_epoch=next_epoch)
        print(f"Recipient {plain(recipient)} of project {plain(at.project)} is in epoch {epoch}.")


@dataset_app.command("declare")
@at_service()
def declare_dataset(
    at: At,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help="The declaration, in TOML or JSON.")
    ],
) -> None:
    """Declare a dataset at the attributes role, or that it may hold more: the data protection officer."""
    with complaining():
        dataset = read_dataset(file)
    with at.calling(AttributesClient) as attributes:
        attributes.declare(dataset)
        print(f"Dataset {dataset.name} is declared, {len(dataset.columns)} columns:")
        for column in dataset.columns:
            print("  ".join(["", column.name, column.kind, *sorted(column.tags)]))


@dataset_app.command("check")
def check_dataset(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help="The declaration, in TOML or JSON.")
    ],
) -> None:
    """Say whether a declaration could be made; nothing is sent."""
    with complaining():
        dataset = read_dataset(file)
        print(f"Dataset {dataset.name} can be declared: {len(dataset.columns)} columns.")
