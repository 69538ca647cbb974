"""The layer interface: immutable settings, and pure functions over arrays.

In every function x is a layer's input and y its output, samples first; dy = dL/dy is the derivative
that arrives at the output, dx = dL/dx the one that leaves at the input. Backward multiplies what
arrives by the layer's local derivative: that is the chain rule, and `Terms` are its single
products.

A layer with several inputs takes them side by side, `forward(params, x, y, context)`; its backward
returns a tuple with one derivative per input, and its `input_terms` take the input's number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chainrule.arrays import Array, Params, Shape
from chainrule.distributions import Distribution, Fans
from chainrule.errors import SettingError, ShapeError
from chainrule.kinds import Kind

if TYPE_CHECKING:
    from chainrule.layers.symbols import Symbol

Backward = tuple[Any, dict[str, Any]]
"""What backward gives: dx, one for each input if there are several, and gradients by name."""

ULPS = 8
"""Units in the last place by which a function of one number may be off."""


@dataclass(frozen=True)
class Parameter:
    """An array that is learned.

    Attributes:
        shape: its shape
        distribution: its initializer; None for the one that suits the activation after it
        fans: (fan_in, fan_out), which scale the initial values
        regularized: whether penalties and weight decay apply to it, as they do to weights but not
            to biases
    """

    shape: Shape
    distribution: Distribution | None
    fans: Fans = (1, 1)
    regularized: bool = True


@dataclass(frozen=True)
class Built:
    """A layer's shapes and parameters for given input shapes. Shapes exclude the batch axis.

    Attributes:
        output_shape: the shape of the output
        parameters: the arrays that gradient descent learns
        statistics: arrays updated in training without a gradient, such as a running mean: the shape
            and the initial value of each
    """

    output_shape: Shape
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    statistics: Mapping[str, tuple[Shape, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """The mode of a forward pass.

    Attributes:
        training: True for batch statistics and dropout, False for inference
        seed, step, place: the key of the random numbers; place is the node's name
        dropout: False disables dropout in training
        first: the place of the first sample in its mini-batch, of which a process may have a share
    """

    training: bool = False
    seed: int = 0
    step: int = 0
    place: str = ""
    dropout: bool = True
    first: int = 0

    def at(self, place: str) -> Context:
        """The context for the node of this name."""
        return Context(self.training, self.seed, self.step, place, self.dropout, self.first)


@dataclass(frozen=True)
class Terms:
    """Products of the chain rule; their sum is a derivative, or a part of one.

    Attributes:
        upstream: (K,) derivatives of the loss with respect to outputs of the layer
        local: (K,) derivatives of those outputs with respect to the entry in question
        at: (K, d) the index of each output: sample first, then positions, then the feature
        node: the name of the node whose outputs they are; set by the tape
        time: the time step that the node belongs to, if it belongs to one; set by the tape
    """

    upstream: Array
    local: Array
    at: Array
    node: str = ""
    time: int | None = None

    @property
    def products(self) -> Array:
        """(K,) upstream times local, term by term."""
        return self.upstream * self.local

    def of(self, node: str, time: int | None = None) -> Terms:
        """The same terms, with the node's name and time step."""
        return Terms(self.upstream, self.local, self.at, node, time)


def total(terms: Iterable[Terms]) -> float:
    """The derivative that these terms add up to."""
    return float(sum(np.sum(group.products) for group in terms))


@dataclass(frozen=True)
class Formulas:
    """A layer's rules in LaTeX: forward, and the derivatives of the input and of each parameter."""

    forward: str
    input: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def crossings(d: Array) -> Array:
    """Where entries of d, whose first axis is points on a line, change their sign, as
    `Layer.jumps`.
    """
    flat = d.reshape(len(d), -1)
    k, entry = np.nonzero((flat[:-1] > 0) != (flat[1:] > 0))
    before, after = flat[k, entry], flat[k + 1, entry]
    return k + before / (before - after)


