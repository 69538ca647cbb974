"""A training step as a function of JAX, and many of them in one compiled loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from chainrule.arrays import Shape
from chainrule.engine.base import Problem
from chainrule.engine.jax import by_definition, descent, losses, penalties
from chainrule.engine.jax.context import Context
from chainrule.engine.jax.placement import Placement
from chainrule.engine.jax.program import apart, forward, lower, together
from chainrule.engine.lowering import NoKernel, Program


class Carry(NamedTuple):
    """What one step hands to the next.

    Attributes:
        parameters, statistics: the flat vectors
        states: the state of each stage of the optimizer
        step: the number of the next step
    """

    parameters: Any
    statistics: Any
    states: Any
    step: Any


class Seen(NamedTuple):
    """What is kept of the steps of a loop.

    Attributes:
        gradient, update: those of the last step
        losses: the loss of each mini-batch of the block, before its step
        finite: whether all results of the last step were finite
        valid: whether its inputs were valid; if not, the results mean nothing
    """

    gradient: Any
    update: Any
    losses: Any
    finite: Any
    valid: Any


@dataclass(frozen=True)
class Steps:
    """The steps of a problem, for targets of one shape.

    Attributes:
        problem: what is trained
        program: its network's operations
        compute: the dtype of products
        of_data: the loss of a prediction
        of_weights: the penalties and their gradient
        descend: the optimizer's step; None if it has stages that are not lowered
        raised: what a definition raised that a step called
        placement: the devices
    """

    problem: Problem
    program: Program
    compute: Any
    of_data: Callable[..., Any]
    of_weights: Callable[[Any], tuple[Any, Any]] | None
    descend: Callable[..., Any] | None
    raised: list[BaseException]
    placement: Placement

    @staticmethod
    def of(problem: Problem, y_shape: Shape, compute: Any, placement: Placement) -> Steps:
        """The steps for targets of this shape, of one sample."""
        network, raised = problem.network, list[BaseException]()
        try:
            of_data = losses.lower(problem.loss, network.output_shape, y_shape)
        except NoKernel:
            of_data = by_definition.loss_function(problem.loss, raised)
        of_weights: Callable[[Any], tuple[Any, Any]] | None = None
        descend: Callable[..., Any] | None = None
        with suppress(NoKernel):
            of_weights = penalties.lower(problem.penalties, network.parameters)
            descend = descent.lower(problem.optimizer, network.parameters)
        return Steps(problem, lower(problem), compute, of_data, of_weights, descend, raised, placement)

    def context(self, parameters: Any, statistics: Any, training: bool, step: Any = 0) -> Context:
        """The context of a pass."""
        shapes = [value.shape for value in self.program.values]
        return Context(parameters, statistics, shapes, self.dtype, self.compute, training, step, self.raised)

    @property
    def dtype(self) -> Any:
        """The dtype of the weights."""
        return jnp.dtype(self.problem.network.dtype)

    def predict(self, parameters: Any, statistics: Any, x: Any) -> tuple[Any, Any]:
        """The prediction in evaluation mode, and whether the inputs are valid."""
        network = self.problem.network
        context = self.context(apart(network.parameters, parameters), apart(network.statistics, statistics), False)
        prediction = forward(self.program, context, self.placement.split(x).astype(self.dtype)).astype(self.dtype)
        return prediction, jnp.asarray(context.valid)

    def differentiate(self, parameters: Any, statistics: Any, batch: Any, step: Any) -> Any:
        """The loss of a mini-batch and its gradient, without penalties; the statistics after it,
        and whether it is valid.
        """
        network, (x, y, weight) = self.problem.network, batch
        before = apart(network.statistics, statistics)

        def loss_of(arrays: Any) -> Any:
            context = self.context(arrays, before, True, step)
            prediction = forward(self.program, context, x.astype(self.dtype)).astype(self.dtype)
            loss = self.of_data(prediction, y, weight, context.require)
            return loss.astype(self.dtype), (context.updated, jnp.asarray(context.valid))

        (loss, (updated, valid)), slopes = jax.value_and_grad(loss_of, has_aux=True)(
            apart(network.parameters, parameters)
        )
        after = together(network.statistics, {**before, **updated}, self.dtype)
        return loss, together(network.parameters, slopes, self.dtype), after, valid

    def batch(self, block: Any, scale: Any, k: Any) -> Any:
        """Mini-batch k of a block's arrays and rows, divided among the devices: bytes become the
        numbers that they stand for.
        """
        arrays, rows = block

        def own(array: Any) -> Any:
            found = array[k] if rows is None else array.at[rows[k]].get(mode="promise_in_bounds")
            return self.placement.split(found)

        x, *rest = jax.tree.map(own, arrays)
        if scale is not None:
            x = x.astype(jnp.float32) * scale[0] + scale[1]
        return x, *rest

    def derivatives(self, parameters: Any, statistics: Any, block: Any, scale: Any, k: Any, step: Any) -> Any:
        """`differentiate` of mini-batch k of a block."""
        return self.differentiate(parameters, statistics, self.batch(block, scale, k), step)

    def step(self, carry: Carry, batch: Any) -> tuple[Carry, Any]:
        """One step: backpropagation computes the gradient, gradient descent uses it."""
        of_weights, descend = self.of_weights, self.descend
        assert of_weights is not None
        assert descend is not None

        def evaluate(parameters: Any) -> tuple[Any, Any]:
            loss, gradient, *_ = self.differentiate(parameters, carry.statistics, batch, carry.step)
            value, slope = of_weights(parameters)
            return loss + value, gradient + slope

        loss, gradient, statistics, valid = self.differentiate(carry.parameters, carry.statistics, batch, carry.step)
        value, slope = of_weights(carry.parameters)
        loss, gradient = loss + value, gradient + slope
        update, states, moved = descend(gradient, carry.states, carry.parameters, carry.step, evaluate, loss)
        parameters = carry.parameters - update
        if moved is not True:  # where a stage ended the step
            parameters = jnp.where(moved, parameters, carry.parameters)
        finite = jnp.isfinite(loss) & all_finite(gradient) & all_finite(parameters)
        after = Carry(parameters, statistics, states, carry.step + 1)
        return after, (loss, gradient, update, finite, valid)

    def run(self, carry: Carry, block: Any, scale: Any, first: Any, stop: Any) -> tuple[Carry, Seen, Any]:
        """The steps of mini-batches [first, stop) of a block's arrays and rows, up to the first
        that fails, and the mini-batch after the last that was taken.

        One step and many are the same program, so that a replayed step has the same bits.
        """

        def goes_on(state: Any) -> Any:
            k, _, seen = state
            return (k < stop) & seen.finite & seen.valid

        def body(state: Any) -> Any:
            k, carry, seen = state
            after, (loss, gradient, update, finite, valid) = self.step(carry, self.batch(block, scale, k))
            return k + 1, after, Seen(gradient, update, seen.losses.at[k].set(loss), finite, valid)

        empty = jnp.zeros_like(carry.parameters)
        arrays, rows = block
        losses = jnp.full(len(arrays[0] if rows is None else rows), jnp.nan, self.dtype)
        yes = jnp.asarray(True)
        k, after, seen = lax.while_loop(goes_on, body, (first, carry, Seen(empty, empty, losses, yes, yes)))
        return after, seen, k


LANES = 1024
"""How many columns `all_finite` reduces at the same time."""


def all_finite(vector: Any) -> Any:
    """Whether all numbers of a flat vector are finite: column by column, which processors do ten
    times as fast as one number after another.
    """
    whole = len(vector) // LANES * LANES
    columns = jnp.isfinite(vector[:whole].reshape(-1, LANES)).all(axis=0)
    return columns.all() & jnp.isfinite(vector[whole:]).all()
