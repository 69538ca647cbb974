"""How fast a language model writes a text, token by token, beside PyTorch with cached keys and values.

Both have the same weights; after the same tokens they must predict the same probabilities, to 1e-4.
The text fits into the window, so that the cache always serves. PyTorch runs a loop that was written
for this: one product for queries, keys and values, a cache in place, `scaled_dot_product_attention`,
no gradients; with one thread, with two, and compiled. Its LSTM is `nn.LSTM`, and a step written by
hand, which is faster.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import chainrule
from chainrule.data import Text
from chainrule.runs.trained import Trained
from comparison.epochs import REST

SYMBOLS, WINDOW, HEADS = 65, 64, 4
NETWORKS = {
    "gpt": f"embedding {SYMBOLS} 128, transformer 4 heads={HEADS} causal=true",
    "lstm": f"embedding {SYMBOLS} 64, lstm 128 all=true",
}
TARGET = 3
"""How many times as many tokens a second as PyTorch's best are aimed for."""
TEMPERATURE = 0.8
FIRST = 3
"""The token that texts begin with."""

Step = Callable[[int, int], Any]
"""The network's outputs after a token, given its position; 0 begins a new text."""


def model(text: str) -> Trained:
    """A network with a window of 64 tokens, after a few steps on random characters."""
    characters = [chr(33 + k) for k in range(SYMBOLS)]
    random = np.random.default_rng(0).choice(characters, 4000)
    content = "".join([*characters, *random.tolist()])
    return chainrule.train(
        text, Text("random", content), length=WINDOW, epochs=1, validation=0, test=0, patience=None, progress=False
    )


def weights_of(trained: Trained) -> dict[str, Any]:
    """The arrays by name, as PyTorch's tensors; matrices with the outputs first."""
    import torch

    found = trained.plan.network.params(trained.parameters)
    arrays = {f"{owner}.{name}": array for owner, own in found.items() for name, array in own.items()}
    return {
        name: torch.from_numpy(array.T.copy() if array.ndim == 2 else array.copy()) for name, array in arrays.items()
    }


