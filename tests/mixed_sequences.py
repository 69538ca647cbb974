"""Random networks for sequences, of attention, scans and what surrounds them, beside the same in JAX.

A network is a chain of parts that keep the shape (time, WIDTH). Each part comes with the same
function in JAX, of arrays by name: parameters, and the dropout masks that were drawn.
"""

import json
from dataclasses import fields

import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

import attention_layers as attention
import engines
import sequences
from by_jax import derivatives
from chainrule.backprop import differentiate
from chainrule.descent import optimizer
from chainrule.engine import Batches, Position, Problem
from chainrule.engine.native import NativeEngine
from chainrule.engine.numpy import NumpyEngine
from chainrule.explain import explain, lines
from chainrule.explain.page import page
from chainrule.explain.scheme import draw as scheme
from chainrule.layers import (
    GRU,
    LSTM,
    Bidirectional,
    Context,
    Dense,
    Embedding,
    GlobalAveragePool,
    Input,
    LearnedPositions,
    MultiHeadAttention,
    Scan,
    SimpleRNN,
    SinusoidalPositions,
    TiedDense,
    Transformer,
    TransformerBlock,
    total,
)
from chainrule.losses import MeanSquaredError
from chainrule.network import Network, pack
from chainrule.tape import Unit

WIDTH, OTHER, SYMBOLS, SAMPLES = 4, 3, 5, 3
SEED, STEP = 3, 2
"""The key of the dropout masks."""
PARTS = ("attention", "attention", "cross", "block", "transformer", "scan", "scan", "bidirectional", "positions")


class Drawn:
    """A network in float64, its parameters, samples and targets, and the same function in JAX: the
    output, from parameters and masks by name, and samples.
    """

    def __init__(self, network, parameters, x, y, function):
        self.network, self.parameters, self.x, self.y, self.function = network, parameters, x, y, function

    def __repr__(self):
        layers = ", ".join(map(self._said, self.network.layers))
        return f"<{layers} on {self.network.graph.input_shapes}>"

    @staticmethod
    def _said(layer):
        """A layer with its settings."""
        settings = ((field.name, getattr(layer, field.name)) for field in fields(layer) if field.repr)
        return f"{layer.kind}({', '.join(f'{name}={value!r}' for name, value in settings)})"


@st.composite
def _attention(draw, name, crosses=False):
    """Attention of any settings, and the same in JAX."""
    rotary, groups, each = draw(st.booleans()), draw(st.sampled_from([1, 2])), draw(st.sampled_from([1, 2]))
    heads, causal, bias = groups * each, draw(st.booleans()) and not crosses, draw(st.booleans())
    units = heads * (2 if rotary else draw(st.sampled_from([1, 2])))
    layer = MultiHeadAttention(heads, units, groups, causal, _rate(draw), rotary, bias, name=name)
    return layer, lambda p, *xs: attention.attention(p, name, layer, *xs)


@st.composite
def _block(draw, name, whole):
    """A block or, as a `whole`, a transformer, of any settings, and the same in JAX."""
    heads, bias, norm = draw(st.sampled_from([1, 2])), draw(st.booleans()), draw(st.sampled_from(NORMS))
    settings = {
        "heads": heads, "hidden": draw(st.sampled_from([None, 3])), "activation": draw(st.sampled_from(FORWARD)),
        "norm": norm, "kv_heads": draw(st.sampled_from([None, 1])), "causal": draw(st.booleans()),
        "dropout": _rate(draw), "bias": bias, "name": name,
    }  # fmt: skip
    if whole:
        positions = draw(st.sampled_from(["learned", "sinusoidal", "rotary", "none"]))
        layer = Transformer(draw(st.sampled_from([1, 1, 2])), positions=positions, **settings)
        return layer, lambda p, *xs: attention.transformer(p, name, layer, *xs)
    layer = TransformerBlock(rotary=draw(st.booleans()), **settings)
    return layer, lambda p, *xs: attention.block(p, name, layer, *xs)


FORWARD, NORMS = ("gelu", "swiglu", "relu"), ("layer_norm", "rms_norm")


def _rate(draw):
    """A rate of dropout, mostly none."""
    return draw(st.sampled_from([0.0, 0.0, 0.3]))


