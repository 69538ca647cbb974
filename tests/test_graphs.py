"""Random graphs: shared layers, several inputs and nested composites, beside the same functions in
JAX.
"""

import json
import math
from dataclasses import dataclass
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engines
from chainrule.backprop import backward_pass, differentiate, forward_pass
from chainrule.data import Samples
from chainrule.descent import optimizer
from chainrule.engine import Batches, Position, Problem
from chainrule.engine.native import NativeEngine
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import ChainruleError
from chainrule.explain import Explanation, explain, lines
from chainrule.explain.page import page
from chainrule.explain.scheme import draw as scheme
from chainrule.layers import (
    Composite,
    Concatenate,
    Dense,
    Input,
    Layer,
    LayerNorm,
    Reshape,
    Residual,
    Scale,
    Sigmoid,
    Slice,
    Softmax,
    Tanh,
    Transpose,
    total,
)
from chainrule.losses import HalfSquares, MeanSquaredError, l2
from chainrule.network import Network, pack
from chainrule.runs import train
from chainrule.runs.recipe import from_json, to_json
from chainrule.tape import Unit

WIDTH = 3


@dataclass(frozen=True)
class Gate(Composite):
    """x times a gate between 0 and 1 that a Dense computes from it, and the Dense's output
    again.
    """

    inner: Layer

    def wire(self, x):
        z = self.inner(x)
        return x * Sigmoid()(z) + z


@dataclass(frozen=True)
class Nested(Composite):
    """A gate inside, used twice, around it a Residual and a Dense of its own."""

    gate: Layer
    last: Layer

    def wire(self, x):
        return self.last(Residual([Tanh(), LayerNorm()])(self.gate(self.gate(x)))) - x


@dataclass(frozen=True)
class OneHead(Composite):
    """Attention of one head over positions, as in (positions, features) -> the same."""

    query: Layer
    key: Layer
    value: Layer

    def wire(self, x):
        q, k, v = self.query(x), self.key(x), self.value(x)
        return Softmax()(q @ k.transpose() / q.shape[-1] ** 0.5) @ v


@dataclass(frozen=True)
class Returns(Composite):
    """Returns what it was given, whatever its input."""

    what: object

    def wire(self, x):
        return self.what


@dataclass(frozen=True)
class Adds(Composite):
    """Adds what it was given."""

    what: object

    def wire(self, x):
        return x + self.what


def dense(p, name, x):
    return x @ p[f"{name}.W"] + p[f"{name}.b"]


def gate(p, name, x):
    z = dense(p, f"{name}.inner", x)
    return x * jax.nn.sigmoid(z) + z


def nested(p, name, x):
    y = gate(p, f"{name}.gate", gate(p, f"{name}.gate", x))
    t = jnp.tanh(y)
    norm = (t - t.mean(-1, keepdims=True)) / jnp.sqrt(t.var(-1, keepdims=True) + 1e-5)
    norm = p[f"{name}.residual_1.layer_norm_1.scale"] * norm + p[f"{name}.residual_1.layer_norm_1.offset"]
    return dense(p, f"{name}.last", y + norm) - x


def head(p, name, x):
    q, k, v = (dense(p, f"{name}.{part}", x.reshape(len(x), WIDTH, 1)) for part in ("query", "key", "value"))
    return (jax.nn.softmax(q @ k.swapaxes(1, 2) / math.sqrt(2)) @ v).reshape(len(x), -1)


KINDS = {
    "dense": (lambda name: Dense(WIDTH, name=name), dense),
    "gate": (lambda name: Gate(Dense(WIDTH), name=name), gate),
    "nested": (lambda name: Nested(Gate(Dense(WIDTH)), Dense(WIDTH), name=name), nested),
}


