"""Convolution, pooling and resizing: against JAX and central differences, in any dimension, for any
size, stride, padding, dilation and groups; terms; shapes and messages.
"""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chainrule.backprop import forward_pass
from chainrule.errors import SettingError, ShapeError
from chainrule.layers import (
    AdaptiveAveragePool,
    AdaptiveMaxPool,
    AveragePool,
    BatchNorm,
    ChannelDropout,
    Context,
    Conv,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose,
    ConvTranspose2d,
    Dense,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    GroupNorm,
    LayerNorm,
    MaxPool,
    Residual,
    RMSNorm,
    Upsample,
    ZeroPad,
)
from chainrule.layers.windows import Window, portions, windows
from chainrule.network import Network
from image_layers import ORACLES, check_by_nudging, check_terms, check_with_jax

some = settings(max_examples=20, deadline=None)


def sizes(draw, axes, low, high):
    """One size for all axes, or one for each."""
    several = st.tuples(*(st.integers(low, high),) * axes)
    return draw(st.one_of(st.integers(low, high), several))


@st.composite
def kernels(draw):
    """A convolution or its transpose, and a shape of samples that it takes."""
    axes = draw(st.sampled_from([1, 2, 2, 2, 3]))
    kind = draw(st.sampled_from([Conv, ConvTranspose, (Conv1d, Conv2d, Conv3d)[axes - 1]]))
    kind = ConvTranspose2d if kind is ConvTranspose and axes == 2 and draw(st.booleans()) else kind
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    most = {1: 12, 2: 7, 3: 4}[axes]
    layer = kind(
        channels=groups * draw(st.integers(1, 3)),
        kernel=sizes(draw, axes, 1, 4 if axes < 3 else 3),
        stride=sizes(draw, axes, 1, 3),
        padding=draw(st.sampled_from(["valid", "same", 1, 2] + ["causal"] * (not issubclass(kind, ConvTranspose)))),
        dilation=sizes(draw, axes, 1, 2),
        groups=groups,
        bias=draw(st.booleans()),
    )
    shape = (*(draw(st.integers(1, most)) for _ in range(axes)), groups * draw(st.integers(1, 3)))
    try:
        layer.build(shape)
    except ShapeError:
        assume(False)
    return layer, shape


@st.composite
def pools(draw):
    axes = draw(st.sampled_from([1, 2, 2, 3]))
    kind = draw(st.sampled_from([MaxPool, AveragePool, AdaptiveMaxPool, AdaptiveAveragePool, GlobalMaxPool,
                                 GlobalAveragePool, Upsample, ZeroPad]))  # fmt: skip
    most = {1: 12, 2: 7, 3: 4}[axes]
    shape = (*(draw(st.integers(1, most)) for _ in range(axes)), draw(st.integers(1, 3)))
    if kind in (MaxPool, AveragePool):
        size = sizes(draw, axes, 1, 4)
        smallest = size if isinstance(size, int) else min(size)
        padding = draw(st.sampled_from(["valid", "same", "causal", draw(st.integers(0, smallest - 1))]))
        layer = kind(size, draw(st.sampled_from([None, 1, 2, 3])), padding)
    elif kind in (AdaptiveMaxPool, AdaptiveAveragePool):
        layer = kind(sizes(draw, axes, 1, 4))
    elif kind is Upsample:
        layer = Upsample(sizes(draw, axes, 1, 3), draw(st.sampled_from(["nearest", "bilinear"])))
    elif kind is ZeroPad:
        layer = ZeroPad(sizes(draw, axes, 0, 2), draw(st.sampled_from([None, 0, 3])))
    else:
        layer = kind()
    try:
        layer.build(shape)
    except ShapeError:
        assume(False)
    return layer, shape


@st.composite
def norms(draw):
    axes, size = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    layer = draw(st.sampled_from([GroupNorm(groups), RMSNorm(1e-3), BatchNorm(), LayerNorm()]))
    return layer, (*(draw(st.integers(1, 4)) for _ in range(axes)), groups * size)


@some
@given(kernels(), st.integers(0, 99), st.sampled_from(["float32", "float64"]))
def test_convolutions_are_what_jax_computes(case, seed, dtype):
    check_with_jax(*case, seed, dtype)


@some
@given(kernels(), st.integers(0, 99))
def test_a_convolutions_derivatives_are_what_nudging_measures(case, seed):
    check_by_nudging(*case, seed)


@some
@given(kernels(), st.integers(0, 99))
def test_the_terms_of_convolutions_add_up(case, seed):
    check_terms(*case, seed)


