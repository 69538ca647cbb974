"""How layers are wired: symbols, composites, and the graph that they become.

Leaves compute, composites only wire. A composite's `wire` calls layers on symbols and combines
them with `+`, `*` and `@`, so that it reads like its formula; `trace` runs it and records a node
for every leaf that is called.

Examples:
    >>> from chainrule.layers import Dense, Tanh
    >>> x = Input(4)
    >>> (x + Tanh()(Dense(4)(x))).shape
    (4,)
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from numbers import Real
from typing import Any

from chainrule import distributions
from chainrule.arrays import Shape
from chainrule.errors import SettingError, is_integer, require
from chainrule.layers.base import Built, Layer


class Symbol:
    """A value in a network that is being wired: the output of a layer.

    `+`, `*` and `@` add, multiply elementwise and matrix-multiply symbols; `-`, and `*` and `/` by
    a number, are expressed by these. `x[2:5]` slices a sample.

    Attributes:
        shape: its shape, of one sample
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def call(self, layer: Layer, inputs: Sequence[Symbol]) -> Symbol:
        """The output of a layer called on these inputs, of which this symbol is one."""
        raise NotImplementedError

    __array_ufunc__ = None  # NumPy leaves operators to the symbol

    def __repr__(self) -> str:
        return f"a symbol of shape {self.shape}"

    def __add__(self, other: Symbol) -> Symbol:
        _require_symbol("added to", other)
        return operators.Add()(self, other)

    def __radd__(self, other: Any) -> Symbol:
        if isinstance(other, int) and other == 0:
            return self  # where sum() starts
        return self + other  # which raises

    def __sub__(self, other: Symbol) -> Symbol:
        _require_symbol("subtracted from", other)
        return self + -other

    def __rsub__(self, other: Any) -> Symbol:
        return self - other  # which raises

    def __neg__(self) -> Symbol:
        return self * -1.0

    def __mul__(self, other: Any) -> Symbol:
        if isinstance(other, Real):
            return operators.Scale(float(other))(self)
        _require_symbol("multiplied by a number or", other)
        return operators.Multiply()(self, other)

    __rmul__ = __mul__

    def __truediv__(self, number: Any) -> Symbol:
        divides = isinstance(number, Real) and number != 0
        require(divides, f"a symbol can be divided by a number other than 0, not by {number!r}")
        return self * (1 / number)

    def __pow__(self, exponent: Any) -> Symbol:
        raise SettingError("symbols have no powers; x * x is the square of x")

    def __matmul__(self, other: Symbol) -> Symbol:
        _require_symbol("matrix-multiplied by", other)
        return operators.MatMul()(self, other)

    def __getitem__(self, index: Any) -> Symbol:
        """A slice along the sample's axes, as in `x[2:5]` or `x[..., :3]`."""
        parts = index if isinstance(index, tuple) else (index,)
        axis, y = 0, self
        for k, part in enumerate(parts):
            if part is Ellipsis:
                axis = len(self.shape) - (len(parts) - k - 1)
                continue
            require(
                isinstance(part, slice) and part.step in (None, 1),
                f"a symbol is sliced as in x[2:5] or x[..., :3], not by {part!r}",
            )
            if part != slice(None):
                start, stop, _ = part.indices(self.shape[axis])
                y = shaping.Slice(start, stop, axis)(y)
            axis += 1
        return y

    def reshape(self, *sizes: int) -> Symbol:
        """The same numbers in another shape a sample; one size may be -1."""
        return shaping.Reshape(sizes)(self)

    def transpose(self, *axes: int) -> Symbol:
        """The sample's axes in another order; without one, the last two are swapped."""
        return shaping.Transpose(axes)(self)


def _require_symbol(how: str, other: Any) -> None:
    require(isinstance(other, Symbol), f"a symbol can be {how} another symbol, not {other!r}")


class Recorded(Symbol):
    """A symbol outside of any network: it records the layer that was called, and its inputs."""

    numbers = itertools.count()

    def __init__(self, shape: Shape, layer: Layer | None = None, inputs: Sequence[Symbol] = ()):
        super().__init__(shape)
        self.layer, self.inputs = layer, tuple(inputs)
        self.number = next(self.numbers)  # calls happen in the order of their numbers

    def call(self, layer: Layer, inputs: Sequence[Symbol]) -> Symbol:
        shapes = [x.shape for x in inputs]
        return Recorded(trace(layer, shapes).output_shape, layer, inputs)


