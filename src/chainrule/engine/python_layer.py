"""Layers without kernels among those with: the native engine calls their Python definitions."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.arrays import Array, Shape
from chainrule.layers.base import Context
from chainrule.layers.graph import Graph, Node
from chainrule.layout import Layout
from chainrule.network import Network
from chainrule.tape import Tape

Call = Callable[..., None]


def cut(nodes: Sequence[Node], inputs: Sequence[int], shapes: Sequence[Shape], start: int) -> Graph:
    """Some nodes in a row as a graph of their own.

    Args:
        nodes: the nodes, the last of which computes what others read
        inputs: the numbers of the values that they read from outside
        shapes: the shape of each, of one sample
        start: the number of the first node's value
    """
    numbers = {number: k for k, number in enumerate(inputs)}
    numbers |= {start + k: len(inputs) + k for k in range(len(nodes))}
    own = (replace(node, inputs=tuple(numbers[k] for k in node.inputs)) for node in nodes)
    return Graph(tuple(shapes), tuple(own))


def python_call(graph: Graph, network: Network, seed: int, accumulates: Mapping[str, Container[str]]) -> Call:
    """The function that the native engine calls, forward and then backward.

    Its arrays are views into the engine's memory: the flat vectors as one row each, values and
    derivatives as matrices.

    Args:
        graph: the nodes to compute, one or several in a row
        network: the network that they belong to
        seed: the seed of random numbers
        accumulates: for each owner, the parameters whose gradients are added to those that a later
            use of them has written
    """
    tapes: list[Tape] = []
    owners = list(graph.uses)

    def call(
        backward: bool, samples: int, first: int, step: int, training: bool, parameters: Array, statistics: Array,
        gradient: Array, xs: list[Array], y: Array, dxs: list[Array | None], dy: Array | None,
    ) -> None:  # fmt: skip
        if backward:
            if dy is None:  # nothing before these nodes learns
                return
            (tape,) = tapes
            tape.backward(dy.reshape(samples, *graph.output_shape), any(dx is not None for dx in dxs))
            for owner, gradients in tape.gradients.items():
                write(gradients, network.parameters, owner, gradient[0], accumulates[owner])
            for dx, derivative in zip(dxs, tape.arriving, strict=False):
                if dx is not None:
                    dx[...] = 0 if derivative is None else derivative.reshape(dx.shape)
            return
        params = {
            owner: read(network.parameters, owner, parameters[0]) | read(network.statistics, owner, statistics[0])
            for owner in owners
        }
        context = Context(training=training, seed=seed, step=step, first=first)
        inputs = [x.reshape(samples, *shape).copy() for x, shape in zip(xs, graph.input_shapes, strict=True)]
        tapes[:] = [Tape(graph, params, inputs, context)]
        y[...] = tapes[0].output.reshape(y.shape)
        if training:
            for owner, updated in tapes[0].updated_statistics().items():
                write(updated, network.statistics, owner, statistics[0])

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