@some
@given(pools(), st.integers(0, 99), st.sampled_from(["float32", "float64"]))
def test_pooling_and_resizing_are_what_jax_computes(case, seed, dtype):
    check_with_jax(*case, seed, dtype)


@some
@given(pools(), st.integers(0, 99))
def test_derivatives_through_pooling_are_what_nudging_measures(case, seed):
    check_by_nudging(*case, seed)


@some
@given(pools(), st.integers(0, 99))
def test_the_terms_of_pooling_add_up(case, seed):
    check_terms(*case, seed)


@some
@given(st.one_of(kernels(), pools()), st.integers(0, 99))
def test_an_output_depends_on_just_the_inputs_that_it_is_said_to_read(case, seed):
    layer, shape = case
    random, built = np.random.default_rng(seed), layer.build(shape)
    params = {name: random.uniform(0.5, 1.5, p.shape) for name, p in built.parameters.items()}
    x = random.uniform(1, 2, (1, *shape))
    before, _ = layer.forward(params, x, Context())
    outputs = before.shape[1:-1] or (1,) * (len(shape) - 1)
    for position in np.ndindex(*shape[:-1]):
        changed = x.copy()
        changed[(0, *position)] += 100  # so that it is the largest of its windows
        after = layer.forward(params, changed, Context())[0]
        depends = (after != before).any(axis=(0, -1)).reshape(outputs)
        said = [[position[k] in read for read in axis] for k, axis in enumerate(layer.reads(shape[:-1]))]
        crossed = np.ones(outputs, dtype=bool)
        for k, axis in enumerate(said):
            crossed &= np.array(axis).reshape(-1, *(1,) * (len(outputs) - 1 - k))
        np.testing.assert_array_equal(depends, crossed)


@some
@given(kernels(), st.integers(0, 99))
def test_the_taps_of_a_convolution_add_up_to_each_output(case, seed):
    layer, shape = case
    random = np.random.default_rng(seed)
    params = {name: random.normal(size=p.shape) for name, p in layer.build(shape).parameters.items()}
    x = random.normal(size=shape)
    z = layer.forward(params, x[None], Context())[0][0]
    for *at, j in np.ndindex(*z.shape):
        axes = layer.taps(shape[:-1], tuple(at))
        channels = layer.channels_of(j // (layer.channels // layer.groups), shape[-1])
        total = float(params["b"][j]) if layer.bias else 0.0
        for taps in itertools.product(*(zip(*axis, strict=True) for axis in axes)):
            inputs, places = zip(*taps, strict=True)
            if min(inputs) >= 0:
                total += float(x[inputs][channels] @ params["W"][(*places, slice(None), j)])
        assert z[(*at, j)] == pytest.approx(total, rel=1e-9, abs=1e-9)


@some
@given(norms(), st.integers(0, 99), st.sampled_from(["float32", "float64"]))
def test_normalizations_are_what_jax_computes(case, seed, dtype):
    assume(type(case[0]) in ORACLES)  # the others: test_derivatives.py
    check_with_jax(*case, seed, dtype)


@some
@given(norms(), st.integers(0, 99), st.booleans())
def test_the_derivatives_and_terms_of_normalizations_over_positions(case, seed, training):
    check_by_nudging(*case, seed, training=training)
    check_terms(*case, seed, training=training)


def test_batch_norm_takes_samples_and_positions_together():
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 2))
    layer, params = BatchNorm(), {"scale": np.ones(2), "offset": np.zeros(2)}
    y, saved = layer.forward(params, x, Context(training=True))
    np.testing.assert_allclose(y.reshape(-1, 2).mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.reshape(-1, 2).var(axis=0), 1, rtol=1e-4)
    after = layer.updated_statistics({"mean": np.zeros(2), "variance": np.ones(2)}, saved)
    np.testing.assert_allclose(after["variance"], 0.9 + 0.1 * x.reshape(-1, 2).var(axis=0, ddof=1))


def test_channel_dropout_drops_whole_channels():
    network = Network([ChannelDropout(0.3)], (5, 5, 400), dtype="float64")
    x, context = np.ones((50, 5, 5, 400)), Context(training=True, seed=1, step=2)
    tape = forward_pass(network, network.draw(), x, context=context)
    y = tape.output
    assert {0.0, 1 / 0.7} == {*np.unique(y)}
    assert (y == y[:, :1, :1]).all()
    assert (y[:, 0, 0] == 0).mean() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_array_equal(network.predict(network.draw(), x), x)
    check_terms(ChannelDropout(0.5), (2, 3, 4))
    check_by_nudging(ChannelDropout(0.5), (2, 3, 4))


