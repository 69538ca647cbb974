"""Two installed versions of chainrule in turns: epochs of every network by both engines,
importing, explaining, whole commands.

    python benchmarks/before_after.py OTHER_PYTHON [--times N] [--only PART]

OTHER_PYTHON is the interpreter of an environment with the other version. Both versions run in a
process of their own and take turns of a fraction of a second, of which each reports its fastest
epoch or explanation: other load only adds time. What is printed is the median over pairs of turns
of this version's time divided by the other's. Exits with 1 if anything is more than 2 % slower,
and a command also more than 20 ms.
"""

import argparse
import statistics
import subprocess
import sys

NETWORKS = {
    "tiny": ((2, 8, 8, 2), 10, 1000, {"native": 200, "numpy": 2}),
    "small": ((30, 64, 32, 2), 32, 400, {"native": 40, "numpy": 3}),
    "medium": ((784, 128, 64, 10), 128, 40, {"native": 12, "numpy": 5}),
    "large": ((784, 1024, 1024, 10), 256, 6, {"native": 4, "numpy": 3}),
}
"""The widths from input to output, the batch, the steps of an epoch, and the epochs of a turn."""

TRAIN = """
import sys, time
import numpy as np, chainrule
from chainrule.layers import Dense
from chainrule.training import EpochEnded, Started
widths, batch, steps, engine, epochs = {widths}, {batch}, {steps}, {engine!r}, {epochs}
random = np.random.default_rng(0)
x = random.normal(size=(batch * steps, widths[0])).astype(np.float32)
y = (x @ random.normal(size=(widths[0], widths[-1]))).argmax(axis=1)
from_arrays = getattr(chainrule, "from_arrays", None) or chainrule.as_they_are
data = from_arrays(x, y, task="classification")
layers = [*(Dense(width, activation="relu") for width in widths[1:-1]), Dense(widths[-1])]
def measure():
    times = []
    chainrule.train(
        layers, data, loss="cross_entropy", optimizer="adam 0.001", batch_size=batch, epochs=epochs,
        patience=None, engine=engine,
        callbacks=[lambda event: isinstance(event, (Started, EpochEnded)) and times.append(time.perf_counter())],
    )
    return np.diff(times).min() / steps
"""

EXPLAIN = """
import sys, time
import numpy as np
from chainrule.explain import explain
from chainrule.network import Network
random = np.random.default_rng(0)
network = Network("512 relu, 256 relu, 10", 784)
x, y, w = random.normal(size=(128, 784)), random.integers(0, 10, 128), network.draw()
def measure():
    began = time.perf_counter()
    explain(network, w, x, y, "cross_entropy", "adam", "dense_2.W[3, 2]").as_json()
    return time.perf_counter() - began
"""

IMPORT = """
import subprocess, sys
def measure():
    script = "from time import perf_counter as now; a = now(); import chainrule; chainrule.train; print(now() - a)"
    return float(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)
"""

COMMANDS = {
    "train a table": "train table.csv --epochs 3 --output trained",
    "train iris": "train iris --epochs 3 --output trained",
    "show": "show run",
    "predict": "predict run table.csv",
    "evaluate": "evaluate run",
    "explain": "explain run --format json",
}

COMMAND = """
import os, shutil, subprocess, sys, tempfile, time
import numpy as np
os.chdir(tempfile.mkdtemp())
random = np.random.default_rng(0)
with open("table.csv", "w") as file:
    print("size,rooms,kind,price", file=file)
    for a, b, c, d in zip(*random.normal(size=(3, 500)).round(3), random.integers(0, 9, 500)):
        print(a, d, ["flat", "house"][d % 2], (2 * a + b / 9).round(3), sep=",", file=file)
def run(command):
    code = "from chainrule.cli import main; main()"
    subprocess.run([sys.executable, "-c", code, *command.split()], check=True, capture_output=True)
run("train table.csv --epochs 3 --output run")
def measure():
    shutil.rmtree("trained", ignore_errors=True)
    began = time.perf_counter()
    run({command!r})
    return time.perf_counter() - began
"""

TURNS = """
measure()
print("ready", flush=True)
for _ in sys.stdin:
    print(measure(), flush=True)
"""


class Version:
    """A process with one of the versions."""

    def __init__(self, python, script):
        command = [python, "-c", script + TURNS]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def turn(self):
        """The seconds that the process reports for its turn."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def end(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def compared(script, other, times):
    """The ratio of the two versions' times in each pair of turns, and all times of both."""
    versions = [Version(python, script) for python in (sys.executable, other)]
    pairs = []
    for k in range(times):
        first, second = versions if k % 2 else versions[::-1]
        taken = {first: first.turn(), second: second.turn()}
        pairs.append([taken[version] for version in versions])
    for version in versions:
        version.end()
    return sorted(now / before for now, before in pairs), list(zip(*pairs, strict=True))


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("other", help="the interpreter of an environment with the other version")
    parser.add_argument("--only", default="", help="a part of the names of what to measure")
    parser.add_argument("--times", type=int, default=60, help="pairs of turns")
    arguments = parser.parse_args()
    scripts = {"importing": IMPORT, "explaining, as JSON": EXPLAIN}
    for engine in ("native", "numpy"):
        for name, (widths, batch, steps, epochs) in NETWORKS.items():
            scripts[f"{name}, {engine}"] = TRAIN.format(
                widths=widths, batch=batch, steps=steps, engine=engine, epochs=epochs[engine]
            )
    scripts |= {f"command: {name}": COMMAND.format(command=command) for name, command in COMMANDS.items()}
    slower = False
    for name, script in scripts.items():
        if arguments.only not in name:
            continue
        ratios, (now, before) = compared(script, arguments.other, arguments.times)
        ratio, quarter = statistics.median(ratios), len(ratios) // 4
        print(
            f"{name:<22} {ratio:6.3f} of the other's time (half of the pairs {ratios[quarter]:.3f} to"
            f" {ratios[-quarter - 1]:.3f}; fastest {min(now) * 1e6:,.1f} and {min(before) * 1e6:,.1f} microseconds)",
            flush=True,
        )
        is_much = not name.startswith("command") or statistics.median(now) - statistics.median(before) > 0.02
        slower |= ratio > 1.02 and is_much
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
