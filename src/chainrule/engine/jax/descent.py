"""An optimizer's stages as functions of JAX: the arithmetic of their definitions (in
`chainrule.descent`), in the same order, on the same states. Where a definition computes a number in
Python, such as a bias correction, it is a float64 here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from chainrule.descent import Optimizer, adaptive, quasi_newton, stages
from chainrule.descent.stages import Stage
from chainrule.engine.jax import line_search
from chainrule.engine.jax.schedules import lower as lower_schedule
from chainrule.engine.jax.vectors import Arrays, apart, state_apart, state_together, together
from chainrule.engine.lowering import NoKernel
from chainrule.layout import Entry, Layout

States = tuple[Mapping[str, Any], ...]
"""Of each stage: numbers, matrices, and vectors as their arrays."""


@dataclass(frozen=True)
class Here:
    """The point from which a step starts; as `descent.Point`, of traced arrays.

    Attributes:
        parameters, gradient: the arrays of both vectors; for a stage that is applied to each array
            on its own, that array; for one of FLAT, the flat vectors
        layout: of all parameters
        loss: the mini-batch's
        evaluate: the loss and the gradient, both flat, at other parameters
        entry: which array it is; None of all
    """

    parameters: Any
    layout: Layout
    loss: Any
    gradient: Any
    evaluate: Callable[[Any], tuple[Any, Any]]
    entry: Entry | None = None


Apply = Callable[[Any, Any, Mapping[str, Any], Here], tuple[Any, Mapping[str, Any]]]
"""The update and the next state, of a stage, its input, its state, and where the step starts."""


def lower(optimizer: Optimizer, layout: Layout) -> Callable[..., tuple[Arrays, States, Any]]:
    """The optimizer as a function of gradient, states, parameters, step, evaluate and loss: the
    update, the next states, and whether the parameters move. Vectors are given and returned as
    their arrays: in a loop that copies none of them to or from a flat one. Raises NoKernel for a
    user's stage or schedule.
    """
    for stage in optimizer.stages:
        _check(stage)

    def step(
        gradient: Arrays, states: States, parameters: Arrays, step: Any, evaluate: Any, loss: Any
    ) -> tuple[Arrays, States, Any]:
        return _chain(optimizer.stages, gradient, states, Here(parameters, layout, loss, gradient, evaluate))

    return step


def _check(stage: Stage, inner: bool = False) -> None:
    """Raise NoKernel if a stage, or one in it, is not known here."""
    if type(stage) is adaptive.ForMatrices:
        for one in (*stage.matrices, *stage.rest):
            _check(one, inner=True)
    elif type(stage) not in STAGES and (inner or type(stage) is not stages.Accumulate):
        raise NoKernel(type(stage).__name__)  # Accumulate is invalid within others, which the definition reports
    if type(stage) is stages.LearningRate:
        lower_schedule(stage.schedule)


def _chain(chain: Sequence[Stage], g: Arrays, states: States, here: Here) -> tuple[Arrays, States, Any]:
    """The stages one after another, up to one that ends the step."""
    if not chain:
        return g, (), True
    (stage, *others), (state, *rest) = chain, states
    if not isinstance(stage, stages.Accumulate):
        g, after = _apply(stage, g, state, here)
        update, later, moved = _chain(others, g, tuple(rest), here)
        return update, (after, *later), moved
    count, total = state["count"] + 1, jax.tree.map(jnp.add, state["sum"], g)
    full = count >= stage.steps
    none = jax.tree.map(jnp.zeros_like, g)
    kept = jax.tree.map(lambda array: jnp.where(full, 0, array), total)
    after = {"count": jnp.where(full, 0, count), "sum": kept}

    def go_on() -> tuple[Arrays, States, Any]:
        mean = jax.tree.map(lambda array: array / stage.steps, total)
        update, later, moved = _chain(others, mean, tuple(rest), here)
        return update, later, jnp.asarray(moved)

    update, later, moved = lax.cond(full, go_on, lambda: (none, tuple(rest), jnp.asarray(False)))
    return update, (after, *later), moved


def _apply(stage: Any, g: Arrays, state: Mapping[str, Any], here: Here) -> tuple[Arrays, Mapping[str, Any]]:
    if type(stage) is adaptive.ForMatrices:
        return _for_matrices(stage, g, state, here)
    function = STAGES[type(stage)]
    if type(stage) is stages.ClipGlobalNorm:
        return function(stage, g, state, here)
    return (_flat if type(stage) in FLAT else _by_array)(function, stage, g, state, here)


def _by_array(
    function: Apply, stage: Any, g: Arrays, state: Mapping[str, Any], here: Here
) -> tuple[Arrays, Mapping[str, Any]]:  # fmt: skip
    """A stage applied to each array on its own; its numbers are the same for all."""
    empty = jnp.zeros(0)  # stands for the array of a network that has none
    vectors = {name for name, value in state.items() if isinstance(value, dict)}
    updates, states = dict[int, Any](), dict[int, Any]()
    for entry in here.layout.entries or (Entry("", (0,), 0),):
        k = entry.start
        own_state = {name: value.get(k, empty) if name in vectors else value for name, value in state.items()}
        own_here = replace(here, parameters=here.parameters.get(k, empty), entry=entry)
        updates[k], states[k] = function(stage, g.get(k, empty), own_state, own_here)
    first, *_ = states.values()
    after = {name: {k: states[k][name] for k in g} if name in vectors else first[name] for name in first}
    return {k: updates[k] for k in g}, after


def _flat(
    function: Apply, stage: Any, g: Arrays, state: Mapping[str, Any], here: Here
) -> tuple[Arrays, Mapping[str, Any]]:  # fmt: skip
    """A stage applied to flat vectors."""
    layout = here.layout
    dtype = jnp.result_type(*g.values()) if g else jnp.float32
    own_here = replace(
        here, parameters=together(layout, here.parameters, dtype), gradient=together(layout, here.gradient, dtype)
    )
    update, after = function(stage, together(layout, g, dtype), state_together(layout, state, dtype), own_here)
    return apart(layout, update), state_apart(layout, after)


# Simple stages


def _rate(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    rate = lower_schedule(stage.schedule)(state["count"])
    return g * jnp.asarray(rate, g.dtype), {"count": state["count"] + 1}


def _plateau(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    return g * state["scale"].astype(g.dtype), state


def _weight_decay(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    decays = here.entry in here.layout.matching(stage.on)
    return (g + stage.strength * here.parameters if decays else g), state


def _clip_value(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    return jnp.clip(g, -stage.limit, stage.limit), state


def _clip_norm(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    return g * _clip_factor(norm(g), stage.limit), state


def _clip_global_norm(stage: Any, g: Arrays, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    squares = [jnp.sum(own * own) for own in g.values()]
    factor = _clip_factor(jnp.sqrt(sum(squares, jnp.float32(0))), stage.limit)
    return {k: own * factor.astype(own.dtype) for k, own in g.items()}, state


def _clip_factor(length: Any, limit: float) -> Any:
    return jnp.where(length > limit, limit / jnp.where(length > limit, length, 1), 1)


def _average(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    t = state["count"] + 1
    decay = jnp.minimum(stage.decay, t / (9 + t)).astype(g.dtype)
    average = decay * state["average"] + (1 - decay) * (here.parameters - g)
    return g, {"count": t, "average": average}


def _momentum(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    v = stage.decay * state["v"] + g
    return (g + stage.decay * v if stage.nesterov else v), {"v": v}


# Adaptive stages


def _adagrad(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    total = state["sum"] + g * g
    return g / jnp.sqrt(total + stage.epsilon), {"sum": total}


def _adadelta(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    v = stage.decay * state["v"] + (1 - stage.decay) * g * g
    u = jnp.sqrt(state["d"] + stage.epsilon) / jnp.sqrt(v + stage.epsilon) * g
    return u, {"v": v, "d": stage.decay * state["d"] + (1 - stage.decay) * u * u}


def _rms(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    v = stage.decay * state["v"] + (1 - stage.decay) * g * g
    return g / jnp.sqrt(v + stage.epsilon), {"v": v}


def _rprop(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    agreement = jnp.sign(g) * jnp.sign(state["before"])
    factor = jnp.where(agreement > 0, stage.grow, stage.shrink).astype(g.dtype)
    changed = jnp.clip(state["size"] * factor, stage.smallest, stage.largest)
    size, effective = jnp.where(agreement == 0, state["size"], changed), jnp.where(agreement < 0, 0, g)
    return size * jnp.sign(effective), {"size": size, "before": effective}


def _adam(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    t, dtype, beta1 = state["count"] + 1, g.dtype, stage.beta1
    m = beta1 * state["m"] + (1 - beta1) * g
    v = stage.beta2 * state["v"] + (1 - stage.beta2) * (g * g)
    after = {"count": t, "m": m, "v": v}
    to_m, to_v = 1 / _rest(beta1, t), 1 / _rest(stage.beta2, t)
    m_hat, v_hat = m * to_m.astype(dtype), v * to_v.astype(dtype)
    if stage.variant == "nadam":
        ahead = m * (beta1 / _rest(beta1, t + 1)).astype(dtype)
        m_hat = ahead + g * ((1 - beta1) / _rest(beta1, t)).astype(dtype)
    if stage.variant == "amsgrad":
        v_hat = after["largest"] = jnp.maximum(state["largest"], v_hat)
    divisor = jnp.sqrt(v_hat) + stage.epsilon
    if stage.variant == "radam":
        r, is_early = _rectifier(stage.beta2, t)
        return jnp.where(is_early, m_hat, m * (r * to_m).astype(dtype) / divisor), after
    return m_hat / divisor, after


def _rest(beta: float, t: Any) -> Any:
    """1 - beta^t, in float64."""
    return 1 - jnp.float64(beta) ** t


def _rectifier(beta2: float, t: Any) -> tuple[Any, Any]:
    """RAdam's r_t, and whether it is too early to use it."""
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * jnp.float64(beta2) ** t / _rest(beta2, t)
    safe = jnp.maximum(length, 5)
    rest = (safe - 4) * (safe - 2) * longest / ((longest - 4) * (longest - 2) * safe)
    return jnp.sqrt(jnp.maximum(rest, 0)), length < 5