class Input(Recorded):
    """An input of a graph.

    Args:
        shape: the shape of a sample; a number n means (n,)

    Examples:
        >>> Input(3).shape, Input((28, 28)).shape
        ((3,), (28, 28))
    """

    def __init__(self, shape: int | Sequence[int]) -> None:
        sizes = tuple(shape) if isinstance(shape, list | tuple) else (shape,)
        require(
            bool(sizes) and all(is_integer(size) and size > 0 for size in sizes),
            f"input: {shape!r} is no shape of a sample; it takes one or more integers above 0",
        )
        super().__init__(sizes)


def calls_before(outputs: Sequence[Symbol], inputs: Sequence[Symbol]) -> list[Recorded]:
    """The calls that lead from these inputs to these outputs, in order."""
    calls: dict[int, Recorded] = {}
    pending = list(outputs)
    while pending:
        symbol = pending.pop()
        if not isinstance(symbol, Recorded):
            raise SettingError(f"{symbol!r} is not a symbol; to get an output, call layers on Input(...)")
        if symbol in inputs or symbol.number in calls:
            continue
        if symbol.layer is None:
            raise SettingError(f"the outputs depend on an Input of shape {symbol.shape} that is not among the inputs")
        calls[symbol.number] = symbol
        pending += symbol.inputs
    return [calls[number] for number in sorted(calls)]


@dataclass(frozen=True)
class Composite(Layer, register=False):
    """A layer composed of layers. Subclasses declare them as fields and define `wire`, which may
    also create them from settings.
    """

    in_text = False

    def wire(self, *inputs: Any) -> Symbol:
        """The output: calls the layers on the inputs."""
        raise NotImplementedError

    @cached_property
    def children(self) -> Mapping[str, Layer]:
        """The layers by name: that of the field, or in a list the kind with a number."""
        children: dict[str, Layer] = {}
        for setting in fields(self):
            value = getattr(self, setting.name)
            if isinstance(value, Layer):
                children[value.name or setting.name] = value
            elif isinstance(value, list | tuple) and value and all(isinstance(item, Layer) for item in value):
                children |= name_layers(value)
        return children

    @property
    def accepts_images(self) -> bool:  # type: ignore[override]
        """Whether any of its layers does."""
        return any(child.accepts_images for child in self.children.values())

    def lacks_channels(self, input_shape: Shape) -> bool:
        return lacking_channels(self.children.values(), input_shape)


def lacking_channels(layers: Iterable[Layer], input_shape: Shape) -> bool:
    """Whether samples of this shape lack the axis of channels that the first of these layers takes,
    among those that don't keep the shape.
    """
    for layer in layers:
        if layer.lacks_channels(input_shape):
            return True
        if not layer.keeps_units:
            return False
    return False


def name_layers(layers: Sequence[Layer]) -> dict[str, Layer]:
    """Each layer under its own name, or its kind and a number: dense_1, relu_1, dense_2."""
    counts: dict[str, int] = {}
    named: dict[str, Layer] = {}
    for layer in layers:
        kind = layer.word
        counts[kind] = counts.get(kind, 0) + 1
        name = layer.name or f"{kind}_{counts[kind]}"
        if name in named:
            raise SettingError(f"two layers are called {name!r}; rename one of them")
        if not name.replace("_", "").replace("-", "").isalnum():
            raise SettingError(f"a layer can't be called {name!r}; names consist of letters, digits, - and _")
        named[name] = layer
    return named


@dataclass(frozen=True)
class Node:
    """One use of a leaf in a graph.

    Attributes:
        name: its path, as in residual_1.dense_1; a second use of the same layer ends in @2
        owner: the name that its parameters are stored under: that of the layer's first use
        layer: the leaf
        inputs: the numbers of the values that it reads; the graph's inputs come first, then the
            nodes' outputs
        built: its output shape and parameters
    """

    name: str
    owner: str
    layer: Layer
    inputs: tuple[int, ...]
    built: Built

    @property
    def weights(self) -> int:
        """The number of its own weights; those of a shared layer belong to its first use."""
        own = self.built.parameters.values() if self.name == self.owner else ()
        return sum(math.prod(parameter.shape) for parameter in own)


