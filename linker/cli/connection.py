"""What every command at a service has: the options of the connection, the screen, and the client."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from enum import StrEnum
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from linker.cli import options
from linker.cli.screen import Screen, session
from linker.errors import FileError

if TYPE_CHECKING:
    from linker.client import Client
    from linker.resources import Job, StoredReference, Submission

REACH = 8.0  # seconds in which a service answers for the first time, or the command gives up
_PANEL = "The service"


def _option(name: str, help: str, metavar: str | None = None) -> Any:
    variable = f"KINLINK_{name.strip('-').upper()}"
    return typer.Option(name, metavar=metavar, envvar=variable, help=help, rich_help_panel=_PANEL)


_CONNECTION: dict[str, Any] = {
    "service": Annotated[str, _option("--service", "Its address.", "HOST:PORT")],
    "project": Annotated[str, _option("--project", "The project that owns the data.")],
    "purpose": Annotated[str, _option("--purpose", "The purpose, as a code such as evaluation-2026.")],
    "authority": Annotated[Path | None, _option("--ca", "Authority of the server.", "PEM")],
    "certificate": Annotated[Path | None, _option("--cert", "Your certificate.", "PEM")],
    "key": Annotated[Path | None, _option("--key", "Its key.", "PEM")],
    "as_json": options.AsJson,
}
_DEFAULTS: dict[str, Any] = {"authority": None, "certificate": None, "key": None, "as_json": False}


class At:
    """The run of one command at a service.

    Attributes:
        screen: where it shows what it has to say.
        client: the connection; made when it is first asked for, and ended with the command.
    """

    def __init__(self, screen: Screen, stack: ExitStack, given: dict[str, Any]) -> None:
        self.screen = screen
        self._stack, self._given = stack, given

    @cached_property
    def client(self) -> Client:
        from linker.client import Client, Tls  # gRPC is slow to load, and most commands need none

        given = self._given
        authority, certificate, key = (given[name] for name in ("authority", "certificate", "key"))
        if (certificate or key) and not authority:
            raise typer.BadParameter("--cert and --key need --ca: the authority of the server.")
        for path in (authority, certificate, key):
            if path is not None and not path.is_file():
                raise FileError(f"{path} does not exist.", "Check the name and the directory.")
        tls = Tls(authority, certificate, key) if authority else None
        client = Client(
            given["service"], project=given["project"], purpose=given["purpose"], tls=tls, reach=REACH
        )
        return self._stack.enter_context(client)


def at_service(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command that works at a service; its first parameter, `at`, stands for the options of it."""

    @wraps(function)
    def command(**given: Any) -> None:
        connection = {name: given.pop(name) for name in _CONNECTION}
        with session(connection["as_json"]) as screen, ExitStack() as stack:
            function(At(screen, stack, connection), **given)

    hints = get_type_hints(function, include_extras=True)
    own = [
        one.replace(annotation=hints[one.name], kind=one.KEYWORD_ONLY)
        for one in list(inspect.signature(function).parameters.values())[1:]
    ]
    shared = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=kind,
            default=_DEFAULTS.get(name, inspect.Parameter.empty),
        )
        for name, kind in _CONNECTION.items()
    ]
    whole = [*own, *shared]
    command.__signature__ = inspect.Signature(whole)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in whole}
    del command.__wrapped__  # typer would look at what it says, and not at this
    return command


def plain(value: Submission | Job | StoredReference) -> dict[str, Any]:
    """A resource as JSON; a job's matchkeys as they are in their own file, null where it has none."""
    found = {name: _json(one) for name, one in dataclasses.asdict(value).items()}
    if "work" in found:
        keys = found["work"]["keys"]
        found["work"]["keys"] = json.loads(keys) if keys else None
    return found


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_json(one) for one in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, StrEnum) else value