@dataclass(frozen=True)
class Layer(Kind):
    """A layer. Subclasses define what it computes, its derivative, and the terms of its chain rule.

    Called on symbols, a layer becomes part of a graph: `Dense(3)(Input(4))`.
    """

    name: str | None = field(default=None, kw_only=True)

    initial: ClassVar[str | None] = None
    """The distribution that suits weights whose output passes through this layer, if any."""
    passes_scale: ClassVar[bool] = False
    """Whether the layer after this one determines the initializer of the weights before it."""
    elementwise: ClassVar[bool] = False
    """Whether each output depends on the input at the same index alone, by a fixed function."""
    keeps_units: ClassVar[bool] = False
    """Whether output k belongs to the unit that input k comes from, as an activation's does."""
    in_text: ClassVar[bool] = True
    """Whether a network given as text can name it."""
    accepts_images: ClassVar[bool] = False
    """Whether it takes images as they are; a network given as text flattens them otherwise."""
    reads_neighbours: ClassVar[bool] = False
    """Whether an output depends on several positions, and their number is not told: what fills up a
    sequence is then set to 0 before the layer.
    """
    takes_lengths: ClassVar[bool] = False
    """Whether its last input may be the number of valid positions of each sample."""
    output_symbol: ClassVar[str] = "y"
    """The symbol of its output: z, a or y."""
    tied_to: ClassVar[Any] = None
    """The layer whose parameters it uses, or its name; None if it has its own. A class for which
    this is a setting gets what that layer was built to as `shared` in `build`.
    """
    local_symbol: ClassVar[str] = "\u2202y/\u2202x"
    """The symbol of the derivative of an output with respect to an input."""

    counts_positions: ClassVar[bool] = False
    """Whether it distinguishes the positions of a sequence, and so knows only as many as there were
    in training.
    """

    takes_tokens: ClassVar[bool] = False
    """Whether it takes the numbers of a text's tokens; a network given as text embeds them
    otherwise.
    """

    @property
    def kind(self) -> str:
        """The kind of layer, such as "Dense"."""
        return type(self).__name__

    @property
    def word(self) -> str:
        """The kind in names of layers: dense, max_pool."""
        return self.notation or snake(self.kind)

    @property
    def formulas(self) -> Formulas:
        """The forward rule and the derivatives in symbols; a class attribute where it is fixed."""
        raise self._undefined("formulas")

    @property
    def parts(self) -> tuple[Layer, ...]:
        """The layers that this one stands for, in sequence; by default only itself."""
        return (self,)

    def lacks_channels(self, input_shape: Shape) -> bool:
        """Whether samples of this shape lack the axis of channels that the layer takes. If it comes
        first in a network, they get one.
        """
        return False

    def __call__(self, *inputs: Symbol) -> Symbol:
        """The symbol of this layer's output for these inputs."""
        if not inputs or any(not hasattr(x, "call") for x in inputs):
            raise SettingError(
                f"layer {self.called}: it is called on symbols, as in {self.kind}(...)(Input(4)); to"
                " compute with arrays, build a Network"
            )
        return inputs[0].call(self, inputs)

    def build(self, input_shape: Shape) -> Built:
        """The output shape and the parameters; raises ShapeError for an unsuitable input shape."""
        return Built(input_shape)

    def forward(self, params: Params, x: Any, context: Any) -> tuple[Array, Any]:
        """The output, and whatever backward needs. (Operators take several inputs.)"""
        raise self._undefined("forward")

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> tuple[Any, dict[str, Any]]:
        """dx (None unless wanted), and the gradient of every parameter by name."""
        raise self._undefined("backward")

    def input_derivative(self, params: Params, saved: Any, dy: Array) -> Any:
        """dx alone; of layers whose gradients take long, without computing them."""
        return self.backward(params, saved, dy)[0]

    def parameter_terms(self, params: Params, saved: Any, dy: Array, name: str, index: Shape) -> Terms:
        """The terms whose sum is the gradient of parameter `name` at `index`."""
        raise self._undefined("parameter_terms")

    def sample_products(self, params: Params, saved: Any, dy: Array, along: Params) -> Array:
        """(samples,) the product of each sample's share of the gradient with arrays like the
        parameters: of the sum over that sample's terms. They add up to the whole gradient's. By
        this definition one sample after another; layers with weights do it at once.
        """
        products, alone = np.zeros(len(dy), dy.dtype), np.zeros_like(dy)
        for n in range(len(dy)):
            alone[n] = dy[n]
            _, gradients = self.backward(params, saved, alone, False)
            products[n] = sum(np.vdot(along[name], gradient) for name, gradient in gradients.items())
            alone[n] = 0
        return products

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        """The terms whose sum is dx at `index`, sample first."""
        raise self._undefined("input_terms")

    def updated_statistics(self, params: Params, saved: Any) -> dict[str, Any]:
        """The statistics after a training batch of which forward kept `saved`."""
        return {}

    def part(self, saved: Any) -> tuple[slice, ...] | None:
        """The part of its input that a layer copies, if it does nothing else; the derivative of the
        input is dy there, and 0 elsewhere. So where many layers read parts of the same value, none
        of them writes all of it.
        """
        return None

    # What it takes from earlier positions, for texts that are continued (engine/continuation.py)

    def looks_back(self, positions: Shape) -> int | None:
        """How many positions before its own an output depends on, with so many positions: on those
        right before it, and on none after it. None for all that there are.
        """
        return 0

    # Which positions meet; None for layers that lay no windows on positions

    def reads(self, positions: Shape) -> list[list[Array]] | None:
        """For each axis of so many positions, the inputs that each output along it depends on: one
        output along each axis, where all of the input is one window.
        """
        return None

    def taps(self, positions: Shape, at: Shape) -> list[tuple[Array, Array]] | None:
        """What the output of a convolution at this position adds up: for each axis of so many
        positions, the inputs there, -1 for padding, and the place of the kernel that each meets.
        """
        return None

    def meeting(self, positions: Shape, place: Shape) -> list[tuple[slice, slice]] | None:
        """Where a convolution uses the weights at a place of its kernel: for each axis of so many
        positions, the outputs, and the inputs that they are multiplied by there.
        """
        return None

    def channels_read(self, channel: int, inputs: int) -> Array:
        """Which of so many channels in a channel out of a convolution reads: those of its group."""
        return np.arange(inputs)

    def winners(self, saved: Any) -> Array | None:
        """(samples, positions..., channels) the number of the position, in row-major order, of the
        input that each output of a pooling by maximum is a copy of.
        """
        return None

    def jumps(self, x: Array, saved: Any) -> Array:
        """Where the derivative jumps along a straight line through points, whose inputs are x: k +
        s for the share s of the way from point k to the next, as if everything between were linear.
        """
        return np.zeros(0)

    # For explanations, cost models and rounding bounds

    def cost(self, built: Built) -> float:
        """The approximate number of multiply-adds per sample, forward and backward."""
        return 30.0 * np.prod(built.output_shape, dtype=float)

    def linear(self, params: Params, unit: int) -> tuple[Array, float] | None:
        """The weight of each input and the constant, if the output is a weighted sum of inputs."""
        return None

    def describe(self, parameter: str, index: Shape, source: Callable[[int], str]) -> str:
        """What a parameter's entry connects, in words; `source` names an input of the layer."""
        return ""

    def letters(self, parameter: str, dimensions: int) -> tuple[str, ...]:
        """The letters for the indices of a parameter in `formulas`."""
        return ("j",) if dimensions == 1 else ("i", "j")[:dimensions]

    def source(self, index: Shape, *input_shapes: Shape) -> tuple[int, Shape] | None:
        """What the output at `index` (of one sample) is a copy of, if of anything: the number of
        the input, and the index there.
        """
        return None

    def note(self, local: float, outputs: Array) -> str:
        """Why little or nothing passes through a unit with this local derivative and these
        outputs.
        """
        return ""

    def why_unused(self, saved: Any, index: Shape) -> str:
        """Why no output depends on the input at `index`, sample first, where that is so."""
        return ""

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        """A bound on the rounding error of each output, in units in the last place of 1."""
        same = len(inputs) == 1 and inputs[0].shape == y.shape
        return ULPS * (np.abs(y) + np.abs(inputs[0])) if same else np.abs(y)

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> Sequence[Array]:
        """The same for the derivative with respect to each input."""
        dx = self.input_derivative(params, saved, dy)
        # A derivative such as a (1 - a) is off by units in the last place of 1, however small.
        return [
            ULPS * (np.abs(d) + (np.abs(dy) if d.shape == dy.shape else 0))
            for d in (dx if isinstance(dx, tuple) else (dx,))
        ]

    # Errors

    @property
    def called(self) -> str:
        """Its name in messages: its own, or its kind."""
        return self.name or self.word

    def _undefined(self, what: str) -> SettingError:
        """The error for a class that lacks a definition it needs."""
        return SettingError(f"layer {self.called}: its class {self.kind} doesn't define {what}")

    def misfit(self, input_shape: Shape, wants: str, hint: str = "") -> ShapeError:
        """The error for an input shape that this layer can't take."""
        return ShapeError(
            f"layer {self.called}: takes {wants}, but gets the shape {input_shape} from the layer before it{hint}"
        )


