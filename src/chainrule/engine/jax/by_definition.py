"""What has no function of JAX: compiled steps call its definition in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from chainrule.arrays import Array, Shape
from chainrule.engine.jax.context import Context
from chainrule.engine.jax.operations import operation
from chainrule.engine.lowering import Op
from chainrule.layers.base import Context as LayerContext
from chainrule.layers.graph import Graph
from chainrule.losses import Loss
from chainrule.tape import Tape

_Like: Any = jax.ShapeDtypeStruct


def call(raised: list[BaseException], function: Callable[..., Any], result: Any, *arguments: Any) -> Any:
    """A function of NumPy arrays in a compiled step, whose results are like `result`. Its error is
    put into `raised`, and NaN ends the step.

    XLA calls it in a thread of its own, where JAX would round 64 bits to 32; so numbers of 64 bits
    are handed over as two words each.
    """

    def guarded(*given: Any) -> Any:
        try:
            made = function(*jax.tree.map(_numbers, given, like))
        except BaseException as error:
            raised.append(error)
            made = jax.tree.map(lambda r: np.full(r.shape, np.nan, r.dtype), result)
        return jax.tree.map(_words, made, result)

    like = jax.tree.map(_aval, arguments)
    words = jax.tree.map(lambda r: _Like(*_in_words(r)), result)
    made = jax.pure_callback(guarded, words, *jax.tree.map(_to_words, arguments))
    return jax.tree.map(lambda array, r: lax.bitcast_convert_type(array, r.dtype), made, result)


def _aval(array: Any) -> Any:
    return _Like(array.shape, array.dtype)


def _in_words(like: Any) -> tuple[Shape, Any]:
    """The shape and dtype in which an array is handed over."""
    return ((*like.shape, 2), np.uint32) if np.dtype(like.dtype).itemsize == 8 else (like.shape, like.dtype)


def _to_words(array: Any) -> Any:
    return lax.bitcast_convert_type(array, _in_words(array)[1])


def _words(array: Any, like: Any) -> Array:
    shape, dtype = _in_words(like)
    return np.ascontiguousarray(array, like.dtype).reshape(-1).view(dtype).reshape(shape)


def _numbers(words: Any, like: Any) -> Array:
    return np.ascontiguousarray(words).reshape(-1).view(like.dtype).reshape(like.shape)


@operation("python", as_is=True)
def python(op: Op, context: Context, *inputs: Any) -> Any:
    """Some layers by their definitions, in the dtype of the weights."""
    graph: Graph = op.settings["graph"]
    places, kept = op.settings["parameters"], op.settings["statistics"]
    dtype = context.dtype
    arrays = {key: context.parameters[start] for key, start in places.items()}
    statistics = {key: context.updated.get(start, context.statistics[start]) for key, start in kept.items()}
    seed, training = op.settings["seed"], context.training

    def run(arrays: Any, statistics: Any, inputs: Any, step: Any) -> Tape:
        return Tape(graph, _by_owner(graph, arrays | statistics), inputs, LayerContext(training, seed, int(step)))

    def forward(arrays: Any, statistics: Any, inputs: Any, step: Any) -> Any:
        tape = run(arrays, statistics, inputs, step)
        updated = tape.updated_statistics() if training else {}
        return tape.output, {(o, n): updated.get(o, {}).get(n, array) for (o, n), array in statistics.items()}

    def backward(arrays: Any, statistics: Any, inputs: Any, step: Any, dy: Any) -> Any:
        tape = run(arrays, statistics, inputs, step)
        tape.backward(dy, wants_input=True)
        found = {key: tape.gradients.get(key[0], {}).get(key[1]) for key in arrays}
        made = {key: np.zeros_like(arrays[key]) if d is None else d for key, d in found.items()}
        arriving = tape.arriving[: len(inputs)]
        return made, [np.zeros_like(x) if d is None else d for x, d in zip(inputs, arriving, strict=True)]

    like = _Like((len(inputs[0]), *graph.output_shape), dtype)

    @jax.custom_vjp
    def function(arrays: Any, statistics: Any, inputs: Any, step: Any) -> Any:
        return call(context.raised, forward, (like, statistics), arrays, statistics, inputs, step)

    def kept_for_backward(*given: Any) -> Any:
        return function(*given), given

    def pull_back(given: Any, slopes: Any) -> Any:
        arrays, statistics, inputs, _ = given
        gradients, dxs = call(context.raised, backward, (arrays, inputs), *given, slopes[0])
        return gradients, jax.tree.map(jnp.zeros_like, statistics), dxs, np.zeros((), jax.dtypes.float0)

    function.defvjp(kept_for_backward, pull_back)
    y, updated = function(arrays, statistics, [jnp.asarray(x, dtype) for x in inputs], context.step)
    if training:
        context.updated.update({kept[key]: array for key, array in updated.items()})
    return y


def _by_owner(graph: Graph, arrays: Mapping[tuple[str, str], Any]) -> dict[str, dict[str, Any]]:
    params: dict[str, dict[str, Any]] = {owner: {} for owner in graph.uses}
    for (owner, name), array in arrays.items():
        params[owner][name] = array
    return params


def loss_function(loss: Loss, raised: list[BaseException]) -> Callable[..., Any]:
    """A loss by its definition, called as those in losses.py are."""

    def lowered(prediction: Any, y: Any, weight: Any, require: Callable[[Any], None]) -> Any:
        dtype = prediction.dtype

        @jax.custom_vjp
        def function(prediction: Any, y: Any, weight: Any) -> Any:
            return call(raised, loss.value, _Like((), dtype), prediction, y, weight)

        def kept_for_backward(*given: Any) -> Any:
            return function(*given), given

        def pull_back(given: Any, slope: Any) -> Any:
            d = call(raised, loss.derivative, _Like(given[0].shape, dtype), *given)
            return (d * slope, *(_none_for(array) for array in given[1:]))

        function.defvjp(kept_for_backward, pull_back)
        return function(prediction, y, weight)

    return lowered


def _none_for(array: Any) -> Any:
    """The derivative of what has none."""
    if array is None:
        return None
    floats = jnp.issubdtype(array.dtype, jnp.floating)
    return jnp.zeros_like(array) if floats else np.zeros(array.shape, jax.dtypes.float0)
