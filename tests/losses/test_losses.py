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
    Ordinal,
    Poisson,
    Quantile,
    Quantiles,
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


def pinball(y, t, levels):
    """Of quantiles (samples, levels, columns) of targets (samples, columns)."""
    d, levels = y - t[:, None], jnp.asarray(levels)[:, None]
    return jnp.maximum(-levels * d, (1 - levels) * d).mean((1, 2))


def three_quantiles(z):
    low, middle, high = jnp.split(z, 3, axis=1)
    return jnp.stack([middle - jax.nn.softplus(low), middle, middle + jax.nn.softplus(high)], axis=1)


def four_quantiles(z):
    """Whose free one is the second."""
    a, b, c, d = z.T
    c, d = jax.nn.softplus(c), jax.nn.softplus(d)
    return jnp.stack([b - jax.nn.softplus(a), b, b + c, b + c + d], axis=1)[:, :, None]


def ordinal(z, t):
    """-ln of a difference of sigmoids of thresholds that ascend (McCullagh, 1980)."""
    base = (z.shape[1] - 1) // 2
    steps = jax.nn.softplus(jnp.delete(z, base, axis=1))
    thresholds = jnp.cumsum(jnp.concatenate([jnp.zeros_like(z[:, :1]), steps], axis=1), axis=1)
    thresholds = thresholds - thresholds[:, base : base + 1] - z[:, base : base + 1]
    below = jnp.pad(jax.nn.sigmoid(thresholds), ((0, 0), (0, 1)), constant_values=1.0)
    p = jnp.diff(below, axis=1, prepend=0.0)
    return -jnp.log(jnp.take_along_axis(p, t[:, None], axis=1)[:, 0])


RANKS = RANDOM.integers(0, 5, 7)
RANK_WEIGHTS = np.array([0.5, 2.0, 1.0, 0.0, 3.0])

