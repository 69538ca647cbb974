"""Stages of an optimizer: each takes a gradient (or what the stage before made of it) and hands on something better.

A stage is a frozen dataclass with two pure functions over flat vectors: `start` gives its state, `apply` the update
and the next state. What leaves the last stage is subtracted from the parameters. In the formulas g is what comes in,
u what goes out, w the parameters. Here are the simple ones; those that scale the gradient by its own past are in
adaptive.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.descent.schedules import Constant, Schedule
from chainrule.errors import require
from chainrule.kinds import Kind
from chainrule.layout import Layout

State = Mapping[str, Array]
"""A stage's memory: arrays by name, most of them as long as the parameters."""


@dataclass(frozen=True)
class Point:
    """Where on the loss surface a step starts: the parameters, what they are called, and, for stages that look
    around, the loss elsewhere.

    `evaluate(parameters)` gives (loss, gradient) of the same batch at other parameters.
    """

    parameters: Vector
    layout: Layout
    loss: float = float("nan")
    gradient: Vector | None = None
    evaluate: Callable[[Vector], tuple[float, Vector]] | None = None


@dataclass(frozen=True)
class WeightView:
    """What one weight sees of a stage's work: what came in (for all weights) and went out (for it), and the states."""

    place: int
    incoming: Vector
    u: float
    before: State
    after: State
    point: Point

    @property
    def g(self) -> float:
        """What came in for this weight."""
        return float(self.incoming[self.place])

    def was(self, name: str) -> str:
        """The weight's entry of a state before, in figures."""
        return figures(self.before[name][self.place])

    def now(self, name: str) -> str:
        """The same after."""
        return figures(self.after[name][self.place])

    @property
    def t(self) -> int:
        """Which update this is, counted from 1."""
        return int(self.after["count"])

    @property
    def array(self) -> slice:
        """Where the array that the weight belongs to lies in the flat vectors."""
        return self.point.layout.at(self.place).place


def figures(number: Any) -> str:
    """A number with six significant figures, in brackets if it is negative."""
    text = f"{float(number):.6g}"
    return f"({text})" if text.startswith("-") else text


@dataclass(frozen=True)
class Stage(Kind, register=False):
    """One transformation of a gradient."""

    @property
    def formula(self) -> str:
        """What it does, in LaTeX."""
        raise NotImplementedError

    def start(self, parameters: Vector, layout: Layout) -> State:
        """The state before the first step. Its arrays keep their shapes and types."""
        return {}

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        """The update and the next state; no update (None) means that the step ends here, with the parameters as they
        are.
        """
        raise NotImplementedError

    def worked(self, at: WeightView) -> str:
        """The formula for one weight, with the numbers put in."""
        raise NotImplementedError

    def observe(self, state: State, loss: float) -> State:
        """The state after an epoch that ended with this validation loss."""
        return state


def zero_count() -> Array:
    """A count of updates before the first."""
    return np.zeros((), dtype=np.int64)


def next_count(state: State) -> int:
    """How many updates this one makes, counting from 1."""
    return int(state["count"]) + 1


def counted(t: int) -> Array:
    """A count as a state holds it."""
    return np.array(t, dtype=np.int64)


def require_share(name: str, what: str, value: float) -> None:
    """Raise SettingError unless the value is a share below 1."""
    require(0 <= value < 1, f"{name}: {what} is {value}; it is a share from 0 up to, but not, 1")


@dataclass(frozen=True)
class LearningRate(Stage):
    """Times the learning rate, which may follow a schedule."""

    schedule: Schedule = field(default_factory=Constant)

    formula = r"u = \eta_t\, g"

    def start(self, parameters: Vector, layout: Layout) -> State:
        return {"count": zero_count()}

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        return g * g.dtype.type(self.schedule(int(state["count"]))), {"count": counted(next_count(state))}

    def worked(self, at: WeightView) -> str:
        step = int(at.before["count"])
        rate, made = figures(self.schedule(step)), self.schedule.worked(step)
        scheduled = f"learning rate = {made} = {rate}; " if made else ""
        return f"{scheduled}u = learning rate x g = {rate} x {figures(at.g)} = {figures(at.u)}"


