"""What the doctor examines: a training at some of its steps, and its data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from chainrule.arrays import Array, Samples, Vector
from chainrule.backprop import forward_pass
from chainrule.data import Dataset
from chainrule.engine import Engine, Position, Problem, StepRecord
from chainrule.network import Network
from chainrule.runs import Run
from chainrule.tape import Tape
from chainrule.training import Plan, Timeline

ROWS = 2000
"""The most training or held-out samples that are predicted at each step, evenly spaced."""
MOST_IN_MEMORY = 20_000
"""The most samples of each set that are looked at if they are on a disk, evenly spaced."""
UNIT_ROWS, FEWEST_ROWS = 300, 64
"""The most training samples that the outputs of all units are computed for; fewer, but not fewer
than the second, where that takes more than WORK.
"""
WORK = 2e8
"""The multiply-adds that one computation by the definitions may take."""
POINTS = 16
"""The most steps that are looked at."""
FEWEST = 8
"""With fewer checkpoints, steps between them are replayed as well."""


@dataclass(frozen=True, eq=False)
class Case:
    """A training to examine. What is computed of it is computed once.

    Attributes:
        plan: what was trained, and how
        data: what it was trained on; of a set on a disk at most MOST_IN_MEMORY samples, in memory
        timeline: its steps, for replay
        steps: how many steps it has taken
        looked: the steps before which it is looked at, in ascending order; the last is `steps`
        end: the state after the last step
        final: the weights that training returned, of the best epoch perhaps
        status: how it ended: "complete", "early", "diverged" and so on; "running" if it goes on
        saved: the steps whose weights were saved, which need no replay
        most: the most samples that are predicted
        work: the multiply-adds, forward and backward, that one computation by the definitions may
            take
    """

    plan: Plan
    data: Dataset
    timeline: Timeline
    steps: int
    looked: tuple[int, ...]
    end: Position
    final: Position
    status: str = "complete"
    saved: tuple[int, ...] = ()
    most: int = ROWS
    work: float = WORK
    _outputs: dict[tuple[int, str], Array] = field(default_factory=dict, repr=False)
    _tapes: dict[int, Tape] = field(default_factory=dict, repr=False)

    @staticmethod
    def of(run: Run, data: Dataset) -> Case:
        """The case of a recorded run, on its own data."""
        trained, end = run.trained, run.trained.progress.position
        steps = end.step
        saved = [step for step in run.checkpoints if step < steps]
        if len(saved) < FEWEST and steps:
            saved = sorted({*saved, *spread(range(steps), POINTS - 1)})
        final = Position(steps, trained.parameters, trained.statistics, end.states)
        looked_at = data.thinned(MOST_IN_MEMORY)
        return Case(
            trained.plan, looked_at, run.timeline(data), steps, (*spread(saved, POINTS - 1), steps), end, final,
            run.manifest["status"], tuple(run.checkpoints),
        )  # fmt: skip

    @property
    def network(self) -> Network:
        """The network."""
        return self.plan.network

    @property
    def problem(self) -> Problem:
        """What is minimized, with the schedules of the last plan."""
        return self.plan.problem(self.whole)

    @property
    def whole(self) -> int:
        """The number of training samples, of which `data` may have a part."""
        return len(self.timeline.samples.x)

    @property
    def labels(self) -> bool:
        """Whether a sample has one target, which is a class."""
        return self.data.target.is_class and not self.data.target.positions

    # Steps

    @cached_property
    def records(self) -> list[StepRecord]:
        """The steps that follow the positions looked at, as they were taken."""
        return list(self.timeline.each([step for step in self.looked if step < self.steps]))

    @cached_property
    def points(self) -> list[Position]:
        """The positions looked at; the last is the end."""
        return [*(record.before for record in self.records), self.end]

    def rate_share(self, step: int) -> float:
        """The learning rate of this step as a share of the highest of those looked at."""
        rates = {record.before.step: self.rate(record) for record in self.records}
        return rates[step] / max(max(rates.values()), 1e-300)

    def rate(self, record: StepRecord) -> float:
        """The learning rate of a step; 1 for optimizers that have none."""
        rate = self.timeline.problem_at(record.before.step).optimizer.rate(record.before.states)
        return 1.0 if rate is None else rate

    @cached_property
    def brisk(self) -> list[StepRecord]:
        """The records whose learning rate is at least a quarter of the highest: where a schedule
        has nearly ended, small steps are meant to be small.
        """
        return [record for record in self.records if self.rate_share(record.before.step) >= 0.25]

    def batch(self, record: StepRecord) -> Samples:
        """The mini-batch of a step."""
        problem = self.timeline.problem_at(record.before.step)
        return problem.gather(self.timeline.samples, record.rows, record.before.step)

    # Samples and predictions

    @cached_property
    def rows(self) -> Array:
        """The numbers of the training samples that are predicted."""
        return self._some(self.data.training)

    @cached_property
    def training(self) -> Samples:
        """The training samples that are predicted."""
        return self.data.training.take(self.rows)

    @property
    def held_name(self) -> str:
        """The set that shows how well new samples are predicted: validation, or else test."""
        return "validation" if self.data.validation is not None else "test"

    @cached_property
    def held(self) -> Samples | None:
        """That set; None if there is neither."""
        samples = self.data.validation if self.data.validation is not None else self.data.test
        return None if samples is None or not len(samples.x) else samples.take(self._some(samples))

    def _some(self, samples: Samples) -> Array:
        positions = max(1, math.prod(self.network.output_shape[:-1]))
        most = max(16, self.most // positions)
        return np.unique(np.linspace(0, len(samples.x) - 1, min(len(samples.x), most)).astype(np.intp))

    def part(self, name: str) -> Samples:
        """The samples "training" or "held"."""
        samples = self.training if name == "training" else self.held
        assert samples is not None
        return samples

    def outputs(self, at: Position, part: str = "training") -> Array:
        """(samples, ..., outputs) the network's output for the samples of a part."""
        key = id(at), part
        if key not in self._outputs:
            with np.errstate(all="ignore"):
                self._outputs[key] = self._engine.predict(at.parameters, self.part(part).x, at.statistics)
        return self._outputs[key]

    def losses(self, at: Position, part: str = "training") -> Array:
        """(samples,) the loss of each sample of a part, without penalties."""
        samples = self.part(part)
        by_position = () if samples.weight is None or samples.weight.ndim == 1 else (samples.weight,)
        with np.errstate(all="ignore"):
            return np.asarray(
                self.plan.loss.samples(self.outputs(at, part), np.asarray(samples.y), *by_position), np.float64
            )

    def loss_at(self, parameters: Vector, statistics: Vector, most: int = 256) -> float:
        """The mean loss of some training samples at other weights."""
        samples = self.training.thinned(most)
        by_position = () if samples.weight is None or samples.weight.ndim == 1 else (samples.weight,)
        with np.errstate(all="ignore"):
            outputs = self._engine.predict(parameters, samples.x, statistics)
            return float(
                np.mean(self.plan.loss.samples(outputs, np.asarray(samples.y), *by_position), dtype=np.float64)
            )

    @cached_property
    def _engine(self) -> Engine:
        return self.plan.make_engine(self.plan.problem(1))

    def loss(self, at: Position, part: str = "training") -> float:
        """The mean loss of a part, without penalties."""
        return float(self.losses(at, part).mean())

    def penalty(self, at: Position) -> float:
        """The penalties on these weights."""
        return float(sum(one.value(at.parameters, self.network.parameters) for one in self.plan.penalties))

    @cached_property
    def naive_loss(self) -> float:
        """The training loss of the best constant prediction, found by gradient descent on the
        outputs.
        """
        y = np.asarray(self.training.y)
        shape = (len(y), *self.network.output_shape)
        constant = np.zeros(shape[-1])
        best = math.inf
        with np.errstate(all="ignore"):
            for _ in range(100):
                prediction = np.broadcast_to(constant, shape).astype(np.float64)
                value = float(self.plan.loss.samples(prediction, y).mean())
                slope = self.plan.loss.derivative(prediction, y)
                best = min(best, value) if math.isfinite(value) else best
                constant = constant - 0.5 * slope.reshape(-1, shape[-1]).sum(axis=0)
        return best

    def right(self, at: Position, part: str = "training") -> Array:
        """(samples,) whether the class of each sample is predicted."""
        return np.asarray(self.plan.loss.classes(self.outputs(at, part)) == np.asarray(self.part(part).y).reshape(-1))

    @cached_property
    def learned(self) -> float:
        """How much of what there is to know about the classes of the training samples the network
        has learned: 0 as much as the most frequent class says, 1 all.
        """
        y = np.asarray(self.training.y).reshape(-1).astype(int)
        base = float(np.bincount(y).max() / len(y))
        return (float(self.right(self.final).mean()) - base) / max(1 - base, 1e-9)

    @cached_property
    def affordable(self) -> int:
        """How many samples go forward and backward through the network with this work."""
        return int(self.work / max(sum(node.layer.cost(node.built) for node in self.network.nodes), 1))

    def tape(self, at: Position) -> Tape:
        """Every value of a forward pass over some training samples, in evaluation mode."""
        if id(at) not in self._tapes:
            few = self.data.training.thinned(min(UNIT_ROWS, max(FEWEST_ROWS, self.affordable)))
            with np.errstate(all="ignore"):
                tape = forward_pass(self.network, at.parameters, few.x, at.statistics)
            self._tapes.clear()  # one at a time: a tape has all values
            self._tapes[id(at)] = tape
        return self._tapes[id(at)]

    def flat(self, part: str) -> Array:
        """(samples, inputs) the prepared inputs of a part, flattened."""
        x = np.asarray(self.part(part).x)
        return x.reshape(len(x), -1)

    def input_name(self, column: int) -> str:
        """The name of an input in words."""
        names = self.data.input_names
        if len(names) > column:
            return f"column {names[column]}"
        shape = self.data.input_shape
        return f"input [{', '.join(str(int(k)) for k in np.unravel_index(column, shape))}]"

    def source_row(self, row: int) -> int:
        """The number of a training sample in the file it was read from, counted from 1."""
        return int(row if self.data.rows is None else self.data.rows[row]) + 1


def spread(steps: Sequence[int], most: int) -> tuple[int, ...]:
    """At most so many of the steps: half of them dense at the beginning, where training changes
    most, and the others evenly over all.
    """
    if len(steps) <= most:
        return tuple(steps)
    places = np.linspace(0, len(steps) - 1, most - most // 2)
    early = np.geomspace(1, len(steps), most // 2) - 1
    return tuple(steps[k] for k in sorted({*places.round().astype(int).tolist(), *early.round().astype(int).tolist()}))
