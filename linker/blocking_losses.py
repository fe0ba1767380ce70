"""What the blocking rules of a run can lose: as in `linker.blocking`, from what the run has at hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any as Json

from linker.blocking_certificate import Certificate, certificate
from linker.blocking_facts import observe
from linker.blocking_matches import expected_matches
from linker.errors import ModelError
from linker.model import Model
from linker.workup import Workup


@dataclass(frozen=True)
class Losses:
    """What no rule holds.

    Attributes:
        missed: the share of the matches that no rule holds, an estimate from the model's m.
        certificate: the largest weight of a pair that no rule produces.
    """

    missed: float
    certificate: Certificate

    def at(self, threshold: float) -> Losses:
        """The same, held against the threshold of a run, in bits."""
        return replace(self, certificate=replace(self.certificate, threshold=threshold))

    def as_dict(self) -> dict[str, Json]:
        """Plain data, by the names of `linker.blocking.Blocking.as_dict`."""
        return {
            "estimated_share_of_matches_missed": self.missed,
            "certificate": self.certificate.as_dict(),
        }


def refuse_raw(model: Model | None) -> None:
    """Refuse a model whose blocking cannot be examined.

    Raises:
        ModelError: it reads records as they stand.
    """
    if model is not None and model.raw is not None:
        raise ModelError(
            "The model reads records as they stand, and blocking is examined on standard columns.",
            "Leave the model out, or give one that 'kinlink train' made.",
        )


def losses(work: Workup, *, seed: int) -> Losses:
    """What the rules of a run can lose; takes some seconds a million records.

    Args:
        work: with a trained model and the columns of its term frequencies.
        seed: of the matches that the estimate imagines.

    Raises:
        ModelError: a level has no m and u.
    """
    assert work.columns is not None, "kept, where they were asked for"
    left, *right = work.columns
    facts = observe(work.model, work.encoded, left, right[0] if right else None)
    pairs = sorted({pair for rule in work.model.rules for pair in rule.columns})
    missed = 1.0  # by a model without rules
    if pairs:
        matches = expected_matches(pairs, work.model, facts, work.encoded, seed=seed)
        missed -= float(matches.caught_by_any(work.model.rules).mean())
    return Losses(missed, certificate(work.model, facts))
