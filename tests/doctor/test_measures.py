"""What findings are measured by, against independent computations."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import kolmogorov

from chainrule import Network
from chainrule.arrays import Samples
from chainrule.descent import optimizer
from chainrule.doctor.hessian import hessian_product, largest_eigenvalue
from chainrule.doctor.shift import _beyond_chi_squared, _beyond_kolmogorov, chi_squared, kolmogorov_smirnov
from chainrule.doctor.stability import action
from chainrule.engine import Position, Problem
from chainrule.losses import loss


def test_the_product_with_the_hessian_is_that_of_second_differences():
    """Of the loss itself, so that no gradient is asked."""
    random = np.random.default_rng(0)
    samples = Samples(random.normal(size=(20, 3)), random.normal(size=(20, 1)))
    problem = Problem(Network("3 tanh, 1", 3, "float64"), loss("mse"), optimizer("sgd"))
    w, h = problem.network.draw(0), 1e-4
    nudges = h * np.eye(len(w))
    hessian = np.array([
        [sum(s * t * problem.total_loss(w + s * a + t * b, samples) for s in (1, -1) for t in (1, -1)) for b in nudges]
        for a in nudges
    ]) / (4 * h * h)  # fmt: skip
    product = hessian_product(problem, Position(0, w, np.empty(0), ()), samples)
    v = random.normal(size=len(w))
    np.testing.assert_allclose(product(v), hessian @ v, rtol=1e-4, atol=1e-5)
    values = np.linalg.eigvalsh(hessian)
    most = values[np.argmax(np.abs(values))]
    assert largest_eigenvalue(product, len(w), most=500, tolerance=1e-4).value == pytest.approx(most, rel=1e-3)


@pytest.mark.parametrize("text", ["sgd 1", "momentum 1 decay=0.9", "nesterov 1 decay=0.9"])
def test_the_limit_parts_what_settles_from_what_does_not(text):
    """On a parabola with curvature h, weights settle below the limit and diverge above it."""
    chosen = optimizer(text)
    known = [stage.stability(state) for stage, state in zip(chosen.stages, _start(chosen), strict=True)]
    limit = next((one.limit for one in known if one.limit != 2), 2.0)
    assert abs(_after(chosen, 0.99 * limit)) < 1e-2
    assert abs(_after(chosen, 1.01 * limit)) > 10


def test_the_limit_of_adam():
    """With the second moment fixed, Adam is momentum with a preconditioner (Cohen et al., 2022)."""
    stage = optimizer("adam 0.1").stages[0]
    state = {"count": np.array(10_000), "m": np.zeros(1), "v": np.array([4.0])}
    known = stage.stability(state)
    assert known.limit == pytest.approx(38)
    np.testing.assert_allclose(known.gain, 0.5, rtol=1e-3)


def _start(chosen):
    from chainrule.layout import Layout

    return chosen.start(np.ones(1), Layout.of({"w": (1,)}))


def _after(chosen, curvature, steps=3000):
    from chainrule.descent import Point
    from chainrule.layout import Layout

    w, states, layout = np.ones(1), _start(chosen), Layout.of({"w": (1,)})
    for _ in range(steps):
        step = chosen.step(curvature * w, states, Point(w, layout))
        w, states = step.parameters, step.states
        if abs(w[0]) > 1e6:
            break
    return w[0]


def test_the_tests_of_shift_are_those_of_scipy():
    random = np.random.default_rng(0)
    first, second = random.normal(size=200), random.normal(0.3, size=90)
    expected = stats.ks_2samp(first, second, method="asymp")
    distance, p = kolmogorov_smirnov(first, second)
    assert distance == pytest.approx(expected.statistic)
    assert p == pytest.approx(expected.pvalue, rel=0.3)
    a, b = random.integers(0, 4, 200), random.integers(0, 3, 90)
    table = [np.bincount(a, minlength=4), np.bincount(b, minlength=4)]
    assert chi_squared(a, b, 4)[1] == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)


@pytest.mark.parametrize("freedom", range(1, 10))
def test_probabilities_are_those_of_scipy(freedom):
    for x in (0.1, 1.0, 5.0, 20.0, 100.0):
        assert _beyond_chi_squared(x, freedom) == pytest.approx(stats.chi2.sf(x, freedom), rel=1e-9)
    for t in (0.25, 0.5, 1.0, 2.0, 4.0):
        assert _beyond_kolmogorov(t) == pytest.approx(kolmogorov(t), rel=1e-9)


def test_nothing_is_claimed_of_an_optimizer_whose_limit_is_unknown(tmp_path):
    from chainrule.doctor.case import Case
    from faults import plain, trained

    run, data = trained(plain(optimizer="lion 0.001", epochs=3), tmp_path / "run")
    case = Case.of(run, run.own_data(data))
    assert action(case, case.records[-1].before) is None
