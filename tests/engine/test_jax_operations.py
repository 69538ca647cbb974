"""Operations of the JAX engine on positions and on sequences against their definitions: the loss,
the gradient of every array and the prediction.

Tolerances are relative to the largest number of an array: 1e-5 in float32 and 1e-12 in float64. A
compilation takes about a second, so that several layers are branches of one network, and compared
array by array. Where the native engine draws shapes, sizes here are chosen so that each kind of
window occurs: with and without padding, that overlap, that leave gaps, and that see only padding.
"""

import math
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from chainrule import losses
from chainrule.descent import optimizer
from chainrule.engine import Batches, Problem
from chainrule.engine.jax import JaxEngine
from chainrule.engine.lowering.declared import DECLARED
from chainrule.engine.numpy import NumpyEngine
from chainrule.layers import (
    GRU,
    LSTM,
    AdaptiveAveragePool,
    AdaptiveMaxPool,
    AveragePool,
    Conv,
    ConvTranspose,
    Dense,
    DotProductAttention,
    GlobalAveragePool,
    GlobalMaxPool,
    Input,
    LearnedPositions,
    Mask,
    MaskedSoftmax,
    MaxPool,
    MultiHeadAttention,
    ReLU,
    Rotary,
    Scan,
    SimpleRNN,
    SinusoidalPositions,
    Tanh,
    Transpose,
    Upsample,
    ValidMax,
    ValidMean,
    ZeroPad,
    Zeros,
)
from chainrule.network import Network
from jax_cases import CLOSE, QUICKLY, agree, computed, position_of

TIME = 6


def side_by_side(inputs, branches, dtype):
    """A network of branches on the same inputs, each with a Dense of its own behind it."""
    outputs = [Dense(2)(branch.reshape(math.prod(branch.shape))) for branch in branches]
    return Network(inputs=inputs, outputs=sum(outputs[1:], start=outputs[0]), dtype=dtype)


CONVOLUTIONS = {
    "signals": (
        (11, 4),
        [
            Conv(3, 3, padding="causal", dilation=2),
            Conv(6, 4, "relu", stride=3, padding="same", groups=2),
            Conv(5, (2,), padding=2, bias=False),
            Conv(4, (2,), stride=10**9, padding="same"),  # beyond the input
            ConvTranspose(3, 3, stride=2, padding="same"),
            ConvTranspose(4, 4, "tanh", stride=3, padding=1, groups=2, bias=False),
            ConvTranspose(2, 3, dilation=2),
        ],
    ),
    "pictures": (
        (7, 5, 4),
        [
            Conv(4, (3, 2), stride=(2, 1), padding="same", dilation=(1, 2)),
            Conv(4, 3, groups=4, padding="same", stride=2),
            Conv(8, 3, groups=4, padding=1),
            Conv(3, 1),
            Conv(3, (1, 1), stride=4, padding=(0, 2)),  # windows that see nothing but padding
            ConvTranspose(3, (3, 2), stride=(2, 3), padding="same"),
            ConvTranspose(3, (4, 3), stride=(3, 1), padding=(2, 1), dilation=(2, 1)),
        ],
    ),
    "volumes": (
        (4, 3, 5, 2),
        [
            Conv(3, 2, stride=(1, 2, 3), padding="same"),
            ConvTranspose(2, (2, 1, 3), stride=(2, 1, 1), padding=(0, 0, 1)),
        ],
    ),
}


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions(kind, dtype):
    shape, layers = CONVOLUTIONS[kind]
    x = Input(shape)
    after = Tanh()(Conv(shape[-1], (1,) * (len(shape) - 1))(x))  # so that its gradient is needed
    agree(side_by_side([x], [layer(after) for layer in layers], dtype))


POOLING = [
    MaxPool(2),
    MaxPool(3, stride=2, padding="same"),
    MaxPool(2, stride=3, padding=1),
    AdaptiveMaxPool(3),
    GlobalMaxPool(),
    AveragePool(2),
    AveragePool(3, stride=1, padding="same"),
    AveragePool(2, stride=4, padding="causal"),
    AdaptiveAveragePool(3),
    GlobalAveragePool(),
    Upsample(2),
    Upsample(3, method="bilinear"),
    ZeroPad(1, 2),
]


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("shape", [(6, 7), (25,), (3, 4, 3)])
def test_pooling_and_resizing(shape, dtype):
    x = Input((*shape, 3))
    relu = ReLU()(Conv(3, (1,) * len(shape))(x))  # behind it, inputs are often equal
    more = [MaxPool(20, stride=5), AveragePool(20, stride=5)] if len(shape) == 1 else []  # of many places
    agree(side_by_side([x], [layer(relu) for layer in POOLING + more], dtype))


def with_lengths(network, most, samples=4):
    """Inputs, of which the last number is a length; one is 0, and one the largest."""
    x = np.random.default_rng(1).normal(size=(samples, *network.input_shape))
    x[:, -1] = [0, most, *np.random.default_rng(2).integers(1, most, samples - 2)]
    return x


