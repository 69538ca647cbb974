"""The peak memory of a process during training, and before the first step."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from comparison.problems import NETWORKS

SCRIPT = """
import json, sys
sys.path.insert(0, {folder!r})
def peak():  # of this process alone, in MB (Linux)
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
from comparison.peers import PEERS
from comparison.problems import problem
p = problem({widths!r}, {batch}, {steps})
epoch = PEERS[{peer!r}](p)
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
            widths, batch, steps = NETWORKS[name]
            script = SCRIPT.format(
                folder=str(Path(__file__).parent.parent), widths=widths, batch=batch, steps=steps, peer=peer
            )
            result = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
            if result.returncode:
                print(f"  {peer:24} not run: {result.stderr.strip().splitlines()[-1]}")
                continue
            before, after = json.loads(result.stdout.splitlines()[-1])
            results[name].append({"peer": peer, "before": before, "peak": after})
            print(f"  {peer:24} {after:7.0f} MB, {after - before:6.0f} MB more than before the first step", flush=True)
    return results
