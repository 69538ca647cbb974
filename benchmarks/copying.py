"""A copy task: a small causal transformer learns to repeat the symbols that it has read.

    python benchmarks/copying.py [--positions rotary]

A sequence is 10 random symbols, a 0, and the same symbols again. The network predicts each symbol
from those before it; of the second half it can know all, and must find each 11 positions back. It
is measured on sequences that were not trained on. Exits with 1 below 99 %.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from chainrule import Network
from chainrule.descent import optimizer
from chainrule.engine import Batches, Position, Problem, make_engine
from chainrule.losses import loss

SYMBOLS, LENGTH, SAMPLES, EPOCHS, GOAL = 8, 10, 4000, 5, 0.99


def sequences(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, 2 * LENGTH) the symbols, and the symbol that follows each."""
    symbols = np.random.default_rng(seed).integers(1, SYMBOLS + 1, (count, LENGTH))
    both = np.concatenate([symbols, np.zeros((count, 1), dtype=int), symbols], axis=1)
    return both[:, :-1], both[:, 1:]


def main() -> int:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--positions", default="learned", help="learned, sinusoidal, rotary or none")
    text = f"transformer 2 heads=4 causal=true positions={parser.parse_args().positions}"
    network = Network(f"embedding {SYMBOLS + 1} 32, {text}, tied_dense embedding_1", 2 * LENGTH)
    (x, y), (new_x, new_y) = sequences(SAMPLES, 0), sequences(1000, 1)
    counts = np.zeros(x.shape)
    counts[:, LENGTH:] = 1  # what follows in the first half is chance
    problem = Problem(network, loss("cross_entropy"), optimizer("adam 0.003"))
    parameters = network.draw(0)
    states = problem.optimizer.start(parameters, network.parameters)
    position, began, right = Position(0, parameters, network.start_statistics(), states), time.perf_counter(), 0.0
    for epoch in range(EPOCHS):
        order = np.random.default_rng(epoch).permutation(SAMPLES)
        for chunk in make_engine(None, problem).chunks(position, Batches(x.astype(np.float32), y, counts, order, 32)):
            position = chunk.after
        predicted = network.predict(position.parameters, new_x).argmax(axis=-1)
        right = float((predicted == new_y)[:, LENGTH:].mean())
        seconds = time.perf_counter() - began
        print(f"{position.step:4} steps, {seconds:5.1f} s: {right:.2%} of the symbols repeated", flush=True)
        if right >= GOAL:
            break
    return int(right < GOAL)


if __name__ == "__main__":
    sys.exit(main())
