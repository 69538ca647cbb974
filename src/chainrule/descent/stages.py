"""Stages of an optimizer, each of which transforms the gradient.

A stage is a frozen dataclass of hyperparameters with two pure functions over flat vectors: `start`
returns its initial state, `apply` the update and the next state. The update of the last stage is
subtracted from the parameters. In the formulas g is a stage's input, u its output, and w the
parameters. This module holds the simple stages; adaptive.py and quasi_newton.py hold the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.descent.linear import Linear, Seen, ratio
from chainrule.descent.schedules import Constant, Schedule
from chainrule.errors import require
from chainrule.kinds import Kind
from chainrule.layout import Layout

State = Mapping[str, Array]
"""A stage's state: arrays by name, most of them as long as the parameters."""


@dataclass(frozen=True)
class Point:
    """The point on the loss surface from which a step starts.

    Attributes:
        parameters: the flat vector of parameters
        layout: their names and shapes
        loss: the loss of the mini-batch at these parameters
        gradient: its gradient, before any stage
        evaluate: gives (loss, gradient) of the same mini-batch at other parameters
    """

    parameters: Vector
    layout: Layout
    loss: float = float("nan")
    gradient: Vector | None = None
    evaluate: Callable[[Vector], tuple[float, Vector]] | None = None


@dataclass(frozen=True)
class WeightView:
    """A stage's step as one weight sees it.

    Attributes:
        place: the weight's index in the flat vector
        incoming: the stage's input, for all weights
        u: the stage's output, for this weight
        before: the stage's state before the step
        after: the stage's state after the step
        point: the point from which the step starts
    """

    place: int
    incoming: Vector
    u: float
    before: State
    after: State
    point: Point

    @property
    def g(self) -> float:
        """The stage's input for this weight."""
        return float(self.incoming[self.place])

    def was(self, name: str) -> str:
        """The weight's entry of a state array before the step, formatted."""
        return figures(self.before[name][self.place])

    def now(self, name: str) -> str:
        """The weight's entry of a state array after the step, formatted."""
        return figures(self.after[name][self.place])

    def moving_average(self, name: str, decay: float, power: str = "") -> str:
        """The step of an exponential moving average of g (or of a power of it), worked out."""
        return f"{name} = {decay:g} x {self.was(name)} + {1 - decay:.6g} x {figures(self.g)}{power} = {self.now(name)}"

    @property
    def t(self) -> int:
        """The number of this update, counted from 1."""
        return int(self.after["count"])

    @property
    def array(self) -> slice:
        """The slice of the flat vector that holds the weight's parameter array."""
        return self.point.layout.entry_at(self.place).place


def figures(number: Any) -> str:
    """A number to six significant figures, in parentheses if negative."""
    text = f"{float(number):.6g}"
    return f"({text})" if text.startswith("-") else text


@dataclass(frozen=True)
class Stage(Kind, register=False):
    """One transformation of the gradient."""

    buffers: ClassVar[tuple[str, ...]] = ()
    """The state arrays that start at 0: "count" is an integer, the others match the parameters."""

    fractions: ClassVar[tuple[str, ...]] = ()
    """The hyperparameters that must be in [0, 1)."""

    def __post_init__(self) -> None:
        for name in self.fractions:
            value = getattr(self, name)
            require(0 <= value < 1, f"{type(self).__name__}: {name} is {value}; it must be in [0, 1)")
        epsilon = getattr(self, "epsilon", 0.0)
        finite = math.isfinite(epsilon) and epsilon >= 0
        require(finite, f"{type(self).__name__}: epsilon is {epsilon}; it must be finite and not negative")

    @property
    def formula(self) -> str:
        """The transformation, in LaTeX."""
        raise NotImplementedError

    def start(self, parameters: Vector, layout: Layout) -> State:
        """The initial state. Its arrays keep their shapes and dtypes throughout training."""
        return {name: counted(0) if name == "count" else np.zeros_like(parameters) for name in self.buffers}

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        """The update and the next state; an update of None ends the step without changing the
        parameters.
        """
        raise NotImplementedError

    def derivation(self, at: WeightView) -> str:
        """The formula worked out for one weight."""
        raise NotImplementedError

    def multiplier(self, state: State) -> float | None:
        """The number that every entry is multiplied by in this step, for a stage that does no
        more than that; None for others.
        """
        return None

    carries: ClassVar[str] = ""
    """The state array that `linear` calls c, if there is one."""
    mixes_entries: ClassVar[bool] = False
    """Whether an entry of the update depends on other entries by more than a common factor."""
    has_common_factor: ClassVar[bool] = False
    """Whether all it does is to multiply by a factor that depends on other entries, as on their
    norm.
    """

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        """What the stage did in a step, as a linear function of its input and of what it carries
        (see linear.py); several in a row for a stage that is made of others.
        """
        factor = self.multiplier(seen.before)
        return (seen.proportional() if factor is None else Linear(factor),)

    def output(self, forms: Sequence[Linear], seen: Seen) -> Vector:
        """The output that its linear forms give, at the places asked for."""
        (form,) = forms
        u, _ = form.forward(seen.g, seen.was(self.carries) if self.carries else 0.0)
        return u + form.offset

    def stability(self, state: State) -> Stability | None:
        """How long its steps may be in this state; None where that is not known. Cohen et al.
        (2021; 2022 for Adam) derive the limits.
        """
        factor = self.multiplier(state)
        return None if factor is None else Stability(factor)

    def observe(self, state: State, loss: float) -> State:
        """The state after an epoch that ended with this validation loss."""
        return state


