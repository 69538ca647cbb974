"""The peak memory of a process during training, and before the first step."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from comparison import pictures, sequences
from comparison.problems import NETWORKS

SCRIPT = """
import json, sys
sys.path.insert(0, {folder!r})
def peak():  # of this process alone, in MB (Linux)
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
from comparison import {module}, peers
p = {module}.problem(*{arguments!r})
epoch = {{**peers.PEERS, **getattr({module}, "PEERS", {{}})}}[{peer!r}](p)
before = peak()
for number in range(3):
    epoch(number)
print(json.dumps([before, peak()]))
"""
MEASURED = ("chainrule", "PyTorch, fused Adam", "JAX, scan", "scikit-learn")


def measure() -> dict[str, list[dict[str, Any]]]:
    """Megabytes for the two larger networks."""
    results: dict[str, list[dict[str, Any]]] = {}
    for name in ("medium", "large"):
        print(f"\n{name}: memory")
        results[name] = []
        for peer in MEASURED:
            taken = _peaks("problems", NETWORKS[name], peer)
            if taken is not None:
                results[name].append({"peer": peer, "before": taken[0], "peak": taken[1]})
    return results


def measure_sequences() -> dict[str, list[dict[str, Any]]]:
    """Megabytes for attention and recurrence."""
    results: dict[str, list[dict[str, Any]]] = {}
    for name, arguments in sequences.NETWORKS.items():
        print(f"\n{name}: memory")
        results[name] = []
        for peer in ("chainrule", "PyTorch, fused Adam"):
            taken = _peaks("sequences", arguments, peer)
            if taken is not None:
                results[name].append({"peer": peer, "before": taken[0], "peak": taken[1]})
    return results


def measure_pictures() -> dict[str, list[dict[str, Any]]]:
    """Megabytes for convolutional networks, beside what their layers' outputs and the derivatives by
    these take together.
    """
    results: dict[str, list[dict[str, Any]]] = {}
    for name, arguments in pictures.NETWORKS.items():
        p = pictures.problem(*arguments)
        outputs = sum(np.prod(shape) for shape in p.plan.network.graph.shapes)
        both = 2 * 4 * p.batch * outputs / 2**20
        print(f"\n{name}: memory; outputs and derivatives take {both:.0f} MB")
        results[name] = []
        for peer in ("chainrule", "PyTorch, fused Adam"):
            taken = _peaks("pictures", arguments, peer)
            if taken is not None:
                before, peak = taken
                results[name].append({"peer": peer, "before": before, "peak": peak, "outputs": both})
                print(f"  {(peak - before) / both:.2f} times as much", flush=True)
    return results


def _peaks(module: str, arguments: tuple[Any, ...], peer: str) -> tuple[float, float] | None:
    """Megabytes before the first step, and at most."""
    script = SCRIPT.format(folder=str(Path(__file__).parent.parent), module=module, arguments=arguments, peer=peer)
    result = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    if result.returncode:
        print(f"  {peer:24} not run: {result.stderr.strip().splitlines()[-1]}")
        return None
    before, after = json.loads(result.stdout.splitlines()[-1])
    print(f"  {peer:24} {after:7.0f} MB, {after - before:6.0f} MB more than before the first step", flush=True)
    return before, after