@dataclass(frozen=True)
class Plateau(Stage):
    """Times a factor that shrinks by `factor` whenever the validation loss has not improved for `patience` epochs."""

    factor: float = 0.5
    patience: int = 5
    minimum: float = 1e-3

    formula = r"u = c\, g"

    def __post_init__(self) -> None:
        require(0 < self.factor < 1, f"plateau: the factor is {self.factor}; it lies between 0 and 1")
        require(self.patience >= 1, f"plateau: the patience is {self.patience} epochs; it takes at least 1")

    def start(self, parameters: Vector, layout: Layout) -> State:
        return {"scale": np.array(1.0), "best": np.array(np.inf), "waited": zero_count()}

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        return g * g.dtype.type(state["scale"]), state

    def observe(self, state: State, loss: float) -> State:
        if loss < state["best"]:
            return {**state, "best": np.array(loss), "waited": zero_count()}
        waited = int(state["waited"]) + 1
        if waited < self.patience:
            return {**state, "waited": counted(waited)}
        return {
            **state,
            "scale": np.array(max(float(state["scale"]) * self.factor, self.minimum)),
            "waited": zero_count(),
        }

    def worked(self, at: WeightView) -> str:
        return f"u = c x g = {figures(at.before['scale'])} x {figures(at.g)} = {figures(at.u)}"


@dataclass(frozen=True)
class WeightDecay(Stage):
    """Adds strength * w for the weights, not biases, or for the parameters whose names match `on`:
    every step shrinks them by the same share (Loshchilov and Hutter, 2019).

    Decoupled: it comes after the stages that scale the gradient, unlike an L2 penalty, which is part of
    the gradient.
    """

    strength: float = 0.01
    on: str | None = None

    formula = r"u = g + \lambda w"

    def __post_init__(self) -> None:
        require(self.strength >= 0, f"weight decay: its strength is {self.strength}; it can't be negative")

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        u = g.copy()
        for entry in point.layout.applies(self.on):
            u[entry.place] += g.dtype.type(self.strength) * point.parameters[entry.place]
        return u, state

    def worked(self, at: WeightView) -> str:
        if at.point.layout.at(at.place) not in at.point.layout.applies(self.on):
            return f"u = g = {figures(at.g)} (weight decay does not apply to it)"
        w = figures(at.point.parameters[at.place])
        return f"u = g + {self.strength:g} x w = {figures(at.g)} + {self.strength:g} x {w} = {figures(at.u)}"


@dataclass(frozen=True)
class ClipValue(Stage):
    """Every entry kept between -limit and limit."""

    limit: float = 1.0

    formula = r"u = \min(\max(g, -c), c)"

    def __post_init__(self) -> None:
        require(self.limit > 0, f"clip by value: the limit is {self.limit}; it must be positive")

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        return np.clip(g, -self.limit, self.limit), state

    def worked(self, at: WeightView) -> str:
        return f"u = min(max({figures(at.g)}, -{self.limit:g}), {self.limit:g}) = {figures(at.u)}"


@dataclass(frozen=True)
class ClipNorm(Stage):
    """Each parameter array's gradient shortened to a norm of at most `limit`."""

    limit: float = 1.0

    formula = r"u = g_k \min(1, c / \lVert g_k \rVert)"

    def __post_init__(self) -> None:
        require(self.limit > 0, f"clip by norm: the limit is {self.limit}; it must be positive")

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        u = g.copy()
        for entry in point.layout.entries:
            u[entry.place] *= _shortening(g[entry.place], self.limit)
        return u, state

    def worked(self, at: WeightView) -> str:
        return _shortened(at, at.incoming[at.array], self.limit, "its array's norm")


@dataclass(frozen=True)
class ClipGlobalNorm(Stage):
    """The whole gradient shortened to a norm of at most `limit` (Pascanu et al., 2013)."""

    limit: float = 1.0

    formula = r"u = g \min(1, c / \lVert g \rVert)"

    def __post_init__(self) -> None:
        require(self.limit > 0, f"clip by global norm: the limit is {self.limit}; it must be positive")

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        return g * _shortening(g, self.limit), state

    def worked(self, at: WeightView) -> str:
        return _shortened(at, at.incoming, self.limit, "the norm of all")


