"""The worked examples of CONTRIBUTING.md do what it says: one class, one oracle, and everything
knows them.
"""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chainrule import kinds
from chainrule.backprop import backward_pass, forward_pass
from chainrule.explain import explain, lines
from chainrule.gradient_check import check_gradient
from chainrule.layers import Dense, activations, base, normalization, total
from chainrule.losses import MeanSquaredError
from chainrule.network import Network
from chainrule.runs.recipe import from_json, to_json

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(params=[0, 2], ids=["an activation", "a layer with weights"])
def example(request):
    """The layer and its oracle, as the page has them; the class is written into chainrule's own
    room.
    """
    registered = set(kinds.REGISTERED)
    names = {**vars(base), **vars(normalization), **vars(activations), "jax": jax, "jnp": jnp}
    names["__name__"] = "chainrule.layers.activations"
    exec(BLOCKS[request.param], names)
    ((_, (layer, oracle)),) = eval(f"{{{BLOCKS[request.param + 1]}}}", names).items()
    yield layer, oracle
    for name in set(kinds.REGISTERED) - registered:
        del kinds.REGISTERED[name]


def test_the_page_has_two_examples():
    assert len(BLOCKS) == 4
    assert "class Squareplus(Rectifier)" in BLOCKS[0]
    assert "class Gain(Layer)" in BLOCKS[2]


def test_an_example_is_what_jax_differentiates_and_its_terms_add_up(example):
    layer, oracle = example
    network = Network([layer], 4, dtype="float64")
    random = np.random.default_rng(0)
    parameters, x, dy = network.draw(), random.normal(size=(5, 4)), random.normal(size=(5, 4))
    tape = forward_pass(network, parameters, x)
    gradient, dx = backward_pass(network, tape, dy, wants_input=True)

    def value(w, x):
        return jnp.sum(oracle({"w": w}, x) * dy)

    dw, expected = jax.grad(value, argnums=(0, 1))(jnp.asarray(parameters), jnp.asarray(x))
    np.testing.assert_allclose(dx, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(gradient, dw, rtol=1e-10, atol=1e-12)
    for index in np.ndindex(x.shape):
        assert total(tape.feeds_of_value(0, index)) == pytest.approx(dx[index], rel=1e-10)
    for j in range(parameters.size):
        assert total(tape.terms(network.nodes[0].owner, "w", (j,))) == pytest.approx(gradient[j], rel=1e-10)


def test_an_example_is_known_to_texts_recipes_and_explanations(example):
    layer, _ = example
    name = layer.kind.lower()
    network = Network(f"3 tanh, {name}, 1", 2, dtype="float64")
    assert [node.layer.kind for node in network.nodes][2] == layer.kind
    assert from_json(json.loads(json.dumps(to_json(network)))) == network
    random = np.random.default_rng(1)
    x, y = random.normal(size=(4, 2)), random.normal(size=(4, 1))
    assert check_gradient(network, MeanSquaredError(), x, y).error < 1e-7
    e = explain(network, network.draw(), x, y, "mse", "sgd", "dense_1.W[0, 1]")
    assert sum(term.product for term in e.samples) == pytest.approx(e.gradient, rel=1e-10)
    assert f"{network.nodes[2].name}[1]" in "\n".join(lines(e))


def test_an_activation_decides_how_the_weights_before_it_are_drawn():
    names = {**vars(base), **vars(activations)}  # outside of chainrule's own room it is a user's activation
    exec(BLOCKS[0], names)
    network = Network([Dense(3), names["Squareplus"](), Dense(1)], 2)
    assert network.nodes[0].built.parameters["W"].distribution.scale == 2.0  # He's
