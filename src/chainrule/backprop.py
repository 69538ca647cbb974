"""Backpropagation: the loss and gradient of a batch, by a forward and a backward pass.

It only computes derivatives; the updates are in `descent`.

Examples:
    >>> import numpy as np
    >>> from chainrule.layers import Dense, Sigmoid
    >>> from chainrule.losses import HalfSquares
    >>> network = Network([Dense(1), Sigmoid()], input_shape=1, dtype="float64")
    >>> weights = np.array([2.0, -1.0])  # dense_1.W[0, 0] and dense_1.b[0]
    >>> x, y = np.array([[0.5]]), np.array([[1.0]])
    >>> result = differentiate(network, HalfSquares(), weights, x, y)
    >>> result.loss  # the prediction is sigmoid(2 * 0.5 - 1) = 0.5, so the loss is (0.5 - 1)^2 / 2
    0.125
    >>> result.gradient  # (0.5 - 1) * 0.5 * (1 - 0.5) = -0.125, times 0.5 for W, times 1 for b
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
        loss: the mean loss of the batch, including penalties
        data_loss: the mean loss of the batch, without penalties
        gradient: the derivative with respect to every parameter, as a flat vector
        input: the derivative with respect to x, if requested
        tape: all intermediate values and their derivatives
    """

    loss: float
    data_loss: float
    gradient: Vector
    input: Array | None
    tape: Tape


def forward_pass(
    network: Network, parameters: Vector, x: Any, statistics: Vector | None = None, context: Context | None = None,
    only_output: bool = False,
) -> Tape:  # fmt: skip
    """Run the forward pass on x, of shape (samples, *input_shape); the prediction is the tape's
    output.
    """
    params = network.params(parameters, statistics)
    return Tape(network.graph, params, [network.fit_input(x)], context or Context(), only_output=only_output)


def backward_pass(
    network: Network, tape: Tape, dprediction: Array, wants_input: bool = False
) -> tuple[Vector, Array | None]:
    """Run the backward pass from dL/dprediction: the gradient of the parameters, as a flat
    vector, and, if requested, of the input.
    """
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
    """The loss and gradient of a batch: the forward pass, the loss, and the backward pass.

    Args:
        network: the network
        loss: the loss
        parameters: the flat vector of parameters
        x: (samples, *input_shape) the inputs
        y: the targets, in a shape that the loss takes
        statistics: the flat vector of running statistics
        sample_weight: (samples,) the weight of each sample in the loss
        penalties: the penalties that are added to the loss
        context: whether to train, and the random key of dropout
        wants_input: whether to compute the derivative with respect to x

    Raises:
        ShapeError: if the shapes don't fit
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
    """The running statistics after a training batch; the same vector if the network has none."""
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
    """The loss that `differentiate` computes, with penalties but without the backward pass."""
    prediction = forward_pass(network, parameters, x, statistics, context, only_output=True).output
    value = loss.value(prediction, y, sample_weight)
    return value + sum(penalty.value(parameters, network.parameters) for penalty in penalties)