@st.composite
def graphs(draw):
    """A random graph of symbols, and the same as a function of parameters by name and inputs in
    JAX.
    """
    inputs = [Input(WIDTH) for _ in range(draw(st.integers(1, 3)))]
    values = [(x, lambda p, xs, k=k: xs[k]) for k, x in enumerate(inputs)]
    known = {kind: [] for kind in KINDS}
    for step in range(draw(st.integers(1, 7))):
        (x, f), (y, g) = draw(st.sampled_from(values)), draw(st.sampled_from(values))
        kind = draw(st.sampled_from([*KINDS, *KINDS, "add", "multiply", "tanh", "slice", "head"]))
        if kind in KINDS:
            make, oracle = KINDS[kind]
            if known[kind] and draw(st.booleans()):  # the same layer again: its weights are tied
                name, layer = draw(st.sampled_from(known[kind]))
            else:
                name = f"{kind}{step}"
                known[kind].append((name, layer := make(name)))
            values.append((layer(x), lambda p, xs, f=f, o=oracle, n=name: o(p, n, f(p, xs))))
        elif kind == "add":
            values.append((x + y * 0.5, lambda p, xs, f=f, g=g: f(p, xs) + 0.5 * g(p, xs)))
        elif kind == "multiply":
            values.append((x * y, lambda p, xs, f=f, g=g: f(p, xs) * g(p, xs)))
        elif kind == "tanh":
            values.append((Tanh()(x), lambda p, xs, f=f: jnp.tanh(f(p, xs))))
        elif kind == "slice":
            joined = Concatenate()(y[1:], x[:1])
            values.append((joined, lambda p, xs, f=f, g=g: jnp.concatenate([g(p, xs)[:, 1:], f(p, xs)[:, :1]], 1)))
        else:
            name = f"head{step}"
            layer = OneHead(Dense(2), Dense(2), Dense(1), name=name)
            out = layer(x.reshape(WIDTH, 1)).reshape(WIDTH)
            values.append((out, lambda p, xs, f=f, n=name: head(p, n, f(p, xs))))
    ends = values[-1:] if draw(st.booleans()) else values[-2:]
    last = Dense(2, name="out")
    outputs = [last(y) for y, _ in ends]

    def function(p, xs):
        return jnp.concatenate([dense(p, "out", f(p, xs)) for _, f in ends], axis=1)

    return inputs, outputs, function


def built(graph, dtype="float64", seed=0):
    """The network of a graph, with weights and samples."""
    inputs, outputs, function = graph
    network = Network(inputs=inputs, outputs=outputs, dtype=dtype)
    random = np.random.default_rng(seed)
    parameters = (network.draw(seed) + 0.1 * random.normal(size=network.parameters.size)).astype(dtype)
    xs = tuple(random.normal(size=(3, WIDTH)) for _ in inputs)
    return network, parameters, xs, random.normal(size=(3, *network.output_shape)), function


@given(graphs(), st.integers(0, 99))
@settings(max_examples=200)
def test_the_gradients_of_random_graphs_are_what_jax_differentiates(graph, seed):
    network, parameters, xs, y, function = built(graph, seed=seed)
    result = differentiate(network, HalfSquares(), parameters, xs, y, wants_input=True)

    def loss(p, xs):
        return jnp.sum((function(p, xs) - y) ** 2) / 2 / len(y)

    p = {name: jnp.asarray(array) for name, array in network.parameters.views(parameters)}
    gradients, dxs = jax.grad(loss, argnums=(0, 1))(p, tuple(map(jnp.asarray, xs)))
    gradient = np.concatenate([np.asarray(gradients[entry.name]).ravel() for entry in network.parameters.entries])
    scale = max(1.0, float(np.abs(gradient).max()))
    np.testing.assert_allclose(result.gradient, gradient, rtol=1e-10, atol=1e-10 * scale)
    np.testing.assert_allclose(result.input, np.concatenate(dxs, axis=1), rtol=1e-10, atol=1e-10 * scale)


