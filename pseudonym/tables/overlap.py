"""Measures that look at some of the same rows and are not the same: their difference would tell of the rest.

They are not attacked together, so that one is refused beside the other.
"""

from __future__ import annotations

from typing import Final

from pseudonym.tables.counting import AFTER, BEFORE

_PLAIN: Final = 5
_TIMED: Final = 9  # what, and before or after, months, the month's column, around what


def overlap(one: str, other: str, *, sums: bool = False) -> bool:
    """Whether two measures overlap, as `counting` names what they look at, and are not the same.

    Where a name cannot be taken apart, it is taken to overlap all of its dataset. Of sums codes of different
    columns overlap too, for both may leave out next to nothing; and rows are a sum of costs of one.
    """
    mine, theirs = one.split(" "), other.split(" ")
    if one == other or mine[0] != theirs[0]:
        return False
    if not (_is_plain(mine) and _is_plain(theirs)):
        return True
    (_, column, _, value, costs), (_, column_2, _, value_2, costs_2) = mine[:_PLAIN], theirs[:_PLAIN]
    if value != value_2 or (not sums and (costs == "-") != (costs_2 == "-")):
        return False  # another number
    if len(mine) == len(theirs) == _TIMED and mine[5] != theirs[5] and mine[6:] == theirs[6:]:
        return False  # before and after
    codes, codes_2 = _codes(mine), _codes(theirs)
    if not codes or not codes_2:
        return True  # a column without codes leaves no row out
    return bool(codes & codes_2) if column == column_2 else sums


def _is_plain(parts: list[str]) -> bool:
    """Whether it is no measure of some members of a family, whose name has columns and their codes."""
    return len(parts) == _PLAIN or (len(parts) == _TIMED and parts[_PLAIN] in (BEFORE, AFTER))


def _codes(parts: list[str]) -> set[str]:
    """The codes that count; none for all."""
    named = set() if parts[2] == "-" else set(parts[2].split(","))
    priced = set() if parts[4] == "-" else {one.split("=")[0] for one in parts[4].split(";")}
    return (named & priced or priced) if named and priced else named or priced
