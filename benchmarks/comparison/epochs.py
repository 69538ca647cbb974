"""How long a training step takes, as part of a whole epoch: everyone takes turns in one process; medians and spread.

A turn is two epochs, of which the second is timed, with shuffling, gathering, the steps, and the mean loss.
"""

from __future__ import annotations

import gc
import statistics
import time
from typing import Any

import numpy as np
from comparison.peers import PEERS, Epoch
from comparison.problems import NETWORKS, Problem, problem


REST = 0.3
"""Seconds of rest before a turn: threads of the one before wait busily for more to do."""


def blas_speed(times: int = 3) -> float:
    """What BLAS reaches here: floating-point operations a second of a product of two large matrices in float32."""
    a = np.random.default_rng(0).normal(size=(2048, 2048)).astype(np.float32)
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        a @ a
        taken.append(time.perf_counter() - began)
    return 2 * 2048**3 / statistics.median(taken)


def in_turns(p: Problem, times: int) -> list[dict[str, Any]]:
    """Microseconds a step of every peer that works on this machine, and the mean loss of its first epoch."""
    epochs: dict[str, Epoch] = {}
    losses: dict[str, float] = {}
    for name, make in PEERS.items():
        try:
            epoch = make(p)
            losses[name] = epoch(0)  # whatever it compiles is compiled now
        except (ImportError, FileNotFoundError):  # not installed, or without the compiler that it needs
            continue
        epochs[name] = epoch
    taken: dict[str, list[float]] = {peer: [] for peer in epochs}
    blas: list[float] = []
    gc.collect()
    for number in range(1, 2 * times, 2):
        for peer, epoch in epochs.items():
            time.sleep(REST)
            epoch(number)  # so that nobody starts with caches that another has filled
            began = time.perf_counter()
            epoch(number + 1)
            taken[peer].append((time.perf_counter() - began) / p.steps)
        time.sleep(REST)
        blas.append(blas_speed())
    reached = statistics.median(blas)
    return [
        {"peer": peer, "microseconds": 1e6 * statistics.median(seconds), "fastest": 1e6 * min(seconds),
         "slowest": 1e6 * max(seconds), "loss": losses[peer],
         "same_loss": abs(losses[peer] - losses["chainrule"]) <= 1e-3 * losses["chainrule"],
         "share_of_blas": p.products / statistics.median(seconds) / reached, "blas": reached}
        for peer, seconds in taken.items()
    ]  # fmt: skip


def measure(times: int, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The four networks."""
    found = {}
    for name in names:
        widths, batch, steps = NETWORKS[name]
        print(f"\n{name}: {'-'.join(map(str, widths))}, batch {batch}")
        rows = in_turns(problem(widths, batch, steps), times)
        own = rows[0]["microseconds"]
        for row in rows:
            taken = f"{row['microseconds']:10,.2f} us a step ({row['fastest']:,.2f} to {row['slowest']:,.2f})"
            beside = f"{row['microseconds'] / own:7.2f} of chainrule's, {row['share_of_blas']:4.0%} of BLAS"
            note = "" if row["same_loss"] else f"   another loss: {row['loss']:.4g}"
            print(f"  {row['peer']:22} {taken}, {beside}{note}", flush=True)
        found[name] = rows
    return found
