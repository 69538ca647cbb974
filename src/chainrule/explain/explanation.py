"""The explanation of one weight in one step. Each part is worked out when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from chainrule.arrays import Vector
from chainrule.backprop import total_loss
from chainrule.data import Dataset, Part, Sample
from chainrule.engine import Done, Work
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import SettingError
from chainrule.explain import symbols
from chainrule.explain.chain import DEPTH, ChainLink, open_link
from chainrule.explain.fields import fields
from chainrule.explain.paths import Path, find_paths
from chainrule.explain.rounding import Rounding, rounding
from chainrule.explain.trace import Batch, Link, Trace, Unit
from chainrule.explain.update import StageWork, stage_works
from chainrule.gradient_check import central_difference
from chainrule.layers import Dense, Flatten


@dataclass(frozen=True)
class SampleTerm:
    """One product of a gradient's sum over the batch.

    Attributes:
        row: the sample's row in the training part
        unit: the unit whose delta it is
        delta: dL/d that unit
        input: what the weight multiplies there
        product: delta times input
        weight: how much the sample counts in the loss, which is a factor of its delta; None if all count alike
    """

    row: int
    unit: Unit
    delta: float
    input: float
    weight: float | None = None

    @property
    def product(self) -> float:
        return self.delta * self.input + 0.0

    @property
    def pull(self) -> str:
        """What it does to the weight, in words."""
        if self.product:
            return "pulls the weight down" if self.product > 0 else "pulls the weight up"
        return "none: " + " and ".join(
            [f"its {what} is 0" for what, value in (("delta", self.delta), ("input", self.input)) if not value]
        )


@dataclass(frozen=True)
class Proof:
    """The gradient beside a measured one, and what the step did beside what the derivatives predicted.

    Attributes:
        numerical_gradient: from nudging the weight to both sides, in float64
        loss_before: the batch's loss
        weight_alone, weight_predicted: how the loss changes if only this weight takes its step, and minus gradient
            times update
        step, step_predicted: the same for the whole step
    """

    numerical_gradient: float
    loss_before: float
    weight_alone: float
    weight_predicted: float
    step: float
    step_predicted: float


class Explanation:
    """Why a weight changed as it did in one step.

    The update is what training did, in the run's own precision. Everything else is worked out in float64 at the run's
    own weights.
    """

    def __init__(
        self,
        work: Work,
        done: Done,
        part: Part,
        weight: str,
        *,
        data: Dataset | None = None,
        sample: int | None = None,
        depth: int = DEPTH,
    ) -> None:
        """`part` is the whole training part, of which the step saw some rows; `data` knows how they were read."""
        rows = done.rows
        batch = Batch(part.x[rows], part.y[rows], None if part.weight is None else part.weight[rows], rows)
        layout = work.network.parameters
        self._work, self._done, self._batch, self._data = work, done, batch, data
        self.place = layout.find(weight)
        self.weight = layout.name_of(self.place)
        self.step = done.before.step
        self.precision = work.network.dtype
        self.depth = depth
        self.value_before = float(done.before.parameters[self.place])
        self.value_after = float(done.after.parameters[self.place])
        self.update = float(done.update[self.place])
        self.training_gradient = float(done.gradient[self.place])
        if depth < 1:
            raise SettingError(f"the depth is {depth}; it takes at least 1")
        if sample is not None and sample not in batch.rows:
            shown = ", ".join(str(int(row)) for row in np.sort(batch.rows)[:10])
            raise SettingError(
                f"sample {sample} is not in the batch of step {self.step}; its samples are"
                f" {shown}{' ...' * (len(batch.rows) > 10)}"
            )
        self._sample = sample

    @cached_property
    def trace(self) -> Trace:
        """Forward and backward of the step, in float64."""
        return Trace(self._work, self._done.before, self._batch)

    @cached_property
    def gradient(self) -> float:
        """The gradient, in float64, with the penalties."""
        return float(self.trace.result.gradient[self.place])

    @cached_property
    def samples(self) -> list[SampleTerm]:
        """The products that the gradient of the data's loss is the sum of, strongest first."""
        rows, counts = self._batch.rows.tolist(), self._batch.weight
        weights = [None] * len(rows) if counts is None else counts.tolist()
        found = [
            SampleTerm(rows[at[0]], Unit(group.layer, tuple(at)), delta + 0.0, local + 0.0, weights[at[0]])  # -0 is 0
            for group in self.trace.terms(self.weight)
            for at, delta, local in zip(group.at.tolist(), group.upstream.tolist(), group.local.tolist(), strict=True)
        ]
        return sorted(found, key=lambda term: -abs(term.product))

    @cached_property
    def data_gradient(self) -> float:
        """What the samples' products add up to: the gradient without the penalties."""
        return sum(term.product for term in self.samples)

    @cached_property
    def penalties(self) -> list[tuple[str, float]]:
        """What each penalty adds to the gradient, and how."""
        array, w = self.weight.partition("[")[0], float(self.trace.parameters[self.place])
        return [term for penalty in self._work.penalties for term in penalty.terms(array, w)]

    @cached_property
    def about(self) -> str:
        """What a weight of a Dense layer connects, in words; nothing for other weights."""
        array, _, index = self.weight.rstrip("]").partition("[")
        place, _, name = array.rpartition(".")
        leaves = {where: layer for where, layer, _ in self._work.network.leaves()}
        if not isinstance(leaves[place], Dense):
            return ""
        if name == "b":
            return f"the bias of unit {index} of {place}"
        start, end = (int(k) for k in index.split(","))
        before = [layer for where, layer in leaves.items() if list(leaves).index(where) < list(leaves).index(place)]
        source = self._input(start) if all(isinstance(layer, Flatten) for layer in before) else f"unit {start}"
        return f"the weight from {source} to unit {end} of {place}"

    def _input(self, number: int) -> str:
        """An input of the network, as people call it."""
        shape = self._work.network.input_shape
        if len(shape) > 1:
            row, column, *_ = np.unravel_index(number, shape)
            return f"pixel {number} (row {row}, column {column})"
        names = [] if self._data is None else self._data.input_names
        return f"input {number}" + (f" ({names[number]})" if names else "")

    def row_read(self, row: int) -> int | None:
        """Which row of what was read, counted from 1, a sample of the training part is; None where that isn't known."""
        rows = None if self._data is None else self._data.rows
        return None if rows is None else int(rows[row]) + 1

    def read(self, row: int) -> Sample | None:
        """A sample of the training part as it was read; None where that isn't known."""
        return None if self._data is None else self._data.sample(row)

    @cached_property
    def rounding(self) -> Rounding:
        """By how much the gradient that training used differs from the exact one, and by how much rounding can make it
        differ.
        """
        return rounding(self.trace, self._work, self._done.before, self._batch, self.weight, self.training_gradient)

    @cached_property
    def stages(self) -> list[StageWork]:
        """What each stage of the optimizer did with this weight's number."""
        batch, before = self._batch, self._done.before
        _, point = NumpyEngine(self._work).look(before, batch.x, batch.y, batch.weight)
        return stage_works(self._work.optimizer.stages, self._done.gradient, before.states, point, self.place)

    @cached_property
    def chain(self) -> ChainLink | None:
        """The delta of the strongest sample's term, or of the one asked for, opened towards the loss; None if nothing
        depends on the weight.
        """
        terms = [term for term in self.samples if self._sample is None or term.row == self._sample]
        if not terms:
            return None
        return open_link(self.trace, Link(terms[0].unit, terms[0].input, terms[0].delta), self.depth)

    @cached_property
    def _paths(self) -> tuple[list[Path], bool]:
        return find_paths(self.trace, [Link(t.unit, t.input, t.delta) for t in self.samples if t.product])

    @property
    def paths(self) -> list[Path]:
        """The paths from the weight to the loss, strongest first."""
        return self._paths[0]

    @property
    def has_all_paths(self) -> bool:
        """Whether these are all the paths that anything comes through, so that they add up to the gradient of the
        data's loss.
        """
        return self._paths[1]

    @cached_property
    def proof(self) -> Proof:
        """The gradient measured, and the step's effect beside its prediction."""
        trace, update = self.trace, self._done.update.astype(np.float64)
        alone = np.zeros_like(update)
        alone[self.place] = update[self.place]
        before, gradient = self._loss(trace.parameters), trace.result.gradient
        return Proof(
            numerical_gradient=central_difference(self._nudged()),
            loss_before=before,
            weight_alone=self._loss(trace.parameters - alone) - before,
            weight_predicted=-float(gradient @ alone),
            step=self._loss(trace.parameters - update) - before,
            step_predicted=-float(gradient @ update),
        )

    def _nudged(self) -> Callable[[float], float]:
        def at(h: float) -> float:
            elsewhere = self.trace.parameters.copy()
            elsewhere[self.place] += h
            return self._loss(elsewhere)

        return at

    def _loss(self, parameters: Vector) -> float:
        """The batch's loss at these weights, in float64."""
        trace, batch = self.trace, self._batch
        return total_loss(
            trace.network,
            self._work.loss,
            parameters,
            batch.x,
            batch.y,
            statistics=trace.statistics,
            sample_weight=batch.weight,
            penalties=self._work.penalties,
            context=trace.context(),
        )

    @cached_property
    def rules(self) -> list[tuple[str, str]]:
        """The rules in symbols, each with what it belongs to: this weight, the layers on the way, the loss."""
        return symbols.rules(self.trace, self.weight)

    @cached_property
    def latex(self) -> str:
        """The same rule in symbols, for these layers."""
        return symbols.latex(self.rules)

    def _repr_html_(self) -> str:
        """How a notebook shows it: the scheme and the two lines."""
        from html import escape

        from chainrule.explain.scheme import draw
        from chainrule.explain.text import gradient_line, update_line

        return f"<p>{escape(gradient_line(self))}<br>{escape(update_line(self))}</p>{draw(self)}"

    def as_json(self) -> dict[str, Any]:
        """Everything, under the names that the documentation lists."""
        return fields(self)


def most_moved(done: Done, names: Sequence[str], layout: Any) -> str:
    """The weight that a step moved most, among the arrays whose names end like one of these."""
    places = [k for e in layout.entries if e.name.rpartition(".")[2] in names for k in range(e.start, e.start + e.size)]
    chosen = np.array(places) if places else np.arange(layout.size)
    return str(layout.name_of(int(chosen[np.argmax(np.abs(done.update[chosen]))])))
