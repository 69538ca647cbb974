"""A worksheet: one forward pass, one backward pass and one update of a small network, with blanks to fill in and an
answer key. The numbers are drawn so that they stay short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.data import Samples
from chainrule.descent import Optimizer
from chainrule.engine import Position, Problem, StepRecord
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import SettingError
from chainrule.explain.html import document, formula
from chainrule.explain.trace import Trace
from chainrule.explain.update import stage_works, words
from chainrule.generators import generator
from chainrule.losses import Loss
from chainrule.network import Network
from chainrule.tape import Unit

MOST = 40
"""Weights that a network on a worksheet may have."""
_DRAWS = 200


@dataclass(frozen=True)
class Blank:
    """A number to fill in."""

    answer: float


Line = tuple["str | Blank", ...]


@dataclass(frozen=True)
class Worksheet:
    """Everything that a worksheet is about: a step of a network on one sample."""

    trace: Trace
    record: StepRecord
    problem: Problem

    def page(self) -> str:
        """The sheet, and on a page of its own the answer key, as one HTML file."""
        sheet = self._sheet(lambda _: '<span class="blank"></span>')
        key = self._sheet(lambda blank: f"<b>{number(blank.answer)}</b>")
        body = f"<section><h1>One step of learning, by hand</h1>{_ABOUT}{self._given()}{sheet}</section>"
        body += f'<section class="key"><h1>Answer key</h1>{key}</section>'
        return document("One step of learning, by hand", body, _STYLE)

    def _sheet(self, shown: Callable[[Blank], str]) -> str:
        parts = (
            ("1. Forward: every unit gets its value", self.forward()),
            ("2. The loss", self.loss()),
            ("3. Backpropagation: every unit gets its derivative of the loss, from last to first", self.backward()),
            ("4. The gradient: of a weight delta times input, of a bias delta", self.gradients()),
            ("5. Gradient descent: a step against the gradient", self.updates()),
        )
        return "".join(
            f"<h2>{title}</h2><div>{''.join(_line(line, shown) for line in lines)}</div>" for title, lines in parts
        )

    def _given(self) -> str:
        network, rules = self.trace.network, []
        kinds: dict[str, Any] = {node.layer.kind: node.layer for node in network.nodes}
        for layer in kinds.values():
            if layer.elementwise:
                value, slope = layer.symbols
                rules.append(formula(rf"f(z) = {value}, \quad f'(z) = {slope}"))
        value, slope = self.problem.loss.formula
        rules.append(formula(rf"L = {value}, \quad \frac{{\partial L}}{{\partial y}} = {slope}"))
        inputs = ", ".join(f"x[{k}] = {number(v)}" for k, v in enumerate(self.trace.batch.x[0].tolist()))
        target = ", ".join(f"t[{k}] = {number(v)}" for k, v in enumerate(np.ravel(self.trace.batch.y[0]).tolist()))
        weights = "".join(
            f"<p>{escape(entry.name)}: "
            + ", ".join(
                f"[{', '.join(map(str, np.unravel_index(k, entry.shape)))}] = {number(float(value))}"
                for k, value in enumerate(self.trace.parameters[entry.place])
            )
            + "</p>"
            for entry in network.parameters.entries
        )
        return (
            f'<div class="given"><p>Inputs: {inputs}</p><p>Target: {target}</p>{weights}'
            f"<p>W[i, j] is the weight from input i to unit j.</p>{''.join(rules)}</div>"
        )

    def forward(self) -> Iterator[Line]:
        """A line a unit, from first to last layer."""
        tape, inputs = self.trace.tape, [number(v) for v in self.trace.batch.x[0].tolist()]
        for k, node in enumerate(tape.graph.nodes):
            known = tape.values[k][0].tolist()
            for j, value in enumerate(tape.values[k + 1][0].tolist()):
                linear = node.layer.linear(tape.params[node.owner], j)
                if linear is None:
                    given = Blank(known[j]) if k else inputs[j]
                    yield f"{node.name}[{j}]: a = f(", given, ") = ", Blank(value)
                    continue
                factors, constant = linear
                parts: list[str | Blank] = [f"{node.name}[{j}]: z = "]
                for i, w in enumerate(factors.tolist()):
                    parts += [" + " if i else "", Blank(known[i]) if k else inputs[i], f" × {_factor(w)}"]
                bias = f" + {_factor(constant)}" if "b" in node.built.parameters else ""
                yield (*parts, f"{bias} = ", Blank(value))

    def loss(self) -> Iterator[Line]:
        """The loss of the prediction."""
        prediction = self.trace.tape.output[0].tolist()
        given: list[str | Blank] = ["the prediction y = "]
        for k, value in enumerate(prediction):
            given += [", " if k else "", Blank(value)]
        yield (*given, "; L = ", Blank(self.trace.result.data_loss))

    def backward(self) -> Iterator[Line]:
        """A line a unit, from last to first layer."""
        tape = self.trace.tape
        for node in reversed(tape.graph.nodes):
            name = "δ" if node.layer.output_symbol == "z" else "∂L/∂a"
            for j, delta in enumerate(tape.arrived(node.name)[0].tolist()):
                unit = Unit(node.name, (0, j))
                yield (f"{unit}: {name} = ", *self._derivative(unit), " = ", Blank(delta))

    def _derivative(self, unit: Unit) -> Line:
        """How the derivative at a unit's output comes about."""
        feeds = self.trace.tape.feeds(unit)
        if not feeds:
            return (f"∂L/∂y[{unit.index[1]}]",)
        terms = feeds[0]  # a worksheet's layers are a chain
        pairs = list(zip(terms.local.tolist(), terms.upstream.tolist(), strict=True))
        if self.trace.network.graph.node(terms.node).layer.elementwise:
            ((slope, delta),) = pairs
            return "f'(z) × ∂L/∂a = ", Blank(slope), " × ", Blank(delta)
        parts: list[str | Blank] = []
        for k, (w, delta) in enumerate(pairs):
            parts += [" + " if k else "", f"{_factor(w)} × ", Blank(delta)]
        return tuple(parts)

    def gradients(self) -> Iterator[Line]:
        """A line a weight: its gradient."""
        for entry in self.trace.network.parameters.entries:
            for k in range(entry.size):
                weight = self.trace.network.parameters.name_of(entry.start + k)
                (terms,) = self.trace.terms(entry.start + k)
                gradient = float(terms.products.sum())
                if entry.own_name == "b":
                    yield f"∂L/∂ {weight} = ", Blank(gradient)
                else:
                    delta, given = Blank(float(terms.upstream[0])), Blank(float(terms.local[0]))
                    yield f"∂L/∂ {weight} = ", delta, " × ", given, " = ", Blank(gradient)

    def updates(self) -> Iterator[Line]:
        """A line a weight: what the optimizer makes of its gradient, and the new weight."""
        record, layout, part = self.record, self.trace.network.parameters, self.trace.batch
        _, point = NumpyEngine(self.problem).look(record.before, part)
        plain = len(self.problem.optimizer.stages) == 1
        for place in range(layout.size):
            before, after = float(record.before.parameters[place]), float(record.after.parameters[place])
            gradient, update = float(record.gradient[place]), float(record.update[place])
            parts: list[str | Blank] = [f"{layout.name_of(place)}: {number(before)} − "]
            if plain and gradient:
                parts += [f"{number(update / gradient)} × ", Blank(gradient)]
            else:
                stages = stage_works(self.problem.optimizer.stages, record.gradient, record.before.states, point, place)
                for stage in stages[:-1]:
                    yield f"{words(stage.stage)} of ", Blank(stage.input), " gives ", Blank(stage.output or 0.0)
                parts += [Blank(update)]
            yield (*parts, " = ", Blank(after))


