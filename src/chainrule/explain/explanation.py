"""The explanation of one weight in one step. Each part is worked out when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.backprop import total_loss
from chainrule.engine import Done, Work
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import SettingError
from chainrule.explain import symbols
from chainrule.explain.paths import Path, find_paths
from chainrule.explain.trace import Batch, Link, Trace, Unit
from chainrule.explain.update import StageWork, stage_works
from chainrule.gradient_check import central_difference
from chainrule.layers import Dropout, Step
from chainrule.layers.activations import Activation, ForRectifiers

DEPTH = 3
WIDTH = 5
"""How many terms of a sum are shown; the others are added up."""


@dataclass(frozen=True)
class SampleTerm:
    """One product of a gradient's sum over the batch.

    Attributes:
        row: the sample's row in the training part
        unit: the unit whose delta it is
        delta: dL/d that unit
        input: what the weight multiplies there
        product: delta times input
    """

    row: int
    unit: Unit
    delta: float
    input: float

    @property
    def product(self) -> float:
        return self.delta * self.input + 0.0


@dataclass(frozen=True)
class ChainLink:
    """A delta opened: the units that this one feeds, each with its own delta and the local derivative towards it.

    Attributes:
        unit: which unit, and `row` of which sample
        delta: dL/d this unit: the sum over `terms` of their local derivative times their delta, plus `rest`
        local_derivative: of this unit with respect to the one before it on the way from the weight
        value: its output
        note: what there is to say in words, of a unit that is silent, saturated or dropped
        terms: the units it feeds, strongest first; none where the loss takes it, or where the depth ends
        rest, others: what the terms that are not shown add up to, and how many they are
    """

    unit: Unit
    row: int
    delta: float
    local_derivative: float
    value: float | None
    note: str
    terms: tuple[ChainLink, ...]
    rest: float
    others: int
    is_last: bool


@dataclass(frozen=True)
class Proof:
    """The gradient beside a measured one, and what the step did beside what the derivatives predicted.

    Attributes: numerical_gradient: from nudging the weight to both sides, in float64 loss_before: the batch's loss
    weight_alone, weight_predicted: how the loss changes if only this weight takes its step, and minus gradient times
    update step, step_predicted: the same for the whole step
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
        self, work: Work, done: Done, batch: Batch, weight: str, *, sample: int | None = None, depth: int = DEPTH
    ) -> None:
        layout = work.network.parameters
        self._work, self._done, self._batch = work, done, batch
        self.place = layout.find(weight)
        self.weight = layout.name_of(self.place)
        self.step = done.before.step
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
        found = [
            SampleTerm(int(self._batch.rows[at[0]]), Unit(group.layer, tuple(at)), delta + 0.0, local + 0.0)  # -0 is 0
            for group in self.trace.terms(self.weight)
            for at, delta, local in zip(group.at.tolist(), group.upstream.tolist(), group.local.tolist(), strict=True)
        ]
        return sorted(found, key=lambda term: -abs(term.product))

    @cached_property
    def penalties(self) -> list[tuple[str, float]]:
        """What each penalty adds to the gradient."""
        found = []
        for penalty in self._work.penalties:
            added = float(penalty.gradient(self.trace.parameters, self._work.network.parameters)[self.place])
            found.append((f"penalty (l1 {penalty.l1:g}, l2 {penalty.l2:g})", added))
        return [(name, added) for name, added in found if added]

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
        return self._open(Link(terms[0].unit, terms[0].input), self.depth)

    def _open(self, link: Link, depth: int) -> ChainLink:
        trace, unit = self.trace, link.unit
        links = trace.fed_by(unit)
        # A layer that takes each number by itself is no sum: it is passed through without counting as a level.
        left = depth if len(links) == 1 else depth - 1
        order = sorted(links, key=lambda inner: -abs(inner.local * trace.delta(inner.unit))) if left >= 0 else []
        shown = order[:WIDTH]
        rest = sum(inner.local * trace.delta(inner.unit) for inner in order[WIDTH:])
        return ChainLink(
            unit=unit,
            row=int(self._batch.rows[unit.index[0]]),
            delta=trace.delta(unit),
            local_derivative=link.local,
            value=trace.value(unit),
            note=self._note(link),
            terms=tuple(self._open(inner, left) for inner in shown),
            rest=rest,
            others=len(order) - len(shown),
            is_last=not links,
        )

    def _note(self, link: Link) -> str:
        """In words: why nothing, or hardly anything, comes through."""
        layer, output = self.trace.nodes[link.unit.layer].layer, self.trace.outputs.get(link.unit.layer)
        if isinstance(layer, Dropout) and link.local == 0:
            return "dropped in this step, so nothing comes through"
        if isinstance(layer, Step):
            return "a step is flat everywhere, so nothing comes through"
        if isinstance(layer, ForRectifiers) and link.local == 0 and output is not None:
            dead = not output[..., link.unit.index[-1]].any()
            return (
                "dead: silent for every sample of this batch"
                if dead
                else "silent for this sample, so nothing comes through"
            )
        if isinstance(layer, Activation) and abs(link.local) < 1e-3:
            return f"saturated: its derivative is only {link.local:.2g}"
        return ""

    @cached_property
    def _paths(self) -> tuple[list[Path], bool]:
        return find_paths(self.trace, [Link(term.unit, term.input) for term in self.samples if term.product])

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
    def latex(self) -> str:
        """The same rule in symbols, for these layers."""
        return symbols.latex(self.trace, self.weight)

    def _repr_html_(self) -> str:
        """How a notebook shows it: the scheme and the two lines."""
        from html import escape

        from chainrule.explain.scheme import draw
        from chainrule.explain.text import gradient_line, update_line

        return f"<p>{escape(gradient_line(self))}<br>{escape(update_line(self))}</p>{draw(self)}"

    def as_json(self) -> dict[str, Any]:
        """Everything, under the names that the documentation lists."""
        proof = self.proof
        return {
            "weight": self.weight,
            "step": self.step,
            "value_before": self.value_before,
            "value_after": self.value_after,
            "update": self.update,
            "gradient": self.gradient,
            "training_gradient": self.training_gradient,
            "numerical_gradient": proof.numerical_gradient,
            "samples": [
                *(
                    {"sample": t.row, "unit": str(t.unit), "delta": t.delta, "input": t.input, "product": t.product}
                    for t in self.samples
                ),
                *(
                    {"sample": None, "unit": name, "delta": added, "input": 1.0, "product": added}
                    for name, added in self.penalties
                ),
            ],
            "chain": None if self.chain is None else _chain_json(self.chain),
            "paths": [_path_json(path, self._batch.rows) for path in self.paths],
            "all_paths": self.has_all_paths,
            "optimizer": [
                {"stage": s.stage, "formula": s.formula, "symbols": s.symbols, "input": s.input, "output": s.output}
                for s in self.stages
            ],
            "effect": {
                "loss": proof.loss_before,
                "weight": proof.weight_alone,
                "weight_predicted": proof.weight_predicted,
                "step": proof.step,
                "step_predicted": proof.step_predicted,
            },
            "latex": self.latex,
        }


