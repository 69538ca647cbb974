"""What a page asks that takes long, such as a replay of all steps: computed in a thread of its own.

A page may ask faster than anyone can answer. So of each kind of question only the newest is
computed, one at a time: a new one closes that before it, which ends at its next report of progress.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

from chainrule.errors import ChainruleError

EVERY = 0.3
"""Seconds between two messages about how far it is."""


class ClosedError(Exception):
    """The page asked for something else."""


class Question:
    """What a page asked: a computation that goes on until it is complete or closed.

    Args:
        changed: called from another thread whenever there is something new to tell

    Attributes:
        done: how far it is, such as how many steps are replayed
        problem: why it can't be computed; empty if it can
    """

    def __init__(self, changed: Callable[[], object]) -> None:
        self.done, self.problem = 0, ""
        self._changed, self._told, self._closed = changed, 0.0, threading.Event()

    def close(self) -> None:
        """Stop computing."""
        self._closed.set()

    def compute(self) -> None:
        """Compute it."""
        raise NotImplementedError

    def progress(self, done: int) -> bool:
        """Tell how many steps are done, now and then. Whether to go on."""
        self.done = done
        if time.monotonic() - self._told > EVERY:
            self._told = time.monotonic()
            self._changed()
        return not self._closed.is_set()

    def check(self, done: int) -> None:
        """Tell how far it is, now and then. Raises ClosedError once it is closed."""
        if not self.progress(done):
            raise ClosedError

    def message(self) -> dict[str, Any]:
        """The message to the page: the answer or, before it is there, how far it is."""
        raise NotImplementedError

    def run(self) -> None:
        """Compute it, or say why that is impossible."""
        try:
            with np.errstate(all="ignore"):
                self.compute()
        except (ClosedError, KeyboardInterrupt):  # a replay in several threads ends itself so
            return
        except ChainruleError as error:
            self.problem = str(error)
        except Exception:  # a bug must not go unnoticed
            logging.getLogger(__name__).exception("a page's question failed")
            self.problem = "chainrule itself failed; see the terminal for details"
        self._changed()


Q = TypeVar("Q", bound=Question)


class Newest(Generic[Q]):
    """Computes the newest of a page's questions of one kind, in a thread.

    Attributes:
        question: the newest; None before the first, and after `forget`
    """

    def __init__(self) -> None:
        self.question: Q | None = None
        self._lock, self._computes = threading.Lock(), False

    def ask(self, question: Q) -> None:
        """Close the question before, and compute this one as soon as that has ended."""
        with self._lock:
            self.close()
            self.question, begins, self._computes = question, not self._computes, True
        if begins:
            threading.Thread(target=self._compute, daemon=True).start()

    def close(self) -> None:
        """Stop computing; what is known by then stays."""
        if self.question is not None:
            self.question.close()

    def forget(self) -> None:
        """Stop computing, and keep nothing."""
        with self._lock:
            self.close()
            self.question = None

    def _compute(self) -> None:
        computed: Q | None = None
        while True:
            with self._lock:
                question = self.question
                if question is None or question is computed:
                    self._computes = False
                    return
            question.run()
            computed = question
