"""chainrule beside other libraries, on this machine: everything that the documentation's page on speed shows.

    python benchmarks/compare.py [--parts PART ...] [--times N] [--networks NAME ...] [--write]

Compares with what is installed of the extra "peers". With --write the results go to docs/benchmarks.json, the tables of
docs/benchmarks.md and the plots in docs/pictures/; each part replaces its own results, and leaves those of others.
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

from comparison import endtoend, epochs, growth, memory, page
from comparison.problems import NETWORKS

RESULTS = Path(__file__).parent.parent / "docs" / "benchmarks.json"
PAGE = RESULTS.with_suffix(".md")
PARTS = ("epochs", "growth", "whole", "start", "memory")


def machine() -> dict[str, Any]:
    """What was measured on, and with which versions."""
    names = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in names if line.startswith("model name")), "")
    from chainrule.engine import native

    kernels = native.native.processors()[0] if native.is_built() else "none"
    packages = ("chainrule", "numpy", "scipy", "torch", "jax", "scikit-learn", "tinygrad")
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
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--times", type=int, default=15, help="epochs that are timed, or commands that are run")
    parser.add_argument("--write", action="store_true")
    told = parser.parse_args()
    if told.times < 1:
        parser.error("--times: it takes at least 1")
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results: dict[str, Any] = {**before, "machine": machine()}
    if "epochs" in told.parts:
        results["epochs"] = {**before.get("epochs", {}), **epochs.measure(told.times, told.networks)}
    if "growth" in told.parts:
        results["growth"] = growth.measure(max(told.times // 3, 3))
    if "start" in told.parts:
        results["start"] = endtoend.first_step(max(told.times // 2, 3))
    if "whole" in told.parts:
        results["whole"] = endtoend.whole(max(told.times // 3, 3))
    if "memory" in told.parts:
        results["memory"] = memory.measure()
    if told.write:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        PAGE.write_text(page.filled(PAGE.read_text(), results))
        if "growth" in told.parts:
            growth.draw(results["growth"], RESULTS.parent / "pictures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
