"""The kernels of attention and of positions against their definitions: random shapes and settings,
both precisions, all instruction sets, and the same bits for any number of threads.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import Network, losses
from chainrule.descent import optimizer
from chainrule.engine import Batches, Position, Problem, native
from chainrule.engine.lowering import lower_network
from chainrule.engine.native import NativeEngine
from chainrule.engine.numpy import NumpyEngine
from chainrule.layers import (
    GRU,
    LSTM,
    Dense,
    DotProductAttention,
    Embedding,
    Flatten,
    Input,
    LearnedPositions,
    Mask,
    MaskedSoftmax,
    MultiHeadAttention,
    Rotary,
    Scale,
    Scan,
    SimpleRNN,
    SinusoidalPositions,
    Transpose,
    ValidMax,
    ValidMean,
    Zeros,
)
from engines import needs_native

pytestmark = needs_native
PROCESSORS = native.native.processors() if native.is_built() else []
CLOSE = {"float32": 2e-5, "float64": 1e-12}
same_everywhere = settings(max_examples=40, derandomize=True, deadline=None)
DTYPES = st.sampled_from(["float32", "float64"])
SIZES = st.integers(1, 9)


def agree(network, samples, x=None):
    """Compare a step and a prediction of both engines, with 1 to 3 threads; returns the names of the
    operations.
    """
    random, dtype = np.random.default_rng(0), network.dtype
    problem = Problem(network, losses.HalfSquares(), optimizer("sgd 0.1"), seed=7)
    weights = network.draw(1) + (random.normal(size=network.parameters.size) / 5).astype(dtype)
    at = Position(3, weights, network.start_statistics(), problem.optimizer.start(weights, network.parameters))
    x = random.normal(size=(samples, *network.input_shape)).astype(dtype) if x is None else x.astype(dtype)
    y = random.normal(size=(samples, *network.output_shape)).astype(dtype)
    batch = Batches(x, y, None, random.permutation(samples), samples)
    with np.errstate(invalid="ignore"):  # BLAS may compute with what lies beside a small matrix
        [expected] = NumpyEngine(problem).steps(at, batch)
    predicted = network.predict(weights, x)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(native, "MIN_PARALLEL_WORK", 0)
        for processor in PROCESSORS:
            engines = [NativeEngine(problem, threads, processor) for threads in (1, 2, 3)]
            steps = [next(engine.steps(at, batch)) for engine in engines]
            outputs = [engine.predict(weights, x, at.statistics) for engine in engines]
            assert all(np.array_equal(step.gradient, steps[0].gradient) for step in steps)
            assert all(np.array_equal(output, outputs[0]) for output in outputs)
            for actual, wanted in ((steps[0].gradient, expected.gradient), (outputs[0], predicted)):
                scale = max(1e-3, float(np.abs(wanted).max()))
                np.testing.assert_allclose(actual, wanted, rtol=0, atol=CLOSE[dtype] * scale)
    return [op.name for op in lower_network(problem).ops]


@same_everywhere
@given(
    groups=st.integers(1, 3), shared=st.integers(1, 3), width=SIZES, time=st.integers(1, 80), causal=st.booleans(),
    rotary=st.booleans(), dropout=st.sampled_from([0.0, 0.3]), samples=st.integers(1, 4), dtype=DTYPES,
)  # fmt: skip
def test_attention_of_a_sequence_to_itself(groups, shared, width, time, causal, rotary, dropout, samples, dtype):
    width = 2 * width if rotary else width
    layer = MultiHeadAttention(
        groups * shared, groups * shared * width, groups, causal=causal, rotary=rotary, dropout=dropout
    )
    names = agree(Network([Dense(5), layer, Flatten(), Dense(3)], (time, 4), dtype), samples)
    assert "attention" in names
    assert "python" not in names


@same_everywhere
@given(
    heads=st.integers(1, 3), width=SIZES, time=SIZES, keys=st.integers(1, 70), lengths=st.booleans(),
    samples=st.integers(1, 4), dtype=DTYPES, data=st.data(),
)  # fmt: skip
def test_attention_to_another_sequence_with_lengths(heads, width, time, keys, lengths, samples, dtype, data):
    x, other, counts = Input((time, 4)), Input((keys, 3)), Input(1)
    attention = MultiHeadAttention(heads, heads * width)
    y = attention(x, other, counts.reshape()) if lengths else attention(x, other)
    inputs = [x, other, counts] if lengths else [x, other]
    network = Network(inputs=inputs, outputs=Dense(2)(Flatten()(y)), dtype=dtype)
    values = np.random.default_rng(1).normal(size=(samples, *network.input_shape))
    if lengths:
        values[:, -1] = data.draw(st.lists(st.integers(0, keys), min_size=samples, max_size=samples))
    assert "attention" in agree(network, samples, values)


@same_everywhere
@given(heads=st.integers(1, 3), time=SIZES, extra=st.integers(0, 3), width=SIZES, causal=st.booleans(), dtype=DTYPES)
def test_heads_that_lie_one_after_another(heads, time, extra, width, causal, dtype):
    """As in any graph of symbols, and with more keys than queries."""
    x = Input((heads * (time + extra), width))
    by_head = Dense(width)(x).reshape(heads, time + extra, width)
    y = DotProductAttention(causal)(by_head[:, extra:], by_head, Dense(2 * width)(by_head))
    network = Network(inputs=[x], outputs=Dense(2)(Flatten()(y)), dtype=dtype)
    assert "attention" in agree(network, 3)


@same_everywhere
@given(time=SIZES, width=st.integers(1, 20), length=st.integers(0, 3), samples=st.integers(1, 4), dtype=DTYPES)
def test_positions(time, width, length, samples, dtype):
    hidden = [Dense(2 * width), LearnedPositions(time + length), SinusoidalPositions(), Rotary(), Dense(3)]
    assert "python" not in agree(Network([*hidden, Flatten(), Dense(2)], (time, 3), dtype), samples)


@same_everywhere
@given(shape=st.tuples(SIZES, SIZES, SIZES), axes=st.permutations(range(3)), dtype=DTYPES, data=st.data())
def test_axes_in_another_order_and_slices(shape, axes, dtype, data):
    x = Input(shape)
    y = Transpose(tuple(axes))(Dense(shape[-1])(x))
    axis = data.draw(st.integers(0, 2))
    start = data.draw(st.integers(0, y.shape[axis] - 1))
    stop = data.draw(st.integers(start + 1, y.shape[axis]))
    y = y[tuple(slice(start, stop) if k == axis else slice(None) for k in range(3))]
    assert "python" not in agree(Network(inputs=[x], outputs=Dense(2)(Flatten()(y)), dtype=dtype), 3)


@same_everywhere
@given(shape=st.tuples(SIZES, SIZES), dtype=DTYPES)
def test_products_of_two_values(shape, dtype):
    x = Input(shape)
    y = Dense(4)(x) * Dense(4, "sigmoid")(x)
    assert "multiply" in agree(Network(inputs=[x], outputs=Dense(2)(Flatten()(y * y)), dtype=dtype), 3)


@same_everywhere
@given(
    shape=st.tuples(st.integers(1, 3), SIZES, SIZES), keys=st.integers(0, 4), causal=st.booleans(),
    lengths=st.booleans(), dtype=DTYPES, data=st.data(),
)  # fmt: skip
def test_attention_wired_by_hand(shape, keys, causal, lengths, dtype, data):
    """Products of matrices, a scale, and a masked softmax, each an operation of its own."""
    heads, queries, width = shape
    x, other, counts = Input(shape), Input((heads, queries + keys, width)), Input(1)
    keys_of = Dense(width)(other)
    seen = [counts.reshape()] if lengths else []
    weights = MaskedSoftmax(causal)(Scale(0.7)(Dense(width)(x) @ keys_of.transpose()), *seen)
    inputs = [x, other, counts] if lengths else [x, other]
    network = Network(inputs=inputs, outputs=Dense(2)(Flatten()(weights @ keys_of)), dtype=dtype)
    values = np.random.default_rng(1).normal(size=(3, *network.input_shape))
    if lengths:
        values[:, -1] = data.draw(st.lists(st.integers(0, queries + keys), min_size=3, max_size=3))
    names = agree(network, 3, values)
    assert {"matmul", "masked_softmax"} <= set(names)
    assert "python" not in names


@same_everywhere
@given(count=SIZES, units=SIZES, time=SIZES, samples=st.integers(1, 4), dtype=DTYPES)
def test_tied_weights(count, units, time, samples, dtype):
    network = Network(f"embedding {count} {units}, gelu, tied_dense embedding_1", (time,), dtype=dtype)
    names = agree(network, samples, np.random.default_rng(1).integers(0, count, (samples, time)))
    assert names == ["embedding", "activation", "tied_dense"]


@same_everywhere
@given(
    time=SIZES, width=st.integers(1, 20), pooling=st.sampled_from([Mask, ValidMax, ValidMean]), dtype=DTYPES,
    data=st.data(),
)  # fmt: skip
def test_pooling_of_valid_positions(time, width, pooling, dtype, data):
    x, lengths = Input((time, width)), Input(1)
    y = pooling()(Dense(width)(x), lengths.reshape())
    network = Network(inputs=[x, lengths], outputs=Dense(2)(Flatten()(y)), dtype=dtype)
    values = np.random.default_rng(1).normal(size=(3, *network.input_shape))
    values[:, -1] = data.draw(st.lists(st.integers(0, time), min_size=3, max_size=3))
    names = agree(network, 3, values)
    assert "valid" in names
    assert "python" not in names


@same_everywhere
@given(shape=st.tuples(SIZES, SIZES), kept=st.tuples(st.booleans(), st.booleans()), product=st.booleans(), dtype=DTYPES)
def test_values_of_different_shapes(shape, kept, product, dtype):
    """Sums and products of a matrix and a part of one, and of a number that is 0."""
    x = Input(shape)
    part = Dense(shape[-1])(x)[tuple(slice(None) if keep else slice(0, 1) for keep in kept)]
    y = Dense(shape[-1])(x) * part if product else Dense(shape[-1])(x) + part
    names = agree(Network(inputs=[x], outputs=Dense(2)(Flatten()(y)) + Zeros(1)(x), dtype=dtype), 3)
    assert {"broadcast", "zeros"} <= set(names)
    assert "python" not in names


CELLS = {"simple_rnn": SimpleRNN, "lstm": LSTM, "gru": GRU}


@same_everywhere
@given(
    cell=st.sampled_from(sorted(CELLS)), units=st.integers(1, 20), time=SIZES, all=st.booleans(),
    reversed=st.booleans(), dropout=st.sampled_from([0.0, 0.3]), lengths=st.booleans(), first=st.booleans(),
    samples=st.integers(1, 5), dtype=DTYPES, data=st.data(),
)  # fmt: skip
def test_scans(cell, units, time, all, reversed, dropout, lengths, first, samples, dtype, data):
    x, counts = Input((time, 3)), Input(1)
    inputs = [x, counts] if lengths else [x]
    before = x if first else Dense(4, "tanh")(x)
    y = Scan(CELLS[cell](units, dropout), all, reversed)(before, *([counts.reshape()] if lengths else []))
    network = Network(inputs=inputs, outputs=Dense(2)(Flatten()(y)), dtype=dtype)
    values = np.random.default_rng(1).normal(size=(samples, *network.input_shape))
    if lengths:
        values[:, -1] = data.draw(st.lists(st.integers(0, time + 1), min_size=samples, max_size=samples))
    names = agree(network, samples, values)
    assert "scan" in names
    assert "python" not in names


def test_what_a_scan_has_no_kernel_for():
    problem = Problem(Network("simple_rnn 3 sine, 2", (4, 2)), losses.HalfSquares(), optimizer("sgd"))
    assert "python" in [op.name for op in lower_network(problem).ops]
    assert NativeEngine(problem).notes == ("SimpleRNN has no kernel: it runs by its definition, among the others",)
    assert "python" not in agree(Network("simple_rnn 3 relu recurrent_dropout=0.2, 2", (4, 2), "float64"), 3)


@same_everywhere
@given(
    count=st.integers(1, 20), units=SIZES, outputs=st.integers(1, 40), time=SIZES, samples=st.integers(1, 5),
    dtype=DTYPES,
)  # fmt: skip
def test_a_dense_of_an_embedding(count, units, outputs, time, samples, dtype):
    """With fewer indices than rows, and with more; the GELU keeps its slopes."""
    network = Network([Embedding(count, units), Dense(outputs, "gelu"), Flatten(), Dense(2)], (time,), dtype)
    indices = np.random.default_rng(1).integers(0, count, (samples, time))
    assert ("embedding_dense" in agree(network, samples, indices)) == (count <= 4 * time)
