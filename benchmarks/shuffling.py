"""How well samples are shuffled in blocks: a network is trained on rows that are sorted by class, as
it would be on a table that was exported in some order.

    python benchmarks/shuffling.py [--rows 200000] [--seeds 3]

For a shuffle of all rows, and for blocks of a tenth and of a hundredth of them: the correlation of
the place of a row in an epoch with its number; the standard deviation of the mean label of 1,000
rows that follow each other, compared with what chance gives; and the loss and the accuracy on
validation rows after three epochs, with their standard deviation over the seeds. Last, blocks of one
piece each, which is reading in order: what shuffling is for.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from chainrule.data import Dataset, from_arrays
from chainrule.runs import follow
from chainrule.training import Plan, make_plan, start
from chainrule.training.blocks import Blocks

HELD_OUT, SIZE, WINDOW = 20_000, 32, 1000


def sorted_rows(count: int) -> Dataset:
    """Rows with five classes, sorted by class."""
    random = np.random.default_rng(0)
    x = random.normal(size=(count + HELD_OUT, 16)).astype("f4")
    score = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + x[:, 3]
    noisy = score + random.normal(size=len(x)) * 0.3
    y = np.digitize(noisy, np.quantile(score, [0.2, 0.4, 0.6, 0.8])).astype(np.int64)
    rows = HELD_OUT + np.argsort(y[HELD_OUT:], kind="stable")
    return from_arrays(x[rows], y[rows], validation=(x[:HELD_OUT], y[:HELD_OUT]))


def plan_of(data: Dataset, blocks: Blocks | None, seed: int) -> Plan:
    """A training of three epochs at a constant learning rate, which forgives no order."""
    plan = make_plan(
        "64 relu, 64 relu", data, epochs=3, batch_size=SIZE, optimizer="adam 0.002", patience=None, seed=seed
    )
    return replace(plan, blocks=blocks)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    data = sorted_rows(options.rows)
    count, labels = len(data.training.x), np.asarray(data.training.y)

    def blocks(parts: int, pieces: int) -> Blocks:
        rows = -(-count // parts // SIZE) * SIZE
        return Blocks(rows, max(1, rows // pieces))

    ways = {
        "all rows": None, "10 blocks of 256 pieces": blocks(10, 256), "100 blocks of 64 pieces": blocks(100, 64),
        "100 blocks of 1 piece": blocks(100, 1),
    }  # fmt: skip
    print(f"{'shuffled':<26}{'correlation':>13}{'deviation / chance':>20}{'loss':>18}{'accuracy':>18}")
    for name, way in ways.items():
        order = plan_of(data, way, 0).order(count)
        taken = np.concatenate(
            [block.numbers[block.order] for k in range(order.count) for block in [order.block(0, k)]]
        )
        means = labels[taken][: count // WINDOW * WINDOW].reshape(-1, WINDOW).mean(axis=1)
        chance = labels.std() / WINDOW**0.5
        ends = [follow(plan := plan_of(data, way, k), data, start(plan)).history[-1] for k in range(options.seeds)]
        losses, right = (np.array([end[f"validation_{of}"] for end in ends]) for of in ("loss", "accuracy"))
        correlation = np.corrcoef(np.arange(count), taken)[0, 1]
        scores = "".join(f"{f'{values.mean():.4f} +- {values.std():.4f}':>18}" for values in (losses, right))
        print(f"{name:<26}{correlation:>+13.4f}{means.std() / chance:>20.2f}{scores}", flush=True)


if __name__ == "__main__":
    main()
