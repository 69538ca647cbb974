"""How good forecasts of time series are beside the seasonal naive forecast.

    python benchmarks/series.py [--series co2 elnino] [--networks default linear gru conv] [--seeds 3] [--json]

Trains on the built-in series (`pip install ".[series]"`) with every other setting left to its
default, and prints the mean absolute error on the latest fifth of the time, the mean over seeds,
beside that of the naive forecast, which repeats the last season, or the last value where that is
better on the part to train on. Exits with 1 if the default network is worse than the naive forecast
on more than one series: prices of shares are known to be hardly better forecast than by the last.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np

import chainrule
from chainrule.data import BUILTIN

NETWORKS = {
    "default": None,
    "linear": "",
    "hidden": "flatten, 64 relu, dropout 0.3",
    "gru": "gru 32",
    "conv": "conv 32 5 relu padding=causal, conv 32 3 relu padding=causal dilation=4, flatten, dropout 0.3",
}


def measured(name: str, network: str | None, seeds: int) -> dict[str, float]:
    """The errors of a network on a series, and the seconds that a training takes."""
    data, found, began = chainrule.load(name), [], time.process_time()
    for seed in range(seeds):
        found.append(chainrule.train(network, data, seed=seed, threads=1).evaluate())
    names = ("mae", "naive_mae", "skill")
    means = {each: float(np.mean([one[each] for one in found])) for each in names}
    return {**means, "season": data.target.season, "seconds": (time.process_time() - began) / seeds}


def main() -> int:
    """Train, measure and print."""
    series = [name for name, builtin in BUILTIN.items() if builtin.series is not None]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", nargs="+", choices=series, default=series)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["default"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in arguments.series:
        found[name] = {}
        for network in arguments.networks:
            one = found[name][network] = measured(name, NETWORKS[network], arguments.seeds)
            if not arguments.json:
                errors = f"error {one['mae']:9.4g}   naive {one['naive_mae']:9.4g} (season {one['season']})"
                print(f"{name:16} {network:8} {errors}   skill {100 * one['skill']:6.1f} %   {one['seconds']:5.1f} s")
                sys.stdout.flush()
    if arguments.json:
        print(json.dumps(found, indent=1))
    worse = [name for name, of in found.items() if of.get("default", {}).get("skill", 0) < 0]
    return int(len(worse) > 1)


if __name__ == "__main__":
    sys.exit(main())
