"""How fast a network trains here and with other libraries: whole epochs, in turns in one process, medians.

    python benchmarks/engines.py [--times N] [--json FILE] [NETWORK ...]

A classifier with ReLU, softmax cross-entropy and Adam in float32, of four sizes; NETWORK chooses some of them. Every
library is used in its best documented way that is installed (the extra "peers"), begins with the same weights, sees the
same samples in the same order, and must come to the same loss, to 1e-3. What is timed is an epoch: shuffling, gathering
the rows of each mini-batch, the steps, and the mean loss. The last column is the arithmetic of the matrix products over
what BLAS reaches in the same run, on all cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import chainrule
from chainrule.data import as_they_are
from chainrule.engine import engine
from chainrule.layers import Dense
from chainrule.training import Plan, plan
from chainrule.training.loop import start

RATE = 0.001
NETWORKS = {
    "tiny": ((2, 8, 8, 2), 10, 400),
    "small": ((30, 64, 32, 2), 32, 200),
    "medium": ((784, 128, 64, 10), 128, 40),
    "large": ((784, 1024, 1024, 10), 256, 6),
}
"""The widths from input to output, the batch, and how many steps an epoch has."""


@dataclass(frozen=True)
class Problem:
    """What everyone trains: samples, and weights to begin with as (W, b) of each layer, W of shape (inputs, units)."""

    widths: tuple[int, ...]
    batch: int
    x: np.ndarray
    y: np.ndarray
    plan: Plan
    weights: tuple[tuple[np.ndarray, np.ndarray], ...]

    @property
    def steps(self) -> int:
        return len(self.x) // self.batch

    def order(self, epoch: int) -> np.ndarray:
        """(steps, batch) the rows of each mini-batch of an epoch."""
        return np.stack(self.plan.batches(epoch, len(self.x)))

    @property
    def products(self) -> float:
        """Multiplications and additions of a step's matrix products: forward, and twice backward but for the first
        layer, whose input needs no derivative.
        """
        each = [a * b for a, b in zip(self.widths, self.widths[1:], strict=False)]
        return 2.0 * self.batch * (3 * sum(each) - each[0])


Epoch = Callable[[int], float]
"""Trains for the epoch of this number and gives its mean loss."""


def problem(name: str) -> Problem:
    """The samples and weights of one of the four networks."""
    widths, batch, steps = NETWORKS[name]
    random = np.random.default_rng(0)
    x = random.normal(size=(batch * steps, widths[0])).astype(np.float32)
    y = (x @ random.normal(size=(widths[0], widths[-1]))).argmax(axis=1)
    layers = [Dense(width, activation="relu") for width in widths[1:-1]]
    made = plan(
        [*layers, Dense(widths[-1])], as_they_are(x, y, task="classification"), loss="cross_entropy",
        optimizer=f"adam {RATE}", batch_size=batch, patience=None,
    )  # fmt: skip
    views = dict(made.network.parameters.views(made.network.draw(0)))
    weights = tuple((views[f"dense_{k}.W"].copy(), views[f"dense_{k}.b"].copy()) for k in range(1, len(widths)))
    return Problem(widths, batch, x, y, made, weights)


def of_chainrule(p: Problem) -> Epoch:
    """chainrule's engine, as `train` uses it."""
    position, taking = start(p.plan).position, engine(None, p.plan.work(len(p.x)))

    def epoch(number: int) -> float:
        nonlocal position
        losses = []
        for done in taking.steps(position, p.x, p.y, None, list(p.order(number))):
            position = done.after
            losses.append(done.loss)
        return float(np.mean(losses))

    return epoch


