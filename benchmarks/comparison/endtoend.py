"""From a new process to the first training step, and to a trained classifier of digits.

Each command is a process of its own, so that it includes importing and reading.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "scripts"


def _seconds(command: list[str], times: int) -> tuple[list[float], str]:
    taken, printed = [], ""
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            result = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
            taken.append(time.perf_counter() - began)
        if result.returncode:
            raise ImportError(result.stderr.strip().splitlines()[-1])
        printed = result.stdout
    return taken, printed


def _compared(commands: dict[str, list[str]], times: int) -> list[dict[str, Any]]:
    rows = []
    for name, command in commands.items():
        try:
            taken, printed = _seconds(command, times)
        except ImportError as error:
            print(f"  {name:28} not run: {error}")
            continue
        row = {"peer": name, "seconds": statistics.median(taken), "fastest": min(taken), "slowest": max(taken)}
        words = [word for line in printed.splitlines() if "accuracy" in line for word in line.split()]
        numbers = [float(word) for word in words if word.replace(".", "", 1).isdigit()]
        if numbers:
            row["accuracy"] = numbers[-1]
        rows.append(row)
        more = f", accuracy {row['accuracy']:.4f}" if numbers else ""
        print(f"  {name:28} {row['seconds']:7.2f} s ({min(taken):.2f} to {max(taken):.2f}){more}", flush=True)
    return rows


def first_step(times: int) -> list[dict[str, Any]]:
    """Import and train for one step, without the time that Python itself takes to start."""
    print("\nimport and first training step")
    bare = statistics.median(_seconds([sys.executable, "-c", "pass"], times)[0])
    names = {
        "chainrule": "first_chainrule",
        "PyTorch": "first_torch",
        "JAX": "first_jax",
        "scikit-learn": "first_sklearn",
    }
    rows = _compared({name: [sys.executable, str(SCRIPTS / f"{file}.py")] for name, file in names.items()}, times)
    for row in rows:
        for key in ("seconds", "fastest", "slowest"):
            row[key] -= bare
    return rows


def whole(times: int) -> dict[str, list[dict[str, Any]]]:
    """Import, read, train and evaluate: every peer with the same split, until it is as accurate."""
    results = {}
    for data in ("digits", "mnist-5k"):
        print(f"\n{data}, end to end")
        command = [sys.executable, "-c", "from chainrule.cli import main; main()", "train", data]
        dense = [*command, "--network", "64 relu, 64 relu", "--augment", "none"]  # as the others
        peers = {"scikit-learn": "whole_sklearn", "PyTorch": "whole_torch", "JAX": "whole_jax"}
        others = {name: [sys.executable, str(SCRIPTS / f"{file}.py"), data] for name, file in peers.items()}
        if data != "digits":  # its default settings are less accurate than the others
            others["scikit-learn, as accurate"] = [*others["scikit-learn"], "best"]
        own = {f'chainrule train {data} --network "64 relu, 64 relu"': dense}
        results[data] = _compared({**own, **others, f"chainrule train {data}, by convolutions": command}, times)
    return results
