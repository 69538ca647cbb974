"""Who taught a sample: which rows of the training set lowered its loss in the steps so far.

All steps are replayed, so this is computed in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.errors import require
from chainrule.influence import Teachers
from chainrule.influence.subject import Subject, worded
from chainrule.influence.teaching import follow, last_step, targets_of
from chainrule.play.replaying import Question
from chainrule.play.trainer import Trainer
from chainrule.training import Timeline

MOST = 8
"""How many helpful rows are shown, and how many harmful ones."""
MOST_CELLS = 6
"""How many values of a row of a table are shown."""


class Taught(Question):
    """The effects of all training rows on one of them, as they are computed.

    Args:
        trainer: the training; of a recorded run all its steps count, of others those so far
        row: the training sample, by its row in the training set
        changed: called from another thread whenever `message` has something new

    Raises:
        SettingError: for a row that there is not, and before the first step
    """

    def __init__(self, trainer: Trainer, row: int, changed: Callable[[], object]) -> None:
        super().__init__(changed)
        samples, run = trainer.data.training, trainer.run
        require(0 <= row < len(samples.y), f"there is no row {row} in the training set; it has {len(samples.y):,}")
        self._stop = trainer.step if run is None else last_step(run)
        require(self._stop > 0, "no row has taught the network yet: let it take some steps first")
        self.row = row
        plan, network = trainer.plan, trainer.plan.network
        self._subject = Subject(f"row {row}", samples.take(np.array([row])), network, plan.loss)
        self._timeline = timeline_of(trainer)
        self._rows = Rows(trainer)
        self._found: Teachers | None = None

    def compute(self) -> None:
        """Find them; if closed, of the steps that were replayed by then."""
        self._found = follow(self._timeline, self._subject, self._stop, progress=lambda done, _: self.progress(done))

    def message(self) -> dict[str, Any]:
        """The message to the page: the result or, before it is there, how many steps are done."""
        about = {
            "type": "taught",
            "row": self.row,
            "of": self._rows.about(self.row),
            "done": self.done,
            "steps": self._stop,
        }
        found = self._found
        if found is None:
            return {**about, "problem": self.problem, "found": None}
        sums = [
            [f"{len(found.helpful):,} rows that lowered it", float(found.effects[found.helpful].sum())],
            [f"{len(found.harmful):,} rows that raised it", float(found.effects[found.harmful].sum())],
            *([name, float(part)] for name, part in found.parts.items()),
            ["remainder (not linear in a step)", found.remainder], ["rounding", found.rounding],
            ["change of the loss", found.change],
        ]  # fmt: skip
        helpful, harmful = (self._shown(found.effects, some[:MOST]) for some in (found.helpful, found.harmful))
        result = {
            "first": found.first, "loss_start": found.loss_start, "loss_end": found.loss_end, "sums": sums,
            "helpful": helpful, "harmful": harmful,
            "rest": [_rest(found.effects, some) for some in (found.helpful, found.harmful)],
        }  # fmt: skip
        return {**about, "problem": "", "found": result}

    def _shown(self, effects: Array, numbers: Array) -> list[dict[str, Any]]:
        return [{**self._rows.about(k), "effect": float(effects[k])} for k in numbers.tolist()]


def _rest(effects: Array, numbers: Array) -> list[float]:
    """How many rows are not shown, and what they add up to."""
    rest = numbers[MOST:]
    return [len(rest), float(effects[rest].sum())]


def timeline_of(trainer: Trainer) -> Timeline:
    """The steps of a training, for another thread: of a run all, of others those so far."""
    own = trainer.timeline
    if trainer.run is not None:
        return trainer.run.timeline(trainer.data)
    return Timeline(trainer.data.training, list(own.plans), dict(trainer.checkpoints), own.history)


class Rows:
    """The rows of a training set, as the page shows them.

    Args:
        trainer: the training
    """

    def __init__(self, trainer: Trainer) -> None:
        self._data, self._points = trainer.data, trainer.samples.points
        self._targets = targets_of(trainer.data)

    def about(self, number: int) -> dict[str, Any]:
        """What a training sample is: its picture, its point in the plane, or the cells of its row;
        and its target.
        """
        data = self._data
        about: dict[str, Any] = {
            "row": number,
            "read": None if data.rows is None else int(data.rows[number]) + 1,
            "target": _short(self._targets[number]),
        }
        sample = data.sample(number)
        if self._points is not None:
            about["point"] = [float(x) for x in self._points[number]]
        elif sample is not None and sample.picture is not None and sample.picture.ndim == 2:
            about["picture"] = _picture(sample.picture)
        elif sample is not None and sample.values is not None:
            cells = [[str(name), _short(value)] for name, value in sample.values.items() if name != sample.target_name]
            about["cells"] = cells[:MOST_CELLS]
        return about


def _picture(picture: Array) -> dict[str, Any]:
    """A picture's shape and the darkness of its pixels, in [0, 1]."""
    ink = np.ravel(picture).astype(float)
    ink = (ink - ink.min()) / ((ink.max() - ink.min()) or 1.0)
    return {"shape": list(picture.shape), "ink": [round(x, 3) for x in ink.tolist()]}


def _short(value: Any) -> str:
    """A value in a few characters."""
    text = "" if value is None else worded(value)
    return text if len(text) <= 24 else f"{text[:22]}..."