@st.composite
def _scan(draw, name, twice, every):
    """A scan or, if `twice`, one in each direction, and the same in JAX."""
    kind, rate, back = draw(st.sampled_from([*sequences.CELLS])), _rate(draw), draw(st.booleans())
    units = WIDTH // 2 if twice else WIDTH
    cell = {"lstm": LSTM(units, rate), "gru": GRU(units, rate), "simple_rnn": SimpleRNN(units, rate)}.get(
        kind, SimpleRNN(units, rate, "relu")
    )
    if not twice:
        layer = Scan(cell, every, back, name=name)
        return layer, lambda p, x, n=None: sequences.scan(kind, p, name, x, n, every, back)
    ways = (("forward", back), ("backward", not back))

    def function(p, x, n=None):
        parts = [sequences.scan(kind, p, f"{name}.{way}", x, n, every, b) for way, b in ways]
        return jnp.concatenate(parts, axis=-1)

    return Bidirectional(Scan(cell, every, back), name=name), function


@st.composite
def _part(draw, name, every):
    """A part of a network: its kind, the layer, and the same function in JAX."""
    kind = draw(st.sampled_from(PARTS))
    if kind in ("attention", "cross"):
        return (kind, *draw(_attention(name, kind == "cross")))
    if kind in ("block", "transformer"):
        return (kind, *draw(_block(name, kind == "transformer")))
    if kind in ("scan", "bidirectional"):
        return (kind, *draw(_scan(name, kind == "bidirectional", every)))
    if draw(st.booleans()):
        return kind, SinusoidalPositions(name=name), lambda p, x: x + attention.waves(*x.shape[1:])
    layer = LearnedPositions(draw(st.sampled_from([None, 6])), name=name)
    return kind, layer, lambda p, x: x + p[f"{name}.W"][: x.shape[1]]


@st.composite
def graphs(draw):
    """A random network for sequences, with what it is given and the same function in JAX."""
    time, is_text, with_lengths = draw(st.sampled_from([1, 3, 4])), draw(st.booleans()), draw(st.booleans())
    every, count = draw(st.booleans()), draw(st.integers(1, 3))
    parts = [draw(_part(f"part{k}", every or k < count - 1)) for k in range(count)]
    crosses, tied = any(kind == "cross" for kind, *_ in parts), is_text and every and draw(st.booleans())
    first = Input(time) if is_text else Input((time, WIDTH))
    other, lengths = Input((2, OTHER)), Input(())
    inputs = [first, *[other] * crosses, *[lengths] * with_lengths]

    embedding = Embedding(SYMBOLS, WIDTH, "normal 0 1", name="embedding")
    y = embedding(first) if is_text else first
    for kind, layer, _ in parts:
        counted = [lengths] * (with_lengths and kind not in ("positions", "cross"))
        y = layer(y, *[other] * (kind == "cross"), *counted)
    pools = not every and len(y.shape) == 2
    y = GlobalAveragePool()(y) if pools else y
    y = TiedDense(embedding, name="out")(y) if tied else Dense(2, name="out")(y)
    network = Network(inputs=inputs, outputs=y, dtype="float64")

    def function(p, x):
        sizes = [int(np.prod(one.shape)) for one in inputs]
        split = jnp.split(x.reshape(len(x), -1), np.cumsum(sizes)[:-1], axis=1)
        taken = dict(zip(inputs, split, strict=True))
        x = taken[first]
        x = p["embedding.W"][x.astype(int)] if is_text else x.reshape(-1, time, WIDTH)
        for kind, _, f in parts:
            counted = with_lengths and kind not in ("positions", "cross")
            others = [taken[other].reshape(-1, 2, OTHER)] if kind == "cross" else []
            x = f(p, x, *others, *([taken[lengths][:, 0]] if counted else []))
        x = x.mean(axis=1) if pools else x
        return x @ p["embedding.W"].T if tied else attention.dense(p, "out", x)

    random = np.random.default_rng(draw(st.integers(0, 999)))
    given = [random.integers(0, SYMBOLS, (SAMPLES, time)) if is_text else random.normal(size=(SAMPLES, time, WIDTH))]
    given += [random.normal(size=(SAMPLES, 2, OTHER))] * crosses
    given += [random.integers(0, time + 1, SAMPLES)] * with_lengths
    x = pack(given) if len(given) > 1 else given[0]
    parameters = network.draw(int(random.integers(99))) + 0.3 * random.normal(size=network.parameters.size)
    return Drawn(network, parameters, x, random.normal(size=(SAMPLES, *network.output_shape)), function)


# What must hold


