"""BatchNorm and LayerNorm: normalize to mean 0 and variance 1, then apply a learned scale and
offset.

BatchNorm normalizes each feature over the samples, LayerNorm each sample over its features. Every
output depends on every input that it is normalized with, through their mean and variance, and so
the derivative of an input has a term for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from chainrule import distributions
from chainrule.arrays import Array, Params, Shape
from chainrule.errors import is_number, require
from chainrule.layers.base import (
    ULPS,
    Backward,
    Built,
    Context,
    Formulas,
    Layer,
    Parameter,
    Terms,
    feature_indices,
    indices,
    row_indices,
)


class Normalized(NamedTuple):
    """What the backward pass needs."""

    unit: Array
    """x normalized to mean 0 and variance 1, in x's shape"""
    inverse: Array
    """1 / the deviation, in a shape that broadcasts to x's"""
    fixed: bool = False
    """whether mean and deviation are the running ones, which do not depend on x"""
    mean: Array | None = None
    variance: Array | None = None
    """of this batch, for BatchNorm's running statistics"""


def _feature_sum(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1]).sum(axis=0)


def _scale_and_offset_terms(saved: Normalized, dy: Array, name: str, index: Shape) -> Terms:
    unit = index[0]
    upstream = dy[..., unit].ravel()
    local = saved.unit[..., unit].ravel() if name == "scale" else np.ones_like(upstream)
    return Terms(upstream, local, feature_indices(dy.shape, unit))


def _through_normalization(saved: Normalized, dunit: Array, mean: Callable[[Array], Array]) -> Array:
    """dx from the derivative of the normalized values; `mean` averages over the normalized axes."""
    return saved.inverse * (dunit - mean(dunit) - saved.unit * mean(dunit * saved.unit))


_PARAMETER_FORMULAS = {
    "scale": r"\frac{\partial L}{\partial \gamma_j} = \sum_n \frac{\partial L}{\partial y_{nj}}\, \hat{x}_{nj}",
    "offset": r"\frac{\partial L}{\partial \beta_j} = \sum_n \frac{\partial L}{\partial y_{nj}}",
}


class Normalization(Layer, register=False):
    """What BatchNorm and LayerNorm share; they differ in the axes that they average over."""

    passes_scale = True
    keeps_units = True

    def over(self, dimensions: int) -> tuple[int, ...]:
        """The axes that an array with this many dimensions is averaged over."""
        raise NotImplementedError

    def parameter_terms(self, params: Params, saved: Any, dy: Array, name: str, index: Shape) -> Terms:
        return _scale_and_offset_terms(saved, dy, name, index)

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> Backward:
        gradients = {"scale": _feature_sum(dy * saved.unit), "offset": _feature_sum(dy)}
        if not wants_input:
            return None, gradients
        dunit = dy * params["scale"]
        if saved.fixed:
            return dunit * saved.inverse, gradients
        return _through_normalization(saved, dunit, lambda t: t.mean(axis=self.over(t.ndim), keepdims=True)), gradients

    def _averaged(self, x: Array) -> int:
        return int(np.prod([x.shape[axis] for axis in self.over(x.ndim)]))

    def _spread(self, x: Array, inverse: Array) -> Array:
        """The largest value in units of the standard deviation, plus 1."""
        return 1 + np.abs(x).max(axis=self.over(x.ndim), keepdims=True) * inverse

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        (x,) = inputs
        sizes = np.abs(y) + np.abs(params["scale"]) * (1 + np.abs(saved.unit)) * self._spread(x, saved.inverse)
        return (self._averaged(x) + ULPS) * sizes

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        (x,), over = inputs, self.over(dy.ndim)
        scaled, unit = np.abs(dy * params["scale"]), 1 + np.abs(saved.unit)
        mixed = scaled + scaled.mean(over, keepdims=True) + unit * (scaled * unit).mean(over, keepdims=True)
        return [(self._averaged(x) + ULPS) * saved.inverse * mixed * self._spread(x, saved.inverse)]


