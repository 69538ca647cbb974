"""What trains a network in JAX, against its definitions: masks, losses, penalties, schedules and
optimizers. In float64 within 1e-12 of the largest number of an array, in float32 within 1e-5.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chainrule import generators, losses
from chainrule.descent import Point, chain, optimizer, optimizers, schedules, stages
from chainrule.descent.quasi_newton import StrongWolfe
from chainrule.engine.jax import descent, masks, penalties
from chainrule.engine.jax import losses as jax_losses
from chainrule.engine.jax import schedules as jax_schedules
from chainrule.engine.jax.vectors import apart, read, state_apart, state_together, together
from chainrule.engine.lowering import NoKernel
from chainrule.engine.lowering.descent import STAGES as LOWERED_STAGES
from chainrule.engine.lowering.loss import LOSSES
from chainrule.errors import SettingError
from chainrule.layout import Layout
from chainrule.losses import Penalty
from engine_cases import CHAINS, CLASSES, CLOSE, CURVED, MATRICES, NORMS, QUANTITIES, SCHEDULES, near, normal

DTYPES = pytest.mark.parametrize("dtype", CLOSE)


@pytest.fixture(autouse=True)
def _quickly_compiled():
    jax.config.update("jax_disable_most_optimizations", True)
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        yield
    jax.config.update("jax_disable_most_optimizations", False)


# Masks


def key(*of):
    whole = generators.hashed(*of)
    return whole & (2**64 - 1), whole >> 64


@pytest.mark.parametrize("shape", [(1, 1), (9, 1), (5, 8), (6, 4), (7, 3), (3, 5, 5), (4, 12)])
def test_masks_have_the_bits_of_the_definition(shape):
    threshold = generators.threshold(0.3)
    drawn = jax.jit(lambda low, high, step: masks.keep((low, high), threshold, step, shape))
    for seed, step in enumerate([0, 70_000, 2**32 - 1]):
        low, high = key(seed, "dropout", "dropout_1")
        expected = generators.keep_mask(shape, 0.3, step, seed, "dropout", "dropout_1")
        np.testing.assert_array_equal(drawn(np.uint64(low), np.uint64(high), np.uint64(step)), expected)


def test_masks_need_no_integers_of_64_bits():
    own, expected = key(7, "dropout", "x"), generators.keep_mask((5, 3), 0.4, 6, 7, "dropout", "x")
    with jax.enable_x64(False):
        drawn = jax.jit(lambda step: masks.keep(own, generators.threshold(0.4), step, (5, 3)))
        assert "i64>" not in drawn.lower(np.uint32(6)).as_text()
        np.testing.assert_array_equal(drawn(np.uint32(6)), expected)


def test_masks_of_keys_that_a_loop_goes_through():
    keys = np.array([key(0, "dropout", f"cell@{t}") for t in range(3)], np.uint64)
    threshold = generators.threshold(0.4)
    drawn = jax.jit(lambda keys: jax.lax.map(lambda own: masks.keep((own[0], own[1]), threshold, 5, (4, 6)), keys))
    expected = [generators.keep_mask((4, 6), 0.4, 5, 0, "dropout", f"cell@{t}") for t in range(3)]
    np.testing.assert_array_equal(drawn(keys), expected)


def test_a_mask_of_too_many_units_is_refused():
    with pytest.raises(SettingError, match="below 2\\^32 units"):
        masks.keep((1, 2), 1, 0, (2**16, 2**16))


# Losses


def agrees(loss, prediction, y, weight, dtype):
    """Compare the loss and its derivative with the definition's."""
    lowered = jax_losses.lower(loss, prediction.shape[1:], y.shape[1:])

    def value(prediction, y, weight):
        valid = []
        return lowered(prediction, y, weight, valid.append), jnp.asarray(valid).all()

    (actual, valid), slopes = jax.jit(jax.value_and_grad(value, has_aux=True))(prediction, y, weight)
    assert valid
    assert slopes.dtype == prediction.dtype
    near(actual, loss.value(prediction, y, weight), dtype)
    near(slopes, loss.derivative(prediction, y, weight), dtype)


def test_every_loss_is_tested():
    tested = {type(make(3)) for make in CLASSES.values()} | {type(make()) for make in QUANTITIES.values()}
    assert tested == set(LOSSES)
    assert set(jax_losses.LOSSES) == {name for name, _ in LOSSES.values()}


