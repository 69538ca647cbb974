"""Class weights by label, in class order, or "balanced", as one number for each class."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.data import Dataset
from chainrule.errors import SettingError
from chainrule.losses import NAMED, Loss
from chainrule.losses.base import class_weight_tuple

BALANCED = "balanced"

ClassWeight = str | Mapping[Any, float] | Sequence[float]
"""Weights by label, in class order, or as a text: "balanced", or "setosa=2, virginica=0.5"."""


def weighted(loss: Loss, class_weight: ClassWeight | None, data: Dataset) -> Loss:
    """The loss with these weights of the data's classes. A class without a weight has the weight 1.

    Raises SettingError for a loss without class weights, labels that the data does not have, and
    weights that are no finite numbers of 0 or more.
    """
    if class_weight is None:
        return loss
    if data.task != "classification":
        raise SettingError(f"class weights: {data.target.name} of {data.name} is a quantity and has no classes")
    if not _has_weights(type(loss)):
        able = ", ".join(name for name, kind in NAMED.items() if _has_weights(kind))
        raise SettingError(f"class weights: the loss {type(loss).__name__} has none; there are {able}")
    if getattr(loss, "class_weights", None) is not None:
        raise SettingError("class weights: the loss has some already; give them in one place")
    return dataclasses.replace(loss, class_weights=resolve(class_weight, data))  # type: ignore[call-arg]


def _has_weights(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind) and "class_weights" in {f.name for f in dataclasses.fields(kind)}


def resolve(class_weight: ClassWeight, data: Dataset) -> tuple[float, ...]:
    """One weight for each class of the data, in their order."""
    classes = data.target.classes
    if isinstance(class_weight, str):
        if class_weight.strip() == BALANCED:
            return balanced(data)
        class_weight = parse(class_weight)
    if isinstance(class_weight, Mapping):
        if not class_weight:
            raise SettingError("class weights: there are none in the mapping; leave it out")
        by_place: dict[int, float] = {}
        for label, weight in class_weight.items():
            place = _place(label, classes)
            if place in by_place:
                raise SettingError(f"class weights: {classes[place]!r} is given twice")
            by_place[place] = weight
        class_weight = [by_place.get(place, 1.0) for place in range(len(classes))]
    weights = class_weight_tuple(class_weight) or ()
    if len(weights) != len(classes):
        raise SettingError(
            f"class weights: there are {len(weights)} for {len(classes)} classes; give one for each, or name the"
            " classes that they are for"
        )
    return weights


def balanced(data: Dataset) -> tuple[float, ...]:
    """samples / (classes * samples of the class), as scikit-learn has it, of the training rows."""
    y, classes = data.training.y, data.target.classes
    counts = np.bincount(y, minlength=len(classes)) if y.ndim == 1 else y.sum(axis=0)
    if (counts == 0).any():
        label = classes[int(np.argmin(counts))]
        raise SettingError(
            f"class weights: there is no {label!r} among the rows to train on, so its weight can't be balanced; give"
            " weights by label"
        )
    return tuple((len(y) / (len(classes) * counts)).tolist())


def parse(text: str) -> dict[str, float]:
    """Weights by label from a text such as "setosa=2, virginica=0.5"."""
    pairs = [part.rpartition("=") for part in text.split(",")]
    labels = [label.strip() for label, _, _ in pairs]
    twice = [label for label, count in Counter(labels).items() if count > 1]
    if twice and twice[0]:
        raise SettingError(f"class weights {text!r}: {twice[0]!r} is given twice")
    try:
        if not all(labels):
            raise ValueError
        return {label: float(weight) for label, (_, _, weight) in zip(labels, pairs, strict=True)}
    except ValueError:
        raise SettingError(
            f"class weights {text!r}: write 'balanced', or labels and weights such as 'setosa=2, virginica=0.5'"
        ) from None


def _place(label: Any, classes: tuple[Any, ...]) -> int:
    """Which class is meant: by its label, or by the text that a label is written as."""
    ways = (
        lambda known: type(known) is type(label) and known == label,
        lambda known: str(known) == str(label).strip(),
        lambda known: isinstance(known, bool) and str(known).lower() == str(label).strip().lower(),
        lambda known: not isinstance(known, str) and known == _number(label),
    )
    for is_meant in ways:
        for place, known in enumerate(classes):
            if is_meant(known):
                return place
    shown = ", ".join(map(str, classes[:10])) + (f" and {len(classes) - 10} more" if len(classes) > 10 else "")
    raise SettingError(f"class weights: there is no class {label!r}; there are {shown}")


def _number(label: Any) -> float | None:
    try:
        return float(label)
    except (TypeError, ValueError):
        return None
