"""A training that the page controls: step by step, phase by phase, forward and backward in time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from chainrule.arrays import Array, Deferred, Samples
from chainrule.backprop import Derivatives, forward_pass
from chainrule.data import Dataset
from chainrule.engine import Position, Problem, StepRecord
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import NonFiniteError, SettingError, require
from chainrule.explain import Explanation
from chainrule.explain.trace import Trace
from chainrule.layers.base import Built
from chainrule.layers.graph import checking
from chainrule.play.handwriting import Own, Style, can_be_drawn, own_sample, style_of
from chainrule.play.samples import page_data, require_in_memory
from chainrule.play.settings import MOST_VALUES, MOST_WEIGHTS, Settings
from chainrule.play.toys import TOYS
from chainrule.runs import Run
from chainrule.training import Plan, Timeline, make_plan
from chainrule.training.catalog import NAMES
from chainrule.training.loop import evaluate, start
from chainrule.training.networks import build_network, default_loss, outputs_for
from chainrule.training.report import QuantityScores, report_on_quantities

CHECKPOINTS, CHECKPOINT_BYTES = 240, 64_000_000
"""The maximum number of checkpoints, to go back to and to draw the path through, and their maximum
size; beyond either, every other one is dropped.
"""
SHOWN = 300
"""The maximum number of training samples that histograms and the loss surface are computed from."""
MOST_MEASURED = 20_000
"""The most positions of a text that its losses are measured at, spread evenly over it: predicting
all of a book would take longer than thousands of steps.
"""
MOST_EDITS = 50
"""The maximum number of weights changed by hand that are remembered."""
SAME = (1e-4, 1e-6)
"""The relative and absolute differences up to which predictions are the same but for rounding."""
PHASES = ("weights", "forward", "loss", "backward", "update")
"""The phases of a step, in order."""


@dataclass(frozen=True)
class Pending:
    """A step in progress: its derivatives are computed, and shown phase by phase.

    Attributes:
        rows: (batch,) the rows of the mini-batch in the training set
        derivatives: the loss, its gradient and the tape
    """

    rows: Array
    derivatives: Derivatives


class Trainer:
    """A network, its data and the state of its training.

    Args:
        settings: the page's settings
        dataset: the data set that was opened or uploaded, if any
        run: the recorded run to replay, if any

    Attributes:
        samples: the page's data, with the coordinates of points of the plane
        data: the same without the coordinates
        plan: the plan of the training
        timeline: the steps of the training, replayed from checkpoints
        position: the current state of training
        last: the last step taken, or None
        checkpoints: positions by their steps, from which steps are replayed
        edits: the weights changed by hand: the step before which, the weight, its new value
        phase: the phase of the step in progress, one of PHASES
        backward_to: the index of the layer that the backward pass has reached; -1 before it begins
        pending: the step in progress, or None
        own: the sample that the user drew or chose, if it is shown in place of the mini-batch's
    """

    def __init__(self, settings: Settings, dataset: Dataset | None = None, run: Run | None = None) -> None:
        if run is not None and dataset is not None:
            require_in_memory(dataset.name, dataset.on_disk)
        self.samples = page_data(settings.data, dataset)
        self.data = self.samples.data
        self.settings, self.run = settings if run is not None else settings.suited_to(self.data), run
        self.plan: Plan = run.trained.plan if run is not None else _planned(self.settings, self.data)
        self.own: Own | None = None
        self._style: Style | None = None
        self.checkpoints: dict[int, Position] = {}
        samples, plans = self.data.training, [(0, self.plan)]
        self.timeline = Timeline(samples, plans, self.checkpoints) if run is None else run.timeline(self.data)
        self.reset()

    def reset(self) -> None:
        """Go back to the initial weights and forget all steps."""
        self.last: StepRecord | None = None
        self.position = start(self.plan).position if self.run is None else self.timeline.position(0)
        size = sum(array.nbytes for state in self.position.states for array in state.values())
        size += self.position.parameters.nbytes + self.position.statistics.nbytes
        self._most_checkpoints = max(8, min(CHECKPOINTS, CHECKPOINT_BYTES // size))
        self.checkpoints.clear()
        self.checkpoints[0], self._every = self.position, 1
        self.edits: list[tuple[int, str, float]] = []
        self._drop_pending()

    def _drop_pending(self) -> None:
        """Forget the step in progress."""
        self.phase, self.backward_to = "weights", -1
        self.pending: Pending | None = None

    @property
    def problem(self) -> Problem:
        """The problem that is solved, with the schedule spread over the planned epochs."""
        return self.timeline.problem_at(self.step)

    @property
    def steps_per_epoch(self) -> int:
        """The number of mini-batches in an epoch."""
        return self.plan.steps_per_epoch(len(self.data.training.x))

    @property
    def steps_planned(self) -> int:
        """The number of steps in the planned epochs."""
        return self.plan.epochs * self.steps_per_epoch

    @property
    def step(self) -> int:
        """The number of the next step, counted from 0."""
        return self.position.step

    @property
    def last_step(self) -> int | None:
        """The number of steps of the recorded run; None without one."""
        return None if self.run is None else int(self.run.manifest["steps"])

    @property
    def threshold(self) -> float | None:
        """From which probability on the recorded run predicts the second of two classes; None for
        the more probable class.
        """
        return None if self.run is None else self.run.trained.threshold

    @property
    def layers(self) -> list[str]:
        """The names of the layers, from first to last."""
        return [node.name for node in self.plan.network.nodes]

    @property
    def writes_lines(self) -> bool:
        """Whether samples are lines of a text, each complete."""
        chosen = self.settings.data
        return self.run is None and chosen.kind == "sequence" and TOYS[chosen.name].writes_lines

    @property
    def drawable(self) -> bool:
        """Whether the user can draw a sample."""
        return can_be_drawn(self.data)

    def draw(self, strokes: Any, label: Any) -> None:
        """Show a sample that the user drew; without lines, those of the mini-batch again.

        Raises SettingError if the drawing or the label is not one, or the data has no drawings.
        """
        self.own = None
        if not strokes:
            return
        require(self.drawable, "samples of this data can't be drawn")
        if self._style is None:
            assert self.data.source is not None
            self._style = style_of(self.data.source.features)
        self.own = own_sample(self.data, self._style, strokes, label)

    def show_row(self, row: int | None) -> None:
        """Show a row of the training set; None for the samples of the mini-batch again.

        Raises SettingError for a row that there is not.
        """
        self.own = None
        if row is None:
            return
        samples = self.data.training
        require(0 <= row < len(samples.x), f"there is no row {row} in the training set; it has {len(samples.x):,}")
        one = samples.take(np.array([row]))
        self.own = Own(np.asarray(one.x), row=row, y=np.asarray(one.y))

    def number_of(self, row: int) -> int:
        """The number, from 1, of a row of the training set in the data as it was read."""
        return 1 + (row if self.data.rows is None else int(self.data.rows[row]))

    def next_rows(self) -> Array:
        """The rows of the next mini-batch in the training set."""
        epoch, number = divmod(self.step, self.steps_per_epoch)
        return self.plan.order(len(self.data.training.x)).numbers(epoch, number)

    def _next_batch(self) -> tuple[Samples, Array]:
        """The next mini-batch, and its rows in the training set."""
        rows = self.next_rows()
        return self.problem.gather(self.data.training, rows, self.step), rows

    # Steps

    def advance(self, count: int) -> None:
        """Take `count` steps, the first of which completes the step in progress, if there is one.

        Raises NonFiniteError if the loss or a weight becomes infinite or NaN; that step is not
        taken.
        """
        if self.pending is not None:
            self._update()
            count -= 1
        with np.errstate(all="ignore"):
            for record in self.timeline.records(self.position, count):
                self._take(record)

    def move_on(self, count: int) -> None:
        """Take `count` steps; in a recorded run, go that many steps ahead, at most to its end."""
        if self.run is None:
            self.advance(count)
        else:
            self.go_to(min(self.step + count, self.furthest))

    def _take(self, record: StepRecord) -> None:
        if not np.isfinite(record.loss) or not np.isfinite(record.after.parameters).all():
            remedy = "go back a step and try a smaller learning rate"
            raise NonFiniteError(record.before.step, "the loss", "the value", remedy)
        self.position, self.last = record.after, record
        if self.step % self._every == 0:
            self.checkpoints[self.step] = self.position
            if len(self.checkpoints) > self._most_checkpoints:
                edited = {step for step, _, _ in self.edits}  # can't be replayed from before the edit
                for step in list(self.checkpoints)[1::2]:
                    if step not in edited:
                        del self.checkpoints[step]
                self._every *= 2

    def go_to(self, step: int) -> None:
        """Go to any step that was taken or recorded, replayed from the nearest checkpoint."""
        if not 0 <= step <= self.furthest:
            raise SettingError(f"there is no step {step}; choose one from 0 to {self.furthest}")
        for later in [taken for taken in self.checkpoints if taken > step] if self.run is None else ():
            del self.checkpoints[later]
        self.edits = [edit for edit in self.edits if edit[0] <= step]
        self._drop_pending()
        with np.errstate(all="ignore"):
            self.position = self.timeline.position(step)
            self.last = self.timeline.record(step - 1) if step else None
        if step and step == self.last_step:  # no step follows: the last one is shown
            self.phase = "update"

    @property
    def furthest(self) -> int:
        """The last step that `go_to` can reach."""
        return self.step if self.last_step is None else self.last_step

    # Phases

    def next_phase(self, phase: str) -> None:
        """Go on to a phase: "forward", "loss", "backward" (one layer at a time) or "update"."""
        if self.pending is None:
            require(self.step != self.last_step, f"the run ends after its {self.step:,} steps; press Back for the last")
            self._begin()
        if phase == "backward":
            if self.backward_to < 0:
                self.backward_to = len(self.layers)
            self.backward_to = max(self.backward_to - 1, 0)
            # As far as the next layer with weights: only there is something new to be seen.
            nodes, first = self.plan.network.nodes, self._first_with_weights
            while self.backward_to > first and not nodes[self.backward_to].built.parameters:
                self.backward_to -= 1
            self.backward_to = self._whole_scan(self.backward_to)
            self.backward_to = max(self.backward_to, first)
            self.phase = "backward"
        elif phase == "update":
            self._update()
        elif PHASES.index(phase) >= PHASES.index(self.phase):
            self.phase = phase

    def phase_after(self) -> str:
        """The phase that follows: backward once for each layer with weights."""
        if self.phase == "backward" and self.backward_to > self._first_with_weights:
            return "backward"
        order = (*PHASES[1:], PHASES[1])
        return order[order.index(self.phase) + 1] if self.phase in order else PHASES[1]

    @property
    def phases_per_step(self) -> int:
        """The number of phases of a step, each layer's part of the backward pass counted."""
        nodes = self.plan.network.nodes
        owners = {node.owner if node.time is not None else node.name for node in nodes if node.built.parameters}
        return len(PHASES) - 2 + len(owners)

    def _whole_scan(self, number: int) -> int:
        """The number of the first use of a layer within time steps: the backward pass goes through
        all of them at once.
        """
        nodes = self.plan.network.nodes
        owner = nodes[number].owner
        if nodes[number].time is None:
            return number
        return next(k for k, node in enumerate(nodes) if node.owner == owner)

    @property
    def _first_with_weights(self) -> int:
        """The number of the first layer that has weights."""
        return next((k for k, node in enumerate(self.plan.network.nodes) if node.built.parameters), 0)

    def _begin(self) -> None:
        """Compute the derivatives for the next mini-batch; nothing changes yet."""
        batch, rows = self._next_batch()
        with np.errstate(all="ignore"):
            derivatives, _ = NumpyEngine(self.problem).look(self.position, batch, wants_input=True)
        self.pending, self.phase = Pending(rows, derivatives), "weights"

    def _update(self) -> None:
        """Gradient descent: take the step in progress, with the same engine as all other steps."""
        self._drop_pending()
        self.advance(1)
        self.phase = "update"

    # Inspection

    @cached_property
    def is_same_in_use(self) -> bool:
        """Whether the network computes the same in training and in use: without dropout, and
        without statistics of the mini-batch.
        """
        batch, _ = self._next_batch()
        with np.errstate(all="ignore"):
            derivatives, _ = NumpyEngine(self.problem).look(self.position, batch, wants_input=False)
            used = self.plan.network.predict(self.position.parameters, batch.x, self.position.statistics)
        return bool(np.allclose(derivatives.tape.output, used, *SAME))

    def next_record(self) -> StepRecord:
        """The record of the next step, which is not taken."""
        with np.errstate(all="ignore"):
            return NumpyEngine(self.problem).step(self.position, *self._next_batch())

    def _record_shown(self) -> StepRecord:
        """The step that the page shows: the one just taken, phase by phase, or the next one."""
        return self.last if self.phase == "update" and self.last is not None else self.next_record()

    def explain(self, weight: str, sample: int | None = None) -> Explanation:
        """The chain rule of a weight in the step that the page shows, opened for this sample of the
        mini-batch; by default for the one that contributes most.
        """
        record = self._record_shown()
        problem = self.timeline.problem_at(record.before.step)
        row = None if sample is None else int(record.rows[min(max(sample, 0), len(record.rows) - 1)])
        return Explanation(
            problem, record, self.data.training, weight, data=self.data, sample=row, threshold=self.threshold
        )

    def trace(self) -> Trace:
        """The step that the page shows, unit by unit."""
        record = self._record_shown()
        problem = self.timeline.problem_at(record.before.step)
        batch = problem.gather(self.data.training, record.rows, record.before.step)
        return Trace(problem, record.before, batch, record.rows)

    def set_weight(self, weight: str, value: float) -> dict[str, float]:
        """Change a weight by hand.

        Returns the next mini-batch's loss "before" and "after" the change, the loss that the
        derivative "predicted", and the "gradient" of the weight. Raises SettingError for a value
        that is not finite, or larger than 1e6 in magnitude.
        """
        place = self.plan.network.parameters.find(weight)
        if not np.isfinite(value) or abs(value) > 1e6:
            raise SettingError(f"{value} is no value for a weight; choose one between -1e6 and 1e6")
        record = self.next_record()
        parameters = self.position.parameters.copy()
        before, parameters[place] = float(parameters[place]), value
        self.position = replace(self.position, parameters=parameters)
        self.checkpoints[self.step] = self.position
        self.edits = [edit for edit in self.edits if edit[:2] != (self.step, weight)][-MOST_EDITS + 1 :]
        self.edits.append((self.step, weight, value))
        self._drop_pending()
        after, gradient = self.next_record().loss, float(record.gradient[place])
        predicted = record.loss + gradient * (value - before)
        return {"before": record.loss, "after": after, "predicted": predicted, "gradient": gradient}

    def measure(self) -> dict[str, float]:
        """The loss, without penalties, and the default metric of the whole validation set at the
        current weights; empty without one. Of a long text some windows count, as in `measured`.
        """
        return {} if self.data.validation is None else self._evaluate(self.measured(self.data.validation))

    def measure_each(self) -> tuple[QuantityScores, ...]:
        """The metrics of each of several quantities in its own unit, for the validation set."""
        samples, target, loss = self.data.validation, self.data.target, self.plan.loss
        if samples is None or target.task != "regression":
            return ()
        output = self.predict(samples.x)
        return report_on_quantities(
            target, loss, output, np.asarray(samples.y), {}, NAMES["regression"], samples.weight, False
        ).quantities

    def training_loss(self) -> float:
        """The loss, without penalties, of the whole training set at the current weights; of a long
        text that of some windows, as in `measured`.
        """
        return self._evaluate(self.measured(self.data.training), metrics=())["loss"]

    def measured(self, samples: Samples) -> Samples:
        """What losses are measured on: all samples, or some windows of a long text."""
        positions = math.prod(self.data.target.positions)
        return samples.thinned(max(1, MOST_MEASURED // positions)) if self.data.target.tokens else samples

    def some(self) -> Samples:
        """The training samples that histograms are computed from: fewer of long sequences."""
        positions = math.prod(self.data.target.positions)
        return self.data.training.thinned(max(10, SHOWN // max(1, positions // 16)))

    def _evaluate(self, samples: Samples, metrics: tuple[str, ...] | None = None) -> dict[str, float]:
        weights = self.position.parameters, self.position.statistics
        return evaluate(self.plan, self.data.target, samples, *weights, metrics=metrics, threshold=self.threshold)

    def predict(self, x: Array | Deferred) -> Array:
        """The network's output for prepared samples."""
        return self.plan.network.predict(self.position.parameters, x, self.position.statistics)

    def unit_outputs(self, x: Array) -> dict[str, Array]:
        """(samples, units) the outputs of every layer, in inference mode, for prepared samples."""
        tape = forward_pass(self.plan.network, self.position.parameters, x, self.position.statistics)
        return dict(zip(self.layers, tape.values[1:], strict=True))

    def path(self) -> tuple[Array, Array]:
        """The path so far: (points,) the steps of all checkpoints and the current one, and
        (points, weights) the weights at each of them.
        """
        positions = list({**self.checkpoints, self.step: self.position}.values())
        steps = np.array([position.step for position in positions])
        return steps, np.array([position.parameters for position in positions], dtype=np.float64)


def _planned(settings: Settings, data: Dataset) -> Plan:
    """The plan of a training with these settings on this data."""
    loss = settings.make_loss() or default_loss(data)
    if data.task not in loss.tasks:
        raise SettingError(f"the loss {settings.loss} is for {' and '.join(loss.tasks)}, but the task is {data.task}")
    layers = settings.network_layers(data, outputs_for(loss, data.target))
    with checking(_limited()):  # nothing is drawn or computed before its size is known
        network = build_network(layers, data, loss)
    weights = network.parameters.size
    if weights > MOST_WEIGHTS:
        raise SettingError(f"the network has {weights:,} weights; the page allows at most {MOST_WEIGHTS:,}")
    return make_plan(
        network, data,
        loss=loss, optimizer=settings.make_optimizer(), epochs=settings.epochs,
        batch_size=min(settings.batch_size, len(data.training.x)), seed=settings.seed,
        penalties=settings.penalties(), patience=None,
    )  # fmt: skip


def _limited() -> Callable[[str, Built], None]:
    """A check of each layer, in order, that refuses a network with too many values."""
    values = 0

    def check(name: str, built: Built) -> None:
        nonlocal values
        values += math.prod(built.output_shape)
        if values > MOST_VALUES:
            found = f"up to its layer {name} the network computes {values:,} numbers of a sample"
            raise SettingError(f"{found}; the page allows {MOST_VALUES:,}")

    return check
