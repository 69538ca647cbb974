"""Composites of lists of layers: in sequence, with a shortcut around them, or side by side."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from reprlib import repr as brief

from chainrule.arrays import Shape
from chainrule.errors import SettingError, ShapeError, require, unknown
from chainrule.layers.base import Layer
from chainrule.layers.graph import Composite, name_layers
from chainrule.layers.operators import Add, Concatenate
from chainrule.layers.symbols import Symbol


def separate(layers: Layer | Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers of a list, each an object of its own: a Dense with an activation becomes two."""
    layers = [layers] if isinstance(layers, Layer) else layers
    if not isinstance(layers, Iterable):
        raise SettingError(f"a network is a list of layers or a text such as '64 relu, 10', not {layers!r}")
    apart: list[Layer] = []
    for layer in layers:
        if not isinstance(layer, Layer):
            raise SettingError(f"{layer!r} is no layer; a network is a list of layers such as Dense(64), ReLU()")
        apart += [copy.copy(part) if any(part is other for other in apart) else part for part in layer.parts]
    name_layers(apart)  # a wrong name should be known here, not later
    return tuple(apart)


@dataclass(frozen=True)
class Sequential(Composite):
    """Layers in sequence: the output of each is the input of the next.

    Examples:
        >>> from chainrule.layers import Dense
        >>> list(Sequential([Dense(8, activation="tanh"), Dense(1)]).children)
        ['dense_1', 'tanh_1', 'dense_2']
    """

    layers: Sequence[Layer] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", separate(self.layers))

    @cached_property
    def children(self) -> Mapping[str, Layer]:
        return name_layers(self.layers)

    def wire(self, x: Symbol) -> Symbol:
        for layer in self.layers:
            x = layer(x)
        return x


@dataclass(frozen=True)
class Residual(Sequential):
    """y = x + inner(x): the layers inside learn a correction, and the derivative has a way around
    them (He et al., 2016).
    """

    def wire(self, x: Symbol) -> Symbol:
        y = super().wire(x)
        if y.shape != x.shape:
            raise ShapeError(
                f"layer {self.called}: the layers inside turn the shape {x.shape} into {y.shape}; to be"
                " added to the input they must give its shape back"
            )
        return x + y


@dataclass(frozen=True)
class Branches(Composite):
    """Layers side by side on the same input, whose outputs are merged.

    Attributes:
        branches: for each branch a layer or a list of layers
        merge: "concatenate" joins the outputs along the last axis, "add" adds them
    """

    branches: Sequence[Layer | Sequence[Layer]] = field(default_factory=tuple)
    merge: str = "concatenate"

    def __post_init__(self) -> None:
        wanted = "give at least one, each a layer or a list of layers"
        fits = isinstance(self.branches, list | tuple) and all(
            isinstance(b, Layer | list | tuple) for b in self.branches
        )
        require(fits and bool(self.branches), f"branches: they are {brief(self.branches)}; {wanted}")
        if self.merge not in ("concatenate", "add"):
            raise unknown("way to merge branches", self.merge, ("concatenate", "add"))
        object.__setattr__(self, "branches", tuple(_branch(branch) for branch in self.branches))

    @cached_property
    def children(self) -> Mapping[str, Layer]:
        layers = [branch for branch in self.branches if isinstance(branch, Layer)]  # all are, by now
        return {branch.name or f"branch_{k}": branch for k, branch in enumerate(layers, start=1)}

    def lacks_channels(self, input_shape: Shape) -> bool:
        return any(branch.lacks_channels(input_shape) for branch in self.children.values())

    def wire(self, x: Symbol) -> Symbol:
        outputs = [branch(x) for branch in self.children.values()]
        shapes = [y.shape for y in outputs]
        alike = [shape[:-1] for shape in shapes] if self.merge == "concatenate" else shapes
        if any(shape != alike[0] for shape in alike) or () in shapes:
            raise ShapeError(
                f"layer {self.called}: can't {self.merge} the branches' outputs, whose shapes are"
                f" {', '.join(map(str, shapes))}"
            )
        return (Concatenate() if self.merge == "concatenate" else Add())(*outputs)


def _branch(what: Layer | Iterable[Layer]) -> Layer:
    """A branch as one layer, an object of its own."""
    if not isinstance(what, Layer):
        return Sequential(tuple(what))
    return copy.copy(what) if what.parts == (what,) else Sequential(what.parts)