def check_with_jax(drawn):
    """The output, the gradient and the derivative of the input are those of JAX, within 1e-10."""
    network, y = drawn.network, drawn.y
    context = Context(training=True, seed=SEED, step=STEP)
    result = differentiate(
        network, MeanSquaredError(), drawn.parameters, drawn.x, y, wants_input=True, context=context
    )  # fmt: skip
    p, masks = dict(network.parameters.views(drawn.parameters)), _masks(result.tape)
    dy = 2 * (result.tape.output - y) / y.size
    output, gradients, dx = derivatives(lambda p, x: drawn.function(p | masks, x), dy, p, drawn.x.astype(float))
    gradient = np.concatenate([np.asarray(gradients[entry.name]).ravel() for entry in network.parameters.entries])
    scale = max(1.0, float(np.abs(gradient).max(initial=0)))
    np.testing.assert_allclose(result.tape.output, output, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(result.gradient, gradient, rtol=0, atol=1e-10 * scale)
    np.testing.assert_allclose(result.input, dx, rtol=0, atol=1e-10 * scale)
    return result


def _masks(tape):
    """The dropout masks of a tape, by the name of the layer; those of a scan are stacked by time."""
    masks, steps = {}, {}
    for node in tape.graph.nodes:
        if node.layer.word == "dropout":
            mask = tape.of(node)[1]
            if node.time is None:
                masks[f"{node.name}.mask"] = mask
            else:
                steps.setdefault(node.owner.rpartition(".")[0], {})[node.time] = mask
    for name, own in steps.items():
        masks[f"{name}.masks"] = np.stack([own[time] for time in range(len(own))])
    return masks


def check_terms(drawn, result, count=10):
    """The terms of some entries of each parameter, and of some deltas, add up within 1e-10."""
    random, layout, tape = np.random.default_rng(0), drawn.network.parameters, result.tape
    for entry in layout.entries:
        for place in entry.start + random.permutation(entry.size)[:count]:
            index = tuple(int(k) for k in np.unravel_index(place - entry.start, entry.shape))
            sum_of_terms = total(tape.terms(entry.owner, entry.own_name, index))
            np.testing.assert_allclose(sum_of_terms, result.gradient[place], rtol=1e-10, atol=1e-10)
    for node in drawn.network.nodes[:-1]:
        arrived = tape.arrived(node.name)
        for place in random.permutation(arrived.size)[:2]:
            index = tuple(int(k) for k in np.unravel_index(place, arrived.shape))
            np.testing.assert_allclose(
                total(tape.feeds(Unit(node.name, index, node.time))), arrived[index], rtol=1e-10, atol=1e-10
            )


def check_explanations(drawn, count=3):
    """Some weights are explained: as text, JSON, page and scheme. What is said adds up."""
    network = drawn.network
    random, layout = np.random.default_rng(1), network.parameters
    for entry in random.permutation(np.array(layout.entries, dtype=object))[:count]:
        weight = layout.name_of(entry.start + int(random.integers(entry.size)))
        e = explain(network, drawn.parameters, drawn.x, drawn.y, "mse", "adam 0.01", weight, seed=SEED)
        assert abs(sum(term.product for term in e.samples) - e.gradient) < 1e-10
        assert lines(e)
        kept = json.loads(json.dumps(e.as_json(), allow_nan=False))
        assert kept["gradient"] == e.gradient
        assert weight in scheme(e, 1280)
        assert scheme(e, 390)
        assert page(e)


def check_replay(drawn):
    """Steps are replayed bit for bit on both engines, whose gradients agree to rounding."""
    network = drawn.network
    problem = Problem(network, MeanSquaredError(), optimizer("adam 0.01"), seed=SEED)
    states = problem.optimizer.start(drawn.parameters, network.parameters)
    position = Position(STEP, drawn.parameters, network.start_statistics(), states)
    batches = Batches(np.asarray(drawn.x, float), drawn.y, None, np.array([0, 1, 2, 1, 0]), 2)
    gradients = []
    for kind in (NumpyEngine, NativeEngine)[: len(engines.NAMES)]:
        taken, again = (list(kind(problem).steps(position, batches)) for _ in range(2))
        assert [one.gradient.tobytes() for one in taken] == [one.gradient.tobytes() for one in again]
        assert [one.after.parameters.tobytes() for one in taken] == [one.after.parameters.tobytes() for one in again]
        (*_, chunk) = kind(problem).chunks(position, batches)
        assert chunk.after.parameters.tobytes() == taken[-1].after.parameters.tobytes()
        gradients.append(taken[0].gradient)
    scale = max(1.0, float(np.abs(gradients[0]).max(initial=0)))
    np.testing.assert_allclose(gradients[-1], gradients[0], rtol=0, atol=1e-12 * scale)


def check(drawn):
    """All of it."""
    result = check_with_jax(drawn)
    check_terms(drawn, result)
    check_replay(drawn)
    check_explanations(drawn)
