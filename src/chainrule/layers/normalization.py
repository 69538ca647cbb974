"""BatchNorm, LayerNorm, GroupNorm and RMSNorm: normalize numbers to mean 0 and variance 1, then
apply a learned scale and offset.

They differ in the numbers that are normalized together: BatchNorm normalizes each feature over
samples and positions, LayerNorm each sample and position over its features, GroupNorm each sample
over its positions and a group of its channels. RMSNorm does as LayerNorm, but leaves the mean.
Every output depends on every input that it is normalized with, through their mean and variance,
and so the derivative of an input has a term for each of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from chainrule import distributions
from chainrule.arrays import Array, Params, Shape
from chainrule.errors import ShapeError, is_integer, is_number, require
from chainrule.layers.base import (
    ULPS,
    Backward,
    Built,
    Context,
    Formulas,
    Layer,
    Parameter,
    Terms,
    by_sample,
    feature_indices,
    one_term,
    row_indices,
)
from chainrule.layers.windows import crossed

Reduction = Callable[..., Any]
"""numpy.mean, numpy.var or numpy.max."""


class Normalized(NamedTuple):
    """What the backward pass needs."""

    unit: Array
    """x normalized, in x's shape"""
    inverse: Array
    """1 / the deviation, in a shape that broadcasts to x's"""
    fixed: bool = False
    """whether mean and deviation are the running ones, which do not depend on x"""
    mean: Array | None = None
    variance: Array | None = None
    """of this batch, for BatchNorm's running statistics"""


def _feature_sum(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1]).sum(axis=0)


_SCALE = {"scale": r"\frac{\partial L}{\partial \gamma_j} = \sum_n \frac{\partial L}{\partial y_{nj}}\, \hat{x}_{nj}"}
_OFFSET = {"offset": r"\frac{\partial L}{\partial \beta_j} = \sum_n \frac{\partial L}{\partial y_{nj}}"}


class Normalization(Layer, register=False):
    """What all share; they differ in which numbers are normalized together."""

    passes_scale = True
    keeps_units = True

    centred: ClassVar[bool] = True
    """Whether the mean is subtracted, and an offset added."""
    epsilon: float  # a setting of each

    def together(self, t: Array, reduce: Reduction) -> Array:
        """The mean, say, of all the numbers that are normalized together, in a shape that
        broadcasts to t's.
        """
        raise NotImplementedError

    def members(self, index: Shape, shape: Shape) -> Array:
        """(K, d) the indices of all numbers that are normalized together with that at `index`."""
        raise NotImplementedError

    def count(self, shape: Shape) -> int:
        """How many numbers of an array of this shape are normalized together."""
        raise NotImplementedError

    def build(self, input_shape: Shape) -> Built:
        if not input_shape:
            raise self.misfit(input_shape, "a list of features for each sample")
        names = [("scale", distributions.ones()), *([("offset", distributions.zeros())] * self.centred)]
        features = input_shape[-1:]
        return Built(input_shape, {name: Parameter(features, start, regularized=False) for name, start in names})

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        mean, variance = self.together(x, np.mean), self.together(x, np.var)
        inverse = 1 / np.sqrt(variance + x.dtype.type(self.epsilon))
        saved = Normalized((x - mean) * inverse, inverse)
        return self.scaled(params, saved.unit), saved

    def scaled(self, params: Params, unit: Array) -> Array:
        """The output from the normalized numbers."""
        y = params["scale"] * unit
        return y + params["offset"] if self.centred else y

    def sample_products(self, params: Params, saved: Any, dy: Array, along: Params) -> Array:
        return by_sample(dy, self.scaled(along, saved.unit))

    def parameter_terms(self, params: Params, saved: Any, dy: Array, name: str, index: Shape) -> Terms:
        unit = index[0]
        upstream = dy[..., unit].ravel()
        local = saved.unit[..., unit].ravel() if name == "scale" else np.ones_like(upstream)
        return Terms(upstream, local, feature_indices(dy.shape, unit))

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> Backward:
        gradients = {"scale": _feature_sum(dy * saved.unit)}
        if self.centred:
            gradients["offset"] = _feature_sum(dy)
        if not wants_input:
            return None, gradients
        dunit = dy * params["scale"]
        if saved.fixed:
            return dunit * saved.inverse, gradients
        centred = dunit - self.together(dunit, np.mean) if self.centred else dunit
        return saved.inverse * (centred - saved.unit * self.together(dunit * saved.unit, np.mean)), gradients

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        inverse = np.broadcast_to(saved.inverse, dy.shape)[index]
        if saved.fixed:
            return one_term(dy, index, params["scale"][index[-1]] * inverse)
        at = self.members(index, dy.shape)
        own = (at == np.array(index)).all(axis=1).astype(dy.dtype)
        local = own - (self.centred + saved.unit[index] * saved.unit[tuple(at.T)]) / len(at)
        return Terms(dy[tuple(at.T)], local * params["scale"][at[:, -1]] * inverse, at)

    def _spread(self, x: Array, inverse: Array) -> Array:
        """The largest value in units of the standard deviation, plus 1."""
        return 1 + self.together(np.abs(x), np.max) * inverse

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        (x,) = inputs
        sizes = np.abs(y) + np.abs(params["scale"]) * (1 + np.abs(saved.unit)) * self._spread(x, saved.inverse)
        return (self.count(x.shape) + ULPS) * sizes

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        (x,) = inputs
        scaled, unit = np.abs(dy * params["scale"]), 1 + np.abs(saved.unit)
        mixed = scaled + self.together(scaled, np.mean) + unit * self.together(scaled * unit, np.mean)
        return [(self.count(x.shape) + ULPS) * saved.inverse * mixed * self._spread(x, saved.inverse)]


