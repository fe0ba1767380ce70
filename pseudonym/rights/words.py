"""How machines decided about a person, in plain words: what goes into every answer that explains it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

LOGIC: Final = (
    "Machines decide two things here. Whether a family is shared with the study: the council's file is "
    "counted for signs of problems, and a family with enough of them is shared; the council keeps why, for "
    "each family and day, and tells the family on request. And whether two records are about one person: "
    "this page says how.",
    "Records are compared by name, day of birth, sex, address and reference numbers, as far as both have "
    "them. Each agreement makes it more likely that they are about one person, and each difference less. How "
    "much is counted in bits: one bit doubles the odds of it, minus one bit halves them. The bits are "
    "added to what holds of two records taken at random, which are hardly ever one person's.",
    "Two records are linked if the sum reaches the threshold, if no other record fits about as well, and if "
    "nothing speaks against it, such as a twin. Between the two thresholds somebody looks at them. Nothing "
    "is granted, refused or sent to anybody because of a link: it serves statistics, which name nobody.",
)

_NEITHER: Final = 0.05  # bits that are shown as none
_STRENGTHS: Final = ((10.0, "very strongly"), (6.0, "strongly"), (3.0, "clearly"), (0.0, "weakly"))
"""From how many bits on a weight is called what: the odds times 1,000, times 64, times 8."""
_DECIDED: Final = "Somebody decided that these two records are about one person."


def of_link(link: Mapping[str, Any]) -> list[str]:
    """A link with a register in sentences, from the parts that its weight is the sum of.

    Args:
        link: `register`, `outcome`, `weight`, `threshold` (bits) and `parts`, each with `what`, `found` and
            `bits`: see `docs/rights.md`. One that is linked without a weight was decided by people.
    """
    said = [f"Register {link['register']}: {link['outcome'].lower().replace('_', ' ')}."]
    if link.get("weight") is None:
        return [*said, _DECIDED] if link["outcome"] == "LINKED" else said
    for part in link["parts"]:
        said.append(f"{part['what']}: {part['found']}. {_effect(part['bits'])}")
    reached = "is reached" if link["weight"] >= link["threshold"] else "is not reached"
    said.append(
        f"Together {speaks(link['weight'])} ({link['weight']:+.1f} bits). "
        f"The threshold of {link['threshold']:+.1f} bits {reached}."
    )
    return said


def total(parts: Sequence[Mapping[str, Any]]) -> float:
    """The sum of the parts, in their order: the weight, to the last bit."""
    found = 0.0
    for part in parts:
        found += part["bits"]
    return found


def of_record_link(weight: float, by_person: bool) -> str:
    """A link between two of a person's records, in a sentence."""
    if by_person or math.isinf(weight):
        return _DECIDED
    return f"Two records were taken to be about one person: {speaks(weight)} ({weight:+.1f} bits)."


def speaks(bits: float) -> str:
    """How strong a weight is, in words."""
    if abs(bits) < _NEITHER:
        return "this speaks neither way"
    how = next(word for least, word in _STRENGTHS if abs(bits) >= least)
    return f"this speaks {how} {'for' if bits > 0 else 'against'} it"


def _effect(bits: float) -> str:
    """What a part does to the odds: how likely it is in the end, no part says by itself."""
    said = speaks(bits).capitalize()
    if abs(bits) < _NEITHER:
        return f"{said}."
    times = 2.0 ** min(abs(bits), 60.0)
    by = f"{times:,.0f}" if times >= 10 else f"{times:.1f}"
    made = "multiplied" if bits > 0 else "divided"
    return f"{said}: the odds that they are about one person are {made} by {by} ({bits:+.1f} bits)."
