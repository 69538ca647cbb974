"""The JAX engine beside JAX written by hand for the same network, in whole epochs.

    python benchmarks/jax_engine.py [--networks NAME ...] [--times N]

By hand, an epoch is one compiled `lax.scan` over mini-batches that are gathered on the device, with
optax's Adam, as JAX's users write it; chainrule runs its whole loop of training, with all events.
Both begin with the same weights and take the same samples in the same order: their losses show that
the network is the same. They take turns in one process, and the median of the ratios counts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

sys.path.insert(0, str(Path(__file__).parent))

from comparison import pictures, problems, sequences
from comparison.peers import Epoch, of_chainrule
from comparison.problems import RATE

TURN = 0.5
"""Seconds that a turn lasts at least."""
Weights = dict[str, Any]
Network = Callable[[Weights, Any], Any]
"""The outputs of samples, from the weights by name."""


def dense(weights: Weights, x: Any) -> Any:
    """Dense layers with ReLU between them."""
    count = len(weights) // 2
    for k in range(1, count + 1):
        x = x @ weights[f"dense_{k}.W"] + weights[f"dense_{k}.b"]
        x = jax.nn.relu(x) if k < count else x
    return x


def convolution(weights: Weights, x: Any) -> Any:
    """conv 32 3x3 relu, conv 64 3x3 relu, max_pool 2, flatten, 128 relu, 10."""
    for k in (1, 2):
        kernel = weights[f"conv_{k}.W"].reshape(3, 3, x.shape[-1], -1)
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + weights[f"conv_{k}.b"])
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return dense({name: w for name, w in weights.items() if name.startswith("dense")}, x.reshape(len(x), -1))


def attention(weights: Weights, tokens: Any) -> Any:
    """A causal transformer with learned positions, normalized before each part."""

    def linear(x: Any, name: str) -> Any:
        return x @ weights[f"{name}.W"] + weights[f"{name}.b"]

    def norm(x: Any, name: str) -> Any:
        centred = x - x.mean(axis=-1, keepdims=True)
        unit = centred * jax.lax.rsqrt(jnp.square(centred).mean(axis=-1, keepdims=True) + 1e-5)
        return unit * weights[f"{name}.scale"] + weights[f"{name}.offset"]

    x = weights["embedding_1.W"][tokens.astype(int)]
    samples, length, width = x.shape
    heads = {128: 4, 32: 2}[width]
    x = x + weights["transformer_1.positions.W"]
    block = 1
    while f"transformer_1.block_{block}.attention.query.W" in weights:
        name = f"transformer_1.block_{block}"
        z = norm(x, f"{name}.attention_norm")
        q, k, v = (
            linear(z, f"{name}.attention.{part}").reshape(samples, length, heads, -1)
            for part in ("query", "key", "value")
        )
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + linear(y.reshape(samples, length, width), f"{name}.attention.output")
        z = jax.nn.gelu(linear(norm(x, f"{name}.feed_forward_norm"), f"{name}.feed_forward.hidden"), approximate=False)
        x = x + linear(z, f"{name}.feed_forward.output")
        block += 1
    return linear(norm(x, "transformer_1.norm"), "dense_1")


def by_hand(p: Any, network: Network) -> Epoch:
    """The network in JAX: each epoch in one compiled scan."""
    layout, optimizer = p.plan.network.parameters, optax.adam(RATE)
    weights = {name: jnp.asarray(w) for name, w in layout.views(p.plan.network.draw(p.plan.seed))}
    x, y = jnp.asarray(p.x), jnp.asarray(p.y)

    def loss_of(weights: Weights, x: Any, y: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(network(weights, x), y).mean()

    def step(carry: Any, rows: Any) -> Any:
        weights, state = carry
        loss, gradients = jax.value_and_grad(loss_of)(weights, x[rows], y[rows])
        updates, state = optimizer.update(gradients, state)
        return (optax.apply_updates(weights, updates), state), loss

    whole = jax.jit(lambda carry, order: jax.lax.scan(step, carry, order))
    carry = weights, optimizer.init(weights)

    def epoch(number: int) -> float:
        nonlocal carry
        carry, losses = whole(carry, jnp.asarray(p.order(number)))
        return float(losses.mean())

    return epoch


PROBLEMS: dict[str, tuple[Callable[[], Any], Network]] = {
    **{
        f"dense, {name}": (lambda n=name: problems.problem(*problems.NETWORKS[n]), dense)
        for name in ("small", "medium", "large")
    },
    "convolution": (lambda: pictures.problem(*pictures.NETWORKS["pictures"]), convolution),
    **{
        f"attention, {name}": (lambda n=name: sequences.problem(*sequences.NETWORKS[n]), attention)
        for name in ("tiny gpt", "gpt")
    },
}


def turn(epoch: Epoch, first: int) -> tuple[float, int]:
    """Seconds per epoch, of as many as fill a turn, and the number of the next epoch."""
    began, number = time.perf_counter(), first
    while True:
        epoch(number)
        number += 1
        taken = time.perf_counter() - began
        if taken >= TURN:
            return taken / (number - first), number


def measure(name: str, times: int) -> str:
    """A line of the table: milliseconds per step of both, and the throughput relative to JAX by
    hand.
    """
    make, network = PROBLEMS[name]
    p = make()
    ours = of_chainrule(replace(p, plan=replace(p.plan, engine="jax", devices=(jax.default_backend(), 1))))
    hand = by_hand(p, network)
    losses = ours(0), hand(0)
    if not np.isclose(*losses, rtol=1e-3):
        raise SystemExit(f"{name}: the first epoch's losses are {losses}: these are not the same network")
    taken: list[tuple[float, float]] = []
    at = 1, 1
    for _ in range(times):
        (own, k), (other, j) = turn(ours, at[0]), turn(hand, at[1])
        at = k, j
        taken.append((own, other))
    own, other = (1e3 * statistics.median(column) / p.steps for column in zip(*taken, strict=True))
    ratios = [theirs / mine for mine, theirs in taken]
    return (
        f"{name:<22} {own:9.3f} {other:9.3f}   {statistics.median(ratios):6.1%}  "
        f"({min(ratios):.1%} to {max(ratios):.1%})"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", nargs="*", default=[*PROBLEMS], choices=PROBLEMS)
    parser.add_argument("--times", type=int, default=9, help="turns")
    arguments = parser.parse_args()
    device = jax.devices()[0]
    print(f"JAX {jax.__version__} on {device.platform} ({device.device_kind}); milliseconds per step")
    print(f"{'network':<22} {'chainrule':>9} {'by hand':>9}   throughput relative to JAX by hand")
    for name in arguments.networks:
        print(measure(name, arguments.times), flush=True)


if __name__ == "__main__":
    main()
