"""Recurrence: a cell that is applied at every time step, with the same weights.

A sample has the shape (time, features). `Scan` multiplies the inputs of all time steps by W at
once; then, step by step, the cell adds what U makes of its state, and computes the next one. A step
is wired from the same layers as any other network, so that every product is explained, and the
graph keeps which time step a node belongs to.

Examples:
    >>> from chainrule.layers import Input
    >>> x = Input((20, 3))
    >>> LSTM(8)(x).shape, Scan(LSTM(8), all=True)(x).shape, Bidirectional(GRU(8))(x).shape
    ((8,), (20, 8), (16,))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from chainrule import distributions
from chainrule.arrays import Array, Params, Shape
from chainrule.errors import is_integer, is_number, require
from chainrule.layers.activations import Sigmoid, Tanh, activation
from chainrule.layers.base import Backward, Built, Context, Formulas, Layer, Terms, one_term
from chainrule.layers.dense import Dense
from chainrule.layers.dropout import Dropout
from chainrule.layers.graph import Composite, Run
from chainrule.layers.operators import Add, Concatenate, Multiply, Operator
from chainrule.layers.shaping import Slice
from chainrule.layers.symbols import Symbol


@dataclass(frozen=True)
class Cell(Composite, register=False):
    """What a recurrent network computes at a time step. As a layer it stands for `Scan(cell)`.

    A subclass says in `gates` which weighted sums it takes, and in `step` what it makes of them.

    Attributes:
        units: the number of units of the state
        recurrent_dropout: the rate of the dropout within a step (Semeniuta et al., 2016): of what
            is written to the state, and never of the state, so that nothing that was remembered is
            lost. Each time step has a mask of its own, keyed by (seed, step, node), where the
            node's name has the number of the time step
    """

    units: int
    recurrent_dropout: float = 0.0

    gates: ClassVar[tuple[str, ...]] = ()
    """The names of the weighted sums, in the order in which they lie side by side in W, U and b."""
    states: ClassVar[int] = 1
    """How many arrays of `units` numbers are passed on to the next step; the first is the
    output.
    """
    biases: ClassVar[tuple[float, ...]] = ()
    """The initial bias of each gate; by default 0."""
    adds_biases: ClassVar[bool] = False
    """Whether U has biases of its own."""

    in_text = True

    def __post_init__(self) -> None:
        whole = is_integer(self.units) and self.units > 0
        require(whole, f"{self.word}: {self.units!r} units; it takes a whole number above 0")
        rate = self.recurrent_dropout
        share = is_number(rate, least=0, below=1)
        require(share, f"{self.word}: recurrent_dropout is {rate!r}; it must be at least 0 and less than 1")

    @cached_property
    def parts(self) -> tuple[Layer, ...]:
        return (Scan(replace(self, name=None), name=self.name),)

    def step(self, x: Symbol, *state: Symbol) -> tuple[Symbol, ...]:
        """The state after a time step.

        Args:
            x: (gates * units,) the weighted sums of the step's inputs, biases included
            state: the state before, each array of shape (units,)
        """
        raise self._undefined("step")

    def inputs(self, x: Symbol) -> Symbol:
        """x @ W + b, for all time steps at once."""
        weights = ByGate((distributions.glorot_uniform(),) * len(self.gates))
        biases = ByGate(tuple(map(distributions.Constant, self.biases or (0.0,) * len(self.gates))))
        width = len(self.gates) * self.units
        return GateSums(width, weights=weights, biases=biases, gates=self.gates, name="input")(x)

    def recurrent(self, h: Symbol) -> Symbol:
        """h @ U, with biases where the cell `adds_biases`. U starts with an orthogonal matrix for
        each gate (Saxe et al., 2014).
        """
        weights = ByGate((distributions.Orthogonal(),) * len(self.gates))
        width = len(self.gates) * self.units
        return StateSums(width, weights=weights, bias=self.adds_biases, gates=self.gates, name="state")(h)

    def split(self, sums: Symbol, letter: str) -> list[Symbol]:
        """The weighted sums of each gate, called by this letter and the gate's name."""
        u = self.units
        return [Slice(k * u, (k + 1) * u, name=f"{letter}_{gate}")(sums) for k, gate in enumerate(self.gates)]

    def dropped(self, x: Symbol) -> Symbol:
        """x after the recurrent dropout, if there is one."""
        return Dropout(self.recurrent_dropout)(x) if self.recurrent_dropout else x


