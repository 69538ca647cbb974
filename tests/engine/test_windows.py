"""The kernels of layers on positions against their definitions: random windows, both precisions,
all instruction sets, and the same bits for any number of threads.

Tolerances are those of test_native.py: relative to the largest number of an array, 1e-5 in float32
and 1e-12 in float64; for F(2 x 2, 3 x 3), which adds and subtracts inputs before it multiplies
them, four times as much.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chainrule import layers, losses
from chainrule.descent import optimizer
from chainrule.engine import Batches, Position, Problem, native
from chainrule.engine.lowering import windows
from chainrule.engine.lowering.network import lower_network
from chainrule.engine.lowering.windows import LEAST_CHANNELS
from chainrule.engine.native import NativeEngine
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import ShapeError
from chainrule.layers import Conv, Dense, Flatten
from chainrule.layers.notation import parse
from chainrule.layers.windows import Windowed
from chainrule.network import Network
from engines import needs_native

pytestmark = needs_native
PROCESSORS = native.native.processors() if native.is_built() else []
CLOSE = {"float32": 1e-5, "float64": 1e-12}
same_everywhere = settings(max_examples=30, derandomize=True, deadline=None)
DTYPES = st.sampled_from(["float32", "float64"])
SAMPLES = st.sampled_from([1, 2, 3, 5])
POSITIONS = {
    1: st.tuples(st.integers(1, 20)),
    2: st.tuples(*[st.integers(1, 9)] * 2),
    3: st.tuples(*[st.integers(1, 5)] * 3),
}


def near(actual, expected, dtype, times):
    scale = max(float(np.max(np.abs(expected), initial=0)), 1e-3)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=times * CLOSE[dtype] * scale)


def agree(hidden, input_shape, samples, dtype, monkeypatch, times=1):
    """Compare a step and a prediction of both engines, with 1 to 4 threads; returns the names of
    the operations.
    """
    monkeypatch.setattr(native, "MIN_PARALLEL_WORK", 0)
    network = Network([*hidden, Flatten(), Dense(3)], input_shape, dtype)
    random = np.random.default_rng(0)
    problem = Problem(network, losses.HalfSquares(), optimizer("sgd 0.1"), seed=7)
    weights = network.draw(1) + random.normal(size=network.parameters.size).astype(dtype) / 10
    at = Position(3, weights, network.start_statistics(), problem.optimizer.start(weights, network.parameters))
    x = random.normal(size=(samples + 1, *input_shape)).astype(dtype)
    batch = Batches(x, random.normal(size=(samples + 1, 3)).astype(dtype), None, random.permutation(samples), samples)
    [expected] = NumpyEngine(problem).steps(at, batch)
    for processor in PROCESSORS:
        steps = []
        for threads in (1, 2, 3, 4):
            engine = NativeEngine(problem, threads, processor)
            [step] = engine.steps(at, batch)
            predicted = engine.predict(at.parameters, x, at.statistics)
            steps.append((step.loss, step.gradient, step.after.parameters, predicted))
        assert engine.notes == ()
        for step in steps[1:]:
            assert all(np.array_equal(*both) for both in zip(step, steps[0], strict=True))
        near(steps[0][0], expected.loss, dtype, times)
        near(steps[0][1], expected.gradient, dtype, times)
        near(steps[0][3], network.predict(at.parameters, x, at.statistics), dtype, times)
    return [op.name for op in lower_network(problem).ops]


@st.composite
def convolutions(draw, kind=Conv):
    """A convolution with any settings, and the shape of an input that suits it."""
    axes = draw(st.sampled_from([1, 2, 2, 3]))
    sizes = st.tuples(*[st.integers(1, 4)] * axes)
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels, units = groups * draw(st.integers(1, 18)), groups * draw(st.integers(1, 18))
    named = ["valid", "same", *["causal"] * (kind is Conv)]
    padding = draw(st.one_of(st.sampled_from(named), st.tuples(*[st.integers(0, 2)] * axes)))
    activation, dilation = draw(st.sampled_from([None, "relu", "tanh"])), draw(st.tuples(*[st.integers(1, 3)] * axes))
    layer = kind(
        units, draw(sizes), activation, stride=draw(sizes), padding=padding, dilation=dilation, groups=groups,
        bias=draw(st.booleans()),
    )  # fmt: skip
    shape = (*draw(POSITIONS[axes]), channels)
    try:
        layer.build(shape)
    except ShapeError:
        assume(False)
    return layer, shape


@same_everywhere
@given(conv=convolutions(), first=st.booleans(), sliced=st.booleans(), samples=SAMPLES, dtype=DTYPES)
def test_convolutions(conv, first, sliced, samples, dtype):
    layer, shape = conv
    # after another layer, the gradient of the convolution's input is needed
    before = [] if first else [Conv(shape[-1], (1,) * (len(shape) - 1)), layers.Tanh()]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(windows, "MOST_CHANNELS", 0)
        monkeypatch.setattr(windows, "MOST_SLICED", 10**6 if sliced else 0)
        assert "lane_conv" not in agree([*before, layer], shape, samples, dtype, monkeypatch)


@same_everywhere
@given(conv=convolutions(), first=st.booleans(), samples=st.sampled_from([1, 4, 8, 13, 37]), dtype=DTYPES)
def test_convolutions_with_a_sample_in_each_lane(conv, first, samples, dtype):
    layer, shape = conv
    assume(layer.groups == 1)
    before = [] if first else [Conv(shape[-1], (1,) * (len(shape) - 1)), layers.Tanh()]
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, most in (("MOST_CHANNELS", 10**9), ("MOST_IN_LANES", 10**9), ("MOST_SLICED", 0)):
            monkeypatch.setattr(windows, name, most)
        names = agree([*before, layer], shape, samples, dtype, monkeypatch)
    assert {"lane_conv", "winograd"} & {*names}


@pytest.mark.parametrize("dtype", CLOSE)
def test_a_prediction_has_the_same_bits_alone_and_among_others(dtype):
    network = Network("lenet, 10", (8, 8, 1), dtype)
    engine = NativeEngine(Problem(network, losses.HalfSquares(), optimizer("sgd")))
    weights, x = network.draw(1), np.random.default_rng(0).normal(size=(40, 8, 8, 1)).astype(dtype)
    predict = engine.predictor(weights, network.start_statistics())
    np.testing.assert_array_equal(predict(x)[:9], np.concatenate([predict(x[k : k + 1]) for k in range(9)]))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [
        ((1,), 3, 1, (1,)),
        ((1,), 4, 1, (2,)),
        ((1, 1), 3, (1, 0), (1, 2)),
        ((1, 1), 4, (0, 2), (2, 1)),
        ((1, 2), 4, 1, (1, 1)),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_windows_that_see_nothing_but_padding(kernel, stride, padding, size, first, monkeypatch):
    """Then the output is the bias, and no gradient reaches the input."""
    before = [] if first else [Conv(4, (1,) * len(size)), layers.Tanh()]
    for groups in (1, 4):
        layer = Conv(4, kernel, stride=stride, padding=padding, groups=groups)
        agree([*before, layer], (*size, 4), 3, "float64", monkeypatch)


def test_a_stride_beyond_the_input_takes_no_more_than_one_within(monkeypatch):
    far = 10**9
    hidden = [Conv(3, (2, 2), stride=far, padding="same"), Conv(3, (1, 1), stride=far)]
    agree(hidden, (6, 5, 2), 2, "float64", monkeypatch)
    problem = Problem(Network(f"conv 2 1x1 stride={far}, flatten", (8, 8)), losses.HalfSquares(), optimizer("sgd"))
    conv = next(op for op in lower_network(problem).ops if op.name.endswith("conv"))
    assert len(conv.settings["back_counts"]) <= 2 * 8 * 8


@same_everywhere
@given(conv=convolutions(layers.ConvTranspose), first=st.booleans(), samples=SAMPLES, dtype=DTYPES)
def test_transposed_convolutions(conv, first, samples, dtype):
    layer, shape = conv
    before = [] if first else [Conv(shape[-1], (1,) * (len(shape) - 1)), layers.Tanh()]
    with pytest.MonkeyPatch.context() as monkeypatch:
        agree([*before, layer], shape, samples, dtype, monkeypatch)


@same_everywhere
@given(
    size=st.tuples(*[st.integers(1, 9)] * 2), channels=st.integers(LEAST_CHANNELS, 40),
    units=st.integers(LEAST_CHANNELS, 40), padding=st.sampled_from(["valid", "same", 1, 2, (2, 0)]),
    relu=st.booleans(), sliced=st.booleans(), samples=SAMPLES, dtype=DTYPES,
)  # fmt: skip
def test_kernels_of_3_x_3_with_many_channels(size, channels, units, padding, relu, sliced, samples, dtype):
    assume(padding in ("same", 1, 2) or min(size) > 2)
    layer = Conv(units, (3, 3), "relu" if relu else None, padding=padding)
    hidden = [Conv(channels, (1, 1)), layer]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(windows, "MOST_SLICED", 10**6 if sliced else 0)
        names = agree(hidden, (*size, 2), samples, dtype, monkeypatch, times=4)
    assert "winograd" in names


def test_what_is_computed_by_which_kernel(monkeypatch):
    named = agree([Conv(20, (3, 3), "relu"), Conv(20, (3, 3), "relu", groups=20), Conv(20, (3, 3), stride=2)],
                  (11, 11, 16), 3, "float64", monkeypatch)  # fmt: skip
    assert named == ["winograd", "depthwise", "conv", "reshape", "dense"]
    assert agree([Conv(6, (5, 5), "relu")], (8, 8, 1), 20, "float32", monkeypatch)[0] == "lane_conv"


@same_everywhere
@given(
    size=st.tuples(*[st.integers(3, 9)] * 2), channels=st.integers(1, 40), kernel=st.tuples(*[st.integers(1, 5)] * 2),
    stride=st.integers(1, 3), dilation=st.integers(1, 2), relu=st.booleans(), samples=SAMPLES, dtype=DTYPES,
)  # fmt: skip
def test_depthwise_convolutions(size, channels, kernel, stride, dilation, relu, samples, dtype):
    layer = Conv(channels, kernel, "relu" if relu else None, stride=stride, padding="same", dilation=dilation,
                 groups=channels)  # fmt: skip
    with pytest.MonkeyPatch.context() as monkeypatch:
        names = agree([Conv(channels, (1, 1)), layer], (*size, 3), samples, dtype, monkeypatch)
    assert ("depthwise" in names) == (channels > 1)


@same_everywhere
@given(
    positions=st.one_of(POSITIONS[1], POSITIONS[2]), channels=st.integers(1, 40), units=st.integers(1, 40),
    relu=st.booleans(), bias=st.booleans(), samples=st.sampled_from([1, 3, 40]), dtype=DTYPES,
)  # fmt: skip
def test_kernels_of_one_place(positions, channels, units, relu, bias, samples, dtype):
    layer = Conv(units, (1,) * len(positions), "relu" if relu else None, bias=bias)
    with pytest.MonkeyPatch.context() as monkeypatch:
        names = agree([Conv(channels, (1,) * len(positions)), layer], (*positions, 2), samples, dtype, monkeypatch)
    assert ("pointwise" in names) == (np.prod(positions) > 1)


@same_everywhere
@given(size=st.integers(9, 26), kind=st.sampled_from(["3x3", "5x3 stride=2", "1x1"]), samples=SAMPLES, dtype=DTYPES)
def test_depthwise_convolutions_of_pictures_larger_than_a_chunk(size, kind, samples, dtype):
    """Between normalizations, which sum what it writes: its outputs, and its input's gradient."""
    text = f"conv 17 1x1, batch_norm, depthwise_conv {kind} padding=same, batch_norm, relu, conv 5 1x1, batch_norm"
    with pytest.MonkeyPatch.context() as monkeypatch:
        names = agree(parse(text), (size, size, 2), samples, dtype, monkeypatch, times=40)
    assert names[:2] == ["pointwise", "batch_norm"]


