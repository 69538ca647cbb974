"""L-BFGS: a direction that knows the surface's curvature from the steps taken so far, and a line search along it.

Both are stages like any other, but they need the same loss at every evaluation: whole batches, and no dropout.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.descent.stages import Point, Stage, State, WeightView, figures
from chainrule.errors import SettingError, require
from chainrule.layout import Layout


@dataclass(frozen=True)
class ScaleByLBFGS(Stage):
    """The gradient times an estimate of the inverse Hessian from the last `memory` steps (Nocedal, 1980; Nocedal and
    Wright, 2006, algorithm 7.4).
    """

    memory: int = 10

    formula = r"u = H_t\, g, \quad H_t \text{ from } s_i = w_{i+1} - w_i,\; y_i = g_{i+1} - g_i"

    def __post_init__(self) -> None:
        require(self.memory >= 1, f"l-bfgs: it remembers {self.memory} steps; it needs at least 1")

    def start(self, parameters: Vector, layout: Layout) -> State:
        none, one = np.zeros((self.memory, parameters.size), dtype=parameters.dtype), np.zeros_like(parameters)
        return {"known": np.array(-1), "s": none, "y": none, "parameters": one, "gradient": one}

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        s, y = state["s"], state["y"]
        known = min(int(state["known"]), self.memory)  # -1: there was no step before this one
        if known >= 0:
            step, change = point.parameters - state["parameters"], g - state["gradient"]
            if step @ change > 0:  # otherwise the surface curves downwards there, and the estimate would point uphill
                s, y = _followed(s, known, step), _followed(y, known, change)
                known = min(known + 1, self.memory)
        known = max(known, 0)
        return self._product(g, s[:known], y[:known]), {
            "known": np.array(known),
            "s": s,
            "y": y,
            "parameters": point.parameters.copy(),
            "gradient": g.copy(),
        }

    @staticmethod
    def _product(g: Vector, s: Array, y: Array) -> Vector:
        """H g by two loops over the remembered steps."""
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

    def worked(self, at: WeightView) -> str:
        steps = int(at.after["known"])
        return f"u = its entry in H g, the curvature being known from {steps} steps: {figures(at.g)} -> {figures(at.u)}"


def _followed(rows: Array, known: int, row: Vector) -> Array:
    """The first `known` rows with another after them; the first goes where there is no room."""
    out = rows.copy() if known < len(rows) else np.roll(rows, -1, axis=0)
    out[min(known, len(rows) - 1)] = row
    return out


class Trial(NamedTuple):
    """The loss along the search line: how far, its value there, and its slope."""

    step: float
    value: float
    slope: float


@dataclass(frozen=True)
class StrongWolfe(Stage):
    """Times the length at which the loss has fallen enough and has become flat enough (Wolfe, 1969; Nocedal and
    Wright, 2006, algorithms 3.5 and 3.6): value <= value at 0 + decrease * length * slope at 0, and |slope| <=
    curvature * |slope at 0|.
    """

    decrease: float = 1e-4
    curvature: float = 0.9
    trials: int = 20

    formula = (
        r"u = \alpha\, g, \quad L(w - \alpha g) \le L(w) - c_1 \alpha\, g^\top \nabla L, \; |g^\top \nabla L(w - \alpha"
        r" g)| \le c_2 |g^\top \nabla L|"
    )

    def __post_init__(self) -> None:
        require(0 < self.decrease < self.curvature < 1, "line search: it needs 0 < decrease < curvature < 1")

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        if point.evaluate is None or point.gradient is None:
            raise SettingError("a line search needs to see the loss at other parameters; give the optimizer to train()")
        evaluate, gradient = point.evaluate, point.gradient

        def along(step: float) -> Trial:
            value, there = evaluate(point.parameters - g.dtype.type(step) * g)
            return Trial(step, value, -float(there @ g))

        start = Trial(0.0, point.loss, -float(gradient @ g))
        if not start.slope < 0:
            return np.zeros_like(g), state
        return g * g.dtype.type(self.search(along, start)), state

    def search(self, along: Callable[[float], Trial], start: Trial) -> float:
        """The length of the step: 1 is tried first and doubled until an interval must hold a good one."""
        before, step = start, 1.0
        for used in range(1, self.trials + 1):
            now = along(step)
            if not self._falls_enough(now, start) or (used > 1 and now.value >= before.value):
                return self._zoom(along, start, before, now, self.trials - used)
            if abs(now.slope) <= -self.curvature * start.slope:
                return step
            if now.slope >= 0:
                return self._zoom(along, start, now, before, self.trials - used)
            before, step = now, 2 * step
        return before.step

    def _falls_enough(self, trial: Trial, start: Trial) -> bool:
        return trial.value <= start.value + self.decrease * trial.step * start.slope  # False for NaN

    def _zoom(self, along: Callable[[float], Trial], start: Trial, low: Trial, high: Trial, trials: int) -> float:
        """Narrow the interval between low, the best so far, and high; the third point helps a cubic through all of
        them.
        """
        third = start
        for _ in range(trials):
            if abs(high.step - low.step) <= 1e-5 and low.step > 0:
                break
            middle = along(_between(low, high, third))
            if not self._falls_enough(middle, start) or middle.value >= low.value:
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

    def worked(self, at: WeightView) -> str:
        length = at.u / at.g if at.g else 0.0
        return (
            f"u = {figures(length)} x g = {figures(length)} x {figures(at.g)} = {figures(at.u)}; the line search chose"
            " that length"
        )


def _between(low: Trial, high: Trial, third: Trial) -> float:
    """Where the loss between two points should be least: by a cubic, else a parabola, else halfway, none of them
    close to an end.
    """
    left, right = sorted((low.step, high.step))
    width = right - left
    for guess, margin in ((_cubic_minimum(low, high, third), 0.2), (_parabola_minimum(low, high), 0.1)):
        if left + margin * width < guess < right - margin * width:
            return guess
    return (low.step + high.step) / 2


def _cubic_minimum(a: Trial, b: Trial, c: Trial) -> float:
    """The minimum of the cubic through a, with its slope, b and c; NaN if there is none."""
    db, dc = b.step - a.step, c.step - a.step
    denominator = (db * dc) ** 2 * (db - dc)
    if not denominator:
        return math.nan
    rise_b, rise_c = b.value - a.value - a.slope * db, c.value - a.value - a.slope * dc
    cubic = (dc**2 * rise_b - db**2 * rise_c) / denominator
    square = (-(dc**3) * rise_b + db**3 * rise_c) / denominator
    under = square**2 - 3 * cubic * a.slope
    return a.step + (-square + math.sqrt(under)) / (3 * cubic) if under >= 0 and cubic else math.nan


def _parabola_minimum(a: Trial, b: Trial) -> float:
    """The minimum of the parabola through a, with its slope, and b; NaN if there is none."""
    db = b.step - a.step
    square = (b.value - a.value - a.slope * db) / db**2 if db else 0.0
    return a.step - a.slope / (2 * square) if square else math.nan
