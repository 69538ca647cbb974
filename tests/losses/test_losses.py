"""Every loss against JAX and finite differences; sample weights, extreme logits, and penalties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import losses
from chainrule.errors import SettingError, ShapeError
from chainrule.gradient_check import central_difference
from chainrule.layout import Layout
from chainrule.losses import (
    NAMED,
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    Cosine,
    Focal,
    GaussianNegativeLogLikelihood,
    HalfSquares,
    Hinge,
    Huber,
    KullbackLeibler,
    LogCosh,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    Quantile,
    SquaredHinge,
)

RANDOM = np.random.default_rng(0)
REALS = RANDOM.normal(size=(7, 3))
COUNTS = RANDOM.poisson(2.0, size=(7, 3)).astype(float)
CLASSES = RANDOM.integers(0, 3, 7)
BINARY = RANDOM.integers(0, 2, 7)
PROBABILITIES = RANDOM.dirichlet(np.ones(3), 7)
WEIGHTS = np.array([0.5, 2.0, 1.0])


def one_hot(classes, k=3):
    return jax.nn.one_hot(classes, k)


def smooth(t, s):
    return t * (1 - s) + s / t.shape[1]


def huber(d):
    return jnp.where(jnp.abs(d) <= 0.7, d**2 / 2, 0.7 * (jnp.abs(d) - 0.35))


def p_true(z, t):
    return jnp.take_along_axis(jax.nn.softmax(z), t[:, None], axis=1)[:, 0]


def weston_watkins(z, t, power):
    shortfall = 1 + z - jnp.take_along_axis(z, t[:, None], axis=1)
    return (jnp.maximum(0, shortfall) ** power * (1 - one_hot(t))).sum(1)


def two_logits(z):
    return jnp.concatenate([jnp.zeros_like(z), z], axis=1)


CASES = {
    "mse": (MeanSquaredError(), 3, REALS, lambda y, t: ((y - t) ** 2).mean(1)),
    "half squares": (HalfSquares(), 3, REALS, lambda y, t: ((y - t) ** 2).sum(1) / 2),
    "mae": (MeanAbsoluteError(), 3, REALS, lambda y, t: jnp.abs(y - t).mean(1)),
    "huber": (Huber(0.7), 3, REALS, lambda y, t: huber(y - t).mean(1)),
    "log cosh": (LogCosh(), 3, REALS, lambda y, t: jnp.log(jnp.cosh(y - t)).mean(1)),
    "quantile": (Quantile(0.9), 3, REALS, lambda y, t: jnp.maximum(0.9 * (t - y), -0.1 * (t - y)).mean(1)),
    "poisson": (Poisson(), 3, COUNTS, lambda y, t: (jnp.exp(y) - t * y).mean(1)),
    "gaussian": (
        GaussianNegativeLogLikelihood(),
        6,
        REALS,
        lambda y, t: -jax.scipy.stats.norm.logpdf(t, y[:, :3], jnp.exp(y[:, 3:] / 2)).mean(1),
    ),
    "cosine": (
        Cosine(),
        3,
        REALS,
        lambda y, t: 1 - (y * t).sum(1) / (jnp.linalg.norm(y, axis=1) * jnp.linalg.norm(t, axis=1)),
    ),
    "binary": (
        BinaryCrossEntropy(),
        1,
        BINARY,
        lambda z, t: -jnp.where(t == 1, jax.nn.log_sigmoid(z[:, 0]), jax.nn.log_sigmoid(-z[:, 0])),
    ),
    "binary, many": (
        BinaryCrossEntropy(),
        3,
        PROBABILITIES,
        lambda z, t: -(t * jax.nn.log_sigmoid(z) + (1 - t) * jax.nn.log_sigmoid(-z)).mean(1),
    ),
    "binary, smoothed and weighted": (
        BinaryCrossEntropy(0.2, (0.5, 2.0)),
        1,
        BINARY,
        lambda z, t: (
            -(2 * (t * 0.8 + 0.1) * jax.nn.log_sigmoid(z[:, 0]) + 0.5 * (0.9 - t * 0.8) * jax.nn.log_sigmoid(-z[:, 0]))
        ),
    ),
    "categorical": (CategoricalCrossEntropy(), 3, CLASSES, lambda z, t: -(one_hot(t) * jax.nn.log_softmax(z)).sum(1)),
    "categorical, probabilities": (
        CategoricalCrossEntropy(),
        3,
        PROBABILITIES,
        lambda z, t: -(t * jax.nn.log_softmax(z)).sum(1),
    ),
    "categorical, smoothed and weighted": (
        CategoricalCrossEntropy(0.1, tuple(WEIGHTS)),
        3,
        CLASSES,
        lambda z, t: -(WEIGHTS * smooth(one_hot(t), 0.1) * jax.nn.log_softmax(z)).sum(1),
    ),
    "focal": (Focal(), 3, CLASSES, lambda z, t: -((1 - p_true(z, t)) ** 2) * jnp.log(p_true(z, t))),
    "focal, weighted": (
        Focal(0.5, tuple(WEIGHTS)),
        3,
        CLASSES,
        lambda z, t: -WEIGHTS[t] * (1 - p_true(z, t)) ** 0.5 * jnp.log(p_true(z, t)),
    ),
    "focal, one output": (
        Focal(3.0),
        1,
        BINARY,
        lambda z, t: -((1 - p_true(two_logits(z), t)) ** 3) * jnp.log(p_true(two_logits(z), t)),
    ),
    "hinge": (Hinge(), 3, CLASSES, lambda z, t: weston_watkins(z, t, 1)),
    "hinge, one output": (Hinge(), 1, BINARY, lambda z, t: jnp.maximum(0, 1 - (2 * t - 1) * z[:, 0])),
    "squared hinge": (SquaredHinge(), 3, CLASSES, lambda z, t: weston_watkins(z, t, 2)),
    "squared hinge, one output": (
        SquaredHinge(),
        1,
        BINARY,
        lambda z, t: jnp.maximum(0, 1 - (2 * t - 1) * z[:, 0]) ** 2,
    ),
    "kullback-leibler": (
        KullbackLeibler(),
        3,
        PROBABILITIES,
        lambda y, t: jax.scipy.special.rel_entr(t, jnp.exp(y)).sum(1),
    ),
}


def test_every_loss_has_a_case():
    assert {type(loss) for loss, *_ in CASES.values()} == set(NAMED.values())


def prediction_for(outputs, seed=1):
    return np.random.default_rng(seed).normal(scale=1.3, size=(7, outputs))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("weights", [None, np.linspace(0, 3, 7)])
def test_value_and_derivative_equal_those_of_jax(name, weights):
    loss, outputs, target, oracle = CASES[name]
    prediction = prediction_for(outputs)

    def value(y):
        return jnp.mean(oracle(y, jnp.asarray(target)) * (1 if weights is None else weights))

    assert loss.value(prediction, target, weights) == pytest.approx(float(value(prediction)), rel=1e-12)
    np.testing.assert_allclose(
        loss.derivative(prediction, target, weights), jax.grad(value)(prediction), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("name", CASES)
def test_derivative_equals_finite_differences(name):
    loss, outputs, target, _ = CASES[name]
    prediction = prediction_for(outputs, seed=2)
    derivative = loss.derivative(prediction, target)
    for index in np.ndindex(prediction.shape):
        direction = np.zeros_like(prediction)
        direction[index] = 1
        numeric = central_difference(lambda h, d=direction: loss.value(prediction + h * d, target))
        assert numeric == pytest.approx(derivative[index], rel=1e-7, abs=1e-8)


@pytest.mark.parametrize(
    "loss", [BinaryCrossEntropy(), CategoricalCrossEntropy(), BinaryCrossEntropy(0.1), Focal(), Hinge()], ids=str
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_huge_logits_give_finite_losses_and_derivatives(loss, dtype, outputs):
    if outputs == 1 and isinstance(loss, CategoricalCrossEntropy):
        return
    prediction = np.full((2, outputs), -1e4, dtype=dtype)
    prediction[:, -1] = [1e4, -1e4]
    target = (
        np.array([0, 1])
        if outputs == 1 or not isinstance(loss, BinaryCrossEntropy)
        else np.array([[1, 0, 0], [0, 1, 1]])
    )
    assert np.isfinite(loss.value(prediction, target))
    derivative = loss.derivative(prediction, target)
    assert np.isfinite(derivative).all()
    assert derivative.dtype == dtype
    if isinstance(loss, BinaryCrossEntropy) and outputs == 1 and not loss.smoothing:
        assert loss.value(prediction, target) == pytest.approx(1e4)


@given(st.integers(1, 6), st.integers(2, 4), st.integers(0, 99))
def test_doubling_all_sample_weights_doubles_the_loss(samples, classes, seed):
    random = np.random.default_rng(seed)
    z, t = random.normal(size=(samples, classes)), random.integers(0, classes, samples)
    loss = CategoricalCrossEntropy()
    doubled = loss.value(z, t, np.full(samples, 2.0))
    assert doubled == pytest.approx(2 * loss.value(z, t))


@pytest.mark.parametrize("name", NAMED)
def test_a_loss_is_made_by_name_and_has_a_formula(name):
    loss = losses.loss(name)
    assert type(loss) is NAMED[name]
    assert all(loss.formula)


def test_names_take_settings_and_invalid_ones_raise():
    assert losses.loss("huber 0.5") == Huber(0.5)
    with pytest.raises(SettingError, match="did you mean 'huber'"):
        losses.loss("hubr")
    with pytest.raises(SettingError, match="mse takes no values"):
        losses.loss("mse 3")
    with pytest.raises(SettingError, match="between 0 and 1"):
        Quantile(1.5)
    with pytest.raises(SettingError, match="negative"):
        CategoricalCrossEntropy(class_weights=(1.0, -1.0))


def test_targets_and_weights_of_the_wrong_shape_raise():
    with pytest.raises(ShapeError, match="distinguishes 3 classes"):
        CategoricalCrossEntropy().value(np.zeros((2, 3)), np.array([0, 3]))
    with pytest.raises(ShapeError, match="the target has the shape"):
        MeanSquaredError().value(np.zeros((2, 3)), np.zeros(5))
    with pytest.raises(ShapeError, match="sample weights"):
        MeanSquaredError().value(np.zeros((2, 3)), np.zeros((2, 3)), np.ones(3))
    with pytest.raises(SettingError, match="2 class weights for 3 classes"):
        CategoricalCrossEntropy(class_weights=(1, 1)).value(np.zeros((2, 3)), np.array([0, 1]))


def test_probabilities_classes_and_point_predictions():
    z = np.array([[0.0], [2.0]])
    np.testing.assert_allclose(BinaryCrossEntropy().probabilities(z).sum(axis=1), 1)
    np.testing.assert_array_equal(BinaryCrossEntropy().classes(z), [0, 1])
    np.testing.assert_array_equal(CategoricalCrossEntropy().classes(np.array([[1.0, 2.0, 0.0]])), [1])
    assert Hinge().probabilities(z) is None
    np.testing.assert_allclose(Poisson().point(np.array([[0.0]])), [[1]])
    np.testing.assert_allclose(GaussianNegativeLogLikelihood().point(np.array([[3.0, 0.0]])), [[3]])


@pytest.mark.parametrize(
    ("penalty", "oracle"),
    [
        (losses.l1(0.3), lambda w, b: 0.3 * jnp.abs(w).sum()),
        (losses.l2(0.3), lambda w, b: 0.15 * (w**2).sum()),
        (
            losses.elastic(0.1, 0.2, on="*"),
            lambda w, b: 0.1 * (jnp.abs(w).sum() + jnp.abs(b).sum()) + 0.1 * ((w**2).sum() + (b**2).sum()),
        ),
    ],
)
def test_penalties_equal_those_of_jax_and_skip_other_parameters(penalty, oracle):
    layout = Layout.of({"dense_1.W": (3, 2), "dense_1.b": (2,)}, regularized={"dense_1.W"})
    vector = np.random.default_rng(3).normal(size=8)
    assert penalty.value(vector, layout) == pytest.approx(float(oracle(vector[:6], vector[6:])), rel=1e-12)
    gradient = jax.grad(lambda v: oracle(v[:6], v[6:]))(vector)
    np.testing.assert_allclose(penalty.gradient(vector, layout), gradient, rtol=1e-10)


def test_a_penalty_that_matches_nothing_raises():
    with pytest.raises(SettingError, match=r"no parameter's name matches 'conv\*'; there are dense_1.W"):
        losses.l2(0.1, on="conv*").value(np.ones(2), Layout.of({"dense_1.W": (2, 1)}))
