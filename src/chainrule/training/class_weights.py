"""Class weights: "balanced", by label or in class order, resolved to one number per class."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Dataset
from chainrule.errors import require
from chainrule.losses import NAMED, Loss
from chainrule.losses.base import class_weight_tuple

BALANCED = "balanced"

ClassWeight = str | Mapping[Any, float] | Sequence[float] | Sequence[Mapping[Any, float]]
"""Weights by label, in class order, or as text: "balanced", or "setosa=2, virginica=0.5". Of
several labels: of 0 and 1, for all of them or, in a list, for each.
"""


def weighted(loss: Loss, class_weight: ClassWeight | None, data: Dataset) -> Loss:
    """The loss with these class weights. A class without a weight gets 1.

    Raises SettingError for a loss that takes no class weights, for labels that the data does not
    have, and for weights that are negative or not finite.
    """
    if class_weight is None:
        return loss
    is_classified = data.task != "regression"
    require(is_classified, f"class weights: {data.target.name} of {data.name} is a quantity and has no classes")
    losses = ", ".join(name for name, kind in NAMED.items() if hasattr(kind, "class_weights"))
    message = f"class weights: the loss {type(loss).__name__} takes none; those that do are {losses}"
    require(hasattr(loss, "class_weights"), message)
    has_none = getattr(loss, "class_weights", None) is None
    require(has_none, "class weights: the loss already has some; pass them in one place")
    return dataclasses.replace(loss, class_weights=resolve(class_weight, data))  # type: ignore[call-arg]


def resolve(class_weight: ClassWeight, data: Dataset) -> tuple[float, ...]:
    """(classes,) the weight of each class, in class order; of labels those of 0 and 1 for all, or
    (2 * labels,) for each.
    """
    classes = data.target.classes if data.target.is_class else (0, 1)
    if isinstance(class_weight, str):
        if class_weight.strip() == BALANCED:
            return balanced(data)
        class_weight = parse(class_weight)
    if not data.target.is_class and isinstance(class_weight, list | tuple) and _are_mappings(class_weight):
        labels = data.target.columns
        counts = f"there are {len(class_weight)} mappings for {len(labels)} labels ({', '.join(labels[:5])})"
        require(len(class_weight) == len(labels), f"class weights: {counts}; pass one of 0 and 1 for each")
        return tuple(weight for each in class_weight for weight in resolve(each, data))
    if isinstance(class_weight, Mapping):
        require(bool(class_weight), "class weights: the mapping is empty; leave it out")
        numbers = [_class_number(label, classes) for label in class_weight]
        for number in numbers:
            require(numbers.count(number) == 1, f"class weights: {classes[number]!r} is given twice")
        by_number = dict(zip(numbers, class_weight.values(), strict=True))
        class_weight = [by_number.get(number, 1.0) for number in range(len(classes))]
    weights = class_weight_tuple(class_weight) or ()
    counts = f"there are {len(weights)} for {len(classes)} classes"
    require(len(weights) == len(classes), f"class weights: {counts}; pass one per class, or pass them by label")
    return weights


def _are_mappings(weights: Sequence[Any]) -> bool:
    return len(weights) > 0 and all(isinstance(each, Mapping) for each in weights)


def balanced(data: Dataset) -> tuple[float, ...]:
    """samples / (classes * samples of the class), over the training set, as in scikit-learn; for
    labels this of each, with the classes 0 and 1. A label that all samples or none have gets 1.
    """
    training, classes = data.training, data.target.classes
    if not data.target.is_class:
        count, ones = len(training.x), sum(chunk.y.sum(axis=0) for chunk in training.chunks())
        counts = np.stack([count - ones, ones], axis=1)
        is_known = (counts > 0).all(axis=1, keepdims=True)
        return tuple(np.where(is_known, count / (2 * np.maximum(counts, 1)), 1.0).ravel().tolist())
    counts = sum((_counted(chunk.y, data) for chunk in training.chunks()), np.zeros(len(classes)))
    missing = f"there is no {classes[int(np.argmin(counts))]!r} in the training set"
    require(bool(counts.all()), f"class weights: {missing}, so they can't be balanced; pass weights by label")
    return tuple((counts.sum() / (len(classes) * counts)).tolist())


def _counted(y: Array, data: Dataset) -> Array:
    """(classes,) the samples of each class; of a target at each position, the positions."""
    y = y.reshape(-1) if data.target.positions else y
    return np.bincount(y, minlength=len(data.target.classes)) if y.ndim == 1 else y.sum(axis=0)


def parse(text: str) -> dict[str, float]:
    """Weights by label from text such as "setosa=2, virginica=0.5"."""
    pairs = [item.rpartition("=") for item in text.split(",")]
    labels = [label.strip() for label, _, _ in pairs]
    for label in filter(None, labels):
        require(labels.count(label) == 1, f"class weights {text!r}: {label!r} is given twice")
    weights = [_number(weight) for _, _, weight in pairs]
    example = "write 'balanced', or labels and weights such as 'setosa=2, virginica=0.5'"
    require(all(labels) and None not in weights, f"class weights {text!r}: {example}")
    return dict(zip(labels, weights, strict=True))  # type: ignore[arg-type]  # none of them is None


def _class_number(label: Any, classes: tuple[Any, ...]) -> int:
    """The class that a label stands for, by its text or its value; an exact match comes first."""
    text = str(label).strip()
    rules = (
        lambda known: str(known) == str(label),
        lambda known: str(known) == text or (isinstance(known, bool) and str(known).lower() == text.lower()),
        lambda known: not isinstance(known, str) and known == _number(label),
    )
    matches = [number for is_match in rules for number, known in enumerate(classes) if is_match(known)]
    shown = ", ".join(map(str, classes[:10])) + (f" and {len(classes) - 10} more" if len(classes) > 10 else "")
    require(bool(matches), f"class weights: there is no class {label!r}; there are {shown}")
    return matches[0]


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
