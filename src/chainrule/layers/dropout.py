"""Dropout: while training, units are silenced by chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chainrule import generators
from chainrule.arrays import Array, Params, Shape
from chainrule.errors import require
from chainrule.layers.base import Context, Formulas, Layer, Terms, samples_of


@dataclass(frozen=True)
class Dropout(Layer):
    """While training, each unit is 0 with probability `rate` and divided by 1 - rate otherwise; afterwards it is
    handed on (Srivastava et al., 2014). The mask is keyed by (seed, step, place), so any step's mask can be had
    again.
    """

    rate: float = 0.5

    passes_scale = True

    def __post_init__(self) -> None:
        require(0 <= self.rate < 1, f"dropout: the rate is {self.rate}; it is a share from 0 up to, but not, 1")

    @property
    def formulas(self) -> Formulas:
        return Formulas(
            forward=r"a_{ni} = m_{ni}\, x_{ni}, \quad m_{ni} \in \{0, \tfrac{1}{1 - p}\}",
            input=r"\frac{\partial L}{\partial x_{ni}} = m_{ni}\, \frac{\partial L}{\partial a_{ni}}",
        )

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        if not context.training or self.rate == 0:
            return x, None
        keep = generators.keep_mask(x.shape, self.rate, context.step, context.seed, "dropout", context.place)
        mask = keep * x.dtype.type(1 / (1 - self.rate))
        return x * mask, mask

    def backward(
        self, params: Params, saved: Any, dy: Array, wants_input: bool = True
    ) -> tuple[Array | None, dict[str, Any]]:
        if not wants_input:
            return None, {}
        return (dy if saved is None else dy * saved), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> list[Terms]:
        upstream = dy[index].reshape(1)
        local = upstream * 0 + (1 if saved is None else saved[index])
        return [Terms(upstream, local, samples_of(index))]