def make_worksheet(
    network: Network, loss: Loss, optimizer: Optimizer, *, seed: int = 0, weights: Vector | None = None,
    sample: tuple[Array, Array] | None = None,
) -> Worksheet:  # fmt: skip
    """A worksheet for a network: with weights and a sample drawn by `seed`, or with those given, rounded to two
    decimals.

    Raises SettingError for a network that is too large or has layers that take no part in it.
    """
    _check(network)
    network = replace(network, dtype="float64")
    problem = Problem(network, loss, optimizer)
    if weights is not None and sample is not None:
        return _made(problem, np.round(weights.astype(np.float64), 2), *(np.round(part, 2) for part in sample))
    drawn = (_drawn(problem, seed, k) for k in range(_DRAWS))
    return min(drawn, key=_awkwardness)


def _check(network: Network) -> None:
    fits = [node.layer.elementwise or node.layer.output_symbol == "z" for node in network.nodes]
    chained = [node.inputs == (k,) for k, node in enumerate(network.nodes)]
    odd = [n.layer.kind for n, good in zip(network.nodes, map(min, fits, chained), strict=True) if not good]
    if odd:
        raise SettingError(
            f"a worksheet is for Dense layers and activations that take each number by itself; this network has"
            f" {odd[0]}"
        )
    if not network.parameters.size:
        raise SettingError("a worksheet is for a network with weights; this one has none; try --network '2 relu, 1'")
    if network.parameters.size > MOST or len(network.input_shape) != 1:
        raise SettingError(
            f"a worksheet is for a network of up to {MOST} weights and a list of inputs; this one has"
            f" {network.parameters.size:,} weights and inputs of shape {network.input_shape}; try --network '2 relu, 1'"
        )


