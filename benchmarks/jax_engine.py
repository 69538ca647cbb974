"""Networks written by hand in JAX, as its users write them, and the speed of engine="jax" for the
same networks.

    python benchmarks/jax_engine.py [--times N] [--only NAME]...

Both train in float32 with Adam, from the same weights, on the same mini-batches, and must have the
same losses. They take turns of an epoch. By hand an epoch is a jitted function that scans over
mini-batches of samples gathered in the epoch's order, with parameters, moments and step donated; a
Python loop over a jitted step is measured, too, and the faster of the two counts. Printed is the
throughput of the engine divided by that by hand: medians over turns, by the clock and by the time of
the processors, which another program disturbs less. Exits with 1 if a throughput by the clock is below
GOAL.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from chainrule import losses
from chainrule.descent import optimizer
from chainrule.engine import Batches, Position, Problem
from chainrule.engine.jax import JaxEngine
from chainrule.network import Network

GOAL = 0.9
"""The least throughput, of that by hand."""

Forward = Callable[[dict[str, Any], Any, dict[str, Any]], tuple[Any, dict[str, Any]]]
"""The logits of parameters by name, inputs and running statistics by name, and the next statistics."""


@dataclass(frozen=True)
class ByHand:
    """A network written by hand.

    Attributes:
        text: the same network in chainrule's notation
        shape: of a sample
        forward: its forward pass in training
        batch, steps: samples of a mini-batch, mini-batches of an epoch
        tokens: how many kinds of tokens the inputs are; 0 for numbers
    """

    text: str
    shape: tuple[int, ...]
    forward: Forward
    batch: int
    steps: int
    tokens: int = 0


def without_statistics(logits: Callable[[Any, Any], Any]) -> Forward:
    """The forward pass of a network that has no running statistics."""
    return lambda p, x, statistics: (logits(p, x), statistics)


def dense(p: Any, name: str, x: Any) -> Any:
    """x @ W + b."""
    return x @ p[f"{name}.W"] + p[f"{name}.b"]


def multilayer(p: Any, x: Any) -> Any:
    """Three Dense layers."""
    h = jax.nn.relu(dense(p, "dense_1", x))
    h = jax.nn.relu(dense(p, "dense_2", h))
    return dense(p, "dense_3", h)


def convolution(p: Any, x: Any) -> Any:
    """Three convolutions, two poolings and two Dense layers."""

    def conv(name: str, x: Any) -> Any:
        y = lax.conv_general_dilated(x, p[f"{name}.W"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jax.nn.relu(y + p[f"{name}.b"])

    def pooled(x: Any) -> Any:
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    x = pooled(conv("conv_2", conv("conv_1", x)))
    x = pooled(conv("conv_3", x))
    x = jax.nn.relu(dense(p, "dense_1", x.reshape(len(x), -1)))
    return dense(p, "dense_2", x)


def convolution_without_pooling(p: Any, x: Any) -> Any:
    """Three convolutions, of which two have strides."""

    def conv(name: str, x: Any, stride: int) -> Any:
        y = lax.conv_general_dilated(
            x, p[f"{name}.W"], (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jax.nn.relu(y + p[f"{name}.b"])

    x = conv("conv_3", conv("conv_2", conv("conv_1", x, 1), 2), 2)
    return dense(p, "dense_1", x.mean((1, 2)))


def convolution_with_batch_norm(p: Any, x: Any, statistics: Any) -> Any:
    """Three convolutions, each with BatchNorm, and two poolings."""
    after = {}

    def conv(k: int, x: Any) -> Any:
        y = lax.conv_general_dilated(x, p[f"conv_{k}.W"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        y = y + p[f"conv_{k}.b"]
        name = f"batch_norm_{k}"
        mean, variance = y.mean((0, 1, 2)), y.var((0, 1, 2))
        count = y.size // y.shape[-1]
        for own, seen in (("mean", mean), ("variance", variance * (count / (count - 1)))):
            after[f"{name}.{own}"] = 0.9 * statistics[f"{name}.{own}"] + 0.1 * seen
        return jax.nn.relu((y - mean) * lax.rsqrt(variance + 1e-5) * p[f"{name}.scale"] + p[f"{name}.offset"])

    def pooled(x: Any) -> Any:
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    x = pooled(conv(2, conv(1, x)))
    return dense(p, "dense_1", pooled(conv(3, x)).mean((1, 2))), after


def normalized(p: Any, name: str, x: Any) -> Any:
    """Layer normalization."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * p[f"{name}.scale"] + p[f"{name}.offset"]


