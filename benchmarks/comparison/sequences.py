"""Attention and recurrence beside PyTorch, with the same weights and samples in the same order.

PyTorch runs them as its users write them: one Linear layer for queries, keys and values together
and `scaled_dot_product_attention`, or `nn.LSTM` and `nn.GRU`; eagerly and compiled. Turns and
ratios are those of epochs.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import layers
from chainrule.data import from_arrays
from chainrule.layers.recurrence import StateSums
from chainrule.training import make_plan
from comparison.peers import Epoch, of_chainrule
from comparison.problems import RATE, Training

SYMBOLS = 65
NETWORKS = {
    "gpt": (f"embedding {SYMBOLS} 128, transformer 4 heads=4 causal=true", (64,), 16, 12),
    "tiny gpt": (f"embedding {SYMBOLS} 32, transformer 1 heads=2 causal=true", (16,), 8, 100),
    "lstm": (f"embedding {SYMBOLS} 64, lstm 128 all=true", (64,), 32, 20),
    "gru": (f"embedding {SYMBOLS} 64, gru 128 all=true", (64,), 32, 20),
    "small lstm": ("lstm 16", (20, 4), 8, 200),
}
"""The layers, the shape of the input, the batch size, and the steps per epoch."""
TARGETS = {"gpt": 1.5, "tiny gpt": 15, "lstm": 1.5, "gru": 1.5, "small lstm": 20}
"""How much faster than PyTorch's best they are to be."""


@dataclass(frozen=True)
class Problem(Training):
    """What both libraries train."""

    @property
    def products(self) -> float:
        """Multiplications and additions of a step's matrix products, each once forward and twice
        backward. The scores above the diagonal of a causal attention are left out.
        """
        graph = self.plan.network.graph
        return 2.0 * self.batch * sum(_products(node, graph.shapes) for node in graph.nodes)


def _products(node: Any, shapes: Any) -> float:
    if isinstance(node.layer, layers.Dense | StateSums):
        return node.layer.cost(node.built) / 2
    if isinstance(node.layer, layers.MatMul):  # of attention: half of the keys
        return 3 * float(np.prod(shapes[node.inputs[0]]) * node.built.output_shape[-1]) / 2
    return 0.0


def problem(text: str, shape: tuple[int, ...], batch: int, steps: int) -> Problem:
    """Random symbols, each to be predicted from the one before it and from its position; or random
    numbers of four classes.
    """
    random, samples = np.random.default_rng(0), batch * steps
    if len(shape) == 1:
        x = random.integers(0, SYMBOLS, (samples, *shape)).astype(np.float32)
        y = (x.astype(int) + np.arange(shape[0])) % SYMBOLS
        y.flat[:SYMBOLS] = np.arange(SYMBOLS)  # each occurs
    else:
        x = random.normal(size=(samples, *shape)).astype(np.float32)
        y = x.sum(axis=1).argmax(axis=1)
    data = from_arrays(x, y, task="classification")
    plan = make_plan(
        text, data, loss="cross_entropy", optimizer=f"adam {RATE}", batch_size=batch, epochs=10**6, patience=None
    )
    return Problem(batch, data, plan)


def of_torch(p: Problem, compiled: bool = False) -> Epoch:
    """PyTorch with its fused Adam."""
    import torch
    from torch import nn

    torch.set_num_threads(os.cpu_count() or 1)
    network = module(p)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=RATE, fused=True)
    x, y = torch.from_numpy(p.x), torch.from_numpy(p.y)
    x = x.long() if len(x.shape) == 2 else x

    def loss_of(x: Any, y: Any) -> Any:
        return nn.functional.cross_entropy(network(x).flatten(0, -2), y.flatten())

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