@same_everywhere
@given(size=st.integers(1, 25), channels=st.integers(1, 70), relu=st.booleans(), samples=SAMPLES, dtype=DTYPES)
def test_batch_normalization_of_more_rows_than_a_chunk(size, channels, relu, samples, dtype):
    hidden = [Conv(channels, (1, 1)), layers.BatchNorm(), *[layers.ReLU()] * relu]
    with pytest.MonkeyPatch.context() as monkeypatch:
        names = agree(hidden, (size, size, 2), samples, dtype, monkeypatch, times=20)  # differences of sums
    assert names[1:] == ["batch_norm", "reshape", "dense"]


READERS = {
    "lane_conv": lambda channels: Conv(5, (3, 2), padding="same"),
    "conv": lambda channels: Conv(5, (3, 2), stride=2, padding="same"),
    "conv, no padding": lambda channels: Conv(7, (1, 2)),
    "pointwise": lambda channels: Conv(7, (1, 1)),
    "conv, groups": lambda channels: Conv(channels, (3, 3), groups=channels // 4),
    "depthwise": lambda channels: Conv(channels, (3, 3), padding="same", groups=channels),
    "depthwise, no padding": lambda channels: Conv(channels, (2, 2), groups=channels),
    "winograd": lambda channels: Conv(LEAST_CHANNELS, (3, 3), padding="same"),
    "winograd, no padding": lambda channels: Conv(LEAST_CHANNELS, (3, 3)),
}


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=8, derandomize=True, deadline=None)
@given(size=st.integers(3, 12), groups=st.integers(4, 9), relu=st.booleans(), samples=SAMPLES, dtype=DTYPES)
def test_a_convolution_normalizes_what_it_reads(reader, size, groups, relu, samples, dtype):
    channels = 4 * groups
    hidden = [Conv(channels, (1, 1)), layers.BatchNorm(), *[layers.ReLU()] * relu, READERS[reader](channels)]
    with pytest.MonkeyPatch.context() as monkeypatch:
        for most in ("MOST_CHANNELS", "MOST_IN_LANES"):
            monkeypatch.setattr(windows, most, 10**9 if reader == "lane_conv" else 0)
        names = agree(hidden, (size, size, 2), samples, dtype, monkeypatch, times=20)
    assert names[1:] == ["batch_norm", reader.split(",")[0], "reshape", "dense"]


