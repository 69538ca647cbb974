"""Dropout and ChannelDropout: in training, random units or whole channels are set to 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import generators
from chainrule.arrays import Array, Params, Shape
from chainrule.errors import is_number, require
from chainrule.layers.base import Backward, Context, Formulas, Layer, Terms, one_term


@dataclass(frozen=True)
class Dropout(Layer):
    """In training each unit is set to 0 with probability `rate`, and divided by 1 - rate otherwise;
    afterwards it is passed on (Srivastava et al., 2014). The mask is keyed by (seed, step, node),
    so that any step's mask can be drawn again.
    """

    rate: float = 0.5

    passes_scale = True
    keeps_units = True
    local_symbol = "mask"

    def __post_init__(self) -> None:
        require(
            is_number(self.rate, least=0, below=1),
            f"dropout: the rate is {self.rate!r}; it must be at least 0 and less than 1",
        )

    formulas = Formulas(
        forward=r"a_{ni} = m_{ni}\, x_{ni}, \quad m_{ni} \in \{0, \tfrac{1}{1 - p}\}",
        input=r"\frac{\partial L}{\partial x_{ni}} = m_{ni}\, \frac{\partial L}{\partial a_{ni}}",
    )

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        if not context.training or not context.dropout or self.rate == 0:
            return x, None
        shape = self.mask_shape((context.first + len(x), *x.shape[1:]))
        keep = generators.keep_mask(shape, self.rate, context.step, context.seed, "dropout", context.place)
        keep = keep[context.first :]
        mask = keep * x.dtype.type(1 / (1 - self.rate))
        return x * mask, mask

    def mask_shape(self, shape: Shape) -> Shape:
        """The shape of the mask for inputs of this shape."""
        return shape

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> Backward:
        if not wants_input:
            return None, {}
        return (dy if saved is None else dy * saved), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        return one_term(dy, index, 1 if saved is None else np.broadcast_to(saved, dy.shape)[index])

    def note(self, local: float, outputs: Array) -> str:
        return "" if local else "dropped in this step, so nothing comes through"

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return np.abs(y)


@dataclass(frozen=True)
class ChannelDropout(Dropout):
    """In training each channel of a sample is set to 0 at all of its positions with probability
    `rate`, and divided by 1 - rate otherwise (Tompson et al., 2015, "SpatialDropout").

    Neighbouring positions of a channel say nearly the same, so that dropping single ones, as
    Dropout does, would take little away. The mask is drawn for (samples, channels), keyed as in
    Dropout.
    """

    accepts_images = True

    def mask_shape(self, shape: Shape) -> Shape:
        return (shape[0], *(1,) * (len(shape) - 2), shape[-1])
