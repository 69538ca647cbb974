"""An imported network as a trained one: its weights, what its outputs mean, and no data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from chainrule import layers
from chainrule.arrays import Array, Samples, Shape, Vector
from chainrule.data import Dataset, Preparation, Target
from chainrule.data.targets import Label
from chainrule.descent import optimizer
from chainrule.engine import Position
from chainrule.errors import SettingError, require, setting, unknown
from chainrule.interchange.values import Value
from chainrule.interchange.wiring import Wiring
from chainrule.layers.graph import Recorded, name_layers
from chainrule.layers.symbols import Symbol
from chainrule.losses import loss as named_loss
from chainrule.network import Network
from chainrule.runs import Trained
from chainrule.training import Plan, Progress
from chainrule.training.networks import outputs_for

IMPORTED = "imported"
"""Why the training of an imported network ended: there was none."""
LOSSES = {"classification": "cross_entropy", "regression": "mse", "multilabel": "binary_cross_entropy"}
HEADS = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}
"""What a network may end in, by the kind of layer."""
JOINS, SUMS, LOGISTIC = ("Concatenate",), ("Add",), ("sigmoid",)
Numbers = float | Sequence[float]


@dataclass(frozen=True)
class Meaning:
    """What the outputs of a foreign network mean.

    Attributes:
        task: "classification", "multilabel" or "regression"; None for what its end says: classes
            after a softmax, or a sigmoid of one output, labels after a sigmoid of several, and
            quantities otherwise
        classes: the classes in the order of the outputs; by default numbers from 0
        mean, deviation: what is subtracted from samples, and what they are then divided by: a
            number, or one for each feature or channel
    """

    task: str | None = None
    classes: Sequence[Label] | None = None
    mean: Numbers = 0.0
    deviation: Numbers = 1.0

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in LOSSES:
            raise unknown("task", self.task, LOSSES)


@dataclass(frozen=True)
class Imported:
    """What was read of a foreign network.

    Attributes:
        network: the network here
        parameters, statistics: its weights and its fixed numbers
        axes: which axes of the foreign output those of its own are
        head: "softmax" or "sigmoid", where the foreign network ends in one; it is no layer here,
            but a part of what the loss makes of the outputs
    """

    network: Network
    parameters: Vector
    statistics: Vector
    axes: tuple[int, ...]
    head: str | None = None


def network_of(wiring: Wiring, output: Value, dtype: str | None = None) -> Imported:
    """The network that was wired, up to a last softmax or sigmoid."""
    axes = output_axes(output.shape, wiring)
    symbol, head = without_head(output.arranged(axes), wiring)
    arrays = [array for _, held in wiring.weights for array in held.values()]
    is_double = bool(arrays) and all(a.dtype == np.float64 for a in arrays)
    network = Network(inputs=wiring.inputs, outputs=symbol, dtype=dtype or ("float64" if is_double else "float32"))
    require(network.parameters.size > 0, "the network has no weights, so there is nothing to explain or to train")
    names = {id(layer): name for name, layer in name_layers(network.layers).items()}
    held = {
        f"{names[id(layer)]}.{name}": array
        for layer, own in wiring.weights
        if id(layer) in names
        for name, array in own.items()
    }
    parameters, statistics = (filled(part, held, network.dtype) for part in (network.parameters, network.statistics))
    return Imported(network, parameters, statistics, axes, head)


def filled(layout: Any, held: Mapping[str, Array], dtype: str) -> Vector:
    """A vector of these arrays by name; raises SettingError unless each has its own, which is
    finite.
    """
    vector = np.empty(layout.size, dtype)
    for entry in layout.entries:
        array = held.get(entry.name)
        if array is None or array.shape != entry.shape:
            found = "there is none" if array is None else f"it has the shape {array.shape}"
            raise SettingError(f"{entry.name}: an array of the shape {entry.shape} is needed, but {found}")
        if not np.isfinite(array).all():
            raise SettingError(f"{entry.name}: its numbers are not all finite")
        vector[entry.place] = array.ravel()
    return vector


def output_axes(shape: Shape, wiring: Wiring) -> tuple[int, ...]:
    """The axes of the output but that of the samples, which is the first of size 1; channels are
    the last of them, if those of the input are.
    """
    samples = shape.index(1) if 1 in shape else -1
    axes = tuple(a for a in range(len(shape)) if a != samples)
    are_last = any(len(own) > 1 and own[-1] == 1 for own in wiring.input_axes)
    return (*axes[1:], axes[0]) if len(shape) > 2 and samples == 0 and are_last else axes


def without_head(symbol: Symbol, wiring: Wiring) -> tuple[Symbol, str | None]:
    """The symbol before a last softmax or sigmoid, and which it was."""
    last = cast(Recorded, symbol)
    head = HEADS.get(_kind(last))
    if head is not None:
        return last.inputs[0], head
    if _kind(last) in JOINS and len(last.inputs) == 2:  # scikit-learn's [1 - p, p]
        p = cast(Recorded, last.inputs[1])
        if HEADS.get(_kind(p)) in LOGISTIC and p.shape == (1,) and _is_complement(last.inputs[0], p, wiring):
            return p.inputs[0], "sigmoid"
    return symbol, None


def _kind(symbol: Recorded) -> str:
    return "" if symbol.layer is None else symbol.layer.kind


def _is_complement(symbol: Symbol, p: Symbol, wiring: Wiring) -> bool:
    """Whether this is 1 - p."""
    added = cast(Recorded, symbol)
    if _kind(added) not in SUMS:
        return False
    ones = {id(layer) for layer, held in wiring.weights if all((a == 1).all() for a in held.values())}
    parts = [cast(Recorded, x) for x in added.inputs]
    negative = [x for x in parts if x.layer == layers.Scale(-1.0) and x.inputs[0] is p]
    return len(negative) == 1 and any(id(x.layer) in ones for x in parts if x not in negative)


def trained_from(found: Imported, meaning: Meaning, name: str, tokens: bool = False) -> Trained:
    """The network as a trained one, without data and without steps."""
    network = found.network
    *positions, width = network.output_shape or (1,)
    task = meaning.task or _task_of(found.head, width)
    target = _target(task, width, tuple(positions), meaning.classes)
    loss = named_loss("binary_cross_entropy" if task == "classification" and width == 1 else LOSSES[task])
    wanted = (*positions, outputs_for(loss, target))
    if network.output_shape != wanted:
        raise SettingError(
            f"the network's output has the shape {network.output_shape}; for {target.about} it is {wanted}"
        )
    plan = Plan(network, loss, optimizer("sgd 0.01"), 1, 1)
    position = Position(
        0, found.parameters, found.statistics, plan.optimizer.start(found.parameters, network.parameters)
    )
    shape, targets = network.input_shape, (*positions, *(() if target.is_class else (width,)))
    none = Samples(
        np.empty((0, *shape), np.float32), np.empty((0, *targets), np.int64 if target.is_class else np.float64)
    )
    preparation = _preparation(shape, target, meaning, tokens)
    data = Dataset(none, None, None, target, preparation, name)
    progress = Progress(position)
    return Trained(
        plan, target, preparation, found.parameters, found.statistics, progress, data, IMPORTED, None, progress
    )


def _task_of(head: str | None, width: int) -> str:
    if head in ("softmax", "log_softmax"):
        return "classification"
    if head == "sigmoid":
        return "classification" if width == 1 else "multilabel"
    return "regression"


def _target(task: str, width: int, positions: Shape, classes: Sequence[Label] | None) -> Target:
    if task == "regression":
        require(
            classes is None, f"classes are for a classification; choose it with {setting('task', 'classification')}"
        )
        return Target(task, mean=(0.0,) * width, deviation=(1.0,) * width, positions=positions)
    count = 2 if task == "classification" and width == 1 else width
    named: tuple[Label, ...] = tuple(classes) if classes is not None else tuple(range(count))
    require(len(named) == count, f"there are {len(named)} classes for {count}; pass one for each output")
    require(len({*named}) == len(named), "two classes have the same name")
    if task == "multilabel":
        return Target(task, columns=tuple(map(str, named)), positions=positions)
    return Target(task, classes=named, positions=positions)


def _preparation(shape: Shape, target: Target, meaning: Meaning, tokens: bool) -> Preparation:
    """Samples as they are, or less the mean and divided by the deviation."""
    kind = {1: "numbers", 2: "numbers" if tokens else "sequences"}.get(len(shape), "pictures")
    arrays = []
    for what, numbers in (("mean", meaning.mean), ("deviation", meaning.deviation)):
        given = np.asarray(numbers, np.float64)
        try:
            arrays.append(np.broadcast_to(given, shape).copy())
        except ValueError:
            problem = f"there are {given.size} numbers for samples of the shape {shape}"
            raise SettingError(f"the {what}: {problem}; pass one, or one for each feature or channel") from None
        is_positive = what == "mean" or bool((arrays[-1] > 0).all())
        require(bool(np.isfinite(arrays[-1]).all()) and is_positive, f"the {what} must be finite, a deviation above 0")
    size = shape[:2] if len(shape) == 3 else None
    return replace(Preparation(kind, shape, target, arrays[0], arrays[1]), image_size=size)
