"""Losses whose prediction is a distribution of the target: quantiles, or a mean and a deviation.

A sample's loss is the mean over its target columns, and over the levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.errors import SettingError, ShapeError, is_number, require
from chainrule.losses.base import Loss, like, listed, mean_of_outputs, of_mean, to_train, weighted_mean
from chainrule.losses.ladder import rungs, through_rungs
from chainrule.special import expit, ndtri


@dataclass(frozen=True)
class Quantile(Loss):
    """level * -d where the prediction is too low, (1 - level) * d where it is too high, so that
    the minimum is this quantile of the target (Koenker and Bassett, 1978).
    """

    notation = "quantile"
    averages_outputs = True

    level: float = 0.5

    formula = (r"\frac{1}{K}\sum_j \max(q\,(t_j - y_j), (q - 1)(t_j - y_j))", r"\frac{1}{K}([y_j > t_j] - q)")

    def __post_init__(self) -> None:
        require(
            is_number(self.level, above=0, below=1),
            f"quantile: the level is {self.level!r}; it must be between 0 and 1",
        )

    @property
    def levels(self) -> tuple[float, ...]:
        """The level alone, as in `Quantiles`."""
        return (self.level,)

    def quantiles(self, prediction: Array, levels: Sequence[float]) -> Array:
        return Quantiles(self.levels).quantiles(prediction, levels)

    def through_quantiles(self, prediction: Array, levels: Sequence[float], slopes: Array) -> Array:
        return Quantiles(self.levels).through_quantiles(prediction, levels, slopes)

    def scores(self, prediction: Array, target: Array, unit: Array, weight: Array | None = None) -> dict[str, float]:
        return Quantiles(self.levels).scores(prediction, target, unit, weight)

    def row_losses(self, prediction: Array, target: Array) -> Array:
        d = prediction - like(prediction, target)
        return mean_of_outputs(np.maximum(-self.level * d, (1 - self.level) * d))

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        d = prediction - like(prediction, target)
        return of_mean(np.where(d > 0, 1 - self.level, np.where(d < 0, -self.level, 0)).astype(d.dtype))


@dataclass(frozen=True)
class Quantiles(Loss):
    """The losses of several quantiles, averaged (see `Quantile`); the quantiles never cross.

    For every target column the network has one output for each level. That of the level nearest to
    1/2 is a quantile itself; each of the others is the logarithm of a step, by softplus, from the
    next quantile away from it, as increments of a spline are in Gasthaus et al. (2019). The
    outputs of the first level come first, one for each column.

    Attributes:
        levels: in ascending order, each between 0 and 1
    """

    notation = "quantiles"
    averages_outputs = True

    levels: tuple[float, ...] = (0.05, 0.5, 0.95)

    formula = (
        r"\frac{1}{QK}\sum_{ij} \max(q_i(t_j - y_{ij}), (q_i - 1)(t_j - y_{ij})), \quad "
        r"y_{ij} = z_{bj} \pm \sum_{m \,\text{up to}\, i} \ln(1 + e^{z_{mj}})",
        r"\frac{\partial}{\partial z_{bj}} = \sum_i s_{ij}, \quad \frac{\partial}{\partial z_{mj}} = "
        r"\pm\sigma(z_{mj}) \sum_{i \,\text{from}\, m} s_{ij}, \quad s_{ij} = \frac{1}{QK}([y_{ij} > t_j] - q_i)",
    )

    def __post_init__(self) -> None:
        levels: Any = self.levels
        rule = "they are numbers between 0 and 1, in ascending order, such as 0.05 0.5 0.95"
        problem = f"quantiles: the levels are {levels!r}; {rule}"
        require(isinstance(levels, list | tuple) and len(levels) > 0, problem)
        require(all(is_number(level, above=0, below=1) for level in levels), problem)
        object.__setattr__(self, "levels", tuple(float(level) for level in levels))
        require(all(low < high for low, high in zip(self.levels, self.levels[1:], strict=False)), problem)

    @property
    def base(self) -> int:
        """The number of the level nearest to 1/2; of two, the lower one."""
        return int(np.argmin(np.abs(np.array(self.levels) - 0.5).round(12)))

    def outputs(self, width: int) -> int:
        return len(self.levels) * width

    def width(self, outputs: int) -> int:
        return outputs // len(self.levels)

    def of_levels(self, prediction: Array) -> Array:
        """(samples, levels, columns) the quantiles; raises ShapeError for a prediction that does
        not have one output for every level of every column.
        """
        return rungs(self._outputs(prediction), self.base)

    def quantiles(self, prediction: Array, levels: Sequence[float]) -> Array:
        return self.of_levels(prediction)[:, self._numbers(levels)]

    def through_quantiles(self, prediction: Array, levels: Sequence[float], slopes: Array) -> Array:
        of_rungs = np.zeros(self.of_levels(prediction).shape, slopes.dtype)
        for k, number in enumerate(self._numbers(levels)):
            of_rungs[:, number] += slopes[:, k]
        return through_rungs(self._outputs(prediction), self.base, of_rungs).reshape(prediction.shape)

    def _numbers(self, levels: Sequence[float]) -> list[int]:
        """Which of its levels these are."""
        known = [k for level in levels for k, own in enumerate(self.levels) if math.isclose(level, own)]
        if len(known) < len(levels):
            raise SettingError(f"the quantiles that it predicts are {listed(self.levels)}; {to_train(levels)}")
        return known

    def point(self, prediction: Array) -> Array:
        """The median; if it is none of the levels, interpolated between its neighbours."""
        of_levels, (lower, upper, share) = self.of_levels(prediction), self._median()
        low, high = of_levels[:, lower], of_levels[:, upper]
        return low if lower == upper else (low + (high - low) * of_levels.dtype.type(share)).astype(of_levels.dtype)

    def through_point(self, prediction: Array, slopes: Array) -> Array:
        lower, upper, share = self._median()
        of_rungs = np.zeros(self.of_levels(prediction).shape, slopes.dtype)
        of_rungs[:, lower] += slopes * (1 - share)
        of_rungs[:, upper] += slopes * share
        return through_rungs(self._outputs(prediction), self.base, of_rungs).reshape(prediction.shape)

    def _median(self) -> tuple[int, int, float]:
        """The levels between which the median lies, and the share of the way from one to the other;
        twice the same level if it is one of them, or the nearest if all are on one side.
        """
        levels = np.array(self.levels)
        upper = int(np.searchsorted(levels, 0.5))
        if upper == 0 or upper == len(levels) or levels[upper] == 0.5:
            nearest = min(upper, len(levels) - 1)
            return nearest, nearest, 0.0
        return upper - 1, upper, float((0.5 - levels[upper - 1]) / (levels[upper] - levels[upper - 1]))

    def row_losses(self, prediction: Array, target: Array) -> Array:
        d, levels = self._differences(prediction, target)
        return mean_of_outputs(np.maximum(-levels * d, (1 - levels) * d))

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        d, levels = self._differences(prediction, target)
        of_quantiles = np.where(d > 0, 1 - levels, np.where(d < 0, -levels, 0)).astype(d.dtype)
        slopes = through_rungs(self._outputs(prediction), self.base, of_quantiles)
        return of_mean(slopes.reshape(prediction.shape))

    def scores(self, prediction: Array, target: Array, unit: Array, weight: Array | None = None) -> dict[str, float]:
        d, levels = self._differences(prediction, target)
        found = {"pinball": weighted_mean(np.maximum(-levels * d, (1 - levels) * d) * unit, weight)}
        for low, high in self._pairs():
            share = round(self.levels[high] - self.levels[low], 6)
            inside = (d[:, low] <= 0) & (d[:, high] >= 0)
            found[f"coverage_{share:g}"] = weighted_mean(inside, weight)
            found[f"interval_width_{share:g}"] = weighted_mean((d[:, high] - d[:, low]) * unit, weight)
        return found

    def meaning(self, prediction: Array, output: int) -> str:
        of_levels = self.of_levels(prediction)[0]
        k, column = divmod(output, of_levels.shape[1])
        return f"quantile {self.levels[k]:g} = {of_levels[k, column]:.4g}"

    def _pairs(self) -> list[tuple[int, int]]:
        """The numbers of levels that are symmetric around 1/2, the widest pair first."""
        numbers = range(len(self.levels))
        return [
            (low, high) for low in numbers for high in numbers if math.isclose(self.levels[low] + self.levels[high], 1)
            and low < high
        ]  # fmt: skip

    def _differences(self, prediction: Array, target: Array) -> tuple[Array, Array]:
        """(samples, levels, columns) quantiles minus target, and (levels, 1) the levels."""
        of_levels = self.of_levels(prediction)
        d = of_levels - like(of_levels[:, 0], target)[:, None]
        return d, np.array(self.levels, dtype=d.dtype)[:, None]

    def _outputs(self, prediction: Array) -> Array:
        if prediction.ndim != 2 or prediction.shape[1] % len(self.levels):
            shape = f"the prediction has the shape {prediction.shape[1:]}"
            raise ShapeError(f"quantiles: {shape}; it needs {len(self.levels)} outputs for each target column")
        return prediction.reshape(len(prediction), len(self.levels), -1)


@dataclass(frozen=True)
class GaussianNegativeLogLikelihood(Loss):
    """(ln v + d^2 / v + ln 2 pi) / 2 with the variance v = exp(s) + floor^2, where the network
    predicts a mean and s (Nix and Weigend, 1994).

    The floor bounds the derivatives, which otherwise grow without limit where the targets are
    predicted exactly. The prediction has twice as many columns as the target: the means, then s.

    Attributes:
        floor: the smallest deviation that is predicted, in units of the (scaled) target
    """

    notation = "gaussian"
    averages_outputs = True

    floor: float = 0.001

    formula = (
        r"\frac{1}{2K}\sum_j \ln v_j + \frac{(\mu_j - t_j)^2}{v_j} + \ln 2\pi, \quad v_j = e^{s_j} + \epsilon^2",
        r"\frac{\partial}{\partial\mu_j} = \frac{\mu_j - t_j}{K v_j}, \quad \frac{\partial}{\partial s_j} = "
        r"\frac{e^{s_j}}{2K v_j}\Big(1 - \frac{(\mu_j - t_j)^2}{v_j}\Big)",
    )

    def __post_init__(self) -> None:
        problem = f"gaussian: the floor is {self.floor!r}; it is a deviation, at least 0 and less than 1"
        require(is_number(self.floor, least=0, below=1), problem)

    @property
    def log_floor(self) -> float:
        """The logarithm of the smallest variance."""
        return 2 * math.log(self.floor) if self.floor > 0 else -math.inf

    def outputs(self, width: int) -> int:
        return 2 * width

    def width(self, outputs: int) -> int:
        return outputs // 2

    def point(self, prediction: Array) -> Array:
        return prediction[:, : prediction.shape[1] // 2]

    def deviation(self, prediction: Array) -> Array:
        s = prediction[:, prediction.shape[1] // 2 :]
        return np.exp(np.logaddexp(s, s.dtype.type(self.log_floor)) / 2)

    def through_point(self, prediction: Array, slopes: Array) -> Array:
        return np.concatenate([slopes, np.zeros_like(slopes)], axis=1)

    def through_deviation(self, prediction: Array, slopes: Array) -> Array:
        s = prediction[:, prediction.shape[1] // 2 :]
        local = self.deviation(prediction) * expit(s - s.dtype.type(self.log_floor)) / 2
        return np.concatenate([np.zeros_like(slopes), slopes * local], axis=1)

    def through_quantiles(self, prediction: Array, levels: Sequence[float], slopes: Array) -> Array:
        z = np.asarray(ndtri(np.asarray(levels, dtype=np.float64))).astype(prediction.dtype)[:, None]
        of_deviation = self.through_deviation(prediction, (z * slopes).sum(axis=1))
        return self.through_point(prediction, slopes.sum(axis=1)) + of_deviation

    def quantiles(self, prediction: Array, levels: Sequence[float]) -> Array:
        z = np.asarray(ndtri(np.asarray(levels, dtype=np.float64))).astype(prediction.dtype)[:, None]
        return self.point(prediction)[:, None] + z * self.deviation(prediction)[:, None]

    def row_losses(self, prediction: Array, target: Array) -> Array:
        return mean_of_outputs(self._of_columns(prediction, target))

    def row_slopes(self, prediction: Array, target: Array) -> Array:
        d, s, log_variance = self._split(prediction, target)
        precision = np.exp(-log_variance)
        share = expit(s - s.dtype.type(self.log_floor))  # exp(s) / v
        return np.concatenate([of_mean(d * precision), of_mean(share * (1 - d**2 * precision) / 2)], axis=1)

    def scores(self, prediction: Array, target: Array, unit: Array, weight: Array | None = None) -> dict[str, float]:
        low, high = self.quantiles(prediction, (0.05, 0.95)).swapaxes(0, 1)
        t = like(low, target)
        return {
            "negative_log_likelihood": weighted_mean(self._of_columns(prediction, target) + np.log(unit), weight),
            "coverage_0.9": weighted_mean((low <= t) & (t <= high), weight),
            "interval_width_0.9": weighted_mean((high - low) * unit, weight),
        }

    def meaning(self, prediction: Array, output: int) -> str:
        columns = prediction.shape[1] // 2
        what, values = (
            ("mean", self.point(prediction)) if output < columns else ("deviation", self.deviation(prediction))
        )
        return f"{what} = {values[0, output % columns]:.4g}"

    def _of_columns(self, prediction: Array, target: Array) -> Array:
        d, _, log_variance = self._split(prediction, target)
        return (log_variance + d**2 * np.exp(-log_variance) + d.dtype.type(math.log(2 * math.pi))) / 2

    def _split(self, prediction: Array, target: Array) -> tuple[Array, Array, Array]:
        """Mean minus target, s, and ln v."""
        if prediction.shape[1] % 2:
            columns = f"the prediction has {prediction.shape[1]} columns"
            raise ShapeError(f"gaussian: {columns}; it needs a mean and an s for each target column")
        mean, s = self.point(prediction), prediction[:, prediction.shape[1] // 2 :]
        return mean - like(mean, target), s, np.logaddexp(s, s.dtype.type(self.log_floor))