def _adamax(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    t = state["count"] + 1
    m = stage.beta1 * state["m"] + (1 - stage.beta1) * g
    largest = jnp.maximum(stage.beta2 * state["largest"], jnp.abs(g) + stage.epsilon)
    return m * (1 / _rest(stage.beta1, t)).astype(g.dtype) / largest, {"count": t, "m": m, "largest": largest}


def _lion(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    u = jnp.sign(stage.beta1 * state["m"] + (1 - stage.beta1) * g)
    return u, {"m": stage.beta2 * state["m"] + (1 - stage.beta2) * g}


# Stages of whole arrays


def _trust_ratio(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    weight, update = norm(here.parameters), norm(g)
    both = (weight > 0) & (update > 0)
    return g * jnp.where(both, weight / jnp.where(both, update, 1), 1), state


def _orthogonalize(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    t, d = state["count"] + 1, stage.decay
    m = d * state["m"] + (1 - d) * g
    ahead = d * m / _rest(d, t + 1).astype(g.dtype) + (1 - d) * g / _rest(d, t).astype(g.dtype)
    after = {"count": t, "m": m}
    if g.ndim != 2:
        return jnp.zeros_like(g), after
    return max(1, g.shape[1] / g.shape[0]) ** 0.5 * _orthogonal(stage, ahead), after


def _orthogonal(stage: Any, matrix: Any) -> Any:
    is_high = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_high else matrix
    x = x / (norm(x) + stage.epsilon)
    for _ in range(stage.iterations):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if is_high else x


def _for_matrices(
    stage: Any, g: Arrays, state: Mapping[str, Any], here: Here
) -> tuple[Arrays, Mapping[str, Any]]:  # fmt: skip
    after, total = dict[str, Any](), jax.tree.map(jnp.zeros_like, g)
    for name, chain, for_matrices in (("matrices", stage.matrices, True), ("rest", stage.rest, False)):
        u = _only(g, for_matrices)
        for k, inner in enumerate(chain):
            prefix = f"{name}.{k}."
            own_state = {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}
            u, changed = _apply(inner, u, own_state, here)
            u = _only(u, for_matrices)
            after |= {prefix + key: array for key, array in changed.items()}
        total = jax.tree.map(jnp.add, total, u)
    return total, after


def _only(g: Arrays, matrices: bool) -> Arrays:
    """The matrices alone, or all others alone, beside zeros."""
    return {k: array if (array.ndim == 2) == matrices else jnp.zeros_like(array) for k, array in g.items()}


def norm(x: Any) -> Any:
    """The Euclidean norm of all entries."""
    return jnp.sqrt(jnp.sum(x * x))


# L-BFGS


def _lbfgs(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    known, memory = jnp.minimum(state["known"], stage.memory), stage.memory  # -1 before the first step
    step, change = here.parameters - state["parameters"], g - state["gradient"]
    is_new = (known >= 0) & (step @ change > 0)

    def appended(rows: Any, row: Any) -> Any:
        moved = jnp.where(known < memory, rows, jnp.roll(rows, -1, axis=0))
        return jnp.where(is_new, moved.at[jnp.clip(known, 0, memory - 1)].set(row), rows)

    s, y = appended(state["s"], step), appended(state["y"], change)
    known = jnp.maximum(jnp.where(is_new, jnp.minimum(known + 1, memory), known), 0)
    after = {"known": known, "s": s, "y": y, "parameters": here.parameters, "gradient": g}
    return lax.cond(known > 0, lambda: _product(g, s, y, known), lambda: _first(g)), after


def _first(g: Any) -> Any:
    length = norm(g)
    return jnp.where(length > 0, g * jnp.minimum(1, 1 / jnp.where(length > 0, length, 1)), g)


def _product(g: Any, s: Any, y: Any, known: Any) -> Any:
    """H g by the two-loop recursion over the stored steps."""
    products = jnp.einsum("ij,ij->i", s, y)
    rho = 1 / jnp.where(jnp.arange(len(s)) < known, products, 1)

    def back(k: Any, at: tuple[Any, Any]) -> tuple[Any, Any]:
        q, alpha = at
        k = known - 1 - k
        share = rho[k] * (s[k] @ q)
        return q - share * y[k], alpha.at[k].set(share)

    q, alpha = lax.fori_loop(0, known, back, (g, jnp.zeros(len(s), g.dtype)))
    last = known - 1
    q = q * ((s[last] @ y[last]) / (y[last] @ y[last]))
    return lax.fori_loop(0, known, lambda k, q: q + (alpha[k] - rho[k] * (y[k] @ q)) * s[k], q)


def _strong_wolfe(stage: Any, g: Any, state: Mapping[str, Any], here: Here) -> tuple[Any, Mapping[str, Any]]:
    def along(step: Any) -> line_search.Trial:
        value, gradient = here.evaluate(here.parameters - step.astype(g.dtype) * g)
        return line_search.Trial(step, value.astype(jnp.float64), -(gradient @ g).astype(jnp.float64))

    zero = jnp.zeros((), jnp.float64)
    start = line_search.Trial(zero, here.loss.astype(jnp.float64), -(here.gradient @ g).astype(jnp.float64))
    length = line_search.search(stage, along, start)
    return jnp.where(start.slope < 0, g * length.astype(g.dtype), 0), state


STAGES: dict[type[Stage], Apply] = {
    stages.LearningRate: _rate,
    stages.Plateau: _plateau,
    stages.WeightDecay: _weight_decay,
    stages.ClipValue: _clip_value,
    stages.ClipNorm: _clip_norm,
    stages.ClipGlobalNorm: _clip_global_norm,
    stages.Average: _average,
    stages.Momentum: _momentum,
    adaptive.ScaleByAdagrad: _adagrad,
    adaptive.ScaleByAdadelta: _adadelta,
    adaptive.ScaleByRMS: _rms,
    adaptive.ScaleByRprop: _rprop,
    adaptive.ScaleByAdam: _adam,
    adaptive.ScaleByAdamax: _adamax,
    adaptive.ScaleByLion: _lion,
    adaptive.TrustRatio: _trust_ratio,
    adaptive.Orthogonalize: _orthogonalize,
    quasi_newton.ScaleByLBFGS: _lbfgs,
    quasi_newton.StrongWolfe: _strong_wolfe,
}
"""All stages but Accumulate, which may end a step, and ForMatrices, which has stages in it. Each is
applied to one array after another, but for ClipGlobalNorm, which takes all, and those in FLAT.
"""

FLAT = {quasi_newton.ScaleByLBFGS, quasi_newton.StrongWolfe}
"""The stages that take flat vectors."""
