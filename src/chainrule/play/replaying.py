"""What takes long, such as a replay of all steps, and so is computed in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import numpy as np

from chainrule.errors import ChainruleError

EVERY = 0.3
"""Seconds between two messages about how far it is."""


class Replaying:
    """A computation that goes on until it is complete or closed.

    Args:
        changed: called from another thread whenever there is something new to tell

    Attributes:
        done: how many steps, or other parts of the work, are done
        problem: why it can't be computed; empty if it can
    """

    def __init__(self, changed: Callable[[], object]) -> None:
        self.done, self.problem = 0, ""
        self._changed, self._told, self._closed = changed, 0.0, threading.Event()

    def begin(self) -> None:
        """Begin to compute."""
        threading.Thread(target=self._run, daemon=True).start()

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

    def _run(self) -> None:
        try:
            with np.errstate(all="ignore"):
                self.compute()
        except ChainruleError as error:
            self.problem = str(error)
        except Exception:  # a bug must not go unnoticed
            logging.getLogger(__name__).exception("a computation in a thread failed")
            self.problem = "chainrule itself failed; see the terminal for details"
        self._changed()
