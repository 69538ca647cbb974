"""Leakage: one column says the target nearly exactly, which it will hardly do when it counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from chainrule.arrays import Array
from chainrule.data import Dataset
from chainrule.doctor.case import Case
from chainrule.doctor.finding import Change, Finding, Remedy
from chainrule.doctor.remedies import of_inputs
from chainrule.training import Plan

ALL = 0.985
"""How much of what there is to know the column must say: 0 as much as the most frequent class or
the mean, 1 everything. In the seven built-in tables the most is 0.97 (iris: petal length).
"""
BINS = 32
"""The parts of equally many training rows that a column is divided into."""
FEWEST = 50
"""The fewest training rows to judge by."""
COLUMNS = 3
"""The fewest columns: of two, one may well say it all, as of points of the plane."""
MOST = 5000
"""The most inputs that are looked at."""


def find(case: Case) -> Iterator[Finding]:
    """Whether one column says it all."""
    target = case.data.target
    if target.positions or target.season or target.task == "multilabel" or len(case.training.x) < FEWEST:
        return
    said = told(case)
    if not said.size:
        return
    columns = _columns(case, said)
    if len(columns) < COLUMNS:
        return
    name, inputs = max(columns, key=lambda one: said[one[1]].max())
    best = float(said[inputs].max())
    if best < ALL:
        return
    others = np.delete(said, inputs)
    next_best = float(others.max()) if others.size else 0.0
    words = (
        f"Leakage: {name} alone says {100 * best:.1f} % of what there is to know about {target.name}; the next best"
        f" input says {100 * next_best:.0f} %. Is it known before {target.name} is, and not made from it?"
    )
    evidence = {"column": name, "told": best, "next": next_best}
    remedy = Remedy(f"leave {name} out (drop)", _dropped(inputs), honest=True)
    yield Finding("leakage", words, name, "serious", evidence, (0,), remedy)


def told(case: Case) -> Array:
    """(inputs,) how much of the target each input says alone: it is cut into parts, each predicts
    its most frequent class or mean, and every second row tests what the others gave.
    """
    x = case.flat("training")
    if x.shape[1] > MOST:
        return np.empty(0)
    y = np.asarray(case.training.y)
    classes = case.data.target.width if case.data.target.is_class else 0
    y = y.reshape(-1).astype(int) if classes else y.reshape(len(y), -1)[:, 0].astype(np.float64)
    halves = np.arange(len(x)) % 2 == 0
    scores = [
        np.mean([_told(x[:, k], y, classes, fit) for fit in (halves, ~halves)]) if np.ptp(x[:, k]) > 0 else 0.0
        for k in range(x.shape[1])
    ]
    return np.array(scores)


def _told(column: Array, y: Array, classes: int, fit: Array) -> float:
    """How much of the target of the rows outside of `fit` the parts of a column say."""
    values = np.unique(column[fit])
    edges = (
        values[1:] if len(values) <= BINS else np.unique(np.quantile(column[fit], np.linspace(0, 1, BINS + 1)[1:-1]))
    )
    part, count, test = np.searchsorted(edges, column, side="right"), len(edges) + 1, ~fit
    if classes:
        votes = np.zeros((count, classes))
        np.add.at(votes, (part[fit], y[fit]), 1)
        usual = int(np.bincount(y[fit]).argmax())
        guess = np.where(votes.sum(axis=1) > 0, votes.argmax(axis=1), usual)
        base = float((y[test] == usual).mean())
        return (float((guess[part[test]] == y[test]).mean()) - base) / max(1 - base, 1e-9)
    return _line(column, y, part, count, fit)


def _line(column: Array, y: Array, part: Array, count: int, fit: Array) -> float:
    """R squared, outside of `fit`, of a line within each part with enough rows, else its mean."""
    test = ~fit
    sums = np.bincount(part[fit], minlength=count)
    mean = np.where(sums > 0, np.bincount(part[fit], y[fit], count) / np.maximum(sums, 1), y[fit].mean())
    center = np.bincount(part[fit], column[fit], count) / np.maximum(sums, 1)
    dx, dy = column - center[part], y - mean[part]
    square = np.bincount(part[fit], (dx * dx)[fit], count)
    slope = np.where(sums > 3, np.bincount(part[fit], (dx * dy)[fit], count) / np.maximum(square, 1e-12), 0)
    left = ((dy - slope[part] * dx)[test] ** 2).sum()
    return 1 - float(left / max(((y[test] - y[fit].mean()) ** 2).sum(), 1e-300))


def _columns(case: Case, said: Array) -> list[tuple[str, Array]]:
    """The columns of the user's table, each with its inputs; other inputs one by one."""
    data = case.data
    preparation = data.preparation
    if preparation is None or preparation.kind != "table" or preparation.pipeline is not None:
        return [(case.input_name(k), np.array([k])) for k in range(len(said))]
    found, first = list[tuple[str, Array]](), 0
    for (column, _), encoder in zip(preparation.columns, preparation.encoders, strict=True):
        count = len(encoder.input_names(column))
        if first + count <= len(said) and count:
            found.append((f"column {column}", np.arange(first, first + count)))
        first += count
    return found or [(case.input_name(k), np.array([k])) for k in range(len(said))]


def _dropped(inputs: Array) -> Change:
    """The inputs set to 0, their mean, so that nothing can be learned from them."""

    def without(x: Array) -> Array:
        flat = np.array(x, copy=True).reshape(len(x), -1)
        flat[:, inputs] = 0
        return flat.reshape(x.shape)

    blanked = of_inputs(without)

    def change(plan: Plan, data: Dataset) -> tuple[Plan, Dataset]:
        plan, data = blanked(plan, data)
        return plan, replace(data, fingerprint=f"{data.fingerprint} without {inputs.tolist()}")

    return change
