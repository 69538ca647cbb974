"""Convolutional networks beside PyTorch, with the same weights and samples in the same order.

PyTorch runs the nodes of chainrule's graph: eagerly with its usual layout and with channels last,
and compiled. Turns and ratios are those of epochs.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import layers
from chainrule.data import from_arrays
from chainrule.network import Network
from chainrule.training import make_plan
from comparison.peers import Epoch, of_chainrule
from comparison.problems import RATE, Training

NETWORKS = {
    "pictures": ("conv 32 3x3 relu, conv 64 3x3 relu, max_pool 2, flatten, 128 relu -> 10", (28, 28, 1), 64, 8),
    "lenet": ("lenet -> 10", (8, 8, 1), 32, 50),
    "resnet8": ("resnet8 -> 10", (32, 32, 3), 64, 6),
    "separable": ("separablenet -> 10", (32, 32, 3), 64, 4),
}
"""The layers, the shape of the input, the batch size, and the steps per epoch."""
TARGETS = {"pictures": 1.5, "lenet": 15, "resnet8": 1.3, "separable": 2}
"""How much faster than PyTorch's best they are to be."""


@dataclass(frozen=True)
class Problem(Training):
    """What both libraries train."""

    @property
    def products(self) -> float:
        """Multiplications and additions of a step's products, as if no derivative of the input were
        left out and each convolution took all its multiplications.
        """
        return 2.0 * self.batch * sum(_products(node) for node in self.plan.network.graph.nodes)


def _products(node: Any) -> float:
    if isinstance(node.layer, layers.Conv | layers.Dense):
        return node.layer.cost(node.built) / 2
    return 0.0


def problem(text: str, shape: tuple[int, ...], batch: int, steps: int) -> Problem:
    """Random samples of ten classes, for this many steps per epoch."""
    random = np.random.default_rng(0)
    x = random.normal(size=(batch * steps, *shape)).astype(np.float32)
    y = (x.reshape(len(x), -1) @ random.normal(size=(x[0].size, 10))).argmax(axis=1)
    data = from_arrays(x, y, task="classification")
    plan = make_plan(
        text, data, loss="cross_entropy", optimizer=f"adam {RATE}", batch_size=batch, epochs=10**6, patience=None
    )
    return Problem(batch, data, plan)


def of_torch(p: Problem, channels_last: bool = False, compiled: bool = False) -> Epoch:
    """PyTorch with its fused Adam."""
    import torch
    from torch import nn

    torch.set_num_threads(os.cpu_count() or 1)
    network = module(p.plan.network, p.plan.network.draw(p.plan.seed), p.plan.network.start_statistics())
    layout: dict[str, Any] = {"memory_format": torch.channels_last} if channels_last else {}
    network = network.to(**layout)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    x, y = torch.from_numpy(np.moveaxis(p.x, -1, 1).copy()).contiguous(**layout), torch.from_numpy(p.y)

    def loss_of(x: Any, y: Any) -> Any:
        return nn.functional.cross_entropy(network(x), y)

    loss_function = torch.compile(loss_of) if compiled else loss_of

    def epoch(number: int) -> float:
        total = torch.zeros(())
        for rows in torch.from_numpy(p.order(number)):
            loss = loss_function(x[rows].contiguous(**layout), y[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total) / p.steps

    return epoch


def module(network: Network, parameters: Any, statistics: Any) -> Any:
    """The nodes of a network's graph as PyTorch's modules, with the same weights."""
    import torch
    from torch import nn

    graph = network.graph
    weights = {**dict(network.parameters.views(parameters)), **dict(network.statistics.views(statistics))}

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps = nn.ModuleList()
            for node, shapes in zip(graph.nodes, _input_shapes(graph), strict=True):
                self.steps.append(_step(node, shapes, weights))

        def forward(self, x: Any) -> Any:
            values = [x]
            for node, step in zip(graph.nodes, self.steps, strict=True):
                values.append(step(*(values[k] for k in node.inputs)))
            return values[-1]

    class Added(nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            return a + b

    class Flattened(nn.Module):  # in chainrule's order
        def forward(self, x: Any) -> Any:
            return x.permute(0, 2, 3, 1).flatten(1)

    class Mean(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.mean(dim=(2, 3))

    def _step(node: Any, shape: tuple[int, ...], weights: dict[str, np.ndarray]) -> Any:
        layer, own = node.layer, {name: torch.from_numpy(weights[f"{node.owner}.{name}"].copy())
                                  for name in (*node.built.parameters, *node.built.statistics)}  # fmt: skip
        with torch.no_grad():
            if isinstance(layer, layers.Conv):
                axes = layer.window_axes(shape[:-1])
                sides = [side for axis in reversed(axes) for side in (axis.before, axis.after)]
                equal = all(axis.before == axis.after for axis in axes)
                padding = tuple(axis.before for axis in axes) if equal else 0
                kernel, stride = (tuple(getattr(axis, name) for axis in axes) for name in ("kernel", "stride"))
                conv = nn.Conv2d(
                    shape[-1], layer.channels, kernel, stride, padding, groups=layer.groups, bias=layer.bias
                )
                conv.weight.copy_(own["W"].permute(3, 2, 0, 1))
                if layer.bias:
                    conv.bias.copy_(own["b"])
                return conv if equal else nn.Sequential(nn.ZeroPad2d(sides), conv)
            if isinstance(layer, layers.Dense):
                linear = nn.Linear(*own["W"].shape)
                linear.weight.copy_(own["W"].T)
                linear.bias.copy_(own["b"])
                return linear
            if isinstance(layer, layers.BatchNorm):
                norm = nn.BatchNorm2d(shape[-1], eps=layer.epsilon, momentum=1 - layer.momentum)
                arrays = {"weight": "scale", "bias": "offset", "running_mean": "mean", "running_var": "variance"}
                for theirs, ours in arrays.items():
                    getattr(norm, theirs).copy_(own[ours])
                return norm
        if isinstance(layer, layers.MaxPool):
            return nn.MaxPool2d(layer.size)
        made = {layers.ReLU: nn.ReLU, layers.Add: Added, layers.Flatten: Flattened, layers.GlobalAveragePool: Mean}
        return made[type(layer)]()

    return Graph()


def _input_shapes(graph: Any) -> Iterator[tuple[int, ...]]:
    for node in graph.nodes:
        yield graph.shapes[node.inputs[0]]


PEERS: dict[str, Callable[[Any], Epoch]] = {
    "chainrule": of_chainrule,
    "PyTorch, fused Adam": of_torch,
    "PyTorch, channels last": lambda p: of_torch(p, channels_last=True),
    "PyTorch, compiled": lambda p: of_torch(p, compiled=True),
    "PyTorch, compiled, channels last": lambda p: of_torch(p, channels_last=True, compiled=True),
}
