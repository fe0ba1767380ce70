"""How the demo tells its story: numbered steps with their seconds, bars while one waits, a picture of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

WIDTH, BAR = 80, 12  # characters: of the story, of the longest bar in it

Feed = Callable[[str, int, int], None]


class Story:
    """What the reader sees: numbered steps on standard output, bars on standard error.

    Attributes:
        out: the standard output, with a record of what was shown.
        seconds: by step.
    """

    def __init__(self) -> None:
        self.out = Console(width=WIDTH, highlight=False, markup=False, emoji=False, record=True)
        self.seconds: dict[str, float] = {}
        self._err = Console(width=WIDTH, stderr=True)
        self._body: list[RenderableType] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step; it is shown, with its seconds, once it has succeeded."""
        began, self._body = time.perf_counter(), []
        yield
        seconds = time.perf_counter() - began
        self.seconds[title] = round(seconds, 2)
        timing = f"{seconds:.1f} s"
        head = Text.assemble((f" {len(self.seconds)} ", "bold white on blue"), (f" {title}", "bold"))
        head.append(" " * (WIDTH - head.cell_len - len(timing)) + timing, "dim")
        self.out.print(
            Text(""), head, *(Padding(one, (0, 0, 0, 4), expand=False) for one in self._body), sep="\n"
        )

    def say(self, *shown: RenderableType) -> None:
        """Lines and tables of the present step."""
        self._body += [Text(one) if isinstance(one, str) else one for one in shown]

    @contextmanager
    def bar(self, words: str, note: str = "") -> Iterator[Feed]:
        """A bar, fed with (what, done, total); nothing where standard error is no terminal."""
        if not self._err.is_terminal:
            yield lambda what, done, total: None
            return
        words_and_time = TextColumn("    {task.description:<22}"), BarColumn(16), TimeElapsedColumn()
        with Progress(*words_and_time, TextColumn(note), console=self._err, transient=True) as bars:
            task = bars.add_task(words, total=None)
            yield lambda what, done, total: bars.update(
                task, description=f"{words}: {what}", completed=done, total=total or None
            )

    def picture(self) -> str:
        """What was shown, as an SVG that needs nothing from elsewhere."""
        drawn = self.out.export_svg(title="make demo", unique_id="demo")
        return re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)


def table(heads: Sequence[str], right: Sequence[int]) -> Table:
    """An empty table; the columns in `right` are set to the right."""
    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    for place, head in enumerate(heads):
        made.add_column(head, justify="right" if place in right else "left")
    return made


def bar(bits: float, most: float) -> Text:
    """A bar for a match weight, `most` being the longest."""
    size = round(BAR * abs(bits) / most)
    return Text("█" * size or "·", "green" if bits > 0 else "red" if size else "dim")
