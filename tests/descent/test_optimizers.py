"""Every optimizer against optax over fifty steps, in float64. Rprop is tested against its
published rule, from which optax departs.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from chainrule.descent import Optimizer, Point, adaptive, chain, optimizer, optimizers, schedules, stages
from chainrule.descent.quasi_newton import ScaleByLBFGS, StrongWolfe, Trial
from chainrule.errors import SettingError
from chainrule.layout import Layout

SHAPES = {"dense_1.W": (4, 3), "dense_1.b": (3,), "dense_2.W": (2, 5)}
LAYOUT = Layout.of(SHAPES, regularized={"dense_1.W", "dense_2.W"})
START = np.random.default_rng(0).normal(size=LAYOUT.size)
MIX = np.random.default_rng(1).normal(size=(LAYOUT.size, LAYOUT.size)) / 4


def surface(w):
    """A smooth function with valleys: log-quadratic in mixed coordinates, with waves."""
    z = MIX @ w
    return jnp.sum(jnp.log1p(z**2)) + 0.1 * jnp.sum(jnp.cos(3 * w)) + 0.01 * jnp.sum(w**2)


VALUE_AND_GRADIENT = jax.jit(jax.value_and_grad(surface))


def evaluate(w):
    value, gradient = VALUE_AND_GRADIENT(w)
    return float(value), np.asarray(gradient)


def tree(vector):
    return {name: jnp.asarray(array) for name, array in LAYOUT.views(vector)}


def flat(arrays):
    return np.concatenate([np.asarray(arrays[entry.name]).ravel() for entry in LAYOUT.entries])


def our_path(optimizer: Optimizer, steps=50, weights=START):
    states, path = optimizer.start(weights, LAYOUT), []
    for _ in range(steps):
        loss, gradient = evaluate(weights)
        step = optimizer.step(gradient, states, Point(weights, LAYOUT, loss, gradient, evaluate))
        weights, states = step.parameters, step.states
        path.append(weights)
    return np.array(path)


def optax_path(optimizer, steps=50):
    params = tree(START)
    state, path = optimizer.init(params), []
    update = jax.jit(optimizer.update)
    for _ in range(steps):
        _, gradient = evaluate(flat(params))
        updates, state = update(tree(gradient), state, params)
        params = optax.apply_updates(params, updates)
        path.append(flat(params))
    return np.array(path)


def exactly(schedule):
    """An optax schedule computed in float64; by default optax divides the count in float32."""
    return lambda count: schedule(count.astype(jnp.float64))


W = {"dense_1.W": True, "dense_1.b": False, "dense_2.W": True}
PAIRS = {
    "sgd": (optimizers.sgd(0.05), optax.sgd(0.05)),
    "gradient descent": (optimizers.gradient_descent(0.05), optax.sgd(0.05)),
    "momentum": (optimizers.momentum(0.01, 0.9), optax.sgd(0.01, 0.9)),
    "nesterov": (optimizers.nesterov(0.01, 0.9), optax.sgd(0.01, 0.9, nesterov=True)),
    "adagrad": (optimizers.adagrad(0.1), optax.adagrad(0.1)),
    "adadelta": (optimizers.adadelta(1.0), optax.adadelta(1.0)),
    "rmsprop": (optimizers.rmsprop(0.01), optax.rmsprop(0.01)),
    "adam": (optimizers.adam(0.01), optax.adam(0.01)),
    "amsgrad": (optimizers.amsgrad(0.01), optax.amsgrad(0.01)),
    "adamw": (optimizers.adamw(0.01, 0.1), optax.adamw(0.01, weight_decay=0.1, mask=W)),
    "adamax": (optimizers.adamax(0.01), optax.adamax(0.01)),
    "nadam": (optimizers.nadam(0.01), optax.nadam(0.01)),
    "radam": (optimizers.radam(0.01), optax.radam(0.01)),
    "lion": (optimizers.lion(0.01, 0.1), optax.lion(0.01, weight_decay=0.1, mask=W)),
    "lamb": (optimizers.lamb(0.01, 0.1), optax.lamb(0.01, weight_decay=0.1, mask=W)),
    "muon": (  # for parameters that are not matrices, optax uses NAdam, ours Adam
        chain(
            adaptive.ForMatrices(
                (adaptive.Orthogonalize(), stages.LearningRate(schedules.Constant(0.02))),
                (adaptive.ScaleByAdam(variant="nadam"), stages.LearningRate(schedules.Constant(0.002))),
            )
        ),
        optax.contrib.muon(0.02, adam_learning_rate=0.002),
    ),
    "l-bfgs without line search": (
        chain(ScaleByLBFGS(5), stages.LearningRate(schedules.Constant(0.1))),
        optax.lbfgs(0.1, memory_size=5, linesearch=None),
    ),
    "clip by value": (optimizers.sgd(0.05).first(stages.ClipValue(0.2)), optax.chain(optax.clip(0.2), optax.sgd(0.05))),
    "clip by global norm": (
        optimizers.sgd(0.05).first(stages.ClipGlobalNorm(0.5)),
        optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.05)),
    ),
    "clip by norm": (
        optimizers.sgd(0.05).first(stages.ClipNorm(0.5)),
        optax.chain(
            optax.stateless(lambda u, p: jax.tree.map(lambda g: g * jnp.minimum(1, 0.5 / jnp.linalg.norm(g)), u)),
            optax.sgd(0.05),
        ),
    ),
    "accumulation": (optimizers.adam(0.01).first(stages.Accumulate(3)), optax.MultiSteps(optax.adam(0.01), 3)),
    "cosine": (optimizers.adam(schedules.Cosine(0.01, 40)), optax.adam(optax.cosine_decay_schedule(0.01, 40))),
    "cosine with restarts": (
        optimizers.sgd(schedules.Cosine(0.05, 10, restarts=True, stretch=2.0)),
        optax.sgd(optax.join_schedules([optax.cosine_decay_schedule(0.05, n) for n in (10, 20, 40)], [10, 30])),
    ),
    "exponential": (
        optimizers.sgd(schedules.Exponential(0.05, 0.1, 40)),
        optax.sgd(exactly(optax.exponential_decay(0.05, 40, 0.1))),
    ),
    "steps": (
        optimizers.sgd(schedules.Step(0.05, 15, 0.3)),
        optax.sgd(exactly(optax.exponential_decay(0.05, 15, 0.3, staircase=True))),
    ),
    "polynomial": (
        optimizers.sgd(schedules.Polynomial(0.05, 40, 2.0, 0.1)),
        optax.sgd(exactly(optax.polynomial_schedule(0.05, 0.005, 2.0, 40))),
    ),
    "warm-up": (
        optimizers.sgd(schedules.WarmUp(9, schedules.Cosine(0.05, 30))),
        optax.sgd(
            exactly(
                optax.join_schedules(
                    [optax.linear_schedule(0.005, 0.05, 9), optax.cosine_decay_schedule(0.05, 30)], [9]
                )
            )
        ),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_fifty_steps_equal_those_of_optax(name):
    optimizer, oracle = PAIRS[name]
    np.testing.assert_allclose(our_path(optimizer), optax_path(oracle), rtol=1e-9, atol=1e-9)


def test_every_optimizer_is_compared_with_an_oracle():
    compared = {type(stage) for optimizer, _ in PAIRS.values() for stage in optimizer.stages}
    tested_below = {adaptive.ScaleByRprop, StrongWolfe, stages.Average, stages.Plateau}
    used = {type(stage) for make in optimizers.NAMED.values() for stage in make().stages}
    assert used <= compared | tested_below


def test_rprop_follows_its_published_rule():
    """Riedmiller and Braun's rule, as in PyTorch: after a sign change the gradient counts as 0."""
    weights, size, before = START.copy(), np.full(LAYOUT.size, 0.01), np.zeros(LAYOUT.size)
    path = []
    for _ in range(50):
        _, gradient = evaluate(weights)
        for k, g in enumerate(gradient):
            if g * before[k] > 0:
                size[k] = min(size[k] * 1.2, 50)
            elif g * before[k] < 0:
                size[k] = max(size[k] * 0.5, 1e-6)
                g = 0.0
            before[k] = g
            weights[k] -= np.sign(g) * size[k]
        path.append(weights.copy())
    np.testing.assert_allclose(our_path(optimizers.rprop(0.01)), path, rtol=1e-9, atol=1e-9)


