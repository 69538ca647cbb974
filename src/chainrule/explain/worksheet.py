"""A worksheet: one forward pass, backward pass and update of a small network, with blanks to fill
in and an answer key. The numbers are drawn so that they stay short.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from html import escape
from typing import Any

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.data import Samples
from chainrule.descent import Optimizer
from chainrule.engine import Position, Problem, StepRecord
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import require, setting
from chainrule.explain.diagram import diagram
from chainrule.explain.html import document, formula
from chainrule.explain.trace import Trace
from chainrule.explain.update import stage_results, words
from chainrule.generators import generator
from chainrule.losses import Loss
from chainrule.network import Network
from chainrule.tape import Unit

NETWORK = "2, leakyrelu 0.5, 1"
"""A network whose numbers stay short although its slopes are not all 1."""
MOST = 40
"""The maximum number of weights of a network on a worksheet."""
_DRAWS = 200
"""The number of random draws of which the most suitable is used."""


@dataclass(frozen=True)
class Blank:
    """A number to fill in.

    Attributes:
        answer: the number
    """

    answer: float


Line = tuple["str | Blank", ...]
"""A line of text and blanks."""


@dataclass(frozen=True)
class Worksheet:
    """One step of a network on one sample, as an exercise.

    Attributes:
        trace: the forward and backward pass
        record: the update
        problem: the network, loss and optimizer
    """

    trace: Trace
    record: StepRecord
    problem: Problem

    def page(self) -> str:
        """The sheet, and on a separate page the answer key, as one HTML file."""
        network = '<div class="network">{}</div>'
        sheet = network.format(diagram(self.trace, number, lambda _: "______"))
        sheet += self._sheet(lambda _: '<span class="blank"></span>')
        key = network.format(diagram(self.trace, number, number))
        key += self._sheet(lambda blank: f"<b>{number(blank.answer)}</b>")
        body = f"<section><h1>One step of learning, by hand</h1>{_ABOUT}{self._given()}{sheet}</section>"
        body += f'<section class="key"><h1>Answer key</h1>{key}</section>'
        return document("One step of learning, by hand", body, _STYLE)

    def _sheet(self, shown: Callable[[Blank], str]) -> str:
        return "".join(
            f"<h2>{k}. {title}</h2><div>{''.join(_line(line, shown) for line in lines)}</div>"
            for k, (title, lines) in enumerate(self.sections().items(), start=1)
        )

    def sections(self) -> dict[str, Iterator[Line]]:
        """The lines of each section, by its title."""
        return {
            "Forward pass: the value of every unit": self.forward(),
            "The loss": self.loss(),
            "Backward pass: the derivative of the loss with respect to every unit, from last to first": self.backward(),
            "The gradient: delta times input for a weight, delta for a bias": self.gradients(),
            "Gradient descent: a step against the gradient": self.updates(),
        }

    def _given(self) -> str:
        """The inputs, the target, the weights, and the formulas of activations and loss."""
        network, batch = self.trace.network, self.trace.batch
        activations: dict[str, Any] = {node.layer.kind: node.layer for node in network.nodes if node.layer.elementwise}
        value, slope = self.problem.loss.formula
        rules = [[_with_setting(layer, rule) for rule in layer.symbols] for layer in activations.values()]
        formulas = [rf"f(z) = {value}, \quad f'(z) = {slope}" for value, slope in rules]
        formulas.append(rf"L = {value}, \quad \frac{{\partial L}}{{\partial y}} = {slope}")
        numbers = [f"Inputs: {_entries(batch.x[0], 'x')}", f"Target: {_entries(batch.y[0], 't')}"]
        for entry in network.parameters.entries:
            weights = self.trace.parameters[entry.place].reshape(entry.shape)
            numbers.append(f"{escape(entry.name)}: {_entries(weights)}")
        numbers.append("W[i, j] is the weight from input i to unit j.")
        paragraphs = "".join(f"<p>{line}</p>" for line in numbers)
        return f'<div class="given">{paragraphs}{"".join(map(formula, formulas))}</div>'

    def forward(self) -> Iterator[Line]:
        """One line per unit, from the first layer to the last."""
        tape, inputs = self.trace.tape, [number(v) for v in self.trace.batch.x[0].tolist()]
        for k, node in enumerate(tape.graph.nodes):
            known: Sequence[str | Blank] = [Blank(v) for v in tape.values[k][0].tolist()] if k else inputs
            for j, value in enumerate(tape.values[k + 1][0].tolist()):
                linear = node.layer.linear(tape.params[node.owner], j)
                if linear is None:
                    yield f"{node.name}[{j}]: a = f(", known[j], ") = ", Blank(value)
                    continue
                weights, constant = linear
                products = _joined(" + ", [(x, f" × {_factor(w)}") for x, w in zip(known, weights, strict=True)])
                bias = f" + {_factor(constant)}" if "b" in node.built.parameters else ""
                yield f"{node.name}[{j}]: z = ", *products, f"{bias} = ", Blank(value)

    def loss(self) -> Iterator[Line]:
        """The loss of the prediction."""
        prediction = _joined(", ", [(Blank(value),) for value in self.trace.tape.output[0].tolist()])
        yield "the prediction y = ", *prediction, "; L = ", Blank(self.trace.result.data_loss)

    def backward(self) -> Iterator[Line]:
        """One line per unit, from the last layer to the first."""
        tape = self.trace.tape
        for node in reversed(tape.graph.nodes):
            name = "δ" if node.layer.output_symbol == "z" else "∂L/∂a"
            for j, delta in enumerate(tape.arrived(node.name)[0].tolist()):
                unit = Unit(node.name, (0, j))
                yield (f"{unit}: {name} = ", *self._derivative(unit), " = ", Blank(delta))

    def _derivative(self, unit: Unit) -> Line:
        """The right-hand side of the derivative with respect to a unit's output."""
        feeds = self.trace.tape.feeds(unit)
        if not feeds:
            return (f"∂L/∂y[{unit.index[1]}]",)
        terms = feeds[0]  # a worksheet's layers are a chain
        pairs = list(zip(terms.local.tolist(), terms.upstream.tolist(), strict=True))
        if self.trace.network.graph.node(terms.node).layer.elementwise:
            ((slope, delta),) = pairs
            return "f'(z) × ∂L/∂a = ", Blank(slope), " × ", Blank(delta)
        return _joined(" + ", [(f"{_factor(w)} × ", Blank(delta)) for w, delta in pairs])

    def slopes(self) -> Iterator[tuple[float, float]]:
        """The z of every activation, and its slope there."""
        for node in self.trace.network.nodes:
            for j in range(node.built.output_shape[-1]):
                unit = Unit(node.name, (0, j))
                for terms in self.trace.tape.feeds(unit):
                    if self.trace.network.graph.node(terms.node).layer.elementwise:
                        yield self.trace.tape.value(unit), float(terms.local[0])

    def gradients(self) -> Iterator[Line]:
        """One line per weight: its gradient."""
        for entry in self.trace.network.parameters.entries:
            for k in range(entry.size):
                weight = self.trace.network.parameters.name_of(entry.start + k)
                (terms,) = self.trace.terms(entry.start + k)
                gradient = float(terms.products.sum())
                if entry.own_name == "b":
                    yield f"∂L/∂ {weight} = ", Blank(gradient)
                else:
                    delta, x = Blank(float(terms.upstream[0])), Blank(float(terms.local[0]))
                    yield f"∂L/∂ {weight} = ", delta, " × ", x, " = ", Blank(gradient)

    def updates(self) -> Iterator[Line]:
        """One line per weight: the optimizer's stages if there are several, and the new weight."""
        record, layout, stages = self.record, self.trace.network.parameters, self.problem.optimizer.stages
        point = NumpyEngine(self.problem).point(record.before, self.trace.batch, record.loss, record.gradient)
        for place in range(layout.size):
            before, after = float(record.before.parameters[place]), float(record.after.parameters[place])
            gradient, update = float(record.gradient[place]), float(record.update[place])
            if len(stages) == 1 and gradient:
                step: Line = (f"{number(update / gradient)} × ", Blank(gradient))
            else:
                step = (Blank(update),)
                for stage in stage_results(stages, record.gradient, record.before.states, point, place)[:-1]:
                    yield f"{words(stage.stage)} of ", Blank(stage.input), " gives ", Blank(stage.output or 0.0)
            yield f"{layout.name_of(place)}: {number(before)} − ", *step, " = ", Blank(after)


