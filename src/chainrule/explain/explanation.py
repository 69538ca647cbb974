"""The explanation of one weight in one step. Each part is worked out when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from chainrule.arrays import Shape
from chainrule.data import Dataset, Sample, Samples
from chainrule.engine import Problem, StepRecord
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import SettingError
from chainrule.explain import symbols
from chainrule.explain.chain import DEPTH, ChainLink, open_link
from chainrule.explain.fields import fields
from chainrule.explain.paths import Path, find_paths
from chainrule.explain.rounding import Rounding, gradient_rounding
from chainrule.explain.trace import Link, Trace, strongest
from chainrule.explain.update import StageWork, stage_works
from chainrule.gradient_check import central_difference
from chainrule.tape import Unit


@dataclass(frozen=True)
class SampleTerm:
    """A sample's part of a gradient: delta times input, summed over every use of the weight.

    A weight is used once for each position that its layer is applied to, in every layer that shares
    it.

    Attributes:
        row: the sample's row in the training set
        uses: for each use the unit that the weight feeds, its delta, and the input that the weight
            multiplies (as the link's `local`), strongest first
        weight: the sample's weight in the loss, a factor of its delta; None if all weigh the same
    """

    row: int
    uses: tuple[Link, ...]
    weight: float | None = None

    @property
    def product(self) -> float:
        """Delta times input, summed over the uses."""
        return sum(use.product for use in self.uses) + 0.0

    @property
    def unit(self) -> Unit:
        """The unit that the weight feeds in its strongest use."""
        return self.uses[0].unit

    @property
    def delta(self) -> float | None:
        """dL/d that unit; None if there are several."""
        return self.uses[0].delta if len(self.uses) == 1 else None

    @property
    def input(self) -> float | None:
        """What the weight multiplies there; None if there are several uses."""
        return self.uses[0].local if len(self.uses) == 1 else None

    @property
    def pull(self) -> str:
        """What it does to the weight, in words."""
        if self.product:
            return "pulls the weight down" if self.product > 0 else "pulls the weight up"
        zero = [f"its {what} is 0" for what, value in (("delta", self.delta), ("input", self.input)) if value == 0]
        return "none: " + (" and ".join(zero) or "its products cancel or are 0")


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
        problem: Problem,
        record: StepRecord,
        part: Samples,
        weight: str,
        *,
        data: Dataset | None = None,
        sample: int | None = None,
        depth: int = DEPTH,
    ) -> None:
        """`part` is the whole training part, of which the step saw some rows; `data` knows how they were read."""
        rows = record.rows
        layout = problem.network.parameters
        self._problem, self._record, self._batch, self._data = problem, record, part.take(rows), data
        self.place = layout.find(weight)
        self.weight = layout.name_of(self.place)
        self.step = record.before.step
        self.precision = problem.network.dtype
        self.depth = depth
        self.value_before = float(record.before.parameters[self.place])
        self.value_after = float(record.after.parameters[self.place])
        self.update = float(record.update[self.place])
        self.training_gradient = float(record.gradient[self.place])
        if depth < 1:
            raise SettingError(f"the depth is {depth}; it takes at least 1")
        if sample is not None and sample not in rows:
            shown = ", ".join(str(int(row)) for row in np.sort(rows)[:10])
            raise SettingError(
                f"sample {sample} is not in the batch of step {self.step}; its samples are"
                f" {shown}{' ...' * (len(rows) > 10)}"
            )
        self._sample = sample

    @cached_property
    def trace(self) -> Trace:
        """Forward and backward of the step, in float64."""
        return Trace(self._problem, self._record.before, self._batch, self._record.rows)

    @cached_property
    def gradient(self) -> float:
        """The gradient, in float64, with the penalties."""
        return float(self.trace.result.gradient[self.place])

    @cached_property
    def samples(self) -> list[SampleTerm]:
        """What each sample adds to the gradient of the loss, without the penalties; strongest first."""
        rows, counts = self._record.rows.tolist(), self._batch.weight
        weights = [None] * len(rows) if counts is None else counts.tolist()
        uses: dict[int, list[Link]] = {}
        for link in strongest(self.trace.terms(self.place))[0]:
            uses.setdefault(link.unit.sample, []).append(link)
        found = [SampleTerm(rows[k], tuple(links), weights[k]) for k, links in uses.items()]
        return sorted(found, key=lambda term: -abs(term.product))

    @cached_property
    def data_gradient(self) -> float:
        """What the samples' products add up to: the gradient without the penalties."""
        return sum(term.product for term in self.samples)

    @cached_property
    def penalties(self) -> list[tuple[str, float]]:
        """What each penalty adds to the gradient, and how."""
        layout, w = self._problem.network.parameters, float(self.trace.parameters[self.place])
        return [term for penalty in self._problem.penalties for term in penalty.terms(layout, self.place, w)]

    @cached_property
    def about(self) -> str:
        """What the weight connects, in words, where its layer can tell."""
        network = self._problem.network
        entry = network.parameters.at(self.place)
        index = tuple(int(k) for k in np.unravel_index(self.place - entry.start, entry.shape))
        node = network.graph.node(entry.owner)

        def source(feature: int) -> str:
            """An input of the layer: one of the network's, if it comes from there unchanged."""
            if len(network.graph.shapes[node.inputs[0]]) == 1:
                value, origin = network.graph.source(node.inputs[0], (feature,))
                if value == 0:
                    return self._input(origin)
            return f"unit {feature}"

        return node.layer.describe(entry.own_name, index, source)

    def _input(self, index: Shape) -> str:
        """An input of the network, as people call it."""
        number = int(np.ravel_multi_index(index, self._problem.network.input_shape))
        if len(index) > 1:
            return f"pixel {number} (row {index[0]}, column {index[1]})"
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
        return gradient_rounding(self.trace, self.precision, self.place, self.training_gradient)

    @cached_property
    def stages(self) -> list[StageWork]:
        """What each stage of the optimizer did with this weight's number."""
        before = self._record.before
        _, point = NumpyEngine(self._problem).look(before, self._batch)
        return stage_works(self._problem.optimizer.stages, self._record.gradient, before.states, point, self.place)

    @cached_property
    def chain(self) -> ChainLink | None:
        """The delta of the strongest sample's term, or of the one asked for, opened towards the loss; None if nothing
        depends on the weight.
        """
        terms = [term for term in self.samples if self._sample is None or term.row == self._sample]
        if not terms:
            return None
        return open_link(self.trace, terms[0].uses[0], self.depth)

    @cached_property
    def _paths(self) -> tuple[list[Path], bool]:
        return find_paths(self.trace, [link for term in self.samples for link in term.uses if link.product])

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
        trace, update = self.trace, self._record.update.astype(np.float64)
        alone = np.zeros_like(update)
        alone[self.place] = update[self.place]
        before, gradient = self.trace.total_loss(trace.parameters), trace.result.gradient
        return Proof(
            numerical_gradient=central_difference(self._nudged()),
            loss_before=before,
            weight_alone=self.trace.total_loss(trace.parameters - alone) - before,
            weight_predicted=-float(gradient @ alone),
            step=self.trace.total_loss(trace.parameters - update) - before,
            step_predicted=-float(gradient @ update),
        )

    def _nudged(self) -> Callable[[float], float]:
        def at(h: float) -> float:
            elsewhere = self.trace.parameters.copy()
            elsewhere[self.place] += h
            return self.trace.total_loss(elsewhere)

        return at

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


def most_moved(record: StepRecord, names: Sequence[str], layout: Any) -> str:
    """The weight that a step moved most, among the arrays whose names end like one of these."""
    places = [k for e in layout.entries if e.name.rpartition(".")[2] in names for k in range(e.start, e.start + e.size)]
    chosen = np.array(places) if places else np.arange(layout.size)
    return str(layout.name_of(int(chosen[np.argmax(np.abs(record.update[chosen]))])))
