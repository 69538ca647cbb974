"""Forecasts of time series, from what the series did a season ago."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.arrays import Shape
from chainrule.errors import ShapeError, is_integer, require
from chainrule.layers.combinators import Sequential
from chainrule.layers.normalization import GroupNorm
from chainrule.layers.operators import Add, Concatenate, Scale
from chainrule.layers.pooling import AdaptiveAveragePool
from chainrule.layers.resizing import Upsample, ZeroPad
from chainrule.layers.shaping import Reshape, Slice
from chainrule.layers.symbols import Symbol

SMALLEST = 1e-12
"""What is added to a variance: a small series beside large ones has a variance of about 1e-6."""


@dataclass(frozen=True)
class Seasonal(Sequential):
    """The seasonal naive forecast, which repeats the last season, and a correction by the layers
    inside.

    x of shape (time, features) is a window of a series; its first feature is what is forecast. The
    layers take it less its mean over the last season, so that a level that never occurred before is
    nothing new to them, and give the correction. Where their output layer starts at 0, training
    begins at the naive forecast (Hyndman and Athanasopoulos, 2021, section 5.2).

    Series of different sizes have much in common once each is measured in units of its own: with
    `scaled`, the layers take the window normalized, and the correction is multiplied by its
    standard deviation (as in Kim et al., 2022), so what is learned from large series holds for
    small ones.

    Attributes:
        layers: what makes the correction, with one output for each step, or several
        horizon: the steps to forecast
        season: after how many steps the series repeats itself; 1 for the last value
        first: the first of the outputs that the naive forecast is added to, where there are several
            for a step
        scaled: whether each window, and its correction, is in units of its own standard deviation
        sized: whether the layers take a scaled window in units of the data as well, which outputs
            other than forecasts depend on, such as deviations

    Examples:
        >>> from chainrule.layers import Dense, Flatten, Input
        >>> Seasonal([Flatten(), Dense(24)], horizon=24, season=12)(Input((48, 3))).shape
        (24,)
    """

    horizon: int = 1
    season: int = 1
    first: int = 0
    scaled: bool = False
    sized: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("horizon", 1), ("season", 1), ("first", 0)):
            value = getattr(self, name)
            fits = is_integer(value) and value >= least
            require(fits, f"seasonal: {name} is {value!r}; it takes an integer from {least}")

    def lacks_channels(self, input_shape: Shape) -> bool:
        return False  # the features of a window are its channels

    def wire(self, x: Symbol) -> Symbol:
        if len(x.shape) != 2 or x.shape[0] < self.season:
            wanted = f"(time, features) of at least {self.season} steps"
            raise ShapeError(f"layer {self.called}: it takes windows of the shape {wanted}, not {x.shape}")
        steps, features = x.shape
        own = Slice(0, 1, 1)(x)
        last = Slice(steps - self.season, steps, 0)(own)
        level = AdaptiveAveragePool(1)(last)
        centred = Add(name="centred")(own, Scale(-1.0)(Upsample(steps)(level)))
        taken, size = centred, None
        if self.scaled:
            taken = GroupNorm(1, SMALLEST, name="normalized")(centred)
            variance_by_deviation = AdaptiveAveragePool(1)(taken * centred)
            size = Upsample(self.horizon)(variance_by_deviation).reshape(self.horizon)
        inputs = [taken]
        if features > 1:
            inputs.append(Slice(1, features, 1)(x))
        if self.scaled and self.sized:
            inputs.append(centred)
        correction = super().wire(_joined(inputs))
        end = self.first + self.horizon
        if len(correction.shape) != 1 or correction.shape[0] < end:
            problem = f"the layers inside give the shape {correction.shape}, not {end} outputs or more"
            raise ShapeError(f"layer {self.called}: {problem}; let a dense layer be the last, after flatten")
        if size is not None:
            correction = self._multiplied(correction, size)
        naive, after = _joined(self._naive(last)), correction.shape[0] - end
        if self.first or after:
            naive = ZeroPad(self.first, after)(naive.reshape(self.horizon, 1)).reshape(-1)
        return correction + naive

    def _multiplied(self, outputs: Symbol, size: Symbol) -> Symbol:
        """The outputs, of which those that are forecasts are multiplied by these numbers."""
        count, end = outputs.shape[0], self.first + self.horizon
        if count == self.horizon:
            return outputs * size
        parts = [Slice(self.first, end, 0)(outputs) * size]
        if self.first:
            parts.insert(0, Slice(0, self.first, 0)(outputs))
        if end < count:
            parts.append(Slice(end, count, 0)(outputs))
        return _joined(parts)

    def _naive(self, last: Symbol) -> list[Symbol]:
        """The last season, (season, 1), repeated over the horizon."""
        whole, rest = divmod(self.horizon, self.season)
        parts = [Reshape((self.season,))(last)] * whole
        if rest:
            parts.append(Reshape((rest,))(Slice(0, rest, 0)(last)))
        return parts


def _joined(parts: list[Symbol]) -> Symbol:
    """One after another."""
    return Concatenate()(*parts) if len(parts) > 1 else parts[0]