def make_worksheet(
    network: Network, loss: Loss, optimizer: Optimizer, *, seed: int = 0, weights: Vector | None = None,
    sample: tuple[Array, Array] | None = None,
) -> Worksheet:  # fmt: skip
    """Make a worksheet for a network, loss and optimizer.

    Args:
        network: the network, of dense layers and elementwise activations
        loss: the loss
        optimizer: the optimizer
        seed: the seed of the weights and the sample that are drawn
        weights: the weights to use instead, with `sample`; rounded to two decimals
        sample: input and target of shape (1, ...) to use instead, with `weights`; likewise rounded

    Raises:
        SettingError: for a network that is too large, or that has other layers
    """
    _check(network)
    network = replace(network, dtype="float64")
    problem = Problem(network, loss, optimizer)
    if weights is not None and sample is not None:
        return _worksheet(problem, np.round(weights.astype(np.float64), 2), *(np.round(array, 2) for array in sample))
    draws = [(_flaws(sheet), sheet) for sheet in (_drawn(problem, seed, k) for k in range(_DRAWS))]
    fewest = min(flaws for flaws, _ in draws)
    return min((sheet for flaws, sheet in draws if flaws == fewest), key=_length)


def _check(network: Network) -> None:
    for k, node in enumerate(network.nodes):
        fits = node.inputs == (k,) and (node.layer.elementwise or node.layer.output_symbol == "z")
        allowed = "a chain of Dense layers and elementwise activations"
        require(fits, f"a worksheet is for {allowed}; this network has {node.layer.kind}")
    size, shape = network.parameters.size, network.input_shape
    require(
        size > 0,
        f"a worksheet is for a network with weights; this one has none; try {setting('network', '2 sigmoid, 1')}",
    )
    require(
        size <= MOST and len(shape) == 1,
        f"a worksheet is for a network with a list of inputs and at most {MOST} weights; this one has inputs of shape"
        f" {shape} and {size:,} weights; try {setting('network', '2 sigmoid, 1')}",
    )