@dataclass(frozen=True)
class Graph:
    """Nodes in execution order; the last one computes the output.

    Attributes:
        input_shapes: the shapes of the inputs, of one sample
        nodes: the nodes
    """

    input_shapes: tuple[Shape, ...]
    nodes: tuple[Node, ...]

    @cached_property
    def shapes(self) -> list[Shape]:
        """The shape of every value, of one sample."""
        return [*self.input_shapes, *(node.built.output_shape for node in self.nodes)]

    @property
    def output_shape(self) -> Shape:
        """The shape of the output, of one sample."""
        return self.shapes[-1]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each node's value, by the node's name."""
        return {node.name: k for k, node in enumerate(self.nodes, start=len(self.input_shapes))}

    @cached_property
    def readers(self) -> list[list[tuple[Node, int]]]:
        """For every value, the nodes that read it and which of their inputs it is."""
        readers: list[list[tuple[Node, int]]] = [[] for _ in self.shapes]
        for node in self.nodes:
            for which, number in enumerate(node.inputs):
                readers[number].append((node, which))
        return readers

    @cached_property
    def learns(self) -> list[bool]:
        """For every value, whether it depends on any parameter."""
        learns = [False] * len(self.input_shapes)
        for node in self.nodes:
            learns.append(bool(node.built.parameters) or any(learns[k] for k in node.inputs))
        return learns

    @cached_property
    def backward_order(self) -> tuple[list[tuple[int, list[tuple[int, int]]]], ...]:
        """The nodes that the backward pass runs, by their index, last first. Each comes with the
        values whose derivatives are wanted from it, and which of its inputs they are. Twice:
        without the nodes before the first parameters, and with all.
        """
        first = len(self.input_shapes)
        orders = []
        for needed in (self.learns, [True] * len(self.shapes)):
            wanted = [[(n, which) for which, n in enumerate(node.inputs) if needed[n]] for node in self.nodes]
            orders.append([(k, wanted[k]) for k in range(len(self.nodes) - 1, -1, -1) if needed[first + k]])
        return tuple(orders)

    def node(self, name: str) -> Node:
        """The node of this name."""
        return self.nodes[self.numbers[name] - len(self.input_shapes)]

    @cached_property
    def owners(self) -> dict[str, Node]:
        """The first use of every layer, by name; the parameters belong to these."""
        return {node.name: node for node in self.nodes if node.name == node.owner}

    def source(self, number: int, index: Shape) -> tuple[int, Shape]:
        """The entry that this one is a copy of, traced back through layers that only move
        numbers.
        """
        while number >= len(self.input_shapes):
            node = self.nodes[number - len(self.input_shapes)]
            back = node.layer.source(index, *(self.shapes[k] for k in node.inputs))
            if back is None:
                break
            number, index = node.inputs[back[0]], back[1]
        return number, index


@dataclass
class _Scope:
    """A composite that is being wired: its path, the names of its layers, and the calls so far."""

    path: str
    key: Hashable
    names: dict[int, str]
    uses: dict[int, int] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def name(self, layer: Layer) -> str:
        """The name of this call: the layer's, with @2 for its second use."""
        if id(layer) not in self.names:
            kind, k = layer.word, 1
            while f"{kind}_{k}" in self.taken:
                k += 1
            self.names[id(layer)] = layer.name or f"{kind}_{k}"
            self.taken.add(self.names[id(layer)])
        self.uses[id(layer)] = use = self.uses.get(id(layer), 0) + 1
        return self.names[id(layer)] + (f"@{use}" if use > 1 else "")


class _Traced(Symbol):
    """A value of the graph that a tracer is recording."""

    def __init__(self, tracer: _Tracer, number: int, shape: Shape) -> None:
        super().__init__(shape)
        self.tracer, self.number = tracer, number

    def call(self, layer: Layer, inputs: Sequence[Symbol]) -> Symbol:
        return self.tracer.call(layer, inputs)


_CHECK: ContextVar[Callable[[str, Built], None] | None] = ContextVar("check", default=None)


@contextmanager
def checking(check: Callable[[str, Built], None]) -> Iterator[None]:
    """Within the block, `check` is called with the name of every layer that is wired and what it
    builds, before the next layer is: it may raise before that takes much memory.
    """
    token = _CHECK.set(check)
    try:
        yield
    finally:
        _CHECK.reset(token)