@given(graphs(), st.integers(0, 99))
@settings(max_examples=200)
def test_the_terms_of_random_graphs_add_up_to_every_delta_and_gradient(graph, seed):
    network, parameters, xs, y, _ = built(graph, seed=seed)
    result = differentiate(network, HalfSquares(), parameters, xs, y, wants_input=True)
    tape, layout = result.tape, network.parameters
    for entry in layout.entries:
        expected = layout.view(result.gradient, entry.name)
        for index in np.ndindex(entry.shape):
            sum_of_terms = total(tape.terms(entry.owner, entry.own_name, index))
            assert sum_of_terms == pytest.approx(expected[index], rel=1e-10, abs=1e-10)
    for node in network.nodes[:-1]:
        arrived = tape.arrived(node.name)
        for index in np.ndindex(arrived[:1].shape):
            delta = total(tape.feeds(Unit(node.name, index)))
            assert delta == pytest.approx(arrived[index], rel=1e-10, abs=1e-10)


def opened(link):
    yield link
    for term in link.terms:
        yield from opened(term)


@given(graphs(), st.integers(0, 99), st.sampled_from(["sgd 0.1", "adamw 0.01"]))
@settings(max_examples=200)
def test_any_weight_of_random_graphs_is_explained(graph, seed, chain):
    network, parameters, xs, y, _ = built(graph, "float32", seed)
    weight = network.parameters.name_of(seed * 7919 % network.parameters.size)
    e = explain(network, parameters, pack(xs), y, "mse", chain, weight, penalties=(l2(0.01),))
    scale = max(1.0, float(np.abs(e.trace.result.gradient).max()))
    parts = [use.product for term in e.samples for use in term.uses]
    assert sum(parts) + sum(v for _, v in e.penalties) == pytest.approx(e.gradient, rel=1e-10, abs=1e-10 * scale)
    assert e.rounding.explains, e.rounding
    for link in opened(e.chain) if e.chain else ():
        if link.loss is None and link.terms:
            products = sum(term.local_derivative * term.delta for term in link.terms)
            assert products + link.rest == pytest.approx(link.delta, rel=1e-10, abs=1e-10 * scale)
    assert e.stages[-1].output == e.update
    assert "nan" not in "\n".join(lines(e))
    assert json.loads(json.dumps(e.as_json()))["weight"] == weight
    assert ElementTree.fromstring(scheme(e)).tag.endswith("svg")
    assert page(e).count('<details id="level-') == 6


def steps_of(engine, position, batches):
    return [
        (record.gradient.tobytes(), record.after.parameters.tobytes()) for record in engine.steps(position, batches)
    ]


@given(graphs(), st.integers(0, 99), st.sampled_from(["float32", "float64"]))
@settings(max_examples=200)
def test_steps_of_random_graphs_are_replayed_bit_for_bit_on_both_engines(graph, seed, dtype):
    network, parameters, xs, y, _ = built(graph, dtype, seed)
    problem = Problem(network, MeanSquaredError(), optimizer("adam 0.01"), (l2(0.01),), seed)
    states = problem.optimizer.start(parameters, network.parameters)
    position = Position(0, parameters, network.start_statistics(), states)
    batches = Batches(pack(xs).astype(dtype), y, None, np.array([0, 1, 2, 1, 0]), 2)
    gradients = []
    for kind in (NumpyEngine, NativeEngine)[: len(engines.NAMES)]:
        engine = kind(problem)
        taken = list(engine.steps(position, batches))
        assert steps_of(kind(problem), position, batches) == steps_of(engine, position, batches)
        chunks = list(engine.chunks(position, batches))
        assert chunks[-1].after.parameters.tobytes() == taken[-1].after.parameters.tobytes()
        gradients.append(taken[0].gradient)
    scale = max(float(np.abs(gradients[0]).max()), 1e-3)
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    np.testing.assert_allclose(gradients[-1], gradients[0], rtol=0, atol=tolerance * scale)