@dataclass(frozen=True)
class SimpleRNN(Cell):
    """h_t = f(x_t W + b + h_(t-1) U) (Elman, 1990).

    It writes all of its state anew at every step. So the recurrent dropout is of the state that U
    multiplies (Moon et al., 2015).

    Attributes:
        activation: f, a name or a layer
    """

    activation: str | Layer = "tanh"

    notation = "simple_rnn"
    gates = ("h",)

    def __post_init__(self) -> None:
        super().__post_init__()
        activation(self.activation)  # an unknown one should be known here

    @staticmethod
    def from_text(
        units: int, activation: str = "tanh", all: bool = False, reversed: bool = False, recurrent_dropout: float = 0.0
    ) -> Layer:
        """A simple recurrent network (Elman, 1990): its last state, or with `all` the state after
        each time step.
        """
        return Scan(SimpleRNN(units, recurrent_dropout, activation), all, reversed)

    def step(self, x: Symbol, *state: Symbol) -> tuple[Symbol, ...]:
        (h,) = state
        z = Add(name="z")(x, self.recurrent(self.dropped(h)))
        return (replace(activation(self.activation), name="h")(z),)


@dataclass(frozen=True)
class LSTM(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997), with a forget gate (Gers et al.,
    2000).

    [i, f, g, o] = x_t W + b + h_(t-1) U, where each is `units` wide; then
    c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(g) and h_t = sigmoid(o) tanh(c_t).

    The order of the gates is PyTorch's, whose two biases of a gate are one here. The biases of f
    start at 1, so that the cell remembers at first (Jozefowicz et al., 2015).
    """

    notation = "lstm"
    gates = ("i", "f", "g", "o")
    states = 2
    biases = (0.0, 1.0, 0.0, 0.0)

    @staticmethod
    def from_text(units: int, all: bool = False, reversed: bool = False, recurrent_dropout: float = 0.0) -> Layer:
        """Long short-term memory (Hochreiter and Schmidhuber, 1997): its last state, or with `all`
        the state after each time step.
        """
        return Scan(LSTM(units, recurrent_dropout), all, reversed)

    def step(self, x: Symbol, *state: Symbol) -> tuple[Symbol, ...]:
        h, c = state
        i, f, g, o = self.split(Add(name="z")(x, self.recurrent(h)), "z")
        i, f, g, o = Sigmoid(name="i")(i), Sigmoid(name="f")(f), Tanh(name="g")(g), Sigmoid(name="o")(o)
        kept, written = Multiply(name="kept")(f, c), Multiply(name="written")(i, self.dropped(g))
        c = Add(name="c")(kept, written)
        return Multiply(name="h")(o, Tanh(name="tanh_c")(c)), c


@dataclass(frozen=True)
class GRU(Cell):
    """Gated recurrent unit (Cho et al., 2014), in the variant of cuDNN and PyTorch, where the reset
    gate r multiplies after U, not before.

    r = sigmoid(x_r + u_r), z = sigmoid(x_z + u_z), n = tanh(x_n + r u_n), and
    h_t = (1 - z) n + z h_(t-1), with [x_r, x_z, x_n] = x_t W + b and
    [u_r, u_z, u_n] = h_(t-1) U + b_U, whose biases are parameters, too. The order of the gates is
    PyTorch's.
    """

    notation = "gru"
    gates = ("r", "z", "n")
    adds_biases = True

    @staticmethod
    def from_text(units: int, all: bool = False, reversed: bool = False, recurrent_dropout: float = 0.0) -> Layer:
        """A gated recurrent unit (Cho et al., 2014): its last state, or with `all` the state after
        each time step.
        """
        return Scan(GRU(units, recurrent_dropout), all, reversed)

    def step(self, x: Symbol, *state: Symbol) -> tuple[Symbol, ...]:
        (h,) = state
        (x_r, x_z, x_n), (u_r, u_z, u_n) = self.split(x, "x"), self.split(self.recurrent(h), "u")
        r, z = Sigmoid(name="r")(x_r + u_r), Sigmoid(name="z")(x_z + u_z)
        n = self.dropped(Tanh(name="n")(x_n + Multiply(name="reset")(r, u_n)))
        return (Add(name="h")(n, Multiply(name="kept")(z, h - n)),)  # (1 - z) n + z h


@dataclass(frozen=True)
class Scan(Composite):
    """A cell applied at each time step: x of shape (samples, time, features) becomes the last state
    (samples, units), or the states after all steps, (samples, time, units).

    Its parameters are those of the cell's products: `input.W` of shape (features, gates * units)
    with `input.b`, and `state.U` of shape (units, gates * units). The state starts at 0. With
    lengths, the number of valid steps of each sample, it stays as it is from there on: the last
    output is that of the last valid step, and outputs after it repeat it (in a reversed scan they
    are 0).

    Attributes:
        cell: the cell, such as LSTM(128)
        all: whether there is an output for each time step, or only the last one
        reversed: whether the last time step comes first

    Examples:
        >>> from chainrule.layers import Input
        >>> x, lengths = Input((20, 3)), Input(1).reshape()
        >>> Scan(GRU(8))(x, lengths).shape
        (8,)
    """

    cell: Cell
    all: bool = False
    reversed: bool = False

    accepts_images = True  # a text doesn't flatten what it scans
    takes_lengths = True

    def __post_init__(self) -> None:
        wanted = "scan: it takes a cell, such as LSTM(128), GRU(64) or SimpleRNN(32)"
        require(isinstance(self.cell, Cell), wanted)

    def carries_on(self, inputs: int) -> bool:
        return self.all and not self.reversed and inputs == 1

    def carry_on(self, run: Run, kept: Any, *new: Array) -> tuple[Array, Any]:
        sums = run(self.cell.inputs, *new)
        state, outputs = kept or [np.zeros((len(sums), self.cell.units), sums.dtype)] * self.cell.states, []
        for t in range(sums.shape[1]):
            after = run(lambda x, *state: Concatenate()(*self.cell.step(x, *state)), sums[:, t], *state)
            state = np.split(after, self.cell.states, axis=-1)
            outputs.append(state[0])
        return np.stack(outputs, axis=1), state

    @property
    def word(self) -> str:
        return self.cell.word

    @property
    def children(self) -> Mapping[str, Layer]:
        return {}  # the cell is no layer that is called; its layers are

    def lacks_channels(self, input_shape: Shape) -> bool:
        return len(input_shape) == 1

    def wire(self, x: Symbol, lengths: Symbol | None = None) -> Symbol:
        if len(x.shape) != 2:
            all_steps = "; a layer that scans has an output for each time step with all=True" * (len(x.shape) == 1)
            raise self.misfit(x.shape, "(time, features)", all_steps)
        if lengths is not None and lengths.shape != ():
            raise self.misfit(lengths.shape, "one number for each sample as its second input, the lengths")
        steps, width = x.shape[0], len(self.cell.gates) * self.cell.units
        sums = self.cell.inputs(x).reshape(-1)  # one product for all time steps
        state = tuple(Zeros(self.cell.units)(sums) for _ in range(self.cell.states))
        outputs = []
        for t in x.steps(range(steps)[:: -1 if self.reversed else 1]):
            after = self.cell.step(Slice(t * width, (t + 1) * width, name="x")(sums), *state)
            if lengths is not None:
                after = tuple(While(t)(new, old, lengths) for new, old in zip(after, state, strict=True))
            state = after
            outputs.append(state[0])
        if not self.all:
            return state[0]
        return Concatenate()(*outputs[:: -1 if self.reversed else 1]).reshape(steps, -1)


@dataclass(frozen=True)
class Bidirectional(Composite):
    """Two scans, one from the first time step to the last and one back, whose outputs are joined
    (Schuster and Paliwal, 1997).

    Attributes:
        scan: the scan, or its cell; the second one has weights of its own
    """

    scan: Layer

    accepts_images = True
    takes_lengths = True

    def __post_init__(self) -> None:
        wanted = "bidirectional: it takes one layer that scans, such as LSTM(64) or Scan(GRU(64), all=True)"
        require(isinstance(self.scan, Scan | Cell), wanted)
        object.__setattr__(self, "scan", self.scan.parts[0])

    @cached_property
    def children(self) -> Mapping[str, Layer]:
        scan: Any = self.scan
        return {"forward": scan, "backward": replace(scan, reversed=not scan.reversed)}

    def wire(self, x: Symbol, *lengths: Symbol) -> Symbol:
        return Concatenate()(*(scan(x, *lengths) for scan in self.children.values()))


# What a scan needs besides activations and operators


@dataclass(frozen=True)
class ByGate(distributions.Distribution, register=False):
    """Gates side by side along the last axis, each drawn from its own distribution."""

    each: tuple[distributions.Distribution, ...]

    @property
    def words(self) -> str:
        names = dict.fromkeys(one.words for one in self.each)  # in order, each once
        return ", ".join(names) + " for each gate" * (len(self.each) > 1)

    def draw(self, generator: np.random.Generator, shape: Shape, fans: distributions.Fans) -> Array:
        count = len(self.each)
        own, fans = (*shape[:-1], shape[-1] // count), (fans[0], fans[1] // count)
        return np.concatenate([one.draw(generator, own, fans) for one in self.each], axis=-1)


@dataclass(frozen=True)
class GateSums(Dense, register=False):
    """The weighted sums of a cell's gates, of its inputs: a Dense whose columns are those of the
    gates, side by side.
    """

    gates: tuple[str, ...] = ()

    @property
    def formulas(self) -> Formulas:
        matrix, x = self.matrix, {"W": "x_{ti}", "U": "h_{(t-1)i}"}[self.matrix]
        weights = rf"\frac{{\partial L}}{{\partial {matrix}_{{ij}}}} = \sum_n \sum_t \delta_{{tj}}\, {x}"
        bias = {"b": r"\frac{\partial L}{\partial b_j} = \sum_n \sum_t \delta_{tj}"} if self.bias else {}
        return Formulas(
            forward=rf"z_{{tj}} = \sum_i {x}\, {matrix}_{{ij}}" + (" + b_j" if self.bias else ""),
            input=rf"\frac{{\partial L}}{{\partial {x}}} = \sum_j {matrix}_{{ij}}\, \delta_{{tj}}",
            parameters={matrix: weights} | bias,
        )

    def describe(self, parameter: str, index: Shape, source: Callable[[int], str]) -> str:
        gate, unit = divmod(index[-1], self.units // len(self.gates))
        target = f"gate {self.gates[gate]} of unit {unit}" if len(self.gates) > 1 else f"unit {unit}"
        target += f" in {self.called.rpartition('.')[0]}, at every time step"
        return (
            f"the bias of {target}"
            if parameter == "b"
            else f"the weight from {self.origin(index[0], source)} to {target}"
        )

    def origin(self, index: int, source: Callable[[int], str]) -> str:
        """What a row of the weights belongs to, in words."""
        return source(index)


@dataclass(frozen=True)
class StateSums(GateSums, register=False):
    """The weighted sums of a cell's gates, of the state after the step before. Its weights are
    called U.
    """

    matrix = "U"

    def origin(self, index: int, source: Callable[[int], str]) -> str:
        return f"unit {index} one step before"


@dataclass(frozen=True)
class Zeros(Layer):
    """y = 0, whatever the input: the state before the first time step."""

    units: int

    in_text = False
    local_symbol = "0"
    formulas = Formulas(forward=r"y = 0", input=r"\frac{\partial L}{\partial x} = 0")

    def build(self, input_shape: Shape) -> Built:
        return Built((self.units,))

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Array]:
        return np.zeros((len(x), self.units), x.dtype), x

    def backward(self, params: Params, saved: Array, dy: Array, wants_input: bool = True) -> Backward:
        return (np.zeros_like(saved) if wants_input else None), {}

    def input_terms(self, params: Params, saved: Array, dy: Array, index: Shape) -> Terms:
        return no_terms(dy)

    def output_error(self, params: Params, saved: Array, inputs: Sequence[Array], y: Array) -> Array:
        return y

    def input_error(self, params: Params, saved: Array, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [np.zeros_like(saved)]


@dataclass(frozen=True)
class While(Operator):
    """y = x_1 while a sample lasts, and x_2 from then on: of the states after and before a time
    step, the one that holds.

    Its third input is the number of valid time steps of each sample. It is a count, not a quantity,
    so its derivative is 0.

    Attributes:
        time: the time step, counted from 0; it is valid where it is less than that number
    """

    time: int

    formulas = Formulas(
        forward=r"y_n = \begin{cases} a_n & t < T_n \\ b_n & t \ge T_n \end{cases}",
        input=r"\frac{\partial L}{\partial a_n} = [t < T_n]\, \frac{\partial L}{\partial y_n}, \quad"
        r" \frac{\partial L}{\partial b_n} = [t \ge T_n]\, \frac{\partial L}{\partial y_n}",
    )

    def build(self, *shapes: Shape) -> Built:
        if len(shapes) != 3 or shapes[0] != shapes[1] or shapes[2] != ():
            raise self.unfit(shapes, "choose between two states by a length, with")
        return Built(shapes[0])

    def forward(self, params: Params, *given: Any) -> tuple[Array, Array]:
        new, old, lengths, _ = given
        lasts = (self.time < lengths).reshape(-1, *(1,) * (new.ndim - 1))
        return np.where(lasts, new, old), lasts

    def backward(self, params: Params, saved: Array, dy: Array, wants_input: bool = True) -> Backward:
        if not wants_input:
            return None, {}
        return (dy * saved, dy * ~saved, np.zeros(len(dy), dy.dtype)), {}

    def input_terms(self, params: Params, saved: Array, dy: Array, index: Shape, which: int = 0) -> Terms:
        if which == 2 or bool(saved[index[0]].item()) is (which == 1):
            return no_terms(dy)
        return one_term(dy, index)

    def why_unused(self, saved: Array, index: Shape) -> str:
        if len(index) == 1:
            return f"to {self.called} it is a number of time steps, not a quantity"
        return "after the sample's last time step" if not saved[index[0]].item() else "the sample goes on"

    def additions(self, inputs: Sequence[Array], y: Array) -> tuple[int, ...]:
        return 0, 0, 0, 0


def no_terms(dy: Array) -> Terms:
    """The terms of an entry that no output depends on."""
    empty = np.zeros(0, dtype=dy.dtype)
    return Terms(empty, empty, np.zeros((0, dy.ndim), dtype=np.intp))