class _Tracer:
    """Records a node for each leaf that is called."""

    def __init__(self, scope: _Scope, input_shapes: Sequence[Shape]) -> None:
        self.scopes, self.nodes = [scope], list[Node]()
        self.inputs = [_Traced(self, k, shape) for k, shape in enumerate(input_shapes)]
        self.owners: dict[Hashable, str] = {}
        self.alive: list[Layer] = []  # holds the layers, so that no id is reused

    def call(self, layer: Layer, inputs: Sequence[Symbol]) -> Symbol:
        first, *others = layer.parts
        y = self._called(first, inputs, layer)
        for part in others:
            y = self.call(part, (y,))
        return y

    def _called(self, layer: Layer, inputs: Sequence[Symbol], known_as: Layer) -> Symbol:
        scope = self.scopes[-1]
        self.alive.append(known_as)
        own = scope.name(known_as)
        name = f"{scope.path}.{own}" if scope.path else own
        key = (scope.key, own.partition("@")[0])
        layer = copy.copy(layer)
        object.__setattr__(layer, "name", name)  # for its error messages
        if isinstance(layer, Composite):
            return self._inside(layer, name, key, inputs)
        if any(not isinstance(x, _Traced) or x.tracer is not self for x in inputs):
            raise SettingError(f"layer {name}: it is called on a symbol that belongs to another graph")
        try:
            built = layer.build(*(x.shape for x in inputs))
        except TypeError as error:
            raise SettingError(f"layer {name}: it can't be called on {len(inputs)} inputs ({error})") from None
        if (check := _CHECK.get()) is not None:
            check(name, built)
        owner = self.owners.setdefault(key, name)
        numbers = tuple(x.number for x in inputs)  # type: ignore[attr-defined]
        self.nodes.append(Node(name, owner, layer, numbers, built))
        return _Traced(self, len(self.inputs) + len(self.nodes) - 1, built.output_shape)

    def _inside(self, layer: Composite, name: str, key: Hashable, inputs: Sequence[Symbol]) -> Symbol:
        names = {id(child): child_name for child_name, child in layer.children.items()}
        scope = _Scope(name, key, names, taken=set(names.values()))
        self.scopes.append(scope)
        if len(set(map(id, layer.children.values()))) < len(layer.children):
            raise SettingError(f"layer {name}: two of its fields hold the same layer; use one field and call it twice")
        try:
            y = layer.wire(*inputs)
        except (TypeError, NotImplementedError) as error:
            raise SettingError(f"layer {name}: its wire can't be called on {len(inputs)} inputs ({error})") from error
        if not isinstance(y, _Traced) or y.tracer is not self:
            raise SettingError(f"layer {name}: its wire must return a symbol that it computed, not {y!r}")
        self.scopes.pop()
        last = self.nodes[-1] if self.nodes else None
        if last is not None and y.number == len(self.inputs) + len(self.nodes) - 1:
            direct = last.name.rpartition(".")[0] == name and not last.built.parameters
            if direct and last.name.rpartition(".")[2] not in layer.children:
                self._rename(last, name)  # x + inner(x) in residual_1 is called residual_1
        return y

    def _rename(self, node: Node, name: str) -> None:
        self.owners = {key: name if owner == node.owner else owner for key, owner in self.owners.items()}
        self.nodes[-1] = replace(node, name=name, owner=name)

    def graph(self, output: Symbol) -> Graph:
        """The nodes that the output depends on."""
        first, wanted = len(self.inputs), {output.number}  # type: ignore[attr-defined]
        for k in range(len(self.nodes) - 1, -1, -1):
            if first + k in wanted:
                wanted |= set(self.nodes[k].inputs)
        kept = [k for k in range(len(self.nodes)) if first + k in wanted]
        numbers = {k: k for k in range(first)} | {first + k: first + new for new, k in enumerate(kept)}
        nodes = [replace(n := self.nodes[k], inputs=tuple(numbers[i] for i in n.inputs)) for k in kept]
        return _with_distributions(Graph(tuple(x.shape for x in self.inputs), tuple(nodes)))


def trace(wire: Callable[..., Any], shapes: Iterable[Shape], children: Mapping[str, Layer] | None = None) -> Graph:
    """The graph of a function of symbols, such as a layer, for inputs of these shapes.

    `children` are the layers that it calls, by name; others are named by kind and number.
    """
    names = {id(child): name for name, child in (children or {}).items()}
    scope = _Scope("", "", names, taken=set(names.values()))
    tracer = _Tracer(scope, list(shapes))
    return tracer.graph(wire(*tracer.inputs))


def _with_distributions(graph: Graph) -> Graph:
    """The same graph, in which weights without a distribution get the one that suits the activation
    after them.
    """
    nodes = []
    for node in graph.nodes:
        initial = None
        if any(p.distribution is None for p in node.built.parameters.values()):
            initial = _initial(graph, graph.numbers[node.name])
        if initial is not None:
            chosen = distributions.of(initial)
            parameters = {
                name: replace(p, distribution=chosen) if p.distribution is None else p
                for name, p in node.built.parameters.items()
            }
            node = replace(node, built=replace(node.built, parameters=parameters))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _initial(graph: Graph, number: int) -> str | None:
    """The initializer suggested by the first layer after this value that changes its scale."""
    while True:
        readers = graph.readers[number]
        ways = [node for node, _ in readers if not isinstance(node.layer, operators.Add)] or [
            node for node, _ in readers[:1]
        ]
        if len(ways) != 1:
            return None
        if not ways[0].layer.passes_scale:
            return ways[0].layer.initial
        number = graph.numbers[ways[0].name]


from chainrule.layers import operators, shaping  # noqa: E402  (symbols are combined by leaves)
