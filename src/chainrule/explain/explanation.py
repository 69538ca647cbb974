"""The explanation of one weight in one step. Each part is computed on first access."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from chainrule.arrays import Shape
from chainrule.data import Dataset, Sample, Samples
from chainrule.engine import Problem, StepRecord
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import require
from chainrule.explain import symbols
from chainrule.explain.attention import Attention, through_attention
from chainrule.explain.chain import DEPTH, ChainLink, open_link
from chainrule.explain.fields import MOST, fields
from chainrule.explain.paths import Path, find_paths
from chainrule.explain.rounding import Rounding, gradient_rounding
from chainrule.explain.scheme import draw
from chainrule.explain.slopes import Slopes
from chainrule.explain.text import gradient_line, update_line
from chainrule.explain.texts import text_of
from chainrule.explain.time_steps import StepsBack, loss_positions, steps_back
from chainrule.explain.trace import Link, Trace, strongest
from chainrule.explain.update import StageResult, stage_results
from chainrule.gradient_check import central_difference
from chainrule.layers.base import Terms, total
from chainrule.layers.graph import Node
from chainrule.layout import Layout
from chainrule.summary import Shown, Summary
from chainrule.tape import Unit
from chainrule.threads import in_threads, undivided
from chainrule.training.threshold import Decision, decision

_NOTEBOOK = 960
"""The width of the scheme in a notebook."""


@dataclass(frozen=True)
class SampleTerm:
    """A sample's contribution to a gradient: delta times input, summed over every use of the
    weight.

    A weight is used once for each position that its layer is applied to, and in every layer that
    shares it.

    Attributes:
        row: the sample's row in the training set
        terms: the terms of its uses, one group for each layer that uses the weight
        weight: the sample's weight in the loss, a factor of its delta; None if unweighted
    """

    row: int
    terms: tuple[Terms, ...]
    weight: float | None = None

    @cached_property
    def product(self) -> float:
        """Delta times input, summed over the uses."""
        return total(self.terms) + 0.0

    @cached_property
    def count(self) -> int:
        """The number of uses."""
        return sum(len(group.local) for group in self.terms)

    def strongest(self, most: int | None = None) -> tuple[list[Link], float, int]:
        """The uses with the largest products, strongest first: the unit that the weight feeds, its
        delta, and the input that the weight multiplies (as the link's `local`). Then the sum of
        the other products, and their number.
        """
        return strongest(self.terms, most)

    @cached_property
    def uses(self) -> tuple[Link, ...]:
        """All uses, strongest first."""
        return tuple(self.strongest()[0])

    @cached_property
    def first(self) -> Link:
        """The strongest use."""
        return self.strongest(1)[0][0]

    @property
    def places(self) -> str:
        """What its uses are, in words."""
        if all(group.time is not None for group in self.terms):
            return "time steps"
        return "positions" if len(self.terms) == 1 else "uses"

    @property
    def unit(self) -> Unit:
        """The unit that the weight feeds in its strongest use."""
        return self.first.unit

    @property
    def delta(self) -> float | None:
        """dL/d that unit; None if there are several uses."""
        return self.first.delta if self.count == 1 else None

    @property
    def input(self) -> float | None:
        """The input that the weight multiplies; None if there are several uses."""
        return self.first.local if self.count == 1 else None

    @property
    def pull(self) -> str:
        """The effect of the term on the weight, in words."""
        if self.product:
            return "pulls the weight down" if self.product > 0 else "pulls the weight up"
        zero = [f"its {what} is 0" for what, value in (("delta", self.delta), ("input", self.input)) if value == 0]
        return "none: " + (" and ".join(zero) or "its products cancel or are 0")


def by_sample(groups: Sequence[Terms]) -> dict[int, tuple[Terms, ...]]:
    """The terms of each sample, by its number in the batch."""
    samples: dict[int, list[Terms]] = {}
    for group in groups:
        if not len(group.local):
            continue
        order = np.argsort(group.at[:, 0], kind="stable")
        numbers, starts = np.unique(group.at[order, 0], return_index=True)
        for number, own in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
            part = replace(group, upstream=group.upstream[own], local=group.local[own], at=group.at[own])
            samples.setdefault(number, []).append(part)
    return {number: tuple(parts) for number, parts in samples.items()}


@dataclass(frozen=True)
class Use:
    """A layer's use of a weight.

    Attributes:
        node: the name of the layer
        in_time: whether its uses are time steps
        samples: the number of samples for which it uses the weight
        times: how often it uses the weight, at all positions of these samples
    """

    node: str
    in_time: bool
    samples: int
    times: int

    def __str__(self) -> str:
        each, left = divmod(self.times, max(1, self.samples))
        if each <= 1 and not left:
            return f"{self.node}, once for each of {self.samples:,} samples"
        places = "time steps" if self.in_time else "positions"
        often = f"{self.times:,} times" if left else f"at {each:,} {places}"
        if self.samples == 1:
            return f"{self.node}, {often} of 1 sample"
        return f"{self.node}, {often}{'' if left else ' of each'} of {self.samples:,} samples"


@dataclass(frozen=True)
class Proof:
    """The gradient checked numerically, and the step's effect compared with its first-order
    prediction.

    Attributes:
        numerical_gradient: the central difference of the loss, in float64
        loss_before: the batch's loss before the step
        weight_alone: the change of the loss if only this weight takes its step
        weight_predicted: its first-order prediction, minus gradient times update
        step, step_predicted: the same for the whole step
    """

    numerical_gradient: float
    loss_before: float
    weight_alone: float
    weight_predicted: float
    step: float
    step_predicted: float


class Explanation(Shown):
    """Why a weight changed as it did in one step.

    The update is the one that training made, in the run's own precision. Everything else is
    computed in float64, at the run's own weights.

    Attributes:
        weight: the weight's name, such as "dense_1.W[3, 2]"
        place: its index in the flat parameter vector
        step: the step, counted from 0
        precision: the data type of training's products
        depth: how many sums `chain` opens on the way to the loss
        value_before, value_after: the weight before and after the step
        update: what the step subtracted from it
        training_gradient: the gradient that training used, in the run's precision
    """

    def __init__(
        self, problem: Problem, record: StepRecord, training: Samples, weight: str, *, data: Dataset | None = None,
        sample: int | None = None, depth: int = DEPTH, threshold: float | None = None,
    ) -> None:  # fmt: skip
        """Explain a recorded step.

        Args:
            problem: the network, loss and optimizer of the step
            record: the step
            training: the whole training set, from which the step took its batch
            weight: the name of the weight
            data: the dataset, for samples as they were read; None if unknown
            sample: the row of the sample whose delta to open; None for the strongest term's
            depth: how many sums to open on the way to the loss
            threshold: from which probability on the second of two classes is predicted; None for
                the more probable class

        Raises:
            SettingError: for an unknown weight, a sample outside the batch, or a depth below 1
        """
        rows, layout = record.rows, problem.network.parameters
        self._problem, self._record, self._data = problem, record, data
        self._batch = problem.gather(training, rows, record.before.step)
        self.place = layout.find(weight)
        self.weight = layout.name_of(self.place)
        self.step = record.before.step
        self.precision = record.compute or problem.network.dtype
        self.depth = depth
        self.threshold = threshold
        self.value_before = float(record.before.parameters[self.place])
        self.value_after = float(record.after.parameters[self.place])
        self.update = float(record.update[self.place])
        self.training_gradient = float(record.gradient[self.place])
        require(depth >= 1, f"the depth is {depth}; it takes at least 1")
        shown = ", ".join(str(int(row)) for row in np.sort(rows)[:10]) + " ..." * (len(rows) > 10)
        missing = f"sample {sample} is not in the batch of step {self.step}; its samples are {shown}"
        require(sample is None or sample in rows, missing)
        self._sample = sample
        self._names: dict[tuple[int, int], list[str]] = {}
        self._steps_back: dict[int | None, list[StepsBack]] = {}

    @property
    def weight_index(self) -> Shape:
        """The weight's index in its array."""
        entry = self._problem.network.parameters.entry_at(self.place)
        return tuple(int(k) for k in np.unravel_index(self.place - entry.start, entry.shape))

    @cached_property
    def trace(self) -> Trace:
        """The step's forward and backward pass in float64."""
        with undivided():
            return Trace(self._problem, self._record.before, self._batch, self._record.rows)

    @cached_property
    def gradient(self) -> float:
        """dL/dw in float64, penalties included."""
        return float(self.trace.result.gradient[self.place])

    @cached_property
    def terms(self) -> list[Terms]:
        """The terms of the gradient, without penalties: a group for each layer that uses the
        weight.
        """
        return self.trace.terms(self.place)

    @cached_property
    def samples(self) -> list[SampleTerm]:
        """Each sample's contribution to the gradient, without penalties; strongest first."""
        rows = self._record.rows.tolist()
        weight = self._batch.weight
        weights = [None] * len(rows) if weight is None or weight.ndim > 1 else weight.tolist()
        terms = [SampleTerm(rows[k], own, weights[k]) for k, own in by_sample(self.terms).items()]
        return sorted(terms, key=lambda term: -abs(term.product))

    @cached_property
    def where(self) -> list[Use]:
        """Where the weight is used in this batch: in which layers, and how often."""
        uses: dict[tuple[str, bool], list[Terms]] = {}
        groups = [group for group in self.terms if len(group.local)] or self.terms[:1]
        for group in groups:  # the time steps of a layer are listed together
            is_step = group.time is not None
            uses.setdefault((group.node.partition("@")[0] if is_step else group.node, is_step), []).append(group)
        at = {key: np.concatenate([group.at[:, 0] for group in own]) for key, own in uses.items()}
        return [Use(node, steps, len(np.unique(rows)), len(rows)) for (node, steps), rows in at.items()]

    def steps_back(self, position: int | None = None) -> list[StepsBack]:
        """How much of the gradient comes from how many time steps back, nearest first, for a weight
        of a recurrent layer; see `explain.time_steps`. With a `position`, only of the loss there.
        """
        if position not in self._steps_back:
            self._steps_back[position] = steps_back(self.trace, self.place, position)
        return self._steps_back[position]

    @property
    def loss_positions(self) -> list[int]:
        """The positions of the loss from which `steps_back` counts, by default; empty where the
        loss is of the sample as a whole.
        """
        return loss_positions(self.trace)

    @cached_property
    def data_gradient(self) -> float:
        """The sum of the samples' products: the gradient without the penalties."""
        return sum(term.product for term in self.samples)

    @cached_property
    def penalties(self) -> list[tuple[str, float]]:
        """Each penalty's formula with its numbers, and what it adds to the gradient."""
        layout, w = self._problem.network.parameters, float(self.trace.parameters[self.place])
        return [term for penalty in self._problem.penalties for term in penalty.terms(layout, self.place, w)]

    @cached_property
    def about(self) -> str:
        """What the weight connects, in words; empty if its layer doesn't describe it."""
        network = self._problem.network
        entry = network.parameters.entry_at(self.place)
        node = network.graph.node(entry.owner)

        def source(feature: int) -> str:
            """Name a feature of the layer's input: a network input if it arrives unchanged."""
            shape = network.graph.shapes[node.inputs[0]]
            if self._data is not None and self._data.sequence == shape:
                value, _ = network.graph.source(node.inputs[0], (0, feature))
                return f"feature {feature}" if value == 0 else f"unit {feature}"
            if len(shape) == 1:
                value, origin = network.graph.source(node.inputs[0], (feature,))
                if value == 0:
                    return self._input(origin)
                if len(origin) > 1 and self._data is not None and self._data.feature_names:
                    return f"unit {feature} ({network.nodes[value - 1].name}{list(origin)})"
            return f"unit {feature}"

        return node.layer.describe(entry.own_name, self.weight_index, source) + self._symbol(node)

    def _symbol(self, node: Node) -> str:
        """The token that a weight of this layer belongs to, as a row or as an output; empty if it
        belongs to none.
        """
        data, index = self._data, self.weight_index
        if data is not None and node.layer.takes_tokens and len(index) > 1:
            rows = data.symbols_of(text_of(self._problem.network.graph, node) or 0)
            return f", the row of {rows[index[0]]}" if index[0] < len(rows) else ""
        symbols = [] if data is None else data.symbols
        if symbols and node.name == self._problem.network.nodes[-1].name:
            return f", the output of {symbols[index[-1]]}"
        return ""

    def named_place(self, unit: Unit) -> str:
        """Where a unit is, by name: its position, such as "position 7 'e'", and of an output which
        token it is for; empty if they have no names.
        """
        words: list[str] = []
        names = self.names_of(int(self.trace.rows[unit.sample]), self.trace.node(unit))
        shape = self.trace.node(unit).built.output_shape
        if names and len(shape) > 1 and shape[-2] == len(names):
            words.append(f"position {unit.index[-2]} {names[unit.index[-2]]}")
        if names and self._data is not None and unit.node == self._problem.network.nodes[-1].name:
            words.append(f"output {self._data.output_of(int(self.trace.rows[unit.sample]), unit.index[-1])}")
        return ", ".join(words)

    def called(self, unit: Unit) -> str:
        """A unit with its place."""
        place = self.named_place(unit)
        return f"{unit.label} ({place})" if place else unit.label

    def _input(self, index: Shape) -> str:
        """Name an input of the network: a pixel by its position, a column by its name."""
        number = int(np.ravel_multi_index(index, self._problem.network.input_shape))
        features = [] if self._data is None else self._data.feature_names
        if len(index) == 2 and features:
            return f"input {number} ({features[index[1]]}, position {index[0]})"
        if len(index) > 1 and self._data is not None and self._data.sequence is not None:
            return f"input x[{index[0]}, {index[1]}]"
        if len(index) > 1:
            return f"pixel {number} (row {index[0]}, column {index[1]})"
        names = [] if self._data is None else self._data.input_names
        return f"input {number}" + (f" ({names[number]})" if names else "")

    def row_read(self, row: int) -> int | None:
        """The row, from 1, of the source that a training sample was read from; None if unknown."""
        return None if self._data is None or self._data.rows is None else int(self._data.rows[row]) + 1

    def read(self, row: int) -> Sample | None:
        """A training sample as it was read, a picture as the step augmented it; None if unknown."""
        sample = None if self._data is None else self._data.sample(row)
        if sample is None or sample.picture is None or not self._problem.augment:
            return sample
        assert self._data is not None
        at = int(np.flatnonzero(self._record.rows == row)[0])
        return replace(sample, picture=self._data.as_read(self._batch.x[at]))

    @property
    def augmentation(self) -> str:
        """How the samples were changed in this step, such as "shift 2"; empty if they were not."""
        return ", ".join(one.text for one in self._problem.augment)

    @cached_property
    def rounding(self) -> Rounding:
        """The error of the gradient that training used, and a bound on what rounding can cause."""
        with undivided():
            return gradient_rounding(self.trace, self.precision, self.place, self.training_gradient)

    @cached_property
    def stages(self) -> list[StageResult]:
        """What each stage of the optimizer did to this weight's entry."""
        problem, step = self._problem, self._record
        point = NumpyEngine(problem).point(step.before, self._batch, step.loss, step.gradient)
        return stage_results(problem.optimizer.stages, step.gradient, step.before.states, point, self.place)

    @cached_property
    def chain(self) -> ChainLink | None:
        """The delta of the strongest sample, or of the chosen one, opened towards the loss; None
        if no sample uses the weight.
        """
        terms = [term for term in self.samples if self._sample is None or term.row == self._sample]
        return open_link(self.trace, terms[0].first, self.depth) if terms else None

    @cached_property
    def decision(self) -> Decision | None:
        """What is predicted for the sample of `chain`, in this step's forward pass; None unless a
        threshold decides.
        """
        if self.threshold is None or self.chain is None or self._data is None:
            return None
        at = self._record.rows.tolist().index(self.chain.row)
        return decision(self._problem.loss, self._data.target, self.trace.tape.output[[at]], self.threshold)

    @cached_property
    def _paths(self) -> tuple[list[Path], bool]:
        return find_paths(self.trace, self.terms)

    @property
    def paths(self) -> list[Path]:
        """The paths from the weight to the loss, strongest first."""
        return self._paths[0]

    @property
    def has_all_paths(self) -> bool:
        """Whether these are all paths without a factor of 0, so that they add up to
        `data_gradient`.
        """
        return self._paths[1]

    @cached_property
    def slopes(self) -> Slopes:
        """The derivatives of all values with respect to the weight."""
        return Slopes(self.trace, self.place)

    @cached_property
    def attention(self) -> list[Attention]:
        """What of the gradient comes through each layer of attention that the weight reaches, and
        through which positions; empty if there is none.
        """
        return through_attention(self.slopes)

    def position(self, row: int, number: int) -> str:
        """A position of a training sample, in words."""
        names = self.names_of(row)
        return f"position {number} {names[number]}" if number < len(names) else f"position {number}"

    def names_of(self, row: int, node: Node | None = None) -> list[str]:
        """The names of the positions of a training sample in the text that a node is about, by
        default that of the weight; empty if they have none.
        """
        data, network = self._data, self._problem.network
        node = node or network.graph.node(network.parameters.entry_at(self.place).owner)
        text = text_of(network.graph, node) if data is not None and data.texts_as_tokens else 0
        if data is None or text is None:
            return []
        if (row, text) not in self._names:
            self._names[row, text] = data.positions_of(row, text)
        return self._names[row, text]

    @cached_property
    def proof(self) -> Proof:
        """The numerical gradient, and the step's measured and predicted effect."""
        trace, update = self.trace, self._record.update.astype(np.float64)
        own = float(update[self.place])
        before, gradient = trace.result.loss, trace.result.gradient
        with undivided():
            measured = central_difference(lambda h: trace.nudged_loss(self.place, h), in_threads)
            alone = trace.nudged_loss(self.place, -own)
            step = trace.total_loss(trace.parameters - update)
        return Proof(
            numerical_gradient=measured,
            loss_before=before,
            weight_alone=alone - before,
            weight_predicted=-float(gradient[self.place]) * own,
            step=step - before,
            step_predicted=-float(gradient @ update),
        )

    @cached_property
    def rules(self) -> list[tuple[str, str]]:
        """The rules in LaTeX, each with its owner: the weight, the layers on the way, the loss."""
        return symbols.rules(self.trace, self.weight)

    @cached_property
    def latex(self) -> str:
        """The same rules as one LaTeX block."""
        return symbols.latex(self.rules)

    def summary(self) -> Summary:
        """The gradient and the update."""
        facts = {"backpropagation": gradient_line(self), "gradient descent": update_line(self)}
        return Summary(f"Why {self.weight} changed in step {self.step}", self.about, facts)

    def _repr_html_(self) -> str:
        """The representation in a notebook: the summary and the scheme."""
        return f"{self.summary().html()}{draw(self, _NOTEBOOK)}"

    def as_json(self, most: int | None = MOST) -> dict[str, Any]:
        """The explanation as a dict of JSON types, with the documented fields.

        Args:
            most: how many samples and paths are listed, strongest first, with the sum of the
                others; of a sample a fifth as many uses, and of a delta as many terms. None for all
        """
        return fields(self, most)


def telling_weight(record: StepRecord, layout: Layout) -> str:
    """The name of the weight with the largest gradient in a step, for an example: among the weights
    of the first layer, since their chain rule runs through the whole network.
    """
    chosen = next((e for e in layout.entries if e.own_name == "W"), layout.entries[0])
    gradient = record.gradient[chosen.start : chosen.start + chosen.size]
    return layout.name_of(chosen.start + int(np.argmax(np.abs(gradient))))
