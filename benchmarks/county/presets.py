"""How well a county's files are kept, and how hard its families are to tell apart: four named presets.

`realistic` and `hard` have the slips of the pen of `benchmarks/errors.py`, which says where their rates come
from. `adversarial` has those of `realistic` and families made to be confused. What happens to people (moves,
marriages) is the same in all of them: only what the files know of it differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from benchmarks import errors
from benchmarks.errors import Errors

REGISTERS = ("pnc", "prisons", "npd", "ilr", "wpls", "hes", "mhmds", "ndtms")
#: How much likelier a slip is for names of each community, in the order of `names.COMMUNITIES`: files link
#: worse for some, and a report on bias must find it.
BURDEN = (1.0, 1.8, 2.0, 1.6, 2.2)


@dataclass(frozen=True)
class Lookalikes:
    """Chances that a family has people who are hard to tell apart.

    Attributes:
        twins: of a child after the first: born on the day of the one before. same_sex: of such a pair.
        junior: of a first son: has his father's forename. cousins: of two families next to one another in
            number: siblings' families of one surname. namesakes: of a cousin: has the other's forename.
        compound: of a boy in a family with South Asian Muslim names: MOHAMMED before the name he goes by.
        hostel: of a move: to one of a few addresses that hundreds share.
        identity: how many times likelier than in `realistic` a protected change of identity is.
    """

    twins: float = 0.016
    same_sex: float = 0.66
    junior: float = 0.03
    cousins: float = 0.04
    namesakes: float = 0.03
    compound: float = 0.3
    hostel: float = 0.01
    identity: float = 1.0


@dataclass(frozen=True)
class Preset:
    """What goes wrong in the files.

    Attributes:
        council: slips in the councils' files. register: in each register's, unless `registers` has its own.
        initials: of records with names: the forename is only its first letter.
        respelt: of the misspelt names, the share misheard or misread by a machine rather than mistyped.
        stale: how much of the time since the last contact a file's address and names are out of date:
            0 all is current, 1 as old as the contact.
        covered: of the people a register should have, the share it does have.
        again_in_council: a member is in a delivery twice. again_in_register: a person has a second record.
        rekeyed: of a council's records: typed anew for the second delivery, with slips of its own.
        crossed: a number (NHS, NINO or UPN) in a council's file is that of a brother or sister.
        superseded: a person's NHS number was replaced once; older records have the former one.
        burden: by community, see `BURDEN`.
        lookalikes: how alike people are.
    """

    council: Errors
    register: Errors
    registers: dict[str, Errors] = field(default_factory=dict)
    initials: float = 0.0
    respelt: float = 0.4
    stale: float = 1.0
    covered: float = 0.98
    again_in_council: float = 0.02
    again_in_register: float = 0.03
    rekeyed: float = 0.1
    crossed: float = 0.001
    superseded: float = 0.005
    burden: tuple[float, ...] = BURDEN
    lookalikes: Lookalikes = Lookalikes()

    def errors_of(self, file: str) -> Errors:
        """The slips of one file, `council` or a register."""
        return self.council if file == "council" else self.registers.get(file, self.register)


def _without(chosen: Errors, **missing: float) -> Errors:
    """With other chances of a missing value in some columns."""
    return replace(chosen, missing=tuple({**dict(chosen.missing), **missing}.items()))


def _made(slips: Errors, **more: float) -> Preset:
    # A register is keyed by its own number, which it nearly always has; a council often lacks them.
    kept = _without(slips, nhs_number=0.02, nino=0.02, upn=0.0, uln=0.05, pncid=0.0)
    return Preset(
        council=_without(slips, upn=0.3, uln=0.6, pncid=0.8),
        register=kept,
        registers={
            "hes": replace(kept, sex_wrong=0.0011),
            "ilr": _without(kept, nino=0.5, uln=0.0),
            "mhmds": _without(kept, nhs_number=0.05),
        },
        **more,  # type: ignore[arg-type]
    )


_REALISTIC, _HARD = errors.PRESETS["realistic"][0], errors.PRESETS["hard"][0]
PRESETS = {
    "clean": Preset(
        errors.CLEAN, errors.CLEAN, respelt=0.0, stale=0.0, covered=1.0, again_in_council=0.0,
        again_in_register=0.0, rekeyed=0.0, crossed=0.0, superseded=0.0,
    ),
    "realistic": _made(_REALISTIC, initials=0.004),
    "hard": _made(
        _HARD, initials=0.03, again_in_council=0.05, again_in_register=0.06, crossed=0.01, covered=0.93
    ),
    "adversarial": replace(
        _made(
            replace(
                _REALISTIC, nickname=0.08, names_swapped=0.02, birth_default=0.02, birth_swapped=0.01,
                no_abode=0.02
            ),
            initials=0.02, crossed=0.03, superseded=0.03, again_in_council=0.05,
        ),
        lookalikes=Lookalikes(
            twins=0.2, same_sex=0.85, junior=0.3, cousins=0.5, namesakes=0.3, compound=0.7, hostel=0.2,
            identity=5.0,
        ),
    ),
}  # fmt: skip
