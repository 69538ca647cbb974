"""Layers without kernels among those with: the native engine calls their definitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.layers.base import Context
from chainrule.layers.graph import Node
from chainrule.layout import Layout
from chainrule.network import Network

Call = Callable[..., None]


def python_call(node: Node, network: Network, seed: int, shapes: Sequence[Shape], accumulates: bool) -> Call:
    """What the native engine calls, forward and then backward, with views into its memory: the flat
    vectors as one row each, values and derivatives as matrices.

    `shapes` are those of the node's inputs, of one sample. With `accumulates` the gradients of its
    parameters are added to those that a later use of the same layer has left.
    """
    kept: dict[str, Any] = {}
    layer, owner = node.layer, node.owner

    def call(
        backward: bool, samples: int, step: int, training: bool, parameters: Array, statistics: Array, gradient: Array,
        xs: list[Array], y: Array, dxs: list[Array | None], dy: Array | None,
    ) -> None:  # fmt: skip
        if backward:
            if dy is None:  # nothing before it learns
                return
            arriving = dy.reshape(samples, *node.built.output_shape)
            wants = any(dx is not None for dx in dxs)
            leaving, gradients = layer.backward(kept["params"], kept["saved"], arriving, wants)
            write(gradients, network.parameters, owner, gradient[0], accumulates)
            for dx, d in zip(dxs, leaving if isinstance(leaving, tuple) else (leaving,), strict=True) if wants else ():
                if dx is not None:
                    dx[...] = np.asarray(d).reshape(dx.shape)
            return
        params = read(network.parameters, owner, parameters[0]) | read(network.statistics, owner, statistics[0])
        context = Context(training=training, seed=seed, step=step, place=node.name)
        inputs = [x.reshape(samples, *shape).copy() for x, shape in zip(xs, shapes, strict=True)]
        forward: Any = layer.forward
        out, saved = forward(params, *inputs, context)
        y[...] = out.reshape(y.shape)
        kept.update(params=params, saved=saved)
        if training:
            write(layer.updated_statistics(params, saved), network.statistics, owner, statistics[0])

    return call


def read(layout: Layout, owner: str, vector: Array) -> dict[str, Any]:
    """A layer's arrays by name, as copies."""
    own = [entry for entry in layout.entries if entry.owner == owner]
    return {entry.own_name: vector[entry.place].reshape(entry.shape).copy() for entry in own}


def write(arrays: dict[str, Any], layout: Layout, owner: str, vector: Array, accumulates: bool = False) -> None:
    """A layer's arrays into the flat vector."""
    for entry in layout.entries:
        if entry.owner == owner and entry.own_name in arrays:
            array = np.asarray(arrays[entry.own_name]).ravel()
            vector[entry.place] = vector[entry.place] + array if accumulates else array