@given(graphs())
@settings(max_examples=50)
def test_a_recipe_keeps_a_graph(graph):
    inputs, outputs, _ = graph
    network = Network(inputs=inputs, outputs=outputs)
    again = from_json(json.loads(json.dumps(to_json(network))), own=(Gate, Nested, OneHead))
    assert again == network
    assert [node.name for node in again.nodes] == [node.name for node in network.nodes]
    np.testing.assert_array_equal(again.draw(3), network.draw(3))


class TestTiedWeights:
    shared = Dense(2, name="shared")

    def network(self):
        left, right = Input(2), Input(2)
        return Network(inputs=[left, right], outputs=Dense(1)(self.shared(left) * self.shared(right)), dtype="float64")

    def test_there_is_one_array_and_its_gradients_add_up(self):
        network = self.network()
        assert [entry.name for entry in network.parameters.entries] == [
            "shared.W",
            "shared.b",
            "dense_2.W",
            "dense_2.b",
        ]
        xs = (np.array([[1.0, 2.0]]), np.array([[-1.0, 0.5]]))
        tape = forward_pass(network, network.draw(), xs)
        gradient, _ = backward_pass(network, tape, np.ones((1, 1)))
        uses = tape.terms("shared", "W", (1, 0))
        assert [group.node for group in uses] == ["shared", "shared@2"]
        assert network.parameters.view(gradient, "shared.W")[1, 0] == pytest.approx(total(uses), rel=1e-12)

    def test_an_explanation_says_which_use_each_term_comes_from(self):
        network, part = self.network(), Samples(pack(([[1.0, 2.0]], [[-1.0, 0.5]])), np.ones((1, 1)))
        problem = Problem(network, MeanSquaredError(), optimizer("sgd 0.1"))
        position = Position(
            0, network.draw(), network.start_statistics(), problem.optimizer.start(network.draw(), network.parameters)
        )
        e = Explanation(problem, NumpyEngine(problem).step(position, part, np.arange(1)), part, "shared.W[1, 0]")
        (sample,) = e.samples
        assert {use.unit.node for use in sample.uses} == {"shared", "shared@2"}
        said = "\n".join(lines(e))
        assert "2 uses, the sum" in said
        assert "through shared[0]" in said
        assert "through shared@2[0]" in said
        assert "shared@2[0]" in page(e)
        assert {use["unit"] for use in e.as_json()["samples"][0]["uses"]} == {"shared[0]", "shared@2[0]"}

    @engines.needs_native
    def test_the_native_engine_says_so_once(self):
        problem = Problem(self.network(), MeanSquaredError(), optimizer("sgd 0.1"))
        assert NativeEngine(problem).notes == (
            "shared is used several times: it runs by its definition, among the others",
        )

    def test_in_lists_the_same_layer_has_weights_of_its_own(self):
        layer = Dense(2)
        network = Network([layer, Tanh(), layer, Residual([layer])], 2)
        assert [node.owner for node in network.nodes if node.built.parameters] == [
            "dense_1",
            "dense_2",
            "residual_1.dense_1",
        ]

    def test_a_composite_has_weights_of_its_own_and_keeps_them_in_a_recipe(self):
        layer, x = Dense(3), Input(3)
        once, again = Gate(layer), Gate(layer)
        for network in (
            Network([once, once, Nested(Gate(layer), layer), Dense(1)], 3),
            Network(inputs=x, outputs=again(once(layer(once(x))))),
        ):
            kept = from_json(json.loads(json.dumps(to_json(network))), own=(Gate, Nested))
            assert kept.parameters == network.parameters
            assert [node.owner for node in kept.nodes] == [node.owner for node in network.nodes]
        assert network.parameters.find("gate_1@2.inner.W[1, 2]") == network.parameters.find("gate_1.inner.W[1, 2]")


