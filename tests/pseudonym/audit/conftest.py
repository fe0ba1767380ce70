"""A log with an injected clock, and keys that are always the same."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from pseudonym.audit import Event, Log, Signer

ORIGIN = "kinlink.example/tf/identity"
SIGNING = bytes(range(32))
OFFICER = bytes(range(32, 64))


class Clock:
    """Stands still unless told."""

    def __init__(self) -> None:
        self.now = 1_795_000_000_000_000

    def __call__(self) -> int:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += int(seconds * 1_000_000)


class Place:
    """A log's folder, the other party's, and what belongs to them."""

    def __init__(self, path: Path) -> None:
        self.folder, self.kept = path / "log", path / "kept"
        self.kept.mkdir()
        self.clock = Clock()
        self.signer = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(SIGNING))
        self.officer = X25519PrivateKey.from_private_bytes(OFFICER)
        self.key = str(self.signer.verifier)
        self.keys = [self.signer.verifier]
        self._next = itertools.count()

    def create(self, **options: Any) -> Log:
        return Log.create(
            self.folder, self.kept, self.signer, self.officer.public_key(), **self._with(options)
        )

    def open(self, **options: Any) -> Log:
        return Log.open(self.folder, self.kept, self.signer, self.officer.public_key(), **self._with(options))

    def _with(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"clock": self.clock} | options

    def events(self, count: int = 1, details: bytes = b"") -> list[Event]:
        """Different each time."""
        return [
            Event(
                "role/officer/alice",
                "identity.open",
                "linkage",
                "tf-2026",
                count=next(self._next),
                details=details,
            )
            for _ in range(count)
        ]

    def filled(self, batches: Sequence[int], every: float = 0.001) -> None:
        """A closed log with batches of events, a checkpoint after each."""
        with self.create() as log:
            for size in batches:
                self.clock.pass_seconds(every)
                log.append(self.events(size))
                self.clock.pass_seconds(60)
                log.tick()

    @property
    def entries(self) -> Path:
        return self.folder / "entries"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)
