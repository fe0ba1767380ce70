"""What is said to the audit log before anything is done with people's data.

The log's entry is durable when the hook returns; when it raises, nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Mandate:
    """Who asks, and what for.

    Attributes:
        actor: the account, such as `officer/alice`.
        purpose: a registered purpose.
    """

    actor: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Access:
    """One use of people's data.

    Attributes:
        action: a word such as `read`, `issue` or `resolve`.
        project: the project's name.
        mandate: who asks, and what for.
        count: how many subjects or numbers it is about.
        detail: names of datasets, columns and recipients; nothing of a person.
    """

    action: str
    project: str
    mandate: Mandate
    count: int
    detail: tuple[str, ...] = ()


Audit: TypeAlias = Callable[[Access], None]