@dataclass(frozen=True)
class Stability:
    """How long the steps of a stage may be on a quadratic function, in the long run.

    Attributes:
        gain: (weights,) what it multiplies each entry by, or one number for all
        limit: along an eigenvector of the Hessian, gain x eigenvalue must be below this for steps
            to settle: 2 for a stage without memory
    """

    gain: Array | float = 1.0
    limit: float = 2.0


def counted(t: int) -> Array:
    """A number of updates, as a state stores it."""
    return np.array(t, dtype=np.int64)


def next_count(state: State) -> int:
    """The number of the coming update, counted from 1."""
    return int(state["count"]) + 1


@dataclass(frozen=True)
class LearningRate(Stage):
    """Multiplies by the learning rate, which may follow a schedule."""

    schedule: Schedule = field(default_factory=Constant)

    formula = r"u = \eta_t\, g"
    buffers = ("count",)

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        return g * g.dtype.type(self.schedule(int(state["count"]))), {"count": counted(next_count(state))}

    def derivation(self, at: WeightView) -> str:
        step = int(at.before["count"])
        rate, derivation = figures(self.schedule(step)), self.schedule.derivation(step)
        scheduled = f"learning rate = {derivation} = {rate}; " if derivation else ""
        return f"{scheduled}u = learning rate x g = {rate} x {figures(at.g)} = {figures(at.u)}"

    def multiplier(self, state: State) -> float:
        return float(self.schedule(int(state["count"])))


@dataclass(frozen=True)
class Plateau(Stage):
    """Scales the update, and multiplies the scale by `factor` whenever the validation loss has not
    improved for `patience` epochs.

    Attributes:
        factor: what the scale is multiplied by, between 0 and 1
        patience: the number of epochs without improvement before that
        minimum: the smallest scale
    """

    factor: float = 0.5
    patience: int = 5
    minimum: float = 1e-3

    formula = r"u = c\, g"

    def __post_init__(self) -> None:
        require(0 < self.factor < 1, f"Plateau: factor is {self.factor}; it must be between 0 and 1")
        require(self.patience >= 1, f"Plateau: patience is {self.patience} epochs; it must be at least 1")

    def start(self, parameters: Vector, layout: Layout) -> State:
        return {"scale": np.array(1.0), "best": np.array(np.inf), "waited": counted(0)}

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        return g * g.dtype.type(state["scale"]), state

    def multiplier(self, state: State) -> float:
        return float(state["scale"])

    def observe(self, state: State, loss: float) -> State:
        if loss < state["best"]:
            return {**state, "best": np.array(loss), "waited": counted(0)}
        waited = int(state["waited"]) + 1
        if waited < self.patience:
            return {**state, "waited": counted(waited)}
        scale = max(float(state["scale"]) * self.factor, self.minimum)
        return {**state, "scale": np.array(scale), "waited": counted(0)}

    def derivation(self, at: WeightView) -> str:
        return f"u = c x g = {figures(at.before['scale'])} x {figures(at.g)} = {figures(at.u)}"


