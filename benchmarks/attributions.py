"""How closely integrated gradients add up to the difference from the baseline, and how many points and
seconds that takes, for a row of built-in data.

    python benchmarks/attributions.py

Exits with 1 if a completeness error is more than 1e-9 of the output.
"""

from __future__ import annotations

import time

import numpy as np

import chainrule
from chainrule.attribution.function import Function
from chainrule.attribution.integrated import integrate
from chainrule.attribution.outputs import outputs_of

NETWORKS = [
    ("8 tanh", "iris"), ("64 gelu", "diabetes"), ("64 relu, 32 relu", "iris"), ("128 relu, 128 relu", "digits"),
    ("lenet", "digits"), (None, "digits"),
]  # fmt: skip
"""Each network, or the default, and its data."""
MOST = 3
"""The outputs that are explained, at most."""


def main() -> int:
    """Measure and print."""
    good = True
    print("| network | data | outputs | points | seconds | completeness error |\n| --- | --- | --- | --- | --- | --- |")
    for network, name in NETWORKS:
        trained = chainrule.train(network, name, epochs=5)
        data = chainrule.load(name)
        x = np.asarray(data.test.x[:1], np.float64)
        function = Function.of(trained)
        outputs = outputs_of(trained.target, trained.plan.loss, trained.plan.network.output_shape[-1])
        outputs = outputs.only(range(min(MOST, len(outputs.known))))
        sample = function.point(x[0].reshape(trained.plan.network.input_shape))
        baseline = function.point(np.zeros_like(sample.x))
        start = time.perf_counter()
        found = integrate(function, outputs, baseline, sample)
        seconds, error = time.perf_counter() - start, float(np.abs(found.error).max())
        good &= found.is_reached
        label = f"`{network}`" if network else "the default"
        print(
            f"| {label} | {name} | {len(outputs.known)} | {found.points:,} | {seconds:.1f} | {error:.0e} |", flush=True
        )
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
