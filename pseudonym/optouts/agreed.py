"""What was agreed of the National Data Opt-out: a part of the governance file.

    {"mailbox": "X26OT001", "days": 7}

The rule this module keeps: without it no list is sent or taken, so that health data stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pseudonym.errors import InputError
from pseudonym.optouts.mesh import check_mailbox

LONGEST: Final = 28
"""Days after which no list is used, whatever was agreed."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """How lists are exchanged.

    Attributes:
        mailbox: from which lists are sent.
        days: for how many days after it was asked for a cleared list may be used; then it is destroyed.
    """

    mailbox: str
    days: int

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Read it.

        Raises:
            InputError: it is not of this form.
        """
        if set(content) != {"mailbox", "days"} or not isinstance(content["days"], int):
            raise InputError("national_data_opt_out has a mailbox and a number of days, and nothing else.")
        if not 1 <= content["days"] <= LONGEST:
            raise InputError(f"A cleared list is used for 1 to {LONGEST} days.")
        return cls(check_mailbox(str(content["mailbox"])), content["days"])
