"""The life of a weight, from its draw through every update to the end, and who moved it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Data, Dataset
from chainrule.errors import DataError
from chainrule.influence.draw import Draw, draw_of
from chainrule.influence.reading import Progress, Spread, read
from chainrule.influence.rounded import Rounded
from chainrule.runs import Run
from chainrule.summary import Shown, Summary, Table
from chainrule.threads import undivided
from chainrule.training import Timeline

MOST_USES = 20_000_000
"""How often samples on a disk may be used in the steps of a life: a use takes about 100 bytes."""
MOST = 20
"""How many samples are listed, by default."""
EPOCHS = 10
"""How many stretches of epochs are told apart, at most."""
ROUNDED = "gradients that are 0 but for rounding"
"""The name of what moved a weight such as a bias before a BatchNorm, which subtracts it again."""


class EpochShare(NamedTuple):
    """What an epoch did to the weight.

    Attributes:
        epoch: its number, counted from 1
        steps: how many of its steps were taken
        value: the weight after it
        update: how far it moved the weight
    """

    epoch: int
    steps: int
    value: float
    update: float


class ClassShare(NamedTuple):
    """What the samples of a class did to the weight.

    Attributes:
        name: the class
        samples: how many of them training used
        share: how far they moved the weight
    """

    name: Any
    samples: int
    share: float


class SampleShare(NamedTuple):
    """What a sample did to the weight.

    Attributes:
        row: its row in the data as read, counted from 1
        sample: its number in the training set, counted from 0
        name: its class; None if the target is no class
        steps: in how many steps it was in the mini-batch
        share: how far it moved the weight
    """

    row: int
    sample: int
    name: Any
    steps: int
    share: float


@dataclass(frozen=True, repr=False)
class Life(Shown):
    """The life of a weight.

    A sample's share is how far its part of each step's gradient moved the weight, in that step and,
    with momentum, in later ones: see chainrule.descent.linear for how it passes through each stage
    of the optimizer. The shares of all samples, `others`, `edited`, `rounding` and `remainder` add
    up to `end - draw.value`.

    Attributes:
        weight: its name
        draw: where it began
        end: its value after the last step
        kept: its value in the trained network, which may be that of an earlier epoch, or an average
        kept_of: which value that is, in words, such as "the weights of epoch 28, the best, are
            kept"; empty for that after the last step
        values: (steps,) the weight before each step
        gradients: (steps,) its gradient in each, with the penalties
        updates: (steps,) how far each step moved it
        by_epoch: what each epoch did
        by_class: what the samples of each class did; empty if the target is no class
        samples: every sample that training used, the strongest first; empty if its gradients are 0
            but for rounding
        others: what belongs to no sample: each penalty, weight decay, and gradients that are 0 but
            for rounding (ROUNDED)
        edited: how far it was moved by hand, between steps
        rounding: what rounding made of the subtraction of updates from the weight
        remainder: what is left: the rounding of gradients and of the optimizer's state, and what a
            stage of the user's own makes of a gradient of 0
    """

    weight: str
    draw: Draw
    end: float
    kept: float
    kept_of: str
    values: Array
    gradients: Array
    updates: Array
    by_epoch: Sequence[EpochShare]
    by_class: Sequence[ClassShare]
    samples: Sequence[SampleShare]
    others: Mapping[str, float]
    edited: float
    rounding: float
    remainder: float

    @property
    def moved(self) -> float:
        """How far the weight moved."""
        return self.end - self.draw.value

    @property
    def is_rounded(self) -> bool:
        """Whether the weight's gradients are 0 but for rounding, so that no sample moved it."""
        return ROUNDED in self.others

    @property
    def of_samples(self) -> float:
        """How far all samples together moved it."""
        return math.fsum(sample.share for sample in self.samples)

    @property
    def parts(self) -> dict[str, float]:
        """What `moved` is the sum of."""
        edited = {"edited by hand": self.edited} if self.edited else {}
        ends = {"rounding": self.rounding, "remainder": self.remainder}
        return {"samples": self.of_samples, **self.others, **edited, **ends}

    def epochs(self, most: int = EPOCHS) -> list[tuple[str, EpochShare]]:
        """The epochs in at most so many groups of the same size, each with its name."""
        size = -(-len(self.by_epoch) // most)
        groups = [self.by_epoch[k : k + size] for k in range(0, len(self.by_epoch), size)]
        names = [f"{group[0].epoch}" + (f"-{group[-1].epoch}" if len(group) > 1 else "") for group in groups]
        return [
            (name, group[-1]._replace(steps=sum(e.steps for e in group), update=math.fsum(e.update for e in group)))
            for name, group in zip(names, groups, strict=True)
        ]

    def strongest(self, most: int = MOST) -> tuple[Sequence[SampleShare], float]:
        """The samples with the largest shares, and the sum of the others' shares."""
        return self.samples[:most], math.fsum(sample.share for sample in self.samples[most:])

    def summary(self) -> Summary:
        """Where it began, where it ended, and what moved it."""
        shown, _ = self.strongest(8)
        head = ["row", "class", "steps", "moved it by"]
        rows = [[f"{s.row:,}", "" if s.name is None else str(s.name), str(s.steps), f"{s.share:+.6g}"] for s in shown]
        facts = {"drawn": self.draw.words, "end": f"{self.end:.6g}, after {len(self.updates):,} steps"}
        facts |= {name: f"{value:+.6g}" for name, value in self.parts.items()}
        return Summary(
            self.weight, f"moved by {self.moved:+.6g}", facts, Table("strongest samples", head, rows, "rlrr")
        )

    def as_json(self, most: int = MOST) -> dict[str, Any]:
        """As JSON: with the `most` strongest samples, and `rest` for the others."""
        shown, rest = self.strongest(most)
        return {
            "weight": self.weight,
            "draw": self.draw.value,
            "drawn_from": self.draw.as_json(),
            "end": self.end,
            "kept": self.kept,
            "kept_of": self.kept_of,
            "values": self.values.tolist(),
            "gradients": self.gradients.tolist(),
            "updates": self.updates.tolist(),
            "by_epoch": [one._asdict() for one in self.by_epoch],
            "by_class": [{"class": one.name, "samples": one.samples, "share": one.share} for one in self.by_class],
            "by_sample": [
                {"row": one.row, "sample": one.sample, "class": one.name, "steps": one.steps, "share": one.share}
                for one in shown
            ],
            "rest": {"samples": len(self.samples) - len(shown), "share": rest},
            "others": dict(self.others),
            "edited": self.edited,
            "rounding": self.rounding,
            "remainder": self.remainder,
        }


def life(
    run: Run | str | Path, weight: str, data: Data | Dataset | None = None, progress: Progress | None = None
) -> Life:
    """The life of a weight in a recorded run.

    Args:
        run: the run, or its folder
        weight: the name of the weight, such as "dense_1.W[3, 2]"
        data: the run's data, in a form of `Run.own_data`, if no file holds it or it is loaded
        progress: called with how many steps are read, and of how many

    Raises:
        RunError: for a run without steps, such as an imported one
        SettingError: for an unknown weight
        DataError: for other data than the run's
    """
    run = run if isinstance(run, Run) else Run.open(run)
    layout, steps = run.trained.plan.network.parameters, run.manifest["steps"]
    place = layout.find(weight)
    run.require_steps()
    data = run.own_data(data)
    uses = steps * run.trained.plan.batch_size
    if data.on_disk and uses > MOST_USES:
        what = f"what its {uses:,} samples did to the weight in {steps:,} steps can't be added up in memory"
        raise DataError(f"{run.folder}: {what}; look at single steps instead (chainrule explain)")
    found = life_of(run.timeline(data), data, place, steps, progress)
    kept = float(run.trained.parameters[place])
    return replace(found, kept=kept, kept_of="" if kept == found.end else _kept_of(run))


def _kept_of(run: Run) -> str:
    """Which weights a run's network has, if not those after the last step."""
    trained = run.trained
    averaged = trained.plan.optimizer.average(trained.progress.position.states) is not None
    if trained.progress.best is not None and trained.plan.patience is not None:
        of = "the average of the weights in" if averaged else "the weights of"
        return f"{of} epoch {trained.epoch:,}, the best, {'is' if averaged else 'are'} kept"
    return "the average of the weights over the steps is kept"


def life_of(
    timeline: Timeline, data: Dataset, place: int, steps: int, progress: Progress | None = None
) -> Life:  # fmt: skip
    """The life of the weight at a place of the flat vector, over the first steps of a training.

    Args:
        timeline: the steps
        data: what was trained on
        place: where the weight is
        steps: how many steps; at least 1
        progress: as for `life`
    """
    plan = timeline.plans[0][1]
    spread = read(timeline, place, steps, progress)
    taken = [one.step for one in spread]
    before, after = (np.array([getattr(step, name) for step in taken]) for name in ("before", "after"))
    moves, subtracted = after - before, np.array([step.subtracted for step in taken])
    edited = math.fsum(before[1:] - after[:-1])
    rounding, others = math.fsum([*moves, *subtracted]), _others(spread)
    end, start = float(after[-1]), float(before[0])
    samples = [] if _is_rounded(timeline, place, steps) else _samples(spread, data)
    if not samples:
        others[ROUNDED] = math.fsum([end, -start, *(-value for value in others.values()), -edited, -rounding])
    known = [*(-one.share for one in samples), *(-value for value in others.values()), -edited, -rounding]
    return Life(
        weight=plan.network.parameters.name_of(place),
        draw=draw_of(plan.network, place, float(before[0]), plan.seed),
        end=end,
        kept=end,
        kept_of="",
        values=before,
        gradients=np.array([step.gradient for step in taken]),
        updates=moves,
        by_epoch=_by_epoch(after, moves, plan.steps_per_epoch(len(data.training.x))),
        by_class=_by_class(samples, data),
        samples=samples,
        others=others,
        edited=edited,
        rounding=rounding,
        remainder=math.fsum([end, -start, *known]),
    )


def _is_rounded(timeline: Timeline, place: int, steps: int) -> bool:
    """Whether the weight's gradients are 0 but for rounding, at the first and last checkpoint."""
    for step in sorted({0, max((step for step in timeline.checkpoints if step < steps), default=0)}):
        problem, (record,) = timeline.problem_at(step), timeline.records(timeline.position(step), 1)
        batch, rounded = problem.gather(timeline.samples, record.rows, step), Rounded()
        with undivided(), np.errstate(all="ignore"):
            rounded.look(replace(problem.network, dtype="float64"), record.before, batch, problem.context(step))
        if not np.asarray(rounded.entries)[place]:
            return False
    return True


def _others(spread: Sequence[Spread]) -> dict[str, float]:
    names = dict.fromkeys(name for one in spread for name in one.others)
    return {name: math.fsum(one.others.get(name, 0.0) for one in spread) for name in names}


def _by_epoch(after: Array, moves: Array, length: int) -> list[EpochShare]:
    edges = [*range(0, len(after), length), len(after)]
    return [
        EpochShare(k + 1, stop - start, float(after[stop - 1]), math.fsum(moves[start:stop]))
        for k, (start, stop) in enumerate(itertools.pairwise(edges))
    ]


def _has_classes(data: Dataset) -> bool:
    """Whether each sample has a class of its own."""
    return data.target.is_class and len(data.training.y.shape) == 1


def _samples(spread: Sequence[Spread], data: Dataset) -> list[SampleShare]:
    rows, places = np.unique(np.concatenate([one.step.rows for one in spread]), return_inverse=True)
    shares = np.bincount(places, np.concatenate([one.shares for one in spread]), len(rows))
    used, order = np.bincount(places, minlength=len(rows)), np.argsort(-np.abs(shares), kind="stable")
    read = rows if data.rows is None else np.asarray(data.rows[rows])
    numbers = data.training.take(rows).y.astype(np.intp) if _has_classes(data) else None
    names = [None if numbers is None else data.target.classes[numbers[k]] for k in order]
    return [
        SampleShare(int(read[k]) + 1, int(rows[k]), name, int(used[k]), float(shares[k]))
        for k, name in zip(order, names, strict=True)
    ]


def _by_class(samples: Sequence[SampleShare], data: Dataset) -> list[ClassShare]:
    if not _has_classes(data):
        return []
    own: dict[Any, list[float]] = {name: [] for name in data.target.classes}
    for sample in samples:
        own[sample.name].append(sample.share)
    return [ClassShare(name, len(shares), math.fsum(shares)) for name, shares in own.items() if shares]
