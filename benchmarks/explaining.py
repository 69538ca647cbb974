"""Time and size of an explanation: a weight of a 784-512-256-10 network, batch 128, medians; and the
time for a weight of `resnet18`, batch 32 of pictures of (32, 32, 3).

    python benchmarks/explaining.py

Exits with 1 if its JSON takes more than 1.5 s from the shell or 0.2 s in a process that has
already loaded the run, or if its page is larger than a megabyte.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import chainrule
from chainrule.explain import explain, lines
from chainrule.explain.page import page
from chainrule.training import Event, Stepped

MAIN = "from chainrule.cli import main; main()"
WEIGHT = "dense_1.W[400, 7]"


def main() -> int:
    """Measure and print."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        np.savez(Path(place, "data.npz"), x=random.normal(size=(800, 784)), y=random.integers(0, 10, 800))
        data = chainrule.load(Path(place, "data.npz"))
        folder = Path(place, "run")
        recorder = chainrule.Recorder(folder)
        chainrule.train("512 relu, 256 relu", data, epochs=2, batch_size=128, callbacks=[recorder])
        run, warm, shell = chainrule.Run.open(folder), [], []
        for _ in range(7):
            began = time.perf_counter()
            explain(run, WEIGHT, 5, data=data).as_json()
            warm.append(time.perf_counter() - began)
        for _ in range(5):
            began = time.perf_counter()
            arguments = ["explain", str(folder), WEIGHT, "--step", "5", "--json"]
            subprocess.run([sys.executable, "-c", MAIN, *arguments], check=True, capture_output=True)
            shell.append(time.perf_counter() - began)
        deep = resnet(Path(place, "deep"))
        size = len(page(explain(run, WEIGHT, 5, data=data)).encode()) / 1e6
    in_process, from_shell = statistics.median(warm), statistics.median(shell)
    print(f"JSON in a warm process {in_process:.2f} s   (target 0.2)")
    print(f"JSON from the shell    {from_shell:.2f} s   (target 1.5)")
    print(f"a weight of resnet18   {deep:.0f} s, its last step's replay included")
    print(f"the page               {size:.2f} MB  (target 1)")
    return 0 if in_process <= 0.2 and from_shell <= 1.5 and size <= 1 else 1


def resnet(folder: Path) -> float:
    """The seconds that the text takes for a weight of the first layer, through which all must go."""
    data = chainrule.load("shapes")
    chainrule.train("resnet18", data, epochs=1, batch_size=32, callbacks=[Until(2), chainrule.Recorder(folder)])
    began = time.perf_counter()
    lines(explain(chainrule.Run.open(folder), "resnet18_1.conv_1.W[1, 1, 0, 7]", data=data))
    return time.perf_counter() - began


@dataclass
class Until:
    """Ends a training after so many steps."""

    steps: int

    def __call__(self, event: Event) -> None:
        if isinstance(event, Stepped) and event.progress.position.step >= self.steps:
            event.stop()


if __name__ == "__main__":
    sys.exit(main())
