"""How long a training step takes, as part of a whole epoch: everyone takes turns in one process; medians and spread.

A turn is some epochs, each with shuffling, gathering, the steps, and the mean loss, after some that are not timed. How
fast a processor runs changes from second to second where it is shared with others: so chainrule takes a turn before
each of the others, and the ratio of the two is what counts; and a turn is taken again where the processor was
disturbed, as a product of two matrices before it and another after it show.
"""

from __future__ import annotations

import gc
import statistics
import time
from typing import Any

import numpy as np

from comparison.peers import PEERS, Epoch
from comparison.problems import NETWORKS, Problem, problem

REST = 0.2
"""Seconds of rest before a turn: threads of the one before wait busily for more to do."""


TRIES, UNDISTURBED = 5, 0.85
"""A turn counts if the processor was as fast as this share of its best just before and after; how often it is tried."""
LONG = 1.0
"""Seconds beyond which a turn is long enough for disturbances to even out."""
WHILE = 0.1
"""Seconds that a turn takes at least, and as long before it is timed."""


def blas_speed(times: int = 3) -> float:
    """What BLAS reaches here: floating-point operations a second of a product of two large matrices in float32."""
    a = np.random.default_rng(0).normal(size=(2048, 2048)).astype(np.float32)
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        a @ a
        taken.append(time.perf_counter() - began)
    return 2 * 2048**3 / statistics.median(taken)


def _for_a_while(epoch: Epoch) -> tuple[float, int]:
    """Whole epochs, at least one, for a WHILE: how long they took, and how many they were."""
    began, count = time.perf_counter(), 0
    while True:
        count += 1
        epoch(count)
        taken = time.perf_counter() - began
        if taken >= WHILE:
            return taken, count


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


def step(epoch: Epoch, p: Problem) -> float:
    """Seconds a step, from rest, once warm; measured anew while the machine is disturbed."""
    for _ in range(TRIES):
        time.sleep(REST)
        before = _probe()
        _for_a_while(epoch)  # so that nobody starts with caches that another has filled
        seconds, count = _for_a_while(epoch)
        if seconds > LONG or min(before, _probe()) >= UNDISTURBED * _best[0]:
            break
    return seconds / count / p.steps


_best = [0.0]
"""What the probe has reached so far at best."""


def _probe() -> float:
    """How fast both cores are just now: products a second, by BLAS, of two matrices that fit into the caches."""
    a = np.ones((768, 768), dtype=np.float32)
    a @ a
    began = time.perf_counter()
    for _ in range(4):
        a @ a
    found = 4 / (time.perf_counter() - began)
    _best[0] = max(_best[0], found)
    time.sleep(0.05)  # its threads wait busily for more to do
    return found


def measure(times: int, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The four networks."""
    found = {}
    for name in names:
        widths, batch, steps = NETWORKS[name]
        print(f"\n{name}: {'-'.join(map(str, widths))}, batch {batch}")
        rows = in_turns(problem(widths, batch, steps), times)
        for row in rows:
            taken = f"{row['microseconds']:10,.2f} us a step ({row['fastest']:,.2f} to {row['slowest']:,.2f})"
            beside = f"{row['ratio']:7.2f} of chainrule's, {row['share_of_blas']:4.0%} of BLAS"
            note = "" if row["same_loss"] else f"   another loss: {row['loss']:.4g}"
            print(f"  {row['peer']:22} {taken}, {beside}{note}", flush=True)
        found[name] = rows
    return found
