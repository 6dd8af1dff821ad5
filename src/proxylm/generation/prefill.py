"""How many symbols of prompts a pass reads beside rows that write.

A long prompt read at once makes everybody wait. Read in small pieces it takes longer itself, for
each piece comes with a pass of those that write. Such a pass may take about twice as long as one
that reads nothing, whatever machine and model, so both sides get half of the time.
"""

from __future__ import annotations

PREFILL_SYMBOLS = 2048
"""Most prompt symbols (over all rows) of one forward pass: bounds the memory a prompt takes."""
_FEWEST = 4
_FIRST = 32
_MOST_SAVED = 160
_SHARE = 0.8
"""What reading may add to a pass, of the time of one that only writes; 1 would be twice of it."""
_PASSES_BETWEEN_PROBES = 32
_NEWEST_WEIGHT = 0.2


class Room:
    """Symbols of prompts that one pass may read.

    Attributes:
        any: of any prompts.
        whole: of prompts that are read to their end.
    """

    def __init__(self, any: int, whole: int = 0) -> None:
        self.any = any
        self.whole = whole

    def take(self, length: int) -> int:
        """How many symbols are read of a prompt of which so many are left."""
        if self.any < length <= self.whole:
            self.whole -= length
            return length
        taken = min(length, self.any)
        self.any -= taken
        return taken


class PrefillPace:
    """Finds the number of symbols from the time that passes take.

    What passes leave unread is saved, up to so much, for short prompts, which are then read at
    once: they cost the others one long pass and not several, and answer sooner.
    """

    def __init__(self) -> None:
        self._symbols = float(_FIRST)
        self._saved = float(_MOST_SAVED)
        self._writing_seconds: float | None = None  # of a pass that reads nothing
        self._unprobed = 0

    def room(self, *, writing: bool) -> Room:
        """What the next pass may read; ``writing``: some rows write in it."""
        if not writing:
            return Room(PREFILL_SYMBOLS)
        if self._writing_seconds is None or self._unprobed >= _PASSES_BETWEEN_PROBES:
            return Room(0, int(self._saved))  # what a pass takes without
        return Room(int(self._symbols), int(self._saved))

    def observe(self, seconds: float, *, read: int, writing: bool) -> None:
        """Take in how long a pass took that read so many symbols."""
        if not writing:
            return
        self._saved += self._symbols - read
        self._saved = min(max(self._saved, 0.0), _MOST_SAVED)
        if not read:
            before = self._writing_seconds
            newest = seconds if before is None else _mixed(before, seconds)
            self._writing_seconds, self._unprobed = newest, 0
        elif self._writing_seconds is not None:
            self._unprobed += 1
            added = max(seconds - self._writing_seconds, 1e-9)
            fitting = read * _SHARE * self._writing_seconds / added
            # Passes differ, and a few symbols cost little more than none: in small steps.
            fitting = min(max(fitting, self._symbols / 2), self._symbols * 1.25)
            self._symbols = min(max(fitting, _FEWEST), PREFILL_SYMBOLS)


def _mixed(before: float, newest: float) -> float:
    return (1 - _NEWEST_WEIGHT) * before + _NEWEST_WEIGHT * newest
