"""Layers without kernels among those with: the native engine calls their Python definitions."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.layers.base import Context
from chainrule.layers.graph import Node
from chainrule.layout import Layout
from chainrule.network import Network

Call = Callable[..., None]


def python_call(node: Node, network: Network, seed: int, shapes: Sequence[Shape], accumulates: Container[str]) -> Call:
    """The function that the native engine calls, forward and then backward.

    Its arrays are views into the engine's memory: the flat vectors as one row each, values and
    derivatives as matrices.

    Args:
        node: the node to compute
        network: the network it belongs to
        seed: the seed of random numbers
        shapes: the shape of each input, of one sample
        accumulates: the parameters whose gradients are added to those that a later use of them has
            written
    """
    cache: dict[str, Any] = {}
    layer, owner = node.layer, node.owner

    def call(
        backward: bool, samples: int, step: int, training: bool, parameters: Array, statistics: Array, gradient: Array,
        xs: list[Array], y: Array, dxs: list[Array | None], dy: Array | None,
    ) -> None:  # fmt: skip
        if backward:
            if dy is None:  # nothing before this layer learns
                return
            dy = dy.reshape(samples, *node.built.output_shape)
            wants_input = any(dx is not None for dx in dxs)
            derivatives, gradients = layer.backward(cache["params"], cache["saved"], dy, wants_input)
            write(gradients, network.parameters, owner, gradient[0], accumulates)
            derivatives = derivatives if isinstance(derivatives, tuple) else (derivatives,)
            for dx, derivative in zip(dxs, derivatives, strict=True) if wants_input else ():
                if dx is not None:
                    dx[...] = np.asarray(derivative).reshape(dx.shape)
            return
        params = read(network.parameters, owner, parameters[0]) | read(network.statistics, owner, statistics[0])
        context = Context(training=training, seed=seed, step=step, place=node.name)
        inputs = [x.reshape(samples, *shape).copy() for x, shape in zip(xs, shapes, strict=True)]
        forward: Any = layer.forward
        out, saved = forward(params, *inputs, context)
        y[...] = out.reshape(y.shape)
        cache.update(params=params, saved=saved)
        if training:
            write(layer.updated_statistics(params, saved), network.statistics, owner, statistics[0])

    return call


def read(layout: Layout, owner: str, vector: Array) -> dict[str, Any]:
    """Copies of a layer's arrays by name."""
    own = [entry for entry in layout.entries if entry.owner == owner]
    return {entry.own_name: vector[entry.place].reshape(entry.shape).copy() for entry in own}


def write(arrays: dict[str, Any], layout: Layout, owner: str, vector: Array, accumulates: Container[str] = ()) -> None:
    """Write a layer's arrays to the flat vector, or add them to what it has."""
    for entry in layout.entries:
        if entry.owner == owner and entry.own_name in arrays:
            array = np.asarray(arrays[entry.own_name]).ravel()
            vector[entry.place] = vector[entry.place] + array if entry.own_name in accumulates else array
