"""Initializers draw from the distributions that they name."""

import numpy as np
import pytest
from scipy import stats

from chainrule import distributions
from chainrule.distributions import (
    NAMED,
    Constant,
    Identity,
    Normal,
    Orthogonal,
    Scipy,
    Sparse,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    of,
)
from chainrule.errors import SettingError
from chainrule.generators import generator
from chainrule.network import Network

SHAPE, FANS = (300, 200), (300, 200)


def draw(what, shape=SHAPE, fans=FANS):
    return of(what).draw(generator(7), shape, fans)


@pytest.mark.parametrize(
    ("what", "oracle"),
    [
        (Uniform(-2, 3), stats.uniform(-2, 5)),
        (Normal(1, 2), stats.norm(1, 2)),
        (TruncatedNormal(1, 2, 1.5), stats.truncnorm(-1.5, 1.5, 1, 2)),
        ("glorot_uniform", stats.uniform(-np.sqrt(6 / 500), 2 * np.sqrt(6 / 500))),
        ("glorot_normal", stats.norm(0, np.sqrt(2 / 500))),
        ("he_uniform", stats.uniform(-np.sqrt(6 / 300), 2 * np.sqrt(6 / 300))),
        ("he_normal", stats.norm(0, np.sqrt(2 / 300))),
        ("lecun_uniform", stats.uniform(-np.sqrt(3 / 300), 2 * np.sqrt(3 / 300))),
        ("lecun_normal", stats.norm(0, np.sqrt(1 / 300))),
        (VarianceScaling(3.0, "out", "normal"), stats.norm(0, np.sqrt(3 / 200))),
        (stats.laplace(1, scale=0.5), stats.laplace(1, 0.5)),
    ],
    # the same in every worker process
    ids=lambda value: value.dist.name if hasattr(value, "dist") else str(value),
)
def test_draws_follow_their_distribution(what, oracle):
    assert stats.kstest(draw(what).ravel(), oracle.cdf).pvalue > 0.001


def test_truncated_variance_scaling_has_its_nominal_variance():
    assert draw(VarianceScaling(2.0, "in", "truncated")).std() == pytest.approx(np.sqrt(2 / 300), rel=0.02)


def test_constants():
    assert (draw(0.5) == 0.5).all()
    assert (draw("zeros") == 0).all()
    assert (draw("ones") == 1).all()
    assert (draw(Constant(-1)) == -1).all()


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_orthogonal_rows_or_columns_are_orthonormal(shape):
    q = draw(Orthogonal(2.0), shape) / 2
    product = q.T @ q if shape[0] >= shape[1] else q @ q.T
    np.testing.assert_allclose(product, np.eye(min(shape)), atol=1e-12)


def test_identity_and_sparse():
    np.testing.assert_array_equal(draw(Identity(3), (2, 3)), [[3, 0, 0], [0, 3, 0]])
    assert ((draw(Sparse(0.8, 1.0)) == 0).sum(axis=0) == 240).all()


def test_a_layers_initial_weights_depend_only_on_its_name_and_the_seed():
    short, long = Network("4 relu, 3", 5), Network("4 relu, dropout 0.5, batchnorm, 3, tanh, 7", 5)
    for name in ("dense_1.W", "dense_2.W"):
        np.testing.assert_array_equal(
            short.parameters.view(short.draw(3), name), long.parameters.view(long.draw(3), name)
        )
    assert (short.draw(3) != short.draw(4)).any()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4 relu, 2", "he_normal"),
        ("4, batchnorm, dropout 0.1, gelu, 2", "he_normal"),
        ("4 selu, 2", "lecun_normal"),
        ("4 tanh, 2", "glorot_uniform"),
        ("4, 2", "glorot_uniform"),
    ],
)
def test_the_default_depends_on_the_next_activation(text, expected):
    network = Network(text, 3, dtype="float64")
    drawn = network.parameters.view(network.draw(), "dense_1.W")
    oracle = of(expected).draw(generator(0, "weights", "dense_1", "W"), (3, 4), (3, 4))
    np.testing.assert_array_equal(drawn, oracle)


def test_the_default_inside_a_residual_depends_on_the_activation_after_it():
    network = Network("4, residual(4), relu, 1", 4, dtype="float64")
    drawn = network.parameters.view(network.draw(), "residual_1.dense_1.W")
    oracle = of("he_normal").draw(generator(0, "weights", "residual_1.dense_1", "W"), (4, 4), (4, 4))
    np.testing.assert_array_equal(drawn, oracle)


def test_a_scipy_distribution_is_stored_by_name_and_arguments():
    assert of(stats.norm(0, scale=2)) == Scipy("norm", (0,), (("scale", 2),))
    with pytest.raises(SettingError, match="no distribution 'os'"):
        draw(Scipy("os"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: of("he_norml"), "did you mean 'he_normal'"),
        (lambda: of([1]), "is not a distribution"),
        (lambda: of("constant"), "constant needs value"),
        (lambda: Uniform(2, 1), "swap them"),
        (lambda: Normal(0, -1), "can't be negative"),
        (lambda: VarianceScaling(1, "sideways"), "unknown fan"),
        (lambda: draw(Identity(), (3,)), "matrices only"),
    ],
)
def test_invalid_distributions_raise(make, message):
    with pytest.raises(SettingError, match=message):
        make()


def test_every_name_makes_a_distribution():
    for name in NAMED:
        if name != "constant":
            assert isinstance(of(name), distributions.Distribution)