def test_lbfgs_with_line_search_equals_that_of_optax():
    line_search = optax.scale_by_zoom_linesearch(20, initial_guess_strategy="one", approx_dec_rtol=None)
    lbfgs = optax.lbfgs(memory_size=10, linesearch=line_search)
    weights, path = jnp.asarray(START), []
    state = lbfgs.init(weights)

    @jax.jit
    def step(weights, state):
        value, gradient = jax.value_and_grad(surface)(weights)
        updates, state = lbfgs.update(gradient, state, weights, value=value, grad=gradient, value_fn=surface)
        return optax.apply_updates(weights, updates), state

    for _ in range(50):
        weights, state = step(weights, state)
        path.append(np.asarray(weights))
    np.testing.assert_allclose(our_path(optimizers.lbfgs()), path, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_the_line_search_meets_the_strong_wolfe_conditions(seed):
    random = np.random.default_rng(seed)
    weights = random.normal(size=LAYOUT.size) * 3
    loss, gradient = evaluate(weights)
    direction = gradient * np.exp(random.normal(scale=3))
    search = StrongWolfe()

    def along(step):
        value, slopes = evaluate(weights - step * direction)
        return Trial(step, value, -float(slopes @ direction))

    start = Trial(0.0, loss, -float(gradient @ direction))
    trial = along(search.search(along, start))
    assert trial.value <= start.value + 1e-4 * trial.step * start.slope
    assert abs(trial.slope) <= 0.9 * abs(start.slope)


def test_the_average_follows_its_definition():
    averaged = optimizers.adam(0.01).then(stages.Average(0.9))
    path = our_path(averaged)
    average = START.copy()
    for t, weights in enumerate(path, start=1):
        decay = min(0.9, t / (9 + t))
        average = decay * average + (1 - decay) * weights
    states, weights = averaged.start(START, LAYOUT), START
    for _ in range(50):
        _, gradient = evaluate(weights)
        step = averaged.step(gradient, states, Point(weights, LAYOUT))
        weights, states = step.parameters, step.states
    np.testing.assert_allclose(averaged.average(states), average, rtol=1e-9)
    np.testing.assert_array_equal(path, our_path(optimizers.adam(0.01)))


def test_a_plateau_shrinks_the_steps_after_its_patience():
    sgd = optimizers.sgd(1.0).then(stages.Plateau(0.5, patience=2))
    states = sgd.start(START, LAYOUT)
    sizes = []
    for loss in (3.0, 2.0, 2.0, 2.5, 2.0, 2.0, 1.0):
        states = sgd.observe(states, loss)
        sizes.append(float(sgd.step(np.ones(LAYOUT.size), states, Point(START, LAYOUT)).update[0]))
    assert sizes == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]


