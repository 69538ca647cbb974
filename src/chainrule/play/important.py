"""Which columns the predictions of the network on a page depend on, over the held-out rows.

Each column is permuted many times, so this is computed in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.attribution import Importances, importance
from chainrule.attribution.heat import bar, heat_map, is_picture
from chainrule.attribution.permutation import affordable, columns_of
from chainrule.errors import require
from chainrule.explain.html import Html, table
from chainrule.play.reasons import trained_of
from chainrule.play.replaying import Question
from chainrule.play.trainer import Trainer
from chainrule.training import history

MOST = 20
"""The most columns that are listed."""


class Important(Question):
    """The permutation importance of each column, as it is computed.

    Args:
        trainer: the training
        changed: called from another thread whenever `message` has something new

    Raises:
        SettingError: without held-out rows
    """

    def __init__(self, trainer: Trainer, changed: Callable[[], object]) -> None:
        super().__init__(changed)
        held = trainer.data.validation
        require(held is not None, "there are no held-out rows, on which importance is measured")
        assert held is not None
        self._trained, self._held, self._step = trained_of(trainer), held, trainer.step
        self._of = 0
        self._found: Importances | None = None

    def compute(self) -> None:
        """Measure it, unless closed before that is complete."""

        def progress(done: int, of: int) -> None:
            self._of = of
            self.check(done)

        samples, repeats = affordable(self._trained, self._held)
        self._found = importance(self._trained, samples, repeats=repeats, progress=progress)

    def message(self) -> dict[str, Any]:
        """The message to the page: the result or, before it is there, how far it is."""
        about = {"type": "importance", "step": self._step, "done": self.done, "of": self._of, "problem": self.problem}
        found = self._found
        if found is None:
            return {**about, "line": "", "html": ""}
        ((name, value),) = found.metrics.items()
        repeats = len(found.columns[0].repeats)
        label = history.label(name, self._trained.target)
        line = (
            f"The {label} on {found.samples:,} held-out rows is {history.number(name, value)}. By how much does it get"
            f" worse when the values of one column are exchanged between the rows at random? The mean of {repeats}"
            f" exchange{'s' * (repeats > 1)}, with the standard deviation:"
        )
        return {**about, "line": line, "html": self._picture(found) + self._table(found)}

    def _picture(self, found: Importances) -> str:
        """The importance of each block of a picture, over the mean picture."""
        x = np.asarray(self._held.x)
        preparation = self._trained.preparation
        if preparation is None or preparation.kind != "pictures" or not is_picture(x.shape[1:]):
            return ""
        blocks = columns_of(preparation, x.shape[1:])
        flat: Array = np.zeros(int(np.prod(x.shape[1:])))
        for one in found.columns:
            flat[blocks[one.column]] = one.mean
        return heat_map(flat.reshape(x.shape[1:]), x.mean(axis=0), "the importance of each block of pixels")

    def _table(self, found: Importances) -> str:
        own, name = found.columns, next(iter(found.metrics))
        largest = max(abs(one.mean) for one in own)
        rows = []
        for one in own[:MOST]:
            spread = "" if one.deviation is None else f"± {history.number(name, one.deviation)}"
            rows.append([one.column, history.number(name, one.mean), spread, Html(bar(one.mean, largest))])
        left = len(own) - MOST
        more = f"<p>and {left:,} less important ones</p>" if left > 0 else ""
        return table(["column", "worse by", "deviation", " "], rows) + more