def _chain_json(link: ChainLink) -> dict[str, Any]:
    return {
        "unit": str(link.unit),
        "sample": link.row,
        "delta": link.delta,
        "local_derivative": link.local_derivative,
        "value": link.value,
        "note": link.note,
        "terms": [_chain_json(term) for term in link.terms],
        "rest": {"count": link.others, "sum": link.rest},
        "taken_by_the_loss": link.is_last,
    }


def _path_json(path: Path, rows: Array) -> dict[str, Any]:
    return {
        "units": [str(unit) for unit in path.units],
        "sample": int(rows[path.units[0].index[0]]),
        "local_derivatives": [*path.locals, path.last],
        "product": path.product,
    }


def explain_done(
    work: Work, done: Done, x: Array, y: Array, weight: Array | None, name: str, **also: Any
) -> Explanation:
    """The explanation of a step that was taken on these samples; x, y and weight are those of the whole training
    part.
    """
    rows = done.rows
    batch = Batch(x[rows], y[rows], None if weight is None else weight[rows], rows)
    return Explanation(work, done, batch, name, **also)


def strongest(done: Done, names: Sequence[str], layout: Any) -> str:
    """The weight that a step moved most, among the arrays whose names end like one of these."""
    places = [k for e in layout.entries if e.name.rpartition(".")[2] in names for k in range(e.start, e.start + e.size)]
    chosen = np.array(places) if places else np.arange(layout.size)
    return str(layout.name_of(int(chosen[np.argmax(np.abs(done.update[chosen]))])))
