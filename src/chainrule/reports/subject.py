"""What a report is about: a run, its data if that is there, and what several sections need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from chainrule.arrays import Array, Samples
from chainrule.data import Data, Dataset
from chainrule.errors import ChainruleError, DataError
from chainrule.runs import Run, Trained
from chainrule.runs.predictions import HeldOut
from chainrule.runs.run import Checkpoints
from chainrule.training.report import Report

POINTS, MOST_BYTES = 40, 48_000_000
"""The most points of the path through the weights, and the most bytes that they take."""
MOST_IN_MEMORY = 50_000
"""The most rows of each set that are looked at if they are on a disk, evenly spaced."""
ENOUGH = 12
"""From so many checkpoints on no step is replayed for the path."""


def _silent(words: str) -> None:
    """Shows no progress."""


@dataclass(frozen=True)
class Subject:
    """A run and its data.

    Attributes:
        run: the run
        data: what it was trained on; None if that is missing
        missing: why it is missing; empty if it is there
        tell: called with what is being done
    """

    run: Run
    data: Dataset | None = None
    missing: str = ""
    tell: Callable[[str], None] = field(default=_silent, repr=False)

    @staticmethod
    def of(run: Run, data: Data | Dataset | None = None, tell: Callable[[str], None] = _silent) -> Subject:
        """The run with its data. Data that is passed must be the run's own; data that is recorded
        may be missing.
        """
        if data is not None:
            return Subject(run, run.own_data(data), tell=tell)
        tell("reading the data")
        try:
            return Subject(run, run.load_data(), tell=tell)
        except ChainruleError as error:
            return Subject(run, missing=str(error), tell=tell)

    @property
    def trained(self) -> Trained:
        """The trained network."""
        return self.run.trained

    @property
    def whole(self) -> Dataset:
        """The data; raises DataError if it is missing."""
        if self.data is None:
            raise DataError(self.missing)
        return self.data

    @cached_property
    def part(self) -> str:
        """What quality is measured on: the test set, without one the validation set, or else the
        training set.
        """
        sizes = self.whole.sizes
        return next(name for name in ("test", "validation", "training") if sizes[name])

    @cached_property
    def samples(self) -> Samples:
        """The samples of that part that are looked at one by one: all that are in memory."""
        samples: Samples = getattr(self.looked_at, self.part)
        return samples

    @cached_property
    def looked_at(self) -> Dataset:
        """The data, of sets on a disk at most MOST_IN_MEMORY rows."""
        return self.whole.thinned(MOST_IN_MEMORY)

    @cached_property
    def rows(self) -> Array | None:
        """(samples,) their rows in the source, from 0; None if they are unknown."""
        data = self.looked_at
        return {"test": data.test_rows, "validation": data.validation_rows, "training": data.rows}[self.part]

    @cached_property
    def quality(self) -> Report:
        """How good the predictions of that part are."""
        self.tell(f"measuring on the {self.part} set")
        return replace(self.trained, data=self.whole).report(getattr(self.whole, self.part))

    @cached_property
    def predicted(self) -> HeldOut:
        """The predictions of that part, and the truth."""
        data = replace(self.looked_at, test=self.samples, test_rows=self.rows)
        return self.trained.held_out("test", data)

    @cached_property
    def losses(self) -> Array:
        """(samples,) the loss of each sample of that part, without weights and penalties."""
        plan, samples = self.trained.plan, self.samples
        outputs = self.trained.raw(samples)
        y = np.asarray(samples.y)
        with np.errstate(all="ignore"):  # of a network that diverged they are infinite
            return np.array([plan.loss.value(outputs[[k]], y[[k]]) for k in range(len(y))])

    @cached_property
    def path(self) -> tuple[Array, Array]:
        """Where the weights were: (points,) steps and (points, weights), ascending, with the end.

        Checkpoints are read; of a run that has few, some steps are replayed.
        """
        run, size = self.run, self.trained.plan.network.parameters.size
        most = max(ENOUGH, min(POINTS, MOST_BYTES // (8 * size)))
        last = run.manifest["steps"]
        end = self.trained.progress.position.parameters
        self.tell("following the path of the weights")
        if len(run.checkpoints) >= ENOUGH or self.data is None:
            steps = _thinned([step for step in run.checkpoints if step < last], most)
            points = [Checkpoints(run)[step].parameters for step in steps]
        else:
            steps = sorted({round(k) for k in np.linspace(0, last - 1, min(most, last))}) if last else []
            points = [record.before.parameters for record in run.each(steps, self.data)]
        return np.array([*steps, last]), np.array([*points, end], dtype=np.float64)


def _thinned(steps: list[int], most: int) -> list[int]:
    """At most so many of the steps, with the first."""
    return sorted({steps[round(k)] for k in np.linspace(0, len(steps) - 1, min(len(steps), most))}) if steps else []
