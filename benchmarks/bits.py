"""Bits per character of the same network in chainrule and in PyTorch, after the same steps.

    python benchmarks/bits.py [--steps N] [--pairs N]

The text is 1,000,000 characters on this disk: the modules of Python's standard library, one after
another by name. A transformer of 4 blocks, 128 features, 4 heads and windows of 64 characters
learns the first 70 % of them with Adam in mini-batches of 16 windows, and is measured on the last
20 %. First both begin with the same weights and take the same mini-batches; then each pair has
seeds of its own, for weights and mini-batches. Needs the extra "peers".
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from chainrule import Network, load
from chainrule.data import Dataset, Text
from chainrule.descent import optimizer
from chainrule.engine import Batches, Position, Problem, make_engine
from chainrule.generators import generator
from chainrule.losses import CategoricalCrossEntropy
from chainrule.training.position_scores import score_positions

CHARACTERS, WINDOW, BATCH, RATE = 1_000_000, 64, 16, 0.001
HEADS = 4
NETWORK = f"embedding {{}} 128, transformer 4 heads={HEADS} causal=true, {{}}"
MOST = 0.02
"""The share by which the bits per character may differ."""


def standard_library() -> Text:
    """The beginning of Python's standard library."""
    content = ""
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        content += file.read_text(encoding="utf-8")
        if len(content) >= CHARACTERS:
            break
    return Text("Python's standard library", content[:CHARACTERS])


def rows_of(count: int, steps: int, seed: int) -> np.ndarray:
    """(steps, BATCH) the windows of each mini-batch: all in random order, again and again."""
    epochs = -(-steps * BATCH // count)
    order = np.concatenate([generator(seed, "order", epoch).permutation(count) for epoch in range(epochs)])
    return order[: steps * BATCH].reshape(steps, BATCH)


def of_chainrule(network: Network, data: Dataset, weights: np.ndarray, rows: np.ndarray) -> float:
    """The bits per character that chainrule reaches from these weights with these mini-batches."""
    problem = Problem(network, CategoricalCrossEntropy(), optimizer(f"adam {RATE}"))
    engine, statistics_ = make_engine("native", problem), network.start_statistics()
    at = Position(0, weights, statistics_, problem.optimizer.start(weights, network.parameters))
    x, y = (np.asarray(part) for part in data.training[:2])
    for chunk in engine.chunks(at, Batches(x, y, None, rows.ravel().astype(np.int64), BATCH)):
        at = chunk.after
    return bits(data, lambda x: engine.predict(at.parameters, x, statistics_))


def of_torch(network: Network, data: Dataset, weights: np.ndarray, rows: np.ndarray) -> float:
    """The same in PyTorch."""
    import torch
    from torch.nn import functional

    found = network.params(weights.copy())
    arrays = {f"{owner}.{name}": array for owner, own in found.items() for name, array in own.items()}
    w = {name: torch.nn.Parameter(torch.from_numpy(array.copy())) for name, array in arrays.items()}

    def dense(x: Any, name: str) -> Any:
        return x @ w[f"{name}.W"] + w[f"{name}.b"]

    def normalized(x: Any, name: str) -> Any:
        return functional.layer_norm(x, x.shape[-1:], w[f"{name}.scale"], w[f"{name}.offset"])

    def heads(x: Any) -> Any:
        return x.view(*x.shape[:2], HEADS, -1).transpose(1, 2)

    def outputs(tokens: Any) -> Any:
        x = w["embedding_1.W"][tokens] + w["transformer_1.positions.W"]
        for k in range(1, 5):
            own = f"transformer_1.block_{k}"
            inner = normalized(x, f"{own}.attention_norm")
            q, k, v = (heads(dense(inner, f"{own}.attention.{part}")) for part in ("query", "key", "value"))
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + dense(y.transpose(1, 2).reshape(x.shape), f"{own}.attention.output")
            inner = dense(normalized(x, f"{own}.feed_forward_norm"), f"{own}.feed_forward.hidden")
            x = x + dense(functional.gelu(inner), f"{own}.feed_forward.output")
        return dense(normalized(x, "transformer_1.norm"), "dense_1")

    adam = torch.optim.Adam(w.values(), lr=RATE)
    x, y = (torch.from_numpy(np.asarray(part).astype(np.int64)) for part in data.training[:2])
    for batch in torch.from_numpy(rows):
        loss = functional.cross_entropy(outputs(x[batch]).flatten(0, 1), y[batch].flatten())
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.inference_mode():
        return bits(data, lambda x: outputs(torch.from_numpy(x.astype(np.int64))).numpy())


def bits(data: Dataset, predict: Any) -> float:
    """The bits per character of the test set."""
    assert data.test is not None
    x, y = (np.asarray(part) for part in data.test[:2])
    losses = [-score_positions(CategoricalCrossEntropy(), predict(x[k : k + 100]), y[k : k + 100]).log_probability
              for k in range(0, len(x), 100)]  # fmt: skip
    return float(np.concatenate(losses).mean() / math.log(2))


def pairs(data: Dataset, steps: int, count: int) -> Iterator[tuple[str, float, float]]:
    """The bits per character of chainrule and of PyTorch: from the same weights, then from others."""
    symbols, windows = data.target.width, len(data.training.x)
    network = Network(NETWORK.format(symbols, symbols), WINDOW)

    def given(seed: int) -> tuple[Network, Dataset, np.ndarray, np.ndarray]:
        return network, data, network.draw(seed), rows_of(windows, steps, seed)

    yield "the same weights and mini-batches", of_chainrule(*given(0)), of_torch(*given(0))
    for pair in range(1, count + 1):
        yield f"seeds {2 * pair - 1} and {2 * pair}", of_chainrule(*given(2 * pair - 1)), of_torch(*given(2 * pair))


def main() -> int:
    """Train and print; fails if the bits per character differ by more than 2 %."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=2, help="how many with seeds of their own")
    arguments = parser.parse_args()
    data = load(standard_library(), length=WINDOW)
    print(f"{data.name}: {len(data.training.x):,} windows of {WINDOW} characters, {data.target.width} symbols")
    print(f"bits per character after {arguments.steps:,} steps:      chainrule   PyTorch   ratio", flush=True)
    ours, theirs = [], []
    for name, own, other in pairs(data, arguments.steps, arguments.pairs):
        print(f"  {name:42}{own:11.4f}{other:10.4f}{own / other:8.4f}", flush=True)
        ours.append(own)
        theirs.append(other)
    same = ours[0] / theirs[0]
    means = statistics.mean(ours[1:]) / statistics.mean(theirs[1:]) if arguments.pairs else same
    if arguments.pairs:
        own, other = statistics.mean(ours[1:]), statistics.mean(theirs[1:])
        print(f"  {'the means of the others':42}{own:11.4f}{other:10.4f}{means:8.4f}")
    return int(max(abs(same - 1), abs(means - 1)) > MOST)


if __name__ == "__main__":
    sys.exit(main())
