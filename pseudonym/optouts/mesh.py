"""The files in which NHS numbers go to the National Data Opt-out's check and come back, as MESH carries them.

    MAILBOX-DDMMYY-NNNN.dat     one number a line, followed by a comma; lines end with a line feed

The list that comes back is the one that was sent without the numbers of people who have opted out. It never
says who they
are: whoever is not in it must not be used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Final

import polars as pl

from pseudonym.errors import InputError

_NAME: Final = re.compile(r"[A-Z0-9]{4,16}-[0-9]{6}-[0-9]{4}\.dat")
_MAILBOX: Final = re.compile(r"[A-Z0-9]{4,16}")
LAST: Final = 9_999


def check_mailbox(text: str) -> str:
    """A mailbox's name. Raises InputError."""
    if not _MAILBOX.fullmatch(text):
        raise InputError("A mailbox is 4 to 16 capital letters and digits.", "MESH gave it to you.")
    return text


def file_name(mailbox: str, day: date, number: int) -> str:
    """What a list is called.

    Raises:
        InputError: there were 9,999 on the day.
    """
    if not 1 <= number <= LAST:
        raise InputError("There are too many lists of one day.", "Send the next one tomorrow.")
    return f"{check_mailbox(mailbox)}-{day:%d%m%y}-{number:04}.dat"


def check_name(text: str) -> str:
    """The name of a list. Raises InputError."""
    if not _NAME.fullmatch(text):
        raise InputError("The list is not named MAILBOX-DDMMYY-NNNN.dat.", "Keep the name that MESH gave it.")
    return text


def written(numbers: Iterable[str]) -> bytes:
    """A list of NHS numbers as a file."""
    return "".join(f"{one},\n" for one in numbers).encode()


def read(content: bytes) -> pl.Series:
    """The numbers in a list that came back.

    Raises:
        InputError: it is not of the form, or was cut off. Nothing was taken in.
    """
    form = "It is one NHS number a line, followed by a comma, and lines end with a line feed."
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        raise InputError("The list is no list of NHS numbers.", form) from None
    if text and not text.endswith(",\n"):
        raise InputError("The list is cut off, or its lines do not end as they should.", form)
    lines = pl.Series("nhs", text.split("\n")[:-1], dtype=pl.String)
    if not lines.str.contains(r"^[0-9]{10},$").all():
        raise InputError("A line of the list is no NHS number.", form)
    numbers = lines.str.slice(0, 10)
    if not numbers.is_unique().all():
        raise InputError("A number is in the list twice.", "Take the list as it came back.")
    return numbers
