"""Every library in its best documented way, from the same weights, over the same samples in the same order.

Each `of_...` takes a problem and gives a function that trains for an epoch and gives its mean loss. What is not
installed raises ImportError.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.runs import Recorder
from chainrule.training import EpochEnded, Started
from chainrule.training.loop import events, start
from comparison.problems import RATE, Problem

Epoch = Callable[[int], float]
"""Trains for the epoch of this number and gives its mean loss."""


def of_chainrule(p: Problem, recorded: bool = False) -> Epoch:
    """chainrule, as `train` runs it, with all its events; `recorded` keeps the run on disk at the same time."""
    progress = start(p.plan)
    listen: Callable[[Any], Any] = lambda _: None  # noqa: E731
    if recorded:
        listen = Recorder(Path(tempfile.mkdtemp(prefix="chainrule-benchmark-")) / "run")
        listen(Started(p.plan, p.data, progress))
    under_way = events(p.plan, p.data, progress)

    def epoch(_: int) -> float:
        for event in under_way:
            listen(event)
            if isinstance(event, EpochEnded):
                return event.measured["loss"]
        raise AssertionError("training has no end here")

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


def of_tinygrad(p: Problem) -> Epoch:
    """tinygrad, a step jitted."""
    os.environ.setdefault("DEV", "CPU")
    from tinygrad import Context, Tensor, TinyJit, nn

    params = [(Tensor(w), Tensor(b)) for w, b in p.weights]
    optimizer = nn.optim.Adam([tensor for pair in params for tensor in pair], lr=RATE)
    x, y = Tensor(p.x), Tensor(p.y.astype(np.int32))

    @TinyJit
    def step(rows: Any) -> Any:
        out = x[rows]
        for k, (w, b) in enumerate(params):
            out = out @ w + b
            out = out.relu() if k + 1 < len(params) else out
        optimizer.zero_grad()
        loss = out.sparse_categorical_crossentropy(y[rows])
        loss.backward()
        return loss.realize(*optimizer.schedule_step())

    def epoch(number: int) -> float:
        with Context(TRAINING=1):
            losses = [step(Tensor(rows.astype(np.int32)).contiguous().realize()).item() for rows in p.order(number)]
        return float(np.mean(losses))

    return epoch


PEERS: dict[str, Callable[[Problem], Epoch]] = {
    "chainrule": of_chainrule,
    "chainrule, recording": lambda p: of_chainrule(p, recorded=True),
    "PyTorch, fused Adam": of_torch,
    "PyTorch, compiled": lambda p: of_torch(p, compiled=True),
    "JAX, jit a step": lambda p: of_jax(p, scan=False),
    "JAX, scan": lambda p: of_jax(p, scan=True),
    "scikit-learn": of_sklearn,
    "tinygrad, jit": of_tinygrad,
}
