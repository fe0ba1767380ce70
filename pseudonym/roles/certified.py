"""The certificates of what a role destroyed because its time was over: small files, kept beside the database.

They name projects, recipients and counts, and nobody.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from pseudonym.files import canonical
from pseudonym.roles.papers import Papers


class KeptCertificates:
    """The kept certificates of one role.

    Args:
        folder: where they are; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._papers = Papers(folder, "certificate")

    def keep(self, certificate: bytes) -> None:
        """Keep one; the same once more does nothing."""
        content: dict[str, Any] = json.loads(certificate)
        when = re.sub(r"\D", "", content["when"])[:14]
        self._papers.write(f"{when}-{hashlib.sha256(certificate).hexdigest()[:8]}", content)

    def all(self) -> list[bytes]:
        """All of them as files, the earliest first."""
        return [canonical(content) for _, content in self._papers.all()]

    def tell(self, project: str, what: str) -> bool:
        """Whether one says that this of a project was destroyed."""
        return any((one["project"], one["what"]) == (project, what) for _, one in self._papers.all())
