"""Adaptive stages, which scale the gradient by its history, and stages that need whole arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.descent.linear import Linear, Mix, Seen, ratio
from chainrule.descent.stages import Point, Stability, Stage, State, WeightView, counted, figures, next_count
from chainrule.errors import SettingError, unknown
from chainrule.layout import Layout

VARIANTS = ("adam", "amsgrad", "nadam", "radam")


@dataclass(frozen=True)
class ScaleByAdagrad(Stage):
    """Divides by the square root of the sum of all past squared gradients (Duchi et al., 2011).

    Attributes:
        start_sum: the initial value of the sum
        epsilon: added to the sum for numerical stability
    """

    start_sum: float = 0.1
    epsilon: float = 1e-7

    formula = r"s_t = s_{t-1} + g^2, \quad u = g / \sqrt{s_t + \epsilon}"

    def start(self, parameters: Vector, layout: Layout) -> State:
        return {"sum": np.full_like(parameters, self.start_sum)}

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        total = state["sum"] + g * g
        return g / np.sqrt(total + self.epsilon), {"sum": total}

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        return (Linear(1 / np.sqrt(seen.now("sum") + self.epsilon)),)

    def derivation(self, at: WeightView) -> str:
        s = f"s = {at.was('sum')} + {figures(at.g)}^2 = {at.now('sum')}"
        return f"{s}; u = {figures(at.g)} / sqrt({at.now('sum')} + {self.epsilon:g}) = {figures(at.u)}"


@dataclass(frozen=True)
class ScaleByAdadelta(Stage):
    """Multiplies by the ratio of the root mean squares of past updates and past gradients, so that
    the update has the units of the weights (Zeiler, 2012).

    Attributes:
        decay: the decay of both moving averages, in [0, 1)
        epsilon: added to both mean squares for numerical stability
    """

    decay: float = 0.9
    epsilon: float = 1e-6

    formula = (
        r"v_t = \rho v_{t-1} + (1 - \rho) g^2, \quad u = \sqrt{\tfrac{d_{t-1} + \epsilon}{v_t + \epsilon}}\, g, \quad "
        r"d_t = \rho d_{t-1} + (1 - \rho) u^2"
    )
    buffers = ("v", "d")
    fractions = ("decay",)

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        v = self.decay * state["v"] + (1 - self.decay) * g * g
        u = np.sqrt(state["d"] + self.epsilon) / np.sqrt(v + self.epsilon) * g
        return u, {"v": v, "d": self.decay * state["d"] + (1 - self.decay) * u * u}

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        return (Linear(np.sqrt((seen.was("d") + self.epsilon) / (seen.now("v") + self.epsilon))),)

    def derivation(self, at: WeightView) -> str:
        v = at.moving_average("v", self.decay, "^2")
        root = f"sqrt(({at.was('d')} + {self.epsilon:g}) / ({at.now('v')} + {self.epsilon:g}))"
        return f"{v}; u = {root} x {figures(at.g)} = {figures(at.u)}; d = {at.now('d')}"


@dataclass(frozen=True)
class ScaleByRMS(Stage):
    """Divides by the root mean square of recent gradients (Tieleman and Hinton, 2012).

    Attributes:
        decay: the decay of the moving average of squared gradients, in [0, 1)
        epsilon: added to the average for numerical stability
    """

    decay: float = 0.9
    epsilon: float = 1e-8

    formula = r"v_t = \rho v_{t-1} + (1 - \rho) g^2, \quad u = g / \sqrt{v_t + \epsilon}"
    buffers = ("v",)
    fractions = ("decay",)

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        v = self.decay * state["v"] + (1 - self.decay) * g * g
        return g / np.sqrt(v + self.epsilon), {"v": v}

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        return (Linear(1 / np.sqrt(seen.now("v") + self.epsilon)),)

    def stability(self, state: State) -> Stability:
        return Stability(1 / np.sqrt(state["v"].astype(np.float64) + self.epsilon))

    def derivation(self, at: WeightView) -> str:
        v = at.moving_average("v", self.decay, "^2")
        return f"{v}; u = {figures(at.g)} / sqrt({at.now('v')} + {self.epsilon:g}) = {figures(at.u)}"


@dataclass(frozen=True)
class ScaleByRprop(Stage):
    """Gives each weight its own step size, which grows while the gradient keeps its sign; when the
    sign changes, it shrinks, and the weight skips a step (Riedmiller and Braun, 1993).

    It uses only the sign of the gradient, so it needs full batches.

    Attributes:
        first: the initial step size
        shrink: what a step size is multiplied by when the sign changes
        grow: what it is multiplied by when the sign stays the same
        smallest: the smallest step size
        largest: the largest step size
    """

    first: float = 0.001
    shrink: float = 0.5
    grow: float = 1.2
    smallest: float = 1e-6
    largest: float = 50.0

    formula = (
        r"\Delta_t = \begin{cases} 1.2\,\Delta_{t-1} & g\,g_{t-1} > 0 \\ 0.5\,\Delta_{t-1} & g\,g_{t-1} < 0"
        r" \end{cases}, "
        r"\quad u = \Delta_t \operatorname{sign}(g)"
    )

    def start(self, parameters: Vector, layout: Layout) -> State:
        return {"size": np.full_like(parameters, self.first), "before": np.zeros_like(parameters)}

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        agreement = np.sign(g) * np.sign(state["before"])
        factor = np.where(agreement > 0, self.grow, self.shrink).astype(g.dtype)
        size = np.where(agreement == 0, state["size"], np.clip(state["size"] * factor, self.smallest, self.largest))
        # Stored as 0 when the sign has changed, so that the next step has no sign to compare with.
        effective = np.where(agreement < 0, 0, g)
        return size * np.sign(effective), {"size": size, "before": effective}

    def derivation(self, at: WeightView) -> str:
        agreement = at.g * float(at.before["before"][at.place])
        why = "same sign" if agreement > 0 else "sign change: step skipped" if agreement < 0 else "no previous sign"
        return f"step size {at.was('size')} -> {at.now('size')} ({why}); u = {figures(at.u)}"


@dataclass(frozen=True)
class ScaleByAdam(Stage):
    """Divides the moving average of gradients by the square root of that of their squares, both
    bias-corrected (Kingma and Ba, 2015).

    Attributes:
        beta1: the decay of the moving average of gradients, in [0, 1)
        beta2: the decay of the moving average of squared gradients, in [0, 1)
        epsilon: added to the divisor for numerical stability
        variant: "adam"; "amsgrad", whose divisor never shrinks (Reddi et al., 2018); "nadam",
            with Nesterov momentum (Dozat, 2016); or "radam", which omits the divisor until its
            variance is small enough (Liu et al., 2020)
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    variant: str = "adam"

    buffers = ("count", "m", "v")
    fractions = ("beta1", "beta2")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant not in VARIANTS:
            raise unknown("variant of Adam", self.variant, VARIANTS)

    @property
    def formula(self) -> str:
        moments = r"m_t = \beta_1 m_{t-1} + (1 - \beta_1) g, \quad v_t = \beta_2 v_{t-1} + (1 - \beta_2) g^2, \quad "
        corrected = r"\hat m = \frac{m_t}{1 - \beta_1^t}, \quad \hat v = \frac{v_t}{1 - \beta_2^t}, \quad "
        last = {
            "adam": r"u = \frac{\hat m}{\sqrt{\hat v} + \epsilon}",
            "amsgrad": r"v^{\max} = \max(v^{\max}, \hat v), \quad u = \frac{\hat m}{\sqrt{v^{\max}} + \epsilon}",
            "nadam": (
                r"u = \Big(\frac{\beta_1 m_t}{1 - \beta_1^{t+1}} + \frac{(1 - \beta_1) g}{1 - \beta_1^t}\Big) \Big/"
                r" (\sqrt{\hat v} + \epsilon)"
            ),
            "radam": r"u = r_t \frac{\hat m}{\sqrt{\hat v} + \epsilon}\;(\rho_t \ge 5),\quad u = \hat m\;(\rho_t < 5)",
        }
        return moments + corrected + last[self.variant]

    def start(self, parameters: Vector, layout: Layout) -> State:
        state = super().start(parameters, layout)
        return {**state, "largest": np.zeros_like(parameters)} if self.variant == "amsgrad" else state

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        t = next_count(state)
        m = self.beta1 * state["m"] + (1 - self.beta1) * g
        v = self.beta2 * state["v"] + (1 - self.beta2) * (g * g)
        after: dict[str, Array] = {"count": counted(t), "m": m, "v": v}
        # Bias correction, as factors: multiplying a vector is faster than dividing it.
        to_m, to_v = 1 / (1 - self.beta1**t), 1 / (1 - self.beta2**t)
        m_hat, v_hat = m * to_m, v * to_v
        if self.variant == "nadam":
            ahead = m * (self.beta1 / (1 - self.beta1 ** (t + 1)))
            m_hat = ahead + g * ((1 - self.beta1) / (1 - self.beta1**t))
        if self.variant == "amsgrad":
            v_hat = after["largest"] = np.maximum(state["largest"], v_hat)
        if self.variant == "radam":
            r = self._rectifier(t)
            return (m_hat if r is None else m * (r * to_m) / (np.sqrt(v_hat) + self.epsilon)), after
        return m_hat / (np.sqrt(v_hat) + self.epsilon), after

    carries = "m"

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        t, b = next_count(seen.before), self.beta1
        to_m, scale = 1 / (1 - b**t), self._scale(seen, t)
        gain, carry = (1 - b) * to_m * scale, b * to_m * scale
        if self.variant == "nadam":
            ahead = b / (1 - b ** (t + 1)) * scale
            gain, carry = gain + (1 - b) * ahead, b * ahead
        return (Linear(gain, carry, keep=b, take=1 - b),)

    def _scale(self, seen: Seen, t: int) -> Vector | float:
        """What the corrected momentum was multiplied by."""
        r = self._rectifier(t) if self.variant == "radam" else 1.0
        if r is None:
            return 1.0
        largest = self.variant == "amsgrad"
        return r / (np.sqrt(seen.now("largest") if largest else seen.now("v") / (1 - self.beta2**t)) + self.epsilon)

    def _rectifier(self, t: int) -> float | None:
        """RAdam's r_t; None while the variance of the divisor is too large to use it."""
        longest = 2 / (1 - self.beta2) - 1
        length = longest - 2 * t * self.beta2**t / (1 - self.beta2**t)
        if length < 5:
            return None
        return float(np.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)))

    def stability(self, state: State) -> Stability | None:
        t = int(state["count"])
        if self.variant not in ("adam", "amsgrad") or t == 0:
            return None
        v_hat = state["largest"] if self.variant == "amsgrad" else state["v"] / (1 - self.beta2**t)
        gain = 1 / (np.sqrt(v_hat.astype(np.float64)) + self.epsilon) / (1 - self.beta1 ** (t + 1))
        return Stability(gain, 2 * (1 + self.beta1) / (1 - self.beta1))

    def derivation(self, at: WeightView) -> str:
        moments = f"{at.moving_average('m', self.beta1)}; {at.moving_average('v', self.beta2, '^2')}"
        m_hat = f"{at.now('m')} / (1 - {self.beta1:g}^{at.t})"
        if self.variant == "nadam":
            now = f"{1 - self.beta1:.6g} x {figures(at.g)} / (1 - {self.beta1:g}^{at.t})"
            m_hat = f"({self.beta1:g} x {at.now('m')} / (1 - {self.beta1:g}^{at.t + 1}) + {now})"
        root = f"(sqrt({at.now('v')} / (1 - {self.beta2:g}^{at.t})) + {self.epsilon:g})"
        if self.variant == "amsgrad":
            root = f"(sqrt({at.now('largest')}, the largest so far) + {self.epsilon:g})"
        if self.variant == "radam":
            r = self._rectifier(at.t)
            if r is None:
                return f"{moments}; too early to divide: u = {m_hat} = {figures(at.u)}"
            m_hat = f"{r:.6g} x {m_hat}"
        return f"{moments}; u = {m_hat} / {root} = {figures(at.u)}"


