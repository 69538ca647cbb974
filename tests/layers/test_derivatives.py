"""Backward against two independent oracles, and the terms of the chain rule against backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_layers import COVERED
from by_jax import derivatives
from chainrule.backprop import backward_pass, forward_pass
from chainrule.gradient_check import central_difference, check_gradient
from chainrule.layers import (
    ELU,
    GELU,
    GRU,
    KINDS,
    LSTM,
    SELU,
    Add,
    BatchNorm,
    Bidirectional,
    Branches,
    ChannelDropout,
    Clip,
    Concatenate,
    Context,
    Dense,
    Dropout,
    Embedding,
    Expand,
    Fixed,
    Flatten,
    HardSigmoid,
    HardSwish,
    HardTanh,
    Input,
    LayerNorm,
    LeakyReLU,
    Learned,
    LogSoftmax,
    Mask,
    MatMul,
    Mish,
    Multiply,
    PReLU,
    ReLU,
    Reshape,
    Residual,
    Scale,
    Scan,
    Seasonal,
    Sequential,
    Sigmoid,
    SiLU,
    SimpleRNN,
    Sine,
    Slice,
    Softmax,
    Softplus,
    Softsign,
    Step,
    Tanh,
    Transpose,
    UnitNorm,
    ValidMax,
    ValidMean,
    While,
    Zeros,
    total,
)
from chainrule.layers.base import snake
from chainrule.layers.graph import name_layers, trace
from chainrule.layers.settings import Block
from chainrule.losses import HalfSquares
from chainrule.network import Network
from chainrule.tape import Tape
from image_layers import ORACLES as IMAGE_ORACLES


def batch_norm(p, x):
    mean, variance = x.mean(tuple(range(x.ndim - 1))), x.var(tuple(range(x.ndim - 1)))
    return p["scale"] * (x - mean) / jnp.sqrt(variance + 1e-5) + p["offset"]


def layer_norm(p, x):
    return p["scale"] * (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5) + p["offset"]


def dense(p, x):
    return jnp.einsum("...i,ij->...j", x, p["W"]) + p["b"]


ORACLES = {
    "dense": (Dense(4), dense),
    "dense without bias": (Dense(4, bias=False), lambda p, x: jnp.einsum("...i,ij->...j", x, p["W"])),
    "relu": (ReLU(), lambda p, x: jax.nn.relu(x)),
    "leaky relu": (LeakyReLU(0.1), lambda p, x: jax.nn.leaky_relu(x, 0.1)),
    "prelu": (PReLU(), lambda p, x: jnp.where(x > 0, x, p["alpha"] * x)),
    "elu": (ELU(0.7), lambda p, x: jax.nn.elu(x, 0.7)),
    "selu": (SELU(), lambda p, x: jax.nn.selu(x)),
    "gelu": (GELU(), lambda p, x: jax.nn.gelu(x, approximate=False)),
    "gelu tanh": (GELU(tanh=True), lambda p, x: jax.nn.gelu(x, approximate=True)),
    "silu": (SiLU(), lambda p, x: jax.nn.silu(x)),
    "mish": (Mish(), lambda p, x: jax.nn.mish(x)),
    "softplus": (Softplus(), lambda p, x: jax.nn.softplus(x)),
    "softsign": (Softsign(), lambda p, x: jax.nn.soft_sign(x)),
    "sigmoid": (Sigmoid(), lambda p, x: jax.nn.sigmoid(x)),
    "tanh": (Tanh(), lambda p, x: jnp.tanh(x)),
    "hard sigmoid": (HardSigmoid(), lambda p, x: jax.nn.hard_sigmoid(x)),
    "hard swish": (HardSwish(), lambda p, x: jax.nn.hard_swish(x)),
    "clip": (Clip(-0.5, 0.8), lambda p, x: jnp.clip(x, -0.5, 0.8)),
    "learned": (Learned((2, 3)), lambda p, x: jnp.repeat(p["W"][None], len(x), axis=0)),
    "fixed": (Fixed((4,)), lambda p, x: jnp.zeros((len(x), 4))),
    "unit norm": (UnitNorm(), lambda p, x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)),
    "hard tanh": (HardTanh(), lambda p, x: jax.nn.hard_tanh(x)),
    "softmax": (Softmax(), lambda p, x: jax.nn.softmax(x)),
    "log softmax": (LogSoftmax(), lambda p, x: jax.nn.log_softmax(x)),
    "sine": (Sine(3.0), lambda p, x: jnp.sin(3.0 * x)),
    "step": (Step(), lambda p, x: jnp.heaviside(x, 0.0)),
    "batch norm": (BatchNorm(), batch_norm),
    "layer norm": (LayerNorm(), layer_norm),
    "flatten": (Flatten(), lambda p, x: x.reshape(len(x), -1)),
    "expand": (Expand(3), lambda p, x: (x[..., None] * p["W"] + p["b"]).reshape(*x.shape[:-1], -1)),
    "expand some": (
        Expand(2, on=(0, 1)),
        lambda p, x: (x[..., :2, None] * p["W"] + p["b"]).reshape(*x.shape[:-1], -1),
    ),
    "reshape": (Reshape((1, -1)), lambda p, x: x.reshape(len(x), 1, -1)),
    "scale": (Scale(-1.5), lambda p, x: -1.5 * x),
    "slice": (Slice(1, 3), lambda p, x: x[..., 1:3]),
    "transpose": (Sequential([Reshape((2, -1)), Transpose()]), lambda p, x: x.reshape(len(x), 2, -1).swapaxes(1, 2)),
    "transpose of three axes": (
        Sequential([Reshape((1, 2, -1)), Transpose((2, 0, 1))]),
        lambda p, x: x.reshape(len(x), 1, 2, -1).transpose(0, 3, 1, 2),
    ),
    "zeros": (Zeros(2), lambda p, x: jnp.zeros((len(x), 2))),
    "sequential": (
        Sequential([Dense(5), Tanh(), Sequential([Dense(3), Softplus()])]),
        lambda p, x: jax.nn.softplus(dense(p["sequential_1"]["dense_1"], jnp.tanh(dense(p["dense_1"], x)))),
    ),
    "residual": (
        Residual([Tanh(), LayerNorm(), Mish()]),
        lambda p, x: x + jax.nn.mish(layer_norm(p["layer_norm_1"], jnp.tanh(x))),
    ),
    "branches concatenated": (
        Branches([[Dense(3), Tanh()], Dense(2, activation="silu")]),
        lambda p, x: jnp.concatenate(
            [jnp.tanh(dense(p["branch_1"]["dense_1"], x)), jax.nn.silu(dense(p["branch_2"]["dense_1"], x))], axis=-1
        ),
    ),
    "branches added": (
        Branches([Dense(3), [Dense(3), BatchNorm()]], merge="add"),
        lambda p, x: (
            dense(p["branch_1"], x) + batch_norm(p["branch_2"]["batch_norm_1"], dense(p["branch_2"]["dense_1"], x))
        ),
    ),
}


def valid(steps, lengths):
    """(samples, steps, 1) whether each position is before the end of its sample."""
    return (jnp.arange(steps) < lengths[:, None])[..., None]


OPERATORS = {
    "add": (Add(), [(4,), (4,)], lambda x, y: x + y),
    "add three": (Add(), [(2, 3), (2, 3), (2, 3)], lambda x, y, z: x + y + z),
    "add broadcast": (Add(), [(2, 3), (3,)], lambda x, y: x + y[:, None]),
    "multiply": (Multiply(), [(4,), (4,)], lambda x, y: x * y),
    "multiply broadcast": (Multiply(), [(2, 1), (3, 2, 4)], lambda x, y: x[:, None] * y),
    "matmul": (MatMul(), [(2, 3), (3, 4)], lambda x, y: x @ y),
    "matmul of stacks": (MatMul(), [(2, 3, 2), (2, 2, 3)], lambda x, y: x @ y),
    "while": (While(0), [(4,), (4,), ()], lambda x, y, n: jnp.where((n > 0)[:, None], x, y)),
    "mask": (Mask(), [(3, 2), ()], lambda x, n: jnp.where(valid(3, n), x, 0)),
    "largest of the valid": (
        ValidMax(),
        [(3, 2), ()],
        lambda x, n: jnp.where((n > 0)[:, None], jnp.where(valid(3, n), x, -jnp.inf).max(axis=1), 0),
    ),
    "mean of the valid": (
        ValidMean(),
        [(3, 2), ()],
        lambda x, n: jnp.where(valid(3, n), x, 0).sum(axis=1) / jnp.maximum(valid(3, n).sum(axis=1), 1),
    ),
    "concatenate": (Concatenate(), [(3,), (2,)], lambda x, y: jnp.concatenate([x, y], -1)),
    "concatenate three": (Concatenate(), [(2, 3), (2, 1), (2, 2)], lambda *xs: jnp.concatenate(xs, -1)),
}
"""Leaves with several inputs: the layer, the inputs' shapes of one sample, and the same function
in JAX.
"""


def test_every_layer_has_an_oracle():
    held = {type(layer) for layer, *_ in (*ORACLES.values(), *OPERATORS.values())}
    held |= {Dropout, Embedding, Transpose}  # the first two have tests of their own, the third is in a Sequential
    held |= {*IMAGE_ORACLES, ChannelDropout}  # tests/layers/test_images.py
    held |= {kind for kind in COVERED if not issubclass(kind, Block)}  # tests/layers/test_attention.py
    # Composites of settings: test_networks.py and test_attention.py.
    from_settings = {kind for kind in KINDS if issubclass(kind, Block)}
    from_settings |= {Bidirectional, GRU, LSTM, Scan, SimpleRNN}  # tests/layers/test_recurrence.py
    from_settings |= {Seasonal}  # tests/training/test_forecasts.py
    assert held == set(KINDS) - from_settings


def operate(name, samples=3):
    layer, shapes, oracle = OPERATORS[name]
    random = np.random.default_rng(1)
    xs = [random.normal(size=(samples, *shape)) for shape in shapes]
    tape = Tape(trace(layer, shapes), {f"{snake(layer.kind)}_1": {}}, xs, Context())
    dy = random.normal(size=tape.output.shape)
    tape.backward(dy, wants_input=True)
    return tape, xs, dy, oracle


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operators_backward_is_what_jax_differentiates(name):
    tape, xs, dy, oracle = operate(name)
    output, *expected = derivatives(oracle, dy, *xs)
    np.testing.assert_allclose(tape.output, output, rtol=1e-12)
    for dx, jax_dx in zip(tape.arriving, expected, strict=False):
        np.testing.assert_allclose(dx, jax_dx, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operators_backward_is_what_nudging_measures(name):
    tape, xs, dy, _ = operate(name, samples=2)
    for which, x in enumerate(xs):
        for place in range(x.size):
            nudge = np.eye(x.size)[place].reshape(x.shape)

            def value(h, which=which, nudge=nudge):
                moved = [x + h * nudge if k == which else x for k, x in enumerate(xs)]
                return float(np.sum(Tape(tape.graph, tape.params, moved, Context()).output * dy))

            assert central_difference(value) == pytest.approx(tape.arriving[which].ravel()[place], rel=1e-7, abs=1e-8)


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operators_terms_add_up_to_its_backward(name):
    tape, xs, dy, _ = operate(name)
    for which, x in enumerate(xs):
        for index in np.ndindex(x.shape):
            terms = tape.feeds_of_value(which, index)
            assert total(terms) == pytest.approx(tape.arriving[which][index], rel=1e-10, abs=1e-12)
            for group in terms:
                assert [dy[tuple(at)] for at in group.at] == list(group.upstream)


def test_a_value_that_is_read_twice_gets_both_derivatives():
    network = Network(inputs=(x := Input(3)), outputs=x * x + x, dtype="float64")
    x = np.array([[1.0, -2.0, 0.5]])
    tape = forward_pass(network, network.draw(), x)
    _, dx = backward_pass(network, tape, np.ones((1, 3)), wants_input=True)
    np.testing.assert_allclose(dx, 2 * x + 1)
    assert total(tape.feeds_of_value(0, (0, 1))) == pytest.approx(dx[0, 1])


def away_from_kinks(x):
    """Numbers at which no activation here has a kink within reach of a nudge."""
    for kink in (-3.0, -1.0, 0.0, 1.0, 3.0):
        x = np.where(np.abs(x - kink) < 0.03, kink + 0.03 + np.abs(x - kink), x)
    return x


def set_up(layer, shape, seed=0):
    """A layer with drawn parameters, an input, the output and a derivative that arrives there."""
    random = np.random.default_rng(seed)
    network = Network([layer], shape[1:], dtype="float64")
    parameters = network.draw(seed) + 0.1 * random.normal(size=network.parameters.size)
    x = away_from_kinks(random.normal(scale=2, size=shape))
    forward = forward_pass(network, parameters, x, context=Context(training=True))
    return network, parameters, x, forward, random.normal(size=forward.output.shape)


@pytest.mark.parametrize("name", ORACLES)
def test_backward_is_what_jax_differentiates(name):
    layer, oracle = ORACLES[name]
    network, parameters, x, forward, dy = set_up(layer, (6, 4))
    inner = next(iter(name_layers(network.layers)))

    output, jax_gradient, jax_dx = derivatives(oracle, dy, nested(network, parameters)[inner], x)
    np.testing.assert_allclose(forward.output, output, rtol=1e-12, atol=1e-12)
    gradient, dx = backward_pass(network, forward, dy, wants_input=True)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10),
        nested(network, gradient)[inner], jax_gradient,
    )  # fmt: skip
    np.testing.assert_allclose(dx, jax_dx, rtol=1e-10, atol=1e-10)


def nested(network, vector):
    """The arrays of a flat vector by layer, inner layer and name."""
    tree = {name: {} for name in name_layers(network.layers)}
    for name, array in network.parameters.views(vector):
        node = tree
        *path, last = name.split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[last] = array
    return tree


@pytest.mark.parametrize("name", ORACLES)
def test_backward_is_what_nudging_measures(name):
    layer, _ = ORACLES[name]
    network, parameters, x, forward, dy = set_up(layer, (3, 4))
    gradient, dx = backward_pass(network, forward, dy, wants_input=True)

    def value(parameters, x):
        return float(np.sum(forward_pass(network, parameters, x, context=Context(training=True)).output * dy))

    for place in range(parameters.size):
        nudge = np.eye(parameters.size)[place]
        assert central_difference(lambda h, n=nudge: value(parameters + h * n, x)) == pytest.approx(
            gradient[place], rel=1e-7, abs=1e-8
        )
    for place in range(x.size):
        nudge = np.eye(x.size)[place].reshape(x.shape)
        assert central_difference(lambda h, n=nudge: value(parameters, x + h * n)) == pytest.approx(
            dx.ravel()[place], rel=1e-7, abs=1e-8
        )


@pytest.mark.parametrize("name", [*ORACLES, "dropout", "embedding"])
@given(data=st.data())
def test_terms_add_up_to_what_backward_gives(name, data):
    layer = {"dropout": Dropout(0.4), "embedding": Embedding(5, 3)}.get(name) or ORACLES[name][0]
    middle = data.draw(st.lists(st.integers(1, 3), max_size=0 if name == "residual" else 1))
    divides = name.startswith(("slice", "transpose"))  # its last axis must have 3 entries or more, and an even number
    shape = (data.draw(st.integers(1, 5)), *middle, 4 if divides else data.draw(st.integers(2, 5)))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    network = Network([layer], shape[1:], dtype="float64")
    parameters = network.draw() + 0.1 * random.normal(size=network.parameters.size)
    x = random.integers(0, 5, shape) if name == "embedding" else random.normal(size=shape)
    forward = forward_pass(network, parameters, x, context=Context(training=data.draw(st.booleans())))
    dy = random.normal(size=forward.output.shape)
    gradient, dx = backward_pass(network, forward, dy, wants_input=True)

    for place in range(parameters.size):
        entry = network.parameters.entry_at(place)
        index = tuple(int(k) for k in np.unravel_index(place - entry.start, entry.shape))
        assert total(forward.terms(entry.owner, entry.own_name, index)) == pytest.approx(
            gradient[place], rel=1e-10, abs=1e-10
        )
    for index in np.ndindex(x.shape):
        assert total(forward.feeds_of_value(0, index)) == pytest.approx(dx[index], rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("name", ["dense", "prelu", "softmax", "batch norm", "layer norm", "dropout", "relu"])
def test_a_term_says_which_output_it_comes_through(name):
    layer = Dropout(0.4) if name == "dropout" else ORACLES[name][0]
    network, _, _, forward, dy = set_up(layer, (5, 4))
    (node,) = network.nodes
    params, saved, _ = forward.of(node)
    terms = node.layer.input_terms(params, saved, dy, (2, 1))
    assert [dy[tuple(at)] for at in terms.at] == list(terms.upstream)
    for parameter in params:
        index = (1, 2) if parameter == "W" else (1,)
        if parameter in ("mean", "variance"):
            continue
        terms = node.layer.parameter_terms(params, saved, dy, parameter, index)
        assert [dy[tuple(at)] for at in terms.at] == list(terms.upstream)


def test_terms_from_a_residual_name_the_shortcut_and_the_way_through():
    network, _, _, forward, dy = set_up(Residual([Dense(4), Tanh()]), (3, 4))
    backward_pass(network, forward, dy)
    assert [terms.node for terms in forward.feeds_of_value(0, (0, 1))] == ["residual_1.dense_1", "residual_1"]


def test_embedding_looks_up_rows_and_their_gradients_gather():
    network = Network([Embedding(4, 2)], 3, dtype="float64")
    parameters = network.draw()
    x = np.array([[0, 1, 1], [3, 1, 0]])
    forward = forward_pass(network, parameters, x)
    table = parameters.reshape(4, 2)
    np.testing.assert_array_equal(forward.output, table[x])
    gradient, _ = backward_pass(network, forward, np.ones((2, 3, 2)))
    np.testing.assert_array_equal(gradient.reshape(4, 2)[:, 0], [2, 3, 0, 1])
    jax_gradient = jax.grad(lambda t: jnp.sum(t[x] ** 2))(jnp.asarray(table))
    ours, _ = backward_pass(network, forward, 2 * forward.output)
    np.testing.assert_allclose(ours.reshape(4, 2), jax_gradient, rtol=1e-12)


def test_dropout_drops_the_share_asked_for_and_keeps_the_mean():
    network = Network([Dropout(0.3)], 1000, dtype="float64")
    x = np.ones((200, 1000))
    dropped = forward_pass(network, network.draw(), x, context=Context(training=True, seed=1, step=2)).output
    again = forward_pass(network, network.draw(), x, context=Context(training=True, seed=1, step=2)).output
    other = forward_pass(network, network.draw(), x, context=Context(training=True, seed=1, step=3)).output
    assert (dropped == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean() == pytest.approx(1, abs=0.01)
    np.testing.assert_array_equal(dropped, again)
    assert (dropped != other).any()
    np.testing.assert_array_equal(forward_pass(network, network.draw(), x).output, x)


def test_dropouts_derivative_is_its_mask():
    network, _, _, forward, dy = set_up(Dropout(0.5), (4, 6))
    _, dx = backward_pass(network, forward, dy, wants_input=True)
    np.testing.assert_array_equal(dx, np.where(forward.output == 0, 0, 2) * dy)


def test_batch_norm_uses_the_running_statistics_after_training():
    network = Network([BatchNorm()], 2, dtype="float64")
    statistics = network.flatten(
        {"batch_norm_1": {"mean": np.array([1.0, 2.0]), "variance": np.array([4.0, 9.0])}}, network.statistics
    )
    out = network.predict(network.draw(), np.array([[3.0, 5.0]]), statistics)
    np.testing.assert_allclose(out, [[1, 1]], rtol=1e-5)


def test_step_stops_every_gradient_before_it():
    network = Network([Dense(3), Step(), Dense(1)], 2, dtype="float64")
    random = np.random.default_rng(0)
    forward = forward_pass(network, network.draw(), random.normal(size=(8, 2)))
    gradient, _ = backward_pass(network, forward, np.ones((8, 1)))
    assert not network.parameters.view(gradient, "dense_1.W").any()
    assert network.parameters.view(gradient, "dense_2.W").any()


def test_the_backward_pass_ends_at_the_first_layer_with_weights(monkeypatch):
    asked = []
    original = Dense.backward

    def spy(self, params, saved, dy, wants_input=True):
        asked.append(wants_input)
        return original(self, params, saved, dy, wants_input)

    monkeypatch.setattr(Dense, "backward", spy)
    monkeypatch.setattr(Flatten, "backward", lambda *_: pytest.fail("went on to the input"))
    network = Network([Flatten(), Dense(3), Tanh(), Residual([Dense(3), Tanh()])], (2, 2))
    forward = forward_pass(network, network.draw(), np.ones((1, 2, 2)))
    _, dx = backward_pass(network, forward, np.ones((1, 3)))
    assert asked == [True, False]
    assert dx is None


@given(st.integers(0, 10_000))
def test_whole_networks_pass_the_gradient_check(seed):
    random = np.random.default_rng(seed)
    parts = [
        "8 tanh",
        "dropout 0.3",
        "batchnorm",
        "layernorm",
        "residual(layernorm, gelu)",
        "branches(4 mish | 3 softplus)",
        "5 sigmoid",
        "6 silu",
    ]
    text = ", ".join(random.permutation(parts)[:4]) + ", 2"
    x, y = random.normal(size=(6, 3)), random.normal(size=(6, 2))
    check = check_gradient(Network(text, 3), HalfSquares(), x, y, seed=seed)
    assert check.error < 1e-7, (text, check)
    assert check.checked == Network(text, 3).parameters.size


def test_the_gradient_check_finds_a_wrong_derivative_and_names_it(monkeypatch):
    monkeypatch.setattr(Tanh, "derivative", lambda self, z, a: 1 - 0.99 * a * a)
    check = check_gradient(Network("3 tanh, 1", 2), HalfSquares(), np.ones((2, 2)), np.ones((2, 1)))
    assert check.error > 1e-4
    assert check.worst.startswith("dense_1.")


def test_a_kink_nearby_does_not_mislead_the_measurement():
    assert central_difference(lambda h: abs(h - 2e-4)) == pytest.approx(-1, rel=1e-9)
    assert central_difference(lambda h: np.exp(h)) == pytest.approx(1, rel=1e-10)