def test_channels_that_cant_be_grouped_are_named():
    with pytest.raises(ShapeError, match=r"layer group_norm_1: the 6 channels .* can't be divided into 4 groups"):
        Network([GroupNorm(4)], (3, 3, 6))


@pytest.mark.parametrize("layer", [Conv(4, 3, padding="same"), Conv(4, 2, stride=2, groups=2), ConvTranspose(2, 3)])
def test_a_convolution_takes_portions_of_the_samples(layer, monkeypatch):
    random = np.random.default_rng(0)
    x, params = random.normal(size=(7, 5, 6, 2)), {"b": random.normal(size=layer.channels)}
    params["W"] = random.normal(size=layer.build(x.shape[1:]).parameters["W"].shape)
    whole, saved = layer.forward(params, x, Context())
    dy = random.normal(size=whole.shape)
    dx, _ = layer.backward(params, saved, dy)
    np.testing.assert_array_equal(layer.input_derivative(params, saved, dy), dx)
    monkeypatch.setattr("chainrule.layers.windows.IN_CACHE", 3 * (x[0].size + whole[0].size))
    assert list(portions(x, whole)) == [slice(0, 3), slice(3, 6), slice(6, 9)]
    np.testing.assert_allclose(layer.forward(params, x, Context())[0], whole, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(layer.input_derivative(params, saved, dy), dx, rtol=1e-14, atol=1e-14)


def test_the_textbooks_sum():
    """A patch, a kernel, a sum: every output of a small convolution, written out."""
    random = np.random.default_rng(0)
    layer = Conv(3, (2, 3), stride=(1, 2), bias=False)
    W, x = random.normal(size=(2, 3, 2, 3)), random.normal(size=(1, 4, 7, 2))
    z, _ = layer.forward({"W": W}, x, None)
    assert z.shape == (1, 3, 3, 3)
    for row, column, channel in np.ndindex(3, 3, 3):
        patch = x[0, row : row + 2, 2 * column : 2 * column + 3]
        assert z[0, row, column, channel] == pytest.approx(np.sum(patch * W[..., channel]), rel=1e-12)


@given(inputs=st.integers(1, 9), kernel=st.integers(1, 5), stride=st.integers(1, 3), dilation=st.integers(1, 3))
def test_causal_padding_lets_no_output_read_an_input_after_it(inputs, kernel, stride, dilation):
    (axis,) = windows((inputs,), kernel, stride, dilation, "causal")
    assert axis.outputs == -(-inputs // stride)
    assert (axis.places.max(axis=1) == np.arange(axis.outputs) * stride).all()
    with pytest.raises(SettingError, match=r"conv_transpose: padding is 'causal', but a transposed convolution is not"):
        ConvTranspose(1, kernel, padding="causal")


@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))
def test_same_padding_gives_a_position_for_each_stride_begun(inputs, kernel, stride, dilation):
    (axis,) = windows((inputs,), kernel, stride, dilation, "same")
    assert axis.outputs == -(-inputs // stride)
    assert axis.after - axis.before in (0, 1)
    assert axis.before + axis.after < axis.extent


@given(st.data())
def test_the_places_of_windows_and_their_readers_agree(data):
    axis = Window(*(data.draw(st.integers(low, 5)) for low in (1, 1, 1, 1, 0, 0)))
    assume(axis.outputs > 0)
    met = {(o, int(i), k) for (o, k), i in np.ndenumerate(axis.places) if i >= 0}
    assert met == {(int(o), i, int(k)) for i in range(axis.inputs) for o, k in zip(*axis.readers(i), strict=True)}
    by_place = set()
    for k in range(axis.kernel):
        outputs, inputs = axis.meeting(k)
        pairs = zip(np.arange(axis.outputs)[outputs], np.arange(axis.inputs)[inputs], strict=True)
        by_place |= {(int(o), int(i), k) for o, i in pairs}
    assert met == by_place


def test_of_equal_inputs_the_first_wins():
    y, saved = MaxPool(2).forward({}, np.ones((1, 2, 2, 1)), None)
    dx, _ = MaxPool(2).backward({}, saved, np.full((1, 1, 1, 1), 3.0))
    assert y.tolist() == [[[[1.0]]]]
    assert dx[0, ..., 0].tolist() == [[3.0, 0.0], [0.0, 0.0]]


def test_padding_is_never_the_largest():
    y, _ = MaxPool(3, 1, "same").forward({}, np.full((1, 4, 4, 1), -5.0), None)
    assert (y == -5).all()


def test_a_kernels_fans_count_its_receptive_field():
    built = Conv(8, (3, 5), groups=2).build((9, 9, 6))
    assert built.parameters["W"].shape == (3, 5, 3, 8)
    assert built.parameters["W"].fans == (3 * 5 * 3, 3 * 5 * 4)
    drawn = Network([Conv(512, 3, "relu"), GlobalAveragePool(), Dense(1)], (5, 5, 64)).draw()
    assert drawn[: 9 * 64 * 512].std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.01)  # He


