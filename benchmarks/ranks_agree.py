"""How far apart 1, 2, 3 and 4 ranks are: the gradient of a step beneath a bound, weight by weight, and
how a whole training drifts.

    python benchmarks/ranks_agree.py [--weights 40] [--steps 500] [--write]

Ranks add up the same terms of a weight's gradient in another order. Whatever the order, the sum of n terms t
in floating point is off by at most gamma_n sum |t|, with gamma_n = n u / (1 - n u) and the unit roundoff u
(Higham, 2002, section 4.2); so two orders are at most twice that apart. The terms are those of `explain`, in
float64; n counts the rounding of each product, of the loss's division, and of the sums over ranks, too.
With batch norm the mean and the variance are sums over samples, too, whose rounding changes every term: there
the bound is the one that `explain` shows (twice: each of the two gradients may be that far from the exact one),
computed for some of the weights. It must hold for the other networks as well.

Ranks are threads here, which take the steps of processes to the same bits (tests/processes). The program exits
with 1 if a difference is larger than its bound.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chainrule import layers, losses
from chainrule.arrays import Array, Vector
from chainrule.descent import optimizer
from chainrule.engine import Batches, Position, Problem
from chainrule.engine.native import NativeEngine
from chainrule.engine.together import together
from chainrule.explain.rounding import gradient_rounding
from chainrule.explain.trace import Trace
from chainrule.network import Network

RANKS, DTYPES = (2, 3, 4), ("float32", "float64")
ROWS, BATCH, CLASSES = 203, 61, 4
"""Neither can be divided by a number of ranks."""
NETWORKS: dict[str, tuple[list[Any], tuple[int, ...]]] = {
    "Dense": ([layers.Dense(24, activation="relu"), layers.Dense(16, activation="tanh")], (12,)),
    "convolution, BatchNorm": (
        [layers.Conv2d(6, 3), layers.BatchNorm(), layers.ReLU(), layers.Conv2d(4, 3), layers.Flatten()], (7, 7, 2),
    ),
    "attention": (
        [layers.Residual([layers.LayerNorm(), layers.MultiHeadAttention(2)]), layers.Flatten()], (6, 8),
    ),
    "LSTM": ([layers.Scan(layers.LSTM(7))], (6, 5)),
}  # fmt: skip
"""Hidden layers, and the shape of a sample."""
OTHER_ROUNDINGS = 8
"""Of a term, besides the additions of a sum over samples: the product, the division by the number of samples,
and additions over ranks and threads."""
AFTER = (1, 10, 100, 500)
"""The steps after which the drift is measured."""
PAGE = Path(__file__).parents[1] / "docs" / "clusters.md"


def problem(name: str, dtype: str) -> Problem:
    """A network to train."""
    hidden, shape = NETWORKS[name]
    network = Network([*hidden, layers.Dense(CLASSES)], shape, dtype=dtype)
    return Problem(network, losses.CategoricalCrossEntropy(), optimizer("adam 0.003"), (), seed=1)


def samples(of: Problem, steps: int) -> tuple[Position, Batches]:
    """Where training starts, and mini-batches for so many steps."""
    network, rng = of.network, np.random.default_rng(2)
    x = rng.normal(size=(ROWS, *network.input_shape)).astype(network.dtype)
    y = (x.reshape(ROWS, -1)[:, :CLASSES] + rng.normal(size=(ROWS, CLASSES))).argmax(axis=1)
    order = np.concatenate([rng.permutation(ROWS) for _ in range(-(-steps * BATCH // ROWS))])[: steps * BATCH]
    parameters = network.draw(0)
    start = Position(0, parameters, network.start_statistics(), of.optimizer.start(parameters, network.parameters))
    return start, Batches(x, y, None, order, BATCH)


def steps_of(of: Problem, ranks: int) -> Any:
    """What takes steps on so many ranks."""
    if ranks == 1:
        return NativeEngine(of, 1).steps
    return together(lambda world: NativeEngine(of, 1, world=world).steps, ranks)


@dataclass(frozen=True)
class Agreement:
    """The gradients of ranks, compared with that of one process.

    Attributes:
        apart: (weights,) the largest difference over the numbers of ranks
        of_sums: (weights,) how far two sums of the same terms can be apart
        places: the weights whose `of_all` is known
        of_all: (places,) how far two gradients can be apart by all roundings of a step
        exact_terms: whether all ranks add the same terms, so that the first bound holds
    """

    apart: Vector
    of_sums: Vector
    places: Array
    of_all: Vector
    exact_terms: bool

    @property
    def holds(self) -> bool:
        """Whether every difference is beneath its bound."""
        are_sums = bool((self.apart <= self.of_sums).all()) or not self.exact_terms
        return are_sums and bool((self.apart[self.places] <= self.of_all).all())


def agreement(name: str, dtype: str, ranks: tuple[int, ...] = RANKS, weights: int = 40) -> Agreement:
    """Compare the gradients of a step, with the bound of all roundings for so many weights."""
    of = problem(name, dtype)
    start, batches = samples(of, 1)
    gradient, *others = (next(steps_of(of, count)(start, batches)).gradient for count in (1, *ranks))
    apart = np.max([np.abs(other.astype(np.float64) - gradient) for other in others], axis=0)
    trace = Trace(of, start, of.gather(batches.data, batches.rows(0), 0), batches.numbers_of(0))
    unit, of_sums = float(np.finfo(dtype).eps) / 2, np.empty(len(gradient))
    for place in range(len(gradient)):
        products = np.concatenate([terms.products for terms in trace.terms(place)])
        n = len(products) + OTHER_ROUNDINGS
        of_sums[place] = 2 * n * unit / (1 - n * unit) * np.abs(products).sum()
    places = np.random.default_rng(0).permutation(len(gradient))[:weights]
    roundings = [gradient_rounding(trace, dtype, int(k), float(gradient[k])) for k in places]
    exact_terms = not of.network.statistics.size
    return Agreement(apart, of_sums, places, 2 * np.array([one.bound for one in roundings]), exact_terms)


def drift(name: str, dtype: str, ranks: int, steps: int) -> list[tuple[float, float]]:
    """After each of so many steps of AFTER how far the weights are apart, and the outputs for all samples,
    relative to the largest."""
    of, found = problem(name, dtype), []
    start, batches = samples(of, steps)
    engine = NativeEngine(of, 1)
    pairs = zip(steps_of(of, 1)(start, batches), steps_of(of, ranks)(start, batches), strict=True)
    for k, records in enumerate(pairs, 1):
        if k in AFTER:
            alone, others = (record.after for record in records)
            outputs = [engine.predict(one.parameters, batches.x, one.statistics) for one in (alone, others)]
            found.append((apart(alone.parameters, others.parameters), apart(*outputs)))
    return found


def apart(some: Array, others: Array) -> float:
    """The largest difference, relative to the largest number."""
    return float(np.abs(some - others).max() / np.abs(some).max())


def main() -> int:
    """Measure, and print two tables; 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", type=int, default=40, help="for how many weights all roundings are bounded")
    parser.add_argument("--steps", type=int, default=500, help="of the drifting training")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/clusters.md")
    options = parser.parse_args()
    lines, holds = [
        "| network | precision | weights | apart at most | its bound | largest part of it | of that of all roundings |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ], True  # fmt: skip
    for name in NETWORKS:
        for dtype in DTYPES:
            one = agreement(name, dtype, weights=options.weights)
            holds &= one.holds
            bound = one.of_sums if one.exact_terms else np.full(len(one.apart), np.nan)
            largest = int(one.apart.argmax())
            fraction, of_all = (one.apart / bound).max(), (one.apart[one.places] / one.of_all).max()
            sums = f"{bound[largest]:.1e} | {fraction:.1%}" if one.exact_terms else " | "
            lines.append(f"| {name} | {dtype} | {len(one.apart):,} | {one.apart.max():.1e} | {sums} | {of_all:.2%} |")
            print(lines[-1], flush=True)
    of_drift = ["| network | precision | ranks | " + " | ".join(f"{k:,} steps" for k in AFTER) + " |"]
    of_drift.append("| --- | --- | --- |" + " --- |" * len(AFTER))
    for name in NETWORKS:
        for dtype in DTYPES:
            for ranks in (2, 4):
                found = drift(name, dtype, ranks, options.steps)
                cells = [f"{weights:.0e}, {outputs:.0e}" for weights, outputs in found]
                of_drift.append(f"| {name} | {dtype} | {ranks} | {' | '.join(cells)} |")
                print(of_drift[-1], flush=True)
    print("every difference is beneath its bound" if holds else "a difference is larger than its bound")
    if options.write:
        write({"agreement": lines, "drift": of_drift})
    return int(not holds)


def write(tables: dict[str, list[str]]) -> None:
    """Put tables between their marks on the page."""
    page = PAGE.read_text()
    for name, lines in tables.items():
        before, mark, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        page = before + mark + "\n" + "\n".join(lines) + "\n\n" + end + after
    PAGE.write_text(page)


if __name__ == "__main__":
    sys.exit(main())