@dataclass(frozen=True)
class WeightDecay(Stage):
    """Adds strength * w, so that every step shrinks the weights by the same fraction (Loshchilov
    and Hutter, 2019).

    This is decoupled weight decay: it follows the stages that rescale the gradient, whereas an L2
    penalty is part of the gradient.

    Attributes:
        strength: the coefficient of w
        on: a glob of parameter names; by default the weights, but not the biases
    """

    strength: float = 0.01
    on: str | None = None

    formula = r"u = g + \lambda w"

    def __post_init__(self) -> None:
        require(self.strength >= 0, f"WeightDecay: strength is {self.strength}; it can't be negative")

    def start(self, parameters: Vector, layout: Layout) -> State:
        layout.matching(self.on)  # a glob that matches nothing is refused before training begins
        return super().start(parameters, layout)

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        u = g.copy()
        for entry in point.layout.matching(self.on):
            u[entry.place] += g.dtype.type(self.strength) * point.parameters[entry.place]
        return u, state

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        weights = seen.cut(seen.point.parameters)
        start, stop, _ = seen.places.indices(seen.point.layout.size)
        offset = np.zeros_like(weights)
        for entry in seen.point.layout.matching(self.on):
            own = slice(max(0, entry.start - start), max(0, min(entry.start + entry.size, stop) - start))
            offset[own] = self.strength * weights[own]
        return (Linear(offset=offset, name="weight decay"),)

    def stability(self, state: State) -> Stability:
        return Stability()  # it adds its strength to the curvature, which is little

    def derivation(self, at: WeightView) -> str:
        if at.point.layout.entry_at(at.place) not in at.point.layout.matching(self.on):
            return f"u = g = {figures(at.g)} (no weight decay on this parameter)"
        w = figures(at.point.parameters[at.place])
        return f"u = g + {self.strength:g} x w = {figures(at.g)} + {self.strength:g} x {w} = {figures(at.u)}"


@dataclass(frozen=True)
class _Clip(Stage, register=False):
    """What the clipping stages share: a positive limit."""

    limit: float = 1.0

    def __post_init__(self) -> None:
        require(self.limit > 0, f"{type(self).__name__}: limit is {self.limit}; it must be positive")


@dataclass(frozen=True)
class ClipValue(_Clip):
    """Clips every entry to [-limit, limit]."""

    formula = r"u = \min(\max(g, -c), c)"

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        return np.clip(g, -self.limit, self.limit), state

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        return (Linear(ratio(np.clip(seen.g, -self.limit, self.limit), seen.g, 1.0)),)

    def derivation(self, at: WeightView) -> str:
        return f"u = min(max({figures(at.g)}, -{self.limit:g}), {self.limit:g}) = {figures(at.u)}"


@dataclass(frozen=True)
class ClipNorm(_Clip):
    """Rescales the gradient of each parameter array to a norm of at most `limit`."""

    formula = r"u = g_k \min(1, c / \lVert g_k \rVert)"
    has_common_factor = True

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        u = g.copy()
        for entry in point.layout.entries:
            u[entry.place] *= _clip_factor(g[entry.place], self.limit)
        return u, state

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        return (Linear(seen.by_array(lambda g, _: _clip_factor(g, self.limit))),)

    def derivation(self, at: WeightView) -> str:
        return _worked_clip(at, at.incoming[at.array], self.limit, "the norm of its array")


@dataclass(frozen=True)
class ClipGlobalNorm(_Clip):
    """Rescales the whole gradient to a norm of at most `limit` (Pascanu et al., 2013)."""

    formula = r"u = g \min(1, c / \lVert g \rVert)"
    has_common_factor = True

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        return g * _clip_factor(g, self.limit), state

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        return (Linear(float(_clip_factor(seen.whole, self.limit)) if seen.factor is None else seen.factor),)

    def derivation(self, at: WeightView) -> str:
        return _worked_clip(at, at.incoming, self.limit, "the norm of the whole gradient")


def _clip_factor(g: Vector, limit: float) -> Any:
    """The factor that brings g's norm down to the limit; 1 if it is below."""
    norm = np.linalg.norm(g)
    return g.dtype.type(limit / norm if norm > limit else 1)


def _worked_clip(at: WeightView, vector: Vector, limit: float, what: str) -> str:
    norm = figures(np.linalg.norm(vector))
    factor = f"min(1, {limit:g} / {norm})"
    return f"{what} is {norm}; u = g x {factor} = {figures(at.g)} x {factor} = {figures(at.u)}"