def test_a_stride_reads_each_patch_once():
    network = Network([Conv(2, 2, stride=2, bias=False)], (4, 4, 1), "float64")
    x = np.arange(16.0).reshape(1, 4, 4, 1)
    assert network.predict(np.ones(8), x)[0, ..., 0].tolist() == [[10.0, 18.0], [42.0, 50.0]]


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        ([Conv(4, 9)], (6, 6, 1), "layer conv_1: its kernel of 9x9 is larger than its input of 6x6 positions; take"),
        ([Conv(4, 3, dilation=4)], (6, 6, 1), "kernel of 3x3, which its dilation spreads over 9x9, is larger"),
        ([Conv(4, 9, padding=1)], (6, 6, 1), "its input of 6x6 positions, 8x8 with its padding; take"),
        ([Flatten(), Conv2d(4, 3)], (6, 6), "conv2d_1: takes (height, width, channels), but gets the shape (36,)"),
        ([Conv2d(4, 3)], (6, 6, 6, 1), "takes (height, width, channels), but gets the shape (6, 6, 6, 1)"),
        ([Conv(4, 3, groups=2)], (6, 6, 3), "the 3 channels of its input, of shape (6, 6, 3), can't be divided"),
        ([MaxPool(7)], (6, 6, 1), "layer max_pool_1: its window of 7x7 is larger than its input of 6x6 positions"),
        ([ConvTranspose(2, 3, padding=9)], (6, 6, 1), "its padding leaves no output of an input of 6x6 positions"),
    ],
)  # fmt: skip
def test_shapes_that_dont_fit_are_named(layers, shape, message):
    with pytest.raises(ShapeError) as error:
        Network([*layers, Dense(1)], shape)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv(0, 3), "conv: channels is 0; it takes an integer above 0"),
        (lambda: Conv(4, 0), "conv: kernel is 0; it takes an integer of at least 1, or one for each axis"),
        (lambda: Conv(4, (3, 2.5)), "conv: kernel is (3, 2.5)"),
        (lambda: Conv(4, 3, stride=0), "conv: stride is 0"),
        (lambda: Conv(4, 3, padding="full"), "conv: padding is 'full'; it is valid, same, causal, or a number"),
        (lambda: Conv(4, 3, padding=-1), "conv: padding is -1"),
        (lambda: Conv(4, 3, groups=3), "conv: 4 channels can't be divided into 3 groups"),
        (lambda: Conv2d(4, (3, 3, 3)), "conv2d: its settings are for 2 and 3 axes of positions; they must agree"),
        (lambda: Conv(4, (3, 3), stride=(1, 1, 1)), "conv: its settings are for 2 and 3 axes"),
        (lambda: MaxPool(2, padding=2), "max_pool: the padding 2 isn't below the size 2"),
        (lambda: Upsample(2, "cubic"), "unknown method of upsampling 'cubic'"),
        (lambda: ZeroPad(-1), "zero_pad: before is -1; it takes an integer of at least 0"),
    ],
)  # fmt: skip
def test_settings_that_dont_fit_are_named(make, message):
    with pytest.raises(SettingError) as error:
        make()
    assert message in str(error.value)


def test_a_picture_without_channels_gets_them():
    parts = "conv 4 3x3", "conv 4 3", "dropout 0.1, max_pool 2", "residual(conv 1 3 padding=same)"
    for layers in (*(f"{part}, flatten, 2" for part in parts), "branches(conv 1 3 | conv 2 3), flatten, 2"):
        network = Network(layers, (8, 8))
        assert network.nodes[0].built.output_shape == (8, 8, 1), layers
        assert Network(network.layers, (8, 8)).layers == network.layers  # once
    assert Network([Conv1d(4, 3), Flatten(), Dense(2)], 8).nodes[0].built.output_shape == (8, 1)
    assert Network([Conv1d(4, 3), Flatten(), Dense(2)], (8, 5)).nodes[0].built.output_shape == (6, 4)
    assert Network([Residual([Conv(3, 3, padding="same")])], (8, 8, 3)).nodes[0].layer.kind == "Conv"
