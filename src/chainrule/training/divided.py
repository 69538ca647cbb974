"""Predictions of many samples, divided among the ranks of a training."""

from __future__ import annotations

from itertools import pairwise

from chainrule.arrays import Array, Deferred
from chainrule.engine import Predictor
from chainrule.processes import Processes

FEWEST = 256
"""Samples of a rank: fewer are predicted faster than they are exchanged."""


def divided(predict: Predictor, world: Processes, engine: str | None) -> Predictor:
    """What predicts the same, each rank its share of the samples; all ranks must call it with the
    same samples. The native engine's prediction of a sample has the same bits beside any others;
    other engines' are not divided.
    """
    if world.count == 1 or engine not in (None, "native"):  # the default engine of ranks
        return predict

    def together(x: Array | Deferred) -> Array:
        if len(x) < FEWEST * world.count:
            return predict(x)
        shares = [*pairwise(len(x) * k // world.count for k in range(world.count + 1))]
        start, stop = shares[world.rank]
        return world.joined(predict(x[start:stop]), [stop - start for start, stop in shares])

    return together