@DTYPES
@pytest.mark.parametrize("name", CLASSES)
def test_losses_of_classes(name, dtype):
    loss, random = CLASSES[name](3), np.random.default_rng(3)
    prediction, weight = 3 * normal(0, 8, loss.outputs(3), dtype=dtype), random.random(8).astype(dtype)
    numbers = random.integers(0, 3, 8)
    prediction[0] = 1.0  # where margins are 0
    agrees(loss, prediction, numbers, weight, dtype)
    if loss.takes_mixed and prediction.shape[1] == 3:
        agrees(loss, prediction, random.dirichlet(np.ones(3), 8).astype(dtype), None, dtype)
    if name in ("focal", "hinge", "squared hinge"):
        two = CLASSES[name](2)
        agrees(two, prediction[:, :1], random.integers(0, 2, 8), None, dtype)


@DTYPES
@pytest.mark.parametrize("name", QUANTITIES)
def test_losses_of_quantities(name, dtype):
    loss, random = QUANTITIES[name](), np.random.default_rng(3)
    y = normal(1, 8, 3, dtype=dtype)
    y = (y > 0).astype(dtype) if isinstance(loss, losses.BinaryCrossEntropy) else y
    prediction = 2 * normal(0, 8, loss.outputs(3), dtype=dtype)
    prediction[0, :3] = y[0]  # a kink of some
    agrees(loss, prediction, y, random.random(8).astype(dtype), dtype)


@pytest.mark.parametrize("loss", [losses.CategoricalCrossEntropy(0.1), losses.MeanAbsoluteError()], ids=str)
def test_losses_of_positions_with_weights(loss):
    random, prediction = np.random.default_rng(3), normal(0, 4, 5, 3)
    y = random.integers(0, 3, (4, 5)) if loss.task == "classification" else normal(1, 4, 5, 3)
    by_position = random.integers(0, 2, (4, 5)).astype(float)
    by_position[1] = 0  # no position counts
    for weight in (None, random.random(4), by_position):
        agrees(loss, prediction, y, weight, "float64")


def test_losses_of_labels_with_weights_and_of_a_zero_vector():
    random = np.random.default_rng(5)
    for count in (2, 6):
        loss = losses.BinaryCrossEntropy(0.1, tuple(random.uniform(0.1, 3, count).tolist()))
        agrees(loss, normal(0, 8, 3), random.integers(0, 2, (8, 3)), None, "float64")
    prediction = normal(0, 4, 3)
    prediction[2] = 0
    agrees(losses.Cosine(), prediction, normal(1, 4, 3), None, "float64")


def test_extreme_logits_stay_finite():
    prediction = np.array([[0, 100, 5000], [-5000, 0, 1], [88, 89, 90.0]])
    for loss in (losses.CategoricalCrossEntropy(), losses.Focal(), losses.Hinge()):
        agrees(loss, prediction, np.array([0, 1, 2]), None, "float64")


def test_a_class_out_of_range_is_noted():
    for y in (np.array([0, 3]), np.array([-1, 1])):
        noted = []
        jax_losses.lower(losses.CategoricalCrossEntropy(), (3,), ())(jnp.zeros((2, 3)), y, None, noted.append)
        assert not all(noted)


class Odd(losses.Loss):
    """A user's loss."""


def test_a_loss_of_the_user_and_a_target_that_does_not_fit_are_left_to_the_definition():
    for loss, y_shape in ((Odd(), ()), (losses.MeanSquaredError(), (2,)), (losses.Focal(2.0, (1.0,)), ())):
        with pytest.raises(NoKernel):
            jax_losses.lower(loss, (3,), y_shape)


# Penalties

LAYOUT = Layout.of({"dense_1.W": (4, 3), "dense_1.b": (3,), "dense_2.W": (2, 5)}, {"dense_1.W", "dense_2.W"})


@DTYPES
def test_penalties(dtype):
    both = (Penalty(0.01, 0.1), Penalty(l2=0.3, on="dense_1.*"), losses.l1(0.2, "*.b"))
    parameters = normal(0, LAYOUT.size, dtype=dtype)
    parameters[[0, 13]] = 0
    value, slopes = penalties.lower(both, LAYOUT)(apart(LAYOUT, jnp.asarray(parameters)))
    assert {slope.dtype for slope in slopes.values()} == {np.dtype(dtype)}
    gradient = read(LAYOUT, {entry.start: np.zeros(entry.shape) for entry in LAYOUT.entries} | slopes, dtype)
    near(value, sum(one.value(parameters, LAYOUT) for one in both), dtype)
    near(gradient, sum(one.gradient(parameters, LAYOUT) for one in both), dtype)
    assert gradient.dtype == dtype
    assert penalties.lower((), LAYOUT)(apart(LAYOUT, jnp.asarray(parameters)))[0] == 0