def gpt(trained: Trained) -> Step:
    """A step of the transformer."""
    import torch
    from torch.nn import functional

    w = weights_of(trained)
    table, positions = w["embedding_1.W"].T.contiguous(), w["transformer_1.positions.W"].T.contiguous()
    width = table.shape[1]
    blocks = []
    for k in range(1, 1 + len([name for name in w if name.endswith("attention.query.W")])):
        own = {name.partition(f"block_{k}.")[2]: array for name, array in w.items() if f".block_{k}." in name}
        names = [f"attention.{part}" for part in ("query", "key", "value")]
        joined = [torch.cat([own[f"{name}.{letter}"] for name in names]) for letter in "Wb"]
        cache = [torch.zeros(HEADS, WINDOW, width // HEADS) for _ in range(2)]
        blocks.append((own, joined, cache))

    def normalized(x: Any, own: dict[str, Any], name: str) -> Any:
        return functional.layer_norm(x, (width,), own[f"{name}.scale"], own[f"{name}.offset"])

    def step(token: int, at: int) -> Any:
        x = (table[token] + positions[at]).view(1, width)
        for own, joined, (keys, values) in blocks:
            q, k, v = functional.linear(normalized(x, own, "attention_norm"), *joined).view(3, HEADS, width // HEADS)
            keys[:, at], values[:, at] = k, v
            q, seen = q.view(1, HEADS, 1, -1), slice(at + 1)
            y = functional.scaled_dot_product_attention(q, keys[None, :, seen], values[None, :, seen])
            x = x + functional.linear(y.view(1, width), own["attention.output.W"], own["attention.output.b"])
            inner = normalized(x, own, "feed_forward_norm")
            inner = functional.gelu(
                functional.linear(inner, own["feed_forward.hidden.W"], own["feed_forward.hidden.b"])
            )
            x = x + functional.linear(inner, own["feed_forward.output.W"], own["feed_forward.output.b"])
        return functional.linear(normalized(x, w, "transformer_1.norm"), w["dense_1.W"], w["dense_1.b"])[0]

    return step


def compiled_gpt(trained: Trained) -> Step:
    """The same, compiled: for fixed shapes, so that the whole cache is attended to, with a mask."""
    import torch
    from torch.nn import functional

    w = weights_of(trained)
    table, positions = w["embedding_1.W"].T.contiguous(), w["transformer_1.positions.W"].T.contiguous()
    width, blocks = table.shape[1], len([name for name in w if name.endswith("attention.query.W")])
    keys, values = (torch.zeros(blocks, HEADS, WINDOW, width // HEADS) for _ in range(2))
    mask = torch.full((1, 1, 1, WINDOW), -torch.inf)
    joined = [
        [torch.cat([w[f"transformer_1.block_{k + 1}.attention.{part}.{letter}"] for part in ("query", "key", "value")])
         for letter in "Wb"] for k in range(blocks)
    ]  # fmt: skip

    def outputs(token: Any, at: Any) -> Any:
        x = table[token] + positions[at]
        for k in range(blocks):
            own = f"transformer_1.block_{k + 1}"
            norm = functional.layer_norm(
                x, (width,), w[f"{own}.attention_norm.scale"], w[f"{own}.attention_norm.offset"]
            )
            q, key, value = functional.linear(norm, *joined[k]).view(3, HEADS, 1, width // HEADS)
            keys[k].index_copy_(1, at, key)
            values[k].index_copy_(1, at, value)
            y = functional.scaled_dot_product_attention(q[None], keys[k][None], values[k][None], attn_mask=mask)
            x = x + functional.linear(y.view(1, width), w[f"{own}.attention.output.W"], w[f"{own}.attention.output.b"])
            norm = [w[f"{own}.feed_forward_norm.{name}"] for name in ("scale", "offset")]
            inner = functional.layer_norm(x, (width,), *norm)
            parts = [w[f"{own}.feed_forward.{name}"] for name in ("hidden.W", "hidden.b", "output.W", "output.b")]
            x = x + functional.linear(functional.gelu(functional.linear(inner, *parts[:2])), *parts[2:])
        norm = functional.layer_norm(x, (width,), w["transformer_1.norm.scale"], w["transformer_1.norm.offset"])
        return functional.linear(norm, w["dense_1.W"], w["dense_1.b"])[0]

    compiled = torch.compile(outputs, fullgraph=True)

    def step(token: int, at: int) -> Any:
        if at == 0:
            mask.fill_(-torch.inf)
        mask[..., at] = 0
        return compiled(torch.tensor([token]), torch.tensor([at]))

    return step


def lstm(trained: Trained, by_hand: bool = False) -> Step:
    """A step of `nn.LSTM`; or of its formulas."""
    import torch
    from torch import nn
    from torch.nn import functional

    w = weights_of(trained)
    table, out = w["embedding_1.W"].T.contiguous(), (w["dense_1.W"], w["dense_1.b"])
    own = w["lstm_1.input.W"], w["lstm_1.state.U"], w["lstm_1.input.b"]
    module, units = nn.LSTM(table.shape[1], own[1].shape[1]), own[1].shape[1]
    with torch.no_grad():
        for parameter, array in zip(module.parameters(), (*own, torch.zeros(4 * units)), strict=True):
            parameter.copy_(array)
    state: list[Any] = []

    def step(token: int, at: int) -> Any:
        if at == 0:
            state[:] = [torch.zeros(1, 1, units)] * 2
        if not by_hand:
            y, state[:] = module(table[token].view(1, 1, -1), tuple(state))
            return functional.linear(y[0, 0], *out)
        h, c = state
        z = functional.linear(table[token].view(1, 1, -1), own[0], own[2]) + functional.linear(h, own[1])
        i, f, g, o = z.chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        state[:] = h, c
        return functional.linear(h[0, 0], *out)

    return step


PEERS: dict[str, dict[str, tuple[Callable[[Trained], Step], int]]] = {
    "gpt": {"PyTorch, 1 thread": (gpt, 1), "PyTorch, 2 threads": (gpt, 2), "PyTorch, compiled": (compiled_gpt, 1)},
    "lstm": {
        "PyTorch, nn.LSTM": (lstm, 1),
        "PyTorch, by hand": (lambda trained: lstm(trained, by_hand=True), 1),
        "PyTorch, by hand, 2 threads": (lambda trained: lstm(trained, by_hand=True), 2),
    },
}


def of_torch(step: Step, threads: int) -> Callable[[], None]:
    """Writes a text that fills the window."""
    import torch

    def write() -> None:
        torch.set_num_threads(threads)
        token = FIRST
        with torch.inference_mode():
            for at in range(WINDOW - 1):
                probabilities = torch.softmax(step(token, at) / TEMPERATURE, -1)
                token = int(torch.multinomial(probabilities, 1))

    return write


def of_chainrule(trained: Trained) -> Callable[[], None]:
    """The same, as a user calls it, with each token's probability."""
    prompt = trained.tokens.decode([FIRST])
    return lambda: [*trained.written(prompt, WINDOW - 1, TEMPERATURE)] and None


def require_same(trained: Trained, step: Step, name: str) -> None:
    """Raise AssertionError unless a step predicts what chainrule's network does."""
    import torch

    tokens = np.random.default_rng(1).integers(SYMBOLS, size=WINDOW)
    expected = trained.predictor()(tokens[None])[0]
    with torch.inference_mode():
        found = np.array([step(int(token), at).numpy() for at, token in enumerate(tokens)])
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-3, err_msg=name)


def measure(times: int) -> dict[str, list[dict[str, Any]]]:
    """Tokens per second: the median of turns, in each of which everyone writes texts one after another."""
    results: dict[str, list[dict[str, Any]]] = {}
    for name, text in NETWORKS.items():
        trained = model(text)
        writers = {"chainrule": of_chainrule(trained)}
        for peer, (make, threads) in PEERS[name].items():
            if threads > (os.cpu_count() or 1):
                continue
            step = make(trained)
            require_same(trained, step, peer)
            writers[peer] = of_torch(step, threads)
        seconds: dict[str, list[float]] = {peer: [] for peer in writers}
        for _ in range(times):
            for peer, write in writers.items():
                time.sleep(REST)
                write()
                began = time.perf_counter()
                for _ in range(3):
                    write()
                seconds[peer].append((time.perf_counter() - began) / (3 * (WINDOW - 1)))
        print(f"\n{name}: a text of {WINDOW} tokens")
        results[name] = []
        for peer, taken in seconds.items():
            ratio = statistics.median(theirs / own for theirs, own in zip(taken, seconds["chainrule"], strict=True))
            results[name].append({"peer": peer, "tokens_per_second": 1 / statistics.median(taken), "ratio": ratio})
            print(f"  {peer:30}{1 / statistics.median(taken):9,.0f} tokens/s, {ratio:5.2f} times chainrule's time")
    return results