def module(p: Problem) -> Any:
    """The network of a problem as PyTorch's module, with the same weights."""
    import torch
    from torch import nn

    network = p.plan.network
    weights = {k: torch.from_numpy(np.array(w)) for k, w in network.parameters.views(network.draw(p.plan.seed))}
    word = next(name.partition("_")[0] for name in weights if not name.startswith("embedding"))

    def linear(*names: str) -> Any:
        """A Linear layer for these Dense layers side by side."""
        w = torch.cat([weights[f"{name}.W"] for name in names], dim=1)
        made = nn.Linear(*w.shape)
        with torch.no_grad():
            made.weight.copy_(w.T)
            made.bias.copy_(torch.cat([weights[f"{name}.b"] for name in names]))
        return made

    class Attention(nn.Module):
        def __init__(self, name: str, heads: int) -> None:
            super().__init__()
            self.qkv, self.heads = linear(*(f"{name}.{part}" for part in ("query", "key", "value"))), heads
            self.output = linear(f"{name}.output")

        def forward(self, x: Any) -> Any:
            parts = self.qkv(x).chunk(3, dim=-1)
            q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.output(y.transpose(1, 2).flatten(2))

    class Transformer(nn.Module):
        def __init__(self, layer: layers.Transformer, name: str) -> None:
            super().__init__()
            self.positions = nn.Parameter(weights[f"{name}.positions.W"])
            width, blocks = self.positions.shape[1], [f"{name}.block_{k + 1}" for k in range(layer.blocks)]
            self.norms = nn.ModuleList(
                nn.LayerNorm(width, eps=layers.LayerNorm().epsilon) for _ in range(2 * layer.blocks + 1)
            )
            self.attentions = nn.ModuleList(Attention(f"{block}.attention", layer.heads) for block in blocks)
            parts = [[linear(f"{block}.feed_forward.{part}") for part in ("hidden", "output")] for block in blocks]
            self.forwards = nn.ModuleList(nn.Sequential(hidden, nn.GELU(), output) for hidden, output in parts)

        def forward(self, x: Any) -> Any:
            x = x + self.positions
            for k, (attention, feed_forward) in enumerate(zip(self.attentions, self.forwards, strict=True)):
                x = x + attention(self.norms[2 * k](x))
                x = x + feed_forward(self.norms[2 * k + 1](x))
            return self.norms[-1](x)

    class Recurrent(nn.Module):
        def __init__(self, name: str, every: bool) -> None:
            super().__init__()
            inputs, state = weights[f"{name}.input.W"], weights[f"{name}.state.U"]
            self.cells = {"lstm": nn.LSTM, "gru": nn.GRU}[word](len(inputs), len(state), batch_first=True)
            self.every, cells = every, self.cells
            with torch.no_grad():
                cells.weight_ih_l0.copy_(inputs.T)
                cells.weight_hh_l0.copy_(state.T)
                cells.bias_ih_l0.copy_(weights[f"{name}.input.b"])
                cells.bias_hh_l0.copy_(weights.get(f"{name}.state.b", torch.zeros(())))
            cells.bias_hh_l0.requires_grad_(f"{name}.state.b" in weights)  # an LSTM has one bias of a gate

        def forward(self, x: Any) -> Any:
            y, _ = self.cells(x)
            return y if self.every else y[:, -1]

    steps: list[Any] = (
        [nn.Embedding.from_pretrained(weights["embedding_1.W"], freeze=False)] if "embedding_1.W" in weights else []
    )
    if word == "transformer":
        (layer,) = (one for one in p.plan.network.layers if isinstance(one, layers.Transformer))
        steps.append(Transformer(layer, "transformer_1"))
    else:
        steps.append(Recurrent(f"{word}_1", len(p.y.shape) == 2))
    return nn.Sequential(*steps, linear("dense_1"))


PEERS: dict[str, Callable[[Any], Epoch]] = {
    "chainrule": of_chainrule,
    "PyTorch, fused Adam": of_torch,
    "PyTorch, compiled": lambda p: of_torch(p, compiled=True),
}