def _require_epsilon(word: str, epsilon: Any) -> None:
    require(is_number(epsilon, above=0), f"{word}: epsilon is {epsilon!r}; it must be positive")


@dataclass(frozen=True)
class BatchNorm(Normalization):
    """Normalizes each feature (last axis) over the samples of the batch and over all positions,
    then applies scale and offset (Ioffe and Szegedy, 2015).

    x has the shape (samples, ..., features); of pictures, (samples, height, width, channels), each
    channel has one mean and one variance. Inference uses the running mean and variance, updated in
    training as running = momentum * running + (1 - momentum) * batch's, with the unbiased variance.
    Parameters: scale and offset, both of shape (features,).

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
        _require_epsilon("batch norm", self.epsilon)

    formulas = Formulas(
        forward=(
            r"y_{nj} = \gamma_j \hat{x}_{nj} + \beta_j, \quad \hat{x}_{nj} = \frac{x_{nj} - \mu_j}{\sqrt{\sigma_j^2"
            r" + \epsilon}}"
        ),
        input=r"\frac{\partial L}{\partial x_{nj}} = \frac{\gamma_j}{\sqrt{\sigma_j^2 + \epsilon}} \sum_m "
        r"\Big([m = n] - \tfrac{1}{N} - \tfrac{1}{N}\hat{x}_{nj}\hat{x}_{mj}\Big) \frac{\partial L}{\partial"
        r" y_{mj}}",
        parameters=_SCALE | _OFFSET,
    )

    def build(self, input_shape: Shape) -> Built:
        built, features = super().build(input_shape), input_shape[-1:]
        return Built(input_shape, built.parameters, {"mean": (features, 0.0), "variance": (features, 1.0)})

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        if context.training:
            over = tuple(range(x.ndim - 1))
            mean, variance = x.mean(axis=over), x.var(axis=over)
            inverse = 1 / np.sqrt(variance + x.dtype.type(self.epsilon))
            saved = Normalized((x - mean) * inverse, inverse, False, mean, variance)
        else:
            inverse = 1 / np.sqrt(params["variance"] + x.dtype.type(self.epsilon))
            saved = Normalized((x - params["mean"]) * inverse, inverse, True)
        return self.scaled(params, saved.unit), saved

    def together(self, t: Array, reduce: Reduction) -> Array:
        return np.asarray(reduce(t, axis=tuple(range(t.ndim - 1)), keepdims=True))

    def members(self, index: Shape, shape: Shape) -> Array:
        return feature_indices(shape, index[-1])

    def count(self, shape: Shape) -> int:
        return math.prod(shape[:-1])

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
    """Normalizes each sample, at each position, over its features (last axis), then applies scale
    and offset (Ba et al., 2016).

    x has the shape (samples, ..., features). Parameters: scale and offset, both of shape
    (features,).

    Attributes:
        epsilon: is added to the variance
    """

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        _require_epsilon("layer norm", self.epsilon)

    formulas = Formulas(
        forward=(
            r"y_{nj} = \gamma_j \hat{x}_{nj} + \beta_j, \quad \hat{x}_{nj} = \frac{x_{nj} - \mu_n}{\sqrt{\sigma_n^2"
            r" + \epsilon}}"
        ),
        input=r"\frac{\partial L}{\partial x_{ni}} = \frac{1}{\sqrt{\sigma_n^2 + \epsilon}} \sum_j \gamma_j "
        r"\Big([i = j] - \tfrac{1}{K} - \tfrac{1}{K}\hat{x}_{ni}\hat{x}_{nj}\Big) \frac{\partial L}{\partial"
        r" y_{nj}}",
        parameters=_SCALE | _OFFSET,
    )

    def together(self, t: Array, reduce: Reduction) -> Array:
        return np.asarray(reduce(t, axis=-1, keepdims=True))

    def members(self, index: Shape, shape: Shape) -> Array:
        return row_indices(index[:-1], shape[-1])

    def count(self, shape: Shape) -> int:
        return shape[-1]


@dataclass(frozen=True)
class RMSNorm(LayerNorm):
    """Divides each sample, at each position, by the root mean square of its features (last axis),
    then applies a scale (Zhang and Sennrich, 2019).

    x has the shape (samples, ..., features). Parameter: scale, of shape (features,).

    Attributes:
        epsilon: is added to the mean square
    """

    notation = "rms_norm"
    centred = False

    formulas = Formulas(
        forward=(
            r"y_{nj} = \gamma_j \hat{x}_{nj}, \quad \hat{x}_{nj} = \frac{x_{nj}}{\sqrt{\tfrac{1}{K} \sum_i x_{ni}^2"
            r" + \epsilon}}"
        ),
        input=r"\frac{\partial L}{\partial x_{ni}} = \frac{1}{\sqrt{\tfrac{1}{K} \sum_k x_{nk}^2 + \epsilon}} \sum_j"
        r" \gamma_j \Big([i = j] - \tfrac{1}{K}\hat{x}_{ni}\hat{x}_{nj}\Big) \frac{\partial L}{\partial y_{nj}}",
        parameters=_SCALE,
    )

    def forward(self, params: Params, x: Array, context: Context) -> tuple[Array, Any]:
        inverse = 1 / np.sqrt(self.together(x * x, np.mean) + x.dtype.type(self.epsilon))
        saved = Normalized(x * inverse, inverse)
        return self.scaled(params, saved.unit), saved


@dataclass(frozen=True)
class GroupNorm(Normalization):
    """Normalizes each sample over all positions and a group of its channels (last axis), then
    applies scale and offset (Wu and He, 2018).

    x has the shape (samples, positions..., channels); a group is channels / groups channels in a
    row. With as many groups as channels it is instance normalization. Parameters: scale and
    offset, both of shape (channels,).

    Attributes:
        groups: the number of groups
        epsilon: is added to the variance

    Raises:
        ShapeError: where the channels can't be divided into groups of the same size
    """

    groups: int = 8
    epsilon: float = 1e-5

    accepts_images = True

    def __post_init__(self) -> None:
        groups = self.groups
        require(is_integer(groups) and groups > 0, f"group norm: groups is {groups!r}; it takes an integer above 0")
        _require_epsilon("group norm", self.epsilon)

    formulas = Formulas(
        forward=(
            r"y_{npj} = \gamma_j \hat{x}_{npj} + \beta_j, \quad \hat{x}_{npj} = \frac{x_{npj} - \mu_{ng}}"
            r"{\sqrt{\sigma_{ng}^2 + \epsilon}}, \quad j \in g"
        ),
        input=r"\frac{\partial L}{\partial x_{npi}} = \frac{1}{\sqrt{\sigma_{ng}^2 + \epsilon}} \sum_q \sum_{j \in g}"
        r" \gamma_j \Big([p = q, i = j] - \tfrac{1}{K} - \tfrac{1}{K}\hat{x}_{npi}\hat{x}_{nqj}\Big)"
        r" \frac{\partial L}{\partial y_{nqj}}",
        parameters=_SCALE | _OFFSET,
    )

    def build(self, input_shape: Shape) -> Built:
        if input_shape and input_shape[-1] % self.groups:
            raise ShapeError(
                f"layer {self.called}: the {input_shape[-1]} channels of its input, of shape {input_shape}, can't be"
                f" divided into {self.groups} groups of the same size"
            )
        return super().build(input_shape)

    def together(self, t: Array, reduce: Reduction) -> Array:
        grouped = t.reshape(len(t), -1, self.groups, t.shape[-1] // self.groups)
        reduced = reduce(grouped, axis=(1, 3), keepdims=True)
        return np.broadcast_to(reduced, grouped.shape).reshape(t.shape)

    def members(self, index: Shape, shape: Shape) -> Array:
        sample, *_, channel = index
        size = shape[-1] // self.groups
        group = channel // size * size + np.arange(size)
        return crossed([np.array([sample]), *map(np.arange, shape[1:-1]), group])

    def count(self, shape: Shape) -> int:
        return math.prod(shape[1:]) // self.groups


@dataclass(frozen=True)
class UnitNorm(Layer):
    """y = x / max(|x|, epsilon): each sample, at each position, is divided by the length of its
    features (last axis), so that products of two such are cosines (Luo et al., 2018).

    Attributes:
        epsilon: the smallest length that is divided by

    Examples:
        >>> UnitNorm().forward({}, np.array([[3.0, 4.0]]), None)[0].round(6).tolist()
        [[0.6, 0.8]]
    """

    epsilon: float = 1e-12

    notation = "unit_norm"
    passes_scale = True
    keeps_units = True
    formulas = Formulas(
        forward=r"y_{nj} = \frac{x_{nj}}{\max(\lVert x_n \rVert, \epsilon)}",
        input=r"\frac{\partial L}{\partial x_{ni}} = \frac{1}{\lVert x_n \rVert} \sum_j"
        r" \big([i = j] - y_{ni} y_{nj}\big) \frac{\partial L}{\partial y_{nj}}",
    )

    def __post_init__(self) -> None:
        _require_epsilon("unit norm", self.epsilon)

    def build(self, input_shape: Shape) -> Built:
        if not input_shape:
            raise self.misfit(input_shape, "a list of features for each sample")
        return Built(input_shape)

    def forward(self, params: Params, x: Array, context: Any) -> tuple[Array, Any]:
        length = np.sqrt((x * x).sum(axis=-1, keepdims=True))
        inverse = 1 / np.maximum(length, x.dtype.type(self.epsilon))
        return x * inverse, (x * inverse, inverse, length > self.epsilon)

    def backward(self, params: Params, saved: Any, dy: Array, wants_input: bool = True) -> Backward:
        y, inverse, varies = saved
        return (inverse * (dy - varies * y * (dy * y).sum(axis=-1, keepdims=True)) if wants_input else None), {}

    def input_terms(self, params: Params, saved: Any, dy: Array, index: Shape) -> Terms:
        y, inverse, varies = saved
        *row, i = index
        own, at = y[tuple(row)], row_indices(row, dy.shape[-1])
        local = (np.arange(len(own)) == i) - varies[(*row, 0)] * own[i] * own
        return Terms(dy[tuple(row)], (inverse[(*row, 0)] * local).astype(dy.dtype), at)

    def output_error(self, params: Params, saved: Any, inputs: Sequence[Array], y: Array) -> Array:
        return (y.shape[-1] + ULPS) * np.abs(y)

    def input_error(self, params: Params, saved: Any, inputs: Sequence[Array], dy: Array) -> list[Array]:
        y, inverse, _ = saved
        mixed = np.abs(dy) + np.abs(y) * (np.abs(dy) * np.abs(y)).sum(axis=-1, keepdims=True)
        return [(2 * dy.shape[-1] + ULPS) * inverse * mixed]