@dataclass(frozen=True)
class Accumulate(Stage):
    """Averages the gradients of `steps` mini-batches into one update, as of a mini-batch that many
    times as large.
    """

    steps: int = 4

    formula = r"u = \tfrac{1}{k}\sum_{i=1}^{k} g_i"
    buffers = ("count", "sum")

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"Accumulate: steps is {self.steps} mini-batches; it must be at least 1")

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        t, total = next_count(state), state["sum"] + g
        if t < self.steps:
            return None, {"count": counted(t), "sum": total}
        return total / g.dtype.type(self.steps), {"count": counted(0), "sum": np.zeros_like(g)}

    carries = "sum"

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        if next_count(seen.before) < self.steps:
            return (Linear(gain=0.0, keep=1.0, take=1.0, ends=True),)
        return (Linear(gain=1 / self.steps, carry=1 / self.steps),)

    def derivation(self, at: WeightView) -> str:
        t = next_count(at.before)
        if t < self.steps:
            total = f"sum = {at.was('sum')} + {figures(at.g)} = {at.now('sum')}"
            return f"{total}; {t} of {self.steps} mini-batches: no step yet"
        total = f"{at.was('sum')} of the {self.steps - 1} mini-batches before + {figures(at.g)}"
        return f"u = ({total}) / {self.steps} = {figures(at.u)}"


@dataclass(frozen=True)
class Average(Stage):
    """Keeps a moving average of the weights, for use after training; it comes last and passes the
    update through.

    average = d * average + (1 - d) * w, with d = min(decay, t / (9 + t)), so that the average soon
    forgets the initial weights (Polyak and Juditsky, 1992; the growing d is Abadi et al.'s, 2016).
    """

    decay: float = 0.999

    formula = r"u = g, \quad \bar w_t = d\,\bar w_{t-1} + (1 - d)\, w_t"
    fractions = ("decay",)

    def start(self, parameters: Vector, layout: Layout) -> State:
        return {"count": counted(0), "average": parameters.copy()}

    def decay_at(self, t: int) -> float:
        """What is kept of the average in update t, counted from 1."""
        return min(self.decay, t / (9 + t))

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        t = next_count(state)
        decay = g.dtype.type(self.decay_at(t))
        average = decay * state["average"] + (1 - decay) * (point.parameters - g)
        return g, {"count": counted(t), "average": average}

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        return (Linear(),)

    def stability(self, state: State) -> Stability:
        return Stability()

    def derivation(self, at: WeightView) -> str:
        d, w = self.decay_at(at.t), float(at.point.parameters[at.place]) - at.g
        return f"u = g; average = {d:.6g} x {at.was('average')} + {1 - d:.6g} x {figures(w)} = {at.now('average')}"


@dataclass(frozen=True)
class Momentum(Stage):
    """A decaying sum of past gradients (Polyak, 1964); with `nesterov`, a look-ahead along it
    (Nesterov, 1983).

    Attributes:
        decay: the momentum coefficient, in [0, 1)
        nesterov: whether to use Nesterov momentum
    """

    decay: float = 0.9
    nesterov: bool = False

    buffers = ("v",)
    fractions = ("decay",)

    @property
    def formula(self) -> str:
        return r"v_t = \mu v_{t-1} + g, \quad " + (r"u = g + \mu v_t" if self.nesterov else r"u = v_t")

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        v = self.decay * state["v"] + g
        return (g + self.decay * v if self.nesterov else v), {"v": v}

    carries = "v"

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        d = self.decay
        gain, carry = (1 + d, d * d) if self.nesterov else (1.0, d)
        return (Linear(gain, carry, keep=d, take=1.0),)

    def stability(self, state: State) -> Stability:
        mu = self.decay
        return Stability(limit=2 * (1 + mu) / (1 + 2 * mu if self.nesterov else 1))

    def derivation(self, at: WeightView) -> str:
        v = f"v = {self.decay:g} x {at.was('v')} + {figures(at.g)} = {at.now('v')}"
        if not self.nesterov:
            return f"{v}; u = v"
        return f"{v}; u = {figures(at.g)} + {self.decay:g} x {at.now('v')} = {figures(at.u)}"
