"""Networks that are continued from position to position: the same as on all positions at once."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.descent import optimizer
from chainrule.engine import Problem, make_engine
from chainrule.engine.continuation import Definition, most_positions
from chainrule.errors import SettingError
from chainrule.layers import LSTM, Composite, Conv1d, Dense, Embedding, Layer, ReLU, Scan
from chainrule.losses import CategoricalCrossEntropy
from chainrule.network import Network
from engines import NAMES, needs_native

SYMBOLS, LENGTH = 11, 12


@dataclass(frozen=True)
class Peephole(LSTM):
    """A cell that has no kernel."""

    def step(self, x, *state):
        h, c = super().step(x, *state)
        return h + c, c


@dataclass(frozen=True)
class MeanSoFar(Layer):
    """y_t is the mean of x_1 to x_t: causal, but nothing says what it keeps."""

    def forward(self, params, x, context):
        return np.cumsum(x, axis=1) / np.arange(1, x.shape[1] + 1)[:, None], None


@dataclass(frozen=True)
class Twice(Composite):
    """The same layers at two places: each keeps what it has seen there."""

    def wire(self, x):
        convolve, scan = Conv1d(12, 2, padding="causal"), Scan(LSTM(12), all=True)
        return convolve(scan(convolve(scan(x)))) + x


NETWORKS = {
    "attention": "transformer 2 heads=2 causal=true",
    "rotary": "transformer 1 heads=2 kv_heads=1 causal=true positions=rotary norm=rms_norm activation=swiglu",
    "sinusoidal, with dropout": "transformer 1 heads=3 causal=true positions=sinusoidal dropout=0.2",
    "a gru and a simple_rnn": "gru 5 all=true, simple_rnn 6 all=true",
    "convolutions": "conv 6 4 relu padding=causal, residual(conv 6 2 padding=causal dilation=3 groups=2), batch_norm",
    "everything": "lstm 6 all=true, conv 6 3 padding=causal, attention 3 causal=true rotary=true",
    "a cell without a kernel": [Scan(Peephole(6), all=True)],
    "the same layers twice": [Twice()],
}


def engine_of(layers, name="numpy", dtype="float64", length=LENGTH):
    text = f"embedding {SYMBOLS} 12, {layers}, {SYMBOLS}" if isinstance(layers, str) else None
    network = Network(text or [Embedding(SYMBOLS, 12), *layers, Dense(SYMBOLS)], length, dtype)
    return make_engine(name, Problem(network, CategoricalCrossEntropy(), optimizer("sgd")))


def weights_of(network):
    """Weights that are all different from 0, and running statistics."""
    random = np.random.default_rng(0)
    weights = network.draw(0) + random.normal(scale=0.2, size=network.parameters.size)
    return weights.astype(network.dtype), network.start_statistics()


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=3, deadline=None)
@given(texts=st.integers(1, 3), cuts=st.sets(st.integers(1, LENGTH - 1)), seed=st.integers(0, 9))
def test_it_computes_what_the_network_does(name, engine, texts, cuts, seed):
    """However the positions are divided, and again for other texts."""
    computes = engine_of(NETWORKS[name], engine)
    weights = weights_of(computes.problem.network)
    continuation = computes.continuation(*weights, texts)
    for tokens in np.random.default_rng(seed).integers(SYMBOLS, size=(2, texts, LENGTH)):
        expected = computes.problem.network.predict(weights[0], tokens, weights[1])
        found = [continuation.read(part) for part in np.split(tokens, sorted(cuts), axis=1)]
        np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=1e-12)
        continuation.forget()


@needs_native
@pytest.mark.parametrize("name", ["attention", "rotary", "a gru and a simple_rnn", "everything"])
def test_kernels_give_the_same_bits_as_those_of_all_positions(name):
    computes = engine_of(NETWORKS[name], "native", "float32")
    weights = weights_of(computes.problem.network)
    continuation = computes.continuation(*weights)
    assert not isinstance(continuation, Definition)
    tokens = np.random.default_rng(0).integers(SYMBOLS, size=(1, LENGTH))
    one_by_one = np.concatenate([continuation.read(tokens[:, k : k + 1]) for k in range(LENGTH)], axis=1)
    assert one_by_one.tobytes() == computes.predict(weights[0], tokens, weights[1]).tobytes()


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("name", ["a gru and a simple_rnn", "convolutions"])
def test_without_positions_it_goes_on_beyond_the_window(name, engine):
    """As the same layers do on a longer window."""
    computes, longer = engine_of(NETWORKS[name], engine), engine_of(NETWORKS[name], length=4 * LENGTH).problem.network
    weights = weights_of(longer)
    assert most_positions(longer) is None
    tokens = np.random.default_rng(0).integers(SYMBOLS, size=(2, 4 * LENGTH))
    found = computes.continuation(*weights, 2).read(tokens)
    np.testing.assert_allclose(found, longer.predict(weights[0], tokens, weights[1]), atol=1e-12)


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize(
    "layers",
    [
        [MeanSoFar()],
        "transformer 1 heads=2",
        "lstm 6 all=true reversed=true",
        "conv 6 3 padding=same",
        f"reshape {LENGTH} 12 1, reshape {LENGTH} 12",
    ],
)
def test_other_networks_are_not_continued(layers, engine):
    """Whether that is known of their layers, or found out by trying."""
    computes = engine_of(layers, engine)
    weights = weights_of(computes.problem.network)
    assert computes.continuation(*weights) is None


@needs_native
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=10, deadline=None)
@given(inputs=st.integers(1, 40), outputs=st.integers(1, 40), bias=st.booleans(), relu=st.booleans())
def test_a_product_of_one_row_has_the_bits_of_that_row_among_others(dtype, inputs, outputs, bias, relu):
    layers = [Dense(outputs, bias=bias), *([ReLU()] if relu else []), Dense(3)]
    network = Network(layers, inputs, dtype)
    computes = make_engine("native", Problem(network, CategoricalCrossEntropy(), optimizer("sgd")))
    weights, x = weights_of(network), np.random.default_rng(0).normal(size=(5, inputs)).astype(dtype)
    rows = [computes.predict(weights[0], x[k : k + 1], weights[1]) for k in range(5)]
    assert np.concatenate(rows).tobytes() == computes.predict(weights[0], x, weights[1]).tobytes()


@needs_native
@pytest.mark.parametrize("name", ["attention", "rotary", "sinusoidal, with dropout", "everything"])
def test_what_does_not_fit_is_refused(name):
    """More positions than are kept, or samples that are not those of all texts."""
    computes = engine_of(NETWORKS[name].replace(" dropout=0.2", ""), "native")
    continuation = computes.continuation(*weights_of(computes.problem.network), 2)
    with pytest.raises(SettingError, match="it continues 2 texts, but gets tokens of 1"):
        continuation.read(np.zeros((1, 3), int))
    continuation.read(np.zeros((2, LENGTH), int))
    with pytest.raises(SettingError, match="can't be continued with these tokens"):
        continuation.read(np.zeros((2, 1), int))
    out = np.empty((1, SYMBOLS))
    vectors, x = continuation.vectors, np.zeros((1, 1), int)
    assert not continuation.engine.predict(*vectors, x, out, 0, 0)
    with pytest.raises(ValueError, match="too many positions are known"):
        continuation.engine.predict(*vectors, x, out, 0, 2**63)
