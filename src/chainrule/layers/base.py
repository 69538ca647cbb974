"""What a layer is: settings that don't change, and pure functions over arrays.

In every function x is a layer's input and y its output, samples first; dy = dL/dy is the derivative that arrives at
the output, dx = dL/dx the one that leaves at the input. A layer that hands a derivative on multiplies it by its own
local derivative: that is the chain rule, and `terms` are its single products.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from chainrule.arrays import Array, Params, Shape
from chainrule.distributions import Distribution, Fans
from chainrule.errors import ShapeError


@dataclass(frozen=True)
class Parameter:
    """An array that learns: its shape, the distribution it is drawn from, and the fans that scale the draw.

    No distribution means: the one that suits the activation that comes after.
    """

    shape: Shape
    distribution: Distribution | None
    fans: Fans = (1, 1)


@dataclass(frozen=True)
class Built:
    """What a layer is for one input shape. Shapes are those of one sample, without the batch.

    `parameters` learn by gradient descent; `statistics` are followed while training (a running mean, say) and have no
    gradient: each is (shape, value at the start). A layer made of layers has `children` instead.
    """

    output_shape: Shape
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    statistics: Mapping[str, tuple[Shape, float]] = field(default_factory=dict)
    children: Mapping[str, Built] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a forward pass is for: training or not, and the key (seed, step, place) of anything random in it.

    `watch`, if given, is called with (place, input, output) after every layer that is not made of layers.
    """

    training: bool = False
    seed: int = 0
    step: int = 0
    place: str = ""
    watch: Callable[[str, Array, Array], None] | None = None

    def within(self, name: str) -> Context:
        """The same for the child of this name."""
        return replace(self, place=f"{self.place}.{name}" if self.place else name)


@dataclass(frozen=True)
class Terms:
    """Products of the chain rule, whose sum is (a part of) one derivative.

    Attributes:
        upstream: (K,) derivatives of the loss with respect to outputs of the layer
        local: (K,) derivatives of those outputs with respect to the entry asked about
        at: (K, d) which output each is for: sample, then unit or position
        layer: whose outputs these are: a path within the layer that was asked, or "" for that layer itself
    """

    upstream: Array
    local: Array
    at: Array
    layer: str = ""

    @property
    def products(self) -> Array:
        """(K,) upstream times local, term by term."""
        return self.upstream * self.local

    def within(self, name: str) -> Terms:
        """The same terms as seen from the layer that holds this one under `name`."""
        return replace(self, layer=f"{name}.{self.layer}" if self.layer else name)


def total(terms: Iterable[Terms]) -> float:
    """The derivative that these terms add up to."""
    return float(sum(np.sum(group.products) for group in terms))


@dataclass(frozen=True)
class Formulas:
    """A layer's rules in symbols (LaTeX): forward, and the derivative of each parameter and of the input."""

    forward: str
    input: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layer:
    """A layer. Subclasses say what it computes, its derivative, and the terms of its chain rule."""

    name: str | None = field(default=None, kw_only=True)

    passes_scale: ClassVar[bool] = False
    """Whether the activation after this layer decides how the weights before it are drawn."""

    @property
    def initial(self) -> str | None:
        """The distribution that suits weights whose output goes through this layer; None where the layer has no say."""
        return None

    @property
    def formulas(self) -> Formulas:
        """The forward rule and the derivatives in symbols."""
        raise NotImplementedError

    def build(self, input_shape: Shape) -> Built:
        """The output shape and the parameters for this input shape; raises ShapeError where it doesn't fit."""
        return Built(input_shape)

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        """The output, and whatever backward needs."""
        raise NotImplementedError

    def backward(
        self, params: Params, saved: Any, dy: Array, wants_input: bool = True
    ) -> tuple[Array | None, dict[str, Any]]:
        """dx (None unless wanted) and the gradient of every parameter by name."""
        raise NotImplementedError

    def parameter_terms(self, params: Params, saved: Any, dy: Array, name: str, index: Shape) -> list[Terms]:
        """The terms whose sum is the gradient of parameter `name` at `index`."""
        raise KeyError(f"{type(self).__name__} has no parameter {name!r}")

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> list[Terms]:
        """The terms whose sum is dx at `index` (sample first)."""
        raise NotImplementedError

    def updated_statistics(self, params: Params, saved: Any) -> dict[str, Any]:
        """The statistics after a training batch of which forward kept `saved`."""
        return {}

    def misfit(self, input_shape: Shape, wants: str) -> ShapeError:
        """The error for an input shape that this layer can't take."""
        called = self.name or snake(type(self).__name__)
        return ShapeError(f"layer {called}: takes {wants}, but gets the shape {input_shape} from the layer before it")


def snake(name: str) -> str:
    """`LayerNorm` -> `layer_norm`, `ReLU` -> `relu`: the kind in a layer's name."""
    return re.sub(r"(?<=[a-z])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z]$)", "_", name).lower()


def samples_of(index: Shape) -> Array:
    """The (1, d) place of a term that comes from the one output at this index."""
    return np.array([index], dtype=np.intp)


def places(shape: Shape) -> Array:
    """(number of entries, d): the index of each entry of an array of this shape, in order."""
    return np.indices(shape).reshape(len(shape), -1).T


def leaves(
    layer: Layer, params: Params, saved: Any, dy: Array, place: str = ""
) -> Iterator[tuple[str, Layer, Params, Any, Array]]:
    """Every layer that isn't made of layers, from last to first: its place, itself, its params, what it saved, and
    its dy.
    """
    children = getattr(layer, "children", None)
    if children is None:
        yield place, layer, params, saved, dy
        return
    arriving = layer.upstreams(params, saved, dy)  # type: ignore[attr-defined]
    for name in reversed(list(children)):
        inner = f"{place}.{name}" if place else name
        yield from leaves(children[name], params[name], saved[name], arriving[name], inner)