def attention(p: Any, tokens: Any, heads: int = 4) -> Any:
    """A causal transformer of two blocks."""
    x = p["embedding_1.W"][tokens.astype(jnp.int32)] + p["transformer_1.positions.W"]
    samples, time, width = x.shape
    seen = jnp.tril(jnp.ones((time, time), bool))

    def attended(name: str, x: Any) -> Any:
        q, k, v = (
            dense(p, f"{name}.{part}", x).reshape(samples, time, heads, -1) for part in ("query", "key", "value")
        )
        scores = jnp.einsum("nqhd,nkhd->nhqk", q, k) / jnp.sqrt(q.shape[-1]).astype(x.dtype)
        weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
        return dense(p, f"{name}.output", jnp.einsum("nhqk,nkhd->nqhd", weights, v).reshape(samples, time, width))

    for block in ("transformer_1.block_1", "transformer_1.block_2"):
        x = x + attended(f"{block}.attention", normalized(p, f"{block}.attention_norm", x))
        h = dense(p, f"{block}.feed_forward.hidden", normalized(p, f"{block}.feed_forward_norm", x))
        x = x + dense(p, f"{block}.feed_forward.output", jax.nn.gelu(h, approximate=False))
    return dense(p, "dense_1", normalized(p, "transformer_1.norm", x))


