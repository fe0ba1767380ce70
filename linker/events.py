"""What the service says of its work: named events with plain facts, one line of JSON each.

The log goes to standard error and holds nothing else: no text from a library, no trace, and no fact but
ids of the service's own, counts, seconds, method names and reason codes.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from typing import IO, Any

_LOGGER = logging.getLogger("kinlink")


def event(name: str, level: int = logging.INFO, **facts: str | int | float | bool) -> None:
    """Say that something happened."""
    _LOGGER.log(level, name, extra={"facts": facts})


class JsonLines(logging.Formatter):
    """Our events with their facts; of any other record only the logger and an exception's type."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {"time": f"{moment}.{int(record.msecs):03}Z", "level": record.levelname}
        facts = getattr(record, "facts", None)
        if record.name == "kinlink" and facts is not None:
            line |= {"event": record.msg, **facts}
        else:
            kind = record.exc_info[0] if record.exc_info else None
            line |= {"event": "library", "logger": record.name, "exception": kind.__name__ if kind else ""}
        return json.dumps(line)


def open_log() -> None:
    """Send our events to standard error, and nothing else: native libraries print what they panic about."""
    log: IO[str] = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    handler = logging.StreamHandler(log)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("kinlink").setLevel(logging.INFO)
    logging.captureWarnings(True)
    sys.excepthook = lambda kind, error, trace: event("failed", logging.CRITICAL, exception=kind.__name__)
    threading.excepthook = lambda failed: event(
        "thread_failed", logging.CRITICAL, exception=failed.exc_type.__name__
    )
