"""Everything that a study says and leaves, by the name of the place: what is searched for canaries."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import polars as pl
import typer
from typer.testing import CliRunner, Result

from deploy.service import Service
from pseudonym.roles.callers import Role


@dataclass
class Overheard:
    """What was said and left.

    Attributes:
        service: the roles.
        places: what lies or was said where.
        codes: the reasons of what was refused.
        sent: the identifiers that went to the identity role, as text.
    """

    service: Service
    places: dict[str, bytes] = field(default_factory=dict)
    codes: set[str] = field(default_factory=set)
    sent: str = ""

    def hear(self, place: str, said: object) -> None:
        """Note what was said somewhere."""
        octets = said if isinstance(said, bytes) else str(said).encode()
        self.places[place] = self.places.get(place, b"") + octets + b"\n"

    def command(self, app: typer.Typer, *words: object, at: str = "", code: int | None = 0) -> str:
        """Run `kinlink`, at a role as a caller ("identity council") or at none; its standard output.

        Its exit code has to be `code`; None: whether it is refused is not what matters.
        """
        given = list(map(str, words))
        if at:
            role, caller = at.split()
            folder, service = self.service.certificates, self.service
            given += ["--service", service.addresses[Role(role)], "--ca", str(folder / "authority.pem")]
            given += ["--cert", str(folder / f"{caller}.pem"), "--key", str(folder / f"{caller}.key")]
            given += ["--project", service.project, "--purpose", service.purpose]
        done = CliRunner().invoke(app, given, env={"COLUMNS": "300"})
        assert done.exit_code in ((0, 1) if code is None else (code,)), (words, done.output, done.exception)
        assert done.exception is None or isinstance(done.exception, SystemExit)
        self.said(f"the command {' '.join(str(word) for word in words[:2] if isinstance(word, str))}", done)
        return done.stdout

    def said(self, place: str, done: Result) -> None:
        """Note what a command said, and for which reason it refused something."""
        self.hear(place, done.stdout + done.stderr)
        self.codes.update(re.findall(r"\[([A-Z_]+)\]", done.stderr))

    def tried(self, what: str, call: Callable[..., Any], *given: Any, **more: Any) -> Any:
        """Call what may be refused, and note all that the caller gets of it; the answer, or None."""
        heard: BaseException | None = None
        try:
            answer = call(*given, **more)
            self.hear(f"the answer of {what}", repr(answer))
            return answer
        except Exception as error:  # whatever it is, the caller has it
            heard = error
        while heard is not None:
            self.hear(f"the error of {what}", f"{heard!r} {heard} {getattr(heard, 'help', '')}")
            self.codes.add(getattr(heard, "reason", ""))
            if isinstance(heard, grpc.RpcError):
                for part in ("details", "trailing_metadata", "initial_metadata"):
                    self.hear(f"the error of {what}", getattr(heard, part)())
            heard = heard.__cause__ or heard.__context__
        return None

    def folder(self, place: str, folder: Path, leave: tuple[str, ...] = ()) -> None:
        """Note the files below a folder, their names, and what is in tables that are compressed."""
        for path in files(folder):
            name = str(path.relative_to(folder))
            if name in leave:
                continue
            self.hear(f"{place}, names", name)
            self.file(f"{place}, {name}", path.read_bytes())

    def file(self, place: str, content: bytes) -> None:
        """Note a file; a Parquet file as the text of its table too."""
        self.hear(place, content)
        if content[:4] == b"PAR1":
            self.hear(place, pl.read_parquet(io.BytesIO(content)).write_csv())


def files(folder: Path) -> Iterator[Path]:
    """The files below a folder, by name."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
