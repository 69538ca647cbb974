"""Loss and gradient of a batch: the forward pass, the loss, and the backward pass, from the last
layer to the first with weights.

Backpropagation computes derivatives and changes nothing. What uses them is in `descent`.

Examples:
    >>> import numpy as np
    >>> from chainrule.layers import Dense, Sigmoid
    >>> from chainrule.losses import HalfSquares
    >>> network = Network([Dense(1), Sigmoid()], input_shape=1, dtype="float64")
    >>> weights = np.array([2.0, -1.0])  # dense_1.W[0, 0] and dense_1.b[0]
    >>> result = differentiate(network, HalfSquares(), weights, np.array([[0.5]]), np.array([[1.0]]))
    >>> result.loss  # the prediction is sigmoid(2 * 0.5 - 1) = 0.5, so the loss is (0.5 - 1)^2 / 2
    0.125
    >>> result.gradient  # (0.5 - 1) * 0.5 * (1 - 0.5) = -0.125, times 0.5 for the weight, times 1 for the bias
    array([-0.0625, -0.125 ])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.arrays import Array, Vector
from chainrule.layers.base import Context
from chainrule.losses import Loss, Penalty
from chainrule.network import Network
from chainrule.tape import Tape


@dataclass(frozen=True)
class Derivatives:
    """The loss and its derivatives.

    Attributes:
        loss: the loss averaged over the batch, with the penalties
        data_loss: the same without the penalties
        gradient: the derivative with respect to every parameter, as one flat vector
        input: the derivative with respect to x, if it was asked for
        tape: every value, and every derivative that arrived at one
    """

    loss: float
    data_loss: float
    gradient: Vector
    input: Array | None
    tape: Tape


def forward_pass(
    network: Network, parameters: Vector, x: Any, statistics: Vector | None = None, context: Context | None = None
) -> Tape:
    """From x, of shape (samples, *input_shape), to the prediction, which is the tape's output."""
    params = network.params(parameters, statistics)
    return Tape(network.graph, params, [network.fit_input(x)], context or Context())


def backward_pass(
    network: Network, tape: Tape, dprediction: Array, wants_input: bool = False
) -> tuple[Vector, Array | None]:
    """From dL/dprediction to the gradient of every parameter; on to the input only if asked."""
    tape.backward(dprediction, wants_input)
    return network.flatten(tape.gradients, network.parameters), tape.arriving[0] if wants_input else None


def differentiate(
    network: Network,
    loss: Loss,
    parameters: Vector,
    x: Any,
    y: Array,
    *,
    statistics: Vector | None = None,
    sample_weight: Array | None = None,
    penalties: Sequence[Penalty] = (),
    context: Context | None = None,
    wants_input: bool = False,
) -> Derivatives:
    """Loss and gradient of a batch: the forward pass, the loss, and the backward pass.

    x has the shape (samples, *input_shape), y what the loss takes, sample_weight (samples,). Raises ShapeError where
    they don't fit.
    """
    tape = forward_pass(network, parameters, x, statistics, context)
    data_loss = loss.value(tape.output, y, sample_weight)
    dprediction = loss.derivative(tape.output, y, sample_weight)
    gradient, dx = backward_pass(network, tape, dprediction, wants_input)
    value = data_loss
    for penalty in penalties:
        value += penalty.value(parameters, network.parameters)
        gradient = gradient + penalty.gradient(parameters, network.parameters)
    return Derivatives(value, data_loss, gradient, dx, tape)


def updated_statistics(network: Network, tape: Tape, statistics: Vector) -> Vector:
    """The statistics after a training batch; the same vector if the network has none."""
    if not network.statistics.entries:
        return statistics
    return network.flatten(tape.updated_statistics(), network.statistics)


def total_loss(
    network: Network,
    loss: Loss,
    parameters: Vector,
    x: Array,
    y: Array,
    *,
    statistics: Vector | None = None,
    sample_weight: Array | None = None,
    penalties: Sequence[Penalty] = (),
    context: Context | None = None,
) -> float:
    """The loss alone, as `differentiate` would give it."""
    prediction = forward_pass(network, parameters, x, statistics, context).output
    value = loss.value(prediction, y, sample_weight)
    return value + sum(penalty.value(parameters, network.parameters) for penalty in penalties)