def _shortening(g: Vector, limit: float) -> Any:
    """The factor that shortens g to the limit, or 1."""
    norm = np.linalg.norm(g)
    return g.dtype.type(limit / norm if norm > limit else 1)


def _shortened(at: WeightView, vector: Vector, limit: float, whose: str) -> str:
    """The work of a stage that shortens this vector to the limit."""
    norm = figures(np.linalg.norm(vector))
    factor = f"min(1, {limit:g} / {norm})"
    return f"{whose} is {norm}; u = g x {factor} = {figures(at.g)} x {factor} = {figures(at.u)}"


@dataclass(frozen=True)
class Accumulate(Stage):
    """Gathers the gradients of `steps` mini-batches and hands on their mean: a batch as large as all of them
    together.
    """

    steps: int = 4

    formula = r"u = \tfrac{1}{k}\sum_{i=1}^{k} g_i"

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"accumulate: over {self.steps} mini-batches; it needs at least 1")

    def start(self, parameters: Vector, layout: Layout) -> State:
        return {"count": zero_count(), "sum": np.zeros_like(parameters)}

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        t, gathered = next_count(state), state["sum"] + g
        if t < self.steps:
            return None, {"count": counted(t), "sum": gathered}
        return gathered / g.dtype.type(self.steps), {"count": zero_count(), "sum": np.zeros_like(g)}

    def worked(self, at: WeightView) -> str:
        earlier, count = at.was("sum"), int(at.before["count"]) + 1
        if count < self.steps:
            return (
                f"sum = {earlier} + {figures(at.g)} = {at.now('sum')}; {count} of {self.steps} mini-batches: no"
                " step yet"
            )
        return (
            f"u = ({earlier} of the {self.steps - 1} mini-batches before + {figures(at.g)}) / {self.steps} ="
            f" {figures(at.u)}"
        )


@dataclass(frozen=True)
class Average(Stage):
    """Follows the weights with a moving average, which is used once training is over; it stands last and changes no
    step.

    average = d * average + (1 - d) * w, with d = min(decay, t / (9 + t)), so that the average soon forgets where the
    weights started (Polyak and Juditsky, 1992; the growing d is that of Abadi et al., 2016).
    """

    decay: float = 0.999

    formula = r"u = g, \quad \bar w_t = d\,\bar w_{t-1} + (1 - d)\, w_t"

    def __post_init__(self) -> None:
        require_share("average", "the decay", self.decay)

    def start(self, parameters: Vector, layout: Layout) -> State:
        return {"count": zero_count(), "average": parameters.copy()}

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        t = next_count(state)
        decay = g.dtype.type(min(self.decay, t / (9 + t)))
        average = decay * state["average"] + (1 - decay) * (point.parameters - g)
        return g, {"count": counted(t), "average": average}

    def worked(self, at: WeightView) -> str:
        d, w = min(self.decay, at.t / (9 + at.t)), float(at.point.parameters[at.place]) - at.g
        return f"u = g; average = {d:.6g} x {at.was('average')} + {1 - d:.6g} x {figures(w)} = {at.now('average')}"


@dataclass(frozen=True)
class Momentum(Stage):
    """A running sum of gradients in which old ones fade (Polyak, 1964); with `nesterov` a look ahead along it
    (Nesterov, 1983).
    """

    decay: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        require_share("momentum", "the decay", self.decay)

    @property
    def formula(self) -> str:
        return r"v_t = \mu v_{t-1} + g, \quad " + (r"u = g + \mu v_t" if self.nesterov else r"u = v_t")

    def start(self, parameters: Vector, layout: Layout) -> State:
        return {"v": np.zeros_like(parameters)}

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        v = self.decay * state["v"] + g
        return (g + self.decay * v if self.nesterov else v), {"v": v}

    def worked(self, at: WeightView) -> str:
        v = f"v = {self.decay:g} x {at.was('v')} + {figures(at.g)} = {at.now('v')}"
        if not self.nesterov:
            return f"{v}; u = v"
        return f"{v}; u = {figures(at.g)} + {self.decay:g} x {at.now('v')} = {figures(at.u)}"
