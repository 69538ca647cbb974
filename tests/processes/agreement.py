"""Run by mpirun: whether ranks together take the steps that one process takes.

Each scenario is trained for some steps by one process and by all ranks. Rank 0 prints, as JSON, how far
apart parameters, statistics and losses are at most, in units of the last place of the largest of them,
whether all ranks have the same bits, have them again, also as on several machines, and replay them on one process.
"""

import json
import sys
from dataclasses import replace

import numpy as np

from chainrule import layers, losses, processes
from chainrule.descent import optimizer
from chainrule.engine import Batches, Position, Problem, native
from chainrule.engine.native import NativeEngine
from chainrule.network import Network

ROWS, BATCH = 67, 16  # the last mini-batch has 3 rows: fewer than 4 ranks


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape)


def problem(inner, shape=(9,), chain="adam 0.01", penalties=(), outputs=4, dtype="float64", loss=None):
    network = Network([*inner, layers.Flatten(), layers.Dense(outputs)], shape, dtype=dtype)
    return Problem(network, loss or losses.CategoricalCrossEntropy(), optimizer(chain), penalties, seed=3)


DENSE = [layers.Dense(17, activation="relu"), layers.Dense(11, activation="tanh")]
CONV = [layers.Conv2d(8, 3), layers.BatchNorm(), layers.ReLU(), layers.Conv2d(8, 3)]
SCENARIOS = {
    "dense": lambda: problem(DENSE),
    "dense float32": lambda: problem(DENSE, dtype="float32"),
    "weights": lambda: problem(DENSE),
    "dropout": lambda: problem([layers.Dense(17), layers.Dropout(0.4), layers.Dense(9)]),
    "batch norm": lambda: problem(
        [layers.Dense(17), layers.BatchNorm(), layers.ReLU(), layers.Dense(9)], chain="sgd 0.1"
    ),
    "pictures": lambda: problem(CONV, (8, 8, 3), chain="sgd 0.1"),
    "channel dropout": lambda: problem([layers.Conv2d(5, 3), layers.ChannelDropout(0.5), layers.ReLU()], (8, 8, 3)),
    "penalties": lambda: problem(DENSE, penalties=(losses.Penalty(l1=0.001, l2=0.01),)),
    "clip": lambda: problem(DENSE, chain="adam 0.01 clip=0.1"),
    "lamb": lambda: problem(DENSE, chain="lamb 0.01 average=0.9"),
    "muon": lambda: problem(DENSE, chain="muon 0.01"),
    "lbfgs": lambda: problem(DENSE, chain="lbfgs"),
    "lbfgs batch norm": lambda: problem([layers.Dense(7), layers.BatchNorm(), layers.Tanh()], chain="lbfgs"),
    "recurrence": lambda: problem([layers.Scan(layers.LSTM(6, recurrent_dropout=0.2), all=True)], (5, 9)),
    "attention": lambda: problem([layers.MultiHeadAttention(2, dropout=0.3)], (6, 8), chain="sgd 0.1"),
    "large clip": lambda: problem([layers.Dense(300)], (300,), chain="sgd 0.1 clip=0.1", dtype="float32"),
    "large": lambda: problem(
        [layers.Dense(600), layers.Dense(500, activation="relu")], (300,), chain="sgd 0.1", dtype="float32"
    ),
    "threads": lambda: problem([layers.Dense(300, activation="relu")], (300,), chain="momentum 0.1"),
    "threads clip": lambda: problem([layers.Dense(300)], (300,), chain="sgd 0.1 clip=0.1"),
}


def compared(name):
    """How far apart the steps of one process and of all ranks are."""
    one = SCENARIOS[name]()
    network, world = one.network, processes.world()
    x, rng = normal(ROWS, *network.input_shape).astype(network.dtype), np.random.default_rng(1)
    y = rng.integers(0, 4, ROWS)
    weight = rng.random(ROWS) if name == "weights" else None
    size = ROWS if "lbfgs" in name else BATCH
    order = np.concatenate([rng.permutation(ROWS) for _ in range(4 if "lbfgs" in name else 1)])
    batches = Batches(x, y, weight, order, size)
    parameters = network.draw(0)
    start = Position(5, parameters, network.start_statistics(), one.optimizer.start(parameters, network.parameters))

    def trained(world):
        """The numbers after training, and whether chunks were replayed to the same bits."""
        position, losses, replayed = start, [], True
        for chunk in NativeEngine(one, 2 if "threads" in name else 1, world=world).chunks(start, batches):
            position, losses = chunk.after, [*losses, *chunk.losses]
            if world.rank == 0:
                replayed &= same(numbers(chunk.last.after), numbers(chunk.after))
        return [position.parameters, position.statistics, np.array(losses)], numbers(position), replayed

    (alone, *_), (together, bits, replayed) = trained(processes.ALONE), trained(world)
    (_, again, _), (_, sent, _) = trained(world), trained(replace(world, is_local=False))
    apart = [np.abs(a - b).max(initial=0) / np.abs(b).max(initial=1e-30) for a, b in zip(together, alone, strict=True)]
    texts = world.gather([array.tobytes().hex() for array in bits])
    return {
        "apart": float(max(apart)) / float(np.finfo(network.dtype).eps),
        "same": all(text == texts[0] for text in texts),
        "again": same(bits, again),
        "sent": same(bits, sent),
        "replayed": bool(replayed),
    }


def numbers(position):
    """All the arrays of a position."""
    states = [array for state in position.states for array in state.values()]
    return [position.parameters, position.statistics, *states]


def same(some, others):
    return all(np.array_equal(a, b) for a, b in zip(some, others, strict=True))


def check_joined(world):
    """Rows of all ranks, of which some have none, are in the order of ranks."""
    counts = [rank % 3 for rank in range(world.count)]
    rows = np.full((counts[world.rank], 2, 3), world.rank, dtype="float32")
    expected = np.repeat(np.arange(world.count, dtype="float32"), counts)
    np.testing.assert_array_equal(world.joined(rows, counts), np.tile(expected[:, None, None], (1, 2, 3)))


if __name__ == "__main__":
    check_joined(processes.start())
    native.MIN_PARALLEL_WORK = 0  # so that a small network has several threads, where it may
    found = {name: compared(name) for name in sys.argv[1:] or SCENARIOS}
    if processes.is_first():
        print(json.dumps(found))
