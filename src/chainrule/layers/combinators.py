"""Layers made of layers: one after the other, around a shortcut, or side by side. There is no other graph.

Each says which derivative arrives at each child's output (`upstreams`); everything else about the children is theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from chainrule import distributions
from chainrule.arrays import Array, Params, Shape
from chainrule.errors import SettingError, ShapeError, unknown
from chainrule.layers.activations import activation
from chainrule.layers.base import Built, Context, Formulas, Layer, Terms, samples_of, snake
from chainrule.layers.dense import Dense


def name_layers(layers: Sequence[Layer]) -> dict[str, Layer]:
    """Each layer under its own name, or its kind and place: dense_1, relu_1, dense_2."""
    counts: dict[str, int] = {}
    named: dict[str, Layer] = {}
    for layer in layers:
        if not isinstance(layer, Layer):
            raise SettingError(f"{layer!r} is no layer; a network is a list of layers such as Dense(64), ReLU()")
        kind = snake(type(layer).__name__)
        counts[kind] = counts.get(kind, 0) + 1
        name = layer.name or f"{kind}_{counts[kind]}"
        if name in named:
            raise SettingError(f"two layers are called {name!r}; give one of them another name")
        if not name.replace("_", "").replace("-", "").isalnum():
            raise SettingError(f"a layer can't be called {name!r}; a name is made of letters, digits, - and _")
        named[name] = layer
    return named


class Container(Layer):
    """A layer made of layers, which it keeps by name in `children`."""

    children: Mapping[str, Layer]

    def upstreams(self, params: Params, saved: Any, dy: Array) -> dict[str, Array]:
        """For each child, the derivative of the loss with respect to its output."""
        raise NotImplementedError

    def parameter_terms(self, params: Params, saved: Any, dy: Array, name: str, index: Shape) -> list[Terms]:
        child, _, inner = name.partition(".")
        if child not in self.children:
            raise KeyError(f"{type(self).__name__} has no layer {child!r}")
        arriving = self.upstreams(params, saved, dy)[child]
        return [
            t.within(child)
            for t in self.children[child].parameter_terms(params[child], saved[child], arriving, inner, index)
        ]

    def updated_statistics(self, params: Params, saved: Any) -> dict[str, Any]:
        updated = {name: child.updated_statistics(params[name], saved[name]) for name, child in self.children.items()}
        return {name: statistics for name, statistics in updated.items() if statistics}

    def _forward_child(self, name: str, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        child, inside = self.children[name], context.within(name)
        y, saved = child.forward(params[name], x, inside)
        if context.watch is not None and not isinstance(child, Container):
            context.watch(inside.place, x, y)
        return y, saved


@dataclass(frozen=True)
class Sequential(Container):
    """Layers one after the other: the output of each is the input of the next.

    A Dense with an activation becomes two layers: the Dense, and the activation.

    Examples:
        >>> list(Sequential([Dense(8, activation="tanh"), Dense(1)]).children)
        ['dense_1', 'tanh_1', 'dense_2']
    """

    layers: Sequence[Layer] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        apart: list[Layer] = []
        for layer in self.layers:
            if isinstance(layer, Dense) and layer.activation is not None:
                apart += [replace(layer, activation=None), activation(layer.activation)]
            else:
                apart.append(layer)
        object.__setattr__(self, "layers", tuple(apart))
        name_layers(apart)  # a wrong name should be known here, not later

    @cached_property
    def children(self) -> Mapping[str, Layer]:  # type: ignore[override]
        return name_layers(self.layers)

    @property
    def initial(self) -> str | None:
        first = next((layer for layer in self.layers if not layer.passes_scale), None)
        return first.initial if first else None

    @property
    def formulas(self) -> Formulas:
        return Formulas(
            forward=r"y = f_K(\dots f_2(f_1(x)))", input=r"\frac{\partial L}{\partial x} = f_1' \cdot f_2' \cdots f_K'"
        )

    def build(self, input_shape: Shape) -> Built:
        built, shape = {}, input_shape
        for name, child in self.children.items():
            made = replace(child, name=name).build(shape)
            built[name], shape = made, made.output_shape
        names = list(built)
        for k, name in enumerate(names):
            after = next((self.children[n] for n in names[k + 1 :] if not self.children[n].passes_scale), None)
            if after is not None and after.initial is not None:
                built[name] = with_distribution(built[name], distributions.of(after.initial))
        return Built(shape, children=built)

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        saved = {}
        for name in self.children:
            x, saved[name] = self._forward_child(name, params, x, context)
        return x, saved

    def backward(
        self, params: Params, saved: Any, dy: Array, wants_input: bool = True
    ) -> tuple[Array | None, dict[str, Any]]:
        """From the last layer to the first that has parameters; to the input only if it is wanted."""
        gradients: dict[str, Any] = {}
        names = list(self.children)
        first = (
            0
            if wants_input
            else next(
                (k for k, name in enumerate(names) if has_parameters(params[name], self.children[name])), len(names)
            )
        )
        dx: Array | None = dy
        for k in range(len(names) - 1, first - 1, -1):
            name = names[k]
            assert dx is not None
            dx, gradients[name] = self.children[name].backward(params[name], saved[name], dx, wants_input or k > first)
        return (dx if wants_input else None), gradients

    def upstreams(self, params: Params, saved: Any, dy: Array) -> dict[str, Array]:
        arriving: dict[str, Array] = {}
        names = list(self.children)
        for k in range(len(names) - 1, -1, -1):
            name = names[k]
            arriving[name] = dy
            if k > 0:
                dx, _ = self.children[name].backward(params[name], saved[name], dy)
                assert dx is not None
                dy = dx
        return arriving

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> list[Terms]:
        if not self.layers:
            return [Terms(dy[index].reshape(1), np.ones(1, dy.dtype), samples_of(index))]
        first = next(iter(self.children))
        arriving = self.upstreams(params, saved, dy)[first]
        return [t.within(first) for t in self.children[first].input_terms(params[first], saved[first], arriving, index)]


@dataclass(frozen=True)
class Residual(Container):
    """y = x + inner(x): the layers inside learn what is missing, and the derivative has a way around them (He et al.,
    2016).
    """

    layers: Sequence[Layer] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", Sequential(self.layers).layers)

    @cached_property
    def children(self) -> Mapping[str, Layer]:  # type: ignore[override]
        return name_layers(self.layers)

    @cached_property
    def _inner(self) -> Sequential:
        return Sequential(self.layers)

    @property
    def initial(self) -> str | None:
        return self._inner.initial

    @property
    def formulas(self) -> Formulas:
        return Formulas(
            forward=r"y = x + g(x)", input=r"\frac{\partial L}{\partial x} = \frac{\partial L}{\partial y}\,(1 + g'(x))"
        )

    def build(self, input_shape: Shape) -> Built:
        inner = self._inner.build(input_shape)
        if inner.output_shape != input_shape:
            called = self.name or "residual"
            raise ShapeError(
                f"layer {called}: the layers inside turn the shape {input_shape} into {inner.output_shape}; to be added"
                " to the input they must give its shape back"
            )
        return inner

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        y, saved = self._inner.forward(params, x, context)
        return x + y, saved

    def backward(
        self, params: Params, saved: Any, dy: Array, wants_input: bool = True
    ) -> tuple[Array | None, dict[str, Any]]:
        dx, gradients = self._inner.backward(params, saved, dy, wants_input)
        return (None if dx is None else dy + dx), gradients

    def upstreams(self, params: Params, saved: Any, dy: Array) -> dict[str, Array]:
        return self._inner.upstreams(params, saved, dy)

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> list[Terms]:
        shortcut = Terms(dy[index].reshape(1), np.ones(1, dy.dtype), samples_of(index))
        return [shortcut, *self._inner.input_terms(params, saved, dy, index)]


@dataclass(frozen=True)
class Branches(Container):
    """Layers side by side, all given the same input; their outputs are concatenated along the last axis, or added.

    Each branch is a layer or a list of layers. `merge` is "concatenate" or "add".
    """

    branches: Sequence[Any] = field(default_factory=tuple)
    merge: str = "concatenate"

    def __post_init__(self) -> None:
        made = tuple(branch if isinstance(branch, Layer) else Sequential(branch) for branch in self.branches)
        if not made:
            raise SettingError("branches: there are none; give at least one")
        if self.merge not in ("concatenate", "add"):
            raise unknown("way to merge branches", self.merge, ("concatenate", "add"))
        object.__setattr__(self, "branches", tuple(Sequential([b]) if _has_activation(b) else b for b in made))

    @cached_property
    def children(self) -> Mapping[str, Layer]:  # type: ignore[override]
        return {branch.name or f"branch_{k}": branch for k, branch in enumerate(self.branches, start=1)}

    @property
    def formulas(self) -> Formulas:
        joined = r"[g_1(x), g_2(x), \dots]" if self.merge == "concatenate" else r"g_1(x) + g_2(x) + \dots"
        return Formulas(
            forward=f"y = {joined}",
            input=r"\frac{\partial L}{\partial x} = \sum_k g_k'(x)\,\frac{\partial L}{\partial g_k}",
        )

    def build(self, input_shape: Shape) -> Built:
        built = {name: replace(child, name=name).build(input_shape) for name, child in self.children.items()}
        shapes = [made.output_shape for made in built.values()]
        alike = [s[:-1] for s in shapes] if self.merge == "concatenate" else shapes
        if any(s != alike[0] for s in alike) or () in shapes:
            called = self.name or "branches"
            raise ShapeError(
                f"layer {called}: can't {self.merge} the branches' outputs, whose shapes are"
                f" {', '.join(map(str, shapes))}"
            )
        width = sum(s[-1] for s in shapes)
        return Built((*shapes[0][:-1], width) if self.merge == "concatenate" else shapes[0], children=built)

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        outputs, saved = [], {}
        for name in self.children:
            y, saved[name] = self._forward_child(name, params, x, context)
            outputs.append(y)
        saved[""] = [y.shape[-1] for y in outputs]  # under a name that no branch can have
        return (
            np.concatenate(outputs, axis=-1) if self.merge == "concatenate" else sum(outputs[1:], start=outputs[0])
        ), saved

    def backward(
        self, params: Params, saved: Any, dy: Array, wants_input: bool = True
    ) -> tuple[Array | None, dict[str, Any]]:
        gradients, dx = {}, None
        for name, arriving in self.upstreams(params, saved, dy).items():
            inner, gradients[name] = self.children[name].backward(params[name], saved[name], arriving, wants_input)
            if inner is not None:
                dx = inner if dx is None else dx + inner
        return dx, gradients

    def upstreams(self, params: Params, saved: Any, dy: Array) -> dict[str, Array]:
        if self.merge == "add":
            return dict.fromkeys(self.children, dy)
        ends = np.cumsum(saved[""])[:-1]
        return dict(zip(self.children, np.split(dy, ends, axis=-1), strict=True))

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> list[Terms]:
        arriving = self.upstreams(params, saved, dy)
        return [
            terms.within(name)
            for name, child in self.children.items()
            for terms in child.input_terms(params[name], saved[name], arriving[name], index)
        ]


def _has_activation(layer: Layer) -> bool:
    return isinstance(layer, Dense) and layer.activation is not None


def has_parameters(params: Params, layer: Layer) -> bool:
    """Whether this layer, or one inside it, has anything to learn. (A layer without parameters is given no arrays.)"""
    if isinstance(layer, Container):
        return any(has_parameters(params[name], child) for name, child in layer.children.items())
    return bool(params)


def with_distribution(built: Built, distribution: distributions.Distribution) -> Built:
    """The same, with this distribution wherever none was chosen yet."""
    parameters = {
        name: replace(p, distribution=distribution) if p.distribution is None else p
        for name, p in built.parameters.items()
    }
    return replace(
        built,
        parameters=parameters,
        children={name: with_distribution(child, distribution) for name, child in built.children.items()},
    )
