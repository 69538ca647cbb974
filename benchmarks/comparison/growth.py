"""How the time of a step grows with the batch, the width, the depth, the rows and the threads.

One of them changes at a time, starting from two hidden layers of 128 units on 128 inputs, 10
classes, a batch of 64 and 6,400 rows.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from chainrule.engine.native import NativeEngine
from chainrule.threads import available
from chainrule.training.loop import start
from comparison.epochs import step
from comparison.peers import PEERS
from comparison.problems import Problem, problem

PLOTTED = ("chainrule", "PyTorch, fused Adam", "JAX, scan", "scikit-learn")
INPUTS, CLASSES, WIDTH, DEPTH, BATCH, ROWS = 128, 10, 128, 2, 64, 6400
ALONG = {
    "batch": (1, 4, 16, 64, 256, 1024),
    "width": (8, 32, 128, 512, 1024),
    "depth": (1, 2, 4, 8, 16),
    "rows": (640, 6400, 64000),
    "threads": (1, 2, 4),
}


def _problem(axis: str, value: int) -> Problem:
    width, depth = (value if axis == "width" else WIDTH), (value if axis == "depth" else DEPTH)
    batch, rows = (value if axis == "batch" else BATCH), (value if axis == "rows" else ROWS)
    return problem((INPUTS, *[width] * depth, CLASSES), batch, max(rows // batch, 1))


def _timed(epoch: Any, p: Problem, times: int) -> float:
    epoch(0)
    return 1e6 * statistics.median(step(epoch, p) for _ in range(times))


def _by_threads(p: Problem, threads: int, times: int) -> float:
    engine, position = NativeEngine(p.plan.problem(len(p.x)), threads), start(p.plan).position

    def epoch(number: int) -> None:
        nonlocal position
        for chunk in engine.chunks(position, p.plan.batches(number, p.data.training)):
            position = chunk.after

    return _timed(epoch, p, times)


def measure(times: int) -> dict[str, list[dict[str, Any]]]:
    """Microseconds per step, for every value along every axis."""
    results: dict[str, list[dict[str, Any]]] = {}
    for axis, values in ALONG.items():
        print(f"\nby {axis}")
        results[axis] = []
        for value in values:
            row: dict[str, Any] = {"value": value}
            if axis == "threads":
                large = replace(problem((784, 1024, 1024, 10), 256, 4))
                row["128 wide"] = _by_threads(_problem("width", WIDTH), value, times)
                row["1,024 wide"] = _by_threads(large, value, times)
            else:
                p = _problem(axis, value)
                for peer in PLOTTED:
                    try:
                        row[peer] = _timed(PEERS[peer](p), p, times)
                    except ImportError:
                        continue
            results[axis].append(row)
            print("  " + ", ".join(f"{k} {v:,.1f}" if k != "value" else f"{v:6}" for k, v in row.items()), flush=True)
    print(f"\n{available()} cores")
    return results


def draw(results: dict[str, list[dict[str, Any]]], folder: Path) -> None:
    """Draw one plot per axis."""
    import plotly.graph_objects as go

    for axis, rows in results.items():
        figure = go.Figure()
        names = [name for name in rows[0] if name != "value"]
        for name in names:
            y = [row.get(name) for row in rows]
            figure.add_scatter(x=[row["value"] for row in rows], y=y, name=name, mode="lines+markers")
        figure.update_layout(
            template="plotly_white", width=620, height=360, margin={"l": 70, "r": 20, "t": 20, "b": 55},
            legend={"orientation": "h", "y": 1.12}, font={"size": 13},
        )  # fmt: skip
        figure.update_xaxes(type="log", title=axis, tickvals=[row["value"] for row in rows])
        figure.update_yaxes(type="log", title="microseconds per step")
        (folder / f"growth-{axis}.svg").write_bytes(figure.to_image(format="svg"))
