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
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any

from chainrule.arrays import Array, Shape
from chainrule.errors import SettingError, is_integer, require
from chainrule.layers.base import Built, Layer
from chainrule.layers.symbols import Symbol

Run = Callable[..., Any]
"""Runs a function of symbols on arrays: run(function, *arrays)."""


class Recorded(Symbol):
    """A symbol outside of any network: it records the layer that was called, and its inputs."""

    numbers = itertools.count()

    def __init__(self, shape: Shape, layer: Layer | None = None, inputs: Sequence[Symbol] = ()):
        super().__init__(shape)
        self.layer, self.inputs = layer, tuple(inputs)
        self.number = next(self.numbers)  # calls happen in the order of their numbers

    def call(self, layer: Layer, inputs: Sequence[Symbol]) -> Symbol:
        before: Sequence[Symbol] = ()
        if layer.tied_to is not None:  # it takes the shape of the weights that it uses
            before = next((x.inputs for x in ancestors(inputs) if x.layer is layer.tied_to), ())

        def wire(*xs: Symbol) -> Symbol:
            if before:
                layer.tied_to(*xs[: len(before)])
            return layer(*xs[len(before) :])

        return Recorded(trace(wire, [x.shape for x in (*before, *inputs)]).output_shape, layer, inputs)


class Input(Recorded):
    """An input of a graph.

    Args:
        shape: the shape of a sample; a number n means (n,), and () a single number

    Examples:
        >>> Input(3).shape, Input((28, 28)).shape
        ((3,), (28, 28))
    """

    def __init__(self, shape: int | Sequence[int]) -> None:
        sizes = tuple(shape) if isinstance(shape, list | tuple) else (shape,)
        require(
            all(is_integer(size) and size > 0 for size in sizes),
            f"input: {shape!r} is no shape of a sample; it takes integers above 0",
        )
        super().__init__(sizes)


