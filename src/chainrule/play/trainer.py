"""A training that the page steers: step by step, phase by phase, forwards and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from chainrule.arrays import Array
from chainrule.backprop import Derivatives, forward_pass
from chainrule.data import Dataset
from chainrule.engine import Position, Problem, StepRecord
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import NonFiniteError, SettingError
from chainrule.explain import Explanation
from chainrule.explain.chain import ChainLink, open_unit
from chainrule.explain.surface import Surface, surface_of
from chainrule.explain.trace import Trace
from chainrule.play.samples import PageData, page_data
from chainrule.play.settings import MOST_WEIGHTS, Settings
from chainrule.runs import Run
from chainrule.training import Plan, Timeline, make_plan
from chainrule.training.loop import evaluate, start
from chainrule.training.plan import default_loss

MARKS, MARK_BYTES = 240, 64_000_000
"""How many earlier positions are remembered, to go back to and to draw the path of, and how many bytes they may take;
beyond, every other is dropped.
"""
SHOWN = 300
"""Training samples at most that pictures are computed from."""
PHASES = ("weights", "forward", "loss", "backward", "update")


@dataclass(frozen=True)
class Pending:
    """A step that is under way: its derivatives are known, but only shown as far as the phase goes."""

    rows: Array
    derivatives: Derivatives


class Trainer:
    """A network, its data, and where its training stands."""

    def __init__(self, settings: Settings, given: Dataset | None = None, run: Run | None = None) -> None:
        self.settings, self.run = settings, run
        self.samples: PageData = page_data(settings.data, given)
        self.data = self.samples.data
        self.plan: Plan = run.trained.plan if run is not None else _planned(settings, self.data)
        self._marks: dict[int, Position] = {}
        samples, plans = self.data.training, [(0, self.plan)]
        self.timeline = Timeline(samples, plans, self._marks) if run is None else run.timeline(self.data)
        self.reset()

    def reset(self) -> None:
        """Back to the weights as they were drawn."""
        self.last: StepRecord | None = None
        self.position = start(self.plan).position if self.run is None else self.timeline.position(0)
        size = sum(array.nbytes for state in self.position.states for array in state.values())
        size += self.position.parameters.nbytes + self.position.statistics.nbytes
        self._most_marks = max(8, min(MARKS, MARK_BYTES // size))
        self._marks.clear()
        self._marks[0], self._every = self.position, 1
        self._started()
        self._loss_sum, self._loss_count = 0.0, 0

    def _started(self) -> None:
        """No step is under way."""
        self.phase, self.backward_to = "weights", -1
        self.pending: Pending | None = None

    @property
    def problem(self) -> Problem:
        """What is trained, with the schedule spread over the planned epochs."""
        return self.timeline.problem_at(self.step)

    @property
    def steps_per_epoch(self) -> int:
        return self.plan.steps_per_epoch(len(self.data.training.x))

    @property
    def step(self) -> int:
        """The number of the next step."""
        return self.position.step

    @property
    def last_step(self) -> int | None:
        """Of a recorded run, how many steps it has."""
        return None if self.run is None else int(self.run.manifest["steps"])

    def _rows(self, step: int) -> Array:
        return self.plan.batches(step // self.steps_per_epoch, self.data.training).rows(step % self.steps_per_epoch)

    # Steps

    def advance(self, count: int) -> int:
        """Take so many steps, as fast as they come; gives how many were taken. A step under way is completed first.

        Raises NonFiniteError where a loss stops being finite; the step is not taken.
        """
        if self.pending is not None:
            self._update()
            count -= 1
        taken = 0
        with np.errstate(all="ignore"):
            for record in self.timeline.records(self.position, count):
                self._took(record)
                taken += 1
        return taken

    def _took(self, record: StepRecord) -> None:
        if not np.isfinite(record.loss) or not np.isfinite(record.after.parameters).all():
            raise NonFiniteError(
                record.before.step, "the loss", "the value", "go back a step and try a smaller learning rate"
            )
        self.position, self.last = record.after, record
        self._loss_sum += record.loss
        self._loss_count += 1
        if self.step % self._every == 0:
            self._marks[self.step] = self.position
            if len(self._marks) > self._most_marks:
                for step in list(self._marks)[1::2]:
                    del self._marks[step]
                self._every *= 2

    def go_to(self, step: int) -> None:
        """Any step that was taken, or of a recorded run any step it has; replayed from the nearest mark."""
        if not 0 <= step <= self.furthest:
            raise SettingError(f"there is no step {step} to go to; there are 0 to {self.furthest}")
        for later in [mark for mark in self._marks if mark > step] if self.run is None else ():
            del self._marks[later]
        self._started()
        with np.errstate(all="ignore"):
            self.position = self.timeline.position(step)
            self.last = self.timeline.record(step - 1) if step else None

    @property
    def furthest(self) -> int:
        """The last step that can be gone to."""
        return self.step if self.last_step is None else self.last_step

    # Phases

    def next_phase(self, phase: str) -> None:
        """Go on to a phase of the step: "forward", "loss", "backward" (one layer at a time) or "update"."""
        order = PHASES.index(phase)
        if self.pending is None:
            self._begin()
        if phase == "backward":
            if self.backward_to < 0:
                self.backward_to = len(self.layers)
            if self.backward_to > 0:
                self.backward_to -= 1
            self.phase = "backward"
        elif phase == "update":
            self._update()
        elif order >= PHASES.index(self.phase):
            self.phase = phase

    def _begin(self) -> None:
        """Compute the derivatives of the next batch; nothing changes yet."""
        rows = self._rows(self.step)
        with np.errstate(all="ignore"):
            batch = self.data.training.take(rows)
            derivatives, _ = NumpyEngine(self.problem).look(self.position, batch, wants_input=True)
        self.pending = Pending(rows, derivatives)

    def _update(self) -> None:
        """Gradient descent: take the step that is under way, by the engine that takes the others."""
        self._started()
        self.advance(1)
        self.phase = "update"

    @property
    def layers(self) -> list[str]:
        """The names of the nodes, from first to last."""
        return [node.name for node in self.plan.network.nodes]

    # Looking

    def mean_loss(self) -> float | None:
        """The mean of the batches' losses since this was last asked; None if there was no step."""
        mean = self._loss_sum / self._loss_count if self._loss_count else None
        self._loss_sum, self._loss_count = 0.0, 0
        return mean

    def next_record(self) -> StepRecord:
        """The step from here, without taking it."""
        rows = self._rows(self.step)
        with np.errstate(all="ignore"):
            return NumpyEngine(self.problem).step(self.position, self.data.training.take(rows), rows)

    def explain(self, weight: str) -> Explanation:
        """The chain rule of a weight, in the step from here."""
        return Explanation(self.problem, self.next_record(), self.data.training, weight, data=self.data)

    def explain_unit(self, layer: str, unit: int) -> ChainLink:
        """A unit's delta in the step from here, opened."""
        rows = self._rows(self.step)
        return open_unit(Trace(self.problem, self.position, self.data.training.take(rows), rows), layer, unit)

    def set_weight(self, weight: str, value: float) -> dict[str, float]:
        """Change a weight by hand; gives what that did to the next batch's loss, and what its derivative predicted."""
        place = self.plan.network.parameters.find(weight)
        if not np.isfinite(value) or abs(value) > 1e6:
            raise SettingError(f"{value} is no value for a weight; it lies between -1e6 and 1e6")
        record = self.next_record()
        parameters = self.position.parameters.copy()
        before, parameters[place] = float(parameters[place]), value
        self.position = replace(self.position, parameters=parameters)
        self._marks[self.step] = self.position
        self._started()
        after, gradient = self.next_record().loss, float(record.gradient[place])
        predicted = record.loss + gradient * (value - before)
        return {"before": record.loss, "after": after, "predicted": predicted, "gradient": gradient}

    def measure(self) -> dict[str, float]:
        """The loss and the usual metric of the samples that are held out."""
        held = self.data.validation
        if held is None:
            return {}
        return evaluate(self.plan, self.data.target, held, self.position.parameters, self.position.statistics)

    def predict(self, x: Array) -> Array:
        """The network's output for prepared samples."""
        return self.plan.network.predict(self.position.parameters, x, self.position.statistics)

    def training_loss(self) -> float:
        """The loss of the training part as it is now."""
        return self.problem.total_loss(self.position.parameters, self.data.training, self.position.statistics)

    def unit_outputs(self, x: Array) -> dict[str, Array]:
        """(samples, units) of every layer for prepared samples, as after training."""
        tape = forward_pass(self.plan.network, self.position.parameters, x, self.position.statistics)
        return dict(zip(self.layers, tape.values[1:], strict=True))

    def surface(self, grid: int) -> Surface:
        """The loss surface with the path so far."""
        return surface_of(self.plan, self.data.training.thinned(SHOWN), *self.path(), grid=grid)

    def path(self) -> tuple[Array, Array]:
        """The steps of the remembered positions, and the weights there; the present one last."""
        marks = list({**self._marks, self.step: self.position}.values())
        if len(marks) == 1:
            marks = marks * 2
        steps = np.array([mark.step for mark in marks])
        return steps, np.array([mark.parameters for mark in marks], dtype=np.float64)


def _planned(settings: Settings, data: Dataset) -> Plan:
    """The training that the settings mean for this data."""
    loss = settings.made_loss() or default_loss(data)
    if data.task not in loss.tasks:
        raise SettingError(
            f"the loss {settings.loss} is for {' and '.join(loss.tasks)}; this data asks for {data.task}"
        )
    layers = settings.network_layers(len(data.input_shape) > 1, loss.outputs(data.target.width))
    samples_there = len(data.training.x)
    made = make_plan(
        layers, data, loss=loss, optimizer=settings.made_optimizer(), epochs=settings.epochs,
        batch_size=min(settings.batch_size, samples_there), seed=settings.seed, penalties=settings.penalties(),
        patience=None,
    )  # fmt: skip
    if made.network.parameters.size > MOST_WEIGHTS:
        raise SettingError(
            f"the network has {made.network.parameters.size:,} weights; the page takes up to {MOST_WEIGHTS:,}"
        )
    return made