@pytest.mark.parametrize("dtype", CLOSE)
def test_attention(dtype):
    x, other, count = Input((TIME, 4)), Input((5, 3)), Input(1)
    lengths = count.reshape()
    hidden = Dense(12)(x)
    branches = [
        MultiHeadAttention(4, causal=True)(hidden),
        MultiHeadAttention(3, 12, rotary=True)(hidden, lengths),
        MultiHeadAttention(4, 8, kv_heads=2, dropout=0.3, rotary=True)(hidden, lengths),
        MultiHeadAttention(2, 6, kv_heads=1)(hidden, other, lengths),
        MultiHeadAttention(1, 5, causal=True, bias=False)(hidden),
    ]
    by_head = Dense(4)(hidden.reshape(2, 2 * TIME // 2, 6))  # heads that lie one after another
    branches.append(DotProductAttention(True)(by_head[:, 1:], by_head, Dense(3)(by_head)))
    network = side_by_side([x, other, count], branches, dtype)
    agree(network, with_lengths(network, TIME))


@pytest.mark.parametrize("dtype", CLOSE)
def test_what_attention_is_made_of(dtype):
    """Products of matrices, a masked softmax, positions, and axes in another order."""
    x, count = Input((TIME, 4)), Input(1)
    hidden, lengths = Dense(4)(x), count.reshape()
    weights = MaskedSoftmax(True)(hidden @ Dense(4)(x).transpose(), lengths)
    branches = [
        weights @ hidden,
        Rotary()(SinusoidalPositions()(LearnedPositions(TIME + 2)(hidden))),
        Transpose((1, 2, 0))(hidden.reshape(TIME // 2, 2, 4))[1:2, :, 1:],
        hidden * Dense(4)(x)[1:2] + Dense(1)(x),
        Zeros(3)(hidden),
        Mask()(hidden, lengths),
        ValidMax()(hidden, lengths),
        ValidMean()(hidden, lengths),
    ]
    network = side_by_side([x, count], branches, dtype)
    agree(network, with_lengths(network, TIME))


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("cell", [SimpleRNN(5), SimpleRNN(3, activation="relu"), LSTM(5), GRU(5)])
def test_scans(cell, dtype):
    x, count = Input((TIME, 3)), Input(1)
    hidden, lengths = Dense(3, "tanh")(x), count.reshape()
    shared = Scan(cell)
    branches = [
        Scan(cell, all=True)(x),
        Scan(replace(cell, recurrent_dropout=0.3), all=True, reversed=True)(hidden, lengths),
        Scan(cell, reversed=True)(hidden),
        shared(hidden, lengths) * shared(x),
    ]
    network = side_by_side([x, count], branches, dtype)
    agree(network, with_lengths(network, TIME))


def test_products_in_bfloat16():
    """With 8 bits of precision; weights, scores and states are in float32."""
    x, count = Input((TIME, 4)), Input(1)
    hidden, lengths = Dense(8)(x), count.reshape()
    pictures = hidden.reshape(TIME, 4, 2)
    branches = [
        MultiHeadAttention(2, causal=True, rotary=True)(LearnedPositions()(hidden)),
        Scan(LSTM(4), all=True)(hidden, lengths),
        AveragePool(2)(Conv(4, 3, padding="same")(pictures)),
        MaxPool(2)(Upsample(2, method="bilinear")(ConvTranspose(2, 2, stride=2)(pictures))),
        ValidMean()(hidden, lengths),
    ]
    network = side_by_side([x, count], branches, "float32")
    for actual, expected in zip(*computed(network, with_lengths(network, TIME), "bfloat16"), strict=True):
        assert 1e-6 < np.linalg.norm(actual - expected) / np.linalg.norm(expected) < 0.03


NETWORKS = {
    "lenet, 3": (8, 8, 1),
    "resnet8 4, 3": (8, 8, 3),
    "separablenet 4, 3": (8, 8, 2),
    "embedding 11 8, transformer 2, global_average_pool, 3": (TIME,),
    "embedding 11 6, dropout 0.2, lstm 8 all=true, lstm 5 recurrent_dropout=0.2, 3": (TIME,),
}


@pytest.mark.parametrize("text", NETWORKS)
def test_named_networks_train_as_by_their_definitions(text, monkeypatch):
    monkeypatch.setattr(jax, "jit", partial(jax.jit, compiler_options=QUICKLY))
    network, random = Network(text, NETWORKS[text], dtype="float64"), np.random.default_rng(0)
    problem = Problem(network, losses.CategoricalCrossEntropy(), optimizer("adam 0.01"), seed=7)
    x = random.integers(0, 11, (8, TIME)) if "embedding" in text else random.normal(size=(8, *network.input_shape))
    batches = Batches(x.astype("f8"), random.integers(0, 3, 8), None, random.integers(0, 8, 20), 4)
    at = position_of(problem)
    expected = [chunk.losses for chunk in NumpyEngine(problem).chunks(at, batches)]
    actual = [chunk.losses for chunk in JaxEngine(problem).chunks(at, batches)]
    np.testing.assert_allclose(np.concatenate(actual), np.concatenate(expected), rtol=1e-9)


def test_windows_are_declared_by_their_sizes():
    """A picture of a million places takes no lists of places."""
    network = Network("conv 2 3 padding=same, max_pool 2, average_pool 2, upsample 2", (1024, 1024, 1))
    problem = Problem(network, losses.HalfSquares(), optimizer("sgd"))
    for node in network.nodes:
        _, settings = DECLARED.layers[type(node.layer)](node, problem)
        assert len(repr(settings)) < 500
