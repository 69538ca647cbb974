"""What one takes away: Python code that builds and trains this very network, with chainrule or PyTorch, and weights."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chainrule.distributions import (
    Constant,
    Identity,
    Normal,
    Orthogonal,
    Sparse,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
)
from chainrule.errors import SettingError
from chainrule.play.frames import drawn_from
from chainrule.play.samples import TEST, VALIDATION
from chainrule.play.settings import Settings, options_of

if TYPE_CHECKING:
    from chainrule.play.trainer import Trainer

_TORCH_MODULES = {
    "Flatten": "Flatten()", "Dense": "Linear({inputs}, {layer.units})", "Dropout": "Dropout({layer.rate:g})",
    "Tanh": "Tanh()", "ReLU": "ReLU()", "LeakyReLU": "LeakyReLU()", "Sigmoid": "Sigmoid()", "ELU": "ELU()",
    "SELU": "SELU()", "GELU": "GELU()", "SiLU": "SiLU()", "Mish": "Mish()", "Softplus": "Softplus()",
    "Softsign": "Softsign()", "HardTanh": "Hardtanh()", "HardSwish": "Hardswish()", "HardSigmoid": "Hardsigmoid()",
}  # fmt: skip
"""The kinds of layers that PyTorch has too, as it writes them."""
_TORCH_OPTIMIZERS = {
    "sgd": "SGD", "gd": "SGD", "gradient_descent": "SGD", "momentum": "SGD", "nesterov": "SGD", "adam": "Adam",
    "adamw": "AdamW", "adagrad": "Adagrad", "adadelta": "Adadelta", "rmsprop": "RMSprop", "adamax": "Adamax",
    "nadam": "NAdam", "radam": "RAdam",
}  # fmt: skip


_TORCH_DRAWS: dict[type, tuple[str, Callable[[Any], tuple[float, ...]]]] = {
    Uniform: ("uniform", lambda d: (d.low, d.high)),
    Normal: ("normal", lambda d: (d.mean, d.deviation)),
    TruncatedNormal: (
        "trunc_normal",
        lambda d: (d.mean, d.deviation, d.mean - d.bound * d.deviation, d.mean + d.bound * d.deviation),
    ),
    Constant: ("constant", lambda d: (d.value,)),
    Orthogonal: ("orthogonal", lambda d: (d.gain,)),
    Identity: ("eye", lambda _: ()),
    Sparse: ("sparse", lambda d: (d.sparsity, d.deviation)),
}


def export(trainer: Trainer, kind: str) -> str | bytes:
    """A file of this kind: "chainrule", "torch", "json" or "safetensors"."""
    if kind == "chainrule":
        return chainrule_code(trainer)
    if kind == "torch":
        return torch_code(trainer)
    layout, parameters = trainer.plan.network.parameters, trainer.position.parameters
    if kind == "json":
        return json.dumps({name: array.tolist() for name, array in layout.views(parameters)}, indent=1)
    if kind == "safetensors":
        from safetensors.numpy import save

        return save({name: array.copy() for name, array in layout.views(parameters)})
    raise SettingError(f"the page can't export {kind!r}")


def _data_code(trainer: Trainer) -> list[str]:
    """The lines that make the very samples of the page, split the same way."""
    settings = trainer.settings.data
    split = f"validation={VALIDATION}, test={TEST}, seed={settings.seed}"
    if settings.kind == "builtin":
        return [f"data = chainrule.load({settings.name!r}, {split})"]
    if settings.kind == "given":
        return [f"data = chainrule.load({trainer.data.name!r}, {split})  # the file that was opened"]
    lines = []
    if settings.kind == "drawn":
        lines += [
            f"points = np.array({[list(point[:2]) for point in settings.points]})",
            f"target = np.array({[point[2] for point in settings.points]})",
        ]
    else:
        lines += [
            f"plane = chainrule.plane_set({settings.name!r}, samples={settings.samples}, noise={settings.noise:g}"
            f", seed={settings.seed})",
            "points, target = plane.features, plane.target",
        ]
    names = {
        "x1": "x1", "x2": "x2", "x1^2": "x1 * x1", "x2^2": "x2 * x2", "x1*x2": "x1 * x2",
        "sin x1": "np.sin(np.pi * x1)", "sin x2": "np.sin(np.pi * x2)",
    }  # fmt: skip
    features = ", ".join(names[feature] for feature in settings.features)
    task = "regression" if trainer.data.task == "regression" else "classification"
    return [
        *lines,
        "x1, x2 = points.T",
        f"data = chainrule.load((np.column_stack([{features}]), target), {split}, task={task!r})",
    ]


def chainrule_code(trainer: Trainer) -> str:
    """A program that trains this network with chainrule: to the bit as the page did, by the end of the last epoch, if
    the page took whole epochs.
    """
    plan, settings = trainer.plan, trainer.settings
    made = [_repr(layer) for layer in plan.network.layers]
    penalties = f", penalties=[losses.elastic({settings.l1:g}, {settings.l2:g})]" if settings.penalties() else ""
    kinds = ", ".join(sorted({layer.kind for layer in plan.network.layers}))
    rooms = "distributions, losses" if "distributions." in "".join(made) else "losses"
    body = [
        *_data_code(trainer), "", "layers = [", *(f"    {layer}," for layer in made), "]",
        "trained = chainrule.train(",
        f"    layers, data, loss={_repr(plan.loss, 'losses.')}, optimizer={settings.optimizer_text!r},",
        f"    epochs={_epochs(trainer)}, batch_size={plan.batch_size}, seed={settings.seed}, patience=None{penalties},",
        ")", 'print(f"loss {trained.history[-1][\'loss\']:.6g}")',
    ]  # fmt: skip
    numbers = ["import numpy as np", ""] if any("np." in line for line in body) else []
    head = ['"""Trains the network of a page of chainrule play."""', "", *numbers, "import chainrule"]
    return "\n".join([*head, f"from chainrule import {rooms}", f"from chainrule.layers import {kinds}", "", *body, ""])


def _epochs(trainer: Trainer) -> int:
    """For how many epochs a program is to train: as long as the page has; with a schedule, as long as it is planned."""
    if trainer.settings.schedule != "constant":
        return trainer.settings.epochs
    return max(-(-trainer.step // trainer.steps_per_epoch), 1)


def _repr(value: Any, prefix: str = "") -> str:
    """A dataclass as code, its defaults left out."""
    if not dataclasses.is_dataclass(value):
        return repr(value)
    parts = []
    for f in dataclasses.fields(value):
        there = getattr(value, f.name)
        default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        if there != default:
            inner = "distributions." if f.name in ("weights", "biases") else ""
            parts.append(f"{f.name}={_repr(there, inner)}")
    return f"{prefix}{type(value).__name__}({', '.join(parts)})"


def torch_code(trainer: Trainer) -> str:
    """A program that builds and trains the same network with PyTorch. Raises SettingError for what PyTorch, or this
    program, has no counterpart for.
    """
    settings, steps = trainer.settings, trainer.steps_per_epoch
    kind = "float32" if trainer.data.task == "regression" else "int64"
    clip = ["nn.utils.clip_grad_norm_(network.parameters(), " + f"{settings.clip:g})"] if settings.clip else []
    schedule, follow = _torch_schedule(settings, settings.epochs * steps)
    within = [
        "prediction, target = network(x[rows]), y[rows]",
        f"loss = {_torch_loss(trainer)}",
        "optimizer.zero_grad()",
        "loss.backward()  # backpropagation computes the derivatives",
        *clip,
        "optimizer.step()  # gradient descent uses them",
        *follow,
    ]
    return "\n".join([
        '"""Trains the network of a page of chainrule play with PyTorch."""', "",
        "import numpy as np", "import torch", "from torch import nn", "", "import chainrule  # for the data", "",
        *_data_code(trainer), "",
        "x = torch.tensor(data.training.x, dtype=torch.float32)",
        f"y = torch.tensor(data.training.y, dtype=torch.{kind})", "",
        f"torch.manual_seed({settings.seed})",
        "network = nn.Sequential(", *(f"    {module}," for module in _torch_modules(trainer)), ")",
        *_torch_draws(trainer),
        f"optimizer = {_torch_optimizer(settings)}", *schedule,
        f"for epoch in range({_epochs(trainer)}):", "    order = torch.randperm(len(x))",
        f"    for rows in order.split({trainer.plan.batch_size}):", *(f"        {line}" for line in within),
        'print(f"loss {loss.item():.6g}")', "",
    ])  # fmt: skip


def _torch_modules(trainer: Trainer) -> list[str]:
    modules, inputs = [], math.prod(trainer.data.input_shape)
    for node in trainer.plan.network.nodes:
        layer, kind = node.layer, node.layer.kind
        if kind not in _TORCH_MODULES:
            raise SettingError(f"PyTorch has no {kind}; choose another activation to take its code away")
        modules.append("nn." + _TORCH_MODULES[kind].format(inputs=inputs, layer=layer))
        inputs = node.built.output_shape[-1]
    return modules


def _torch_draws(trainer: Trainer) -> list[str]:
    """The lines that draw weights from the distributions that the page has, and set biases to 0."""
    lines = []
    for k, node in enumerate(trainer.plan.network.nodes):
        if node.built.parameters:
            distribution, fans = drawn_from(node)
            found = distribution.scaled(fans) if isinstance(distribution, VarianceScaling) else distribution
            name, numbers = _TORCH_DRAWS[type(found)]
            told = ", ".join([f"network[{k}].weight", *(f"{number:.8g}" for number in numbers(found))])
            lines += [f"nn.init.{name}_({told})", f"nn.init.zeros_(network[{k}].bias)"]
    return lines


def _torch_loss(trainer: Trainer) -> str:
    losses = {
        "CategoricalCrossEntropy": "nn.functional.cross_entropy(prediction, target)",
        "BinaryCrossEntropy": "nn.functional.binary_cross_entropy_with_logits(prediction[:, 0], target.float())",
        "MeanSquaredError": "nn.functional.mse_loss(prediction, target)",
        "MeanAbsoluteError": "nn.functional.l1_loss(prediction, target)",
        "Huber": "nn.functional.huber_loss(prediction, target)",
    }
    name, settings = type(trainer.plan.loss).__name__, trainer.settings
    if name not in losses:
        raise SettingError(f"the code for PyTorch knows no {name}; choose another loss to take it away")
    weights = "(p for name, p in network.named_parameters() if name.endswith('weight'))"
    penalty = f" + sum({settings.l1:g} * p.abs().sum() for p in {weights})" if settings.l1 else ""
    penalty += f" + sum({settings.l2 / 2:g} * (p**2).sum() for p in {weights})" if settings.l2 else ""
    return losses[name] + penalty


def _torch_optimizer(settings: Settings) -> str:
    name = settings.optimizer
    if name not in _TORCH_OPTIMIZERS:
        raise SettingError(f"PyTorch has no optimizer {name}; choose another to take its code away")
    options = options_of(name) | dict(settings.options)
    more = f", momentum={options['decay']:g}" if name in ("momentum", "nesterov") else ""
    more += ", nesterov=True" if name == "nesterov" else ""
    more += f", betas=({options['beta1']:g}, {options['beta2']:g})" if "beta1" in options else ""
    more += f", weight_decay={options['weight_decay']:g}" if "weight_decay" in options else ""
    return f"torch.optim.{_TORCH_OPTIMIZERS[name]}(network.parameters(), lr={settings.learning_rate:g}{more})"


def _torch_schedule(settings: Settings, steps: int) -> tuple[list[str], list[str]]:
    """The lines that make a schedule, and those that follow it after each step."""
    if settings.schedule == "constant":
        return [], []
    if settings.schedule != "cosine":
        raise SettingError(f"the code for PyTorch knows no schedule {settings.schedule}; it knows constant and cosine")
    return [f"schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, {steps})"], ["schedule.step()"]
