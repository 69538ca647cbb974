"""`teachers`: which training rows lowered a sample's loss over a training, and which raised it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.arrays import Array, Samples
from chainrule.data import Data, Dataset
from chainrule.errors import DataError, at_least, unknown
from chainrule.influence.approximation import Approximation, approximate
from chainrule.influence.subject import Subject, subject_of, values_of
from chainrule.influence.walk import RULES, Effects, Walk
from chainrule.runs import Run
from chainrule.threads import undivided
from chainrule.training import Timeline

Progress = Callable[[int, int], Any]
"""Called with how many steps are done, and how many there are; False ends the computation there."""

MOST_ON_DISK = 1_000_000
"""The most rows on a disk whose effects are followed through all steps."""


@dataclass(frozen=True, eq=False)
class Teachers:
    """The change of a loss over a training, split over the training rows.

    `loss_end` - `loss_start` is the sum of the rows' effects, of all `parts`, of the `remainder`
    and of `rounding`. A negative effect lowered the loss: the row helped.

    Attributes:
        name: whose loss it is, such as "row 5 of new.csv"
        shown: its target and what is predicted, in words; empty for several samples
        first, stop: the steps that are covered, from `first` to `stop` - 1; `first` is 0 unless the
            computation was interrupted
        loss_start: the loss before step `first`
        loss_end: the loss after step `stop` - 1, of the weights that predict
        effects: (training samples,) how far each training sample changed the loss
        rows: (training samples,) their rows in the data as it was read, counted from 1; of arrays
            in the arrays
        targets: (training samples,) their targets, as the user's
        parts: what belongs to no row: "weight decay", "penalties", "statistics" (BatchNorm's
            running ones), on the live page weights "set by hand"; where steps are missing "earlier
            steps", which acted through the optimizer's state
        remainder: what is not linear in each step's change of the weights, summed over the steps
        remainders: (steps,) the same for each step
        losses: (steps + 1,) the loss before each step, and after the last
        rounding: by how much the updates of training, in its precision, changed the loss otherwise
            than these sums in float64
        rule: which slope split each step's change, one of RULES
        is_single: whether it is the loss of one sample
        finds_errors: whether it is that of the rows predicted right, so that the most harmful rows
            are probable label errors
        approximation: the usual approximation, if it was asked for
    """

    name: str
    shown: str
    first: int
    stop: int
    loss_start: float
    loss_end: float
    effects: Array
    rows: Array
    targets: list[Any]
    parts: dict[str, float]
    remainder: float
    remainders: Array
    losses: Array
    rounding: float
    rule: str = RULES[0]
    is_single: bool = True
    finds_errors: bool = False
    approximation: Approximation | None = None

    @property
    def change(self) -> float:
        """The change of the loss over the steps that are covered."""
        return self.loss_end - self.loss_start

    @property
    def is_complete(self) -> bool:
        """Whether all steps are covered."""
        return self.first == 0

    @cached_property
    def order(self) -> Array:
        """(training samples,) their numbers, the most helpful first and the most harmful last."""
        return np.argsort(self.effects, kind="stable")

    @property
    def helpful(self) -> Array:
        """The numbers of the samples that lowered the loss, the most helpful first."""
        return self.order[self.effects[self.order] < 0]

    @property
    def harmful(self) -> Array:
        """The numbers of the samples that raised the loss, the most harmful first."""
        return self.order[::-1][self.effects[self.order[::-1]] > 0]

    def as_json(self, most: int | None = None) -> dict[str, Any]:
        """As JSON.

        Args:
            most: how many helpful rows are listed, and how many harmful ones, with the sum of the
                others; None for all rows
        """
        listed, approximate = self.order, self.approximation
        if most is not None:
            listed = np.concatenate([self.helpful[:most], self.harmful[:most][::-1]])
        others = np.delete(self.effects, listed)
        found: dict[str, Any] = {
            "of": self.name, "shown": self.shown, "steps": {"first": self.first, "stop": self.stop},
            "rule": self.rule, "loss_start": self.loss_start, "loss_end": self.loss_end,
            "rows": [self._row(k, approximate) for k in listed.tolist()],
            "rest": {"count": len(others), "effect": float(others.sum())},
            "parts": self.parts, "remainder": self.remainder, "rounding": self.rounding,
        }  # fmt: skip
        if approximate is not None:
            found["approximation"] = {
                "checkpoints": list(approximate.steps), "error": approximate.error,
                "scale": approximate.scale, "scaled_error": approximate.scaled_error,
                "correlation": approximate.correlation, "rank_correlation": approximate.rank_correlation,
                "shared": approximate.shared,
                "effect": float(approximate.effects.sum()),
            }  # fmt: skip
        return found

    def _row(self, number: int, approximate: Approximation | None) -> dict[str, Any]:
        row = {
            "row": int(self.rows[number]), "sample": number, "target": self.targets[number],
            "effect": float(self.effects[number]),
        }  # fmt: skip
        return row if approximate is None else {**row, "approximate": float(approximate.effects[number])}


def teachers(
    run: Run | str | Path,
    what: Data | Samples | None = None,
    row: int | None = None,
    *,
    part: str | None = None,
    data: Data | Dataset | None = None,
    rule: str = RULES[0],
    checkpoints: int | None = None,
    progress: Progress | None = None,
) -> Teachers:
    """Which training rows lowered a loss over the whole training, and which raised it.

    The change of the loss in each step is split over the samples of its mini-batch (Pruthi et al.,
    2020, the idealized definition), in proportion to how far each sample's share of the update goes
    along the slope of the loss. What an optimizer carries into later steps counts for the sample
    that it comes from. What is not linear in a step is the remainder.

    Ctrl-C ends the computation, which goes from the last step to the first, with what is known: the
    result covers the steps that are done.

    Args:
        run: the run, or its folder
        what: the samples whose mean loss it is, with targets, in a form that `evaluate` takes; by
            default the run's own data
        row: the row of the data whose loss it is, counted from 1; by default the mean over all
        part: the set of the run's own data whose mean loss it is, "validation", "test" or
            "training"; by default the rows of the validation and of the training set that are
            predicted right after the best epoch, with half of the weight each: the most harmful
            rows are then probable label errors. Of each set at most 500 are taken, evenly spaced
        data: the run's own data, in a form of `Run.own_data`, if no file holds it or it is loaded
        rule: which slope of the loss splits a step's change: "trapezoid" for the mean of those
            before and after the step; "first-order" for the one before it, whose remainder is
            larger
        checkpoints: approximate the effects from so many checkpoints, too
        progress: called with how many steps are done, and how many there are; False ends the
            computation there, as Ctrl-C does

    Raises:
        RunError: for a run without steps, and where the loss is not finite
        DataError: where there is no such row or set, or other data than the run's
        SettingError: for arguments that exclude each other

    Examples:
        >>> import chainrule, tempfile
        >>> folder = tempfile.mkdtemp() + "/iris"
        >>> callbacks = [chainrule.Recorder(folder)]
        >>> trained = chainrule.train("8 tanh", "iris", epochs=5, dtype="float64", callbacks=callbacks)
        >>> found = teachers(folder, "iris", row=5)
        >>> parts = found.effects.sum() + sum(found.parts.values()) + found.remainder
        >>> bool(abs(parts - found.change) < 1e-9)
        True
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if rule not in RULES:
        raise unknown("rule", rule, RULES)
    if checkpoints is not None:
        at_least(f"{checkpoints!r} checkpoints: pass their number, at least 1", checkpoints, 1)
    run.require_steps()
    stop = last_step(run)
    own = run.own_data(data)
    if own.on_disk and len(own.training.x) > MOST_ON_DISK:
        what = f"the effects of {len(own.training.x):,} rows on a disk, through all steps, can't be followed"
        raise DataError(f"{run.folder}: {what}; train on at most {MOST_ON_DISK:,} rows to ask for them")
    subject, timeline = subject_of(run, own, what, row, part), run.timeline(own)
    found = follow(timeline, subject, stop, rule=rule, progress=progress)
    rows = np.arange(len(found.effects)) if own.rows is None else own.rows
    found = replace(found, rows=np.asarray(rows) + 1, targets=targets_of(own))
    if checkpoints is None or not found.is_complete:
        return found
    return replace(found, approximation=approximate(timeline, subject, stop, checkpoints, found.effects))


