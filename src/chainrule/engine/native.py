"""The native engine: the definition's training steps by compiled kernels, many at a time.

The network becomes a list of operations (see lowering/) that the C++ engine runs, together with
the loss and the optimizer. It runs mini-batches without holding the interpreter's lock until all
are done or SLICE seconds have passed; in between, Python handles Ctrl-C, the recorder and
callbacks. If a step fails, the steps before it are taken again and then the failed step on its own:
so a non-finite number is located exactly, and the definition reports what is wrong with an invalid
input.

A user's layer has no kernel: its Python definition is called among the kernels. With a user's
stage the whole optimizer runs in Python, on natively computed derivatives. With a user's loss
everything falls back to NumPy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from chainrule.arrays import Array, Deferred, Shape, Vector, as_read
from chainrule.descent import Point
from chainrule.engine import lowering
from chainrule.engine.base import Batches, Chunk, Position, Predictor, Problem, StepRecord, Watched, is_finite
from chainrule.engine.buffers import BufferPool, padded, zeros
from chainrule.engine.continuation import Continuation, verified
from chainrule.engine.feed import MOST_NUMBERS, Feed, is_readable, readable
from chainrule.engine.lowering import (
    LoweredStage,
    NoKernel,
    Program,
    is_table,
    lower_continued,
    lower_descent,
    lower_loss,
    lower_network,
)
from chainrule.engine.numpy import NumpyEngine
from chainrule.engine.one_host import SharedMemory
from chainrule.engine.ranks import Sums
from chainrule.engine.together import Meeting, ThreadMemory, together
from chainrule.engine.watching import Notes
from chainrule.errors import SettingError, ShapeError, require
from chainrule.network import Network
from chainrule.processes import ALONE, Processes
from chainrule.threads import BACKOFF, Backoff, ahead, most_threads

try:
    import chainrule.engine._native as native
except ImportError:  # installed without a compiler
    native = None

SLICE = 0.1
"""Seconds of training after which control returns to Python."""
MIN_PARALLEL_WORK = 12e6
"""Multiply-adds in a step (about 100 microseconds) below which further threads gain little, and
lose much when another program wants the core.
"""
PREDICTION_BATCH, FEWEST = 256, 32
"""How many samples are predicted at a time, at most; and of large ones, at least."""
COMPLETE, FAULT, NOT_FINITE = range(3)
_VERSIONS = itertools.count(1)
"""Numbers of the parameters that predictors have."""


def is_built() -> bool:
    """Whether the native engine was compiled when chainrule was installed."""
    return native is not None


@dataclass(frozen=True)
class Compiled:
    """A C++ engine for mini-batches of up to some size.

    Attributes:
        engine: the C++ engine
        threads: how many it uses
        stages: the optimizer's stages in native form; None if the optimizer runs in Python
    """

    engine: Any
    threads: int
    stages: list[LoweredStage] | None


@dataclass(frozen=True)
class NativeEngine:
    """Takes training steps by compiled kernels. Raises SettingError if none were compiled.

    Attributes:
        problem: what is trained
        threads: the most threads to use, by default OMP_NUM_THREADS or one for each core that this
            process may use; small steps take one in any case, as all do while other programs want
            the cores, and results are the same bit for bit for any number
        processor: the instruction set of the kernels, such as "avx2"; by default the best
        backoff: whether other programs want the cores
        world: the processes that train together, each with its share of every mini-batch
    """

    problem: Problem
    threads: int | None = None
    processor: str = ""
    backoff: Backoff = field(default=BACKOFF, repr=False, compare=False)
    world: Processes = ALONE
    _programs: dict[tuple[int, Shape | None, int], Compiled | None] = field(
        default_factory=dict, repr=False, compare=False
    )
    _buffers: BufferPool = field(default_factory=BufferPool, repr=False, compare=False)
    _feed: Feed = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if native is None:
            raise SettingError(
                "the native engine was not built when chainrule was installed; install it again where there is a C++"
                " compiler (GCC or Clang), or use engine='numpy'"
            )
        most_threads(self.threads)
        object.__setattr__(self, "_feed", Feed(self.problem))

    @property
    def notes(self) -> tuple[str, ...]:
        """What has no kernel, and what runs instead."""
        return lowering.notes(self.problem)

    def leaves_a_core(self, batches: Batches) -> bool:
        """Whether these steps take fewer threads than they may."""
        return self._threads(batches.size) < self._most

    # Steps

    def chunks(self, position: Position, batches: Batches) -> Iterator[Chunk]:
        """Take a step for each mini-batch, many in each chunk."""
        program = self._training_program(batches)
        if program is None:
            yield from self._definition.chunks(position, batches)
            return
        k = 0
        while k < len(batches):
            program = self._training_program(batches) or program  # on a busy machine, with fewer threads
            for chunk in self._slice(program, position, batches.cut(k, len(batches))):
                yield chunk
                position, k = chunk.after, k + len(chunk.batches)
                del chunk  # frees the memory of its first position for the next chunk

    def steps(self, position: Position, batches: Batches) -> Iterator[StepRecord]:
        """Take a step for each mini-batch and record its gradient and update."""
        program = self._training_program(batches)
        if program is None:
            yield from self._definition.steps(position, batches)
            return
        for k in range(len(batches)):
            record, _ = self._step(program, position, batches.cut(k, k + 1))
            yield record
            position = record.after

    @property
    def _definition(self) -> NumpyEngine:
        """What trains where something has no kernel; SettingError on several ranks."""
        if self.world.count > 1:
            raise SettingError(f"{'; '.join(self.notes)}: this trains in one process, without mpirun")
        return NumpyEngine(self.problem)

    @cached_property
    def _replay(self) -> Callable[[Position, Batches], Iterator[StepRecord]]:
        """Takes steps on this process alone, to the same bits."""
        if self.world.count == 1:
            return self.steps
        return together(
            lambda world: NativeEngine(self.problem, 1, self.processor, world=world).steps, self.world.count
        )

    def watch(self, position: Position, batches: Batches, place: int) -> Watched | None:
        """As many steps as fit into SLICE seconds, as the weight at this place sees them; None if
        its operations can't tell, or the optimizer has no kernel, or a step fails.
        """
        program = self._training_program(batches)
        if program is None or program.stages is None or not program.engine.can_watch(place):
            return None
        gradient, update = (zeros(self.problem.network.parameters.size, self.problem.network.dtype) for _ in range(2))
        notes = Notes(place, np.empty((len(batches), program.engine.watched)), np.zeros(len(batches.order)))
        after, losses, steps, ending = self._run(program, position, batches, None, gradient, update, notes)
        if ending != COMPLETE:
            return None
        return notes.read(position, after, batches.cut(0, steps), losses[:steps], program.stages)

    def _slice(self, program: Compiled, position: Position, batches: Batches) -> Iterator[Chunk]:
        """As many steps as fit into SLICE seconds, at least one."""
        good = 0
        if program.stages is not None:
            after, losses, good, ending = self._run(program, position, batches)
            if ending == COMPLETE:
                yield Chunk(position, after, batches.cut(0, good), losses[:good], True, self._replay)
                return
        while good:  # the failed step corrupted the vectors: replay the good ones, then take it
            after, losses, steps, _ = self._run(program, position, batches.cut(0, good))
            yield Chunk(position, after, batches.cut(0, steps), losses[:steps], True, self._replay)
            position, good, batches = after, good - steps, batches.cut(steps, len(batches))
        batch = batches.cut(0, 1)
        record, finite = self._step(program, position, batch)
        yield Chunk(position, record.after, batch, np.array([record.loss]), finite, self._replay)

    def _step(self, program: Compiled, position: Position, batch: Batches) -> tuple[StepRecord, bool]:
        """A single step, and whether all its results were finite."""
        if program.stages is None:
            record = self._hybrid_step(program, position, batch)
        else:
            network = self.problem.network
            gradient, update = (zeros(network.parameters.size, network.dtype) for _ in range(2))
            after, losses, _, ending = self._run(program, position, batch, 0.0, gradient, update)
            if ending != FAULT:
                record = StepRecord(position, after, batch.numbers_of(0), float(losses[0]), gradient, update)
                return record, ending == COMPLETE
            record = self._numpy_step(position, batch)
        return record, is_finite(record)

    def _numpy_step(self, position: Position, batch: Batches) -> StepRecord:
        """Fall back to NumPy, which reports what is wrong with an invalid input."""
        samples = self.problem.gather(batch.data, batch.rows(0), position.step)
        return NumpyEngine(self.problem).step(position, samples, batch.numbers_of(0))

    def _run(
        self, program: Compiled, position: Position, batches: Batches, seconds: float | None = None,
        gradient: Vector | None = None, update: Vector | None = None, notes: Notes | None = None,
    ) -> tuple[Position, Array, int, int]:  # fmt: skip
        """Run the program: the position afterwards, the losses, how many steps were good, the
        ending.
        """
        assert program.stages is not None
        dtype = self.problem.network.dtype
        batches = self._feed.ready(position.step, batches)
        parameters = self._buffers.copy(position.parameters, dtype)
        statistics = self._buffers.copy(position.statistics, dtype)
        states = tuple(
            {name: self._buffers.copy(array, dtype) if array.ndim else np.array(array) for name, array in state.items()}
            for state in position.states
        )
        memory = [stage.memory(states) for stage in program.stages]
        for stage, (_, count, _) in zip(program.stages, memory, strict=True):
            if stage.schedule is not None and count is not None and is_table(stage.schedule):
                first = int(count)
                stage.rates.fill(first, [float(stage.schedule(first + n)) for n in range(len(batches))])
        program.engine.lend(memory)
        losses = np.full(len(batches), np.nan)
        steps, ending = program.engine.run(
            parameters, statistics, batches.x, batches.y, batches.weight, batches.order, batches.size, position.step,
            SLICE if seconds is None else seconds, losses, gradient, update,
            None if notes is None else notes.of(batches),
        )  # fmt: skip
        self._observe(program)
        after = Position(position.step + max(steps, 1), parameters, statistics, states)
        return after, losses, steps, ending

    def _hybrid_step(self, program: Compiled, position: Position, batch: Batches) -> StepRecord:
        """A step whose derivatives are computed natively, but whose optimizer runs in Python."""
        problem, layout, dtype = self.problem, self.problem.network.parameters, self.problem.network.dtype
        data = self._feed.ready(position.step, batch)

        def derivatives(parameters: Vector, statistics: Vector) -> tuple[float, Vector, bool]:
            gradient = zeros(layout.size, dtype)
            loss, valid = program.engine.differentiate(
                padded(parameters, dtype), statistics, data.x, data.y, data.weight, data.order, position.step, gradient
            )
            self._observe(program)
            for penalty in problem.penalties:
                loss += penalty.value(parameters, layout)
                gradient = gradient + penalty.gradient(parameters, layout)
            return loss, gradient, valid

        def evaluate(parameters: Vector) -> tuple[float, Vector]:
            return derivatives(parameters, padded(position.statistics, dtype))[:2]

        statistics = padded(position.statistics, dtype)
        loss, gradient, valid = derivatives(position.parameters, statistics)
        if not valid:
            return self._numpy_step(position, batch)
        step = problem.optimizer.step(
            gradient, position.states, Point(position.parameters, layout, loss, gradient, evaluate)
        )
        after = Position(position.step + 1, step.parameters, statistics, step.states)
        return StepRecord(position, after, batch.numbers_of(0), loss, gradient, step.update)

    # Prediction

    def predict(self, parameters: Vector, x: Array | Deferred, statistics: Vector) -> Array:
        """Predict x in evaluation mode."""
        dtype = self.problem.network.dtype
        return self._predict((padded(parameters, dtype), padded(statistics, dtype)), as_read(x))

    def predictor(self, parameters: Vector, statistics: Vector) -> Predictor:
        """Predicts with these parameters and statistics, which it prepares once; a lock lets one
        thread in at a time.
        """
        dtype, lock, version = self.problem.network.dtype, Lock(), next(_VERSIONS)
        vectors = padded(parameters, dtype), padded(statistics, dtype)

        def predict(x: Array | Deferred) -> Array:
            with lock:
                return self._predict(vectors, as_read(x), version)

        return predict

    def continuation(self, parameters: Vector, statistics: Vector, texts: int = 1) -> Continuation | None:
        """A continuation by kernels; without them by the definitions; if there is one."""
        network, length = self.problem.network, self.problem.network.input_shape[0]
        try:
            program = lower_continued(self.problem, texts, length)
        except NoKernel:
            return NumpyEngine(self.problem).continuation(parameters, statistics, texts)
        except (SettingError, ShapeError):
            return None
        engine = self._finished(program, texts * length, 1)
        vectors = padded(parameters, network.dtype), padded(statistics, network.dtype)
        found = NativeContinuation(engine, vectors, texts, length, network.output_shape[-1])
        return verified(found, texts, self.predictor(parameters, statistics), network)

    def _predict(self, vectors: tuple[Vector, Vector], x: Array | Deferred, version: int = 0) -> Array:
        network = self.problem.network
        if x.shape[1:] != network.input_shape:
            network.fit_input(x)  # raises ShapeError
        size = min(1 << max(len(x) - 1, 0).bit_length(), self._most_predicted)  # a power of 2: few programs
        program = self._program(size)
        if program is None:
            return network.predict(vectors[0], x, vectors[1])
        out = np.empty((len(x), *network.output_shape), dtype=network.dtype)
        for place, part in [(slice(None), x)] if is_readable(x) else self._parts(x, size):
            if not program.engine.predict(*vectors, part, out[place], version):
                return network.predict(vectors[0], x, vectors[1])  # reports the invalid input
        self._observe(program)
        return out

    def _parts(self, x: Array | Deferred, size: int) -> Iterator[tuple[slice, Array]]:
        """Some samples at a time, in a form that the kernels read, and their place."""
        rows = size * max(1, MOST_NUMBERS // (size * self._numbers))
        places = [slice(k, k + rows) for k in range(0, len(x), rows)]
        in_turn = ahead if isinstance(x, Deferred) and x.on_disk else map
        return zip(places, in_turn(lambda place: readable(x[place]), places), strict=True)

    @cached_property
    def _numbers(self) -> int:
        """The numbers of a sample."""
        return max(1, math.prod(self.problem.network.input_shape))

    @cached_property
    def _most_predicted(self) -> int:
        """How many samples are predicted at a time, at most: a power of 2, fewer of large ones."""
        return min(PREDICTION_BATCH, max(FEWEST, 1 << (MOST_NUMBERS // self._numbers).bit_length() >> 1))

    # Programs

    def _training_program(self, batches: Batches) -> Compiled | None:
        """The program for such mini-batches; None if NumPy has to train, or report what is
        wrong.
        """
        of_positions = self.problem.network.output_shape[:-1]
        has_odd_weights = batches.weight is not None and batches.weight.shape[1:] not in ((), of_positions)
        if has_odd_weights or batches.x.shape[1:] != self.problem.network.input_shape:
            return None
        samples, y_shape = min(batches.size, max(len(batches.order), 1)), self.problem.target_shape(batches.y)
        threads = self._threads(samples)
        if (program := self._programs.get((samples, y_shape, threads))) is not None:
            return program
        sizes = (size for size, *other in self._programs if other == [y_shape, threads] and size >= samples)
        return self._program(next(sizes, samples), y_shape)

    def _program(self, samples: int, y_shape: Shape | None = None) -> Compiled | None:
        """The program for up to this many samples at a time, with targets of this shape (None: for
        prediction only). None if the network or the loss can't be lowered.
        """
        key = samples, y_shape, self._threads(samples)
        if key not in self._programs:
            self._programs[key] = self._lowered(*key)
        return self._programs[key]

    def _lowered(self, samples: int, y_shape: Shape | None, threads: int) -> Compiled | None:
        network, stages = self.problem.network, None
        trains = y_shape is not None
        engine = self._new(-(-samples // self.world.count) if trains else samples, threads)
        divides = trains and self.world.count > 1
        memory = self._memory()
        sums = Sums(self.world) if divides and memory is None else None
        if divides:
            engine.ranks(self.world.rank, self.world.count, sums)
        try:
            program = lower_network(self.problem)
            if y_shape is not None:
                lower_loss(engine, self.problem.loss, network.output_shape, y_shape)
        except NoKernel:
            return None
        if divides and any(op.settings.get("mixes") for op in program.ops):
            raise SettingError(
                f"{'; '.join(self.notes)}; it mixes samples, so this trains in one process, without mpirun"
            )
        _add(engine, program, network)
        if y_shape is not None:
            with suppress(NoKernel):
                stages = lower_descent(engine, native, self.problem)
        engine.finish(program.prediction, network.parameters.size, network.statistics.size, trains)
        if sums is not None:
            sums.parts = engine.parts
        elif divides and memory is not None:
            engine.share(memory.of_ranks(engine.shared_size), memory.pause)
        return Compiled(engine, threads, stages)

    def _new(self, samples: int, threads: int) -> Any:
        engine_type = native.Engine32 if self.problem.network.dtype == "float32" else native.Engine64
        return engine_type(self.processor, samples, threads)

    def _finished(self, program: Program, samples: int, threads: int) -> Any:
        """The C++ engine of a program that only predicts."""
        engine, network = self._new(samples, threads), self.problem.network
        _add(engine, program, network)
        engine.finish(program.prediction, network.parameters.size, network.statistics.size, False)
        return engine

    def _threads(self, samples: int) -> int:
        is_over = self.backoff.is_over or self.world.count > 1  # ranks make the same programs
        return self._most if samples // self.world.count * self._work >= MIN_PARALLEL_WORK and is_over else 1

    def _observe(self, program: Compiled) -> None:
        if program.threads > 1:
            self.backoff.observe(program.engine.hindered)

    def _memory(self) -> SharedMemory | ThreadMemory | None:
        """What all ranks see; None if they are on several machines."""
        meeting = self.world.communicator
        if isinstance(meeting, Meeting):
            return ThreadMemory(self.world.rank, meeting)
        return SharedMemory(self.world) if self.world.is_local else None

    @cached_property
    def _most(self) -> int:
        return most_threads(self.threads)

    @cached_property
    def _work(self) -> float:
        """About how many multiply-adds a sample takes, forward and backward."""
        try:
            return lower_network(self.problem).work
        except NoKernel:
            return 0.0


@dataclass
class NativeContinuation:
    """A continuation by kernels.

    Attributes:
        engine: the C++ engine, whose operations keep what they have seen
        vectors: the parameters and statistics
        texts: how many texts it reads
        length: the most positions that are new at a time
        outputs: the network's outputs at each position
    """

    engine: Any
    vectors: tuple[Vector, Vector]
    texts: int
    length: int
    outputs: int
    _known: int = 0

    def forget(self) -> None:
        """Begin new texts."""
        self._known = 0

    def read(self, tokens: Array) -> Array:
        """(texts, new, outputs) the network's outputs at new positions (texts, new)."""
        new = tokens.shape[1]
        require(len(tokens) == self.texts, f"it continues {self.texts} texts, but gets tokens of {len(tokens)}")
        if new > self.length:
            parts = (tokens[:, k : k + self.length] for k in range(0, new, self.length))
            return np.concatenate([self.read(part) for part in parts], axis=1)
        out = np.empty((self.texts, new, self.outputs), dtype=self.vectors[0].dtype)
        x = np.ascontiguousarray(tokens).reshape(-1, 1)
        if not self.engine.predict(*self.vectors, x, out, 0, self._known):
            raise SettingError("the network can't be continued with these tokens")
        self._known += new
        return out


def _add(engine: Any, program: Program, network: Network) -> None:
    """Add a program's values and operations to a C++ engine."""
    for value in program.values:
        engine.value(value.rows, value.width, value.learns)
    for op in program.ops:
        wants = [program.values[k].learns for k in op.inputs]
        if op.name == "python":
            sizes = network.parameters.size, network.statistics.size
            engine.python_op(op.inputs, op.outputs[0], wants, *sizes, op.settings["call"])
        else:
            engine.op(op.name, op.inputs, op.outputs, wants, op.parameters, op.statistics, op.settings)
