"""How many symbols of prompts a pass reads beside rows that write.

A long prompt read at once makes everybody wait. Read in small pieces it takes longer itself, for
each piece comes with a pass of those that write: a pass may take about twice as long as one that
reads nothing, whatever machine and model, so both sides get half of the time.
"""

from __future__ import annotations

PREFILL_SYMBOLS = 2048
"""Most prompt symbols (over all rows) of one forward pass: bounds the memory a prompt takes."""
_FEWEST = 4
_FIRST = 32
_SHARE = 0.8
"""What reading may add to a pass, of the time of one that only writes; 1 would be twice of it."""
_PASSES_BETWEEN_PROBES = 32
_NEWEST_WEIGHT = 0.2


class PrefillPace:
    """Finds the number of symbols from the time that passes take."""

    def __init__(self) -> None:
        self._room = float(_FIRST)
        self._writing_seconds: float | None = None  # of a pass that reads nothing
        self._unprobed = 0

    def room(self, *, writing: bool) -> int:
        """Symbols of prompts that the next pass may read; ``writing``: some rows write in it."""
        if not writing:
            return PREFILL_SYMBOLS
        if self._writing_seconds is None or self._unprobed >= _PASSES_BETWEEN_PROBES:
            return 0  # what a pass takes without
        return int(self._room)

    def observe(self, seconds: float, *, read: int, writing: bool) -> None:
        """Take in how long a pass took that read so many symbols."""
        if not writing:
            return
        if not read:
            before = self._writing_seconds
            newest = seconds if before is None else _mixed(before, seconds)
            self._writing_seconds, self._unprobed = newest, 0
        elif self._writing_seconds is not None:
            self._unprobed += 1
            added = max(seconds - self._writing_seconds, 1e-9)
            fitting = read * _SHARE * self._writing_seconds / added
            # Passes differ, and a few symbols cost little more than none: in small steps.
            fitting = min(max(fitting, self._room / 2), self._room * 1.25)
            self._room = min(max(fitting, _FEWEST), PREFILL_SYMBOLS)


def _mixed(before: float, newest: float) -> float:
    return (1 - _NEWEST_WEIGHT) * before + _NEWEST_WEIGHT * newest
