"""What a pair of records can be, as far as a model's conditions can tell: sound, not complete, reasoning.

A pair is described by *atoms*, statements that are true or false of it: a column is missing on a side, two
columns are equal, a distance is within its limit. What is `Known` of a pair is a set of atoms with their
truth, and always holds all that follows from it one by one:

    equal          ⇒ neither side missing; the derived parts equal, where the records bear that out
    a test holds   ⇒ neither side missing; the same measure within any wider limit
    equal text     ⇒ every text measure holds

and each the other way round. Whatever a real pair of these records is, these hold; so a level that cannot be
reached here is reached by no pair. The converse need not be true: that one text is near a second and the
second near a third says nothing here of the first and the third.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from linker.blocking_facts import Facts, Pair, Side, equalities
from linker.conditions import All, Any, Condition, Not, Op, Test, tests_of
from linker.model import Comparison, Model

_CLOSER_IF_MORE = {Op.JARO_WINKLER, Op.JARO, Op.STANDARDISED_LEVENSHTEIN}
_CLOSER_IF_LESS = {Op.LEVENSHTEIN, Op.DAMERAU}
_TEXT = _CLOSER_IF_MORE | _CLOSER_IF_LESS


@dataclass(frozen=True)
class Missing:
    """The value of a column is missing on a side."""

    side: Side
    column: str


@dataclass(frozen=True)
class Equal:
    """The values of a left and a right column are there and equal."""

    left: str
    right: str


Atom = Missing | Equal | Test


class Known(NamedTuple):
    """Atoms known to be true and to be false, a bit each; nothing more follows one by one."""

    true: int
    false: int


class Logic:
    """The atoms of a model over some records, and what follows from what."""

    def __init__(self, model: Model, facts: Facts) -> None:
        self.atoms: list[Atom] = []
        self._place: dict[Atom, int] = {}
        self._follows: dict[tuple[int, bool], list[tuple[int, bool]]] = {}
        for pair in sorted(equalities(model)):
            self._add(Equal(*pair))
        for comparison in model.comparisons:
            for test in comparison_tests(comparison):
                for side, column in ((Side.LEFT, test.left), (Side.RIGHT, test.right)):
                    self._add(Missing(side, column))
                if test.op not in (Op.MISSING, Op.EXACT):
                    self._add(test)
        self._relate(facts)
        self._closed = {
            (place, truth): self._closure(place, truth)
            for place in range(len(self.atoms))
            for truth in (True, False)
        }
        self.beginning = self._beginning(facts)

    def place(self, atom: Atom) -> int:
        """The bit of an atom."""
        return self._place[atom]

    def equal(self, pair: Pair) -> int:
        """The bit of two columns' equality."""
        return self._place[Equal(*pair)]

    def assume(self, known: Known, place: int, truth: bool) -> Known | None:
        """What is known if an atom is also true, or false; None if it cannot be."""
        if (known.true if truth else known.false) >> place & 1:
            return known
        more = self._closed[place, truth]
        return None if more is None else join(known, more)

    def ways(self, condition: Condition, wanted: bool, known: Known) -> Iterator[Known]:
        """Every way, one after the other, in which a condition can come out as wanted; none if it cannot."""
        match condition:
            case Test(op=Op.MISSING, left=left, right=right):
                ours, theirs = Missing(Side.LEFT, left), Missing(Side.RIGHT, right)
                yield from self._joined((ours, theirs), not wanted, wanted, known)
            case Test():
                atom = Equal(condition.left, condition.right) if condition.op is Op.EXACT else condition
                found = self.assume(known, self._place[atom], wanted)
                if found is not None:
                    yield found
            case Not(of=part):
                yield from self.ways(part, not wanted, known)
            case All(of=parts):
                yield from self._joined(parts, wanted, wanted, known)
            case Any(of=parts):
                yield from self._joined(parts, not wanted, wanted, known)

    def level_ways(self, comparison: Comparison, code: int, known: Known) -> Iterator[Known]:
        """Every way in which a comparison can reach a level; code 0 is the null level."""
        if code == 0:
            yield from self.ways(comparison.null, True, known)
            return
        own = comparison.levels[code - 1].condition
        before = [comparison.null, *(x.condition for x in comparison.levels[: code - 1] if x.condition)]
        # Its own condition first: it decides the most, and the rest is then soon settled.
        yield from self.ways(All((*([own] if own else []), *map(Not, before))), True, known)

    def scope(self, comparison: Comparison) -> int:
        """The atoms that can bear on a comparison: its own and all that follow from them."""
        mask = 0
        for test in comparison_tests(comparison):
            atoms: list[Atom] = [Missing(Side.LEFT, test.left), Missing(Side.RIGHT, test.right)]
            if test.op is not Op.MISSING:
                atoms.append(Equal(test.left, test.right) if test.op is Op.EXACT else test)
            for place in (self._place[atom] for atom in atoms):
                for truth in (True, False):
                    more = self._closed[place, truth]
                    mask |= 1 << place | (0 if more is None else more.true | more.false)
        return mask

    def _joined(
        self, parts: Sequence[Condition | Missing], every: bool, wanted: bool, known: Known
    ) -> Iterator[Known]:
        """Ways in which `every` part comes out as wanted, or else the first that does comes out so."""
        if not parts:
            if every:
                yield known
            return
        first, *rest = parts
        if every:
            for found in self._part(first, wanted, known):
                yield from self._joined(rest, every, wanted, found)
            return
        yield from self._part(first, wanted, known)
        if rest:
            for found in self._part(first, not wanted, known):
                yield from self._joined(rest, every, wanted, found)

    def _part(self, part: Condition | Missing, wanted: bool, known: Known) -> Iterator[Known]:
        if not isinstance(part, Missing):
            yield from self.ways(part, wanted, known)
        elif (found := self.assume(known, self._place[part], wanted)) is not None:
            yield found

    def _add(self, atom: Atom) -> None:
        if atom not in self._place:
            self._place[atom] = len(self.atoms)
            self.atoms.append(atom)

    def _relate(self, facts: Facts) -> None:
        tests = [atom for atom in self.atoms if isinstance(atom, Test)]
        equals = [atom for atom in self.atoms if isinstance(atom, Equal)]
        for one in equals:
            self._present(one)
            for part in facts.implied.get((one.left, one.right), ()):
                if Equal(*part) in self._place:
                    self._imply(one, True, Equal(*part), True)
        for test in tests:
            self._present(test)
            whole = Equal(test.left, test.right)
            if whole in self._place and _holds_if_equal(test):
                self._imply(whole, True, test, True)
            for other in tests:
                if (other.op, other.left, other.right) == (test.op, test.left, test.right) and _wider(
                    other, test
                ):
                    self._imply(test, True, other, True)

    def _present(self, atom: Equal | Test) -> None:
        for missing in (Missing(Side.LEFT, atom.left), Missing(Side.RIGHT, atom.right)):
            if missing in self._place:
                self._imply(atom, True, missing, False)

    def _imply(self, one: Atom, truth: bool, other: Atom, then: bool) -> None:
        a, b = self._place[one], self._place[other]
        self._follows.setdefault((a, truth), []).append((b, then))
        self._follows.setdefault((b, not then), []).append((a, not truth))

    def _closure(self, place: int, truth: bool) -> Known | None:
        reached, open_ends = {(place, truth)}, [(place, truth)]
        while open_ends:
            for step in self._follows.get(open_ends.pop(), ()):
                if step not in reached:
                    reached.add(step)
                    open_ends.append(step)
        true = sum(1 << at for at, value in reached if value)
        false = sum(1 << at for at, value in reached if not value)
        return None if true & false else Known(true, false)

    def _beginning(self, facts: Facts) -> Known | None:
        """What is known of every pair of the records; None where they have no pair."""
        known: Known | None = Known(0, 0)
        for place, atom in enumerate(self.atoms):
            match atom:
                case Missing(side=side, column=column):
                    given = False if (side, column) not in facts.missing else None
                case Equal(left=left, right=right):
                    given = True if (left, right) in facts.always else None
                    given = False if (left, right) in facts.never else given
                case _:
                    given = None
            if known is not None and given is not None:
                known = self.assume(known, place, given)
        return known


def join(one: Known, other: Known) -> Known | None:
    """Both together; None if they contradict one another."""
    true, false = one.true | other.true, one.false | other.false
    return None if true & false else Known(true, false)


def comparison_tests(comparison: Comparison) -> Iterator[Test]:
    """Every test of a comparison."""
    yield from tests_of(comparison.null)
    for level in comparison.levels:
        if level.condition is not None:
            yield from tests_of(level.condition)


def _holds_if_equal(test: Test) -> bool:
    if test.op in _CLOSER_IF_MORE:
        return test.value <= 1.0
    return test.op in _CLOSER_IF_LESS and test.value >= 0.0


def _wider(one: Test, other: Test) -> bool:
    """Whether what the other test lets through, this one does too."""
    if one.op in _CLOSER_IF_MORE:
        return one.value < other.value
    return one.op in _CLOSER_IF_LESS and one.value > other.value
