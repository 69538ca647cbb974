"""Why the network on a page predicts what it does for a sample.

It takes seconds, and for a convolutional network more, so this is computed in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.attribution import Why, why
from chainrule.attribution.page import content
from chainrule.attribution.text import head
from chainrule.data import Prepared
from chainrule.errors import require
from chainrule.play.replaying import Question
from chainrule.play.trainer import Trainer
from chainrule.runs import Trained
from chainrule.training.loop import Progress


class Reasons(Question):
    """What each input adds to a prediction at the present weights, and what would change it.

    Args:
        trainer: the training
        row: the training sample, by its row in the training set; None for the one that the user
            drew
        changed: called from another thread whenever `message` has something new

    Raises:
        SettingError: for a row that there is not, and without a drawing
    """

    def __init__(self, trainer: Trainer, row: int | None, changed: Callable[[], object]) -> None:
        super().__init__(changed)
        data, own = trainer.data, trainer.own
        self._trained = trained_of(trainer)
        self._step, self._is_same_in_use = trainer.step, trainer.is_same_in_use
        self._row = row
        self._of: tuple[Any, int]
        if row is None:
            require(own is not None and own.row is None, "there is no drawing to explain; draw a digit first")
            assert own is not None
            self._of, self._words = (np.asarray(own.x, np.float32).view(Prepared), 1), "the digit that you drew"
        else:
            count = len(data.training.y)
            require(0 <= row < count, f"there is no row {row} in the training set; it has {count:,}")
            known = data.source is not None and data.rows is not None
            self._of = (data if known else data.training), trainer.number_of(row) if known else row + 1
            self._words = f"row {self._of[1]:,}"
        self._found: Why | None = None

    def compute(self) -> None:
        """Explain the prediction."""
        self._found = why(self._trained, *self._of, progress=lambda points, _: self.check(points))

    def message(self) -> dict[str, Any]:
        """The message to the page: the explanation or, before it is there, how far it is."""
        found = self._found
        about = {
            "type": "why", "row": self._row, "of": self._words, "step": self._step, "done": self.done,
            "problem": self.problem, "found": None,
        }  # fmt: skip
        if found is None:
            return about
        title, _, line = head(found)
        return {**about, "found": {
            "title": title, "line": line, "html": content(found), "same_in_use": self._is_same_in_use,
        }}  # fmt: skip


def trained_of(trainer: Trainer) -> Trained:
    """The network with its present weights."""
    position, data = trainer.position, trainer.data
    return Trained(
        trainer.plan, data.target, data.preparation, position.parameters.copy(), position.statistics.copy(),
        Progress(position), data, threshold=trainer.threshold,
    )  # fmt: skip