class TestPositions:
    """A weight used at many positions is explained by sample first, then by position."""

    network = Network([Dense(2, activation="tanh"), Dense(2)], (5, 3), dtype="float32")
    x = np.random.default_rng(0).normal(size=(4, 5, 3))
    y = np.random.default_rng(1).normal(size=(4, 5, 2))

    def test_samples_come_first_and_open_into_positions(self):
        e = explain(self.network, self.network.draw(), self.x, self.y, "mse", "sgd", "dense_1.W[2, 1]")
        assert sorted(term.row for term in e.samples) == [0, 1, 2, 3]
        for term in e.samples:
            assert sorted(use.unit.index for use in term.uses) == [(term.row, k, 1) for k in range(5)]
            assert term.product == pytest.approx(sum(use.product for use in term.uses))
        assert sum(term.product for term in e.samples) == pytest.approx(e.gradient, rel=1e-12)
        assert "5 positions, the sum" in "\n".join(lines(e))
        assert len(e.as_json(most=None)["samples"][0]["uses"]) == 5

    def test_the_rounding_bound_counts_each_reduction_once(self):
        random = np.random.default_rng(2)
        network = Network([Dense(16, activation="tanh"), Dense(16, activation="tanh"), Dense(1)], (50, 8))
        x, y = random.normal(size=(32, 50, 8)), random.normal(size=(32, 50, 1))
        e = explain(network, network.draw(), x, y, "mse", "sgd", "dense_1.W[0, 0]")
        assert e.rounding.explains
        assert e.rounding.bound < 0.001 * abs(e.gradient)
        # The same arithmetic on 32 * 50 samples of one position has the same bound.
        flat = Network(network.layers, 8)
        one = explain(flat, network.draw(), x.reshape(-1, 8), y.reshape(-1, 1), "mse", "sgd", "dense_1.W[0, 0]")
        assert e.gradient == pytest.approx(one.gradient, rel=1e-12)
        assert e.rounding.bound == pytest.approx(one.rounding.bound, rel=0.1)


def test_a_network_with_several_inputs_is_trained_on_a_tuple_of_arrays():
    random = np.random.default_rng(0)
    left, right = random.normal(size=(200, 3)), random.normal(size=(200, 2, 2))
    y = np.where(left[:, 0] > right[:, 1, 0], "left", "right")
    a, b = Input(3), Input((2, 2))
    hidden = Dense(8, activation="tanh")(a) + Dense(8)(b.reshape(4))
    network = Network(inputs=[a, b], outputs=Dense(1)(Tanh()(hidden)))
    trained = train(network, ((left, right), y), optimizer="adam 0.02", epochs=60)
    assert trained.evaluate()["accuracy"] > 0.9
    assert (trained.predict((left, right)) == y).mean() > 0.9
    assert trained.evaluate(((left, right), y))["accuracy"] > 0.9


