"""Schemes: which problems count, with which words, and how many of them make a family eligible.

A scheme is data, a file of TOML in this folder by its name. A scheme that a family was once assessed by never
changes: what changes is another scheme, with another name.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any, Self

from pseudonym.datasets import Tag
from pseudonym.errors import InputError

FORMAT = "kinlink-scheme/1"


@dataclass(frozen=True, slots=True)
class Indicator:
    """A sign of a problem: its code and its words."""

    code: str
    words: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A headline problem.

    Attributes:
        code: in capitals; in lower case it is the name of its column.
        words: those of the notice, or of the guidance.
        indicators: the signs of it that these name; any of them is the problem.
        tags: what the law says of knowing it.
    """

    code: str
    words: str
    indicators: tuple[Indicator, ...] = ()
    tags: frozenset[Tag] = frozenset()

    @property
    def column(self) -> str:
        """The name of its column."""
        return self.code.lower()


@dataclass(frozen=True, slots=True)
class Band:
    """An intensity of support: its code, its words, and the least hours of it."""

    code: str
    words: str
    least: int


@dataclass(frozen=True, slots=True)
class Scheme:
    """A versioned scheme of eligibility.

    Attributes:
        name: such as `tf-2015`.
        title: what it is called.
        minimum: how many distinct problems of a family make it eligible.
        problems: in the order in which they are told.
        arms, interventions: words by code.
        intensity: bands of hours, the lowest first.
    """

    name: str
    title: str
    minimum: int
    problems: tuple[Problem, ...]
    arms: dict[str, str]
    interventions: dict[str, str]
    intensity: tuple[Band, ...]

    @property
    def flags(self) -> tuple[str, ...]:
        """The columns of problems and of their indicators."""
        return tuple(
            name
            for problem in self.problems
            for name in (problem.column, *(indicator.code for indicator in problem.indicators))
        )

    def problem_of(self, said: str) -> Problem | None:
        """The one problem that some words mean: its code, its words with or without an indicator's, or these.

        Args:
            said: such as `WORK_FIN`, a whole line of the notice, or "looked after children".

        Returns:
            None where no problem or more than one is meant.
        """
        lines = [_folded(said), _folded(re.sub(r"\(.*?\)", "", said))]
        found = [
            problem
            for problem in self.problems
            if {_folded(problem.code), _folded(problem.words), *self._indicators(problem)} & set(lines)
        ]
        return found[0] if len(found) == 1 else None

    def _indicators(self, problem: Problem) -> set[str]:
        return {_folded(said) for each in problem.indicators for said in (each.code, each.words)}

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read a scheme.

        Raises:
            InputError: it says too little, or the same twice.
        """
        content: dict[str, Any] = tomllib.loads(text)
        if content.get("format") != FORMAT:
            raise InputError(f"A scheme's first line is format = {FORMAT!r}.")
        made = cls(
            content["name"],
            content["title"],
            content["minimum"],
            tuple(
                Problem(
                    one["code"],
                    one["words"],
                    tuple(Indicator(*each) for each in one.get("indicators", {}).items()),
                    frozenset(map(Tag, one.get("tags", ()))),
                )
                for one in content["problems"]
            ),
            content["arms"],
            content["interventions"],
            tuple(Band(code, one["words"], one["from"]) for code, one in content["intensity"].items()),
        )
        if len(set(made.flags)) < len(made.flags) or not 1 <= made.minimum <= len(made.problems):
            raise InputError(
                f"Scheme {made.name} names a column twice, or no number of problems that is met."
            )
        bands = [band.least for band in made.intensity]
        if bands != sorted(set(bands)) or bands[:1] != [0]:
            raise InputError(f"The bands of intensity of scheme {made.name} do not rise from 0.")
        return made


def scheme(name: str) -> Scheme:
    """The scheme of this name.

    Raises:
        InputError: there is none.
    """
    if name not in names():
        raise InputError(f"There is no scheme {name!r}.", f"There are {' and '.join(names())}.")
    return Scheme.from_toml((resources.files(__name__) / f"{name}.toml").read_text(encoding="utf-8"))


def names() -> tuple[str, ...]:
    """The schemes that there are."""
    files = (one.name for one in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml")))


def _folded(said: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", said.lower()))
