"""A network: a graph of layers for one input shape, with the flat storage of its parameters."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import distributions, generators, tape
from chainrule.arrays import Array, Deferred, Params, Shape, Vector, pack
from chainrule.errors import SettingError, ShapeError, require, unknown
from chainrule.kinds import Kind
from chainrule.layers.base import Layer
from chainrule.layers.combinators import separate
from chainrule.layers.graph import Graph, Input, Node, calls_before, lacking_channels, name_layers, trace
from chainrule.layers.lengths import Mask
from chainrule.layers.notation import parse
from chainrule.layers.operators import Concatenate
from chainrule.layers.shaping import Reshape, Slice
from chainrule.layers.symbols import Symbol
from chainrule.layout import Layout
from chainrule.summary import Shown, Summary, Table

MOST_NUMBERS = 1_000_000
"""The numbers of pictures that are predicted at a time, since layers turn each into many."""
MOST_WEIGHTS = 2**40
"""The maximum number of weights: four terabytes of them."""

Call = tuple[int, tuple[int, ...]]
"""A layer's number, and the numbers of the values that it is called on."""


@dataclass(frozen=True, repr=False)
class Network(Kind, Shown):
    """Layers wired for one input shape.

    It holds no weights: parameters are one flat vector of `dtype`, described by `parameters`, and
    statistics such as running means another. A graph of symbols is given by its inputs and outputs,
    `Network(inputs=..., outputs=...)`: several inputs lie side by side in a sample, each flattened
    (see `pack`), and several outputs are concatenated.

    Attributes:
        layers: a list of layers, or a text like "64 relu, dropout 0.2, 10"
        input_shape: the shape of a sample, or a number for a list of numbers
        dtype: "float32" or "float64"
        calls: which layer is called on which values, unless one follows the other; value 0 is the
            input, then come the outputs of the calls
        inputs, outputs: the symbols of a graph, instead of layers and input_shape

    Raises:
        ShapeError: with the layer's name, where shapes don't fit
        SettingError: for unknown layers

    Examples:
        >>> network = Network("3 tanh, 1", input_shape=2)
        >>> [entry.name for entry in network.parameters.entries], network.parameters.size
        (['dense_1.W', 'dense_1.b', 'dense_2.W', 'dense_2.b'], 13)

        >>> from chainrule.layers import Dense
        >>> left, right, shared = Input(4), Input(4), Dense(3, activation="tanh")
        >>> twins = Network(inputs=[left, right], outputs=Dense(1)(shared(left) * shared(right)))
        >>> twins.parameters.ranges  # one dense_1 with two uses
        'dense_1.W[0-3, 0-2], dense_1.b[0-2], dense_2.W[0-2, 0-0], dense_2.b[0-0]'
    """

    layers: tuple[Layer, ...] = ()
    input_shape: Shape = ()
    dtype: str = "float32"
    calls: tuple[Call, ...] | None = None
    inputs: InitVar[Input | Sequence[Input] | None] = None
    outputs: InitVar[Symbol | Sequence[Symbol] | None] = None

    if TYPE_CHECKING:  # what is taken; the fields above are what it becomes

        def __init__(
            self,
            layers: str | Layer | Sequence[Layer] = (),
            input_shape: int | Sequence[int] | None = None,
            dtype: str = "float32",
            calls: tuple[Call, ...] | None = None,
            *,
            inputs: Input | Sequence[Input] | None = None,
            outputs: Symbol | Sequence[Symbol] | None = None,
        ) -> None: ...

    def __post_init__(self, inputs: Any, outputs: Any) -> None:
        require((inputs is None) == (outputs is None), "a graph of symbols takes both inputs=... and outputs=...")
        if outputs is not None:
            require(not self.layers, "a network takes layers, or inputs and outputs, but not both")
            layers, calls, shape = _recorded(inputs, outputs)
            object.__setattr__(self, "calls", calls)
        else:
            given: Any = self.layers
            given = parse(given) if isinstance(given, str) else given
            layers = tuple(given) if self.calls else separate(given)
            sizes: Any = self.input_shape
            shape = (sizes,) if isinstance(sizes, int) else tuple(sizes or ())
            if not self.calls and lacking_channels(layers, shape):
                layers = separate([Reshape((*shape, 1)), *layers])
        if any(layer >= len(layers) or max(on, default=k + 1) > k for k, (layer, on) in enumerate(self.calls or ())):
            raise SettingError("the network's calls refer to layers or values that do not exist")
        if any(size < 1 for size in shape):
            raise ShapeError(f"the network's input shape is {shape}; every size must be above 0")
        if self.dtype not in ("float32", "float64"):
            raise unknown("dtype", self.dtype, ("float32", "float64"))
        object.__setattr__(self, "layers", _tied_by_name(layers))
        object.__setattr__(self, "input_shape", shape)
        size = self.parameters.size  # shapes that don't fit should be known here
        require(size <= MOST_WEIGHTS, f"the network has {size:,} weights; at most {MOST_WEIGHTS:,} are possible")

    @cached_property
    def graph(self) -> Graph:
        """The nodes in execution order."""
        children = name_layers(self.layers)
        return trace(self._wire, [self.input_shape], children)

    def _wire(self, x: Symbol) -> Symbol:
        if self.calls is None:
            for layer in self.layers:
                x = layer(x)
            return x
        values = [x]
        for number, inputs in self.calls:
            values.append(self.layers[number](*(values[k] for k in inputs)))
        return values[-1]

    def summary(self) -> Summary:
        """Its layers, with the shapes of their outputs and their numbers of weights."""
        sizes = [self.input_shape, self.output_shape]
        inputs, outputs = (" x ".join(map(str, shape)) or "1" for shape in sizes)
        about = f"input {inputs}, output {outputs}, {self.parameters.size:,} weights in {self.dtype}"
        return Summary("Network", about, table=self.table)

    @property
    def table(self) -> Table:
        """A row for each use of a layer, of time steps for the first: name, kind, shape of the
        output, number of weights.
        """
        rows = []
        for node in self.graph.distinct:
            shape = " x ".join(map(str, node.built.output_shape))
            rows.append([node.name, node.layer.kind, shape, f"{node.weights:,}" if node.weights else ""])
        rows.append(["total", "", "", f"{self.parameters.size:,}"])
        return Table(f"{len(rows)} layers", ("layer", "kind", "output", "weights"), rows, "llrr")

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every use of a leaf, in execution order."""
        return self.graph.nodes

    @property
    def output_shape(self) -> Shape:
        """The prediction's shape for one sample."""
        return self.graph.output_shape

    @cached_property
    def of_one_position(self) -> Network:
        """The same layers with the same parameters, for sequences of one position. Raises
        SettingError or ShapeError where layers take no other number of positions.
        """
        one = Network(self.layers, (1, *self.input_shape[1:]), self.dtype, self.calls)
        owners, nodes = self.graph.owners, list[Node]()
        for node in one.nodes:
            require(node.owner in owners, f"layer {node.name}: it exists for one position alone")
            of_all = owners[node.owner].built
            built = replace(node.built, parameters=of_all.parameters, statistics=of_all.statistics)
            nodes.append(replace(node, built=built))
        graph = replace(one.graph, nodes=tuple(nodes))
        vars(one).update(graph=graph, parameters=self.parameters, statistics=self.statistics)
        return one

    @cached_property
    def parameters(self) -> Layout:
        """Where each parameter lies in the flat vector."""
        owned = self.graph.owners.items()
        every = {f"{owner}.{name}": p for owner, node in owned for name, p in node.built.parameters.items()}
        regularized = {name for name, p in every.items() if p.regularized}
        return Layout.of({name: p.shape for name, p in every.items()}, regularized)

    @cached_property
    def statistics(self) -> Layout:
        """Where each statistic lies in its vector."""
        owned = self.graph.owners.items()
        return Layout.of({f"{o}.{name}": shape for o, n in owned for name, (shape, _) in n.built.statistics.items()})

    def draw(self, seed: int = 0) -> Vector:
        """Initial weights: each array drawn from its distribution, keyed by (seed, layer,
        parameter). Raises SettingError for a distribution beyond the network's numbers.
        """
        drawn, largest = np.empty(self.parameters.size), np.finfo(self.dtype).max
        for owner, node in self.graph.owners.items():
            for name, p in node.built.parameters.items():
                distribution = p.distribution or distributions.glorot_uniform()
                with np.errstate(all="ignore"):  # checked next
                    draw = distribution.draw(generators.generator(seed, "weights", owner, name), p.shape, p.fans)
                fits = not draw.size or (draw.min() >= -largest and draw.max() <= largest)  # NaN is neither
                require(
                    fits, f"{owner}.{name}: its distribution draws numbers beyond {self.dtype}; choose smaller ones"
                )
                drawn[self.parameters[f"{owner}.{name}"].place] = draw.ravel()
        return drawn.astype(self.dtype)

    def start_statistics(self) -> Vector:
        """The statistics before any training."""
        built = [statistic for node in self.graph.owners.values() for statistic in node.built.statistics.values()]
        return np.concatenate([np.empty(0), *(np.full(math.prod(s), value) for s, value in built)]).astype(self.dtype)

    def params(self, parameters: Vector, statistics: Vector | None = None) -> dict[str, dict[str, Array]]:
        """Views into the flat vectors as the layers take them: by layer, then by name."""
        if parameters.shape != (self.parameters.size,):
            raise ShapeError(
                f"the network has {self.parameters.size} parameters, but the vector has the shape {parameters.shape}"
            )
        given: dict[str, dict[str, Array]] = {node.owner: {} for node in self.nodes}
        kept = [(self.parameters, parameters)]
        if self.statistics.entries:
            kept.append((self.statistics, self.start_statistics() if statistics is None else statistics))
        for layout, vector in kept:
            for entry in layout.entries:
                given[entry.owner][entry.own_name] = vector[entry.place].reshape(entry.shape)
        return given

    def predict(self, parameters: Vector, x: Any, statistics: Vector | None = None, batch_size: int = 4096) -> Array:
        """The prediction for x of shape (samples, *input_shape), at inference: no dropout, running
        statistics.
        """
        x, params = x if isinstance(x, Deferred) else self.fit_input(x), self.params(parameters, statistics)
        if len(self.input_shape) > 1:
            batch_size = max(1, min(batch_size, MOST_NUMBERS // max(1, math.prod(self.input_shape))))
        starts = range(0, max(len(x), 1), batch_size)
        parts = [tape.predict(self.graph, params, [self.fit_input(x[k : k + batch_size])]) for k in starts]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def fit_input(self, x: Any) -> Array:
        """x in the network's precision, several inputs packed; raises ShapeError unless its samples
        have the input's shape.
        """
        x = pack(x) if isinstance(x, tuple) else np.asarray(x)
        if x.shape[1:] != self.input_shape:
            raise ShapeError(
                f"the network takes samples of shape {self.input_shape}, but the input has samples of shape"
                f" {x.shape[1:]}"
            )
        return x.astype(self.dtype, copy=False)

    def flatten(self, tree: Mapping[str, Params], layout: Layout) -> Vector:
        """One flat vector from arrays by layer and name; 0 where there is none."""
        vector = np.zeros(layout.size, dtype=self.dtype)
        for entry in layout.entries:
            array = tree.get(entry.owner, {}).get(entry.own_name)
            if array is not None:
                vector[entry.place] = np.asarray(array).ravel()
        return vector


def _tied_by_name(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The same layers, of which those that use another's weights name it: a recipe keeps names."""
    names = {id(layer): name for name, layer in name_layers(layers).items()}
    return tuple(
        replace(layer, tied_to=names[id(layer.tied_to)]) if id(layer.tied_to) in names else layer  # type: ignore[call-arg]
        for layer in layers
    )


def of_sequences(layers: Sequence[Layer], shape: Shape, dtype: str = "float32") -> Network:
    """A network of layers one after another, for samples of the shape (time, features) that are
    packed with their lengths. A layer that takes lengths gets them as long as there are as many
    positions as time steps.

    Raises SettingError if no layer takes them.
    """
    x, lengths = Input(shape), Input(1)
    y, are_used = _read(separate(layers), x, lengths.reshape())
    require(are_used, "the samples have lengths, but no layer takes them; begin with one such as lstm 64")
    return Network(inputs=[x, lengths], outputs=y, dtype=dtype)


def _read(layers: Sequence[Layer], x: Symbol, lengths: Symbol) -> tuple[Symbol, bool]:
    """What layers one after another make of a sequence, and whether one of them takes lengths."""
    steps, are_used = x.shape[0], False
    for layer in layers:
        is_sequence = len(x.shape) > 1 and x.shape[0] == steps
        takes, is_masked = is_sequence and layer.takes_lengths, is_sequence and layer.reads_neighbours
        are_used |= takes
        if is_masked and not takes:
            x = Mask()(x, lengths)
        x = layer(x, lengths) if takes else layer(x)
    return x, are_used


def of_texts(
    layers: Sequence[Layer],
    texts: Sequence[tuple[int, Layer]],
    reader: Sequence[Layer],
    others: int = 0,
    of_others: Sequence[Layer] = (),
    dtype: str = "float32",
) -> Network:
    """A network for samples of so many other inputs and then, of each text, the numbers of its
    tokens and how many they are.

    Args:
        layers: what is made of everything, side by side
        texts: of each text how many tokens are read at most, and the layer that embeds them
        reader: what is made of a text's embedded tokens; each text has layers of its own
        others: the number of inputs before those of the texts
        of_others: what is made of those first

    Raises ShapeError if a position at a time is left of a text after the reader.
    """
    inputs: list[Input] = [Input(others)] if others else []
    read: list[Symbol] = []
    for layer in separate(of_others) if others else ():
        read = [layer(*(read or inputs))]
    read = read or [*inputs]
    for time, embedding in texts:
        x, lengths = Input(time), Input(1)
        own = copy.deepcopy([embedding, *separate(reader)])  # the same object twice would share its weights
        y, are_used = _read(own[1:], own[0](x), lengths.reshape())
        if len(y.shape) != 1:
            problem = f"a text as the shape {y.shape}, not as one row of numbers"
            raise ShapeError(f"the layers that read a text leave {problem}; end them with one such as gru 64")
        require(are_used, "the layers that read a text take no lengths; use one that does, such as gru 64")
        inputs += [x, lengths]
        read.append(y)
    y = Concatenate()(*read) if len(read) > 1 else read[0]
    for layer in separate(layers):
        y = layer(y)
    return Network(inputs=inputs, outputs=y, dtype=dtype)


def _recorded(inputs: Any, outputs: Any) -> tuple[tuple[Any, ...], tuple[Call, ...], Shape]:
    """The layers, the calls and the input shape of a graph of symbols."""
    ins: list[Any] = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    outs: list[Any] = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    fits = bool(ins) and all(isinstance(x, Input) for x in ins)
    require(fits, f"a network's inputs are one Input(...), or a list of them, not {inputs!r}")
    require(len({id(x) for x in ins}) == len(ins), "an Input stands twice among the network's inputs")
    fits = bool(outs) and all(isinstance(y, Symbol) for y in outs)
    require(fits, f"a network's outputs are symbols, one or more, not {outputs!r}")
    before = calls_before(outs, ins)
    layers, calls, numbers = list[Any](), list[Call](), dict[int, int]()

    def call(layer: Any, on: Sequence[int]) -> int:
        known = next((k for k, other in enumerate(layers) if other is layer), None)
        if known is None:
            layers.append(layer)
        calls.append((len(layers) - 1 if known is None else known, tuple(on)))
        return len(calls)

    shape, begin = ins[0].shape, 0
    if len(ins) == 1:
        numbers[ins[0].number] = 0
    else:
        shape = (sum(math.prod(x.shape) for x in ins),)
        for x in ins:
            own = call(Slice(begin, begin + math.prod(x.shape)), [0])
            numbers[x.number] = own if len(x.shape) == 1 else call(Reshape(x.shape), [own])
            begin += math.prod(x.shape)
    for symbol in before:
        numbers[symbol.number] = call(symbol.layer, [numbers[x.number] for x in symbol.inputs])  # type: ignore[attr-defined]
    ends = [numbers[y.number] for y in outs]
    if len(ends) > 1 or ends[0] != len(calls):
        call(Concatenate(), ends)
    return tuple(layers), tuple(calls), shape