def snake(name: str) -> str:
    """`LayerNorm` -> `layer_norm`, `ReLU` -> `relu`: the kind in a layer's name."""
    return re.sub(r"(?<=[a-z])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z]$)", "_", name).lower()


def by_sample(dy: Array, change: Array) -> Array:
    """(samples,) the sum over each sample's outputs of dL/dy times a change of y. Of a layer that
    is linear in its parameters, the change along others is what it computes with these in their
    place.
    """
    return (dy * change).reshape(len(dy), -1).sum(axis=1)


def one_term(dy: Array, index: Shape, local: Any = 1) -> Terms:
    """The term of an entry that only affects the output at this index."""
    upstream = dy[index].reshape(1)
    return Terms(upstream, np.full_like(upstream, local), np.array([index], dtype=np.intp))


def indices(shape: Shape) -> Array:
    """(number of entries, d): the index of each entry of an array of this shape, in order."""
    return np.indices(shape).reshape(len(shape), -1).T


def row_indices(before: Iterable[int], features: int) -> Array:
    """(features, d): the indices of all features of the sample and position `before`."""
    return np.column_stack([*(np.full(features, k) for k in before), np.arange(features)])


def feature_indices(shape: Shape, feature: int) -> Array:
    """The indices of one feature in every sample and position of an array of this shape."""
    rows = indices(shape[:-1])
    return np.column_stack([rows, np.full(len(rows), feature)])
