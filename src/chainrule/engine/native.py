"""The native engine: the same steps as the definition's, by compiled kernels, many at a time.

A program (the network, the loss and the optimizer as the C++ engine takes them, see lowering/) runs mini-batches
without the interpreter's lock until they are over or SLICE seconds have passed; in between, Python hears Ctrl-C, the
recorder and callbacks. Where a step fails, the steps before it are taken again, and then it alone: a number that
stopped being finite is found at its step, and an input that makes no sense is explained by the definition.

A user's layer, which has no kernel, runs by its definition among the others. An optimizer with a user's stage steps by
its definition from derivatives that were computed natively. A user's loss leaves everything to the definition.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from chainrule.arrays import Array, Vector
from chainrule.descent import Point
from chainrule.engine import lowering
from chainrule.engine.base import Batches, Chunk, Position, Problem, StepRecord, is_finite
from chainrule.engine.lowering import LoweredStage, Lowering, NoKernel, is_table, lower_descent, lower_loss
from chainrule.engine.numpy import NumpyEngine
from chainrule.errors import SettingError

try:
    import chainrule.engine._native as native
except ImportError:  # it was installed without a compiler
    native = None

SLICE = 0.1
"""Seconds of training between two looks at what else there is to do."""
ROOM = 64
"""Numbers behind the end of every vector that the kernels may read, but never use."""
LINE = 64
"""Bytes of a cache line."""
ALONE = 12e6
"""Multiplications and additions of a step (some 100 microseconds) below which a second thread brings little, and costs
much where another program wants the core.
"""
PREDICTED = 256
"""Samples that are predicted at a time."""
COMPLETE, FAULT, NOT_FINITE = range(3)
READABLE = tuple(np.dtype(kind) for kind in ("float32", "float64", "uint8", "int32", "int64"))


def is_built() -> bool:
    """Whether there are kernels on this machine."""
    return native is not None


@dataclass(frozen=True)
class Program:
    """A native engine, made for a size of mini-batch; without stages the optimizer is left to its definition."""

    made: Any
    stages: list[LoweredStage] | None


@dataclass(frozen=True)
class NativeEngine:
    """Takes training steps by compiled kernels.

    `threads` is how many may be used (by default all that this process may use; small steps take one in any case), and
    `processor` the kind of kernels, such as "avx2"; by default the best. The bits are the same for any number of
    threads. Raises SettingError where nothing was compiled.
    """

    problem: Problem
    threads: int | None = None
    processor: str = ""
    _programs: dict[Any, Program | None] = field(default_factory=dict, repr=False, compare=False)
    _blocks: Blocks = field(default_factory=lambda: Blocks(), repr=False, compare=False)

    def __post_init__(self) -> None:
        if native is None:
            raise SettingError(
                "the native engine was not built when chainrule was installed; install it again where there is a C++"
                " compiler (GCC or Clang), or use engine='numpy'"
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """What runs by its definition."""
        return lowering.notes(self.problem)

    # Steps

    def chunks(self, position: Position, batches: Batches) -> Iterator[Chunk]:
        """Take a step for each mini-batch, many to a span."""
        program = self._program(batches)
        if program is None:
            yield from NumpyEngine(self.problem).chunks(position, batches)
            return
        k = 0
        while k < len(batches):
            for chunk in self._some(program, position, batches.cut(k, len(batches))):
                yield chunk
                position, k = chunk.after, k + len(chunk.batches)
                del chunk  # so that the memory of its beginning is free for the next one

    def steps(self, position: Position, batches: Batches) -> Iterator[StepRecord]:
        """Take a step for each mini-batch, and show each."""
        program = self._program(batches)
        if program is None:
            yield from NumpyEngine(self.problem).steps(position, batches)
            return
        for k in range(len(batches)):
            record, ending = self._step(program, position, batches.cut(k, k + 1))
            if ending == FAULT:
                record = self._by_definition(position, batches, k)
            yield record
            position = record.after

    def _some(self, program: Program, position: Position, batches: Batches) -> Iterator[Chunk]:
        """As many steps as fit into a slice; at least one."""
        if program.stages is None:
            record, ending = self._step(program, position, batches.cut(0, 1))
            if ending == FAULT:
                record = self._by_definition(position, batches, 0)
            yield self._single(record, batches.cut(0, 1), is_finite(record))
            return
        after, losses, good, ending = self._run(program, position, batches)
        if ending == COMPLETE:
            yield Chunk(position, after, batches.cut(0, good), losses[:good], True, self.steps)
            return
        while good:  # the vectors are spoilt: the good steps are taken again, and then the bad one by itself
            after, losses, steps, _ = self._run(program, position, batches.cut(0, good))
            yield Chunk(position, after, batches.cut(0, steps), losses[:steps], True, self.steps)
            position, good, batches = after, good - steps, batches.cut(steps, len(batches))
        record, ending = self._step(program, position, batches.cut(0, 1))
        if ending == FAULT:
            record = self._by_definition(position, batches, 0)
        yield self._single(record, batches.cut(0, 1), ending == COMPLETE or (ending == FAULT and is_finite(record)))

    def _single(self, record: StepRecord, batch: Batches, sound: bool) -> Chunk:
        return Chunk(record.before, record.after, batch, np.array([record.loss]), sound, self.steps)

    def _by_definition(self, position: Position, batches: Batches, k: int) -> StepRecord:
        """What the native engine found faulty: the definition says what is wrong with it."""
        return NumpyEngine(self.problem).step(position, batches.samples(k), batches.rows(k))

    def _run(
        self, program: Program, position: Position, batches: Batches, seconds: float | None = None,
        gradient: Vector | None = None, update: Vector | None = None,
    ) -> tuple[Position, Array, int, int]:  # fmt: skip
        """Let the program run: where it led, the losses, how many steps were good, and how it ended."""
        assert program.stages is not None
        dtype = self.problem.network.dtype
        batches = _within_reach(batches)
        parameters = self._blocks.copy(position.parameters, dtype)
        statistics = self._blocks.copy(position.statistics, dtype)
        states = tuple(
            {name: self._blocks.copy(array, dtype) if array.ndim else np.array(array) for name, array in state.items()}
            for state in position.states
        )
        memory = [stage.held(states) for stage in program.stages]
        for k, stage in enumerate(program.stages):
            count = memory[k][1]
            if stage.schedule is not None and count is not None and is_table(stage.schedule):
                first = int(count)
                program.made.table(k, first, [float(stage.schedule(first + n)) for n in range(len(batches))])
        program.made.lend(memory)
        losses = np.full(len(batches), np.nan)
        steps, ending = program.made.run(
            parameters, statistics, batches.x, batches.y, batches.weight, batches.order, batches.size, position.step,
            SLICE if seconds is None else seconds, losses, gradient, update,
        )  # fmt: skip
        after = Position(position.step + max(steps, 1), parameters, statistics, states)
        return after, losses, steps, ending

    def _step(self, program: Program, position: Position, batch: Batches) -> tuple[StepRecord, int]:
        """One step, with all that it was made of."""
        if program.stages is None:
            return self._hybrid(program, position, batch)
        network = self.problem.network
        gradient, update = (_padded(np.zeros(network.parameters.size), network.dtype) for _ in range(2))
        after, losses, _, ending = self._run(program, position, batch, 0.0, gradient, update)
        return StepRecord(position, after, batch.rows(0), float(losses[0]), gradient, update), ending

    # Optimizers of which a stage has no kernel

    def _hybrid(self, program: Program, position: Position, batch: Batches) -> tuple[StepRecord, int]:
        rows, problem = batch.rows(0), self.problem
        read = _within_reach(batch)
        layout = problem.network.parameters
        fault = False

        def derivatives(parameters: Vector, statistics: Vector) -> tuple[float, Vector]:
            nonlocal fault
            dtype = problem.network.dtype
            gradient = _padded(np.zeros(layout.size), dtype)
            loss, fine = program.made.differentiate(
                _padded(parameters, dtype), statistics, read.x, read.y, read.weight, read.order, position.step, gradient
            )
            fault |= not fine
            for penalty in problem.penalties:
                loss += penalty.value(parameters, layout)
                gradient = gradient + penalty.gradient(parameters, layout)
            return loss, gradient

        def elsewhere(parameters: Vector) -> tuple[float, Vector]:
            return derivatives(parameters, _padded(position.statistics, problem.network.dtype))

        statistics = _padded(position.statistics, problem.network.dtype)
        loss, gradient = derivatives(position.parameters, statistics)
        if fault:
            return StepRecord(position, position, rows, loss, gradient, gradient), FAULT
        point = Point(position.parameters, layout, loss, gradient, elsewhere)
        taken = problem.optimizer.step(gradient, position.states, point)
        after = Position(position.step + 1, taken.parameters, statistics, taken.states)
        return StepRecord(position, after, rows, loss, gradient, taken.update), COMPLETE

    def leaves_a_core(self, batches: Batches) -> bool:
        """Whether these steps take fewer threads than there are cores."""
        return self._threads(batches.size) < available()

    # Prediction

    def predict(self, parameters: Vector, x: Array, statistics: Vector) -> Array:
        """The prediction for x, as after training."""
        network = self.problem.network
        x = np.asarray(x)
        if x.shape[1:] != network.input_shape:
            network.fit_input(x)  # says what is wrong
        program = self._predictor(min(max(len(x), 1), PREDICTED))
        if program is None:
            return network.predict(parameters, x, statistics)
        out = np.empty((len(x), math.prod(network.output_shape)), dtype=network.dtype)
        given = _padded(parameters, network.dtype), _padded(statistics, network.dtype)
        some = max(len(x), 1) if _is_readable(x) else 64 * PREDICTED
        for k in range(0, len(x), some):
            if not program.made.predict(*given, _readable(x[k : k + some]), out[k : k + some].reshape(-1)):
                return network.predict(parameters, x, statistics)  # says what is wrong with it
        return out.reshape(len(x), *network.output_shape)

    # Programs

    def _program(self, batches: Batches) -> Program | None:
        """The program for mini-batches of this size; None if the definition must do it, or say what is wrong."""
        odd_weights = batches.weight is not None and batches.weight.ndim != 1
        if odd_weights or batches.x.shape[1:] != self.problem.network.input_shape:
            return None
        key = (min(batches.size, max(len(batches.order), 1)), batches.y.shape[1:])
        for held, program in self._programs.items():
            if held[0] != PREDICTION and held[1] == key[1] and held[0] >= key[0]:
                return program
        self._programs[key] = made = self._lowered(*key)
        return made

    def _lowered(self, most: int, y_shape: tuple[int, ...]) -> Program | None:
        problem, size = self.problem, self.problem.network.parameters.size
        statistics = self.problem.network.statistics.size
        made = self._made(most)
        try:
            prediction = Lowering(made, problem).network()
            lower_loss(made, problem.loss, problem.network.output_shape, y_shape)
        except NoKernel:
            return None
        stages: list[LoweredStage] | None
        try:
            stages = lower_descent(made, native, problem)
        except NoKernel:
            stages = None
        made.finish(prediction.number, size, statistics, True)
        return Program(made, stages)

    def _predictor(self, most: int) -> Program | None:
        key = (PREDICTION, most)
        if key not in self._programs:
            made = self._made(most)
            try:
                prediction = Lowering(made, self.problem).network()
            except NoKernel:
                self._programs[key] = None
                return None
            network = self.problem.network
            made.finish(prediction.number, network.parameters.size, network.statistics.size, False)
            self._programs[key] = Program(made, None)
        return self._programs[key]

    def _made(self, most: int) -> Any:
        kind = native.Engine32 if self.problem.network.dtype == "float32" else native.Engine64
        return kind(self.processor, most, self._threads(most))

    def _threads(self, samples: int) -> int:
        allowed = self.threads or available()
        return allowed if samples * self._arithmetic >= ALONE else 1

    @cached_property
    def _arithmetic(self) -> float:
        """About how many multiplications and additions a sample takes, forward and backward."""
        return float(sum(node.layer.cost(node.built) for node in self.problem.network.nodes))


PREDICTION = "prediction"


def available() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _padded(vector: Array, dtype: Any) -> Vector:
    """A copy that begins at the beginning of a cache line, with room behind it."""
    return _within(np.empty(vector.size + 2 * ROOM, dtype=dtype), vector)


def _within(block: Array, vector: Array) -> Vector:
    begin = -block.ctypes.data % LINE // block.itemsize
    out = block[begin : begin + vector.size].reshape(vector.shape)
    out[...] = vector
    return out


def _references(blocks: list[Array], k: int) -> int:
    return sys.getrefcount(blocks[k])


class Blocks:
    """Copies of vectors, in memory that is used again once nobody holds what was there: to get new memory from the
    system takes longer than to fill it.
    """

    LARGE, MOST = 100_000, 12
    """Numbers from which on this pays; blocks that are kept."""

    def __init__(self) -> None:
        self.blocks: list[Array] = []

    def copy(self, vector: Array, dtype: Any) -> Vector:
        """A copy as _padded makes it."""
        if vector.size < self.LARGE:
            return _padded(vector, dtype)
        size = vector.size + 2 * ROOM
        free = _references([np.empty(0)], 0)  # how Python counts depends on its version
        for k in range(len(self.blocks)):
            fits = self.blocks[k].size == size and self.blocks[k].dtype == dtype
            if fits and _references(self.blocks, k) == free:
                return _within(self.blocks[k], vector)
        block = np.empty(size, dtype=dtype)
        self.blocks = [*self.blocks[-self.MOST + 1 :], block]
        return _within(block, vector)


def _is_readable(array: Array) -> bool:
    """Whether the native engine can read it where it is."""
    inner = array[:1].flags.c_contiguous
    return array.dtype in READABLE and array.dtype.isnative and inner and array.strides[0] >= 0


def _readable(array: Array) -> Array:
    """The same, or a copy, that the native engine can read."""
    if _is_readable(array):
        return array
    return np.ascontiguousarray(array, dtype=np.float64 if array.dtype.kind == "f" else np.int64)


def _within_reach(batches: Batches) -> Batches:
    """The same if the native engine can read it, else some mini-batches that were gathered: never all data at once."""
    weight = None if batches.weight is None else _readable(batches.weight)
    order = np.ascontiguousarray(batches.order, dtype=np.int64)
    if _is_readable(batches.x) and _is_readable(batches.y):
        return Batches(batches.x, batches.y, weight, order, batches.size)
    order = order[: 64 * batches.size]
    x, y = _readable(batches.x[order]), _readable(batches.y[order])
    return Batches(x, y, None if weight is None else weight[order], np.arange(len(order)), batches.size)