def ancestors(symbols: Sequence[Symbol]) -> Iterator[Recorded]:
    """These symbols, and all that they were computed from."""
    known, pending = set[Symbol](), [*symbols]
    while pending:
        symbol = pending.pop()
        if isinstance(symbol, Recorded) and symbol not in known:
            known.add(symbol)
            pending += symbol.inputs
            yield symbol


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

    def mixing(self, nodes: Sequence[Node]) -> Mixing | None:
        """For attention, what the nodes of a call are in it; None for other composites."""
        return None

    def carries_on(self, inputs: int) -> bool | None:
        """Whether it computes new positions of a text from what it has kept of earlier ones, called
        on so many inputs; None for a composite whose layers are asked themselves.
        """
        return None

    def carry_on(self, run: Run, kept: Any, *new: Array) -> tuple[Array, Any]:
        """The outputs at new positions, (texts, ..., new, features), and what is kept for later
        ones.

        Args:
            run: what a function of symbols, such as `wire`, computes of arrays
            kept: what was kept before; None at the beginning of texts
            new: the inputs at new positions
        """
        raise self._undefined("carry_on")

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

    @property
    def reads_neighbours(self) -> bool:  # type: ignore[override]
        """Whether any of its layers does."""
        return any(child.reads_neighbours for child in self.children.values())

    @property
    def takes_tokens(self) -> bool:  # type: ignore[override]
        """Whether its first layer does."""
        return any(child.takes_tokens for child in [*self.children.values()][:1])

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
        time: the time step of a Scan that it belongs to; None outside of the steps
    """

    name: str
    owner: str
    layer: Layer
    inputs: tuple[int, ...]
    built: Built
    time: int | None = None

    @property
    def weights(self) -> int:
        """The number of its own weights; those of a shared layer belong to its first use."""
        own = self.built.parameters.values() if self.name == self.owner else ()
        return sum(math.prod(parameter.shape) for parameter in own)


@dataclass(frozen=True)
class Mixing:
    """Nodes of a call of attention.

    Attributes:
        scores: how well queries fit keys, before the softmax
        softmax: how much each query takes from each position, before dropout
        mix: multiplies how much is taken by what is taken
    """

    scores: Node
    softmax: Node
    mix: Node


@dataclass(frozen=True)
class CompositeCall:
    """One call of a composite: the nodes that it became, which follow one another in the graph.
    Only its output is read by others. So a lowering can compute all of them by one operation.

    Attributes:
        name: its path; a second call of the same composite ends in @2
        layer: the composite
        inputs: the numbers of the values that it was called on; -1 for one that nothing reads
        output: the number of the value that it returned
        start, stop: the nodes are those from `start` up to `stop`
    """

    name: str
    layer: Composite
    inputs: tuple[int, ...]
    output: int
    start: int
    stop: int


@dataclass(frozen=True)
class Graph:
    """Nodes in execution order; the last one computes the output.

    Attributes:
        input_shapes: the shapes of the inputs, of one sample
        nodes: the nodes
        calls: the calls of composites, each after those within it
    """

    input_shapes: tuple[Shape, ...]
    nodes: tuple[Node, ...]
    calls: tuple[CompositeCall, ...] = ()

    @cached_property
    def shapes(self) -> list[Shape]:
        """The shape of every value, of one sample."""
        return [*self.input_shapes, *(node.built.output_shape for node in self.nodes)]

    @property
    def output_shape(self) -> Shape:
        """The shape of the output, of one sample."""
        return self.shapes[-1]

    @property
    def distinct(self) -> list[Node]:
        """The nodes without the uses of the same layers at further time steps."""
        return [node for node in self.nodes if node.time is None or node.name == node.owner]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each node's value, by the node's name."""
        return {node.name: k for k, node in enumerate(self.nodes, start=len(self.input_shapes))}

    @cached_property
    def uses(self) -> dict[str, list[Node]]:
        """The nodes that use the parameters of each owner, in order."""
        uses: dict[str, list[Node]] = {}
        for node in self.nodes:
            uses.setdefault(node.owner, []).append(node)
        return uses

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
    """A composite that is being wired, or a time step of it: its path, the names of its layers,
    and the calls so far.
    """

    path: str
    key: Hashable
    names: dict[int, str]
    taken: set[str]
    uses: dict[str, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    time: int | None = None

    def name(self, layer: Layer) -> str:
        """The name of this call: the layer's, with @2 for its second use."""
        if id(layer) not in self.names:
            self.names[id(layer)] = layer.name or self._new(layer.word)
            self.taken.add(self.names[id(layer)])
        name = self.names[id(layer)]
        self.uses[name] = use = self.uses.get(name, 0) + 1
        return name + (f"@{use}" if use > 1 else "")

    def _new(self, kind: str) -> str:
        k = self.last.get(kind, 0) + 1
        while f"{kind}_{k}" in self.taken:
            k += 1
        self.last[kind] = k
        return f"{kind}_{k}"

    def step(self, time: int) -> _Scope:
        """The scope of a time step. Names begin anew, so that the layers of all steps are the same
        layers.
        """
        return _Scope(self.path, self.key, dict(self.names), set(self.taken), self.uses, dict(self.last), time)


class _Traced(Symbol):
    """A value of the graph that a tracer is recording."""

    def __init__(self, tracer: _Tracer, number: int, shape: Shape) -> None:
        super().__init__(shape)
        self.tracer, self.number = tracer, number

    def call(self, layer: Layer, inputs: Sequence[Symbol]) -> Symbol:
        return self.tracer.call(layer, inputs)

    def steps(self, order: Iterable[int]) -> Iterator[int]:
        return self.tracer.steps(order)


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
        self.scopes, self.nodes, self.calls = [scope], list[Node](), list[CompositeCall]()
        self.inputs = [_Traced(self, k, shape) for k, shape in enumerate(input_shapes)]
        self.owners: dict[Hashable, str] = {}
        self.alive: list[Layer] = []  # holds the layers, so that no id is reused

    def call(self, layer: Layer, inputs: Sequence[Symbol]) -> Symbol:
        first, *others = layer.parts
        y = self._called(first, inputs, layer)
        for part in others:
            y = self.call(part, (y,))
        return y

    def steps(self, order: Iterable[int]) -> Iterator[int]:
        """These time steps; what is called in the meantime belongs to them."""
        around, taken = self.scopes[-1], set[str]()
        for time in order:
            self.scopes.append(around.step(time))
            yield time
            taken |= self.scopes.pop().taken
        around.taken |= taken

    def _called(self, layer: Layer, inputs: Sequence[Symbol], known_as: Layer) -> Symbol:
        scope = self.scopes[-1]
        self.alive.append(known_as)
        own = scope.name(known_as)
        name = f"{scope.path}.{own}" if scope.path else own
        key: Hashable = (scope.key, own.partition("@")[0])
        layer = copy.copy(layer)
        object.__setattr__(layer, "name", name)  # for its error messages
        if any(not isinstance(x, _Traced) or x.tracer is not self for x in inputs):
            raise SettingError(f"layer {name}: it is called on a symbol that belongs to another graph")
        numbers = tuple(x.number for x in inputs)  # type: ignore[attr-defined]
        if isinstance(layer, Composite):
            start = len(self.nodes)
            y = self._inside(layer, name, key, inputs)
            self.calls.append(CompositeCall(name, layer, numbers, y.number, start, len(self.nodes)))
            return y
        build: Callable[..., Built] = layer.build
        if layer.tied_to is not None:
            key, shared = self._tied(layer)
            build = partial(build, shared=shared)
        try:
            built = build(*(x.shape for x in inputs))
        except TypeError as error:
            raise SettingError(f"layer {name}: it can't be called on {len(inputs)} inputs ({error})") from None
        if (check := _CHECK.get()) is not None:
            check(name, built)
        owner = self.owners.setdefault(key, name)
        self.nodes.append(Node(name, owner, layer, numbers, built, scope.time))
        return _Traced(self, len(self.inputs) + len(self.nodes) - 1, built.output_shape)

    def _tied(self, layer: Layer) -> tuple[Hashable, Built]:
        """The key of the layer whose parameters this one uses, and what it was built to."""
        scope, tied = self.scopes[-1], layer.tied_to
        name = tied if isinstance(tied, str) else scope.names.get(id(tied), tied.called)
        key = (scope.key, name)
        if key not in self.owners:
            raise SettingError(
                f"layer {layer.called}: it uses the weights of {name!r}, but no layer of this name is called before it"
            )
        return key, next(node.built for node in self.nodes if node.name == self.owners[key])

    def _inside(self, layer: Composite, name: str, key: Hashable, inputs: Sequence[Symbol]) -> _Traced:
        names = {id(child): child_name for child_name, child in layer.children.items()}
        scope = _Scope(name, key, names, set(names.values()), time=self.scopes[-1].time)
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
        calls = tuple(
            replace(
                call, inputs=tuple(numbers.get(k, -1) for k in call.inputs), output=numbers[call.output],
                start=bisect_left(kept, call.start), stop=bisect_left(kept, call.stop),
            )
            for call in self.calls
            if call.output in numbers
        )  # fmt: skip
        return initial.with_distributions(Graph(tuple(x.shape for x in self.inputs), tuple(nodes), calls))


def trace(wire: Callable[..., Any], shapes: Iterable[Shape], children: Mapping[str, Layer] | None = None) -> Graph:
    """The graph of a function of symbols, such as a layer, for inputs of these shapes.

    `children` are the layers that it calls, by name; others are named by kind and number.
    """
    names = {id(child): name for name, child in (children or {}).items()}
    scope = _Scope("", "", names, set(names.values()))
    tracer = _Tracer(scope, list(shapes))
    return tracer.graph(wire(*tracer.inputs))


from chainrule.layers import initial  # noqa: E402  (which reads graphs)
