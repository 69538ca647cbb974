"""BatchNorm and LayerNorm: bring numbers to mean 0 and variance 1, then let the network choose another scale and
offset.

Both normalise over a set of numbers, BatchNorm over the samples of a feature, LayerNorm over the features of a
sample. Every output of the set depends on every input of it, by way of their mean and variance, and so the derivative
of one input has a term for each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from chainrule import distributions
from chainrule.arrays import Array, Params, Shape
from chainrule.errors import require
from chainrule.layers.base import Built, Context, Formulas, Layer, Parameter, Terms, places


class Normalized(NamedTuple):
    """What the backward pass needs."""

    unit: Array
    """x brought to mean 0 and variance 1, in x's shape"""
    inverse: Array
    """1 / the deviation, in a shape that broadcasts to x's"""
    mean: Array | None = None
    variance: Array | None = None
    """of this batch, features only; None when the running ones were used"""


def _feature_sum(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1]).sum(axis=0)


def _scale_and_offset_terms(saved: Normalized, dy: Array, name: str, index: Shape) -> list[Terms]:
    unit = index[0]
    upstream = dy[..., unit].ravel()
    local = saved.unit[..., unit].ravel() if name == "scale" else np.ones_like(upstream)
    at = places(dy.shape[:-1])
    return [Terms(upstream, local, np.column_stack([at, np.full(len(at), unit)]))]


def _through_normalization(saved: Normalized, dunit: Array, mean: Callable[[Array], Array]) -> Array:
    """dx from the derivative at the normalised numbers; `mean` averages over the normalised set."""
    return saved.inverse * (dunit - mean(dunit) - saved.unit * mean(dunit * saved.unit))


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Each feature (last axis) brought to mean 0 and variance 1 over the batch, then times scale plus offset (Ioffe
    and Szegedy, 2015).

    After training the running mean and variance take the batch's place: running = momentum * running + (1 - momentum)
    * batch's, with the unbiased variance. Parameters: scale and offset, both of shape (features,).
    """

    momentum: float = 0.9
    epsilon: float = 1e-5

    passes_scale = True

    def __post_init__(self) -> None:
        require(
            0 <= self.momentum < 1,
            f"batch norm: the momentum is {self.momentum}; it is a share from 0 up to, but not, 1",
        )
        require(self.epsilon > 0, f"batch norm: epsilon is {self.epsilon}; it must be positive")

    @property
    def formulas(self) -> Formulas:
        return Formulas(
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
            saved = Normalized((x - mean) * inverse, inverse, mean, variance)
        else:
            inverse = 1 / np.sqrt(params["variance"] + x.dtype.type(self.epsilon))
            saved = Normalized((x - params["mean"]) * inverse, inverse)
        return params["scale"] * saved.unit + params["offset"], saved

    def backward(
        self, params: Params, saved: Any, dy: Array, wants_input: bool = True
    ) -> tuple[Array | None, dict[str, Any]]:
        gradients = {"scale": _feature_sum(dy * saved.unit), "offset": _feature_sum(dy)}
        if not wants_input:
            return None, gradients
        dunit = dy * params["scale"]
        if saved.mean is None:
            return dunit * saved.inverse, gradients
        return _through_normalization(saved, dunit, lambda t: t.mean(axis=tuple(range(t.ndim - 1)))), gradients

    def parameter_terms(self, params: Params, saved: Any, dy: Array, name: str, index: Shape) -> list[Terms]:
        return _scale_and_offset_terms(saved, dy, name, index)

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> list[Terms]:
        feature = index[-1]
        at = places(dy.shape[:-1])
        own = (at == np.array(index[:-1])).all(axis=1)
        local = own.astype(dy.dtype)
        if saved.mean is not None:
            unit = saved.unit[..., feature].ravel()
            local = local - (1 + saved.unit[index] * unit) / len(at)
        local = local * params["scale"][feature] * saved.inverse[feature]
        return [Terms(dy[..., feature].ravel(), local, np.column_stack([at, np.full(len(at), feature)]))]

    def updated_statistics(self, params: Params, saved: Any) -> dict[str, Any]:
        if saved.mean is None:
            return {}
        count = saved.unit.size // saved.unit.shape[-1]
        unbiased = saved.variance * (count / max(count - 1, 1))
        keep, take = self.momentum, 1 - self.momentum
        return {
            "mean": keep * params["mean"] + take * saved.mean,
            "variance": keep * params["variance"] + take * unbiased,
        }


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Each sample brought to mean 0 and variance 1 over its features (last axis), then times scale plus offset (Ba et
    al., 2016).

    Parameters: scale and offset, both of shape (features,).
    """

    epsilon: float = 1e-5

    passes_scale = True

    def __post_init__(self) -> None:
        require(self.epsilon > 0, f"layer norm: epsilon is {self.epsilon}; it must be positive")

    @property
    def formulas(self) -> Formulas:
        return Formulas(
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

    def backward(
        self, params: Params, saved: Any, dy: Array, wants_input: bool = True
    ) -> tuple[Array | None, dict[str, Any]]:
        gradients = {"scale": _feature_sum(dy * saved.unit), "offset": _feature_sum(dy)}
        if not wants_input:
            return None, gradients
        return _through_normalization(saved, dy * params["scale"], lambda t: t.mean(axis=-1, keepdims=True)), gradients

    def parameter_terms(self, params: Params, saved: Any, dy: Array, name: str, index: Shape) -> list[Terms]:
        return _scale_and_offset_terms(saved, dy, name, index)

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> list[Terms]:
        *before, i = index
        unit = saved.unit[tuple(before)]
        features = np.arange(len(unit))
        local = (features == i) - (1 + unit[i] * unit) / len(unit)
        local = local * params["scale"] * saved.inverse[(*before, 0)]
        at = np.column_stack([*(np.full(len(unit), k) for k in before), features])
        return [Terms(dy[tuple(before)], local, at)]


def _scale_and_offset(features: Shape) -> dict[str, Parameter]:
    return {"scale": Parameter(features, distributions.ones()), "offset": Parameter(features, distributions.zeros())}


_PARAMETER_FORMULAS = {
    "scale": r"\frac{\partial L}{\partial \gamma_j} = \sum_n \frac{\partial L}{\partial y_{nj}}\, \hat{x}_{nj}",
    "offset": r"\frac{\partial L}{\partial \beta_j} = \sum_n \frac{\partial L}{\partial y_{nj}}",
}
