"""The two lines about one weight say what training did with it."""

import numpy as np
import pytest

from chainrule.data import as_they_are
from chainrule.errors import SettingError
from chainrule.explain import gradient_line, summarize, update_line
from chainrule.losses import l2
from chainrule.training import Stepped, train

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def step():
    """A training with everything in its gradient, and one of its steps."""
    seen = []
    x, y = RANDOM.normal(size=(40, 3)), RANDOM.integers(0, 2, 40)
    data = as_they_are(x, y, weight=RANDOM.uniform(0.5, 2, 40))
    network = "6 relu, dropout 0.2, batchnorm, residual(6 tanh)"
    trained = train(network, data, epochs=2, dtype="float64", penalties=[l2(0.1)], callbacks=[seen.append])
    return trained.plan, data, [event.done for event in seen if isinstance(event, Stepped)][-1]


def test_products_and_penalty_are_the_gradient_of_every_weight(step):
    plan, data, done = step
    for place in range(plan.network.parameters.size):
        name = plan.network.parameters.name_of(place)
        summary = summarize(plan, data, done, name)
        assert summary.products.sum() + summary.penalty == pytest.approx(done.gradient[place], rel=1e-10, abs=1e-12)
        assert summary.gradient == done.gradient[place]
        assert set(summary.samples) <= set(done.rows)
        assert summary.before - summary.update == summary.after
        if name.endswith(".W"):
            assert summary.penalty == pytest.approx(0.1 * summary.before)


def test_by_default_it_is_the_weight_that_moved_most(step):
    plan, data, done = step
    assert abs(summarize(plan, data, done).update) == np.abs(done.update).max()


def test_the_lines_add_up_as_they_are_printed(step):
    plan, data, done = step
    summary = summarize(plan, data, done, "dense_1.W[1, 2]")
    left, middle, right = gradient_line(summary).split(" = ")
    assert left == "dL/d dense_1.W[1, 2]"
    numbers = [float(word) for word in middle.split() if word[0] in "+-"]
    assert sum(numbers) == pytest.approx(float(right), rel=1e-2, abs=1e-6)
    assert "(penalty)" in middle
    assert update_line(summary).startswith("dense_1.W[1, 2]: ")


def test_a_weight_that_does_not_exist_is_refused(step):
    with pytest.raises(SettingError, match="did you mean"):
        summarize(*step, "dense_7.W[0, 0]")
