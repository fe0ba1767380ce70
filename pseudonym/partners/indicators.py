"""What answers become at the council: coded indicators of families, in a table of their own.

Only what was declared: the family as the council calls it, the check, the answer, and the problem that a yes
is a sign of in a scheme. No identifier and no other attribute stands beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import polars as pl

from pseudonym.errors import InputError
from pseudonym.partners.checks import COUNTS_AS, Answer

COLUMNS: Final = ("family", "check", "answer", "scheme", "problem", "day")


def indicators(by_family: Mapping[str, Answer], check: str, scheme: str, now: datetime) -> pl.DataFrame:
    """The table.

    Args:
        by_family: one answer for each family.
        check: the name of what was asked.
        scheme: the name of a scheme of problems.
        now: the time, of which the day is kept.

    Returns:
        Text columns `COLUMNS`, sorted by family; problem is empty where the answer is no sign of one.

    Raises:
        InputError: there is no such scheme.
    """
    if scheme not in COUNTS_AS:
        raise InputError("There is no such scheme.", f"Those that are known: {', '.join(COUNTS_AS)}.")
    problem = COUNTS_AS[scheme].get(check, "")
    rows = [
        (family, check, word.value, scheme, problem if word is Answer.YES else "", f"{now:%Y-%m-%d}")
        for family, word in sorted(by_family.items())
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")