@dataclass(frozen=True)
class BatchNorm(Normalization):
    """Normalizes each feature (last axis) over the batch, then applies scale and offset (Ioffe and
    Szegedy, 2015).

    Inference uses the running mean and variance, updated in training as running = momentum *
    running + (1 - momentum) * batch's, with the unbiased variance. Parameters: scale and offset,
    both of shape (features,).

    Attributes:
        momentum: the weight of the old running statistics, from 0 up to, but not including, 1
        epsilon: is added to the variance
    """

    momentum: float = 0.9
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        require(
            is_number(self.momentum, least=0, below=1),
            f"batch norm: the momentum is {self.momentum!r}; it must be at least 0 and less than 1",
        )
        require(is_number(self.epsilon, above=0), f"batch norm: epsilon is {self.epsilon!r}; it must be positive")

    formulas = Formulas(
        forward=(
            r"y_{nj} = \gamma_j \hat{x}_{nj} + \beta_j, \quad \hat{x}_{nj} = \frac{x_{nj} - \mu_j}{\sqrt{\sigma_j^2"
            r" + \epsilon}}"
        ),
        input=r"\frac{\partial L}{\partial x_{nj}} = \frac{\gamma_j}{\sqrt{\sigma_j^2 + \epsilon}} \sum_m "
        r"\Big([m = n] - \tfrac{1}{N} - \tfrac{1}{N}\hat{x}_{nj}\hat{x}_{mj}\Big) \frac{\partial L}{\partial"
        r" y_{mj}}",
        parameters=_PARAMETER_FORMULAS,
    )

    def build(self, input_shape: Shape) -> Built:
        if not input_shape:
            raise self.misfit(input_shape, "a list of features for each sample")
        features = input_shape[-1:]
        return Built(input_shape, _scale_and_offset(features), {"mean": (features, 0.0), "variance": (features, 1.0)})

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        if context.training:
            over = tuple(range(x.ndim - 1))
            mean, variance = x.mean(axis=over), x.var(axis=over)
            inverse = 1 / np.sqrt(variance + x.dtype.type(self.epsilon))
            saved = Normalized((x - mean) * inverse, inverse, False, mean, variance)
        else:
            inverse = 1 / np.sqrt(params["variance"] + x.dtype.type(self.epsilon))
            saved = Normalized((x - params["mean"]) * inverse, inverse, True)
        return params["scale"] * saved.unit + params["offset"], saved

    def over(self, dimensions: int) -> tuple[int, ...]:
        return tuple(range(dimensions - 1))

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        feature = index[-1]
        at = indices(dy.shape[:-1])
        own = (at == np.array(index[:-1])).all(axis=1)
        local = own.astype(dy.dtype)
        if not saved.fixed:
            unit = saved.unit[..., feature].ravel()
            local = local - (1 + saved.unit[index] * unit) / len(at)
        local = local * params["scale"][feature] * saved.inverse[feature]
        return Terms(dy[..., feature].ravel(), local, feature_indices(dy.shape, feature))

    def updated_statistics(self, params: Params, saved: Any) -> dict[str, Any]:
        if saved.fixed:
            return {}
        count = saved.unit.size // saved.unit.shape[-1]
        unbiased = saved.variance * (count / max(count - 1, 1))
        keep, take = self.momentum, 1 - self.momentum
        return {
            "mean": keep * params["mean"] + take * saved.mean,
            "variance": keep * params["variance"] + take * unbiased,
        }


@dataclass(frozen=True)
class LayerNorm(Normalization):
    """Normalizes each sample over its features (last axis), then applies scale and offset (Ba et
    al., 2016).

    Parameters: scale and offset, both of shape (features,).

    Attributes:
        epsilon: is added to the variance
    """

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        require(is_number(self.epsilon, above=0), f"layer norm: epsilon is {self.epsilon!r}; it must be positive")

    formulas = Formulas(
        forward=(
            r"y_{nj} = \gamma_j \hat{x}_{nj} + \beta_j, \quad \hat{x}_{nj} = \frac{x_{nj} - \mu_n}{\sqrt{\sigma_n^2"
            r" + \epsilon}}"
        ),
        input=r"\frac{\partial L}{\partial x_{ni}} = \frac{1}{\sqrt{\sigma_n^2 + \epsilon}} \sum_j \gamma_j "
        r"\Big([i = j] - \tfrac{1}{K} - \tfrac{1}{K}\hat{x}_{ni}\hat{x}_{nj}\Big) \frac{\partial L}{\partial"
        r" y_{nj}}",
        parameters=_PARAMETER_FORMULAS,
    )

    def build(self, input_shape: Shape) -> Built:
        if not input_shape:
            raise self.misfit(input_shape, "a list of features for each sample")
        return Built(input_shape, _scale_and_offset(input_shape[-1:]))

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
        inverse = 1 / np.sqrt(variance + x.dtype.type(self.epsilon))
        saved = Normalized((x - mean) * inverse, inverse)
        return params["scale"] * saved.unit + params["offset"], saved

    def over(self, dimensions: int) -> tuple[int, ...]:
        return (dimensions - 1,)

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        *before, i = index
        unit = saved.unit[tuple(before)]
        features = np.arange(len(unit))
        local = (features == i) - (1 + unit[i] * unit) / len(unit)
        local = local * params["scale"] * saved.inverse[(*before, 0)]
        return Terms(dy[tuple(before)], local, row_indices(before, len(unit)))


def _scale_and_offset(features: Shape) -> dict[str, Parameter]:
    return {
        "scale": Parameter(features, distributions.ones(), regularized=False),
        "offset": Parameter(features, distributions.zeros(), regularized=False),
    }