def last_step(run: Run) -> int:
    """The step after the last one that the weights of the run come from: after early stopping, the
    last of the best epoch.
    """
    trained = run.trained
    best, plan = trained.progress.best, trained.plan
    if best is None or plan.patience is None:
        return run.manifest["steps"]
    return best.epoch * plan.steps_per_epoch(run.data["rows"]["training"])


def follow(
    timeline: Timeline, subject: Subject, stop: int, first: int = 0, rule: str = RULES[0],
    progress: Progress | None = None,
) -> Teachers:  # fmt: skip
    """The effects of steps `first` to `stop` - 1 on a subject's loss, by rows of the training set.

    Ctrl-C ends it with those of the steps from the last one down that are done.
    """
    count = len(timeline.samples.y)
    total, steps = _Total(np.zeros(count)), list[Effects]()
    try:
        with undivided():
            for step in Walk(timeline, subject, rule).steps(first, stop):
                steps.append(step._replace(effects=np.empty(0)))
                total = total.plus(step)
                if progress is not None and progress(stop - step.step, stop - first) is False:
                    break
    except KeyboardInterrupt:
        if not total.steps:
            raise
    done = steps[: total.steps][::-1]
    effects, parts, linear = total.effects, dict(total.parts), total.linear
    losses = np.array([*(step.loss for step in done), done[-1].loss + done[-1].change])
    rounding = linear - effects.sum() - sum(parts.values())
    if any(step.statistics for step in done):
        parts["statistics"] = math.fsum(step.statistics for step in done)
    if any(step.edited for step in done):
        parts["set by hand"] = math.fsum(step.edited for step in done)
    if done[0].step > 0:  # what came from steps before is not known apart from the rounding
        parts["earlier steps"], rounding = rounding, 0.0
    remainders = np.array([step.remainder for step in done])
    return Teachers(
        subject.name, subject.shown, done[0].step, stop, float(losses[0]), float(losses[-1]), effects,
        np.arange(count), [None] * count, parts, math.fsum(remainders), remainders, losses, rounding, rule,
        len(subject.samples.y) == 1, subject.judges,
    )  # fmt: skip


@dataclass(frozen=True)
class _Total:
    """The sum over steps. It is replaced as a whole, so wherever Ctrl-C strikes, it is of whole
    steps.

    Attributes:
        effects: (training samples,) the rows' effects
        parts: what belongs to no row
        linear: the linear part of the change
        steps: how many steps
    """

    effects: Array
    parts: Mapping[str, float] = field(default_factory=dict)
    linear: float = 0.0
    steps: int = 0

    def plus(self, step: Effects) -> _Total:
        effects, parts = self.effects.copy(), dict(self.parts)
        np.add.at(effects, step.rows, step.effects)
        for name, part in step.parts.items():
            parts[name] = parts.get(name, 0.0) + part
        return _Total(effects, parts, self.linear + step.linear, self.steps + 1)


def targets_of(data: Dataset) -> list[Any]:
    """The targets of the training samples as they were read; None for those at positions."""
    source, target = data.source, data.target
    if source is None or source.target is None or data.rows is None or target.positions or target.season:
        return values_of(target, np.concatenate([np.asarray(chunk.y) for chunk in data.training.chunks()]))
    values = source.target[np.asarray(data.rows)]
    return (values.reshape(len(values)) if values.size == len(values) else values).tolist()