def of_torch(p: Problem, compiled: bool = False) -> Epoch:
    """PyTorch with its fused Adam; compiled, the whole step but the optimizer's is."""
    import torch
    from torch import nn

    torch.set_num_threads(os.cpu_count() or 1)
    parts: list[Any] = []
    for k, (weight, bias) in enumerate(p.weights):
        linear = nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T.copy()))
            linear.bias.copy_(torch.from_numpy(bias))
        parts += [linear, *([nn.ReLU()] if k + 1 < len(p.weights) else [])]
    network = nn.Sequential(*parts)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    x, y = torch.from_numpy(p.x), torch.from_numpy(p.y)

    def lost(x: Any, y: Any) -> Any:
        return nn.functional.cross_entropy(network(x), y)

    used = torch.compile(lost) if compiled else lost

    def epoch(number: int) -> float:
        total = torch.zeros(())
        for rows in torch.from_numpy(p.order(number)):
            loss = used(x[rows], y[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total) / p.steps

    return epoch


def of_jax(p: Problem, scan: bool) -> Epoch:
    """JAX, jitted a step at a time, or the whole epoch in one scan."""
    import jax
    import jax.numpy as jnp
    import optax

    optimizer = optax.adam(RATE)
    params = [(jnp.asarray(w), jnp.asarray(b)) for w, b in p.weights]
    state = optimizer.init(params)
    x, y = jnp.asarray(p.x), jnp.asarray(p.y)

    def lost(params: Any, x: Any, y: Any) -> Any:
        for w, b in params[:-1]:
            x = jax.nn.relu(x @ w + b)
        logits = x @ params[-1][0] + params[-1][1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def step(carry: Any, rows: Any) -> Any:
        params, state = carry
        loss, gradients = jax.value_and_grad(lost)(params, x[rows], y[rows])
        updates, state = optimizer.update(gradients, state)
        return (optax.apply_updates(params, updates), state), loss

    whole = jax.jit(lambda carry, order: jax.lax.scan(step, carry, order))
    single = jax.jit(step)
    carry = (params, state)

    def epoch(number: int) -> float:
        nonlocal carry
        order = jnp.asarray(p.order(number))
        if scan:
            carry, losses = whole(carry, order)
        else:
            found = []
            for rows in order:
                carry, loss = single(carry, rows)
                found.append(loss)
            losses = jnp.stack(found)
        return float(losses.mean())

    return epoch


def of_sklearn(p: Problem) -> Epoch:
    """scikit-learn's MLPClassifier; of two classes it has one output, so it comes to another loss."""
    from sklearn.neural_network import MLPClassifier

    made = MLPClassifier(
        p.widths[1:-1], alpha=0, batch_size=p.batch, learning_rate_init=RATE, shuffle=False, random_state=0
    )
    made.partial_fit(p.x[: p.batch], p.y[: p.batch], classes=np.arange(p.widths[-1]))
    if p.widths[-1] > 2:
        for k, (weight, bias) in enumerate(p.weights):
            made.coefs_[k], made.intercepts_[k] = weight.copy(), bias.copy()
    del made._optimizer  # its first step was another network's
    made._optimizer = _fresh_adam(made)

    def epoch(number: int) -> float:
        rows = p.order(number).ravel()
        made.partial_fit(p.x[rows], p.y[rows])
        return float(made.loss_)

    return epoch


def _fresh_adam(made: Any) -> Any:
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

    return AdamOptimizer(made.coefs_ + made.intercepts_, made.learning_rate_init)


PEERS: dict[str, Callable[[Problem], Epoch]] = {
    "chainrule": of_chainrule,
    "PyTorch, fused Adam": of_torch,
    "PyTorch, compiled": lambda p: of_torch(p, compiled=True),
    "JAX, jit a step": lambda p: of_jax(p, scan=False),
    "JAX, scan": lambda p: of_jax(p, scan=True),
    "scikit-learn": of_sklearn,
}


def blas_speed() -> float:
    """What BLAS reaches here: floating-point operations a second of a product of two large matrices in float32."""
    a = np.random.default_rng(0).normal(size=(2048, 2048)).astype(np.float32)
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        a @ a
        taken.append(time.perf_counter() - began)
    return 2 * 2048**3 / statistics.median(taken)


def measure(name: str, times: int) -> list[dict[str, Any]]:
    """Every peer that is installed on one network, taking turns."""
    p = problem(name)
    epochs: dict[str, Epoch] = {}
    for peer, make in PEERS.items():
        try:
            epochs[peer] = make(p)
            epochs[peer](0)  # whatever is compiled is compiled now
        except ImportError:
            epochs.pop(peer, None)
    taken: dict[str, list[float]] = {peer: [] for peer in epochs}
    losses: dict[str, float] = {}
    for number in range(1, times + 1):
        for peer, epoch in epochs.items():
            began = time.perf_counter()
            losses[peer] = epoch(number)
            taken[peer].append((time.perf_counter() - began) / p.steps)
    blas = blas_speed()
    return [
        {"network": name, "peer": peer, "microseconds": 1e6 * statistics.median(seconds),
         "fastest": 1e6 * min(seconds), "slowest": 1e6 * max(seconds), "loss": losses[peer],
         "same_loss": abs(losses[peer] - losses["chainrule"]) <= 1e-3 * losses["chainrule"],
         "share_of_blas": p.products / statistics.median(seconds) / blas}
        for peer, seconds in taken.items()
    ]  # fmt: skip


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--times", type=int, default=7, help="epochs that are timed")
    parser.add_argument("--json", type=Path, help="a file for the results")
    told = parser.parse_args()
    rows = []
    for name in told.networks or NETWORKS:
        if name not in NETWORKS:
            parser.error(f"there is no network {name}; there are {', '.join(NETWORKS)}")
        print(f"\n{name}: {'-'.join(map(str, NETWORKS[name][0]))}, batch {NETWORKS[name][1]}")
        found = measure(name, told.times)
        own = next(row["microseconds"] for row in found if row["peer"] == "chainrule")
        for row in found:
            taken = f"{row['microseconds']:10,.1f} us a step ({row['fastest']:,.1f} to {row['slowest']:,.1f})"
            beside = f"{row['microseconds'] / own:6.2f} of chainrule's, {row['share_of_blas']:.0%} of BLAS"
            note = "" if row["same_loss"] else f"   another loss: {row['loss']:.4g}"
            print(f"  {row['peer']:20} {taken}, {beside}{note}", flush=True)
        rows += found
    if told.json:
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        versions = {"chainrule": chainrule.__version__, "numpy": np.__version__, "python": platform.python_version()}
        told.json.write_text(json.dumps({"machine": machine, "versions": versions, "results": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
