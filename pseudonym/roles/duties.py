"""What a role does every day by itself: it drops what was kept for as long as was agreed.

The first round is at the start, and then one at the beginning of each day (UTC), as the given clock has it. A
duty that fails is done again with the next look, and holds up no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pseudonym.roles.rounds import Rounds

DAY = 86_400
LOOK_EVERY = 600.0  # seconds: a clock may be put right, and a duty may have failed


class Duties:
    """The daily duties of one role.

    Args:
        clock: seconds since 1970.
        duties: each does what is due and says how much it was.
        told: is told the name of a duty that was done, and how much it was.
        failed: is told the reason when one does not succeed.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        duties: Mapping[str, Callable[[], int]],
        told: Callable[[str, int], object],
        failed: Callable[[str], object],
    ) -> None:
        self._clock, self._duties, self._told, self._failed = clock, duties, told, failed
        self._done: dict[str, int] = {}
        self.rounds = Rounds("duties", self.look, failed)

    def look(self) -> float:
        """Do what was not done today; the seconds until it is worth looking again."""
        today = int(self._clock()) // DAY
        for name, duty in self._duties.items():
            if self._done.get(name) == today:
                continue
            try:
                self._told(name, duty())
                self._done[name] = today
            except Exception as error:  # the next look tries again
                self._failed(getattr(error, "reason", type(error).__name__))
        return LOOK_EVERY
