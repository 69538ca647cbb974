"""The JAX engine: the definition's training steps, compiled by XLA, many in one call.

The network's operations, the loss and the optimizer are traced as one function of JAX, which
differentiates it. A compiled loop takes as many steps as fit into SLICE seconds and ends after the
first that fails; that one is then taken on its own. A single step is the same loop with one turn:
the bits are the same.

What has no function of JAX is called in Python: a layer or a loss from within the compiled step, an
optimizer's step after compiled derivatives. Invalid input is left to the definition, which reports
what is wrong with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import Any

import jax
import numpy as np

from chainrule.arrays import Array, Deferred, Shape, Vector, as_read
from chainrule.descent import Point
from chainrule.engine.base import Batches, Chunk, Position, Predictor, Problem, StepRecord, Watched, is_finite
from chainrule.engine.continuation import Continuation
from chainrule.engine.jax import descent
from chainrule.engine.jax.feed import MOST_NUMBERS, MOST_STEPS, Block, Feed
from chainrule.engine.jax.hosts import noticed
from chainrule.engine.jax.placement import Devices, Placement
from chainrule.engine.jax.step import Carry, Seen, Steps
from chainrule.engine.jax.vectors import apart, read, state_apart, state_read
from chainrule.engine.lowering import NoKernel, without_operation
from chainrule.engine.lowering.declared import DECLARED
from chainrule.engine.lowering.loss import LOSSES
from chainrule.engine.numpy import NumpyEngine
from chainrule.processes import ALONE, Processes

SLICE = 0.5
"""Seconds of training after which control returns to Python."""
PREDICTION_BATCH = 1024
"""How many samples are predicted at a time, at most."""


PREDICTIONS: dict[Any, tuple[Steps, Callable[..., Any]]] = {}
"""Compiled predictions by network, precision and devices: to compile takes seconds."""
MOST_PREDICTIONS = 16
"""How many of them are kept."""


@contextmanager
def precise(raised: list[BaseException]) -> Iterator[None]:
    """JAX with 64 bits where they are asked for, and with products in the precision of their
    factors; as the user has set it again afterwards. Raises what a called definition raised.
    """
    # XLA's processors have no other precision, and multiply faster if none is asked for.
    precision = None if jax.default_backend() == "cpu" else "highest"
    with jax.enable_x64(True), jax.default_matmul_precision(precision):
        raised.clear()
        yield
        if raised:
            raise raised[0]


@dataclass
class Pace:
    """How many steps fit into SLICE seconds, for mini-batches of each size.

    The first number of steps is 1, as is the number after a call in which XLA compiled; it doubles
    at most, as the first steps after a pause take longer.
    """

    _steps: dict[int, int] = field(default_factory=dict)

    def steps(self, size: int) -> int:
        """How many steps to take next."""
        return self._steps.get(size, 1)

    def observe(self, size: int, steps: int, seconds: float) -> None:
        """So many steps took so long."""
        fit = round(max(steps, 1) * SLICE / max(seconds, 1e-6))
        self._steps[size] = max(1, min(2 * self.steps(size), fit, MOST_STEPS))


@dataclass(frozen=True)
class Compiled:
    """The steps for targets of one shape, and their compiled functions."""

    steps: Steps
    run: Callable[..., Any]
    update: Callable[..., Any]
    derivatives: Callable[..., Any]


@dataclass(frozen=True)
class JaxEngine:
    """Takes training steps compiled by XLA.

    Attributes:
        problem: what is trained
        devices: their kind and number; by default one of those that JAX uses by default
        compute: the dtype of products; by default that of the weights, or "bfloat16"
        world: the processes that take the steps of `chunks` together. All else each does alone,
            on its own devices, so that it may do it alone
    """

    problem: Problem
    devices: Devices | None = None
    compute: str | None = None
    world: Processes = ALONE
    placement: Placement = field(init=False, compare=False)
    _feed: Feed = field(init=False, repr=False, compare=False)
    _compiled: dict[Shape, Compiled] = field(default_factory=dict, repr=False, compare=False)
    _pace: Pace = field(default_factory=Pace, repr=False, compare=False)
    _last: list[tuple[Position, Carry]] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "placement", Placement(self.devices, self.world.count))
        object.__setattr__(self, "_feed", Feed(self.problem, self.placement))

    @property
    def notes(self) -> tuple[str, ...]:
        """What runs by its definition, in Python; and what to know about the devices."""
        problem, placed = self.problem, self.placement.note
        kinds, _ = without_operation(problem.network.graph, DECLARED)
        called = [*kinds, *([] if type(problem.loss) in LOSSES else [type(problem.loss).__name__])]
        messages = [f"{kind} is not known to JAX: each step calls its definition in Python" for kind in called]
        try:
            descent.lower(problem.optimizer, problem.network.parameters)
        except NoKernel as what:
            messages.append(f"{what} is not known to JAX: the optimizer's step runs by its definition in Python")
        return tuple(messages if placed is None else [*messages, placed])

    def leaves_a_core(self, batches: Batches) -> bool:
        """False: XLA uses all cores."""
        return False

    def watch(self, position: Position, batches: Batches, place: int) -> Watched | None:
        """None: it has whole steps only."""
        return None

    # Steps

    def chunks(self, position: Position, batches: Batches) -> Iterator[Chunk]:
        """Take a step for each mini-batch, many in each chunk."""
        if not self._fits(batches):
            yield from NumpyEngine(self.problem).chunks(position, batches)
            return
        for block in self._blocks(position.step, batches):
            k = 0
            while k < len(block.batches):
                most = self._pace.steps(block.batches.size)
                most = most if self.world.count == 1 else self.world.broadcast(most)
                stop = min(k + most, len(block.batches))
                for chunk in self._slice(position, block, k, stop):
                    yield chunk
                    position, k = chunk.after, k + len(chunk.batches)
                    del chunk  # frees the memory of its first position for the next chunk

    def steps(self, position: Position, batches: Batches) -> Iterator[StepRecord]:
        """Take a step for each mini-batch and record its gradient and update."""
        if self.world.count > 1:
            yield from self.alone.steps(position, batches)
            return
        if not self._fits(batches):
            yield from NumpyEngine(self.problem).steps(position, batches)
            return
        for block in self._blocks(position.step, batches):
            for k in range(len(block.batches)):
                record, _ = self._step(position, block, k)
                yield record
                position = record.after

    @cached_property
    def alone(self) -> JaxEngine:
        """An engine that computes on the devices of this process alone: the same up to rounding."""
        if self.world.count == 1:
            return self
        kind, count = self.devices or (self.placement.chosen[0].platform, self.world.count)
        return JaxEngine(self.problem, (kind, max(1, count // self.world.count)), self.compute)

    def _blocks(self, step: int, batches: Batches) -> Iterator[Block]:
        blocks = self._feed.blocks(step, batches)
        while True:
            with precise([]):  # not while the caller has control
                block = next(blocks, None)
            if block is None:
                return
            yield block

    def _slice(self, position: Position, block: Block, k: int, stop: int) -> Iterator[Chunk]:
        """Steps [k, stop) of a block, up to the first that fails."""
        compiled = self._of(block)
        if compiled.steps.descend is not None:
            after, seen, ended = self._run(compiled, position, block, k, stop)
            good = ended if seen.finite and seen.valid else ended - 1
            if k < good < ended:  # the failed step has changed the vectors: take the good ones again
                after, seen, _ = self._run(compiled, position, block, k, good)
            if good > k:
                losses = np.asarray(seen.losses, np.float64)[k:good]
                yield Chunk(position, after, block.batches.cut(k, good), losses, True, self.steps)
                position, k = after, good
            if good == ended:
                return
        record, finite = self._step(position, block, k)
        yield Chunk(position, record.after, block.batches.cut(k, k + 1), np.array([record.loss]), finite, self.steps)

    def _step(self, position: Position, block: Block, k: int) -> tuple[StepRecord, bool]:
        """A single step, and whether all its results were finite."""
        compiled, rows = self._of(block), block.batches.numbers_of(k)
        if compiled.steps.descend is None:
            record = self._hybrid_step(compiled, position, block, k)
            return record, is_finite(record)
        after, seen, _ = self._run(compiled, position, block, k, k + 1)
        if not seen.valid:
            record = self._numpy_step(position, block, k)
            return record, is_finite(record)
        gradient, update = self._vectors(compiled, position, seen)
        record = StepRecord(position, after, rows, float(seen.losses[k]), gradient, update, self.compute)
        return record, bool(seen.finite)

    def _run(
        self, compiled: Compiled, position: Position, block: Block, k: int, stop: int
    ) -> tuple[Position, Any, int]:  # fmt: skip
        """Steps [k, stop) of a block, up to the first that fails: the position afterwards, what was
        seen, and the mini-batch after the last that was taken.
        """
        with noticed(self.world), precise(compiled.steps.raised):
            carry = self._carry(position)
            began = perf_counter()
            after, seen, ended = compiled.run(
                carry, (block.arrays, block.rows), block.scale, np.int32(k), np.int32(stop)
            )
            ended = int(ended)  # waits
            self._pace.observe(block.batches.size, ended - k, perf_counter() - began)
            reached = self._position(after, position.step + ended - k)
        self._last[:] = [(reached, after)]
        return reached, seen, ended

    def _position(self, carry: Carry, step: int) -> Position:
        """The position of a carry, in vectors of NumPy."""
        network, dtype = self.problem.network, self.problem.network.dtype
        parameters, statistics = (
            read(layout, arrays, dtype)
            for layout, arrays in ((network.parameters, carry.parameters), (network.statistics, carry.statistics))
        )
        states = tuple(state_read(network.parameters, state, dtype) for state in carry.states)
        return Position(step, parameters, statistics, states)

    def _vectors(self, compiled: Compiled, before: Position, seen: Seen) -> tuple[Vector, Vector]:
        """The gradient and the update of a single step."""
        layout, dtype = self.problem.network.parameters, self.problem.network.dtype
        gradient = read(layout, seen.gradient, dtype)
        if not compiled.steps.repeats:
            return gradient, read(layout, seen.update, dtype)
        with precise(compiled.steps.raised):
            return gradient, np.array(compiled.update(self._placed(before), seen.gradient))

    def _carry(self, position: Position) -> Carry:
        """A position on the devices, in memory that the next steps overwrite. The last one is there
        still.
        """
        last = self._last.pop() if self._last else None
        if last is not None and last[0] is position:
            return last[1]
        return self._placed(position)

    def _placed(self, position: Position) -> Carry:
        network = self.problem.network
        parameters, statistics = (
            apart(network.parameters, position.parameters),
            apart(network.statistics, position.statistics),
        )
        states = tuple(state_apart(network.parameters, state) for state in position.states)
        carry: Carry = self.placement.replicated(Carry(parameters, statistics, states, np.uint64(position.step)))
        return carry

    def _hybrid_step(self, compiled: Compiled, position: Position, block: Block, k: int) -> StepRecord:
        """A step whose derivatives are compiled, but whose optimizer runs in Python."""
        layout, penalties = self.problem.network.parameters, self.problem.penalties

        def derivatives(parameters: Vector) -> tuple[float, Vector, Vector, bool]:
            with precise(compiled.steps.raised):
                found = compiled.derivatives(
                    parameters,
                    position.statistics,
                    (block.arrays, block.rows),
                    block.scale,
                    np.int32(k),
                    np.uint64(position.step),
                )
                loss, gradient, statistics, valid = (np.array(one) for one in found)
            value = float(loss) + sum(penalty.value(parameters, layout) for penalty in penalties)
            for penalty in penalties:
                gradient = gradient + penalty.gradient(parameters, layout)
            return value, gradient, statistics, bool(valid)

        loss, gradient, statistics, valid = derivatives(position.parameters)
        if not valid:
            return self._numpy_step(position, block, k)
        point = Point(position.parameters, layout, loss, gradient, lambda parameters: derivatives(parameters)[:2])
        step = self.problem.optimizer.step(gradient, position.states, point)
        after = Position(position.step + 1, step.parameters, statistics, step.states)
        numbers = block.batches.numbers_of(k)
        return StepRecord(position, after, numbers, loss, gradient, step.update, self.compute)

    def _numpy_step(self, position: Position, block: Block, k: int) -> StepRecord:
        """Fall back to NumPy, which reports what is wrong with an invalid input."""
        rows = block.batches.rows(k)
        samples = self.problem.gather(block.batches.data, rows, position.step)
        return NumpyEngine(self.problem).step(position, samples, block.batches.numbers_of(k))

    # Prediction

    def predict(self, parameters: Vector, x: Array | Deferred, statistics: Vector) -> Array:
        """Predict x in evaluation mode."""
        return self.predictor(parameters, statistics)(x)

    def predictor(self, parameters: Vector, statistics: Vector) -> Predictor:
        """Predicts with these parameters and statistics, which it puts on the devices once."""
        if self.world.count > 1:
            return self.alone.predictor(parameters, statistics)
        network = self.problem.network
        vectors = parameters.copy(), statistics.copy()
        steps, function = self._predicting
        with precise(steps.raised):
            placed = self.placement.replicated(vectors)

        def predict(x: Array | Deferred) -> Array:
            x = as_read(x)
            if x.shape[1:] != network.input_shape:
                network.fit_input(x)  # raises ShapeError
            out = np.empty((len(x), *network.output_shape), dtype=network.dtype)
            size = min(1 << max(len(x) - 1, 0).bit_length(), self._most_predicted)  # a power of 2: few programs
            for k in range(0, len(x), size):
                part = network.fit_input(x[k : k + size])
                padded = np.zeros((size, *part.shape[1:]), part.dtype)
                padded[: len(part)] = part
                with precise(steps.raised):
                    prediction, valid = function(*placed, self.placement.batch(padded, 0))
                    out[k : k + size] = np.asarray(prediction)[: len(part)]
                if not valid:
                    return network.predict(vectors[0], x, vectors[1])  # reports the invalid input
            return out

        return predict

    def continuation(self, parameters: Vector, statistics: Vector, texts: int = 1) -> Continuation | None:
        """A continuation by the definitions, if there is one."""
        return NumpyEngine(self.problem).continuation(parameters, statistics, texts)

    @cached_property
    def _predicting(self) -> tuple[Steps, Callable[..., Any]]:
        """The steps and their compiled prediction, which engines of the same network share."""
        key = id(self.problem.network), self.compute, self.placement
        if key not in PREDICTIONS or PREDICTIONS[key][0].problem.network is not self.problem.network:
            steps = self._steps_of(self.problem.network.output_shape)
            while len(PREDICTIONS) >= MOST_PREDICTIONS:
                PREDICTIONS.pop(next(iter(PREDICTIONS)), None)
            PREDICTIONS[key] = steps, self._jit(steps.predict)
        return PREDICTIONS[key]

    @cached_property
    def _most_predicted(self) -> int:
        numbers = max(1, math.prod(self.problem.network.input_shape))
        return min(PREDICTION_BATCH, max(32, 1 << (MOST_NUMBERS // numbers).bit_length() >> 1))

    # Programs

    def _fits(self, batches: Batches) -> bool:
        """Whether the samples have the shapes of the network; else the definition reports what is
        wrong. Raises ValueError for rows that there are not.
        """
        network, order = self.problem.network, batches.order
        if len(order) and not 0 <= order.min() <= order.max() < len(batches.x):
            raise ValueError("order has a row that is out of range")
        weight = batches.weight
        has_weights = weight is None or weight.shape[1:] in ((), network.output_shape[:-1])
        return has_weights and batches.x.shape[1:] == network.input_shape

    def _of(self, block: Block) -> Compiled:
        """The compiled functions for such mini-batches."""
        shape = block.arrays[1].shape[2 if block.rows is None else 1 :]
        if shape not in self._compiled:
            steps = self._steps_of(shape)
            self._compiled[shape] = Compiled(
                steps, self._jit(steps.run, donate_argnums=0), self._jit(steps.update), self._jit(steps.derivatives)
            )
        return self._compiled[shape]

    def _steps_of(self, y_shape: Shape) -> Steps:
        compute = np.dtype(self.compute or self.problem.network.dtype)
        return Steps.of(self.problem, y_shape, compute, self.placement)

    def _jit(self, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        """The function compiled, with results that every device has."""
        everywhere = self.placement.everywhere
        return (
            jax.jit(function, **options)
            if everywhere is None
            else jax.jit(function, out_shardings=everywhere, **options)
        )
