"""What a keyset file says, read: its keys, and what stands before them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pseudonym.errors import TamperedError, VersionError
from pseudonym.files import parse, read_secret_file
from pseudonym.providers import Said

FORMAT: Final = "kinlink-keyset/1"

_ANY_FORMAT = re.compile(r"kinlink-keyset/[0-9]{1,4}")


class State(StrEnum):
    """What a key may still be used for."""

    ACTIVE = "active"
    DECRYPT_ONLY = "decrypt-only"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class Key:
    """What a keyset says of one key. The key itself stays wrapped.

    Attributes:
        kid: its id, 16 hexadecimal digits.
        use: what it is for: one of those in `pseudonym.uses`.
        algorithm: what it is used with.
        state: active; decrypt-only, when a later key took over; destroyed.
        not_before: when it was made, UTC, ISO 8601.
        not_after: when it stopped being active, or None.
        wrapped: scheme byte, nonce and ciphertext in hexadecimal digits; empty when destroyed.
        public: the public half, in hexadecimal digits, of a destroyed key that signed the audit log.
    """

    kid: str
    use: str
    algorithm: str
    state: State
    not_before: str
    not_after: str | None
    wrapped: str = field(repr=False)
    public: str = ""


class RawKeyAccess:
    """The type of `RAW_KEY_ACCESS`."""

    def __repr__(self) -> str:
        return "RAW_KEY_ACCESS"


RAW_KEY_ACCESS: Final = RawKeyAccess()
"""Hand this to `Keyset.export` to take key bytes out. Every place that does can be found by this name."""


def header(content: dict[str, Any]) -> tuple[str, Said, str]:
    """The name, the provider's part and the seal of a keyset file, none of them to be relied on yet.

    Raises:
        VersionError: it is of another version's format.
        TamperedError: it is no keyset.
    """
    name, said, seal = content.get("set"), content.get("provider"), content.get("seal")
    form = content.get("format")
    if form != FORMAT and isinstance(form, str) and _ANY_FORMAT.fullmatch(form):
        raise VersionError(
            f"The keyset is in the format {form}, and this program reads {FORMAT}.",
            "Use the version of the program that wrote it.",
        )
    if (
        form != FORMAT
        or not isinstance(said, dict)
        or not all(isinstance(text, str) and text.isascii() for text in (name, seal, said.get("name")))
    ):
        raise TamperedError("The file is not a keyset of a kind that is known here.", "Nothing was opened.")
    return str(name), said, str(seal)


def provider_of(path: Path) -> Said:
    """What a keyset file says of its provider, before anything was opened: a hint, and no more.

    Raises:
        KeysetError: there is no such file, or it is no keyset.
    """
    return header(parse(read_secret_file(path, "keyset"), "keyset"))[1]


def set_name_of(path: Path) -> str:
    """What a keyset file says it is called, before anything was opened: a hint, and no more.

    Raises:
        KeysetError: there is no such file, or it is no keyset.
    """
    return header(parse(read_secret_file(path, "keyset"), "keyset"))[0]


def latest(written: str | None, keys: Sequence[Key]) -> datetime:
    """The latest time that a keyset file tells of."""
    # A file from before `written` was kept says it through its keys.
    times = [written, *(time for key in keys for time in (key.not_before, key.not_after))]
    found = [datetime.fromisoformat(time) for time in times if time is not None]
    return max(found, default=datetime.min.replace(tzinfo=UTC))
