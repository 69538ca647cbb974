"""Layers without kernels among those with: the native engine calls their definitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chainrule.arrays import Array, Shape, Vector
from chainrule.layers import Layer
from chainrule.layers.base import Context
from chainrule.layout import Layout
from chainrule.network import Network

Call = Callable[..., None]


def foreign_call(layer: Layer, place: str, network: Network, seed: int, x_shape: Shape, y_shape: Shape) -> Call:
    """What the native engine calls, forward and then backward, with views into its memory: the flat vectors as one row
    each, values and derivatives as matrices.
    """
    kept: dict[str, Any] = {}

    def call(
        backward: bool, samples: int, step: int, training: bool, parameters: Array, statistics: Array, gradient: Array,
        x: Array, y: Array, dx: Array | None, dy: Array,
    ) -> None:  # fmt: skip
        if backward:
            arriving = dy.reshape(samples, *y_shape)
            leaving, gradients = layer.backward(kept["params"], kept["saved"], arriving, dx is not None)
            write(gradients, network.parameters, place, gradient[0])
            if dx is not None:
                dx[...] = np.asarray(leaving).reshape(dx.shape)
            return
        params = read(network.parameters, place, parameters[0])
        _merge(params, read(network.statistics, place, statistics[0]))
        context = Context(training=training, seed=seed, step=step, place=place)
        out, saved = layer.forward(params, x.reshape(samples, *x_shape).copy(), context)
        y[...] = out.reshape(y.shape)
        kept.update(params=params, saved=saved)
        if training:
            write(
                layer.updated_statistics(params, saved), network.statistics, place, statistics[0], missing_is_zero=False
            )

    return call


def read(layout: Layout, place: str, vector: Vector) -> dict[str, Any]:
    """A layer's arrays by name, as copies."""
    tree: dict[str, Any] = {}
    for entry in layout.entries:
        if entry.name.startswith(f"{place}."):
            *path, name = entry.name.removeprefix(f"{place}.").split(".")
            node = tree
            for part in path:
                node = node.setdefault(part, {})
            node[name] = vector[entry.place].reshape(entry.shape).copy()
    return tree


def write(tree: Mapping[str, Any], layout: Layout, place: str, vector: Vector, missing_is_zero: bool = True) -> None:
    """A layer's arrays into the flat vector."""
    for entry in layout.entries:
        if entry.name.startswith(f"{place}."):
            node: Any = tree
            for part in entry.name.removeprefix(f"{place}.").split("."):
                node = node.get(part) if node else None
            if node is not None:
                vector[entry.place] = np.asarray(node).ravel()
            elif missing_is_zero:
                vector[entry.place] = 0


def _merge(tree: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, node in more.items():
        if isinstance(node, dict) and isinstance(tree.get(name), dict):
            _merge(tree[name], node)
        else:
            tree[name] = node
