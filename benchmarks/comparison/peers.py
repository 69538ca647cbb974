"""Every library in its best documented way, with the same weights and samples in the same order.

Each `of_...` takes a problem and returns a function that trains for one epoch and returns its mean
loss. It raises ImportError if the library is not installed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.runs import Recorder
from chainrule.threads import BACKOFF
from chainrule.training import EpochEnded, Started
from chainrule.training.loop import events, start
from comparison.problems import RATE, Problem

Epoch = Callable[[int], float]
"""Trains for the epoch of this number and returns its mean loss."""


def of_chainrule(p: Problem, recorded: bool = False) -> Epoch:
    """chainrule as `train` runs it, with all its events; `recorded` also records the run on
    disk.
    """
    progress = start(p.plan)
    listen: Callable[[Any], Any] = lambda _: None  # noqa: E731
    if recorded:
        listen = Recorder(Path(tempfile.mkdtemp(prefix="chainrule-benchmark-")) / "run")
        listen(Started(p.plan, p.data, progress))
    under_way = events(p.plan, p.data, progress)

    def epoch(_: int) -> float:
        # Another peer's threads, which spin for a while after their work, are no reason to take one.
        BACKOFF.forget()
        for event in under_way:
            listen(event)
            if isinstance(event, EpochEnded):
                return event.measured["loss"]
        raise AssertionError("training ended early")

    return epoch


def of_torch(p: Problem, compiled: bool = False) -> Epoch:
    """PyTorch with its fused Adam; `compiled` compiles the forward and backward pass."""
    import torch
    from torch import nn

    torch.set_num_threads(os.cpu_count() or 1)
    modules: list[Any] = []
    for k, (weight, bias) in enumerate(p.weights):
        linear = nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T.copy()))
            linear.bias.copy_(torch.from_numpy(bias))
        modules += [linear, *([nn.ReLU()] if k + 1 < len(p.weights) else [])]
    network = nn.Sequential(*modules)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    x, y = torch.from_numpy(p.x), torch.from_numpy(p.y)

    def loss_of(x: Any, y: Any) -> Any:
        return nn.functional.cross_entropy(network(x), y)

    loss_function = torch.compile(loss_of) if compiled else loss_of

    def epoch(number: int) -> float:
        total = torch.zeros(())
        for rows in torch.from_numpy(p.order(number)):
            loss = loss_function(x[rows], y[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total) / p.steps

    return epoch


def of_jax(p: Problem, scan: bool) -> Epoch:
    """JAX with `jit`, a step at a time or the whole epoch in one `scan`."""
    import jax
    import jax.numpy as jnp
    import optax

    optimizer = optax.adam(RATE)
    params = [(jnp.asarray(w), jnp.asarray(b)) for w, b in p.weights]
    state = optimizer.init(params)
    x, y = jnp.asarray(p.x), jnp.asarray(p.y)

    def loss_of(params: Any, x: Any, y: Any) -> Any:
        for w, b in params[:-1]:
            x = jax.nn.relu(x @ w + b)
        logits = x @ params[-1][0] + params[-1][1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def step(carry: Any, rows: Any) -> Any:
        params, state = carry
        loss, gradients = jax.value_and_grad(loss_of)(params, x[rows], y[rows])
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
            collected = []
            for rows in order:
                carry, loss = single(carry, rows)
                collected.append(loss)
            losses = jnp.stack(collected)
        return float(losses.mean())

    return epoch


def of_sklearn(p: Problem) -> Epoch:
    """scikit-learn's MLPClassifier; it has a single output for two classes, so its loss differs."""
    from sklearn.neural_network import MLPClassifier

    classifier = MLPClassifier(
        p.widths[1:-1], alpha=0, batch_size=p.batch, learning_rate_init=RATE, shuffle=False, random_state=0
    )
    classifier.partial_fit(p.x[: p.batch], p.y[: p.batch], classes=np.arange(p.widths[-1]))
    if p.widths[-1] > 2:
        for k, (weight, bias) in enumerate(p.weights):
            classifier.coefs_[k], classifier.intercepts_[k] = weight.copy(), bias.copy()
    del classifier._optimizer  # it holds a step with other weights
    classifier._optimizer = _fresh_adam(classifier)

    def epoch(number: int) -> float:
        rows = p.order(number).ravel()
        classifier.partial_fit(p.x[rows], p.y[rows])
        return float(classifier.loss_)

    return epoch


def _fresh_adam(classifier: Any) -> Any:
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

    return AdamOptimizer(classifier.coefs_ + classifier.intercepts_, classifier.learning_rate_init)


def of_tinygrad(p: Problem) -> Epoch:
    """tinygrad with a jitted step."""
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
