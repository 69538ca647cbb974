"""L-BFGS: a search direction from the curvature seen in recent steps, and a line search along it.

Both are ordinary stages, but they need a deterministic loss: the full batch, and no dropout.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.descent.linear import Linear, Mix, Seen
from chainrule.descent.stages import Point, Stage, State, WeightView, figures
from chainrule.errors import SettingError, require
from chainrule.layout import Layout

MOST = 10_000
"""The largest memory; each of its steps takes two arrays of the size of all weights."""


@dataclass(frozen=True)
class ScaleByLBFGS(Stage):
    """Multiplies the gradient by an estimate of the inverse Hessian from the last `memory` steps
    (Nocedal, 1980; Nocedal and Wright, 2006, algorithm 7.4).
    """

    memory: int = 10

    formula = r"u = H_t\, g, \quad H_t \text{ from } s_i = w_{i+1} - w_i,\; y_i = g_{i+1} - g_i"

    def __post_init__(self) -> None:
        require(self.memory >= 1, f"ScaleByLBFGS: memory is {self.memory} steps; it must be at least 1")
        require(self.memory <= MOST, f"ScaleByLBFGS: memory is {self.memory} steps; it must be at most {MOST:,}")

    def start(self, parameters: Vector, layout: Layout) -> State:
        rows, vector = np.zeros((self.memory, parameters.size), dtype=parameters.dtype), np.zeros_like(parameters)
        return {"known": np.array(-1), "s": rows, "y": rows, "parameters": vector, "gradient": vector}

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        s, y = state["s"], state["y"]
        known = min(int(state["known"]), self.memory)  # -1 before the first step
        if known >= 0:
            step, change = point.parameters - state["parameters"], g - state["gradient"]
            if step @ change > 0:  # negative curvature could point the direction uphill
                s, y = _appended(s, known, step), _appended(y, known, change)
                known = min(known + 1, self.memory)
        known = max(known, 0)
        after = {"known": np.array(known), "s": s, "y": y, "parameters": point.parameters.copy(), "gradient": g.copy()}
        return self._product(g, s[:known], y[:known]), after

    mixes_entries = True

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        known = int(seen.after["known"])
        if not known:
            norm = float(np.linalg.norm(seen.whole))
            return (Linear(min(1.0, 1 / norm) if norm > 0 else 1.0),)
        s, y = (np.asarray(seen.after[name][:known], dtype=np.float64) for name in ("s", "y"))

        def product(x: Vector) -> Vector:  # by a symmetric matrix
            return self._product(np.asarray(x, dtype=np.float64), s, y)

        return (Linear(mix=Mix(product, product)),)

    @staticmethod
    def _product(g: Vector, s: Array, y: Array) -> Vector:
        """H g by the two-loop recursion over the stored steps."""
        if not len(s):
            norm = np.linalg.norm(g)
            return g * min(1.0, 1.0 / float(norm)) if norm > 0 else g
        q, rho, alpha = g.copy(), 1 / np.einsum("ij,ij->i", s, y), np.zeros(len(s), dtype=g.dtype)
        for k in reversed(range(len(s))):
            alpha[k] = rho[k] * (s[k] @ q)
            q -= alpha[k] * y[k]
        q *= (s[-1] @ y[-1]) / (y[-1] @ y[-1])
        for k in range(len(s)):
            q += (alpha[k] - rho[k] * (y[k] @ q)) * s[k]
        return q

    def derivation(self, at: WeightView) -> str:
        steps = int(at.after["known"])
        return f"u = its entry of H g, with the curvature of {steps} past steps: {figures(at.g)} -> {figures(at.u)}"


def _appended(rows: Array, known: int, row: Vector) -> Array:
    """The first `known` rows and a new one after them; without room, the oldest is dropped."""
    out = rows.copy() if known < len(rows) else np.roll(rows, -1, axis=0)
    out[min(known, len(rows) - 1)] = row
    return out


class Trial(NamedTuple):
    """The loss at one point of the line search.

    Attributes:
        step: the step length
        value: the loss there
        slope: its derivative with respect to the step length
    """

    step: float
    value: float
    slope: float


@dataclass(frozen=True)
class StrongWolfe(Stage):
    """Multiplies by a step length that meets the strong Wolfe conditions (Wolfe, 1969; Nocedal and
    Wright, 2006, algorithms 3.5 and 3.6).

    These are a sufficient decrease, value <= value at 0 + decrease * length * slope at 0, and the
    curvature condition, |slope| <= curvature * |slope at 0|.

    Attributes:
        decrease: the constant of the sufficient decrease condition
        curvature: the constant of the curvature condition, above `decrease` and below 1
        trials: the largest number of evaluations of the loss
    """

    decrease: float = 1e-4
    curvature: float = 0.9
    trials: int = 20

    formula = (
        r"u = \alpha\, g, \quad L(w - \alpha g) \le L(w) - c_1 \alpha\, g^\top \nabla L, \; |g^\top \nabla L(w - \alpha"
        r" g)| \le c_2 |g^\top \nabla L|"
    )

    def __post_init__(self) -> None:
        require(0 < self.decrease < self.curvature < 1, "StrongWolfe: 0 < decrease < curvature < 1 must hold")
        require(self.trials >= 1, f"StrongWolfe: trials is {self.trials}; it must be at least 1")

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        if point.evaluate is None or point.gradient is None:
            raise SettingError("a line search needs the loss at other parameters; pass the optimizer to train()")
        evaluate = point.evaluate

        def along(step: float) -> Trial:
            value, gradient = evaluate(point.parameters - g.dtype.type(step) * g)
            return Trial(step, value, -float(gradient @ g))

        start = Trial(0.0, point.loss, -float(point.gradient @ g))
        if not start.slope < 0:
            return np.zeros_like(g), state
        return g * g.dtype.type(self.search(along, start)), state

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        direction, step = (np.asarray(vector, dtype=np.float64) for vector in (seen.whole, seen.result))
        square = float(direction @ direction)
        return (Linear(float(step @ direction) / square if square else 0.0),)

    def search(self, along: Callable[[float], Trial], start: Trial) -> float:
        """The step length: doubles 1 until the interval brackets a solution, then zooms in."""
        before, step = start, 1.0
        for used in range(1, self.trials + 1):
            now = along(step)
            if not self._decreases(now, start) or (used > 1 and now.value >= before.value):
                return self._zoom(along, start, before, now, self.trials - used)
            if abs(now.slope) <= -self.curvature * start.slope:
                return step
            if now.slope >= 0:
                return self._zoom(along, start, now, before, self.trials - used)
            before, step = now, 2 * step
        return before.step

    def _decreases(self, trial: Trial, start: Trial) -> bool:
        # False for NaN
        return trial.value <= start.value + self.decrease * trial.step * start.slope

    def _zoom(self, along: Callable[[float], Trial], start: Trial, low: Trial, high: Trial, trials: int) -> float:
        """Narrow the interval between low, the best trial so far, and high; a third trial allows
        for cubic interpolation.
        """
        third = start
        for _ in range(trials):
            if abs(high.step - low.step) <= 1e-5 and low.step > 0:
                break
            middle = along(_between(low, high, third))
            if not self._decreases(middle, start) or middle.value >= low.value:
                third, high = high, middle
                continue
            if abs(middle.slope) <= -self.curvature * start.slope:
                return middle.step
            if middle.slope * (high.step - low.step) >= 0:
                third, high = high, low
            else:
                third = low
            low = middle
        return low.step

    def derivation(self, at: WeightView) -> str:
        length = at.u / at.g if at.g else 0.0
        work = f"u = {figures(length)} x g = {figures(length)} x {figures(at.g)} = {figures(at.u)}"
        return f"{work}, with the step length found by line search"


def _between(low: Trial, high: Trial, third: Trial) -> float:
    """The next step length to try between two others: the minimum of a cubic, else of a parabola,
    if not too close to an end; else the midpoint.
    """
    left, right = sorted((low.step, high.step))
    width = right - left
    for minimum, margin in ((_cubic_minimum(low, high, third), 0.2), (_parabola_minimum(low, high), 0.1)):
        if left + margin * width < minimum < right - margin * width:
            return minimum
    return (low.step + high.step) / 2


def _cubic_minimum(a: Trial, b: Trial, c: Trial) -> float:
    """The minimum of the cubic through a, with a's slope, b and c; NaN if it has none."""
    db, dc = b.step - a.step, c.step - a.step
    denominator = (db * dc) ** 2 * (db - dc)
    if not denominator:
        return math.nan
    rise_b, rise_c = b.value - a.value - a.slope * db, c.value - a.value - a.slope * dc
    cubic = (dc**2 * rise_b - db**2 * rise_c) / denominator
    square = (-(dc**3) * rise_b + db**3 * rise_c) / denominator
    radicand = square**2 - 3 * cubic * a.slope
    return a.step + (-square + math.sqrt(radicand)) / (3 * cubic) if radicand >= 0 and cubic else math.nan


def _parabola_minimum(a: Trial, b: Trial) -> float:
    """The minimum of the parabola through a, with a's slope, and b; NaN if it has none."""
    db = b.step - a.step
    square = (b.value - a.value - a.slope * db) / db**2 if db else 0.0
    return a.step - a.slope / (2 * square) if square else math.nan
