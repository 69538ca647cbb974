"""How many threads to use: those the user wants, fewer while other programs want the cores; and
work that is done in threads.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Lock, Thread
from typing import Generic, TypeVar

from chainrule.errors import is_integer, require

VARIABLE = "OMP_NUM_THREADS"
"""The environment variable that limits the threads of NumPy and PyTorch, too, and that joblib
sets for its processes.
"""

MOST = 1024
"""The most threads that can be asked for: each takes memory of its own."""


def available() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def most_threads(threads: int | None = None) -> int:
    """The most threads to use: these, else what OMP_NUM_THREADS says, else one for each core.

    Raises SettingError for a number less than 1 or more than MOST.
    """
    if threads is not None:
        allowed = is_integer(threads) and 1 <= threads <= MOST
        require(allowed, f"{threads!r} threads: pass a number from 1 to {MOST}")
        return int(threads)
    first = os.environ.get(VARIABLE, "").partition(",")[0].strip()  # the others are for nested threads
    return min(int(first), available()) if first.isdecimal() and int(first) else available()


class Backoff:
    """Whether to use several threads, or one for a while, after other programs hindered them.

    Several threads wait for each other many times in a step: where one is preempted, all are. After
    they were hindered they pause, each time twice as long, until they run unhindered again.
    """

    FIRST, LONGEST = 0.02, 8.0
    """Seconds of the first and of the longest pause."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.forget()

    def forget(self) -> None:
        """Use several threads again, as if they had never been hindered."""
        self._pause = self._until = 0.0

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


One = TypeVar("One")
Result = TypeVar("Result")

PIECE = 64
"""How many things a thread is given at a time, at most."""


def in_threads(function: Callable[[One], Result], of: Sequence[One]) -> list[Result]:
    """function(one) for each, computed in threads; raises what the first that fails raises."""
    count = most_threads()
    size = max(1, min(PIECE, len(of) // (4 * count)))
    if count == 1 or len(of) <= 1:
        return [function(one) for one in of]
    pieces = [of[k : k + size] for k in range(0, len(of), size)]
    with ThreadPoolExecutor(count) as pool:
        return [result for results in pool.map(lambda piece: [*map(function, piece)], pieces) for result in results]


class _Undivided:
    """How many blocks of code want undivided products, and how to allow threads again."""

    users, lock, restore = 0, Lock(), ExitStack()


@contextmanager
def undivided() -> Iterator[None]:
    """Within the block NumPy's BLAS takes one thread for a matrix product.

    Its threads wait for each other, spinning, in every product. Where whole computations can run
    in threads instead (`in_threads`), that is faster, several times on a busy machine.
    """
    from threadpoolctl import threadpool_limits

    with _Undivided.lock:
        if not _Undivided.users:
            _Undivided.restore.enter_context(threadpool_limits(1, "blas"))
        _Undivided.users += 1
    try:
        yield
    finally:
        with _Undivided.lock:
            _Undivided.users -= 1
            if not _Undivided.users:
                _Undivided.restore.close()


class Coming(Thread, Generic[One, Result]):
    """function(one), computed in a thread of its own.

    For generators, instead of an executor: where a generator is abandoned, the garbage collector
    would close its executor, perhaps while another thread starts, and wait for a lock that this one
    holds.
    """

    def __init__(self, function: Callable[[One], Result], one: One) -> None:
        super().__init__()
        self._function, self._one = function, one
        self._found: list[Result] = []
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._found.append(self._function(self._one))
        except BaseException as error:
            self._error = error

    def result(self) -> Result:
        """The result, when it is there; raises what the function raised."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._found.pop()


def ahead(function: Callable[[One], Result], of: Iterable[One]) -> Iterator[Result]:
    """function(one) for each, in order, the next in a thread while the one before it is used."""
    coming = (Coming(function, one) for one in of)
    current = next(coming, None)
    while current is not None:
        result, current = current.result(), next(coming, None)
        yield result