class Cubes(Penalty):
    """A user's penalty."""


def test_a_penalty_of_the_user_is_left_to_python():
    with pytest.raises(NoKernel):
        penalties.lower((Cubes(),), LAYOUT)


# Descent


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_schedules(schedule):
    rates = jax.jit(jax.vmap(lambda n: jnp.float64(jax_schedules.lower(schedule)(n))))(jnp.arange(100))
    np.testing.assert_allclose(rates, [schedule(step) for step in range(100)], rtol=1e-12)


MIX = normal(5, LAYOUT.size, LAYOUT.size) / 4


def surface(w):
    """A smooth function with valleys."""
    return jnp.log1p((jnp.asarray(MIX, w.dtype) @ w) ** 2).sum() + 0.01 * (w * w).sum()


DERIVATIVES = jax.jit(jax.value_and_grad(surface))


def evaluate(w):
    value, gradient = DERIVATIVES(w)
    return float(value), np.asarray(gradient)


def descended(how, dtype, steps=9):
    """Each step of an optimizer beside that of its definition, from the same position."""
    how = optimizer(how).over(12)

    @jax.jit
    def lowered(g, states, w, loss):
        states = tuple(state_apart(LAYOUT, state) for state in states)
        update, states, moved = descent.lower(how, LAYOUT)(
            apart(LAYOUT, g), states, apart(LAYOUT, w), 0, jax.value_and_grad(surface), loss
        )
        states = tuple(state_together(LAYOUT, state, w.dtype) for state in states)
        return together(LAYOUT, update, w.dtype), states, moved

    weights = normal(7, LAYOUT.size, dtype=dtype)
    states = how.start(weights, LAYOUT)
    for _ in range(steps):
        loss, gradient = evaluate(weights)
        update, after, moved = lowered(gradient, states, weights, np.asarray(loss, dtype))
        expected = how.step(gradient, states, Point(weights, LAYOUT, loss, gradient, evaluate))
        yield np.asarray(update), after, bool(moved), expected
        weights, states = expected.parameters, expected.states


@DTYPES
@pytest.mark.parametrize("how", [*CHAINS, *NORMS, *MATRICES, *CURVED], ids=str)
def test_descent_equals_the_definition(how, dtype):
    for update, after, moved, expected in descended(how, dtype):
        times = 100 if how in CURVED else 10 if how in MATRICES else 1  # L-BFGS divides differences
        near(update, expected.update, dtype, times)
        assert moved or not expected.update.any()
        for state, other in zip(after, expected.states, strict=True):
            assert state.keys() == other.keys()
            for name in state:
                assert (state[name].dtype, state[name].shape) == (other[name].dtype, other[name].shape)
                near(*(np.nan_to_num(np.asarray(one), posinf=0.0) for one in (state[name], other[name])), dtype, times)


def test_every_stage_has_a_function():
    assert set(descent.STAGES) | {stages.Accumulate} == set(LOWERED_STAGES)


@pytest.mark.parametrize("trials", [2, 12])
def test_line_searches_find_the_same_step(trials):
    stage = StrongWolfe(trials=trials)

    @jax.jit
    def lowered(g, w, loss, gradient):
        here = descent.Here(w, LAYOUT, loss, gradient, jax.value_and_grad(surface))
        return descent.STAGES[StrongWolfe](stage, g, {}, here)[0]

    lengths = set()
    for seed, scale in itertools.product(range(4), [-1.0, 1e-3, 0.1, 1.0, 3.0, 30.0, 1e3]):
        w = normal(seed, LAYOUT.size)
        loss, gradient = evaluate(w)
        expected, _ = stage.apply(scale * gradient, {}, Point(w, LAYOUT, loss, gradient, evaluate))
        near(lowered(scale * gradient, w, loss, gradient), expected, "float64", 100)
        lengths.add(round(float(expected[0] / (scale * gradient[0])), 9))
    assert len(lengths) > trials  # and whether it widens or narrows its interval


class Half(stages.Stage):
    """A user's stage."""


class Ramp(schedules.Schedule):
    """A user's schedule."""


def test_stages_and_schedules_of_the_user_are_left_to_python():
    for how in (chain(Half()), optimizers.sgd(Ramp()), optimizers.sgd(schedules.WarmUp(3, Ramp()))):
        with pytest.raises(NoKernel):
            descent.lower(how, LAYOUT)