CASES = {
    "mse": (MeanSquaredError(), 3, REALS, lambda y, t: ((y - t) ** 2).mean(1)),
    "half squares": (HalfSquares(), 3, REALS, lambda y, t: ((y - t) ** 2).sum(1) / 2),
    "mae": (MeanAbsoluteError(), 3, REALS, lambda y, t: jnp.abs(y - t).mean(1)),
    "huber": (Huber(0.7), 3, REALS, lambda y, t: huber(y - t).mean(1)),
    "log cosh": (LogCosh(), 3, REALS, lambda y, t: jnp.log(jnp.cosh(y - t)).mean(1)),
    "quantile": (Quantile(0.9), 3, REALS, lambda y, t: jnp.maximum(0.9 * (t - y), -0.1 * (t - y)).mean(1)),
    "quantiles": (Quantiles(), 9, REALS, lambda z, t: pinball(three_quantiles(z), t, [0.05, 0.5, 0.95])),
    "quantiles, even": (
        Quantiles((0.1, 0.4, 0.6, 0.95)),
        4,
        REALS[:, 0],
        lambda z, t: pinball(four_quantiles(z), t[:, None], [0.1, 0.4, 0.6, 0.95]),
    ),
    "quantiles, one": (Quantiles((0.9,)), 3, REALS, lambda y, t: pinball(y[:, None], t, [0.9])),
    "poisson": (Poisson(), 3, COUNTS, lambda y, t: (jnp.exp(y) - t * y).mean(1)),
    "gaussian": (
        GaussianNegativeLogLikelihood(),
        6,
        REALS,
        lambda y, t: -jax.scipy.stats.norm.logpdf(t, y[:, :3], jnp.sqrt(jnp.exp(y[:, 3:]) + 1e-6)).mean(1),
    ),
    "gaussian, high floor": (
        GaussianNegativeLogLikelihood(0.7),
        6,
        REALS,
        lambda y, t: -jax.scipy.stats.norm.logpdf(t, y[:, :3], jnp.sqrt(jnp.exp(y[:, 3:]) + 0.49)).mean(1),
    ),
    "gaussian, no floor": (
        GaussianNegativeLogLikelihood(0),
        2,
        REALS[:, 0],
        lambda y, t: -jax.scipy.stats.norm.logpdf(t, y[:, 0], jnp.exp(y[:, 1] / 2)),
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
    "binary, each weighted": (
        BinaryCrossEntropy(0.2, (0.5, 2.0, 1.0, 0.0, 3.0, 0.25)),
        3,
        PROBABILITIES,
        lambda z, t: (
            -(
                jnp.array([2, 0, 0.25]) * (t * 0.8 + 0.1) * jax.nn.log_sigmoid(z)
                + jnp.array([0.5, 1, 3]) * (0.9 - t * 0.8) * jax.nn.log_sigmoid(-z)
            ).mean(1)
        ),
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
    "ordinal": (Ordinal(), 4, RANKS, ordinal),
    "ordinal, even": (Ordinal(), 3, RANKS % 4, ordinal),
    "ordinal, two classes": (Ordinal(), 1, BINARY, ordinal),
    "ordinal, weighted": (Ordinal(tuple(RANK_WEIGHTS)), 4, RANKS, lambda z, t: RANK_WEIGHTS[t] * ordinal(z, t)),
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


MASK = np.array([[1.0, 1, 1, 0, 0, 0, 0], [0, 2, 1, 1, 1, 1, 0.5]])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("weights", [None, MASK, np.array([0.5, 3.0])], ids=["none", "positions", "samples"])
def test_positions_have_losses_whose_mean_is_the_samples_loss(name, weights):
    """Two samples of seven positions; some of the positions do not count."""
    loss, outputs, target, oracle = CASES[name]
    prediction = np.stack([prediction_for(outputs, 1), prediction_for(outputs, 2)])
    target = np.stack([target, target[::-1]])
    shares = np.full((2, 7), 1 / 7) if weights is None or weights.ndim == 1 else MASK / MASK.sum(axis=1, keepdims=True)
    of_samples = weights if weights is not None and weights.ndim == 1 else np.ones(2)

    def expected(z):
        rows = oracle(z.reshape(14, outputs), target.reshape(14, *target.shape[2:])).reshape(2, 7)
        return ((rows * shares).sum(axis=1) * of_samples).mean()

    given = () if weights is None else (weights,)
    assert loss.value(prediction, target, *given) == pytest.approx(float(expected(prediction)), rel=1e-12)
    slopes = loss.derivative(prediction, target, *given)
    np.testing.assert_allclose(slopes, jax.grad(expected)(prediction), rtol=1e-10, atol=1e-13)
    z = prediction.copy()

    def at(h):
        z[1, 4, 0] = prediction[1, 4, 0] + h
        return loss.value(z, target, *given)

    assert slopes[1, 4, 0] == pytest.approx(central_difference(at), rel=1e-6, abs=1e-9)
    if weights is MASK:
        assert not slopes[0, 3:].any(), "positions that do not count have no derivative"


def test_a_sample_of_which_no_position_counts_has_no_loss():
    prediction, target = np.ones((2, 3, 2)), np.zeros((2, 3), int)
    weights = np.array([[1.0, 0, 0], [0, 0, 0]])
    loss = CategoricalCrossEntropy()
    assert loss.samples(prediction, target, weights).tolist() == [pytest.approx(np.log(2)), 0]
    assert loss.value(prediction, target, weights) == pytest.approx(np.log(2) / 2)
    assert np.isfinite(loss.derivative(prediction, target, weights)).all()


def test_targets_and_weights_of_other_positions_are_refused():
    loss, prediction = CategoricalCrossEntropy(), np.zeros((2, 3, 4))
    with pytest.raises(ShapeError, match=r"the target has the shape \(2, 4\), but the prediction \(2, 3, 4\); pass a"):
        loss.value(prediction, np.zeros((2, 4), int))
    with pytest.raises(ShapeError, match=r"weights have the shape \(3,\); it must be \(2,\), or \(2, 3\) by position"):
        loss.value(prediction, np.zeros((2, 3), int), np.ones(3))


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
    ("f", "derivative", "sizes"),
    [
        (lambda h: np.exp(3 * h), 3, 5),
        (lambda h: 2 * h + 100 * max(0, h - 3e-5), 2, 3),  # a kink within the third step size
        (lambda h: 2 * h + 100 * max(0, h - 3e-4), 2, 4),
        (lambda h: 1.0, 0, 5),
    ],
)
def test_a_central_difference_needs_no_step_sizes_beyond_a_kink(f, derivative, sizes):
    taken = []
    measured = central_difference(lambda h: taken.append(h) or f(h))
    assert measured == pytest.approx(derivative, rel=1e-8, abs=1e-12)
    assert len({abs(h) for h in taken}) == 2 * sizes


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


levels_of_quantiles = st.lists(st.sampled_from(np.arange(1, 100) / 100), min_size=1, max_size=9, unique=True).map(
    sorted
)
scales = st.sampled_from([1e-3, 1.0, 50.0, 1e4])


@given(levels_of_quantiles, st.integers(1, 5), st.integers(1, 4), scales, st.sampled_from(["float32", "float64"]))
def test_quantiles_never_cross_and_their_derivative_is_that_of_differences(levels, samples, columns, scale, dtype):
    loss, random = Quantiles(tuple(levels)), np.random.default_rng(len(levels))
    z = (scale * random.normal(size=(samples, len(levels) * columns))).astype(dtype)
    of_levels = loss.of_levels(z)
    assert of_levels.shape == (samples, len(levels), columns)
    assert (np.diff(of_levels, axis=1) >= 0).all()
    np.testing.assert_array_equal(of_levels[:, loss.base], z.reshape(samples, -1, columns)[:, loss.base])
    assert ((of_levels.min(axis=1) <= loss.point(z)) & (loss.point(z) <= of_levels.max(axis=1))).all()
    t = random.normal(size=(samples, columns))
    derivative = loss.derivative(z, t)
    assert derivative.dtype == dtype
    assert np.isfinite(derivative).all()
    if scale == 1.0 and dtype == "float64":
        direction = random.normal(size=z.shape)
        numeric = central_difference(lambda h: loss.value(z + h * direction, t))
        assert numeric == pytest.approx(float((derivative * direction).sum()), rel=1e-5, abs=1e-8)


@given(st.integers(2, 12), st.integers(1, 5), scales, st.sampled_from(["float32", "float64"]))
def test_probabilities_of_ordered_classes_are_valid_whatever_the_outputs(classes, samples, scale, dtype):
    loss, random = Ordinal(), np.random.default_rng(classes)
    z = (scale * random.normal(size=(samples, loss.outputs(classes)))).astype(dtype)
    assert loss.width(z.shape[1]) == classes
    probabilities = loss.probabilities(z)
    assert probabilities.shape == (samples, classes)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5 if dtype == "float32" else 1e-12)
    assert (np.diff(loss.cumulative(z), axis=1) <= 0).all()
    np.testing.assert_array_equal(loss.classes(z), loss._log_probabilities(z).argmax(axis=1))
    t = random.integers(0, classes, samples)
    assert np.isfinite(loss.value(z, t))
    assert np.isfinite(loss.derivative(z, t)).all()
    if scale == 1.0 and dtype == "float64":
        direction = random.normal(size=z.shape)
        numeric = central_difference(lambda h: loss.value(z + h * direction, t))
        assert numeric == pytest.approx(float((loss.derivative(z, t) * direction).sum()), rel=1e-6, abs=1e-8)


def test_the_probability_of_a_class_is_a_difference_of_sigmoids():
    z = np.array([[0.3, -1.2, 0.7]])
    above = 1 / (1 + np.exp(-Ordinal().cumulative(z)[0]))
    np.testing.assert_allclose(Ordinal().probabilities(z)[0], -np.diff([1, *above, 0]), rtol=1e-12)


def test_soft_targets_of_ordered_classes_weigh_the_losses_of_the_classes():
    z, t = RANDOM.normal(size=(7, 2)), PROBABILITIES
    expected = sum(t[:, k] * Ordinal().samples(z, np.full(7, k)) for k in range(3))
    np.testing.assert_allclose(Ordinal().samples(z, t), expected)


@pytest.mark.parametrize("s", [-1e4, -100.0, 0.0, 100.0, 1e4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gaussian_stays_finite_whatever_the_outputs(s, dtype):
    prediction, target = np.array([[0.5, s]], dtype), np.zeros((1, 1))
    loss = GaussianNegativeLogLikelihood()
    assert np.isfinite(loss.value(prediction, target))
    assert np.isfinite(loss.derivative(prediction, target)).all()
    if s <= -100:
        np.testing.assert_allclose(loss.deviation(prediction), 0.001, rtol=1e-5)


def test_scores_of_distributions_are_in_units_of_the_target():
    t, unit = np.array([[0.0], [1.0], [9.0]]), np.array([10.0])
    z = np.array([[np.log(np.expm1(2.0)), 0.0, np.log(np.expm1(3.0))]] * 3)  # quantiles -2, 0 and 3
    scores = Quantiles((0.05, 0.5, 0.95)).scores(z, t, unit)
    assert scores["coverage_0.9"] == pytest.approx(2 / 3)
    assert scores["interval_width_0.9"] == pytest.approx(50)
    by_hand = [[0.05 * 2, 0, 0.05 * 3], [0.05 * 3, 0.5, 0.05 * 2], [0.05 * 11, 0.5 * 9, 0.95 * 6]]
    assert scores["pinball"] == pytest.approx(10 * np.mean(by_hand))
    weighted = Quantiles((0.05, 0.5, 0.95)).scores(z, t, unit, np.array([1.0, 1.0, 2.0]))
    assert weighted["coverage_0.9"] == pytest.approx(0.5)
    of_gaussian = GaussianNegativeLogLikelihood(0).scores(np.array([[0.0, 2 * np.log(2.0)]] * 3), t, unit)
    expected = -jax.scipy.stats.norm.logpdf(10 * t, 0, 20).mean()
    assert of_gaussian["negative_log_likelihood"] == pytest.approx(float(expected))
    assert of_gaussian["coverage_0.9"] == pytest.approx(2 / 3)
    assert of_gaussian["interval_width_0.9"] == pytest.approx(2 * 1.6448536269514722 * 20)
    assert MeanSquaredError().scores(t, t, unit) == {}


def test_a_loss_without_quantiles_says_which_to_train_with():
    with pytest.raises(
        SettingError, match=r"MeanSquaredError predicts no quantiles; for 0.05 and 0.95, train with the"
    ):
        MeanSquaredError().quantiles(REALS, (0.05, 0.95))
    with pytest.raises(SettingError, match=r"are 0.1 and 0.9; for 0.05, train with the loss 'quantiles 0.05 0.5'"):
        Quantiles((0.1, 0.9)).quantiles(np.zeros((1, 2)), (0.05,))


def test_quantiles_of_a_gaussian_are_those_of_the_normal_distribution():
    prediction = np.array([[3.0, 2 * np.log(0.5)]])
    found = GaussianNegativeLogLikelihood(0).quantiles(prediction, (0.1, 0.5, 0.975))[0, :, 0]
    np.testing.assert_allclose(found, jax.scipy.stats.norm.ppf(np.array([0.1, 0.5, 0.975]), 3, 0.5))


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
    assert losses.loss("quantiles 0.1 0.5 0.9") == Quantiles((0.1, 0.5, 0.9))
    assert losses.loss("quantiles levels=0.3") == Quantiles((0.3,))
    for wrong in ("quantiles 0.5 0.1", "quantiles 0.5 0.5", "quantiles 0 0.5", "quantiles 0.5 1"):
        with pytest.raises(SettingError, match="between 0 and 1, in ascending order"):
            losses.loss(wrong)
    with pytest.raises(SettingError, match="levels is set twice"):
        losses.loss("quantiles 0.1 levels=0.5")
    with pytest.raises(SettingError, match="the floor is 2; it is a deviation"):
        losses.loss("gaussian 2")
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
    step = np.log(np.expm1(1.0))  # whose softplus is 1
    np.testing.assert_allclose(Quantiles().point(np.array([[step, 3.0, step]])), [[3]])
    np.testing.assert_allclose(Quantiles((0.4, 0.8)).point(np.array([[3.0, step]])), [[3.25]])
    np.testing.assert_allclose(Quantiles((0.1, 0.2)).point(np.array([[step, 3.0]])), [[3]])


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
