"""Compare chainrule with other libraries on this machine: every measurement of the page on speed.

    python benchmarks/compare.py [--parts PART ...] [--times N] [--networks NAME ...] [--write]

Compares with those libraries of the extra "peers" that are installed. --write updates
docs/benchmarks.json, the tables of docs/benchmarks.md and docs/benchmark-notes.md, and the plots
in docs/pictures/. Each part replaces its own results only; `--parts --write` measures nothing and
writes the pages from the results in the file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from comparison import endtoend, epochs, generation, growth, latency, memory, page, pictures, sequences
from comparison.problems import NETWORKS

RESULTS = Path(__file__).parent.parent / "docs" / "benchmarks.json"
PARTS = ("epochs", "pictures", "sequences", "latency", "generation", "growth", "whole", "start", "memory")


def machine() -> dict[str, Any]:
    """The machine, and the versions of everything measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    from chainrule.engine import native

    kernels = native.native.processors()[0] if native.is_built() else "none"
    packages = ("chainrule", "numpy", "scipy", "torch", "onnxruntime", "jax", "scikit-learn", "tinygrad")
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": model or platform.machine(),
        "kernels": kernels,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "versions": versions,
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    every = [*NETWORKS, *pictures.NETWORKS, *sequences.NETWORKS]
    parser.add_argument("--networks", nargs="*", default=every, choices=every)
    parser.add_argument("--times", type=int, default=15, help="timed epochs, or runs of each command")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if arguments.times < 1:
        parser.error("--times must be at least 1")
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results: dict[str, Any] = {**before, "machine": machine()} if arguments.parts else before
    if "epochs" in arguments.parts:
        results["epochs"] = {
            **before.get("epochs", {}),
            **epochs.measure(arguments.times, [n for n in NETWORKS if n in arguments.networks]),
        }
    for part, module in (("pictures", pictures), ("sequences", sequences)):
        if part in arguments.parts:
            named = [n for n in module.NETWORKS if n in arguments.networks]
            results[part] = {**before.get(part, {}), **epochs.measure_part(module, arguments.times, named)}
    if "latency" in arguments.parts:
        results["latency"] = latency.measure(arguments.times)
    if "generation" in arguments.parts:
        results["generation"] = generation.measure(arguments.times)
    if "growth" in arguments.parts:
        results["growth"] = growth.measure(max(arguments.times // 3, 3))
    if "start" in arguments.parts:
        results["start"] = endtoend.first_step(max(arguments.times // 2, 3))
    if "whole" in arguments.parts:
        results["whole"] = endtoend.whole(max(arguments.times // 3, 3))
    if "memory" in arguments.parts:
        results["memory"] = memory.measure()
        results["memory of pictures"] = memory.measure_pictures()
        results["memory of sequences"] = memory.measure_sequences()
    if arguments.write:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        page.write(RESULTS.parent, results)
        if "growth" in arguments.parts:
            growth.draw(results["growth"], RESULTS.parent / "pictures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
