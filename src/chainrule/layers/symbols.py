"""Symbols: the values of a network that is being wired, and how they are combined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from typing import Any

from chainrule.arrays import Shape
from chainrule.errors import SettingError, require
from chainrule.layers.base import Layer


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

    def steps(self, order: Iterable[int]) -> Iterator[int]:
        """These time steps, one by one, in the `wire` of a composite: `for t in x.steps(range(9))`.

        What is called in the body belongs to that step. The same call in every step is the same
        layer, which has its parameters once.
        """
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


from chainrule.layers import operators, shaping  # noqa: E402  (symbols are combined by leaves)
