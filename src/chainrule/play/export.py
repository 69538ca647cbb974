"""The page's exports: the weights, and code that trains the network in chainrule or PyTorch."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chainrule.data import Dataset
from chainrule.data.columns import READ
from chainrule.distributions import (
    Constant,
    Distribution,
    Fans,
    Identity,
    Normal,
    Orthogonal,
    Sparse,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    glorot_uniform,
)
from chainrule.errors import SettingError
from chainrule.interchange.torch_code import Code, code_of
from chainrule.play.samples import TEST, VALIDATION
from chainrule.play.settings import Settings, options_of

if TYPE_CHECKING:
    from chainrule.play.trainer import Trainer

_TORCH_OPTIMIZERS = {
    "sgd": "SGD", "gd": "SGD", "gradient_descent": "SGD", "momentum": "SGD", "nesterov": "SGD", "adam": "Adam",
    "adamw": "AdamW", "adagrad": "Adagrad", "adadelta": "Adadelta", "rmsprop": "RMSprop", "adamax": "Adamax",
    "nadam": "NAdam", "radam": "RAdam",
}  # fmt: skip
"""PyTorch's optimizers by their names here."""
_TORCH_INITIALIZERS: dict[type, tuple[str, Callable[[Any], tuple[float, ...]]]] = {
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
"""PyTorch's initializers by distribution, with a function that gives their arguments."""


def export(trainer: Trainer, kind: str) -> str | bytes:
    """The content of a file.

    Args:
        trainer: the network and its training
        kind: "chainrule" or "torch" for code, "json" or "safetensors" for the weights

    Raises:
        SettingError: for another kind, and for what code for PyTorch does not support
    """
    if kind == "chainrule":
        return chainrule_code(trainer)
    if kind == "torch":
        return torch_code(trainer)
    views = trainer.plan.network.parameters.views(trainer.position.parameters)
    if kind == "json":
        return json.dumps({name: array.tolist() for name, array in views}, indent=1)
    if kind == "safetensors":
        from safetensors.numpy import save

        return save({name: array.copy() for name, array in views})
    raise SettingError(f"the page can't export {kind!r}")


def _columns(data: Dataset) -> str:
    """The arguments that choose a table's target, and the kinds that might not be recognized."""
    if data.preparation is None or data.preparation.kind != "table":
        return ""
    read = {column: kind for column, kind in data.preparation.columns if kind in READ and kind != "number"}
    return f"target={data.target.in_table!r}, task={data.task!r}, " + (f"read={read!r}, " if read else "")


def _data_code(trainer: Trainer) -> list[str]:
    """The lines that load the samples of the page, with the same split."""
    settings = trainer.settings.data
    split = f"validation={VALIDATION}, test={TEST}, seed={settings.seed}"
    if settings.kind == "builtin":
        return [f"data = chainrule.load({settings.name!r}, {split})"]
    if settings.kind == "given":
        return [f"data = chainrule.load({trainer.data.name!r}, {_columns(trainer.data)}{split})  # the page's file"]
    if settings.kind == "drawn":
        lines = [
            f"points = np.array({[list(point[:2]) for point in settings.points]})",
            f"target = np.array({[point[2] for point in settings.points]})",
        ]
    else:
        options = f"samples={settings.samples}, noise={settings.noise:g}, seed={settings.seed}"
        lines = [
            f"plane = chainrule.plane_set({settings.name!r}, {options})",
            "points, target = plane.features, plane.target",
        ]
    expressions = {
        "x1": "x1", "x2": "x2", "x1^2": "x1 * x1", "x2^2": "x2 * x2", "x1*x2": "x1 * x2",
        "sin x1": "np.sin(np.pi * x1)", "sin x2": "np.sin(np.pi * x2)",
    }  # fmt: skip
    features = ", ".join(expressions[feature] for feature in settings.features)
    return [
        *lines,
        "x1, x2 = points.T",
        f"data = chainrule.load((np.column_stack([{features}]), target), {split}, task={trainer.data.task!r})",
    ]


def chainrule_code(trainer: Trainer) -> str:
    """A program that trains this network with chainrule. After whole epochs, its weights equal the
    page's bit for bit.
    """
    plan, settings = trainer.plan, trainer.settings
    layers = [_repr(layer) for layer in plan.network.layers]
    decision = [f"    threshold={trainer.threshold!r},  # the run's"] if trainer.threshold is not None else []
    penalties = f", penalties=[losses.elastic({settings.l1:g}, {settings.l2:g})]" if settings.penalties() else ""
    kinds = ", ".join(sorted({layer.kind for layer in plan.network.layers}))
    modules = "distributions, losses" if "distributions." in "".join(layers) else "losses"
    body = [
        *_data_code(trainer), "", "layers = [", *(f"    {layer}," for layer in layers), "]",
        "trained = chainrule.train(",
        f"    layers, data, loss={_repr(plan.loss, 'losses.')}, optimizer={settings.optimizer_text!r},",
        f"    epochs={_epochs(trainer)}, batch_size={plan.batch_size}, seed={settings.seed}, patience=None{penalties},",
        *decision, ")", 'print(f"loss {trained.history[-1][\'loss\']:.6g}")',
    ]  # fmt: skip
    numpy = ["import numpy as np", ""] if any("np." in line for line in body) else []
    head = ['"""Trains a network from the page of chainrule play."""', "", *numpy, "import chainrule"]
    return "\n".join(
        [*head, f"from chainrule import {modules}", f"from chainrule.layers import {kinds}", "", *body, ""]
    )


def _epochs(trainer: Trainer) -> int:
    """The epochs that a program trains for: those so far; with a schedule, all that are planned."""
    if trainer.settings.schedule != "constant":
        return trainer.settings.epochs
    return max(math.ceil(trainer.step / trainer.steps_per_epoch), 1)


def _repr(value: Any, prefix: str = "") -> str:
    """A dataclass as code, without the fields that have their defaults; any other value's repr."""
    if not dataclasses.is_dataclass(value):
        return repr(value)
    arguments = []
    for f in dataclasses.fields(value):
        setting = getattr(value, f.name)
        default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        if setting != default:
            module = "distributions." if f.name in ("weights", "biases") else ""
            arguments.append(f"{f.name}={_repr(setting, module)}")
    return f"{prefix}{type(value).__name__}({', '.join(arguments)})"


def torch_code(trainer: Trainer) -> str:
    """A program that trains the same network with PyTorch.

    Raises SettingError for a layer, loss, optimizer or schedule that such code does not support.
    """
    settings, steps = trainer.settings, trainer.steps_per_epoch
    dtype = "int64" if trainer.data.target.is_class else "float32"
    code = code_of(trainer.plan.network)
    if code.fixed:
        raise SettingError(f"the numbers of {', '.join(code.fixed)} are not drawn; `chainrule export` writes them")
    clip = [f"nn.utils.clip_grad_norm_(network.parameters(), {settings.clip:g})"] if settings.clip else []
    schedule, schedule_step = _torch_schedule(settings, settings.epochs * steps)
    loop_body = [
        "prediction, target = network(x[rows]), y[rows]",
        f"loss = {_torch_loss(trainer)}",
        "optimizer.zero_grad()",
        "loss.backward()  # backpropagation computes the derivatives",
        *clip,
        "optimizer.step()  # gradient descent uses them",
        *schedule_step,
    ]
    return "\n".join([
        '"""Trains a network from the page of chainrule play, with PyTorch."""', "",
        "import numpy as np", "import torch", "from torch import nn", "", "import chainrule  # for the data", "", "",
        *code.lines, "", "", *_data_code(trainer), "",
        "x = torch.tensor(np.asarray(data.training.x), dtype=torch.float32)",
        f"y = torch.tensor(data.training.y, dtype=torch.{dtype})", "",
        f"torch.manual_seed({settings.seed})",
        "network = Network()", *_torch_initializers(trainer, code),
        f"optimizer = {_torch_optimizer(settings)}", *schedule,
        f"for epoch in range({_epochs(trainer)}):", "    order = torch.randperm(len(x))",
        f"    for rows in order.split({trainer.plan.batch_size}):", *(f"        {line}" for line in loop_body),
        'print(f"loss {loss.item():.6g}")', *_torch_decision(trainer), "",
    ])  # fmt: skip


def _torch_decision(trainer: Trainer) -> list[str]:
    """The lines that predict classes, where the run has a threshold."""
    if trainer.threshold is None:
        return []
    is_single = trainer.plan.network.output_shape[-1] == 1
    probability = "torch.sigmoid(network(x)[:, 0])" if is_single else "torch.softmax(network(x), 1)[:, 1]"
    second = trainer.data.target.classes[1]
    return [
        "", "network.eval()", "with torch.no_grad():",
        f"    predicted = {probability} >= {trainer.threshold!r}  # {str(second)!r} or not: the run's threshold",
        'print(f"training accuracy {(predicted == (y == 1)).float().mean().item():.6g}")',
    ]  # fmt: skip


def _torch_initializers(trainer: Trainer, code: Code) -> list[str]:
    """The lines that draw the parameters from the same distributions."""
    lines = []
    for node in trainer.plan.network.nodes:
        for name, parameter in node.built.parameters.items():
            place = code.places.get(f"{node.owner}.{name}")
            if place is None or node.name != node.owner:
                continue
            distribution = parameter.distribution or glorot_uniform()
            gates = getattr(distribution, "each", (distribution,))  # side by side, each drawn for itself
            units, fans = parameter.shape[-1] // len(gates), (parameter.fans[0], parameter.fans[1] // len(gates))
            for k, one in enumerate(gates):
                part = f"[{k * units}:{(k + 1) * units}]" if len(gates) > 1 else ""
                lines.append(_torch_initializer(f"network.{place}{part}", one, fans))
    return lines


def _torch_initializer(place: str, distribution: Distribution, fans: Fans) -> str:
    """The line that draws an array from a distribution."""
    if isinstance(distribution, VarianceScaling):
        distribution = distribution.scaled(fans)
    if isinstance(distribution, Constant) and distribution.value == 0:
        return f"nn.init.zeros_({place})"
    if type(distribution) not in _TORCH_INITIALIZERS:
        raise SettingError(f"code for PyTorch does not draw {place}: {distribution.words}; choose another initializer")
    name, numbers = _TORCH_INITIALIZERS[type(distribution)]
    return f"nn.init.{name}_({', '.join([place, *(f'{value:.8g}' for value in numbers(distribution))])})"


def _torch_loss(trainer: Trainer) -> str:
    """The expression for the loss, with penalties."""
    logits = "prediction" if trainer.data.task == "multilabel" else "prediction[:, 0]"
    losses = {
        "CategoricalCrossEntropy": "nn.functional.cross_entropy(prediction, target)",
        "BinaryCrossEntropy": f"nn.functional.binary_cross_entropy_with_logits({logits}, target.float())",
        "MeanSquaredError": "nn.functional.mse_loss(prediction, target)",
        "MeanAbsoluteError": "nn.functional.l1_loss(prediction, target)",
        "Huber": "nn.functional.huber_loss(prediction, target)",
    }
    name, settings = type(trainer.plan.loss).__name__, trainer.settings
    if name not in losses:
        raise SettingError(f"code for PyTorch does not support {name}; choose another loss")
    weights = "(p for name, p in network.named_parameters() if name.endswith('weight'))"
    penalty = f" + sum({settings.l1:g} * p.abs().sum() for p in {weights})" if settings.l1 else ""
    penalty += f" + sum({settings.l2 / 2:g} * (p**2).sum() for p in {weights})" if settings.l2 else ""
    return losses[name] + penalty


def _torch_optimizer(settings: Settings) -> str:
    """The expression that creates the optimizer."""
    name = settings.optimizer
    if name not in _TORCH_OPTIMIZERS:
        raise SettingError(f"code for PyTorch does not support the optimizer {name}; choose another")
    options = options_of(name) | dict(settings.options)
    arguments = f"network.parameters(), lr={settings.learning_rate:g}"
    arguments += f", momentum={options['decay']:g}" if name in ("momentum", "nesterov") else ""
    arguments += ", nesterov=True" if name == "nesterov" else ""
    arguments += f", betas=({options['beta1']:g}, {options['beta2']:g})" if "beta1" in options else ""
    arguments += f", weight_decay={options['weight_decay']:g}" if "weight_decay" in options else ""
    return f"torch.optim.{_TORCH_OPTIMIZERS[name]}({arguments})"


def _torch_schedule(settings: Settings, steps: int) -> tuple[list[str], list[str]]:
    """The lines that create the learning-rate schedule, and those that advance it after a step."""
    if settings.schedule == "constant":
        return [], []
    if settings.schedule != "cosine":
        raise SettingError(f"code for PyTorch does not support the schedule {settings.schedule}; choose cosine")
    return [f"schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, {steps})"], ["schedule.step()"]
