"""A network: a layer made of layers, for one input shape, and the names and flat storage of its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from chainrule import distributions, generators
from chainrule.arrays import Array, Shape, Vector
from chainrule.errors import SettingError, ShapeError, unknown
from chainrule.layers.base import Built, Context, Layer, Parameter
from chainrule.layers.combinators import Sequential
from chainrule.layers.notation import parse
from chainrule.layout import Entry, Layout


@dataclass(frozen=True)
class Network:
    """Layers, built for one input shape.

    `layers` is a list of layers, or a text like "64 relu, dropout 0.2, 10"; `input_shape` is that of one sample, a
    number if it is a list. Parameters live outside, in one flat vector of `dtype`, laid out by `parameters`; what is
    followed but not learned, in another, `statistics`.

    Examples:
        >>> network = Network("3 tanh, 1", input_shape=2)
        >>> [entry.name for entry in network.parameters.entries], network.parameters.size
        (['dense_1.W', 'dense_1.b', 'dense_2.W', 'dense_2.b'], 13)

        Raises ShapeError, with the layer's name, where shapes don't fit.
    """

    layers: Any
    input_shape: Any
    dtype: str = "float32"

    def __post_init__(self) -> None:
        layers = parse(self.layers) if isinstance(self.layers, str) else self.layers
        if isinstance(layers, Layer):
            layers = [layers]
        if not isinstance(layers, Sequence):
            raise SettingError(f"a network is a list of layers or a text such as '64 relu, 10', not {layers!r}")
        shape = (self.input_shape,) if isinstance(self.input_shape, int) else tuple(self.input_shape)
        if any(size < 1 for size in shape):
            raise ShapeError(f"the network's input shape is {shape}; every size must be above 0")
        if self.dtype not in ("float32", "float64"):
            raise unknown("dtype", self.dtype, ("float32", "float64"))
        object.__setattr__(self, "layers", Sequential(layers).layers)
        object.__setattr__(self, "input_shape", shape)
        _ = self.built  # shapes that don't fit should be known here

    @cached_property
    def root(self) -> Sequential:
        """All of it as one layer."""
        return Sequential(self.layers)

    @cached_property
    def built(self) -> Built:
        """Shapes and parameters, layer by layer."""
        return self.root.build(self.input_shape)

    @property
    def output_shape(self) -> Shape:
        """The prediction's shape for one sample."""
        return self.built.output_shape

    @cached_property
    def parameters(self) -> Layout:
        """Where each parameter lies in the flat vector."""
        return Layout.of({name: p.shape for name, p in _parameters(self.built)})

    @cached_property
    def statistics(self) -> Layout:
        """Where each followed statistic lies in its vector."""
        return Layout.of({name: shape for name, (shape, _) in _statistics(self.built)})

    def draw(self, seed: int = 0) -> Vector:
        """The weights at the start: each array drawn from its distribution, keyed by (seed, layer, parameter)."""
        drawn = np.empty(self.parameters.size)
        for name, p in _parameters(self.built):
            layer, _, own = name.rpartition(".")
            distribution = p.distribution or distributions.glorot_uniform()
            draw = distribution.draw(generators.generator(seed, "weights", layer, own), p.shape, p.fans)
            drawn[self.parameters[name].place] = draw.ravel()
        return drawn.astype(self.dtype)

    def start_statistics(self) -> Vector:
        """The statistics before any training."""
        start = np.empty(self.statistics.size, dtype=self.dtype)
        for name, (_, value) in _statistics(self.built):
            start[self.statistics[name].place] = value
        return start

    def params(self, parameters: Vector, statistics: Vector | None = None) -> dict[str, Any]:
        """Views into the flat vectors as the layers take them: by layer, then by name."""
        if parameters.shape != (self.parameters.size,):
            raise ShapeError(
                f"the network has {self.parameters.size} parameters, but the vector has the shape {parameters.shape}"
            )
        tree: dict[str, Any] = _empty(self.built)
        _hang(tree, self._parameter_paths, parameters)
        if self.statistics.entries:
            _hang(tree, self._statistic_paths, self.start_statistics() if statistics is None else statistics)
        return tree

    @cached_property
    def _parameter_paths(self) -> list[tuple[list[str], Entry]]:
        return [(entry.name.split("."), entry) for entry in self.parameters.entries]

    @cached_property
    def _statistic_paths(self) -> list[tuple[list[str], Entry]]:
        return [(entry.name.split("."), entry) for entry in self.statistics.entries]

    def predict(self, parameters: Vector, x: Array, statistics: Vector | None = None, batch_size: int = 4096) -> Array:
        """The prediction for x, of shape (samples, *input_shape), as after training: no dropout, running statistics."""
        x = self.fit_input(x)
        params, context = self.params(parameters, statistics), Context()
        parts = [
            self.root.forward(params, x[k : k + batch_size], context)[0] for k in range(0, max(len(x), 1), batch_size)
        ]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def fit_input(self, x: Array) -> Array:
        """x in the network's precision; raises ShapeError unless its samples have the input's shape."""
        x = np.asarray(x)
        if x.shape[1:] != self.input_shape:
            raise ShapeError(
                f"the network takes samples of shape {self.input_shape}, but the input has samples of shape"
                f" {x.shape[1:]}"
            )
        return x.astype(self.dtype, copy=False)

    def flatten(self, tree: Mapping[str, Any], layout: Layout) -> Vector:
        """One flat vector from arrays by layer and name, such as backward gives; 0 where there is none."""
        vector = np.zeros(layout.size, dtype=self.dtype)
        for entry in layout.entries:
            node: Any = tree
            for part in entry.name.split("."):
                node = node.get(part) if node else None
            if node is not None:
                vector[entry.place] = node.ravel()
        return vector

    def leaves(self) -> Iterator[tuple[str, Layer, Built]]:
        """Every layer that isn't made of layers, from first to last, with its place and what it was built to."""
        yield from _leaves(self.root, self.built, "")


def _leaves(layer: Layer, built: Built, place: str) -> Iterator[tuple[str, Layer, Built]]:
    children = getattr(layer, "children", None)
    if children is None:
        yield place, layer, built
        return
    for name, child in children.items():
        yield from _leaves(child, built.children[name], f"{place}.{name}" if place else name)


def _parameters(built: Built, place: str = "") -> Iterator[tuple[str, Parameter]]:
    for name, parameter in built.parameters.items():
        yield f"{place}{name}", parameter
    for name, child in built.children.items():
        yield from _parameters(child, f"{place}{name}.")


def _statistics(built: Built, place: str = "") -> Iterator[tuple[str, tuple[Shape, float]]]:
    for name, statistic in built.statistics.items():
        yield f"{place}{name}", statistic
    for name, child in built.children.items():
        yield from _statistics(child, f"{place}{name}.")


def _empty(built: Built) -> dict[str, Any]:
    return {name: _empty(child) for name, child in built.children.items()}


def _hang(tree: dict[str, Any], paths: list[tuple[list[str], Entry]], vector: Vector) -> None:
    for path, entry in paths:
        node = tree
        for part in path[:-1]:
            node = node[part]
        node[path[-1]] = vector[entry.place].reshape(entry.shape)
