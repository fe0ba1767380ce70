"""What a command shows: summary on stdout, progress and complaints on stderr, or one JSON document.

No traceback and no value of a person reaches either stream, whatever goes wrong.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any as Json

import typer
from polars.exceptions import PanicException
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from linker.errors import LinkerError

DEBUG = "KINLINK_DEBUG"  # set it to see tracebacks; these may show values of people

ProgressCall = Callable[[str, int, int], None]


def plain(text: object) -> str:
    """Text that cannot steer a terminal: control characters become question marks."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in str(text))


def count(number: int, word: str, plural: str | None = None) -> str:
    """A number with its noun: `1 record`, `2,000 records`."""
    return f"{number:,} {word if number == 1 else plural or word + 's'}"


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    numbers: Sequence[int] = (),
    heads_shown: bool = True,
) -> Table:
    """A table that fits the width; the columns in `numbers` are set to the right."""
    box = SIMPLE_HEAD if heads_shown else None
    shown = Table(box=box, show_edge=False, pad_edge=False, header_style="bold", show_header=heads_shown)
    for place, head in enumerate(heads):
        shown.add_column(head, justify="right" if place in numbers else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row))
    return shown


class Screen:
    """Both streams of one command.

    Attributes:
        document: what `--json` prints once the command is done.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.document: dict[str, Json] = {}
        self._out = Console(highlight=False, markup=False, emoji=False)
        self._err = Console(highlight=False, markup=False, emoji=False, stderr=True)

    def say(self, *shown: RenderableType) -> None:
        """Show on stdout, unless a JSON document will stand there."""
        if not self.as_json:
            for one in shown:
                self._out.print(Text(plain(one)) if isinstance(one, str) else one)

    def line(self, words: str) -> None:
        """One line on stdout that is never broken: a path or a command to copy."""
        if not self.as_json:
            self._out.print(Text(plain(words)), soft_wrap=True)

    def title(self, words: str) -> None:
        """A heading on stdout, a blank line before it."""
        self.say(Text(""), Text(plain(words), style="bold"))

    def warn(self, words: str) -> None:
        """A warning on stderr."""
        self._err.print(Text("Note: ", style="yellow") + Text(plain(words)))

    def fail(self, reason: str, message: str, help: str) -> None:
        """One sentence what is wrong and one what to do, on stderr; with `--json` on stdout too."""
        self._err.print(Text("Error: ", style="bold red") + Text(plain(message)), soft_wrap=True)
        if help:
            self._err.print(Text(plain(help)), soft_wrap=True)
        if self.as_json:
            print(
                json.dumps(
                    {"error": {"reason": reason, "message": message, "help": help}}, ensure_ascii=False
                )
            )

    @contextmanager
    def progress(self) -> Iterator[ProgressCall]:
        """A bar for each stage on stderr, if it is a terminal; a wait for the compiler is told anyhow."""
        from linker.compiling import told_of_compiling  # it loads the compiler

        with told_of_compiling(self.warn), self._bars() as step:
            yield step

    @contextmanager
    def _bars(self) -> Iterator[ProgressCall]:
        if not self._err.is_terminal:
            yield lambda stage, done, total: None
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<14}"),
            BarColumn(30),
            TextColumn("{task.fields[part]}"),
        )
        with Progress(*columns, TimeElapsedColumn(), console=self._err, transient=True) as bars:
            waiting: list[TaskID] = [bars.add_task("prepare", total=None, part="")]
            stages: dict[str, TaskID] = {}

            def step(stage: str, done: int, total: int) -> None:
                while waiting:
                    bars.remove_task(waiting.pop())
                if stage not in stages:
                    stages[stage] = bars.add_task(stage, part="")
                bars.update(stages[stage], completed=done, total=max(total, 1), part=f"{done:,} of {total:,}")

            yield step


@contextmanager
def session(as_json: bool) -> Iterator[Screen]:
    """A command's run: its JSON at the end, its errors in two sentences, exit code 1 for what failed."""
    screen = Screen(as_json)
    try:
        yield screen
        if as_json:
            print(
                json.dumps(
                    screen.document, ensure_ascii=False, indent=1, allow_nan=False, default=_plain_value
                )
            )
        sys.stdout.flush()
    except LinkerError as error:
        _debug()
        screen.fail(error.reason, error.message, error.help)
    except BrokenPipeError:
        # The reader went away (`| head`); what Python flushes at its end must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        screen.fail("CANCELLED", "Stopped.", "No output was written after that.")
    except MemoryError:
        screen.fail(
            "MEMORY", "There is not enough memory.", "Use a larger machine, or link the files in parts."
        )
    except (typer.Exit, typer.BadParameter):
        raise
    except (Exception, PanicException) as error:  # polars' panics are no Exception
        _debug()
        kind = type(error).__name__
        screen.fail(
            "INTERNAL",
            f"Kinlink met an error of its own ({kind}).",
            f"Set {DEBUG}=1 to see where; please report it.",
        )
    else:
        return
    raise typer.Exit(1)


def _debug() -> None:
    if os.environ.get(DEBUG):
        traceback.print_exc()


def _plain_value(value: object) -> Json:
    """NumPy numbers, paths and enums as JSON."""
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)
