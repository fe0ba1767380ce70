"""Health data go out only if the National Data Opt-out was asked about when their register was linked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from pseudonym import registers
from pseudonym.errors import OptOutMissingError, OptOutStaleError, ReleaseError
from pseudonym.optouts.checks import Reason

APPLIED: Final = "applied"
EXEMPT: Final = "exempt: "
"""Before the reason why the opt-out does not apply."""
_FIRST: Final = re.compile("[a-z-]+")
Linked = Callable[[str], tuple[str, int] | None]
"""Of a register, under what it was linked last and until when that holds; None: nothing says."""


def check(said: Mapping[str, str], linked: Linked, now: datetime) -> None:
    """Refuse health data of a register that was not linked under a list that is fresh, nor exempted.

    Args:
        said: of each dataset, what the specification says of the opt-out.
        linked: see `Linked`.
        now: the time.

    Raises:
        OptOutMissingError, OptOutStaleError: it was not.
        ReleaseError: the specification says otherwise than it was linked, or another reason. Of a reason in
            free text, which begins with no code of one, only that there is an exemption is compared.
    """
    for name, claim in said.items():
        register = registers.find(name)
        if register is None or not register.health:
            continue
        found = linked(name)
        if found is None:
            raise OptOutMissingError(
                f"Nothing says that the National Data Opt-out was applied when {name} was linked.",
                "Link it again, under a fresh list or an exemption.",
            )
        basis, until = found
        if claim == APPLIED and basis != "list":
            raise ReleaseError(
                f"{name} was linked under an exemption from the National Data Opt-out.",
                "Say so in the specification: exempt, and the reason.",
            )
        if claim.startswith(EXEMPT) and basis == "list":
            raise ReleaseError(
                f"{name} was linked under a list of the National Data Opt-out: it was applied.",
                "Say so in the specification: applied.",
            )
        if claim.startswith(EXEMPT) and _is_another(claim.removeprefix(EXEMPT), basis):
            raise ReleaseError(
                f"{name} was linked under an exemption for another reason than the specification says.",
                f"Say the one that was recorded: {EXEMPT}{_recorded(basis)}.",
            )
        if until and now.timestamp() >= until:
            raise OptOutStaleError(
                f"The list under which {name} was linked is too old.",
                "Send a new one, and link the register again.",
            )


def _is_another(claimed: str, basis: str) -> bool:
    """Whether a reason begins with the code of one, and another was recorded."""
    code = _FIRST.match(claimed.strip().lower())
    return code is not None and code[0] in set(Reason) and code[0] != _recorded(basis)


def _recorded(basis: str) -> str:
    """The code in `exempt`, code and reference, as `optouts.checks` writes them."""
    return basis.split(" ")[1]