@dataclass(frozen=True)
class ScaleByAdamax(Stage):
    """Adam with the infinity norm of recent gradients in place of their root mean square (Kingma
    and Ba, 2015, section 7.1).

    Attributes:
        beta1: the decay of the moving average of gradients, in [0, 1)
        beta2: the decay of the largest gradient, in [0, 1)
        epsilon: added to the gradient's absolute value for numerical stability
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    formula = (
        r"m_t = \beta_1 m_{t-1} + (1 - \beta_1) g, \quad s_t = \max(\beta_2 s_{t-1}, |g| + \epsilon), \quad u ="
        r" \frac{m_t}{(1 - \beta_1^t)\, s_t}"
    )
    buffers = ("count", "m", "largest")
    fractions = ("beta1", "beta2")

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        t = next_count(state)
        m = self.beta1 * state["m"] + (1 - self.beta1) * g
        largest = np.maximum(self.beta2 * state["largest"], np.abs(g) + self.epsilon)
        return m * (1 / (1 - self.beta1**t)) / largest, {"count": counted(t), "m": m, "largest": largest}

    carries = "m"

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        b, scale = self.beta1, 1 / ((1 - self.beta1 ** next_count(seen.before)) * seen.now("largest"))
        return (Linear((1 - b) * scale, b * scale, keep=b, take=1 - b),)

    def derivation(self, at: WeightView) -> str:
        m = at.moving_average("m", self.beta1)
        s = f"s = max({self.beta2:g} x {at.was('largest')}, |{figures(at.g)}| + {self.epsilon:g}) = {at.now('largest')}"
        return f"{m}; {s}; u = {at.now('m')} / (1 - {self.beta1:g}^{at.t}) / {at.now('largest')} = {figures(at.u)}"


@dataclass(frozen=True)
class ScaleByLion(Stage):
    """The sign of a moving average of gradients, so that every weight moves by the same amount
    (Chen et al., 2023).

    Attributes:
        beta1: the weight of the moving average in the update, in [0, 1)
        beta2: the decay of the moving average, in [0, 1)
    """

    beta1: float = 0.9
    beta2: float = 0.99

    formula = (
        r"u = \operatorname{sign}(\beta_1 m_{t-1} + (1 - \beta_1) g), \quad m_t = \beta_2 m_{t-1} + (1 - \beta_2) g"
    )
    buffers = ("m",)
    fractions = ("beta1", "beta2")

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        u = np.sign(self.beta1 * state["m"] + (1 - self.beta1) * g)
        return u, {"m": self.beta2 * state["m"] + (1 - self.beta2) * g}

    carries = "m"

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        mixed, result = self.beta1 * seen.was("m") + (1 - self.beta1) * seen.g, seen.result
        assert result is not None
        split = ratio(seen.cut(result), mixed)
        return (Linear((1 - self.beta1) * split, self.beta1 * split, keep=self.beta2, take=1 - self.beta2),)

    def derivation(self, at: WeightView) -> str:
        mix = f"{self.beta1:g} x {at.was('m')} + {1 - self.beta1:.6g} x {figures(at.g)}"
        return f"u = sign({mix}) = {figures(at.u)}; {at.moving_average('m', self.beta2)}"


@dataclass(frozen=True)
class TrustRatio(Stage):
    """Rescales the update of each parameter array to the norm of the array (LARS: You et al.,
    2017; LAMB: You et al., 2020).
    """

    formula = r"u = g_k\, \lVert w_k \rVert / \lVert g_k \rVert"
    has_common_factor = True

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        u = g.copy()
        for entry in point.layout.entries:
            weight, update = np.linalg.norm(point.parameters[entry.place]), np.linalg.norm(g[entry.place])
            if weight > 0 and update > 0:
                u[entry.place] *= g.dtype.type(weight / update)
        return u, state

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        def factor(g: Vector, w: Vector) -> float:
            weight, update = float(np.linalg.norm(w)), float(np.linalg.norm(g))
            return weight / update if weight > 0 and update > 0 else 1.0

        return (Linear(seen.by_array(factor)),)

    def derivation(self, at: WeightView) -> str:
        weight, update = (figures(np.linalg.norm(v[at.array])) for v in (at.point.parameters, at.incoming))
        if "0" in (weight, update):
            return f"u = g = {figures(at.u)} (a norm is 0)"
        ratio = f"{figures(at.g)} x {weight} / {update}"
        return f"u = g x norm of the array / norm of its update = {ratio} = {figures(at.u)}"


@dataclass(frozen=True)
class Orthogonalize(Stage):
    """Replaces each weight matrix's momentum by the nearest orthogonal matrix, so that no
    direction dominates (Jordan et al., 2024: Muon).

    Newton-Schulz iterations bring all singular values close to 1. If the output is wider than the
    input, the matrix is scaled by the square root of their ratio. The stage applies to matrices
    only: use it within `ForMatrices`, with another chain for the other parameters.

    Attributes:
        decay: the momentum coefficient, in [0, 1)
        iterations: the number of Newton-Schulz iterations
        epsilon: added to the norm for numerical stability
    """

    decay: float = 0.95
    iterations: int = 5
    epsilon: float = 1e-8

    formula = (
        r"m_t = \mu m_{t-1} + (1 - \mu) g, \quad u = \sqrt{\max(1, \tfrac{\text{out}}{\text{in}})}\; U V^\top \text{ of"
        r" } \hat m = U S V^\top"
    )
    buffers = ("count", "m")
    fractions = ("decay",)

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        t = next_count(state)
        m = self.decay * state["m"] + (1 - self.decay) * g
        ahead = self.decay * m / (1 - self.decay ** (t + 1)) + (1 - self.decay) * g / (1 - self.decay**t)
        u = np.zeros_like(g)
        for entry in point.layout.entries:
            if len(entry.shape) == 2:
                inputs, outputs = entry.shape
                scale = g.dtype.type(max(1, outputs / inputs) ** 0.5)
                u[entry.place] = (scale * self._orthogonal(ahead[entry.place].reshape(entry.shape))).ravel()
        return u, {"count": counted(t), "m": m}

    carries, mixes_entries = "m", True

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        t, d = next_count(seen.before), self.decay
        ahead, now = d / (1 - d ** (t + 1)), (1 - d) / (1 - d**t)
        momentum = (now + ahead * (1 - d)) * seen.g + ahead * d * seen.was("m")
        matrices = [entry for entry in seen.point.layout.entries if len(entry.shape) == 2]
        factors = [self._factor(momentum[entry.place].reshape(entry.shape)) for entry in matrices]

        def multiplied(x: Vector, transposed: bool) -> Vector:
            u = np.zeros(seen.point.layout.size)
            for entry, factor in zip(matrices, factors, strict=True):
                matrix, factor = x[entry.place].reshape(entry.shape), factor.T if transposed else factor
                is_left = entry.shape[0] <= entry.shape[1]
                u[entry.place] = (factor @ matrix if is_left else matrix @ factor).ravel()
            return u

        mix = Mix(lambda x: multiplied(x, False), lambda x: multiplied(x, True))
        return (Linear(now + ahead * (1 - d), ahead * d, keep=d, take=1 - d, mix=mix),)

    def _factor(self, matrix: Array) -> Array:
        """The matrix by which the iterations multiply this one, from the left if it is wider than
        high, else from the right: a product of polynomials of it.
        """
        is_left = matrix.shape[0] <= matrix.shape[1]
        x, one = matrix if is_left else matrix.T, np.eye(min(matrix.shape))
        factor = one / (np.linalg.norm(x) + self.epsilon)
        x = factor @ x
        for _ in range(self.iterations):
            square = x @ x.T
            polynomial = 3.4445 * one - 4.7750 * square + 2.0315 * square @ square
            x, factor = polynomial @ x, polynomial @ factor
        factor = max(1, matrix.shape[1] / matrix.shape[0]) ** 0.5 * factor
        return factor if is_left else factor.T

    def _orthogonal(self, matrix: Array) -> Array:
        x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
        x = x / (np.linalg.norm(x) + self.epsilon)
        for _ in range(self.iterations):
            square = x @ x.T
            x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
        return x.T if matrix.shape[0] > matrix.shape[1] else x

    def derivation(self, at: WeightView) -> str:
        entry = "its entry of the orthogonal matrix nearest to the momentum"
        return f"{at.moving_average('m', self.decay)}; u = {entry} = {figures(at.u)}"


@dataclass(frozen=True)
class ForMatrices(Stage):
    """Applies one chain of stages to the weight matrices and another to all other parameters; each
    sees 0 in place of the other's gradients.

    Attributes:
        matrices: the chain for the weight matrices
        rest: the chain for all other parameters
    """

    matrices: tuple[Stage, ...]
    rest: tuple[Stage, ...]

    @property
    def formula(self) -> str:
        chains = [r",\; ".join(stage.formula for stage in chain) for chain in (self.matrices, self.rest)]
        return rf"\text{{matrices: }} {chains[0]}; \quad \text{{others: }} {chains[1]}"

    def _chains(self) -> tuple[tuple[str, tuple[Stage, ...]], ...]:
        return ("matrices", self.matrices), ("rest", self.rest)

    def start(self, parameters: Vector, layout: Layout) -> State:
        return {
            f"{name}.{k}.{key}": array
            for name, chain in self._chains()
            for k, stage in enumerate(chain)
            for key, array in stage.start(parameters, layout).items()
        }

    def apply(self, g: Vector, state: State, point: Point) -> tuple[Vector | None, State]:
        after: dict[str, Array] = {}
        total = np.zeros_like(g)
        for name, chain in self._chains():
            u = self.own(name, g, point.layout)
            for k, stage in enumerate(chain):
                prefix = f"{name}.{k}."
                own_state = {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
                update, next_state = stage.apply(u, own_state, point)
                if update is None:
                    raise SettingError(f"{type(stage).__name__} can end a step early; put it before ForMatrices")
                u = self.own(name, update, point.layout)
                after |= {prefix + key: array for key, array in next_state.items()}
            total += u
        return total, after

    @property
    def mixes_entries(self) -> bool:  # type: ignore[override]
        return any(stage.mixes_entries or stage.has_common_factor for stage in (*self.matrices, *self.rest))

    def linear(self, seen: Seen) -> tuple[Linear, ...]:
        """Those of the one chain, each within its parameters, then those of the other."""
        return tuple(form for form, _ in self._forms(seen))

    def output(self, forms: Sequence[Linear], seen: Seen) -> Vector:
        u = seen.g
        for form, carried in self._forms(seen):
            u = form.forward(u, carried)[0] + form.offset
        return u

    def _forms(self, seen: Seen) -> Iterator[tuple[Linear, Any]]:
        """Each inner stage's form, and what it carried."""
        for name, chain in self._chains():
            mask = self.own(name, np.ones(seen.point.layout.size), seen.point.layout)
            u, whole = seen.g * mask[seen.places], self.own(name, seen.whole, seen.point.layout)
            for k, stage in enumerate(chain):
                prefix = f"{name}.{k}."
                was, now = (
                    {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}
                    for state in (seen.before, seen.after)
                )
                inner = Seen(stage, was, now, seen.point, u, seen.places, lambda whole=whole: whole)  # type: ignore[misc]
                (form,) = stage.linear(inner)
                carried = inner.was(stage.carries) if stage.carries else 0.0
                yield form.within(mask[seen.places]), carried
                u = (form.forward(u, carried)[0] + form.offset) * mask[seen.places]
                if k + 1 < len(chain):
                    assert inner.result is not None
                    whole = self.own(name, inner.result, seen.point.layout)

    @staticmethod
    def own(name: str, u: Vector, layout: Layout) -> Vector:
        """u with 0 for the parameters that are not those of the chain "matrices" or "rest"."""
        masked = np.zeros_like(u)
        for entry in layout.entries:
            if (len(entry.shape) == 2) == (name == "matrices"):
                masked[entry.place] = u[entry.place]
        return masked

    def derivation(self, at: WeightView) -> str:
        return f"u = {figures(at.u)}"
