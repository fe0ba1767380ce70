"""What all servicers do with a request: its digest, and the page of a list that it asks for."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from linker.messages import wrong


def digest_of_request(request: Any) -> bytes:
    """SHA-256 of a message: the same request again has the same one."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


def page_size(request: Any) -> int:
    """How many entries a request for a page wants.

    Raises:
        Invalid: a negative number.
    """
    if request.page_size < 0:
        raise wrong("page_size", "page_size is not negative.")
    return min(request.page_size or 100, 1000)


def token(position: int) -> str:
    """The token of the page after a position."""
    return f"p{position}"


def position(request: Any) -> int:
    """The position after which a page begins.

    Raises:
        Invalid: a token that the service did not give.
    """
    if not request.page_token:
        return 0
    if not re.fullmatch(r"p[0-9]{1,18}", request.page_token):
        raise wrong("page_token", "page_token is not one that the service gave.")
    return int(request.page_token[1:])
