"""Whether a recurrent network learns to add: the sum of two marked numbers of a sequence.

    python benchmarks/sequences_addition.py [--network "lstm 32"] [--steps 20] [--json]

At every time step there are a number between 0 and 1 and a mark, which is 1 at two steps and 0 at
the others; the target is the sum of the two marked numbers (Hochreiter and Schmidhuber, 1997,
experiment 4). Sequences have different lengths, from half of `--steps` to all of it. As there, a
sequence is right if the prediction is off by less than 0.04. Exits with 1 if less than 99 % of
2,000 new sequences are. It also prints how many steps back the gradient of a weight comes from, for
the trained network.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import chainrule
from chainrule.arrays import Array
from chainrule.explain import explain
from chainrule.explain.text import time_lines

GOAL, NEAR = 0.99, 0.04


def sequences(count: int, steps: int, seed: int) -> dict[str, Array]:
    """So many sequences of at most so many steps, with their lengths and sums."""
    random = np.random.default_rng(seed)
    lengths = random.integers(steps // 2, steps + 1, count)
    numbers, marks = random.random((count, steps)), np.zeros((count, steps))
    for marked, length in zip(marks, lengths, strict=True):
        marked[random.choice(length, 2, replace=False)] = 1
    y = (numbers * marks).sum(axis=1)
    return {"x": np.stack([numbers, marks], axis=-1), "y": y, "lengths": lengths}


def main() -> int:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="lstm 32", help="the hidden layers")
    parser.add_argument("--steps", type=int, default=20, help="the time steps of the longest sequences")
    parser.add_argument("--count", type=int, default=20_000, help="the sequences to train on")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        training, test = Path(folder, "training.npz"), Path(folder, "test.npz")
        np.savez(training, **sequences(chosen.count, chosen.steps, chosen.seed))
        np.savez(test, **(new := sequences(2000, chosen.steps, chosen.seed + 1)))
        began = time.perf_counter()
        trained = chainrule.train(
            chosen.network, training, optimizer="adam 0.005 schedule=cosine clip=1", epochs=chosen.epochs,
            batch_size=64, seed=chosen.seed, test=0.0, patience=None, progress=not chosen.json,
            callbacks=[chainrule.Recorder(Path(folder, "run"))],
        )  # fmt: skip
        seconds = time.perf_counter() - began
        error = np.abs(np.ravel(trained.predict(test)) - new["y"])
        right = float(np.mean(error < NEAR))
        name = next(e.name for e in trained.plan.network.parameters.entries if e.own_name == "U")
        e = explain(Path(folder, "run"), f"{name}[0, 0]")
        back = list(time_lines(e))
    result = {"network": chosen.network, "steps": chosen.steps, "right": right, "mean_error": float(error.mean()),
              "seconds": seconds}  # fmt: skip
    if chosen.json:
        print(json.dumps(result))
    else:
        print(f"{chosen.network}: {right:.1%} of 2,000 new sequences of up to {chosen.steps} steps are right"
              f" (goal {GOAL:.0%}), mean error {error.mean():.4f}, {seconds:.0f} s")  # fmt: skip
        print(*back, sep="\n")
    return 0 if right >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