def recurrence(p: Any, tokens: Any) -> Any:
    """An LSTM."""
    x = p["embedding_1.W"][tokens.astype(jnp.int32)]
    sums = dense(p, "lstm_1.input", x).swapaxes(0, 1)

    def step(state: Any, now: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(now + h @ p["lstm_1.state.U"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zero = jnp.zeros((len(x), p["lstm_1.state.U"].shape[0]), x.dtype)
    (h, _), _ = lax.scan(step, (zero, zero), sums)
    return dense(p, "dense_1", h)


NETWORKS = {
    "dense": ByHand("512 relu, 256 relu, 10", (784,), without_statistics(multilayer), 128, 40),
    "dense, tiny": ByHand("64 relu, 32 relu, 2", (30,), without_statistics(multilayer), 32, 512),
    "dense, large": ByHand("1024 relu, 1024 relu, 10", (784,), without_statistics(multilayer), 256, 6),
    "convolution": ByHand(
        "conv 16 3 relu padding=same, conv 32 3 relu padding=same, max_pool 2, conv 64 3 relu padding=same, max_pool 2,"
        " flatten, 128 relu, 10",
        (28, 28, 1), without_statistics(convolution), 64, 4,
    ),
    "strided": ByHand(
        "conv 32 3 relu padding=same, conv 64 3 relu padding=same stride=2, conv 64 3 relu padding=same stride=2,"
        " global_average_pool, 10",
        (28, 28, 1), without_statistics(convolution_without_pooling), 64, 4,
    ),
    "batch norm": ByHand(
        "conv 16 3 padding=same, batch_norm, relu, conv 32 3 padding=same, batch_norm, relu, max_pool 2,"
        " conv 64 3 padding=same, batch_norm, relu, max_pool 2, global_average_pool, 10",
        (28, 28, 1), convolution_with_batch_norm, 64, 4,
    ),
    "attention": ByHand(
        "embedding 65 128, transformer 2 heads=4 causal=true, 65",
        (64,), without_statistics(attention), 16, 8, tokens=65,
    ),
    "recurrence": ByHand("embedding 65 64, lstm 128, 65", (48,), without_statistics(recurrence), 64, 8, tokens=65),
}  # fmt: skip


def cross_entropy(logits: Any, classes: Any) -> Any:
    """The mean over all positions."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), classes[..., None], axis=-1)
    return -chosen.mean()


class Trainings:
    """The same training by hand and by the engine."""

    def __init__(self, own: ByHand) -> None:
        self.own, random = own, np.random.default_rng(0)
        network = Network(own.text, own.shape)
        count = own.batch * own.steps
        draws = random.integers(0, own.tokens, (count, *own.shape)) if own.tokens else random.normal(
            size=(count, *own.shape)
        )  # fmt: skip
        self.x = draws.astype(np.float32)
        self.y = random.integers(0, network.output_shape[-1], (count, *network.output_shape[:-1]))
        self.order = random.permutation(count)
        self.problem = Problem(network, losses.CategoricalCrossEntropy(), optimizer("adam 0.001"))
        self.engine = JaxEngine(self.problem)
        w, layout = network.draw(0), network.parameters
        self.at = Position(0, w, network.start_statistics(), self.problem.optimizer.start(w, layout))
        own_arrays = {name: jnp.asarray(array) for name, array in layout.views(w)}
        running = {name: jnp.asarray(array) for name, array in network.statistics.views(self.at.statistics)}
        zeros = jax.tree.map(jnp.zeros_like, own_arrays)
        self.carry = (own_arrays, zeros, jax.tree.map(jnp.zeros_like, zeros), running, jnp.zeros((), jnp.int32))
        self.data = jnp.asarray(self.x), jnp.asarray(self.y.astype(np.int32))

    def by_engine(self) -> list[float]:
        """The losses of an epoch."""
        found: list[float] = []
        self.calls = 0
        for chunk in self.engine.chunks(self.at, Batches(self.x, self.y, None, self.order, self.own.batch)):
            found += chunk.losses.tolist()
            self.at = chunk.after
            self.calls += 1
        return found

    def step(self, carry: Any, x: Any, y: Any) -> Any:
        p, m, v, statistics, k = carry

        def loss_of(p: Any) -> Any:
            logits, after = self.own.forward(p, x, statistics)
            return cross_entropy(logits, y), after

        (loss, statistics), g = jax.value_and_grad(loss_of, has_aux=True)(p)
        k = k + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        a, b = 1 - 0.9**k, 1 - 0.999**k
        p = jax.tree.map(lambda p, m, v: p - 0.001 * (m / a) / (jnp.sqrt(v / b) + 1e-8), p, m, v)
        return (p, m, v, statistics, k), loss

    @partial(jax.jit, static_argnums=0, donate_argnums=1)
    def _epoch(self, carry: Any, data: Any, order: Any) -> Any:
        def body(carry: Any, rows: Any) -> Any:
            return self.step(carry, *(jnp.take(array, rows, axis=0) for array in data))

        return lax.scan(body, carry, order.reshape(self.own.steps, self.own.batch))

    @partial(jax.jit, static_argnums=0, donate_argnums=1)
    def _one(self, carry: Any, data: Any, rows: Any) -> Any:
        return self.step(carry, *(jnp.take(array, rows, axis=0) for array in data))

    def by_hand(self) -> list[float]:
        """The losses of an epoch that is one function."""
        self.carry, found = self._epoch(self.carry, self.data, self.order)
        return np.asarray(found).tolist()

    def by_hand_step_by_step(self) -> list[float]:
        """The losses of an epoch that is a loop in Python."""
        found = []
        for rows in self.order.reshape(self.own.steps, self.own.batch):
            self.carry, loss = self._one(self.carry, self.data, rows)
            found.append(loss)
        return np.asarray(found).tolist()


def measure(name: str, times: int) -> tuple[list[float], list[list[float]]]:
    """The engine's throughput divided by that by hand, by the clock and by the processors' time; and
    the milliseconds of an epoch of each, by both.
    """
    trainings = Trainings(NETWORKS[name])
    kinds = [trainings.by_engine, trainings.by_hand, trainings.by_hand_step_by_step]
    np.testing.assert_allclose(kinds[0]()[:8], kinds[1]()[:8], rtol=1e-3)
    kinds[2]()
    for _ in range(10):  # the first calls of the engine take 1, 1, 2, 4... steps
        kinds[0]()
        if trainings.calls == 1:
            break
    clocks = (time.perf_counter, time.process_time)
    taken = np.empty((len(clocks), len(kinds), times))
    for turn in range(times):
        for k, kind in enumerate(kinds):
            began = [clock() for clock in clocks]
            kind()
            taken[:, k, turn] = [clock() - start for clock, start in zip(clocks, began, strict=True)]
    ratios = np.median(taken[:, 1:] / taken[:, :1], axis=-1).min(axis=-1)
    return ratios.tolist(), (1000 * np.median(taken, axis=-1)).tolist()


def main() -> int:
    """Print a line for each network; 1 if one misses the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--only", choices=NETWORKS, action="append")
    arguments = parser.parse_args()
    print(f"{'':<14}{'throughput, of JAX by hand':<30}{'milliseconds of an epoch by the clock (processors)'}")
    columns = ("engine", "by hand", "by hand step by step")
    print(f"{'':<14}{'clock':>7}{'processors':>12}{'':<11}" + "".join(f"{column:<20}" for column in columns))
    misses = []
    for name in arguments.only or NETWORKS:
        ratios, (clock, processors) = measure(name, arguments.times)
        epochs = (f"{own:.1f} ({all_:.1f})" for own, all_ in zip(clock, processors, strict=True))
        print(
            f"{name:<14}{ratios[0]:>7.2f}{ratios[1]:>12.2f}{'':<11}" + "".join(f"{e:<20}" for e in epochs), flush=True
        )
        misses += [name] if ratios[0] < GOAL else []
    print(f"below {GOAL}: {', '.join(misses)}" if misses else f"all at least {GOAL}")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
