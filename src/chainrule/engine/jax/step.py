"""A training step as a function of JAX, and many of them in one compiled loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from chainrule.arrays import Shape
from chainrule.descent import adaptive, stages
from chainrule.engine.base import Problem
from chainrule.engine.jax import by_definition, descent, losses, penalties
from chainrule.engine.jax.context import Context
from chainrule.engine.jax.placement import Placement
from chainrule.engine.jax.program import forward, lower
from chainrule.engine.jax.vectors import Arrays, apart, together
from chainrule.engine.lowering import NoKernel, Program


class Carry(NamedTuple):
    """What one step hands to the next.

    Attributes:
        parameters, statistics: the arrays of both vectors
        states: the state of each stage of the optimizer, with the arrays of its vectors
        step: the number of the next step
    """

    parameters: Any
    statistics: Any
    states: Any
    step: Any


class Seen(NamedTuple):
    """What is kept of the steps of a loop.

    Attributes:
        gradient: that of the last step
        update: the same, if the optimizer can't repeat it (see Steps.update); else nothing
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
    of_weights: Callable[[Arrays], tuple[Any, Arrays]] | None
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
        of_weights: Callable[[Arrays], tuple[Any, Arrays]] | None = None
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
        and whether it is valid; of flat vectors.
        """
        weights, others = self.problem.network.parameters, self.problem.network.statistics
        loss, gradient, after, valid = self.of_arrays(
            apart(weights, parameters), apart(others, statistics), batch, step
        )
        return loss, together(weights, gradient, self.dtype), together(others, after, self.dtype), valid

    def of_arrays(self, parameters: Arrays, statistics: Arrays, batch: Any, step: Any) -> Any:
        """The same of the arrays of both vectors."""
        x, y, weight = batch

        def loss_of(arrays: Arrays) -> Any:
            context = self.context(arrays, statistics, True, step)
            prediction = forward(self.program, context, x.astype(self.dtype)).astype(self.dtype)
            loss = self.of_data(prediction, y, weight, context.require)
            return loss.astype(self.dtype), (context.updated, jnp.asarray(context.valid))

        (loss, (updated, valid)), gradient = jax.value_and_grad(loss_of, has_aux=True)(parameters)
        return loss, gradient, {**statistics, **updated}, valid

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
        of_weights, descend, layout = self.of_weights, self.descend, self.problem.network.parameters
        assert of_weights is not None
        assert descend is not None

        def derivatives(parameters: Arrays) -> Any:
            loss, gradient, *others = self.of_arrays(parameters, carry.statistics, batch, carry.step)
            value, slopes = of_weights(parameters)
            return loss + value, {k: one + slopes[k] if k in slopes else one for k, one in gradient.items()}, *others

        def evaluate(parameters: Any) -> tuple[Any, Any]:
            loss, gradient, *_ = derivatives(apart(layout, parameters))
            return loss, together(layout, gradient, self.dtype)

        loss, gradient, statistics, valid = derivatives(carry.parameters)
        update, states, moved = descend(gradient, carry.states, carry.parameters, carry.step, evaluate, loss)
        parameters = jax.tree.map(jnp.subtract, carry.parameters, update)
        if moved is not True:  # where a stage ended the step
            parameters = jax.tree.map(partial(jnp.where, moved), parameters, carry.parameters)
        finite = jnp.isfinite(loss) & all_finite(parameters)
        if not self.hands_on_infinity:
            finite &= all_finite(gradient)
        after = Carry(parameters, statistics, states, carry.step + 1)
        return after, (loss, gradient, None if self.repeats else update, finite, valid)

    @property
    def hands_on_infinity(self) -> bool:
        """Whether parameters are not finite after a gradient that is not."""
        return all(type(stage) in HAND_ON_INFINITY for stage in self.problem.optimizer.stages)

    @property
    def repeats(self) -> bool:
        """Whether `update` can compute the update of a step again, so that steps keep none."""
        return not any(type(stage) in descent.FLAT for stage in self.problem.optimizer.stages)

    def update(self, carry: Carry, gradient: Arrays) -> Any:
        """The update, a flat vector, of a step from here with this gradient."""
        assert self.descend is not None
        update, *_ = self.descend(gradient, carry.states, carry.parameters, carry.step, None, None)
        return together(self.problem.network.parameters, update, self.dtype)

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

        empty = jax.tree.map(jnp.zeros_like, carry.parameters)
        arrays, rows = block
        losses = jnp.full(len(arrays[0] if rows is None else rows), jnp.nan, self.dtype)
        yes = jnp.asarray(True)
        seen = Seen(empty, None if self.repeats else empty, losses, yes, yes)
        k, after, seen = lax.while_loop(goes_on, body, (first, carry, seen))
        return after, seen, k


HAND_ON_INFINITY = {
    stages.LearningRate, stages.Plateau, stages.WeightDecay, stages.ClipNorm, stages.ClipGlobalNorm, stages.Momentum,
    adaptive.ScaleByAdam, adaptive.ScaleByRMS, adaptive.ScaleByAdagrad,
}  # fmt: skip
"""Stages whose update is not finite where the gradient is not: for Adam it is inf / inf. A rule
that takes a sign, or limits each number, makes a finite number of it.
"""

LANES = 1024
"""How many columns `all_finite` reduces at the same time."""


def all_finite(arrays: Arrays) -> Any:
    """Whether all numbers are finite: column by column, which processors do ten times as fast as
    one number after another.
    """
    finite = jnp.asarray(True)
    for array in arrays.values():
        whole = array.size // LANES * LANES
        flat = jnp.isfinite(array).ravel()
        finite &= flat[:whole].reshape(-1, LANES).all(axis=0).all() & flat[whole:].all()
    return finite
