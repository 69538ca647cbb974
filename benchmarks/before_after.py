"""Two installed versions of chainrule in turns: epochs of every network by both engines,
importing, explaining.

    python benchmarks/before_after.py OTHER_PYTHON [--times N] [--only PART]

OTHER_PYTHON is the interpreter of an environment with the other version. Each turn is a process of
its own and reports its fastest epoch or explanation, since other load only adds time. What is
printed is the median over pairs of turns of this version's time divided by the other's. Exits with
1 if anything is more than 2 % slower.
"""

import argparse
import statistics
import subprocess
import sys

NETWORKS = {
    "tiny": ((2, 8, 8, 2), 10, 1000, {"native": 500, "numpy": 4}),
    "small": ((30, 64, 32, 2), 32, 400, {"native": 150, "numpy": 8}),
    "medium": ((784, 128, 64, 10), 128, 40, {"native": 50, "numpy": 20}),
    "large": ((784, 1024, 1024, 10), 256, 6, {"native": 10, "numpy": 6}),
}
"""The widths from input to output, the batch, the steps of an epoch, and the epochs of a turn."""

TRAIN = """
import sys, time
import numpy as np, chainrule
from chainrule.layers import Dense
from chainrule.training import EpochEnded
widths, batch, steps, engine, epochs = {widths}, {batch}, {steps}, {engine!r}, {epochs}
random = np.random.default_rng(0)
x = random.normal(size=(batch * steps, widths[0])).astype(np.float32)
y = (x @ random.normal(size=(widths[0], widths[-1]))).argmax(axis=1)
data = getattr(chainrule, "from_arrays", None) or chainrule.as_they_are
layers = [*(Dense(width, activation="relu") for width in widths[1:-1]), Dense(widths[-1])]
ends = []
chainrule.train(
    layers, data(x, y, task="classification"), loss="cross_entropy", optimizer="adam 0.001", batch_size=batch,
    epochs=epochs, patience=None, engine=engine,
    callbacks=[lambda event: ends.append(time.perf_counter()) if isinstance(event, EpochEnded) else None],
)
print(np.diff(ends[1:]).min() / steps)
"""

EXPLAIN = """
import time
import numpy as np
from chainrule.explain import explain
from chainrule.network import Network
random = np.random.default_rng(0)
network = Network("512 relu, 256 relu, 10", 784)
x, y, w = random.normal(size=(128, 784)), random.integers(0, 10, 128), network.draw()
taken = []
for _ in range(12):
    began = time.perf_counter()
    explain(network, w, x, y, "cross_entropy", "adam", "dense_2.W[3, 2]").as_json()
    taken.append(time.perf_counter() - began)
print(min(taken[1:]))
"""

IMPORT = """
import time
began = time.perf_counter()
import chainrule; chainrule.train
print(time.perf_counter() - began)
"""


def turn(python, script):
    """The seconds that a process with this script reports."""
    return float(subprocess.run([python, "-c", script], check=True, capture_output=True, text=True).stdout.split()[-1])


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("other", help="the interpreter of an environment with the other version")
    parser.add_argument("--only", default="", help="a part of the names of what to measure")
    parser.add_argument("--times", type=int, default=9, help="pairs of turns")
    arguments = parser.parse_args()
    scripts = {"importing": IMPORT, "explaining, as JSON": EXPLAIN}
    for engine in ("native", "numpy"):
        for name, (widths, batch, steps, epochs) in NETWORKS.items():
            scripts[f"{name}, {engine}"] = TRAIN.format(
                widths=widths, batch=batch, steps=steps, engine=engine, epochs=epochs[engine]
            )
    slower = []
    for name, script in ((name, script) for name, script in scripts.items() if arguments.only in name):
        pairs = [(turn(sys.executable, script), turn(arguments.other, script)) for _ in range(arguments.times)]
        ratios = sorted(now / before for now, before in pairs)
        now, before = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(ratios)
        print(
            f"{name:<20} {ratio:6.3f} of the other's time ({ratios[0]:.3f} to {ratios[-1]:.3f};"
            f" {now * 1e6:,.1f} and {before * 1e6:,.1f} microseconds)",
            flush=True,
        )
        if ratio > 1.02:
            slower.append(name)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
