"""The time of a training step as part of whole epochs, all peers in turns in one process.

A turn is some epochs (shuffling, gathering, the steps, and the mean loss) after untimed ones for
warm-up. The speed of a shared processor changes from second to second. So chainrule takes a turn
before each of the others, and the ratio of the two is what counts; and a turn is repeated if a
matrix product before or after it shows that the processor was disturbed.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from comparison.peers import PEERS, Epoch
from comparison.problems import NETWORKS, problem

REST = 0.2
"""Seconds of rest before a turn, while the threads of the one before still spin."""
TRIES, UNDISTURBED = 5, 0.85
"""How often a turn is tried; it counts if the probes around it reach this share of the best."""
LONG = 1.0
"""Seconds from which a turn is long enough for disturbances to even out."""
TURN = 0.1
"""Seconds that a turn lasts at least, and its warm-up."""


def blas_speed(times: int = 3) -> float:
    """BLAS's floating-point operations per second for a product of two large float32 matrices."""
    a = np.random.default_rng(0).normal(size=(2048, 2048)).astype(np.float32)
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        a @ a
        taken.append(time.perf_counter() - began)
    return 2 * 2048**3 / statistics.median(taken)


def _turn(epoch: Epoch) -> tuple[float, int]:
    """Run whole epochs for TURN seconds, at least one: the seconds taken and the number of
    epochs.
    """
    began, count = time.perf_counter(), 0
    while True:
        count += 1
        epoch(count)
        taken = time.perf_counter() - began
        if taken >= TURN:
            return taken, count


def in_turns(p: Any, times: int, peers: Mapping[str, Callable[[Any], Epoch]] = PEERS) -> list[dict[str, Any]]:
    """Time per step of every peer that runs on this machine, and the mean loss of its first
    epoch.
    """
    epochs: dict[str, Epoch] = {}
    losses: dict[str, float] = {}
    for name, make in peers.items():
        try:
            epoch = make(p)
            losses[name] = epoch(0)  # compiles whatever it compiles
        except (ImportError, FileNotFoundError):  # not installed, or its compiler is missing
            continue
        epochs[name] = epoch
    taken: dict[str, list[float]] = {peer: [] for peer in epochs}
    ratios: dict[str, list[float]] = {peer: [] for peer in epochs}
    blas: list[float] = []
    gc.collect()
    for _ in range(times):
        blas.append(blas_speed())
        for peer, epoch in epochs.items():
            own = step(epochs["chainrule"], p)
            taken["chainrule"].append(own)
            if peer != "chainrule":
                taken[peer].append(step(epoch, p))
                ratios[peer].append(taken[peer][-1] / own)
    reached = statistics.median(blas)
    return [
        {"peer": peer, "microseconds": 1e6 * statistics.median(seconds), "fastest": 1e6 * min(seconds),
         "slowest": 1e6 * max(seconds), "ratio": statistics.median(ratios[peer] or [1.0]), "loss": losses[peer],
         "same_loss": abs(losses[peer] - losses["chainrule"]) <= 1e-3 * losses["chainrule"],
         "share_of_blas": p.products / statistics.median(seconds) / reached, "blas": reached}
        for peer, seconds in taken.items()
    ]  # fmt: skip


def step(epoch: Epoch, p: Any) -> float:
    """Seconds per step after warm-up; repeated while the machine is disturbed."""
    for _ in range(TRIES):
        time.sleep(REST)
        before = _probe()
        _turn(epoch)  # so that every peer starts with warm caches
        seconds, count = _turn(epoch)
        if seconds > LONG or min(before, _probe()) >= UNDISTURBED * _best[0]:
            break
    return seconds / count / p.steps


_best = [0.0]
"""The highest speed that the probe has measured."""


def _probe() -> float:
    """The current speed of all cores: BLAS products per second of two matrices that fit in
    cache.
    """
    a = np.ones((768, 768), dtype=np.float32)
    a @ a
    began = time.perf_counter()
    for _ in range(4):
        a @ a
    speed = 4 / (time.perf_counter() - began)
    _best[0] = max(_best[0], speed)
    time.sleep(0.05)  # until its threads stop spinning
    return speed


def measure(times: int, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Measure these networks."""
    results = {}
    for name in names:
        widths, batch, steps = NETWORKS[name]
        print(f"\n{name}: {'-'.join(map(str, widths))}, batch {batch}")
        results[name] = shown(in_turns(problem(widths, batch, steps), times))
    return results


def measure_part(part: Any, times: int, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Measure these networks of a module of networks that are given as text, such as pictures.py."""
    results = {}
    for name in names:
        text, shape, batch, steps = part.NETWORKS[name]
        print(f"\n{name}: {text}, input {'x'.join(map(str, shape))}, batch {batch}")
        results[name] = shown(in_turns(part.problem(text, shape, batch, steps), times, part.PEERS))
    return results


def shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, which are printed."""
    for row in rows:
        taken = f"{row['microseconds']:10,.2f} µs per step ({row['fastest']:,.2f} to {row['slowest']:,.2f})"
        beside = f"{row['ratio']:7.2f} times chainrule's, {row['share_of_blas']:4.0%} of BLAS"
        note = "" if row["same_loss"] else f"   another loss: {row['loss']:.4g}"
        print(f"  {row['peer']:32} {taken}, {beside}{note}", flush=True)
    return rows