def test_nested_containers_cost_one_backward_pass_a_layer(monkeypatch):
    calls = []
    for kind in (Dense, Tanh):
        original = kind.backward

        def counted(self, *given, original=original, **also):
            calls.append(self.called)
            return original(self, *given, **also)

        monkeypatch.setattr(kind, "backward", counted)
    network = Network("4 tanh, residual(4 tanh, residual(4 tanh, residual(4))), 1", 3, dtype="float64")
    e = explain(network, network.draw(), np.ones((2, 3)), np.ones((2, 1)), "mse", "sgd", "dense_1.W[0, 0]")
    calls.clear()
    assert e.trace.tape.arriving
    assert sorted(calls) == sorted(node.name for node in network.nodes if node.layer.kind in ("Dense", "Tanh"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: Network(inputs=x, outputs=Dense(1)(Input(3))), "depend on an Input of shape \\(3,\\) that is not"),
        (lambda x: Network(inputs=[], outputs=Dense(1)(x)), "inputs are one Input"),
        (lambda x: Network(inputs=x, outputs=[]), "outputs are symbols, one or more, not \\[\\]"),
        (lambda x: x + Dense(3)(x), "layer add_1: can't add inputs of the shapes \\(2,\\), \\(3,\\)"),
        (lambda x: x @ x, "layer mat_mul_1: can't matrix-multiply"),
        (lambda x: x[2:5], "from 2 to 2 there is nothing"),
        (lambda x: x[0], "a symbol is sliced as in"),
        (lambda x: Dense(3)(np.ones(3)), "layer dense: it is called on symbols"),
        (lambda x: Network([Dense(3)], 2, calls=((0, (7,)),)), "calls refer to layers or values that do not exist"),
        (lambda x: Input(0), "it takes integers above 0"),
        (lambda x: Network(inputs=x), "takes both inputs=... and outputs=..."),
        (lambda x: Network(inputs=[x, x], outputs=Dense(1)(x)), "an Input stands twice"),
        (lambda x: x + 1, "can be added to another symbol, not 1"),
        (lambda x: 1 + x, "can be added to another symbol, not 1"),
        (lambda x: x - 1, "can be subtracted from another symbol, not 1"),
        (lambda x: 1 - x, "can be subtracted from another symbol, not 1"),
        (lambda x: x * "a", "can be multiplied by a number or another symbol, not 'a'"),
        (lambda x: x @ 2, "can be matrix-multiplied by another symbol, not 2"),
        (lambda x: x / 0, "can be divided by a number other than 0, not by 0"),
        (lambda x: x / x, "can be divided by a number other than 0, not by a symbol"),
        (lambda x: x**2, "x \\* x is the square of x"),
        (lambda x: Input(None), "None is no shape of a sample"),
        (lambda x: Input(2.5), "2.5 is no shape of a sample"),
        (lambda x: Input((2, 0)), "it takes integers above 0"),
        (lambda x: Transpose(5), "transpose: axes is 5; it takes a sequence of integers"),
        (lambda x: Reshape(5), "reshape: shape is 5; it takes a sequence of integers"),
        (lambda x: Slice("a", 2), "slice: start is 'a'; it takes an integer"),
        (lambda x: Slice(0, 2.5), "slice: stop is 2.5; it takes an integer"),
        (lambda x: Scale("x"), "the factor is 'x'; it must be a finite number"),
        (lambda x: Network(inputs=4, outputs=x), "inputs are one Input\\(...\\), or a list of them, not 4"),
        (lambda x: Network(inputs=x, outputs=4), "outputs are symbols, one or more, not 4"),
        (lambda x: Network("4, add", 3), "add combines several inputs; write it on symbols"),
        (lambda x: Dense(3)(x, x), "layer dense_1: it can't be called on 2 inputs"),
        (lambda x: Returns(None)(x), "layer returns_1: its wire must return a symbol that it computed, not None"),
        (lambda x: Returns(Input(2))(x), "layer returns_1: its wire must return a symbol"),
        (lambda x: Returns(x)(x), "layer returns_1: its wire must return a symbol"),
        (lambda x: Adds(Input(2))(x), "layer adds_1.add_1: it is called on a symbol that belongs to another graph"),
        (lambda x: Composite()(x), "layer composite_1: its wire can't be called on 1 inputs"),
        (lambda x: Nested(layer := Dense(2), layer)(x), "layer nested_1: two of its fields hold the same layer"),
    ],
)
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises(ChainruleError, match=message):
        make(Input(2))


@dataclass(frozen=True)
class Undefined(Layer):
    """Defines nothing."""


def test_a_definition_that_a_class_lacks_is_named():
    network = Network([Undefined()], 2)
    with pytest.raises(ChainruleError, match="layer undefined_1: its class Undefined doesn't define forward"):
        network.predict(network.draw(), np.ones((1, 2)))


def test_symbols_are_summed():
    x = Input(2)
    network = Network(inputs=x, outputs=sum([x, Tanh()(x), x]))
    np.testing.assert_allclose(network.predict(network.draw(), np.ones((1, 2))), 2 + np.tanh(np.ones((1, 2))))