@pytest.mark.parametrize(
    ("text", "shape"),
    [("resnet8 4", (8, 9, 2)), ("resnet8 16", (8, 8, 3)), ("resnet18 4", (9, 8, 2)), ("separablenet 4", (8, 8, 2))],
)
def test_named_networks(text, shape, monkeypatch):
    """Every reading of a normalized value: by a convolution, by a sum of two branches, by several."""
    names = agree(parse(text), shape, 3, "float64", monkeypatch, times=1e4)  # differences of sums, many times
    assert "python" not in names


@pytest.mark.parametrize("layer", [layers.GroupNorm(4), layers.RMSNorm(), layers.ChannelDropout(0.4)])
@settings(max_examples=8, derandomize=True, deadline=None)
@given(size=st.integers(1, 6), channels=st.integers(1, 10), samples=SAMPLES, dtype=DTYPES)
def test_layers_on_channels(layer, size, channels, samples, dtype):
    with pytest.MonkeyPatch.context() as monkeypatch:
        names = agree([Conv(4 * channels, (1, 1)), layer], (size, size + 1, 2), samples, dtype, monkeypatch, times=20)
    assert names[1] in ("group_norm", "layer_norm", "dropout")


ON_POSITIONS = {
    "MaxPool": lambda: layers.MaxPool(2),
    "MaxPool, overlapping": lambda: layers.MaxPool(3, stride=2, padding="same"),
    "AdaptiveMaxPool": lambda: layers.AdaptiveMaxPool(2),
    "GlobalMaxPool": layers.GlobalMaxPool,
    "AveragePool": lambda: layers.AveragePool(2),
    "AveragePool, overlapping": lambda: layers.AveragePool(3, stride=2, padding="same"),
    "AdaptiveAveragePool": lambda: layers.AdaptiveAveragePool(2),
    "GlobalAveragePool": layers.GlobalAveragePool,
    "Upsample, nearest": lambda: layers.Upsample(2),
    "Upsample, bilinear": lambda: layers.Upsample(2, method="bilinear"),
    "ZeroPad": lambda: layers.ZeroPad(1),
}


@pytest.mark.parametrize("name", ON_POSITIONS)
@settings(max_examples=8, derandomize=True, deadline=None)
@given(axes=st.integers(1, 3), size=st.integers(3, 6), channels=st.integers(1, 35), samples=SAMPLES, dtype=DTYPES)
def test_pooling_and_resizing(name, axes, size, channels, samples, dtype):
    shape = (*range(size, size + axes), 2)
    with pytest.MonkeyPatch.context() as monkeypatch:  # after a ReLU, inputs are often equal
        agree([Conv(channels, (1,) * axes), layers.ReLU(), ON_POSITIONS[name]()], shape, samples, dtype, monkeypatch)


def test_every_layer_on_positions_is_tested():
    tested = {type(make()) for make in ON_POSITIONS.values()} | {Conv, layers.Conv1d, layers.Conv2d, layers.Conv3d}
    tested |= {layers.ConvTranspose, layers.ConvTranspose2d}
    assert {kind for kind in layers.KINDS if issubclass(kind, Windowed)} == tested
