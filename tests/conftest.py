"""What every test shares."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import settings

# No deadline: the first example of a property may compile a kernel. The rest is Hypothesis' own profile,
# which is free of chance where CI is set.
settings.register_profile("kinlink", settings(), deadline=None)
settings.load_profile("kinlink")

NAMED = re.compile(r"^[^:]+::test_((?:r\d+_)+)")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which requirements of docs/requirements.md are green: their tests have them in their names."""
    ended: dict[str, Counter[str]] = {"passed": Counter(), "failed": Counter(), "error": Counter()}
    for outcome, counted in ended.items():
        for report in terminalreporter.stats.get(outcome, ()):
            for found in NAMED.findall(report.nodeid):
                counted.update(found.upper().strip("_").split("_"))
    red = ended["failed"] + ended["error"]
    green = [name for name in ended["passed"] if name not in red]
    if red or green:
        terminalreporter.section("requirements")
        for word, names in (("red", red), ("green", green)):
            if names:
                told = (
                    f"{name} ({ended['passed'][name]})"
                    for name in sorted(names, key=lambda one: int(one[1:]))
                )
                terminalreporter.write_line(
                    f"{word}: {', '.join(told)}", red=word == "red", green=word == "green"
                )
