"""Layers on signals, pictures and volumes, each beside an independent implementation in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from by_jax import derivatives
from chainrule.backprop import backward_pass, forward_pass
from chainrule.gradient_check import central_difference
from chainrule.layers import (
    AdaptiveAveragePool,
    AdaptiveMaxPool,
    AveragePool,
    Context,
    Conv,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose,
    ConvTranspose2d,
    GlobalAveragePool,
    GlobalMaxPool,
    GroupNorm,
    Input,
    MaxPool,
    RMSNorm,
    Upsample,
    ZeroPad,
    total,
)
from chainrule.network import Network


def several(sizes, axes):
    return (sizes,) * axes if isinstance(sizes, int) else tuple(sizes)


def by_jax(padding, axes, kernel=1, dilation=1):
    """A setting of padding as JAX takes it."""
    if padding == "causal":
        sizes = zip(several(kernel, axes), several(dilation, axes), strict=True)
        return [((k - 1) * apart, 0) for k, apart in sizes]
    return padding.upper() if isinstance(padding, str) else [(side, side) for side in several(padding, axes)]


def dimension_numbers(axes):
    letters = "DHW"[-axes:]
    return (f"N{letters}C", f"{letters}IO", f"N{letters}C")


def convolved(layer):
    def oracle(p, x):
        axes = x.ndim - 2
        z = jax.lax.conv_general_dilated(
            x, p["W"], several(layer.stride, axes), by_jax(layer.padding, axes, layer.kernel, layer.dilation),
            rhs_dilation=several(layer.dilation, axes), feature_group_count=layer.groups,
            dimension_numbers=dimension_numbers(axes),
        )  # fmt: skip
        return z + p["b"] if layer.bias else z

    return oracle


def transposed(layer):
    """The transpose of a convolution as a convolution of inputs that are spread out by the stride,
    with the kernel turned over.
    """

    def oracle(p, x):
        axes, pads = x.ndim - 2, []
        stride = several(layer.stride, axes)
        for n, k, s, d in zip(x.shape[1:], several(layer.kernel, axes), stride, several(layer.dilation, axes),
                              strict=False):  # fmt: skip
            extent, spread = (k - 1) * d + 1, (n - 1) * s + 1
            if layer.padding == "same":
                before, out = max(extent - s, 0) // 2, n * s
            else:
                before = 0 if layer.padding == "valid" else several(layer.padding, axes)[len(pads)]
                out = spread + extent - 1 - 2 * before
            left = extent - 1 - before
            pads.append((left, out + extent - 1 - spread - left))
        z = jax.lax.conv_general_dilated(
            x, jnp.flip(p["W"], range(axes)), (1,) * axes, pads, lhs_dilation=stride,
            rhs_dilation=several(layer.dilation, axes), feature_group_count=layer.groups,
            dimension_numbers=dimension_numbers(axes),
        )  # fmt: skip
        return z + p["b"] if layer.bias else z

    return oracle


def reduced(x, layer, start, function):
    axes = x.ndim - 2
    window, padding = (1, *several(layer.size, axes), 1), by_jax(layer.padding, axes, layer.size)
    stride = layer.size if layer.stride is None else layer.stride
    padding = padding if isinstance(padding, str) else [(0, 0), *padding, (0, 0)]
    return jax.lax.reduce_window(x, start, function, window, (1, *several(stride, axes), 1), padding)


def largest(layer):
    return lambda p, x: reduced(x, layer, -jnp.inf, jax.lax.max)


def mean(layer):
    def oracle(p, x):
        sums, counts = (reduced(array, layer, 0.0, jax.lax.add) for array in (x, jnp.ones_like(x)))
        return sums / counts

    return oracle


def in_parts(layer, reduce):
    """Adaptive pooling, a part at a time."""

    def oracle(p, x):
        for axis, m in enumerate(several(layer.size, x.ndim - 2), start=1):
            n = x.shape[axis]
            parts = [jnp.take(x, np.arange(o * n // m, -(-(o + 1) * n // m)), axis) for o in range(m)]
            x = jnp.stack([reduce(part, axis) for part in parts], axis)
        return x

    return oracle


def resized(layer):
    def oracle(p, x):
        axes = x.ndim - 2
        shape = [n * f for n, f in zip(x.shape[1:-1], several(layer.factor, axes), strict=True)]
        method = {"bilinear": "linear", "nearest": "nearest"}[layer.method]
        return jax.image.resize(x, (len(x), *shape, x.shape[-1]), method)

    return oracle


def padded(layer):
    def oracle(p, x):
        sides = [
            several(side, x.ndim - 2) for side in (layer.before, layer.before if layer.after is None else layer.after)
        ]
        return jnp.pad(x, [(0, 0), *zip(*sides, strict=True), (0, 0)])

    return oracle


def grouped(layer):
    def oracle(p, x):
        groups = jnp.split(x, layer.groups, axis=-1)
        over = tuple(range(1, x.ndim))
        unit = [
            (g - g.mean(over, keepdims=True)) / jnp.sqrt(g.var(over, keepdims=True) + layer.epsilon) for g in groups
        ]
        return p["scale"] * jnp.concatenate(unit, axis=-1) + p["offset"]

    return oracle


def by_root_mean_square(layer):
    return lambda p, x: p["scale"] * x / jnp.sqrt((x * x).mean(-1, keepdims=True) + layer.epsilon)


ORACLES = {
    Conv: convolved, Conv1d: convolved, Conv2d: convolved, Conv3d: convolved,
    ConvTranspose: transposed, ConvTranspose2d: transposed,
    MaxPool: largest, AveragePool: mean,
    AdaptiveMaxPool: lambda layer: in_parts(layer, jnp.max),
    AdaptiveAveragePool: lambda layer: in_parts(layer, jnp.mean),
    GlobalMaxPool: lambda layer: lambda p, x: x.max(tuple(range(1, x.ndim - 1))),
    GlobalAveragePool: lambda layer: lambda p, x: x.mean(tuple(range(1, x.ndim - 1))),
    Upsample: resized, ZeroPad: padded, GroupNorm: grouped, RMSNorm: by_root_mean_square,
}  # fmt: skip
"""What makes the function of (parameters by name, inputs) in JAX that a layer of this kind computes."""


def run(layer, shape, seed, dtype="float64", samples=2, training=True):
    """A network of one layer, its parameters, an input, both passes, and what arrived."""
    random = np.random.default_rng(seed)
    symbol = Input(shape)
    network = Network(inputs=symbol, outputs=layer(symbol), dtype=dtype)
    parameters = (network.draw(seed) + 0.1 * random.normal(size=network.parameters.size)).astype(dtype)
    x = random.normal(size=(samples, *shape)).astype(dtype)
    tape = forward_pass(network, parameters, x, context=Context(training=training))
    assert tape.output.shape == (samples, *network.output_shape)
    dy = random.normal(size=tape.output.shape).astype(dtype)
    gradient, dx = backward_pass(network, tape, dy, wants_input=True)
    return network, parameters, x, tape, dy, gradient, dx


def own(network, vector):
    """The arrays of a network of one layer by name."""
    return {name.rpartition(".")[2]: array for name, array in network.parameters.views(vector)}


def check_with_jax(layer, shape, seed=0, dtype="float64"):
    """Forward and backward agree with JAX, which computes in float64."""
    network, parameters, x, tape, dy, gradient, dx = run(layer, shape, seed, dtype)
    oracle, close = ORACLES[type(layer)](layer), {"float64": 1e-12, "float32": 1e-5}[dtype]
    p, wide = own(network, parameters.astype(np.float64)), x.astype(np.float64)

    def near(actual, expected):
        assert actual.dtype == dtype
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=0, atol=close * max(1, np.abs(expected).max(initial=0)))

    output, jax_gradient, jax_dx = derivatives(oracle, dy, p, wide)
    near(tape.output, output)
    near(dx, jax_dx)
    for name, array in own(network, gradient).items():
        near(array, jax_gradient[name])


def chosen(random, count, most):
    return random.permutation(count)[:most].tolist()


def check_by_nudging(layer, shape, seed=0, most=8, training=True):
    """Some derivatives agree with central differences."""
    network, parameters, x, _, dy, gradient, dx = run(layer, shape, seed, training=training)

    def value(parameters, x):
        return float(np.sum(forward_pass(network, parameters, x, context=Context(training=training)).output * dy))

    random = np.random.default_rng(seed)
    for place in chosen(random, parameters.size, most):
        nudge = np.eye(1, parameters.size, place)[0]
        measured = central_difference(lambda h, nudge=nudge: value(parameters + h * nudge, x))
        assert measured == pytest.approx(gradient[place], rel=1e-7, abs=1e-7)
    for place in chosen(random, x.size, most):
        nudge = np.eye(1, x.size, place).reshape(x.shape)
        measured = central_difference(lambda h, nudge=nudge: value(parameters, x + h * nudge))
        assert measured == pytest.approx(dx.ravel()[place], rel=1e-7, abs=1e-7)


def check_terms(layer, shape, seed=0, most=10, training=True):
    """The terms of some weights and inputs add up to what backward gives, and say which outputs
    they come through.
    """
    network, parameters, x, tape, dy, gradient, dx = run(layer, shape, seed, training=training)
    random = np.random.default_rng(seed)

    def check(terms, expected):
        assert total(terms) == pytest.approx(expected, rel=1e-10, abs=1e-10)
        for group in terms:
            assert group.at.shape == (len(group.local), dy.ndim)
            assert len({tuple(at) for at in group.at.tolist()}) == len(group.at)
            np.testing.assert_array_equal(dy[tuple(group.at.T)], group.upstream)

    for place in chosen(random, parameters.size, most):
        entry = network.parameters.entry_at(place)
        index = tuple(int(k) for k in np.unravel_index(place - entry.start, entry.shape))
        check(tape.terms(entry.owner, entry.own_name, index), gradient[place])
    for place in chosen(random, x.size, most):
        index = tuple(int(k) for k in np.unravel_index(place, x.shape))
        check(tape.feeds_of_value(0, index), dx[index])
