"""What a caller gave, looked at before any work is done: weights, threads, a model, how many links."""

from __future__ import annotations

import math

from linker.decide import Cardinality
from linker.errors import LinkerError
from linker.model import Model


def check(*weights: float | None, threads: int | None = None, model: object = None) -> None:
    """Refuse what no run can be made with.

    Args:
        weights: in bits; None where none was given.
        threads: None for one a core.
        model: a model, or None.

    Raises:
        LinkerError: says which of them is wrong.
    """
    if any(weight is not None and not math.isfinite(weight) for weight in weights):
        raise LinkerError("A weight that was given is not a finite number.", "Give bits, such as 5 or -2.5.")
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise LinkerError("The number of threads is not 1 or more.", "Leave it out for one a core.")
    if model is not None and not isinstance(model, Model):
        raise LinkerError(
            f"The model is an object of the type {type(model).__name__}.",
            "Give a linker.Model; linker.Model.load reads the file of one.",
        )


def cardinality_of(given: Cardinality | str | None) -> Cardinality:
    """How many links a record may have; one to one unless something else was given.

    Raises:
        LinkerError: there is no such cardinality.
    """
    if given is None:
        return Cardinality.ONE_TO_ONE
    if given not in list(Cardinality):
        raise LinkerError("There is no such cardinality.", f"Give one of {', '.join(Cardinality)}.")
    return Cardinality(given)
