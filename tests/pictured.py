"""Explanations to draw: of a weight of any network, on random samples."""

import numpy as np

from chainrule.explain import explain
from chainrule.network import Network


def of(text, weight="dense_1.W[0, 0]", width=3, loss="mse", optimizer="adam"):
    """The first step of a network with `width` inputs on four random samples."""
    random, network = np.random.default_rng(0), Network(text, width, dtype="float64")
    x, outputs = random.normal(size=(4, width)), network.output_shape
    y = random.normal(size=(4, *outputs)) if loss == "mse" else random.integers(0, outputs[0], 4)
    return explain(network, network.draw(), x, y, loss, optimizer, weight)