def _drawn(problem: Problem, seed: int, attempt: int) -> Worksheet:
    """Weights and a sample of halves and small whole numbers."""
    random = generator(seed, "make_worksheet", attempt)
    network = problem.network
    weights = random.choice([-1.5, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0], network.parameters.size)
    x = random.choice([-2.0, -1.0, 1.0, 2.0, 3.0], (1, *network.input_shape))
    outputs = network.output_shape[0]
    if problem.loss.task == "classification":
        y = random.integers(0, max(outputs, 2), 1)
    else:
        y = random.choice([0.0, 1.0, 2.0], (1, outputs // problem.loss.outputs(1)))  # a loss may take several for each
    return _made(problem, weights, x, y)


def _made(problem: Problem, weights: Vector, x: Array, y: Array) -> Worksheet:
    position = Position(
        0, weights, problem.network.start_statistics(), problem.optimizer.start(weights, problem.network.parameters)
    )
    rows = np.arange(len(x))
    samples = Samples(x, y)
    record = NumpyEngine(problem).step(position, samples, rows)
    return Worksheet(Trace(problem, position, samples, rows), record, problem)


def _awkwardness(made: Worksheet) -> tuple[int, int]:
    """How ill a draw suits: weights without a gradient first of all, then long and large numbers."""
    gradient = made.record.gradient
    lines = [*made.forward(), *made.loss(), *made.backward(), *made.gradients(), *made.updates()]
    texts = [number(part.answer) for line in lines for part in line if isinstance(part, Blank)]
    silent = int((gradient == 0).sum())
    return (silent if 2 * silent > len(gradient) else 0) + 99 * (silent == len(gradient)), sum(map(len, texts))


def number(value: float) -> str:
    """A number as one writes it by hand: all of it if it is short, else four decimals, with a true minus."""
    short = round(value, 6)
    text = f"{short:.6f}" if abs(value - short) < 1e-12 else f"{value:.4f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return ("0" if text in ("-0", "") else text).replace("-", "−")


def _factor(value: float) -> str:
    return f"({number(value)})" if value < 0 else number(value)


def _line(line: Line, shown: Callable[[Blank], str]) -> str:
    made = "".join(shown(part) if isinstance(part, Blank) else escape(part) for part in line)
    return f'<p class="line">{made}</p>'


_ABOUT = (
    "<p>Fill in the blanks from top to bottom. What you find in one line is used in later ones. Where a number is long,"
    " round it to four decimals.</p>"
)
_STYLE = """
.given { background: var(--soft); border-radius: .5rem; padding: .4rem .9rem; }
.given p { margin: .3rem 0; }
.line { margin: .55rem 0; font-variant-numeric: tabular-nums; }
.blank { display: inline-block; min-width: 4.5rem; border-bottom: 1px solid currentColor; }
.key { margin-top: 3rem; border-top: 3px double var(--line); }
.key .line { margin: .2rem 0; }
h2:nth-last-of-type(-n+2) + div { columns: 23rem; }
.line:first-child { margin-top: 0; }
@media print {
  .key { break-before: page; border: 0; margin: 0; }
  .line { break-inside: avoid; }
  h2 { break-after: avoid; }
}
"""
