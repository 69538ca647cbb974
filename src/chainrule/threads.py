"""How many threads to use: those the user wants, fewer while other programs want the cores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from chainrule.errors import at_least

VARIABLE = "OMP_NUM_THREADS"
"""The environment variable that limits the threads of NumPy and PyTorch, too, and that joblib
sets for its processes.
"""


def available() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def most_threads(threads: int | None = None) -> int:
    """The most threads to use: these, else what OMP_NUM_THREADS says, else one for each core.

    Raises SettingError for a number less than 1.
    """
    if threads is not None:
        return at_least(f"{threads!r} threads: pass a number, at least 1", threads, 1)
    first = os.environ.get(VARIABLE, "").partition(",")[0].strip()  # the others are for nested threads
    return min(int(first), available()) if first.isdecimal() and int(first) else available()


class Backoff:
    """Whether to use several threads, or one for a while, after other programs hindered them.

    Several threads wait for each other many times in a step: where one is preempted, all are. After
    they were hindered they pause, each time twice as long, until they run unhindered again.
    """

    FIRST, LONGEST = 0.25, 8.0
    """Seconds of the first and of the longest pause."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._pause, self._until = clock, 0.0, 0.0

    @property
    def is_over(self) -> bool:
        """Whether several threads may be used."""
        return self._clock() >= self._until

    def observe(self, hindered: bool) -> None:
        """Take note of how several threads ran."""
        now = self._clock()
        if hindered:
            self._pause = min(max(2 * self._pause, self.FIRST), self.LONGEST)
            self._until = now + self._pause
        elif now - self._until > self._pause:
            self._pause = 0.0


BACKOFF = Backoff()
"""That of this process: all its engines share the cores with the same programs."""