def _drawn(problem: Problem, seed: int, attempt: int) -> Worksheet:
    """A worksheet with random weights and inputs: multiples of a half, and small integers."""
    random = generator(seed, "make_worksheet", attempt)
    network = problem.network
    weights = random.choice([-1.5, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0], network.parameters.size)
    x = random.choice([-2.0, -1.0, 1.0, 2.0, 3.0], (1, *network.input_shape))
    outputs = network.output_shape[0]
    width = problem.loss.width(outputs)  # a loss may read several outputs for a target
    if problem.loss.task == "regression":
        y = random.choice([0.0, 1.0, 2.0], (1, width))
    else:
        y = random.integers(0, max(width, 2), 1)
    return _worksheet(problem, weights, x, y)


def _worksheet(problem: Problem, weights: Vector, x: Array, y: Array) -> Worksheet:
    network, samples, rows = problem.network, Samples(x, y), np.arange(len(x))
    states = problem.optimizer.start(weights, network.parameters)
    position = Position(0, weights, network.start_statistics(), states)
    record = NumpyEngine(problem).step(position, samples, rows)
    return Worksheet(Trace(problem, position, samples, rows), record, problem)


def _flaws(sheet: Worksheet) -> tuple[int, bool]:
    """How unsuitable a draw is: by weights without a gradient, then whether every slope is 1 (its
    factor would go unnoticed) or at a z of 0 (where many have none).
    """
    gradient = sheet.record.gradient
    silent = int((gradient == 0).sum())
    slopes = list(sheet.slopes())
    unclear = bool(slopes) and (all(slope == 1 for _, slope in slopes) or any(z == 0 for z, _ in slopes))
    return (silent if 2 * silent > len(gradient) else 0) + 99 * (silent == len(gradient)), unclear


def _length(sheet: Worksheet) -> int:
    """How many characters the numbers of a draw have."""
    items = [item for lines in sheet.sections().values() for line in lines for item in line]
    return sum(len(number(item.answer)) for item in items if isinstance(item, Blank))


def number(value: float) -> str:
    """A number as written by hand: in full up to six decimals, otherwise with four."""
    short = round(value, 6)
    text = f"{short:.6f}" if abs(value - short) < 1e-12 else f"{value:.4f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return ("0" if text in ("-0", "") else text).replace("-", "−")


def _with_setting(activation: Any, rule: str) -> str:
    """The LaTeX of an activation's rule with the number of its setting, if it has one."""
    numbers = [setting for field in fields(activation) if isinstance(setting := getattr(activation, field.name), float)]
    return re.sub(r"\\(alpha|omega)\b", f"{numbers[0]:g}", rule) if numbers else rule


def _factor(value: float) -> str:
    return f"({number(value)})" if value < 0 else number(value)


def _joined(separator: str, groups: Sequence[Line]) -> Line:
    """One line from several, with a separator between them."""
    return tuple(item for group in groups for item in (separator, *group))[1:]


def _entries(array: Array, name: str = "") -> str:
    """Every entry of an array with its index."""
    entries = np.ndenumerate(np.atleast_1d(array))
    return ", ".join(f"{name}[{', '.join(map(str, index))}] = {number(float(value))}" for index, value in entries)


def _line(line: Line, shown: Callable[[Blank], str]) -> str:
    content = "".join(shown(item) if isinstance(item, Blank) else escape(item) for item in line)
    return f'<p class="line">{content}</p>'


_ABOUT = (
    "<p>Fill in the blanks from top to bottom. Later lines use the results of earlier ones. Round long numbers to four"
    " decimals.</p>"
)
_STYLE = """
.given { background: var(--soft); border-radius: .5rem; padding: .4rem .9rem; }
.given p { margin: .3rem 0; }
.network svg { display: block; margin: .8rem 0; }
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
