"""Activations, PReLU and softmax, with the derivatives of their definitions (in
layers/activations.py): what JAX would derive differs at kinks, or takes more operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from chainrule.engine.jax.context import Context
from chainrule.engine.jax.operations import operation
from chainrule.engine.lowering import Op
from chainrule.layers.activations import SELU_ALPHA, SELU_SCALE

Value = Callable[[Any, float], Any]
"""a of z and the layer's number."""
Slope = Callable[[Any, Any, float], Any]
"""da/dz of z, a and the layer's number."""

_SIGMOID = jax.nn.sigmoid


def _gelu_inner(z: Any) -> Any:
    return math.sqrt(2 / math.pi) * (z + 0.044715 * z * z * z)


def _gelu_tanh_slope(z: Any, a: Any, _: float) -> Any:
    t = jnp.tanh(_gelu_inner(z))
    return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z * z)


def _gelu_slope(z: Any, a: Any, _: float) -> Any:
    return 0.5 * (1 + jax.lax.erf(z / math.sqrt(2))) + z * jnp.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _silu_slope(z: Any, a: Any, _: float) -> Any:
    s = _SIGMOID(z)
    return s * (1 + z * (1 - s))


def _mish_slope(z: Any, a: Any, _: float) -> Any:
    t = jnp.tanh(jnp.logaddexp(0, z))
    return t + z * _SIGMOID(z) * (1 - t * t)


def _inside(z: Any, low: float, high: float) -> Any:
    return ((z > low) & (z < high)).astype(z.dtype)


FUNCTIONS: dict[str, tuple[Value, Slope]] = {
    "relu": (lambda z, _: jnp.maximum(z, 0), lambda z, a, _: (z > 0).astype(z.dtype)),
    "leaky_relu": (lambda z, n: jnp.where(z > 0, z, n * z), lambda z, a, n: jnp.where(z > 0, 1, n).astype(z.dtype)),
    "elu": (
        lambda z, n: jnp.where(z > 0, z, n * jnp.expm1(jnp.minimum(z, 0))),
        lambda z, a, n: jnp.where(z > 0, 1, n * jnp.exp(jnp.minimum(z, 0))),
    ),
    "selu": (
        lambda z, _: SELU_SCALE * jnp.where(z > 0, z, SELU_ALPHA * jnp.expm1(jnp.minimum(z, 0))),
        lambda z, a, _: SELU_SCALE * jnp.where(z > 0, 1, SELU_ALPHA * jnp.exp(jnp.minimum(z, 0))),
    ),
    "gelu": (lambda z, _: 0.5 * z * (1 + jax.lax.erf(z / math.sqrt(2))), _gelu_slope),
    "gelu_tanh": (lambda z, _: 0.5 * z * (1 + jnp.tanh(_gelu_inner(z))), _gelu_tanh_slope),
    "silu": (lambda z, _: z * _SIGMOID(z), _silu_slope),
    "mish": (lambda z, _: z * jnp.tanh(jnp.logaddexp(0, z)), _mish_slope),
    "hard_swish": (
        lambda z, _: z * jnp.clip(z + 3, 0, 6) / 6,
        lambda z, a, _: jnp.where(z <= -3, 0, jnp.where(z >= 3, 1, (2 * z + 3) / 6)),
    ),
    "softplus": (lambda z, _: jnp.logaddexp(0, z), lambda z, a, _: _SIGMOID(z)),
    "sigmoid": (lambda z, _: _SIGMOID(z), lambda z, a, _: a * (1 - a)),
    "tanh": (lambda z, _: jnp.tanh(z), lambda z, a, _: 1 - a * a),
    "softsign": (lambda z, _: z / (1 + jnp.abs(z)), lambda z, a, _: 1 / (1 + jnp.abs(z)) ** 2),
    "hard_sigmoid": (lambda z, _: jnp.clip(z / 6 + 0.5, 0, 1), lambda z, a, _: _inside(z, -3, 3) / 6),
    "hard_tanh": (lambda z, _: jnp.clip(z, -1, 1), lambda z, a, _: _inside(z, -1, 1)),
    "sine": (lambda z, n: jnp.sin(n * z), lambda z, a, n: n * jnp.cos(n * z)),
    "step": (lambda z, _: (z > 0).astype(z.dtype), lambda z, a, _: jnp.zeros_like(z)),
    "scale": (lambda z, n: n * z, lambda z, a, n: jnp.full_like(z, n)),
}
"""By the names in lowering/network.py: the value, and the derivative."""


def with_slope(value: Callable[[Any], Any], slope: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """A function of each number, of z, with this derivative, of z and a."""

    @jax.custom_jvp
    def function(z: Any) -> Any:
        return value(z)

    @function.defjvp
    def derivative(at: Any, along: Any) -> Any:
        (z,), (dz,) = at, along
        a = function(z)
        return a, slope(z, a) * dz

    return function


def function_of(settings: Mapping[str, Any]) -> Callable[[Any], Any]:
    """The activation that an operation's settings name."""
    (value, slope), number = FUNCTIONS[settings["function"]], float(settings["number"])
    return with_slope(lambda z: value(z, number), lambda z, a: slope(z, a, number))


@operation("activation")
def activation(op: Op, context: Context, z: Any) -> Any:
    """A function of each number."""
    return function_of(op.settings)(z)


@operation("clip")
def clip(op: Op, context: Context, z: Any) -> Any:
    """z between two numbers."""
    low, high = op.settings["low"], op.settings["high"]
    return with_slope(lambda z: jnp.clip(z, low, high), lambda z, a: _inside(z, low, high))(z)


@operation("prelu")
def prelu(op: Op, context: Context, z: Any) -> Any:
    """z, or alpha * z where that is not positive."""
    return jnp.where(z > 0, z, context.parameter(op, "alpha") * jnp.minimum(z, 0))


@operation("softmax")
def softmax(op: Op, context: Context, z: Any) -> Any:
    """Softmax over the features, or its logarithm; not in bfloat16, as a sum of exponentials."""
    function = jax.nn.log_softmax if op.settings["logarithm"] else jax.nn.softmax
    return function(wide(z), axis=-1).astype(z.dtype)


@operation("dropout")
def dropout(op: Op, context: Context, x: Any) -> Any:
    """In training, some units are 0 and the others scaled up; of channels all positions alike."""
    if not context.training:
        return x
    shape = x.shape
    if op.settings["of_channels"]:
        shape = (len(x), *(1,) * (x.ndim - 2), x.shape[-1])
    return x * (context.keep(op, shape) * jnp.asarray(op.settings["keep_scale"], x.dtype))


def wide(x: Any) -> Any:
    """At least float32, for sums over many numbers."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