def test_the_one_cycle_schedule_rises_and_falls():
    cycle = schedules.OneCycle(0.1, 101, rise=0.3, start=25, finish=100)
    assert cycle(0) == pytest.approx(0.004)
    assert cycle(30) == pytest.approx(0.1)
    assert cycle(100) == pytest.approx(0.00004)
    assert cycle(15) == pytest.approx((0.004 + 0.1) / 2)
    assert all(cycle(k) < cycle(k + 1) for k in range(30))
    assert all(cycle(k) > cycle(k + 1) for k in range(30, 100))


def test_open_schedules_span_the_training():
    sgd = optimizer("sgd 0.1 schedule=cosine warmup=100 accumulate=2").over(2200)
    assert sgd.stages[-1] == stages.LearningRate(schedules.WarmUp(100, schedules.Cosine(0.1, 1000)))


@pytest.mark.parametrize("name", optimizers.NAMED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_named_optimizer_descends_in_its_own_dtype(name, dtype):
    weights = START.astype(dtype)
    descent = optimizer(name)

    def evaluate_in_dtype(w):
        loss, gradient = evaluate(w)
        return loss, gradient.astype(dtype)

    states, initial_loss = descent.start(weights, LAYOUT), evaluate(weights)[0]
    for _ in range(30):
        loss, gradient = evaluate_in_dtype(weights)
        step = descent.step(gradient, states, Point(weights, LAYOUT, loss, gradient, evaluate_in_dtype))
        weights, states = step.parameters, step.states
    assert evaluate(weights)[0] < initial_loss
    assert weights.dtype == dtype
    assert all(array.dtype in (dtype, "int64", "float64") for state in states for array in state.values())


@pytest.mark.parametrize(("text", "message"), [
    ("adm", "did you mean 'adam'"),
    ("", "the optimizer is empty"),
    ("adam -1", "the learning rate is -1"),
    ("adam nan", "nan is not finite"),
    ("adam fast", "'fast' should be a number"),
    ("adam speed=3", "unknown setting of adam 'speed'"),
    ("sgd 1 2 3", "takes at most 1"),
    ("sgd 0.1 schedule=cosin", "did you mean 'cosine'"),
    ("adam 0.1 clip=-2", "must be positive"),
    ("momentum 0.1 1.5", r"must be in \[0, 1\)"),
    ("adam 0.1 learning_rate=0.2", "learning_rate is set twice"),
])  # fmt: skip
def test_an_invalid_optimizer_text_raises(text, message):
    with pytest.raises(SettingError, match=message):
        optimizer(text)


def test_a_line_search_needs_the_loss():
    lbfgs = optimizers.lbfgs()
    with pytest.raises(SettingError, match="needs the loss at other parameters"):
        lbfgs.step(np.ones(LAYOUT.size), lbfgs.start(START, LAYOUT), Point(START, LAYOUT))


@pytest.mark.parametrize(
    "stage",
    [stage for name in optimizers.NAMED for stage in optimizers.NAMED[name]().stages],
    ids=lambda s: type(s).__name__,
)
def test_every_stage_has_a_formula(stage):
    assert "u =" in stage.formula


def test_an_unknown_variant_of_adam_is_refused():
    with pytest.raises(SettingError, match="unknown variant of Adam 'x'"):
        adaptive.ScaleByAdam(variant="x")
